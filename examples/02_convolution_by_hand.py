"""A 1-D convolution by hand, as a matrix: three weights slide over five inputs.

Learn: a convolutional layer is a fully connected layer whose matrix is mostly zero, and whose nonzeros are shared. What
it computes is called cross-correlation elsewhere: the kernel is not flipped, as it is in a convolution of mathematics.
"""

import numpy as np

from simulator import Conv, Network

x = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
w = np.array([10.0, 1.0, -1.0])

# By hand: o1 = x1 w1 + x2 w2 + x3 w3, o2 = x2 w1 + x3 w2 + x4 w3, and so on.
by_hand = np.array([x[i] * w[0] + x[i + 1] * w[1] + x[i + 2] * w[2] for i in range(3)])
print("by hand:  ", by_hand)
print("the same: ", np.correlate(x, w), "is NumPy's cross-correlation;", np.convolve(x, w, "valid"), "its convolution")

# As a matrix: each output is a row; the same three weights stand in every row, one step further right.
network = Network.sequential((1, 5), [Conv(1, kernel=3, bias=False)], dtype="float64")
network = network.with_params({"conv1.weight": w.reshape(1, 1, 3)})
W = network.node("conv1").matrix
print(W)
print(W.tocsr().toarray())
print("by matrix:", W @ x)

# Backwards: the gradient of an input is Wᵀ dy; that of a shared weight is the sum over all its connections.
dy = np.ones(3)
print("gradient of the weights:", W.grad(x, dy), "= sums of three neighbouring inputs")
print("largest difference:", np.abs(W @ x - by_hand).max())
