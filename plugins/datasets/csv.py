"""Tables as text: a row for each sample, with its label and its numbers, as MNIST is often passed on."""

from __future__ import annotations

import csv as tables
import math
from itertools import islice

import numpy as np

from simulator import FileError, hookimpl
from simulator.errors import brief
from simulator.memory import check_memory
from simulator.reading import dataset

_ENDINGS = (".csv", ".tsv")
_LABELS = ("label", "labels", "class", "classes", "target", "targets", "y", "species", "digit", "category")
_NUMBERS = ("id", "index", "unnamed: 0", "")  # columns that count the rows
_LOOKED_AT = 500  # rows that tell where the labels are
_SMALLEST = 8  # pixels on a side: fewer numbers than in such a square are features


def csv(path):
    """A table (.csv or .tsv) with a label and numbers in each row, such as MNIST's: label, 784 pixels.

    Parameters
    ----------
    path : pathlib.Path
        The file, with or without names of the columns in the first line; or a folder with one file that has "train" and
        one that has "test" in its name. Between the columns are commas, semicolons or tabs.

    Returns
    -------
    Dataset
        Inputs (n, features) in float32, or (n, 1, side, side) and (n, 3, side, side) where the columns are the whole
        numbers from 0 to 255 of square pictures of at least 8 x 8; labels by name where they are text.

    Raises
    ------
    FileError
        If it is no such table, or does not say which column holds the labels.
    ShapeError
        If a column of labels holds something else, or the tables differ.

    Notes
    -----
    The labels are the column that is called label, class, target, y, species, digit or category; else the only one
    that is text; else, in a table without names, the first or the last one, whichever alone holds at least two
    different whole numbers, few for the number of rows: of square pictures the first. A column that is called id or
    index is left out.
    """
    who = f"data csv {path}"
    files = [path] if path.is_file() else _two(who, path)
    told = [_table(f"data csv {file}", file) for file in files]
    inputs, targets, left_out = zip(*told, strict=True)
    if len({array.shape[1] for array in inputs}) > 1:
        raise FileError(
            f"{who}: expected as many columns in both tables, got {' and '.join(str(a.shape[1]) for a in inputs)}; "
            "take both from one data set"
        )
    features = inputs[0].shape[1]
    notes = [f"column left out: {name}" for name in dict.fromkeys(name for names in left_out for name in names)]
    shape = next((s for c in (3, 1) if (s := _square(features, c))), None)
    if shape and all(((array >= 0) & (array <= 255) & (array == np.rint(array))).all() for array in inputs):
        inputs = [array.reshape(-1, *shape) for array in inputs]
        notes.append(f"{features} numbers taken as {'x'.join(map(str, shape))} pixels")
    return dataset(who, inputs, targets, notes=notes)


def _square(features, channels):
    """The shape of a square picture with so many numbers, or None."""
    side = math.isqrt(features // channels)
    return (channels, side, side) if channels * side * side == features and side >= _SMALLEST else None


def _two(who, folder):
    """The tables to train and to test on."""
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in _ENDINGS]
    train, test = ([file for file in files if part in file.stem.lower()] for part in ("train", "test"))
    if len(train) != 1 or len(test) > 1:
        raise FileError(
            f"{who}: expected one table with train in its name, and perhaps one with test, got {len(train)} and "
            f"{len(test)}; point to one file"
        )
    return [*train, *test]


def _table(who, file):
    """Numbers (n, features), labels (n,), and the names of columns that were left out."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            start = list(islice(lines, _LOOKED_AT))
        delimiter = max(",;\t", key=(start or [""])[0].count)
        rows = [[cell.strip() for cell in row] for row in tables.reader(start, delimiter=delimiter) if row]
    except (OSError, UnicodeDecodeError, tables.Error) as error:
        raise FileError(f"{who}: expected a table as text, got {brief(error)}; save it as CSV in UTF-8") from error
    if not rows or len(rows[0]) < 2:
        got = f"{len(rows[0])} column" if rows else "none"
        raise FileError(f"{who}: expected a label and numbers in each row, got {got}; write a column for each")
    named = any(not _number(name) and _number(cell) for name, cell in zip(rows[0], rows[-1], strict=False))
    names = [name.lower() for name in rows[0]] if named else []
    body = rows[1:] if names else rows
    label = _label(who, names, body)
    left_out = [k for k, name in enumerate(names) if name in _NUMBERS and k != label]
    used = [k for k in range(len(rows[0])) if k not in (label, *left_out)]
    check_memory(2 * file.stat().st_size, f"the numbers of {file.name}", "use a part of the table")
    common = {
        "delimiter": delimiter,
        "skiprows": int(bool(names)),
        "quotechar": '"',
        "encoding": "utf-8-sig",
        "comments": None,
    }
    try:
        numbers = np.loadtxt(file, np.float32, usecols=used, ndmin=2, **common)
        labels = np.loadtxt(file, str, usecols=[label], ndmin=1, **common)
    except (OSError, ValueError) as error:
        raise FileError(
            f"{who}: expected a number in every column but that of the labels, number {label + 1}, got "
            f"{brief(error)}; fill in what is missing, or leave the column out"
        ) from error
    return numbers, _typed(np.char.strip(labels)), [rows[0][k] or f"number {k + 1}" for k in left_out]


def _typed(labels):
    """Labels that are numbers as numbers."""
    if not all(map(_number, np.unique(labels).tolist())):
        return labels
    values = labels.astype(np.float64)
    return values.astype(np.int64) if (values == np.rint(values)).all() else values


def _label(who, names, rows):
    """Number of the column that holds the labels."""
    named = [k for k, name in enumerate(names) if name in _LABELS]
    if len(named) == 1:
        return named[0]
    columns = list(zip(*rows, strict=False))
    text = [k for k, column in enumerate(columns) if not all(map(_number, column))]
    if not named and len(text) == 1:
        return text[0]
    ends = [k for k in (0, len(columns) - 1) if columns and _few(columns[k])]
    if not names and ends and (len(ends) == 1 or any(_square(len(columns) - 1, channels) for channels in (1, 3))):
        return ends[0]  # of pixels it is the first, as of MNIST's
    raise FileError(
        f"{who}: expected one column of labels, got {len(named or text or ends)} that could be; name the columns in "
        "the first line, that of the labels label"
    )


def _few(column):
    """Whether a column holds labels: at least two different whole numbers, and few for so many rows."""
    if not all(cell.removesuffix(".0").isdecimal() for cell in column):
        return False
    return 2 <= len(set(column)) <= max(2, len(column) // 2)


def _number(cell):
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _accepts(path):
    if path.is_file():
        return path.suffix.lower() in _ENDINGS
    return any(file.suffix.lower() in _ENDINGS and "train" in file.stem.lower() for file in path.iterdir())


@hookimpl
def register_datasets(register):
    register("csv", csv, accepts=_accepts)
