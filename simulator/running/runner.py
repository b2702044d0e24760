"""The runner: conditions times seeds, each run once, kept as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator.experiments import checked_conditions
from simulator.running.cluster import on_cluster
from simulator.running.processes import in_processes
from simulator.running.records import Records
from simulator.running.report import Report, reported
from simulator.running.tasks import Outcome, Plan, Task, perform, planned
from simulator.windows import check_size

__all__ = ["run_experiment"]


def run_experiment(
    name: str,
    folder: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    quick: bool = False,
    seeds: int | None = None,
    jobs: int = 1,
    cluster: str | None = None,
    plugins: Sequence[str | Path] = (),
    prefer: Mapping[str, str] | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Report:
    """Run an experiment: what is finished in its folder is kept, the rest is run.

    Parameters
    ----------
    name : str
        Of the experiment.
    folder : path
        Where everything is written. One with finished runs of the same experiment is gone on with.
    options : dict, optional
        Values for its fields.
    quick : bool, default False
        Its quick conditions and seeds.
    seeds : int, optional
        Runs of each condition, with the seeds 0, 1, ... Default: the experiment's own number.
    jobs : int, default 1
        How many processes run at once, each on one core; 1 runs in this process. A script that asks for more has its
        code under ``if __name__ == "__main__"``.
    cluster : str, optional
        Address of a Dask scheduler, such as "tcp://10.0.0.1:8786", to run there instead.
    plugins : sequence of str
        Plugins to load beside the installed ones: Python files or names of modules, which every worker finds.
    prefer : dict, optional
        Which plugin wins where two offer one name, as for `Catalog`.
    watch : callable, optional
        ``watch(done, total)`` is called before the first run with what was finished already, and after each run.

    Returns
    -------
    Report
        If runs failed it names them, and has neither table nor findings; the next call tries these runs again.

    Raises
    ------
    UnknownNameError
        If there is no such experiment.
    ShapeError
        If it does not take these options, or a number is not positive.
    FileError
        If the folder cannot be written to, or holds something else.
    PluginError
        If the experiment breaks its contract.
    SimulatorError
        If the cluster cannot be reached, or is lost.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = run_experiment("counts", folder, quick=True)
    >>> report.table[0]["nonzeros"], all(finding.holds for finding in report.findings)
    (50232, True)
    """
    plan, experiment = planned(name, options or {}, plugins, prefer or {})
    conditions = checked_conditions(experiment, quick)
    count = experiment.quick_seeds if quick else experiment.seeds
    count = count if seeds is None else check_size(seeds, "experiment seeds")
    jobs = check_size(jobs, "experiment jobs")
    tasks = [Task(condition, seed) for condition in conditions for seed in range(count)]
    records = Records(Path(folder), plan)
    todo = [task for task in tasks if records.get(task) is None]
    done, failed = len(tasks) - len(todo), []
    watch = watch or (lambda done, total: None)
    watch(done, len(tasks))
    with contextlib.closing(_outcomes(plan, todo, jobs, cluster)) as outcomes:
        for outcome in outcomes:
            if outcome.error is None:
                records.add(outcome)
            else:
                failed.append(outcome)
            done += 1
            watch(done, len(tasks))
    if failed:
        return Report(name, (*conditions[0], *experiment.by), [], [], {}, failed, damaged=records.damaged)
    finished = [kept for task in tasks if (kept := records.get(task)) is not None]
    where = f"the cluster {cluster}" if cluster else f"this machine, {jobs} at a time"
    how = f"{len(todo)} of {len(tasks)} runs in the last call, on {where}"
    report = reported(plan, experiment, finished, Path(folder), how, quick)
    return replace(report, damaged=records.damaged)


def _outcomes(plan: Plan, tasks: Sequence[Task], jobs: int, cluster: str | None) -> Generator[Outcome]:
    if not tasks:
        return
    if cluster is not None:
        yield from on_cluster(plan, tasks, cluster)
    elif jobs == 1:
        yield from (perform(plan, task) for task in tasks)
    else:
        yield from in_processes(plan, tasks, jobs)
