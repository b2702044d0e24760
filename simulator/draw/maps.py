"""Pictures of kernels, feature maps and training curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.draw.canvas import GAP, Labels, add_caption, add_scale, new_figure, sample_trace, short, whole_numbers
from simulator.draw.matrices import NUMBERED
from simulator.errors import ShapeError
from simulator.network import BoundNode, Network
from simulator.patterns import TransposedPattern, WindowPattern

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAPS = 64


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
        tiles, rows, columns = wrapped(tiled(kernels[:_MAPS, 0], 1), words[0])
    else:
        tiles = tiled(kernels[:16, :8], 2)
        rows, columns = ((word, list(map(str, range(n)))) for word, n in zip(words, tiles.shape[:2], strict=True))
    shown = int(np.isfinite(tiles).any(axis=(2, 3)).sum())
    if shown < total:
        notes.append(f"{shown} of {total} kernels")
    image, _ = montage(tiles)
    cell = min(0.45, 9 / max(image.shape))  # inches
    figure = new_figure(max(4.5, 2.2 + cell * image.shape[1]), max(2.2, 1.5 + cell * image.shape[0]))
    ax = figure.subplots()
    draw_montage(figure, ax, tiles, rows, columns, True)
    if max(image.shape) <= NUMBERED:
        write_numbers(ax, image)
    figure.suptitle(f"{layer}: weight {bound.matrix.weight.shape}")
    add_caption(figure, ["red is positive, blue negative", *notes])
    return figure


def write_numbers(ax: Axes, image: np.ndarray) -> None:
    """Write the values of an image from blue over white to red into its cells."""
    for i, j in np.argwhere(np.isfinite(image)):
        ink = "w" if abs(image[i, j]) > 0.6 * ax.images[0].get_clim()[1] else "k"
        ax.text(j, i, short(image[i, j]), ha="center", va="center", fontsize=7, color=ink)


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


def tiled(arrays: np.ndarray, lead: int) -> np.ndarray:
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


def wrapped(tiles: np.ndarray, word: str) -> tuple[np.ndarray, Labels, Labels]:
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
    starts = range(0, n, across)
    return grid, (word, [f"{k}–{min(k + across, n) - 1}" for k in starts]), ("", [""] * across)


def montage(tiles: np.ndarray) -> tuple[np.ndarray, int]:
    """Tiles (rows, columns, height, width) as one image, and the width of the gaps of NaN between them."""
    rows, columns, high, wide = tiles.shape
    gap = 1 + max(high, wide) // 11
    image = np.full((rows, high + gap, columns, wide + gap), np.nan)
    image[:, :high, :, :wide] = tiles.transpose(0, 2, 1, 3)
    return image.reshape(rows * (high + gap), columns * (wide + gap))[:-gap, :-gap], gap


def draw_montage(figure: Figure, ax: Axes, tiles: np.ndarray, rows: Labels, columns: Labels, diverging: bool) -> None:
    """Draw tiles in a grid on one scale of colours: blue, 0, red; or 0 black and the largest value white."""
    from matplotlib import colormaps

    image, gap = montage(tiles)
    most = float(np.nanmax(np.abs(image))) or 1.0
    cmap = colormaps["RdBu_r" if diverging else "gray"].with_extremes(bad=GAP)
    picture = ax.imshow(image, cmap=cmap, vmin=-most if diverging else 0, vmax=most, interpolation="nearest")
    add_scale(figure, ax, picture)
    high, wide = tiles.shape[2:]
    ax.set_yticks(np.arange(len(tiles)) * (high + gap) + (high - 1) / 2, rows[1])
    ax.set_xticks(np.arange(tiles.shape[1]) * (wide + gap) + (wide - 1) / 2, columns[1])
    ax.set(xlabel=columns[0], ylabel=rows[0])
    ax.tick_params(length=0)
    ax.spines[:].set_color(GAP)


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
    trace = sample_trace(network, layer, x)
    names = [*(name for name in network.subnetwork(layer).inputs if name != layer), layer]
    figure = new_figure(2.0 + 3.2 * len(names), 4.2)
    axes = figure.subplots(1, len(names), squeeze=False, width_ratios=[1] * (len(names) - 1) + [1.6])[0]
    for ax, name in zip(axes, names, strict=True):
        sample = trace[name][0]
        ax.set_title(f"{name} {sample.shape}", fontsize=11)
        draw_sample(figure, ax, sample)
    if len(sample) > _MAPS and sample.ndim > 1:
        add_caption(figure, [f"{_MAPS} of {len(sample)} maps"])
    return figure


def draw_sample(figure: Figure, ax: Axes, sample: np.ndarray) -> None:
    """Draw (channels, *space): bars, lines, a colour image, or a grid of maps."""
    channels, *space = sample.shape
    if not space:
        ax.vlines(np.arange(channels), 0, sample, color="tab:blue", linewidth=max(0.5, 160 / channels))
        ax.axhline(0, color="k", linewidth=0.8)
        ax.set(xlabel="unit", ylabel="value")
        whole_numbers(ax.xaxis)
    elif len(space) == 1:
        step = 1.1 * float(np.ptp(sample)) or 1.0
        at = -step * np.arange(min(channels, _MAPS))  # one line below the other
        apart = f"channel (from line to line: {step:.3g})"
        ax.hlines(at, 0, space[0] - 1, color="0.8", linewidth=0.8)
        ax.plot(sample[:_MAPS].T + at, marker="." if space[0] <= 64 else None)
        if channels > 1:
            every = -(-len(at) // 16)
            ax.set_yticks(at[::every], [str(k) for k in range(0, len(at), every)])
        ax.set(xlabel="site", ylabel=apart if channels > 1 else "value")
        whole_numbers(ax.xaxis)
    elif channels == 3 and len(space) == 2 and sample.min() >= 0 and sample.max() <= 1:
        ax.imshow(np.moveaxis(sample, 0, -1))
        ax.set(xticks=[], yticks=[])
    else:
        grid, rows, columns = wrapped(tiled(sample[:_MAPS], 1), "channel")
        draw_montage(figure, ax, grid, rows, columns, bool(sample.min() < 0))


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
    figure = new_figure(0.6 + 4.4 * len(names), 3.8)
    trained = [{"loss": epoch["loss"], **epoch["metrics"]} for epoch in history]
    validated = [epoch["validation"] for epoch in history]
    for ax, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for values, label, style in (
            (trained, "training, mean over the epoch", "o-"),
            (validated, "test, after the epoch", "s--"),
        ):
            points = [(epoch["number"], v[name]) for epoch, v in zip(history, values, strict=True) if name in v]
            if points:
                ax.plot(*zip(*points, strict=True), style, markersize=4, label=label)
        ax.set(xlabel="epoch", ylabel=name, xlim=(history[0]["number"] - 0.5, history[-1]["number"] + 0.5))
        whole_numbers(ax.xaxis)
        ax.grid(color="0.9")
        ax.legend(frameon=False)
    return figure
