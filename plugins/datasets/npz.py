"""The user's own arrays: one .npz file, as numpy.savez writes it."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from dataclasses import replace

import numpy as np
from numpy.lib import format as npy

from simulator import Dataset, FileError, ShapeError, hookimpl
from simulator.errors import brief

_PAIRS = (("inputs", "targets"), ("x", "y"), ("x_train", "y_train"))
_TEST = ("x_test", "y_test")
_MOST_CLASSES = 2**16
_ALWAYS_FINE = 2**28  # bytes that a file of any size may unpack to
_MOST_PACKED = 100  # beyond that: bytes for each byte of the file


def npz(path):
    """Arrays of a .npz file: ``numpy.savez("mine.npz", inputs=..., targets=..., classes=["cat", "dog"])``.

    Parameters
    ----------
    path : pathlib.Path
        The file. It holds one of the pairs "inputs" and "targets", "x" and "y", or "x_train" and "y_train". "x_test"
        and "y_test", if there, become the test data; "classes", if there, names the labels. Anything else in it is not
        read, and nothing pickled ever is.

    Returns
    -------
    Dataset
        Inputs (n, channels, *space) in float32. Labels are int64; without "classes" they are named "0", "1", ...

    Raises
    ------
    FileError
        If the file is damaged, foreign or pickled, lacks an array, or would unpack to more than 100 times its size.
    ShapeError
        If an array has the wrong axes or kind of numbers, or test and training inputs differ in them.

    Notes
    -----
    What the axes of the inputs mean depends on their number only, and axes are never swapped:

    - 2: (n, features), samples without space;
    - 3: (n, height, width), grey pictures, which get a channel axis. A 1-D signal is saved as (n, channels, 1, length);
    - 4: (n, channels, height, width). Pictures with channels last are first turned with ``x.transpose(0, 3, 1, 2)``;
    - 5: (n, channels, depth, height, width).

    Inputs of uint8 are divided by 255, all others are taken as they are. Targets are integer labels (n,), or real
    values (n, ...), which become float32.
    """
    who = f"data npz {path}"
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            pairs = _pairs(who, members)
            wanted = [*(name for pair in pairs for name in pair), *({"classes"} & members.keys())]
            arrays = {name: _array(f"{who}, {name}", archive, members[name]) for name in wanted}
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise FileError(f"{who}: expected a whole file from numpy.savez, got {brief(error)}; save it again") from error
    kinds = [f"{arrays[x].dtype} {arrays[x].shape[1:]}" for x, _ in pairs]
    if len(set(kinds)) > 1:
        raise ShapeError(
            f"{who}: expected test inputs like those to train on, {kinds[0]}, got {kinds[1]}; save both alike"
        )
    parts = [(_inputs(f"{who}, {x}", arrays[x]), _targets(f"{who}, {y}", arrays[y])) for x, y in pairs]
    classes = _classes(who, arrays.get("classes"), [targets for _, targets in parts])
    data, *test = (Dataset(inputs, targets, classes) for inputs, targets in parts)
    return replace(data, test=test[0]) if test else data


def _pairs(who, members):
    """Names of the inputs and targets: the pair to train on, and the test pair if there is one."""
    found = [pair for pair in _PAIRS if members.keys() & set(pair)]
    test = [_TEST] if members.keys() & set(_TEST) else []
    if len(found) != 1 or not all(name in members for pair in found + test for name in pair):
        raise FileError(
            f"{who}: expected one of the pairs inputs and targets, x and y, x_train and y_train, with both or neither "
            f"of x_test and y_test, got {', '.join(sorted(members)) or 'an empty file'}; save under these names"
        )
    return found + test


def _array(who, archive, member):
    """One array, after its header and its size have been looked at."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileError(f"{who}: expected an array as numpy.savez packs it, got another kind of zip; save it again")
    with archive.open(member) as file:
        header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = header(file)
        size = file.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise FileError(
            f"{who}: expected plain numbers, got pickled objects, which could run any program; save one array in which "
            "all samples have one shape"
        )
    if size != member.file_size:
        raise FileError(
            f"{who}: expected {size} bytes for {dtype} {shape}, got {member.file_size}; save the file again"
        )
    if size > max(_ALWAYS_FINE, _MOST_PACKED * os.path.getsize(archive.filename)):
        raise FileError(
            f"{who}: expected at most {_MOST_PACKED} times the size of the file, got {size} bytes when unpacked; if "
            "that is meant, save with numpy.savez, which does not pack"
        )
    with archive.open(member) as file:
        return npy.read_array(file, allow_pickle=False)


def _inputs(who, array):
    """(n, channels, *space) in float32."""
    if array.dtype.kind not in "buif" or not 2 <= array.ndim <= 5:
        raise ShapeError(
            f"{who}: expected numbers (n, features), (n, height, width) or (n, channels, *space), got {array.dtype} "
            f"{array.shape}; reshape or convert them"
        )
    with np.errstate(over="ignore"):  # what becomes infinite is reported by Dataset
        inputs = array.astype(np.float32)
    if array.dtype == np.uint8:
        inputs /= 255
    return inputs[:, None] if inputs.ndim == 3 else inputs


def _targets(who, array):
    """Labels (n,) in int64, or values (n, ...) in float32."""
    if array.dtype.kind in "iu" and array.ndim == 1:
        return array.astype(np.int64)
    if array.dtype.kind == "f" and array.ndim > 0:
        with np.errstate(over="ignore"):
            return array.astype(np.float32)
    if array.dtype.kind in "US" and array.ndim == 1:
        cure = "number them: classes, targets = numpy.unique(targets, return_inverse=True), and save both"
    elif array.dtype.kind in "biu" and array.ndim == 2:
        cure = f"save targets.{'ravel' if array.shape[1] == 1 else 'argmax'}({'' if array.shape[1] == 1 else 'axis=1'})"
        cure += " as integers"
    else:
        cure = "save one integer from 0 on for each sample"
    raise ShapeError(
        f"{who}: expected integer labels (n,) or real values (n, ...), got {array.dtype} {array.shape}; {cure}"
    )


def _classes(who, names, targets):
    """Names of the labels."""
    if names is not None:
        if names.dtype.kind != "U" or names.ndim != 1:
            raise ShapeError(
                f"{who}, classes: expected a list of names, got {names.dtype} {names.shape}; save strings, one per "
                "label"
            )
        return tuple(names.tolist())
    if targets[0].dtype.kind == "f":
        return ()
    largest = max(int(labels.max(initial=0)) for labels in targets)
    if largest >= _MOST_CLASSES:
        raise ShapeError(
            f"{who}: expected labels from 0 to {_MOST_CLASSES - 1}, got {largest}; number the classes from 0, for "
            "example with numpy.unique(labels, return_inverse=True)"
        )
    return tuple(map(str, range(largest + 1)))


def _accepts(path):
    return path.is_file() and path.suffix.lower() == ".npz"


@hookimpl
def register_datasets(register):
    register("npz", npz, accepts=_accepts)
