"""Pictures of a network: its matrices, kernels, connections, activations and training curve.

Every function returns a `matplotlib.figure.Figure`; `save` writes one to a file. In pictures of a matrix or its graph
equal colours are equal weights.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from simulator.errors import FileError, ShapeError, SimulatorError
from simulator.layers import MatrixLayer
from simulator.layers.base import Shape
from simulator.matrix import TiedMatrix
from simulator.network import BoundNode, Network, Trace
from simulator.patterns import Pattern, TransposedPattern, WindowPattern
from simulator.writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_activations", "draw_curve", "draw_graph", "draw_kernel", "draw_matrix", "save"]

_WHOLE = 128  # rows and columns up to which a matrix is drawn whole, cell by cell
_PART, _LARGEST_PART = (64, 128), 512  # rows and columns of the part of a larger one
_NUMBERED = 20  # rows and columns up to which each cell says its weight
_BINS, _SAMPLED_ROWS = 256, 2048
_GRAPH_UNITS, _GRAPH_EDGES = 200, 2000
_MAPS = 64
_GREY, _MARK, _GAP = "0.35", "tab:red", "#d9dfe6"

Labels = tuple[str, Sequence[str]]  # what an axis counts, and the number of each tile


def _figure(width: float, height: float) -> Figure:
    """An empty figure in inches that no global state knows."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SimulatorError("draw: expected matplotlib, got none; pip install 'cnn-matrix-simulator[plot]'") from None
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08))


def _caption(figure: Figure, notes: Iterable[str]) -> None:
    """What the reader should know, below everything."""
    width = int(figure.get_figwidth() * 14)  # letters of this size per inch
    figure.supxlabel(textwrap.fill(" · ".join(notes), width), fontsize=9, color=_GREY)


def _count(ax: Axes) -> None:
    """Whole numbers at the x axis."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))


def _palette() -> np.ndarray:
    """Colours of the ties, (36, 3): twelve hues in three tones, neighbours far apart in both."""
    from matplotlib.colors import hsv_to_rgb

    number = np.arange(36)
    hue = np.array([212, 20, 130, 315, 50, 190, 0, 90, 240, 36, 165, 275])[number % 12] / 360
    saturation, value = np.array([(0.75, 0.9), (0.55, 1.0), (1.0, 0.55)])[(number + number // 12) % 3].T
    return hsv_to_rgb(np.stack([hue, saturation, value], axis=1))


def _trace(network: Network, layer: str, x: Any) -> Trace:
    """Run one sample as far as `layer`."""
    part = network.subnetwork(layer)
    samples = x if isinstance(x, Mapping) else dict.fromkeys(part.inputs, x)
    batches = {name: np.asarray(samples[name])[None] for name in part.inputs if name in samples}
    for name, batch in batches.items():
        shape = part.node(name).shape
        if batch.shape[1:] != shape:
            raise ShapeError(
                f"draw {layer}: expected one sample of shape {shape} for {name!r}, got {batch.shape[1:]}; take one of "
                "a batch with x[0]"
            )
    return part.run(batches)


@dataclass(frozen=True, eq=False)
class _View:
    """A pattern with its units in the order in which a picture shows them: their *places*."""

    pattern: Pattern
    name: str
    out_shape: Shape
    in_shape: Shape
    order: str = "C"

    def row(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Places of the columns, and ties, of the row at `place`."""
        cols, ties = self.pattern.row(int(_reordered(place, self.out_shape, self.order, "C")))
        return _reordered(cols, self.in_shape, "C", self.order), ties

    def sampled_rows(self) -> np.ndarray:
        """Places of evenly spaced rows; of all rows in a small matrix."""
        return np.unique(np.linspace(0, self.pattern.shape[0] - 1, _SAMPLED_ROWS).astype(np.intp))

    def first(self) -> tuple[int, int]:
        """Row and column of the first nonzero in the sampled rows."""
        for place in self.sampled_rows():
            cols, _ = self.row(place)
            if len(cols):
                return int(place), int(cols.min())
        return 0, 0

    def cells(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows and columns within a part, and ties, of its nonzeros."""
        found = []
        for place in range(*rows):
            cols, ties = self.row(place)
            inside = (columns[0] <= cols) & (cols < columns[1])
            found.append((np.full(inside.sum(), place - rows[0]), cols[inside] - columns[0], ties[inside]))
        r, c, t = (np.concatenate(part) for part in zip(*found, strict=True))
        return r, c, t

    def density(self) -> tuple[np.ndarray, tuple[int, int]]:
        """Share of nonzero cells in each bin, from the sampled rows; rows and columns of a bin."""
        n_out, n_in = self.pattern.shape
        tall, wide = -(-n_out // _BINS), -(-n_in // _BINS)
        counts = np.zeros((-(-n_out // tall), -(-n_in // wide)))
        sampled = np.zeros(len(counts))
        for place in self.sampled_rows():
            cols, _ = self.row(place)
            counts[place // tall] += np.bincount(cols // wide, minlength=counts.shape[1])
            sampled[place // tall] += 1
        widths = np.diff(np.minimum(np.arange(counts.shape[1] + 1) * wide, n_in))
        return counts / np.maximum(sampled, 1)[:, None] / widths, (tall, wide)


def _reordered(units: Any, shape: Shape, source: str, target: str) -> np.ndarray:
    """Numbers of units (channel, *space) counted in order `source`, counted in order `target`; channels stay."""
    units, space = np.asarray(units, np.intp), shape[1:]
    if source == target or len(space) < 2:
        return units
    channel, site = np.divmod(units, math.prod(space))
    at = np.unravel_index(site, space, order=source)  # type: ignore[call-overload]
    return channel * math.prod(space) + np.ravel_multi_index(at, space, order=target)  # type: ignore[call-overload]


def _view(network: Network, layer: str, x: Any, order: str = "C") -> _View:
    """The pattern of a layer; at a sample, if the layer depends on it."""
    bound = network.node(layer)
    shapes = bound.node.input_shapes
    if x is None or isinstance(bound.layer, MatrixLayer):
        name = repr(bound.matrix if network.has_weights else bound.pattern)
        return _View(bound.pattern, f"{layer}: {name}", bound.shape, shapes[0], order)
    trace = _trace(network, layer, x)
    affine = bound.layer.affine_at(bound.params, bound.buffers, *(trace[name][0] for name in bound.node.inputs))
    if affine is None:
        raise ShapeError(
            f"draw {layer}: expected a layer that is piecewise linear, got {bound.layer!r}; choose another layer"
        )
    joined = sparse.hstack(affine[0], format="csr")
    matrix = TiedMatrix.from_sparse(joined, np.unique(joined.data, return_inverse=True)[1])
    in_shape = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    return _View(matrix.pattern, f"{layer}: {matrix!r}, at this sample", bound.shape, in_shape, order)


def draw_matrix(
    network: Network,
    layer: str,
    x: Any = None,
    *,
    rows: tuple[int, int] | None = None,
    columns: tuple[int, int] | None = None,
    order: str = "C",
) -> Figure:
    """Draw the equivalent matrix of a layer: equal colours are equal weights, white is zero.

    A matrix of more than 128 rows or columns gets two panels: where its nonzeros stand, and a part cell by cell.

    Parameters
    ----------
    network : Network
        With weights or without.
    layer : str
        Name of the node.
    x : array_like, (channels, *space), or dict of them by input name, optional
        One sample. A layer that is no fixed matrix, such as max pooling, is drawn as the matrix that it is for it.
    rows, columns : (int, int), optional
        First row or column of the part, and the one after its last; at most 512. Default: 64 x 128 cells where the
        first nonzeros stand.
    order : {"C", "F"}, default "C"
        How the sites of each channel are laid in one line: row after row, or column after column.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ShapeError
        If the layer is not a matrix, or the part does not lie in it.
    UnknownNameError
        If there is no such layer.
    SimulatorError
        If matplotlib is missing.

    Notes
    -----
    The whole matrix is never built: the density of a large one is that of some 2,000 of its rows.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 4, 4), [Conv(1, kernel=3)], rng=0)
    >>> draw_matrix(net, "conv1").get_suptitle()
    'conv1: TiedMatrix 4 x 16: 36 nonzeros share 9 weights'
    """
    if order not in ("C", "F"):
        raise ShapeError(f"draw order: expected 'C' or 'F', got {order!r}; choose row after row or column after column")
    view = _view(network, layer, x, order)
    n_out, n_in = view.pattern.shape
    given = rows is not None or columns is not None
    if not given and max(n_out, n_in) <= _WHOLE:
        cell = min(0.36, 8 / max(n_out, n_in))  # inches
        figure = _figure(max(6.0, 1.0 + cell * n_in), 1.5 + cell * n_out)
        notes = _draw_cells(figure.subplots(), view, (0, n_out), (0, n_in))
    else:
        first = (0, 0) if given else view.first()
        rows = _part(rows, first[0], n_out, _PART[0], f"draw {layer} rows")
        columns = _part(columns, first[1], n_in, _PART[1], f"draw {layer} columns")
        figure = _figure(13, 5.2)
        whole, part = figure.subplots(1, 2, width_ratios=(1, 2))
        notes = [_draw_density(whole, view, rows, columns), *_draw_cells(part, view, rows, columns)]
        part.set_title(f"rows {rows[0]} to {rows[1] - 1}, columns {columns[0]} to {columns[1] - 1}", fontsize=10)
        part.ticklabel_format(style="plain", useOffset=False)
        part.spines[:].set(color=_MARK, linewidth=1.5)
    figure.suptitle(view.name)
    _caption(figure, notes)
    return figure


def _part(given: tuple[int, int] | None, first: int, n: int, size: int, who: str) -> tuple[int, int]:
    """The part of an axis of `n` units to draw: as given, else `size` units from about `first`."""
    if given is None:
        start = max(0, min(first - size // 4, n - size))
        return start, min(n, start + size)
    start, stop = given
    if not (0 <= start < stop <= n and stop - start <= _LARGEST_PART):
        raise ShapeError(
            f"{who}: expected a part of 0 to {n}, at most {_LARGEST_PART} long, got {start} to {stop}; choose another"
        )
    return start, stop


def _draw_cells(ax: Axes, view: _View, rows: tuple[int, int], columns: tuple[int, int]) -> list[str]:
    """Colour each cell of a part by its tie; returns what the reader should know."""
    palette = _palette()
    r, c, ties = view.cells(rows, columns)
    n_rows, n_columns = rows[1] - rows[0], columns[1] - columns[0]
    image = np.ones((n_rows, n_columns, 3))
    image[r, c] = palette[ties % len(palette)]  # of a repeated cell the last tie wins
    ax.imshow(image, extent=(columns[0] - 0.5, columns[1] - 0.5, rows[1] - 0.5, rows[0] - 0.5), interpolation="nearest")
    ax.set(xlabel="input unit", ylabel="output unit", anchor="N")
    notes = [*_colour_notes(view.pattern, palette), "white is zero"]
    cells, counts = np.unique(r * n_columns + c, return_counts=True)
    if max(n_rows, n_columns) <= _NUMBERED:
        ax.set(xticks=range(*columns), yticks=range(*rows))
        ax.set_xticks(np.arange(*columns) + 0.5, minor=True)
        ax.set_yticks(np.arange(*rows) + 0.5, minor=True)
        ax.tick_params(which="minor", length=0)
        ax.grid(which="minor", color="0.9", linewidth=0.5)
        for i, j in zip(*divmod(cells, n_columns), strict=True):
            number = "+".join(str(tie) for tie in ties[(r == i) & (c == j)])
            ink = "w" if image[i, j] @ (0.3, 0.59, 0.11) < 0.6 else "k"
            ax.text(j + columns[0], i + rows[0], number, ha="center", va="center", fontsize=8, color=ink)
        notes.append("numbers say which weight")
    elif np.any(counts > 1):
        i, j = divmod(cells[counts > 1], n_columns)
        ax.plot(j + columns[0], i + rows[0], "o", color="w", markeredgecolor="k", markersize=3.5)
        notes.append("a dot: several weights on one cell, in the colour of the last")
    return notes + _draw_grid(ax, view, rows, columns)


def _colour_notes(pattern: Pattern, palette: np.ndarray) -> list[str]:
    """What colours mean."""
    repeat = [f"colours repeat after {len(palette)} weights"] if pattern.n_ties > len(palette) else []
    return ["equal colours are equal weights", *repeat]


def _draw_grid(ax: Axes, view: _View, rows: tuple[int, int], columns: tuple[int, int]) -> list[str]:
    """Draw lines between channels, and between the rows (in order F: the columns) of a map; returns what they are."""
    drawn = {}
    for line, shape, limits in ((ax.axhline, view.out_shape, rows), (ax.axvline, view.in_shape, columns)):
        run, name = (shape[-1], "rows") if view.order == "C" else (shape[min(1, len(shape) - 1)], "columns")
        inner = (run if len(shape) > 2 else 1, "0.75", f"grey lines: {name} of a map")
        outer = (math.prod(shape[1:]), "k", "black lines: channels")
        for step, color, note in (inner, outer):
            for at in range(limits[0] // step * step + step, limits[1], step) if step > 1 else ():
                line(at - 0.5, color=color, linewidth=0.8)
                drawn[note] = True
    return list(drawn)


def _draw_density(ax: Axes, view: _View, rows: tuple[int, int], columns: tuple[int, int]) -> str:
    """Show where the nonzeros of a large matrix stand, and mark a part; returns what black means."""
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import EngFormatter

    density, (tall, wide) = view.density()
    n_out, n_in = view.pattern.shape
    extent = (-0.5, density.shape[1] * wide - 0.5, density.shape[0] * tall - 0.5, -0.5)
    ax.imshow(density, extent=extent, aspect="auto", cmap="Greys", vmin=0, vmax=density.max() or 1)
    ax.set(xlim=(-0.5, n_in - 0.5), ylim=(n_out - 0.5, -0.5), xlabel="input unit", ylabel="output unit", anchor="N")
    ax.set_title("the whole matrix; red: the part at the right", fontsize=10)
    ax.set_box_aspect(min(1.3, max(0.4, n_out / n_in)))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(EngFormatter(sep=""))
    width, height = (max(b - a, 0.02 * n) for (a, b), n in ((columns, n_in), (rows, n_out)))
    corner = min(columns[0], n_in - width) - 0.5, min(rows[0], n_out - height) - 0.5
    ax.add_patch(Rectangle(corner, width, height, fill=False, color=_MARK, linewidth=1.5, clip_on=False))
    return f"left: where black, {100 * density.max():.3g}% of the cells are nonzero"


def draw_graph(network: Network, layer: str, x: Any = None) -> Figure:
    """Draw the connections of a small layer: input units left, output units right, equal colours are equal weights.

    Parameters
    ----------
    network : Network
        With weights or without.
    layer : str
        Name of the node.
    x : array_like, (channels, *space), or dict of them by input name, optional
        As for `draw_matrix`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ShapeError
        If the layer is not a matrix, or has more than 200 units or 2,000 connections.
    UnknownNameError
        If there is no such layer.
    SimulatorError
        If matplotlib is missing.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 5), [Conv(1, kernel=3)])
    >>> draw_graph(net, "conv1").get_suptitle()
    'conv1: WindowPattern 3 x 5: 9 nonzeros share 3 weights'
    """
    view = _view(network, layer, x)
    pattern = view.pattern
    if sum(pattern.shape) > _GRAPH_UNITS or pattern.nnz > _GRAPH_EDGES:
        raise ShapeError(
            f"draw {layer}: expected at most {_GRAPH_UNITS} units and {_GRAPH_EDGES} connections, got "
            f"{sum(pattern.shape)} and {pattern.nnz}; draw the matrix, or the layer on a smaller input"
        )
    figure = _figure(6.5, 1.5 + min(12.0, 0.3 * max(pattern.shape)))
    from matplotlib.collections import LineCollection

    ax = figure.subplots()
    left = _draw_units(ax, 0, view.in_shape, "x")
    right = _draw_units(ax, 1, view.out_shape, "y")
    rows, cols, ties = pattern.triplets()
    edges = np.stack([0 * cols, left[cols], 0 * rows + 1, right[rows]], axis=1).reshape(-1, 2, 2)  # (edge, end, xy)
    palette = _palette()
    colors = palette[ties % len(palette)]
    first = np.unique(np.stack([rows, cols]), axis=1, return_index=True)[1]
    again = np.setdiff1d(np.arange(len(rows)), first)
    for part, style in ((first, "-"), (again, (0, (4, 4)))):
        width = 1.6 if pattern.nnz < 300 else 0.7
        ax.add_collection(LineCollection(list(edges[part]), colors=colors[part], linestyles=style, linewidths=width))
    if pattern.n_ties <= 12:
        for tie in range(pattern.n_ties):
            ax.plot([], [], color=palette[tie], linewidth=2.5, label=f"$w_{{{tie}}}$")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    ax.set(xlim=(-0.15, 1.15), ylim=(1, 0), yticks=[])
    ax.set_xticks([0, 1], [f"input {view.in_shape}", f"output {view.out_shape}"])
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    figure.suptitle(view.name, fontsize=11)
    _caption(figure, _colour_notes(pattern, palette) + ["dashed: one more weight between two units"] * bool(len(again)))
    return figure


def _draw_units(ax: Axes, x: int, shape: Shape, letter: str) -> np.ndarray:
    """Draw the units of one side below each other, with gaps between channels; returns their heights from 0 to 1."""
    unit = np.arange(math.prod(shape))
    place = unit + 0.7 * (unit // math.prod(shape[1:]))
    height = (place + 0.5) / (place[-1] + 1)
    ax.plot(0 * unit + x, height, "o", color="w", markeredgecolor="k", markersize=6, zorder=3)
    if len(unit) <= 60:
        aside, side = ((-0.03, "right"), (0.03, "left"))[x]
        for k in unit:
            ax.text(x + aside, height[k], f"${letter}_{{{k}}}$", ha=side, va="center", fontsize=9)
    return height


def draw_kernel(network: Network, layer: str) -> Figure:
    """Draw the weights of a layer as small images, one for each pair of output and input channel.

    Red is positive, blue negative. A kernel in one dimension is a row, one in three its slices side by side; a dense
    layer shows what each unit weighs where; weights of a layer without kernels stand in one row.

    Parameters
    ----------
    network : Network
        With weights.
    layer : str
        Name of the node.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ShapeError
        If the layer is not a matrix.
    UnknownNameError
        If there is no such layer.
    SimulatorError
        If the network has no weights, or matplotlib is missing.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((3, 8, 8), [Conv(4, kernel=3)], rng=0)
    >>> draw_kernel(net, "conv1").get_suptitle()
    'conv1: weight (4, 3, 3, 3)'
    """
    bound = network.node(layer)
    kernels, words, notes = _kernels(bound)
    total = int(np.isfinite(kernels).any(axis=tuple(range(2, kernels.ndim))).sum())
    if kernels.shape[1] == 1:
        tiles, rows, columns = _wrapped(_tiles(kernels[:_MAPS, 0], 1), words[0])
    else:
        tiles = _tiles(kernels[:16, :8], 2)
        rows, columns = ((word, list(map(str, range(n)))) for word, n in zip(words, tiles.shape[:2], strict=True))
    shown = int(np.isfinite(tiles).any(axis=(2, 3)).sum())
    if shown < total:
        notes.append(f"{shown} of {total} kernels")
    image, _ = _montage(tiles)
    cell = min(0.45, 9 / max(image.shape))  # inches
    figure = _figure(max(4.5, 2.2 + cell * image.shape[1]), max(2.2, 1.5 + cell * image.shape[0]))
    ax = figure.subplots()
    _draw_montage(figure, ax, tiles, rows, columns, True)
    if max(image.shape) <= _NUMBERED:
        for i, j in np.argwhere(np.isfinite(image)):
            ink = "w" if abs(image[i, j]) > 0.6 * np.nanmax(np.abs(image)) else "k"
            ax.text(j, i, f"{image[i, j]:.2g}", ha="center", va="center", fontsize=7, color=ink)
    figure.suptitle(f"{layer}: weight {bound.matrix.weight.shape}")
    _caption(figure, ["red is positive, blue negative", *notes])
    return figure


def _kernels(bound: BoundNode) -> tuple[np.ndarray, tuple[str, str], list[str]]:
    """The weight as (rows, columns, *kernel), what rows and columns are, and what the reader should know."""
    pattern, weight = bound.pattern, bound.matrix.weight
    channels, *space = bound.node.input_shapes[0]
    ndim, words = len(space), ("output channel", "input channel")
    if weight.shape == pattern.shape:  # dense
        if space:
            return weight.reshape(-1, channels, *space), ("output unit", "input channel"), []
        return weight[None, None], ("", ""), ["rows are output units, columns input units"]
    if space and weight.ndim == 2 + 2 * ndim:  # a kernel for each output site
        sites = weight.reshape(*weight.shape[: 2 + ndim], -1)
        middle = sites.shape[-1] // 2
        return sites[..., middle], words, [f"the kernels of output site {middle} of {sites.shape[-1]}"]
    if weight.ndim == 2 + ndim:
        row, column = words[::-1] if isinstance(pattern, TransposedPattern) else words
        whole = weight.shape[1] == (bound.shape[0] if column == "output channel" else channels)
        return weight, (row, column if whole else f"{column} of the group"), []
    if space and weight.ndim == 1 + ndim and isinstance(pattern, WindowPattern):  # a connection table
        kernels = np.full((bound.shape[0], channels, *weight.shape[1:]), np.nan, weight.dtype)
        for out in range(len(kernels)):
            inputs, pair = pattern.channels.of(out)
            kernels[out, inputs] = weight[pair : pair + len(inputs)]
        return kernels, words, ["no kernel: not connected"]
    row_of_weights = weight.reshape(1, 1, -1)
    return row_of_weights[..., :_MAPS], ("", ""), [f"{_MAPS} of {weight.size} weights"] * (weight.size > _MAPS)


def _tiles(arrays: np.ndarray, lead: int) -> np.ndarray:
    """Arrays (*lead, *space) as images (*lead, height, width): a line is one row, a volume its slices side by side."""
    ndim = arrays.ndim - lead
    if ndim < 2:
        return arrays.reshape(*arrays.shape[:lead], 1, -1)
    if ndim == 2:
        return arrays
    *first, depth, high, wide = arrays.shape
    slices = np.full((*first, high, depth, wide + 1), np.nan)
    slices[..., :wide] = np.moveaxis(arrays, -3, -2)
    return slices.reshape(*first, high, -1)[..., :-1]


def _wrapped(tiles: np.ndarray, word: str) -> tuple[np.ndarray, Labels, Labels]:
    """Tiles (n, height, width) in a grid (rows, columns, height, width), with what to write beside and below it."""
    n, high, wide = tiles.shape
    across = n if n <= 4 else math.ceil(math.sqrt(n))
    grid = np.full((-(-n // across) * across, high, wide), np.nan)
    grid[:n] = tiles
    grid = grid.reshape(-1, across, high, wide)
    if n == 1:
        return grid, ("", [""]), ("", [""])
    if len(grid) == 1:
        return grid, ("", [""]), (word, [str(k) for k in range(n)])
    return grid, (word, [str(k * across) for k in range(len(grid))]), ("", [f"+{k}" for k in range(across)])


def _montage(tiles: np.ndarray) -> tuple[np.ndarray, int]:
    """Tiles (rows, columns, height, width) as one image, and the width of the gaps of NaN between them."""
    rows, columns, high, wide = tiles.shape
    gap = 1 + max(high, wide) // 11
    image = np.full((rows, high + gap, columns, wide + gap), np.nan)
    image[:, :high, :, :wide] = tiles.transpose(0, 2, 1, 3)
    return image.reshape(rows * (high + gap), columns * (wide + gap))[:-gap, :-gap], gap


def _draw_montage(figure: Figure, ax: Axes, tiles: np.ndarray, rows: Labels, columns: Labels, diverging: bool) -> None:
    """Draw tiles in a grid on one scale of colours: blue, 0, red; or 0 black and the largest value white."""
    from matplotlib import colormaps

    image, gap = _montage(tiles)
    most = float(np.nanmax(np.abs(image))) or 1.0
    cmap = colormaps["RdBu_r" if diverging else "gray"].with_extremes(bad=_GAP)
    picture = ax.imshow(image, cmap=cmap, vmin=-most if diverging else 0, vmax=most, interpolation="nearest")
    figure.colorbar(picture, cax=ax.inset_axes((1.02, 0, 0.025, 1)))
    high, wide = tiles.shape[2:]
    ax.set_yticks(np.arange(len(tiles)) * (high + gap) + (high - 1) / 2, rows[1])
    ax.set_xticks(np.arange(tiles.shape[1]) * (wide + gap) + (wide - 1) / 2, columns[1])
    ax.set(xlabel=columns[0], ylabel=rows[0])
    ax.tick_params(length=0)
    ax.spines[:].set_color(_GAP)


def draw_activations(network: Network, layer: str, x: Any) -> Figure:
    """Draw what a layer answers to one sample, beside the sample: a map for each channel.

    Parameters
    ----------
    network : Network
        With weights.
    layer : str
        Name of the node.
    x : array_like, (channels, *space), or dict of them by input name
        One sample.

    Returns
    -------
    matplotlib.figure.Figure
        Maps are images, in one dimension lines, in three their slices; vectors are bars. At most 64 maps.

    Raises
    ------
    ShapeError
        If the sample does not have the shape of the input.
    UnknownNameError
        If there is no such layer.
    SimulatorError
        If the network has no weights, or matplotlib is missing.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3)], rng=0)
    >>> [ax.get_title() for ax in draw_activations(net, "conv1", np.eye(8)[None]).axes[:2]]
    ['input (1, 8, 8)', 'conv1 (4, 6, 6)']
    """
    trace = _trace(network, layer, x)
    names = [*(name for name in trace.network.inputs if name != layer), layer]
    figure = _figure(2.0 + 3.2 * len(names), 4.2)
    axes = figure.subplots(1, len(names), squeeze=False, width_ratios=[1] * (len(names) - 1) + [1.6])[0]
    for ax, name in zip(axes, names, strict=True):
        sample = trace[name][0]
        ax.set_title(f"{name} {sample.shape}", fontsize=11)
        _draw_sample(figure, ax, sample)
    if len(sample) > _MAPS and sample.ndim > 1:
        _caption(figure, [f"{_MAPS} of {len(sample)} maps"])
    return figure


def _draw_sample(figure: Figure, ax: Axes, sample: np.ndarray) -> None:
    """Draw (channels, *space): bars, lines, a colour image, or a grid of maps."""
    channels, *space = sample.shape
    if not space:
        ax.vlines(np.arange(channels), 0, sample, color="tab:blue", linewidth=max(0.5, 160 / channels))
        ax.axhline(0, color="k", linewidth=0.8)
        ax.set(xlabel="unit", ylabel="value")
        _count(ax)
    elif len(space) == 1:
        step = 1.1 * float(np.ptp(sample)) or 1.0
        at = -step * np.arange(min(channels, _MAPS))  # one line below the other
        ax.hlines(at, 0, space[0] - 1, color="0.8", linewidth=0.8)
        ax.plot(sample[:_MAPS].T + at, marker="." if space[0] <= 64 else None)
        every = -(-len(at) // 16)
        ax.set_yticks(at[::every], [str(k) for k in range(0, len(at), every)])
        ax.set(xlabel="site", ylabel="channel (all on one scale)")
        _count(ax)
    elif channels == 3 and len(space) == 2 and sample.min() >= 0 and sample.max() <= 1:
        ax.imshow(np.moveaxis(sample, 0, -1))
        ax.set(xticks=[], yticks=[])
    else:
        grid, rows, columns = _wrapped(_tiles(sample[:_MAPS], 1), "channel")
        _draw_montage(figure, ax, grid, rows, columns, bool(sample.min() < 0))


def draw_curve(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw how training went: a panel for the loss and one for each metric.

    Parameters
    ----------
    history : sequence of dict
        One for each epoch: "number", "loss", "metrics" (dict) and "validation" (dict of the loss and the metrics, or
        empty).

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ShapeError
        If there is no epoch.
    SimulatorError
        If matplotlib is missing.

    Examples
    --------
    >>> history = [{"number": 1, "loss": 2.3, "metrics": {"accuracy": 0.1}, "validation": {}}]
    >>> [ax.get_ylabel() for ax in draw_curve(history).axes]
    ['loss', 'accuracy']
    """
    if not history:
        raise ShapeError("draw curve: expected at least one epoch, got none; train first")
    names = ["loss", *dict.fromkeys(name for epoch in history for name in epoch["metrics"])]
    figure = _figure(0.6 + 4.4 * len(names), 3.8)
    trained = [{"loss": epoch["loss"], **epoch["metrics"]} for epoch in history]
    validated = [epoch["validation"] for epoch in history]
    for ax, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for values, label, style in (
            (trained, "training, mean over the epoch", "o-"),
            (validated, "validation, after the epoch", "s--"),
        ):
            points = [(epoch["number"], v[name]) for epoch, v in zip(history, values, strict=True) if name in v]
            if points:
                ax.plot(*zip(*points, strict=True), style, markersize=4, label=label)
        ax.set(xlabel="epoch", ylabel=name, xlim=(history[0]["number"] - 0.5, history[-1]["number"] + 0.5))
        _count(ax)
        ax.grid(color="0.9")
        ax.legend(frameon=False)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a picture to a file, whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What a function of this module returned.
    path : path
        Ends in .png or .svg.

    Raises
    ------
    FileError
        If the name ends otherwise, or the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise FileError(f"save: expected a file that ends in .png or .svg, got {path.name!r}; choose one of them")
    write_atomically(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=150))
