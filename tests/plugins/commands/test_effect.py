"""simulator effect: its numbers are those of two runs, and what cannot be changed is refused in one line."""

import json

import numpy as np
import pytest
from scipy.special import softmax

from simulator import Catalog, CrossEntropy, Dense, Network, SquaredError, load, save

SMALL = ("lenet5", "--input", "1x12x12", "-o", "width=0.3", "--data", "xo")


GIVEN = ("--clamp", "conv1[0]=0.5", "--ablate", "conv2[1, 0, 0]", "--ablate", "relu1[1]", "--patch", "input[0, 3]=7")


def test_the_numbers_are_those_of_two_runs(run, network, data):
    status, out, _ = run("effect", *SMALL, "--sample", 2, *GIVEN, "--json")
    assert status == 0
    told, x = json.loads(out), data.inputs[2:3]
    ablated = ["conv2[1, 0, 0]", "relu1[1]"]
    after = network.run(x, clamp={"conv1[0]": 0.5}, ablate=ablated, patch={"input[0, 3]": data.inputs[7:8]})
    before, label = network.run(x), data.labels[2:3]
    assert [row["node"] for row in told["nodes"]] == list(network.nodes)
    for row in told["nodes"]:
        difference = after[row["node"]] - before[row["node"]]
        np.testing.assert_allclose(row["largest"], np.abs(difference).max(), rtol=1e-9, atol=1e-12)
        assert row["units"] == difference.size
    for name, trace in (("before", before), ("after", after)):
        np.testing.assert_allclose(told[f"loss_{name}"], CrossEntropy().value(trace["dense3"], label), rtol=1e-9)
        shares = [row[name] for row in told["classes"]]
        np.testing.assert_allclose(shares, softmax(trace["dense3"][0]), rtol=1e-9)
    assert told["label"] == label[0]
    assert [row["class"] for row in told["classes"][:2]] == list(data.classes)


def test_what_is_printed(run, network, data):
    status, out, _ = run("effect", *SMALL, "--ablate", "dense2[0]", "--ablate", "dense2[1]")
    assert status == 0
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["dense2"][:3] == ["25", "25", "2"]
    assert "conv1" not in rows
    before, after = (network.run(data.inputs[:1], ablate=a) for a in ((), ["dense2[0]", "dense2[1]"]))
    largest = np.abs(after["dense3"] - before["dense3"]).max()
    assert rows["dense3"][3] == f"{largest:.4g}"
    losses = [CrossEntropy().value(trace["dense3"], data.labels[:1]) for trace in (before, after)]
    assert out.endswith(
        f"Loss {losses[0]:.4f} before, {losses[1]:.4f} after; the sample is of class {data.classes[0]}.\n"
    )
    same = sum(np.array_equal(before[name], after[name]) for name in network.nodes)
    assert f"{same} of {len(network.nodes)} nodes are unchanged." in out


def test_nothing_changes(run):
    status, out, _ = run("effect", *SMALL, "--patch", "conv1=3", "--sample", 3)
    assert status == 0
    assert out.startswith("Effect on lenet5 (untrained: random weights), sample 3: nothing changes\n\nProbabilities\n")


def test_a_network_that_does_not_classify(run):
    status, out, _ = run("effect", "autoencoder", "--input", "1x8x8", "--ablate", "input[0, 3]", "--json")
    told = json.loads(out)
    assert (status, told["label"], told["loss_after"], told["classes"]) == (0, None, None, [])
    status, out, _ = run("effect", "autoencoder", "--input", "1x8x8", "--ablate", "input[0, 3]")
    assert status == 0 and "Probabilities" not in out and "Loss" not in out


def test_how_many_nodes_stay(run):
    _, out, _ = run("effect", *SMALL, "--ablate", "dense3")
    assert "\n12 of 13 nodes are unchanged.\n\nProbabilities\n" in out
    _, out, _ = run("effect", *SMALL, "--ablate", "conv1")
    assert "\n1 of 13 nodes is unchanged.\n\nProbabilities\n" in out
    assert " nodes stay" not in run("effect", *SMALL, "--ablate", "input")[1]


def test_a_saved_network_of_fewer_classes_than_the_data(run, tmp_path):
    save(tmp_path / "net.safetensors", Network.sequential((1, 8, 8), [Dense(3)], rng=0))
    seven = int(np.flatnonzero(Catalog().load_data("digits").labels == 7)[0])
    status, out, _ = run("effect", "net.safetensors", "--ablate", "dense1[0]", "--sample", seven)
    assert status == 0 and "Loss" not in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "expected units to change, got none; add --clamp 'conv1[0]=1', --ablate 'conv1[0]' or --patch"),
        (("--ablate", "relu9"), "network: expected a node, got 'relu9'; did you mean 'relu4'"),
        (("--ablate", "relu1[9]"), "unit relu1[9]: expected a position (channel, *space) within (2, 12, 12), got [9]"),
        (("--clamp", "conv1[0]"), "expected NAME=VALUE, got 'conv1[0]'"),
        (
            ("--clamp", "conv1[0]=x"),
            "--clamp conv1[0]: expected a number, got 'x'; write for example --clamp",
        ),
        (("--clamp", "conv1[0]=1e999"), "clamp conv1[0]: expected finite numbers, got NaN or infinity"),
        (("--clamp", "conv1=1", "--clamp", "conv1=2"), "--clamp conv1: expected one value, got several; leave out all"),
        (("--patch", "conv1=1", "--patch", "conv1=2"), "--patch conv1: expected one value, got several; leave out all"),
        (("--patch", "conv1=x"), "--patch conv1: expected an integer, got 'x'; write for example --patch conv1=2"),
        (("--patch", "conv1=-1"), "--patch conv1: expected a sample from 0 on, got -1; try conv1=7"),
        (("--patch", "conv1=1000"), "xo: expected a sample from 0 to 999, got 1000; choose one of them"),
        (("--ablate", "conv1", "--sample", "1000"), "xo: expected a sample from 0 to 999, got 1000"),
        (("--ablate", "conv1", "--clamp", "conv1[1]=2"), "ablate conv1: expected units that are given one value, got"),
    ],
)
def test_misfits(run, args, message):
    status, out, err = run("effect", *SMALL, *args)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith("Error: ")
    assert message in err.splitlines()[-1]


def test_the_loss_is_the_one_that_the_network_was_trained_with(run):
    trained = ("train", *SMALL, "--loss", "squared-error", "--epochs", "1", "--no-proof", "--save", "net")
    assert run(*trained)[0] == 0
    told = json.loads(run("effect", "net", "--data", "xo", "--ablate", "relu1[0]", "--json")[1])
    network, data = load("net").network.with_dtype("float64"), Catalog().load_data("xo", (1, 12, 12))
    expected = SquaredError().value(network.predict(data.inputs[:1]), data.labels[:1])
    np.testing.assert_allclose(told["loss_before"], expected, rtol=1e-6)
