"""The bundled architectures: shapes, errors, and that each of them learns."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, CosineDecay, ShapeError, train


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lenet5", {}),
        pytest.param("lenet5-1998", {}, marks=pytest.mark.slow),
        pytest.param("resnet8", {"width": 8}, marks=pytest.mark.slow),
    ],
)
def test_it_learns_at_the_learning_rate_that_it_declares(catalog, name, options):
    shape = catalog.default_shape(name)
    data = catalog.load_data("digits", shape).take(np.arange(400))
    lr = catalog.architectures.entry(name).lr or 0.05
    optimizer = catalog.optimizers["momentum"](CosineDecay(lr, 12 * 25))
    *_, epoch = train(catalog.build(name, **options), data, epochs=12, batch_size=16, optimizer=optimizer)
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


def test_a_skip_adds_what_went_in(catalog):
    network = catalog.build("resnet8", rng=0)
    trace = network.run(np.random.default_rng(0).normal(size=(2, 1, 16, 16)))
    np.testing.assert_array_equal(trace["block1-add"], trace["block1-conv2"] + trace["relu"])
    np.testing.assert_array_equal(trace["block2-add"], trace["block2-conv2"] + trace["block2-skip"])
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
