"""simulator ablate: its numbers are those of the lab, on the samples held out of training."""

import json

import numpy as np
import pytest

from simulator import Catalog, load
from simulator.lab import ablation, silence

SMALL = ("lenet5", "--input", "1x12x12", "-o", "width=0.3", "--data", "xo", "--samples", 60)


def test_the_ranking_is_that_of_the_lab(run, data, tmp_path):
    network = Catalog().build("lenet5", (1, 12, 12), rng=0, width=0.3)
    found = ablation(network, data.take(slice(60)), "relu2", "channel", value=0.5)
    status, out, _ = run("ablate", *SMALL, "relu2", "--value", 0.5, "--json")
    told = json.loads(out)
    assert (status, told["samples"], told["by"]) == (0, 60, "channel")
    np.testing.assert_allclose(told["before"]["loss"], found.loss_before, rtol=1e-5)
    assert [row["units"] for row in told["ranking"]] == [str(units) for units, _, _ in found.ranking]
    np.testing.assert_allclose([row["loss"] for row in told["ranking"]], np.sort(found.loss)[::-1], rtol=1e-5)
    status, out, _ = run("ablate", *SMALL, "relu2", "--value", 0.5, "--limit", 2, "--output", "a.png")
    silent = silence(network, data.take(slice(60)))
    assert told["silence"] == silent.as_dict()
    assert f"{silent.told('sample', ' of xo')}\n" in out
    units, loss, share = next(found.ranking)
    assert [f"{units}", f"{loss:.4f}", f"{loss - found.loss_before:+.4f}", f"{share:.2%}"] in map(
        str.split, out.splitlines()
    )
    assert out.startswith(
        "relu2 of lenet5 (untrained: random weights) by channel, each clamped to 0.5, on 60 samples of xo\n"
    )
    assert "The 2 most harmful of 5; --limit 5 lists all.\n" in out
    assert "\nDrew a.png\n" in out
    cut = "--input 1x12x12 -o width=0.3 --data xo --ablate"
    what = "what it changes at the first of these samples"
    assert out.endswith(f"Next, {what}: simulator effect lenet5 {cut} '{units}' --sample 0\n")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_held_out_samples_of_a_trained_network(run, data):
    train = (
        "--data",
        "xo",
        "--input",
        "1x12x12",
        "-o",
        "width=0.3",
        "--epochs",
        1,
        "--no-proof",
        "--save",
        "n.safetensors",
    )
    assert run("train", "lenet5", *train)[0] == 0
    saved = load("n.safetensors", catalog=Catalog())
    held_out = data.split(0.2, 0)[1]
    found = ablation(saved.network, held_out, "pool2", "unit", value="mean")
    status, out, _ = run("ablate", "n.safetensors", "pool2", "--by", "unit", "--value", "mean")
    assert status == 0
    assert out.startswith("pool2 of n.safetensors by unit, each clamped to its mean, on 200 held-out samples of xo\n")
    assert ["nothing", f"{found.loss_before:.4f}", f"{found.accuracy_before:.2%}"] in map(str.split, out.splitlines())
    status, out, _ = run("ablate", "n.safetensors", "pool2", "--all", "--json")
    assert json.loads(out)["samples"] == 1000


def test_a_network_that_gives_back_its_input(run):
    args = ("--input", "1x8x8", "--epochs", 1, "--no-proof", "--save", "n.safetensors")
    assert run("train", "autoencoder", "--data", "digits", *args)[0] == 0
    network, digits = load("n.safetensors", catalog=Catalog()).network, Catalog().load_data("digits").inputs
    layer = list(network.nodes)[2]
    status, out, _ = run("ablate", "n.safetensors", layer, "--all", "--samples", 20, "--json")
    told = json.loads(out)
    assert status == 0 and told["before"]["accuracy"] is None
    loss = Catalog().objective("autoencoder", network)[0][network.output_name]
    np.testing.assert_allclose(told["before"]["loss"], loss.value(network.predict(digits[:20]), digits[:20]), rtol=1e-4)
    assert ["nothing", f"{told['before']['loss']:.4f}"] in map(
        str.split, run("ablate", "n.safetensors", layer, "--all", "--samples", 20)[1].splitlines()
    )


def test_an_architecture_that_gives_back_its_input(run):
    status, out, _ = run("ablate", "autoencoder", "code", "--samples", 20)
    assert status == 0 and out.startswith(
        "code of autoencoder (untrained: random weights) by channel, each clamped to 0, on 20 samples of digits"
    )


def test_the_figure_is_refused_before_anything_is_computed(run):
    for command in ("ablate", "respond", "unit"):
        assert "save: expected a file that ends in .png" in run(command, "nothing", "conv1", "--output", "a.jpg")[2]
    assert "save: expected an existing folder" in run("affine", "nothing", "--output", "no/a.png")[2]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("conv9",), "network: expected a node, got 'conv9'; did you mean 'conv"),
        (("dense3", "--by", "site"), "ablation dense3: expected a layer with sites, got the shape (10,)"),
        (("relu1", "--by", "row"), "'row' is not one of 'unit', 'channel', 'site'"),
        (("relu1", "--value", "x"), "expected a number or mean, got 'x'"),
        (("relu1", "--value", "nan"), "ablation relu1 value: expected a finite number or 'mean', got nan"),
        (("relu1", "--output", "a.jpg"), "save: expected a file that ends in .png, .svg or .pdf, got 'a.jpg'"),
        (("relu1", "--samples", "0"), "0 is not in the range x>=1"),
    ],
)
def test_misfits(run, args, message):
    status, out, err = run("ablate", *SMALL, *args)
    assert (status, out) == (2, "")
    assert message in err.splitlines()[-1]
