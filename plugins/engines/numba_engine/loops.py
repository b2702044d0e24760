"""The loops of the numba engine, compiled when first called and kept on disk.

All arrays are flat, rows of a whole batch one after the other. Numbers are read and written at addresses, many at once
by the processor's vector instructions: a few intrinsics below make a vector a value of numba's, so that sums stay in
registers. Everything compiled stands in this one file, because numba's cache looks at the age of one file only.

Each loop does part number `part` of `parts` equal ones and touches no result of another part; the same name with
"_threaded" behind it does all parts at once. How the work is cut never changes the order of a sum, so that any number
of threads gives the same bits.
"""

from __future__ import annotations

import os

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

PROCESS = os.getpid()  # threads of a process do not survive a fork
_features = get_host_cpu_features()
REGISTER = 64 if _features.get("avx512f") else 32 if _features.get("avx") else 16  # bytes of a vector register
PANEL = 2 * REGISTER  # bytes of a row that one register block computes at a time
SCRATCH = 256 * 1024  # bytes of gathered input, at most: what stays in the second cache of a core
STRETCH = 4096  # bytes of a row that are summed in single precision by the gradient of a weight

_one = {"nogil": True, "cache": True, "error_model": "numpy"}
_all = {**_one, "parallel": True}


class Vector(types.Type):
    """As many numbers as fit into a number of bytes."""

    def __init__(self, dtype, nbytes):
        self.dtype, self.lanes = dtype, nbytes * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}, {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        element = ir.FloatType() if vector.dtype == types.float32 else ir.DoubleType()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


def _pointer(builder, address, llvm_type):
    return builder.inttoptr(address, llvm_type.as_pointer())


def _load(context, builder, vector, address):
    llvm_type = context.get_value_type(vector)
    return builder.load(_pointer(builder, address, llvm_type), align=vector.dtype.bitwidth // 8)


def _splat(context, builder, vector, value):
    llvm_type = context.get_value_type(vector)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
    first = builder.insert_element(ir.Constant(llvm_type, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, ir.Constant(llvm_type, ir.Undefined), zeros)


@intrinsic
def size_of(typingctx, kind):
    """Bytes of a number of the type of `kind`."""

    def codegen(context, builder, signature, args):
        return ir.Constant(ir.IntType(64), kind.bitwidth // 8)

    return types.intp(kind), codegen


@intrinsic
def cast(typingctx, kind, value):
    """A number as one of the type of `kind`."""

    def codegen(context, builder, signature, args):
        return context.cast(builder, args[1], value, kind)

    return kind(kind, value), codegen


@njit(**_one)
def address_of(array):
    """Where an array begins, as a signed number: the sum of an unsigned and a signed one would be a float."""
    return np.intp(array.ctypes.data)


@intrinsic
def pointer_at(typingctx, address):
    """The address that stands at an address."""

    def codegen(context, builder, signature, args):
        return builder.load(_pointer(builder, args[0], ir.IntType(64)))

    return types.intp(types.intp), codegen


@intrinsic
def get(typingctx, kind, address):
    """One number."""

    def codegen(context, builder, signature, args):
        return builder.load(_pointer(builder, args[1], context.get_value_type(kind)))

    return kind(kind, types.intp), codegen


@intrinsic
def put(typingctx, address, value):
    """Write one number."""

    def codegen(context, builder, signature, args):
        builder.store(args[1], _pointer(builder, args[0], args[1].type))
        return context.get_dummy_value()

    return types.void(types.intp, value), codegen


@intrinsic
def load(typingctx, kind, address):
    """A vector of PANEL bytes."""
    vector = Vector(kind, PANEL)

    def codegen(context, builder, signature, args):
        return _load(context, builder, vector, args[1])

    return vector(kind, types.intp), codegen


@intrinsic
def load_register(typingctx, kind, address):
    """A vector of REGISTER bytes."""
    vector = Vector(kind, REGISTER)

    def codegen(context, builder, signature, args):
        return _load(context, builder, vector, args[1])

    return vector(kind, types.intp), codegen


@intrinsic
def load_bytes(typingctx, kind, address):
    """As many bytes as a panel has numbers, as numbers."""
    vector = Vector(kind, PANEL)

    def codegen(context, builder, signature, args):
        small = builder.load(_pointer(builder, args[1], ir.VectorType(ir.IntType(8), vector.lanes)), align=1)
        return builder.uitofp(small, context.get_value_type(vector))

    return vector(kind, types.intp), codegen


@intrinsic
def store(typingctx, address, vector):
    """Write a vector."""

    def codegen(context, builder, signature, args):
        align = vector.dtype.bitwidth // 8
        builder.store(args[1], _pointer(builder, args[0], args[1].type), align=align)
        return context.get_dummy_value()

    return types.void(types.intp, vector), codegen


@intrinsic
def store_bytes(typingctx, address, vector):
    """Write numbers from 0 to 255 as bytes."""

    def codegen(context, builder, signature, args):
        small = ir.VectorType(ir.IntType(8), vector.lanes)
        builder.store(builder.fptoui(args[1], small), _pointer(builder, args[0], small), align=1)
        return context.get_dummy_value()

    return types.void(types.intp, vector), codegen


@intrinsic
def splat(typingctx, value):
    """A panel of one number again and again."""
    vector = Vector(value, PANEL)

    def codegen(context, builder, signature, args):
        return _splat(context, builder, vector, args[0])

    return vector(value), codegen


@intrinsic
def splat_register(typingctx, value):
    """A register of one number again and again."""
    vector = Vector(value, REGISTER)

    def codegen(context, builder, signature, args):
        return _splat(context, builder, vector, args[0])

    return vector(value), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """a·b + c with one rounding."""

    def codegen(context, builder, signature, args):
        llvm_type = context.get_value_type(a)
        name = f"llvm.fma.v{a.lanes}f{a.dtype.bitwidth}"
        function = ir.FunctionType(llvm_type, [llvm_type] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)

    return a(a, a, a), codegen


@intrinsic
def plus(typingctx, a, b):
    """a + b."""
    return a(a, a), lambda context, builder, signature, args: builder.fadd(*args)


@intrinsic
def minus(typingctx, a, b):
    """a − b."""
    return a(a, a), lambda context, builder, signature, args: builder.fsub(*args)


@intrinsic
def times(typingctx, a, b):
    """a · b."""
    return a(a, a), lambda context, builder, signature, args: builder.fmul(*args)


@intrinsic
def positive_part(typingctx, a):
    """max(a, 0), where NaN stays."""

    def codegen(context, builder, signature, args):
        zero = ir.Constant(args[0].type, None)
        return builder.select(builder.fcmp_ordered("<", args[0], zero), zero, args[0])

    return a(a), codegen


@intrinsic
def where_positive(typingctx, a, b):
    """0 where a <= 0, else b: also where a is NaN."""

    def codegen(context, builder, signature, args):
        zero = ir.Constant(args[0].type, None)
        return builder.select(builder.fcmp_unordered(">", args[0], zero), args[1], zero)

    return a(a, a), codegen


@intrinsic
def where_equal(typingctx, a, b, c):
    """c where a = b, else 0."""

    def codegen(context, builder, signature, args):
        zero = ir.Constant(args[0].type, None)
        return builder.select(builder.fcmp_ordered("==", args[0], args[1]), args[2], zero)

    return a(a, a, a), codegen


@intrinsic
def where_larger(typingctx, a, b, c, d):
    """c where a is larger than b, else d; NaN is larger than anything, NaN too."""

    def codegen(context, builder, signature, args):
        a, b, c, d = args
        larger = builder.or_(builder.fcmp_ordered(">", a, b), builder.fcmp_unordered("uno", a, a))
        return builder.select(larger, c, d)

    return a(a, a, a, a), codegen


@intrinsic
def total(typingctx, a):
    """Sum of a vector's numbers."""

    def codegen(context, builder, signature, args):
        vector, lanes = args[0], a.lanes
        while lanes > 1:
            lanes //= 2
            low, high = (
                ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(start, start + lanes)))
                for start in (0, lanes)
            )
            nothing = ir.Constant(vector.type, ir.Undefined)
            vector = builder.fadd(
                builder.shuffle_vector(vector, nothing, low), builder.shuffle_vector(vector, nothing, high)
            )
        return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))

    return a.dtype(a), codegen


# ---------------------------------------------------------------------------------------- products of convolutions


@njit(**_one)
def block_counts(rows):
    """How many blocks of six rows and of four cover a number of rows best."""
    sixes, rest = rows // 6, rows % 6
    if rest == 5:
        return sixes + 1, 0
    if rest in (1, 2):
        return (sixes - 1, 2) if sixes else (0, 1)
    return sixes, 1 if rest else 0


@njit(**_one)
def pack(packed, weight, bias, groups, outs, ins, taps, group_stride, out_stride, in_stride):
    """Weights in the order in which `product` reads them: block by block the biases, then for each tap and input."""
    sixes, fours = block_counts(outs)
    at = 0
    for group in range(groups):
        first = 0
        for block in range(sixes + fours):
            rows = 6 if block < sixes else 4
            for row in range(first, first + rows):
                packed[at] = bias[group * outs + row] if row < outs and bias.size else 0
                at += 1
            for row in range(rows):
                if first + row >= outs:
                    for k in range(taps * ins):
                        packed[at + k * rows + row] = 0
                    continue
                start = group * group_stride + (first + row) * out_stride
                for i in range(ins):
                    for tap in range(taps):
                        packed[at + (tap * ins + i) * rows + row] = weight[start + i * in_stride + tap]
            at += rows * taps * ins
            first += rows


@njit(**_one)
def copy(kind, to, source, count):
    """Copy numbers, or write zeros where the source is 0."""
    size = size_of(kind)
    lanes = PANEL // size
    if source == 0:
        nothing = splat(kind)
        while count >= lanes:
            store(to, nothing)
            to += PANEL
            count -= lanes
        for i in range(count):
            put(to + i * size, kind)
        return
    while count >= lanes:
        store(to, load(kind, source))
        to += PANEL
        source += PANEL
        count -= lanes
    for i in range(count):
        put(to + i * size, get(kind, source + i * size))


@njit(**_one)
def segments(found, table, slot, batch, column, count, size):
    """Where columns stand in the rows of one slot: pieces (place, offset or -1 for zeros, length), and their number.

    Column number s·batch + b is sample b at site s.
    """
    n, place = 0, 0
    site, sample = column // batch, column % batch
    while place < count:
        length = min(batch - sample, count - place)
        read = table[site, slot]
        offset = (read * batch + sample) * size if read >= 0 else -1
        if n > 0 and offset >= 0 and found[n - 1, 1] >= 0 and found[n - 1, 1] + found[n - 1, 2] * size == offset:
            found[n - 1, 2] += length
        else:
            found[n, 0], found[n, 1], found[n, 2] = place, offset, length
            n += 1
        place += length
        site, sample = site + 1, 0
    return n


@njit(**_one)
def block_of_six(kind, y, stride, count, rows, shift, weights, starts, lengths, runs, relu):
    """Six output rows, one panel wide: biases plus weights times input rows, which stay in registers till the end."""
    size = size_of(kind)
    a = splat(get(kind, weights))
    b = splat(get(kind, weights + size))
    c = splat(get(kind, weights + 2 * size))
    d = splat(get(kind, weights + 3 * size))
    e = splat(get(kind, weights + 4 * size))
    f = splat(get(kind, weights + 5 * size))
    for run in range(runs):
        w = weights + 6 * size * (1 + starts[run])
        for _ in range(lengths[run]):
            x = load(kind, pointer_at(rows) + shift)
            a = fma(splat(get(kind, w)), x, a)
            b = fma(splat(get(kind, w + size)), x, b)
            c = fma(splat(get(kind, w + 2 * size)), x, c)
            d = fma(splat(get(kind, w + 3 * size)), x, d)
            e = fma(splat(get(kind, w + 4 * size)), x, e)
            f = fma(splat(get(kind, w + 5 * size)), x, f)
            rows += 8
            w += 6 * size
    if relu:
        a, b, c = positive_part(a), positive_part(b), positive_part(c)
        d, e, f = positive_part(d), positive_part(e), positive_part(f)
    store(y, a)
    store(y + stride, b)
    store(y + 2 * stride, c)
    store(y + 3 * stride, d)
    store(y + 4 * stride, e)
    if count > 5:
        store(y + 5 * stride, f)


@njit(**_one)
def block_of_four(kind, y, stride, count, rows, shift, weights, starts, lengths, runs, relu):
    """As `block_of_six`, for up to four rows."""
    size = size_of(kind)
    a = splat(get(kind, weights))
    b = splat(get(kind, weights + size))
    c = splat(get(kind, weights + 2 * size))
    d = splat(get(kind, weights + 3 * size))
    for run in range(runs):
        w = weights + 4 * size * (1 + starts[run])
        for _ in range(lengths[run]):
            x = load(kind, pointer_at(rows) + shift)
            a = fma(splat(get(kind, w)), x, a)
            b = fma(splat(get(kind, w + size)), x, b)
            c = fma(splat(get(kind, w + 2 * size)), x, c)
            d = fma(splat(get(kind, w + 3 * size)), x, d)
            rows += 8
            w += 4 * size
    if relu:
        a, b, c, d = positive_part(a), positive_part(b), positive_part(c), positive_part(d)
    store(y, a)
    if count > 1:
        store(y + stride, b)
    if count > 2:
        store(y + 2 * stride, c)
    if count > 3:
        store(y + 3 * stride, d)


@njit(**_one)
def all_blocks(kind, y, stride, outs, rows, shift, weights, depth, starts, lengths, runs, relu):
    """All rows of one panel of a group of output channels."""
    size = size_of(kind)
    sixes, fours = block_counts(outs)
    for block in range(sixes):
        left = outs - 6 * block
        block_of_six(kind, y, stride, left, rows, shift, weights, starts, lengths, runs, relu)
        y += 6 * stride
        weights += 6 * size * (1 + depth)
    for block in range(fours):
        left = outs - 6 * sixes - 4 * block
        block_of_four(kind, y, stride, left, rows, shift, weights, starts, lengths, runs, relu)
        y += 4 * stride
        weights += 4 * size * (1 + depth)


@njit(**_one)
def largest(kind, y, chosen, source, offsets, batch):
    """The largest of the numbers at some offsets (-1 for none) after an address, for each sample, and which it is."""
    size = size_of(kind)
    lanes = PANEL // size
    taps = len(offsets)
    head = 0
    while offsets[head] < 0:
        head += 1
    for first in range(0, batch - lanes + 1, lanes):
        best = load(kind, source + offsets[head] + first * size)
        number = splat(cast(kind, head))
        for tap in range(head + 1, taps):
            if offsets[tap] >= 0:
                value = load(kind, source + offsets[tap] + first * size)
                number = where_larger(value, best, splat(cast(kind, tap)), number)
                best = where_larger(value, best, value, best)
        store(y + first * size, best)
        store_bytes(chosen + first, number)
    for sample in range(batch // lanes * lanes, batch):
        best_one, tap_of_best = get(kind, source + offsets[head] + sample * size), head
        for tap in range(head + 1, taps):
            if offsets[tap] >= 0:
                other = get(kind, source + offsets[tap] + sample * size)
                if other > best_one or other != other:
                    best_one, tap_of_best = other, tap
        put(y + sample * size, best_one)
        put(chosen + sample, np.uint8(tap_of_best))


@njit(**_one)
def product_by_site(
    first, last, kind, y, chosen, x, packed, table, pooling, taps, outs, ins, in_sites, batch, direct, relu
):
    """`product` for a batch of a panel or more: site by site, all samples of one after the other.

    Unless `direct`, the rows of an input site are copied to a small contiguous memory, and stay there until as many
    others as it has room for have come. With a table of `pooling` the sites of one of its windows are computed one
    after the other, and only the largest numbers are written to y.
    """
    size = size_of(kind)
    lanes = PANEL // size
    slots = table.shape[1]
    pooled, row = len(pooling) > 0, batch * size
    places, window = pooling.shape if pooled else (len(table), 1)  # of y, and sites that are computed for each
    panels = -(-batch // lanes)  # the last one may overlap the one before it
    apart = in_sites * row  # bytes between channels of the input
    room = 1 if direct else max(2 * slots, SCRATCH // (panels * ins * PANEL))
    kept = np.empty(room * panels * ins * lanes if not direct else 1, packed.dtype)
    born = np.empty(in_sites, np.int64)  # number of the copy of each input site
    rows = np.empty(slots * ins, np.int64)
    starts, lengths = np.empty(slots, np.int64), np.empty(slots, np.int64)
    unpooled = np.empty(window * outs * batch if pooled else 1, packed.dtype)
    offsets = np.empty(window, np.int64)
    sixes, fours = block_counts(outs)
    group_size = (6 * sixes + 4 * fours) * (1 + taps * ins) * size
    copies, last_group = 0, -1
    for item in range(first * window, last * window):
        group, place, which = item // (places * window), item // window % places, item % window
        site = pooling[place, which] if pooled else place
        to, stride = address_of(y) + (group * outs * places + place) * row, places * row
        if pooled:
            offsets[which] = which * outs * row if site >= 0 else -1
            to, stride = address_of(unpooled) + which * outs * row, row
        source = address_of(x) + group * ins * apart
        if group != last_group:
            born[:], copies, last_group = -room, 0, group
        safe = copies - room + slots  # older ones may be overwritten before this site is done
        used, runs, previous = 0, 0, -2
        for slot in range(slots if site >= 0 else 0):
            read, tap = table[site, slot], slot % taps
            if read < 0:
                continue
            if tap == previous + 1:
                lengths[runs - 1] += ins
            else:
                starts[runs], lengths[runs] = tap * ins, ins
                runs += 1
            previous = tap
            if direct:
                address, step = source + read * row, apart
            else:
                if born[read] < safe:
                    born[read] = copies
                    copy_at = address_of(kept) + copies % room * ins * PANEL
                    copies += 1
                    for i in range(ins):
                        for panel in range(panels):
                            sample = min(panel * lanes, batch - lanes)
                            numbers = load(kind, source + i * apart + read * row + sample * size)
                            store(copy_at + (panel * room * ins + i) * PANEL, numbers)
                address, step = address_of(kept) + born[read] % room * ins * PANEL, PANEL
            for i in range(used, used + ins):
                rows[i] = address
                address += step
            used += ins
        for panel in range(panels if site >= 0 else 0):
            sample = min(panel * lanes, batch - lanes)
            shift = sample * size if direct else panel * room * ins * PANEL
            weights, at = address_of(packed) + group * group_size, to + sample * size
            all_blocks(
                kind, at, stride, outs, address_of(rows), shift, weights, taps * ins, starts, lengths, runs, relu
            )
        if pooled and which == window - 1:
            for o in range(outs):
                at = (group * outs + o) * places + place
                source = address_of(unpooled) + o * row
                largest(kind, address_of(y) + at * row, address_of(chosen) + at * batch, source, offsets, batch)
    kept[0], rows[0], unpooled[0] = 0, 0, 0  # numba frees an array after its last use, and addresses are none


@njit(**_one)
def product_by_panel(first, last, kind, y, x, packed, table, taps, outs, ins, in_sites, batch, relu):
    """`product` for a batch smaller than a panel: a panel holds several sites, its rows are gathered."""
    size = size_of(kind)
    lanes = PANEL // size
    sites, slots = table.shape
    columns = sites * batch
    panels = -(-columns // lanes)
    apart = in_sites * batch * size
    gathered = np.zeros(slots * ins * lanes, packed.dtype)
    rows = np.empty(slots * ins, np.int64)
    for i in range(len(rows)):
        rows[i] = address_of(gathered) + i * PANEL
    starts, lengths = np.empty(slots, np.int64), np.empty(slots, np.int64)
    found = np.empty((lanes, 3), np.int64)
    edge = np.empty(6 * lanes * (outs // 4 + 2), packed.dtype)
    sixes, fours = block_counts(outs)
    group_size = (6 * sixes + 4 * fours) * (1 + taps * ins) * size
    for item in range(first, last):
        group, column = item // panels, item % panels * lanes
        count = min(lanes, columns - column)
        source = address_of(x) + group * ins * apart
        used, runs, previous = 0, 0, -2
        for slot in range(slots):
            some = False
            for site in range(column // batch, (column + count - 1) // batch + 1):
                some = some or table[site, slot] >= 0
            if not some:
                continue
            tap = slot % taps
            if tap == previous + 1:
                lengths[runs - 1] += ins
            else:
                starts[runs], lengths[runs] = tap * ins, ins
                runs += 1
            previous = tap
            n = segments(found, table, slot, batch, column, count, size)
            for i in range(ins):
                to = address_of(gathered) + (used + i) * PANEL
                for j in range(n):
                    place, offset, length = found[j, 0], found[j, 1], found[j, 2]
                    copy(kind, to + place * size, source + i * apart + offset if offset >= 0 else 0, length)
            used += ins
        weights, address = address_of(packed) + group * group_size, address_of(rows)
        at = group * outs * columns + column
        whole = count == lanes
        to, stride = (address_of(y) + at * size, columns * size) if whole else (address_of(edge), PANEL)
        all_blocks(kind, to, stride, outs, address, 0, weights, taps * ins, starts, lengths, runs, relu)
        if not whole:
            for o in range(outs):
                for i in range(count):
                    y[at + o * columns + i] = edge[o * lanes + i]
    gathered[0] = rows[0] = edge[0] = 0  # numba frees an array after its last use, and addresses are none


@njit(**_one)
def product(
    part, parts, kind, y, chosen, x, packed, table, pooling, taps, groups, outs, ins, in_sites, batch, direct, relu
):
    """y = W x for a convolution, or Wᵀ x with the transposed table: (groups * outs, sites * batch).

    Table (sites, slots): the input site that each slot reads, -1 for none; slot number s uses tap s % taps. If
    `direct`, rows are read where they are. Otherwise they are copied together first, because rows whose distance is a
    multiple of 4096 bytes push each other out of the cache. With a table of `pooling`, and a panel of samples at least,
    y is as of `pool`, which comes after it.
    """
    lanes = PANEL // size_of(kind)
    if batch >= lanes:
        items = groups * (len(pooling) if len(pooling) else len(table))
        first, last = items * part // parts, items * (part + 1) // parts
        product_by_site(
            first, last, kind, y, chosen, x, packed, table, pooling, taps, outs, ins, in_sites, batch, direct, relu
        )
    elif batch > 0:
        panels = groups * -(-len(table) * batch // lanes)
        first, last = panels * part // parts, panels * (part + 1) // parts
        product_by_panel(first, last, kind, y, x, packed, table, taps, outs, ins, in_sites, batch, relu)


@njit(**_all)
def product_threaded(
    parts, kind, y, chosen, x, packed, table, pooling, taps, groups, outs, ins, in_sites, batch, direct, relu
):
    for part in prange(parts):
        product(
            part, parts, kind, y, chosen, x, packed, table, pooling, taps, groups, outs, ins, in_sites, batch, direct,
            relu,
        )  # fmt: skip


@njit(**_one)
def block_of_dots(kind, sums, i, j, a, a_step, left, where, shift, sites, length):
    """Sums of four rows times three rows over a few sites, added to ``sums[i : i + 4, j : j + 3]``.

    The four rows start at `a`, `a_step` bytes apart; the last of `left` rows stands for those that are missing. At
    `where` four numbers tell for each site how far after `a` it is and where its three rows are, but for the `shift`.
    """
    zero = splat_register(kind)
    s00 = s01 = s02 = s10 = s11 = s12 = s20 = s21 = s22 = s30 = s31 = s32 = zero
    to_1, to_2, to_3 = min(1, left - 1) * a_step, min(2, left - 1) * a_step, min(3, left - 1) * a_step
    for _ in range(sites):
        v0, b0 = a + pointer_at(where), pointer_at(where + 8) + shift
        b1, b2 = pointer_at(where + 16) + shift, pointer_at(where + 24) + shift
        where += 32
        for at in range(0, length, REGISTER):
            x0, x1, x2 = load_register(kind, b0 + at), load_register(kind, b1 + at), load_register(kind, b2 + at)
            v = load_register(kind, v0)
            s00, s01, s02 = fma(v, x0, s00), fma(v, x1, s01), fma(v, x2, s02)
            v = load_register(kind, v0 + to_1)
            s10, s11, s12 = fma(v, x0, s10), fma(v, x1, s11), fma(v, x2, s12)
            v = load_register(kind, v0 + to_2)
            s20, s21, s22 = fma(v, x0, s20), fma(v, x1, s21), fma(v, x2, s22)
            v = load_register(kind, v0 + to_3)
            s30, s31, s32 = fma(v, x0, s30), fma(v, x1, s31), fma(v, x2, s32)
            v0 += REGISTER
    sums[i, j] += total(s00)
    sums[i, j + 1] += total(s01)
    sums[i, j + 2] += total(s02)
    sums[i + 1, j] += total(s10)
    sums[i + 1, j + 1] += total(s11)
    sums[i + 1, j + 2] += total(s12)
    sums[i + 2, j] += total(s20)
    sums[i + 2, j + 1] += total(s21)
    sums[i + 2, j + 2] += total(s22)
    sums[i + 3, j] += total(s30)
    sums[i + 3, j + 1] += total(s31)
    sums[i + 3, j + 2] += total(s32)


@njit(**_one)
def weight_gradient(part, parts, kind, dw, dy, x, table, groups, outs, ins, in_sites, batch):
    """dw = sum over sites and batch of dy times x at the site of each tap: (groups * outs, ins * taps).

    For a few sites at a time the input sites that are read are copied together; blocks of four outputs by three cells
    of the kernel stay in registers meanwhile. Sites where all three cells read padding are left out. Beyond these sites
    sums are taken in double precision.
    """
    size = size_of(kind)
    sites, taps = table.shape
    length = -(-batch * size // REGISTER) * REGISTER  # bytes of a row, filled up with zeros
    stretch = max(1, STRETCH // max(1, length))  # sites at a time
    steps = -(-ins * taps // 3)
    first_k, last_k = steps * part // parts * 3, min(steps * (part + 1) // parts * 3, ins * taps)
    chunk = max(1, SCRATCH // (stretch * (taps // 2 + 1) * max(1, length)))  # channels at a time
    x_rows = np.zeros(((1 + stretch * taps) * min(ins, chunk) + 3) * length // size, dy.dtype)  # the first are zeros
    few = last_k - first_k <= 16  # dy is not read often enough to put it together
    whole = batch * size == length and (few or sites <= stretch)
    dy_rows = np.zeros(1 if whole else outs * stretch * length // size, dy.dtype)
    copied = np.zeros(in_sites, np.int64)  # number of the copy of each input site
    done = 0  # copies for the sites before these
    places = np.empty((taps, stretch), np.int64)  # of the copies that each tap reads
    where, counts = np.empty((taps, stretch, 4), np.int64), np.empty(taps, np.int64)  # by the first tap of a block
    sums = np.empty((-(-outs // 4) * 4, min(ins, chunk) * taps + 3), np.float64)
    zeros, where_address = address_of(x_rows), address_of(where)
    for group in range(groups):
        channel = first_k // taps
        while channel * taps < last_k:
            stop = min(channel + chunk, -(-last_k // taps))
            channels = stop - channel
            low, high = max(first_k, channel * taps), min(last_k, stop * taps)
            source = address_of(x) + (group * ins + channel) * in_sites * batch * size
            sums[:] = 0
            x_rows[: channels * length // size] = 0  # other numbers of channels had their copies there
            for first in range(0, sites, stretch):
                count = min(stretch, sites - first)
                row = address_of(dy) + (group * outs * sites + first) * batch * size
                apart = sites * batch * size  # from one row of dy to the next
                if not whole:
                    for o in range(outs):
                        for s in range(count):
                            to = address_of(dy_rows) + (o * stretch + s) * length
                            copy(kind, to, row + o * apart + s * batch * size, batch)
                    row, apart = address_of(dy_rows), stretch * length
                copies = 1
                for s in range(count):
                    for tap in range(taps):
                        read = table[first + s, tap]
                        places[tap, s] = zeros
                        if read < 0:
                            continue
                        if copied[read] <= done:
                            copied[read] = done + copies
                            to = zeros + copies * channels * length
                            copies += 1
                            for i in range(channels):
                                copy(kind, to + i * length, source + (i * in_sites + read) * batch * size, batch)
                        places[tap, s] += (copied[read] - done) * channels * length
                done += copies
                for k in range(low, min(high, low + 3 * taps), 3):
                    n = k % taps
                    tap_1, tap_2 = (n + 1) % taps, (n + 2) % taps
                    shift_1, shift_2 = (n + 1) // taps * length, (n + 2) // taps * length
                    used = 0
                    for s in range(count):
                        b0, b1, b2 = places[n, s], places[tap_1, s], places[tap_2, s]
                        where[n, used, 0], where[n, used, 1] = s * length, b0
                        where[n, used, 2], where[n, used, 3] = b1 + shift_1, b2 + shift_2
                        used += max(b0, b1, b2) > zeros
                    counts[n] = used
                for o in range(0, outs, 4):
                    a, left = row + o * apart, outs - o
                    for k in range(low, high, 3):
                        n, j, shift = k % taps, k - channel * taps, (k // taps - channel) * length
                        at = where_address + n * stretch * 32
                        block_of_dots(kind, sums, o, j, a, apart, left, at, shift, counts[n], length)
            for o in range(outs):
                for k in range(low, high):
                    dw[(group * outs + o) * ins * taps + k] = sums[o, k - channel * taps]
            channel = stop
    dy_rows[0] = x_rows[0] = where[0, 0, 0] = 0  # numba frees an array after its last use, and addresses are none


@njit(**_all)
def weight_gradient_threaded(parts, kind, dw, dy, x, table, groups, outs, ins, in_sites, batch):
    for part in prange(parts):
        weight_gradient(part, parts, kind, dw, dy, x, table, groups, outs, ins, in_sites, batch)


# ---------------------------------------------------------------------------------------- one channel at a time


@njit(**_one)
def single_product(
    part, parts, kind, y, x, weight, table, taps, sources, bases, site_stride, tap_stride, in_sites, batch, back
):
    """y = W x where each output channel reads one input channel, or none (-1): (channels, sites * batch).

    Channel c reads channel ``sources[c]`` with the ties from ``bases[c]`` on. The table is that of `product`; if `back`
    it is the transposed one, and the site of a tie is the one that is read.
    """
    size = size_of(kind)
    lanes = PANEL // size
    sites, slots = table.shape
    for item in range(len(sources) * sites * part // parts, len(sources) * sites * (part + 1) // parts):
        channel, site = item // sites, item % sites
        to = address_of(y) + item * batch * size
        if sources[channel] < 0:
            copy(kind, to, 0, batch)
            continue
        source = address_of(x) + sources[channel] * in_sites * batch * size
        for first in range(0, batch - lanes + 1, lanes):
            a = splat(kind)
            for slot in range(slots):
                read = table[site, slot]
                if read >= 0:
                    tie = bases[channel] + (read if back else site) * site_stride + slot % taps * tap_stride
                    a = fma(splat(weight[tie]), load(kind, source + (read * batch + first) * size), a)
            store(to + first * size, a)
        for sample in range(batch // lanes * lanes, batch):
            value = kind
            for slot in range(slots):
                read = table[site, slot]
                if read >= 0:
                    tie = bases[channel] + (read if back else site) * site_stride + slot % taps * tap_stride
                    value += weight[tie] * get(kind, source + (read * batch + sample) * size)
            put(to + sample * size, value)


@njit(**_all)
def single_product_threaded(
    parts, kind, y, x, weight, table, taps, sources, bases, site_stride, tap_stride, in_sites, batch, back
):
    for part in prange(parts):
        single_product(
            part, parts, kind, y, x, weight, table, taps, sources, bases, site_stride, tap_stride, in_sites, batch, back
        )


@njit(**_one)
def single_gradient(part, parts, kind, sums, dy, x, table, sources, bases, site_stride, tap_stride, in_sites, batch):
    """Add to `sums`, for each tie, dy times x over its connections; of the matrix of `single_product`."""
    size = size_of(kind)
    lanes = PANEL // size
    sites, taps = table.shape
    for channel in range(len(sources) * part // parts, len(sources) * (part + 1) // parts):
        if sources[channel] < 0:
            continue
        for site in range(sites):
            row = address_of(dy) + (channel * sites + site) * batch * size
            for tap in range(taps):
                if table[site, tap] < 0:
                    continue
                source = address_of(x) + (sources[channel] * in_sites + table[site, tap]) * batch * size
                a, value = splat(kind), kind
                for first in range(0, batch - lanes + 1, lanes):
                    a = fma(load(kind, row + first * size), load(kind, source + first * size), a)
                for sample in range(batch // lanes * lanes, batch):
                    value += get(kind, row + sample * size) * get(kind, source + sample * size)
                sums[bases[channel] + site * site_stride + tap * tap_stride] += total(a) + value


@njit(**_all)
def single_gradient_threaded(parts, kind, sums, dy, x, table, sources, bases, site_stride, tap_stride, in_sites, batch):
    for part in prange(parts):
        single_gradient(part, parts, kind, sums, dy, x, table, sources, bases, site_stride, tap_stride, in_sites, batch)


@njit(**_one)
def pool(part, parts, kind, y, chosen, x, table, channels, in_sites, batch):
    """The largest input of each window, and the number of its tap: (channels, sites * batch)."""
    row = batch * size_of(kind)
    sites, taps = table.shape
    offsets = np.empty(taps, np.int64)
    for item in range(channels * sites * part // parts, channels * sites * (part + 1) // parts):
        channel, site = item // sites, item % sites
        for tap in range(taps):
            offsets[tap] = table[site, tap] * row if table[site, tap] >= 0 else -1
        source = address_of(x) + channel * in_sites * row
        largest(kind, address_of(y) + item * row, address_of(chosen) + item * batch, source, offsets, batch)


@njit(**_all)
def pool_threaded(parts, kind, y, chosen, x, table, channels, in_sites, batch):
    for part in prange(parts):
        pool(part, parts, kind, y, chosen, x, table, channels, in_sites, batch)


@njit(**_one)
def unpool(part, parts, kind, dx, sums, dy, y, chosen, table, taps, channels, out_sites, batch):
    """dx of `pool`, by the transposed table: each input collects from the windows that chose it.

    Where y, the output of `pool` and a ReLU, is not empty, windows with y <= 0 are left out. `sums` gets the
    sum of dx over each channel, taken in single precision for one site and in double beyond it.
    """
    size = size_of(kind)
    lanes = PANEL // size
    sites, slots = table.shape
    for channel in range(channels * part // parts, channels * (part + 1) // parts):
        start, sum_of_channel = channel * out_sites * batch, 0.0
        for site in range(sites):
            to = (channel * sites + site) * batch
            sum_of_site = splat(kind)
            for first in range(0, batch - lanes + 1, lanes):
                a = splat(kind)
                for slot in range(slots):
                    if table[site, slot] >= 0:
                        at = start + table[site, slot] * batch + first
                        number = load_bytes(kind, address_of(chosen) + at)
                        value = load(kind, address_of(dy) + at * size)
                        if y.size:
                            value = where_positive(load(kind, address_of(y) + at * size), value)
                        a = plus(a, where_equal(number, splat(cast(kind, slot % taps)), value))
                store(address_of(dx) + (to + first) * size, a)
                sum_of_site = plus(sum_of_site, a)
            sum_of_rest = kind
            for sample in range(batch // lanes * lanes, batch):
                collected = kind
                for slot in range(slots):
                    if table[site, slot] >= 0:
                        at = start + table[site, slot] * batch + sample
                        if chosen[at] == slot % taps and not (y.size and y[at] <= 0):
                            collected += dy[at]
                dx[to + sample] = collected
                sum_of_rest += collected
            sum_of_channel += total(sum_of_site) + sum_of_rest
        sums[channel] = sum_of_channel


@njit(**_all)
def unpool_threaded(parts, kind, dx, sums, dy, y, chosen, table, taps, channels, out_sites, batch):
    for part in prange(parts):
        unpool(part, parts, kind, dx, sums, dy, y, chosen, table, taps, channels, out_sites, batch)


# ---------------------------------------------------------------------------------------- unit by unit


@njit(**_one)
def masked(part, parts, kind, g, sums, dy, y):
    """g = 0 where y <= 0 and dy elsewhere, with its sum over each channel: (channels, n). Without y, g is dy itself.

    Sums are taken in single precision over a stretch, in double precision beyond it.
    """
    size = size_of(kind)
    n = dy.size // len(sums)
    for channel in range(len(sums) * part // parts, len(sums) * (part + 1) // parts):
        s = 0.0
        at, end = channel * n * size, (channel + 1) * n * size
        while at < end:
            a, value = splat(kind), kind
            stop = min(at + STRETCH, end)
            while at + PANEL <= stop:
                v = load(kind, address_of(dy) + at)
                if y.size:
                    v = where_positive(load(kind, address_of(y) + at), v)
                    store(address_of(g) + at, v)
                a = plus(a, v)
                at += PANEL
            while at < stop:
                i = at // size
                if y.size:
                    g[i] = kind if y[i] <= 0 else dy[i]
                    value += g[i]
                else:
                    value += dy[i]
                at += size
            s += total(a) + value
        sums[channel] = s


@njit(**_all)
def masked_threaded(parts, kind, g, sums, dy, y):
    for part in prange(parts):
        masked(part, parts, kind, g, sums, dy, y)


@njit(**_one)
def rectified_sum(part, parts, kind, y, a, b, relu):
    """y = a + b, or a alone where b is empty; its positive part if `relu`."""
    size = size_of(kind)
    lanes = PANEL // size
    panels = -(-y.size // lanes)
    for panel in range(panels * part // parts, panels * (part + 1) // parts):
        first = panel * lanes
        if first + lanes <= y.size:
            v = load(kind, address_of(a) + first * size)
            if b.size:
                v = plus(v, load(kind, address_of(b) + first * size))
            if relu:
                v = positive_part(v)
            store(address_of(y) + first * size, v)
            continue
        for i in range(first, y.size):
            value = a[i] + b[i] if b.size else a[i]
            y[i] = kind if relu and value < 0 else value


@njit(**_all)
def rectified_sum_threaded(parts, kind, y, a, b, relu):
    for part in prange(parts):
        rectified_sum(part, parts, kind, y, a, b, relu)


@njit(**_one)
def scale(kind, y, x, n, centre, factor, offset, relu):
    """(x − centre) · factor + offset for n numbers at an address, with ReLU or without."""
    size = size_of(kind)
    c, f, o = splat(centre), splat(factor), splat(offset)
    while n * size >= PANEL:
        v = fma(minus(load(kind, x), c), f, o)
        if relu:
            v = positive_part(v)
        store(y, v)
        x += PANEL
        y += PANEL
        n -= PANEL // size
    for i in range(n):
        value = (get(kind, x + i * size) - centre) * factor + offset
        put(y + i * size, kind if relu and value < 0 else value)


@njit(**_one)
def scaled(part, parts, kind, y, x, centres, factors, offsets, relu):
    """Each channel minus its centre, times its factor, plus its offset: (channels, n)."""
    size = size_of(kind)
    channels = len(factors)
    n = x.size // channels
    for c in range(channels * part // parts, channels * (part + 1) // parts):
        at = c * n * size
        scale(kind, address_of(y) + at, address_of(x) + at, n, centres[c], factors[c], offsets[c], relu)


@njit(**_all)
def scaled_threaded(parts, kind, y, x, centres, factors, offsets, relu):
    for part in prange(parts):
        scaled(part, parts, kind, y, x, centres, factors, offsets, relu)


@njit(**_one)
def power_sum(kind, x, n, centre, squares):
    """Sum of x − centre over n numbers at an address, or of its squares."""
    size = size_of(kind)
    lanes = PANEL // size
    c = splat(centre)
    s = 0.0
    while n > 0:
        a, b, value = splat(kind), splat(kind), kind
        count = min(n, STRETCH // size)
        n -= count
        while count >= 2 * lanes:
            v, w = minus(load(kind, x), c), minus(load(kind, x + PANEL), c)
            a, b = (fma(v, v, a), fma(w, w, b)) if squares else (plus(a, v), plus(b, w))
            x += 2 * PANEL
            count -= 2 * lanes
        for _ in range(count):
            centred = get(kind, x) - centre
            value += centred * centred if squares else centred
            x += size
        s += total(plus(a, b)) + value
    return s


@njit(**_one)
def normalised(part, parts, kind, y, means, variances, inverses, x, weight, bias, epsilon, relu):
    """Each channel with mean 0 and variance 1, times its weight, plus its bias: (channels, n)."""
    size = size_of(kind)
    channels = len(means)
    n = x.size // channels
    for c in range(channels * part // parts, channels * (part + 1) // parts):
        source = address_of(x) + c * n * size
        means[c] = power_sum(kind, source, n, kind, False) / n
        variances[c] = power_sum(kind, source, n, means[c], True) / n
        inverses[c] = 1 / np.sqrt(variances[c] + epsilon)
        scale(kind, address_of(y) + c * n * size, source, n, means[c], weight[c] * inverses[c], bias[c], relu)


@njit(**_all)
def normalised_threaded(parts, kind, y, means, variances, inverses, x, weight, bias, epsilon, relu):
    for part in prange(parts):
        normalised(part, parts, kind, y, means, variances, inverses, x, weight, bias, epsilon, relu)


@njit(**_one)
def normalised_back(part, parts, kind, dx, dweight, dbias, dy, y, x, weight, means, inverses, measured):
    """The way back through `normalised` (if `measured`) or `scaled`; where y is not empty through its ReLU, too."""
    size = size_of(kind)
    channels = len(means)
    n = x.size // channels
    for c in range(channels * part // parts, channels * (part + 1) // parts):
        start, end = c * n * size, (c + 1) * n * size
        centre = splat(means[c])
        sum_dy, sum_dot = 0.0, 0.0
        at = start
        while at < end:
            a, b, value, dot = splat(kind), splat(kind), kind, kind
            stop = min(at + STRETCH, end)
            while at + PANEL <= stop:
                g = load(kind, address_of(dy) + at)
                if y.size:
                    g = where_positive(load(kind, address_of(y) + at), g)
                a = plus(a, g)
                b = fma(g, minus(load(kind, address_of(x) + at), centre), b)
                at += PANEL
            for i in range(at // size, stop // size):
                if not (y.size and y[i] <= 0):
                    value += dy[i]
                    dot += dy[i] * (x[i] - means[c])
            at = stop
            sum_dy += total(a) + value
            sum_dot += total(b) + dot
        dbias[c] = sum_dy
        dweight[c] = sum_dot * inverses[c]
        factor = weight[c] * inverses[c]
        mean_dy, slope = kind, kind
        if measured:
            mean_dy = cast(kind, sum_dy / n)
            slope = cast(kind, sum_dot * inverses[c] * inverses[c] / n)
        f, m, s = splat(factor), splat(mean_dy), splat(slope)
        at = start
        while at + PANEL <= end:
            g = load(kind, address_of(dy) + at)
            if y.size:
                g = where_positive(load(kind, address_of(y) + at), g)
            if measured:
                g = minus(minus(g, m), times(minus(load(kind, address_of(x) + at), centre), s))
            store(address_of(dx) + at, times(g, f))
            at += PANEL
        for i in range(at // size, end // size):
            value = kind if y.size and y[i] <= 0 else dy[i]
            dx[i] = (value - mean_dy - (x[i] - means[c]) * slope) * factor


@njit(**_all)
def normalised_back_threaded(parts, kind, dx, dweight, dbias, dy, y, x, weight, means, inverses, measured):
    for part in prange(parts):
        normalised_back(part, parts, kind, dx, dweight, dbias, dy, y, x, weight, means, inverses, measured)
