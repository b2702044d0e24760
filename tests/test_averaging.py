"""Averaging: the mean that it is, and what convexity promises of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from simulator import (
    SGD,
    Catalog,
    CrossEntropy,
    Dense,
    Network,
    ReLU,
    ShapeError,
    SimulatorError,
    accuracy,
    average,
    centre_crop,
    ten_crops,
    train,
)

X = np.random.default_rng(0).normal(size=(7, 2, 6, 5))


def linear(seed, classes=3, shape=(2, 6, 5), **options):
    return Network.sequential(shape, [Dense(classes)], rng=seed, **options)


def test_one_network_without_views_is_its_softmax():
    network = linear(0, dtype="float64")
    expected = special.softmax(network.predict(X), axis=1)
    np.testing.assert_allclose(average(network, X), expected, rtol=1e-15)
    np.testing.assert_allclose(average([network, network], X.tolist()), expected, rtol=1e-15)


def test_networks_and_views_are_averaged_together(torch):
    networks = [linear(seed, shape=(2, 4, 3), dtype="float64") for seed in range(3)]
    crops = ten_crops(X, (4, 3))
    weights = [(torch.tensor(n.params["dense1.weight"]), torch.tensor(n.params["dense1.bias"])) for n in networks]
    each = [
        torch.nn.functional.linear(torch.tensor(crop).flatten(1), *pair).softmax(dim=1)
        for crop in crops
        for pair in weights
    ]
    got = average(networks, X, views=lambda inputs: ten_crops(inputs, (4, 3)))
    np.testing.assert_allclose(got, torch.stack(each).mean(dim=0), rtol=1e-13)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_the_batches_bound_what_is_seen_at_once_and_change_nothing(batch_size):
    lengths = []

    def views(inputs):
        lengths.append(len(inputs))
        return np.stack([centre_crop(inputs, (4, 3)), inputs[..., :4, :3]])

    networks = (linear(seed, shape=(2, 4, 3), dtype="float64") for seed in range(2))  # any iterable
    got = average(networks, X, views=views, batch_size=batch_size)
    assert lengths == [len(X[i : i + batch_size]) for i in range(0, 7, batch_size)]
    whole = average([linear(seed, shape=(2, 4, 3), dtype="float64") for seed in range(2)], X, views=views)
    np.testing.assert_allclose(got, whole, rtol=1e-13)


def test_rows_are_probabilities_in_double_precision():
    p = average([linear(0), linear(1, dtype="float64")], X * 1000)  # logits far beyond the range of exp
    assert (p.shape, p.dtype) == ((7, 3), np.float64)
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    assert average(linear(0), X[:0]).shape == (0, 3)


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    return Catalog().load_data("digits").split(0.3, rng=0)


@pytest.fixture(scope="module")
def committee(digits):
    """Small networks that differ in their first weights and the order of their samples."""
    trained = []
    for seed in range(3):
        network = Network.sequential((1, 8, 8), [Dense(12), ReLU(), Dense(10)], rng=seed)
        *_, last = train(network, digits[0], epochs=8, optimizer=SGD(0.2), rng=seed)
        trained.append(last.network)
    return trained


def test_the_loss_of_the_average_is_below_the_average_of_the_losses(digits, committee):
    """Jensen: -log is convex, and strictly where the networks disagree."""
    held_out = digits[1]
    p = average(committee, held_out.inputs)
    losses = [CrossEntropy().value(network.predict(held_out.inputs), held_out.labels) for network in committee]
    loss = -np.log(p[np.arange(len(held_out)), held_out.labels]).mean()
    assert loss < np.mean(losses)
    assert loss == pytest.approx(CrossEntropy().value(np.log(p), held_out.labels), rel=1e-12)
    right = [accuracy(network.predict(held_out.inputs), held_out.labels) for network in committee]
    assert accuracy(p, held_out.labels) >= np.mean(right) > 0.8


def test_views_lower_the_loss_as_networks_do(digits, committee):
    held_out, network = digits[1], committee[0]

    def moved(inputs):
        return np.stack([inputs, np.roll(inputs, 1, axis=-1), np.roll(inputs, -1, axis=-1)])

    p = average(network, held_out.inputs, views=moved)
    losses = [CrossEntropy().value(network.predict(view), held_out.labels) for view in moved(held_out.inputs)]
    assert CrossEntropy().value(np.log(p), held_out.labels) < np.mean(losses)


def test_what_is_no_network_is_refused():
    with pytest.raises(
        ShapeError, match=r"average: expected networks, got Dense; write average\(\[first, second\], x\)"
    ):
        average([linear(0), Dense(3)], X)
    with pytest.raises(ShapeError, match="average: expected networks, got none; write average"):
        average([], X)


def test_outputs_are_logits_of_the_same_classes():
    with pytest.raises(ShapeError, match=r"logits \(classes,\) of the same classes, got outputs \(3,\), \(4,\); build"):
        average([linear(0), linear(0, classes=4)], X)
    with pytest.raises(ShapeError, match=r"same classes, got outputs \(2, 6, 5\)"):
        average(Network.sequential((2, 6, 5), [ReLU()], rng=0), X)
    two = Network.input((2, 6, 5)).add(Dense(3), name="a", rng=0).add(Dense(3), "input", name="b", rng=0)
    with pytest.raises(SimulatorError, match="expected one output"):
        average(two, X)


def test_samples_fit_the_networks():
    with pytest.raises(ShapeError, match=r"input: expected \(batch, 2, 6, 5\), got \(7, 2, 6, 4\)"):
        average(linear(0), X[..., :4])
    with pytest.raises(
        ShapeError, match=r"average: expected samples \(batch, channels, \*space\), got 3; give an array"
    ):
        average(linear(0), 3)
    with pytest.raises(ShapeError, match="average batch_size: expected an integer of at least 1, got 0"):
        average(linear(0), X, batch_size=0)


@pytest.mark.parametrize(
    "views",
    [lambda inputs: inputs, lambda inputs: inputs[None][:0], lambda inputs: 3.0, lambda inputs: inputs[None, :2]],
)
def test_views_stand_on_the_first_axis(views):
    with pytest.raises(
        ShapeError, match=r"average views: expected \(views, 7, ...\) for 7 samples, got .*; put the views"
    ):
        average(linear(0), X, views=views)
