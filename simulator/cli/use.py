"""Commands that use a trained network: evaluate and predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.common import (
    CatalogOptions,
    compiled,
    engine_options,
    labels_of,
    load_file,
    print_json,
    report_options,
    save_figure,
    the_catalog,
    title_of,
)
from simulator.cli.completion import files
from simulator.cli.grammar import examples, limit_option, listed, picture_option
from simulator.cli.remembered import classes_of, settings_of, splits_of, with_classes
from simulator.cli.sample import data_of, data_options
from simulator.cli.tables import Cell, cell, formatted, print_table, table
from simulator.cli.train import train
from simulator.errors import counted, shown

if TYPE_CHECKING:
    import numpy as np

    from simulator.catalog import Catalog
    from simulator.cli.sample import Samples
    from simulator.data import Dataset
    from simulator.files import Saved
    from simulator.losses import Loss


def _with_engine(catalog: Catalog, saved: Saved, engine: str, threads: int | None) -> Saved:
    return replace(saved, network=saved.network.with_engine(catalog.engine(engine, threads)))


def _for_samples(saved: Saved, samples: int) -> Saved:
    """With the engine that suits so many samples, ready to run."""
    return replace(saved, network=compiled(saved.network, samples))


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


@click.command(
    epilog=examples("simulator evaluate net.safetensors", "simulator evaluate net.safetensors --all --format csv")
)
@click.argument("nets", metavar="NET...", nargs=-1, required=True, shell_complete=files)
@data_options
@engine_options
@report_options
@CatalogOptions.decorate
def evaluate(
    nets: tuple[str, ...], source: str | None, every: bool, engine: str, threads: int | None, as_json: bool
) -> None:
    """Measure loss, accuracy and confusions of a trained network.

    NET is a file that `simulator train --save` wrote. Of several the probabilities are averaged, and the samples are
    those that none of them was trained on.
    """
    import numpy as np

    from simulator.averaging import average
    from simulator.errors import ShapeError
    from simulator.training import evaluate as measure

    catalog = the_catalog()
    several = [_with_engine(catalog, load_file(catalog, net), engine, threads) for net in nets]
    saved, net = several[0], ", ".join(nets)
    title, untrained = ", ".join(map(title_of, nets, several)), any(each.untrained for each in several)
    task, losses, weights = objective_of(catalog, saved)
    if task != "reconstruct" or len(several) > 1:
        for file, each in zip(nets, several, strict=True):
            _check_classifier(each)
            if classes_of(each) != classes_of(saved):
                raise ShapeError(
                    f"evaluate {file}: expected the classes of {nets[0]}, {', '.join(classes_of(saved))}, got "
                    f"{', '.join(classes_of(each))}; average networks that were trained on the same data"
                )
    samples = data_of(catalog, several, source, every)
    data, what = samples.data, samples.what
    several = [_for_samples(each, 2 * len(data)) for each in several]
    saved = several[0]
    seen = None if samples.trained_on is None else int(samples.trained_on.sum())
    if task == "reconstruct" and len(several) == 1:
        measured = measure(saved.network, replace(data, targets=data.inputs), losses=losses, loss_weights=weights)
        if as_json:
            print_json({"network": net, "untrained": untrained, "samples": len(data), "trained_on": seen, **measured})
        else:
            of = "between input and output" if len(losses) == 1 else f"summed over the outputs {', '.join(losses)}"
            click.echo(f"{title} on {samples.told}: loss {measured['loss']:.4f} {of}")
        samples.tell()
        return
    labels_of(data, what)
    data = with_classes(data, saved, what)
    labels = labels_of(data, what)
    probabilities = average([each.network for each in several], _inputs(data))
    predicted = probabilities.argmax(axis=1)
    if len(several) == 1:
        measured = measure(saved.network, data, losses=losses)
    else:
        own = probabilities[np.arange(len(labels)), labels]
        measured = {"loss": float(-np.mean(np.log(own))), "accuracy": float(np.mean(predicted == labels))}
    n = max(len(data.classes), int(labels.max()) + 1, int(predicted.max()) + 1)
    classes = [*data.classes, *(str(i) for i in range(len(data.classes), n))]
    confusion = np.bincount(labels * n + predicted, minlength=n * n).reshape(n, n)
    samples.tell()
    if as_json:
        report = {"network": net, "untrained": untrained, "samples": len(data), "trained_on": seen, **measured}
        print_json({**report, "classes": classes, "confusion": confusion.tolist()})
        return
    numbers = ", ".join(f"{k} {v:.2%}" if k == "accuracy" else f"{k} {v:.4f}" for k, v in measured.items())
    click.echo(f"{title} on {samples.told}: {numbers}\n")
    made = table("", *map(shown, classes))
    for name, row in zip(classes, confusion, strict=True):
        made.add_row(shown(name), *(Cell(count, str(count or ".")) for count in row.tolist()))
    print_table("Confusion matrix: rows are the truth, columns the prediction", made)


@click.command(
    epilog=examples(
        "simulator predict net.safetensors --wrong",
        "simulator predict net.safetensors --sample 7 --sample 12 --output digits.png",
    )
)
@click.argument("net", shell_complete=files)
@click.argument("more", nargs=-1, metavar="[--image PICTURE...]", shell_complete=files)
@data_options
@click.option(
    "--sample",
    "chosen",
    metavar="NUMBER",
    type=click.IntRange(0),
    multiple=True,
    help="Number of a sample, trained on or not; may be repeated.",
)
@limit_option("samples", old=["--samples"])
@click.option("--wrong", is_flag=True, help="Only samples that are predicted wrongly.")
@click.option(
    "--image",
    "images",
    metavar="PICTURE",
    multiple=True,
    shell_complete=files,
    help="A picture file, or a folder of pictures, in place of samples; several may follow: --image *.png",
)
@click.option(
    "--invert/--no-invert",
    default=None,
    help="Show the network each picture with light and dark exchanged, or as it is.  [default: where its background "
    "is light and that of the network's data dark, or the other way round]",
)
@click.option(
    "--crop/--no-crop",
    default=None,
    help="Show the network the drawing in each picture as large as it knows drawings, or the whole picture.  "
    "[default: where it is smaller]",
)
@picture_option("the samples or pictures, as the network sees them, with their predicted classes")
@engine_options
@report_options
@CatalogOptions.decorate
def predict(
    net: str,
    more: tuple[str, ...],
    source: str | None,
    every: bool,
    chosen: tuple[int, ...],
    limit: int | None,
    wrong: bool,
    images: tuple[str, ...],
    invert: bool | None,
    crop: bool | None,
    output: Path | None,
    engine: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Predict the classes of samples, or of pictures from files.

    NET is a file that `simulator train --save` wrote. A sample has the same number here as in every other command: its
    place in the data as they are loaded, test samples after the others. The first 10 are shown of those held out of
    training, unless --sample, --limit, --all or other --data are given.

    A picture is brought to the size, the colours, the scale and the background of the data that the network was
    trained on, a drawing that is smaller than theirs is cropped, and a note says what was done.
    """
    from simulator.pictures import ENDINGS

    if (more or (invert, crop) != (None, None)) and not images:
        got = f"{more[0]}, which belongs to none" if more else "--invert" if crop is None else "--crop"
        raise click.UsageError(f"expected --image before the names of pictures, got {got}; write --image PICTURE")
    if images and (chosen or limit is not None or wrong or every or source is not None):
        raise click.UsageError(
            "--image: expected pictures only, got samples of data, too; leave out --data, --sample, --limit, --all and "
            "--wrong"
        )
    if chosen and (limit is not None or wrong or every):
        raise click.UsageError("--sample: expected no other choice of samples; leave out --limit, --wrong and --all")
    if images:  # a shell puts the files of a pattern where it stands, perhaps before NET
        words = [net, *more]
        net = next((word for word in words if not word.lower().endswith(ENDINGS)), net)
        more = tuple(word for word in words if word != net)
    catalog = the_catalog()
    saved = _with_engine(catalog, load_file(catalog, net), engine, threads)
    _check_classifier(saved)
    if images:
        found = _of_images(catalog, net, saved, (*images, *more), invert, crop)
    else:
        found = _of_samples(catalog, net, saved, source, every, chosen, limit, wrong)
    if output is not None and found.rows:
        _draw(found, output)
    if as_json:
        print_json({"network": net, "untrained": saved.untrained, "predictions": found.rows})
        return
    if not found.rows and not formatted():
        click.echo(f"{found.title}.")
        return
    truth = found.kind == "sample"
    seen = any(row["trained_on"] for row in found.rows)
    columns = [
        found.kind,
        "prediction",
        *(["truth"] if truth else []),
        "probability",
        *(["trained on"] if seen else []),
    ]
    made = table(*columns, left=2 + truth)
    for row in found.rows:
        cells: dict[str, str | Cell] = {key: shown(str(row[key] or "")) for key in ("prediction", "truth")}
        cells["sample"], cells["image"] = cell(row["sample"], "d"), shown(str(row.get("image")))
        cells["probability"], cells["trained on"] = (
            cell(row["probability"], ".2%"),
            ("no", "yes")[bool(row["trained_on"])],
        )
        made.add_row(*(cells[column] for column in columns))
    print_table(found.title, made)
    if len(found.rows) < found.there:
        click.echo(f"The first {len(found.rows)} of {found.there:,}; --limit {found.there} lists all.")
    if output is not None:
        click.echo(f"Drew {output}")


@dataclass(frozen=True, eq=False)
class _Predicted:
    """What was predicted: a row for each sample or picture, what they are, and how many there are."""

    title: str
    kind: str
    rows: list[dict[str, Any]]
    there: int
    inputs: np.ndarray | None


def _of_samples(
    catalog: Catalog,
    net: str,
    saved: Saved,
    source: str | None,
    every: bool,
    chosen: tuple[int, ...],
    limit: int | None,
    wrong: bool,
) -> _Predicted:
    """Predictions of samples of a data set."""
    import numpy as np

    from simulator.errors import ShapeError

    found = data_of(catalog, [saved], source, every or bool(chosen))
    saved = _for_samples(saved, len(chosen) or len(found.data))
    samples: Samples | None
    name = title_of(net, saved)
    title = f"{name} on {found.what}"
    if chosen:
        total = len(found.data)
        if max(chosen) >= total:
            raise ShapeError(f"predict: expected a sample from 0 to {total - 1}, got {max(chosen)}; choose one of them")
        samples, title = found.take(list(chosen)), f"{name} on samples of {shown(found.source)}"
        there = len(chosen)
    elif wrong:
        known = with_classes(found.data, saved, found.what)
        missed = np.flatnonzero(_probabilities(saved, known).argmax(axis=1) != labels_of(known, found.what))
        title += f": {len(missed)} of {len(known)} {'is' if len(missed) == 1 else 'are'} predicted wrongly"
        there, samples = len(missed), found.take(missed[: listed(limit, len(missed))]) if len(missed) else None
    else:
        there = len(found.data)
        samples = found.take(slice(listed(limit, there)))
    rows = [] if samples is None else _rows(net, saved, samples)
    found.tell()
    return _Predicted(title, "sample", rows, there, None if samples is None else _inputs(samples.data))


def _of_images(
    catalog: Catalog, net: str, saved: Saved, named: tuple[str, ...], invert: bool | None, crop: bool | None
) -> _Predicted:
    """Predictions of pictures from files."""
    from simulator.cli.images import images_for, picture_files

    images = images_for(catalog, saved, picture_files(named), invert, crop)
    splits = splits_of(catalog, saved, train)
    trained = [None] * len(images.paths) if splits is None else splits.trained_on(images.fingerprints).tolist()
    rows = []
    for path, notes, (prediction, probability), seen in zip(
        images.paths, images.notes, _named(net, saved, images.inputs, ()), trained, strict=True
    ):
        row = {"sample": None, "prediction": prediction, "probability": probability, "truth": None, "trained_on": seen}
        rows.append({**row, "image": str(path), "done": list(notes)})
    images.tell()
    title = f"{title_of(net, saved)} on {counted(len(rows), 'picture')}"
    return _Predicted(title, "image", rows, len(rows), images.inputs)


def _draw(found: _Predicted, path: Path) -> None:
    """A picture of what was predicted, as the network sees it."""
    from simulator.draw import draw_predictions

    assert found.inputs is not None
    titles, wrong = [], []
    for row in found.rows:
        name = f"sample {row['sample']}" if row["sample"] is not None else Path(row["image"]).name
        wrong.append(row["truth"] is not None and row["truth"] != row["prediction"])
        told = f" (it is {row['truth']})" if wrong[-1] else ""
        titles.append(f"{name}\n{row['prediction']}: {row['probability']:.1%}{told}")
    save_figure(draw_predictions(found.inputs, titles, wrong), path, found.title)


def _named(net: str, saved: Saved, inputs: np.ndarray, classes: Sequence[str]) -> list[tuple[str, float]]:
    """The class of each sample and its probability; `classes` where the network knows no names."""
    from simulator.averaging import average
    from simulator.finite import check_finite

    probabilities = average([saved.network], inputs)
    check_finite({"the probabilities": probabilities}, f"predict {net}")
    names = list(classes_of(saved) or classes)
    names += [str(i) for i in range(len(names), probabilities.shape[1])]
    best = probabilities.argmax(axis=1).tolist()
    return [(names[k], float(row[k])) for k, row in zip(best, probabilities, strict=True)]


def _rows(net: str, saved: Saved, samples: Samples) -> list[dict[str, Any]]:
    """What is predicted of each sample, and what is known of it."""
    data = samples.data
    predicted = _named(net, saved, _inputs(data), data.classes)
    rows = []
    for i, (number, (prediction, probability)) in enumerate(zip(samples.numbers.tolist(), predicted, strict=True)):
        truth = None
        if data.labels is not None:
            label = int(data.labels[i])
            truth = data.classes[label] if data.classes else str(label)
        row = {"sample": number, "prediction": prediction, "probability": probability, "truth": truth}
        rows.append({**row, "trained_on": None if samples.trained_on is None else bool(samples.trained_on[i])})
    return rows


def _inputs(data: Dataset) -> np.ndarray:
    """Of the only input."""
    return next(iter(data.inputs.values())) if isinstance(data.inputs, Mapping) else data.inputs


def _probabilities(saved: Saved, data: Dataset) -> np.ndarray:
    """Of every class for every sample, (n, classes)."""
    from simulator.averaging import average

    return average([saved.network], _inputs(data))
