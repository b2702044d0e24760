"""Averaging: the mean of several networks' predictions, or of one network's on several views of a sample.

Krizhevsky et al. (2012) predict with the mean softmax of ten crops of each picture, and with several networks that
differ in their first weights; both lower the error, for the loss of the mean is never above the mean of the losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import scipy

from simulator.arrays import real_array
from simulator.errors import ShapeError, brief
from simulator.finite import check_finite
from simulator.network import Network
from simulator.windows import check_size

__all__ = ["average"]


def average(
    networks: Network | Iterable[Network],
    x: Any,
    *,
    views: Callable[[np.ndarray], np.ndarray] | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """Mean softmax probability of several networks, of several views of each sample, or both.

    Parameters
    ----------
    networks : Network or iterable of Network
        With weights; each ends in logits (classes,) of the same classes.
    x : array_like, (batch, channels, *space)
        The samples.
    views : callable, optional
        ``views(inputs) -> (views, batch, ...)``: several inputs of the networks made of each sample, such as
        ``lambda inputs: ten_crops(inputs, 24)``. Default: the samples themselves.
    batch_size : int, default 64
        Samples at a time: no more of them are cut up or run at once.

    Returns
    -------
    numpy.ndarray of float64, (batch, classes)
        Rows with the sum 1.

    Raises
    ------
    ShapeError
        If there is no network, their outputs differ or are no logits, the samples do not fit, or the views are not
        (views, batch, ...).

    Notes
    -----
    p = (1 / nv) Σᵢⱼ softmax(networkᵢ(viewⱼ(x))), with n networks and v views. As −log is convex, the cross-entropy of p
    is at most the mean of the cross-entropies of its parts.

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks", 2012,
    sections 4.1 and 6.

    Examples
    --------
    >>> from simulator.augmentation import ten_crops
    >>> from simulator.layers import Dense
    >>> networks = [Network.sequential((1, 6, 6), [Dense(3)], rng=seed) for seed in range(4)]
    >>> average(networks, np.ones((2, 1, 8, 8)), views=lambda inputs: ten_crops(inputs, 6)).shape
    (2, 3)
    """
    members = list(networks) if isinstance(networks, Iterable) else [networks]
    strange = [type(member).__name__ for member in members if not isinstance(member, Network)]
    if strange or not members:
        got = strange[0] if strange else "none"
        raise ShapeError(f"average: expected networks, got {got}; write average([first, second], x)")
    shapes = {network.output_shape for network in members}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ShapeError(
            "average: expected networks that end in logits (classes,) of the same classes, got outputs "
            f"{', '.join(map(str, sorted(shapes)))}; build them alike"
        )
    check_size(batch_size, "average batch_size")
    samples = real_array("average", x)
    if samples.ndim == 0:
        raise ShapeError(f"average: expected samples (batch, channels, *space), got {brief(x)}; give an array")
    means = np.zeros((len(samples), *shapes.pop()))
    batch_size = min((network.fitting_batch(batch_size) for network in members), default=batch_size)
    for start in range(0, len(samples), batch_size):
        batch = slice(start, start + batch_size)
        seen = _views(views, samples[batch])
        for view in seen:
            for network in members:
                means[batch] += scipy.special.softmax(network.predict(view).astype(np.float64), axis=1)
        means[batch] /= len(seen) * len(members)
    check_finite({"the probabilities": means}, "average")
    return means


def _views(views: Callable[[np.ndarray], np.ndarray] | None, samples: np.ndarray) -> np.ndarray:
    """What the networks see of the samples, (views, batch, ...)."""
    if views is None:
        return samples[None]
    seen = real_array("average views", views(samples))
    if seen.ndim < 2 or len(seen) == 0 or seen.shape[1] != len(samples):
        raise ShapeError(
            f"average views: expected (views, {len(samples)}, ...) for {len(samples)} samples, got {seen.shape}; put "
            "the views on the first axis, as ten_crops does"
        )
    return seen
