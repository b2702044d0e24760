"""Pictures of what one unit sees: where, over how many paths, and how strongly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.draw.canvas import GAP, MARK, add_caption, new_figure, outline, whole_numbers
from simulator.errors import ShapeError
from simulator.lab.influence import influence
from simulator.lab.paths import count_text, paths
from simulator.lab.sample import run_sample
from simulator.network import Network
from simulator.units import Units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_field(network: Network, unit: Any, x: Any = None, of: str | None = None) -> Figure:
    """Draw the receptive field of a unit: its outline over a sample, the number of paths, and the influence.

    Parameters
    ----------
    network : Network
        Without weights there are paths only.
    unit : str, Units, or (name, number or position)
        A single unit, such as "conv2[3, 4, 5]".
    x : array_like, (channels, *space), or dict of them by input name, or Trace, optional
        One sample: it is shown, and the influence taken there. Without it the field itself is shown.
    of : str, optional
        The earlier node, of at most two axes of space. Default: the only input.

    Returns
    -------
    matplotlib.figure.Figure
        Counts and absolute influences are summed over the channels of a site; a large picture is cut around the field.

    Raises
    ------
    ShapeError
        If there is no such unit, the sample does not fit, or the node has three axes of space.
    UnknownNameError
        If there is no such node.
    SimulatorError
        If matplotlib is missing.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3), Conv(4, kernel=3)])
    >>> [ax.get_title() for ax in draw_field(net, "conv2[0, 1, 1]").axes[:2]]
    ['field in input (1, 8, 8)', 'number of paths']
    """
    target = Units.of(network.nodes, unit)
    of = network.input_name if of is None else of
    field = network.receptive_field(target.node, target.number, of)
    if field.mask.ndim > 3:
        raise ShapeError(
            f"draw {target}: expected the field in a node of at most two axes of space, got {of} {field.mask.shape}; "
            "choose another node"
        )
    flat = field.mask.ndim == 1  # the units of a vector stand in one line, like sites

    def seen(array: np.ndarray) -> np.ndarray:
        """Summed over channels: what each site counts."""
        return array if flat else array.sum(axis=0)

    mask, counts = seen(field.mask).astype(bool), seen(paths(network, target, of))
    panels = [
        (f"field in {of} {field.mask.shape}", np.where(mask, seen(field.mask), np.nan), "" if flat else "channels"),
        ("number of paths", _logarithm(counts), "log10 of paths"),
    ]
    if x is not None:
        trace = run_sample(network, {target.node, of}, x, f"draw {target}")
        panels[0] = (f"{of} {field.mask.shape}, the field in red", _picture(trace[of][0]), "")
        slopes = np.abs(influence(network, target, trace, of))
        panels.append(("influence", np.where(mask, seen(slopes), np.nan), "|slope|"))
    figure = new_figure(0.8 + 3.8 * len(panels), 4.4 if mask.ndim == 2 else 3.4)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (title, values, label) in zip(axes, panels, strict=True):
        ax.set_title(title, fontsize=11)
        if mask.ndim == 2:
            _draw_image(figure, ax, values, mask, label)
        else:
            _draw_line(ax, values, mask, label, "unit" if flat else "site")
    figure.suptitle(f"What {target} sees")
    most = f"at most {count_text(int(counts.max()))} paths from a {'unit' if flat else 'site'}"
    add_caption(figure, [repr(field).split(": ", 1)[1], most])
    return figure


def _logarithm(counts: np.ndarray) -> np.ndarray:
    """log10 of integers of any size; NaN for 0."""
    return np.array([math.log10(n) if n else np.nan for n in counts.ravel()]).reshape(counts.shape)


def _picture(sample: np.ndarray) -> np.ndarray:
    """(channels, *space) as (*space, 3) for colours, else the mean over channels; a vector as it is."""
    if sample.ndim == 3 and len(sample) == 3 and sample.min() >= 0 and sample.max() <= 1:
        return np.moveaxis(sample, 0, -1)
    return sample if sample.ndim == 1 else sample.mean(axis=0)


def _draw_image(figure: Figure, ax: Axes, values: np.ndarray, mask: np.ndarray, label: str) -> None:
    """An image, the outline of the field in it, and no more around it than its own size; a sample has no label."""
    from matplotlib import colormaps

    cmap = colormaps["viridis" if label else "gray"].with_extremes(bad=GAP)
    least = 0 if label in ("channels", "|slope|") else None
    picture = ax.imshow(values, cmap=cmap, vmin=least, interpolation="nearest")
    if values.ndim == 2:
        figure.colorbar(picture, ax=ax, shrink=0.7, label=label)
    outline(ax, mask, 1.5)
    for at, n, limit in ((0, mask.shape[0], ax.set_ylim), (1, mask.shape[1], ax.set_xlim)):
        hit = np.flatnonzero(mask.any(axis=1 - at))
        first, stop = (hit[0], hit[-1] + 1) if len(hit) else (0, n)
        sides = max(0, first - max(4, stop - first)) - 0.5, min(n, stop + max(4, stop - first)) - 0.5
        limit(*(sides if at else sides[::-1]))


def _draw_line(ax: Axes, values: np.ndarray, mask: np.ndarray, label: str, axis: str) -> None:
    """Values along one axis, the field shaded."""
    sites = np.arange(len(values))
    ax.vlines(sites, 0, values, color="tab:blue", linewidth=max(0.5, 120 / len(values)))
    ax.plot(sites, values, ".", color="tab:blue", markersize=4)
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False)) - 0.5  # where the field begins and ends
    for first, last in edges.reshape(-1, 2):
        ax.axvspan(first, last, color=MARK, alpha=0.15, linewidth=0)
    ax.set(xlabel=axis, ylabel=label, xlim=(-0.5, len(values) - 0.5))
    whole_numbers(ax.xaxis)
