"""Upsampling, nearest or linear along every axis: a sparse matrix of fixed coefficients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator import ChannelGroups, MatrixLayer, ShapeError, WindowPattern, hookimpl
from simulator.direct import direct
from simulator.errors import brief
from simulator.layers.base import check_channels
from simulator.windows import check_sizes


@dataclass(frozen=True)
class Upsample(MatrixLayer):
    """Every axis of space made longer by a whole factor, or brought to a size.

    As a matrix: a row of mode "nearest" has a single one; a row of mode "bilinear" has the coefficients of up to two
    neighbouring sites per axis, which sum to one. The weight is fixed, and nothing is stored where it would be zero.

    Parameters
    ----------
    factor : int or sequence of int, optional
        Output sites for each input site, per axis.
    mode : {"nearest", "bilinear"}, default "nearest"
        "bilinear" is linear along every axis: linear in one dimension, trilinear in three.
    align_corners : bool, default False
        For "bilinear": the outermost sites of input and output coincide, instead of the borders of their cells.
    size : int or sequence of int, optional
        Output sites per axis, instead of a factor; also fewer than the input has.

    Notes
    -----
    Of n input and m output sites output site i reads position (i + ½)·n / m − ½, but at least 0, or i·(n − 1) / (m − 1)
    with aligned corners; mode "nearest" reads the site ⌊i·n / m⌋; all as PyTorch's ``interpolate``. These are fractions
    of whole numbers, so no rounding makes a coefficient.

    Examples
    --------
    >>> layer = Upsample(2, mode="bilinear")
    >>> layer.pattern((1, 3))
    WindowPattern 6 x 3: 10 nonzeros, 10 of 12 weights, none shared
    >>> layer.fixed_weight((1, 3))[1]
    array([0.75, 0.25])
    >>> Upsample(size=(7, 5)).output_shape((3, 4, 4))
    (3, 7, 5)
    """

    factor: int | Sequence[int] | None = None
    mode: Literal["nearest", "bilinear"] = "nearest"
    align_corners: bool = False
    size: int | Sequence[int] | None = None
    trained = False

    def _sizes(self, space):
        """Output sites per axis."""
        if self.align_corners and self.mode == "nearest":
            raise ShapeError(
                f"upsample align_corners: expected it with mode 'bilinear' only, got {brief(self.mode)}; leave it out"
            )
        if (self.factor is None) == (self.size is None):
            got = "neither" if self.factor is None else f"{brief(self.factor)} and {brief(self.size)}"
            raise ShapeError(f"upsample: expected a factor or a size, got {got}; give one of them, such as factor=2")
        if self.factor is None:
            return check_sizes(self.size, len(space), "upsample size")
        factors = check_sizes(self.factor, len(space), "upsample factor")
        return tuple(n * factor for n, factor in zip(space, factors, strict=True))

    def output_shape(self, *input_shapes):
        channels, *space = check_channels(input_shapes[0], "upsample")
        return (channels, *self._sizes(space))

    def _table(self, space):
        """Input site, -1 for none, and coefficient of each tap of each output site, both (out_sites, taps)."""
        sites, weights = np.zeros((1, 1), np.intp), np.ones((1, 1))
        for n, out in zip(space, self._sizes(space), strict=True):
            at = np.arange(out)
            if self.mode == "nearest":
                position, whole = at * n // out, 1
            elif self.align_corners:
                position, whole = at * (n - 1), max(out - 1, 1)
            else:
                position, whole = np.maximum((2 * at + 1) * n - out, 0), 2 * out
            low, rest = np.divmod(position, whole)
            rest[low == n - 1] = 0  # beyond the last site there is nothing to mix with
            here = np.stack([low, low + 1], axis=1)  # (out, 2)
            share = np.stack([whole - rest, rest], axis=1) / whole  # (out, 2)
            sites = (sites[:, None, :, None] * n + here[:, None, :]).reshape(len(sites) * len(at), -1)
            weights = (weights[:, None, :, None] * share[:, None, :]).reshape(sites.shape)
        return np.where(weights > 0, sites, -1), weights

    def weight_shape(self, input_shape):
        _, *space = input_shape
        if self.mode == "nearest":
            return (1,)
        return (math.prod(self._sizes(space)), 2 ** len(space))

    def fixed_weight(self, input_shape):
        return np.ones(1) if self.mode == "nearest" else self._table(input_shape[1:])[1]

    def pattern(self, input_shape):
        channels, *space = input_shape
        sites, _ = self._table(space)
        strides = (0, sites.shape[1], 1)
        if self.mode == "nearest":  # only the first tap has sites, and one weight is enough for all
            sites, strides = sites[:, :1], (0, 0, 0)
        groups = ChannelGroups.full(channels, channels, groups=channels)
        return WindowPattern(groups, channels, sites, math.prod(space), strides)


@direct.register(Upsample)
def _(layer, x, weight, dy):
    y, dx = x, dy
    for axis in range(1, x.ndim - 1):
        y, dx = np.moveaxis(y, axis, 0), np.moveaxis(dx, axis, 0)
        low, high, rest = _neighbours(layer, len(y), len(dx))
        rest = rest.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
        collected = np.zeros((len(y), *dx.shape[1:]), x.dtype)
        np.add.at(collected, low, dx * (1 - rest))
        np.add.at(collected, high, dx * rest)
        y = np.moveaxis(y[low] * (1 - rest) + y[high] * rest, 0, axis)
        dx = np.moveaxis(collected, 0, axis)
    return y, dx, None


def _neighbours(layer, n, out):
    """The two input sites of each output site of one axis, and the share of the second."""
    if layer.mode == "nearest":
        position = np.arange(out) * n // out
    elif layer.align_corners:
        position = np.linspace(0, n - 1, out)
    else:
        position = np.clip((np.arange(out) + 0.5) * n / out - 0.5, 0, n - 1)
    low = np.floor(position).astype(np.intp)
    return low, np.minimum(low + 1, n - 1), position - low


@hookimpl
def register_layers(register):
    examples = [(Upsample(2), (2, 3, 2)), (Upsample((2, 3), mode="bilinear"), (2, 3, 2)), (Upsample(size=5), (1, 3))]
    register("upsample", Upsample, examples=examples)
