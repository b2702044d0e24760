"""A layer by itself where a network is asked for."""

import json
import shlex

import pytest

from simulator import Dense, Network, save

CONV = ("conv(1, kernel=3)", "--input", "1x8")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("describe 'conv(1, kernel=3)' --input 1x8", "conv(1, kernel=3): Network 1 layer, 4 params: (1, 8) -> (1, 6)"),
        ("describe 'max-pool(2)' --input 2x4x4", "max-pool(2): Network 1 layer, 0 params: (2, 4, 4) -> (2, 2, 2)"),
        ("describe 'conv(2, 3, padding=\"same\", bias=False)' --input 1x5", ", 6 params: (1, 5) -> (2, 5)"),
        ("describe 'dense(3)' --input 7", "dense(3): Network 1 layer, 24 params: (7,) -> (3,)"),
        ("describe 'relu()' --input 2x3", "relu(): Network 1 layer, 0 params: (2, 3) -> (2, 3)"),
        ("equivalence 'conv(1, kernel=3)' --input 1x8", "6 x 8: 18 nonzeros share 3 weights"),
        ("unit 'conv(1, kernel=3)' 'conv1[0, 1]' --input 1x8", "input[0, 3]"),
        ("weight 'conv(1, kernel=3)' 'conv1.weight[0, 0, 1]' --input 1x8", "6 connections in conv1"),
        ("effect 'conv(1, kernel=3)' --ablate 'conv1[0, 1]' --input 1x8", "Effect on conv(1, kernel=3)"),
        ("affine 'conv(1, kernel=3)' --input 1x8", "Network and matrix differ by "),
        ("sharing 'conv(1, kernel=3)' --untie --input 1x8", "Network 1 layer, 24 params"),
        ("respond 'conv(1, kernel=3)' 'conv1[0]' --input 1x8", "The preferred input"),
    ],
)
def test_commands_take_one_layer(command, said, run):
    result = run(*shlex.split(command))
    assert result.status == 0, result.err
    assert said in result.out


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("draw 'conv(1, kernel=3)' --input 1x8", "conv1-matrix.png"),
        ("draw 'conv(1, kernel=3)' --input 1x8 --what window --unit 'conv1[0, 2]'", "conv1-window.png"),
        ("draw 'max-pool(2)' --input 1x4x4 --what window", "maxpool1-window.png"),
        ("draw 'dense(3)' --input 7 --what graph", "dense1-graph.png"),
        ("graph 'conv(1, kernel=3)' --input 1x8", "conv-graph.png"),
    ],
)
def test_pictures_of_one_layer(command, file, run, folder):
    pytest.importorskip("matplotlib")
    assert run(*shlex.split(command)).status == 0
    assert [path.name for path in folder.iterdir()] == [file]


def test_a_file_of_such_a_name_is_a_file(run):
    save("net(1)", Network.sequential((1, 8), [Dense(2)], rng=0))
    assert run("describe", "net(1)").out.startswith("net(1): Network 1 layer, 18 params: (1, 8) -> (2,)")


def test_its_samples_count(run):
    for sample in (0, 4):
        found = json.loads(run("unit", *CONV, "conv1[0, 1]", "--sample", sample, "--json").out)
        assert {c["source"]: c["input"] for c in found["connections"]} == {
            f"input[0, {k}]": k + 1 + sample for k in (1, 2, 3)
        }
    assert (
        "counting: expected a sample from 0 to 9, got 10" in run("unit", *CONV, "conv1[0, 1]", "--sample", 10).complaint
    )


@pytest.mark.parametrize(
    ("command", "message", "cure"),
    [
        (
            "describe 'conv(1, kernel=3)'",
            "conv(1, kernel=3): expected --input for a layer by itself, got none; add for example --input 1x8",
            "describe 'conv(1, kernel=3)' --input 1x8",
        ),
        (
            "describe 'conv(1, kernel=3)' --input 1x8 -o width=2",
            "expected the options of a layer in its parentheses, got -o or --classes; leave them out",
            "describe 'conv(1, kernel=3)' --input 1x8",
        ),
        (
            "describe 'conv(1, padding=same)' --input 1x8",
            "expected a layer with plain arguments, such as 'conv(1, kernel=3, padding=\"same\")', got ",
            "describe 'conv(1, kernel=3, padding=\"same\")' --input 1x8",
        ),
        (
            "describe 'conv(1, kernel=3' --input 1x8",
            "expected a layer with plain arguments, such as 'conv(1, kernel=3, padding=\"same\")', got 'conv(1, ",
            "describe 'conv(1, kernel=3)' --input 1x8",
        ),
        ("describe 'konv(1)' --input 1x8", "one of the layers, got 'konv'; did you mean 'conv'?", None),
        ("describe 'conv(1)' --input 1x8", "conv", None),
        ("describe 'conv(__import__(\"os\").getcwd())' --input 1x8", "expected a layer with plain arguments", None),
        ("describe 'conv(1, kernel=3)(2, kernel=5)' --input 1x8", "expected a layer with plain arguments", None),
        (
            "describe relu --input 1x8",
            "got the layer relu; write it with its arguments, in quotes: 'relu(...)'",
            "describe 'relu()' --input 1x8",
        ),
        ("describe 'conv(1, kernel=3, kernel=5)' --input 1x8", "expected a layer with plain arguments", None),
        ("describe 'conv(*[1, 3])' --input 1x8", "expected a layer with plain arguments", None),
        ("describe 'conv(1, **{})' --input 1x8", "conv", None),
        ("train 'dense(10)' --input 1x8", "got the layer dense(10); train it in Python with simulator.train", None),
        (
            "ablate 'dense(3)' dense1 --input 7",
            "got the layer dense(3), which has no loss; simulator effect shows what ablating changes",
            "effect 'dense(3)' --ablate 'dense1[0]' --input 7",
        ),
        ("describe 'conv(1, kernel=30)' --input 1x8", "conv", None),
    ],
)
def test_what_is_no_layer(command, message, cure, run):
    assert message in run(*shlex.split(command)).complaint
    if cure is not None:
        assert run(*shlex.split(cure)).status == 0
