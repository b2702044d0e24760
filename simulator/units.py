"""Addresses: which units "conv2[3, 4, 5]" means, and which weight "conv1.weight[0, 0, 2, 1]".

With this module one can

- name one unit, a channel ``conv2[3]``, a site ``conv2[:, 4, 5]``, or all units of a node ``conv2``;
- name one shared weight or bias;
- get both as numbers, and have every misfit reported in one line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.errors import ShapeError, UnknownNameError, brief, nearest
from simulator.layers.base import Shape
from simulator.nodes import Node

__all__ = ["Units", "Weight", "numbered"]

_MOST_AXES = 8
_NUMBER = re.compile("[0-9]{1,18}")  # no layer has more units
_ADDRESS = re.compile(r"(?P<name>[^\[\]]*?)\s*\[(?P<index>[^\[\]]*)\]\s*", re.DOTALL)


@dataclass(frozen=True)
class Units:
    """Some units of one node: a single one, a channel, a site, or all.

    Parameters
    ----------
    node : str
        Name of the node.
    index : tuple of int or None
        One entry for each axis of (channel, *space); None stands for all along that axis.
    shape : tuple of int
        Of one output sample of the node, (channels, *space).

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> from simulator.network import Network
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3)])
    >>> unit = Units.of(net.nodes, "conv1[2, 0, 5]")
    >>> unit, unit.number
    (conv1[2, 0, 5], 77)
    >>> site = Units.of(net.nodes, "conv1[:, 0, 5]")
    >>> site, site.numbers
    (conv1[:, 0, 5], array([  5,  41,  77, 113]))
    """

    node: str
    index: tuple[int | None, ...]
    shape: Shape

    @classmethod
    def of(cls, nodes: Mapping[str, Node], address: Any) -> Units:
        """Read an address.

        Parameters
        ----------
        nodes : mapping of Node by name
            Of the network.
        address : str, Units, or (name, unit)
            Such as "conv2[3, 4, 5]", "conv2[3]", "conv2[:, 4, 5]" or "conv2": entries that are left out stand for all.
            Or the node's name with a unit's number or position.

        Returns
        -------
        Units

        Raises
        ------
        UnknownNameError
            If there is no such node.
        ShapeError
            If it is no address, or the node has no such unit.
        """
        if isinstance(address, Units):
            if _node(nodes, address.node).shape == address.shape:
                return address
            address = str(address)
        if isinstance(address, tuple) and len(address) == 2 and isinstance(address[0], str):
            name, unit = address
            node = _node(nodes, name)
            return cls(name, numbered(node.shape, unit, f"{name} unit")[1], node.shape)
        if not isinstance(address, str):
            raise ShapeError(f"unit: expected an address, got {brief(address)}; write for example 'conv1[0, 3, 4]'")
        if address.strip() and not {*address} & {*"[]"}:
            shape = _node(nodes, address.strip()).shape
            return cls(address.strip(), (None,) * len(shape), shape)
        name, given = _split(address, "unit", "'conv1[0, 3, 4]', 'conv1[0]' for a channel, 'conv1[:, 3, 4]' for a site")
        shape = _node(nodes, name).shape
        index = (*given, *(None,) * (len(shape) - len(given)))
        if len(index) != len(shape) or not all(i is None or i < n for i, n in zip(index, shape, strict=True)):
            raise ShapeError(
                f"unit {address}: expected a position (channel, *space) within {shape}, got "
                f"[{', '.join(map(_entry, given))}]; count from 0, the last is {cls(name, _last(shape), shape)}"
            )
        return cls(name, index, shape)

    @property
    def is_one(self) -> bool:
        """Whether it is a single unit."""
        return None not in self.index

    @property
    def number(self) -> int:
        """Number of the single unit, in C order.

        Raises
        ------
        ShapeError
            If these are several units.
        """
        if not self.is_one:
            inside = ", ".join("0" if i is None else str(i) for i in self.index)
            raise ShapeError(
                f"unit: expected a single unit, got {self}, which is {len(self.numbers)}; give its whole position, "
                f"for example {self.node}[{inside}]"
            )
        return int(self.numbers[0])

    @property
    def position(self) -> tuple[int, ...]:
        """Position of the single unit, (channel, *space); errors as for `number`."""
        return tuple(int(i) for i in np.unravel_index(self.number, self.shape))

    @property
    def numbers(self) -> np.ndarray:
        """Numbers of the units in C order, (count,)."""
        places = [range(n) if i is None else (i,) for i, n in zip(self.index, self.shape, strict=True)]
        return np.ravel_multi_index(np.ix_(*places), self.shape).ravel()

    @property
    def slices(self) -> tuple[int | slice, ...]:
        """What indexes an array (channels, *space, ...)."""
        return tuple(slice(None) if i is None else i for i in self.index)

    def __str__(self) -> str:
        shown = list(self.index)
        while shown and shown[-1] is None:
            shown.pop()
        return f"{self.node}[{', '.join(map(_entry, shown))}]" if shown else self.node

    __repr__ = __str__


@dataclass(frozen=True)
class Weight:
    """One trained scalar: a shared weight, or a bias.

    Parameters
    ----------
    node : str
        The node that holds it.
    param : str
        Name of its array within the node, such as "weight" or "bias".
    index : tuple of int
        Where it stands in the array.
    shape : tuple of int
        Of the array.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> from simulator.network import Network
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3)])
    >>> weight = Weight.of(net.nodes, "conv1.weight[2, 0, 1, 1]")
    >>> weight, weight.name, weight.number
    (conv1.weight[2, 0, 1, 1], 'conv1.weight', 22)
    """

    node: str
    param: str
    index: tuple[int, ...]
    shape: Shape

    @classmethod
    def of(cls, nodes: Mapping[str, Node], address: Any) -> Weight:
        """Read an address.

        Parameters
        ----------
        nodes : mapping of Node by name
            Of the network.
        address : str or Weight
            Such as "conv1.weight[2, 0, 1, 1]" or "conv1.bias[2]"; a node that uses another one's weights stands for it.

        Returns
        -------
        Weight

        Raises
        ------
        UnknownNameError
            If there is no such node or array.
        ShapeError
            If it is no address of a single scalar.
        """
        if isinstance(address, Weight):
            address = str(address)
        example = "'conv1.weight[0, 0, 2, 1]' or 'conv1.bias[0]'"
        if not isinstance(address, str):
            raise ShapeError(f"weight: expected an address, got {brief(address)}; write for example {example}")
        full, given = _split(address, "weight", example)
        name, dot, param = full.partition(".")
        if not dot:
            raise ShapeError(f"weight: expected an address, got {brief(address)}; write for example {example}")
        node = _node(nodes, name)
        if param not in node.param_shapes:
            raise UnknownNameError(
                f"weight {address}: expected one of the arrays of {name}, got {brief(param)}; "
                f"{nearest(param, node.param_shapes)}"
            )
        shape = node.param_shapes[param]
        index = tuple(-1 if i is None else i for i in given)
        if len(index) != len(shape) or not all(0 <= i < n for i, n in zip(index, shape, strict=True)):
            raise ShapeError(
                f"weight {address}: expected one place within {shape}, got [{', '.join(map(_entry, given))}]; count "
                f"from 0, the last is {cls(node.owner, param, _last(shape), shape)}"
            )
        return cls(node.owner, param, index, shape)

    @property
    def name(self) -> str:
        """Name of the array in the network, such as "conv1.weight"."""
        return f"{self.node}.{self.param}"

    @property
    def number(self) -> int:
        """Where it stands in the flattened array: of a weight its tie."""
        return int(np.ravel_multi_index(self.index, self.shape))

    def __str__(self) -> str:
        return f"{self.name}[{', '.join(map(str, self.index))}]"

    __repr__ = __str__


def numbered(shape: Shape, unit: Any, who: str) -> tuple[int, tuple[int, ...]]:
    """Number and position of a unit that is given as either.

    Parameters
    ----------
    shape : tuple of int
        Of one sample, (channels, *space).
    unit : int or (channel, *space)
        Which one.
    who : str
        Whom the error names.

    Returns
    -------
    int, tuple of int

    Raises
    ------
    ShapeError
        If there is no such unit.

    Examples
    --------
    >>> numbered((4, 6, 6), (2, 0, 5), "conv1 unit")
    (77, (2, 0, 5))
    """
    n = math.prod(shape)
    if isinstance(unit, np.ndarray):
        unit = unit.tolist()
    given, limits = (list(unit), shape) if isinstance(unit, Sequence) else ([unit], (n,))
    if len(given) != len(limits) or not all(
        isinstance(i, (int, np.integer)) and not isinstance(i, bool) and 0 <= i < m
        for i, m in zip(given, limits, strict=True)
    ):
        raise ShapeError(
            f"{who}: expected a number from 0 to {n - 1}, or a position (channel, *space) within {shape}, got "
            f"{brief(unit)}; choose one"
        )
    number = int(np.ravel_multi_index(tuple(map(int, given)), limits))
    return number, tuple(int(i) for i in np.unravel_index(number, shape))


def _node(nodes: Mapping[str, Node], name: str) -> Node:
    if name not in nodes:
        raise UnknownNameError(f"network: expected a node, got {brief(name)}; {nearest(name, nodes)}")
    return nodes[name]


def _split(address: str, what: str, example: str) -> tuple[str, list[int | None]]:
    """The name before the brackets, and the entries in them; None for a colon."""
    match = _ADDRESS.fullmatch(address.strip())
    entries = [entry.strip() for entry in match["index"].split(",")] if match else []
    if (
        match is None
        or len(entries) > _MOST_AXES
        or not all(entry == ":" or _NUMBER.fullmatch(entry) for entry in entries)
    ):
        raise ShapeError(f"{what}: expected an address, got {brief(address)}; write for example {example}")
    return match["name"], [None if entry == ":" else int(entry) for entry in entries]


def _last(shape: Shape) -> tuple[int, ...]:
    return tuple(n - 1 for n in shape)


def _entry(index: int | None) -> str:
    return ":" if index is None else str(index)
