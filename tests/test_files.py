"""Files: what is saved comes back to the last bit; damaged, foreign and hostile files are refused in one line."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
import types
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse
from safetensors import safe_open
from safetensors.numpy import save_file

from simulator import (
    AveragePool,
    Catalog,
    Conv,
    Dataset,
    Dense,
    ExplicitPattern,
    FileError,
    FunctionLayer,
    LocallyConnected,
    Network,
    RandomShift,
    ReLU,
    Sparse,
    TiedMatrix,
    hookimpl,
    load,
    save,
    train,
)


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.fixture
def network():
    return Network.sequential(
        (1, 6, 6), [Conv(2, (3, 2), padding=((1, 0), (0, 1))), ReLU(), AveragePool(2), Dense(3)], rng=0
    )


def same(a, b):
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
        assert a[name].dtype == b[name].dtype


@pytest.mark.parametrize("name", ["lenet5", "lenet5-1998", "resnet8"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_round_trip_of_every_architecture(catalog, tmp_path, name, dtype):
    network = catalog.build(name, rng=1, dtype=dtype)
    save(tmp_path / "net.safetensors", network, catalog=catalog, info={"note": "ü", "list": [1, 2.5, None]})
    saved = load(tmp_path / "net.safetensors", catalog=catalog)
    same(saved.network.params, network.params)
    assert saved.info == {"note": "ü", "list": [1, 2.5, None]}
    assert saved.epoch is None
    assert [repr(n.layer) for n in saved.network.nodes.values()] == [repr(n.layer) for n in network.nodes.values()]
    x = np.random.default_rng(0).normal(size=(2, *network.input_shape))
    np.testing.assert_array_equal(saved.network.predict(x), network.predict(x))


def test_shared_weights_outputs_and_patterns_come_back(catalog, tmp_path):
    tied = TiedMatrix.from_sparse(scipy.sparse.csr_array(np.tri(4)), ties=[0, 1, 0, 0, 1, 0, 0, 1, 1, 0])
    network = Network.input((4,), "a", dtype="float64").add_input((4,), "b")
    network = network.add(Sparse(tied.pattern), "a", name="first", rng=0).add(
        Sparse(tied.pattern), "b", name="second", share="first"
    )
    network = network.add(Dense(2), "first", name="head", rng=1).add(Dense(2), "second", name="aux", rng=2)
    network = network.with_params({"first.weight": tied.weight})
    save(tmp_path / "n.safetensors", network.subnetwork(["aux", "head"]), catalog=catalog)
    back = load(tmp_path / "n.safetensors", catalog=catalog).network
    assert back.outputs == ("aux", "head")
    assert back.nodes["second"].share == "first"
    np.testing.assert_array_equal(back.node("second").matrix.tocsr().toarray(), np.tri(4))


def test_a_checkpoint_resumes_to_the_last_bit(catalog, tmp_path, network):
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(30, 1, 6, 6)), rng.integers(0, 3, 30))
    options = {
        "epochs": 4,
        "batch_size": 8,
        "optimizer": catalog.optimizers["momentum"](0.05),
        "augment": RandomShift(1),
    }
    whole = list(train(network, data, rng=7, **options))
    save(tmp_path / "c.safetensors", whole[1].network, catalog=catalog, epoch=whole[1])
    epoch = load(tmp_path / "c.safetensors", catalog=catalog).epoch
    assert (epoch.number, epoch.loss, epoch.metrics) == (2, whole[1].loss, whole[1].metrics)
    resumed = list(train(epoch.network, data, rng=0, resume=epoch, **options))
    same(resumed[-1].network.params, whole[-1].network.params)
    same(
        {k: v for k, v in resumed[-1].optimizer_state.items() if k != "step"},
        {k: v for k, v in whole[-1].optimizer_state.items() if k != "step"},
    )


def test_writing_is_atomic(catalog, tmp_path, network, monkeypatch):
    path = tmp_path / "net.safetensors"
    save(path, network, catalog=catalog)
    before = path.read_bytes()

    def half(tensors, file, metadata):
        file.write_bytes(b"half a file")
        raise OSError("no space left on device")

    monkeypatch.setattr("simulator.files.save_file", half)
    with pytest.raises(FileError, match="save: expected to write .*no space left on device; free space"):
        save(path, network, catalog=catalog)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_places_that_cannot_be_written(catalog, tmp_path, network):
    with pytest.raises(FileError, match="save: expected an existing folder, got .*nowhere; create it first"):
        save(tmp_path / "nowhere" / "n.safetensors", network, catalog=catalog)
    with pytest.raises(FileError, match="save: expected the name of a file, got the folder"):
        save(tmp_path, network, catalog=catalog)


def test_a_folder_without_permission(catalog, tmp_path, network, monkeypatch):
    def denied(*args, **kwargs):
        raise PermissionError("denied")

    monkeypatch.setattr("tempfile.TemporaryFile", denied)  # root may write anywhere
    with pytest.raises(FileError, match=r"expected a folder that can be written to, got .*\(denied\); choose another"):
        save(tmp_path / "n.safetensors", network, catalog=catalog)


def test_a_layer_of_no_catalog_is_refused(catalog, tmp_path):
    class Mine(FunctionLayer):
        def output_shape(self, *shapes):
            return shapes[0]

        def forward(self, params, buffers, *xs, training=False, rng=None):
            return xs[0], lambda dy: ((dy,), {}), {}

    with pytest.raises(FileError, match="expected layers of the catalog, got Mine in 'mine1'; register it"):
        save(tmp_path / "n.safetensors", Network.sequential((2,), [Mine()], rng=0), catalog=catalog)


def test_values_that_are_not_plain_are_refused(catalog, tmp_path, network):
    with pytest.raises(FileError, match="expected plain values, got object"):
        save(tmp_path / "n.safetensors", _odd(), catalog=catalog)


def _odd():
    layer = Dense(2)
    object.__setattr__(layer, "init", object())
    return Network.sequential((2,), [layer]).with_params(
        {"dense1.weight": np.zeros((2, 2)), "dense1.bias": np.zeros(2)}
    )


def test_a_missing_plugin_is_named(catalog, tmp_path):
    network = catalog.build("lenet5-1998")
    save(tmp_path / "n.safetensors", network, catalog=catalog)
    with pytest.raises(
        FileError, match=r"expected layer 'rbf' of plugin 'lenet5-1998' for 'output', got a catalog without it; .*-p"
    ):
        load(tmp_path / "n.safetensors", catalog=Catalog(entry_points=False))


def changed(path, catalog, network, change):
    """Save, change the JSON of the description or the arrays, and write it back."""
    save(path, network, catalog=catalog)
    with safe_open(path, framework="np") as file:
        content = json.loads(file.metadata()["simulator"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(content, arrays)
    save_file(arrays, path, {"simulator": json.dumps(content)})


def _set(*keys, value):
    def change(content, arrays):
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


CONV = ("nodes", 1)
EPOCH = {
    "number": 1,
    "loss": 1.0,
    "metrics": {},
    "validation": {},
    "seconds": 1.0,
    "optimizer": {},
    "rng": np.random.PCG64(0).state,
}
HOSTILE = {
    "huge kernel": _set(*CONV, "config", "kernel", value=10**15),
    "huge layer": _set("nodes", 4, "config", "out", value=10**12),
    "negative size": _set(*CONV, "config", "out_channels", value=-4),
    "text for a number": _set(*CONV, "config", "pad_value", value="__import__('os')"),
    "unknown field": _set(*CONV, "config", "evil", value=1),
    "object for a number": _set(*CONV, "config", "stride", value={"pattern": "none"}),
    "an input that comes later": _set(*CONV, "inputs", value=["dense1"]),
    "a name twice": _set("nodes", 2, "name", value="conv1"),
    "other dtype": _set("dtype", value="object"),
    "outputs of no node": _set("outputs", value=["nobody"]),
    "no nodes": _set("nodes", value=[]),
    "no input": lambda content, arrays: content["nodes"].pop(0),
    "nodes of another kind": _set("nodes", value="text"),
    "huge input": _set("nodes", 0, "input", value=[10**12]),
    "an array too few": lambda content, arrays: arrays.pop("param/conv1.weight"),
    "an array of another shape": lambda content, arrays: arrays.update(
        {"param/conv1.weight": np.zeros((2, 1, 1, 1), "f")}
    ),
    "an array too many": lambda content, arrays: arrays.update({"param/evil.weight": np.zeros(1, "f")}),
    "text among the sizes of the input": _set("nodes", 0, "input", value=[10_000_000, "A" * 390]),
    "lists among the sizes of the input": _set("nodes", 0, "input", value=[[6], 6, 6]),
    "true for a size": _set("nodes", 0, "input", value=[True, 6, 6]),
    "a fraction for a size": _set("nodes", 0, "input", value=[1.0, 6, 6]),
    "no size": _set("nodes", 0, "input", value=[0, 6, 6]),
    "a number beyond all sizes": _set("nodes", 0, "input", value=[10**400, 6, 6]),
    "a number for a name": _set(*CONV, "name", value=7),
    "text for inputs": _set(*CONV, "inputs", value="input"),
    "numbers for inputs": _set(*CONV, "inputs", value=[0]),
    "a number for a shared node": _set(*CONV, "share", value=1),
    "a list for a node": _set(*CONV, value=[]),
    "a list for a layer": _set(*CONV, "layer", value=["conv"]),
    "a list for hyper-parameters": _set(*CONV, "config", value=[1]),
    "another number of bytes": lambda content, arrays: arrays.update({"param/conv1.bias": np.zeros(2, "i4")}),
    "epoch of another kind": _set("epoch", value={"number": "x"}),
    "rng of another kind": _set(
        "epoch",
        value={
            "number": 1,
            "loss": 1,
            "metrics": {},
            "validation": {},
            "seconds": 1,
            "optimizer": {},
            "rng": {"state": 1},
        },
    ),
    **{
        f"a curve with {curve!r}": _set("epoch", value={**EPOCH, "curve": curve})
        for curve in ("no", ["no"], [[1, "no"]])
    },
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_description_is_refused_in_one_line(catalog, tmp_path, network, change):
    path = tmp_path / "n.safetensors"
    changed(path, catalog, network, change)
    with pytest.raises(FileError, match="load .*n.safetensors: ") as error:
        load(path, catalog=catalog)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"shape": [10**15, 4]}, r"expected at most .* of memory, got .*; use a machine with more"),
        ({"shape": [4, 4, 4]}, "too many values"),
        ({"shape": ["4", 4]}, "shape is of type str, not int"),
        ({"n_ties": 10**30}, f"n_ties is {10**30}"),
        ({"n_ties": -1}, "n_ties is -1"),
        ({"pattern": "pattern/other"}, "KeyError"),
    ],
)
def test_a_hostile_pattern_is_refused(catalog, tmp_path, told, said):
    tied = TiedMatrix.from_sparse(scipy.sparse.eye_array(4))
    network = Network.sequential((4,), [Sparse(tied.pattern)], rng=0)
    path = tmp_path / "n"
    changed(path, catalog, network, lambda content, arrays: content["nodes"][1]["config"]["connections"].update(told))
    with pytest.raises(FileError, match=said):
        load(path, catalog=catalog)


def test_the_arrays_of_a_pattern_make_one_pattern_only(catalog, tmp_path):
    tied = TiedMatrix.from_sparse(scipy.sparse.eye_array(4))
    network = Network.sequential((4,), [Sparse(tied.pattern), Sparse(tied.pattern)], rng=0)

    def twice(content, arrays):
        first, second = (node["config"]["connections"] for node in content["nodes"][1:])
        second.update(first)

    changed(tmp_path / "n", catalog, network, twice)
    with pytest.raises(FileError, match="KeyError: 'pattern/sparse1/connections/rows'; the file is damaged"):
        load(tmp_path / "n", catalog=catalog)


def test_text_among_sizes_takes_no_memory(catalog, tmp_path, network):
    path = tmp_path / "n"
    changed(path, catalog, network, HOSTILE["text among the sizes of the input"])
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match="input is of type str, not int; the file is damaged"):
            load(path, catalog=catalog)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_large_networks_come_back(catalog, tmp_path):
    """Sizes are limited by memory alone: an input of 12.6 million numbers, and more than 10 million ties."""
    large = Network.sequential((3, 2048, 2048), [Conv(2, 3, stride=64), ReLU()], rng=0)
    save(tmp_path / "n", large, catalog=catalog)
    back = load(tmp_path / "n", catalog=catalog).network
    assert (back.input_shape, back.output_shape) == (large.input_shape, large.output_shape)
    pattern = ExplicitPattern([0, 1], [0, 1], [0, 10**7], shape=(2, 2), n_ties=10**7 + 1)
    many = Network.sequential((2,), [Sparse(pattern, bias=False)], rng=0)
    save(tmp_path / "n", many, catalog=catalog)
    np.testing.assert_array_equal(
        load(tmp_path / "n", catalog=catalog).network.predict([[1, 2]]), many.predict([[1, 2]])
    )


def test_many_nodes_take_time_in_proportion(catalog, tmp_path):
    def seconds(nodes):
        network = Network.input((2,)).chain((f"r{n}", ReLU()) for n in range(nodes))
        save(tmp_path / "n", network, catalog=catalog)
        started = time.perf_counter()
        assert len(load(tmp_path / "n", catalog=catalog).network.nodes) == nodes + 1
        return time.perf_counter() - started

    seconds(100)
    assert seconds(8000) < 100 * seconds(400)  # 20 times as many; if each one copied the others it were 400 times


def test_a_description_that_no_file_can_hold_is_refused(catalog, tmp_path, network):
    with pytest.raises(FileError, match="expected a description that fits into the header of a safetensors file, got"):
        save(tmp_path / "n", network, catalog=catalog, info={"long": "x" * 10**8})
    assert os.listdir(tmp_path) == []


def test_a_file_that_does_not_fit_into_memory_is_refused(catalog, tmp_path, network, monkeypatch):
    save(tmp_path / "n", network, catalog=catalog)
    monkeypatch.setattr("simulator.memory._SMALL", 0)
    monkeypatch.setattr("simulator.memory.available_memory", lambda: 100)
    with pytest.raises(FileError, match=r"load .*n: its arrays: expected at most .* of memory, got .*; use a machin"):
        load(tmp_path / "n", catalog=catalog)
    monkeypatch.setattr("simulator.memory.available_memory", lambda: 10_000)
    with pytest.raises(FileError, match=r"load .*n: its description: expected at most .* of memory"):
        load(tmp_path / "n", catalog=catalog)


VALUES = (None, True, -1, 0, 10**9, 2**63, 10**400, 1.5, "", "A" * 400, [], [[1]], [10**7, "A"], {}, {"pattern": "x"})


def mutated(raw, rng):
    """A file with changed bits, cut off, or with another value, or none, somewhere in its description."""
    kind = rng.integers(5)
    if kind == 0:
        content = np.frombuffer(raw, np.uint8).copy()
        content[rng.integers(len(raw), size=rng.choice([1, 2, 30]))] ^= np.uint8(1 << rng.integers(8))
        return content.tobytes()
    if kind == 1:
        return raw[: rng.integers(len(raw))]
    length = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8 : 8 + length])
    content = json.loads(head["__metadata__"]["simulator"])
    for _ in range(rng.choice([1, 2])):
        place, keys = content, []
        while isinstance(place, (dict, list)) and len(place) and (not keys or rng.random() < 0.8):
            parent, key = place, list(place)[rng.integers(len(place))] if isinstance(place, dict) else None
            key = int(rng.integers(len(place))) if key is None else key
            place = parent[key]
            keys.append(key)
        if keys and rng.random() < 0.8:
            parent[key] = VALUES[rng.integers(len(VALUES))]
        elif keys:
            del parent[key]
    head["__metadata__"]["simulator"] = json.dumps(content)
    text = json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + raw[8 + length :]


def test_mutated_files_are_read_or_refused_in_one_line(catalog, tmp_path, network):
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(8, 1, 6, 6)), rng.integers(0, 3, 8))
    (epoch,) = train(network, data, epochs=1, optimizer=catalog.optimizers["momentum"](0.05), rng=0)
    tied = TiedMatrix.from_sparse(scipy.sparse.csr_array(np.tri(4)), ties=[0, 1, 0, 0, 1, 0, 0, 1, 1, 0])
    save(tmp_path / "checkpoint", epoch.network, catalog=catalog, epoch=epoch, info={"history": [{"number": 1}]})
    save(tmp_path / "sparse", Network.sequential((4,), [Sparse(tied.pattern)], rng=0), catalog=catalog)
    results = []
    for raw in [(tmp_path / name).read_bytes() for name in ("checkpoint", "sparse")] * 200:
        (tmp_path / "n").write_bytes(mutated(raw, rng))
        started = time.perf_counter()
        try:
            load(tmp_path / "n", catalog=catalog)
            results.append("read")
        except FileError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 1000
            results.append("refused")
        assert time.perf_counter() - started < 5
    assert results.count("read") > 20
    assert results.count("refused") > 200


def test_foreign_damaged_and_missing_files(catalog, tmp_path, network):
    good = tmp_path / "good.safetensors"
    save(good, network, catalog=catalog)
    whole = good.read_bytes()
    bad = tmp_path / "bad.safetensors"
    for content in (b"", b"PK\x03\x04" + bytes(100), whole[:-1], whole[:100], b"\xff" * 200, whole[:8] + b"[" * 5000):
        bad.write_bytes(content)
        with pytest.raises(FileError, match="expected a safetensors file, got .*; it is damaged or of another kind"):
            load(bad, catalog=catalog)
    save_file({"weight": np.zeros(3)}, bad)
    with pytest.raises(FileError, match="expected a network saved by the simulator, got another safetensors file"):
        load(bad, catalog=catalog)
    save_file({"weight": np.zeros(3)}, bad, {"simulator": "[" * 100_000})
    with pytest.raises(FileError, match="expected a network saved by the simulator"):
        load(bad, catalog=catalog)
    changed(bad, catalog, network, _set("version", value=99))
    with pytest.raises(FileError, match="expected a file of version 1, got version 99, .*; update the simulator"):
        load(bad, catalog=catalog)
    with pytest.raises(FileError, match="expected a file, got .*missing, which does not exist"):
        load(tmp_path / "missing", catalog=catalog)


@dataclass(frozen=True)
class Scale(FunctionLayer):
    """x times one number."""

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def param_shapes(self, *input_shapes):
        return {"factor": ()}

    def init_params(self, rng, *input_shapes, dtype):
        return {"factor": np.asarray(rng.normal(), dtype)}

    def forward(self, params, buffers, *xs, training=False, rng=None):
        factor = params["factor"]
        return xs[0] * factor, lambda dy: ((dy * factor,), {"factor": np.sum(dy * xs[0])}), {}


@dataclass(frozen=True)
class Negative(ReLU):
    """Another function under a known name."""

    def value_and_slope(self, x):
        return -x, np.full_like(x, -1)


def offering(name, kind):
    module = types.ModuleType("mine")
    module.register_layers = hookimpl(lambda register: register(name, kind))
    return module


def test_a_param_without_axes_comes_back(tmp_path):
    catalog = Catalog(offering("scale", Scale), entry_points=False)
    network = Network.sequential((2,), [Scale()], rng=0)
    save(tmp_path / "n.safetensors", network, catalog=catalog)
    assert load(tmp_path / "n.safetensors", catalog=catalog).network.params["scale1.factor"].shape == ()


def test_weights_without_a_connection_come_back(catalog, tmp_path):
    pattern = LocallyConnected(1, 3, padding=1).pattern((1, 3, 3))
    network = Network.sequential((9,), [Sparse(pattern)], rng=0)
    save(tmp_path / "n.safetensors", network, catalog=catalog)
    same(load(tmp_path / "n.safetensors", catalog=catalog).network.params, network.params)


def test_a_layer_of_another_plugin_under_the_same_name_is_found_or_refused(tmp_path):
    path, plugin = tmp_path / "n.safetensors", offering("relu", Negative)
    mine = Catalog(plugin, entry_points=False, prefer={"layers.relu": "mine"})
    save(path, Network.sequential((2,), [Negative()], rng=0), catalog=mine)
    with pytest.raises(FileError, match="layer 'relu' of plugin 'mine' .* got that of 'core', .*; install that plugin"):
        load(path, catalog=Catalog(entry_points=False))
    for catalog in (mine, Catalog(plugin, entry_points=False)):  # without a preference relu is the core's, but here not
        network = load(path, catalog=catalog).network
        assert network.predict([[1, 2]]).tolist() == [[-1, -2]]
        save(path, network, catalog=catalog)


def test_numpy_numbers_are_plain_values(catalog, tmp_path, network):
    save(tmp_path / "n.safetensors", network, catalog=catalog, info={"a": np.int64(3), "b": [np.float32(0.5)]})
    assert load(tmp_path / "n.safetensors", catalog=catalog).info == {"a": 3, "b": [0.5]}


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 10**400])
def test_numbers_beyond_all_bounds(catalog, tmp_path, network, value):
    path = tmp_path / "n.safetensors"
    for change in (_set("version", value=value), _set("nodes", 1, "config", "kernel", value=value)):
        changed(path, catalog, network, change)
        with pytest.raises(FileError):
            load(path, catalog=catalog)


def test_a_folder_is_no_file(catalog, tmp_path):
    with pytest.raises(FileError, match="load: expected a file, got .*, a folder; check the path"):
        load(tmp_path, catalog=catalog)


def test_another_format_in_the_same_place(catalog, tmp_path, network):
    changed(tmp_path / "n.safetensors", catalog, network, _set("format", value="other"))
    with pytest.raises(FileError, match="expected a network saved by the simulator, got another safetensors file"):
        load(tmp_path / "n.safetensors", catalog=catalog)


def test_the_curve_of_an_epoch_is_kept_and_older_files_have_none(catalog, tmp_path, network):
    path = tmp_path / "n.safetensors"
    for told, curve in ((EPOCH, ()), ({**EPOCH, "curve": [[1, None], [0.5, 0.25]]}, ((1.0, None), (0.5, 0.25)))):
        changed(path, catalog, network, _set("epoch", value=told))
        assert load(path, catalog=catalog).epoch.curve == curve
