"""What the tests of the command line share: running it, a trained network, and small data."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from simulator.cli import main

SMALL = ("--data", "xo", "--input", "1x12x12", "-o", "width=0.3")


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def complaint(self):
        """The one line that says what is wrong; click puts lines on the usage before some."""
        *before, line = self.err.splitlines()
        assert self.status == 2
        assert not before or before[0].startswith("Usage: ")
        assert not any(other.startswith("Error: ") for other in before)
        assert line.startswith("Error: ")
        return line.removeprefix("Error: ")

    def rows(self):
        """The lines of a table as lists of their cells, numbers without commas."""
        lines = [line.split() for line in self.out.splitlines()]
        return {cells[0]: [cell.replace(",", "") for cell in cells[1:]] for cells in lines if len(cells) > 1}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test runs in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run the command line in this process: run("describe", "lenet5") gives a Result."""

    def run(*args):
        with pytest.raises(SystemExit) as end:
            main([str(a) for a in args])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Result(end.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def shell():
    """Start the command line in a process of its own: shell("train", "--json", stdout=...) gives a Popen."""

    def shell(*args, **options):
        command = [sys.executable, "-c", "from simulator.cli import main; main()", *map(str, args)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen(command, **pipes)

    return shell


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The checkpoint of a small LeNet-5 after two epochs on X and O."""
    path = tmp_path_factory.mktemp("trained") / "net.safetensors"
    with pytest.raises(SystemExit) as end:
        main(["train", *SMALL, "--epochs", "2", "--lr", "0.08", "--no-proof", "--save", str(path)])
    assert end.value.code == 0
    return path


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A folder with data of all kinds, good and bad: 60 samples 1 x 12 x 12 of 3 classes."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    inputs = rng.random((60, 1, 12, 12), np.float32)
    inputs[np.arange(60), 0, labels * 4] += 2  # a bright row says the class
    nan, infinite = inputs.copy(), inputs.copy()
    nan[7, 0, 1, 1], infinite[8, 0, 0, 0] = np.nan, np.inf
    for name, arrays in {
        "good": {"inputs": inputs, "targets": labels, "classes": ["a", "b", "c"]},
        "nan": {"inputs": nan, "targets": labels},
        "infinite": {"inputs": infinite, "targets": labels},
        "empty": {"inputs": inputs[:0], "targets": labels[:0]},
        "shorter": {"inputs": inputs, "targets": labels[:5]},
        "beyond": {"inputs": inputs, "targets": labels, "classes": ["a", "b"]},
        "negative": {"inputs": inputs, "targets": labels - 1},
        "alone": {"inputs": inputs[:1], "targets": labels[:1]},
        "real": {"inputs": inputs, "targets": labels + 0.5},
        "wide": {"inputs": inputs.repeat(2, axis=3), "targets": labels},
        "flat": {"inputs": inputs.reshape(60, 144), "targets": labels},
        "short": {"inputs": inputs.reshape(60, 144)[:, :143], "targets": labels},
        "signal": {"inputs": inputs.reshape(60, 1, 1, 144), "targets": labels},
        "tested": {
            "x_train": inputs[:40],
            "y_train": labels[:40],
            "x_test": inputs[40:],
            "y_test": labels[40:],
            "classes": ["a", "b", "c"],
        },
    }.items():
        np.savez(folder / f"{name}.npz", **arrays)
    (folder / "damaged.npz").write_bytes(b"no archive")
    (folder / "damaged.safetensors").write_bytes(b"no network")
    (folder / "notes.txt").write_text("no data")
    return folder


@pytest.fixture
def follow(run):
    """Run every command that a text names to be run next, as a shell would read it; they must succeed.

    follow(text) gives the Results by command; a text without a command is a failure.
    """

    def follow(text):
        commands = re.findall(r": (simulator .*)$", text, re.MULTILINE)
        assert commands, text
        results = {command: run(*shlex.split(command)[1:]) for command in commands}
        for command, result in results.items():
            assert result.status == 0, (command, result)
        return results

    return follow
