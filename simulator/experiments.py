"""Experiments: what a published one varies, measures and claims, so that one command repeats it.

An experiment is a plugin's class. It says which conditions there are and what one run of one of them gives; the runs
are started, repeated over seeds and kept by others, so that they may lie on many processes.
"""

from __future__ import annotations

import dataclasses
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from simulator.declared import Declared
from simulator.errors import PluginError, blamed, brief

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulator.catalog import Catalog

__all__ = [
    "Experiment",
    "Finding",
    "Row",
    "aggregated",
    "checked_conditions",
    "checked_findings",
    "checked_rows",
    "deviations",
    "with_deviation",
]

Row = dict[str, Any]  # values by name

_OWN = ("seed", "seeds", "seconds")  # columns that are told of every run
_PLAIN = (str, bool, int, float, type(None))


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was published or expected, against what was measured.

    Parameters
    ----------
    claim : str
        Such as "sharing needs fewer samples".
    expected : str
        The published numbers, or the order that is expected.
    measured : str
        What came out, with its numbers.
    holds : bool
        Whether it agrees. One that does not is reported as it is.
    """

    claim: str
    expected: str
    measured: str
    holds: bool


class Experiment(Declared, ABC):
    """A published experiment that one command repeats: conditions times seeds, each run on its own.

    A subclass is a frozen dataclass whose fields, all with defaults, are its options. The first line of its docstring
    is its summary; protocol, what was published, and what differs from it here follow.

    Attributes
    ----------
    seeds : int, default 5
        Runs of each condition.
    quick_seeds : int, default 2
        The same with ``--quick``.
    by : tuple of str, default ()
        Measured names that identify a row together with the condition, such as ``("epoch",)`` for a curve; all else
        that is measured is aggregated over the seeds.
    """

    seeds: ClassVar[int] = 5
    quick_seeds: ClassVar[int] = 2
    by: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def conditions(self, quick: bool = False) -> list[Row]:
        """What is varied, in the order of the table.

        Parameters
        ----------
        quick : bool, default False
            Fewer or smaller conditions, for a first look; the smaller sizes are part of the condition.

        Returns
        -------
        list of dict
            Plain values by name (str, int, float, bool or None), the same names in each.
        """

    @abstractmethod
    def run(self, condition: Mapping[str, Any], seed: int, catalog: Catalog) -> list[Row]:
        """One run of one condition.

        Parameters
        ----------
        condition : mapping
            One of `conditions`.
        seed : int
            All that is random comes from it.
        catalog : Catalog
            Architectures, data, engines and the rest by name.

        Returns
        -------
        list of dict
            Rows of measured plain values (float, int, bool, str or None) by name: usually one; several for a curve,
            told apart by the names in `by`.

        Notes
        -----
        A run knows of no other run, and gives the same rows in any process: networks are trained with
        ``catalog.engine("auto", threads=1, ready=True)``.
        """

    @abstractmethod
    def findings(self, table: Sequence[Row]) -> list[Finding]:
        """What was published or expected against what was measured.

        Parameters
        ----------
        table : sequence of dict
            The rows that `aggregated` gives, of all conditions in their order.

        Returns
        -------
        list of Finding
        """

    @abstractmethod
    def draw(self, table: Sequence[Row], figure: Figure) -> None:
        """Draw the picture.

        Parameters
        ----------
        table : sequence of dict
            The rows that `aggregated` gives, of all conditions in their order.
        figure : matplotlib.figure.Figure
            An empty one; it may be made larger.
        """


def aggregated(records: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> list[Row]:
    """Mean and standard deviation over seeds.

    Parameters
    ----------
    records : iterable of dict
        A row of each run, with the values of its condition.
    keys : sequence of str
        Names that identify a row of the table: those of the condition, then those of `Experiment.by`.

    Returns
    -------
    list of dict
        For each group of records with equal keys, in the order of their first ones: the keys, ``"seeds"`` (how many
        records), and for each measured ``name`` the mean and under ``name + " std"`` the standard deviation
        (ddof = 1; 0 for one seed). Equal numbers stay as they are; strings, truth values and None are kept.

    Raises
    ------
    PluginError
        If the records of a group measure different names, or a string, truth value or None differs.

    Examples
    --------
    >>> records = [{"n": 320, "loss": 1.0, "links": 10}, {"n": 320, "loss": 3.0, "links": 10}]
    >>> aggregated(records, ["n"])
    [{'n': 320, 'seeds': 2, 'loss': 2.0, 'loss std': 1.4142135623730951, 'links': 10, 'links std': 0.0}]
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for record in records:
        groups.setdefault(tuple(record[key] for key in keys), []).append(record)
    table = []
    for values, group in groups.items():
        row = {**dict(zip(keys, values, strict=True)), "seeds": len(group)}
        where = f"experiment, {_told(dict(zip(keys, values, strict=True)))}"
        names = [name for name in group[0] if name not in keys]
        for record in group[1:]:
            if record.keys() != group[0].keys():
                raise PluginError(
                    f"{where}: expected every seed to measure {', '.join(names)}, got {', '.join(record)}; measure the "
                    "same names in each"
                )
        for name in names:
            row.update(_summary(where, name, [record[name] for record in group]))
        table.append(row)
    return table


def _summary(where: str, name: str, values: list[Any]) -> Row:
    equal = all(value == values[0] and type(value) is type(values[0]) for value in values)
    if any(value is None or isinstance(value, (str, bool)) for value in values):
        if not equal:
            raise PluginError(
                f"{where}: expected one {name} over all seeds, got {', '.join(map(repr, values))}; measure a number, "
                "or name it in by"
            )
        return {name: values[0]}
    if equal and math.isfinite(values[0]):  # a mean would round, and a deviation from it not vanish
        return {name: values[0], f"{name} std": 0.0}
    with np.errstate(invalid="ignore"):  # of a run that diverged
        std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return {name: float(np.mean(values)), f"{name} std": std}


def with_deviation(row: Mapping[str, Any], name: str, form: str = ".1%") -> str:
    """A mean in words, with its standard deviation where there is one: a single seed says nothing of the spread.

    Parameters
    ----------
    row : dict
        Of a table that `aggregated` gave.
    name : str
        Of a measured number.
    form : str, default ".1%"
        How to write it.

    Examples
    --------
    >>> row = {"seeds": 5, "accuracy": 0.835, "accuracy std": 0.012}
    >>> with_deviation(row, "accuracy"), with_deviation({**row, "seeds": 1}, "accuracy")
    ('83.5% ± 1.2%', '83.5%')
    """
    mean = format(row[name], form)
    return f"{mean} ± {format(row[f'{name} std'], form)}" if row["seeds"] > 1 else mean


def deviations(rows: Sequence[Mapping[str, Any]], name: str, scale: float = 1) -> list[float] | None:
    """The error bars of some rows: standard deviations of a measured number, or None where there is a single seed.

    Parameters
    ----------
    rows : sequence of dict
        Of a table that `aggregated` gave.
    name : str
        Of a measured number.
    scale : float, default 1
        Factor on all of them, such as 100 for percent.

    Examples
    --------
    >>> row = {"seeds": 5, "accuracy": 0.835, "accuracy std": 0.012}
    >>> deviations([row], "accuracy", 100), deviations([{**row, "seeds": 1}], "accuracy")
    ([1.2], None)
    """
    return [scale * row[f"{name} std"] for row in rows] if all(row["seeds"] > 1 for row in rows) else None


def checked_conditions(experiment: Experiment, quick: bool = False) -> list[Row]:
    """The conditions of an experiment, or a `PluginError` that says what is wrong with them.

    Examples
    --------
    >>> from simulator import Catalog
    >>> len(checked_conditions(Catalog().experiments["counts"]())) > 20
    True
    """
    who = f"experiment {type(experiment).__name__}"
    with blamed(who, "conditions"):
        conditions = experiment.conditions(quick)
    if not isinstance(conditions, list) or not conditions or not all(isinstance(c, dict) for c in conditions):
        raise PluginError(
            f"{who}: expected conditions that are a list of dicts, got {brief(conditions)}; return such a list"
        )
    known: list[Row] = []
    for condition in conditions:
        if condition.keys() != conditions[0].keys():
            raise PluginError(
                f"{who}: expected {', '.join(conditions[0])} in every condition, got {', '.join(condition)}; give all "
                "the same names, with None for what does not apply"
            )
        for name, value in condition.items():
            finite = not isinstance(value, float) or math.isfinite(value)
            if not (_is_name(name) and type(value) in _PLAIN and finite):
                raise PluginError(
                    f"{who}: expected conditions of plain values by name, got {brief(name)}: {brief(value)}; "
                    "write str, int, "
                    f"float, bool or None under a name that is none of {', '.join(_OWN)}"
                )
        if condition in known:
            raise PluginError(f"{who}: expected each condition once, got {_told(condition)} again; leave one out")
        known.append(condition)
    return conditions


def checked_rows(experiment: Experiment, condition: Mapping[str, Any], rows: Any) -> list[Row]:
    """What a run gave, or a `PluginError` that says what is wrong with it."""
    who = f"experiment {type(experiment).__name__}"
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise PluginError(
            f"{who}: expected a run to give a list of dicts, got {brief(rows)}; return [{{name: number}}]"
        )
    for row in rows:
        if row.keys() != rows[0].keys() or not set(experiment.by) <= row.keys():
            raise PluginError(
                f"{who}: expected {', '.join(dict.fromkeys([*experiment.by, *rows[0]]))} in every row of a run, got "
                f"{', '.join(row)}; measure the same names in each"
            )
        for name, value in row.items():
            if not _is_name(name) or name in condition or not isinstance(value, _PLAIN):
                raise PluginError(
                    f"{who}: expected a run to measure plain values by name, got {brief(name)}: {brief(value)}; write "
                    "float(...) or int(...), under a name that neither the condition nor another column has"
                )
    where = [tuple(row[name] for name in experiment.by) for row in rows]
    if len(set(where)) < len(where):
        raise PluginError(
            f"{who}: expected the rows of a run to differ in by = {brief(experiment.by)}, got {where}; name in by what "
            "tells them apart"
        )
    return rows


def checked_findings(experiment: Experiment, table: Sequence[Row]) -> list[Finding]:
    """What an experiment finds in a table, or a `PluginError` that says what is wrong with it."""
    who = f"experiment {type(experiment).__name__}"
    with blamed(who, "findings"):
        findings = experiment.findings(table)
    if not isinstance(findings, list) or not all(isinstance(finding, Finding) for finding in findings):
        raise PluginError(f"{who}: expected a list of Finding, got {brief(findings)}; return such a list")
    return findings


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name not in _OWN and re.fullmatch(r"\S(.*\S)?", name) is not None


def _told(condition: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in condition.items())
