"""What functions that build architectures share: checks of their arguments, and a factor on the number of maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from simulator.errors import ShapeError, brief

__all__ = ["check_image", "narrowed"]


def check_image(who: str, input_shape: Sequence[int], least: int) -> None:
    """Refuse an input that is no image, or a smaller one than an architecture can take.

    Parameters
    ----------
    who : str
        Name of the architecture.
    input_shape : sequence of int
        Of one sample; (channels, height, width) is expected.
    least : int
        Smallest height and width.

    Raises
    ------
    ShapeError
        If it has other axes or is smaller.

    Examples
    --------
    >>> check_image("lenet5", (1, 28, 28), least=12)
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < least:
        cure = "resize the images to that size, or a larger one"
        if len(input_shape) != 3:
            cure = f"give all three sizes, for example {(1, least, least)}"
        raise ShapeError(
            f"{who}: expected an input (channels, height, width) of at least {least} x {least}, got "
            f"{brief(tuple(input_shape))}; {cure}"
        )


def narrowed(who: str, width: Any) -> Callable[[int], int]:
    """The function that scales a number of maps or hidden units, rounded, but at least 1.

    Parameters
    ----------
    who : str
        Name of the architecture.
    width : float
        The factor; 1 leaves the published numbers.

    Returns
    -------
    callable

    Raises
    ------
    ShapeError
        If the factor is no number, or not positive and finite.

    Examples
    --------
    >>> scaled = narrowed("vgg16", 0.125)
    >>> scaled(64), scaled(4)
    (8, 1)
    """
    if not isinstance(width, Real) or isinstance(width, bool) or not 0 < width < math.inf:  # type: ignore[operator]
        raise ShapeError(f"{who} width: expected a positive factor, got {brief(width)}; 1 is the published size")
    factor = float(width)
    return lambda units: max(1, round(units * factor))
