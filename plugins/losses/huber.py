"""Huber loss: squared where the difference is small, absolute where it is large."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simulator import ShapeError, hookimpl
from simulator.declared import Declared
from simulator.errors import brief
from simulator.losses import check_targets


@dataclass(frozen=True)
class Huber(Declared):
    """Σ h(prediction − target), averaged over the batch; integer labels are compared as one-hot vectors.

    Parameters
    ----------
    delta : float, default 1
        Differences up to it count by half their square, larger ones linearly; a positive number.

    Raises
    ------
    ShapeError
        If `delta` is not positive.

    Notes
    -----
    h(d) = ½ d² where |d| ≤ δ, and δ·(|d| − ½ δ) elsewhere. PyTorch's ``huber_loss`` averages over the units, too; here
    they are summed, as in `SquaredError`, of which this is the same where no difference is larger than δ. PyTorch's
    ``smooth_l1_loss`` is this loss divided by δ.

    References
    ----------
    P. Huber, "Robust estimation of a location parameter", 1964.

    Examples
    --------
    >>> Huber().value(np.array([[1.0, -3.0]]), np.array([[0.0, 0.0]]))
    3.0
    """

    delta: float = 1.0

    def __post_init__(self):
        if not 0 < self.delta < math.inf:
            raise ShapeError(f"huber delta: expected a positive number, got {brief(self.delta)}; 1 is the usual one")

    def value(self, prediction, target):
        """Mean over the batch of Σ h(prediction − target), both (batch, ...)."""
        size = np.abs(prediction - check_targets("huber", prediction, target))
        near = np.minimum(size, self.delta)
        return float(np.sum(near * (size - near / 2), dtype=np.float64)) / max(1, len(size))

    def grad(self, prediction, target):
        """(prediction − target), at most δ in size, / batch, in the prediction's shape."""
        difference = prediction - check_targets("huber", prediction, target)
        return np.clip(difference, -self.delta, self.delta) / max(1, len(difference))


@hookimpl
def register_losses(register):
    register("huber", Huber)
