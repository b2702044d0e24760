"""The connections of one unit: what it reads for one sample, product by product, and who reads it.

With this module one can

- take a unit's value apart (`incoming`): each connection with source, shared weight, input and product, which add up;
- list every connection that reads a unit (`outgoing`), in all layers that do.

Nothing here grows with the nonzeros of a layer that is a matrix: only its row or column is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.errors import ShapeError
from simulator.lab.sample import run_sample
from simulator.layers.base import Affine, Shape
from simulator.memory import check_memory
from simulator.network import BoundNode, Network, Trace
from simulator.nodes import Node
from simulator.patterns import WindowPattern
from simulator.units import Units, Weight

__all__ = ["Connection", "Incoming", "Outgoing", "connections_of", "incoming", "outgoing", "shared_weights"]

_BYTES = 1000  # of one connection with its addresses


@dataclass(frozen=True, repr=False)
class Connection:
    """One connection from a unit to a unit.

    Parameters
    ----------
    source : Units or None
        The unit that is read; None for a constant: a tap on padding reads the pad value, a bias the number 1.
    target : Units
        The unit that reads it.
    weight : Weight or None
        The shared weight; None if it is not trained: fixed, or chosen by the sample as in a maximum.
    value : float or None
        Of the weight; None in a network without weights, and where the layer is not linear.
    input : float or None
        Of the source; None without a sample.
    """

    source: Units | None
    target: Units
    weight: Weight | None
    value: float | None = None
    input: float | None = None

    @property
    def product(self) -> float | None:
        """Value times input: what the connection adds to its target."""
        return None if self.value is None or self.input is None else self.value * self.input

    @property
    def source_name(self) -> str:
        """The source in words."""
        if self.source is not None:
            return str(self.source)
        return "1" if self.weight is None or self.weight.param == "bias" else "padding"

    @property
    def weight_name(self) -> str:
        """The weight in words."""
        return "not trained" if self.weight is None else str(self.weight)

    def __repr__(self) -> str:
        value = "" if self.value is None else f" = {self.value:.6g}"
        product = "" if self.product is None else f", times {self.input:.6g} = {self.product:.6g}"
        return f"{self.source_name} -> {self.target}: {self.weight_name}{value}{product}"


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
                f"{who}: expected a unit of a layer that is a matrix or piecewise linear, got {node.layer!r}, whose "
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


def connections_of(
    node: Node,
    k: int | None,
    rows: np.ndarray,
    cols: np.ndarray | None,
    weights: Sequence[Weight] | None = None,
    values: np.ndarray | None = None,
    inputs: np.ndarray | None = None,
) -> list[Connection]:
    """Connections of a node from their numbers.

    Parameters
    ----------
    node : Node
        Whose units are the targets.
    k : int or None
        Which of its inputs has the sources; None if these are constants.
    rows, cols : numpy.ndarray of int, (n,)
        Numbers of targets and sources.
    weights : sequence of Weight, (n,), optional
        The shared weights.
    values, inputs : numpy.ndarray, (n,), optional
        Of weights and sources.

    Returns
    -------
    list of Connection
    """
    check_memory(_BYTES * len(rows), f"{node.name}, {len(rows):,} connections", "look at one with fewer")
    nothing = [None] * len(rows)
    sources: Iterable[Units | None] = nothing
    if k is not None and cols is not None:
        sources = _addresses(node.inputs[k], node.input_shapes[k], cols)
    return [
        Connection(*parts)
        for parts in zip(
            sources,
            _addresses(node.name, node.shape, rows),
            nothing if weights is None else weights,
            nothing if values is None else values.astype(np.float64).tolist(),
            nothing if inputs is None else inputs.astype(np.float64).tolist(),
            strict=True,
        )
    ]


def shared_weights(node: Node, ties: np.ndarray) -> list[Weight] | None:
    """The weights with these ties; None if the layer does not train its weight."""
    if "weight" not in node.param_shapes:
        return None
    shape = node.param_shapes["weight"]
    return [Weight(node.owner, "weight", index, shape) for index in _positions(shape, ties)]


def _row(bound: BoundNode, number: int, trace: Trace) -> tuple[list[Connection], Connection | None]:
    """What a unit of a matrix layer reads, and its bias."""
    node, weight = bound.node, bound.matrix.weight.ravel()
    x = trace[node.inputs[0]].reshape(-1)
    cols, ties = bound.pattern.row(number)
    rows = np.full(len(cols), number)
    found = connections_of(node, 0, rows, cols, shared_weights(node, ties), weight[ties], x[cols])
    if node.padding is not None:
        found += _padding(node, node.padding, number, weight)
    if "bias" not in node.param_shapes:
        return found, None
    bias = bound.params["bias"]
    target = Units.of({node.name: node}, (node.name, number))
    index = target.position[: bias.ndim]
    return found, Connection(None, target, Weight(node.owner, "bias", index, bias.shape), float(bias[index]), 1.0)


def _padding(node: Node, padding: WindowPattern, number: int, weight: np.ndarray) -> list[Connection]:
    """The taps of a unit that read the pad value."""
    _, ties = padding.row(number)
    rows, inputs = np.full(len(ties), number), np.full(len(ties), getattr(node.layer, "pad_value", 0.0))
    return connections_of(node, None, rows, None, shared_weights(node, ties), weight[ties], inputs)


def _affine(bound: BoundNode, trace: Trace) -> Affine | None:
    """A layer that is a function as matrices and an offset at this sample, if it is piecewise linear."""
    return bound.layer.affine_at(bound.params, bound.buffers, *(trace[name][0] for name in bound.node.inputs))


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
    return found, Connection(None, target, None, float(offset[number]), 1.0)


def _addresses(name: str, shape: Shape, numbers: np.ndarray) -> list[Units]:
    return [Units(name, position, shape) for position in _positions(shape, numbers)]


def _positions(shape: Shape, numbers: np.ndarray) -> list[tuple[int, ...]]:
    return list(zip(*(axis.tolist() for axis in np.unravel_index(numbers, shape)), strict=True))
