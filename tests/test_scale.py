"""ImageNet-size networks through the window view, with weights in place; a few units are computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, MatrixLayer


def check_units(name, input_shape, seed, units, stride=1):
    """Compare some units of matrix layers with the sum over their rows, and the whole prediction with a run."""
    catalog = Catalog()
    engine = catalog.engine("blas")
    network = catalog.build(name, input_shape, rng=seed, engine=engine)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1, *input_shape)).astype(np.float32)
    trace = network.run(x)
    layers = [n for n in network.nodes.values() if isinstance(n.layer, MatrixLayer)]
    for node in layers[::stride] + layers[-1:]:
        below, y = trace[node.inputs[0]][0].ravel(), trace[node.name][0].ravel()
        bias = network.node(node.name).params.get("bias", np.zeros(1))
        scale = np.abs(y).max()
        for unit in (0, len(y) - 1, *rng.integers(len(y), size=units)):
            row = network.matrix_row(node.name, int(unit))
            by_hand = np.dot(row.values.astype(np.float64), below[row.cols]) + bias[row.position[0] % len(bias)]
            assert abs(y[unit] - by_hand) <= 1e-4 * scale, (node.name, row)
    np.testing.assert_allclose(network.predict(x), trace[network.output_name], rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_units_of_a_small_input(name):
    check_units(name, (3, 32, 32), 0, 2, stride=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_units_at_full_size(name):
    check_units(name, (3, 224, 224), 1, 10)
