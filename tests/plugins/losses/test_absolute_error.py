"""Absolute error against PyTorch and by hand."""

import numpy as np
import pytest
from simulator_plugins.losses.absolute_error import AbsoluteError

from simulator import Catalog, ShapeError
from simulator.losses import Loss

LOSS = AbsoluteError()


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (2, 3, 4, 2), (4,)])
def test_it_is_what_torch_computes_summed_over_units(shape, torch, agree):
    rng = np.random.default_rng(0)
    prediction, target = rng.standard_normal((2, *shape))
    target.ravel()[::2] = prediction.ravel()[::2]  # where the gradient is 0
    leaf = torch.tensor(prediction, requires_grad=True)
    theirs = torch.nn.functional.l1_loss(leaf, torch.tensor(target), reduction="sum") / len(prediction)
    theirs.backward()
    assert LOSS.value(prediction, target) == pytest.approx(theirs.item(), rel=1e-12)
    agree(LOSS.grad(prediction, target), leaf.grad.numpy())


def test_by_hand():
    prediction, target = np.array([[1.0, -2.0], [3.0, 0.0]]), np.array([[0.0, 0.0], [3.0, 4.0]])
    assert LOSS.value(prediction, target) == (1 + 2 + 0 + 4) / 2
    assert LOSS.grad(prediction, target).tolist() == [[0.5, -0.5], [0, -0.5]]


def test_labels_are_one_hot_vectors():
    prediction, labels = np.random.default_rng(0).standard_normal((4, 3)), np.array([2, 0, 0, 1])
    assert LOSS.value(prediction, labels) == LOSS.value(prediction, np.eye(3)[labels])
    np.testing.assert_array_equal(LOSS.grad(prediction, labels), LOSS.grad(prediction, np.eye(3)[labels]))


def test_single_precision_stays_single_and_nothing_is_changed():
    prediction, target = np.ones((2, 3), np.float32), np.zeros((2, 3))
    prediction.flags.writeable = target.flags.writeable = False
    assert LOSS.value(prediction, target) == 3
    assert LOSS.grad(prediction, target).dtype == np.float32


def test_an_empty_batch_loses_nothing():
    assert LOSS.value(np.zeros((0, 3)), np.zeros((0, 3))) == 0
    assert LOSS.grad(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0, 3)


def test_the_catalog_offers_it_by_name():
    assert Catalog().losses["absolute-error"] is AbsoluteError
    assert isinstance(LOSS, Loss)


@pytest.mark.parametrize("function", [LOSS.value, LOSS.grad])
def test_targets_that_do_not_fit(function):
    message = r"^absolute-error: expected targets of the prediction's shape \(2, 3\), got \(2, 1\); give"
    with pytest.raises(ShapeError, match=message):
        function(np.zeros((2, 3)), np.zeros((2, 1)))
    with pytest.raises(ShapeError, match="^absolute-error: expected labels from 0 to 2, got 0 to 3"):
        function(np.zeros((2, 3)), np.array([0, 3]))
