"""The command that gives graphs: a network's layers, its units, or those around one; as a picture or a file."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from simulator.cli.alone import stem
from simulator.cli.common import (
    CatalogOptions,
    build_options,
    json_option,
    planned_network,
    print_json,
    save_figure,
    the_catalog,
    title_of,
    was_given,
)
from simulator.cli.completion import nets, units_of_net
from simulator.cli.grammar import examples, output_option
from simulator.cli.sample import sample_for, sample_options
from simulator.cli.steps import NETWORK, free, next_command, say_next
from simulator.errors import brief, counted

_FEW = 100  # connections of a unit, in a picture
_PICTURES, _FILES = ("png", "svg", "pdf"), ("graphml", "gexf")


@click.command(
    "graph", epilog=examples("simulator graph resnet8", "simulator graph lenet5 'conv2[3, 4, 5]' --output unit.graphml")
)
@click.argument("net", shell_complete=nets)
@click.argument("unit", required=False, shell_complete=units_of_net)
@click.option("--units", is_flag=True, help="All units of a small network, instead of its layers.")
@click.option(
    "--hops",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many layers to go back from UNIT, and how many forward.",
)
@click.option(
    "--every-layer",
    is_flag=True,
    help="Draw each layer in a box of its own, those that act unit by unit and equal blocks, too.",
)
@click.option(
    "--max-edges",
    metavar="N",
    type=click.IntRange(1),
    default=100_000,
    show_default=True,
    help="A graph of units with more connections is refused.",
)
@output_option(
    "A .png, .svg or .pdf picture, or a .graphml or .gexf file for other programs.  [default: NET-graph.png]",
    (*_PICTURES, *_FILES),
)
@sample_options(". With --data or --sample units have values; max pooling and ReLU are a matrix for it")
@build_options
@json_option
@CatalogOptions.decorate
def command(net, unit, units, hops, every_layer, max_edges, output, data, sample, as_json, **build):
    """Give a network as a graph of its layers or units.

    NET is the name of an architecture or a saved network. UNIT is an address such as 'conv2[3, 4, 5]', a channel
    'conv2[3]' or a site 'conv2[:, 4, 5]': the graph is what it reads and who reads it. Colours are weights, as the
    caption says; files carry name, value and tie of the weight on every connection. An architecture has weights only
    with a sample.
    """
    if every_layer and (unit or units):
        raise click.UsageError("--every-layer: expected a graph of layers, got one of units; leave it out")
    sampled = was_given("data") or was_given("sample")
    if unit and units:
        raise click.UsageError(f"--units: expected no UNIT with it, got {brief(unit)}; leave out one of them")
    if was_given("hops") and not unit:
        raise click.UsageError("--hops: expected a UNIT with it, got none; name one, such as 'conv1[0, 3, 4]'")
    if sampled and not (unit or units):
        raise click.UsageError("--data, --sample: expected a UNIT or --units with it, got none; layers have no value")
    from simulator import Units, draw
    from simulator.draw.canvas import check_picture
    from simulator.lab import layer_graph, unit_graph, write_graph

    of_units, path = bool(unit or units), output or Path(free(f"{stem(net)}-graph.png"))
    picture = check_picture(path, (*_PICTURES, *_FILES)) in _PICTURES
    catalog = the_catalog()
    with _status(f"making the graph of {net}"):
        engine = catalog.engine("blas")  # it needs neither CSR matrices nor compilation
        planned = planned_network(catalog, net, rng=0 if sampled else None, engine=engine, **build)
        saved = planned.saved
        if of_units:
            if unit:
                node = Units.of(saved.network.nodes, unit).node  # or an error, before weights are drawn
            drawn = planned.drawn
            if sampled:
                of = [node] if unit else None
                drawn = planned.checked(lambda network: network.check_batch(1, of=of, keep_all=True))
            x = sample_for(catalog, saved, data, sample) if sampled else None
            saved = drawn()
            graph = unit_graph(saved.network, unit, hops=hops, x=x, max_edges=max_edges)
        else:
            graph = layer_graph(saved.network)
    nodes, edges = graph.number_of_nodes(), graph.number_of_edges()
    with _status(f"writing {path}, {edges:,} edges"):
        if picture:
            title = title_of(net, saved) + (f", sample {sample}" if sampled else "")
            drawing = draw.draw_unit_graph(graph) if of_units else draw.draw_layer_graph(graph, every=every_layer)
            save_figure(drawing, path, title)
        else:
            write_graph(graph, path)
    word, line = ("unit", "connection") if of_units else ("node", "edge")
    if as_json:
        what = "units" if of_units else "layers"
        print_json(
            {
                "network": net,
                "untrained": saved.untrained,
                "file": str(path),
                "what": what,
                "nodes": nodes,
                "edges": edges,
            }
        )
        return
    counts = f"{counted(nodes, word)}, {counted(edges, line)}"
    click.echo(f"{'Drew' if picture else 'Wrote'} {path}: {counts}")
    if not of_units:
        some = _some_unit(saved.network)
        if some is not None:
            say_next(next_command("graph", net, some, keep=NETWORK), "one unit and its neighbours")
    elif picture:
        output = free(path.with_suffix(".graphml"))
        say_next(next_command(add={"--output": output}), "all names and numbers, for other programs")


def _status(what):
    """What is being done, on a terminal."""
    from simulator.cli.terminal import error_console

    console = error_console(markup=False)
    return console.status(f"{what} ...") if console.is_terminal else contextlib.nullcontext()


def _some_unit(network):
    """The address of a unit that reads few others, in the middle of a layer with weights; None if all read many."""
    nodes = [node for node in network.nodes.values() if node.param_shapes and node.pattern is not None]
    fans = {node.name: node.pattern.nnz / node.pattern.shape[0] for node in nodes}
    name = min(fans, key=fans.get, default=None)
    if name is None or fans[name] > _FEW:
        return None
    return f"{name}[{', '.join(str(n // 2) for n in network.node(name).shape)}]"
