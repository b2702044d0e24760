"""What the command line asks of BLAS before NumPy is loaded. Importing the library never does this."""

from __future__ import annotations

import platform
from collections.abc import MutableMapping
from pathlib import Path

__all__ = ["choose_blas_kernels"]

_AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}  # all that OpenBLAS's SkylakeX kernels use


def choose_blas_kernels(environment: MutableMapping[str, str], cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Ask OpenBLAS for its AVX-512 kernels where the processor has such instructions.

    OpenBLAS goes by the model of a processor, takes many that it does not know for a Haswell, and then computes half as
    fast as it could. It looks at ``OPENBLAS_CORETYPE`` once, when it is loaded.

    Parameters
    ----------
    environment : mutable mapping
        `os.environ`. What is set there already stays.
    cpuinfo : Path
        Where Linux describes the processor; on other systems nothing is chosen.

    Examples
    --------
    >>> environment = {"OPENBLAS_CORETYPE": "Zen"}
    >>> choose_blas_kernels(environment)
    >>> environment
    {'OPENBLAS_CORETYPE': 'Zen'}
    """
    if "OPENBLAS_CORETYPE" in environment or platform.machine() not in ("x86_64", "AMD64"):
        return
    try:
        with cpuinfo.open() as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return
    if set(flags.split()) >= _AVX512:
        environment["OPENBLAS_CORETYPE"] = "SkylakeX"
