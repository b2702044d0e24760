"""Where compiled loops are kept for the next process: where numba keeps them, or in a folder that can be written to.

Files that are damaged are removed, and what they held is compiled anew.
"""

from __future__ import annotations

import importlib
import os
import stat
import tempfile
import threading
import warnings
from pathlib import Path

from simulator import SimulatorError
from simulator.errors import brief

_LOOPS = "simulator_plugins.engines.numba_engine.loops"
_lock = threading.Lock()  # a second thread that imports while the first one fails would get another error
_MOST = 100  # functions of `loops`: each is kept in a file of its own, which may be damaged on its own


def compiled_loops():
    """The module of the loops; numba decides as it is imported where they are kept.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If numba is not installed, or does not load.
    SimulatorError
        If there is no folder that can be written to.
    """
    with _lock:
        try:
            return importlib.import_module(_LOOPS)
        except RuntimeError as error:  # numba's own word for it: neither beside the code nor in the user's cache
            if "cannot cache" not in str(error):
                raise
        from numba import config

        folder, before = _own_folder(), config.CACHE_DIR
        config.CACHE_DIR = folder
        try:
            loops = importlib.import_module(_LOOPS)
        finally:
            config.CACHE_DIR = before
    _tell(f"its compiled loops are kept in {folder}: numba's own folders cannot be written to")
    return loops


def _own_folder():
    """A folder that nobody else can write to: what is kept there is run."""
    try:
        folder = Path(tempfile.gettempdir()) / f"simulator-numba-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
        mine = not hasattr(os, "getuid") or (state.st_uid == os.getuid() and not state.st_mode & 0o022)
        if mine and stat.S_ISDIR(state.st_mode) and os.access(folder, os.W_OK):
            return str(folder)
        return tempfile.mkdtemp(prefix="simulator-numba-")
    except OSError as error:
        raise SimulatorError(
            f"engine numba: expected a folder to keep compiled loops in, got none that can be written to "
            f"({brief(error)}); set NUMBA_CACHE_DIR to one, or choose another engine, such as blas"
        ) from error


def called(loops, function, *args):
    """What a compiled function gives; if what is kept of it cannot be read or written, it is compiled anew."""
    try:
        return function(*args)
    except Exception as error:  # numba lets through whatever happens as it reads its files
        return _called_again(loops, function, args, error)


def _called_again(loops, function, args, error):
    folder = Path(loops.address_of.stats.cache_path)
    told = False
    for _ in range(_MOST):
        damaged = [] if isinstance(error, OSError) else list(folder.glob("loops.*.nb[ci]"))
        if not damaged and not isinstance(error, OSError):
            break
        if not told:
            state = "cannot be kept" if isinstance(error, OSError) else "were damaged and are compiled anew"
            _tell(f"compiled loops in {folder} {state} ({brief(error)})")
            told = True
        for file in damaged:
            file.unlink(missing_ok=True)
        try:
            return function(*args)  # a function that could only not be written is there now
        except Exception as again:
            error = again
    raise error


def _tell(what):
    warnings.warn(f"engine numba: {what}", RuntimeWarning, stacklevel=4)
