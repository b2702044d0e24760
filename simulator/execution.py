"""Running a network: which steps it takes, one after the other, and what they need on the way back.

A *kernel* computes one node or a chain of nodes. An engine may offer kernels of its own (`Engine`); every other node is
computed by the engine's products with its matrix, or by its layer's own `forward`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from simulator.engine import Engine, Kernel, Pullback
from simulator.errors import PluginError, SimulatorError, blamed, brief
from simulator.interventions import Interventions
from simulator.layers.base import FunctionLayer
from simulator.matrix import TiedMatrix
from simulator.nodes import Node
from simulator.threads import one_blas_thread

__all__ = ["Empty", "Plan", "Run", "Step", "alone", "execute", "fused", "readers"]

Empty = Callable[..., np.ndarray]


@dataclass(frozen=True, eq=False)
class Run:
    """What a run of a network hands to every kernel.

    Parameters
    ----------
    params, buffers : mapping of str to numpy.ndarray
        Of the whole network, by full name such as "conv1.weight"; they must not be changed.
    dtype : numpy.dtype
        Of all numbers.
    training : bool
        Whether layers behave as in training.
    rng : numpy.random.Generator, optional
        Source of randomness, given in training.
    backward : bool
        Whether the pullbacks will be called; if not, a kernel may give None in place of one.
    empty : callable
        ``empty(shape, dtype)`` gives memory for results, as `numpy.empty` does.
    matrices : dict of TiedMatrix by node name
        Those made so far, so that the values of each are filled once per step.
    """

    params: Mapping[str, np.ndarray]
    buffers: Mapping[str, np.ndarray]
    dtype: np.dtype
    training: bool
    rng: np.random.Generator | None
    backward: bool
    empty: Empty
    matrices: dict[str, TiedMatrix]

    def matrix(self, node: Node) -> TiedMatrix:
        """The matrix of a node of a matrix layer, with its weights in this run."""
        if node.name not in self.matrices:
            weight = node.fixed_weight
            if weight is None:
                weight = self.params[f"{node.owner}.weight"]
            assert node.pattern is not None
            self.matrices[node.name] = TiedMatrix(node.pattern, np.asarray(weight, self.dtype))
        return self.matrices[node.name]

    def own_params(self, node: Node) -> dict[str, np.ndarray]:
        """A node's params by their own names, such as "weight"."""
        return {key: self.params[f"{node.owner}.{key}"] for key in node.param_shapes}

    def own_buffers(self, node: Node) -> dict[str, np.ndarray]:
        """A node's buffers by their own names."""
        return {key: self.buffers[f"{node.name}.{key}"] for key in node.buffer_names}


@dataclass(frozen=True)
class Step:
    """One kernel in its place.

    Parameters
    ----------
    nodes : tuple of Node
        What it computes: one node, or several of which each is read by the next alone.
    kernel : Kernel
        How.
    """

    nodes: tuple[Node, ...]
    kernel: Kernel

    @property
    def name(self) -> str:
        """The node whose output it gives."""
        return self.nodes[-1].name

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The nodes that it reads: those of its first node, then what the others read besides the one before them."""
        pairs = zip(self.nodes, self.nodes[1:], strict=False)
        others = tuple(source for before, node in pairs for source in node.inputs if source != before.name)
        return self.nodes[0].inputs + others


class Plan(tuple[Step, ...]):
    """The steps of a network in order, and what follows from them."""

    @cached_property
    def last_reader(self) -> dict[str, str]:
        """For each node that is read the last step that does."""
        return {source: step.name for step in self for source in step.inputs}

    @cached_property
    def trained(self) -> frozenset[str]:
        """Names of the steps with trained weights, and of all that come after one."""
        found: set[str] = set()
        for step in self:
            if any(n.param_shapes for n in step.nodes) or any(i in found for i in step.inputs):
                found.add(step.name)
        return frozenset(found)


def readers(nodes: Mapping[str, Node]) -> Counter[str]:
    """How many inputs of other nodes each node is."""
    return Counter(source for node in nodes.values() for source in node.inputs)


def alone(nodes: Mapping[str, Node], engine: Engine) -> Plan:
    """One step for each node, none of them with a kernel of the engine's own: every activation can be kept."""
    return Plan(Step((node,), _plain(node, engine)) for node in nodes.values() if node.inputs)


def fused(nodes: Mapping[str, Node], engine: Engine, keep: Collection[str], batch: int) -> Plan:
    """As few steps as the engine's kernels allow.

    Parameters
    ----------
    nodes : mapping of Node by name
        Of the network, each after those that it reads.
    engine : Engine
        Offers kernels, or not.
    keep : collection of str
        Nodes whose activations are asked for: a step may end with one, but not contain one.
    batch : int
        How many samples there will be.
    """
    count = readers(nodes)
    only_reader = {source: node for node in nodes.values() for source in node.inputs if count[source] == 1}
    steps: list[Step] = []
    done: set[str] = set()
    chosen = engine.for_network(nodes.values(), batch) if hasattr(engine, "for_network") else engine
    offer = getattr(chosen, "kernel", None)
    for node in nodes.values():
        if not node.inputs or node.name in done:
            continue
        chain = [node]
        while chain[-1].name not in keep and chain[-1].name in only_reader:
            follower = only_reader[chain[-1].name]
            others = (source for source in follower.inputs if source != chain[-1].name)
            if any(nodes[source].inputs and source not in done for source in others):
                break  # not computed yet
            chain.append(follower)
        offered = None
        if offer is not None:
            with blamed(f"engine {chosen!r}", "kernel to give a kernel and the number of its nodes, or None"):
                offered = offer(tuple(chain), batch)
        kernel, length = (_plain(node, engine), 1) if offered is None else offered
        step = Step(tuple(chain[:length]), kernel)
        done.update(n.name for n in step.nodes)
        steps.append(step)
    return Plan(steps)


def execute(
    plan: Plan,
    activations: dict[str, np.ndarray],
    run: Run,
    keep: Collection[str] | None,
    interventions: Interventions,
) -> tuple[dict[str, np.ndarray], dict[str, Pullback], dict[str, np.ndarray]]:
    """Take all steps, one after the other.

    Parameters
    ----------
    plan : Plan
        What to do.
    activations : dict of numpy.ndarray by node name
        Of the inputs, (channels, *space, batch).
    run : Run
        What the kernels get.
    keep : collection of str, optional
        Nodes whose activations are wanted; others are freed after their last reader. Default: all.
    interventions : Interventions
        What takes the place of computed values, at the inputs too. A step may end with such a node, not contain one.

    Returns
    -------
    activations, pullbacks, buffers : dict
        By name of the node, by name of the step, by full name.
    """
    pullbacks: dict[str, Pullback] = {}
    buffers = dict(run.buffers)
    for name, x in activations.items():
        activations[name] = interventions.forward(name, x, run.empty)
        activations[name].flags.writeable = False
    with one_blas_thread():
        for step in plan:
            y, pullback, new = step.kernel(run, *(activations[i] for i in step.inputs))
            y = interventions.forward(step.name, y, run.empty)
            y.flags.writeable = False
            activations[step.name] = y
            del y
            if run.backward:
                pullbacks[step.name] = pullback
            del pullback
            for name, array in new.items():
                array.flags.writeable = False
                buffers[name] = array
            if keep is not None:
                for source in {*step.inputs}.difference(keep):
                    if plan.last_reader[source] == step.name:
                        del activations[source]
    return activations, pullbacks, buffers


def _plain(node: Node, engine: Engine) -> Kernel:
    return _by_layer(node) if isinstance(node.layer, FunctionLayer) else _by_products(node, engine)


def _by_products(node: Node, engine: Engine) -> Kernel:
    """A node with a matrix, by the engine's three products."""
    trained = {key: f"{node.owner}.{key}" for key in node.param_shapes}

    def kernel(run: Run, *xs: np.ndarray) -> tuple[np.ndarray, Pullback, dict[str, np.ndarray]]:
        (x,) = xs
        batch = x.shape[-1]
        matrix = run.matrix(node)
        flat = np.ascontiguousarray(x).reshape(matrix.shape[1], batch)
        with blamed(f"engine {engine!r}", f"apply to give an array {(matrix.shape[0], batch)}"):
            y = engine.apply(matrix, flat).reshape(*node.shape, batch)
        padding = None if node.padding is None else TiedMatrix(node.padding, matrix.weight)
        constant = np.full((1, 1), getattr(node.layer, "pad_value", 0), x.dtype)
        if padding is not None:
            y += (padding @ constant).reshape(*node.shape, 1)
        bias = run.params[trained["bias"]] if "bias" in trained else None
        if bias is not None:
            y += bias.reshape(*bias.shape, *(1,) * (y.ndim - bias.ndim))

        def pullback(dy: np.ndarray, input_needed: bool) -> tuple[Sequence[Any], dict[str, np.ndarray]]:
            flat_dy = np.ascontiguousarray(dy).reshape(matrix.shape[0], batch)
            grads = {}
            if "weight" in trained:
                shape = node.param_shapes["weight"]
                with blamed(f"engine {engine!r}", f"grad to give an array {shape}"):
                    grad = engine.grad(matrix, flat, flat_dy).reshape(shape)
                if padding is not None:
                    grad = grad + padding.grad(constant, flat_dy.sum(axis=1, keepdims=True))
                grads[trained["weight"]] = grad
            if bias is not None:
                grads[trained["bias"]] = dy.sum(axis=tuple(range(bias.ndim, dy.ndim)))
            if not input_needed:
                return (None,), grads
            with blamed(f"engine {engine!r}", f"apply_transposed to give an array {(matrix.shape[1], batch)}"):
                return (engine.apply_transposed(matrix, flat_dy).reshape(x.shape),), grads

        return y, pullback, {}

    return kernel


def _by_layer(node: Node) -> Kernel:
    """A function layer's own forward; a layer that breaks its contract is named."""
    layer, cure = node.layer, "mend the layer; simulator.testing.check_layer tells more"
    assert isinstance(layer, FunctionLayer)

    def kernel(run: Run, *xs: np.ndarray) -> tuple[np.ndarray, Pullback, dict[str, np.ndarray]]:
        params, buffers = run.own_params(node), run.own_buffers(node)
        try:
            y, back, new = layer.forward(params, buffers, *xs, training=run.training, rng=run.rng)
        except (SimulatorError, MemoryError):
            raise
        except Exception as error:
            raise PluginError(
                f"{node.name}: expected {brief(layer)} to give (y, pullback, buffers) and leave its arguments "
                "alone, got "
                f"{brief(error)}; {cure}"
            ) from error
        shape = (*node.shape, xs[0].shape[-1])
        if not isinstance(y, np.ndarray) or y.shape != shape:
            raise PluginError(
                f"{node.name}: expected {brief(layer)} to give an array {shape}, got "
                f"{brief(getattr(y, 'shape', y))}; {cure}"
            )
        expected, who = [x.shape for x in xs], f"backward {node.name}"

        def pullback(dy: np.ndarray, input_needed: bool) -> tuple[Sequence[Any], dict[str, np.ndarray]]:
            try:
                dxs, grads = back(dy)
                got: Any = [getattr(dx, "shape", dx) for dx in dxs]
                cause = None
            except (SimulatorError, MemoryError):
                raise
            except Exception as error:
                got, cause = brief(error), error
            if got != expected:
                raise PluginError(
                    f"{who}: expected {brief(layer)} to give gradients of shapes {expected}, got {got}; {cure}"
                ) from cause
            return dxs, {f"{node.owner}.{key}": grad for key, grad in grads.items()}

        return y, pullback, {f"{node.name}.{key}": array for key, array in new.items()}

    return kernel
