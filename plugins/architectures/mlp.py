"""The multilayer perceptron: the fully connected baseline that convolutional nets are measured against."""

from __future__ import annotations

from collections.abc import Sequence

from simulator import Network, hookimpl, narrowed
from simulator.windows import check_size


def mlp(make, input_shape=(1, 8, 8), classes=10, rng=None, hidden: Sequence[int] = (64,), width: float = 1.0):
    """Dense layers with ReLU between them; an input of any shape is flattened in C order.

    As a matrix: every cell of every layer is a nonzero with a weight of its own. A convolution is such a matrix, too,
    but most of its cells are zero, and the others share a few weights.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (1, 8, 8)
        Of one sample, with any axes.
    classes : int, default 10
        Number of logits.
    rng : numpy.random.Generator or None
        Draws the first weights.
    hidden : sequence of int, default (64,)
        Units of each hidden layer; with none the network is a linear classifier.
    width : float, default 1
        Factor on the number of hidden units.

    References
    ----------
    D. E. Rumelhart, G. E. Hinton, R. J. Williams, "Learning representations by back-propagating errors", 1986.

    Examples
    --------
    >>> from simulator import Catalog
    >>> net = Catalog().build("mlp", (1, 28, 28), hidden=(100, 50))
    >>> net
    Network 5 layers, 84060 params: (1, 28, 28) -> (10,)
    >>> net.node("dense1").matrix
    TiedMatrix 100 x 784: 78400 nonzeros, 78400 weights, none shared
    """
    scaled = narrowed("mlp", width)
    layers = []
    for number, units in enumerate(hidden, 1):
        out = scaled(check_size(units, "mlp hidden"))
        layers += [(f"dense{number}", make("dense", out, init="centred")), (f"relu{number}", make("relu"))]
    layers.append((f"dense{len(hidden) + 1}", make("dense", classes)))
    return Network.input(input_shape).chain(layers, rng=rng)


@hookimpl
def register_architectures(register):
    register("mlp", mlp, lr=0.05, epochs=60)
