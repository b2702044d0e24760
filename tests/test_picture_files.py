"""Pictures in files, for those who train and those who predict: the same pixels for the same picture."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from simulator import FileError, NotInstalledError
from simulator.data import fingerprints_of
from simulator.pictures import is_picture, read_picture

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)
COLOURED = RNG.integers(0, 256, (5, 7, 3), np.uint8)


def read(path, picture):
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path)
    return read_picture(path, "mine")


@pytest.mark.parametrize("array", [GREY, COLOURED, np.stack([GREY] * 3, axis=-1)])
def test_pixels_are_those_of_the_file(tmp_path, array):
    picture = read(tmp_path / "a.png", array)
    expected = array[None] if array is GREY else np.moveaxis(array, -1, 0)
    expected = expected[:1] if array is not COLOURED else expected
    assert np.array_equal(picture.pixels, expected)
    assert picture.notes == ()
    assert picture.fingerprint == fingerprints_of(expected[None].astype(np.float32) / np.float32(255))[0]


def test_brought_to_a_shape(tmp_path):
    picture = read(tmp_path / "a.png", COLOURED)
    assert np.array_equal(picture.brought_to((3, 5, 7)), np.moveaxis(COLOURED, -1, 0))
    np.testing.assert_allclose(picture.brought_to((1, 5, 7))[0], COLOURED @ [0.299, 0.587, 0.114], rtol=0, atol=0.6)
    assert picture.brought_to((1, 2, 3)).shape == (1, 2, 3)
    deep = read(tmp_path / "b.png", GREY.astype(np.uint16) * 257)
    assert np.array_equal(deep.brought_to((3, 5, 7)), np.stack([GREY] * 3).astype(np.float32))
    assert deep.notes == ("16 bits per channel, divided by 65535",)


def test_what_is_transparent_is_white(tmp_path):
    alpha = Image.fromarray(GREY)
    picture = read(tmp_path / "a.png", Image.merge("LA", [Image.new("L", alpha.size), alpha]))
    np.testing.assert_allclose(picture.pixels[0], 255.0 - GREY, rtol=0, atol=1)
    assert picture.notes == ("transparent pixels became white",)


def test_names_of_pictures(tmp_path):
    for name in ("a.png", "b.JPG", "c.jfif", "d.txt"):
        (tmp_path / name).touch()
    (tmp_path / "e.png").mkdir()
    assert sorted(path.name for path in tmp_path.iterdir() if is_picture(path)) == ["a.png", "b.JPG", "c.jfif"]


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(FileError, match=r"mine .*a.png: expected a picture that Pillow can read, got .*; replace or"):
        read_picture(tmp_path / "a.png", "mine")


def test_pillow_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(NotInstalledError, match="mine: expected Pillow, which reads pictures, got none; pip install p"):
        read_picture(tmp_path / "a.png", "mine")
