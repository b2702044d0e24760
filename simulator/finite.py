"""Numbers that are not finite: which arrays have them, and the refusal to call them results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from simulator.errors import SimulatorError

__all__ = ["check_finite", "not_finite"]


def not_finite(arrays: Mapping[str, Any]) -> dict[str, int]:
    """How many numbers of each array are NaN or infinite, for those arrays that have such.

    Parameters
    ----------
    arrays : mapping of str to array_like
        Such as the params of a network.

    Returns
    -------
    dict of int by name

    Examples
    --------
    >>> not_finite({"weight": np.array([1.0, np.nan, np.inf]), "bias": np.zeros(2)})
    {'weight': 2}
    """
    found = {}
    for name, array in arrays.items():
        bad = np.size(array) - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            found[name] = bad
    return found


def check_finite(arrays: Mapping[str, Any], who: str) -> None:
    """Refuse what is no result.

    Parameters
    ----------
    arrays : mapping of str to array_like
        What was computed, by name, in the order in which it was computed.
    who : str
        Who computed it.

    Raises
    ------
    SimulatorError
        If a number is NaN or infinite; it names the first array that has such.

    Examples
    --------
    >>> check_finite({"conv1": np.ones(3)}, "example")
    """
    for name, bad in not_finite(arrays).items():
        raise SimulatorError(
            f"{who}: expected finite numbers, got NaN or infinity in {bad:,} of {np.size(arrays[name]):,} numbers of "
            f"{name}; weights or data are not finite, or too large: take an earlier epoch, or train anew with a "
            "smaller learning rate"
        )
