"""Patterns: which output unit is connected to which input unit, and which connections share a weight.

A pattern is the 0/1 matrix S of vec(W) = S·θ: it knows where the nonzeros of W stand and which *tie* (number of a
shared weight) each one uses, and holds no values. With this module one can

- describe any sharing at all by `ExplicitPattern`: rows, columns, ties;
- say that every unit goes its own way by `IdentityPattern`;
- describe convolution, pooling, dense and locally connected layers by `WindowPattern`, a table of channels times a
  table of sites, in memory that does not grow with the number of nonzeros.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy

from simulator.channels import ChannelGroups
from simulator.errors import ShapeError, brief
from simulator.memory import check_memory
from simulator.windows import Window, check_sizes

__all__ = ["ExplicitPattern", "IdentityPattern", "Pattern", "TransposedPattern", "WindowPattern"]

LARGEST_CSR = 4 * 2**30  # bytes of a CSR matrix that is built without being asked twice
_LARGE_TABLE = 2**26  # bytes of a table of sites that is not made for a look; equal layers share a smaller one
_BLOCK = 2**20  # numbers of a table that are sorted at once
_ONE_BY_ONE = "read single rows and columns with pattern.row(i) and pattern.column(j)"
_NO_CSR = "run the network with an engine that needs no CSR ('blas' or 'auto')"
_OF_A_USE = 15 * 8  # bytes for each use of a weight while all are looked up

Structure = tuple[np.ndarray, np.ndarray, np.ndarray]  # indptr, indices, ties in CSR row order


class Pattern(ABC):
    """Connections and ties of a matrix of shape (n_out, n_in); no values.

    A subclass gives `shape`, `nnz`, `n_ties`, `build_csr`, `row` and `column`. Patterns are frozen, compare by
    identity, and may be shared by any number of networks.

    `nnz` counts connections, which is what is stored. Where several connections join the same two units (circular,
    reflect and replicate padding let two taps read one input) there are fewer `nonzero_cells`.
    """

    shape: tuple[int, int]
    nnz: int
    n_ties: int

    @cached_property
    def used_ties(self) -> int:
        """How many of the ties have a connection: taps that only ever fall on padding have none."""
        return _distinct(self.csr[2][None])

    @cached_property
    def nonzero_cells(self) -> int:
        """How many cells of the matrix have a connection; at most `nnz`."""
        indptr, indices, _ = self.csr
        cells = scipy.sparse.csr_array((np.ones(len(indices), bool), indices.copy(), indptr.copy()), shape=self.shape)
        cells.sum_duplicates()
        return int(cells.nnz)

    @property
    def density(self) -> float:
        """Share of the cells that have a connection, from 0 to 1."""
        return self.nonzero_cells / max(1, self.shape[0] * self.shape[1])

    @property
    def links(self) -> int:
        """Nonzeros plus the taps that fall on padding and therefore have none."""
        return self.nnz

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that the pattern itself occupies."""

    @abstractmethod
    def build_csr(self) -> Structure:
        """Build ``indptr`` (n_out + 1,), ``indices`` (nnz,) and ``ties`` (nnz,) of the CSR form; nothing is kept."""

    @abstractmethod
    def row(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Fan-in of output unit `i`: columns and ties, each (fan_in,), without building the rest."""

    @abstractmethod
    def column(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Fan-out of input unit `j`: rows (ascending) and ties, each (fan_out,), without building the rest."""

    def sharing(self, tie: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of all connections that use one weight, in CSR row order, each (uses,)."""
        tie = self._check_tie(tie)
        indptr, indices, ties = self.csr
        found = np.flatnonzero(ties == tie)
        return np.searchsorted(indptr, found, side="right") - 1, indices[found].astype(np.intp)

    @cached_property
    def csr(self) -> Structure:
        """`build_csr`, built once and kept: what an engine multiplies with. Memory grows with `nnz`.

        Raises
        ------
        ShapeError
            If it would need more than 4 GiB, or more memory than there is.
        """
        self.check_csr("Pattern.csr", LARGEST_CSR)
        structure = self.build_csr()
        for array in structure:
            array.flags.writeable = False
        return structure

    def triplets(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, columns and ties of all connections in CSR row order, each (nnz,).

        Raises
        ------
        ShapeError
            If they would need more memory than there is.
        """
        check_memory(3 * self.csr_nbytes(), f"{self!r}, triplets", _ONE_BY_ONE)
        indptr, indices, ties = self.__dict__.get("csr") or self.build_csr()
        rows = np.repeat(np.arange(self.shape[0], dtype=indices.dtype), np.diff(indptr))
        return rows, indices.copy(), ties.copy()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "csr"}  # a cache, and a large one

    def csr_nbytes(self, dtype: Any = np.float32) -> int:
        """Bytes of the equivalent `scipy.sparse.csr_array` with values of `dtype`."""
        index = np.dtype(_index_dtype(max(self.nnz, *self.shape))).itemsize
        return self.nnz * (np.dtype(dtype).itemsize + index) + (self.shape[0] + 1) * index

    def check_csr(self, who: str, max_bytes: int, dtype: Any = np.float32) -> None:
        """Refuse to build the CSR form, before any memory is touched, where it is too large.

        Parameters
        ----------
        who : str
            Whom the error names.
        max_bytes : int
            Of a matrix that may be built.
        dtype : numpy dtype, default float32
            Of its values.

        Raises
        ------
        ShapeError
            If the matrix would need more than `max_bytes`, or building it more memory than there is.
        """
        need = self.csr_nbytes(dtype)
        if need > max_bytes:
            raise ShapeError(
                f"{who}: expected at most {max_bytes:,} bytes, got a matrix of {need:,} bytes ({self.nnz:,} nonzeros); "
                f"{_ONE_BY_ONE}, {_NO_CSR}, or give tocsr() a larger max_bytes"
            )
        if "csr" not in vars(self):
            check_memory(2 * need, who, f"{_ONE_BY_ONE}, or {_NO_CSR}")  # the ties are built beside it

    @property
    def T(self) -> Pattern:
        """The transposed pattern, a view of this one."""
        return TransposedPattern(self)

    def _check_unit(self, index: int, axis: int) -> int:
        n = self.shape[axis]
        if not -n <= index < n:
            what = ("row", "column")[axis]
            raise ShapeError(f"{type(self).__name__}.{what}: expected a {what} from 0 to {n - 1}, got {index}; use one")
        return int(index) % n

    def _check_tie(self, tie: int) -> int:
        n, who = self.n_ties, type(self).__name__
        if not 0 <= tie < n:
            raise ShapeError(f"{who}.sharing: expected a tie from 0 to {n - 1}, got {tie}; use one")
        return int(tie)

    def __repr__(self) -> str:
        n_out, n_in = self.shape
        if self.nonzero_cells == self.nnz:
            found = _counted(self.nnz, "nonzero")
        else:
            found = f"{_counted(self.nnz, 'connection')} in {_counted(self.nonzero_cells, 'cell')}"
        unused = f"{self.used_ties} of " if self.used_ties < self.n_ties else ""
        weights = f"{unused}{_counted(self.n_ties, 'weight')}"
        # A weight is used twice if and only if there are more connections than weights in use.
        words = f"{found} share {weights}" if self.nnz > self.used_ties else f"{found}, {weights}, none shared"
        return f"{type(self).__name__} {n_out} x {n_in}: {words}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _index_dtype(largest: int) -> Any:
    """What `scipy.sparse.get_index_dtype` gives, without loading SciPy's matrices before one is made."""
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64


@dataclass(frozen=True, eq=False, repr=False)
class TransposedPattern(Pattern):
    """The pattern of Wᵀ, seen through the pattern of W.

    Parameters
    ----------
    base : Pattern
        The pattern of W.
    """

    base: Pattern

    def __post_init__(self) -> None:
        vars(self).update(shape=self.base.shape[::-1], nnz=self.base.nnz, n_ties=self.base.n_ties)

    @property
    def used_ties(self) -> int:
        return self.base.used_ties

    @property
    def nonzero_cells(self) -> int:
        return self.base.nonzero_cells

    @property
    def links(self) -> int:
        return self.base.links

    @property
    def nbytes(self) -> int:
        return self.base.nbytes

    @property
    def T(self) -> Pattern:
        return self.base

    def build_csr(self) -> Structure:
        indptr, indices, ties = self.base.build_csr()
        csr = scipy.sparse.csr_array((ties, indices, indptr), shape=self.base.shape)
        csc = csr.tocsc()  # keeps repeated cells apart
        return csc.indptr, csc.indices, csc.data

    def row(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        return self.base.column(i)

    def column(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        rows, ties = self.base.row(j)
        order = np.argsort(rows, kind="stable")
        return rows[order], ties[order]

    def sharing(self, tie: int) -> tuple[np.ndarray, np.ndarray]:
        cols, rows = self.base.sharing(tie)
        order = np.argsort(rows, kind="stable")
        return rows[order], cols[order]


class ExplicitPattern(Pattern):
    """Any connections with any ties, listed one by one.

    Parameters
    ----------
    rows, cols : array_like of int, (nnz,)
        Output and input unit of each connection. A pair may occur more than once: such connections stay separate.
    ties : array_like of int, (nnz,), optional
        Number of the weight that each connection uses. Default: each its own, in the order given.
    shape : (int, int)
        Output and input units.
    n_ties : int, optional
        Number of weights, some of which may have no connection. Default: one more than the largest tie.

    Raises
    ------
    ShapeError
        If lengths differ, or an index is negative or too large.

    Notes
    -----
    The connections are kept in CSR row order: sorted by row, in the given order within a row.

    Examples
    --------
    >>> ExplicitPattern([0, 0, 1, 1], [0, 1, 1, 2], [0, 1, 0, 1], shape=(2, 3))
    ExplicitPattern 2 x 3: 4 nonzeros share 2 weights
    """

    def __init__(
        self, rows: Any, cols: Any, ties: Any = None, *, shape: tuple[int, int], n_ties: int | None = None
    ) -> None:
        rows, cols = np.asarray(rows), np.asarray(cols)
        ties = np.arange(len(rows)) if ties is None and rows.ndim == 1 else np.asarray(ties)
        if (
            not hasattr(shape, "__len__")
            or len(shape) != 2
            or not all(isinstance(n, (int, np.integer)) and n >= 0 for n in shape)
        ):
            raise ShapeError(f"ExplicitPattern: expected a shape (n_out, n_in), got {brief(shape)}; give two sizes")
        limits = (shape[0], shape[1], np.iinfo(np.int64).max if n_ties is None else n_ties)
        for name, array, limit in zip(("rows", "cols", "ties"), (rows, cols, ties), limits, strict=True):
            if array.ndim != 1 or len(array) != len(rows) or (array.size and array.dtype.kind not in "iu"):
                raise ShapeError(
                    f"ExplicitPattern {name}: expected a vector of {rows.size} integers, got {array.dtype} of shape "
                    f"{array.shape}; give one integer per connection"
                )
            if array.size and not (array.min() >= 0 and array.max() < limit):
                raise ShapeError(
                    f"ExplicitPattern {name}: expected numbers from 0 to {limit - 1}, got {array.min()} to "
                    f"{array.max()}; correct them, or the shape {shape}"
                )
        self.shape = (int(shape[0]), int(shape[1]))
        self.nnz = len(rows)
        self.n_ties = n_ties if n_ties is not None else int(ties.max()) + 1 if len(ties) else 0
        order = np.argsort(rows, kind="stable")
        index = _index_dtype(max(self.nnz, *self.shape, self.n_ties, 1))
        indptr = np.zeros(self.shape[0] + 1, index)
        np.cumsum(np.bincount(rows.astype(np.int64), minlength=self.shape[0]), out=indptr[1:])
        self.__dict__["csr"] = (indptr, cols[order].astype(index), ties[order].astype(index))
        for array in self.csr:
            array.flags.writeable = False

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in self.csr)

    def build_csr(self) -> Structure:
        return self.csr

    def __getstate__(self) -> dict[str, Any]:
        return dict(vars(self))  # here it is no cache

    def row(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        i = self._check_unit(i, 0)
        indptr, indices, ties = self.csr
        part = slice(indptr[i], indptr[i + 1])
        return indices[part].astype(np.intp), ties[part].astype(np.intp)

    def column(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        j = self._check_unit(j, 1)
        indptr, indices, ties = self.csr
        found = np.flatnonzero(indices == j)
        return np.searchsorted(indptr, found, side="right") - 1, ties[found].astype(np.intp)


class IdentityPattern(Pattern):
    """Each output unit connected to the input unit of the same number, all with one weight; it needs no memory.

    Parameters
    ----------
    n : int
        Units on either side.

    Examples
    --------
    >>> IdentityPattern(4)
    IdentityPattern 4 x 4: 4 nonzeros share 1 weight
    """

    def __init__(self, n: int) -> None:
        self.shape, self.nnz, self.n_ties = (n, n), n, 1
        vars(self).update(used_ties=min(n, 1), nonzero_cells=n)

    @property
    def nbytes(self) -> int:
        return 0

    @property
    def T(self) -> Pattern:
        return self

    def build_csr(self) -> Structure:
        numbers = np.arange(self.nnz + 1, dtype=_index_dtype(self.nnz))
        return numbers, numbers[:-1].copy(), np.zeros_like(numbers[:-1])

    def row(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        return np.array([self._check_unit(i, 0)]), np.zeros(1, np.intp)

    def column(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        return np.array([self._check_unit(j, 1)]), np.zeros(1, np.intp)


@dataclass(frozen=True, eq=False, repr=False)
class WindowPattern(Pattern):
    """A table of channels times a table of sites: every layer that slides a window, and dense ones.

    Output unit (o, s) is connected to input unit (c, sites[s, t]) for each input channel c of o and each tap t that
    has a site. The tie of this connection is ``pair * strides[0] + s * strides[1] + t * strides[2]``: a stride of 0
    shares the weight along that axis.

    Parameters
    ----------
    channels : ChannelGroups
        Which input channels each output channel reads.
    in_channels : int
        Channels of the input.
    sites : numpy.ndarray of int, (out_sites, taps), or None
        Input site of each tap, -1 for none. A read-only table is kept as it is, so that equal layers share one; any
        other is copied. None stands for the table of `origin`, which is made when it is first read: nonzeros, cells and
        weights are counted axis by axis, without it.
    in_sites : int
        Sites of the input.
    tie_strides : (int, int, int)
        Strides of the tie over (channel pair, output site, tap).
    origin : (Window, space), optional
        Where the table comes from, if it is ``window.sites(space)``: an engine may have use for the regular form.

    Raises
    ------
    ShapeError
        If a table has other numbers than it may, or is not that of its origin.

    Notes
    -----
    Memory is that of the two tables, never that of the nonzeros. Connections of a row stand in the order (input
    channel, tap), which is ascending by column for plain convolutions.

    Examples
    --------
    A one-dimensional convolution with three taps on five inputs:

    >>> from simulator.windows import Window
    >>> WindowPattern(ChannelGroups.full(1, 1), 1, Window(3).sites((5,)), 5, (3, 0, 1))
    WindowPattern 3 x 5: 9 nonzeros share 3 weights
    """

    channels: ChannelGroups
    in_channels: int
    sites: np.ndarray
    in_sites: int
    tie_strides: tuple[int, int, int]
    origin: tuple[Window, tuple[int, ...]] | None = None

    @classmethod
    def sliding(
        cls,
        channels: ChannelGroups,
        in_channels: int,
        window: Window,
        space: Sequence[int],
        tie_strides: tuple[int, int, int],
    ) -> WindowPattern:
        """The pattern of a window that slides over `space`; its table of sites is made when it is first read.

        Parameters
        ----------
        channels, in_channels, tie_strides
            As for `WindowPattern`.
        window : Window
            What slides.
        space : sequence of int
            Sites of the input per axis.

        Returns
        -------
        WindowPattern

        Raises
        ------
        ShapeError
            If no window fits; or, when the table is read, if it needs more memory than there is.

        Examples
        --------
        >>> from simulator.windows import Window
        >>> WindowPattern.sliding(ChannelGroups.full(1, 1), 1, Window(3), (10**5, 10**5), (9, 0, 1))
        WindowPattern 9999600004 x 10000000000: 89996400036 nonzeros share 9 weights
        """
        table: Any = None
        return cls(channels, in_channels, table, math.prod(space), tie_strides, (window, tuple(space)))

    def __getattr__(self, name: str) -> Any:
        if name == "sites" and self.origin is not None:
            window, space = self.origin
            vars(self)["sites"] = window.sites(space)
            return self.sites
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def _axes(self) -> list[np.ndarray] | None:
        """Which tap of each window reads which coordinate, for each axis, (windows, taps); None without a window."""
        return None if self.origin is None else self.origin[0].axis_sites(self.origin[1])

    @property
    def slides(self) -> tuple[Window, tuple[int, ...]] | None:
        """The origin, where its table is so large that it had better not be made to look at a few units."""
        return None if "sites" in vars(self) or self.nbytes < _LARGE_TABLE else self.origin

    @property
    def table_shape(self) -> tuple[int, int]:
        """(out_sites, taps) of the table of sites."""
        if "sites" not in vars(self) and self.origin is not None:
            return self.origin[0].table_shape(self.origin[1])
        return self.sites.shape

    def __post_init__(self) -> None:
        if self.sites is None and self.origin is not None:
            del vars(self)["sites"]
            self._check_space(*self.origin)
        else:
            self._check_table()
        inputs = self.channels.inputs
        if inputs.size and not (inputs.min() >= 0 and inputs.max() < self.in_channels):
            raise ShapeError(
                f"WindowPattern channels: expected numbers from 0 to {self.in_channels - 1}, got {inputs.min()} to "
                f"{inputs.max()}; correct the table or the size of the input"
            )
        if min(self.tie_strides) < 0:
            raise ShapeError(f"WindowPattern tie_strides: expected none below 0, got {self.tie_strides}; correct them")
        out_sites, taps = self.table_shape
        counts = (self.channels.pairs, out_sites, taps)
        tables = [self.sites] if self._axes is None else self._axes
        filled = math.prod(int(np.count_nonzero(table >= 0)) for table in tables)
        vars(self).update(
            shape=(self.channels.out_channels * out_sites, self.in_channels * self.in_sites),
            nnz=self.channels.pairs * filled,
            n_ties=0 if 0 in counts else 1 + sum((n - 1) * s for n, s in zip(counts, self.tie_strides, strict=True)),
        )

    def _check_space(self, window: Window, space: Sequence[int]) -> None:
        found = math.prod(check_sizes(space, len(space), "WindowPattern space"))
        if found != self.in_sites:
            raise ShapeError(
                f"WindowPattern origin: expected {found} input sites for the space {brief(space)}, got "
                f"{brief(self.in_sites)}; make it with WindowPattern.sliding"
            )

    def _check_table(self) -> None:
        sites = np.asarray(self.sites)
        if sites.ndim != 2 or sites.dtype.kind not in "iu":
            raise ShapeError(
                f"WindowPattern sites: expected integers (out_sites, taps), got {sites.dtype} of shape {sites.shape}; "
                "make the table with Window.sites"
            )
        if sites.size and not (sites.min() >= -1 and sites.max() < self.in_sites):
            raise ShapeError(
                f"WindowPattern sites: expected numbers from -1 to {self.in_sites - 1}, got {sites.min()} to "
                f"{sites.max()}; correct the table or the size of the input"
            )
        sites = np.array(sites, order="C") if sites.flags.writeable else np.ascontiguousarray(sites)
        sites.flags.writeable = False
        object.__setattr__(self, "sites", sites)
        if self.origin is not None:
            window, space = self.origin
            self._check_space(window, space)
            table = window.sites(space)
            if sites is not table and not np.array_equal(sites, table):
                raise ShapeError(
                    f"WindowPattern origin: expected the window and space of this table, got {brief(window)} on "
                    f"{space}, which gives {table.shape[0]} sites of {table.shape[1]} taps; leave the origin out"
                )

    @property
    def links(self) -> int:
        return self.channels.pairs * math.prod(self.table_shape)

    @cached_property
    def used_ties(self) -> int:
        pair_stride, *strides = self.tie_strides
        counts = (self.channels.pairs, *self.table_shape)
        if self.nnz == math.prod(counts) and _without_gaps(counts, self.tie_strides):  # and nothing falls on padding
            return self.n_ties
        used: np.ndarray
        if strides[0] == 0 and self._axes is not None:  # one tie for all windows: a tap is used if it is on every axis
            used = functools.reduce(np.logical_and.outer, [np.any(axis >= 0, axis=0) for axis in self._axes])
            used = used.reshape(1, -1)
        else:
            used = self.sites >= 0
        for axis in (0, 1):
            if strides[axis] == 0:  # all along this axis is one tie
                used = np.any(used, axis=axis, keepdims=True)
        site, tap = np.nonzero(used)
        ties, pairs = site * strides[0] + tap * strides[1], self.channels.pairs
        if pair_stride == 0 or not len(ties):
            return _distinct(ties[None]) * min(pairs, 1)
        # Each becomes a run of ties, one for each pair: what it adds to the run before it, which may reach into it.
        steps, rest = np.divmod(ties, pair_stride)
        order = np.lexsort((steps, rest))
        new = np.where(np.diff(rest[order]), pairs, np.minimum(np.diff(steps[order]), pairs))
        return pairs + int(new.sum())

    @cached_property
    def nonzero_cells(self) -> int:
        if self._axes is not None:
            seen = math.prod(_distinct(axis) for axis in self._axes)
        else:
            step = max(1, _BLOCK // max(1, self.sites.shape[1]))
            seen = sum(_distinct(self.sites[start : start + step]) for start in range(0, len(self.sites), step))
        starts, channels = self.channels, 0
        for group, outs in enumerate(np.diff(starts.out_starts)):
            inputs = starts.inputs[starts.in_starts[group] : starts.in_starts[group + 1]]
            channels += int(outs) * len(np.unique(inputs))
        return channels * seen

    @property
    def nbytes(self) -> int:
        table = self.sites.nbytes if self.origin is None else self.origin[0].table_nbytes(self.origin[1])
        return table + self.channels.nbytes

    def missing(self) -> WindowPattern:
        """The taps without an input, as connections to one constant unit: shape (n_out, 1).

        This is how a pad value other than 0 acts as a bias that depends on the weight.
        """
        constant = ChannelGroups(self.channels.out_starts, self.channels.in_starts, 0 * self.channels.inputs)
        return WindowPattern(constant, 1, np.where(self.sites < 0, 0, -1), 1, self.tie_strides)

    def build_csr(self) -> Structure:
        index = _index_dtype(max(self.nnz, *self.shape, self.n_ties, 1))
        indices, ties = np.empty(self.nnz, index), np.empty(self.nnz, index)
        valid = self.sites >= 0
        per_site = np.count_nonzero(valid, axis=1)
        row_lengths = np.empty((self.channels.out_channels, len(per_site)), index)
        filled = 0
        for groups, n_outs, fan in self.channels.runs():
            # One row block per output channel; all of a run have the same layout (site, input, tap).
            shape = (len(self.sites), fan, self.sites.shape[1])
            steps = [
                (np.arange(n) * s).astype(index)
                for n, s in zip((fan, *self.sites.shape), self.tie_strides, strict=True)
            ]
            tie = (steps[1][:, None, None] + steps[0][:, None]) + steps[2]
            site = np.broadcast_to(self.sites[:, None, :], shape).astype(index)
            source = np.broadcast_to(np.arange(fan, dtype=np.intp)[:, None], shape)
            if valid.all():
                tie, site, source = tie.ravel(), site.ravel(), source.ravel()
            else:
                keep = np.broadcast_to(valid[:, None, :], shape)
                tie, site, source = tie[keep], site[keep], source[keep]
            first, last = self.channels.out_starts[groups.start], self.channels.out_starts[groups.stop]
            row_lengths[first:last] = per_site * fan
            n_groups = groups.stop - groups.start
            block = slice(filled, filled + n_groups * n_outs * len(site))
            filled = block.stop
            starts = self.channels.in_starts[groups.start]
            inputs = self.channels.inputs[starts : starts + n_groups * fan].reshape(n_groups, fan)
            offsets = (inputs * self.in_sites).astype(index)
            indices[block].reshape(n_groups, n_outs, -1)[...] = (offsets[:, source] + site)[:, None, :]
            pairs = self.channels.pair_starts[groups.start] + np.arange(n_groups * n_outs) * fan
            np.add(
                (pairs * self.tie_strides[0]).astype(index)[:, None],
                tie,
                out=ties[block].reshape(n_groups * n_outs, -1),
            )
        indptr = np.zeros(self.shape[0] + 1, index)
        np.cumsum(row_lengths.ravel(), out=indptr[1:])
        return indptr, indices, ties

    def read(self, windows: Any, taps: Any) -> np.ndarray:
        """The input sites that some taps of some windows read, -1 for none: entries of the table of sites, also where
        that has not been made; see `Window.read`."""
        if "sites" not in vars(self) and self.origin is not None:
            return self.origin[0].read(self.origin[1], windows, taps)
        return self.sites[windows, taps].astype(np.intp)

    def row(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        out_sites, n_taps = self.table_shape
        o, s = divmod(self._check_unit(i, 0), out_sites)
        inputs, pair = self.channels.of(o)
        sites = self.read(s, np.arange(n_taps))
        taps = np.flatnonzero(sites >= 0)
        pair_stride, site_stride, tap_stride = self.tie_strides
        cols = inputs[:, None] * self.in_sites + sites[taps]
        ties = (pair + np.arange(len(inputs)))[:, None] * pair_stride + s * site_stride + taps * tap_stride
        return cols.ravel(), ties.ravel()

    def column(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        c, site = divmod(self._check_unit(j, 1), self.in_sites)
        outs, pairs = self.channels.using(c)
        if self.origin is not None:
            s, taps = self.origin[0].readers(self.origin[1], site)
        else:
            s, taps = np.divmod(np.flatnonzero(self.sites == site), max(1, self.sites.shape[1]))
        pair_stride, site_stride, tap_stride = self.tie_strides
        rows = outs[:, None] * self.table_shape[0] + s
        ties = pairs[:, None] * pair_stride + s * site_stride + taps * tap_stride
        order = np.argsort(rows.ravel(), kind="stable")
        return rows.ravel()[order], ties.ravel()[order]

    def sharing(self, tie: int) -> tuple[np.ndarray, np.ndarray]:
        tie, counts = self._check_tie(tie), (self.channels.pairs, *self.table_shape)
        uses = math.prod(n for n, stride in zip(counts, self.tie_strides, strict=True) if stride == 0)
        check_memory(_OF_A_USE * uses, f"sharing, {uses:,} uses of a weight", _ONE_BY_ONE)
        pair, s, t = _solutions(tie, counts, self.tie_strides).T
        site = self.read(s, t)
        out, in_channel = self.channels.ends(pair)
        rows, cols = out * counts[1] + s, in_channel * self.in_sites + site
        order = np.lexsort((t, pair, rows))
        order = order[site[order] >= 0]
        return rows[order], cols[order]


def _without_gaps(counts: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether indices within `counts` have every product with `strides` from 0 to the largest."""
    reach = 1
    for stride, count in sorted((s, n) for s, n in zip(strides, counts, strict=True) if s):
        if stride > reach:
            return False
        reach += stride * (count - 1)
    return True


def _distinct(table: np.ndarray) -> int:
    """How many different numbers from 0 on each row of a table has, all rows together."""
    ordered = np.sort(table, axis=1)
    new = ordered[:, :1] >= 0, (ordered[:, 1:] >= 0) & (ordered[:, 1:] != ordered[:, :-1])
    return sum(int(np.count_nonzero(part)) for part in new)


def _solutions(total: int, counts: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """Every index within `counts` whose product with `strides` is `total`, (solutions, axes)."""
    if not any(strides):
        return np.argwhere(np.full(counts, total == 0))
    axis = int(np.argmax(strides))  # where strides nest, the largest leaves one index only
    stride, count = strides[axis], counts[axis]
    others = [k for k in range(len(counts)) if k != axis]
    rest = sum((counts[k] - 1) * strides[k] for k in others)
    found = [np.zeros((0, len(counts)), np.intp)]
    for index in range(max(0, -((rest - total) // stride)), min(count, total // stride + 1)):
        left = _solutions(total - index * stride, tuple(counts[k] for k in others), tuple(strides[k] for k in others))
        found.append(np.insert(left, axis, index, axis=1))
    return np.concatenate(found)
