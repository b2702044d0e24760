"""Benchmark: the simulator against PyTorch, bare SciPy and im2col, after they have computed the same numbers."""

from __future__ import annotations

import contextlib
from functools import partial

import click

from simulator.cli.common import (
    CatalogOptions,
    build_options,
    dtype_option,
    engine_options,
    make_ready,
    print_json,
    progress_bar,
    report_options,
    the_catalog,
)
from simulator.cli.completion import architectures
from simulator.cli.grammar import Renamed, batch_size_option, examples, picture_option, toned
from simulator.cli.tables import cell, print_table, table
from simulator.cli.terminal import error_console, say


@click.command(
    "bench",
    epilog=examples("simulator bench lenet5 --batch-size 32 --repeat 3", "simulator bench mlp --per-layer --repeat 3"),
)
@click.argument("nets", metavar="[NET]...", nargs=-1, shell_complete=architectures)
@click.option(
    "--per-layer",
    cls=Renamed,
    old=["--layers"],
    is_flag=True,
    help="Time single layers: those of NET, or a few usual ones.",
)
@click.option("--forward", is_flag=True, help="Time forward passes only.")
@batch_size_option(64, "Samples at a time.", ["--batch"])
@click.option(
    "--repeat", metavar="N", type=click.IntRange(1), help="Rounds.  [default: as many as take about 3 seconds]"
)
@click.option("--memory", is_flag=True, help="Measure peak memory, too: each side once in a process of its own.")
@click.option("--growth", is_flag=True, help="Time one convolution over batch and nonzeros instead, over 100-fold.")
@click.option("--start", is_flag=True, help="Time how long commands take to start instead, beside importing NumPy.")
@picture_option("the growth")
@dtype_option("float32")
@engine_options
@build_options
@report_options
@CatalogOptions.decorate
def command(
    nets,
    per_layer,
    forward,
    batch_size,
    repeat,
    memory,
    growth,
    start,
    output,
    dtype,
    engine,
    threads,
    as_json,
    **build,
):
    """Time training steps, forward passes and layers.

    NET is the name of an architecture, a saved network or digits-net; without one a short list is timed, in about a
    minute. The sides are the simulator, PyTorch (eager, where installed), bare SciPy (csr @ x) and, for single layers,
    im2col in NumPy. First their numbers are compared: where they differ, this is reported as FAIL, and the exit status
    is 1. Then they are timed in turn.
    """
    if output is not None and not growth:
        raise click.UsageError("--output: expected --growth with it, got none; add it")
    if start and (growth or nets or per_layer or forward or memory or any(build.values())):
        raise click.UsageError(
            "--start times commands: leave out NET and its options, --per-layer, --forward, --memory and --growth"
        )
    if growth and (nets or per_layer or forward or memory):
        raise click.UsageError(
            "--growth times a convolution of its own: leave out NET, --per-layer, --forward and --memory"
        )
    from simulator_plugins.commands.bench.cases import DIGITS, Settings
    from simulator_plugins.commands.bench.comparison import TOLERANCE

    from simulator.machine import machine
    from simulator.threads import check_cores

    if start:
        report = {"machine": machine(), "ok": True, "start": _start(repeat)}
        if as_json:
            print_json(report)
        else:
            _print_start(report)
        return
    if any(build.values()) and (not nets or DIGITS in nets):
        got = DIGITS if nets else "the usual list"
        raise click.UsageError(f"--input, --classes and -o: expected architectures to build, got {got}; leave it out")
    catalog, meta = the_catalog(), click.get_current_context().meta
    settings = Settings(
        nets,
        per_layer,
        forward,
        batch_size,
        check_cores(threads, "bench"),
        dtype,
        engine,
        build,
        tuple(meta.get("simulator.plugin", ())),
        dict(wish.partition("=")[::2] for wish in meta.get("simulator.prefer", ())),
    )
    made = catalog.engine(engine, settings.threads, ready=True)
    make_ready(made, dtype)
    report = {"machine": machine(), "tolerance": TOLERANCE[dtype], "threads": settings.threads, "engine": engine}
    if growth:
        report.update(_growth(settings, catalog, made, repeat, output))
    else:
        report.update(_comparison(settings, catalog, made, repeat, memory))
    if as_json:
        print_json(report)
    elif growth:
        _print_growth(report, output)
    else:
        _print_comparison(report)
    if not report["ok"]:
        click.get_current_context().exit(1)


def _comparison(settings, catalog, engine, repeat, memory):
    """All cases, one after the other, so that only one is in memory."""
    from simulator_plugins.commands.bench.cases import plans
    from simulator_plugins.commands.bench.comparison import compared, limited
    from simulator_plugins.commands.bench.memory import peak_of

    planned, cases = plans(settings, catalog, engine), []
    with _progress(len(planned)) as show, limited(settings.threads):
        for number, plan in enumerate(planned):
            show(number, f"case {number + 1}/{len(planned)}")
            case = plan()
            title = f"{case.name}, {case.what}"
            show(number, f"{title}: checking")
            told = compared(case, repeat, partial(_show_part, show, number, f"{title}: timing"))
            del case
            told.update(threads=settings.threads, engine=settings.engine)
            if memory:
                own = None
                told["memory_ratios"] = {}
                for name, side in told["sides"].items():
                    show(number, f"{title}: memory of {name}")
                    side["peak_bytes"] = None if side["skipped"] else peak_of(settings, number, name)
                    own = own or side["peak_bytes"]
                    if own and side["peak_bytes"] and name != "simulator":
                        told["memory_ratios"][name] = own / side["peak_bytes"]
            cases.append(told)
    return {"ok": not any(case["failed"] for case in cases), "cases": cases}


def _growth(settings, catalog, engine, repeat, output):
    from simulator_plugins.commands.bench import growth
    from simulator_plugins.commands.bench.comparison import limited

    from simulator.draw import save
    from simulator.draw.canvas import new_figure

    if output is not None:
        new_figure(1, 1)  # what it needs is missed before anything is measured
    curves = []
    with _progress(2) as show, limited(settings.threads):
        for number, over in enumerate(("batch", "nonzeros")):
            show(number, f"growth over {over}")
            on_point = partial(_show_part, show, number, f"growth over {over}")
            curves.append(growth.measured(over, catalog, engine, settings.dtype, repeat, on_point))
    if output is not None:
        save(toned(growth.drawn(curves)), output)
    told = [{**vars(curve), "exponent": curve.exponent, "bar": growth.BAR} for curve in curves]
    return {"ok": True, "growth": told}


@contextlib.contextmanager
def _progress(total):
    """A bar on standard error; gives a function that says how far things are, and what is done now."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = error_console()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(20), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("preparing", total=total)
        yield lambda done, what: progress.update(task, completed=done, description=what)


def _show_part(show, number, what, done, total):
    show(number + done / total, what)


def _print_comparison(report):
    names = [n for n in report["cases"][0]["sides"] if any(not c["sides"][n]["skipped"] for c in report["cases"])]
    peers = [name for name in names if name != "simulator"]
    with_memory = "memory_ratios" in report["cases"][0]
    columns = [f"{name} ms" for name in names] + [f"vs {name}" for name in peers]
    if with_memory:
        columns += [f"{name} MB" for name in names] + [f"MB vs {name}" for name in peers]
    made = table("case", "what", "batch", *columns, "differ by", left=2)
    for case in report["cases"]:
        sides = case["sides"]
        cells = [cell(sides[n]["median_ms"], ".3g", none="-") for n in names]
        cells += [cell(case["ratios"].get(n), ".2f", "x", "-") for n in peers]
        if with_memory:
            peaks = [sides[n]["peak_bytes"] for n in names]
            cells += [cell(None if peak is None else peak * 1e-6, ".0f", none="-") for peak in peaks]
            cells += [cell(case["memory_ratios"].get(n), ".2f", "x", "-") for n in peers]
        differ = max((s["max_difference"] or 0 for s in sides.values()), default=0)
        verdict = "not compared" if case["reference"] is None else cell(differ, ".0e")
        made.add_row(
            case["case"], case["what"], cell(case["batch"], "d"), *cells, "FAIL" if case["failed"] else verdict
        )
    threads, dtype = report["threads"], report["cases"][0]["dtype"]
    print_table(
        f"Medians, engine {report['engine']}, {threads} thread{'s'[: threads != 1]}, {dtype}; "
        "vs: how many times as fast the simulator is",
        made,
    )
    click.echo("")
    for case in report["cases"]:
        title, sides = f"{case['case']}, {case['what']}", case["sides"]
        for name in case["failed"]:
            say(f"FAIL {title}: ", fg="red", nl=False)
            click.echo(
                f"expected {name} to compute what {case['reference']} computes, got a difference of "
                f"{_largest(sides[name])} of the largest number; fix that side. Nothing was timed."
            )
        if not case["failed"] and case["tolerance"] > report["tolerance"]:
            differ = max(side["max_difference_float64"] or 0 for side in sides.values())
            click.echo(f"{title}: in float64 the sides differ by {differ:.0e}; float32 is coarse for these gradients.")
    if report["ok"] and any(case["reference"] for case in report["cases"]):
        told = "outputs, losses, gradients and new weights"
        click.echo(f"All sides computed the same {told}, to {report['tolerance']:.0e} of the largest number.")
    if with_memory:
        click.echo(
            "MB: how far a fresh process's peak grows, beyond imports and a tiny first run, in one run of a case."
        )
    reasons = {}
    for case in report["cases"]:
        for side in case["sides"].values():
            if side["skipped"]:
                reasons.setdefault(side["skipped"], []).append(case["case"])
    for reason, cases in reasons.items():
        click.echo(f"Left out of {', '.join(dict.fromkeys(cases))}: {reason}")
    _print_machine(report["machine"])


def _print_growth(report, output):
    for curve in report["growth"]:
        made = table(curve["over"], "ms", left=0)
        for size, taken in zip(curve["sizes"], curve["milliseconds"], strict=True):
            made.add_row(cell(size), cell(taken, ".3g"))
        print_table(f"Forward and backward of a convolution over {curve['over']}", made)
        click.echo(f"Time grows with the power {curve['exponent']:.3f} of {curve['over']} (at most {curve['bar']}).\n")
    if output is not None:
        click.echo(f"Drew {output}")
    _print_machine(report["machine"])


def _start(repeat):
    from simulator_plugins.commands.bench import start

    with progress_bar("Starting commands") as on_round:
        found = start.measured(repeat, on_round)
    return [{**vars(each), "vs_numpy": each.wall_ms / found[0].wall_ms} for each in found]


def _print_start(report):
    made = table("command", "ms", "ms of a core", "vs numpy")
    for row in report["start"]:
        taken = (cell(row[key], ".0f") for key in ("wall_ms", "cpu_ms"))
        made.add_row(row["command"], *taken, cell(row["vs_numpy"], ".1f", "x"))
    print_table("Medians of fresh processes; vs numpy: how many times as long as importing NumPy", made)
    _print_machine(report["machine"])


def _print_machine(machine):
    libraries = ", ".join(f"{n} {machine[n]}" for n in ("python", "numpy", "scipy", "numba", "torch") if machine[n])
    click.echo(f"{machine['processor']}, {machine['cores']} cores; {libraries}; {', '.join(machine['blas'])}")
    if machine["load"] and machine["load"] > machine["cores"] / 2:
        click.echo(
            f"The machine was busy when this began, with a load of {machine['load']:.1f}: several threads then wait "
            "for each other. Measure again when it is idle, or with --threads 1."
        )


def _largest(side):
    """A side's difference in words; that in float64 counts where it was needed."""
    if side["max_difference_float64"] is None:
        return f"{side['max_difference']:.1e}"
    return f"{side['max_difference']:.1e} (in float64 {side['max_difference_float64']:.1e})"
