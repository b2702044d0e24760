"""How the time of a step grows with the batch and with the nonzeros of the matrix."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np
from simulator_plugins.commands.bench.cases import BACKWARD, Case
from simulator_plugins.commands.bench.comparison import TOLERANCE, differences, made, timed
from simulator_plugins.commands.bench.sides import Simulator

from simulator import Conv, Network, SimulatorError
from simulator.draw.canvas import new_figure

POINTS = 8  # each twice as large as the one before: 128-fold
LEAST = 1e-3  # seconds of the first point
BAR = 1.05
_CHANNELS, _SIDE, _BATCH = 16, 16, 64


@dataclass(frozen=True)
class Curve:
    """Times over sizes.

    Parameters
    ----------
    over : {"batch", "nonzeros"}
        What grows.
    sizes : list of int
        At least 100-fold from the first to the last.
    milliseconds : list of float
        Medians.
    max_difference : float
        From a bare product with the same matrix, at the first size.
    """

    over: str
    sizes: list[int]
    milliseconds: list[float]
    max_difference: float

    @property
    def exponent(self):
        """Slope of the straight line through the points, both axes logarithmic: 1 is proportional."""
        return float(np.polyfit(np.log(self.sizes), np.log(self.milliseconds), 1)[0])


def measured(over, catalog, engine, dtype, repeat=None, on_point=None):
    """Forward and backward of one 3 x 3 convolution, 16 to 16 maps, at sizes from 1 to 128 times the first.

    The first size is one that takes at least a millisecond.

    Parameters
    ----------
    over : {"batch", "nonzeros"}
        The batch grows at 16 x 16 sites, or the sites at batch 64.
    catalog, engine, dtype
        Of the network.
    repeat : int, optional
        Rounds per point.
    on_point : callable, optional
        ``on_point(done, total)`` after each point.

    Returns
    -------
    Curve

    Raises
    ------
    SimulatorError
        If the numbers of the first point are wrong.
    """
    first = 0
    while _median(_case(over, first, catalog, engine, dtype), 3) < LEAST:
        first += 1
    sides, _ = made(_case(over, first, catalog, engine, dtype))
    _, found = differences({name: sides[name] for name in ("simulator", "csr")})
    if found["simulator"] > TOLERANCE[dtype]:
        raise SimulatorError(
            f"bench --growth: expected the numbers of a bare csr @ x, got a difference of {found['simulator']:.1e} of "
            "the largest; fix the engine"
        )
    sizes, times = [], []
    for k in range(first, first + POINTS):
        case = _case(over, k, catalog, engine, dtype)
        sizes.append(case.batch if over == "batch" else case.network.nodes["conv1"].pattern.nnz)
        times.append(1000 * _median(case, repeat))
        if on_point is not None:
            on_point(len(times), POINTS)
    return Curve(over, sizes, times, found["simulator"])


def _case(over, k, catalog, engine, dtype):
    batch, side = (2 ** (k + 3), _SIDE) if over == "batch" else (_BATCH, round(8 * 2 ** (k / 2)))
    layer = Conv(_CHANNELS, kernel=3, padding=1)
    network = Network.sequential((_CHANNELS, side, side), [layer], rng=0, dtype=dtype, engine=engine)
    return Case(over, BACKWARD, network, batch, catalog, inner=True)


def _median(case, repeat):
    return statistics.median(timed({"simulator": Simulator(case)}, repeat, seconds=1.0)["simulator"])


def drawn(curves):
    """A figure of the curves with the fitted lines, both axes logarithmic."""
    figure = new_figure(5 * len(curves), 4)
    for ax, curve in zip(np.ravel(figure.subplots(1, len(curves))), curves, strict=True):
        sizes, times = np.array(curve.sizes), np.array(curve.milliseconds)
        middle = np.exp(np.mean(np.log(times)) + curve.exponent * (np.log(sizes) - np.mean(np.log(sizes))))
        ax.loglog(sizes, times, "o", label="median")
        ax.loglog(sizes, middle, "-", label=f"exponent {curve.exponent:.2f}")
        ax.set(xlabel=curve.over, ylabel="milliseconds", title=f"Forward and backward over {curve.over}")
        ax.legend()
    return figure
