"""What all pictures share: figures without global state, captions, files."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import FileError, SimulatorError, brief, shown
from simulator.lab.sample import run_sample
from simulator.network import Network, Trace
from simulator.writing import check_writable, write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GREY, MARK, GAP = "0.35", "tab:red", "#d9dfe6"


Labels = tuple[str, Sequence[str]]  # what an axis counts, and the number of each tile


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches that no global state knows."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SimulatorError("draw: expected matplotlib, got none; pip install 'cnn-matrix-simulator[plot]'") from None
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08))


def add_caption(figure: Figure, notes: Iterable[str]) -> None:
    """What the reader should know, below everything."""
    width = int(figure.get_figwidth() * 14)  # letters of this size per inch
    figure.supxlabel(textwrap.fill(" · ".join(notes), width), fontsize=9, color=_GREY)


def whole_numbers(ax: Axes) -> None:
    """Whole numbers at the x axis."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))


def short(value: float) -> str:
    """A number in a cell: two digits, or all before the point."""
    return f"{value:.0f}" if 10 <= abs(value) < 1e5 else f"{value:.2g}"


def add_scale(figure: Figure, ax: Axes, scale: Any) -> None:
    """A colour bar as high as a panel, at its right."""
    figure.colorbar(scale, cax=ax.inset_axes((1.02, 0, 0.025, 1)))


def sample_trace(network: Network, layer: str, x: Any) -> Trace:
    """Run one sample as far as `layer`."""
    return run_sample(network, layer, x, f"draw {layer}")


def check_picture(path: str | Path) -> str:
    """What kind of picture the name of a file asks for; a `FileError` now if `save` could not write it later."""
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise FileError(
            f"save: expected a file that ends in .png or .svg, got {brief(Path(path).name)}; choose one of them"
        )
    check_writable(path)
    return kind


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a picture to a file, whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What a function of this module returned.
    path : path
        Ends in .png or .svg.

    Raises
    ------
    FileError
        If the name ends otherwise, or the file cannot be written.
    """
    from matplotlib.text import Text

    path = Path(path)
    kind = check_picture(path)
    for text in figure.findobj(Text):
        told = text.get_text()
        harmless = "\n".join(map(shown, told.split("\n")))  # names may be anybody's
        if harmless != told:
            text.set_text(harmless)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=150))
