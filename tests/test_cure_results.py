"""What an error says to do is done here, and the result is looked at: what `test_cures` does not try."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from simulator import (
    SGD,
    Catalog,
    Conv,
    CrossEntropy,
    Dataset,
    Dense,
    ExplicitPattern,
    Grouped,
    Network,
    ReLU,
    SciPyEngine,
    SimulatorError,
    Units,
    Weight,
    Window,
    WindowPattern,
    average,
    load,
    one_hot,
    ten_crops,
    train,
)
from simulator.auto import AutoEngine
from simulator.data import resized
from simulator.lab import effect
from simulator.patterns import ChannelGroups

X = np.random.default_rng(0).random((6, 1, 6, 6), np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2])
DATA = Dataset(X, LABELS)
NET = Network.sequential((1, 6, 6), [Conv(2, kernel=3), ReLU(), Dense(3)], rng=0)
BLANK = Network.sequential((1, 6, 6), [Conv(2, kernel=3), ReLU(), Dense(3)])
W = NET.node("conv1").matrix
LARGE = WindowPattern.sliding(ChannelGroups.full(1, 1), 1, Window(3), (10**5, 10**5), (9, 0, 1))
START = Network.input((1, 6, 6))
IMAGE = (1, 28, 28)


def built(shape, *layers):
    return Network.sequential(shape, layers, rng=0)


def trained(**options):
    return list(train(NET, DATA, epochs=1, **options))[-1].network.params


def resumed(**options):
    first = next(train(NET, DATA, epochs=1, optimizer=SGD(0.1)))
    return list(train(NET, DATA, epochs=2, resume=first, **options))[-1].number


def with_heads():
    return NET.add(Dense(2), "relu1", name="second", rng=0).subnetwork(["dense1", "second"])


def another_file(path):
    save_file({"weight": np.ones((2, 1, 3, 3), np.float32)}, path / "other.safetensors")
    return path / "other.safetensors"


def read_another(path):
    return NET.with_params({"conv1.weight": load_file(another_file(path))["weight"]}).params["conv1.weight"].sum() == 18


# What provokes the error, what it says, and what it says to do. All three may read the folder `t`.
ROWS = {
    # arrays and data
    "a ragged list": (
        lambda t: W @ [[1], [2, 3]],
        "got a ragged list; give rows of equal length",
        lambda t: (W @ np.zeros((36, 2))).shape == (32, 2),
    ),
    "an array of text": (
        lambda t: NET.predict(X.astype(str)),
        r"values of type str; convert them with numpy.float64\(values\)",
        lambda t: np.allclose(NET.predict(np.float64(X.astype(str))), NET.predict(X)),
    ),
    "names as labels": (
        lambda t: Dataset(X, np.array([*"abcabc"])),
        r"number the labels with numpy.unique\(labels, return_inverse=True\)\[1\]",
        lambda t: Dataset(X, np.unique([*"abcabc"], return_inverse=True)[1]).labels.tolist() == LABELS.tolist(),
    ),
    "complex samples": (
        lambda t: Dataset(X.astype(complex), LABELS),
        "take its real part, array.real",
        lambda t: np.array_equal(Dataset(X.astype(complex).real, LABELS).inputs, X),
    ),
    "no targets": (
        lambda t: Dataset(X, None),
        "got None; give a row for each sample",
        lambda t: len(Dataset(X, LABELS)) == 6,
    ),
    "infinite data": (
        lambda t: Dataset(np.where(X > 0.5, np.inf, X), LABELS),
        r"numpy.nan_to_num\(array, posinf=0, neginf=0\)",
        lambda t: Dataset(np.nan_to_num(np.where(X > 0.5, np.inf, X), posinf=0, neginf=0), LABELS).inputs.max() <= 0.5,
    ),
    "an empty part": (
        lambda t: DATA.splits((0.99, 0.01)),
        "use larger shares or more samples of each label",
        lambda t: [len(part) for part in DATA.splits((0.5, 0.5))] == [3, 3],
    ),
    "floats as labels": (
        lambda t: one_hot(LABELS.astype(float), 3),
        r"for integral floats labels.astype\(int\)",
        lambda t: one_hot(LABELS.astype(float).astype(int), 3).sum() == 6,
    ),
    # augmentation, averaging
    "views on the wrong axis": (
        lambda t: average([NET], X, views=lambda x: x.swapaxes(0, 1)[:, :3]),
        "put the views on the first axis, as ten_crops does",
        lambda t: average([NET], np.zeros((2, 1, 8, 8)), views=lambda x: ten_crops(x, 6)).shape == (2, 3),
    ),
    # matrix and patterns
    "the CSR form of a huge pattern": (
        lambda t: LARGE.csr,
        r"read single rows and columns with pattern.row\(i\) and pattern.column\(j\)",
        lambda t: LARGE.row(10**9)[1].tolist() == LARGE.column(10**9 + 50)[1].tolist()[::-1] == [*range(9)],
    ),
    "the triplets of a huge pattern": (
        lambda t: LARGE.triplets(),
        r"read single rows and columns with pattern.row\(i\) and pattern.column\(j\)",
        lambda t: len(LARGE.row(0)[0]) == 9 and len(LARGE.column(0)[0]) == 1,
    ),
    "the uses of a weight of a huge pattern": (
        lambda t: LARGE.sharing(4),
        r"read single rows and columns with pattern.row\(i\) and pattern.column\(j\)",
        lambda t: LARGE.row(5)[0][4] == 100006,
    ),
    "a table that another window gives": (
        lambda t: WindowPattern(ChannelGroups.full(1, 1), 1, Window(2).sites((3,)), 3, (2, 0, 1), (Window(1), (3,))),
        "leave the origin out",
        lambda t: WindowPattern(ChannelGroups.full(1, 1), 1, Window(2).sites((3,)), 3, (2, 0, 1)).nnz == 4,
    ),
    "a space of other sites": (
        lambda t: WindowPattern(ChannelGroups.full(1, 1), 1, None, 4, (2, 0, 1), (Window(2), (3,))),
        r"expected 3 input sites for the space \(3,\), got 4; make it with WindowPattern.sliding",
        lambda t: WindowPattern.sliding(ChannelGroups.full(1, 1), 1, Window(2), (3,), (2, 0, 1)).in_sites == 3,
    ),
    "sites of a fraction": (
        lambda t: WindowPattern.sliding(ChannelGroups.full(1, 1), 1, Window(2), (5.0,), (2, 0, 1)),
        "WindowPattern space: expected an integer of at least 1, got 5.0; give such a number",
        lambda t: WindowPattern.sliding(ChannelGroups.full(1, 1), 1, Window(2), (5,), (2, 0, 1)).nnz == 8,
    ),
    "a unit beyond the shape": (
        lambda t: ExplicitPattern([0], [5], shape=(1, 3)),
        r"correct them, or the shape \(1, 3\)",
        lambda t: ExplicitPattern([0], [5], shape=(1, 6)).nnz == 1,
    ),
    # windows
    "padding for three axes": (
        lambda t: built((1, 6, 6), Conv(1, 3, padding=(1, 2, 3))),
        r"write for example padding=\(1, 1\)",
        lambda t: built((1, 6, 6), Conv(1, 3, padding=(1, 1))).output_shape == (1, 6, 6),
    ),
    "a pair of three": (
        lambda t: built((1, 6), Conv(1, 3, padding=((1, 2, 3),))),
        r"a pair \(begin, end\) for each axis, got \(1, 2, 3\); write for example padding=\(\(1, 1\),\)$",
        lambda t: built((1, 6), Conv(1, 3, padding=((1, 1),))).output_shape == (1, 6),
    ),
    "a shape of one number": (
        lambda t: ExplicitPattern([0], [0], shape=3),
        r"expected a shape \(n_out, n_in\), got 3; give two sizes",
        lambda t: ExplicitPattern([0], [0], shape=(3, 3)).nnz == 1,
    ),
    # network
    "a class for a list of layers": (
        lambda t: Network.sequential((1, 8), ReLU),
        r"expected a list of layers, got the class ReLU; write \[ReLU\(\)\]",
        lambda t: list(Network.sequential((1, 8), [ReLU()]).nodes) == ["input", "relu1"],
    ),
    "a class for an engine": (
        lambda t: NET.with_engine(SciPyEngine),
        r"got the class SciPyEngine; write SciPyEngine\(\)",
        lambda t: NET.with_engine(SciPyEngine()).predict(X).shape == (6, 3),
    ),
    "features for an image": (
        lambda t: Catalog().build("lenet5", (144,)),
        r"got \(144,\); give all three sizes, for example \(1, 12, 12\)",
        lambda t: Catalog().build("lenet5", (1, 12, 12)).output_shape == (10,),
    ),
    "an average of nothing": (
        lambda t: average([], X),
        r"expected networks, got none; write average\(\[first, second\], x\)",
        lambda t: average([NET, NET], X).shape == (6, 3),
    ),
    "a sharing of unequal layers": (
        lambda t: NET.add(Conv(2, kernel=1), "input", share="conv1"),
        "share between equal layers only",
        lambda t: NET.add(Conv(2, kernel=3), "input", share="conv1").node("conv2").owner == "conv1",
    ),
    "an engine without a speed": (
        lambda t: AutoEngine([SimpleNamespace(apply=1)]),
        r"got \[.*\]; give such engines, for example SciPyEngine\(\)",
        lambda t: NET.with_engine(AutoEngine([SciPyEngine()])).predict(X).shape == (6, 3),
    ),
    "samples of another size": (
        lambda t: NET.predict(np.zeros((6, 1, 9, 9))),
        r"got \(6, 1, 9, 9\); resize or reshape them",
        lambda t: NET.predict(resized(np.zeros((6, 1, 9, 9)), (6, 6))).shape == (6, 3),
    ),
    "rows of numbers as samples": (
        lambda t: NET.predict(X.reshape(6, 36)),
        r"got \(6, 36\); resize or reshape them",
        lambda t: np.array_equal(NET.predict(X.reshape(6, 36).reshape(-1, 1, 6, 6)), NET.predict(X)),
    ),
    "the matrix of a ReLU": (
        lambda t: NET.node("relu1").matrix,
        "choose a convolution, a dense layer or the like",
        lambda t: NET.node("conv1").matrix.shape == (32, 36),
    ),
    "a row of a ReLU": (
        lambda t: NET.matrix_row("relu1", 0),
        "choose one of conv1, dense1",
        lambda t: NET.matrix_row("conv1", 0).unit == 0,
    ),
    # units
    "too many numbers for a unit": (
        lambda t: Units.of(NET.nodes, "conv1[0, 1, 2, 3]"),
        r"got \[0, 1, 2, 3\]; count from 0, the last is conv1\[1, 3, 3\]",
        lambda t: Units.of(NET.nodes, "conv1[1, 3, 3]").numbers.tolist() == [31],
    ),
    "too few numbers for a weight": (
        lambda t: Weight.of(NET.nodes, "conv1.weight[0, 0]"),
        r"got \[0, 0\]; count from 0, the last is conv1.weight\[1, 0, 2, 2\]",
        lambda t: Weight.of(NET.nodes, "conv1.weight[1, 0, 2, 2]").number == 17,
    ),
    "brackets that stay open": (
        lambda t: Units.of(NET.nodes, "conv1[0"),
        r"'conv1\[0\]' for a channel, 'conv1\[:, 3, 4\]' for a site",
        lambda t: (
            len(Units.of(NET.nodes, "conv1[0]").numbers) == 16
            and len(Units.of(NET.nodes, "conv1[:, 3, 3]").numbers) == 2
        ),
    ),
    "two numbers for sixteen units": (
        lambda t: NET.run(X, clamp={"conv1[1]": np.zeros(2)}),
        "give one number for each unit, or for each sample and unit",
        lambda t: (
            bool(NET.run(X, clamp={"conv1[1]": np.zeros((4, 4))}))
            and bool(NET.run(X, clamp={"conv1[1]": np.zeros((6, 4, 4))}))
        ),
    ),
    # gradient descent
    "a class for an optimizer": (
        lambda t: trained(optimizer=SGD),
        r"got the class SGD; write SGD\(lr=0.1\)",
        lambda t: not np.array_equal(trained(optimizer=SGD(lr=0.1))["dense1.bias"], NET.params["dense1.bias"]),
    ),
    "a class for a loss": (
        lambda t: trained(losses=CrossEntropy),
        r"got the class CrossEntropy; write CrossEntropy\(\)",
        lambda t: bool(trained(losses=CrossEntropy())),
    ),
    "a class for the loss of an effect": (
        lambda t: effect(NET, X[0], ablate=["conv1[0]"], target=1, loss=CrossEntropy),
        r"got the class CrossEntropy; write CrossEntropy\(\)",
        lambda t: effect(NET, X[0], ablate=["conv1[0]"], target=1, loss=CrossEntropy()).loss_before > 0,
    ),
    "a class in a group": (
        lambda t: Grouped([("*", SGD)]),
        r"got the class SGD; write Grouped\(\[\('\*.bias', SGD\(0.1\)\), \('\*', SGD\(1.0\)\)\]\)",
        lambda t: bool(trained(optimizer=Grouped([("*.bias", SGD(0.1)), ("*", SGD(1.0))]))),
    ),
    "a dict of groups": (
        lambda t: Grouped({"*": SGD(0.1)}),
        r"got \{.*\}; write Grouped\(\[\('\*.bias', SGD\(0.1\)\), \('\*', SGD\(1.0\)\)\]\)$",
        lambda t: bool(trained(optimizer=Grouped([("*.bias", SGD(0.1)), ("*", SGD(1.0))]))),
    ),
    "floats as labels to train on": (
        lambda t: next(train(NET, Dataset(X, LABELS.astype(float)))),
        r"got \(6, 3\) and float64 labels \(6,\); convert whole numbers with labels.astype\(int\)",
        lambda t: bool(next(train(NET, Dataset(X, LABELS.astype(float).astype(int))))),
    ),
    "targets of another name": (
        lambda t: next(train(NET, Dataset(X, {"digit": LABELS}))),
        r"output 'dense1', got those of 'digit'; give them as \{'dense1': targets, ...\}",
        lambda t: bool(next(train(NET, Dataset(X, {"dense1": LABELS})))),
    ),
    "another optimizer to go on with": (
        lambda t: resumed(optimizer=Catalog().optimizers["adam"]()),
        "resume with the optimizer and the trainable params of that run",
        lambda t: resumed(optimizer=SGD(0.1)) == 2,
    ),
    "smoothing of more than all": (
        lambda t: CrossEntropy(2),
        "try 0.1",
        lambda t: CrossEntropy(0.1).value(np.zeros((1, 3)), np.zeros(1, int)) > 0,
    ),
    # files
    "another file": (
        lambda t: load(another_file(t)),
        "read it with safetensors and use network.with_params",
        read_another,
    ),
    # catalog
    "data by path that need none": (
        lambda t: Catalog().load_data("xo:here", IMAGE),
        "write just xo",
        lambda t: len(Catalog().load_data("xo", IMAGE)) > 0,
    ),
    "data without a path": (
        lambda t: Catalog().load_data("npz", IMAGE),
        "write npz:PATH",
        lambda t: (
            np.savez(t / "d.npz", inputs=X, targets=LABELS) or len(Catalog().load_data(f"npz:{t / 'd.npz'}", None)) == 6
        ),
    ),
    "a file that nothing reads": (
        lambda t: Catalog().load_data(str((t / "d.txt").write_text("x") and t / "d.txt"), IMAGE),
        r"save what it holds with numpy.savez\(path, inputs=samples, targets=labels\)",
        lambda t: (
            np.savez(t / "d.npz", inputs=X, targets=LABELS) or len(Catalog().load_data(str(t / "d.npz"), None)) == 6
        ),
    ),
    "classes of a fraction": (
        lambda t: Catalog().build("lenet5", IMAGE, classes=2.5),
        "give a positive number",
        lambda t: Catalog().build("lenet5", IMAGE, classes=2).output_shape == (2,),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_what_an_error_says_to_do_works(name, tmp_path):
    provoke, told, cure = ROWS[name]
    with pytest.raises(SimulatorError, match=told):
        provoke(tmp_path)
    assert cure(tmp_path)
