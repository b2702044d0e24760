"""Binary cross-entropy: every output unit is a yes or no of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from simulator import ShapeError, hookimpl
from simulator.losses import check_targets


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Cross-entropy of independent yes-or-no units given by their logits: summed over units, averaged over the batch.

    Notes
    -----
    Σ −t·log σ(z) − (1 − t)·log(1 − σ(z)) with targets t from 0 to 1 in the prediction's shape, in a form that neither
    overflows nor cancels. Integer labels become one-hot vectors: each class against the rest. PyTorch's
    ``binary_cross_entropy_with_logits`` averages over the units, too; here they are summed, as in `SquaredError`.

    Examples
    --------
    >>> BinaryCrossEntropy().value(np.zeros((1, 2)), np.array([[1.0, 0.5]]))  # 2 log 2
    1.3862943611198906
    """

    def value(self, prediction, target):
        """Mean over the batch of the cross-entropies (batch, ...), summed over units."""
        target = self._targets(prediction, target)
        losses = target * np.logaddexp(0, -prediction) + (1 - target) * np.logaddexp(0, prediction)
        return float(np.sum(losses, dtype=np.float64)) / max(1, len(losses))

    def grad(self, prediction, target):
        """(σ(z) − t) / batch, in the prediction's shape."""
        target = self._targets(prediction, target)
        return (scipy.special.expit(prediction) - target) / max(1, len(target))

    def _targets(self, prediction, target):
        target = check_targets("binary-cross-entropy", prediction, target)
        if target.size and not (target.min() >= 0 and target.max() <= 1):
            raise ShapeError(
                f"binary-cross-entropy: expected targets from 0 to 1, got {target.min()} to {target.max()}; scale them "
                "or choose another loss"
            )
        return target


@hookimpl
def register_losses(register):
    register("binary-cross-entropy", BinaryCrossEntropy)
