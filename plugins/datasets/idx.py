"""MNIST and its siblings in their own format: a folder with IDX files, packed with gzip or not."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import replace

import numpy as np

from simulator import Dataset, FileError, hookimpl
from simulator.errors import brief

_MARKS = ("-", ".")  # train-images-idx3-ubyte as published, train-images.idx3-ubyte as some programs unpack it
_ALWAYS_FINE = 2**28  # bytes that a packed file of any size may unpack to
_MOST_PACKED = 100  # beyond that: bytes for each byte of the file


def idx(path):
    """MNIST, Fashion-MNIST, KMNIST or your own in that format, grey from 0 to 1.

    Parameters
    ----------
    path : pathlib.Path
        A folder with train-images-idx3-ubyte and train-labels-idx1-ubyte, and t10k-images-idx3-ubyte and
        t10k-labels-idx1-ubyte for the test data, which may be missing. Each may end in .gz.

    Returns
    -------
    Dataset
        Inputs (n, 1, height, width) in float32; labels named "0", "1", ... up to the largest.

    Raises
    ------
    FileError
        If a file is missing, has the wrong type or length, or does not fit the others.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998, where the format is described.
    """
    names = ["train"]
    if any(_found(path, f"t10k-{kind}", axes) for kind, axes in (("images", 3), ("labels", 1))):
        names.append("t10k")
    parts = [_part(path, name) for name in names]
    sizes = [inputs.shape[2:] for inputs, _ in parts]
    if len(set(sizes)) > 1:
        raise FileError(
            f"data idx {path}: expected test pictures of {sizes[0]} like those to train on, got {sizes[1]}; take both "
            "from one data set"
        )
    classes = tuple(map(str, range(max(labels.max() for _, labels in parts) + 1)))
    data, *test = (Dataset(inputs, labels, classes) for inputs, labels in parts)
    return replace(data, test=test[0]) if test else data


def _part(path, part):
    """Inputs (n, 1, height, width) and labels (n,) of one part, "train" or "t10k"."""
    images, labels = _array(path, f"{part}-images", 3), _array(path, f"{part}-labels", 1)
    if len(images) != len(labels):
        raise FileError(
            f"data idx {path}: expected as many {part} labels as pictures, got {len(labels)} and {len(images)}; take "
            "both from one data set"
        )
    inputs = images[:, None].astype(np.float32)
    inputs /= 255
    return inputs, labels.astype(np.int64)


def _found(path, name, axes):
    """The file of this name in one of its spellings, or None."""
    spellings = (f"{name}{mark}idx{axes}-ubyte{end}" for end in ("", ".gz") for mark in _MARKS)
    return next((path / spelling for spelling in spellings if (path / spelling).is_file()), None)


def _array(path, name, axes):
    """What one IDX file holds: four bytes 0, 0, type, axes; then each size as a big-endian uint32; then the numbers."""
    file = _found(path, name, axes)
    if file is None:
        raise FileError(
            f"data idx {path}: expected {name}-idx{axes}-ubyte or {name}-idx{axes}-ubyte.gz in this folder, got no "
            "such file; download it, or rename yours"
        )
    who, magic = f"data idx {file}", bytes([0, 0, 8, axes])
    try:
        length = file.stat().st_size
        with file.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"  # not by its name: some browsers unpack without renaming
            raw.seek(0)
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            header = stream.read(4 + 4 * axes)
            sizes = [int.from_bytes(header[i : i + 4], "big") for i in range(4, 4 + 4 * axes, 4)]
            size = math.prod(sizes)
            if header[:4] != magic or size == 0:
                raise FileError(
                    f"{who}: expected {magic.hex()} and {axes} sizes of at least 1 at the start, got "
                    f"{header.hex() or 'an empty file'}; download it again"
                )
            if size > (max(_ALWAYS_FINE, _MOST_PACKED * length) if packed else length):
                raise FileError(
                    f"{who}: expected a file for the {size} numbers that it promises, got only {length} bytes; "
                    "download it again"
                )
            content = stream.read(size + 1)  # one more, to see that nothing follows
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{who}: expected a file that can be read, got {brief(error)}; download it again") from error
    if len(content) != size:
        got = "more" if len(content) > size else len(content)
        raise FileError(f"{who}: expected {size} numbers after the sizes, got {got}; download it again")
    return np.frombuffer(content, np.uint8).reshape(sizes)


def _accepts(path):
    return path.is_dir() and any(
        file.name.endswith(("ubyte", "ubyte.gz")) and file.is_file() for file in path.iterdir()
    )


@hookimpl
def register_datasets(register):
    register("idx", idx, accepts=_accepts)
