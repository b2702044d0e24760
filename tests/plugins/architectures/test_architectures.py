"""The bundled architectures: shapes, errors, and that each of them learns."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, ShapeError, train


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.fixture(scope="module")
def digits(catalog):
    data = catalog.load_data("digits", (1, 16, 16))
    return data.take(np.arange(300))


@pytest.mark.parametrize(
    ("name", "shape", "lr", "least"), [("lenet5", (1, 16, 16), 0.1, 0.9), ("resnet8", (1, 16, 16), 0.05, 0.9)]
)
def test_it_learns(catalog, digits, name, shape, lr, least):
    network = catalog.build(name, shape, **({"width": 4} if name == "resnet8" else {}))
    optimizer = catalog.optimizers["momentum"](lr)
    *_, epoch = train(network, digits, epochs=12, batch_size=20, optimizer=optimizer)
    assert epoch.metrics["accuracy"] >= least


def test_lenet5_of_1998_learns(catalog):
    data = catalog.load_data("digits", (1, 28, 28)).take(np.arange(200))
    network = catalog.build("lenet5-1998", (1, 28, 28))
    optimizer = catalog.optimizers["momentum"](0.01)
    *_, epoch = train(network, data, epochs=8, batch_size=10, optimizer=optimizer)
    assert epoch.metrics["accuracy"] >= 0.9


def test_the_output_of_1998_is_minus_the_squared_distance_to_a_code(catalog):
    layer = catalog.build("lenet5-1998", rng=None).node("output").layer
    codes = np.array([[1.0 if cell == "#" else -1.0 for cell in code] for code in layer.codes])
    assert codes.shape == (10, 84)
    assert len({tuple(code) for code in codes}) == 10
    x = np.random.default_rng(0).normal(size=(84, 3))
    y, _, _ = layer.forward({}, {}, x)
    np.testing.assert_allclose(y, -((x.T[None] - codes[:, None]) ** 2).sum(axis=2), rtol=1e-12)
    nearest, _, _ = layer.forward({}, {}, codes.T.copy())
    assert nearest.argmax(axis=0).tolist() == list(range(10))


def test_a_residual_net_is_its_skips_at_the_start(catalog):
    network = catalog.build("resnet8", rng=0)
    x = np.random.default_rng(0).normal(size=(2, 1, 16, 16))
    trace = network.run(x)
    np.testing.assert_array_equal(trace["block1-add"], trace["relu"])
    np.testing.assert_array_equal(trace["block2-add"], trace["block2-skip"])
    assert trace["block3-relu2"].shape == (2, 64, 4, 4)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("lenet5", (1, 8, 8), "lenet5: expected an input .* of at least 12 x 12, got"),
        ("lenet5", (28, 28), "lenet5: expected an input"),
        ("lenet5-1998", (1, 30, 30), "lenet5-1998: expected an input of 1x32x32 or 1x28x28"),
        ("resnet8", (3, 2, 2), "resnet8: expected an input .* of at least 4 x 4, got"),
    ],
)
def test_inputs_that_do_not_fit(catalog, name, shape, message):
    with pytest.raises(ShapeError, match=message):
        catalog.build(name, shape)


def test_lenet5_of_1998_knows_ten_classes(catalog):
    with pytest.raises(ShapeError, match="expected at most 10 classes, it has ten output codes, got 11"):
        catalog.build("lenet5-1998", classes=11)
    assert catalog.build("lenet5-1998", classes=2).output_shape == (2,)


def test_rbf_wants_one_unit_per_cell(catalog):
    with pytest.raises(ShapeError, match=r"rbf: expected a flat input of \[2\] units"):
        catalog.make("rbf", ("##", "..")).output_shape((3,))
