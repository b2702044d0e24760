"""The tied matrix: a sparse matrix whose nonzeros share weights. The heart of the simulator.

One sentence defines it: nonzero k, in CSR row order, is ``weight.ravel()[ties[k]]``. With this module one can

- multiply by W and by Wᵀ, look at single rows and columns, and get the literal `scipy.sparse` matrix;
- take the gradient with respect to the shared weights: the sum over all connections that share one;
- loosen the sharing (`untied`, `densified`) and tighten it again (`retied`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy

from simulator.arrays import real_array
from simulator.channels import ChannelGroups
from simulator.errors import ShapeError
from simulator.memory import check_memory
from simulator.notebooks import html_matrix, html_table
from simulator.patterns import LARGEST_CSR, ExplicitPattern, Pattern, WindowPattern

__all__ = ["TiedMatrix", "identity"]

_BLOCK_BYTES = 2**20  # of intermediate results of the gradient: what stays in the cache of a core
_BLOCK_CELLS = 2**18  # of a block of all pairs of units
_BLOCK_ROWS = 192  # more make a product no faster, but rows that are far apart read other columns
_BLOCK_NONZEROS = 2**12  # enough for NumPy to work much longer than it takes to call it
_SHOWN, _COLOURS = 20, 12  # rows and columns, and weights, that a notebook shows one by one


@dataclass(frozen=True, eq=False, repr=False)
class TiedMatrix:
    """A sparse matrix (n_out, n_in) whose nonzero k, in CSR row order, is ``weight.ravel()[ties[k]]``.

    Parameters
    ----------
    pattern : Pattern
        Connections and ties.
    weight : array_like
        The shared weights, of any shape with ``pattern.n_ties`` entries. Kept read-only: what may change is copied.

    Raises
    ------
    ShapeError
        If the number of weights is not the number of ties.

    Examples
    --------
    >>> shift = ExplicitPattern([0, 0, 1, 1], [0, 1, 1, 2], [0, 1, 0, 1], shape=(2, 3))
    >>> W = TiedMatrix(shift, [10.0, 1.0])
    >>> W
    TiedMatrix 2 x 3: 4 nonzeros share 2 weights
    >>> W.tocsr().toarray()
    array([[10.,  1.,  0.],
           [ 0., 10.,  1.]])
    >>> W @ [1.0, 2.0, 3.0]
    array([12., 23.])
    """

    pattern: Pattern
    weight: np.ndarray

    def __post_init__(self) -> None:
        weight = real_array("TiedMatrix weight", self.weight)
        weight = weight.copy() if weight.flags.writeable else weight.view()
        if weight.dtype == np.float16:  # scipy.sparse has no such matrices
            weight = weight.astype(np.float32)
        if weight.size != self.pattern.n_ties:
            raise ShapeError(
                f"TiedMatrix: expected {self.pattern.n_ties} weights, one per tie, got {weight.size} (shape "
                f"{weight.shape}); give a weight that fits the pattern"
            )
        weight.flags.writeable = False
        object.__setattr__(self, "weight", weight)

    @classmethod
    def from_sparse(cls, matrix: Any, ties: Any = None) -> TiedMatrix:
        """Read any scipy sparse matrix, with or without sharing.

        Parameters
        ----------
        matrix : scipy sparse array or matrix, (n_out, n_in)
            Every stored entry becomes a connection; repeated entries stay separate.
        ties : array_like of int, (nnz,), optional
            Tie of each stored entry, in the order of ``matrix.tocoo()``. Default: each its own.

        Returns
        -------
        TiedMatrix

        Raises
        ------
        ShapeError
            If `matrix` is not sparse, or entries with one tie have different values.

        Examples
        --------
        >>> from scipy import sparse
        >>> TiedMatrix.from_sparse(sparse.eye_array(3), ties=[0, 0, 0])
        TiedMatrix 3 x 3: 3 nonzeros share 1 weight
        """
        if not scipy.sparse.issparse(matrix) or matrix.ndim != 2:
            raise ShapeError(
                f"TiedMatrix.from_sparse: expected a two-dimensional scipy sparse matrix, got {type(matrix).__name__}; "
                "wrap a dense one as scipy.sparse.csr_array(matrix)"
            )
        coo = matrix.tocoo()
        rows, cols = coo.coords
        pattern = ExplicitPattern(rows, cols, ties, shape=coo.shape)
        data = coo.data[np.argsort(rows, kind="stable")]
        _, _, tie = pattern.csr
        weight = np.zeros(pattern.n_ties, coo.dtype)
        weight[tie] = data
        wrong = np.flatnonzero((weight[tie] != data) & ~(np.isnan(weight[tie]) & np.isnan(data)))
        if len(wrong):
            k = wrong[0]
            raise ShapeError(
                f"TiedMatrix.from_sparse: expected one value for all entries of tie {tie[k]}, got {data[k]} and "
                f"{weight[tie[k]]}; give these entries different ties or equal values"
            )
        return cls(pattern, weight)

    @property
    def shape(self) -> tuple[int, int]:
        return self.pattern.shape

    @property
    def nnz(self) -> int:
        return self.pattern.nnz

    @property
    def dtype(self) -> np.dtype:
        return self.weight.dtype

    @property
    def T(self) -> TiedMatrix:
        """The transposed matrix on the same weight."""
        return TiedMatrix(self.pattern.T, self.weight)

    def with_weight(self, weight: Any) -> TiedMatrix:
        """The same pattern with other weights; nothing is rebuilt but the values."""
        return TiedMatrix(self.pattern, weight)

    def row(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fan-in of output unit `i`: columns, ties and values, each (fan_in,)."""
        cols, ties = self.pattern.row(i)
        return cols, ties, self.weight.ravel()[ties]

    def column(self, j: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fan-out of input unit `j`: rows, ties and values, each (fan_out,)."""
        rows, ties = self.pattern.column(j)
        return rows, ties, self.weight.ravel()[ties]

    @cached_property
    def csr(self) -> scipy.sparse.csr_array:
        """The CSR matrix on the pattern's own index arrays: what an engine multiplies with. Do not change it."""
        self._check_bytes(LARGEST_CSR)
        indptr, indices, ties = self.pattern.csr
        return scipy.sparse.csr_array((self._values(ties), indices, indptr), shape=self.shape)

    def csr_rows(self, rows: slice) -> scipy.sparse.csr_array:
        """Some rows of `csr`, made without the others and kept; the index arrays are views of the pattern's.

        Parameters
        ----------
        rows : slice
            First row and the one after the last.

        Returns
        -------
        scipy.sparse.csr_array, (rows, n_in)
            Do not change it.
        """
        block = self._row_blocks.get((rows.start, rows.stop))
        if block is None:
            self._check_bytes(LARGEST_CSR)
            indptr, indices, ties = self.pattern.csr
            starts = indptr[rows.start : rows.stop + 1]
            part = slice(starts[0], starts[-1])
            shape, values = (len(starts) - 1, self.shape[1]), self._values(ties[part])
            # The constructor copies short views, which it takes for a waste of memory.
            block = scipy.sparse.csr_array((values[:0], indices[:0], 0 * starts), shape=shape)
            block.data, block.indices, block.indptr = values, indices[part], starts - starts[0]
            self._row_blocks[rows.start, rows.stop] = block
        return block

    @cached_property
    def _row_blocks(self) -> dict[tuple[int, int], scipy.sparse.csr_array]:
        return {}

    def _values(self, ties: np.ndarray) -> np.ndarray:
        return self.weight.ravel().take(ties, mode="clip")  # ties fit; to clip is faster than to check

    def tocsr(self, max_bytes: int = LARGEST_CSR) -> scipy.sparse.csr_array:
        """The equivalent fully connected layer: a new `scipy.sparse.csr_array` of shape (n_out, n_in).

        Parameters
        ----------
        max_bytes : int, default 4 GiB
            A larger matrix is refused before any memory is touched.

        Returns
        -------
        scipy.sparse.csr_array
            Its own copy. Repeated cells (a window that reads one input twice) are stored separately.

        Raises
        ------
        ShapeError
            If the matrix would need more than `max_bytes`.
        """
        self._check_bytes(max_bytes)
        kept = self.pattern.__dict__.get("csr")
        indptr, indices, ties = kept or self.pattern.build_csr()
        if kept:
            indptr, indices = indptr.copy(), indices.copy()
        return scipy.sparse.csr_array((self._values(ties), indices, indptr), shape=self.shape)

    def _check_bytes(self, max_bytes: int) -> None:
        self.pattern.check_csr("TiedMatrix.tocsr", max_bytes, self.dtype)

    def _operand(self, x: Any, n: int, who: str) -> np.ndarray:
        x = real_array(f"TiedMatrix {who}", x)
        if x.ndim not in (1, 2) or x.shape[0] != n:
            raise ShapeError(
                f"TiedMatrix {who}: expected ({n},) or ({n}, batch), got {x.shape}; the matrix is "
                f"{self.shape[0]} x {self.shape[1]}"
            )
        return x

    def __matmul__(self, x: Any) -> np.ndarray:
        """W @ x for x of shape (n_in,) or (n_in, batch)."""
        return self.csr @ self._operand(x, self.shape[1], "@")

    matvec = __matmul__

    def rmatvec(self, dy: Any) -> np.ndarray:
        """Wᵀ @ dy for dy of shape (n_out,) or (n_out, batch)."""
        return self.csr.T @ self._operand(dy, self.shape[0], "rmatvec")

    matmat = matvec
    rmatmat = rmatvec

    def grad(self, x: Any, dy: Any) -> np.ndarray:
        """Gradient of ``sum(dy * (self @ x))`` with respect to the weight.

        Parameters
        ----------
        x : array_like, (n_in,) or (n_in, batch)
            Input of the product.
        dy : array_like, (n_out,) or (n_out, batch)
            Gradient of the loss with respect to the output.

        Returns
        -------
        numpy.ndarray
            In the weight's shape: for each shared weight the sum of ``dy[row] * x[col]`` over its connections.
        """
        x, dy = self._operands(x, dy)
        first, sums = self.grad_of_rows(x, dy, slice(0, self.shape[0]))
        total = np.zeros(self.pattern.n_ties, x.dtype)
        total[first : first + len(sums)] = sums
        return total.reshape(self.weight.shape)

    def _operands(self, x: Any, dy: Any) -> tuple[np.ndarray, np.ndarray]:
        """Both factors of the gradient, (n_in, batch) and (n_out, batch), of the gradient's dtype."""
        x, dy = self._operand(x, self.shape[1], "grad x"), self._operand(dy, self.shape[0], "grad dy")
        if x.shape[1:] != dy.shape[1:]:
            raise ShapeError(
                f"TiedMatrix grad: expected x and dy of one batch, got {x.shape} and {dy.shape}; give both for the "
                "same samples"
            )
        dtype = np.result_type(x, dy, self.dtype, np.float32)
        if x.ndim == 1:
            x, dy = x[:, None], dy[:, None]
        return x.astype(dtype, copy=False), dy.astype(dtype, copy=False)

    def grad_of_rows(self, x: np.ndarray, dy: np.ndarray, rows: slice) -> tuple[int, np.ndarray]:
        """The part of `grad` that the connections of some rows make, in bounded memory.

        Parameters
        ----------
        x : numpy.ndarray, (n_in, batch)
            Input of the product.
        dy : numpy.ndarray, (n_out, batch)
            Gradient of the loss with respect to the output, of the dtype of `x`.
        rows : slice
            First row and the one after the last.

        Returns
        -------
        first : int
            The smallest tie of these rows.
        sums : numpy.ndarray of float64, (largest tie - first + 1,)
            For each tie from `first` on the sum of ``dy[row] * x[col]`` over its connections and the batch.

        Notes
        -----
        A block of rows reads a range of columns. Where enough of its cells are nonzeros, one dense matrix product gives
        all cells, and the nonzeros are picked from them; otherwise each is a scalar product of its own.
        """
        indptr, indices, ties = self.pattern.csr
        n_out, n_in = self.shape
        whole = ties[indptr[rows.start] : indptr[rows.stop]]
        if not len(whole):
            return 0, np.zeros(0)
        first = int(whole.min())
        total = np.zeros(int(whole.max()) - first + 1)
        step = max(_BLOCK_NONZEROS * n_out // self.nnz, min(_BLOCK_ROWS, _BLOCK_CELLS // n_in), 1)
        for start in range(rows.start, rows.stop, step):
            stop = min(rows.stop, start + step)
            part = slice(indptr[start], indptr[stop])
            if part.start == part.stop:
                continue
            cols, fan_ins = indices[part], np.diff(indptr[start : stop + 1])
            low, high = int(cols.min()), int(cols.max()) + 1
            if (stop - start) * (high - low) <= 32 * len(cols):
                cells = np.repeat(np.arange(stop - start) * (high - low) - low, fan_ins)
                cells += cols
                products = (dy[start:stop] @ x[low:high].T).take(cells, mode="clip")
            else:
                products = _scalar_products(dy, np.repeat(np.arange(start, stop), fan_ins), x, cols)
            tie = ties[part]
            low = int(tie.min())
            sums = np.bincount(tie - low, products)
            total[low - first : low - first + len(sums)] += sums
        return first, total

    def untied(self, max_bytes: int = LARGEST_CSR) -> TiedMatrix:
        """The same matrix with one weight per connection: nothing is shared any more.

        Returns
        -------
        TiedMatrix
            Weight of shape (nnz,).
        """
        self._check_bytes(max_bytes)
        check_memory(8 * self.pattern.csr_nbytes(), "TiedMatrix.untied", "use a smaller layer")
        rows, cols, ties = self.pattern.triplets()
        return TiedMatrix(ExplicitPattern(rows, cols, shape=self.shape), self.weight.ravel()[ties])

    def densified(self, max_bytes: int = LARGEST_CSR) -> TiedMatrix:
        """The same matrix as a dense layer: every cell is a weight of its own, the zeros too.

        Returns
        -------
        TiedMatrix
            Weight of shape (n_out, n_in); repeated cells are summed.

        Raises
        ------
        ShapeError
            If the dense weight would need more than `max_bytes`.
        """
        n_out, n_in = self.shape
        need = n_out * n_in * self.dtype.itemsize
        if need > max_bytes:
            raise ShapeError(
                f"TiedMatrix.densified: expected at most {max_bytes:,} bytes, got {n_out} x {n_in} cells of "
                f"{need:,} bytes; use a smaller layer or raise max_bytes"
            )
        check_memory(2 * need, "TiedMatrix.densified", "use a smaller layer")
        return TiedMatrix(dense_pattern(n_out, n_in), self.tocsr(max_bytes).toarray())

    def retied(self, onto: Pattern) -> TiedMatrix:
        """The nearest matrix that shares its weights as `onto` does.

        Parameters
        ----------
        onto : Pattern
            Connections and ties to project onto, of the same shape.

        Returns
        -------
        TiedMatrix
            Weight of shape (n_ties,).

        Raises
        ------
        ShapeError
            If the shapes differ.

        Notes
        -----
        θ = S⁺ vec(W), the least squares solution of smallest norm. Where no cell is repeated SᵀS is diagonal and θ is
        the mean over the cells of each tie; otherwise the ties that meet in a cell are solved together.
        """
        from scipy.sparse import csgraph

        if onto.shape != self.shape:
            raise ShapeError(
                f"TiedMatrix.retied: expected a pattern of shape {self.shape}, got {onto.shape}; use the pattern that "
                "this matrix came from"
            )
        rows, cols, ties = onto.triplets()
        cells, cell = np.unique(rows.astype(np.int64) * self.shape[1] + cols, return_inverse=True)
        dtype = np.result_type(self.dtype, np.float32)  # a mean of integers is none
        if not len(cells):
            return TiedMatrix(onto, np.zeros(onto.n_ties, dtype))
        values = np.asarray(self.tocsr()[cells // self.shape[1], cells % self.shape[1]]).ravel()
        S = scipy.sparse.csr_array((np.ones(len(ties)), (cell, ties)), shape=(len(cells), onto.n_ties))
        normal, right = (S.T @ S).tocsr(), S.T @ values
        count, member = csgraph.connected_components(normal, directed=False)
        diagonal = normal.diagonal()
        theta = np.divide(right, diagonal, out=np.zeros(onto.n_ties), where=diagonal > 0)
        sizes = np.bincount(member, minlength=count)
        order = np.argsort(member, kind="stable")
        for group in np.split(order, np.cumsum(sizes)[:-1]):
            if len(group) > 1:
                theta[group] = np.linalg.pinv(normal[group][:, group].toarray(), hermitian=True) @ right[group]
        return TiedMatrix(onto, theta.astype(dtype))

    def __repr__(self) -> str:
        return repr(self.pattern).replace(type(self.pattern).__name__, "TiedMatrix", 1)

    def _repr_html_(self) -> str:
        """The cells of a small matrix, with a colour for each weight; else what there is to count."""
        title, (rows, columns), pattern = repr(self), self.shape, self.pattern
        if max(self.shape) > _SHOWN or pattern.n_ties > _COLOURS:
            counts = (rows, columns, pattern.nnz, pattern.n_ties, pattern.nbytes, pattern.csr_nbytes(self.weight.dtype))
            names = "rows", "columns", "nonzeros", "weights", "pattern bytes", "CSR bytes"
            return html_table(title, ("", "count"), list(zip(names, counts, strict=True)))
        ties: dict[tuple[int, int], set[int]] = {}
        for row, column, tie in zip(*pattern.triplets(), strict=True):
            ties.setdefault((int(row), int(column)), set()).add(int(tie))
        return html_matrix(title, self.tocsr().toarray().tolist(), ties, pattern.n_ties)


def _scalar_products(a: np.ndarray, rows: np.ndarray, b: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """``sum(a[rows[k]] * b[cols[k]])`` for every k, (len(rows),)."""
    products = np.empty(len(rows), a.dtype)
    step = max(1, _BLOCK_BYTES // max(1, 2 * a.shape[1] * a.itemsize))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        np.einsum("kb,kb->k", a[rows[part]], b[cols[part]], out=products[part])
    return products


def dense_pattern(n_out: int, n_in: int) -> WindowPattern:
    """Every output unit connected to every input unit by a weight of its own, laid out (n_out, n_in)."""
    sites = np.arange(n_in, dtype=np.int32 if n_in < 2**31 else np.int64)[None, :]  # one window that sees everything
    sites.flags.writeable = False  # so that the pattern need not copy it
    return WindowPattern(ChannelGroups.full(n_out, 1), 1, sites, n_in, (n_in, 0, 1))


def identity(n: int, dtype: Any = np.float64) -> TiedMatrix:
    """The identity of size `n`, its ones shared: what a skip connection is.

    Examples
    --------
    >>> identity(4)
    TiedMatrix 4 x 4: 4 nonzeros share 1 weight
    """
    sites = np.arange(n)[:, None]  # (n, 1)
    return TiedMatrix(WindowPattern(ChannelGroups.full(1, 1), 1, sites, n, (0, 0, 0)), np.ones(1, dtype))
