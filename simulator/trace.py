"""Traces: what one run of a network computed, and the way back through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.arrays import real_array
from simulator.engine import Pullback
from simulator.errors import ShapeError, SimulatorError, UnknownNameError, brief, nearest
from simulator.execution import Empty, Plan
from simulator.interventions import Interventions
from simulator.layers.base import Shape
from simulator.nodes import Input, Node, only
from simulator.notebooks import html_table
from simulator.threads import one_blas_thread
from simulator.units import Units

__all__ = ["Gradients", "Trace"]


@dataclass(frozen=True, eq=False, repr=False)
class Gradients:
    """What `Trace.backward` finds, in the public layout.

    Parameters
    ----------
    params : dict of str to numpy.ndarray
        Of each trained array, in its shape; in the order of ``network.params``.
    inputs : dict of str to numpy.ndarray
        Of each input as it was given, (batch, channels, *space); zero where no output depends on it.
    activations : dict of str to numpy.ndarray
        Of each node's output, (batch, channels, *space), in the order of ``network.nodes``; read-only views. For units
        that were given a value it is the gradient of that value; nothing of it goes further back.
    """

    params: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    activations: dict[str, np.ndarray]

    def __repr__(self) -> str:
        counts = (
            f"{len(self.params)} trained arrays",
            f"{len(self.inputs)} input{'s'[: len(self.inputs) != 1]}",
            f"{len(self.activations)} nodes",
        )
        return f"Gradients of {', '.join(counts)}"


class Trace(Mapping[str, np.ndarray]):
    """What one run computed: ``trace["conv1"]`` is an activation, (batch, channels, *space), a read-only view.

    It is a mapping by name of the node, in the order of the network. A trace of `Network.run` has every activation and
    owns its arrays; `backward` may be called more than once. One of a `Workspace` has the outputs only, and its
    `backward` frees what it has used.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        param_shapes: Mapping[str, Shape],
        outputs: tuple[str, ...],
        plan: Plan,
        activations: dict[str, np.ndarray],
        pullbacks: dict[str, Pullback],
        buffers: dict[str, np.ndarray],
        *,
        interventions: Interventions,
        probes: Mapping[str, Units],
        once: bool = False,
        empty: Empty = np.empty,
    ) -> None:
        self.buffers = buffers
        self._nodes = nodes
        self._param_shapes = param_shapes
        self._outputs = outputs
        self._plan = plan
        self._activations = activations
        self._pullbacks = pullbacks
        self._interventions = interventions
        self._probes = probes
        self._once = once
        self._empty = empty

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._activations:
            raise UnknownNameError(f"network: expected a node, got {brief(name)}; {nearest(name, self._activations)}")
        return _public(self._activations[name])

    def __contains__(self, name: object) -> bool:
        return name in self._activations

    def __iter__(self) -> Iterator[str]:
        return iter(self._activations)

    def __len__(self) -> int:
        return len(self._activations)

    def get(self, name: str, default: Any = None) -> Any:
        """The activation of a node, or the default if there is none."""
        return self[name] if name in self._activations else default

    __eq__, __hash__ = object.__eq__, object.__hash__  # arrays have no one answer to ==

    def __repr__(self) -> str:
        count = next((a.shape[-1] for a in self._activations.values()), 0)
        names = list(self)
        shown = ", ".join(names if len(names) <= 6 else [*names[:3], "...", *names[-2:]])
        return f"Trace of {count} sample{'s'[: count != 1]}: {shown}"

    def _repr_html_(self) -> str:
        rows = []
        for name, array in self.items():
            shape = "x".join(map(str, array.shape[1:]))
            numbers = (array.min(), array.mean(), array.max(), np.mean(array == 0)) if array.size else ()
            rows.append((name, shape, *(float(n) for n in numbers), *[None] * (4 - len(numbers))))
        columns = ("node", "output", "least", "mean", "greatest", "share of zeros")
        return html_table(repr(self), columns, rows, left=2)

    @property
    def activations(self) -> dict[str, np.ndarray]:
        """Every activation by node name, (batch, channels, *space); read-only views."""
        return {name: self[name] for name in self._activations}

    @property
    def probes(self) -> dict[str, np.ndarray]:
        """Values of the units that `run` was asked to probe, by address, (batch, ...); read-only views."""
        return {address: self[units.node][:, *units.slices] for address, units in self._probes.items()}

    def backward(self, output_gradients: Mapping[str, Any] | Any, *, params_only: bool = False) -> Gradients:
        """Take gradients from the outputs back to weights, inputs and activations.

        Parameters
        ----------
        output_gradients : array_like, or dict by node name
            Gradient of the loss with respect to the only output, or to any named nodes, (batch, ...).
        params_only : bool, default False
            Leave out what only the inputs' gradients need.

        Returns
        -------
        Gradients

        Raises
        ------
        ShapeError
            If a gradient does not have the shape of its node's output.
        UnknownNameError
            If there is no such node.
        SimulatorError
            If the trace has none of what the way back needs, because it is one of a `Workspace` for predictions, or has
            gone back once already.
        """
        if self._plan and not self._pullbacks:
            raise SimulatorError(
                "backward: expected a trace that can go back, got one that was freed or made for predictions only; "
                "use network.run"
            )
        if not isinstance(output_gradients, Mapping):
            output_gradients = {only(self._outputs, "output"): output_gradients}
        pending: dict[str, np.ndarray] = {}
        for name, gradient in output_gradients.items():
            shape = self[name].shape
            array = real_array(f"backward {name}", gradient).astype(self[name].dtype, copy=False)
            if array.shape != shape:
                raise ShapeError(
                    f"backward {name}: expected a gradient of shape {shape}, got {array.shape}; give one value per "
                    "output unit and sample"
                )
            pending[name] = np.ascontiguousarray(array.transpose(*range(1, array.ndim), 0))
        needed = self._plan.trained if params_only else self._nodes
        params: dict[str, np.ndarray] = {}
        with one_blas_thread():
            for step in reversed(self._plan):
                pullback = self._pullbacks.pop(step.name) if self._once else self._pullbacks[step.name]
                dy = pending.pop(step.name, None) if self._once else pending.get(step.name)
                if dy is None or step.name not in needed:
                    continue
                dy = self._interventions.backward(step.name, dy, self._empty)
                dxs, grads = step.backward(pullback, dy, any(i in needed for i in step.inputs))
                for name, grad in grads.items():
                    params[name] = params[name] + grad if name in params else grad
                for source, dx in zip(step.inputs, dxs, strict=True):
                    if source in pending and source in needed:  # not in place: two sources may share a gradient
                        dx = np.add(pending[source], dx, out=self._empty(dx.shape, dx.dtype))
                    if source in needed:
                        pending[source] = dx
        some = next(iter(self._activations.values()))
        batch, dtype = some.shape[-1], some.dtype
        for name, shape in self._param_shapes.items():  # in this order, not in that of the way back
            params[name] = params.pop(name) if name in params else np.zeros(shape, dtype)
        outward = {name: _public(pending[name]) for name in self._nodes if name in pending}
        inputs = {}
        for node in () if params_only else self._nodes.values():
            if isinstance(node.layer, Input):
                dx = pending[node.name] if node.name in pending else np.zeros((*node.shape, batch), dtype)
                inputs[node.name] = _public(self._interventions.backward(node.name, dx))
        return Gradients(params, inputs, outward)


def _public(array: np.ndarray) -> np.ndarray:
    """A read-only view (batch, channels, *space) of (channels, *space, batch)."""
    view = array.transpose(array.ndim - 1, *range(array.ndim - 1))
    view.flags.writeable = False
    return view
