"""Peak memory of each side, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from simulator_plugins.commands.bench.cases import FORWARD, STEP, Case, digits_net, plans
from simulator_plugins.commands.bench.comparison import SIDES, limited
from simulator_plugins.commands.bench.sides import LeftOut

from simulator import Catalog, SimulatorError
from simulator.cli.common import make_ready


def peak_of(settings, number, side):
    """By how many bytes the peak of a fresh process grows when one side makes and runs a case once.

    Parameters
    ----------
    settings : Settings
        Of the command line.
    number : int
        Of the case among its plans.
    side : str
        By name.

    Returns
    -------
    int or None
        Weights, samples, activations and all that is kept, beyond the imports and a first run of a tiny network, which
        loads what libraries load late. None where the system does not tell.

    Raises
    ------
    SimulatorError
        If the process is killed.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        try:
            return process.submit(_growth, settings, number, side).result()
        except BrokenProcessPool:
            raise SimulatorError(
                f"bench --memory: expected {side} to finish, got a process that was killed; use a smaller --batch-size"
            ) from None


def _growth(settings, number, side):
    catalog = Catalog(*settings.plugins, prefer=settings.prefer)
    engine = catalog.engine(settings.engine, settings.threads, ready=True)
    make_ready(engine, settings.dtype)
    make = SIDES[side]
    with limited(settings.threads):
        for what in (FORWARD, STEP):
            tiny = digits_net(catalog.make).with_dtype(settings.dtype).with_engine(engine)
            try:
                make(Case("tiny", what, tiny, 1, catalog)).run()
            except LeftOut:
                break
        before = _peak()
        running = make(plans(settings, catalog, engine)[number]())
        running.run()
        after = _peak()
    return None if before is None else after - before


def _peak():
    """Largest resident size of this process so far, bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # the peak of getrusage begins with the size of the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
