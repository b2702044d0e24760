"""What a command does not need it does not load: that is why it answers at once."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from simulator.cli import cli

CODE = """
import json, sys
from simulator.cli import main
try:
    main(sys.argv[1:])
except SystemExit as leaving:
    status = leaving.code
json.dump([status, sorted(sys.modules)], sys.stderr)
"""
ALWAYS = {
    "http.client",
    "llvmlite",
    "matplotlib",
    "networkx",
    "numba",
    "scipy.integrate",
    "scipy.interpolate",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.stats",
    "sklearn",
}  # needed by no command that looks at one sample
MATRICES = {"scipy.sparse", "scipy.special"}
NUMBERS = {"numpy", "scipy", "pluggy", "safetensors", "rich", "simulator.catalog", "simulator.network"}


needs_digits = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None, reason="the digits come with scikit-learn"
)


def loaded(*args, **environment):
    """The modules that a command has loaded when it is done."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *args],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    status, modules = json.loads(done.stderr.splitlines()[-1])
    assert status == 0
    return set(modules)


@pytest.mark.parametrize("args", ["--help", "--version", "train --help", "unit --help", "bench --help", "help draw"])
def test_help_needs_no_numbers(args):
    modules = loaded(*args.split())
    assert "click" in modules  # what is loaded is seen
    assert modules & (NUMBERS | MATRICES | ALWAYS) == set()


@needs_digits
@pytest.mark.parametrize(
    "args",
    [
        ["plugins"],
        ["describe", "lenet5"],
        ["unit", "lenet5", "conv2[3, 4, 5]"],
        ["weight", "lenet5", "conv1.weight[0, 0, 2, 1]"],
    ],
    ids=" ".join,
)
def test_looking_at_one_sample_needs_numpy_alone(args):
    modules = loaded(*args)
    assert {"numpy", "simulator.catalog"} <= modules
    assert modules & (ALWAYS | MATRICES) == set()


def test_small_runs_compile_nothing(tmp_path):
    pytest.importorskip("numba", reason="without it nothing is ever compiled")
    cache, net = tmp_path / "cache", tmp_path / "net.safetensors"
    cache.mkdir()
    for command in (
        f"train lenet5 --data xo --input 1x12x12 -o width=0.3 --epochs 1 --save {net}",
        f"predict {net} --sample 3",
        f"evaluate {net}",
        f"equivalence {net} --engine auto",
        f"effect {net} --ablate conv1[1]",
    ):
        assert loaded(*command.split(), NUMBA_CACHE_DIR=str(cache)) & {"numba", "llvmlite", "sklearn"} == set(), command
    assert list(cache.iterdir()) == []


def test_the_help_searches_the_installed_packages_once_and_reads_no_metadata(monkeypatch):
    calls, found = [], importlib.metadata.entry_points

    def searched(**params):
        calls.append(params)
        return found(**params)

    def read(self):
        raise AssertionError("the metadata of a package take long to read")

    monkeypatch.setattr(importlib.metadata, "entry_points", searched)
    monkeypatch.setattr(importlib.metadata.Distribution, "metadata", property(read))
    shown = CliRunner().invoke(cli, ["--help"])
    assert shown.exit_code == 0
    assert "  unit " in shown.output  # a plugin's command
    assert calls == [{"group": "simulator.commands"}]
