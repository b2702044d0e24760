"""The engine "auto": for each product and each kernel the fastest of several engines."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.channels import ChannelGroups
from simulator.engine import Engine, Kernel
from simulator.errors import ShapeError
from simulator.matrix import TiedMatrix
from simulator.nodes import Node
from simulator.patterns import Pattern, WindowPattern
from simulator.windows import Window

__all__ = ["AutoEngine"]

_MOST = 32  # channels, and sites along an axis, of a convolution that stands for the neighbours of a node


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
        return self._by_speed(pattern, batch)[0]

    def apply(self, matrix: TiedMatrix, x: np.ndarray) -> np.ndarray:
        return self.fastest(matrix.pattern, x.shape[-1]).apply(matrix, x)

    def apply_transposed(self, matrix: TiedMatrix, dy: np.ndarray) -> np.ndarray:
        return self.fastest(matrix.pattern, dy.shape[-1]).apply_transposed(matrix, dy)

    def grad(self, matrix: TiedMatrix, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        return self.fastest(matrix.pattern, x.shape[-1]).grad(matrix, x, dy)

    def kernel(self, nodes: tuple[Node, ...], batch: int) -> tuple[Kernel, int] | None:
        """A kernel of the engine that is fastest for the first node.

        A node without a matrix goes to the fastest for a convolution of about its size that has a kernel for it: in
        most networks this one works for its neighbours, too, and two engines do not take each other's cores.
        """
        pattern = nodes[0].pattern
        if pattern is None:
            channels, *space = nodes[0].input_shapes[0]
            alike = _convolution(min(channels, _MOST), tuple(min(n, _MOST) for n in space[:2]) or (1,))
            engines = self._by_speed(alike, batch)
        else:
            engines = [self.fastest(pattern, batch)]
        offers = (engine.kernel(nodes, batch) for engine in engines if hasattr(engine, "kernel"))
        return next((offer for offer in offers if offer), None)

    def _by_speed(self, pattern: Pattern, batch: int) -> list[Any]:
        return sorted(self.engines, key=lambda engine: -engine.speed(pattern, batch))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.engines)!r})"


@functools.lru_cache(maxsize=128)  # the engines know what they found out for as long as there is the pattern
def _convolution(channels: int, space: tuple[int, ...]) -> Pattern:
    """3 taps along each axis, from all channels to as many."""
    window = Window((3,) * len(space), padding=1)
    table = window.sites(space)
    groups, strides = ChannelGroups.full(channels, channels), (len(table[0]), 0, 1)
    return WindowPattern(groups, channels, table, math.prod(space), strides, (window, space))
