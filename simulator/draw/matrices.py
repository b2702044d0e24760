"""Pictures of matrices and graphs: which cells are nonzero, and which of them share a weight."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from simulator.draw.canvas import MARK, ON_WHITE, add_caption, add_scale, new_figure, sample_trace, short
from simulator.draw.colours import FAINT, PALE, Colours, ink_on, weight_colours
from simulator.draw.density import Line, cell_counts
from simulator.errors import ShapeError, brief
from simulator.layers import MatrixLayer
from simulator.layers.base import Shape
from simulator.matrix import TiedMatrix
from simulator.network import Network
from simulator.patterns import Pattern

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WHOLE = 128  # rows and columns up to which a matrix is drawn whole, cell by cell


_PART, _LARGEST_PART = (64, 128), 512  # rows and columns of the part of a larger one


_APART = 80  # rows and columns up to which lines part the cells
NUMBERED = 20  # rows and columns up to which each cell says its weight


_BINS = 256  # of either side of a whole large matrix


_GRAPH_UNITS, _GRAPH_EDGES = 200, 2000


Places = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, columns and ties of connections


@dataclass(frozen=True, eq=False)
class View:
    """A pattern with its units in the order in which a picture shows them: their *places*."""

    pattern: Pattern
    name: str
    out_shape: Shape
    in_shape: Shape
    order: str = "C"
    weight: np.ndarray | None = None  # the value of each tie, where there are values
    what: str = "weights"  # what ties are: a layer at a sample has equal values that are no shared weights
    say_values: bool = False  # in cells, also where ties are weights

    def row(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Places of the columns, and ties, of the row at `place`."""
        cols, ties = self.pattern.row(int(_reordered(place, self.out_shape, self.order, "C")))
        return _reordered(cols, self.in_shape, "C", self.order), ties

    def first(self) -> tuple[int, int]:
        """Row and column of the first nonzero."""
        counts, rows, _ = self.counts
        full = np.flatnonzero(counts.any(axis=1))
        for place in range(full[0] * rows.size, self.pattern.shape[0]) if len(full) else ():
            cols, _ = self.row(place)
            if len(cols):
                return place, int(cols.min())
        return 0, 0

    def cells(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows and columns within a part, and ties, of its connections."""
        found = []
        for place in range(*rows):
            cols, ties = self.row(place)
            inside = (columns[0] <= cols) & (cols < columns[1])
            found.append((np.full(inside.sum(), place - rows[0]), cols[inside] - columns[0], ties[inside]))
        r, c, t = (np.concatenate(part) for part in zip(*found, strict=True))
        return r, c, t

    def number(self, tie: int) -> str:
        """What stands in a cell: which weight it is, or the value that is none."""
        return short(self.weight[tie]) if self.weight is not None and self.tells_values else str(tie)

    @property
    def tells_values(self) -> bool:
        """Whether cells say values, not which weight it is."""
        return self.weight is not None and (self.say_values or self.what != "weights")

    def colours(
        self, rows: np.ndarray, columns: np.ndarray, ties: np.ndarray, others: Places | None = None
    ) -> tuple[Colours, np.ndarray]:
        """The colours of connections of the matrix, and in the same way of others that are shown elsewhere.

        What joins the same two channels belongs together. Where colours are values, connections on one cell have the
        colour of their sum, which is the matrix's number, and the others each that of its own weight.
        """
        shown = len(rows)
        at = rows * self.pattern.shape[1] + columns
        if others is not None:
            rows, columns, ties = (np.concatenate(pair) for pair in zip((rows, columns, ties), others, strict=True))
        out_sites, in_sites = (max(1, math.prod(shape[1:])) for shape in (self.out_shape, self.in_shape))
        blocks = rows // out_sites * self.in_shape[0] + columns // in_sites
        values = None if self.weight is None else self.weight[ties].astype(float)
        if values is not None:
            cell = np.unique(at, return_inverse=True)[1]
            values[:shown] = np.bincount(cell, values[:shown])[cell]
        found = weight_colours(ties, blocks, values, self.what)
        return replace(found, of=found.of[:shown]), found.of[shown:]

    @cached_property
    def counts(self) -> tuple[np.ndarray, Line, Line]:
        """Nonzero cells in each of at most 256 x 256 blocks, and how rows and columns are cut into them."""
        lines = []
        for n, shape in zip(self.pattern.shape, (self.out_shape, self.in_shape), strict=True):
            swapped = self.order != "C" and len(shape) > 2
            places = _reordered(np.arange(math.prod(shape[1:])), shape, "C", self.order) if swapped else np.arange(1)
            lines.append(Line(n, max(1, -(-n // _BINS)), places))
        return cell_counts(self.pattern, *lines), lines[0], lines[1]


def _reordered(units: Any, shape: Shape, source: str, target: str) -> np.ndarray:
    """Numbers of units (channel, *space) counted in order `source`, counted in order `target`; channels stay."""
    units, space = np.asarray(units, np.intp), shape[1:]
    if source == target or len(space) < 2:
        return units
    channel, site = np.divmod(units, math.prod(space))
    at = np.unravel_index(site, space, order=source)  # type: ignore[call-overload]
    return channel * math.prod(space) + np.ravel_multi_index(at, space, order=target)  # type: ignore[call-overload]


def view_of(network: Network, layer: str, x: Any, order: str = "C") -> View:
    """The pattern of a layer; at a sample, if the layer depends on it."""
    bound = network.node(layer)
    shapes = bound.node.input_shapes
    if x is None or isinstance(bound.layer, MatrixLayer):
        name = repr(bound.matrix if network.has_weights else bound.pattern)
        weight = bound.matrix.weight.ravel() if network.has_weights else None
        return View(bound.pattern, f"{layer}: {name}", bound.shape, shapes[0], order, weight)
    trace = sample_trace(network, layer, x)
    affine = bound.affine_at(*(trace[name][0] for name in bound.node.inputs))
    if affine is None:
        raise ShapeError(
            f"draw {layer}: expected a layer that is piecewise linear, got {brief(bound.layer)}; choose another layer"
        )
    joined = scipy.sparse.hstack(affine[0], format="csr")
    values, ties = np.unique(joined.data, return_inverse=True)
    pattern = TiedMatrix.from_sparse(joined, ties).pattern
    in_shape = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    size = f"a matrix {joined.shape[0]} x {joined.shape[1]}, {joined.nnz} nonzero{'s'[: joined.nnz != 1]}"
    return View(pattern, f"{layer} at this sample: {size}", bound.shape, in_shape, order, values, "values")


def draw_matrix(
    network: Network,
    layer: str,
    x: Any = None,
    *,
    rows: tuple[int, int] | None = None,
    columns: tuple[int, int] | None = None,
    order: str = "C",
) -> Figure:
    """Draw the equivalent matrix of a layer; white cells have no connection.

    Up to 36 weights have a colour each, which eyes can tell apart: equal colours are equal weights. More are coloured
    by their values, and without values all alike; the caption says which. A matrix of more than 128 rows or columns
    gets two panels: how full it is where, and a part cell by cell.

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
    The whole matrix is never built: how many cells of each block are nonzero is worked out from the pattern.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 4, 4), [Conv(1, kernel=3)], rng=0)
    >>> draw_matrix(net, "conv1").get_suptitle()
    'conv1: TiedMatrix 4 x 16: 36 nonzeros share 9 weights'
    """
    if order not in ("C", "F"):
        raise ShapeError(
            f"draw order: expected 'C' or 'F', got {brief(order)}; choose row after row or column after column"
        )
    view = view_of(network, layer, x, order)
    n_out, n_in = view.pattern.shape
    given = rows is not None or columns is not None
    if not given and max(n_out, n_in) <= WHOLE:
        cell = min(0.36, 8 / max(n_out, n_in))  # inches
        figure = new_figure(max(6.0, 1.0 + cell * n_in), 1.5 + cell * n_out)
        notes, _ = draw_cells(figure, figure.subplots(), view, (0, n_out), (0, n_in))
    else:
        first = (0, 0) if given else view.first()
        rows = _part(rows, first[0], n_out, _PART[0], f"draw {layer} rows")
        columns = _part(columns, first[1], n_in, _PART[1], f"draw {layer} columns")
        figure = new_figure(13, 5.2)
        whole, part = figure.subplots(1, 2, width_ratios=(1, 2))
        notes = [_draw_density(whole, view, rows, columns), *draw_cells(figure, part, view, rows, columns)[0]]
        notes[1] = f"right: {notes[1]}"
        part.set_title(f"rows {rows[0]} to {rows[1] - 1}, columns {columns[0]} to {columns[1] - 1}", fontsize=10)
        part.ticklabel_format(style="plain", useOffset=False)
        part.spines[:].set(color=MARK, linewidth=1.5)
    figure.suptitle(view.name)
    add_caption(figure, notes)
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


def draw_cells(
    figure: Figure,
    ax: Axes,
    view: View,
    rows: tuple[int, int],
    columns: tuple[int, int],
    others: Places | None = None,
) -> tuple[list[str], np.ndarray]:
    """Colour each cell of a part by its weight.

    Returns what the reader should know, and the colours of the `others`.
    """
    from matplotlib.colors import to_rgb

    r, c, ties = view.cells(rows, columns)
    n_rows, n_columns = rows[1] - rows[0], columns[1] - columns[0]
    colours, of_others = view.colours(r + rows[0], c + columns[0], ties, others)
    cells, of, counts = np.unique(r * n_columns + c, return_inverse=True, return_counts=True)
    several = divmod(cells[counts > 1], n_columns)
    image = np.ones((n_rows, n_columns, 3))
    image[r, c] = colours.of
    if colours.scale is None:
        image[several] = to_rgb(PALE)  # no single weight
    mixed = "pale grey" if colours.scale is None else "in the colour of their sum"
    ax.imshow(image, extent=(columns[0] - 0.5, columns[1] - 0.5, rows[1] - 0.5, rows[0] - 0.5), interpolation="nearest")
    ax.set(xlabel="input unit", ylabel="output unit", anchor="N")
    if colours.scale is not None:
        add_scale(figure, ax, colours.scale)
    notes = [colours.note] * bool(colours.note) + ["white: no connection"]
    if max(n_rows, n_columns) <= _APART:
        ax.set_xticks(np.arange(*columns) + 0.5, minor=True)
        ax.set_yticks(np.arange(*rows) + 0.5, minor=True)
        ax.tick_params(which="minor", length=0)
        ax.grid(which="minor", color=FAINT, linewidth=0.5)
    if max(n_rows, n_columns) <= NUMBERED:
        ax.set(xticks=range(*columns), yticks=range(*rows))
        for k, (i, j) in enumerate(zip(*divmod(cells, n_columns), strict=True)):
            number = "+".join(view.number(tie) for tie in ties[of == k])
            at = j + columns[0], i + rows[0]
            size = min(8.0, 32 / len(number))  # points: a sum stays in its cell
            ax.text(*at, number, ha="center", va="center", fontsize=size, color=ink_on(image[i, j]))
        notes.append("numbers are the values" if view.tells_values else "numbers say which weight")
        notes += [f"a sum: several weights on one cell, {mixed}"] * bool(np.any(counts > 1))
    elif np.any(counts > 1):
        ax.plot(several[1] + columns[0], several[0] + rows[0], "o", color="w", markeredgecolor="k", markersize=3.5)
        notes.append(f"a dot: several weights on one cell, {mixed}")
    return notes + _draw_grid(ax, view, rows, columns), of_others


def _draw_grid(ax: Axes, view: View, rows: tuple[int, int], columns: tuple[int, int]) -> list[str]:
    """Draw lines between channels, and between the rows (in order F: the columns) of a map; returns what they are."""
    drawn = {}
    for line, shape, limits in ((ax.axhline, view.out_shape, rows), (ax.axvline, view.in_shape, columns)):
        run, name = (shape[-1], "rows") if view.order == "C" else (shape[min(1, len(shape) - 1)], "columns")
        inner = (run if len(shape) > 2 else 1, PALE, f"grey lines: {name} of a map")
        outer = (math.prod(shape[1:]), "k", "black lines: channels")
        for step, color, note in (inner, outer):
            for at in range(limits[0] // step * step + step, limits[1], step) if step > 1 else ():
                line(at - 0.5, color=color, linewidth=0.8)
                drawn[note] = True
    return list(drawn)


def _draw_density(ax: Axes, view: View, rows: tuple[int, int], columns: tuple[int, int]) -> str:
    """Show where the nonzeros of a large matrix stand, and mark a part; returns what black means."""
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import EngFormatter

    counts, tall, wide = view.counts
    density = counts / np.outer(tall.lengths(), wide.lengths())
    n_out, n_in = view.pattern.shape
    extent = (-0.5, wide.bins * wide.size - 0.5, tall.bins * tall.size - 0.5, -0.5)
    most = density.max() or 1
    ax.imshow(density, extent=extent, aspect="auto", cmap="Greys", vmin=0, vmax=most, interpolation="nearest")
    ax.set(xlim=(-0.5, n_in - 0.5), ylim=(n_out - 0.5, -0.5), xlabel="input unit", ylabel="output unit", anchor="N")
    ax.set_title("the whole matrix; red: the part on the right", fontsize=10)
    ax.set_box_aspect(min(1.3, max(0.4, n_out / n_in)))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(EngFormatter(sep=""))
    width, height = (max(b - a, 0.02 * n) for (a, b), n in ((columns, n_in), (rows, n_out)))
    corner = min(columns[0], n_in - width) - 0.5, min(rows[0], n_out - height) - 0.5
    ax.add_patch(Rectangle(corner, width, height, fill=False, color=MARK, linewidth=1.5, clip_on=False))
    return f"left: the density of each block; black is {100 * density.max():.4g}%"


def draw_graph(network: Network, layer: str, x: Any = None) -> Figure:
    """Draw the connections of a small layer: input units left, output units right, colours as in `draw_matrix`.

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
    view = view_of(network, layer, x)
    pattern = view.pattern
    if sum(pattern.shape) > _GRAPH_UNITS or pattern.nnz > _GRAPH_EDGES:
        raise ShapeError(
            f"draw {layer}: expected at most {_GRAPH_UNITS} units and {_GRAPH_EDGES} connections, got "
            f"{sum(pattern.shape)} and {pattern.nnz}; draw the matrix, or the layer on a smaller input"
        )
    figure = new_figure(6.5, 1.5 + min(12.0, 0.3 * max(pattern.shape)))
    from matplotlib.collections import LineCollection

    ax = figure.subplots(subplot_kw={"gid": ON_WHITE})
    left = _draw_units(ax, 0, view.in_shape, "x")
    right = _draw_units(ax, 1, view.out_shape, "y")
    rows, cols, ties = pattern.triplets()
    edges = np.stack([0 * cols, left[cols], 0 * rows + 1, right[rows]], axis=1).reshape(-1, 2, 2)  # (edge, end, xy)
    colours, _ = view.colours(rows, cols, ties)
    first = np.unique(np.stack([rows, cols]), axis=1, return_index=True)[1]
    again = np.setdiff1d(np.arange(len(rows)), first)
    for part, style in ((first, "-"), (again, (0, (4, 4)))):
        width = 1.6 if pattern.nnz < 300 else 0.7
        lines = LineCollection(list(edges[part]), colors=colours.of[part], linestyles=style, linewidths=width)
        ax.add_collection(lines)
    used, first = np.unique(ties, return_index=True)
    if colours.scale is not None:
        add_scale(figure, ax, colours.scale)
    elif len(used) <= 12 and view.what == "weights":
        for tie, colour in zip(used, colours.of[first], strict=True):
            ax.plot([], [], color=colour, linewidth=2.5, label=f"$w_{{{tie}}}$")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    ax.set(xlim=(-0.15, 1.15), ylim=(1, 0), yticks=[])
    ax.set_xticks([0, 1], [f"input {view.in_shape}", f"output {view.out_shape}"])
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    figure.suptitle(view.name, fontsize=11)
    repeated = ["dashed: one more weight between two units"] if len(again) else []
    add_caption(figure, [colours.note, *repeated])
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
