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

from simulator.arrays import promised, seen
from simulator.engine import Engine, Kernel, Pullback
from simulator.errors import PluginError, SimulatorError, blamed, brief
from simulator.interventions import Interventions
from simulator.layers.base import FunctionLayer, Layer, Shape
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
    by : Layer or Engine, optional
        Whose code the kernel is: an error names it.
    """

    nodes: tuple[Node, ...]
    kernel: Kernel
    by: Any = None

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

    def forward(self, run: Run, xs: Sequence[np.ndarray]) -> tuple[np.ndarray, Pullback, dict[str, np.ndarray]]:
        """What the kernel computes, after a check of every array.

        Parameters
        ----------
        run : Run
            What the kernel gets.
        xs : sequence of numpy.ndarray, (channels, *space, batch)
            Of the nodes that it reads.

        Returns
        -------
        y : numpy.ndarray, (channels, *space, batch)
            Of the run's dtype, C-contiguous.
        pullback : callable
            As the kernel gave it.
        buffers : dict of numpy.ndarray by full name

        Raises
        ------
        PluginError
            If the kernel fails, or gives anything but arrays of real numbers of the right shapes.
        """
        try:
            y, pullback, new = self.kernel(run, *xs)
            new = dict(new)
        except (SimulatorError, MemoryError):
            raise
        except Exception as error:
            raise self._broken(
                self.name, "(y, pullback, buffers) and leave its arguments alone", brief(error)
            ) from error
        shape = (*self.nodes[-1].shape, xs[0].shape[-1])
        checked = promised(y, shape, run.dtype)
        if checked is None:
            raise self._broken(self.name, f"an array {shape}", seen(y, shape))
        if new:
            names = [f"{node.name}.{key}" for node in self.nodes for key in node.buffer_names]
            new = self._named(self.name, "buffers", new, {name: run.buffers[name].shape for name in names}, run.dtype)
        return checked, pullback, new

    def backward(
        self, pullback: Pullback, dy: np.ndarray, input_needed: bool
    ) -> tuple[list[Any], dict[str, np.ndarray]]:
        """The gradients that a pullback gives, after a check of every array.

        Parameters
        ----------
        pullback : callable
            From `forward`.
        dy : numpy.ndarray, (channels, *space, batch)
            Gradient of the output.
        input_needed : bool
            Whether the gradients of the inputs are asked for.

        Returns
        -------
        list of numpy.ndarray, (channels, *space, batch)
            One for each of `inputs`; those that nobody asked for may be None.
        dict of numpy.ndarray by full name
            Of the params.

        Raises
        ------
        PluginError
            As for `forward`.
        """
        who, batch = f"backward {self.name}", dy.shape[-1]
        shapes = [(*shape, batch) for shape in self._input_shapes]
        wanted = f"gradients of shapes {shapes}"
        try:
            dxs, grads = pullback(dy, input_needed)
            dxs, grads = list(dxs), dict(grads)
        except (SimulatorError, MemoryError):
            raise
        except Exception as error:
            raise self._broken(who, wanted, brief(error)) from error
        checked = [promised(dx, shape, dy.dtype) for dx, shape in zip(dxs, shapes, strict=False)]
        needless = () if input_needed else [i for i, dx in enumerate(dxs) if dx is None]
        if len(dxs) != len(shapes) or any(dx is None for i, dx in enumerate(checked) if i not in needless):
            got = ", ".join(map(seen, dxs, [*shapes, *(() for _ in dxs)]))
            raise self._broken(who, wanted, f"[{got}]")
        return checked, self._named(who, "gradients", grads, self._param_shapes, dy.dtype)

    def _named(
        self, who: str, what: str, given: Mapping[str, Any], shapes: Mapping[str, Shape], dtype: np.dtype
    ) -> dict[str, np.ndarray]:
        """Buffers or gradients of params by full name, after a check of each."""
        found = {}
        for name, array in given.items():
            if name not in shapes:
                raise self._broken(who, f"{what} of {', '.join(shapes) or 'nothing'}", name)
            checked = promised(array, shapes[name], dtype)
            if checked is None:
                raise self._broken(who, f"{what} with {name} as an array {shapes[name]}", seen(array, shapes[name]))
            found[name] = checked
        return found

    @cached_property
    def _input_shapes(self) -> list[Shape]:
        """Of one sample of each of `inputs`."""
        shapes = {source: s for node in self.nodes for source, s in zip(node.inputs, node.input_shapes, strict=True)}
        return [shapes[source] for source in self.inputs]

    @cached_property
    def _param_shapes(self) -> dict[str, Shape]:
        return {f"{node.owner}.{key}": s for node in self.nodes for key, s in node.param_shapes.items()}

    def _broken(self, who: str, expected: str, got: str) -> PluginError:
        layer = isinstance(self.by, Layer)
        whose = brief(self.by) if layer else f"engine {brief(self.by)}"
        cure = f"fix the {'layer' if layer else 'engine'}; simulator.testing.check_{'layer' if layer else 'engine'}"
        return PluginError(f"{who}: expected {whose} to give {expected}, got {got}; {cure} tells more")


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
    return Plan(_plain(node, engine) for node in nodes.values() if node.inputs)


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
        How many samples there will be at a time, and where the engine chooses among others, in all.
    """
    count = readers(nodes)
    only_reader = {source: node for node in nodes.values() for source in node.inputs if count[source] == 1}
    steps: list[Step] = []
    done: set[str] = set()
    chosen = engine.for_network(nodes.values(), batch, batch) if hasattr(engine, "for_network") else engine
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
            with blamed(f"engine {brief(chosen)}", "kernel to give a kernel and the number of its nodes, or None"):
                offered = offer(tuple(chain), batch)
        if offered is None:
            step = _plain(node, engine)
        else:
            kernel, length = offered
            step = Step(tuple(chain[:length]), kernel, chosen)
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
            y, pullback, new = step.forward(run, [activations[i] for i in step.inputs])
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


def _plain(node: Node, engine: Engine) -> Step:
    if isinstance(node.layer, FunctionLayer):
        return Step((node,), _by_layer(node, node.layer), node.layer)
    return Step((node,), _by_products(node, engine), engine)


def _by_products(node: Node, engine: Engine) -> Kernel:
    """A node with a matrix, by the engine's three products."""
    trained = {key: f"{node.owner}.{key}" for key in node.param_shapes}

    def product(name: str, shape: Shape, dtype: Any, *args: Any) -> np.ndarray:
        with blamed(f"engine {brief(engine)}", f"{name} to give an array {shape}"):
            given = getattr(engine, name)(*args)
        array = promised(given, shape, dtype)
        if array is None:
            raise PluginError(
                f"engine {brief(engine)}: expected {name} to give an array {shape}, got {seen(given, shape)}; fix the "
                "engine; simulator.testing.check_engine tells more"
            )
        return array

    def kernel(run: Run, *xs: np.ndarray) -> tuple[np.ndarray, Pullback, dict[str, np.ndarray]]:
        (x,) = xs
        batch = x.shape[-1]
        matrix = run.matrix(node)
        n_out, n_in = matrix.shape
        flat = np.ascontiguousarray(x).reshape(n_in, batch)
        y = product("apply", (n_out, batch), x.dtype, matrix, flat).reshape(*node.shape, batch)
        padding = None if node.padding is None else TiedMatrix(node.padding, matrix.weight)
        constant = np.full((1, 1), getattr(node.layer, "pad_value", 0), x.dtype)
        if padding is not None:
            y += (padding @ constant).reshape(*node.shape, 1)
        bias = run.params[trained["bias"]] if "bias" in trained else None
        if bias is not None:
            y += bias.reshape(*bias.shape, *(1,) * (y.ndim - bias.ndim))

        def pullback(dy: np.ndarray, input_needed: bool) -> tuple[Sequence[Any], dict[str, np.ndarray]]:
            flat_dy = np.ascontiguousarray(dy).reshape(n_out, batch)
            grads = {}
            if "weight" in trained:
                grad = product("grad", matrix.weight.shape, x.dtype, matrix, flat, flat_dy)
                if padding is not None:
                    grad = grad + padding.grad(constant, flat_dy.sum(axis=1, keepdims=True))
                grads[trained["weight"]] = grad.reshape(node.param_shapes["weight"])
            if bias is not None:
                grads[trained["bias"]] = dy.sum(axis=tuple(range(bias.ndim, dy.ndim)))
            if not input_needed:
                return (None,), grads
            return (product("apply_transposed", (n_in, batch), x.dtype, matrix, flat_dy).reshape(x.shape),), grads

        return y, pullback, {}

    return kernel


def _parts(who: str, layer: FunctionLayer, wanted: tuple[str, ...], given: Any) -> Sequence[Any]:
    """What a layer's own code returns, if it is as many things as it has to be."""
    if isinstance(given, (tuple, list)) and len(given) == len(wanted):
        return given
    all_of_it = f"({', '.join(wanted)})"
    raise PluginError(
        f"{who}: expected {brief(layer)} to give {all_of_it}, got {brief(given)}; fix the layer: return all"
    )


def _by_layer(node: Node, layer: FunctionLayer) -> Kernel:
    """A function layer's own forward."""

    def kernel(run: Run, *xs: np.ndarray) -> tuple[np.ndarray, Pullback, dict[str, np.ndarray]]:
        params, buffers = run.own_params(node), run.own_buffers(node)
        given = layer.forward(params, buffers, *xs, training=run.training, rng=run.rng)
        y, back, new = _parts(node.name, layer, ("y", "pullback", "buffers"), given)

        def pullback(dy: np.ndarray, input_needed: bool) -> tuple[Sequence[Any], dict[str, np.ndarray]]:
            dxs, grads = _parts(
                f"backward {node.name}", layer, ("gradients of inputs", "gradients of params"), back(dy)
            )
            return dxs, {f"{node.owner}.{key}": grad for key, grad in grads.items()}

        return y, pullback, {f"{node.name}.{key}": array for key, array in new.items()}

    return kernel
