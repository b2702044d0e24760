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
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from simulator.errors import ShapeError, brief
from simulator.windows import check_size

__all__ = ["available_cores", "check_cores", "check_threads", "in_slices", "one_blas_thread"]


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


def check_cores(threads: int | None, who: str) -> int:
    """A number of threads that somebody asks for: at most as many as there are cores; None stands for all of these.

    More would wait for each other, and a measurement would say nothing. An engine itself takes any number, so that what
    was computed on many cores can be computed again, bit by bit, on few.

    Raises
    ------
    ShapeError
        If it is not a positive integer, or more than the cores that this process may use.

    Examples
    --------
    >>> check_cores(1, "engine")
    1
    """
    number, cores = check_threads(threads, who), available_cores()
    if number > cores:
        raise ShapeError(
            f"{who} threads: expected at most {cores}, the cores that this process may use, got {brief(number)}; ask "
            f"for {cores}, or leave it out"
        )
    return number


class _Job:
    """Slices to work on, for whoever has time."""

    def __init__(self, work: Callable[[slice], None], slices: list[slice]) -> None:
        self._work = work
        self._todo = deque(slices)
        self._open = len(slices)
        self._lock, self._finished = threading.Lock(), threading.Lock()
        self._finished.acquire()  # until no slice is open
        self._error: BaseException | None = None

    def share(self) -> None:
        """Take slices until none is left."""
        while True:
            with self._lock:
                if not self._todo:
                    return
                part = self._todo.popleft()
            error = None
            try:
                self._work(part)
            except BaseException as caught:
                error = caught
            with self._lock:
                self._open -= 1
                if error is not None:
                    self._error = self._error or error
                    self._open -= len(self._todo)
                    self._todo.clear()
                if self._open == 0:
                    self._finished.release()

    def wait(self) -> None:
        """Until every slice is done; an error in any thread is raised here."""
        self._finished.acquire()
        if self._error is not None:
            raise self._error


@functools.cache
def _crew(process: int) -> list[SimpleQueue[_Job]]:
    """What the threads of a process wait for, a queue for each: one thread that always does the same share of the work
    stays on its core. A forked process gets its own."""
    return []


def _serve(jobs: SimpleQueue[_Job]) -> None:
    while True:
        jobs.get().share()


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
    job = _Job(work, slices)
    helpers = min(threads, len(slices)) - 1
    crew = _crew(os.getpid())
    while len(crew) < helpers:
        jobs: SimpleQueue[_Job] = SimpleQueue()
        try:
            threading.Thread(target=_serve, args=(jobs,), name=f"simulator-{len(crew) + 1}", daemon=True).start()
        except RuntimeError:  # no memory for its stack: those that there are do the work
            break
        crew.append(jobs)
    for jobs in crew[:helpers]:
        jobs.put(job)
    job.share()
    job.wait()


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
        if not _inside:
            _take_control()
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
