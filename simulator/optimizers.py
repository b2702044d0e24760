"""Gradient descent in the core: plain SGD, and for any optimizer clipped gradients and groups of params."""

from __future__ import annotations

import copy
import fnmatch
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np

from simulator.declared import Declared
from simulator.errors import ShapeError, blamed, brief
from simulator.schedules import Rate, check_number, check_rate, learning_rate

__all__ = ["SGD", "Clipped", "Grouped", "Optimizer", "after_epoch", "decayed", "state_size"]

Params = Mapping[str, np.ndarray]
_GROUPS = "write Grouped([('*.bias', SGD(0.1)), ('*', SGD(1.0))])"


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


def state_size(optimizer: Optimizer, names: Iterable[str]) -> float:
    """How many numbers an optimizer remembers for each weight of some params: 0 for gradient descent, 2 for Adam.

    Examples
    --------
    >>> state_size(SGD(), ["dense1.weight"])
    0.0
    """
    params = {name: np.zeros(256) for name in names}  # few weights show it
    with blamed(f"optimizer {brief(optimizer)}", "init to give a state"):
        state = dict(optimizer.init(params))
    size = sum(value.nbytes for value in state.values() if isinstance(value, np.ndarray))
    return size / max(1, sum(param.nbytes for param in params.values()))


def after_epoch(part: Any, training: float, validation: float | None) -> Any:
    """An optimizer whose schedules have been told the losses of an epoch.

    Parameters
    ----------
    part : Optimizer
        Or anything that is in one: a schedule, a pair of `Grouped`. Attributes of optimizers and dataclasses are looked
        into, and sequences.
    training : float
        Mean loss of the epoch.
    validation : float or None
        Loss on the validation data after it, if there are any.

    Returns
    -------
    Optimizer
        The same object where nothing in it has a method `after_epoch`, else a copy.

    Examples
    --------
    >>> from simulator.schedules import PlateauDecay
    >>> sgd = Clipped(SGD(PlateauDecay(1.0, patience=0)), norm=1)
    >>> for loss in (0.5, 0.5):
    ...     sgd = after_epoch(sgd, training=0.4, validation=loss)
    >>> sgd.optimizer.lr(0)
    0.1
    """
    if isinstance(part, type):
        return part
    if callable(tell := getattr(part, "after_epoch", None)):
        return tell(training, validation)
    if type(part) in (list, tuple):
        told = [after_epoch(one, training, validation) for one in part]
        return part if all(a is b for a, b in zip(told, part, strict=True)) else type(part)(told)
    if not (is_dataclass(part) or isinstance(part, Optimizer)):
        return part
    held = getattr(part, "__dict__", {})
    changed = {k: new for k, old in held.items() if (new := after_epoch(old, training, validation)) is not old}
    if changed:
        part = copy.copy(part)
        vars(part).update(changed)
    return part


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


@dataclass(frozen=True)
class Grouped(Declared):
    """Several optimizers, each for some of the params: parameter groups.

    Parameters
    ----------
    groups : sequence of (str, Optimizer)
        Patterns such as "conv*" or "*.bias" of names of params, each with the optimizer of those that match it. The
        first that matches counts.

    Raises
    ------
    ShapeError
        If there is no group, one is no such pair, or, before the first step, a param is in none of them or a group has
        no param.

    Notes
    -----
    To train some params only, give `train` their names as ``trainable``.

    Examples
    --------
    >>> slow_biases = Grouped([("*.bias", SGD(0.1)), ("*", SGD(1.0))])
    >>> params = {"dense1.weight": np.zeros(1), "dense1.bias": np.zeros(1)}
    >>> new, _ = slow_biases.step(params, {name: np.ones(1) for name in params}, slow_biases.init(params))
    >>> {name: p.tolist() for name, p in new.items()}
    {'dense1.weight': [-1.0], 'dense1.bias': [-0.1]}
    """

    groups: Annotated[Sequence[tuple[str, Any]], _GROUPS]

    def __post_init__(self) -> None:
        if not self.groups:
            raise ShapeError(f"grouped groups: expected at least one group, got none; {_GROUPS}")
        for pattern, optimizer in self.groups:
            if isinstance(optimizer, type) or not isinstance(optimizer, Optimizer):
                raise ShapeError(f"grouped {pattern}: expected an Optimizer, got {brief(optimizer)}; {_GROUPS}")

    def init(self, params: Params) -> dict[str, Any]:
        parts = self._parts(params)
        for (pattern, _), names in zip(self.groups, parts, strict=True):
            if not names:
                raise ShapeError(
                    f"grouped {pattern}: expected params that match it and no group before it, got none; leave the "
                    f"group out, or choose a pattern of: {', '.join(params)}"
                )
        states = (optimizer.init(_of(params, names)) for (_, optimizer), names in zip(self.groups, parts, strict=True))
        return {f"{k}.{key}": value for k, state in enumerate(states) for key, value in state.items()}

    def step(
        self, params: Params, grads: Params, state: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        new: dict[str, np.ndarray] = {}
        after: dict[str, Any] = {}
        for k, ((_, optimizer), names) in enumerate(zip(self.groups, self._parts(params), strict=True)):
            own = {key.removeprefix(f"{k}."): value for key, value in state.items() if key.startswith(f"{k}.")}
            moved, own = optimizer.step(_of(params, names), _of(grads, names), own)
            new |= moved
            after |= {f"{k}.{key}": value for key, value in own.items()}
        return {name: new[name] for name in params}, after

    def _parts(self, params: Params) -> list[list[str]]:
        """The names of each group."""
        parts: list[list[str]] = [[] for _ in self.groups]
        for name in params:
            k = next((k for k, (pattern, _) in enumerate(self.groups) if fnmatch.fnmatchcase(name, pattern)), None)
            if k is None:
                raise ShapeError(
                    f"grouped: expected each param in a group, got {brief(name)}, which matches no pattern; add a last "
                    "group of the pattern '*'"
                )
            parts[k].append(name)
        return parts


def _of(arrays: Params, names: Iterable[str]) -> dict[str, np.ndarray]:
    return {name: arrays[name] for name in names}


def decayed(param: np.ndarray, grad: np.ndarray, weight_decay: float) -> np.ndarray:
    """The gradient plus ``weight_decay * param``."""
    return grad + param.dtype.type(weight_decay) * param if weight_decay else grad
