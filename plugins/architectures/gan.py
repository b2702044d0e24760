"""Generative adversarial nets: one network draws pictures, another tells them from real ones, and both learn.

In this file

- `gan_generator` and `gan_discriminator`, the two networks;
- `train_gan`, the game between them. An architecture is one network, so the game is a loop of its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from simulator import Network, ShapeError, SimulatorError, check_image, hookimpl, narrowed
from simulator.network import as_rng
from simulator.windows import check_size


def gan_generator(make, input_shape=(8,), rng=None, shape: Sequence[int] = (1, 8, 8), width: float = 1.0):
    """The generator of a GAN: a few random numbers become a picture.

    As a matrix: a dense one, and two transposed convolutions Cᵀ, where C takes a picture to a quarter of its sites.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (8,)
        Of one code, whose units are drawn from a standard normal.
    rng : numpy.random.Generator or None
        Draws the first weights.
    shape : tuple of int, default (1, 8, 8)
        Of one picture: channels, height, width, the last two divisible by 4.
    width : float, default 1
        Factor on the number of feature maps.

    Raises
    ------
    ShapeError
        If a height or width is not divisible by 4.

    Notes
    -----
    Pictures are grey from 0 to 1. Batch normalisation stands between the matrices.

    References
    ----------
    A. Radford, L. Metz, S. Chintala, "Unsupervised representation learning with deep convolutional generative
    adversarial networks", 2016 (kernels, strides and normalisation; here two transposed convolutions and a sigmoid).

    Examples
    --------
    >>> from simulator import Catalog
    >>> net = Catalog().build("gan-generator")
    >>> net.node("up2").matrix
    TiedMatrix 64 x 512: 6272 nonzeros share 512 weights
    """
    _check_quarters("gan-generator shape", shape)
    channels, height, across = shape
    scaled = narrowed("gan-generator", width)
    start = (scaled(64), height // 4, across // 4)
    layers = [
        ("dense", make("dense", math.prod(start), bias=False)),
        ("reshape", make("reshape", start)),
        ("norm1", make("batch-norm")),
        ("relu1", make("relu")),
        ("up1", make("conv-transpose", scaled(32), kernel=4, stride=2, padding=1, bias=False)),
        ("norm2", make("batch-norm")),
        ("relu2", make("relu")),
        ("up2", make("conv-transpose", channels, kernel=4, stride=2, padding=1)),
        ("picture", make("sigmoid")),
    ]
    return Network.input(input_shape, "code").chain(layers, rng=rng)


def gan_discriminator(make, input_shape=(1, 8, 8), rng=None, width: float = 1.0):
    """The discriminator of a GAN: one logit that says how real a picture looks.

    As a matrix: two convolutions of stride 2, each to a quarter of the sites, and a single row.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (1, 8, 8)
        Of one picture: channels, height, width, the last two divisible by 4.
    rng : numpy.random.Generator or None
        Draws the first weights.
    width : float, default 1
        Factor on the number of feature maps.

    Raises
    ------
    ShapeError
        If a height or width is not divisible by 4.

    References
    ----------
    A. Radford, L. Metz, S. Chintala, "Unsupervised representation learning with deep convolutional generative
    adversarial networks", 2016 (here without normalisation, so that no picture is judged by its neighbours).

    Examples
    --------
    >>> from simulator import Catalog
    >>> Catalog().build("gan-discriminator")
    Network 5 layers, 33633 params: (1, 8, 8) -> (1,)
    """
    _check_quarters("gan-discriminator", input_shape)
    scaled = narrowed("gan-discriminator", width)
    layers = [
        ("conv1", make("conv", scaled(32), kernel=4, stride=2, padding=1)),
        ("relu1", make("leaky-relu", 0.2)),
        ("conv2", make("conv", scaled(64), kernel=4, stride=2, padding=1)),
        ("relu2", make("leaky-relu", 0.2)),
        ("real", make("dense", 1)),
    ]
    return Network.input(input_shape).chain(layers, rng=rng)


def _check_quarters(who, shape):
    check_image(who, shape, least=4)
    if shape[1] % 4 or shape[2] % 4:
        raise ShapeError(
            f"{who}: expected a height and a width divisible by 4, got {shape[1]} x {shape[2]}; resize the pictures"
        )


@dataclass(frozen=True, eq=False)
class GANEpoch:
    """The state of the game after one pass over the real pictures.

    Parameters
    ----------
    number : int
        Counted from 1.
    generator, discriminator : Network
        With the weights after this epoch.
    generator_loss : float
        Mean of −log D(G(z)) over the epoch's batches; log 2 = 0.69 where the discriminator cannot tell.
    discriminator_loss : float
        Mean of −log D(x) − log(1 − D(G(z))); 2 log 2 = 1.39 where it cannot tell.
    seconds : float
        That the epoch took.
    """

    number: int
    generator: Network
    discriminator: Network
    generator_loss: float
    discriminator_loss: float
    seconds: float


def train_gan(generator, discriminator, data, *, optimizer, epochs=80, batch_size=32, rng=0):
    """Let a generator and a discriminator play, and yield both after every epoch.

    Parameters
    ----------
    generator : Network
        From a code to a picture; it is fed with normal numbers.
    discriminator : Network
        From a picture to one logit, large for a real one.
    data : Dataset
        The real pictures; their targets are not used.
    optimizer : Optimizer
        Takes the steps of both players; Adam with betas (0.5, 0.999) and a rate of 0.003 suits the bundled ones.
    epochs : int, default 80
        Passes over the data.
    batch_size : int, default 32
        Most pictures of each kind per step; the batches of an epoch are of about one size.
    rng : numpy.random.Generator or int, default 0
        Shuffles, and draws the codes. One seed, one result.

    Yields
    ------
    GANEpoch

    Raises
    ------
    ShapeError
        If the networks and the pictures do not fit, or a number is not positive.
    SimulatorError
        If a loss is no longer finite.

    Notes
    -----
    The discriminator D climbs V = log D(x) + log(1 − D(G(z))), the generator G climbs log D(G(z)), which has the fixed
    point of descending V, but a gradient also where D is sure. That gradient goes back through D to the pictures, and
    from there through G. In each step D moves first.

    References
    ----------
    I. Goodfellow et al., "Generative adversarial nets", 2014.

    Examples
    --------
    >>> from simulator import Catalog
    >>> catalog = Catalog()
    >>> players = catalog.build("gan-generator", width=0.1), catalog.build("gan-discriminator", width=0.1)
    >>> adam = catalog.create("optimizers", "adam", lr=0.003, betas=(0.5, 0.999))
    >>> for epoch in train_gan(*players, catalog.load_data("digits").take(slice(64)), optimizer=adam, epochs=2):
    ...     print(epoch.number, epoch.generator.predict(np.zeros((5, 8))).shape)
    1 (5, 1, 8, 8)
    2 (5, 1, 8, 8)
    """
    shapes = generator.output_shape, discriminator.input_shape, data.shape
    if len(set(shapes)) > 1:
        raise ShapeError(
            "train-gan: expected pictures of one shape, got {} from the generator, {} for the discriminator and {} in "
            "the data; build the networks for the data".format(*shapes)
        )
    if discriminator.output_shape != (1,):
        raise ShapeError(
            f"train-gan discriminator: expected one logit, got an output of shape {discriminator.output_shape}; end it "
            "in a dense layer with one unit"
        )
    check_size(epochs, "train-gan epochs")
    check_size(batch_size, "train-gan batch_size")
    pictures = epochs * len(data)
    generator = generator.settled(batch_size, 3 * pictures)
    discriminator = discriminator.settled(2 * batch_size, 9 * pictures)  # real ones, drawn ones, and these once more
    return _epochs(generator, discriminator, data.inputs, optimizer, epochs, batch_size, as_rng(rng))


def _epochs(generator, discriminator, pictures, optimizer, epochs, batch_size, rng):
    g_state, d_state = optimizer.init(generator.params), optimizer.init(discriminator.params)
    for number in range(1, epochs + 1):
        start, losses = time.perf_counter(), []
        for batch in np.array_split(rng.permutation(len(pictures)), math.ceil(len(pictures) / batch_size)):
            codes = rng.standard_normal((len(batch), *generator.input_shape))
            drawn = generator.run(codes, training=True, rng=rng)
            d_loss, gradients = tell_apart(discriminator, pictures[batch], drawn[generator.output_name], rng)
            new, d_state = optimizer.step(discriminator.params, gradients, d_state)
            discriminator = discriminator.with_params(new, copy=False)
            g_loss, gradients = deceive(drawn, generator.output_name, discriminator, rng)
            new, g_state = optimizer.step(generator.params, gradients, g_state)
            generator = generator.with_params(new, copy=False).with_buffers(drawn.buffers)
            if not math.isfinite(g_loss + d_loss):
                raise SimulatorError(
                    f"train-gan: expected finite losses, got {g_loss} and {d_loss} in epoch {number}; use a smaller "
                    "learning rate"
                )
            losses.append((g_loss, d_loss))
        g_mean, d_mean = np.mean(losses, axis=0).tolist()
        yield GANEpoch(number, generator, discriminator, g_mean, d_mean, time.perf_counter() - start)


def tell_apart(discriminator, real, drawn, rng):
    """The discriminator's loss −V on real and drawn pictures, and its gradients, a dict by param."""
    seen = discriminator.run(np.concatenate([real, drawn]), training=True, rng=rng)
    logits = seen[discriminator.output_name]  # (2 * batch, 1)
    wrong = np.where(np.arange(len(logits)) < len(real), -1, 1).astype(logits.dtype)[:, None]
    loss = 2 * float(np.mean(np.logaddexp(0, wrong * logits)))
    return loss, seen.backward(wrong * scipy.special.expit(wrong * logits) / len(real), params_only=True).params


def deceive(drawn, picture, discriminator, rng):
    """The generator's loss −log D(G(z)) of a run that drew pictures, and the generator's gradients, a dict by param."""
    judged = discriminator.run(drawn[picture], training=True, rng=rng)
    logits = judged[discriminator.output_name]  # (batch, 1)
    loss = float(np.mean(np.logaddexp(0, -logits)))
    towards_real = judged.backward(-scipy.special.expit(-logits) / len(logits)).inputs[discriminator.input_name]
    return loss, drawn.backward({picture: towards_real}, params_only=True).params


@hookimpl
def register_architectures(register):
    register("gan-generator", gan_generator, task="part", examples=[{"width": 0.1}])
    register("gan-discriminator", gan_discriminator, task="part", examples=[{"width": 0.1}])
