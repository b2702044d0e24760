"""What an error of a data set says to do is done here, and the data load."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from simulator import Catalog, SimulatorError

CATALOG = Catalog()
INPUTS, LABELS = np.random.default_rng(0).random((6, 1, 8, 8)), np.arange(6) % 2


def npz(path, **arrays):
    np.savez(path / "data.npz", **arrays)
    return CATALOG.load_data(str(path / "data.npz"))


def alike(path, save, monkeypatch):
    """Zeros, which pack well, where a small file is no exception."""
    monkeypatch.setattr("simulator_plugins.datasets.npz._ALWAYS_FINE", 0)
    save(path / "data.npz", inputs=np.zeros((100, 1000)), targets=np.zeros(100, int))
    return CATALOG.load_data(str(path / "data.npz"))


def idx(path, *names):
    for name in names:
        images = name.endswith("idx3-ubyte")
        head = struct.pack(">iiii", 2051, 4, 3, 3) if images else struct.pack(">ii", 2049, 4)
        (path / name).write_bytes(head + bytes(range(36) if images else [0, 1, 0, 1]))
    return CATALOG.load_data(f"idx:{path}")


def pictures(path, *sizes, shape=None, folder="a"):
    image = pytest.importorskip("PIL.Image")
    for label, size in zip((folder, "b"), sizes, strict=True):
        (path / label).mkdir(exist_ok=True)
        image.new("L", (size, size)).save(path / label / "one.png")
    return CATALOG.load_data(f"pictures:{path}", shape)


ROWS = {
    "other names in a file": (
        lambda t: npz(t, pixels=INPUTS, numbers=LABELS),
        "the pairs inputs and targets, x and y, .* save under these names",
        lambda t: [npz(t, inputs=INPUTS, targets=LABELS), npz(t, x=INPUTS, y=LABELS)][1],
    ),
    "pickled objects": (
        lambda t: npz(t, inputs=np.array([1, None]), targets=LABELS[:2]),
        "save one array in which all samples have one shape",
        lambda t: npz(t, inputs=INPUTS, targets=LABELS),
    ),
    "one-dimensional samples": (
        lambda t: npz(t, inputs=np.zeros(6), targets=LABELS),
        "reshape or convert them",
        lambda t: npz(t, inputs=np.zeros(6).reshape(6, 1), targets=LABELS),
    ),
    "labels that are years": (
        lambda t: npz(t, inputs=INPUTS, targets=10**9 + LABELS),
        r"numpy.unique\(labels, return_inverse=True\)",
        lambda t: npz(t, inputs=INPUTS, targets=np.unique(10**9 + LABELS, return_inverse=True)[1]),
    ),
    "IDX without labels": (
        lambda t: idx(t, "train-images-idx3-ubyte"),
        "train-labels-idx1-ubyte .* in this folder, got no such file; download it, or rename yours",
        lambda t: idx(t, "train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ),
    "digits in colour": (
        lambda t: CATALOG.load_data("digits", (3, 28, 28)),
        "give other data, or use --input 1x28x28",
        lambda t: CATALOG.load_data("digits", (1, 28, 28)),
    ),
    "noughts and crosses that are too small": (
        lambda t: CATALOG.load_data("xo", (1, 4, 4)),
        "give other data, or use --input 1x16x16",
        lambda t: CATALOG.load_data("xo", (1, 16, 16)),
    ),
    "pictures of two sizes": (
        lambda t: pictures(t, 8, 9),
        "bring all to one size with, for example, --input 1x28x28",
        lambda t: CATALOG.load_data(f"pictures:{t}", (1, 28, 28)),
    ),
    "no folder for a class": (
        lambda t: CATALOG.load_data(f"pictures:{t}"),
        "make a folder for each class",
        lambda t: pictures(t, 8, 8),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_what_an_error_of_data_says_to_do_works(name, tmp_path):
    provoke, told, cure = ROWS[name]
    if name.startswith("digits"):
        pytest.importorskip("sklearn")
    with pytest.raises(SimulatorError, match=told):
        provoke(tmp_path)
    assert len(cure(tmp_path)) > 1


def test_what_is_packed_too_well_is_read_when_it_is_not_packed(tmp_path, monkeypatch):
    with pytest.raises(SimulatorError, match="if that is meant, save with numpy.savez, which does not pack"):
        alike(tmp_path, np.savez_compressed, monkeypatch)
    assert len(alike(tmp_path, np.savez, monkeypatch)) == 100
