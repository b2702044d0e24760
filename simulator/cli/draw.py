"""The command that draws."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.common import (
    CatalogOptions,
    build_options,
    planned_network,
    progress_bar,
    save_figure,
    the_catalog,
    title_of,
    titled,
    was_given,
)
from simulator.cli.completion import layers_of_net, nets, units_of_net
from simulator.cli.grammar import examples, output_option
from simulator.cli.remembered import history_of
from simulator.cli.sample import sample_for, sample_options
from simulator.cli.steps import NETWORK, free, next_command
from simulator.errors import brief

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulator.files import Saved
    from simulator.units import Units


_FRAMES = 400  # of a moving picture


class SpanType(click.ParamType):
    """FIRST:STOP, two numbers."""

    name = "FIRST:STOP"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        first, _, stop = value.partition(":")
        if not (first.isdecimal() and stop.isdecimal()):
            self.fail(f"expected two numbers such as 0:64, got {brief(value)}", param, ctx)
        return int(first), int(stop)


@click.command(
    epilog=examples(
        "simulator draw lenet5 conv1",
        "simulator draw lenet5 conv1 --what window --unit 'conv1[0, 14, 14]'",
        "simulator draw net.safetensors --what curve --output curve.svg",
    )
)
@click.argument("net", shell_complete=nets)
@click.argument("layer", required=False, shell_complete=layers_of_net)
@click.option(
    "--what",
    type=click.Choice(["matrix", "window", "kernel", "graph", "activations", "curve"]),
    default="matrix",
    show_default=True,
    help="What to draw; a window is one unit as a window and as a row of the matrix; a curve needs no layer.",
)
@output_option("A .png, .svg or .pdf file, with --step a .gif or .png file.  [default: LAYER-WHAT.png]", ())
@click.option(
    "--unit",
    metavar="UNIT",
    shell_complete=units_of_net,
    help="The unit of a window, such as 'conv1[0, 3, 4]'.  [default: one in the middle]",
)
@click.option(
    "--step",
    type=click.Choice(["all", "row"]),
    help="Walk the window over all its positions, or those in its row of the map: a moving .gif or .png file.",
)
@click.option(
    "--values/--no-values",
    default=None,
    help="Whether a window's cells say their numbers.  [default: where there is room]",
)
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
    unit: str | None,
    step: str | None,
    values: bool | None,
    **build: Any,
) -> None:
    """Draw a layer, or how training went.

    NET is the name of an architecture or a saved network, LAYER the name of a node (see `simulator describe NET`). In
    pictures of a matrix and its graph up to 36 weights have a colour each: equal colours are equal weights. More are
    coloured by their values; the caption says which.
    """
    from simulator import draw as pictures
    from simulator.draw.canvas import MOVING, STILL, check_picture
    from simulator.layers import MatrixLayer

    for kind, names in (("matrix", ("rows", "columns", "order")), ("window", ("unit", "step", "values"))):
        for name in names:
            if what != kind and was_given(name):
                raise click.UsageError(f"--{name}: expected --what {kind}, got --what {what}; leave it out")
    if output is not None:
        check_picture(output, STILL if step is None else MOVING)
    catalog = the_catalog()
    engine = catalog.engine("blas")  # it needs neither CSR matrices nor compilation
    planned = planned_network(catalog, net, engine=engine, **build)
    saved = planned.saved
    if what == "curve":
        figure, title = pictures.draw_curve(_history(saved, net)), title_of(net, saved)
    else:
        layers = [name for name, node in saved.network.nodes.items() if node.inputs]
        if layer is None and len(layers) > 1:
            raise click.UsageError(f"expected a layer, got none; name one of: {', '.join(layers)}")
        layer = layer or layers[0]
        fixed = isinstance(saved.network.node(layer).layer, MatrixLayer)
        units = _unit_of(saved, layer, unit) if what == "window" else None
        needed = what in ("activations", "window") or (what != "kernel" and not fixed)
        drawn = planned.drawn
        if needed:
            drawn = planned.checked(lambda network: network.check_batch(1, of=[layer], keep_all=True))
        x = sample_for(catalog, saved, data, sample) if needed else None
        saved = drawn()
        network = saved.network
        title = title_of(net, saved) + (f", sample {sample}" if needed else "")
        if units is not None and step is not None:
            path = output or Path(free(f"{layer}-window.gif"))
            _save_walk(saved, units, x, step, values, path, title)
            click.echo(f"Drew {path}")
            return
        if units is not None:
            figure = pictures.draw_window(network, units, x, values=values)
        elif what == "kernel":
            figure = pictures.draw_kernel(network, layer)
        elif what == "activations":
            figure = pictures.draw_activations(network, layer, x)
        elif what == "graph":
            figure = pictures.draw_graph(network, layer, x)
        else:
            figure = pictures.draw_matrix(network, layer, x, rows=rows, columns=columns, order=order)
    path = output or Path(free(f"{layer or 'training'}-{what}.png"))
    save_figure(figure, path, title)
    click.echo(f"Drew {path}")


def _history(saved: Saved, net: str) -> list[dict[str, Any]]:
    """The epochs that a checkpoint remembers."""
    from simulator.errors import FileError

    history = history_of(saved)
    if not history:
        raise FileError(
            f"draw curve: expected a network saved while training, got {net}; train it: "
            + next_command("train", net, keep=(*NETWORK, "--data"), add={"--save": free("net.safetensors")})
        )
    return history


def _unit_of(saved: Saved, layer: str, unit: str | None) -> Units:
    """The unit of the layer that is asked for, or one in the middle of its first channel."""
    from simulator.units import Units

    nodes = saved.network.nodes
    if unit is None:
        channels, *space = saved.network.node(layer).node.shape
        return Units.of(nodes, (layer, (0, *(n // 2 for n in space)) if space else (channels // 2,)))
    units = Units.of(nodes, unit)
    if units.node != layer:
        raise click.UsageError(f"--unit: expected a unit of {layer}, got {units}; name its layer, {units.node}")
    return units


def _save_walk(saved: Saved, units: Units, x: Any, step: str, values: bool | None, path: Path, title: str) -> None:
    """A moving picture of the window on its way."""
    from simulator.draw import save_frames, walk_window
    from simulator.draw.window import walked

    count = len(walked(units, step))
    if count > _FRAMES:
        raise click.UsageError(
            f"--step {step}: expected at most {_FRAMES} positions, got {count:,}; give --step row, or a smaller --input"
        )
    walk = walk_window(saved.network, units, x, values=values, step=step)
    with progress_bar("Drawing") as on_frame:

        def frames() -> Iterator[Figure]:
            for done, figure in enumerate(walk):
                on_frame(done, count)
                yield titled(figure, title)

        save_frames(frames(), path)
