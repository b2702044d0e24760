"""The catalog: who offers what, what happens where two plugins offer one name, and building by name."""

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
    assert len(bare.layers) == 22
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
    with pytest.raises(UnknownNameError, match="one of the engines, got 'cuda'; choose one of: .*scipy"):
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
    with pytest.raises(
        ShapeError, match="^conv: expected one of its arguments, got 'kernle'; did you mean 'kernel'[?]$"
    ):
        catalog.make("conv", 6, kernle=5)
    with pytest.raises(ShapeError, match=r"^relu: expected one of its arguments, got 'x'; there are none$"):
        catalog.make("relu", x=1)
    told = r"conv: expected the arguments \(out_channels, kernel, stride=1, .*, but missing .*'kernel'; correct the"
    with pytest.raises(ShapeError, match=told):
        catalog.make("conv", 6)


def test_a_plugin_can_replace_a_layer_when_preferred():
    mine = plugin("mine", layers={"relu": MyReLU})
    shadowed = Catalog(mine)
    assert type(shadowed.make("relu")) is ReLU
    assert [message for message in shadowed.problems if "--prefer layers.relu=mine" in message]
    for preferred, kind in (("mine", MyReLU), ("core", ReLU)):
        catalog = Catalog(mine, prefer={"layers.relu": preferred})
        assert type(catalog.build("lenet5", rng=None).node("relu1").layer) is kind
        assert catalog.problems == []


@pytest.mark.parametrize("wish", [{"layers.relu": "nobody"}, {"layers.nothing": "core"}, {"relu": "core"}])
def test_a_preference_for_nothing_is_refused(wish):
    with pytest.raises(UnknownNameError, match="prefer: expected KIND.NAME of something that plugin"):
        Catalog(prefer=wish)


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
            "data .*b.unknown: expected one data set that reads it, got none; save what it holds with numpy.savez",
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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mnist", "openml:mnist_784"),
        ("MNIST", "openml:mnist_784"),
        ("fashion-mnist", "openml:Fashion-MNIST"),
        ("FashionMNIST", "openml:Fashion-MNIST"),
        ("cifar10", "cifar:PATH"),
        ("digit", "digits"),
    ],
)
def test_a_well_known_name_is_proposed_as_it_can_be_given(catalog, name, meant):
    with pytest.raises(UnknownNameError, match=f"expected one of the datasets, got '{name}'; did you mean '{meant}'?"):
        catalog.load_data(name)


def test_what_can_be_given_is_listed_as_it_is_given(catalog):
    with pytest.raises(UnknownNameError, match="choose one of: cifar:PATH, csv:PATH, digits, .*, openml:NAME, .*, xo"):
        catalog.load_data("zzzzzz")


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("pictures.zip", "unpack it, and give the folder with what was in it"),
        ("train-images.gz", "unpack it, and give the folder with what was in it"),
        ("one.png", "put it into a folder of its class, or predict it with: simulator predict NET --image .*one.png"),
        ("empty/", "fill it, or check the path"),
        ("notes.txt", r"save what it holds with numpy.savez\(path, inputs=samples, targets=labels\)"),
    ],
)
def test_what_to_do_with_a_path_that_nothing_reads(catalog, tmp_path, name, cure):
    path = tmp_path / name
    path.mkdir() if name.endswith("/") else path.touch()
    with pytest.raises(FileError, match=f"expected one data set that reads it, got none; {cure}"):
        catalog.load_data(str(path))


def test_any_data_come_in_the_shape_that_is_asked_for(catalog, tmp_path):
    np.savez(tmp_path / "a.npz", inputs=np.zeros((2, 3, 32, 32)), targets=np.array([0, 1]))
    data = catalog.load_data(str(tmp_path / "a.npz"), (1, 28, 28))
    assert (data.shape, data.preparation.told) == ((1, 28, 28), "colours to grey; resized from 32x32 to 28x28")


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


def test_a_data_set_that_fails_is_named(tmp_path):
    def fails():
        return [][1]

    with pytest.raises(PluginError, match="plugin mine, data set fails: expected it to load, got IndexError: .*fix"):
        Catalog(plugin("mine", datasets={"fails": fails})).load_data("fails")


def test_one_that_cannot_tell_what_it_reads_leaves_the_others_alone(tmp_path):
    module = types.ModuleType("odd")
    module.register_datasets = hookimpl(
        lambda register: register("odd", lambda path: None, accepts=lambda path: path.no_such_attribute)
    )
    np.savez(tmp_path / "a.npz", inputs=np.zeros((2, 1, 2, 2)), targets=np.array([0, 1]))
    catalog = Catalog(module)
    assert len(catalog.load_data(str(tmp_path / "a.npz"))) == 2
    (tmp_path / "b.unknown").touch()
    with pytest.raises(
        FileError, match=r"got none; save what it holds .* \(plugin odd, data set odd: .*AttributeError"
    ):
        catalog.load_data(str(tmp_path / "b.unknown"))


def test_an_architecture_may_have_no_shape_of_its_own():
    def bare(make, input_shape=None, classes=3, rng=None):
        return Network.input(input_shape).add(make("dense", classes), name="dense", rng=rng)

    catalog = Catalog(plugin("mine", architectures={"bare": bare}))
    assert catalog.default_shape("bare") is None
    assert catalog.build("bare", (2,)).output_shape == (3,)


def test_the_predicting_output_must_be_there():
    module = types.ModuleType("mine")

    def heads(make, input_shape=(2,), classes=3, rng=None):
        network = Network.input(input_shape).add(make("dense", classes), "input", name="main", rng=rng)
        return network.add(make("dense", classes), "input", name="aux", rng=rng)

    losses = {"mian": "cross-entropy", "aux": ("cross-entropy", 0.3)}
    module.register_architectures = hookimpl(lambda register: register("heads", heads, losses=losses))
    catalog = Catalog(module)
    with pytest.raises(PluginError, match="architecture heads: .*got 'mian'; name one of main, aux"):
        catalog.objective("heads", catalog.build("heads"))


def test_what_cannot_be_made_is_named():
    class Fails(ReLU):
        """Fails."""

        def __init__(self):
            raise KeyError("nothing")

    with pytest.raises(PluginError, match="plugin mine, fails: expected it to be made .* got KeyError"):
        Catalog(plugin("mine", layers={"fails": Fails})).make("fails")


def test_a_name_that_is_no_text(catalog):
    with pytest.raises(UnknownNameError, match="one of the layers, got 3"):
        catalog.make(3)


def test_the_cure_for_a_path_that_nothing_reads_works(tmp_path):
    (tmp_path / "b.unknown").touch()
    with pytest.raises(FileError, match="got none; save what it holds with ") as error:
        Catalog().load_data(str(tmp_path / "b.unknown"))
    cure = str(error.value).rpartition("with ")[2]
    names = {"path": tmp_path / "mine.npz", "samples": np.zeros((2, 1, 4, 4)), "labels": np.array([0, 1])}
    eval(cure, {"numpy": np, **names})
    assert len(Catalog().load_data(str(tmp_path / "mine.npz"))) == 2
