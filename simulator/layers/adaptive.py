"""Adaptive average pooling: a map of any size becomes one of a given size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.channels import ChannelGroups
from simulator.layers.base import MatrixLayer, Shape, check_channels
from simulator.memory import check_memory
from simulator.patterns import Pattern, WindowPattern
from simulator.windows import check_sizes

__all__ = ["AdaptiveAveragePool"]


@dataclass(frozen=True)
class AdaptiveAveragePool(MatrixLayer):
    """The mean over each window, channel by channel, of windows that are cut so that there are as many as wanted.

    As a matrix: 1/k for each of the k taps of a window; the weight is fixed. Windows differ in size by at most one site
    per axis. Where input and output have the same size it is the identity.

    Parameters
    ----------
    out : int or sequence of int
        Output sites per axis.

    Notes
    -----
    Along an axis of n sites, of which `out` are left, output site i averages sites floor(i·n / out) to
    ceil((i + 1)·n / out) − 1, as in PyTorch: neighbouring windows overlap by one site where the division leaves a rest,
    and where the output is longer than the input, sites are repeated.

    References
    ----------
    PyTorch, ``nn.AdaptiveAvgPool2d``; K. He, X. Zhang, S. Ren, J. Sun, "Spatial pyramid pooling in deep convolutional
    networks for visual recognition", 2014.

    Examples
    --------
    >>> AdaptiveAveragePool(7).output_shape((512, 12, 9))
    (512, 7, 7)
    >>> layer = AdaptiveAveragePool(2)
    >>> layer.pattern((1, 5)).row(1)[0], layer.fixed_weight((1, 5))  # windows of three sites that overlap by one
    (array([2, 3, 4]), array([0.33333333]))
    """

    out: int | Sequence[int]
    trained = False

    def output_shape(self, *input_shapes: Shape) -> Shape:
        channels, *space = check_channels(input_shapes[0], "adaptive-average-pool")
        return (channels, *check_sizes(self.out, len(space), "adaptive-average-pool out"))

    def _limits(self, space: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """First site of each window of each axis, and the one after its last: two arrays (out,) per axis."""
        sizes = check_sizes(self.out, len(space), "adaptive-average-pool out")
        numbers = [np.arange(out) for out in sizes]
        return [(i * n // out, -(-(i + 1) * n // out)) for i, n, out in zip(numbers, space, sizes, strict=True)]

    def _divisors(self, space: Sequence[int]) -> np.ndarray:
        """Sites in each window: (1,) if they are equally many in all, else (out_sites,)."""
        total = np.ones((), np.int64)
        for first, end in self._limits(space):
            total = np.multiply.outer(total, end - first)
        return total.ravel()[:1] if np.all(total == total.flat[0]) else total.ravel()

    def weight_shape(self, input_shape: Shape) -> Shape:
        return self._divisors(input_shape[1:]).shape

    def fixed_weight(self, input_shape: Shape) -> np.ndarray:
        return 1 / self._divisors(input_shape[1:])

    def pattern(self, input_shape: Shape) -> Pattern:
        channels, *space = input_shape
        limits = self._limits(space)
        cells = math.prod(len(first) * int((end - first).max()) for first, end in limits)
        check_memory(4 * 8 * cells, f"{self!r} on {tuple(space)}", "use a smaller input or output")
        sites = np.zeros((1, 1), np.intp)  # (windows, taps), -1 for none
        for n, (first, end) in zip(space, limits, strict=True):
            at = first[:, None] + np.arange((end - first).max())  # (out, taps of the axis)
            inside = (sites >= 0)[:, None, :, None] & (at < end[:, None])[None, :, None, :]
            sites = sites[:, None, :, None] * n + at[None, :, None, :]
            sites = np.where(inside, sites, -1).reshape(sites.shape[0] * sites.shape[1], -1)
        per_site = int(len(self._divisors(space)) > 1)
        groups = ChannelGroups.full(channels, channels, groups=channels)
        return WindowPattern(groups, channels, sites, math.prod(space), (0, per_site, 0))
