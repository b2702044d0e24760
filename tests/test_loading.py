"""Broken plugins: each is named with its hook, what is wrong and the cure, and none takes the others down."""

from __future__ import annotations

import builtins
import importlib.metadata
import pickle
import re
import sys
import types

import numpy as np
import pytest

from simulator import Catalog, Network, PluginError, ReLU, ShapeError, hookimpl
from simulator.hookspecs import SHELVES
from simulator.testing import ContractError, plugin_checks

HEAD = '''
from dataclasses import dataclass
import numpy as np
from simulator import (
    SGD, Dataset, Elementwise, FunctionLayer, Network, ReLU, SciPyEngine, ShapeError, SquaredError, hookimpl,
)

@dataclass(frozen=True)
class Square(Elementwise):
    """x squared."""
    def value_and_slope(self, x):
        return x * x, 2 * x

def net(make, input_shape=(3,), classes=10, rng=None):
    """A linear classifier."""
    return Network.sequential(input_shape, [make("dense", classes)], rng=rng)

def data():
    """Two samples."""
    return Dataset(np.zeros((2, 3)), np.array([0, 1]))
'''

EXPERIMENT = """
from simulator import Experiment, Finding

@dataclass(frozen=True)
class Mine(Experiment):
    times: int = 2
    def conditions(self, quick=False):
        return [{"n": n} for n in (1, 2)]
    def run(self, condition, seed, catalog):
        return [{"x": float(self.times * condition["n"])}]
    def findings(self, table):
        return [Finding("x grows", "", "", True)]
    def draw(self, table, figure):
        figure.subplots()
"""


def registering(kind, call, definitions=""):
    """The text of a plugin whose hook for one kind does one thing."""
    return f"{HEAD}\n{definitions}\n@hookimpl\ndef register_{kind}(register):\n    {call}\n"


def experimenting(call, definitions=""):
    """The text of a plugin whose hook for experiments does one thing; Mine is a good one."""
    return registering("experiments", call, f"{EXPERIMENT}\n{definitions}")


# What is wrong, the text of the plugin, and what the message says after "plugin bad (...)".
REFUSED = {
    "imports what is not there": (
        "import nothing_of_this_name",
        "expected a module that can be imported, got ModuleNotFoundError: No module named 'nothing_of_this_name'; fix "
        "it, install what it needs, or uninstall it",
    ),
    "is no Python": ("def :\n", "expected a module that can be imported, got SyntaxError: .*line 1"),
    "fails at import": (
        "1 / 0",
        "expected a module that can be imported, got ZeroDivisionError: division by zero; fix",
    ),
    "leaves the process at import": (
        "raise SystemExit(3)",
        "expected a module that can be imported, got SystemExit: 3",
    ),
    "has no hook": ("x = 1", "expected at least one hook, got none; write a function such as register_layers.register"),
    "forgets to mark its only hook": (
        "def register_losses(register): pass",
        "expected @hookimpl above register_losses, got a plain function; import it from simulator",
    ),
    "forgets to mark one hook of two": (
        registering("layers", "register('square', Square)", "def register_losses(register): pass"),
        "expected @hookimpl above register_losses, got a plain function",
    ),
    "misspells a hook": (
        "from simulator import hookimpl\n@hookimpl\ndef register_layer(register): pass",
        "expected only known hooks, got 'register_layer'; did you mean 'register_layers'",
    ),
    "asks a hook for more than there is": (
        "from simulator import hookimpl\n@hookimpl\ndef register_layers(register, more): pass",
        "expected hooks with the arguments of their specification, got .*'register_layers'.*'more'.*; each takes the "
        "one argument 'register'",
    ),
    "fails in a hook": (
        registering("layers", "register('square', Sqare)"),
        "register_layers: expected it to register what it offers, got NameError: name 'Sqare' is not defined; fix the",
    ),
    "leaves the process in a hook": (
        registering("layers", "raise SystemExit(3)"),
        "register_layers: expected it to register what it offers, got SystemExit: 3; fix the hook",
    ),
    "fails in an example": (
        registering("layers", "register('square', Square, examples=[(__import__('simulator').Conv(1), (2, 3))])"),
        "register_layers: expected it to register what it offers, got TypeError: .*'kernel'; fix the hook",
    ),
    "swaps the arguments": (
        registering("layers", "register(Square, 'square')"),
        r"register_layers: expected register\(name, class or function\), got register\(<class .*Square'>, 'square'\); "
        "pass a string and the class itself",
    ),
    "forgets the name": (
        registering("layers", "register(Square)"),
        r"register_layers: .*got TypeError: register\(\) missing 1 required positional argument: 'obj'; fix the hook",
    ),
    "gives an instance of a layer": (
        registering("layers", "register('square', Square())"),
        r"register_layers: .*, got register\('square', Square\(\)\); pass a string and the class itself",
    ),
    "gives data": (registering("datasets", "register('two', data())"), "register_datasets: .*; pass a string and the"),
    "gives a network": (
        registering("architectures", "register('net', net(lambda *a: ReLU()))"),
        r"register_architectures: .*got register\('net', Network 1 layer.*; pass a string and the class itself",
    ),
    "gives a function for a layer": (
        registering("layers", "register('square', lambda x: x)"),
        "register_layers: square: expected a subclass of MatrixLayer or FunctionLayer, got .*; derive from one of them",
    ),
    "leaves a layer abstract": (
        registering("layers", "register('half', Half)", "@dataclass(frozen=True)\nclass Half(FunctionLayer): pass"),
        "register_layers: half: expected a complete layer, got one without forward, output_shape; write what is",
    ),
    "forgets the dataclass": (
        registering("layers", "register('plain', Plain)", "class Plain(Elementwise):\n    value_and_slope = None"),
        r"register_layers: plain: expected a frozen dataclass, got Plain; put @dataclass\(frozen=True\) above",
    ),
    "does not freeze a layer": (
        registering(
            "layers", "register('soft', Soft)", "@dataclass\nclass Soft(Elementwise):\n    value_and_slope = None"
        ),
        r"register_layers: soft: expected a frozen dataclass, got Soft; put @dataclass\(frozen=True\) above",
    ),
    "misspells what it registers with": (
        registering("layers", "register('square', Square, example=[])"),
        r"register_layers: expected register\('square', ...\) with nothing but .*, got 'example'; did you mean 'exam",
    ),
    "gives a layer a learning rate": (
        registering("layers", "register('square', Square, lr=1)"),
        "got 'lr'; choose one",
    ),
    "gives examples that are no tuples": (
        registering("layers", "register('square', Square, examples=[Square()])"),
        r"register_layers: square: expected examples that are tuples of a Square, a shape for each input, got Squ",
    ),
    "gives examples of another layer": (
        registering("layers", "register('square', Square, examples=[(ReLU(), (3,))])"),
        r"square: expected examples that are tuples of a Square, .* got \(ReLU\(\), \(3,\)\); write such tuples",
    ),
    "gives half an example of a loss": (
        registering("losses", "register('mine', SquaredError, examples=[(SquaredError(),)])"),
        "register_losses: mine: expected examples that are tuples of a SquaredError, a prediction and its target, both "
        "arrays, got",
    ),
    "gives a number for a shape in an example": (
        registering("layers", "register('square', Square, examples=[(Square(), 5)])"),
        r"square: expected examples that are tuples of a Square, a shape for each input, got \(Square\(\), 5\); write",
    ),
    "gives a shape of words in an example": (
        registering("layers", "register('square', Square, examples=[(Square(), ('2', 3))])"),
        r"square: expected examples that are tuples of a Square, .*, got \(Square\(\), \('2', 3\)\); write such",
    ),
    "gives lists in an example of a loss": (
        registering("losses", "register('mine', SquaredError, examples=[(SquaredError(), [[1.0]], [[0.0]])])"),
        r"mine: expected examples that are tuples of a SquaredError, .*, both arrays, got \(.*\[\[1.0\]\]",
    ),
    "gives no target in an example of a loss": (
        registering("losses", "register('mine', SquaredError, examples=[(SquaredError(), np.zeros((2, 3)), None)])"),
        "mine: expected examples that are tuples of a SquaredError, a prediction and its target, both arrays, got",
    ),
    "leaves the target out in an example of a loss": (
        registering("losses", "register('mine', SquaredError, examples=[(SquaredError(), np.zeros((2, 3)))])"),
        "mine: expected examples that are tuples of a SquaredError, a prediction and its target, both arrays, got",
    ),
    "gives one example instead of a list": (
        registering("architectures", "register('net', net, examples={'classes': 2})"),
        r"register_architectures: net: expected a list of examples, got \{'classes': 2\}; write examples=\[...\]",
    ),
    "gives examples that are no list": (
        registering("layers", "register('square', Square, examples=5)"),
        r"register_layers: square: expected a list of examples, got 5; write examples=\[...\]",
    ),
    "writes the number of inputs as a word": (
        registering(
            "layers", "register('two', Two)", "@dataclass(frozen=True)\nclass Two(Square):\n    inputs = 'two'"
        ),
        "register_layers: two: expected a number of inputs, or None for two or more, got 'two'; write inputs = 2",
    ),
    "takes no inputs": (
        registering("layers", "register('none', No)", "@dataclass(frozen=True)\nclass No(Square):\n    inputs = 0"),
        "register_layers: none: expected a number of inputs, or None for two or more, got 0; write inputs = 2",
    ),
    "writes a name large": (
        registering("layers", "register('Square', Square)"),
        "register_layers: expected a name of small letters, digits and hyphens, got 'Square'; for example 'my-layer'",
    ),
    "gives a name twice": (
        registering("layers", "register('square', Square), register('square', Square)"),
        "register_layers: expected each name once, got 'square' again; choose another name",
    ),
    "offers a loss without a gradient": (
        registering("losses", "register('half', Half)", "class Half:\n    def value(self, prediction, target): pass"),
        "register_losses: half: expected a class with value, grad, got the class Half; write grad",
    ),
    "offers an optimizer that cannot start": (
        registering("optimizers", "register('half', Half)", "class Half:\n    def step(self): pass"),
        "register_optimizers: half: expected a class with init, step, got .*; write init",
    ),
    "offers an optimizer without lr": (
        registering(
            "optimizers", "register('still', Still)", "class Still(SGD):\n    def __init__(self, rate=1): pass"
        ),
        r"register_optimizers: still: expected an optimizer that takes lr, got \(rate=1\); name its learning rate lr",
    ),
    "offers an optimizer that needs more": (
        registering("optimizers", "register('mine', Mine)", "class Mine(SGD):\n    def __init__(self, lr, mass): pass"),
        r"register_optimizers: mine: expected to be made without arguments, got \(lr, mass\); give lr, mass a default",
    ),
    "offers an engine without a gradient": (
        registering("engines", "register('half', Half)", "class Half:\n    apply = apply_transposed = print"),
        "register_engines: half: expected a class with apply, apply_transposed, grad, got .*; write grad",
    ),
    "offers an engine that needs arguments": (
        registering("engines", "register('mine', M)", "class M(SciPyEngine):\n    def __init__(self, cores): pass"),
        r"register_engines: mine: expected to be made without arguments, got \(cores\); give cores a default",
    ),
    "offers an architecture without make and rng": (
        registering("architectures", "register('net', lambda input_shape, classes: None)"),
        r"register_architectures: net: expected a function of make, input_shape, classes, rng and options, got .*; add "
        "make, rng",
    ),
    "has an input without axes": (
        registering("architectures", "register('net', lambda make, input_shape=28, rng=None: None)"),
        r"net: expected an input_shape such as \(1, 28, 28\) in its signature, got 28; give all sizes",
    ),
    "misspells the task": (
        registering("architectures", "register('net', net, task='clasify')"),
        "net: expected the task classify or reconstruct or part, got 'clasify'; did you mean 'classify'",
    ),
    "has no positive learning rate": (
        registering("architectures", "register('net', net, lr=0)"),
        "net: expected a positive lr, got 0; leave it out if you do not know one",
    ),
    "has no positive number of epochs": (
        registering("architectures", "register('net', net, epochs=2.5)"),
        "net: expected a positive number of epochs, got 2.5; leave it out if 20 suit",
    ),
    "gives one loss for all outputs": (
        registering("architectures", "register('net', net, losses='hinge')"),
        r"net: expected losses \{output: name\} or \{output: \(name, weight\)\}, got 'hinge'; write such a dict",
    ),
    "gives a loss without its weight": (
        registering("architectures", "register('net', net, losses={'dense1': ('hinge', 'much')})"),
        r"net: expected losses \{output: name\} .*, got \{'dense1': \('hinge', 'much'\)\}; write such a dict",
    ),
    "misspells an option in an example": (
        registering("architectures", "register('net', net, examples=[{'clases': 2}])"),
        "net: expected examples that are dicts of arguments, got 'clases'; did you mean 'classes'",
    ),
    "gives an example that is no dict": (
        registering("architectures", "register('net', net, examples=[(3,)])"),
        r"net: expected examples that are dicts of arguments, got \(3,\); choose one of",
    ),
    "offers data that nobody can ask for": (
        registering("datasets", "register('many', lambda count: None)"),
        r"register_datasets: many: expected a function of path, name or shape, got \(count\); give others a default",
    ),
    "known by a text": (
        registering("datasets", "register('two', data, known='iris')"),
        r"register_datasets: two: expected known, a sequence of names, got 'iris'; write known=\('iris',\)",
    ),
    "accepts all paths": (
        registering("datasets", "register('two', data, accepts=True)"),
        "register_datasets: two: expected accepts, a function of a path, got True; pass the function itself",
    ),
    "gives an instance of an experiment": (
        experimenting("register('mine', Mine())"),
        r"register_experiments: .*, got register\('mine', Mine\(times=2\)\); pass a string and the class itself",
    ),
    "gives a function for an experiment": (
        experimenting("register('mine', net)"),
        "register_experiments: mine: expected a subclass of Experiment, got the function net; derive from it",
    ),
    "leaves an experiment abstract": (
        experimenting(
            "register('half', Half)", "@dataclass(frozen=True)\nclass Half(Experiment):\n    run = draw = print"
        ),
        "half: expected a complete experiment, got one without conditions, findings; write what is missing",
    ),
    "forgets the dataclass of an experiment": (
        experimenting(
            "register('plain', Plain)", "class Plain(Experiment):\n    run = draw = conditions = findings = print"
        ),
        r"plain: expected a frozen dataclass, got Plain; put @dataclass\(frozen=True\) above the class",
    ),
    "offers an experiment that needs an option": (
        experimenting(
            "register('more', More)", "@dataclass(frozen=True, kw_only=True)\nclass More(Mine):\n    size: int"
        ),
        r"more: expected to be made without arguments, got \(.*size: int.*; give size a default",
    ),
    "writes no number of seeds": (
        experimenting("register('no', No)", "@dataclass(frozen=True)\nclass No(Mine):\n    quick_seeds = 0"),
        "no: expected numbers of seeds, got 5 and 0; write seeds = 5",
    ),
    "writes by as a word": (
        experimenting("register('by', By)", "@dataclass(frozen=True)\nclass By(Mine):\n    by = 'epoch'"),
        r"by: expected by, a tuple of measured names, got 'epoch'; write by = \('epoch',\)",
    ),
    "gives options for an example of an experiment": (
        experimenting("register('mine', Mine, examples=[{'times': 1}])"),
        r"mine: expected examples that are each a Mine, got \{'times': 1\}; write Mine\(...\)",
    ),
}


def installed(monkeypatch, tmp_path, **texts):
    """A catalog with these plugins, and no others, installed: installed(..., name="text of the module")."""
    points = []
    for name, text in texts.items():
        module = f"{name}_{tmp_path.name}"  # another one in each test
        (tmp_path / f"{module}.py").write_text(text)
        points.append(importlib.metadata.EntryPoint(name, module, "simulator"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    return Catalog()


def from_file(tmp_path, text):
    """A catalog with the core and one plugin, whose name is bad."""
    file = tmp_path / "bad.py"
    file.write_text(text)
    return Catalog(file, entry_points=False)


def offers(catalog):
    """Every name on every shelf."""
    return {(kind, name) for kind in SHELVES for name in getattr(catalog, kind)}


GOOD = registering("layers", "register('good-square', Square)")
CORE = offers(Catalog(entry_points=False))


@pytest.mark.parametrize(("text", "message"), list(REFUSED.values()), ids=list(REFUSED))
def test_a_plugin_is_refused_that(text, message, tmp_path):
    with pytest.raises(PluginError, match=rf"^plugin bad \({re.escape(str(tmp_path))}/bad.py\)[:,] .*{message}"):
        from_file(tmp_path, text)


@pytest.mark.parametrize(("text", "message"), list(REFUSED.values()), ids=list(REFUSED))
def test_where_it_is_installed_the_others_work_although_one(text, message, tmp_path, monkeypatch):
    catalog = installed(monkeypatch, tmp_path, bad=text, good=GOOD)
    (problem,) = catalog.problems
    assert re.match(rf"plugin bad \(bad_{tmp_path.name}\)[:,] .*{message}", problem)
    assert [plugin.name for plugin in catalog.plugins] == ["core", "good"]
    assert offers(catalog) == CORE | {("layers", "good-square")}
    net = Network.sequential((2,), [catalog.make("good-square"), catalog.make("relu")])
    np.testing.assert_array_equal(net.predict(np.array([[3.0, -1.0]])), [[9, 1]])


def test_a_plugin_is_refused_as_a_whole(tmp_path, monkeypatch):
    text = registering("layers", "register('square', Square), register('Square', Square)")
    catalog = installed(monkeypatch, tmp_path, bad=text, good=GOOD)
    assert "square" not in catalog.layers


def test_what_a_broken_module_leaves_behind_is_removed(tmp_path):
    with pytest.raises(PluginError):
        from_file(tmp_path, "import not_there")
    assert from_file(tmp_path, GOOD).make("good-square")  # the same file, mended


# ---------------------------------------------------------------------- names and modules


def test_a_name_that_is_built_in_stays_and_the_cure_chooses_the_other(tmp_path, monkeypatch):
    mine = registering("layers", "register('relu', Square), register('square', Square)")
    catalog = installed(monkeypatch, tmp_path, mine=mine, good=GOOD)
    (problem,) = catalog.problems
    assert re.match(
        r"plugin mine \(.*\): expected a name of its own for layers.relu, got one that is built in, which stays; "
        "choose the plugin's with --prefer layers.relu=mine, in Python with ",
        problem,
    )
    assert offers(catalog) == CORE | {("layers", "square"), ("layers", "good-square")}
    assert type(catalog.make("relu")) is ReLU
    chosen = eval(problem.rpartition("in Python with ")[2], {"Catalog": Catalog})
    assert type(chosen.make("relu")).__name__ == "Square"
    assert [problem for problem in chosen.problems if "layers.relu" in problem] == []


def test_two_strangers_with_one_name_are_refused_where_it_is_used(tmp_path, monkeypatch):
    text = registering("layers", "register('square', Square)")
    catalog = installed(monkeypatch, tmp_path, one=text, two=text)
    assert type(catalog.make("relu")) is ReLU  # nothing else is refused
    message = r"expected one plugin to offer layers.square, got plugin one \(.*\) and plugin two \(.*\); choose with"
    assert any(re.search(message, problem) for problem in catalog.problems)
    with pytest.raises(PluginError, match=message) as error:
        catalog.make("square")
    chosen = eval(str(error.value).rpartition("in Python with ")[2], {"Catalog": Catalog})
    assert chosen.layers.entry("square").plugin.name == "two"


def test_two_plugins_of_one_name(tmp_path, monkeypatch):
    catalog = installed(monkeypatch, tmp_path, good=GOOD)
    points = list(importlib.metadata.entry_points(group="simulator"))
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points * 2)
    again = Catalog()
    (problem,) = again.problems
    assert (
        "expected a new name and module, got one that is loaded already; load it once, or rename its entry" in problem
    )
    assert offers(again) == offers(catalog)


def test_a_stranger_with_the_name_of_a_bundled_plugin_is_left_out(tmp_path, monkeypatch):
    stranger = tmp_path / "stranger-1.0.dist-info"
    stranger.mkdir()
    (stranger / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (stranger / "entry_points.txt").write_text(f"[simulator]\nmomentum = {tmp_path.name}\n")
    (tmp_path / f"{tmp_path.name}.py").write_text(GOOD)
    monkeypatch.syspath_prepend(tmp_path)  # found before ours
    catalog = Catalog()
    (problem,) = catalog.problems
    assert problem.startswith("plugin momentum (stranger 1.0): expected a new name and module, got one that is loaded")
    assert "nesterov" in catalog.optimizers
    assert "good-square" not in catalog.layers


def test_a_plugin_given_twice_is_refused():
    class Mine:
        @hookimpl
        def register_layers(self, register):
            register("mine", ReLU)

    mine = Mine()
    with pytest.raises(PluginError, match="plugin Mine .*: expected a new name and module, got one that is loaded"):
        Catalog(mine, mine, entry_points=False)


def test_files_and_modules_that_are_not_there(tmp_path):
    with pytest.raises(PluginError, match="plugin .*missing.py: expected a Python file, got no such file; check the"):
        Catalog(tmp_path / "missing.py")
    with pytest.raises(PluginError, match="plugin no_such_module .module no_such_module.: .*ModuleNotFoundError"):
        Catalog("no_such_module")


def test_plugins_are_given_as_files_modules_and_objects(tmp_path, monkeypatch):
    file = tmp_path / "good_squares.py"
    file.write_text(GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    module = types.ModuleType("made_here")
    module.register_layers = hookimpl(lambda register: register("good-square", ReLU))
    for given, name, origin in (
        (str(file), "good_squares", str(file)),
        (file, "good_squares", str(file)),
        ("good_squares", "good_squares", "module good_squares"),
        (module, "made_here", "given as an object"),
    ):
        plugin = Catalog(given, entry_points=False).layers.entry("good-square").plugin
        assert (plugin.name, plugin.origin) == (name, origin)


def test_a_file_is_one_module_until_it_changes(tmp_path):
    first = from_file(tmp_path, GOOD).make("good-square")
    file = tmp_path / "bad.py"
    again = Catalog(file, entry_points=False).make("good-square")
    assert type(again) is type(first)
    assert pickle.loads(pickle.dumps(first)) == again
    file.write_text(GOOD.replace("x * x, 2 * x", "x * x * x, 3 * x * x"))
    changed = Catalog(file, entry_points=False).make("good-square")
    assert changed.value_and_slope(np.array([2.0]))[0] == 8
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert type(from_file(elsewhere, GOOD).make("good-square")) is not type(changed)


# ---------------------------------------------------------------------- faults that show when it is used


def test_a_layer_that_fails_is_named(tmp_path):
    layer = "@dataclass(frozen=True)\nclass Bad(Elementwise):\n    def value_and_slope(self, x):\n        "
    for body, message in {
        "return 1 / 0": r"bad1: expected Bad\(\) to give .*, got ZeroDivisionError: division by zero; fix the layer",
        "x += 1": r"bad1: expected Bad\(\) to give .* and leave its arguments alone, got ValueError: .*read-only",
        "return x[:1], x": r"bad1: expected Bad\(\) to give an array \(3, 2\), got \(1, 2\); fix the layer",
        "return 3, x": r"bad1: expected Bad\(\) to give an array \(3, 2\), got 3; fix the layer",
        "pass": r"bad1: expected Bad\(\) to give .*, got TypeError: cannot unpack non-iterable NoneType",
    }.items():
        catalog = from_file(tmp_path, registering("layers", "register('bad', Bad)", layer + body))
        net = Network.input((3,)).add(catalog.make("bad"), name="bad1")
        with pytest.raises(PluginError, match=message):
            net.predict(np.zeros((2, 3)))


def test_a_pullback_with_wrong_shapes_is_named(tmp_path):
    layer = "@dataclass(frozen=True)\nclass Bad(ReLU):\n    def forward(self, params, buffers, *xs, training=False, "
    layer += "rng=None):\n        return xs[0], lambda dy: ((dy[:1],), {}), {}"
    catalog = from_file(tmp_path, registering("layers", "register('bad', Bad)", layer))
    net = Network.input((3,)).add(catalog.make("bad"), name="bad1")
    trace = net.run(np.zeros((2, 3)))
    with pytest.raises(
        PluginError, match=r"backward bad1: expected Bad\(\) to give gradients of shapes \[\(3, 2\)\], got \[\(1, 2\)\]"
    ):
        trace.backward(np.ones((2, 3)))


def test_an_architecture_that_fails_is_named_and_others_build(tmp_path):
    built = "register('bad', lambda make, input_shape=(3,), rng=None: {}), register('net', net)"
    for body, message in {
        "None": "plugin bad, architecture bad: expected a Network, got NoneType; return one from the function",
        "'text'": "plugin bad, architecture bad: expected a Network, got str; return one from the function",
        "[][1]": "plugin bad, architecture bad: expected to build with no options, got IndexError: list index out",
    }.items():
        catalog = from_file(tmp_path, registering("architectures", built.format(body)))
        with pytest.raises(PluginError, match=message):
            catalog.build("bad")
        assert catalog.build("net", (4,)).output_shape == (10,)


def test_losses_for_no_output_are_named(tmp_path):
    catalog = from_file(tmp_path, registering("architectures", "register('net', net, losses={'top': 'squared-error'})"))
    with pytest.raises(
        PluginError, match="plugin bad, architecture net: expected the first of its losses to .*, got 'top'; name one"
    ):
        catalog.objective("net", catalog.build("net", (4,)))


def test_a_data_set_that_returns_something_else_is_named(tmp_path):
    catalog = from_file(tmp_path, registering("datasets", "register('bad', lambda: 3), register('two', data)"))
    with pytest.raises(PluginError, match="plugin bad, data set bad: expected a Dataset, got int; return one from the"):
        catalog.load_data("bad")
    assert len(catalog.load_data("two")) == 2


# ---------------------------------------------------------------------- faults in numbers, which the checks find


def layer(body, extra=""):
    """A plugin with one layer, whose forward is given."""
    definition = (
        "@dataclass(frozen=True)\nclass Bad(FunctionLayer):\n"
        "    def output_shape(self, *input_shapes): return input_shapes[0]\n"
        f"    def forward(self, params, buffers, *xs, training=False, rng=None):\n        {body}\n{extra}"
    )
    return registering("layers", "register('bad', Bad)", definition)


def derived(kind, base, body):
    """A plugin with one class that is right but for one method."""
    return registering(kind, "register('bad', Bad)", f"class Bad({base}):\n    {body}")


# What is wrong, the text of the plugin, the check that finds it, and what it says.
FOUND = {
    "output of another shape": (
        layer("return xs[0], None, {}", "    def output_shape(self, *s): return (*s[0], 1)"),
        "check_output_shape",
        r"check_output_shape, Bad\(\) on \(2, 5, 5\): .* to give an array \(2, 5, 5, 1, 3\), got \(2, 5, 5, 3\)",
    ),
    "wrong gradient": (
        layer("return 2 * xs[0], lambda dy: ((dy,), {}), {}"),
        "check_input_gradients",
        r"expected gradient of x0 with slope .*; the promise: The pullback gives the gradients of the inputs",
    ),
    "mutated input": (layer("xs[0][...] = 0"), "check_unchanged", "ValueError: assignment destination is read-only"),
    "mutated gradient": (
        layer("return xs[0], lambda dy: ((dy.__imul__(2),), {}), {}"),
        "check_unchanged",
        "expected unchanged dy",
    ),
    "another dtype": (
        layer("return xs[0] * np.float64(1), lambda dy: ((dy,), {}), {}"),
        "check_dtype",
        "expected output of float32, got float64",
    ),
    "pullback of another shape": (
        layer("return xs[0], lambda dy: ((dy[:0],), {}), {}"),
        "check_input_gradients",
        r"expected Bad\(\) to give gradients of shapes",
    ),
    "constructor that fails": (
        layer("return xs[0], None, {}", "    def __post_init__(self): 1 / 0"),
        "check_examples",
        "check_examples, bad: expected no error, got ZeroDivisionError: division by zero; the promise: it can be made",
    ),
    "needs arguments and has no examples": (
        layer("return xs[0], None, {}", "    size: int"),
        "check_examples",
        r"bad: expected examples, got none, and it cannot be made without size; register it with examples=\[\(Bad\(\.",
    ),
    "needs a keyword and has no examples": (
        registering(
            "layers",
            "register('bad', Bad)",
            "@dataclass(frozen=True, kw_only=True)\nclass Bad(Square):\n    size: int",
        ),
        "check_examples",
        r"bad: expected examples, got none, and it cannot be made without size; register it with examples=\[\(Bad\(\.",
    ),
    "takes no usual shape": (
        layer("return xs[0], None, {}", "    def output_shape(self, *s): raise ShapeError('no')"),
        "check_examples",
        r"bad: expected examples, got none, and it takes none of the usual shapes; register it with examples=\[\(Bad",
    ),
    "shape that cannot be computed": (
        layer("return xs[0], None, {}", "    def output_shape(self, *s): return s[7]"),
        "check_output_shape",
        "check_output_shape, .*got IndexError: tuple index out of range",
    ),
    "loss that is no float": (
        derived("losses", "SquaredError", "def value(self, p, t): return np.array(1.0)"),
        "check_loss",
        r"check_loss, .*: expected a float, got <class 'numpy.ndarray'>; the promise: a float, the mean",
    ),
    "loss that always fails": (
        derived("losses", "SquaredError", "def value(self, p, t): return p.nothing"),
        "check_loss",
        "check_loss, .*: expected no error, got AttributeError: .*'nothing'",
    ),
    "loss that takes nothing": (
        derived("losses", "SquaredError", "def value(self, p, t): raise ShapeError('no')"),
        "check_examples",
        r"takes none of the usual shapes; register it with examples=\[\(Bad\(\.\.\.\), prediction, target\)\]",
    ),
    "optimizer that changes its arguments": (
        derived("optimizers", "SGD", "def step(self, params, grads, state): params['a'] *= 0; return params, state"),
        "check_optimizer",
        "check_optimizer, .*: expected unchanged param a",
    ),
    "optimizer that fails when it is made": (
        derived("optimizers", "SGD", "def __init__(self, lr=0): 1 / 0"),
        "check_optimizer",
        "check_examples, bad: expected no error, got ZeroDivisionError",
    ),
    "optimizer that takes a number for lr only": (
        derived(
            "optimizers",
            "SGD",
            "def step(self, p, g, state): return {k: v - self.lr * g[k] for k, v in p.items()}, state",
        ),
        "check_optimizer",
        r"check_optimizer, Bad\(lr=CosineDecay\(.*got TypeError: unsupported operand",
    ),
    "optimizer that gives params of another shape": (
        derived(
            "optimizers",
            "SGD",
            "def step(self, p, g, state): return {k: v.ravel() * 0.5 for k, v in p.items()}, state",
        ),
        "check_optimizer",
        r"expected params of shapes \{'a': \(3, 2\), 'b': \(4,\)\}, got \{'a': \(6,\), 'b': \(4,\)\}",
    ),
    "engine with a wrong product": (
        derived("engines", "SciPyEngine", "def apply(self, matrix, x): return -(matrix @ x)"),
        "check_engine",
        "check_engine, .*: expected for .* W @ x",
    ),
    "architecture that ends in probabilities": (
        registering(
            "architectures",
            "register('bad', lambda make, input_shape=(3,), classes=10, rng=None: "
            "net(make, input_shape, classes, rng).add(make('softmax')))",
        ),
        "check_architecture",
        "check_architecture, bad: expected logits, got probabilities that sum to 1; leave softmax to the loss",
    ),
    "architecture that gives back another shape": (
        registering("architectures", "register('bad', net, task='reconstruct', examples=[{'input_shape': (1, 3)}])"),
        "check_architecture",
        r"expected the input's shape \(1, 3\), got \(7,\); end in one unit for each of the input",
    ),
    "architecture that builds nothing": (
        registering("architectures", "register('bad', lambda make, input_shape=(3,), rng=None: None)"),
        "check_architecture",
        "check_architecture, bad: .*got PluginError: .*architecture bad: expected a Network, got NoneType",
    ),
    "architecture without a shape": (
        registering("architectures", "register('bad', lambda make, input_shape, rng=None: None)"),
        "check_architecture",
        "check_architecture, bad: .*got ShapeError: bad: expected an input shape, got none",
    ),
    "data set that returns something else": (
        registering("datasets", "register('bad', lambda: 3)"),
        "check_dataset",
        "check_dataset, bad: .*data set bad: expected a Dataset, got int",
    ),
    "data set that fails": (
        registering("datasets", "register('bad', lambda: 1 / 0)"),
        "check_dataset",
        "check_dataset, bad: expected no error, got .*division by zero",
    ),
    "data set that is never the same": (
        registering(
            "datasets", "register('bad', lambda: Dataset(np.random.default_rng().random((2, 3)), np.zeros(2)))"
        ),
        "check_dataset",
        "check_dataset, bad: expected once more, samples",
    ),
    "experiment that draws from nowhere": (
        experimenting(
            "register('bad', Bad)",
            "class Bad(Mine):\n    def run(self, c, seed, catalog): return [{'x': np.random.standard_normal()}]",
        ),
        "check_experiment",
        r"check_experiment, Bad\(times=2\): expected once more from seed 0 .*; draw from default_rng\(seed\) alone",
    ),
    "experiment that finds nothing in a small example": (
        experimenting(
            "register('bad', Bad, examples=[Bad(times=0)])",
            "class Bad(Mine):\n    def findings(self, table): return [1 / row['x'] for row in table]",
        ),
        "check_experiment",
        r"check_experiment, Bad\(times=0\): .* got PluginError: .* expected findings, got ZeroDivisionError",
    ),
    "name of the core": (
        registering("layers", "register('relu', Square)"),
        "check_name",
        "check_name, relu: expected a name of its own, got one that core offers; choose with --prefer layers.relu=bad",
    ),
}


@pytest.mark.parametrize(("text", "check", "message"), list(FOUND.values()), ids=list(FOUND))
def test_the_checks_find(text, check, message, tmp_path):
    checks = [run for _, name, run in plugin_checks(from_file(tmp_path, text), "bad") if name == check]
    with pytest.raises(ContractError, match=message):
        for run in checks:
            run()


def test_a_layer_that_takes_some_of_the_usual_shapes_is_tried_on_these(tmp_path):
    text = layer(
        "return xs[0], lambda dy: ((dy,), {}), {}",
        "    def output_shape(self, *s):\n        c, n = s[0]\n        return c, n",  # a ValueError for other axes
    )
    whats = {what for what, _, _ in plugin_checks(from_file(tmp_path, text), "bad")}
    assert whats == {"layers bad on (3, 4)"}


def test_examples_choose_what_is_tried(tmp_path):
    text = registering("architectures", "register('bad', net, examples=[{'input_shape': (2, 3), 'classes': 3}])")
    ((what, check, run),) = plugin_checks(from_file(tmp_path, text), "bad")
    assert (what, check) == ("architectures bad input_shape=(2, 3) classes=3", "check_architecture")
    assert run() is None


def test_examples_may_come_from_a_generator(tmp_path):
    text = registering("layers", "register('bad', Square, examples=((Square(), (n,)) for n in (2, 3)))")
    catalog = from_file(tmp_path, text)
    for _ in range(2):
        assert {what for what, _, _ in plugin_checks(catalog, "bad")} == {"layers bad on (2,)", "layers bad on (3,)"}


def test_a_data_set_that_needs_a_path_says_so(tmp_path):
    text = registering("datasets", "register('bad', lambda path, shape: None)")
    ((_, _, run),) = plugin_checks(from_file(tmp_path, text), "bad")
    assert run() == "it needs a path; load it with bad:PATH"


def test_a_bad_layer_shape_is_a_shape_error(tmp_path):
    text = layer("return xs[0], None, {}", "    def output_shape(self, *s): raise ShapeError('bad: no; use another')")
    with pytest.raises(ShapeError, match=r"bad1 \(after input\): bad: no; use another"):
        Network.input((3,)).add(from_file(tmp_path, text).make("bad"), name="bad1")


def test_an_engine_whose_library_is_missing_breaks_no_promise(tmp_path):
    text = """
from simulator import NotInstalledError, SciPyEngine, hookimpl


class Far(SciPyEngine):
    def __init__(self, threads=None):
        raise NotInstalledError("engine far: expected farlib, got none; pip install farlib")


@hookimpl
def register_engines(register):
    register("far", Far)
"""
    ((what, check, run),) = plugin_checks(from_file(tmp_path, text), "bad")
    assert (what, check, run()) == (
        "engines far",
        "check_engine",
        "engine far: expected farlib, got none; pip install farlib",
    )


def test_an_installed_plugin_is_asked_once_and_again_after_a_reload(tmp_path, monkeypatch):
    counting = GOOD.replace("register('good", "import builtins; builtins.asked += 1; register('good")
    monkeypatch.setattr("builtins.asked", 0, raising=False)
    installed(monkeypatch, tmp_path, good=counting)
    catalog = Catalog()
    assert builtins.asked == 1
    assert "good-square" in catalog.layers
    module = sys.modules[f"good_{tmp_path.name}"]
    (tmp_path / f"{module.__name__}.py").write_text(counting.replace("good-square", "better-square"))
    importlib.invalidate_caches()
    importlib.reload(module)
    assert "better-square" in Catalog().layers
    assert builtins.asked == 2
