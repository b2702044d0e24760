"""The multilayer perceptron: its matrices are full, it agrees with PyTorch, and it learns."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, CosineDecay, ShapeError, evaluate, train
from simulator.testing import check_architecture


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def test_it_keeps_the_promises_of_an_architecture(catalog):
    check_architecture(catalog, "mlp")


def test_every_cell_of_every_layer_has_a_weight_of_its_own(catalog):
    network = catalog.build("mlp", (3, 4, 5), classes=7, hidden=(8, 6))
    assert list(network.nodes) == ["input", "dense1", "relu1", "dense2", "relu2", "dense3"]
    for name, shape in {"dense1": (8, 60), "dense2": (6, 8), "dense3": (7, 6)}.items():
        matrix = network.node(name).matrix
        assert matrix.shape == shape
        assert matrix.nnz == matrix.pattern.n_ties == shape[0] * shape[1]
        np.testing.assert_array_equal(matrix.tocsr().toarray(), network.params[f"{name}.weight"])


def test_without_hidden_layers_it_is_linear(catalog):
    network = catalog.build("mlp", (5,), classes=3, hidden=(), dtype="float64")
    assert list(network.param_shapes) == ["dense1.weight", "dense1.bias"]
    x = np.random.default_rng(0).normal(size=(4, 5))
    expected = x @ network.params["dense1.weight"].T + network.params["dense1.bias"]
    np.testing.assert_allclose(network.predict(x), expected, rtol=1e-13)


def test_width_scales_the_hidden_layers_only(catalog):
    shapes = catalog.build("mlp", hidden=(64, 10), width=0.25, rng=None).param_shapes
    assert [shapes[f"dense{n}.weight"] for n in (1, 2, 3)] == [(16, 64), (2, 16), (10, 2)]


def test_it_agrees_with_pytorch(catalog, torch, agree):
    network = catalog.build("mlp", (2, 3, 4), classes=5, hidden=(7, 6), dtype="float64")
    nn = torch.nn
    other = nn.Sequential(nn.Flatten(), nn.Linear(24, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 5))
    other.double().load_state_dict(
        {
            f"{2 * layer - 1}.{part}": torch.tensor(network.params[f"dense{layer}.{part}"])
            for layer in (1, 2, 3)
            for part in ("weight", "bias")
        }
    )
    x = np.random.default_rng(0).normal(size=(3, 2, 3, 4))
    agree(network.predict(x), other(torch.tensor(x)).detach().numpy())


def test_it_learns_handwritten_digits(catalog):
    pytest.importorskip("sklearn")
    network = catalog.build("mlp")
    data, held_out = catalog.load_data("digits", network.input_shape).split(0.2)  # as simulator train loads them
    lr = catalog.architectures.entry("mlp").lr
    optimizer = catalog.create("optimizers", "momentum", lr=CosineDecay(lr, 8 * 45))
    *_, epoch = train(network, data, epochs=8, batch_size=32, optimizer=optimizer)
    assert evaluate(epoch.network, held_out)["accuracy"] >= 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": (64, 0)}, "mlp hidden: expected an integer of at least 1, got 0"),
        ({"width": 0}, "mlp width: expected a positive factor, got 0; 1 is the published size"),
    ],
)
def test_options_that_do_not_fit(catalog, options, message):
    with pytest.raises(ShapeError, match=message):
        catalog.build("mlp", **options)
