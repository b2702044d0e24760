"""A pool of memory: arrays that come and go without asking the system anew."""

from __future__ import annotations

import bisect
import math
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["Pool"]

_LINE = 64  # bytes of a cache line: arrays start on one, so that no vector lies across two


class Pool:
    """Hands out arrays, and takes their memory back as soon as nobody refers to them or to a view of them.

    Nothing is ever handed out twice at a time, so an array may leave for good: its memory just does not come back.

    Notes
    -----
    What is handed out is a view of a block that the pool keeps, and so is every view of it; Python's count of the
    references to the block tells whether there are any.

    Examples
    --------
    >>> pool = Pool()
    >>> first = pool.empty((2, 3), np.float32)
    >>> where = first.ctypes.data
    >>> del first
    >>> pool.empty(6, np.float32).ctypes.data == where
    True
    """

    def __init__(self) -> None:
        self._blocks: dict[int, list[np.ndarray]] = {}  # by bytes
        self._sizes: list[int] = []  # the keys, sorted
        self._lock = threading.Lock()

    def empty(self, shape: int | Sequence[int], dtype: Any) -> np.ndarray:
        """An array of undefined content, C-contiguous and aligned to cache lines."""
        dtype = np.dtype(dtype)
        need = dtype.itemsize * (shape if isinstance(shape, int) else math.prod(shape))
        with self._lock:
            for block in self._blocks.get(need, ()):
                if sys.getrefcount(block) == _UNUSED:
                    break
            else:
                block = self._larger(need)
            return np.ndarray(shape, dtype, block)

    def _larger(self, need: int) -> np.ndarray:
        """An unused block of up to twice the size, else a new one."""
        for size in self._sizes[bisect.bisect_right(self._sizes, need) :]:
            if size > 2 * need:
                break
            for block in self._blocks[size]:
                if sys.getrefcount(block) == _UNUSED:
                    return block
        memory = bytearray(need + _LINE)  # no array: views would refer to it, and not to the block
        start = -np.frombuffer(memory, np.uint8).ctypes.data % _LINE
        block = np.ndarray((need,), np.uint8, memory, start)
        if need not in self._blocks:
            self._blocks[need] = []
            bisect.insort(self._sizes, need)
        self._blocks[need].append(block)
        return block

    @property
    def nbytes(self) -> int:
        """Bytes of all memory that the pool has ever asked for."""
        return sum(len(block) + _LINE for blocks in self._blocks.values() for block in blocks)


for _block in [np.empty(0, np.uint8)]:
    _UNUSED = sys.getrefcount(_block)  # of a block that only a list and the loop over it refer to
