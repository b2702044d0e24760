"""Activations against their formulas, PyTorch and central differences."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simulator import Elementwise, LeakyReLU, LogSoftmax, Network, ReLU, ScaledTanh, Sigmoid, Softmax, Tanh

NUMBERS = {
    ReLU(): lambda x: np.where(x > 0, x, 0),
    LeakyReLU(): lambda x: np.where(x > 0, x, 0.01 * x),
    LeakyReLU(0.2): lambda x: np.where(x > 0, x, 0.2 * x),
    Sigmoid(): lambda x: 1 / (1 + np.exp(-x)),
    Tanh(): np.tanh,
    ScaledTanh(): lambda x: 1.7159 * np.tanh(2 * x / 3),
    Softmax(): lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True),
    LogSoftmax(): lambda x: x - np.log(np.exp(x).sum(axis=1, keepdims=True)),
}
LAYERS = list(NUMBERS)
inputs = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=4, max_side=3), elements=st.floats(-30, 30, width=32)
)


def run(layer, x):
    """The trace of a network that is nothing but the layer."""
    net = Network.sequential(x.shape[1:], [layer], dtype=np.float64)
    return net.run(x), net.outputs[0]


def torch_function(torch, layer):
    functional = torch.nn.functional
    return {
        ReLU: functional.relu,
        LeakyReLU: lambda x: functional.leaky_relu(x, layer.slope),
        Sigmoid: torch.sigmoid,
        Tanh: torch.tanh,
        ScaledTanh: lambda x: 1.7159 * torch.tanh(2 * x / 3),
        Softmax: lambda x: functional.softmax(x, 1),
        LogSoftmax: lambda x: functional.log_softmax(x, 1),
    }[type(layer)]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@given(x=inputs)
def test_values_are_those_of_the_formula(layer, x):
    trace, name = run(layer, x)
    np.testing.assert_allclose(trace[name], NUMBERS[layer](x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_slopes_agree_with_central_differences(layer, central_difference):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 3, 2)), rng.standard_normal((2, 3, 2))
    trace, _ = run(layer, x)
    slope = central_difference(lambda x: np.sum(dy * NUMBERS[layer](x)), x)
    np.testing.assert_allclose(trace.backward(dy).inputs["input"], slope, rtol=0, atol=1e-9)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@given(x=inputs)
def test_values_and_slopes_are_those_of_torch(layer, x, torch, agree):
    leaf = torch.tensor(x, requires_grad=True)
    y = torch_function(torch, layer)(leaf)
    dy = np.random.default_rng(0).standard_normal(x.shape)
    y.backward(torch.tensor(dy))
    trace, name = run(layer, x)
    agree(trace[name], y.detach().numpy())
    np.testing.assert_allclose(trace.backward(dy).inputs["input"], leaf.grad.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("layer", "negative"), [(ReLU(), 0), (LeakyReLU(0.2), 0.2)], ids=repr)
def test_for_one_sample_a_piecewise_linear_activation_is_a_diagonal(layer, negative):
    sample = np.array([[-2.0, 0.0, 3.0], [1.0, -1.0, 0.5]])
    (matrix,), offset = layer.affine_at({}, {}, sample)
    assert matrix.diagonal().tolist() == [negative, negative, 1, 1, negative, 1]
    assert offset.tolist() == [0] * 6
    np.testing.assert_allclose(matrix @ sample.ravel(), NUMBERS[layer](sample).ravel(), rtol=0, atol=1e-15)
    (matrix,), offset = layer.affine_at({}, {}, sample.astype(np.float32))
    assert (matrix.dtype, offset.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("layer", [Sigmoid(), Tanh(), ScaledTanh(), Softmax(), LogSoftmax()], ids=repr)
def test_smooth_activations_are_no_matrix(layer):
    assert layer.affine_at({}, {}, np.zeros((2, 3))) is None


def test_a_threshold_has_no_slope_at_zero():
    trace, _ = run(ReLU(), np.array([[-1.0, 0.0, 1.0]]))
    assert trace.backward(np.ones((1, 3))).inputs["input"].tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_huge_inputs_do_not_overflow(layer):
    trace, name = run(layer, np.array([[-1e4, 0.0, 1e4]]))
    assert np.all(np.isfinite(trace[name]))
    assert np.all(np.isfinite(trace.backward(np.ones((1, 3))).inputs["input"]))


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_single_precision_stays_single(layer):
    net = Network.sequential((3,), [layer])
    trace = net.run(np.array([[-1.0, 0.0, 2.0]]))
    assert trace[net.outputs[0]].dtype == np.float32
    assert trace.backward(np.ones((1, 3))).inputs["input"].dtype == np.float32


def test_softmax_works_on_the_channels_of_each_site(agree):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    trace, name = run(Softmax(), x)
    agree(trace[name].sum(axis=1), np.ones((2, 4, 5)))
    shifted, name = run(Softmax(), x + 7)
    agree(shifted[name], trace[name])


def test_lecuns_tanh_keeps_plus_and_minus_one():
    trace, name = run(ScaledTanh(), np.array([[-1.0, 1.0]]))
    np.testing.assert_allclose(trace[name], [[-1, 1]], rtol=0, atol=1e-5)


def test_an_activation_of_your_own_gives_value_and_slope():
    @dataclass(frozen=True)
    class Square(Elementwise):
        def value_and_slope(self, x):
            return x * x, 2 * x

    trace, name = run(Square(), np.array([[3.0, -2.0]]))
    assert trace[name].tolist() == [[9, 4]]
    assert trace.backward(np.ones((1, 2))).inputs["input"].tolist() == [[6, -4]]
    assert Square().affine_at({}, {}, np.ones(2)) is None
    with pytest.raises(TypeError, match="abstract"):
        Elementwise()
