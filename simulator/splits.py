"""What a network was trained on and what was held out: kept with it, so that every sentence about it can be true.

A sample is recognised by its fingerprint, whatever the data set is called and wherever it lies now. So of any data at
all it is known which samples a network was trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulator.data import Dataset, fingerprints_of, held_out
from simulator.errors import FileError, ShapeError

__all__ = ["Split", "Splits", "checksum", "fingerprints", "split_of_0_1"]

_RULES = ("share", "source", "earlier")


@dataclass(frozen=True, eq=False)
class Split:
    """One data set, cut in two: what a network was trained on, and what was held out.

    Parameters
    ----------
    source : str
        What the data were called.
    rule : str
        Who chose what to hold out: "share", a share of every label, see `simulator.data.held_out`; "source", the data
        have test samples of their own; "earlier", earlier training on the same samples.
    share : float or None
        Of the samples to hold out, where a share was.
    seed : int or None
        Chose them.
    checksum : str
        SHA-256 of fingerprints, targets and names of classes.
    fingerprints : numpy.ndarray of uint64, (n,)
        Of all samples, in the order of their numbers.
    held_out : numpy.ndarray of bool, (n,)
        Which of them were held out.
    """

    source: str
    rule: str
    share: float | None
    seed: int | None
    checksum: str
    fingerprints: np.ndarray
    held_out: np.ndarray

    def parts(self, data: Dataset) -> tuple[Dataset, Dataset]:
        """What to train on, and what is held out, of the data that were split."""
        if data.test is not None:
            if np.array_equal(np.flatnonzero(self.held_out), np.arange(len(data), len(self.held_out))):
                return replace(data, test=None), data.test  # without a copy
            data = data.joined()
        return data.take(~self.held_out), data.take(self.held_out)

    def __repr__(self) -> str:
        return f"Split of {self.source}: {np.sum(~self.held_out)} samples to train on, {np.sum(self.held_out)} held out"


@dataclass(frozen=True, eq=False)
class Splits:
    """All that a network was trained on, one data set after the other.

    Parameters
    ----------
    all : tuple of Split
        The last one is that of the last training.
    complete : bool, default True
        False if the network was trained before on something that is not known.

    Examples
    --------
    >>> data = Dataset(np.arange(10.0)[:, None], np.arange(10) % 2)
    >>> splits = Splits().on(data, "ten", share=0.2, seed=0)
    >>> splits.all
    (Split of ten: 8 samples to train on, 2 held out,)
    >>> int(splits.trained_on(fingerprints(data)).sum())
    8
    """

    all: tuple[Split, ...] = ()
    complete: bool = True

    def on(self, data: Dataset, source: str, share: float, seed: int) -> Splits:
        """With the split of the data to train on now, as the last one.

        Parameters
        ----------
        data : Dataset
            As it was loaded.
        source : str
            What it is called.
        share, seed : float, int
            How to hold samples out where nothing else decides.

        Returns
        -------
        Splits
            Samples that the network was trained on are never held out, and samples that were held out stay so,
            whatever the share and the seed. Of new samples those are held out that the data set apart for testing, or
            else a share of every label.

        Raises
        ------
        ShapeError
            If the share is not between 0 and 1, or no sample would be left on one side.
        """
        prints = fingerprints(data)
        whole = checksum(data, prints)
        same = self.of(prints)
        if same is not None and same.checksum == whole:
            others = tuple(split for split in self.all if split is not same)
            return replace(self, all=(*others, replace(same, source=source)))
        if same is not None:
            split = replace(same, source=source, checksum=whole)
        else:
            chosen = self.held_out(prints)
            new = ~(chosen | self.trained_on(prints))
            if not new.any():
                split = Split(source, "earlier", None, None, whole, prints, chosen)
            elif data.test is not None:
                chosen |= new & (np.arange(len(prints)) >= len(data))
                split = Split(source, "source", None, None, whole, prints, chosen)
            else:
                chosen[new] = held_out(_labels(data)[new], share, seed)
                split = Split(source, "share", float(share), int(seed), whole, prints, chosen)
        apart = int(split.held_out.sum())
        if not 0 < apart < len(prints):
            raise ShapeError(
                f"data split: expected samples on both sides, got {len(prints) - apart} and {apart} of {len(prints)}; "
                "use another share, or more samples"
            )
        return replace(self, all=(*self.all, split))

    def of(self, prints: np.ndarray) -> Split | None:
        """The split of these samples in this order, if the network was trained on them."""
        return next((split for split in reversed(self.all) if np.array_equal(split.fingerprints, prints)), None)

    def trained_on(self, prints: np.ndarray) -> np.ndarray:
        """Which samples (n,) are the same as one that the network was trained on, (n,) of bool."""
        return np.isin(prints, self._prints(held_out=False))

    def held_out(self, prints: np.ndarray) -> np.ndarray:
        """Which samples (n,) are the same as one that was held out, and as none that was trained on, (n,) of bool."""
        return np.isin(prints, self._prints(held_out=True)) & ~self.trained_on(prints)

    def unseen(self, prints: np.ndarray) -> np.ndarray:
        """Which samples (n,) to test on, (n,) of bool: those held out of the same data, or all not trained on."""
        same = self.of(prints)
        return ~self.trained_on(prints) if same is None else same.held_out

    def _prints(self, held_out: bool) -> np.ndarray:
        parts = [split.fingerprints[split.held_out == held_out] for split in self.all]
        return np.concatenate([np.zeros(0, np.uint64), *parts])

    def plain(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """As a file keeps them: plain values, and arrays by name."""
        arrays: dict[str, np.ndarray] = {}
        described = []
        for number, split in enumerate(self.all):
            arrays[f"split/{number}/fingerprints"] = split.fingerprints
            arrays[f"split/{number}/held_out"] = split.held_out
            described.append({name: getattr(split, name) for name in ("source", "rule", "share", "seed", "checksum")})
        return {"complete": self.complete, "all": described}, arrays

    @classmethod
    def restored(cls, plain: Any, arrays: Mapping[str, np.ndarray]) -> Splits:
        """From what a file holds.

        Raises
        ------
        FileError
            If that is not what `plain` gives.
        """
        fits = (
            isinstance(plain, dict) and isinstance(plain.get("complete"), bool) and isinstance(plain.get("all"), list)
        )
        if not fits or not all(isinstance(each, dict) for each in plain["all"]):
            raise _damaged("a list of data sets")
        return cls(
            tuple(_restored(number, each, arrays) for number, each in enumerate(plain["all"])), plain["complete"]
        )


def split_of_0_1(data: Dataset, source: str, share: float, seed: int) -> Split:
    """The split of version 0.1.0, whose files hold share and seed only; they must go on to name the same samples.

    There each label's samples, in random order, were cut at the rounded share.
    """
    prints = fingerprints(data)
    if data.test is not None:
        apart = np.arange(len(prints)) >= len(data)
        return Split(source, "source", None, None, checksum(data, prints), prints, apart)
    labels, apart = _labels(data), np.zeros(len(prints), bool)
    order = np.random.default_rng(seed).permutation(len(prints))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        apart[members[: round(share * len(members))]] = True
    return Split(source, "share", share, seed, checksum(data, prints), prints, apart)


def fingerprints(data: Dataset) -> np.ndarray:
    """Of all samples, those to train on and then those to test on, uint64 (n,)."""
    own = fingerprints_of(data.inputs) if data.fingerprints is None else data.fingerprints
    return own if data.test is None else np.concatenate([own, fingerprints(data.test)])


def _parts(data: Dataset) -> Iterable[Dataset]:
    return (data,) if data.test is None else (data, data.test)


def _labels(data: Dataset) -> np.ndarray:
    """Of all samples, (n,); zeros where there are none."""
    labels = [part.labels for part in _parts(data)]
    return np.concatenate(
        [np.zeros(len(part), int) if own is None else own for part, own in zip(_parts(data), labels, strict=True)]
    )


def checksum(data: Dataset, prints: np.ndarray) -> str:
    """SHA-256 of all fingerprints, targets and names of classes: the same for the same data, in any size."""
    digest = hashlib.sha256(prints.astype("<u8").tobytes())
    for part in _parts(data):
        targets = part.targets if isinstance(part.targets, Mapping) else {"": part.targets}
        for name, array in sorted(targets.items()):
            digest.update(f"{name} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array, "<i8" if array.dtype.kind in "iub" else "<f4").tobytes())
    digest.update("\0".join(data.classes).encode())
    return digest.hexdigest()


def _restored(number: int, plain: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Split:
    prints, apart = (arrays.get(f"split/{number}/{name}") for name in ("fingerprints", "held_out"))
    if prints is None or prints.dtype != np.uint64 or prints.ndim != 1:
        raise _damaged("fingerprints of 64 bits")
    if apart is None or apart.dtype != bool or apart.shape != prints.shape:
        raise _damaged("a yes or no for each sample")
    source, rule, share, seed, whole = (plain.get(name) for name in ("source", "rule", "share", "seed", "checksum"))
    numbers = (share is None or type(share) is float) and (seed is None or type(seed) is int)
    if not (
        isinstance(source, str) and isinstance(whole, str) and isinstance(rule, str) and rule in _RULES and numbers
    ):
        raise _damaged("its name, rule, share, seed and checksum")
    return Split(source, rule, share, seed, whole, prints, apart)


def _damaged(what: str) -> FileError:
    return FileError(f"expected {what} for what was trained on and held out, got something else; the file is damaged")
