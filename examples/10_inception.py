"""Inception and the 1x1 convolution: a small dense net at every site, and four branches side by side.

Learn: a 1x1 convolution is a dense matrix between channels, repeated for every site. Put before the 3x3 and the 5x5 it
makes an inception module affordable; joining branches is stacking matrices.
"""

import numpy as np
from scipy import sparse

from simulator import Catalog, Conv, Network
from simulator.describe import describe

# A 1x1 convolution: the channel matrix, once for every site. As a formula it is a Kronecker product.
net = Network.sequential((3, 4, 4), [Conv(2, 1, bias=False)], rng=0, dtype="float64")
weight = net.params["conv1.weight"][:, :, 0, 0]  # (out_channels, in_channels)
repeated = sparse.kron(weight, sparse.eye_array(16)).toarray()
print(
    net.node("conv1").matrix,
    "- kron(weight, identity):",
    np.array_equal(net.node("conv1").matrix.tocsr().toarray(), repeated),
)


def module(shape, ones, reduce3, threes, reduce5, fives, pooled, rng=0):
    """Four branches on one input; a reduction of 0 leaves the 1x1 before a larger kernel out."""
    make = Catalog().make
    net = Network.input(shape).chain([("1x1", make("conv", ones, 1))], rng=rng)
    for size, reduce, maps in ((3, reduce3, threes), (5, reduce5, fives)):
        before = [(f"reduce{size}", make("conv", reduce, 1)), (f"relu{size}", make("relu"))] if reduce else []
        net = net.chain(
            [*before, (f"{size}x{size}", make("conv", maps, size, padding=size // 2))], after="input", rng=rng
        )
    before = [("pool", make("max-pool", 3, stride=1, padding=1))]
    net = net.chain([*before, ("pooled", make("conv", pooled, 1))] if pooled else before, after="input", rng=rng)
    return net.add(make("concatenate"), "1x1", "3x3", "5x5", net.last, name="join")


naive = describe(module((192, 28, 28), 64, 0, 128, 0, 32, 0, rng=None)).totals
reduced = describe(module((192, 28, 28), 64, 96, 128, 16, 32, 32, rng=None)).totals
for name, counts in (("without 1x1", naive), ("with 1x1", reduced)):
    print(f"{name:12} {counts.params:9,} params {counts.macs:13,} MACs {counts.nonzeros:13,} nonzeros")

# The join as a matrix: each branch writes into rows of its own.
small = module((3, 5, 5), 2, 2, 3, 1, 2, 1).with_dtype("float64")
x = np.random.default_rng(0).normal(size=(1, 3, 5, 5))
trace = small.run(x)
branches = [trace[name] for name in ("1x1", "3x3", "5x5", "pooled")]
matrices, _ = small.node("join").affine_at(*(b[0] for b in branches))
stacked = sum(m @ b.ravel() for m, b in zip(matrices, branches, strict=True))
print("the join and its stacked identities differ by", f"{np.abs(stacked - trace['join'].ravel()).max():.0e}")
biases = 64 + 96 + 128 + 16 + 32 + 32  # one for each map
print("weights of GoogLeNet's module 3a:", reduced.params - biases)
