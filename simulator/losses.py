"""Losses: how wrong a prediction is, and in which direction it gets better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy import special

from simulator.errors import ShapeError

__all__ = ["CrossEntropy", "Loss", "SquaredError", "accuracy"]


@runtime_checkable
class Loss(Protocol):
    """The value of one prediction and its gradient, both averaged over the batch."""

    def value(self, prediction: Any, target: Any) -> float:
        """The loss of a batch."""

    def grad(self, prediction: Any, target: Any) -> Any:
        """Its gradient with respect to the prediction, in the prediction's shape."""


def _labels(who: str, logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    target = np.asarray(target)
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


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy of logits: −log softmax(z)[label], averaged over the batch.

    Examples
    --------
    >>> CrossEntropy().value(np.zeros((1, 10)), np.array([3]))  # log 10
    2.302585092994046
    """

    def value(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Mean loss of logits (batch, classes) for integer labels (batch,)."""
        labels = _labels("cross-entropy", prediction, target)
        logs = special.log_softmax(prediction, axis=1)[np.arange(len(labels)), labels]
        return -float(np.mean(logs, dtype=np.float64)) if len(labels) else 0.0

    def grad(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(softmax − one-hot) / batch, (batch, classes)."""
        labels = _labels("cross-entropy", prediction, target)
        gradient = special.softmax(prediction, axis=1)
        gradient[np.arange(len(labels)), labels] -= 1
        return gradient / max(1, len(labels))


@dataclass(frozen=True)
class SquaredError:
    """Half the squared distance, averaged over the batch; integer labels are compared as one-hot vectors.

    Examples
    --------
    >>> SquaredError().value(np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]]))
    2.5
    """

    def _difference(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        target = np.asarray(target)
        if target.ndim == 1 and target.dtype.kind in "iu" and prediction.ndim == 2:
            target = np.eye(prediction.shape[1], dtype=prediction.dtype)[_labels("squared-error", prediction, target)]
        if target.shape != prediction.shape:
            raise ShapeError(
                f"squared-error: expected targets of the prediction's shape {prediction.shape}, got {target.shape}; "
                "give one value per output unit, or integer labels"
            )
        return prediction - target.astype(prediction.dtype, copy=False)

    def value(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Mean over the batch of ½ Σ (prediction − target)²."""
        difference = self._difference(prediction, target)
        return float(np.sum(np.square(difference), dtype=np.float64)) / (2 * max(1, len(difference)))

    def grad(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(prediction − target) / batch, in the prediction's shape."""
        difference = self._difference(prediction, target)
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
    labels = _labels("accuracy", prediction, target)
    return float(np.mean(np.argmax(prediction, axis=1) == labels)) if len(labels) else 0.0
