"""Responses: the strongest samples as sorting finds them, and inputs that beat every sample of their norm."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import (
    Catalog,
    Conv,
    Dataset,
    Dense,
    MaxPool,
    Network,
    ReLU,
    ShapeError,
    SimulatorError,
    UnknownNameError,
)
from simulator.lab import preferred_input, strongest

CATALOG = Catalog()


@pytest.fixture(scope="module")
def net():
    return CATALOG.build("lenet5", (1, 12, 12), 10, 0, dtype="float64", width=0.5)


@pytest.fixture(scope="module")
def data():
    return CATALOG.load_data("digits", (1, 12, 12)).take(slice(300))


@pytest.mark.parametrize(
    ("unit", "index"),
    [
        ("conv1[2, 5, 5]", (2, 5, 5)),
        ("conv2[3]", (3,)),
        ("pool1[:, 2, 2]", (slice(None), 2, 2)),
        ("input[0, 6, 6]", (0, 6, 6)),
        (("dense2", 1), (1,)),
        ("dense3", ()),
    ],
)
@pytest.mark.parametrize("engine", ["scipy", "auto"])
def test_the_strongest_are_those_that_sorting_finds(net, data, unit, index, engine):
    node = unit[0] if isinstance(unit, tuple) else unit.partition("[")[0]
    whole = net.run(data.inputs)[node][:, *index].reshape(300, -1)
    found = strongest(net.with_engine(CATALOG.engine(engine)), unit, data, count=5, batch_size=64)
    np.testing.assert_allclose(found.values, np.sort(whole.max(axis=1))[::-1][:5], rtol=1e-12)
    np.testing.assert_array_equal(found.inputs, data.inputs[found.samples])
    for sample, value, field, patch in zip(found.samples, found.values, found.fields, found.patches, strict=True):
        np.testing.assert_allclose(net.run(data.inputs[sample][None])[node][0][field.position], value, rtol=1e-12)
        assert field.position in [tuple(p) for p in np.argwhere(np.ones(net.node(node).shape))]
        expected = net.receptive_field(node, field.position)
        np.testing.assert_array_equal(patch, data.inputs[sample][tuple(slice(*span) for span in expected.box)])


def test_nothing_outside_of_the_patch_counts(net, data):
    found = strongest(net, "conv1[1, 0, 0]", data.inputs, count=1)
    field, x = found.fields[0], found.inputs[0]
    cut = np.where(field.mask, x, 99.0)
    np.testing.assert_array_equal(net.run(cut[None])["conv1"][0, 1, 0, 0], found.values[0])
    assert found.patches[0].size < x.size


def test_equal_samples_come_in_order():
    net = Network.sequential((3,), [Dense(1)], rng=0)
    x = np.zeros((6, 3))
    x[4] = net.params["dense1.weight"][0]
    found = strongest(net, "dense1[0]", x, count=99)
    assert found.samples.tolist() == [4, 0, 1, 2, 3, 5]
    assert repr(found).startswith("Responses of dense1[0]: ")
    assert repr(strongest(net, "dense1[0]", x, count=1)).endswith(" to samples 4")


def test_it_tells_how_far_it_is(net, data):
    told = []
    strongest(net, "conv1[0]", data, batch_size=128, on_batch=lambda *numbers: told.append(numbers))
    assert told == [(128, 300), (256, 300), (300, 300)]


def test_one_input_of_several():
    net = Network.input((3,), "a").add_input((3,), "b").add(Dense(2), "a", name="left", rng=0)
    net = net.add(Dense(2), "b", name="right", rng=0).add(CATALOG.make("add"), "left", "right")
    x = {"a": np.eye(3), "b": np.zeros((3, 3))}
    found = strongest(net, "left[1]", Dataset(x, np.zeros(3, int)), count=1)
    assert found.samples[0] == net.params["left.weight"][1].argmax()
    with pytest.raises(ShapeError, match=r"network: expected one input, got 2 \(a, b\)"):
        strongest(net, "add1[0]", Dataset(x, np.zeros(3, int)))


@pytest.mark.parametrize("unit", ["conv1[2, 3, 3]", "relu2[4, 1, 1]", "pool2[5, 0, 0]", "dense3[7]"])
@pytest.mark.parametrize("engine", ["scipy", "auto"])
def test_the_preferred_input_beats_every_sample_of_its_norm(net, data, unit, engine):
    one = strongest(net, unit, data, count=1)
    inputs = data.inputs.astype(np.float64)
    scaled = inputs / np.sqrt(np.sum(inputs**2, axis=(1, 2, 3), keepdims=True)) * 3.0
    best = strongest(net, unit, scaled, count=1)
    found = preferred_input(net.with_engine(CATALOG.engine(engine)), unit, x0=one.inputs[0], norm=3.0)
    np.testing.assert_allclose(np.linalg.norm(found.x), 3.0, rtol=1e-12)
    assert (np.diff(found.history) >= 0).all() and len(found.history) == 101
    np.testing.assert_allclose(found.value, net.probe(found.x[None], unit)[unit][0], rtol=1e-9)
    assert found.value > best.values[0] >= found.history[0] * (1 - 1e-12)  # it may be the same sample
    assert repr(found) == (
        f"Preferred input of {unit}: {found.value:.4g} after 100 steps from {found.history[0]:.4g}, norm 3"
    )


def test_of_an_affine_net_it_is_the_row_of_the_product(agree):
    net = Network.sequential((2, 5), [Conv(3, 3), Dense(4)], rng=0, dtype=np.float64)
    first, second = (net.node(name).matrix.tocsr().toarray() for name in ("conv1", "dense1"))
    row = (second @ first)[2].reshape(2, 5)
    for start in (None, np.ones((2, 5))):
        found = preferred_input(net, "dense1[2]", norm=2.0, x0=start, steps=200)
        agree(found.x, row * (2.0 / np.linalg.norm(row)), 1e-7)  # nearer, the response no longer grows
    agree(np.linalg.norm(preferred_input(net, "dense1[2]", steps=1).x), np.sqrt(10))
    agree(np.linalg.norm(preferred_input(net, "dense1[2]", steps=1, x0=start).x), np.linalg.norm(start))


def test_the_step_is_the_gradient_by_central_differences(net, agree, central_difference):
    x = np.random.default_rng(0).standard_normal((1, 12, 12))
    x /= np.linalg.norm(x)
    slopes = central_difference(lambda x: net.run(x[None])["dense3"][0, 3], x)
    expected = x + 0.01 * slopes / np.linalg.norm(slopes)
    found = preferred_input(net, "dense3[3]", x0=x, steps=1, lr=0.01)
    agree(found.x, expected / np.linalg.norm(expected), 1e-7)


def test_one_seed_gives_one_input(net):
    one, two, other = (preferred_input(net, "relu1[0, 5, 5]", steps=3, rng=seed).x for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_unit_that_never_responds():
    net = Network.sequential((1, 6, 6), [Conv(1, 3), ReLU(), MaxPool(2)], rng=0)
    silent = net.with_params({"conv1.bias": [-1e9]})
    with pytest.raises(
        SimulatorError, match=r"^preferred input of relu1\[0\]: expected a start at which it has a grad"
    ):
        preferred_input(silent, "relu1[0]")
    told = []
    preferred_input(net, "relu1[0]", steps=2, on_step=lambda *numbers: told.append(numbers))
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, r"preferred input of dense3\[0\], steps: expected an integer of at least 1, got 0"),
        ({"lr": 0}, r"preferred input of dense3\[0\], lr: expected a positive number, got 0; give"),
        ({"norm": -1.0}, r"preferred input of dense3\[0\], norm: expected a positive number, got -1.0; give"),
        ({"norm": 1e300}, r"norm: expected a positive number, got 1e\+300"),
        ({"x0": "abc"}, r"preferred input of dense3.*, x0: expected an array of real numbers, got values of type str"),
        ({"x0": [[1], [1, 2]]}, r"x0: expected an array of real numbers, got a ragged list"),
        ({"norm": np.nan}, r"norm: expected a positive number, got nan"),
        ({"norm": "long"}, r"norm: expected a positive number, got 'long'"),
        ({"x0": np.zeros((1, 12, 12))}, r"x0: expected finite numbers \(1, 12, 12\), not all zero, got .* of norm 0"),
        ({"x0": np.ones((12, 12))}, r"x0: expected finite numbers \(1, 12, 12\), .*, got \(12, 12\) of norm 12"),
        ({"x0": np.full((1, 12, 12), np.inf)}, r"x0: expected finite numbers .* of norm inf"),
        ({"rng": "dice"}, "rng: expected a seed"),
    ],
)  # fmt: skip
def test_misfits_of_preferred_inputs(net, arguments, message):
    with pytest.raises(ShapeError, match=message):
        preferred_input(net, "dense3[0]", **arguments)


def test_misfits_of_strongest(net, data):
    with pytest.raises(UnknownNameError, match="expected a node, got 'conv9'"):
        strongest(net, "conv9[0]", data)
    with pytest.raises(ShapeError, match="strongest count: expected an integer of at least 1, got 0"):
        strongest(net, "conv1[0]", data, count=0)
    with pytest.raises(ShapeError, match="strongest batch_size: expected an integer of at least 1, got 0"):
        strongest(net, "conv1[0]", data, batch_size=0)
    for nothing in (data.inputs[:0], {"other": data.inputs}):
        with pytest.raises(
            ShapeError, match=r"strongest conv1\[0\]: expected some samples, got none; give at least one"
        ):
            strongest(net, "conv1[0]", nothing)
    for nothing in (None, "abc"):
        with pytest.raises(ShapeError, match=r"strongest conv1\[0\]: expected an array of real numbers, got values of"):
            strongest(net, "conv1[0]", nothing)
    with pytest.raises(
        ShapeError, match=r"strongest conv1\[0\]: expected an array of real numbers, got a ragged list; give"
    ):
        strongest(net, "conv1[0]", [[1], [1, 2]])
    with pytest.raises(ShapeError, match=r"input: expected \(batch, 1, 12, 12\), got \(1, 12, 12\)"):
        strongest(net, "conv1[0]", data.inputs[0])
