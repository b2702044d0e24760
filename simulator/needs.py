"""How much memory a run of a network takes, estimated from shapes before any of it is touched.

Added up are the activations, what layers keep for the way back, gradients, and what the engine says it takes
(`Engine`): CSR matrices, gathered windows, copies. What Python, libraries and threads take themselves is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from simulator.engine import Need, need_of, whole_bytes
from simulator.errors import blamed, brief
from simulator.execution import Plan, Step
from simulator.layers.base import FunctionLayer
from simulator.nodes import Node

__all__ = ["Estimate", "estimated"]


@dataclass(frozen=True)
class Estimate:
    """Bytes that a run takes, without the weights.

    Parameters
    ----------
    lasting : int
        What the engine keeps for the next run, too, such as CSR matrices.
    most : int
        Activations and all else that is in memory at once, at the most.
    pooled : int
        Of these, what is kept in a pool when the run is over.
    """

    lasting: int
    most: int
    pooled: int


def estimated(
    plan: Plan,
    nodes: Mapping[str, Node],
    outputs: Collection[str],
    batch: int,
    dtype: np.dtype,
    *,
    keep_all: bool,
    backward: bool,
) -> Estimate:
    """What a plan takes.

    Parameters
    ----------
    plan : Plan
        The steps of the network.
    nodes : mapping of Node by name
        Of the network.
    outputs : collection of str
        Nodes whose activations are kept in any case.
    batch : int
        Samples.
    dtype : numpy.dtype
        Of all numbers.
    keep_all : bool
        Whether every activation and gradient is kept, as `Network.run` does.
    backward : bool
        Whether gradients go back; if not all is kept, what a step has used is freed.

    Returns
    -------
    Estimate
    """
    size = {node.name: math.prod(node.shape) * batch * dtype.itemsize for node in nodes.values()}
    needs = {step.name: _need(step, size, batch, dtype, backward) for step in plan}
    given = sum(size[node.name] for node in nodes.values() if not node.inputs)
    now = most = given * (2 if backward and not keep_all else 1)  # training takes its batch out of the data
    for step in plan:
        now += size[step.name]
        most = max(most, now + needs[step.name].passing)
        if keep_all or backward:
            now += needs[step.name].back
        else:
            now -= sum(size[i] for i in {*step.inputs}.difference(outputs) if plan.last_reader[i] == step.name)
    if backward:
        pending, grads = {name: size[name] for name in outputs}, 0
        for step in reversed(plan):
            arrived = pending[step.name] if keep_all else pending.pop(step.name, 0)
            pending.update((source, size[source]) for source in step.inputs if keep_all or nodes[source].inputs)
            grads += sum(math.prod(s) for n in step.nodes for s in n.param_shapes.values()) * dtype.itemsize
            gone, need = 0 if keep_all else arrived, needs[step.name]
            most = max(most, now + gone + sum(pending.values()) + grads + need.passing)
            now -= 0 if keep_all or need.pooled else size[step.name] + need.back
    pooled = sum(size[name] + need.back for name, need in needs.items() if need.pooled)
    return Estimate(sum(need.lasting for need in needs.values()), most, pooled)


def _need(step: Step, size: Mapping[str, int], batch: int, dtype: np.dtype, backward: bool) -> Need:
    """What a step takes besides its output."""
    first = step.nodes[0]
    largest = max(size[name] for node in step.nodes for name in (node.name, *node.inputs))
    if isinstance(step.by, FunctionLayer):
        read = sum(size[name] for name in first.inputs)
        with blamed(f"layer {brief(step.by)}", "keeps to be a number of at least 0"):
            return Need(0, whole_bytes(step.by.keeps * max(read, size[first.name])), largest)
    need = need_of(step.by, step.nodes, batch, dtype, backward)
    return Need(0, sum(size[node.name] for node in step.nodes[:-1]), largest) if need is None else need
