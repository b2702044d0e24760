"""First values of weights: He, Glorot, LeCun, and zeros.

Sources: K. He et al., "Delving deep into rectifiers", 2015; X. Glorot and Y. Bengio, "Understanding the difficulty of
training deep feedforward neural networks", 2010; Y. LeCun et al., "Efficient BackProp", 1998.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np

from simulator.errors import UnknownNameError, brief, nearest

__all__ = ["INITIALIZERS", "Init", "initial"]

Init = Literal["he", "glorot", "lecun", "zeros"]
INITIALIZERS = get_args(Init)
_BLOCK = 2**20  # numbers are drawn in float64; a block at a time costs no memory beside the weight's own


def initial(
    name: str, rng: np.random.Generator, shape: tuple[int, ...], fan_in: float, fan_out: float, dtype: Any
) -> np.ndarray:
    """Draw the first values of a weight.

    Parameters
    ----------
    name : {"he", "glorot", "lecun", "zeros"}
        Normal with variance 2 / fan_in, uniform with variance 2 / (fan_in + fan_out), normal with variance
        1 / fan_in, or zero.
    rng : numpy.random.Generator
        Source of randomness.
    shape : tuple of int
        Shape of the weight.
    fan_in, fan_out : float
        Connections per output unit and per input unit.
    dtype : numpy dtype
        Of the result; the numbers drawn do not depend on it.

    Returns
    -------
    numpy.ndarray of `shape`

    Raises
    ------
    UnknownNameError
        If there is no initialisation of this name.

    Examples
    --------
    >>> initial("zeros", np.random.default_rng(0), (2,), 3, 4, np.float32)
    array([0., 0.], dtype=float32)
    """
    if name not in INITIALIZERS:
        raise UnknownNameError(
            f"init: expected one of {', '.join(INITIALIZERS)}, got {brief(name)}; {nearest(str(name), INITIALIZERS)}"
        )
    values: np.ndarray = np.zeros(shape, dtype)
    flat = values.reshape(-1)
    for start in range(0, flat.size if name != "zeros" else 0, _BLOCK):
        part = flat[start : start + _BLOCK]
        if name == "glorot":
            part[:] = rng.uniform(-1, 1, part.size) * math.sqrt(6 / max(fan_in + fan_out, 1))
        else:
            part[:] = rng.standard_normal(part.size) * math.sqrt((2 if name == "he" else 1) / max(fan_in, 1))
    return values
