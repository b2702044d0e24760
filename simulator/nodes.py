"""Nodes: a layer in its place in a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import numpy as np

from simulator.errors import PluginError, ShapeError, blamed, brief
from simulator.layers.base import Counts, Layer, MatrixLayer, Shape
from simulator.patterns import Pattern, WindowPattern

__all__ = ["Input", "Node", "only"]


@dataclass(frozen=True)
class Input(Layer):
    """Where a sample enters the network."""

    shape: Annotated[Shape, "write all sizes, such as (1, 28, 28)"]
    inputs = 0

    def output_shape(self, *input_shapes: Shape) -> Shape:
        sizes = self.shape if isinstance(self.shape, tuple) else ()
        if not sizes or not all(isinstance(n, (int, np.integer)) and n > 0 for n in sizes):
            raise ShapeError(
                f"input: expected a shape of positive integers such as (1, 28, 28), got {brief(self.shape)}; "
                "give channels "
                "and then the sizes of space"
            )
        return tuple(int(n) for n in self.shape)


@dataclass(frozen=True, eq=False)
class Node:
    """A layer in its place: name, inputs, shapes. It holds no weights, so all copies of a network share it.

    Parameters
    ----------
    name : str
        Unique in the network.
    layer : Layer
        What it computes.
    inputs : tuple of str
        Names of the nodes that it reads.
    input_shapes : tuple of shapes
        Their shapes.
    shape : tuple of int
        Of one output sample, (channels, *space).
    share : str, optional
        Node whose weights this one uses.
    buffer_names : tuple of str
        Names of what it keeps but does not train.
    """

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    shape: Shape
    share: str | None = None
    buffer_names: tuple[str, ...] = ()

    @property
    def owner(self) -> str:
        """The node that holds the weights."""
        return self.share or self.name

    @cached_property
    def pattern(self) -> Pattern | None:
        """Connections and ties of a matrix layer, else None."""
        if not isinstance(self.layer, MatrixLayer):
            return None
        with blamed(f"{self.name}, {type(self.layer).__name__}.pattern", "a Pattern"):
            pattern = self.layer.pattern(*self.input_shapes)
            if not isinstance(pattern, Pattern):
                raise TypeError(f"{brief(pattern)} is none")
        units = math.prod(self.shape), math.prod(self.input_shapes[0])
        if pattern.shape != units:  # compiled loops trust it
            raise PluginError(
                f"{self.name}: expected {brief(self.layer)} to have a pattern of {units[0]} x {units[1]} units, got "
                f"{brief(pattern)}; correct its pattern or its output_shape"
            )
        return pattern

    @cached_property
    def support(self) -> Sequence[Pattern | None]:
        """Which input units its output units may depend on, for each input; None for all of them."""
        if self.pattern is not None:
            return [self.pattern]
        shapes = [(math.prod(self.shape), math.prod(shape)) for shape in self.input_shapes]
        with blamed(f"{self.name}, {type(self.layer).__name__}.support", f"patterns of shapes {shapes}, or None"):
            patterns = self.layer.support(*self.input_shapes)
            if patterns is None:
                return [None] * len(shapes)
            if [pattern.shape for pattern in patterns] != shapes:
                raise TypeError(f"{list(patterns)}")
        return patterns

    @cached_property
    def padding(self) -> WindowPattern | None:
        """The taps that read a pad value other than 0, as connections to one constant unit."""
        if not getattr(self.layer, "pad_value", 0):
            return None
        if not isinstance(self.pattern, WindowPattern):
            raise ShapeError(
                f"{self.name}: expected a WindowPattern for a pad value other than 0, got "
                f"{brief(self.pattern)}; pad first, "
                "with a layer of its own"
            )
        missing = self.pattern.missing()
        return missing if missing.nnz else None

    @cached_property
    def fixed_weight(self) -> np.ndarray | None:
        """The weight of a matrix layer that is not trained."""
        if isinstance(self.layer, MatrixLayer) and not self.layer.trained:
            return self.layer.fixed_weight(*self.input_shapes)
        return None

    @cached_property
    def param_shapes(self) -> dict[str, Shape]:
        return self.layer.param_shapes(*self.input_shapes)

    @property
    def counts(self) -> Counts:
        """Params, connections, nonzeros; shared weights are counted where they belong."""
        with blamed(f"{self.name}, {type(self.layer).__name__}.counts", "Counts"):
            counts = self.layer.counts(*self.input_shapes)
        return replace(counts, params=0) if self.share else counts


def only(names: tuple[str, ...], what: str) -> str:
    """The only one of several inputs or outputs, or a `ShapeError`."""
    if len(names) != 1:
        raise ShapeError(
            f"network: expected one {what}, got {len(names)} ({', '.join(names)}); give a dict by node name, or cut a "
            "subnetwork"
        )
    return names[0]
