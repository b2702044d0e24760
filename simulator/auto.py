"""The engine "auto": for each product and each kernel the fastest of several engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.engine import Engine, Kernel
from simulator.errors import ShapeError
from simulator.matrix import TiedMatrix
from simulator.nodes import Node
from simulator.patterns import Pattern

__all__ = ["AutoEngine"]


class AutoEngine:
    """Chooses among engines by the speed that each one states for a pattern and a batch; never by the clock.

    So the choice, and with it every result, is the same in every run.

    Parameters
    ----------
    engines : sequence of Engine
        To choose from; of equally fast ones the first is taken.

    Raises
    ------
    ShapeError
        If there is none, or one does not state its speed.

    Examples
    --------
    >>> from simulator.engine import SciPyEngine
    >>> from simulator.matrix import identity
    >>> AutoEngine([SciPyEngine()]).apply(identity(2), np.ones((2, 1)))
    array([[1.],
           [1.]])
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = tuple(engines)
        slow = [engine for engine in self.engines if not hasattr(engine, "speed")]
        if slow or not self.engines:
            raise ShapeError(
                f"engine auto: expected engines with a method 'speed', got {slow or 'none'}; give such engines, for "
                "example SciPyEngine()"
            )

    def fastest(self, pattern: Pattern, batch: int) -> Any:
        """The engine that multiplies matrices of this pattern with batches of this size."""
        return max(self.engines, key=lambda engine: engine.speed(pattern, batch))  # type: ignore[attr-defined]

    def apply(self, matrix: TiedMatrix, x: np.ndarray) -> np.ndarray:
        return self.fastest(matrix.pattern, x.shape[-1]).apply(matrix, x)

    def apply_transposed(self, matrix: TiedMatrix, dy: np.ndarray) -> np.ndarray:
        return self.fastest(matrix.pattern, dy.shape[-1]).apply_transposed(matrix, dy)

    def grad(self, matrix: TiedMatrix, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        return self.fastest(matrix.pattern, x.shape[-1]).grad(matrix, x, dy)

    def kernel(self, nodes: tuple[Node, ...], batch: int) -> tuple[Kernel, int] | None:
        """A kernel of the engine that is fastest for the first node; a node without a matrix takes the longest one."""
        pattern = nodes[0].pattern
        asked = self.engines if pattern is None else (self.fastest(pattern, batch),)
        offers = [engine.kernel(nodes, batch) for engine in asked if hasattr(engine, "kernel")]
        return max((offer for offer in offers if offer), key=lambda offer: offer[1], default=None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.engines)!r})"
