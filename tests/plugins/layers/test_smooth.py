"""Smooth activations against PyTorch, and where they are large, small or single."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from simulator_plugins.layers.smooth import ELU, GELU, SELU, Mish, SiLU, Softplus

from simulator import Catalog, ShapeError

LAYERS = [ELU(), ELU(0.3), SELU(), GELU(), GELU("tanh"), SiLU(), Mish(), Softplus(), Softplus(0.5), Softplus(3.0)]
inputs = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=3, max_side=4), elements=st.floats(-30, 30))


def torch_function(torch, layer):
    functional = torch.nn.functional
    return {
        ELU: lambda x: functional.elu(x, layer.alpha),
        SELU: functional.selu,
        GELU: lambda x: functional.gelu(x, approximate=layer.approximate),
        SiLU: functional.silu,
        Mish: functional.mish,
        Softplus: lambda x: functional.softplus(x, layer.beta, threshold=100),
    }[type(layer)]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@given(x=inputs)
def test_values_and_slopes_are_those_of_torch(layer, x, torch):
    leaf = torch.tensor(x, requires_grad=True)
    dy = np.random.default_rng(0).standard_normal(x.shape)
    theirs = torch_function(torch, layer)(leaf)
    theirs.backward(torch.tensor(dy))
    y, pullback, _ = layer.forward({}, {}, x)
    # Absolute: torch takes 1 + erf, which has no digits left in the far tail.
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(pullback(dy)[0][0], leaf.grad.numpy(), rtol=0, atol=1e-12)
    assert layer.affine_at({}, {}, x) is None


@pytest.mark.parametrize("beta", [0.5, 1.0, 4.0])
def test_softplus_has_no_threshold_and_torch_is_off_above_its_own(beta, torch):
    x = np.linspace(19, 23, 101) / beta
    y, slope = Softplus(beta).value_and_slope(x)
    np.testing.assert_allclose(y, np.log1p(np.exp(beta * x)) / beta, rtol=1e-15)
    difference = y - torch.nn.functional.softplus(torch.tensor(x), beta).numpy()
    assert 1.9e-9 / beta < difference.max() < 2.1e-9 / beta
    assert np.all(slope < 1)


def test_softplus_keeps_its_digits_where_it_is_almost_zero():
    y, slope = Softplus().value_and_slope(np.array([-700.0, -40.0]))
    np.testing.assert_allclose(y, np.exp([-700.0, -40.0]), rtol=1e-13)
    np.testing.assert_allclose(slope, np.exp([-700.0, -40.0]), rtol=1e-13)


def test_gelu_keeps_its_digits_in_the_far_tail():
    y, _ = GELU().value_and_slope(np.array([-20.0, -6.0]))
    np.testing.assert_allclose(y, [-20 * 2.753624118606234e-89, -6 * 9.865876450376981e-10], rtol=1e-12)


def test_selu_keeps_mean_and_variance():
    x = np.random.default_rng(0).standard_normal(1_000_000)
    y, _ = SELU().value_and_slope(x)
    assert abs(y.mean()) < 0.005  # five standard errors
    assert abs(y.var() - 1) < 0.01


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_inputs_do_not_overflow(layer, dtype):
    y, slope = layer.value_and_slope(np.array([[-1e4, 0, 1e4]], dtype))
    assert y.dtype == slope.dtype == dtype
    right = SELU().value_and_slope(np.ones(1))[1].item() if isinstance(layer, SELU) else 1
    np.testing.assert_allclose(slope[0, [0, 2]], [0, right], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(y[0, 2], right * 1e4, rtol=1e-6)
    assert -2 < y[0, 0] <= 0


@pytest.mark.parametrize(
    ("layer", "wrong"),
    [
        (ELU(-1.0), "elu alpha: expected a finite number of at least 0, got -1.0"),
        (Softplus(0.0), "softplus beta: expected a positive number, got 0.0; 1 is the usual one"),
        (Softplus(float("inf")), "softplus beta: expected a positive number, got inf"),
    ],
    ids=repr,
)
def test_options_are_checked_where_the_shape_is_known(layer, wrong):
    with pytest.raises(ShapeError, match=wrong):
        layer.output_shape((3,))


def test_the_catalog_offers_them_by_name():
    names = {"elu": ELU, "selu": SELU, "gelu": GELU, "silu": SiLU, "mish": Mish, "softplus": Softplus}
    assert names.items() <= dict(Catalog().layers).items()
