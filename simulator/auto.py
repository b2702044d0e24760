"""The engine "auto": for each product and each network that of several engines which is done first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    """Chooses among engines by the speed that each states for a pattern and a batch, and by what compiling it takes.

    It never looks at the clock, nor at what has been compiled before: the choice, and with it every result, is the same
    in every run of the same work.

    Parameters
    ----------
    engines : sequence of Engine
        To choose from; of equally fast ones the first is taken.
    ready : bool, default False
        Choose as if all were ready: for work that is long, or that is not to be timed with it.

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

    def __init__(self, engines: Sequence[Engine], ready: bool = False) -> None:
        self.engines, self.ready = tuple(engines), ready
        slow = [engine for engine in self.engines if not hasattr(engine, "speed")]
        if slow or not self.engines:
            raise ShapeError(
                f"engine auto: expected engines with a method 'speed', got {brief(slow) if slow else 'none'}; give "
                "such engines, for example SciPyEngine()"
            )

    def fastest(self, pattern: Pattern, batch: int) -> Any:
        """The engine that multiplies matrices of this pattern with batches of this size."""
        return min(self.engines, key=lambda engine: self._seconds(engine, [pattern], batch, batch))

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

    def for_network(self, nodes: Iterable[Node], batch: int, samples: int) -> Any:
        """The engine for a network: the one that takes the least time for all its matrices and for making it ready.

        There is one for the whole network because the threads of two would take each other's cores.

        Parameters
        ----------
        nodes : iterable of Node
            Of the network.
        batch : int
            Samples at a time.
        samples : int
            In all; one whose gradients go back counts three times.
        """
        patterns = [node.pattern for node in nodes if node.pattern is not None]
        return min(self.engines, key=lambda engine: self._seconds(engine, patterns, batch, samples))

    def _seconds(self, engine: Any, patterns: Sequence[Pattern], batch: int, samples: int) -> float:
        """How long an engine takes for all products of these matrices, estimated."""
        seconds = 0.0 if self.ready else getattr(engine, "preparation", 0.0)
        for pattern in patterns:
            known = engine.speed(pattern, batch)
            speed = known or max(e.speed(pattern, batch) for e in self.engines) / _SLOWER  # type: ignore[attr-defined]
            seconds += pattern.links * samples / speed if speed else 0.0
        return seconds

    def warm_up(self, dtype: Any, announce: Callable[[int, int], None] | None = None) -> None:
        """Make all engines ready that have to be; see `Engine`."""
        for engine in self.engines:
            if hasattr(engine, "warm_up"):
                engine.warm_up(dtype, announce)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.engines)!r})"
