"""Transposing the axes of a sample: a permutation matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator import ExplicitPattern, MatrixLayer, ShapeError, hookimpl
from simulator.direct import direct
from simulator.errors import brief
from simulator.windows import check_size


@dataclass(frozen=True)
class Transpose(MatrixLayer):
    """The axes of each sample in another order.

    As a matrix: a permutation; each row and each column has a single one.

    Parameters
    ----------
    axes : sequence of int
        For each axis of the output the axis of the input (channels, *space), as in `numpy.transpose`; negative ones
        count from the end. The batch is no axis of a sample.

    Examples
    --------
    >>> Transpose((1, 0, 2)).output_shape((3, 4, 5))
    (4, 3, 5)
    >>> Transpose((1, 0)).pattern((2, 3)).triplets()[1]
    array([0, 3, 1, 4, 2, 5], dtype=int32)
    """

    axes: Sequence[int]
    trained = False

    def output_shape(self, *input_shapes):
        (shape,) = input_shapes
        ndim = len(shape)
        given = self.axes if isinstance(self.axes, Sequence) else ()
        axes = [check_size(a, "transpose axes", least=-ndim) for a in given]
        if sorted(a + ndim if a < 0 else a for a in axes) != list(range(ndim)):
            raise ShapeError(
                f"transpose axes: expected each axis from 0 to {ndim - 1} of an input {shape} once, got "
                f"{brief(self.axes)}; "
                f"write for example axes={tuple(reversed(range(ndim)))}"
            )
        return tuple(shape[a] for a in axes)

    def weight_shape(self, input_shape):
        return (1,)

    def fixed_weight(self, input_shape):
        return np.ones(1)

    def pattern(self, input_shape):
        units = np.arange(math.prod(input_shape))
        moved = units.reshape(input_shape).transpose(self.axes)
        return ExplicitPattern(units, moved.ravel(), 0 * units, shape=(len(units), len(units)))


@direct.register(Transpose)
def _(layer, x, weight, dy):
    axes = [a % (x.ndim - 1) for a in layer.axes]
    return np.moveaxis(x, axes, range(len(axes))), np.moveaxis(dy, range(len(axes)), axes), None


@hookimpl
def register_layers(register):
    register("transpose", Transpose, examples=[(Transpose((1, 2, 0)), (2, 3, 4))])
