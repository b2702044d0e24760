"""Pictures of predictions: samples as a network sees them, each with what it is taken for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from simulator.draw.canvas import MARK, add_caption, new_figure
from simulator.draw.maps import draw_sample
from simulator.errors import ShapeError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST, _ACROSS = 40, 8


def draw_predictions(inputs: np.ndarray, titles: Sequence[str], wrong: Sequence[bool] | None = None) -> Figure:
    """Draw samples as a network sees them, each with a title such as what it is taken for.

    Parameters
    ----------
    inputs : numpy.ndarray, (n, channels, *space)
        The samples; the first 40 are drawn, all on one scale.
    titles : sequence of str
        One for each.
    wrong : sequence of bool, optional
        Which titles are red. Default: none.

    Returns
    -------
    matplotlib.figure.Figure
        One panel for each sample: grey from the smallest number (black) to the largest (white), or coloured.

    Raises
    ------
    ShapeError
        If there is no sample, or not one title for each.
    SimulatorError
        If matplotlib is missing.

    Examples
    --------
    >>> figure = draw_predictions(np.random.default_rng(0).random((2, 1, 8, 8)), ["3: 98.1%", "7: 55.0%"])
    >>> [ax.get_title() for ax in figure.axes]
    ['3: 98.1%', '7: 55.0%']
    """
    if not len(inputs) or len(titles) != len(inputs):
        raise ShapeError(
            f"draw predictions: expected a title for each of at least one sample, got {len(titles)} for {len(inputs)}; "
            "give as many"
        )
    some = inputs[:_MOST]
    across = min(_ACROSS, len(some))
    down = -(-len(some) // across)
    figure = new_figure(max(6.4, 1.5 * across), 1.9 * down + 0.6)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    low, high = float(some.min()), float(some.max())
    for k, ax in enumerate(panels):
        if k >= len(some):
            ax.set_axis_off()
            continue
        sample, space = some[k], some.shape[2:]
        if len(space) == 2 and len(sample) == 1:
            ax.imshow(sample[0], cmap="gray", vmin=low, vmax=high if high > low else low + 1)
            ax.set(xticks=[], yticks=[])
        elif len(space) == 2 and len(sample) == 3:
            ax.imshow(np.moveaxis((sample - low) / ((high - low) or 1), 0, -1))
            ax.set(xticks=[], yticks=[])
        else:
            draw_sample(figure, ax, sample)
        red = wrong is not None and wrong[k]
        ax.set_title(titles[k], fontsize=9, color=MARK if red else "k")
    notes = [f"black is {low:.3g}, white is {high:.3g}"] if some.ndim == 4 else []
    notes += ["red: predicted wrongly"] if wrong is not None and any(wrong[: len(some)]) else []
    notes += [f"{len(some)} of {len(inputs)} samples"] if len(inputs) > len(some) else []
    if notes:
        add_caption(figure, notes)
    return figure
