"""Binary cross-entropy against PyTorch, central differences and by hand."""

import numpy as np
import pytest
from simulator_plugins.losses.binary_cross_entropy import BinaryCrossEntropy

from simulator import Catalog, ShapeError
from simulator.losses import Loss

LOSS = BinaryCrossEntropy()


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (2, 3, 4, 2), (4,)])
def test_it_is_what_torch_computes_summed_over_units(shape, torch, agree):
    rng = np.random.default_rng(0)
    logits, target = 10 * rng.standard_normal(shape), rng.uniform(size=shape)
    target.ravel()[::2] = np.round(target.ravel()[::2])
    leaf = torch.tensor(logits, requires_grad=True)
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(leaf, torch.tensor(target), reduction="sum")
    theirs = theirs / len(logits)
    theirs.backward()
    assert LOSS.value(logits, target) == pytest.approx(theirs.item(), rel=1e-12)
    agree(LOSS.grad(logits, target), leaf.grad.numpy())


def test_gradients_agree_with_central_differences(central_difference):
    rng = np.random.default_rng(0)
    logits, target = rng.standard_normal((2, 3)), rng.uniform(size=(2, 3))
    slope = central_difference(lambda z: LOSS.value(z, target), logits)
    np.testing.assert_allclose(LOSS.grad(logits, target), slope, rtol=0, atol=1e-9)


def test_huge_logits_neither_overflow_nor_cancel():
    assert LOSS.value(np.array([[1e4, -1e4]]), np.array([[1.0, 0.0]])) == 0
    assert LOSS.value(np.array([[1e4, -1e4]]), np.array([[0.0, 1.0]])) == 2e4
    assert LOSS.value(np.array([[40.0, -40.0]]), np.array([[1.0, 0.0]])) == pytest.approx(2 * np.exp(-40), rel=1e-12)
    assert LOSS.grad(np.array([[1e4, -1e4]]), np.array([[0.0, 1.0]])).tolist() == [[1, -1]]


def test_labels_are_one_class_against_the_rest():
    logits = np.random.default_rng(0).standard_normal((4, 3))
    labels = np.array([2, 0, 0, 1])
    assert LOSS.value(logits, labels) == LOSS.value(logits, np.eye(3)[labels])
    np.testing.assert_array_equal(LOSS.grad(logits, labels), LOSS.grad(logits, np.eye(3)[labels]))


def test_single_precision_stays_single_and_nothing_is_changed():
    logits, target = np.zeros((2, 3), np.float32), np.full((2, 3), 0.25)
    logits.flags.writeable = target.flags.writeable = False
    assert LOSS.value(logits, target) == pytest.approx(3 * np.log(2), rel=1e-6)
    assert LOSS.grad(logits, target).dtype == np.float32


def test_an_empty_batch_loses_nothing():
    assert LOSS.value(np.zeros((0, 3)), np.zeros((0, 3))) == 0
    assert LOSS.grad(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0, 3)


def test_the_catalog_offers_it_by_name():
    assert Catalog().losses["binary-cross-entropy"] is BinaryCrossEntropy
    assert isinstance(LOSS, Loss)


@pytest.mark.parametrize("function", [LOSS.value, LOSS.grad])
def test_targets_that_do_not_fit(function):
    for wrong, told in [(1.5, "0.0 to 1.5"), (-0.5, "-0.5 to 0.0"), (np.nan, "nan to nan")]:
        with pytest.raises(ShapeError, match=f"^binary-cross-entropy: expected targets from 0 to 1, got {told}; scale"):
            function(np.zeros((1, 2)), np.array([[0, wrong]]))
    message = r"^binary-cross-entropy: expected targets of the prediction's shape \(2, 3\), got \(2, 1\); give"
    with pytest.raises(ShapeError, match=message):
        function(np.zeros((2, 3)), np.zeros((2, 1)))
