"""The numba engine: compiled loops over the window table, with the batch as the axis of the vector instructions.

In this folder

- `NumbaEngine` (here): the three products, and kernels for layers in a row;
- `plans`: which loops compute a pattern's products, and the tables they read;
- `kernels`: convolution with bias, ReLU and pooling, batch normalisation, sums;
- `loops`: everything that is compiled;
- `keeping`: where that is kept for the next process.

Only the first loop that is called imports numba.
"""

from __future__ import annotations

import importlib.util
import math
import os
import threading
import weakref
from contextlib import contextmanager, nullcontext
from functools import cached_property

import numpy as np
from simulator_plugins.engines.numba_engine import kernels
from simulator_plugins.engines.numba_engine.keeping import called, compiled_loops
from simulator_plugins.engines.numba_engine.plans import Transposed, flat, plan

from simulator import Conv, MaxPool, SciPyEngine, ShapeError, SimulatorError, Subsample, hookimpl
from simulator.errors import NotInstalledError, brief
from simulator.patterns import TransposedPattern
from simulator.threads import check_threads

PREPARATION = 30.0  # seconds that compiling all loops takes on one core of 2021, of which speeds are stated, too
LOOPS = 78  # compilations that this is
SMALL = 1_000_000  # multiply-adds that one thread has done before it pays to wake others
_lock = threading.Lock()  # numba's threads serve one caller at a time


class NumbaEngine(SciPyEngine):
    """Window matrices by compiled loops; what these do not know is multiplied by `scipy.sparse`.

    Nothing of the equivalent matrix is built: the loops read the table of sites. Blocks of six output channels by two
    vector registers of samples stay in the registers of the processor while all taps and input channels are added.

    Parameters
    ----------
    threads : int, optional
        Cores to use. Default: all.

    Raises
    ------
    NotInstalledError
        If numba is not installed.
    ShapeError
        If `threads` is not a positive integer.

    Attributes
    ----------
    preparation : float
        Seconds that compiling takes once, roughly; `AutoEngine` weighs them against what is to be computed.

    Notes
    -----
    The results of the loops do not depend on the number of threads; those of large dense layers, which BLAS multiplies
    in slices of rows, may differ by rounding. A loop is compiled when it is first needed in a precision, and
    kept on disk for the next process; `warm_up` does this for all.

    Examples
    --------
    >>> from simulator import Catalog
    >>> network = Catalog().build("lenet5", rng=0).with_engine(NumbaEngine())
    >>> network.predict(np.zeros((3, 1, 28, 28))).shape
    (3, 10)
    """

    preparation = PREPARATION

    def __init__(self, threads=None):
        cores = check_threads(threads, "engine numba")
        super().__init__(threads)
        self._loops = Loops(cores)
        self._plans = weakref.WeakKeyDictionary()  # by pattern
        self._pools = weakref.WeakKeyDictionary()  # tables of max pooling, by node

    def __reduce__(self):
        return type(self), (self.threads,)

    def _plan(self, pattern):
        if isinstance(pattern, TransposedPattern):
            base = self._plan(pattern.base)
            return None if base is None else Transposed(base)
        if pattern not in self._plans:
            self._plans[pattern] = plan(pattern)
        return self._plans[pattern]

    def _usable(self, matrix, x=None, dy=None):
        """The plan for a matrix and arrays that fit it; None where SciPy multiplies, or says what is wrong."""
        given = [(n, a) for n, a in zip(matrix.shape, (dy, x), strict=True) if a is not None]
        batch = given[0][1].shape[-1:]
        if matrix.dtype.char in "fd" and all(a.dtype == matrix.dtype and a.shape == (n, *batch) for n, a in given):
            return self._plan(matrix.pattern)
        return None

    def apply(self, matrix, x):
        """W @ x, (n_out, batch)."""
        plan = self._usable(matrix, x=x)
        if plan is None:
            return super().apply(matrix, x)
        y = np.empty((matrix.shape[0], x.shape[1]), x.dtype)
        plan.product(self._loops, matrix.weight, None, x, y, False)
        return y

    def apply_transposed(self, matrix, dy):
        """Wᵀ @ dy, (n_in, batch)."""
        plan = self._usable(matrix, dy=dy)
        if plan is None:
            return super().apply_transposed(matrix, dy)
        dx = np.empty((matrix.shape[1], dy.shape[1]), dy.dtype)
        plan.back(self._loops, matrix.weight, dy, dx)
        return dx

    def grad(self, matrix, x, dy):
        """Gradient of ``sum(dy * (W @ x))`` in the shape of the weight."""
        plan = self._usable(matrix, x, dy)
        if plan is None:
            return super().grad(matrix, x, dy)
        return plan.gradient(self._loops, x, dy).reshape(matrix.weight.shape)

    def kernel(self, nodes, batch):
        """A kernel for the first of these nodes and those after it that fit, and their number; or None."""
        return kernels.kernel(self._loops, nodes, self._plan, self._pools)

    def need(self, nodes, batch, dtype, backward):
        """The weights in the order of the loops, the largest of the arrays in between, and which units were largest.

        A matrix that is left to `SciPyEngine` is counted as there.
        """
        pattern, units = nodes[0].pattern, [math.prod(node.shape) for node in nodes]
        if pattern is not None and self._plan(pattern) is None:
            return super().need(nodes, batch, dtype, backward)
        weights = 0 if pattern is None or pattern.n_ties == pattern.nnz else pattern.n_ties
        chosen = units[-1] * batch if any(type(node.layer) is MaxPool for node in nodes) else 0
        tables = 0 if pattern is None else 2 * pattern.nbytes
        full = batch * dtype.itemsize >= 128  # bytes of the two largest vector registers
        largest = (
            units[-1] if full and kernels.writes_no_map(self._loops, nodes, self._plan, self._pools) else max(units)
        )
        return tables, chosen, (largest * batch + weights) * dtype.itemsize, True

    def speed(self, pattern, batch):
        """Multiply-adds per second, roughly: what one core of 2021 does, times the cores that are used.

        It is 0 for a pattern that is left to `scipy.sparse`.
        """
        plan = self._plan(pattern)
        return 0.0 if plan is None else plan.speed(batch) * min(self._loops.threads, 1 + plan.macs * batch // SMALL)

    def warm_up(self, dtype=np.float32, announce=None):
        """Compile all loops for a precision, or read from disk those that have been compiled before.

        Parameters
        ----------
        dtype : numpy dtype, default float32
            float32 or float64.
        announce : callable, optional
            ``announce(done, total)`` is called after each compilation. It takes half a minute or more, once.

        Returns
        -------
        bool
            Whether any was compiled.
        """
        before = self._loops.compiled
        with self._loops.announced(announce):
            warm(np.dtype(dtype))
        return self._loops.compiled > before


class Loops:
    """Runs the compiled loops, on several threads where this is worth it.

    Parameters
    ----------
    threads : int
        Cores to use.
    small : int
        Multiply-adds up to which one thread does them alone.
    """

    def __init__(self, threads, small=SMALL):
        if importlib.util.find_spec("numba") is None:
            raise NotInstalledError("engine numba: expected numba, got none; pip install numba")
        self.threads, self._small = threads, small

    @cached_property
    def loops(self):
        """The module of the loops."""
        try:
            return compiled_loops()
        except ImportError as error:
            raise SimulatorError(
                f"engine numba: expected numba to load, got {brief(error)}; install one that fits, "
                "pip install --upgrade numba, or choose another engine, such as blas"
            ) from error

    @cached_property
    def _both(self):
        """Each loop for one thread, and for several."""
        return {
            name: (getattr(self.loops, name), threaded)
            for name, threaded in ((n.removesuffix("_threaded"), f) for n, f in vars(self.loops).items())
            if threaded is getattr(self.loops, f"{name}_threaded", None)
        }

    def __call__(self, work, name, dtype, *args):
        """Run a loop.

        Parameters
        ----------
        work : int
            About how many multiply-adds it takes.
        name : str
            Of the loop in `loops`.
        dtype : numpy.dtype
            Of the numbers.
        *args
            Of the loop, after its `kind`; arrays are C-contiguous.

        Raises
        ------
        ShapeError
            If an array of numbers is not of that dtype.
        """
        one, threaded = self._both[name]
        kind = dtype.type(0)
        for array in args[1:]:  # they are read at addresses, whatever stands there; the first one is the result
            if type(array) is np.ndarray and array.dtype.kind == "f" and array.dtype != dtype:
                raise ShapeError(
                    f"engine numba, {name}: expected numbers of {dtype}, got {array.dtype}; give arrays of one dtype"
                )
        if work <= self._small or self.threads == 1 or os.getpid() != self.loops.PROCESS:
            called(self.loops, one, 0, 1, kind, *args)
        else:
            with _lock:
                called(self.loops, threaded, self.threads, kind, *args)

    @property
    def compiled(self):
        """How many loops were compiled in this process, rather than read from disk."""
        functions = (f for f in vars(self.loops).values() if hasattr(f, "stats"))
        return sum(sum(f.stats.cache_misses.values()) for f in functions)

    @contextmanager
    def announced(self, announce):
        """Call ``announce(done, total)`` after each compilation in this block, if it is not None."""
        from numba.core import event

        class Compiled(event.Listener):
            done = 0

            def on_start(self, _):
                pass

            def on_end(self, _):
                self.done += 1
                announce(self.done, max(LOOPS, self.done))

        with event.install_listener("numba:compile", Compiled()) if announce else nullcontext():
            yield


def warm(dtype):
    """Use every loop in turn, by one thread and by two."""
    loops = Loops(2, small=0)
    x, line, few = np.zeros((2, 3), dtype), np.zeros(6, dtype), np.zeros(2, dtype)
    measures = [np.zeros(2, dtype) for _ in range(3)]
    empty = flat(np.zeros(0, dtype))
    matrices = [Conv(2, 2).pattern((2, 2, 2)), Subsample(1).pattern((2, 2))]
    for plan_of in (plan(pattern) for pattern in matrices):
        wide, narrow = np.zeros((2, plan_of.in_sites, 3), dtype), np.zeros((2, plan_of.sites, 3), dtype)
        weight = np.zeros(2 * plan_of.ins * plan_of.taps if hasattr(plan_of, "ins") else 2, dtype)
        plan_of.product(loops, weight, weight[:2], wide, narrow, True)
        plan_of.back(loops, weight, narrow, wide)
        plan_of.gradient(loops, wide, narrow)
    table = np.zeros((1, 1), np.int32)
    table.flags.writeable = False
    chosen = np.zeros(6, np.uint8)
    loops(1, "pool", dtype, line, chosen, flat(x), table, 2, 1, 3)
    loops(1, "unpool", dtype, line, few, flat(x), flat(x), flat(chosen), table, 1, 2, 1, 3)
    loops(1, "masked", dtype, line, few, flat(x), flat(x))
    loops(1, "rectified_sum", dtype, line, flat(x), empty, True)
    weights = (flat(few), flat(few))
    loops(1, "normalised", dtype, line, *measures, flat(x), *weights, dtype.type(1), True)
    loops(1, "normalised_back", dtype, line, few, few.copy(), flat(x), flat(x), flat(x), *weights, flat(few), True)


@hookimpl
def register_engines(register):
    register("numba", NumbaEngine)
