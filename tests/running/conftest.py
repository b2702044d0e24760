"""A tiny experiment whose runs can be told to fail, to die or to wait, by files in a folder."""

import json
import os
import time
from pathlib import Path

import pytest

TINY = '''
"""Tiny."""
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
import threadpoolctl
from simulator import Experiment, Finding, hookimpl

@dataclass(frozen=True)
class Tiny(Experiment):
    """Norms of random products.

    The protocol: a square matrix times itself.

    Examples
    --------
    >>> 1
    1
    """

    signals: str = ""
    scale: float = 1.0
    seeds = 3

    def conditions(self, quick=False):
        return [{"n": n} for n in ((1, 2) if quick else (1, 2, 3))]

    def run(self, condition, seed, catalog):
        n = condition["n"]
        folder, name = Path(self.signals), f"{n}-{seed}"
        if self.signals:
            with (folder / "log").open("a") as log:
                log.write(name + "\\\\n")
            while (folder / f"wait-{name}").exists():
                (folder / f"at-{name}").write_text(str(os.getpid()))
                time.sleep(0.02)
            if (folder / f"fail-{name}").exists():
                np.linalg.inv(np.zeros((2, 2)))
            if (folder / f"exit-{name}").exists():
                raise SystemExit(3)
            if (folder / f"die-{name}").exists():
                (folder / f"die-{name}").unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            if (folder / f"always-die-{name}").exists():
                os.kill(os.getpid(), signal.SIGKILL)
        x = np.random.default_rng([n, seed]).standard_normal((60, 60))
        threads = {info["num_threads"] for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"}
        norm = self.scale * float(np.linalg.norm(x @ x))
        return [{"norm": norm, "square": n * n, "threads": max(threads), "layers": len(catalog.layers)}]

    def findings(self, table):
        norms = [row["norm"] for row in table]
        return [
            Finding("products | are large", "above 100", f"{min(norms):.1f}", min(norms) > 100),
            Finding("norms fall", "falling", "no order", norms == sorted(norms, reverse=True)),
        ]

    def draw(self, table, figure):
        figure.subplots().plot([row["n"] for row in table], [row["norm"] for row in table])

@hookimpl
def register_experiments(register):
    register("tiny", Tiny)
'''.replace("\\\\n", "\\n")


class Signals:
    """What runs are told, and what they did."""

    def __init__(self, folder):
        self.folder = folder

    def set(self, *names):
        for name in names:
            (self.folder / name).touch()

    def clear(self, name):
        (self.folder / name).unlink()

    def begun(self):
        """The runs that were begun, "n-seed", in their order."""
        log = self.folder / "log"
        return log.read_text().split() if log.exists() else []

    def process(self, name):
        """The number of the process that waits in this run; waits until it does."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            text = path.read_text() if (path := self.folder / f"at-{name}").exists() else ""
            if text:
                return int(text)
            time.sleep(0.02)
        raise AssertionError(f"{name} was never begun")


@pytest.fixture
def tiny(tmp_path):
    """The plugin's file."""
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    return path


@pytest.fixture
def signals(tmp_path):
    folder = tmp_path / "signals"
    folder.mkdir()
    return Signals(folder)


@pytest.fixture(scope="session")
def kept():
    """What is kept of each run, but for its seconds: kept(folder) gives {(n, seed): rows}."""

    def read(folder):
        records = [json.loads(line) for line in (Path(folder) / "runs.jsonl").read_text().splitlines()]
        found = {(record["condition"]["n"], record["seed"]): record["rows"] for record in records}
        assert len(found) == len(records)
        return found

    return read


@pytest.fixture(scope="session")
def alive():
    """Whether a process is there: alive(pid) asks for up to some seconds until it is not."""

    def ask(pid, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                os.kill(pid, 0)
                if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    return False  # nobody has asked for its exit status, which does not keep it running
            except (ProcessLookupError, FileNotFoundError):
                return False
            time.sleep(0.05)
        return True

    return ask
