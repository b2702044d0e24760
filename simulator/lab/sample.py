"""One sample on its way through a network, as far as it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from simulator.errors import ShapeError
from simulator.network import Network, Trace

__all__ = ["run_sample"]


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
        If the sample does not have the shape of the input, or the trace is one of several samples.

    Examples
    --------
    >>> from simulator.layers import Dense
    >>> net = Network.sequential((3,), [Dense(2), Dense(1)], rng=0)
    >>> list(run_sample(net, "dense1", [1, 2, 3], "example").activations)
    ['input', 'dense1']
    """
    if isinstance(x, Trace):
        count = len(next(iter(x.activations.values())))
        if count != 1:
            raise ShapeError(f"{who}: expected a trace of one sample, got {count}; run a batch of one, x[:1]")
        return x
    part = network.subnetwork(nodes)
    samples = x if isinstance(x, Mapping) else dict.fromkeys(part.inputs, x)
    try:
        batches = {name: np.asarray(samples[name])[None] for name in part.inputs if name in samples}
    except ValueError:
        raise ShapeError(f"{who}: expected one sample as an array, got a ragged list; give equal rows") from None
    for name, batch in batches.items():
        shape = part.node(name).shape
        if batch.shape[1:] != shape:
            raise ShapeError(
                f"{who}: expected one sample of shape {shape} for {name!r}, got {batch.shape[1:]}; take one of a batch "
                "with x[0]"
            )
    return part.run(batches)
