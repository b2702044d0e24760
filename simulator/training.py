"""Gradient descent on a network: a generator that yields one `Epoch` at a time.

Printing, early stopping and saving are ordinary Python around it::

    for epoch in train(network, data, epochs=10, rng=0):
        print(epoch.number, epoch.loss)
        if epoch.loss < 0.01:
            break
    network = epoch.network
"""

from __future__ import annotations

import fnmatch
import math
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simulator.arrays import promised, seen
from simulator.data import Dataset
from simulator.divergence import blame_backward, blame_forward, blame_step, still_finite
from simulator.errors import PluginError, ShapeError, SimulatorError, UnknownNameError, blamed, brief, nearest
from simulator.finite import check_finite
from simulator.losses import CrossEntropy, Loss, accuracy
from simulator.network import Network, Rng, Trace, as_rng
from simulator.notebooks import Steps
from simulator.optimizers import SGD, Optimizer, after_epoch
from simulator.threads import one_blas_thread
from simulator.windows import check_size
from simulator.workspace import Workspace

__all__ = ["Epoch", "evaluate", "generator_at", "settled_for_training", "train"]

Metric = Callable[[np.ndarray, np.ndarray], float]
Losses = Loss | Mapping[str, Loss]
Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True, eq=False)
class Epoch:
    """The state of training after one pass over the data; `train` goes on from it.

    Parameters
    ----------
    number : int
        Counted from 1.
    network : Network
        With the weights after this epoch.
    loss : float
        Mean over the epoch's batches, each before its step.
    metrics : dict of str to float
        Likewise.
    validation : dict of str to float
        Loss and metrics on the validation data after the epoch, empty without such data.
    seconds : float
        That the epoch took, validation included.
    optimizer_state : dict
        Arrays and numbers of the optimizer.
    rng_state : dict
        State of the random generator (a PCG64, numpy's default), as numpy gives it.
    peak_memory : int, optional
        Bytes that the first step after the start needed at most beyond data and weights: activations, gradients, new
        weights, and what the engine keeps. None where `train` was not asked for it.
    curve : tuple of (float, float or None)
        Of each epoch so far the loss on the training data and that on the validation data: schedules such as
        `PlateauDecay` go by them.
    """

    number: int
    network: Network
    loss: float
    metrics: dict[str, float]
    validation: dict[str, float]
    seconds: float
    optimizer_state: dict[str, Any] = field(repr=False)
    rng_state: dict[str, Any] = field(repr=False)
    peak_memory: int | None = None
    curve: tuple[tuple[float, float | None], ...] = field(default=(), repr=False)


def train(
    network: Network,
    data: Dataset,
    *,
    epochs: int = 10,
    batch_size: int = 64,
    optimizer: Optimizer | None = None,
    losses: Losses | None = None,
    loss_weights: Mapping[str, float] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    validation: Dataset | None = None,
    augment: Augment | None = None,
    trainable: Iterable[str] | None = None,
    rng: Rng = 0,
    resume: Epoch | None = None,
    on_batch: Callable[[int, int], None] | None = None,
    trace_memory: bool = False,
) -> Iterator[Epoch]:
    """Train a network by gradient descent on mini-batches.

    Parameters
    ----------
    network : Network
        With weights. It is not changed; each epoch holds a new one.
    data : Dataset
        To train on; shuffled anew in each epoch.
    epochs : int, default 10
        Number of the last epoch.
    batch_size : int, default 64
        Samples per step; the last batch of an epoch may be smaller.
    optimizer : Optimizer, default ``SGD()``
        Turns gradients into steps.
    losses : Loss or dict of Loss by output name, default ``CrossEntropy()``
        What to minimise. With a dict the targets of `data` are a dict, too, or the same for all.
    loss_weights : dict of float by output name, optional
        Factors on the losses, default 1.
    metrics : dict of callables, optional
        ``metric(prediction, target) -> float``. Default: accuracy, where the targets are labels.
    validation : Dataset, optional
        Evaluated after each epoch.
    augment : callable, optional
        ``augment(inputs, rng) -> inputs``, applied to each batch of each input.
    trainable : iterable of str, optional
        Names or patterns such as "conv*" or "*.bias" of the params to train. Default: all.
    rng : numpy.random.Generator or int, default 0
        Shuffles, augments, and draws for layers that are random in training. One seed, one result, to the last bit with
        the same engine, number of threads, libraries and kind of processor.
    resume : Epoch, optional
        Go on after this epoch; the network, optimizer state and rng are taken from it.
    on_batch : callable, optional
        ``on_batch(done, total)`` after every step of an epoch: for progress bars.
    trace_memory : bool, default False
        Measure `Epoch.peak_memory`. It switches Python's `tracemalloc` on for one step, and that is one switch for the
        whole process: leave it off where other threads compute. Where somebody else is tracing, nothing is measured.

    Yields
    ------
    Epoch

    Raises
    ------
    ShapeError
        If data and network do not fit, a number is not positive, or a step is estimated to need more memory than there
        is.
    UnknownNameError
        If an output or a trainable name does not exist.
    SimulatorError
        If the loss is no longer finite.

    Examples
    --------
    >>> from simulator.layers import Dense
    >>> data = Dataset(np.eye(4)[:, None], np.arange(4))
    >>> net = Network.sequential((1, 4), [Dense(4)], rng=0)
    >>> *_, last = train(net, data, epochs=60, optimizer=SGD(1.0))
    >>> last.metrics
    {'accuracy': 1.0}
    """
    if not isinstance(data, Dataset):
        raise ShapeError(f"train data: expected a Dataset, got {type(data).__name__}; write Dataset(inputs, targets)")
    if isinstance(optimizer, type) or not isinstance(optimizer, Optimizer | None):
        raise ShapeError(f"train optimizer: expected an optimizer, got {brief(optimizer)}; write SGD(lr=0.1)")
    check_size(epochs, "train epochs")
    check_size(batch_size, "train batch_size")
    _told(optimizer, (0.0, None if validation is None else 0.0))  # what a schedule lacks is said before the work
    objective = _Objective(network, losses, loss_weights or {}, metrics, data)
    names = _trainable_names(network, trainable)
    work = epochs, min(batch_size, len(data)), data, validation
    network = settled_for_training(network, *work)
    if resume is not None:
        resume = replace(resume, network=settled_for_training(resume.network, *work))
    network.check_training(min(batch_size, len(data)), optimizer or SGD(), names)
    steps = _epochs(
        network,
        data,
        epochs,
        batch_size,
        optimizer or SGD(),
        objective,
        validation,
        augment,
        names,
        rng,
        resume,
        on_batch,
        trace_memory,
    )
    return Steps(steps, "Epochs of training, one after the other: write for epoch in train(network, data)")


def settled_for_training(
    network: Network, epochs: int, batch_size: int, data: Dataset, validation: Dataset | None
) -> Network:
    """The network with the one engine that trains it, see `Network.settled`; `train` does this by itself.

    What counts is the whole run, even if some epochs are done: a resumed run has the engine with which it began.
    """
    checked = 0 if validation is None else len(validation)
    return network.settled(batch_size, epochs * (3 * len(data) + checked))


def _epochs(
    network: Network,
    data: Dataset,
    epochs: int,
    batch_size: int,
    optimizer: Optimizer,
    objective: _Objective,
    validation: Dataset | None,
    augment: Augment | None,
    names: list[str],
    rng: Rng,
    resume: Epoch | None,
    on_batch: Callable[[int, int], None] | None,
    trace_memory: bool,
) -> Iterator[Epoch]:
    generator = as_rng(rng)
    state: dict[str, Any]
    if resume is not None:
        network = resume.network
    with blamed(f"optimizer {brief(optimizer)}", "init to give a state"):
        state, first = dict(optimizer.init({name: network.params[name] for name in names})), 1
    if resume is not None:
        expected, state, first = state, resume.optimizer_state, resume.number + 1
        if {k: _kind(v) for k, v in expected.items()} != {k: _kind(v) for k, v in state.items()}:
            raise ShapeError(
                f"train resume: expected a state with {', '.join(sorted(expected)[:3]) or 'nothing'}, "
                f"got {', '.join(sorted(state)[:3]) or 'nothing'}; resume with the "
                "optimizer and the trainable params of that run"
            )
        generator = generator_at(resume.rng_state)
    curve = () if resume is None else resume.curve
    for losses in curve:
        optimizer = _told(optimizer, losses)
    steps = math.ceil(len(data) / batch_size)
    workspace = Workspace(network, (*network.outputs, *objective.losses))
    watched = _Peak(trace_memory)
    for number in range(first, epochs + 1):
        start = time.perf_counter()
        order = generator.permutation(len(data))
        totals: dict[str, float] = {}
        # What is no longer finite is reported in words.
        with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():
            for step in range(steps):
                batch = data.take(order[step * batch_size : (step + 1) * batch_size])
                inputs = _augmented(batch.inputs, augment, generator)
                with watched:
                    trace = workspace.run(network, inputs, training=True, rng=generator, backward=True)
                    values, output_gradients = objective.values_and_gradients(trace, batch)
                    if not math.isfinite(values["loss"]):
                        raise SimulatorError(
                            f"train: expected a finite loss, got {values['loss']} at step {step + 1} of epoch "
                            f"{number}" + blame_forward(network, batch.inputs, inputs, objective.losses)
                        )
                    gradients = trace.backward(output_gradients, params_only=True).params
                    params = {n: network.params[n] for n in names}
                    gradients = {n: gradients[n] for n in names}
                    with blamed(f"optimizer {brief(optimizer)}", "step to give new params and a new state"):
                        new, after = optimizer.step(params, gradients, state)
                        new = _as_trained(optimizer, new, params)
                    if not still_finite(new.values()):
                        name = next(name for name, array in new.items() if not still_finite([array]))
                        raise SimulatorError(
                            f"train: expected finite weights, got NaN or infinity in {name} after step {step + 1} of "
                            f"epoch {number}"
                            + (
                                blame_step(optimizer, params, gradients, state)
                                if still_finite(gradients.values())
                                else blame_backward(network, inputs, output_gradients, objective.losses)
                            )
                        )
                    network, state = network.with_params(new, copy=False).with_buffers(trace.buffers), after
                for name, value in values.items():
                    totals[name] = totals.get(name, 0.0) + value * len(batch)
                if on_batch is not None:
                    on_batch(step + 1, steps)
        means = {name: total / len(data) for name, total in totals.items()}
        checked = {} if validation is None else objective.evaluate(network, validation, batch_size)
        loss = means.pop("loss")
        curve = (*curve, (loss, checked.get("loss")))
        optimizer = _told(optimizer, curve[-1])
        yield Epoch(
            number,
            network,
            loss,
            means,
            checked,
            time.perf_counter() - start,
            state,
            generator.bit_generator.state,  # type: ignore[arg-type]
            watched.bytes,
            curve,
        )


def evaluate(
    network: Network,
    data: Dataset,
    *,
    losses: Losses | None = None,
    loss_weights: Mapping[str, float] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    batch_size: int = 256,
) -> dict[str, float]:
    """Loss and metrics of a network on data.

    Parameters
    ----------
    network, data, losses, loss_weights, metrics
        As for `train`.
    batch_size : int, default 256
        Samples at a time, fewer where memory is short.

    Returns
    -------
    dict of str to float
        "loss" and the metrics, averaged over all samples.

    Raises
    ------
    SimulatorError
        If one is not finite: an accuracy beside it would be no result, either.
    """
    check_size(batch_size, "evaluate batch_size")
    objective = _Objective(network, losses, loss_weights or {}, metrics, data)
    measured = objective.evaluate(network, data, batch_size)
    check_finite(measured, "evaluate")
    return measured


class _Objective:
    """Losses and metrics of a network's outputs."""

    def __init__(
        self,
        network: Network,
        losses: Losses | None,
        weights: Mapping[str, float],
        metrics: Mapping[str, Metric] | None,
        data: Dataset,
    ) -> None:
        losses = CrossEntropy() if losses is None else losses
        self.losses: dict[str, Loss]
        if isinstance(losses, Mapping):
            self.losses = dict(losses)
        else:
            self.losses = {network.output_name: losses}
        for loss in self.losses.values():
            if isinstance(loss, type) or not isinstance(loss, Loss):
                raise ShapeError(f"train losses: expected a loss, got {brief(loss)}; write CrossEntropy()")
        for name in (*self.losses, *weights):
            network.node(name)
        self.weights = weights
        self.metrics = ({"accuracy": accuracy} if data.labels is not None else {}) if metrics is None else metrics

    def _targets(self, name: str, data: Dataset) -> np.ndarray:
        if not isinstance(data.targets, Mapping):
            return data.targets
        if name not in data.targets:
            raise UnknownNameError(
                f"train: expected targets for output {brief(name)}, got those of "
                f"{', '.join(map(brief, data.targets)) or 'none'}; give them as {{{brief(name)}: targets, ...}}"
            )
        return data.targets[name]

    def values(self, trace: Trace, batch: Dataset, known: Mapping[str, float] | None = None) -> dict[str, float]:
        """The loss and the metrics; `known` are values of losses by output."""
        values = {"loss": 0.0}
        for name, loss in self.losses.items():
            prediction, target = trace[name], self._targets(name, batch)
            with blamed(f"loss {brief(loss)}", "value to give a number"):
                value = loss.value(prediction, target) if known is None or name not in known else known[name]
                values["loss"] += self.weights.get(name, 1.0) * float(value)
            prefix = f"{name}." if len(self.losses) > 1 else ""
            values.update({f"{prefix}{key}": metric(prediction, target) for key, metric in self.metrics.items()})
        return values

    def values_and_gradients(self, trace: Trace, batch: Dataset) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        gradients, values = {}, {}
        for name, loss in self.losses.items():
            prediction, target = trace[name], self._targets(name, batch)
            at_once = vars(type(loss)).get("value_and_grad")  # not inherited: a subclass may have another value or grad
            if at_once is not None:
                with blamed(f"loss {brief(loss)}", "value_and_grad to give a number and an array"):
                    values[name], gradient = at_once(loss, prediction, target)
            else:
                with blamed(f"loss {brief(loss)}", "grad to give an array in the prediction's shape"):
                    gradient = loss.grad(prediction, target)
            checked = promised(gradient, prediction.shape, prediction.dtype)
            if checked is None:
                raise PluginError(
                    f"loss {brief(loss)}: expected a gradient {prediction.shape} of real numbers, got "
                    f"{seen(gradient, prediction.shape)}; give one number for each of the prediction"
                )
            gradients[name] = self.weights.get(name, 1.0) * checked
        return self.values(trace, batch, values), gradients

    def evaluate(self, network: Network, data: Dataset, batch_size: int) -> dict[str, float]:
        totals: dict[str, float] = {}
        network = network.settled(min(batch_size, len(data)), len(data))
        batch_size = network.fitting_batch(batch_size)
        workspace = Workspace(network, self.losses)
        for start in range(0, len(data), batch_size):
            batch = data.take(slice(start, start + batch_size))
            for name, value in self.values(workspace.run(network, batch.inputs), batch).items():
                totals[name] = totals.get(name, 0.0) + value * len(batch)
        return {name: total / len(data) for name, total in totals.items()}


class _Peak:
    """The peak of memory in one stretch of work, measured the first time only: tracing is slow."""

    def __init__(self, wanted: bool) -> None:
        self.bytes: int | None = None
        self._done, self._tracing = not wanted, False

    def __enter__(self) -> None:
        self._tracing = not self._done and not tracemalloc.is_tracing()
        self._done = True
        if self._tracing:
            tracemalloc.start()

    def __exit__(self, *error: object) -> None:
        if self._tracing:
            self.bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            self._tracing = False


def _told(optimizer: Any, losses: tuple[float, float | None]) -> Any:
    """The optimizer for the next epoch, after one with these losses on training and validation data."""
    with blamed(f"optimizer {brief(optimizer)}", "after_epoch of a schedule to give the next one"):
        return after_epoch(optimizer, *losses)


def _as_trained(optimizer: Optimizer, new: Mapping[str, Any], old: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays that an optimizer gave, in the place of the old ones."""
    fitting = {}
    for name, before in old.items():
        array = promised(new.get(name), before.shape, before.dtype)
        if array is None:
            raise PluginError(
                f"optimizer {brief(optimizer)}: expected step to give {name} as an array {before.shape} of real "
                f"numbers, got {seen(new.get(name), before.shape)}; give every param in its own shape"
            )
        fitting[name] = array
    return fitting


def _augmented(inputs: Any, augment: Augment | None, rng: np.random.Generator) -> Any:
    if augment is None:
        return inputs
    if isinstance(inputs, Mapping):
        return {name: augment(array, rng) for name, array in inputs.items()}
    return augment(inputs, rng)


def _trainable_names(network: Network, trainable: Iterable[str] | None) -> list[str]:
    names = list(network.params)
    if trainable is None:
        return names
    patterns = [trainable] if isinstance(trainable, str) else list(trainable)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            raise UnknownNameError(
                f"train trainable: expected a param, got {brief(pattern)}; {nearest(pattern, names)}"
            )
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _kind(value: Any) -> Any:
    """What must agree between the states of one optimizer: shape and precision, or the type of a number."""
    return (value.shape, value.dtype) if isinstance(value, np.ndarray) else type(value)


def generator_at(state: Mapping[str, Any]) -> np.random.Generator:
    """A generator in a state that numpy gave, as in `Epoch.rng_state`."""
    bits = np.random.PCG64()
    bits.state = state  # type: ignore[assignment]
    return np.random.Generator(bits)
