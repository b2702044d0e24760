"""Ablation: how much worse a network becomes without each unit, channel or site of a layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from simulator.data import Dataset
from simulator.errors import ShapeError, blamed, brief
from simulator.finite import check_finite
from simulator.layers.base import Shape
from simulator.losses import CrossEntropy, Loss, accuracy
from simulator.network import Network
from simulator.units import Units
from simulator.windows import check_size
from simulator.workspace import Workspace

__all__ = ["Ablation", "ablation"]

_USERS = 3  # of memory: what stands before the layer, what stands behind it, and that for many ablations
_BYTES = 2**23  # of the activations behind the layer, for as many ablations at once as it holds; more is no faster


@dataclass(frozen=True, eq=False, repr=False)
class Ablation:
    """What a network is without each part of a layer.

    Parameters
    ----------
    layer : str
        Name of the node.
    by : str
        What a part is: "unit", "channel" or "site".
    value : float or str
        What its units were given: a number, or "mean".
    samples : int
        How many it was measured on.
    shape : tuple of int
        Of one sample of the layer, (channels, *space).
    loss : numpy.ndarray
        Without each part: (channels, *space) for units, (channels,) for channels, space for sites.
    accuracy : numpy.ndarray or None
        Likewise, where the targets are labels.
    loss_before : float
        Of the whole network.
    accuracy_before : float or None
        Likewise.
    """

    layer: str
    by: str
    value: float | str
    samples: int
    shape: Shape
    loss: np.ndarray
    accuracy: np.ndarray | None
    loss_before: float
    accuracy_before: float | None

    @property
    def harm(self) -> np.ndarray:
        """By how much the loss grows without each part, in the shape of `loss`."""
        return self.loss - self.loss_before

    @property
    def ranking(self) -> Iterator[tuple[Units, float, float | None]]:
        """Each part with the loss and the accuracy without it, the most harmful ablation first."""
        for number in np.argsort(-self.loss, axis=None, kind="stable"):
            at = np.unravel_index(number, self.loss.shape)
            share = None if self.accuracy is None else float(self.accuracy[at])
            yield _units(self.layer, self.by, at, self.shape), float(self.loss[at]), share

    def __repr__(self) -> str:
        units, loss, _ = next(self.ranking)
        return (
            f"Ablation of {self.layer} by {self.by}, {self.samples} samples: loss {self.loss_before:.4g}, at most "
            f"{loss:.4g} without one of {self.loss.size}, {units}"
        )


def ablation(
    network: Network,
    data: Dataset,
    layer: str,
    by: str = "unit",
    *,
    value: float | str = 0.0,
    loss: Loss | None = None,
    batch_size: int = 256,
    on_batch: Callable[[int, int], None] | None = None,
) -> Ablation:
    """Clamp each unit, channel or site of a layer in turn, and measure what becomes of the loss.

    As a matrix: the next layer's matrix is multiplied with a vector in which some activations are 0, or their mean.

    Parameters
    ----------
    network : Network
        With weights and one output.
    data : Dataset
        To measure on.
    layer : str
        Name of the node, an input too.
    by : {"unit", "channel", "site"}, default "unit"
        What is clamped at a time.
    value : float or "mean", default 0.0
        What its units are given: a number, or each its mean over the data.
    loss : Loss, default ``CrossEntropy()``
        Of the output.
    batch_size : int, default 256
        Samples of the data at a time.
    on_batch : callable, optional
        ``on_batch(done, total)`` now and then: for progress bars.

    Returns
    -------
    Ablation

    Raises
    ------
    ShapeError
        If the output does not need the layer, it has no sites, or data, value or loss do not fit.
    UnknownNameError
        If there is no such layer.

    Notes
    -----
    What stands before the layer is computed once for each batch. What stands behind it is computed for many ablations
    at once, as one larger batch, which holds only those samples in which the clamp changes a value: behind a ReLU most
    units are zero for most samples.

    References
    ----------
    A. S. Morcos, D. G. T. Barrett, N. C. Rabinowitz, M. Botvinick, "On the importance of single directions for
    generalization", 2018.

    Examples
    --------
    >>> from simulator.layers import Dense, ReLU
    >>> net = Network.sequential((2,), [Dense(2), ReLU()])
    >>> net = net.with_params({"dense1.weight": np.diag([9.0, 9.0]), "dense1.bias": np.zeros(2)})
    >>> found = ablation(net, Dataset(np.eye(2), np.arange(2)), "dense1", value=-1)
    >>> found
    Ablation of dense1 by unit, 2 samples: loss 0.0001234, at most 0.3466 without one of 2, dense1[0]
    >>> found.harm.round(2)
    array([0.35, 0.35])
    """
    check_size(batch_size, "ablation batch_size")
    if not isinstance(data, Dataset) or isinstance(data.targets, Mapping):
        raise ShapeError(
            f"ablation data: expected a Dataset with targets of one output, got {type(data).__name__}"
            f"{' with several' if isinstance(data, Dataset) else ''}; write Dataset(inputs, targets)"
        )
    shape = network.node(layer).shape
    sizes = _sizes(layer, by, shape)
    count = math.prod(sizes)
    cut = _Cut(network.settled(min(batch_size, len(data)), len(data) * (1 + count)), layer)
    batch_size = min(part.fitting_batch(batch_size, users=_USERS) for part in (cut.head, cut.tail))
    batches = [data.take(slice(start, start + batch_size)) for start in range(0, len(data), batch_size)]
    new = _means(cut, batches) if isinstance(value, str) and value == "mean" else _number(layer, value, network.dtype)
    loss = loss or CrossEntropy()
    rows = cut.tail.fitting_batch(max(batch_size, _BYTES // max(1, cut.tail.activation_bytes(1))), users=_USERS)
    totals, done = np.zeros((1 + count, 2)), 0
    for batch in batches:
        entered = cut.before(batch.inputs)
        before = cut.after(entered)
        totals[0] += _measured(loss, before, batch)
        parts = (_units(layer, by, at, shape) for at in np.ndindex(sizes))
        for group in _groups(entered[layer], parts, new, rows):
            for number, after in _ablated(cut, entered, before, group):
                totals[1 + number] += _measured(loss, after, batch)
                done += 1
            if on_batch is not None:
                on_batch(done, count * len(batches))
    totals /= len(data)
    check_finite({f"the loss on {layer}": totals}, "ablation")
    losses, hits = totals[1:].T.reshape(2, *sizes)
    labelled = data.labels is not None
    return Ablation(
        layer,
        by,
        value,
        len(data),
        shape,
        losses,
        hits if labelled else None,
        float(totals[0, 0]),
        float(totals[0, 1]) if labelled else None,
    )


class _Cut:
    """A network cut in two: what a layer does not change, and what stands behind it."""

    def __init__(self, network: Network, layer: str) -> None:
        self.layer, self.output = network.node(layer).name, network.output_name
        whole = network.subnetwork(self.output)
        if layer not in whole.nodes:
            raise ShapeError(
                f"ablation {layer}: expected a layer that {self.output} needs, got one that it does not; choose one "
                f"of {', '.join(whole.nodes)}"
            )
        import networkx as nx

        behind = nx.descendants(whole.graph, layer)
        read = {layer, *(i for name in behind for i in whole.nodes[name].inputs)} - behind
        self.head, self.tail = whole.subnetwork(read), whole.subnetwork(self.output, inputs=read)
        self._first, self._second = Workspace(self.head), Workspace(self.tail)

    def before(self, inputs: Any) -> dict[str, np.ndarray]:
        """Activations of the layer and of what else is read behind it, (batch, channels, *space)."""
        if isinstance(inputs, Mapping):
            inputs = {name: array for name, array in inputs.items() if name in self.head.nodes}
        trace = self._first.run(self.head, inputs)
        return {name: trace[name] for name in self.tail.inputs}

    def after(self, entered: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output, (batch, ...)."""
        return self._second.run(self.tail, entered)[self.output]


@dataclass(frozen=True)
class _Part:
    """One ablation of a batch: which part, the new values of its units, and in which samples these are others."""

    number: int
    units: Units
    value: Any
    samples: np.ndarray


def _sizes(layer: str, by: str, shape: Shape) -> Shape:
    """How many parts a layer has, on each axis."""
    sizes = {"unit": shape, "channel": shape[:1], "site": shape[1:]}
    if by not in tuple(sizes):
        raise ShapeError(f"ablation by: expected 'unit', 'channel' or 'site', got {brief(by)}; choose one of them")
    if not sizes[by]:
        raise ShapeError(f"ablation {layer}: expected a layer with sites, got the shape {shape}; ablate its units")
    return sizes[by]


def _units(layer: str, by: str, at: Sequence[int], shape: Shape) -> Units:
    """The units of one part."""
    free = (None,) * (len(shape) - len(at))
    return Units(layer, (*free, *map(int, at)) if by == "site" else (*map(int, at), *free), shape)


def _number(layer: str, value: Any, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        if isinstance(value, Real) and np.isfinite(number := np.asarray(value, dtype)):
            return number
    raise ShapeError(f"ablation {layer} value: expected a finite number or 'mean', got {brief(value)}; 0 is usual")


def _means(cut: _Cut, batches: Sequence[Dataset]) -> np.ndarray:
    """The mean of each unit over all samples, (channels, *space)."""
    total = sum(cut.before(batch.inputs)[cut.layer].sum(axis=0, dtype=np.float64) for batch in batches)
    return np.asarray(total / sum(map(len, batches)), cut.head.dtype)


def _groups(values: np.ndarray, parts: Iterable[Units], new: np.ndarray, rows: int) -> Iterator[list[_Part]]:
    """The ablations of a batch, as many at a time as change values in `rows` samples altogether."""
    group: list[_Part] = []
    full = 0
    for number, units in enumerate(parts):
        value = new[units.slices] if new.ndim else new
        differs = values[:, *units.slices] != value
        samples = np.flatnonzero(differs.reshape(len(values), -1).any(axis=1))
        if group and (full + len(samples) > rows or len(group) == rows):
            yield group
            group, full = [], 0
        group.append(_Part(number, units, value, samples))
        full += len(samples)
    yield group


def _ablated(
    cut: _Cut, entered: Mapping[str, np.ndarray], before: np.ndarray, group: Sequence[_Part]
) -> Iterator[tuple[int, np.ndarray]]:
    """Number and output of each ablation of a group, (batch, ...)."""
    samples = np.concatenate([part.samples for part in group])
    stops = np.cumsum([len(part.samples) for part in group])
    # Samples are taken where the batch is the last axis, as it is in memory: nothing need be transposed.
    several = {k: np.moveaxis(np.moveaxis(a, 0, -1).take(samples, axis=-1), -1, 0) for k, a in entered.items()}
    for part, stop in zip(group, stops, strict=True):
        several[cut.layer][stop - len(part.samples) : stop, *part.units.slices] = part.value
    outputs = cut.after(several) if len(samples) else before[:0]
    for part, stop in zip(group, stops, strict=True):
        after = before.copy()
        after[part.samples] = outputs[stop - len(part.samples) : stop]
        yield part.number, after


def _measured(loss: Loss, prediction: np.ndarray, batch: Dataset) -> np.ndarray:
    """Loss and accuracy of an output, summed over a batch; 0 where there are no labels."""
    with blamed(f"loss {brief(loss)}", "value to give a number"):
        value = float(loss.value(prediction, batch.targets))
    labels = batch.labels
    return len(batch) * np.array([value, 0.0 if labels is None else accuracy(prediction, labels)])
