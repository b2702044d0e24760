"""One matrix: at one sample a piecewise linear network is y = A x + b.

With this module one can

- multiply the layers' matrices from the output side into A, and gather b (`affine`);
- take the Jacobian in place of A where a layer is curved;
- ask how far A x + b is from what the network computes (`Affine.difference`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from simulator.errors import ShapeError, blamed, brief
from simulator.lab.sample import read_sample, run_sample
from simulator.lab.sharing import offset
from simulator.layers import MatrixLayer
from simulator.memory import check_memory
from simulator.network import BoundNode, Network
from simulator.nodes import only
from simulator.patterns import LARGEST_CSR
from simulator.sets import UnitSet, behind
from simulator.units import Units

__all__ = ["Affine", "affine", "check_affine", "local_affine"]

_BATCH_BYTES = 2**26  # of the activations of those copies of a sample that go back at once


@dataclass(frozen=True, eq=False, repr=False)
class Affine:
    """What a network is at one sample: f(x) = A x + b.

    Parameters
    ----------
    units : Units
        The outputs: one row each, in C order.
    exact : bool
        Whether the network is this function around the sample, too; otherwise it only touches it there.
    x : dict of str to numpy.ndarray
        The sample by input name, (channels, *space).
    matrices : dict of str to scipy.sparse.csr_array
        A for each input, (n_out, n_in).
    b : numpy.ndarray, (n_out,)
        The offset.
    y : numpy.ndarray, (n_out,)
        What the network computes.
    """

    units: Units
    exact: bool
    x: dict[str, np.ndarray]
    matrices: dict[str, scipy.sparse.csr_array]
    b: np.ndarray
    y: np.ndarray

    @property
    def A(self) -> scipy.sparse.csr_array:
        """The matrix of the only input, (n_out, n_in), or a `ShapeError`."""
        return self.matrices[only(tuple(self.matrices), "input")]

    def __call__(self, x: Any) -> np.ndarray:
        """A x + b for another sample: what the network would compute if it were the same matrix everywhere.

        Parameters
        ----------
        x : array_like, (channels, *space), or dict of them by input name

        Returns
        -------
        numpy.ndarray, (n_out,)

        Raises
        ------
        ShapeError
            If it does not have the shape of the sample.
        """
        names = tuple(self.x) if isinstance(x, Mapping) else (only(tuple(self.x), "input"),)
        given, y = read_sample(x, names, "affine"), self.b
        for name, sample in self.x.items():
            got = given[name].shape if name in given else None
            if got != sample.shape:
                raise ShapeError(
                    f"affine: expected one sample of shape {sample.shape} for {brief(name)}, got "
                    f"{got or 'none'}; give one "
                    "like that of the matrix"
                )
            y = y + self.matrices[name] @ given[name].ravel()
        return y

    @property
    def difference(self) -> float:
        """Largest |f(x) − (A x + b)|, relative to the largest |f(x)|."""
        scale = float(np.max(np.abs(self.y), initial=0))
        return float(np.max(np.abs(self.y - self(self.x)), initial=0)) / (scale or 1.0)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{A.shape[0]} x {A.shape[1]} with {A.nnz} nonzeros" for A in self.matrices.values())
        return f"Affine of {self.units} at one sample{'' if self.exact else ', its tangent'}: {shapes}"


def affine(network: Network, x: Any, output: Any = None, jacobian: bool = False) -> Affine:
    """The network as one matrix and one vector at one sample.

    As a matrix: the product of all layers' matrices, those that the sample chooses (ReLU, maximum) among them; a skip
    adds, a concatenation stacks.

    Parameters
    ----------
    network : Network
        With weights. A and b have its precision.
    x : array_like, (channels, *space), or dict of them by input name
        The sample.
    output : str, Units or (name, unit), optional
        A node or some of its units, such as "conv2" or "conv2[3]". Default: the only output.
    jacobian : bool, default False
        Take the Jacobian J for A, and b = f(x) − J x: also for layers that are not piecewise linear, and without
        building a matrix of a layer.

    Returns
    -------
    Affine

    Raises
    ------
    ShapeError
        If a layer is not piecewise linear, the sample does not fit, or a matrix would be too large.
    UnknownNameError
        If there is no such node.
    SimulatorError
        If the network has no weights.

    Notes
    -----
    From the output side R A_n ··· A_1, where R picks the output units: the intermediate products have few rows. An
    input unit outside of the receptive field of all outputs has an empty column.

    References
    ----------
    R. Balestriero and R. Baraniuk, "A spline theory of deep learning", 2018.

    Examples
    --------
    >>> from simulator.layers import Conv, Dense, MaxPool, ReLU
    >>> layers = [Conv(4, kernel=3), ReLU(), MaxPool(2), Dense(10)]
    >>> net = Network.sequential((1, 8, 8), layers, rng=0, dtype="float64")
    >>> found = affine(net, np.eye(8)[None])
    >>> found.A.shape, found.b.shape, found.difference < 1e-12
    ((10, 64), (10,), True)
    """
    units = Units.of(network.nodes, network.output_name if output is None else output)
    part = network.subnetwork(units.node)
    nodes = [part.node(node.name) for node in reversed(list(part.nodes.values())) if node.inputs]
    check_affine(network, units, jacobian)
    trace = run_sample(part, units.node, x, "affine")
    sample = {name: trace[name][0] for name in part.inputs}
    y = trace[units.node][0].ravel()[units.numbers]
    if jacobian:
        matrices = _jacobian(part, sample, units)
        b = y - sum(J @ sample[name].ravel() for name, J in matrices.items())
        return Affine(units, False, sample, matrices, b, y)
    pending, b = {units.node: _picked(units, part.dtype)}, np.zeros(len(y), part.dtype)
    for node in nodes:
        after, inputs = pending.pop(node.name), node.node.inputs
        before, added = local_affine(node, *(trace[name][0] for name in inputs))
        b += after @ added
        for name, matrix in zip(inputs, before, strict=True):
            _check_product(after, matrix, node, units)
            product = after @ _narrow(matrix)
            pending[name] = pending[name] + product if name in pending else product
    return Affine(units, True, sample, {name: pending[name] for name in part.inputs}, b, y)


def check_affine(network: Network, output: Any = None, jacobian: bool = False) -> None:
    """Refuse what `affine` would not have the memory for, from shapes alone: also for a network without weights.

    Parameters
    ----------
    network : Network
        With or without weights.
    output, jacobian
        As for `affine`.

    Raises
    ------
    ShapeError
        If the run, a matrix of a layer, or what a product is estimated to need, does not fit into memory.
    UnknownNameError
        If there is no such node.

    Notes
    -----
    The rows of a product are estimated to be as full as the one in the middle: as long as what that unit sees.

    Examples
    --------
    >>> from simulator.layers import Dense
    >>> check_affine(Network.sequential((10**6,), [Dense(10**5)]))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    simulator.errors.ShapeError: affine dense1: expected matrices of at most 4,294,967,296 bytes, got one of ...
    """
    units = Units.of(network.nodes, network.output_name if output is None else output)
    if jacobian:
        network.check_batch(1, of=[units.node], keep_all=True, backward=True)
        return
    part = network.subnetwork(units.node)
    nodes = [part.node(node.name) for node in reversed(list(part.nodes.values())) if node.inputs]
    for node in nodes:
        _check_matrix(node, units, 0)  # cheaper than to plan a run, and the first to say no
    run = network.run_bytes(1, of=[units.node], keep_all=True)
    middle, rows = int(units.numbers[len(units.numbers) // 2]), len(units.numbers)
    seen = {units.node: UnitSet.one(units.shape, middle)}
    for node in nodes:
        _check_matrix(node, units, run)
        after = seen.pop(node.name)
        for source, shape, pattern in zip(node.node.inputs, node.node.input_shapes, node.node.support, strict=True):
            before = behind(after, pattern, shape)
            seen[source] = seen[source] | before if source in seen else before
            nonzeros = rows * int(after.mask().sum() + seen[source].mask().sum())
            _check_nonzeros(nonzeros, node, units, run + _matrix_bytes(node))


def local_affine(node: BoundNode, *xs: np.ndarray) -> tuple[list[scipy.sparse.csr_array], np.ndarray]:
    """A layer in its network as matrices and an offset at one sample.

    Parameters
    ----------
    node : BoundNode
        Which.
    *xs : numpy.ndarray, (channels, *space)
        One sample of each of its inputs.

    Returns
    -------
    list of scipy.sparse.csr_array, numpy.ndarray
        One matrix (n_out, n_in) for each input, and the offset (n_out,): biases and pad values, too.

    Raises
    ------
    ShapeError
        If the layer is not piecewise linear.
    """
    if isinstance(node.layer, MatrixLayer):
        return [node.matrix.tocsr()], offset(node).ravel()
    with blamed(f"{node.name}, {type(node.layer).__name__}", "affine_at to give matrices and an offset, or None"):
        found = node.affine_at(*xs)
    if found is None:
        raise ShapeError(
            f"{node.name}: expected a piecewise linear layer, got {type(node.layer).__name__}, which is curved; take "
            "the Jacobian with jacobian=True, or an output before it"
        )
    return found


def _jacobian(part: Network, sample: dict[str, np.ndarray], units: Units) -> dict[str, scipy.sparse.csr_array]:
    """The gradient of each output with respect to each input: copies of the sample go back, an output each."""
    numbers, picked = units.numbers, _picked(units, part.dtype)
    need = 3 * len(numbers) * sum(array.nbytes for array in sample.values())
    check_memory(need, f"affine {units}", "ask for fewer units")
    step = max(1, _BATCH_BYTES // part.activation_bytes(1, keep_all=True))
    blocks: dict[str, list[Any]] = {name: [] for name in sample}
    for start in range(0, len(numbers), step):
        rows = picked[start : start + step].toarray()  # (copies, units of the node)
        trace = part.run({name: np.repeat(array[None], len(rows), axis=0) for name, array in sample.items()})
        gradients = trace.backward({units.node: rows.reshape(-1, *units.shape)}).inputs
        for name, gradient in gradients.items():
            blocks[name].append(scipy.sparse.csr_array(gradient.reshape(len(rows), -1)))
    return {name: scipy.sparse.vstack(parts, format="csr") for name, parts in blocks.items()}


def _picked(units: Units, dtype: Any) -> scipy.sparse.csr_array:
    """The 0/1 matrix that picks units of their node, one in each row."""
    count = len(units.numbers)
    shape = count, math.prod(units.shape)
    return _narrow(scipy.sparse.csr_array((np.ones(count, dtype), units.numbers, np.arange(count + 1)), shape=shape))


def _narrow(matrix: Any) -> scipy.sparse.csr_array:
    """The matrix with the smallest index type that it allows: one wide matrix would make all products wide."""
    csr = scipy.sparse.csr_array(matrix)
    index = scipy.sparse.get_index_dtype(maxval=max(csr.nnz, *csr.shape))
    return scipy.sparse.csr_array((csr.data, csr.indices.astype(index), csr.indptr.astype(index)), shape=csr.shape)


def _matrix_bytes(node: BoundNode) -> int:
    """Of the matrix of a layer while it is made, its ties beside it."""
    return 2 * node.pattern.csr_nbytes(node.network.dtype) if isinstance(node.layer, MatrixLayer) else 0


def _check_matrix(node: BoundNode, units: Units, beside: int) -> None:
    """Refuse a layer whose matrix would be too large, where so much else is in memory."""
    need = _matrix_bytes(node) // 2
    cure = "take a few units with jacobian=True (--jacobian), which builds no matrix of a layer"
    if need > LARGEST_CSR:
        raise ShapeError(
            f"affine {units}: expected matrices of at most {LARGEST_CSR:,} bytes, got one of {need:,} bytes in "
            f"{node.name}; {cure}"
        )
    if need:
        check_memory(2 * need + beside, f"affine {units}, matrix of {node.name}", cure)


def _check_product(
    after: scipy.sparse.csr_array, matrix: scipy.sparse.csr_array, node: BoundNode, units: Units
) -> None:
    """Refuse a product that would be too large: each nonzero brings at most a row of the other matrix."""
    most = min(int(np.diff(matrix.indptr)[after.indices].sum()), after.shape[0] * matrix.shape[1])
    _check_nonzeros(most, node, units, 0)


def _check_nonzeros(count: int, node: BoundNode, units: Units, beside: int) -> None:
    """Refuse so many nonzeros of a product, where so much else is in memory."""
    need = beside + count * (node.network.dtype.itemsize + 4)
    check_memory(need, f"affine {units}, product up to {node.name}", "ask for fewer units")
