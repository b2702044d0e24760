"""The whole net as matrices, and the proof that each of them equals its layer.

Learn: LeNet-5 is five sparse matrices with functions between them. Nothing else happens when it runs.
"""

import numpy as np

from simulator import Catalog
from simulator.describe import describe
from simulator.equivalence import equivalence

network = Catalog().build("lenet5", rng=0, dtype="float64")
for row in describe(network).layers:
    if row.density is not None:
        counts = row.counts
        print(f"{row.name:8} {counts.params:>6} params, {counts.nonzeros:>7} nonzeros, {row.density:8.3%} of the cells")

# Run the net by nothing but sparse matrices: convolutions and dense layers are fixed ones, ReLU and max pooling choose
# theirs by what they see.
x = np.random.default_rng(0).normal(size=(1, 1, 28, 28))
units = x.ravel()
for name in list(network.nodes)[1:]:
    node = network.node(name)
    if "weight" in node.params:
        bias = node.params["bias"]
        units = node.matrix.tocsr() @ units + np.repeat(bias, node.matrix.shape[0] // len(bias))
    else:
        seen = units.reshape(node.node.input_shapes[0])
        (matrix,), offset = node.affine_at(seen)
        units = matrix @ units + offset
print("the net and its matrices differ by", f"{np.abs(units - network.predict(x)[0]).max():.1e}")

# The proof: each layer computed by loops over the picture, against its matrix, forward and backward.
proofs = [proof for proof in equivalence(network) if not proof.skipped]
print("layers that equal their matrix:", sum(proof.ok for proof in proofs), "of", len(proofs))
