"""Give some units of a network other values, and see what it changes in all the others, and in the loss."""

from __future__ import annotations

import click

from simulator.cli.common import (
    CatalogOptions,
    PairType,
    build_options,
    dtype_option,
    planned_network,
    print_json,
    report_options,
    shape_text,
    the_catalog,
    title_of,
)
from simulator.cli.completion import nets, units_of_net
from simulator.cli.grammar import examples
from simulator.cli.remembered import with_classes
from simulator.cli.sample import chosen_data, sample_options
from simulator.cli.tables import cell, formatted, print_table, table
from simulator.cli.terminal import error_console, say
from simulator.cli.use import objective_of
from simulator.errors import brief

_CLASSES = 10  # to print
_RUNS = 3  # all activations before, after, and their differences


@click.command(
    "effect",
    epilog=examples(
        "simulator effect lenet5 --ablate 'conv1[2]'", "simulator effect lenet5 --clamp 'conv2[3]=0.5' --sample 7"
    ),
)
@click.argument("net", shell_complete=nets)
@click.option(
    "--clamp",
    metavar="UNITS=VALUE",
    shell_complete=units_of_net,
    type=PairType(),
    multiple=True,
    help="Give units this value, such as 'conv2[3]=0.5'; may be repeated.",
)
@click.option(
    "--ablate",
    metavar="UNITS",
    shell_complete=units_of_net,
    multiple=True,
    help="Give units the value 0; may be repeated.",
)
@click.option(
    "--patch",
    metavar="UNITS=SAMPLE",
    shell_complete=units_of_net,
    type=PairType(),
    multiple=True,
    help="Give units the values that they have for another sample, by its number; may be repeated.",
)
@sample_options()
@dtype_option("float64")
@build_options
@report_options
@CatalogOptions.decorate
def command(net, clamp, ablate, patch, data, sample, dtype, as_json, **build):
    """See what changes when some units are given other values.

    NET is the name of an architecture or a saved network. UNITS is an address, in quotes: a unit 'conv2[3, 4, 5]'
    (channel, then site), a channel 'conv2[3]', a site 'conv2[:, 4, 5]', or a whole layer 'conv2'.
    """
    from simulator import Units
    from simulator.lab import effect

    clamps, patches = _by_units("--clamp", clamp, float), _by_units("--patch", patch, int)
    for units, number in patches.items():
        if number < 0:
            raise click.UsageError(f"--patch {units}: expected a sample from 0 on, got {brief(number)}; try {units}=7")
    catalog = the_catalog()
    with error_console().status("Running ..."):
        engine = catalog.engine("blas")  # it needs neither CSR matrices nor compilation
        planned = planned_network(catalog, net, dtype=dtype, engine=engine, **build)
        saved = planned.saved
        if not (clamp or ablate or patch):
            unit = f"{next(name for name, node in saved.network.nodes.items() if node.inputs)}[0]"
            raise click.UsageError(
                f"expected units to change, got none; add --clamp '{unit}=1', --ablate '{unit}' or --patch '{unit}=1'"
            )
        for units in (*clamps, *ablate, *patches):
            Units.of(saved.network.nodes, units)  # or an error, before weights are drawn
        drawn = planned.checked(lambda network: network.check_batch(1, keep_all=True, runs=_RUNS))
        samples = chosen_data(catalog, saved, data)
        x = samples.sample(sample)
        sources = {units: samples.sample(number) for units, number in patches.items()}
        label, names = _label(saved, samples, sample)
        saved = drawn()
        network = saved.network
        loss = None if label is None else objective_of(catalog, saved)[1].get(network.output_name)
        found = effect(network, x, clamp=clamps, ablate=ablate, patch=sources, target=label, loss=loss)
        classes = [] if label is None else _classes(found, network, names)
    nodes = [
        {
            "node": name,
            "units": change.before.size,
            "changed": change.changed,
            "largest": change.largest,
            "relative": change.relative,
        }
        for name, change in found.changes.items()
    ]
    if as_json:
        losses = {"loss_before": found.loss_before, "loss_after": found.loss_after}
        report = {"network": net, "untrained": saved.untrained, "sample": sample, "nodes": nodes, "label": label}
        print_json({**report, **losses, "classes": classes})
        return
    made = table("node", "output", "units", "changed", "largest\nchange", "change of\nthe norm", left=2)
    for row in nodes:
        if row["changed"]:
            cells = cell(row["units"]), cell(row["changed"]), cell(row["largest"], ".4g"), cell(row["relative"], ".1%")
            made.add_row(row["node"], shape_text(network.node(row["node"]).shape), *cells)
    title = f"Effect on {title_of(net, saved)}, sample {sample}{samples.told(sample)}"
    same = len(nodes) - len(found.changed)
    if found.changed or formatted():
        print_table(title, made)
    else:
        say(f"{title}: nothing changes\n", bold=True)
    if found.changed and same:
        click.echo(f"{same} of {len(nodes)} nodes {'are' if same > 1 else 'is'} unchanged.\n")
    if label is None:
        return
    made = table("class", "before", "after")
    for row in sorted(classes, key=lambda row: -max(row["before"], row["after"]))[:_CLASSES]:
        made.add_row(row["class"], cell(row["before"], ".2%"), cell(row["after"], ".2%"))
    print_table("Probabilities", made)
    click.echo(
        f"Loss {found.loss_before:.4f} before, {found.loss_after:.4f} after; the sample is of class {names[label]}."
    )


def _by_units(option, pairs, kind):
    """The values by address; an address that stands there twice is refused."""
    from simulator.declared import Option

    given = {units: Option(units, kind).parsed(text, option) for units, text in pairs}
    if len(given) < len(pairs):
        twice = next(units for units, _ in pairs if [other for other, _ in pairs].count(units) > 1)
        raise click.UsageError(f"{option} {twice}: expected one value, got several; leave out all but one")
    return given


def _label(saved, samples, number):
    """The sample's label and the names of the classes; None where the network or the data do not classify."""
    network = saved.network
    data = samples.one(number)
    if data.labels is None or len(network.outputs) > 1 or len(network.output_shape) > 1:
        return None, []
    data = with_classes(data, saved, samples.source)
    count = network.output_shape[0]
    names = [*data.classes, *map(str, range(len(data.classes), count))]
    label = int(data.labels[0])
    return (label, names) if label < count else (None, [])


def _classes(found, network, names):
    """Each class with its probability before and after."""
    from scipy.special import softmax

    before, after = (softmax(trace[network.output_name][0]) for trace in (found.before, found.after))
    return [
        {"class": name, "before": float(p), "after": float(q)} for name, p, q in zip(names, before, after, strict=False)
    ]
