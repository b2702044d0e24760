"""Losses against their formulas, PyTorch and central differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simulator import CrossEntropy, ShapeError, SquaredError, accuracy
from simulator.losses import Loss, check_labels, check_targets


@st.composite
def classifications(draw):
    """Logits (batch, classes) and labels (batch,)."""
    batch, classes = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    logits = draw(hnp.arrays(np.float64, (batch, classes), elements=st.floats(-30, 30, width=32)))
    labels = draw(hnp.arrays(np.int64, batch, elements=st.integers(0, classes - 1)))
    return logits, labels


@given(classifications())
def test_cross_entropy_is_the_mean_of_minus_log_softmax(case):
    logits, labels = case
    losses = [np.log(np.sum(np.exp(z - z[label]))) for z, label in zip(logits, labels, strict=True)]
    assert CrossEntropy().value(logits, labels) == pytest.approx(np.mean(losses), rel=1e-12, abs=1e-12)


@given(case=classifications())
def test_cross_entropy_is_what_torch_computes(case, torch, agree):
    logits, labels = case
    leaf = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(leaf, torch.tensor(labels))
    loss.backward()
    assert CrossEntropy().value(logits, labels) == pytest.approx(loss.item(), rel=1e-12, abs=1e-14)
    np.testing.assert_allclose(CrossEntropy().grad(logits, labels), leaf.grad.numpy(), rtol=0, atol=1e-15)


@given(case=classifications(), smoothing=st.sampled_from([0.1, 0.5, 1.0]))
def test_smoothed_labels_are_those_of_torch(case, smoothing, torch):
    logits, labels = case
    leaf = torch.tensor(logits, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(leaf, torch.tensor(labels), label_smoothing=smoothing)
    theirs.backward()
    loss = CrossEntropy(label_smoothing=smoothing)
    assert loss.value(logits, labels) == pytest.approx(theirs.item(), rel=1e-12, abs=1e-14)
    np.testing.assert_allclose(loss.grad(logits, labels), leaf.grad.numpy(), rtol=0, atol=1e-15)


def test_smoothed_labels_by_hand():
    logits, label = np.log(np.array([[0.5, 0.25, 0.25]])), np.array([1])
    smooth = CrossEntropy(label_smoothing=0.3)
    assert smooth.value(logits, label) == pytest.approx(0.1 * np.log(2) + 0.8 * np.log(4) + 0.1 * np.log(4))
    assert smooth.grad(logits, label)[0] == pytest.approx([0.5 - 0.1, 0.25 - 0.8, 0.25 - 0.1])


@given(
    case=classifications(),
    smoothing=st.sampled_from([0.0, 0.3]),
    ignored=st.sampled_from([None, 0, -100]),
    seed=st.integers(0, 9),
)
def test_class_weights_and_ignored_labels_are_those_of_torch(case, smoothing, ignored, seed, torch):
    logits, labels = case
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 3, logits.shape[1])
    if ignored is not None:
        labels = np.where(rng.random(len(labels)) < 0.3, ignored, labels)
    leaf = torch.tensor(logits, requires_grad=True)
    options = {"ignore_index": -100 if ignored is None else ignored, "label_smoothing": smoothing}
    for mine, theirs in ((weights.tolist(), torch.tensor(weights)), (None, None)):
        leaf.grad = None
        value = torch.nn.functional.cross_entropy(leaf, torch.tensor(labels), theirs, **options)
        value.backward()
        loss = CrossEntropy(smoothing, mine, ignored)
        nothing = np.all(labels == ignored) if ignored is not None else False
        assert loss.value(logits, labels) == (0 if nothing else pytest.approx(value.item(), rel=1e-11, abs=1e-13))
        expected = np.zeros_like(logits) if nothing else leaf.grad.numpy()
        np.testing.assert_allclose(loss.grad(logits, labels), expected, rtol=0, atol=1e-13)


@given(case=classifications(), smoothing=st.sampled_from([0.0, 0.3]), weighted=st.booleans())
def test_soft_targets_are_those_of_torch(case, smoothing, weighted, torch):
    logits, _ = case
    rng = np.random.default_rng(0)
    soft = rng.dirichlet(np.ones(logits.shape[1]), len(logits))
    weights = rng.uniform(0, 3, logits.shape[1]) if weighted else None
    leaf = torch.tensor(logits, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(
        leaf, torch.tensor(soft), None if weights is None else torch.tensor(weights), label_smoothing=smoothing
    )
    theirs.backward()
    loss = CrossEntropy(smoothing, None if weights is None else weights.tolist())
    assert loss.value(logits, soft) == pytest.approx(theirs.item(), rel=1e-11, abs=1e-13)
    np.testing.assert_allclose(loss.grad(logits, soft), leaf.grad.numpy(), rtol=0, atol=1e-13)


def test_certain_soft_targets_are_labels_and_equal_weights_none(agree):
    logits, labels = np.random.default_rng(0).standard_normal((6, 4)), np.array([0, 1, 2, 3, 0, 1])
    plain = CrossEntropy()
    for loss, target in ((plain, np.eye(4)[labels]), (CrossEntropy(class_weights=[2, 2, 2, 2]), labels)):
        assert loss.value(logits, target) == pytest.approx(plain.value(logits, labels), rel=1e-14)
        agree(loss.grad(logits, target), plain.grad(logits, labels))
    assert CrossEntropy(class_weights=(1, 1, 1, 1)).grad(logits.astype(np.float32), labels).dtype == np.float32


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:divide by zero")
@pytest.mark.parametrize(
    ("logits", "labels", "weights"),
    [
        ([[np.nan, 1.0], [0.0, 1.0]], [1, 0], None),  # the first is ignored
        ([[0.0, -np.inf]], [0], [1.0, 0.0]),
        ([[0.0, -np.inf], [1.0, 2.0]], [0, 0], [1.0, 2.0]),
        ([[np.nan, 1.0], [0.0, 1.0]], [0, 0], None),
    ],
)
def test_numbers_that_are_not_finite_as_in_torch(logits, labels, weights, torch):
    ignored = 1
    leaf = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(
        leaf,
        torch.tensor(labels),
        None if weights is None else torch.tensor(weights, dtype=torch.float64),
        ignore_index=ignored,
    )
    theirs.backward()
    loss = CrossEntropy(class_weights=weights, ignore_index=ignored)
    value, gradient = loss.value_and_grad(np.array(logits), np.array(labels))
    np.testing.assert_allclose(value, theirs.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=0, atol=1e-14)


def test_weights_that_do_not_fit():
    logits = np.zeros((2, 3))
    message = "^cross-entropy class_weights: expected one for each of 3 classes, got 2; give that many"
    with pytest.raises(ShapeError, match=message):
        CrossEntropy(class_weights=[1, 2]).value(logits, np.array([0, 1]))
    CrossEntropy(class_weights=[1, 2, 0]).value(logits, np.array([0, 1]))
    message = r"^cross-entropy class_weights: expected finite numbers of at least 0, got \[1, -1\]; a class of 0"
    with pytest.raises(ShapeError, match=message):
        CrossEntropy(class_weights=[1, -1])
    with pytest.raises(
        ShapeError, match="^cross-entropy ignore_index: expected labels, got soft targets; leave it out"
    ):
        CrossEntropy(ignore_index=0).value(logits, np.full((2, 3), 1 / 3))
    assert CrossEntropy().value(logits, np.full((2, 3), 1 / 3)) == pytest.approx(np.log(3))


@pytest.mark.parametrize("smoothing", [-0.1, 1.1])
def test_only_a_share_can_be_smoothed(smoothing):
    message = f"^cross-entropy label_smoothing: expected a share from 0 to 1, got {smoothing}; try 0.1"
    with pytest.raises(ShapeError, match=message):
        CrossEntropy(label_smoothing=smoothing)


@given(case=classifications())
def test_squared_error_is_what_torch_computes(case, torch):
    prediction, labels = case
    leaf = torch.tensor(prediction, requires_grad=True)
    one_hot = torch.nn.functional.one_hot(torch.tensor(labels), prediction.shape[1]).double()
    loss = 0.5 * torch.nn.functional.mse_loss(leaf, one_hot, reduction="sum") / len(prediction)
    loss.backward()
    for target in (labels, one_hot.numpy()):
        assert SquaredError().value(prediction, target) == pytest.approx(loss.item(), rel=1e-12)
        np.testing.assert_allclose(SquaredError().grad(prediction, target), leaf.grad.numpy(), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (CrossEntropy(), np.array([2, 0])),
        (CrossEntropy(label_smoothing=0.2), np.array([2, 0])),
        (SquaredError(), np.array([2, 0])),
        (SquaredError(), np.array([[1.0, 0.0, -1.0], [0.5, 0.5, 2.0]])),
    ],
)
def test_gradients_agree_with_central_differences(loss, target, central_difference):
    prediction = np.random.default_rng(0).standard_normal((2, 3))
    slope = central_difference(lambda z: loss.value(z, target), prediction)
    np.testing.assert_allclose(loss.grad(prediction, target), slope, rtol=0, atol=1e-9)


def test_squared_error_takes_maps():
    prediction, target = np.ones((2, 3, 4, 4)), np.zeros((2, 3, 4, 4))
    assert SquaredError().value(prediction, target) == 24
    assert SquaredError().grad(prediction, target).shape == (2, 3, 4, 4)


def test_huge_logits_do_not_overflow():
    logits = np.array([[1e4, -1e4, 0.0]])
    assert CrossEntropy().value(logits, np.array([0])) == 0
    assert CrossEntropy().value(logits, np.array([1])) == 2e4
    assert CrossEntropy().grad(logits, np.array([1])).tolist() == [[1, -1, 0]]


@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(label_smoothing=np.float64(0.1)), SquaredError()])
def test_single_precision_stays_single_and_labels_may_be_of_any_integer_type(loss):
    logits = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    expected = loss.value(logits.astype(np.float64), np.array([1, 0]))
    if isinstance(loss, SquaredError):
        assert loss.grad(logits, np.zeros((2, 2))).dtype == np.float32
    for dtype in (np.uint8, np.int32, np.int64):
        labels = np.array([1, 0], dtype)
        assert loss.grad(logits, labels).dtype == np.float32
        assert loss.value(logits, labels) == pytest.approx(expected, rel=1e-6)
    assert loss.value(logits, [1, 0]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        CrossEntropy(),
        CrossEntropy(label_smoothing=np.float64(0.1)),
        CrossEntropy(class_weights=[1, 2, 3], ignore_index=0),
        SquaredError(),
    ],
)
def test_an_empty_batch_loses_nothing(loss):
    logits, labels = np.zeros((0, 3)), np.zeros(0, int)
    assert loss.value(logits, labels) == 0
    assert loss.grad(logits, labels).shape == (0, 3)


@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(label_smoothing=np.float64(0.1)), SquaredError()])
def test_predictions_are_left_alone(loss):
    logits = np.ones((1, 2))
    logits.flags.writeable = False
    loss.value(logits, np.array([0]))
    assert loss.grad(logits, np.array([0])).flags.writeable
    assert isinstance(loss, Loss)


def test_accuracy_is_the_share_of_right_guesses():
    logits = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5], [0.0, 1.0]])
    assert accuracy(logits, np.array([1, 1, 0, 1])) == 0.75
    assert accuracy(np.zeros((0, 2)), np.zeros(0, int)) == 0


@pytest.mark.parametrize("function", [CrossEntropy().value, CrossEntropy().grad, accuracy])
def test_logits_and_labels_fit_together(function):
    who = "accuracy" if function is accuracy else "cross-entropy"
    for logits, target in [
        (np.zeros((2, 3)), np.array([0])),
        (np.zeros((2, 3)), np.array([[0, 0, 1], [1, 0, 0]])),
        (np.zeros((2, 3)), np.array([0.0, 1.0])),
        (np.zeros((2, 3, 1)), np.array([0, 1])),
    ]:
        with pytest.raises(ShapeError, match=rf"{who}: expected logits \(batch, classes\) and as many integer labels"):
            function(logits, target)
    for label in (3, -1):
        message = rf"{who}: expected labels from 0 to 2, got {min(label, 0)} to {max(label, 0)}; build the network with"
        with pytest.raises(ShapeError, match=message):
            function(np.zeros((2, 3)), np.array([0, label]))


@pytest.mark.parametrize("function", [SquaredError().value, SquaredError().grad])
def test_targets_have_the_shape_of_the_prediction(function):
    message = r"squared-error: expected targets of the prediction's shape \(2, 3\), got \(2, 2\); give one value"
    with pytest.raises(ShapeError, match=message):
        function(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ShapeError, match=r"squared-error: expected labels from 0 to 2, got 0 to 3"):
        function(np.zeros((2, 3)), np.array([0, 3]))
    with pytest.raises(ShapeError, match=r"squared-error: expected logits \(batch, classes\) and as many integer"):
        function(np.zeros((2, 3)), np.array([0]))


def test_targets_take_the_shape_and_precision_of_the_prediction():
    prediction = np.zeros((2, 3), np.float32)
    one_hot = check_targets("squared-error", prediction, [2, 0])
    assert (one_hot.dtype, one_hot.tolist()) == (np.float32, [[0, 0, 1], [1, 0, 0]])
    numbers = check_targets("squared-error", prediction, np.ones((2, 3), int))
    assert (numbers.dtype, numbers.tolist()) == (np.float32, [[1, 1, 1], [1, 1, 1]])
    assert check_labels("hinge", prediction, [2, 0]).tolist() == [2, 0]
