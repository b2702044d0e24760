"""The experiment relax-time: its nets, one CNN for all copies of a seed, measures of the copy, and what it finds."""

import numpy as np
import pytest
from simulator_plugins.experiments.relax_time import RelaxTime, _network

from simulator import Catalog

CATALOG = Catalog()
SMALL = RelaxTime(epochs=2, relaxed=(0, 1, 3))


def test_conditions():
    full = RelaxTime().conditions()
    assert [c["net"] for c in full] == ["CNN", "local", "dense", *["embedded"] * 6, *["untied"] * 6]
    assert [c["relaxed at"] for c in full[3:9]] == [0, 5, 10, 20, 40, 80]
    assert [c["epochs"] for c in full] == [180] * 3 + [100] * 12  # controls train as long as the longest copy
    assert [(c["relaxed at"], c["epochs"]) for c in RelaxTime().conditions(quick=True)[3:6]] == [
        (0, 30),
        (20, 30),
        (80, 30),
    ]


@pytest.mark.parametrize(("net", "weights"), [("CNN", 3946), ("local", 34570), ("dense", 265482)])
def test_nets_have_the_same_units(net, weights):
    network = _network(CATALOG, net, np.random.default_rng(0))
    assert [network.nodes[n].shape for n in network.nodes][1::2] == [(8, 8, 8), (16, 4, 4), (10,)]
    assert sum(array.size for array in network.params.values()) == weights


def run(net, relaxed, epochs, seed=0):
    return SMALL.run({"net": net, "relaxed at": relaxed, "epochs": epochs}, seed, CATALOG)[0]


def test_a_copy_that_is_hardly_trained_is_the_cnn_after_as_many_epochs():
    for net in ("embedded", "untied"):
        row = run(net, 3, 1)
        assert row["copy differs"] < 1e-4
        assert (row["off pattern"] > 0) == (net == "embedded")
        assert 0 < row["within ties"] < 0.01
        assert row["weights"] == {"embedded": 265482, "untied": 29778}[net]
    control = run("CNN", None, 4)
    assert (control["copy differs"], control["off pattern"], control["weights"]) == (None, None, 3946)
    assert abs(control["accuracy"] - row["accuracy"]) < 0.2
    assert run("CNN", None, 4, seed=1) != control


def table(embedded, off, cnn=0.8, dense=0.85, seeds=5):
    rows = [{"net": n, "relaxed at": None, "accuracy": a} for n, a in (("CNN", cnn), ("local", 0.7), ("dense", dense))]
    for net in ("embedded", "untied"):
        for when, accuracy, ratio in zip((0, 20, 80), embedded, off, strict=True):
            rows.append({"net": net, "relaxed at": when, "accuracy": accuracy, "off pattern": ratio})
    return [{**row, "seeds": seeds, "accuracy std": 0.01, "off pattern std": 0.0, "copy differs": 1e-6} for row in rows]


@pytest.mark.parametrize(
    ("rows", "holds"),
    [
        (table((0.82, 0.9, 0.86), (0.2, 0.1, 0.15)), [True, True, True, True, True]),
        (table((0.82, 0.84, 0.83), (0.2, 0.1, 0.15)), [True, False, True, True, True]),
        (table((0.82, 0.9, 0.91), (0.1, 0.2, 0.3)), [True, True, False, False, True]),
        (table((0.82, 0.9, 0.86), (0.2, 0.1, 0.1), cnn=0.88), [True, True, True, True, False]),
    ],
)
def test_findings(rows, holds):
    assert [finding.holds for finding in SMALL.findings(rows)] == holds


@pytest.mark.parametrize("seeds", [1, 5])
def test_times_stand_at_their_place_and_one_seed_has_no_spread(seeds):
    figures = pytest.importorskip("matplotlib.figure")
    figure, rows = figures.Figure(), table((0.82, 0.9, 0.86), (0.2, 0.1, 0.15), seeds=seeds)
    SMALL.draw(rows, figure)
    for ax in figure.axes:
        for container in ax.containers:
            assert container.lines[0].get_xdata().tolist() == [0, 20, 80]
            assert container.has_yerr == (seeds > 1)
        assert ax.get_xticks().tolist() == [0, 20, 80]
        assert (ax.get_xlim()[1] - 80) == pytest.approx(-ax.get_xlim()[0])
    measured = " ".join(finding.measured for finding in SMALL.findings(rows))
    assert ("±" in measured) == (seeds > 1)
