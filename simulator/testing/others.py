"""The promises of losses, optimizers, engines, architectures, data sets and experiments."""

from __future__ import annotations

import copy
import io
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from simulator.catalog import Catalog
from simulator.engine import Engine
from simulator.experiments import Experiment, aggregated, checked_conditions, checked_findings, checked_rows
from simulator.layers import Conv, ConvTranspose, Dense, LocallyConnected
from simulator.layers.base import Shape
from simulator.losses import Loss
from simulator.matrix import TiedMatrix
from simulator.optimizers import Optimizer
from simulator.patterns import ExplicitPattern
from simulator.testing.judging import (
    DTYPES,
    EXACT,
    SINGLE,
    judging,
    require,
    same,
    same_each,
    same_slope,
    shown,
)


def check_loss(loss: Loss, prediction: np.ndarray, target: np.ndarray) -> None:
    """Check every promise that a loss makes.

    Parameters
    ----------
    loss : Loss
        The loss on trial.
    prediction : numpy.ndarray of float64, (batch, ...)
        A prediction that it takes.
    target : numpy.ndarray, (batch, ...)
        The targets.

    Raises
    ------
    ContractError
        If the value is no mean over the batch, the gradient is not that of the value or has another dtype, or an
        argument is changed.

    Examples
    --------
    >>> from simulator import CrossEntropy
    >>> check_loss(CrossEntropy(), np.array([[0.5, 1.0, -2.0], [0.0, 3.0, 1.0]]), np.array([2, 1]))
    """
    with judging("check_loss", shown(loss), "a float, the mean over the batch, and its gradient"):
        before = copy.deepcopy((prediction, target))
        value, gradient = loss.value(prediction, target), loss.grad(prediction, target)
        same("unchanged prediction", prediction, before[0])
        same("unchanged target", target, before[1])
        require(isinstance(value, float), "a float", type(value))
        single = [loss.value(prediction[k : k + 1], target[k : k + 1]) for k in range(len(prediction))]
        same("mean over the batch", value, np.mean(single), EXACT)
        same_slope("gradient", gradient, lambda p: loss.value(p, target), prediction)
        for dtype in DTYPES:
            gradient = loss.grad(prediction.astype(dtype), target)
            require(gradient.dtype == dtype, f"a gradient of {dtype}", gradient.dtype)


def check_optimizer(optimizer: Optimizer) -> None:
    """Check every promise that an optimizer makes.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer on trial, fresh, with a learning rate for which 20 steps bring half the squared norm down.

    Raises
    ------
    ContractError
        If it changes an argument, a shape or a dtype, keeps anything outside a flat state of arrays and numbers, or
        does not descend.

    Examples
    --------
    >>> from simulator import SGD
    >>> check_optimizer(SGD(0.1))
    """
    fresh = copy.deepcopy(optimizer)
    with judging("check_optimizer", shown(optimizer), "it descends, all that it knows is its state"):
        for dtype in DTYPES:
            rng = np.random.default_rng(0)
            params = {"a": rng.standard_normal((3, 2)).astype(dtype), "b": rng.standard_normal(4).astype(dtype)}
            start, state = params, optimizer.init(params)
            for _ in range(20):
                grads = {name: array.copy() for name, array in params.items()}
                saved = copy.deepcopy((params, grads, state))
                new, after = optimizer.step(params, grads, state)
                for what, got, expected in zip(("param", "grad", "state"), (params, grads, state), saved, strict=True):
                    same_each(f"unchanged {what}", got, expected)
                for name, value in after.items():
                    require(isinstance(value, (np.ndarray, int, float)), f"an array or number {name}", type(value))
                again, again_after = copy.deepcopy(fresh).step(*saved)
                same_each("from a saved state, param", again, new)
                same_each("from a saved state, state", again_after, after)
                shapes, got = ({name: np.shape(p) for name, p in each.items()} for each in (params, new))
                require(got == shapes, f"params of shapes {shapes}", got)
                params, state = dict(new), after
                require(all(p.dtype == dtype for p in params.values()), f"params of {dtype}", params)
            norms = [sum(float(np.sum(p**2)) for p in each.values()) for each in (start, params)]
            require(norms[1] < norms[0], f"a squared norm below {norms[0]}", norms[1])


def check_engine(engine: Engine) -> None:
    """Check an engine against `scipy.sparse` on patterns of every kind, transposed too, in both precisions.

    Parameters
    ----------
    engine : Engine
        The engine on trial.

    Raises
    ------
    ContractError
        If a product or gradient differs, or has another dtype.

    Examples
    --------
    >>> from simulator.engine import SciPyEngine
    >>> check_engine(SciPyEngine())
    """
    patterns = {
        "convolution": Conv(4, kernel=3, padding=1).pattern((2, 5, 4)),
        "strided": Conv(2, kernel=2, stride=3, dilation=2, flip=True).pattern((2, 5, 6, 5)),
        "depthwise": Conv(4, kernel=3, groups=4).pattern((4, 6)),
        "table": Conv(3, kernel=2, table=((0, 2), (1,), (2, 1, 0))).pattern((3, 4, 4)),
        "repeated cells": Conv(2, kernel=5, padding=2, padding_mode="circular").pattern((2, 2, 3)),
        "upward": ConvTranspose(2, kernel=3, stride=2, padding=1).pattern((3, 3, 3)),
        "locally connected": LocallyConnected(2, kernel=3, padding=1).pattern((1, 4, 4)),
        "dense": Dense(5).pattern((2, 3)),
        "empty rows": ExplicitPattern([3, 0, 3, 3], [1, 3, 1, 0], [0, 2, 1, 0], shape=(5, 4)),
        "empty": ExplicitPattern([], [], shape=(2, 3)),
    }
    rng = np.random.default_rng(0)
    with judging("check_engine", shown(engine), "the products of scipy.sparse"):
        for name, pattern in patterns.items():
            for p, batch, dtype in ((p, b, d) for p in (pattern, pattern.T) for b in (0, 1, 5) for d in DTYPES):
                weight, x, dy = (rng.standard_normal(s) for s in (p.n_ties, (p.shape[1], batch), (p.shape[0], batch)))
                rows, cols, ties = p.triplets()
                csr, gradient = TiedMatrix(p, weight).tocsr(), np.zeros(p.n_ties)
                np.add.at(gradient, ties, np.sum(dy[rows] * x[cols], axis=1))
                matrix, x32, dy32 = TiedMatrix(p, weight.astype(dtype)), x.astype(dtype), dy.astype(dtype)
                for what, got, expected in (
                    ("W @ x", engine.apply(matrix, x32), csr @ x),
                    ("Wᵀ @ dy", engine.apply_transposed(matrix, dy32), csr.T @ dy),
                    ("gradient", engine.grad(matrix, x32, dy32), gradient),
                ):
                    require(got.dtype == dtype, f"{what} of {dtype}", got.dtype)
                    same(f"for {p} ({name}), {what}", got, expected, EXACT if dtype == np.float64 else SINGLE)


def check_architecture(catalog: Catalog, name: str, input_shape: Shape | None = None, **options: Any) -> None:
    """Check every promise that an architecture makes.

    Parameters
    ----------
    catalog : Catalog
        Where it is registered.
    name : str
        Of the architecture.
    input_shape : tuple of int, optional
        Of one sample. Default: the architecture's own.
    **options
        Of the architecture, such as a small width.

    Raises
    ------
    ContractError
        If it needs weights to be described, one seed does not give one network, or its outputs are not what its task
        asks for: logits to classify, the input's shape to reconstruct.

    Examples
    --------
    >>> check_architecture(Catalog(), "lenet5")
    """
    with judging("check_architecture", name, "one seed, one network; it can be described without weights"):
        task = catalog.architectures.entry(name).task
        plan, network, again, other = (
            catalog.build(name, input_shape, classes=7, rng=rng, **options)
            for rng in (None, 0, np.random.default_rng(0), 1)
        )
        require(not plan.has_weights, "no weights without rng", "some; hand rng to every layer that is added")
        got = f"{plan.param_shapes} without rng; add the same layers with and without it"
        require(plan.param_shapes == network.param_shapes, f"params {network.param_shapes}", got)
        same_each("from the seed and from a generator of this seed, param", again.params, network.params)
        different = any(np.any(other.params[k] != v) for k, v in network.params.items())
        require(different, "other weights from another seed", "the same; hand rng to every layer that is added")
        x = {i: np.random.default_rng(0).standard_normal((2, *network.node(i).shape)) for i in network.inputs}
        trace = network.run(x)
        for output in network.outputs:
            finite = np.isfinite(trace[output]).all()
            require(finite, "two finite samples", f"{trace[output]}; look for a layer whose numbers grow")
    if task == "classify":
        with judging("check_architecture", name, "a network that ends in logits"):
            for output in network.outputs:
                y = trace[output]
                require(y.shape == (2, 7), "two samples of 7 logits", f"{y.shape}; end in one unit for each class")
                logits = np.any(np.abs(np.sum(y, axis=1) - 1) > SINGLE)
                require(logits, "logits", "probabilities that sum to 1; leave softmax to the loss")
    if task != "part":
        with judging("check_architecture", name, "losses for its outputs, the predicting one first"):
            main = next(iter(catalog.objective(name, network)[0]))
            if task == "reconstruct":
                shape, ends = network.input_shape, trace[main].shape[1:]
                require(ends == shape, f"the input's shape {shape}", f"{ends}; end in one unit for each of the input")


def check_dataset(catalog: Catalog, source: str) -> None:
    """Check every promise that a data set makes.

    Parameters
    ----------
    catalog : Catalog
        Where it is registered.
    source : str
        Its name, with a path or another name where it needs one, as for `Catalog.load_data`.

    Raises
    ------
    ContractError
        If it gives something else than a `Dataset`, other samples the second time, or another shape than asked for.

    Examples
    --------
    >>> check_dataset(Catalog(), "xo")
    """
    with judging("check_dataset", source, "the same samples each time, in the shape that is asked for"):
        shapes: tuple[Shape | None, ...] = ((1, 12, 12), (1, 16, 20)) if catalog.any_shape(source) else (None,)
        for shape in shapes:
            data, again = catalog.load_data(source, shape), catalog.load_data(source, shape)
            require(shape in (None, data.shape), f"samples of shape {shape}", data.shape)
            same("once more, samples", again.inputs, data.inputs)
            same("once more, targets", again.targets, data.targets)
            share = data.take(np.arange(min(len(data), 3)))
            require(len(share) == min(len(data), 3), "samples that can be taken", len(share))


def check_experiment(catalog: Catalog, experiment: Experiment) -> None:
    """Check every promise that an experiment makes.

    Its quick conditions are run with one seed, the first of them twice.

    Parameters
    ----------
    catalog : Catalog
        What its runs are given.
    experiment : Experiment
        The experiment on trial, with small options where it has them.

    Raises
    ------
    ContractError
        If conditions or rows are not plain values of equal names, there are more quick conditions than full ones, a
        number is not finite, one seed gives two results, or `findings` or `draw` fails.

    Examples
    --------
    >>> catalog = Catalog()
    >>> check_experiment(catalog, catalog.experiments["counts"]())
    """
    promise = "plain conditions and rows, one result for one seed, and findings and a picture of any results"
    with judging("check_experiment", shown(experiment), promise):
        full, quick = (checked_conditions(experiment, quick) for quick in (False, True))
        require(quick[0].keys() == full[0].keys(), f"quick conditions of {[*full[0]]}", [*quick[0]])
        require(len(quick) <= len(full), f"at most {len(full)} quick conditions", len(quick))
        runs = []
        for condition in quick:
            given = dict(condition)
            with _global_seed(0):
                rows = checked_rows(experiment, condition, experiment.run(given, 0, catalog))
            require(given == condition, f"an unchanged condition {condition}", given)
            for row in rows:
                numbers = [value for value in row.values() if isinstance(value, float)]
                require(np.isfinite(numbers).all(), "finite numbers", row)
            runs.append(rows)
        with _global_seed(1):
            again = experiment.run(dict(quick[0]), 0, catalog)
        require(again == runs[0], f"once more from seed 0 {runs[0]}", f"{again}; draw from default_rng(seed) alone")
        records = [{**c, **row} for c, rows in zip(quick, runs, strict=True) for row in rows]
        table = aggregated(records, [*quick[0], *experiment.by])
        checked_findings(experiment, table)
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return
        figure = Figure(layout="constrained")
        experiment.draw(table, figure)
        require(figure.axes, "a picture with axes", "an empty figure")
        figure.savefig(io.BytesIO(), format="png")


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Another state of the global generators, which nothing should draw from, in this block."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
