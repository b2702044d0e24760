"""Pictures of units: what they add up, what a network is without each of them, and what they respond to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.draw.canvas import MARK, add_caption, new_figure, whole_numbers
from simulator.draw.maps import draw_montage, draw_sample, montage, tiled, wrapped, write_numbers
from simulator.draw.matrices import NUMBERED
from simulator.lab.ablations import Ablation
from simulator.lab.neighbours import incoming
from simulator.lab.responses import Preferred, Responses
from simulator.network import Network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAPS, _ACROSS = 64, 5


def draw_products(network: Network, unit: Any, x: Any) -> Figure:
    """Draw what each connection adds to a unit for one sample, where its source stands.

    Parameters
    ----------
    network : Network
        With weights.
    unit : str, Units, or (name, number or position)
        A single unit, such as "conv2[3, 4, 5]".
    x : array_like, (channels, *space), or dict of them by input name, or Trace
        One sample.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each node that is read: maps are cut to what is read, at most 64 of them; vectors are bars. Red adds
        to the value, blue takes from it. The caption holds the sum, with what stands nowhere: the bias, padding.

    Raises
    ------
    ShapeError
        As `simulator.lab.incoming` does.
    SimulatorError
        If the network has no weights, or matplotlib is missing.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3)], rng=0)
    >>> figure = draw_products(net, "conv1[2, 0, 5]", np.eye(8)[None])
    >>> figure.axes[0].get_title()
    'input[0:1, 0:3, 5:8]'
    """
    found = incoming(network, unit, x)
    by_node: dict[str, np.ndarray] = {}
    for c in found.connections:
        if c.source is not None:
            sums = by_node.setdefault(c.source.node, np.full(network.nodes[c.source.node].shape, np.nan))
            sums[c.source.position] = np.nan_to_num(sums[c.source.position]) + (c.product or 0.0)
    notes = [found.equation, "each cell: weight × input"]
    boxes = {name: _box(sums) for name, sums in by_node.items()}
    parts = {name: by_node[name][tuple(slice(*span) for span in box)] for name, box in boxes.items()}
    grids = {name: wrapped(tiled(part[:_MAPS], 1), "channel") for name, part in parts.items() if part.ndim > 1}
    images = {name: montage(grid)[0] for name, (grid, *_) in grids.items()}
    large = {name: 0.42 * max(image.shape) for name, image in images.items() if max(image.shape) <= NUMBERED}
    room = max([4.4, *large.values()])  # inches of a panel, in which numbers have room
    high = max((room * image.shape[0] / image.shape[1] for image in images.values()), default=3.0)
    figure = new_figure(2.0 + room * max(1, len(by_node)), 1.6 + min(high, 8.0))
    axes = figure.subplots(1, max(1, len(by_node)), squeeze=False)[0]
    most = max((float(np.nanmax(np.abs(image))) for image in images.values()), default=0.0) or 1.0
    for ax, (name, box) in zip(axes, boxes.items(), strict=False):
        ax.set_title(f"{name}[{', '.join(f'{low}:{high}' for low, high in box)}]", fontsize=10)
        if name not in grids:
            draw_sample(figure, ax, np.nan_to_num(by_node[name]))
            ax.set_ylabel("product")
            continue
        draw_montage(figure, ax, *grids[name], True)
        ax.images[0].set_clim(-most, most)
        if name in large:
            write_numbers(ax, images[name])
        if len(parts[name]) > _MAPS:
            notes.append(f"{_MAPS} of {len(parts[name])} channels")
    if not by_node:
        axes[0].set_axis_off()
        notes = [f"it reads nothing at this sample; its value is {found.value:.6g}"]
    figure.suptitle(f"{found.unit}: what its connections add up to")
    add_caption(figure, notes)
    return figure


def _box(values: np.ndarray) -> list[tuple[int, int]]:
    """The smallest box that holds all finite numbers, (start, stop) along each axis."""
    at = np.argwhere(np.isfinite(values))
    return [(int(low), int(high) + 1) for low, high in zip(at.min(axis=0), at.max(axis=0), strict=True)]


def draw_ablation(ablation: Ablation) -> Figure:
    """Draw by how much the loss grows without each unit, channel or site of a layer.

    Parameters
    ----------
    ablation : Ablation
        What `simulator.lab.ablation` found.

    Returns
    -------
    matplotlib.figure.Figure
        Units and sites in space as maps, one for each channel, at most 64: red where the loss grows, blue where it
        falls. Channels, and units without space, as bars.

    Raises
    ------
    SimulatorError
        If matplotlib is missing.

    Examples
    --------
    >>> from simulator import Dataset, Network
    >>> from simulator.lab import ablation
    >>> from simulator.layers import Conv, Dense
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3), Dense(2)], rng=0)
    >>> data = Dataset(np.random.default_rng(0).random((5, 1, 8, 8)), np.array([0, 1, 0, 1, 1]))
    >>> draw_ablation(ablation(net, data, "conv1", "channel")).get_suptitle()
    'conv1: each channel clamped to 0'
    """
    harm = ablation.harm[None] if ablation.by == "site" else ablation.harm
    share = "" if ablation.accuracy_before is None else f", accuracy {ablation.accuracy_before:.1%}"
    notes = [f"of the whole net on {ablation.samples} samples: loss {ablation.loss_before:.4g}{share}"]
    if harm.ndim == 1:
        figure = new_figure(7.0, 4.0)
        _draw_bars(figure.subplots(), harm, ablation.by)
    else:
        grid, rows, columns = wrapped(tiled(harm[:_MAPS], 1), "channel")
        down, across, high, wide = grid.shape
        figure = new_figure(6.4, min(9.0, 1.5 + 5.0 * down * high / (across * wide)))
        ax = figure.subplots()
        draw_montage(figure, ax, grid, rows, columns, True)
        if ablation.by == "site" and harm.ndim == 3:
            lines, cells = range(0, high, -(-high // 10)), range(0, wide, -(-wide // 10))
            ax.set_yticks(lines, map(str, lines))
            ax.set_xticks(cells, map(str, cells))
            ax.set(xlabel="column", ylabel="row")
        notes += ["colours: loss after − before, red where it grows, blue where it falls"]
        notes += [f"{_MAPS} of {len(harm)} channels"] * (len(harm) > _MAPS)
    value = "its mean" if ablation.value == "mean" else f"{ablation.value:g}"
    figure.suptitle(f"{ablation.layer}: each {ablation.by} clamped to {value}")
    add_caption(figure, notes)
    return figure


def _draw_bars(ax: Axes, harm: np.ndarray, by: str) -> None:
    """A bar for each channel or unit."""
    colours = np.where(harm > 0, MARK, "tab:blue")
    ax.bar(np.arange(len(harm)), harm, width=0.8 if len(harm) <= _MAPS else 1.0, color=colours)
    ax.axhline(0, color="k", linewidth=0.8)
    ax.set(xlabel=by, ylabel="loss after − before", xlim=(-0.6, len(harm) - 0.4))
    whole_numbers(ax.xaxis)


def draw_responses(responses: Responses, preferred: Preferred | None = None) -> Figure:
    """Draw the samples to which a unit responds most, and the input that it prefers.

    Parameters
    ----------
    responses : Responses
        What `simulator.lab.strongest` found.
    preferred : Preferred, optional
        What `simulator.lab.preferred_input` found.

    Returns
    -------
    matplotlib.figure.Figure
        Each sample with its number, the response and, in pictures, a red box around what the unit sees; the preferred
        input comes first.

    Raises
    ------
    SimulatorError
        If matplotlib is missing.

    Examples
    --------
    >>> from simulator import Network
    >>> from simulator.lab import strongest
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3)], rng=0)
    >>> found = strongest(net, "conv1[2]", np.random.default_rng(0).random((20, 1, 8, 8)), count=3)
    >>> [ax.get_title().split(":")[0] for ax in draw_responses(found).axes[:3]] == [f"{n}" for n in found.samples]
    True
    """
    shown: list[tuple[str, float, np.ndarray, Any]] = []  # title, response, input, box
    if preferred is not None:
        shown.append(("preferred", preferred.value, preferred.x, None))
    for number, value, x, field in zip(
        responses.samples, responses.values, responses.inputs, responses.fields, strict=True
    ):
        shown.append((str(number), float(value), x, field.box if field.mask.ndim == 3 else None))
    across = min(_ACROSS, len(shown))
    down = -(-len(shown) // across)
    figure = new_figure(0.8 + 2.3 * across, 1.2 + 2.4 * down)
    from matplotlib.patches import Rectangle

    axes = figure.subplots(down, across, squeeze=False).ravel()
    for ax, (name, value, x, box) in zip(axes, shown, strict=False):
        ax.set_title(f"{name}: {value:.4g}", fontsize=10)
        draw_sample(figure, ax, x)
        if box is not None and len(ax.images) == 1 and ax.images[0].get_array().shape[:2] == x.shape[1:]:
            (top, bottom), (left, right) = box[1:]
            ax.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=MARK))
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    figure.suptitle(f"{responses.unit}: strongest samples" + ("" if preferred is None else " and preferred input"))
    notes = ["above: number of the sample, and its response"]
    if any(ax.patches for ax in axes):
        notes.append("in red: what the unit sees")
    add_caption(figure, notes)
    return figure
