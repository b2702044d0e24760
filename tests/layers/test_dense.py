"""Dense and sparse layers against plain products and PyTorch."""

import numpy as np
import pytest
from scipy import sparse

from simulator import Counts, Dense, ExplicitPattern, Network, ShapeError, Sparse, TiedMatrix


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3), (3, 1, 2, 1)])
def test_any_input_is_flattened_in_c_order(shape, agree):
    net = Network.sequential(shape, [Dense(4)], rng=0, dtype=np.float64)
    rng = np.random.default_rng(1)
    net = net.with_params({"dense1.bias": rng.standard_normal(4)})
    weight, bias = net.params["dense1.weight"], net.params["dense1.bias"]
    x = rng.standard_normal((5, *shape))
    trace = net.run(x)
    agree(trace["dense1"], x.reshape(5, 6) @ weight.T + bias)
    dy = rng.standard_normal((5, 4))
    gradients = trace.backward(dy)
    agree(gradients.inputs["input"], (dy @ weight).reshape(5, *shape))
    agree(gradients.params["dense1.weight"], dy.T @ x.reshape(5, 6))
    agree(gradients.params["dense1.bias"], dy.sum(axis=0))


def test_dense_is_what_torch_computes(torch, agree):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5)).double()
    net = Network.input((3, 2, 2), dtype=np.float64).add(Dense(5), name="1").with_params(module.state_dict())
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    y = module(x)
    trace = net.run(x.detach().numpy())
    agree(trace["1"], y.detach().numpy())
    dy = torch.randn_like(y)
    y.backward(dy)
    gradients = trace.backward(dy.numpy())
    agree(gradients.inputs["input"], x.grad.numpy())
    for name, parameter in module.named_parameters():
        agree(gradients.params[name], parameter.grad.numpy())


def test_every_cell_is_a_weight_of_its_own():
    net = Network.sequential((3, 2), [Dense(4, bias=False)], rng=0)
    W = net.node("dense1").matrix
    np.testing.assert_array_equal(W.tocsr().toarray(), net.params["dense1.weight"])
    assert repr(W) == "TiedMatrix 4 x 6: 24 nonzeros, 24 weights, none shared"


def test_published_counts():
    assert Dense(84).counts((120,)) == Counts(10_164, 10_164, 10_164, 10_080, 0, 10_080)  # LeNet-5 of 1998, F6
    assert Dense(1000, bias=False).counts((128, 3, 3)).params == 1_152_000
    assert Dense(10).param_shapes((3, 4)) == {"weight": (10, 12), "bias": (10,)}
    assert Dense(10, bias=False).param_shapes((3, 4)) == {"weight": (10, 12)}


@pytest.mark.parametrize("out", [0, -1])
def test_the_number_of_units_is_checked(out):
    with pytest.raises(ShapeError, match=r"dense out: expected an integer of at least 1, got"):
        Dense(out).output_shape((3,))


def test_any_sparse_matrix_is_a_layer(agree):
    cells = sparse.random_array((6, 8), density=0.3, rng=1)
    tied = TiedMatrix.from_sparse(cells)
    net = Network.sequential((2, 4), [Sparse(tied.pattern, (3, 2))], rng=0, dtype=np.float64)
    net = net.with_params({"sparse1.weight": tied.weight})
    x = np.random.default_rng(0).standard_normal((5, 2, 4))
    trace = net.run(x)
    assert net.output_shape == (3, 2)
    assert set(net.params) == {"sparse1.weight"}
    agree(trace["sparse1"].reshape(5, 6), x.reshape(5, 8) @ cells.T)
    dy = np.random.default_rng(1).standard_normal((5, 3, 2))
    agree(trace.backward(dy).inputs["input"].reshape(5, 8), dy.reshape(5, 6) @ cells)
    assert net.node("sparse1").pattern is tied.pattern


@pytest.mark.parametrize(("bias", "shape"), [(True, (3,)), ("unit", (3, 2))])
def test_a_sparse_layer_may_have_biases_per_channel_or_per_unit(bias, shape, agree):
    nothing = ExplicitPattern([], [], shape=(6, 4))
    net = Network.sequential((4,), [Sparse(nothing, (3, 2), bias=bias)], rng=0, dtype=np.float64)
    values = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    net = net.with_params({"sparse1.bias": values})
    expected = np.broadcast_to(values.reshape(*shape, *(1,) * (2 - len(shape))), (3, 2))
    agree(net.predict(np.ones((1, 4)))[0], expected)
    assert Sparse(nothing, (3, 2), bias=bias).counts((4,)) == Counts(values.size, connections=6, links=6)


def test_a_sparse_layer_fits_its_pattern():
    pattern = ExplicitPattern([0], [0], shape=(6, 4))
    assert Sparse(pattern).output_shape((2, 2)) == (6,)
    with pytest.raises(ShapeError, match=r"sparse shape: expected 6 output units, got 8 \(shape \(4, 2\)\); give"):
        Sparse(pattern, (4, 2)).output_shape((4,))
    with pytest.raises(ShapeError, match=r"sparse: expected an input of 4 units, got 6 \(shape \(3, 2\)\); use"):
        Sparse(pattern).output_shape((3, 2))


def test_what_is_no_pattern_is_refused_with_the_cure():
    matrix = sparse.csr_array(np.eye(3))
    with pytest.raises(ShapeError, match="Sparse connections: expected a Pattern, got a csr_array") as error:
        Sparse(matrix)
    cure = str(error.value).rpartition("use ")[2]
    pattern = eval(cure, {"TiedMatrix": TiedMatrix, "matrix": matrix, "ties": [0, 0, 0]})
    assert Sparse(pattern).weight_shape((3,)) == (1,)
    with pytest.raises(ShapeError, match="sparse: expected a pattern with rows and columns, got 0 x 3; give one that"):
        Network.sequential((3,), [Sparse(ExplicitPattern([], [], shape=(0, 3)))])
