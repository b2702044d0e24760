"""AlexNet: the net that won ImageNet 2012, as published, without its groups, and as torchvision has it."""

from __future__ import annotations

from simulator import Network, check_image, hookimpl, narrowed


def alexnet(make, input_shape=(3, 227, 227), classes=1000, rng=None, width: float = 1.0):
    """AlexNet of 2012: five convolutions, three of them in two groups, and three dense layers; 61.0 M params.

    As a matrix: a convolution in two groups has two diagonal blocks, one per graphics card of 2012.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (3, 227, 227)
        Channels, height, width; at least 67 x 67.
    classes : int, default 1000
        Number of logits.
    rng : numpy.random.Generator or None
        Draws the first weights.
    width : float, default 1
        Factor on the number of feature maps and hidden units; the maps stay even.

    Notes
    -----
    60,965,224 params, 724,406,816 MACs, 671,322,656 nonzeros. Pooling windows overlap (3 taps, 2 apart), the first two
    stages normalise responses across five maps, the dense layers drop half of their units.

    What the paper says otherwise: it feeds 224 x 224, but only 227 gives its 55 x 55 windows of 11 taps, 4 apart,
    without padding; it counts 253,440 units in the first layer, 55 * 55 * 96 are 290,400. Its first weights are normal
    with deviation 0.01 and some biases 1; here they are He's, centred, and 0.

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks", 2012.
    """
    return _published("alexnet", make, input_shape, classes, rng, width, groups=2)


def alexnet_ungrouped(make, input_shape=(3, 227, 227), classes=1000, rng=None, width: float = 1.0):
    """AlexNet on one graphics card: every map sees all maps; 62.4 M params.

    Parameters
    ----------
    make, input_shape, classes, rng, width
        As for `alexnet`.

    Notes
    -----
    62,378,344 params, 1,135,256,096 MACs, 1,044,029,984 nonzeros. This form was not published; textbooks print it.
    """
    return _published("alexnet-ungrouped", make, input_shape, classes, rng, width, groups=1)


def alexnet_torchvision(
    make, input_shape=(3, 224, 224), classes=1000, rng=None, width: float = 1.0, adaptive: bool = False
):
    """torchvision's AlexNet: 64, 192, 384, 256, 256 maps, no groups, no normalisation; 61.1 M params.

    Parameters
    ----------
    make, classes, rng, width
        As for `alexnet`.
    input_shape : tuple of int, default (3, 224, 224)
        Channels, height, width; at least 63 x 63.
    adaptive : bool, default False
        Average maps of any size to 6 x 6 before the dense layers, as torchvision does, so that inputs of any size take
        the weights of 224 x 224. Without it only larger maps are; smaller ones are read as they are, by small dense
        layers.

    Notes
    -----
    61,100,840 params, 714,188,480 MACs, 657,918,720 nonzeros. The first convolution is padded by 2, so that 224 x 224
    gives 55 x 55, and in the end 6 x 6: there is nothing to average then, and no layer for it. Dropout stands before
    the first two dense layers, not after them.

    References
    ----------
    A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014; as torchvision has it.
    """
    check_image("alexnet-torchvision", input_shape, least=63)
    scaled = narrowed("alexnet-torchvision", width)
    layers = [
        ("conv1", make("conv", scaled(64), kernel=11, stride=4, padding=2, init="centred")),
        ("relu1", make("relu")),
        ("pool1", make("max-pool", 3, stride=2)),
        ("conv2", make("conv", scaled(192), kernel=5, padding=2, init="centred")),
        ("relu2", make("relu")),
        ("pool2", make("max-pool", 3, stride=2)),
        ("conv3", make("conv", scaled(384), kernel=3, padding=1, init="centred")),
        ("relu3", make("relu")),
        ("conv4", make("conv", scaled(256), kernel=3, padding=1, init="centred")),
        ("relu4", make("relu")),
        ("conv5", make("conv", scaled(256), kernel=3, padding=1, init="centred")),
        ("relu5", make("relu")),
        ("pool5", make("max-pool", 3, stride=2)),
    ]
    network = Network.input(input_shape).chain(layers, rng=rng)
    space = network.output_shape[1:]
    read = (6, 6) if adaptive else tuple(min(n, 6) for n in space)
    layers = [
        *([("average", make("adaptive-average-pool", read))] if read != space else []),
        ("flatten", make("flatten")),
        ("dropout6", make("dropout", 0.5)),
        ("dense6", make("dense", scaled(4096), init="centred")),
        ("relu6", make("relu")),
        ("dropout7", make("dropout", 0.5)),
        ("dense7", make("dense", scaled(4096), init="centred")),
        ("relu7", make("relu")),
        ("dense8", make("dense", classes)),
    ]
    return network.chain(layers, rng=rng)


def _published(who, make, input_shape, classes, rng, width, groups):
    """The net of the paper, with its maps in so many groups."""
    check_image(who, input_shape, least=67)
    scaled = narrowed(who, width)

    def maps(count):
        return 2 * scaled(count // 2)

    def norm():  # the paper's alpha of 1e-4 is not divided by the five maps
        return make("local-response-norm", size=5, alpha=5e-4, beta=0.75, k=2.0)

    layers = [
        ("conv1", make("conv", maps(96), kernel=11, stride=4, init="centred")),
        ("relu1", make("relu")),
        ("norm1", norm()),
        ("pool1", make("max-pool", 3, stride=2)),
        ("conv2", make("conv", maps(256), kernel=5, padding=2, groups=groups, init="centred")),
        ("relu2", make("relu")),
        ("norm2", norm()),
        ("pool2", make("max-pool", 3, stride=2)),
        ("conv3", make("conv", maps(384), kernel=3, padding=1, init="centred")),
        ("relu3", make("relu")),
        ("conv4", make("conv", maps(384), kernel=3, padding=1, groups=groups, init="centred")),
        ("relu4", make("relu")),
        ("conv5", make("conv", maps(256), kernel=3, padding=1, groups=groups, init="centred")),
        ("relu5", make("relu")),
        ("pool5", make("max-pool", 3, stride=2)),
        ("flatten", make("flatten")),
        ("dense6", make("dense", scaled(4096), init="centred")),
        ("relu6", make("relu")),
        ("dropout6", make("dropout", 0.5)),
        ("dense7", make("dense", scaled(4096), init="centred")),
        ("relu7", make("relu")),
        ("dropout7", make("dropout", 0.5)),
        ("dense8", make("dense", classes)),
    ]
    return Network.input(input_shape).chain(layers, rng=rng)


@hookimpl
def register_architectures(register):
    small = [{"input_shape": (1, 67, 67), "width": 1 / 16}]
    register("alexnet", alexnet, lr=0.01, examples=small)
    register("alexnet-ungrouped", alexnet_ungrouped, lr=0.01, examples=small)
    register("alexnet-torchvision", alexnet_torchvision, lr=0.01, epochs=40, examples=small)
