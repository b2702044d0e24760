"""Commands that use a trained network: evaluate and predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
    the_catalog,
    title_of,
)
from simulator.cli.completion import files
from simulator.cli.grammar import examples, limit_option, listed
from simulator.cli.remembered import classes_of, settings_of, with_classes
from simulator.cli.sample import data_of, data_options
from simulator.cli.tables import Cell, cell, print_table, table
from simulator.cli.train import train
from simulator.errors import shown

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
        "simulator predict net.safetensors --wrong", "simulator predict net.safetensors --sample 7 --sample 12"
    )
)
@click.argument("net", shell_complete=files)
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
@engine_options
@report_options
@CatalogOptions.decorate
def predict(
    net: str,
    source: str | None,
    every: bool,
    chosen: tuple[int, ...],
    limit: int | None,
    wrong: bool,
    engine: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Predict the classes of samples.

    NET is a file that `simulator train --save` wrote. A sample has the same number here as in every other command: its
    place in the data as they are loaded, test samples after the others. The first 10 are shown of those held out of
    training, unless --sample, --limit, --all or other --data are given.
    """
    import numpy as np

    from simulator.errors import ShapeError

    if chosen and (limit is not None or wrong or every):
        raise click.UsageError("--sample: expected no other choice of samples; leave out --limit, --wrong and --all")
    catalog = the_catalog()
    saved = _with_engine(catalog, load_file(catalog, net), engine, threads)
    _check_classifier(saved)
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
    if as_json:
        print_json({"network": net, "untrained": saved.untrained, "predictions": rows})
        return
    if not rows:
        click.echo(f"{title}.")
        return
    seen = any(row["trained_on"] for row in rows)
    made = table("sample", "prediction", "truth", "probability", *(["trained on"] if seen else []), left=3)
    for row in rows:
        named = (shown(str(row[key] or "")) for key in ("prediction", "truth"))
        made.add_row(
            cell(row["sample"], "d"),
            *named,
            cell(row["probability"], ".2%"),
            *([("no", "yes")[bool(row["trained_on"])]] if seen else []),
        )
    print_table(title, made)
    if len(rows) < there:
        click.echo(f"The first {len(rows)} of {there:,}; --limit {there} lists all.")


def _rows(net: str, saved: Saved, samples: Samples) -> list[dict[str, Any]]:
    """What is predicted of each sample, and what is known of it."""
    from simulator.finite import check_finite

    data, probabilities = samples.data, _probabilities(saved, samples.data)
    check_finite({"the probabilities": probabilities}, f"predict {net}")
    names = list(classes_of(saved) or data.classes)
    names += [str(i) for i in range(len(names), probabilities.shape[1])]
    rows = []
    for i, number in enumerate(samples.numbers.tolist()):
        best, truth = int(probabilities[i].argmax()), None
        if data.labels is not None:
            label = int(data.labels[i])
            truth = data.classes[label] if data.classes else str(label)
        row = {
            "sample": number,
            "prediction": names[best],
            "probability": float(probabilities[i, best]),
            "truth": truth,
        }
        rows.append({**row, "trained_on": None if samples.trained_on is None else bool(samples.trained_on[i])})
    return rows


def _probabilities(saved: Saved, data: Dataset) -> np.ndarray:
    """Of every class for every sample, (n, classes)."""
    from simulator.averaging import average

    return average(
        [saved.network], next(iter(data.inputs.values())) if isinstance(data.inputs, Mapping) else data.inputs
    )
