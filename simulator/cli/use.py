"""Commands that use a trained network: evaluate and predict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.common import (
    CatalogOptions,
    data_for,
    engine_from,
    engine_options,
    json_option,
    labels_of,
    load_file,
    options,
    print_json,
    print_table,
    table,
    the_catalog,
    title_of,
)
from simulator.cli.remembered import classes_of, settings_of, with_classes
from simulator.cli.train import train
from simulator.errors import shown

if TYPE_CHECKING:
    from simulator.catalog import Catalog
    from simulator.data import Dataset
    from simulator.files import Saved
    from simulator.losses import Loss

data_options: Callable[..., Any] = options(
    click.option(
        "--data", "source", help="A data set by name, NAME:PATH, or a path.  [default: the one it was trained on]"
    ),
    click.option("--all", "every", is_flag=True, help="All samples, not only those held out of training."),
)


def _with_engine(catalog: Catalog, saved: Saved, engine: str, threads: int | None) -> Saved:
    made = engine_from(catalog, engine, threads, saved.network.dtype.name)
    return replace(saved, network=saved.network.with_engine(made))


def data_of(catalog: Catalog, saved: Saved, source: str | None, every: bool) -> tuple[Dataset, str]:
    """The data asked for, and what they are: by default the samples that training held out."""
    settings = settings_of(saved, train)
    trained_on = settings.get("data")
    source = trained_on if source is None else source
    if source is None:
        raise click.UsageError("the file does not say what the network was trained on; name the data with --data")
    data = data_for(catalog, source, saved.network.input_shape)
    if data.test is not None:
        return (_joined(data, data.test), f"samples of {source}") if every else (data.test, f"test samples of {source}")
    if source == trained_on and not every and "held_out" in settings and "seed" in settings:
        return data.split(settings["held_out"], settings["seed"])[1], f"held-out samples of {source}"
    return data, f"samples of {source}"


def _joined(data: Dataset, test: Dataset) -> Dataset:
    """The samples of both."""
    import numpy as np

    def both(a: Any, b: Any) -> Any:
        if isinstance(a, Mapping):
            return {name: np.concatenate([a[name], b[name]]) for name in a}
        return np.concatenate([a, b])

    return type(data)(both(data.inputs, test.inputs), both(data.targets, test.targets), data.classes)


def _check_classifier(saved: Saved) -> None:
    from simulator.errors import ShapeError

    shape = saved.network.output_shape
    if len(shape) != 1:
        raise ShapeError(
            f"{click.get_current_context().info_name}: expected a network with one output per class, got the shape "
            f"{shape}; use it in Python, with simulator.load"
        )


def objective_of(catalog: Catalog, saved: Saved) -> tuple[str, dict[str, Loss], dict[str, float]]:
    """What the network was trained for, and losses and weights by output; cross-entropy where the file does not say."""
    from simulator.losses import CrossEntropy

    name, network = saved.info.get("architecture"), saved.network
    task = "classify"
    losses: dict[str, Loss] = {network.output_name: CrossEntropy()}
    weights: dict[str, float] = {}
    if isinstance(name, str) and name in catalog.architectures:
        task = catalog.architectures.entry(name).task
        losses, weights = catalog.objective(name, network)
    told, main = settings_of(saved, train).get("loss"), next(iter(losses))
    if told is not None:
        losses = {**losses, main: catalog.create("losses", told)}
    return task, losses if task == "reconstruct" else {main: losses[main]}, weights


@click.command()
@click.argument("nets", metavar="NET...", nargs=-1, required=True)
@data_options
@engine_options
@json_option
@CatalogOptions.decorate
def evaluate(
    nets: tuple[str, ...], source: str | None, every: bool, engine: str, threads: int | None, as_json: bool
) -> None:
    """Loss, accuracy and confusion matrix of a trained network.

    NET is a file that `simulator train --save` wrote. Of several the probabilities are averaged.
    """
    import numpy as np

    from simulator.averaging import average
    from simulator.errors import ShapeError
    from simulator.training import evaluate as measure

    catalog = the_catalog()
    several = [_with_engine(catalog, load_file(catalog, net), engine, threads) for net in nets]
    saved, net = several[0], ", ".join(nets)
    title, untrained = ", ".join(map(title_of, nets, several)), any(each.untrained for each in several)
    data, what = data_of(catalog, saved, source, every)
    task, losses, weights = objective_of(catalog, saved)
    if task == "reconstruct" and len(several) == 1:
        measured = measure(saved.network, replace(data, targets=data.inputs), losses=losses, loss_weights=weights)
        if as_json:
            print_json({"network": net, "untrained": untrained, "samples": len(data), **measured})
        else:
            click.echo(f"{title} on {len(data)} {what}: loss {measured['loss']:.4f} between input and output")
        return
    for file, each in zip(nets, several, strict=True):
        _check_classifier(each)
        if classes_of(each) != classes_of(saved):
            raise ShapeError(
                f"evaluate {file}: expected the classes of {nets[0]}, {', '.join(classes_of(saved))}, got "
                f"{', '.join(classes_of(each))}; average networks that were trained on the same data"
            )
    labels_of(data, what)
    data = with_classes(data, classes_of(saved), what)
    labels = labels_of(data, what)
    inputs = next(iter(data.inputs.values())) if isinstance(data.inputs, Mapping) else data.inputs
    probabilities = average([each.network for each in several], inputs)
    predicted = probabilities.argmax(axis=1)
    if len(several) == 1:
        measured = measure(saved.network, data, losses=losses)
    else:
        own = probabilities[np.arange(len(labels)), labels]
        measured = {"loss": float(-np.mean(np.log(own))), "accuracy": float(np.mean(predicted == labels))}
    n = max(len(data.classes), int(labels.max()) + 1, int(predicted.max()) + 1)
    classes = [*data.classes, *(str(i) for i in range(len(data.classes), n))]
    confusion = np.bincount(labels * n + predicted, minlength=n * n).reshape(n, n)
    if as_json:
        print_json(
            {
                "network": net,
                "untrained": untrained,
                "samples": len(data),
                **measured,
                "classes": classes,
                "confusion": confusion.tolist(),
            }
        )
        return
    numbers = ", ".join(f"{k} {v:.2%}" if k == "accuracy" else f"{k} {v:.4f}" for k, v in measured.items())
    click.echo(f"{title} on {len(data)} {what}: {numbers}\n")
    made = table("", *map(shown, classes))
    for name, row in zip(classes, confusion, strict=True):
        made.add_row(shown(name), *(str(count) if count else "." for count in row))
    print_table("Confusion matrix: rows are the truth, columns the prediction", made)


@click.command()
@click.argument("net")
@data_options
@click.option(
    "--sample", "samples", type=click.IntRange(0), multiple=True, help="Number of a sample.  [default: the first 10]"
)
@engine_options
@json_option
@CatalogOptions.decorate
def predict(
    net: str,
    source: str | None,
    every: bool,
    samples: tuple[int, ...],
    engine: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Predict the classes of samples.

    NET is a file that `simulator train --save` wrote. Samples are numbered within the data that are used: those held
    out of training, unless --all or other --data are given.
    """
    from scipy.special import softmax

    from simulator.errors import ShapeError
    from simulator.finite import check_finite

    catalog = the_catalog()
    saved = _with_engine(catalog, load_file(catalog, net), engine, threads)
    _check_classifier(saved)
    data, what = data_of(catalog, saved, source, every)
    numbers = list(samples) or list(range(min(10, len(data))))
    if max(numbers) >= len(data):
        raise ShapeError(
            f"predict: expected a sample from 0 to {len(data) - 1}, got {max(numbers)}; choose one of them"
        )
    chosen = data.take(numbers)
    probabilities = softmax(saved.network.predict(chosen.inputs).astype("float64"), axis=1)
    check_finite({"the probabilities": probabilities}, f"predict {net}")
    names = list(classes_of(saved) or data.classes)
    names += [str(i) for i in range(len(names), probabilities.shape[1])]
    rows = []
    for i, number in enumerate(numbers):
        best, truth = int(probabilities[i].argmax()), None
        if chosen.labels is not None:
            label = int(chosen.labels[i])
            truth = data.classes[label] if data.classes else str(label)
        rows.append(
            {"sample": number, "prediction": names[best], "probability": float(probabilities[i, best]), "truth": truth}
        )
    if as_json:
        print_json({"network": net, "untrained": saved.untrained, "predictions": rows})
        return
    made = table("sample", "prediction", "truth", "probability", left=3)
    for row in rows:
        told = (shown(str(row["prediction"])), shown(str(row["truth"] or "")))
        made.add_row(str(row["sample"]), *told, f"{row['probability']:.2%}")
    print_table(f"{title_of(net, saved)} on {what}", made)
