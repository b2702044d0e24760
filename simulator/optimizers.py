"""Gradient descent in the core: plain SGD, and learning rates that change with the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

__all__ = ["SGD", "CosineDecay", "Optimizer", "learning_rate"]

Params = Mapping[str, np.ndarray]
Rate = float | Callable[[int], float]


@runtime_checkable
class Optimizer(Protocol):
    """How gradients change the params.

    The state is a flat dict of arrays and numbers with the same keys at every step, so that a checkpoint can hold it;
    params, grads and state are never changed in place.
    """

    def init(self, params: Params) -> dict[str, Any]:
        """The state before the first step."""

    def step(
        self, params: Params, grads: Params, state: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The params and the state after one step."""


@dataclass(frozen=True)
class CosineDecay:
    """A learning rate that falls from `start` to `end` along half a cosine.

    Parameters
    ----------
    start : float
        Rate at step 0.
    steps : int
        Steps until `end` is reached; the rate stays there afterwards.
    end : float, default 0
        Last rate.

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.

    Examples
    --------
    >>> rate = CosineDecay(0.1, steps=100)
    >>> rate(0), rate(50), rate(100)
    (0.1, 0.05, 0.0)
    """

    start: float
    steps: int
    end: float = 0.0

    def __call__(self, step: int) -> float:
        share = min(1.0, step / max(1, self.steps))
        return self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * share))


def learning_rate(rate: Rate, step: int) -> float:
    """The rate at `step`: a number is constant, a callable is asked."""
    return float(rate(step)) if callable(rate) else float(rate)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent: θ ← θ − lr·(∇θ + weight_decay·θ).

    Parameters
    ----------
    lr : float or callable of the step, default 0.1
        Learning rate.
    weight_decay : float, default 0
        Pull towards zero on every param, as in PyTorch.

    Examples
    --------
    >>> sgd = SGD(lr=0.5)
    >>> params, state = sgd.step({"w": np.array([1.0])}, {"w": np.array([0.2])}, sgd.init({}))
    >>> params["w"], state
    (array([0.9]), {'step': 1})
    """

    lr: Rate = 0.1
    weight_decay: float = 0.0

    def init(self, params: Params) -> dict[str, Any]:
        return {"step": 0}

    def step(
        self, params: Params, grads: Params, state: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        lr = learning_rate(self.lr, state["step"])
        new = {name: p - p.dtype.type(lr) * decayed(p, grads[name], self.weight_decay) for name, p in params.items()}
        return new, {"step": state["step"] + 1}


def decayed(param: np.ndarray, grad: np.ndarray, weight_decay: float) -> np.ndarray:
    """The gradient plus ``weight_decay * param``."""
    return grad + param.dtype.type(weight_decay) * param if weight_decay else grad
