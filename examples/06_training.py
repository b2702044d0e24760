"""Training: gradient descent on the shared weights finds the filters by itself.

Learn: nobody tells the net what to look for. After a few seconds each of its 5x5 kernels responds to some strokes or
edges of the digits, and the whole net reads digits that it has never seen.
"""

import sys
from pathlib import Path

from simulator import Catalog, CosineDecay, RandomShift, evaluate, train
from simulator.draw import draw_activations, draw_kernel, save
from simulator.lab import silence

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

catalog = Catalog()
data, held_out = catalog.load_data("digits", (1, 28, 28)).split(0.2, rng=0)
network = catalog.build("lenet5", rng=0, engine="auto")
print("before:", f"{evaluate(network, held_out)['accuracy']:.1%} of the held-out digits are right")

steps = 5 * -(-len(data) // 32)
optimizer = catalog.optimizers["momentum"](CosineDecay(0.015, steps))
for epoch in train(network, data, epochs=5, batch_size=32, optimizer=optimizer, augment=RandomShift(1), rng=0):
    print(f"epoch {epoch.number}: loss {epoch.loss:.3f}")
network = epoch.network
print(silence(network, held_out))

save(draw_kernel(network, "conv1"), folder / "filters.png")
save(draw_activations(network, "relu1", held_out.inputs[0]), folder / "feature-maps.png")
print("drew", folder / "filters.png", "and", folder / "feature-maps.png")
print("held-out accuracy:", f"{evaluate(network, held_out)['accuracy']:.4f}")
