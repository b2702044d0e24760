"""Write a new plugin: a small project that works, with its test, to be changed into what it shall be."""

from __future__ import annotations

import ast
import importlib.util
import keyword
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from string import Template

import click

from simulator.cli.common import CatalogOptions, the_catalog
from simulator.cli.grammar import examples
from simulator.cli.steps import program, python, say_next

_LONGEST = 30  # letters of a name: the templates' lines stay short enough

_NEXT = ("$python -m pip install -e $folder pytest", "$python -m pytest $folder", "$simulator check-plugin $name")
_USE = {  # the first thing to do with what works
    "layer": "$python $folder/train_$module.py",
    "loss": "$simulator train autoencoder --loss $name",
    "optimizer": "$simulator train mlp --optimizer $name",
    "architecture": "$simulator train $name",
    "dataset": "$simulator train mlp --data $name",
    "engine": "$simulator train mlp --engine $name",
    "experiment": "$simulator experiment $name --quick",
    "command": "$simulator $name",
}

_PROJECT = """\
[build-system]
requires = ["setuptools>=68"]
build-backend = "setuptools.build_meta"

[project]
name = "simulator-$name"
version = "0.1.0"
description = "$what for the simulator."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["cnn-matrix-simulator"]

[project.entry-points."$group"]
$name = "$point"

[tool.setuptools]
py-modules = ["$module"]

[tool.pytest.ini_options]
testpaths = ["."]

[tool.ruff]
line-length = 120
"""

_README = """\
# simulator-$name

$what for the simulator. `$module.py` is the plugin, `test_$module.py` tries every promise that it makes.

```sh
$next
```

`pip install -e .` is needed once; what you change in `$module.py` counts from then on. To $aim:

```sh
$use
```
"""

_TEST = '''\
"""Every promise of this plugin, one by one, and a result that is known."""

$imports

CATALOG = Catalog()
CHECKS = list(plugin_checks(CATALOG, "$name"))


@pytest.mark.parametrize(("what", "name", "check"), CHECKS)
def test_promise(what, name, check):
    reason = check()
    if reason:
        pytest.skip(reason)


$known'''

_LAYER = '''\
"""Gains: each channel times a number of its own, which is trained.

A layer that is no matrix derives from `Elementwise` or `FunctionLayer` instead.
"""

from dataclasses import dataclass

import numpy as np
from simulator import ExplicitPattern, MatrixLayer, ShapeError, hookimpl


@dataclass(frozen=True)
class $identifier(MatrixLayer):
    """y = weight[channel] * x.

    As a matrix: a diagonal whose nonzeros share one weight per channel.

    Parameters
    ----------
    init : {"he", "centred", "glorot", "lecun", "zeros"}, default "lecun"
        How the first weights are drawn.

    Raises
    ------
    ShapeError
        If the input has no axis of space.

    Examples
    --------
    >>> $identifier().pattern((2, 3))
    ExplicitPattern 6 x 6: 6 nonzeros share 2 weights
    """

    init: str = "lecun"

    def output_shape(self, *input_shapes):
        shape = input_shapes[0]  # of one sample
        if len(shape) < 2:  # refuse what the layer is not for
            # who it is, what it expects, what it got, and what to do
            fault = f"expected an input (channels, *space), got {shape}; put it before Flatten or Dense"
            raise ShapeError(f"$name: {fault}")
        return shape

    def weight_shape(self, input_shape):
        return input_shape[:1]

    def pattern(self, input_shape):
        units = np.arange(np.prod(input_shape))  # in C order: channel by channel
        ties = units // np.prod(input_shape[1:], dtype=int)  # the channel of each unit
        return ExplicitPattern(units, units, ties, shape=(units.size, units.size))


@hookimpl
def register_layers(register):
    register("$name", $identifier)
'''

_LAYER_TEST = """\
def test_each_channel_has_its_gain():
    layer = CATALOG.make("$name")
    net = Network.sequential((2, 3), [layer], rng=0)
    (weight,) = net.params
    net = net.with_params({weight: [10, 100]})
    expected = [[[10, 10, 10], [100, 100, 100]]]
    np.testing.assert_array_equal(net.predict(np.ones((1, 2, 3))), expected)


def test_an_input_without_space_is_refused():
    with pytest.raises(ShapeError, match=r"$name: expected an input .*, got \\(4,\\); put"):
        Network.sequential((4,), [CATALOG.make("$name")])
"""

_LAYER_TRAINING = '''\
"""Train a network that has the layer, on pictures of crosses and circles."""

from simulator import Catalog, Conv, Dense, Network, ReLU, evaluate, train

catalog = Catalog()
data, held_out = catalog.load_data("xo", (1, 12, 12)).split(0.2, rng=0)
layers = [
    ("conv", Conv(8, kernel=5)),
    ("mine", catalog.make("$name")),
    ("relu", ReLU()),
    ("dense", Dense(len(data.classes))),
]
network = Network.input(data.shape).chain(layers, rng=0)
optimizer = catalog.create("optimizers", "adam", lr=0.01)
for epoch in train(network, data, epochs=5, optimizer=optimizer, rng=0):
    print(f"epoch {epoch.number}: loss {epoch.loss:.3f}")
    network = epoch.network
print("weights of the layer:", network.params["mine.weight"])
print(f"accuracy on samples that it never saw: {evaluate(network, held_out)['accuracy']:.1%}")
'''

_LOSS = '''\
"""Huber: a squared error for small differences, an absolute one for large."""

from dataclasses import dataclass

import numpy as np
from simulator import hookimpl
from simulator.losses import check_targets


@dataclass(frozen=True)
class $identifier:
    """d * d / 2 for differences d up to 1, |d| - 1 / 2 beyond, averaged.

    References
    ----------
    P. Huber, "Robust estimation of a location parameter", 1964.

    Examples
    --------
    >>> $identifier().value(np.array([[0.5, 3.0]]), np.array([[0.0, 0.0]]))
    1.3125
    """

    def value(self, prediction, target):
        """The mean over units and samples of a prediction (batch, ...)."""
        d = np.abs(prediction - check_targets("$name", prediction, target))
        terms = np.where(d < 1, d * d / 2, d - 0.5)
        return float(np.sum(terms, dtype=np.float64)) / max(1, d.size)

    def grad(self, prediction, target):
        """Its gradient, in the shape of the prediction."""
        d = prediction - check_targets("$name", prediction, target)
        return np.clip(d, -1, 1) / max(1, d.size)


@hookimpl
def register_losses(register):
    register("$name", $identifier)
'''

_LOSS_TEST = """\
def test_large_differences_count_less_than_squared():
    loss = CATALOG.create("losses", "$name")
    value = loss.value(np.array([[0.5, 3.0]]), np.zeros((1, 2)))
    assert value == (0.125 + 2.5) / 2
"""

_OPTIMIZER = '''\
"""Descent by signs: each weight takes a step of one length, whatever its gradient."""

from dataclasses import dataclass

import numpy as np
from simulator import hookimpl
from simulator.schedules import check_number, check_rate, learning_rate


@dataclass(frozen=True)
class $identifier:
    """A mean of the last gradients decides by its sign: p <- p - lr * sign(mean).

    Parameters
    ----------
    lr : float or callable of the step, default 0.01
        Learning rate.
    momentum : float, default 0.9
        How much of the last mean is kept.

    References
    ----------
    J. Bernstein et al., "signSGD: compressed optimisation for non-convex problems", 2018.

    Examples
    --------
    >>> rule, params = $identifier(lr=0.5), {"w": np.array([1.0, 1.0])}
    >>> grads = {"w": np.array([0.001, -9.0])}
    >>> rule.step(params, grads, rule.init(params))[0]["w"]
    array([0.5, 1.5])
    """

    lr: object = 0.01
    momentum: float = 0.9

    def __post_init__(self):
        check_rate(self.lr, "$name lr")
        check_number(self.momentum, "$name momentum", below=1)

    def init(self, params):
        """The state before the first step: numbers and arrays, by name."""
        return {"step": 0, **{f"mean.{k}": np.zeros_like(p) for k, p in params.items()}}

    def step(self, params, grads, state):
        """New params and the new state; nothing is changed in place."""
        lr = learning_rate(self.lr, state["step"])
        new, after = {}, {"step": state["step"] + 1}
        for k, p in params.items():
            keep = p.dtype.type(self.momentum)  # a plain number would keep float32, too
            mean = keep * state[f"mean.{k}"] + (1 - keep) * grads[k]
            new[k] = p - p.dtype.type(lr) * np.sign(mean)
            after[f"mean.{k}"] = mean
        return new, after


@hookimpl
def register_optimizers(register):
    register("$name", $identifier)
'''

_OPTIMIZER_TEST = """\
def test_all_steps_have_one_length():
    rule = CATALOG.create("optimizers", "$name", lr=0.25)
    params, grads = {"w": np.zeros(3)}, {"w": np.array([1e-6, -1e6, 0.0])}
    new, state = rule.step(params, grads, rule.init(params))
    np.testing.assert_array_equal(new["w"], [-0.25, 0.25, 0])
    assert state["step"] == 1
"""

_ARCHITECTURE = '''\
"""A small net: two convolutions, the first one looks at every second pixel."""

from simulator import Network, check_image, hookimpl, narrowed


def $identifier(make, input_shape=(1, 16, 16), classes=10, rng=None, width=1.0):
    """Two convolutions, the mean of each map, and the classes.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer, so that others can prefer their own.
    input_shape : tuple of int, default (1, 16, 16)
        Channels, height, width; at least 3 x 3.
    classes : int, default 10
        Number of logits.
    rng : numpy.random.Generator or None
        Draws the first weights; None builds without.
    width : float, default 1
        Factor on the number of feature maps.
    """
    check_image("$name", input_shape, least=3)
    maps = narrowed("$name", width)
    layers = [
        ("conv1", make("conv", maps(8), kernel=3, stride=2, padding=1)),
        ("relu1", make("relu")),
        ("conv2", make("conv", maps(16), kernel=3, padding=1)),
        ("relu2", make("relu")),
        ("pool", make("average-pool", "global")),
        ("dense", make("dense", classes)),
    ]
    return Network.input(input_shape).chain(layers, rng=rng)


@hookimpl
def register_architectures(register):
    register("$name", $identifier, lr=0.05, examples=[{"width": 0.5}])
'''

_ARCHITECTURE_TEST = """\
def test_its_params():
    net = CATALOG.build("$name", classes=4, rng=None)
    assert net.output_shape == (4,)
    sizes = [8 * 9 + 8, 16 * 8 * 9 + 16, 4 * 16 + 4]
    assert sum(np.prod(shape) for shape in net.param_shapes.values()) == sum(sizes)
"""

_DATASET = '''\
"""Bars: pictures of one bright line, to be told apart by its direction."""

import numpy as np
from simulator import Dataset, ShapeError, hookimpl


def $identifier(shape=None):
    """200 noisy pictures of a line, half of them of each direction.

    Parameters
    ----------
    shape : (1, height, width), default (1, 12, 12)
        Of one picture.

    Returns
    -------
    Dataset
        Inputs (200, 1, height, width), always the same; label 0 is a row, 1 a column.

    Raises
    ------
    ShapeError
        If there is not one channel and two axes of space.
    """
    shape = (1, 12, 12) if shape is None else tuple(shape)
    if len(shape) != 3 or shape[0] != 1:
        raise ShapeError(f"$name: expected a shape (1, height, width), got {shape}; resize")
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    inputs = 0.1 * rng.standard_normal((200, *shape))
    rows, columns = (rng.integers(n, size=200) for n in shape[1:])
    inputs[labels == 0, 0, rows[labels == 0], :] += 1
    inputs[labels == 1, 0, :, columns[labels == 1]] += 1
    return Dataset(inputs.astype(np.float32), labels, classes=("row", "column"))


@hookimpl
def register_datasets(register):
    register("$name", $identifier)
'''

_DATASET_TEST = """\
def test_a_bar_is_the_brightest_line_of_its_direction():
    data = CATALOG.load_data("$name", (1, 8, 10))
    rows, columns = data.inputs[:, 0].mean(axis=2), data.inputs[:, 0].mean(axis=1)
    is_column = columns.max(axis=1) > rows.max(axis=1)
    np.testing.assert_array_equal(is_column, data.labels == 1)


def test_colours_are_refused():
    with pytest.raises(ShapeError, match="expected a shape"):
        CATALOG.load_data("$name", (3, 8, 8))
"""

_ENGINE = '''\
"""The dense engine: the fully connected layer with all its zeros, multiplied by NumPy."""

import numpy as np
from simulator import hookimpl


class $identifier:
    """Builds the whole matrix: slow and large, and easy to check another engine with.

    Examples
    --------
    >>> from simulator import identity
    >>> $identifier().apply(identity(2), np.array([[1.0], [2.0]]))
    array([[1.],
           [2.]])
    """

    def apply(self, matrix, x):
        """W @ x, (n_out, batch), for x (n_in, batch)."""
        return matrix.tocsr().toarray() @ x

    def apply_transposed(self, matrix, dy):
        """The transposed matrix times dy, (n_in, batch), for dy (n_out, batch)."""
        return matrix.tocsr().toarray().T @ dy

    def grad(self, matrix, x, dy):
        """The gradient of sum(dy * (W @ x)), in the shape of the weight."""
        rows, columns, ties = matrix.pattern.triplets()
        cells = (dy @ x.T)[rows, columns]  # of each connection, (nnz,)
        sums = np.bincount(ties, cells, minlength=matrix.pattern.n_ties)
        return sums.astype(dy.dtype).reshape(matrix.weight.shape)

    def __repr__(self):
        return "$identifier()"


@hookimpl
def register_engines(register):
    register("$name", $identifier)
'''

_ENGINE_TEST = """\
def test_it_agrees_with_the_reference():
    x = np.random.default_rng(0).random((2, 1, 28, 28))
    ours = CATALOG.build("lenet5", dtype="float64", engine="$name").predict(x)
    theirs = CATALOG.build("lenet5", dtype="float64", engine="scipy").predict(x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
"""

_EXPERIMENT = '''\
"""Gain: by which factor a convolution with random weights makes its input larger."""

from dataclasses import dataclass

import numpy as np
from simulator import Experiment, Finding, Network, hookimpl


@dataclass(frozen=True)
class $identifier(Experiment):
    """The root mean square of a convolution's output grows by one factor, whatever the kernel.

    A convolution with He's first weights and without padding is applied to normally distributed samples of 12 x 12
    pixels; the gain is the root mean square of its output over that of its input. He et al. give the square root of 2.

    Parameters
    ----------
    maps : int, default 32
        Channels of the input and of the output.

    References
    ----------
    K. He et al., "Delving deep into rectifiers", 2015.
    """

    maps: int = 32

    def conditions(self, quick=False):
        """The kernels, plain values by name."""
        return [{"kernel": kernel} for kernel in ((1, 3) if quick else (1, 3, 5, 7))]

    def run(self, condition, seed, catalog):
        """One row of plain numbers; all that is random comes from the seed."""
        rng = np.random.default_rng(seed)
        conv = catalog.make("conv", self.maps, kernel=condition["kernel"], bias=False)
        net = Network.sequential((self.maps, 12, 12), [conv], rng=rng)
        x = rng.standard_normal((4, self.maps, 12, 12))
        return [{"gain": float(np.sqrt(np.mean(net.predict(x) ** 2) / np.mean(x**2)))}]

    def findings(self, table):
        """What was published against the means over the seeds."""
        gains = [row["gain"] for row in table]
        measured = f"{min(gains):.3f} to {max(gains):.3f}"
        holds = all(abs(gain - np.sqrt(2)) < 0.1 for gain in gains)
        return [Finding("one gain for all kernels", "1.414", measured, holds)]

    def draw(self, table, figure):
        """The means and standard deviations over the kernels."""
        ax = figure.subplots()
        kernels, gains, spreads = ([row[name] for row in table] for name in ("kernel", "gain", "gain std"))
        ax.errorbar(kernels, gains, spreads, marker="o", capsize=3)
        ax.axhline(np.sqrt(2), color="0.6", linestyle="--")
        ax.set_xlabel("width of the kernel")
        ax.set_ylabel("gain")


@hookimpl
def register_experiments(register):
    register("$name", $identifier)
'''

_EXPERIMENT_TEST = """\
def test_the_gain_is_the_root_of_two():
    trial = CATALOG.experiments["$name"]()
    rows = [trial.run({"kernel": 3}, seed, CATALOG)[0] for seed in range(5)]
    assert abs(np.mean([row["gain"] for row in rows]) - np.sqrt(2)) < 0.05
"""

_COMMAND = '''\
"""A command: which weight of a network is shared most."""

import click


@click.command("$name")
@click.argument("net", default="lenet5")
@click.option("--top", default=3, show_default=True, help="How many layers to print.")
def command(net, top):
    """Print the layers whose weights are shared most.

    NET is the name of an architecture.
    """
    from simulator import Catalog  # here, so that --help is quick

    network = Catalog().build(net, rng=None)  # no weights: only shapes are needed
    patterns = {name: node.pattern for name, node in network.nodes.items() if node.pattern is not None}
    share = {name: p.nnz / max(1, p.n_ties) for name, p in patterns.items()}
    for name in sorted(share, key=share.get, reverse=True)[:top]:
        click.echo(f"{name}: {patterns[name]!r}")
'''

_COMMAND_TEST = """\
def test_it_prints_the_first_convolution_first():
    (point,) = entry_points(group="simulator.commands", name="$name")
    result = CliRunner().invoke(point.load(), ["lenet5", "--top", "1"])
    assert result.exit_code == 0
    expected = "4704 x 784: 107736 nonzeros share 150 weights"
    assert result.output == f"conv1: WindowPattern {expected}\\n"
"""

_NUMPY = "import numpy as np\nimport pytest\n"
_CLICK = "from importlib.metadata import entry_points\n\nimport pytest\nfrom click.testing import CliRunner\n"
_CATALOG = "from simulator import Catalog\nfrom simulator.testing import plugin_checks"
_KINDS = {  # module, imports of the test, the rest of the test
    "layer": (_LAYER, _NUMPY + _CATALOG.replace("Catalog", "Catalog, Network, ShapeError", 1), _LAYER_TEST),
    "loss": (_LOSS, _NUMPY + _CATALOG, _LOSS_TEST),
    "optimizer": (_OPTIMIZER, _NUMPY + _CATALOG, _OPTIMIZER_TEST),
    "architecture": (_ARCHITECTURE, _NUMPY + _CATALOG, _ARCHITECTURE_TEST),
    "dataset": (_DATASET, _NUMPY + _CATALOG.replace("Catalog", "Catalog, ShapeError", 1), _DATASET_TEST),
    "engine": (_ENGINE, _NUMPY + _CATALOG, _ENGINE_TEST),
    "experiment": (_EXPERIMENT, _NUMPY + _CATALOG, _EXPERIMENT_TEST),
    "command": (_COMMAND, _CLICK + _CATALOG, _COMMAND_TEST),
}


@click.command(
    "new-plugin",
    epilog=examples(
        "simulator new-plugin my-gains --kind layer", "simulator new-plugin my-rule --kind optimizer --folder plugins"
    ),
)
@click.argument("name")
@click.option("--kind", type=click.Choice(list(_KINDS)), required=True, help="What the plugin shall offer.")
@click.option(
    "--folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Where the project's folder is made.  [default: here]",
)
@CatalogOptions.decorate
def command(name, kind, folder):
    """Write a small project for a plugin: module, test, README.

    NAME is what it offers, in small letters with hyphens, and becomes the folder's name. The project works as it is:
    change it into what you want, and keep its tests green.
    """
    from simulator import FileError, PluginError

    fault = _fault(name, kind)
    if fault:
        raise PluginError(f"new-plugin: expected a name {fault}")
    target = folder / name
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileError(f"new-plugin: expected a new or empty folder, got {target}; choose another name or --folder")
    files = _files(name, kind)
    try:
        _write(target, files)
    except OSError as error:
        raise FileError(f"new-plugin: expected a place to write to, got {error}; choose another --folder") from error
    click.echo(f"Wrote {', '.join(files)} to {target}.")
    words = {"python": shlex.quote(python()), "simulator": shlex.quote(program()), "name": name}
    words |= {"folder": shlex.quote(str(target)), "module": name.replace("-", "_")}
    for line in _NEXT:
        say_next(Template(line).substitute(words))
    say_next(Template(_USE[kind]).substitute(words), f"to {_aim(kind)}")


def _fault(name, kind):
    """What is wrong with a name, and the cure; None if nothing is."""
    module = name.replace("-", "_")
    other = f"for example my-{name}"
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*", name) or len(name) > _LONGEST:
        return f"of up to {_LONGEST} letters, small words with hyphens, got {name!r}; for example my-{kind}"
    words = module, _identifier(name, kind)
    if any(map(keyword.iskeyword, words)) or module in {"setup", "conftest", *sys.stdlib_module_names}:
        return f"that means nothing to Python, got {name!r}; {other}"
    if getattr(importlib.util.find_spec(module), "origin", None):
        return f"of no installed module, got {name!r}; {other}"
    if name in _taken(kind):
        return f"that no other {kind} has, got {name!r}; {other}"
    if kind != "command" and name in (plugin.name for plugin in the_catalog().plugins):
        return f"that no other plugin has, got {name!r}; {other}"
    code = ast.walk(ast.parse(_files(name, kind)[f"{module}.py"]))
    used = [node.id for node in code if isinstance(node, ast.Name)]
    if used.count(_identifier(name, kind)) > 1:  # once it is registered
        return f"that the example does not use itself, got {name!r}; {other}"
    return None


def _taken(kind):
    """The names that there are of this kind."""
    if kind == "command":
        from simulator.cli import cli

        return cli.list_commands(click.get_current_context())
    return getattr(the_catalog(), "losses" if kind == "loss" else f"{kind}s")


def _aim(kind):
    """What its first use is for."""
    return "run it" if kind in ("experiment", "command") else "train with it"


def _identifier(name, kind):
    """What the class or function is called."""
    if kind in ("architecture", "dataset"):
        return name.replace("-", "_")
    return name.title().replace("-", "")


def _files(name, kind):
    """The text of each file by its name."""
    module = name.replace("-", "_")
    code, imports, known = _KINDS[kind]
    here = {"python": "python", "simulator": "simulator", "folder": "."}
    words = {
        "name": name,
        "what": f"{'An' if kind[0] in 'aeiou' else 'A'} {kind}",
        "module": module,
        "identifier": _identifier(name, kind),
        "group": "simulator.commands" if kind == "command" else "simulator",
        "point": f"{module}:command" if kind == "command" else module,
        "imports": imports,
        "known": Template(known).substitute(name=name),
        "next": "\n".join(Template(line).substitute(here, name=name) for line in _NEXT),
        "aim": _aim(kind),
        "use": Template(_USE[kind]).substitute(here, name=name, module=module).replace("./", ""),
    }
    texts = {f"{module}.py": code, f"test_{module}.py": _TEST, "pyproject.toml": _PROJECT, "README.md": _README}
    if kind == "layer":
        texts[f"train_{module}.py"] = _LAYER_TRAINING
    return {file: Template(Template(text).safe_substitute(words)).substitute(words) for file, text in texts.items()}


def _write(target, files):
    """All files or none: they are written beside the target, and then renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    made = target.with_name(f".{target.name}.{os.getpid()}")
    made.mkdir()
    try:
        for file, text in files.items():
            (made / file).write_text(text, encoding="utf-8")
        if target.exists():
            target.rmdir()  # it is empty
        made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
