"""Runs on processes of this machine, one run at a time in each: who is killed loses one run, which is begun again."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from multiprocessing import connection

from simulator.running.tasks import Outcome, Plan, Task, perform

__all__ = ["in_processes"]

_TRIES = 2


def in_processes(plan: Plan, tasks: Sequence[Task], jobs: int) -> Iterator[Outcome]:
    """Outcomes as they come; whatever ends this, no process is left.

    Parameters
    ----------
    plan : Plan
        What the runs have in common.
    tasks : sequence of Task
        Begun in this order.
    jobs : int
        How many processes, at most.

    Yields
    ------
    Outcome
        Also of a run whose process was killed twice, with an error.
    """
    todo, lost = deque(tasks), Counter[int]()
    workers: list[_Worker] = []
    try:
        while todo or workers:
            while todo and len(workers) < jobs:
                workers.append(_Worker(plan))
                workers[-1].begin(todo.popleft())
            ready = connection.wait([worker.pipe for worker in workers])
            for worker in [worker for worker in workers if worker.pipe in ready]:
                task, outcome = worker.task, worker.outcome()
                if outcome is None:  # the process is gone
                    workers.remove(worker)
                    worker.end()
                    lost[id(task)] += 1
                    if lost[id(task)] < _TRIES:
                        todo.appendleft(task)
                        continue
                    error = f"its process ended {_TRIES} times ({worker.how()}); use fewer --jobs if memory is short"
                    outcome = Outcome(task, [], 0.0, error)
                elif todo:
                    worker.begin(todo.popleft())
                else:
                    workers.remove(worker)
                    worker.end()
                yield outcome
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process that runs one task after the other."""

    def __init__(self, plan: Plan) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(plan, theirs), daemon=True)
        with _deaf_to_interrupts():
            self._process.start()
        theirs.close()  # so that the pipe ends with the process

    def begin(self, task: Task) -> None:
        self.task = task
        with contextlib.suppress(OSError):  # a process that is gone is told by the pipe's end
            self.pipe.send(task)

    def outcome(self) -> Outcome | None:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return None

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def how(self) -> str:
        status = self._process.exitcode
        return f"exit status {status}" if status is None or status >= 0 else f"signal {-status}"


def _serve(plan: Plan, pipe: connection.Connection) -> None:
    """What a process does until it is killed, or the one that started it is gone."""
    os.dup2(2, 1)  # what a run prints must not come between the lines, or into the JSON, of the process that started it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the process that started this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        pipe.send(perform(plan, pipe.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """A process that is started in this block does not hear Ctrl-C, not even while it starts."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # would otherwise be started within, and unblock it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
