"""The whole network as one matrix at a sample, and how many matrices it is on the way to another sample."""

from __future__ import annotations

import click

from simulator.cli.common import (
    CatalogOptions,
    build_options,
    dtype_option,
    planned_network,
    print_json,
    progress_bar,
    report_options,
    save_figure,
    the_catalog,
    title_of,
)
from simulator.cli.completion import nets, units_of_net
from simulator.cli.grammar import examples, limit_option, listed, picture_option
from simulator.cli.sample import chosen_data, sample_options
from simulator.cli.steps import free, next_command, say_next
from simulator.cli.tables import cell, print_table, table
from simulator.errors import counted


@click.command(
    "affine",
    epilog=examples("simulator affine lenet5", "simulator affine lenet5 'conv2[3]' --line 7 --output rows.png"),
)
@click.argument("net", shell_complete=nets)
@click.argument("units", metavar="[UNITS]", required=False, shell_complete=units_of_net)
@click.option("--jacobian", is_flag=True, help="Take the tangent where a layer is curved; it builds no matrix.")
@click.option(
    "--line", metavar="NUMBER", type=click.IntRange(0), help="Count the matrices on the way to this sample, too."
)
@limit_option("outputs")
@picture_option("the rows of A")
@sample_options()
@dtype_option("float64")
@build_options
@report_options
@CatalogOptions.decorate
def command(net, units, jacobian, line, limit, output, data, sample, dtype, as_json, **build):
    """Multiply the whole network into one matrix.

    NET is the name of an architecture or a saved network. At a sample a piecewise linear network is f(x) = A x + b; the
    maximum pooling and the ReLUs have chosen their matrices. --line finds where along the straight way to another
    sample they choose others. UNITS is what to compute instead of the output: a node 'conv2', or some of its units,
    such as 'conv2[3]', in quotes.
    """
    from simulator import Units
    from simulator.cli.terminal import error_console
    from simulator.lab import affine, check_affine, pieces

    if line is not None and jacobian:
        raise click.UsageError("--line: expected a piecewise linear network, got --jacobian; leave one out")
    catalog = the_catalog()
    engine = catalog.engine("blas")  # it needs neither CSR matrices nor compilation
    with error_console().status("Multiplying ..."):
        planned = planned_network(catalog, net, dtype=dtype, engine=engine, **build)
        saved = planned.saved
        if units is not None:
            Units.of(saved.network.nodes, units)  # or an error, before weights are drawn
        drawn = planned.checked(lambda network: check_affine(network, units, jacobian))
        samples = chosen_data(catalog, saved, data)
        x = samples.sample(sample)
        other = None if line is None else samples.sample(line)
        saved = drawn()
        network = saved.network
        found = affine(network, x, units, jacobian)
    crossed = None
    if other is not None:
        with progress_bar("Cutting the line") as on_step:
            crossed = pieces(network, x, other, units, on_step=on_step)
    if output is not None:
        from simulator.draw import draw_rows

        save_figure(draw_rows(found), output, f"{title_of(net, saved)}, sample {sample}")
    names = [_name(found.units, number) for number in found.units.numbers]
    shown = listed(limit, len(names))
    if as_json:
        outputs = [
            {"unit": name, "row_times_x": value - offset, "b": offset, "value": value}
            for name, offset, value in zip(names[:shown], found.b.tolist(), found.y.tolist(), strict=False)
        ]
        report = {"network": net, "untrained": saved.untrained, "sample": sample}
        report.update(shape=found.A.shape, nonzeros=found.A.nnz)
        report.update(exact=found.exact, difference=found.difference, outputs=outputs)
        if crossed is not None:
            report["line"] = {
                "to": line,
                "regions": crossed.regions,
                "matrices": crossed.matrices,
                "layers": crossed.layers,
                "breakpoints": crossed.t.tolist(),
            }
        print_json(report)
        return
    products = found.A @ found.x[network.input_name].ravel()
    made = table("output", "row of A · x", "b", "A x + b", "network")
    for name, product, offset, value in zip(names[:shown], products, found.b, found.y, strict=False):
        made.add_row(name, *(cell(n, ".6g") for n in (product, offset, product + offset, value)))
    kind = "f(x) = A x + b" if found.exact else "f(x) = A x + b, the tangent"
    size = f"A is {found.A.shape[0]} x {found.A.shape[1]} with {found.A.nnz:,} nonzeros"
    print_table(f"{title_of(net, saved)} at sample {sample}{samples.told(sample)}: {kind}; {size}", made)
    if len(names) > shown:
        click.echo(f"The first {shown} of {len(names)} outputs; --limit {len(names)} lists all.")
    if found.exact:
        click.echo(f"Network and matrix differ by {found.difference:.1e} of the largest output.")
    if crossed is not None:
        click.echo(
            f"On the way to sample {line}: {counted(crossed.regions, 'linear region')}, "
            f"{crossed.matrices:,} different {'matrix' if crossed.matrices == 1 else 'matrices'}."
        )
        chosen = [f"{name} {count:,}" for name, count in crossed.layers.items() if count]
        click.echo(f"What switches the matrix: {', '.join(chosen) or 'no layer'}.")
    if output is not None:
        way = "" if crossed is None else "; the way is not drawn"
        click.echo(f"Drew {output}: the rows of A at sample {sample}{way}.")
    elif crossed is None:
        say_next(next_command(add={"--output": free("rows.png")}), "to see the rows of A")
    if crossed is None and not jacobian:
        say_next(next_command(add={"--line": 1 if sample == 0 else 0, "--output": None}), "the way to another sample")


def _name(units, number):
    """The address of one unit."""
    import numpy as np

    return f"{units.node}[{', '.join(str(i) for i in np.unravel_index(number, units.shape))}]"
