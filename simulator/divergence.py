"""Training that is no longer finite: who made the first number that is not, and what to do about it.

Only looked for once it has happened: the step is run again, node by node.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from simulator.errors import brief
from simulator.network import Network
from simulator.optimizers import Clipped, Grouped

__all__ = ["blame_backward", "blame_forward", "blame_step", "still_finite"]

_GROWN = 1e6  # numbers beyond come of steps that were too long, not of a formula for ordinary numbers
_SMALL = 1e-6  # as a learning rate
_SLOWER = "use a smaller learning rate"


def still_finite(arrays: Iterable[np.ndarray]) -> bool:
    """Whether all numbers are finite; one pass over each, for it is asked at every step."""
    for array in arrays:
        flat = array.reshape(-1)
        if not math.isfinite(float(np.dot(flat, flat))) and not np.isfinite(array).all():
            return False
    return True


def blame_forward(network: Network, raw: Any, inputs: Any, losses: Mapping[str, Any]) -> str:
    """The cause of a loss that is not finite, and the cure, as the end of a message.

    Parameters
    ----------
    network : Network
        Before the step.
    raw, inputs : numpy.ndarray or dict of them
        The batch, before and after augmentation.
    losses : dict of Loss by output name
        What is minimised.

    Returns
    -------
    str
    """
    for what, given, cure in (
        (
            "the data hold",
            raw,
            "remove these samples, or replace the numbers, for example with "
            "numpy.nan_to_num(array, posinf=0, neginf=0)",
        ),
        ("the augmentation gave", inputs, "correct the augmentation"),
    ):
        if not still_finite(np.asarray(a, float) for a in (given.values() if isinstance(given, Mapping) else [given])):
            return f": {what} NaN or infinity; {cure}"
    for name, array in network.params.items():
        if not still_finite([array]):
            return f": {name} held NaN or infinity before this step; begin with finite weights"
    with np.errstate(all="ignore"):
        trace = network.run(inputs, training=True, rng=0)
    for name, node in network.nodes.items():
        if not still_finite([trace[name]]):
            before = [*(trace[source] for source in node.inputs), *_params_of(network, name).values()]
            return _ending(f"layer {name} ({brief(node.layer)})", before)
    told = " and ".join(f"loss {brief(loss)}" for loss in losses.values())
    return _ending(told, [trace[name] for name in losses])


def blame_backward(network: Network, inputs: Any, given: Mapping[str, np.ndarray], losses: Mapping[str, Any]) -> str:
    """The cause of a gradient that is not finite; `given` are the gradients of the losses by output."""
    with np.errstate(all="ignore"):
        trace = network.run(inputs, training=True, rng=0)
        found = trace.backward(dict(given))
    for name, gradient in given.items():
        if not still_finite([gradient]):
            return _ending(f"the gradient of loss {brief(losses[name])}", [trace[name]])
    for name in reversed(list(network.nodes)):
        node, arriving = network.nodes[name], found.activations.get(name)
        if arriving is None or not still_finite([arriving]):
            continue
        leaving = [found.activations[source] for source in node.inputs if source in found.activations]
        leaving += [found.params[p] for p in _params_of(network, name) if p in found.params]
        if not still_finite(leaving):
            before = [arriving, *(trace[source] for source in node.inputs), *_params_of(network, name).values()]
            return _ending(f"the gradient of layer {name} ({brief(node.layer)})", before)
    return f"; {_SLOWER}"


def blame_step(
    optimizer: Any, params: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray], state: dict[str, Any]
) -> str:
    """The cause of weights that are not finite after a step from finite ones along finite gradients.

    The step is taken again with a small learning rate: if that helps, the rate was too large.
    """
    slower = _slower(optimizer)
    if slower is not None:
        with suppress(Exception), np.errstate(all="ignore"):
            if still_finite(slower.step(params, gradients, state)[0].values()):
                return f"; {_SLOWER}"
    return _ending(f"optimizer {brief(optimizer)}", [*params.values(), *gradients.values()])


def _slower(optimizer: Any) -> Any:
    """The same optimizer with a small learning rate; None where it cannot be told apart."""
    with suppress(Exception):
        if isinstance(optimizer, Clipped):
            return dataclasses.replace(optimizer, optimizer=_slower(optimizer.optimizer))
        if isinstance(optimizer, Grouped):
            return Grouped([(pattern, _slower(each)) for pattern, each in optimizer.groups])
        return dataclasses.replace(optimizer, lr=_SMALL)
    return None


def _params_of(network: Network, node: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in network.params.items() if name.rpartition(".")[0] == node}


def _ending(who: str, before: Iterable[np.ndarray]) -> str:
    largest = max((float(np.max(np.abs(array))) for array in before if array.size), default=0.0)
    if largest > _GROWN:
        return f" in {who}, where numbers had grown to {largest:.3g}; {_SLOWER}"
    return (
        f": {who} made it of finite numbers up to {largest:.3g}; correct its code, 'simulator check-plugin' says what "
        "is wrong"
    )
