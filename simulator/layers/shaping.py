"""Layers that only move units around: flatten, reshape, pad, add, concatenate.

As matrices: identities, side by side or stacked; padding is an identity with empty rows.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from simulator.channels import ChannelGroups
from simulator.errors import ShapeError
from simulator.layers.base import Affine, Array, Arrays, Forward, FunctionLayer, MatrixLayer, Rng, Shape, check_channels
from simulator.layers.broadcasting import broadcast_pattern, broadcast_shape, summed_onto
from simulator.patterns import IdentityPattern, Pattern, WindowPattern
from simulator.windows import PaddingMode, Window, check_size

__all__ = ["Add", "Concatenate", "Flatten", "Pad", "Reshape"]


class _Rearrangement(FunctionLayer):
    """The same units in another shape: as a matrix the identity."""

    keeps = 0.0

    def forward(self, params: Arrays, buffers: Arrays, *xs: Array, training: bool = False, rng: Rng = None) -> Forward:
        (x,) = xs
        out = (*self.output_shape(x.shape[:-1]), x.shape[-1])
        return x.reshape(out), lambda dy: ((dy.reshape(x.shape),), {}), {}

    def support(self, *input_shapes: Shape) -> Sequence[Pattern]:
        return [IdentityPattern(math.prod(input_shapes[0]))]

    def affine_at(self, params: Arrays, buffers: Arrays, *xs: Array) -> Affine:
        (x,) = xs
        return [scipy.sparse.eye_array(x.size, dtype=x.dtype, format="csr")], np.zeros(x.size, x.dtype)


@dataclass(frozen=True)
class Flatten(_Rearrangement):
    """All units in one line, in C order.

    As a matrix: the identity.

    Examples
    --------
    >>> Flatten().output_shape((16, 5, 5))
    (400,)
    """

    def output_shape(self, *input_shapes: Shape) -> Shape:
        return (math.prod(input_shapes[0]),)


@dataclass(frozen=True)
class Reshape(_Rearrangement):
    """The same units in another shape, in C order.

    As a matrix: the identity.

    Parameters
    ----------
    shape : tuple of int
        Shape of one output sample; one entry may be -1, which is worked out.

    Examples
    --------
    >>> Reshape((4, -1)).output_shape((2, 2, 3))
    (4, 3)
    """

    shape: Sequence[int]

    def output_shape(self, *input_shapes: Shape) -> Shape:
        total = math.prod(input_shapes[0])
        shape = [check_size(n, "reshape shape", least=-1) for n in self.shape]
        known = math.prod(n for n in shape if n != -1)
        if shape.count(-1) == 1 and known and total % known == 0:
            shape[shape.index(-1)] = total // known
        if math.prod(shape) != total or -1 in shape or 0 in shape:
            raise ShapeError(
                f"reshape: expected a shape of {total} units, got {tuple(self.shape)} for an input of shape "
                f"{input_shapes[0]}; choose sizes with that product"
            )
        return tuple(shape)


@dataclass(frozen=True)
class Pad(MatrixLayer):
    """Sites added around the input.

    As a matrix: a 0/1 matrix with a one where an output site copies an input site; a value other than 0 is an offset.

    Parameters
    ----------
    padding : int, one per axis, or (begin, end) pairs
        Sites to add at each border.
    mode : {"constant", "circular", "reflect", "replicate"}, default "constant"
        What stands on them.
    pad_value : float, default 0
        The constant of mode "constant".

    Examples
    --------
    >>> Pad(2).output_shape((1, 28, 28))
    (1, 32, 32)
    """

    padding: int | Sequence[int | Sequence[int]]
    mode: PaddingMode = "constant"
    pad_value: float = 0.0
    trained = False

    @property
    def window(self) -> Window:
        return Window(1, padding=self.padding, mode=self.mode, who="pad")

    def output_shape(self, *input_shapes: Shape) -> Shape:
        channels, *space = check_channels(input_shapes[0], "pad")
        return (channels, *self.window.output_space(space))

    def weight_shape(self, input_shape: Shape) -> Shape:
        return (1,)

    def fixed_weight(self, input_shape: Shape) -> np.ndarray:
        return np.ones(1)

    def pattern(self, input_shape: Shape) -> Pattern:
        channels, *space = input_shape
        groups = ChannelGroups.full(channels, channels, channels)
        return WindowPattern.sliding(groups, channels, self.window, space, (0, 0, 0))


@dataclass(frozen=True)
class Add(FunctionLayer):
    """The sum of several inputs, unit by unit: a skip connection.

    As a matrix: [I I]. Of an input with an axis of size 1, which sites or channels share, many rows read one column.

    Raises
    ------
    ShapeError
        If inputs differ in their number of axes, or in a size that is not 1.

    Examples
    --------
    >>> Add().output_shape((8, 4, 4), (8, 4, 4))
    (8, 4, 4)
    >>> Add().output_shape((8, 4, 4), (8, 1, 1))  # a number for each channel
    (8, 4, 4)
    """

    inputs = None
    keeps = 0.0

    def output_shape(self, *input_shapes: Shape) -> Shape:
        return broadcast_shape(input_shapes, "add")

    def forward(self, params: Arrays, buffers: Arrays, *xs: Array, training: bool = False, rng: Rng = None) -> Forward:
        y = functools.reduce(np.add, xs)
        return y, lambda dy: (tuple(summed_onto(dy, x.shape[:-1]) for x in xs), {}), {}

    def support(self, *input_shapes: Shape) -> Sequence[Pattern]:
        shape = self.output_shape(*input_shapes)
        return [broadcast_pattern(input_shape, shape) for input_shape in input_shapes]

    def affine_at(self, params: Arrays, buffers: Arrays, *xs: Array) -> Affine:
        matrices = []
        for x, pattern in zip(xs, self.support(*(x.shape for x in xs)), strict=True):
            starts, columns, _ = pattern.csr
            ones = np.ones(pattern.nnz, x.dtype)
            matrices.append(scipy.sparse.csr_array((ones, columns, starts), shape=pattern.shape))
        return matrices, np.zeros(matrices[0].shape[0], xs[0].dtype)


@dataclass(frozen=True)
class Concatenate(FunctionLayer):
    """The channels of all inputs, one after the other.

    As a matrix: identities below each other.

    Examples
    --------
    >>> Concatenate().output_shape((64, 7, 7), (32, 7, 7))
    (96, 7, 7)
    """

    inputs = None
    keeps = 0.0

    def output_shape(self, *input_shapes: Shape) -> Shape:
        if any(s[1:] != input_shapes[0][1:] for s in input_shapes):
            raise ShapeError(
                f"concatenate: expected inputs that differ only in channels, got {', '.join(map(str, input_shapes))}; "
                "bring them to one size first"
            )
        return (sum(s[0] for s in input_shapes), *input_shapes[0][1:])

    def forward(self, params: Arrays, buffers: Arrays, *xs: Array, training: bool = False, rng: Rng = None) -> Forward:
        edges = np.cumsum([len(x) for x in xs])[:-1]
        return np.concatenate(xs), lambda dy: (tuple(np.split(dy, edges)), {}), {}

    def support(self, *input_shapes: Shape) -> Sequence[Pattern]:
        counts = [shape[0] for shape in input_shapes]
        sites, total, start, patterns = math.prod(input_shapes[0][1:]), sum(counts), 0, []
        itself = np.arange(sites)[:, None]  # (sites, 1)
        for channels in counts:
            # One group per output channel; those of the other inputs read nothing.
            groups = ChannelGroups(
                np.arange(total + 1), np.clip(np.arange(total + 1) - start, 0, channels), np.arange(channels)
            )
            patterns.append(WindowPattern(groups, channels, itself, sites, (0, 0, 0)))
            start += channels
        return patterns

    def affine_at(self, params: Arrays, buffers: Arrays, *xs: Array) -> Affine:
        total = sum(x.size for x in xs)
        matrices, start = [], 0
        for x in xs:
            matrices.append(scipy.sparse.eye_array(total, x.size, k=-start, dtype=x.dtype, format="csr"))
            start += x.size
        return matrices, np.zeros(total, xs[0].dtype)
