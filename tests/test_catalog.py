"""The catalog: who offers what, what happens to broken and clashing plugins, and building by name."""

from __future__ import annotations

import types

import numpy as np
import pytest

from simulator import Catalog, Dataset, FileError, Network, PluginError, ReLU, ShapeError, UnknownNameError, hookimpl
from simulator.hookspecs import SHELVES


def plugin(name, **hooks):
    """A module-like plugin that registers the given things: plugin("mine", layers={"relu": X})."""
    module = types.ModuleType(name)
    for kind, offers in hooks.items():

        def register_all(register, offers=offers):
            for key, value in offers.items():
                register(key, value)

        register_all.__name__ = f"register_{kind}"
        # Bind the default so that the hook has the one argument of its specification.
        setattr(module, f"register_{kind}", hookimpl(_one_argument(register_all)))
    return module


def _one_argument(function):
    def hook(register):
        return function(register)

    return hook


class MyReLU(ReLU):
    """Another one."""


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def test_the_core_comes_through_the_same_hooks():
    bare = Catalog(entry_points=False)
    assert {e.plugin.name for kind in SHELVES for e in getattr(bare, kind).entries.values()} == {"core"}
    assert len(bare.layers) == 20
    assert list(bare.architectures) == []


def test_everything_bundled_is_there(catalog):
    assert catalog.problems == []
    assert {"lenet5", "lenet5-1998", "resnet8"} <= set(catalog.architectures)
    assert {"sgd", "momentum"} <= set(catalog.optimizers)
    assert {"digits", "xo", "npz", "pictures", "idx", "cifar"} <= set(catalog.datasets)
    for kind in SHELVES:
        for entry in getattr(catalog, kind).entries.values():
            assert entry.summary, f"{kind}.{entry.name} has no docstring"


def test_a_misspelt_name_is_answered_with_the_nearest(catalog):
    with pytest.raises(UnknownNameError, match=r"one of the architectures, got 'lenet'; did you mean 'lenet5'"):
        catalog.build("lenet")
    with pytest.raises(UnknownNameError, match="got 'widht'; did you mean 'width'"):
        catalog.build("lenet5", widht=2)
    with pytest.raises(UnknownNameError, match="one of the engines, got 'cuda'; choose one of: scipy"):
        catalog.build("lenet5", engine="cuda")


def test_build(catalog):
    network = catalog.build("lenet5", (1, 28, 28), classes=7, rng=3, dtype="float64", width=0.5)
    assert network.output_shape == (7,)
    assert network.dtype == np.float64
    assert network.node("conv1").shape == (3, 28, 28)
    again = catalog.build("lenet5", (1, 28, 28), classes=7, rng=3, dtype="float64", width=0.5)
    for name, array in network.params.items():
        np.testing.assert_array_equal(array, again.params[name])
    assert not catalog.build("lenet5", rng=None).has_weights
    with pytest.raises(ShapeError, match="expected at least one class, got 0"):
        catalog.build("lenet5", classes=0)


def test_make_explains_wrong_arguments(catalog):
    assert catalog.make("conv", 6, kernel=5).kernel == 5
    with pytest.raises(ShapeError, match="conv: expected the arguments .* got .*'kernle'; correct the call"):
        catalog.make("conv", 6, 5, kernle=5)


def test_a_plugin_can_replace_a_layer_when_preferred():
    mine = plugin("mine", layers={"relu": MyReLU})
    disputed = Catalog(mine)
    message = r"one plugin to offer layers.relu, got core \(.*\) and mine .*--prefer layers.relu=mine"
    with pytest.raises(PluginError, match=message):
        disputed.make("relu")
    assert disputed.make("tanh")  # only what is in dispute is refused
    assert "relu" not in disputed.layers
    assert [message for message in disputed.problems if "--prefer layers.relu=mine" in message]
    for preferred, kind in (("mine", MyReLU), ("core", ReLU)):
        catalog = Catalog(mine, prefer={"layers.relu": preferred})
        assert type(catalog.build("lenet5", rng=None).node("relu1").layer) is kind


@pytest.mark.parametrize("wish", [{"layers.relu": "nobody"}, {"layers.nothing": "core"}, {"relu": "core"}])
def test_a_preference_for_nothing_is_refused(wish):
    with pytest.raises(UnknownNameError, match="prefer: expected KIND.NAME of something that plugin"):
        Catalog(prefer=wish)


def test_an_unknown_hook_is_refused_with_the_nearest():
    module = types.ModuleType("typo")
    module.register_layer = hookimpl(lambda register: None)
    with pytest.raises(
        PluginError, match="plugin typo .*: expected only known hooks, got 'register_layer'; did you mean 'register_lay"
    ):
        Catalog(module)


def test_a_hook_with_wrong_arguments_is_refused():
    module = types.ModuleType("wrong")
    module.register_layers = hookimpl(lambda register, more: None)
    with pytest.raises(
        PluginError, match="plugin wrong .*expected hooks with the arguments .*'more'.*the one argument 'register'"
    ):
        Catalog(module)


def test_a_hook_that_fails_or_registers_nonsense_is_refused():
    module = types.ModuleType("broken")

    @hookimpl
    def register_layers(register):
        raise ZeroDivisionError("oops")

    module.register_layers = register_layers
    with pytest.raises(
        PluginError, match="plugin broken .*, register_layers: .*ZeroDivisionError: oops; mend the hook"
    ):
        Catalog(module)
    with pytest.raises(
        PluginError, match=r"plugin odd .*, register_layers: expected register\(name, class or function\), got .*3"
    ):
        Catalog(plugin("odd", layers={"three": 3}))


def test_a_plugin_twice_is_refused():
    mine = plugin("mine", layers={"mine": MyReLU})
    with pytest.raises(PluginError, match="expected a new name and module, got one that is loaded already"):
        Catalog(mine, mine)


def test_plugins_from_files_and_modules(tmp_path, monkeypatch):
    source = (
        "from dataclasses import dataclass\nfrom simulator import Elementwise, hookimpl\n\n"
        "@dataclass(frozen=True)\nclass Square(Elementwise):\n    'x squared.'\n"
        "    def value_and_slope(self, x):\n        return x * x, 2 * x\n\n"
        "@hookimpl\ndef register_layers(register):\n    register('square', Square)\n"
    )
    file = tmp_path / "square_plugin.py"
    file.write_text(source)
    entry = Catalog(str(file)).layers.entry("square")
    assert (entry.plugin.name, entry.plugin.origin) == ("square_plugin", str(file))
    network = Network.sequential((3,), [entry.object()])
    np.testing.assert_array_equal(network.predict(np.array([[1.0, 2, 3]])), [[1, 4, 9]])
    monkeypatch.syspath_prepend(tmp_path)
    assert "square" in Catalog("square_plugin").layers


def test_a_file_that_cannot_be_loaded_says_why(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_this_name")
    with pytest.raises(
        PluginError, match="expected a module that can be imported, got ModuleNotFoundError: No module named"
    ):
        Catalog(str(broken))
    with pytest.raises(PluginError, match="expected a Python file, got no such file"):
        Catalog(str(tmp_path / "missing.py"))
    with pytest.raises(PluginError, match="plugin no_such_module .*: .*ModuleNotFoundError"):
        Catalog("no_such_module")


class Point:
    """An installed entry point that loads, or fails to."""

    dist = None

    def __init__(self, name, module=None):
        self.name, self.module, self.value = name, module, f"{name}:module"

    def load(self):
        if self.module is None:
            raise ImportError("no module named torch")
        return self.module


def test_an_installed_plugin_that_cannot_be_imported_is_reported_and_skipped(monkeypatch):
    points = [Point("bad"), Point("good", plugin("good", layers={"mine": MyReLU}))]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    catalog = Catalog()
    assert "mine" in catalog.layers
    (problem,) = catalog.problems
    assert problem.startswith(
        "plugin bad (bad:module): expected a module that can be imported, got ImportError: no module"
    )


def test_an_architecture_must_return_a_network_and_have_a_shape():
    offers = {
        "text": lambda make, input_shape, classes, rng: "net",
        "bare": lambda make, input_shape, classes, rng: None,
    }
    catalog = Catalog(plugin("mine", architectures=offers))
    with pytest.raises(PluginError, match="plugin mine, architecture text: expected a Network, got str"):
        catalog.build("text", (1, 2, 2))
    with pytest.raises(ShapeError, match="bare: expected an input shape, got none; give one, for example --input"):
        catalog.build("bare")


def test_data_by_name_and_path(tmp_path):
    def load(path):
        return Dataset(np.zeros((2, 1, 2, 2)), np.array([0, 1]))

    mine = types.ModuleType("mine")

    @hookimpl
    def register_datasets(register):
        register("zeros", load, accepts=lambda path: path.suffix == ".zero")
        register("nothing", lambda: None)

    mine.register_datasets = register_datasets
    catalog = Catalog(mine)
    file = tmp_path / "a.zero"
    file.touch()
    assert len(catalog.load_data(str(file))) == len(catalog.load_data(f"zeros:{file}")) == 2
    assert not catalog.any_shape("zeros")
    assert catalog.any_shape("digits")
    assert catalog.load_data("digits", (1, 12, 12)).shape == (1, 12, 12)
    (tmp_path / "b.unknown").touch()
    for source, message in (
        (
            str(tmp_path / "b.unknown"),
            "data .*b.unknown: expected one data set that reads it, got none; name the kind, .*npz:",
        ),
        (str(tmp_path / "missing.zero"), "expected a data set or a path, got .*which does not exist"),
        ("zeros", "data zeros: expected a path, got none; write zeros:PATH"),
        (f"zeros:{tmp_path}/missing", "expected a file or folder, got .*missing, which does not exist"),
        ("digits:here", "data digits: expected no path, got here; write just digits"),
    ):
        with pytest.raises(FileError, match=message):
            catalog.load_data(source)
    with pytest.raises(UnknownNameError, match="one of the datasets, got 'digit'; did you mean 'digits'"):
        catalog.load_data("digit")
    with pytest.raises(PluginError, match="plugin mine, data set nothing: expected a Dataset, got NoneType"):
        catalog.load_data("nothing")


def test_a_plugin_that_leaves_is_reported(tmp_path):
    file = tmp_path / "leaves.py"
    file.write_text("import sys; sys.exit(3)")
    with pytest.raises(
        PluginError, match="plugin leaves .*leaves.py.: expected a module that can be imported, got SystemExit: 3"
    ):
        Catalog(str(file))


def test_an_architecture_that_fails_is_reported_with_its_plugin():
    def fails(make, input_shape=(1,), classes=10, rng=None):
        return [][1]

    with pytest.raises(
        PluginError, match="plugin mine, architecture fails: expected to build with no options, got IndexEr"
    ):
        Catalog(plugin("mine", architectures={"fails": fails})).build("fails")


def test_several_data_sets_that_could_read_a_path_ask_for_a_name(tmp_path):
    def both(name):
        module = types.ModuleType(name)
        module.register_datasets = hookimpl(
            lambda register: register(name, lambda path: None, accepts=lambda path: path.suffix == ".two")
        )
        return module

    (tmp_path / "a.two").touch()
    with pytest.raises(
        FileError, match="expected one data set that reads it, got several that could; name the kind, one:"
    ):
        Catalog(both("one"), both("two"), entry_points=False).load_data(str(tmp_path / "a.two"))


def test_values_of_the_wrong_kind(catalog):
    with pytest.raises(UnknownNameError, match="catalog: expected a shelf, got 'layer'; did you mean 'layers'"):
        catalog.create("layer", "relu")
    with pytest.raises(ShapeError, match="lenet5: expected at least one class, got 'ten'"):
        catalog.build("lenet5", classes="ten")
    with pytest.raises(ShapeError, match="lenet5: expected an input shape such as .*, got 28; give all sizes"):
        catalog.build("lenet5", 28)
