"""The connections of one unit: what it reads for one sample, product by product, and who reads it.

With this module one can

- take a unit's value apart (`incoming`): each connection with source, shared weight, input and product, which add up;
- list every connection that reads a unit (`outgoing`), in all layers that do.

Nothing here grows with the nonzeros of a layer that is a matrix: only its row or column is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.errors import ShapeError, brief
from simulator.lab.connection import Connection, connections_of, shared_weights
from simulator.lab.sample import run_sample
from simulator.layers.base import Affine
from simulator.network import BoundNode, Network, Trace
from simulator.nodes import Node
from simulator.units import Units, Weight

__all__ = ["Incoming", "Outgoing", "incoming", "outgoing"]


@dataclass(frozen=True, eq=False, repr=False)
class Incoming:
    """What one unit reads for one sample; printed as a table of the largest products and their sum.

    Parameters
    ----------
    unit : Units
        The unit.
    connections : tuple of Connection
        All that it reads, taps on padding with a pad value other than 0 among them; zero padding has none.
    bias : Connection or None
        Of a layer that is a function the offset. None if there is none.
    value : float
        The unit's value as the network computes it.
    """

    unit: Units
    connections: tuple[Connection, ...]
    bias: Connection | None
    value: float

    @property
    def products(self) -> np.ndarray:
        """What each connection adds, (fan_in,)."""
        return np.array([c.product for c in self.connections], np.float64)

    @property
    def total(self) -> float:
        """The sum of the products and the bias: the unit's value, to rounding."""
        return math.fsum(c.product or 0 for c in (*self.connections, *filter(None, [self.bias])))

    def largest(self, count: int | None = None) -> tuple[Connection, ...]:
        """The connections by the size of their product, the largest first."""
        order = np.argsort(-np.abs(self.products), kind="stable")[:count]
        return tuple(self.connections[k] for k in order)

    @property
    def equation(self) -> str:
        """Products plus bias gives the value, with the numbers."""
        n = len(self.connections)
        what = f"{n} product{'s'[: n != 1]}"
        bias = self.bias
        offset = "" if bias is None else f" + {'offset' if bias.weight is None else 'bias'} {bias.product:.6g}"
        return f"{what} {math.fsum(self.products):.6g}{offset} = {self.total:.6g}; the unit's value is {self.value:.6g}"

    def __repr__(self) -> str:
        return f"Incoming of {self.unit}: {self.equation}"

    def __str__(self) -> str:
        shown = self.largest(10)
        rows = [["source", "weight", "value", "input", "product"]]
        for c in (*shown, *filter(None, [self.bias])):
            rows.append([c.source_name, c.weight_name, *(f"{v:.6g}" for v in (c.value, c.input, c.product))])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        if len(shown) < len(self.connections):
            lines.insert(1 + len(shown), f"... and {len(self.connections) - len(shown)} smaller products")
        return "\n".join([*lines, self.equation])


@dataclass(frozen=True, eq=False, repr=False)
class Outgoing:
    """Who reads one unit.

    Parameters
    ----------
    unit : Units
        The unit.
    connections : tuple of Connection
        All that read it, node by node.
    value : float or None
        The unit's value; None without a sample.
    """

    unit: Units
    connections: tuple[Connection, ...]
    value: float | None

    def largest(self, count: int | None = None) -> tuple[Connection, ...]:
        """The connections by the size of their product, or value, the largest first."""

        def size(c: Connection) -> float:
            return abs(next((v for v in (c.product, c.value) if v is not None), 0.0))

        return tuple(sorted(self.connections, key=size, reverse=True)[:count])

    def __repr__(self) -> str:
        names = ", ".join(dict.fromkeys(c.target.node for c in self.connections))
        n = len(self.connections)
        return f"Outgoing of {self.unit}: {n} connection{'s'[: n != 1]}{f' to {names}' if names else ''}"


def incoming(network: Network, unit: Any, x: Any) -> Incoming:
    """Every connection that one unit reads for one sample; the products and the bias add up to the unit's value.

    As a matrix: one row of the layer's matrix, times the layer's input, entry by entry.

    Parameters
    ----------
    network : Network
        With weights.
    unit : str, Units, or (name, number or position)
        A single unit, such as "conv2[3, 4, 5]".
    x : array_like, (channels, *space), or dict of them by input name, or Trace
        One sample, or what `Network.run` made of it: so several units can be followed after one run.

    Returns
    -------
    Incoming

    Raises
    ------
    ShapeError
        If there is no such unit, it is one of an input, the sample does not fit, or the layer is neither a matrix nor
        piecewise linear.
    UnknownNameError
        If there is no such node.

    Notes
    -----
    y = Σ w·x + b over the connections. A layer that is piecewise linear, such as a maximum, a ReLU or a batch
    normalisation at inference, is a matrix and an offset at this sample (`Layer.affine_at`): what it does not choose is
    no connection.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 3, 3), [Conv(1, kernel=2)], rng=0, dtype=np.float64)
    >>> net = net.with_params({"conv1.weight": [[[[1, 2], [0, -1]]]], "conv1.bias": [10]})
    >>> found = incoming(net, "conv1[0, 1, 1]", [np.arange(9).reshape(3, 3)])
    >>> found
    Incoming of conv1[0, 1, 1]: 4 products 6 + bias 10 = 16; the unit's value is 16
    >>> print(found)
    source          weight                    value  input  product
    input[0, 1, 2]  conv1.weight[0, 0, 0, 1]  2      5      10
    input[0, 2, 2]  conv1.weight[0, 0, 1, 1]  -1     8      -8
    input[0, 1, 1]  conv1.weight[0, 0, 0, 0]  1      4      4
    input[0, 2, 1]  conv1.weight[0, 0, 1, 0]  0      7      0
    1               conv1.bias[0]             10     1      10
    4 products 6 + bias 10 = 16; the unit's value is 16
    """
    units = Units.of(network.nodes, unit)
    number, node, who = units.number, network.nodes[units.node], f"incoming {units}"
    if not node.inputs:
        raise ShapeError(f"{who}: expected a unit that a layer computes, got one of an input; choose a later node")
    trace = run_sample(network, node.name, x, who)
    bound = network.node(node.name)
    if node.pattern is not None:
        found, bias = _row(bound, number, trace)
    else:
        affine = _affine(bound, trace)
        if affine is None:
            raise ShapeError(
                f"{who}: expected a unit of a layer that is a matrix or piecewise linear, got "
                f"{brief(node.layer)}, whose "
                "value is no sum of products; look at its slopes with influence"
            )
        found, bias = _affine_row(node, affine, number, trace)
    return Incoming(units, tuple(found), bias, float(trace[node.name].reshape(-1)[number]))


def outgoing(network: Network, unit: Any, x: Any = None) -> Outgoing:
    """Every connection that reads one unit, in all nodes that do.

    As a matrix: one column of the matrix of each of these nodes.

    Parameters
    ----------
    network : Network
        Without weights the connections have no values.
    unit : str, Units, or (name, number or position)
        A single unit, such as "conv1[3, 4, 5]".
    x : array_like, (channels, *space), or dict of them by input name, or Trace, optional
        One sample: gives inputs and products, and chooses the connections of maxima and the like. Without it these list
        all units that may depend on this one.

    Returns
    -------
    Outgoing

    Raises
    ------
    ShapeError
        If there is no such unit, or the sample does not fit.
    UnknownNameError
        If there is no such node.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 3, 3), [Conv(1, kernel=2)], rng=0)
    >>> found = outgoing(net.with_params({"conv1.weight": [[[[1, 2], [0, -1]]]]}), "input[0, 1, 0]")
    >>> found
    Outgoing of input[0, 1, 0]: 2 connections to conv1
    >>> found.connections[1]
    input[0, 1, 0] -> conv1[0, 1, 0]: conv1.weight[0, 0, 0, 0] = 1
    """
    units = Units.of(network.nodes, unit)
    number, who = units.number, f"outgoing {units}"
    readers = [(n, k) for n in network.nodes.values() for k, source in enumerate(n.inputs) if source == units.node]
    trace = None
    if x is not None:
        functions = {source for n, _ in readers if n.pattern is None for source in n.inputs}
        trace = run_sample(network, {units.node, *functions}, x, who)
    value = None if trace is None else float(trace[units.node].reshape(-1)[number])
    found: list[Connection] = []
    for node, k in readers:
        bound = network.node(node.name)
        affine = None if trace is None or node.pattern is not None else _affine(bound, trace)
        pattern, values, weights = node.support[k], None, None
        if node.pattern is not None:
            rows, ties = node.pattern.column(number)
            weights = shared_weights(node, ties)
            values = bound.matrix.weight.ravel()[ties] if network.has_weights else None
        elif affine is not None:
            matrix = affine[0][k]
            at = np.flatnonzero(matrix.indices == number)
            rows, values = np.searchsorted(matrix.indptr, at, side="right") - 1, matrix.data[at]
        else:
            rows = np.arange(math.prod(node.shape)) if pattern is None else pattern.column(number)[0]
        cols = np.full(len(rows), number)
        inputs = None if value is None else np.full(len(rows), value)
        found += connections_of(node, k, rows, cols, weights, values, inputs)
    return Outgoing(units, tuple(found), value)


def _row(bound: BoundNode, number: int, trace: Trace) -> tuple[list[Connection], Connection | None]:
    """What a unit of a matrix layer reads, and its bias."""
    node, weight = bound.node, bound.matrix.weight.ravel()
    x = trace[node.inputs[0]].reshape(-1)
    cols, ties = bound.pattern.row(number)
    rows = np.full(len(cols), number)
    found = connections_of(node, 0, rows, cols, shared_weights(node, ties), weight[ties], x[cols])
    if node.padding is not None:
        _, ties = node.padding.row(number)
        values = np.full(len(ties), getattr(node.layer, "pad_value", 0.0))
        rows = np.full(len(ties), number)
        found += connections_of(node, None, rows, None, shared_weights(node, ties), weight[ties], values)
    if "bias" not in node.param_shapes:
        return found, None
    bias = bound.params["bias"]
    target = Units.of({node.name: node}, (node.name, number))
    index = target.position[: bias.ndim]
    weight_of_bias = Weight(node.owner, "bias", index, bias.shape)
    return found, Connection(None, target, weight_of_bias, float(bias[index]), 1.0, "1")


def _affine(bound: BoundNode, trace: Trace) -> Affine | None:
    """A layer that is a function as matrices and an offset at this sample, if it is piecewise linear."""
    return bound.affine_at(*(trace[name][0] for name in bound.node.inputs))


def _affine_row(node: Node, affine: Affine, number: int, trace: Trace) -> tuple[list[Connection], Connection | None]:
    """What a unit of a piecewise linear layer reads at this sample, and its offset."""
    matrices, offset = affine
    found: list[Connection] = []
    for k, matrix in enumerate(matrices):
        part = slice(matrix.indptr[number], matrix.indptr[number + 1])
        cols, values = matrix.indices[part], matrix.data[part]
        x = trace[node.inputs[k]].reshape(-1)
        found += connections_of(node, k, np.full(len(cols), number), cols, None, values, x[cols])
    if not offset[number]:
        return found, None
    target = Units.of({node.name: node}, (node.name, number))
    return found, Connection(None, target, None, float(offset[number]), 1.0, "1")
