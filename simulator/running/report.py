"""What an experiment leaves in its folder: two tables, a picture, and a note that compares with what was published."""

from __future__ import annotations

import csv
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.draw.canvas import add_caption, new_figure, save
from simulator.errors import SimulatorError, blamed
from simulator.experiments import Experiment, Finding, Row, aggregated, checked_findings
from simulator.machine import machine
from simulator.running.tasks import Outcome, Plan
from simulator.writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Report", "reported"]


@dataclass(frozen=True)
class Report:
    """What came of an experiment.

    Parameters
    ----------
    name : str
        Of the experiment.
    keys : tuple of str
        Names that identify a row of the table.
    table : list of dict
        Means and standard deviations over the seeds, as `aggregated` gives them; empty if a run failed.
    findings : list of Finding
        What was published against what was measured; empty if a run failed.
    files : dict of Path
        What was written, by what it is: table, runs, figure, note.
    failed : list of Outcome
        Runs that failed, with their errors; the others are kept.
    no_figure : str, optional
        Why there is no picture.
    damaged : tuple of int
        Lines of ``runs.jsonl`` that could not be read: their runs were done again.
    """

    name: str
    keys: tuple[str, ...]
    table: list[Row]
    findings: list[Finding]
    files: dict[str, Path]
    failed: list[Outcome]
    no_figure: str | None = None
    damaged: tuple[int, ...] = ()


def reported(
    plan: Plan, experiment: Experiment, outcomes: Sequence[Outcome], folder: Path, how: str, quick: bool = False
) -> Report:
    """Write all files of a finished experiment.

    Parameters
    ----------
    plan : Plan
        What the runs have in common.
    experiment : Experiment
        Made from it.
    outcomes : sequence of Outcome
        Of all runs, condition by condition, seed by seed.
    folder : Path
        Where the files go.
    how : str
        What this call did, in words.
    quick : bool, default False
        Whether these are the runs of the quick version.
    """
    keys = (*outcomes[0].task.condition, *experiment.by)
    runs = [
        {**outcome.task.condition, "seed": outcome.task.seed, **row, "seconds": outcome.seconds}
        for outcome in outcomes
        for row in outcome.rows
    ]
    measured = [{name: value for name, value in run.items() if name not in ("seed", "seconds")} for run in runs]
    table = aggregated(measured, keys)
    files = {kind: folder / f"{kind}.{ending}" for kind, ending in _FILES.items()}
    _write_csv(files["table"], table)
    _write_csv(files["runs"], runs)
    no_figure = None
    try:
        figure = new_figure(8, 5)
    except SimulatorError as error:  # matplotlib is not installed
        no_figure = str(error)
        del files["figure"]
    else:
        with blamed(f"experiment {plan.name}", "draw to make a picture"):
            experiment.draw(table, figure)
            told = _runs_in(figure, len({outcome.task.seed for outcome in outcomes}))
            add_caption(figure, [f"quick version, {told}" if quick else told])
            save(figure, files["figure"])
    findings = checked_findings(experiment, table)
    note = _note(plan, experiment, findings, outcomes, files, how, quick)
    write_atomically(files["note"], lambda path: path.write_text(note, encoding="utf-8"))
    return Report(plan.name, keys, table, findings, files, [], no_figure)


_FILES = {"table": "csv", "runs": "csv", "figure": "png", "note": "md"}


def _runs_in(figure: Figure, seeds: int) -> str:
    """How many runs are behind each point of a picture, and what its bars are, if it has any."""
    from matplotlib.container import ErrorbarContainer

    if seeds == 1:
        return "n = 1: one run of each condition"
    found = (c for ax in figure.axes for c in ax.containers if isinstance(c, ErrorbarContainer))
    bars = ", bars are standard deviations" if any(c.has_yerr or c.has_xerr for c in found) else ""
    return f"n = {seeds}: means over seeds{bars}"


def _write_csv(path: Path, rows: Iterable[Row]) -> None:
    """All columns, in the order in which they first come."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)


def _note(
    plan: Plan,
    experiment: Experiment,
    findings: Sequence[Finding],
    outcomes: Sequence[Outcome],
    files: dict[str, Path],
    how: str,
    quick: bool,
) -> str:
    """The note in Markdown."""
    summary, _, protocol = (inspect.getdoc(type(experiment)) or "").partition("\nExamples\n---")[0].partition("\n")
    lines = [f"# {plan.name}", "", summary, ""]
    if quick:
        lines += [
            "The quick version, for a first look: conditions may be fewer or smaller and seeds fewer than the "
            f"protocol below says. All of it: `simulator experiment {plan.name}`.",
            "",
        ]
    lines += ["| claim | expected | measured | |", "|---|---|---|---|"]
    for finding in findings:
        cells = (finding.claim, finding.expected, finding.measured, "holds" if finding.holds else "**differs**")
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    if "figure" in files:
        lines += ["", f"![{plan.name}]({files['figure'].name})"]
    seeds = {outcome.task.seed for outcome in outcomes}
    if len(seeds) == 1 < experiment.seeds:
        lines += ["", "n = 1: one run of each condition, so nothing is known of the spread over seeds."]
    conditions = len(outcomes) // len(seeds)
    options = ", ".join(f"{name}={value!r}" for name, value in plan.options) or "none"
    told = machine()
    of_seeds = f"{len(seeds)} seeds (0 to {max(seeds)})" if len(seeds) > 1 else "one seed (0)"
    what = "means and standard deviations over the seeds" if len(seeds) > 1 else "the numbers of this seed"
    libraries = ", ".join(f"{name} {told[name]}" for name in ("python", "numpy", "scipy", "numba") if told[name])
    lines += [
        "",
        "## How it was run",
        "",
        f"- {conditions} conditions, each with {of_seeds}; "
        f"{sum(outcome.seconds for outcome in outcomes):.1f} seconds in all runs together",
        f"- options: {options}",
        f"- {how}; the report was written on {told['processor']}, {told['cores']} cores",
        f"- {libraries}; {plan.code} (the last is a digest of the experiment's file)",
        f"- `{files['table'].name}` has {what}, `{files['runs'].name}` every run",
        "",
        "## Protocol",
        "",
        protocol.strip(),
        "",
    ]
    return "\n".join(lines)
