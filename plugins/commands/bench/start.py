"""How long commands take in a fresh process, beside importing NumPy."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from simulator import SimulatorError

NUMPY = "python -c 'import numpy'"
COMMANDS = {
    NUMPY: ("-c", "import numpy"),
    **{
        " ".join(("simulator", *(f"'{word}'" if "[" in word else word for word in words))): ("-m", "simulator", *words)
        for words in (
            ("--help",),
            ("train", "--help"),
            ("unit", "--help"),
            ("plugins",),
            ("describe", "lenet5"),
            ("unit", "lenet5", "conv2[3, 4, 5]"),
            ("weight", "lenet5", "conv1.weight[0, 0, 2, 1]"),
            ("effect", "lenet5", "--ablate", "conv1[2]"),
        )
    },
}


@dataclass(frozen=True)
class Start:
    """Medians of one command.

    Parameters
    ----------
    command : str
        As it is typed.
    wall_ms : float
        From start to end.
    cpu_ms : float
        What the process used of all cores; 0 where the system does not tell.
    """

    command: str
    wall_ms: float
    cpu_ms: float


def measured(repeat=None, on_round=None):
    """Run the commands in turn, each time in a fresh process.

    Parameters
    ----------
    repeat : int, optional
        Rounds, after one that is not counted. Default: 7.
    on_round : callable, optional
        ``on_round(done, total)`` after each round.

    Returns
    -------
    list of Start
        The first is ``import numpy``.

    Raises
    ------
    SimulatorError
        If a command fails.
    """
    repeat = repeat or 7
    taken = {command: [] for command in COMMANDS}
    for number in range(1 + repeat):
        for command, arguments in COMMANDS.items():
            times = _run(command, arguments)
            if number:
                taken[command].append(times)
        if on_round is not None:
            on_round(number, repeat)
    return [Start(command, *map(statistics.median, zip(*each, strict=True))) for command, each in taken.items()]


def _run(command, arguments):
    """Milliseconds by the clock and of the processor."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise SimulatorError(
            f"bench --start: expected {command} to work, got exit status {done.returncode}; run it alone to see why"
        )
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return 1000 * wall, 1000 * cpu
