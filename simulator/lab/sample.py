"""One sample on its way through a network, as far as it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from simulator.arrays import real_array
from simulator.errors import ShapeError, brief
from simulator.finite import check_finite
from simulator.network import Network, Trace

__all__ = ["read_sample", "run_sample"]


def run_sample(network: Network, nodes: str | Iterable[str], x: Any, who: str) -> Trace:
    """Run one sample as far as some nodes.

    Parameters
    ----------
    network : Network
        With weights.
    nodes : str or iterable of str
        Names of the nodes whose activations are needed; no others are computed than those that they need.
    x : array_like, (channels, *space), or dict of them by input name, or Trace
        One sample. Inputs that these nodes do not need may be left out. A trace of it is taken as it is.
    who : str
        Whom the error names.

    Returns
    -------
    Trace
        Of a batch of one.

    Raises
    ------
    ShapeError
        If the sample does not have the shape of the input, or the trace is one of several samples or of another
        network.
    SimulatorError
        If an activation is not finite.

    Examples
    --------
    >>> from simulator.layers import Dense
    >>> net = Network.sequential((3,), [Dense(2), Dense(1)], rng=0)
    >>> list(run_sample(net, "dense1", [1, 2, 3], "example").activations)
    ['input', 'dense1']
    """
    part = network.subnetwork(nodes)
    if isinstance(x, Trace):
        found = x.activations
        count = len(next(iter(found.values())))
        if count != 1:
            raise ShapeError(f"{who}: expected a trace of one sample, got {count}; run a batch of one, x[:1]")
        for name, node in part.nodes.items():
            got = found[name].shape[1:] if name in found else None
            if got != node.shape:
                raise ShapeError(
                    f"{who}: expected a trace with {name} of shape {node.shape}, got {got or 'none of it'}; give one "
                    "that this network's run made"
                )
        return x
    batches = {name: sample[None] for name, sample in read_sample(x, part.inputs, who).items()}
    for name, batch in batches.items():
        shape = part.node(name).shape
        if batch.shape[1:] != shape:
            raise ShapeError(
                f"{who}: expected one sample of shape {shape} for {brief(name)}, got {batch.shape[1:]}; take "
                "one of a batch "
                "with x[0]"
            )
        if not np.isfinite(batch).all():  # of which no weights and no learning rate are the cause
            raise ShapeError(f"{who}: expected finite numbers, got NaN or infinity in {name}; correct the inputs")
    trace = part.run(batches)
    check_finite(trace.activations, who)
    return trace


def read_sample(x: Any, inputs: Iterable[str], who: str) -> dict[str, np.ndarray]:
    """One sample as arrays by input name.

    Parameters
    ----------
    x : array_like, or dict of them by input name
        One sample. An array stands for each input; what is left out of a dict is left out.
    inputs : iterable of str
        Names of the inputs.
    who : str
        Whom the error names.

    Returns
    -------
    dict of numpy.ndarray

    Raises
    ------
    ShapeError
        If it is a ragged list.

    Examples
    --------
    >>> read_sample([1, 2], ["input"], "example")
    {'input': array([1, 2])}
    """
    given = x if isinstance(x, Mapping) else dict.fromkeys(inputs, x)
    return {name: real_array(who, given[name]) for name in inputs if name in given}
