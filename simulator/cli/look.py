"""Commands that look: describe, equivalence, plugins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.common import (
    CatalogOptions,
    build_options,
    compiled,
    dtype_option,
    engine_name,
    is_file,
    network_from,
    print_json,
    report_options,
    shape_text,
    the_catalog,
    title_of,
)
from simulator.cli.completion import kinds, nets, offers
from simulator.cli.grammar import examples
from simulator.cli.remembered import silence_of, trained_source
from simulator.cli.steps import next_command, say_next
from simulator.cli.tables import cell, print_table, table
from simulator.errors import brief, counted, nearest

if TYPE_CHECKING:
    from simulator.catalog import Catalog
    from simulator.equivalence import Proof
    from simulator.network import Network

_BATCH = 32  # samples on which an engine is proved


@click.command(
    epilog=examples(
        "simulator describe lenet5-1998",
        "simulator describe vgg16 --format csv",
        'simulator describe "conv(1, kernel=3)" --input 1x8',
    )
)
@click.argument("net", default="lenet5", shell_complete=nets)
@build_options
@click.option(
    "--weights/--no-weights",
    help="Draw first weights and show their mean and spread.  [default: no weights, but for a saved network]",
    default=None,
)
@report_options
@CatalogOptions.decorate
def describe(net: str, weights: bool | None, as_json: bool, **build: Any) -> None:
    """Count a network: params, connections, nonzeros.

    NET is the name of an architecture or a saved network. No matrix is built; weights are drawn only if asked for.
    """
    from simulator import Elementwise
    from simulator.cli.train import train
    from simulator.describe import describe as count

    catalog = the_catalog()
    saved = network_from(catalog, net, rng=0 if weights else None, **build)
    network, silence = saved.network, silence_of(saved)
    description = count(network)
    shown = weights is not False and any(row.weight_mean is not None for row in description.layers)
    if as_json:
        found = None if silence is None else silence.as_dict()
        print_json({"network": net, "untrained": saved.untrained, **description.as_dict(), "silence": found})
        return
    counted = ("params", "connections", "links", "nonzeros", "fixed\nnonzeros", "density", "MACs")
    spread = ("weight\nmean", "weight\nstd") if shown else ()
    made = table("layer", "output", *counted, "CSR\nbytes", "pattern\nbytes", "nonzeros\nper weight", *spread, left=2)
    for row in description.layers:
        c = row.counts
        made.add_row(
            row.name,
            shape_text(row.output_shape),
            *map(cell, (c.params, c.connections, c.links, c.nonzeros, c.fixed_nonzeros)),
            cell(row.density, ".3%"),
            cell(c.macs),
            *map(cell, (row.csr_bytes, row.pattern_bytes)),
            cell(row.sharing, ",.1f"),
            *((cell(n, ".4f") for n in (row.weight_mean, row.weight_std)) if shown else ()),
        )
    t = description.totals
    made.add_section()
    made.add_row(
        "total",
        "",
        *map(cell, (t.params, t.connections, t.links, t.nonzeros, t.fixed_nonzeros)),
        "",
        cell(t.macs),
        cell(sum(r.csr_bytes or 0 for r in description.layers)),
        cell(sum(r.pattern_bytes or 0 for r in description.layers)),
        "",
        *("" for _ in spread),
    )
    print_table(f"{title_of(net, saved)}: {network!r}", made)
    twice = [row.name for row in description.layers if row.repeats]
    if twice:
        names = ", ".join(twice[:3]) + (f" and {len(twice) - 3} more" if len(twice) > 3 else "")
        click.echo(
            f"\nSome windows of {names} read an input twice: nonzeros count every reading, density counts cells."
        )
    if silence is not None and silence.shapes:
        click.echo(silence.told("held-out sample"))
    elif silence is None and is_file(catalog, net):
        active = [name for name, node in network.nodes.items() if isinstance(node.layer, Elementwise)]
        if active:
            click.echo("Which channels never respond was not measured.")
            if trained_source(saved, train) is not None:
                say_next(next_command("ablate", net, active[0]), "measure it")


@click.command(
    epilog=examples(
        "simulator equivalence lenet5 --engine auto", 'simulator equivalence "conv(2, kernel=3)" --input 1x8x8'
    )
)
@click.argument("net", default="lenet5", shell_complete=nets)
@build_options
@dtype_option("float64")
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Draws weights and samples."
)
@click.option(
    "--engine",
    metavar="NAME",
    shell_complete=offers("engines"),
    help="Prove an engine, too: that it computes what these matrices do.  [default: none]",
)
@click.option("--threads", metavar="N", type=click.IntRange(1), help="How many cores the engine uses.  [default: all]")
@report_options
@CatalogOptions.decorate
def equivalence(
    net: str, dtype: str, seed: int, engine: str | None, threads: int | None, as_json: bool, **build: Any
) -> None:
    """Prove that every layer equals its matrix.

    Each layer is computed directly, by loops over views of the picture, and by its scipy.sparse matrix: output,
    gradient of the input, gradient of the weight. The numbers are the largest differences relative to the largest
    magnitude. Of a matrix that is too large to build, some rows and columns are compared. The exit status is 1 if a
    layer fails, or the engine.
    """
    from simulator.equivalence import engine_equivalence
    from simulator.equivalence import equivalence as prove

    if threads is not None and engine is None:
        raise click.UsageError("--threads is for an engine: give --engine, too, or leave it out")
    catalog = the_catalog()
    used = None if engine is None else catalog.engine(engine, threads)
    saved = network_from(catalog, net, rng=seed, dtype=dtype, engine=used, **build)
    network = saved.network
    if engine is not None:
        network = compiled(network, 3 * _BATCH)
        engine = engine_name(catalog, network.engine)
    proofs = list(prove(network, rng=seed))
    steps = [] if engine is None else list(engine_equivalence(network, batch=_BATCH, rng=seed))
    ok = all(proof.ok for proof in (*proofs, *steps))
    if as_json:
        result = {
            "network": net,
            "untrained": saved.untrained,
            "dtype": dtype,
            "ok": ok,
            "layers": [p.as_dict() for p in proofs],
        }
        print_json(result if engine is None else {**result, "engine": engine_proofs(engine, steps, dtype, _BATCH)})
    else:
        print_proofs(proofs, f"{title_of(net, saved)} in {dtype}", _that_fits(catalog, net, build, network))
        if engine is not None:
            print_engine_proofs(engine, steps, dtype, _BATCH)
    if not ok:
        click.get_current_context().exit(1)


def _that_fits(catalog: Catalog, net: str, build: dict[str, Any], network: Network) -> str:
    """The command that proves an architecture at a size where all matrices can be built, or ""."""
    from simulator.errors import SimulatorError
    from simulator.matrix import LARGEST_CSR

    def fits(network: Network) -> bool:
        patterns = [node.pattern for node in network.nodes.values() if node.pattern is not None]
        return all(pattern.csr_nbytes(np.float64) <= LARGEST_CSR for pattern in patterns)

    import numpy as np

    if fits(network) or is_file(catalog, net):
        return ""
    channels, *space = network.input_shape
    while max(space, default=1) > 1:
        space = [max(1, n // 2) for n in space]
        with contextlib.suppress(SimulatorError):
            smaller = network_from(catalog, net, rng=None, **{**build, "input_shape": (channels, *space)}).network
            if fits(smaller):
                return next_command(add={"--input": shape_text((channels, *space))})
    return ""


def print_proofs(proofs: Iterable[Proof], title: str, smaller: str = "") -> None:
    """The table of an equivalence, and its sum in a few lines.

    Parameters
    ----------
    proofs : iterable of Proof
        Of all layers.
    title : str
        Above the table.
    smaller : str, optional
        A command that proves all of the matrices, if some are too large here.
    """
    proofs = list(proofs)
    made = table("layer", "matrix", "forward", "input\ngradient", "weight\ngradient", "result", left=2, wrap="matrix")
    for p in proofs:
        numbers = [cell(d, ".1e") for d in (p.forward, p.input_gradient, p.weight_gradient)]
        verdict = "skipped" if p.skipped else "FAIL" if not p.ok else "sampled" if p.sampled else "pass"
        made.add_row(p.name, (p.skipped or p.matrix).removeprefix("TiedMatrix "), *numbers, verdict)
    print_table(f"Layer against matrix: {title}", made)
    failed = [p.name for p in proofs if not p.ok]
    compared = [p for p in proofs if not p.skipped]
    whole, sampled = ([p for p in compared if bool(p.sampled) == few] for few in (False, True))
    unknown = [p.name for p in proofs if p.skipped and p.has_matrix]
    worst = max((p.max_difference or 0.0 for p in compared), default=0.0)
    difference = f"the largest relative difference is {worst:.1e}"
    if failed:
        click.echo(f"{len(failed)} of {counted(len(compared), 'layer')} FAIL: {', '.join(failed)}")
    elif not (sampled or unknown):
        which = f"All {len(compared)} layers that have a matrix equal it"
        click.echo(f"{'The one layer that has a matrix equals it' if len(compared) == 1 else which}; {difference}.")
    else:
        click.echo(f"{len(whole)} of {len(compared) + len(unknown)} layers that have a matrix equal it; {difference}.")
    if sampled and not failed:
        most = max(p.sampled for p in sampled)
        click.echo(
            f"The matrices of {len(sampled)} are too large to build: up to {most} rows and {most} columns of each were "
            f"compared, but no weight gradients: {', '.join(p.name for p in sampled)}."
        )
    if unknown:
        click.echo(f"Nothing is proved for {', '.join(unknown)}: the table says why.")
    if (sampled or unknown) and smaller:
        say_next(smaller, "at an input for which all of these matrices can be built")


def engine_proofs(engine: str, steps: list[Proof], dtype: str, batch: int) -> dict[str, Any]:
    """The proof of an engine, for JSON."""
    ok = all(p.ok for p in steps)
    return {"name": engine, "dtype": dtype, "batch": batch, "ok": ok, "steps": [p.as_dict() for p in steps]}


def print_engine_proofs(engine: str, steps: list[Proof], dtype: str, batch: int) -> None:
    """The proof of an engine in a line, or a line for each step that fails."""
    where = f"in {dtype}, with batches of {batch}"
    failed = [p for p in steps if not p.ok]
    for p in failed:
        found = (("output", p.forward), ("input gradient", p.input_gradient), ("weight gradient", p.weight_gradient))
        numbers = ", ".join(f"{what} {d:.1e}" for what, d in found if d)
        click.echo(f"Engine {engine} FAILS {where}: {p.name} ({p.matrix}): {numbers}")
    compared = [p for p in steps if not p.skipped]
    if not failed and compared:
        worst = max(p.max_difference or 0.0 for p in compared)
        exact = (
            "\nFor this check inputs and gradients are small whole numbers and weights have 8 bits, so that sums "
            "rarely need rounding."
        )
        counts = {kind: sum(p.matrix == kind for p in compared) for kind in ("products", "training", "prediction")}
        click.echo(
            f"Engine {engine} computes what these matrices do, {where}: the products of "
            f"{counted(counts['products'], 'layer')},\n{counted(counts['training'], 'step')} of training and "
            f"{counts['prediction']} of prediction; the largest relative difference "
            f"is {worst:.1e}.{'' if worst else exact}"
        )
    skipped = dict.fromkeys(p.name for p in steps if p.skipped)
    if skipped:
        click.echo(f"Of the engine nothing is proved for {', '.join(skipped)}: matrices too large to build.")


@click.command(epilog=examples("simulator plugins layers", "simulator plugins --json"))
@click.argument("kind", required=False, shell_complete=kinds)
@report_options
@CatalogOptions.decorate
def plugins(kind: str | None, as_json: bool) -> None:
    """List what the core and each plugin offer, and from where.

    KIND is what to list, such as layers; without it all kinds are listed.
    """
    from simulator.hookspecs import SHELVES

    if kind is not None and kind not in SHELVES:
        raise click.UsageError(f"expected a kind, got {brief(kind)}; {nearest(kind, SHELVES)}")
    kinds = SHELVES if kind is None else (kind,)
    catalog = the_catalog()
    entries = [(kind, e) for kind in kinds for e in getattr(catalog, kind).entries.values()]
    if as_json:
        offers = [
            {"kind": kind, "name": e.name, "plugin": e.plugin.name, "origin": e.plugin.origin, "summary": e.summary}
            | {field: getattr(e, field) for field in _recipe(kind)}
            for kind, e in entries
        ]
        print_json({"offers": offers, "problems": catalog.problems})
        return
    ours = catalog.plugins[0].origin
    for kind in kinds:
        columns = ("name", "plugin", "origin", *_recipe(kind), "summary")
        made = table(*columns, left=len(columns), wrap="summary")
        for e in getattr(catalog, kind).entries.values():
            declared = ("" if e.task == "part" else f"{getattr(e, field) or ''}" for field in _recipe(kind))
            origin = "bundled" if e.plugin.origin == ours else e.plugin.origin
            made.add_row(e.name, e.plugin.name, origin, *declared, e.summary)
        print_table(kind, made)


def _recipe(kind: str) -> tuple[str, ...]:
    """What offers of a kind declare of their training."""
    return ("lr", "epochs") if kind == "architectures" else ()
