"""Shuffling channels: those of several groups take turns, a permutation matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simulator import ChannelGroups, MatrixLayer, ShapeError, WindowPattern, hookimpl
from simulator.direct import direct
from simulator.windows import check_size


@dataclass(frozen=True)
class ChannelShuffle(MatrixLayer):
    """The channels of equal groups in turn: the first of each group, then the second of each, and so on.

    As a matrix: a permutation. It lets each group of the next convolution read channels of every group.

    Parameters
    ----------
    groups : int
        Into how many the channels are divided.

    Raises
    ------
    ShapeError
        If the channels cannot be divided into so many groups.

    Notes
    -----
    Of (groups · n, \\*space) channels g · n + i become channels i · groups + g: the same as ``Reshape((groups, n,
    *space))``, ``Transpose((1, 0, ...))`` and ``Reshape((groups * n, *space))``.

    References
    ----------
    X. Zhang, X. Zhou, M. Lin, J. Sun, "ShuffleNet: an extremely efficient convolutional neural network for mobile
    devices", 2018; PyTorch, ``nn.ChannelShuffle``.

    Examples
    --------
    >>> ChannelShuffle(2).pattern((6, 1)).triplets()[1]
    array([0, 3, 1, 4, 2, 5], dtype=int32)
    """

    groups: int
    trained = False

    def output_shape(self, *input_shapes):
        (shape,) = input_shapes
        groups = check_size(self.groups, "channel-shuffle groups")
        if shape[0] % groups:
            raise ShapeError(
                f"channel-shuffle groups: expected a divisor of {shape[0]} channels, got {groups}; choose a number "
                "that divides them"
            )
        return shape

    def weight_shape(self, input_shape):
        return (1,)

    def fixed_weight(self, input_shape):
        return np.ones(1)

    def pattern(self, input_shape):
        channels, *space = input_shape
        sites, starts = math.prod(space), np.arange(channels + 1)
        read = starts[:-1].reshape(self.groups, -1).T.ravel()  # the input channel of each output channel
        return WindowPattern(ChannelGroups(starts, starts, read), channels, np.arange(sites)[:, None], sites, (0, 0, 0))


@direct.register(ChannelShuffle)
def _(layer, x, weight, dy):
    each = len(x) // layer.groups
    y = x.reshape(layer.groups, each, -1).swapaxes(0, 1).reshape(x.shape)
    return y, dy.reshape(each, layer.groups, -1).swapaxes(0, 1).reshape(x.shape), None


@hookimpl
def register_layers(register):
    register("channel-shuffle", ChannelShuffle, examples=[(ChannelShuffle(2), (6, 2, 2))])
