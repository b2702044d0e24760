"""Any network in PyTorch: eager calls, one node after the other, on its own weights, whose layouts are the same."""

from __future__ import annotations

import functools
import math
import warnings

from simulator import SimulatorError, Window
from simulator.errors import brief

_MODES = {"constant": "zeros", "circular": "circular", "reflect": "reflect", "replicate": "replicate"}
_WORKS_IN_PLACE = ("conv", "batch-norm", "dense", "add", "concatenate")  # their outputs are not needed on the way back


class Untranslatable(SimulatorError):
    """PyTorch has nothing that a layer could be translated into, or is not installed."""


def torch_module():
    """PyTorch itself.

    Raises
    ------
    Untranslatable
        If it is not installed.
    """
    try:
        import torch
    except ImportError:
        raise Untranslatable("bench: expected PyTorch, got none; pip install torch") from None
    return torch


def translated(network, catalog, copy=True):
    """A `torch.nn.Module` that computes what a network computes.

    Parameters
    ----------
    network : Network
        With weights, one input and one output.
    catalog : Catalog
        Knows the names of the layers.
    copy : bool, default True
        Whether weights are copied. Without it nobody may change them.

    Returns
    -------
    module : torch.nn.Module
        It takes and gives (batch, ...).
    params, buffers : dict of tensors by full name
        Such as "conv1.weight".

    Raises
    ------
    Untranslatable
        If there is no PyTorch, or it has no such layer.

    Notes
    -----
    Activations are dropped after their last reader, and ReLU works in place where it may, as in hand-written modules.
    """
    torch = torch_module()
    readers = {source: node.name for node in network.nodes.values() for source in node.inputs}
    counts = [source for node in network.nodes.values() for source in node.inputs]
    params, buffers, modules, calls = {}, {}, [], []
    for node in network.nodes.values():
        if not node.inputs:
            continue
        module, call = _translated_node(torch, node, network, catalog, counts)
        for arrays, tensors, keys, where, wrap in (
            (network.params, params, node.param_shapes, node.owner, torch.nn.Parameter),
            (network.buffers, buffers, node.buffer_names, node.name, lambda tensor: tensor),
        ):
            for key in keys:
                name = f"{where}.{key}"
                if name not in tensors:
                    tensors[name] = wrap(_tensor(torch, arrays[name], copy))
                setattr(module, key, tensors[name])
        if module is not None:
            modules.append(module)
        done = [source for source in dict.fromkeys(node.inputs) if readers[source] == node.name]
        calls.append((node.name, node.inputs, call or module, done))
    first, last = network.input_name, network.output_name

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = torch.nn.ModuleList(modules)

        def forward(self, x):
            values = {first: x}
            for name, sources, call, done in calls:
                xs = [values[source] for source in sources]
                for source in done:
                    del values[source]
                values[name] = call(*xs)
                del xs
            return values[last]

    return Net(), params, buffers


def _tensor(torch, array, copy):
    if copy:
        return torch.from_numpy(array.copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is read-only, and nobody writes
        return torch.from_numpy(array)


def _translated_node(torch, node, network, catalog, counts):
    """A module with the node's weights or None, and what to call instead of it or None."""
    entry = catalog.layers.named(type(node.layer))
    name = type(node.layer).__name__ if entry is None else entry.name
    if name not in _LAYERS:
        raise Untranslatable(f"{node.name}: expected a layer that PyTorch has, got {brief(name)}")
    if name == "relu":
        source = network.nodes[node.inputs[0]]
        before = catalog.layers.named(type(source.layer))
        alone = counts.count(source.name) == 1 and source.name not in network.outputs
        return torch.nn.ReLU(inplace=alone and before is not None and before.name in _WORKS_IN_PLACE), None
    try:
        made = _LAYERS[name](torch, node)
    except AttributeError as error:
        raise Untranslatable(
            f"{node.name}: expected the usual {brief(name)}, got {brief(node.layer)} ({error})"
        ) from error
    return made if isinstance(made, tuple) else (made, None) if isinstance(made, torch.nn.Module) else (None, made)


def _require(node, **wanted):
    """Options that have no counterpart must have their default."""
    for option, value in wanted.items():
        if getattr(node.layer, option) != value:
            raise Untranslatable(
                f"{node.name}: expected {option}={brief(value)} for PyTorch, got {brief(getattr(node.layer, option))}"
            )


def _require_bias_per_channel(node):
    if node.layer.bias == "unit":
        raise Untranslatable(f"{node.name}: expected one bias per channel for PyTorch, got one per unit")


def _of(torch, kind, node):
    """The class of `torch.nn` for as many axes as the node's input has."""
    return getattr(torch.nn, f"{kind}{max(1, len(node.input_shapes[0]) - 1)}d")


def _symmetric(node, window):
    """The padding, one number per axis."""
    pairs = window.padding_pairs(node.input_shapes[0][1:])
    if any(a != b for a, b in pairs):
        raise Untranslatable(f"{node.name}: expected as much padding before as behind for PyTorch, got {pairs}")
    return tuple(a for a, _ in pairs)


def _has_bias(node):
    return "bias" in node.param_shapes


def _conv(torch, node):
    layer, (channels, *space) = node.layer, node.input_shapes[0]
    _require(node, flip=False, pad_value=0)
    _require_bias_per_channel(node)
    kernel, stride, dilation = layer.window.sizes(space)
    padding = _symmetric(node, layer.window)
    if layer.table is not None:
        return _conv_by_table(torch, node, stride, padding, dilation)
    sizes = (channels, node.shape[0], kernel, stride, padding, dilation, layer.groups)
    return _of(torch, "Conv", node)(*sizes, _has_bias(node), _MODES[layer.padding_mode], device="meta")


def _conv_by_table(torch, node, stride, padding, dilation):
    """The kernels of the pairs of channels that are connected, among zeros."""
    _require(node, padding_mode="constant")
    holder, (channels, *space) = torch.nn.Module(), node.input_shapes[0]
    convolve = getattr(torch.nn.functional, f"conv{len(space)}d")
    outs = torch.tensor([o for o, row in enumerate(node.layer.table) for _ in row])
    ins = torch.tensor([i for row in node.layer.table for i in row])

    def call(x):
        full = x.new_zeros(node.shape[0], channels, *holder.weight.shape[1:])
        full = full.index_put((outs, ins), holder.weight, accumulate=True)
        return convolve(x, full, getattr(holder, "bias", None), stride, padding, dilation)

    return holder, call


def _conv_transpose(torch, node):
    layer, (channels, *space) = node.layer, node.input_shapes[0]
    _require_bias_per_channel(node)
    kernel, stride, dilation = layer.window.sizes(space)
    padding = _symmetric(node, layer.window)
    sizes = (channels, node.shape[0], kernel, stride, padding, layer.output_padding, layer.groups)
    return _of(torch, "ConvTranspose", node)(*sizes, _has_bias(node), dilation, device="meta")


def _dense(torch, node):
    linear = torch.nn.Linear(math.prod(node.input_shapes[0]), node.shape[0], bias=_has_bias(node), device="meta")
    if len(node.input_shapes[0]) == 1:
        return linear
    return linear, lambda x: linear(torch.flatten(x, 1))


def _max_pool(torch, node):
    layer = node.layer
    if layer.kernel == "global":
        return _of(torch, "AdaptiveMaxPool", node)(1)
    kernel, stride, padding, dilation = _window(node)
    return _of(torch, "MaxPool", node)(kernel, stride, padding, dilation, ceil_mode=layer.ceil)


def _average_pool(torch, node):
    layer = node.layer
    if layer.kernel == "global":
        return _of(torch, "AdaptiveAvgPool", node)(1)
    _require(node, dilation=1)
    kernel, stride, padding, _ = _window(node)
    return _of(torch, "AvgPool", node)(kernel, stride, padding, layer.ceil, layer.count_include_pad)


def _subsample(torch, node):
    """The mean of each window times its size and a coefficient per channel."""
    _require(node, dilation=1, ceil=False)
    _require_bias_per_channel(node)
    kernel, stride, padding, _ = _window(node)
    holder, pool = torch.nn.Module(), _of(torch, "AvgPool", node)(kernel, stride, padding)
    shape, taps = (-1, *(1 for _ in kernel)), math.prod(kernel)

    def call(x):
        y = pool(x) * (taps * holder.weight.reshape(shape))
        return y + holder.bias.reshape(shape) if _has_bias(node) else y

    return holder, call


def _window(node):
    """Kernel, stride, padding and dilation of a pooling layer, one number per axis."""
    layer, space = node.layer, node.input_shapes[0][1:]
    if layer.kernel == "global":
        return tuple(space), (1,) * len(space), (0,) * len(space), (1,) * len(space)
    stride = layer.kernel if layer.stride is None else layer.stride
    window = Window(layer.kernel, stride, layer.dilation, layer.padding)
    kernel, stride, dilation = window.sizes(space)
    padding = _symmetric(node, window)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise Untranslatable(f"{node.name}: expected padding of at most half a window for PyTorch, got {padding}")
    return kernel, stride, padding, dilation


def _batch_norm(torch, node):
    _require(node, frozen=False)
    layer = node.layer
    return _of(torch, "BatchNorm", node)(node.shape[0], eps=layer.epsilon, momentum=layer.momentum)


def _dropout(torch, node):
    _require(node, inverted=True)
    return torch.nn.Dropout(node.layer.rate)


def _local_response_norm(torch, node):
    layer = node.layer
    return torch.nn.LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k)


def _identity_shortcut(torch, node):
    """Option A: every stride-th site, then channels of zeros."""
    space = node.input_shapes[0][1:]
    steps = (slice(None), slice(None), *(slice(None, None, s) for s in node.layer.window.sizes(space)[1]))
    added = (0, 0) * len(space) + (0, node.shape[0] - node.input_shapes[0][0])
    return lambda x: torch.nn.functional.pad(x[steps], added)


def _pad(torch, node):
    layer = node.layer
    pairs = layer.window.padding_pairs(node.input_shapes[0][1:])
    flat = tuple(n for pair in reversed(pairs) for n in pair)
    if layer.mode != "constant":
        return lambda x: torch.nn.functional.pad(x, flat, layer.mode)
    return lambda x: torch.nn.functional.pad(x, flat, value=layer.pad_value)


def _rbf(torch, node):
    """Minus the squared distance to each code."""
    codes = [[1.0 if cell == "#" else -1.0 for cell in code] for code in node.layer.codes]
    return lambda x: -(x[:, None] - x.new_tensor(codes)).square().sum(2)


_LAYERS = {
    "adaptive-average-pool": lambda torch, node: _of(torch, "AdaptiveAvgPool", node)(node.shape[1:]),
    "add": lambda torch, node: lambda *xs: functools.reduce(torch.add, xs),
    "average-pool": _average_pool,
    "batch-norm": _batch_norm,
    "concatenate": lambda torch, node: lambda *xs: torch.cat(xs, 1),
    "conv": _conv,
    "conv-transpose": _conv_transpose,
    "dense": _dense,
    "dropout": _dropout,
    "flatten": lambda torch, node: torch.nn.Flatten(),
    "identity-shortcut": _identity_shortcut,
    "leaky-relu": lambda torch, node: torch.nn.LeakyReLU(node.layer.slope),
    "local-response-norm": _local_response_norm,
    "log-softmax": lambda torch, node: torch.nn.LogSoftmax(1),
    "max-pool": _max_pool,
    "pad": _pad,
    "rbf": _rbf,
    "relu": None,  # it looks at the layer before it
    "reshape": lambda torch, node: lambda x: x.reshape(len(x), *node.shape),
    "scaled-tanh": lambda torch, node: lambda x: 1.7159 * torch.tanh(x * (2 / 3)),
    "sigmoid": lambda torch, node: torch.nn.Sigmoid(),
    "softmax": lambda torch, node: torch.nn.Softmax(1),
    "subsample": _subsample,
    "tanh": lambda torch, node: torch.nn.Tanh(),
}
