"""On a Dask cluster: the same results to the last bit, nothing lost with a worker, and one line for what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import sys
import time

import pytest

from simulator import SimulatorError
from simulator.running import cluster, run_experiment

distributed = pytest.importorskip("distributed")

ALL = [(n, seed) for n in (1, 2, 3) for seed in range(3)]


def local_cluster(workers):
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )


@pytest.fixture(scope="module")
def address():
    with local_cluster(2) as made:
        yield made.scheduler_address


@pytest.fixture
def run(tiny, signals, tmp_path):
    """Run the tiny experiment into a folder: run("out", cluster=address) gives a Report."""

    def run(folder, **arguments):
        options = {"signals": str(signals.folder)}
        return run_experiment("tiny", tmp_path / folder, plugins=[tiny], options=options, **arguments)

    return run


def test_a_cluster_gives_what_this_process_gives_although_a_worker_is_killed(run, signals, kept, tmp_path, address):
    there, before = tmp_path / "there", {}

    def kill(done, total):
        if done == 4:
            before.update(kept(there))
            os.kill(signals.process("2-1"), signal.SIGKILL)
            signals.clear("wait-2-1")

    signals.set("wait-2-1")
    report = run("there", cluster=address, watch=kill)
    begun = signals.begun()
    assert not report.failed
    assert begun.count("2-1") == 2
    assert len(before) == 4
    assert all(begun.count(f"{n}-{seed}") == 1 for n, seed in before)  # what was finished is not run again
    assert run("here").table == report.table
    assert kept(there) == kept(tmp_path / "here")
    assert f"9 of 9 runs in the last call, on the cluster {address}; " in report.files["note"].read_text()


def test_an_interrupted_client_goes_on(run, signals, kept, tmp_path, address):
    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("out", cluster=address, watch=interrupt)
    before = kept(tmp_path / "out")
    assert len(before) == 2
    told = []
    run("out", cluster=address, watch=lambda done, total: told.append(done))
    assert told == [2, 3, 4, 5, 6, 7, 8, 9]
    assert set(kept(tmp_path / "out")) == set(ALL)
    assert kept(tmp_path / "out").items() >= before.items()


def test_a_run_that_fails_is_told_and_not_repeated(run, signals, kept, tmp_path, address):
    signals.set("fail-1-1")
    (outcome,) = run("out", cluster=address, quick=True).failed
    assert str(outcome.task) == "n=1, seed 1"
    assert outcome.error.startswith("LinAlgError: Singular matrix (line ")
    assert signals.begun().count("1-1") == 1
    assert set(kept(tmp_path / "out")) == {(1, 0), (2, 0), (2, 1)}


@pytest.mark.slow
def test_a_run_that_kills_every_worker_fails_and_no_other(run, signals, kept, tmp_path, address):
    signals.set("always-die-1-1")
    (outcome,) = run("out", cluster=address, quick=True).failed
    assert str(outcome.task) == "n=1, seed 1"
    assert outcome.error.startswith("KilledWorker: ")
    assert set(kept(tmp_path / "out")) == {(1, 0), (2, 0), (2, 1)}


def test_a_worker_with_other_code_is_told(run, tiny, tmp_path, address, signals):
    def edit(done, total):
        if done == 0:
            tiny.write_text(tiny.read_text() + "\n# edited\n")  # after the plan was made

    outcome, *_ = run("out", cluster=address, quick=True, watch=edit).failed
    assert outcome.error.startswith(
        "experiment tiny: expected the code that it was started with (cnn-matrix-simulator "
    )
    assert outcome.error.endswith("; install the same version everywhere")
    assert signals.begun() == []


# ---------------------------------------------------------------------- clusters that cannot be used


def test_a_worker_without_the_simulator_is_told(run, signals, address):
    def hide():
        def version(name):
            raise importlib.metadata.PackageNotFoundError(name)

        importlib.metadata.known, importlib.metadata.version = importlib.metadata.version, version

    def show():
        importlib.metadata.version = importlib.metadata.known

    with distributed.Client(address, set_as_default=False) as client:
        worker = next(iter(client.scheduler_info()["workers"]))
        client.run(hide, workers=[worker])
        try:
            with pytest.raises(
                SimulatorError, match=f"cnn-matrix-simulator on every worker, got none on {worker}; install"
            ):
                run("out", cluster=address)
        finally:
            client.run(show, workers=[worker])
    assert signals.begun() == []


@pytest.mark.parametrize(
    "wrong", ["tcp://127.0.0.1:9", "127.0.0.1:9", "nowhere", "http://127.0.0.1:9", "tcp://a:b", ""]
)
def test_where_nobody_listens_it_does_not_wait(run, signals, monkeypatch, wrong):
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    begun = time.monotonic()
    with pytest.raises(
        SimulatorError, match=f"--cluster: expected a Dask scheduler at {wrong}, got .*; start one with"
    ):
        run("out", cluster=wrong)
    assert time.monotonic() - begun < 10
    assert signals.begun() == []


@pytest.mark.slow
def test_a_cluster_without_workers_is_told(run, monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    with (
        local_cluster(0) as empty,
        pytest.raises(SimulatorError, match="expected a worker at tcp://.*, got none; start"),
    ):
        run("out", cluster=empty.scheduler_address)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "why"), [("workers", "no worker is left"), ("scheduler", "the scheduler is gone")])
def test_a_cluster_that_is_lost_is_told(run, signals, kept, monkeypatch, tmp_path, loss, why):
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    monkeypatch.setattr(cluster, "_DESERTED", 1.0)
    signals.set("wait-1-1")
    made = local_cluster(1)

    def lose(done, total):
        if done == 1:
            signals.process("1-1")
            made.scale(0) if loss == "workers" else made.close()

    with made, pytest.raises(SimulatorError, match=f"to finish all runs, but {why}; .* the finished runs are kept"):
        run("out", cluster=made.scheduler_address, watch=lose)
    assert set(kept(tmp_path / "out")) == {(1, 0)}


def test_without_distributed_it_says_how_to_get_it(run, signals, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SimulatorError, match="expected distributed, got none; pip install distributed"):
        run("out", cluster="tcp://127.0.0.1:9")
    assert signals.begun() == []
