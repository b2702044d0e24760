"""What the command line asks of BLAS before NumPy is loaded. Importing the library never does this."""

from __future__ import annotations

import platform
from collections.abc import MutableMapping
from pathlib import Path

__all__ = ["prepare_blas"]

_AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}  # all that OpenBLAS's SkylakeX kernels use


def prepare_blas(environment: MutableMapping[str, str], cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Ask OpenBLAS for threads that soon stop waiting, and for AVX-512 kernels where the processor has them.

    OpenBLAS's threads wait for more work by spinning, 2²⁶ ticks of the clock or longer, and keep others from the cores
    meanwhile; 2²⁰ ticks are less than a millisecond. OpenBLAS goes by the model of a processor, takes many that it does
    not know for a Haswell, and then computes half as fast as it could. It looks at ``OPENBLAS_THREAD_TIMEOUT`` and
    ``OPENBLAS_CORETYPE`` once, when it is loaded.

    Parameters
    ----------
    environment : mutable mapping
        `os.environ`. What is set there already stays.
    cpuinfo : Path
        Where Linux describes the processor; on other systems no kernels are chosen.

    Examples
    --------
    >>> environment = {"OPENBLAS_CORETYPE": "Zen"}
    >>> prepare_blas(environment)
    >>> environment
    {'OPENBLAS_CORETYPE': 'Zen', 'OPENBLAS_THREAD_TIMEOUT': '20'}
    """
    environment.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")
    if "OPENBLAS_CORETYPE" in environment or platform.machine() not in ("x86_64", "AMD64"):
        return
    try:
        with cpuinfo.open() as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return
    if set(flags.split()) >= _AVX512:
        environment["OPENBLAS_CORETYPE"] = "SkylakeX"
