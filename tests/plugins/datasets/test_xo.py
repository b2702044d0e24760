"""Drawn X and O: what is on the pictures, and that a convolutional net tells them apart where a linear one does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from simulator import SGD, Catalog, Conv, Dense, MaxPool, Network, ReLU, ShapeError, train


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.fixture(scope="module")
def data(catalog):
    return catalog.load_data("xo")


def test_what_it_gives(data):
    assert data.inputs.shape == (1000, 1, 16, 16)
    assert (data.inputs.dtype, data.labels.dtype) == (np.float32, np.int64)
    assert np.bincount(data.labels).tolist() == [500, 500]
    assert data.classes == ("X", "O")
    assert data.inputs.min() == 0
    assert data.inputs.max() == 1


def test_it_is_the_same_each_time(catalog, data):
    assert np.array_equal(catalog.load_data("xo", (1, 16, 16)).inputs, data.inputs)


def holes(picture):
    """Connected regions of paper beside the one around the letter."""
    return ndimage.label(np.pad(picture, 1) < 0.5)[1] - 1


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 12, 20), (1, 28, 28)])
def test_an_o_has_one_hole_and_an_x_has_none(catalog, shape):
    data = catalog.load_data("xo", shape)
    assert data.shape == shape
    count = np.array([holes(picture) for picture in data.inputs[:, 0]])
    assert (count[data.labels == 1] == 1).all()
    assert (count[data.labels == 0] == 0).all()


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 16, 16), (1, 9, 30)])
def test_every_letter_is_whole_and_they_stand_everywhere(catalog, shape):
    inputs = catalog.load_data("xo", shape).inputs
    border = np.ones(shape, bool)
    border[:, 1:-1, 1:-1] = False
    outermost = np.where(border, inputs, 0).max(axis=(1, 2, 3))
    assert outermost.max() < 1  # no stroke runs along the border or beyond it
    assert (inputs.max(axis=0) > 0.5)[0, 2:-2, 2:-2].all()


def test_place_size_and_slant_differ(data):
    ink = data.inputs[:, 0].astype(np.float64)
    total = ink.sum(axis=(1, 2))
    away = []  # of each site from the middle of the ink, down and to the right
    for positions in np.indices((16, 16)):
        middle = (ink * positions).sum(axis=(1, 2)) / total
        assert middle.min() < 5.5
        assert middle.max() > 9.5
        away.append(positions - middle[:, None, None])
    down, right = away
    slant = (ink * down * right).sum(axis=(1, 2)) / (ink * down**2).sum(axis=(1, 2))
    for label in (0, 1):
        assert total[data.labels == label].max() > 2.5 * total[data.labels == label].min()
        assert 0.25 < slant[data.labels == label].max() < 0.35
        assert -0.35 < slant[data.labels == label].min() < -0.25


def test_counting_ink_tells_nothing(data):
    ink = data.inputs.sum(axis=(1, 2, 3))
    best = max(np.mean((ink > limit) == (data.labels == label)) for limit in ink for label in (0, 1))
    assert best < 0.6


def test_a_convolutional_net_learns_them_and_a_linear_one_does_not(data):
    learn, held_out = data.split(0.2, rng=0)
    convolutional = [Conv(8, kernel=3), ReLU(), MaxPool(2), Conv(16, kernel=3, padding=1), ReLU(), MaxPool(7), Dense(2)]
    accuracy = {}
    for layers, epochs in ((convolutional, 2), ([Dense(2)], 20)):
        network = Network.sequential(data.shape, layers, rng=0)
        *_, epoch = train(network, learn, epochs=epochs, batch_size=32, optimizer=SGD(0.1), validation=held_out)
        accuracy[len(layers)] = epoch.validation["accuracy"]
    assert accuracy[7] >= 0.99
    assert 0.75 <= accuracy[1] <= 0.85


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 16), (1, 7, 16), (1, 16, 7)])
def test_smallest_shape(catalog, shape):
    with pytest.raises(
        ShapeError,
        match=r"data xo: expected a shape \(1, height, width\) of at least 8 x 8, got .*; give other data, or use",
    ):
        catalog.load_data("xo", shape)
