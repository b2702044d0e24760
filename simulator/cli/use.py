"""Commands that use a trained network: evaluate and predict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from simulator.cli.common import CatalogOptions, json_option, load_file, print_json, print_table, table, the_catalog

if TYPE_CHECKING:
    from simulator.catalog import Catalog
    from simulator.data import Dataset
    from simulator.files import Saved


def _data_of(catalog: Catalog, saved: Saved, source: str | None, every: bool) -> tuple[Dataset, str]:
    """The data asked for: by default the samples that training held out."""
    from simulator.errors import ShapeError

    settings: dict[str, Any] = saved.info.get("settings") or {}
    source = source or settings.get("data")
    if source is None:
        raise click.UsageError("the file does not say what the network was trained on; name the data with --data")
    wanted = saved.network.input_shape
    data = catalog.load_data(source, wanted if catalog.any_shape(source) else None)
    if data.shape != wanted:
        raise ShapeError(f"{source}: expected samples of shape {wanted}, got {data.shape}; use data of that shape")
    if every:
        return data, f"all of {source}"
    if data.test is not None:
        return data.test, f"test samples of {source}"
    if source == settings.get("data"):
        return data.split(settings["held_out"], settings["seed"])[1], f"held-out samples of {source}"
    return data, f"all of {source}"


data_options = (
    click.option(
        "--data", "source", help="A data set by name, NAME:PATH, or a path.  [default: the one it was trained on]"
    ),
    click.option("--all", "every", is_flag=True, help="All samples, not only those held out of training."),
)


@click.command()
@click.argument("net")
@data_options[0]
@data_options[1]
@json_option
@CatalogOptions.decorate
def evaluate(net: str, source: str | None, every: bool, as_json: bool) -> None:
    """Loss, accuracy and confusion matrix of a trained network.

    NET is a file that `simulator train --save` wrote.
    """
    import numpy as np

    from simulator.training import evaluate as measure

    catalog = the_catalog()
    saved = load_file(catalog, net)
    data, what = _data_of(catalog, saved, source, every)
    measured = measure(saved.network, data)
    confusion = None
    classes = list(data.classes)
    if data.labels is not None:
        predicted = np.concatenate(
            [
                saved.network.predict(data.take(slice(i, i + 256)).inputs).argmax(axis=1)
                for i in range(0, len(data), 256)
            ]
        )
        n = max(len(classes), int(data.labels.max()) + 1, int(predicted.max()) + 1)
        classes += [str(i) for i in range(len(classes), n)]
        confusion = np.bincount(data.labels * n + predicted, minlength=n * n).reshape(n, n)
    if as_json:
        shown = None if confusion is None else confusion.tolist()
        print_json({"network": net, "samples": len(data), **measured, "classes": classes, "confusion": shown})
        return
    click.echo(f"{net} on {len(data)} {what}: " + ", ".join(f"{k} {v:.4f}" for k, v in measured.items()))
    if confusion is not None:
        made = table("Confusion matrix: rows are the truth, columns the prediction", "", *classes)
        for name, row in zip(classes, confusion, strict=True):
            made.add_row(name, *(str(count) if count else "." for count in row))
        print_table(made)


@click.command()
@click.argument("net")
@data_options[0]
@data_options[1]
@click.option(
    "--sample", "samples", type=click.IntRange(0), multiple=True, help="Number of a sample.  [default: the first 10]"
)
@json_option
@CatalogOptions.decorate
def predict(net: str, source: str | None, every: bool, samples: tuple[int, ...], as_json: bool) -> None:
    """Predict the classes of samples.

    NET is a file that `simulator train --save` wrote.
    """
    from scipy.special import softmax

    from simulator.errors import ShapeError

    catalog = the_catalog()
    saved = load_file(catalog, net)
    data, what = _data_of(catalog, saved, source, every)
    numbers = list(samples) or list(range(min(10, len(data))))
    if max(numbers) >= len(data):
        raise ShapeError(
            f"predict: expected a sample from 0 to {len(data) - 1}, got {max(numbers)}; choose one of them"
        )
    chosen = data.take(numbers)
    probabilities = softmax(saved.network.predict(chosen.inputs).astype("float64"), axis=1)
    names = list(saved.info.get("classes") or data.classes) or [str(i) for i in range(probabilities.shape[1])]
    rows = []
    for i, number in enumerate(numbers):
        best = int(probabilities[i].argmax())
        truth = None if chosen.labels is None else names[int(chosen.labels[i])]
        rows.append(
            {"sample": number, "prediction": names[best], "probability": float(probabilities[i, best]), "truth": truth}
        )
    if as_json:
        print_json({"network": net, "predictions": rows})
        return
    made = table(f"{net} on {what}", "sample", "prediction", "probability", "truth", left=2)
    for row in rows:
        made.add_row(str(row["sample"]), row["prediction"], f"{row['probability']:.2%}", row["truth"] or "")
    print_table(made)
