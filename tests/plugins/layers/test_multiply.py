"""The product of several inputs, against PyTorch."""

import numpy as np
import pytest
from simulator_plugins.layers.multiply import Multiply

from simulator import Catalog, Network, ShapeError


@pytest.mark.parametrize("count", [2, 3, 4])
def test_values_and_gradients_are_those_of_torch(count, torch, agree):
    rng = np.random.default_rng(0)
    net = Network.input((2, 3), "x0", dtype=np.float64)
    for k in range(1, count):
        net = net.add_input((2, 3), f"x{k}")
    net = net.add(Multiply(), *net.inputs, name="product")
    x = {name: rng.standard_normal((5, 2, 3)) for name in net.inputs}
    for k, array in enumerate(x.values()):
        array.flat[k :: count + 1] = 0  # a quotient would be 0 / 0
    trace, dy = net.run(x), rng.standard_normal((5, 2, 3))
    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in x.items()}
    y = torch.stack(list(leaves.values())).prod(dim=0)
    y.backward(torch.tensor(dy))
    agree(trace["product"], y.detach().numpy())
    for name, gradient in trace.backward(dy).inputs.items():
        agree(gradient, leaves[name].grad.numpy())
    assert Multiply().affine_at({}, {}, *(array[0] for array in x.values())) is None


def test_one_node_read_twice_is_a_square():
    net = Network.input((3,), dtype=np.float64).add(Multiply(), "input", "input", name="square")
    trace = net.run(np.array([[1.0, -2.0, 3.0]]))
    assert trace["square"].tolist() == [[1, 4, 9]]
    assert trace.backward(np.ones((1, 3))).inputs["input"].tolist() == [[2, -4, 6]]


def test_inputs_of_different_shapes_are_refused():
    with pytest.raises(
        ShapeError, match=r"multiply: expected inputs of one shape, got \(2, 3\), \(2, 1\); project or pad one"
    ):
        Multiply().output_shape((2, 3), (2, 1))


def test_the_catalog_offers_it_by_name():
    assert Catalog().layers["multiply"] is Multiply
