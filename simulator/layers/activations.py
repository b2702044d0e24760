"""Activations: what stands between two matrices.

As matrices: ReLU and LeakyReLU are, for one sample, a diagonal that the input chooses; the smooth ones are not
piecewise linear and give none.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from simulator.channels import ChannelGroups
from simulator.layers.base import Affine, Array, Arrays, Forward, FunctionLayer, Rng, Shape
from simulator.patterns import IdentityPattern, Pattern, WindowPattern

__all__ = ["LeakyReLU", "LogSoftmax", "ReLU", "ScaledTanh", "Sigmoid", "Softmax", "Tanh"]


class Elementwise(FunctionLayer):
    """A function of each unit alone: a subclass gives its value and its slope."""

    piecewise_linear = False

    @abstractmethod
    def value_and_slope(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """f(x) and f'(x), both in the shape of `x`; truth values say where a gradient passes and where none does."""

    def output_shape(self, *input_shapes: Shape) -> Shape:
        return input_shapes[0]

    def forward(self, params: Arrays, buffers: Arrays, *xs: Array, training: bool = False, rng: Rng = None) -> Forward:
        y, slope = self.value_and_slope(xs[0])
        if slope.dtype == bool:  # where none passes an infinite one does not, either; infinity times zero would be NaN
            return y, lambda dy: ((np.where(slope, dy, dy.dtype.type(0)),), {}), {}
        return y, lambda dy: ((dy * slope,), {}), {}

    def support(self, *input_shapes: Shape) -> Sequence[Pattern]:
        return [IdentityPattern(math.prod(input_shapes[0]))]

    def affine_at(self, params: Arrays, buffers: Arrays, *xs: Array) -> Affine | None:
        if not self.piecewise_linear:
            return None
        y, slope = self.value_and_slope(xs[0])
        slope = np.asarray(slope, xs[0].dtype)
        return [scipy.sparse.diags_array(slope.ravel()).tocsr()], (y - slope * xs[0]).ravel()


@dataclass(frozen=True)
class ReLU(Elementwise):
    """max(x, 0): negative responses become zero.

    As a matrix: for one sample the 0/1 diagonal of the positive inputs.

    Notes
    -----
    NaN stays NaN and lets gradients pass, as in PyTorch.

    Examples
    --------
    >>> ReLU().value_and_slope(np.array([-2.0, 3.0]))[0]
    array([0., 3.])
    """

    piecewise_linear = True
    keeps = 0.25  # a byte tells whether a gradient passes

    def value_and_slope(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.maximum(x, 0), ~(x <= 0)


@dataclass(frozen=True)
class LeakyReLU(Elementwise):
    """x where positive, slope·x elsewhere.

    As a matrix: for one sample a diagonal of ones and slopes.

    Parameters
    ----------
    slope : float, default 0.01
        For negative inputs.

    References
    ----------
    A. Maas, A. Hannun, A. Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.

    Examples
    --------
    >>> LeakyReLU(0.1).value_and_slope(np.array([-2.0, 3.0]))[0]
    array([-0.2,  3. ])
    """

    slope: float = 0.01
    piecewise_linear = True

    def value_and_slope(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slope = np.where(x > 0, x.dtype.type(1), x.dtype.type(self.slope))
        return x * slope, slope


@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """1 / (1 + exp(−x)).

    Examples
    --------
    >>> Sigmoid().value_and_slope(np.array([0.0]))
    (array([0.5]), array([0.25]))
    """

    def value_and_slope(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = scipy.special.expit(x)
        return y, y * (1 - y)


@dataclass(frozen=True)
class Tanh(Elementwise):
    """The hyperbolic tangent.

    Examples
    --------
    >>> Tanh().value_and_slope(np.array([0.0]))
    (array([0.]), array([1.]))
    """

    def value_and_slope(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = np.tanh(x)
        return y, 1 - y * y


@dataclass(frozen=True)
class ScaledTanh(Elementwise):
    """LeCun's 1.7159·tanh(2x/3), which maps ±1 to about ±1.

    References
    ----------
    Y. LeCun et al., "Efficient BackProp", 1998, section 4.4.

    Examples
    --------
    >>> ScaledTanh().value_and_slope(np.array([1.0]))[0].round(3)
    array([1.])
    """

    def value_and_slope(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = np.tanh(x * x.dtype.type(2 / 3))
        return t * x.dtype.type(1.7159), (1 - t * t) * x.dtype.type(1.7159 * 2 / 3)


@dataclass(frozen=True)
class Softmax(FunctionLayer):
    """exp(x) / Σ exp(x) over the channels of each site.

    Examples
    --------
    >>> Softmax().forward({}, {}, np.zeros((2, 1)))[0]
    array([[0.5],
           [0.5]])
    """

    def output_shape(self, *input_shapes: Shape) -> Shape:
        return input_shapes[0]

    def forward(self, params: Arrays, buffers: Arrays, *xs: Array, training: bool = False, rng: Rng = None) -> Forward:
        y = scipy.special.softmax(xs[0], axis=0)
        return y, lambda dy: ((y * (dy - np.sum(dy * y, axis=0)),), {}), {}

    def support(self, *input_shapes: Shape) -> Sequence[Pattern]:
        return [_channels_of_each_site(input_shapes[0])]


@dataclass(frozen=True)
class LogSoftmax(FunctionLayer):
    """x − log Σ exp(x) over the channels of each site.

    Examples
    --------
    >>> LogSoftmax().forward({}, {}, np.zeros((2, 1)))[0].round(4)
    array([[-0.6931],
           [-0.6931]])
    """

    def output_shape(self, *input_shapes: Shape) -> Shape:
        return input_shapes[0]

    def forward(self, params: Arrays, buffers: Arrays, *xs: Array, training: bool = False, rng: Rng = None) -> Forward:
        y = scipy.special.log_softmax(xs[0], axis=0)
        return y, lambda dy: ((dy - np.exp(y) * np.sum(dy, axis=0),), {}), {}

    def support(self, *input_shapes: Shape) -> Sequence[Pattern]:
        return [_channels_of_each_site(input_shapes[0])]


def _channels_of_each_site(shape: Shape) -> Pattern:
    """Every unit connected to all channels of its site."""
    channels, sites = shape[0], math.prod(shape[1:])
    itself = np.arange(sites)[:, None]  # (sites, 1)
    return WindowPattern(ChannelGroups.full(channels, channels), channels, itself, sites, (0, 0, 0))
