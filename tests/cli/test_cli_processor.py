"""Which kernels the command line asks of OpenBLAS."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from simulator.cli.processor import choose_blas_kernels

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
    choose_blas_kernels(environment, tmp_path / "cpuinfo")
    assert environment == chosen


def test_what_is_set_stays_and_other_machines_are_left_alone(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(WHOLE)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    environment = {"OPENBLAS_CORETYPE": "Haswell"}
    choose_blas_kernels(environment, tmp_path / "cpuinfo")
    assert environment == {"OPENBLAS_CORETYPE": "Haswell"}
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    environment = {}
    choose_blas_kernels(environment, tmp_path / "cpuinfo")
    assert environment == {}


def test_importing_the_library_chooses_nothing():
    code = "import os, simulator, simulator.network, simulator.cli; print(os.environ.get('OPENBLAS_CORETYPE'))"
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "None"
