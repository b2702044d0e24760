"""Inputs of different sizes, unit by unit: an axis of size 1 is repeated as often as another input needs.

As a matrix: several rows read one column, so that the units of the smaller input are shared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from simulator.channels import ChannelGroups
from simulator.errors import ShapeError
from simulator.layers.base import Array, Shape
from simulator.patterns import IdentityPattern, Pattern, WindowPattern

__all__ = ["broadcast_pattern", "broadcast_shape", "summed_onto"]


def broadcast_shape(input_shapes: Sequence[Shape], who: str) -> Shape:
    """The shape that inputs have together, as in NumPy, but all with one number of axes.

    Parameters
    ----------
    input_shapes : sequence of shapes
        Each (channels, *space).
    who : str
        Named in the error.

    Returns
    -------
    tuple of int
        The largest size on each axis.

    Raises
    ------
    ShapeError
        If the numbers of axes differ, or two sizes on one axis of which neither is 1.

    Examples
    --------
    >>> broadcast_shape([(8, 1, 1), (8, 4, 4)], "add")
    (8, 4, 4)
    """
    sizes = list(zip(*input_shapes, strict=False))
    if len({len(shape) for shape in input_shapes}) > 1 or any(len({*size} - {1}) > 1 for size in sizes):
        raise ShapeError(
            f"{who}: expected inputs with one number of axes, and on each sizes that are equal or 1, got "
            f"{', '.join(map(str, input_shapes))}; project, pad or reshape one of them first"
        )
    return tuple(map(max, sizes))


def broadcast_pattern(input_shape: Shape, shape: Shape) -> Pattern:
    """Which unit of an input each unit of the output reads.

    Parameters
    ----------
    input_shape, shape : tuple of int
        Of one sample of the input and of the output; sizes of the input are those of the output or 1.

    Returns
    -------
    Pattern
        One connection in each row, all with one weight.

    Examples
    --------
    >>> broadcast_pattern((2, 1), (2, 3))
    WindowPattern 6 x 2: 6 nonzeros share 1 weight
    >>> broadcast_pattern((2, 1), (2, 3)).triplets()[1].tolist()
    [0, 0, 0, 1, 1, 1]
    """
    if input_shape == shape:
        return IdentityPattern(math.prod(shape))
    (in_channels, *in_space), (channels, *space) = input_shape, shape
    in_sites = math.prod(in_space)
    groups = ChannelGroups.full(channels, in_channels, groups=in_channels)  # a single channel is read by all
    sites = np.broadcast_to(np.arange(in_sites).reshape(in_space), space).reshape(-1, 1)  # (out_sites, 1)
    return WindowPattern(groups, in_channels, sites, in_sites, (0, 0, 0))


def summed_onto(dy: Array, shape: Shape) -> Array:
    """The gradient of an input from that of the output: the sum over the units that read one of the input's.

    Parameters
    ----------
    dy : numpy.ndarray, (channels, *space, batch)
    shape : tuple of int
        Of one sample of the input.

    Returns
    -------
    numpy.ndarray, (*shape, batch)
        `dy` itself if nothing is to be summed.

    Examples
    --------
    >>> summed_onto(np.ones((2, 3, 5)), (2, 1)).tolist()
    [[[3.0, 3.0, 3.0, 3.0, 3.0]], [[3.0, 3.0, 3.0, 3.0, 3.0]]]
    """
    axes = tuple(axis for axis, (n, m) in enumerate(zip(shape, dy.shape, strict=False)) if n != m)
    return np.sum(dy, axis=axes, keepdims=True) if axes else dy
