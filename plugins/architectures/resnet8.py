"""ResNet-8: the smallest residual net, seven convolutions in three blocks with skips, and one dense layer."""

from __future__ import annotations

from simulator import Network, check_image, hookimpl
from simulator.windows import check_size


def resnet8(make, input_shape=(1, 16, 16), classes=10, rng=None, width: int = 16):
    """A residual net with 8 weighted layers: y = relu(F(x) + x) in three stages.

    As a matrix each skip is I + W: the identity, or a 1x1 convolution where the size changes.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (1, 16, 16)
        Channels, height, width; at least 4 x 4.
    classes : int, default 10
        Number of logits.
    rng : numpy.random.Generator or None
        Draws the first weights. They are centred where a ReLU follows, and smaller than He's in the last convolution
        of each branch, because there is no normalisation.
    width : int, default 16
        Feature maps of the first stage; each later stage has twice as many.

    References
    ----------
    K. He et al., "Deep residual learning for image recognition", 2016 (the CIFAR nets with n = 1 and option B, here
    without batch normalisation).
    """
    check_image("resnet8", input_shape, least=4)
    width = check_size(width, "resnet8 width")
    stem = [("conv", make("conv", width, kernel=3, padding=1, init="centred")), ("relu", make("relu"))]
    network = Network.input(input_shape).chain(stem, rng=rng)
    for stage in range(3):
        maps, stride = width * 2**stage, 1 if stage == 0 else 2
        block = f"block{stage + 1}-"
        source = skip = network.last
        if stride > 1:
            skip = f"{block}skip"
            network = network.add(make("conv", maps, kernel=1, stride=stride), source, name=skip, rng=rng)
        branch = [
            ("conv1", make("conv", maps, kernel=3, stride=stride, padding=1, init="centred")),
            ("relu1", make("relu")),
            ("conv2", make("conv", maps, kernel=3, padding=1, init="lecun")),
        ]
        network = network.chain(branch, after=source, prefix=block, rng=rng)
        network = network.add(make("add"), network.last, skip, name=f"{block}add")
        network = network.add(make("relu"), name=f"{block}relu2")
    head = [
        ("pool", make("average-pool", "global")),
        ("flatten", make("flatten")),
        ("dense", make("dense", classes)),
    ]
    return network.chain(head, rng=rng)


@hookimpl
def register_architectures(register):
    register("resnet8", resnet8, lr=0.02)
