"""Clamp each unit, channel or site of a layer in turn, and rank them by what becomes of the loss."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice

import click

from simulator.cli.alone import is_layer
from simulator.cli.common import (
    CatalogOptions,
    build_options,
    compiled,
    engine_options,
    is_file,
    planned_network,
    print_json,
    progress_bar,
    report_options,
    save_figure,
    the_catalog,
    title_of,
)
from simulator.cli.completion import layers_of_net, nets
from simulator.cli.grammar import examples, limit_option, listed, picture_option, samples_option
from simulator.cli.remembered import with_classes
from simulator.cli.sample import data_of, data_options
from simulator.cli.steps import NETWORK, next_command, say_next
from simulator.cli.tables import cell, print_table, table
from simulator.cli.use import objective_of
from simulator.errors import brief, counted


class ValueType(click.ParamType):
    """A number, or mean."""

    name = "NUMBER"

    def convert(self, value, param, ctx):
        if value == "mean":
            return value
        try:
            return float(value)
        except ValueError:
            self.fail(f"expected a number or mean, got {brief(value)}", param, ctx)


@click.command(
    "ablate",
    epilog=examples(
        "simulator ablate net.safetensors conv2",
        "simulator ablate lenet5 pool2 --by unit --samples 20 --output harm.png",
    ),
)
@click.argument("net", shell_complete=nets)
@click.argument("layer", shell_complete=layers_of_net)
@click.option(
    "--by",
    type=click.Choice(["unit", "channel", "site"]),
    default="channel",
    show_default=True,
    help="What to clamp at a time.",
)
@click.option(
    "--value",
    metavar="VALUE",
    type=ValueType(),
    default="0",
    show_default=True,
    help="What to clamp to: a number, or mean, which gives each unit its own over the samples.",
)
@samples_option("Measure on the first N samples.  [default: all]")
@limit_option("units, channels or sites")
@picture_option("the loss without each")
@data_options
@engine_options
@build_options
@report_options
@CatalogOptions.decorate
def command(net, layer, by, value, samples, limit, output, source, every, engine, threads, as_json, **build):
    """Rank a layer's channels or units by the harm of losing them.

    NET is the name of an architecture or a saved network, LAYER the name of a node (see `simulator describe NET`). Each
    is clamped in turn, and the loss measured: on the samples held out of training, unless --all or --data are given.
    """
    from simulator.lab import ablation, silence

    if is_layer(net):
        raise click.UsageError(
            f"expected an architecture or a saved network, got the layer {net}, which has no loss; "
            "simulator effect shows what ablating changes"
        )
    catalog = the_catalog()
    planned = planned_network(catalog, net, **build)
    saved = planned.saved
    saved.network.node(layer)  # or an error, before weights are drawn
    made = catalog.engine(engine, threads)
    drawn = planned.checked(lambda network: network.with_engine(made).check_batch(1))
    if source is None and not is_file(catalog, net):
        source = "digits"
    chosen = data_of(catalog, [saved], source, every)
    task, losses, _ = objective_of(catalog, saved)
    data, what = chosen.data.take(slice(samples)), chosen.what
    data = replace(data, targets=data.inputs) if task == "reconstruct" else with_classes(data, saved, what)
    saved = drawn()
    shape = saved.network.node(layer).shape
    parts = math.prod({"unit": shape, "channel": shape[:1], "site": shape[1:]}[by])
    network = compiled(saved.network.with_engine(made), len(data) * (1 + parts))
    with progress_bar(f"Ablating {layer}") as on_batch:
        loss = losses[network.output_name]
        found = ablation(network, data, layer, by, value=value, loss=loss, on_batch=on_batch)
    silent = silence(network, data)
    if output is not None:
        from simulator.draw import draw_ablation

        save_figure(draw_ablation(found), output, title_of(net, saved))
    chosen.tell()
    rows = list(islice(found.ranking, listed(limit, found.loss.size)))
    before = {"loss": found.loss_before, "accuracy": found.accuracy_before}
    if as_json:
        ranking = [{"units": str(units), "loss": loss, "accuracy": share} for units, loss, share in rows]
        print_json(
            {
                "network": net,
                "untrained": saved.untrained,
                "layer": layer,
                "by": by,
                "samples": len(data),
                "before": before,
                "ranking": ranking,
                "silence": silent.as_dict(),
            }
        )
        return
    made = table("without", "loss", "change", "accuracy")
    made.add_row("nothing", cell(found.loss_before, ".4f"), "", cell(found.accuracy_before, ".2%"))
    made.add_section()
    for units, loss, share in rows:
        change = cell(loss - found.loss_before, "+.4f")
        made.add_row(str(units), cell(loss, ".4f"), change, cell(share, ".2%"))
    given = "its mean" if value == "mean" else f"{value:g}"
    what = f"{layer} of {title_of(net, saved)} by {by}, each clamped to {given}"
    print_table(f"{what}, on {counted(len(data), chosen.kind, chosen.rest)}", made)
    if found.loss.size > len(rows):
        click.echo(f"The {len(rows)} most harmful of {found.loss.size}; --limit {found.loss.size} lists all.")
    if silent.shapes:
        click.echo(silent.told(chosen.kind, chosen.rest))
    if output is not None:
        click.echo(f"Drew {output}")
    units, _, _ = next(found.ranking)
    add = {"--ablate": units, "--sample": chosen.numbers[0]}
    say_next(
        next_command("effect", net, keep=(*NETWORK, "--data"), add=add), "what it changes at the first of these samples"
    )
