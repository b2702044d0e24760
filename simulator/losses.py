"""Losses: how wrong a prediction is, and in which direction it gets better."""

from __future__ import annotations

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
        raise ShapeError(
            f"{who}: expected logits (batch, classes) and as many integer labels, got {logits.shape} and "
            f"{target.dtype} labels {target.shape}; flatten the output or choose another loss"
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

    Parameters
    ----------
    label_smoothing : float, default 0
        Share of each target, from 0 to 1, that is spread evenly over all classes.

    Raises
    ------
    ShapeError
        If the share is out of range.

    Notes
    -----
    With smoothing s and C classes −Σⱼ qⱼ log softmax(z)ⱼ, where q is s / C everywhere and 1 − s more at the label.

    References
    ----------
    C. Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016 (smoothed labels).

    Examples
    --------
    >>> CrossEntropy().value(np.zeros((1, 10)), np.array([3]))  # log 10
    2.302585092994046
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise ShapeError(
                f"cross-entropy label_smoothing: expected a share from 0 to 1, got "
                f"{brief(self.label_smoothing)}; try 0.1"
            )

    def value(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Mean loss of logits (batch, classes) for integer labels (batch,)."""
        return self.value_and_grad(prediction, target)[0]

    def grad(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(softmax − smoothed one-hot) / batch, (batch, classes)."""
        return self.value_and_grad(prediction, target)[1]

    def value_and_grad(self, prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """Both at once: they share the softmax."""
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
