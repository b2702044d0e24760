"""Workspaces: the same numbers as a run that keeps everything, in less memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from simulator import (
    Add,
    Catalog,
    Conv,
    Dense,
    MaxPool,
    Network,
    ReLU,
    SciPyEngine,
    ShapeError,
    SimulatorError,
    UnknownNameError,
    Workspace,
)


def branches(rng=0):
    """Two inputs, a skip connection, shared weights and two outputs."""
    net = Network.input((2, 6, 6), "a", dtype=np.float64).add_input((2, 6, 6), "b")
    net = net.add(Conv(2, 3, padding=1), "a", name="left", rng=rng).add(ReLU(), name="relu")
    net = net.add(Conv(2, 3, padding=1), "b", name="right", share="left")
    net = net.add(Add(), "relu", "right", name="sum").add(MaxPool(2), name="pool")
    return net.add(Dense(3), "pool", name="first", rng=rng).add(Dense(2), "sum", name="second", rng=rng)


def inputs(net, batch=4):
    rng = np.random.default_rng(1)
    return {name: rng.standard_normal((batch, *net.node(name).shape)) for name in net.inputs}


def test_it_computes_what_a_run_does():
    net = branches()
    x = inputs(net)
    whole, trace = net.run(x), Workspace(net).run(net, x, backward=True)
    assert set(trace.activations) == {"first", "second"}
    dy = {name: np.random.default_rng(2).standard_normal(whole[name].shape) for name in net.outputs}
    for name in net.outputs:
        np.testing.assert_array_equal(trace[name], whole[name])
    expected, got = whole.backward(dy), trace.backward(dy)
    assert set(got.params) == set(expected.params)
    for name, array in expected.params.items():
        np.testing.assert_array_equal(got.params[name], array)
    for name, array in expected.inputs.items():
        np.testing.assert_array_equal(got.inputs[name], array)


def test_any_node_may_be_kept():
    net = branches()
    x = inputs(net)
    trace = Workspace(net, ["relu", "a"]).run(net, x)
    np.testing.assert_array_equal(trace["relu"], net.run(x)["relu"])
    np.testing.assert_array_equal(trace["a"], x["a"])
    with pytest.raises(UnknownNameError, match="network: expected a node, got 'sum'"):
        trace["sum"]
    with pytest.raises(UnknownNameError, match="expected a node, got .rellu."):
        Workspace(net, ["rellu"])


def test_other_weights_and_other_batches():
    net, x = branches(), None
    workspace = Workspace(net)
    for batch in (3, 1, 0, 3):
        x = inputs(net, batch)
        np.testing.assert_array_equal(workspace.run(net, x)["first"], net.run(x)["first"])
    other = branches(rng=1)
    np.testing.assert_array_equal(workspace.run(other, x)["first"], other.run(x)["first"])


def test_outputs_are_never_written_again():
    net = branches()
    workspace = Workspace(net)
    first = workspace.run(net, inputs(net))["first"]
    before = first.copy()
    workspace.run(net, {name: -x for name, x in inputs(net).items()})
    np.testing.assert_array_equal(first, before)


def test_a_second_way_back_is_refused():
    net = branches()
    dy = {"first": np.ones((4, 3))}
    trace = Workspace(net).run(net, inputs(net), backward=True)
    trace.backward(dy)
    for spent in (trace, Workspace(net).run(net, inputs(net))):
        with pytest.raises(SimulatorError, match="expected a trace that can go back, got one that was freed"):
            spent.backward(dy)


class Fused(SciPyEngine):
    """Computes a ReLU and the pooling after it as one, and says so."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def kernel(self, nodes, batch):
        if type(nodes[0].layer) is not ReLU or len(nodes) < 2:
            return None

        def kernel(run, *xs):
            self.seen.append((tuple(n.name for n in nodes[:2]), batch, run.backward))
            y, relu_back, _ = nodes[0].layer.forward({}, {}, *xs)
            z, pool_back, _ = nodes[1].layer.forward({}, {}, y)
            return z, lambda dz, input_needed: relu_back(*pool_back(dz)[0]), {}

        return kernel, 2


def test_an_engine_may_compute_several_nodes_at_once():
    engine = Fused()
    layers = [Conv(2, 3), ReLU(), MaxPool(2), Dense(3)]
    net = Network.sequential((1, 6, 6), layers, rng=0, dtype=np.float64, engine=engine)
    x = np.random.default_rng(0).standard_normal((5, 1, 6, 6))
    trace, whole = Workspace(net).run(net, x, backward=True), net.run(x)
    assert engine.seen == [(("relu1", "maxpool1"), 5, True)]
    dy = np.ones((5, 3))
    for name, array in whole.backward(dy).params.items():
        np.testing.assert_array_equal(trace.backward(dy).params[name] if name == "conv1.weight" else array, array)
        break
    engine.seen.clear()
    np.testing.assert_array_equal(Workspace(net, ["relu1"]).run(net, x)["relu1"], whole["relu1"])
    assert not engine.seen  # what is asked for cannot be inside of a step
    np.testing.assert_array_equal(net.predict(x), whole["dense1"])
    assert engine.seen == [(("relu1", "maxpool1"), 5, False)]


def test_a_kernel_of_another_kind_names_the_engine():
    class Wrong(SciPyEngine):
        def kernel(self, nodes, batch):
            return 1 / 0

    net = Network.sequential((4,), [Dense(2)], rng=0, engine=Wrong())
    with pytest.raises(SimulatorError, match=r"engine Wrong.*: expected kernel to give a kernel and the number of its"):
        net.predict(np.ones((1, 4)))


def test_predictions_need_less_memory_than_a_run():
    net = Catalog().build("vgg11", (1, 32, 32), width=1 / 4)
    x = np.zeros((16, 1, 32, 32))
    net.predict(x)  # the matrices are made once
    peaks = []
    for work in (net.run, net.predict):
        tracemalloc.start()
        work(x)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 0.6 * peaks[0]


def test_another_network_needs_another_workspace():
    net = Network.sequential((4,), [Dense(3), ReLU()], rng=0)
    other = Network.sequential((4,), [Dense(3), ReLU(), Dense(3)], rng=0)
    with pytest.raises(
        ShapeError, match="^workspace: expected a network with the layers that it was made for, got Net"
    ):
        Workspace(net).run(other, np.ones((1, 4)))


def test_misfits_are_told_as_by_a_run():
    net = branches()
    with pytest.raises(ShapeError, match=r"a: expected \(batch, 2, 6, 6\)"):
        Workspace(net).run(net, {"a": np.zeros((1, 2, 5, 6)), "b": np.zeros((1, 2, 6, 6))})
