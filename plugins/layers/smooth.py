"""Smooth activations: ELU, SELU, GELU, SiLU, Mish and softplus.

As matrices: none, they are not piecewise linear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy

from simulator import Elementwise, ShapeError, hookimpl
from simulator.errors import brief
from simulator.schedules import check_number


def _exponential(x, alpha):
    """alpha·(exp(x) − 1) up to 0, x elsewhere, and its slope; that at NaN is the one of PyTorch's formula."""
    low = np.minimum(x, 0)
    return np.where(x <= 0, alpha * np.expm1(low), x), np.where(x <= 0, alpha * np.exp(low), x.dtype.type(1))


@dataclass(frozen=True)
class ELU(Elementwise):
    """x where positive, alpha·(exp(x) − 1) elsewhere.

    Parameters
    ----------
    alpha : float, default 1
        Large negative inputs give −alpha; at least 0.

    References
    ----------
    D.-A. Clevert, T. Unterthiner, S. Hochreiter, "Fast and accurate deep network learning by exponential linear units
    (ELUs)", 2016.

    Examples
    --------
    >>> ELU().value_and_slope(np.array([-1.0, 2.0]))[0].round(3)
    array([-0.632,  2.   ])
    """

    alpha: float = 1.0

    def output_shape(self, *input_shapes):
        check_number(self.alpha, "elu alpha")
        return input_shapes[0]

    def value_and_slope(self, x):
        return _exponential(x, x.dtype.type(self.alpha))


@dataclass(frozen=True)
class SELU(Elementwise):
    """An ELU, scaled so that means of 0 and variances of 1 stay so from layer to layer.

    References
    ----------
    G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter, "Self-normalizing neural networks", 2017.

    Examples
    --------
    >>> SELU().value_and_slope(np.array([-1.0, 1.0]))[0].round(4)
    array([-1.1113,  1.0507])
    """

    def value_and_slope(self, x):
        scale = x.dtype.type(1.0507009873554804934)
        y, slope = _exponential(x, x.dtype.type(1.6732632423543772848))
        return scale * y, scale * slope


@dataclass(frozen=True)
class GELU(Elementwise):
    """x·Φ(x), where Φ is the cumulative normal distribution: x, times the chance that it is the larger one.

    Parameters
    ----------
    approximate : {"none", "tanh"}, default "none"
        "tanh" replaces Φ by (1 + tanh(√(2/π)·(x + 0.044715·x³))) / 2, as GPT-2 does.

    References
    ----------
    D. Hendrycks, K. Gimpel, "Gaussian error linear units (GELUs)", 2016.

    Examples
    --------
    >>> GELU().value_and_slope(np.array([-1.0, 1.0]))[0].round(4)
    array([-0.1587,  0.8413])
    """

    approximate: Literal["none", "tanh"] = "none"

    def value_and_slope(self, x):
        root = math.sqrt(2 / math.pi)
        if self.approximate == "none":
            chance = scipy.special.ndtr(x)
            density = root / 2 * np.exp(-x * x / 2)
        else:
            t = np.tanh(root * (x + 0.044715 * x * x * x))
            chance = (1 + t) / 2
            density = (1 - t * t) / 2 * root * (1 + 3 * 0.044715 * x * x)
        return x * chance, chance + x * density


@dataclass(frozen=True)
class SiLU(Elementwise):
    """x / (1 + exp(−x)): x, times its sigmoid; also known as swish.

    References
    ----------
    S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning", 2018.
    P. Ramachandran, B. Zoph, Q. Le, "Searching for activation functions", 2017.

    Examples
    --------
    >>> SiLU().value_and_slope(np.array([-1.0, 1.0]))[0].round(4)
    array([-0.2689,  0.7311])
    """

    def value_and_slope(self, x):
        gate = scipy.special.expit(x)
        return x * gate, gate * (1 + x * (1 - gate))


@dataclass(frozen=True)
class Mish(Elementwise):
    """x·tanh(log(1 + exp(x))): much like SiLU.

    References
    ----------
    D. Misra, "Mish: a self regularized non-monotonic activation function", 2020.

    Examples
    --------
    >>> Mish().value_and_slope(np.array([-1.0, 1.0]))[0].round(4)
    array([-0.3034,  0.8651])
    """

    def value_and_slope(self, x):
        gate = np.tanh(np.logaddexp(0, x))
        return x * gate, gate + x * scipy.special.expit(x) * (1 - gate * gate)


@dataclass(frozen=True)
class Softplus(Elementwise):
    """log(1 + exp(beta·x)) / beta: a ReLU with a round corner.

    Parameters
    ----------
    beta : float, default 1
        The larger, the sharper the corner.

    Notes
    -----
    PyTorch gives x itself where beta·x is above its threshold of 20, which is off by at most 2.1e-9 / beta; here, as in
    ONNX, the formula holds everywhere, and no exponential overflows.

    References
    ----------
    C. Dugas et al., "Incorporating second-order functional knowledge for better option pricing", 2001.

    Examples
    --------
    >>> Softplus().value_and_slope(np.array([0.0, 80.0]))[0].round(3)
    array([ 0.693, 80.   ])
    """

    beta: float = 1.0

    def output_shape(self, *input_shapes):
        if not 0 < self.beta < math.inf:
            raise ShapeError(f"softplus beta: expected a positive number, got {brief(self.beta)}; 1 is the usual one")
        return input_shapes[0]

    def value_and_slope(self, x):
        steep = x * x.dtype.type(self.beta)
        return np.logaddexp(0, steep) / x.dtype.type(self.beta), scipy.special.expit(steep)


@hookimpl
def register_layers(register):
    register("elu", ELU)
    register("selu", SELU)
    register("gelu", GELU)
    register("silu", SiLU)
    register("mish", Mish)
    register("softplus", Softplus)
