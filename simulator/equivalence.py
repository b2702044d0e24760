"""The proof: each layer computed directly, against its sparse matrix.

One side is `simulator.direct`, which loops over the taps of a kernel and knows nothing of patterns and window tables.
The other multiplies with the literal `scipy.sparse.csr_array` and its transpose.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.direct import direct
from simulator.errors import ShapeError, blamed
from simulator.layers import FunctionLayer, Layer, MatrixLayer
from simulator.matrix import LARGEST_CSR, TiedMatrix
from simulator.memory import available_memory
from simulator.network import Input, Network, Node, Rng, as_rng
from simulator.windows import check_size

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
        One for each layer, in order. Layers that choose their matrix by the input are compared on one sample; a weight
        that is all zero, with which anything would be equal, is replaced by a random one.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 6, 6), [Conv(2, kernel=3)], rng=0, dtype="float64")
    >>> [proof.ok for proof in equivalence(net)]
    [True]
    """
    check_size(batch, "equivalence batch")
    generator = as_rng(rng)
    for node in network.nodes.values():
        if isinstance(node.layer, Input):
            continue
        # Inputs of its own for each layer: behind a dead ReLU a network has only zeros, with which anything is equal.
        xs = [_drawn(generator, shape, batch, network.dtype) for shape in node.input_shapes]
        dy = _drawn(generator, node.shape, batch, network.dtype)
        with blamed(f"{node.name}, {type(node.layer).__name__}", "a layer that computes itself and its matrix"):
            if isinstance(node.layer, MatrixLayer):
                proof = _matrix_proof(network, node, xs[0], dy, generator)
            else:
                proof = _sample_proof(network, node, [x[..., :1] for x in xs], dy[..., :1])
        yield proof


def _drawn(rng: np.random.Generator, shape: Sequence[int], batch: int, dtype: Any) -> np.ndarray:
    return rng.standard_normal((*shape, batch)).astype(dtype)


def _verdict(
    who: tuple[str, str], matrix: str, forward: float, input_gradient: float, weight_gradient: float | None, dtype: Any
) -> Proof:
    found = [d for d in (forward, input_gradient, weight_gradient) if d is not None]
    ok = all(d <= tolerance(dtype) for d in found)  # NaN is no proof
    return Proof(*who, matrix, forward, input_gradient, weight_gradient, ok)


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference relative to the largest magnitude; infinite where sizes differ or a number is not finite."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.inf
    scale = max(float(np.max(np.abs(a), initial=0)), float(np.max(np.abs(b), initial=0)))
    return float(np.max(np.abs(a - b), initial=0)) / scale if scale else 0.0


def _matrix_proof(network: Network, node: Node, x: np.ndarray, dy: np.ndarray, rng: np.random.Generator) -> Proof:
    layer = node.layer
    assert isinstance(layer, MatrixLayer)
    who = (node.name, type(layer).__name__)
    if not _known(layer):
        return Proof(
            *who, skipped=f"{who[1]} has no direct computation to compare with; register one with direct.register"
        )
    matrix = network.node(node.name).matrix
    # A pattern keeps its CSR form. That of a copy goes with the copy: all layers at once would fill the memory.
    matrix = TiedMatrix(copy.copy(matrix.pattern), matrix.weight)
    need = matrix.pattern.csr_nbytes(network.dtype)
    free = available_memory()
    if need > LARGEST_CSR or (free is not None and 2 * need > free):  # what is multiplied, and its index arrays again
        return Proof(*who, skipped=f"its matrix of {need:,} bytes is too large to build")
    if not matrix.weight.any():
        matrix = matrix.with_weight(rng.standard_normal(matrix.weight.shape).astype(network.dtype))
    csr = matrix.tocsr()
    try:
        y, dx, dw = direct(layer, x, matrix.weight.reshape(layer.weight_shape(*node.input_shapes)), dy)
    except ShapeError as error:  # the layer and the formula disagree about its size
        return Proof(*who, str(error), np.inf, ok=False)
    batch = x.shape[-1]
    flat, flat_dy = x.reshape(csr.shape[1], batch), dy.reshape(csr.shape[0], batch)
    y_matrix, dw_matrix = csr @ flat, matrix.grad(flat, flat_dy)
    if node.padding is not None:
        constants = np.full((1, batch), layer.pad_value, x.dtype)
        offset = TiedMatrix(node.padding, matrix.weight)
        y_matrix, dw_matrix = y_matrix + offset.tocsr() @ constants, dw_matrix + offset.grad(constants, flat_dy)
    forward = _difference(y, y_matrix.reshape(dy.shape))
    backward = _difference(dx, (csr.T @ flat_dy).reshape(x.shape))
    weight = None if dw is None else _difference(dw.ravel(), dw_matrix.ravel())
    return _verdict(who, repr(matrix), forward, backward, weight, network.dtype)


def _sample_proof(network: Network, node: Node, xs: Sequence[np.ndarray], dy: np.ndarray) -> Proof:
    layer = node.layer
    assert isinstance(layer, FunctionLayer)
    who = (node.name, type(layer).__name__)
    bound = network.node(node.name)
    affine = layer.affine_at(bound.params, bound.buffers, *(x[..., 0] for x in xs))
    if affine is None:
        return Proof(*who, skipped=f"{who[1]} is not piecewise linear: no matrix")
    matrices, offset = affine
    rows, cols = matrices[0].shape
    words = f"for one sample {rows} x {cols}: {sum(m.nnz for m in matrices)} nonzeros"
    if _known(layer):
        try:
            y, dx, _ = direct(layer, xs[0] if layer.inputs == 1 else tuple(xs), bound.params or None, dy)
        except ShapeError as error:
            return Proof(*who, str(error), np.inf, ok=False)
        dxs = (dx,) if layer.inputs == 1 else dx
    else:
        y, pullback, _ = layer.forward(bound.params, bound.buffers, *xs)
        dxs, words = pullback(dy)[0], f"{words}, against its own forward"
    y_matrix = offset + sum(m @ x.ravel() for m, x in zip(matrices, xs, strict=True))
    gradients = [_difference(dx.ravel(), m.T @ dy.ravel()) for dx, m in zip(dxs, matrices, strict=True)]
    return _verdict(who, words, _difference(y.ravel(), y_matrix), max(gradients), None, network.dtype)


def _known(layer: Layer) -> bool:
    """Whether there is a direct computation of this layer."""
    return direct.dispatch(type(layer)) is not direct.dispatch(object)
