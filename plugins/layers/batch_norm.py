"""Batch normalisation: each channel gets mean 0 and variance 1; for inference it is folded into the layer before it.

In this file

- `BatchNorm`, the layer: it measures in training, and is one scale and one offset per channel at inference;
- `freeze`, for fine-tuning: the layers of a network keep what they measured;
- `fold`, which merges these into the weights of the convolutions and dense layers before it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, fields, replace

import numpy as np
import scipy

from simulator import FunctionLayer, Network, ShapeError, WindowPattern, hookimpl
from simulator.patterns import IdentityPattern


@dataclass(frozen=True)
class BatchNorm(FunctionLayer):
    """(x − mean) / √(variance + ε) · weight + bias for each channel, over all samples and sites of a batch.

    As a matrix: at inference a diagonal and an offset, the same for every sample.

    Parameters
    ----------
    momentum : float, default 0.1
        Share of the new batch in the running mean and variance, from 0 to 1.
    epsilon : float, default 1e-5
        Added to the variance, so that nothing is divided by zero.
    frozen : bool, default False
        Normalise by the running mean and variance in training, too, and leave them as they are: PyTorch's layer in
        evaluation mode. Weight and bias are trained all the same; what `train` takes as ``trainable`` decides on them.

    Raises
    ------
    ShapeError
        If an argument is out of range, or a channel has only one value in training.

    Notes
    -----
    As in PyTorch the batch is divided by its biased variance, while the running variance, which inference divides by,
    takes the unbiased one. An empty batch leaves both as they are.

    References
    ----------
    S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate
    shift", 2015.

    Examples
    --------
    >>> layer = BatchNorm()
    >>> params, buffers = layer.init_params(None, (1,), dtype=float), layer.init_buffers((1,), dtype=float)
    >>> y, _, after = layer.forward(params, buffers, np.array([[1.0, 2.0, 3.0]]), training=True)
    >>> y.round(2)
    array([[-1.22,  0.  ,  1.22]])
    >>> after["running_mean"], after["running_var"]
    (array([0.2]), array([1.]))
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    frozen: bool = False

    def output_shape(self, *input_shapes):
        """The shape of the input."""
        if not 0 <= self.momentum <= 1:
            raise ShapeError(f"batch-norm momentum: expected a share from 0 to 1, got {self.momentum}; 0.1 is usual")
        if not 0 < self.epsilon < math.inf:
            raise ShapeError(f"batch-norm epsilon: expected a small positive number, got {self.epsilon}; 1e-5 is usual")
        return input_shapes[0]

    def param_shapes(self, *input_shapes):
        """A weight and a bias for each channel."""
        return {"weight": input_shapes[0][:1], "bias": input_shapes[0][:1]}

    def init_params(self, rng, *input_shapes, dtype):
        """Weights of one and biases of zero."""
        return {"weight": np.ones(input_shapes[0][0], dtype), "bias": np.zeros(input_shapes[0][0], dtype)}

    def init_buffers(self, *input_shapes, dtype):
        """A running mean of zero and a running variance of one."""
        return {"running_mean": np.zeros(input_shapes[0][0], dtype), "running_var": np.ones(input_shapes[0][0], dtype)}

    def support(self, *input_shapes):
        """Each unit depends on itself alone, outside of training."""
        return [IdentityPattern(math.prod(input_shapes[0]))]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        """Normalise by the batch (training, unless frozen) or by the running mean and variance."""
        (x,) = xs
        flat = x.reshape(len(x), -1)  # (channels, sites * batch)
        n = flat.shape[1]
        if not training or self.frozen or n == 0:
            return self._by_running(params, buffers, x, flat)
        if n == 1:
            raise ShapeError(
                "batch-norm: expected at least two values per channel in training, got one sample of shape "
                f"{x.shape[:-1]}; choose a batch size that does not leave a single sample over"
            )
        mean = flat.mean(axis=1)
        centred = flat - mean[:, None]
        variance = np.vecdot(centred, centred) / n
        inverse = 1 / np.sqrt(variance + x.dtype.type(self.epsilon))
        scale = params["weight"] * inverse
        y = centred * scale[:, None]
        y += params["bias"][:, None]

        def pullback(dy):
            flat_dy = dy.reshape(flat.shape)
            dweight, dbias = np.vecdot(flat_dy, centred) * inverse, flat_dy.sum(axis=1)
            dx = centred * (dweight * inverse / -n)[:, None]
            dx += flat_dy
            dx -= (dbias / n)[:, None]
            dx *= scale[:, None]
            return (dx.reshape(x.shape),), {"weight": dweight, "bias": dbias}

        new, old = x.dtype.type(self.momentum), x.dtype.type(1 - self.momentum)
        after = {
            "running_mean": old * buffers["running_mean"] + new * mean,
            "running_var": old * buffers["running_var"] + new * variance * (n / (n - 1)),
        }
        return y.reshape(x.shape), pullback, after

    def _by_running(self, params, buffers, x, flat):
        scale, offset = self.scale_and_offset(params, buffers)
        y = flat * scale[:, None]
        y += offset[:, None]

        def pullback(dy):
            flat_dy = dy.reshape(flat.shape)
            inverse = 1 / np.sqrt(buffers["running_var"] + x.dtype.type(self.epsilon))
            dweight = np.vecdot(flat_dy, flat - buffers["running_mean"][:, None]) * inverse
            dx = (flat_dy * scale[:, None]).reshape(x.shape)
            return (dx,), {"weight": dweight, "bias": flat_dy.sum(axis=1)}

        return y.reshape(x.shape), pullback, dict(buffers)

    def scale_and_offset(self, params, buffers):
        """What each channel is multiplied by at inference, and what is added: both (channels,)."""
        epsilon = buffers["running_var"].dtype.type(self.epsilon)
        scale = params["weight"] / np.sqrt(buffers["running_var"] + epsilon)
        return scale, params["bias"] - buffers["running_mean"] * scale

    def affine_at(self, params, buffers, *xs):
        """The diagonal of scales, (n, n), and the offset, (n,)."""
        sites = math.prod(xs[0].shape[1:])
        scale, offset = (np.repeat(array, sites) for array in self.scale_and_offset(params, buffers))
        return [scipy.sparse.diags_array(scale).tocsr()], offset


def freeze(network):
    """The network with every batch normalisation frozen, for training on: what was measured stays.

    As a matrix: in training as at inference, a diagonal and an offset that do not depend on the batch.

    Parameters
    ----------
    network : Network
        With weights.

    Returns
    -------
    Network
        Of the same nodes, params and buffers.

    Raises
    ------
    SimulatorError
        If the network has no weights.

    Notes
    -----
    Usual where a trained network goes on with small batches, or with samples of another kind. To keep weights and
    biases of these layers, too, leave their names out of ``train(trainable=...)``.

    References
    ----------
    S. Ren, K. He, R. Girshick, J. Sun, "Faster R-CNN: towards real-time object detection with region proposal
    networks", 2015, which trains ResNets with frozen batch normalisation.

    Examples
    --------
    >>> from simulator import Conv
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3), BatchNorm()], rng=0)
    >>> frozen = freeze(net)
    >>> frozen.nodes["batchnorm1"].layer
    BatchNorm(momentum=0.1, epsilon=1e-05, frozen=True)
    >>> x = np.ones((2, 1, 8, 8))
    >>> bool(np.all(frozen.run(x, training=True)[frozen.last] == net.predict(x)))
    True
    """
    layers = {
        name: replace(node.layer, frozen=True) if isinstance(node.layer, BatchNorm) else node.layer
        for name, node in network.nodes.items()
    }
    frozen = _rebuilt(network, layers, {name: name for name in network.nodes})
    return frozen.with_params(network.params, copy=False).with_buffers(network.buffers)


def fold(network):
    """The network with its batch normalisations merged into the layers before them, for inference.

    As a matrix: diag(scale) (W x + b) + offset is (diag(scale) W) x + (scale · b + offset), a layer like the first.

    Parameters
    ----------
    network : Network
        With weights. Its running means and variances decide the result.

    Returns
    -------
    Network
        It computes the same function with fewer nodes; those that are left keep their names.

    Raises
    ------
    SimulatorError
        If the network has no weights.

    Notes
    -----
    A batch normalisation is merged into the layer before it if this has a `WindowPattern` in which the weights stand
    output channel by output channel, as `Conv`, `Dense` and `LocallyConnected` have, but `ConvTranspose` has not. It
    stays where somebody else reads that layer, and where either of the two is an output or shares weights. A layer
    without bias gets one.

    Examples
    --------
    >>> from simulator import Conv, Dense
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3, bias=False), BatchNorm(), Dense(10)], rng=0)
    >>> net
    Network 3 layers, 1494 params: (1, 8, 8) -> (10,)
    >>> fold(net)
    Network 2 layers, 1490 params: (1, 8, 8) -> (10,)
    """
    readers = Counter(source for node in network.nodes.values() for source in node.inputs)
    sharing = {name for node in network.nodes.values() if node.share for name in (node.name, node.share)}
    fixed = sharing | set(network.outputs)
    params, layers = network.params, {}
    stands_for = {name: name for name in network.nodes}  # a merged node for the one that computes its output now
    for name, node in network.nodes.items():
        layers[name] = node.layer
        if not isinstance(node.layer, BatchNorm):
            continue
        source = node.inputs[0]
        into = stands_for[source]
        weights = _weights_per_channel(network.nodes[into])
        if weights is not None and readers[source] == 1 and not {name, source} & fixed:
            bound = network.node(name)
            scale, offset = node.layer.scale_and_offset(bound.params, bound.buffers)
            weight, bias = params[f"{into}.weight"], params.get(f"{into}.bias", np.zeros_like(offset))
            params[f"{into}.weight"] = weight * np.repeat(scale, weights).reshape(weight.shape)
            scale, offset = (array.reshape(-1, *(1,) * (bias.ndim - 1)) for array in (scale, offset))
            params[f"{into}.bias"] = bias * scale + offset
            if not layers[into].bias:
                layers[into] = replace(layers[into], bias=True)
            stands_for[name] = into
            for key in (name, *(f"{name}.{part}" for part in node.param_shapes)):
                layers.pop(key, None)
                params.pop(key, None)
    folded = _rebuilt(network, layers, stands_for).with_params(params, copy=False)
    return folded.with_buffers({key: array for key, array in network.buffers.items() if key in folded.buffers})


def _weights_per_channel(node):
    """How many weights each output channel has, (channels,); None where channels share some, or there is no bias."""
    names, pattern = {field.name for field in fields(node.layer)}, node.pattern
    if not isinstance(pattern, WindowPattern) or "weight" not in node.param_shapes or "bias" not in names:
        return None
    channels, (sites, taps), (pair, site, tap) = pattern.channels, pattern.sites.shape, pattern.tie_strides
    if channels.out_channels != node.shape[0] or pair != 1 + (sites - 1) * site + (taps - 1) * tap:
        return None
    return pair * np.repeat(np.diff(channels.in_starts), np.diff(channels.out_starts))


def _rebuilt(network, layers, stands_for):
    """A network without weights of the layers by name, with the inputs and outputs of another."""
    new = None
    for name, layer in layers.items():
        node = network.nodes[name]
        if new is None:
            new = Network.input(node.shape, name, dtype=network.dtype, engine=network.engine)
        elif not node.inputs:
            new = new.add_input(node.shape, name)
        else:
            new = new.add(layer, *(stands_for[source] for source in node.inputs), name=name, share=node.share)
    return new.subnetwork(network.outputs)


@hookimpl
def register_layers(register):
    register("batch-norm", BatchNorm)
