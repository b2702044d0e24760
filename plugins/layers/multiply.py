"""The product of several inputs, unit by unit: a gate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator import FunctionLayer, hookimpl
from simulator.layers.broadcasting import broadcast_pattern, broadcast_shape, summed_onto


@dataclass(frozen=True)
class Multiply(FunctionLayer):
    """The product of several inputs, unit by unit: one of them can open and close the way of another.

    As a matrix: none; only while all other inputs are held still it is a diagonal, their product. An input with an axis
    of size 1, as the gates of squeeze-and-excitation, (channels, 1, 1), is shared by all sites or channels.

    Raises
    ------
    ShapeError
        If inputs differ in their number of axes, or in a size that is not 1.

    References
    ----------
    R. Srivastava, K. Greff, J. Schmidhuber, "Highway networks", 2015; J. Hu, L. Shen, G. Sun, "Squeeze-and-excitation
    networks", 2018.

    Examples
    --------
    >>> import numpy as np
    >>> Multiply().forward({}, {}, np.array([[1.0, 2.0]]), np.array([[0.0, 0.5]]))[0]
    array([[0., 1.]])

    Squeeze-and-excitation: one gate for each channel, from the means of all channels.

    >>> from simulator import AveragePool, Conv, Network, ReLU, Sigmoid
    >>> squeeze = [AveragePool("global"), Conv(2, kernel=1), ReLU(), Conv(8, kernel=1), Sigmoid()]
    >>> net = Network.sequential((8, 4, 4), squeeze, rng=0)
    >>> net.output_shape
    (8, 1, 1)
    >>> net.add(Multiply(), "input", net.last).output_shape
    (8, 4, 4)
    """

    inputs = None

    def output_shape(self, *input_shapes):
        """The largest size on each axis."""
        return broadcast_shape(input_shapes, "multiply")

    def support(self, *input_shapes):
        """Each unit depends on the units in its place."""
        shape = self.output_shape(*input_shapes)
        return [broadcast_pattern(input_shape, shape) for input_shape in input_shapes]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        def pullback(dy):
            # The others multiplied, not the output divided by this one, which may be zero.
            dxs = (math.prod(xs[:k] + xs[k + 1 :], start=dy) for k in range(len(xs)))
            return tuple(summed_onto(dx, x.shape[:-1]) for dx, x in zip(dxs, xs, strict=True)), {}

        return math.prod(xs[1:], start=xs[0]), pullback, {}


@hookimpl
def register_layers(register):
    register("multiply", Multiply)
