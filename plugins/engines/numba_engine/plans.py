"""What the numba engine knows about a pattern: which loops compute its products, and the tables that they read."""

from __future__ import annotations

import math

import numpy as np
from simulator_plugins.engines.numba_engine.keeping import called

from simulator import WindowPattern
from simulator.threads import in_slices

SMALL_BATCH = 16  # samples that do not fill two vector registers of most processors
LARGE_DENSE = 4_000_000  # multiply-adds from which a dense product is cut into slices, one for each thread
NO_BYTES, NO_TABLE = np.empty(0, np.uint8), np.empty((0, 0), np.int32)  # for a product without pooling
NO_TABLE.flags.writeable = False


def plan(pattern):
    """The loops for a pattern, or None where the engine has none.

    Parameters
    ----------
    pattern : Pattern
        Of the matrix, not transposed.

    Returns
    -------
    Dense, Single, Convolution or None
        With ``product``, ``back`` and ``gradient``.
    """
    if not isinstance(pattern, WindowPattern) or 0 in pattern.shape or not pattern.sites.size:
        return None
    channels, (sites, taps) = pattern.channels, pattern.sites.shape
    outs, ins = np.diff(channels.out_starts), np.diff(channels.in_starts)
    whole = pattern.tie_strides == (taps, 0, 1)
    one_site = whole and sites == 1 and len(outs) == 1 == pattern.in_channels
    if one_site and np.array_equal(pattern.sites[0], np.arange(pattern.in_sites)):
        return Dense(pattern)
    if outs.max() == 1 >= ins.max() and len(np.unique(channels.inputs)) == len(channels.inputs):
        return Single(pattern, ins)
    if not whole:
        return None
    even = np.all(outs == outs[0]) and np.all(ins == ins[0])
    if even and np.array_equal(channels.inputs, np.arange(pattern.in_channels)):
        return Convolution(pattern, len(outs), int(outs[0]), int(ins[0]))
    # A connection table: as a full convolution with zeros, unless that would be mostly zeros.
    pairs = np.zeros((channels.out_channels, pattern.in_channels), bool)
    for o in range(channels.out_channels):
        pairs[o, channels.of(o)[0]] = True
    if np.count_nonzero(pairs) != channels.pairs or 8 * channels.pairs < pairs.size:
        return None
    return Convolution(pattern, 1, *pairs.shape, pairs=pairs)


def flat(array):
    """The array in one piece and one line, read-only, so that numba always meets the same type."""
    line = array.reshape(-1)
    if not line.flags.c_contiguous:  # a line with gaps stays one
        line = line.copy()
    line.flags.writeable = False
    return line


def transposed(table, in_sites):
    """Which sites read each input site: (in_sites, slots), -1 for none, where slot number s belongs to tap s % taps."""
    taps = table.shape[1]
    site, tap = np.nonzero(table >= 0)
    source = table[site, tap].astype(np.intp)
    order = np.lexsort((site, tap, source))
    site, tap, source = site[order], tap[order], source[order]
    same = np.concatenate(([False], (source[1:] == source[:-1]) & (tap[1:] == tap[:-1])))[: len(site)]
    number = np.arange(len(site))
    repeat = number - np.maximum.accumulate(np.where(same, 0, number))  # of one tap at one input
    back = np.full((in_sites, taps * (1 + int(repeat.max(initial=0)))), -1, np.int32)
    back[source, repeat * taps + tap] = site
    back.flags.writeable = False
    return back


class _Tables:
    """The table of a pattern, and the transposed one from its first use on."""

    def __init__(self, pattern):
        self.table = np.ascontiguousarray(pattern.sites, np.int32)
        self.table.flags.writeable = False
        self.sites, self.taps = self.table.shape
        self.in_sites = pattern.in_sites
        self.macs = pattern.links
        self._back = None

    @property
    def back_table(self):
        if self._back is None:
            self._back = transposed(self.table, self.in_sites)
        return self._back


class Convolution(_Tables):
    """`groups` blocks of `outs` output and `ins` input channels; with `pairs` a table as a full block with zeros."""

    def __init__(self, pattern, groups, outs, ins, pairs=None):
        super().__init__(pattern)
        self.groups, self.outs, self.ins, self._pairs = groups, outs, ins, pairs
        self.macs = groups * outs * ins * self.table.size
        self._channels = pattern.channels

    def _full(self, weight):
        if self._pairs is None:
            return weight
        full = np.zeros((*self._pairs.shape, self.taps), weight.dtype)
        for o in range(self.outs):
            inputs, pair = self._channels.of(o)
            full[o, inputs] = weight.reshape(-1, self.taps)[pair : pair + len(inputs)]
        return full

    def _packed(self, loops, weight, bias, outs, ins, out_stride, in_stride):
        sixes, fours = called(loops, loops.block_counts, outs)
        packed = np.empty(self.groups * (6 * sixes + 4 * fours) * (1 + self.taps * ins), weight.dtype)
        bias = np.empty(0, weight.dtype) if bias is None else bias
        size = self.outs * self.ins * self.taps
        strides = (size, out_stride, in_stride)
        arrays = packed, flat(self._full(weight)), flat(bias)
        called(loops, loops.pack, *arrays, self.groups, outs, ins, self.taps, *strides)
        return packed

    def speed(self, batch):
        """Multiply-adds per second of one core, roughly."""
        filled = self.outs / (2 * -(-max(4, self.outs) // 2))  # rows of a block that are used
        columns = self.sites * batch
        # A single tap makes as much to read as to multiply; a small batch is gathered number by number.
        filled *= (0.65 if self.taps == 1 else 1) * (0.75 if batch < SMALL_BATCH else 1)
        return 42e9 * filled * (batch + 2) / (batch + 4) * columns / (columns + 80)  # 80: the weights are put in order

    def product(self, run, weight, bias, x, y, relu, chosen=NO_BYTES, pooling=NO_TABLE):
        """y = W x + bias, and its positive part if `relu`.

        With a table of `pooling`, and a whole panel of samples, the largest of these in each window and the numbers of
        their taps.
        """
        ins, taps = self.ins, self.taps
        packed = self._packed(run.loops, weight, bias, self.outs, ins, ins * taps, taps)
        more = relu, chosen, pooling, self._pairs
        self._multiply(run, y, x, packed, self.table, self.outs, ins, self.in_sites, *more)

    def back(self, run, weight, dy, dx):
        """dx = Wᵀ dy."""
        packed = self._packed(run.loops, weight, None, self.ins, self.outs, self.taps, self.ins * self.taps)
        more = False, NO_BYTES, NO_TABLE, None if self._pairs is None else self._pairs.T
        self._multiply(run, dx, dy, packed, self.back_table, self.ins, self.outs, self.sites, *more)

    def _multiply(self, run, y, x, packed, table, outs, ins, in_sites, relu, chosen, pooling, pairs):
        if pairs is not None and not np.isfinite(x).all():  # NaN times the zero of what is not connected is NaN
            for out, connected in enumerate(pairs):
                seen, found, places = x.reshape(ins, -1).copy(), np.empty_like(y), np.empty_like(chosen)
                seen[~connected] = 0
                more = relu, places, pooling, None
                self._multiply(run, found, seen.reshape(x.shape), packed, table, outs, ins, in_sites, *more)
                y.reshape(outs, -1)[out] = found.reshape(outs, -1)[out]
                chosen.reshape(outs, -1)[out] = places.reshape(outs, -1)[out]
            return
        batch, size = x.shape[-1], x.itemsize
        apart = math.gcd(in_sites * batch * size, 4096)  # how far rows lie apart that share a set of the cache
        direct = batch * size % run.loops.PANEL == 0 and ins * apart <= 4 * 4096
        shape = (self.taps, self.groups, outs, ins, in_sites, batch, direct, relu)
        arrays = (y.reshape(-1), chosen.reshape(-1), flat(x), packed, table, pooling)
        run(self.macs * batch, "product", x.dtype, *arrays, *shape)

    def gradient(self, run, x, dy):
        """Of the weight, in one line."""
        dw = np.empty(self.groups * self.outs * self.ins * self.taps, x.dtype)
        batch = x.shape[-1]
        shape = (self.groups, self.outs, self.ins, self.in_sites, batch)
        run(self.macs * batch, "weight_gradient", x.dtype, dw, flat(dy), flat(x), self.table, *shape)
        if self._pairs is None:
            return dw
        dw = dw.reshape(*self._pairs.shape, self.taps)
        return np.concatenate([dw[o, self._channels.of(o)[0]].ravel() for o in range(self.outs)])


class Dense:
    """Every unit connected to every unit: NumPy's own product."""

    def __init__(self, pattern):
        self.shape = pattern.shape
        self.macs = pattern.nnz

    def speed(self, batch):
        """Multiply-adds per second of one core, roughly."""
        return 35e9 * batch / (batch + 16)

    def _multiply(self, run, a, b, out):
        def rows(part):
            np.matmul(a[part], b, out=out[part])

        if out.size * a.shape[1] < LARGE_DENSE:
            np.matmul(a, b, out=out)
        else:
            in_slices(rows, len(out), run.threads)

    def product(self, run, weight, bias, x, y, relu):
        """y = W x + bias, and its positive part if `relu`."""
        (outs, ins), batch = self.shape, x.shape[-1]
        y = y.reshape(outs, batch)  # a convolution whose window is as large as its input has axes of space, too
        self._multiply(run, weight.reshape(self.shape), x.reshape(ins, batch), y)
        if bias is not None:
            y += bias[:, None]
        if relu:
            np.maximum(y, 0, out=y)

    def back(self, run, weight, dy, dx):
        """dx = Wᵀ dy."""
        (outs, ins), batch = self.shape, dy.shape[-1]
        self._multiply(run, weight.reshape(self.shape).T, dy.reshape(outs, batch), dx.reshape(ins, batch))

    def gradient(self, run, x, dy):
        """Of the weight, in one line."""
        (outs, ins), batch = self.shape, x.shape[-1]
        dw = np.empty(self.shape, x.dtype)
        self._multiply(run, dy.reshape(outs, batch), x.reshape(ins, batch).T, dw)
        return dw.reshape(-1)


class Single(_Tables):
    """Each output channel reads one input channel, or none, and each input channel is read once at most."""

    def __init__(self, pattern, ins):
        super().__init__(pattern)
        channels, pair_stride = pattern.channels, pattern.tie_strides[0]
        outs = len(ins)
        self.site_stride, self.tap_stride = pattern.tie_strides[1:]
        self.n_ties = pattern.n_ties
        self.sources = np.full(outs, -1)
        self.sources[ins == 1] = channels.inputs
        self.bases = channels.pair_starts[:-1] * pair_stride
        self.readers, self.back_bases = np.full(pattern.in_channels, -1), np.zeros(pattern.in_channels, np.intp)
        self.readers[channels.inputs] = np.flatnonzero(ins == 1)
        self.back_bases[channels.inputs] = self.bases[ins == 1]
        # Only where channels share no weight, may threads add up their gradients.
        self.apart = pair_stride > (self.sites - 1) * self.site_stride + (self.taps - 1) * self.tap_stride

    def speed(self, batch):
        """Multiply-adds per second of one core, roughly."""
        return 4e9 * batch / (batch + 8)

    def product(self, run, weight, bias, x, y, relu):
        """y = W x + bias, and its positive part if `relu`."""
        self._multiply(run, weight, x, y, self.table, self.sources, self.bases, self.in_sites, False)
        finish(run, y, bias, relu)

    def back(self, run, weight, dy, dx):
        """dx = Wᵀ dy."""
        self._multiply(run, weight, dy, dx, self.back_table, self.readers, self.back_bases, self.sites, True)

    def _multiply(self, run, weight, x, y, table, sources, bases, in_sites, back):
        batch = x.shape[-1]
        ties = (sources, bases, self.site_stride, self.tap_stride, in_sites, batch, back)
        arrays = (y.reshape(-1), flat(x), flat(weight), table, self.taps)
        run(8 * self.macs * batch, "single_product", x.dtype, *arrays, *ties)

    def gradient(self, run, x, dy):
        """Of the weight, in one line."""
        batch = x.shape[-1]
        sums = np.zeros(self.n_ties)
        ties = (self.sources, self.bases, self.site_stride, self.tap_stride, self.in_sites, batch)
        arrays = (sums, flat(dy), flat(x), self.table)
        work = 8 * self.macs * batch if self.apart else 0
        run(work, "single_gradient", x.dtype, *arrays, *ties)
        return sums.astype(x.dtype)


class Transposed:
    """The products of a transposed matrix."""

    def __init__(self, base):
        self.base, self.macs, self.speed = base, base.macs, base.speed

    def product(self, run, weight, bias, x, y, relu):
        """y = Wᵀ x + bias, and its positive part if `relu`."""
        self.base.back(run, weight, x, y)
        finish(run, y, bias, relu)

    def back(self, run, weight, dy, dx):
        """dx = W dy."""
        self.base.product(run, weight, None, dy, dx, False)

    def gradient(self, run, x, dy):
        """Of the weight, in one line."""
        return self.base.gradient(run, dy, x)


def finish(run, y, bias, relu):
    """Add one number to each channel of y, in place, and take the positive part if `relu`."""
    if bias is None and not relu:
        return
    n = len(y)
    zeros = np.zeros(n, y.dtype)
    offsets = zeros if bias is None else bias
    arrays = (y.reshape(-1), flat(y), flat(zeros), flat(np.ones(n, y.dtype)), flat(offsets))
    run(16 * y.size, "scaled", y.dtype, *arrays, relu)
