"""Depth to space and back: blocks of channels become blocks of sites, a permutation matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator import ExplicitPattern, MatrixLayer, ShapeError, hookimpl
from simulator.direct import direct
from simulator.layers.base import check_channels
from simulator.windows import check_sizes


def _block(layer, shape, who):
    """Cells of the block per axis of `shape`, with the block checked."""
    _, *space = check_channels(shape, who)
    return check_sizes(layer.block, len(space), f"{who} block")


def _from_depth(units, block, mode):
    """Channels of an array (channels, *space) moved into its space, by reshaping and transposing."""
    channels, *space = units.shape
    ndim, rest = len(space), channels // math.prod(block)
    split = units.reshape(*((rest, *block) if mode == "crd" else (*block, rest)), *space)
    first = 1 if mode == "crd" else 0  # axis of the block's first size
    order = [0 if mode == "crd" else ndim]
    for axis in range(ndim):
        order += [1 + ndim + axis, first + axis]
    return split.transpose(order).reshape(rest, *(n * b for n, b in zip(space, block, strict=True)))


def _cells(block, mode, channels):
    """For each cell of the block the channels that it fills, and the sites where, as slices."""
    cells = math.prod(block)
    for number, cell in enumerate(np.ndindex(*block)):
        deep = slice(number, None, cells) if mode == "crd" else slice(number * channels, (number + 1) * channels)
        yield deep, tuple(slice(start, None, step) for start, step in zip(cell, block, strict=True))


@dataclass(frozen=True)
class DepthToSpace(MatrixLayer):
    """Blocks of channels become blocks of sites: fewer channels, more resolution.

    As a matrix: a permutation; each row and each column has a single one.

    Parameters
    ----------
    block : int or sequence of int
        Sites that each site becomes, per axis; their product divides the channels.
    mode : {"crd", "dcr"}, default "crd"
        Whether the cells of the block (row, column) stand after or before the remaining channels (depth): "crd" is
        PyTorch's ``PixelShuffle``, "dcr" the default of ONNX.

    References
    ----------
    W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
    network", 2016; ONNX operator DepthToSpace.

    Examples
    --------
    >>> DepthToSpace(2).output_shape((12, 4, 5))
    (3, 8, 10)
    >>> DepthToSpace(2).pattern((12, 4, 5))
    ExplicitPattern 240 x 240: 240 nonzeros share 1 weight
    """

    block: int | Sequence[int]
    mode: Literal["crd", "dcr"] = "crd"
    trained = False

    def output_shape(self, *input_shapes):
        block = _block(self, input_shapes[0], "depth-to-space")
        channels, *space = input_shapes[0]
        if channels % math.prod(block):
            raise ShapeError(
                f"depth-to-space: expected channels that a block of {math.prod(block)} cells divides, got {channels}; "
                "use a smaller block or more channels"
            )
        return (channels // math.prod(block), *(n * b for n, b in zip(space, block, strict=True)))

    def weight_shape(self, input_shape):
        return (1,)

    def fixed_weight(self, input_shape):
        return np.ones(1)

    def pattern(self, input_shape):
        units = np.arange(math.prod(input_shape))
        moved = _from_depth(units.reshape(input_shape), _block(self, input_shape, "depth-to-space"), self.mode)
        return ExplicitPattern(units, moved.ravel(), 0 * units, shape=(len(units), len(units)))


@dataclass(frozen=True)
class SpaceToDepth(MatrixLayer):
    """Blocks of sites become blocks of channels: the way back from `DepthToSpace`.

    As a matrix: the transpose, which is the inverse, of the permutation of `DepthToSpace`.

    Parameters
    ----------
    block : int or sequence of int
        Sites that become one, per axis; each divides its axis.
    mode : {"crd", "dcr"}, default "crd"
        As for `DepthToSpace`: "crd" is PyTorch's ``PixelUnshuffle``, "dcr" the operator SpaceToDepth of ONNX.

    Examples
    --------
    >>> SpaceToDepth(2).output_shape((3, 8, 10))
    (12, 4, 5)
    """

    block: int | Sequence[int]
    mode: Literal["crd", "dcr"] = "crd"
    trained = False

    def output_shape(self, *input_shapes):
        block = _block(self, input_shapes[0], "space-to-depth")
        channels, *space = input_shapes[0]
        if any(n % b for n, b in zip(space, block, strict=True)):
            raise ShapeError(
                f"space-to-depth: expected a space that the block {block} divides, got {tuple(space)}; use another "
                "block, or pad or crop first"
            )
        return (channels * math.prod(block), *(n // b for n, b in zip(space, block, strict=True)))

    def weight_shape(self, input_shape):
        return (1,)

    def fixed_weight(self, input_shape):
        return np.ones(1)

    def pattern(self, input_shape):
        units = np.arange(math.prod(input_shape))
        deep = units.reshape(self.output_shape(input_shape))
        moved = _from_depth(deep, _block(self, input_shape, "space-to-depth"), self.mode)
        return ExplicitPattern(moved.ravel(), units, 0 * units, shape=(len(units), len(units)))


@direct.register(DepthToSpace)
def _(layer, x, weight, dy):
    y, dx = np.empty_like(dy), np.empty_like(x)
    for deep, sites in _cells(_block(layer, x.shape[:-1], "depth-to-space"), layer.mode, len(dy)):
        y[:, *sites], dx[deep] = x[deep], dy[:, *sites]
    return y, dx, None


@direct.register(SpaceToDepth)
def _(layer, x, weight, dy):
    y, dx = np.empty_like(dy), np.empty_like(x)
    for deep, sites in _cells(_block(layer, x.shape[:-1], "space-to-depth"), layer.mode, len(x)):
        y[deep], dx[:, *sites] = x[:, *sites], dy[deep]
    return y, dx, None


@hookimpl
def register_layers(register):
    register("depth-to-space", DepthToSpace, examples=[(DepthToSpace(2), (8, 2, 3))])
    register("space-to-depth", SpaceToDepth, examples=[(SpaceToDepth(2), (2, 4, 6))])
