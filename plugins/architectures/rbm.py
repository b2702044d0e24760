"""The restricted Boltzmann machine: one matrix W, read upwards to find features and downwards to draw.

In this file

- `rbm`, the architecture: dense, or convolutional with ``kernel=``, which is the same, because either is a matrix;
- `free_energy`, `gibbs` and `contrastive_divergence`: what it prefers, how it draws, how it learns.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import scipy

from simulator import SGD, Network, ShapeError, SimulatorError, hookimpl
from simulator.network import as_rng
from simulator.windows import Sizes, check_size


def rbm(make, input_shape=(1, 8, 8), rng=None, hidden: int = 64, kernel: Sizes | None = None):
    """A restricted Boltzmann machine: visible units, hidden units, and one matrix between them.

    As a matrix: W from the visible to the hidden units, and one row b, the visible units' bias.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (1, 8, 8)
        Of one sample, with any axes; units are 0 or 1, or the chance of a 1.
    rng : numpy.random.Generator or None
        Draws the first weights.
    hidden : int, default 64
        Hidden units, or with a kernel hidden maps.
    kernel : int or sequence of int, optional
        Make W a convolution with kernels of this size. Default: W is dense.

    Notes
    -----
    Node "hidden" gives W v + c, the logits of the hidden units; node "visible" gives b·v.

    References
    ----------
    P. Smolensky, "Information processing in dynamical systems: foundations of harmony theory", 1986; H. Lee, R. Grosse,
    R. Ranganath, A. Ng, "Convolutional deep belief networks for scalable unsupervised learning of hierarchical
    representations", 2009 (the convolutional one; here each visible unit has its own bias).

    Examples
    --------
    >>> from simulator import Catalog
    >>> Catalog().build("rbm").node("hidden").matrix
    TiedMatrix 64 x 64: 4096 nonzeros, 4096 weights, none shared
    >>> Catalog().build("rbm", hidden=16, kernel=3).node("hidden").matrix
    TiedMatrix 576 x 64: 5184 nonzeros share 144 weights
    """
    matrix = make("dense", hidden, init="glorot") if kernel is None else make("conv", hidden, kernel, init="glorot")
    network = Network.input(input_shape).add(matrix, name="hidden", rng=rng)
    return network.add(make("dense", 1, bias=False, init="zeros"), "input", name="visible", rng=rng)


def _parts(network):
    """W, the visible bias (n_visible, 1) and the hidden bias of every unit (n_hidden, 1)."""
    matrix, params = network.node("hidden").matrix, network.params
    bias = params["hidden.bias"]
    return matrix, params["visible.weight"].T, np.repeat(bias, matrix.shape[0] // len(bias))[:, None]


def free_energy(network, v):
    """How little a machine likes its visible units: −log of the sum over all hidden states, up to a constant.

    Parameters
    ----------
    network : Network
        As `rbm` builds it.
    v : array_like, (batch, *shape)
        Visible units.

    Returns
    -------
    numpy.ndarray, (batch,)
        F(v) = −b·v − Σ log(1 + exp(W v + c)); the probability of v is proportional to exp(−F(v)).
    """
    trace = network.run(v)
    hidden = np.logaddexp(0, trace["hidden"])  # (batch, *hidden)
    return -trace["visible"][:, 0] - hidden.sum(axis=tuple(range(1, hidden.ndim)))


def slope(network, v):
    """Gradient of the mean of −F(v) over a batch (batch, *shape) with respect to every param: a dict of arrays."""
    matrix, _, c = _parts(network)
    x = _columns(network, v)
    h = scipy.special.expit(matrix @ x + c)  # the chances of the hidden units, (n_hidden, batch)
    shapes = network.param_shapes
    sums = {
        "hidden.weight": matrix.grad(x, h),
        "hidden.bias": h.reshape(*shapes["hidden.bias"], -1).sum(axis=1),
        "visible.weight": x.sum(axis=1),
    }
    return {name: (total / len(v)).reshape(shapes[name]) for name, total in sums.items()}


def gibbs(network, v, steps=1, rng=0):
    """Draw the hidden units for the visible ones and these anew, several times.

    Parameters
    ----------
    network : Network
        As `rbm` builds it.
    v : array_like, (batch, *shape)
        Visible units at the start.
    steps : int, default 1
        Times up and down.
    rng : numpy.random.Generator or int, default 0
        Source of randomness.

    Returns
    -------
    numpy.ndarray, (batch, *shape)
        Zeros and ones: after many steps a draw from the machine's distribution.
    """
    rng = as_rng(rng)
    matrix, b, c = _parts(network)
    x = _columns(network, v)
    for _ in range(steps):
        h = rng.random((matrix.shape[0], len(v))) < scipy.special.expit(matrix @ x + c)
        x = (rng.random(x.shape) < scipy.special.expit(matrix.rmatvec(h.astype(x.dtype)) + b)).astype(x.dtype)
    return x.T.reshape(len(v), *network.input_shape)


def reconstruction(network, v):
    """The chances of the visible units (batch, *shape) once the hidden units have their chances for `v`."""
    matrix, b, c = _parts(network)
    h = scipy.special.expit(matrix @ _columns(network, v) + c)
    return scipy.special.expit(matrix.rmatvec(h) + b).T.reshape(len(v), *network.input_shape)


def _columns(network, v):
    """Samples as columns, (n_visible, batch), in the network's precision."""
    return np.ascontiguousarray(np.asarray(v, network.dtype).reshape(len(v), -1).T)


@dataclass(frozen=True, eq=False)
class RBMEpoch:
    """The state of learning after one pass over the data.

    Parameters
    ----------
    number : int
        Counted from 1.
    network : Network
        With the weights after this epoch.
    error : float
        Mean square, over all units, of what `reconstruction` misses on the data.
    seconds : float
        That the epoch took.
    """

    number: int
    network: Network
    error: float
    seconds: float


def contrastive_divergence(
    network, data, *, steps=1, persistent=False, optimizer=None, epochs=10, batch_size=32, rng=0
):
    """Teach a restricted Boltzmann machine to prefer the data to what it draws itself.

    Parameters
    ----------
    network : Network
        As `rbm` builds it.
    data : Dataset
        Inputs from 0 to 1; targets are not used.
    steps : int, default 1
        Times up and down before what is drawn is compared.
    persistent : bool, default False
        Go on with the draws of the step before, instead of starting from the data.
    optimizer : Optimizer, default ``SGD(0.1)``
        Takes the steps.
    epochs : int, default 10
        Passes over the data.
    batch_size : int, default 32
        Most samples per step; the batches of an epoch are of about one size.
    rng : numpy.random.Generator or int, default 0
        Shuffles and draws. One seed, one result.

    Yields
    ------
    RBMEpoch

    Raises
    ------
    ShapeError
        If the data do not fit or are not from 0 to 1, or a number is not positive.
    SimulatorError
        If the weights are no longer finite.

    Notes
    -----
    The log-likelihood rises along the slope of −F at the data (positive phase) minus its mean over the machine's own
    draws (negative phase). The exact draws take endless Gibbs steps; a few from the data give a useful direction.

    References
    ----------
    G. Hinton, "Training products of experts by minimizing contrastive divergence", 2002; T. Tieleman, "Training
    restricted Boltzmann machines using approximations to the likelihood gradient", 2008 (persistent).

    Examples
    --------
    >>> from simulator import Catalog
    >>> catalog = Catalog()
    >>> data = catalog.load_data("digits").take(slice(200))
    >>> first, *_, last = contrastive_divergence(catalog.build("rbm"), data, epochs=5)
    >>> last.error < first.error
    True
    """
    if data.shape != network.input_shape:
        raise ShapeError(
            f"contrastive-divergence: expected samples of shape {network.input_shape}, got {data.shape}; build the "
            "machine for the data"
        )
    if data.inputs.min() < 0 or data.inputs.max() > 1:
        raise ShapeError(
            f"contrastive-divergence: expected inputs from 0 to 1, got {data.inputs.min()} to {data.inputs.max()}; "
            "scale them"
        )
    for name, number in (("steps", steps), ("epochs", epochs), ("batch_size", batch_size)):
        check_size(number, f"contrastive-divergence {name}")
    return _epochs(network, data.inputs, steps, persistent, optimizer or SGD(0.1), epochs, batch_size, as_rng(rng))


def _epochs(network, samples, steps, persistent, optimizer, epochs, batch_size, rng):
    state, chain = optimizer.init(network.params), None
    for number in range(1, epochs + 1):
        start = time.perf_counter()
        for batch in np.array_split(rng.permutation(len(samples)), math.ceil(len(samples) / batch_size)):
            seen = samples[batch]
            chain = gibbs(network, seen if chain is None or not persistent else chain, steps, rng)
            positive, negative = slope(network, seen), slope(network, chain)
            params, state = optimizer.step(
                network.params, {name: negative[name] - positive[name] for name in positive}, state
            )
            network = network.with_params(params, copy=False)
        error = float(np.mean(np.square(samples - reconstruction(network, samples))))
        if not math.isfinite(error):
            raise SimulatorError(
                f"contrastive-divergence: expected finite weights, got an error of {error} after epoch {number}; use a "
                "smaller learning rate"
            )
        yield RBMEpoch(number, network, error, time.perf_counter() - start)


@hookimpl
def register_architectures(register):
    register("rbm", rbm, task="part", examples=[{"hidden": 5}, {"hidden": 3, "kernel": 3}])
