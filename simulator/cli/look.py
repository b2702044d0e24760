"""Commands that look: describe, equivalence, plugins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.common import (
    CatalogOptions,
    build_options,
    dtype_option,
    json_option,
    network_from,
    print_json,
    print_table,
    shape_text,
    table,
    the_catalog,
    title_of,
)

if TYPE_CHECKING:
    from simulator.equivalence import Proof


@click.command()
@click.argument("net", default="lenet5")
@build_options
@click.option(
    "--weights/--no-weights",
    help="Draw first weights and show their mean and spread.  [default: no weights, but for a saved network]",
    default=None,
)
@json_option
@CatalogOptions.decorate
def describe(net: str, weights: bool | None, as_json: bool, **build: Any) -> None:
    """Count a network: params, connections, nonzeros.

    NET is the name of an architecture or a saved network. No matrix is built; weights are drawn only if asked for.
    """
    from simulator.describe import describe as count

    saved = network_from(the_catalog(), net, rng=0 if weights else None, **build)
    network = saved.network
    description = count(network)
    shown = weights is not False and network.has_weights
    if as_json:
        print_json({"network": net, "untrained": saved.untrained, **description.as_dict()})
        return
    counted = ("params", "connections", "links", "nonzeros", "fixed\nnonzeros", "density", "MACs")
    spread = ("weight\nmean", "weight\nstd") if shown else ()
    made = table("layer", "output", *counted, "CSR\nbytes", "pattern\nbytes", "nonzeros\nper weight", *spread, left=2)
    for row in description.layers:
        sizes = ["", "", "", ""]
        density = ""
        if row.density is not None:
            density = f"{row.density:.3%}"
            sizes = [f"{row.csr_bytes:,}", f"{row.pattern_bytes:,}", f"{row.sharing:,.1f}"]
        c = row.counts
        made.add_row(
            row.name,
            shape_text(row.output_shape),
            *(f"{n:,}" for n in (c.params, c.connections, c.links, c.nonzeros, c.fixed_nonzeros)),
            density,
            f"{c.macs:,}",
            *sizes[:3],
            *(("" if n is None else f"{n:.4f}" for n in (row.weight_mean, row.weight_std)) if shown else ()),
        )
    t = description.totals
    made.add_section()
    made.add_row(
        "total",
        "",
        *(f"{n:,}" for n in (t.params, t.connections, t.links, t.nonzeros, t.fixed_nonzeros)),
        "",
        f"{t.macs:,}",
        f"{sum(r.csr_bytes or 0 for r in description.layers):,}",
        f"{sum(r.pattern_bytes or 0 for r in description.layers):,}",
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


@click.command()
@click.argument("net", default="lenet5")
@build_options
@dtype_option("float64")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Draws weights and samples.")
@json_option
@CatalogOptions.decorate
def equivalence(net: str, dtype: str, seed: int, as_json: bool, **build: Any) -> None:
    """Prove that every layer equals its matrix.

    Each layer is computed directly, by loops over views of the picture, and by its scipy.sparse matrix: output,
    gradient of the input, gradient of the weight. The numbers are the largest differences relative to the largest
    magnitude. The exit status is 1 if a layer fails.
    """
    from simulator.equivalence import equivalence as prove

    saved = network_from(the_catalog(), net, rng=seed, dtype=dtype, **build)
    network = saved.network
    proofs = list(prove(network, rng=seed))
    ok = all(proof.ok for proof in proofs)
    if as_json:
        print_json(
            {
                "network": net,
                "untrained": saved.untrained,
                "dtype": dtype,
                "ok": ok,
                "layers": [p.as_dict() for p in proofs],
            }
        )
    else:
        print_proofs(proofs, f"{title_of(net, saved)} in {dtype}")
    if not ok:
        click.get_current_context().exit(1)


def print_proofs(proofs: Iterable[Proof], title: str) -> None:
    """The table of an equivalence, and its sum in one line."""
    proofs = list(proofs)
    made = table("layer", "matrix", "forward", "input\ngradient", "weight\ngradient", "result", left=2, wrap="matrix")
    for p in proofs:
        numbers = ["" if d is None else f"{d:.1e}" for d in (p.forward, p.input_gradient, p.weight_gradient)]
        verdict = "skipped" if p.skipped else "pass" if p.ok else "FAIL"
        made.add_row(p.name, (p.skipped or p.matrix).removeprefix("TiedMatrix "), *numbers, verdict)
    print_table(f"Layer against matrix: {title}", made)
    failed = [p.name for p in proofs if not p.ok]
    compared = [p for p in proofs if not p.skipped]
    worst = max((p.max_difference or 0.0 for p in compared), default=0.0)
    if failed:
        click.echo(f"{len(failed)} of {len(compared)} layers FAIL: {', '.join(failed)}")
    else:
        click.echo(
            f"All {len(compared)} layers that have a matrix equal it; the largest relative difference is {worst:.1e}."
        )


@click.command()
@json_option
@CatalogOptions.decorate
def plugins(as_json: bool) -> None:
    """List what the core and each plugin offer, and from where."""
    from simulator.hookspecs import SHELVES

    catalog = the_catalog()
    entries = [(kind, e) for kind in SHELVES for e in getattr(catalog, kind).entries.values()]
    if as_json:
        offers = [
            {"kind": kind, "name": e.name, "plugin": e.plugin.name, "origin": e.plugin.origin, "summary": e.summary}
            for kind, e in entries
        ]
        print_json({"offers": offers, "problems": catalog.problems})
        return
    ours = catalog.plugins[0].origin
    for kind in SHELVES:
        made = table("name", "plugin", "origin", "summary", left=4, wrap="summary")
        for e in getattr(catalog, kind).entries.values():
            made.add_row(e.name, e.plugin.name, "bundled" if e.plugin.origin == ours else e.plugin.origin, e.summary)
        print_table(kind, made)
