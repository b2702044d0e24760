"""Kernels of the numba engine: a layer, or a few in a row, computed at once for training and prediction."""

from __future__ import annotations

import math

import numpy as np
from simulator_plugins.engines.numba_engine.plans import Convolution, flat, transposed

from simulator import Add, Flatten, MatrixLayer, MaxPool, ReLU, Reshape, WindowPattern
from simulator.patterns import TransposedPattern

BATCH_NORM = "simulator_plugins.layers.batch_norm.BatchNorm"  # the layer whose semantics are built in here
MOST_TAPS = 256  # of a pooling window, because a byte keeps the number of the chosen one


def kernel(loops, nodes, plan, pools):
    """The kernel for the first of these nodes and those after it that fit, and their number; or None.

    Parameters
    ----------
    loops : Loops
        Runs compiled loops.
    nodes : tuple of Node
        Each read by the next alone.
    plan : callable
        ``plan(pattern)`` gives the products of a pattern, transposed or not, or None.
    pools : mapping by node
        The tables of max pooling that are known already.
    """
    layer = nodes[0].layer
    if isinstance(layer, MatrixLayer):
        return _matrix(loops, nodes, plan, pools)
    if f"{type(layer).__module__}.{type(layer).__qualname__}" == BATCH_NORM:
        return _batch_norm(loops, nodes)
    if type(layer) is MaxPool:
        return _max_pool(loops, nodes, pools)
    shapes = nodes[0].input_shapes
    if type(layer) is ReLU or (type(layer) is Add and len(shapes) == 2 and shapes[0] == shapes[1]):
        return _sum(loops, nodes)
    if type(layer) in (Flatten, Reshape):
        return _reshape(nodes[0]), 1
    return None


def _follows(nodes, count, layer):
    return len(nodes) > count and type(nodes[count].layer) is layer


def _reshape(node):
    def kernel(run, x):
        def pullback(dy, input_needed):
            return (dy.reshape(x.shape),), {}

        return x.reshape(*node.shape, x.shape[-1]), pullback, {}

    return kernel


class _Pool:
    """The tables of a max-pooling node."""

    def __init__(self, node):
        self.channels, *space = node.input_shapes[0]
        self.table = np.ascontiguousarray(node.layer.window_on(space).sites(space), np.int32)
        self.table.flags.writeable = False
        self.sites, self.taps = self.table.shape
        self.in_sites = int(np.prod(space))
        seen = self.table[self.table >= 0]
        self.disjoint = len(np.unique(seen)) == len(seen)  # no input is in two windows
        self.in_shape, self.shape = node.input_shapes[0], node.shape
        self._back_table = None

    def empty(self, run, batch):
        """Memory for the largest numbers, and for which ones they are."""
        shape = (*self.shape, batch)
        return run.empty(shape, run.dtype), run.empty(shape, np.uint8)

    def forward(self, loops, run, x):
        batch = x.shape[-1]
        y, chosen = self.empty(run, batch)
        arrays = (y.reshape(-1), chosen.reshape(-1), flat(x), self.table)
        loops(16 * x.size, "pool", x.dtype, *arrays, self.channels, self.in_sites, batch)
        return y, chosen

    def back(self, loops, run, dy, chosen, y=None):
        """The gradient of the input and its sum over each channel; where y is given, not from windows with y <= 0."""
        batch = dy.shape[-1]
        if self._back_table is None:
            self._back_table = transposed(self.table, self.in_sites)
        dx, sums = run.empty((*self.in_shape, batch), dy.dtype), np.empty(self.channels, dy.dtype)
        arrays = (dx.reshape(-1), sums, flat(dy), flat(sums[:0] if y is None else y), flat(chosen), self._back_table)
        loops(16 * dx.size, "unpool", dy.dtype, *arrays, self.taps, self.channels, self.sites, batch)
        return dx, sums


def _pool(node, pools):
    if node not in pools:
        pools[node] = _Pool(node)
    return pools[node] if pools[node].taps <= MOST_TAPS else None


def _masked(loops, run, dy, y):
    """dy where y is not 0 or less (everywhere, if y is None), and its sum over each channel."""
    sums = np.empty(len(dy), dy.dtype)
    if y is None:
        g, mask = dy, np.empty(0, dy.dtype)
    else:
        g, mask = run.empty(dy.shape, dy.dtype), y
    g_line = np.empty(0, dy.dtype) if y is None else g.reshape(-1)
    loops(16 * dy.size, "masked", dy.dtype, g_line, sums, flat(dy), flat(mask))
    return g, sums


def _matrix(loops, nodes, plan, pools):
    """A matrix and its bias, then ReLU, then max pooling, as far as they follow."""
    node = nodes[0]
    bias_shape = node.param_shapes.get("bias")
    simple = bias_shape is None or bias_shape == node.shape[:1] == (_channels(node.pattern),)
    whole = math.prod(node.param_shapes.get("weight", (node.pattern.n_ties,))) == node.pattern.n_ties
    plan = plan(node.pattern) if node.padding is None and simple and whole else None
    if plan is None:
        return None
    count, pool = 1, None
    relu = _follows(nodes, count, ReLU)
    count += relu
    if _follows(nodes, count, MaxPool) and (pool := _pool(nodes[count], pools)) is not None:
        count += 1
        if not relu and _follows(nodes, count, ReLU):  # the positive part of the largest is the largest positive part
            relu = True
            count += 1
    weight_name = f"{node.owner}.weight"
    bias_name = f"{node.owner}.bias" if bias_shape else None
    trained = "weight" in node.param_shapes
    weight_shape = node.param_shapes.get("weight")
    joint = pool is not None and _joint(loops, node, plan, pool)

    def kernel(run, x):
        weight = run.params[weight_name] if trained else run.matrix(node).weight
        bias = None if bias_name is None else run.params[bias_name]
        chosen, batch = None, x.shape[-1]
        if joint and batch * x.itemsize >= loops.loops.PANEL:
            y, chosen = pool.empty(run, batch)
            plan.product(loops, weight, bias, x, y, relu, chosen, pool.table)
        else:
            y = run.empty((*node.shape, batch), x.dtype)
            plan.product(loops, weight, bias, x, y, relu)
            if pool is not None:
                y, chosen = pool.forward(loops, run, y)

        def pullback(dy, input_needed):
            grads = {}
            if pool is not None:
                dy, sums = pool.back(loops, run, dy, chosen, y if relu else None)
            elif relu or bias is not None:
                dy, sums = _masked(loops, run, dy, y if relu else None)
            if bias is not None:
                grads[bias_name] = sums
            if trained:
                grads[weight_name] = plan.gradient(loops, x, dy).reshape(weight_shape)
            if not input_needed:
                return (None,), grads
            dx = run.empty(x.shape, x.dtype)
            plan.back(loops, weight, dy, dx)
            return (dx,), grads

        return y, pullback, {}

    return kernel, count


def _joint(loops, node, plan, pool):
    """Whether one loop computes a matrix and its pool, and never writes what the pool reads."""
    # The pattern may belong to another shape; and one thread after the other would wait for a window as large as a map.
    fits = isinstance(plan, Convolution) and pool.disjoint and _channels(node.pattern) == node.shape[0]
    return fits and plan.groups * pool.sites >= 4 * loops.threads


def writes_no_map(loops, nodes, plan, pools):
    """Whether, of nodes that a kernel computes, a matrix and a pool are one loop, if the batch fills a vector."""
    (pool,) = [_pool(node, pools) for node in nodes if type(node.layer) is MaxPool] or [None]
    return pool is not None and nodes[0].pattern is not None and _joint(loops, nodes[0], plan(nodes[0].pattern), pool)


def _channels(pattern):
    """How many output channels the loops for a pattern see; None for one that they do not know."""
    if isinstance(pattern, TransposedPattern) and isinstance(pattern.base, WindowPattern):
        return pattern.base.in_channels
    return pattern.channels.out_channels if isinstance(pattern, WindowPattern) else None


def _max_pool(loops, nodes, pools):
    pool = _pool(nodes[0], pools)
    if pool is None:
        return None

    def kernel(run, x):
        y, chosen = pool.forward(loops, run, x)
        return y, lambda dy, input_needed: (pool.back(loops, run, dy, chosen)[:1], {}), {}

    return kernel, 1


def _sum(loops, nodes):
    """The sum of two inputs, and ReLU if it follows; or ReLU of one."""
    relu = type(nodes[0].layer) is ReLU or _follows(nodes, 1, ReLU)
    count = 1 + (relu and type(nodes[0].layer) is Add)

    def kernel(run, *xs):
        y = run.empty(xs[0].shape, xs[0].dtype)
        second = flat(xs[1]) if len(xs) == 2 else flat(np.empty(0, y.dtype))
        loops(16 * y.size, "rectified_sum", y.dtype, y.reshape(-1), flat(xs[0]), second, relu)

        def pullback(dy, input_needed):
            if relu:
                dy, _ = _masked(loops, run, dy, y)
            return (dy,) * len(xs), {}

        return y, pullback, {}

    return kernel, count


def _batch_norm(loops, nodes):
    """Batch normalisation, and ReLU if it follows."""
    node, layer = nodes[0], nodes[0].layer
    relu = _follows(nodes, 1, ReLU)
    weight_name, bias_name = (f"{node.owner}.{key}" for key in ("weight", "bias"))
    mean_name, variance_name = (f"{node.name}.{key}" for key in ("running_mean", "running_var"))

    def kernel(run, x):
        n = x.size // len(x)
        measured = run.training and not layer.frozen and n > 0
        if measured and n == 1:
            layer.forward(run.own_params(node), run.own_buffers(node), x, training=True)  # says what is wrong
        weight, bias = run.params[weight_name], run.params[bias_name]
        kind = x.dtype.type
        epsilon = kind(layer.epsilon)
        y = run.empty(x.shape, x.dtype)
        after = {}
        if measured:
            means, variances, inverses = (np.empty(len(x), x.dtype) for _ in range(3))
            arrays = (y.reshape(-1), means, variances, inverses, flat(x), flat(weight), flat(bias))
            loops(32 * x.size, "normalised", x.dtype, *arrays, epsilon, relu)
            new, old = kind(layer.momentum), kind(1 - layer.momentum)
            after[mean_name] = old * run.buffers[mean_name] + new * means
            after[variance_name] = old * run.buffers[variance_name] + new * variances * kind(n / (n - 1))
        else:
            means = run.buffers[mean_name]
            inverses = 1 / np.sqrt(run.buffers[variance_name] + epsilon)
            factors = weight * inverses
            arrays = (y.reshape(-1), flat(x), flat(np.zeros_like(means)), flat(factors), flat(bias - means * factors))
            loops(16 * x.size, "scaled", x.dtype, *arrays, relu)

        def pullback(dy, input_needed):
            dx = run.empty(x.shape, x.dtype)
            dweight, dbias = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
            mask = flat(y) if relu else flat(np.empty(0, x.dtype))
            arrays = (
                dx.reshape(-1),
                dweight,
                dbias,
                flat(dy),
                mask,
                flat(x),
                flat(weight),
                flat(means),
                flat(inverses),
            )
            loops(32 * x.size, "normalised_back", x.dtype, *arrays, measured)
            return (dx,), {weight_name: dweight, bias_name: dbias}

        return y, pullback, after

    return kernel, 1 + relu
