"""Activations from straight pieces against PyTorch, also where two pieces meet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from simulator_plugins.layers.hard import HardSigmoid, HardSwish, HardTanh, ReLU6

from simulator import Catalog, ShapeError

LAYERS = [HardSigmoid(), HardTanh(), HardTanh(-0.5, 2.0), ReLU6(), HardSwish()]
corners = st.sampled_from([-3.0, -1.0, -0.5, 0.0, 1.0, 2.0, 3.0, 6.0])
inputs = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=3, max_side=4),
    elements=corners | st.floats(-9, 9, width=32),
)


def torch_function(torch, layer):
    functional = torch.nn.functional
    return {
        HardSigmoid: lambda x: functional.relu6(x + 3) / 6,
        HardTanh: lambda x: functional.hardtanh(x, layer.low, layer.high),
        ReLU6: functional.relu6,
        HardSwish: functional.hardswish,
    }[type(layer)]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@given(x=inputs)
def test_values_and_slopes_are_those_of_torch(layer, x, torch, agree):
    leaf = torch.tensor(x, requires_grad=True)
    dy = np.random.default_rng(0).standard_normal(x.shape)
    theirs = torch_function(torch, layer)(leaf)
    theirs.backward(torch.tensor(dy))
    y, pullback, _ = layer.forward({}, {}, x)
    agree(y, theirs.detach().numpy())
    np.testing.assert_allclose(pullback(dy)[0][0], leaf.grad.numpy(), rtol=0, atol=1e-12)


def test_torchs_own_hard_sigmoid_takes_its_slope_in_single_precision(torch):
    x = np.linspace(-4, 4, 81)
    leaf = torch.tensor(x, requires_grad=True)
    theirs = torch.nn.functional.hardsigmoid(leaf)
    theirs.sum().backward()
    y, slope = HardSigmoid().value_and_slope(x)
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=0, atol=1e-15)
    np.testing.assert_allclose(slope, leaf.grad.numpy(), rtol=3e-8)


def test_the_slope_of_onnx():
    y, slope = HardSigmoid(0.2).value_and_slope(np.array([-3.0, -2.5, -1.0, 0.0, 2.0, 2.5]))
    np.testing.assert_allclose(y, [0, 0, 0.3, 0.5, 0.9, 1], rtol=0, atol=1e-15)
    assert slope.tolist() == [0, 0, 0.2, 0.2, 0.2, 0]


@pytest.mark.parametrize(
    ("layer", "diagonal", "offset"),
    [
        (HardSigmoid(0.25), [0, 0.25, 0.25, 0], [0, 0.5, 0.5, 1]),
        (HardTanh(-2.0, 1.5), [0, 1, 1, 0], [-2, 0, 0, 1.5]),
        (ReLU6(), [0, 0, 1, 0], [0, 0, 0, 6]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_for_one_sample_they_are_a_diagonal_and_an_offset(layer, diagonal, offset, dtype):
    (matrix,), found = layer.affine_at({}, {}, np.array([[-8.0, -1.0], [1.0, 8.0]], dtype))
    assert matrix.diagonal().tolist() == diagonal
    assert found.tolist() == offset
    assert matrix.dtype == found.dtype == dtype


def test_a_parabola_is_no_matrix():
    assert HardSwish().affine_at({}, {}, np.zeros((2, 3))) is None


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_nan_stays_nan(layer):
    y, _ = layer.value_and_slope(np.array([np.nan, 1.0]))
    assert np.isnan(y).tolist() == [True, False]


@pytest.mark.parametrize(("low", "high"), [(1.0, -1.0), (0.5, 0.5)])
def test_bounds_the_wrong_way_round_are_refused(low, high):
    with pytest.raises(ShapeError, match=f"hard-tanh: expected low below high, got {low} and {high}; give the lower"):
        HardTanh(low, high).output_shape((3,))


@pytest.mark.parametrize("slope", [0, -0.2, float("inf")])
def test_a_slope_that_does_not_rise_is_refused(slope):
    with pytest.raises(ShapeError, match=f"hard-sigmoid slope: expected a positive number, got {slope!r}; 1 / 6 is"):
        HardSigmoid(slope).output_shape((3,))


def test_the_catalog_offers_them_by_name():
    names = {"hard-sigmoid": HardSigmoid, "hard-tanh": HardTanh, "relu6": ReLU6, "hard-swish": HardSwish}
    assert names.items() <= dict(Catalog().layers).items()
