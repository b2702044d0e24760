"""What the page of the explorer knows of a network: plain JSON, arrays packed as text.

A matrix layer travels as the rule of its pattern, with its weights; the page makes rows, columns and cells from the
rule. A plugin's layer that is a matrix needs nothing of its own for that. What a layer of another kind does is told by
`operation`; one that it does not know is shown with the activations that Python computed.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np

from simulator.draw.colours import TABLES
from simulator.errors import ShapeError, UnknownNameError, brief, nearest
from simulator.layers import Add, Concatenate, Flatten, LeakyReLU, MaxPool, ReLU, Reshape
from simulator.layers.base import MatrixLayer
from simulator.network import BoundNode, Network
from simulator.nodes import Node
from simulator.patterns import IdentityPattern, Pattern, TransposedPattern, WindowPattern

__all__ = ["LARGEST", "VERSION", "check_page", "opens_at", "payload"]

VERSION = 1
LARGEST = 3_000_000  # connections in all that a page holds
_SMALL = 100_000  # connections of a layer that the page does not compute


def payload(
    network: Network,
    samples: np.ndarray,
    *,
    title: str = "",
    numbers: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Everything that the page shows, as JSON knows it.

    Parameters
    ----------
    network : Network
        With weights, one input and one output.
    samples : array_like, (n, channels, *space)
        At least one.
    title : str, optional
        What the network is called.
    numbers : sequence of int, optional
        The number of each sample in its data. Default: from 0.
    labels : sequence of str, optional
        The class of each sample.
    classes : sequence of str, optional
        Names of the output units.

    Returns
    -------
    dict

    Raises
    ------
    ShapeError
        If the network has several inputs or outputs, or more connections than a page holds, or the title is no text.
    SimulatorError
        If it has no weights.

    Examples
    --------
    >>> from simulator import Conv
    >>> net = Network.sequential((1, 4), [Conv(1, kernel=3)], rng=0)
    >>> told = payload(net, [[[1, 2, 3, 4]]])
    >>> [node["name"] for node in told["nodes"]], told["nodes"][1]["pattern"]["kind"]
    (['input', 'conv1'], 'window')
    """
    check_page(network)
    if not isinstance(title, str):
        raise ShapeError(f"explore title: expected text, got {brief(title)}; write title='lenet5'")
    inside, outside = network.input_name, network.output_name
    x = np.asarray(samples, network.dtype)
    traces = network.run(x)
    nodes = []
    for name, node in network.nodes.items():
        bound = network.node(name)
        told: dict[str, Any] = {
            "name": name,
            "kind": type(node.layer).__name__,
            "told": repr(node.layer),
            "inputs": list(node.inputs),
            "shape": list(node.shape),
        }
        if node.inputs:
            told |= operation(node.layer, bound)
            pattern = _read(node)
            if told["does"] == "shown":
                told["values"] = packed(traces[name].reshape(len(x), -1))
                support = node.support[0] if pattern is None and len(node.inputs) == 1 else None
                if support is not None and support.nnz <= _SMALL:
                    pattern = support  # how it connects, if not what it computes
            if pattern is not None:
                told["pattern"] = rule(pattern)
        nodes.append(told)
    return {
        "version": VERSION,
        "title": title,
        "input": inside,
        "output": outside,
        "nodes": nodes,
        "palettes": [[f"#{colour}" for colour in table.split()] for _, table in TABLES],
        "samples": packed(x),
        "numbers": list(map(int, range(len(x)) if numbers is None else numbers)),
        "labels": None if labels is None else list(map(str, labels)),
        "classes": None if classes is None else list(map(str, classes)),
        "logits": packed(traces[outside].reshape(len(x), -1)),
    }


def check_page(network: Network) -> None:
    """A `ShapeError` if a network has more than one input or output, or more connections than a page holds.

    Parameters
    ----------
    network : Network
        With or without weights.

    Examples
    --------
    >>> from simulator import Conv
    >>> check_page(Network.sequential((1, 8, 8), [Conv(2, kernel=3)]))
    """
    _ = network.input_name, network.output_name
    sizes = {name: pattern.nnz for name, node in network.nodes.items() if (pattern := _read(node)) is not None}
    if sum(sizes.values()) > LARGEST:
        most = max(sizes, key=lambda name: sizes[name])
        raise ShapeError(
            f"explore: expected at most {LARGEST:,} connections in all, got {sum(sizes.values()):,}, most of them in "
            f"{most}; build the network for smaller inputs (--input), or narrower (-o width=0.25)"
        )


def opens_at(told: dict[str, Any], layer: str | None = None) -> str:
    """The layer that the page of a payload opens with: the one that is asked for, or the first that has weights.

    Parameters
    ----------
    told : dict
        What `payload` gave.
    layer : str, optional
        Its name.

    Raises
    ------
    UnknownNameError
        If there is no such layer.
    ShapeError
        If it, or the whole network, has no matrix to show.

    Examples
    --------
    >>> from simulator import Conv
    >>> net = Network.sequential((1, 4), [Conv(1, kernel=3)], rng=0)
    >>> opens_at(payload(net, [[[1, 2, 3, 4]]]))
    'conv1'
    """
    kinds = {node["name"]: node["kind"] for node in told["nodes"]}
    shown = [node for node in told["nodes"] if node["inputs"] and node["does"] in ("matrix", "max")]
    names = [node["name"] for node in shown]
    if not names:
        raise ShapeError(
            f"explore: expected a network with a layer that is a matrix, got one of {', '.join(sorted(kinds.values()))}"
            "; add a layer such as Conv or Dense"
        )
    if layer is None:
        return next((node["name"] for node in shown if node.get("trained")), names[0])
    if layer not in kinds:
        raise UnknownNameError(f"explore: expected a layer, got {brief(layer)}; {nearest(layer, names)}")
    if layer not in names:
        raise ShapeError(
            f"explore: expected a layer that is a matrix, got {layer}, a {kinds[layer]}; {nearest(layer, names)}"
        )
    return layer


def _read(node: Node) -> Pattern | None:
    """How a node reads its first input: as a matrix, or as a maximum chooses."""
    return node.support[0] if node.inputs and isinstance(node.layer, MatrixLayer | MaxPool) else None


@singledispatch
def operation(layer: Any, bound: BoundNode) -> dict[str, Any]:
    """What the page has to know to compute a layer; by default it shows what Python computed."""
    return {"does": "shown"}


@operation.register
def _(layer: MatrixLayer, bound: BoundNode) -> dict[str, Any]:
    told: dict[str, Any] = {
        "does": "matrix",
        "trained": layer.trained,
        "owner": bound.owner,
        "weight": packed(bound.matrix.weight.reshape(-1)),
        "weight_shape": list(bound.matrix.weight.shape),
    }
    if "bias" in bound.params:
        told["bias"] = packed(bound.params["bias"].reshape(-1))
    if bound.node.padding is not None:  # what a pad value adds stays as it is
        told["does"] = "shown"
    return told


@operation.register
def _(layer: ReLU, bound: BoundNode) -> dict[str, Any]:
    return {"does": "relu", "slope": 0.0}


@operation.register
def _(layer: LeakyReLU, bound: BoundNode) -> dict[str, Any]:
    return {"does": "relu", "slope": float(layer.slope)}


@operation.register
def _(layer: MaxPool, bound: BoundNode) -> dict[str, Any]:
    return {"does": "max"}


@operation.register(Add)
@operation.register(Flatten)
@operation.register(Reshape)
def _(layer: Any, bound: BoundNode) -> dict[str, Any]:
    return {"does": "add"}  # of one input: the same numbers


@operation.register
def _(layer: Concatenate, bound: BoundNode) -> dict[str, Any]:
    return {"does": "join"}


@singledispatch
def rule(pattern: Pattern) -> dict[str, Any]:
    """A pattern as the page makes rows and columns of it; by default all of its connections."""
    rows, cols, ties = pattern.triplets()
    return {
        "kind": "list",
        "shape": list(pattern.shape),
        "ties": pattern.n_ties,
        "rows": packed(rows),
        "cols": packed(cols),
        "tie": packed(ties),
    }


@rule.register
def _(pattern: IdentityPattern) -> dict[str, Any]:
    return {"kind": "identity", "shape": list(pattern.shape), "ties": pattern.n_ties}


@rule.register
def _(pattern: TransposedPattern) -> dict[str, Any]:
    return {"kind": "transposed", "shape": list(pattern.shape), "ties": pattern.n_ties, "of": rule(pattern.base)}


@rule.register
def _(pattern: WindowPattern) -> dict[str, Any]:
    told = {
        "kind": "window",
        "shape": list(pattern.shape),
        "ties": pattern.n_ties,
        "strides": list(pattern.tie_strides),
        "outs": pattern.channels.out_starts.tolist(),
        "ins": pattern.channels.in_starts.tolist(),
        "inputs": packed(pattern.channels.inputs),
        "in_sites": pattern.in_sites,
    }
    if pattern.origin is not None:
        window, space = pattern.origin
        told["space"] = list(space)
        told["axes"] = [{"taps": table.shape[1], "sites": packed(table)} for table in window.axis_sites(space)]
    else:
        told["taps"], told["sites"] = pattern.sites.shape[1], packed(pattern.sites)
    return told


def packed(array: Any) -> dict[str, Any]:
    """An array as text: little-endian numbers, deflated, base64."""
    array = np.asarray(array)
    kind = "f8" if array.dtype == np.float64 else "f4" if array.dtype.kind == "f" else "i4"
    data = np.ascontiguousarray(array, f"<{kind}").tobytes()
    return {"kind": kind, "shape": list(array.shape), "data": base64.b64encode(zlib.compress(data, 9)).decode()}
