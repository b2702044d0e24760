"""What was done to samples: told, measured, and kept in plain values."""

from __future__ import annotations

import json

import numpy as np
import pytest

from simulator import Catalog
from simulator.preparation import Preparation, background_of, drawing_of

DONE = Preparation(("divided by 255", "resized from 8x6 to 28x28"), 255.0, (8, 6), 0.0, 0.996, "dark", (0.5, 0.75, 0.6))


@pytest.mark.parametrize("done", [Preparation(), DONE])
def test_plain_values_come_back(done):
    assert Preparation.restored(json.loads(json.dumps(done.plain()))) == done


@pytest.mark.parametrize(
    "change",
    [
        {"notes": "text"},
        {"notes": [1]},
        {"divisor": 0},
        {"divisor": -1.0},
        {"divisor": "255"},
        {"divisor": True},
        {"size": 8},
        {"size": [8, 0]},
        {"size": [8, 10**9]},
        {"size": [8.0, 8]},
        {"low": float("nan")},
        {"high": float("inf")},
        {"high": [1]},
        {"background": "red"},
        {"background": []},
        {"extent": 3},
        {"extent": [0.5, 0.5]},
        {"extent": [0.5, 0.5, 2.0]},
        {"extent": [0, 0.5, 0.5]},
    ],
)
def test_other_values_are_refused(change):
    with pytest.raises((ValueError, TypeError)):
        Preparation.restored({**DONE.plain(), **change})


@pytest.mark.parametrize("plain", [None, [], "x", {}, {"notes": []}])
def test_what_is_incomplete_is_refused(plain):
    with pytest.raises((KeyError, TypeError)):
        Preparation.restored(plain)


@pytest.mark.parametrize(("source", "shape"), [("digits", None), ("digits", (1, 28, 28)), ("xo", None)])
def test_bundled_drawings_are_light_on_dark(source, shape):
    if source == "digits":
        pytest.importorskip("sklearn")
    data = Catalog().load_data(source, shape)
    done = data.preparation.measured(data.inputs)
    assert (done.low, done.background) == (0.0, "dark")
    assert 0.9 < done.high <= 1
    assert data.preparation.measured(1 - data.inputs).background == "light"
    assert data.preparation.measured(data.inputs * 40 - 7).background == "dark"


def test_photographs_have_no_plain_background():
    noise = np.random.default_rng(0).random((50, 3, 16, 16))
    assert Preparation().measured(noise).background is None
    half = noise.copy()
    half[:25] = 0.1
    half[:25, :, 5:9, 5:9] = 1
    assert Preparation().measured(half).background is None  # some of them only
    assert Preparation().measured(np.zeros((3, 1, 8, 8))).background is None
    assert Preparation().measured(np.zeros((3, 8))).background is None


def test_ink_that_touches_the_border_is_no_background():
    image = np.zeros((8, 8))
    image[:, 3:5] = 1
    assert background_of(image) == "dark"
    assert background_of(1 - image) == "light"


def test_how_large_drawings_are():
    drawings = np.ones((100, 1, 10, 20))
    drawings[:, 0, 2:8, 5:9] = 0  # 6 of 10 rows, 4 of 20 columns
    drawings[:10, 0, 2:5] = 1  # a few are half as high
    done = Preparation().measured(drawings)
    assert (done.background, done.extent) == ("light", pytest.approx((0.3, 0.6, 0.2)))
    assert Preparation().measured(np.random.default_rng(0).random((50, 1, 16, 16))).extent is None
    assert drawing_of(drawings[50, 0]) == drawing_of(5 - 3 * drawings[50, 0]) == (2, 8, 5, 9)


def test_pictures_from_0_to_1_in_the_range_of_the_data():
    picture = np.array([0.0, 0.5, 1.0], np.float32)
    assert Preparation(low=-1.0, high=3.0).from_unit(picture).tolist() == [-1, 1, 3]
    assert Preparation(low=-1.0, high=3.0).range_told == ("scaled from 0 to 1 to -1 to 3",)
    for done in (Preparation(), DONE, Preparation(low=2.0, high=2.0)):
        assert done.from_unit(picture) is picture
        assert done.range_told == ()
