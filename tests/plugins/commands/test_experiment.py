"""simulator experiment: what it prints, what it leaves, and what it refuses before anything is computed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import pytest

from simulator import Catalog
from simulator.cli import main

COIN = '''
"""Coins."""
from dataclasses import dataclass
import numpy as np
from simulator import Experiment, Finding, hookimpl

@dataclass(frozen=True)
class Coin(Experiment):
    """How often a coin falls on its head."""
    bias: float = 0.5
    seeds, quick_seeds, by = 4, 2, ("half",)

    def conditions(self, quick=False):
        return [{"throws": n, "fair": self.bias == 0.5} for n in ((10, 20) if quick else (10, 20, 1000))]

    def run(self, condition, seed, catalog):
        if condition["throws"] == 20 and seed in FAILING:
            raise ValueError("the coin is lost")
        heads = np.random.default_rng([condition["throws"], seed]).random((2, condition["throws"])) < self.bias
        return [{"half": k, "share": float(heads[k % 2].mean()), "least": 0, "published": None} for k in range(2)]

    def findings(self, table):
        shares = [row["share"] for row in table]
        told = f"{min(shares):.3f} to {max(shares):.3f}"
        heads = Finding("heads come", "at times", told, max(shares) > 0)
        return [heads, Finding("always", "1", told, min(shares) == 1)]

    def draw(self, table, figure):
        figure.subplots().plot([row["throws"] for row in table], [row["share"] for row in table], "o")

@hookimpl
def register_experiments(register):
    register("coin", Coin)
'''


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run ``simulator experiment`` in an empty folder but for coin.py: run("coin", "--quick") gives a Result."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coin.py").write_text(COIN.replace("FAILING", "()"))

    def run(*args):
        with pytest.raises(SystemExit) as end:
            main(["-p", "coin.py", "experiment", *map(str, args)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Result(end.value.code, captured.out, captured.err)

    return run


def test_it_lists_the_experiments(run):
    result = run()
    assert (result.status, result.err) == (0, "")
    listed = [line.split(maxsplit=1) for line in result.out.splitlines() if line.startswith("  ")]
    catalog = Catalog()
    assert listed[1:] == [
        *([name, catalog.experiments.entry(name).summary] for name in catalog.experiments),
        ["coin", "How often a coin falls on its head."],
    ]
    assert result.out.endswith("Next, a first look at one of them: simulator -p coin.py experiment clamping --quick\n")
    told = json.loads(run("--json").out)
    assert told[-1] == {"name": "coin", "plugin": "coin", "summary": "How often a coin falls on its head."}


def test_it_prints_the_table_the_findings_and_what_it_wrote(run, tmp_path):
    result = run("coin", "--jobs", 1)
    assert (result.status, result.err) == (0, "")
    lines = [re.split(r"\s{2,}", line.strip()) for line in result.out.splitlines() if line.strip()]
    assert lines[0] == ["coin: means ± standard deviations over 4 seeds"]
    assert lines[1] == ["throws", "fair", "half", "share", "least", "published"]
    rows = lines[3:9]
    assert [row[:3] for row in rows] == [[n, "yes", k] for n in ("10", "20", "1,000") for k in ("0", "1")]
    assert all(re.fullmatch(r"0\.\d+ ± 0\.\d+", row[3]) and row[4:] == ["0", "-"] for row in rows)
    assert lines[9] == ["Findings"]
    assert lines[12][:3] == ["holds", "heads come", "at times"]
    assert lines[13][:3] == ["DIFFERS", "always", "1"]
    assert lines[14] == ["Wrote coin/table.csv, coin/runs.csv, coin/figure.png, coin/note.md"]
    assert len(lines) == 15
    assert all((tmp_path / "coin" / name).exists() for name in ("table.csv", "runs.csv", "figure.png", "note.md"))


def test_quick_has_a_folder_of_its_own_and_names_the_whole(run, tmp_path):
    result = run("coin", "--quick", "--jobs", 1)
    assert "over 2 seeds" in result.out
    assert (tmp_path / "coin-quick" / "note.md").exists()
    assert result.out.endswith("Next, all of it: simulator -p coin.py experiment coin --jobs 1\n")


def test_it_goes_on_where_it_was(run, tmp_path):
    run("coin", "--seeds", 1, "--jobs", 1)
    result = run("coin", "--seeds", 2, "--jobs", 1)
    assert result.out.startswith("3 of 6 runs are finished already.\n")
    lines = (tmp_path / "coin" / "runs.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert "one seed" in run("coin", "--seeds", 1, "--jobs", 1).out


def test_a_long_table_is_cut(run, tmp_path):
    (tmp_path / "coin.py").write_text(COIN.replace("FAILING", "()").replace("range(2)", "range(80)"))
    result = run("coin", "--seeds", 1, "--jobs", 1)
    assert "... and 210 more rows in coin/table.csv\n" in result.out


def test_json(run):
    result = run("coin", "--quick", "--jobs", 1, "--json", "-o", "bias=1.0", "--folder", "there")
    told = json.loads(result.out)
    assert told["experiment"] == "coin"
    assert told["table"][0] == {
        "throws": 10, "fair": False, "half": 0, "seeds": 2, "share": 1.0, "share std": 0.0,
        "least": 0, "least std": 0.0, "published": None,
    }  # fmt: skip
    assert told["findings"][1] == {"claim": "always", "expected": "1", "measured": "1.000 to 1.000", "holds": True}
    assert told["files"]["note"] == "there/note.md"
    assert told["failed"] == []


def test_runs_that_fail_are_told_each_cause_once(run, tmp_path):
    (tmp_path / "coin.py").write_text(COIN.replace("FAILING", "(1, 3)"))
    result = run("coin", "--jobs", 1)
    assert (result.status, result.out) == (1, "")
    cause, advice = result.err.splitlines()
    assert cause.startswith("FAIL throws=20, fair=True, seed 1 (and 1 more): ValueError: the coin is lost (line ")
    assert advice == (
        "2 runs failed; all others are kept. Correct the experiment, or install what it needs, and go on with: "
        "simulator -p coin.py experiment coin --jobs 1"
    )
    assert len((tmp_path / "coin" / "runs.jsonl").read_text().splitlines()) == 10
    told = json.loads(run("coin", "--jobs", 1, "--json").out)
    assert [(failed["condition"]["throws"], failed["seed"]) for failed in told["failed"]] == [(20, 1), (20, 3)]


def test_without_matplotlib_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    result = run("coin", "--quick", "--jobs", 1)
    assert "No figure: draw: expected matplotlib, got none; pip install matplotlib\n" in result.out
    assert "Wrote coin-quick/table.csv, coin-quick/runs.csv, coin-quick/note.md\n" in result.out


def test_progress_is_shown_on_a_terminal(run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "runs, left:" in run("coin", "--quick", "--jobs", 1).err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["cion"], "catalog: expected one of the experiments, got 'cion'; did you mean 'coin'?"),
        (["coin", "--seeds", "0"], "Invalid value for '--seeds': 0 is not in the range x>=1."),
        (["coin", "--jobs", "none"], "Invalid value for '--jobs': 'none' is not a valid integer range."),
        (["coin", "-o", "bias"], "Invalid value for '-o' / '--option': expected NAME=VALUE, got 'bias'"),
        (["coin", "-o", "size=3"], "experiment coin: expected one of its options, got 'size'; choose one of: bias"),
        (["coin", "--jobs", "2", "--cluster", "x"], "--jobs is for runs on this machine: leave it out, or --cluster"),
        (
            ["coin", "--folder", "full"],
            "experiment: expected a new or empty folder, or one with runs.jsonl, got full, which",
        ),
        (["coin", "--folder", "coin.py"], "experiment: expected a folder that can be written to, got coin.py ("),
        (["coin", "--prefer", "coin"], "--prefer: expected KIND.NAME=PLUGIN, got 'coin'"),
        (["coin", "-p", "no.py"], "plugin no.py: expected a Python file, got no such file; check the path"),
        (["coin", "--cluster", "nowhere:x"], "--cluster: expected a Dask scheduler at nowhere:x, got ValueError: "),
    ],
)
def test_what_is_refused_in_one_line(run, tmp_path, args, message):
    if "--cluster" in args:
        pytest.importorskip("distributed")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    result = run(*args)
    assert (result.status, result.out) == (2, "")
    *usage, line = result.err.splitlines()
    assert line.startswith(f"Error: {message}")
    assert all(told.startswith("Usage: ") for told in usage)
    assert not list(tmp_path.glob("**/*.jsonl"))
