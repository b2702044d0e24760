"""Receptive fields: how far a unit sees, over how many paths, and how much of that it uses.

Learn: the border of a field follows a formula, its inside does not: most paths lead from the middle. With equal weights
the influence has the shape of the path counts, a bell whose width grows with the root of the depth only
(Luo et al., 2016): the effective field is a small part of the field.
"""

import sys
from pathlib import Path

import numpy as np

from simulator import Catalog, Conv, Network
from simulator.draw import draw_field, save
from simulator.lab import influence, paths

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

# The closed formula: a layer adds (kernel - 1) times the distance of its inputs, and multiplies this by its stride.
vgg = Catalog().build("vgg16", rng=None)  # no weights: fields need none
size, jump = 1, 1
for name, node in vgg.nodes.items():
    if len(node.shape) == 3 and hasattr(node.layer, "kernel"):
        kernel = node.layer.kernel
        stride = kernel if name.startswith("pool") else 1
        size, jump = size + (kernel - 1) * jump, jump * stride
        last = name
field = vgg.receptive_field(f"{last}[0, 3, 3]")
print(f"formula: {size} sites, {jump} apart; mask: {field.size[0]} sites, {field.stride[0]} apart, box {field.box}")
print(f"one unit of {last} is reached over {paths(vgg, f'{last}[0, 3, 3]').sum():,} paths")
print("and one pixel reaches", vgg.projective_field("input[0, 100, 100]", of=last))

# Effective fields: n convolutions of 3 taps with equal weights.
for depth in (5, 20, 80):
    net = Network.sequential((1, 201), [Conv(1, 3, padding=1, bias=False) for _ in range(depth)], dtype="float64")
    net = net.with_params({name: np.full(shape, 1 / 3) for name, shape in net.param_shapes.items()})
    slopes = influence(net, f"conv{depth}[0, 100]", np.zeros((1, 201)))[0]
    spread = np.sqrt(slopes @ (np.arange(201) - 100.0) ** 2)
    seen = net.receptive_field(f"conv{depth}[0, 100]").mask.sum()
    print(f"{depth} layers see {seen} sites, standard deviation {spread:.4f}; formula {np.sqrt(depth * 2 / 3):.4f}")

catalog = Catalog()
digit = catalog.load_data("digits", (1, 28, 28)).inputs[0]
save(draw_field(catalog.build("lenet5", rng=0), "conv2[3, 4, 5]", digit), folder / "field.png")
print("drew", folder / "field.png", "- of a LeNet-5 whose weights are random")
print("effective share of the field of 80 layers, four standard deviations:", f"{4 * spread / seen:.4f}")
