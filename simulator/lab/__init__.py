"""The lab: experiments on single units, on weights, and on sharing itself."""

from simulator.lab.ablations import Ablation, ablation
from simulator.lab.affine import Affine, affine, check_affine
from simulator.lab.connection import Connection
from simulator.lab.deviation import Deviation, off_pattern, tie_variance
from simulator.lab.effects import Change, Effect, effect
from simulator.lab.graphs import layer_graph, unit_graph, write_graph
from simulator.lab.influence import influence
from simulator.lab.neighbours import Incoming, Outgoing, incoming, outgoing
from simulator.lab.paths import paths
from simulator.lab.pieces import Pieces, pieces
from simulator.lab.responses import NoGradientError, Preferred, Responses, preferred_input, strongest
from simulator.lab.sharing import densify, retie, untie
from simulator.lab.silences import Silence, silence
from simulator.lab.weights import Uses, WeightGradient, edited, gradient_of, uses

__all__ = [
    "Ablation",
    "Affine",
    "Change",
    "Connection",
    "Deviation",
    "Effect",
    "Incoming",
    "NoGradientError",
    "Outgoing",
    "Pieces",
    "Preferred",
    "Responses",
    "Silence",
    "Uses",
    "WeightGradient",
    "ablation",
    "affine",
    "check_affine",
    "densify",
    "edited",
    "effect",
    "gradient_of",
    "incoming",
    "influence",
    "layer_graph",
    "off_pattern",
    "outgoing",
    "paths",
    "pieces",
    "preferred_input",
    "retie",
    "silence",
    "strongest",
    "tie_variance",
    "unit_graph",
    "untie",
    "uses",
    "write_graph",
]
