"""How strongly every unit of an earlier node influences one unit, for one sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.lab.sample import run_sample
from simulator.network import Network
from simulator.units import Units

__all__ = ["influence"]


def influence(network: Network, unit: Any, x: Any, of: str | None = None) -> np.ndarray:
    """The derivative of one unit with respect to every unit of an earlier node, for one sample.

    As a matrix: one row of the Jacobian, the product of all matrices between them as this sample chooses them.

    Parameters
    ----------
    network : Network
        With weights.
    unit : str, Units, or (name, number or position)
        A single unit, such as "conv2[3, 4, 5]".
    x : array_like, (channels, *space), or dict of them by input name, or Trace
        One sample, or what `Network.run` made of it.
    of : str, optional
        The earlier node. Default: the only input.

    Returns
    -------
    numpy.ndarray, (channels, *space)
        0 outside of the receptive field. Its absolute value is the map of how much each unit matters.

    Raises
    ------
    ShapeError
        If there is no such unit, or the sample does not fit.
    UnknownNameError
        If there is no such node.

    References
    ----------
    W. Luo, Y. Li, R. Urtasun and R. Zemel, "Understanding the effective receptive field in deep convolutional neural
    networks", 2016.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 5), [Conv(1, kernel=2)], rng=0)
    >>> net = net.with_params({"conv1.weight": [[[3.0, -1.0]]]})
    >>> influence(net, "conv1[0, 1]", np.ones((1, 5)))
    array([[ 0.,  3., -1.,  0.,  0.]], dtype=float32)
    """
    target = Units.of(network.nodes, unit)
    number, of = target.number, network.node(network.input_name if of is None else of).name
    trace = run_sample(network, target.node, x, f"influence {target}")
    dy = np.zeros((1, *target.shape), network.dtype)
    dy.reshape(-1)[number] = 1
    found = trace.backward({target.node: dy}).activations.get(of)
    return np.zeros(network.nodes[of].shape, network.dtype) if found is None else np.array(found[0])
