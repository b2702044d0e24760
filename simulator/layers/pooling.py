"""Pooling: fewer sites, the same channels. Averages are fixed matrices; a maximum chooses its matrix by the input.

Sources: ONNX operators AveragePool and MaxPool; PyTorch ``nn.AvgPoolNd`` and ``nn.MaxPoolNd``; trainable subsampling is
that of Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy

from simulator.channels import ChannelGroups
from simulator.errors import ShapeError, brief
from simulator.initializers import Init
from simulator.layers.base import (
    Affine,
    Array,
    Arrays,
    Bias,
    Forward,
    FunctionLayer,
    Gradients,
    MatrixLayer,
    Rng,
    Shape,
    check_channels,
)
from simulator.patterns import Pattern, WindowPattern
from simulator.windows import Padding, Sizes, Window

__all__ = ["AveragePool", "MaxPool", "Subsample"]


def _pool_window(layer: Any, space: Sequence[int], who: str) -> Window:
    """The window of a pooling layer; a kernel of "global" covers the whole space."""
    if layer.kernel == "global":
        if layer.stride is not None or layer.padding or layer.ceil or layer.dilation != 1:
            raise ShapeError(
                f"{who}: expected no other option with the kernel 'global', got {brief(layer)}; leave them out"
            )
        return Window(tuple(space), who=who)
    stride = layer.kernel if layer.stride is None else layer.stride
    return Window(layer.kernel, stride, layer.dilation, layer.padding, ceil=layer.ceil, who=who)


def _pool_shape(layer: Any, input_shape: Shape, who: str) -> Shape:
    channels, *space = check_channels(input_shape, who)
    window = _pool_window(layer, space, who)
    out = window.output_space(space)
    kernel, stride, dilation = window.sizes(space)
    for axis, (n, k, s, d, (begin, _), count) in enumerate(
        zip(space, kernel, stride, dilation, window.padding_pairs(space), out, strict=True)
    ):
        # Only windows that start on the padding can miss the input: those before it, and the last.
        before = np.arange(min(count, -(-begin // s))) * s - begin
        first = before + -(before // d) * d  # where the first tap that is not before the input stands
        if np.any((first - before > (k - 1) * d) | (first >= n)) or (count - 1) * s - begin >= n:
            raise ShapeError(
                f"{who}: expected every window to read some input, got only padding in one along axis {axis}; pad less"
            )
    return (channels, *out)


@dataclass(frozen=True)
class AveragePool(MatrixLayer):
    """The mean over each window, channel by channel.

    As a matrix: the same nonzero 1/k for every tap of a window; the weight is fixed.

    Parameters
    ----------
    kernel : int, sequence of int or "global"
        Taps per axis; "global" takes the whole map.
    stride : int or sequence of int, optional
        Sites between windows. Default: the kernel.
    padding : int, sequence or str, default 0
        See `simulator.windows.Window`.
    ceil : bool, default False
        Round the number of windows up.
    count_include_pad : bool, default True
        Whether k counts the taps on padding. Taps beyond the padding (in ceil mode) never count.
    dilation : int or sequence of int, default 1
        Sites between taps.

    Examples
    --------
    >>> AveragePool(2).pattern((1, 4, 4))
    WindowPattern 4 x 16: 16 nonzeros share 1 weight
    >>> AveragePool("global").output_shape((64, 7, 7))
    (64, 1, 1)
    """

    kernel: Sizes | Literal["global"]
    stride: Sizes | None = None
    padding: Padding = 0
    ceil: bool = False
    count_include_pad: bool = True
    dilation: Sizes = 1
    trained = False

    def output_shape(self, *input_shapes: Shape) -> Shape:
        return _pool_shape(self, input_shapes[0], "average-pool")

    def _divisors(self, space: Sequence[int]) -> np.ndarray:
        """How many taps each window counts: (1,) if all count equally many, else (out_sites,)."""
        window = _pool_window(self, space, "average-pool")
        if self.count_include_pad:
            # Slide over the padded input as if it were all input: only taps beyond it are missing.
            pairs = window.padding_pairs(space)
            padded = [n + a + b for n, (a, b) in zip(space, pairs, strict=True)]
            kernel, stride, dilation = window.sizes(space)
            counts = [
                np.sum(np.arange(count)[:, None] * s + np.arange(k) * d < n, axis=1)
                for n, k, s, d, count in zip(padded, kernel, stride, dilation, window.output_space(space), strict=True)
            ]
        else:
            counts = [np.sum(table >= 0, axis=1) for table in window.axis_sites(space)]
        total = np.ones((), np.int64)
        for count in counts:
            total = np.multiply.outer(total, count)
        return total.ravel()[:1] if np.all(total == total.flat[0]) else total.ravel()

    def weight_shape(self, input_shape: Shape) -> Shape:
        return self._divisors(input_shape[1:]).shape

    def fixed_weight(self, input_shape: Shape) -> np.ndarray:
        return 1 / self._divisors(input_shape[1:])

    def pattern(self, input_shape: Shape) -> Pattern:
        channels, *space = input_shape
        window = _pool_window(self, space, "average-pool")
        per_site = int(len(self._divisors(space)) > 1)
        groups = ChannelGroups.full(channels, channels, channels)
        return WindowPattern.sliding(groups, channels, window, space, (0, per_site, 0))


@dataclass(frozen=True)
class Subsample(MatrixLayer):
    """LeNet-5's trainable subsampling: the sum over each window times one coefficient per map, plus a bias.

    As a matrix: all taps of all windows of a map share one weight.

    Parameters
    ----------
    kernel : int or sequence of int
        Taps per axis.
    stride : int or sequence of int, optional
        Sites between windows. Default: the kernel.
    padding, ceil, dilation
        As for `AveragePool`.
    bias : bool or "unit", default True
        One per channel, none, or one per unit.
    init : str, default "lecun"
        First values of the coefficients.

    Examples
    --------
    >>> Subsample(2).param_shapes((6, 28, 28))
    {'weight': (6,), 'bias': (6,)}
    """

    kernel: Sizes | Literal["global"]
    stride: Sizes | None = None
    padding: Padding = 0
    ceil: bool = False
    dilation: Sizes = 1
    bias: Bias = True
    init: Init = "lecun"

    def output_shape(self, *input_shapes: Shape) -> Shape:
        return _pool_shape(self, input_shapes[0], "subsample")

    def weight_shape(self, input_shape: Shape) -> Shape:
        return input_shape[:1]

    def pattern(self, input_shape: Shape) -> Pattern:
        channels, *space = input_shape
        groups = ChannelGroups.full(channels, channels, channels)
        return WindowPattern.sliding(groups, channels, _pool_window(self, space, "subsample"), space, (1, 0, 0))


@dataclass(frozen=True)
class MaxPool(FunctionLayer):
    """The largest value in each window, channel by channel.

    As a matrix: for one sample the 0/1 matrix with a single one per row, where the maximum stands.

    Parameters
    ----------
    kernel : int, sequence of int or "global"
        Taps per axis; "global" takes the whole map.
    stride : int or sequence of int, optional
        Sites between windows. Default: the kernel.
    padding : int, sequence or str, default 0
        Padding is minus infinity: it is never the maximum.
    ceil : bool, default False
        Round the number of windows up.
    dilation : int or sequence of int, default 1
        Sites between taps.

    Notes
    -----
    Of equal values the first in C order is taken. NaN is larger than any number, and of several the last is taken, as
    in PyTorch.

    Examples
    --------
    >>> MaxPool(2).output_shape((6, 28, 28))
    (6, 14, 14)
    """

    kernel: Sizes | Literal["global"]
    stride: Sizes | None = None
    padding: Padding = 0
    ceil: bool = False
    dilation: Sizes = 1

    @property
    def keeps(self) -> float:  # type: ignore[override]
        return float(bool(self.padding))  # the padded input, which otherwise is the input itself

    def window_on(self, space: Sequence[int]) -> Window:
        """The window that slides over an input of some sites per axis; a kernel of "global" covers them all.

        Parameters
        ----------
        space : sequence of int
            Sites of the input per axis.

        Returns
        -------
        Window

        Raises
        ------
        ShapeError
            If "global" has other options beside it, or the kernel is another word.

        Examples
        --------
        >>> MaxPool(2).window_on((4, 6)).output_space((4, 6))
        (2, 3)
        """
        return _pool_window(self, space, "max-pool")

    def output_shape(self, *input_shapes: Shape) -> Shape:
        return _pool_shape(self, input_shapes[0], "max-pool")

    def forward(self, params: Arrays, buffers: Arrays, *xs: Array, training: bool = False, rng: Rng = None) -> Forward:
        (x,) = xs
        space = x.shape[1:-1]
        window = self.window_on(space)
        padded_x = self._padded(x)
        views = [padded_x[:, *tap] for tap in window.tap_slices(space)]
        y = views[0].copy()
        for view in views[1:]:
            np.maximum(y, view, out=y)

        def pullback(dy: np.ndarray) -> Gradients:
            border = window.padded_shape(space)
            padded = [n + a + b for n, (a, b) in zip(space, border, strict=True)]
            dx = np.zeros((len(x), *padded, x.shape[-1]), dy.dtype)
            for tap, chosen in zip(window.tap_slices(space), self._chosen(views, y, window.sites(space)), strict=True):
                dx[:, *tap] += dy * chosen
            inner = tuple(slice(a, a + n) for n, (a, _) in zip(space, border, strict=True))
            return (np.ascontiguousarray(dx[:, *inner]),), {}

        return y, pullback, {}

    def support(self, *input_shapes: Shape) -> Sequence[Pattern]:
        channels, *space = input_shapes[0]
        window = self.window_on(space)
        groups = ChannelGroups.full(channels, channels, channels)
        return [WindowPattern.sliding(groups, channels, window, space, (0, 0, 0))]

    def _padded(self, x: np.ndarray) -> np.ndarray:
        """The input with minus infinity around it, as far as windows reach."""
        border = self.window_on(x.shape[1:-1]).padded_shape(x.shape[1:-1])
        return np.pad(x, ((0, 0), *border, (0, 0)), constant_values=-np.inf) if any(map(any, border)) else x

    @staticmethod
    def _chosen(views: list[np.ndarray], y: np.ndarray, sites: np.ndarray) -> Iterator[np.ndarray]:
        """Where each tap is the maximum, (channels, *out_space, batch); of equals the first that is no padding."""
        taken = np.zeros(y.shape, bool)
        undefined = np.isnan(y).any()
        if undefined:
            last = np.full(y.shape, -1)  # tap that is NaN
            for tap, view in enumerate(views):
                last[np.isnan(view)] = tap
        for tap, view in enumerate(views):
            chosen = view == y
            if undefined:
                chosen |= last == tap
            inside = sites[:, tap] >= 0
            if not inside.all():
                chosen &= inside.reshape(*y.shape[1:-1], 1)
            chosen &= ~taken
            taken |= chosen
            yield chosen

    def affine_at(self, params: Arrays, buffers: Arrays, *xs: Array) -> Affine:
        (x,) = xs
        window = self.window_on(x.shape[1:])
        sites = window.sites(x.shape[1:])
        padded = self._padded(x[..., None])
        views = [padded[:, *tap] for tap in window.tap_slices(x.shape[1:])]
        chosen = np.stack(list(self._chosen(views, np.maximum.reduce(views), sites)))
        tap = chosen.argmax(axis=0).reshape(len(x), -1)  # (channels, out_sites)
        column = np.arange(len(x))[:, None] * math.prod(x.shape[1:]) + sites[np.arange(len(sites)), tap]
        n = tap.size
        matrix = scipy.sparse.csr_array((np.ones(n, x.dtype), column.ravel(), np.arange(n + 1)), shape=(n, x.size))
        return [matrix], np.zeros(n, x.dtype)
