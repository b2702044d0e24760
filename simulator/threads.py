"""Threads: how many cores an engine uses, and BLAS kept from using them at the same time.

NumPy's BLAS starts threads of its own, which wait for work by spinning. Where an engine uses the cores itself, BLAS is
held to one thread (`one_blas_thread`), so that the two never fight.
"""

from __future__ import annotations

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from simulator.windows import check_size

__all__ = ["available_cores", "check_threads", "in_slices", "one_blas_thread"]


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_threads(threads: int | None, who: str) -> int:
    """A number of threads, where None stands for all cores.

    Raises
    ------
    ShapeError
        If it is not a positive integer.

    Examples
    --------
    >>> check_threads(2, "engine")
    2
    """
    return available_cores() if threads is None else check_size(threads, f"{who} threads")


@functools.cache
def _workers(process: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked one gets its own."""
    return ThreadPoolExecutor(available_cores(), thread_name_prefix="simulator")


def in_slices(work: Callable[[slice], None], total: int, threads: int, step: int | None = None) -> None:
    """Call `work` with slices that together cover ``range(total)``, on several threads at once.

    A thread that is done takes the next slice, so that nobody waits for one that the machine has no core for.

    Parameters
    ----------
    work : callable
        ``work(slice)``, which writes its results itself; NumPy and SciPy products let other threads run.
    total : int
        Where the last slice ends.
    threads : int
        How many slices are worked on at a time.
    step : int, optional
        Length of a slice. Default: one slice for each thread.
    """
    step = max(1, -(-total // threads) if step is None else step)
    slices = [slice(start, min(start + step, total)) for start in range(0, total, step)]
    if threads == 1 or len(slices) < 2:
        for part in slices:
            work(part)
        return
    todo = deque(slices)

    def share() -> None:
        while True:
            try:
                part = todo.popleft()
            except IndexError:
                return
            try:
                work(part)
            except BaseException:
                todo.clear()
                raise

    others: list[Future[None]] = [_workers(os.getpid()).submit(share) for _ in range(min(threads, len(slices)) - 1)]
    try:
        share()
    finally:
        for other in others:
            if not other.cancel():
                other.exception()  # waits; no thread may write after this function has ended
    for other in others:
        if not other.cancelled():
            other.result()


@functools.cache
def _blas() -> Any:
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


_lock = threading.Lock()
_inside: list[tuple[Any, int]] = []  # one entry for each open `one_blas_thread`: what undoes it, and who set it


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread; the last of several nested or concurrent uses gives it its threads back."""
    with _lock:
        _inside.append(_inside[0] if _inside else (_blas().limit(limits=1, user_api="blas"), threading.get_ident()))
    try:
        yield
    finally:
        with _lock:
            limit, thread = _inside.pop()
            if not _inside:
                if thread != threading.get_ident():
                    _take_control()
                limit.restore_original_limits()


def _take_control() -> None:
    """Let this thread set BLAS's threads: since threadpoolctl 3.8 only the thread that was first to set them may."""
    for library in _blas().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)
