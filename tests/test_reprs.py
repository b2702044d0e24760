"""What people see who type a name in a console or a notebook: one short line, never an address or an array."""

from html.parser import HTMLParser

import networkx as nx
import numpy as np
import pytest

from simulator import Catalog, Conv, Dataset, Dense, Network, Workspace, evaluate, load, save, train
from simulator.describe import describe
from simulator.draw import draw_kernel
from simulator.equivalence import engine_equivalence, equivalence
from simulator.lab import layer_graph, unit_graph
from simulator.notebooks import html_table

NET = Network.sequential((1, 4, 4), [Conv(2, 3), Dense(3)], rng=0)
TRACE = NET.run(np.zeros((2, 1, 4, 4)))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (NET, "Network 2 layers, 47 params: (1, 4, 4) -> (3,)"),
        (TRACE, "Trace of 2 samples: input, conv1, dense1"),
        (TRACE.backward(np.ones((2, 3))), "Gradients of 4 trained arrays, 1 input, 3 nodes"),
        (Workspace(NET), "Workspace that keeps dense1"),
        (Workspace(NET).run(NET, np.zeros((1, 1, 4, 4))), "Trace of 1 sample: dense1"),
        (Dataset(np.zeros((5, 1, 4, 4)), np.arange(5)), "Dataset of 5 samples (1, 4, 4)"),
        (
            Dataset(
                {"a": np.zeros((1, 2)), "b": np.zeros((1, 3))},
                np.zeros(1, int),
                classes=("x", "o"),
                test=Dataset({"a": np.zeros((7, 2)), "b": np.zeros((7, 3))}, np.zeros(7, int), classes=("x", "o")),
            ),
            "Dataset of 1 sample a (2,), b (3,), 2 classes, and 7 to test on",
        ),
        (Catalog(entry_points=False).engines, "engines: scipy"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_line_says_what_it_is(value, shown):
    assert repr(value) == shown


def test_a_catalog_counts_what_it_has():
    assert repr(Catalog(entry_points=False)).startswith("Catalog of ")
    assert "0 architectures" in repr(Catalog(entry_points=False))


def test_a_saved_network(tmp_path):
    save(tmp_path / "net", NET)
    assert repr(load(tmp_path / "net")) == f"Saved {NET!r}"


def test_many_names_are_cut():
    deep = Network.sequential((2,), [Dense(2)] * 8, rng=0)
    assert repr(deep.run(np.zeros((1, 2)))) == "Trace of 1 sample: input, dense1, dense2, ..., dense7, dense8"


def test_a_trace_is_a_mapping():
    assert list(TRACE) == list(TRACE.keys()) == ["input", "conv1", "dense1"]
    assert len(TRACE) == 3
    assert "conv1" in TRACE
    assert "conv9" not in TRACE
    assert TRACE.get("conv9") is None
    assert TRACE.get("conv1").shape == (2, 2, 2, 2)
    assert {name: array.shape for name, array in TRACE.items()}["dense1"] == (2, 3)
    same, other = TRACE, NET.run(np.zeros((2, 1, 4, 4)))
    assert same == TRACE
    assert other != TRACE


def test_a_figure_shows_itself_in_a_notebook():
    pytest.importorskip("matplotlib")
    assert draw_kernel(NET, "conv1")._repr_png_().startswith(b"\x89PNG\r\n\x1a\n")


class Page(HTMLParser):
    """What a page shows: the cells of a table row by row, and their styles and titles."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.caption, self.cells, self.open = [], "", [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.cells.append(dict(attributes))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] == "caption":
            self.caption += data
        else:
            self.rows[-1][-1] += data


def test_a_network_shows_its_layers():
    page = Page(NET._repr_html_())
    assert page.caption == repr(NET)
    assert page.rows[0][0] == "node"
    assert [row[:4] for row in page.rows[1:]] == [
        ["input", "Input", "", "1x4x4"],
        ["conv1", "Conv", "input", "2x2x2"],
        ["dense1", "Dense", "conv1", "3"],
    ]
    assert sum(int(row[4]) for row in page.rows[1:]) == 47


def test_a_trace_shows_its_numbers():
    x = np.random.default_rng(0).standard_normal((2, 1, 4, 4)).astype(np.float32)
    trace = NET.run(x)
    page = Page(trace._repr_html_())
    numbers = [float(cell) for cell in page.rows[2][2:]]
    y = trace["conv1"]
    np.testing.assert_allclose(numbers, [y.min(), y.mean(), y.max(), 0], rtol=1e-3)


def test_a_description_shows_its_counts():
    description = describe(NET)
    page = Page(description._repr_html_())
    assert [row[0] for row in page.rows[1:]] == ["conv1", "dense1", "total"]
    assert page.rows[-1][2] == "47"


def test_a_small_matrix_shows_its_cells_and_which_weights_they_share():
    matrix = Network.sequential((1, 4), [Conv(1, kernel=3, padding=1, bias=False)], rng=0).node("conv1").matrix
    page = Page(matrix._repr_html_())
    dense = matrix.tocsr().toarray()
    assert page.rows == [[f"{value:.4g}" if value else "" for value in row] for row in dense]
    told = [cell.get("title") for cell in page.cells]
    assert told[:4] == ["weight 1", "weight 2", None, None]
    colours = {cell["title"]: cell["style"] for cell in page.cells if cell}
    assert len(set(colours.values())) == len(colours) == 3
    assert all(cell["style"] == colours[cell["title"]] for cell in page.cells if cell)


def test_a_large_matrix_shows_its_counts():
    matrix = Catalog().build("lenet5", rng=0).node("conv1").matrix
    page = Page(matrix._repr_html_())
    assert dict(page.rows[1:])["weights"] == "150"
    assert len(page.rows) == 7


def test_a_page_takes_no_text_for_markup():
    text = html_table("<b>&", ["<i>"], [["<script>x</script>"], ["\x1b[31m\n"], [None]] * 30)
    page = Page(text)
    assert page.caption == "<b>&"
    assert page.rows[:4] == [["<i>"], ["<script>x</script>"], ["\\x1b[31m\\n"], [""]]
    assert page.rows[-1] == ["and 30 more"]


DATA = Dataset(np.zeros((5, 1, 4, 4)), np.arange(5) % 3)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (train(NET, DATA), "Epochs of training, one after the other: write for epoch in train(network, data)"),
        (equivalence(NET), "Proofs, one for each layer: write for proof in equivalence(network)"),
        (engine_equivalence(NET), "Proofs, one for each step: write for proof in engine_equivalence(network)"),
        (NET.graph, "LayerGraph with 3 nodes and 2 edges"),
        (layer_graph(NET), "ConnectionGraph with 3 nodes and 2 edges"),
        (unit_graph(NET, "dense1[0]"), "ConnectionGraph with 9 nodes and 8 edges"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_shows_its_address(value, shown):
    assert repr(value) == shown


def test_what_says_what_it_is_still_works():
    *_, last = train(NET, DATA, epochs=2)
    assert last.number == 2
    assert evaluate(last.network, DATA)["loss"] > 0
    begun = train(NET, DATA, epochs=2)
    next(begun)
    begun.close()
    assert list(begun) == []
    assert all(proof.ok for proof in equivalence(NET))
    assert nx.is_directed_acyclic_graph(NET.graph)
    assert nx.DiGraph(layer_graph(NET)).number_of_edges() == 2
