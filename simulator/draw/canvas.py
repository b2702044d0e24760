"""What all pictures share: figures without global state, captions, files."""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.errors import FileError, NotInstalledError, ShapeError, SimulatorError, brief, shown
from simulator.lab.sample import run_sample
from simulator.network import Network, Trace
from simulator.writing import check_writable, write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

STILL = ("png", "svg", "pdf")  # kinds of files that hold a picture
MOVING = ("gif", "png")  # those that hold a moving one


_GREY, MARK, GAP = "0.35", "tab:red", "#d9dfe6"
ON_WHITE = "on white"  # the gid of axes whose colours are made for a white paper
_DARK, _LIGHT = "#15181d", "#e4e6e9"


Labels = tuple[str, Sequence[str]]  # what an axis counts, and the number of each tile


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches that no global state knows; in a notebook it shows itself."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SimulatorError("draw: expected matplotlib, got none; pip install matplotlib") from None
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            memory = io.BytesIO()
            self.savefig(memory, format="png", dpi=100)
            return memory.getvalue()

    return Picture(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08))


def add_caption(figure: Figure, notes: Iterable[str]) -> None:
    """What the reader should know, below everything."""
    width = int(figure.get_figwidth() * 14)  # letters of this size per inch
    figure.supxlabel(textwrap.fill(" · ".join(notes), width), fontsize=9, color=_GREY)


def whole_numbers(axis: Axis) -> None:
    """Whole numbers at an axis."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))


def short(value: float) -> str:
    """A number in a cell: two digits, or all before the point."""
    return f"{value:.0f}" if 10 <= abs(value) < 1e5 else f"{value:.2g}"


def add_scale(figure: Figure, ax: Axes, scale: Any) -> None:
    """A colour bar as high as a panel, at its right."""
    figure.colorbar(scale, cax=ax.inset_axes((1.02, 0, 0.025, 1)))


def check_graph(graph: Any, what: str, needed: set[str]) -> None:
    """A `ShapeError` if this is no graph of such things, whose nodes carry what is needed."""
    import networkx as nx

    if (
        not isinstance(graph, nx.MultiDiGraph)
        or not graph
        or not all(needed <= data.keys() for _, data in graph.nodes.data())
    ):
        raise ShapeError(
            f"draw {what} graph: expected a graph of {what}s, got {brief(graph)}; make one with "
            f"simulator.lab.{what}_graph"
        )


def darken(figure: Figure) -> Figure:
    """Turn a picture for a dark slide: what stands on the paper becomes light, what stands on colours stays.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What a function of this module returned; it is changed.

    Returns
    -------
    matplotlib.figure.Figure
        The same.

    Examples
    --------
    >>> from simulator import Conv, Network
    >>> from simulator.draw import draw_kernel
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3)], rng=0)
    >>> darken(draw_kernel(net, "conv1")).get_facecolor()[:3] < (0.2, 0.2, 0.2)
    True
    """
    from matplotlib.axes import Axes
    from matplotlib.colors import to_rgb
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

    figure.set_facecolor(_DARK)
    for text in figure.texts:
        text.set_color(_LIGHT)
    for ax in figure.findobj(Axes):
        legend = ax.get_legend()
        ax.tick_params(colors=_LIGHT, grid_alpha=0.25)
        if ax.get_gid() == ON_WHITE:
            if legend is not None:
                legend.set_frame_on(True)
                legend.get_frame().set_alpha(1)
            continue
        ax.set_facecolor(_DARK)
        for spine in ax.spines.values():
            if to_rgb(spine.get_edgecolor()) != to_rgb(GAP):
                spine.set_color(_LIGHT)
        for text in (ax.title, ax.xaxis.label, ax.yaxis.label, *(() if legend is None else legend.get_texts())):
            text.set_color(_LIGHT)
        if ax.images:
            continue  # numbers and marks there stand on colours
        bare: list[Text | Line2D] = [text for text in ax.texts if text.get_bbox_patch() is None]
        for part in (*bare, *ax.lines):
            if max(to_rgb(part.get_color())) < 0.1:
                part.set_color(_LIGHT)
    return figure


def outline(ax: Axes, mask: np.ndarray, width: float) -> None:
    """Draw the border of some cells (rows, columns) of an image in red."""
    edges = np.pad(mask, 1)
    high, wide = np.argwhere(edges[1:, 1:-1] != edges[:-1, 1:-1]), np.argwhere(edges[1:-1, 1:] != edges[1:-1, :-1])
    ax.hlines(high[:, 0] - 0.5, high[:, 1] - 0.5, high[:, 1] + 0.5, color=MARK, linewidth=width, clip_on=False)
    ax.vlines(wide[:, 1] - 0.5, wide[:, 0] - 0.5, wide[:, 0] + 0.5, color=MARK, linewidth=width, clip_on=False)


def sample_trace(network: Network, layer: str, x: Any) -> Trace:
    """Run one sample as far as `layer`."""
    return run_sample(network, layer, x, f"draw {layer}")


def check_picture(path: str | Path, kinds: Sequence[str] = STILL) -> str:
    """What kind of picture the name of a file asks for; a `FileError` now if it could not be written later."""
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in kinds:
        wanted = " or ".join(filter(None, (", ".join(f".{each}" for each in kinds[:-1]), f".{kinds[-1]}")))
        raise FileError(
            f"save: expected a file that ends in {wanted}, got {brief(Path(path).name)}; choose one of them"
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
        Ends in .png, .svg or .pdf.

    Raises
    ------
    FileError
        If the name ends otherwise, or the file cannot be written.
    """
    path = Path(path)
    kind = check_picture(path)
    _escape(figure)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=150))


def save_frames(figures: Iterable[Figure], path: str | os.PathLike[str], seconds: float = 0.5) -> None:
    """Write pictures of one size as one moving picture, whole or not at all.

    Parameters
    ----------
    figures : iterable of matplotlib.figure.Figure
        At least one.
    path : path
        Ends in .gif or .png (then an animated PNG).
    seconds : float, default 0.5
        That each is shown.

    Raises
    ------
    FileError
        If the name ends otherwise, or the file cannot be written.
    NotInstalledError
        If Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError:
        raise NotInstalledError(
            "save: expected Pillow, which writes moving pictures, got none; pip install pillow"
        ) from None
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path = Path(path)
    kind = check_picture(path, MOVING)
    frames = []
    for figure in figures:
        _escape(figure)
        canvas = FigureCanvasAgg(figure)
        figure.dpi = 100
        canvas.draw()
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))
    if kind == "gif":  # one palette for all, or colours would change from frame to frame
        colours = Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames[:: -(-len(frames) // 8)]]))
        palette = colours.quantize(256, dither=Image.Dither.NONE)
        frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    more: dict[str, Any] = {"append_images": frames[1:], "duration": round(1000 * seconds), "loop": 0}

    def write(temporary: Path) -> None:
        frames[0].save(temporary, kind.upper(), save_all=True, **more)

    write_atomically(path, write)


def _escape(figure: Figure) -> None:
    """Show what could steer a terminal or a printer as text: names may be anybody's."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        told = text.get_text()
        harmless = "\n".join(map(shown, told.split("\n")))
        if harmless != told:
            text.set_text(harmless)
