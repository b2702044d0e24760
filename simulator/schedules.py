"""Learning rates that change with the step: functions of its number, counted from 0.

A schedule may also have a method ``after_epoch(training, validation)``. After each epoch it is told the mean loss on
the training data, and that on the validation data or None, and gives the schedule to go on with: see `PlateauDecay`.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Any, Literal

from simulator.declared import Declared
from simulator.errors import ShapeError, brief
from simulator.windows import check_size

__all__ = ["CosineDecay", "PlateauDecay", "Rate", "StepDecay", "WarmUp", "check_number", "check_rate", "learning_rate"]

Rate = float | Callable[[int], float]


def learning_rate(rate: Rate, step: int) -> float:
    """The rate at `step`: a number is constant, a callable is asked."""
    return float(rate(step)) if callable(rate) else float(rate)


def check_number(value: Any, who: str, below: float = math.inf) -> None:
    """Refuse what is no number from 0 to below `below`; `who` names it in the error.

    Raises
    ------
    ShapeError
        If it is negative, too large, not finite, or no number.

    Examples
    --------
    >>> check_number(0.9, "momentum momentum", below=1)
    """
    if not isinstance(value, Real) or not 0 <= value < below:  # type: ignore[operator]
        wanted = "a finite number of at least 0" if below == math.inf else f"a number from 0 to below {below}"
        raise ShapeError(f"{who}: expected {wanted}, got {brief(value)}; give such a number")


def check_rate(rate: Any, who: str) -> None:
    """Refuse what is neither a number of at least 0 nor a callable of the step; `who` names it in the error.

    Raises
    ------
    ShapeError
        If it is neither.

    Examples
    --------
    >>> check_rate(CosineDecay(0.1, steps=100), "sgd lr")
    """
    if not callable(rate):
        check_number(rate, who)


@dataclass(frozen=True)
class CosineDecay(Declared):
    """A learning rate that falls from `start` to `end` along half a cosine.

    Parameters
    ----------
    start : float
        Rate at step 0.
    steps : int
        Steps until `end` is reached; the rate stays there afterwards.
    end : float, default 0
        Last rate.

    Raises
    ------
    ShapeError
        If a rate is negative, or `steps` is no whole number.

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

    def __post_init__(self) -> None:
        check_number(self.start, "cosine-decay start")
        check_size(self.steps, "cosine-decay steps", least=0)
        check_number(self.end, "cosine-decay end")

    def __call__(self, step: int) -> float:
        share = min(1.0, step / max(1, self.steps))
        return self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True)
class StepDecay(Declared):
    """A learning rate that is multiplied by `factor` from time to time: a staircase.

    Parameters
    ----------
    start : float
        Rate at step 0.
    every : int or sequence of int
        Number of steps on each stair, as in PyTorch's StepLR; or the steps, in increasing order, at which a new stair
        begins, as in its MultiStepLR.
    factor : float, default 0.1
        From one stair to the next, from 0 to below 1.

    Raises
    ------
    ShapeError
        If a number is out of range, or the steps do not increase.

    Examples
    --------
    >>> rate = StepDecay(1.0, every=30, factor=0.5)
    >>> rate(29), rate(30), rate(60)
    (1.0, 0.5, 0.25)
    >>> rate = StepDecay(1.0, every=(30, 40), factor=0.5)
    >>> rate(29), rate(30), rate(60)
    (1.0, 0.5, 0.25)
    """

    start: float
    every: int | Sequence[int]
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_number(self.start, "step-decay start")
        check_number(self.factor, "step-decay factor", below=1)
        steps = list(self.every) if isinstance(self.every, Sequence) else [self.every]
        for step in steps:
            check_size(step, "step-decay every")
        if any(a >= b for a, b in itertools.pairwise(steps)):
            raise ShapeError(
                f"step-decay every: expected steps in increasing order, got {brief(self.every)}; sort "
                "them, and give each once"
            )

    def __call__(self, step: int) -> float:
        stair = bisect_right(self.every, step) if isinstance(self.every, Sequence) else step // self.every
        return float(self.start * self.factor**stair)


@dataclass(frozen=True)
class PlateauDecay(Declared):
    """A learning rate that is multiplied by `factor` whenever the loss has stopped falling.

    Parameters
    ----------
    start : float
        Rate until then.
    factor : float, default 0.1
        From 0 to below 1.
    patience : int, default 10
        Epochs in a row without a new least loss that are waited for; after one more the rate falls.
    threshold : float, default 1e-4
        A loss counts as a new least one if it is smaller by more than this share of the least before.
    cooldown : int, default 0
        Epochs after a fall that are not counted.
    end : float, default 0
        Least rate.
    epsilon : float, default 1e-8
        A smaller fall than this does not take place.
    watch : {"validation", "training"}, default "validation"
        Which loss. Samples whose loss decides on the rate are no test any more.
    seen : sequence of float
        The losses of all epochs before; `train` sees to it.

    Raises
    ------
    ShapeError
        If a number is out of range, or the validation loss is to be watched and there is none.

    Notes
    -----
    As PyTorch's ReduceLROnPlateau of mode "min" and a relative threshold. The rate follows from the losses alone. They
    are in each `Epoch`, so that training that is resumed goes on with the same rate.

    Examples
    --------
    >>> rate = PlateauDecay(1.0, factor=0.5, patience=1)
    >>> for loss in (0.9, 0.5, 0.6, 0.6):
    ...     rate = rate.after_epoch(training=0.0, validation=loss)
    >>> rate(0)
    0.5
    """

    start: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    end: float = 0.0
    epsilon: float = 1e-8
    watch: Literal["validation", "training"] = "validation"
    seen: Sequence[Any] = ()  # a loss on validation data may be NaN or infinite

    def __post_init__(self) -> None:
        for name in ("start", "threshold", "end", "epsilon"):
            check_number(getattr(self, name), f"plateau-decay {name}")
        check_number(self.factor, "plateau-decay factor", below=1)
        check_size(self.patience, "plateau-decay patience", least=0)
        check_size(self.cooldown, "plateau-decay cooldown", least=0)

    def __call__(self, step: int) -> float:
        return self._rate

    def after_epoch(self, training: float, validation: float | None) -> PlateauDecay:
        """The schedule after one more epoch with these mean losses."""
        loss = training if self.watch == "training" else validation
        if loss is None:
            raise ShapeError(
                "plateau-decay watch: expected validation data for 'validation', got none; give them with "
                "train(validation=...), or write watch='training'"
            )
        return replace(self, seen=(*self.seen, float(loss)))

    @cached_property
    def _rate(self) -> float:
        rate, least, waited, cooling = self.start, math.inf, 0, 0
        for loss in self.seen:
            better = loss < least * (1 - self.threshold)
            least, waited = (loss, 0) if better else (least, waited + 1)
            if cooling:
                cooling, waited = cooling - 1, 0
            if waited > self.patience:
                lower = max(rate * self.factor, self.end)
                rate = lower if rate - lower > self.epsilon else rate
                cooling, waited = self.cooldown, 0
        return rate


@dataclass(frozen=True)
class WarmUp(Declared):
    """A learning rate that is approached gradually: rate(step) · min(1, (step + 1) / steps).

    Parameters
    ----------
    rate : float or callable of the step
        What to warm up to. A callable is asked from step 0 on, during the warm-up, too: a decay ends at the same step
        with a warm-up as without.
    steps : int
        Length of the warm-up: the first step is taken with 1 / `steps` of the rate, the last of them with all of it.
        0 is no warm-up.

    Raises
    ------
    ShapeError
        If `rate` is negative, or `steps` is no whole number.

    References
    ----------
    P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017.

    Examples
    --------
    >>> rate = WarmUp(1.0, steps=4)
    >>> [rate(step) for step in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """

    rate: Rate
    steps: int

    def __post_init__(self) -> None:
        check_rate(self.rate, "warm-up rate")
        check_size(self.steps, "warm-up steps", least=0)

    def __call__(self, step: int) -> float:
        return learning_rate(self.rate, step) * min(1.0, (step + 1) / max(1, self.steps))
