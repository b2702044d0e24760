"""simulator explore: the page that it writes holds the samples and the network that were asked for."""

import json
import re
import webbrowser

import pytest

from simulator import Catalog, save

SMALL = ("lenet5", "--input", "1x12x12", "-o", "width=0.3", "--data", "xo")


def told(path):
    return json.loads(re.search(r'<script id="payload"[^>]*>(.*?)</script>', path.read_text("utf-8"), re.S)[1])


def test_a_page_of_some_samples(run, tmp_path):
    status, out, err = run("explore", *SMALL, "--sample", 3, "--samples", 5, "--output", "page.html", "--dark")
    assert (status, err) == (0, "")
    first, last = out.splitlines()
    assert re.fullmatch(r"Wrote page\.html, \d+ kB; open file:///.*/page\.html", first)
    assert last.startswith("Next, to explore it trained: simulator train lenet5 --input 1x12x12 ")
    found, data = told(tmp_path / "page.html"), Catalog().load_data("xo", (1, 12, 12))
    assert (found["title"], found["numbers"], found["dark"]) == (
        "lenet5 (untrained: random weights)",
        [*range(3, 8)],
        True,
    )
    assert found["labels"] == [data.classes[label] for label in data.labels[3:8]]


def test_the_browser_is_opened_unless_it_must_not_be(run, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda link: opened.append(link) or True)
    out = run("explore", *SMALL, "--samples", 2)[1]
    assert out.startswith(f"Opened {opened[0]}\n")
    assert run("explore", *SMALL, "--samples", 2, "--no-browser")[1].startswith("Wrote ")
    assert len(opened) == 1
    monkeypatch.setattr(webbrowser, "open", lambda link: False)
    assert run("explore", *SMALL, "--samples", 2)[1].startswith("Wrote ")


def test_a_saved_network_and_a_layer_by_itself(run, tmp_path):
    save("net", Catalog().build("lenet5", (1, 12, 12), rng=0, width=0.3))
    assert run("explore", "net", "--data", "xo", "--samples", 2, "--output", "net.html")[1].count("\n") == 1
    assert told(tmp_path / "net.html")["title"] == "net"
    assert run("explore", "conv(1, kernel=3)", "--input", "1x5x5", "--output", "conv.html")[0] == 0
    assert told(tmp_path / "conv.html")["nodes"][1]["name"] == "conv1"
    assert told(tmp_path / "conv.html")["labels"] is None  # nothing to train for


def test_it_opens_with_the_layer_that_is_asked_for(run, tmp_path):
    for args, layer in (((), "conv1"), (("--layer", "pool2"), "pool2")):
        assert run("explore", *SMALL, "--samples", 2, *args, "--output", "page.html")[0] == 0
        assert told(tmp_path / "page.html")["layer"] == layer


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("lenet5", "--output", "page.png"),
            "save: expected a file that ends in .html, got 'page.png'; choose one of them",
        ),
        (("vgg16", "--input", "1x224x224"), "explore: expected at most 3,000,000 connections in all, got 14,"),
        ((*SMALL, "--sample", "100000"), "xo: expected a sample from 0 to 999, got 100000; choose one of them"),
        (("lenet6",), "did you mean 'lenet5'"),
        ((*SMALL, "--layer", "conv9"), "explore: expected a layer, got 'conv9'; did you mean 'conv"),
        ((*SMALL, "--layer", "relu1"), "explore: expected a layer that is a matrix, got relu1, a ReLU; choose one of"),
        (
            ("relu()", "--input", "1x4"),
            "explore: expected a network with a layer that is a matrix, got one of Input, R",
        ),
    ],
)
def test_misfits(run, args, message):
    status, out, err = run("explore", *args)
    assert (status, out) == (2, "")
    assert message in err
