"""Every matrix layer computed without its matrix: the other side of the proof.

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
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.layers import AveragePool, Conv, ConvTranspose, Dense, LocallyConnected, Pad, Sparse, Subsample

__all__ = ["direct"]

Triple = tuple[np.ndarray, np.ndarray, np.ndarray | None]


@functools.singledispatch
def direct(layer: Any, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    """Compute a matrix layer without its matrix.

    Parameters
    ----------
    layer : MatrixLayer
        Its type chooses the computation.
    x : numpy.ndarray, (channels, *space, batch)
        Input.
    weight : numpy.ndarray
        In the layer's own layout.
    dy : numpy.ndarray, (out_channels, *out_space, batch)
        Gradient of the loss with respect to the output.

    Returns
    -------
    y : numpy.ndarray
        The output without bias.
    dx : numpy.ndarray
        Gradient with respect to the input.
    dweight : numpy.ndarray or None
        Gradient with respect to the weight; None if it is fixed.
    """
    raise NotImplementedError(f"no direct computation for {type(layer).__name__}")


def _per_axis(value: Any, ndim: int) -> tuple[int, ...]:
    return (int(value),) * ndim if isinstance(value, (int, np.integer)) else tuple(value)


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
    def over(cls, layer: Any, kernel: Any, stride: Any, space: Sequence[int], out_space: Sequence[int]) -> _Slide:
        ndim = len(space)
        k, s, d = (_per_axis(v, ndim) for v in (kernel, stride, layer.dilation))
        padding = layer.padding
        if isinstance(padding, str):
            total = [
                max(0, (o - 1) * b + (a - 1) * c + 1 - n)
                for n, o, a, b, c in zip(space, out_space, k, s, d, strict=True)
            ]
            begin = {"valid": [0] * ndim, "same_lower": [(t + 1) // 2 for t in total]}.get(
                padding, [t // 2 for t in total]
            )
        else:
            begin = [p if isinstance(p, (int, np.integer)) else p[0] for p in _per_axis(padding, ndim)]
        mode = getattr(layer, "padding_mode", "constant")
        return cls(k, s, d, tuple(begin), tuple(space), tuple(out_space), mode, getattr(layer, "pad_value", 0.0))

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
    slide = _Slide.over(layer, layer.kernel, layer.stride, x.shape[1:-1], dy.shape[1:-1])
    outs, ins = _pairs(layer, len(dy), len(x))
    full = _full(weight, outs, ins, (len(dy), len(x)), slide.kernel)
    flipped = tuple(range(2, full.ndim)) if layer.flip else ()
    y, dx, dfull = _correlate(slide, x, np.flip(full, flipped), dy)
    return y, dx, np.flip(dfull, flipped)[outs, ins].reshape(weight.shape)


@direct.register
def _locally_connected(layer: LocallyConnected, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    slide = _Slide.over(layer, layer.kernel, layer.stride, x.shape[1:-1], dy.shape[1:-1])
    outs, ins = _pairs(layer, len(dy), len(x))
    full = _full(weight, outs, ins, (len(dy), len(x)), (*slide.kernel, *slide.out_space))
    y, dx, dfull = _correlate(slide, x, full, dy)
    return y, dx, dfull[outs, ins].reshape(weight.shape)


@direct.register
def _conv_transpose(layer: ConvTranspose, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    # The convolution from this layer's output to its input, with forward and backward exchanged.
    slide = _Slide.over(layer, layer.kernel, layer.stride, dy.shape[1:-1], x.shape[1:-1])
    outs, ins = _pairs(layer, len(x), len(dy))
    full = _full(weight, outs, ins, (len(x), len(dy)), slide.kernel)
    dx, y, dfull = _correlate(slide, dy, full, x)
    return y, dx, dfull[outs, ins].reshape(weight.shape)


def _pool_slide(layer: Any, x: np.ndarray, dy: np.ndarray) -> _Slide:
    space = x.shape[1:-1]
    if layer.kernel == "global":
        return _Slide(space, space, (1,) * len(space), (0,) * len(space), space, dy.shape[1:-1])
    stride = layer.kernel if layer.stride is None else layer.stride
    return _Slide.over(layer, layer.kernel, stride, space, dy.shape[1:-1])


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


def _padding_ends(layer: Any, slide: _Slide) -> list[int]:
    if isinstance(layer.padding, str):
        return [end for _, end in slide.widths]
    return [p if isinstance(p, (int, np.integer)) else p[1] for p in _per_axis(layer.padding, len(slide.space))]


@direct.register
def _pad_layer(layer: Pad, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    ndim = x.ndim - 2
    widths = [(p, p) if isinstance(p, (int, np.integer)) else (p[0], p[1]) for p in _per_axis(layer.padding, ndim)]
    return _pad(x, widths, layer.mode, layer.pad_value), _unpad(dy, widths, layer.mode, x.shape[1:-1]), None


@direct.register
def _dense(layer: Dense, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> Triple:
    flat = x.reshape(-1, x.shape[-1])
    return np.einsum("oi,ib->ob", weight, flat), np.einsum("oi,ob->ib", weight, dy), np.einsum("ob,ib->oi", dy, flat)


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
