"""The geometry of sliding windows: which input site each tap of each window reads.

Everything here is integers in one, two or three dimensions. A *site* is a position in space, a *tap* one cell of the
window. The table of sites, shape (out_sites, taps), is all that a convolution needs to become a matrix.

Sources: ONNX operator specification (Conv, AveragePool; ``auto_pad``), PyTorch (``padding_mode``, ``ceil_mode``),
V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from simulator.errors import ShapeError, brief
from simulator.memory import check_memory

__all__ = ["PADDING_MODES", "Padding", "PaddingMode", "Sizes", "Window", "check_size", "check_sizes"]

_NamedPadding = Literal["valid", "same", "same_upper", "same_lower"]
Sizes = int | Sequence[int]  # one for all axes of space, or one per axis
Padding = int | _NamedPadding | Sequence[int | Sequence[int]]
PaddingMode = Literal["constant", "circular", "reflect", "replicate"]
PADDING_MODES = get_args(PaddingMode)
_NAMED_PADDING = get_args(_NamedPadding)


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_size(value: Any, who: str, least: int = 1) -> int:
    """Return `value` if it is an integer of at least `least`; `who` names it in the error.

    Raises
    ------
    ShapeError
        If it is not.

    Examples
    --------
    >>> check_size(3, "conv kernel")
    3
    """
    if not _is_integer(value) or value < least:
        raise ShapeError(f"{who}: expected an integer of at least {least}, got {brief(value)}; give such a number")
    return int(value)


def check_sizes(value: Any, ndim: int, who: str, least: int = 1) -> tuple[int, ...]:
    """One integer for all axes, or one per axis, as a tuple of `ndim` integers.

    Raises
    ------
    ShapeError
        If a number is missing, too small, or no integer.

    Examples
    --------
    >>> check_sizes(3, 2, "conv kernel"), check_sizes((3, 5), 2, "conv kernel")
    ((3, 3), (3, 5))
    """
    if _is_integer(value):
        return (check_size(value, who, least),) * ndim
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != ndim:
        raise ShapeError(
            f"{who}: expected one integer or {ndim} of them (the input has {ndim} space axes), got {brief(value)}; "
            f"write for example {who.split()[-1]}={(max(least, 1),) * ndim}"
        )
    return tuple(check_size(v, who, least) for v in value)


@dataclass(frozen=True)
class Window:
    """A window that slides over the space of an input.

    Parameters
    ----------
    kernel : int or sequence of int
        Taps per axis.
    stride : int or sequence of int, default 1
        Sites between neighbouring windows.
    dilation : int or sequence of int, default 1
        Sites between neighbouring taps.
    padding : int, sequence or str, default 0
        Sites added at each border: one number, one per axis, a ``(begin, end)`` pair per axis, or "valid" (none),
        "same" or "same_upper" (as many as keep ceil(n / stride) windows, the odd one at the end), "same_lower" (the
        odd one at the beginning).
    mode : {"constant", "circular", "reflect", "replicate"}, default "constant"
        What stands on the padding: a constant (such taps read no input), or other sites of the input.
    ceil : bool, default False
        Round the number of windows up, as PyTorch's ``ceil_mode``: the last window may reach beyond the padded input,
        as long as less than a stride of it does, but one that would start on the padding at the end is dropped.
    who : str, default "window"
        Whom errors name.

    Examples
    --------
    >>> Window(3, padding=1).output_space((28, 28))
    (28, 28)
    >>> Window(2).sites((4,))
    array([[0, 1],
           [1, 2],
           [2, 3]], dtype=int32)
    """

    kernel: int | Sequence[int]
    stride: int | Sequence[int] = 1
    dilation: int | Sequence[int] = 1
    padding: int | str | Sequence[int | Sequence[int]] = 0
    mode: str = "constant"
    ceil: bool = False
    who: str = "window"

    def sizes(self, space: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Kernel, stride and dilation with one number per axis of `space`."""
        ndim = len(space)
        if not 1 <= ndim <= 3:
            raise ShapeError(
                f"{self.who}: expected an input (channels, *space) with 1 to 3 space axes, got {ndim}; "
                "reshape the input, or use 'dense' for inputs without space"
            )
        return (
            check_sizes(self.kernel, ndim, f"{self.who} kernel"),
            check_sizes(self.stride, ndim, f"{self.who} stride"),
            check_sizes(self.dilation, ndim, f"{self.who} dilation"),
        )

    def padding_pairs(self, space: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """``(begin, end)`` of the padding, one pair per axis of `space`."""
        kernel, stride, dilation = self.sizes(space)
        if isinstance(self.padding, str):
            if self.padding not in _NAMED_PADDING:
                raise ShapeError(
                    f"{self.who} padding: expected numbers or one of {', '.join(_NAMED_PADDING)}, "
                    f"got {brief(self.padding)}; choose one of them"
                )
            if self.padding == "valid":
                return ((0, 0),) * len(space)
            pairs = []
            for n, k, s, d in zip(space, kernel, stride, dilation, strict=True):
                total = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
                small, large = total // 2, total - total // 2
                pairs.append((large, small) if self.padding == "same_lower" else (small, large))
            return tuple(pairs)
        who = f"{self.who} padding"
        if isinstance(self.padding, Sequence) and any(isinstance(p, Sequence) for p in self.padding):
            if len(self.padding) != len(space):
                raise ShapeError(
                    f"{who}: expected {len(space)} (begin, end) pairs, got {brief(self.padding)}; give one per "
                    "space axis"
                )
            for pair in self.padding:
                if _is_integer(pair) or (isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2):
                    continue
                raise ShapeError(
                    f"{who}: expected a pair (begin, end) for each axis, got {brief(pair)}; write for example "
                    f"padding={((1, 1),) * len(space)}"
                )
            return tuple((p[0], p[1]) for p in (check_sizes(p, 2, who, least=0) for p in self.padding))
        return tuple((p, p) for p in check_sizes(self.padding, len(space), who, least=0))

    def output_space(self, space: Sequence[int]) -> tuple[int, ...]:
        """Number of windows per axis: floor((n + padding - extent) / stride) + 1, or with `ceil` rounded up.

        Raises
        ------
        ShapeError
            If no window fits on the padded input, or the padding does not fit its mode.
        """
        kernel, stride, dilation = self.sizes(space)
        if self.mode not in PADDING_MODES:
            raise ShapeError(
                f"{self.who} padding mode: expected one of {', '.join(PADDING_MODES)}, got {brief(self.mode)}; "
                "choose one of them"
            )
        out = []
        for axis, (n, k, s, d, (begin, end)) in enumerate(
            zip(space, kernel, stride, dilation, self.padding_pairs(space), strict=True)
        ):
            limit = {"circular": n, "reflect": n - 1}.get(self.mode, math.inf)
            if max(begin, end) > limit:
                raise ShapeError(
                    f"{self.who} padding: expected at most {limit} sites for mode {brief(self.mode)} on axis "
                    f"{axis} of size "
                    f"{n}, got {max(begin, end)}; pad less or use another mode"
                )
            extent = (k - 1) * d + 1
            room = n + begin + end - extent
            count = room // s + 1
            if self.ceil:
                count = -(-room // s) + 1
                if (count - 1) * s >= n + begin:
                    count -= 1
            if count < 1:
                raise ShapeError(
                    f"{self.who}: expected a window no larger than the padded input, got {extent} taps on "
                    f"{n + begin + end} sites along axis {axis} (input {tuple(space)}); use a smaller kernel or more "
                    "padding"
                )
            out.append(count)
        return tuple(out)

    def axis_sites(self, space: Sequence[int]) -> list[np.ndarray]:
        """For each axis the coordinate that each tap of each window reads, -1 for none: arrays (windows, taps)."""
        kernel, stride, dilation = self.sizes(space)
        numbers = sum(n * k for n, k in zip(self.output_space(space), kernel, strict=True))
        check_memory(3 * 8 * numbers, f"{self.who} on {tuple(space)}", "use a smaller input")
        tables = []
        for n, k, s, d, (begin, _), count in zip(
            space, kernel, stride, dilation, self.padding_pairs(space), self.output_space(space), strict=True
        ):
            at = np.arange(count)[:, None] * s + np.arange(k)[None, :] * d - begin  # (windows, taps)
            tables.append(self._read_at(at, n))
        return tables

    def sites(self, space: Sequence[int]) -> np.ndarray:
        """The input site of every tap of every window, -1 where there is none.

        The tables of the last 128 geometries are kept, so that equal layers share one.

        Parameters
        ----------
        space : sequence of int
            Sites of the input per axis.

        Returns
        -------
        numpy.ndarray
            (out_sites, taps), read-only; sites, windows and taps are counted in C order.

        Raises
        ------
        ShapeError
            If the table would need more memory than there is.
        """
        kernel, stride, dilation = self.sizes(space)
        plain = Window(kernel, stride, dilation, self.padding_pairs(space), self.mode, self.ceil, self.who)
        return _sites(plain, tuple(space))

    def read(self, space: Sequence[int], windows: Any, taps: Any) -> np.ndarray:
        """The input sites that some taps of some windows read: entries of `sites`, without the table.

        Parameters
        ----------
        space : sequence of int
            Sites of the input per axis.
        windows, taps : int or array_like of int
            Numbers of windows and of taps, of shapes that broadcast.

        Returns
        -------
        numpy.ndarray of int
            In the shape of both; -1 where there is no input.

        Examples
        --------
        >>> Window(3, padding=1).read((4,), [0, 3], [[0], [2]])
        array([[-1,  2],
               [ 1, -1]])
        """
        kernel, stride, dilation = self.sizes(space)
        at = _coordinates(windows, self.output_space(space)), _coordinates(taps, kernel)
        found, missing = np.zeros((), np.intp), np.zeros((), bool)
        for n, window, tap, s, d, (begin, _) in zip(
            space, *at, stride, dilation, self.padding_pairs(space), strict=True
        ):
            coordinate = self._read_at(window * s + tap * d - begin, n)
            found, missing = found * n + coordinate, missing | (coordinate < 0)
        return np.where(missing, -1, found)

    def readers(self, space: Sequence[int], site: int) -> tuple[np.ndarray, np.ndarray]:
        """Which taps of which windows read one input site, in the order of `sites`, without the table.

        Parameters
        ----------
        space : sequence of int
            Sites of the input per axis.
        site : int
            Number of the site.

        Returns
        -------
        windows, taps : numpy.ndarray of int, (readings,)

        Examples
        --------
        >>> Window(3, padding=1).readers((4,), 0)
        (array([0, 1]), array([1, 0]))
        """
        kernel, stride, dilation = self.sizes(space)
        windows, taps = np.zeros(1, np.intp), np.zeros(1, np.intp)
        for n, coordinate, k, s, d, (begin, _), count in zip(
            space,
            _coordinates(site, space),
            kernel,
            stride,
            dilation,
            self.padding_pairs(space),
            self.output_space(space),
            strict=True,
        ):
            padding = np.concatenate([np.arange(-begin, 0), np.arange(n, (count - 1) * s + (k - 1) * d - begin + 1)])
            at = np.append(coordinate, padding[self._read_at(padding, n) == coordinate])  # wherever it can be read
            window, rest = np.divmod(at[:, None] + begin - np.arange(k) * d, s)
            place, tap = np.nonzero((rest == 0) & (window >= 0) & (window < count))
            windows = (windows[:, None] * count + window[place, tap]).ravel()
            taps = (taps[:, None] * k + tap).ravel()
        order = np.lexsort((taps, windows))
        return windows[order], taps[order]

    def covered(self, space: Sequence[int], windows: np.ndarray) -> np.ndarray:
        """Which input sites some windows read, axis by axis and without the table.

        Parameters
        ----------
        space : sequence of int
            Sites of the input per axis.
        windows : numpy.ndarray of bool, (out_sites,)
            Which windows.

        Returns
        -------
        numpy.ndarray of bool, (sites,)

        Examples
        --------
        >>> Window(2).covered((4,), np.array([True, False, False]))
        array([ True,  True, False, False])
        """
        mask = windows.reshape(self.output_space(space))
        for axis, (n, table) in enumerate(zip(space, self.axis_sites(space), strict=True)):
            mask, found = np.moveaxis(mask, axis, 0), np.zeros((n, *np.delete(mask.shape, axis)), bool)
            for column in table.T:
                inside = column >= 0
                if self.mode == "constant":  # a tap reads a coordinate in one window at most
                    found[column[inside]] |= mask[inside]
                else:
                    np.logical_or.at(found, column[inside], mask[inside])
            mask = np.moveaxis(found, 0, axis)
        return mask.ravel()

    def covering(self, space: Sequence[int], sites: np.ndarray) -> np.ndarray:
        """Which windows read at least one of some input sites, axis by axis and without the table.

        Parameters
        ----------
        space : sequence of int
            Sites of the input per axis.
        sites : numpy.ndarray of bool, (sites,)
            Which sites.

        Returns
        -------
        numpy.ndarray of bool, (out_sites,)

        Examples
        --------
        >>> Window(2).covering((4,), np.array([True, True, False, False]))
        array([ True,  True, False])
        """
        mask = sites.reshape(tuple(space))
        for axis, table in enumerate(self.axis_sites(space)):
            mask = np.moveaxis(mask, axis, 0)
            found = np.zeros((len(table), *mask.shape[1:]), bool)
            for column in table.T:
                inside = column >= 0
                found[inside] |= mask[column[inside]]
            mask = np.moveaxis(found, 0, axis)
        return mask.ravel()

    def _read_at(self, at: np.ndarray, n: int) -> np.ndarray:
        """The coordinates that are read at some of an axis of `n` sites and the padding around it, -1 for none."""
        if self.mode == "constant":
            return np.where((at >= 0) & (at < n), at, -1)
        if self.mode == "circular":
            return at % n
        if self.mode == "reflect" and n > 1:
            return n - 1 - np.abs(n - 1 - at % (2 * n - 2))
        return np.clip(at, 0, n - 1)

    def table_shape(self, space: Sequence[int]) -> tuple[int, int]:
        """(out_sites, taps) of `sites`, without the table."""
        return math.prod(self.output_space(space)), math.prod(self.sizes(space)[0])

    def table_nbytes(self, space: Sequence[int]) -> int:
        """Bytes of `sites`, without the table."""
        return math.prod(self.table_shape(space)) * np.dtype(_table_dtype(space)).itemsize

    def padded_shape(self, space: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """How far to extend each axis, ``(begin, end)``, so that every tap of every window lies inside."""
        kernel, stride, dilation = self.sizes(space)
        pairs = []
        for n, k, s, d, (begin, _), count in zip(
            space, kernel, stride, dilation, self.padding_pairs(space), self.output_space(space), strict=True
        ):
            pairs.append((begin, max(0, (count - 1) * s + (k - 1) * d + 1 - n - begin)))
        return tuple(pairs)

    def tap_slices(self, space: Sequence[int]) -> list[tuple[slice, ...]]:
        """For each tap in C order the strided view of the extended input (see `padded_shape`) that it reads."""
        kernel, stride, dilation = self.sizes(space)
        counts = self.output_space(space)
        return [
            tuple(
                slice(t * d, t * d + (count - 1) * s + 1, s)
                for t, s, d, count in zip(tap, stride, dilation, counts, strict=True)
            )
            for tap in np.ndindex(*kernel)
        ]


def _coordinates(numbers: Any, shape: Sequence[int]) -> list[Any]:
    """What numbers in C order are along each axis; `numpy.unravel_index` fails for more than 8192 in a column."""
    found = []
    for n in reversed(shape):
        numbers, coordinate = np.divmod(numbers, n)
        found.append(coordinate)
    return found[::-1]


def _table_dtype(space: Sequence[int]) -> Any:
    return np.int32 if math.prod(space) <= np.iinfo(np.int32).max // 4 else np.int64


@functools.lru_cache(maxsize=128)
def _sites(window: Window, space: tuple[int, ...]) -> np.ndarray:
    total, dtype = math.prod(space), _table_dtype(space)
    kernel, _, _ = window.sizes(space)
    check_memory(2 * window.table_nbytes(space), f"{window.who} on {space}", "use a smaller input")
    tables = window.axis_sites(space)
    out: np.ndarray = np.zeros((1, math.prod(kernel)), dtype)  # (windows so far, taps)
    step = total
    for axis, (n, table) in enumerate(zip(space, tables, strict=True)):
        step //= n
        part = np.where(table < 0, -total, table * step).astype(dtype)  # what is missing on any axis stays below 0
        part = part.reshape(len(table), *(k if a == axis else 1 for a, k in enumerate(kernel)))
        part = np.broadcast_to(part, (len(table), *kernel)).reshape(len(table), -1)  # (windows of the axis, taps)
        out = (out[:, None] + part).reshape(-1, out.shape[1])
    np.maximum(out, -1, out=out)
    out.flags.writeable = False
    return out
