"""Adagrad: a param that has moved a lot moves less from now on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator import hookimpl
from simulator.declared import Declared
from simulator.optimizers import decayed
from simulator.schedules import Rate, check_number, check_rate, learning_rate


@dataclass(frozen=True)
class Adagrad(Declared):
    """Steps divided by the root of all squared gradients so far: s ← s + ∇θ², then θ ← θ − lr·∇θ / (√s + epsilon).

    Parameters
    ----------
    lr : float or callable of the step, default 0.01
        Learning rate.
    lr_decay : float, default 0
        The rate is divided by 1 + lr_decay·step.
    weight_decay : float, default 0
        Pull towards zero, added to the gradient.
    initial_accumulator_value : float, default 0
        First value of s.
    epsilon : float, default 1e-10
        Keeps a division by zero away.

    Raises
    ------
    ShapeError
        If a number is negative.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization", 2011.

    Examples
    --------
    >>> rule = Adagrad(lr=1.0)
    >>> params = {"w": np.array([0.0, 0.0])}
    >>> params, state = rule.step(params, {"w": np.array([0.01, -100.0])}, rule.init(params))
    >>> params["w"].round(6)
    array([-1.,  1.])
    """

    lr: Rate = 0.01
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    epsilon: float = 1e-10

    def __post_init__(self):
        check_rate(self.lr, "adagrad lr")
        for name in ("lr_decay", "weight_decay", "initial_accumulator_value", "epsilon"):
            check_number(getattr(self, name), f"adagrad {name}")

    def init(self, params):
        """Sums that begin at `initial_accumulator_value`."""
        start = self.initial_accumulator_value
        return {"step": 0, **{f"sum.{name}": np.full_like(p, start) for name, p in params.items()}}

    def step(self, params, grads, state):
        """One step; returns new params and the new state."""
        lr = learning_rate(self.lr, state["step"]) / (1 + self.lr_decay * state["step"])
        new, after = {}, {"step": state["step"] + 1}
        for name, p in params.items():
            grad = decayed(p, grads[name], self.weight_decay)
            total = state[f"sum.{name}"] + np.square(grad)
            new[name] = p - p.dtype.type(lr) * grad / (np.sqrt(total) + p.dtype.type(self.epsilon))
            after[f"sum.{name}"] = total
        return new, after


@hookimpl
def register_optimizers(register):
    register("adagrad", Adagrad)
