"""What a layer is: frozen hyper-parameters, and either a matrix or a function.

- A `MatrixLayer` says which pattern its matrix has and how its weight is laid out; forward, backward, gradient, counts
  and pictures come from the core.
- A `FunctionLayer` says how it computes and returns the function that takes the gradient back.

Layers hold no weights and no sizes of the input; both are given to them. Inside they see arrays
(channels, *space, batch).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import scipy

from simulator.declared import Declared
from simulator.errors import ShapeError, brief
from simulator.initializers import initial
from simulator.patterns import Pattern

__all__ = ["Bias", "Counts", "FunctionLayer", "Layer", "MatrixLayer"]

Shape = tuple[int, ...]
Bias = bool | Literal["unit"]  # one per output channel, none, or one per output unit
Array = np.ndarray
Arrays = Mapping[str, np.ndarray]
Rng = np.random.Generator | None
Gradients = tuple[tuple[np.ndarray, ...], dict[str, np.ndarray]]
Pullback = Callable[[np.ndarray], Gradients]
Forward = tuple[np.ndarray, Pullback, dict[str, np.ndarray]]
Affine: TypeAlias = "tuple[list[scipy.sparse.csr_array], np.ndarray]"


@dataclass(frozen=True)
class Counts:
    """What a layer consists of, in the words of the field.

    Parameters
    ----------
    params : int
        Trained scalars.
    connections : int
        Nonzeros plus bias connections.
    links : int
        The same with the taps that fall on padding, as LeCun counts.
    nonzeros : int
        Stored entries of the matrix with trained weights, one for each connection: where windows read an input twice
        (circular, reflect or replicate padding) a cell of the matrix holds several.
    fixed_nonzeros : int
        Stored entries of a matrix whose weight is not trained.
    macs : int
        Multiply-adds of one sample counted the usual way: taps on padding included, bias not.
    """

    params: int = 0
    connections: int = 0
    links: int = 0
    nonzeros: int = 0
    fixed_nonzeros: int = 0
    macs: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


class Layer(Declared, ABC):
    """Hyper-parameters of one step of a network: a frozen dataclass whose repr rebuilds it.

    Its fields are checked by their declared types as it is made (see `Declared`).
    """

    inputs: ClassVar[int | None] = 1  # how many inputs it takes; None: two or more

    @abstractmethod
    def output_shape(self, *input_shapes: Shape) -> Shape:
        """Shape of one sample of the output for inputs of these shapes, or a `ShapeError`."""

    def param_shapes(self, *input_shapes: Shape) -> dict[str, Shape]:
        """Name and shape of each trained array."""
        return {}

    def init_params(self, rng: np.random.Generator, *input_shapes: Shape, dtype: Any) -> dict[str, np.ndarray]:
        """First values of the trained arrays."""
        return {}

    def init_buffers(self, *input_shapes: Shape, dtype: Any) -> dict[str, np.ndarray]:
        """First values of what the layer keeps but does not train, such as running means."""
        return {}

    def counts(self, *input_shapes: Shape) -> Counts:
        """Parameters, connections, nonzeros and multiply-adds."""
        return Counts(params=sum(math.prod(s) for s in self.param_shapes(*input_shapes).values()))

    def support(self, *input_shapes: Shape) -> Sequence[Pattern] | None:
        """Which input units an output unit may depend on, outside of training: what receptive fields are made of.

        Parameters
        ----------
        *input_shapes : shape
            Of one sample of each input.

        Returns
        -------
        sequence of Pattern, or None
            One (n_out, n_in) for each input; the ties do not count. None says nothing: every output unit may depend on
            everything.
        """
        return None

    def affine_at(self, params: Arrays, buffers: Arrays, *xs: np.ndarray) -> Affine | None:
        """The layer as matrices and an offset at one sample, or None where it is not piecewise affine.

        Parameters
        ----------
        params, buffers : mapping of str to numpy.ndarray
            The layer's arrays.
        *xs : numpy.ndarray, (channels, *space)
            One sample of each input.

        Returns
        -------
        list of scipy.sparse.csr_array, numpy.ndarray
            One matrix (n_out, n_in) for each input and an offset (n_out,), so that the output is
            ``sum(A @ x.ravel()) + offset``.
        """
        return None


class MatrixLayer(Layer):
    """This layer is a matrix.

    A subclass gives `output_shape`, `pattern` and `weight_shape`. A layer whose weight is fixed sets `trained` to False
    and gives `fixed_weight`. The fields `bias`, `init` and `pad_value` are read where a subclass has them.
    """

    trained: ClassVar[bool] = True
    bias: bool | str = False  # True: one per channel; "unit": one per output unit
    init: str = "he"
    pad_value: float = 0.0

    @abstractmethod
    def pattern(self, input_shape: Shape) -> Pattern:
        """Connections and ties of the matrix for one input shape."""

    @abstractmethod
    def weight_shape(self, input_shape: Shape) -> Shape:
        """Shape of the weight, with one entry per tie."""

    def support(self, *input_shapes: Shape) -> Sequence[Pattern] | None:
        return [self.pattern(*input_shapes)]

    def fixed_weight(self, input_shape: Shape) -> np.ndarray:
        """The weight of a layer that does not train it."""
        raise NotImplementedError(f"{type(self).__name__} has no fixed weight")

    def bias_shape(self, input_shape: Shape) -> Shape | None:
        """(out_channels,), or one per unit, or None."""
        if self.bias not in (True, False, "unit"):
            raise ShapeError(
                f"{type(self).__name__} bias: expected True, False or 'unit', got {brief(self.bias)}; choose one per "
                "channel (True), one per unit or none"
            )
        out = self.output_shape(input_shape)
        return None if not self.bias else out if self.bias == "unit" else out[:1]

    def param_shapes(self, *input_shapes: Shape) -> dict[str, Shape]:
        (input_shape,) = input_shapes
        shapes: dict[str, Shape] = {}
        if self.trained:
            shapes["weight"] = self.weight_shape(input_shape)
        bias = self.bias_shape(input_shape)
        if bias is not None:
            shapes["bias"] = bias
        return shapes

    def init_params(self, rng: np.random.Generator, *input_shapes: Shape, dtype: Any) -> dict[str, np.ndarray]:
        params = {}
        for name, shape in self.param_shapes(*input_shapes).items():
            if name == "weight":
                pattern = self.pattern(*input_shapes)
                n_out, n_in = pattern.shape
                params[name] = initial(self.init, rng, shape, pattern.links / n_out, pattern.links / n_in, dtype)
            else:
                params[name] = np.zeros(shape, dtype)
        return params

    def counts(self, *input_shapes: Shape) -> Counts:
        (input_shape,) = input_shapes
        pattern = self.pattern(input_shape)
        shapes = self.param_shapes(input_shape)
        params = sum(math.prod(s) for s in shapes.values())
        bias = pattern.shape[0] if "bias" in shapes else 0
        if not self.trained:
            return Counts(params, connections=bias, links=bias, fixed_nonzeros=pattern.nnz)
        return Counts(params, pattern.nnz + bias, pattern.links + bias, pattern.nnz, 0, pattern.links)


class FunctionLayer(Layer):
    """A layer that is not one fixed matrix: it computes, and returns how gradients go back."""

    keeps: ClassVar[float] = 1.0  # numbers kept for the way back, for each of its input or output, whichever has more

    @abstractmethod
    def forward(self, params: Arrays, buffers: Arrays, *xs: Array, training: bool = False, rng: Rng = None) -> Forward:
        """Compute the layer.

        Parameters
        ----------
        params, buffers : mapping of str to numpy.ndarray
            The layer's arrays; they must not be changed.
        *xs : numpy.ndarray, (channels, *space, batch)
            The inputs; they must not be changed.
        training : bool
            Whether the network is being trained.
        rng : numpy.random.Generator, optional
            Source of randomness, given in training.

        Returns
        -------
        y : numpy.ndarray, (channels, *space, batch)
        pullback : callable
            ``pullback(dy)`` gives the gradients of the inputs (a tuple) and of the params (a dict). It may be called
            more than once.
        buffers : dict
            The buffers after this step.
        """


def check_channels(shape: Shape, who: str) -> Shape:
    """Return `shape` if it is (channels, *space) with at least one axis of space."""
    if len(shape) < 2:
        raise ShapeError(
            f"{who}: expected an input (channels, *space), got {shape}; reshape it first, for example to "
            f"(1, {', '.join(map(str, shape)) or 1})"
        )
    return shape
