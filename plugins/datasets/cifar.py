"""CIFAR-10 and CIFAR-100 in their binary version."""

from __future__ import annotations

import tarfile
import zlib
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from simulator import Dataset, FileError, hookimpl
from simulator.errors import brief

_PIXELS = 3 * 32 * 32
_LARGEST = 2**28  # bytes of a file in an archive; CIFAR-100's has 154 million


@dataclass(frozen=True)
class _Kind:
    """What the archive of one kind unpacks to."""

    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    classes: int
    labels: int  # bytes before the pixels of a picture; the last one is the label


_KINDS = (
    _Kind(
        "cifar-10-batches-bin",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test_batch.bin",
        "batches.meta.txt",
        10,
        1,
    ),
    _Kind("cifar-100-binary", ("train.bin",), "test.bin", "fine_label_names.txt", 100, 2),
)
_PICKLED = (("data_batch_1",), ("train", "meta"))
_PICKLED_FOLDERS = ("", "cifar-10-batches-py", "cifar-100-python")


def cifar(path):
    """CIFAR-10 or CIFAR-100, 3 x 32 x 32 from 0 to 1, from the binary version.

    Parameters
    ----------
    path : pathlib.Path
        The archive as it is downloaded, cifar-10-binary.tar.gz or cifar-100-binary.tar.gz; or the folder with
        data_batch_1.bin to data_batch_5.bin (CIFAR-10) or train.bin (CIFAR-100), or the folder that holds
        cifar-10-batches-bin or cifar-100-binary. test_batch.bin or test.bin, if there, is the test data;
        batches.meta.txt or fine_label_names.txt, if there, names the classes.

    Returns
    -------
    Dataset
        Inputs (n, 3, 32, 32) in float32: red, green, blue. Labels are CIFAR-100's fine ones.

    Raises
    ------
    FileError
        If a file is missing or damaged, or there is none, or only those of the Python version, which are pickled: such
        a file could run any program, so it is never opened.

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009;
    https://www.cs.toronto.edu/~kriz/cifar.html
    """
    found = _found(path)
    if not found and _pickled(path):
        raise FileError(
            f"data cifar {path}: expected the binary version, got the Python version, whose pickled files could run "
            "any program; download 'CIFAR binary version (suitable for C programs)'"
        )
    if len(found) != 1:
        names = " and ".join(str(folder) for _, folder in found) or "none"
        raise FileError(
            f"data cifar {path}: expected the files of one of CIFAR-10 (data_batch_1.bin, ...) and CIFAR-100 "
            f"(train.bin), got {names}; point to the folder of one of them"
        )
    kind, folder = found[0]
    files = _unpacked(path, kind) if path.is_file() else _unpacked_already(folder, kind)
    classes = _classes(files.get(kind.names), kind.classes)
    inputs, labels = _samples(kind, [files[name] for name in kind.train])
    data = Dataset(inputs, labels, classes)
    if kind.test in files:
        data = replace(data, test=Dataset(*_samples(kind, [files[kind.test]]), classes))
    return data


def _found(path):
    """Each kind whose binary files are in the folder, in the archive's folder inside it, or in the archive."""
    if path.is_file():
        return [(kind, path) for kind in _KINDS if _top(path) == kind.folder]
    return [
        (kind, folder)
        for kind in _KINDS
        for folder in (path, path / kind.folder)
        if any((folder / file).is_file() for file in kind.train)
    ]


def _pickled(path):
    """Whether the folder, the archive's folder inside it, or the archive holds the Python version."""
    if path.is_file():
        return _top(path) in _PICKLED_FOLDERS[1:]
    return any(
        all((path / folder / name).is_file() for name in names) for folder in _PICKLED_FOLDERS for names in _PICKLED
    )


def _top(path):
    """The folder in which a packed archive puts its first file; None for any other file."""
    if not path.name.lower().endswith((".tar.gz", ".tgz", ".tar")):
        return None
    try:
        with tarfile.open(path) as archive:
            first = archive.next()
    except (OSError, EOFError, tarfile.TarError, zlib.error):
        return None
    return None if first is None else first.name.removeprefix("./").partition("/")[0]


def _unpacked_already(folder, kind):
    """The files of a folder by their names; those to train on are missed when they are read."""
    others = [name for name in (kind.test, kind.names) if (folder / name).exists()]
    return {name: folder / name for name in (*kind.train, *others)}


def _unpacked(path, kind):
    """The files of an archive by their names, as it is: nothing is written."""
    files = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if member.isfile() and name in (*kind.train, kind.test, kind.names):
                    if member.size > _LARGEST:
                        raise FileError(
                            f"data cifar {path}: expected at most {_LARGEST:,} bytes in {name}, got {member.size:,}; "
                            "download it again"
                        )
                    files[name] = _Packed(f"{path}, {name}", archive.extractfile(member).read())
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise FileError(
            f"data cifar {path}: expected a whole archive, got {brief(error)}; download it again"
        ) from error
    missing = [name for name in kind.train if name not in files]
    if missing:
        raise FileError(f"data cifar {path}: expected a whole archive, got one without {missing[0]}; download it again")
    return files


@dataclass(frozen=True)
class _Packed:
    """A file of an archive."""

    name: str
    content: bytes

    def __str__(self):
        return self.name

    def read_bytes(self):
        return self.content


def _samples(kind, files):
    """Inputs (n, 3, 32, 32) and labels (n,) of some files."""
    rows = np.concatenate([_rows(kind, file) for file in files])
    inputs = rows[:, kind.labels :].reshape(-1, 3, 32, 32).astype(np.float32)
    inputs /= 255
    return inputs, rows[:, kind.labels - 1].astype(np.int64)


def _rows(kind, file):
    """The pictures of one file with their labels, (n, labels + pixels) bytes."""
    who, width = f"data cifar {file}", kind.labels + _PIXELS
    content = _content(file)
    if not content or len(content) % width:
        raise FileError(
            f"{who}: expected pictures of {width} bytes each, got {len(content)} bytes; unpack the archive again"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, width)
    largest = rows[:, kind.labels - 1].max()
    if largest >= kind.classes:
        raise FileError(f"{who}: expected labels from 0 to {kind.classes - 1}, got {largest}; unpack the archive again")
    return rows


def _classes(file, wanted):
    """Names of the labels from the archive's own list, or their numbers."""
    if file is None:
        return tuple(map(str, range(wanted)))
    try:
        names = _content(file).decode().split()
    except UnicodeDecodeError:
        names = []
    if len(names) != wanted:
        raise FileError(
            f"data cifar {file}: expected {wanted} names as text, got {len(names)}; unpack the archive again"
        )
    return tuple(names)


def _content(file):
    try:
        return file.read_bytes()
    except OSError as error:
        raise FileError(
            f"data cifar {file}: expected a file that can be read, got {type(error).__name__}; unpack the archive again"
        ) from error


def _accepts(path):
    return bool(_found(path)) or _pickled(path)


@hookimpl
def register_datasets(register):
    register("cifar", cifar, accepts=_accepts)
