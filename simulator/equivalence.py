"""The proof: each layer computed directly, against its sparse matrix.

One side is `simulator.direct`, which loops over the taps of a kernel and knows nothing of patterns and window tables.
The other multiplies with the literal `scipy.sparse.csr_array` and its transpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.direct import direct
from simulator.errors import ShapeError
from simulator.layers import FunctionLayer, MatrixLayer
from simulator.matrix import TiedMatrix
from simulator.network import Input, Network, Node, Rng, as_rng

__all__ = ["Proof", "equivalence", "tolerance"]


@dataclass(frozen=True)
class Proof:
    """How far a layer and its matrix are apart.

    Parameters
    ----------
    name : str
        Of the node.
    layer : str
        Type of the layer.
    matrix : str
        The matrix in words, or "" without one.
    forward, input_gradient, weight_gradient : float or None
        Largest difference relative to the largest magnitude; None where there is nothing to compare.
    ok : bool
        Whether all are within the tolerance.
    skipped : str
        Why there is nothing to compare; "" if there is.
    """

    name: str
    layer: str
    matrix: str = ""
    forward: float | None = None
    input_gradient: float | None = None
    weight_gradient: float | None = None
    ok: bool = True
    skipped: str = ""

    @property
    def max_difference(self) -> float | None:
        """The largest of the differences, None for a skipped layer."""
        found = [d for d in (self.forward, self.input_gradient, self.weight_gradient) if d is not None]
        return max(found) if found else None

    def as_dict(self) -> dict[str, Any]:
        """Flat, for JSON."""
        return {**vars(self), "max_difference": self.max_difference}


def tolerance(dtype: Any) -> float:
    """Largest difference that counts as equal: 1e-12 in float64, 1e-5 in float32."""
    return 1e-12 if np.dtype(dtype) == np.float64 else 1e-5


def equivalence(network: Network, *, batch: int = 2, rng: Rng = 0) -> Iterator[Proof]:
    """Prove layer by layer that the network is its matrices.

    Parameters
    ----------
    network : Network
        With weights; its dtype decides the tolerance.
    batch : int, default 2
        Random samples to compare on.
    rng : numpy.random.Generator or int, default 0
        Draws samples and output gradients.

    Yields
    ------
    Proof
        One for each layer, in order. Layers that choose their matrix by the input are compared on the first sample; a
        weight that is all zero, with which anything would be equal, is replaced by a random one.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 6, 6), [Conv(2, kernel=3)], rng=0, dtype="float64")
    >>> [proof.ok for proof in equivalence(net)]
    [True]
    """
    generator = as_rng(rng)
    samples = {n: generator.standard_normal((batch, *network.nodes[n].shape)) for n in network.inputs}
    trace = network.run(samples)
    for node in network.nodes.values():
        if isinstance(node.layer, Input):
            continue
        xs = [np.ascontiguousarray(np.moveaxis(trace[i], 0, -1)) for i in node.inputs]
        dy = generator.standard_normal((*node.shape, batch)).astype(network.dtype)
        try:
            if isinstance(node.layer, MatrixLayer):
                yield _matrix_proof(network, node, xs[0], dy, generator)
            else:
                yield _sample_proof(network, node, xs, dy)
        except ShapeError as error:  # a matrix too large to build
            yield Proof(node.name, type(node.layer).__name__, skipped=str(error))


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference relative to the largest magnitude."""
    scale = max(float(np.max(np.abs(a), initial=0)), float(np.max(np.abs(b), initial=0)))
    return float(np.max(np.abs(a - b), initial=0)) / scale if scale else 0.0


def _matrix_proof(network: Network, node: Node, x: np.ndarray, dy: np.ndarray, rng: np.random.Generator) -> Proof:
    layer = node.layer
    who = (node.name, type(layer).__name__)
    if direct.dispatch(type(layer)) is direct.dispatch(object):
        return Proof(
            *who, skipped=f"{who[1]} has no direct computation to compare with; register one with direct.register"
        )
    matrix = network.node(node.name).matrix
    if not matrix.weight.any():
        matrix = matrix.with_weight(rng.standard_normal(matrix.weight.shape).astype(network.dtype))
    csr = matrix.tocsr()
    y, dx, dw = direct(layer, x, matrix.weight.reshape(layer.weight_shape(*node.input_shapes)), dy)  # type: ignore[attr-defined]
    batch = x.shape[-1]
    flat, flat_dy = x.reshape(-1, batch), dy.reshape(-1, batch)
    y_matrix, dw_matrix = csr @ flat, matrix.grad(flat, flat_dy)
    if node.padding is not None:
        constants = np.full((1, batch), layer.pad_value, x.dtype)  # type: ignore[attr-defined]
        offset = TiedMatrix(node.padding, matrix.weight)
        y_matrix, dw_matrix = y_matrix + offset.tocsr() @ constants, dw_matrix + offset.grad(constants, flat_dy)
    forward = _difference(y.reshape(-1, batch), y_matrix)
    backward = _difference(dx.reshape(-1, batch), csr.T @ flat_dy)
    weight = _difference(dw.ravel(), dw_matrix.ravel()) if dw is not None else None
    ok = max(forward, backward, weight or 0.0) <= tolerance(x.dtype)
    return Proof(*who, repr(matrix), forward, backward, weight, ok)


def _sample_proof(network: Network, node: Node, xs: Sequence[np.ndarray], dy: np.ndarray) -> Proof:
    layer = node.layer
    assert isinstance(layer, FunctionLayer)
    bound = network.node(node.name)
    affine = layer.affine_at(bound.params, bound.buffers, *(x[..., 0] for x in xs))
    if affine is None:
        return Proof(
            node.name, type(layer).__name__, skipped=f"{type(layer).__name__} is not piecewise linear: no matrix"
        )
    matrices, offset = affine
    y, pullback, _ = layer.forward(bound.params, bound.buffers, *(x[..., :1] for x in xs))
    dxs, _ = pullback(dy[..., :1])
    y_matrix = offset + sum(m @ x[..., 0].ravel() for m, x in zip(matrices, xs, strict=True))
    forward = _difference(y.ravel(), y_matrix)
    gradients = [_difference(dx.ravel(), m.T @ dy[..., 0].ravel()) for dx, m in zip(dxs, matrices, strict=True)]
    rows, cols = matrices[0].shape
    words = f"for one sample {rows} x {cols}: {sum(m.nnz for m in matrices)} nonzeros"
    ok = max(forward, *gradients) <= tolerance(y.dtype)
    return Proof(node.name, type(layer).__name__, words, forward, max(gradients), None, ok)
