"""The projective field of a unit: which units of a later node it can influence, through any number of layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import numpy as np

from simulator.nodes import Node
from simulator.sets import UnitSet, behind, box_of, frozen
from simulator.units import numbered

__all__ = ["ProjectiveField", "projective_field"]


@dataclass(frozen=True, eq=False, repr=False)
class ProjectiveField:
    """The units of one node that one unit of an earlier one can influence.

    Parameters
    ----------
    layer : str
        Name of the earlier node.
    unit : int
        Number of its unit.
    position : tuple of int
        The same as (channel, *space).
    of : str
        Name of the later node.
    mask : numpy.ndarray of bool, (channels, *space)
        True for each unit of the later node that the unit can influence.
    """

    layer: str
    unit: int
    position: tuple[int, ...]
    of: str
    mask: np.ndarray

    @property
    def units(self) -> np.ndarray:
        """Numbers of the units that it can influence, ascending."""
        return np.flatnonzero(self.mask)

    @property
    def box(self) -> tuple[tuple[int, int], ...]:
        """The smallest box that holds the field: (first, one past the last) on each axis of (channel, *space).

        Empty, (0, 0) on each axis, if it influences nothing.
        """
        return box_of(self.mask)

    def __repr__(self) -> str:
        lines = " x ".join(f"{first}:{stop}" for first, stop in self.box)
        return (
            f"ProjectiveField of {self.layer}, unit {self.unit} {self.position}: "
            f"{np.count_nonzero(self.mask)} of {self.mask.size} units of {self.of}, within {lines}"
        )


def projective_field(nodes: Mapping[str, Node], layer: str, unit: Any, of: str) -> ProjectiveField:
    """Which units of a later node one unit can influence.

    As a matrix: the nonzero rows of a column of the product of all patterns from `layer` to `of`.

    Parameters
    ----------
    nodes : mapping of Node by name
        Each after those that it reads.
    layer : str
        The earlier node.
    unit : int or (channel, *space)
        Its unit.
    of : str
        The later node.

    Returns
    -------
    ProjectiveField

    Raises
    ------
    ShapeError
        If there is no such unit.

    Notes
    -----
    The transposed patterns are followed forwards: unit u is in the receptive field of unit v exactly if v is in the
    projective field of u.
    """
    number, position = numbered(nodes[layer].shape, unit, f"{layer} unit")
    units = {layer: UnitSet.one(nodes[layer].shape, number)}
    for node in nodes.values():
        reached = [
            behind(units[source], None if pattern is None else pattern.T, node.shape)
            for source, pattern in zip(node.inputs, node.support if node.inputs else (), strict=True)
            if source in units
        ]
        if reached:
            units[node.name] = reduce(or_, reached)
        if node.name == of:
            break
    shape = nodes[of].shape
    mask = units[of].mask().reshape(shape) if of in units else np.zeros(shape, bool)
    return ProjectiveField(layer, number, position, of, frozen(mask))
