"""The zip-code net of 1989: the first convolutional net trained by back-propagation, 64,660 links and 9,760 params."""

from __future__ import annotations

from simulator import Network, check_image, hookimpl, narrowed


def lecun1989(make, input_shape=(1, 16, 16), classes=10, rng=None, width: float = 1.0):
    """LeCun's zip-code net of 1989: two strided convolutions with a bias per unit, 30 hidden units, scaled tanh.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (1, 16, 16)
        Channels, height, width; at least 4 x 4. Pixels from -1, the background, to 1.
    classes : int, default 10
        Number of logits.
    rng : numpy.random.Generator or None
        Draws the first weights.
    width : float, default 1
        Factor on the number of feature maps and hidden units.

    Notes
    -----
    Params + links, as the paper prints them: H1 1,068 and 19,968, H2 2,592 and 38,592, H3 5,790 and 5,790, output 310
    and 310. Windows that reach over the border see a plane of the background level -1, which a tap on the padding
    carries as a bias; such links have no nonzero. The paper does not say at which side the third line of padding
    stands; here it is the lower right, as SAME puts it.

    Each map of H2 reads 8 of the 12 maps of H1 "according to a scheme that will not be described here". The scheme
    below is one of several that give the counts: a third of H2 leaves out one third of H1. It is that of
    A. Karpathy's reproduction, "Deep neural nets: 33 years ago and 33 years from now", 2022.

    The paper puts a scaled tanh on the output, too, and pulls it to +1 and -1; here the network ends in logits.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", 1989.
    """
    check_image("lecun1989", input_shape, least=4)
    scaled = narrowed("lecun1989", width)
    third = scaled(4)
    first, middle, last = (tuple(range(n * third, (n + 1) * third)) for n in range(3))
    table = (first + middle,) * third + (middle + last,) * third + (first + last,) * third
    border = {"padding": "same", "pad_value": -1.0, "bias": "unit", "init": "lecun"}
    layers = [
        ("h1", make("conv", 3 * third, kernel=5, stride=2, **border)),
        ("h1-tanh", make("scaled-tanh")),
        ("h2", make("conv", 3 * third, kernel=5, stride=2, table=table, **border)),
        ("h2-tanh", make("scaled-tanh")),
        ("flatten", make("flatten")),
        ("h3", make("dense", scaled(30), init="lecun")),
        ("h3-tanh", make("scaled-tanh")),
        ("output", make("dense", classes, init="lecun")),
    ]
    return Network.input(input_shape).chain(layers, rng=rng)


@hookimpl
def register_architectures(register):
    register("lecun1989", lecun1989, lr=0.02, epochs=60)
