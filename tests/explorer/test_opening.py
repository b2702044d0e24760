"""Pages in Python: what they show, where they are written, and what is refused."""

import json
import re
import webbrowser
from pathlib import Path

import numpy as np
import pytest

from simulator import Catalog, Conv, Dataset, Dense, FileError, Network, ReLU, ShapeError, UnknownNameError, explore

X = np.random.default_rng(0).random((6, 1, 5, 5))


@pytest.fixture
def net():
    return Network.sequential((1, 5, 5), [Conv(1, 3), ReLU(), Dense(2)], rng=0)


def told(page):
    return json.loads(re.search(r'<script id="payload"[^>]*>(.*?)</script>', page.html, re.S)[1])


def test_samples_and_labels(net):
    test = Dataset(X[4:], np.array([1, 0]), classes=("x", "o"))
    data = Dataset(X[:4], np.array([0, 1, 1, 0]), classes=("x", "o"), test=test)
    found = told(explore(net, data, sample=2, samples=3))
    assert (found["numbers"], found["labels"], found["classes"]) == ([2, 3, 4], ["o", "x", "o"], ["x", "o"])
    assert told(explore(net, Dataset(X, np.arange(6) % 2)))["labels"] == list("010101")
    found = told(explore(net, X, layer="dense1"))
    assert (found["labels"], len(found["numbers"]), found["layer"]) == (None, 6, "dense1")


def test_it_is_saved_opened_and_shown_by_a_notebook(net, tmp_path, monkeypatch):
    page = explore(net, X, title="a <b> net")
    assert repr(page) == f"Page of a <b> net, {len(page.html) / 1000:,.0f} kB"
    assert page.save(tmp_path / "page.html").read_text("utf-8") == page.html
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert Path(page.open()).as_uri() == opened[0]
    assert page._repr_html_().startswith("<iframe srcdoc=")
    assert "<b>" not in page._repr_html_()


@pytest.mark.parametrize(
    ("wrong", "error", "message", "cure"),
    [
        ({"sample": 6}, ShapeError, "expected a number from 0 to 5, got 6; choose one of these", {"sample": 5}),
        ({"title": 7}, ShapeError, "explore title: expected text, got 7; write title='lenet5'", {"title": "lenet5"}),
        ({"samples": 0}, ShapeError, "explore samples: expected an integer of at least 1, got 0", {"samples": 1}),
        (
            {"layer": "conv2"},
            UnknownNameError,
            "expected a layer, got 'conv2'; did you mean 'conv1'",
            {"layer": "conv1"},
        ),
        ({"layer": "relu1"}, ShapeError, "got relu1, a ReLU; choose one of: conv1, dense1", {"layer": "dense1"}),
    ],
)
def test_what_is_refused_and_its_cure(net, wrong, error, message, cure):
    with pytest.raises(error, match=re.escape(message)):
        explore(net, X, **wrong)
    assert explore(net, X, **cure).html


def test_a_page_is_an_html_file_of_a_network_with_matrices(net, tmp_path):
    with pytest.raises(FileError, match=r"explore: expected the name of an \.html file, got '.*'; write page.html"):
        explore(net, X).save(tmp_path / "page.png")
    with pytest.raises(ShapeError, match="a layer that is a matrix, got one of Input, ReLU; add a layer such as Conv"):
        explore(Network.sequential((1, 5, 5), [ReLU()]), X)
    assert explore(Catalog().build("mlp", (1, 5, 5), 2, rng=0), X).html


def test_a_frame_in_a_notebook_shows_the_page(chromium, net):
    tab = chromium.new_context(offline=True).new_page()
    faults = []
    tab.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.set_content(f"<p>cell</p>{explore(net, X)._repr_html_()}")
    inside = tab.frame_locator("iframe")
    inside.locator("#said:not(:empty)").wait_for()
    inside.locator("#after").click()
    assert inside.locator("#sample").inner_text() == "sample 1"
    assert faults == []
    tab.context.close()
