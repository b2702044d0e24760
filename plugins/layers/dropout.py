"""Dropout: in training each unit is left out at random, so that none can rely on another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from simulator import FunctionLayer, ShapeError, hookimpl
from simulator.errors import brief
from simulator.patterns import IdentityPattern


@dataclass(frozen=True)
class Dropout(FunctionLayer):
    """Each unit of each sample becomes zero with probability `rate` in training.

    As a matrix: in training a diagonal of zeros and equal numbers, drawn anew for every sample and step; afterwards the
    identity, or in the classic form the identity times 1 − rate.

    Parameters
    ----------
    rate : float, default 0.5
        Chance that a unit is left out, at least 0 and below 1.
    inverted : bool, default True
        Units that are kept are multiplied by 1 / (1 − rate) in training, and nothing happens afterwards, as in PyTorch.
        Without it they stay as they are in training, and are multiplied by 1 − rate afterwards, as in AlexNet. Either
        way a unit is as large in the mean in training as afterwards.
    channels : bool, default False
        Whether whole channels are left out instead of single units, as in PyTorch's ``Dropout1d`` to ``Dropout3d``:
        neighbouring sites of a map are so alike that leaving out one of them changes little.

    References
    ----------
    G. Hinton, N. Srivastava, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, "Improving neural networks by preventing
    co-adaptation of feature detectors", 2012.
    J. Tompson et al., "Efficient object localization using convolutional networks", 2015 (whole channels).
    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.

    Examples
    --------
    >>> y, pullback, _ = Dropout(0.5).forward({}, {}, np.ones((1, 6)), training=True, rng=np.random.default_rng(0))
    >>> y
    array([[2., 0., 0., 0., 2., 2.]])
    >>> Dropout(0.25, inverted=False).forward({}, {}, np.ones((1, 2)))[0]
    array([[0.75, 0.75]])
    """

    rate: float = 0.5
    inverted: bool = True
    channels: bool = False

    def output_shape(self, *input_shapes):
        if not 0 <= self.rate < 1:
            raise ShapeError(
                f"dropout rate: expected a number of at least 0 and below 1, got {brief(self.rate)}; it is the "
                "share of "
                "units that are left out"
            )
        return input_shapes[0]

    def support(self, *input_shapes):
        """Each unit depends on itself alone."""
        return [IdentityPattern(math.prod(input_shapes[0]))]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        (x,) = xs
        if training:
            # Drawn in float64 for any x, so that a seed drops the same units in either precision.
            drawn = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1]) if self.channels else x.shape
            kept = rng.random(drawn) >= self.rate
            factor = kept * x.dtype.type(1 / (1 - self.rate) if self.inverted else 1)
        else:
            factor = self._factor(x)
        return x * factor, lambda dy: ((dy * factor,), {}), {}

    def _factor(self, x):
        """What every unit is multiplied by outside of training."""
        return x.dtype.type(1 if self.inverted else 1 - self.rate)

    def affine_at(self, params, buffers, *xs):
        (x,) = xs
        return [scipy.sparse.diags_array(np.full(x.size, self._factor(x))).tocsr()], np.zeros(x.size, x.dtype)


@hookimpl
def register_layers(register):
    register("dropout", Dropout, examples=[(Dropout(), (3, 4)), (Dropout(0.3, channels=True), (3, 4, 2))])
