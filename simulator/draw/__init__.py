"""Pictures of a network: its matrices, kernels, connections, fields, activations and training curve.

Every function returns a `matplotlib.figure.Figure`; `save` writes one to a file. In pictures of a matrix or its graph
equal colours are equal weights.
"""

from simulator.draw.canvas import save
from simulator.draw.fields import draw_field
from simulator.draw.maps import draw_activations, draw_curve, draw_kernel
from simulator.draw.matrices import draw_graph, draw_matrix

__all__ = ["draw_activations", "draw_curve", "draw_field", "draw_graph", "draw_kernel", "draw_matrix", "save"]
