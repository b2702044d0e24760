"""The LeNet-5 of today's courses: C3 sees all maps, max pooling, ReLU, 61,706 params."""

from __future__ import annotations

from simulator import Network, check_image, hookimpl, narrowed


def lenet5(make, input_shape=(1, 28, 28), classes=10, rng=None, width: float = 1.0):
    """LeNet-5 as taught today: two 5x5 convolutions with max pooling, then 120, 84 and the classes.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (1, 28, 28)
        Channels, height, width; at least 12 x 12. From 32 x 32 on the first convolution is not padded, below it is
        padded by 2, so that 28 x 28 and 32 x 32 give the published counts.
    classes : int, default 10
        Number of logits.
    rng : numpy.random.Generator or None
        Draws the first weights.
    width : float, default 1
        Factor on the number of feature maps and hidden units.

    Notes
    -----
    First weights that are centred, and a learning rate of 0.01, keep the feature maps alive. With those of He a map may
    respond to no digit from the start, and trained at 0.05 up to 4 of 6 and 9 of 16 maps ended up so.

    References
    ----------
    Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998; as simplified in many courses.
    """
    check_image("lenet5", input_shape, least=12)
    scaled = narrowed("lenet5", width)
    padding = 0 if min(input_shape[1:]) >= 32 else 2
    layers = [
        ("conv1", make("conv", scaled(6), kernel=5, padding=padding, init="centred")),
        ("relu1", make("relu")),
        ("pool1", make("max-pool", 2)),
        ("conv2", make("conv", scaled(16), kernel=5, init="centred")),
        ("relu2", make("relu")),
        ("pool2", make("max-pool", 2)),
        ("flatten", make("flatten")),
        ("dense1", make("dense", scaled(120), init="centred")),
        ("relu3", make("relu")),
        ("dense2", make("dense", scaled(84), init="centred")),
        ("relu4", make("relu")),
        ("dense3", make("dense", classes)),
    ]
    return Network.input(input_shape).chain(layers, rng=rng)


@hookimpl
def register_architectures(register):
    register("lenet5", lenet5, lr=0.01)
