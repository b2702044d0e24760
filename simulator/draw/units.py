"""Pictures of experiments on units: what a network is without each of them, and what they respond to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.draw.canvas import MARK, add_caption, new_figure, whole_numbers
from simulator.draw.maps import draw_montage, draw_sample, tiled, wrapped
from simulator.lab.ablations import Ablation
from simulator.lab.responses import Preferred, Responses

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAPS, _ACROSS = 64, 5


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
