"""Cropping: sites at the borders are left out, a 0/1 matrix with columns that nobody reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator import ChannelGroups, MatrixLayer, ShapeError, WindowPattern, hookimpl
from simulator.direct import direct
from simulator.layers.base import check_channels
from simulator.windows import check_sizes


@dataclass(frozen=True)
class Crop(MatrixLayer):
    """Sites cut from the borders of the input.

    As a matrix: rows of the identity, without those of the sites that are cut.

    Parameters
    ----------
    cropping : int, one per axis, or (begin, end) pairs
        Sites to cut at each border.

    Examples
    --------
    >>> Crop(((0, 1), (2, 2))).output_shape((3, 5, 6))
    (3, 4, 2)
    >>> Crop(1).pattern((1, 3, 3)).row(0)[0]
    array([4])
    """

    cropping: int | Sequence[int | Sequence[int]]
    trained = False

    def _kept(self, space):
        """What is left of each axis, as slices."""
        given = self.cropping
        who = "crop cropping"
        if isinstance(given, Sequence) and any(isinstance(c, Sequence) for c in given) and len(given) == len(space):
            pairs = [check_sizes(c, 2, who, least=0) for c in given]
        else:
            pairs = [(c, c) for c in check_sizes(given, len(space), who, least=0)]
        for axis, (n, (begin, end)) in enumerate(zip(space, pairs, strict=True)):
            if begin + end >= n:
                raise ShapeError(
                    f"crop: expected to leave at least one of {n} sites along axis {axis}, got {begin} + {end} to cut; "
                    "cut less"
                )
        return tuple(slice(begin, n - end) for n, (begin, end) in zip(space, pairs, strict=True))

    def output_shape(self, *input_shapes):
        channels, *space = check_channels(input_shapes[0], "crop")
        return (channels, *(s.stop - s.start for s in self._kept(space)))

    def weight_shape(self, input_shape):
        return (1,)

    def fixed_weight(self, input_shape):
        return np.ones(1)

    def pattern(self, input_shape):
        channels, *space = input_shape
        sites = np.arange(math.prod(space)).reshape(space)[self._kept(space)].reshape(-1, 1)  # (out_sites, 1)
        groups = ChannelGroups.full(channels, channels, groups=channels)
        return WindowPattern(groups, channels, sites, math.prod(space), (0, 0, 0))


@direct.register(Crop)
def _(layer, x, weight, dy):
    ndim = x.ndim - 2
    given = (layer.cropping,) * ndim if isinstance(layer.cropping, (int, np.integer)) else layer.cropping
    pairs = [c if isinstance(c, Sequence) else (c, c) for c in given]
    y = x[:, *(slice(begin, -end or None) for begin, end in pairs)]
    return y, np.pad(dy, ((0, 0), *pairs, (0, 0))), None


@hookimpl
def register_layers(register):
    register("crop", Crop, examples=[(Crop(((0, 1), (2, 0))), (2, 3, 4))])
