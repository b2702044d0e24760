"""What is left when an experiment on several processes ends before its time: all finished runs, and no process."""

import os
import signal
import subprocess
import sys

import pytest


@pytest.fixture
def started(tiny, signals, tmp_path):
    """``simulator experiment tiny`` on two processes, in a process of its own: two runs are done, two wait."""
    signals.set("wait-2-0", "wait-2-1")
    command = [sys.executable, "-c", "from simulator.cli import main; main()", "-p", str(tiny), "experiment", "tiny"]
    command += ["-o", f"signals={signals.folder}", "--jobs", "2", "--seeds", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_an_interrupt_leaves_all_finished_runs_and_no_process(started, signals, kept, alive, tmp_path):
    workers = [signals.process(name) for name in ("2-0", "2-1")]
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does: to all of them
    out, err = started.communicate(timeout=30)
    assert started.returncode == 130
    assert out == ""
    assert err.lstrip().startswith("Interrupted: the finished runs are in tiny; go on with: simulator -p ")
    assert " experiment tiny " in err
    assert set(kept(tmp_path / "tiny")) == {(1, 0), (1, 1)}
    assert not any(map(alive, workers))


@pytest.mark.slow
def test_when_the_first_process_is_killed_the_others_end_too(started, signals, kept, alive, tmp_path):
    workers = [signals.process(name) for name in ("2-0", "2-1")]
    assert len({started.pid, *workers}) == 3
    started.kill()
    started.communicate(timeout=30)
    assert not any(map(alive, workers))
    assert set(kept(tmp_path / "tiny")) == {(1, 0), (1, 1)}
