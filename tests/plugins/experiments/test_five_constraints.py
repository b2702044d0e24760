"""The experiment five-constraints: published counts, constraint matrices, the data of its conditions, its findings."""

import itertools

import numpy as np
import pytest
from simulator_plugins.experiments.five_constraints import FiveConstraints, constrained, prepared

from simulator import Catalog
from simulator.describe import describe

NETS = ("Net-1", "Net-2", "Net-3", "Net-4", "Net-5")


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.fixture(scope="module")
def digits(catalog):
    return catalog.load_data("digits", (1, 16, 16)).take(np.arange(200))


@pytest.mark.parametrize(
    ("net", "links", "weights"),
    [
        ("Net-1", 2570, 2570),
        ("Net-2", 3214, 3214),
        ("Net-3", 1226, 1226),
        ("Net-4", 2266, 1132),
        ("Net-5", 5194, 1060),
    ],
)
def test_published_counts(catalog, net, links, weights):
    totals = describe(constrained(catalog, net)).totals
    assert (totals.links, totals.params) == (links, weights)


@pytest.mark.parametrize("net", NETS[2:])
def test_constraints_are_windows_of_stride_two(catalog, net):
    network = constrained(catalog, net, np.random.default_rng(0))
    nodes = [node for node in network.nodes.values() if node.pattern is not None][:-1]
    for node, size, maps in zip(nodes, (3, 5), ((1, 1), (2, 1), (2, 4))[NETS.index(net) - 2], strict=True):
        channels, n, _ = node.input_shapes[0]
        out = n // 2
        # SAME with stride 2 pads n / 2 windows with size - 2 lines, the odd one at the end.
        begin = (size - 2) // 2
        expected = np.zeros((maps, out, out, channels, n, n), bool)
        for row, column, i, j in itertools.product(range(out), range(out), range(size), range(size)):
            y, x = 2 * row + i - begin, 2 * column + j - begin
            if 0 <= y < n and 0 <= x < n:
                expected[:, row, column, :, y, x] = True
        rows, cols, ties = node.pattern.triplets()
        found = np.zeros(node.pattern.shape, bool)
        found[rows, cols] = True
        assert np.array_equal(found, expected.reshape(found.shape))
        shared = type(node.layer).__name__.lower() == "conv"
        assert len(np.unique(ties)) == (maps * channels * size**2 if shared else found.sum())


@pytest.mark.parametrize("net", NETS[2:])
def test_beyond_the_border_is_background(catalog, net):
    network = constrained(catalog, net, np.random.default_rng(0))
    first = next(node.name for node in network.nodes.values() if node.pattern is not None)
    weight = network.params[f"{first}.weight"]
    response = network.subnetwork(first).predict(np.full((1, 1, 16, 16), -1.0))
    sums = weight.sum(axis=(1, 2, 3))  # (maps,), or (maps, *out_space)
    assert np.allclose(response[0], -sums.reshape(len(sums), *(sums.shape[1:] or (1, 1))), atol=1e-5)


def test_unshifted_digits_are_scaled_only(digits):
    data = prepared(digits, "unshifted", np.random.default_rng(0))
    assert np.array_equal(data.inputs, 2 * digits.inputs - 1)
    assert (data.inputs.min(), data.inputs.max()) == (-1, 1)
    assert np.array_equal(data.targets, digits.targets)


def test_each_digit_has_one_shift_by_up_to_two(digits):
    data = prepared(digits, "shifted", np.random.default_rng(0))
    shifts = set()
    for before, after in zip(2 * digits.inputs[:, 0] - 1, data.inputs[:, 0], strict=True):
        framed = np.pad(before, 2, constant_values=-1)
        fitting = [
            (y - 2, x - 2)
            for y, x in itertools.product(range(5), range(5))
            if np.array_equal(framed[y : y + 16, x : x + 16], after)
        ]
        assert fitting
        shifts.update(fitting)
    assert len(shifts) == 25


def test_one_permutation_for_all_shifted_digits(digits):
    shifted, permuted = (
        prepared(digits, pixels, np.random.default_rng(3)).inputs.reshape(len(digits), -1)
        for pixels in ("shifted", "permuted")
    )
    assert not np.array_equal(shifted, permuted)
    # The same columns, in another order.
    assert sorted(map(tuple, shifted.T)) == sorted(map(tuple, permuted.T))


def test_all_conditions_of_a_seed_train_on_the_same_samples(digits):
    draws = []
    for pixels in ("unshifted", "shifted", "permuted"):
        rng = np.random.default_rng(4)
        prepared(digits, pixels, rng)
        draws.append(rng.permutation(100).tolist())
    assert draws[0] == draws[1] == draws[2]


def table(shifted, permuted, unshifted=None):
    counts = ((2570, 2570), (3214, 3214), (1226, 1226), (2266, 1132), (5194, 1060))
    return [
        {
            "pixels": pixels, "samples": 800, "net": net, "seeds": 10, "links": links, "weights": weights,
            "accuracy": accuracy, "accuracy std": 0.01,
        }
        for pixels, each in (("shifted", shifted), ("permuted", permuted), ("unshifted", unshifted))
        for net, (links, weights), accuracy in zip(NETS, counts, each or (), strict=bool(each))
    ]  # fmt: skip


def test_findings():
    expected = table((0.65, 0.7, 0.72, 0.73, 0.77), (0.655, 0.7, 0.74, 0.73, 0.72), (0.95, 0.96, 0.95, 0.95, 0.96))
    findings = FiveConstraints().findings(expected)
    assert len(findings) == 6
    assert all(finding.holds for finding in findings)
    assert "Net-4 73.0% ± 1.0%" in findings[1].measured


def test_findings_that_do_not_hold():
    other = table((0.65, 0.7, 0.69, 0.73, 0.72), (0.68, 0.7, 0.71, 0.73, 0.72), (0.7, 0.8, 0.85, 0.9, 0.95))
    other[0]["links"] += 1
    assert not any(finding.holds for finding in FiveConstraints().findings(other))


def test_the_ends_may_hold_where_the_order_does_not():
    close = table((0.65, 0.7, 0.73, 0.72, 0.77), (0.655, 0.7, 0.74, 0.73, 0.72))
    assert [finding.holds for finding in FiveConstraints().findings(close)] == [True, False, True, True, True]


def test_a_quick_run_has_no_unshifted_digits():
    quick = table((0.65, 0.7, 0.72, 0.73, 0.77), (0.655, 0.7, 0.74, 0.73, 0.72))
    assert len(FiveConstraints().findings(quick)) == 5


def test_one_seed_tells_nothing_of_errors():
    one = [{**row, "seeds": 1} for row in table((0.65, 0.7, 0.72, 0.73, 0.77), (0.66, 0.7, 0.74, 0.73, 0.72))]
    assert not any("a permutation" in finding.claim for finding in FiveConstraints().findings(one))
