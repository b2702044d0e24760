"""The product of several inputs, unit by unit: a gate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator import FunctionLayer, ShapeError, hookimpl
from simulator.patterns import IdentityPattern


@dataclass(frozen=True)
class Multiply(FunctionLayer):
    """The product of inputs of one shape: one of them can open and close the way of another.

    As a matrix: none; only while all other inputs are held still it is a diagonal, their product.

    References
    ----------
    R. Srivastava, K. Greff, J. Schmidhuber, "Highway networks", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> Multiply().forward({}, {}, np.array([[1.0, 2.0]]), np.array([[0.0, 0.5]]))[0]
    array([[0., 1.]])
    """

    inputs = None

    def output_shape(self, *input_shapes):
        if any(s != input_shapes[0] for s in input_shapes):
            raise ShapeError(
                f"multiply: expected inputs of one shape, got {', '.join(map(str, input_shapes))}; project or pad one "
                "of them first"
            )
        return input_shapes[0]

    def support(self, *input_shapes):
        """Each unit depends on the units of its number."""
        return [IdentityPattern(math.prod(input_shapes[0]))] * len(input_shapes)

    def forward(self, params, buffers, *xs, training=False, rng=None):
        def pullback(dy):
            # The others multiplied, not the output divided by this one, which may be zero.
            return tuple(math.prod(xs[:k] + xs[k + 1 :], start=dy) for k in range(len(xs))), {}

        return math.prod(xs[1:], start=xs[0]), pullback, {}


@hookimpl
def register_layers(register):
    register("multiply", Multiply)
