"""A first lesson as a notebook: what its cells show is a picture, a table or a line of text, and never an address."""

import re

import pytest

LESSON = [  # a cell, and what it shows
    (
        "from simulator import Catalog, Conv, Network, explore, train\n"
        "from simulator.describe import describe\n"
        "from simulator.draw import draw_kernel, draw_matrix\n"
        "from simulator.equivalence import equivalence\n"
        "from simulator.lab import incoming, layer_graph",
        None,
    ),
    ("Catalog()", "text/plain"),
    ("net = Catalog().build('mlp', (1, 8, 8), 2, rng=0)\nnet", "text/html"),
    ("describe(net)", "text/html"),
    (
        "small = Network.sequential((1, 6), [Conv(1, kernel=3, padding=1)], rng=0)\nsmall.node('conv1').matrix",
        "text/html",
    ),
    ("small.node('conv1').pattern", "text/plain"),
    ("draw_matrix(small, 'conv1')", "image/png"),
    ("data = Catalog().load_data('xo', (1, 8, 8))\ndata", "text/plain"),
    ("trace = net.run(data.inputs[:10])\ntrace", "text/html"),
    ("train(net, data, epochs=2)", "text/plain"),
    ("for epoch in train(net, data, epochs=2):\n    print(epoch.number, epoch.loss)", "stream"),
    ("epoch", "text/plain"),
    ("equivalence(net)", "text/plain"),
    ("all(proof.ok for proof in equivalence(small))", "text/plain"),
    ("incoming(net, 'dense2[0]', data.inputs[0])", "text/plain"),
    ("layer_graph(net)", "text/plain"),
    ("draw_kernel(small, 'conv1')", "image/png"),
    ("explore(net, data, samples=3)", "text/html"),
    (
        "import sys\n!{sys.executable} -m simulator train mlp --data xo --input 1x8x8 --epochs 2 --no-proof",
        "stream",
    ),
]


@pytest.mark.filterwarnings("default")  # of the notebook's own machinery
def test_a_first_lesson():
    reason = "the notebook of a first lesson needs nbclient, nbformat and ipykernel"
    nbformat = pytest.importorskip("nbformat", reason=reason)
    nbclient = pytest.importorskip("nbclient", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code, _ in LESSON])
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    for cell, (code, kind) in zip(book.cells, LESSON, strict=True):
        shown = [output for output in cell.outputs if output.get("name") != "stderr"]
        text = "".join(output.get("text", "") for output in cell.outputs)
        if kind == "stream":
            assert text, code
        elif kind is not None:
            (output,) = shown
            assert output.output_type == "execute_result", (code, output)
            assert kind in output.data, code
            text = output.data["text/plain"] + output.data.get("text/html", "")
        assert not re.search(r"\bat 0x[0-9a-f]+|Traceback", text), (code, text)
        assert "\\x1b" not in text
    told = "".join(output.get("text", "") for output in book.cells[-1].outputs)
    assert "epoch 2/2" in told  # progress
    assert "After 2 epochs" in told
