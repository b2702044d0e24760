"""Files: networks and checkpoints in the safetensors format.

A file holds the arrays and, as JSON in its metadata, names and plain values: which layer of the catalog with which
hyper-parameters stands where. Nothing in a file is ever evaluated, and a file is complete or not there at all.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from simulator.catalog import Catalog
from simulator.declared import options_of
from simulator.errors import FileError, ShapeError, SimulatorError, brief
from simulator.layers import Layer
from simulator.memory import check_memory
from simulator.network import Input, Network
from simulator.patterns import ExplicitPattern, Pattern
from simulator.splits import Splits
from simulator.training import Epoch, generator_at
from simulator.writing import write_atomically

__all__ = ["Saved", "load", "save"]

_FORMAT = "cnn-matrix-simulator"
_VERSION = 1
_OBJECTS = 64  # bytes of memory that a byte of JSON needs at most, as lists of nothing

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False, repr=False)
class Saved:
    """What a file holds.

    Parameters
    ----------
    network : Network
        With its weights and buffers.
    info : dict
        Plain values that were saved with it.
    epoch : Epoch, optional
        Where training can go on, if the file is a checkpoint.
    splits : Splits, optional
        What the network was trained on and what was held out; None if the file does not say.
    """

    network: Network
    info: dict[str, Any] = field(default_factory=dict)
    epoch: Epoch | None = None
    splits: Splits | None = None

    def __repr__(self) -> str:
        epoch = f", after epoch {self.epoch.number}" if self.epoch is not None else ""
        return f"Saved {self.network!r}{epoch}"

    @property
    def untrained(self) -> bool:
        """Whether it is known that no weight was ever trained; of a file that Python code wrote it is not known."""
        return self.info.get("untrained") is True


def save(
    path: str | Path,
    network: Network,
    *,
    catalog: Catalog | None = None,
    info: Mapping[str, Any] | None = None,
    epoch: Epoch | None = None,
    splits: Splits | None = None,
) -> None:
    """Write a network, and with `epoch` a checkpoint, to a safetensors file.

    Parameters
    ----------
    path : str or Path
        Where to; an existing file is replaced.
    network : Network
        With weights; every layer must be in the catalog.
    catalog : Catalog, optional
        Names the layers. Default: a new one of all installed plugins.
    info : dict, optional
        Plain values to keep with it.
    epoch : Epoch, optional
        State of training to go on from; its network should be `network`.
    splits : Splits, optional
        What it was trained on and what was held out: pass on the splits of the file that the network is from, or for
        data of your own ``Splits().on(data, ...)`` of `simulator.splits`.

    Raises
    ------
    FileError
        If the file cannot be written, or a layer is not in the catalog.
    """
    catalog = catalog or Catalog()
    arrays: dict[str, np.ndarray] = {f"param/{name}": array for name, array in network.params.items()}
    arrays.update({f"buffer/{name}": array for name, array in network.buffers.items()})
    content: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "dtype": network.dtype.name,
        "nodes": [_described(node, catalog, arrays) for node in network.nodes.values()],
        "outputs": list(network.outputs),
        "info": _plain(info or {}),
    }
    if epoch is not None:
        state = epoch.optimizer_state
        arrays.update({f"optimizer/{k}": v for k, v in state.items() if isinstance(v, np.ndarray)})
        content["epoch"] = {
            "number": epoch.number,
            "loss": epoch.loss,
            "metrics": _plain(epoch.metrics),
            "validation": _plain(epoch.validation),
            "seconds": epoch.seconds,
            "optimizer": _plain({k: v for k, v in state.items() if not isinstance(v, np.ndarray)}),
            "rng": _plain(epoch.rng_state),
            "curve": _plain(epoch.curve),
        }
    if splits is not None:
        content["splits"], more = splits.plain()
        arrays.update(more)
    text = json.dumps(content)
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}

    def write(temporary: Path) -> None:
        try:
            save_file(whole, temporary, {"simulator": text})
        except SafetensorError as error:
            _, disk, reason = str(error).rpartition("I/O error: ")
            if disk:
                raise OSError(reason) from None
            raise FileError(
                f"save: expected a description that fits into the header of a safetensors file, got {len(text):,} "
                f"bytes ({error}); keep less in info"
            ) from None

    write_atomically(path, write)


def _described(node: Any, catalog: Catalog, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """One node in names and plain values; arrays of an explicit pattern go to `arrays`."""
    if isinstance(node.layer, Input):
        return {"name": node.name, "input": list(node.layer.shape)}
    entry = catalog.layers.named(type(node.layer))
    if entry is None:
        raise FileError(
            f"save: expected layers of the catalog, got {type(node.layer).__name__} in {brief(node.name)}; "
            "register it in a "
            "plugin and give its catalog to save()"
        )
    config: dict[str, Any] = {}
    for f in dataclasses.fields(node.layer):
        value = getattr(node.layer, f.name)
        if isinstance(value, Pattern):
            key = f"pattern/{node.name}/{f.name}"
            arrays.update({f"{key}/{n}": a for n, a in zip(("rows", "cols", "ties"), value.triplets(), strict=True)})
            value = {"pattern": key, "shape": list(value.shape), "n_ties": value.n_ties}
        config[f.name] = _plain(value)
    return {
        "name": node.name,
        "layer": entry.name,
        "plugin": entry.plugin.name,
        "config": config,
        "inputs": list(node.inputs),
        "share": node.share,
    }


def _plain(value: Any) -> Any:
    """Numpy numbers and arrays, tuples and dicts as what JSON knows."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise FileError(
        f"save: expected plain values, got {type(value).__name__}; a layer's fields must be numbers, text or tuples"
    )


def load(path: str | Path, *, catalog: Catalog | None = None) -> Saved:
    """Read a network or a checkpoint.

    Parameters
    ----------
    path : str or Path
        A file that `save` wrote.
    catalog : Catalog, optional
        Finds the layers. Default: a new one of all installed plugins.

    Returns
    -------
    Saved

    Raises
    ------
    FileError
        If there is no such file, it is damaged or of another kind, or needs a plugin that is not there.
    """
    if not Path(path).is_file():
        what = "a folder" if Path(path).is_dir() else "which does not exist"
        raise FileError(f"load: expected a file, got {path}, {what}; check the path")
    catalog = catalog or Catalog()
    content, arrays = _parts(path)
    try:
        return _rebuilt(content, arrays, catalog)
    except FileError as error:
        raise FileError(f"load {path}: {error}") from None
    except (
        SimulatorError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        ArithmeticError,
        RecursionError,
        MemoryError,
    ) as error:
        raise FileError(
            f"load {path}: expected a consistent description, got {brief(error)}; the file is damaged"
        ) from None


def _parts(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The description and the arrays of a file; what they need follows from its size."""
    try:
        _check_memory(Path(path).stat().st_size, "arrays")
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileError as error:
        raise FileError(f"load {path}: {error}") from None
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise FileError(
            f"load: expected a safetensors file, got {path} ({error}); it is damaged or of another kind"
        ) from None
    try:
        text = metadata["simulator"]
        _check_memory(_OBJECTS * len(text), "description")
        content = json.loads(text)
        if content["format"] != _FORMAT:
            raise KeyError("format")
        version = int(content["version"])
    except FileError as error:
        raise FileError(f"load {path}: {error}") from None
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError, MemoryError):
        raise FileError(
            f"load: expected a network saved by the simulator, got another safetensors file, {path}; read it with "
            "safetensors and use network.with_params"
        ) from None
    if version > _VERSION:
        raise FileError(
            f"load: expected a file of version {_VERSION}, got version {version}, {path}; update the simulator"
        )
    return content, arrays


def _check_memory(need: int, what: str) -> None:
    """A `FileError` if a part of a file does not fit into memory."""
    try:
        check_memory(need, f"its {what}", "use a machine with more")
    except ShapeError as error:
        raise FileError(str(error)) from None


def _rebuilt(content: dict[str, Any], arrays: dict[str, np.ndarray], catalog: Catalog) -> Saved:
    first, *others = _of(list, content["nodes"], "nodes")
    dtype = _of(str, content["dtype"], "dtype")
    name, layer, *_ = _node(first, arrays, catalog)
    if not isinstance(layer, Input):
        raise ValueError("the first node is no input")
    network = Network.input(layer.shape, name, dtype=dtype)
    network = network.extended(_node(node, arrays, catalog) for node in others)

    def part(prefix: str) -> dict[str, np.ndarray]:
        return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}

    params, buffers = part("param/"), part("buffer/")
    for key, array in (*params.items(), *buffers.items()):
        if array.dtype != network.dtype:
            raise ValueError(f"{key} in {array.dtype} in a network of {network.dtype}")
    network = network.with_params(params, copy=False).with_buffers(buffers)
    if tuple(content["outputs"]) != network.outputs:
        network = network.subnetwork(content["outputs"])
    epoch = None
    if "epoch" in content:
        saved = _of(dict, content["epoch"], "epoch")
        epoch = Epoch(
            _size(saved["number"], "epoch"),
            network,
            _number(saved["loss"], "loss"),
            _numbers(saved["metrics"], "metrics"),
            _numbers(saved["validation"], "validation"),
            _number(saved["seconds"], "seconds"),
            {**_of(dict, saved["optimizer"], "optimizer"), **part("optimizer/")},
            dict(generator_at(_of(dict, saved["rng"], "rng")).bit_generator.state),
            curve=tuple(map(_losses, _of(list, saved.get("curve", []), "curve"))),  # version 0.1.0 has none
        )
    splits = Splits.restored(content["splits"], arrays) if "splits" in content else None
    return Saved(network, _of(dict, content["info"], "info"), epoch, splits)


def _node(node: Any, arrays: dict[str, np.ndarray], catalog: Catalog) -> tuple[str, Layer, list[str], str | None]:
    """Name, layer, inputs and shared node of what `_described` wrote."""
    name = _of(str, _of(dict, node, "node")["name"], "name")
    if "input" in node:
        shape = [_size(n, "input", least=1) for n in _of(list, node["input"], "input")]
        return name, Input(tuple(shape)), [], None
    kind, plugin = _of(str, node["layer"], "layer"), _of(str, node["plugin"], "plugin")
    wanted = f"layer {brief(kind)} of plugin {brief(plugin)} for {brief(name)}"
    offered = catalog.layers.offered(kind, plugin)
    if offered is None:
        others = catalog.layers.offers.get(kind)
        got = f"that of {brief(others[0].plugin.name)}, another function" if others else "a catalog without it"
        raise FileError(f"expected {wanted}, got {got}; install that plugin, or load its file with -p")
    inputs = [_of(str, source, "inputs") for source in _of(list, node["inputs"], "inputs")]
    share = None if node["share"] is None else _of(str, node["share"], "share")
    config = _of(dict, node["config"], "config")
    return name, _layer(offered.object, config, arrays), inputs, share


def _layer(kind: type[Layer], config: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> Layer:
    options = options_of(kind)
    values: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            values[name] = _pattern(value, arrays)
            continue
        values[name] = options[name].read(_plain_value(value), kind.__name__)
    return kind(**values)


def _pattern(told: dict[str, Any], arrays: dict[str, np.ndarray]) -> ExplicitPattern:
    """An explicit pattern; its arrays are used once, so that a small file cannot make many of them."""
    key = _of(str, told["pattern"], "pattern")
    rows, cols, ties = (arrays.pop(f"{key}/{n}") for n in ("rows", "cols", "ties"))
    n_out, n_in = (_size(n, "shape") for n in _of(list, told["shape"], "shape"))
    _check_memory(3 * 8 * n_out, "pattern")  # it has where each row starts
    return ExplicitPattern(rows, cols, ties, shape=(n_out, n_in), n_ties=_size(told["n_ties"], "n_ties"))


def _of(kind: type[_T], value: Any, what: str) -> _T:
    """A value of exactly this type: in JSON True is not 1."""
    if type(value) is not kind:
        raise TypeError(f"{what} is of type {type(value).__name__}, not {kind.__name__}")
    return value


def _size(value: Any, what: str, least: int = 0) -> int:
    if not least <= _of(int, value, what) < 2**63:
        raise ValueError(f"{what} is {brief(value)}")
    return int(value)


def _number(value: Any, what: str) -> float:
    return float(value if type(value) is int else _of(float, value, what))


def _numbers(value: Any, what: str) -> dict[str, float]:
    return {key: _number(number, what) for key, number in _of(dict, value, what).items()}


def _losses(told: Any) -> tuple[float, float | None]:
    training, validation = _of(list, told, "curve")
    return _number(training, "curve"), None if validation is None else _number(validation, "curve")


def _plain_value(value: Any) -> Any:
    """Lists as tuples, and no number that no array can hold."""
    if isinstance(value, list):
        return tuple(_plain_value(v) for v in value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{brief(value)} is larger than any size of a network")
    return value
