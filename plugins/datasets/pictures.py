"""The user's own pictures: a folder with one subfolder per class, or two such folders, to train and to test on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator import Dataset, FileError, ShapeError, hookimpl
from simulator.pictures import ENDINGS, is_picture, read_picture
from simulator.preparation import Preparation

_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation")  # the first of them that is there is held out
_LEFT_BEHIND = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "icon\r")
_CANNOT = (".tif", ".tiff", ".heic", ".heif", ".avif", ".svg", ".psd", ".ico", ".jp2", ".dng", ".raw", ".ppm", ".pgm")
_OTHERS = ("ubyte", "ubyte.gz", ".bin", ".npy")  # files by which other data sets know their folders
_NAMED = 3  # files that a note names


def pictures(path, shape=None):
    """Pictures from a folder with one subfolder per class, from 0 to 1.

    Parameters
    ----------
    path : pathlib.Path
        The folder. Its subfolders are the classes, sorted by name; each holds pictures (.png, .jpg, .jpeg, .bmp, .gif,
        .webp). Or it holds a folder "train" with such subfolders, and "test" or "val" with the test data. What
        systems leave behind (Thumbs.db, desktop.ini, __MACOSX, names with a dot in front) is not looked at; other
        files that are no pictures, and classes without pictures, are left out, and `preparation` names them.
    shape : (1 or 3, height, width), optional
        Turn all pictures grey (1) or coloured (3) and bring them to one size by linear interpolation, whatever their
        proportions. Default: the size of the first picture, which all must have, and colour if any pixel has colour.

    Returns
    -------
    Dataset
        Inputs (n, channels, height, width) in float32, by class and then by file name. What is transparent is white;
        pictures of 16 bits keep them.

    Raises
    ------
    FileError
        If there is no class with a picture, a class has folders or kinds of pictures that cannot be read, a file is
        damaged, or a class is there to test on only.
    ShapeError
        If `shape` is not that of a picture, or there is none and the sizes differ.
    NotInstalledError
        If Pillow is not installed.

    Notes
    -----
    Grey is 0.299 red + 0.587 green + 0.114 blue. Pictures are turned as their camera says; of a moving picture the
    first frame counts. Pillow refuses pictures of more than 89 million pixels.
    """
    if shape is not None and (len(shape) != 3 or shape[0] not in (1, 3) or min(shape) < 1):
        raise ShapeError(
            f"data pictures: expected a shape (1 or 3, height, width), got {tuple(shape)}; use for example --input "
            "1x28x28"
        )
    parts, notes = _parts(path)
    found = [_classes(part) for part in parts]
    classes = tuple(sorted(found[0][0]))
    for part, (names, _) in zip(parts, found, strict=True):
        strangers = sorted(set(names) - set(classes))
        if strangers:
            raise FileError(
                f"data pictures {part}: expected the classes of {parts[0]}, got {strangers[0]}, too; rename or remove "
                "its folder"
            )
    if not classes:
        raise FileError(f"data pictures {path}: expected one subfolder of pictures per class, got none; {_cure(path)}")
    files = [
        (file, classes.index(name), k)
        for k, (names, _) in enumerate(found)
        for name in classes
        for file in names.get(name, ())
    ]
    images, done = [], []
    for file, _, _ in files:
        picture = read_picture(file, "data pictures")
        own = picture.pixels if shape is None else picture.brought_to(shape)
        images.append(own)
        done.append((picture.fingerprint, picture.notes, picture.image.size[::-1]))
    inputs = _stacked([file for file, _, _ in files], images)
    notes += [note for _, more in found for note in more]
    for told in dict.fromkeys(note for _, more, _ in done for note in more):
        count = sum(told in more for _, more, _ in done)
        notes.append(told if count == len(files) else f"{told} in {count:,} of {len(files):,} pictures")
    sizes = {size for _, _, size in done}
    size = None
    if shape is not None and sizes != {tuple(shape[1:])}:
        size = next(iter(sizes)) if len(sizes) == 1 else None
        before = "x".join(map(str, size)) if size else f"{len(sizes)} sizes"
        notes.append(f"resized from {before} to {shape[1]}x{shape[2]}")
    labels, part = (np.array([row[k] for row in files], np.int64) for k in (1, 2))
    prints = np.array([row[0] for row in done])
    whole = Dataset(inputs, labels, classes, fingerprints=prints, preparation=Preparation(tuple(notes), size=size))
    return replace(whole.take(part == 0), test=whole.take(part == 1)) if len(parts) > 1 and (part == 1).any() else whole


def _parts(path):
    """The folders of classes: one, or those to train and to test on; and what is told of them."""
    if not path.is_dir():
        raise FileError(
            f"data pictures {path}: expected a folder, got a file; point to the folder that holds the classes"
        )
    folders = {entry.name.lower(): entry for entry in _visible(path) if entry.is_dir()}
    train = next((folders[name] for name in _TRAIN if name in folders), None)
    if train is None or any(map(is_picture, _visible(train))) or not any(e.is_dir() for e in _visible(train)):
        return [path], []
    test, *others = [folders[name] for name in _TEST if name in folders] or [None]
    rest = [*others, *(entry for name, entry in folders.items() if name not in (*_TRAIN, *_TEST))]
    notes = [f"folders left out: {_some(entry.name for entry in rest)}"] if rest else []
    return [train, *([test] if test else [])], notes


def _visible(path):
    """What a folder holds, sorted by name, without hidden files and what systems leave behind."""
    return sorted(e for e in path.iterdir() if not e.name.startswith(".") and e.name.lower() not in _LEFT_BEHIND)


def _classes(path):
    """The pictures of each class, by its name, and what was left out."""
    found, empty, stray = {}, [], []
    for entry in _visible(path):
        if not entry.is_dir():
            stray.append(entry)
            continue
        files, others = [], []
        for file in _visible(entry):
            (files if is_picture(file) else others).append(file)
        wrong = next((file for file in others if file.is_dir() or file.suffix.lower() in _CANNOT), None)
        if files and wrong is not None:
            raise FileError(
                f"data pictures {wrong}: expected only pictures ({' '.join(ENDINGS)}) in the folder of a class, got "
                f"{'a folder' if wrong.is_dir() else 'another kind'}; convert it or move it away"
            )
        if files:
            found[entry.name] = files
            stray += others
        else:
            empty.append(entry)
    notes = [f"files left out that are no pictures: {_some(file.name for file in stray)}"] if stray else []
    notes += (
        [f"folders left out that have no pictures: {_some(entry.name for entry in empty)}"] if empty and found else []
    )
    return found, notes


def _some(names):
    names = list(names)
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _cure(path):
    """What to do with a folder that has no class."""
    inside = next((e for e in _visible(path) if e.is_dir() and any(_classes(part)[0] for part in _parts(e)[0])), None)
    return f"point to {inside}" if inside else "make a folder for each class, and put its pictures in"


def _stacked(files, images):
    """Pictures of one size as an array (n, channels, height, width) in float32, from 0 to 1."""
    channels, (height, width) = max(len(image) for image in images), images[0].shape[1:]
    inputs = np.empty((len(images), channels, height, width), np.float32)
    for i, image in enumerate(images):
        if image.shape[1:] != (height, width):
            raise ShapeError(
                f"data pictures {files[i]}: expected {width} x {height} pixels like {files[0].name}, got "
                f"{image.shape[2]} x {image.shape[1]}; bring all to one size with, for example, --input 1x28x28"
            )
        inputs[i] = image  # a grey picture among coloured ones fills all channels
    inputs /= 255
    return inputs


def _accepts(path):
    """A folder with the pictures of a class in a subfolder, and nothing by which other data sets know theirs."""
    if not path.is_dir():
        return False
    folders = [entry for part in _parts(path)[0] for entry in _visible(part) if entry.is_dir()]
    held = [entry for folder in (path, *folders) for entry in _visible(folder)]
    deeper = [file for entry in held if entry.is_dir() for file in _visible(entry)]
    return not any(entry.name.lower().endswith(_OTHERS) for entry in held) and any(map(is_picture, [*held, *deeper]))


@hookimpl
def register_datasets(register):
    register("pictures", pictures, accepts=_accepts)
