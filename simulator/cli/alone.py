"""A layer by itself where a network is asked for: "conv(1, kernel=3)" with --input 1x8."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulator.errors import brief

if TYPE_CHECKING:
    from simulator.catalog import Catalog
    from simulator.data import Dataset
    from simulator.files import Saved

_LAYER = re.compile(r"\s*(?P<name>[a-zA-Z][\w-]*)\s*(?P<arguments>\([^)]*|\(.*\))\s*", re.DOTALL)  # or not closed
_SAMPLES = 10
COUNTING = "counting"  # what the samples of a layer by itself are called


def is_layer(net: str) -> bool:
    """Whether NET is written as a layer, a name with its arguments in parentheses, and is no file."""
    return _LAYER.fullmatch(net) is not None and not Path(net).is_file()


def stem(net: str) -> str:
    """What files about NET are called: the layer's name, or that of an architecture or file without its ending."""
    found = _LAYER.fullmatch(net)
    return found["name"] if found else Path(net).stem


def layer_network(catalog: Catalog, net: str, shape: tuple[int, ...] | None, given: Any, **options: Any) -> Saved:
    """The network of this one layer.

    Raises
    ------
    click.UsageError
        If there is no input shape, or something is given that no single layer takes.
    """
    from simulator.files import Saved
    from simulator.network import Network
    from simulator.splits import Splits

    found = _LAYER.fullmatch(net)
    assert found is not None
    if given:
        raise click.UsageError(
            f"{net}: expected the options of a layer in its parentheses, got -o or --classes; leave them out"
        )
    if shape is None:
        raise click.UsageError(f"{net}: expected --input for a layer by itself, got none; add for example --input 1x8")
    try:
        arguments, named = _read(f"layer{found['arguments']}")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise click.UsageError(
            f"expected a layer with plain arguments, such as 'conv(1, kernel=3, padding=\"same\")', got {brief(net)}"
        ) from None
    layer = catalog.make(found["name"], *arguments, **named)
    network = Network.sequential(shape, [layer], **options)
    return Saved(network, {"layer": net, "untrained": bool(network.param_shapes)}, splits=Splits())


def _read(text: str) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of one call, plain values, each by its name at most once; else a `ValueError` or `SyntaxError`."""
    call = ast.parse(text, mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError("no call of a name")
    named = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    if len(named) < len(call.keywords):
        raise ValueError("one name twice")
    return [ast.literal_eval(each) for each in call.args], named


def counting_data(saved: Saved) -> Dataset:
    """Samples for a layer by itself: the numbers of sample k count from k + 1."""
    import numpy as np

    from simulator.data import Dataset

    shape = saved.network.input_shape
    inputs = np.arange(1.0, _SAMPLES + 1)[:, None] + np.arange(math.prod(shape))
    return Dataset(inputs.reshape(-1, *shape), np.zeros(_SAMPLES, np.int64))
