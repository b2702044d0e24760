"""Engines: who multiplies with the tied matrices. The reference engine is `scipy.sparse`, literally."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from simulator.errors import blamed, brief
from simulator.matrix import TiedMatrix
from simulator.nodes import Node
from simulator.patterns import Pattern
from simulator.threads import check_threads, in_slices, one_blas_thread

__all__ = ["Engine", "Kernel", "Need", "Pullback", "SciPyEngine", "need_of", "whole_bytes"]

_BLOCK_PRODUCTS = 3 * 2**20  # multiply-adds that are worth handing to another thread
_MOST_BLOCKS = 16

Pullback = Callable[[np.ndarray, bool], tuple[Sequence[Any], dict[str, np.ndarray]]]
Kernel = Callable[..., tuple[np.ndarray, Any, dict[str, np.ndarray]]]


class Need(NamedTuple):
    """Bytes that a step takes besides its input, its output and the weights, estimated.

    Parameters
    ----------
    lasting : int
        Kept for the next run, too.
    back : int
        Kept until the way back is done.
    passing : int
        Needed while the step is computed, forward or, where gradients go back, back.
    pooled : bool, default False
        Whether its arrays come from `Run.empty`: what is freed of these is kept for the next batch.
    """

    lasting: int
    back: int
    passing: int
    pooled: bool = False


@runtime_checkable
class Engine(Protocol):
    """Three products are all that a network needs.

    Arrays are C-contiguous with the batch last: x is (n_in, batch), y and dy are (n_out, batch). They may be read-only;
    results are new arrays.

    Notes
    -----
    An engine may also have kernels of its own for some layers, alone or one after the other, which training and
    prediction use then: ``kernel(nodes, batch)`` gets a tuple of nodes each of which is read by the next alone, and
    gives None or ``(kernel, count)``, where the kernel computes the first `count` of them::

        kernel(run, *xs) -> (y, pullback, buffers)
        pullback(dy, input_needed) -> (gradients of xs, {full name of a param: its gradient})

    What a node reads besides the one before it has been computed already; `xs` are the inputs of the first node and
    then these. `run` is a `simulator.execution.Run`: all params, buffers and an allocator whose memory is used again.
    Arrays are (channels, *space, batch), and none that was given may be changed. Where no input's gradient is needed,
    those gradients may be None.

    An engine that chooses among others may have ``for_network(nodes, batch, samples)`` in place of a kernel: it gives
    the one that computes a network for so many samples in all, where one whose gradients go back counts three times.

    An engine may also say how fast it is: ``speed(pattern, batch)`` is a rough number of multiply-adds per second. It
    is not measured there and then, so that a choice between engines is always the same. One that compiles may have
    ``preparation``, about how many seconds this takes on the processor of which it states its speed: for work that
    would not make up for it another one is chosen. Its ``warm_up(dtype, announce)`` makes it ready, and calls
    ``announce(done, total)`` as it goes on if this takes a while; the command line calls it before it runs anything.

    An engine may also say what memory it takes besides inputs, outputs and weights:
    ``need(nodes, batch, dtype, backward)`` gives a `Need` for nodes that are computed at once, where gradients go back
    or not; it is part of the estimate with which a run is refused. Without it nothing is counted but arrays as large as
    the activations.
    """

    def apply(self, matrix: TiedMatrix, x: np.ndarray) -> np.ndarray:
        """W @ x, (n_out, batch)."""

    def apply_transposed(self, matrix: TiedMatrix, dy: np.ndarray) -> np.ndarray:
        """Wᵀ @ dy, (n_in, batch)."""

    def grad(self, matrix: TiedMatrix, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Gradient of ``sum(dy * (W @ x))`` in the shape of the weight."""


def need_of(engine: Any, nodes: Sequence[Node], batch: int, dtype: np.dtype, backward: bool) -> Need | None:
    """What an engine says that it takes; None if it says nothing, or inherits the answer but computes otherwise.

    Raises
    ------
    PluginError
        If it fails, or gives anything but a `Need`, or three or four numbers.
    """

    def home(name: str) -> Any:
        return next((cls for cls in type(engine).__mro__ if name in vars(cls)), None)

    told, others = home("need"), (home("apply"), home("kernel"))
    if told is None or not all(other is None or issubclass(told, other) for other in others):
        return None
    with blamed(f"engine {brief(engine)}", "need to give a Need, or three numbers of bytes"):
        need = engine.need(nodes, batch, dtype, backward)
        if need is None:
            return None
        lasting, back, passing, *pooled = need
        return Need(whole_bytes(lasting), whole_bytes(back), whole_bytes(passing), *map(bool, pooled))


def whole_bytes(amount: Any) -> int:
    """A number of bytes that foreign code states as an integer; a `ValueError` if it is none."""
    if not 0 <= float(amount) < math.inf:
        raise ValueError(f"{amount} bytes")
    return int(amount)


def _csr_matvecs() -> Any:
    """What SciPy's own products call, which takes memory for the result; None where there is none."""
    try:
        from scipy.sparse._sparsetools import csr_matvecs
    except ImportError:
        return None
    return csr_matvecs


class SciPyEngine:
    """The reference and the truth: every product is one with the equivalent `scipy.sparse.csr_array`.

    The index arrays of a pattern are built once and kept with it; new weights only refill the values.

    Parameters
    ----------
    threads : int, optional
        How many cores a product may use. Default: all.

    Raises
    ------
    ShapeError
        If `threads` is not a positive integer.

    Notes
    -----
    SciPy multiplies on one core. Here the rows are cut into blocks of about equally many nonzeros: W x is the blocks'
    products one below the other, Wᵀ dy and the gradient of the weight are the sums of theirs, always in the same order.
    Small products are not cut. The threads take the blocks in turn; how many there are does not decide where is cut, so
    any number of threads gives the same bits.

    Examples
    --------
    >>> from simulator.matrix import identity
    >>> SciPyEngine().apply(identity(2), np.array([[1.0], [2.0]]))
    array([[1.],
           [2.]])
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self._cores = check_threads(threads, "engine scipy")

    def apply(self, matrix: TiedMatrix, x: np.ndarray) -> np.ndarray:
        cuts = self._cuts(matrix, x, 1, matrix.shape[0])
        if len(cuts) < 3:
            return matrix @ x
        product = _csr_matvecs()
        y, flat = np.zeros((matrix.shape[0], x.shape[1]), x.dtype), np.ravel(x)

        def work(rows: slice, _: int) -> None:
            block = matrix.csr_rows(rows)
            if product is None:
                y[rows] = block @ x
            else:  # the same without a copy
                arrays = block.indptr, block.indices, block.data, flat, y[rows].reshape(-1)
                product(*block.shape, x.shape[1], *arrays)

        self._on_threads(work, cuts)
        return y

    def apply_transposed(self, matrix: TiedMatrix, dy: np.ndarray) -> np.ndarray:
        # The sum of the blocks' products takes time, too: no more blocks than make up for it.
        cuts = self._cuts(matrix, dy, 0, math.isqrt(matrix.nnz // max(1, matrix.shape[1])))
        if len(cuts) < 3:
            return matrix.rmatvec(dy)
        parts: list[np.ndarray] = [dy] * (len(cuts) - 1)

        def work(rows: slice, number: int) -> None:
            parts[number] = matrix.csr_rows(rows).T @ dy[rows]

        self._on_threads(work, cuts)
        total = parts[0]
        for part in parts[1:]:
            total += part
        return total

    def grad(self, matrix: TiedMatrix, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        cuts = self._cuts(matrix, x, 1, matrix.shape[0])
        with one_blas_thread():
            if len(cuts) < 3:
                return matrix.grad(x, dy)
            x, dy = matrix._operands(x, dy)
            parts = [(0, np.zeros(0))] * (len(cuts) - 1)

            def work(rows: slice, number: int) -> None:
                parts[number] = matrix.grad_of_rows(x, dy, rows)

            self._on_threads(work, cuts)
        total = np.zeros(matrix.pattern.n_ties, x.dtype)
        for first, sums in parts:
            total[first : first + len(sums)] += sums
        return total.reshape(matrix.weight.shape)

    def speed(self, pattern: Pattern, batch: int) -> float:
        """Multiply-adds per second, roughly: what one core of 2021 does, times the cores that are used."""
        cores = min(self._cores, 1 + pattern.nnz * batch // _BLOCK_PRODUCTS)
        return cores * 4e9 * batch / (batch + 4)

    def need(self, nodes: Sequence[Node], batch: int, dtype: np.dtype, backward: bool) -> Need:
        """The CSR matrix of a node with its index arrays and ties, and the blocks' sums on the way back."""
        pattern = nodes[0].pattern
        assert pattern is not None
        n_in, links = pattern.shape[1], pattern.nnz * batch
        csr = pattern.csr_nbytes(dtype)
        ties = pattern.csr_nbytes(np.int8) - pattern.nnz  # as wide as the indices
        blocks = min(_MOST_BLOCKS, 1 + links // _BLOCK_PRODUCTS, max(1, math.isqrt(pattern.nnz // max(1, n_in))))
        return Need(csr + ties, 0, backward * blocks * n_in * batch * dtype.itemsize)

    def _cuts(self, matrix: TiedMatrix, x: np.ndarray, axis: int, most: int) -> list[int]:
        """Where at most so many blocks of rows start and end; none where the matrix itself had better multiply."""
        if x.ndim != 2 or len(x) != matrix.shape[axis] or x.dtype != matrix.dtype:
            return []
        count = min(_MOST_BLOCKS, 1 + matrix.nnz * x.shape[1] // _BLOCK_PRODUCTS, most)
        if count < 2:
            return []
        count = 1 << count.bit_length() - 1  # a power of two: otherwise most threads would wait for the last block
        indptr = matrix.pattern.csr[0]
        inner = np.searchsorted(indptr, np.array([matrix.nnz * k // count for k in range(1, count)], indptr.dtype))
        return [0, *inner.tolist(), matrix.shape[0]]

    def _on_threads(self, work: Callable[[slice, int], None], cuts: Sequence[int]) -> None:
        """Call ``work(rows, number)`` for each block of rows."""

        def one(part: slice) -> None:
            work(slice(cuts[part.start], cuts[part.stop]), part.start)

        in_slices(one, len(cuts) - 1, self._cores, step=1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.threads is None else f'threads={self.threads}'})"
