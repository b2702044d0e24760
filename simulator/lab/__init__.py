"""The lab: experiments on single units, on weights, and on sharing itself."""

from simulator.lab.deviation import Deviation, off_pattern, tie_variance
from simulator.lab.sharing import densify, retie, untie

__all__ = ["Deviation", "densify", "off_pattern", "retie", "tie_variance", "untie"]
