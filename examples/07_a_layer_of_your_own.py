"""A layer of your own: choose which units are connected and which connections share a weight, the rest is given.

Learn: convolution is one way to share weights. A symmetric kernel is another, in a dozen lines: forward, backward,
gradient, counts and picture come from the pattern.
"""

from dataclasses import dataclass

import numpy as np

from simulator import Dataset, ExplicitPattern, MatrixLayer, Network, ShapeError, SquaredError, train
from simulator.testing import layer_checks


@dataclass(frozen=True)
class SymmetricConv(MatrixLayer):
    """A 1-D convolution of one channel whose kernel reads the same in both directions."""

    reach: int  # sites to either side of the middle one

    def output_shape(self, *input_shapes):
        if len(input_shapes[0]) != 2 or input_shapes[0][0] != 1:
            raise ShapeError(f"symmetric-conv: expected an input (1, n), got {input_shapes[0]}; reshape it first")
        return input_shapes[0]

    def weight_shape(self, input_shape):
        return (self.reach + 1,)

    def pattern(self, input_shape):
        n = input_shape[1]
        rows, cols = np.nonzero(np.abs(np.subtract.outer(range(n), range(n))) <= self.reach)
        return ExplicitPattern(rows, cols, np.abs(rows - cols), shape=(n, n), n_ties=self.reach + 1)


layer = SymmetricConv(reach=2)
network = Network.sequential((1, 7), [layer], rng=0, dtype="float64")
network = network.with_params({"symmetricconv1.weight": [3.0, 2.0, 1.0]})
print(network.node("symmetricconv1").matrix)
print(network.node("symmetricconv1").matrix.tocsr().toarray().astype(int))

# It learns: from pictures and their blurred copies it finds the blur, three numbers.
rng = np.random.default_rng(0)
sharp = rng.normal(size=(200, 1, 7))
blurred = network.predict(sharp)
fresh = Network.sequential((1, 7), [layer], rng=1, dtype="float64")
data = Dataset(sharp, blurred)
*_, last = train(fresh, data, epochs=30, losses=SquaredError(), batch_size=20)
print("found:", last.network.params["symmetricconv1.weight"].round(3), "after a loss of", f"{last.loss:.1e}")

# Every promise of a layer, checked: gradients, transposes, batches, precision ...
kept = [name for name, check in layer_checks(layer, (1, 7)) if check() is None]
print("promises that apply and are kept:", len(kept))
