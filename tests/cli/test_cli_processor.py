"""Which kernels and threads the command line asks of OpenBLAS."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from simulator.cli.processor import prepare_blas

SHORT = {"OPENBLAS_THREAD_TIMEOUT": "20"}
WHOLE = "flags\t\t: fpu avx2 avx512f avx512cd avx512bw avx512dq avx512vl\n"


@pytest.mark.parametrize(
    ("lines", "chosen"),
    [
        (WHOLE, {"OPENBLAS_CORETYPE": "SkylakeX"}),
        ("model name\t: some\n" + WHOLE + "flags\t\t: fpu\n", {"OPENBLAS_CORETYPE": "SkylakeX"}),
        (WHOLE.replace("avx512vl", "fma"), {}),
        ("flags\t\t: fpu avx2\n", {}),
        ("", {}),
        (None, {}),
    ],
)
def test_only_a_processor_with_all_instructions_gets_them(tmp_path, monkeypatch, lines, chosen):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    if lines is not None:
        (tmp_path / "cpuinfo").write_text(lines)
    environment: dict[str, str] = {}
    prepare_blas(environment, tmp_path / "cpuinfo")
    assert environment == {**SHORT, **chosen}


def test_what_is_set_stays_and_other_machines_are_left_alone(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(WHOLE)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    environment = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_THREAD_TIMEOUT": "26"}
    prepare_blas(environment, tmp_path / "cpuinfo")
    assert environment == {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_THREAD_TIMEOUT": "26"}
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    environment = {}
    prepare_blas(environment, tmp_path / "cpuinfo")
    assert environment == SHORT


def test_importing_the_library_chooses_nothing():
    code = "import os, simulator, simulator.cli; print([name for name in os.environ if 'OPENBLAS' in name])"
    environment = {name: value for name, value in os.environ.items() if "OPENBLAS" not in name}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"
