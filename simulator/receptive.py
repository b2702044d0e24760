"""One unit at a time: the row and the column of its layer's matrix, and its receptive field through many layers.

With this module one can

- list what one unit reads (`MatrixRow`) and who reads it (`MatrixColumn`), with ties and weights;
- follow patterns backwards from one unit to all units of an earlier node that can influence it (`ReceptiveField`).

Nothing here grows with the number of nonzeros: ImageNet-size networks are followed in milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.layers.base import Shape
from simulator.matrix import TiedMatrix
from simulator.nodes import Node
from simulator.patterns import IdentityPattern, Pattern, WindowPattern
from simulator.sets import UnitSet, behind, box_of, frozen
from simulator.units import numbered

__all__ = ["MatrixColumn", "MatrixRow", "ReceptiveField", "receptive_field"]

Span = tuple[tuple[int, int, int], ...]  # for each axis of space: site i comes from jump * i + low to jump * i + high


@dataclass(frozen=True, eq=False, repr=False)
class MatrixRow:
    """The fan-in of one output unit: one row of a layer's matrix.

    Parameters
    ----------
    layer : str
        Name of the node.
    unit : int
        Number of the output unit.
    position : tuple of int
        The same as (channel, *space).
    cols : numpy.ndarray of int, (fan_in,)
        Numbers of the input units that it reads; one that is read twice stands there twice.
    positions : numpy.ndarray of int, (fan_in, 1 + axes of space)
        The same as (channel, *space).
    ties : numpy.ndarray of int, (fan_in,)
        Which weight each connection uses.
    values : numpy.ndarray or None, (fan_in,)
        The weights; None in a network without weights.
    """

    layer: str
    unit: int
    position: tuple[int, ...]
    cols: np.ndarray
    positions: np.ndarray
    ties: np.ndarray
    values: np.ndarray | None

    @classmethod
    def of(cls, node: Node, pattern: Pattern, matrix: TiedMatrix | None, unit: Any) -> MatrixRow:
        """The row of `unit`, given by its number or as (channel, *space); `matrix` has the values, if any."""
        number, position = numbered(node.shape, unit, f"{node.name} output unit")
        cols, ties = pattern.row(number)
        values = None if matrix is None else matrix.weight.ravel()[ties]
        return cls(node.name, number, position, cols, _positions(cols, node.input_shapes[0]), ties, values)

    def __repr__(self) -> str:
        return (
            f"MatrixRow of {self.layer}, unit {self.unit} {self.position}: reads {_counted(self.cols, 'input unit')} "
            f"with {_counted(np.unique(self.ties), 'weight')}"
        )


@dataclass(frozen=True, eq=False, repr=False)
class MatrixColumn:
    """The fan-out of one input unit: one column of a layer's matrix.

    Parameters
    ----------
    layer : str
        Name of the node.
    unit : int
        Number of the input unit.
    position : tuple of int
        The same as (channel, *space).
    rows : numpy.ndarray of int, (fan_out,)
        Numbers of the output units that read it, ascending.
    positions : numpy.ndarray of int, (fan_out, 1 + axes of space)
        The same as (channel, *space).
    ties : numpy.ndarray of int, (fan_out,)
        Which weight each connection uses.
    values : numpy.ndarray or None, (fan_out,)
        The weights; None in a network without weights.
    """

    layer: str
    unit: int
    position: tuple[int, ...]
    rows: np.ndarray
    positions: np.ndarray
    ties: np.ndarray
    values: np.ndarray | None

    @classmethod
    def of(cls, node: Node, pattern: Pattern, matrix: TiedMatrix | None, unit: Any) -> MatrixColumn:
        """The column of `unit`, given by its number or as (channel, *space); `matrix` has the values, if any."""
        number, position = numbered(node.input_shapes[0], unit, f"{node.name} input unit")
        rows, ties = pattern.column(number)
        values = None if matrix is None else matrix.weight.ravel()[ties]
        return cls(node.name, number, position, rows, _positions(rows, node.shape), ties, values)

    def __repr__(self) -> str:
        return (
            f"MatrixColumn of {self.layer}, input unit {self.unit} {self.position}: read by "
            f"{_counted(self.rows, 'output unit')} with {_counted(np.unique(self.ties), 'weight')}"
        )


@dataclass(frozen=True, eq=False, repr=False)
class ReceptiveField:
    """The units of one node that can influence one unit of a later one.

    Parameters
    ----------
    layer : str
        Name of the later node.
    unit : int
        Number of its unit.
    position : tuple of int
        The same as (channel, *space).
    of : str
        Name of the earlier node.
    mask : numpy.ndarray of bool, (channels, *space)
        True for each unit of the earlier node that can influence the unit.
    size, stride : tuple of int or None
        Sites from the first to the last that such a field covers on each axis where no border cuts it, and how far it
        moves from one unit to the next. None where the windows on the way are not regular, or the field has no space.
    centre : tuple of float or None
        The middle of this unit's field on each axis, before the border cuts it.
    """

    layer: str
    unit: int
    position: tuple[int, ...]
    of: str
    mask: np.ndarray
    size: tuple[int, ...] | None
    stride: tuple[int, ...] | None
    centre: tuple[float, ...] | None

    @property
    def units(self) -> np.ndarray:
        """Numbers of the units that can influence it, ascending."""
        return np.flatnonzero(self.mask)

    @property
    def box(self) -> tuple[tuple[int, int], ...]:
        """The smallest box that holds the field: (first, one past the last) on each axis of (channel, *space).

        Empty, (0, 0) on each axis, if nothing influences the unit.
        """
        return box_of(self.mask)

    def __repr__(self) -> str:
        lines = " x ".join(f"{first}:{stop}" for first, stop in self.box)
        shape = ""
        if self.size is not None:
            shape = f"; {_times(self.size)} sites away from the borders, stride {_times(self.stride)}"
        return (
            f"ReceptiveField of {self.layer}, unit {self.unit} {self.position}: "
            f"{np.count_nonzero(self.mask)} of {self.mask.size} units of {self.of}, within {lines}{shape}"
        )


def receptive_field(nodes: Mapping[str, Node], layer: str, unit: Any, of: str) -> ReceptiveField:
    """Which units of an earlier node can influence one unit.

    Parameters
    ----------
    nodes : mapping of Node by name
        Each after those that it reads.
    layer : str
        The later node.
    unit : int or (channel, *space)
        Its unit.
    of : str
        The earlier node.

    Returns
    -------
    ReceptiveField

    Raises
    ------
    ShapeError
        If there is no such unit.

    Notes
    -----
    Connections are followed whatever their weights are, zeros too, and every tap of a maximum counts. A layer of which
    nothing is known (`Layer.support` gives None) depends on all its inputs.
    """
    number, position = numbered(nodes[layer].shape, unit, f"{layer} unit")
    units: dict[str, UnitSet] = {layer: UnitSet.one(nodes[layer].shape, number)}
    spans: dict[str, Span | None] = {layer: ((1, 0, 0),) * (len(position) - 1)}
    steps: dict[tuple[int, Shape], Span | None] = {}  # equal layers share a table
    for node in reversed(list(nodes.values())):
        if node.name == of:
            break
        if node.name not in units:
            continue
        found, span = units.pop(node.name), spans.pop(node.name)
        for k, (source, pattern) in enumerate(zip(node.inputs, node.support, strict=True)):
            shape = node.input_shapes[k]
            seen, reach = behind(found, pattern, shape), _through(span, pattern, node.shape, shape, steps)
            if source in units:
                seen, reach = units[source] | seen, _joined(spans[source], reach)
            units[source], spans[source] = seen, reach
    shape = nodes[of].shape
    if of not in units:
        return ReceptiveField(layer, number, position, of, frozen(np.zeros(shape, bool)), None, None, None)
    mask = frozen(units[of].mask().reshape(shape))
    reach = spans[of]
    if not reach or not _holds(reach, position, mask):
        return ReceptiveField(layer, number, position, of, mask, None, None, None)
    size = tuple(high - low + 1 for _, low, high in reach)
    centre = tuple(jump * i + (low + high) / 2 for (jump, low, high), i in zip(reach, position[1:], strict=True))
    return ReceptiveField(layer, number, position, of, mask, size, tuple(jump for jump, _, _ in reach), centre)


def _through(
    span: Span | None,
    pattern: Pattern | None,
    shape: Shape,
    input_shape: Shape,
    steps: dict[tuple[int, Shape], Span | None],
) -> Span | None:
    """Where the fields lie one layer further back; None if they are not regular there."""
    if isinstance(pattern, IdentityPattern):
        return span if shape == input_shape else None
    sizes = math.prod(shape[1:]), math.prod(input_shape[1:])
    if span is None or not isinstance(pattern, WindowPattern) or len(shape) != len(input_shape):
        return None
    if (pattern.table_shape[0], pattern.in_sites) != sizes:
        return None
    key = id(pattern.sites if pattern.slides is None else pattern), input_shape[1:]
    if key not in steps:
        steps[key] = _steps(pattern, shape[1:], input_shape[1:])
    step = steps[key]
    if step is None:
        return None
    each = zip(span, step, strict=True)
    return tuple((s * jump, s * low + first, s * high + last) for (jump, low, high), (s, first, last) in each)


def _steps(pattern: WindowPattern, out_space: Shape, in_space: Shape) -> Span | None:
    """For each axis the stride of the windows, and the first and last site of the first one."""
    taps, found = np.arange(pattern.table_shape[1]), []
    for axis, n in enumerate(in_space):
        # The windows along one axis, through the middle of the others.
        along = [np.arange(m) if a == axis else np.array(m // 2) for a, m in enumerate(out_space)]
        line = pattern.read(np.ravel_multi_index(np.broadcast_arrays(*along), out_space)[:, None], taps)
        step = _regular(line, math.prod(in_space[axis + 1 :]), n)
        if step is None:
            return None
        found.append(step)
    return tuple(found)


def _regular(line: np.ndarray, step: int, size: int) -> tuple[int, int, int] | None:
    """Stride, and first and last coordinate of window 0, of windows (count, taps) along one axis."""
    inside = line >= 0
    at = line // step % size  # coordinates along the axis
    both = inside[1:] & inside[:-1]
    stride = 1
    if len(line) > 1:
        window, tap = divmod(int(both.argmax()), line.shape[1])
        stride = int(at[window + 1, tap] - at[window, tap])
    starts = at - stride * np.arange(len(line))[:, None]
    first = starts[inside.argmax(axis=0), np.arange(line.shape[1])]  # (taps,)
    if np.any((starts != first) & inside) or not inside.any():
        return None
    used = first[inside.any(axis=0)]
    return stride, int(used.min()), int(used.max())


def _joined(a: Span | None, b: Span | None) -> Span | None:
    """Fields that come two ways: regular if they move equally far."""
    if a is None or b is None or [s[0] for s in a] != [s[0] for s in b]:
        return None
    return tuple((jump, min(low, b[k][1]), max(high, b[k][2])) for k, (jump, low, high) in enumerate(a))


def _holds(span: Span, position: tuple[int, ...], mask: np.ndarray) -> bool:
    """Whether the field of the unit lies where the span says."""
    sides = zip(span, position[1:], box_of(mask)[1:], strict=True)
    return all(jump * i + low <= first and stop <= jump * i + high + 1 for (jump, low, high), i, (first, stop) in sides)


def _positions(units: np.ndarray, shape: Shape) -> np.ndarray:
    """Numbers of units as (channel, *space), (len(units), axes)."""
    return np.stack(np.unravel_index(units, shape), axis=1)


def _counted(units: np.ndarray, what: str) -> str:
    return f"{len(units)} {what}{'s'[: len(units) != 1]}"


def _times(sizes: Any) -> str:
    return " x ".join(map(str, sizes))
