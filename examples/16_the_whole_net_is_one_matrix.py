"""The whole net is one matrix: at one digit LeNet-5 is f(x) = A x + b, and near it, too.

Learn: ReLU and maximum pooling choose their matrices by what they see. Once they have chosen, all layers multiply into
one matrix of 10 rows, each a picture. Another digit gets another matrix: on the way there they can be counted.
"""

import sys
from pathlib import Path

import numpy as np

from simulator import Catalog, train
from simulator.draw import draw_rows, save
from simulator.lab import affine, pieces

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
catalog = Catalog()
digits = catalog.load_data("digits", (1, 28, 28))
network = catalog.build("lenet5", rng=0, engine="auto", width=0.5)
adam = catalog.create("optimizers", "adam", lr=0.002)
for epoch in train(network, digits.take(np.arange(1000)), epochs=3, optimizer=adam, rng=0):
    print(f"epoch {epoch.number}: loss {epoch.loss:.3f}")
network = epoch.network.with_dtype("float64").with_engine(catalog.engine("blas"))

x, other = digits.inputs[1500], digits.inputs[1501]
found = affine(network, x)
print(found)
print(f"network and A x + b differ by {found.difference:.0e} of the largest output")
nearby = x + 1e-6 * np.random.default_rng(0).normal(size=x.shape)
print("so they do for a sample nearby:", f"{np.abs(found(nearby) - network.predict(nearby[None])[0]).max():.0e}")
print("but not for another digit:", f"{np.abs(found(other) - network.predict(other[None])[0]).max():.1f}")
for unit in found.y.argsort()[::-1][:2]:
    row = found.A.toarray()[unit]
    print(f"output {unit}: its row times the digit is {row @ x.ravel():.2f}, and b adds {found.b[unit]:.2f}")
save(draw_rows(found), folder / "rows.png")
print("drew", folder / "rows.png")

crossed = pieces(network, x, other)
print(f"from this digit to the next: {crossed.regions} linear regions; the layers choose another matrix")
for name, count in crossed.layers.items():
    if count:
        print(f"  {name} {count} times")
print("different matrices on the way:", crossed.matrices)
