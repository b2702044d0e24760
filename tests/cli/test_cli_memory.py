"""Commands that would not fit into memory are refused with an estimate, and what the refusal says to do works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="only Linux tells how much a process has mapped"
)

LIMITED = """
import resource, sys
import scipy.ndimage, sklearn.datasets, rich.console, rich.table
from simulator import Catalog
catalog = Catalog()
catalog.build("lenet5", engine="blas").predict(catalog.load_data("digits", (1, 28, 28)).inputs[:2])
with open("/proc/self/statm") as file:
    mapped = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + 400_000_000, resource.getrlimit(resource.RLIMIT_AS)[1]))
from simulator.cli import main
main(sys.argv[1:])
"""


def limited(*args, cwd):
    """Run a command in a process that can take 400 MB more than it has when it starts."""
    command = [sys.executable, "-c", LIMITED, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


ONE = ("--engine", "blas", "--threads", "1", "--epochs", "1", "--no-proof")


@pytest.mark.parametrize(
    ("command", "refusal", "cured"),
    [
        (
            ("unit", "vgg16", "conv1_1[0, 0, 0]", "--input", "1x32x32"),
            " weights: expected at most MEMORY, got ",
            ("-o", "width=0.25"),
        ),
        pytest.param(
            ("effect", "vgg11", "--ablate", "conv1_1[0]", "--input", "1x224x224", "-o", "width=0.5"),
            "network, a batch of 1: expected at most MEMORY, got 0.5 GB; use smaller inputs or a smaller network",
            ("--input", "1x32x32", "-o", "adaptive=True", "-o", "width=0.05"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("affine", "lenet5", "conv2", "--input", "1x100x100"),
            "affine conv2, product up to relu1: expected at most MEMORY, got 0.5 GB; ask for fewer units",
            ("conv2[3, 4, 5]",),
            marks=pytest.mark.slow,
        ),
        (
            ("train", "vgg11", "--input", "1x224x224", *ONE),
            "training in batches of 1: expected at most MEMORY, got 3.9 GB; use smaller inputs or a smaller network",
            ("--input", "1x32x32", "-o", "adaptive=True", "-o", "width=0.05", "--batch-size", "256"),
        ),
        pytest.param(
            ("train", "lenet5", "--input", "1x64x64", *ONE, "--batch-size", "1438"),
            "training in batches of 1438: expected at most MEMORY, got 0.7 GB; use smaller batches, inputs or networks",
            ("--batch-size", "32"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("draw", "lenet5", "conv1", "--what", "matrix", "--input", "1x2000x2000"),
            "lenet5, 474,270,986 weights: expected at most MEMORY, got 1.9 GB; use a smaller network",
            ("--input", "1x100x100"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("train", "resnet8", "--input", "1x400x400", *ONE),
            "1,797 samples of size 400x400: expected at most MEMORY, got 2.3 GB; use data of that shape, or another ",
            ("--input", "1x32x32"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("sharing", "lenet5", "--densify", "--input", "1x56x56"),
            "densify: expected at most MEMORY, got 1.3 GB; name fewer layers, or build the network for smaller inputs",
            ("--layers", "dense3"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["weights", "effect", "products", "training", "batch", "wide", "samples", "densify"],
)
def test_a_command_that_does_not_fit_is_refused_and_its_cure_runs(command, refusal, cured, tmp_path):
    told = limited(*command, cwd=tmp_path)
    start, _, end = refusal.partition("MEMORY")
    *_, line = told.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    assert start in line
    assert end in line
    assert (told.returncode, told.stdout) == (2, "")
    if command[0] == "affine":  # a unit takes the place of the layer
        command, cured = command[:2], (*cured, *command[3:])
    mended = limited(*command, *cured, cwd=tmp_path)
    assert mended.returncode == 0, mended.stderr
