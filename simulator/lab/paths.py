"""How many ways lead from every unit of an earlier node to one unit: exact integers, however large.

Paths are counted backwards through the graph, layer by layer, by the table of windows: few channels differ in their
counts, so those that do not are counted once. Nothing grows with the number of nonzeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from simulator.layers.base import Shape
from simulator.memory import check_memory
from simulator.network import Network
from simulator.patterns import IdentityPattern, Pattern, TransposedPattern, WindowPattern
from simulator.units import Units

__all__ = ["count_text", "paths"]

_COPIES = 5  # of a count for each site of a node, while those of another node are made from them


def paths(network: Network, unit: Any, of: str | None = None) -> np.ndarray:
    """The number of paths from every unit of an earlier node to one unit.

    As a matrix: one row of the product of all patterns between them, each nonzero counted as 1.

    Parameters
    ----------
    network : Network
        With or without weights.
    unit : str, Units, or (name, number or position)
        A single unit, such as "conv2[3, 4, 5]".
    of : str, optional
        The earlier node. Default: the only input.

    Returns
    -------
    numpy.ndarray of Python int, (channels, *space)
        0 outside of the receptive field.

    Raises
    ------
    ShapeError
        If there is no such unit.
    UnknownNameError
        If there is no such node.

    Notes
    -----
    A path takes one connection of each layer on its way. A unit that is read twice gives two; a maximum has one for
    each tap, whatever it chooses; a layer of which nothing is known (`Layer.support`) connects everything once. Zero
    weights count, taps on zero padding do not. The numbers are exact: Python's integers, which do not overflow.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 7), [Conv(1, kernel=3), Conv(4, kernel=3)])
    >>> paths(net, "conv2[0, 1]")
    array([[0, 1, 2, 3, 2, 1, 0]], dtype=object)
    """
    target = Units.of(network.nodes, unit)
    number, of = target.number, network.node(network.input_name if of is None else of).name
    shape = network.nodes[of].shape
    on_the_way = [network.nodes[name].shape for name in network.subnetwork(target.node).nodes]
    most = max(math.prod(shape), _COPIES * max(math.prod(shape[1:]) for shape in on_the_way))
    check_memory(8 * most, f"paths {target}", "count those from a smaller node")
    counts = {target.node: _Counts.one(target.shape, number)}
    for node in reversed(list(network.nodes.values())):
        if node.name == of:
            break
        if node.name not in counts:
            continue
        found = counts.pop(node.name)
        for source, pattern, source_shape in zip(node.inputs, node.support, node.input_shapes, strict=True):
            before = _before(found, pattern, source_shape)
            counts[source] = counts[source] + before if source in counts else before
    if of not in counts:
        return np.zeros(shape, object)
    return counts[of].amounts[counts[of].kind].reshape(shape)


def count_text(count: int) -> str:
    """A count of any size in few characters.

    Examples
    --------
    >>> count_text(161280), count_text(7**1000)
    ('161,280', '1.25e845')
    """
    if count < 10**15:
        return f"{count:,}"
    exponent = math.floor(math.log10(count))  # of an integer of any size; one as a float would overflow
    return f"{10 ** (math.log10(count) - exponent):.2f}e{exponent}"


@dataclass(frozen=True, eq=False)
class _Counts:
    """A count for each unit of a node, where few channels differ.

    Parameters
    ----------
    kind : numpy.ndarray of int, (channels,)
        Which of the rows of `amounts` each channel has.
    amounts : numpy.ndarray of Python int, (kinds, sites)
        The count at each site.
    """

    kind: np.ndarray
    amounts: np.ndarray

    @classmethod
    def one(cls, shape: Shape, unit: int) -> _Counts:
        """1 for a single unit of a node of this shape, 0 for the others."""
        sites = math.prod(shape[1:])
        kind, amounts = np.zeros(shape[0], np.intp), np.zeros((2, sites), object)
        kind[unit // sites], amounts[1, unit % sites] = 1, 1
        return cls(kind, amounts)

    def viewed(self, shape: Shape) -> _Counts:
        """The same units, counted in the channels and sites of another shape."""
        channels, sites = shape[0], math.prod(shape[1:])
        if (channels, sites) == (len(self.kind), self.amounts.shape[1]):
            return self
        rows = self.amounts[self.kind].reshape(channels, sites)
        number: dict[tuple[int, ...], int] = {}
        kind = np.array([number.setdefault(tuple(row), len(number)) for row in rows.tolist()])
        return _Counts(kind, np.array(list(number), object))

    def __add__(self, other: _Counts) -> _Counts:
        pairs, kind = np.unique(self.kind * len(other.amounts) + other.kind, return_inverse=True)
        a, b = np.divmod(pairs, len(other.amounts))
        return _Counts(kind, self.amounts[a] + other.amounts[b])


def _before(counts: _Counts, pattern: Pattern | None, shape: Shape) -> _Counts:
    """Counts of the units of the node before, whose shape is given."""
    if pattern is None:
        members = np.bincount(counts.kind, minlength=len(counts.amounts)).astype(object)
        every = np.full((1, math.prod(shape[1:])), (members @ counts.amounts).sum(), object)
        return _Counts(np.zeros(shape[0], np.intp), every)
    return _through(pattern, counts).viewed(shape)


@singledispatch
def _through(pattern: Pattern, counts: _Counts) -> _Counts:
    """For each column the sum over its nonzeros of the counts of their rows."""
    indptr, indices, _ = pattern.csr
    rows = counts.amounts[counts.kind].ravel()
    amounts = np.zeros((1, pattern.shape[1]), object)
    np.add.at(amounts[0], indices, np.repeat(rows, np.diff(indptr)))
    return _Counts(np.zeros(1, np.intp), amounts)


@_through.register
def _(pattern: IdentityPattern, counts: _Counts) -> _Counts:
    return counts


@_through.register
def _(pattern: WindowPattern, counts: _Counts) -> _Counts:
    channels, (out_sites, taps) = pattern.channels, pattern.table_shape
    counts = counts.viewed((channels.out_channels, out_sites))
    groups = np.repeat(np.arange(len(channels.out_starts) - 1), np.diff(channels.out_starts))
    readers = _summed(groups, counts.kind, (len(channels.out_starts) - 1, len(counts.amounts)))
    kinds, group_kind = _distinct(readers)
    read = np.zeros((len(kinds), pattern.in_sites + 1), object)  # the last one for taps without a site
    for amounts, found in zip(kinds.astype(object) @ counts.amounts, read, strict=True):
        windows = np.flatnonzero(amounts)
        sites = pattern.read(windows[:, None], np.arange(taps))
        np.add.at(found, sites.ravel(), np.repeat(amounts[windows], taps))
    kind_of_pair = np.repeat(group_kind, np.diff(channels.in_starts))
    rows, kind = _distinct(_summed(channels.inputs, kind_of_pair, (pattern.in_channels, len(kinds))))
    return _Counts(kind, rows.astype(object) @ read[:, :-1])


@_through.register
def _(pattern: TransposedPattern, counts: _Counts) -> _Counts:
    base = pattern.base
    if not isinstance(base, WindowPattern):
        return _through.dispatch(Pattern)(pattern, counts)
    channels = base.channels
    counts = counts.viewed((base.in_channels, base.in_sites))
    groups = np.repeat(np.arange(len(channels.in_starts) - 1), np.diff(channels.in_starts))
    shape = len(channels.in_starts) - 1, len(counts.amounts)
    rows, kind = _distinct(_summed(groups, counts.kind[channels.inputs], shape))
    inside = np.zeros((len(rows), base.in_sites + 1), object)  # the last one for taps without a site
    inside[:, :-1] = rows.astype(object) @ counts.amounts
    return _Counts(np.repeat(kind, np.diff(channels.out_starts)), inside[:, base.sites].sum(axis=2))


def _summed(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """How often each cell occurs, an array of int of this shape."""
    found = np.zeros(shape, np.int64)
    np.add.at(found, (rows, columns), 1)
    return found


def _distinct(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of a table (n, m), and which of them each row is, (n,)."""
    rows, kind = np.unique(table, axis=0, return_inverse=True)
    return rows, kind.reshape(-1)
