"""One sample, run as far as it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from simulator.errors import ShapeError
from simulator.network import Network, Trace

__all__ = ["sample_trace"]


def sample_trace(network: Network, layers: str | Iterable[str], x: Any, who: str) -> Trace:
    """Run one sample as far as some layers.

    Parameters
    ----------
    network : Network
        With weights.
    layers : str or iterable of str
        Names of the nodes whose activations are wanted.
    x : array_like, (channels, *space), or dict of them by input name
        One sample.
    who : str
        Whom the error names.

    Returns
    -------
    Trace
        Of a batch of one, with the activations of these nodes and of all that they need.

    Raises
    ------
    ShapeError
        If the sample does not have the shape of the input.
    UnknownNameError
        If there is no such layer.

    Examples
    --------
    >>> from simulator.layers import ReLU
    >>> net = Network.sequential((3,), [ReLU()], rng=0)
    >>> sample_trace(net, "relu1", [1.0, -2.0, 3.0], "example")["relu1"]
    array([[1., 0., 3.]], dtype=float32)
    """
    part = network.subnetwork(layers)
    samples = x if isinstance(x, Mapping) else dict.fromkeys(part.inputs, x)
    batches = {}
    for name in part.inputs:
        if name in samples:
            shape = part.node(name).shape
            try:
                sample = np.asarray(samples[name])
            except ValueError:
                sample = np.empty(0, object)  # a ragged list has no shape that fits
            if sample.shape != shape:
                raise ShapeError(
                    f"{who}: expected one sample of shape {shape} for {name!r}, got {sample.shape}; take one of a "
                    "batch with x[0]"
                )
            batches[name] = sample[None]
    return part.run(batches)
