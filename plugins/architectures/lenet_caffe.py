"""Caffe's LeNet: the MNIST tutorial net with 20 and 50 maps, 431,080 params."""

from __future__ import annotations

from simulator import Network, check_image, hookimpl, narrowed


def lenet_caffe(make, input_shape=(1, 28, 28), classes=10, rng=None, width: float = 1.0):
    """Caffe's LeNet: two unpadded 5x5 convolutions with max pooling, then 500 units and the classes.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (1, 28, 28)
        Channels, height, width; at least 15 x 15.
    classes : int, default 10
        Number of logits.
    rng : numpy.random.Generator or None
        Draws the first weights.
    width : float, default 1
        Factor on the number of feature maps and hidden units.

    Notes
    -----
    431,080 params and 2,293,000 MACs; without padding every multiply-add has its nonzero. There is one single ReLU,
    after the 500 units: a convolution, a pooling and a convolution follow each other without any. Caffe rounds the
    number of pooling windows up, which matters at other sizes than 28 x 28.

    The variance of the first weights, 1 / fan-in, and the learning rate of 0.01 are Caffe's, too. He's weights, twice
    that, are for layers with a ReLU behind each; with them and 0.02 training diverged for some seeds.

    References
    ----------
    Y. Jia et al., "Caffe: convolutional architecture for fast feature embedding", 2014; examples/mnist/lenet.prototxt.
    """
    check_image("lenet-caffe", input_shape, least=15)
    scaled = narrowed("lenet-caffe", width)
    layers = [
        ("conv1", make("conv", scaled(20), kernel=5, init="lecun")),
        ("pool1", make("max-pool", 2, ceil=True)),
        ("conv2", make("conv", scaled(50), kernel=5, init="lecun")),
        ("pool2", make("max-pool", 2, ceil=True)),
        ("flatten", make("flatten")),
        ("dense1", make("dense", scaled(500), init="lecun")),
        ("relu1", make("relu")),
        ("dense2", make("dense", classes, init="lecun")),
    ]
    return Network.input(input_shape).chain(layers, rng=rng)


@hookimpl
def register_architectures(register):
    register("lenet-caffe", lenet_caffe, lr=0.01)
