"""Pooling as a matrix: an average is a fixed matrix, a maximum chooses its matrix by the input.

Learn: pooling has no weights to train. The mean dilutes a strong response, the maximum keeps it and forgives a shift.
"""

import numpy as np

from simulator import AveragePool, MaxPool, Network

x = np.zeros((1, 1, 4, 4))
x[0, 0, 1, 1] = 4.0  # one strong response

average = Network.sequential((1, 4, 4), [AveragePool(2)], rng=0, dtype="float64")
print("average:", average.node("averagepool1").matrix)
print("the row of its first output, as a picture:")
print(average.node("averagepool1").matrix.tocsr().toarray()[0].reshape(4, 4))

maximum = Network.sequential((1, 4, 4), [MaxPool(2)], rng=0, dtype="float64")
print("the response after averaging:", average.predict(x).max(), "after the maximum:", maximum.predict(x).max())

# For one input the maximum is a matrix, too: a single 1 in each row, where the largest value stands.
(chosen,), _ = maximum.node("maxpool1").affine_at(x[0])
print("the input chose the columns", chosen.indices, "- one for each output")
same = np.array_equal(chosen @ x[0].ravel(), maximum.predict(x).ravel())
print("the matrix gives the same output:", same)

# Shift tolerance: the same cross moved by one pixel agrees better after pooling.
cross = np.eye(8) + np.eye(8)[::-1]
moved = np.roll(cross, 1, axis=1)
pool = Network.sequential((1, 8, 8), [MaxPool(2)], rng=0)
a, b = (pool.predict(p[None, None])[0, 0] for p in (cross, moved))
print("pixels set in both pictures:", int((cross * moved > 0).sum()), "of", cross.size)
print("cells set in both pooled maps:", int((a * b > 0).sum()), "of", a.size)
