"""The restricted Boltzmann machine against sums over all of its states, and that it learns by drawing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import special
from simulator_plugins.architectures.rbm import contrastive_divergence, free_energy, gibbs, reconstruction, slope

from simulator import SGD, Catalog, Dataset, ShapeError, SimulatorError
from simulator.testing import check_architecture

TINY = [{"input_shape": (4,), "hidden": 3}, {"input_shape": (1, 2, 3), "hidden": 2, "kernel": 2}]  # dense, convolution


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def tiny(catalog, options, size=1.0):
    """A machine of few units with random weights and biases."""
    network = catalog.build("rbm", rng=0, dtype="float64", **options)
    rng = np.random.default_rng(1)
    return network.with_params({n: size * rng.standard_normal(s) for n, s in network.param_shapes.items()})


def states(*shape):
    """All states of binary units, (2^n, *shape)."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=int(np.prod(shape))))).reshape(-1, *shape)


def log_likelihood(network, v):
    return np.mean(-free_energy(network, v)) - special.logsumexp(-free_energy(network, states(*network.input_shape)))


@pytest.mark.parametrize("options", [{}, {"hidden": 3, "kernel": 3}, {"input_shape": (2, 9), "hidden": 4, "kernel": 2}])
def test_it_keeps_the_promises_of_an_architecture(catalog, options):
    check_architecture(catalog, "rbm", **options)


@pytest.mark.parametrize("options", TINY)
def test_the_free_energy_is_the_sum_over_all_hidden_states(catalog, options):
    network = tiny(catalog, options)
    W = network.node("hidden").matrix.tocsr().toarray()
    c = np.repeat(network.params["hidden.bias"], len(W) // len(network.params["hidden.bias"]))
    b = network.params["visible.weight"][0]
    v, h = states(*options["input_shape"]), states(len(W))
    flat = v.reshape(len(v), -1)
    energy = -(flat @ b)[:, None] - h @ c - flat @ W.T @ h.T
    np.testing.assert_allclose(free_energy(network, v), -special.logsumexp(-energy, axis=1), rtol=1e-12)


@pytest.mark.parametrize("options", TINY)
def test_the_positive_phase_is_the_slope_of_the_free_energy(catalog, options, central_difference):
    network = tiny(catalog, options)
    v = np.random.default_rng(0).uniform(size=(5, *options["input_shape"]))
    slopes = slope(network, v)
    assert set(slopes) == set(network.params)
    for name, array in network.params.items():

        def liked(array, name=name):
            return np.mean(-free_energy(network.with_params({name: array}), v))

        np.testing.assert_allclose(slopes[name], central_difference(liked, array), atol=1e-9)


@pytest.mark.parametrize("options", TINY)
def test_many_gibbs_steps_draw_from_the_distribution(catalog, options):
    network = tiny(catalog, options)
    every = states(*options["input_shape"])
    chances = special.softmax(-free_energy(network, every))
    n = 20_000
    drawn = gibbs(network, np.zeros((n, *options["input_shape"])), steps=50)
    assert drawn.shape == (n, *options["input_shape"])
    counts = np.bincount(drawn.reshape(n, -1).astype(int) @ 2 ** np.arange(drawn[0].size)[::-1], minlength=len(every))
    assert np.all(np.abs(counts - n * chances) < 4.5 * np.sqrt(n * chances))


def test_what_is_drawn_depends_on_the_seed_alone(catalog):
    network, v = tiny(catalog, TINY[1]), np.ones((9, 1, 2, 3))
    np.testing.assert_array_equal(gibbs(network, v, 3, rng=5), gibbs(network, v, 3, rng=np.random.default_rng(5)))
    assert np.any(gibbs(network, v, 3, rng=5) != gibbs(network, v, 3, rng=6))
    np.testing.assert_array_equal(gibbs(network, v, 0), v)


@pytest.mark.parametrize("persistent", [False, True])
def test_with_many_steps_the_exact_likelihood_rises(catalog, persistent):
    v = np.array([[1, 1, 0, 0]] * 3 + [[0, 0, 1, 1]] * 3 + [[1, 1, 1, 1]] * 2, float)
    counts = np.array([3, 3, 2])
    best = np.sum(counts / 8 * np.log(counts / 8))  # of any distribution
    network = tiny(catalog, TINY[0], size=0.1)
    data = Dataset(np.repeat(v, 20, axis=0), np.zeros(160))
    learning = contrastive_divergence(
        network, data, steps=10, persistent=persistent, optimizer=SGD(0.5), epochs=150, batch_size=80
    )
    likelihoods = [log_likelihood(epoch.network, v) for epoch in learning]
    assert log_likelihood(network, v) < -2.6  # 4 log 2 = 2.77 for a machine that knows nothing
    assert best > likelihoods[-1] > likelihoods[20] > log_likelihood(network, v)
    assert likelihoods[-1] > best - 0.2


def test_the_direction_is_the_gradient_of_the_likelihood_if_the_draws_are_exact(catalog, central_difference):
    network = tiny(catalog, TINY[0])
    v, every = states(4)[[3, 5, 5]], states(4)
    chances = special.softmax(-free_energy(network, every))
    for name, array in network.params.items():

        def likelihood(array, name=name):
            return log_likelihood(network.with_params({name: array}), v)

        negative = sum(chance * slope(network, state[None])[name] for chance, state in zip(chances, every, strict=True))
        np.testing.assert_allclose(slope(network, v)[name] - negative, central_difference(likelihood, array), atol=1e-8)


@pytest.mark.parametrize("options", [{}, {"hidden": 16, "kernel": 4}])
def test_the_reconstruction_of_digits_gets_better(catalog, options):
    pytest.importorskip("sklearn")
    data = catalog.load_data("digits").take(slice(600))
    network = catalog.build("rbm", **options)
    optimizer = SGD(0.1) if not options else SGD(0.01)
    first, second = (
        list(contrastive_divergence(network, data, optimizer=optimizer, epochs=8, rng=0)) for _ in range(2)
    )
    spread = np.mean(np.square(data.inputs - data.inputs.mean(axis=0)))  # the error of the mean picture
    assert first[-1].error < first[0].error < np.mean(np.square(data.inputs - reconstruction(network, data.inputs)))
    assert first[-1].error < 0.8 * spread
    for name, array in first[-1].network.params.items():
        np.testing.assert_array_equal(array, second[-1].network.params[name])


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (np.zeros((3, 5)), {}, r"contrastive-divergence: expected samples of shape \(4,\), got \(5,\); build the"),
        (np.full((3, 4), 2.0), {}, "contrastive-divergence: expected inputs from 0 to 1, got 2.0 to 2.0; scale"),
        (np.zeros((3, 4)), {"steps": 0}, "contrastive-divergence steps: expected an integer of at least 1, got 0"),
        (np.zeros((3, 4)), {"epochs": 1.5}, "contrastive-divergence epochs: expected an integer of at least 1"),
        (np.zeros((3, 4)), {"batch_size": 0}, "contrastive-divergence batch_size: expected an integer of at least 1"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(catalog, inputs, options, message):
    network = catalog.build("rbm", **TINY[0])
    with pytest.raises(ShapeError, match=message):
        contrastive_divergence(network, Dataset(inputs, np.zeros(3)), **options)


def test_a_step_that_is_too_large_is_reported(catalog):
    data = Dataset(np.random.default_rng(0).uniform(size=(8, 4)), np.zeros(8))
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(SimulatorError, match="contrastive-divergence: expected finite weights, .* after epoch 1; use"),
    ):
        next(contrastive_divergence(catalog.build("rbm", **TINY[0]), data, optimizer=SGD(1e39), batch_size=2))
