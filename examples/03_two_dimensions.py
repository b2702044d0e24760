"""A 2-D convolution: padding, stride, and the pictures of its matrices.

Learn: out = floor((n + 2 padding - kernel) / stride) + 1 along each axis, because a window that does not fit is left
out; taps that fall on the padding have no nonzero.
"""

import sys
from pathlib import Path

from simulator import Conv, Network
from simulator.draw import draw_matrix, save

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

# A 4x4 picture and a 3x3 kernel, in three ways. Equal colours are equal weights: nine, each on its own diagonals.
for padding, stride in ((0, 1), (1, 1), (1, 2)):
    network = Network.sequential((1, 4, 4), [Conv(1, kernel=3, padding=padding, stride=stride)], rng=0)
    size = (4 + 2 * padding - 3) // stride + 1  # // is division and floor
    print(f"padding {padding}, stride {stride}: floor({4 + 2 * padding - 3} / {stride}) + 1 = {size} along each axis")
    print("   ", network.output_shape, network.node("conv1").matrix)
    path = folder / f"convolution-padding-{padding}-stride-{stride}.png"
    save(draw_matrix(network, "conv1"), path)
    print("    drew", path)

# A colour picture: 32x32x3 with four 5x5 kernels gives four maps of 28x28.
colour = Network.sequential((3, 32, 32), [Conv(4, kernel=5)])
print(colour.output_shape, "from kernels of shape", colour.param_shapes["conv1.weight"])

# With padding 16 windows have 9 taps each, 144 in all. Those on the padding multiply zeros, and are left out.
padded = Network.sequential((1, 4, 4), [Conv(1, kernel=3, padding=1)])
print("nonzeros of the 144 taps with padding 1 and stride 1:", padded.node("conv1").pattern.nnz)
