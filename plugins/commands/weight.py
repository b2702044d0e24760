"""Look at one shared weight: every connection that uses it, and its gradient as the sum over them."""

from __future__ import annotations

import click

from simulator.cli.alone import is_layer
from simulator.cli.common import (
    CatalogOptions,
    build_options,
    dtype_option,
    labels_of,
    planned_network,
    print_json,
    report_options,
    the_catalog,
    title_of,
    was_given,
)
from simulator.cli.completion import nets, weights_of_net
from simulator.cli.grammar import examples, limit_option, listed, samples_option
from simulator.cli.remembered import with_classes
from simulator.cli.sample import chosen_data, sample_options
from simulator.cli.steps import next_command, say_next
from simulator.cli.tables import cell, print_table, table


@click.command(
    "weight",
    epilog=examples(
        "simulator weight lenet5 'conv1.weight[0, 0, 2, 1]'",
        "simulator weight lenet5 'conv1.bias[0]' --samples 8 --set 0",
    ),
)
@click.argument("net", shell_complete=nets)
@click.argument("weight", metavar="WEIGHT", shell_complete=weights_of_net)
@click.option("--uses", "bare", is_flag=True, help="List the connections alone, without data.")
@click.option("--set", "value", type=float, metavar="VALUE", help="What another value changes.")
@samples_option("How many samples, from --sample on.", 1, ["--batch"])
@limit_option("connections")
@sample_options()
@dtype_option("float64")
@build_options
@report_options
@CatalogOptions.decorate
def command(net, weight, bare, value, samples, limit, data, sample, dtype, as_json, **build):
    """Take the gradient of one shared weight apart.

    NET is the name of an architecture or a saved network, WEIGHT an address such as 'conv1.weight[0, 0, 2, 1]' or
    'conv1.bias[0]', in quotes. Every connection that uses the weight has its term in the gradient of the cross-entropy;
    their sum is the gradient that training uses. The exit status is 1 if it is not. A layer by itself has no loss: its
    connections are printed only.
    """
    from simulator import Weight
    from simulator.cli.terminal import error_console

    if bare and (value is not None or was_given("samples") or was_given("sample") or was_given("data")):
        raise click.UsageError("--uses needs no data and changes nothing: leave out --set, --samples, --sample, --data")
    bare = bare or is_layer(net)  # it has no loss
    catalog = the_catalog()
    with error_console().status("Running ..."):
        engine = catalog.engine("blas")  # it needs neither CSR matrices nor compilation
        planned = planned_network(catalog, net, rng=None if bare else 0, dtype=dtype, engine=engine, **build)
        saved, report = planned.saved, {"network": net, "untrained": planned.saved.untrained}
        Weight.of(saved.network.nodes, weight)  # or an error, before weights are drawn
        if bare:
            ok, found = True, _uses(saved.network, weight, report)
        else:
            drawn = planned.checked(lambda network: network.check_batch(samples, keep_all=True, backward=True))
            chosen = chosen_data(catalog, saved, data)
            known = with_classes(chosen.data, saved, chosen.source).joined()
            x, labels = _batch(known, chosen.source, sample, samples)
            saved = drawn()
            network = saved.network
            ok, found = _gradient(network, weight, x, labels, report)
            if value is not None:
                _changed(network, weight, value, x, labels, report)
    report["connections"] = report["connections"][: listed(limit, len(found))]
    if as_json:
        print_json({**report, "ok": ok})
    else:
        title = f"{report['weight']} of {title_of(net, saved)}"
        if not bare:
            one = f", sample {sample}{chosen.told(sample)}"
            title += one if samples == 1 else f", samples {sample} to {sample + samples - 1}"
        _print(title, report, found)
    if not ok:
        click.get_current_context().exit(1)


def _batch(data, source, first, count):
    """Some samples (count, channels, *space) and their labels (count,)."""
    from simulator import ShapeError

    if first + count > len(data):
        raise ShapeError(
            f"{source}: expected at most the samples from 0 to {len(data) - 1}, got {first} to {first + count - 1}; "
            "choose among them"
        )
    part = data.take(range(first, first + count))
    return part.inputs, labels_of(part, source)


def _uses(network, weight, report):
    from simulator.lab import uses

    found = uses(network, weight)
    report.update(weight=str(found.weight), value=found.value, uses=len(found.connections))
    report["connections"] = [{"source": c.source_name, "target": str(c.target)} for c in found.connections]
    report["lines"] = [f"{found!r}."]
    return found.connections


def _gradient(network, weight, x, labels, report):
    from simulator.lab import gradient_of

    found = gradient_of(network, weight, x, labels)
    terms = found.terms.tolist()
    value = network.params[found.weight.name][found.weight.index]
    scale = abs(found.products).sum()
    difference = abs(found.total - found.trained)
    ok = bool(difference <= (1e-12 if network.dtype == "float64" else 1e-5) * scale)
    report.update(weight=str(found.weight), value=float(value), uses=len(terms))
    report["connections"] = [
        {"source": c.source_name, "target": str(c.target), "term": term}
        for c, term in zip(found.connections, terms, strict=True)
    ]
    report.update(total=found.total, trained=found.trained)
    verdict = f"the same to {difference:.1e}" if ok else f"DIFFERENT by {difference:.1e}"
    report["lines"] = [
        f"{len(terms)} terms add up to {found.total:.6g}; the gradient that training uses is {found.trained:.6g}: "
        f"{verdict}."
    ]
    return ok, found.connections


def _changed(network, weight, value, x, labels, report):
    """What a new value changes: nonzeros of each matrix, or biases, and the loss."""
    from collections import Counter

    from simulator import CrossEntropy
    from simulator.lab import edited, uses

    new, found = edited(network, weight, value), uses(network, weight)
    what = "biases" if found.weight.param == "bias" else "nonzeros"
    counts = Counter(c.target.node for c in found.connections if c.source is not None or what == "biases")
    before, after = (float(CrossEntropy().value(n.predict(x), labels)) for n in (network, new))
    report["set"] = {"value": value, what: dict(counts), "loss_before": before, "loss_after": after}
    report["lines"] += [
        *(f"{count} {what} of {name} change from {found.value:.6g} to {value:.6g}." for name, count in counts.items()),
        f"The loss goes from {before:.6g} to {after:.6g}.",
    ]


def _print(title, report, connections):
    terms = "total" in report
    made = table("source", "target", *(["term"] if terms else []), left=2)
    for plain in report["connections"]:
        made.add_row(plain["source"], plain["target"], *([cell(plain["term"], ".6g")] if terms else []))
    print_table(title, made)
    count = len(report["connections"])
    if len(connections) > count:
        shown = f"{count} largest" if terms else f"first {count}"
        click.echo(f"The {shown} of {len(connections):,} connections; --limit {len(connections)} lists all.")
    for line in report["lines"]:
        click.echo(line)
    if terms and "set" not in report:
        say_next(next_command(add={"--set": 0}), "what another value of it changes")
