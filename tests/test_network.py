"""Networks against products written out by hand, central differences and networks cut in two."""

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from simulator import (
    SGD,
    Add,
    AveragePool,
    Concatenate,
    Conv,
    ConvTranspose,
    Counts,
    Dataset,
    Dense,
    ExplicitPattern,
    Flatten,
    FunctionLayer,
    LogSoftmax,
    MatrixLayer,
    MaxPool,
    Network,
    Pad,
    PluginError,
    ReLU,
    Reshape,
    ShapeError,
    SimulatorError,
    Softmax,
    Sparse,
    Subsample,
    Tanh,
    TiedMatrix,
    UnknownNameError,
    Workspace,
    load,
    save,
    train,
)
from simulator.network import as_rng

LAYERS = [Conv(3, 3, padding=1, pad_value=0.5), Tanh(), AveragePool(2), Conv(2, 2, bias="unit"), Dense(4), LogSoftmax()]


@dataclass(frozen=True)
class Center(FunctionLayer):
    """Subtracts a running mean that it keeps as a buffer; its param is a scale."""

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def param_shapes(self, *input_shapes):
        return {"scale": input_shapes[0]}

    def init_params(self, rng, *input_shapes, dtype):
        return {"scale": np.ones(input_shapes[0], dtype)}

    def init_buffers(self, *input_shapes, dtype):
        return {"mean": np.zeros(input_shapes[0], dtype)}

    def forward(self, params, buffers, *xs, training=False, rng=None):
        scale = params["scale"][..., None]
        centred = xs[0] - buffers["mean"][..., None]
        after = {"mean": (buffers["mean"] + xs[0].mean(axis=-1)) / 2} if training else {}
        return scale * centred, lambda dy: ((scale * dy,), {"scale": (dy * centred).sum(axis=-1)}), after


@dataclass(frozen=True)
class Noise(FunctionLayer):
    """Adds random numbers while training."""

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        noise = rng.standard_normal(xs[0].shape) if training else 0
        return xs[0] + noise, lambda dy: ((dy,), {}), {}


def small(dtype=np.float64, rng=0):
    """A convolutional net of every kind of layer, with biases that are not zero."""
    net = Network.sequential((2, 4, 4), LAYERS, rng=rng, dtype=dtype)
    draw = np.random.default_rng(1)
    biases = {k: draw.standard_normal(p.shape) for k, p in net.params.items() if k.endswith("bias")}
    return net.with_params(biases)


def residual(rng=0):
    """Two branches that meet twice, and an auxiliary head."""
    net = Network.input((2, 4, 4), dtype=np.float64)
    net = net.add(Conv(2, 3, padding=1), name="a", rng=rng)
    net = net.add(Tanh(), name="act")
    net = net.add(Conv(2, 3, padding=1), "act", name="b", rng=rng)
    net = net.add(Add(), "b", "a", name="sum")
    net = net.add(Concatenate(), "sum", "input", name="both")
    net = net.add(Dense(3), "both", name="head", rng=rng)
    return net.add(Dense(2), "act", name="aux", rng=rng)


def samples(shape=(2, 4, 4), batch=3, seed=2):
    return np.random.default_rng(seed).standard_normal((batch, *shape))


# ---------------------------------------------------------------------- building


def test_shapes_and_names_are_worked_out():
    net = small()
    assert [(node.name, node.shape) for node in net.nodes.values()] == [
        ("input", (2, 4, 4)),
        ("conv1", (3, 4, 4)),
        ("tanh1", (3, 4, 4)),
        ("averagepool1", (3, 2, 2)),
        ("conv2", (2, 1, 1)),
        ("dense1", (4,)),
        ("logsoftmax1", (4,)),
    ]
    assert (net.inputs, net.outputs) == (("input",), ("logsoftmax1",))
    assert (net.input_shape, net.output_shape) == ((2, 4, 4), (4,))
    assert net.param_shapes == {name: p.shape for name, p in net.params.items()}
    assert repr(net) == "Network 6 layers, 95 params: (2, 4, 4) -> (4,)"
    assert repr(net.node("tanh1")) == "tanh1: Tanh() -> (3, 4, 4)"


def test_a_free_name_is_found():
    net = Network.input((3,)).add(ReLU(), name="relu2").add(ReLU()).add(ReLU())
    assert list(net.nodes) == ["input", "relu2", "relu1", "relu3"]


def test_inputs_default_to_the_node_added_last():
    net = Network.input((3,)).add(ReLU()).add(Dense(2)).add(ReLU(), "relu1", name="side").add(Flatten())
    assert net.node("flatten1").node.inputs == ("side",)
    assert net.outputs == ("dense1", "flatten1")


def test_adding_changes_nothing_that_was_there():
    old = small()
    names, params = list(old.nodes), old.params
    new = old.add(Dense(7), rng=1)
    assert (list(old.nodes), old.outputs) == (names, ("logsoftmax1",))
    assert old.params.keys() == params.keys()
    assert set(new.params) - set(params) == {"dense2.weight", "dense2.bias"}
    for name, array in params.items():
        assert new.params[name] is array
        assert new.node("conv1").node is old.node("conv1").node
    with pytest.raises(AttributeError):
        old.nodes.clear()
    old.params.clear()
    old.buffers.clear()
    assert list(old.nodes) == names


def test_nodes_are_frozen():
    bound = small().node("conv1")
    for value, field in [(bound, "node"), (bound.node, "name"), (small().node("input").layer, "shape")]:
        with pytest.raises(FrozenInstanceError):
            setattr(value, field, "other")


def test_the_graph_is_a_frozen_networkx_graph():
    net = residual()
    graph = net.graph
    assert set(graph.edges) >= {("input", "a"), ("b", "sum"), ("a", "sum"), ("sum", "both"), ("input", "both")}
    assert graph.nodes["head"] == {"layer": Dense(3), "shape": (3,)}
    assert nx.is_directed_acyclic_graph(graph)
    with pytest.raises(nx.NetworkXError, match="Frozen graph can't be modified"):
        graph.add_node("more")


def test_weights_depend_on_the_seed_alone():
    for again in (small(rng=0), small(rng=np.random.default_rng(0))):
        for name, p in small(rng=0).params.items():
            np.testing.assert_array_equal(p, again.params[name])
    assert not np.array_equal(small(rng=1).params["conv1.weight"], small(rng=0).params["conv1.weight"])
    generator = np.random.default_rng(3)
    assert as_rng(generator) is generator
    assert as_rng(3).random() == np.random.default_rng(3).random()


def test_without_rng_there_are_patterns_shapes_and_counts_only():
    net = Network.sequential((3, 224, 224), [Conv(64, 3, padding=1), ReLU(), Conv(64, 3, padding=1)])
    assert not net.has_weights
    assert net.node("conv2").pattern.nnz == 1_838_694_400
    assert net.node("conv2").node.counts.params == 36_928
    assert repr(net) == "Network 3 layers, 38720 params: (3, 224, 224) -> (64, 224, 224)"
    mixed = Network.input((3,)).add(Dense(2), rng=0).add(Dense(2))
    assert not mixed.has_weights
    for ask in (
        lambda: net.params,
        lambda: net.predict(np.zeros((0, 3, 224, 224))),
        lambda: net.node("conv2").matrix,
        lambda: net.node("conv2").params,
        lambda: mixed.add(Dense(2), rng=0).params,
    ):
        with pytest.raises(SimulatorError, match=r"network: expected weights, got none for .*; build"):
            ask()


def test_a_network_without_weights_runs_if_it_needs_none():
    net = Network.sequential((1, 4, 4), [ReLU(), MaxPool(2), Flatten()])
    assert net.has_weights
    assert net.predict(np.ones((1, 1, 4, 4))).tolist() == [[1, 1, 1, 1]]


def test_shared_weights_are_counted_where_they_belong():
    net = Network.input((1, 5, 5)).add(Conv(2, 3), name="a").add(Conv(2, 3), "input", name="b", share="a")
    assert net.node("a").node.counts == Counts(20, 180, 180, 162, 0, 162)
    assert net.node("b").node.counts == Counts(0, 180, 180, 162, 0, 162)
    assert set(net.param_shapes) == {"a.weight", "a.bias"}


# ---------------------------------------------------------------------- forward


def test_a_network_is_its_matrices_one_after_the_other(agree):
    net = small()
    x = samples()
    conv1, pool, conv2, dense = (net.node(n) for n in ("conv1", "averagepool1", "conv2", "dense1"))
    taps_on_padding = np.repeat(conv1.params["weight"].sum(axis=(1, 2, 3)), 16) - conv1.matrix @ np.ones(32)
    bias = np.repeat(conv1.params["bias"], 16) + 0.5 * taps_on_padding  # the pad value is one, too
    y = np.tanh(conv1.matrix @ x.reshape(3, -1).T + bias[:, None])
    y = conv2.matrix @ (pool.matrix @ y) + conv2.params["bias"].ravel()[:, None]
    y = dense.matrix @ y + dense.params["bias"][:, None]
    y = y - np.log(np.exp(y).sum(axis=0))
    agree(net.predict(x), y.T)


def test_every_activation_is_kept():
    net = residual()
    trace = net.run(samples())
    assert set(trace.activations) == set(net.nodes)
    for name, node in net.nodes.items():
        assert trace[name].shape == (3, *node.shape)
    np.testing.assert_allclose(trace["sum"], trace["a"] + trace["b"], rtol=0, atol=1e-15)
    np.testing.assert_array_equal(trace["input"], samples())


def test_a_batch_is_its_samples(agree):
    net, x = small(), samples(batch=5)
    agree(net.predict(x), np.concatenate([net.predict(sample[None]) for sample in x]))


@pytest.mark.parametrize("batch", [0, 1])
def test_a_batch_may_have_one_sample_or_none(batch):
    layers = [
        Conv(2, 3, padding=1, pad_value=1.0),
        ConvTranspose(2, 2, stride=2),
        MaxPool(2, padding=1),
        AveragePool(2),
        Subsample(1),
        Pad(1),
        Flatten(),
        Dense(3),
        Softmax(),
    ]
    net = Network.sequential((1, 5, 5), layers, rng=0)
    trace = net.run(np.ones((batch, 1, 5, 5)))
    assert trace["softmax1"].shape == (batch, 3)
    gradients = trace.backward(np.ones((batch, 3)))
    assert gradients.inputs["input"].shape == (batch, 1, 5, 5)
    for name, gradient in gradients.params.items():
        assert gradient.shape == net.param_shapes[name]
        assert batch or not gradient.any()


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.float32),
        lambda x: x.astype(np.int8),
        lambda x: x.astype(np.uint16),
        lambda x: np.asfortranarray(x),
        lambda x: x.repeat(2, axis=-1)[..., ::2],
        lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1),
        lambda x: x.tolist(),
        lambda x: np.broadcast_to(x[:1], x.shape),
        lambda x: x > 3,
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_real_array_is_taken(change, dtype):
    net = small(dtype)
    x = change(np.arange(96.0).reshape(3, 2, 4, 4) % 7)
    y = net.predict(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, net.predict(np.array(x, dtype)))


def test_what_was_given_is_neither_changed_nor_kept():
    net, x = residual(), samples()
    x.flags.writeable = False
    trace = net.run(x)
    trace.backward({"head": np.ones((3, 3)), "aux": np.ones((3, 2))})
    x = samples()
    trace = net.run(x)
    expected = net.run(x).backward({"head": np.ones((3, 3))})
    x[:] = 7
    gradients = trace.backward({"head": np.ones((3, 3))})
    for name, gradient in expected.params.items():
        np.testing.assert_array_equal(gradients.params[name], gradient)
    np.testing.assert_array_equal(trace["input"], samples())


def test_activations_are_read_only_views():
    trace = residual().run(samples())
    for name, activation in trace.activations.items():
        assert np.shares_memory(activation, trace[name])
        with pytest.raises(ValueError, match="read-only"):
            activation[0] = 0


def test_several_inputs_and_outputs_go_by_name(agree):
    net = Network.input((2,), "left", dtype=np.float64).add_input((3,), "right")
    net = net.add(Concatenate(), "left", "right", name="both").add(Dense(2), "both", name="y", rng=0)
    net = net.add(ReLU(), "right", name="z")
    left, right = samples((2,)), samples((3,))
    y = net.predict({"right": right, "left": left})
    assert list(y) == list(net.outputs) == ["y", "z"]
    agree(y["y"], np.hstack([left, right]) @ net.params["y.weight"].T)
    np.testing.assert_array_equal(y["z"], np.maximum(right, 0))
    assert repr(net) == "Network 3 layers, 12 params: (2,), (3,) -> (2,), (3,)"
    gradients = net.run({"left": left, "right": right}).backward({"y": np.ones((3, 2)), "z": np.ones((3, 3))})
    ones = np.ones((3, 2)) @ net.params["y.weight"]
    agree(gradients.inputs["left"], ones[:, :2])
    agree(gradients.inputs["right"], ones[:, 2:] + (right > 0))


def test_single_precision_stays_single_and_is_close(agree):
    single, double = small(np.float32), small()
    single = single.with_params(double.params)
    x, dy = samples(), np.ones((3, 4))
    assert {p.dtype for p in single.params.values()} == {np.dtype(np.float32)}
    ours, truth = single.run(x), double.run(x)
    agree(ours["logsoftmax1"], truth["logsoftmax1"], tolerance=1e-5)
    ours, truth = ours.backward(dy), truth.backward(dy)
    for name, gradient in truth.params.items():
        assert ours.params[name].dtype == np.float32
        np.testing.assert_allclose(ours.params[name], gradient, rtol=0, atol=1e-4)
    assert ours.inputs["input"].dtype == np.float32


# ---------------------------------------------------------------------- backward


@pytest.mark.parametrize("make", [small, residual])
def test_gradients_of_params_and_inputs_agree_with_central_differences(make, central_difference):
    net, x = make(), samples(batch=2)
    dy = {name: samples(net.node(name).shape, batch=2, seed=i) for i, name in enumerate(net.outputs)}

    def loss(net, x):
        trace = net.run(x)
        return sum(np.sum(dy[name] * trace[name]) for name in dy)

    gradients = net.run(x).backward(dy)
    assert list(gradients.inputs) == ["input"]
    slope = central_difference(lambda x: loss(net, x), x)
    np.testing.assert_allclose(gradients.inputs["input"], slope, rtol=0, atol=1e-7)
    assert gradients.params.keys() == net.params.keys()
    for name, p in net.params.items():
        slope = central_difference(lambda p, name=name: loss(net.with_params({name: p}), x), p)
        np.testing.assert_allclose(gradients.params[name], slope, rtol=0, atol=1e-7)


def test_gradients_of_activations_are_those_of_the_input_of_the_rest(agree):
    net, x = small(), samples()
    trace, dy = net.run(x), samples((4,))
    gradients = trace.backward(dy)
    assert set(gradients.activations) == set(net.nodes)
    rest = Network.input((3, 4, 4), "tanh1", dtype=np.float64)
    for name in ("averagepool1", "conv2", "dense1", "logsoftmax1"):
        rest = rest.add(net.node(name).layer, name=name)
    rest = rest.with_params({name: net.params[name] for name in rest.param_shapes})
    agree(gradients.activations["tanh1"], rest.run(trace["tanh1"]).backward(dy).inputs["tanh1"])
    np.testing.assert_array_equal(gradients.activations["logsoftmax1"], dy)
    np.testing.assert_array_equal(gradients.activations["input"], gradients.inputs["input"])


def test_a_gradient_may_enter_anywhere(agree):
    """What enters at the sum of two gradients gives the sum of what each gives."""
    net, x = residual(), samples()
    trace = net.run(x)
    enter = {"head": samples((3,)), "aux": samples((2,)), "b": samples(), "input": samples()}
    together = trace.backward(enter)
    apart = [trace.backward({name: dy}) for name, dy in enter.items()]
    for name in net.params:
        agree(together.params[name], sum(g.params[name] for g in apart))
    agree(together.inputs["input"], sum(g.inputs["input"] for g in apart))
    assert not apart[0].params["aux.weight"].any()
    assert apart[2].params.keys() == net.params.keys()


def test_backward_may_be_called_twice():
    trace = residual().run(samples())
    dy = {"head": samples((3,)), "aux": samples((2,))}
    first, second = trace.backward(dy), trace.backward(dy)
    for group in ("params", "inputs", "activations"):
        for name, gradient in getattr(first, group).items():
            np.testing.assert_array_equal(gradient, getattr(second, group)[name])


def test_the_only_output_needs_no_name():
    net, x, dy = small(), samples(), samples((4,))
    trace = net.run(x)
    for name, gradient in trace.backward(dy).params.items():
        np.testing.assert_array_equal(gradient, trace.backward({"logsoftmax1": dy.tolist()}).params[name])


def test_params_only_gives_the_same_params_and_nothing_for_inputs():
    trace = residual().run(samples())
    dy = {"head": samples((3,)), "aux": samples((2,))}
    every, some = trace.backward(dy), trace.backward(dy, params_only=True)
    for name, gradient in every.params.items():
        np.testing.assert_array_equal(some.params[name], gradient)
    assert some.inputs == {}
    assert set(some.activations) == set(every.activations) - {"input"}


def test_gradients_are_linear_in_what_enters(agree):
    trace = small().run(samples())
    dy = samples((4,))
    single, triple = trace.backward(dy), trace.backward(-3 * dy)
    for name, gradient in single.params.items():
        agree(triple.params[name], -3 * gradient)
    agree(triple.inputs["input"], -3 * single.inputs["input"])


@given(st.integers(0, 2**16))
def test_dot_test_of_a_whole_linear_network(seed):
    """⟨J x, y⟩ = ⟨x, Jᵀ y⟩ where the network is linear."""
    rng = np.random.default_rng(seed)
    layers = [Conv(2, 3, padding=1, bias=False), Pad(1, "reflect"), AveragePool(3, 2, ceil=True), Dense(4, bias=False)]
    net = Network.sequential((1, 5, 4), layers, rng=rng, dtype=np.float64)
    x, dy = rng.standard_normal((2, 1, 5, 4)), rng.standard_normal((2, 4))
    trace = net.run(x)
    left, right = trace[net.outputs[0]] * dy, x * trace.backward(dy).inputs["input"]
    assert abs(left.sum() - right.sum()) <= 1e-12 * (np.abs(left).sum() + np.abs(right).sum())


# ---------------------------------------------------------------------- sharing


def twins(share):
    """Two heads on one input; with or without sharing, the same numbers."""
    net = Network.input((2, 5), dtype=np.float64).add(Conv(3, 3), name="a", rng=0)
    net = net.add(Conv(3, 3), "input", name="b", share="a" if share else None, rng=1)
    net = net.add(Tanh(), "a", name="left")
    net = net.add(Conv(3, 3, padding=1), "left", name="c", rng=2)
    return net.add(Conv(3, 3, padding=1), "b", name="d", share="c" if share else None, rng=3)


def test_the_gradient_of_a_shared_weight_is_the_sum(agree):
    shared, free = twins(share=True), twins(share=False)
    for name, owner in zip("abcd", "aacc", strict=True):
        free = free.with_params({f"{name}.{key}": shared.params[f"{owner}.{key}"] for key in ("weight", "bias")})
    assert set(shared.params) == {"a.weight", "a.bias", "c.weight", "c.bias"}
    x, dy = samples((2, 5)), {"c": samples((3, 3)), "d": samples((3, 3), seed=5)}
    ours, theirs = shared.run(x), free.run(x)
    for name in shared.nodes:
        agree(ours[name], theirs[name])
    ours, theirs = ours.backward(dy), theirs.backward(dy)
    for key in ("weight", "bias"):
        agree(ours.params[f"a.{key}"], theirs.params[f"a.{key}"] + theirs.params[f"b.{key}"])
        agree(ours.params[f"c.{key}"], theirs.params[f"c.{key}"] + theirs.params[f"d.{key}"])
    agree(ours.inputs["input"], theirs.inputs["input"])


def test_who_shares_with_a_sharer_shares_with_the_owner():
    net = Network.input((3,)).add(Dense(3), name="a", rng=0).add(Dense(3), name="b", share="a")
    net = net.add(Dense(3), name="c", share="b")
    assert [net.node(n).owner for n in "abc"] == ["a", "a", "a"]
    assert net.node("c").params["weight"] is net.params["a.weight"]
    np.testing.assert_array_equal(net.node("c").matrix.weight, net.params["a.weight"])


def test_a_shared_layer_keeps_buffers_of_its_own():
    net = Network.input((2,), dtype=np.float64).add(Center(), name="a", rng=0).add(Center(), name="b", share="a")
    assert set(net.buffers) == {"a.mean", "b.mean"}
    trace = net.run([[2.0, 4.0]], training=True)
    assert trace.buffers["a.mean"].tolist() == trace.buffers["b.mean"].tolist() == [1, 2]
    apart = net.with_buffers({"b.mean": [5, 5]})
    assert apart.predict([[2.0, 4.0]]).tolist() == [[-3, -1]]
    side = Network.input((2,)).add(Center(), name="a", rng=0).add(Center(), "input", name="b", share="a")
    cut = side.with_buffers({"a.mean": [1, 1], "b.mean": [5, 5]}).subnetwork("b")
    assert {name: mean.tolist() for name, mean in cut.buffers.items()} == {"b.mean": [5, 5]}


# ---------------------------------------------------------------------- cutting


def test_a_subnetwork_is_what_its_outputs_need(agree):
    net, x = residual(), samples()
    cut = net.subnetwork("head")
    assert set(net.nodes) - set(cut.nodes) == {"aux"}
    assert set(net.params) - set(cut.params) == {"aux.weight", "aux.bias"}
    agree(cut.predict(x), net.predict(x)["head"])
    assert "aux" in net.nodes
    inner = net.subnetwork("act")
    assert set(inner.nodes) == {"input", "a", "act"}
    agree(inner.predict(x), net.run(x)["act"])
    assert inner.params["a.weight"] is net.params["a.weight"]
    assert net.subnetwork("act").add(Dense(2), rng=0).outputs == ("dense1",)


def test_outputs_of_a_subnetwork_may_stand_inside_and_keep_their_order():
    net, x = residual(), samples()
    cut = net.subnetwork(["head", "sum"])
    assert cut.outputs == ("head", "sum")
    y = cut.predict(x)
    assert list(y) == ["head", "sum"]
    np.testing.assert_array_equal(y["sum"], net.run(x)["sum"])
    gradients = cut.run(x).backward({"head": np.ones((3, 3)), "sum": np.ones((3, 2, 4, 4))})
    assert gradients.params["b.weight"].any()


def test_weights_move_to_the_first_that_is_kept(agree):
    net = Network.input((3,), dtype=np.float64).add(Dense(3), name="a", rng=0)
    net = net.add(Dense(3), "input", name="b", share="a").add(Dense(3), "b", name="c", share="a")
    cut = net.subnetwork("c")
    assert set(cut.nodes) == {"input", "b", "c"}
    assert set(cut.params) == {"b.weight", "b.bias"}
    assert [cut.node(n).owner for n in "bc"] == ["b", "b"]
    x, dy = samples((3,)), samples((3,))
    agree(cut.predict(x), net.run(x)["c"])
    agree(cut.run(x).backward(dy).params["b.weight"], net.run(x).backward({"c": dy}).params["a.weight"])
    bare = Network.input((3,)).add(Dense(3), name="a").add(Dense(3), "input", name="b", share="a").subnetwork("b")
    assert not bare.has_weights
    assert set(bare.param_shapes) == {"b.weight", "b.bias"}


def test_buffers_are_cut_with_their_nodes():
    net = Network.input((2,)).add(Center(), name="a", rng=0).add(Center(), "input", name="b", rng=0)
    assert set(net.subnetwork("b").buffers) == {"b.mean"}


def test_a_subnetwork_has_outputs():
    with pytest.raises(ShapeError, match=r"network\.subnetwork: expected at least one"):
        small().subnetwork([])


# ---------------------------------------------------------------------- weights, buffers, copies


def forked(rng):
    """Two branches, the longer one first, with weights that both use, and buffers."""
    net = Network.input((2, 4, 4)).add(Conv(2, 3, padding=1), name="first", rng=rng)
    net = net.add(Conv(2, 3, padding=1), name="second", rng=rng).add(Conv(2, 3, padding=1), name="x", share="first")
    net = net.add(Conv(2, 1), "input", name="aside", rng=rng).add(Add(), "x", "aside", name="sum")
    return net.add(Flatten(), name="flat").add(Dense(3), name="last", rng=rng)


def test_arrays_come_in_one_order_whatever_made_them(tmp_path):
    net, bare = forked(0), forked(None)
    order = [f"{name}.{key}" for name in ("first", "second", "aside", "last") for key in ("weight", "bias")]
    assert list(net.params) == list(bare.param_shapes) == order
    x, dy = samples((2, 4, 4)), samples((3,))
    gradients = net.run(x).backward(dy)
    assert list(gradients.params) == order
    assert list(gradients.activations) == list(net.nodes)
    assert all(g.shape == p.shape for g, p in zip(gradients.params.values(), net.params.values(), strict=True))
    part = Workspace(net).run(net, x, backward=True).backward(dy, params_only=True)
    assert list(part.params) == order
    turned = dict(reversed(net.params.items()))
    assert list(bare.with_params(turned).params) == list(net.with_params(turned).params) == order
    save(tmp_path / "net.safetensors", net)
    assert list(load(tmp_path / "net.safetensors").network.params) == order
    *_, epoch = train(net, Dataset(x, np.arange(len(x)) % 3), epochs=1, optimizer=SGD(0.1), rng=0)
    assert list(epoch.network.params) == order


def test_other_params_are_copied_cast_and_checked_in(agree):
    net = small(np.float32)
    weight = np.arange(54.0).reshape(3, 2, 3, 3)
    new = net.with_params({"conv1.weight": weight})
    assert new.params["conv1.weight"].dtype == np.float32
    assert new.params["dense1.weight"] is net.params["dense1.weight"]
    assert not np.array_equal(net.params["conv1.weight"], weight)
    same = weight.astype(np.float32)
    copied, kept = (net.with_params({"conv1.weight": same}, copy=copy) for copy in (True, False))
    assert not np.shares_memory(copied.params["conv1.weight"], same)
    assert np.shares_memory(kept.params["conv1.weight"], same)
    with pytest.raises(ValueError, match="read-only"):
        same[:] = 0  # given away
    assert copied.params["conv1.weight"].any()
    agree(new.node("conv1").matrix.weight, weight)
    assert new.node("conv1").pattern is net.node("conv1").pattern


def test_params_are_read_only():
    for net in (small(), small().with_params({"dense1.bias": np.ones(4)}), small().with_dtype(np.float32)):
        for array in net.params.values():
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0


def test_the_matrix_of_a_node_is_made_once_per_network():
    net = small()
    assert net.node("conv1").matrix is net.node("conv1").matrix
    other = net.with_params({"conv1.weight": 2 * net.params["conv1.weight"]})
    np.testing.assert_array_equal(other.node("conv1").matrix.tocsr().data, 2 * net.node("conv1").matrix.tocsr().data)
    assert other.node("conv1").matrix.pattern is net.node("conv1").matrix.pattern


def test_weights_can_be_given_to_a_network_built_without():
    full = small()
    net = Network.sequential((2, 4, 4), LAYERS, dtype=np.float64).with_params(full.params)
    np.testing.assert_array_equal(net.predict(samples()), full.predict(samples()))


def test_nodes_know_their_params_and_buffers():
    net = Network.input((2,)).add(Center(), rng=0).add(ReLU())
    assert net.node("center1").params["scale"] is net.params["center1.scale"]
    assert net.node("center1").buffers["mean"] is net.buffers["center1.mean"]
    assert net.node("relu1").params == net.node("relu1").buffers == {}
    assert net.node("center1").layer == Center()


def test_running_a_network_in_training_gives_new_buffers_and_changes_none():
    net = Network.input((2,), dtype=np.float64).add(Center(), rng=0)
    x = [[2.0, 4.0], [4.0, 8.0]]
    assert net.run(x).buffers["center1.mean"].tolist() == [0, 0]
    trace = net.run(x, training=True)
    assert trace.buffers["center1.mean"].tolist() == [1.5, 3]
    assert net.buffers["center1.mean"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="read-only"):
        trace.buffers["center1.mean"][0] = 1
    later = net.with_buffers(trace.buffers)
    assert later.predict(x).tolist() == [[0.5, 1], [2.5, 5]]
    assert later.with_dtype(np.float32).buffers["center1.mean"].dtype == np.float32


def test_randomness_in_training_comes_from_rng():
    net = Network.input((4,)).add(Noise())
    x = np.zeros((2, 4))
    first, again, other = (net.run(x, training=True, rng=seed)["noise1"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not net.run(x, rng=0)["noise1"].any()


def test_networks_can_be_brought_to_another_precision():
    net = small()
    single = net.with_dtype(np.float32)
    assert (single.dtype, net.dtype) == (np.float32, np.float64)
    assert {p.dtype for p in single.params.values()} == {np.dtype(np.float32)}
    assert single.predict(samples()).dtype == np.float32
    assert Network.input((2,)).add(Dense(2)).with_dtype(np.float64).dtype == np.float64
    np.testing.assert_allclose(single.predict(samples()), net.predict(samples()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_networks_can_be_copied_and_pickled(clone):
    net, x = residual(), samples()
    expected = net.predict(x)  # builds matrices and index arrays first
    assert net.graph.number_of_nodes() == 8
    again = clone(net)
    for name, y in again.predict(x).items():
        np.testing.assert_array_equal(y, expected[name])
    assert again.subnetwork("aux").outputs == ("aux",)
    assert repr(again) == repr(net)
    assert not any(array.flags.writeable for array in again.params.values())


def test_a_pickle_does_not_hold_the_matrices():
    net = Network.sequential((1, 32, 32), [Conv(8, kernel=3)], rng=0)
    net.predict(np.zeros((1, 1, 32, 32)))
    assert len(pickle.dumps(net)) < 100_000 < net.node("conv1").pattern.csr_nbytes()


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize("shape", [(), (0,), (3, -1)])
def test_an_input_has_positive_sizes(shape):
    with pytest.raises(ShapeError, match=r"input: expected a shape of positive integers such as \(1, 28, 28\), got"):
        Network.input(shape)


@pytest.mark.parametrize("shape", [(2.5,), ("a",), 784])
def test_an_input_has_sizes_that_are_integers(shape):
    with pytest.raises(
        ShapeError, match="Input shape: expected a sequence of integers, got .*; write all sizes"
    ) as error:
        Network.input(shape)
    assert Network.input(eval(str(error.value).rpartition("such as ")[2])).output_shape == (1, 28, 28)


@pytest.mark.parametrize("dtype", [np.float16, np.int64, "complex128"])
def test_the_precision_is_single_or_double(dtype):
    for build in (lambda: Network.input((3,), dtype=dtype), lambda: Network.input((3,)).with_dtype(dtype)):
        with pytest.raises(ShapeError, match=r"network dtype: expected float32 or float64, got .*; choose one of them"):
            build()


@pytest.mark.parametrize(
    ("add", "wrong"),
    [
        (lambda net: net.add("relu"), r"network\.add: expected a layer, got 'relu'; create it first"),
        (lambda net: net.add(ReLU), r"network\.add: expected a layer, got the class ReLU; create it first"),
        (lambda net: net.add(Add()), r"add1: expected two or more inputs, got 1 \(side\); name the nodes"),
        (lambda net: net.add(ReLU(), "side", "input"), r"relu1: expected 1 input, got 2 \(side, input\); name"),
        (
            lambda net: net.add(Conv(3, 1), name="three").add(Add(), "side", "three"),
            r"add1 \(after side, three\): add: expected inputs with one number of axes",
        ),
        (lambda net: net.add(Conv(2, 9), name="big"), r"big \(after side\): conv: expected a window no larger than"),
        (lambda net: net.add(Dense(2, bias="all")), "^Dense bias: expected True, False"),
        (lambda net: net.add(ReLU(), name="side"), r"network\.add: expected a new name, got 'side' again; choose"),
        (
            lambda net: net.add(ReLU(), name="a.b"),
            r"network\.add: expected a name without dots, .*, got 'a\.b'; choose",
        ),
        (lambda net: net.add(ReLU(), name="a[0]"), r"expected a name without dots, brackets and .*, got 'a\[0\]'; cho"),
        (lambda net: net.add(ReLU(), name=" a"), r"expected a name without dots, .* and outer blanks, got ' a'; cho"),
        (lambda net: net.add_input((3,), ""), r"network\.add: expected a name without dots, .*, got ''; choose"),
        (lambda net: net.add_input((3,), "input"), r"network\.add: expected a new name, got 'input' again"),
        (
            lambda net: net.add(Dense(2), share="side"),
            r"dense1: expected weights of shapes .*\(2, 50\).* to share, got .*\(2, 1, 1, 1\).* in 'side'; share",
        ),
    ],
)
def test_a_misfit_is_reported_where_it_is_added(add, wrong):
    net = Network.input((1, 5, 5)).add(Conv(2, 1), name="side")
    with pytest.raises(ShapeError, match=wrong):
        add(net)


@pytest.mark.parametrize(
    "ask",
    [
        lambda net: net.node("haed"),
        lambda net: net.add(ReLU(), "haed"),
        lambda net: net.add(Dense(3), share="haed"),
        lambda net: net.subnetwork("haed"),
        lambda net: net.subnetwork(["aux", "haed"]),
        lambda net: net.run(samples())["haed"],
        lambda net: net.run(samples()).backward({"haed": np.ones((3, 3))}),
    ],
)
def test_an_unknown_node_is_answered_with_the_nearest(ask):
    with pytest.raises(UnknownNameError, match=r"network: expected a node, got 'haed'; did you mean 'head'\?"):
        ask(residual())


def test_a_name_of_a_node_is_text():
    network = Network.input((3,))
    for wrong in (["input"], {}, 3, None):
        with pytest.raises(UnknownNameError, match="network: expected a node, got .*; (did you mean|choose one of)"):
            network.node(wrong)


def test_what_needs_one_input_or_output_says_so():
    net = residual()
    for ask in (lambda: net.output_shape, lambda: net.run(samples()).backward(np.ones((3, 3)))):
        with pytest.raises(ShapeError, match=r"network: expected one output, got 2 \(head, aux\); give a dict"):
            ask()
    two = Network.input((2,), "left").add_input((2,), "right")
    for ask in (lambda: two.input_shape, lambda: two.run(np.zeros((1, 2)))):
        with pytest.raises(ShapeError, match=r"network: expected one input, got 2 \(left, right\); give a dict"):
            ask()


def test_inputs_are_given_by_their_names_and_of_one_batch():
    net = Network.input((2,), "left").add_input((2,), "right").add(Add(), "left", "right")
    x = np.zeros((3, 2))
    three = {"left": x, "right": x, "top": x}
    for inputs, got in [({"left": x}, "'left'"), (three, "'left', 'right', 'top'"), ({}, "none")]:
        with pytest.raises(ShapeError, match=rf"network\.run: expected the inputs left, right, got {got}; give one"):
            net.run(inputs)
    with pytest.raises(ShapeError, match=r"network\.run: expected inputs of one batch size, got \[3, 4\]; give"):
        net.predict({"left": x, "right": np.zeros((4, 2))})


@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 2, 4, 5), (3, 4, 4, 2), ()])
def test_samples_have_the_shape_of_the_input(shape):
    with pytest.raises(ShapeError, match=r"input: expected \(batch, 2, 4, 4\), got .*; resize or reshape them"):
        small().predict(np.zeros(shape))


@pytest.mark.parametrize("dtype", [complex, object, str, "datetime64[s]"])
def test_samples_are_real_numbers(dtype):
    with pytest.raises(
        ShapeError, match=r"input: expected an array of real numbers, got .*; (convert them|take their real parts)"
    ):
        small().predict(np.zeros((1, 2, 4, 4)).astype(dtype))


def test_a_layer_that_is_no_matrix_says_so():
    node = small().node("tanh1")
    for ask in (lambda: node.pattern, lambda: node.matrix):
        with pytest.raises(ShapeError, match=r"tanh1: expected a layer that is one matrix, got Tanh; choose"):
            ask()


def test_a_pad_value_needs_to_know_the_taps_on_padding():
    class Listed(Conv):
        def pattern(self, input_shape):
            pattern = super().pattern(input_shape)
            return ExplicitPattern(*pattern.triplets(), shape=pattern.shape)

    plain, net = (Network.sequential((1, 4), [Listed(2, 3, padding=1, pad_value=v)], rng=0) for v in (0.0, 1.0))
    assert plain.predict(samples((1, 4))).shape == (3, 2, 4)
    message = r"listed1: expected a WindowPattern for a pad value other than 0, got ExplicitPattern 8 x 4.*; pad first"
    with pytest.raises(ShapeError, match=message):
        net.predict(samples((1, 4)))


@pytest.mark.parametrize("shape", [(4,), (3, 3), (2, 4), (3, 4, 1)])
def test_gradients_have_the_shape_of_their_output(shape):
    trace = small().run(samples())
    message = r"backward logsoftmax1: expected a gradient of shape \(3, 4\), got .*; give one value per output unit"
    with pytest.raises(ShapeError, match=message):
        trace.backward(np.ones(shape))


def test_params_and_buffers_fit_by_name_and_shape():
    net = small()
    with pytest.raises(UnknownNameError, match=r"network\.with_params: expected a known name, got 'conv1\.wieght'"):
        net.with_params({"conv1.wieght": 0})
    with pytest.raises(UnknownNameError, match=r"network\.with_params: expected a known name, got 3"):
        net.with_params({3: 0})
    with pytest.raises(ShapeError, match=r"network\.with_params: expected dense1\.bias of shape \(4,\), got \(1, 4\)"):
        net.with_params({"dense1.bias": np.zeros((1, 4))})
    bare = Network.sequential((3,), [Dense(2), Dense(2)])
    message = r"network\.with_params: expected weights for every layer, got none for dense1\.weight, dense2\.bias"
    with pytest.raises(ShapeError, match=message):
        bare.with_params({"dense1.bias": np.zeros(2)})
    centred = Network.input((2,)).add(Center(), rng=0)
    with pytest.raises(UnknownNameError, match=r"network\.with_buffers: expected a known name, got 'center1\.maen'"):
        centred.with_buffers({"center1.maen": np.zeros(2)})
    with pytest.raises(UnknownNameError, match=r"with_params: .*'center1\.mean'; give it to network\.with_buffers$"):
        centred.with_params({"center1.mean": np.zeros(2)})
    assert not centred.with_buffers({"center1.mean": np.zeros(2)}).buffers["center1.mean"].any()
    with pytest.raises(ShapeError, match=r"network\.with_buffers: expected center1\.mean of shape \(2,\), got \(3,\)"):
        centred.with_buffers({"center1.mean": np.zeros(3)})
    for wrong in (np.zeros(3), [], None):
        with pytest.raises(ShapeError, match=r"network\.with_buffers: expected a dict of arrays by name"):
            centred.with_buffers(wrong)
    assert centred.with_buffers({}) is centred


def test_a_layer_without_weights_is_named_and_the_others_keep_theirs():
    whole = Network.sequential((4,), [Dense(3)], rng=0)
    longer = whole.add(Dense(2))
    assert not longer.has_weights
    with pytest.raises(
        SimulatorError, match=r"expected weights, got none for dense2.weight, dense2.bias; build it with"
    ):
        longer.predict(np.zeros((1, 4)))
    ready = longer.with_params({"dense2.weight": np.ones((2, 3)), "dense2.bias": np.zeros(2)})
    np.testing.assert_array_equal(ready.params["dense1.weight"], whole.params["dense1.weight"])
    assert ready.predict(np.ones((1, 4))).shape == (1, 2)


def test_gradients_are_read_only_and_inputs_that_nothing_reaches_have_zeros():
    network = Network.input((2,), "a").add_input((2,), "b").add(Dense(1), "a", name="left", rng=0)
    network = network.add(Dense(1), "b", name="right", rng=0)
    gradients = network.run({"a": np.ones((1, 2)), "b": np.ones((1, 2))}).backward({"left": np.ones((1, 1))})
    assert gradients.inputs["b"].tolist() == [[0, 0]]
    assert gradients.inputs["a"].any()
    with pytest.raises(ValueError, match="read-only"):
        gradients.activations["left"][:] = 0


def test_a_pad_value_needs_a_window_pattern():
    @dataclass(frozen=True)
    class Padded(Sparse):
        pad_value: float = 1.0

    network = Network.sequential((3,), [Padded(TiedMatrix.from_sparse(scipy.sparse.eye_array(3)).pattern)], rng=0)
    with pytest.raises(ShapeError, match="padded1: expected a WindowPattern for a pad value other than 0, got Expl"):
        network.predict(np.ones((1, 3)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Network.input((1,), dtype="foo"), "network dtype: expected float32 or float64, got 'foo'"),
        (lambda: Network.input((1,), engine="scipy"), "network engine: expected an engine, got 'scipy'; write SciPyE"),
        (lambda: Network.sequential((1,), ReLU()), "network.sequential: expected a list of layers, got ReLU"),
        (lambda: Network.sequential((4,), [Dense(1)], rng="a"), "rng: expected a seed of at least 0 or a numpy Gen"),
        (lambda: Network.sequential((4,), [Dense(1)], rng=-1), "rng: expected a seed of at least 0 .*, got -1"),
        (lambda: Network.sequential((4,), [Reshape(4)]), "Reshape shape: expected a sequence of integers, got 4"),
        (
            lambda: Network.sequential((1, 4), [Conv(1, 3, table=5)]),
            "Conv table: expected a sequence of sequences of integers or None, got 5",
        ),
        (
            lambda: Network.sequential((2,), [ReLU()]).predict([[1, 2], [3]]),
            "input: expected an array of real numbers, got a ragged list; give rows of equal length",
        ),
        (lambda: small().with_params([1]), "network.with_params: expected a dict of arrays by name, got list"),
        (
            lambda: small().with_params({"dense1.bias": ["a"]}),
            "dense1.bias: expected .* real numbers, got values of type str",
        ),
        (
            lambda: small().with_params({"dense1.bias": [1j]}),
            "dense1.bias: expected .* real numbers, got values of type complex128",
        ),
    ],
)
def test_values_of_the_wrong_kind(build, message):
    with pytest.raises(ShapeError, match=message):
        build()


class Forward(FunctionLayer):
    """A layer whose forward is given by the test."""

    def __init__(self, forward):
        self.computed = forward

    def __repr__(self):
        return "Forward()"

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        return self.computed(*xs)


def overwritten(x):
    x += 1
    return x, lambda dy: ((dy,), {}), {}


@pytest.mark.parametrize(
    ("forward", "got"),
    [
        (lambda x: (x[:1], None, {}), r"an array \(2, 3, 4\), got \(1, 3, 4\)"),
        (lambda x: (None, None, {}), r"an array \(2, 3, 4\), got None"),
        (lambda x: x, r"to give \(y, pullback, buffers\), got an array \(2, 3, 4\)"),
        (overwritten, "leave its arguments alone, got ValueError: .*read-only"),
        (lambda x: 1 / 0, "leave its arguments alone, got ZeroDivisionError"),
    ],
)
def test_a_layer_that_breaks_its_contract_is_named(forward, got):
    network = Network.input((2, 3)).add(Forward(forward), name="mine")
    with pytest.raises(PluginError, match=f"mine: expected Forward.. .*({got}).*; fix the layer"):
        network.run(np.zeros((4, 2, 3)))


@pytest.mark.parametrize(
    "back",
    [
        lambda dy: ((dy, dy), {}),
        lambda dy: ((dy[:1],), {}),
        lambda dy: ((), {}),
        lambda dy: 1 / 0,
        None,
    ],
)
def test_a_pullback_with_wrong_gradients_is_named(back):
    network = Network.input((2, 3)).add(Forward(lambda x: (x, back, {})), name="mine")
    trace = network.run(np.zeros((4, 2, 3)))
    with pytest.raises(PluginError, match=r"backward mine: expected .* gradients of shapes \[\(2, 3, 4\)\], got"):
        trace.backward(np.zeros((4, 2, 3)))


def test_a_pullback_that_does_not_give_two_things_is_named():
    network = Network.input((2, 3)).add(Forward(lambda x: (x, lambda dy: dy, {})), name="mine")
    trace = network.run(np.zeros((4, 2, 3)))
    message = (
        r"backward mine: expected Forward\(\) to give \(gradients of inputs, gradients of params\), got an array \(2, "
    )
    with pytest.raises(PluginError, match=message):
        trace.backward(np.zeros((4, 2, 3)))


@dataclass(frozen=True)
class Fails(ReLU):
    """Whatever the test names raises a KeyError."""

    where: str = ""

    def init_buffers(self, *input_shapes, dtype):
        return {}["here"] if self.where == "init_buffers" else {}

    def output_shape(self, *input_shapes):
        return {}["here"] if self.where == "output_shape" else input_shapes[0]

    def counts(self, *input_shapes):
        return {}["here"] if self.where == "counts" else super().counts(*input_shapes)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("init_buffers", "mine, Fails: expected first values of its params and buffers, got KeyError: 'here'; correct"),
        ("output_shape", "mine: expected values of the right kind, got Fails.*'here'.; correct its arguments"),
        ("counts", "mine, Fails.counts: expected Counts, got KeyError: 'here'; correct"),
    ],
)
def test_a_layer_that_fails_anywhere_is_named(where, message):
    with pytest.raises((PluginError, ShapeError), match=message):
        _ = Network.input((2,)).add(Fails(where), name="mine").node("mine").node.counts


def test_a_layer_without_a_pattern_is_named():
    class NoPattern(MatrixLayer):
        def output_shape(self, *input_shapes):
            return input_shapes[0]

        def weight_shape(self, input_shape):
            return (1,)

        def pattern(self, input_shape):
            return "a matrix"

    network = Network.input((2,)).add(NoPattern(), name="mine")
    with pytest.raises(PluginError, match="mine, NoPattern.pattern: expected a Pattern, got TypeError: 'a matrix'"):
        _ = network.node("mine").pattern


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_a_pad_value_is_a_finite_number(value):
    with pytest.raises(ShapeError, match="conv1 pad_value: expected a finite number, got .*; 0 is usual"):
        Network.input((1, 4, 4)).add(Conv(1, 3, padding=1, pad_value=value))


@pytest.mark.parametrize("init", [3, None, "henry"])
def test_an_initialisation_has_a_name(init):
    with pytest.raises(ShapeError, match="Conv init: expected 'he', .* or 'zeros', got .*; write for"):
        Network.input((1, 4, 4)).add(Conv(1, 3, init=init), rng=0)


def test_a_subnetwork_may_begin_anywhere(agree):
    net = Network.input((2, 6, 6), "a", dtype=np.float64).add(Conv(2, 3, padding=1), name="first", rng=0)
    net = net.add(ReLU(), name="relu").add(Conv(2, 3, padding=1), name="second", share="first")
    net = net.add(Add(), "second", "a", name="sum").add(Dense(3), name="out", rng=1)
    x = np.random.default_rng(0).standard_normal((4, 2, 6, 6))
    whole = net.run(x)
    for cuts, needed in (
        (["relu"], {"relu", "a"}),
        (["second", "a"], {"second", "a"}),
        ("sum", {"sum"}),
        ("out", {"out"}),
    ):
        tail = net.subnetwork("out", inputs=cuts)
        assert set(tail.inputs) == needed
        assert tail.outputs == ("out",)
        agree(tail.predict({name: whole[name] for name in needed}), whole["out"])
    tail = net.subnetwork("out", inputs=["relu", "a"])
    assert set(tail.params) == {"second.weight", "second.bias", "out.weight", "out.bias"}  # it owns them now
    assert set(net.subnetwork("out", inputs="second").params) == {"out.weight", "out.bias"}
    with pytest.raises(ShapeError, match="network.subnetwork: expected inputs that relu needs, got sum; name nodes"):
        net.subnetwork("relu", inputs="sum")
    with pytest.raises(UnknownNameError, match="expected a node, got 'sun'"):
        net.subnetwork("out", inputs="sun")
