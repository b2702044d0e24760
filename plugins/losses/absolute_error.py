"""Absolute error: outliers pull no harder than anything else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator import hookimpl
from simulator.losses import check_targets


@dataclass(frozen=True)
class AbsoluteError:
    """Σ |prediction − target|, averaged over the batch; integer labels are compared as one-hot vectors.

    Notes
    -----
    PyTorch's ``l1_loss`` averages over the units, too; here they are summed, as in `SquaredError`. The gradient is the
    sign of the difference, 0 where there is none.

    Examples
    --------
    >>> AbsoluteError().value(np.array([[1.0, -2.0]]), np.array([[0.0, 0.0]]))
    3.0
    """

    def value(self, prediction, target):
        """Mean over the batch of Σ |prediction − target|, both (batch, ...)."""
        difference = prediction - check_targets("absolute-error", prediction, target)
        return float(np.sum(np.abs(difference), dtype=np.float64)) / max(1, len(difference))

    def grad(self, prediction, target):
        """sign(prediction − target) / batch, in the prediction's shape."""
        difference = prediction - check_targets("absolute-error", prediction, target)
        return np.sign(difference) / max(1, len(difference))


@hookimpl
def register_losses(register):
    register("absolute-error", AbsoluteError)
