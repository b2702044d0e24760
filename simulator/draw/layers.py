"""Pictures of the layers of a network from top to bottom, with every skip and branch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.draw.canvas import add_caption, check_graph, new_figure
from simulator.errors import counted

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BOX, _PASSING = 1.1, 0.3  # widths, in boxes: of a box, and of a line between boxes
_ROW = 0.36  # inches


def draw_layer_graph(graph: nx.MultiDiGraph, *, every: bool = False) -> Figure:
    """Draw the layers of a network from top to bottom, with every skip and branch.

    Parameters
    ----------
    graph : networkx.MultiDiGraph
        What `simulator.lab.layer_graph` returned, or a part of it.
    every : bool, default False
        Draw each layer in a box of its own. Otherwise layers that act unit by unit, such as ReLU and batch norm, share
        the box of the layer that they follow, and of equal blocks in a row the first is drawn.

    Returns
    -------
    matplotlib.figure.Figure
        A box with name and output shape for each layer; those with weights that training changes are blue.

    Raises
    ------
    ShapeError
        If it is no graph of layers.
    SimulatorError
        If matplotlib is missing.

    Notes
    -----
    A layer stands in the first row below all that it reads, and a longest path through the network is a straight line.
    An edge that passes rows takes a place of its own in each of them, and the places are ordered by what they are
    connected to above and below, as K. Sugiyama, S. Tagawa and M. Toda do.

    References
    ----------
    "Methods for visual understanding of hierarchical system structures", IEEE Transactions on Systems, Man, and
    Cybernetics 11, 1981.

    Examples
    --------
    >>> from simulator import Conv, Network, ReLU
    >>> from simulator.lab import layer_graph
    >>> graph = layer_graph(Network.sequential((1, 8, 8), [Conv(4, kernel=3), ReLU()]))
    >>> figure = draw_layer_graph(graph)
    >>> figure.get_suptitle(), [text.get_text() for text in figure.axes[0].texts]
    ('3 layers, 2 edges', ['input  1x8x8', 'conv1 + relu1  4x6x6'])
    """
    import networkx as nx

    check_graph(graph, "layer", {"shape", "params", "unitwise"})
    boxes, runs = (graph, {}) if every else _blocks(_folded(graph))
    rows, paths = _rows(boxes)
    place = _spread(rows, paths, nx.dag_longest_path(boxes))
    texts = {name: f"{_named(name, told.get('more', ()))}  {told['shape']}" for name, told in boxes.nodes(data=True)}
    letters = max(map(len, texts.values()))
    left, right = min(place.values()), max(place.values())
    width = 0.075 * letters + 0.2  # inches of a box
    figure = new_figure(max(4.0, width * (right - left + 1.2 + 0.3 * bool(runs)) + 0.5), _ROW * len(rows) + 1.2)
    ax = figure.subplots()
    height = {name: k for k, row in enumerate(rows) for name in row}
    for path in paths:
        ax.plot([place[p] for p in path], [height[p] for p in path], color="0.45", linewidth=1.0, zorder=1)
    for name, text in texts.items():
        fill = "#d6e6f7" if boxes.nodes[name]["params"] else "w"
        box = {"boxstyle": "round,pad=0.3", "facecolor": fill, "edgecolor": "0.3", "linewidth": 0.8}
        ax.text(place[name], height[name], text, ha="center", va="center", fontsize=8, bbox=box)
    for block, times in runs.items():
        inside = [(place[name], height[name], _BOX) for name in block]
        inside += [(place[p], p[1], _PASSING) for path in paths for p in path[1:-1] if p[0][1] in block]
        _frame(ax, inside, f"× {times}")
    ax.set(xlim=(left - 0.6, right + 0.6 + 0.3 * bool(runs)), ylim=(len(rows) - 0.5, -0.5), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    figure.suptitle(f"{counted(len(graph), 'layer')}, {counted(graph.size(), 'edge')}", fontsize=11)
    notes = {
        "blue: with weights that training changes": any(boxes.nodes[name]["params"] for name in boxes),
        "+: layers that act unit by unit": any(told.get("more") for _, told in boxes.nodes(data=True)),
        "dashed: equal blocks in a row, drawn once": bool(runs),
    }
    add_caption(figure, [note for note, holds in notes.items() if holds])
    return figure


def _frame(ax: Axes, inside: Iterable[tuple[float, float, float]], text: str) -> None:
    """A dashed frame around places (x, row, width), with a text on its right."""
    from matplotlib.patches import Rectangle

    inside = [*inside]
    left, right = min(x - wide / 2 for x, _, wide in inside), max(x + wide / 2 for x, _, wide in inside)
    top, bottom = min(row for _, row, _ in inside) - 0.45, max(row for _, row, _ in inside) + 0.45
    ax.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, linestyle="--", edgecolor="0.3"))
    ax.text(right + 0.05, (top + bottom) / 2, text, ha="left", va="center", fontsize=11)


def _named(name: str, more: Iterable[str]) -> str:
    """stage1-block1-conv1 + norm1 + relu1: what they have in front in common is said once."""
    short = [name]
    for other in more:
        parts = other.split("-")
        same = len([*takewhile(lambda pair: pair[0] == pair[1], zip(name.split("-"), parts, strict=False))])
        short.append("-".join(parts[min(same, len(parts) - 1) :]))
    return " + ".join(short)


def _folded(graph: nx.MultiDiGraph) -> nx.MultiDiGraph:
    """Layers that act unit by unit and alone read another one stand in the box of that one, as its `more`."""
    import networkx as nx

    head: dict[str, str] = {}
    boxes = nx.MultiDiGraph()
    for name in nx.lexicographical_topological_sort(graph, key=list(graph).index):
        told, sources = graph.nodes[name], list(graph.predecessors(name))
        if told["unitwise"] and graph.in_degree(name) == graph.out_degree(sources[0]) == 1:
            before, box = graph.nodes[sources[0]], boxes.nodes[head[sources[0]]]
            if before["shape"] == told["shape"] and graph.in_degree(sources[0]):
                head[name] = head[sources[0]]
                box["more"] += (name,)
                box["params"] += told["params"]
                box["reprs"] += (told["repr"],)
                continue
        head[name] = name
        boxes.add_node(name, shape=told["shape"], params=told["params"], reprs=(told["repr"],), more=())
        boxes.add_edges_from((head[source], name) for source, _ in graph.in_edges(name))
    return boxes


def _blocks(boxes: nx.MultiDiGraph) -> tuple[nx.MultiDiGraph, dict[frozenset[str], int]]:
    """Of equal blocks in a row the first; and how many there are, by the boxes of that one.

    A block ends in a box through which everything passes. Two are equal if their layers are, with shapes, params and
    connections.
    """
    import networkx as nx

    ends = [name for name in boxes if not boxes.in_degree(name)], [name for name in boxes if not boxes.out_degree(name)]
    if len(ends[0]) != 1 or len(ends[1]) != 1:
        return boxes, {}
    above = nx.immediate_dominators(nx.DiGraph(boxes), ends[0][0])
    passed = [ends[1][0]]
    while passed[-1] != ends[0][0]:
        passed.append(above[passed[-1]])
    order = {name: k for k, name in enumerate(nx.lexicographical_topological_sort(boxes, key=list(boxes).index))}
    blocks, looks = [], []
    for before, last in pairwise(reversed(passed)):
        block = [name for name, k in order.items() if order[before] < k <= order[last]]
        number = {name: k for k, name in enumerate([before, *block])}
        looks.append(
            [
                (told["shape"], told["params"], told["reprs"], [number[source] for source, _ in boxes.in_edges(name)])
                for name, told in ((name, boxes.nodes[name]) for name in block)
            ]
        )
        blocks.append(block)
    kept, runs = nx.MultiDiGraph(boxes), dict[frozenset[str], int]()
    k = 0
    while k < len(blocks):
        stop = k + 1
        while stop < len(blocks) and looks[stop] == looks[k]:
            stop += 1
        if stop - k > 1:
            runs[frozenset(blocks[k])] = stop - k
            behind = list(kept.out_edges(blocks[stop - 1][-1]))
            kept.remove_nodes_from(name for block in blocks[k + 1 : stop] for name in block)
            kept.add_edges_from((blocks[k][-1], target) for _, target in behind)
        k = stop
    return kept, runs


def _rows(graph: nx.MultiDiGraph) -> tuple[list[list[Any]], list[list[Any]]]:
    """Layers in rows, each below all that it reads, with a place where an edge passes; and the edges."""
    import networkx as nx

    rows: list[list[Any]] = [list(row) for row in nx.topological_generations(graph)]
    height = {name: k for k, row in enumerate(rows) for name in row}
    paths = []
    for edge in graph.edges(keys=True):
        passed = [(edge, k) for k in range(height[edge[0]] + 1, height[edge[1]])]
        for place in passed:
            rows[place[1]].append(place)
        paths.append([edge[0], *passed, edge[1]])
    return rows, paths


def _spread(rows: list[list[Any]], paths: list[list[Any]], trunk: list[str]) -> dict[Any, float]:
    """Where each member of a row stands: near what it is connected to, clear of its neighbours, the trunk at 0."""
    from scipy.optimize import isotonic_regression

    above, below = defaultdict[Any, list[Any]](list), defaultdict[Any, list[Any]](list)
    for path in paths:
        for a, b in pairwise(path):
            below[a].append(b)
            above[b].append(a)
    fixed = frozenset(trunk)
    place = {member: float(k) for row in rows for k, member in enumerate(row)}
    for sweep in range(8):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            near = above if down else below
            wish = {m: float(np.mean([place[n] for n in near[m]])) if m in near else place[m] for m in row}
            wish.update(dict.fromkeys(fixed.intersection(row), 0.0))
            row.sort(key=lambda m: wish[m])
            sizes = np.array([_BOX if isinstance(m, str) else _PASSING for m in row])
            starts = np.cumsum(sizes) - sizes / 2
            weights = [1e9 if m in fixed else 1 / size for m, size in zip(row, sizes, strict=True)]
            free = isotonic_regression([wish[m] for m in row] - starts, weights=weights).x
            place.update(zip(row, (free + starts).tolist(), strict=True))
    return place
