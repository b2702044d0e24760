"""The BLAS engine: a window matrix in its factored form, a gather by the window table and one dense product per group.

In this file

- `BLASEngine`: the three products, and a kernel that predicts a layer and what follows it in one pass;
- `_Factors`: a pattern seen as dense matrices and blocks of sites;
- `_Slide`: all that a block reads as one strided copy of the padded input, where the layer tells its window;
- `_grids`: any other table of sites as copies of whole grids of them, so that Python has little to say.
"""

import bisect
import contextlib
import math
import threading
import weakref
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator import Add, MaxPool, ReLU, SciPyEngine, WindowPattern, hookimpl
from simulator.execution import alone
from simulator.patterns import TransposedPattern
from simulator.threads import check_threads, in_slices, one_blas_thread

_PANEL_BYTES = 2**21  # of the gathered inputs of a block of sites, where this leaves it columns enough
_COLUMNS = 256  # of a block: for each product BLAS rearranges the whole weight, which wants to be worth it
_LONG = 2**16  # numbers that are worth a thread when they are copied at once
_CHUNK = 2**19  # numbers that a thread goes over at a time: Python's threads wait for each other at each operation
_BATCH_NORM = "simulator_plugins.layers.batch_norm.BatchNorm"  # plugins do not import each other
_ALL = slice(None)


class BLASEngine(SciPyEngine):
    """Window matrices as dense products: for each block of output sites the inputs are gathered, then multiplied.

    As a matrix: the rows of one site and one group of channels are a dense matrix (outs, fan * taps), the same for all
    sites, times a 0/1 matrix that picks the inputs of this site. Only the dense one is ever stored.

    Parameters
    ----------
    threads : int, optional
        How many cores it uses. Default: all.

    Raises
    ------
    ShapeError
        If `threads` is not a positive integer.

    Notes
    -----
    Patterns whose weights differ from site to site (locally connected layers), explicit ones, and the transposed
    product where one tap reads an input at two sites (replicating padding) are left to `SciPyEngine`. The order of sums
    depends on the number of threads and on nothing else.

    References
    ----------
    K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for document processing", 2006.

    Examples
    --------
    >>> from simulator import Conv, TiedMatrix
    >>> W = TiedMatrix(Conv(1, kernel=2).pattern((1, 4)), [1.0, 10.0])
    >>> BLASEngine().apply(W, np.array([[1.0], [2.0], [3.0], [4.0]])).ravel()
    array([21., 32., 43.])
    """

    def __init__(self, threads=None):
        self._workers = check_threads(threads, "engine blas")
        super().__init__(threads)
        self._known = weakref.WeakKeyDictionary()  # what was found out about patterns

    def __reduce__(self):
        return type(self), (self.threads,)

    def apply(self, matrix, x):
        if isinstance(matrix.pattern, TransposedPattern):
            return self.apply_transposed(matrix.T, x)
        factors = self._factors(matrix, x=x)
        if factors is None:
            return super().apply(matrix, x)
        y = np.empty((matrix.shape[0], x.shape[1]), x.dtype)
        with one_blas_thread():
            self._multiply(factors, factors.matrices(matrix.weight), x, y)
        return y

    def apply_transposed(self, matrix, dy):
        if isinstance(matrix.pattern, TransposedPattern):
            return self.apply(matrix.T, dy)
        factors = self._factors(matrix, dy=dy)
        if factors is None or factors.repeats:
            return super().apply_transposed(matrix, dy)
        with one_blas_thread():
            return self._multiply_transposed(factors, matrix.weight, dy)

    def grad(self, matrix, x, dy):
        if isinstance(matrix.pattern, TransposedPattern):
            return self.grad(matrix.T, dy, x)
        factors = self._factors(matrix, x=x, dy=dy)
        if factors is None:
            return super().grad(matrix, x, dy)
        with one_blas_thread():
            return self._gradient(factors, x, dy).reshape(matrix.weight.shape)

    def need(self, nodes, batch, dtype, backward):
        """The gathered windows and the padded input; on the way back the gradient of the weight twice again; in
        training, what nodes in a row keep one by one, and in prediction, weights that a batch normalisation scales.

        A matrix that is left to `SciPyEngine` is counted as there.
        """
        size = batch * dtype.itemsize
        back = sum(math.prod(node.shape) for node in nodes[:-1]) * size
        back += sum(int(getattr(n.layer, "keeps", 0) * math.prod(n.shape)) for n in nodes) * size
        passing = math.prod(nodes[0].input_shapes[0]) * size
        pattern = nodes[0].pattern
        if pattern is None:
            return 0, back, passing
        base = pattern.base if isinstance(pattern, TransposedPattern) else pattern
        factors = self._factors_of(base)
        if factors is None:
            return super().need(nodes, batch, dtype, backward)._replace(back=back)
        for part in factors.parts:
            blocks = factors.blocks(part, batch, self._workers)
            at_once = sum(block.last - block.first for block in blocks[: self._workers])
            passing += 0 if factors.direct else part.channels * part.taps * at_once * size
        weights = base.n_ties * dtype.itemsize
        scaled = not backward and any(map(_is_batch_norm, nodes))
        return scaled * weights, back, max(passing, backward * 2 * weights)

    def speed(self, pattern, batch):
        """Multiply-adds per second, roughly, on all cores that are used; 0 where the work is left to `SciPyEngine`.

        Parameters
        ----------
        pattern : Pattern
            Of the matrix.
        batch : int
            How many samples there will be.

        Returns
        -------
        float

        Notes
        -----
        From constants, so that the answer is always the same: on each core 35e9 multiply-adds per second in a large
        product, 0.4 ns to gather a number, 1 µs to begin a product, 2 µs to copy a grid of sites; 200 µs for a start.
        """
        if isinstance(pattern, TransposedPattern):
            return self.speed(pattern.base, batch)
        factors = self._factors_of(pattern)
        if factors is None or not batch:
            return 0.0
        seconds = pattern.links * batch / 35e9
        for part in factors.parts:
            blocks = factors.blocks(part, batch, self._workers)
            seconds += 1e-6 * part.groups * len(blocks)
            if not factors.direct:
                seconds += 0.4e-9 * part.channels * pattern.sites.size * batch
                seconds += 2e-6 * sum(len(block.grids) for block in blocks)
        return pattern.links * batch / (seconds / self._workers + 200e-6 * len(factors.parts))

    # ------------------------------------------------------------------ products

    def _factors(self, matrix, x=None, dy=None):
        """The matrix as this engine sees it, or None where SciPy has to multiply, or to say what is wrong."""
        given = [(n, a) for n, a in zip(matrix.shape, (dy, x), strict=True) if a is not None]
        batch = given[0][1].shape[-1:]
        if matrix.dtype.char in "fd" and all(a.dtype == matrix.dtype and a.shape == (n, *batch) for n, a in given):
            return self._factors_of(matrix.pattern)
        return None

    def _factors_of(self, pattern):
        if pattern not in self._known:
            self._known[pattern] = _Factors.of(pattern)
        return self._known[pattern]

    def _multiply(self, factors, matrices, x, y, after=None, empty=np.empty):
        """Y = W X, where W is given as the matrices of its parts.

        ``after(value, pick, between, out)`` writes what follows from each block of W X while it is in the cache, with
        room for what comes in between; ``pick`` takes the block from an array (out_channels, 1 or as Y), and
        ``empty`` gives memory.
        """
        x = factors.by_site(x, factors.in_channels)
        y = factors.by_site(y, factors.out_channels)
        for part, W in zip(factors.parts, matrices, strict=True):
            source = np.ascontiguousarray(x[part.inputs])
            self._multiply_part(factors, part, W, source, part.stacked(y), after, empty)

    def _multiply_part(self, factors, part, W, source, Y, after, empty):
        blocks = factors.blocks(part, source.shape[-1], self._workers)

        def product(at, panel, columns=_ALL):
            out = Y[at][..., columns]
            # What is not in one piece takes twice as long to go over: the last pass alone writes there.
            first = out if after is None or out.flags.c_contiguous else empty(out.shape, out.dtype)
            np.matmul(W[at], panel, out=first)
            if after is not None:
                after(first, lambda array: picked(part.stacked(array)[at], columns), first, out)

        def picked(rows, columns):
            return rows if rows.shape[-1] == 1 else rows[..., columns]

        todo = iter(blocks)  # each thread takes the next block when it is done with one
        # Many short copies in two threads would wait for each other: one thread gathers while others multiply.
        short = len(blocks) > self._workers and blocks[0].slide is None
        gathering = threading.Lock() if short else contextlib.nullcontext()

        def several(_):
            memory = factors.memory(blocks, source, empty)
            for block in todo:
                with gathering:
                    panel = factors.panel(block, source, memory).reshape(*W.shape[::2], -1)
                product((_ALL,), panel, block.columns(source))

        if len(blocks) != 1:
            source = factors.padded(blocks, source, empty)
            in_slices(several, min(len(blocks), self._workers), self._workers)
            return
        # Few columns: the threads gather them together where copies are long, and each multiplies some of the rows.
        memory = factors.memory(blocks, source, empty)

        def gather(mine):
            own = memory.reshape(len(source), -1)[mine].reshape(-1)
            factors.panel(blocks[0], factors.padded(blocks, source[mine], empty), own)

        if not factors.direct:
            long = memory.size >= _LONG * blocks[0].copies
            in_slices(gather, len(source), self._workers if long else 1)
        panel = (source if factors.direct else memory).reshape(*W.shape[::2], -1)
        if part.groups == 1:
            in_slices(lambda rows: product((_ALL, rows), panel), part.outs, self._workers)
        else:
            in_slices(lambda groups: product((groups,), panel[groups]), part.groups, self._workers)

    def _multiply_transposed(self, factors, weight, dy):
        """Wᵀ dY; each thread works for input channels of its own."""
        dy = factors.by_site(dy, factors.out_channels)
        batch = dy.shape[-1]
        dx = np.zeros((factors.in_channels, factors.in_sites, batch), dy.dtype)
        for part in factors.parts:
            self._multiply_part_transposed(factors, part, part.matrices(weight), part.stacked(dy), dx)
        return dx.reshape(factors.in_channels * factors.in_sites, batch)

    def _multiply_part_transposed(self, factors, part, W, dY, dx):
        in_place = isinstance(part.inputs, slice)
        target = dx[part.inputs] if in_place else np.zeros((part.channels, *dx.shape[1:]), dx.dtype)
        blocks = factors.blocks(part, dx.shape[-1], self._workers, slide=False)

        def share(mine):
            groups, cells, channels = part.share(mine)
            for block in blocks:
                panel = np.matmul(W[groups, :, cells].swapaxes(1, 2), dY[groups, :, block.columns(dx)])
                factors.scatter(block, panel, target[channels])

        in_slices(share, part.shares, self._workers)
        if not in_place:  # several groups may read one channel
            for channel, gradient in zip(part.inputs, target, strict=True):
                dx[channel] += gradient

    def _gradient(self, factors, x, dy):
        """The gradient of each tie; each thread works for input channels of its own."""
        x, dy = factors.by_site(x, factors.in_channels), factors.by_site(dy, factors.out_channels)
        total = np.zeros(factors.n_ties, x.dtype)
        for part in factors.parts:
            dW = self._part_gradient(factors, part, np.ascontiguousarray(x[part.inputs]), part.stacked(dy))
            if isinstance(part.ties, slice):
                total[part.ties] = dW.ravel()
            else:
                total += np.bincount(part.ties.ravel(), dW.ravel(), len(total)).astype(x.dtype)
        return total

    def _part_gradient(self, factors, part, source, dY):
        dW = np.zeros((part.groups, part.outs, part.fan * factors.taps), source.dtype)
        blocks = factors.blocks(part, source.shape[-1], self._workers)

        def share(mine):
            groups, cells, channels = part.share(mine)
            own, mine = factors.padded(blocks, source[channels]), dW[groups, :, cells]
            memory = factors.memory(blocks, own)
            for block in blocks:
                panel = factors.panel(block, own, memory).reshape(*mine.shape[::2], -1)
                mine += np.matmul(dY[groups, :, block.columns(source)], panel.swapaxes(1, 2))

        in_slices(share, part.shares, self._workers)
        return dW

    # ------------------------------------------------------------------ kernels

    def kernel(self, nodes, batch):
        """For prediction: a matrix or a sum with what follows it, or a maximum pooling.

        That is batch normalisation, then the sum with another input as at the end of a residual block, then ReLU. All
        that follows a product is done to each block of it while it is in the cache. Where gradients are wanted, the
        nodes are computed one after the other.
        """
        first = nodes[0]
        if type(first.layer) is MaxPool:
            fast, count = self._max_pool(first), 1
        else:
            factors = self._factors_of(first.pattern) if _is_plain_matrix(first) else None
            count = int(factors is not None or _is_plain_sum(first))
            norm = nodes[count] if len(nodes) > count and _is_batch_norm(nodes[count]) else None
            count += norm is not None
            if factors is not None and len(nodes) > count and _is_plain_sum(nodes[count]):
                count += len(nodes[count].inputs) == 2
            relu = len(nodes) > count and type(nodes[count].layer) is ReLU
            count += relu
            fast = self._affine(nodes[:count], factors, norm, relu)
        if not count:
            return None
        slow = _one_after_the_other(nodes[:count], self)

        def kernel(run, *xs):
            if run.training or run.backward or not xs[0].size:
                return slow(run, *xs)
            y = run.empty((*nodes[count - 1].shape, xs[0].shape[-1]), run.dtype)
            fast(run, y, *xs)
            return y, None, {}

        return kernel, count

    def _affine(self, nodes, factors, norm, relu):
        """A matrix, or the sum of the inputs; then a scale and an offset for each channel; then, after a matrix, the
        sum with the second input; then a ReLU."""

        remembered = []  # references to the weights of the last run, and what follows from them

        def prepared(run, size):
            """Scaled matrices, if there are any, and the passes over an output of some size."""
            own = run.own_params(nodes[0]) if factors is not None else {}
            of_norm = (run.own_params(norm), run.own_buffers(norm)) if norm is not None else ()
            given = [array for arrays in (own, *of_norm) for array in arrays.values()]
            if remembered and all(known() is array for known, array in zip(remembered[0][0], given, strict=True)):
                return remembered[0][1]
            scale, offset, scaled = None, own.get("bias"), None
            if norm is not None:
                scale, shift = norm.layer.scale_and_offset(*of_norm)
                offset = shift if offset is None else shift + scale * offset
                if factors is not None and run.matrix(nodes[0]).weight.size < size:  # less to multiply than the output
                    scaled, scale = factors.matrices(run.matrix(nodes[0]).weight, scale), None
            passes = [
                (operation, array[:, None])
                for operation, array in ((np.multiply, scale), (np.add, offset))
                if array is not None
            ]
            if norm is not None:
                remembered[:] = [([weakref.ref(array) for array in given], (scaled, passes))]
            return scaled, passes

        def fast(run, y, *xs):
            matrices, passes = prepared(run, y.size)
            if factors is not None:
                matrices = matrices or factors.matrices(run.matrix(nodes[0]).weight)
                passes = [*passes, *((np.add, other.reshape(len(y), -1)) for other in xs[1:])]

            def after(value, pick, between, out):
                todo = [(operation, pick(array)) for operation, array in passes]
                if relu:  # NumPy is faster with many zeros than with one
                    todo.append((np.maximum, np.zeros(value.shape[-1], value.dtype)))
                for number, (operation, argument) in enumerate(todo, start=1):
                    value = operation(value, argument, out=out if number == len(todo) else between)

            if factors is not None:
                then = after if passes or relu else None
                self._multiply(factors, matrices, xs[0], y, then, run.empty)
                return
            flat = [a.reshape(len(y), -1) for a in (y, *xs)]

            def some(channels):
                out, value, *more = (a[channels] for a in flat)
                for other in more:
                    value = np.add(value, other, out=out)
                after(value, lambda array: array[channels], out, out)

            in_slices(some, len(y), self._workers, self._channels_at_a_time(y))

        return fast

    def _channels_at_a_time(self, array):
        return max(1, min(_CHUNK * len(array) // array.size, -(-len(array) // self._workers)))

    def _max_pool(self, node):
        """The largest of each window, axis by axis: first of its rows, then of what is left."""
        space = node.input_shapes[0][1:]
        tables = node.layer.window_on(space).axis_sites(space)

        def fast(run, y, x):
            def some(channels):
                largest = x[channels]
                for axis, table in enumerate(tables, start=1):
                    last = axis == len(tables)
                    shape = (*largest.shape[:axis], len(table), *largest.shape[axis + 1 :])
                    out = y[channels] if last else np.empty(shape, y.dtype)
                    largest = _largest(largest, table, axis, out)

            in_slices(some, len(y), self._workers, self._channels_at_a_time(x))

        return fast


def _largest(x, table, axis, out):
    """The largest of each window along an axis, where a table (windows, taps) tells what it reads, -1 for nothing."""
    before = (_ALL,) * axis
    out[...] = -np.inf
    for column in table.T:
        (windows,) = np.nonzero(column >= 0)
        if len(windows):
            first, last = windows[0], windows[-1] + 1
            step = 1 if last - first == 1 else int(column[first + 1] - column[first])
            some = out[*before, first:last]
            np.maximum(some, x[*before, column[first] : column[last - 1] + 1 : step], out=some)
    return out


def _is_plain_matrix(node):
    """Whether a node is a matrix with at most a bias for each channel, which are those of its pattern."""
    plain = isinstance(node.pattern, WindowPattern) and node.padding is None
    return plain and len(node.param_shapes.get("bias", ())) < 2 and node.pattern.channels.out_channels == node.shape[0]


def _is_plain_sum(node):
    """A sum of inputs of one shape."""
    return type(node.layer) is Add and len({*node.input_shapes}) == 1


def _is_batch_norm(node):
    return f"{type(node.layer).__module__}.{type(node.layer).__qualname__}" == _BATCH_NORM


def _one_after_the_other(nodes, engine):
    """A kernel of several nodes for training, made of those of each."""
    steps = alone({node.name: node for node in nodes}, engine)
    before = [None, *(step.name for step in steps[:-1])]

    def kernel(run, *xs):
        own, others = xs[: len(nodes[0].inputs)], iter(xs[len(nodes[0].inputs) :])
        pullbacks, buffers, y = [], {}, None
        for step, previous in zip(steps, before, strict=True):
            if previous is not None:
                own = [y if source == previous else next(others) for source in step.inputs]
            y, pullback, new = step.forward(run, own)
            pullbacks.append(pullback)
            buffers.update(new)

        def together(dy, input_needed):
            found, besides = {}, []
            for i in reversed(range(len(nodes))):
                needed = input_needed or any(node.param_shapes for node in nodes[:i])
                dxs, grads = steps[i].backward(pullbacks[i], dy, needed)
                for name, grad in grads.items():
                    found[name] = found[name] + grad if name in found else grad
                if before[i] is not None:
                    place = steps[i].inputs.index(before[i])
                    dy, besides = dxs[place], [*dxs[:place], *dxs[place + 1 :], *besides]
            return (*dxs, *besides), found

        return y, together, buffers

    return kernel


@dataclass(frozen=True)
class _Slide:
    """A window that slides over a padded space: for each axis taps, their distance, and that of the windows."""

    kernel: tuple
    stride: tuple
    dilation: tuple
    space: tuple
    padding: tuple  # (begin, end) for each axis
    windows: tuple

    @classmethod
    def of(cls, window, space):
        kernel, stride, dilation = window.sizes(space)
        return cls(kernel, stride, dilation, tuple(space), window.padded_shape(space), window.output_space(space))

    def padded(self, source, empty):
        """(channels, sites, batch) as (channels, *padded space, batch), with zeros around."""
        channels, _, batch = source.shape
        source = source.reshape(channels, *self.space, batch)
        if not any(map(any, self.padding)):
            return source
        padded = empty((channels, *(b + n + e for n, (b, e) in zip(self.space, self.padding, strict=True)), batch))
        for axis, (n, (begin, _)) in enumerate(zip(self.space, self.padding, strict=True), start=1):
            before = (_ALL,) * axis
            padded[*before, :begin] = 0
            padded[*before, begin + n :] = 0
        padded[:, *(slice(b, b + n) for n, (b, _) in zip(self.space, self.padding, strict=True))] = source
        return padded

    def view(self, padded, first, last):
        """What each tap reads in some rows of windows, (channels, *kernel, rows, *windows, batch), of which nothing is
        copied."""
        channel, *steps, number = padded.strides
        between_taps = [step * d for step, d in zip(steps, self.dilation, strict=True)]
        between_windows = [step * s for step, s in zip(steps, self.stride, strict=True)]
        shape = (len(padded), *self.kernel, last - first, *self.windows[1:], padded.shape[-1])
        strides = (channel, *between_taps, *between_windows, number)
        return np.ndarray(shape, padded.dtype, padded, first * between_windows[0], strides)


@dataclass(frozen=True)
class _Grid:
    """Output sites of one tap that read input sites in even steps, in rows and columns.

    Output site ``first + i * out_steps[0] + j * out_steps[1]`` reads ``start + i * in_steps[0] + j * in_steps[1]``;
    a negative start stands for padding.
    """

    tap: int
    first: int
    start: int
    shape: tuple
    out_steps: tuple
    in_steps: tuple

    def at(self, cells, first):
        """The grid in an array of outputs, whose cell `first` is that of the grid's first site."""
        return self._view(cells, first, self.out_steps)

    def of(self, cells, base=0):
        """The grid in an array of inputs, shifted by `base` sites."""
        return self._view(cells, base + self.start, self.in_steps)

    def _view(self, cells, first, steps):
        channels, per_channel, batch = cells.shape
        line = batch * cells.itemsize
        strides = (per_channel * line, steps[0] * line, steps[1] * line, cells.itemsize)
        return np.ndarray((channels, *self.shape, batch), cells.dtype, cells, first * line, strides)


def _grids(sites):
    """A table of sites (out_sites, taps) as grids, those of padding included.

    Each column is cut into runs of one step; runs of one length and step that follow each other evenly make a grid.
    """
    grids = []
    for tap, column in enumerate(sites.T.astype(np.int64)):
        runs = [
            (last - first, step, first, int(column[first]))
            for first, last, (step,) in _even(column[:, None], column[:, None] >= 0)
        ]
        for padding in (True, False):
            table = np.array([run for run in runs if (run[3] < 0) == padding], np.int64).reshape(-1, 4)
            for first, last, (out_step, in_step) in _even(table[:, 2:], table[:, :2]):
                length, step, at, start = table[first].tolist()
                grids.append(_Grid(tap, at, start, (last - first, length), (out_step, 1), (in_step, step)))
    return grids


def _even(rows, kinds):
    """Stretches, as long as possible, of one kind in which rows follow each other in one step: (first, last, step)."""
    steps = np.diff(rows, axis=0)
    edges = [*_changes(kinds), len(rows)]
    changes = [*_changes(steps), len(steps), len(rows)]
    first = 0
    while first < len(rows):
        last = min(edges[bisect.bisect_right(edges, first)], changes[bisect.bisect_right(changes, first)] + 1)
        yield first, last, (steps[first] if last - first > 1 else 0 * rows[first]).tolist()
        first = last


def _changes(rows):
    """Where a row differs from the one before it."""
    return (np.flatnonzero(np.any(rows[1:] != rows[:-1], axis=1)) + 1).tolist()


@dataclass(frozen=True)
class _Block:
    """Neighbouring output sites: which inputs they read, as grids shifted by `base`, or as rows of a slide."""

    first: int
    last: int
    base: int
    grids: list
    slide: object = None

    @property
    def copies(self):
        """How many it takes to gather what the block reads."""
        return len(self.grids) if self.slide is None else 1

    def columns(self, operand):
        """Of a dense product, where `operand` has its batch as the last axis."""
        return slice(self.first * operand.shape[-1], self.last * operand.shape[-1])


@dataclass(frozen=True, eq=False)
class _Part:
    """Neighbouring groups of one size, whose dense matrices make a stack (groups, outs, fan * taps)."""

    groups: int
    outs: int
    fan: int
    taps: int
    rows: slice  # output channels
    inputs: object  # input channels: a slice, or an array of numbers
    ties: object  # of the stack: a slice, or an array of its shape

    @property
    def channels(self):
        """Input channels that are gathered."""
        return self.groups * self.fan

    @property
    def shares(self):
        """Into how many pieces the input channels can be divided."""
        return self.groups if self.groups > 1 else self.fan

    def share(self, mine):
        """What a slice of the shares is: groups, columns of their matrices, gathered channels."""
        if self.groups > 1:
            return mine, _ALL, slice(mine.start * self.fan, mine.stop * self.fan)
        return _ALL, slice(mine.start * self.taps, mine.stop * self.taps), mine

    def matrices(self, weight):
        """(groups, outs, fan * taps)"""
        return weight.ravel()[self.ties].reshape(self.groups, self.outs, -1)

    def stacked(self, array):
        """Rows of output channels, (out_channels, ..., n), as (groups, outs, n)."""
        own = array[self.rows]
        return own.reshape(self.groups, self.outs, math.prod(own.shape[1:]))


class _Factors:
    """What the products need to know about a window pattern, found out once."""

    def __init__(self, pattern):
        channels, (self.out_sites, self.taps) = pattern.channels, pattern.sites.shape
        self.sites, self.in_sites, self.n_ties = pattern.sites, pattern.in_sites, pattern.n_ties
        self.in_channels, self.out_channels = pattern.in_channels, channels.out_channels
        whole = np.array_equal(self.sites.ravel(), np.arange(self.in_sites))
        self.direct = whole and 1 in self.sites.shape  # the input itself is the panel
        pair_step, _, tap_step = pattern.tie_strides
        in_order = np.array_equal(channels.inputs, np.arange(self.in_channels))
        self.parts = []
        for groups, outs, fan in channels.runs():
            n = groups.stop - groups.start
            first, pairs = int(channels.in_starts[groups.start]), channels.pair_starts[[groups.start, groups.stop]]
            inputs = slice(first, first + n * fan)
            if (pair_step, tap_step) == (self.taps, 1):
                ties = slice(*(pairs * self.taps).tolist())
            else:
                ties = np.arange(*pairs)[:, None] * pair_step + np.arange(self.taps) * tap_step
            rows = slice(*channels.out_starts[[groups.start, groups.stop]].tolist())
            inputs = inputs if in_order else channels.inputs[inputs]
            self.parts.append(_Part(n, outs, fan, self.taps, rows, inputs, ties))
        self._blocks = {}
        window, space = pattern.origin or (None, ())
        slides = window is not None and window.mode == "constant" and len(space) < 3 and not self.direct
        self._slide = _Slide.of(window, space) if slides else None

    @classmethod
    def of(cls, pattern):
        """What there is to know, or None for a pattern that is not a gather and dense products."""
        if not isinstance(pattern, WindowPattern) or not pattern.nnz or not np.diff(pattern.channels.in_starts).all():
            return None  # no window, or channels that read nothing
        return cls(pattern) if pattern.tie_strides[1] == 0 or len(pattern.sites) == 1 else None

    def matrices(self, weight, scale=None):
        """The stack of each part; times a number for each output channel, if `scale` is given."""
        stacks = [part.matrices(weight) for part in self.parts]
        if scale is None:
            return stacks
        return [W * part.stacked(scale[:, None]) for part, W in zip(self.parts, stacks, strict=True)]

    @cached_property
    def repeats(self):
        """Whether one tap reads one input at two output sites."""
        ordered = np.sort(self.sites, axis=0)
        return bool(np.any((ordered[1:] == ordered[:-1]) & (ordered[1:] >= 0)))

    def by_site(self, array, channels):
        """(units, batch) or (channels, *space, batch) as (channels, sites, batch)."""
        sites = math.prod(array.shape[:-1]) // channels
        return np.ascontiguousarray(array).reshape(channels, sites, array.shape[-1])

    def blocks(self, part, batch, threads, slide=True):
        """The output sites in blocks; a single one where that leaves too few columns to each thread.

        They are rows of windows, if these are not too long; unless `slide` they know their grids in any case.
        """
        if not batch:
            return []
        longest = max(-(-_COLUMNS // batch), _PANEL_BYTES // (4 * part.channels * self.taps * batch), 1)
        if self.out_sites * batch < _COLUMNS * threads:
            longest = self.out_sites
        row = 1 if self._slide is None else math.prod(self._slide.windows[1:])
        slide = self._slide if slide and row <= longest else None
        key = longest, threads, slide
        if key not in self._blocks:
            self._blocks[key] = self._cut(longest, threads, slide, 1 if slide is None else row)
        return self._blocks[key]

    def _cut(self, longest, threads, slide, row):
        rows, longest = self.out_sites // row, longest // row
        count = -(-rows // longest)
        if count > 1:
            count = -(-count // threads) * threads
        size = -(-rows // count)
        even = (n for n in range(size, size // 2, -1) if rows % (n * threads) == 0)
        size = (next(even, size) if count > 1 else size) * row
        blocks, known = [], {}
        for first in range(0, self.out_sites, size):
            last = min(first + size, self.out_sites)
            if slide is not None or self.direct:
                blocks.append(_Block(first, last, 0, [], slide))
                continue
            sites = self.sites[first:last]
            base = int(np.min(sites, initial=self.in_sites, where=sites >= 0))
            sites = np.where(sites >= 0, sites - base, -1)
            if sites.tobytes() not in known:  # most blocks are a shifted one that came before
                known[sites.tobytes()] = _grids(sites)
            blocks.append(_Block(first, last, base, known[sites.tobytes()]))
        return blocks

    def padded(self, blocks, source, empty=np.empty):
        """An input (channels, sites, batch) as the blocks want it."""
        if self.direct or not blocks or blocks[0].slide is None:
            return source
        return blocks[0].slide.padded(source, lambda shape: empty(shape, source.dtype))

    def memory(self, blocks, source, empty=np.empty):
        """Room for the panel of any of the blocks."""
        if self.direct:
            return None
        sizes = (block.last - block.first for block in blocks)
        return empty(len(source) * self.taps * max(sizes, default=0) * source.shape[-1], source.dtype)

    def panel(self, block, source, memory):
        """What the taps of a block read from the channels of a source, (channels, taps * sites, batch)."""
        if self.direct:
            return source if self.out_sites == 1 else source[:, block.first : block.last]
        channels, size, batch = len(source), block.last - block.first, source.shape[-1]
        cells = memory[: channels * self.taps * size * batch].reshape(channels, self.taps * size, batch)
        if block.slide is not None:
            row = math.prod(block.slide.windows[1:])
            view = block.slide.view(source, block.first // row, block.last // row)
            cells.reshape(view.shape)[...] = view
            return cells
        for grid in block.grids:
            place = grid.at(cells, grid.tap * size + grid.first)
            place[...] = 0 if grid.start < 0 else grid.of(source, block.base)
        return cells

    def scatter(self, block, panel, target):
        """Add to each input of `target` what the taps of a block pass back to it."""
        if self.direct:
            target = target if self.out_sites == 1 else target[:, block.first : block.last]
            target += panel.reshape(target.shape)
            return
        size, batch = block.last - block.first, target.shape[-1]
        cells = panel.reshape(len(target), self.taps * size, batch)
        for grid in block.grids:
            if grid.start >= 0:
                place = grid.of(target, block.base)
                place += grid.at(cells, grid.tap * size + grid.first)


@hookimpl
def register_engines(register):
    register("blas", BLASEngine)
