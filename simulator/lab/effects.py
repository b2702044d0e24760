"""Effects: what an intervention on some units changes in all the others, and in the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from simulator.errors import ShapeError, blamed, brief
from simulator.finite import check_finite
from simulator.lab.sample import read_sample
from simulator.losses import CrossEntropy, Loss
from simulator.network import Network, Trace

__all__ = ["Change", "Effect", "effect"]


@dataclass(frozen=True, eq=False, repr=False)
class Change:
    """What changed in one node.

    Parameters
    ----------
    node : str
        Its name.
    before, after : numpy.ndarray, (channels, *space)
        Its activation without and with the intervention.
    """

    node: str
    before: np.ndarray
    after: np.ndarray

    @cached_property
    def difference(self) -> np.ndarray:
        """After minus before, (channels, *space)."""
        return self.after - self.before

    @cached_property
    def largest(self) -> float:
        """The largest magnitude of a difference."""
        return float(np.abs(self.difference).max())

    @cached_property
    def changed(self) -> int:
        """How many units changed."""
        return int(np.count_nonzero(self.difference))

    @cached_property
    def relative(self) -> float:
        """Norm of the difference over the norm of the activation before; infinite where that was zero."""
        norm, size = float(np.linalg.norm(self.difference)), float(np.linalg.norm(self.before))
        return norm / size if size else np.inf if norm else 0.0

    def __repr__(self) -> str:
        return (
            f"Change of {self.node}: {self.changed} of {self.before.size} units, by up to {self.largest:.4g}, "
            f"{self.relative:.1%} of its norm"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Effect:
    """What an intervention changes.

    Parameters
    ----------
    changes : dict of Change by node name
        Of every node, inputs and outputs too, in the order of the network.
    before, after : Trace
        The runs without and with the intervention, of a batch of one.
    loss_before, loss_after : float, optional
        Of the output, where a target was given.
    """

    changes: dict[str, Change]
    before: Trace
    after: Trace
    loss_before: float | None = None
    loss_after: float | None = None

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the nodes in which something changed."""
        return tuple(name for name, change in self.changes.items() if change.changed)

    def __repr__(self) -> str:
        units = sum(change.changed for change in self.changes.values())
        last = list(self.changes.values())[-1]
        loss = "" if self.loss_before is None else f"; loss {self.loss_before:.4g} -> {self.loss_after:.4g}"
        return (
            f"Effect on {units} units in {len(self.changed)} of {len(self.changes)} nodes; {last.node} by up to "
            f"{last.largest:.4g}{loss}"
        )


def effect(
    network: Network,
    x: Any,
    *,
    clamp: Mapping[Any, Any] | None = None,
    ablate: Any = (),
    patch: Mapping[Any, Any] | None = None,
    target: Any = None,
    loss: Loss | None = None,
) -> Effect:
    """Give some units other values, and see what it changes in all the others.

    As a matrix: where the layers behind are matrices, the change of a later unit is a sum over all paths to it from the
    units that were given a value. No other node changes.

    Parameters
    ----------
    network : Network
        With weights.
    x : array_like, (channels, *space), or dict of them by input name
        One sample.
    clamp : dict by address, optional
        Values of units: a number, or an array of the shape of these units.
    ablate : address or iterable of addresses, default none
        Units to clamp to 0.
    patch : dict by address, optional
        Another sample, (channels, *space), for whose values of these units theirs are exchanged; or a `Trace` of one.
    target : optional
        Of this sample: its label, or what else the loss takes. Default: no loss.
    loss : Loss, default ``CrossEntropy()``
        Of the only output.

    Returns
    -------
    Effect

    Raises
    ------
    ShapeError
        If the sample, a value or the target does not fit, there are no such units, or a loss has no target.
    UnknownNameError
        If there is no such node.

    Examples
    --------
    >>> from simulator.layers import Conv, Dense, ReLU
    >>> net = Network.sequential((1, 8), [Conv(2, kernel=3), ReLU(), Dense(3)], rng=0)
    >>> found = effect(net, np.linspace(-1, 1, 8)[None], clamp={"relu1[0, 2]": 5.0}, target=1)
    >>> found
    Effect on 4 units in 2 of 4 nodes; dense1 by up to 1.423; loss 1.004 -> 0.797
    >>> found.changes["relu1"]
    Change of relu1: 1 of 12 units, by up to 4.954, 761.9% of its norm
    >>> found.changes["dense1"].difference.round(3)
    array([-1.423, -0.26 , -0.322], dtype=float32)
    """
    batch = _batch_of_one(x)
    if isinstance(patch, Mapping):
        patch = {k: source if isinstance(source, Trace) else _batch_of_one(source) for k, source in patch.items()}
    before = network.run(batch)
    check_finite(before.activations, "effect")
    after = network.run(batch, clamp=clamp, ablate=ablate, patch=patch)
    check_finite(after.activations, "effect, with the new values")
    changes = {name: Change(name, before[name][0], after[name][0]) for name in network.nodes}
    if target is None:
        if loss is not None:
            raise ShapeError(f"effect: expected a target for the loss {brief(loss)}, got none; give target=")
        return Effect(changes, before, after)
    loss, output, targets = loss or CrossEntropy(), network.output_name, np.asarray(target)[None]
    if isinstance(loss, type):
        raise ShapeError(f"effect loss: expected a loss, got {brief(loss)}; write CrossEntropy()")
    with blamed(f"loss {brief(loss)}", "value to give a number"):
        losses = [float(loss.value(trace[output], targets)) for trace in (before, after)]
    return Effect(changes, before, after, *losses)


def _batch_of_one(x: Any) -> Any:
    names = tuple(x) if isinstance(x, Mapping) else ("x",)
    batches = {name: sample[None] for name, sample in read_sample(x, names, "effect").items()}
    return batches if isinstance(x, Mapping) else batches["x"]
