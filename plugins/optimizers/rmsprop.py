"""RMSprop: every param takes steps of about one size, whatever the size of its gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator import hookimpl
from simulator.declared import Declared
from simulator.optimizers import decayed
from simulator.schedules import Rate, check_number, check_rate, learning_rate


@dataclass(frozen=True)
class RMSprop(Declared):
    """Steps divided by the root of a running mean of squared gradients.

    Parameters
    ----------
    lr : float or callable of the step, default 0.01
        Learning rate.
    alpha : float, default 0.99
        How much of the last mean is kept, from 0 to below 1.
    epsilon : float, default 1e-8
        Keeps a division by zero away.
    weight_decay : float, default 0
        Pull towards zero, added to the gradient.
    momentum : float, default 0
        How much of the last velocity is kept.
    centered : bool, default False
        Divide by the deviation of the gradient from its running mean instead.

    Raises
    ------
    ShapeError
        If a number is out of range.

    Notes
    -----
    s ← alpha·s + (1 − alpha)·∇θ², v ← momentum·v + ∇θ / (√s + epsilon), then θ ← θ − lr·v. Centered: √(s − m²) with
    m ← alpha·m + (1 − alpha)·∇θ. A gradient that never changes has no deviation: then the steps become very long.

    References
    ----------
    T. Tieleman and G. Hinton, "Lecture 6.5: RMSprop", 2012; A. Graves, "Generating sequences with recurrent neural
    networks", 2013 (centered); in the form that PyTorch uses.

    Examples
    --------
    >>> rule = RMSprop(lr=1.0, alpha=0.75)
    >>> params = {"w": np.array([0.0, 0.0])}
    >>> params, state = rule.step(params, {"w": np.array([0.01, -100.0])}, rule.init(params))
    >>> params["w"].round(4)
    array([-2.,  2.])
    """

    lr: Rate = 0.01
    alpha: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self):
        check_rate(self.lr, "rmsprop lr")
        check_number(self.alpha, "rmsprop alpha", below=1)
        for name in ("epsilon", "weight_decay", "momentum"):
            check_number(getattr(self, name), f"rmsprop {name}")

    def init(self, params):
        """Means and velocities of zero."""
        kinds = ["square", *(["mean"] if self.centered else []), *(["velocity"] if self.momentum else [])]
        return {"step": 0, **{f"{kind}.{name}": np.zeros_like(p) for kind in kinds for name, p in params.items()}}

    def step(self, params, grads, state):
        """One step; returns new params and the new state."""
        lr = learning_rate(self.lr, state["step"])
        new, after = {}, {"step": state["step"] + 1}
        for name, p in params.items():
            number = p.dtype.type
            kept, added = number(self.alpha), number(1 - self.alpha)
            grad = decayed(p, grads[name], self.weight_decay)
            spread = after[f"square.{name}"] = kept * state[f"square.{name}"] + added * np.square(grad)
            if self.centered:
                mean = after[f"mean.{name}"] = kept * state[f"mean.{name}"] + added * grad
                spread = np.maximum(spread - np.square(mean), 0)  # rounding may bring it below
            move = grad / (np.sqrt(spread) + number(self.epsilon))
            if self.momentum:
                move = after[f"velocity.{name}"] = number(self.momentum) * state[f"velocity.{name}"] + move
            new[name] = p - number(lr) * move
        return new, after


@hookimpl
def register_optimizers(register):
    register("rmsprop", RMSprop)
