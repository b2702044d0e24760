"""The lab: experiments on single units, on weights, and on sharing itself."""

from simulator.lab.graphs import layer_graph, unit_graph, write_graph

__all__ = ["layer_graph", "unit_graph", "write_graph"]
