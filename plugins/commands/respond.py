"""What a unit responds to: the strongest samples among the data, and the input that it prefers."""

from __future__ import annotations

import click

from simulator.cli.common import (
    CatalogOptions,
    build_options,
    compiled,
    engine_options,
    planned_network,
    print_json,
    progress_bar,
    report_options,
    save_figure,
    the_catalog,
    title_of,
)
from simulator.cli.completion import nets, units_of_net
from simulator.cli.grammar import examples, limit_option, picture_option
from simulator.cli.sample import chosen_data, data_option
from simulator.cli.steps import NETWORK, free, next_command, say_next
from simulator.cli.tables import cell, print_table, table
from simulator.errors import counted


@click.command(
    "respond",
    epilog=examples(
        "simulator respond lenet5 'conv2[3]'", "simulator respond net.safetensors 'dense1[3]' --output responses.png"
    ),
)
@click.argument("net", shell_complete=nets)
@click.argument("unit", metavar="UNIT", shell_complete=units_of_net)
@data_option("Where to search.")
@limit_option("samples", 9, ["--count"])
@click.option(
    "--steps", metavar="N", type=click.IntRange(1), default=100, show_default=True, help="Steps of gradient ascent."
)
@picture_option("what was found")
@engine_options
@build_options
@report_options
@CatalogOptions.decorate
def command(net, unit, data, limit, steps, output, engine, threads, as_json, **build):
    """Find what a unit responds to most.

    NET is the name of an architecture or a saved network, UNIT an address in quotes, such as 'conv2[3, 4, 5]' (channel,
    then site), or a channel 'conv2[3]', which counts with its strongest site. The preferred input is found by gradient
    ascent from the strongest sample, which keeps its norm.
    """
    from simulator import Units
    from simulator.lab import NoGradientError, preferred_input, strongest

    catalog = the_catalog()
    planned = planned_network(catalog, net, **build)
    saved = planned.saved
    units = Units.of(saved.network.nodes, unit)
    made = catalog.engine(engine, threads)
    drawn = planned.checked(lambda network: network.with_engine(made).check_batch(1, of=[units.node], backward=True))
    chosen = chosen_data(catalog, saved, data)
    known, source = chosen.data.joined(), chosen.source
    saved = drawn()
    network = compiled(saved.network.with_engine(made), len(known) + 3 * steps)
    with progress_bar(f"Running {source}") as on_batch:
        found = strongest(network, units, known, limit, on_batch=on_batch)
    best = units.node, found.fields[0].unit
    try:
        with progress_bar("Climbing") as on_step:
            preferred = preferred_input(network, best, steps=steps, x0=found.inputs[0], on_step=on_step)
    except NoGradientError:
        preferred = None
    if output is not None:
        from simulator.draw import draw_responses

        save_figure(draw_responses(found, preferred), output, title_of(net, saved))
    rows = [
        {
            "sample": int(sample),
            "label": None if known.labels is None else _name(known, int(known.labels[sample])),
            "response": float(value),
            "unit": str(Units.of(network.nodes, (units.node, field.unit))),
            "sees": [list(map(int, span)) for span in field.box],
        }
        for sample, value, field in zip(found.samples, found.values, found.fields, strict=True)
    ]
    if as_json:
        climb = None
        if preferred is not None:
            climb = {"unit": str(preferred.unit), "start": float(preferred.history[0]), "response": preferred.value}
        report = {"network": net, "untrained": saved.untrained, "unit": str(units), "data": source}
        print_json({**report, "strongest": rows, "preferred": climb})
        return
    made = table("sample", "label", "response", "unit", "sees", left=2)
    for row in rows:
        box = " x ".join(f"{first}:{stop}" for first, stop in row["sees"])
        made.add_row(cell(row["sample"], "d"), row["label"] or "", cell(row["response"], ".4g"), row["unit"], box)
    among = counted(len(known), "sample", f" of {source}")
    print_table(f"{units} of {title_of(net, saved)}: the strongest of {among}", made)
    start = rows[0]["sample"]
    if preferred is None:
        click.echo(f"No preferred input: at sample {start} the gradient of {Units.of(network.nodes, best)} is 0.")
    else:
        click.echo(
            f"The preferred input, {counted(steps, 'step')} of gradient ascent from sample {start}, whose norm is "
            f"kept: {preferred.unit} responds {preferred.value:.4g} instead of {preferred.history[0]:.4g}."
        )
    if output is not None:
        click.echo(f"Drew {output}")
    elif preferred is not None:
        say_next(next_command(add={"--output": free("responses.png")}), "to see them")
    nodes = network.nodes
    read = nodes[units.node].inputs
    if preferred is None and len(read) == 1 and nodes[read[0]].shape == nodes[units.node].shape:
        before = str(units).replace(units.node, read[0], 1)
        say_next(next_command("respond", net, before, keep=(*NETWORK, "--data")), "what it reads")


def _name(data, label):
    return data.classes[label] if data.classes else str(label)
