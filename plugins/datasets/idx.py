"""MNIST and its siblings in their own format: a folder with IDX files, packed with gzip or not."""

from __future__ import annotations

import gzip
import math
import re
import zlib

import numpy as np

from simulator import FileError, hookimpl
from simulator.errors import brief
from simulator.reading import dataset

# train-images-idx3-ubyte as published, train-images.idx3-ubyte as some programs unpack it, emnist-letters-test-...
_NAME = re.compile(
    r"(?P<set>.*?)(?:(?P<part>train|t10k|test)[-_.])?(?P<kind>images|labels)[-_.]idx(?P<axes>\d)(?:[-_.]\w+?)?(?:\.gz)?",
    re.IGNORECASE,
)
_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_ALWAYS_FINE = 2**28  # bytes that a packed file of any size may unpack to
_MOST_PACKED = 100  # beyond that: bytes for each byte of the file


def idx(path):
    """MNIST, Fashion-MNIST, KMNIST, EMNIST or your own in that format, grey from 0 to 1.

    Parameters
    ----------
    path : pathlib.Path
        A folder with train-images-idx3-ubyte and train-labels-idx1-ubyte, and t10k-images-idx3-ubyte and
        t10k-labels-idx1-ubyte, or the same with test, for the test data, which may be missing. Each may end in .gz and
        have the name of the data set in front. Of a folder with several data sets, any file of one of them.

    Returns
    -------
    Dataset
        Inputs (n, 1, height, width) in float32; labels named "0", "1", ... up to the largest.

    Raises
    ------
    FileError
        If a file is missing, has the wrong length, or does not fit the others.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998, where the format is described.
    """
    folder, found = _files(path)
    test = next((part for part in ("t10k", "test") if part in found), None)
    parts = [_part(folder, found, part) for part in ("train", *([test] if test else []))]
    sizes = [images.shape[1:] for images, _ in parts]
    if len(set(sizes)) > 1:
        raise FileError(
            f"data idx {path}: expected test pictures of {sizes[0]} like those to train on, got {sizes[1]}; take both "
            "from one data set"
        )
    inputs, targets = zip(*parts, strict=True)
    return dataset(f"data idx {path}", inputs, targets)


def _files(path):
    """The folder, and by part and kind the files of the one data set in it that is meant."""
    folder = path if path.is_dir() else path.parent
    sets: dict = {}
    for file in sorted(folder.iterdir()):  # unpacked files come first
        told = _NAME.fullmatch(file.name) if file.is_file() else None
        if told:
            part = (told["part"] or "train").lower()
            sets.setdefault(told["set"], {}).setdefault(part, {}).setdefault(told["kind"].lower(), file)
    if not path.is_dir():
        told = _NAME.fullmatch(path.name)
        if told is None:
            raise FileError(
                f"data idx {path}: expected a name such as train-images-idx3-ubyte, got another; rename it, and its "
                "labels to train-labels-idx1-ubyte"
            )
        return folder, sets[told["set"]]
    if len(sets) > 1:
        one = [next(iter(next(iter(parts.values())).values())).name for parts in sets.values()]
        raise FileError(
            f"data idx {path}: expected one data set, got {len(sets)}; choose by a file: idx:{folder / one[0]}, or "
            f"idx:{folder / one[1]}"
        )
    return folder, next(iter(sets.values()), {})


def _part(folder, found, part):
    """Pictures (n, height, width) and labels (n,) of one part, "train", "t10k" or "test"."""
    images, labels = (_array(folder, found, part, kind) for kind in ("images", "labels"))
    if len(images) != len(labels):
        raise FileError(
            f"data idx {folder}: expected as many {part} labels as pictures, got {len(labels)} and {len(images)}; take "
            "both from one data set"
        )
    return images, labels


def _array(folder, found, part, kind):
    """What one IDX file holds: four bytes 0, 0, type, axes; then each size as a big-endian uint32; then the numbers."""
    file = found.get(part, {}).get(kind)
    if file is None:
        near = next(iter(found.get(part, {}).values()), None)
        front = "" if near is None else _NAME.fullmatch(near.name)["set"]
        name = f"{front}{part}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
        raise FileError(
            f"data idx {folder}: expected {name} or {name}.gz in this folder, got no such file; download it, or rename "
            "yours"
        )
    who = f"data idx {file}"
    try:
        length = file.stat().st_size
        with file.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"  # not by its name: some browsers unpack without renaming
            raw.seek(0)
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            start = stream.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES:
                raise FileError(
                    f"{who}: expected an IDX file, which starts with 0000, a type and the number of axes, got "
                    f"{start.hex() or 'an empty file'}; download it again"
                )
            axes, dtype = start[3], np.dtype(_TYPES[start[2]])
            if axes not in ((3, 4) if kind == "images" else (1, 2)):
                wanted = "3 axes, or 4 for colours" if kind == "images" else "1 axis"
                raise FileError(
                    f"{who}: expected {kind} with {wanted}, got {axes} in a valid file; give each file the name of "
                    "what it holds"
                )
            header = stream.read(4 * axes)
            sizes = [int.from_bytes(header[i : i + 4], "big") for i in range(0, 4 * axes, 4)]
            size = math.prod(sizes) * dtype.itemsize
            if len(header) < 4 * axes or size == 0:
                raise FileError(
                    f"{who}: expected {axes} sizes of at least 1 after the type, got {header.hex() or 'nothing'}; "
                    "download it again"
                )
            if size > (max(_ALWAYS_FINE, _MOST_PACKED * length) if packed else length):
                raise FileError(
                    f"{who}: expected a file for the {size} bytes that it promises, got only {length} bytes; "
                    "download it again"
                )
            content = stream.read(size + 1)  # one more, to see that nothing follows
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{who}: expected a file that can be read, got {brief(error)}; download it again") from error
    if len(content) != size:
        got = "more" if len(content) > size else len(content)
        raise FileError(f"{who}: expected {size} bytes after the sizes, got {got}; download it again")
    return np.frombuffer(content, dtype).reshape(sizes)


def _accepts(path):
    files = path.iterdir() if path.is_dir() else [path]
    return any(_NAME.fullmatch(file.name) and file.is_file() for file in files)


@hookimpl
def register_datasets(register):
    register("idx", idx, accepts=_accepts)
