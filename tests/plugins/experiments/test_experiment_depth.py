"""The experiment depth: which layers it looks at, that its norms are those of the gradient, its findings."""

import numpy as np
import pytest
from simulator_plugins.experiments.depth import Depth, gradient_norms

from simulator import Catalog, CrossEntropy, ShapeError


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def test_norms_are_slopes_of_the_loss(catalog):
    data = catalog.load_data("digits").take(np.arange(8))
    options = {"branch_init": "he", "option": "B", "norm": False, "width": 0.125, "dtype": "float64"}
    network = catalog.build("resnet20-cifar", (1, 8, 8), **options)
    norms = gradient_norms(network, data)
    weights = [name for name in network.params if name.endswith("weight") and "skip" not in name][:-1]
    assert len(norms) == len(weights) == 19

    def loss(name, array):
        return CrossEntropy().value(network.with_params({name: array}).predict(data.inputs), data.targets)

    for number in (0, 3):  # those of two maps have few weights
        name = weights[number]
        weight, slopes = network.params[name], []
        for index in np.ndindex(weight.shape):
            step = np.zeros_like(weight)
            step[index] = 1e-6
            slopes.append((loss(name, weight + step) - loss(name, weight - step)) / 2e-6)
        assert np.isclose(norms[number], np.linalg.norm(slopes), rtol=1e-4)


def test_a_row_for_each_convolution(catalog):
    rows = Depth(epochs=1).run({"kind": "residual", "depth": 20}, 0, catalog)
    assert [row["layer"] for row in rows] == list(range(1, 20))
    assert len({row["loss"] for row in rows}) == 1
    # A branch that ends in zeros moves its last convolution first.
    assert not any(row["gradient at the start"] for row in rows[1::2])
    assert all(row["gradient at the start"] > 0 for row in rows[::2])
    assert all(row["gradient after training"] > 0 for row in rows)


def test_quick_compares_the_ends():
    assert len(Depth().conditions()) == 8
    assert [c["depth"] for c in Depth().conditions(quick=True)] == [20, 56, 20, 56]


def test_depths_are_some():
    with pytest.raises(ShapeError, match=r"^depth depths: expected numbers of layers, got \(\); try \(20, 56\)"):
        Depth(depths=())
    assert Depth(depths=(20, 56)).depths == (20, 56)


def table(losses, gradients):
    return [
        {
            "kind": kind, "depth": depth, "layer": layer, "seeds": 3, "loss": losses[kind][number], "loss std": 0.1,
            "gradient at the start": gradients[kind][number], "gradient at the start std": 0.0,
            "gradient after training": 1.0, "gradient after training std": 0.0,
        }
        for kind in ("plain", "residual")
        for number, depth in enumerate((20, 56))
        for layer in (1, 2)
    ]  # fmt: skip


def test_findings():
    findings = Depth().findings(
        table({"plain": (0.1, 2.3), "residual": (0.0, 0.1)}, {"plain": (0.1, 1e-6), "residual": (2.0, 1.9)})
    )
    assert len(findings) == 4
    assert all(finding.holds for finding in findings)
    assert findings[0].measured == "20 layers 0.100 ± 0.100, 56 layers 2.300 ± 0.100"


def test_findings_that_do_not_hold():
    findings = Depth().findings(
        table({"plain": (0.1, 0.2), "residual": (0.0, 1.0)}, {"plain": (0.1, 0.05), "residual": (2.0, 0.1)})
    )
    assert not any(finding.holds for finding in findings)


def test_one_seed_tells_nothing_of_the_spread():
    rows = table({"plain": (0.1, 2.3), "residual": (0.0, 0.1)}, {"plain": (0.1, 1e-6), "residual": (2.0, 1.9)})
    findings = Depth().findings([{**row, "seeds": 1} for row in rows])
    assert ["gradient" in finding.claim for finding in findings] == [True, True]


@pytest.mark.slow
def test_only_plain_nets_suffer_from_depth(catalog):
    losses = {
        (kind, depth): Depth().run({"kind": kind, "depth": depth}, 0, catalog)[0]["loss"]
        for kind in ("plain", "residual")
        for depth in (20, 56)
    }
    assert losses["plain", 56] > losses["plain", 20] + 0.5
    assert losses["residual", 56] < losses["plain", 20]
