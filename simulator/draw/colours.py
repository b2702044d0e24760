"""The colours of weights: one for each weight while eyes can tell them apart, else those of the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap

__all__ = ["FAINT", "PALE", "PLAIN", "Colours", "diverging", "ink_on", "palette", "weight_colours"]

PALE, FAINT = "#bfbfbf", "#e5e5e5"  # lines of the grid; PALE is also what is no single weight
PLAIN = "#404040"  # a weight that has no colour of its own

# Any two colours of a table, and each of them and white, black, PALE and FAINT, differ by more than this in CIEDE2000,
# as seen with normal vision and as seen without one of the three kinds of cones (Machado 2009, severity 1). The tables
# come from a random search, which found no more than about 36 such colours; tests measure them.
TABLES: tuple[tuple[float, str], ...] = (
    (15.0, "d56a7a 0000f9 42ff00 601b00 a66eff 003b62 7c6b00 4e4e4e d0ffbb 447594 70ae00 f1b7ff"),
    (
        10.0,
        "5d2401 0000ff b98700 8c9af8 767981 1b0020 bfff9a 475559 558d73 d2e3fd 422264 e93c60 7c4901 311403 "
        "a9cd02 967dae d998c7 5d5439 3b3c32 136a7f ffe3cd 00004a 899a9b 77714d bba862 af1462 3f47a0 dcff33 "
        "04de98 0000a7 9f670b 99c5ff 8c67fc 203036 6366b5 69b08d",
    ),
)


@dataclass(frozen=True, eq=False)
class Colours:
    """How a picture colours its connections.

    Parameters
    ----------
    of : numpy.ndarray, (connections, 3)
        Red, green and blue, from 0 to 1.
    note : str
        What colours mean: what the caption must say.
    scale : ScalarMappable, optional
        Of the colour bar, where colours are values.
    """

    of: np.ndarray
    note: str
    scale: ScalarMappable | None = None


def palette(count: int) -> np.ndarray:
    """Colours that eyes can tell apart, (count or more, 3); none if there are not so many."""
    from matplotlib.colors import to_rgb

    for _, table in TABLES:
        colours = table.split()
        if count <= len(colours):
            return np.array([to_rgb(f"#{colour}") for colour in colours])
    return np.zeros((0, 3))


def diverging() -> Colormap:
    """Blue below 0, grey at 0, red above: ColorBrewer's RdBu, but not white in the middle: white is no connection."""
    from matplotlib.colors import LinearSegmentedColormap

    stops = ["#053061", "#2166ac", "#4393c3", "#c8c8c8", "#d6604d", "#b2182b", "#67001f"]
    return LinearSegmentedColormap.from_list("blue-grey-red", stops).with_extremes(bad="k")


def ink_on(colour: Sequence[float]) -> str:
    """Black or white, whichever stands out more on a colour (WCAG 2.1, relative luminance)."""
    c = np.asarray(colour, float)
    luminance = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
    return "w" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "k"


def weight_colours(ties: Any, blocks: Any, values: Any = None, what: str = "weights") -> Colours:
    """Colour connections so that the picture shows no sharing that does not exist.

    Up to 36 weights have a colour each: the weights of one block, such as a pair of channels, have neighbouring hues,
    from dark to light. More are coloured by their values, or without values all alike.

    Parameters
    ----------
    ties : array_like of int, (connections,)
        Number of the weight of each connection.
    blocks : array_like of int, (connections,)
        What belongs together; of a weight in several blocks the first counts.
    values : array_like of float, (connections,), optional
        The weights' values.
    what : str, default "weights"
        "values", if equal ties are equal numbers but not weights.

    Returns
    -------
    Colours

    Examples
    --------
    >>> colours = weight_colours([0, 1, 0, 1], [0, 0, 0, 0])
    >>> colours.note
    'equal colours are equal weights'
    >>> np.unique(colours.of, axis=0).shape
    (2, 3)
    >>> weight_colours(range(1000), [0] * 1000).note
    'dark: connections; their 1,000 weights are more than colours can tell apart'
    """
    ties, blocks = np.asarray(ties, np.intp), np.asarray(blocks, np.intp)
    used, first, at = np.unique(ties, return_index=True, return_inverse=True)
    colours = palette(len(used))[: len(used)]
    aside = "" if what == "weights" else "; different weights may have equal values"
    if not len(used):
        return Colours(np.zeros((0, 3)), "")
    if len(colours):
        return Colours(_arranged(colours, blocks[first])[at], f"equal colours are equal {what}{aside}")
    if values is None:
        from matplotlib.colors import to_rgb

        note = f"dark: connections; their {len(used):,} weights are more than colours can tell apart"
        return Colours(np.tile(to_rgb(PLAIN), (len(ties), 1)), note)
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    values = np.asarray(values, float)
    finite = np.abs(values[np.isfinite(values)])
    most = float(finite.max(initial=0)) or 1.0
    scale = ScalarMappable(Normalize(-most, most), diverging())
    note = "colours are values; different weights may have equal colours"
    missing = "; black: not a number" if np.isnan(values).any() else ""
    return Colours(scale.to_rgba(np.ma.masked_where(np.isnan(values), values))[:, :3], note + missing, scale)


def _arranged(colours: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Colours (n, 3) for n weights in their order: each block gets an arc of hues, in it from dark to light."""
    from matplotlib.colors import rgb_to_hsv

    colours = colours[np.argsort(rgb_to_hsv(colours)[:, 0], kind="stable")]
    out = np.empty_like(colours)
    taken = 0
    for block in np.unique(blocks):
        members = np.flatnonzero(blocks == block)
        arc = colours[taken : taken + len(members)]
        out[members] = arc[np.argsort(arc @ (0.2126, 0.7152, 0.0722), kind="stable")]
        taken += len(members)
    return out
