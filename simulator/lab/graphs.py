"""Graphs: a network's layers, or its units and their connections, for networkx and for programs that read its files.

With this module one can

- get the layers as a graph with shapes and counts (`layer_graph`);
- get the units of a small network, or those around one unit of any network, with the weight's name, value and tie on
  every connection (`unit_graph`);
- write both for Gephi, yEd, Cytoscape and others (`write_graph`).
"""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from simulator.errors import FileError, ShapeError, brief
from simulator.lab.sample import run_sample
from simulator.layers.base import Shape
from simulator.matrix import dense_pattern
from simulator.memory import check_memory
from simulator.network import Network, Node, Trace
from simulator.patterns import ExplicitPattern, IdentityPattern, Pattern
from simulator.units import Units
from simulator.windows import check_size
from simulator.writing import write_atomically

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["layer_graph", "unit_graph", "write_graph"]

_EDGE_BYTES = 1000  # of an edge with all that it carries

Unit = tuple[str, int]  # name of the node, number
Bundle = tuple["_Part", np.ndarray, np.ndarray, np.ndarray]  # connections of a part: rows, columns, ties


def layer_graph(network: Network) -> nx.MultiDiGraph:
    """The layers of a network, and which of them read which.

    Parameters
    ----------
    network : Network
        With or without weights.

    Returns
    -------
    networkx.MultiDiGraph
        A node for each layer, by name, with `kind` (such as "Conv"), `repr` (with hyper-parameters), `shape` (of one
        output sample), `params`, `nonzeros`, `fixed_nonzeros`, `unitwise` (each unit reads one unit, as in ReLU), and
        `share` where it uses another one's weights. An edge for each input of a layer, with the `shape` of what passes
        along it. All of it is text, integers or bools.

    Examples
    --------
    >>> from simulator.layers import Add, Conv
    >>> net = Network.sequential((1, 8, 8), [Conv(1, 3, padding=1)]).add(Add(), "conv1", "input")
    >>> graph = layer_graph(net)
    >>> graph.nodes["conv1"]["kind"], graph.nodes["conv1"]["shape"], graph.nodes["conv1"]["params"]
    ('Conv', '1x8x8', 10)
    >>> list(graph.edges(keys=False))
    [('input', 'conv1'), ('input', 'add1'), ('conv1', 'add1')]
    """
    from simulator.graphs import ConnectionGraph

    graph, keys = ConnectionGraph(), count()
    for node in network.nodes.values():
        counts = node.counts
        told = {
            "kind": type(node.layer).__name__,
            "repr": repr(node.layer),
            "shape": "x".join(map(str, node.shape)),
            "params": counts.params,
            "nonzeros": counts.nonzeros,
            "fixed_nonzeros": counts.fixed_nonzeros,
            "unitwise": [type(pattern) for pattern in node.support] == [IdentityPattern],
            "share": node.share,
        }
        graph.add_node(node.name, **_known(told))
        for source in node.inputs:
            graph.add_edge(source, node.name, key=next(keys), shape=graph.nodes[source]["shape"])
    return graph


def unit_graph(
    network: Network, around: Any = None, *, hops: int = 1, x: Any = None, max_edges: int = 100_000
) -> nx.MultiDiGraph:
    """The units of a network and every connection between them, or those around one unit.

    As a matrix: every edge is one nonzero of a layer's matrix, from its column to its row.

    Parameters
    ----------
    network : Network
        With or without weights.
    around : str, Units, or (name, unit), optional
        The unit in the middle, such as "conv2[3, 4, 5]"; a channel "conv2[3]" or a site "conv2[:, 4, 5]" works, too.
        Default: the whole network.
    hops : int, default 1
        How many layers to go back from the middle, and how many forward.
    x : array_like, (channels, *space), or dict of them by input name, or Trace, optional
        One sample, or a trace of it. With it units have values, and a layer that is no fixed matrix has the connections
        of the matrix that it is for this sample; without it those to all inputs that a unit may depend on.
    max_edges : int, default 100,000
        A graph that could have more is refused before it is built.

    Returns
    -------
    networkx.MultiDiGraph
        Nodes are addresses such as "conv2[3, 4, 5]", with

        - `layer`, `kind` (such as "Conv"), `number`, `channel` and `position` ("3, 4, 5");
        - `hop`: layers from the middle, below 0 for units before it; only with `around`;
        - `value`, with a sample;
        - `bias`, its name, and `bias_value`; `offset`, what a pad value or the layer at this sample adds: both only in
          layers of which connections are shown.

        Edges carry `name` ("conv1.weight[0, 0, 2, 1]", or "averagepool1.fixed[0]" of a weight that is not trained),
        `tie` and `value`, each where there is one. Weights that connect the same two units are parallel edges.

    Raises
    ------
    ShapeError
        If there would be more edges than `max_edges`, there is no such unit, or the sample has another shape.
    UnknownNameError
        If there is no such node.

    Notes
    -----
    The value of a unit is the sum over its incoming edges of ``value`` times the source's ``value``, plus
    ``bias_value`` and ``offset``; edges into a layer that is not piecewise linear have no value. Around a unit the
    graph holds every path of at most `hops` connections into it and out of it, and nothing else: units after it show
    only what they read from there. Its cost is that of these connections.

    Examples
    --------
    >>> from simulator.layers import Conv, Dense
    >>> net = Network.sequential((1, 4, 4), [Conv(1, 2), Dense(2)], rng=0)
    >>> unit_graph(net).size()  # 9 windows of 4 taps, 2 units that read 9
    54
    >>> graph = unit_graph(net, "conv1[0, 1, 2]")
    >>> sorted(graph.predecessors("conv1[0, 1, 2]"))
    ['input[0, 1, 2]', 'input[0, 1, 3]', 'input[0, 2, 2]', 'input[0, 2, 3]']
    >>> [edge["name"] for edge in graph["conv1[0, 1, 2]"]["dense1[1]"].values()]
    ['dense1.weight[1, 5]']
    """
    from simulator.graphs import ConnectionGraph

    check_size(hops, "unit_graph hops")
    check_size(max_edges, "unit_graph max_edges")
    nodes = network.nodes
    middle = None if around is None else Units.of(nodes, around)
    behind, ahead = set(nodes), set[str]()  # nodes whose rows are shown, and those whose columns are
    if middle is None:
        _check_size(network, max_edges)
    else:
        behind = _within(network.graph.reverse(copy=False), middle.node, hops - 1)
        ahead = _within(network.graph, middle.node, hops) - {middle.node}

    trace = None if x is None else run_sample(network, behind | ahead, x, "unit_graph")
    fan_ins = {name: _FanIn.of(network, node, trace) for name, node in nodes.items() if name in behind | ahead}
    parts = [part for fan_in in fan_ins.values() for part in fan_in.parts]
    if middle is not None:
        hop_of, bundles = _neighbourhood(middle, hops, parts, max_edges)
    else:
        hop_of = {(name, number): None for name, node in nodes.items() for number in range(math.prod(node.shape))}
        bundles = [(part, *part.pattern.triplets()) for part in parts]
    graph, names, keys = ConnectionGraph(), {}, count()
    order = {name: k for k, name in enumerate(nodes)}
    for name, number in sorted(hop_of, key=lambda unit: (order[unit[0]], unit[1])):
        node, fan_in = nodes[name], fan_ins.get(name)
        position = tuple(int(i) for i in np.unravel_index(number, node.shape))
        told = {
            "layer": name,
            "kind": type(node.layer).__name__,
            "number": number,
            "channel": position[0],
            "position": ", ".join(map(str, position)),
            "hop": hop_of[name, number],
            "value": None if trace is None else float(trace[name][0][position]),
            **({} if fan_in is None else fan_in.told(number, position)),
        }
        names[name, number] = _entry(name, position)
        graph.add_node(names[name, number], **_known(told))
    for part, rows, columns, ties in bundles:
        for row, column, told in zip(rows.tolist(), columns.tolist(), part.told(ties), strict=True):
            graph.add_edge(names[part.source, column], names[part.reader, row], key=next(keys), **told)
    return graph


def _check_size(network: Network, max_edges: int) -> None:
    """Refuse the graph of a whole network where it could have too many edges."""
    edges = sum(
        math.prod(node.shape) * math.prod(shape) if pattern is None else pattern.nnz
        for node in network.nodes.values()
        for shape, pattern in zip(node.input_shapes, node.support, strict=True)
    )
    cure = f"name the unit in the middle of a part, such as '{network.last}[0]'"
    if edges > max_edges:
        raise ShapeError(
            f"unit_graph: expected at most {max_edges:,} edges, got {edges:,}; {cure}, or raise max_edges (--max-edges)"
        )
    check_memory(edges * _EDGE_BYTES, "unit_graph", cure)


def _within(graph: nx.DiGraph, start: str, depth: int) -> set[str]:
    import networkx as nx

    return set(nx.single_source_shortest_path_length(graph, start, cutoff=depth))


@dataclass(frozen=True, eq=False)
class _Part:
    """What a node reads from one of its inputs."""

    source: str
    reader: str
    pattern: Pattern
    weight: np.ndarray | None = None  # value of each tie
    name: str = ""  # of the array of shared weights; "" where there are none
    shape: Shape = ()  # of that array

    def told(self, ties: np.ndarray) -> Iterator[dict[str, Any]]:
        """What the edges of some connections carry."""
        values = [None] * len(ties) if self.weight is None else self.weight[ties].tolist()
        if not self.name:
            return (_known({"value": value}) for value in values)
        places = zip(*(axis.tolist() for axis in np.unravel_index(ties, self.shape)), strict=True)
        return (
            _known({"name": _entry(self.name, place), "tie": tie, "value": value})
            for place, tie, value in zip(places, ties.tolist(), values, strict=True)
        )


@dataclass(frozen=True, eq=False)
class _FanIn:
    """What a node reads from each of its inputs, and what it adds to that."""

    node: Node
    parts: Sequence[_Part]
    bias: np.ndarray | None = None  # the trained array, where the network has weights
    offset: np.ndarray | None = None  # of a layer at a sample, (n_out,)

    @classmethod
    def of(cls, network: Network, node: Node, trace: Trace | None) -> _FanIn:
        """Of one node; at the sample of a trace, if there is one."""
        bound, known = network.node(node.name), network.has_weights
        if node.pattern is not None:
            fixed = node.fixed_weight
            weight = bound.matrix.weight if known else fixed
            name = f"{node.owner}.weight" if fixed is None else f"{node.name}.fixed"
            shape = node.param_shapes["weight"] if fixed is None else fixed.shape
            flat = None if weight is None else weight.ravel()
            part = _Part(node.inputs[0], node.name, node.pattern, flat, name, shape)
            return cls(node, [part], bound.params.get("bias") if known else None)
        if trace is not None:
            affine = bound.affine_at(*(trace[name][0] for name in node.inputs))
            if affine is not None:
                matrices = zip(node.inputs, affine[0], strict=True)
                return cls(node, [_local(source, node.name, each) for source, each in matrices], offset=affine[1])
        parts = []
        for source, shape, pattern in zip(node.inputs, node.input_shapes, node.support, strict=True):
            if pattern is None:
                pattern = dense_pattern(math.prod(node.shape), math.prod(shape))
            parts.append(_Part(source, node.name, pattern))
        return cls(node, parts)

    def told(self, unit: int, position: tuple[int, ...]) -> dict[str, Any]:
        """What one unit adds to its products."""
        node, told = self.node, dict[str, Any]()
        shape = node.param_shapes.get("bias") if node.pattern is not None else None
        if shape is not None:
            place = position[: len(shape)]
            told["bias"] = _entry(f"{node.owner}.bias", place)
            told["bias_value"] = None if self.bias is None else float(self.bias[place])
        if self.offset is not None:
            told["offset"] = float(self.offset[unit])
        elif node.padding is not None and self.parts[0].weight is not None:
            _, ties = node.padding.row(unit)
            told["offset"] = float(getattr(node.layer, "pad_value", 0) * self.parts[0].weight[ties].sum())
        return told


def _local(source: str, reader: str, matrix: scipy.sparse.csr_array) -> _Part:
    """The nonzeros of what a layer is for one sample."""
    coo = matrix.tocoo()
    there = coo.data != 0
    rows, columns = (axis[there] for axis in coo.coords)
    return _Part(source, reader, ExplicitPattern(rows, columns, shape=coo.shape), coo.data[there])


def _neighbourhood(
    middle: Units, hops: int, parts: Sequence[_Part], max_edges: int
) -> tuple[dict[Unit, int | None], list[Bundle]]:
    """Units with their hop, and the connections on every path of at most `hops` into the middle and out of it."""
    if len(middle.numbers) > max_edges:
        raise ShapeError(
            f"unit_graph: expected a middle of at most {max_edges:,} units, got {middle}, which is "
            f"{len(middle.numbers):,}; name a single one, or raise max_edges (--max-edges)"
        )
    into, out_of = defaultdict(list), defaultdict(list)
    for part in parts:
        into[part.reader].append(part)
        out_of[part.source].append(part)
    start = [(middle.node, number) for number in middle.numbers.tolist()]
    hop_of: dict[Unit, int | None] = dict.fromkeys(start, 0)
    bundles, edges = list[Bundle](), 0
    for back in (True, False):
        frontier = start
        for hop in range(1, hops + 1):
            reached = dict[Unit, None]()
            for name, number in frontier:
                for part in into[name] if back else out_of[name]:
                    others, ties = part.pattern.row(number) if back else part.pattern.column(number)
                    edges += len(ties)
                    if edges > max_edges:
                        raise ShapeError(
                            f"unit_graph: expected at most {max_edges:,} edges, got more within {hop} "
                            f"hop{'s'[: hop - 1]} of {middle}; take fewer hops or a single unit, or raise "
                            "max_edges (--max-edges)"
                        )
                    itself = np.full(len(ties), number)
                    bundles.append((part, itself, others, ties) if back else (part, others, itself, ties))
                    other = part.source if back else part.reader
                    reached.update(dict.fromkeys((other, unit) for unit in others.tolist()))
            frontier = [unit for unit in reached if unit not in hop_of]
            hop_of.update(dict.fromkeys(frontier, -hop if back else hop))
    return hop_of, bundles


def _entry(array: str, place: Iterable[int]) -> str:
    return f"{array}[{', '.join(map(str, place))}]"


def _known(told: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None, for which files have no word."""
    return {name: value for name, value in told.items() if value is not None}


_NOT_XML = "[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]"  # XML 1.0, 2.2: Char


def _texts(graph: nx.Graph) -> Iterator[str]:
    """All text of a graph: names, and what nodes, edges and the graph itself carry."""
    parts = (part for view in (graph.nodes, graph.edges) for *_, part in view(data=True))
    for told in (graph.graph, *parts):
        yield from (text for pair in told.items() for text in pair if isinstance(text, str))
    yield from (name for name in graph if isinstance(name, str))


def write_graph(graph: nx.Graph, path: str | os.PathLike[str]) -> None:
    """Write a graph for other programs, whole or not at all.

    Parameters
    ----------
    graph : networkx graph
        What `layer_graph` or `unit_graph` returned, or a part of it.
    path : path
        Ends in .graphml (yEd, Cytoscape, Gephi, igraph) or .gexf (Gephi).

    Raises
    ------
    FileError
        If the name ends otherwise, or the file cannot be written.
    ShapeError
        If it is no graph, or carries what is neither text, number nor bool.

    Notes
    -----
    Parallel edges stay apart, each with an id of its own.

    Examples
    --------
    >>> import tempfile
    >>> import networkx
    >>> from simulator.layers import Conv
    >>> graph = unit_graph(Network.sequential((1, 4, 4), [Conv(1, 2)], rng=0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_graph(graph, Path(folder) / "net.graphml")
    ...     networkx.read_graphml(Path(folder) / "net.graphml").number_of_edges()
    36
    """
    import networkx as nx

    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("graphml", "gexf"):
        raise FileError(
            f"write_graph: expected a file that ends in .graphml or .gexf, got {brief(path.name)}; choose one of them"
        )
    if not isinstance(graph, nx.Graph):
        raise ShapeError(
            f"write_graph: expected a networkx graph, got {brief(graph)}; make one with unit_graph(network)"
        )
    for text in _texts(graph):
        if re.search(_NOT_XML, text):
            raise ShapeError(
                f"write_graph: expected names and text that XML can hold, got {brief(text)}; rename it, for example "
                "with networkx.relabel_nodes"
            )
    write = nx.write_gexf if kind == "gexf" else partial(nx.write_graphml_xml, named_key_ids=True)
    try:
        write_atomically(path, lambda temporary: write(graph, temporary))
    except (TypeError, ValueError, nx.NetworkXError) as error:
        raise ShapeError(
            f"write_graph: expected text, numbers and bools on nodes and edges, got what a file cannot hold ({error}); "
            "convert or remove it"
        ) from None
