"""Transposed convolutions draw: an autoencoder gives digits back, and a generator invents them.

Learn: if C takes a picture to fewer sites, Cᵀ goes the other way. An autoencoder is C and then Cᵀ. In a GAN Cᵀ alone
draws from noise, and learns only from what a discriminator, made of C, finds wrong with its pictures.
"""

import sys
from pathlib import Path

import matplotlib.figure
import numpy as np
from scipy.special import expit
from simulator_plugins.architectures.gan import train_gan

from simulator import Catalog, CosineDecay, Dataset, train

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

catalog = Catalog()
digits = catalog.load_data("digits")
EPOCHS, steps = 6, 6 * -(-len(digits) // 32)


def trained(name, data, losses=None):
    """An architecture after a few epochs."""
    network = catalog.build(name, data.shape, engine="auto")
    optimizer = catalog.create("optimizers", "momentum", lr=CosineDecay(catalog.architectures.entry(name).lr, steps))
    for epoch in train(network, data, epochs=EPOCHS, batch_size=32, losses=losses, optimizer=optimizer):
        if epoch.number in (1, EPOCHS):
            print(f"{name} after epoch {epoch.number}: loss {epoch.loss:.3f}")
    return epoch.network


losses = {"decoded": catalog.create("losses", "binary-cross-entropy")}
autoencoder = trained("autoencoder", Dataset(digits.inputs, digits.inputs), losses)  # its target is its input
print("down:", autoencoder.node("conv1").matrix)
print("up:  ", autoencoder.node("decoded").matrix)

# The game at half its width for 12 epochs; with width 1 and 80 epochs the pictures become clearer.
players = [catalog.build(f"gan-{part}", width=0.5, engine="auto") for part in ("generator", "discriminator")]
adam = catalog.create("optimizers", "adam", lr=0.006, betas=(0.5, 0.999))
for epoch in train_gan(*players, digits, optimizer=adam, epochs=12, batch_size=64, rng=0):
    if epoch.number % 2 == 0:
        scores = f"generator {epoch.generator_loss:.2f}, discriminator {epoch.discriminator_loss:.2f}"
        print(f"epoch {epoch.number}: {scores}")
drawn = epoch.generator.predict(np.random.default_rng(0).standard_normal((500, 8)))

real = digits.inputs[:12]
rows = {"real": real, "given back": expit(autoencoder.predict(real)), "invented": drawn[:12], "": drawn[12:24]}
figure = matplotlib.figure.Figure((9, 3.4))
for ax, (title, pictures) in zip(figure.subplots(len(rows)), rows.items(), strict=True):
    ax.imshow(
        np.hstack(np.pad(pictures[:, 0], ((0, 0), (0, 0), (0, 1)), constant_values=1)), cmap="gray", vmin=0, vmax=1
    )
    ax.set(xticks=[], yticks=[])
    ax.set_ylabel(title, rotation=0, ha="right", va="center")
figure.savefig(folder / "gan.png")
print("drew", folder / "gan.png")
kinds = trained("mlp", digits).predict(drawn).argmax(axis=1)
print("kinds of digits that are at least a percent of what was invented:", sum(np.bincount(kinds, minlength=10) >= 5))
