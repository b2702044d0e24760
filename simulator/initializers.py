"""First values of weights: He, the same around 0, Glorot, LeCun, and zeros.

Sources: K. He et al., "Delving deep into rectifiers", 2015; L. Huang et al., "Centered weight normalization in
accelerating training of deep neural networks", 2017; X. Glorot and Y. Bengio, "Understanding the difficulty of training
deep feedforward neural networks", 2010; Y. LeCun et al., "Efficient BackProp", 1998.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np

from simulator.errors import UnknownNameError, brief, nearest

__all__ = ["INITIALIZERS", "Init", "initial"]

Init = Literal["he", "centred", "glorot", "lecun", "zeros"]
INITIALIZERS = get_args(Init)
_BLOCK = 2**20  # numbers are drawn in float64; a block at a time costs no memory beside the weight's own


def initial(
    name: str, rng: np.random.Generator, shape: tuple[int, ...], fan_in: float, fan_out: float, dtype: Any
) -> np.ndarray:
    """Draw the first values of a weight.

    Parameters
    ----------
    name : {"he", "centred", "glorot", "lecun", "zeros"}
        Normal with variance 2 / fan_in; the same numbers less their mean over each entry of the first axis; uniform
        with variance 2 / (fan_in + fan_out); normal with variance 1 / fan_in; or zero.
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

    Notes
    -----
    Centred, every kernel of a convolution and every row of a dense matrix sums to 0. Behind a ReLU, and in pictures, no
    input is negative: a row that sums to much less than 0 responds to hardly any of them, and soon to none at all. A
    row of a single weight is left as it is.

    Examples
    --------
    >>> bool(abs(initial("centred", np.random.default_rng(0), (4, 1, 5, 5), 25, 4, np.float64)[2].sum()) < 1e-12)
    True
    >>> initial("zeros", np.random.default_rng(0), (2,), 3, 4, np.float32)
    array([0., 0.], dtype=float32)
    """
    if name not in INITIALIZERS:
        raise UnknownNameError(
            f"init: expected one of {', '.join(INITIALIZERS)}, got {brief(name)}; {nearest(name, INITIALIZERS)}"
        )
    values: np.ndarray = np.zeros(shape, dtype)
    if name == "zeros":
        return values
    if name == "centred":
        rows = values.reshape(shape[0], -1) if shape else values.reshape(1, 1)  # one per channel
    else:
        rows = values.reshape(-1, 1)
    step = max(1, _BLOCK // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        if name == "glorot":
            part[:] = rng.uniform(-1, 1, part.shape) * math.sqrt(6 / max(fan_in + fan_out, 1))
            continue
        drawn = rng.standard_normal(part.shape) * math.sqrt((1 if name == "lecun" else 2) / max(fan_in, 1))
        if part.shape[1] > 1:
            drawn -= drawn.mean(axis=1, keepdims=True)
        part[:] = drawn
    return values
