"""Depthwise separable convolution: a depthwise one and a 1 x 1 one, hence a product of two sparse matrices."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from simulator import (
    ChannelGroups,
    Conv,
    Counts,
    FunctionLayer,
    TiedMatrix,
    Window,
    WindowPattern,
    hookimpl,
)
from simulator.direct import direct
from simulator.initializers import Init, initial
from simulator.layers.base import check_channels
from simulator.windows import Padding, Sizes, check_size


@functools.lru_cache(maxsize=32)
def _patterns(window, space, channels, multiplier, out_channels):
    """Patterns of the depthwise and of the pointwise convolution; equal layers share them."""
    sites = window.sites(space)  # (out_sites, taps)
    out_sites, taps = sites.shape
    middle = channels * multiplier
    alone = ChannelGroups.full(middle, channels, groups=channels)
    depthwise = WindowPattern(alone, channels, sites, math.prod(space), (taps, 0, 1))
    itself = np.arange(out_sites)[:, None]  # (out_sites, 1)
    pointwise = WindowPattern(ChannelGroups.full(out_channels, middle), middle, itself, out_sites, (1, 0, 0))
    return depthwise, pointwise


@dataclass(frozen=True)
class SeparableConv(FunctionLayer):
    """Convolution of each channel by itself, then a mixture of the channels at each site.

    As a matrix: the product P·D. D has one block per input channel, each the matrix of a convolution of one channel; P
    connects all channels of a site. The product has the nonzeros of a full convolution, on far fewer weights.

    Parameters
    ----------
    out_channels : int
        Channels of the output.
    kernel : int or sequence of int
        Taps per axis of the depthwise convolution.
    multiplier : int, default 1
        Channels between the two factors for each input channel.
    stride, dilation : int or sequence of int, default 1
        Sites between windows, and between taps.
    padding : int, sequence or str, default 0
        See `simulator.windows.Window`.
    bias : bool, default True
        One per output channel, or none. There is none between the factors.
    init : str, default "he"
        First values of both weights.

    Notes
    -----
    With m = channels·multiplier the params are ``depthwise`` (m, 1, *kernel), ``pointwise`` (out_channels, m, 1, ...)
    and ``bias`` (out_channels,): the weights of the two convolutions as in PyTorch. Counts are those of both factors.

    References
    ----------
    F. Chollet, "Xception: deep learning with depthwise separable convolutions", 2017.

    Examples
    --------
    >>> layer = SeparableConv(64, kernel=3, padding=1, bias=False)
    >>> layer.param_shapes((32, 14, 14))
    {'depthwise': (32, 1, 3, 3), 'pointwise': (64, 32, 1, 1)}
    >>> layer.counts((32, 14, 14)).params, 64 * 32 * 3 * 3
    (2336, 18432)
    """

    out_channels: int
    kernel: Sizes
    multiplier: int = 1
    stride: Sizes = 1
    dilation: Sizes = 1
    padding: Padding = 0
    bias: bool = True
    init: Init = "he"
    keeps = 2.0

    @property
    def window(self):
        """The window of the depthwise convolution."""
        return Window(self.kernel, self.stride, self.dilation, self.padding, who="separable-conv")

    def output_shape(self, *input_shapes):
        _, *space = check_channels(input_shapes[0], "separable-conv")
        check_size(self.multiplier, "separable-conv multiplier")
        return (check_size(self.out_channels, "separable-conv out_channels"), *self.window.output_space(space))

    def patterns(self, input_shape):
        """Patterns of D and P, (middle units, input units) and (output units, middle units)."""
        channels, *space = input_shape
        kernel, stride, dilation = self.window.sizes(space)
        plain = Window(kernel, stride, dilation, self.window.padding_pairs(space), who="separable-conv")
        return _patterns(plain, tuple(space), channels, self.multiplier, self.out_channels)

    def param_shapes(self, *input_shapes):
        channels, *space = input_shapes[0]
        middle = channels * self.multiplier
        shapes = {
            "depthwise": (middle, 1, *self.window.sizes(space)[0]),
            "pointwise": (self.out_channels, middle, *(1 for _ in space)),
        }
        return {**shapes, "bias": (self.out_channels,)} if self.bias else shapes

    def init_params(self, rng, *input_shapes, dtype):
        params = {name: np.zeros(shape, dtype) for name, shape in self.param_shapes(*input_shapes).items()}
        for name, pattern in zip(("depthwise", "pointwise"), self.patterns(*input_shapes), strict=True):
            n_out, n_in = pattern.shape
            fans = pattern.links / n_out, pattern.links / n_in
            params[name] = initial(self.init, rng, params[name].shape, *fans, dtype)
        return params

    def counts(self, *input_shapes):
        depthwise, pointwise = self.patterns(*input_shapes)
        params = sum(math.prod(shape) for shape in self.param_shapes(*input_shapes).values())
        bias = pointwise.shape[0] if self.bias else 0
        nonzeros, links = depthwise.nnz + pointwise.nnz, depthwise.links + pointwise.links
        return Counts(params, nonzeros + bias, links + bias, nonzeros, macs=links)

    def matrices(self, params, input_shape):
        """The factors D and P, two `TiedMatrix`."""
        names = ("depthwise", "pointwise")
        return [TiedMatrix(p, params[name]) for p, name in zip(self.patterns(input_shape), names, strict=True)]

    def support(self, *input_shapes):
        """Each unit depends on its window in all channels."""
        (depthwise, _), channels = self.patterns(*input_shapes), input_shapes[0][0]
        groups = ChannelGroups.full(self.out_channels, channels)
        return [WindowPattern(groups, channels, depthwise.sites, depthwise.in_sites, (0, 0, 0))]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        (x,) = xs  # (channels, *space, batch)
        batch = x.shape[-1]
        D, P = self.matrices(params, x.shape[:-1])
        flat = x.reshape(D.shape[1], batch)
        middle = D @ flat  # (middle units, batch)
        y = (P @ middle).reshape(*self.output_shape(x.shape[:-1]), batch)
        if self.bias:
            y += params["bias"].reshape(-1, *(1,) * (y.ndim - 1))

        def pullback(dy):
            flat_dy = dy.reshape(P.shape[0], batch)
            dmiddle = P.rmatvec(flat_dy)
            grads = {"depthwise": D.grad(flat, dmiddle), "pointwise": P.grad(middle, flat_dy)}
            if self.bias:
                grads["bias"] = dy.sum(axis=tuple(range(1, dy.ndim)))
            return (D.rmatvec(dmiddle).reshape(x.shape),), grads

        return y, pullback, {}

    def affine_at(self, params, buffers, *xs):
        (x,) = xs  # (channels, *space)
        D, P = self.matrices(params, x.shape)
        bias = params.get("bias", np.zeros(self.out_channels, x.dtype))
        return [P.tocsr() @ D.tocsr()], np.repeat(bias, P.shape[0] // len(bias))


@direct.register(SeparableConv)
def _(layer, x, weight, dy):
    channels = len(weight["depthwise"])
    depthwise = Conv(channels, layer.kernel, layer.stride, layer.dilation, layer.padding, groups=len(x))
    middle, _, _ = direct(depthwise, x, weight["depthwise"], np.zeros((channels, *dy.shape[1:]), x.dtype))
    y, dmiddle, _ = direct(Conv(len(dy), kernel=1), middle, weight["pointwise"], dy)
    _, dx, _ = direct(depthwise, x, weight["depthwise"], dmiddle)
    if layer.bias:
        y += weight["bias"].reshape(-1, *(1,) * (y.ndim - 1))
    return y, dx, None


@hookimpl
def register_layers(register):
    register("separable-conv", SeparableConv, examples=[(SeparableConv(3, kernel=3, padding=1), (2, 5, 4))])
