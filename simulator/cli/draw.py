"""The command that draws."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.common import (
    CatalogOptions,
    PictureType,
    build_options,
    planned_network,
    save_figure,
    the_catalog,
    was_given,
)
from simulator.cli.remembered import history_of
from simulator.cli.sample import sample_for, sample_options
from simulator.errors import brief

if TYPE_CHECKING:
    from simulator.files import Saved


class SpanType(click.ParamType):
    """FIRST:STOP, two numbers."""

    name = "FIRST:STOP"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        first, _, stop = value.partition(":")
        if not (first.isdecimal() and stop.isdecimal()):
            self.fail(f"expected two numbers such as 0:64, got {brief(value)}", param, ctx)
        return int(first), int(stop)


@click.command()
@click.argument("net")
@click.argument("layer", required=False)
@click.option(
    "--what",
    type=click.Choice(["matrix", "kernel", "graph", "activations", "curve"]),
    default="matrix",
    show_default=True,
    help="What to draw; a curve needs no layer.",
)
@click.option("--output", type=PictureType(), help="A .png or .svg file.  [default: LAYER-WHAT.png]")
@sample_options("; max pooling and ReLU are a matrix for one sample")
@click.option("--rows", type=SpanType(), help="Rows of a large matrix to show cell by cell.")
@click.option("--columns", type=SpanType(), help="Columns of a large matrix to show cell by cell.")
@click.option(
    "--order",
    type=click.Choice(["C", "F"]),
    default="C",
    show_default=True,
    help="Sites row by row, or column by column.",
)
@build_options
@CatalogOptions.decorate
def draw(
    net: str,
    layer: str | None,
    what: str,
    output: Path | None,
    data: str | None,
    sample: int,
    rows: tuple[int, int] | None,
    columns: tuple[int, int] | None,
    order: str,
    **build: Any,
) -> None:
    """Draw a layer, or how training went.

    NET is the name of an architecture or a saved network, LAYER the name of a node (see `simulator describe NET`). In
    pictures of a matrix and its graph up to 36 weights have a colour each: equal colours are equal weights. More are
    coloured by their values; the caption says which.
    """
    from simulator import draw as pictures
    from simulator.layers import MatrixLayer

    for name in ("rows", "columns", "order"):
        if what != "matrix" and was_given(name):
            raise click.UsageError(f"--{name}: expected --what matrix, got --what {what}; leave it out")
    catalog = the_catalog()
    planned = planned_network(catalog, net, **build)
    saved = planned.saved
    if what == "curve":
        figure = pictures.draw_curve(_history(saved, net))
    elif layer is None:
        layers = [name for name, node in saved.network.nodes.items() if node.inputs]
        raise click.UsageError(f"expected a layer, got none; name one of: {', '.join(layers)}")
    else:
        fixed = isinstance(saved.network.node(layer).layer, MatrixLayer)
        needed = what == "activations" or (what != "kernel" and not fixed)
        x = sample_for(catalog, saved, data, sample) if needed else None
        saved = planned.drawn()
        network = saved.network
        if what == "kernel":
            figure = pictures.draw_kernel(network, layer)
        elif what == "activations":
            figure = pictures.draw_activations(network, layer, x)
        elif what == "graph":
            figure = pictures.draw_graph(network, layer, x)
        else:
            figure = pictures.draw_matrix(network, layer, x, rows=rows, columns=columns, order=order)
    path = output or Path(f"{layer or 'training'}-{what}.png")
    save_figure(figure, path, saved)
    click.echo(f"Drew {path}")


def _history(saved: Saved, net: str) -> list[dict[str, Any]]:
    """The epochs that a checkpoint remembers."""
    from simulator.errors import FileError

    history = history_of(saved)
    if not history:
        raise FileError(
            f"draw curve: expected a network saved while training, got {net}; simulator train --save PATH makes one"
        )
    return history
