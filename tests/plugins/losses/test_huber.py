"""The Huber loss against PyTorch and by hand."""

import numpy as np
import pytest
from simulator_plugins.losses.absolute_error import AbsoluteError
from simulator_plugins.losses.huber import Huber

from simulator import Catalog, ShapeError, SquaredError
from simulator.losses import Loss


@pytest.mark.parametrize("delta", [0.1, 1.0, 2.5])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (2, 3, 4, 2), (4,)])
def test_it_is_what_torch_computes_summed_over_units(shape, delta, torch, agree):
    rng = np.random.default_rng(0)
    prediction, target = 2 * rng.standard_normal((2, *shape))
    prediction.ravel()[::3] = target.ravel()[::3] + delta  # where both formulas meet
    leaf = torch.tensor(prediction, requires_grad=True)
    theirs = torch.nn.functional.huber_loss(leaf, torch.tensor(target), reduction="sum", delta=delta) / len(prediction)
    theirs.backward()
    assert Huber(delta).value(prediction, target) == pytest.approx(theirs.item(), rel=1e-12)
    agree(Huber(delta).grad(prediction, target), leaf.grad.numpy())
    smooth = torch.nn.functional.smooth_l1_loss(leaf, torch.tensor(target), reduction="sum", beta=delta)
    assert Huber(delta).value(prediction, target) == pytest.approx(delta * smooth.item() / len(prediction), rel=1e-12)


def test_it_is_half_the_squared_error_near_by_and_the_absolute_error_far_off():
    prediction, target = np.random.default_rng(1).standard_normal((2, 4, 3))
    assert Huber(100.0).value(prediction, target) == pytest.approx(SquaredError().value(prediction, target), rel=1e-14)
    np.testing.assert_allclose(Huber(100.0).grad(prediction, target), SquaredError().grad(prediction, target))
    small = 1e-9
    assert Huber(small).value(prediction, target) / small == pytest.approx(
        AbsoluteError().value(prediction, target), rel=1e-8
    )


def test_labels_single_precision_and_an_empty_batch():
    prediction, labels = np.random.default_rng(0).standard_normal((4, 3)), np.array([2, 0, 0, 1])
    assert Huber().value(prediction, labels) == Huber().value(prediction, np.eye(3)[labels])
    assert Huber().grad(prediction.astype(np.float32), labels).dtype == np.float32
    assert Huber().value(np.zeros((0, 3)), np.zeros((0, 3))) == 0


def test_the_catalog_offers_it_by_name():
    assert Catalog().losses["huber"] is Huber
    assert isinstance(Huber(), Loss)
    assert Catalog().create("losses", "huber", delta=2.0) == Huber(2.0)


@pytest.mark.parametrize("delta", [0.0, -1.0, float("inf")])
def test_only_positive_limits(delta):
    with pytest.raises(ShapeError, match=f"^huber delta: expected a positive number, got {delta}; 1 is the usual one"):
        Huber(delta)
    Huber(1)


def test_targets_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"^huber: expected targets of the prediction's shape \(2, 3\), got \(2, 1\);"):
        Huber().value(np.zeros((2, 3)), np.zeros((2, 1)))
