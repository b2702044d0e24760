"""Look at one unit: what it reads for a sample, product by product; who reads it; what it sees."""

from __future__ import annotations

import click

from simulator.cli.common import (
    CatalogOptions,
    build_options,
    dtype_option,
    planned_network,
    print_json,
    report_options,
    save_figure,
    the_catalog,
    title_of,
    was_given,
)
from simulator.cli.completion import layers_of_net, nets, units_of_net
from simulator.cli.grammar import examples, limit_option, listed, picture_option
from simulator.cli.sample import chosen_data, sample_options
from simulator.cli.steps import NETWORK, SAMPLES, next_command, say_next
from simulator.cli.tables import cell, formatted, print_table, table
from simulator.cli.terminal import error_console, say


@click.command(
    "unit",
    epilog=examples(
        "simulator unit lenet5 'conv2[3, 4, 5]'",
        "simulator unit net.safetensors 'dense1[3]' --sample 7 --output unit.png",
        "simulator unit vgg16 'conv3_2[0, 9, 9]' --field",
    ),
)
@click.argument("net", shell_complete=nets)
@click.argument("unit", metavar="UNIT", shell_complete=units_of_net)
@click.option("--outgoing", is_flag=True, help="Who reads the unit, instead of what it reads.")
@click.option("--field", is_flag=True, help="Which units it sees and reaches, and over how many paths, instead.")
@click.option(
    "--of",
    metavar="NODE",
    shell_complete=layers_of_net,
    help="The node in which the field lies.  [default: input and output]",
)
@limit_option("connections")
@picture_option("the products, or with --field what the unit sees,")
@sample_options()
@dtype_option("float64")
@build_options
@report_options
@CatalogOptions.decorate
def command(net, unit, outgoing, field, of, limit, output, data, sample, dtype, as_json, **build):
    """Take one unit apart.

    NET is the name of an architecture or a saved network, UNIT an address (channel, then site) such as
    'conv2[3, 4, 5]' or 'dense3[7]', in quotes. For one sample the products of all connections and the bias add up to
    the unit's value.
    """
    from simulator import Units

    if outgoing and field:
        raise click.UsageError("--outgoing: expected one question at a time, got --field, too; leave one out")
    if of is not None and not field:
        raise click.UsageError("--of: expected --field with it, got none; add it")
    if output is not None and outgoing:
        raise click.UsageError("--output: expected what the unit reads, got --outgoing; draw --field --of NODE instead")
    if field and was_given("limit"):
        raise click.UsageError("--limit: expected connections to count, got --field; leave one out")
    catalog = the_catalog()
    bare = field and output is None  # a field does not depend on the weights
    with error_console().status("Running ..."):
        engine = catalog.engine("blas")  # it needs neither CSR matrices nor compilation
        planned = planned_network(catalog, net, rng=None if bare else 0, dtype=dtype, engine=engine, **build)
        saved = planned.saved
        address = Units.of(saved.network.nodes, unit)
        _ = address.number  # or an error, before weights are drawn
        drawn = planned.drawn
        if not bare:
            drawn = planned.checked(lambda network: network.check_batch(1, of=[address.node], keep_all=True))
        samples = None if bare else chosen_data(catalog, saved, data)
        x = None if bare else samples.sample(sample)
        saved = drawn()
        network = saved.network
        if field:
            report = _field(network, address, of)
        else:
            report = _outgoing(network, address, x) if outgoing else _incoming(network, net, address, x)
            if outgoing and not report["connections"] and network.graph.out_degree(address.node):
                report["lines"].append(_NONE)
        if output is not None:
            from simulator.draw import draw_field, draw_products

            figure = draw_field(network, address, x, of) if field else draw_products(network, address, x)
            save_figure(figure, output, f"{title_of(net, saved)}, sample {sample}")
    if as_json:
        if "connections" in report["json"]:
            report["json"]["connections"] = report["json"]["connections"][:limit]
        about = {"network": net, "untrained": saved.untrained, "unit": str(address)}
        print_json({**about, **({} if bare else {"sample": sample}), **report["json"]})
        return
    title = f"{address} of {title_of(net, saved)}"
    if not bare:
        title += f", sample {sample}{samples.told(sample)}"
    if report.get("connections") or (formatted() and not field):
        _print_connections(title, report["connections"], limit, outgoing)
    else:
        say(title, bold=True)
    for line in report["lines"]:
        click.echo(line)
    if output is not None:
        click.echo(f"Drew {output}")
    if report.get("next"):
        say_next(report["next"], "follow its largest product back")


_NONE = "At this sample nothing reads it: a ReLU that gives 0 reads nothing, a maximum only the largest of its window."


def _incoming(network, net, address, x):
    from simulator.lab import incoming

    found = incoming(network, address, x)
    read = found.largest()
    bias = () if found.bias is None else (found.bias,)
    lines, more = [f"{found.equation}, the same to {abs(found.total - found.value):.1e}."], None
    if not read and not bias:
        lines = [f"It reads nothing at this sample; its value is {found.value:.6g}."]
    if read and read[0].source is not None and network.nodes[read[0].source.node].inputs:
        more = next_command("unit", net, read[0].source, keep=(*NETWORK, *SAMPLES, "--dtype", "--limit"))
    return {
        "connections": (*read, *bias),
        "lines": lines,
        "next": more,
        "json": {
            "connections": [_plain(c) for c in read],
            "bias": None if found.bias is None else _plain(found.bias),
            "total": found.total,
            "value": found.value,
        },
    }


def _outgoing(network, address, x):
    from simulator.lab import outgoing

    found = outgoing(network, address, x)
    return {
        "connections": found.largest(),
        "lines": [f"{found!r}; its value is {found.value:.6g}."],
        "json": {"connections": [_plain(c) for c in found.largest()], "value": found.value},
    }


def _plain(connection):
    return {
        "source": connection.source_name,
        "target": str(connection.target),
        "weight": None if connection.weight is None else str(connection.weight),
        "value": connection.value,
        "input": connection.input,
        "product": connection.product,
    }


def _field(network, address, of):
    """The receptive field in an earlier node and the projective field in a later one."""
    import networkx as nx

    names = {network.input_name, network.output_name} - {address.node} if of is None else {network.node(of).name}
    earlier = {address.node, *nx.ancestors(network.graph, address.node)}
    found = [
        (_seen if name in earlier else _reached)(network, address, name) for name in network.nodes if name in names
    ]
    return {"lines": [line for lines, _ in found for line in lines], "json": {"fields": [plain for _, plain in found]}}


def _seen(network, address, of):
    from simulator.lab import paths
    from simulator.lab.paths import count_text

    counts = paths(network, address, of)  # takes more memory, and says so at once
    field = network.receptive_field(address, of=of)
    lines = [
        f"It sees {repr(field).split(': ', 1)[1]}.",
        f"Paths from there to it: {count_text(counts.sum())}, at most {count_text(counts.max())} from one unit.",
    ]
    plain = {
        "of": of,
        "kind": "receptive",
        "units": len(field.units),
        "box": field.box,
        "size": field.size,
        "stride": field.stride,
        "centre": field.centre,
        "paths": int(counts.sum()),
        "most_paths": int(counts.max()),
    }
    return lines, plain


def _reached(network, address, of):
    field = network.projective_field(address, of=of)
    plain = {"of": of, "kind": "projective", "units": len(field.units), "box": field.box}
    return [f"It reaches {repr(field).split(': ', 1)[1]}."], plain


def _print_connections(title, connections, limit, outgoing):
    end = "target" if outgoing else "source"
    made = table(end, "weight", "value", "input", "product", left=2)
    others = [c for c in connections if c.source is not None or c.constant == "padding"]
    shown = listed(limit, len(others))
    for c in (*others[:shown], *connections[len(others) :]):  # the bias, if any, stands last
        numbers = (cell(v, ".6g") for v in (c.value, c.input, c.product))
        made.add_row(str(c.target) if outgoing else c.source_name, c.weight_name, *numbers)
    print_table(title, made)
    if len(others) > shown:
        click.echo(f"The {shown} largest of {len(others):,} connections; --limit {len(others)} lists all.")
