"""Adam: momentum, and steps of about one size for every param; AdamW, whose weight decay is not rescaled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from simulator import hookimpl
from simulator.declared import Declared
from simulator.optimizers import decayed
from simulator.schedules import Rate, check_number, check_rate, learning_rate


class _Moments(Declared, ABC):
    """Running means of the gradient and of its square; a subclass says how weights decay."""

    def __post_init__(self):
        who = type(self).__name__.lower()
        check_rate(self.lr, f"{who} lr")
        for beta in self.betas:
            check_number(beta, f"{who} betas", below=1)
        check_number(self.epsilon, f"{who} epsilon")
        check_number(self.weight_decay, f"{who} weight_decay")

    @abstractmethod
    def decay(self, param, grad, lr):
        """The param and the gradient, one of them with weight decay."""

    def init(self, params):
        """Means of zero."""
        kinds = ["mean", "square", *(["largest"] if self.amsgrad else [])]
        return {"step": 0, **{f"{kind}.{name}": np.zeros_like(p) for kind in kinds for name, p in params.items()}}

    def step(self, params, grads, state):
        """One step; returns new params and the new state."""
        lr, count = learning_rate(self.lr, state["step"]), state["step"] + 1
        beta1, beta2 = self.betas
        length, scale = lr / (1 - beta1**count), (1 - beta2**count) ** 0.5  # the means began at zero
        new, after = {}, {"step": count}
        for name, p in params.items():
            number = p.dtype.type
            p, grad = self.decay(p, grads[name], lr)
            mean = number(beta1) * state[f"mean.{name}"] + number(1 - beta1) * grad
            square = number(beta2) * state[f"square.{name}"] + number(1 - beta2) * np.square(grad)
            after[f"mean.{name}"] = mean
            after[f"square.{name}"] = square
            if self.amsgrad:
                square = after[f"largest.{name}"] = np.maximum(state[f"largest.{name}"], square)
            new[name] = p - number(length) * mean / (np.sqrt(square) / number(scale) + number(self.epsilon))
        return new, after


@dataclass(frozen=True)
class Adam(_Moments):
    """Steps along a running mean of gradients, divided by the root of a running mean of their squares.

    Parameters
    ----------
    lr : float or callable of the step, default 0.001
        Learning rate.
    betas : pair of float, default (0.9, 0.999)
        How much of the last mean and of the last mean square is kept, from 0 to below 1.
    epsilon : float, default 1e-8
        Keeps a division by zero away.
    weight_decay : float, default 0
        Pull towards zero, added to the gradient.
    amsgrad : bool, default False
        Divide by the largest mean square so far.

    Raises
    ------
    ShapeError
        If a number is out of range.

    Notes
    -----
    m ← β₁·m + (1 − β₁)·∇θ and s ← β₂·s + (1 − β₂)·∇θ², then at step t (counted from 1) θ ← θ − lr·m̂ / (√ŝ + epsilon)
    with m̂ = m / (1 − β₁ᵗ) and ŝ = s / (1 − β₂ᵗ).

    References
    ----------
    D. Kingma and J. Ba, "Adam: a method for stochastic optimization", 2015; S. Reddi, S. Kale, S. Kumar, "On the
    convergence of Adam and beyond", 2018 (amsgrad).

    Examples
    --------
    >>> rule = Adam(lr=1.0)
    >>> params = {"w": np.array([0.0, 0.0])}
    >>> params, state = rule.step(params, {"w": np.array([0.01, -100.0])}, rule.init(params))
    >>> params["w"].round(4)
    array([-1.,  1.])
    """

    lr: Rate = 0.001
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False

    def decay(self, param, grad, lr):
        """Added to the gradient."""
        return param, decayed(param, grad, self.weight_decay)


@dataclass(frozen=True)
class AdamW(_Moments):
    """Adam whose weights shrink by the factor 1 − lr·weight_decay before each step, apart from the gradient.

    Parameters
    ----------
    lr : float or callable of the step, default 0.001
        Learning rate.
    betas : pair of float, default (0.9, 0.999)
        How much of the last mean and of the last mean square is kept, from 0 to below 1.
    epsilon : float, default 1e-8
        Keeps a division by zero away.
    weight_decay : float, default 0.01
        Pull towards zero.
    amsgrad : bool, default False
        Divide by the largest mean square so far.

    Raises
    ------
    ShapeError
        If a number is out of range.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", 2019.

    Examples
    --------
    >>> rule = AdamW(lr=0.5, weight_decay=0.1)
    >>> params = {"w": np.array([1.0])}
    >>> params, state = rule.step(params, {"w": np.array([0.0])}, rule.init(params))
    >>> params["w"]
    array([0.95])
    """

    lr: Rate = 0.001
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    amsgrad: bool = False

    def decay(self, param, grad, lr):
        """Taken from the param."""
        return param * param.dtype.type(1 - lr * self.weight_decay), grad


@hookimpl
def register_optimizers(register):
    register("adam", Adam)
    register("adamw", AdamW)
