"""ResNet for ImageNet, 18 to 152 layers deep: each block adds what it computes to what it was given."""

from __future__ import annotations

from simulator import Network, check_image, hookimpl, narrowed

# Blocks in each of the four stages. From 50 layers on a block is a bottleneck of three convolutions, else it has two.
STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

DOC = """ResNet-{depth}: {blocks} residual blocks of {kind}, with batch normalisation{placing}.

    As a matrix each block is I + W before its last ReLU; where the size changes, a 1x1 convolution stands for I.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (3, 224, 224)
        Channels, height, width; at least 32 x 32.
    classes : int, default 1000
        Number of logits.
    rng : numpy.random.Generator or None
        Draws the first weights.
    width : float, default 1
        Factor on the number of feature maps.

    Returns
    -------
    Network

    Raises
    ------
    ShapeError
        If the input is no image or too small, or the width is not positive.

    References
    ----------
    K. He et al., "Deep residual learning for image recognition", 2016. The version of today, with the stride in the 3x3
    convolution of a bottleneck, is that of S. Gross and M. Wilber, "Training and investigating residual nets", 2016.
    """


def resnet(depth, stride_first=False):
    """The function that builds the net of a depth; `stride_first` puts a bottleneck's stride into its first 1x1."""
    stages, bottleneck = STAGES[depth], depth >= 50
    who = f"resnet{depth}{'-v1' * stride_first}"

    def build(make, input_shape=(3, 224, 224), classes=1000, rng=None, width: float = 1.0):
        check_image(who, input_shape, least=32)
        scaled = narrowed(who, width)

        def conv(number, maps, kernel, stride=1):
            layer = make("conv", maps, kernel=kernel, stride=stride, padding=kernel // 2, bias=False)
            return [(f"conv{number}", layer), (f"norm{number}", make("batch-norm"))]

        def relu(number):
            return [(f"relu{number}", make("relu"))]

        stem = [*conv(1, scaled(64), 7, 2), *relu(1), ("pool1", make("max-pool", 3, stride=2, padding=1))]
        network = Network.input(input_shape).chain(stem, rng=rng)
        for stage, blocks in enumerate(stages):
            maps = scaled(64 * 2**stage)
            for number in range(blocks):
                stride = 2 if stage > 0 and number == 0 else 1
                if bottleneck:
                    first, second = (stride, 1) if stride_first else (1, stride)
                    branch = [*conv(1, maps, 1, first), *relu(1), *conv(2, maps, 3, second), *relu(2)]
                    branch += conv(3, 4 * maps, 1)
                else:
                    branch = [*conv(1, maps, 3, stride), *relu(1), *conv(2, maps, 3)]
                network = _block(network, make, f"stage{stage + 1}-block{number + 1}-", branch, stride, rng)
        head = [
            ("pool2", make("average-pool", "global")),
            ("flatten", make("flatten")),
            ("dense", make("dense", classes)),
        ]
        return network.chain(head, rng=rng)

    kind = "three convolutions" if bottleneck else "two 3x3 convolutions"
    placing = f" and the stride in the {'first 1x1, as published' if stride_first else '3x3'}" if bottleneck else ""
    build.__doc__ = DOC.format(depth=depth, blocks=sum(stages), kind=kind, placing=placing)
    return build


def _block(network, make, prefix, branch, stride, rng):
    """relu(branch(x) + x), with a projection of x where the branch changes its shape."""
    source = skip = network.last
    network = network.chain(branch, after=source, prefix=prefix, rng=rng)
    end = network.last
    if network.node(source).shape != network.node(end).shape:
        maps = network.node(end).shape[0]
        projection = [
            ("skip-conv", make("conv", maps, kernel=1, stride=stride, bias=False)),
            ("skip-norm", make("batch-norm")),
        ]
        network = network.chain(projection, after=source, prefix=prefix, rng=rng)
        skip = network.last
    return network.add(make("add"), end, skip, name=f"{prefix}add").add(make("relu"), name=f"{prefix}relu")


@hookimpl
def register_architectures(register):
    small = [{"input_shape": (1, 32, 32), "width": 1 / 32}]
    for depth in STAGES:
        register(f"resnet{depth}", resnet(depth), lr=0.05, examples=small)
    for depth in (50, 101, 152):
        register(f"resnet{depth}-v1", resnet(depth, stride_first=True), lr=0.05, examples=small)
