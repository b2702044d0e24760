"""The lab: experiments on single units, on weights, and on sharing itself."""

from simulator.lab.connection import Connection
from simulator.lab.connections import Incoming, Outgoing, incoming, outgoing
from simulator.lab.influence import influence
from simulator.lab.paths import paths
from simulator.lab.weights import Uses, WeightGradient, edited, gradient_of, uses

__all__ = [
    "Connection",
    "Incoming",
    "Outgoing",
    "Uses",
    "WeightGradient",
    "edited",
    "gradient_of",
    "incoming",
    "influence",
    "outgoing",
    "paths",
    "uses",
]
