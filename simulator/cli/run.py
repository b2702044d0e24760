"""One run of training: the data, the network to start from, what is minimised, and its progress."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.alone import is_layer
from simulator.cli.common import (
    data_for,
    is_file,
    labels_of,
    network_from,
    planned_network,
    shape_text,
    tell_bundled,
    was_given,
)
from simulator.cli.remembered import preparation_of, splits_of, trained_source, with_classes
from simulator.cli.steps import ALL, next_command
from simulator.errors import counted, shown

if TYPE_CHECKING:
    from simulator.catalog import Catalog
    from simulator.data import Dataset
    from simulator.engine import Engine
    from simulator.files import Saved
    from simulator.losses import Loss
    from simulator.optimizers import Optimizer
    from simulator.splits import Split, Splits
    from simulator.training import Epoch


@dataclass(frozen=True, eq=False)
class Run:
    """All that a run of training needs.

    Parameters
    ----------
    data, held_out : Dataset
        To train on, and to test on.
    splits : Splits
        How the data were split, last, and before it what the network was trained on earlier.
    start : Saved
        The network to start from, and with `epoch` where to go on.
    architecture : str or None
        Its name; None if it is from a file that does not say, or whose plugin is not there.
    task : str
        What it is trained for.
    losses : dict of Loss by output name
        The first output is the one that predicts.
    weights : dict of float by output name
        Factors on the losses.
    """

    data: Dataset
    held_out: Dataset
    splits: Splits
    start: Saved
    architecture: str | None
    task: str
    losses: dict[str, Loss]
    weights: dict[str, float]

    @property
    def tested(self) -> dict[str, Loss]:
        """The losses to test with: all of a network that gives back its input, else that of the predicting output."""
        return self.losses if self.task == "reconstruct" else {self.output: self.losses[self.output]}

    @property
    def output(self) -> str:
        """Name of the output that predicts."""
        return next(iter(self.losses))


def prepared(catalog: Catalog, settings: dict[str, Any], engine: Engine, resumed: Saved | None) -> Run:
    """What the settings ask for, read and built; `settings` gets what was left open."""
    from simulator.cli.train import train
    from simulator.errors import ShapeError
    from simulator.shelves import Entry
    from simulator.splits import Splits
    from simulator.training import settled_for_training

    net, shape = settings["net"], settings["input_shape"]
    if is_layer(net):
        raise click.UsageError(
            f"expected an architecture or a saved network, got the layer {net}; train it in Python with simulator.train"
        )
    start = resumed
    if start is None and is_file(catalog, net):
        start = network_from(catalog, net, dtype=settings["dtype"], **_build(settings))
    if settings["data"] is None:
        settings["data"] = (start and trained_source(start, train)) or "digits"
    source = settings["data"]
    architecture = _architecture(catalog, settings, start)
    if settings["lr"] is None:
        settings["lr"] = default_rate(catalog, settings["optimizer"], architecture)
    if settings["epochs"] is None:
        settings["epochs"] = (Entry if architecture is None else catalog.architectures.entry(architecture)).epochs
    task = "classify" if architecture is None else catalog.architectures.entry(architecture).task
    if architecture is not None and task == "part":
        raise ShapeError(
            f"train {architecture}: expected a network that is trained alone, got a part that a loop of its own trains "
            f"with others; see its documentation: python -m pydoc {catalog.architectures[architecture].__module__}"
        )
    if start is not None:
        wanted: tuple[int, ...] | None = start.network.input_shape
    else:
        wanted = tuple(shape) if shape else catalog.default_shape(net)
    if start is None and not shape and not catalog.any_shape(source):
        wanted = None  # the network is built for the data
    optimizer = catalog.create("optimizers", settings["optimizer"], lr=settings["lr"])
    if start is None and wanted is not None:
        _check_a_sample(catalog, settings, wanted, engine, optimizer)
    like = None if start is None else preparation_of(start)
    data = catalog.load_data(source) if wanted is None else data_for(catalog, source, wanted, like)
    tell_bundled(catalog, source)
    told = Splits() if start is None else splits_of(catalog, start, train) or Splits(complete=False)
    if resumed is None:
        splits = told.on(data, source, settings["held_out"], settings["split_seed"])
        _check_kept(splits.all[-1], told, settings)
    else:
        splits = _unchanged(told, data, source)
    if start is not None and task == "classify":
        data = with_classes(data, start, source)
    smallest = min(data.shape[1:], default=math.inf)
    if settings["shift"] is None:
        settings["shift"] = 0 if math.isinf(smallest) else smallest // 14
    if settings["shift"] >= smallest:
        raise ShapeError(
            f"train --shift: expected less than {smallest} sites, the shortest side of the samples, got "
            f"{settings['shift']}; use --shift 0"
        )
    build = _build(settings)
    if task == "classify":
        labels = labels_of(data, source)
        classes = len(data.classes) or int(labels.max()) + 1
        build["classes"] = build["classes"] or classes
    if start is None:
        build["input_shape"] = data.shape
        try:
            planned = planned_network(catalog, net, rng=settings["seed"], dtype=settings["dtype"], **build)
        except ShapeError as error:
            raise _with_another_input(catalog, net, data, source, error) from None
        start, drawn = planned.saved, planned.drawn
    else:
        drawn = functools.partial(replace, start)
    if task == "classify":
        for output in start.network.outputs:
            shape = start.network.node(output).shape
            if len(shape) != 1 or shape[0] < classes:
                raise ShapeError(
                    f"{net}: expected outputs for the {classes} classes of {source}, got {shape}; "
                    + ("use other --data" if is_file(catalog, net) else f"build it with --classes {classes}")
                )
    train_on, held_out = splits.all[-1].parts(data)
    batch = min(settings["batch_size"], len(train_on))
    network = start.network.with_engine(engine)
    network = settled_for_training(network, settings["epochs"], batch, train_on, held_out)
    network.check_training(batch, optimizer)
    start = drawn()
    start = replace(start, network=start.network.with_engine(network.engine))
    if task == "reconstruct":
        if (settings["shift"] and was_given("shift")) or settings["mirror"]:
            raise click.UsageError(f"{net} gives back its input: leave out --shift and --mirror")
        settings["shift"] = 0
        train_on, held_out = (replace(part, targets=part.inputs) for part in (train_on, held_out))
    epoch = None if start.epoch is None or resumed is None else replace(start.epoch, network=start.network)
    info = start.info if resumed else {"architecture": architecture}
    start = replace(start, epoch=epoch, info=info)
    return Run(
        train_on, held_out, splits, start, architecture, task, *_objective(catalog, settings, architecture, start)
    )


def _with_another_input(catalog: Catalog, net: str, data: Dataset, source: str, error: Exception) -> Exception:
    """The error of an architecture that cannot read samples of this shape, with the command that resizes them."""
    from simulator.data import fitted
    from simulator.errors import ShapeError

    usual = catalog.default_shape(net)
    try:
        if usual is None or usual == data.shape or fitted(data.take([0]), usual).shape != usual:
            return error
    except ShapeError:
        return error
    told, resized = str(error).partition("; ")[0], next_command(add={"--input": shape_text(usual)})
    return ShapeError(f"{told}; resize the samples of {source}: {resized}")


def _check_a_sample(
    catalog: Catalog, settings: dict[str, Any], shape: tuple[int, ...], engine: Engine, optimizer: Optimizer
) -> None:
    """Refuse training that would not even fit with one sample at a time and one class, before the data are made."""
    from simulator.errors import SimulatorError

    build = {**_build(settings), "input_shape": shape, "classes": settings["classes"] or 1}
    try:
        planned = planned_network(catalog, settings["net"], rng=None, dtype=settings["dtype"], engine=engine, **build)
    except SimulatorError:  # told when the data are known, which may be what is wrong
        return
    planned.saved.network.check_training(1, optimizer)


def _check_kept(split: Split, told: Splits, settings: dict[str, Any]) -> None:
    """Refuse a wish for another split than the one that is kept; `settings` gets the share and the seed of that."""
    if split.rule == "share" and told.of(split.fingerprints) is None:
        return
    why = "the data have test samples of their own" if split.rule == "source" else f"{settings['net']} keeps its split"
    for name, kept in (("held_out", split.share), ("split_seed", split.seed)):
        if was_given(name) and settings[name] != kept:
            raise click.UsageError(
                f"--{name.replace('_', '-')}: expected it for samples that are not split yet, got {settings['data']}, "
                f"where {why}; leave it out"
            )
        settings[name] = settings[name] if kept is None else kept


def _unchanged(told: Splits, data: Dataset, source: str) -> Splits:
    """The splits of the interrupted run, if the data are still those on which it began."""
    import numpy as np

    from simulator.errors import FileError
    from simulator.splits import checksum, fingerprints

    path = click.get_current_context().params["resume_path"]
    anew = next_command("train", path, keep=ALL, add={"--resume": None})
    if not told.all:
        raise FileError(
            f"resume: expected what was held out of {source}, got a file without it; start from its weights with: "
            f"{anew}"
        )
    split, prints = told.all[-1], fingerprints(data)
    if split.checksum == checksum(data, prints):
        return told
    new = int(np.sum(~np.isin(prints, split.fingerprints)))
    gone = int(np.sum(~np.isin(split.fingerprints, prints)))
    what = f"{new} new and {gone} gone" if new or gone else "in another order or with other labels"
    raise FileError(
        f"resume: expected the {len(split.fingerprints)} samples of {source} with which the run began, got "
        f"{len(prints)}, {what}; put the data back, or start a new run from its weights: {anew}"
    )


def _architecture(catalog: Catalog, settings: dict[str, Any], start: Saved | None) -> str | None:
    """Name of the network's architecture; None if it is from a file that does not say, or whose plugin is not there."""
    named = settings["net"] if start is None else start.info.get("architecture", settings["net"])
    return named if isinstance(named, str) and named in catalog.architectures else None


def _objective(
    catalog: Catalog, settings: dict[str, Any], architecture: str | None, start: Saved
) -> tuple[dict[str, Loss], dict[str, float]]:
    """Losses and their weights by output; the output that predicts is the first."""
    from simulator.losses import CrossEntropy

    if architecture is None:
        losses: dict[str, Loss] = {start.network.output_name: CrossEntropy()}
        weights: dict[str, float] = {}
    else:
        losses, weights = catalog.objective(architecture, start.network)
    if settings["loss"] is not None:
        losses = {**losses, next(iter(losses)): catalog.create("losses", settings["loss"])}
    return losses, weights


def default_rate(catalog: Catalog, optimizer: str, architecture: str | None) -> float:
    """The learning rate where none is given: architectures know one for plain gradient descent only."""
    import inspect

    default = inspect.signature(catalog.optimizers[optimizer]).parameters["lr"].default
    if optimizer not in ("sgd", "momentum", "nesterov") and isinstance(default, (int, float)):
        return float(default)
    return (None if architecture is None else catalog.architectures.entry(architecture).lr) or 0.05


def _build(settings: dict[str, Any]) -> dict[str, Any]:
    shape = settings["input_shape"]
    return {
        "input_shape": tuple(shape) if shape else None,
        "classes": settings["classes"],
        "build_option": tuple((name, value) for name, value in settings["build_option"]),
    }


def epochs_of(catalog: Catalog, settings: dict[str, Any], run: Run) -> Generator[Epoch]:
    """Train with a progress bar per epoch."""
    from simulator.augmentation import Chain, RandomMirror, RandomShift
    from simulator.optimizers import Clipped
    from simulator.training import train

    augment: list[Any] = []
    if len(run.data.shape) > 1:  # samples without space are not moved
        augment += [RandomShift(settings["shift"])] if settings["shift"] else []
        augment += [RandomMirror()] if settings["mirror"] else []
    decay = {} if settings["weight_decay"] is None else {"weight_decay": settings["weight_decay"]}
    steps = math.ceil(len(run.data) / settings["batch_size"])
    optimizer = catalog.create("optimizers", settings["optimizer"], lr=_rate(settings, steps), **decay)
    with _progress(settings["epochs"], 0 if run.start.epoch is None else run.start.epoch.number) as (
        on_batch,
        on_epoch,
    ):
        for epoch in train(
            run.start.network,
            run.data,
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            optimizer=Clipped(optimizer, norm=settings["clip"]) if settings["clip"] else optimizer,
            losses=run.losses,
            loss_weights=run.weights,
            validation=run.held_out,
            augment=Chain(augment) if augment else None,
            rng=settings["seed"],
            resume=run.start.epoch,
            on_batch=on_batch,
            trace_memory=True,
        ):
            yield epoch
            on_epoch(epoch)  # once it is saved


def _rate(settings: dict[str, Any], steps: int) -> Any:
    """The learning rate as a number or a function of the step, for so many steps per epoch."""
    from simulator.schedules import CosineDecay, PlateauDecay, StepDecay, WarmUp

    total, rate = settings["epochs"] * steps, settings["lr"]
    if settings["schedule"] == "cosine":
        rate = CosineDecay(rate, total)
    elif settings["schedule"] == "step":
        rate = StepDecay(rate, every=max(1, math.ceil(total / 3)))
    elif settings["schedule"] == "plateau":  # what is held out must not decide: it is the test
        rate = PlateauDecay(rate, patience=math.ceil(settings["epochs"] / 10), watch="training")
    return WarmUp(rate, round(settings["warm_up"] * steps)) if settings["warm_up"] else rate


@contextlib.contextmanager
def _progress(epochs: int, done: int) -> Iterator[tuple[Any, Any]]:
    """A bar for the running epoch and a line for each finished one, on standard error."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from simulator.cli.terminal import error_console

    console = error_console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"epoch {done + 1}/{epochs}", total=None)

        def on_batch(step: int, steps: int) -> None:
            progress.update(task, completed=step, total=steps, refresh=step == steps)

        def on_epoch(epoch: Epoch) -> None:
            numbers = [("loss", epoch.loss), *epoch.metrics.items()], list(epoch.validation.items())
            trained, tested = (
                "  ".join(f"{k} {v:.2%}" if k.endswith("accuracy") else f"{k} {v:.4f}" for k, v in part)
                for part in numbers
            )
            number = f"{epoch.number:>{len(str(epochs))}}/{epochs}"
            console.print(f"epoch {number}  {trained}  test {tested}", highlight=False, soft_wrap=True)
            progress.reset(task, description=f"epoch {min(epoch.number + 1, epochs)}/{epochs}")

        yield on_batch, on_epoch


def identical(splits: Splits) -> int:
    """How many of the samples held out of the last training are the same as one that the network was trained on."""
    split = splits.all[-1]
    return int(splits.trained_on(split.fingerprints[split.held_out]).sum())


def held_out_text(splits: Splits) -> str:
    """What the samples are that a network is tested on after training; only what is true of them."""
    count, alike = int(splits.all[-1].held_out.sum()), identical(splits)
    samples = counted(count, "sample")
    if alike:
        return f"{samples} held out, {alike} of which are identical to samples that it was trained on"
    if not splits.complete:
        return f"{samples} held out of this training; what it was trained on before is not known"
    if len(splits.all) > 1:
        return f"{samples} held out, none identical to one that it was ever trained on"
    return f"{samples} that it never saw"


def untested(run: Run) -> list[str]:
    """Warnings of classes that no sample is held out of."""
    import numpy as np

    if run.task != "classify" or run.data.labels is None or run.held_out.labels is None:
        return []
    missing = np.setdiff1d(run.data.labels, run.held_out.labels).tolist()
    names = [run.data.classes[label] if run.data.classes else str(label) for label in missing]
    if not names:
        return []
    some = ", ".join(map(shown, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return [f"no sample of {counted(len(names), 'class')} is held out, so that they are not tested: {some}"]
