"""Augmentation: other pictures of the same thing, drawn at random for training or cut in a fixed way for prediction.

- `RandomCrop`, `RandomShift` and `RandomMirror`, alone or several in a `Chain`, are what ``train(augment=...)`` takes:
  ``augment(inputs, rng) -> inputs`` on a batch (batch, channels, *space), each sample drawn for itself.
- `centre_crop` and `ten_crops` draw nothing: they are what one predicts with after training on crops.

Sources: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks",
2012, section 4.1; K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", 2016, section 4.2.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from simulator.declared import Declared
from simulator.errors import ShapeError, brief
from simulator.windows import check_size, check_sizes

__all__ = ["Chain", "RandomCrop", "RandomMirror", "RandomShift", "centre_crop", "ten_crops"]


@dataclass(frozen=True)
class RandomCrop(Declared):
    """A window of a given size, cut out of every sample at a random place.

    Parameters
    ----------
    space : int or sequence of int
        Size of the window, one for all axes of space or one per axis.
    padding : int or sequence of int, default 0
        Zeros put around each sample first, at both ends of an axis: one number for all axes or one per axis.

    Raises
    ------
    ShapeError
        When called: if the window is larger than the padded sample, or a number does not fit the axes of space.

    Notes
    -----
    Along an axis of n sites there are n + 2 padding − size + 1 places, all equally likely. AlexNet cuts 224 x 224 out
    of 256 x 256 and mirrors: 33 · 33 · 2 = 2178 pictures of each one, which the paper counts as 32 · 32 · 2 = 2048.
    Residual nets on CIFAR-10 pad 32 x 32 by 4 and cut 32 x 32.

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks", 2012.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> RandomCrop((224, 224))(np.zeros((2, 3, 256, 256)), rng).shape
    (2, 3, 224, 224)
    >>> RandomCrop(32, padding=4)(np.zeros((2, 3, 32, 32)), rng).shape
    (2, 3, 32, 32)
    """

    space: int | Sequence[int]
    padding: int | Sequence[int] = 0

    def __call__(self, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Windows (batch, channels, *window) of `inputs` (batch, channels, *space)."""
        ndim = _space_axes("random-crop", inputs)
        padding = check_sizes(self.padding, ndim, "random-crop padding", least=0)
        padded = np.pad(inputs, ((0, 0), (0, 0), *((n, n) for n in padding)))
        sizes = _window("random-crop", self.space, padded.shape[2:])
        places = np.subtract(padded.shape[2:], sizes, dtype=int) + 1
        starts = rng.integers(0, places[:, None], (ndim, len(inputs)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, sizes, axis=tuple(range(2, inputs.ndim)))
        return windows[np.arange(len(inputs)), :, *starts]


@dataclass(frozen=True)
class RandomShift(Declared):
    """Every sample moved by up to `sites` along each axis of space, zeros moved in.

    Parameters
    ----------
    sites : int
        Largest shift in either direction.

    Raises
    ------
    ShapeError
        When called: if `sites` is no number of at least 0, or the samples have no space.

    Notes
    -----
    It is a `RandomCrop` of the sample's own size with `sites` zeros around.

    Examples
    --------
    >>> RandomShift(1)(np.ones((2, 1, 4, 4)), np.random.default_rng(0)).shape
    (2, 1, 4, 4)
    """

    sites: int

    def __call__(self, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Shifted copies of `inputs` (batch, channels, *space)."""
        _space_axes("random-shift", inputs)
        return RandomCrop(inputs.shape[2:], check_size(self.sites, "random-shift sites", least=0))(inputs, rng)


@dataclass(frozen=True)
class RandomMirror(Declared):
    """Some samples, chosen at random, mirrored along one axis of space.

    Parameters
    ----------
    axis : int, default -1
        Of (batch, channels, *space); the last one swaps left and right.
    share : float, default 0.5
        Probability that a sample is mirrored.

    Raises
    ------
    ShapeError
        When called: if there is no such axis of space, or the share is not between 0 and 1.

    Examples
    --------
    >>> RandomMirror(share=1)(np.arange(6).reshape(1, 1, 2, 3), np.random.default_rng(0)).tolist()
    [[[[2, 1, 0], [5, 4, 3]]]]
    """

    axis: int = -1
    share: float = 0.5

    def __call__(self, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A copy of `inputs` (batch, channels, *space) in which some samples are mirrored."""
        ndim = _space_axes("random-mirror", inputs)
        if self.axis not in (*range(2, ndim + 2), *range(-ndim, 0)):
            raise ShapeError(
                f"random-mirror axis: expected an axis of space from {-ndim} to -1, got {brief(self.axis)}; -1 "
                "swaps left "
                "and right"
            )
        if not 0 <= self.share <= 1:
            raise ShapeError(
                f"random-mirror share: expected a share from 0 to 1, got {brief(self.share)}; 0.5 mirrors every "
                "other sample"
            )
        chosen = np.flatnonzero(rng.random(len(inputs)) < self.share)
        mirrored = inputs.copy()
        mirrored[chosen] = np.flip(inputs[chosen], self.axis)
        return mirrored


@dataclass(frozen=True)
class Chain(Declared):
    """Several steps of augmentation, one after the other.

    Parameters
    ----------
    steps : sequence of callables
        Each ``step(inputs, rng) -> inputs``.

    Raises
    ------
    ShapeError
        If the steps are no sequence of callables.

    Examples
    --------
    What AlexNet trains on:

    >>> augment = Chain([RandomCrop((224, 224)), RandomMirror()])
    >>> augment(np.zeros((2, 3, 256, 256)), np.random.default_rng(0)).shape
    (2, 3, 224, 224)
    """

    steps: Annotated[
        Sequence[Callable[[np.ndarray, np.random.Generator], np.ndarray]],
        "write Chain([RandomCrop(24), RandomMirror()])",
    ]

    def __call__(self, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What the last step makes of `inputs` (batch, channels, *space)."""
        for step in self.steps:
            inputs = step(inputs, rng)
        return inputs


def centre_crop(inputs: np.ndarray, space: int | Sequence[int]) -> np.ndarray:
    """The window in the middle of every sample.

    Parameters
    ----------
    inputs : numpy.ndarray, (batch, channels, *space)
        The samples.
    space : int or sequence of int
        Size of the window, one for all axes of space or one per axis.

    Returns
    -------
    numpy.ndarray, (batch, channels, *window)
        A view. Where the margin is odd, the larger part of it is cut off at the end.

    Raises
    ------
    ShapeError
        If the window is larger than the samples, or the numbers do not fit the axes of space.

    Examples
    --------
    >>> centre_crop(np.arange(5)[None, None], 3).tolist()
    [[[1, 2, 3]]]
    """
    _space_axes("centre-crop", inputs)
    sizes = _window("centre-crop", space, inputs.shape[2:])
    return _cut(inputs, [(n - size) // 2 for n, size in zip(inputs.shape[2:], sizes, strict=True)], sizes)


def ten_crops(inputs: np.ndarray, space: int | Sequence[int]) -> np.ndarray:
    """Ten views of every picture: windows at the four corners and in the middle, and these five mirrored.

    Parameters
    ----------
    inputs : numpy.ndarray, (batch, channels, height, width)
        The pictures.
    space : int or sequence of int
        Size of the windows.

    Returns
    -------
    numpy.ndarray, (10, batch, channels, *window)
        Top left, top right, bottom left, bottom right, middle; then each of them with left and right swapped.

    Raises
    ------
    ShapeError
        If the inputs are no pictures, or smaller than the window.

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks", 2012,
    section 4.1: AlexNet predicts with the mean of its softmax over these ten.

    Examples
    --------
    >>> ten_crops(np.zeros((2, 3, 32, 32)), 24).shape
    (10, 2, 3, 24, 24)
    """
    if inputs.ndim != 4:
        raise ShapeError(
            f"ten-crops: expected pictures (batch, channels, height, width), got {inputs.shape}; use centre_crop for "
            "inputs with another number of axes"
        )
    sizes = _window("ten-crops", space, inputs.shape[2:])
    corners = itertools.product(*((0, n - size) for n, size in zip(inputs.shape[2:], sizes, strict=True)))
    five = np.stack([*(_cut(inputs, corner, sizes) for corner in corners), centre_crop(inputs, sizes)])
    return np.concatenate([five, five[..., ::-1]])


def _space_axes(who: str, inputs: np.ndarray) -> int:
    """Number of the axes of space, 1 to 3."""
    if not 3 <= inputs.ndim <= 5:
        raise ShapeError(
            f"{who}: expected a batch (batch, channels, *space) with 1 to 3 axes of space, got {inputs.shape}; reshape "
            "it"
        )
    return inputs.ndim - 2


def _window(who: str, window: int | Sequence[int], space: Sequence[int]) -> tuple[int, ...]:
    """Sizes of a window that fits into `space`, one per axis."""
    sizes = check_sizes(window, len(space), f"{who} space")
    if any(size > n for size, n in zip(sizes, space, strict=True)):
        raise ShapeError(
            f"{who}: expected a window of at most {tuple(space)}, got {brief(sizes)}; cut a smaller one, or resize the "
            "samples first"
        )
    return sizes


def _cut(inputs: np.ndarray, starts: Sequence[int], sizes: Sequence[int]) -> np.ndarray:
    """The window of `sizes` that begins at `starts`, (batch, channels, *sizes)."""
    return inputs[:, :, *(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))]
