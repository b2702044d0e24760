"""Silence: channels that are 0 whatever the sample, so that a network would be the same without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.data import Dataset
from simulator.errors import ShapeError, counted
from simulator.layers import Elementwise
from simulator.layers.base import Shape
from simulator.network import Network
from simulator.windows import check_size
from simulator.workspace import Workspace

__all__ = ["Silence", "silence"]

_BYTES = 2**26  # of activations at once


@dataclass(frozen=True)
class Silence:
    """Which channels behind the activation functions of a network respond to no sample.

    Parameters
    ----------
    samples : int
        How many it was measured on.
    shapes : dict of str to tuple of int
        Of one sample of each activation function, (channels, *space), by the name of its node. Where there is no space
        a channel is one unit of a dense layer.
    silent : dict of str to tuple of int
        For the same nodes the numbers of the channels that are 0 at every site for every sample.

    Examples
    --------
    >>> shapes = {"relu1": (6, 28, 28), "relu2": (120,)}
    >>> print(Silence(359, shapes, {"relu1": (), "relu2": ()}))
    All 6 channels and 120 dense units respond to at least one of 359 samples.
    >>> print(Silence(359, shapes, {"relu1": (), "relu2": (0, 7)}))
    All 6 channels respond to at least one of 359 samples; 2 of 120 dense units respond to none: relu2[0], relu2[7].
    >>> print(Silence(359, shapes, {"relu1": (2,), "relu2": (7,)}))
    1 of 6 channels and 1 of 120 dense units respond to none of 359 samples: relu1[2], relu2[7].
    """

    samples: int
    shapes: dict[str, Shape]
    silent: dict[str, tuple[int, ...]]

    @property
    def addresses(self) -> list[str]:
        """Of the silent channels, such as "relu1[2]"."""
        return [f"{name}[{number}]" for name, numbers in self.silent.items() for number in numbers]

    def __str__(self) -> str:
        return self.told("sample")

    def told(self, sample: str, rest: str = "", most: int = 3) -> str:
        """What was found, as a sentence.

        Parameters
        ----------
        sample : str
            What each of the samples is, such as "held-out sample".
        rest : str, optional
            What to add behind them, such as " of xo".
        most : int, default 3
            How many silent channels to name.

        Returns
        -------
        str
        """
        heard, unheard = [], []
        for what, dense in (("channels", False), ("dense units", True)):
            names = [name for name, shape in self.shapes.items() if (len(shape) == 1) == dense]
            count, silent = sum(self.shapes[n][0] for n in names), sum(len(self.silent[n]) for n in names)
            if silent:
                unheard.append(f"{silent} of {count} {what}")
            elif count:
                heard.append(f"{count} {what}")
        if not heard and not unheard:
            return "No activation function, so no channel that could be silent."
        of = f" of {counted(self.samples, sample, rest)}"
        parts = [f"All {' and '.join(heard)} respond to at least one{of}"] if heard else []
        if unheard:
            more = len(self.addresses) - most
            named = ", ".join(self.addresses[:most]) + (f" and {more} more" if more > 0 else "")
            parts.append(f"{' and '.join(unheard)} respond to none{'' if heard else of}: {named}")
        return "; ".join(parts) + "."

    def as_dict(self) -> dict[str, Any]:
        """The keys `samples`, `channels` (how many) and `silent`, each of the last two by node, for JSON."""
        return {
            "samples": self.samples,
            "channels": {name: shape[0] for name, shape in self.shapes.items()},
            "silent": {name: list(numbers) for name, numbers in self.silent.items()},
        }


def silence(network: Network, data: Dataset, *, batch_size: int = 256) -> Silence:
    """Find the channels that respond to no sample.

    As a matrix: rows whose product with every sample is cut off to 0 by the activation function behind them, in all
    rows of a channel. Behind a ReLU no gradient of such a sample reaches the channel's weights, so that training does
    not bring it back.

    Parameters
    ----------
    network : Network
        With weights.
    data : Dataset
        To measure on; its targets are not used.
    batch_size : int, default 256
        At most so many samples at a time, fewer where their activations would be large.

    Returns
    -------
    Silence
        Of every layer that is an activation function, an `Elementwise`.

    Raises
    ------
    ShapeError
        If data and network do not fit.

    References
    ----------
    L. Lu, Y. Shin, Y. Su, G. E. Karniadakis, "Dying ReLU and initialization: theory and numerical examples", 2020.

    Examples
    --------
    >>> from simulator.layers import Dense, ReLU
    >>> net = Network.sequential((2,), [Dense(2), ReLU()])
    >>> net = net.with_params({"dense1.weight": np.array([[1.0, 2.0], [-1.0, -2.0]]), "dense1.bias": np.zeros(2)})
    >>> silence(net, Dataset(np.eye(2), np.arange(2))).addresses
    ['relu1[1]']
    """
    check_size(batch_size, "silence batch_size")
    if not isinstance(data, Dataset):
        raise ShapeError(f"silence data: expected a Dataset, got {type(data).__name__}; write Dataset(inputs, targets)")
    shapes = {name: node.shape for name, node in network.nodes.items() if isinstance(node.layer, Elementwise)}
    responds = {name: np.zeros(shape[0], bool) for name, shape in shapes.items()}
    rows = max(1, min(batch_size, _BYTES // max(1, network.activation_bytes(1, keep_all=True))))
    workspace = Workspace(network, shapes)
    for start in range(0, len(data) if shapes else 0, rows):
        trace = workspace.run(network, data.take(slice(start, start + rows)).inputs)
        for name in shapes:
            values = trace[name]  # (batch, channels, *space)
            responds[name] |= values.any(axis=(0, *range(2, values.ndim)))
    silent = {name: tuple(map(int, np.flatnonzero(~found))) for name, found in responds.items()}
    return Silence(len(data), shapes, silent)
