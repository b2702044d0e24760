"""Arrays that a caller gives, of any library that NumPy can read."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.errors import ShapeError

__all__ = ["real_array"]


def real_array(who: str, value: Any) -> np.ndarray:
    """What was given as a NumPy array of real numbers; not copied where it is one.

    Parameters
    ----------
    who : str
        Named in the error.
    value : array_like
        Numbers, nested lists, or an array of another library, such as a PyTorch tensor.

    Returns
    -------
    numpy.ndarray
        Of floats, integers or booleans, of any shape.

    Raises
    ------
    ShapeError
        If NumPy cannot read it (a ragged list, a tensor that needs gradients or is in bfloat16), or its numbers are
        not real.

    Examples
    --------
    >>> real_array("mine", [[1, 2], [3, 4]]).shape
    (2, 2)
    >>> real_array("mine", [[1, 2], [3]])
    Traceback (most recent call last):
    simulator.errors.ShapeError: mine: expected an array of real numbers, got a ragged list; give rows of equal length
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # a ragged list, or whatever another library's array raises
        if isinstance(value, (list, tuple)):
            got, cure = f"a ragged {type(value).__name__}", "give rows of equal length"
        else:
            got = f"{type(value).__name__}, which NumPy cannot read ({str(error).splitlines()[0]})"
            cure = "convert it first; for a PyTorch tensor: tensor.detach().cpu().float().numpy()"
        raise ShapeError(f"{who}: expected an array of real numbers, got {got}; {cure}") from None
    if array.dtype.kind not in "fiub":
        raise ShapeError(
            f"{who}: expected an array of real numbers, got values of type {array.dtype.type.__name__.rstrip('_')}; "
            "convert them first"
        )
    return array
