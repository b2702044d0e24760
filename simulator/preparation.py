"""What is done to samples on their way to a network: said in one line, kept with the network, and done to new samples.

A network knows its samples in one size, one scale and, for drawings, on one background. What else it is shown must be
brought to these, or its answers mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

__all__ = ["Preparation", "background_of", "channels_first", "divisor_of", "drawing_of"]

_CHANNELS = (1, 3, 4)  # of pictures: grey, coloured, coloured with transparency
_BRIGHT = 128  # pictures of 8 bits that are all darker than this are no pictures of anything
_LOOKED_AT = 1000  # samples whose background is looked at
_PLAIN, _NEAR = 0.6, 0.2  # a plain border: this share of it is so near to its median
_DARK, _LIGHT = 0.35, 0.65
_MOST = 0.8  # of all samples
_FEW = 5  # percent


@dataclass(frozen=True)
class Preparation:
    """What was done to samples, and what they are like now.

    Parameters
    ----------
    notes : tuple of str, default ()
        What was done, as it is told: "divided by 255".
    divisor : float, optional
        By what their numbers were divided because of how large they are, 1 if by nothing; None where the format of the
        source says what its numbers mean.
    size : tuple of int, optional
        Of their axes of space before they were resized; None if they were not, or had several sizes.
    low, high : float, optional
        Their smallest and largest number; None before they are measured.
    background : {"dark", "light"}, optional
        What most of them are drawn on, None if on no plain background.
    extent : tuple of float, optional
        What part of the height such drawings have at least, but for a few, then what part of the height and of the
        width they have usually.

    Examples
    --------
    >>> Preparation(("divided by 255",), divisor=255).then("resized from 8x8 to 28x28", size=(8, 8)).told
    'divided by 255; resized from 8x8 to 28x28'
    """

    notes: tuple[str, ...] = ()
    divisor: float | None = None
    size: tuple[int, ...] | None = None
    low: float | None = None
    high: float | None = None
    background: str | None = None
    extent: tuple[float, float, float] | None = None

    @property
    def told(self) -> str:
        """What was done, in one line; empty if nothing was."""
        return "; ".join(self.notes)

    def then(self, note: str, **changes: Any) -> Preparation:
        """With one thing more that was done."""
        return replace(self, notes=(*self.notes, note), **changes)

    @property
    def range_told(self) -> tuple[str, ...]:
        """What `from_unit` does, as it is told; empty if nothing."""
        return () if self._unit else (f"scaled from 0 to 1 to {self.low:.3g} to {self.high:.3g}",)

    @property
    def _unit(self) -> bool:
        """Whether the samples go from 0 to 1, or are not measured."""
        return self.low is None or self.high is None or (self.low >= 0 and self.high <= 1) or self.low >= self.high

    def from_unit(self, inputs: np.ndarray) -> np.ndarray:
        """Pictures from 0 to 1 in the range of these samples."""
        if self._unit:
            return inputs
        assert self.low is not None and self.high is not None
        return inputs * inputs.dtype.type(self.high - self.low) + inputs.dtype.type(self.low)

    def measured(self, inputs: np.ndarray) -> Preparation:
        """With what the samples (n, channels, *space) are like."""
        low, high = float(inputs.min()), float(inputs.max())
        background, extent = None, None
        if inputs.ndim == 4 and high > low:
            images = (inputs[:_LOOKED_AT].mean(axis=1) - low) / (high - low)
            found = _backgrounds(images)
            background = next((name for name in ("dark", "light") if np.mean(found == name) >= _MOST), None)
        if background is not None:
            top, bottom, left, right = _drawings(images[found == background])
            sizes = np.stack([bottom - top, right - left], axis=1) / inputs.shape[2:]
            least, (height, width) = np.percentile(sizes[:, 0], _FEW), np.median(sizes, axis=0)
            extent = (float(least), float(height), float(width))
        return replace(self, low=low, high=high, background=background, extent=extent)

    def plain(self) -> dict[str, Any]:
        """As a file keeps it."""
        lists = {"notes": self.notes, "size": self.size, "extent": self.extent}
        return {**asdict(self), **{name: None if part is None else list(part) for name, part in lists.items()}}

    @classmethod
    def restored(cls, plain: Any) -> Preparation:
        """From what `plain` gives; a TypeError, KeyError or ValueError for anything else."""
        notes, size, background, extent = (plain[name] for name in ("notes", "size", "background", "extent"))
        divisor, low, high = numbers = [plain[name] for name in ("divisor", "low", "high")]
        if not (
            isinstance(notes, list)
            and all(isinstance(note, str) for note in notes)
            and (size is None or (isinstance(size, list) and all(type(n) is int and 0 < n < 2**16 for n in size)))
            and background in (None, "dark", "light")
            and all(n is None or (type(n) in (int, float) and np.isfinite(n)) for n in numbers)
            and (divisor is None or divisor > 0)
            and (extent is None or (len(extent) == 3 and all(type(n) is float and 0 < n <= 1 for n in extent)))
        ):
            raise ValueError("a preparation of another kind")
        sizes, parts = (None if part is None else tuple(part) for part in (size, extent))
        return cls(tuple(notes), divisor, sizes, low, high, background, parts)


def background_of(image: np.ndarray) -> str | None:
    """Whether a drawing is on a "dark" or a "light" background; None if its border is no plain background.

    Parameters
    ----------
    image : numpy.ndarray, (height, width)
        From 0 for black to 1 for white.

    Examples
    --------
    >>> paper = np.ones((8, 8))
    >>> paper[2:6, 4] = 0
    >>> background_of(paper), background_of(1 - paper), background_of(np.arange(64).reshape(8, 8) / 63)
    ('light', 'dark', None)
    """
    (name,) = _backgrounds(image[None])
    return str(name) or None


def drawing_of(image: np.ndarray) -> tuple[int, int, int, int]:
    """The smallest box that holds a drawing: first row and one past the last, first column and one past the last.

    Parameters
    ----------
    image : numpy.ndarray, (height, width)
        On a plain background: the drawing is what differs from it by more than half of what differs most.

    Examples
    --------
    >>> paper = np.ones((8, 8))
    >>> paper[2:6, 4] = 0
    >>> drawing_of(paper)
    (2, 6, 4, 5)
    """
    top, bottom, left, right = (int(edge[0]) for edge in _drawings(image[None]))
    return top, bottom, left, right


def _borders(images: np.ndarray) -> np.ndarray:
    """The outermost pixels of each image, (n, pixels)."""
    sides = [images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]]
    return np.concatenate(sides, axis=1)


def _backgrounds(images: np.ndarray) -> np.ndarray:
    """Of each image "dark", "light" or "", (n,); see `background_of`."""
    borders = _borders(images)
    middle = np.median(borders, axis=1)
    plain = np.mean(np.abs(borders - middle[:, None]) <= _NEAR, axis=1) >= _PLAIN
    return np.where(plain & (middle >= _LIGHT), "light", np.where(plain & (middle <= _DARK), "dark", ""))


def _drawings(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each image the edges of the box that holds the drawing, (n,) each; see `drawing_of`."""
    away = np.abs(images - np.median(_borders(images), axis=1)[:, None, None])
    ink = away >= away.max(axis=(1, 2), keepdims=True) / 2
    edges = []
    for line in (ink.any(axis=2), ink.any(axis=1)):
        edges += [line.argmax(axis=1), line.shape[1] - line[:, ::-1].argmax(axis=1)]
    top, bottom, left, right = edges
    return top, bottom, left, right


def divisor_of(arrays: Sequence[np.ndarray]) -> float:
    """By what to divide pictures whose format does not say how bright white is: 255, 65535, or 1 for not at all.

    Parameters
    ----------
    arrays : sequence of numpy.ndarray, (n, ...)
        Of one kind, such as those to train on and those to test on.

    Examples
    --------
    >>> divisor_of([np.array([[[0.0, 254.0]]])]), divisor_of([np.array([[[0.0, 1.0]]])])
    (255.0, 1.0)
    """
    low, high = min(array.min(initial=0) for array in arrays), max(array.max(initial=0) for array in arrays)
    if low < 0:
        return 1.0
    if all(array.dtype == np.uint16 for array in arrays) and high > 255:
        return 65535.0
    return 255.0 if _BRIGHT <= high <= 255 else 1.0


def channels_first(shape: Sequence[int]) -> bool:
    """Whether samples (n, *shape) have their channels first, as here; False if last, as in Keras and Pillow.

    Examples
    --------
    >>> channels_first((3, 32, 32)), channels_first((32, 32, 3)), channels_first((28, 28, 1))
    (True, False, False)
    """
    return not (len(shape) > 2 and shape[-1] in _CHANNELS and shape[0] > max(_CHANNELS))
