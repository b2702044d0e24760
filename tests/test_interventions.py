"""Interventions: other values for units on the way forward, no gradient through them on the way back."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import (
    Add,
    Catalog,
    Concatenate,
    Conv,
    Dense,
    MaxPool,
    Network,
    ReLU,
    ShapeError,
    Tanh,
    UnknownNameError,
    Workspace,
)
from simulator.execution import fused

CATALOG = Catalog()
ENGINES = list(CATALOG.engines)


@pytest.fixture(scope="module")
def net():
    """A skip connection, a second input, shared weights, a node that two others read, and two outputs."""
    net = Network.input((2, 6, 6), "a", dtype=np.float64).add_input((2, 6, 6), "b")
    net = net.add(Conv(3, 3, padding=1), "a", name="left", rng=0).add(ReLU(), name="relu")
    net = net.add(Conv(3, 3, padding=1), "b", name="right", share="left").add(Tanh(), name="tanh")
    net = net.add(Add(), "relu", "tanh", name="sum").add(MaxPool(2), name="pool")
    net = net.add(CATALOG.make("batch-norm"), "sum", name="norm", rng=3).add(Concatenate(), "norm", "left", name="both")
    return net.add(Dense(3), "pool", name="first", rng=1).add(Dense(2), "both", name="second", rng=2)


def inputs(net, batch=4, seed=1):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((batch, *net.node(name).shape)) for name in net.inputs}


def by_hand(net, x, given, training=False):
    """All activations of a network without any machinery: the layers' direct formulas, node by node."""
    values = {}
    for node in net.nodes.values():
        if node.inputs:
            sources = [values[i] for i in node.inputs]
            single = Network.input(sources[0].shape[1:], "x0", dtype=np.float64)
            for k, source in enumerate(sources[1:], 1):
                single = single.add_input(source.shape[1:], f"x{k}")
            single = single.add(node.layer, *single.inputs, name="it", rng=0)
            own = net.node(node.name)
            if own.params:
                single = single.with_params({f"it.{key}": array for key, array in own.params.items()})
            if own.buffers:
                single = single.with_buffers({f"it.{key}": array for key, array in own.buffers.items()})
            values[node.name] = single.run(dict(zip(single.inputs, sources, strict=True)), training=training)[
                "it"
            ].copy()
        else:
            values[node.name] = x[node.name].copy()
        for (name, index), value in given:
            if name == node.name:
                values[name][:, *index] = value
    return values


GIVEN = {  # clamps in several places: address, what indexes the node's sample, value
    "a[1, 2, 2]": (("a", (1, 2, 2)), 3.0),
    "left[2]": (("left", (2,)), -1.0),
    "relu[0, 1, 1]": (("relu", (0, 1, 1)), np.array([1.0, -2.0, 3.0, 0.5])),
    "sum[:, 4, 5]": (("sum", (slice(None), 4, 5)), np.arange(12.0).reshape(4, 3)),
    "pool[1]": (("pool", (1,)), np.linspace(-1, 1, 9).reshape(3, 3)),
    "second[1]": (("second", (1,)), 9.0),
}
CLAMP = {address: value for address, (_, value) in GIVEN.items()}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("address", [*GIVEN, None])
def test_a_clamped_run_is_what_one_gets_by_hand(net, agree, address, training):
    chosen = [address] if address else list(GIVEN)
    x = inputs(net)
    trace = net.run(x, clamp={key: CLAMP[key] for key in chosen}, training=training, rng=0)
    expected = by_hand(net, x, [GIVEN[key] for key in chosen], training)
    for name in net.nodes:
        agree(trace[name], expected[name])


@pytest.mark.parametrize("engine", [*ENGINES, "auto"])
def test_every_engine_predicts_and_goes_back_as_a_run_does(net, agree, engine, engine_called):
    x, dy = inputs(net), {"first": np.arange(12.0).reshape(4, 3), "second": np.ones((4, 2))}
    whole = net.run(x, clamp=CLAMP, ablate=["norm[0]"])
    other = net.with_engine(engine_called(engine, threads=2))
    trace = Workspace(other).run(other, x, clamp=CLAMP, ablate=["norm[0]"], backward=True)
    predicted = other.predict(x, clamp=CLAMP, ablate=["norm[0]"])
    for name in net.outputs:
        agree(predicted[name], whole[name])
        agree(trace[name], whole[name])
    expected, got = whole.backward(dy), trace.backward(dy)
    for arrays, others in ((expected.params, got.params), (expected.inputs, got.inputs)):
        for name in arrays:
            agree(others[name], arrays[name])


@pytest.mark.parametrize("engine", [*ENGINES, "auto"])
@pytest.mark.parametrize("name", ["lenet5", "resnet20-cifar"])
@pytest.mark.parametrize("backward", [False, True])
def test_every_node_can_be_inside_of_what_an_engine_fuses(name, engine, backward, engine_called):
    network = CATALOG.build(name, (1, 12, 12), 10, 0, width=1 / 4, dtype="float64")
    other = network.with_engine(engine_called(engine, threads=1))
    chosen = other.engine.for_network(other.nodes.values(), 3, 3) if engine == "auto" else other.engine
    assert (
        not hasattr(chosen, "kernel") or len(fused(other.nodes, other.engine, other.outputs, 3)) < len(other.nodes) - 1
    )
    x, workspace = np.random.default_rng(0).standard_normal((3, 1, 12, 12)), Workspace(other)
    for node in list(network.nodes)[:: 1 if name == "lenet5" else 9]:
        clamp = {f"{node}[0]": 0.3}
        expected = network.run(x, clamp=clamp)[network.output_name]
        for got in (
            other.predict(x, clamp=clamp),
            workspace.run(other, x, clamp=clamp, backward=backward)[network.output_name],
        ):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 * np.abs(expected).max(), err_msg=node)


def test_gradients_equal_central_differences(net, agree, central_difference):
    x, dy = inputs(net), {"first": np.arange(12.0).reshape(4, 3), "second": np.ones((4, 2))}

    def loss(x=x, network=net, clamp=CLAMP):
        trace = network.run(x, clamp=clamp, training=True, rng=0)
        return sum(np.sum(trace[name] * gradient) for name, gradient in dy.items())

    def check(change, array, gradient):
        """Slopes of the loss along three random directions."""
        for _ in range(3):
            along = rng.standard_normal(np.shape(array))
            slope = central_difference(lambda t: loss(**change(array + t * along)), 0.0)  # noqa: B023
            agree(np.sum(gradient * along), slope, 1e-7)

    rng = np.random.default_rng(5)
    gradients = net.run(x, clamp=CLAMP, training=True, rng=0).backward(dy)
    for name, array in net.params.items():
        check(lambda p, name=name: {"network": net.with_params({name: p})}, array, gradients.params[name])
    for name, array in x.items():
        check(lambda p, name=name: {"x": {**x, name: p}}, array, gradients.inputs[name])
    assert not gradients.inputs["a"][:, 1, 2, 2].any()  # what was given there does not count
    for address, ((name, index), value) in GIVEN.items():  # the gradient of the value itself
        held = gradients.activations[name][:, *index]
        held = held if np.ndim(value) == held.ndim else held.sum() if np.ndim(value) == 0 else held.sum(0)
        assert np.abs(held).max() > 0
        check(lambda v, address=address: {"clamp": {**CLAMP, address: v}}, value, held)


def test_a_gradient_stops_at_what_is_clamped(net):
    x = inputs(net)
    gradients = net.run(x, ablate=["pool", "sum"]).backward({"first": np.ones((4, 3))})
    assert not any(array.any() for array in gradients.inputs.values())
    assert not gradients.params["left.weight"].any()
    assert gradients.params["first.bias"].all()
    assert gradients.activations["pool"].any()
    assert not gradients.activations["sum"].any()  # only the pooling, which was clamped, read it


def test_ablation_is_a_clamp_to_zero_and_a_channel_without_weights(net, agree):
    x = inputs(net)
    ablated = net.run(x, ablate="left[1]")
    agree(ablated["both"], net.run(x, clamp={"left[1]": 0})["both"])
    weight, bias = (net.params[f"left.{key}"].copy() for key in ("weight", "bias"))
    weight[1] = bias[1] = 0
    both = net.with_params({"left.weight": weight, "left.bias": bias}).run(x)  # its weights are shared by "right"
    shared = net.run(x, ablate=["left[1]", "right[1]"])
    for name in net.nodes:
        agree(shared[name], both[name])
    np.testing.assert_array_equal(net.run(x, ablate=["left[0]", "left[0, 1, 1]", "left"])["left"], 0)


def test_patching_a_whole_cut_gives_the_output_of_the_other_input(net):
    x, other = inputs(net), inputs(net, seed=2)
    expected = net.run(other)
    for cut in (["left", "tanh"], ["a", "b"], ["relu", "left", "right"], ["both", "pool"]):
        for source in (other, expected):
            patched = net.run(x, patch=dict.fromkeys(cut, source))
            for name in net.outputs:
                np.testing.assert_array_equal(patched[name], expected[name])
    assert not np.array_equal(net.run(x, patch={"left": other})["second"], expected["second"])


def test_one_sample_is_patched_into_all(net):
    x, other = inputs(net), inputs(net, batch=1, seed=2)
    patched, source = net.run(x, patch={"relu[1]": other, "sum[:, 2, 3]": other}), net.run(other)
    for k in range(4):
        np.testing.assert_array_equal(patched["relu"][k, 1], source["relu"][0, 1])
        np.testing.assert_array_equal(patched["sum"][k, :, 2, 3], source["sum"][0, :, 2, 3])
    np.testing.assert_array_equal(patched["relu"][:, 0], net.run(x)["relu"][:, 0])
    single = {name: array[:1] for name, array in x.items()}
    one, two = net.predict(single, patch={"relu": other}), net.predict(other, patch={"tanh": single})
    np.testing.assert_array_equal(one["first"], two["first"])


@pytest.mark.parametrize("engine", ENGINES)
def test_probes(net, engine, engine_called):
    x, other = inputs(net), net.with_engine(engine_called(engine))
    addresses = ["left[1, 2, 3]", "sum[2]", "sum[:,4,5]", "b", ("pool", 3), "second"]
    keys = ["left[1, 2, 3]", "sum[2]", "sum[:,4,5]", "b", "pool[0, 1, 0]", "second"]
    trace = net.run(x, probe=addresses, clamp=CLAMP)
    assert list(trace.probes) == keys
    probed = other.probe(x, addresses, clamp=CLAMP)
    for key, index in zip(keys, [(1, 2, 3), (2,), (slice(None), 4, 5), (), (0, 1, 0), ()], strict=True):
        expected = trace[key.partition("[")[0]][:, *index]
        np.testing.assert_array_equal(trace.probes[key], expected)
        np.testing.assert_allclose(probed[key], expected, rtol=1e-12, atol=1e-12)
        assert probed[key].flags.owndata
    assert net.probe(x, "a[0]", ablate="second[0]")["a[0]"].shape == (4, 6, 6)  # one address; a clamp behind it
    assert net.run(x).probes == {}


def test_probing_needs_little_memory():
    network = CATALOG.build("vgg16", rng=None)
    part = network.subnetwork("conv1_2")
    assert part.activation_bytes(1) < network.activation_bytes(1, keep_all=True) / 2


def test_nothing_that_others_hold_is_changed(net):
    x = inputs(net)
    before, value = {name: array.copy() for name, array in x.items()}, np.ones((3, 6, 6))
    plain = net.run(x)
    kept = {name: array.copy() for name, array in plain.activations.items()}
    dy = np.ones((4, 3))
    trace = net.run(x, clamp={"left": value, "a[0]": 2.0}, patch={"relu[1]": plain})
    value[...] = 7
    np.testing.assert_array_equal(trace["left"], 1)
    first, second = (trace.backward({"first": dy}) for _ in range(2))
    for name in net.params:
        np.testing.assert_array_equal(first.params[name], second.params[name])
    for name in x:
        np.testing.assert_array_equal(x[name], before[name])
        np.testing.assert_array_equal(first.inputs[name], second.inputs[name])
    for name, array in kept.items():
        np.testing.assert_array_equal(plain[name], array)
    np.testing.assert_array_equal(dy, 1)
    with pytest.raises(ValueError, match="read-only"):
        trace["left"][...] = 0


def test_a_flattened_view_is_not_changed_through():
    network = Network.sequential((2, 3), [ReLU(), CATALOG.make("flatten"), Dense(1)], rng=0, dtype=np.float64)
    x = np.random.default_rng(0).random((2, 2, 3))
    trace = network.run(x, ablate="flatten1[0]")
    np.testing.assert_array_equal(trace["relu1"], x)
    assert not trace["flatten1"][:, 0].any()


def test_a_batch_of_none(net):
    x = inputs(net, batch=0)
    assert net.predict(x, clamp={"left[1]": 3.0}, patch={"relu": inputs(net, batch=1)})["first"].shape == (0, 3)


def test_plans_are_made_once_for_each_place():
    class Counting(CATALOG.engines["scipy"]):
        asked = 0

        def kernel(self, nodes, batch):
            self.asked += 1

    network = Network.sequential((4,), [Dense(3), ReLU(), Dense(2)], rng=0, engine=Counting())
    workspace = Workspace(network)
    for value in range(5):
        workspace.run(network, np.ones((2, 4)), clamp={"dense1[0]": value})
    assert network.engine.asked == 2 * 3  # about each node once for the estimate of memory, and once for all runs


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"clamp": {"lef[1]": 0}}, UnknownNameError, "network: expected a node, got 'lef'; did you mean 'left'?"),
        ({"clamp": {"left[3]": 0}}, ShapeError, r"unit left\[3\]: expected a position .* within \(3, 6, 6\)"),
        ({"ablate": [3]}, ShapeError, "unit: expected an address, got 3"),
        ({"ablate": 3}, ShapeError, "unit: expected an address, got 3"),
        ({"probe": "left["}, ShapeError, r"unit: expected an address, got 'left\['"),
        ({"clamp": ["left[1]"]}, ShapeError, r"^clamp: expected a dict by address, got list; write .*: 0.0}$"),
        ({"patch": "left[1]"}, ShapeError, r"^patch: expected a dict by address, got str; write .*: x}$"),
        ({"clamp": {"left[1]": "zero"}}, ShapeError, r"^clamp left\[1\]: expected .* numbers, got values of type str"),
        ({"clamp": {"left[1]": [[1], 2]}}, ShapeError, r"^clamp left\[1\]: expected .* got a ragged list; give"),
        ({"clamp": {"left[1]": None}}, ShapeError, r"^clamp left\[1\]: expected .* numbers, got values of type object"),
        (
            {"clamp": {"left[1]": np.zeros((3, 6, 6))}},
            ShapeError,
            r"^clamp left\[1\]: expected a number or an array \(6, 6\) or \(4, 6, 6\), got \(3, 6, 6\); give one",
        ),
        ({"clamp": {"pool[1, 0, 0]": [0.0, 1.0]}}, ShapeError, r"expected a number or an array \(4,\), got \(2,\)"),
        ({"clamp": {"left[1]": np.nan}}, ShapeError, r"^clamp left\[1\]: expected finite numbers, got NaN or inf"),
        ({"clamp": {"left": 0, "left[1]": 1}}, ShapeError, r"^clamp left\[1\]: .* one value, got some that clamp left"),
        ({"clamp": {"left[:, 2, 2]": 0, "left[1]": np.zeros((6, 6))}}, ShapeError, r"left\[1\]: .* clamp left\[:"),
        ({"clamp": {"left[1]": 2}, "ablate": ["left[0]", "left[1, 5, 5]"]}, ShapeError, r"^ablate left\[1, 5, 5\]: "),
    ],
)  # fmt: skip
def test_misfits(net, arguments, error, message):
    x = inputs(net)
    with pytest.raises(error, match=message):
        net.run(x, **arguments)
    arguments = {**arguments, "addresses": arguments.get("probe", "left")}
    arguments.pop("probe", None)
    with pytest.raises(error, match=message):
        net.probe(x, **arguments)


def test_patches_that_do_not_fit(net):
    x = inputs(net)
    with pytest.raises(ShapeError, match=r"^patch left: expected a number or an array .*, got \(3, 3, 6, 6\)"):
        net.run(x, patch={"left": inputs(net, batch=3)})
    with pytest.raises(ShapeError, match=r"network.run: expected the inputs a, b, got 'a'; give"):
        net.run(x, patch={"left": {"a": x["a"]}})
    with pytest.raises(
        ShapeError, match=r"^patch left: .* one value, got some that clamp left\[1\] gives another; leave"
    ):
        net.run(x, clamp={"left[1]": 1.0}, patch={"left": x})
    stranger = Network.input((2, 4, 4), "a").add(Conv(3, 3, padding=1), name="left", rng=0).run(np.zeros((4, 2, 4, 4)))
    with pytest.raises(
        ShapeError, match=r"^patch left\[1\]: expected a trace with left of shape \(3, 6, 6\), got \(3, 4"
    ):
        net.run(x, patch={"left[1]": stranger})
    with pytest.raises(UnknownNameError, match="expected a node, got 'sum'"):
        net.run(x, patch={"sum": stranger})


def test_single_precision_has_its_limits():
    network = Network.sequential((4,), [Dense(3)], rng=0)
    with pytest.raises(ShapeError, match=r"clamp dense1: expected finite numbers"):
        network.run(np.ones((1, 4)), clamp={"dense1": 1e300})
