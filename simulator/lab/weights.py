"""One shared weight: every connection that uses it, its gradient as the sum over them, and what a new value changes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from simulator.errors import ShapeError, blamed, brief
from simulator.finite import check_finite
from simulator.lab.connection import Connection, connections_of
from simulator.losses import CrossEntropy, Loss
from simulator.memory import check_memory
from simulator.network import Network
from simulator.nodes import Node
from simulator.units import Weight

__all__ = ["Uses", "WeightGradient", "edited", "gradient_of", "uses"]

_Place = tuple[Node, np.ndarray, np.ndarray | None, float]  # node, targets, sources or None, the constant instead


@dataclass(frozen=True, eq=False, repr=False)
class Uses:
    """Every connection that shares one weight.

    Parameters
    ----------
    weight : Weight
        The weight or bias.
    connections : tuple of Connection
        All that use it, node by node; of a bias the units that it reaches.
    value : float or None
        Of the weight; None in a network without weights.
    """

    weight: Weight
    connections: tuple[Connection, ...]
    value: float | None

    def __repr__(self) -> str:
        value = "" if self.value is None else f" = {self.value:.6g}"
        return f"Uses of {self.weight}{value}: {_counted(self.connections)}"


@dataclass(frozen=True, eq=False, repr=False)
class WeightGradient:
    """The gradient of one shared weight as a sum: one term for each connection that uses it.

    Parameters
    ----------
    weight : Weight
        The weight or bias.
    connections : tuple of Connection
        All that use it, the largest term first.
    products : numpy.ndarray of float64, (uses, batch)
        For each connection and sample the gradient of the loss at the target times the value of the source.
    trained : float
        The gradient that training uses, from `Trace.backward`.
    """

    weight: Weight
    connections: tuple[Connection, ...]
    products: np.ndarray
    trained: float

    @property
    def terms(self) -> np.ndarray:
        """What each connection contributes, summed over the batch, (uses,)."""
        return self.products.sum(axis=1)

    @property
    def total(self) -> float:
        """The sum of all terms: the trained gradient, to rounding."""
        return math.fsum(self.products.ravel())

    def __repr__(self) -> str:
        return (
            f"WeightGradient of {self.weight}: {_counted(self.connections)} add up to {self.total:.6g}; the trained "
            f"gradient is {self.trained:.6g}"
        )


def uses(network: Network, weight: Any) -> Uses:
    """Every connection that shares one weight, in all nodes that use it.

    As a matrix: all nonzeros with one tie.

    Parameters
    ----------
    network : Network
        Without weights there is no value.
    weight : str or Weight
        Such as "conv1.weight[0, 0, 2, 1]" or "conv1.bias[0]".

    Returns
    -------
    Uses
        Taps on padding with a pad value other than 0 are among them; those on zero padding are no connections.

    Raises
    ------
    ShapeError
        If there is no such place in the array, or its layer is not a matrix.
    UnknownNameError
        If there is no such node or array.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 3, 3), [Conv(1, kernel=2)])
    >>> found = uses(net, "conv1.weight[0, 0, 1, 0]")
    >>> found
    Uses of conv1.weight[0, 0, 1, 0]: 4 connections in conv1
    >>> [str(c.source) for c in found.connections]
    ['input[0, 1, 0]', 'input[0, 1, 1]', 'input[0, 2, 0]', 'input[0, 2, 1]']
    >>> uses(net, "conv1.bias[0]")
    Uses of conv1.bias[0]: 4 connections in conv1
    """
    address = Weight.of(network.nodes, weight)
    value = float(network.params[address.name][address.index]) if network.has_weights else None
    return Uses(address, tuple(_connections(_places(network, address, "uses"), address, value)), value)


def gradient_of(network: Network, weight: Any, x: Any, targets: Any, loss: Loss | None = None) -> WeightGradient:
    """The gradient of one shared weight as the explicit sum over the connections that use it.

    Parameters
    ----------
    network : Network
        With weights and one output.
    weight : str or Weight
        Such as "conv1.weight[0, 0, 2, 1]" or "conv1.bias[0]".
    x : array_like, (batch, channels, *space), or dict of them by input name
        The samples.
    targets : array_like, (batch, ...)
        What the loss compares the output with; labels for cross-entropy.
    loss : Loss, default ``CrossEntropy()``
        Averaged over the batch.

    Returns
    -------
    WeightGradient

    Raises
    ------
    ShapeError
        If samples, targets or address do not fit, or the weight's layer is not a matrix.
    UnknownNameError
        If there is no such node or array.

    Notes
    -----
    ∂L/∂θ = Σ ∂L/∂y·x over all connections with this tie and all samples, where y is the target's value before anything
    later and x the source's. Layers behave as at inference, not as in training.

    Examples
    --------
    >>> from simulator.layers import Conv, Dense
    >>> net = Network.sequential((1, 4, 4), [Conv(2, kernel=3), Dense(2)], rng=0, dtype=np.float64)
    >>> gradient = gradient_of(net, "conv1.weight[1, 0, 0, 0]", np.eye(4)[None, None], [1])
    >>> len(gradient.connections), bool(abs(gradient.total - gradient.trained) <= 1e-15)
    (4, True)
    """
    address = Weight.of(network.nodes, weight)
    places = list(_places(network, address, "gradient"))
    loss = CrossEntropy() if loss is None else loss
    if isinstance(loss, type) or not isinstance(loss, Loss):
        raise ShapeError(f"gradient {address} loss: expected a loss, got {brief(loss)}; write CrossEntropy()")
    trace = network.run(x)
    check_finite(trace.activations, f"gradient {address}")
    with blamed(f"loss {brief(loss)}", "grad to give an array in the prediction's shape"):
        output_gradient = loss.grad(trace[network.output_name], targets)
    gradients = trace.backward(output_gradient)
    batch = len(trace[network.output_name])
    count = sum(len(rows) for _, rows, _, _ in places)
    check_memory(16 * count * batch, f"gradient {address}, {count:,} uses", f"give fewer samples than {batch}")
    parts = [np.zeros((0, batch))]
    for node, rows, cols, constant in places:
        if node.name not in gradients.activations:  # no output that the loss sees depends on it
            parts.append(np.zeros((len(rows), batch)))
            continue
        dy = gradients.activations[node.name].reshape(batch, math.prod(node.shape))[:, rows]  # (batch, uses)
        read = (
            constant if cols is None else trace[node.inputs[0]].reshape(batch, math.prod(node.input_shapes[0]))[:, cols]
        )
        parts.append(np.multiply(dy, read, dtype=np.float64).T)
    products = np.concatenate(parts)
    order = np.argsort(-np.abs(products.sum(axis=1)), kind="stable")
    found = _connections(places, address, float(network.params[address.name][address.index]))
    trained = float(gradients.params[address.name][address.index])
    return WeightGradient(address, tuple(found[k] for k in order), products[order], trained)


def edited(network: Network, weight: Any, value: float) -> Network:
    """The network with one shared weight changed: all its connections change together.

    Parameters
    ----------
    network : Network
        With weights.
    weight : str or Weight
        Such as "conv1.weight[0, 0, 2, 1]" or "conv1.bias[0]".
    value : float
        The new value.

    Returns
    -------
    Network
        It shares every other array with the old one.

    Raises
    ------
    ShapeError
        If the value is not finite in the network's precision, or there is no such place in the array.
    UnknownNameError
        If there is no such node or array.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 3, 3), [Conv(1, kernel=2)], rng=0)
    >>> new = edited(net, "conv1.weight[0, 0, 1, 0]", 7.0)
    >>> changed = new.node("conv1").matrix.tocsr() - net.node("conv1").matrix.tocsr()
    >>> int(changed.count_nonzero())
    4
    """
    address = Weight.of(network.nodes, weight)
    if isinstance(value, bool) or not isinstance(value, Real) or not abs(value) <= float(np.finfo(network.dtype).max):
        raise ShapeError(f"{address}: expected a finite {network.dtype} number, got {brief(value)}; give another")
    array = network.params[address.name].copy()
    array[address.index] = value
    return network.with_params({address.name: array}, copy=False)


def _places(network: Network, weight: Weight, who: str) -> Iterator[_Place]:
    """Where a weight is used, node by node."""
    for node in network.nodes.values():
        if node.owner != weight.node:
            continue
        if node.pattern is None or weight.param not in ("weight", "bias"):
            raise ShapeError(
                f"{who} {weight}: expected a weight or bias of a layer that is one matrix, got one of "
                f"{brief(node.layer)}; "
                "choose one of a convolution, a dense layer or the like"
            )
        if weight.param == "bias":
            yield node, np.arange(math.prod(node.shape)).reshape(node.shape)[weight.index].ravel(), None, 1.0
            continue
        yield node, *node.pattern.sharing(weight.number), 0.0
        if node.padding is not None:
            rows, _ = node.padding.sharing(weight.number)
            yield node, rows, None, float(getattr(node.layer, "pad_value", 0.0))


def _connections(places: Iterator[_Place] | list[_Place], weight: Weight, value: float | None) -> list[Connection]:
    """The connections at these places."""
    found = []
    for node, rows, cols, constant in places:
        values = None if value is None else np.full(len(rows), value)
        inputs = np.full(len(rows), constant) if cols is None else None
        k = None if cols is None else 0
        what = "1" if weight.param == "bias" else "padding"
        found += connections_of(node, k, rows, cols, [weight] * len(rows), values, inputs, what)
    return found


def _counted(connections: tuple[Connection, ...]) -> str:
    n = len(connections)
    names = " and ".join(sorted({c.target.node for c in connections}))
    return f"{n} connection{'s'[: n != 1]} in {names}" if n else "no connection"
