"""Data sets in memory: samples, targets, and how to cut, shift and resize them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulator.errors import ShapeError
from simulator.windows import check_size

__all__ = ["Dataset", "RandomShift", "resized"]

Arrays = np.ndarray | Mapping[str, np.ndarray]


def _each(arrays: Arrays) -> dict[str, np.ndarray]:
    return dict(arrays) if isinstance(arrays, Mapping) else {"": arrays}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and their targets.

    Parameters
    ----------
    inputs : numpy.ndarray, (n, channels, *space), or dict of them by input name
        The samples; every number finite.
    targets : numpy.ndarray, (n, ...), or dict of them by output name
        Integer labels from 0, or values.
    classes : sequence of str, optional
        Name of each label.
    test : Dataset, optional
        Samples that the source sets apart for testing.

    Raises
    ------
    ShapeError
        If lengths differ, there is no sample, a number is NaN or infinite, or a label has no class.

    Examples
    --------
    >>> data = Dataset(np.zeros((4, 1, 8, 8)), np.array([0, 1, 0, 1]), classes=("x", "o"))
    >>> train, held_out = data.split(0.5, rng=0)
    >>> len(train), sorted(held_out.targets.tolist())
    (2, [0, 1])
    """

    inputs: Arrays
    targets: Arrays
    classes: Sequence[str] = ()
    test: Dataset | None = None

    def __post_init__(self) -> None:
        arrays = [*_each(self.inputs).values(), *_each(self.targets).values()]
        for array in arrays:
            if not isinstance(array, np.ndarray) or array.ndim == 0 or array.dtype.kind not in "fiub":
                raise ShapeError(
                    f"data: expected arrays of real numbers, one row per sample, got {type(array).__name__} "
                    f"{getattr(array, 'dtype', '')}; convert it with numpy.asarray"
                )
        lengths = [len(array) for array in arrays]
        if min(lengths, default=0) == 0 or len(set(lengths)) > 1:
            raise ShapeError(
                f"data: expected as many targets as samples, and at least one, got "
                f"{' and '.join(map(str, lengths)) or 'none'}; check the file or the folder"
            )
        for array in arrays:
            finite = np.isfinite(array)
            if not finite.all():
                first = int(np.argwhere(~finite)[0][0])
                raise ShapeError(
                    f"data: expected finite numbers, got {int(np.sum(~finite))} NaN or infinite ones, the first in "
                    f"sample {first}; clean the data, for example with numpy.nan_to_num"
                )
        labels = self.labels
        if labels is not None:
            most = len(self.classes) - 1 if self.classes else labels.max()
            if labels.min() < 0 or labels.max() > most:
                raise ShapeError(
                    f"data: expected labels from 0 to {most}, got {labels.min()} to {labels.max()}; correct the "
                    "labels or name more classes"
                )

    def __len__(self) -> int:
        return len(next(iter(_each(self.inputs).values())))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample of the first input."""
        return next(iter(_each(self.inputs).values())).shape[1:]

    @property
    def labels(self) -> np.ndarray | None:
        """The targets if they are integer labels (n,), else None."""
        targets = self.targets
        if isinstance(targets, Mapping) or targets.ndim != 1 or targets.dtype.kind not in "iu":
            return None
        return targets

    def take(self, indices: Any) -> Dataset:
        """The samples at `indices`."""

        def pick(arrays: Arrays) -> Arrays:
            if isinstance(arrays, Mapping):
                return {name: array[indices] for name, array in arrays.items()}
            return arrays[indices]

        return replace(self, inputs=pick(self.inputs), targets=pick(self.targets), test=None)

    def split(self, share: float = 0.2, rng: np.random.Generator | int = 0) -> tuple[Dataset, Dataset]:
        """Set a share of the samples apart, the same share of every label.

        Parameters
        ----------
        share : float, default 0.2
            Of the samples to set apart.
        rng : numpy.random.Generator or int, default 0
            Chooses them.

        Returns
        -------
        Dataset, Dataset
            The rest, and those set apart.

        Raises
        ------
        ShapeError
            If the share is not between 0 and 1, or either part would be empty.
        """
        if not 0 < share < 1:
            raise ShapeError(f"data split: expected a share between 0 and 1, got {share}; 0.2 sets a fifth apart")
        generator = np.random.default_rng(rng)
        labels = np.zeros(len(self), int) if self.labels is None else self.labels
        order = generator.permutation(len(self))
        chosen = [
            members[: round(share * len(members))]
            for members in (order[labels[order] == label] for label in np.unique(labels))
        ]
        apart = np.sort(np.concatenate(chosen))
        rest = np.setdiff1d(np.arange(len(self)), apart)
        if not (len(apart) and len(rest)):
            raise ShapeError(
                f"data split: expected samples on both sides, got {len(rest)} and {len(apart)} of {len(self)}; use a "
                "share between 0 and 1 and more samples"
            )
        return self.take(rest), self.take(apart)


@dataclass(frozen=True)
class RandomShift:
    """Augmentation: every sample moved by up to `sites` along each axis of space, zeros moved in.

    Parameters
    ----------
    sites : int
        Largest shift in either direction.

    Examples
    --------
    >>> RandomShift(1)(np.ones((2, 1, 4, 4)), np.random.default_rng(0)).shape
    (2, 1, 4, 4)
    """

    sites: int

    def __call__(self, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Shifted copies of `inputs` (batch, channels, *space)."""
        check_size(self.sites, "random-shift sites", least=0)
        space = inputs.shape[2:]
        axes = tuple(range(2, inputs.ndim))
        padded = np.pad(inputs, ((0, 0), (0, 0), *((self.sites, self.sites),) * len(space)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, space, axis=axes)
        starts = rng.integers(0, 2 * self.sites + 1, (len(space), len(inputs)))
        return windows[np.arange(len(inputs)), :, *starts]


def resized(inputs: np.ndarray, space: Sequence[int]) -> np.ndarray:
    """Samples brought to another size by linear interpolation.

    Parameters
    ----------
    inputs : numpy.ndarray, (n, channels, *space)
        The samples.
    space : sequence of int
        New sizes, one per axis of space.

    Returns
    -------
    numpy.ndarray, (n, channels, *space)

    Raises
    ------
    ShapeError
        If the number of axes differs, or a size is not positive.

    Examples
    --------
    >>> resized(np.zeros((2, 1, 8, 8)), (28, 28)).shape
    (2, 1, 28, 28)
    """
    if len(space) != inputs.ndim - 2:
        raise ShapeError(
            f"resized: expected {inputs.ndim - 2} sizes for samples of shape {inputs.shape[1:]}, got {tuple(space)}; "
            "give one per axis of space"
        )
    from scipy import ndimage

    for n in space:
        check_size(n, "resized space")
    if tuple(space) == inputs.shape[2:]:
        return inputs
    factors = [new / old for new, old in zip(space, inputs.shape[2:], strict=True)]
    return ndimage.zoom(inputs, (1, 1, *factors), order=1, mode="nearest", grid_mode=True)
