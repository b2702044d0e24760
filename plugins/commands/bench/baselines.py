"""Two baselines that need no library but NumPy and SciPy: bare CSR products, and windows as columns."""

from __future__ import annotations

import math

import numpy as np
from simulator_plugins.commands.bench.cases import BACKWARD, FORWARD, STEP
from simulator_plugins.commands.bench.sides import LeftOut, Simulator

from simulator.errors import brief

_LARGEST = 2**30  # bytes that a baseline may take
_MOST = 2**31  # multiply-adds that a baseline may take: a few seconds
_OUTER = 2**25  # cells of the largest outer product


class CSRLayer:
    """One layer by bare `scipy.sparse`: ``csr @ x``, ``csr.T @ dy``, and `numpy.bincount` of a product per nonzero."""

    def __init__(self, case):
        _check_csr(case)
        self.case = case
        (self._node,) = (node for node in case.network.nodes.values() if node.inputs)
        self._params = {name.partition(".")[2]: array for name, array in case.network.params.items()}
        if self._node.padding is not None:
            raise LeftOut(f"csr: expected zeros on the padding, got {brief(self._node.layer)}")
        self._gradient = TieGradient()
        self._matrix = case.network.node(self._node.name).matrix
        self._csr = self._matrix.tocsr()
        self._x, self._dy = (
            np.ascontiguousarray(np.moveaxis(a, 0, -1)).reshape(-1, case.batch) for a in (case.x, case.dy)
        )  # (units, batch)

    def run(self):
        y = self._csr @ self._x
        bias = self._params.get("bias")
        if bias is not None:
            y.reshape(bias.size, -1)[...] += bias.reshape(-1, 1)
        if self.case.what == FORWARD:
            return (y,)
        gradients = {"weight": self._gradient(self._matrix, self._x, self._dy)}
        if bias is not None:
            gradients["bias"] = self._dy.reshape(bias.size, -1).sum(axis=1).reshape(bias.shape)
        return y, self._csr.T @ self._dy, gradients

    def numbers(self, result):
        network = self.case.network
        numbers = {("output", ""): result[0].T.reshape(-1, *network.output_shape)}
        if self.case.what == BACKWARD:
            numbers["gradient", "input"] = result[1].T.reshape(-1, *network.input_shape)
            numbers.update({("gradient", f"{self._node.name}.{key}"): g for key, g in result[2].items()})
        return numbers


class CSREngine:
    """A whole network's products by bare `scipy.sparse`."""

    def __init__(self):
        self.grad = TieGradient()

    def apply(self, matrix, x):
        return matrix.csr @ x

    def apply_transposed(self, matrix, dy):
        return matrix.csr.T @ dy


class CSRNet(Simulator):
    """A whole network with the products of `CSREngine`; the rest as `Network.run` does it."""

    def __init__(self, case):
        _check_csr(case)
        super().__init__(case)
        self.network = case.network.with_engine(CSREngine())

    def _trace(self, network, **options):
        options.pop("backward", None)  # such a trace can always go back
        return network.run(self.case.x, **options)


class TieGradient:
    """The gradient of shared weights: dy xᵀ at the nonzeros, summed by tie. Index arrays are made once per pattern."""

    def __init__(self):
        self._known = {}

    def __call__(self, matrix, x, dy):
        n_out, n_in = matrix.shape
        outer = n_out * n_in <= min(_OUTER, 64 * matrix.nnz)
        if matrix.pattern not in self._known:
            rows, cols, ties = (a.astype(np.intp) for a in matrix.pattern.triplets())
            self._known[matrix.pattern] = (rows * n_in + cols if outer else (rows, cols)), ties
        where, ties = self._known[matrix.pattern]
        if outer:
            products = (dy @ x.T).ravel()[where]
        else:
            rows, cols = where
            products = np.empty(matrix.nnz, x.dtype)
            for start in range(0, matrix.nnz, 2048):
                part = slice(start, start + 2048)
                products[part] = np.einsum("kb,kb->k", dy[rows[part]], x[cols[part]])
        sums = np.bincount(ties, products, minlength=matrix.pattern.n_ties)
        return sums.astype(x.dtype).reshape(matrix.weight.shape)


class Im2col:
    """One convolution or dense layer in NumPy as textbooks have it: windows as columns, then a matrix product."""

    def __init__(self, case):
        self.case = case
        first, *others = (node for node in case.network.nodes.values() if node.inputs)
        if others:
            raise LeftOut("im2col: expected a single layer, got a network")
        entry = case.catalog.layers.named(type(first.layer))
        kind = None if entry is None else entry.name
        if kind not in ("conv", "dense"):
            raise LeftOut(f"im2col: expected a convolution or dense layer, got {brief(first.layer)}")
        self._node = first
        layer, channels, *space = self._node.layer, *self._node.input_shapes[0]
        if kind == "dense":  # a convolution whose window is the whole input
            self._kernel, self._stride, self._pads = tuple(space), (1,) * len(space), ((0, 0),) * len(space)
        else:
            self._kernel, self._stride, dilation = layer.window.sizes(space)
            self._pads = layer.window.padding_pairs(space)
            plain = layer.table is None and layer.groups == 1 and layer.padding_mode == "constant" and not layer.flip
            if not plain or layer.pad_value or layer.bias == "unit" or set(dilation) != {1}:
                raise LeftOut(f"im2col: expected a plain convolution, got {brief(layer)}")
        taps, sites = channels * math.prod(self._kernel), math.prod(self._node.shape[1:])
        _check("im2col", 3 * case.batch * taps * sites * case.network.dtype.itemsize, 0)
        params = {name.partition(".")[2]: array for name, array in case.network.params.items()}
        self._weight, self._bias = params["weight"].reshape(self._node.shape[0], taps), params.get("bias")
        self._x = np.ascontiguousarray(case.x)
        self._dy = np.ascontiguousarray(case.dy)

    def run(self):
        n, axes = self.case.batch, range(2, self._x.ndim)
        padded = np.pad(self._x, ((0, 0), (0, 0), *self._pads))
        windows = np.lib.stride_tricks.sliding_window_view(padded, self._kernel, tuple(axes)) if axes else padded
        windows = windows[:, :, *(slice(None, None, s) for s in self._stride)]  # (batch, channels, *out_space, *kernel)
        rows_first = (0, *axes, 1, *(a + len(axes) for a in axes))
        columns = windows.transpose(rows_first).reshape(-1, self._weight.shape[1])  # (batch * out_sites, taps)
        y = np.matmul(columns, self._weight.T)
        if self._bias is not None:
            y += self._bias
        out_space = windows.shape[2 : 2 + len(axes)]
        y = np.moveaxis(y.reshape(n, *out_space, -1), -1, 1)
        if self.case.what == FORWARD:
            return (y,)
        dy = np.moveaxis(self._dy, 1, -1).reshape(len(columns), -1)  # of a dense layer (batch, out)
        gradients = {"weight": np.matmul(dy.T, columns), "bias": dy.sum(axis=0)}
        dcolumns = np.matmul(dy, self._weight).reshape(n, *out_space, padded.shape[1], *self._kernel)
        dpadded = np.zeros_like(padded)
        for tap in np.ndindex(*self._kernel):
            at = (slice(t, t + s * o, s) for t, s, o in zip(tap, self._stride, out_space, strict=True))
            dpadded[:, :, *at] += np.moveaxis(dcolumns[..., *tap], -1, 1)
        inner = (slice(a, a + size) for (a, _), size in zip(self._pads, self._x.shape[2:], strict=True))
        return y, dpadded[:, :, *inner], gradients

    def numbers(self, result):
        numbers = {("output", ""): result[0].reshape(-1, *self._node.shape)}
        if self.case.what == BACKWARD:
            numbers["gradient", "input"] = result[1]
            for name, param in self.case.network.params.items():
                numbers["gradient", name] = result[2][name.partition(".")[2]].reshape(param.shape)
        return numbers


def csr(case):
    """The side of bare CSR products, for a single layer or a whole network."""
    layers = [node for node in case.network.nodes.values() if node.inputs]
    alone = len(layers) == 1 and layers[0].pattern is not None and case.what != STEP
    return CSRLayer(case) if alone else CSRNet(case)


def _check_csr(case):
    patterns = [node.pattern for node in case.network.nodes.values() if node.pattern is not None]
    nonzeros, passes = sum(p.nnz for p in patterns), 1 if case.what == FORWARD else 3
    extra = (4 if case.what == FORWARD else 28) * nonzeros  # ties, and where the products stand
    _check("csr", sum(p.csr_nbytes(case.network.dtype) for p in patterns) + extra, passes * nonzeros * case.batch)


def _check(who, need, products):
    """Leave a baseline out where it would take too much memory or time."""
    if need > _LARGEST:
        raise LeftOut(f"{who}: expected at most {_LARGEST / 1e9:.1f} GB, got {need / 1e9:,.1f} GB")
    if products > _MOST:
        raise LeftOut(f"{who}: expected at most {_MOST / 1e9:.1f} billion products, got {products / 1e9:,.1f} billion")
