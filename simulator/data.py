"""Data sets in memory: samples, targets, and how to split, normalise and resize them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simulator.errors import ShapeError, brief
from simulator.memory import check_memory
from simulator.preparation import Preparation
from simulator.windows import check_size

__all__ = ["Dataset", "Normalise", "fingerprints_of", "fitted", "held_out", "one_hot", "resized", "scaled_like"]

_BLOCK = 2**22  # numbers that are resized at once
_SMALLEST = 8  # pixels on a side: fewer numbers are no picture
_GREY = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R 601, as Pillow

Arrays = np.ndarray | Mapping[str, np.ndarray]


def _each(arrays: Arrays) -> dict[str, np.ndarray]:
    return dict(arrays) if isinstance(arrays, Mapping) else {"": arrays}


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples and their targets.

    Parameters
    ----------
    inputs : numpy.ndarray, (n, channels, *space), or dict of them by input name
        The samples; every number finite.
    targets : numpy.ndarray, (n, ...), or dict of them by output name
        Integer labels from 0, or values.
    classes : sequence of str, optional
        Name of each label, each another one.
    test : Dataset, optional
        Samples that the source sets apart for testing.
    fingerprints : numpy.ndarray of uint64, (n,), optional
        What each sample is recognised by, see `fingerprints_of`. Default: made from the inputs when they are asked for.
        A reader that brings samples to another size gives those of the samples as they are in the source, so that they
        are recognised in every size.
    preparation : Preparation, optional
        What a reader did to the samples, and what a command says of them. Default: nothing.

    Raises
    ------
    ShapeError
        If lengths differ, there is no sample, a number is NaN or infinite, a label has no class, or two classes have
        one name.

    Notes
    -----
    The number of a sample, wherever one is printed or asked for, is its position in the data as loaded: first come
    these samples, and after them those of `test` (see `joined`).

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
    fingerprints: np.ndarray | None = None
    preparation: Preparation = field(default_factory=Preparation)

    def __post_init__(self) -> None:
        arrays = [*_each(self.inputs).values(), *_each(self.targets).values()]
        for array in arrays:
            if not isinstance(array, np.ndarray) or array.ndim == 0 or array.dtype.kind not in "fiub":
                if isinstance(array, Iterable) and not isinstance(array, np.ndarray):
                    cure = "convert it with numpy.asarray"
                elif not isinstance(array, np.ndarray) or array.ndim == 0:
                    cure = "give a row for each sample"
                elif array.dtype.kind == "c":
                    cure = "take its real part, array.real"
                else:
                    cure = "convert it with array.astype(float), or number the labels with "
                    cure += "numpy.unique(labels, return_inverse=True)[1]"
                raise ShapeError(
                    f"data: expected arrays of real numbers, one row per sample, got {brief(array)}; {cure}"
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
                    f"sample {first}; leave such samples out, or put zeros there with "
                    "numpy.nan_to_num(array, posinf=0, neginf=0)"
                )
        labels = self.labels
        if labels is not None:
            most = len(self.classes) - 1 if self.classes else labels.max()
            if labels.min() < 0 or labels.max() > most:
                raise ShapeError(
                    f"data: expected labels from 0 to {most}, got {labels.min()} to {labels.max()}; correct the "
                    "labels or name more classes"
                )
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for i, name in enumerate(self.classes) if name in self.classes[:i])
            raise ShapeError(
                f"data: expected another name for each class, got {brief(twice)} twice; rename one of them"
            )
        prints = self.fingerprints
        if prints is not None and (prints.dtype != np.uint64 or prints.shape != (len(self),)):
            raise ShapeError(
                f"data: expected fingerprints uint64 ({len(self)},), got {prints.dtype} {prints.shape}; make them with "
                "simulator.data.fingerprints_of"
            )

    def __len__(self) -> int:
        return len(next(iter(_each(self.inputs).values())))

    def __repr__(self) -> str:
        shapes = {name: array.shape[1:] for name, array in _each(self.inputs).items()}
        told = ", ".join(f"{name} {shape}".strip() for name, shape in shapes.items())
        classes = f", {len(self.classes)} classes" if self.classes else ""
        test = f", and {len(self.test)} to test on" if self.test is not None else ""
        return f"Dataset of {len(self)} sample{'s'[: len(self) != 1]} {told}{classes}{test}"

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

        prints = None if self.fingerprints is None else self.fingerprints[indices]
        return replace(self, inputs=pick(self.inputs), targets=pick(self.targets), test=None, fingerprints=prints)

    def joined(self) -> Dataset:
        """All samples in one: these, and after them the test samples that the source sets apart.

        Examples
        --------
        >>> test = Dataset(np.array([[3.0]]), np.array([0]))
        >>> Dataset(np.array([[1.0], [2.0]]), np.array([0, 1]), test=test).joined().inputs.ravel().tolist()
        [1.0, 2.0, 3.0]
        """
        if self.test is None:
            return self

        def both(a: Arrays, b: Arrays) -> Arrays:
            if isinstance(a, Mapping) and isinstance(b, Mapping):
                return {name: np.concatenate([a[name], b[name]]) for name in a}
            return np.concatenate([a, b])

        own, others = self.fingerprints, self.test.fingerprints
        prints = None if own is None or others is None else np.concatenate([own, others])
        inputs, targets = both(self.inputs, self.test.inputs), both(self.targets, self.test.targets)
        return Dataset(inputs, targets, self.classes, fingerprints=prints, preparation=self.preparation)

    def mapped(self, function: Callable[[np.ndarray], np.ndarray]) -> Dataset:
        """The data with other inputs, in the test data as well.

        Parameters
        ----------
        function : callable
            ``function(inputs) -> inputs`` on all samples of one input, (n, channels, *space): such as a `Normalise`.

        Returns
        -------
        Dataset
            With the same targets, in the same order.

        Raises
        ------
        ShapeError
            If the function gives no array of finite real numbers with one row per sample.

        Examples
        --------
        >>> data = Dataset(np.array([[0.0], [1.0], [2.0]]), np.array([0, 1, 0]))
        >>> data.mapped(lambda inputs: inputs / 2).inputs.tolist()
        [[0.0], [0.5], [1.0]]
        """
        inputs: Arrays
        if isinstance(self.inputs, Mapping):
            inputs = {name: function(array) for name, array in self.inputs.items()}
        else:
            inputs = function(self.inputs)
        return replace(self, inputs=inputs, test=None if self.test is None else self.test.mapped(function))

    def split(self, share: float = 0.2, rng: np.random.Generator | int = 0) -> tuple[Dataset, Dataset]:
        """Set a share of the samples apart, of every label as nearly the same share as whole numbers allow.

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

        Notes
        -----
        What `held_out` says.
        """
        apart = held_out(np.zeros(len(self), int) if self.labels is None else self.labels, share, rng)
        if not 0 < apart.sum() < len(self):
            raise ShapeError(
                f"data split: expected samples on both sides, got {(~apart).sum()} and {apart.sum()} of {len(self)}; "
                "use another share, or more samples"
            )
        return self.take(~apart), self.take(apart)

    def splits(
        self, shares: Sequence[float] = (0.7, 0.15, 0.15), rng: np.random.Generator | int = 0
    ) -> tuple[Dataset, ...]:
        """Split into several parts, each with its share of every label: to train, to choose by, and to test on.

        Parameters
        ----------
        shares : sequence of float, default (0.7, 0.15, 0.15)
            Of the samples in each part; their sum is 1.
        rng : numpy.random.Generator or int, default 0
            Chooses them.

        Returns
        -------
        tuple of Dataset
            One per share; every sample is in exactly one of them.

        Raises
        ------
        ShapeError
            If a share is not between 0 and 1, their sum is not 1, or a part would be empty.

        Examples
        --------
        >>> data = Dataset(np.zeros((40, 1, 8, 8)), np.arange(40) % 2)
        >>> [len(part) for part in data.splits()]
        [28, 6, 6]
        """
        if not all(0 < share < 1 for share in shares) or not math.isclose(sum(shares), 1, abs_tol=1e-9):
            raise ShapeError(
                f"data splits: expected shares between 0 and 1 with the sum 1, got {tuple(shares)}; write for example "
                "(0.7, 0.15, 0.15)"
            )
        order = np.random.default_rng(rng).permutation(len(self))
        sizes, group, ties = _groups(np.zeros(len(self), int) if self.labels is None else self.labels, order)
        left, rest, part = sizes, 1.0, np.full(len(self), len(shares) - 1)
        place = _places(group, order)
        for k, share in enumerate(shares[:-1]):
            counts = _portions(left, min(1.0, share / rest), left, ties)
            start = sizes - left
            part[(place >= start[group]) & (place < (start + counts)[group])] = k
            left, rest = left - counts, rest - share
        parts = [np.flatnonzero(part == k) for k in range(len(shares))]
        if not all(len(part) for part in parts):
            raise ShapeError(
                f"data splits: expected samples in every part, got {', '.join(str(len(part)) for part in parts)} of "
                f"{len(self)}; use larger shares or more samples of each label"
            )
        return tuple(self.take(part) for part in parts)


def held_out(labels: np.ndarray, share: float, rng: np.random.Generator | int = 0) -> np.ndarray:
    """Which samples to hold out of training: a share of all, and of every label as nearly that share as can be.

    Parameters
    ----------
    labels : numpy.ndarray of int, (n,)
        Of all samples; where there are none, zeros.
    share : float
        Of the samples to hold out, between 0 and 1.
    rng : numpy.random.Generator or int, default 0
        Chooses them.

    Returns
    -------
    numpy.ndarray of bool, (n,)

    Raises
    ------
    ShapeError
        If the share is not between 0 and 1.

    Notes
    -----
    By largest remainders: of each label the whole part of its share, and one more of those labels whose share is cut
    most, until the share of all samples is reached. One sample of each label is always left to train on, so a label
    with a single sample is never held out, and other labels with few samples may not be either.

    Examples
    --------
    >>> chosen = held_out(np.repeat([0, 1, 2], [5, 3, 2]), 0.3)
    >>> np.repeat([0, 1, 2], [5, 3, 2])[chosen].tolist()
    [0, 1, 2]
    """
    if not 0 < share < 1:
        raise ShapeError(f"data split: expected a share between 0 and 1, got {share}; 0.2 sets a fifth apart")
    order = np.random.default_rng(rng).permutation(len(labels))
    sizes, group, ties = _groups(labels, order)
    counts = _portions(sizes, share, sizes - 1, ties)
    return _places(group, order) < counts[group]


def _groups(labels: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples of each label, the label's index for each sample, and where each label comes first in `order`."""
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    _, ties = np.unique(group[order], return_index=True)
    return sizes, group, ties


def _places(group: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Place of each sample among those of its label, in the order given."""
    by_label = order[np.argsort(group[order], kind="stable")]
    sizes = np.bincount(group)
    place = np.empty(len(group), int)
    place[by_label] = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place


def _portions(sizes: np.ndarray, share: float, most: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """How many of each label make up the share, by largest remainders, at most so many; equal ones by `ties`."""
    exact = share * sizes
    counts = np.minimum(exact.astype(int), most)
    missing = round(share * int(sizes.sum())) - int(counts.sum())
    while missing > 0 and (counts < most).any():
        ranked = np.lexsort((ties, np.round(counts - exact, 9)))  # rounded: equal shares must be equal
        chosen = ranked[counts[ranked] < most[ranked]][:missing]
        counts[chosen] += 1
        missing -= len(chosen)
    return counts


def fingerprints_of(inputs: Arrays) -> np.ndarray:
    """64 bits for each sample that tell it from all others: the same for the same numbers, wherever they come from.

    Parameters
    ----------
    inputs : numpy.ndarray, (n, ...), or dict of them by input name
        The samples.

    Returns
    -------
    numpy.ndarray of uint64, (n,)
        A hash of each sample's numbers as float32; its shape does not matter.

    Examples
    --------
    >>> a, b, c = fingerprints_of(np.array([[0.0, 1.0], [0.5, 1.0], [0.0, 1.0]]))
    >>> bool(a == c), bool(a == b)
    (True, False)
    """
    arrays = [array for _, array in sorted(_each(inputs).items())]
    prints = np.empty(len(arrays[0]), np.uint64)
    for i in range(len(prints)):
        digest = hashlib.blake2b(digest_size=8)
        for array in arrays:
            with np.errstate(over="ignore"):
                digest.update((np.ascontiguousarray(array[i], np.float32) + np.float32(0)).tobytes())  # no -0
        prints[i] = int.from_bytes(digest.digest(), "little")
    return prints


@dataclass(frozen=True)
class Normalise:
    """Inputs with mean 0 and standard deviation 1 in every channel, by what was measured on the training samples.

    Parameters
    ----------
    mean : sequence of float
        Subtracted, one number per channel.
    scale : sequence of float
        Divided by, one positive number per channel.

    Raises
    ------
    ShapeError
        If there is not one mean and one positive scale per channel; when called, if the inputs have another number of
        channels.

    Notes
    -----
    (x − mean) / scale. Test samples are normalised by the numbers of the training samples, for nothing may be learnt
    from them.

    Examples
    --------
    >>> data = Dataset(np.array([[[1.0, 3.0]], [[5.0, 7.0]]]), np.array([0, 1]))
    >>> normalise = Normalise.of(data)
    >>> normalise
    Normalise(mean=(4.0,), scale=(2.23606797749979,))
    >>> float(data.mapped(normalise).inputs.std())
    1.0
    """

    mean: Sequence[float]
    scale: Sequence[float]

    def __post_init__(self) -> None:
        means, scales = np.asarray(self.mean), np.asarray(self.scale)
        if (
            means.ndim != 1
            or means.shape != scales.shape
            or not (np.isfinite(means) & np.isfinite(scales) & (scales > 0)).all()
        ):
            raise ShapeError(
                f"normalise: expected one mean and one positive scale per channel, got {brief(self.mean)} and "
                f"{brief(self.scale)}; "
                "measure them with Normalise.of"
            )

    @classmethod
    def of(cls, data: Dataset | np.ndarray) -> Normalise:
        """Measure mean and standard deviation of every channel.

        Parameters
        ----------
        data : Dataset or numpy.ndarray, (n, channels, *space)
            The samples to train on. The test data of a Dataset are not looked at.

        Returns
        -------
        Normalise
            A channel without variance keeps the scale 1.

        Raises
        ------
        ShapeError
            If the data have several inputs, no sample or no channel axis.
        """
        inputs = data.inputs if isinstance(data, Dataset) else data
        if not isinstance(inputs, np.ndarray) or inputs.ndim < 2 or inputs.size == 0:
            got = "several inputs" if isinstance(inputs, Mapping) else getattr(inputs, "shape", type(inputs).__name__)
            raise ShapeError(
                f"normalise: expected samples (n, channels, *space) of one input, got {got}; give an array, for "
                "example data.inputs[name]"
            )
        axes = (0, *range(2, inputs.ndim))
        constant = inputs.max(axis=axes) == inputs.min(axis=axes)
        scale = np.where(constant, 1, inputs.std(axis=axes, dtype=np.float64))
        return cls(tuple(inputs.mean(axis=axes, dtype=np.float64).tolist()), tuple(scale.tolist()))

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Normalised `inputs` (n, channels, *space), in their own precision; integers become float32."""
        if inputs.ndim < 2 or inputs.shape[1] != len(self.mean):
            raise ShapeError(
                f"normalise: expected samples (n, {len(self.mean)}, *space), got {inputs.shape}; measure the data of "
                "these with Normalise.of"
            )
        dtype = inputs.dtype if inputs.dtype.kind == "f" else np.float32
        mean, scale = (
            np.asarray(values, dtype).reshape(-1, *(1,) * (inputs.ndim - 2)) for values in (self.mean, self.scale)
        )
        return (inputs.astype(dtype, copy=False) - mean) / scale


def one_hot(labels: np.ndarray, classes: int, dtype: Any = np.float32) -> np.ndarray:
    """Labels as rows of zeros with a one at the label.

    Parameters
    ----------
    labels : numpy.ndarray of int, (n,)
        From 0 to ``classes - 1``.
    classes : int
        Length of a row.
    dtype : numpy dtype, default float32
        Of the result.

    Returns
    -------
    numpy.ndarray, (n, classes)

    Raises
    ------
    ShapeError
        If they are no integers (n,), or one is out of range.

    Examples
    --------
    >>> one_hot(np.array([2, 0]), 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    check_size(classes, "one-hot classes")
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ShapeError(
            f"one-hot: expected integer labels (n,), got {labels.dtype} {labels.shape}; give one integer per sample, "
            "for integral floats labels.astype(int)"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ShapeError(
            f"one-hot: expected labels from 0 to {classes - 1}, got {labels.min()} to {labels.max()}; correct them or "
            "ask for more classes"
        )
    rows = np.zeros((len(labels), classes), dtype)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def _interpolation(old: int, new: int) -> np.ndarray:
    """The matrix (new, old) of linear interpolation; the borders go on as they are."""
    places = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)  # among the middles of the old ones
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(old)))


def resized(inputs: np.ndarray, space: Sequence[int], antialias: bool = False) -> np.ndarray:
    """Samples brought to another size by linear interpolation.

    Parameters
    ----------
    inputs : numpy.ndarray, (n, channels, *space)
        The samples.
    space : sequence of int
        New sizes, one per axis of space.
    antialias : bool, default False
        Where an axis becomes shorter, average over all sites that a new one covers, with the weights of a triangle, as
        Pillow does; without it thin lines are lost.

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
    for n in space:
        check_size(n, "resized space")
    if tuple(space) == inputs.shape[2:]:
        return inputs
    need = 2 * math.prod((*inputs.shape[:2], *space)) * inputs.itemsize  # callers hold the samples and cast or cut them
    check_memory(need, f"{len(inputs):,} samples of size {'x'.join(map(str, space))}", "use a smaller --input")
    # Interpolation is a matrix for each axis: a dense product is much faster than scipy.ndimage.zoom on pictures.
    matrices = [
        (_averaging if antialias and new < old else _interpolation)(old, new)
        for old, new in zip(inputs.shape[2:], space, strict=True)
    ]
    found = np.empty((*inputs.shape[:2], *space), inputs.dtype)
    step = max(1, _BLOCK // math.prod((inputs.shape[1], *space)))
    for start in range(0, len(inputs), step):
        some = inputs[start : start + step].astype(np.float64)
        for axis, matrix in enumerate(matrices, start=2):
            some = np.moveaxis(np.tensordot(some, matrix, axes=(axis, 1)), -1, axis)
        found[start : start + step] = np.rint(some) if found.dtype.kind in "iu" else some
    return found


def scaled_like(data: Dataset, like: Preparation) -> Dataset:
    """Samples in the units of those that a network was trained on.

    Parameters
    ----------
    data : Dataset
        As a reader gives it.
    like : Preparation
        Of what the network was trained on.

    Returns
    -------
    Dataset
        Where the size of the numbers decides whether they are divided, that of the network's data decides it for these,
        too. Pictures whose format says that they go from 0 to 1 are brought to the network's range.

    Examples
    --------
    >>> dark = Dataset(np.full((2, 1, 8, 8), 51.0), np.array([0, 1]), preparation=Preparation(divisor=1.0))
    >>> float(scaled_like(dark, Preparation(divisor=255.0)).inputs.max())
    0.2
    """
    own, wanted = data.preparation.divisor, like.divisor
    if isinstance(data.inputs, Mapping) or wanted is None or own == wanted:
        return data
    if own is None:
        if data.inputs.ndim < 4 or not like.range_told:
            return data
        return replace(data.mapped(like.from_unit), preparation=data.preparation.then(*like.range_told))
    factor = 1.0
    if own == 1 and data.inputs.max() > 1:  # else they have its units already
        factor = 1 / wanted
    elif wanted == 1 and like.high is not None and like.high > 1:
        factor = own
    if factor == 1:
        return data
    undone = f"divided by {own:.0f}"
    done = replace(data.preparation, notes=tuple(note for note in data.preparation.notes if note != undone))
    done = replace(done if factor > 1 else done.then(f"divided by {wanted:.0f}"), divisor=wanted)
    made = data.mapped(lambda inputs: inputs * inputs.dtype.type(factor))
    return replace(made, preparation=done)


def _averaging(old: int, new: int) -> np.ndarray:
    """What makes an axis shorter, (new, old): each new site is a mean with the weights of a triangle."""
    middles = (np.arange(new) + 0.5) * old / new
    weights = np.clip(1 - np.abs(np.arange(old) + 0.5 - middles[:, None]) * new / old, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def fitted(data: Dataset, shape: Sequence[int], who: str = "data") -> Dataset:
    """Samples brought to the shape that a network reads: pictures resized, grey or coloured; features as a picture.

    Parameters
    ----------
    data : Dataset
        Of one input.
    shape : tuple of int
        Of one sample: (channels, height, width), or (features,).
    who : str, default "data"
        What the data are called, for the error.

    Returns
    -------
    Dataset
        It tells in `preparation` what was done, and keeps the fingerprints. Coloured pictures become grey as 0.299 red
        + 0.587 green + 0.114 blue. As many features as the shape has numbers are taken in C order; as many as a square
        picture has pixels become that picture, which is resized.

    Raises
    ------
    ShapeError
        If the samples are neither pictures nor as many features.

    Examples
    --------
    >>> data = fitted(Dataset(np.zeros((2, 3, 32, 32)), np.array([0, 1])), (1, 28, 28))
    >>> data.shape, data.preparation.told
    ((1, 28, 28), 'colours to grey; resized from 32x32 to 28x28')
    """
    shape, own = tuple(shape), data.shape
    if isinstance(data.inputs, Mapping) or own == shape:
        return data
    inputs, done = data.inputs, data.preparation
    prints = fingerprints_of(inputs) if data.fingerprints is None else data.fingerprints
    between = _as_pictures(own, shape)
    if between is not None:
        inputs = inputs.reshape(len(inputs), *between)
        done = done.then(f"{math.prod(own)} numbers taken as {_times(between)}")
    if inputs.ndim == 4 and len(shape) == 3:
        if (inputs.shape[1], shape[0]) == (3, 1):
            inputs = np.tensordot(inputs, np.array(_GREY, inputs.dtype), axes=(1, 0))[:, None]
            done = done.then("colours to grey")
        elif (inputs.shape[1], shape[0]) == (1, 3):
            inputs, done = np.repeat(inputs, 3, axis=1), done.then("grey in all of 3 channels")
        if inputs.shape[1] == shape[0] and inputs.shape[1:] != shape:
            before = inputs.shape[2:]
            inputs = resized(inputs, shape[1:], antialias=True)
            done = done.then(f"resized from {_times(before)} to {_times(shape[1:])}", size=before)
    if inputs.shape[1:] != shape:
        raise ShapeError(f"{who}: expected samples of shape {shape}, got {own}; use data of that shape")
    test = None if data.test is None else fitted(data.test, shape, who)
    return replace(data, inputs=inputs, fingerprints=prints, preparation=done, test=test)


def _as_pictures(own: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape in which to take features for a picture, or a picture for features; None where neither is asked for."""
    if (len(own) == 1) == (len(shape) == 1):
        return None
    if math.prod(own) == math.prod(shape):
        return shape
    side = math.isqrt(own[0] // shape[0])
    square = len(own) == 1 and len(shape) == 3 and shape[0] * side * side == own[0] and side >= _SMALLEST
    return (shape[0], side, side) if square else None


def _times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
