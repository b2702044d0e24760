"""What readers of arrays share: samples and labels in whatever layout people keep them become a `Dataset`.

Nothing is changed without being told: what was done is in the data set's `preparation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simulator.data import Dataset
from simulator.errors import ShapeError, brief
from simulator.preparation import Preparation, channels_first, divisor_of

__all__ = ["dataset", "role_of"]

_INPUTS = ("inputs", "x", "images", "pictures", "data", "samples", "features")
_TARGETS = ("targets", "y", "labels", "target", "label")
_PARTS = ("train", "test")
_MOST_CLASSES = 2**16
_SMALLEST = 8  # pixels on a side: fewer numbers than in such a square are features


def role_of(name: str) -> tuple[str, bool] | None:
    """What an array or a file is by its name: its part, "train" or "test", and whether it holds the inputs.

    Examples
    --------
    >>> role_of("X_train"), role_of("test_labels"), role_of("images"), role_of("notes")
    (('train', True), ('test', False), ('train', True), None)
    """
    words = name.lower().replace("-", "_").split("_")
    part = next((part for part in _PARTS if part in words), None)
    rest = "_".join(word for word in words if word != part)
    if rest not in (*_INPUTS, *_TARGETS):
        return None
    return part or "train", rest in _INPUTS


def dataset(
    who: str,
    inputs: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    classes: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Dataset:
    """A data set of arrays in any usual layout.

    Parameters
    ----------
    who : str
        Names the source in errors.
    inputs : sequence of numpy.ndarray, (n, ...)
        The samples to train on and, if there are any, those to test on: (n, features), (n, height, width),
        (n, channels, height, width), (n, height, width, channels) or (n, channels, depth, height, width).
    targets : sequence of numpy.ndarray
        As many. Labels as integers, bools, names or whole floats, (n,) or (n, 1), or one-hot (n, classes); any other
        floats (n, ...) are values.
    classes : sequence of str, optional
        Names of the labels, or of the columns of one-hot ones.
    notes : sequence of str, optional
        What was done to them already.

    Returns
    -------
    Dataset
        Inputs (n, channels, *space) in float32, labels (n,) in int64 or values in float32. Without `classes` names are
        sorted, numbers by value; other labels are named "0", "1", ...

    Raises
    ------
    ShapeError
        If arrays are of another kind, or those to test on are not like those to train on.

    Notes
    -----
    Numbers of uint8 are divided by 255. Of other pictures the largest number decides, see
    `simulator.preparation.divisor_of`; features are divided likewise where they are whole numbers and as many as a
    square picture of at least 8 x 8 has pixels. A last axis of 1, 3 or 4 after longer ones holds the channels.

    Examples
    --------
    >>> data = dataset("mine", [np.full((4, 9, 9, 3), 255)], [np.array(["o", "x", "x", "o"])])
    >>> data.shape, data.classes, data.labels.tolist(), data.inputs.max(), data.preparation.told
    ((3, 9, 9), ('o', 'x'), [0, 1, 1, 0], np.float32(1.0), 'channels moved to the front; divided by 255')
    """
    for array in inputs:
        if array.dtype.kind not in "buif" or not 2 <= array.ndim <= 5:
            raise ShapeError(
                f"{who}, inputs: expected numbers (n, features), (n, height, width) or (n, channels, *space), got "
                f"{array.dtype} {array.shape}; reshape or convert them"
            )
    kinds = [f"{array.dtype} {array.shape[1:]}" for array in inputs]
    if len(set(kinds)) > 1:
        raise ShapeError(
            f"{who}: expected test inputs like those to train on, {kinds[0]}, got {kinds[1]}; save both alike"
        )
    samples, done = _samples(inputs, Preparation(tuple(notes)))
    found, names, note = _labels(who, targets, tuple(classes))
    done = done.then(note) if note else done
    data, *test = (Dataset(x, y, names, preparation=done) for x, y in zip(samples, found, strict=True))
    return replace(data, test=test[0]) if test else data


def _samples(arrays: Sequence[np.ndarray], done: Preparation) -> tuple[list[np.ndarray], Preparation]:
    """(n, channels, *space) in float32, and what was done."""
    if arrays[0].ndim > 3 and not channels_first(arrays[0].shape[1:]):
        arrays, done = [np.moveaxis(array, -1, 1) for array in arrays], done.then("channels moved to the front")
    divisor = 255.0
    if arrays[0].dtype != np.uint8:
        divisor = divisor_of(arrays) if arrays[0].ndim > 2 or _pixels(arrays) else 1.0
        done = replace(done, divisor=divisor)
        if divisor != 1:
            done = done.then(f"divided by {divisor:.0f}")
    with np.errstate(over="ignore"):  # what becomes infinite is reported by Dataset
        found = [np.array(array, np.float32, order="C") for array in arrays]
    if divisor != 1:
        for array in found:
            array /= np.float32(divisor)
    return [array[:, None] if array.ndim == 3 else array for array in found], done


def _pixels(arrays: Sequence[np.ndarray]) -> bool:
    """Whether features look like the pixels of square pictures: as many, and whole numbers."""
    features = arrays[0].shape[1]
    square = any(
        channels * math.isqrt(features // channels) ** 2 == features and features >= channels * _SMALLEST**2
        for channels in (1, 3)
    )
    return square and all(array.dtype.kind in "ui" or bool((array == np.rint(array)).all()) for array in arrays)


def _labels(
    who: str, arrays: Sequence[np.ndarray], classes: tuple[str, ...]
) -> tuple[list[np.ndarray], tuple[str, ...], str]:
    """Labels (n,) in int64 or values (n, ...) in float32, the names of the classes, and what was done."""
    if all(array.ndim == 2 and array.shape[1] == 1 for array in arrays):
        arrays = [array[:, 0] for array in arrays]
    one = all(array.ndim == 1 for array in arrays)
    if one and all(array.dtype.kind in "US" for array in arrays):
        return _of_names(who, [np.char.decode(a) if a.dtype.kind == "S" else a for a in arrays], classes)
    if all(_one_hot(array) for array in arrays) and len({array.shape[1] for array in arrays}) == 1:
        columns = arrays[0].shape[1]
        names = classes or tuple(map(str, range(columns)))
        return [array.argmax(axis=1) for array in arrays], names, f"one-hot targets of {columns} columns read as labels"
    if one and all(array.dtype.kind == "b" for array in arrays):
        return [array.astype(np.int64) for array in arrays], classes or ("False", "True"), ""
    if one and all(array.dtype.kind in "iu" for array in arrays):
        found = [array.astype(np.int64) for array in arrays]
        return found, classes or _numbers(who, found), ""
    if all(array.dtype.kind == "f" and array.ndim > 0 for array in arrays):
        if one and all(_whole(array) for array in arrays):
            found = [array.astype(np.int64) for array in arrays]
            return found, classes or _numbers(who, found), "whole floats read as labels"
        with np.errstate(over="ignore"):
            return [array.astype(np.float32) for array in arrays], (), ""
    odd = next((array for array in arrays if array.dtype.kind not in "iufb" or array.ndim != 1), arrays[0])
    raise ShapeError(
        f"{who}, targets: expected labels (n,) or one-hot (n, classes), or real values (n, ...), got {odd.dtype} "
        f"{odd.shape}; save one integer from 0 on for each sample"
    )


def _whole(array: np.ndarray) -> bool:
    return bool(len(array) and ((array >= 0) & (array < _MOST_CLASSES) & (array == np.rint(array))).all())


def _one_hot(array: np.ndarray) -> bool:
    """Whether each row (n, classes) has a one and zeros."""
    if array.dtype.kind not in "buif" or array.ndim != 2 or array.shape[1] < 2 or not len(array):
        return False
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all())


def _of_names(
    who: str, arrays: Sequence[np.ndarray], classes: tuple[str, ...]
) -> tuple[list[np.ndarray], tuple[str, ...], str]:
    """Labels that are names."""
    names = np.unique(np.concatenate(arrays))
    if all(name.isdecimal() for name in names.tolist()):
        names = names[np.argsort(names.astype(float), kind="stable")]
    known = classes or tuple(names.tolist())
    strangers = [name for name in names.tolist() if name not in known]
    if strangers:
        raise ShapeError(
            f"{who}, targets: expected names of the classes, got {brief(strangers[0])}; add it to classes, or leave "
            "classes out"
        )
    number = {name: label for label, name in enumerate(known)}
    return [np.array([number[name] for name in array.tolist()], np.int64) for array in arrays], known, ""


def _numbers(who: str, arrays: Sequence[np.ndarray]) -> tuple[str, ...]:
    """Names of labels that are numbers."""
    largest = max(int(labels.max(initial=0)) for labels in arrays)
    if largest >= _MOST_CLASSES:
        raise ShapeError(
            f"{who}, targets: expected labels from 0 to {_MOST_CLASSES - 1}, got {largest}; number the classes from 0, "
            "for example with numpy.unique(labels, return_inverse=True)"
        )
    return tuple(map(str, range(largest + 1)))
