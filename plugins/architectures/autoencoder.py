"""The convolutional autoencoder: a picture is squeezed into a few numbers, and drawn again from them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from simulator import Network, ShapeError, check_image, hookimpl
from simulator.windows import check_size


def autoencoder(make, input_shape=(1, 8, 8), rng=None, maps: Sequence[int] = (16, 32), code: int = 16):
    """Strided convolutions down to a code, and transposed convolutions back up to logits of the input's shape.

    As a matrix: each transposed convolution is Cᵀ, where C has the connections and the ties of the convolution that it
    undoes; only its weights are its own.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (1, 8, 8)
        Channels, height, width; grey from 0 to 1.
    rng : numpy.random.Generator or None
        Draws the first weights.
    maps : sequence of int, default (16, 32)
        Feature maps of each convolution; each halves the height and the width, rounded up.
    code : int, default 16
        Units of the code.

    Raises
    ------
    ShapeError
        If there is no convolution, or a size does not fit.

    Notes
    -----
    It is trained with the binary cross-entropy of every pixel, which is never below the entropy of grey targets.
    The loss is a sum over pixels, so larger pictures need a smaller learning rate: 0.01 suits 8 x 8, 0.002 28 x 28.

    References
    ----------
    G. Hinton, R. Salakhutdinov, "Reducing the dimensionality of data with neural networks", 2006; J. Masci, U. Meier,
    D. Cireşan, J. Schmidhuber, "Stacked convolutional auto-encoders for hierarchical feature extraction", 2011.

    Examples
    --------
    >>> from simulator import Catalog
    >>> net = Catalog().build("autoencoder")
    >>> net.node("conv1").matrix, net.node("decoded").matrix
    (TiedMatrix 256 x 64: 1936 nonzeros share 144 weights, TiedMatrix 64 x 256: 1936 nonzeros share 144 weights)
    """
    check_image("autoencoder", input_shape, least=2)
    if not maps:
        raise ShapeError(f"autoencoder maps: expected at least one convolution, got {maps}; write maps=(16, 32)")
    check_size(code, "autoencoder code")
    network = Network.input(input_shape)
    shapes = [network.output_shape]
    for number, channels in enumerate(maps, 1):
        conv = make("conv", channels, kernel=3, stride=2, padding=1)
        network = network.chain([(f"conv{number}", conv), (f"relu{number}", make("relu"))], rng=rng)
        shapes.append(network.output_shape)
    inner = [
        ("code", make("dense", code)),
        ("dense", make("dense", math.prod(shapes[-1]))),
        ("relu", make("relu")),
        ("reshape", make("reshape", shapes[-1])),
    ]
    network = network.chain(inner, rng=rng)
    for number in range(len(maps), 0, -1):
        channels, *space = shapes[number - 1]
        even = tuple(1 - n % 2 for n in space)  # both 2n − 1 and 2n sites become n
        up = make("conv-transpose", channels, kernel=3, stride=2, padding=1, output_padding=even)
        last = number == 1
        network = network.add(up, name="decoded" if last else f"up{number}", rng=rng)
        if not last:
            network = network.add(make("relu"), name=f"up-relu{number}")
    return network


@hookimpl
def register_architectures(register):
    register(
        "autoencoder",
        autoencoder,
        lr=0.01,
        task="reconstruct",
        losses={"decoded": "binary-cross-entropy"},
        examples=[{}],
    )
