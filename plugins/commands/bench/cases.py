"""Cases: what is computed and timed, on which numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from simulator import SGD, Catalog, Conv, Dense, Network, ShapeError
from simulator.cli.common import network_from
from simulator.memory import check_memory

FORWARD, BACKWARD, STEP = "forward", "forward, backward", "training step"
DIGITS = "digits-net"


@dataclass(frozen=True, eq=False)
class Case:
    """One thing that every side computes.

    Parameters
    ----------
    name : str
        For the reader.
    what : str
        FORWARD; BACKWARD, which goes back from a given gradient of the output to those of weights and input; or STEP:
        forward, cross-entropy, backward, and new weights by gradient descent.
    network : Network
        With weights, one input and one output; a single layer is a network of one node.
    batch : int
        Number of samples.
    catalog : Catalog
        Knows the names of the layers.
    inner : bool, default False
        Whether samples lie in memory as the simulator has them, (channels, *space, batch): a layer inside of a network
        gets them like that, while a whole network has to convert its input.
    """

    name: str
    what: str
    network: Network
    batch: int
    catalog: Catalog
    inner: bool = False

    @cached_property
    def x(self):
        """The samples, (batch, channels, *space)."""
        return self._drawn(self.network.input_shape, 0)

    @cached_property
    def dy(self):
        """A gradient of the output, (batch, *output)."""
        return self._drawn(self.network.output_shape, 1)

    @cached_property
    def labels(self):
        """Integers (batch,)."""
        return np.random.default_rng(2).integers(self.network.output_shape[0], size=self.batch)

    def _drawn(self, shape, seed):
        rng = np.random.default_rng(seed)  # in float32, so that float64 gets the same numbers
        if self.inner:
            drawn = np.moveaxis(rng.standard_normal((*shape, self.batch), np.float32), -1, 0)
        else:
            drawn = rng.standard_normal((self.batch, *shape), np.float32)
        return drawn.astype(self.network.dtype, copy=False)

    @property
    def certain(self):
        """The case without chance: dropout leaves out nothing, so that all sides compute the same."""
        if self.what == FORWARD or "dropout" not in self.catalog.layers:
            return self
        dropout = self.catalog.layers["dropout"]
        nodes = self.network.nodes
        if not any(isinstance(node.layer, dropout) for node in nodes.values()):
            return self
        network = Network.input(self.network.input_shape, self.network.input_name, dtype=self.network.dtype)
        for name, node in nodes.items():
            if node.inputs:
                layer = replace(node.layer, rate=0.0) if isinstance(node.layer, dropout) else node.layer
                network = network.add(layer, *node.inputs, name=name, share=node.share)
        network = network.with_params(self.network.params, copy=False).with_buffers(self.network.buffers)
        return replace(self, network=network.with_engine(self.network.engine))

    def check(self):
        """Refuse what cannot be trained, or would not fit into memory.

        Raises
        ------
        ShapeError
            If the network does not give one logit per class, or too much memory is needed.
        """
        network, who = self.network, f"bench {self.name}"
        if len(network.inputs) != 1 or len(network.outputs) != 1:
            raise ShapeError(
                f"{who}: expected one input and one output, got {len(network.inputs)} and {len(network.outputs)}; "
                "choose another network, or leave out what adds outputs"
            )
        if self.what == STEP and len(network.output_shape) != 1:
            raise ShapeError(
                f"{who}: expected one output per class to train, got the shape {network.output_shape}; time its "
                "forward pass with --forward"
            )
        sizes = [math.prod(node.shape) * self.batch for node in network.nodes.values()]
        weights = sum(math.prod(shape) for shape in network.param_shapes.values())
        if self.what == FORWARD:
            own, others = network.run_bytes(self.batch), 2 * max(sizes)
        else:  # the other side has weights, gradients and activations, too
            own, others = network.training_bytes(self.batch, SGD()), 2 * weights + sum(sizes)
        cure = f"use a smaller --batch-size{', --forward' if self.what == STEP else ''} or a smaller network"
        check_memory(own + others * network.dtype.itemsize, who, cure)


def digits_net(make, rng=0):
    """Two convolutions for digits of 1 x 8 x 8, 16 and 32 maps."""
    return Network.input((1, 8, 8)).chain(
        [
            ("conv1", make("conv", 16, kernel=3, padding=1)),
            ("relu1", make("relu")),
            ("pool1", make("max-pool", 2)),
            ("conv2", make("conv", 32, kernel=3, padding=1)),
            ("relu2", make("relu")),
            ("pool2", make("max-pool", 2)),
            ("dense", make("dense", 10)),
        ],
        rng=rng,
    )


@dataclass(frozen=True)
class Settings:
    """What the command line asks for, in words that another process understands.

    Parameters
    ----------
    nets : tuple of str
        Architectures, files, or "digits-net"; none stands for a short list.
    layers, forward : bool
        Single layers instead of whole networks; forward passes only.
    batch, threads : int
        Samples, and cores.
    dtype, engine : str
        By name.
    build : dict
        `input_shape`, `classes` and `build_option` for the architectures.
    plugins : tuple of str
        Given with -p.
    prefer : dict of str
        Given with --prefer.
    """

    nets: tuple[str, ...]
    layers: bool
    forward: bool
    batch: int
    threads: int
    dtype: str
    engine: str
    build: dict
    plugins: tuple[str, ...]
    prefer: dict


def plans(settings, catalog, engine):
    """Functions without arguments, each of which makes a case with its weights.

    Parameters
    ----------
    settings : Settings
        What is asked for.
    catalog : Catalog
        Of these settings.
    engine : Engine
        Of the networks.
    """

    def case(name, what, build, inner):
        shapes = build(rng=None).with_dtype(settings.dtype).with_engine(engine)
        empty = Case(name, what, shapes, settings.batch, catalog, inner)
        empty.check()  # before there are any weights
        return replace(empty, network=build(rng=0).with_dtype(settings.dtype).with_engine(engine))

    found = []
    if not settings.layers:
        what = FORWARD if settings.forward else STEP
        for net in settings.nets or ("lenet5", DIGITS):
            found.append(partial(case, net, what, partial(_network, settings, catalog, net), False))
    if settings.layers or not settings.nets:
        layers = [
            found for net in settings.nets for found in _layers_of(net, _network(settings, catalog, net, rng=None))
        ]
        for name, shape, layer in layers or _usual_layers(catalog):
            for what in (FORWARD,) if settings.forward else (FORWARD, BACKWARD):
                found.append(partial(case, name, what, partial(Network.sequential, shape, [layer]), True))
    return found


def _network(settings, catalog, net, rng):
    if net == DIGITS and net not in catalog.architectures:
        return digits_net(catalog.make, rng)
    return network_from(catalog, net, rng=rng, **settings.build).network


def _usual_layers(catalog):
    """Name, input shape and layer of those that are timed where none are asked for."""
    lenet5 = catalog.build("lenet5", rng=None)
    nodes = [lenet5.nodes[name] for name in ("conv1", "conv2")]
    found = [(f"lenet5 {node.name}", node.input_shapes[0], node.layer) for node in nodes]
    conv, dense = Conv(64, kernel=3, padding=1), Dense(256)
    return [*found, ("conv 64 -> 64, 16x16", (64, 16, 16), conv), ("dense 1024 -> 256", (1024,), dense)]


def _layers_of(net, network):
    """Name, input shape and layer of every node whose matrix is trained; of equal ones the first."""
    found = {}
    for name, node in network.nodes.items():
        if node.pattern is not None and "weight" in node.param_shapes:
            found.setdefault((repr(node.layer), node.input_shapes), (f"{net} {name}", node.input_shapes[0], node.layer))
    return list(found.values())
