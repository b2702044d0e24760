"""Lp pooling: between the mean of each window and its maximum."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from simulator import AveragePool, ChannelGroups, FunctionLayer, ShapeError, Window, WindowPattern, hookimpl
from simulator.errors import brief
from simulator.layers.base import check_channels
from simulator.windows import Padding, Sizes


@dataclass(frozen=True)
class LpPool(FunctionLayer):
    """The p-norm of each window, channel by channel.

    As a matrix: none; the p-th powers go through the fixed matrix that sums each window, but powers and root bend.

    Parameters
    ----------
    kernel : int or sequence of int
        Taps per axis.
    p : float, default 2
        At least 1, which sums magnitudes; the larger, the closer to the largest magnitude.
    stride : int or sequence of int, optional
        Sites between windows. Default: the kernel.
    padding : int, sequence or str, default 0
        Zeros at each border; see `simulator.windows.Window`.
    ceil : bool, default False
        Round the number of windows up.
    dilation : int or sequence of int, default 1
        Sites between taps.

    Notes
    -----
    y = (Σ |x|ᵖ)^(1/p), as ONNX defines it; PyTorch leaves the magnitude out, which differs for negative inputs where p
    is not even. A window that reaches beyond the padded input, in ceil mode, counts as if its missing taps held the
    mean of the others, as in PyTorch. The gradient of a window of zeros is zero.

    References
    ----------
    P. Sermanet, S. Chintala, Y. LeCun, "Convolutional neural networks applied to house numbers digit classification",
    2012.

    Examples
    --------
    >>> LpPool(2).forward({}, {}, np.array([[[3.0], [4.0], [-5.0], [12.0]]]))[0].ravel()
    array([ 5., 13.])
    """

    kernel: Sizes
    p: float = 2.0
    stride: Sizes | None = None
    padding: Padding = 0
    ceil: bool = False
    dilation: Sizes = 1

    @property
    def window(self):
        stride = self.kernel if self.stride is None else self.stride
        return Window(self.kernel, stride, self.dilation, self.padding, ceil=self.ceil, who="lp-pool")

    def output_shape(self, *input_shapes):
        if not 1 <= self.p < math.inf:
            raise ShapeError(
                f"lp-pool p: expected a number of at least 1, got {brief(self.p)}; for the limit of large ones "
                "use max-pool"
            )
        channels, *space = check_channels(input_shapes[0], "lp-pool")
        return (channels, *self.window.output_space(space))

    def support(self, *input_shapes):
        """Each unit depends on its window."""
        channels, *space = input_shapes[0]
        groups = ChannelGroups.full(channels, channels, channels)
        return [WindowPattern.sliding(groups, channels, self.window, space, (0, 0, 0))]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        (x,) = xs
        p, space = float(self.p), x.shape[1:-1]
        border, taps = self.window.padded_shape(space), self.window.tap_slices(space)
        size = np.pad(np.abs(x), ((0, 0), *border, (0, 0)))  # (channels, *padded, batch)
        top = functools.reduce(np.maximum, (size[:, *tap] for tap in taps))  # (channels, *out_space, batch)
        safe = top + (top == 0)  # powers of shares of the largest neither overflow nor vanish together
        factor = self._factor(space).astype(x.dtype)  # (*out_space, 1)

        def share(tap):
            """Of the largest, which is 1 for itself, also where it is infinite."""
            own = size[:, *tap]
            with np.errstate(invalid="ignore"):
                return np.where(own == top, x.dtype.type(1), own / safe)

        norm = (factor * sum(share(tap) ** p for tap in taps)) ** (1 / p)

        def pullback(dy):
            push = dy * factor * (top != 0) / (norm + (top == 0)) ** (p - 1)
            slope = np.zeros(size.shape, dy.dtype)
            for tap in taps:
                slope[:, *tap] += push * share(tap) ** (p - 1)
            inner = (slice(begin, begin + n) for n, (begin, _) in zip(space, border, strict=True))
            return (slope[:, *inner] * np.sign(x),), {}

        return top * norm, pullback, {}

    def _factor(self, space):
        """All taps over those that are not beyond the padded input, (*out_space, 1)."""
        average = AveragePool(self.kernel, self.stride, self.padding, self.ceil, dilation=self.dilation)
        out, kernel = self.window.output_space(space), self.window.sizes(space)[0]
        return math.prod(kernel) * np.broadcast_to(average.fixed_weight((1, *space)), math.prod(out)).reshape(*out, 1)


@hookimpl
def register_layers(register):
    register("lp-pool", LpPool, examples=[(LpPool(2), (2, 5)), (LpPool(3, p=3.0, stride=2, padding=1), (1, 4, 5))])
