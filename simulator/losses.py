"""Losses: how wrong a prediction is, and in which direction it gets better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from simulator.arrays import real_array
from simulator.declared import Declared
from simulator.errors import ShapeError, brief

__all__ = ["CrossEntropy", "Loss", "SquaredError", "accuracy", "check_labels", "check_targets"]


@runtime_checkable
class Loss(Protocol):
    """The value of one prediction and its gradient, both averaged over the batch."""

    def value(self, prediction: Any, target: Any) -> float:
        """The loss of a batch."""

    def grad(self, prediction: Any, target: Any) -> Any:
        """Its gradient with respect to the prediction, in the prediction's shape."""


def check_labels(who: str, logits: np.ndarray, target: Any) -> np.ndarray:
    """Integer labels that fit logits.

    Parameters
    ----------
    who : str
        Named in the error.
    logits : numpy.ndarray, (batch, classes)
        A prediction.
    target : array_like of int, (batch,)
        One label per sample.

    Returns
    -------
    numpy.ndarray of int, (batch,)

    Raises
    ------
    ShapeError
        If the shapes do not fit, the labels are no integers, or one is out of range.

    Examples
    --------
    >>> check_labels("hinge", np.zeros((2, 10)), [3, 9])
    array([3, 9])
    """
    target = real_array(f"{who} labels", target)
    if logits.ndim != 2 or target.shape != logits.shape[:1] or target.dtype.kind not in "iu":
        cure = "flatten the output" if logits.ndim != 2 else "give one label per sample"
        if logits.ndim == 2 and target.shape == logits.shape[:1]:
            cure = "convert whole numbers with labels.astype(int)"
        raise ShapeError(
            f"{who}: expected logits (batch, classes) and as many integer labels, got {logits.shape} and "
            f"{target.dtype} labels {target.shape}; {cure} or choose another loss"
        )
    if target.size and not (target.min() >= 0 and target.max() < logits.shape[1]):
        raise ShapeError(
            f"{who}: expected labels from 0 to {logits.shape[1] - 1}, got {target.min()} to {target.max()}; build the "
            "network with more classes or correct the labels"
        )
    return target


def check_targets(who: str, prediction: np.ndarray, target: Any) -> np.ndarray:
    """One target per output unit, in the prediction's precision; integer labels become one-hot vectors.

    Parameters
    ----------
    who : str
        Named in the error.
    prediction : numpy.ndarray, (batch, ...)
        What is compared with the targets.
    target : array_like, (batch, ...)
        The prediction's shape, or integer labels (batch,) where the prediction is (batch, classes).

    Returns
    -------
    numpy.ndarray, (batch, ...)
        The prediction's shape and dtype.

    Raises
    ------
    ShapeError
        If the shapes do not fit, or a label is out of range.

    Examples
    --------
    >>> check_targets("absolute-error", np.zeros((2, 3)), [0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    target = real_array(who, target)
    if target.ndim == 1 and target.dtype.kind in "iu" and prediction.ndim == 2:
        target = np.eye(prediction.shape[1], dtype=prediction.dtype)[check_labels(who, prediction, target)]
    if target.shape != prediction.shape:
        raise ShapeError(
            f"{who}: expected targets of the prediction's shape {prediction.shape}, got {target.shape}; give one value "
            "per output unit, or integer labels"
        )
    return target.astype(prediction.dtype, copy=False)


@dataclass(frozen=True)
class CrossEntropy(Declared):
    """Softmax cross-entropy of logits: −log softmax(z)[label], averaged over the batch.

    Targets are integer labels, or soft targets: a share for each class, such as those of mixed or distilled samples.

    Parameters
    ----------
    label_smoothing : float, default 0
        Share of each target, from 0 to 1, that is spread evenly over all classes.
    class_weights : sequence of float, optional
        How much each class counts, for example more where a class has few samples.
    ignore_index : int, optional
        A label that says that a sample is not to be counted.

    Raises
    ------
    ShapeError
        If a number is out of range, or there is not one weight per class.

    Notes
    -----
    −Σⱼ wⱼ qⱼ log softmax(z)ⱼ with the class weights w; with smoothing s and C classes q is s / C everywhere and 1 − s
    more at the label. With labels the mean is weighted, too: the sum is divided by that of the labels' weights, and so
    depends on how samples are put into batches. With soft targets it is divided by the number of samples. All of it is
    as in PyTorch's ``cross_entropy``, but a batch of which nothing counts loses 0, not NaN.

    References
    ----------
    C. Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016 (smoothed labels).

    Examples
    --------
    >>> CrossEntropy().value(np.zeros((1, 10)), np.array([3]))  # log 10
    2.302585092994046
    >>> loss = CrossEntropy(class_weights=[1, 3], ignore_index=-1)
    >>> value = loss.value(np.log([[0.5, 0.5], [0.25, 0.75], [0.1, 0.9]]), np.array([0, 1, -1]))
    >>> round(value, 4), round(float(np.log(2) + 3 * np.log(4 / 3)) / 4, 4)
    (0.389, 0.389)
    """

    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None
    ignore_index: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise ShapeError(
                f"cross-entropy label_smoothing: expected a share from 0 to 1, got "
                f"{brief(self.label_smoothing)}; try 0.1"
            )
        if self.class_weights is not None and not all(0 <= w < math.inf for w in self.class_weights):
            raise ShapeError(
                f"cross-entropy class_weights: expected finite numbers of at least 0, got {brief(self.class_weights)}; "
                "a class of 0 does not count"
            )

    def value(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Mean loss of logits (batch, classes) for integer labels (batch,) or soft targets (batch, classes)."""
        return self.value_and_grad(prediction, target)[0]

    def grad(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(softmax − smoothed one-hot) / batch, (batch, classes), if all classes count alike."""
        return self.value_and_grad(prediction, target)[1]

    def value_and_grad(self, prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """Both at once: they share the softmax."""
        target = real_array("cross-entropy labels", target)
        soft = target.dtype.kind == "f" and target.ndim == 2 and target.shape == prediction.shape
        if soft or self.class_weights is not None or self.ignore_index is not None:
            return self._weighted(prediction, target, soft)
        labels = check_labels("cross-entropy", prediction, target)
        n, smoothing = len(labels), self.label_smoothing
        if not n:
            return 0.0, np.zeros_like(prediction)
        rows = np.arange(n)
        shifted = prediction - prediction.max(axis=1, keepdims=True)
        gradient = np.exp(shifted)
        totals = gradient.sum(axis=1, keepdims=True)
        # Of −Σⱼ qⱼ (zⱼ − log Σₖ exp zₖ); the qⱼ of a sample sum to 1.
        value = float(np.log(totals).sum(dtype=np.float64))
        value -= (1 - smoothing) * float(shifted[rows, labels].sum(dtype=np.float64))
        gradient /= totals
        gradient[rows, labels] -= 1 - smoothing
        if smoothing:
            value -= smoothing / gradient.shape[1] * float(shifted.sum(dtype=np.float64))
            gradient -= smoothing / gradient.shape[1]
        gradient /= n
        return value / n, gradient

    def _weighted(self, prediction: np.ndarray, target: np.ndarray, soft: bool) -> tuple[float, np.ndarray]:
        """Value and gradient where classes or samples count differently, or targets are soft."""
        who, smoothing = "cross-entropy", self.label_smoothing
        classes = prediction.shape[-1]
        weights = np.ones(classes) if self.class_weights is None else np.asarray(self.class_weights, np.float64)
        if len(weights) != classes:
            raise ShapeError(
                f"{who} class_weights: expected one for each of {classes} classes, got {len(weights)}; give that many"
            )
        if soft and self.ignore_index is not None:
            raise ShapeError(f"{who} ignore_index: expected labels, got soft targets; leave it out")
        if soft:
            wanted, total = target.astype(np.float64), float(len(target))
        else:
            counts = np.ones(target.shape, bool) if self.ignore_index is None else target != self.ignore_index
            labels = check_labels(who, prediction, np.where(counts, target, 0))
            wanted = np.eye(classes)[labels]
            total = float(weights[labels[counts]].sum())
        wanted = weights * ((1 - smoothing) * wanted + smoothing / classes)
        if not soft:
            wanted[~counts] = 0
        shifted = (prediction - prediction.max(axis=1, keepdims=True, initial=-np.inf)).astype(np.float64)
        softmax = np.exp(shifted)
        sums = softmax.sum(axis=1, keepdims=True)
        softmax /= sums
        share = 1 / total if total else 0.0
        logs = shifted - np.log(sums)
        losses = np.where((wanted == 0) & ~np.isnan(logs), 0, wanted * logs)  # 0 times infinity counts nothing
        gradient = share * (softmax * wanted.sum(axis=1, keepdims=True) - wanted)
        if not soft:
            losses[~counts] = 0  # whatever the logits are
        return 0.0 - share * float(np.sum(losses)), gradient.astype(prediction.dtype)


@dataclass(frozen=True)
class SquaredError:
    """Half the squared distance, averaged over the batch; integer labels are compared as one-hot vectors.

    Examples
    --------
    >>> SquaredError().value(np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]]))
    2.5
    """

    def value(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Mean over the batch of ½ Σ (prediction − target)²."""
        difference = prediction - check_targets("squared-error", prediction, target)
        return float(np.sum(np.square(difference), dtype=np.float64)) / (2 * max(1, len(difference)))

    def grad(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(prediction − target) / batch, in the prediction's shape."""
        difference = prediction - check_targets("squared-error", prediction, target)
        return difference / max(1, len(difference))


def accuracy(prediction: np.ndarray, target: np.ndarray) -> float:
    """Share of samples whose largest output is that of their label.

    Parameters
    ----------
    prediction : numpy.ndarray, (batch, classes)
        Logits, or anything that is largest for the predicted class.
    target : numpy.ndarray of int, (batch,)
        Labels.

    Returns
    -------
    float

    Raises
    ------
    ShapeError
        If the shapes do not fit, or a label is out of range.

    Examples
    --------
    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    labels = check_labels("accuracy", prediction, target)
    return float(np.mean(np.argmax(prediction, axis=1) == labels)) if len(labels) else 0.0
