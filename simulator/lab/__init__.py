"""The lab: experiments on single units, on weights, and on sharing itself."""

from simulator.lab.connection import Connection
from simulator.lab.connections import Incoming, Outgoing, incoming, outgoing
from simulator.lab.graphs import layer_graph, unit_graph, write_graph
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
    "layer_graph",
    "outgoing",
    "paths",
    "unit_graph",
    "uses",
    "write_graph",
]
