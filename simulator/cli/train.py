"""The command that trains."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.common import (
    CatalogOptions,
    FiniteRange,
    build_options,
    dtype_option,
    engine_option,
    is_file,
    json_option,
    labels_of,
    network_from,
    print_json,
    the_catalog,
    was_given,
)
from simulator.cli.look import print_proofs
from simulator.cli.remembered import classes_of, history_of, settings_of, with_classes

if TYPE_CHECKING:
    from simulator.catalog import Catalog
    from simulator.data import Dataset
    from simulator.files import Saved
    from simulator.losses import Loss
    from simulator.training import Epoch

# What a checkpoint keeps of the command line, so that a resumed run is the same run.
_SETTINGS = (
    "net",
    "data",
    "epochs",
    "batch_size",
    "optimizer",
    "lr",
    "weight_decay",
    "schedule",
    "warm_up",
    "clip",
    "loss",
    "shift",
    "mirror",
    "held_out",
    "seed",
    "input_shape",
    "classes",
    "build_option",
    "dtype",
)


@click.command()
@click.argument("net", default="lenet5")
@click.option("--data", default="digits", show_default=True, help="A data set by name, NAME:PATH, or a path.")
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="Passes over the data.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Samples per step.")
@click.option("--optimizer", default="momentum", show_default=True, help="How gradients change the weights.")
@click.option(
    "--lr",
    type=FiniteRange(0, min_open=True),
    help="Learning rate.  [default: the architecture's, else 0.05; with adam and the like the optimizer's own]",
)
@click.option(
    "--schedule",
    type=click.Choice(["cosine", "step", "constant"]),
    default="cosine",
    show_default=True,
    help="How the learning rate goes on: down to 0 along a cosine, down to a tenth after each third, or as it is.",
)
@click.option(
    "--warm-up", type=FiniteRange(0), default=0.0, show_default=True, help="Epochs in which the learning rate rises."
)
@click.option("--clip", type=FiniteRange(0, min_open=True), help="Shorten gradients to this norm.  [default: never]")
@click.option("--loss", help="What to minimise.  [default: the architecture's, usually cross-entropy]")
@click.option("--weight-decay", type=FiniteRange(0), help="Pull towards zero.  [default: the optimizer's own]")
@click.option(
    "--shift", type=click.IntRange(0), default=2, show_default=True, help="Move samples by up to so many sites."
)
@click.option("--mirror", is_flag=True, help="Mirror half of the samples, left to right.")
@click.option(
    "--held-out", type=FiniteRange(0, 1, True, True), default=0.2, show_default=True, help="Share to test on."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="One seed, one result, to the last bit."
)
@build_options
@engine_option
@dtype_option("float32")
@click.option("--save", "save_path", type=click.Path(path_type=Path), help="Write a checkpoint here after every epoch.")
@click.option("--resume", "resume_path", type=click.Path(path_type=Path), help="Go on with an interrupted run.")
@click.option("--proof/--no-proof", default=True, help="Prove at the end that every layer equals its matrix.")
@json_option
@CatalogOptions.decorate
def train(
    save_path: Path | None, resume_path: Path | None, engine: str, proof: bool, as_json: bool, **settings: Any
) -> None:
    """Train a network as sparse matrices with shared weights.

    NET is the name of an architecture, or a saved network to start from. Without arguments: LeNet-5 on scikit-learn's
    handwritten digits, in well under a minute.
    """
    from simulator.equivalence import equivalence
    from simulator.files import load, save
    from simulator.training import evaluate
    from simulator.writing import check_writable

    catalog = the_catalog()
    resumed = None
    if resume_path is not None:
        resumed = load(resume_path, catalog=catalog)
        settings = _resumed_settings(resumed, resume_path)
        save_path = save_path or resume_path
    if save_path is not None:
        check_writable(save_path)
    if settings["lr"] is None:
        settings["lr"] = _default_lr(catalog, settings)
    data, held_out, start = _prepared(catalog, settings, engine, resumed)
    network = start.network
    losses, weights = _objective(catalog, settings, start)
    main = next(iter(losses))
    if not as_json:
        name = "trained network" if is_file(catalog, settings["net"]) else settings["net"]
        click.echo(f"{name}: {network!r}")
        click.echo(f"{settings['data']}: {len(data)} samples to train on, {len(held_out)} held out")
    history: list[dict[str, Any]] = history_of(start)
    last: Epoch | None = start.epoch

    def checkpoint() -> None:
        if save_path is not None and last is not None:
            info = {
                "settings": settings,
                "history": history,
                "classes": list(data.classes),
                "architecture": _architecture(catalog, settings, start),
                "output": main,
            }
            save(save_path, last.network, catalog=catalog, info=info, epoch=last)

    try:
        if save_path != resume_path:
            checkpoint()
        with contextlib.closing(_epochs(catalog, settings, start, data, held_out, losses, weights)) as epochs:
            for epoch in epochs:
                last, history = epoch, [*history, _entry(epoch)]
                checkpoint()
    except KeyboardInterrupt:
        checkpoint()  # the interrupt may have come while it was being written
        if save_path is None:
            cure = "nothing was saved; use --save PATH to keep every finished epoch"
        elif last is None:
            cure = "no epoch was finished, so nothing was saved"
        else:
            cure = f"epoch {last.number} is in {save_path}; go on with: simulator train --resume {save_path}"
        click.echo(f"\nInterrupted: {cure}", err=True)
        click.get_current_context().exit(130)
    assert last is not None
    network = last.network
    tested = evaluate(network.subnetwork(main), held_out, losses=losses[main])
    seconds = sum(entry["seconds"] for entry in history)
    proofs = list(equivalence(network.with_dtype("float64"))) if proof else []
    ok = all(p.ok for p in proofs)
    if as_json:
        result = {
            "network": settings["net"],
            "data": settings["data"],
            "epochs": last.number,
            "seed": settings["seed"],
            "train_loss": last.loss,
            "train_accuracy": last.metrics.get("accuracy", last.metrics.get(f"{main}.accuracy")),
            "test_loss": tested["loss"],
            "test_accuracy": tested.get("accuracy"),
            "seconds": seconds,
            "saved": None if save_path is None else str(save_path),
        }
        if proof:
            result["equivalence"] = {"ok": ok, "layers": [p.as_dict() for p in proofs]}
        print_json(result)
    else:
        reached = f"accuracy {tested['accuracy']:.2%}" if "accuracy" in tested else f"loss {tested['loss']:.4f}"
        click.echo(
            f"After {last.number} epoch{'s'[: last.number > 1]} and {seconds:.1f} s: train loss {last.loss:.4f}, test "
            f"{reached} on {len(held_out)} samples that it never saw.\n"
        )
        if proof:
            print_proofs(proofs, "the trained network in float64")
        if save_path is not None:
            click.echo(f"Saved to {save_path}. Look at it: simulator evaluate {save_path}")
        else:
            click.echo(
                f"Next: simulator describe {settings['net']}, or train with --save net.safetensors to keep the weights."
            )
    if not ok:
        click.get_current_context().exit(1)


def _default_lr(catalog: Catalog, settings: dict[str, Any]) -> float:
    """The learning rate where none is given: architectures know one for plain gradient descent only."""
    import inspect

    default = inspect.signature(catalog.optimizers[settings["optimizer"]]).parameters["lr"].default
    if settings["optimizer"] not in ("sgd", "momentum", "nesterov") and isinstance(default, float):
        return default
    named = settings["net"] in catalog.architectures
    return (named and catalog.architectures.entry(settings["net"]).lr) or 0.05


def _entry(epoch: Epoch) -> dict[str, Any]:
    """What a checkpoint remembers of an epoch, for the curve."""
    return {
        "number": epoch.number,
        "loss": epoch.loss,
        "metrics": epoch.metrics,
        "validation": epoch.validation,
        "seconds": epoch.seconds,
    }


def _resumed_settings(resumed: Saved, path: Path) -> dict[str, Any]:
    """The settings of the interrupted run; others on the command line would make it another run."""
    from simulator.errors import FileError

    settings = settings_of(resumed)
    if resumed.epoch is None or not settings:
        raise FileError(
            f"resume: expected a checkpoint of simulator train, got a network without one, {path}; start from its "
            f"weights with: simulator train {path}"
        )
    context = click.get_current_context()
    for parameter in context.command.params:
        if parameter.name in _SETTINGS and was_given(parameter.name):
            raise click.UsageError(
                f"--resume goes on with the settings of that run; leave out {parameter.get_error_hint(context)}, or "
                f"start a new run from its weights: simulator train {path}"
            )
    missing = [name for name in _SETTINGS if name not in settings]
    if missing:
        raise FileError(
            f"resume: expected the settings of a run, got none for {', '.join(missing)} in {path}; train anew"
        )
    return settings


def _prepared(
    catalog: Catalog, settings: dict[str, Any], engine: str, resumed: Saved | None
) -> tuple[Dataset, Dataset, Saved]:
    """Data to train on, data held out, and the network to start from."""
    from simulator.errors import ShapeError

    net, source = settings["net"], settings["data"]
    shape = settings["input_shape"]
    start = resumed
    if start is None and is_file(catalog, net):
        start = network_from(catalog, net, dtype=settings["dtype"], **_build(settings))
    architecture = _architecture(catalog, settings, start)
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
    data = catalog.load_data(source, wanted if catalog.any_shape(source) else None)
    if start is not None:
        data = with_classes(data, classes_of(start), source)
    if (start is not None or shape) and data.shape != wanted:
        raise ShapeError(
            f"{source}: expected samples of shape {wanted}, got {data.shape}; leave --input out, or use other data"
        )
    smallest = min(data.shape[1:], default=math.inf)
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
        start = network_from(catalog, net, rng=settings["seed"], dtype=settings["dtype"], **build)
    start = replace(start, network=start.network.with_engine(catalog.engines[engine]()))
    if task == "classify":
        for output in start.network.outputs:
            shape = start.network.node(output).shape
            if len(shape) != 1 or shape[0] < classes:
                raise ShapeError(
                    f"{net}: expected outputs for the {classes} classes of {source}, got {shape}; "
                    + ("use other --data" if is_file(catalog, net) else f"build it with --classes {classes}")
                )
    train_on, held_out = (data, data.test) if data.test else data.split(settings["held_out"], settings["seed"])
    if task == "reconstruct":
        if (settings["shift"] and was_given("shift")) or settings["mirror"]:
            raise click.UsageError(f"{net} gives back its input: leave out --shift and --mirror")
        settings["shift"] = 0
        train_on, held_out = (replace(part, targets=part.inputs) for part in (train_on, held_out))
    epoch = None if start.epoch is None or resumed is None else replace(start.epoch, network=start.network)
    info = start.info if resumed else {"architecture": architecture}
    return train_on, held_out, replace(start, epoch=epoch, info=info)


def _architecture(catalog: Catalog, settings: dict[str, Any], start: Saved | None) -> str | None:
    """Name of the network's architecture; None if it is from a file that does not say, or whose plugin is not there."""
    named = settings["net"] if start is None else start.info.get("architecture", settings["net"])
    return named if isinstance(named, str) and named in catalog.architectures else None


def _objective(catalog: Catalog, settings: dict[str, Any], start: Saved) -> tuple[dict[str, Loss], dict[str, float]]:
    """Losses and their weights by output; the output that predicts is the first."""
    from simulator.losses import CrossEntropy

    architecture = _architecture(catalog, settings, start)
    if architecture is None:
        losses: dict[str, Loss] = {start.network.output_name: CrossEntropy()}
        weights: dict[str, float] = {}
    else:
        losses, weights = catalog.objective(architecture, start.network)
    if settings["loss"]:
        losses = {**losses, next(iter(losses)): catalog.create("losses", settings["loss"])}
    return losses, weights


def _build(settings: dict[str, Any]) -> dict[str, Any]:
    shape = settings["input_shape"]
    return {
        "input_shape": tuple(shape) if shape else None,
        "classes": settings["classes"],
        "build_option": tuple((name, value) for name, value in settings["build_option"]),
    }


def _epochs(
    catalog: Catalog,
    settings: dict[str, Any],
    start: Saved,
    data: Dataset,
    held_out: Dataset,
    losses: dict[str, Loss],
    weights: dict[str, float],
) -> Generator[Epoch]:
    """Train with a progress bar per epoch."""
    from simulator.augmentation import Chain, RandomMirror, RandomShift
    from simulator.optimizers import Clipped
    from simulator.training import train as epochs_of

    augment: list[Any] = []
    if len(data.shape) > 1:  # samples without space are not moved
        augment += [RandomShift(settings["shift"])] if settings["shift"] else []
        augment += [RandomMirror()] if settings["mirror"] else []
    decay = {} if settings["weight_decay"] is None else {"weight_decay": settings["weight_decay"]}
    steps = math.ceil(len(data) / settings["batch_size"])
    optimizer = catalog.create("optimizers", settings["optimizer"], lr=_rate(settings, steps), **decay)
    with _progress(settings["epochs"], 0 if start.epoch is None else start.epoch.number) as (on_batch, on_epoch):
        for epoch in epochs_of(
            start.network,
            data,
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            optimizer=Clipped(optimizer, norm=settings["clip"]) if settings["clip"] else optimizer,
            losses=losses,
            loss_weights=weights,
            validation=held_out,
            augment=Chain(augment) if augment else None,
            rng=settings["seed"],
            resume=start.epoch,
            on_batch=on_batch,
        ):
            yield epoch
            on_epoch(epoch)  # once it is saved


def _rate(settings: dict[str, Any], steps: int) -> Any:
    """The learning rate as a number or a function of the step, for so many steps per epoch."""
    from simulator.schedules import CosineDecay, StepDecay, WarmUp

    total, rate = settings["epochs"] * steps, settings["lr"]
    if settings["schedule"] == "cosine":
        rate = CosineDecay(rate, total)
    elif settings["schedule"] == "step":
        rate = StepDecay(rate, every=max(1, math.ceil(total / 3)))
    return WarmUp(rate, round(settings["warm_up"] * steps)) if settings["warm_up"] else rate


@contextlib.contextmanager
def _progress(epochs: int, done: int) -> Iterator[tuple[Any, Any]]:
    """A bar for the running epoch and a line for each finished one, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
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
