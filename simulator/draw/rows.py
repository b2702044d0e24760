"""Pictures of the one matrix that a network is at a sample: each of its rows in the shape of the input."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from simulator.draw.canvas import GAP, add_caption, new_figure
from simulator.draw.maps import draw_sample, montage, tiled, wrapped
from simulator.lab.affine import Affine
from simulator.nodes import only

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS = 20


def draw_rows(found: Affine) -> Figure:
    """Draw the rows of A, each in the shape of the input, beside the sample.

    Red cells raise the output, blue ones lower it, all rows on one scale. Above each stand the row times the sample,
    the offset, and their sum, the output. At most 20 rows.

    Parameters
    ----------
    found : Affine
        What `simulator.lab.affine` returned, of a network with one input.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ShapeError
        If there are several inputs.
    SimulatorError
        If matplotlib is missing.

    Examples
    --------
    >>> from simulator.lab import affine
    >>> from simulator.layers import Conv, Dense, ReLU
    >>> from simulator.network import Network
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3), ReLU(), Dense(3)], rng=0)
    >>> figure = draw_rows(affine(net, np.eye(8)[None]))
    >>> len(figure.axes)
    5
    """
    from matplotlib import colormaps

    name = only(tuple(found.matrices), "input")
    sample, shown = found.x[name], min(len(found.b), _ROWS)
    rows = found.A[:shown].toarray().reshape(shown, *(sample.shape if sample.ndim > 1 else (1, sample.size)))
    images = [montage(wrapped(tiled(row, 1), "")[0])[0] for row in rows]
    across = min(5, shown)
    down, tall = math.ceil(shown / across), min(2.5, images[0].shape[0] / images[0].shape[1])
    figure = new_figure(3.2 + 2.1 * across, max(3.6, 1.0 + (0.5 + 1.9 * tall) * down))
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(3.0, 2.1 * across))[0]
    ax = left.subplots()
    ax.set_title(f"{name} {sample.shape}", fontsize=10)
    draw_sample(figure, ax, sample)
    most = float(np.max(np.abs(rows), initial=0)) or 1.0
    cmap = colormaps["RdBu_r"].with_extremes(bad=GAP)
    axes = right.subplots(down, across, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for k, (ax, image) in enumerate(zip(axes, images, strict=False)):
        picture = ax.imshow(image, cmap=cmap, vmin=-most, vmax=most, interpolation="nearest")
        unit = ", ".join(str(i) for i in np.unravel_index(found.units.numbers[k], found.units.shape))
        value, offset = found.y[k], found.b[k]
        total = f"{value - offset:.3g} {'+' if offset >= 0 else '-'} {abs(offset):.3g} = {value:.3g}"
        ax.set_title(f"{found.units.node}[{unit}]\n{total}", fontsize=8)
    right.colorbar(picture, ax=list(axes), fraction=0.03, pad=0.02)
    kind = "f(x) = A x + b around the sample" if found.exact else "the Jacobian: the tangent at the sample"
    notes = [kind, "each picture: a row of A; red raises the output, blue lowers it", "above: row · x, + b, = output"]
    if len(rows[0]) > 1:
        notes.append("grey gaps: between channels")
    if shown < len(found.b):
        notes.append(f"{shown} of {len(found.b)} rows")
    figure.suptitle(repr(found), fontsize=11)
    add_caption(figure, notes)
    return figure
