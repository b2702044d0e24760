"""Hinge: the score of the right class must win by a margin, more is not rewarded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator import ShapeError, hookimpl
from simulator.declared import Declared
from simulator.errors import brief
from simulator.losses import check_labels


@dataclass(frozen=True)
class Hinge(Declared):
    """Multi-class hinge: how far the other classes come into the margin below the right one, averaged over the batch.

    Parameters
    ----------
    margin : float, default 1
        By how much the right class must win.
    p : {1, 2}, default 1
        Power of each violation.

    Raises
    ------
    ShapeError
        If the margin is not positive, or `p` is another number.

    Notes
    -----
    (1 / C) Σ max(0, margin + zⱼ − z[label])ᵖ over the wrong classes j of C, PyTorch's ``multi_margin_loss``.

    References
    ----------
    J. Weston and C. Watkins, "Support vector machines for multi-class pattern recognition", 1999.

    Examples
    --------
    >>> Hinge().value(np.array([[3.0, 2.5, 0.0, -1.0]]), np.array([0]))  # only the second one comes too close
    0.125
    """

    margin: float = 1.0
    p: Literal[1, 2] = 1

    def __post_init__(self):
        if not 0 < self.margin < np.inf:
            raise ShapeError(f"hinge margin: expected a positive number, got {brief(self.margin)}; 1 is usual")

    def value(self, prediction, target):
        """Mean loss of scores (batch, classes) for integer labels (batch,)."""
        violations, _ = self._violations(prediction, target)
        return float(np.sum(violations**self.p, dtype=np.float64)) / max(1, violations.size)

    def grad(self, prediction, target):
        """Its gradient, (batch, classes)."""
        violations, right = self._violations(prediction, target)
        gradient = 2 * violations if self.p == 2 else (violations > 0).astype(violations.dtype)
        gradient[right] = -np.sum(gradient, axis=1)
        return gradient / max(1, violations.size)

    def _violations(self, scores, target):
        """How far each wrong class comes into the margin (batch, classes), and the index of the right ones."""
        labels = check_labels("hinge", scores, target)
        right = np.arange(len(labels)), labels
        violations = np.maximum(scores - scores[right][:, None] + scores.dtype.type(self.margin), 0)
        violations[right] = 0
        return violations, right


@hookimpl
def register_losses(register):
    register("hinge", Hinge)
