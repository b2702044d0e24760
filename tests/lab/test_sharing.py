"""Sharing on whole networks: loosened without a change of the function, tightened to least squares, saved, trained."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import (
    SGD,
    Add,
    Catalog,
    Conv,
    ConvTranspose,
    Dataset,
    Dense,
    ExplicitPattern,
    Flatten,
    LocallyConnected,
    MaxPool,
    Network,
    ReLU,
    ShapeError,
    SimulatorError,
    Sparse,
    Subsample,
    Tanh,
    UnknownNameError,
    load,
    save,
    train,
)
from simulator.lab import densify, off_pattern, retie, tie_variance, untie

CATALOG = Catalog()
TABLE = ((0, 2), (1,), (2, 1, 0))
ANY = ExplicitPattern([3, 0, 3, 3, 1, 5], [1, 3, 1, 0, 2, 3], [0, 2, 1, 0, 1, 2], shape=(6, 4))  # a repeated cell

LAYERS = [
    (Conv(2, 3), (1, 5)),
    (Conv(2, 3, padding=1, bias=False), (2, 5, 4)),
    (Conv(4, 3, padding=[(0, 2), (1, 0)], groups=2, bias="unit"), (4, 4, 5)),
    (Conv(3, (2, 3), stride=(2, 1), dilation=(1, 2), padding=(1, 2), flip=True), (2, 5, 6)),
    (Conv(3, 3, table=TABLE, padding=1, pad_value=2.0), (3, 3, 3)),
    (Conv(4, 2, groups=2, padding=1, pad_value=-1.5, bias=False), (2, 3, 3)),
    (Conv(2, 4, padding="same_lower", pad_value=0.5, bias="unit"), (1, 5, 5)),
    (Conv(2, 3, padding=2, padding_mode="circular"), (1, 2, 3)),
    (Conv(2, 3, padding=2, padding_mode="reflect"), (2, 3, 4)),
    (Conv(2, 3, padding=(1, 3), padding_mode="replicate", stride=2), (1, 2, 3)),
    (Conv(2, (1, 2, 3), dilation=(1, 2, 1), padding=1, pad_value=1.0), (1, 2, 3, 3)),
    (ConvTranspose(2, 3, stride=2, padding=1, output_padding=1), (3, 3, 3)),
    (ConvTranspose(4, (2, 3), stride=(3, 1), dilation=2, groups=2, bias="unit"), (2, 2, 3)),
    (LocallyConnected(2, 3, padding=1, bias=True), (1, 4, 4)),
    (LocallyConnected(4, 2, groups=2, padding=1, pad_value=0.5), (2, 3, 3)),
    (Subsample(2), (3, 4, 6)),
    (Subsample(3, stride=2, padding=1, ceil=True, bias="unit"), (2, 4, 5)),
    (Dense(4), (2, 3, 2)),
    (Dense((2, 3), bias=False), (4,)),
    (Sparse(ANY, (2, 3), bias=True), (2, 2)),
    (Sparse(ANY.T, bias="unit"), (6,)),
    (CATALOG.make("depthwise-conv", 2, multiplier=3, stride=2, padding=1, pad_value=-0.5), (2, 4, 5)),
]


def drawn(network, rng=0):
    """The network with random weights, biases and buffers."""
    rng = np.random.default_rng(rng)
    network = network.with_params({key: rng.standard_normal(shape) for key, shape in network.param_shapes.items()})
    return network.with_buffers({key: 0.5 + rng.random(array.shape) for key, array in network.buffers.items()})


def alone(layer, shape):
    return drawn(Network.sequential(shape, [layer], dtype="float64"))


def samples(network, count=4):
    return np.random.default_rng(1).standard_normal((count, *network.input_shape))


def test_the_table_holds_every_trained_matrix_of_the_catalog():
    kinds = {type(example[0]) for entry in CATALOG.layers.entries.values() for example in entry.examples}
    trained = {kind for kind in kinds if getattr(kind, "trained", False)}
    assert trained == {type(layer) for layer, _ in LAYERS}


@pytest.mark.parametrize("loosen", [untie, densify])
@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
def test_loosening_keeps_the_function(layer, shape, loosen, agree):
    network = alone(layer, shape)
    loose, x = loosen(network), samples(network)
    agree(loose.predict(x), network.predict(x))
    (name,) = loose.outputs
    assert (list(loose.nodes), loose.outputs, loose.dtype) == (list(network.nodes), network.outputs, network.dtype)
    assert loose.nodes[name].shape == network.nodes[name].shape
    pattern, weights = loose.node(name).pattern, loose.params[f"{name}.weight"].size
    assert weights == pattern.n_ties == pattern.nnz  # nothing is shared, nothing unused
    full = loosen is densify or isinstance(layer, Dense)
    assert weights == (pattern.shape[0] * pattern.shape[1] if full else network.node(name).pattern.nnz)
    if "bias" in loose.params or f"{name}.bias" in loose.params:
        assert loose.params[f"{name}.bias"].shape == network.nodes[name].shape
    assert (f"{name}.bias" in loose.params) == bool(layer.bias or layer.pad_value)


@pytest.mark.parametrize("loosen", [untie, densify])
@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
def test_retying_what_was_only_loosened_gives_the_function_back(layer, shape, loosen, agree):
    network = alone(layer, shape)
    back, x = retie(loosen(network), network), samples(network)
    agree(back.predict(x), network.predict(x))
    assert {n.name: n.layer for n in back.nodes.values()} == {n.name: n.layer for n in network.nodes.values()}
    blank = Network.sequential(shape, [layer], dtype="float64")  # without weights there is still something to be like
    agree(retie(loosen(network), blank).predict(x), network.predict(x))


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
def test_retying_is_least_squares(layer, shape, agree):
    """Against the constraint matrix S of all cells, with the Moore-Penrose inverse of it."""
    network = alone(layer, shape)
    (name,) = network.outputs
    moved = drawn(densify(network), rng=5)
    rows, cols, ties = network.node(name).pattern.triplets()
    n_out, n_in = network.node(name).pattern.shape
    S = np.zeros((n_out * n_in, network.node(name).pattern.n_ties))
    np.add.at(S, (rows.astype(int) * n_in + cols, ties), 1)
    expected = moved.params if isinstance(layer, Dense) else {}
    theta = expected.get(f"{name}.weight", np.linalg.pinv(S) @ moved.params[f"{name}.weight"].ravel()).ravel()
    tied = retie(moved, network).params
    agree(tied[f"{name}.weight"].ravel(), theta)
    bias = tied.get(f"{name}.bias")
    if bias is not None:
        left = moved.params[f"{name}.bias"].ravel()
        if layer.pad_value:
            missing = network.nodes[name].padding
            at, _, used = missing.triplets()
            left = left - np.bincount(at, layer.pad_value * theta[used], n_out)
        agree(bias.ravel(), left.reshape(bias.size, -1).mean(axis=1))


@pytest.mark.parametrize("bias", [True, False])
def test_what_only_reads_padding_is_left_to_a_bias_for_each_unit(bias, agree):
    """A weight without a nonzero cannot be found again: it becomes 0, and the function changes."""
    network = alone(LocallyConnected(2, 3, padding=1, pad_value=2.0, bias=bias), (1, 4))
    unused = np.bincount(network.node("locallyconnected1").pattern.triplets()[2], minlength=24) == 0
    assert unused.sum() == 4  # the first tap at the first site of each channel, and the last at the last
    tied = retie(untie(network), network)
    expected = np.where(unused, 0, network.params["locallyconnected1.weight"].ravel())
    agree(tied.params["locallyconnected1.weight"].ravel(), expected)
    x = samples(network)
    rows, _, ties = network.node("locallyconnected1").node.padding.triplets()
    weight = network.params["locallyconnected1.weight"].ravel()
    lost = np.bincount(rows, 2 * weight[ties], 8).reshape(2, 4)
    kept = lost.mean(axis=1, keepdims=True) if bias else 0
    agree(network.predict(x) - tied.predict(x), np.broadcast_to(lost - kept, (len(x), 2, 4)), 1e-11)


def block():
    """A net with a skip, a shared layer, a batch norm, a fixed pool and two outputs."""
    net = Network.input((2, 6, 6), dtype="float64")
    net = net.add(Conv(3, 3, padding=1), name="conv").add(CATALOG.make("batch-norm"), name="norm").add(ReLU())
    net = (
        net.add(Conv(3, 3, padding=1), name="first").add(Tanh()).add(Conv(3, 3, padding=1), name="again", share="first")
    )
    net = net.add(Add(), "relu1", "again", name="sum").add(MaxPool(2), name="pool")
    net = net.add(Conv(3, 3, padding=1), name="third", share="first").add(Flatten())
    net = net.add(Dense(4), name="head").add(Dense(2), "pool", name="aux")
    return drawn(net)


@pytest.mark.parametrize("loosen", [untie, densify])
def test_a_whole_graph(loosen, agree):
    network, x = block(), np.random.default_rng(3).standard_normal((3, 2, 6, 6))
    loose = loosen(network)
    for name, expected in network.predict(x).items():
        agree(loose.predict(x)[name], expected)
    assert all(node.share is None for node in loose.nodes.values())
    assert loose.buffers.keys() == network.buffers.keys()
    back = retie(loose, network)
    assert back.nodes["again"].share == back.nodes["third"].share == "first"
    for name, expected in network.predict(x).items():
        agree(back.predict(x)[name], expected)
    cut = network.subnetwork("aux")
    agree(loosen(cut).predict(x), cut.predict(x))
    assert loosen(cut).outputs == ("aux",)


def test_layers_are_chosen_by_name_and_pattern(agree):
    network, x = block(), np.random.default_rng(3).standard_normal((3, 2, 6, 6))
    only = untie(network, "conv")
    assert [n for n in only.nodes if isinstance(only.nodes[n].layer, Sparse)] == ["conv"]
    assert only.nodes["again"].share == "first"
    some = untie(network, ["con*", "first"])  # what shared the weights of "first" goes on sharing with each other
    assert [n for n in some.nodes if isinstance(some.nodes[n].layer, Sparse)] == ["conv", "first"]
    assert (some.nodes["again"].share, some.nodes["third"].share) == (None, "again")
    agree(some.predict(x)["head"], network.predict(x)["head"])
    one = densify(network, "again")
    assert (one.nodes["again"].share, one.nodes["third"].share) == (None, "first")
    agree(one.predict(x)["head"], network.predict(x)["head"])


def test_a_weight_of_several_nodes_is_retied_to_the_mean_over_all_of_them(agree):
    network = block()
    moved = drawn(untie(network), rng=7)
    tied = retie(moved, network)
    sums, counts = np.zeros(81), np.zeros(81)
    for name in ("first", "again", "third"):
        np.add.at(sums, network.node(name).pattern.triplets()[2], moved.params[f"{name}.weight"])
        np.add.at(counts, network.node(name).pattern.triplets()[2], 1)
    agree(tied.params["first.weight"].ravel(), sums / counts)
    biases = [moved.params[f"{name}.bias"].reshape(3, -1) for name in ("first", "again", "third")]
    agree(tied.params["first.bias"], np.concatenate(biases, axis=1).mean(axis=1))
    agree(tied.params["head.weight"], moved.params["head.weight"])
    within, grand = 0.0, np.concatenate([moved.params[f"{n}.weight"] for n in ("first", "again", "third")])
    for name in ("first", "again", "third"):
        means = (sums / counts)[network.node(name).pattern.triplets()[2]]
        within += np.sum((moved.params[f"{name}.weight"] - means) ** 2)
    assert tie_variance(moved, network).layers["first"] == pytest.approx(within / (grand.var() * grand.size), rel=1e-12)


def test_the_retie_identity(agree):
    """Pogodin et al., 2021: the untied step, projected, is the tied step with each rate divided by the multiplicity."""
    layers = [Conv(4, 3, padding=1), ReLU(), Subsample(2), Conv(5, 3, stride=2, padding=1), ReLU(), Dense(3)]
    network = drawn(Network.sequential((2, 8, 8), layers, dtype="float64"))
    x, dy = samples(network), np.random.default_rng(2).standard_normal((4, 3))
    loose = untie(network)
    tied_grads, loose_grads = (net.run(x).backward(dy).params for net in (network, loose))
    stepped = retie(loose.with_params({k: v - 0.1 * loose_grads[k] for k, v in loose.params.items()}), network)
    for name in ("conv1", "subsample1", "conv2", "dense1"):
        node = network.node(name)
        counts = np.bincount(node.pattern.triplets()[2], minlength=node.pattern.n_ties).reshape(
            node.param_shapes["weight"]
        )
        agree(stepped.params[f"{name}.weight"], node.params["weight"] - 0.1 / counts * tied_grads[f"{name}.weight"])
        units = np.prod(node.shape) // node.params["bias"].size
        agree(stepped.params[f"{name}.bias"], node.params["bias"] - 0.1 / units * tied_grads[f"{name}.bias"])
        assert (counts.max() > 1) == (name != "dense1")


@pytest.mark.parametrize("loosen", [untie, densify])
def test_training_goes_on_and_files_hold_it(loosen, tmp_path, agree):
    rng = np.random.default_rng(0)
    data = Dataset(rng.standard_normal((40, 1, 6, 6)), rng.integers(0, 3, 40))
    network = Network.sequential((1, 6, 6), [Conv(2, 3, padding=1), ReLU(), Dense(3)], rng=0, dtype="float64")
    loose = loosen(network)
    assert off_pattern(loose, network).total == 0
    assert tie_variance(loose, network).total < 1e-24
    *_, last = train(loose, data, epochs=3, optimizer=SGD(0.2), rng=0)
    assert last.network.nodes == loose.nodes
    assert tie_variance(last.network, network).total > 1e-6
    assert (off_pattern(last.network, network).total > 1e-6) == (loosen is densify)
    save(tmp_path / "loose.safetensors", last.network, catalog=CATALOG)
    again = load(tmp_path / "loose.safetensors", catalog=CATALOG).network
    np.testing.assert_array_equal(again.predict(data.inputs), last.network.predict(data.inputs))
    agree(retie(again, network).predict(data.inputs), retie(last.network, network).predict(data.inputs))


def test_measures_by_hand():
    network = Network.sequential((1, 4), [Conv(1, 2, bias=False)], rng=0, dtype="float64")
    cells = np.array([[3, 1, 0, 0], [2, 1, 4, 0], [0, 0, 4, 1]], float)
    moved = densify(network).with_params({"conv1.weight": cells})
    assert off_pattern(moved, network).layers == {"conv1": 4 / 48}
    # taps (3, 1, 4) and (1, 4, 1) around 8/3 and 2; the mean of all is 7/3
    within, whole = 3 * (14 / 9) + 3 * 2, 44 - 6 * (7 / 3) ** 2
    assert tie_variance(moved, network).layers == {"conv1": pytest.approx(within / whole, rel=1e-12)}
    assert tie_variance(moved, network).total == pytest.approx(within / whole, rel=1e-12)


def test_layers_that_cannot_move_are_not_measured():
    layers = [LocallyConnected(2, 3), Subsample(2), Flatten(), Dense(3)]
    network = drawn(Network.sequential((1, 6, 6), layers, dtype="float64"))
    loose = drawn(densify(network), rng=3)
    assert list(off_pattern(loose, network).layers) == ["locallyconnected1", "subsample1"]
    assert list(tie_variance(loose, network).layers) == ["subsample1"]
    equal = Network.sequential((1, 4, 4), [Subsample(2)], rng=0, dtype="float64")
    assert tie_variance(densify(equal), equal).total == 0  # one weight has no variance to explain
    nothing = Network.sequential((3,), [Dense(2)], rng=0)
    assert (off_pattern(nothing, nothing).total, tie_variance(nothing, nothing).layers) == (0, {})


def test_what_is_too_large_is_refused_at_once():
    big = CATALOG.build("vgg16", rng=None)
    with pytest.raises(ShapeError, match=r"densify conv1_1: expected a matrix of at most 4,294,967,296 bytes, got "):
        densify(big)
    with pytest.raises(
        ShapeError, match=r"untie conv1_2: .* got 1,838,694,400 connections of 14,.* bytes; name smaller"
    ):
        untie(big)


def test_what_does_not_fit_together_is_refused(monkeypatch):
    network = Network.sequential((1, 6, 6), [Conv(2, 3), ReLU(), Dense(3)], rng=0)
    with pytest.raises(
        UnknownNameError, match="untie layers: expected a matrix with trained weights, got 'relu1'; choose"
    ):
        untie(network, ["conv*", "relu1"])
    for wrong in (3, ["conv1", 3]):
        with pytest.raises(ShapeError, match=r"untie layers: expected names or patterns, got 3; write 'conv\*'"):
            untie(network, wrong)
    with pytest.raises(UnknownNameError, match="densify layers: .* got 'x\\*'; choose one of: conv1, dense1"):
        densify(network, "x*")
    with pytest.raises(SimulatorError, match="network: expected weights, got none for conv1.weight"):
        untie(Network.sequential((1, 6, 6), [Conv(2, 3)]))
    other = Network.sequential((1, 6, 6), [Conv(3, 3), ReLU(), Dense(3)], rng=0)
    for who, function in (("retie", retie), ("off_pattern", off_pattern), ("tie_variance", tie_variance)):
        message = (
            rf"{who}: expected two networks of the same nodes, got conv1 \(2, 4, 4\) after input where the other one "
        )
        with pytest.raises(ShapeError, match=message + r"has conv1 \(3, 4, 4\) after input; give the network"):
            function(network, other)
    longer = network.add(ReLU())
    with pytest.raises(ShapeError, match=r"got nothing where the other one has relu2 \(3,\) after dense1"):
        retie(network, longer)
    with pytest.raises(ShapeError, match=r"got relu2 \(3,\) after dense1 where the other one has nothing"):
        retie(longer, network)
    square = Network.input((4,)).add(ReLU(), name="layer")
    with pytest.raises(ShapeError, match="layer: expected a layer that is one matrix, got ReLU"):
        retie(square, _like(square))
    monkeypatch.setattr("simulator.memory.available_memory", lambda: 10**8)
    wide = Network.sequential((2_000,), [Sparse(ExplicitPattern([0], [0], shape=(20_000, 2_000)))])
    with pytest.raises(ShapeError, match="densify: expected at most 0.1 GB of memory, got 0.6 GB; name fewer layers"):
        densify(wide)


def _like(network):
    """The nodes of a network, with a matrix in place of its layer."""
    n = network.input_shape[0]
    return Network.input((n,)).add(Sparse(ExplicitPattern(range(n), range(n), [0] * n, shape=(n, n))), name="layer")


def test_a_layer_with_more_weights_than_connections_may_still_share():
    network = drawn(Network.sequential((1, 1, 3), [Conv(1, 3, padding=1, bias=False)], dtype="float64"))
    pattern = network.node("conv1").pattern
    assert (pattern.nnz, pattern.n_ties) == (7, 9)
    moved = drawn(densify(network), rng=3)
    assert tie_variance(moved, network).layers["conv1"] > 0
