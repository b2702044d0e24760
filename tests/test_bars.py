"""What the project promises in numbers, measured over several seeds: run with --slow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from statistics import mean

import pytest

from simulator import Network
from simulator.layers import Conv

COMMAND = "from simulator.cli import main; main()"


@pytest.mark.slow
def test_lenet5_on_the_digits_over_five_seeds():
    pytest.importorskip("sklearn")
    accuracies = []
    for seed in range(5):
        args = [sys.executable, "-c", COMMAND, "train", "--seed", str(seed), "--json"]
        done = subprocess.run(args, capture_output=True, text=True, check=True)
        result = json.loads(done.stdout)
        assert result["equivalence"]["ok"]
        accuracies.append(result["test_accuracy"])
        found = result["silence"]
        assert {name: found["channels"][name] for name in ("relu1", "relu2")} == {"relu1": 6, "relu2": 16}
        assert found["silent"]["relu1"] == found["silent"]["relu2"] == []
        assert sum(map(len, found["silent"].values())) <= 30  # of 204 dense units; at most 14 were
    assert mean(accuracies) >= 0.985
    assert min(accuracies) >= 0.975


def learned():
    """What follows ``simulator train``, and the least accuracy of five seeds, in the README's table."""
    text = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    (table,) = re.findall(r"\| `simulator train` \| mean \| least \|\n.*?\n((?: *\| `.*\n)+)", text)
    return [(words, float(least)) for words, least in re.findall(r"\| `(.*?)` \| [\d.]+ % \| ([\d.]+) % \|", table)]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "least"), learned(), ids=str)
def test_architectures_on_the_digits(words, least):
    """One seed of the five; on another processor it may come out a little lower."""
    args = [sys.executable, "-c", COMMAND, "train", *words.split(), "--no-proof", "--json"]
    done = subprocess.run(args, capture_output=True, text=True, check=True)
    assert 100 * json.loads(done.stdout)["test_accuracy"] >= least - 1


@pytest.mark.slow
def test_ten_million_nonzeros_at_once():
    network = Network.sequential((32, 36, 36), [Conv(32, 3, padding=1)], rng=0)
    csr = network.node("conv1").matrix.tocsr()
    assert csr.nnz == network.node("conv1").pattern.nnz > 10_000_000
    assert csr.has_canonical_format
