"""Gradient descent in the core: plain SGD, and gradients that are clipped for any optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np

from simulator.declared import Declared
from simulator.errors import ShapeError, blamed, brief
from simulator.schedules import Rate, check_number, check_rate, learning_rate

__all__ = ["SGD", "Clipped", "Optimizer", "decayed", "state_size"]

Params = Mapping[str, np.ndarray]


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


def state_size(optimizer: Optimizer) -> float:
    """How many numbers an optimizer remembers for each weight: 0 for plain gradient descent, 2 for Adam.

    Examples
    --------
    >>> state_size(SGD())
    0.0
    """
    weight = np.zeros(256)  # few weights show it
    with blamed(f"optimizer {brief(optimizer)}", "init to give a state"):
        state = dict(optimizer.init({"weight": weight}))
    return sum(value.nbytes for value in state.values() if isinstance(value, np.ndarray)) / weight.nbytes


@dataclass(frozen=True)
class SGD(Declared):
    """Stochastic gradient descent: θ ← θ − lr·(∇θ + weight_decay·θ).

    Parameters
    ----------
    lr : float or callable of the step, default 0.1
        Learning rate.
    weight_decay : float, default 0
        Pull towards zero on every param, as in PyTorch.

    Raises
    ------
    ShapeError
        If a number is negative.

    Examples
    --------
    >>> sgd = SGD(lr=0.5)
    >>> params, state = sgd.step({"w": np.array([1.0])}, {"w": np.array([0.2])}, sgd.init({}))
    >>> params["w"], state
    (array([0.9]), {'step': 1})
    """

    lr: Rate = 0.1
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_rate(self.lr, "sgd lr")
        check_number(self.weight_decay, "sgd weight_decay")

    def init(self, params: Params) -> dict[str, Any]:
        return {"step": 0}

    def step(
        self, params: Params, grads: Params, state: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        lr = learning_rate(self.lr, state["step"])
        new = {name: p - p.dtype.type(lr) * decayed(p, grads[name], self.weight_decay) for name, p in params.items()}
        return new, {"step": state["step"] + 1}


@dataclass(frozen=True)
class Clipped(Declared):
    """Another optimizer that never sees a large gradient.

    Parameters
    ----------
    optimizer : Optimizer
        What takes the steps; its state is the state.
    norm : float, optional
        Longest gradient of all params together; a longer one is shortened and keeps its direction.
    value : float, optional
        Largest component; larger ones are cut off one by one. Give exactly one of `norm` and `value`.

    Raises
    ------
    ShapeError
        If both or none of the two are given, the one given is negative, or there is no optimizer to clip for.

    Notes
    -----
    With a norm g ← g · min(1, norm / (‖g‖ + 10⁻⁶)), as PyTorch's ``clip_grad_norm_`` does it. Weight decay belongs to
    the optimizer, so it is not clipped.

    References
    ----------
    R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", 2013.

    Examples
    --------
    >>> sgd = Clipped(SGD(lr=1.0), value=0.5)
    >>> params, state = sgd.step({"w": np.zeros(2)}, {"w": np.array([0.25, 8.0])}, sgd.init({}))
    >>> params["w"]
    array([-0.25, -0.5 ])
    """

    optimizer: Annotated[Optimizer, "write Clipped(SGD(0.1), norm=1)"]
    norm: float | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        if (self.norm is None) == (self.value is None):
            raise ShapeError(
                f"clipped: expected a norm or a value, got norm={self.norm}, value={self.value}; give exactly one"
            )
        kind = "norm" if self.value is None else "value"
        check_number(getattr(self, kind), f"clipped {kind}")

    def init(self, params: Params) -> dict[str, Any]:
        return self.optimizer.init(params)

    def step(
        self, params: Params, grads: Params, state: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return self.optimizer.step(params, self._clipped(grads), state)

    def _clipped(self, grads: Params) -> Params:
        if self.norm is None:
            return {name: np.clip(g, -g.dtype.type(self.value), g.dtype.type(self.value)) for name, g in grads.items()}
        length = math.sqrt(sum(float(np.sum(np.square(g, dtype=np.float64))) for g in grads.values()))
        share = min(1.0, self.norm / (length + 1e-6))
        return {name: g.dtype.type(share) * g for name, g in grads.items()}


def decayed(param: np.ndarray, grad: np.ndarray, weight_decay: float) -> np.ndarray:
    """The gradient plus ``weight_decay * param``."""
    return grad + param.dtype.type(weight_decay) * param if weight_decay else grad
