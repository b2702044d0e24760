"""Depthwise convolution: each channel has kernels of its own, and channels do not see each other."""

from __future__ import annotations

from dataclasses import dataclass

from simulator import ChannelGroups, Conv, MatrixLayer, Window, WindowPattern, hookimpl
from simulator.direct import direct
from simulator.initializers import Init
from simulator.layers.base import Bias, check_channels
from simulator.windows import Padding, PaddingMode, Sizes, check_size


@dataclass(frozen=True)
class DepthwiseConv(MatrixLayer):
    """Convolution of each channel by itself, in one, two or three dimensions.

    As a matrix: one block per input channel on the diagonal, each the matrix of a convolution of one channel.

    Parameters
    ----------
    kernel : int or sequence of int
        Taps per axis.
    multiplier : int, default 1
        Output channels for each input channel; those of input channel c are c·multiplier and the ones after it.
    stride, dilation : int or sequence of int, default 1
        Sites between windows, and between taps.
    padding : int, sequence or str, default 0
        See `simulator.windows.Window`.
    padding_mode : {"constant", "circular", "reflect", "replicate"}, default "constant"
        What stands on the padding.
    pad_value : float, default 0
        The constant on the padding. Other than 0 it acts as a bias that depends on weight and position.
    bias : bool or "unit", default True
        One per output channel, none, or one per output unit.
    init : str, default "he"
        First values of the weight.

    Notes
    -----
    The weight has shape (channels·multiplier, 1, *kernel), as in PyTorch with ``groups=channels``.

    References
    ----------
    F. Chollet, "Xception: deep learning with depthwise separable convolutions", 2017.

    Examples
    --------
    >>> DepthwiseConv(3, padding=1).pattern((8, 14, 14))
    WindowPattern 1568 x 1568: 12800 nonzeros share 72 weights
    """

    kernel: Sizes
    multiplier: int = 1
    stride: Sizes = 1
    dilation: Sizes = 1
    padding: Padding = 0
    padding_mode: PaddingMode = "constant"
    pad_value: float = 0.0
    bias: Bias = True
    init: Init = "he"

    @property
    def window(self):
        """The window that slides over each channel."""
        return Window(self.kernel, self.stride, self.dilation, self.padding, self.padding_mode, who="depthwise-conv")

    def output_shape(self, *input_shapes):
        channels, *space = check_channels(input_shapes[0], "depthwise-conv")
        multiplier = check_size(self.multiplier, "depthwise-conv multiplier")
        return (channels * multiplier, *self.window.output_space(space))

    def weight_shape(self, input_shape):
        channels, *space = input_shape
        return (channels * self.multiplier, 1, *self.window.sizes(space)[0])

    def pattern(self, input_shape):
        channels, *space = input_shape
        groups = ChannelGroups.full(channels * self.multiplier, channels, groups=channels)
        strides = (self.window.table_shape(space)[1], 0, 1)
        return WindowPattern.sliding(groups, channels, self.window, space, strides)


@direct.register(DepthwiseConv)
def _(layer, x, weight, dy):
    options = {name: getattr(layer, name) for name in ("stride", "dilation", "padding", "padding_mode", "pad_value")}
    return direct(Conv(len(dy), layer.kernel, groups=len(x), **options), x, weight, dy)


@hookimpl
def register_layers(register):
    register("depthwise-conv", DepthwiseConv, examples=[(DepthwiseConv(3, multiplier=2, padding=1), (2, 5, 4))])
