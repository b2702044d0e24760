"""What errors about pictures, files, experiments and loops of training say to do is done here, and works."""

from __future__ import annotations

import re

import numpy as np
import pytest

from simulator import (
    SGD,
    Add,
    Catalog,
    Conv,
    Dataset,
    Dense,
    Network,
    ReLU,
    ScaledTanh,
    SimulatorError,
    draw,
    load,
    save,
    train,
)
from simulator.lab import (
    affine,
    gradient_of,
    layer_graph,
    unit_graph,
)
from simulator.running import run_experiment

CATALOG = Catalog()
RNG = np.random.default_rng(0)
X = RNG.random((6, 1, 8, 8), np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2])
DATA = Dataset(X, LABELS)
NET = Network.sequential((1, 8, 8), [Conv(2, 3), ReLU(), Dense(3)], rng=0)
SMOOTH = Network.sequential((1, 8, 8), [Conv(2, 3), ScaledTanh(), Dense(3)], rng=0)
DEEP = Network.sequential((1, 4, 4, 4), [Conv(2, 3), Dense(3)], rng=0)
WIDE = Network.sequential((1, 20, 20), [Conv(2, 3), Dense(3)], rng=0)
JOINED = Network.input((4,)).add(ReLU(), name="a").add(Add(), "a", "input", name="sum")


def player(name, shape):
    return CATALOG.build(name, shape, width=0.1, rng=0)


def played(generator, discriminator, data, rate=0.001):
    from simulator_plugins.architectures.gan import train_gan

    return next(train_gan(generator, discriminator, data, optimizer=SGD(rate), epochs=1)).generator


def machine(data, shape=(1, 8, 8), rate=0.01):
    from simulator_plugins.architectures.rbm import contrastive_divergence

    network = CATALOG.build("rbm", shape, hidden=4, rng=0)
    return [*contrastive_divergence(network, data, optimizer=SGD(rate), epochs=2)]


def another_version(path):
    save(path / "net", NET)
    content = (path / "net").read_bytes().replace(b'"version', b'"versoin')
    (path / "net").write_bytes(content)
    return path / "net"


def experiment(folder, **options):
    return run_experiment("retie-identity", folder, quick=True, seeds=1, **options)


def damaged(folder):
    experiment(folder)
    (folder / "runs.jsonl").write_text("damaged\n")
    return folder


def emptied(folder):
    for path in folder.iterdir():
        path.unlink()
    return folder


def pixels(figure, path):
    draw.save(figure, path)
    return path.stat().st_size > 0


# What provokes the error, what it says to do, and what it says to do, done. `t` is an empty folder.
ROWS = {
    # pictures
    "a picture as .jpg": (
        lambda t: draw.save(draw.draw_kernel(NET, "conv1"), t / "k.jpg"),
        "expected a file that ends in .png, .svg or .pdf, got 'k.jpg'; choose one of them",
        lambda t: all(pixels(draw.draw_kernel(NET, "conv1"), t / f"k.{kind}") for kind in ("png", "svg", "pdf")),
    ),
    "a field in three dimensions": (
        lambda t: draw.draw_field(DEEP, "dense1[0]"),
        "choose another node",
        lambda t: draw.draw_field(NET, "dense1[0]"),
    ),
    "a graph of units for one of layers": (
        lambda t: draw.draw_layer_graph(unit_graph(NET, "dense1[0]")),
        "make one with simulator.lab.layer_graph",
        lambda t: draw.draw_layer_graph(layer_graph(NET)),
    ),
    "a graph of layers for one of units": (
        lambda t: draw.draw_unit_graph(layer_graph(NET)),
        "make one with simulator.lab.unit_graph",
        lambda t: draw.draw_unit_graph(unit_graph(NET, "dense1[0]")),
    ),
    "a curve of nothing": (
        lambda t: draw.draw_curve([]),
        "train first",
        lambda t: draw.draw_curve([vars(next(train(NET, DATA, epochs=1)))]),
    ),
    "the matrix of a curved layer": (
        lambda t: draw.draw_matrix(SMOOTH, "scaledtanh1", X[0]),
        "choose another layer",
        lambda t: draw.draw_matrix(SMOOTH, "conv1"),
    ),
    "an order of nothing": (
        lambda t: draw.draw_matrix(NET, "conv1", order="Z"),
        "choose row after row or column after column",
        lambda t: [draw.draw_matrix(NET, "conv1", order=order) for order in "CF"],
    ),
    "rows that are not there": (
        lambda t: draw.draw_matrix(WIDE, "conv1", rows=(0, 10_000)),
        "expected a part of 0 to 648, at most",
        lambda t: draw.draw_matrix(WIDE, "conv1", rows=(0, 64)),
    ),
    "a graph of a large layer": (
        lambda t: draw.draw_graph(WIDE, "conv1"),
        "draw the matrix, or the layer on a smaller input",
        lambda t: (
            draw.draw_matrix(WIDE, "conv1"),
            draw.draw_graph(Network.sequential((1, 6, 6), [Conv(2, 3)], rng=0), "conv1"),
        ),
    ),
    "a walk in a spiral": (
        lambda t: next(draw.walk_window(NET, "conv1[0, 0, 0]", X[0], step="spiral")),
        "expected 'all' or 'row', got 'spiral'; choose one of them",
        lambda t: [next(draw.walk_window(NET, "conv1[0, 0, 0]", X[0], step=step)) for step in ("all", "row")],
    ),
    "a window on two inputs": (
        lambda t: draw.draw_window(JOINED, "sum[0]", np.ones(4)),
        "choose another layer",
        lambda t: draw.draw_window(JOINED, "a[0]", np.ones(4)),
    ),
    # the lab
    "a point of another network": (
        lambda t: affine(NET, X[0])(np.ones((1, 9, 9))),
        "give one like that of the matrix",
        lambda t: affine(NET, X[0])(np.ones((1, 8, 8))),
    ),
    "the gradient of a scale": (
        lambda t: gradient_of(
            Network.sequential((1, 8, 8), [CATALOG.make("batch-norm"), Dense(3)], rng=0),
            "batchnorm1.weight[0]",
            X,
            LABELS,
        ),
        "choose one of a convolution, a dense layer or the like",
        lambda t: gradient_of(NET, "conv1.bias[0]", X, LABELS),
    ),
    # files
    "another file of tensors": (
        lambda t: load(another_version(t)),
        "read it with safetensors and use network.with_params",
        lambda t: save(t / "net", NET) or load(t / "net"),
    ),
    "a file without what it promises": (
        lambda t: load(cut(t)),
        "it is damaged or of another kind",
        lambda t: save(t / "net", NET) or load(t / "net"),
    ),
    "an object in info": (
        lambda t: save(t / "net", NET, info={"what": object()}),
        "expected plain values",
        lambda t: save(t / "net", NET, info={"what": [1, "a", None]}),
    ),
    # experiments
    "a folder that holds something else": (
        lambda t: (t / "note.txt").write_text("mine") and experiment(t),
        "expected a new or empty folder",
        lambda t: experiment(t / "new"),
    ),
    "runs that cannot be read": (
        lambda t: experiment(damaged(t / "runs")),
        "choose another folder, or empty this one to run everything anew",
        lambda t: experiment(t / "new") and experiment(emptied(t / "runs")),
    ),
    "runs of other options": (
        lambda t: experiment(t / "runs", options={"rate": 0.1}) and experiment(t / "runs", options={"rate": 0.2}),
        "choose another folder, or empty this one to run everything anew",
        lambda t: [experiment(folder, options={"rate": 0.2}) for folder in (t / "new", emptied(t / "runs"))],
    ),
    # loops that plugins bring
    "pictures of three shapes": (
        lambda t: played(player("gan-generator", (8,)), player("gan-discriminator", (1, 12, 12)), DATA),
        "build the networks for the data",
        lambda t: played(player("gan-generator", (8,)), player("gan-discriminator", (1, 8, 8)), DATA),
    ),
    "a discriminator of two logits": (
        lambda t: played(player("gan-generator", (8,)), Network.sequential((1, 8, 8), [Dense(2)], rng=0), DATA),
        "end it in a dense layer with one unit",
        lambda t: played(player("gan-generator", (8,)), Network.sequential((1, 8, 8), [Dense(1)], rng=0), DATA),
    ),
    "a machine for other data": (
        lambda t: machine(DATA, (1, 6, 6)),
        "build the machine for the data",
        lambda t: machine(DATA, (1, 8, 8)),
    ),
    "data from 0 to 255": (
        lambda t: machine(Dataset(X * 255, LABELS)),
        "scale them",
        lambda t: machine(Dataset(X, LABELS)),
    ),
    "codes for a picture": (
        lambda t: Network.sequential((1, 2, 2), [CATALOG.make("rbf", ("#..#", ".##."))]),
        "flatten it",
        lambda t: Network.sequential((1, 2, 2), [CATALOG.make("flatten"), CATALOG.make("rbf", ("#..#", ".##."))]),
    ),
}


def cut(path):
    save(path / "net", NET)
    content = (path / "net").read_bytes()
    (path / "net").write_bytes(content[: len(content) // 2])
    return path / "net"


@pytest.mark.parametrize("name", ROWS)
def test_what_an_error_says_to_do_works(name, tmp_path):
    provoke, cure, follow = ROWS[name]
    with pytest.raises(SimulatorError, match=re.escape(cure)):
        provoke(tmp_path)
    result = follow(tmp_path)
    assert not isinstance(result, bool | np.bool_) or result
