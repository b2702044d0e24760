"""Pictures of a network: its matrices, kernels, connections, activations, training curve, and it all as one matrix.

Every function returns a `matplotlib.figure.Figure`; `save` writes one to a file. In pictures of a matrix or its graph
equal colours are equal weights.
"""

from simulator.draw.canvas import save
from simulator.draw.maps import draw_activations, draw_curve, draw_kernel
from simulator.draw.matrices import draw_graph, draw_matrix
from simulator.draw.rows import draw_rows

__all__ = ["draw_activations", "draw_curve", "draw_graph", "draw_kernel", "draw_matrix", "draw_rows", "save"]
