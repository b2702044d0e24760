"""simulator sharing: what it counts, measures and saves is what Python says; what cannot be is refused in one line."""

import json

import numpy as np
import pytest

from simulator import Catalog, Conv, Dense, Network, ReLU, load, save
from simulator.lab import densify, off_pattern, tie_variance, untie

SMALL = ("--input", "1x12x12", "-o", "width=0.3", "--data", "xo")


@pytest.fixture(scope="module")
def network():
    return Catalog().build("lenet5", (1, 12, 12), rng=0, width=0.3)


@pytest.mark.parametrize(("option", "loosen"), [("--untie", untie), ("--densify", densify)])
def test_what_is_loosened(run, network, option, loosen):
    report = json.loads(run("sharing", "lenet5", option, *SMALL, "--save", "loose.safetensors", "--json")[1])
    expected, saved = loosen(network), load("loose.safetensors")
    assert saved.info["sharing"] == option.removeprefix("--")
    assert saved.network.params.keys() == expected.params.keys()
    for name, array in expected.params.items():
        np.testing.assert_array_equal(saved.network.params[name], array)
    assert list(report["layers"]) == ["conv1", "conv2", "dense1", "dense2", "dense3"]
    for name, row in report["layers"].items():
        for after, net in (("", network), ("_after", expected)):
            node = net.node(name)
            assert row[f"params{after}"] == sum(array.size for array in node.params.values())
            assert row[f"nonzeros{after}"] == node.pattern.nnz
    assert (report["off_pattern"], report["samples"], report["saved"]) == (0, 100, "loose.safetensors")
    assert 0 <= report["tie_variance"] < 1e-12
    assert 0 <= report["difference"] < 1e-12


def test_what_is_tightened(run, network, tmp_path):
    rng = np.random.default_rng(0)
    loose = densify(network)
    loose = loose.with_params({k: v + 0.01 * rng.standard_normal(v.shape) for k, v in loose.params.items()})
    save(tmp_path / "loose.safetensors", loose)
    save(tmp_path / "tied.safetensors", network)
    by_name = run(
        "sharing",
        "loose.safetensors",
        "--retie",
        "lenet5",
        "-o",
        "width=0.3",
        "--data",
        "xo",
        "--save",
        "back.safetensors",
    )
    by_file = json.loads(
        run("sharing", "loose.safetensors", "--retie", "tied.safetensors", "--data", "xo", "--json")[1]
    )
    off, within = off_pattern(loose, network), tie_variance(loose, network)
    assert (by_file["off_pattern"], by_file["tie_variance"]) == (off.total, within.total)
    assert by_file["layers"]["conv2"]["off_pattern"] == off.layers["conv2"]
    assert by_file["layers"]["dense1"]["off_pattern"] is None
    status, out, _ = by_name
    assert status == 0
    assert out.startswith("Retied loose.safetensors as lenet5: Network 12 layers, ")
    (row,) = (line.split() for line in out.splitlines() if line.split()[:1] == ["conv1"])
    assert row[-2:] == [f"{off.layers['conv1']:.4f}", f"{within.layers['conv1']:.4f}"]
    assert "Saved to back.safetensors.\nNext, train it: simulator train back.safetensors --data xo\n" in out
    assert load("back.safetensors").network.node("conv1").layer == network.node("conv1").layer
    _, _, err = run("sharing", "loose.safetensors", "--retie", "tied.safetensors", "-o", "width=0.3")
    assert err.splitlines()[-1].startswith("Error: tied.safetensors is a saved network: its input, classes and options")


def test_layers_are_chosen(run):
    status, out, _ = run("sharing", "lenet5", "--untie", *SMALL, "--layers", "conv1", "--layers", "den*")
    assert status == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines() if len(line.split()) > 4}
    assert rows["conv1"][1] != rows["conv1"][2]
    assert rows["conv2"][1] == rows["conv2"][2]
    assert "Next, to keep the new network: simulator sharing lenet5 --untie " in out
    assert "On 100 samples of xo the outputs differ by " in out


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["lenet5"], "expected one of --untie, --densify and --retie LIKE; give one"),
        (["lenet5", "--untie", "--densify"], "expected one of --untie, --densify and --retie LIKE; give one"),
        (["lenet5", "--untie", "--retie", "lenet5"], "expected one of --untie, --densify and --retie LIKE; give one"),
        (["lenet5", "--retie", "lenet5", "--layers", "conv1"], "--layers: expected --untie or --densify with it"),
        (
            ["lenet5", "--untie", "--layers", "relu1"],
            "untie layers: expected a matrix with trained weights, got 'relu1'",
        ),
        (
            ["lenet5", "--input", "1x256x256", "--densify"],
            "densify conv1: expected a matrix of at most 4,294,967,296 bytes, got 381,024 x",
        ),
        (
            ["lenet5", "--retie", "mlp"],
            "retie: expected two networks of the same nodes, got dense1 (120,) after flatten",
        ),
        (["lenet5", "--untie", "--save", "nowhere/x.safetensors"], "save: expected an existing folder, got "),
        (["nothing", "--untie"], "catalog: expected one of the architectures, got 'nothing'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run, args, complaint):
    small = () if "--input" in args else SMALL[:2]
    status, out, err = run("sharing", *args, *small)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"Error: {complaint}")


def test_a_network_without_space(run, tmp_path):
    save(tmp_path / "small.safetensors", Network.sequential((1, 12, 12), [Conv(1, 12), ReLU(), Dense(2)], rng=0))
    status, out, _ = run("sharing", "small.safetensors", "--densify", "--data", "xo", "--samples", 3)
    assert status == 0
    assert "On 3 samples of xo" in out
