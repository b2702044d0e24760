"""One connection between two units, with its shared weight; lists of them from the numbers of a pattern."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.layers.base import Shape
from simulator.memory import check_memory
from simulator.nodes import Node
from simulator.units import Units, Weight

__all__ = ["Connection", "connections_of", "shared_weights"]

_BYTES = 1000  # of one connection with its addresses


@dataclass(frozen=True, repr=False)
class Connection:
    """One connection from a unit to a unit.

    Parameters
    ----------
    source : Units or None
        The unit that is read; None for a constant.
    target : Units
        The unit that reads it.
    weight : Weight or None
        The shared weight; None if it is not trained: fixed, or chosen by the sample as in a maximum.
    value : float or None
        Of the weight; None in a network without weights, and where the layer is not linear.
    input : float or None
        Of the source; None without a sample.
    constant : str, default "padding"
        What a source of None is: the pad value that a tap on padding reads, or the number "1" that a bias does.
    """

    source: Units | None
    target: Units
    weight: Weight | None
    value: float | None = None
    input: float | None = None
    constant: str = "padding"

    @property
    def product(self) -> float | None:
        """Value times input: what the connection adds to its target."""
        return None if self.value is None or self.input is None else self.value * self.input + 0.0  # never -0

    @property
    def source_name(self) -> str:
        """The source in words."""
        return self.constant if self.source is None else str(self.source)

    @property
    def weight_name(self) -> str:
        """The weight in words."""
        return "not trained" if self.weight is None else str(self.weight)

    def __repr__(self) -> str:
        value = "" if self.value is None else f" = {self.value:.6g}"
        product = "" if self.product is None else f", times {self.input:.6g} = {self.product:.6g}"
        return f"{self.source_name} -> {self.target}: {self.weight_name}{value}{product}"


def connections_of(
    node: Node,
    k: int | None,
    rows: np.ndarray,
    cols: np.ndarray | None,
    weights: Sequence[Weight] | None = None,
    values: np.ndarray | None = None,
    inputs: np.ndarray | None = None,
    constant: str = "padding",
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
    constant : str, default "padding"
        What constant sources are.

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
        Connection(*parts, constant)
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


def _addresses(name: str, shape: Shape, numbers: np.ndarray) -> list[Units]:
    return [Units(name, position, shape) for position in _positions(shape, numbers)]


def _positions(shape: Shape, numbers: np.ndarray) -> list[tuple[int, ...]]:
    return list(zip(*(axis.tolist() for axis in np.unravel_index(numbers, shape)), strict=True))
