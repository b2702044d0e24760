"""Runs on a Dask cluster: results are kept here as they come, so a lost worker costs only what it was at."""

from __future__ import annotations

import importlib.metadata
import queue
import time
from collections.abc import Iterator, Sequence
from typing import Any

from simulator.errors import SimulatorError
from simulator.running.tasks import Outcome, Plan, Task, perform

__all__ = ["on_cluster"]

_DISTRIBUTION = "cnn-matrix-simulator"
_PATIENCE = 5.0  # seconds until a scheduler must answer
_RETRIES = 2  # of a run that the cluster, not the experiment, failed
_DESERTED = 60.0  # seconds without any worker after which nobody waits for one


def on_cluster(plan: Plan, tasks: Sequence[Task], address: str) -> Iterator[Outcome]:
    """Outcomes as they come; the same ones, to the last bit, as from processes on this machine.

    Parameters
    ----------
    plan : Plan
        What the runs have in common.
    tasks : sequence of Task
        All are handed over at once.
    address : str
        Of the scheduler, such as "tcp://10.0.0.1:8786".

    Yields
    ------
    Outcome
        Also of a run that the cluster gave up, with an error.

    Raises
    ------
    SimulatorError
        If distributed is not installed, nobody answers at the address, there is no worker or one lacks the simulator,
        or the scheduler or all workers are lost.
    """
    try:
        import distributed
    except ImportError:
        raise SimulatorError("--cluster: expected distributed, got none; pip install distributed") from None
    try:
        distributed.comm.get_address_host_port(address)  # a client that fails on it makes noise later
        client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SimulatorError(
            f"--cluster: expected a Dask scheduler at {address}, got {_line(error)}; start one with 'dask scheduler', "
            "and give the address that it prints"
        ) from None
    with client:
        _check_workers(client, address)
        finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        futures = {}
        for number, task in enumerate(tasks):
            key = f"{plan.name}-{plan.token}-{number}"
            future = client.submit(perform, plan, task, key=key, pure=False, retries=_RETRIES)
            futures[future.key] = future, task  # a future that nobody holds is forgotten by the cluster
            future.add_done_callback(finished.put)
        seen = time.monotonic()
        while futures:
            try:
                future, task = futures.pop(finished.get(timeout=_PATIENCE).key)
            except queue.Empty:
                if client.scheduler_info()["workers"]:
                    seen = time.monotonic()
                elif time.monotonic() - seen > _DESERTED:
                    raise _lost(address, "no worker is left") from None
                continue
            seen = time.monotonic()
            if future.status == "cancelled":
                raise _lost(address, "the scheduler is gone")
            yield Outcome(task, [], 0.0, _line(future.exception())) if future.status == "error" else future.result()


def _check_workers(client: Any, address: str) -> None:
    """There are workers, and each has the simulator; whether it is the same version, its first run finds out."""
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        raise SimulatorError(
            f"--cluster: expected a worker at {address}, got none; start one with 'dask worker {address}'"
        ) from None
    for worker, version in client.run(importlib.metadata.version, _DISTRIBUTION, on_error="return").items():
        if not isinstance(version, str):
            raise SimulatorError(
                f"--cluster: expected {_DISTRIBUTION} on every worker, got none on {worker}; install it there with pip"
            )


def _lost(address: str, why: str) -> SimulatorError:
    return SimulatorError(
        f"--cluster: expected {address} to finish all runs, but {why}; fix it, and go on with the same command: the "
        "finished runs are kept"
    )


def _line(error: Any) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
