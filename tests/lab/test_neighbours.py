"""The connections of one unit: their products add up to what the network computes, and all views tell the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator import (
    Add,
    Catalog,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    MatrixLayer,
    MaxPool,
    Network,
    ReLU,
    ShapeError,
    SimulatorError,
    Softmax,
    UnknownNameError,
    Workspace,
)
from simulator.lab import Connection, incoming, outgoing

CATALOG = Catalog()


def sample(network, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(network.node(name).shape) for name in network.inputs}


def randomised(network, seed=1):
    """The network with random params and buffers, biases and running variances among them."""
    rng = np.random.default_rng(seed)
    params = {name: rng.standard_normal(shape) for name, shape in network.param_shapes.items()}
    buffers = {name: rng.random(array.shape) + 0.5 for name, array in network.buffers.items()}
    return network.with_params(params).with_buffers(buffers)


LAYERS = [
    ("conv", (2, 3), {"padding": 1}, (3, 5, 4)),
    ("conv", (4, 2), {"groups": 2, "padding": 1, "pad_value": -1.5, "bias": "unit"}, (2, 3, 3)),
    ("conv", (3, 2), {"table": ((0, 2), (1,), (2, 1, 0)), "stride": 2}, (3, 4, 4)),
    ("conv", (2, 3), {"padding": 2, "padding_mode": "circular", "bias": False}, (1, 2, 3)),
    ("conv-transpose", (2, 3), {"stride": 2, "padding": 1, "output_padding": 1}, (3, 3, 3)),
    ("locally-connected", (2, 3), {"padding": 1, "pad_value": 0.5}, (1, 4, 4)),
    ("average-pool", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}, (2, 5, 6)),
    ("subsample", (2,), {}, (3, 4, 4)),
    ("dense", (4,), {}, (2, 3, 3)),
    ("pad", (1,), {"pad_value": 2.0}, (2, 3)),
    ("depthwise-conv", (3,), {}, (2, 5)),
    ("separable-conv", (3, 3), {"padding": 1}, (2, 4)),
    ("max-pool", (3,), {"stride": 2, "padding": 1}, (2, 5, 6)),
    ("relu", (), {}, (2, 3)),
    ("leaky-relu", (0.1,), {}, (2, 3)),
    ("prelu", (), {}, (2, 3)),
    ("relu6", (), {}, (2, 3)),
    ("batch-norm", (), {}, (3, 2, 2)),
    ("dropout", (0.5,), {}, (2, 3)),
    ("flatten", (), {}, (2, 3)),
    ("transpose", ((1, 0),), {}, (2, 3)),
    ("upsample", (2,), {"mode": "bilinear"}, (1, 2, 3)),
    ("crop", (1,), {}, (2, 4, 4)),
]


@pytest.mark.parametrize(("name", "args", "options", "shape"), LAYERS, ids=lambda value: str(value))
def test_products_add_up_to_the_unit(name, args, options, shape, agree):
    network = randomised(Network.input(shape, dtype=np.float64).add(CATALOG.make(name, *args, **options), rng=0))
    layer, x = network.last, sample(network)["input"]
    y = network.predict(x[None])[0].ravel()
    found = [incoming(network, (layer, unit), x) for unit in range(y.size)]
    agree([f.total for f in found], y)
    np.testing.assert_array_equal([f.value for f in found], y)
    node = network.nodes[layer]
    for unit, each in enumerate(found):
        assert all(np.ravel_multi_index(c.target.index, node.shape) == unit for c in each.connections)
        assert all(c.input == x[c.source.index] for c in each.connections if c.source is not None)
        if isinstance(node.layer, MatrixLayer) and node.layer.trained:
            assert all(c.value == network.params[c.weight.name][c.weight.index] for c in each.connections)
        else:
            assert all(c.weight is None for c in each.connections)


def test_taps_on_padding_with_a_value_are_connections_and_those_on_zero_are_none():
    x = np.ones((1, 2, 2))
    for value, count in ((0.0, 4), (0.5, 9)):
        network = Network.sequential((1, 2, 2), [Conv(1, 3, padding=1, pad_value=value)], rng=0)
        found = incoming(network, "conv1[0, 0, 0]", x)
        assert len(found.connections) == count
    padded = [c for c in found.connections if c.source is None]
    assert [(c.source_name, c.input) for c in padded] == [("padding", 0.5)] * 5
    assert str(padded[0].weight) == "conv1.weight[0, 0, 0, 0]"
    assert found.bias.source_name == "1"
    pad = Network.sequential((1, 2), [CATALOG.make("pad", 1, pad_value=2.0), CATALOG.make("batch-norm")], rng=0)
    (only,) = incoming(pad, "pad1[0, 0]", np.ones((1, 2))).connections
    assert repr(only) == "padding -> pad1[0, 0]: not trained = 1, times 2 = 2"
    shifted = pad.with_params({"batchnorm1.bias": [0.5]})
    found = incoming(shifted, "batchnorm1[0, 0]", np.ones((1, 2)))
    assert repr(found.bias) == "1 -> batchnorm1[0, 0]: not trained = 0.5, times 1 = 0.5"
    assert " + offset 0.5 = " in repr(found)


def branched():
    """A net whose layers share weights, meet again, and read one node twice."""
    network = Network.input((2, 4, 4), dtype=np.float64).add(Conv(2, 3, padding=1, pad_value=0.7), name="a", rng=0)
    network = network.add(Conv(2, 3, padding=1, pad_value=0.7), name="b", share="a").add(ReLU(), name="r")
    network = network.add(Add(), "r", "a", "r", name="s").add(Concatenate(), "s", "input", name="c")
    return randomised(network.add(MaxPool(2), name="p").add(Dense(3), name="d", rng=0).add(Softmax(), name="q"))


@pytest.mark.parametrize("layer", ["a", "b", "r", "s", "c", "p", "d"])
def test_every_unit_of_a_graph(layer, agree):
    network, x = branched(), sample(branched())
    trace = network.run({name: array[None] for name, array in x.items()})
    y = trace[layer][0]
    for unit in range(y.size):
        found = incoming(network, (layer, unit), trace)
        agree(found.total, y.ravel()[unit])
        assert incoming(network, (layer, unit), x).connections == found.connections
        assert {c.source.node for c in found.connections if c.source} <= set(network.nodes[layer].inputs)
        assert {c.weight.node for c in found.connections if c.weight} <= {"a", "d"}


def test_what_goes_out_of_all_units_is_what_comes_in(agree):
    network = branched()
    trace = network.run({name: array[None] for name, array in sample(network).items()})
    came, went = [], []
    for name in ("a", "b", "r", "s", "c", "p", "d"):
        for unit in range(math.prod(network.nodes[name].shape)):
            came += [c for c in incoming(network, (name, unit), trace).connections if c.source is not None]
    for name in ("input", "a", "b", "r", "s", "c", "p"):
        for unit in range(math.prod(network.nodes[name].shape)):
            went += outgoing(network, (name, unit), trace).connections
    assert sorted(map(repr, came)) == sorted(map(repr, went))
    assert len(came) > 1000


def test_without_a_sample_all_that_may_depend_on_a_unit_is_listed():
    network = branched()
    unit = "c[1, 2, 2]"
    assert [str(c.target) for c in outgoing(network, unit).connections] == ["p[1, 1, 1]"]
    assert outgoing(network, "d[1]").connections == tuple(
        Connection(outgoing(network, "d[1]").unit, c.target, None) for c in outgoing(network, "d[1]").connections
    )
    assert [str(c.target) for c in outgoing(network, "d[1]").connections] == ["q[0]", "q[1]", "q[2]"]
    assert outgoing(network, "d[1]", sample(network)).connections[0].value is None  # a softmax is not linear
    assert outgoing(network, "q[0]").connections == ()
    plain = Network.sequential((1, 4), [Conv(2, 3)])
    assert [c.value for c in outgoing(plain, "input[0, 0]").connections] == [None, None]


def test_the_reprs_teach():
    network = Network.sequential((1, 3, 3), [Conv(1, 2), ReLU()], rng=0, dtype=np.float64)
    network = network.with_params({"conv1.weight": [[[[1, 2], [0, -1]]]], "conv1.bias": [-10]})
    x = np.arange(9.0).reshape(1, 3, 3)
    found = incoming(network, "conv1[0, 1, 1]", x)
    assert repr(found) == "Incoming of conv1[0, 1, 1]: 4 products 6 + bias -10 = -4; the unit's value is -4"
    assert [c.product for c in found.largest(2)] == [10, -8]
    assert repr(found.largest(1)[0]) == ("input[0, 1, 2] -> conv1[0, 1, 1]: conv1.weight[0, 0, 0, 1] = 2, times 5 = 10")
    cut = incoming(network, "relu1[0, 1, 1]", x)
    assert repr(cut) == "Incoming of relu1[0, 1, 1]: 0 products 0 = 0; the unit's value is 0"
    wide = Network.sequential((12,), [Dense(1)], rng=0)
    assert "... and 2 smaller products\n1" in str(incoming(wide, "dense1[0]", np.ones(12)))
    out = outgoing(network, "input[0, 1, 1]", x)
    assert repr(out) == "Outgoing of input[0, 1, 1]: 4 connections to conv1"
    assert [c.product for c in out.largest()] == [8, -4, 4, 0]
    assert repr(outgoing(network, "relu1[0, 0, 0]")) == "Outgoing of relu1[0, 0, 0]: 0 connections"


def test_one_unit_of_a_large_layer_is_taken_apart_without_its_matrix():
    network = Network.sequential((64, 96, 96), [Conv(64, 3, padding=1)], rng=0, engine=CATALOG.engine("blas"))
    found = incoming(network, "conv1[5, 40, 40]", np.ones((64, 96, 96)))
    assert len(found.connections) == 576
    assert found.total == pytest.approx(found.value, abs=1e-4)
    assert "csr" not in vars(network.nodes["conv1"].pattern)


@pytest.mark.parametrize(
    ("unit", "x", "error", "message"),
    [
        (
            "input[0, 0, 0]",
            None,
            ShapeError,
            "incoming input.*: expected a unit that a layer computes, got one of an i",
        ),
        (
            "q[0]",
            None,
            ShapeError,
            "incoming q.*: expected a unit of a layer that is a matrix or piecewise linear, got S",
        ),
        ("a[0]", None, ShapeError, "expected a single unit, got a.0., which is 16"),
        ("z[0]", None, UnknownNameError, "expected a node, got 'z'"),
        ("a[0, 0, 0]", np.ones((1, 2, 4, 4)), ShapeError, "incoming a.*: expected one sample of shape .* x.0."),
        ("a[0, 0, 0]", [[1], [2, 3]], ShapeError, "incoming a.*: expected an array of real numbers, got a ragged list"),
        ("a[0, 0, 0]", {}, SimulatorError, "expected the inputs input, got none"),
        ("a[0, 0, 0]", [["a"]], ShapeError, "expected an array of real numbers, got values of type str"),
    ],
)
def test_what_has_no_incoming(unit, x, error, message):
    network = branched()
    with pytest.raises(error, match=message):
        incoming(network, unit, sample(network) if x is None else x)


def test_a_trace_is_of_one_sample():
    network = branched()
    with pytest.raises(ShapeError, match=r"outgoing a.*: expected a trace of one sample, got 2; run a batch of one"):
        outgoing(network, "a[0, 0, 0]", network.run(np.ones((2, 2, 4, 4))))


def test_a_trace_is_of_this_network():
    network = Network.sequential((1, 6), [Conv(2, 3), Dense(3)], rng=0)
    larger = Network.sequential((1, 9), [Conv(2, 3), Dense(3)], rng=0).run(np.ones((1, 1, 9)))
    with pytest.raises(
        ShapeError, match=r"incoming conv1.*: expected a trace with input of shape \(1, 6\), got \(1, 9\); g"
    ):
        incoming(network, "conv1[0, 0]", larger)
    with pytest.raises(
        ShapeError, match=r"outgoing conv1.*: expected a trace with input of shape \(1, 6\), got \(1, 9\); g"
    ):
        outgoing(network, "conv1[0, 0]", larger)
    outputs_only = Workspace(network).run(network, np.ones((1, 1, 6)))
    with pytest.raises(
        ShapeError, match=r"expected a trace with input of shape \(1, 6\), got none of it; give one that"
    ):
        incoming(network, "conv1[0, 0]", outputs_only)


def test_without_weights_there_are_no_values():
    with pytest.raises(SimulatorError, match="network: expected weights, got none for conv1.weight, conv1.bias"):
        incoming(Network.sequential((1, 4), [Conv(2, 3)]), "conv1[0, 0]", np.ones((1, 4)))


def test_too_many_connections_to_list(monkeypatch):
    monkeypatch.setattr("simulator.memory.available_memory", lambda: 10**8)
    network = Network.sequential((200_000,), [Flatten(), Dense(1)], rng=0)
    with pytest.raises(ShapeError, match=r"dense1, 200,000 connections: expected at most 0.1 GB of memory, got 0.2 GB"):
        incoming(network, "dense1[0]", np.ones(200_000))


@pytest.mark.slow
def test_units_of_vgg16_at_full_size():
    network = CATALOG.build("vgg16", rng=0, engine=CATALOG.engine("blas"))
    rng = np.random.default_rng(0)
    trace = network.run(rng.standard_normal((1, 3, 224, 224)))
    for name in ("conv1_2", "pool3", "relu4_1", "conv5_3", "dense6", "dense8"):
        y = trace[name][0].ravel()
        unit = int(rng.integers(y.size))
        found = incoming(network, (name, unit), trace)
        assert abs(found.total - y[unit]) <= 1e-4 * np.abs(y).max()
        assert outgoing(network, (name, unit), trace).value == y[unit]
