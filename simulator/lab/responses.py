"""Responses: what makes a unit respond most, among the data and among all inputs of one size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from simulator.arrays import real_array
from simulator.data import Dataset
from simulator.errors import ShapeError, SimulatorError, brief
from simulator.finite import check_finite
from simulator.network import Network, Rng, as_rng
from simulator.receptive import ReceptiveField
from simulator.units import Units
from simulator.windows import check_size
from simulator.workspace import Workspace

__all__ = ["NoGradientError", "Preferred", "Responses", "preferred_input", "strongest"]

_STARTS = 20  # random inputs to try: a unit behind a ReLU is silent, and has no gradient, for about half of them


class NoGradientError(SimulatorError):
    """A unit has no gradient anywhere that gradient ascent could start, as behind a ReLU that gives 0."""


@dataclass(frozen=True, eq=False, repr=False)
class Responses:
    """The samples to which a unit responds most, the strongest first.

    Parameters
    ----------
    unit : Units
        The unit, or several of which each sample counts with the strongest, such as a channel.
    samples : numpy.ndarray of int, (count,)
        Numbers of the samples.
    values : numpy.ndarray, (count,)
        What the unit responds to each.
    inputs : numpy.ndarray, (count, channels, *space)
        These samples.
    fields : list of ReceptiveField
        What the unit sees of each sample; of several units, the strongest.
    """

    unit: Units
    samples: np.ndarray
    values: np.ndarray
    inputs: np.ndarray
    fields: list[ReceptiveField]

    @property
    def patches(self) -> list[np.ndarray]:
        """What the unit sees of each sample: the box of its receptive field, at borders cut to the input."""
        boxes = [tuple(slice(*span) for span in field.box) for field in self.fields]
        return [x[box] for x, box in zip(self.inputs, boxes, strict=True)]

    def __repr__(self) -> str:
        last = f" ... {self.values[-1]:.4g}" if len(self.values) > 1 else ""
        return f"Responses of {self.unit}: {self.values[0]:.4g}{last} to samples {', '.join(map(str, self.samples))}"


def strongest(
    network: Network,
    unit: Any,
    data: Dataset | np.ndarray,
    count: int = 9,
    *,
    batch_size: int = 256,
    on_batch: Callable[[int, int], None] | None = None,
) -> Responses:
    """The samples to which a unit responds most.

    Parameters
    ----------
    network : Network
        With weights and one input.
    unit : address
        A unit, or several, such as a channel: then each sample counts with the site at which it is strongest.
    data : Dataset, or numpy.ndarray, (n, channels, *space)
        The samples; targets do not count.
    count : int, default 9
        How many to find.
    batch_size : int, default 256
        Samples at a time.
    on_batch : callable, optional
        ``on_batch(done, total)`` after each batch of samples: for progress bars.

    Returns
    -------
    Responses
        Of equal samples the first.

    Raises
    ------
    ShapeError
        If there are no such units, the samples do not fit, or a number is not positive.
    UnknownNameError
        If there is no such node.

    Notes
    -----
    Only what stands before the unit is computed.

    References
    ----------
    M. D. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", 2014.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 6), [Conv(1, kernel=2)])
    >>> net = net.with_params({"conv1.weight": [[[-1.0, 1.0]]], "conv1.bias": [0.0]})  # steps upwards
    >>> found = strongest(net, "conv1[0]", np.array([[[0, 1, 2, 3, 4, 5]], [[0, 0, 0, 7, 7, 7]]]), count=2)
    >>> found
    Responses of conv1[0]: 7 ... 1 to samples 1, 0
    >>> found.fields[0].position, found.patches[0]
    ((0, 2), array([[0, 7]]))
    """
    units = Units.of(network.nodes, unit)
    check_size(count, "strongest count")
    check_size(batch_size, "strongest batch_size")
    part = network.subnetwork(units.node)
    given = data.inputs if isinstance(data, Dataset) else data
    name = part.input_name
    inputs = real_array(f"strongest {units}", given.get(name, ()) if isinstance(given, Mapping) else given)
    if not inputs.ndim or not inputs.size:
        raise ShapeError(f"strongest {units}: expected some samples, got none; give at least one")
    batch_size = part.fitting_batch(batch_size)
    workspace = Workspace(part)
    values, where = np.empty(len(inputs), part.dtype), np.empty(len(inputs), np.intp)
    for start in range(0, len(inputs), batch_size):
        some = slice(start, start + batch_size)
        trace = workspace.run(part, inputs[some])
        found = trace[units.node][:, *units.slices].reshape(len(inputs[some]), -1)
        values[some], where[some] = found.max(axis=1), found.argmax(axis=1)
        if on_batch is not None:
            on_batch(min(some.stop, len(inputs)), len(inputs))
    check_finite({units.node: values}, f"strongest {units}")
    samples = np.argsort(-values, kind="stable")[:count]
    numbers = units.numbers[where[samples]]
    fields = [network.receptive_field(units.node, int(number), name) for number in numbers]
    return Responses(units, samples, values[samples], inputs[samples], fields)


@dataclass(frozen=True, eq=False, repr=False)
class Preferred:
    """An input that a unit prefers to all others of its norm that are near.

    Parameters
    ----------
    unit : Units
        The unit, or several of which the mean counts.
    x : numpy.ndarray, (channels, *space)
        The input.
    history : numpy.ndarray, (steps + 1,)
        What the unit responds at the start and after each step; it never falls.
    """

    unit: Units
    x: np.ndarray
    history: np.ndarray

    @property
    def value(self) -> float:
        """What the unit responds to the input."""
        return float(self.history[-1])

    def __repr__(self) -> str:
        return (
            f"Preferred input of {self.unit}: {self.value:.4g} after {len(self.history) - 1} steps from "
            f"{self.history[0]:.4g}, norm {np.linalg.norm(self.x):.4g}"
        )


def preferred_input(
    network: Network,
    unit: Any,
    *,
    steps: int = 100,
    lr: float = 0.2,
    norm: float | None = None,
    x0: Any = None,
    rng: Rng = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> Preferred:
    """The input that makes a unit respond most, by gradient ascent on the input.

    As a matrix: where the network is affine this is the unit's row of the product of all matrices, made as long as
    `norm`.

    Parameters
    ----------
    network : Network
        With weights and one input.
    unit : address
        A unit, or several, of which the mean counts.
    steps : int, default 100
        Gradients to take.
    lr : float, default 0.2
        Largest step, as a share of the norm.
    norm : float, optional
        The input's Euclidean norm, which stays the same: without it many units would respond without bounds. Default:
        that of `x0`, else the square root of the number of input units, which means values of about 1.
    x0 : array_like, (channels, *space), optional
        Where to start, such as a sample that the unit likes; it is scaled to the norm. Default: at random.
    rng : numpy.random.Generator or int, default 0
        Draws the start.
    on_step : callable, optional
        ``on_step(done, total)`` after each step: for progress bars.

    Returns
    -------
    Preferred

    Raises
    ------
    ShapeError
        If there are no such units, or the start or a number does not fit.
    UnknownNameError
        If there is no such node.
    NoGradientError
        If the gradient is zero at the start, so that nothing says where to go.

    Notes
    -----
    ``x <- norm * u / |u|`` with ``u = x + s * norm * g / |g|``, where g is the gradient of the response. A step that
    would make the response smaller is not taken: the next one is half as long. What it finds depends on the start.

    References
    ----------
    D. Erhan, Y. Bengio, A. Courville, P. Vincent, "Visualizing higher-layer features of a deep network", 2009.

    Examples
    --------
    >>> from simulator.layers import Dense
    >>> net = Network.sequential((1, 2), [Dense(1)]).with_params({"dense1.weight": [[3, 4]], "dense1.bias": [0]})
    >>> found = preferred_input(net, "dense1[0]", norm=10)
    >>> found.x.round(2), round(found.value, 3)
    (array([[6., 8.]], dtype=float32), 50.0)
    """
    units = Units.of(network.nodes, unit)
    part = network.subnetwork(units.node)
    shape, who = part.input_shape, f"preferred input of {units}"
    check_size(steps, f"{who}, steps")
    most = math.sqrt(np.finfo(part.dtype).max)  # of what can be squared
    for name, number in (("lr", lr), ("norm", norm)):
        if number is not None and not (isinstance(number, Real) and 0 < number < most):
            raise ShapeError(f"{who}, {name}: expected a positive number, got {brief(number)}; give such a number")
    climb = _Climb(part, units)
    generator = as_rng(rng)
    starts = [x0] if x0 is not None else (generator.standard_normal(shape) for _ in range(_STARTS))
    for start in starts:
        x = real_array(f"{who}, x0", start).astype(part.dtype, copy=False)
        long = float(np.linalg.norm(x))
        if x.shape != shape or not 0 < long < np.inf:
            raise ShapeError(
                f"{who}, x0: expected finite numbers {shape}, not all zero, got {x.shape} of norm {long:.4g}; take a "
                "sample"
            )
        length = norm or (long if x0 is not None else math.sqrt(x.size))
        x = x * (length / long)
        value, gradient = climb.responded(x)
        if gradient.any():
            break
    else:
        raise NoGradientError(
            f"{who}: expected a start at which it has a gradient, got none but zero; give as x0 a sample to which it "
            "responds, see strongest"
        )
    history, step = [value], float(lr)
    for done in range(1, steps + 1):
        size = float(np.linalg.norm(gradient))
        if size:
            moved = x + gradient * (step * length / size)
            moved *= length / np.linalg.norm(moved)
            found, slope = climb.responded(moved)
            if found >= value:
                x, value, gradient, step = moved, found, slope, min(lr, 2 * step)
            else:
                step /= 2
        history.append(value)
        if on_step is not None:
            on_step(done, steps)
    return Preferred(units, x, np.array(history))


class _Climb:
    """The mean response of some units to one input, and its gradient."""

    def __init__(self, part: Network, units: Units) -> None:
        self._part, self._units, self._workspace = part, units, Workspace(part)
        self._share = np.zeros((1, *units.shape), part.dtype)
        self._share[:, *units.slices] = 1 / len(units.numbers)

    def responded(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Response and gradient, (channels, *space)."""
        trace = self._workspace.run(self._part, x[None], backward=True)
        check_finite({self._units.node: trace[self._units.node]}, f"preferred input of {self._units}")
        value = float(np.sum(trace[self._units.node] * self._share))
        return value, trace.backward(self._share).inputs[self._part.input_name][0]
