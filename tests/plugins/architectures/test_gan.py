"""The game of a GAN: gradients of both players, one seed, one result, and that it ends with digits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import spatial
from simulator_plugins.architectures.gan import deceive, tell_apart, train_gan

from simulator import SGD, Catalog, CosineDecay, Dataset, Network, ShapeError, SimulatorError, evaluate, train
from simulator.testing import check_architecture


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def players(catalog, width=0.05, dtype="float64", rng=0, **options):
    generator = catalog.build("gan-generator", (3,), width=width, dtype=dtype, rng=rng, **options)
    return generator, catalog.build("gan-discriminator", width=width, dtype=dtype, rng=rng)


@pytest.mark.parametrize("options", [{}, {"input_shape": (5,), "shape": (3, 12, 8), "width": 0.1}])
def test_the_generator_keeps_the_promises_of_an_architecture(catalog, options):
    check_architecture(catalog, "gan-generator", **options)
    network = catalog.build("gan-generator", rng=None, **options)
    assert network.output_shape == options.get("shape", (1, 8, 8))


@pytest.mark.parametrize("options", [{}, {"input_shape": (3, 12, 8), "width": 0.1}])
def test_the_discriminator_keeps_the_promises_of_an_architecture(catalog, options):
    check_architecture(catalog, "gan-discriminator", **options)
    assert catalog.build("gan-discriminator", rng=None, **options).output_shape == (1,)


def test_going_up_is_going_down_transposed(catalog):
    generator, discriminator = catalog.build("gan-generator"), catalog.build("gan-discriminator")
    tied = generator.with_params({"up2.weight": discriminator.params["conv1.weight"]})
    up, down = tied.node("up2").matrix.tocsr(), discriminator.node("conv1").matrix.tocsr()
    np.testing.assert_array_equal(up.toarray(), down.toarray().T)


def test_both_players_follow_the_slopes_of_their_losses(catalog, central_difference):
    generator, discriminator = players(catalog)
    rng = np.random.default_rng(0)
    codes, real = rng.standard_normal((4, 3)), rng.uniform(size=(4, 1, 8, 8))

    def chances(generator, discriminator):
        """What the discriminator makes of real and of drawn pictures."""
        drawn = generator.run(codes, training=True)["picture"]
        return (1 / (1 + np.exp(-discriminator.predict(x)[:, 0])) for x in (real, drawn))

    def minus_v(generator, discriminator):
        of_real, of_drawn = chances(generator, discriminator)
        return -np.mean(np.log(of_real)) - np.mean(np.log(1 - of_drawn))

    def not_deceived(generator, discriminator):
        return -np.mean(np.log(list(chances(generator, discriminator))[1]))

    drawn = generator.run(codes, training=True)
    loss, gradients = tell_apart(discriminator, real, drawn["picture"], rng)
    assert loss == pytest.approx(minus_v(generator, discriminator), rel=1e-12)
    assert set(gradients) == set(discriminator.params)
    for name, array in discriminator.params.items():
        slope = central_difference(lambda a, n=name: minus_v(generator, discriminator.with_params({n: a})), array)
        np.testing.assert_allclose(gradients[name], slope, atol=1e-8)

    loss, gradients = deceive(drawn, "picture", discriminator, rng)
    assert loss == pytest.approx(not_deceived(generator, discriminator), rel=1e-12)
    assert set(gradients) == set(generator.params)
    for name, array in generator.params.items():
        slope = central_difference(lambda a, n=name: not_deceived(generator.with_params({n: a}), discriminator), array)
        np.testing.assert_allclose(gradients[name], slope, atol=1e-8)


def test_one_step_is_one_step_of_each_and_the_discriminator_moves_first(catalog):
    generator, discriminator = players(catalog)
    real = np.random.default_rng(1).uniform(size=(4, 1, 8, 8))
    (epoch,) = train_gan(
        generator, discriminator, Dataset(real, np.zeros(4)), optimizer=SGD(0.1), epochs=1, batch_size=4, rng=0
    )
    rng = np.random.default_rng(0)
    order = rng.permutation(4)
    drawn = generator.run(rng.standard_normal((4, 3)), training=True)
    d_loss, gradients = tell_apart(discriminator, real[order], drawn["picture"], rng)
    discriminator = discriminator.with_params({n: p - 0.1 * gradients[n] for n, p in discriminator.params.items()})
    g_loss, gradients = deceive(drawn, "picture", discriminator, rng)
    assert (epoch.number, epoch.generator_loss, epoch.discriminator_loss) == (1, g_loss, d_loss)
    for name, array in discriminator.params.items():
        np.testing.assert_array_equal(epoch.discriminator.params[name], array)
    for name, array in generator.params.items():
        np.testing.assert_array_equal(epoch.generator.params[name], array - 0.1 * gradients[name])
    np.testing.assert_array_equal(epoch.generator.buffers["norm1.running_mean"], drawn.buffers["norm1.running_mean"])


def test_a_seed_gives_one_game_and_all_pictures_are_seen(catalog):
    pictures = np.random.default_rng(0).uniform(size=(21, 1, 8, 8)).astype(np.float32)
    data, start = Dataset(pictures, np.zeros(21)), players(catalog, dtype="float32")
    adam = catalog.create("optimizers", "adam", lr=0.003, betas=(0.5, 0.999))
    games = [list(train_gan(*start, data, optimizer=adam, epochs=2, batch_size=8, rng=seed)) for seed in (3, 3, 4)]
    for first, again, other in zip(*games, strict=True):
        assert (first.generator_loss, first.discriminator_loss) == (again.generator_loss, again.discriminator_loss)
        for name, array in first.generator.params.items():
            np.testing.assert_array_equal(again.generator.params[name], array)
            assert array.dtype == np.float32
        assert first.generator_loss != other.generator_loss
    assert start[0].params["dense.weight"] is not games[0][-1].generator.params["dense.weight"]


def test_a_discriminator_that_cannot_tell_has_the_losses_of_a_coin(catalog):
    generator, discriminator = players(catalog)
    blind = discriminator.with_params({n: np.zeros_like(p) for n, p in discriminator.params.items()})
    data = Dataset(np.zeros((6, 1, 8, 8)), np.zeros(6))
    (epoch,) = train_gan(generator, blind, data, optimizer=SGD(0.0), epochs=1)
    assert epoch.generator_loss == pytest.approx(math.log(2), rel=1e-12)
    assert epoch.discriminator_loss == pytest.approx(2 * math.log(2), rel=1e-12)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": (4, 1, 8, 12)}, r"train-gan: expected pictures of one shape, got \(1, 8, 8\) from the generator, "),
        ({"discriminator": 2}, r"train-gan discriminator: expected one logit, got an output of shape \(2,\); end it"),
        ({"epochs": 0}, "train-gan epochs: expected an integer of at least 1, got 0"),
        ({"batch_size": 0}, "train-gan batch_size: expected an integer of at least 1, got 0"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(catalog, changed, message):
    generator, discriminator = players(catalog)
    if "discriminator" in changed:
        discriminator = Network.sequential((1, 8, 8), [catalog.make("dense", changed.pop("discriminator"))], rng=0)
    data = Dataset(np.zeros(changed.pop("data", (4, 1, 8, 8))), np.zeros(4))
    with pytest.raises(ShapeError, match=message):
        train_gan(generator, discriminator, data, optimizer=SGD(0.1), **changed)


@pytest.mark.parametrize("name", ["gan-generator", "gan-discriminator"])
def test_pictures_that_cannot_be_quartered(catalog, name):
    option = "shape" if name == "gan-generator" else "input_shape"
    with pytest.raises(ShapeError, match=f"{name}.*: expected a height and a width divisible by 4, got 8 x 10; resize"):
        catalog.build(name, **{option: (1, 8, 10)})


def test_a_step_that_is_too_large_is_reported(catalog):
    data = Dataset(np.random.default_rng(0).uniform(size=(8, 1, 8, 8)), np.zeros(8))
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(SimulatorError, match="train-gan: expected finite losses, got .* in epoch 1; use a smaller"),
    ):
        next(train_gan(*players(catalog, dtype="float32"), data, optimizer=SGD(1e38), epochs=1, batch_size=4))


@pytest.fixture(scope="module")
def digits(catalog):
    """Real digits to learn from, and others."""
    pytest.importorskip("sklearn")
    return catalog.load_data("digits").split(0.2)


@pytest.fixture(scope="module")
def classifier(catalog, digits):
    """A small convolutional net that has learnt real digits."""
    make = catalog.make
    data, held_out = digits
    layers = [
        make("conv", 16, kernel=3, padding=1), make("relu"), make("conv", 32, kernel=3, padding=1), make("relu"),
        make("max-pool", 2), make("dense", 64), make("relu"), make("dropout", 0.5), make("dense", 10),
    ]  # fmt: skip
    optimizer = catalog.create("optimizers", "adam", lr=CosineDecay(0.003, 12 * 45))
    network = Network.sequential((1, 8, 8), layers, rng=0)
    *_, epoch = train(network, data, epochs=12, batch_size=32, optimizer=optimizer)
    assert evaluate(epoch.network, held_out)["accuracy"] > 0.97
    return epoch.network


def mean_distance(classifier, pictures, real):
    """Mean over pictures of the distance to the nearest real digit, in the classifier's last hidden layer."""
    features, known = (classifier.run(x)["relu3"] for x in (pictures, real))
    return spatial.KDTree(known).query(features)[0].mean()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_game_ends_with_digits_of_most_kinds(catalog, digits, classifier, seed):
    data = catalog.load_data("digits")
    start = catalog.build("gan-generator", rng=seed), catalog.build("gan-discriminator", rng=seed + 1)
    adam = catalog.create("optimizers", "adam", lr=0.003, betas=(0.5, 0.999))
    *_, epoch = train_gan(*start, data, optimizer=adam, epochs=80, rng=seed)
    rng = np.random.default_rng(99)
    drawn = epoch.generator.predict(rng.standard_normal((1000, 8)))
    kinds = np.bincount(classifier.predict(drawn).argmax(axis=1), minlength=10)
    assert np.sum(kinds >= 10) >= 7  # each at least a percent of what is drawn
    # Noise is what the generator is fed with, standard normal numbers, here one for each pixel.
    noise = mean_distance(classifier, rng.standard_normal(drawn.shape), data.inputs)
    assert mean_distance(classifier, drawn, data.inputs) <= noise / 4
    # Digits that were held out are the measure of what can be reached.
    others, held_out = digits
    reached = mean_distance(classifier, held_out.inputs, others.inputs)
    assert mean_distance(classifier, drawn, others.inputs) <= 1.5 * reached
