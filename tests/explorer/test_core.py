"""What the page computes is what Python computes: connections, activations, gradients, training."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from simulator import (
    SGD,
    Add,
    Catalog,
    Concatenate,
    Conv,
    ConvTranspose,
    CrossEntropy,
    Dataset,
    Dense,
    ExplicitPattern,
    Flatten,
    LeakyReLU,
    LocallyConnected,
    MaxPool,
    Network,
    ReLU,
    ShapeError,
    Sparse,
    TiedMatrix,
    train,
)
from simulator.explorer import check_page, payload
from simulator.lab import affine, gradient_of, paths

MAKE = Catalog().make
RNG = np.random.default_rng(0)
LAYERS = [
    (Conv(2, 3), (1, 6, 5)),
    (Conv(4, (2, 3), stride=2, padding=1, dilation=(1, 2), groups=2), (2, 7, 8)),
    (Conv(2, 3, padding=1, padding_mode="circular", bias="unit"), (1, 5, 5)),
    (Conv(2, 3, padding="same", padding_mode="reflect"), (1, 5, 6)),
    (Conv(3, 3, padding=1), (2, 9)),
    (Conv(2, 2), (1, 3, 3, 3)),
    (Conv(2, 3, table=[[0, 2], [1]]), (3, 5, 5)),
    (ConvTranspose(2, 3, stride=2), (2, 3, 4)),
    (LocallyConnected(2, 2), (1, 4, 4)),
    (Dense(3), (2, 3, 2)),
    (Sparse(ExplicitPattern([0, 1, 1, 0], [2, 0, 0, 1], [1, 0, 1, 1], shape=(2, 4))), (4,)),
    (MAKE("average-pool", 2), (2, 4, 4)),
    (MAKE("upsample", 2), (1, 3, 3)),
    (MAKE("transpose", (0, 2, 1)), (2, 3, 4)),
]


def branched():
    net = Network.input((2, 6, 6)).add(Conv(3, 3, padding=1), name="a", rng=0).add(LeakyReLU(0.1), name="b")
    net = net.add(Conv(3, 3, padding=1), "input", name="c", rng=1).add(Add(), "b", "c", name="sum")
    net = net.add(Concatenate(), "sum", "a", name="both").add(MaxPool(2), name="pool").add(Flatten(), name="flat")
    return net.add(Dense(4), name="logits", rng=2).with_dtype(np.float64)


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: repr(value)[:50])
def test_connections_and_activations(core, layer, shape):
    net = Network.sequential(shape, [layer], rng=0, dtype="float64")
    x = RNG.standard_normal((2, *shape))
    node = net.nodes[net.last]
    rows, cols, ties = node.pattern.triplets()
    js = "{start: net.nodes[1].matrix.start, cols: net.nodes[1].matrix.cols, ties: net.nodes[1].matrix.ties, "
    js += "y: [0, 1].map((k) => core.forward(net, core.sample(net, k), k).found.get(net.output))}"
    found = core(js, payload(net, x))
    per_row = [
        (np.repeat(np.arange(node.pattern.shape[0]), np.diff(found["start"])), found["cols"], found["ties"]),
        (rows, cols, ties),
    ]
    ours, theirs = (sorted(zip(*map(np.ndarray.tolist, map(np.asarray, each)), strict=True)) for each in per_row)
    assert ours == theirs
    np.testing.assert_allclose(np.array(found["y"]).reshape(2, *node.shape), net.predict(x), rtol=1e-12, atol=1e-12)


def test_branches_gradients_and_steps_of_training(core):
    net = branched()
    data = Dataset(RNG.standard_normal((8, 2, 6, 6)), np.arange(8) % 4)
    told = payload(net, data.inputs, labels=[str(k) for k in data.labels], classes=[*"0123"])
    js = """{
      trainable: core.trainable(net),
      one: (() => {
        const run = core.forward(net, core.sample(net, 0)), dy = Float64Array.of(1, -2, 0.5, 3);
        const { grads, sums } = core.backward(net, run, dy);
        return { all: Object.fromEntries(run.found), grads: Object.fromEntries(grads), sums: Object.fromEntries(sums) };
      })(),
      losses: Array.from({ length: 10 }, () => core.step(net, EIGHT, LABELS, 0.1).loss),
      weights: Object.fromEntries(net.nodes.filter((n) => n.weight).map((n) => [n.name, n.weight])),
    }"""
    js = js.replace("EIGHT", str([*range(8)])).replace("LABELS", str(data.labels.tolist()))
    found = core(js, told)
    assert found["trainable"]
    trace = net.run(data.inputs[:1])
    gradients = trace.backward(np.array([[1, -2, 0.5, 3]]))
    for name, values in found["one"]["all"].items():
        np.testing.assert_allclose(values, trace[name].ravel(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        found["one"]["grads"]["input"], gradients.inputs["input"].ravel(), rtol=1e-10, atol=1e-12
    )
    for name, sums in found["one"]["sums"].items():
        for kind in ("weight", "bias"):
            np.testing.assert_allclose(sums[kind], gradients.params[f"{name}.{kind}"].ravel(), rtol=1e-10, atol=1e-12)
    epochs = [*train(net, data, epochs=10, batch_size=8, optimizer=SGD(0.1), losses=CrossEntropy())]
    np.testing.assert_allclose(found["losses"], [epoch.loss for epoch in epochs], rtol=1e-9)
    for name, weight in found["weights"].items():
        if f"{name}.weight" in net.params:
            np.testing.assert_allclose(weight, epochs[-1].network.params[f"{name}.weight"].ravel(), rtol=1e-8)


def test_a_layer_that_the_page_does_not_know_is_shown_as_python_computed_it(core):
    net = Network.sequential((1, 4, 4), [Conv(2, 3), MAKE("tanh"), Dense(3)], rng=0, dtype="float64")
    x = RNG.standard_normal((2, 1, 4, 4))
    js = "{y: core.forward(net, core.sample(net, 1), 1).found.get(net.output), trainable: core.trainable(net)}"
    found = core(js, payload(net, x))
    np.testing.assert_allclose(found["y"], net.predict(x)[1], rtol=1e-12)
    assert not found["trainable"]


def test_every_use_of_every_weight_of_lenet5(core):
    net = Catalog().build("lenet5", rng=0)
    js = "net.nodes.filter((n) => n.trained).map(({ name, matrix: { uses: u } }) => [name, u.start, u.rows, u.cols])"
    for name, start, rows, cols in core(js, payload(net, np.zeros((1, 1, 28, 28)))):
        pattern = net.nodes[name].pattern
        for tie in range(0, pattern.n_ties, 1 if pattern.n_ties < 3000 else 997):
            ours = sorted(zip(rows[start[tie] : start[tie + 1]], cols[start[tie] : start[tie + 1]], strict=True))
            assert ours == sorted(zip(*(each.tolist() for each in pattern.sharing(tie)), strict=True))


@pytest.mark.parametrize(("layer", "shape"), [LAYERS[k] for k in (0, 1, 4, 6, 7)], ids=lambda value: repr(value)[:50])
def test_sharing_is_loosened_and_tightened_as_python_does(core, layer, shape):
    net = Network.sequential(shape, [layer], rng=0, dtype="float64")
    x, node = RNG.standard_normal((1, *shape)), net.node(net.last)
    js = """["untied", "dense", "shared"].map((how) => {
      const node = net.nodes[1];
      core.share(node, how);
      const y = core.forward(net, core.sample(net, 0)).found.get(net.output);
      if (how === "dense") node.weight.forEach((w, k) => { node.weight[k] = w + Math.sin(k); });
      return { weight: node.weight, y, start: node.matrix.start, cols: node.matrix.cols, shape: node.weight_shape };
    })"""
    untied, dense, shared = core(js, payload(net, x))
    matrix = node.matrix
    assert untied["shape"] == [matrix.nnz]
    assert dense["shape"] == list(matrix.shape)
    per_row = scipy.sparse.csr_array((untied["weight"], untied["cols"], untied["start"]), shape=matrix.shape)
    np.testing.assert_array_equal(per_row.toarray(), matrix.untied().tocsr().toarray())
    for each in (untied, dense):
        np.testing.assert_allclose(each["y"], net.predict(x).ravel(), rtol=1e-12, atol=1e-12)
    moved = matrix.densified().weight + np.sin(np.arange(matrix.shape[0] * matrix.shape[1])).reshape(matrix.shape)
    np.testing.assert_allclose(dense["weight"], moved.ravel(), rtol=1e-12, atol=1e-12)
    expected = TiedMatrix(matrix.densified().pattern, moved).retied(matrix.pattern).weight
    np.testing.assert_allclose(shared["weight"], expected.ravel(), rtol=1e-10, atol=1e-12)


def test_paths_and_the_whole_network_as_one_matrix(core):
    net, x = branched(), RNG.standard_normal((1, 2, 6, 6))
    js = """{
      back: core.paths(net, "both", 40).get("input"), on: core.paths(net, "a", 7, false).get("logits"),
      row: core.oneRow(net, core.forward(net, core.sample(net, 0)), 2),
      sum: (() => {
        const run = core.forward(net, core.sample(net, 0)), { sums, loss } = core.gradients(net, run, 1);
        return { weight: sums.get("a").weight, loss };
      })(),
      chosen: core.forward(net, core.sample(net, 0)).chosen.get("pool"),
    }"""
    found = core(js, payload(net, x))
    np.testing.assert_array_equal(found["back"], paths(net, ("both", 40)).ravel())
    ways = [paths(net, ("logits", k), of="a").ravel()[7] for k in range(4)]
    np.testing.assert_array_equal(found["on"], ways)
    one = affine(net, x[0])
    np.testing.assert_allclose(found["row"]["row"], one.A.toarray()[2], rtol=1e-10, atol=1e-12)
    assert found["row"]["b"] == pytest.approx(one.b[2], rel=1e-10)
    assert found["row"]["y"] == pytest.approx(net.predict(x)[0, 2], rel=1e-10)
    whole = gradient_of(net, "a.weight[1, 1, 2, 0]", x, np.array([1]))
    assert found["sum"]["weight"][np.ravel_multi_index((1, 1, 2, 0), (3, 2, 3, 3))] == pytest.approx(whole.total)
    logits = net.predict(x)[0]
    assert found["sum"]["loss"] == pytest.approx(np.log(np.exp(logits).sum()) - logits[1])
    trace = net.run(x)
    (chosen,), _ = MaxPool(2).affine_at({}, {}, trace["both"][0])
    np.testing.assert_array_equal(found["chosen"], chosen.tocsr().indices)


def test_where_the_page_does_not_know_how_a_layer_connects_it_says_nothing_of_fields(core):
    net = Network.sequential((1, 4, 4), [Conv(2, 3), MAKE("tanh"), Dense(3)], rng=0, dtype="float64")
    told = payload(net, RNG.standard_normal((1, 1, 4, 4)))
    np.testing.assert_array_equal(
        core("core.paths(net, 'dense1', 0).get('input')", told), paths(net, "dense1[0]").ravel()
    )
    del told["nodes"][2]["pattern"]
    assert core("core.paths(net, 'dense1', 0)", told) is None


def test_networks_that_are_too_large_are_refused_and_what_the_error_says_to_do_works():
    large = Catalog().build("lenet5", (1, 99, 99))
    message = (
        r"explore: expected at most 3,000,000 connections in all, got .*, most of them in conv2; build the network"
    )
    with pytest.raises(ShapeError, match=message):
        check_page(large)
    check_page(Catalog().build("lenet5", (1, 28, 28)))
    check_page(Catalog().build("lenet5", (1, 60, 60), width=0.25))
    two = Network.input((2,)).add(ReLU(), name="a").add(ReLU(), "input", name="b")
    with pytest.raises(ShapeError, match="expected one output"):
        check_page(two)
