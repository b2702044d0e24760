"""On which machine, and with which libraries, something was measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from simulator.threads import available_cores

__all__ = ["machine"]

_LIBRARIES = ("numpy", "scipy", "numba", "torch")


def machine() -> dict[str, Any]:
    """Processor, cores, how busy they are, versions (None for what is not installed), and the kernels of each BLAS.

    Examples
    --------
    >>> [*machine()]
    ['processor', 'cores', 'load', 'python', 'numpy', 'scipy', 'numba', 'torch', 'blas']
    """
    from threadpoolctl import threadpool_info

    blas = [info for info in threadpool_info() if info["user_api"] == "blas"]
    kernels = [f"{info['internal_api']} {info['version']} {info.get('architecture', '')}".strip() for info in blas]
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        **{name: _version(name) for name in _LIBRARIES},
        "blas": sorted(set(kernels)),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
