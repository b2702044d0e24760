"""One neuron: what comes in times the weights, added up; and how gradient descent finds the weights.

Learn: a neuron is one row of a matrix. Training moves its weights against the gradient.
"""

import numpy as np

from simulator import SGD, Dataset, Dense, Network, SquaredError, train

# A neuron with three inputs: y = w1 x1 + w2 x2 + w3 x3 + b. Its matrix has one row.
neuron = Network.sequential((3,), [Dense(1)], dtype="float64")
neuron = neuron.with_params({"dense1.weight": [[1.0, -2.0, 0.5]], "dense1.bias": [0.1]})
x = np.array([[2.0, 1.0, 4.0]])
print("the matrix:", neuron.node("dense1").matrix.tocsr().toarray())
print("y =", neuron.predict(x)[0, 0], "= 1*2 - 2*1 + 0.5*4 + 0.1")

# A teacher neuron makes examples; a neuron that starts at zero learns the teacher's weights from them.
rng = np.random.default_rng(0)
inputs = rng.normal(size=(100, 3))
examples = Dataset(inputs, neuron.predict(inputs))
pupil = Network.sequential((3,), [Dense(1, init="zeros")], rng=0, dtype="float64")
for epoch in train(pupil, examples, epochs=20, batch_size=10, optimizer=SGD(0.1), losses=SquaredError()):
    if epoch.number in (1, 5, 20):
        print(f"epoch {epoch.number:>2}: loss {epoch.loss:.2e}")
learned = epoch.network.params["dense1.weight"][0]
print("learned weights:", learned.round(3))
print("largest error of a weight:", f"{np.abs(learned - [1.0, -2.0, 0.5]).max():.1e}")
