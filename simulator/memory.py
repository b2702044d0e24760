"""How much memory there is, and the refusal of what does not fit, before any of it is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from simulator.errors import ShapeError

__all__ = ["available_memory", "check_memory", "memory_text"]

_SMALL = 2**26  # bytes that are always there: not worth the time to ask
_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def available_memory(proc: Path = _PROC, groups: Path = _GROUPS) -> int | None:
    """Bytes that this process can still take: the least of what the machine, its container and its own limits leave.

    Parameters
    ----------
    proc, groups : path
        Where Linux shows processes and control groups.

    Returns
    -------
    int or None
        None where the system does not tell.

    Notes
    -----
    Linux tells all of it: ``MemAvailable`` of /proc/meminfo; for the control group of the process and every one above
    it, version 1 or 2, the limit less what is used, where file caches that the kernel gives back do not count; the
    limits of the process (``ulimit -v``, ``ulimit -d``) less what is mapped. Elsewhere psutil knows what is available,
    where it is installed; without it the answer is all the memory of the machine.

    References
    ----------
    Linux kernel documentation: filesystems/proc, admin-guide/cgroup-v2 and admin-guide/cgroup-v1/memory; setrlimit(2).
    """
    machine = _number_after(proc / "meminfo", "MemAvailable:", 1024)
    found = [_elsewhere() if machine is None else machine, *_left_in_groups(proc, groups), *_left_of_limits(proc)]
    known = [bytes_ for bytes_ in found if bytes_ is not None]
    return max(0, min(known)) if known else None


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
    simulator.errors.ShapeError: my table: expected at most ... of memory, got 1,000,000,000 GB; make a smaller one
    """
    if need <= _SMALL:
        return
    free = available_memory()
    if free is not None and need > free:
        raise ShapeError(f"{who}: expected at most {memory_text(free)} of memory, got {memory_text(need)}; {cure}")


def memory_text(amount: int) -> str:
    """A number of bytes as people say it.

    Examples
    --------
    >>> memory_text(15 * 10**8), memory_text(2 * 10**12), memory_text(10**7)
    ('1.5 GB', '2,000 GB', '10 MB')
    """
    if amount < 10**8:
        return f"{amount / 1e6:,.0f} MB"
    return f"{amount / 1e9:,.0f} GB" if amount >= 10**10 else f"{amount / 1e9:,.1f} GB"


def _elsewhere() -> int | None:
    """What there is on a system that is not Linux."""
    try:
        import psutil
    except ImportError:
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):  # no POSIX system
            return None
    return int(psutil.virtual_memory().available)


def _left_in_groups(proc: Path, groups: Path) -> Iterator[int]:
    """What the control groups of this process leave, from its own up to the topmost."""
    for line in _lines(proc / "self" / "cgroup"):
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        names: tuple[str, ...] = ("memory.max", "memory.current", "inactive_file", "active_file", "slab_reclaimable")
        roots = [groups, groups / "unified"]
        if number != "0":
            if "memory" not in controllers.split(","):
                continue
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file")
            roots = [groups / "memory"]
        inside = [part for part in path.split("/") if part not in ("", "..")]
        for root in roots:
            for depth in range(len(inside), -1, -1):  # in a container its own group may be the root of what it sees
                yield from _left_in_group(root.joinpath(*inside[:depth]), *names)


def _left_in_group(group: Path, limit: str, usage: str, *caches: str) -> Iterator[int]:
    most, used = _number_after(group / limit), _number_after(group / usage)
    if most is not None and used is not None:
        yield most - used + sum(_number_after(group / "memory.stat", f"{name} ") or 0 for name in caches)


def _left_of_limits(proc: Path) -> Iterator[int]:
    """What the limits of the process itself leave."""
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = (_lines(proc / "self" / "statm") or [""])[0].split()
    for name, column in (("RLIMIT_AS", 0), ("RLIMIT_DATA", 5)):
        kind = getattr(resource, name, None)
        limit = resource.RLIM_INFINITY if kind is None else resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY:
            mapped = int(pages[column]) if len(pages) > column and pages[column].isdecimal() else 0
            yield limit - mapped * resource.getpagesize()


def _number_after(path: Path, prefix: str = "", unit: int = 1) -> int | None:
    """The number after a prefix in the first line that starts with it; None where there is none, such as in "max"."""
    for line in _lines(path):
        if line.startswith(prefix):
            words = line[len(prefix) :].split()
            return int(words[0]) * unit if words and words[0].isdecimal() else None
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:  # not there, or not for us
        return []
