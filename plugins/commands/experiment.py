"""Experiment: repeat a published one, with its table, figure, and a note that compares with what was published."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from simulator.cli.common import (
    CatalogOptions,
    PairType,
    print_json,
    report_options,
    the_catalog,
    typed_options,
)
from simulator.cli.completion import build_options_of, offers
from simulator.cli.grammar import Renamed, examples
from simulator.cli.leaving import leaving_status
from simulator.cli.steps import next_command, say_next
from simulator.cli.tables import Cell, cell, print_table, table
from simulator.cli.terminal import error_console, say
from simulator.errors import counted

_MOST = 30  # rows of a table that are printed


@click.command(
    "experiment", epilog=examples("simulator experiment", "simulator experiment counts --quick --folder counts")
)
@click.argument("name", required=False, shell_complete=offers("experiments"))
@click.option(
    "--seeds", metavar="N", type=click.IntRange(1), help="Runs of each condition.  [default: the experiment's own]"
)
@click.option("--quick", is_flag=True, help="A smaller version, for a first look.")
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(1),
    help="How many runs at a time, each on one core.  [default: all cores]",
)
@click.option(
    "--folder",
    cls=Renamed,
    old=["--out"],
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where everything is written, and gone on with.  [default: NAME here, NAME-quick with --quick]",
)
@click.option("--cluster", metavar="ADDRESS", help="Run on a Dask cluster: its scheduler, such as tcp://10.0.0.1:8786.")
@click.option(
    "-o",
    "--option",
    "options",
    shell_complete=build_options_of,
    type=PairType(),
    multiple=True,
    help="An option of the experiment; may be repeated.",
)
@report_options
@CatalogOptions.decorate
def command(name, seeds, quick, jobs, folder, cluster, options, as_json):
    """Repeat a published experiment, or list those that there are.

    NAME is one of them. Every finished run is kept in the folder at once: an interrupted experiment goes on with the
    same command. At the end there are two tables, a figure, and a note that compares with what was published. The exit
    status is 1 if a run failed.
    """
    catalog = the_catalog()
    if name is None:
        _list(catalog, as_json)
        return
    if cluster is not None and jobs is not None:
        raise click.UsageError("--jobs is for runs on this machine: leave it out, or --cluster")
    from simulator.running import run_experiment
    from simulator.threads import available_cores

    meta = click.get_current_context().meta
    folder = folder or Path(f"{name}-quick" if quick else name)
    try:
        with _progress(name, as_json) as watch:
            report = run_experiment(
                name,
                folder,
                options=typed_options(f"experiment {name}", catalog.experiments[name], options),
                quick=quick,
                seeds=seeds,
                jobs=jobs or available_cores(),
                cluster=cluster,
                plugins=meta.get("simulator.plugin", ()),
                prefer=dict(wish.partition("=")[::2] for wish in meta.get("simulator.prefer", ())),
                watch=watch,
            )
    except KeyboardInterrupt as error:
        status = leaving_status(error)
        left = "Interrupted" if status == 130 else "Terminated"
        click.echo(f"\n{left}: the finished runs are in {folder}; go on with: {next_command()}", err=True)
        click.get_current_context().exit(status)
    if report.damaged:
        which = f"line{'s'[: len(report.damaged) > 1]} {', '.join(map(str, report.damaged))}"
        click.echo(
            f"Warning: {which} of {folder / 'runs.jsonl'} could not be read: what stood there is in "
            f"{folder / 'runs.damaged'}, and its runs were done again",
            err=True,
        )
    if as_json:
        _print_json(report)
    else:
        _print(report, quick)
    if report.failed:
        click.get_current_context().exit(1)


def _list(catalog, as_json):
    entries = catalog.experiments.entries.values()
    if as_json:
        print_json([{"name": e.name, "plugin": e.plugin.name, "summary": e.summary} for e in entries])
        return
    made = table("name", "summary", left=2, wrap="summary")
    for entry in entries:
        made.add_row(entry.name, entry.summary)
    print_table("Experiments", made)
    for name in list(catalog.experiments.entries)[:1]:
        say_next(next_command("experiment", name, add={"--quick": True}), "a first look at one of them")


@contextlib.contextmanager
def _progress(name, as_json):
    """A bar on standard error, with the time that is left; gives a function that is told how far things are."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = error_console()
    columns = (TextColumn(name, markup=False), BarColumn(20), MofNCompleteColumn(), TextColumn("runs, left:"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task(name, total=None, start=False)

        def watch(done, total):
            if progress.tasks[bar].started:
                progress.update(bar, completed=done)
                return
            progress.reset(bar, completed=done, total=total)  # and starts: what is there already tells no speed
            if done and not as_json:
                click.echo(f"{done} of {total} runs are finished already.")

        yield watch


def _print(report, quick):
    if report.failed:
        by_error = {}
        for outcome in report.failed:
            by_error.setdefault(outcome.error, []).append(outcome.task)
        for error, (first, *others) in by_error.items():
            more = f" (and {len(others)} more)" if others else ""
            say("FAIL ", fg="red", nl=False, err=True)
            click.echo(f"{first}{more}: {error}", err=True)
        click.echo(
            f"{counted(len(report.failed), 'run')} failed; all others are kept. Correct the experiment, or install "
            f"what it needs, and go on with: {next_command()}",
            err=True,
        )
        return
    names = [name for name in dict.fromkeys(n for row in report.table for n in row) if name not in report.keys]
    names = [
        name for name in names if name != "seeds" and not (name.endswith(" std") and name.removesuffix(" std") in names)
    ]
    made = table(*report.keys, *names, left=len(report.keys))
    for row in report.table[:_MOST]:
        made.add_row(*(_shown(row, name) for name in (*report.keys, *names)))
    seeds = report.table[0]["seeds"]
    print_table(
        f"{report.name}: {f'means ± standard deviations over {seeds} seeds' if seeds > 1 else 'one seed'}", made
    )
    if len(report.table) > _MOST:
        click.echo(f"... and {len(report.table) - _MOST:,} more rows in {report.files['table']}")
    claims = table("", "claim", "expected", "measured", left=4, wrap="measured")
    for finding in report.findings:
        claims.add_row("holds" if finding.holds else "DIFFERS", finding.claim, finding.expected, finding.measured)
    print_table("Findings", claims)
    click.echo(f"Wrote {', '.join(str(path) for path in report.files.values())}")
    if report.no_figure:
        click.echo(f"No figure: {report.no_figure}")
    if quick:
        say_next(next_command(add={"--quick": None, "--folder": None}), "all of it")


def _print_json(report):
    print_json(
        {
            "experiment": report.name,
            "table": report.table,
            "findings": [vars(finding) for finding in report.findings],
            "files": {kind: str(path) for kind, path in report.files.items()},
            "failed": [{**vars(outcome.task), "error": outcome.error} for outcome in report.failed],
            "damaged": list(report.damaged),
        }
    )


def _shown(row, name):
    """A mean with its deviation, a count, or a word; what is exact for a program."""
    value, std = row.get(name), row.get(f"{name} std")
    if value is None:
        return Cell(None, "-")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return cell(value)
    if isinstance(value, float):
        return cell(value, ".4g", f" ± {std:.2g}" if std else "")
    return str(value)
