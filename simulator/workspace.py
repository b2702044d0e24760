"""Workspaces: a network run again and again in the same memory, with the fastest kernels that its engine has.

`Network.run` keeps every activation for whoever wants to look at it. Training and prediction want only outputs and
gradients; a workspace lets the engine compute several nodes at once, frees what is no longer needed, and uses the
memory of one step for the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from simulator.errors import ShapeError, brief
from simulator.execution import Plan, fused
from simulator.network import Given, Network, Rng
from simulator.nodes import Node
from simulator.pool import Pool
from simulator.trace import Trace

__all__ = ["Workspace"]


class Workspace:
    """Runs networks of one graph with little memory.

    Parameters
    ----------
    network : Network
        Whose graph and engine; its weights may be others at every run.
    keep : iterable of str, optional
        Nodes whose activations are wanted. Default: the outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from simulator.layers import Dense, ReLU
    >>> net = Network.sequential((4,), [Dense(3), ReLU()], rng=0)
    >>> trace = Workspace(net).run(net, np.ones((2, 4)), backward=True)
    >>> list(trace.activations)
    ['relu1']
    >>> trace.backward(np.ones((2, 3)), params_only=True).params["dense1.bias"].shape
    (3,)
    """

    def __init__(self, network: Network, keep: Iterable[str] | None = None) -> None:
        self._keep = network.outputs if keep is None else tuple(keep)
        for name in self._keep:
            network.node(name)
        self._nodes = network.nodes
        self._plans: dict[tuple[int, frozenset[str]], Plan] = {}  # by size of the batch and nodes not to hide
        self._pool = Pool()

    def __repr__(self) -> str:
        return f"Workspace that keeps {', '.join(self._keep)}"

    def run(
        self,
        network: Network,
        x: Any,
        *,
        training: bool = False,
        rng: Rng = None,
        backward: bool = False,
        clamp: Given | None = None,
        ablate: Any = (),
        patch: Given | None = None,
    ) -> Trace:
        """Run a batch.

        Parameters
        ----------
        network : Network
            Of the same layers as the workspace's; the engine is the one that the workspace was made with.
        x : array_like, (batch, channels, *space), or dict of them by input name
            The samples.
        training : bool, default False
            Whether layers behave as in training.
        rng : numpy.random.Generator or int, optional
            For layers that draw at random.
        backward : bool, default False
            Whether `Trace.backward` will be called, once.
        clamp, ablate, patch
            Units that are given other values; as for `Network.run`.

        Returns
        -------
        Trace
            With the activations of the nodes to keep.

        Raises
        ------
        ShapeError
            If the network has other layers, or the samples or other values do not fit.
        UnknownNameError
            If there is no such node.
        """
        if network.nodes != self._nodes and _layers(network.nodes) != _layers(self._nodes):
            raise ShapeError(
                f"workspace: expected a network with the layers that it was made for, got {brief(network)}; make a "
                "workspace for this one"
            )
        entered, batch = network._entered(x, self._pool.empty)
        given = network._interventions(batch, clamp, ablate, patch)
        key = batch, frozenset(given.nodes)
        if key not in self._plans:
            network.check_batch(batch, backward=backward)
            self._plans[key] = fused(network.nodes, network.engine, {*self._keep, *given.nodes}, batch)
        return network._traced(
            self._plans[key],
            entered,
            self._keep,
            given,
            training=training,
            rng=rng,
            backward=backward,
            empty=self._pool.empty,
        )


def _layers(nodes: Mapping[str, Node]) -> list[Any]:
    """What two networks with the same steps have in common."""
    return [(n.name, n.layer, n.inputs, n.input_shapes, n.share) for n in nodes.values()]
