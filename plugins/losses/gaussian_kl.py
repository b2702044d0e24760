"""The KL divergence that keeps the code of a variational autoencoder close to a standard normal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator import ShapeError, hookimpl


@dataclass(frozen=True)
class GaussianKL:
    """KL divergence of a predicted Gaussian from the standard normal: summed over units, averaged over the batch.

    Notes
    -----
    The prediction (batch, 2k, *space) holds k channels of means μ and then k channels of log-variances log σ². The loss
    is ½ Σ (μ² + σ² − log σ² − 1); the target is ignored.

    References
    ----------
    D. Kingma and M. Welling, "Auto-encoding variational Bayes", 2014.

    Examples
    --------
    >>> GaussianKL().value(np.array([[2.0, 0.0]]), None)  # mean 2, variance 1
    2.0
    """

    def value(self, prediction, target):
        """Mean over the batch of the divergences of a prediction (batch, 2k, *space)."""
        mean, log_variance = self._parts(prediction)
        terms = np.square(mean) + np.expm1(log_variance) - log_variance
        return float(np.sum(terms, dtype=np.float64)) / (2 * max(1, len(terms)))

    def grad(self, prediction, target):
        """μ and ½ (σ² − 1), side by side in the prediction's shape, / batch."""
        mean, log_variance = self._parts(prediction)
        return np.concatenate([mean, np.expm1(log_variance) / 2], axis=1) / max(1, len(mean))

    def _parts(self, prediction):
        if prediction.ndim < 2 or prediction.shape[1] % 2:
            raise ShapeError(
                "gaussian-kl: expected means and as many log-variances (batch, 2k, *space), got "
                f"{prediction.shape}; give the output an even number of channels"
            )
        return np.split(prediction, 2, axis=1)


@hookimpl
def register_losses(register):
    register("gaussian-kl", GaussianKL, examples=[(GaussianKL(), np.linspace(-2, 2, 24).reshape(3, 4, 2), np.zeros(3))])
