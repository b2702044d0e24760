"""Leaving early: Ctrl-C, and the signal with which systems end a process (SIGTERM), unwind the work in the same way."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

__all__ = ["Terminated", "leaving_status", "sigterm_raises"]


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""


def leaving_status(error: BaseException | None) -> int:
    """The exit status that shells expect: 143 after SIGTERM, 130 after Ctrl-C.

    Examples
    --------
    >>> leaving_status(Terminated()), leaving_status(KeyboardInterrupt())
    (143, 130)
    """
    return 143 if isinstance(error, Terminated) else 130


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """SIGTERM raises `Terminated` in this block, so that what must be said and saved is; not in child processes."""
    ours = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == ours:
            raise Terminated
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # only the main thread may
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
