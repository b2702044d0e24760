"""Files are written whole, or not at all.

What stands at a path is replaced only by a complete file: it is written beside its place, brought to the disk, and then
renamed. A link stays a link, and the rights of a file stay what they were.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from simulator.errors import FileError

try:
    import fcntl
except ImportError:  # no POSIX system: what a killed process left behind stays there
    fcntl = None  # type: ignore[assignment]

__all__ = ["check_writable", "write_atomically"]

_PART = ".part"  # ends the name of a folder in which a file is being written


def check_writable(path: str | Path) -> None:
    """Raise a `FileError` now if a file could not be written to `path` later."""
    _target(path)


def write_atomically(path: str | Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file near `path`, then put it in place: complete, or not at all.

    Parameters
    ----------
    path : str or Path
        A new name, or that of a regular file or a link to one: what it leads to is replaced and keeps its rights.
    write : callable
        Gets the path of the temporary file, the only one in a folder of its own.

    Raises
    ------
    FileError
        If the file cannot be written; what stood there is as it was.

    Notes
    -----
    A process that is killed leaves its temporary folder behind. It holds a lock on it while it lives, so the next one
    that writes to the same path knows what nobody needs any more, and removes it.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "note", lambda temporary: temporary.write_text("done"))
    ...     (Path(folder) / "note").read_text()
    'done'
    """
    target = _target(path)
    try:
        with _temporary(target) as temporary:
            write(temporary)
            _keep_rights(target, temporary)
            _to_disk(temporary)
            temporary.replace(target)
        with contextlib.suppress(OSError):  # not every system opens folders
            _to_disk(target.parent)
    except OSError as error:
        raise FileError(
            f"save: expected to write {path}, got {_reason(error)}; free space or choose another place"
        ) from None


def _target(path: str | Path) -> Path:
    """The regular file, there or not yet, that `path` leads to; a `FileError` if it could not be written."""
    try:
        target = Path(path).resolve()
        status = target.stat() if target.exists() else None
    except (OSError, RuntimeError) as error:  # a circle of links is a RuntimeError
        raise FileError(f"save: expected the name of a file, got {path} ({_reason(error)}); choose another") from None
    folder = target.parent
    if not folder.is_dir():
        raise FileError(f"save: expected an existing folder, got {folder}; create it first")
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise FileError(f"save: expected the name of a file, got the folder {path}; add a name such as net.safetensors")
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise FileError(
            f"save: expected the name of a regular file, got {path}, which is a device, a pipe or a socket; choose "
            "another name"
        )
    if status is not None and not os.access(target, os.W_OK):
        raise FileError(f"save: expected a file that may be written, got {path}, which may not; choose another name")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FileError(
            f"save: expected a folder that can be written to, got {folder} ({_reason(error)}); choose another"
        ) from None
    return target


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A name in a new folder beside `target`, gone in the end; first those that killed processes left are removed."""
    with _locked(target.parent):  # or another process could take a new folder, not yet locked, for an abandoned one
        _remove_abandoned(target)
        folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=_prefix(target), suffix=_PART))
        lock = _lock(folder)
    try:
        yield folder / target.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _prefix(target: Path) -> str:
    return f".{target.name[:60]}."  # a name may have 255 bytes


def _lock(folder: Path, wait: bool = False) -> int | None:
    """The handle that holds the lock of a folder until it is closed; None if another does, or there are no locks."""
    if fcntl is None:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # some network folders know no locks
        os.close(handle)
        return None
    return handle


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = _lock(folder, wait=True)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _remove_abandoned(target: Path) -> None:
    """Remove the temporary folders for this target that no living process has locked."""
    prefix = _prefix(target)
    with os.scandir(target.parent) as entries:
        parts = [entry.path for entry in entries if entry.name.startswith(prefix) and entry.name.endswith(_PART)]
    for part in parts:
        lock = _lock(Path(part))
        if lock is not None:
            shutil.rmtree(part, ignore_errors=True)
            os.close(lock)


def _keep_rights(target: Path, temporary: Path) -> None:
    """Give a file the rights and, where possible, the owner of the one that it replaces, or those of a new file."""
    if target.exists():
        status = target.stat()
        if hasattr(os, "chown"):
            with contextlib.suppress(OSError):  # only root may give files away
                os.chown(temporary, status.st_uid, status.st_gid)
    else:
        new = temporary.with_name("new")
        new.touch()
        status = new.stat()
    temporary.chmod(stat.S_IMODE(status.st_mode))


def _to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk: a rename must not get there before the content."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: BaseException) -> str:
    """What the system says, without the name of the temporary file."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
