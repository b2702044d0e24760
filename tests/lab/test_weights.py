"""One shared weight: all its connections, and its gradient as the sum over them, against training and differences."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import (
    Add,
    AveragePool,
    Catalog,
    Conv,
    ConvTranspose,
    CrossEntropy,
    Dense,
    ExplicitPattern,
    LocallyConnected,
    Network,
    ReLU,
    ShapeError,
    Sparse,
    SquaredError,
    Subsample,
    Tanh,
    UnknownNameError,
)
from simulator.lab import edited, gradient_of, incoming, uses

REPEATED = ExplicitPattern([0, 0, 1, 2, 2], [1, 1, 0, 3, 1], [0, 1, 1, 0, 0], shape=(3, 8))
LAYERS = [
    Conv(2, 3, padding=1, stride=2),
    Conv(4, 2, groups=2, padding=1, pad_value=-1.5, bias="unit"),
    Conv(2, 3, table=((0, 1), (1,)), padding=2, padding_mode="circular"),
    ConvTranspose(2, 3, stride=2),
    LocallyConnected(2, 2, padding=1, pad_value=0.5),
    Subsample(2),
    Dense(3),
    Sparse(REPEATED),
]


@pytest.fixture(params=LAYERS, ids=repr)
def network(request):
    """One layer of each kind between others, random biases everywhere."""
    network = Network.input((2, 2, 2), dtype=np.float64).add(Tanh())
    return randomised(network.add(request.param, name="it").add(Tanh()).add(Dense(3)))


def randomised(network, seed=0):
    rng = np.random.default_rng(seed)
    return network.with_params({name: rng.standard_normal(shape) for name, shape in network.param_shapes.items()})


def addresses(network, node):
    for name, shape in network.param_shapes.items():
        if name.startswith(f"{node}."):
            yield from (f"{name}[{', '.join(map(str, index))}]" for index in np.ndindex(shape))


def test_uses_are_the_connections_that_units_read(network):
    """What all weights are used for is what all units read, once each."""
    trace = network.run(np.ones((1, 2, 2, 2)))
    units = [incoming(network, ("it", unit), trace) for unit in range(np.prod(network.node("it").shape))]
    read = [c for u in units for c in (*u.connections, *filter(None, [u.bias]))]
    found = [c for address in addresses(network, "it") for c in uses(network, address).connections]

    def named(connections):
        return sorted((str(c.source), str(c.target), str(c.weight), c.value) for c in connections)

    assert named(found) == named(read)


def test_a_gradient_is_a_sum_over_connections(network):
    x = np.random.default_rng(1).normal(size=(4, 2, 2, 2))
    labels = [0, 2, 1, 1]
    trace = network.run(x)
    expected = trace.backward(CrossEntropy().grad(trace[network.output_name], np.array(labels))).params
    for address in addresses(network, "it"):
        found = gradient_of(network, address, x, labels)
        name, index = found.weight.name, found.weight.index
        scale = np.abs(expected[name]).max()
        assert found.trained == expected[name][index]
        assert abs(found.total - found.trained) <= 1e-12 * scale
        assert abs(found.terms.sum() - found.trained) <= 1e-12 * scale
        assert found.products.shape == (len(uses(network, address).connections), 4)
        assert np.all(np.diff(np.abs(found.terms)) <= 0)
        assert {repr(c) for c in found.connections} == {repr(c) for c in uses(network, address).connections}


def test_each_term_is_the_gradient_of_an_untied_copy(agree):
    """Give every connection a weight of its own: their gradients are the terms."""
    network = randomised(Network.sequential((1, 4, 4), [Conv(2, 3, padding=1), ReLU(), Dense(3)], dtype=np.float64))
    matrix = network.node("conv1").matrix.untied()
    untied = Network.input((1, 4, 4), dtype=np.float64).add(Sparse(matrix.pattern, bias=False))
    bias = np.repeat(network.params["conv1.bias"], 16)
    x = np.random.default_rng(1).normal(size=(3, 1, 4, 4))
    loss, target = SquaredError(), np.ones((3, 3))
    trace = network.run(x)
    dy = trace.backward(loss.grad(trace["dense1"], target)).activations["conv1"].reshape(3, -1)
    untied = untied.with_params({"sparse1.weight": matrix.weight})
    agree(untied.predict(x) + bias, trace["conv1"].reshape(3, -1))
    each = untied.run(x).backward(dy).params["sparse1.weight"]
    rows, cols, _ = matrix.pattern.triplets()
    found = gradient_of(network, "conv1.weight[1, 0, 2, 0]", x, target, loss)
    place = {(row, col): k for k, (row, col) in enumerate(zip(rows.tolist(), cols.tolist(), strict=True))}
    numbers = [
        place[np.ravel_multi_index(c.target.index, c.target.shape), np.ravel_multi_index(c.source.index, (1, 4, 4))]
        for c in found.connections
    ]
    agree(found.terms, each[numbers])


def shared():
    network = Network.input((1, 4, 4), dtype=np.float64).add(Conv(1, 3, padding=1, pad_value=0.5), name="a")
    network = network.add(Conv(1, 3, padding=1, pad_value=0.5), name="b", share="a").add(ReLU())
    network = network.add(Conv(1, 3, padding=1, pad_value=0.5), "b", name="aside", share="b")
    return randomised(network.add(Add(), "relu1", "a").add(Dense(2)))


def test_a_weight_that_several_nodes_share(central_difference):
    network, x = shared(), np.random.default_rng(0).normal(size=(2, 1, 4, 4))
    found = uses(network, "b.weight[0, 0, 0, 1]")
    assert str(found.weight) == "a.weight[0, 0, 0, 1]"
    assert repr(found) == f"Uses of a.weight[0, 0, 0, 1] = {found.value:.6g}: 48 connections in a and aside and b"
    assert sum(c.source is None for c in found.connections) == 12  # the upper row of each reads the padding
    assert {c.input for c in found.connections if c.source is None} == {0.5}
    heads = network.subnetwork("dense1")
    gradient = gradient_of(heads, "b.weight[0, 0, 0, 1]", x, [1, 0])
    assert len(gradient.connections) == 32

    def loss(value):
        return CrossEntropy().value(edited(heads, "a.weight[0, 0, 0, 1]", float(value)).predict(x), np.array([1, 0]))

    assert gradient.total == pytest.approx(central_difference(loss, found.value), rel=1e-7)
    assert repr(gradient) == (
        f"WeightGradient of a.weight[0, 0, 0, 1]: 32 connections in a and b add up to {gradient.total:.6g}; the "
        f"trained gradient is {gradient.trained:.6g}"
    )


def test_connections_that_the_loss_does_not_see_have_terms_of_zero():
    network = Network.input((2,), dtype=np.float64).add(Dense(2), name="a", rng=0)
    network = network.add(Dense(2), "input", name="b", share="a").subnetwork(["b"])
    network = network.add(Dense(2), "input", name="c", share="b")
    network = network._replace(outputs=("b",))
    gradient = gradient_of(network, "c.weight[0, 1]", np.ones((3, 2)), [0, 1, 1])
    assert [bool(term) for term in gradient.terms] == [True, False]
    assert gradient.total == pytest.approx(gradient.trained, rel=1e-12)


def test_a_weight_that_no_window_reaches_has_no_uses():
    network = Network.sequential((1, 2), [Conv(1, 5, padding=2)], rng=0)
    found = uses(network, "conv1.weight[0, 0, 0]")
    assert found.connections == ()
    assert repr(found).endswith(": no connection")
    gradient = gradient_of(network.add(Dense(2), rng=0), "conv1.weight[0, 0, 0]", np.ones((1, 1, 2)), [0])
    assert (gradient.total, gradient.trained, gradient.products.shape) == (0, 0, (0, 1))


def test_without_weights_uses_have_no_value():
    found = uses(Network.sequential((1, 4), [Conv(2, 3)]), "conv1.weight[1, 0, 2]")
    assert repr(found) == "Uses of conv1.weight[1, 0, 2]: 2 connections in conv1"
    assert (found.value, found.connections[0].value) == (None, None)


def test_an_edited_weight_changes_all_its_cells_and_nothing_else():
    network = shared()
    new = edited(network, "a.weight[0, 0, 2, 2]", 3)
    for name in ("a", "b", "aside"):
        changed = (new.node(name).matrix.tocsr() - network.node(name).matrix.tocsr()).tocoo()
        cells = {(row, col) for row, col, v in zip(*changed.coords, changed.data, strict=True) if v}
        used = [c for c in uses(network, "a.weight[0, 0, 2, 2]").connections if c.target.node == name and c.source]
        assert cells == {tuple(np.ravel_multi_index(u.index, u.shape) for u in (c.target, c.source)) for c in used}
    kept = [name for name in network.params if name != "a.weight"]
    assert all(new.params[name] is network.params[name] for name in kept)
    assert np.count_nonzero(new.params["a.weight"] != network.params["a.weight"]) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e40, "3", None, True])
def test_a_value_that_no_weight_can_have(value):
    network = Network.sequential((1, 4), [Conv(2, 3)], rng=0)
    with pytest.raises(ShapeError, match=r"conv1.weight\[1, 0, 2\]: expected a finite float32 number, got "):
        edited(network, "conv1.weight[1, 0, 2]", value)


def test_weights_of_layers_that_are_no_matrix():
    network = Network.sequential((2, 4), [Catalog().make("batch-norm"), AveragePool(2), Dense(2)], rng=0)
    message = r"expected a weight or bias of a layer that is one matrix, got one of BatchNorm\(.*; choose one of a conv"
    with pytest.raises(ShapeError, match=f"uses batchnorm1.weight.0.: {message}"):
        uses(network, "batchnorm1.weight[0]")
    with pytest.raises(ShapeError, match=f"gradient batchnorm1.bias.0.: {message}"):
        gradient_of(network, "batchnorm1.bias[0]", np.ones((1, 2, 4)), [0])
    with pytest.raises(UnknownNameError, match="expected one of the arrays of averagepool1, got 'weight'; there are n"):
        uses(network, "averagepool1.weight[0]")


def test_no_sample_gives_no_gradient():
    network = Network.sequential((1, 4), [Conv(2, 3), Dense(2)], rng=0)
    found = gradient_of(network, "conv1.weight[0, 0, 1]", np.zeros((0, 1, 4)), np.zeros((0, 2)), SquaredError())
    assert (found.products.shape, found.total, found.trained) == ((2, 0), 0, 0)


def test_what_has_no_gradient():
    network = Network.sequential((2,), [Dense(2)], rng=0)
    with pytest.raises(ShapeError, match="cross-entropy: expected logits"):
        gradient_of(network, "dense1.weight[0, 0]", np.ones((2, 2)), [0])
    with pytest.raises(ShapeError, match=r"gradient dense1.weight.* loss: expected a loss, got 'hinge'; write Cross"):
        gradient_of(network, "dense1.weight[0, 0]", np.ones((2, 2)), [0, 1], "hinge")
    two = network.add(Dense(2), "input", rng=0)
    with pytest.raises(ShapeError, match="expected one output, got 2"):
        gradient_of(two, "dense1.weight[0, 0]", np.ones((2, 2)), [0, 1])


def test_a_batch_whose_products_do_not_fit(monkeypatch):
    network = Network.sequential((1, 100, 100), [Conv(1, 1), AveragePool(100), Dense(2)], rng=0)
    monkeypatch.setattr("simulator.lab.weights.check_memory", check := Refusal())
    with pytest.raises(ShapeError, match="full"):
        gradient_of(network, "conv1.weight[0, 0, 0, 0]", np.ones((3, 1, 100, 100)), [0, 1, 1])
    assert check.asked == (16 * 10_000 * 3, "gradient conv1.weight[0, 0, 0, 0], 10,000 uses")


class Refusal:
    """In place of `check_memory`: remembers what was asked for, and refuses it."""

    def __call__(self, need, who, cure):
        self.asked = need, who
        raise ShapeError("full")
