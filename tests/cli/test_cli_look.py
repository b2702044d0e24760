"""Commands that look: describe, equivalence, plugins."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from simulator import Catalog, Conv, Network, load, save
from simulator.describe import describe
from simulator.equivalence import equivalence
from simulator.hookspecs import SHELVES
from simulator.lab import silence

COUNTS = ["params", "connections", "links", "nonzeros", "fixed_nonzeros", "macs"]

CROOKED = '''
from dataclasses import dataclass
from simulator import Conv, FunctionLayer, Network, ReLU, hookimpl

@dataclass(frozen=True)
class Crooked(Conv):
    """A convolution with the matrix of another one."""

    def pattern(self, input_shape):
        return Conv(self.out_channels, self.kernel, flip=True).pattern(input_shape)

@dataclass(frozen=True)
class Late(ReLU):
    """A ReLU whose matrix is that of another sample."""

    def affine_at(self, params, buffers, x):
        return super().affine_at(params, buffers, -x)

def crooked(make, input_shape=(1, 12, 12), classes=10, rng=None, straight=False):
    """A net with two wrong layers."""
    network = Network.input(input_shape)
    for name, layer in (
        ("good", make("conv", 2, kernel=3)),
        ("bad", make("conv" if straight else "crooked", 2, kernel=3)),
        ("smooth", make("tanh")),
        ("late", make("relu" if straight else "late")),
        ("out", make("dense", classes)),
    ):
        network = network.add(layer, name=name, rng=rng)
    return network

@hookimpl
def register_layers(register):
    register("crooked", Crooked)
    register("late", Late)

@hookimpl
def register_architectures(register):
    register("crooked", crooked)
'''


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.fixture
def crooked(folder):
    (folder / "crooked.py").write_text(CROOKED)
    return "crooked.py"


def through_json(value):
    return json.loads(json.dumps(value))


# ---------------------------------------------------------------------- describe


@pytest.mark.parametrize(
    ("args", "build"),
    [
        (["lenet5"], {"name": "lenet5"}),
        ([], {"name": "lenet5"}),
        (["lenet5-1998"], {"name": "lenet5-1998"}),
        (["resnet8", "--input", "3x32X32"], {"name": "resnet8", "input_shape": (3, 32, 32)}),
        (
            ["lenet5", "--input", "1x20x16", "--classes", "3", "-o", "width=0.5"],
            {"name": "lenet5", "input_shape": (1, 20, 16), "classes": 3, "width": 0.5},
        ),
    ],
    ids=str,
)
def test_describe_says_what_python_says(args, build, run, catalog):
    result = run("describe", *args, "--json")
    expected = describe(catalog.build(**build, rng=None))
    assert (result.status, result.err) == (0, "")
    counts = through_json(expected.as_dict())
    assert json.loads(result.out) == {"network": build["name"], "untrained": True, **counts, "silence": None}
    assert list(json.loads(result.out)["totals"]) == COUNTS


def test_describe_counts_what_was_published(run):
    """LeCun et al., 1998: 340,908 connections and 60,000 trainable parameters."""
    totals = json.loads(run("describe", "lenet5-1998", "--json").out)["totals"]
    assert (totals["connections"], totals["params"]) == (340908, 60000)


def test_describe_says_where_a_cell_is_read_twice(run, tmp_path):
    layers = [Conv(2, 5, padding=2, padding_mode="circular"), Conv(2, 5, padding=2)]
    save(tmp_path / "net.safetensors", Network.sequential((1, 3, 3), layers, rng=0))
    out = run("describe", str(tmp_path / "net.safetensors")).out
    assert out.endswith(
        "\nSome windows of conv1 read an input twice: nonzeros count every reading, density counts cells.\n"
    )
    assert "100.000%" in out
    assert "Some windows" not in run("describe", "lenet5").out


def test_describe_prints_every_number(run, catalog):
    result = run("describe", "lenet5-1998")
    rows, expected = result.rows(), describe(catalog.build("lenet5-1998", rng=None))
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("lenet5-1998: Network 14 layers, 60000 params: (1, 32, 32) -> (10,)\n")
    for layer in expected.layers:
        c = layer.counts
        numbers = [str(n) for n in (c.params, c.connections, c.links, c.nonzeros, c.fixed_nonzeros)]
        shape = "x".join(map(str, layer.output_shape))
        if layer.density is None:
            assert rows[layer.name] == [shape, *numbers, str(c.macs)]
        else:
            density, *_ = rows[layer.name][6:7]
            assert float(density.rstrip("%")) / 100 == pytest.approx(layer.density, abs=5e-6)
            bytes_and_sharing = [str(layer.csr_bytes), str(layer.pattern_bytes), f"{layer.sharing:.1f}"]
            assert rows[layer.name] == [shape, *numbers, density, str(c.macs), *bytes_and_sharing]
    totals = expected.totals
    assert rows["total"][:6] == [str(getattr(totals, name)) for name in COUNTS]
    assert rows["total"][6:] == [
        str(sum(layer.csr_bytes or 0 for layer in expected.layers)),
        str(sum(layer.pattern_bytes or 0 for layer in expected.layers)),
    ]


def test_describe_a_saved_network(run, trained, catalog):
    result = run("describe", trained, "--json")
    expected = describe(catalog.build("lenet5", (1, 12, 12), 2, None, width=0.3))
    content = json.loads(result.out)
    weight = load(trained).network.params["conv1.weight"]
    assert content["layers"][0]["weight_mean"] == pytest.approx(weight.mean(dtype=np.float64))
    assert content["layers"][0]["weight_std"] == pytest.approx(weight.std())
    for layer in content["layers"]:
        layer["weight_mean"] = layer["weight_std"] = None
    held_out = catalog.load_data("xo", (1, 12, 12)).split(0.2, 0)[1]
    silent = silence(load(trained).network, held_out).as_dict()
    counts = through_json(expected.as_dict())
    assert content == {"network": str(trained), "untrained": False, **counts, "silence": silent}


def test_describe_draws_weights_only_when_asked(run):
    assert run("describe").out == run("describe", "--no-weights").out
    plain, drawn = (run("describe", *more).rows() for more in ((), ("--weights",)))
    del plain["lenet5:"]  # the title, which says with weights that they are random
    assert {name: cells[: len(plain[name])] for name, cells in drawn.items() if name in plain} == plain
    mean, std = map(float, drawn["dense1"][-2:])
    assert abs(mean) < 0.01
    assert std == pytest.approx((2 / 400) ** 0.5, rel=0.02)  # He et al.


@pytest.mark.parametrize("option", [("--input", "1x28x28"), ("--classes", "3"), ("-o", "width=2")], ids=" ".join)
def test_a_saved_network_is_not_built_anew(option, run, trained):
    result = run("describe", trained, *option)
    assert result.status == 2
    assert f"Error: {trained} is a saved network: its input, classes and options are in the file; " in result.err


def test_describe_draws_no_weights_and_builds_no_matrix(run, monkeypatch):
    """The first layer has 73 million nonzeros, which as CSR would fill 580 MB."""
    monkeypatch.setattr("simulator.layers.base.initial", None)
    monkeypatch.setattr("simulator.TiedMatrix.tocsr", None)
    layers = json.loads(run("describe", "lenet5", "--input", "1x700x700", "-o", "width=1", "--json").out)["layers"]
    assert layers[0]["nonzeros"] == 6 * 25 * 696**2
    assert layers[0]["csr_bytes"] > 5e8
    assert layers[0]["pattern_bytes"] < layers[0]["csr_bytes"] / 5


# ---------------------------------------------------------------------- equivalence


def test_equivalence_says_what_python_says(run, catalog):
    result = run("equivalence", "lenet5", "--input", "1x12x12", "--seed", "3", "--json")
    proofs = list(equivalence(catalog.build("lenet5", (1, 12, 12), rng=3, dtype="float64"), rng=3))
    assert (result.status, result.err) == (0, "")
    assert json.loads(result.out) == {
        "network": "lenet5",
        "untrained": True,
        "dtype": "float64",
        "ok": True,
        "layers": [through_json(proof.as_dict()) for proof in proofs],
    }
    assert all(0 <= layer["max_difference"] <= 1e-12 for layer in json.loads(result.out)["layers"])


def test_equivalence_lists_what_it_skips_and_why(run):
    result = run("equivalence", "lenet5-1998")
    rows = result.rows()
    assert (result.status, result.err) == (0, "")
    assert rows["c1-tanh"] == ["ScaledTanh", "is", "not", "piecewise", "linear:", "no", "matrix", "skipped"]
    assert rows["c3"][:8] == ["1600", "x", "1176:", "150000", "nonzeros", "share", "1500", "weights"]
    assert rows["c3"][-1] == "pass"
    assert result.out.splitlines()[-1].startswith("All 7 layers that have a matrix equal it; the largest relative ")
    layers = {layer["name"]: layer for layer in json.loads(run("equivalence", "lenet5-1998", "--json").out)["layers"]}
    assert layers["c1-tanh"]["max_difference"] is None
    assert layers["c1-tanh"]["skipped"] == "ScaledTanh is not piecewise linear: no matrix"
    assert f"{layers['c3']['forward']:.1e}" == rows["c3"][8]


def test_equivalence_says_what_was_not_compared(run, monkeypatch):
    monkeypatch.setattr("simulator.equivalence.LARGEST_CSR", 2_000_000)
    monkeypatch.setattr("simulator.matrix.LARGEST_CSR", 2_000_000)
    result = run("equivalence", "lenet5")
    assert result.status == 0
    *_, first, second, third = result.out.splitlines()
    assert first.startswith("11 of 12 layers that have a matrix equal it; the largest relative difference is ")
    assert second == (
        "The matrices of 1 are too large to build: up to 64 rows and 64 columns of each were compared, but no weight "
        "gradients: conv2."
    )
    what = "at an input for which all of these matrices can be built"
    assert third == f"Next, {what}: simulator equivalence lenet5 --input 1x14x14"
    assert result.rows()["conv2"][-1] == "sampled"
    cured = run(*third.split()[-4:])
    assert cured.status == 0
    assert cured.out.splitlines()[-1].startswith("All 12 layers that have a matrix equal it")


def test_equivalence_names_layers_for_which_nothing_is_proved(run, folder):
    (folder / "mine.py").write_text(
        "from simulator import Conv, Network, hookimpl\n"
        "from simulator import MatrixLayer, Dense\n"
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Other(MatrixLayer):\n"
        "    def output_shape(self, shape): return (3,)\n"
        "    def pattern(self, shape): return Dense(3).pattern(shape)\n"
        "    def weight_shape(self, shape): return Dense(3).weight_shape(shape)\n"
        "def mine(make, input_shape=(1, 4, 4), rng=None):\n"
        "    return Network.sequential(input_shape, [Conv(2, 3), Other()], rng=rng)\n"
        "@hookimpl\n"
        "def register_architectures(register): register('mine', mine)\n"
    )
    result = run("-p", "mine.py", "equivalence", "mine")
    *_, first, second = result.out.splitlines()
    assert result.status == 0
    assert first.startswith("1 of 2 layers that have a matrix equal it; ")
    assert second == "Nothing is proved for other1: the table says why."


@pytest.mark.parametrize("engine", ["scipy", "blas"])
def test_equivalence_of_an_engine(run, engine):
    result = run("equivalence", "lenet5", "--input", "1x12x12", "--engine", engine, "--threads", "1")
    assert result.status == 0
    assert f"Engine {engine} computes what these matrices do, in float64, with batches of 32" in result.out
    result = run("equivalence", "lenet5", "--input", "1x12x12", "--engine", engine, "--json")
    proof = json.loads(result.out)["engine"]
    assert (proof["name"], proof["ok"]) == (engine, True)
    assert {step["matrix"] for step in proof["steps"]} == {"products", "training", "prediction"}
    assert "give --engine, too, or leave it out" in run("equivalence", "lenet5", "--threads", "1").complaint


def test_equivalence_in_single_precision(run):
    result = run("equivalence", "lenet5", "--input", "1x12x12", "--dtype", "float32", "--json")
    differences = [layer["max_difference"] for layer in json.loads(result.out)["layers"]]
    assert result.status == 0
    assert 1e-9 < max(differences) <= 1e-5


def test_equivalence_of_a_saved_network(run, trained):
    result = run("equivalence", trained)
    assert result.status == 0
    assert "All 12 layers that have a matrix equal it" in result.out


def test_a_wrong_matrix_fails(run, crooked):
    result = run("-p", crooked, "equivalence", "crooked")
    rows = result.rows()
    assert (result.status, result.err) == (1, "")
    assert [rows[name][-1] for name in ("good", "bad", "smooth", "late", "out")] == [
        "pass", "FAIL", "skipped", "FAIL", "pass",
    ]  # fmt: skip
    assert result.out.splitlines()[-1] == "2 of 4 layers FAIL: bad, late"

    result = run("-p", crooked, "equivalence", "crooked", "--json")
    content = json.loads(result.out)
    assert (result.status, content["ok"]) == (1, False)
    assert [layer["ok"] for layer in content["layers"]] == [True, False, True, False, True]
    assert content["layers"][1]["max_difference"] > 0.01

    assert run("-p", crooked, "equivalence", "crooked", "-o", "straight=True").status == 0


def test_training_ends_with_the_proof(run, crooked):
    arguments = ("train", "crooked", "-p", crooked, "--data", "xo", "--epochs", "1")
    result = run(*arguments, "--json")
    content = json.loads(result.out)
    assert (result.status, content["equivalence"]["ok"]) == (1, False)
    assert [layer["name"] for layer in content["equivalence"]["layers"] if not layer["ok"]] == ["bad", "late"]
    result = run(*arguments)
    assert result.status == 1
    assert "2 of 4 layers FAIL: bad, late" in result.out
    assert run(*arguments, "--no-proof").status == 0


# ---------------------------------------------------------------------- plugins


def test_plugins_lists_every_offer(run, catalog):
    content = json.loads(run("plugins", "--json").out)
    assert content["problems"] == []
    assert content["offers"] == [
        {"kind": kind, "name": e.name, "plugin": e.plugin.name, "origin": e.plugin.origin, "summary": e.summary}
        | ({"lr": e.lr, "epochs": e.epochs} if kind == "architectures" else {})
        for kind in SHELVES
        for e in getattr(catalog, kind).entries.values()
    ]


def test_plugins_prints_every_offer(run, catalog):
    result = run("plugins")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    for kind in SHELVES:
        start = lines.index(kind)
        for name, entry in getattr(catalog, kind).entries.items():
            line = next(line for line in lines[start:] if line.split()[:1] == [name])
            assert "bundled" in line
            assert line.endswith(entry.summary)
            assert kind != "architectures" or entry.task == "part" or f" {entry.epochs} " in line
    assert re.search(r"lecun1989 .* bundled +0\.02 +60 +LeCun", result.out)
    assert re.search(r"rbm .* bundled +A restricted", result.out)  # a loop of its own trains it


def test_plugins_of_this_command_line(run, crooked):
    offers = json.loads(run("plugins", "-p", crooked, "--json").out)["offers"]
    mine = [(offer["kind"], offer["name"], offer["origin"]) for offer in offers if offer["plugin"] == "crooked"]
    assert mine == [
        ("layers", "crooked", "crooked.py"),
        ("layers", "late", "crooked.py"),
        ("architectures", "crooked", "crooked.py"),
    ]


def test_a_file_that_needs_a_plugin_says_so(run, crooked):
    network = Network.sequential((1, 12, 12), [Conv(1, kernel=3)], rng=0)
    save("plain.safetensors", network)
    assert run("describe", "plain.safetensors").status == 0
    result = run("train", "crooked", "-p", crooked, "--data", "xo", "--epochs", "1", "--no-proof", "--save", "net")
    assert result.status == 0
    result = run("describe", "net")
    assert result.status == 2
    assert "expected layer 'crooked' of plugin 'crooked' for 'bad', got a catalog without it; " in result.err
    assert run("describe", "net", "-p", crooked).status == 0
