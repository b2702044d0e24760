"""The bundled handwritten digits, against scikit-learn itself."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from simulator import Catalog, ShapeError, SimulatorError

sklearn_datasets = pytest.importorskip("sklearn.datasets")


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def test_they_are_those_of_scikit_learn(catalog):
    data, bunch = catalog.load_data("digits"), sklearn_datasets.load_digits()
    assert data.inputs.shape == (1797, 1, 8, 8)
    assert (data.inputs.dtype, data.labels.dtype) == (np.float32, np.int64)
    assert np.array_equal(data.inputs[:, 0] * 16, bunch.images)
    assert np.array_equal(data.labels, bunch.target)
    assert data.classes == tuple("0123456789")
    assert data.test is None


def test_they_are_the_same_where_scikit_learn_keeps_them_elsewhere(catalog, monkeypatch):
    data = catalog.load_data("digits")
    monkeypatch.setattr("pathlib.Path.is_file", lambda path: False)
    other = catalog.load_data("digits")
    assert np.array_equal(other.inputs, data.inputs)
    assert np.array_equal(other.labels, data.labels)


def test_they_come_in_any_size(catalog):
    data = catalog.load_data("digits", (1, 16, 24))
    assert data.inputs.shape == (1797, 1, 16, 24)
    assert data.inputs.dtype == np.float32
    # The first site of a larger picture lies before the middle of the first one of the old, and repeats it.
    assert np.array_equal(data.inputs[:, 0, 0, 0], catalog.load_data("digits").inputs[:, 0, 0, 0])


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8), (8,)])
def test_they_are_grey_pictures(catalog, shape):
    with pytest.raises(
        ShapeError,
        match=r"data digits: expected a shape \(1, height, width\), got .*; give other data, or use --input 1x28x28",
    ):
        catalog.load_data("digits", shape)


def test_scikit_learn_is_asked_for_where_it_is_missing(catalog, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(SimulatorError, match=r"expected scikit-learn, .*; pip install scikit-learn"):
        catalog.load_data("digits")
