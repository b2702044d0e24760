"""Made pictures of X and O: what the first lesson on convolutional nets tells apart."""

from __future__ import annotations

import numpy as np

from simulator import Dataset, ShapeError, hookimpl
from simulator.data import fingerprints_of

_SAMPLES = 1000
_BLOCK = 2**19  # pixels that are drawn at once


def xo(shape=None):
    """1,000 drawn X and O, half each, at random place, size, thickness and slant: ink 1 on paper 0.

    Parameters
    ----------
    shape : (1, height, width), default (1, 16, 16)
        At least 8 x 8.

    Returns
    -------
    Dataset
        Inputs (1000, 1, height, width), always the same for one shape; label 0 is an X, label 1 an O.

    Raises
    ------
    ShapeError
        If the shape has not one channel and two axes of at least 8.

    Notes
    -----
    Both letters are strokes of the same length on average: an X in a circle of radius r has strokes of 4r, an O of
    radius 2r/π as well, so that counting ink does not tell them apart. At 16 x 16 a linear classifier trained on 800 of
    them is right on about 80 % of the others, LeNet-5 on all of them after a few epochs.

    Examples
    --------
    >>> data = xo(shape=(1, 12, 20))
    >>> data.inputs.shape, data.classes, data.labels[:4].tolist()
    ((1000, 1, 12, 20), ('X', 'O'), [0, 1, 0, 1])
    """
    shape = (1, 16, 16) if shape is None else tuple(shape)
    if len(shape) != 3 or shape[0] != 1 or min(shape[1:]) < 8:
        raise ShapeError(
            f"data xo: expected a shape (1, height, width) of at least 8 x 8, got {shape}; "
            "give other data, or use --input 1x16x16"
        )
    rng = np.random.default_rng(0)
    labels = np.arange(_SAMPLES) % 2
    chance = rng.random((_SAMPLES, 5, 1, 1))
    block = max(1, _BLOCK // (shape[1] * shape[2]))
    blocks = [slice(start, start + block) for start in range(0, _SAMPLES, block)]
    inputs = np.concatenate([_letters(labels[part], shape[1:], chance[part]) for part in blocks])[:, None]
    # The last bits of a drawing differ between machines; its number and size say which one it is.
    prints = fingerprints_of(np.array([[number, *shape] for number in range(_SAMPLES)]))
    return Dataset(inputs, labels.astype(np.int64), classes=("X", "O"), fingerprints=prints)


def _letters(labels, space, chance):
    """Pictures (n, height, width), of random numbers from 0 to 1, (n, 5, 1, 1)."""
    side, label = min(space), labels[:, None, None]
    one, two, three, *places = (chance[:, k] for k in range(5))
    thickness = 1 + side / 16 * one
    slant = -0.3 + 0.6 * two
    reach = np.hypot(1, slant)  # how much wider than its radius a slanted letter can be
    room = (side - 1 - thickness) / 2 / reach
    least = np.maximum(1.7, 0.5 * room)
    radius = (least + (0.75 * room - least) * three) * np.where(label, 2 / np.pi, 1)
    margin = radius * reach + thickness / 2
    row, column = (margin + (n - 1 - 2 * margin) * place for n, place in zip(space, places, strict=True))
    rows, columns = np.ogrid[: space[0], : space[1]]
    v = (rows - row) / radius  # the letter's own frame, in which it fills the unit circle
    u = (columns - column) / radius - slant * v
    # In absolute values both strokes of an X are one, from the centre to (1, 1)/√2.
    along = np.minimum((np.abs(u) + np.abs(v)) / 2, np.sqrt(0.5))
    distance = np.where(label, np.abs(np.hypot(u, v) - 1), np.hypot(np.abs(u) - along, np.abs(v) - along))
    return np.clip(0.5 + thickness / 2 - radius * distance, 0, 1).astype(np.float32)


@hookimpl
def register_datasets(register):
    register("xo", xo)
