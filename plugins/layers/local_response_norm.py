"""Local response normalisation: units at one site inhibit each other across neighbouring channels (AlexNet)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from simulator import ChannelGroups, FunctionLayer, ShapeError, WindowPattern, hookimpl
from simulator.windows import check_size


@dataclass(frozen=True)
class LocalResponseNorm(FunctionLayer):
    """x / (k + α/size · Σ x²)^β at each site, the sum over a window of channels.

    As a matrix: the squares go through a banded matrix over the channels; the whole depends on the sample and is not
    piecewise linear.

    Parameters
    ----------
    size : int, default 5
        Channels in a window; those beyond the first and last count as zero.
    alpha : float, default 1e-4
        Strength; it is divided by `size`.
    beta : float, default 0.75
        Exponent.
    k : float, default 1
        Added to the sum, positive.

    Raises
    ------
    ShapeError
        If an argument is out of range.

    Notes
    -----
    Channel c sees the channels from c − ⌊size/2⌋ to c + ⌊(size − 1)/2⌋, as in PyTorch. For an even size ONNX takes the
    longer half above c; for an odd one they agree. The paper's α is not divided by the size: its 1e-4 with windows of 5
    is ``alpha=5e-4`` here.

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks", 2012,
    section 3.3.

    Examples
    --------
    >>> x = np.array([[1.0], [0.0], [2.0]])
    >>> LocalResponseNorm(size=1, alpha=3.0, beta=0.5).forward({}, {}, x)[0].round(3)
    array([[0.5  ],
           [0.   ],
           [0.555]])
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    keeps = 2.0

    def output_shape(self, *input_shapes):
        """The shape of the input."""
        check_size(self.size, "local-response-norm size")
        if not (0 <= self.alpha < math.inf and 0 <= self.beta < math.inf and 0 < self.k < math.inf):
            raise ShapeError(
                "local-response-norm: expected alpha and beta of at least 0 and k above 0, got "
                f"alpha={self.alpha}, beta={self.beta}, k={self.k}; what is divided by must be positive"
            )
        return input_shapes[0]

    def support(self, *input_shapes):
        """Each unit depends on the channels of its window, at its site."""
        channels, sites = input_shapes[0][0], math.prod(input_shapes[0][1:])
        first, last = self.size // 2, (self.size - 1) // 2
        groups = ChannelGroups.table([range(max(0, c - first), min(channels, c + last + 1)) for c in range(channels)])
        itself = np.arange(sites)[:, None]  # (sites, 1)
        return [WindowPattern(groups, channels, itself, sites, (0, 0, 0))]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        """Divide each unit by the response of its neighbourhood."""
        (x,) = xs
        flat = x.reshape(len(x), -1)  # (channels, sites * batch)
        beta = x.dtype.type(self.beta)
        band = self._band(len(x), x.dtype)
        base = band @ (flat * flat)
        base += x.dtype.type(self.k)
        factor = base**-beta
        y = flat * factor

        def pullback(dy):
            flat_dy = dy.reshape(flat.shape)
            dx = band.T @ (flat_dy * y / base)
            dx *= flat
            dx *= -2 * beta
            dx += flat_dy * factor
            return (dx.reshape(x.shape),), {}

        return y.reshape(x.shape), pullback, {}

    def _band(self, channels, dtype):
        """alpha / size where row c sees a channel of its window, (channels, channels)."""
        offsets = range(max(-(self.size // 2), 1 - channels), min((self.size - 1) // 2, channels - 1) + 1)
        values = np.full((len(offsets), 1), self.alpha / self.size)
        return scipy.sparse.diags_array(values, offsets=offsets, shape=(channels, channels), dtype=dtype).tocsr()


@hookimpl
def register_layers(register):
    register("local-response-norm", LocalResponseNorm)
