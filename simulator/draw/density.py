"""How full each block of a matrix is, exactly, in memory that does not grow with the number of nonzeros."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulator.patterns import ExplicitPattern, IdentityPattern, Pattern, TransposedPattern, WindowPattern

__all__ = ["Line", "cell_counts"]

_BLOCK = 2**20  # cells that are looked at together


@dataclass(frozen=True, eq=False)
class Line:
    """One side of a matrix: its units laid in one line, and the line cut into bins.

    Parameters
    ----------
    length : int
        Units.
    size : int
        Units of a bin; the last one may have fewer.
    places : numpy.ndarray of int, (sites,)
        Where the sites of the first channel stand in the line; those of the next channel follow in the same order.
    """

    length: int
    size: int
    places: np.ndarray

    @property
    def bins(self) -> int:
        return -(-self.length // self.size)

    def bin_of(self, units: np.ndarray) -> np.ndarray:
        """In which bin each unit lies."""
        channel, site = np.divmod(units, len(self.places))
        return (channel * len(self.places) + self.places[site]) // self.size

    def lengths(self) -> np.ndarray:
        """Units of each bin, (bins,)."""
        return np.diff(np.minimum(np.arange(self.bins + 1) * self.size, self.length))


@functools.singledispatch
def cell_counts(pattern: Pattern, rows: Line, columns: Line) -> np.ndarray:
    """Count the cells with a connection in each block of a matrix; one with several connections counts once.

    Parameters
    ----------
    pattern : Pattern
        Of a matrix (n_out, n_in).
    rows, columns : Line
        How its output and its input units are laid out and cut.

    Returns
    -------
    numpy.ndarray of float
        (bins of the rows, bins of the columns), whole numbers.

    Examples
    --------
    The upper left and the lower right quarter of a 4 x 4 identity hold two cells each:

    >>> half = Line(4, 2, np.arange(4))
    >>> cell_counts(IdentityPattern(4), half, half)
    array([[2., 0.],
           [0., 2.]])
    """
    return _counted(((np.full(len(cols), i), cols) for i, cols in _rows(pattern)), rows, columns)


def _rows(pattern: Pattern) -> Iterator[tuple[int, np.ndarray]]:
    for i in range(pattern.shape[0]):
        yield i, np.unique(pattern.row(i)[0])


def _counted(cells: Iterator[tuple[np.ndarray, np.ndarray]], rows: Line, columns: Line) -> np.ndarray:
    """Sum up blocks of different cells, given by their rows and columns."""
    counts = np.zeros(rows.bins * columns.bins)
    for r, c in cells:
        counts += np.bincount(rows.bin_of(r) * columns.bins + columns.bin_of(c), minlength=counts.size)
    return counts.reshape(rows.bins, columns.bins)


@cell_counts.register
def _(pattern: TransposedPattern, rows: Line, columns: Line) -> np.ndarray:
    return cell_counts(pattern.base, columns, rows).T


@cell_counts.register
def _(pattern: IdentityPattern, rows: Line, columns: Line) -> np.ndarray:
    starts = range(0, pattern.nnz, _BLOCK)
    units = (np.arange(start, min(start + _BLOCK, pattern.nnz)) for start in starts)
    return _counted(((part, part) for part in units), rows, columns)


@cell_counts.register
def _(pattern: ExplicitPattern, rows: Line, columns: Line) -> np.ndarray:
    return _counted(_explicit_cells(pattern), rows, columns)


def _explicit_cells(pattern: ExplicitPattern) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some rows at a time."""
    (n_out, n_in), (indptr, indices, _) = pattern.shape, pattern.csr
    first = 0
    while first < n_out:
        stop = max(first + 1, int(np.searchsorted(indptr, indptr[first] + _BLOCK, side="right")) - 1)
        row = np.repeat(np.arange(stop - first), np.diff(indptr[first : stop + 1]))
        cells = np.unique(row * n_in + indices[indptr[first] : indptr[stop]])
        yield first + cells // n_in, cells % n_in
        first = stop


@cell_counts.register
def _(pattern: WindowPattern, rows: Line, columns: Line) -> np.ndarray:
    # All channels have the same sites. Between two cuts, which are where a bin ends in any channel, sites stay together
    # in every channel: so it is enough to count the cells between segments of sites once, and which bins the segments
    # of each channel fall into.
    out_sites, channels = len(pattern.sites), pattern.channels
    for line, sites in ((rows, out_sites), (columns, pattern.in_sites)):
        if sites > 1 and sites % len(line.places):  # not laid out channel by channel
            return cell_counts.dispatch(Pattern)(pattern, rows, columns)
    out_segment, out_first = _segments(rows, out_sites)
    in_segment, in_first = _segments(columns, pattern.in_sites)
    between = np.zeros((len(out_first), len(in_first)))
    step = max(1, _BLOCK // max(1, pattern.sites.shape[1]))
    for start in range(0, out_sites, step):
        table = np.sort(pattern.sites[start : start + step], axis=1)
        new = table >= 0
        new[:, 1:] &= table[:, 1:] != table[:, :-1]
        site, tap = np.nonzero(new)
        pairs = out_segment[start + site] * len(in_first) + in_segment[table[site, tap]]
        between += np.bincount(pairs, minlength=between.size).reshape(between.shape)
    counts = np.zeros((rows.bins, columns.bins))
    for group in range(len(channels.out_starts) - 1):
        outs = np.arange(channels.out_starts[group], channels.out_starts[group + 1])
        ins = np.unique(channels.inputs[channels.in_starts[group] : channels.in_starts[group + 1]])
        if len(outs) and len(ins):
            out_bins, out_counts = _channels_in_bins(rows, outs, out_sites, out_first)
            in_bins, in_counts = _channels_in_bins(columns, ins, pattern.in_sites, in_first)
            counts[np.ix_(out_bins, in_bins)] += out_counts @ between @ in_counts.T
    return counts


def _segments(line: Line, sites: int) -> tuple[np.ndarray, np.ndarray]:
    """The segment of each of a pattern's sites, (sites,), and the first site of each segment."""
    if sites == 1:
        return np.zeros(1, np.intp), np.zeros(1, np.intp)
    channel, site = np.divmod(np.arange(sites), len(line.places))
    places = channel * len(line.places) + line.places[site]
    cuts = np.unique(np.arange(line.bins) * line.size % sites)  # 0 is one of them
    return np.searchsorted(cuts, places, side="right") - 1, np.argsort(places)[cuts]


def _channels_in_bins(line: Line, channels: np.ndarray, sites: int, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bins that some channels fall into, and how many of them have each segment there, (bins, segments)."""
    bins, at = np.unique(line.bin_of(channels[:, None] * sites + first), return_inverse=True)
    at = at.reshape(-1, len(first)) * len(first) + np.arange(len(first))
    return bins, np.bincount(at.ravel(), minlength=len(bins) * len(first)).reshape(len(bins), -1).astype(float)
