"""The leaky ReLU that learns its slope, against PyTorch."""

import numpy as np
import pytest
from simulator_plugins.layers.prelu import PReLU

from simulator import Catalog, Network, ShapeError


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("per_channel", [True, False])
def test_values_and_gradients_are_those_of_torch(shape, per_channel, torch, agree):
    rng = np.random.default_rng(0)
    net = Network.sequential(shape, [PReLU(per_channel=per_channel)], dtype=np.float64)
    weights = net.param_shapes["prelu1.weight"]
    assert weights == (shape[0] if per_channel else 1,)
    net = net.with_params({"prelu1.weight": rng.standard_normal(weights)})
    x = rng.standard_normal((5, *shape))
    x.flat[::3] = 0
    trace = net.run(x)
    dy = rng.standard_normal(x.shape)
    gradients = trace.backward(dy)
    leaf = torch.tensor(x, requires_grad=True)
    weight = torch.tensor(net.params["prelu1.weight"], requires_grad=True)
    y = torch.nn.functional.prelu(leaf, weight)
    y.backward(torch.tensor(dy))
    agree(trace["prelu1"], y.detach().numpy())
    agree(gradients.inputs["input"], leaf.grad.numpy())
    agree(gradients.params["prelu1.weight"], weight.grad.numpy())


@pytest.mark.parametrize(("layer", "first"), [(PReLU(), [0.25] * 3), (PReLU(0.1, per_channel=False), [0.1])])
def test_first_weights(layer, first):
    net = Network.sequential((3, 2), [layer], rng=0)
    assert net.params["prelu1.weight"].tolist() == np.float32(first).tolist()
    assert layer.counts((3, 2)).params == len(first)


def test_for_one_sample_it_is_a_diagonal_of_ones_and_weights():
    sample = np.array([[-2.0, 0.0, 3.0], [1.0, -1.0, 0.5]], np.float32)
    (matrix,), offset = PReLU().affine_at({"weight": np.array([0.5, -2], np.float32)}, {}, sample)
    assert matrix.diagonal().tolist() == [0.5, 0.5, 1, 1, -2, 1]
    assert offset.tolist() == [0] * 6
    assert matrix.dtype == offset.dtype == np.float32


@pytest.mark.parametrize("init", [float("inf"), float("-inf")])
def test_a_first_weight_that_is_no_number_is_refused(init):
    with pytest.raises(ShapeError, match="prelu init: expected a finite number, got .*; 0.25 is usual"):
        PReLU(init).output_shape((3,))


def test_the_catalog_offers_it_by_name():
    assert Catalog().layers["prelu"] is PReLU
