"""Engines: who multiplies with the tied matrices. The reference engine is `scipy.sparse`, literally."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from simulator.matrix import TiedMatrix

__all__ = ["Engine", "SciPyEngine"]


@runtime_checkable
class Engine(Protocol):
    """Three products are all that a network needs.

    Arrays are C-contiguous with the batch last: x is (n_in, batch), y and dy are (n_out, batch).
    """

    def apply(self, matrix: TiedMatrix, x: np.ndarray) -> np.ndarray:
        """W @ x, (n_out, batch)."""

    def apply_transposed(self, matrix: TiedMatrix, dy: np.ndarray) -> np.ndarray:
        """Wᵀ @ dy, (n_in, batch)."""

    def grad(self, matrix: TiedMatrix, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Gradient of ``sum(dy * (W @ x))`` in the shape of the weight."""


class SciPyEngine:
    """The reference and the truth: every product is one with the equivalent `scipy.sparse.csr_array`.

    The index arrays of a pattern are built once and kept with it; new weights only refill the values.

    Examples
    --------
    >>> from simulator.matrix import identity
    >>> SciPyEngine().apply(identity(2), np.array([[1.0], [2.0]]))
    array([[1.],
           [2.]])
    """

    def apply(self, matrix: TiedMatrix, x: np.ndarray) -> np.ndarray:
        return matrix @ x

    def apply_transposed(self, matrix: TiedMatrix, dy: np.ndarray) -> np.ndarray:
        return matrix.rmatvec(dy)

    def grad(self, matrix: TiedMatrix, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        return matrix.grad(x, dy)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
