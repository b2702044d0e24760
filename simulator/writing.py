"""Files are written whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulator.errors import FileError

__all__ = ["check_writable", "write_atomically"]


def check_writable(path: str | Path) -> None:
    """Raise a `FileError` now if a file could not be written to `path` later."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise FileError(f"save: expected an existing folder, got {folder}; create it first")
    if Path(path).is_dir():
        raise FileError(f"save: expected the name of a file, got the folder {path}; add a name such as net.safetensors")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FileError(
            f"save: expected a folder that can be written to, got {folder} ({error}); choose another"
        ) from None


def write_atomically(path: str | Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place: complete, or not at all.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    check_writable(path)
    handle, name = tempfile.mkstemp(dir=Path(path).absolute().parent, prefix=f".{Path(path).name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except OSError as error:
        raise FileError(f"save: expected to write {path}, got {error}; free space or choose another place") from None
    finally:
        temporary.unlink(missing_ok=True)
