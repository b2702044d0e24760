"""Real handwritten digits: 1,797 pictures of 8 x 8 that come with scikit-learn."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from simulator import Dataset, ShapeError, SimulatorError, hookimpl
from simulator.data import fitted


def digits(shape=None):
    """1,797 real handwritten digits of 8 x 8, in any size by interpolation, grey from 0 to 1.

    Parameters
    ----------
    shape : (1, height, width), optional
        Default: (1, 8, 8), as they are.

    References
    ----------
    E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI machine learning repository, 1998.
    """
    if shape is not None and (len(shape) != 3 or shape[0] != 1):
        raise ShapeError(
            f"data digits: expected a shape (1, height, width), got {shape}; give other data, or use --input 1x28x28"
        )
    table = _table()
    images = (table[:, :64].reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    data = Dataset(images, table[:, 64].astype(np.int64), classes=tuple("0123456789"))
    return data if shape is None else fitted(data, shape)  # of any size they are the same digits


def _table():
    """64 pixels from 0 to 16 and the label of each digit, (1797, 65), from scikit-learn's own file.

    It is read as it is because importing scikit-learn takes longer than all that the simulator does for a sample.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise SimulatorError(
            "data digits: expected scikit-learn, which brings them, got none; pip install scikit-learn"
        )
    path = Path(importlib.util.find_spec("sklearn").origin).parent / "datasets" / "data" / "digits.csv.gz"
    if path.is_file():
        with gzip.open(path, "rt") as lines:
            return np.loadtxt(lines, delimiter=",")
    from sklearn.datasets import load_digits

    return np.column_stack(load_digits(return_X_y=True))


@hookimpl
def register_datasets(register):
    register("digits", digits)
