"""Which input channels each output channel of a window layer reads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["ChannelGroups"]


@dataclass(frozen=True, eq=False)
class ChannelGroups:
    """Which input channels each output channel reads, as groups of output channels that read the same ones.

    Memory grows with the number of groups and their inputs, not with the number of (output, input) channel pairs. A
    *pair* is numbered output channel by output channel, within one in the order of its inputs.

    Parameters
    ----------
    out_starts : numpy.ndarray of int, (groups + 1,)
        Group g holds the output channels from ``out_starts[g]`` to ``out_starts[g + 1]``.
    in_starts : numpy.ndarray of int, (groups + 1,)
        Group g reads ``inputs[in_starts[g]:in_starts[g + 1]]``.
    inputs : numpy.ndarray of int
        Input channels of all groups, one group after the other.
    """

    out_starts: np.ndarray
    in_starts: np.ndarray
    inputs: np.ndarray

    @classmethod
    def full(cls, out_channels: int, in_channels: int, groups: int = 1) -> ChannelGroups:
        """`groups` equal blocks; one block connects every output with every input channel."""
        each = in_channels // groups
        starts = np.arange(groups + 1)
        return cls(starts * (out_channels // groups), starts * each, np.arange(each * groups))

    @classmethod
    def table(cls, rows: Sequence[Sequence[int]]) -> ChannelGroups:
        """A connection table: for each output channel the input channels that it reads."""
        lengths = [len(row) for row in rows]
        flat = np.array([c for row in rows for c in row], dtype=np.intp)
        return cls(np.arange(len(rows) + 1), np.concatenate(([0], np.cumsum(lengths, dtype=np.intp))), flat)

    @property
    def out_channels(self) -> int:
        return int(self.out_starts[-1])

    @cached_property
    def pair_starts(self) -> np.ndarray:
        """Number of the first pair of each group, and after it the number of pairs: (groups + 1,)."""
        return np.concatenate(([0], np.cumsum(np.diff(self.out_starts) * np.diff(self.in_starts))))

    @property
    def pairs(self) -> int:
        return int(self.pair_starts[-1])

    @property
    def nbytes(self) -> int:
        return self.out_starts.nbytes + self.in_starts.nbytes + self.inputs.nbytes + self.pair_starts.nbytes

    def of(self, out_channel: int) -> tuple[np.ndarray, int]:
        """Input channels of one output channel, and the number of its first pair."""
        g = int(np.searchsorted(self.out_starts, out_channel, side="right")) - 1
        inputs = self.inputs[self.in_starts[g] : self.in_starts[g + 1]]
        return inputs, int(self.pair_starts[g]) + (out_channel - int(self.out_starts[g])) * len(inputs)

    def using(self, in_channel: int) -> tuple[np.ndarray, np.ndarray]:
        """Output channels that read one input channel, and the numbers of these pairs."""
        outs, pairs = [], []
        for at in np.flatnonzero(self.inputs == in_channel):
            g = int(np.searchsorted(self.in_starts, at, side="right")) - 1
            out = np.arange(self.out_starts[g], self.out_starts[g + 1])
            fan = self.in_starts[g + 1] - self.in_starts[g]
            outs.append(out)
            pairs.append(self.pair_starts[g] + (out - self.out_starts[g]) * fan + at - self.in_starts[g])
        if not outs:
            return np.zeros(0, np.intp), np.zeros(0, np.intp)
        return np.concatenate(outs), np.concatenate(pairs)

    def ends(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Output and input channel of each of some pairs."""
        g = np.searchsorted(self.pair_starts, pairs, side="right") - 1
        out, at = np.divmod(pairs - self.pair_starts[g], np.diff(self.in_starts)[g])
        return self.out_starts[g] + out, self.inputs[self.in_starts[g] + at]

    def runs(self) -> Iterator[tuple[slice, int, int]]:
        """Neighbouring groups of one size: (slice of groups, output channels each, inputs each)."""
        sizes = np.stack([np.diff(self.out_starts), np.diff(self.in_starts)], axis=1)  # (groups, 2)
        breaks = np.flatnonzero(np.any(sizes[1:] != sizes[:-1], axis=1)) + 1
        edges = [0, *breaks.tolist(), len(sizes)]
        for a, b in itertools.pairwise(edges):
            if b > a:
                yield slice(a, b), int(sizes[a, 0]), int(sizes[a, 1])
