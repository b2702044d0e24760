"""Gradient descent with momentum: a ball that rolls down the loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from simulator import hookimpl
from simulator.declared import Declared
from simulator.optimizers import decayed
from simulator.schedules import Rate, check_number, check_rate, learning_rate


class _Ball(Declared, ABC):
    """A velocity per param; a subclass says where the ball goes."""

    def __post_init__(self):
        who = type(self).__name__.lower()
        check_rate(self.lr, f"{who} lr")
        check_number(self.momentum, f"{who} momentum")
        check_number(self.weight_decay, f"{who} weight_decay")

    @abstractmethod
    def direction(self, velocity, grad):
        """What the learning rate is multiplied by, in the shape of both."""

    def init(self, params):
        """Velocities of zero."""
        return {"step": 0, **{f"velocity.{name}": np.zeros_like(p) for name, p in params.items()}}

    def step(self, params, grads, state):
        """One step; returns new params and the new state."""
        lr = learning_rate(self.lr, state["step"])
        new, after = {}, {"step": state["step"] + 1}
        for name, p in params.items():
            grad = decayed(p, grads[name], self.weight_decay)
            velocity = p.dtype.type(self.momentum) * state[f"velocity.{name}"] + grad
            new[name] = p - p.dtype.type(lr) * self.direction(velocity, grad)
            after[f"velocity.{name}"] = velocity
        return new, after


@dataclass(frozen=True)
class Momentum(_Ball):
    """SGD with momentum: v ← momentum·v + ∇θ, then θ ← θ − lr·v.

    Parameters
    ----------
    lr : float or callable of the step, default 0.1
        Learning rate.
    momentum : float, default 0.9
        How much of the last velocity is kept.
    weight_decay : float, default 0
        Pull towards zero, added to the gradient.

    Raises
    ------
    ShapeError
        If a number is negative.

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

    lr: Rate = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0

    def direction(self, velocity, grad):
        """The velocity."""
        return velocity


@dataclass(frozen=True)
class Nesterov(_Ball):
    """Momentum that looks ahead: v ← momentum·v + ∇θ, then θ ← θ − lr·(∇θ + momentum·v).

    Parameters
    ----------
    lr : float or callable of the step, default 0.1
        Learning rate.
    momentum : float, default 0.9
        How much of the last velocity is kept.
    weight_decay : float, default 0
        Pull towards zero, added to the gradient.

    Raises
    ------
    ShapeError
        If a number is negative.

    References
    ----------
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013; in the form that
    PyTorch uses.

    Examples
    --------
    >>> rule = Nesterov(lr=1.0)
    >>> params, state = {"w": np.array([0.0])}, rule.init({"w": np.array([0.0])})
    >>> for _ in range(2):
    ...     params, state = rule.step(params, {"w": np.array([1.0])}, state)
    >>> params["w"]
    array([-4.61])
    """

    lr: Rate = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0

    def direction(self, velocity, grad):
        """The gradient and what the ball will roll on."""
        return grad + velocity.dtype.type(self.momentum) * velocity


@hookimpl
def register_optimizers(register):
    register("momentum", Momentum)
    register("nesterov", Nesterov)
