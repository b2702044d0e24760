"""What a file remembers of its training, checked before it is used: settings, history, splits, silent channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.common import data_for, shape_text
from simulator.errors import brief

if TYPE_CHECKING:
    import numpy as np

    from simulator.catalog import Catalog
    from simulator.data import Dataset
    from simulator.files import Saved
    from simulator.lab import Silence
    from simulator.preparation import Preparation
    from simulator.splits import Splits


def settings_of(saved: Saved, train: click.Command) -> dict[str, Any]:
    """What the command `train` was told when it saved a network, checked as if told now; nothing for other files."""
    settings = saved.info.get("settings", {})
    if not isinstance(settings, dict):
        raise _damaged("settings", settings)
    checked = dict(settings)
    context = click.Context(train)
    for parameter in train.params:
        name = parameter.name
        if name is None or name not in checked:
            continue
        value = checked[name]
        try:
            if name == "build_option":
                checked[name] = [(str(key), part) for key, part in value]
            else:
                told = shape_text(tuple(value)) if isinstance(value, list) else value
                checked[name] = parameter.type_cast_value(context, told)
        except (click.BadParameter, TypeError, ValueError, AttributeError):
            raise _damaged(f"settings, {name}", value) from None
    return checked


def trained_source(saved: Saved, train: click.Command) -> str | None:
    """What the data of the last training are called, if the file says it."""
    if saved.splits is not None and saved.splits.all:
        return saved.splits.all[-1].source
    return settings_of(saved, train).get("data")


def history_of(saved: Saved) -> list[dict[str, Any]]:
    """The epochs that a checkpoint remembers; none for other files."""
    history = saved.info.get("history", [])
    if not isinstance(history, list):
        raise _damaged("history", history)
    for entry in history:
        try:
            numbers = [entry[key] for key in ("number", "loss", "seconds")]
            numbers += [value for part in ("metrics", "validation") for value in entry[part].values()]
        except (TypeError, KeyError, AttributeError, IndexError):
            raise _damaged("history", entry) from None
        if not all(isinstance(number, (int, float)) for number in numbers):
            raise _damaged("history", entry)
    return history


def classes_of(saved: Saved) -> tuple[str, ...]:
    """Names of the classes that a network was trained on; none for other files."""
    classes = saved.info.get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise _damaged("classes", classes)
    return tuple(classes)


def preparation_of(saved: Saved) -> Preparation | None:
    """What was done to the data that a network was trained on, and what they are like; None for older files."""
    from simulator.preparation import Preparation

    told = saved.info.get("preparation")
    if told is None:
        return None
    try:
        return Preparation.restored(told)
    except (TypeError, KeyError, ValueError):
        raise _damaged("what was done to the data", told) from None


def silence_of(saved: Saved) -> Silence | None:
    """The channels that responded to no held-out sample when training ended; None for other files."""
    from simulator.lab import Silence

    found = saved.info.get("silence")
    if found is None:
        return None
    try:
        silent = {name: tuple(found["silent"][name]) for name in saved.network.nodes if name in found["silent"]}
        shapes = {name: saved.network.node(name).shape for name in silent}
        numbers = [(number, shapes[name][0]) for name in silent for number in silent[name]]
        whole = all(type(number) is int and 0 <= number < count for number, count in numbers)
        if not (whole and type(found["samples"]) is int and len(silent) == len(found["silent"])):
            raise ValueError
    except (TypeError, KeyError, ValueError):
        raise _damaged("silent channels", found) from None
    return Silence(found["samples"], shapes, silent)


def _damaged(what: str, got: Any) -> Exception:
    from simulator.errors import FileError

    return FileError(f"load: expected {what} as simulator train writes them, got {brief(got)}; the file is damaged")


def splits_of(catalog: Catalog, saved: Saved, train: click.Command) -> Splits | None:
    """What a network was trained on and what was held out; None where that is not known.

    A file of version 0.1.0 does not hold it: it is worked out from the data, if they are still there.
    """
    from simulator.errors import SimulatorError
    from simulator.splits import Splits, split_of_0_1

    if saved.splits is not None:
        return saved.splits
    settings = settings_of(saved, train)
    if not {"data", "held_out", "seed"} <= settings.keys():
        return None
    try:
        data = data_for(catalog, settings["data"], saved.network.input_shape, preparation_of(saved))
    except SimulatorError:
        return None
    split = split_of_0_1(data, settings["data"], settings["held_out"], settings["seed"])
    return Splits((split,), complete=settings.get("net") in catalog.architectures)


def with_classes(data: Dataset, saved: Saved, source: str) -> Dataset:
    """The data with the labels that a network knows: a class has its number by its name, whatever it is in the data.

    A network without names, from Python or untrained, calls its outputs "0", "1", ...; data with other names than
    these keep their own numbers for it.
    """
    import numpy as np

    from simulator.errors import ShapeError

    if data.labels is None:
        return data
    told, network, output = classes_of(saved), saved.network, saved.info.get("output")
    output = output if isinstance(output, str) and output in network.nodes else network.outputs[-1]
    outputs = math.prod(network.node(output).shape)
    own = tuple(data.classes) or tuple(map(str, range(_most_label(data) + 1)))
    names = told
    if not set(own) <= set(told):  # a network may have more outputs than it has names
        names += tuple(str(number) for number in range(len(told), outputs) if str(number) not in told)
    strangers = [name for name in own if name not in names]
    if strangers and not told:
        return data
    if strangers:
        raise ShapeError(
            f"{source}: expected the classes that the network knows ({_some(told)}), got {_some(strangers)}; rename "
            "or leave them out"
        )
    numbers = np.array([names.index(name) for name in own])
    names = names[: max(len(told), int(numbers.max()) + 1)]
    return data if tuple(data.classes) == names else _renamed(data, names, numbers)


def _renamed(data: Dataset, names: Sequence[str], numbers: np.ndarray) -> Dataset:
    test = None if data.test is None else _renamed(data.test, names, numbers)
    return replace(data, targets=numbers[data.targets], classes=names, test=test)  # type: ignore[index]


def _most_label(data: Dataset) -> int:
    parts = (data,) if data.test is None else (data, data.test)
    return max(int(part.labels.max()) for part in parts if part.labels is not None)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
