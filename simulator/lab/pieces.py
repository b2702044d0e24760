"""How many matrices a piecewise linear network is along a line between two inputs.

With this module one can

- find every point of the line where some unit, or some maximum, chooses another matrix;
- count the linear regions between them, and how many different matrices A these have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from simulator.errors import ShapeError, brief
from simulator.execution import Run, Step, alone
from simulator.lab.affine import local_affine
from simulator.lab.sample import run_sample
from simulator.layers import FunctionLayer
from simulator.memory import check_memory
from simulator.network import Network
from simulator.units import Units

__all__ = ["Pieces", "pieces"]

_CELLS = 2**18  # of the activations that are looked at together
_BATCH_BYTES = 2**26  # likewise of whole runs
_MOST = 10**6  # intervals of one layer: where more are cut, two inputs are equal to rounding all along
_CURE = "choose inputs closer to each other, or an earlier output"
_SAME = 1e-12  # differences relative to the largest number that are rounding

Samples = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False, repr=False)
class Pieces:
    """The linear regions that the line from x0 to x1 crosses.

    Parameters
    ----------
    units : Units
        The outputs whose matrices are counted.
    t : numpy.ndarray, (breakpoints,)
        Where another region begins, ascending: at (1 − t)·x0 + t·x1.
    layers : dict of str to int
        By name, at how many of these points each layer that chooses does so.
    matrices : int
        How many different A the regions have.
    """

    units: Units
    t: np.ndarray
    layers: dict[str, int]
    matrices: int

    @property
    def regions(self) -> int:
        """How many regions the line crosses."""
        return len(self.t) + 1

    def __repr__(self) -> str:
        return f"Pieces of {self.units} along a line: {self.regions} regions with {self.matrices} different matrices"


def pieces(
    network: Network,
    x0: Any,
    x1: Any,
    output: Any = None,
    *,
    tolerance: float = 1e-9,
    on_step: Callable[[int, int], None] | None = None,
) -> Pieces:
    """Find the linear regions of a network along the line between two inputs.

    Parameters
    ----------
    network : Network
        With weights and piecewise linear layers. It is run in float64.
    x0, x1 : array_like, (channels, *space), or dict of them by input name
        Both ends of the line.
    output : str, Units or (name, unit), optional
        A node or some of its units. Default: the only output.
    tolerance : float, default 1e-9
        Breakpoints are found to this precision in t, from 0 at x0 to 1 at x1; those that are closer to each other, or
        to an end, count as one, or not at all.
    on_step : callable, optional
        ``on_step(done, total)`` after every layer and at the end: for progress bars.

    Returns
    -------
    Pieces

    Raises
    ------
    ShapeError
        If a layer is not piecewise linear, an input does not fit or is not finite, the tolerance is no number between 0
        and 0.1, or there are too many regions, or none that is longer than the tolerance.
    UnknownNameError
        If there is no such node.
    SimulatorError
        If the network has no weights.

    Notes
    -----
    The inputs for which a layer is the same matrix are a convex set. So where it is the same at both ends of an
    interval on which its input moves in a straight line, it is the same in between; otherwise the interval is cut, in
    the middle and where the tangents of both ends meet. Layer after layer, the line falls into intervals on which all
    layers before are one matrix; what they hand on moves in straight lines there, so that nothing is computed again. A
    layer's matrix M is known by two random numbers, qᵀM r and qᵀ(y − M x).

    References
    ----------
    G. Montúfar, R. Pascanu, K. Cho, Y. Bengio, "On the number of linear regions of deep neural networks", 2014.

    Examples
    --------
    >>> from simulator.layers import Dense, ReLU
    >>> net = Network.sequential((1,), [Dense(2), ReLU(), Dense(1)], dtype="float64")
    >>> net = net.with_params({"dense1.weight": [[1], [-1]], "dense1.bias": [-0.25, 0.75],
    ...     "dense2.weight": [[1, 1]], "dense2.bias": [0]})
    >>> found = pieces(net, [0], [1])
    >>> found.t.round(6), found.matrices
    (array([0.25, 0.75]), 3)
    """
    if not isinstance(tolerance, (int, float)) or not 0 < tolerance < 0.1:
        raise ShapeError(f"pieces tolerance: expected a number between 0 and 0.1, got {brief(tolerance)}; write 1e-9")
    units = Units.of(network.nodes, network.output_name if output is None else output)
    part = network.subnetwork(units.node).with_dtype("float64")
    traces = [run_sample(part, units.node, x, "pieces") for x in (x0, x1)]
    for name, node in part.nodes.items():
        if isinstance(node.layer, FunctionLayer):
            local_affine(part.node(name), *(traces[0][i][0] for i in node.inputs))  # raises where it is curved
    plan, run = alone(part.nodes, part.engine), part._as_run()
    tell = on_step or (lambda done, total: None)
    ends = [{name: trace[name][0] for name in part.inputs} for trace in traces]
    line, layers = _Line.between(ends[0], ends[1], tolerance), {}
    for done, step in enumerate(plan):
        if isinstance(step.nodes[0].layer, FunctionLayer):
            first, last = _Choices(step, run, line, tolerance).breaks()
            layers[step.name] = len(first)
            line = line.cut(first, last)
        line.add(step, run, [name for name, reader in plan.last_reader.items() if reader == step.name])
        tell(done + 1, 2 * len(plan))
    sketches = []
    middles = (line.starts + line.stops) / 2
    size = max(1, _BATCH_BYTES // part.activation_bytes(1, keep_all=True))
    for done in range(0, len(middles), size):
        sketches.append(_sketch(part, units, ends, middles[done : done + size]))
        tell(len(plan) + len(plan) * min(done + size, len(middles)) // len(middles), 2 * len(plan))
    sketch = np.sort(np.concatenate(sketches))
    matrices = 1 + np.count_nonzero(np.diff(sketch) > _SAME * np.abs(sketch).max())
    return Pieces(units, (line.stops[:-1] + line.starts[1:]) / 2, layers, int(matrices))


class _Line:
    """A line cut into intervals on which all layers so far are one matrix each.

    Parameters
    ----------
    starts, stops : numpy.ndarray, (intervals,)
        First and last t of each; in the gaps between them stand the breakpoints.
    values : dict of numpy.ndarray by node name, (channels, *space, 2 * intervals)
        What the nodes are at all starts, then at all stops; in between they move in straight lines.
    """

    def __init__(self, starts: np.ndarray, stops: np.ndarray, values: dict[str, np.ndarray]) -> None:
        self.starts, self.stops, self.values = starts, stops, values

    @classmethod
    def between(cls, first: Samples, last: Samples, margin: float) -> _Line:
        """One interval from a sample almost to another one: an end itself may lie between two regions."""
        whole = cls(np.zeros(1), np.ones(1), {k: np.stack([first[k], last[k]], axis=-1) for k in first})
        return whole.cut(np.array([0.0, 1 - margin]), np.array([margin, 1.0]))

    def span(self, name: str, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A node at the start of some intervals, and how far it moves in each: (channels, *space, intervals)."""
        first = self.values[name].take(owner, axis=-1, mode="clip")  # faster than to check
        whole = self.values[name].take(len(self.starts) + owner, axis=-1, mode="clip")
        return first, np.subtract(whole, first, out=whole)

    def share(self, owner: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Which part of the interval lies before each point."""
        return (t - self.starts[owner]) / (self.stops - self.starts)[owner]

    def cut(self, first: np.ndarray, last: np.ndarray) -> _Line:
        """The line without the gaps that begin at `first` and end at `last`."""
        starts, stops = np.sort(np.concatenate([self.starts, last])), np.sort(np.concatenate([first, self.stops]))
        long = stops > starts  # nothing is left between two gaps that touch
        if not long.any():
            raise ShapeError("pieces: expected regions longer than the tolerance, got none; give a smaller tolerance")
        starts, stops = starts[long], stops[long]
        need = 6 * len(starts) * sum(array[..., 0].nbytes for array in self.values.values())
        check_memory(need, f"pieces, {len(starts)} regions", _CURE)
        t = np.concatenate([starts, stops])
        owner = np.searchsorted(self.starts, t, side="right") - 1
        share, values = self.share(owner, t), {}
        for name in self.values:
            first, whole = self.span(name, owner)
            values[name] = first + share * whole
        return _Line(starts, stops, values)

    def add(self, step: Step, run: Run, done: Iterable[str]) -> None:
        """Compute one more node; forget those that nobody reads any more."""
        need = 6 * len(self.starts) * 8 * math.prod(step.nodes[0].shape)
        check_memory(need, f"pieces, {len(self.starts)} regions", _CURE)
        self.values[step.name] = step.forward(run, [self.values[name] for name in step.inputs])[0]
        for name in done:
            del self.values[name]


class _Choices:
    """Which matrix a layer is where, along a line."""

    def __init__(self, step: Step, run: Run, line: _Line, tolerance: float) -> None:
        self._step, self._run, self._line, self._tolerance = step, run, line, tolerance
        rng, node = np.random.default_rng(0), step.nodes[0]
        self._out = rng.uniform(1, 2, (*node.shape, 1))
        self._in = [rng.uniform(1, 2, (*shape, 1)) for shape in node.input_shapes]

    def breaks(self) -> tuple[np.ndarray, np.ndarray]:
        """Where it becomes another one: the last t before, and the first t after, both (breaks,)."""
        line, tolerance = self._line, self._tolerance
        owner, t = np.arange(len(line.starts)), np.stack([line.starts, line.stops])  # (2, intervals)
        seen = np.stack([self._seen(owner, t[0]), self._seen(owner, t[1])], axis=1)  # (numbers, 2, intervals)
        found = [np.zeros((2, 0))]
        meeting = True
        while len(owner):
            if len(owner) > _MOST:
                raise ShapeError(f"pieces, {self._step.name}: expected at most {_MOST:,} regions, got more; {_CURE}")
            matrix, offset, value, slope = seen
            other = ~(_equal(matrix) & _equal(offset, np.abs(value).max(axis=0)))
            narrow = t[1] - t[0] <= tolerance
            found.append(t[:, other & narrow])
            wide = other & ~narrow
            owner, t, value, slope, seen = owner[wide], t[:, wide], value[:, wide], slope[:, wide], seen[..., wide]
            middle = t.mean(axis=0)
            if meeting:
                with np.errstate(divide="ignore", invalid="ignore"):
                    meet = (value[1] - value[0] + slope[0] * t[0] - slope[1] * t[1]) / (slope[0] - slope[1])
                middle = np.where((meet > t[0]) & (meet < t[1]), meet, middle)
            meeting = not meeting  # an interval with several breaks is halved in the other turn
            cuts = np.clip(np.stack([middle - 0.4 * tolerance, middle + 0.4 * tolerance]), *t)
            new = np.stack([self._seen(owner, cut) for cut in cuts], axis=1)
            points, numbers = [t[0], *cuts, t[1]], [seen[:, 0], new[:, 0], new[:, 1], seen[:, 1]]
            t = np.concatenate([np.stack(pair) for pair in pairwise(points)], axis=1)
            seen = np.concatenate([np.stack(pair, axis=1) for pair in pairwise(numbers)], axis=2)
            owner = np.tile(owner, 3)
        first, last = np.concatenate(found, axis=1)
        return first, last

    def _seen(self, owner: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Of the layer y = M x + b at some points qᵀM r, qᵀb, qᵀy, and the slope of qᵀy along the line: (4, points)."""
        node = self._step.nodes[0]
        size = max(1, _CELLS // (math.prod(node.shape) + sum(map(math.prod, node.input_shapes))))
        parts = [np.zeros((4, 0))]
        for k in range(0, len(owner), size):
            parts.append(self._some(owner[k : k + size], t[k : k + size]))
        return np.concatenate(parts, axis=1)

    def _some(self, owner: np.ndarray, t: np.ndarray) -> np.ndarray:
        line = self._line
        share = line.share(owner, t)
        spans = [line.span(name, owner) for name in self._step.inputs]
        xs = [first + share * whole for first, whole in spans]
        y, pullback, _ = self._step.forward(self._run, xs)
        rows, _ = self._step.backward(pullback, np.broadcast_to(self._out, y.shape), True)  # of each input Mᵀq
        value = _dot([self._out], [y])
        matrix, linear, moved = (_dot(rows, others) for others in (self._in, xs, [whole for _, whole in spans]))
        return np.stack([matrix, value - linear, value, moved / (line.stops - line.starts)[owner]])


def _dot(arrays: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of all products at each point, (points,)."""
    products = (a * b for a, b in zip(arrays, others, strict=True))
    return np.sum([product.reshape(-1, product.shape[-1]).sum(axis=0) for product in products], axis=0)


def _equal(pair: np.ndarray, scale: Any = 0.0) -> np.ndarray:
    """Whether two numbers are equal to rounding, (intervals,) from (2, intervals)."""
    return np.abs(pair[1] - pair[0]) <= _SAME * np.maximum(np.abs(pair).max(axis=0), scale)


def _sketch(part: Network, units: Units, ends: Sequence[Samples], t: np.ndarray) -> np.ndarray:
    """One number for the matrix A of each region that some points lie in: qᵀA r, (points,)."""
    first, last = ends
    rng = np.random.default_rng(1)
    seed = np.zeros(math.prod(units.shape))
    seed[units.numbers] = rng.uniform(1, 2, len(units.numbers))
    trace = part.run({name: first[name] + np.multiply.outer(t, last[name] - first[name]) for name in first})
    gradients = trace.backward({units.node: np.tile(seed.reshape(units.shape), (len(t), *(1,) * len(units.shape)))})
    rows = [gradients.inputs[name].reshape(len(t), -1) for name in first]
    return np.sum([row @ rng.uniform(1, 2, row.shape[1]) for row in rows], axis=0)
