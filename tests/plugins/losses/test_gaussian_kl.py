"""The KL divergence from the standard normal against PyTorch, central differences and by hand."""

import numpy as np
import pytest
from simulator_plugins.losses.gaussian_kl import GaussianKL

from simulator import Catalog, ShapeError
from simulator.losses import Loss

LOSS = GaussianKL()


@pytest.mark.parametrize("shape", [(1, 2), (5, 6), (3, 4, 2), (2, 4, 3, 2)])
def test_it_is_what_torch_computes_summed_over_units(shape, torch, agree):
    prediction = 2 * np.random.default_rng(0).standard_normal(shape)
    leaf = torch.tensor(prediction, requires_grad=True)
    mean, log_variance = leaf.chunk(2, dim=1)
    normal = torch.distributions.Normal
    standard = normal(torch.zeros_like(mean), torch.ones_like(mean))
    divergences = torch.distributions.kl_divergence(normal(mean, torch.exp(log_variance / 2)), standard)
    theirs = divergences.sum() / len(prediction)
    theirs.backward()
    assert LOSS.value(prediction, None) == pytest.approx(theirs.item(), rel=1e-12)
    agree(LOSS.grad(prediction, None), leaf.grad.numpy())


def test_gradients_agree_with_central_differences(central_difference):
    prediction = np.random.default_rng(0).standard_normal((2, 4, 2))
    slope = central_difference(lambda z: LOSS.value(z, None), prediction)
    np.testing.assert_allclose(LOSS.grad(prediction, None), slope, rtol=0, atol=1e-9)


def test_only_the_standard_normal_loses_nothing():
    assert LOSS.value(np.zeros((3, 4)), None) == 0
    assert not LOSS.grad(np.zeros((3, 4)), None).any()
    assert LOSS.value(np.array([[3.0, 0.0]]), None) == 4.5
    assert LOSS.value(np.array([[0.0, 1.0]]), None) == pytest.approx((np.e - 2) / 2)


def test_single_precision_stays_single_and_nothing_is_changed():
    prediction = np.ones((2, 4), np.float32)
    prediction.flags.writeable = False
    assert LOSS.value(prediction, None) == pytest.approx(2 * (1 + np.e - 2) / 2, rel=1e-6)
    assert LOSS.grad(prediction, None).dtype == np.float32


def test_an_empty_batch_loses_nothing():
    assert LOSS.value(np.zeros((0, 4, 2)), None) == 0
    assert LOSS.grad(np.zeros((0, 4, 2)), None).shape == (0, 4, 2)


def test_the_catalog_offers_it_by_name():
    assert Catalog().losses["gaussian-kl"] is GaussianKL
    assert isinstance(LOSS, Loss)


@pytest.mark.parametrize("function", [LOSS.value, LOSS.grad])
@pytest.mark.parametrize("shape", [(2, 3), (4,), (2, 1, 4)])
def test_predictions_that_are_no_pairs(function, shape):
    message = r"^gaussian-kl: expected means and as many log-variances \(batch, 2k, \*space\), got .*; give"
    with pytest.raises(ShapeError, match=message):
        function(np.zeros(shape), None)
