"""The fully connected layer, and the layer of any sparse matrix at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from simulator.errors import ShapeError
from simulator.initializers import Init
from simulator.layers.base import Bias, MatrixLayer, Shape
from simulator.matrix import dense_pattern
from simulator.patterns import Pattern
from simulator.windows import check_size

__all__ = ["Dense", "Sparse"]


@dataclass(frozen=True)
class Dense(MatrixLayer):
    """Fully connected layer; an input of any shape is flattened in C order.

    As a matrix: every cell is a nonzero with a weight of its own.

    Parameters
    ----------
    out : int or tuple of int
        Number of output units, or the shape of one output sample.
    bias : bool or "unit", default True
        One per output channel, none, or one per output unit.
    init : str, default "he"
        First values of the weight.

    Notes
    -----
    The weight has shape (out, in), as in PyTorch, where `out` counts all output units.

    Examples
    --------
    >>> Dense(10).pattern((84,))
    WindowPattern 10 x 84: 840 nonzeros, 840 weights, none shared
    >>> Dense((6, 4, 4), bias="unit").param_shapes((1, 8, 8))
    {'weight': (96, 64), 'bias': (6, 4, 4)}
    """

    out: int | Shape
    bias: Bias = True
    init: Init = "he"

    def output_shape(self, *input_shapes: Shape) -> Shape:
        sizes = self.out if isinstance(self.out, tuple) and self.out else (self.out,)
        return tuple(check_size(n, "dense out") for n in sizes)

    def weight_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(self.output_shape(input_shape)), math.prod(input_shape))

    def pattern(self, input_shape: Shape) -> Pattern:
        return dense_pattern(*self.weight_shape(input_shape))


@dataclass(frozen=True)
class Sparse(MatrixLayer):
    """A layer from any pattern: connections and ties of your own, or of any scipy sparse matrix.

    As a matrix: the pattern itself.

    Parameters
    ----------
    connections : Pattern
        Its rows are the output units, its columns the units of the flattened input.
    shape : tuple of int, optional
        Shape of one output sample. Default: (n_out,).
    bias : bool or "unit", default False
        One per output channel, one per output unit, or none.
    init : str, default "he"
        First values of the weight.

    Examples
    --------
    >>> import scipy.sparse
    >>> from simulator.matrix import TiedMatrix
    >>> circulant = scipy.sparse.csr_array([[1., 2., 0.], [0., 1., 2.], [2., 0., 1.]])
    >>> tied = TiedMatrix.from_sparse(circulant, ties=[0, 1, 0, 1, 1, 0])
    >>> from simulator.network import Network
    >>> net = Network.sequential((3,), [Sparse(tied.pattern)]).with_params({"sparse1.weight": tied.weight})
    >>> net.predict([[1.0, 1.0, 1.0]])
    array([[3., 3., 3.]], dtype=float32)
    """

    connections: Annotated[Pattern, "for a scipy matrix use TiedMatrix.from_sparse(matrix, ties).pattern"]
    shape: Shape | None = None
    bias: Bias = False
    init: Init = "he"

    def output_shape(self, *input_shapes: Shape) -> Shape:
        n_out, n_in = self.connections.shape
        if not n_out or not n_in:
            raise ShapeError(
                f"sparse: expected a pattern with rows and columns, got {n_out} x {n_in}; give one that connects units"
            )
        shape = (n_out,) if self.shape is None else tuple(self.shape)
        if math.prod(shape) != n_out:
            raise ShapeError(
                f"sparse shape: expected {n_out} output units, got {math.prod(shape)} (shape {shape}); give a shape of "
                "that many units"
            )
        if math.prod(input_shapes[0]) != n_in:
            raise ShapeError(
                f"sparse: expected an input of {n_in} units, got {math.prod(input_shapes[0])} (shape "
                f"{input_shapes[0]}); use a pattern with as many columns"
            )
        return shape

    def weight_shape(self, input_shape: Shape) -> Shape:
        return (self.connections.n_ties,)

    def pattern(self, input_shape: Shape) -> Pattern:
        return self.connections
