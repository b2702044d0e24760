"""The engine "auto": for each product and each network the fastest of several engines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from simulator.engine import Engine, Need, need_of
from simulator.errors import ShapeError, brief
from simulator.matrix import TiedMatrix
from simulator.nodes import Node
from simulator.patterns import Pattern

__all__ = ["AutoEngine"]

_SLOWER = 4  # times as slow as the fastest engine is one that does not know a pattern


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
                f"engine auto: expected engines with a method 'speed', got {brief(slow) if slow else 'none'}; give "
                "such engines, for example SciPyEngine()"
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

    def need(self, nodes: Sequence[Node], batch: int, dtype: np.dtype, backward: bool) -> Need | None:
        """What the engine takes that multiplies the matrix of a node, or None if that does not say."""
        pattern = nodes[0].pattern
        assert pattern is not None
        return need_of(self.fastest(pattern, batch), nodes, batch, dtype, backward)

    def for_network(self, nodes: Iterable[Node], batch: int) -> Any:
        """The engine whose kernels a network is to have: the one that takes the least time for all its matrices.

        There is one for the whole network because the threads of two would take each other's cores.
        """
        patterns = [node.pattern for node in nodes if node.pattern is not None]

        def seconds(engine: Any) -> float:
            speeds = [engine.speed(p, batch) or self.fastest(p, batch).speed(p, batch) / _SLOWER for p in patterns]
            work = [p.links * batch for p in patterns]
            return sum(w / s if s else 0.0 for w, s in zip(work, speeds, strict=True))

        return min(self.engines, key=seconds)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.engines)!r})"
