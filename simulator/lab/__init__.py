"""The lab: experiments on single units, on weights, and on sharing itself."""

from simulator.lab.ablations import Ablation, ablation
from simulator.lab.effects import Change, Effect, effect
from simulator.lab.responses import Preferred, Responses, preferred_input, strongest

__all__ = [
    "Ablation",
    "Change",
    "Effect",
    "Preferred",
    "Responses",
    "ablation",
    "effect",
    "preferred_input",
    "strongest",
]
