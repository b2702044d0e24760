"""One run of an experiment as a process gets it: plain values that name everything, and what came of it."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import time
import traceback
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from simulator.catalog import Catalog
from simulator.errors import PluginError, ShapeError, SimulatorError, brief
from simulator.experiments import Experiment, Row, checked_rows
from simulator.threads import one_blas_thread

__all__ = ["Outcome", "Plan", "Task", "perform", "planned"]


@dataclass(frozen=True)
class Plan:
    """What all runs of an experiment have in common; another process makes the experiment from it.

    Parameters
    ----------
    name : str
        Of the experiment.
    options : tuple of (str, value)
        All fields of the experiment.
    code : str
        Version of the simulator and a digest of the file that defines the experiment: other code gives other runs.
    plugins : tuple of str
        Plugins to load beside the installed ones: files and names of modules.
    prefer : tuple of (str, str)
        Which plugin wins where two offer one name.
    token : str
        Tells one call of `run_experiment` from another one.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = field(compare=False)  # they need not be hashable
    code: str
    plugins: tuple[str, ...] = ()
    prefer: tuple[tuple[str, str], ...] = ()
    token: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Task:
    """One run: a condition and a seed.

    Examples
    --------
    >>> print(Task({"net": "cnn", "n": 320}, 1))
    net=cnn, n=320, seed 1
    """

    condition: Row
    seed: int

    def __str__(self) -> str:
        return ", ".join([*(f"{name}={value}" for name, value in self.condition.items()), f"seed {self.seed}"])


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Parameters
    ----------
    task : Task
        The run.
    rows : list of dict
        What it measured; nothing if it failed.
    seconds : float
        How long it took.
    error : str, optional
        Why it failed, in one line.
    """

    task: Task
    rows: list[Row]
    seconds: float
    error: str | None = None


def planned(
    name: str, options: Mapping[str, Any], plugins: Sequence[str | Path], prefer: Mapping[str, str]
) -> tuple[Plan, Experiment]:
    """The plan of an experiment, and the experiment itself.

    Raises
    ------
    UnknownNameError
        If there is no such experiment.
    ShapeError
        If it does not take these options, or one is no plain value.
    """
    found = tuple(str(Path(p).resolve()) if Path(p).suffix == ".py" else str(p) for p in plugins)
    catalog = Catalog(*found, prefer=prefer)
    experiment = catalog.create("experiments", name, **options)
    given = tuple((option.name, getattr(experiment, option.name)) for option in fields(experiment))
    try:
        json.dumps(given)
    except (TypeError, ValueError):
        raise ShapeError(
            f"experiment {name}: expected options of plain values, got {brief(dict(given))}; give "
            "numbers, text, lists or None"
        ) from None
    return Plan(name, given, _code(catalog, experiment), found, tuple(prefer.items())), experiment


def _code(catalog: Catalog, experiment: Experiment) -> str:
    digest = hashlib.sha256(Path(inspect.getfile(type(experiment))).read_bytes()).hexdigest()
    return f"{catalog.plugins[0].origin}, {digest[:16]}"  # the core's version comes first


@functools.lru_cache(maxsize=1)  # a worker builds one catalog for all runs of a plan
def _made(plan: Plan) -> tuple[Catalog, Experiment]:
    catalog = Catalog(*plan.plugins, prefer=dict(plan.prefer))
    experiment = catalog.create("experiments", plan.name, **dict(plan.options))
    code = _code(catalog, experiment)
    if code != plan.code:
        raise PluginError(
            f"experiment {plan.name}: expected the code that it was started with ({plan.code}), got {code}; install "
            "the same version everywhere"
        )
    return catalog, experiment


def perform(plan: Plan, task: Task) -> Outcome:
    """Run a task here, with BLAS on one thread; an error is an outcome, too."""
    started = time.perf_counter()
    try:
        catalog, experiment = _made(plan)
        started = time.perf_counter()
        with one_blas_thread():
            rows = checked_rows(experiment, task.condition, experiment.run(dict(task.condition), task.seed, catalog))
    except (Exception, SystemExit) as error:
        return Outcome(task, [], time.perf_counter() - started, _told(error))
    return Outcome(task, rows, time.perf_counter() - started)


def _told(error: BaseException) -> str:
    """An error in one line; where it is none of ours, with its place in the experiment."""
    message = " ".join(str(error).split())
    if isinstance(error, SimulatorError):
        return message
    called = traceback.extract_tb(error.__traceback__)[1:]  # by `perform`
    if not called:  # it could not be called at all
        return f"{type(error).__name__}: {message}"
    place = [frame for frame in called if frame.filename == called[0].filename][-1]
    return f"{type(error).__name__}: {message} (line {place.lineno} of {place.filename}, in {place.name})"
