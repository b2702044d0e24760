"""What the project promises in numbers, measured over several seeds: run with --slow."""

from __future__ import annotations

import json
import subprocess
import sys
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


@pytest.mark.slow
def test_ten_million_nonzeros_at_once():
    network = Network.sequential((32, 36, 36), [Conv(32, 3, padding=1)], rng=0)
    csr = network.node("conv1").matrix.tocsr()
    assert csr.nnz == network.node("conv1").pattern.nnz > 10_000_000
    assert csr.has_canonical_format
