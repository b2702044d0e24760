"""The variational autoencoder: a code with noise in it, so that its decoder also draws from nothing but noise.

In this file

- `GaussianSample`, the layer that draws the code;
- `vae`, the architecture, and `decoder`, the half of a trained one that draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from simulator import FunctionLayer, Network, ShapeError, hookimpl
from simulator.windows import check_size


@dataclass(frozen=True)
class GaussianSample(FunctionLayer):
    """In training a draw from the Gaussian that the input describes, afterwards its mean.

    As a matrix: afterwards [I 0], which picks the means; in training one for each sample and draw, with an offset.

    Notes
    -----
    The input (2k, *space) holds k channels of means μ and then k channels of log-variances log σ². The output in
    training is μ + σ·ε with ε from a standard normal: the noise comes from beside, so the gradient reaches μ and σ.

    References
    ----------
    D. Kingma and M. Welling, "Auto-encoding variational Bayes", 2014, section 2.4 (the reparametrisation trick).

    Examples
    --------
    >>> x = np.array([[5.0], [-100.0]])  # mean 5, hardly any variance
    >>> GaussianSample().forward({}, {}, x, training=True, rng=np.random.default_rng(0))[0]
    array([[5.]])
    """

    def output_shape(self, *input_shapes):
        channels, *space = input_shapes[0]
        if channels % 2:
            raise ShapeError(
                f"gaussian-sample: expected means and as many log-variances, got {channels} channels; give the layer "
                "before it an even number of outputs"
            )
        return (channels // 2, *space)

    def forward(self, params, buffers, *xs, training=False, rng=None):
        mean, log_variance = np.split(xs[0], 2)
        noise = np.zeros_like(mean)
        if training:
            # Drawn in float64 for any x, so that a seed draws the same in either precision.
            noise = np.exp(log_variance / 2) * rng.standard_normal(mean.shape).astype(mean.dtype)
        return mean + noise, lambda dy: ((np.concatenate([dy, dy * noise / 2]),), {}), {}

    def affine_at(self, params, buffers, *xs):
        n = xs[0].size // 2
        return [scipy.sparse.eye_array(n, 2 * n, dtype=xs[0].dtype, format="csr")], np.zeros(n, xs[0].dtype)


def vae(make, input_shape=(1, 8, 8), rng=None, hidden: int = 128, code: int = 8):
    """Dense layers to the mean and variance of each code unit, a draw, and dense layers back to logits of the input.

    As a matrix: four dense ones, with a draw in the middle.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (1, 8, 8)
        Of one sample, with any axes; grey from 0 to 1.
    rng : numpy.random.Generator or None
        Draws the first weights.
    hidden : int, default 128
        Units between the input and the code, and between the code and the output.
    code : int, default 8
        Units of the code.

    Notes
    -----
    It is trained with the binary cross-entropy of node "decoded" plus the KL divergence of node "gaussian" from the
    standard normal: the negative of a lower bound on the log-likelihood. The loss is a sum over pixels, so larger
    pictures need a smaller learning rate: 0.005 suits 8 x 8, 0.001 28 x 28.

    References
    ----------
    D. Kingma and M. Welling, "Auto-encoding variational Bayes", 2014, appendix C.

    Examples
    --------
    >>> from simulator import Catalog
    >>> Catalog().build("vae").node("sample")
    sample: GaussianSample() -> (8,)
    """
    check_size(hidden, "vae hidden")
    layers = [
        ("dense1", make("dense", hidden)),
        ("relu1", make("relu")),
        ("gaussian", make("dense", 2 * check_size(code, "vae code"), init="lecun")),
        ("sample", make("gaussian-sample")),
        ("dense2", make("dense", hidden)),
        ("relu2", make("relu")),
        ("dense3", make("dense", math.prod(input_shape), init="lecun")),
        ("decoded", make("reshape", input_shape)),
    ]
    return Network.input(input_shape).chain(layers, rng=rng)


def decoder(network):
    """The half of a variational autoencoder that follows its code.

    Parameters
    ----------
    network : Network
        A chain of layers with a node "sample", such as `vae` builds.

    Returns
    -------
    Network
        From a code to logits, with the same weights: it draws when it is fed with standard normal numbers.

    Raises
    ------
    UnknownNameError
        If there is no node "sample".
    SimulatorError
        If the network has no weights.

    Examples
    --------
    >>> from simulator import Catalog
    >>> draw = decoder(Catalog().build("vae"))
    >>> draw.predict(np.random.default_rng(0).standard_normal((3, 8))).shape
    (3, 1, 8, 8)
    """
    code = network.node("sample")
    names = list(network.nodes)
    after = [(name, network.nodes[name].layer) for name in names[names.index("sample") + 1 :]]
    half = Network.input(code.shape, "code", dtype=network.dtype, engine=network.engine).chain(after)
    return half.with_params({name: array for name, array in network.params.items() if name in half.param_shapes})


@hookimpl
def register_layers(register):
    register("gaussian-sample", GaussianSample)


@hookimpl
def register_architectures(register):
    register(
        "vae",
        vae,
        lr=0.005,
        task="reconstruct",
        losses={"decoded": "binary-cross-entropy", "gaussian": "gaussian-kl"},
        examples=[{"hidden": 8, "code": 2}],
    )
