"""Pictures: matrices, windows, kernels, connections, activations, fields, responses, graphs, and training curves.

Every function returns a `matplotlib.figure.Figure`; `save` writes one to a file. In pictures of a matrix or a graph
up to 36 weights have a colour each: equal colours are equal weights. More are coloured by their values; the caption
says which.
"""

from simulator.draw.canvas import darken, save, save_frames
from simulator.draw.fields import draw_field
from simulator.draw.graphs import draw_unit_graph
from simulator.draw.layers import draw_layer_graph
from simulator.draw.maps import draw_activations, draw_curve, draw_kernel
from simulator.draw.matrices import draw_graph, draw_matrix
from simulator.draw.predictions import draw_predictions
from simulator.draw.rows import draw_rows
from simulator.draw.units import draw_ablation, draw_products, draw_responses
from simulator.draw.window import draw_window, walk_window

__all__ = [
    "darken",
    "draw_ablation",
    "draw_activations",
    "draw_curve",
    "draw_field",
    "draw_graph",
    "draw_kernel",
    "draw_layer_graph",
    "draw_matrix",
    "draw_predictions",
    "draw_products",
    "draw_responses",
    "draw_rows",
    "draw_unit_graph",
    "draw_window",
    "save",
    "save_frames",
    "walk_window",
]
