"""Effects: only what comes after an intervention changes, by what the matrices say, and so does the loss."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from simulator import Catalog, Conv, CrossEntropy, Dense, Network, ReLU, ShapeError, SquaredError, UnknownNameError
from simulator.lab import effect

CATALOG = Catalog()


@pytest.fixture(scope="module")
def net():
    return CATALOG.build("resnet8", (1, 8, 8), 10, 0, dtype="float64")


def sample(net, seed=0):
    return np.random.default_rng(seed).standard_normal(net.input_shape)


def test_only_what_comes_after_changes(net):
    for node in net.nodes:
        found = effect(net, sample(net), clamp={f"{node}[0]": 3.0})
        assert list(found.changes) == list(net.nodes)
        assert {node} <= set(found.changed) <= {node, *nx.descendants(net.graph, node)}
        assert found.changes[net.output_name].changed == (1 if node == net.output_name else 10)


def test_the_numbers_are_those_of_two_runs(net):
    x = sample(net)
    node = list(net.nodes)[3]
    found = effect(net, x, ablate=f"{node}[1]", target=7)
    before, after = net.run(x[None]), net.run(x[None], ablate=f"{node}[1]")
    for name, change in found.changes.items():
        difference = after[name][0] - before[name][0]
        np.testing.assert_array_equal(change.difference, difference)
        assert change.largest == np.abs(difference).max()
        assert change.changed == np.sum(difference != 0)
        np.testing.assert_allclose(change.relative, np.linalg.norm(difference) / np.linalg.norm(before[name][0]))
    label, output = np.array([7]), net.output_name
    assert found.loss_before == CrossEntropy().value(before[output], label)
    assert found.loss_after == CrossEntropy().value(after[output], label)


def test_behind_matrices_it_is_the_column_of_the_product(agree):
    net = Network.sequential((1, 6), [Conv(2, 3), Conv(3, 2), Dense(4)], rng=0, dtype=np.float64)
    x = np.random.default_rng(1).standard_normal((1, 6))
    found = effect(net, x, clamp={"conv1[1, 2]": 2.0})
    second, third = (net.node(name).matrix.tocsr().toarray() for name in ("conv2", "dense1"))
    step = 2.0 - found.before["conv1"][0, 1, 2]
    agree(found.changes["conv2"].difference.ravel(), second[:, 6] * step)
    agree(found.changes["dense1"].difference, (third @ second)[:, 6] * step)


def test_patching_from_another_sample(net):
    x, other = sample(net), sample(net, 1)
    trace = net.run(other[None])
    for source in (other, trace):
        found = effect(net, x, patch={net.input_name: source}, target=2)
        np.testing.assert_array_equal(found.after[net.output_name], trace[net.output_name])
    back = effect(net, other, patch={net.input_name: x}, target=2)
    assert (back.loss_before, back.loss_after) == (found.loss_after, found.loss_before)


def test_several_inputs_and_another_loss():
    net = Network.input((2,), "a").add_input((2,), "b")
    net = net.add(Dense(2), "a", rng=0).add(ReLU()).add(CATALOG.make("add"), "relu1", "b")
    found = effect(net, {"a": [1, 2], "b": [3, 4]}, clamp={"b": [0.0, 0.0]}, target=[0.0, 0.0], loss=SquaredError())
    relu, before = (found.before[name][0] for name in ("relu1", "add1"))
    assert found.changed == ("b", "add1")
    np.testing.assert_allclose([found.loss_before, found.loss_after], [before @ before / 2, relu @ relu / 2])
    patched = effect(net, {"a": [1, 2], "b": [3, 4]}, patch={"b[0]": {"a": [9, 9], "b": [5, 6]}})
    np.testing.assert_array_equal(patched.changes["b"].difference, [2, 0])


def test_nothing_before_is_an_infinite_change():
    net = Network.sequential((2,), [Dense(2, init="zeros"), ReLU()], rng=0)
    found = effect(net, [1.0, 1.0], clamp={"dense1[0]": 1.0})
    assert found.changes["relu1"].relative == np.inf
    assert found.changes["input"].relative == 0
    assert repr(found.changes["input"]) == "Change of input: 0 of 2 units, by up to 0, 0.0% of its norm"


def test_what_is_shown(net):
    found = effect(net, sample(net), ablate=net.output_name, target=0)
    assert repr(found).startswith(f"Effect on 10 units in 1 of {len(net.nodes)} nodes; {net.output_name} by up to ")
    assert repr(found).endswith("-> 2.303")  # log 10
    assert "loss" not in repr(effect(net, sample(net), ablate=net.output_name))


def test_misfits(net):
    x = sample(net)
    with pytest.raises(ShapeError, match=r"expected \(batch, 1, 8, 8\), got \(1, 1, 1, 8, 8\)"):
        effect(net, x[None], ablate="input")
    for arguments in ({"x": [[1], [1, 2]]}, {"x": x, "patch": {"input": [[1], [1, 2]]}}):
        with pytest.raises(ShapeError, match="^effect: expected an array of real numbers, got a ragged list;"):
            effect(net, **arguments)
    with pytest.raises(UnknownNameError, match="expected a node, got 'inputs'"):
        effect(net, x, ablate="inputs")
    with pytest.raises(ShapeError, match=r"^effect: expected a target for the loss CrossEntropy.*, got none; give"):
        effect(net, x, ablate="input", loss=CrossEntropy())
    with pytest.raises(ShapeError, match="cross-entropy: expected labels from 0 to 9, got 10"):
        effect(net, x, ablate="input", target=10)
