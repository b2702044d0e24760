"""networkx's graphs, which say in a line what they are; a module of its own, as networkx is loaded when it is used."""

from __future__ import annotations

import networkx as nx

__all__ = ["ConnectionGraph", "LayerGraph"]


class LayerGraph(nx.DiGraph):
    """A directed graph of a network's layers.

    Examples
    --------
    >>> LayerGraph([("input", "conv1")])
    LayerGraph with 2 nodes and 1 edges
    """

    def __repr__(self) -> str:
        return str(self)


class ConnectionGraph(nx.MultiDiGraph):
    """A directed graph of units or layers, with several edges between two where there are several.

    Examples
    --------
    >>> ConnectionGraph([(0, 1), (0, 1)])
    ConnectionGraph with 2 nodes and 2 edges
    """

    def __repr__(self) -> str:
        return str(self)
