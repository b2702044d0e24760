"""The lab: experiments on single units, on weights, and on sharing itself."""

from simulator.lab.affine import Affine, affine
from simulator.lab.deviation import Deviation, off_pattern, tie_variance
from simulator.lab.pieces import Pieces, pieces
from simulator.lab.sharing import densify, retie, untie

__all__ = [
    "Affine",
    "Deviation",
    "Pieces",
    "affine",
    "densify",
    "off_pattern",
    "pieces",
    "retie",
    "tie_variance",
    "untie",
]
