"""One matrix: A x + b against the network, dense products by hand, PyTorch's Jacobian, and the receptive field."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import (
    Add,
    AveragePool,
    Catalog,
    Concatenate,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    LeakyReLU,
    MaxPool,
    Network,
    Pad,
    PluginError,
    ReLU,
    ShapeError,
    SimulatorError,
    Softmax,
    Tanh,
    UnknownNameError,
)
from simulator.lab import affine

CATALOG = Catalog()

NETS = [
    ("lenet5", (1, 28, 28), {}),
    ("nin-cifar10", (3, 12, 12), {"width": 1 / 8}),
    ("googlenet-torchvision", (3, 32, 32), {"width": 1 / 8}),
    ("resnet20-cifar", (3, 8, 8), {"width": 1 / 2}),
    ("all-cnn-c", (1, 12, 12), {"width": 1 / 8}),
]


def drawn(network, rng=0):
    """The network with weights and buffers that leave nothing at zero or one."""
    rng = np.random.default_rng(rng)
    network = network.with_params({k: v + 0.1 * rng.standard_normal(v.shape) for k, v in network.params.items()})
    mean = {k: 0.1 * rng.standard_normal(v.shape) for k, v in network.buffers.items() if k.endswith("mean")}
    return network.with_buffers({k: mean.get(k, 0.5 + rng.random(v.shape)) for k, v in network.buffers.items()})


def small():
    """Every kind of join, pooling and padding, with a pad value, a shared layer and a unit bias."""
    net = Network.input((2, 6, 6), dtype="float64")
    net = net.add(Conv(3, 3, padding=1, pad_value=0.7), name="conv", rng=0).add(LeakyReLU(0.2), name="leaky")
    net = net.add(CATALOG.make("batch-norm"), name="norm", rng=4).add(
        Conv(3, 3, padding=1, bias="unit"), name="same", rng=1
    )
    net = net.add(ReLU()).add(Conv(3, 3, padding=1, bias="unit"), name="again", share="same")
    net = net.add(Add(), "again", "leaky", name="skip").add(MaxPool(2), name="max").add(CATALOG.make("dropout"))
    net = net.add(AveragePool(2), "skip", name="mean").add(Concatenate(), "dropout1", "mean", name="both")
    net = net.add(Pad(1, pad_value=-0.3)).add(ConvTranspose(2, 2, stride=2, bias=False), name="up", rng=2)
    return drawn(net.add(CATALOG.make("hard-tanh", -0.5, 0.25)).add(Flatten()).add(Dense(4), name="head", rng=3))


@pytest.mark.parametrize(("name", "shape", "options"), NETS, ids=[row[0] for row in NETS])
def test_whole_networks_are_one_matrix_and_one_vector(name, shape, options):
    network = drawn(CATALOG.build(name, shape, classes=5, rng=0, dtype="float64", **options))
    x = np.random.default_rng(1).standard_normal(shape)
    found = affine(network, x)
    y = network.predict(x[None])[0].ravel()
    assert np.abs(y - (found.A @ x.ravel() + found.b)).max() <= 1e-12 * np.abs(y).max()
    assert 0 <= found.difference <= 1e-12
    assert (found.exact, found.A.shape, found.b.shape) == (True, (5, x.size), (5,))
    assert np.abs(found.b).max() > 1e-3
    assert np.abs(found.A @ x.ravel()).max() > 0.1 * np.abs(y).max()  # no unit on the way is dead to the input


def test_it_is_the_product_of_dense_matrices(agree):
    layers = [Conv(3, 3, padding=1), ReLU(), MaxPool(2), Dense(4)]
    network = drawn(Network.sequential((1, 4, 4), layers, rng=0, dtype="float64"))
    x = np.random.default_rng(0).standard_normal((1, 4, 4))
    trace = network.run(x[None])
    W1, W2 = (network.node(n).matrix.tocsr().toarray() for n in ("conv1", "dense1"))
    D = np.diag((trace["conv1"][0] > 0).ravel().astype(float))
    relu, P = trace["relu1"][0], np.zeros((12, 48))
    for row, (c, i, j) in enumerate(np.ndindex(3, 2, 2)):
        window = relu[c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        k, m = divmod(int(window.argmax()), 2)
        P[row, np.ravel_multi_index((c, 2 * i + k, 2 * j + m), (3, 4, 4))] = 1
    b1, b2 = np.repeat(network.params["conv1.bias"], 16), network.params["dense1.bias"]
    found = affine(network, x)
    agree(found.A.toarray(), W2 @ P @ D @ W1)
    agree(found.b, W2 @ P @ D @ b1 + b2)


@pytest.mark.parametrize("output", ["head", "up", "both", "skip[1]", "conv[:, 2, 3]", "input", "head[2]", ("head", 1)])
def test_any_node_and_some_of_its_units(output, agree):
    network = small()
    x = np.random.default_rng(0).standard_normal((2, 6, 6))
    found, tangent = affine(network, x, output), affine(network, x, output, jacobian=True)
    y = network.run(x[None])[found.units.node][0][found.units.slices].ravel()
    agree(found.y, y)
    agree(found.A @ x.ravel() + found.b, y)
    agree(found(x), y)
    agree(tangent.A.toarray(), found.A.toarray())
    assert np.abs(tangent.b - found.b).max() <= 1e-12 * np.abs(y).max()
    assert len(found.b) == len(found.units.numbers)


def test_the_function_is_that_matrix_all_around(agree):
    network, rng = small(), np.random.default_rng(0)
    x = rng.standard_normal((2, 6, 6))
    found = affine(network, x)
    for _ in range(3):
        near = x + 1e-7 * rng.standard_normal(x.shape)
        agree(found(near), network.predict(near[None])[0])
    far = -3 * x
    assert np.abs(found(far) - network.predict(far[None])[0]).max() > 1e-3


def test_columns_outside_of_the_receptive_field_are_empty():
    layers = [Conv(2, 3, dilation=2), ReLU(), MaxPool(2), Conv(2, 2), LeakyReLU()]
    network = drawn(Network.sequential((2, 13, 11), layers, rng=0, dtype="float64"))
    A = affine(network, np.random.default_rng(0).standard_normal((2, 13, 11))).A
    rows, size = A.toarray(), np.prod(network.output_shape)
    assert A.shape == (size, 286)
    for unit in range(size):
        mask = network.receptive_field("leakyrelu1", unit).mask.ravel()
        assert not rows[unit][~mask].any()
        assert 0 < np.count_nonzero(rows[unit]) <= mask.sum() < 286


def test_the_jacobian_is_that_of_pytorch(torch, agree):
    layers = [Conv(3, 3, padding=1), Tanh(), AveragePool(2), Dense(4), Softmax()]
    network = drawn(Network.sequential((1, 4, 4), layers, rng=0, dtype="float64"))
    x = np.random.default_rng(0).standard_normal((1, 4, 4))
    params = {name: torch.tensor(array.copy()) for name, array in network.params.items()}
    F = torch.nn.functional

    def function(x):
        y = F.avg_pool2d(torch.tanh(F.conv2d(x[None], params["conv1.weight"], params["conv1.bias"], padding=1)), 2)
        return torch.softmax(F.linear(y.flatten(), params["dense1.weight"], params["dense1.bias"]), 0)

    expected = torch.autograd.functional.jacobian(function, torch.tensor(x)).numpy().reshape(4, 16)
    found = affine(network, x, jacobian=True)
    agree(found.A.toarray(), expected)
    agree(found.A @ x.ravel() + found.b, network.predict(x[None])[0])
    assert not found.exact
    assert repr(found) == "Affine of softmax1 at one sample, its tangent: 4 x 16 with 64 nonzeros"


def test_the_jacobian_of_central_differences(central_difference):
    network = drawn(Network.sequential((2, 5), [Conv(3, 3), Tanh(), Dense(2)], rng=0, dtype="float64"))
    x = np.random.default_rng(0).standard_normal((2, 5))
    found = affine(network, x, "tanh1[1]", jacobian=True)
    for row, unit in zip(found.A.toarray(), found.units.numbers, strict=True):
        slopes = central_difference(lambda x, unit=unit: network.run(x[None])["tanh1"].ravel()[unit], x)
        np.testing.assert_allclose(row, slopes.ravel(), rtol=0, atol=1e-9)


def test_several_inputs_have_a_matrix_each(agree):
    net = Network.input((3,), "a", dtype="float64").add_input((2,), "b")
    net = net.add(Dense(4), "a", name="left", rng=0).add(Dense(4), "b", name="right", rng=1)
    net = drawn(net.add(Add(), "left", "right").add(ReLU()))
    x = {"a": np.array([1.0, -2, 3]), "b": np.array([0.5, 4])}
    for jacobian in (False, True):
        found = affine(net, x, jacobian=jacobian)
        open_ = (net.run({k: v[None] for k, v in x.items()})["relu1"][0] > 0)[:, None]
        agree(found.matrices["a"].toarray(), open_ * net.params["left.weight"])
        agree(found.matrices["b"].toarray(), open_ * net.params["right.weight"])
        assert found.difference <= 1e-12
        with pytest.raises(ShapeError, match=r"network: expected one input, got 2 \(a, b\)"):
            _ = found.A
    assert list(affine(net, {"a": x["a"]}, "left").matrices) == ["a"]
    with pytest.raises(
        ShapeError, match=r"affine: expected one sample of shape \(2,\) for 'b', got none; give one like"
    ):
        found({"a": x["a"]})
    with pytest.raises(
        ShapeError, match=r"affine: expected one sample of shape \(3,\) for 'a', got \(4,\); give one like"
    ):
        found({**x, "a": np.ones(4)})
    with pytest.raises(ShapeError, match="affine: expected an array of real numbers, got a ragged list; give rows"):
        found({**x, "a": [[1], [1, 2]]})


def test_single_precision_stays_single():
    network = CATALOG.build("lenet5", (1, 12, 12), rng=0)
    found = affine(network, np.ones((1, 12, 12)))
    assert found.A.dtype == found.b.dtype == np.float32
    assert found.difference < 1e-5


def test_what_is_no_matrix_is_refused(monkeypatch):
    network = Network.sequential((1, 4, 4), [Conv(2, 3), Tanh(), Dense(3)], rng=0)
    x = np.zeros((1, 4, 4))
    message = (
        "tanh1: expected a piecewise linear layer, got Tanh, which is curved; take the Jacobian with jacobian=True"
    )
    with pytest.raises(ShapeError, match=message):
        affine(network, x)
    assert affine(network, x, "conv1").exact  # nothing is curved so far
    with pytest.raises(
        ShapeError, match=r"affine: expected one sample of shape \(1, 4, 4\) for 'input', got \(1, 1, 4, 4\)"
    ):
        affine(network, x[None], jacobian=True)
    with pytest.raises(UnknownNameError, match="expected a node, got 'conv9'; did you mean 'conv1'"):
        affine(network, x, "conv9")
    with pytest.raises(
        ShapeError, match=r"unit conv1\[5\]: expected a position \(channel, \*space\) within \(2, 2, 2\)"
    ):
        affine(network, x, "conv1[5]")
    with pytest.raises(SimulatorError, match="network: expected weights, got none"):
        affine(Network.sequential((1, 4, 4), [Conv(2, 3)]), x)

    class Broken(ReLU):
        def affine_at(self, params, buffers, *xs):
            return xs[1]

    with pytest.raises(
        PluginError, match="broken1, Broken: expected affine_at to give matrices and an offset, or None"
    ):
        affine(Network.sequential((3,), [Broken()]), np.ones(3))
    monkeypatch.setattr("simulator.memory.available_memory", lambda: 10**8)
    dense = Network.sequential((4_000,), [Dense(1), Dense(4_000)], rng=0)
    with pytest.raises(ShapeError, match="affine dense2, product up to dense1: expected at most 0.1 GB of memory, got"):
        affine(dense, np.zeros(4_000))
    with pytest.raises(ShapeError, match="affine input: expected at most 0.1 GB of memory, got 0.4 GB; ask for fewer"):
        affine(Network.input((6_000,)), np.zeros(6_000), jacobian=True)


def test_a_network_of_large_matrices_has_its_jacobian_only():
    big = CATALOG.build("vgg16", rng=None)
    with pytest.raises(
        ShapeError, match=r"affine .*\[3\]: expected matrices of at most 4,294,967,296 bytes, got one of"
    ):
        affine(big, np.zeros((3, 224, 224)), f"{big.output_name}[3]")


def test_a_matrix_beyond_the_free_memory_is_refused_before_anything_runs(monkeypatch):
    net = Network.sequential((1, 64, 64), [Conv(8, kernel=13, padding=6), Dense(3)], rng=0)
    expected = affine(net, np.ones((1, 64, 64)), "dense1[2]").A.toarray()
    monkeypatch.setattr("simulator.memory.available_memory", lambda: 10**7)
    with pytest.raises(ShapeError, match=r"affine dense1\[2\], matrix of conv1: expected at most 10 MB .*--jacobian"):
        affine(net, np.ones((1, 64, 64)), "dense1[2]")
    monkeypatch.setattr("simulator.memory.available_memory", lambda: 10**8)
    found = affine(net, np.ones((1, 64, 64)), "dense1[2]", jacobian=True).A.toarray()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
