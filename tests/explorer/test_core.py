"""What the page computes is what Python computes: connections, activations, gradients, training."""

from __future__ import annotations

import numpy as np
import pytest

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
    train,
)
from simulator.explorer import check_page, payload

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
