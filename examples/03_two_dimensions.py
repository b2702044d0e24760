"""A 2-D convolution: padding, stride, and the picture of its matrix.

Learn: out = (n + 2 padding - kernel) / stride + 1 along each axis; taps that fall on the padding have no nonzero.
"""

import sys
from pathlib import Path

from simulator import Conv, Network
from simulator.draw import draw_matrix, save

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

# A 4x4 picture and a 3x3 kernel: 2x2 outputs, a 4 x 16 matrix with 36 nonzeros.
for options in ({}, {"padding": 1}, {"stride": 2, "padding": 1}):
    network = Network.sequential((1, 4, 4), [Conv(1, kernel=3, **options)], rng=0)
    shape, matrix = network.output_shape, network.node("conv1").matrix
    print(f"{options or 'plain'!s:28} -> {shape}, {matrix}")

# Equal colours are equal weights: nine colours, each on its own diagonals.
network = Network.sequential((1, 4, 4), [Conv(1, kernel=3)], rng=0)
save(draw_matrix(network, "conv1"), folder / "convolution-matrix.png")
print("drew", folder / "convolution-matrix.png")

# A colour picture: 32x32x3 with four 5x5 kernels gives four maps of 28x28.
colour = Network.sequential((3, 32, 32), [Conv(4, kernel=5)])
print(colour.output_shape, "from kernels of shape", colour.param_shapes["conv1.weight"])
print("nonzeros of the 4x4 example:", network.node("conv1").matrix.nnz)
