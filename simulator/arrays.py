"""Arrays that somebody else gives: a caller, or the code of a plugin."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.errors import ShapeError, brief

__all__ = ["promised", "real_array", "seen"]


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
        cure = "take their real parts, values.real" if array.dtype.kind == "c" else "convert them to numbers first"
        cure = "convert them with numpy.float64(values)" if array.dtype.kind in "US" else cure
        raise ShapeError(
            f"{who}: expected an array of real numbers, got values of type {array.dtype.type.__name__.rstrip('_')}; "
            f"{cure}"
        )
    return array


def promised(array: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray | None:
    """What someone else's code returned, as everything after it takes it; None for anything but such an array.

    Compiled loops read and write at addresses, so an array of another size or precision must never reach them. Real
    numbers of another dtype are cast: ``np.where(x > 0, 1.0, 0.0)`` is float64, and its meaning is clear.

    Parameters
    ----------
    array : object
        What came.
    shape : tuple of int
        What it must have.
    dtype : numpy dtype
        What it will have; it will be C-contiguous, too.

    Returns
    -------
    numpy.ndarray or None
        The array itself where nothing has to be done.

    Examples
    --------
    >>> promised(np.array([True, False]), (2,), np.float32)
    array([1., 0.], dtype=float32)
    >>> promised(np.array([1j, 0]), (2,), np.float32) is None
    True
    """
    if type(array) is np.ndarray and array.dtype == dtype and array.shape == shape and array.flags.c_contiguous:
        return array
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.kind not in "fiub":
        return None
    return np.asarray(array, dtype, order="C")


def seen(value: Any, shape: tuple[int, ...]) -> str:
    """What came in place of an array of real numbers of this shape, in a few words for a message."""
    if not isinstance(value, np.ndarray):
        return brief(value)
    return str(value.shape) if value.shape != shape else f"{value.shape} of {value.dtype}"
