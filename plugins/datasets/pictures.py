"""The user's own pictures: a folder with one subfolder per class."""

from __future__ import annotations

import warnings

import numpy as np

from simulator import Dataset, FileError, ShapeError, SimulatorError, hookimpl
from simulator.data import fingerprints_of
from simulator.errors import brief

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")


def pictures(path, shape=None):
    """Pictures from a folder with one subfolder per class, from 0 to 1.

    Parameters
    ----------
    path : pathlib.Path
        The folder. Its subfolders are the classes, sorted by name; each holds pictures (.png, .jpg, .jpeg, .bmp, .gif,
        .webp) and nothing else. Names that begin with a dot and files beside the subfolders are not read.
    shape : (1 or 3, height, width), optional
        Turn all pictures grey (1) or coloured (3) and bring them to one size by linear interpolation, whatever their
        proportions. Default: the size of the first picture, which all must have, and colour if any pixel has colour.

    Returns
    -------
    Dataset
        Inputs (n, channels, height, width) in float32, by class and then by file name.

    Raises
    ------
    FileError
        If there is no class, a class is empty, or a file is not a picture, is damaged or has more than 8 bits per
        channel.
    ShapeError
        If `shape` is not that of a picture, or there is none and the sizes differ.
    SimulatorError
        If Pillow is not installed.

    Notes
    -----
    Grey is 0.299 red + 0.587 green + 0.114 blue. Pictures are turned as their camera says; transparency is dropped; of
    a moving picture the first frame counts. Pillow refuses pictures of more than 89 million pixels.
    """
    if shape is not None and (len(shape) != 3 or shape[0] not in (1, 3) or min(shape) < 1):
        raise ShapeError(
            f"data pictures: expected a shape (1 or 3, height, width), got {tuple(shape)}; use for example --input "
            "1x28x28"
        )
    folders = [entry for entry in _visible(path) if entry.is_dir()]
    if not folders:
        raise FileError(
            f"data pictures {path}: expected one subfolder of pictures per class, got none; make a folder for each "
            "class"
        )
    files = [(file, label) for label, folder in enumerate(folders) for file in _files(folder)]
    images, prints = zip(*(_picture(file, shape) for file, _ in files), strict=True)
    channels, (height, width) = max(len(image) for image in images), images[0].shape[1:]
    inputs = np.empty((len(images), channels, height, width), np.float32)
    for i, image in enumerate(images):
        if image.shape[1:] != (height, width):
            raise ShapeError(
                f"data pictures {files[i][0]}: expected {width} x {height} pixels like {files[0][0].name}, got "
                f"{image.shape[2]} x {image.shape[1]}; bring all to one size with, for example, --input 1x28x28"
            )
        inputs[i] = image  # a grey picture among coloured ones fills all channels
    inputs /= 255
    labels, classes = np.array([label for _, label in files], np.int64), tuple(folder.name for folder in folders)
    return Dataset(inputs, labels, classes, fingerprints=np.array(prints))


def _visible(path):
    """What a folder holds, sorted by name, without hidden files."""
    if not path.is_dir():
        raise FileError(
            f"data pictures {path}: expected a folder, got a file; point to the folder that holds the classes"
        )
    return sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))


def _files(folder):
    """The pictures of one class."""
    files = _visible(folder)
    if not files:
        raise FileError(f"data pictures {folder}: expected pictures, got an empty folder; fill or remove it")
    for file in files:
        if not _is_picture(file):
            raise FileError(
                f"data pictures {file}: expected only pictures ({' '.join(_ENDINGS)}) in the folder of a class, got "
                "this; convert it or move it away"
            )
    return files


def _is_picture(path):
    return path.suffix.lower() in _ENDINGS and path.is_file()


def _picture(file, shape):
    """One picture (channels, height, width), uint8, and its fingerprint as it is in the file, whatever the shape."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise SimulatorError("data pictures: expected Pillow, which reads them, got none; pip install pillow") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as the loss of transparency
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as opened:
                mode = opened.mode
                turned = ImageOps.exif_transpose(opened)
                coloured = turned.convert("RGB")
                image = turned.convert("L") if shape and shape[0] == 1 else coloured
    except Exception as error:  # the readers of damaged files raise errors of many kinds
        raise FileError(
            f"data pictures {file}: expected a picture that Pillow can read, got {brief(error)}; replace or remove it"
        ) from error
    if mode.startswith(("I", "F")):
        raise FileError(
            f"data pictures {file}: expected 8 bits per channel, got mode {mode}; convert it, or save arrays as .npz"
        )
    own = _array(coloured)
    own = own[:1] if (own == own[:1]).all() else own
    prints = fingerprints_of(own[None].astype(np.float32) / np.float32(255))[0]
    if shape is None:
        return own, prints
    return _array(image.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)), prints


def _array(image):
    """The pixels (channels, height, width), uint8."""
    return np.asarray(image).reshape(image.height, image.width, -1).transpose(2, 0, 1)


def _accepts(path):
    """A folder with nothing but class folders, each with at least one picture."""
    entries = _visible(path) if path.is_dir() else []
    return bool(entries) and all(entry.is_dir() and any(map(_is_picture, _visible(entry))) for entry in entries)


@hookimpl
def register_datasets(register):
    register("pictures", pictures, accepts=_accepts)
