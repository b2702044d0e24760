"""How a promise is judged, and the error that names the one that is broken."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from simulator.errors import NotInstalledError, SimulatorError, brief

EXACT, SINGLE = 1e-12, 1e-5  # float64 and float32 summed in another order, of the largest number and at least of 1


STEP, SLOPE = 1e-6, 1e-7  # of central differences, and how well they must agree


DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


class ContractError(SimulatorError, AssertionError):
    """A promise is not kept; `cure` says what to do where that depends on what was found."""

    def __init__(self, message: str, cure: str | None = None) -> None:
        super().__init__(message)
        self.cure = cure


def require(kept: Any, expected: str, got: Any) -> None:
    if not kept:
        raise ContractError(f"expected {expected}, got {got}")


def same(what: str, got: Any, expected: Any, tolerance: float = 0.0) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    require(got.shape == expected.shape, f"{what} of shape {expected.shape}", got.shape)
    wrong = np.argwhere(~(np.abs(got - expected) <= tolerance * np.max(np.abs(expected), initial=1)))
    if len(wrong):
        at = tuple(wrong[0].tolist())
        raise ContractError(f"expected {what} {expected[at]} at {list(at)}, got {got[at]}")


def same_each(what: str, got: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float = 0.0) -> None:
    require(set(got) == set(expected), f"{what} {sorted(expected)}", sorted(got))
    for name in expected:
        same(f"{what} {name}", got[name], expected[name], tolerance)


def same_slope(what: str, gradient: np.ndarray, value: Callable[[np.ndarray], float], at: np.ndarray) -> None:
    """The gradient agrees with the central difference of `value` along one random direction."""
    require(gradient.shape == at.shape, f"{what} of shape {at.shape}", gradient.shape)
    direction = np.random.default_rng(0).standard_normal(at.shape)
    slope = (value(at + STEP * direction) - value(at - STEP * direction)) / (2 * STEP)
    terms = gradient * direction
    near = abs(np.sum(terms) - slope) <= SLOPE * (1 + np.sum(np.abs(terms)))
    require(near, f"{what} with slope {slope} along a random direction", np.sum(terms))


def flat(array: np.ndarray) -> np.ndarray:
    """(batch, ...) as (units, batch)."""
    return np.ascontiguousarray(array.reshape(len(array), math.prod(array.shape[1:])).T)


def shown(thing: Any) -> str:
    """The repr, also of what has none that works."""
    try:
        return repr(thing)
    except Exception as error:
        return f"{type(thing).__name__} (whose repr raises {brief(error)})"


@contextmanager
def judging(check: str, who: str, promise: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, GeneratorExit, NotInstalledError)):
            raise  # it is nobody's broken promise
        judged = isinstance(error, ContractError)
        told = str(error) if judged else f"expected no error, got {brief(error)}"
        cure = error.cure if isinstance(error, ContractError) else None
        raise ContractError(f"{check}, {who}: {told}; the promise: {promise}", cure) from (None if judged else error)
