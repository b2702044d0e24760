"""The lab: experiments on single units, on weights, and on sharing itself."""

from simulator.lab.ablations import Ablation, ablation
from simulator.lab.effects import Change, Effect, effect

__all__ = ["Ablation", "Change", "Effect", "ablation", "effect"]
