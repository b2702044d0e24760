"""ResNet-8: the smallest residual net, seven convolutions in three blocks with skips, and one dense layer."""

from __future__ import annotations

from simulator import Network, ShapeError, hookimpl


def resnet8(make, input_shape=(1, 16, 16), classes=10, rng=None, width=16):
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
        Draws the first weights. The last convolution of each branch starts smaller than He's, because there is no
        normalisation.
    width : int, default 16
        Feature maps of the first stage; each later stage has twice as many.

    References
    ----------
    K. He et al., "Deep residual learning for image recognition", 2016 (the CIFAR nets with n = 1 and option B, here
    without batch normalisation).
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < 4:
        raise ShapeError(
            f"resnet8: expected an input (channels, height, width) of at least 4 x 4, got {tuple(input_shape)}; "
            "resize the images, for example with --input 1x16x16"
        )
    if width < 1:
        raise ShapeError(f"resnet8 width: expected at least one feature map, got {width}; 16 is the usual number")
    network = Network.input(input_shape)
    network = network.add(make("conv", width, kernel=3, padding=1), name="conv", rng=rng)
    network = network.add(make("relu"), name="relu")
    source = "relu"
    for stage in range(3):
        maps, stride = width * 2**stage, 1 if stage == 0 else 2
        block = f"block{stage + 1}"
        skip = source
        if stride > 1:
            skip = f"{block}-skip"
            network = network.add(make("conv", maps, kernel=1, stride=stride), source, name=skip, rng=rng)
        for layer, name in (
            (make("conv", maps, kernel=3, stride=stride, padding=1), "conv1"),
            (make("relu"), "relu1"),
            (make("conv", maps, kernel=3, padding=1, init="lecun"), "conv2"),
        ):
            reads = source if name == "conv1" else next(reversed(network.nodes))
            network = network.add(layer, reads, name=f"{block}-{name}", rng=rng)
        network = network.add(make("add"), f"{block}-conv2", skip, name=f"{block}-add")
        source = f"{block}-relu2"
        network = network.add(make("relu"), name=source)
    for layer, name in (
        (make("average-pool", "global"), "pool"),
        (make("flatten"), "flatten"),
        (make("dense", classes), "dense"),
    ):
        network = network.add(layer, name=name, rng=rng)
    return network


@hookimpl
def register_architectures(register):
    register("resnet8", resnet8, lr=0.02)
