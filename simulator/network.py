"""Networks: immutable graphs of named layers, run forward and backward.

With this module one can

- build a graph of layers with shapes worked out, and every misfit reported where it is added;
- run it and keep every activation (`Trace`), and take gradients of weights, inputs and activations;
- ask any node for its matrix.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.arrays import promised, real_array, seen
from simulator.engine import Engine, SciPyEngine
from simulator.errors import PluginError, ShapeError, SimulatorError, UnknownNameError, blamed, brief, nearest
from simulator.execution import Empty, Plan, Run, alone, execute, fused
from simulator.interventions import Interventions, addressed
from simulator.layers.base import Affine, Layer, MatrixLayer, Shape
from simulator.matrix import TiedMatrix
from simulator.memory import available_memory, check_memory
from simulator.needs import Estimate, estimated
from simulator.nodes import Input, Node, only
from simulator.notebooks import html_table
from simulator.optimizers import Optimizer, state_size
from simulator.patterns import Pattern
from simulator.pool import Pool
from simulator.projective import ProjectiveField, projective_field
from simulator.receptive import MatrixColumn, MatrixRow, ReceptiveField, receptive_field
from simulator.trace import Gradients, Trace
from simulator.units import Units

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Gradients", "Input", "Network", "Node", "Trace", "as_rng"]

_SMALL = 2**26  # bytes of activations that need no look at the memory
_SMALLER = "use smaller inputs or a smaller network"
_OTHER_ENGINE = "use an engine that needs no CSR matrices ('blas' or 'auto'), or a smaller network"

Rng = np.random.Generator | int | None
Given = Mapping[Any, Any]  # by address

_OF_NODES = ("graph", "inputs", "outputs", "_param_shapes")  # what is worked out from the nodes and then kept


def as_rng(rng: Rng) -> np.random.Generator:
    """A generator from a seed, or the generator itself."""
    try:
        return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise ShapeError(
            f"rng: expected a seed of at least 0 or a numpy Generator, got {brief(rng)}; write rng=0"
        ) from None


class Network:
    """An immutable directed acyclic graph of layers.

    Build one with `Network.input` and `add`, or `Network.sequential`; each call returns a new network that shares
    everything with the old one.

    Examples
    --------
    >>> from simulator.layers import Conv, Dense, ReLU
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3), ReLU(), Dense(10)], rng=0)
    >>> net
    Network 3 layers, 1490 params: (1, 8, 8) -> (10,)
    >>> net.predict(np.zeros((5, 1, 8, 8))).shape
    (5, 10)
    >>> net.node("conv1").matrix
    TiedMatrix 144 x 64: 1296 nonzeros share 36 weights
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        params: Mapping[str, np.ndarray],
        buffers: Mapping[str, np.ndarray],
        dtype: np.dtype,
        engine: Engine,
        outputs: tuple[str, ...] | None = None,
    ) -> None:
        self._nodes = dict(nodes)
        self._params = dict(params)
        self._buffers = dict(buffers)
        self._outputs = outputs
        self.dtype = np.dtype(dtype)
        self.engine = engine

    def _replace(self, **changes: Any) -> Network:
        state = {
            "nodes": self._nodes,
            "params": self._params,
            "buffers": self._buffers,
            "dtype": self.dtype,
            "engine": self.engine,
            "outputs": self._outputs,
        }
        new = Network(**{**state, **changes})
        if not changes.keys() & {"nodes", "outputs"}:  # what follows from these alone need not be worked out again
            vars(new).update({name: vars(self)[name] for name in _OF_NODES if name in vars(self)})
        return new

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_matrices"}  # a cache, and a large one

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        for array in (*self._params.values(), *self._buffers.values()):
            _frozen(array)  # a pickle forgets what is read-only

    # ------------------------------------------------------------------ building

    @classmethod
    def input(
        cls, shape: Iterable[int], name: str = "input", *, dtype: Any = np.float32, engine: Engine | None = None
    ) -> Network:
        """A network that is nothing but an input.

        Parameters
        ----------
        shape : iterable of int
            Of one sample, (channels, *space).
        name : str, default "input"
            Name of the node.
        dtype : numpy dtype, default float32
            float32, or float64 for proofs.
        engine : Engine, default `SciPyEngine`
            Which engine multiplies.

        Returns
        -------
        Network

        Raises
        ------
        ShapeError
            If a size is not positive, or the dtype is neither float32 nor float64.
        """
        if dtype not in ("float32", "float64", np.float32, np.float64):
            raise ShapeError(f"network dtype: expected float32 or float64, got {brief(dtype)}; choose one of them")
        return (
            cls({}, {}, {}, np.dtype(dtype), SciPyEngine()).with_engine(engine or SciPyEngine()).add_input(shape, name)
        )

    def add_input(self, shape: Iterable[int], name: str) -> Network:
        """The network with one more input."""
        new = self._replace()
        new._take_in(Input(tuple(shape) if isinstance(shape, Iterable) else shape), (), name)
        return new

    @classmethod
    def sequential(
        cls,
        input_shape: Iterable[int],
        layers: Iterable[Layer],
        *,
        rng: Rng = None,
        dtype: Any = np.float32,
        engine: Engine | None = None,
    ) -> Network:
        """Layers one after the other; see `input` and `add`."""
        if not isinstance(layers, Iterable):
            one = brief(layers) if isinstance(layers, Layer) else "ReLU()"
            raise ShapeError(f"network.sequential: expected a list of layers, got {brief(layers)}; write [{one}]")
        new = cls.input(input_shape, dtype=dtype, engine=engine)
        generator = None if rng is None else as_rng(rng)
        for layer in layers:
            new._take_in(layer, (), None, rng=generator)
        return new

    def add(
        self, layer: Layer, *inputs: str, name: str | None = None, share: str | None = None, rng: Rng = None
    ) -> Network:
        """The network with one more layer.

        Parameters
        ----------
        layer : Layer
            What to add.
        *inputs : str
            Names of the nodes that it reads. Default: the one added last.
        name : str, optional
            Default: the layer's type and a number, such as "conv1".
        share : str, optional
            A node whose weights this layer uses, too.
        rng : numpy.random.Generator or int, optional
            Draws the first weights. Without it the network has patterns, shapes and counts only.

        Returns
        -------
        Network

        Raises
        ------
        ShapeError
            If the layer does not fit its inputs, or cannot share the weights.
        UnknownNameError
            If an input or the shared node does not exist.
        """
        new = self._replace()
        new._take_in(layer, inputs, name, share, rng)
        return new

    def chain(
        self,
        layers: Iterable[tuple[str, Layer]],
        *,
        after: str | None = None,
        prefix: str = "",
        rng: Rng = None,
    ) -> Network:
        """The network with several more layers, each reading the one before it.

        Parameters
        ----------
        layers : iterable of (name, layer)
            What to add, in order.
        after : str, optional
            The node that the first of them reads. Default: the one added last.
        prefix : str, default ""
            Put before each name.
        rng : numpy.random.Generator or int, optional
            As for `add`; the layers draw from it one after the other.

        Returns
        -------
        Network

        Raises
        ------
        ShapeError, UnknownNameError
            As for `add`.

        Examples
        --------
        >>> from simulator.layers import Conv, ReLU
        >>> net = Network.input((1, 8, 8)).chain([("conv", Conv(4, kernel=3)), ("relu", ReLU())], prefix="block1-")
        >>> net.last
        'block1-relu'
        """
        new = self._replace()
        generator = None if rng is None else as_rng(rng)
        reads = () if after is None else (after,)
        for name, layer in layers:
            new._take_in(layer, reads, prefix + name, rng=generator)
            reads = ()
        return new

    def extended(self, nodes: Iterable[tuple[str, Layer, Sequence[str], str | None]]) -> Network:
        """The network with many more nodes; each `add` copies what there is, this does it once.

        Parameters
        ----------
        nodes : iterable of (name, layer, inputs, share)
            As for `add`, in order. An `Input` reads nothing.

        Returns
        -------
        Network
            Without weights for the new nodes.

        Raises
        ------
        ShapeError, UnknownNameError
            As for `add`.

        Examples
        --------
        >>> from simulator.layers import Dense, ReLU
        >>> Network.input((4,)).extended([("a", Dense(3), ["input"], None), ("b", ReLU(), ["a"], None)]).last
        'b'
        """
        new = self._replace()
        for name, layer, inputs, share in nodes:
            new._take_in(layer, tuple(inputs), name, share)
        return new

    @property
    def last(self) -> str:
        """Name of the node that was added last."""
        return next(reversed(self._nodes))

    def _take_in(
        self, layer: Layer, inputs: tuple[str, ...], name: str | None, share: str | None = None, rng: Rng = None
    ) -> None:
        """Add a layer to this network itself, which must be a new copy that nobody else has seen."""
        if not isinstance(layer, Layer):
            raise ShapeError(f"network.add: expected a layer, got {brief(layer)}; create it first, for example ReLU()")
        if isinstance(layer, Input) and not inputs and name is not None:
            self._take_in_node(Node(name, layer, (), (), layer.output_shape()))
            return
        inputs = inputs or (self.last,)
        name = name or self._free_name(type(layer).__name__.lower())
        input_shapes = tuple(self.node(i).shape for i in inputs)
        wanted = layer.inputs
        if len(inputs) != wanted if wanted is not None else len(inputs) < 2:
            raise ShapeError(
                f"{name}: expected {'two or more inputs' if wanted is None else f'{wanted} input'}, got {len(inputs)} "
                f"({', '.join(inputs)}); name the nodes to read in add()"
            )
        try:
            shape = layer.output_shape(*input_shapes)
            node = Node(name, layer, inputs, input_shapes, shape, share)
            node_params = node.param_shapes
        except ShapeError as error:
            raise ShapeError(f"{name} (after {', '.join(inputs)}): {error}") from None
        except (SimulatorError, MemoryError, OverflowError):
            raise
        except Exception as error:
            raise ShapeError(
                f"{name}: expected values of the right kind, got {brief(layer)} ({error}); correct its arguments"
            ) from error
        pad_value = getattr(layer, "pad_value", 0.0)
        if isinstance(pad_value, bool) or not isinstance(pad_value, Real) or not math.isfinite(pad_value):
            raise ShapeError(f"{name} pad_value: expected a finite number, got {brief(pad_value)}; 0 is usual")
        if share is not None:
            owner = self.node(self.node(share).owner)
            if owner.param_shapes != node_params:
                raise ShapeError(
                    f"{name}: expected weights of shapes {node_params} to share, got {owner.param_shapes} in "
                    f"{brief(owner.name)}; share between equal layers only"
                )
            node = replace(node, share=owner.name)
        with blamed(f"{name}, {type(layer).__name__}", "first values of its params and buffers"):
            buffers = layer.init_buffers(*input_shapes, dtype=self.dtype)
            self._take_in_node(replace(node, buffer_names=tuple(buffers)))
            kept = {key: np.shape(array) for key, array in buffers.items()}
            self._buffers.update(_first_values(node, "buffer", buffers, kept, self.dtype))
            if share is None and rng is not None:
                need = sum(math.prod(shape) for shape in node_params.values()) * self.dtype.itemsize
                check_memory(need, f"{name}, weights", "use a smaller layer, or rng=None to look at it without weights")
                drawn = layer.init_params(as_rng(rng), *input_shapes, dtype=self.dtype)
                self._params.update(_first_values(node, "param", drawn, node_params, self.dtype))

    def _free_name(self, stem: str) -> str:
        number = 1
        while f"{stem}{number}" in self._nodes:
            number += 1
        return f"{stem}{number}"

    def _take_in_node(self, node: Node) -> None:
        if node.name in self._nodes:
            raise ShapeError(f"network.add: expected a new name, got {brief(node.name)} again; choose another name")
        if not node.name or {*node.name} & {*".[]"} or node.name != node.name.strip():  # addresses could not say it
            raise ShapeError(
                f"network.add: expected a name without dots, brackets and outer blanks, got {brief(node.name)}; choose "
                "another name"
            )
        self._nodes[node.name], self._outputs = node, None
        for known in _OF_NODES:
            vars(self).pop(known, None)

    # ------------------------------------------------------------------ looking

    @property
    def nodes(self) -> Mapping[str, Node]:
        """All nodes by name, each after those that it reads; read-only."""
        return MappingProxyType(self._nodes)

    @cached_property
    def graph(self) -> nx.DiGraph:
        """The network as a frozen networkx graph; each node carries its `layer` and `shape`."""
        import networkx as nx

        from simulator.graphs import LayerGraph

        graph = LayerGraph()
        for node in self._nodes.values():
            graph.add_node(node.name, layer=node.layer, shape=node.shape)
            graph.add_edges_from((source, node.name) for source in node.inputs)
        return nx.freeze(graph)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(n.name for n in self._nodes.values() if isinstance(n.layer, Input))

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs: those chosen by `subnetwork`, else the nodes that nobody reads."""
        if self._outputs is not None:
            return self._outputs
        read = {source for node in self._nodes.values() for source in node.inputs}
        return tuple(name for name in self._nodes if name not in read)

    @property
    def input_shape(self) -> Shape:
        """Shape of one sample of the only input."""
        return self._nodes[self.input_name].shape

    @property
    def output_shape(self) -> Shape:
        """Shape of one sample of the only output."""
        return self._nodes[self.output_name].shape

    @property
    def input_name(self) -> str:
        """Name of the only input, or a `ShapeError`."""
        return only(self.inputs, "input")

    @property
    def output_name(self) -> str:
        """Name of the only output, or a `ShapeError`."""
        return only(self.outputs, "output")

    def node(self, name: str) -> BoundNode:
        """A node with its weights, by name.

        Raises
        ------
        UnknownNameError
            If there is no such node.
        """
        if not isinstance(name, str) or name not in self._nodes:
            raise UnknownNameError(f"network: expected a node, got {brief(name)}; {nearest(name, self._nodes)}")
        return BoundNode(self, self._nodes[name])

    def subnetwork(self, outputs: str | Iterable[str], inputs: str | Iterable[str] = ()) -> Network:
        """The part of the network that the given outputs need; other heads are cut off.

        Parameters
        ----------
        outputs : str or iterable of str
            Names of the nodes that become the outputs.
        inputs : str or iterable of str, default none
            Names of nodes that become inputs: what only they need is cut off, too.

        Returns
        -------
        Network

        Raises
        ------
        UnknownNameError
            If there is no such node.
        ShapeError
            If there is no output, or the outputs do not need one of the inputs.

        Examples
        --------
        >>> from simulator.layers import Conv, Dense, ReLU
        >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3), ReLU(), Dense(10)], rng=0)
        >>> net.subnetwork("dense1", inputs="relu1")
        Network 1 layer, 1450 params: (4, 6, 6) -> (10,)
        """
        names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
        if not names:
            raise ShapeError("network.subnetwork: expected at least one output, got none; name the nodes to keep")
        cuts = {self.node(name).name for name in ((inputs,) if isinstance(inputs, str) else inputs)}
        keep = {self.node(name).name for name in names}
        for node in reversed(self._nodes.values()):
            if node.name in keep - cuts:
                keep.update(node.inputs)
        if cuts - keep:
            raise ShapeError(
                f"network.subnetwork: expected inputs that {', '.join(names)} needs, got {', '.join(cuts - keep)}; "
                "name nodes before it"
            )
        kept = {name: node for name, node in self._nodes.items() if name in keep - cuts}
        # A kept node may use weights of one that is cut off: the first such node becomes their owner.
        owners: dict[str, str] = {}
        for name, node in kept.items():
            if node.owner not in kept:
                owners.setdefault(node.owner, name)
        for name, node in kept.items():
            if node.owner in owners:
                owner = owners[node.owner]
                kept[name] = replace(node, share=None if owner == name else owner)

        def cut(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            left = {}
            for key, array in arrays.items():
                name, _, part = key.partition(".")
                name = owners.get(name, name)
                if name in kept:
                    left[f"{name}.{part}"] = array
            return left

        entries = {name: Node(name, Input(self._nodes[name].shape), (), (), self._nodes[name].shape) for name in cuts}
        return self._replace(
            nodes={name: kept.get(name) or entries[name] for name in self._nodes if name in keep},
            params=cut(self._params),
            buffers={key: array for key, array in self._buffers.items() if key.split(".", 1)[0] in kept},
            outputs=names,
        )

    def matrix_row(self, layer: str, unit: Any = None) -> MatrixRow:
        """The fan-in of one output unit of a layer, without building the rest of its matrix.

        Parameters
        ----------
        layer : str
            Name of the node, or the address of the unit, such as "conv1[2, 0, 5]".
        unit : int or (channel, *space), optional
            The output unit, by number or position; left out after an address.

        Returns
        -------
        MatrixRow
            Input units, ties and weights of its connections. The bias, and taps on padding, are not among them.

        Raises
        ------
        ShapeError
            If the layer has no matrix, or there is no such unit.
        UnknownNameError
            If there is no such layer.

        Examples
        --------
        >>> from simulator.layers import Conv
        >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3)], rng=0)
        >>> row = net.matrix_row("conv1", (2, 0, 5))
        >>> row
        MatrixRow of conv1, unit 77 (2, 0, 5): reads 9 input units with 9 weights
        >>> row.cols
        array([ 5,  6,  7, 13, 14, 15, 21, 22, 23])
        """
        layer, unit = self._addressed(layer, unit)
        return MatrixRow.of(*self._line_of(layer), unit)

    def matrix_column(self, layer: str, unit: Any) -> MatrixColumn:
        """The fan-out of one input unit of a layer; see `matrix_row`.

        Examples
        --------
        >>> from simulator.layers import Conv
        >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3)], rng=0)
        >>> net.matrix_column("conv1", (0, 0, 0))
        MatrixColumn of conv1, input unit 0 (0, 0, 0): read by 4 output units with 4 weights
        """
        return MatrixColumn.of(*self._line_of(layer), unit)

    def _line_of(self, layer: str) -> tuple[Node, Pattern, TiedMatrix | None]:
        bound = self.node(layer)
        if bound.node.pattern is None:
            names = [node.name for node in self._nodes.values() if isinstance(node.layer, MatrixLayer)]
            raise ShapeError(
                f"{layer}: expected a layer that is one matrix, got {type(bound.layer).__name__}; choose one of "
                f"{', '.join(names) or 'another network'}"
            )
        return bound.node, bound.node.pattern, bound.matrix if self.has_weights else None

    def _addressed(self, layer: str, unit: Any) -> tuple[str, Any]:
        """A node and one unit of it, which an address alone says, too."""
        if unit is not None:
            return self.node(layer).name, unit
        units = Units.of(self._nodes, layer)
        return units.node, units.number

    def receptive_field(self, layer: str, unit: Any = None, of: str | None = None) -> ReceptiveField:
        """Which units of an input, or of any earlier node, can influence one unit.

        Parameters
        ----------
        layer : str
            Name of the node, or the address of the unit, such as "conv2[0, 3, 3]".
        unit : int or (channel, *space), optional
            Its unit, by number or position; left out after an address.
        of : str, optional
            The earlier node. Default: the only input.

        Returns
        -------
        ReceptiveField

        Raises
        ------
        ShapeError
            If there is no such unit.
        UnknownNameError
            If there is no such node.

        Notes
        -----
        The field is exact for layers that are matrices: patterns are followed backwards, whatever the weights are.
        Every tap of a maximum counts; a layer of which nothing is known (`Layer.support`) sees all its inputs.

        Examples
        --------
        >>> from simulator.layers import Conv, MaxPool
        >>> net = Network.sequential((1, 28, 28), [Conv(4, kernel=5), MaxPool(2), Conv(8, kernel=5)])
        >>> field = net.receptive_field("conv2[0, 3, 3]")
        >>> field.box, field.size, field.stride
        (((0, 1), (6, 20), (6, 20)), (14, 14), (2, 2))
        """
        layer, unit = self._addressed(layer, unit)
        return receptive_field(self._nodes, layer, unit, self.node(self.input_name if of is None else of).name)

    def projective_field(self, layer: str, unit: Any = None, of: str | None = None) -> ProjectiveField:
        """Which units of an output, or of any later node, one unit can influence: `receptive_field` the other way.

        Parameters
        ----------
        layer : str
            Name of the node, or the address of the unit, such as "input[0, 9, 9]".
        unit : int or (channel, *space), optional
            Its unit, by number or position; left out after an address.
        of : str, optional
            The later node. Default: the only output.

        Returns
        -------
        ProjectiveField

        Raises
        ------
        ShapeError, UnknownNameError
            As for `receptive_field`.

        Examples
        --------
        >>> from simulator.layers import Conv, MaxPool
        >>> net = Network.sequential((1, 28, 28), [Conv(4, kernel=5), MaxPool(2), Conv(8, kernel=5)])
        >>> field = net.projective_field("input[0, 9, 9]")
        >>> field
        ProjectiveField of input, unit 261 (0, 9, 9): 200 of 512 units of conv2, within 0:8 x 0:5 x 0:5
        >>> net.projective_field("input[0, 9, 9]", of="conv1").box
        ((0, 4), (5, 10), (5, 10))
        """
        layer, unit = self._addressed(layer, unit)
        return projective_field(self._nodes, layer, unit, self.node(self.output_name if of is None else of).name)

    def activation_bytes(self, batch: int, *, keep_all: bool = False) -> int:
        """Bytes of the activations that are in memory at once, at the most, while a batch runs.

        Parameters
        ----------
        batch : int
            Samples.
        keep_all : bool, default False
            Whether every activation is kept, as `run` does, or freed after its last reader, as `predict` does.

        Returns
        -------
        int
            Without the weights, and without what layers keep for the way back.

        Examples
        --------
        >>> from simulator.layers import Dense
        >>> net = Network.sequential((100,), [Dense(50), Dense(10)])
        >>> net.activation_bytes(8), net.activation_bytes(8, keep_all=True)
        (4800, 5120)
        """
        sizes = {node.name: math.prod(node.shape) for node in self._nodes.values()}
        last = {source: node.name for node in self._nodes.values() for source in node.inputs}
        alive, most = sum(sizes[name] for name in self.inputs), 0
        for node in self._nodes.values():
            alive += sizes[node.name] if node.inputs else 0
            most = max(most, alive)
            alive -= sum(sizes[i] for i in {*node.inputs}.difference(self.outputs) if last[i] == node.name)
        return batch * self.dtype.itemsize * (sum(sizes.values()) if keep_all else most)

    def run_bytes(
        self,
        batch: int,
        *,
        of: Iterable[str] | None = None,
        keep_all: bool = False,
        backward: bool = False,
        runs: int = 1,
    ) -> int:
        """About how many bytes a run of a batch takes: what it is refused with where there are fewer.

        Parameters
        ----------
        batch : int
            Samples.
        of : iterable of str, optional
            Nodes whose activations are wanted; what they do not need is not run. Default: the outputs.
        keep_all : bool, default False
            Whether everything is kept, as `run` does, or freed after its last use, as `predict` and training do.
        backward : bool, default False
            Whether gradients go back, too.
        runs : int, default 1
            Of how many such runs the results are in memory at once.

        Returns
        -------
        int
            Activations, what layers keep for the way back, gradients, and what the engine takes; the weights only if
            there are none yet. An estimate, from shapes.

        Examples
        --------
        >>> from simulator.layers import Dense
        >>> net = Network.sequential((100,), [Dense(50), Dense(10)], rng=0)
        >>> csr = 12 * (50 * 100 + 10 * 50)  # scipy.sparse: a value, a column and a tie of each nonzero
        >>> net.run_bytes(8) - csr < 20_000 < net.run_bytes(1024) - csr
        True
        """
        part = self if of is None else self.subnetwork(of)
        return self._run_bytes(part._estimate(batch, keep_all, backward), runs)

    def _run_bytes(self, found: Estimate, runs: int) -> int:
        return found.lasting + _roomy(runs * found.most) + (0 if self.has_weights else self.weight_bytes)

    def _estimate(self, batch: int, keep_all: bool, backward: bool) -> Estimate:
        key = batch, keep_all, backward
        if key not in self._estimates:
            outputs = self.outputs
            plan = alone(self._nodes, self.engine) if keep_all else fused(self._nodes, self.engine, outputs, batch)
            self._estimates[key] = estimated(
                plan, self._nodes, outputs, batch, self.dtype, keep_all=keep_all, backward=backward
            )
        return self._estimates[key]

    @cached_property
    def _estimates(self) -> dict[tuple[int, bool, bool], Estimate]:
        return {}

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights, whether they are there or not."""
        return sum(math.prod(shape) for shape in self._param_shapes.values()) * self.dtype.itemsize

    def check_batch(
        self,
        batch: int,
        *,
        of: Iterable[str] | None = None,
        keep_all: bool = False,
        backward: bool = False,
        runs: int = 1,
    ) -> None:
        """Refuse a batch that would not fit into memory.

        Parameters
        ----------
        batch, of, keep_all, backward, runs
            As for `run_bytes`.

        Raises
        ------
        ShapeError
            If it would not, with the estimate.
        """
        part = self if of is None else self.subnetwork(of)
        found = part._estimate(batch, keep_all, backward)
        need, cure = self._run_bytes(found, runs), "give fewer samples at once" if batch > 1 else _SMALLER
        check_memory(need, f"network, a batch of {batch}", _OTHER_ENGINE if 2 * found.lasting > need else cure)

    def fitting_batch(self, most: int, *, keep_all: bool = False, users: int = 1) -> int:
        """How many samples to run at a time where the result does not depend on it.

        Parameters
        ----------
        most : int
            Not more than these.
        keep_all : bool, default False
            As for `run_bytes`.
        users : int, default 1
            How many such batches are in memory at once, in workspaces of their own.

        Returns
        -------
        int
            As many as need half of the free memory, at least 1.

        Examples
        --------
        >>> from simulator.layers import Dense
        >>> Network.sequential((100,), [Dense(10)]).fitting_batch(256)
        256
        """
        one, free = self._estimate(1, keep_all, False), None
        if one.lasting + users * most * one.most > _SMALL:
            free = available_memory()
        return most if free is None else max(1, min(most, (free - one.lasting) // (2 * users * one.most)))

    def training_bytes(
        self, batch: int, optimizer: Optimizer | None = None, trained: Iterable[str] | None = None
    ) -> int:
        """About how many bytes training takes: what it is refused with where there are fewer.

        Parameters
        ----------
        batch : int
            Samples per step.
        optimizer : Optimizer, optional
            Whose state is counted. Default: one that remembers a number for each weight.
        trained : iterable of str, optional
            Names of the params that it moves. Default: all.

        Returns
        -------
        int
            The weights before and after a step, what the optimizer remembers before and after it, and what a batch and
            its gradients take, or a step of the optimizer: beside the gradients two arrays as large as the largest, and
            truth values for it.
        """
        names = self._param_shapes if trained is None else trained
        copies = 2 + 2 * (1.0 if optimizer is None else state_size(optimizer, names)) - self.has_weights
        largest = max(map(math.prod, self._param_shapes.values()), default=0) * self.dtype.itemsize
        found = self._estimate(batch, False, True)
        step = max(found.most, found.pooled + self.weight_bytes + 9 * largest // 4)
        return found.lasting + _roomy(int(copies * self.weight_bytes) + step)

    def check_training(
        self, batch: int, optimizer: Optimizer | None = None, trained: Iterable[str] | None = None
    ) -> None:
        """Refuse training whose steps would not fit into memory, before the first of them.

        Parameters
        ----------
        batch, optimizer, trained
            As for `training_bytes`.

        Raises
        ------
        ShapeError
            If they would not, with the estimate.
        """
        need, lasting = self.training_bytes(batch, optimizer, trained), self._estimate(batch, False, True).lasting
        cure = "use smaller batches, inputs or networks" if batch > 1 else _SMALLER
        check_memory(need, f"training in batches of {batch}", _OTHER_ENGINE if 2 * lasting > need else cure)

    def check_weights(self, who: str, dtype: Any = None) -> None:
        """Refuse weights that would not fit into memory, before they are drawn or read.

        Parameters
        ----------
        who : str
            Whom the error names.
        dtype : numpy dtype, optional
            What they are cast to afterwards. Default: the network's.

        Raises
        ------
        ShapeError
            If they would not, with the estimate.
        """
        count, size = self.weight_bytes // self.dtype.itemsize, self.dtype.itemsize
        last = self.dtype if dtype is None else Network.input((1,), dtype=dtype).dtype
        if last != self.dtype:
            size += last.itemsize  # for a moment there are both
        check_memory(
            count * size, f"{who}, {count:,} weights", "use a smaller network, a narrower one or one for smaller inputs"
        )

    # ------------------------------------------------------------------ weights

    @cached_property
    def _missing(self) -> list[str]:
        return [name for name in self._param_shapes if name not in self._params]

    @property
    def has_weights(self) -> bool:
        """Whether every layer has its weights."""
        return not self._missing

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Trained arrays by name, such as "conv1.weight"; read-only views."""
        self._require_weights()
        return dict(self._params)

    def _require_weights(self) -> None:
        if self._missing:
            raise SimulatorError(
                f"network: expected weights, got none for {', '.join(self._missing[:3])}; build it with rng=0, or give "
                "them to with_params"
            )

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """Name and shape of every trained array, also without weights."""
        return dict(self._param_shapes)

    @cached_property
    def _param_shapes(self) -> dict[str, Shape]:
        return {
            f"{node.name}.{key}": shape
            for node in self._nodes.values()
            if node.share is None
            for key, shape in node.param_shapes.items()
        }

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        """Arrays that are kept but not trained, by name; read-only views."""
        return dict(self._buffers)

    def with_params(self, params: Mapping[str, Any], *, copy: bool = True) -> Network:
        """The network with other weights.

        Parameters
        ----------
        params : mapping of str to array_like
            New arrays by name; those left out stay as they are. Weights have PyTorch's layout, so the arrays of a
            ``state_dict`` fit as they are once each is given under its name here; running means go to `with_buffers`.
        copy : bool, default True
            Copy the arrays. Without it they themselves become read-only.

        Returns
        -------
        Network

        Raises
        ------
        UnknownNameError
            If the network has no param of a name.
        ShapeError
            If a shape differs, or weights are still missing.
        """
        shapes = self._param_shapes
        new = {**self._params, **_fitting(params, shapes, self.dtype, "with_params", [*self._buffers], copy)}
        missing = sorted(set(shapes) - set(new))
        if missing:
            raise ShapeError(
                f"network.with_params: expected weights for every layer, got none for {', '.join(missing[:5])}; give "
                "them too, or build the network with rng=0"
            )
        return self._replace(params={name: new[name] for name in shapes})

    def with_buffers(self, buffers: Mapping[str, Any]) -> Network:
        """The network with other buffers; see `with_params`."""
        if isinstance(buffers, Mapping) and not buffers:
            return self
        shapes = {name: array.shape for name, array in self._buffers.items()}
        return self._replace(
            buffers={**self._buffers, **_fitting(buffers, shapes, self.dtype, "with_buffers", [*self._param_shapes])}
        )

    def with_engine(self, engine: Engine) -> Network:
        """The network with another engine."""
        if isinstance(engine, type) or not isinstance(engine, Engine):
            raise ShapeError(f"network engine: expected an engine, got {brief(engine)}; write SciPyEngine()")
        return self._replace(engine=engine)

    def settled(self, batch: int, samples: int) -> Network:
        """The network with one engine, where its own chooses among several.

        Parameters
        ----------
        batch : int
            Samples at a time.
        samples : int
            In all; one whose gradients go back counts three times.

        Returns
        -------
        Network
            Itself if its engine is no choice.

        Examples
        --------
        >>> from simulator.auto import AutoEngine
        >>> from simulator.layers import Dense
        >>> Network.sequential((4,), [Dense(2)], engine=AutoEngine([SciPyEngine()])).settled(32, 1000).engine
        SciPyEngine()
        """
        choose = getattr(self.engine, "for_network", None)
        return self if choose is None else self.with_engine(choose(self._nodes.values(), batch, samples))

    def with_dtype(self, dtype: Any) -> Network:
        """The network in another precision."""
        dtype = Network.input((1,), dtype=dtype).dtype
        cast = {k: _frozen(v.astype(dtype, copy=False)) for k, v in self._params.items()}
        buffers = {k: _frozen(v.astype(dtype, copy=False)) for k, v in self._buffers.items()}
        return self._replace(dtype=dtype, params=cast, buffers=buffers)

    @cached_property
    def _matrices(self) -> dict[str, TiedMatrix]:
        """Matrices by node, each made once, so that its values are filled once."""
        return {}

    def _as_run(
        self,
        training: bool = False,
        rng: Rng = None,
        backward: bool = True,
        empty: Empty = np.empty,
    ) -> Run:
        self._require_weights()
        generator = as_rng(rng) if training else None
        return Run(self._params, self._buffers, self.dtype, training, generator, backward, empty, self._matrices)

    # ------------------------------------------------------------------ running

    def predict(self, x: Any, *, clamp: Given | None = None, ablate: Any = (), patch: Given | None = None) -> Any:
        """Outputs for a batch of samples.

        Parameters
        ----------
        x : array_like, (batch, channels, *space), or dict of them by input name
            Integers and float16 are cast to the network's dtype.
        clamp, ablate, patch
            Units that are given other values; as for `run`.

        Returns
        -------
        numpy.ndarray, (batch, *output), or dict of them by output name

        Raises
        ------
        ShapeError, UnknownNameError
            As for `run`.
        """
        empty = Pool().empty
        entered, batch = self._entered(x, empty)
        self._require_weights()
        self.check_batch(batch)
        given = self._interventions(batch, clamp, ablate, patch)
        plan = fused(self._nodes, self.engine, {*self.outputs, *given.nodes}, batch)
        trace = self._traced(plan, entered, self.outputs, given, backward=False, empty=empty)
        if len(self.outputs) == 1:
            return trace[self.outputs[0]]
        return {name: trace[name] for name in self.outputs}

    def run(
        self,
        x: Any,
        *,
        training: bool = False,
        rng: Rng = None,
        clamp: Given | None = None,
        ablate: Any = (),
        patch: Given | None = None,
        probe: Any = (),
    ) -> Trace:
        """Run a batch and keep every activation.

        Parameters
        ----------
        x : array_like, (batch, channels, *space), or dict of them by input name
            The samples.
        training : bool, default False
            Whether layers behave as in training.
        rng : numpy.random.Generator or int, optional
            For layers that draw at random.
        clamp : dict by address, optional
            Units that are given a value whatever they compute, such as ``{"conv2[3]": 0.0}``: a number, an array of the
            shape of these units, or (batch, *that shape). An address is one of a unit, a channel, a site, or a whole
            node, an input too; see `Units`.
        ablate : address or iterable of addresses, default none
            Units that are clamped to 0.
        patch : dict by address, optional
            Units that are given the values that they have for another input: a batch like `x`, or of one sample for all
            of `x`, or a `Trace` of one.
        probe : address or iterable of addresses, default none
            Units whose values `Trace.probes` gives.

        Returns
        -------
        Trace
            Gradients do not go back through units that were given a value.

        Raises
        ------
        ShapeError
            If a shape differs, there are no such units, a value is not finite, or one unit is given two.
        UnknownNameError
            If there is no such node.

        Examples
        --------
        >>> from simulator.layers import Conv, Dense
        >>> net = Network.sequential((1, 8), [Conv(2, kernel=3), Dense(1)], rng=0)
        >>> x = np.ones((5, 1, 8))
        >>> trace = net.run(x, clamp={"conv1[1]": 7.0}, ablate=["conv1[0, 3]"], probe=["conv1[0, 3]", "conv1[:, 5]"])
        >>> trace.probes["conv1[0, 3]"], trace.probes["conv1[:, 5]"].shape
        (array([0., 0., 0., 0., 0.], dtype=float32), (5, 2))
        >>> patched = net.run(x, patch={"conv1": np.zeros((1, 1, 8))})  # all that the output sees is of another input
        >>> patched["dense1"][0] == net.predict(np.zeros((1, 1, 8)))[0]
        array([ True])
        """
        entered, batch = self._entered(x, np.empty)
        self._require_weights()
        self.check_batch(batch, keep_all=True)
        given, probes = self._interventions(batch, clamp, ablate, patch), addressed(self._nodes, probe)
        plan = alone(self._nodes, self.engine)
        return self._traced(plan, entered, None, given, probes=probes, training=training, rng=rng)

    def probe(
        self, x: Any, addresses: Any, *, clamp: Given | None = None, ablate: Any = (), patch: Given | None = None
    ) -> dict[str, np.ndarray]:
        """Values of some units for a batch of samples; nothing after them is computed, and nothing else is kept.

        Parameters
        ----------
        x : array_like, (batch, channels, *space), or dict of them by input name
            The samples.
        addresses : address or iterable of addresses
            Of units, channels, sites or whole nodes; see `Units`.
        clamp, ablate, patch
            Units that are given other values; as for `run`.

        Returns
        -------
        dict of numpy.ndarray by address, (batch, ...)

        Raises
        ------
        ShapeError, UnknownNameError
            As for `run`.

        Examples
        --------
        >>> from simulator.layers import Conv, Dense
        >>> net = Network.sequential((1, 8), [Conv(2, kernel=3), Dense(10)], rng=0)
        >>> {address: values.shape for address, values in net.probe(np.ones((5, 1, 8)), ["conv1[1]", "input"]).items()}
        {'conv1[1]': (5, 6), 'input': (5, 1, 8)}
        """
        empty = Pool().empty
        entered, batch = self._entered(x, empty)
        probes, given = addressed(self._nodes, addresses), self._interventions(batch, clamp, ablate, patch)
        part = self.subnetwork({units.node for units in probes.values()})
        part._require_weights()
        part.check_batch(batch)
        entered = {name: entered[name] for name in part.inputs}
        plan = fused(part.nodes, self.engine, {*part.outputs, *given.nodes}, batch)
        trace = part._traced(plan, entered, part.outputs, given, probes=probes, backward=False, empty=empty)
        return {address: values.copy() for address, values in trace.probes.items()}

    def _interventions(self, batch: int, clamp: Given | None, ablate: Any, patch: Given | None) -> Interventions:
        """What `run` was asked to do with units; those to patch are looked up in their other input."""
        if clamp is patch is None and isinstance(ablate, tuple) and not ablate:
            return Interventions()
        if isinstance(patch, Mapping):
            patch = {address: self._found(address, source) for address, source in patch.items()}
        return Interventions.of(self._nodes, batch, self.dtype, clamp=clamp, ablate=ablate, patch=patch)

    def _found(self, address: Any, source: Any) -> np.ndarray:
        """Values that some units have for another input, (batch, ...)."""
        units = Units.of(self._nodes, address)
        if not isinstance(source, Trace):
            (values,) = self.probe(source, [units]).values()
            return values
        found = source[units.node]
        if found.shape[1:] != units.shape:
            raise ShapeError(
                f"patch {units}: expected a trace with {units.node} of shape {units.shape}, got {found.shape[1:]}; "
                "give one of this network"
            )
        return found[:, *units.slices]

    def _traced(
        self,
        plan: Plan,
        entered: dict[str, np.ndarray],
        keep: Collection[str] | None,
        given: Interventions,
        *,
        probes: Mapping[str, Units] | None = None,
        training: bool = False,
        rng: Rng = None,
        backward: bool = True,
        empty: Empty = np.empty,
    ) -> Trace:
        """What a plan computes; a trace that does not keep everything goes back only once."""
        run = self._as_run(training, rng, backward, empty)
        activations, pullbacks, buffers = execute(plan, entered, run, keep, given)
        outputs = self.outputs if keep is None else tuple(keep)
        return Trace(
            self.nodes,
            self._param_shapes,
            outputs,
            plan,
            activations,
            pullbacks,
            buffers,
            interventions=given,
            probes=probes or {},
            once=keep is not None,
            empty=empty,
        )

    def _entered(self, x: Any, empty: Empty) -> tuple[dict[str, np.ndarray], int]:
        """Activations of the inputs, and the size of the batch."""
        given = x if isinstance(x, Mapping) else {self.input_name: x}
        if set(given) != set(self.inputs):
            raise ShapeError(
                f"network.run: expected the inputs {', '.join(self.inputs)}, got "
                f"{', '.join(map(brief, given)) or 'none'}; give one array for each"
            )
        activations = {name: self._inward(name, given[name], empty) for name in self.inputs}
        batches = {a.shape[-1] for a in activations.values()}
        if len(batches) > 1:
            raise ShapeError(f"network.run: expected inputs of one batch size, got {sorted(batches)}; give equal ones")
        return activations, batches.pop()

    def _inward(self, name: str, x: Any, empty: Empty) -> np.ndarray:
        """The one place where (batch, channels, *space) becomes (channels, *space, batch)."""
        shape = self._nodes[name].shape
        array = real_array(name, x)
        if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
            cure = "one sample needs a batch axis, x[None]" if array.shape == shape else "resize or reshape them"
            raise ShapeError(f"{name}: expected (batch, {', '.join(map(str, shape))}), got {array.shape}; {cure}")
        inner = empty((*shape, len(array)), self.dtype)
        inner[...] = array.transpose(*range(1, array.ndim), 0)
        inner.flags.writeable = False
        return inner

    def __repr__(self) -> str:
        params = sum(math.prod(s) for s in self.param_shapes.values())
        ends = " -> ".join(", ".join(str(self._nodes[n].shape) for n in names) for names in (self.inputs, self.outputs))
        layers = len(self._nodes) - len(self.inputs)
        return f"Network {layers} layer{'s'[: layers != 1]}, {params} params: {ends}"

    def _repr_html_(self) -> str:
        rows = []
        for node in self._nodes.values():
            counts, shape = node.counts, "x".join(map(str, node.shape))
            numbers = counts.params, counts.connections, counts.nonzeros + counts.fixed_nonzeros
            rows.append((node.name, type(node.layer).__name__, ", ".join(node.inputs), shape, *numbers))
        columns = ("node", "layer", "reads", "output", "params", "connections", "nonzeros")
        return html_table(repr(self), columns, rows, left=4)


@dataclass(frozen=True, eq=False)
class BoundNode:
    """A node seen in its network: what it is, and the weights that it has there."""

    network: Network
    node: Node

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def owner(self) -> str:
        """The node that holds the weights."""
        return self.node.owner

    @property
    def layer(self) -> Layer:
        return self.node.layer

    @property
    def shape(self) -> Shape:
        """Of one output sample."""
        return self.node.shape

    @property
    def param_shapes(self) -> dict[str, Shape]:
        return self.node.param_shapes

    @property
    def pattern(self) -> Pattern:
        """Connections and ties of the node's matrix.

        Raises
        ------
        ShapeError
            If the layer is not a matrix.
        """
        if self.node.pattern is None:
            raise ShapeError(
                f"{self.name}: expected a layer that is one matrix, got {type(self.layer).__name__}; choose a "
                "convolution, a dense layer or the like"
            )
        return self.node.pattern

    @property
    def matrix(self) -> TiedMatrix:
        """The equivalent shared-weight matrix, (output units, input units).

        Raises
        ------
        ShapeError
            If the layer is not a matrix.
        """
        _ = self.pattern  # raises where there is none
        return self.network._as_run().matrix(self.node)

    @property
    def params(self) -> dict[str, np.ndarray]:
        """The layer's trained arrays, such as "weight" and "bias"."""
        return self.network._as_run().own_params(self.node)

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        """The layer's buffers by their own names."""
        return {key: self.network._buffers[f"{self.name}.{key}"] for key in self.node.buffer_names}

    def affine_at(self, *xs: np.ndarray) -> Affine | None:
        """The matrices and the offset that a layer without a matrix of its own chooses at one sample.

        Parameters
        ----------
        *xs : numpy.ndarray, (channels, *space)
            One sample of each input of the node.

        Returns
        -------
        list of scipy.sparse.csr_array, numpy.ndarray
            One matrix (n_out, n_in) for each input and an offset (n_out,), so that the output is
            ``sum(A @ x.ravel()) + offset``; None where the layer is not piecewise linear, or is a matrix.

        Examples
        --------
        >>> from simulator import ReLU
        >>> node = Network.sequential((3,), [ReLU()], rng=0).node("relu1")
        >>> (matrix,), offset = node.affine_at(np.array([2.0, -1.0, 3.0]))
        >>> matrix.toarray(), offset
        (array([[1., 0., 0.],
               [0., 0., 0.],
               [0., 0., 1.]]), array([0., 0., 0.]))
        """
        return self.layer.affine_at(self.params, self.buffers, *xs)

    def __repr__(self) -> str:
        return f"{self.name}: {self.layer!r} -> {self.shape}"


def _roomy(need: int) -> int:
    """An eighth more, for what shapes do not tell: allocators, threads, arrays of a moment."""
    return need + need // 8


def _frozen(array: Any) -> np.ndarray:
    """The array itself, read-only from now on."""
    frozen = np.asarray(array)
    frozen.flags.writeable = False
    return frozen


def _first_values(
    node: Node, kind: str, given: Mapping[str, Any], shapes: Mapping[str, Shape], dtype: np.dtype
) -> dict[str, np.ndarray]:
    """What a layer gives to begin with, by full name, in the network's dtype and frozen."""
    if given.keys() != shapes.keys():
        raise PluginError(
            f"{node.name}: expected {brief(node.layer)} to give first values of {', '.join(shapes) or 'nothing'}, got "
            f"{', '.join(given) or 'none'}; correct its init_params or param_shapes"
        )
    values = {}
    for key, shape in shapes.items():
        array = promised(given[key], shape, dtype)
        if array is None:
            raise PluginError(
                f"{node.name}: expected {brief(node.layer)} to give the {kind} {key} as an array {shape} of real "
                f"numbers, got {seen(given[key], shape)}; correct its init_{kind}s"
            )
        values[f"{node.name}.{key}"] = _frozen(array)
    return values


def _fitting(
    given: Mapping[str, Any],
    shapes: Mapping[str, Shape],
    dtype: np.dtype,
    who: str,
    others: list[str],
    copy: bool = True,
) -> dict[str, np.ndarray]:
    """Arrays cast to `dtype` and frozen, after names and shapes have been checked."""
    if not isinstance(given, Mapping):
        raise ShapeError(
            f"network.{who}: expected a dict of arrays by name, got {type(given).__name__}; write {{name: array}}"
        )
    fitting = {}
    for name, value in given.items():
        if name not in shapes:
            cure = nearest(name, shapes)
            if name in others:
                cure = f"give it to network.{'with_buffers' if who == 'with_params' else 'with_params'}"
            raise UnknownNameError(f"network.{who}: expected a known name, got {brief(name)}; {cure}")
        array = real_array(f"network.{who} {name}", value)
        if array.shape != tuple(shapes[name]):
            raise ShapeError(
                f"network.{who}: expected {name} of shape {tuple(shapes[name])}, got {array.shape}; give one that fits"
            )
        fitting[name] = _frozen(array.astype(dtype, order="C", copy=copy))
    return fitting
