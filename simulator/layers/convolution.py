"""Convolution, transposed convolution and the locally connected layer: one window table, three ways to share.

Sources: ONNX operators Conv and ConvTranspose; PyTorch ``nn.ConvNd`` and ``nn.ConvTransposeNd``; the connection table
is that of Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.channels import ChannelGroups
from simulator.errors import ShapeError
from simulator.initializers import Init
from simulator.layers.base import Bias, MatrixLayer, Shape, check_channels
from simulator.patterns import Pattern, WindowPattern
from simulator.windows import Padding, PaddingMode, Sizes, Window, check_size, check_sizes

__all__ = ["Conv", "ConvTranspose", "LocallyConnected"]


def _check_groups(groups: int, in_channels: int, out_channels: int, who: str) -> None:
    check_size(groups, f"{who} groups")
    check_size(out_channels, f"{who} out_channels")
    if in_channels % groups or out_channels % groups:
        raise ShapeError(
            f"{who} groups: expected a divisor of {in_channels} input and {out_channels} output channels, got "
            f"{groups}; change the groups or the channels"
        )


@dataclass(frozen=True)
class Conv(MatrixLayer):
    """Convolution in one, two or three dimensions.

    As a matrix: row (o, s) holds the kernel of output channel o at the sites that window s reads; all rows of one
    output channel share it.

    Parameters
    ----------
    out_channels : int
        Number of kernels, and of feature maps.
    kernel : int or sequence of int
        Taps per axis.
    stride, dilation : int or sequence of int, default 1
        Sites between windows, and between taps.
    padding : int, sequence or str, default 0
        See `simulator.windows.Window`.
    padding_mode : {"constant", "circular", "reflect", "replicate"}, default "constant"
        What stands on the padding.
    pad_value : float, default 0
        The constant on the padding. Other than 0 it acts as a bias that depends on weight and position.
    groups : int, default 1
        Blocks of channels that do not see each other; as many as input channels is a depthwise convolution.
    table : sequence of sequences of int, optional
        For each output channel the input channels that it reads, instead of `groups`.
    flip : bool, default False
        True convolution: the kernel is flipped. The default is cross-correlation, as everywhere in deep learning.
    bias : bool or "unit", default True
        One per output channel, none, or one per output unit.
    init : str, default "he"
        First values of the weight.

    Notes
    -----
    The weight has shape (out_channels, in_channels / groups, *kernel), or (pairs, *kernel) with a table, as in PyTorch.

    Examples
    --------
    >>> Conv(6, kernel=5, padding=2).output_shape((1, 28, 28))
    (6, 28, 28)
    >>> Conv(6, kernel=5, padding=2).pattern((1, 28, 28))
    WindowPattern 4704 x 784: 107736 nonzeros share 150 weights
    """

    out_channels: int
    kernel: Sizes
    stride: Sizes = 1
    dilation: Sizes = 1
    padding: Padding = 0
    padding_mode: PaddingMode = "constant"
    pad_value: float = 0.0
    groups: int = 1
    table: Sequence[Sequence[int]] | None = None
    flip: bool = False
    bias: Bias = True
    init: Init = "he"

    @property
    def window(self) -> Window:
        return Window(self.kernel, self.stride, self.dilation, self.padding, self.padding_mode, who="conv")

    def channel_groups(self, in_channels: int) -> ChannelGroups:
        """Which input channels each output channel reads."""
        check_size(self.out_channels, "conv out_channels")
        if self.table is None:
            _check_groups(self.groups, in_channels, self.out_channels, "conv")
            return ChannelGroups.full(self.out_channels, in_channels, self.groups)
        if self.groups != 1:
            raise ShapeError(f"conv: expected a table or groups, got both (groups={self.groups}); leave one out")
        if len(self.table) != self.out_channels:
            raise ShapeError(
                f"conv table: expected {self.out_channels} rows, one per output channel, got {len(self.table)}; add or "
                "remove rows"
            )
        for o, row in enumerate(self.table):
            if not row or not all(isinstance(c, (int, np.integer)) and 0 <= c < in_channels for c in row):
                raise ShapeError(
                    f"conv table: expected input channels from 0 to {in_channels - 1} in row {o}, got {tuple(row)}; "
                    "correct the row"
                )
        return ChannelGroups.table(self.table)

    def output_shape(self, *input_shapes: Shape) -> Shape:
        channels, *space = check_channels(input_shapes[0], "conv")
        return (self.channel_groups(channels).out_channels, *self.window.output_space(space))

    def weight_shape(self, input_shape: Shape) -> Shape:
        channels, *space = input_shape
        kernel = self.window.sizes(space)[0]
        if self.table is not None:
            return (self.channel_groups(channels).pairs, *kernel)
        return (self.out_channels, channels // self.groups, *kernel)

    def pattern(self, input_shape: Shape) -> Pattern:
        channels, *space = input_shape
        groups, strides = self.channel_groups(channels), (self.window.table_shape(space)[1], 0, 1)
        if self.flip:
            return WindowPattern(groups, channels, self.window.sites(space)[:, ::-1], math.prod(space), strides)
        return WindowPattern.sliding(groups, channels, self.window, space, strides)


@dataclass(frozen=True)
class LocallyConnected(MatrixLayer):
    """A convolution whose weights are not shared: each output site has a kernel of its own.

    As a matrix: the nonzeros of the convolution, each with its own weight.

    Parameters
    ----------
    out_channels, kernel, stride, dilation, padding, padding_mode, pad_value, groups
        As for `Conv`.
    bias : bool or "unit", default "unit"
        One per output unit, one per output channel, or none.
    init : str, default "he"
        First values of the weight.

    Notes
    -----
    The weight has shape (out_channels, in_channels / groups, *kernel, *out_space). Taps on padding have a weight that
    is never used.

    Examples
    --------
    >>> LocallyConnected(2, kernel=3).pattern((1, 4, 4))
    WindowPattern 8 x 16: 72 nonzeros, 72 weights, none shared
    """

    out_channels: int
    kernel: Sizes
    stride: Sizes = 1
    dilation: Sizes = 1
    padding: Padding = 0
    padding_mode: PaddingMode = "constant"
    pad_value: float = 0.0
    groups: int = 1
    bias: Bias = "unit"
    init: Init = "he"

    @property
    def window(self) -> Window:
        return Window(self.kernel, self.stride, self.dilation, self.padding, self.padding_mode, who="locally-connected")

    def output_shape(self, *input_shapes: Shape) -> Shape:
        channels, *space = check_channels(input_shapes[0], "locally-connected")
        _check_groups(self.groups, channels, self.out_channels, "locally-connected")
        return (self.out_channels, *self.window.output_space(space))

    def weight_shape(self, input_shape: Shape) -> Shape:
        channels, *space = input_shape
        kernel = self.window.sizes(space)[0]
        return (self.out_channels, channels // self.groups, *kernel, *self.window.output_space(space))

    def pattern(self, input_shape: Shape) -> Pattern:
        channels, *space = input_shape
        out_sites, taps = self.window.table_shape(space)
        groups = ChannelGroups.full(self.out_channels, channels, self.groups)
        return WindowPattern.sliding(groups, channels, self.window, space, (taps * out_sites, 1, out_sites))


@dataclass(frozen=True)
class ConvTranspose(MatrixLayer):
    """Transposed convolution, which enlarges: the gradient of a convolution used as a layer.

    As a matrix: Wᵀ, the transpose of the matrix of the convolution that goes from its output to its input.

    Parameters
    ----------
    out_channels : int
        Channels of the output.
    kernel, stride, dilation : int or sequence of int
        Of the convolution that is transposed.
    padding : int, one per axis, or (begin, end) pairs, default 0
        Sites cut from the border of the output.
    output_padding : int or sequence of int, default 0
        Sites added at the end of the output; less than the stride or the dilation.
    groups : int, default 1
        Blocks of channels that do not see each other.
    bias : bool or "unit", default True
        One per output channel, none, or one per output unit.
    init : str, default "he"
        First values of the weight.

    Notes
    -----
    The weight has shape (in_channels, out_channels / groups, *kernel), as in PyTorch and ONNX. The output has
    (n − 1)·stride − padding + dilation·(kernel − 1) + output_padding + 1 sites per axis.

    References
    ----------
    V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016.

    Examples
    --------
    >>> ConvTranspose(1, kernel=3).pattern((1, 2, 2))
    TransposedPattern 16 x 4: 36 nonzeros share 9 weights
    """

    out_channels: int
    kernel: Sizes
    stride: Sizes = 1
    dilation: Sizes = 1
    padding: int | Sequence[int | Sequence[int]] = 0
    output_padding: Sizes = 0
    groups: int = 1
    bias: Bias = True
    init: Init = "he"

    @property
    def window(self) -> Window:
        """The window of the convolution that is transposed; it slides over this layer's output."""
        return Window(self.kernel, self.stride, self.dilation, self.padding, who="conv-transpose")

    def output_shape(self, *input_shapes: Shape) -> Shape:
        channels, *space = check_channels(input_shapes[0], "conv-transpose")
        _check_groups(self.groups, channels, self.out_channels, "conv-transpose")
        kernel, stride, dilation = self.window.sizes(space)
        extra = check_sizes(self.output_padding, len(space), "conv-transpose output_padding", least=0)
        out = []
        for n, k, s, d, (begin, end), e in zip(
            space, kernel, stride, dilation, self.window.padding_pairs(space), extra, strict=True
        ):
            if e >= max(s, d):
                raise ShapeError(
                    f"conv-transpose output_padding: expected less than the stride {s} or the dilation {d}, got {e}; "
                    "use a smaller one"
                )
            size = (n - 1) * s - begin - end + d * (k - 1) + e + 1
            if size < 1:
                raise ShapeError(
                    f"conv-transpose: expected at least one output site per axis, got {size} from input "
                    f"{tuple(space)}; use less padding"
                )
            out.append(size)
        return (self.out_channels, *out)

    def weight_shape(self, input_shape: Shape) -> Shape:
        channels, *space = input_shape
        return (channels, self.out_channels // self.groups, *self.window.sizes(space)[0])

    def pattern(self, input_shape: Shape) -> Pattern:
        channels, *space = input_shape
        _, *out_space = self.output_shape(input_shape)
        groups, taps = (
            ChannelGroups.full(channels, self.out_channels, self.groups),
            self.window.table_shape(out_space)[1],
        )
        if self.window.output_space(out_space) == tuple(space):
            return WindowPattern.sliding(groups, self.out_channels, self.window, out_space, (taps, 0, 1)).T
        # An output padding as large as the stride makes room for windows that no input drives: cut them off.
        windows = self.window.sites(out_space).reshape(*self.window.output_space(out_space), taps)
        sites = np.ascontiguousarray(windows[tuple(slice(n) for n in space)]).reshape(-1, taps)
        return WindowPattern(groups, self.out_channels, sites, math.prod(out_space), (taps, 0, 1)).T
