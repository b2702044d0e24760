"""Loosen the sharing of a network without changing its function, or tighten it again, and measure what moved."""

from __future__ import annotations

import click

from simulator.cli.common import (
    CatalogOptions,
    build_options,
    is_file,
    network_from,
    planned_network,
    print_json,
    report_options,
    the_catalog,
    title_of,
)
from simulator.cli.completion import layers_of_net, nets
from simulator.cli.grammar import examples, samples_option
from simulator.cli.keeping import check_place, save_options
from simulator.cli.sample import chosen_data, data_option
from simulator.cli.steps import free, next_command, say_next
from simulator.cli.tables import cell, print_table, table
from simulator.errors import counted


@click.command(
    "sharing",
    epilog=examples(
        "simulator sharing lenet5 --untie --layers 'conv*'",
        "simulator sharing lenet5 --densify --layers conv1 --save dense.safetensors",
    ),
)
@click.argument("net", shell_complete=nets)
@click.option("--untie", is_flag=True, help="Give every connection a weight of its own.")
@click.option("--densify", is_flag=True, help="Make every cell of the matrices a weight, zeros too.")
@click.option(
    "--retie",
    "like",
    metavar="LIKE",
    shell_complete=nets,
    help="Project onto the ties of LIKE, an architecture or a saved network.",
)
@click.option(
    "--layers",
    multiple=True,
    metavar="PATTERN",
    shell_complete=layers_of_net,
    help="Only these layers, such as 'conv*'; may be repeated.",
)
@data_option("Whose samples to compare on.")
@samples_option("Compare on the first N samples.", 100)
@save_options("Write the new network here.")
@build_options
@report_options
@CatalogOptions.decorate
def command(net, untie, densify, like, layers, data, samples, save_path, overwrite, as_json, **build):
    """Loosen or tighten the sharing of weights.

    NET is the name of an architecture or a saved network. Untied and dense networks compute the same function with more
    weights; a retied one is the nearest with the ties of LIKE. Off the pattern stands the fraction of the squared
    weights outside of the tied network's connections; within ties the fraction of their variance that the ties do not
    explain.
    """
    from simulator import lab
    from simulator.cli.terminal import error_console
    from simulator.files import save
    from simulator.lab.sharing import check_loosening, matrices

    if untie + densify + (like is not None) != 1:
        raise click.UsageError("expected one of --untie, --densify and --retie LIKE; give one")
    how = "untie" if untie else "densify" if densify else "retie"
    if layers and like is not None:
        raise click.UsageError("--layers: expected --untie or --densify with it, got --retie, which LIKE decides")
    if save_path is not None:
        check_place(save_path, overwrite)
    catalog = the_catalog()
    theirs = is_file(catalog, net) and like is not None  # then what is built is LIKE
    planned = planned_network(catalog, net, **({} if theirs else build))
    drawn = planned.drawn
    if like is None:
        drawn = planned.checked(lambda network: check_loosening(network, layers or None, dense=densify))
    chosen = chosen_data(catalog, planned.saved, data)
    dataset, source = chosen.data.joined(), chosen.source
    with error_console().status("Working ..."):
        saved = drawn()
        before = saved.network
        if like is not None:
            tied = _like(catalog, like, before, build, theirs)
            after, loose = lab.retie(before, tied), before
        else:
            after = (lab.untie if untie else lab.densify)(before, layers or None)
            loose, tied = after, before
        off, within = lab.off_pattern(loose, tied), lab.tie_variance(loose, tied)
        difference = _difference(before, after, dataset.take(slice(samples)).inputs)
    if save_path is not None:
        kept = {name: value for name, value in saved.info.items() if name != "silence"}  # of the network before
        save(save_path, after, catalog=catalog, info={**kept, "sharing": how}, splits=saved.splits)
    names = [node.name for node in matrices(before)]
    rows = {name: _counts(before.nodes[name], after.nodes[name]) for name in names}
    compared = min(samples, len(dataset))
    if as_json:
        measured = {
            name: {**dict(zip(_COLUMNS, row, strict=True)), "off_pattern": off.layers.get(name)}
            | {"tie_variance": within.layers.get(name)}
            for name, row in rows.items()
        }
        print_json(
            {
                "network": net,
                "untrained": saved.untrained,
                "how": how,
                "layers": measured,
                "off_pattern": off.total,
                "tie_variance": within.total,
                "samples": compared,
                "difference": difference,
                "saved": None if save_path is None else str(save_path),
            }
        )
        return
    made = table("layer", "params", "params\nafter", "nonzeros", "nonzeros\nafter", "off\npattern", "within\nties")
    for name, row in rows.items():
        shares = (cell(measured.layers.get(name), ".4f") for measured in (off, within))
        made.add_row(name, *map(cell, row), *shares)
    made.add_section()
    sums = (cell(sum(column)) for column in zip(*rows.values(), strict=True))
    made.add_row("total", *sums, cell(off.total, ".4f"), cell(within.total, ".4f"))
    print_table(f"{_DONE[how]}{title_of(net, saved)}{f' as {like}' if like else ''}: {after!r}", made)
    click.echo(
        f"On {counted(compared, 'sample')} of {source} the outputs differ by {difference:.1e} of the largest one."
    )
    if save_path is None:
        say_next(next_command(add={"--save": free("shared.safetensors")}), "to keep the new network")
    else:
        click.echo(f"Saved to {save_path}.")
        say_next(next_command("train", save_path, keep=["--data"]), "train it")


_COLUMNS = ("params", "params_after", "nonzeros", "nonzeros_after")
_DONE = {"untie": "Untied ", "densify": "Made dense ", "retie": "Retied "}


def _like(catalog, like, network, build, theirs):
    """The network to go back to; an architecture is built for the same input and classes, without weights."""
    if is_file(catalog, like):
        return network_from(catalog, like, **(build if theirs else {})).network
    sizes = {"input_shape": network.input_shape, "classes": network.output_shape[0]}
    given = {name: value for name, value in build.items() if value}
    return network_from(catalog, like, rng=None, **{**sizes, **given}).network


def _difference(before, after, inputs):
    """Largest difference of the outputs in float64, relative to the largest output."""
    import numpy as np

    old, new = (network.with_dtype("float64") for network in (before, after))
    step, largest, apart = old.fitting_batch(len(inputs)), 0.0, 0.0
    for start in range(0, len(inputs), step):
        one, other = (network.predict(inputs[start : start + step]) for network in (old, new))
        largest, apart = max(largest, np.abs(one).max()), max(apart, np.abs(other - one).max())
    return float(apart / (largest or 1.0))


def _counts(before, after):
    """Trained numbers that a node holds, and nonzeros of its matrix, each before and after."""
    return before.counts.params, after.counts.params, before.pattern.nnz, after.pattern.nnz
