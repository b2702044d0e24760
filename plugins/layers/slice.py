"""Slicing: some channels or sites of the input and no others, rows of the identity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simulator import ChannelGroups, MatrixLayer, ShapeError, WindowPattern, hookimpl
from simulator.direct import direct
from simulator.windows import check_size


@dataclass(frozen=True)
class Slice(MatrixLayer):
    """The channels, or the sites along one axis, from `start` to before `stop`: NumPy's ``x[start:stop:step]``.

    As a matrix: rows of the identity, those of the units that are kept.

    Parameters
    ----------
    start : int
        First index that is kept; negative ones count from the end.
    stop : int, optional
        Index after the last that is kept; negative ones count from the end. Default: all to the end.
    step : int, default 1
        From one index that is kept to the next; negative ones go backwards.
    axis : int, default 0
        Of a sample (channels, *space): 0 for channels, 1 for the first axis of space. Negative ones count from the end.

    Raises
    ------
    ShapeError
        If the input has no such axis or index, nothing is kept, or `step` is 0.

    Notes
    -----
    A node is split by several slices that read it, here into halves as in the units of ShuffleNet V2; `Concatenate`
    undoes it.

    References
    ----------
    ONNX operator Slice; N. Ma, X. Zhang, H.-T. Zheng, J. Sun, "ShuffleNet V2: practical guidelines for efficient CNN
    architecture design", 2018.

    Examples
    --------
    >>> Slice(2, 6).output_shape((8, 5, 5)), Slice(0, step=2, axis=-1).output_shape((8, 5, 5))
    ((4, 5, 5), (8, 5, 3))
    >>> Slice(1).pattern((3, 2)).triplets()[1].tolist()
    [2, 3, 4, 5]
    >>> from simulator import Concatenate, Conv, Network
    >>> net = Network.input((8, 5, 5)).add(Slice(0, 4), "input", name="left").add(Slice(4), "input", name="right")
    >>> net = net.add(Conv(4, kernel=3, padding=1), "right").add(Concatenate(), "left", "conv1")
    >>> net.output_shape
    (8, 5, 5)
    """

    start: int
    stop: int | None = None
    step: int = 1
    axis: int = 0
    trained = False

    def _kept(self, shape):
        """The axis, and the indices on it that are kept, as a range."""
        if not -len(shape) <= self.axis < len(shape):
            raise ShapeError(
                f"slice axis: expected one of {len(shape)} axes of an input {shape}, got {self.axis}; 0 is that of "
                "channels"
            )
        if self.step == 0:
            raise ShapeError("slice step: expected any integer but 0, got 0; leave it out to keep every index")
        axis = self.axis % len(shape)
        n = shape[axis]
        start = check_size(self.start, "slice start", least=-n)
        stop = None if self.stop is None else check_size(self.stop, "slice stop", least=-n)
        kept = range(n)[start : stop : self.step]
        if start >= n or (stop or 0) > n or not kept:
            raise ShapeError(
                f"slice: expected to keep some of the indices 0 to {n - 1} on axis {axis} of an input {shape}, got "
                f"{start}:{'' if stop is None else stop}:{self.step}; choose start and stop among them"
            )
        return axis, kept

    def output_shape(self, *input_shapes):
        (shape,) = input_shapes
        axis, kept = self._kept(shape)
        return (*shape[:axis], len(kept), *shape[axis + 1 :])

    def weight_shape(self, input_shape):
        return (1,)

    def fixed_weight(self, input_shape):
        return np.ones(1)

    def pattern(self, input_shape):
        channels, *space = input_shape
        axis, kept = self._kept(input_shape)
        sites = np.arange(math.prod(space))
        if axis == 0:
            numbers = np.arange(len(kept) + 1)
            groups = ChannelGroups(numbers, numbers, np.array(kept))
        else:
            groups = ChannelGroups.full(channels, channels, groups=channels)
            sites = sites.reshape(space).take(kept, axis=axis - 1)
        return WindowPattern(groups, channels, sites.reshape(-1, 1), math.prod(space), (0, 0, 0))


@direct.register(Slice)
def _(layer, x, weight, dy):
    where = [slice(None)] * (x.ndim - 1)
    where[layer.axis] = slice(layer.start, layer.stop, layer.step)
    dx = np.zeros_like(x)
    dx[tuple(where)] = dy
    return x[tuple(where)], dx, None


@hookimpl
def register_layers(register):
    register("slice", Slice, examples=[(Slice(1, 3), (4, 2, 3)), (Slice(0, step=2, axis=-1), (2, 3, 4))])
