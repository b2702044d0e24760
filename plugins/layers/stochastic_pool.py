"""Stochastic pooling: in training each window draws one of its taps, larger ones more often."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator import ChannelGroups, FunctionLayer, Window, WindowPattern, hookimpl
from simulator.layers.base import check_channels
from simulator.windows import Sizes


@dataclass(frozen=True)
class StochasticPool(FunctionLayer):
    """One tap of each window, drawn with a probability proportional to its value; afterwards the mean under it.

    As a matrix: in training a 0/1 matrix with at most a single one per row, where the drawn tap stands; afterwards
    none.

    Parameters
    ----------
    kernel : int or sequence of int
        Taps per axis.
    stride : int or sequence of int, optional
        Sites between windows. Default: the kernel.
    ceil : bool, default False
        Round the number of windows up.

    Notes
    -----
    With v = max(x, 0) and Σ over one window: the probabilities are v / Σv, the output is the drawn v in training and
    Σv² / Σv afterwards. Put it behind a ReLU: inputs of zero and below are never drawn and have no gradient. A window
    without positive inputs gives zero.

    References
    ----------
    M. Zeiler, R. Fergus, "Stochastic pooling for regularization of deep convolutional neural networks", 2013.

    Examples
    --------
    >>> x = np.array([[[1.0], [3.0]]])
    >>> StochasticPool(2).forward({}, {}, x)[0].item()
    2.5
    >>> rng = np.random.default_rng(0)
    >>> [StochasticPool(2).forward({}, {}, x, training=True, rng=rng)[0].item() for _ in range(5)]
    [3.0, 3.0, 1.0, 1.0, 3.0]
    """

    kernel: Sizes
    stride: Sizes | None = None
    ceil: bool = False

    @property
    def window(self):
        stride = self.kernel if self.stride is None else self.stride
        return Window(self.kernel, stride, ceil=self.ceil, who="stochastic-pool")

    def output_shape(self, *input_shapes):
        channels, *space = check_channels(input_shapes[0], "stochastic-pool")
        return (channels, *self.window.output_space(space))

    def support(self, *input_shapes):
        """Each unit depends on its window."""
        channels, *space = input_shapes[0]
        groups = ChannelGroups.full(channels, channels, channels)
        return [WindowPattern.sliding(groups, channels, self.window, space, (0, 0, 0))]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        (x,) = xs
        space = x.shape[1:-1]
        taps = self.window.tap_slices(space)
        v = np.pad(np.maximum(x, 0), ((0, 0), *self.window.padded_shape(space), (0, 0)))  # (channels, *padded, batch)
        total = sum(v[:, *tap] for tap in taps)  # (channels, *out_space, batch)
        if training:
            drawn = _draw([v[:, *tap] for tap in taps], rng.random(total.shape) * total)
            y = sum(v[:, *tap] * (drawn == k) for k, tap in enumerate(taps))
        else:
            safe = total + (total == 0)
            y = sum(v[:, *tap] * (v[:, *tap] / safe) for tap in taps)

        def pullback(dy):
            dv = np.zeros(v.shape, dy.dtype)
            for k, tap in enumerate(taps):
                dv[:, *tap] += dy * (drawn == k if training else (2 * v[:, *tap] - y) / safe)
            return (dv[:, *(slice(n) for n in space)] * (x > 0),), {}

        return y, pullback, {}


def _draw(values, at):
    """Which of the values, laid end to end, lies over the point `at`; one past the last where all are zero."""
    reached, drawn = np.zeros_like(values[0]), np.zeros(at.shape, np.min_scalar_type(len(values)))
    for value in values:
        reached += value
        drawn += reached <= at
    return drawn


@hookimpl
def register_layers(register):
    register(
        "stochastic-pool",
        StochasticPool,
        examples=[(StochasticPool(2), (2, 5)), (StochasticPool(3, stride=2, ceil=True), (1, 4, 6))],
    )
