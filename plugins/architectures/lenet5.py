"""The LeNet-5 of today's courses: C3 sees all maps, max pooling, ReLU, 61,706 params."""

from __future__ import annotations

from simulator import Network, ShapeError, hookimpl


def lenet5(make, input_shape=(1, 28, 28), classes=10, rng=None, width=1.0):
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

    References
    ----------
    Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998; as simplified in many courses.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < 12:
        raise ShapeError(
            f"lenet5: expected an input (channels, height, width) of at least 12 x 12, got {tuple(input_shape)}; "
            "resize the images, for example with --input 1x28x28"
        )

    if not 0 < width < float("inf"):
        raise ShapeError(f"lenet5 width: expected a positive factor, got {width}; 1 is the published size")

    def scaled(units):
        return max(1, round(units * width))

    padding = 0 if min(input_shape[1:]) >= 32 else 2
    layers = [
        ("conv1", make("conv", scaled(6), kernel=5, padding=padding)),
        ("relu1", make("relu")),
        ("pool1", make("max-pool", 2)),
        ("conv2", make("conv", scaled(16), kernel=5)),
        ("relu2", make("relu")),
        ("pool2", make("max-pool", 2)),
        ("flatten", make("flatten")),
        ("dense1", make("dense", scaled(120))),
        ("relu3", make("relu")),
        ("dense2", make("dense", scaled(84))),
        ("relu4", make("relu")),
        ("dense3", make("dense", classes)),
    ]
    network = Network.input(input_shape)
    for name, layer in layers:
        network = network.add(layer, name=name, rng=rng)
    return network


@hookimpl
def register_architectures(register):
    register("lenet5", lenet5)
