"""The user's own arrays: one .npz file, as numpy.savez writes it, or a folder with .npy files."""

from __future__ import annotations

import math
import os
import zipfile
import zlib

from numpy.lib import format as npy

from simulator import Dataset, FileError, ShapeError, hookimpl
from simulator.errors import brief
from simulator.reading import dataset, role_of

_ALWAYS_FINE = 2**28  # bytes that a file of any size may unpack to
_MOST_PACKED = 100  # beyond that: bytes for each byte of the file
_TRAIN, _TEST = ([(part, False), (part, True)] for part in ("train", "test"))
_CLASSES = ("classes", "class_names")
_NAMES = "inputs and targets, x and y, x_train and y_train, images and labels"


def npz(path) -> Dataset:
    """NumPy's arrays: ``numpy.savez("mine.npz", inputs=..., targets=..., classes=["cat", "dog"])``, or x.npy and y.npy.

    Parameters
    ----------
    path : pathlib.Path
        A .npz file, a folder with .npy files, or one of these files. Their names say what they hold: "inputs" and
        "targets", "x" and "y", "x_train" and "y_train", "images" and "labels" and the like; "x_test" and "y_test", if
        there, become the test data; "classes", if there, names the labels. Anything else is not read, and nothing
        pickled ever is.

    Returns
    -------
    Dataset
        What `simulator.reading.dataset` makes of these arrays; in `preparation` it tells what was done to them.

    Raises
    ------
    FileError
        If a file is damaged, foreign or pickled, lacks an array, or would unpack to more than 100 times its size.
    ShapeError
        If an array has the wrong axes or kind of numbers, or test and training inputs differ in them.

    Notes
    -----
    What the axes of the inputs mean depends on their number:

    - 2: (n, features), samples without space;
    - 3: (n, height, width), grey pictures, which get a channel axis. A 1-D signal is saved as (n, channels, 1, length);
    - 4: (n, channels, height, width), or (n, height, width, channels) with 1, 3 or 4 channels and longer sides;
    - 5: (n, channels, depth, height, width), or with channels last likewise.
    """
    who = f"data npz {path}"
    if path.is_dir() or path.suffix.lower() == ".npy":
        arrays = _of_files(who, path)
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                arrays = {name: _array(f"{who}, {name}", archive, members[name]) for name in _wanted(who, members)}
        except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise FileError(
                f"{who}: expected a whole file from numpy.savez, got {brief(error)}; save it again"
            ) from error
    roles = {role: array for name, array in arrays.items() if (role := role_of(name))}
    parts = [part for part in ("train", "test") if (part, True) in roles]
    classes = next((_classes(who, arrays[name]) for name in _CLASSES if name in arrays), ())
    return dataset(who, [roles[part, True] for part in parts], [roles[part, False] for part in parts], classes)


def _wanted(who, names):
    """The names of what is read: inputs and targets to train on, perhaps those to test on, and classes."""
    roles = {name: role for name in names if (role := role_of(name))}
    found = sorted(roles.values())
    if found not in (_TRAIN, [*_TEST, *_TRAIN]):
        raise FileError(
            f"{who}: expected one of the pairs {_NAMES}, with both or neither of x_test and y_test, got "
            f"{', '.join(sorted(map(str, names))) or 'an empty file'}; save under these names"
        )
    return [*roles, *(name for name in _CLASSES if name in names)]


def _of_files(who, path):
    """The arrays of a folder with .npy files, by their names; of one file those beside it."""
    folder = path if path.is_dir() else path.parent
    files = {file.stem: file for file in sorted(folder.iterdir()) if file.suffix.lower() == ".npy" and file.is_file()}
    if not path.is_dir() and (path.stem not in files or role_of(path.stem) is None or len(files) == 1):
        raise FileError(
            f"{who}: expected samples and their labels, got one array; put both into one file: "
            f"numpy.savez('data.npz', inputs=numpy.load({brief(str(path), 1000)}), targets=labels)"
        )
    arrays = {}
    for name in _wanted(who, files):
        try:
            arrays[name] = npy.open_memmap(files[name], mode="r")
        except (OSError, ValueError) as error:
            raise FileError(
                f"{who}, {name}: expected a whole file of plain numbers from numpy.save, got {brief(error)}; save it "
                "again"
            ) from error
    return arrays


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


def _classes(who, names):
    """Names of the labels."""
    if names.dtype.kind != "U" or names.ndim != 1:
        raise ShapeError(
            f"{who}, classes: expected a list of names, got {names.dtype} {names.shape}; save strings, one per label"
        )
    return tuple(names.tolist())


def _accepts(path):
    if path.is_dir():
        return any(file.suffix.lower() == ".npy" and role_of(file.stem) for file in path.iterdir())
    return path.suffix.lower() in (".npz", ".npy")


@hookimpl
def register_datasets(register):
    register("npz", npz, accepts=_accepts)
