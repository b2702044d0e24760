"""The multi-class hinge against PyTorch, central differences and by hand."""

import numpy as np
import pytest
from simulator_plugins.losses.hinge import Hinge

from simulator import Catalog, ShapeError
from simulator.losses import Loss

SCORES, LABELS = np.random.default_rng(0).standard_normal((5, 4)), np.array([2, 0, 3, 3, 1])


@pytest.mark.parametrize("margin", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("p", [1, 2])
def test_it_is_what_torch_computes(margin, p, torch, agree):
    leaf = torch.tensor(SCORES, requires_grad=True)
    theirs = torch.nn.functional.multi_margin_loss(leaf, torch.tensor(LABELS), p=p, margin=margin)
    theirs.backward()
    assert Hinge(margin, p).value(SCORES, LABELS) == pytest.approx(theirs.item(), rel=1e-12)
    agree(Hinge(margin, p).grad(SCORES, LABELS), leaf.grad.numpy())


@pytest.mark.parametrize("p", [1, 2])
def test_gradients_agree_with_central_differences(p, central_difference):
    slope = central_difference(lambda z: Hinge(p=p).value(z, LABELS), SCORES)
    np.testing.assert_allclose(Hinge(p=p).grad(SCORES, LABELS), slope, rtol=0, atol=1e-9)


def test_who_wins_by_the_margin_loses_nothing():
    scores, label = np.array([[3.0, 2.0, -7.0]]), np.array([0])
    assert Hinge().value(scores, label) == 0
    assert Hinge().grad(scores, label).tolist() == [[0, 0, 0]]  # on the kink, too
    assert Hinge(margin=2.5).value(scores, label) == 0.5
    assert Hinge(margin=2.5, p=2).grad(scores, label).tolist() == [[-1, 1, 0]]


@pytest.mark.parametrize("p", [1, 2])
def test_single_precision_stays_single_and_nothing_is_changed(p):
    scores, loss = SCORES.astype(np.float32), Hinge(np.float64(1.5), p)
    scores.flags.writeable = False
    assert loss.value(scores, LABELS) == pytest.approx(loss.value(SCORES, LABELS), rel=1e-6)
    assert loss.grad(scores, LABELS).dtype == np.float32


def test_an_empty_batch_loses_nothing():
    assert Hinge().value(np.zeros((0, 3)), np.zeros(0, int)) == 0
    assert Hinge().grad(np.zeros((0, 3)), np.zeros(0, int)).shape == (0, 3)


def test_the_catalog_offers_it_by_name():
    assert Catalog().losses["hinge"] is Hinge
    assert isinstance(Hinge(), Loss)


@pytest.mark.parametrize("function", [Hinge().value, Hinge().grad])
def test_labels_that_do_not_fit(function):
    with pytest.raises(ShapeError, match=r"^hinge: expected logits \(batch, classes\) and as many integer labels"):
        function(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ShapeError, match="^hinge: expected labels from 0 to 2, got 0 to 3"):
        function(np.zeros((2, 3)), np.array([0, 3]))


def test_arguments_that_make_no_sense():
    for margin in (0, -1.0, np.inf):
        with pytest.raises(ShapeError, match=f"^hinge margin: expected a positive number, got {margin!r}; 1 is usual"):
            Hinge(margin)
    with pytest.raises(ShapeError, match="^Hinge p: expected 1 or 2, got 3; write for example p=1"):
        Hinge(p=3)
