"""How much memory there is, and the refusal of what does not fit, before any of it is touched."""

from __future__ import annotations

import os

from simulator.errors import ShapeError

__all__ = ["available_memory", "check_memory"]

_SMALL = 2**26  # bytes that are always there: not worth the time to ask


def available_memory() -> int | None:
    """Bytes that can be taken without swapping; None where the system does not tell.

    Notes
    -----
    psutil knows it, where it is installed; otherwise it is all the memory of the machine.
    """
    try:
        import psutil
    except ImportError:
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):  # no POSIX system
            return None
    return int(psutil.virtual_memory().available)


def check_memory(need: int, who: str, cure: str) -> None:
    """Refuse what would not fit into memory.

    Parameters
    ----------
    need : int
        Bytes, estimated.
    who : str
        Who needs them.
    cure : str
        What to do instead.

    Raises
    ------
    ShapeError
        If there are fewer.

    Examples
    --------
    >>> check_memory(10**6, "my table", "make a smaller one")
    >>> check_memory(10**18, "my table", "make a smaller one")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    simulator.errors.ShapeError: my table: expected at most ... GB of memory, got 1,000,000,000 GB; make a smaller one
    """
    if need <= _SMALL:
        return
    free = available_memory()
    if free is not None and need > free:
        raise ShapeError(f"{who}: expected at most {free / 1e9:,.1f} GB of memory, got {_gigabytes(need)} GB; {cure}")


def _gigabytes(need: int) -> str:
    return f"{need / 1e9:,.0f}" if need >= 10**10 else f"{need / 1e9:,.1f}"
