"""A leaky ReLU that learns its slope."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import numpy as np
import scipy

from simulator import FunctionLayer, ShapeError, hookimpl
from simulator.errors import brief
from simulator.patterns import IdentityPattern


@dataclass(frozen=True)
class PReLU(FunctionLayer):
    """x where positive, weight·x elsewhere; the weight is trained.

    As a matrix: for one sample a diagonal of ones and weights.

    Parameters
    ----------
    init : float, default 0.25
        First value of every weight.
    per_channel : bool, default True
        One weight for each channel, (channels,), or one for all, (1,).

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers: surpassing human-level performance on ImageNet
    classification", 2015.

    Examples
    --------
    >>> PReLU().param_shapes((8, 4, 4))
    {'weight': (8,)}
    >>> PReLU().forward({"weight": np.array([0.1])}, {}, np.array([[-2.0, 3.0]]))[0]
    array([[-0.2,  3. ]])
    """

    init: float = 0.25
    per_channel: bool = True

    def output_shape(self, *input_shapes):
        if not isinstance(self.init, Real) or not math.isfinite(self.init):
            raise ShapeError(f"prelu init: expected a finite number, got {brief(self.init)}; 0.25 is usual")
        return input_shapes[0]

    def param_shapes(self, *input_shapes):
        return {"weight": input_shapes[0][:1] if self.per_channel else (1,)}

    def init_params(self, rng, *input_shapes, dtype):
        return {name: np.full(shape, self.init, dtype) for name, shape in self.param_shapes(*input_shapes).items()}

    def support(self, *input_shapes):
        """Each unit depends on itself alone."""
        return [IdentityPattern(math.prod(input_shapes[0]))]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        (x,) = xs
        slope = self._slope(params["weight"], x)

        def pullback(dy):
            grad = np.sum(dy * np.minimum(x, 0), axis=tuple(range(1, x.ndim)))  # (channels,)
            return (dy * slope,), {"weight": grad if self.per_channel else np.sum(grad, keepdims=True)}

        return slope * x, pullback, {}

    def _slope(self, weight, x):
        """1 where x is positive, the weight of the channel elsewhere, in the shape of x."""
        return np.where(x > 0, x.dtype.type(1), weight.reshape(-1, *(1,) * (x.ndim - 1)))

    def affine_at(self, params, buffers, *xs):
        (x,) = xs
        diagonal = self._slope(params["weight"], x).ravel()
        return [scipy.sparse.diags_array(diagonal).tocsr()], np.zeros(x.size, x.dtype)


@hookimpl
def register_layers(register):
    register("prelu", PReLU)
