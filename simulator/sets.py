"""Sets of units of one node, and which units of the node before them a pattern connects them to.

With the transposed pattern it goes the other way: to the units of the node after them. Nothing here grows with the
number of nonzeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from simulator.layers.base import Shape
from simulator.patterns import IdentityPattern, Pattern, TransposedPattern, WindowPattern

__all__ = ["UnitSet", "behind", "box_of", "frozen"]


@dataclass(frozen=True, eq=False)
class UnitSet:
    """A set of units in which few channels differ: each channel has one of a few sets of sites.

    Parameters
    ----------
    kind : numpy.ndarray of int, (channels,)
        Which set of sites each channel has.
    sites : numpy.ndarray of bool, (kinds, sites)
        These sets.
    """

    kind: np.ndarray
    sites: np.ndarray

    @classmethod
    def one(cls, shape: Shape, unit: int) -> UnitSet:
        """A single unit of a node of this shape."""
        sites = math.prod(shape[1:])
        kind, sets = np.zeros(shape[0], np.intp), np.zeros((2, sites), bool)
        kind[unit // sites], sets[1, unit % sites] = 1, True
        return cls(kind, sets)

    @classmethod
    def all(cls, channels: int, sites: int) -> UnitSet:
        return cls(np.zeros(channels, np.intp), np.ones((1, sites), bool))

    def mask(self) -> np.ndarray:
        """True for each unit of the set, (channels, sites)."""
        return self.sites[self.kind]

    def viewed(self, channels: int, sites: int) -> UnitSet:
        """The same units, counted in other channels and sites."""
        if (channels, sites) == (len(self.kind), self.sites.shape[1]):
            return self
        if self.sites.all():
            return UnitSet.all(channels, sites)
        mask = self.mask().reshape(channels, sites)
        first, kind = _distinct(mask)
        return UnitSet(kind, mask[first])

    def __or__(self, other: UnitSet) -> UnitSet:
        pairs, kind = np.unique(self.kind * len(other.sites) + other.kind, return_inverse=True)
        a, b = np.divmod(pairs, len(other.sites))
        return UnitSet(kind, self.sites[a] | other.sites[b])


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each different row of booleans (n, m) stands first, and which of them each row equals, (n,)."""
    packed = np.packbits(rows, axis=1)
    keys = packed.view(np.uint8 if packed.shape[1] == 1 else np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, kind = np.unique(keys, return_index=True, return_inverse=True)
    return first, kind


def _united(used: np.ndarray, sites: np.ndarray) -> UnitSet:
    """Channels that each have several sets of sites at once: `used` (channels, kinds) says which of `sites`."""
    used = used & sites.any(axis=1)
    first, kind = _distinct(used)
    return UnitSet(kind, np.stack([sites[row].any(axis=0) for row in used[first]]))


def behind(units: UnitSet, pattern: Pattern | None, shape: Shape) -> UnitSet:
    """Units that a pattern connects to those of a set.

    Parameters
    ----------
    units : UnitSet
        Some rows of the pattern.
    pattern : Pattern or None
        None connects everything with everything.
    shape : tuple of int
        Channels and space of the node whose units are the columns.

    Returns
    -------
    UnitSet
        Columns with a nonzero in one of these rows.
    """
    channels, sites = shape[0], math.prod(shape[1:])
    if pattern is None:
        return UnitSet(np.zeros(channels, np.intp), np.full((1, sites), units.sites.any()))
    return _sources(pattern, units).viewed(channels, sites)


@singledispatch
def _sources(pattern: Pattern, units: UnitSet) -> UnitSet:
    """Columns with a nonzero in one of the rows `units`."""
    indptr, indices, _ = pattern.csr
    found = np.zeros((1, pattern.shape[1]), bool)
    found[0, indices[np.repeat(units.mask().ravel(), np.diff(indptr))]] = True
    return UnitSet(np.zeros(1, np.intp), found)


@_sources.register
def _(pattern: IdentityPattern, units: UnitSet) -> UnitSet:
    return units


@_sources.register
def _(pattern: WindowPattern, units: UnitSet) -> UnitSet:
    channels = pattern.channels
    units = units.viewed(channels.out_channels, pattern.table_shape[0])
    if len(channels.in_starts) == 2 and len(channels.inputs) == pattern.in_channels:  # every output reads every input
        found = _read(pattern, np.any(units.sites, axis=0))
        return UnitSet(np.zeros(pattern.in_channels, np.intp), found[None])
    kinds = len(units.sites)
    groups = np.zeros((len(channels.out_starts) - 1, kinds), bool)  # which sets the output channels of a group have
    groups[np.repeat(np.arange(len(groups)), np.diff(channels.out_starts)), units.kind] = True
    at, kind = np.nonzero(np.repeat(groups, np.diff(channels.in_starts), axis=0))
    used = np.zeros((pattern.in_channels, kinds), bool)
    used[channels.inputs[at], kind] = True
    return _united(used, np.stack([_read(pattern, windows) for windows in units.sites]))


def _read(pattern: WindowPattern, windows: np.ndarray) -> np.ndarray:
    """Sites that some windows read, (in_sites,); `windows` (out_sites,) says which."""
    if pattern.slides is not None:
        window, space = pattern.slides
        return window.covered(space, windows)
    read = pattern.sites if windows.all() else pattern.sites.take(np.flatnonzero(windows), axis=0)
    found = np.zeros(pattern.in_sites + 1, bool)  # the last one for taps without a site
    found[read.ravel().astype(np.intp)] = True  # NumPy's own conversion is slower
    return found[:-1]


@_sources.register
def _(pattern: TransposedPattern, units: UnitSet) -> UnitSet:
    base = pattern.base
    if not isinstance(base, WindowPattern):
        return _sources.dispatch(Pattern)(pattern, units)
    channels = base.channels
    units = units.viewed(base.in_channels, base.in_sites)
    kinds = len(units.sites)
    groups = np.zeros((len(channels.in_starts) - 1, kinds), bool)  # which sets the input channels of a group have
    groups[np.repeat(np.arange(len(groups)), np.diff(channels.in_starts)), units.kind[channels.inputs]] = True
    used = np.repeat(groups, np.diff(channels.out_starts), axis=0)
    return _united(used, np.stack([_readers(base, sites) for sites in units.sites]))


def _readers(pattern: WindowPattern, sites: np.ndarray) -> np.ndarray:
    """Windows that read some sites, (out_sites,); `sites` (in_sites,) says which."""
    if pattern.slides is not None:
        window, space = pattern.slides
        return window.covering(space, sites)
    inside = np.append(sites, False)  # the last one for taps without a site
    found: np.ndarray = inside[pattern.sites].any(axis=1)
    return found


def box_of(mask: np.ndarray) -> tuple[tuple[int, int], ...]:
    """The smallest box that holds what is True: (first, one past the last) on each axis; (0, 0) if nothing is.

    Examples
    --------
    >>> box_of(np.eye(4, dtype=bool)[1:3])
    ((0, 2), (1, 3))
    """
    if not mask.any():
        return ((0, 0),) * mask.ndim
    sides = []
    for axis in range(mask.ndim):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        sides.append((int(hit[0]), int(hit[-1]) + 1))
    return tuple(sides)


def frozen(mask: np.ndarray) -> np.ndarray:
    """The array itself, read-only from now on."""
    mask.flags.writeable = False
    return mask
