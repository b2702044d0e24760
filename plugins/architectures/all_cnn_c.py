"""All-CNN-C: strided convolutions instead of pooling, 1x1 convolutions instead of dense layers, 1.4 M params."""

from __future__ import annotations

from simulator import Network, check_image, hookimpl, narrowed


def all_cnn_c(make, input_shape=(3, 32, 32), classes=10, rng=None, width: float = 1.0):
    """All-CNN-C: nine convolutions and nothing that pools before the last average; 1.4 M params.

    As a matrix: all layers but the ReLUs are convolutions, and a strided one takes every second row of its plain self.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (3, 32, 32)
        Channels, height, width; at least 9 x 9.
    classes : int, default 10
        Number of logits, and of maps of the last convolution.
    rng : numpy.random.Generator or None
        Draws the first weights.
    width : float, default 1
        Factor on the number of feature maps.

    Notes
    -----
    1,369,738 params. The paper leaves the padding open, but averages over 6 x 6 sites: here the first six convolutions
    are padded by 1, sizes 32, 16, 8, and the seventh is not, which gives its 6 x 6, 270,798,336 MACs and 254,183,040
    nonzeros. A fifth of the input and half of the units after each strided convolution are dropped.

    The paper puts a ReLU on the last maps, too, before each is averaged to one logit. A map that is negative everywhere
    at the start gets no gradient through it, and its class is never learned: here that ReLU is left out.

    References
    ----------
    J. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller, "Striving for simplicity: the all convolutional net", 2015.
    """
    check_image("all-cnn-c", input_shape, least=9)
    scaled = narrowed("all-cnn-c", width)
    few, many = scaled(96), scaled(192)
    layers = [
        ("dropout0", make("dropout", 0.2)),
        ("conv1", make("conv", few, kernel=3, padding=1, init="centred")),
        ("relu1", make("relu")),
        ("conv2", make("conv", few, kernel=3, padding=1, init="centred")),
        ("relu2", make("relu")),
        ("conv3", make("conv", few, kernel=3, stride=2, padding=1, init="centred")),
        ("relu3", make("relu")),
        ("dropout3", make("dropout", 0.5)),
        ("conv4", make("conv", many, kernel=3, padding=1, init="centred")),
        ("relu4", make("relu")),
        ("conv5", make("conv", many, kernel=3, padding=1, init="centred")),
        ("relu5", make("relu")),
        ("conv6", make("conv", many, kernel=3, stride=2, padding=1, init="centred")),
        ("relu6", make("relu")),
        ("dropout6", make("dropout", 0.5)),
        ("conv7", make("conv", many, kernel=3, init="centred")),
        ("relu7", make("relu")),
        ("conv8", make("conv", many, kernel=1, init="centred")),
        ("relu8", make("relu")),
        ("conv9", make("conv", classes, kernel=1)),
        ("pool", make("average-pool", "global")),
        ("flatten", make("flatten")),
    ]
    return Network.input(input_shape).chain(layers, rng=rng)


@hookimpl
def register_architectures(register):
    register("all-cnn-c", all_cnn_c, lr=0.03, epochs=60, examples=[{"input_shape": (1, 12, 12), "width": 1 / 8}])
