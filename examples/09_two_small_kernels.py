"""Two 3x3 convolutions against one 5x5: the same field of view with 18 weights instead of 25.

Learn: one layer after another is one matrix times another. The product of two 3x3 matrices has its nonzeros exactly
where the 5x5 matrix has them; VGG is built on that.
"""

import numpy as np
from scipy.signal import convolve2d

from simulator import Conv, Network

small = Network.sequential((1, 12, 12), [Conv(1, 3, bias=False), Conv(1, 3, bias=False)], rng=0, dtype="float64")
large = Network.sequential((1, 12, 12), [Conv(1, 5, bias=False)], rng=0, dtype="float64")
first, second = (small.node(name).matrix for name in ("conv1", "conv2"))
five = large.node("conv1").matrix
print("conv1:", first)
print("conv2:", second)
print("5x5:  ", five)

product = second.tocsr() @ first.tocsr()
same = np.array_equal(product.toarray() != 0, five.tocsr().toarray() != 0)
print("conv2 @ conv1 has", product.nnz, "nonzeros, in the cells of the 5x5 matrix:", same)

# Without a function between them two layers are one: its 5x5 kernel is the convolution of the two 3x3 kernels.
kernels = [array[0, 0] for array in small.params.values()]
merged = large.with_params({"conv1.weight": convolve2d(*kernels)[None, None]})
x = np.random.default_rng(0).normal(size=(4, 1, 12, 12))
print("the pair and its 5x5 kernel differ by", f"{np.abs(small.predict(x) - merged.predict(x)).max():.0e}")

# But not every 5x5 kernel is such a pair: 18 weights cannot say what 25 can.
nudges = [convolve2d(kernel, one).ravel() for kernel in kernels for one in np.eye(9).reshape(9, 3, 3)]
print("directions in which the pair can move its 5x5 kernel:", np.linalg.matrix_rank(nudges), "of 25")

for channels in (1, 64, 512):
    pair = 2 * Conv(channels, 3, bias=False).counts((channels, 14, 14)).params
    single = Conv(channels, 5, bias=False).counts((channels, 14, 14)).params
    print(f"channels {channels:3}: {pair:9,} weights against {single:9,}")
print("share of the weights:", pair / single)
