"""Pictures of units and their connections, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.draw.canvas import MARK, ON_WHITE, add_caption, add_scale, check_graph, new_figure
from simulator.draw.colours import PALE, Colours, weight_colours
from simulator.errors import ShapeError, counted

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMED_WEIGHTS = 26  # up to which a legend tells them
_LABEL_ROOM = 0.12  # inches from unit to unit from which on there are labels
_HEAD = 0.45  # inches that the name of a layer takes
_UNITS, _CONNECTIONS = 200, 2000  # what eyes can follow

Place = tuple[float, float]


def draw_unit_graph(graph: nx.MultiDiGraph) -> Figure:
    """Draw units and their connections, layers from left to right.

    Colours are those of `draw_matrix`: equal colours are equal weights, or values; the caption says which.

    Parameters
    ----------
    graph : networkx.MultiDiGraph
        What `simulator.lab.unit_graph` returned, or a part of it.

    Returns
    -------
    matplotlib.figure.Figure
        Units of a layer stand below each other, channel by channel; the middle of a neighbourhood is red. Small graphs
        have labels; in large ones they would cover each other.

    Raises
    ------
    ShapeError
        If it is no graph of units, or one that nobody could read.
    SimulatorError
        If matplotlib is missing.

    Examples
    --------
    >>> from simulator import Conv, Network
    >>> from simulator.lab import unit_graph
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3)], rng=0)
    >>> draw_unit_graph(unit_graph(net, "conv1[2, 0, 5]")).get_suptitle()
    'around conv1[2, 0, 5]: 10 units, 9 connections'
    """
    check_graph(graph, "unit", {"layer", "kind", "channel", "position"})
    layers: dict[str, list[str]] = {}
    for unit, layer in graph.nodes.data("layer"):
        layers.setdefault(layer, []).append(unit)
    of = dict(graph.nodes.data("layer"))
    import networkx as nx

    flow = nx.DiGraph()
    flow.add_nodes_from(layers)
    flow.add_edges_from((of[source], of[target]) for source, target in graph.edges())
    columns = list(nx.topological_generations(flow))
    widest = max(layers, key=lambda layer: len(layers[layer]))
    if len(layers[widest]) > _UNITS or graph.size() > _CONNECTIONS:
        raise ShapeError(
            f"draw unit graph: expected at most {_UNITS} units in a layer and {_CONNECTIONS:,} connections, got "
            f"{len(layers[widest])} in {widest} and {graph.size():,}; write a file with write_graph (--output "
            "NAME.graphml), or draw one unit as a window (simulator draw --what window)"
        )
    places, heads, room = _placed(graph, layers, columns)
    tall = max(y for _, y in places.values())
    figure = new_figure(2.5 + 2.2 * len(columns), tall + 1.9)
    ax = figure.subplots(subplot_kw={"gid": ON_WHITE})
    notes = _draw_connections(figure, ax, graph, places)
    size = min(6.0, 40 * room)  # points
    ax.plot(*zip(*places.values(), strict=True), "o", color="w", markeredgecolor="k", markersize=size, zorder=3)
    middle = [unit for unit, hop in graph.nodes.data("hop") if hop == 0]
    ax.plot([places[unit][0] for unit in middle], [places[unit][1] for unit in middle], "o", color=MARK, zorder=4)
    for layer, (x, y) in heads.items():
        name = f"{layer}\n{graph.nodes[layers[layer][0]]['kind']}"
        ax.text(x, y, name, ha="center", va="bottom", fontsize=9, weight="bold")
    if room >= _LABEL_ROOM:
        _label(ax, graph, places)
    ax.set(xlim=(-0.6, len(columns) - 0.4), ylim=(tall + 0.1, -0.1), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    around = f"around {_named(middle)}: " if middle else ""
    figure.suptitle(f"{around}{counted(len(graph), 'unit')}, {counted(graph.size(), 'connection')}", fontsize=11)
    add_caption(figure, notes)
    return figure


def _named(units: Sequence[str]) -> str:
    return units[0] if len(units) == 1 else f"{len(units)} units of {units[0].partition('[')[0]}"


def _placed(
    graph: nx.MultiDiGraph, layers: dict[str, list[str]], columns: list[list[str]]
) -> tuple[dict[str, Place], dict[str, Place], float]:
    """Where units stand and where the names of their layers do, (column, inches from the top); inches between units."""
    steps = {}  # of each layer: place of each unit below the first
    for layer, units in layers.items():
        channels = np.array([graph.nodes[unit]["channel"] for unit in units])
        steps[layer] = np.arange(len(units)) + 0.7 * np.cumsum(np.diff(channels, prepend=channels[0]) != 0)
    lengths = [sum(steps[layer][-1] + 1 for layer in column) for column in columns]
    room = min(0.2, 11 / max(lengths))
    tallest = max(length * room + _HEAD * len(column) for length, column in zip(lengths, columns, strict=True))
    places, heads = dict[str, Place](), dict[str, Place]()
    for x, (column, length) in enumerate(zip(columns, lengths, strict=True)):
        step = min(4 * room, (tallest - _HEAD * len(column)) / length)
        y = (tallest - _HEAD * len(column) - step * length) / 2
        for layer in column:
            y += _HEAD
            heads[layer] = (float(x), _HEAD if len(column) == 1 else y)
            places.update(
                (unit, (float(x), y + step * (k + 0.5))) for unit, k in zip(layers[layer], steps[layer], strict=True)
            )
            y += step * (steps[layer][-1] + 1)
    return places, heads, room


def _draw_connections(figure: Figure, ax: Axes, graph: nx.MultiDiGraph, places: dict[str, Place]) -> list[str]:
    """Draw the edges in the colours of their weights; returns what the reader should know."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb

    edges = list(graph.edges(data=True))
    named = {edge["name"]: edge for *_, edge in edges if "name" in edge}
    weights = dict(sorted(named.items(), key=lambda item: (_array(item[0]), item[1]["tie"])))
    colours = _colours(weights)
    of = dict(zip(weights, colours.of, strict=True))
    plain, told = (PALE, "pale grey") if colours.scale is None else ("k", "black")  # a value of 0 is pale grey
    width = 1.6 if len(edges) < 300 else 0.7 if len(edges) < 3000 else 0.25
    first = {(source, target): edge for source, target, edge in reversed(edges)}
    for again, style in ((False, "-"), (True, (0, (4, 4)))):
        some = [(s, t, edge) for s, t, edge in edges if (first[s, t] is not edge) == again]
        paths = [_line(places[source], places[target]) for source, target, _ in some]
        drawn = np.array([of.get(edge.get("name"), to_rgb(plain)) for *_, edge in some]).reshape(-1, 3)
        lines = LineCollection(paths, colors=drawn, linestyles=style, linewidths=width)
        ax.add_collection(lines, autolim=False)
    if colours.scale is not None:
        add_scale(figure, ax, colours.scale)
    elif 0 < len(weights) <= _NAMED_WEIGHTS:
        for name, edge in weights.items():
            value = f" = {edge['value']:.3g}" if "value" in edge else ""
            ax.plot([], [], color=of[name], linewidth=2.5, label=name + value)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    notes = {
        colours.note: bool(weights),
        f"{told}: no weight of its own": not all("name" in edge for *_, edge in edges),
        "dashed: one more connection of the same units": len(first) < len(edges),
    }
    return [note for note, holds in notes.items() if holds]


def _colours(weights: dict[str, dict[str, Any]]) -> Colours:
    """The colours of weights by name; those of one array, and of one pair of channels in it, belong together."""
    blocks = {block: k for k, block in enumerate(dict.fromkeys(sorted(map(_block, weights))))}
    values = [edge.get("value") for edge in weights.values()]
    return weight_colours(
        range(len(weights)), [blocks[_block(name)] for name in weights], None if None in values else values
    )


def _array(name: str) -> str:
    """conv1.weight of conv1.weight[0, 0, 2, 1]"""
    return name.partition("[")[0]


def _block(name: str) -> tuple[str, ...]:
    """The array of a weight and, where it holds kernels, the channels."""
    array, _, index = name.rstrip("]").partition("[")
    numbers = index.split(", ")
    return (array, *numbers[:2]) if len(numbers) > 2 else (array,)


def _line(start: Place, end: Place) -> np.ndarray:
    """From unit to unit, (points, 2): straight, or bent where it passes other layers."""
    if end[0] - start[0] < 1.5:
        return np.array([start, end])
    a, b = np.array(start), np.array(end)
    t = np.linspace(0, 1, 24)[:, None]
    bent = (a + b) / 2 - [0, 0.25 * (b[0] - a[0])]
    return (1 - t) ** 2 * a + 2 * t * (1 - t) * bent + t**2 * b


def _label(ax: Axes, graph: nx.MultiDiGraph, places: dict[str, Place]) -> None:
    """Write the position, and the value where there is one, beside each unit."""
    for unit, (x, y) in places.items():
        told = graph.nodes[unit]
        value = f" = {told['value']:.3g}" if "value" in told else ""
        aside, side = (0.05, "left") if x else (-0.05, "right")
        box = {"facecolor": "w", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
        ax.text(x + aside, y, f"[{told['position']}]{value}", ha=side, va="center", fontsize=7, bbox=box, zorder=5)
