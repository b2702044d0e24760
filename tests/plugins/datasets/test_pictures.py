"""Folders of pictures: what becomes of colours and sizes, and what is refused."""

from __future__ import annotations

import io
import sys
import zlib

import numpy as np
import pytest

from simulator import Catalog, FileError, ShapeError, SimulatorError

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)
COLOURED = RNG.integers(0, 256, (5, 7, 3), np.uint8)


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.fixture
def folder(tmp_path):
    """A function that saves pictures, given as arrays, under their names; the folder is its attribute."""

    def save(**pictures):
        for name, array in pictures.items():
            kind, _, rest = name.partition("_")
            path = tmp_path / kind / rest.replace("__", ".")
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(array).save(path)
        return str(tmp_path)

    return save
