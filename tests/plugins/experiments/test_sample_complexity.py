"""The experiment sample-complexity: the distribution, the three forms of one matrix, and what is read off a table."""

import numpy as np
import pytest
from simulator_plugins.experiments import sample_complexity
from simulator_plugins.experiments.sample_complexity import (
    PATCHES,
    SIGMA,
    SIZE,
    SampleComplexity,
    SoftThreshold,
    adder,
    drawn,
)

from simulator import Catalog, train
from simulator.testing import check_layer


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.fixture(scope="module")
def signal():
    signal = np.random.default_rng(7).standard_normal(SIZE)
    return signal / np.linalg.norm(signal)


def test_samples_are_noise_and_one_signed_signal(signal):
    n = 20_000
    data = drawn(signal, n, np.random.default_rng(0))
    patches, sign = data.inputs.reshape(n, PATCHES, SIZE).astype(float), 2 * data.targets - 1
    assert data.inputs.shape == (n, 1, 200)
    assert set(np.unique(data.targets)) == {0, 1}
    # Each patch holds the signal in a tenth of the samples, so its mean with the label's sign is w* / 10.
    mean, error = signal / PATCHES, np.sqrt(SIGMA**2 + 0.1) / np.sqrt(n)
    assert np.abs((sign[:, :, None] * patches).mean(axis=0) - mean).max() < 5 * error
    # Variance of the noise and, in a tenth of the samples, of the signal with either sign.
    covariance = np.cov(patches.reshape(n, -1), rowvar=False)
    one = SIGMA**2 * np.eye(SIZE) + np.outer(signal, signal) / PATCHES
    assert np.abs(covariance - np.kron(np.eye(PATCHES), one)).max() < 7e-3


def test_without_noise_there_is_exactly_one_signal(monkeypatch, signal):
    monkeypatch.setattr(sample_complexity, "SIGMA", 0.0)
    data = drawn(signal, 300, np.random.default_rng(0))
    projections = data.inputs.reshape(300, PATCHES, SIZE) @ signal
    assert np.allclose(np.abs(projections).sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(projections.sum(axis=1) > 0, data.targets[:, 0] == 1)
    places = np.bincount(np.abs(projections).argmax(axis=1), minlength=PATCHES)
    assert places.min() > 10


def test_who_knows_the_signal_finds_98_of_100_signs(catalog, signal):
    fresh = drawn(signal, 5000, np.random.default_rng(1))
    network = adder(catalog, "shared", np.random.default_rng(0))
    network = network.with_params({"hidden.weight": signal.reshape(1, 1, -1), "threshold.threshold": [0.5]})
    assert np.mean((network.predict(fresh.inputs) > 0) == fresh.targets) > 0.975


@pytest.mark.parametrize(
    ("weights", "free", "nonzeros"), [("shared", 20, 200), ("local", 200, 200), ("full", 2000, 2000)]
)
def test_one_matrix_with_three_ties(catalog, weights, free, nonzeros):
    matrix = adder(catalog, weights, np.random.default_rng(0)).node("hidden").matrix
    assert matrix.shape == (PATCHES, PATCHES * SIZE)
    assert (matrix.weight.size, matrix.nnz) == (free, nonzeros)
    if weights != "full":
        block = np.kron(np.eye(PATCHES), np.ones(SIZE)) > 0
        assert np.array_equal(matrix.tocsr().toarray() != 0, block)


def test_the_three_forms_compute_the_same_from_the_same_matrix(catalog, agree, signal):
    x = drawn(signal, 20, np.random.default_rng(0)).inputs
    threshold = {"threshold.threshold": [0.3]}
    networks = {
        weights: adder(catalog, weights, np.random.default_rng(0)).with_dtype("float64").with_params(threshold)
        for weights in ("shared", "local", "full")
    }
    matrix = networks["shared"].node("hidden").matrix.tocsr().toarray()
    w = networks["shared"].params["hidden.weight"].ravel()
    local = np.tile(w[:, None], PATCHES).reshape(networks["local"].params["hidden.weight"].shape)
    projections = x.reshape(20, PATCHES, SIZE).astype(float) @ w
    expected = (np.maximum(projections - 0.3, 0) - np.maximum(-projections - 0.3, 0)).sum(axis=1, keepdims=True)
    agree(networks["shared"].predict(x), expected)
    agree(networks["local"].with_params({"hidden.weight": local}).predict(x), expected)
    agree(networks["full"].with_params({"hidden.weight": matrix}).predict(x), expected)


def test_the_activation_keeps_every_promise_of_a_layer():
    check_layer(SoftThreshold(), (3, 4))


@pytest.mark.parametrize("b", [0.4, -0.4])
def test_the_activation_is_two_relus(agree, central_difference, b):
    x = np.random.default_rng(0).standard_normal((5, 7))

    def value(threshold):
        return np.maximum(x - threshold, 0) - np.maximum(-x - threshold, 0)

    y, pullback, _ = SoftThreshold().forward({"threshold": np.array([b])}, {}, x)
    agree(y, value(b))
    ((dx,), grads) = pullback(np.cos(x))
    agree(dx, np.cos(x) * ((x > b).astype(float) + (x < -b)))
    slope = central_difference(lambda t: np.sum(np.cos(x) * value(t[0])), np.array([b]))
    agree(grads["threshold"], slope, 1e-8)


def test_only_the_hidden_matrix_and_the_threshold_are_trained(catalog, monkeypatch):
    last = []

    def watched(*args, **options):
        for epoch in train(*args, **options):
            last.append(epoch.network.params)
            yield epoch

    monkeypatch.setattr(sample_complexity, "train", watched)
    SampleComplexity(steps=3).run({"weights": "local", "samples": 40}, 5, catalog)
    assert len(last) == 3
    assert np.array_equal(last[-1]["sum.weight"], np.ones((1, PATCHES)))
    assert last[-1]["threshold.threshold"] != 0


def row(weights, samples, accuracy):
    free = {"shared": 20, "local": 200, "full": 2000}[weights]
    return {
        "weights": weights, "samples": samples, "seeds": 3, "free weights": free, "accuracy": accuracy,
        "accuracy std": 0.01,
    }  # fmt: skip


def test_findings_interpolate_and_report_what_differs():
    def table(shared, local, full):
        return [
            row(weights, samples, accuracy)
            for weights, each in (("shared", shared), ("local", local), ("full", full))
            for samples, accuracy in zip((80, 320, 1280), each, strict=True)
        ]

    counts, shared, local, full = SampleComplexity().findings(
        table((0.94, 0.96, 0.97), (0.7, 0.8, 0.95), (0.6, 0.7, 0.8))
    )
    assert all(finding.holds for finding in (counts, shared, local, full))
    assert shared.measured.startswith("160;")  # half way from 94 to 96 % on the logarithmic axis
    assert local.measured.startswith("1280;")
    counts, shared, local, full = SampleComplexity().findings(
        table((0.5, 0.6, 0.7), (0.96, 0.97, 0.98), (0.96, 0.9, 0.99))
    )
    assert counts.holds
    assert not any(finding.holds for finding in (shared, local, full))
    assert shared.measured.startswith("not reached; 70.0%")


@pytest.mark.slow
def test_shared_weights_need_the_fewest_samples(catalog):
    experiment = SampleComplexity()
    accuracies = [
        experiment.run({"weights": weights, "samples": 320}, 0, catalog)[0]["accuracy"]
        for weights in ("shared", "local", "full")
    ]
    assert accuracies[0] > 0.94
    assert max(accuracies[1:]) < 0.9
