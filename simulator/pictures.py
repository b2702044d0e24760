"""Pictures in files: what becomes of colours, transparency, many bits and the side on which a camera was held.

Whoever reads pictures, to train or to predict, reads them here, so that a network sees in both what it knows.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.data import fingerprints_of
from simulator.errors import FileError, NotInstalledError, brief

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ENDINGS", "Picture", "is_picture", "read_picture"]

ENDINGS = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
_DEEP = 257  # a white pixel of 16 bits divided by one of 8


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture from a file.

    Parameters
    ----------
    image : PIL.Image.Image
        Grey (modes L and F) or coloured (mode RGB), from 0 to 255, opaque, and turned as its camera says.
    notes : tuple of str
        What was done to it, as it is told.
    """

    image: Image.Image
    notes: tuple[str, ...]

    @property
    def pixels(self) -> np.ndarray:
        """As they are, (channels, height, width) from 0 to 255: one channel if no pixel has colour, else three."""
        own = _array(self.image)
        return own[:1] if (own == own[:1]).all() else own

    @property
    def fingerprint(self) -> np.uint64:
        """What it is recognised by in every size, see `simulator.data.fingerprints_of`."""
        prints: np.uint64 = fingerprints_of(self.pixels[None].astype(np.float32) / np.float32(255))[0]
        return prints

    def framed(self, top: int, left: int, height: int, width: int) -> Picture:
        """A part of it; what lies outside of the picture has the colour of its border."""
        from PIL import Image

        pixels = _array(self.image)
        edges = (pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1])
        colour = np.median(np.concatenate(edges, axis=1), axis=1).tolist()
        grey, deep = len(colour) == 1, self.image.mode == "F"
        fill = (colour[0] if deep else round(colour[0])) if grey else tuple(map(round, colour))
        part = Image.new(self.image.mode, (width, height), fill)
        part.paste(self.image, (-left, -top))
        return Picture(part, self.notes)

    def brought_to(self, shape: Sequence[int]) -> np.ndarray:
        """The pixels in a shape (1 or 3, height, width), from 0 to 255, by linear interpolation.

        Grey is 0.299 red + 0.587 green + 0.114 blue.
        """
        from PIL import Image

        channels, height, width = shape
        image = self.image.convert("L") if channels == 1 and self.image.mode == "RGB" else self.image
        array = _array(image.resize((width, height), Image.Resampling.BILINEAR))
        return np.repeat(array, 3, axis=0) if len(array) < channels else array


def read_picture(path: Path, who: str) -> Picture:
    """Read a picture file.

    Parameters
    ----------
    path : pathlib.Path
        A PNG, JPEG, BMP, GIF or WebP file.
    who : str
        Names who reads it in errors, such as "data pictures".

    Returns
    -------
    Picture
        What is transparent has become white; of a moving picture it is the first frame.

    Raises
    ------
    FileError
        If the file is no such picture, is damaged, or has more than 89 million pixels, which Pillow refuses.
    NotInstalledError
        If Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise NotInstalledError(f"{who}: expected Pillow, which reads pictures, got none; pip install pillow") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as opened:
                turned = ImageOps.exif_transpose(opened)
                return _opaque(turned, Image)
    except Exception as error:  # the readers of damaged files raise errors of many kinds
        raise FileError(
            f"{who} {path}: expected a picture that Pillow can read, got {brief(error)}; replace or remove it"
        ) from error


def _opaque(picture: Image.Image, pillow: Any) -> Picture:
    """Grey or coloured, without transparency."""
    if picture.mode.startswith(("I", "F")):
        deep = pillow.fromarray(np.asarray(picture, np.float32) / np.float32(_DEEP))
        return Picture(deep, ("16 bits per channel, divided by 65535",))
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        layer = picture.convert("RGBA")
        if np.asarray(layer.getchannel("A")).min() < 255:
            white = pillow.new("RGBA", layer.size, "white")
            return Picture(pillow.alpha_composite(white, layer).convert("RGB"), ("transparent pixels became white",))
        return Picture(layer.convert("RGB"), ())
    return Picture(picture.convert("RGB"), ())


def _array(image: Image.Image) -> np.ndarray:
    """The pixels (channels, height, width), uint8, or float32 where there are more bits."""
    return np.asarray(image).reshape(image.height, image.width, -1).transpose(2, 0, 1)


def is_picture(path: Path) -> bool:
    """Whether a file has the name of a picture that can be read."""
    return path.suffix.lower() in ENDINGS and path.is_file()
