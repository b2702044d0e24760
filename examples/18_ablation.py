"""Ablation: what a trained net is without each of its channels and units.

Learn: a channel of a convolution is many rows of one matrix that share their weights. Clamp it to zero, and all that
reads it changes; some channels the net cannot do without, others it would not miss. What a unit would like to see most
is another question, and gradient ascent on the input answers it.
"""

import sys
from pathlib import Path

from simulator import Catalog, Conv, Dense, MaxPool, Network, ReLU, train
from simulator.draw import draw_ablation, draw_responses, save
from simulator.lab import ablation, effect, preferred_input, strongest

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
catalog = Catalog()
data, held_out = catalog.load_data("digits").split(0.2, rng=0)
layers = [Conv(8, kernel=3), ReLU(), MaxPool(2), Dense(30), ReLU(), Dense(10)]
network = Network.sequential(data.shape, layers, rng=0, engine=catalog.engine("auto"))
optimizer = catalog.create("optimizers", "momentum", lr=0.05)
for epoch in train(network, data, epochs=9, batch_size=32, optimizer=optimizer, rng=0):
    if epoch.number % 3 == 0:
        print(f"epoch {epoch.number}: loss {epoch.loss:.3f}")
network = epoch.network

# Each channel clamped in turn, on samples that the net has never seen; then each unit of the pooling behind them.
channels = ablation(network, held_out, "relu1", by="channel")
for channel, loss, accuracy in channels.ranking:
    print(f"without {channel}: loss {loss:.3f}, accuracy {accuracy:.2%}")
print(f"with all of them: loss {channels.loss_before:.3f}, accuracy {channels.accuracy_before:.2%}")
save(draw_ablation(ablation(network, held_out, "maxpool1", by="unit")), folder / "ablation.png")

# The most harmful one, for a single sample: only what comes after the channel changes.
worst = next(channels.ranking)[0]
x, label = held_out.inputs[1], held_out.labels[1]
found = effect(network, x, ablate=worst, target=label)
print(f"\na {label} without {worst}: {found}")
for name in found.changed:
    print("   ", found.changes[name])

# What the channel is there for: samples to which it responds most, and the input of their size that it would prefer.
samples = strongest(network, worst, data)
preferred = preferred_input(network, ("relu1", samples.fields[0].position), x0=samples.inputs[0])
save(draw_responses(samples, preferred), folder / "responses.png")
print(f"\n{samples}\n{preferred}\ndrew ablation.png and responses.png")
print("times as large the loss is without it:", f"{channels.loss.max() / channels.loss_before:.2f}")
