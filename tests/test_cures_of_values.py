"""What an error says to do about one wrong value: the value that it proposes, or one as it asks for, is taken."""

from __future__ import annotations

import math
import os
import re

import networkx as nx
import numpy as np
import pytest

from simulator import (
    SGD,
    Add,
    Catalog,
    Conv,
    CrossEntropy,
    Dataset,
    Dense,
    ExplicitPattern,
    Grouped,
    MaxPool,
    Network,
    Normalise,
    RandomMirror,
    ReLU,
    ScaledTanh,
    SimulatorError,
    Sparse,
    average,
    centre_crop,
    load,
    save,
    train,
)
from simulator.lab import (
    ablation,
    affine,
    edited,
    effect,
    gradient_of,
    incoming,
    pieces,
    preferred_input,
    retie,
    silence,
    unit_graph,
    untie,
    write_graph,
)
from simulator.splits import Splits
from simulator.workspace import Workspace

CATALOG = Catalog()
MAKE = CATALOG.make
RNG = np.random.default_rng(0)
X = RNG.random((6, 1, 8, 8), np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2])
DATA = Dataset(X, LABELS)
LAYERS = [Conv(2, 3), ReLU(), MaxPool(2), Dense(3)]
NET = Network.sequential((1, 8, 8), LAYERS, rng=0)
BARE = Network.sequential((1, 8, 8), LAYERS)
SMOOTH = Network.sequential((1, 8, 8), [Conv(2, 3), ScaledTanh(), Dense(3)], rng=0)
HEADS = NET.add(Dense(2), "relu1", name="second", rng=0).subnetwork(["dense1", "second"])
STEEP = Network.sequential((1, 8, 8), [Conv(2, 3), Conv(2, 3), Dense(3)], rng=0)
W = NET.node("conv1").matrix
PAIR = (
    Network.input((2,))
    .add(ReLU(), name="a")
    .add(ReLU(), "input", name="b")
    .add(Add(), "a", "b")
    .subnetwork("add1", inputs=["a", "b"])
)

CONV = {"out_channels": 2, "kernel": 3}

# A layer, wrong arguments, what the error says to do, arguments as it asks for, a shape.
LAYER_ROWS = [
    ("batch-norm", {"momentum": 2.0}, "0.1 is usual", {"momentum": 0.1}),
    ("batch-norm", {"epsilon": 0.0}, "1e-5 is usual", {"epsilon": 1e-5}),
    ("dropout", {"rate": 1.0}, "it is the share of units that are left out", {"rate": 0.9}),
    ("group-norm", {"groups": 2, "epsilon": 0.0}, "1e-5 is usual", {"groups": 2, "epsilon": 1e-5}),
    ("hard-sigmoid", {"slope": 0.0}, "1 / 6 is usual", {"slope": 1 / 6}),
    ("hard-tanh", {"low": 1.0, "high": -1.0}, "give the lower bound first", {"low": -1.0, "high": 1.0}),
    ("local-response-norm", {"k": 0.0}, "what is divided by must be positive", {"k": 2.0}),
    ("prelu", {"init": math.inf}, "0.25 is usual", {"init": 0.25}),
    ("softplus", {"beta": 0.0}, "1 is the usual one", {"beta": 1.0}),
    ("upsample", {}, "give one of them, such as factor=2", {"factor": 2}),
    ("identity-shortcut", {"channels": 2}, "it adds channels and drops none", {"channels": 6}),
    ("pad", {"padding": [(1, 1)]}, "give one per space axis", {"padding": [(1, 1), (1, 1)]}),
    ("conv", CONV | {"bias": "all"}, "write for example bias=True", CONV | {"bias": True}),
    (
        "conv",
        CONV | {"padding_mode": "mirror"},
        "write for example padding_mode='constant'",
        CONV | {"padding_mode": "constant"},
    ),
    ("conv", CONV | {"padding": "all"}, "write for example padding=0", CONV | {"padding": 0}),
    ("conv", CONV | {"init": "xavir"}, "write for example init='he'", CONV | {"init": "he"}),
    ("conv", CONV | {"pad_value": math.nan}, "write for example pad_value=0.0", CONV | {"pad_value": 0.0}),
    ("pad", {"padding": [(1, 1)]}, "give one per space axis", {"padding": [(1, 1), (1, 1)]}),
]


@pytest.mark.parametrize("row", LAYER_ROWS, ids=lambda row: f"{row[0]} {[*row[1].items()][-1:]}")
def test_the_value_that_a_layer_asks_for_is_taken(row):
    name, wrong, cure, right = row
    with pytest.raises(SimulatorError, match=re.escape(cure)):
        Network.sequential((4, 6, 6), [MAKE(name, **wrong)], rng=0)
    assert np.isfinite(Network.sequential((4, 6, 6), [MAKE(name, **right)], rng=0).predict(np.ones((2, 4, 6, 6)))).all()


# A loss by its name, wrong arguments, what the error says to do, arguments as it asks for.
LOSS_ROWS = [
    ("hinge", {"margin": 0.0}, "1 is usual", {"margin": 1.0}),
    ("huber", {"delta": 0.0}, "1 is the usual one", {"delta": 1.0}),
    ("cross-entropy", {"class_weights": (1, -1, 1)}, "a class of 0 does not count", {"class_weights": (1, 0, 1)}),
    ("cross-entropy", {"class_weights": (1, 1)}, "give that many", {"class_weights": (1, 1, 2)}),
]


@pytest.mark.parametrize("row", LOSS_ROWS, ids=lambda row: f"{row[0]} {row[1]}")
def test_the_value_that_a_loss_asks_for_is_taken(row):
    name, wrong, cure, right = row

    def trained(arguments):
        loss = CATALOG.losses[name](**arguments)
        return next(train(NET, DATA, epochs=1, losses=loss)).loss

    with pytest.raises(SimulatorError, match=re.escape(cure)):
        trained(wrong)
    assert np.isfinite(trained(right))


def _aside():
    two = Network.input((1, 8, 8)).add(Dense(3), name="main", rng=0).add(Dense(2), "input", name="aside", rng=0)
    return two._replace(outputs=("main",))


def on_a_line(**options):
    return pieces(NET, X[0], X[1], **options).regions > 1


def preferred(**options):
    return preferred_input(NET, "conv1[0]", x0=X[0], steps=1, **options).value


def graph_of(*, sites=(0, 0), **options):
    return unit_graph(NET, ("conv1", (0, *sites)), **options).size() > 0


# What provokes the error, what it says to do, and what it says to do, done. `t` is an empty folder.
ROWS = {
    # data
    "targets of several outputs in a batch": (
        lambda t: Normalise.of({"a": X}),
        "give an array, for example data.inputs[name]",
        lambda t: len(Normalise.of({"a": X}["a"]).mean) == 1,
    ),
    "a share that leaves nothing": (
        lambda t: Splits().on(DATA.take(slice(1)), "mine", 0.5, 0),
        "use another share, or more samples",
        lambda t: len(Splits().on(DATA, "mine", 0.5, 0).all) == 1,
    ),
    "no batch": (
        lambda t: centre_crop(X[0, 0], 4),
        "reshape it",
        lambda t: centre_crop(X[0, 0].reshape(1, 1, 8, 8), 4).shape == (1, 1, 4, 4),
    ),
    "a share of mirrors": (
        lambda t: RandomMirror(share=2)(X, np.random.default_rng(0)),
        "0.5 mirrors every other sample",
        lambda t: RandomMirror(share=0.5)(X, np.random.default_rng(0)).shape == X.shape,
    ),
    "an average of different classes": (
        lambda t: average([NET, Network.sequential((1, 8, 8), [Dense(2)], rng=0)], X),
        "build them alike",
        lambda t: average([NET, Network.sequential((1, 8, 8), [Dense(3)], rng=0)], X).shape == (6, 3),
    ),
    "an average over no array": (
        lambda t: average([NET], 5),
        "give an array",
        lambda t: average([NET], X).shape == (6, 3),
    ),
    "a path that does not exist": (
        lambda t: CATALOG.load_data(str(t / "no.npz"), (1, 8, 8)),
        "check the path",
        lambda t: np.savez(t / "no.npz", inputs=X, targets=LABELS) or CATALOG.load_data(str(t / "no.npz"), (1, 8, 8)),
    ),
    "a path for a kind that does not exist": (
        lambda t: CATALOG.load_data(f"npz:{t / 'no.npz'}", (1, 8, 8)),
        "check the path",
        lambda t: (
            np.savez(t / "no.npz", inputs=X, targets=LABELS) or CATALOG.load_data(f"npz:{t / 'no.npz'}", (1, 8, 8))
        ),
    ),
    "an argument that is missing": (
        lambda t: MAKE("conv", 2),
        "correct the call",
        lambda t: MAKE("conv", 2, kernel=3),
    ),
    # losses and training
    "targets of another shape": (
        lambda t: CATALOG.losses["squared-error"]().value(np.ones((6, 3)), np.ones((6, 2))),
        "give one value per output unit, or integer labels",
        lambda t: (
            CATALOG.losses["squared-error"]().value(np.ones((6, 3)), np.ones((6, 3))) == 0
            and CATALOG.losses["squared-error"]().value(np.ones((6, 3)), LABELS) > 0
        ),
    ),
    "soft targets and ignored labels": (
        lambda t: CrossEntropy(ignore_index=1).value(np.ones((2, 3)), np.full((2, 3), 1 / 3)),
        "leave it out",
        lambda t: CrossEntropy().value(np.ones((2, 3)), np.full((2, 3), 1 / 3)) > 0,
    ),
    "targets that are no shares": (
        lambda t: CATALOG.losses["binary-cross-entropy"]().value(np.ones((2, 3)), np.full((2, 3), 2.0)),
        "scale them or choose another loss",
        lambda t: CATALOG.losses["binary-cross-entropy"]().value(np.ones((2, 3)), np.full((2, 3), 1.0)) > 0,
    ),
    "an odd number of means and variances": (
        lambda t: CATALOG.losses["gaussian-kl"]().value(np.ones((2, 3)), None),
        "give the output an even number of channels",
        lambda t: CATALOG.losses["gaussian-kl"]().value(np.ones((2, 4)), None) > 0,
    ),
    "a sample of an odd number": (
        lambda t: Network.sequential((1, 8, 8), [Dense(3), MAKE("gaussian-sample")], rng=0),
        "give the layer before it an even number of outputs",
        lambda t: Network.sequential((1, 8, 8), [Dense(4), MAKE("gaussian-sample")], rng=0).output_shape == (2,),
    ),
    "no groups": (
        lambda t: Grouped([]),
        "write Grouped([('*.bias', SGD(0.1)), ('*', SGD(1.0))])",
        lambda t: next(train(NET, DATA, epochs=1, optimizer=Grouped([("*.bias", SGD(0.1)), ("*", SGD(1.0))]))),
    ),
    "a group of nothing": (
        lambda t: next(train(NET, DATA, epochs=1, optimizer=Grouped([("fc*", SGD(0.1)), ("*", SGD(0.1))]))),
        "leave the group out, or choose a pattern of: conv1.weight, conv1.bias, dense1.weight",
        lambda t: next(train(NET, DATA, epochs=1, optimizer=Grouped([("dense1*", SGD(0.1)), ("*", SGD(0.1))]))),
    ),
    "a param in no group": (
        lambda t: next(train(NET, DATA, epochs=1, optimizer=Grouped([("*.bias", SGD(0.1))]))),
        "add a last group of the pattern '*'",
        lambda t: next(train(NET, DATA, epochs=1, optimizer=Grouped([("*.bias", SGD(0.1)), ("*", SGD(0.1))]))),
    ),
    "steps that are too long": (
        lambda t: [*train(STEEP, DATA, epochs=9, optimizer=SGD(1e25))],
        "use a smaller learning rate",
        lambda t: [*train(STEEP, DATA, epochs=9, optimizer=SGD(1e-3))],
    ),
    # matrices, patterns
    "a product of another size": (
        lambda t: W @ np.ones(5),
        f"the matrix is {W.shape[0]} x {W.shape[1]}",
        lambda t: (W @ np.ones(W.shape[1])).shape == (W.shape[0],),
    ),
    "a gradient of two batches": (
        lambda t: W.grad(np.ones((64, 2)), np.ones((72, 3))),
        "give both for the same samples",
        lambda t: W.grad(np.ones((64, 3)), np.ones((72, 3))).shape == (2, 1, 3, 3),
    ),
    "a tie that is none": (
        lambda t: W.pattern.sharing(18),
        "expected a tie from 0 to 17",
        lambda t: W.pattern.sharing(17)[0].size > 0,
    ),
    "a vector of floats": (
        lambda t: ExplicitPattern([0.5], [0], [0], shape=(2, 2)),
        "give one integer per connection",
        lambda t: ExplicitPattern([1], [0], [0], shape=(2, 2)).nnz == 1,
    ),
    "a pattern of no units": (
        lambda t: Network.sequential((4,), [Sparse(ExplicitPattern([], [], [], shape=(0, 4)))]),
        "give one that connects units",
        lambda t: Network.sequential((4,), [Sparse(ExplicitPattern([0], [0], [0], shape=(1, 4)))]).output_shape == (1,),
    ),
    # networks
    "inputs of two batch sizes": (
        lambda t: PAIR.run({"a": X[:2, 0, 0, :2], "b": X[:1, 0, 0, :2]}),
        "give equal ones",
        lambda t: PAIR.run({"a": X[:2, 0, 0, :2], "b": X[:2, 0, 0, :2]}),
    ),
    "a name that has no weights": (
        lambda t: NET.with_params({"conv1.wieght": 0}),
        "did you mean 'conv1.weight'?",
        lambda t: NET.with_params({"conv1.weight": np.zeros((2, 1, 3, 3))}),
    ),
    "a patch from another network": (
        lambda t: (
            effect(NET, X[0], patch={"conv1": SMOOTH.subnetwork("conv1").run(np.zeros((1, 1, 8, 8))[..., :8])})
            and NET.run(X[:1], patch={"conv1": Network.sequential((1, 8, 8), [Conv(3, 3)], rng=0).run(X[:1])})
        ),
        "give one of this network",
        lambda t: NET.run(X[:1], patch={"conv1": NET.run(X[:1])}),
    ),
    "a trace that is done": (
        lambda t: Workspace(NET).run(NET, X).backward(np.ones((6, 3))),
        "use network.run",
        lambda t: NET.run(X).backward(np.ones((6, 3))).params["conv1.weight"].any(),
    ),
    "a node that a trace lacks": (
        lambda t: NET.run(X)["relu2"],
        "did you mean 'relu1'?",
        lambda t: NET.run(X)["relu1"],
    ),
    "a workspace of another network": (
        lambda t: Workspace(NET).run(SMOOTH, X),
        "make a workspace for this one",
        lambda t: Workspace(SMOOTH).run(SMOOTH, X),
    ),
    # addresses and the lab
    "a node that is not there": (
        lambda t: incoming(NET, "conv2[0, 0, 0]", X[0]),
        "did you mean 'conv1'?",
        lambda t: incoming(NET, "conv1[0, 0, 0]", X[0]),
    ),
    "no address of a weight": (
        lambda t: gradient_of(NET, "conv1", X, LABELS),
        "write for example 'conv1.weight[0, 0, 2, 1]'",
        lambda t: gradient_of(NET, "conv1.weight[0, 0, 2, 1]", X, LABELS),
    ),
    "a loss by name": (
        lambda t: gradient_of(NET, "conv1.weight[0, 0, 2, 1]", X, LABELS, "cross-entropy"),
        "write CrossEntropy()",
        lambda t: gradient_of(NET, "conv1.weight[0, 0, 2, 1]", X, LABELS, CrossEntropy()),
    ),
    "an infinite weight": (
        lambda t: edited(NET, "conv1.weight[0, 0, 2, 1]", math.inf),
        "give another",
        lambda t: edited(NET, "conv1.weight[0, 0, 2, 1]", 3.0),
    ),
    "infinite clamps": (
        lambda t: effect(NET, X[0], clamp={"conv1[0]": math.nan}),
        "give others",
        lambda t: effect(NET, X[0], clamp={"conv1[0]": 1.0}),
    ),
    "an ablation of something else": (
        lambda t: ablation(NET, DATA, "conv1", by="row"),
        "choose one of them",
        lambda t: [ablation(NET, DATA, "conv1", by=by) for by in ("unit", "channel", "site")],
    ),
    "an ablation to nothing": (
        lambda t: ablation(NET, DATA, "conv1", value=math.inf),
        "0 is usual",
        lambda t: ablation(NET, DATA, "conv1", value=0),
    ),
    "an ablation of a layer that the output does not need": (
        lambda t: ablation(_aside(), DATA, "aside"),
        "choose one of input, main",
        lambda t: ablation(_aside(), DATA, "main"),
    ),
    "samples for an affine map": (
        lambda t: affine(NET, X),
        "take one of a batch with x[0]",
        lambda t: affine(NET, X[0]),
    ),
    "a tolerance of a half": (
        lambda t: on_a_line(tolerance=0.5),
        "write 1e-9",
        lambda t: on_a_line(tolerance=1e-9),
    ),
    "a start of nothing": (
        lambda t: preferred_input(NET, "conv1[0]", x0=np.zeros((1, 8, 8))),
        "take a sample",
        lambda t: preferred_input(NET, "conv1[0]", x0=X[0], steps=1),
    ),
    "a rate of nothing": (
        lambda t: preferred(lr=0),
        "give such a number",
        lambda t: preferred(lr=0.1),
    ),
    "a sample of nothing": (
        lambda t: incoming(NET, "conv1[0, 0, 0]", np.full((1, 8, 8), np.nan)),
        "correct the inputs",
        lambda t: incoming(NET, "conv1[0, 0, 0]", np.nan_to_num(np.full((1, 8, 8), np.nan))),
    ),
    "a trace of another network": (
        lambda t: incoming(
            NET, "conv1[0, 0, 0]", Network.sequential((1, 9, 9), LAYERS, rng=0).run(np.ones((1, 1, 9, 9)))
        ),
        "give one that this network's run made",
        lambda t: incoming(NET, "conv1[0, 0, 0]", NET.run(X[:1])),
    ),
    "another network's ties": (
        lambda t: retie(untie(NET), SMOOTH),
        "give the network that this one was made from",
        lambda t: retie(untie(NET), NET).nodes["conv1"].layer == NET.nodes["conv1"].layer,
    ),
    "layers by number": (
        lambda t: untie(NET, layers=[1]),
        "write 'conv*'",
        lambda t: untie(NET, layers=["conv*"]),
    ),
    "a layer without weights": (
        lambda t: untie(NET, layers=["relu1"]),
        "choose one of: conv1, dense1",
        lambda t: untie(NET, layers=["conv1", "dense1"]),
    ),
    "silence of arrays": (
        lambda t: silence(NET, X),
        "write Dataset(inputs, targets)",
        lambda t: silence(NET, Dataset(X, LABELS)).samples == 6,
    ),
    "a channel in the middle of a graph": (
        lambda t: unit_graph(NET, "conv1[0]", max_edges=10),
        "name a single one, or raise max_edges (--max-edges)",
        lambda t: (
            unit_graph(NET, "dense1[0]", max_edges=100).size() and unit_graph(NET, "conv1[0]", max_edges=10_000).size()
        ),
    ),
    "a graph of too many hops": (
        lambda t: graph_of(hops=3, max_edges=11),
        "take fewer hops or a single unit, or raise max_edges (--max-edges)",
        lambda t: graph_of(hops=1, max_edges=11) and graph_of(hops=3, max_edges=10_000),
    ),
    "a graph with control characters": (
        lambda t: write_graph(nx.DiGraph([("a\x00", "b")]), t / "g.graphml"),
        "for example with networkx.relabel_nodes",
        lambda t: write_graph(
            nx.relabel_nodes(nx.DiGraph([("a\x00", "b")]), lambda name: name.strip("\x00")), t / "g.graphml"
        ),
    ),
    "a graph with objects": (
        lambda t: write_graph(nx.DiGraph([("a", "b", {"shape": object()})]), t / "g.graphml"),
        "convert or remove it",
        lambda t: write_graph(nx.DiGraph([("a", "b", {"shape": str((1, 2))})]), t / "g.graphml"),
    ),
    # files
    "a folder for a device": (
        lambda t: save(os.mkfifo(t / "pipe") or t / "pipe", NET),
        "choose another name",
        lambda t: save(t / "net", NET),
    ),
    "a name that is too long": (
        lambda t: save(t / ("n" * 300), NET),
        "choose another",
        lambda t: save(t / "net", NET),
    ),
    "a description that is too long": (
        lambda t: save(t / "net", NET, info={"note": "x" * 10**8}),
        "keep less in info",
        lambda t: save(t / "net", NET, info={"note": "x"}),
    ),
    "a file that is no network": (
        lambda t: load((t / "net").write_bytes(b"x" * 100) and t / "net"),
        "it is damaged or of another kind",
        lambda t: save(t / "net", NET) or load(t / "net"),
    ),
    # architectures
    "an autoencoder without convolutions": (
        lambda t: CATALOG.build("autoencoder", (1, 8, 8), maps=()),
        "write maps=(16, 32)",
        lambda t: CATALOG.build("autoencoder", (1, 8, 8), maps=(16, 32)),
    ),
    "pictures that cannot be halved twice": (
        lambda t: CATALOG.build("gan-discriminator", (1, 9, 9)),
        "resize the pictures",
        lambda t: CATALOG.build("gan-discriminator", (1, 8, 8)),
    ),
    "an experiment of no depths": (
        lambda t: CATALOG.experiments["depth"](depths=()),
        "try (20, 56)",
        lambda t: CATALOG.experiments["depth"](depths=(20, 56)),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_what_an_error_says_to_do_works(name, tmp_path):
    provoke, cure, follow = ROWS[name]
    with pytest.raises(SimulatorError, match=re.escape(cure)):
        provoke(tmp_path)
    result = follow(tmp_path)
    assert not isinstance(result, bool | np.bool_) or result
