"""Each cure that an error names is carried out here, in the case that provoked the error, and must work."""

import re

import numpy as np
import pytest
from scipy import sparse

from simulator import (
    SGD,
    Add,
    AveragePool,
    Catalog,
    Clipped,
    Concatenate,
    Conv,
    ConvTranspose,
    CrossEntropy,
    Dataset,
    Dense,
    FileError,
    Flatten,
    MaxPool,
    Network,
    Normalise,
    Pad,
    RandomMirror,
    ReLU,
    Reshape,
    ScaledTanh,
    SciPyEngine,
    ShapeError,
    SimulatorError,
    Sparse,
    StepDecay,
    TiedMatrix,
    UnknownNameError,
    Window,
    WindowPattern,
    average,
    centre_crop,
    load,
    one_hot,
    save,
    ten_crops,
    train,
)
from simulator.data import fingerprints_of, resized
from simulator.lab import (
    ablation,
    affine,
    effect,
    incoming,
    influence,
    layer_graph,
    preferred_input,
    strongest,
    unit_graph,
    write_graph,
)

CATALOG = Catalog()
MAKE = CATALOG.make
RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((6, 1, 8, 8))
LABELS = np.array([0, 1, 2, 0, 1, 2])
DATA = Dataset(IMAGES, LABELS)
SMOOTH = Network.sequential((1, 8, 8), [Conv(2, 3), ScaledTanh(), Dense(3)], rng=0)
NET = Network.sequential((1, 8, 8), [Conv(2, 3), ReLU(), MaxPool(2), Dense(3)], rng=0)
BARE = Network.sequential((1, 8, 8), [Conv(2, 3), Dense(3)])
CONV = NET.node("conv1")
EYE = np.eye(4)
DIAGONAL = TiedMatrix.from_sparse(sparse.eye_array(4)).pattern
RELU = Network.sequential((1, 8, 8), [Conv(1, 3, bias=False), ReLU()], rng=0)
STROKE = np.sign(np.pad(RELU.params["conv1.weight"][0], ((0, 0), (0, 5), (0, 5))))  # to which a unit responds


def built(shape, *layers):
    return Network.sequential(shape, list(layers), rng=0)


ROWS = [
    # ---------------------------------------------------------------- building
    (
        "a layer that is none",
        lambda: built((1, 8, 8), "relu"),
        "create it first, for example ReLU()",
        lambda: built((1, 8, 8), ReLU()),
    ),
    (
        "no list of layers",
        lambda: Network.sequential((1, 8, 8), ReLU()),
        "expected a list of layers, got ReLU(); write [ReLU()]",
        lambda: Network.sequential((1, 8, 8), [ReLU()]),
    ),
    ("no shape", lambda: built((1, 0, 8)), "give channels and then the sizes of space", lambda: built((1, 8, 8))),
    (
        "another precision",
        lambda: Network.sequential((1, 8), [ReLU()], dtype="int8"),
        "expected float32 or float64, got 'int8'; choose one of them",
        lambda: Network.sequential((1, 8), [ReLU()], dtype="float64"),
    ),
    (
        "a seed that is none",
        lambda: Network.sequential((1, 8), [Dense(2)], rng=-1),
        "write rng=0",
        lambda: Network.sequential((1, 8), [Dense(2)], rng=0),
    ),
    (
        "one name twice",
        lambda: NET.add(ReLU(), name="conv1"),
        "got 'conv1' again; choose another name",
        lambda: NET.add(ReLU(), name="conv9"),
    ),
    (
        "a name with a dot",
        lambda: NET.add(ReLU(), name="a.b"),
        "choose another name",
        lambda: NET.add(ReLU(), name="a-b"),
    ),
    (
        "inputs of a sum",
        lambda: NET.add(Add()),
        "name the nodes to read in add()",
        lambda: NET.add(Add(), "conv1", "relu1"),
    ),
    (
        "sum of two shapes",
        lambda: NET.add(Add(), "conv1", "maxpool1"),
        "project, pad or reshape one of them first",
        lambda: NET.add(Pad(((1, 2), (1, 2))), "maxpool1", name="wide").add(Add(), "conv1", "wide"),
    ),
    (
        "channels of two sizes",
        lambda: NET.add(Concatenate(), "conv1", "maxpool1"),
        "bring them to one size first",
        lambda: NET.add(MaxPool(2), "conv1", name="small").add(Concatenate(), "small", "maxpool1"),
    ),
    (
        "a product of two shapes",
        lambda: NET.add(MAKE("multiply"), "conv1", "maxpool1"),
        "project, pad or reshape one of them first",
        lambda: NET.add(Pad(((1, 2), (1, 2))), "maxpool1", name="wide").add(MAKE("multiply"), "conv1", "wide"),
    ),
    (
        "a gate without axes of space",
        lambda: (
            NET.add(AveragePool("global"), "conv1").add(Flatten(), name="gate").add(MAKE("multiply"), "conv1", "gate")
        ),
        "project, pad or reshape one of them first",
        lambda: (
            NET.add(AveragePool("global"), "conv1")
            .add(Flatten())
            .add(Reshape((-1, 1, 1)), name="gate")
            .add(MAKE("multiply"), "conv1", "gate")
        ),
    ),
    (
        "a convolution of a vector",
        lambda: built((7,), Conv(2, 3)),
        "reshape it first, for example to (1, 7)",
        lambda: built((7,), Reshape((1, 7)), Conv(2, 3)),
    ),
    (
        "a kernel that is too large",
        lambda: built((1, 4, 4), Conv(1, 7)),
        "use a smaller kernel or more padding",
        lambda: (built((1, 4, 4), Conv(1, 3)), built((1, 4, 4), Conv(1, 7, padding=3))),
    ),
    (
        "padding that mirrors more than there is",
        lambda: built((1, 4, 4), Conv(1, 3, padding=5, padding_mode="reflect")),
        "pad less or use another mode",
        lambda: (
            built((1, 4, 4), Conv(1, 3, padding=3, padding_mode="reflect")),
            built((1, 4, 4), Conv(1, 3, padding=5)),
        ),
    ),
    (
        "groups that do not divide",
        lambda: built((3, 4, 4), Conv(4, 3, groups=2)),
        "change the groups or the channels",
        lambda: (built((3, 4, 4), Conv(3, 3, groups=3)), built((4, 4, 4), Conv(4, 3, groups=2))),
    ),
    (
        "a table and groups",
        lambda: built((2, 4, 4), Conv(2, 3, groups=2, table=[(0,), (1,)])),
        "leave one out",
        lambda: built((2, 4, 4), Conv(2, 3, table=[(0,), (1,)])),
    ),
    (
        "a short table",
        lambda: built((2, 4, 4), Conv(3, 3, table=[(0,), (1,)])),
        "add or remove rows",
        lambda: built((2, 4, 4), Conv(3, 3, table=[(0,), (1,), (0, 1)])),
    ),
    (
        "a channel that is not there",
        lambda: built((2, 4, 4), Conv(2, 3, table=[(0,), (2,)])),
        "correct the row",
        lambda: built((2, 4, 4), Conv(2, 3, table=[(0,), (1,)])),
    ),
    (
        "too much output padding",
        lambda: built((1, 4, 4), ConvTranspose(1, 3, stride=2, output_padding=2)),
        "use a smaller one",
        lambda: built((1, 4, 4), ConvTranspose(1, 3, stride=2, output_padding=1)),
    ),
    (
        "an output of nothing",
        lambda: built((1, 1, 1), ConvTranspose(1, 1, padding=1)),
        "use less padding",
        lambda: built((1, 1, 1), ConvTranspose(1, 1)),
    ),
    (
        "a window of padding only",
        lambda: built((1, 4, 4), MaxPool(2, padding=3)),
        "pad less",
        lambda: built((1, 4, 4), MaxPool(2, padding=1)),
    ),
    (
        "global and a stride",
        lambda: built((1, 4, 4), AveragePool("global", stride=2)),
        "leave them out",
        lambda: built((1, 4, 4), AveragePool("global")),
    ),
    (
        "another number of units",
        lambda: built((1, 8), Reshape((3, 3))),
        "choose sizes with that product",
        lambda: built((1, 8), Reshape((2, 4))),
    ),
    (
        "a sparse layer of another input",
        lambda: built((5,), Sparse(DIAGONAL)),
        "use a pattern with as many columns",
        lambda: built((5,), Sparse(TiedMatrix.from_sparse(sparse.eye_array(4, 5)).pattern)),
    ),
    (
        "a sparse layer of another shape",
        lambda: built((4,), Sparse(DIAGONAL, shape=(3,))),
        "give a shape of that many units",
        lambda: built((4,), Sparse(DIAGONAL, shape=(2, 2))),
    ),
    (
        "an initialiser that is unknown",
        lambda: built((1, 8), Dense(2, init="hee")),
        "write for example init='he'",
        lambda: built((1, 8), Dense(2, init="he")),
    ),
    (
        "sizes of another number of axes",
        lambda: built((1, 4, 4), Conv(1, kernel=(3,))),
        "write for example kernel=(1, 1)",
        lambda: built((1, 4, 4), Conv(1, kernel=(1, 1))),
    ),
    (
        "a size of zero",
        lambda: built((1, 4, 4), Conv(1, kernel=0)),
        "expected an integer of at least 1, got 0; give such a number",
        lambda: built((1, 4, 4), Conv(1, kernel=1)),
    ),
    (
        "two outputs where one is meant",
        lambda: NET.subnetwork(["conv1", "dense1"]).output_name,
        "cut a subnetwork",
        lambda: NET.subnetwork(["conv1"]).output_name,
    ),
    ("no output", lambda: NET.subnetwork([]), "name the nodes to keep", lambda: NET.subnetwork(["conv1"])),
    (
        "an input after the output",
        lambda: NET.subnetwork(["conv1"], inputs=["relu1"]),
        "name nodes before it",
        lambda: NET.subnetwork(["relu1"], inputs=["conv1"]),
    ),
    ("a node that is misspelt", lambda: NET.node("convv1"), "did you mean 'conv1'?", lambda: NET.node("conv1")),
    (
        "an engine by its name",
        lambda: NET.with_engine("scipy"),
        "write SciPyEngine()",
        lambda: NET.with_engine(SciPyEngine()),
    ),
    # ---------------------------------------------------------------- weights and runs
    (
        "no weights",
        lambda: BARE.run(IMAGES),
        "build it with rng=0, or give them to with_params",
        lambda: (
            Network.sequential((1, 8, 8), [Conv(2, 3), Dense(3)], rng=0).run(IMAGES),
            BARE.with_params({n: np.zeros(s) for n, s in BARE.param_shapes.items()}).run(IMAGES),
        ),
    ),
    (
        "some weights",
        lambda: BARE.with_params({"conv1.bias": np.zeros(2)}),
        "give them too, or build the network with rng=0",
        lambda: Network.sequential((1, 8, 8), [Conv(2, 3), Dense(3)], rng=0).with_params({"conv1.bias": np.zeros(2)}),
    ),
    (
        "no dict of weights",
        lambda: NET.with_params([1]),
        "write {name: array}",
        lambda: NET.with_params({"conv1.bias": np.zeros(2)}),
    ),
    (
        "weights of another shape",
        lambda: NET.with_params({"conv1.bias": np.zeros(3)}),
        "expected conv1.bias of shape (2,), got (3,); give one that fits",
        lambda: NET.with_params({"conv1.bias": np.zeros(2)}),
    ),
    (
        "one sample without a batch",
        lambda: NET.run(IMAGES[0]),
        "one sample needs a batch axis, x[None]",
        lambda: NET.run(IMAGES[0][None]),
    ),
    ("another input", lambda: NET.run({"x": IMAGES}), "give one array for each", lambda: NET.run({"input": IMAGES})),
    (
        "a gradient of another shape",
        lambda: NET.run(IMAGES).backward(np.ones(3)),
        "give one value per output unit and sample",
        lambda: NET.run(IMAGES).backward(np.ones((6, 3))),
    ),
    (
        "clamping without a dict",
        lambda: NET.run(IMAGES, clamp="conv1[0]"),
        "write for example {'conv1[3]': 0.0}",
        lambda: NET.run(IMAGES, clamp={"conv1[1]": 0.0}),
    ),
    (
        "two values for a unit",
        lambda: NET.run(IMAGES, clamp={"conv1[0]": 1.0}, ablate=["conv1[0, 1, 1]"]),
        "leave one of them out",
        lambda: NET.run(IMAGES, clamp={"conv1[0]": 1.0}),
    ),
    # ---------------------------------------------------------------- addresses
    (
        "a channel where a unit is meant",
        lambda: incoming(NET, "conv1[1]", IMAGES[0]),
        "give its whole position, for example conv1[1, 0, 0]",
        lambda: incoming(NET, "conv1[1, 0, 0]", IMAGES[0]),
    ),
    (
        "no address",
        lambda: incoming(NET, 5, IMAGES[0]),
        "write for example 'conv1[0, 3, 4]'",
        lambda: incoming(NET, "conv1[0, 3, 4]", IMAGES[0]),
    ),
    (
        "a position outside",
        lambda: incoming(NET, "conv1[0, 6, 6]", IMAGES[0]),
        "count from 0",
        lambda: incoming(NET, "conv1[0, 5, 5]", IMAGES[0]),
    ),
    (
        "a unit of the input",
        lambda: incoming(NET, "input[0, 0, 0]", IMAGES[0]),
        "choose a later node",
        lambda: incoming(NET, "conv1[0, 0, 0]", IMAGES[0]),
    ),
    (
        "a curved layer",
        lambda: incoming(SMOOTH, "scaledtanh1[0, 0, 0]", IMAGES[0]),
        "look at its slopes with influence",
        lambda: influence(SMOOTH, "scaledtanh1[0, 0, 0]", IMAGES[0]),
    ),
    (
        "a batch where a sample is meant",
        lambda: incoming(NET, "conv1[0, 0, 0]", IMAGES),
        "take one of a batch with x[0]",
        lambda: incoming(NET, "conv1[0, 0, 0]", IMAGES[0]),
    ),
    (
        "a trace of several samples",
        lambda: incoming(NET, "conv1[0, 0, 0]", NET.run(IMAGES)),
        "run a batch of one, x[:1]",
        lambda: incoming(NET, "conv1[0, 0, 0]", NET.run(IMAGES[:1])),
    ),
    # ---------------------------------------------------------------- the lab
    (
        "a curved network",
        lambda: affine(SMOOTH, IMAGES[0]),
        "take the Jacobian with jacobian=True, or an output before it",
        lambda: (affine(SMOOTH, IMAGES[0], jacobian=True), affine(SMOOTH.subnetwork("conv1"), IMAGES[0])),
    ),
    (
        "a loss without a target",
        lambda: effect(NET, IMAGES[0], ablate=["conv1[0]"], loss=CrossEntropy()),
        "give target=",
        lambda: effect(NET, IMAGES[0], ablate=["conv1[0]"], loss=CrossEntropy(), target=1),
    ),
    (
        "a layer without sites",
        lambda: ablation(NET, DATA, "dense1", by="site"),
        "ablate its units",
        lambda: ablation(NET, DATA, "dense1", by="unit"),
    ),
    (
        "arrays for data",
        lambda: ablation(NET, IMAGES, "conv1"),
        "write Dataset(inputs, targets)",
        lambda: ablation(NET, Dataset(IMAGES, LABELS), "conv1"),
    ),
    (
        "no samples",
        lambda: strongest(NET, "conv1[0]", IMAGES[:0]),
        "give at least one",
        lambda: strongest(NET, "conv1[0]", IMAGES[:1]),
    ),
    (
        "a start without a gradient",
        lambda: preferred_input(RELU, "relu1[0, 0, 0]", x0=-STROKE),
        "give as x0 a sample to which it responds, see strongest",
        lambda: preferred_input(RELU, "relu1[0, 0, 0]", x0=STROKE),
    ),
    (
        "a large graph",
        lambda: unit_graph(NET, max_edges=10),
        "or raise max_edges (--max-edges)",
        lambda: unit_graph(NET, max_edges=10_000),
    ),
    # ---------------------------------------------------------------- matrices and patterns
    (
        "a dense array",
        lambda: TiedMatrix.from_sparse(EYE),
        "wrap a dense one as scipy.sparse.csr_array(matrix)",
        lambda: TiedMatrix.from_sparse(sparse.csr_array(EYE)),
    ),
    (
        "one tie, two values",
        lambda: TiedMatrix.from_sparse(sparse.csr_array(np.diag([1.0, 2.0])), [0, 0]),
        "give these entries different ties or equal values",
        lambda: (
            TiedMatrix.from_sparse(sparse.csr_array(np.diag([1.0, 2.0])), [0, 1]),
            TiedMatrix.from_sparse(sparse.csr_array(np.diag([2.0, 2.0])), [0, 0]),
        ),
    ),
    (
        "a weight of another size",
        lambda: TiedMatrix(CONV.pattern, np.zeros(3)),
        "give a weight that fits the pattern",
        lambda: TiedMatrix(CONV.pattern, np.zeros(CONV.pattern.n_ties)),
    ),
    (
        "more bytes than allowed",
        lambda: CONV.matrix.tocsr(max_bytes=100),
        "read single rows and columns with pattern.row(i) and pattern.column(j), "
        "run the network with an engine that needs no CSR ('blas' or 'auto'), or give "
        "tocsr() a larger max_bytes",
        lambda: (
            CONV.pattern.row(0),
            CONV.pattern.column(0),
            NET.with_engine(CATALOG.engine("blas")).run(IMAGES),
            NET.with_engine(CATALOG.engine("auto")).run(IMAGES),
            CONV.matrix.tocsr(max_bytes=10**6),
        ),
    ),
    (
        "a dense matrix that is too large",
        lambda: CONV.matrix.densified(max_bytes=100),
        "use a smaller layer or raise max_bytes",
        lambda: CONV.matrix.densified(max_bytes=10**6),
    ),
    (
        "a foreign pattern",
        lambda: CONV.matrix.untied().retied(NET.node("dense1").pattern),
        "use the pattern that this matrix came from",
        lambda: CONV.matrix.untied().retied(CONV.pattern),
    ),
    (
        "a row that is not there",
        lambda: CONV.pattern.row(72),
        "expected a row from 0 to 71, got 72; use one",
        lambda: CONV.pattern.row(71),
    ),
    (
        "a table of text",
        lambda: WindowPattern(CONV.pattern.channels, 1, np.zeros((2, 2)), 64, (0, 9, 1)),
        "make the table with Window.sites",
        lambda: WindowPattern(CONV.pattern.channels, 1, Window(3).sites((8, 8)), 64, (9, 0, 1)),
    ),
    (
        "space without an axis",
        lambda: Window(3).output_space(()),
        "reshape the input, or use 'dense' for inputs without space",
        lambda: (Window(3).output_space((5,)), built((5,), MAKE("dense", 2))),
    ),
    # ---------------------------------------------------------------- training
    (
        "arrays to train on",
        lambda: train(NET, IMAGES),
        "write Dataset(inputs, targets)",
        lambda: next(train(NET, Dataset(IMAGES, LABELS))),
    ),
    (
        "an optimizer by its name",
        lambda: train(NET, DATA, optimizer="sgd"),
        "write SGD(lr=0.1)",
        lambda: next(train(NET, DATA, optimizer=SGD(lr=0.1))),
    ),
    (
        "a loss by its name",
        lambda: train(NET, DATA, losses="cross-entropy"),
        "write CrossEntropy()",
        lambda: next(train(NET, DATA, losses=CrossEntropy())),
    ),
    (
        "a param that is misspelt",
        lambda: train(NET, DATA, trainable=["conv1.weights"]),
        "did you mean 'conv1.weight'?",
        lambda: next(train(NET, DATA, trainable=["conv1.weight"])),
    ),
    (
        "labels beyond the classes",
        lambda: next(train(NET, Dataset(IMAGES, LABELS + 1))),
        "build the network with more classes or correct the labels",
        lambda: (
            next(train(Network.sequential((1, 8, 8), [Dense(4)], rng=0), Dataset(IMAGES, LABELS + 1))),
            next(train(NET, DATA)),
        ),
    ),
    (
        "maps for labels",
        lambda: next(train(NET.subnetwork("conv1"), DATA)),
        "flatten the output or choose another loss",
        lambda: next(train(NET.subnetwork("conv1").add(Flatten()), DATA)),
    ),
    (
        "one sample and batch norm",
        lambda: next(
            train(
                built((1,), MAKE("batch-norm"), Dense(2)), Dataset(np.zeros((3, 1)), np.array([0, 1, 0])), batch_size=2
            )
        ),
        "choose a batch size that does not leave a single sample over",
        lambda: next(
            train(
                built((1,), MAKE("batch-norm"), Dense(2)), Dataset(np.zeros((3, 1)), np.array([0, 1, 0])), batch_size=3
            )
        ),
    ),
    ("no limit", lambda: Clipped(SGD()), "give exactly one", lambda: Clipped(SGD(), norm=1.0)),
    (
        "steps out of order",
        lambda: StepDecay(1.0, every=(3, 2)),
        "sort them, and give each once",
        lambda: StepDecay(1.0, every=(2, 3)),
    ),
    (
        "a rate below 0",
        lambda: SGD(lr=-1.0),
        "expected a finite number of at least 0, got -1.0; give such a number",
        lambda: SGD(lr=0.0),
    ),
    # ---------------------------------------------------------------- data
    (
        "fewer targets than samples",
        lambda: Dataset(IMAGES, LABELS[:3]),
        "check the file or the folder",
        lambda: Dataset(IMAGES[:3], LABELS[:3]),
    ),
    (
        "lists",
        lambda: Dataset([[1.0]], [0]),
        "convert it with numpy.asarray",
        lambda: Dataset(np.asarray([[1.0]]), np.asarray([0])),
    ),
    (
        "labels without a class",
        lambda: Dataset(IMAGES, LABELS, classes=("a", "b")),
        "correct the labels or name more classes",
        lambda: (Dataset(IMAGES, LABELS % 2, classes=("a", "b")), Dataset(IMAGES, LABELS, classes=("a", "b", "c"))),
    ),
    (
        "one name for two classes",
        lambda: Dataset(IMAGES, LABELS, classes=("a", "b", "a")),
        "rename one of them",
        lambda: Dataset(IMAGES, LABELS, classes=("a", "b", "c")),
    ),
    (
        "fingerprints of other samples",
        lambda: Dataset(IMAGES, LABELS, fingerprints=np.zeros(2, np.uint64)),
        "make them with simulator.data.fingerprints_of",
        lambda: Dataset(IMAGES, LABELS, fingerprints=fingerprints_of(IMAGES)),
    ),
    ("a share of everything", lambda: DATA.split(1.0), "0.2 sets a fifth apart", lambda: DATA.split(0.2)),
    (
        "nothing held out",
        lambda: Dataset(IMAGES[:2], LABELS[:2]).split(0.01),
        "use another share, or more samples",
        lambda: DATA.split(0.4),
    ),
    (
        "shares of more than all",
        lambda: DATA.splits((0.7, 0.7)),
        "write for example (0.7, 0.15, 0.15)",
        lambda: Dataset(np.zeros((40, 1)), np.zeros(40, int)).splits((0.7, 0.15, 0.15)),
    ),
    (
        "one-hot of too many",
        lambda: one_hot([0, 2], 2),
        "correct them or ask for more classes",
        lambda: (one_hot([0, 1], 2), one_hot([0, 2], 3)),
    ),
    (
        "sizes of another number of axes to resize to",
        lambda: resized(IMAGES, (4,)),
        "give one per axis of space",
        lambda: resized(IMAGES, (4, 4)),
    ),
    (
        "a scale of zero",
        lambda: Normalise((0.0,), (0.0,)),
        "measure them with Normalise.of",
        lambda: Normalise.of(IMAGES),
    ),
    (
        "other channels",
        lambda: Normalise.of(IMAGES)(np.zeros((1, 2, 8, 8))),
        "measure the data of these with Normalise.of",
        lambda: Normalise.of(np.random.default_rng(0).random((4, 2, 8, 8)))(np.zeros((1, 2, 8, 8))),
    ),
    (
        "a crop larger than the sample",
        lambda: centre_crop(IMAGES, 9),
        "cut a smaller one, or resize the samples first",
        lambda: (centre_crop(IMAGES, 8), centre_crop(resized(IMAGES, (9, 9)), 9)),
    ),
    (
        "ten crops of lines",
        lambda: ten_crops(np.zeros((2, 1, 8)), 4),
        "use centre_crop for inputs with another number of axes",
        lambda: centre_crop(np.zeros((2, 1, 8)), 4),
    ),
    (
        "an axis that is none of space",
        lambda: RandomMirror(axis=-3)(IMAGES, RNG),
        "-1 swaps left and right",
        lambda: RandomMirror(axis=-1)(IMAGES, RNG),
    ),
    (
        "files to average",
        lambda: average(["a", "b"], IMAGES),
        "write average([first, second], x)",
        lambda: average([NET, NET], IMAGES),
    ),
    ("a data set that is misspelt", lambda: CATALOG.load_data("digitz"), "did you mean 'digits'?", None),
    # ---------------------------------------------------------------- the catalog
    ("a layer that is misspelt", lambda: MAKE("convv", 1), "did you mean 'conv'?", lambda: MAKE("conv", 1, 3)),
    (
        "an architecture without an input",
        lambda: CATALOG.build("mlp", (1, 0)),
        "give channels and then the sizes of space",
        lambda: CATALOG.build("mlp", (1, 4)),
    ),
    (
        "an option that is misspelt",
        lambda: CATALOG.build("lenet5", widht=0.5),
        "did you mean 'width'?",
        lambda: CATALOG.build("lenet5", width=0.5),
    ),
    ("an option of another type", lambda: Conv(6, kernel="x"), "write for example kernel=", lambda: Conv(6, kernel=3)),
    (
        "a width of nothing",
        lambda: CATALOG.build("lenet5", width=0.0),
        "1 is the published size",
        lambda: CATALOG.build("lenet5", width=1),
    ),
    (
        "a picture that is too small",
        lambda: CATALOG.build("lenet5", (1, 4, 4)),
        "resize the images to that size, or a larger one",
        lambda: CATALOG.build("lenet5", (1, 12, 12)),
    ),
    (
        "lenet5-1998 of another size",
        lambda: CATALOG.build("lenet5-1998", (1, 20, 20)),
        "resize the pictures, or use lenet5",
        lambda: (CATALOG.build("lenet5-1998", (1, 28, 28)), CATALOG.build("lenet5", (1, 20, 20))),
    ),
    (
        "lenet5-1998 of many classes",
        lambda: CATALOG.build("lenet5-1998", classes=11),
        "use lenet5",
        lambda: CATALOG.build("lenet5", classes=11),
    ),
    # ---------------------------------------------------------------- bundled layers
    (
        "more cut than there is",
        lambda: built((1, 4, 4), MAKE("crop", 2)),
        "cut less",
        lambda: built((1, 4, 4), MAKE("crop", 1)),
    ),
    (
        "a block that does not divide",
        lambda: built((3, 4, 4), MAKE("depth-to-space", 2)),
        "use a smaller block or more channels",
        lambda: (built((3, 4, 4), MAKE("depth-to-space", 1)), built((4, 4, 4), MAKE("depth-to-space", 2))),
    ),
    (
        "a space that a block does not divide",
        lambda: built((1, 5, 5), MAKE("space-to-depth", 2)),
        "use another block, or pad or crop first",
        lambda: (
            built((1, 5, 5), MAKE("space-to-depth", 5)),
            built((1, 5, 5), Pad(((0, 1), (0, 1))), MAKE("space-to-depth", 2)),
            built((1, 5, 5), MAKE("crop", ((0, 1), (0, 1))), MAKE("space-to-depth", 2)),
        ),
    ),
    (
        "groups of channels that do not divide",
        lambda: built((3, 4), MAKE("group-norm", 2)),
        "change the groups or the channels",
        lambda: (built((3, 4), MAKE("group-norm", 3)), built((4, 4), MAKE("group-norm", 2))),
    ),
    (
        "one site to normalise",
        lambda: built((3, 1), MAKE("instance-norm")),
        "normalise earlier, or by layer-norm",
        lambda: built((3, 1), MAKE("layer-norm")),
    ),
    (
        "axes that are not all",
        lambda: built((2, 3, 4), MAKE("transpose", (0, 1))),
        "write for example axes=(2, 1, 0)",
        lambda: built((2, 3, 4), MAKE("transpose", axes=(2, 1, 0))),
    ),
    (
        "p of less than 1",
        lambda: built((1, 4, 4), MAKE("lp-pool", 2, p=0.5)),
        "for the limit of large ones use max-pool",
        lambda: built((1, 4, 4), MAKE("max-pool", 2)),
    ),
    (
        "aligned corners of the nearest",
        lambda: built((1, 4), MAKE("upsample", 2, align_corners=True)),
        "leave it out",
        lambda: built((1, 4), MAKE("upsample", 2)),
    ),
]


@pytest.mark.parametrize(("provoke", "cure", "follow"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_cure_works(provoke, cure, follow):
    with pytest.raises(SimulatorError, match=re.escape(cure)) as caught:
        provoke()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    if follow is not None:
        follow()


FILES = [
    (
        "a folder that is not there",
        lambda path: save(path / "no" / "net", NET),
        "expected an existing folder, got ",
        lambda path: ((path / "no").mkdir(), save(path / "no" / "net", NET)),
    ),
    (
        "a folder for a file",
        lambda path: save(path, NET),
        "add a name such as net.safetensors",
        lambda path: save(path / "net.safetensors", NET),
    ),
    (
        "a file that is not there",
        lambda path: load(path / "net"),
        "check the path",
        lambda path: (save(path / "net", NET), load(path / "net")),
    ),
    (
        "a layer of nobody",
        lambda path: save(path / "net", Network.sequential((2,), [type("Odd", (ReLU,), {})()])),
        "register it in a plugin and give its catalog to save()",
        None,
    ),
    (
        "a graph that ends otherwise",
        lambda path: write_graph(layer_graph(NET), path / "g.dot"),
        "expected a file that ends in .graphml or .gexf, got 'g.dot'; choose one of them",
        lambda path: write_graph(layer_graph(NET), path / "g.graphml"),
    ),
    (
        "no graph",
        lambda path: write_graph(NET, path / "g.gexf"),
        "make one with unit_graph(network)",
        lambda path: write_graph(unit_graph(NET), path / "g.gexf"),
    ),
]


@pytest.mark.parametrize(("provoke", "cure", "follow"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_the_cure_of_a_file_works(provoke, cure, follow, tmp_path):
    with pytest.raises((FileError, ShapeError, UnknownNameError), match=re.escape(cure)):
        provoke(tmp_path)
    if follow is not None:
        follow(tmp_path)
