"""The core's layers computed without their matrices: the other side of the proof.

Nothing here knows of patterns and window tables. A picture is padded with `numpy.pad`; a loop over the taps of the
kernel adds up strided views of it, as a textbook does. A plugin proves a layer of its own by registering a direct
computation::

    @direct.register(MyLayer)
    def _(layer, x, weight, dy):
        return y, dx, dweight
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulator.errors import ShapeError
from simulator.layers import (
    AdaptiveAveragePool,
    Add,
    AveragePool,
    Concatenate,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    LeakyReLU,
    LocallyConnected,
    MaxPool,
    Pad,
    ReLU,
    Reshape,
    Sparse,
    Subsample,
)

__all__ = ["direct"]

Triple = tuple[np.ndarray, Any, np.ndarray | None]


@functools.singledispatch
def direct(layer: Any, x: Any, weight: Any, dy: np.ndarray) -> Triple:
    """Compute a layer without its matrix.

    Parameters
    ----------
    layer : Layer
        Its type chooses the computation.
    x : numpy.ndarray, (channels, *space, batch), or a tuple of them
        The input, or the inputs of a layer that takes several.
    weight : numpy.ndarray, dict of them, or None
        In the layer's own layout; for a `FunctionLayer` all its params by name, and then `y` includes the bias, or None
        without params.
    dy : numpy.ndarray, (out_channels, *out_space, batch)
        Gradient of the loss with respect to the output.

    Returns
    -------
    y : numpy.ndarray
        The output without bias.
    dx : numpy.ndarray, or a tuple of them
        Gradient with respect to each input.
    dweight : numpy.ndarray or None
        Gradient with respect to the weight; None where it is not trained.

    Raises
    ------
    ShapeError
        If `dy` does not have the size that the field's formula gives.
    """
    raise NotImplementedError(f"no direct computation for {type(layer).__name__}")


def _per_axis(value: Any, ndim: int) -> tuple[int, ...]:
    return (int(value),) * ndim if isinstance(value, (int, np.integer)) else tuple(value)


def _pair(padding: Any) -> tuple[int, int]:
    return (int(padding),) * 2 if isinstance(padding, (int, np.integer)) else (padding[0], padding[1])


@dataclass(frozen=True)
class _Slide:
    """A kernel that slides over a picture: where the picture is padded, and what each tap sees of it."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    space: tuple[int, ...]
    out_space: tuple[int, ...]
    mode: str = "constant"
    value: float = 0.0

    @classmethod
    def over(cls, layer: Any, kernel: Any, stride: Any, space: Sequence[int], ceil: bool = False) -> _Slide:
        """Work out from the formulas where the picture begins and how many windows there are."""
        ndim = len(space)
        k, s, d = (_per_axis(v, ndim) for v in (kernel, stride, layer.dilation))
        begin, out = [], []
        for axis, n in enumerate(space):
            extent = (k[axis] - 1) * d[axis] + 1
            if isinstance(layer.padding, str) and layer.padding != "valid":
                count = math.ceil(n / s[axis])
                total = max(0, (count - 1) * s[axis] + extent - n)
                first = math.ceil(total / 2) if layer.padding == "same_lower" else total // 2
            else:
                first, last = (0, 0) if layer.padding == "valid" else _pair(_per_axis(layer.padding, ndim)[axis])
                room = (n + first + last - extent) / s[axis]
                count = (math.ceil(room) if ceil else math.floor(room)) + 1
                if ceil and (count - 1) * s[axis] >= n + first:
                    count -= 1
            begin.append(first)
            out.append(count)
        mode = getattr(layer, "padding_mode", "constant")
        return cls(k, s, d, tuple(begin), tuple(space), tuple(out), mode, getattr(layer, "pad_value", 0.0))

    def matching(self, dy: np.ndarray) -> _Slide:
        """This, or a `ShapeError` if there are not as many windows as `dy` has sites."""
        if dy.shape[1:-1] != self.out_space:
            raise ShapeError(
                f"direct: expected {self.out_space} windows by the formula, got {dy.shape[1:-1]} output sites; the "
                "layer's output_shape is wrong"
            )
        return self

    @property
    def widths(self) -> list[tuple[int, int]]:
        """How far the picture is extended: as far as the last tap of the last window reaches."""
        reach = [
            (o - 1) * s + (k - 1) * d + 1
            for o, s, k, d in zip(self.out_space, self.stride, self.kernel, self.dilation, strict=True)
        ]
        return [(b, max(0, r - n - b)) for b, r, n in zip(self.begin, reach, self.space, strict=True)]

    def taps(self) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
        for tap in np.ndindex(*self.kernel):
            yield (
                tap,
                tuple(
                    slice(t * d, t * d + (o - 1) * s + 1, s)
                    for t, d, o, s in zip(tap, self.dilation, self.out_space, self.stride, strict=True)
                ),
            )

    def pad(self, x: np.ndarray) -> np.ndarray:
        return _pad(x, self.widths, self.mode, self.value)

    def unpad(self, dx: np.ndarray) -> np.ndarray:
        return _unpad(dx, self.widths, self.mode, self.space)


_NUMPY_MODES = {"constant": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}


def _pad(x: np.ndarray, widths: Sequence[tuple[int, int]], mode: str, value: float = 0.0) -> np.ndarray:
    options: Mapping[str, Any] = {"constant_values": value} if mode == "constant" else {}
    return np.pad(x, ((0, 0), *widths, (0, 0)), mode=_NUMPY_MODES[mode], **options)  # type: ignore[call-overload]


def _unpad(dx: np.ndarray, widths: Sequence[tuple[int, int]], mode: str, space: Sequence[int]) -> np.ndarray:
    """Backwards through the padding: what was copied from one site is added up there."""
    for axis, (n, (begin, end)) in enumerate(zip(space, widths, strict=True), start=1):
        if mode == "constant":
            dx = np.take(dx, np.arange(begin, begin + n), axis=axis)
        else:
            source = np.pad(np.arange(n), (begin, end), mode=_NUMPY_MODES[mode])  # type: ignore[call-overload]
            folded = np.zeros((*dx.shape[:axis], n, *dx.shape[axis + 1 :]), dx.dtype)
            np.add.at(np.moveaxis(folded, axis, 0), source, np.moveaxis(dx, axis, 0))
            dx = folded
    return dx


def _pairs(layer: Any, out_channels: int, in_channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Output and input channel of each kernel, in the order of the weight."""
    if getattr(layer, "table", None) is not None:
        table = [(o, c) for o, row in enumerate(layer.table) for c in row]
    else:
        each_out, each_in = out_channels // layer.groups, in_channels // layer.groups
        table = [(o, o // each_out * each_in + c) for o in range(out_channels) for c in range(each_in)]
    outs, ins = np.array(table).T
    return outs, ins


def _correlate(
    slide: _Slide, x: np.ndarray, kernels: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slide full kernels (out, in, *kernel) or, not shared, (out, in, *kernel, *out_space) over a picture."""
    local = kernels.ndim > 2 + len(slide.kernel)
    forward, to_weight, to_input = ("oi...,i...b->o...b", "o...b,i...b->oi...", "oi...,o...b->i...b")
    if not local:
        forward, to_weight, to_input = ("oi,i...->o...", "ok,ik->oi", "oi,o...->i...")
    padded = slide.pad(x)
    y, dpadded, dkernels = np.zeros_like(dy), np.zeros_like(padded), np.zeros_like(kernels)
    for tap, view in slide.taps():
        seen = padded[:, *view]
        at: Any = (slice(None), slice(None), *tap)
        y += np.einsum(forward, kernels[at], seen, optimize=True)
        dpadded[:, *view] += np.einsum(to_input, kernels[at], dy, optimize=True)
        a, b = (dy, seen) if local else (dy.reshape(len(dy), -1), seen.reshape(len(seen), -1))
        dkernels[at] = np.einsum(to_weight, a, b, optimize=True)
    return y, slide.unpad(dpadded), dkernels


def _full(
    weight: np.ndarray, outs: np.ndarray, ins: np.ndarray, shape: tuple[int, int], tail: tuple[int, ...]
) -> np.ndarray:
    """Kernels for every pair of channels, zero where a pair is not connected."""
    full = np.zeros((*shape, *tail), weight.dtype)
    np.add.at(full, (outs, ins), weight.reshape(len(outs), *tail))
    return full


@direct.register
def _conv(layer: Conv, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    slide = _Slide.over(layer, layer.kernel, layer.stride, x.shape[1:-1]).matching(dy)
    outs, ins = _pairs(layer, len(dy), len(x))
    full = _full(weight, outs, ins, (len(dy), len(x)), slide.kernel)
    flipped = tuple(range(2, full.ndim)) if layer.flip else ()
    y, dx, dfull = _correlate(slide, x, np.flip(full, flipped), dy)
    return y, dx, np.flip(dfull, flipped)[outs, ins].reshape(weight.shape)


@direct.register
def _locally_connected(layer: LocallyConnected, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    slide = _Slide.over(layer, layer.kernel, layer.stride, x.shape[1:-1]).matching(dy)
    outs, ins = _pairs(layer, len(dy), len(x))
    full = _full(weight, outs, ins, (len(dy), len(x)), (*slide.kernel, *slide.out_space))
    y, dx, dfull = _correlate(slide, x, full, dy)
    return y, dx, dfull[outs, ins].reshape(weight.shape)


@direct.register
def _conv_transpose(layer: ConvTranspose, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    # The convolution from this layer's output to its input, with forward and backward exchanged.
    slide = replace(_Slide.over(layer, layer.kernel, layer.stride, dy.shape[1:-1]), out_space=x.shape[1:-1])
    extra = _per_axis(layer.output_padding, x.ndim - 2)
    pads = [_pair(p) for p in _per_axis(layer.padding, x.ndim - 2)]
    formula = tuple(
        (n - 1) * s - sum(p) + d * (k - 1) + e + 1
        for n, s, p, d, k, e in zip(
            slide.out_space, slide.stride, pads, slide.dilation, slide.kernel, extra, strict=True
        )
    )
    replace(slide, out_space=formula).matching(dy)
    outs, ins = _pairs(layer, len(x), len(dy))
    full = _full(weight, outs, ins, (len(x), len(dy)), slide.kernel)
    dx, y, dfull = _correlate(slide, dy, full, x)
    return y, dx, dfull[outs, ins].reshape(weight.shape)


def _pool_slide(layer: Any, x: np.ndarray, dy: np.ndarray) -> _Slide:
    space = x.shape[1:-1]
    if layer.kernel == "global":
        ones = (1,) * len(space)
        return _Slide(space, ones, ones, (0,) * len(space), space, ones).matching(dy)
    stride = layer.kernel if layer.stride is None else layer.stride
    return _Slide.over(layer, layer.kernel, stride, space, layer.ceil).matching(dy)


def _sums(slide: _Slide, x: np.ndarray, scaled_dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum over each window, and the way back."""
    padded = slide.pad(x)
    total, dpadded = np.zeros_like(scaled_dy), np.zeros_like(padded)
    for _, view in slide.taps():
        total += padded[:, *view]
        dpadded[:, *view] += scaled_dy
    return total, slide.unpad(dpadded)


@direct.register
def _subsample(layer: Subsample, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    coefficient = weight.reshape(-1, *(1,) * (x.ndim - 1))
    total, dx = _sums(_pool_slide(layer, x, dy), x, dy * coefficient)
    return total * coefficient, dx, np.sum(total * dy, axis=tuple(range(1, dy.ndim)))


@direct.register
def _average(layer: AveragePool, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    slide = _pool_slide(layer, x, dy)
    # Count the taps by sliding over ones: on the padding they count or not, beyond it never.
    ones = np.ones((1, *x.shape[1:-1], 1), x.dtype)
    if layer.kernel != "global" and layer.count_include_pad:
        ends = _padding_ends(layer, slide)
        ones = np.pad(ones, ((0, 0), *zip(slide.begin, ends, strict=True), (0, 0)), constant_values=1)
        inner = _Slide(slide.kernel, slide.stride, slide.dilation, (0,) * len(ends), ones.shape[1:-1], slide.out_space)
    else:
        inner = slide
    count, _ = _sums(inner, ones, np.zeros((1, *slide.out_space, 1), x.dtype))
    total, dx = _sums(slide, x, dy / count)
    return total / count, dx, None


@direct.register
def _adaptive(layer: AdaptiveAveragePool, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    y, dx = np.empty_like(dy), np.zeros_like(x)
    space, out = x.shape[1:-1], dy.shape[1:-1]
    for site in np.ndindex(*out):
        window = tuple(
            slice(math.floor(i * n / k), math.ceil((i + 1) * n / k)) for i, n, k in zip(site, space, out, strict=True)
        )
        part = x[:, *window]
        axes = tuple(range(1, part.ndim - 1))
        y[:, *site] = part.mean(axis=axes)
        dx[:, *window] += np.expand_dims(dy[:, *site], axes) / math.prod(part.shape[1:-1])
    return y, dx, None


def _padding_ends(layer: Any, slide: _Slide) -> list[int]:
    if isinstance(layer.padding, str):
        return [end for _, end in slide.widths]
    return [_pair(p)[1] for p in _per_axis(layer.padding, len(slide.space))]


@direct.register
def _pad_layer(layer: Pad, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    ndim = x.ndim - 2
    widths = [_pair(p) for p in _per_axis(layer.padding, ndim)]
    return _pad(x, widths, layer.mode, layer.pad_value), _unpad(dy, widths, layer.mode, x.shape[1:-1]), None


@direct.register
def _dense(layer: Dense, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    flat, flat_dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    y, dx = np.einsum("oi,ib->ob", weight, flat), np.einsum("oi,ob->ib", weight, flat_dy)
    return y.reshape(dy.shape), dx.reshape(x.shape), np.einsum("ob,ib->oi", flat_dy, flat)


@direct.register
def _sparse(layer: Sparse, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    # There is nothing more direct than one connection after the other.
    flat, flat_dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    y, dx, dw = np.zeros_like(flat_dy), np.zeros_like(flat), np.zeros_like(weight)
    for row, col, tie in zip(*layer.connections.triplets(), strict=True):
        y[row] += weight[tie] * flat[col]
        dx[col] += weight[tie] * flat_dy[row]
        dw[tie] += math.fsum(flat_dy[row] * flat[col])
    return y.reshape(dy.shape), dx.reshape(x.shape), dw


# Layers that choose their matrix by the input.


@direct.register
def _max_pool(layer: MaxPool, x: np.ndarray, weight: None, dy: np.ndarray) -> Triple:
    slide = _pool_slide(layer, x, dy)
    padded = _pad(x, slide.widths, "constant", -np.inf)
    seen = np.stack([padded[:, *view] for _, view in slide.taps()])  # (taps, channels, *out_space, batch)
    largest = seen.argmax(axis=0)
    dpadded = np.zeros_like(padded)
    for number, (_, view) in enumerate(slide.taps()):
        dpadded[:, *view] += np.where(largest == number, dy, 0)
    return seen.max(axis=0), slide.unpad(dpadded), None


@direct.register
def _relu(layer: ReLU, x: np.ndarray, weight: None, dy: np.ndarray) -> Triple:
    return (x + abs(x)) / 2, np.where(x > 0, dy, 0), None


@direct.register
def _leaky_relu(layer: LeakyReLU, x: np.ndarray, weight: None, dy: np.ndarray) -> Triple:
    return np.where(x > 0, x, layer.slope * x), np.where(x > 0, dy, layer.slope * dy), None


@direct.register(Flatten)
@direct.register(Reshape)
def _reshape(layer: Any, x: np.ndarray, weight: None, dy: np.ndarray) -> Triple:
    return x.reshape(dy.shape), dy.reshape(x.shape), None


@direct.register
def _add(layer: Add, x: tuple[np.ndarray, ...], weight: None, dy: np.ndarray) -> Triple:
    y = np.sum(np.stack(np.broadcast_arrays(*x)), axis=0)
    repeated = [[a for a in range(dy.ndim - 1) if part.shape[a] < dy.shape[a]] for part in x]
    return y, tuple(np.apply_over_axes(np.sum, dy, axes) for axes in repeated), None


@direct.register
def _concatenate(layer: Concatenate, x: tuple[np.ndarray, ...], weight: None, dy: np.ndarray) -> Triple:
    y, dx, start = np.empty_like(dy), [], 0
    for part in x:
        channels = slice(start, start + len(part))
        y[channels] = part
        dx.append(dy[channels])
        start = channels.stop
    return y, tuple(dx), None
