"""The CIFAR-10 nets of the ResNet paper, 20 to 110 layers deep: residual, and plain ones to compare them with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator import (
    ChannelGroups,
    MatrixLayer,
    Network,
    ShapeError,
    Window,
    WindowPattern,
    check_image,
    hookimpl,
    narrowed,
)
from simulator.direct import direct
from simulator.initializers import Init
from simulator.layers.base import check_channels
from simulator.windows import check_size

DEPTHS = (20, 32, 44, 56, 110)


@dataclass(frozen=True)
class IdentityShortcut(MatrixLayer):
    """A skip connection to fewer sites and more channels that has no weights: option A of the ResNet paper.

    As a matrix: a 0/1 matrix with a one where an output unit copies an input unit; rows of added channels are empty.

    Parameters
    ----------
    channels : int
        Of the output; those after the input's own are zero.
    stride : int or sequence of int, default 2
        Sites between those that are copied.

    References
    ----------
    K. He et al., "Deep residual learning for image recognition", 2016, section 3.3.

    Examples
    --------
    >>> IdentityShortcut(32).pattern((16, 8, 8))
    WindowPattern 512 x 1024: 256 nonzeros share 1 weight
    """

    channels: int
    stride: int | tuple[int, ...] = 2
    trained = False

    @property
    def window(self):
        """One tap, `stride` sites apart."""
        return Window(1, self.stride, who="identity-shortcut")

    def output_shape(self, *input_shapes):
        """(channels, *space) with every stride-th site."""
        channels, *space = check_channels(input_shapes[0], "identity-shortcut")
        if check_size(self.channels, "identity-shortcut channels") < channels:
            raise ShapeError(
                f"identity-shortcut channels: expected at least the {channels} of the input, got {self.channels}; it "
                "adds channels and drops none"
            )
        return (self.channels, *self.window.output_space(space))

    def pattern(self, input_shape):
        """One connection per copied unit."""
        channels, *space = input_shape
        table = [(c,) if c < channels else () for c in range(self.channels)]
        return WindowPattern(
            ChannelGroups.table(table), channels, self.window.sites(space), int(np.prod(space)), (0, 0, 0)
        )

    def weight_shape(self, input_shape):
        """All connections share a single one."""
        return (1,)

    def fixed_weight(self, input_shape):
        """It is 1."""
        return np.ones(1)


@direct.register
def _identity_shortcut(layer: IdentityShortcut, x, weight, dy):
    space = x.ndim - 2
    strides = (layer.stride,) * space if isinstance(layer.stride, int) else layer.stride
    copied = (slice(None), *(slice(None, None, s) for s in strides))
    y, dx = np.zeros_like(dy), np.zeros_like(x)
    y[: len(x)] = x[copied]
    dx[copied] = dy[: len(x)]
    return y, dx, None


DOC = """{title}

    {matrix}

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (3, 32, 32)
        Channels, height, width; at least 4 x 4.
    classes : int, default 10
        Number of logits.
    rng : numpy.random.Generator or None
        Draws the first weights.
    width : float, default 1
        Factor on the number of feature maps.{options}
    norm : bool, default True
        Batch normalisation after each convolution; without it the convolutions have biases.{more}

    Returns
    -------
    Network

    Raises
    ------
    ShapeError
        If the input is no image or too small, or an option has another value.

    References
    ----------
    K. He et al., "Deep residual learning for image recognition", 2016, section 4.2.
    """
OPTION = """
    option : {"A", "B"}, default "A"
        What a skip does where the size changes: it subsamples and adds zero channels, or it is a 1x1 convolution."""
BRANCH_INIT = """
    branch_init : str, default "he"
        First values of the last convolution of each branch. Deep nets without normalisation need "zeros", with which
        each block starts as the identity. Take option "B" with it: the zero channels that option "A" adds stay zero for
        ever behind branches of zeros, for ReLU passes no gradient there."""


def residual(depth):
    """The function that builds the residual net of a depth."""

    def build(
        make,
        input_shape=(3, 32, 32),
        classes=10,
        rng=None,
        width: float = 1.0,
        option: Literal["A", "B"] = "A",
        norm: bool = True,
        branch_init: Init = "he",
    ):
        who = f"resnet{depth}-cifar"

        def join(network, prefix, source, maps, stride):
            end = skip = network.last
            if network.node(source).shape == network.node(end).shape:
                skip = source
            elif option == "A":
                skip = f"{prefix}skip"
                network = network.add(make("identity-shortcut", maps, stride=stride), source, name=skip)
            else:
                projection = _conv(make, "skip", maps, 1, stride, norm)
                network = network.chain(projection, after=source, prefix=prefix, rng=rng)
                skip = network.last
            return network.add(make("add"), end, skip, name=f"{prefix}add")

        return _stages(who, depth, make, input_shape, classes, rng, width, norm, branch_init, join)

    title = f"ResNet-{depth} for CIFAR-10: three stages of {(depth - 2) // 6} residual blocks, 16 to 64 maps."
    matrix = "As a matrix each block is I + W before its last ReLU; with option A the skip is a fixed 0/1 matrix."
    build.__doc__ = DOC.format(title=title, matrix=matrix, options=OPTION, more=BRANCH_INIT)
    return build


def plain(depth):
    """The function that builds the plain net of a depth."""

    def build(make, input_shape=(3, 32, 32), classes=10, rng=None, width: float = 1.0, norm: bool = True):
        def join(network, prefix, source, maps, stride):
            return network

        return _stages(f"plain{depth}", depth, make, input_shape, classes, rng, width, norm, "he", join)

    title = f"Plain-{depth} for CIFAR-10: ResNet-{depth} without its skips, {depth - 1} convolutions in a row."
    matrix = "As a matrix each block is W alone: there is no identity beside it."
    build.__doc__ = DOC.format(title=title, matrix=matrix, options="", more="")
    return build


def _conv(make, name, maps, kernel, stride, norm, init="he"):
    layer = make("conv", maps, kernel=kernel, stride=stride, padding=kernel // 2, bias=not norm, init=init)
    return [(name, layer)] + [(f"{name}-norm", make("batch-norm"))] * norm


def _stages(who, depth, make, input_shape, classes, rng, width, norm, branch_init, join):
    """The net; `join` adds the skip to a branch, if there is one."""
    check_image(who, input_shape, least=4)
    scaled = narrowed(who, width)
    stem = [*_conv(make, "conv", scaled(16), 3, 1, norm), ("relu", make("relu"))]
    network = Network.input(input_shape).chain(stem, rng=rng)
    for stage in range(3):
        maps = scaled(16 * 2**stage)
        for number in range((depth - 2) // 6):
            prefix, source = f"stage{stage + 1}-block{number + 1}-", network.last
            stride = 2 if stage > 0 and number == 0 else 1
            branch = [*_conv(make, "conv1", maps, 3, stride, norm), ("relu1", make("relu"))]
            branch += _conv(make, "conv2", maps, 3, 1, norm, branch_init)
            network = network.chain(branch, after=source, prefix=prefix, rng=rng)
            network = join(network, prefix, source, maps, stride)
            network = network.add(make("relu"), name=f"{prefix}relu2")
    head = [
        ("pool", make("average-pool", "global")),
        ("flatten", make("flatten")),
        ("dense", make("dense", classes)),
    ]
    return network.chain(head, rng=rng)


@hookimpl
def register_layers(register):
    register("identity-shortcut", IdentityShortcut, examples=[(IdentityShortcut(5), (2, 5, 4))])


@hookimpl
def register_architectures(register):
    small = [{"input_shape": (1, 8, 8), "width": 1 / 8}]
    for depth in DEPTHS:
        register(f"resnet{depth}-cifar", residual(depth), lr=0.02, epochs=40, examples=small)
        register(f"plain{depth}", plain(depth), lr=0.05, epochs=40, examples=small)
