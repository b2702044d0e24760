"""Traces: what one run of a network computed, and the way back through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.errors import PluginError, ShapeError, SimulatorError, UnknownNameError, nearest
from simulator.layers.base import MatrixLayer, Pullback
from simulator.nodes import Input, Node, only

__all__ = ["Gradients", "Trace"]


@dataclass(frozen=True, eq=False)
class Gradients:
    """What `Trace.backward` finds, in the public layout.

    Parameters
    ----------
    params : dict of str to numpy.ndarray
        Of each trained array, in its shape.
    inputs : dict of str to numpy.ndarray
        Of each input, (batch, channels, *space); zero where no output depends on it.
    activations : dict of str to numpy.ndarray
        Of each node's output, (batch, channels, *space); read-only views.
    """

    params: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    activations: dict[str, np.ndarray]


class Trace:
    """Everything that one run computed: ``trace["conv1"]`` is an activation, (batch, channels, *space).

    A trace owns its arrays; `backward` may be called more than once.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        outputs: tuple[str, ...],
        activations: dict[str, np.ndarray],
        pullbacks: dict[str, Pullback],
        buffers: dict[str, np.ndarray],
    ) -> None:
        self.buffers = buffers
        self._nodes = nodes
        self._outputs = outputs
        self._activations = activations
        self._pullbacks = pullbacks

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._activations:
            raise UnknownNameError(f"network: expected a node, got {name!r}; {nearest(name, self._activations)}")
        return _public(self._activations[name])

    @property
    def activations(self) -> dict[str, np.ndarray]:
        """Every activation by node name, (batch, channels, *space); read-only views."""
        return {name: self[name] for name in self._activations}

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
        """
        if not isinstance(output_gradients, Mapping):
            output_gradients = {only(self._outputs, "output"): output_gradients}
        pending: dict[str, np.ndarray] = {}
        for name, gradient in output_gradients.items():
            shape = self[name].shape
            array = np.asarray(gradient, self[name].dtype)
            if array.shape != shape:
                raise ShapeError(
                    f"backward {name}: expected a gradient of shape {shape}, got {array.shape}; give one value per "
                    "output unit and sample"
                )
            pending[name] = np.ascontiguousarray(np.moveaxis(array, 0, -1))
        needed = self._trained_paths() if params_only else set(self._nodes)
        params: dict[str, np.ndarray] = {}
        for node in reversed(list(self._nodes.values())):
            dy = pending.get(node.name)
            if dy is None or not node.inputs or node.name not in needed:
                continue
            dxs, grads = self._pulled_back(node, dy, any(i in needed for i in node.inputs))
            for key, grad in grads.items():
                full = f"{node.owner}.{key}"
                params[full] = params[full] + grad if full in params else grad
            for source, dx in zip(node.inputs, dxs, strict=True):
                if source in needed:
                    pending[source] = pending[source] + dx if source in pending else dx
        for node in self._nodes.values():
            if node.share is None:
                for key, shape in node.param_shapes.items():
                    params.setdefault(f"{node.name}.{key}", np.zeros(shape, self[node.name].dtype))
        outward = {name: _public(array) for name, array in pending.items()}
        entered = [n.name for n in self._nodes.values() if isinstance(n.layer, Input) and not params_only]
        inputs = {name: outward.get(name, np.zeros_like(self[name])) for name in entered}
        return Gradients(params, inputs, outward)

    def _pulled_back(self, node: Node, dy: np.ndarray, input_needed: bool) -> tuple[Any, dict[str, np.ndarray]]:
        """Gradients of a node's inputs and params; a layer that breaks its contract is named."""
        if isinstance(node.layer, MatrixLayer):
            return self._pullbacks[node.name](dy, input_needed)  # type: ignore[call-arg]
        expected = [self._activations[source].shape for source in node.inputs]
        try:
            dxs, grads = self._pullbacks[node.name](dy)
            got: Any = [getattr(dx, "shape", dx) for dx in dxs]
            cause = None
        except (SimulatorError, MemoryError):
            raise
        except Exception as error:
            got, cause = f"{type(error).__name__}: {error}", error
        if got != expected:
            raise PluginError(
                f"backward {node.name}: expected {node.layer!r} to give gradients of shapes {expected}, got {got}; "
                "mend the layer; simulator.testing.check_layer tells more"
            ) from cause
        return dxs, grads

    def _trained_paths(self) -> set[str]:
        """Nodes with trained weights, and all that come after one."""
        found: set[str] = set()
        for node in self._nodes.values():
            if node.param_shapes or any(i in found for i in node.inputs):
                found.add(node.name)
        return found


def _public(array: np.ndarray) -> np.ndarray:
    """A read-only view (batch, channels, *space) of (channels, *space, batch)."""
    view = np.moveaxis(array, -1, 0)
    view.flags.writeable = False
    return view
