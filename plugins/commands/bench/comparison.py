"""Comparing the sides of a case: first their numbers, then their times, in turn."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from dataclasses import replace

import numpy as np
from simulator_plugins.commands.bench.baselines import Im2col, csr
from simulator_plugins.commands.bench.cases import FORWARD
from simulator_plugins.commands.bench.sides import LeftOut, PyTorch, Simulator

SIDES = {"simulator": Simulator, "pytorch": PyTorch, "csr": csr, "im2col": Im2col}

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # of the largest number of an array
COARSE = 0.2  # for gradients in float32, where all sides agree in float64
_PAUSE = 0.05  # seconds
_LONG = 1.0  # seconds that a run takes at least if it needs no other to warm up for it
_TURN = 0.1  # seconds that a side has at least before it is the next one's turn
_SECONDS = 3.0  # for a case, where no number of rounds is given
_FEWEST, _MOST = 3, 50  # rounds, likewise


@contextlib.contextmanager
def limited(threads):
    """Hold the BLAS of NumPy and PyTorch, if it is there, to so many threads."""
    from threadpoolctl import threadpool_limits

    try:
        import torch
    except ImportError:
        torch = None
    before = torch and torch.get_num_threads()
    if torch:
        torch.set_num_threads(threads)
    try:
        with threadpool_limits(limits=threads, user_api="blas"):
            yield
    finally:
        if torch:
            torch.set_num_threads(before)


def made(case):
    """The sides that take part, by name, and why the others do not."""
    sides, reasons = {}, {}
    for name, make in SIDES.items():
        try:
            sides[name] = make(case)
        except LeftOut as error:
            reasons[name] = str(error)
    return sides, reasons


def differences(sides):
    """How far the numbers of each side are from the reference's, as a share of the largest one in the array.

    Parameters
    ----------
    sides : dict of sides by name
        Of one case, none of which has run yet.

    Returns
    -------
    reference : str or None
        Who the others are compared with: the first that is not the simulator, None if there is no such side.
    dict of float by name
        The largest difference over all arrays; infinite where a number is none.

    Notes
    -----
    Arrays are compared on the scale of their largest number, or of a thousandth of the largest of all arrays of their
    kind: gradients that are zero in mathematics, as of a bias before batch normalisation, are rounding errors on each
    side.
    """
    reference = next((name for name in sides if name != "simulator"), None)
    if reference is None:
        return None, {}
    expected = _run(sides[reference])
    largest = {}
    for (kind, _), array in expected.items():
        largest[kind] = max(largest.get(kind, 0.0), float(np.abs(array).max(initial=0)))
    found = {reference: 0.0}
    for name, side in sides.items():
        if name != reference:
            numbers = _run(side)
            found[name] = max(_difference(numbers[key], array, largest[key[0]]) for key, array in expected.items())
    return reference, found


def _run(side):
    return side.numbers(side.run())


def _difference(array, expected, largest):
    """The largest difference as a share of the largest expected number."""
    if np.shape(array) != np.shape(expected):
        return np.inf
    worst = float(np.abs(array - expected).max(initial=0))
    scale = max(float(np.abs(expected).max(initial=0)), largest / 1000, sys.float_info.min)
    return worst / scale if np.isfinite(worst) else np.inf


def checked(case, sides):
    """Which sides compute other numbers than the reference.

    Parameters
    ----------
    case : Case
        Without chance.
    sides : dict of sides by name
        Of this case, none of which has run yet.

    Returns
    -------
    dict
        "reference" and "tolerance", the differences "found" and those found "in_float64" by name, and the names of the
        sides that are "failed".

    Notes
    -----
    Where two numbers are as good as equal, rounding errors decide which one max pooling takes, and what ReLU lets pass;
    gradients then go another way. So where gradients differ too much in float32, all sides compute the case once more
    in float64 and must agree there, and roughly in float32.
    """
    reference, found = differences(sides)
    tolerance, in_float64 = TOLERANCE[case.network.dtype.name], {}
    failed = [name for name, difference in found.items() if difference > tolerance]
    if failed and case.what != FORWARD and case.network.dtype == np.float32:
        again = replace(case, network=case.network.with_dtype(np.float64))
        again.check()
        exact, _ = made(again)
        _, in_float64 = differences(exact)
        wrong = {name for name, difference in in_float64.items() if difference > TOLERANCE["float64"]}
        tolerance = COARSE
        failed = [name for name, difference in found.items() if difference > tolerance or name in wrong]
    return {
        "reference": reference,
        "tolerance": tolerance,
        "found": found,
        "in_float64": in_float64,
        "failed": failed,
    }


def timed(sides, repeat=None, seconds=_SECONDS, on_round=None):
    """Seconds that each run of each side took, after one that does not count.

    Parameters
    ----------
    sides : dict of sides by name
        They take turns: in each round every side runs once, or as often as fits into 0.1 seconds, after a short pause
        (the threads of the side before it go on spinning for a while) and, where runs are short, one that does not
        count.
    repeat : int, optional
        Rounds. Default: as many as take about `seconds`, from 3 to 50.
    seconds : float, default 3
        See there.
    on_round : callable, optional
        ``on_round(done, total)`` after each round.

    Returns
    -------
    dict of lists of float by name
    """
    once = {name: _seconds(side) for name, side in sides.items()}
    once = {name: taken if taken > _TURN else _seconds(sides[name]) for name, taken in once.items()}
    runs = {name: max(1, int(_TURN / taken)) for name, taken in once.items()}
    warm = {name: int(once[name] < _LONG) for name in sides}  # runs that do not count
    cost = sum((warm[name] + runs[name]) * once[name] for name in sides)
    rounds = repeat or min(_MOST, max(_FEWEST, int(seconds / cost)))
    taken = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            time.sleep(_PAUSE)
            with getattr(side, "turn", contextlib.nullcontext)():
                for _ in range(warm[name]):
                    side.run()
                taken[name] += [_seconds(side) for _ in range(runs[name])]
        if on_round is not None:
            on_round(number + 1, rounds)
    return taken


def _seconds(side):
    start = time.perf_counter()
    side.run()
    return time.perf_counter() - start


def compared(case, repeat=None, on_round=None):
    """One case: what JSON tells of it. Sides whose numbers differ are not timed, nor are the others then.

    Parameters
    ----------
    case : Case
        What to compute.
    repeat : int, optional
        Rounds of timing.
    on_round : callable, optional
        ``on_round(done, total)`` after each round.

    Returns
    -------
    dict
    """
    certain = case.certain
    sides, reasons = made(certain)
    check = checked(certain, sides)
    told = {
        name: {
            "median_ms": None,
            "runs": 0,
            "max_difference": check["found"].get(name),
            "max_difference_float64": check["in_float64"].get(name),
            "skipped": reasons.get(name),
        }
        for name in SIDES
    }
    if not check["failed"]:
        if certain is not case:
            del sides
            sides, _ = made(case)
        for name, times in timed(sides, repeat, on_round=on_round).items():
            told[name].update(median_ms=1000 * statistics.median(times), runs=len(times))
    own = told["simulator"]["median_ms"]
    ratios = {n: side["median_ms"] / own for n, side in told.items() if n != "simulator" and side["median_ms"]}
    return {
        "case": case.name,
        "what": case.what,
        "batch": case.batch,
        "dtype": case.network.dtype.name,
        "reference": check["reference"],
        "tolerance": check["tolerance"],
        "failed": check["failed"],
        "sides": told,
        "ratios": ratios,
    }
