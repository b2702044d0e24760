"""The gradient of a shared weight is a sum: one term for each connection that uses it.

Learn: a 5 x 5 kernel that slides over a picture of 28 x 28 is used at hundreds of places. Each place says on its own
how the weight should change; gradient descent follows their sum, in which most of them cancel: that is sharing.
"""

import numpy as np

from simulator import Catalog, CrossEntropy
from simulator.lab import edited, gradient_of, uses

catalog = Catalog()
data = catalog.load_data("digits", (1, 28, 28))
network = catalog.build("lenet5", data.shape, rng=0, dtype="float64", engine="auto")
x, labels = data.inputs[:16], data.targets[:16]

name = "conv1.weight[0, 0, 2, 1]"
print("LeNet-5 before any training: its weights are random.")
print(uses(network, name))
gradient = gradient_of(network, name, x, labels)
print(gradient)
for connection, term in list(zip(gradient.connections, gradient.terms, strict=True))[:5]:
    print(f"    {connection.source} -> {connection.target}: {term:+.2e}")
print(f"sum of their sizes {np.abs(gradient.terms).sum():.4f}, size of their sum {abs(gradient.total):.4f}")

# Someone else's opinion: change the weight a little, all its places at once, and see what the loss does.
loss, step = CrossEntropy(), 1e-5
value = uses(network, name).value
low, high = (loss.value(edited(network, name, value + s).predict(x), labels) for s in (-step, step))
print(f"slope of the loss, by moving the weight: {(high - low) / (2 * step):.9f}, by the sum: {gradient.total:.9f}")

# The same for every weight of the kernel, and for the bias, whose connections all read the number 1.
names = [f"conv1.weight[0, 0, {i}, {j}]" for i in range(5) for j in range(5)] + ["conv1.bias[0]"]
sums = [gradient_of(network, name, x, labels) for name in names]
print("largest difference from the trained gradient:", f"{max(abs(g.total - g.trained) for g in sums):.1e}")
