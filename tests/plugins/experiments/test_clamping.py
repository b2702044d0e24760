"""The experiment clamping: what it clamps, what it draws from a seed, and that its findings can fail."""

import numpy as np
import pytest
from simulator_plugins.experiments.clamping import Clamping, clamped, partly_random

from simulator import Catalog, Dense, Network, ReLU, accuracy, aggregated


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.fixture(scope="module")
def digits(catalog):
    return catalog.load_data("digits", (1, 16, 16))


def test_a_share_of_the_labels_is_random(digits):
    whole, half, all_random = (partly_random(digits, share, 400, np.random.default_rng(0)) for share in (0.0, 0.5, 1.0))
    for other in (half, all_random):
        np.testing.assert_array_equal(other.inputs, whole.inputs)
    changed, all_changed = half.labels != whole.labels, all_random.labels != whole.labels
    assert 150 < changed.sum() <= 200 and 300 < all_changed.sum() < 400  # a tenth of them is drawn right
    assert not (changed & ~all_changed).any()


@pytest.mark.parametrize("value", ["zero", "mean"])
def test_the_curve_is_that_of_cut_columns(digits, value):
    data = partly_random(digits, 0.0, 100, np.random.default_rng(0))
    layers = [Dense(5), ReLU(), Dense(5), ReLU(), Dense(10)]
    net = Network.sequential(data.shape, layers, rng=0, dtype=np.float64)
    curve = clamped(net, data, value, np.random.default_rng(3))
    order = np.random.default_rng(3).permutation(10)
    trace = net.run(data.inputs)
    for step in range(11):
        given = np.zeros((2, 5), bool)
        given[order[:step] // 5, order[:step] % 5] = True
        params = dict(net.params)
        for layer in range(2):  # the column is cut, its mean goes to the next bias
            weight, bias = (params[f"dense{layer + 2}.{key}"].copy() for key in ("weight", "bias"))
            if value == "mean":
                bias += weight[:, given[layer]] @ trace[f"relu{layer + 1}"].mean(axis=0)[given[layer]]
            weight[:, given[layer]] = 0
            params |= {f"dense{layer + 2}.weight": weight, f"dense{layer + 2}.bias": bias}
        assert curve[step] == accuracy(net.with_params(params).predict(data.inputs), data.labels)


def test_training_ends_when_all_samples_are_right(catalog):
    rows = Clamping(width=32, orders=1).run({"random labels": 0.0, "samples": 60}, 0, catalog)
    assert len(rows) == 22
    assert all(row["accuracy"] == 1 and row["epochs"] < 300 for row in rows if row["clamped"] == 0)
    for value in ("zero", "mean"):
        curve = [row["accuracy"] for row in rows if row["clamped to"] == value]
        area = np.trapezoid(curve, dx=0.1)
        np.testing.assert_allclose([row["area"] for row in rows if row["clamped to"] == value], area)


def table(zero, mean, first=1.0):
    records = [
        {"random labels": share, "samples": 9, "clamped to": value, "clamped": k, "accuracy": first, "area": area}
        for value, areas in (("zero", zero), ("mean", mean))
        for share, area in zip((0.0, 0.25, 0.5, 1.0), areas, strict=True)
        for k in (0.0, 1.0)
    ]
    return aggregated(records, ["random labels", "samples", "clamped to", "clamped"])


def test_findings():
    findings = Clamping().findings(table([0.7, 0.5, 0.4, 0.3], [0.6, 0.4, 0.3, 0.2]))
    assert [finding.holds for finding in findings] == [True] * 4
    assert findings[1].expected.startswith("70% > 53% > 46% > 42%")
    assert findings[1].measured.startswith("0% random 70.0%, 25% random 50.0%")  # a single seed has no deviation


def test_findings_that_do_not_hold():
    findings = Clamping().findings(table([0.7, 0.5, 0.5, 0.3], [0.6, 0.6, 0.3, 0.2], first=0.99))
    assert [finding.holds for finding in findings] == [False] * 4
    findings = Clamping().findings(table([0.7, 0.5, 0.4, 0.3], [0.6, 0.4, 0.3, 0.3]))
    assert [finding.holds for finding in findings] == [True, True, False, False]


@pytest.mark.slow
def test_random_labels_need_more_units(catalog):
    areas = [
        Clamping().run({"random labels": share, "samples": 500}, 0, catalog)[0]["area"] for share in (0.0, 0.5, 1.0)
    ]
    assert areas[0] > areas[1] > areas[2]
