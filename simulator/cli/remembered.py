"""What a file remembers of its training, checked before it is used: settings, history, classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from simulator.cli.common import shape_text
from simulator.errors import brief

if TYPE_CHECKING:
    from simulator.data import Dataset
    from simulator.files import Saved


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


def _damaged(what: str, got: Any) -> Exception:
    from simulator.errors import FileError

    return FileError(f"load: expected {what} as simulator train writes them, got {brief(got)}; the file is damaged")


def with_classes(data: Dataset, names: tuple[str, ...], source: str) -> Dataset:
    """The data with the labels that a network was trained on: a class keeps its number by its name, if it has one."""
    import numpy as np

    from simulator.errors import ShapeError

    unnamed = all(name.isdecimal() for name in data.classes)
    if not names or unnamed or tuple(data.classes) == names or data.labels is None:
        return data
    strangers = [name for name in data.classes if name not in names]
    if strangers:
        raise ShapeError(
            f"{source}: expected the classes that the network knows ({', '.join(names)}), got "
            f"{', '.join(strangers)}; rename or leave them out"
        )
    numbers = np.array([names.index(name) for name in data.classes])
    test = None if data.test is None else with_classes(data.test, names, source)
    return type(data)(data.inputs, numbers[data.labels], names, test)
