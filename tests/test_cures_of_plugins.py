"""What errors about plugins, experiments, the catalog and the estimator say to do is done here, and works."""

import re
import types

import numpy as np
import pytest

from simulator import (
    Catalog,
    Conv,
    Dense,
    Experiment,
    Finding,
    Network,
    PluginError,
    ReLU,
    ShapeError,
    SimulatorError,
    Units,
    UnknownNameError,
    Weight,
    hookimpl,
)
from simulator.experiments import checked_conditions, checked_findings, checked_rows

NET = Network.sequential((1, 6, 6), [Conv(2, kernel=3), Dense(3)], rng=0)


def offering(kind="layers", *given, mark=hookimpl, hook=None, **details):
    """A catalog with a plugin whose one hook registers something."""
    plugin = types.ModuleType("mine")

    def register_it(register):
        for arguments in given:
            register(*arguments, **details)

    name = hook or f"register_{kind}"
    register_it.__name__ = name
    setattr(plugin, name, mark(register_it))
    return Catalog(plugin, entry_points=False)


def plain(function):
    return function


class Loss:
    def value(self, prediction, target):
        return 0.0

    def grad(self, prediction, target):
        return prediction


def tiny(make, input_shape=(1, 6, 6), rng=None):
    """A net."""
    return Network.sequential(input_shape, [make("relu")], rng=rng)


def with_width(make, input_shape=(1, 6, 6), rng=None, width=1):
    """A net that cannot be built wide."""
    if width > 1:
        raise ValueError("too wide")
    return tiny(make, input_shape, rng)


def without_shape(make, input_shape, rng=None):
    """A net."""
    return tiny(make, input_shape, rng)


def nothing(make, input_shape=(1, 6, 6), rng=None):
    """No net."""
    return 5


class Runs(Experiment):
    """Runs."""

    by = ("part",)

    def conditions(self, quick=False):
        return [{"n": 1}]

    def run(self, condition, seed, catalog):
        return [{"part": 1, "value": 1.0}]

    def findings(self, table):
        return []

    def draw(self, table, figure):
        pass


def conditions(*given):
    made = Runs()
    object.__setattr__(made, "conditions", lambda quick=False: given[0] if len(given) == 1 else list(given))
    return checked_conditions(made)


def rows(*given):
    return checked_rows(
        Runs(), {"n": 1}, given[0] if len(given) == 1 and not isinstance(given[0], dict) else list(given)
    )


def findings(found):
    made = Runs()
    object.__setattr__(made, "findings", lambda table: found)
    return checked_findings(made, [])


CONV = ("my-relu", ReLU)
ROWS = [
    # ---------------------------------------------------------------- what a plugin registers
    (
        "no mark",
        lambda: offering("layers", CONV, mark=plain),
        "expected @hookimpl above register_layers, got a plain function; import it from simulator",
        lambda: offering("layers", CONV),
    ),
    (
        "no hook",
        lambda: Catalog(types.ModuleType("mine"), entry_points=False),
        "write a function such as register_layers(register) and mark it with @hookimpl",
        lambda: offering("layers", CONV),
    ),
    (
        "an unknown hook",
        lambda: offering(hook="register_layer"),
        "did you mean 'register_layers'",
        lambda: offering("layers", CONV),
    ),
    (
        "an object",
        lambda: offering("layers", ("my-relu", ReLU())),
        "pass a string and the class itself",
        lambda: offering("layers", ("my-relu", ReLU)),
    ),
    (
        "a name with blanks",
        lambda: offering("layers", ("My relu", ReLU)),
        "for example 'my-layer'",
        lambda: offering("layers", ("my-layer", ReLU)),
    ),
    (
        "one name twice",
        lambda: offering("layers", CONV, CONV),
        "choose another name",
        lambda: offering("layers", CONV, ("my-other", ReLU)),
    ),
    (
        "a detail that is misspelt",
        lambda: offering("layers", CONV, example=[]),
        "did you mean 'examples'?",
        lambda: offering("layers", CONV, examples=[]),
    ),
    (
        "one example for a list",
        lambda: offering("layers", CONV, examples=5),
        "write examples=[...]",
        lambda: offering("layers", CONV, examples=[(ReLU(), (3,))]),
    ),
    (
        "a loss for a layer",
        lambda: offering("layers", ("my-loss", Loss)),
        "my-loss",
        lambda: offering("losses", ("my-loss", Loss)),
    ),
    (
        "a plugin twice",
        lambda: Catalog("simulator_plugins.losses.hinge"),
        "load it once, or rename its entry point",
        lambda: Catalog().losses["hinge"],
    ),
    ("a file that is not there", lambda: Catalog("no_such_plugin.py"), "check the path", None),
    # ---------------------------------------------------------------- architectures of a plugin
    (
        "no network",
        lambda: offering("architectures", ("none", nothing)).build("none"),
        "return one from the function",
        lambda: offering("architectures", ("tiny", tiny)).build("tiny"),
    ),
    (
        "options that do not build",
        lambda: offering("architectures", ("wide", with_width)).build("wide", width=2),
        "correct the options, or fix the plugin",
        lambda: offering("architectures", ("wide", with_width)).build("wide", width=1),
    ),
    (
        "no input shape",
        lambda: offering("architectures", ("bare", without_shape)).build("bare"),
        "give one, for example --input 1x28x28",
        lambda: offering("architectures", ("bare", without_shape)).build("bare", (1, 28, 28)),
    ),
    (
        "no classes",
        lambda: Catalog().build("mlp", classes=0),
        "give a positive number",
        lambda: Catalog().build("mlp", classes=1),
    ),
    (
        "a shape that is none",
        lambda: Catalog().build("mlp", 5),
        "give all sizes",
        lambda: Catalog().build("mlp", (1, 28, 28)),
    ),
    (
        "a shelf that is misspelt",
        lambda: Catalog().create("layer", "relu"),
        "did you mean 'layers'",
        lambda: Catalog().create("layers", "relu"),
    ),
    (
        "a preference for nothing",
        lambda: Catalog(prefer={"layers.relu": "nobody"}),
        "see 'simulator plugins' for what there is",
        lambda: Catalog(prefer={"layers.relu": Catalog().layers.entry("relu").plugin.name}),
    ),
    # ---------------------------------------------------------------- experiments of a plugin
    (
        "no list of conditions",
        lambda: conditions({"n": 1}.items()),
        "return such a list",
        lambda: conditions({"n": 1}, {"n": 2}),
    ),
    (
        "conditions of other names",
        lambda: conditions({"n": 1}, {"m": 1}),
        "give all the same names, with None for what does not apply",
        lambda: conditions({"n": 1, "m": None}, {"n": None, "m": 1}),
    ),
    (
        "a condition that is an array",
        lambda: conditions({"n": np.ones(2)}, {"n": 1}),
        "write str, int, float, bool or None",
        lambda: conditions({"n": "ones"}, {"n": 1}),
    ),
    (
        "a condition twice",
        lambda: conditions({"n": 1}, {"n": 1}),
        "leave one out",
        lambda: conditions({"n": 1}, {"n": 2}),
    ),
    ("no list of rows", lambda: rows(5), "return [{name: number}]", lambda: rows({"part": 1, "value": 1.0})),
    (
        "rows of other names",
        lambda: rows({"part": 1, "a": 1}, {"part": 2, "b": 1}),
        "measure the same names in each",
        lambda: rows({"part": 1, "a": 1}, {"part": 2, "a": 1}),
    ),
    (
        "an array in a row",
        lambda: rows({"part": 1, "a": np.ones(2)}),
        "write float(...) or int(...)",
        lambda: rows({"part": 1, "a": float(np.ones(2)[0])}),
    ),
    (
        "rows that are alike",
        lambda: rows({"part": 1, "a": 1}, {"part": 1, "a": 2}),
        "name in by what tells them apart",
        lambda: rows({"part": 1, "a": 1}, {"part": 2, "a": 2}),
    ),
    (
        "no findings",
        lambda: findings(5),
        "expected a list of Finding, got 5; return such a list",
        lambda: findings([Finding("a", "b", "c", True)]),
    ),
    # ---------------------------------------------------------------- addresses
    (
        "an address without an index",
        lambda: Weight.of(NET.nodes, 7),
        "write for example ",
        lambda: Weight.of(NET.nodes, "conv1.weight[0, 0, 1, 1]"),
    ),
    (
        "a weight outside",
        lambda: Weight.of(NET.nodes, "conv1.weight[0, 0, 3, 3]"),
        "count from 0",
        lambda: Weight.of(NET.nodes, "conv1.weight[0, 0, 2, 2]"),
    ),
    (
        "an array that is misspelt",
        lambda: Weight.of(NET.nodes, "conv1.weights[0, 0, 1, 1]"),
        "did you mean 'weight'?",
        lambda: Weight.of(NET.nodes, "conv1.weight[0, 0, 1, 1]"),
    ),
    (
        "a number outside",
        lambda: Units.of(NET.nodes, ("conv1", 32)),
        "expected a number from 0 to 31",
        lambda: Units.of(NET.nodes, ("conv1", 31)),
    ),
]


@pytest.mark.parametrize(("provoke", "cure", "follow"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_cure_works(provoke, cure, follow):
    with pytest.raises((PluginError, ShapeError, UnknownNameError), match=re.escape(cure)) as caught:
        provoke()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    if follow is not None:
        follow()


def estimator(**options):
    from simulator import SimulatorClassifier

    return SimulatorClassifier(epochs=1, **options)


X, Y = np.random.default_rng(0).random((12, 36)), np.arange(12) % 3
ESTIMATOR = [
    (
        "one class",
        lambda: estimator(architecture="mlp").fit(X, np.zeros(12)),
        "give samples of another class, too",
        lambda: estimator(architecture="mlp").fit(X, Y),
    ),
    (
        "a plugin that is no name",
        lambda: estimator(architecture="mlp", plugins=(5,)).fit(X, Y),
        "write plugins=('my_plugin.py',)",
        None,
    ),
    (
        "a net that rebuilds",
        lambda: estimator(architecture="autoencoder").fit(X, Y),
        "see 'simulator plugins' for others",
        lambda: estimator(architecture="mlp").fit(X, Y),
    ),
    (
        "options that are ours",
        lambda: estimator(architecture="mlp", options={"classes": 3}).fit(X, Y),
        "leave out ",
        lambda: estimator(architecture="mlp", options={}).fit(X, Y),
    ),
    (
        "a shape of other units",
        lambda: estimator(architecture="mlp", input_shape=(1, 5, 5)).fit(X, Y),
        "give one that they fill",
        lambda: estimator(architecture="mlp", input_shape=(1, 6, 6)).fit(X, Y),
    ),
]


@pytest.mark.parametrize(
    ("provoke", "cure", "follow"), [row[1:] for row in ESTIMATOR], ids=[row[0] for row in ESTIMATOR]
)
def test_the_cure_of_the_estimator_works(provoke, cure, follow):
    pytest.importorskip("sklearn")
    with pytest.raises(SimulatorError, match=re.escape(cure)):
        provoke()
    if follow is not None:
        follow()
