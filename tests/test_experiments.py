"""The contract of experiments: aggregation over seeds, and what conditions, rows and findings must be."""

import math
import re
import statistics
from dataclasses import dataclass

import numpy as np
import pytest

from simulator import Experiment, Finding, PluginError, aggregated
from simulator.experiments import checked_conditions, checked_findings, checked_rows


@dataclass(frozen=True)
class Trial(Experiment):
    """Returns what it is given."""

    given: object = None

    def conditions(self, quick=False):
        return self.given

    def run(self, condition, seed, catalog):
        return self.given

    def findings(self, table):
        return self.given

    def draw(self, table, figure):
        pass


@dataclass(frozen=True)
class Curve(Trial):
    by = ("epoch",)


# ---------------------------------------------------------------------- over the seeds


def test_means_and_deviations_are_those_of_the_standard_library():
    values = [0.1, 0.25, 0.7, -3.5, 1e-3]
    records = [{"n": 20, "net": "cnn", "accuracy": value} for value in values]
    (row,) = aggregated(records, ["n", "net"])
    assert list(row) == ["n", "net", "seeds", "accuracy", "accuracy std"]
    assert (row["n"], row["net"], row["seeds"]) == (20, "cnn", 5)
    assert row["accuracy"] == pytest.approx(statistics.mean(values), rel=1e-14)
    assert row["accuracy std"] == pytest.approx(statistics.stdev(values), rel=1e-14)


def test_groups_come_in_the_order_of_their_first_records():
    records = [{"n": n, "epoch": e, "loss": 10.0 * n + e} for _ in range(3) for n in (2, 1) for e in (1, 0)]
    table = aggregated(records, ["n", "epoch"])
    assert [(row["n"], row["epoch"]) for row in table] == [(2, 1), (2, 0), (1, 1), (1, 0)]
    assert [(row["seeds"], row["loss"], row["loss std"]) for row in table] == [(3, x, 0.0) for x in (21, 20, 11, 10)]


def test_equal_integers_stay_integers():
    big = 2**60 + 1  # no float
    row, other = aggregated([{"n": n, "nnz": nnz} for n, nnz in ((0, big), (0, big), (1, 2), (1, 4))], ["n"])
    assert row["nnz"] == big
    assert type(row["nnz"]) is int
    assert type(other["nnz"]) is float
    assert other["nnz std"] == pytest.approx(math.sqrt(2))


def test_equal_numbers_have_no_deviation():
    (row,) = aggregated([{"n": 1, "ratio": 14.28}] * 5, ["n"])
    assert np.std([14.28] * 5) > 0  # by rounding
    assert (row["ratio"], row["ratio std"]) == (14.28, 0.0)


def test_strings_truth_values_and_none_are_kept_without_a_deviation():
    (row,) = aggregated([{"n": 1, "how": "exact", "ok": True, "published": None}] * 2, ["n"])
    assert row == {"n": 1, "seeds": 2, "how": "exact", "ok": True, "published": None}


def test_one_seed_has_no_deviation_and_what_diverged_is_told():
    (row,) = aggregated([{"n": 1, "loss": 0.5}], ["n"])
    assert row == {"n": 1, "seeds": 1, "loss": 0.5, "loss std": 0.0}
    (row,) = aggregated([{"n": 1, "loss": loss} for loss in (0.5, math.inf)], ["n"])
    assert row["loss"] == math.inf
    assert math.isnan(row["loss std"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["a", "b"],
            "experiment, n=1: expected one x over all seeds, got 'a', 'b'; measure a number, or name it in by",
        ),
        ([True, False], "expected one x over all seeds, got True, False"),
        ([True, 1], "expected one x over all seeds, got True, 1"),
        ([None, 0.5], "expected one x over all seeds, got None, 0.5"),
    ],
)
def test_what_is_no_number_must_be_equal_over_the_seeds(values, message):
    with pytest.raises(PluginError, match=message):
        aggregated([{"n": 1, "x": value} for value in values], ["n"])


def test_every_seed_measures_the_same():
    with pytest.raises(PluginError, match="n=1: expected every seed to measure x, y, got n, x; measure the same names"):
        aggregated([{"n": 1, "x": 1, "y": 2}, {"n": 1, "x": 1}], ["n"])


# ---------------------------------------------------------------------- what a plugin may return


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "expected conditions that are a list of dicts, got None; return such a list"),
        ([], r"expected conditions that are a list of dicts, got \[\]"),
        ([3], r"expected conditions that are a list of dicts, got \[3\]"),
        (
            [{"a": 1}, {"b": 1}],
            "expected a in every condition, got b; give all the same names, with None for what does",
        ),
        (
            [{"a": (1, 2)}],
            r"expected conditions of plain values by name, got 'a': \(1, 2\); write str, int, float, bool",
        ),
        ([{"a": math.nan}], "expected conditions of plain values by name, got 'a': nan"),
        ([{3: 1}], "expected conditions of plain values by name, got 3: 1"),
        ([{" a": 1}], "expected conditions of plain values by name, got ' a': 1"),
        ([{"seed": 1}], "expected conditions .*, got 'seed': 1; .* under a name that is none of seed, seeds, seconds"),
        ([{"a": 1}, {"a": 1}], "expected each condition once, got a=1 again; leave one out"),
    ],
)
def test_conditions_that_are_refused(given, message):
    with pytest.raises(PluginError, match=f"^experiment Trial: {message}"):
        checked_conditions(Trial(given))


def test_conditions_that_fail_are_blamed():
    @dataclass(frozen=True)
    class Fails(Trial):
        def conditions(self, quick=False):
            return [][1]

    with pytest.raises(PluginError, match="experiment Fails: expected conditions, got IndexError: list index out of"):
        checked_conditions(Fails())


def test_plain_conditions_are_returned_as_they_are():
    given = [
        {"net": "a", "n": 1, "lr": 0.5, "bias": True, "pad": None},
        dict.fromkeys(("net", "n", "lr", "bias", "pad")),
    ]
    assert checked_conditions(Trial(given)) is given


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Trial, None, "expected a run to give a list of dicts, got None; return [{name: number}]"),
        (Trial, [], "expected a run to give a list of dicts, got []"),
        (Trial, {"x": 1}, "expected a run to give a list of dicts, got {'x': 1}"),
        (Trial, [{"n": 1}], "expected a run to measure plain values by name, got 'n': 1; write float(...) or int(...)"),
        (Trial, [{"x": [1]}], "expected a run to measure plain values by name, got 'x': [1]"),
        (
            Trial,
            [{"seeds": 1}],
            "expected a run to measure plain values by name, got 'seeds': 1",
        ),
        (Trial, [{"x": 1}, {"x": 2}], "expected the rows of a run to differ in by = (), got [(), ()]; name in by what"),
        (Curve, [{"x": 1}], "expected epoch, x in every row of a run, got x; measure the same names in each"),
        (Curve, [{"epoch": 1}, {"epoch": 2, "x": 1}], "expected epoch in every row of a run, got epoch, x"),
        (
            Curve,
            [{"epoch": 1}, {"epoch": 1}],
            "expected the rows of a run to differ in by = ('epoch',), got [(1,), (1,)]",
        ),
    ],
)
def test_rows_that_are_refused(kind, given, message):
    with pytest.raises(PluginError, match=re.escape(f"experiment {kind.__name__}: {message}")):
        checked_rows(kind(), {"n": 3}, given)


def test_good_rows_are_returned_as_they_are():
    rows = [{"epoch": e, "loss": math.inf, "ok": False, "how": "x", "published": None} for e in (1, 2)]
    assert checked_rows(Curve(), {"n": 3}, rows) is rows


@pytest.mark.parametrize("given", [None, [3], Finding("a", "b", "c", True)])
def test_findings_that_are_refused(given):
    with pytest.raises(PluginError, match="^experiment Trial: expected a list of Finding, got .*; return such a list"):
        checked_findings(Trial(given), [])


def test_findings_that_fail_are_blamed():
    @dataclass(frozen=True)
    class Fails(Trial):
        def findings(self, table):
            return table[0]["no"]

    with pytest.raises(PluginError, match="^experiment Fails: expected findings, got KeyError: 'no'; correct its code"):
        checked_findings(Fails(), [{}])
    assert checked_findings(Trial([]), []) == []
