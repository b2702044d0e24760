"""The sample that a command looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.common import data_for, options
from simulator.cli.remembered import settings_of
from simulator.cli.train import train

if TYPE_CHECKING:
    from simulator.catalog import Catalog
    from simulator.data import Dataset
    from simulator.files import Saved


def data_option(what: str) -> Callable[..., Any]:
    """``--data``, which `chosen_data` reads."""
    return click.option("--data", help=f"{what}  [default: what the network was trained on, else digits]")


def sample_options(more: str = "") -> Callable[..., Any]:
    """``--data`` and ``--sample``."""
    number = f"Number of the sample{more}."
    return options(
        data_option("Where the sample comes from."),
        click.option("--sample", type=click.IntRange(0), default=0, show_default=True, help=number),
    )


def chosen_data(catalog: Catalog, saved: Saved, source: str | None) -> tuple[Dataset, str]:
    """The data asked for, and their name: by default what the network was trained on, else digits."""
    source = source or settings_of(saved, train).get("data", "digits")
    return data_for(catalog, source, saved.network.input_shape), source


def sample_for(catalog: Catalog, saved: Saved, source: str | None, number: int) -> Any:
    """One sample (channels, *space) of the data."""
    from simulator.errors import ShapeError

    data, source = chosen_data(catalog, saved, source)
    if number >= len(data):
        raise ShapeError(f"{source}: expected a sample from 0 to {len(data) - 1}, got {number}; choose one of them")
    inputs = data.inputs
    return {name: array[number] for name, array in inputs.items()} if isinstance(inputs, Mapping) else inputs[number]
