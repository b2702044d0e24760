"""The command that draws: each picture becomes a file, and what cannot be drawn is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import Dense, Network, load, save

pytest.importorskip("matplotlib")

PNG, SVG = b"\x89PNG\r\n\x1a\n", b"<?xml"


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (["conv1"], "conv1-matrix.png"),
        (["dense3", "--what", "matrix"], "dense3-matrix.png"),
        (["relu1"], "relu1-matrix.png"),
        (["pool2", "--what", "graph", "--sample", "3"], "pool2-graph.png"),
        (["dense3", "--what", "graph"], "dense3-graph.png"),
        (["conv1", "--what", "kernel"], "conv1-kernel.png"),
        (["conv1", "--what", "activations"], "conv1-activations.png"),
        (["--what", "curve"], "training-curve.png"),
        (["conv2", "--what", "window"], "conv2-window.png"),
        (["pool1", "--what", "window", "--unit", "pool1[1, 2, 0]", "--values"], "pool1-window.png"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_every_picture_of_a_trained_network(args, name, run, trained, folder):
    result = run("draw", trained, *args)
    assert (result.status, result.out, result.err) == (0, f"Drew {name}\n", "")
    assert (folder / name).read_bytes().startswith(PNG)
    assert [p.name for p in folder.iterdir()] == [name]


def test_the_window_on_its_walk(run, trained, folder):
    pillow = pytest.importorskip("PIL.Image")
    result = run("draw", trained, "pool2", "--what", "window", "--step", "row")
    assert (result.status, result.out) == (0, "Drew pool2-window.gif\n")
    with pillow.open(folder / "pool2-window.gif") as picture:
        assert picture.n_frames == load(trained).network.node("pool2").shape[-1]


def test_a_walk_that_would_never_end(run, folder):
    complaint = run("draw", "lenet5", "conv1", "--what", "window", "--step", "all").complaint
    assert "--step all: expected at most 400 positions, got 784; give --step row, or a smaller --input" in complaint
    assert list(folder.iterdir()) == []
    small = ("--input", "1x12x12", "-o", "width=0.3")
    assert run("draw", "lenet5", "pool2", *small, "--data", "xo", "--what", "window", "--step", "all").status == 0


def test_an_architecture_and_a_vector_graphic(run, folder):
    small = ("--input", "1x12x12", "-o", "width=0.3", "--data", "xo")
    result = run("draw", "lenet5", "conv2", *small, "--what", "activations", "--output", "maps.svg")
    assert (result.status, result.out) == (0, "Drew maps.svg\n")
    assert (folder / "maps.svg").read_bytes().startswith(SVG)


def drawn(run, *args):
    assert run("draw", *args, "--output", "picture.png").status == 0
    return Path("picture.png").read_bytes()


def test_options_change_the_picture(run, trained):
    plain = drawn(run, trained, "conv2")
    assert drawn(run, trained, "conv2") == plain
    assert drawn(run, trained, "conv2", "--rows", "0:8") != plain
    assert drawn(run, trained, "conv2", "--columns", "0:30") != plain
    assert drawn(run, trained, "conv2", "--order", "F") != plain
    assert drawn(run, trained, "conv2", "--sample", "5") == plain  # it is the same for every sample


def test_the_sample_is_one_of_the_data_that_the_network_was_trained_on(run, trained):
    first = drawn(run, trained, "relu4")
    assert drawn(run, trained, "relu4", "--data", "xo", "--sample", "0") == first
    assert drawn(run, trained, "relu4", "--sample", "1") != first


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "expected a layer, got none; name one of: conv1, relu1, pool1, conv2, "),
        (["conv"], "network: expected a node, got 'conv'; did you mean 'conv"),
        (
            ["conv1", "--what", "picture"],
            "'picture' is not one of 'matrix', 'window', 'kernel', 'graph', 'activations', 'curve'",
        ),
        (
            ["conv1", "--output", "conv1.jpg"],
            "save: expected a file that ends in .png, .svg or .pdf, got 'conv1.jpg'; ",
        ),
        (
            ["conv1", "--output", "conv1.gif"],
            "save: expected a file that ends in .png, .svg or .pdf, got 'conv1.gif'; ",
        ),
        (["conv1", "--unit", "conv1[0, 1, 1]"], "--unit: expected --what window, got --what matrix; leave it out"),
        (["conv1", "--what", "window", "--unit", "conv2[0, 0, 0]"], "--unit: expected a unit of conv1, got conv2[0, 0"),
        (["conv1", "--what", "window", "--unit", "conv1[0]"], "expected a single unit, got conv1[0]"),
        (
            ["conv1", "--what", "window", "--step", "row", "--output", "walk.svg"],
            "save: expected a file that ends in .gif or .png, got 'walk.svg'; choose one of them",
        ),
        (["conv1", "--output", "no/conv1.png"], "save: expected an existing folder, got "),
        (["conv1", "--rows", "5"], "expected two numbers such as 0:64, got '5'"),
        (["conv1", "--rows", "-1:5"], "expected two numbers such as 0:64, got '-1:5'"),
        (["conv1", "--rows", "5:5"], "draw conv1 rows: expected a part of 0 to 288, at most 512 long, got 5 to 5"),
        (["conv1", "--columns", "0:145"], "draw conv1 columns: expected a part of 0 to 144, at most 512 long, got 0"),
        (["conv1", "--what", "kernel", "--rows", "0:5"], "--rows: expected --what matrix, got --what kernel; leave it"),
        (["conv1", "--what", "graph", "--order", "C"], "--order: expected --what matrix, got --what graph; leave it"),
        (["conv1", "--what", "graph"], "draw conv1: expected at most 200 units and 2000 connections, got 432 and 5832"),
        (["relu1", "--sample", "1000"], "xo: expected a sample from 0 to 999, got 1000; choose one of them"),
        (["relu1", "--sample", "-1"], "-1 is not in the range x>=0"),
        (["relu1", "--data", "nothing.npz"], "got nothing.npz, which does not exist; check the path"),
        (["relu1", "--data", "digitz"], "one of the datasets, got 'digitz'; did you mean 'digits'?"),
        (["conv1", "--input", "1x28x28"], "is a saved network: its input, classes and options are in the file; leave"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_drawn(args, message, run, trained, folder):
    assert message in run("draw", trained, *args).complaint
    assert list(folder.iterdir()) == []


def test_data_of_another_shape(run, trained, files, folder):
    result = run("draw", trained, "relu1", "--data", files / "short.npz")
    assert "expected samples of shape (1, 12, 12), got (143,); use data of that shape" in result.complaint
    result = run("draw", trained, "relu1", "--data", files / "wide.npz")
    assert (result.status, result.err) == (0, f"Note: {files / 'wide.npz'}: resized from 12x24 to 12x12.\n")


def test_a_smooth_layer_has_no_matrix(run, folder):
    result = run("draw", "lenet5-1998", "c1-tanh", "--data", "xo")
    assert "draw c1-tanh: expected a layer that is piecewise linear, got ScaledTanh()" in result.complaint


def test_a_curve_needs_a_history(run, folder):
    assert run("draw", "lenet5", "--what", "curve").complaint == (
        "draw curve: expected a network saved while training, got lenet5; train it: simulator train lenet5 --save "
        "net.safetensors"
    )
    save("net", Network.sequential((1, 12, 12), [Dense(2)], rng=0))
    assert "expected a network saved while training, got net; " in run("draw", "net", "--what", "curve").complaint


def test_a_picture_whose_name_nobody_gave_replaces_none(run):
    for name in ("conv1-kernel.png", "conv1-kernel-2.png"):
        assert run("draw", "lenet5", "conv1", "--what", "kernel").out == f"Drew {name}\n"
    for name in ("lenet5-graph.png", "lenet5-graph-2.png"):
        assert run("graph", "lenet5").out.startswith(f"Drew {name}: ")


def test_a_dark_picture(run, trained):
    assert run("draw", trained, "conv1", "--what", "kernel", "--dark", "--output", "dark.svg").status == 0
    assert run("draw", trained, "conv1", "--what", "kernel", "--output", "light.svg").status == 0
    assert [path.read_text().count("#15181d") > 0 for path in map(Path, ("dark.svg", "light.svg"))] == [True, False]
