"""The layer that brings units to one scale by numbers that were measured before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from simulator.layers.base import Affine, Array, Arrays, Forward, FunctionLayer, Rng, Shape
from simulator.patterns import IdentityPattern, Pattern

__all__ = ["Standardise"]


@dataclass(frozen=True)
class Standardise(FunctionLayer):
    """(x − mean) / scale for each unit, with a mean and a scale that were measured before: they are never trained.

    As a matrix: a diagonal and an offset.

    Notes
    -----
    The buffers "mean" and "scale" have the shape of one sample; at first they are 0 and 1. As the first layer of a
    network they keep the scaling of the data with the weights: `SimulatorClassifier` puts it there.

    Examples
    --------
    >>> measured = {"mean": np.array([1.0, 2.0]), "scale": np.array([2.0, 4.0])}
    >>> Standardise().forward({}, measured, np.array([[5.0], [6.0]]))[0]
    array([[2.],
           [1.]])
    """

    def output_shape(self, *input_shapes: Shape) -> Shape:
        return input_shapes[0]

    def init_buffers(self, *input_shapes: Shape, dtype: Any) -> dict[str, np.ndarray]:
        return {"mean": np.zeros(input_shapes[0], dtype), "scale": np.ones(input_shapes[0], dtype)}

    def forward(self, params: Arrays, buffers: Arrays, *xs: Array, training: bool = False, rng: Rng = None) -> Forward:
        scale = buffers["scale"][..., None]  # (channels, *space, 1)
        y = xs[0] - buffers["mean"][..., None]
        y /= scale
        return y, lambda dy: ((dy / scale,), {}), dict(buffers)

    def support(self, *input_shapes: Shape) -> Sequence[Pattern]:
        return [IdentityPattern(math.prod(input_shapes[0]))]

    def affine_at(self, params: Arrays, buffers: Arrays, *xs: Array) -> Affine:
        scale, mean = buffers["scale"].ravel(), buffers["mean"].ravel()
        return [scipy.sparse.diags_array(1 / scale, format="csr", dtype=scale.dtype)], -mean / scale
