"""The variational autoencoder: what it draws, how gradients pass the draw, and that both of its halves learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats
from simulator_plugins.architectures.vae import GaussianSample, decoder

from simulator import (
    Catalog,
    CosineDecay,
    Dataset,
    Network,
    ShapeError,
    SimulatorError,
    UnknownNameError,
    evaluate,
    train,
)
from simulator.testing import check_architecture, check_layer


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.mark.parametrize("options", [{}, {"input_shape": (6,), "hidden": 5, "code": 3}])
def test_it_keeps_the_promises_of_an_architecture(catalog, options):
    check_architecture(catalog, "vae", **options)


@pytest.mark.parametrize("shape", [(2,), (6, 3), (4, 2, 3)])
def test_the_draw_keeps_the_promises_of_a_layer(shape):
    check_layer(GaussianSample(), shape)


def test_draws_have_the_mean_and_the_variance_that_were_asked_for():
    n = 100_000
    x = np.broadcast_to(np.array([3.0, -1.0, np.log(4.0), np.log(0.25)])[:, None], (4, n))
    y, _, _ = GaussianSample().forward({}, {}, x, training=True, rng=np.random.default_rng(0))
    for drawn, mean, deviation in zip(y, (3, -1), (2, 0.5), strict=True):
        assert stats.kstest(drawn, "norm", (mean, deviation)).pvalue > 0.01
    assert abs(np.corrcoef(y)[0, 1]) < 4 / np.sqrt(n)


def test_after_training_it_is_the_mean():
    x = np.random.default_rng(0).normal(size=(3, 6, 2))
    np.testing.assert_array_equal(Network.sequential((6, 2), [GaussianSample()], dtype="float64").predict(x), x[:, :3])


def test_gradients_are_those_of_torch_for_the_same_noise(torch, agree):
    x, dy = np.random.default_rng(0).normal(size=(6, 5)), np.random.default_rng(1).normal(size=(3, 5))
    noise = np.random.default_rng(7).standard_normal((3, 5))
    leaf = torch.tensor(x, requires_grad=True)
    theirs = leaf[:3] + torch.exp(leaf[3:] / 2) * torch.tensor(noise)
    theirs.backward(torch.tensor(dy))
    y, pullback, _ = GaussianSample().forward({}, {}, x, training=True, rng=np.random.default_rng(7))
    agree(y, theirs.detach().numpy())
    agree(pullback(dy)[0][0], leaf.grad.numpy())


def test_a_seed_draws_the_same_in_either_precision():
    x = np.zeros((2, 4, 3))
    single, double = (
        Network.sequential((4, 3), [GaussianSample()], dtype=dtype).run(x, training=True, rng=3)["gaussiansample1"]
        for dtype in ("float32", "float64")
    )
    np.testing.assert_array_equal(single, double.astype(np.float32))
    assert single.dtype == np.float32


def test_an_odd_number_of_channels_is_refused():
    with pytest.raises(ShapeError, match="gaussian-sample: expected means and as many log-variances, got 3 channels;"):
        Network.sequential((3, 4), [GaussianSample()])


def test_the_decoder_is_the_second_half(catalog):
    network = catalog.build("vae", (2, 3), hidden=7, code=4, rng=0, dtype="float64")
    half = decoder(network)
    assert (half.input_shape, half.output_shape, half.dtype) == ((4,), (2, 3), np.float64)
    trace = network.run(np.random.default_rng(0).uniform(size=(5, 2, 3)))
    np.testing.assert_array_equal(half.predict(trace["sample"]), trace["decoded"])
    with pytest.raises(UnknownNameError, match="expected a node, got 'sample'"):
        decoder(catalog.build("mlp"))
    with pytest.raises(SimulatorError, match="network: expected weights, got none for dense1.weight"):
        decoder(catalog.build("vae", rng=None))


def test_the_bound_rises_and_the_decoder_draws_digits(catalog):
    pytest.importorskip("sklearn")
    data, held_out = (Dataset(d.inputs, d.inputs) for d in catalog.load_data("digits").split(0.2))
    network = catalog.build("vae")
    losses, _ = catalog.objective("vae", network)
    assert list(losses) == ["decoded", "gaussian"]
    lr = catalog.architectures.entry("vae").lr
    optimizer = catalog.create("optimizers", "momentum", lr=CosineDecay(lr, 20 * 45))
    epochs = list(train(network, data, epochs=20, batch_size=32, losses=losses, optimizer=optimizer))
    trained = epochs[-1].network
    assert epochs[-1].loss < epochs[0].loss < evaluate(network, data, losses=losses)["loss"]

    # A decoder that ignores its code can do no better than the mean picture: the code of this one is worth more.
    mean = data.inputs.mean(axis=0)[None].clip(1e-6, 1 - 1e-6)
    constant = losses["decoded"].value(np.repeat(special.logit(mean), len(held_out), axis=0), held_out.targets)
    assert evaluate(trained, held_out, losses=losses)["loss"] < constant - 2

    def nearest(pictures):
        apart = pictures.reshape(len(pictures), 1, 64) - data.inputs.reshape(1, -1, 64)
        return np.sqrt(np.square(apart).sum(axis=2)).min(axis=1).mean()

    codes = np.random.default_rng(0).standard_normal((100, 8))
    drawn = special.expit(decoder(trained).predict(codes))
    assert nearest(drawn) < nearest(np.repeat(mean, 2, axis=0))
    assert nearest(drawn) < nearest(np.random.default_rng(1).permuted(drawn, axis=0)) / 1.1  # pixels of other draws


@pytest.mark.parametrize("name", ["hidden", "code"])
def test_sizes_that_make_no_sense(catalog, name):
    with pytest.raises(ShapeError, match=f"vae {name}: expected an integer of at least 1, got 0"):
        catalog.build("vae", **{name: 0})
