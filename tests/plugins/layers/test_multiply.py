"""The product of several inputs, against PyTorch."""

import math
import re

import numpy as np
import pytest
from simulator_plugins.layers.multiply import Multiply

from simulator import Add, AveragePool, Catalog, Conv, Network, ReLU, ShapeError, Sigmoid
from simulator.workspace import Workspace


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


@pytest.mark.parametrize(
    "shapes",
    [((3, 4, 5), (3, 1, 1)), ((1, 4, 5), (3, 4, 5)), ((3, 1, 5), (1, 4, 1)), ((2, 1), (1, 3), (2, 3))],
    ids=str,
)
def test_axes_of_size_1_are_broadcast_as_torch_does(shapes, torch, agree):
    rng = np.random.default_rng(0)
    net = Network.input(shapes[0], "x0", dtype=np.float64)
    for k, shape in enumerate(shapes[1:], start=1):
        net = net.add_input(shape, f"x{k}")
    net = net.add(Multiply(), *net.inputs, name="product")
    x = {f"x{k}": rng.standard_normal((4, *shape)) for k, shape in enumerate(shapes)}
    trace, leaves = net.run(x), {name: torch.tensor(array, requires_grad=True) for name, array in x.items()}
    y = math.prod(leaves.values())
    agree(trace["product"], y.detach().numpy())
    dy = rng.standard_normal(y.shape)
    y.backward(torch.tensor(dy))
    for name, gradient in trace.backward(dy).inputs.items():
        agree(gradient, leaves[name].grad.numpy())


@pytest.mark.parametrize("engine", ["scipy", "blas", "numba", "auto"])
def test_squeeze_and_excitation_is_that_of_torch(engine, engine_called, torch, agree):
    squeeze = [AveragePool("global"), Conv(2, kernel=1), ReLU(), Conv(8, kernel=1), Sigmoid()]
    net = Network.sequential(
        (3, 6, 5), [Conv(8, kernel=3), *squeeze], rng=0, dtype=np.float64, engine=engine_called(engine)
    )
    net = net.add(Multiply(), "conv1", net.last, name="scaled").add(Add(), "scaled", "conv3", name="y").add(ReLU())
    x = np.random.default_rng(1).standard_normal((4, 3, 6, 5))
    theirs = {name: torch.tensor(array, requires_grad=True) for name, array in net.params.items()}
    conv = torch.nn.functional.conv2d

    def layer(x, name):
        return conv(x, theirs[f"{name}.weight"], theirs[f"{name}.bias"])

    first = layer(torch.tensor(x), "conv1")
    third = layer(layer(first.mean((2, 3), keepdim=True), "conv2").relu(), "conv3")
    y = (first * third.sigmoid() + third).relu()
    dy = np.random.default_rng(2).standard_normal(y.shape)
    y.backward(torch.tensor(dy))
    workspace = Workspace(net)
    agree(workspace.run(net, x)[net.last], y.detach().numpy())
    trace = workspace.run(net, x, training=True, backward=True)
    agree(trace[net.last], y.detach().numpy())
    for name, gradient in trace.backward(dy).params.items():
        agree(gradient, theirs[name].grad.numpy())


@pytest.mark.parametrize("shapes", [((2, 3), (2, 2)), ((2, 3), (2,)), ((2,), (2, 1, 1))])
def test_inputs_that_do_not_fit_are_refused(shapes):
    got = re.escape(", ".join(map(str, shapes)))
    message = f"multiply: expected inputs with one number of axes, and on each sizes that are equal or 1, got {got}; "
    with pytest.raises(ShapeError, match=message):
        Multiply().output_shape(*shapes)


def test_the_catalog_offers_it_by_name():
    assert Catalog().layers["multiply"] is Multiply
