"""What people see who type a name in a console or a notebook: one short line, never an address or an array."""

import numpy as np
import pytest

from simulator import Catalog, Conv, Dataset, Dense, Network, Workspace, load, save
from simulator.draw import draw_kernel

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
