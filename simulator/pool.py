"""A pool of memory: arrays that come and go without asking the system anew."""

from __future__ import annotations

import bisect
import math
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["Pool"]

_LINE = 64  # bytes of a cache line: arrays start on one, so that no vector lies across two


class Pool:
    """Hands out arrays, and takes their memory back as soon as nobody refers to them or to a view of them.

    Nothing is ever handed out twice at a time, so an array may leave for good: its memory just does not come back.

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
        self._free: list[tuple[int, int]] = []  # (bytes, number) of blocks that may be handed out, sorted
        self._blocks: dict[int, tuple[bytearray, int]] = {}  # memory, and where its first cache line starts
        self._returned: deque[int] = deque()  # filled whenever an array dies, in any thread
        self._watched: dict[int, weakref.ref[np.ndarray]] = {}

    def empty(self, shape: int | Sequence[int], dtype: Any) -> np.ndarray:
        """An array of undefined content, C-contiguous and aligned to cache lines."""
        dtype = np.dtype(dtype)
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        need = max(1, math.prod(shape) * dtype.itemsize)
        while self._returned:
            number = self._returned.popleft()
            del self._watched[number]
            bisect.insort(self._free, (len(self._blocks[number][0]) - _LINE, number))
        at = bisect.bisect_left(self._free, (need, -1))
        if at < len(self._free) and self._free[at][0] <= 2 * need:
            _, number = self._free.pop(at)
        else:
            number = len(self._blocks)
            # Not an ndarray: views of an array refer to the array that stands directly on such memory.
            block = bytearray(need + _LINE)
            self._blocks[number] = (block, -np.frombuffer(block, np.uint8).ctypes.data % _LINE)
        array: np.ndarray = np.ndarray(shape, dtype, *self._blocks[number])
        self._watched[number] = weakref.ref(array, lambda _, number=number: self._returned.append(number))  # type: ignore[misc]
        return array

    @property
    def nbytes(self) -> int:
        """Bytes of all memory that the pool has ever asked for."""
        return sum(len(block) for block, _ in self._blocks.values())
