"""One position of the window, seen four ways at once: kernel and input, matrix and row, output, and the sum itself.

With this module one can

- draw one unit as a window on its input and as a row of the matrix (`draw_window`);
- walk the window over its input, one picture for each position (`walk_window`).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.draw.canvas import GAP, MARK, add_caption, new_figure, outline, short, whole_numbers
from simulator.draw.colours import FAINT, ink_on
from simulator.draw.maps import montage, tiled, wrapped
from simulator.draw.matrices import NUMBERED, WHOLE, Places, View, draw_cells, view_of
from simulator.errors import ShapeError, brief
from simulator.lab.neighbours import Incoming, incoming
from simulator.lab.sample import run_sample
from simulator.layers import MatrixLayer, MaxPool
from simulator.layers.base import Layer
from simulator.network import Network, Trace
from simulator.patterns import Pattern, TransposedPattern, WindowPattern
from simulator.units import Units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_window", "walk_window"]

_CHANNELS = 6  # of the input that are shown
_WIDTH = 13.0  # inches
_SMALLEST = 4.0  # points of a number in a cell
_PRODUCTS = 9  # that the formula writes out
_ROWS, _COLUMNS = 32, 256  # of the part of a large matrix


def draw_window(network: Network, unit: Any, x: Any, *, values: bool | None = None) -> Figure:
    """Draw one unit as a window on its input and as a row of the matrix: the same weights in the same colours.

    Parameters
    ----------
    network : Network
        With weights.
    unit : str, Units, or (name, number or position)
        A single unit of a layer with one input, such as "conv1[0, 3, 4]".
    x : array_like, (channels, *space), or dict of them by input name, or Trace
        One sample.
    values : bool, optional
        Whether cells say their numbers. Default: where there is room.

    Returns
    -------
    matplotlib.figure.Figure
        The kernel, the input with the window in red, the output with the unit in red, the matrix with its row in red,
        and below the sum with its numbers. Of more than 6 input channels those with the largest products are shown; of
        a large matrix the rows around that of the unit, and the columns of the first input channel shown.

    Raises
    ------
    ShapeError
        If there is no such unit, it has no single input or more than two axes of space, or the layer is no matrix at
        this sample.
    UnknownNameError
        If there is no such node.
    SimulatorError
        If the network has no weights, or matplotlib is missing.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 4), [Conv(1, kernel=3, bias=False)], rng=0, dtype="float64")
    >>> net = net.with_params({"conv1.weight": [[[1, 10, 100]]]})
    >>> figure = draw_window(net, "conv1[0, 1]", [[1, 2, 3, 4]])
    >>> [ax.get_title() for ax in figure.axes[:3]]
    ['kernel of conv1[0]', 'input (1, 4)', 'conv1[0]']
    >>> " ".join(text.get_text().strip() for text in figure.axes[-1].texts)
    'conv1[0, 1] = 1 × 2 + 10 × 3 + 100 × 4 = 432'
    """
    return _drawn(_Slide.of(network, unit, x), values)


def walk_window(
    network: Network, unit: Any, x: Any, *, values: bool | None = None, step: str = "all"
) -> Iterator[Figure]:
    """The pictures of `draw_window` for every position of the window, one after the other.

    Parameters
    ----------
    network, unit, x, values
        As for `draw_window`.
    step : {"all", "row"}, default "all"
        All positions in the unit's channel, or those in its row of the map; all units of a vector.

    Yields
    ------
    matplotlib.figure.Figure

    Raises
    ------
    ShapeError
        As for `draw_window`, or for another step.

    Examples
    --------
    >>> from simulator.layers import AveragePool
    >>> net = Network.sequential((1, 4, 4), [AveragePool(2)], rng=0)
    >>> len(list(walk_window(net, "averagepool1[0, 0, 0]", np.eye(4)[None])))
    4
    """
    for place in walked(Units.of(network.nodes, unit), step):
        x = x if isinstance(x, Trace) else run_sample(network, place.node, x, f"draw {place}")
        yield draw_window(network, place, x, values=values)


def walked(unit: Units, step: str) -> list[Units]:
    """The units that a walk visits."""
    if step not in ("all", "row"):
        raise ShapeError(f"draw step: expected 'all' or 'row', got {brief(step)}; choose one of them")
    at = unit.position
    kept = at[:-1] if step == "row" else at[: len(at) > 1]
    return [Units(unit.node, (*kept, *rest), unit.shape) for rest in np.ndindex(*unit.shape[len(kept) :])]


@dataclass(frozen=True, eq=False)
class _Slide:
    """What there is to draw: a unit, what it reads, and how its layer looks as a matrix."""

    unit: Units
    read: Incoming
    view: View
    x: np.ndarray  # the layer's input, (channels, *space)
    y: np.ndarray  # the map of the unit's channel, (*space); the whole output, if it is a vector
    pattern: Pattern | None  # of what the unit may read
    weight: np.ndarray | None  # where the layer trains it
    layer: Layer
    source: str  # what the input is called

    @classmethod
    def of(cls, network: Network, unit: Any, x: Any) -> _Slide:
        units = Units.of(network.nodes, unit)
        who, node = f"draw {units}", network.nodes[units.node]
        _ = units.number
        if len(node.inputs) != 1:
            raise ShapeError(
                f"{who}: expected a unit of a layer with one input, got {len(node.inputs)}; choose another layer"
            )
        if max(len(node.shape), len(node.input_shapes[0])) > 3:
            raise ShapeError(f"{who}: expected at most two axes of space, got {node.shape}; choose another layer")
        trace = run_sample(network, node.name, x, who)
        bound = network.node(node.name)
        read = incoming(network, units, trace)
        view = replace(view_of(network, node.name, trace), say_values=True)
        weight = bound.params.get("weight") if node.pattern is not None else None
        x, y = trace[node.inputs[0]][0], trace[node.name][0]
        pattern = node.pattern if node.pattern is not None else node.support[0]
        return cls(
            units, read, view, x, y[units.position[0]] if y.ndim > 1 else y, pattern, weight, node.layer, node.inputs[0]
        )

    @property
    def windowed(self) -> bool:
        """Whether a window slides over the input."""
        dense = self.weight is not None and self.pattern is not None and self.weight.shape == self.pattern.shape
        return isinstance(self.pattern, (WindowPattern, TransposedPattern)) and self.x.ndim > 1 and not dense

    @property
    def columns(self) -> np.ndarray:
        """Input units that are read, one for each connection that is no padding."""
        return np.array([c.source.number for c in self.read.connections if c.source is not None], np.intp)

    @property
    def candidates(self) -> np.ndarray:
        """Input units that the unit reads for some sample."""
        return self.columns if self.pattern is None else np.sort(self.pattern.row(self.unit.number)[0])

    def shown_channels(self) -> list[int]:
        """Input channels to show: all that are read, or those with the largest products."""
        sites = math.prod(self.x.shape[1:])
        size = np.zeros(len(self.x))
        for c in self.read.connections:
            if c.source is not None:
                size[c.source.number // sites] += 1e-300 + abs(c.product or 0)
        if self.x.ndim == 1:
            return list(range(len(self.x)))
        order = [int(k) for k in np.argsort(-size, kind="stable") if size[k]][:_CHANNELS]
        return sorted(order) or [0]

    def windows(self) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
        """Which sites of the channels shown, with their padding, are read; and the padding, (begin, end) per axis."""
        shown, space = self.shown_channels(), self.x.shape[1:]
        mask = np.zeros(self.x.shape, bool)
        mask.reshape(-1)[self.columns] = True
        read = mask[shown]
        origin = self.pattern.origin if isinstance(self.pattern, WindowPattern) else None
        if origin is None or origin[0].mode != "constant":
            return read, ((0, 0),) * len(space)
        window = origin[0]
        border = window.padded_shape(space)
        one = np.zeros([n + begin + end for n, (begin, end) in zip(space, border, strict=True)], bool)
        taps = zip(self.unit.position[1:], *window.sizes(space), strict=True)
        one[np.ix_(*(at * stride + apart * np.arange(k) for at, k, stride, apart in taps))] = True
        return np.stack([one & (of.any() or not len(self.columns)) for of in read]), border

    def kernel(self) -> tuple[np.ndarray, np.ndarray]:
        """The weights, (channels shown, *taps), NaN where there is none; and which connection each is, -1 for none."""
        read = [c for c in self.read.connections if c.source is not None]
        sources = np.array([c.source.position for c in read if c.source is not None], np.intp).reshape(-1, self.x.ndim)
        if self.x.ndim == 1:
            values, at = np.full(self.x.shape, np.nan), np.full(self.x.shape, -1)
            values[sources[:, 0]], at[sources[:, 0]] = [c.value for c in read], np.arange(len(read))
            return values, at
        shown, taps = self.shown_channels(), self.taps
        if taps is None or self.weight is None:  # the window is what the unit may read
            may = np.array(np.unravel_index(self.candidates, self.x.shape)).T
            first = may[:, 1:].min(axis=0, initial=max(self.x.shape))
            space = tuple(may[:, 1:].max(axis=0, initial=0) + 1 - first) if len(may) else (1,) * len(first)
        else:
            may, first, space = sources[:0], np.zeros(0), self.weight.shape[taps]
        values, at = np.full((len(shown), *space), np.nan), np.full((len(shown), *space), -1)
        for channel, *site in may:
            if channel in shown:
                values[(shown.index(channel), *(site - first))] = 0  # what it does not choose at this sample
        for k, (c, (channel, *site)) in enumerate(zip(read, sources, strict=True)):
            if channel not in shown:
                continue
            place = shown.index(channel)
            if taps is not None and self.weight is not None and c.weight is not None:
                tap = c.weight.index[taps]
                values[place] = self.weight[self._kernel_of(c.weight.index)]  # and what this unit does not use
            else:
                tap = tuple(int(a - b) for a, b in zip(site, first, strict=True))
            values[(place, *tap)], at[(place, *tap)] = c.value, k
        return values, at

    def coloured(self) -> Places:
        """What has a colour beside the matrix: what the unit reads, and then the rest of the channel's kernel.

        With the whole kernel a weight has the same colour at every position of the window.
        """
        columns, ties = self.view.row(self.unit.number)
        if self.taps is not None and self.weight is not None:
            numbers = np.arange(self.weight.size).reshape(self.weight.shape)
            index = np.array(np.unravel_index(ties, self.weight.shape))
            whole = [numbers[self._kernel_of(at)].ravel() for at in index.T]
            columns = np.concatenate([columns, *(np.full(w.size, c) for w, c in zip(whole, columns, strict=True))])
            ties = np.concatenate([ties, *whole])
        return np.full(len(ties), self.unit.number), columns, ties

    def _kernel_of(self, index: Sequence[int]) -> tuple[Any, ...]:
        """Where the kernel stands in the weight in which a weight is a tap."""
        at = list[Any](index)
        if self.taps is not None:
            at[self.taps] = [slice(None)] * (self.x.ndim - 1)
        return tuple(at)

    @property
    def taps(self) -> slice | None:
        """Which axes of the weight are those of a kernel; None if none are."""
        space = len(self.x.shape) - 1
        if not self.windowed or self.weight is None:
            return None
        first = {1 + space: 1, 2 + space: 2, 2 + 2 * space: 2}.get(self.weight.ndim)
        return None if first is None else slice(first, first + space)


def _drawn(slide: _Slide, values: bool | None) -> Figure:
    figure = new_figure(_WIDTH, 7.3)
    unit, shown = slide.unit, slide.shown_channels()
    rows, columns = _part(slide, shown)
    beside = rows[1] - rows[0] > 0.4 * (columns[1] - columns[0])  # a matrix as high as wide stands at the right
    room = 130 if beside else 230  # points of a panel
    if beside:
        grid = figure.add_gridspec(3, 3, height_ratios=(1, 1, 0.25), width_ratios=(1, 1.2, 2))
        places = grid[0, 0], grid[:2, 1], grid[1, 0], grid[:2, 2]
    else:
        grid = figure.add_gridspec(3, 3, height_ratios=(1.25, 1, 0.3))
        places = grid[0, 0], grid[0, 1], grid[0, 2], grid[1, :]
    kernel_ax, input_ax, output_ax, matrix_ax, formula_ax = map(figure.add_subplot, (*places, grid[2, :]))
    notes, colours = draw_cells(figure, matrix_ax, slide.view, rows, columns, slide.coloured())
    whole = (rows, columns) == tuple((0, n) for n in slide.view.pattern.shape)
    name = slide.view.name + ("" if whole else "; the part around this row")
    inside = int(np.sum((columns[0] <= slide.columns) & (slide.columns < columns[1])))
    if inside < len(slide.columns):
        name += f", {inside} of its {len(slide.columns)} connections"
    matrix_ax.set_title(textwrap.fill(name, 50 if beside else 150), fontsize=10)
    for axis in (matrix_ax.xaxis, matrix_ax.yaxis):
        whole_numbers(axis)
    _frame(matrix_ax, columns[0] - 0.5, unit.number - 0.5, columns[1] - columns[0], 1)
    numbers, at = slide.kernel()
    _draw_kernel(kernel_ax, numbers, at, colours, room, values)
    fixed = isinstance(slide.layer, MatrixLayer)
    chosen = "" if fixed else ", at this sample"
    kernel_ax.set_title(
        f"{'kernel' if slide.windowed else 'weights'} of {unit.node}[{unit.position[0]}]{chosen}", fontsize=10
    )
    _draw_input(input_ax, slide, shown, room, values)
    one = slide.x.ndim > 1 and len(shown) == 1 < len(slide.x)
    input_ax.set_title(f"{slide.source}[{shown[0]}]" if one else f"{slide.source} {slide.x.shape}", fontsize=10)
    _draw_output(output_ax, slide, room, values)
    output_ax.set_title(
        f"{unit.node}[{unit.position[0]}]" if len(unit.shape) > 1 else f"{unit.node} {unit.shape}", fontsize=10
    )
    _write_formula(formula_ax, slide, colours)
    if slide.x.ndim > 1 and len(shown) < len({c.source.position[0] for c in slide.read.connections if c.source}):
        notes.append(f"{len(shown)} of {len(slide.x)} input channels: those with the largest products")
    what = "a window on the input" if slide.windowed else "what a unit reads"
    figure.suptitle(f"{unit}: {what} is a row of the matrix")
    if ((at < 0) & np.isfinite(numbers)).any():
        notes.append(f"pale: {'weights' if fixed else 'inputs'} that this unit does not {'use' if fixed else 'choose'}")
    add_caption(figure, ["red: this unit, its window, its row", *notes])
    return figure


def _part(slide: _Slide, shown: list[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of the matrix to show."""
    n_rows, n_columns = slide.view.pattern.shape
    number = slide.unit.number
    if n_rows <= _ROWS:
        rows = 0, n_rows
    else:  # whole lines of the unit's own map
        sites, line = max(1, math.prod(slide.unit.shape[1:])), slide.unit.shape[-1]
        start, stop = (number // sites * sites, (number // sites + 1) * sites) if sites > 1 else (0, n_rows)
        size = line * max(1, _ROWS // line) if line <= _ROWS else _ROWS
        first = start + (number - start) // size * size
        rows = first, min(stop, first + size)
    if n_columns <= WHOLE:
        return rows, (0, n_columns)
    sites = max(1, math.prod(slide.x.shape[1:]))
    channel = shown[0] if slide.x.ndim > 1 else 0
    sites = sites if slide.x.ndim > 1 else n_columns
    cols = np.unique(np.concatenate([slide.view.row(row)[0] for row in range(*rows)]))
    cols = cols[cols // sites == channel]
    own = slide.columns[slide.columns // sites == channel]
    if not len(own):
        return rows, (0, min(n_columns, _COLUMNS))
    low, high = int(cols.min()), int(cols.max()) + 1
    if high - low > _COLUMNS:
        low = max(low, min(int(own.min()), high - _COLUMNS))
        high = min(high, low + _COLUMNS)
    return rows, (low, high)


def _draw_kernel(
    ax: Axes, numbers: np.ndarray, at: np.ndarray, colours: np.ndarray, room: float, values: bool | None
) -> None:
    tiles, where = _tiles(numbers), _tiles(at.astype(float))
    image = np.ones((*tiles.shape, 3))
    image[np.isfinite(tiles)] = _rgb(FAINT)
    used = np.isfinite(where) & (where >= 0)
    image[used] = colours[where[used].astype(int)]
    _show(ax, image, tiles, room, values)


def _draw_input(ax: Axes, slide: _Slide, shown: list[int], room: float, values: bool | None) -> None:
    if slide.x.ndim == 1:
        read = np.zeros(len(slide.x), bool)
        read[slide.columns] = True
        _show(ax, _grey(slide.x[None]), slide.x[None], room, values)
        outline(ax, read[None], 2)
        return
    masks, border = slide.windows()
    padded = np.pad(slide.x[shown], ((0, 0), *border), constant_values=np.nan)
    tiles = _tiles(padded)
    on_padding = np.pad(np.zeros(slide.x[shown].shape, bool), ((0, 0), *border), constant_values=True)
    image = _grey(tiles)
    image[_tiles(on_padding.astype(float)) == 1] = _rgb(GAP)
    _show(ax, image, tiles, room, values)
    outline(ax, _tiles(masks.astype(float)) == 1, 2)


def _draw_output(ax: Axes, slide: _Slide, room: float, values: bool | None) -> None:
    y = slide.y[None] if slide.y.ndim == 1 else slide.y
    _show(ax, _grey(y), y, room, values)
    *above, column = slide.unit.position[-slide.y.ndim :]
    row = above[0] if above else 0
    _frame(ax, column - 0.5, row - 0.5, 1, 1)


def _tiles(arrays: np.ndarray) -> np.ndarray:
    """(channels, *space) as one image, channels apart by NaN; a vector as a line."""
    if arrays.ndim == 1:
        return arrays[None]
    return montage(wrapped(tiled(arrays, 1), "")[0])[0]


def _rgb(colour: str) -> np.ndarray:
    from matplotlib.colors import to_rgb

    return np.array(to_rgb(colour))


def _grey(values: np.ndarray) -> np.ndarray:
    """Values as greys, the least black and the largest white; no value is white."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    grey = (np.nan_to_num(values, nan=high, posinf=high, neginf=low) - low) / ((high - low) or 1.0)
    return np.repeat(np.where(np.isfinite(values), grey, 1.0)[..., None], 3, axis=-1)


def _show(ax: Axes, image: np.ndarray, numbers: np.ndarray, room: float, values: bool | None) -> None:
    """An image of square cells, with their numbers where there is room."""
    line = image.shape[0] == 1 and image.shape[1] > NUMBERED
    ax.imshow(image, interpolation="nearest", aspect="auto" if line else "equal")
    ax.set(xticks=[], yticks=[], anchor="C", box_aspect=0.12 if line else None)
    ax.spines[:].set_color(GAP)
    longest = max(image.shape[:2])
    if values or (values is None and longest <= NUMBERED):
        texts = {(i, j): short(numbers[i, j]) for i, j in np.argwhere(np.isfinite(numbers))}
        letters = max(map(len, texts.values()), default=1)
        size = min(10.0, room / longest / (0.64 * letters))  # points: a cell holds the longest number
        for (i, j), text in texts.items() if values or size >= _SMALLEST else ():
            ax.text(j, i, text, ha="center", va="center", fontsize=size, color=ink_on(image[i, j]))


def _frame(ax: Axes, x: float, y: float, width: float, height: float) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((x, y), width, height, fill=False, color=MARK, linewidth=2, clip_on=False, zorder=5))


def _write_formula(ax: Axes, slide: _Slide, colours: np.ndarray) -> None:
    """The sum with its numbers, each weight on its colour."""
    from matplotlib.transforms import blended_transform_factory

    ax.axis("off")
    across_figure = blended_transform_factory(ax.figure.transFigure, ax.transAxes)
    tokens = _tokens(slide, colours)
    letters = sum(len(word) + 1 for word, _ in _words(tokens))
    size = 10.0
    across = int(_WIDTH * 72 / (0.605 * size)) - 2
    line, place = 0, 0 if letters > across else (across - letters) // 2
    for text, colour in _words(tokens):
        if place + len(text) > across and place > 8:
            line, place = line + 1, 8
        box = None if colour is None else {"facecolor": colour, "edgecolor": "none", "pad": 1.5}
        ink = "k" if colour is None else ink_on(colour)
        at = (place + 1) / (across + 2), 0.95 - 0.42 * line
        ax.text(*at, text, family="monospace", fontsize=size, color=ink, bbox=box, va="top", transform=across_figure)
        place += len(text) + 1


def _words(tokens: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Word by word: letters are rounded to whole pixels, so that long texts would end elsewhere than is reckoned."""
    for text, colour in tokens:
        yield from ((word, colour) for word in text.split())


def _tokens(slide: _Slide, colours: np.ndarray) -> list[tuple[str, Any]]:
    """The sum in pieces, with the colour of those that are weights."""
    read = [c for c in slide.read.connections if c.source is not None]
    start = f"{slide.unit} = "
    if isinstance(slide.layer, MaxPool):
        start += f"max({', '.join(map(short, slide.x.ravel()[slide.candidates]))}) = "
    chosen = sorted(sorted(range(len(read)), key=lambda k: -abs(read[k].product or 0))[:_PRODUCTS])
    terms: list[list[tuple[str, Any]]] = [
        [(short(read[k].value or 0.0), colours[k]), (f" × {short(read[k].input or 0.0)}", None)] for k in chosen
    ]
    rest = [c.product or 0.0 for k, c in enumerate(read) if k not in set(chosen)]
    padding = [c.product or 0.0 for c in slide.read.connections if c.source is None]
    for products, what in ((rest, "more products"), (padding, "on padding")):
        if products:
            terms.append([(f"{short(math.fsum(products))} ({len(products)} {what})", None)])
    if slide.read.bias is not None:
        terms.append([(f"{short(slide.read.bias.product or 0.0)} (bias)", None)])
    if not terms:
        return [(f"{start}{short(slide.read.value)}: it reads nothing at this sample", None)]
    sums = [token for term in terms for token in [(" + ", None), *term]][1:]
    return [(start, None), *sums, (f" = {short(slide.read.value)}", None)]
