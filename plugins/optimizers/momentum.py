"""Gradient descent with momentum: a ball that rolls down the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator import hookimpl
from simulator.optimizers import decayed, learning_rate


@dataclass(frozen=True)
class Momentum:
    """SGD with momentum: v ← momentum·v + ∇θ, then θ ← θ − lr·v.

    Parameters
    ----------
    lr : float or callable of the step, default 0.1
        Learning rate.
    momentum : float, default 0.9
        How much of the last velocity is kept.
    weight_decay : float, default 0
        Pull towards zero, added to the gradient.

    References
    ----------
    B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; in the form that PyTorch uses.

    Examples
    --------
    >>> rule = Momentum(lr=1.0)
    >>> params, state = {"w": np.array([0.0])}, rule.init({"w": np.array([0.0])})
    >>> for _ in range(2):
    ...     params, state = rule.step(params, {"w": np.array([1.0])}, state)
    >>> params["w"]
    array([-2.9])
    """

    lr: object = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0

    def init(self, params):
        """Velocities of zero."""
        return {"step": 0, **{f"velocity.{name}": np.zeros_like(p) for name, p in params.items()}}

    def step(self, params, grads, state):
        """One step; returns new params and the new state."""
        lr = learning_rate(self.lr, state["step"])
        new, after = {}, {"step": state["step"] + 1}
        for name, p in params.items():
            velocity = p.dtype.type(self.momentum) * state[f"velocity.{name}"]
            velocity += decayed(p, grads[name], self.weight_decay)
            new[name] = p - p.dtype.type(lr) * velocity
            after[f"velocity.{name}"] = velocity
        return new, after


@hookimpl
def register_optimizers(register):
    register("momentum", Momentum)
