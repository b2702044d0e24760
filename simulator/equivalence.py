"""The proof: each layer computed directly, against its sparse matrix.

One side is `simulator.direct`, which loops over the taps of a kernel and knows nothing of patterns and window tables.
The other multiplies with the literal `scipy.sparse.csr_array` and its transpose; of a matrix that is too large to build
some rows and columns are compared.

An engine is proved against these matrices in turn: all that it computes for a network, in the network's precision and
with the batches that it trains on, its own kernels for several layers included.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulator.direct import direct
from simulator.engine import SciPyEngine
from simulator.errors import ShapeError, blamed
from simulator.execution import Run, Step, alone, fused
from simulator.layers import FunctionLayer, Layer, MatrixLayer
from simulator.matrix import LARGEST_CSR, TiedMatrix
from simulator.memory import available_memory
from simulator.network import Input, Network, Node, Rng, as_rng
from simulator.notebooks import Steps
from simulator.patterns import Pattern
from simulator.threads import one_blas_thread
from simulator.windows import check_size

__all__ = ["Proof", "engine_equivalence", "equivalence", "tolerance"]

_GRADIENTS = 6  # of a weight: both sides, the sums of one in float64, and what it takes to compare them
_LINES = 64  # rows, and as many columns, of a matrix that is too large to build


@dataclass(frozen=True)
class Proof:
    """How far a layer and its matrix are apart.

    Parameters
    ----------
    name : str
        Of the node; of an engine's step the names of all its nodes.
    layer : str
        Type of the layer, or of all of them.
    matrix : str
        The matrix in words, or "" without one; of an engine's step what it was computed for.
    forward, input_gradient, weight_gradient : float or None
        Largest difference relative to the largest magnitude; None where there is nothing to compare.
    ok : bool
        Whether all are within the tolerance.
    skipped : str
        Why there is nothing to compare; "" if there is.
    has_matrix : bool
        Whether the layer has a matrix. If it has and was skipped, nothing is known about it.
    sampled : int
        How many rows, and how many columns, were compared of a matrix that is too large to build; its weight gradient
        was not. 0 where the whole matrix was compared.
    """

    name: str
    layer: str
    matrix: str = ""
    forward: float | None = None
    input_gradient: float | None = None
    weight_gradient: float | None = None
    ok: bool = True
    skipped: str = ""
    has_matrix: bool = True
    sampled: int = 0

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
        that is all zero, with which anything would be equal, is replaced by a random one. Of a matrix that is too large
        to build, random rows and columns are compared on one sample.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 6, 6), [Conv(2, kernel=3)], rng=0, dtype="float64")
    >>> [proof.ok for proof in equivalence(net)]
    [True]
    """
    check_size(batch, "equivalence batch")
    proofs = _layer_proofs(network, batch, as_rng(rng))
    return Steps(proofs, "Proofs, one for each layer: write for proof in equivalence(network)")


def _layer_proofs(network: Network, batch: int, generator: np.random.Generator) -> Iterator[Proof]:
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


def engine_equivalence(network: Network, *, batch: int = 32, rng: Rng = 0) -> Iterator[Proof]:
    """Prove that the engine of a network computes what the literal matrices do.

    Everything that the engine computes is compared with `scipy.sparse`, one step after the other, each on samples of
    its own: the products of every layer, then what it does in training and in predictions, where it may have kernels
    for several layers at once.

    Parameters
    ----------
    network : Network
        With weights; its engine is on trial, in its dtype.
    batch : int, default 32
        Samples; engines do different things for different numbers of them.
    rng : numpy.random.Generator or int, default 0
        Draws samples and output gradients.

    Yields
    ------
    Proof
        One for each step that is the engine's own code. `Proof.matrix` says what for: "products", "training" or
        "prediction".

    Notes
    -----
    Samples and gradients are small whole numbers, and weights are rounded to eight bits of the largest: then sums are
    exact in every order, no unit changes its sign by rounding, and an engine that is right differs by nothing, or where
    batch normalisation divides by a few last bits. Params that are all zero are replaced by random ones.

    Examples
    --------
    >>> from simulator.layers import Conv, Dense, ReLU
    >>> net = Network.sequential((1, 6, 6), [Conv(2, kernel=3), ReLU(), Dense(3)], rng=0)
    >>> for proof in engine_equivalence(net):
    ...     print(proof.name, proof.matrix, proof.ok)
    conv1 products True
    dense1 products True
    conv1 training True
    dense1 training True
    conv1 prediction True
    dense1 prediction True
    """
    check_size(batch, "equivalence batch")
    proofs = _engine_proofs(network, batch, as_rng(rng))
    return Steps(proofs, "Proofs, one for each step: write for proof in engine_equivalence(network)")


def _engine_proofs(network: Network, batch: int, generator: np.random.Generator) -> Iterator[Proof]:
    exact = network.with_params(_rounded(network, generator))
    plan = fused(network.nodes, network.engine, network.outputs, batch)
    for kind, steps in (("products", alone(network.nodes, network.engine)), ("training", plan), ("prediction", plan)):
        for step in steps:
            if not isinstance(step.by, Layer):  # a layer's own forward is no code of the engine
                yield _step_proof(exact, step, kind, batch, generator)


def _rounded(network: Network, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The params with few digits: multiples of 1/128 of a power of two not far above the largest of their layer."""
    largest: dict[str, float] = {}
    for name, array in network.params.items():
        owner = name.split(".")[0]
        largest[owner] = max(largest.get(owner, 0.0), float(np.max(np.abs(array), initial=0)))
    rounded = {}
    for name, array in network.params.items():
        unit = 2.0 ** (np.ceil(np.log2(largest[name.split(".")[0]] or 1.0)) - 7)
        whole = np.rint(array / unit)
        rounded[name] = unit * (whole if whole.any() else rng.integers(1, 4, array.shape) * rng.choice([-1, 1]))
    return rounded


def _step_proof(network: Network, step: Step, kind: str, batch: int, rng: np.random.Generator) -> Proof:
    """One step by the engine against its nodes one by one by literal matrices."""
    who = (" + ".join(node.name for node in step.nodes), " + ".join(type(node.layer).__name__ for node in step.nodes))
    large = [n for n in step.nodes if n.pattern is not None and not _can_be_built(n.pattern, network.dtype)]
    if large:
        return Proof(*who, kind, skipped=f"the matrix of {large[0].name} is too large to build")
    # With a weight such as 1/9 sums are not exact, and the sign of one that should be 0 would be a matter of luck.
    inexact = any(n.fixed_weight is not None and (n.fixed_weight * 128 % 1).any() for n in step.nodes)
    shapes = {s: shape for n in step.nodes for s, shape in zip(n.inputs, n.input_shapes, strict=True)}

    def drawn(shape: Sequence[int]) -> np.ndarray:
        if inexact:
            return _drawn(rng, shape, batch, network.dtype)
        return rng.integers(-3, 4, (*shape, batch)).astype(network.dtype)

    xs, dy = {source: drawn(shapes[source]) for source in step.inputs}, drawn(step.nodes[-1].shape)
    seed, training = int(rng.integers(2**32)), kind != "prediction"
    sides = []
    copies = {node.name: replace(node) for node in step.nodes}  # the matrices go with them
    for steps in ([step], alone(copies, SciPyEngine(threads=1))):
        run = replace(network._as_run(training, seed, training), matrices={})
        with one_blas_thread():
            sides.append(_computed(steps, run, xs, dy))
    forward, backward, weight = (
        max(
            (_difference(found[key], array) if key in found else np.inf for key, array in expected.items()),
            default=None,
        )
        for found, expected in zip(*sides, strict=True)
    )
    assert forward is not None
    if not training:
        backward = weight = None
    return _verdict(who, kind, forward, backward, weight, network.dtype)


def _computed(
    steps: Sequence[Step], run: Run, xs: Mapping[str, np.ndarray], dy: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The output and the buffers, the gradients of the inputs, and those of the params, each by name."""
    values, pullbacks = dict(xs), []
    nodes = [node for step in steps for node in step.nodes]
    buffers = {f"{node.name}.{key}": array for node in nodes for key, array in run.own_buffers(node).items()}
    for step in steps:
        values[step.name], pullback, new = step.forward(run, [values[source] for source in step.inputs])
        buffers.update(new)
        pullbacks.append(pullback)
    pending: dict[str, np.ndarray] = {steps[-1].name: dy}
    grads: dict[str, np.ndarray] = {}
    for step, pullback in zip(reversed(steps), reversed(pullbacks), strict=True):
        if not run.backward:
            break
        dxs, of_params = step.backward(pullback, pending.pop(step.name), True)
        for source, dx in zip(step.inputs, dxs, strict=True):
            pending[source] = pending[source] + dx if source in pending else dx
        for name, grad in of_params.items():
            grads[name] = grads[name] + grad if name in grads else grad
    return {"output": values[steps[-1].name], **buffers}, pending, grads


def _can_be_built(pattern: Pattern, dtype: Any) -> bool:
    """Whether there is memory for a matrix and its ties, and for the gradient of the weight, several times over."""
    need, free = pattern.csr_nbytes(dtype), available_memory()
    gradients = _GRADIENTS * pattern.n_ties * np.dtype(dtype).itemsize
    return need <= LARGEST_CSR and (free is None or 2 * need + gradients <= free)


def _drawn(rng: np.random.Generator, shape: Sequence[int], batch: int, dtype: Any) -> np.ndarray:
    return rng.standard_normal((*shape, batch)).astype(dtype)


def _verdict(
    who: tuple[str, str],
    matrix: str,
    forward: float,
    input_gradient: float | None,
    weight_gradient: float | None,
    dtype: Any,
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
    if not matrix.weight.any():
        matrix = matrix.with_weight(rng.standard_normal(matrix.weight.shape).astype(network.dtype))
    large = not _can_be_built(matrix.pattern, network.dtype)
    if large:
        x, dy = x[..., :1], dy[..., :1]
    try:
        y, dx, dw = direct(layer, x, matrix.weight.reshape(layer.weight_shape(*node.input_shapes)), dy)
    except ShapeError as error:  # the layer and the formula disagree about its size
        return Proof(*who, str(error), np.inf, ok=False)
    if large:
        return _lines_proof(who, matrix, node, (x.ravel(), y.ravel()), (dy.ravel(), dx.ravel()), rng)
    csr = matrix.csr
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


def _lines_proof(
    who: tuple[str, str],
    matrix: TiedMatrix,
    node: Node,
    forward: tuple[np.ndarray, np.ndarray],
    backward: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> Proof:
    """Some rows of a matrix, each made alone, against the outputs of these units; columns against input gradients."""
    rows, columns = (np.sort(rng.choice(n, min(n, _LINES), replace=False)) for n in matrix.shape)
    padding = None if node.padding is None else TiedMatrix(node.padding, matrix.weight)

    def output(i: int) -> float:
        cols, _, values = matrix.row(i)
        offset = 0.0 if padding is None else getattr(node.layer, "pad_value", 0.0) * padding.row(i)[2].sum()
        return float(values @ forward[0][cols] + offset)

    def input_gradient(j: int) -> float:
        of, _, values = matrix.column(j)
        return float(values @ backward[0][of])

    of_rows, of_columns = (
        _difference(np.array([line(int(k)) for k in chosen]), direct_result[chosen].astype(np.float64))
        for line, chosen, direct_result in ((output, rows, forward[1]), (input_gradient, columns, backward[1]))
    )
    words = f"{matrix!r}; {len(rows)} rows and {len(columns)} columns of it"
    return replace(_verdict(who, words, of_rows, of_columns, None, matrix.dtype), sampled=len(rows))


def _sample_proof(network: Network, node: Node, xs: Sequence[np.ndarray], dy: np.ndarray) -> Proof:
    layer = node.layer
    assert isinstance(layer, FunctionLayer)
    who = (node.name, type(layer).__name__)
    bound = network.node(node.name)
    affine = layer.affine_at(bound.params, bound.buffers, *(x[..., 0] for x in xs))
    if affine is None:
        return Proof(*who, skipped=f"{who[1]} is not piecewise linear: no matrix", has_matrix=False)
    matrices, offset = affine
    rows, cols = matrices[0].shape
    words = f"{rows} x {cols}, at a random input: {sum(m.nnz for m in matrices)} nonzeros"
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
