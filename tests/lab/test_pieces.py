"""The regions along a line: closed formulas, every region by brute force, and matrices counted one by one."""

from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pytest

from simulator import Add, Catalog, Conv, Dense, LeakyReLU, MaxPool, Network, ReLU, ShapeError, SimulatorError, Tanh
from simulator.lab import affine, pieces

CATALOG = Catalog()


def drawn(shape, layers, rng=0):
    rng = np.random.default_rng(rng)
    network = Network.sequential(shape, layers, dtype="float64")
    return network.with_params({key: rng.standard_normal(size) for key, size in network.param_shapes.items()})


def kinks(before, after, bias, start, stop):
    """Where each unit of W x + b changes its sign between two points."""
    z0, z1 = before @ start + bias, after @ stop + bias
    t = z0 / (z0 - z1)
    return np.sort(t[(t > 0) & (t < 1)])


def test_one_layer_by_its_formula():
    network = drawn((5,), [Dense(40), ReLU(), Dense(3)])
    x0, x1 = np.random.default_rng(1).standard_normal((2, 5))
    W, b = network.params["dense1.weight"], network.params["dense1.bias"]
    found = pieces(network, x0, x1)
    expected = kinks(W, W, b, x0, x1)
    assert len(expected) > 10
    np.testing.assert_allclose(found.t, expected, rtol=0, atol=1e-9)
    assert found.layers == {"relu1": len(expected)}
    assert found.matrices == found.regions == len(expected) + 1
    assert (
        repr(found) == f"Pieces of dense2 along a line: {found.regions} regions with {found.regions} different matrices"
    )


def test_two_layers_by_the_formula_in_each_region():
    network = drawn((4,), [Dense(12), ReLU(), Dense(12), LeakyReLU(0.1), Dense(2)], rng=3)
    x0, x1 = np.random.default_rng(5).standard_normal((2, 4))
    W1, b1, W2, b2 = (network.params[f"dense{i}.{key}"] for i in (1, 2) for key in ("weight", "bias"))
    first = kinks(W1, W1, b1, x0, x1)
    second = []
    for start, stop in zip([0, *first], [*first, 1], strict=True):
        ends = [np.maximum(W1 @ ((1 - t) * x0 + t * x1) + b1, 0) for t in (start, stop)]
        second += [start + s * (stop - start) for s in kinks(W2, W2, b2, *ends)]
    found = pieces(network, x0, x1)
    assert len(first) > 2 and len(second) > 2
    np.testing.assert_allclose(found.t, np.sort([*first, *second]), rtol=0, atol=1e-8)
    assert found.layers == {"relu1": len(first), "leakyrelu1": len(second)}


def graph():
    net = Network.input((1, 4, 4), dtype="float64").add(Conv(3, 3, padding=1), name="conv").add(ReLU())
    net = net.add(Conv(3, 3, padding=1), name="inner").add(CATALOG.make("batch-norm")).add(Add(), "relu1", "batchnorm1")
    net = (
        net.add(MaxPool(2), name="max")
        .add(CATALOG.make("hard-tanh", -0.7, 0.4), name="clip")
        .add(Dense(3), name="head")
    )
    rng = np.random.default_rng(0)
    return net.with_params({key: rng.standard_normal(size) for key, size in net.param_shapes.items()})


@pytest.mark.parametrize("output", [None, "head[1]", "max"])
def test_between_two_breakpoints_nothing_changes_and_at_each_something_does(output):
    network, rng = graph(), np.random.default_rng(2)
    x0, x1 = rng.standard_normal((2, 1, 4, 4))
    found = pieces(network, x0, x1, output)
    edges = [0, *found.t, 1]
    assert found.regions > 20
    assert sum(found.layers.values()) == len(found.t)
    matrices = []
    for start, stop in pairwise(edges):
        inside = [start + part * (stop - start) for part in (0.01, 0.5, 0.99)]
        low, middle, high = (affine(network, (1 - t) * x0 + t * x1, output) for t in inside)
        assert abs(low.A - middle.A).max() <= 1e-12
        assert abs(high.A - middle.A).max() <= 1e-12
        np.testing.assert_allclose(low.b, high.b, rtol=0, atol=1e-12)
        matrices.append(middle.A.toarray())
    different = [matrices[0]]
    for matrix in matrices[1:]:
        if all(np.abs(matrix - other).max() > 1e-10 for other in different):
            different.append(matrix)
    assert found.matrices == len(different)


def test_a_fine_grid_finds_no_more(agree):
    """The choices on 4,000 points of the line change as often as the breakpoints say."""
    network, rng = graph(), np.random.default_rng(2)
    x0, x1 = rng.standard_normal((2, 1, 4, 4))
    t = np.linspace(0, 1, 4001)[:, None, None, None]
    trace = network.run((1 - t) * x0 + t * x1)
    windows = trace["add1"].reshape(-1, 3, 2, 2, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(4001, 12, 4)
    clip = trace["max"].reshape(4001, -1)
    choices = np.concatenate(
        [trace["conv"].reshape(4001, -1) > 0, windows.argmax(axis=2), clip > 0.4, clip < -0.7], axis=1, dtype=int
    )
    changed = np.flatnonzero(np.any(np.diff(choices, axis=0), axis=1))
    found = pieces(network, x0, x1)
    assert np.array_equal(np.unique(np.floor(found.t * 4000).astype(int)), changed)


def test_where_nothing_is_chosen_there_is_one_region():
    network = drawn((1, 4, 4), [Conv(2, 3), Dense(3)])
    steps = []
    found = pieces(
        network, np.zeros((1, 4, 4)), np.ones((1, 4, 4)), on_step=lambda done, total: steps.append((done, total))
    )
    assert (found.regions, found.matrices, found.layers) == (1, 1, {})
    assert steps == [(1, 4), (2, 4), (4, 4)]


def test_an_end_on_a_border_and_units_that_stay_on_it_count_nothing():
    network = Network.sequential(
        (1, 5, 5), [Conv(2, 3, bias=False), ReLU(), MaxPool(3), Dense(2)], rng=0, dtype="float64"
    )
    blank, x = np.zeros((1, 5, 5)), np.zeros((1, 5, 5))
    x[0, 2:, 2:] = 1  # of all others the inputs stay 0
    found = pieces(network, blank, x)
    assert (found.regions, found.matrices) == (1, 1)
    assert pieces(network, -x, x).regions == 2
    np.testing.assert_allclose(pieces(network, -x, x).t, [0.5], rtol=0, atol=1e-9)


def test_what_cannot_be_cut_into_pieces_is_refused():
    curved = drawn((3,), [Dense(2), Tanh()])
    with pytest.raises(ShapeError, match="tanh1: expected a piecewise linear layer, got Tanh"):
        pieces(curved, np.zeros(3), np.ones(3))
    with pytest.raises(ShapeError, match=r"pieces: expected one sample of shape \(3,\) for 'input', got \(2,\)"):
        pieces(curved, np.zeros(3), np.ones(2))
    network = drawn((3,), [Dense(2), ReLU()]).with_params({"dense1.weight": np.full((2, 3), 3.0)})
    for wrong in (np.nan, np.inf):
        with pytest.raises(ShapeError, match="got NaN or infinity in input; correct the inputs"):
            pieces(network, np.zeros(3), np.array([0, 1, wrong]))
    with (
        np.errstate(over="ignore"),
        pytest.raises(SimulatorError, match="in 2 of 2 numbers of dense1; "),
    ):
        pieces(network, np.zeros(3), np.full(3, 1e308))
    for wrong in (0, 0.5, "fine"):
        with pytest.raises(ShapeError, match="pieces tolerance: expected a number between 0 and 0.1, got"):
            pieces(curved, np.zeros(3), np.ones(3), tolerance=wrong)


def test_what_would_be_too_much_is_refused(monkeypatch):
    network = drawn((5,), [Dense(400), ReLU(), Dense(2)])
    x0, x1 = np.random.default_rng(1).standard_normal((2, 5))
    crowded = drawn((5,), [Dense(20_000), ReLU(), Dense(1)])
    with pytest.raises(ShapeError, match="expected regions longer than the tolerance, got none; give a smaller"):
        pieces(crowded, x0, x1, tolerance=0.09)
    with pytest.raises(ShapeError, match="got NaN or infinity in input; correct the inputs"):
        pieces(network, x0, np.full(5, np.nan))
    monkeypatch.setattr(sys.modules["simulator.lab.pieces"], "_MOST", 50)  # the package has a function of this name
    with pytest.raises(ShapeError, match="pieces, relu1: expected at most 50 regions, got more; choose inputs closer"):
        pieces(network, x0, x1)
    monkeypatch.undo()
    monkeypatch.setattr("simulator.memory.available_memory", lambda: 10**6)
    monkeypatch.setattr("simulator.memory._SMALL", 0)
    with pytest.raises(ShapeError, match="pieces, [0-9]+ regions: expected at most 1 MB of memory, got"):
        pieces(network, x0, x1)
