"""Interventions: units that are given other values while a network runs.

With this module one can

- read addresses and values of units to clamp, ablate or patch, with every misfit reported in one line;
- put these values in place of what the units compute, and stop the gradients that would go back through them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.arrays import real_array
from simulator.errors import ShapeError
from simulator.nodes import Node
from simulator.units import Units

__all__ = ["Interventions", "addressed"]


@dataclass(frozen=True, eq=False)
class _Given:
    """What some units are given, and by which argument."""

    kind: str
    units: Units
    value: np.ndarray  # (), (*selected, 1) or (*selected, batch), where selected is the shape of the units

    def __str__(self) -> str:
        return f"{self.kind} {self.units}"


class Interventions:
    """What a run puts in the place of what units compute; without arguments nothing.

    As a matrix: the rows of these units become zero, and the values become their offset. So nothing before them
    influences them any more, and no gradient goes back through them.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> from simulator.network import Network
    >>> net = Network.sequential((1, 4), [Conv(2, kernel=3)])
    >>> given = Interventions.of(net.nodes, 1, np.float64, clamp={"conv1[1]": [3.0, 4.0]}, ablate=["conv1[0, 1]"])
    >>> y = np.ones((2, 2, 1))  # (channels, space, batch)
    >>> given.forward("conv1", y)[..., 0]
    array([[1., 0.],
           [3., 4.]])
    >>> given.backward("conv1", y)[..., 0]
    array([[1., 0.],
           [0., 0.]])
    """

    def __init__(self, given: Iterable[_Given] = ()) -> None:
        self._given: dict[str, list[_Given]] = {}
        for one in given:
            self._given.setdefault(one.units.node, []).append(one)

    @classmethod
    def of(
        cls,
        nodes: Mapping[str, Node],
        batch: int,
        dtype: Any,
        *,
        clamp: Mapping[Any, Any] | None = None,
        ablate: Any = (),
        patch: Mapping[Any, Any] | None = None,
    ) -> Interventions:
        """Read what is asked for.

        Parameters
        ----------
        nodes : mapping of Node by name
            Of the network.
        batch : int
            Samples.
        dtype : numpy dtype
            Of the network.
        clamp, patch : dict by address, optional
            The value of the units: a number, or an array of the units' shape, or (batch, *units' shape), or (1, *units'
            shape) for all samples alike.
        ablate : address or iterable of addresses, default none
            Units to clamp to 0.

        Returns
        -------
        Interventions

        Raises
        ------
        UnknownNameError
            If there is no such node.
        ShapeError
            If there are no such units, a value does not fit them or is not finite, or one unit is given two values.
        """
        given = []
        for kind, values in (("clamp", clamp), ("patch", patch)):
            if values is not None and not isinstance(values, Mapping):
                raise ShapeError(
                    f"{kind}: expected a dict by address, got {type(values).__name__}; write for example "
                    f"{{'conv1[3]': {'0.0' if kind == 'clamp' else 'x'}}}"
                )
            with np.errstate(over="ignore"):  # what is too large for the dtype is refused in words
                for address, value in (values or {}).items():
                    units = Units.of(nodes, address)
                    given.append(_Given(kind, units, _fitting(f"{kind} {units}", units, value, batch, np.dtype(dtype))))
        zero = np.zeros((), dtype)
        given += [_Given("ablate", units, zero) for units in addressed(nodes, ablate).values()]
        made = cls(given)
        for several in made._given.values():
            _check_apart(several)
        return made

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes with such units."""
        return tuple(self._given)

    def forward(self, name: str, y: np.ndarray, empty: Callable[..., np.ndarray] = np.empty) -> np.ndarray:
        """What a node gives in place of `y`, (channels, *space, batch): a new array, or `y` where nothing is done."""
        return self._replaced(name, y, empty, lambda one: one.value)

    def backward(self, name: str, dy: np.ndarray, empty: Callable[..., np.ndarray] = np.empty) -> np.ndarray:
        """What of the gradient `dy` of a node's output goes on back: nothing for units that were given a value."""
        return self._replaced(name, dy, empty, lambda one: 0)

    def _replaced(
        self, name: str, array: np.ndarray, empty: Callable[..., np.ndarray], value: Callable[[_Given], Any]
    ) -> np.ndarray:
        if name not in self._given:
            return array
        changed = empty(array.shape, array.dtype)  # others hold the array
        changed[...] = array
        for one in self._given[name]:
            changed[one.units.slices] = value(one)
        return changed


def addressed(nodes: Mapping[str, Node], addresses: Any) -> dict[str, Units]:
    """Units by their address.

    Parameters
    ----------
    nodes : mapping of Node by name
        Of the network.
    addresses : address or iterable of addresses
        As for `Units.of`.

    Returns
    -------
    dict of Units by str
        Each by its address as it was given, or in words where it was no text.

    Raises
    ------
    UnknownNameError, ShapeError
        If there is no such node, or there are no such units.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> from simulator.network import Network
    >>> addressed(Network.sequential((1, 4), [Conv(2, kernel=3)]).nodes, ["conv1[1,0]", ("conv1", 3)])
    {'conv1[1,0]': conv1[1, 0], 'conv1[1, 1]': conv1[1, 1]}
    """
    return dict(_addressed(nodes, addresses))


def _addressed(nodes: Mapping[str, Node], addresses: Any) -> Iterator[tuple[str, Units]]:
    single = isinstance(addresses, (str, Units)) or not isinstance(addresses, Iterable)
    for address in [addresses] if single else addresses:
        units = Units.of(nodes, address)
        yield address if isinstance(address, str) else str(units), units


def _fitting(who: str, units: Units, value: Any, batch: int, dtype: np.dtype) -> np.ndarray:
    """A value with the batch as its last axis, after its shape and numbers have been checked."""
    selected = tuple(n for n, i in zip(units.shape, units.index, strict=True) if i is None)
    array = real_array(who, value)
    if array.shape not in ((), selected, (1, *selected), (batch, *selected)):
        raise ShapeError(
            f"{who}: expected a number or an array {f'{selected} or ' if selected else ''}{(batch, *selected)}, got "
            f"{array.shape}; give one number for each unit, or for each sample and unit"
        )
    array = array.astype(dtype)  # a copy
    if not np.isfinite(array).all():
        raise ShapeError(f"{who}: expected finite numbers, got NaN or infinity; give others")
    if not array.ndim:
        return array
    return array[..., None] if array.ndim == len(selected) else np.moveaxis(array, 0, -1)


def _check_apart(given: list[_Given]) -> None:
    """Refuse two values for one unit of a node; the same number twice is fine."""
    if len(given) < 2:
        return
    owner = np.full(given[0].units.shape, -1, np.int32)
    for number, one in enumerate(given):
        taken = owner[one.units.slices]
        for other in (given[k] for k in {*taken[taken >= 0].tolist()}):
            if not (one.value.ndim == other.value.ndim == 0 and one.value == other.value):
                raise ShapeError(
                    f"{one}: expected units that are given one value, got some that {other} gives another; leave one "
                    "of them out"
                )
        owner[one.units.slices] = number
