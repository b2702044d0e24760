"""The runner: every run once, kept at once, the same on one process and on many; what is refused; what it leaves."""

from __future__ import annotations

import csv
import math
import os
import re
import statistics
import sys

import numpy as np
import pytest

from simulator import FileError, PluginError, ShapeError, UnknownNameError
from simulator.running import run_experiment
from simulator.running.records import Records
from simulator.running.report import _runs_in
from simulator.running.tasks import Outcome, Plan, Task

ALL = [(n, seed) for n in (1, 2, 3) for seed in range(3)]


@pytest.fixture
def run(tiny, signals, tmp_path):
    """Run the tiny experiment into a folder: run("out", jobs=2) gives a Report."""

    def run(folder="out", **arguments):
        options = {"signals": str(signals.folder), **arguments.pop("options", {})}
        return run_experiment("tiny", tmp_path / folder, plugins=[tiny], options=options, **arguments)

    return run


def norm(n, seed):
    x = np.random.default_rng([n, seed]).standard_normal((60, 60))
    return math.sqrt(sum((x @ x).ravel() ** 2))


# ---------------------------------------------------------------------- what comes out


def test_the_table_has_means_and_deviations_over_the_seeds(run):
    report = run()
    assert report.name == "tiny"
    assert report.keys == ("n",)
    assert not report.failed
    assert [row["n"] for row in report.table] == [1, 2, 3]
    for row in report.table:
        norms = [norm(row["n"], seed) for seed in range(3)]
        assert row["seeds"] == 3
        assert row["norm"] == pytest.approx(statistics.mean(norms), rel=1e-12)
        assert row["norm std"] == pytest.approx(statistics.stdev(norms), rel=1e-9)
        assert row["square"] == row["n"] ** 2
        assert row["threads"] == 1
    assert [finding.holds for finding in report.findings] == [True, report.findings[1].holds]


def test_many_processes_give_what_one_gives(run, kept, tmp_path):
    here, there = run("here", jobs=1), run("there", jobs=2)
    assert list(kept(tmp_path / "here")) == ALL
    assert kept(tmp_path / "here") == kept(tmp_path / "there")  # to the last bit
    assert here.table == there.table
    assert here.findings == there.findings


def test_files(run, tmp_path):
    report = run("deep/in/folders", seeds=2)
    folder = tmp_path / "deep/in/folders"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["runs.jsonl", "runs.csv", "table.csv", "figure.png", "note.md"]
    )
    assert {kind: path.name for kind, path in report.files.items()} == {
        "table": "table.csv",
        "runs": "runs.csv",
        "figure": "figure.png",
        "note": "note.md",
    }
    with report.files["table"].open() as file:
        table = list(csv.DictReader(file))
    assert [{name: float(value) for name, value in row.items()} for row in table] == report.table
    with report.files["runs"].open() as file:
        runs = list(csv.DictReader(file))
    assert [(int(row["n"]), int(row["seed"])) for row in runs] == [(n, seed) for n in (1, 2, 3) for seed in (0, 1)]
    assert all(float(row["norm"]) == pytest.approx(norm(int(row["n"]), int(row["seed"]))) for row in runs)
    assert all(float(row["seconds"]) > 0 for row in runs)
    assert report.files["figure"].read_bytes().startswith(b"\x89PNG")


def test_the_note_compares_and_says_how_it_was_made(run, signals):
    note = run(seeds=2).files["note"].read_text()
    lines = note.splitlines()
    assert lines[:3] == ["# tiny", "", "Norms of random products."]
    assert any(line.startswith("| products &#124; are large | above 100 | ") for line in lines)
    assert any(line.endswith(" | holds |") for line in lines)
    assert "![tiny](figure.png)" in note
    assert "- 3 conditions, each with 2 seeds (0 to 1); " in note
    assert f"- options: signals={str(signals.folder)!r}, scale=1.0\n" in note
    assert "- 6 of 6 runs in the last call, on this machine, 1 at a time; the report was written on " in note
    assert f"numpy {np.__version__}" in note
    assert "cnn-matrix-simulator " in note
    assert "\nThe protocol: a square matrix times itself.\n" in note
    assert ">>>" not in note


def test_one_seed_is_no_statistic_and_the_note_says_so(run):
    note = run("one", seeds=1).files["note"].read_text()
    assert "\nn = 1: one run of each condition, so nothing is known of the spread over seeds.\n" in note
    assert "- 3 conditions, each with one seed (0); " in note
    assert "`table.csv` has the numbers of this seed, " in note
    note = run("two", seeds=2).files["note"].read_text()
    assert "n = 1" not in note
    assert "`table.csv` has means and standard deviations over the seeds, " in note


def test_the_note_of_the_quick_version_says_that_it_is_one(run):
    sentence = "The quick version, for a first look: "
    assert sentence in run("quick", quick=True).files["note"].read_text()
    assert sentence not in run("all").files["note"].read_text()


@pytest.mark.parametrize(
    ("seeds", "errors", "caption"),
    [
        (1, None, "n = 1: one run of each condition"),
        (3, None, "n = 3: means over seeds"),
        (3, [0.1, 0.2], "n = 3: means over seeds, bars are standard deviations"),
    ],
)
def test_a_figure_says_how_many_runs_are_behind_it(seeds, errors, caption):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    figure.subplots().errorbar([0, 1], [1, 2], errors)
    assert _runs_in(figure, seeds) == caption


def test_a_finding_that_does_not_hold_is_reported_as_it_is(run):
    report = run(options={"scale": 1e-9})
    assert not report.findings[0].holds
    assert "| **differs** |" in report.files["note"].read_text()


def test_without_matplotlib_there_is_no_figure(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    report = run(quick=True)
    assert report.no_figure == "draw: expected matplotlib, got none; pip install matplotlib"
    assert sorted(report.files) == ["note", "runs", "table"]
    assert "figure" not in report.files["note"].read_text()


def test_quick_is_the_quick_conditions_and_seeds(run, signals):
    assert [(row["n"], row["seeds"]) for row in run(quick=True).table] == [(1, 2), (2, 2)]
    assert signals.begun() == ["1-0", "1-1", "2-0", "2-1"]


def test_watch_is_told_how_far_things_are(run):
    told = []
    run(seeds=1, watch=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


# ---------------------------------------------------------------------- going on


def test_what_is_finished_is_not_run_again(run, signals, kept, tmp_path):
    run(seeds=1)
    told = []
    report = run(seeds=2, watch=lambda done, total: told.append((done, total)))
    assert signals.begun() == ["1-0", "2-0", "3-0", "1-1", "2-1", "3-1"]
    assert told[0] == (3, 6)
    assert [row["seeds"] for row in report.table] == [2, 2, 2]
    assert run(seeds=1).table[0]["norm std"] == 0  # what is there beyond the wish is left out
    assert len(signals.begun()) == 6
    assert run("other", seeds=2).table == report.table
    assert kept(tmp_path / "out") == kept(tmp_path / "other")


def test_an_interrupted_experiment_goes_on(run, signals, kept, tmp_path):
    def interrupt(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(watch=interrupt)
    before = kept(tmp_path / "out")
    assert len(before) == 4
    told = []
    report = run(watch=lambda done, total: told.append(done))
    assert told == [4, 5, 6, 7, 8, 9]
    assert list(kept(tmp_path / "out")) == ALL
    assert kept(tmp_path / "out").items() >= before.items()
    assert report.table == run("whole").table


def test_a_half_written_line_is_cut_off_and_its_run_done_again(run, signals, kept, tmp_path):
    run()
    path = tmp_path / "out" / "runs.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    run()
    assert signals.begun()[9:] == ["3-2"]
    assert set(kept(tmp_path / "out")) == set(ALL)
    path.write_bytes(whole[:20])  # nothing but half a line
    run()
    assert len(signals.begun()) == 9 + 1 + 9


def test_numbers_that_are_not_finite_are_kept(run, tmp_path):
    first = run(options={"scale": math.inf})
    again = run(options={"scale": math.inf})
    assert first.table[0]["norm"] == again.table[0]["norm"] == math.inf


# ---------------------------------------------------------------------- runs that fail


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_is_told_and_the_other_runs_are_kept(run, signals, kept, tmp_path, jobs):
    signals.set("fail-2-1", "exit-3-0")
    report = run(jobs=jobs)
    errors = {str(outcome.task): outcome.error for outcome in report.failed}
    assert list(errors) == ["n=2, seed 1", "n=3, seed 0"]
    assert errors["n=2, seed 1"].startswith("LinAlgError: Singular matrix (line ")
    assert errors["n=2, seed 1"].endswith("tiny.py, in run)")
    assert errors["n=3, seed 0"].startswith("SystemExit: 3 (line ")
    assert (report.table, report.findings, report.files) == ([], [], {})
    assert set(kept(tmp_path / "out")) == set(ALL) - {(2, 1), (3, 0)}
    signals.clear("fail-2-1")
    signals.clear("exit-3-0")
    assert len(run(jobs=jobs).table) == 3
    assert sorted(signals.begun()[9:]) == ["2-1", "3-0"]


def test_a_killed_process_costs_nothing_but_its_run_is_begun_again(run, signals, kept, tmp_path):
    signals.set("die-1-1")
    report = run("killed", jobs=2, quick=True)
    assert not report.failed
    assert sorted(signals.begun()) == ["1-0", "1-1", "1-1", "2-0", "2-1"]
    assert report.table == run("whole", quick=True).table
    assert kept(tmp_path / "killed") == kept(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_whose_process_is_always_killed_fails_and_no_other(run, signals, kept, tmp_path):
    signals.set("always-die-2-0")
    report = run(jobs=2)
    ((outcome),) = report.failed
    assert str(outcome.task) == "n=2, seed 0"
    assert outcome.error == "its process ended 2 times (signal 9); use fewer --jobs if memory is short"
    assert set(kept(tmp_path / "out")) == set(ALL) - {(2, 0)}


def test_options_of_no_declared_type_are_plain_values(tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace("scale: float = 1.0", "scale: object = 1.0"))
    with pytest.raises(ShapeError, match=r"experiment tiny: expected options of plain values, got .*\{1\}"):
        run_experiment("tiny", tmp_path / "out", plugins=[tiny], quick=True, options={"scale": [{1}]})
    with pytest.raises(ShapeError, match=r"got .*an array \(30, 40\) of float64.*; give numbers"):
        run_experiment("tiny", tmp_path / "out", plugins=[tiny], quick=True, options={"scale": np.zeros((30, 40))})
    assert run_experiment("tiny", tmp_path / "out", plugins=[tiny], quick=True, options={"scale": 2.0}).table


def test_rows_that_break_the_contract_are_told(tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace('"norm": norm', '"norm": x'))
    (outcome, *_) = run_experiment("tiny", tmp_path / "out", plugins=[tiny], quick=True).failed
    assert outcome.error.startswith(
        "experiment Tiny: expected a run to measure plain values by name, got 'norm': an array (60, 60) of float64"
    )


def test_a_run_that_cannot_be_called_is_told(tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace("condition, seed, catalog)", "condition, seed)"))
    (outcome, *_) = run_experiment("tiny", tmp_path / "out", plugins=[tiny], quick=True).failed
    assert outcome.error.startswith("TypeError: Tiny.run() takes 3 positional arguments but 4 were given")


def test_numbers_and_words_of_numpy_are_the_same_after_a_resume(tiny, tmp_path):
    text = tiny.read_text().replace('"norm": norm', '"norm": np.float64(norm), "word": np.str_("a")')
    tiny.write_text(text)
    run_experiment("tiny", tmp_path / "out", plugins=[tiny], quick=True, seeds=1)
    resumed = run_experiment("tiny", tmp_path / "out", plugins=[tiny], quick=True, seeds=2)
    assert resumed.table == run_experiment("tiny", tmp_path / "new", plugins=[tiny], quick=True, seeds=2).table
    assert [row["word"] for row in resumed.table] == ["a", "a"]


def test_a_picture_that_fails_is_blamed_and_the_runs_are_kept(tiny, tmp_path, kept):
    tiny.write_text(tiny.read_text().replace("figure.subplots()", "figure.axis()"))
    with pytest.raises(PluginError, match="experiment tiny: expected draw to make a picture, got AttributeError"):
        run_experiment("tiny", tmp_path / "out", plugins=[tiny])
    assert set(kept(tmp_path / "out")) == set(ALL)
    assert (tmp_path / "out" / "table.csv").exists()


# ---------------------------------------------------------------------- what is refused, before anything is run


def test_runs_of_other_options_are_refused(run, signals):
    run(seeds=1)
    with pytest.raises(
        FileError, match=r"expected runs with options .*'scale': 2.0.*, got .*'scale': 1.0.* in line 1 of"
    ):
        run(options={"scale": 2.0})
    assert len(signals.begun()) == 3


def test_runs_of_other_code_are_refused(run, signals, tiny):
    run(seeds=1)
    tiny.write_text(tiny.read_text() + "\n# changed\n")
    message = "expected runs with code 'cnn-matrix-simulator .*', got 'cnn-matrix-simulator .*; choose another folder"
    with pytest.raises(FileError, match=message):
        run(seeds=1)
    assert len(signals.begun()) == 3


def test_runs_of_another_experiment_are_refused(run, tmp_path):
    run(quick=True)
    with pytest.raises(
        FileError, match="expected runs with experiment 'counts', got 'tiny' in line 1 of .*runs.jsonl; choose"
    ):
        run_experiment("counts", tmp_path / "out", quick=True)


def _digit(line):
    """A measured number with another digit."""
    at = line.index(b'"norm": ') + len(b'"norm": ')
    return line[:at] + (b"1" if line[at : at + 1] != b"1" else b"2") + line[at + 1 :]


DAMAGES = {
    "half a line": lambda line: line[:40],
    "nothing of a run": lambda line: b"3",
    "an empty object": lambda line: b"{}",
    "a list": lambda line: b"[]",
    "no text": lambda line: b"\xff\x00\xfe",
    "another digit": _digit,
    "rows of another kind": lambda line: line.replace(b'"rows": [', b'"rows": [3, '),
    "a seed of another kind": lambda line: line.replace(b'"seed": 0', b'"seed": "0"'),
    "deep nesting": lambda line: b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_line_is_named_and_its_run_done_again(run, signals, kept, tmp_path, damage):
    whole = run(quick=True, seeds=2)
    path = tmp_path / "out" / "runs.jsonl"
    lines = path.read_bytes().splitlines()
    bad = damage(lines[2])
    assert bad != lines[2]
    path.write_bytes(b"\n".join([*lines[:2], bad, *lines[3:], b""]))
    begun = len(signals.begun())
    report = run(quick=True, seeds=2)
    assert signals.begun()[begun:] == ["2-0"]
    assert report.damaged == (3,)
    assert report.table == whole.table
    assert (tmp_path / "out" / "runs.damaged").read_bytes() == bad + b"\n"
    assert len(kept(tmp_path / "out")) == 4
    assert run(quick=True, seeds=2).damaged == ()


def test_lines_of_version_0_1_0_have_no_checksum_and_count(run, signals, tmp_path):
    run(quick=True)
    path = tmp_path / "out" / "runs.jsonl"
    path.write_text(re.sub(r', "check": "\w+"', "", path.read_text()))
    begun = len(signals.begun())
    assert run(quick=True).damaged == ()
    assert len(signals.begun()) == begun


def test_damaged_records_end_well(tmp_path):
    """Whatever bytes change: a run is what it was or not there, or there is an error in one line."""
    plan = Plan("tiny", (("scale", 1.0),), "code")
    outcomes = [Outcome(Task({"n": n}, seed), [{"norm": n + seed / 7, "word": "a"}], 0.5) for n, seed in ALL]
    for outcome in outcomes:
        Records(tmp_path, plan).add(outcome)
    path, rng = tmp_path / "runs.jsonl", np.random.default_rng(0)
    good, seen = path.read_bytes(), set()
    for _ in range(150):
        content = np.frombuffer(good, np.uint8).copy()
        content[rng.integers(len(content), size=rng.choice([1, 1, 3, 20]))] = rng.integers(256)
        path.write_bytes(content.tobytes()[: rng.choice([len(good), rng.integers(len(good))])])
        try:
            records = Records(tmp_path, plan)
        except FileError as error:
            assert "\n" not in str(error)
            seen.add("refused")
            continue
        found = [records.get(outcome.task) for outcome in outcomes]
        assert all(got in (None, outcome) for got, outcome in zip(found, outcomes, strict=True))
        seen.add("damaged" if records.damaged else "whole")
        again = Records(tmp_path, plan)
        assert again.damaged == ()
        assert [again.get(outcome.task) for outcome in outcomes] == found
    assert seen >= {"damaged", "whole"}


def test_a_file_in_which_nothing_can_be_read_is_told(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "runs.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(FileError, match="expected runs in .*, got no line that can be read; choose another folder, or"):
        run()
    assert (tmp_path / "out" / "runs.jsonl").read_bytes() == b"\xff\xfe\n"


def test_a_file_that_the_disk_does_not_give_is_told(tmp_path, monkeypatch):
    def failing(path):
        raise OSError(5, "Input/output error")

    (tmp_path / "runs.jsonl").touch()
    monkeypatch.setattr("pathlib.Path.read_bytes", failing)
    with pytest.raises(FileError, match="expected runs in .*, got .*Input/output error; choose another folder"):
        Records(tmp_path, Plan("tiny", (), "code"))


def test_a_folder_with_something_else_is_left_alone(run, signals, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(
        FileError, match="a new or empty folder, or one with runs.jsonl, got .*out, which holds something"
    ):
        run()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert signals.begun() == []


def test_a_folder_that_cannot_be_made_is_told(run, signals, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="experiment: expected a folder that can be written to, got .*file/out"):
        run("file/out")
    with pytest.raises(FileError, match="experiment: expected a folder that can be written to, got .*file"):
        run("file")
    assert signals.begun() == []


def test_a_full_disk_is_told(run, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="to write .*runs.jsonl, got .*No space left on device; free space, then go on"):
        run()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"seeds": 0}, ShapeError, "experiment seeds: expected an integer of at least 1, got 0"),
        ({"jobs": 0}, ShapeError, "experiment jobs: expected an integer of at least 1, got 0"),
        (
            {"options": {"size": 3}},
            ShapeError,
            "tiny: expected one of its arguments, got 'size'; choose one of: ",
        ),
        ({"options": {"scale": [{1}]}}, ShapeError, "Tiny scale: expected a number, got"),
        ({"prefer": {"layers.no": "tiny"}}, UnknownNameError, "prefer: expected KIND.NAME of something"),
    ],
)
def test_arguments_that_are_refused(run, signals, arguments, kind, message):
    with pytest.raises(kind, match=message):
        run(**arguments)
    assert signals.begun() == []


def test_an_unknown_experiment_and_a_missing_plugin(tmp_path):
    with pytest.raises(UnknownNameError, match="one of the experiments, got 'count'; did you mean 'counts'"):
        run_experiment("count", tmp_path / "out")
    with pytest.raises(PluginError, match="expected a Python file, got no such file"):
        run_experiment("tiny", tmp_path / "out", plugins=["no.py"])
    assert not (tmp_path / "out").exists()
