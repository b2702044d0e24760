"""The lab: experiments on single units, on weights, and on sharing itself."""

from simulator.lab.ablations import Ablation, ablation
from simulator.lab.connection import Connection
from simulator.lab.connections import Incoming, Outgoing, incoming, outgoing
from simulator.lab.effects import Change, Effect, effect
from simulator.lab.graphs import layer_graph, unit_graph, write_graph
from simulator.lab.influence import influence
from simulator.lab.paths import paths
from simulator.lab.responses import Preferred, Responses, preferred_input, strongest
from simulator.lab.weights import Uses, WeightGradient, edited, gradient_of, uses

__all__ = [
    "Ablation",
    "Change",
    "Connection",
    "Effect",
    "Incoming",
    "Outgoing",
    "Preferred",
    "Responses",
    "Uses",
    "WeightGradient",
    "ablation",
    "edited",
    "effect",
    "gradient_of",
    "incoming",
    "influence",
    "layer_graph",
    "outgoing",
    "paths",
    "preferred_input",
    "strongest",
    "unit_graph",
    "uses",
    "write_graph",
]
