"""Activations from straight pieces: hard sigmoid, hard tanh, ReLU6 and hard swish.

As matrices: the piecewise linear ones are, for one sample, a diagonal that the input chooses, and an offset. Where two
pieces meet, the slope is that of the flat one, as in PyTorch. NaN stays NaN; the slopes there are those of PyTorch's
formulas, which its own vectorised loops do not always keep to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import numpy as np

from simulator import Elementwise, ShapeError, hookimpl
from simulator.errors import brief


def _clipped(x, low, high):
    """x cut off at `low` and `high`, and whether it is not cut off."""
    return np.clip(x, x.dtype.type(low), x.dtype.type(high)), ~((x <= low) | (x >= high))


@dataclass(frozen=True)
class HardSigmoid(Elementwise):
    """slope·x + 1/2, cut off at 0 and 1.

    As a matrix: for one sample a diagonal of slopes and zeros, and an offset.

    Parameters
    ----------
    slope : float, default 1/6
        Above 0. The default is that of PyTorch and MobileNetV3; ONNX has 0.2.

    References
    ----------
    M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect: training deep neural networks with binary weights during
    propagations", 2015, section 2.3, with a slope of 1/2.

    Examples
    --------
    >>> HardSigmoid().value_and_slope(np.array([-4.0, 0.0, 1.5]))[0]
    array([0.  , 0.5 , 0.75])
    """

    slope: float = 1 / 6
    piecewise_linear = True

    def output_shape(self, *input_shapes):
        if not isinstance(self.slope, Real) or not 0 < self.slope < math.inf:
            raise ShapeError(f"hard-sigmoid slope: expected a positive number, got {brief(self.slope)}; 1 / 6 is usual")
        return input_shapes[0]

    def value_and_slope(self, x):
        slope = x.dtype.type(self.slope)
        y, _ = _clipped(slope * x + x.dtype.type(0.5), 0, 1)
        return y, ((y > 0) & (y < 1)) * slope


@dataclass(frozen=True)
class HardTanh(Elementwise):
    """x, cut off at two bounds.

    As a matrix: for one sample a 0/1 diagonal, and the bounds as an offset.

    Parameters
    ----------
    low, high : float, default -1 and 1
        The bounds.

    References
    ----------
    R. Collobert, "Large scale machine learning", 2004.

    Examples
    --------
    >>> HardTanh().value_and_slope(np.array([-4.0, 0.5, 2.0]))[0]
    array([-1. ,  0.5,  1. ])
    """

    low: float = -1.0
    high: float = 1.0
    piecewise_linear = True

    def output_shape(self, *input_shapes):
        if not self.low < self.high:
            raise ShapeError(
                f"hard-tanh: expected low below high, got {brief(self.low)} and {brief(self.high)}; give the "
                "lower bound first"
            )
        return input_shapes[0]

    def value_and_slope(self, x):
        return _clipped(x, self.low, self.high)


@dataclass(frozen=True)
class ReLU6(Elementwise):
    """x, cut off at 0 and 6: a ReLU that few bits can hold.

    As a matrix: for one sample a 0/1 diagonal, and an offset of 6 where the input is above it.

    References
    ----------
    A. Krizhevsky, "Convolutional deep belief networks on CIFAR-10", 2010.

    Examples
    --------
    >>> ReLU6().value_and_slope(np.array([-2.0, 3.0, 8.0]))[0]
    array([0., 3., 6.])
    """

    piecewise_linear = True

    def value_and_slope(self, x):
        return _clipped(x, 0, 6)


@dataclass(frozen=True)
class HardSwish(Elementwise):
    """x times its hard sigmoid: 0 below −3, x above 3, a parabola between.

    As a matrix: none, the parabola is not linear.

    References
    ----------
    A. Howard et al., "Searching for MobileNetV3", 2019.

    Examples
    --------
    >>> HardSwish().value_and_slope(np.array([-1.0, 1.0, 5.0]))[0].round(4)
    array([-0.3333,  0.6667,  5.    ])
    """

    def value_and_slope(self, x):
        gate, _ = _clipped(x / 6 + x.dtype.type(0.5), 0, 1)
        slope = np.where(x < 3, x / 3 + x.dtype.type(0.5), x.dtype.type(1))
        return x * gate, np.where(x <= -3, x.dtype.type(0), slope)


@hookimpl
def register_layers(register):
    register("hard-sigmoid", HardSigmoid)
    register("hard-tanh", HardTanh)
    register("relu6", ReLU6)
    register("hard-swish", HardSwish)
