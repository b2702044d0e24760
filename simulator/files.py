"""Files: networks and checkpoints in the safetensors format.

A file holds the arrays and, as JSON in its metadata, names and plain values: which layer of the catalog with which
hyper-parameters stands where. Nothing in a file is ever evaluated, and a file is complete or not there at all.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from simulator.catalog import Catalog
from simulator.errors import FileError, SimulatorError, brief
from simulator.layers import Layer
from simulator.network import Input, Network
from simulator.patterns import ExplicitPattern, Pattern
from simulator.training import Epoch, generator_at
from simulator.writing import write_atomically

__all__ = ["Saved", "load", "save"]

_FORMAT = "cnn-matrix-simulator"
_VERSION = 1
_LARGEST = 10**7  # no size in a network that fits this machine is larger; a hostile file's may be


@dataclass(frozen=True, eq=False)
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
    """

    network: Network
    info: dict[str, Any] = field(default_factory=dict)
    epoch: Epoch | None = None


def save(
    path: str | Path,
    network: Network,
    *,
    catalog: Catalog | None = None,
    info: Mapping[str, Any] | None = None,
    epoch: Epoch | None = None,
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
        }
    text = json.dumps(content)
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}

    def write(temporary: Path) -> None:
        try:
            save_file(whole, temporary, {"simulator": text})
        except SafetensorError as error:  # of the disk
            raise OSError(str(error).rsplit("I/O error: ", 1)[-1]) from None
        try:
            with safe_open(temporary, framework="np"):
                pass
        except SafetensorError as error:
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
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise FileError(
            f"load: expected a safetensors file, got {path} ({error}); it is damaged or of another kind"
        ) from None
    try:
        content = json.loads(metadata["simulator"])
        if content["format"] != _FORMAT:
            raise KeyError("format")
        version = int(content["version"])
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError):
        raise FileError(
            f"load: expected a network saved by the simulator, got another safetensors file, {path}; read it with "
            "safetensors and use network.with_params"
        ) from None
    if version > _VERSION:
        raise FileError(
            f"load: expected a file of version {_VERSION}, got version {version}, {path}; update the simulator"
        )
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


def _rebuilt(content: dict[str, Any], arrays: dict[str, np.ndarray], catalog: Catalog) -> Saved:
    network: Network | None = None
    for node in content["nodes"]:
        if "input" in node:
            shape = _checked(node["input"])
            _checked(math.prod(shape))
            if network is None:
                network = Network.input(shape, node["name"], dtype=content["dtype"])
            else:
                network = network.add_input(shape, node["name"])
            continue
        if network is None:
            raise ValueError("the first node is no input")
        if node["layer"] not in catalog.layers:
            raise FileError(
                f"expected layer {brief(node['layer'])} of plugin {brief(node['plugin'])} for "
                f"{brief(node['name'])}, got a catalog "
                "without it; install that plugin or load it with -p"
            )
        offered = catalog.layers.entry(node["layer"]).plugin.name
        if offered != node["plugin"]:
            wish = f"layers.{node['layer']}={node['plugin']}"
            raise FileError(
                f"expected layer {brief(node['layer'])} of plugin {brief(node['plugin'])} for "
                f"{brief(node['name'])}, got that of "
                f"{brief(offered)}, another function; load that plugin with -p and choose it with --prefer {wish}"
            )
        layer = _layer(catalog.layers[node["layer"]], node["config"], arrays)
        network = network.add(layer, *node["inputs"], name=node["name"], share=node["share"])
    if network is None:
        raise ValueError("no nodes")

    def part(prefix: str) -> dict[str, np.ndarray]:
        return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}

    network = network.with_params(part("param/")).with_buffers(part("buffer/"))
    if tuple(content["outputs"]) != network.outputs:
        network = network.subnetwork(content["outputs"])
    epoch = None
    if "epoch" in content:
        saved = content["epoch"]
        rng = generator_at(saved["rng"]).bit_generator.state
        state = {**saved["optimizer"], **part("optimizer/")}
        epoch = Epoch(
            int(saved["number"]),
            network,
            float(saved["loss"]),
            dict(saved["metrics"]),
            dict(saved["validation"]),
            float(saved["seconds"]),
            state,
            dict(rng),
        )
    return Saved(network, dict(content["info"]), epoch)


def _layer(kind: type[Layer], config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Layer:
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            key = value["pattern"]
            triplets = (arrays[f"{key}/{n}"] for n in ("rows", "cols", "ties"))
            values[name] = ExplicitPattern(*triplets, shape=_checked(value["shape"]), n_ties=_checked(value["n_ties"]))
            continue
        if isinstance(fields[name].default, float) and not isinstance(value, (int, float)):
            raise ValueError(f"{name}={brief(value)} is no number")
        values[name] = _checked(value)
    return kind(**values)


def _checked(value: Any) -> Any:
    """Lists as tuples, and no size that would fill the memory."""
    if isinstance(value, list):
        return tuple(_checked(v) for v in value)
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError(f"{value} is larger than any size of a network")
    return value
