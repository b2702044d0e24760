"""Convolutions against scipy.signal and PyTorch on random geometries, and the facts that courses teach about them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy import signal

from simulator import Conv, ConvTranspose, Counts, Dense, LocallyConnected, MaxPool, Network, ReLU, ShapeError, Window

NUMPY_MODE = {"constant": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}
LENET_C3 = (
    *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),
    *(tuple((i + k) % 6 for k in range(4)) for i in range(6)),
    *((i, i + 1, i + 3, (i + 4) % 6) for i in range(3)),
    tuple(range(6)),
)


@st.composite
def window_options(draw):
    """A space, and the options of a layer whose window fits it."""
    mode = draw(st.sampled_from(tuple(NUMPY_MODE)))
    space, kernel, stride, dilation, padding = [], [], [], [], []
    ndim = draw(st.integers(1, 3))
    for _ in range(ndim):
        k, d = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        begin, end = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        least = {"circular": max(begin, end), "reflect": max(begin, end) + 1}.get(mode, 1)
        least = max(1, least, (k - 1) * d + 1 - begin - end)
        space.append(draw(st.integers(least, least + 4 - ndim)))
        kernel.append(k)
        dilation.append(d)
        stride.append(draw(st.integers(1, 3)))
        padding.append((begin, end))
    options = {
        "kernel": tuple(kernel),
        "stride": tuple(stride),
        "dilation": tuple(dilation),
        "padding": tuple(padding),
        "padding_mode": mode,
        "pad_value": draw(st.sampled_from([0.0, -1.0, 0.25])) if mode == "constant" else 0.0,
        "groups": draw(st.integers(1, 3)),
        "bias": draw(st.sampled_from([True, False, "unit"])),
    }
    return tuple(space), options


@st.composite
def convolutions(draw, kind=Conv):
    """A layer and an input shape."""
    space, options = draw(window_options())
    channels = [options["groups"] * draw(st.integers(1, 2)) for _ in range(2)]
    if kind is Conv:
        options["flip"] = draw(st.booleans())
    return kind(channels[0], **options), (channels[1], *space)


@st.composite
def transposed_convolutions(draw):
    """A transposed convolution that leaves at least one site, and an input shape."""
    space, kernel, stride, dilation, padding, output_padding = [], [], [], [], [], []
    for _ in range(draw(st.integers(1, 3))):
        k, s, d = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        n, extra = draw(st.integers(1, 3)), draw(st.integers(0, max(s, d) - 1))
        space.append(n)
        kernel.append(k)
        stride.append(s)
        dilation.append(d)
        padding.append(draw(st.integers(0, min(2, ((n - 1) * s + d * (k - 1) + extra) // 2))))
        output_padding.append(extra)
    groups = draw(st.integers(1, 2))
    layer = ConvTranspose(
        groups * draw(st.integers(1, 2)),
        tuple(kernel),
        tuple(stride),
        tuple(dilation),
        tuple(padding),
        tuple(output_padding),
        groups,
        bias=draw(st.booleans()),
    )
    return layer, (groups * draw(st.integers(1, 2)), *space)


class Experiment:
    """A layer of random weights in a network of its own, run forward and backward once."""

    def __init__(self, layer, shape, batch=2):
        rng = np.random.default_rng(0)
        net = Network.sequential(shape, [layer], rng=rng, dtype=np.float64)
        self.net = net.with_params({k: rng.standard_normal(p.shape) for k, p in net.params.items()})
        self.params = {k.split(".")[1]: p for k, p in self.net.params.items()}
        self.x = rng.standard_normal((batch, *shape))
        trace = self.net.run(self.x)
        self.y = trace[self.net.outputs[0]]
        self.dy = rng.standard_normal(self.y.shape)
        gradients = trace.backward(self.dy)
        self.dx = gradients.inputs["input"]
        self.grads = {k.split(".")[1]: g for k, g in gradients.params.items()}
        self.another_x = rng.standard_normal(self.x.shape)
        self.another_weight = rng.standard_normal(self.params["weight"].shape)


def check_against(run, linear, pad):
    """Forward, and with the dot test all gradients, of an affine layer whose linear part somebody else computes."""
    x, weight = run.x, run.params["weight"]
    bias = run.params.get("bias", np.zeros(1))
    expected = linear(pad(x), weight) + bias.reshape(*bias.shape, *(1,) * (run.y.ndim - 1 - bias.ndim))
    assert run.y.shape == expected.shape
    np.testing.assert_allclose(run.y, expected, rtol=0, atol=1e-12 * np.abs(expected).max(initial=0))
    for gradient, direction, change in [
        (run.dx, run.another_x, linear(pad(run.another_x) - pad(0 * x), weight)),
        (run.grads["weight"], run.another_weight, linear(pad(x), run.another_weight)),
    ]:
        assert gradient.shape == direction.shape
        scale = np.sum(np.abs(run.dy * change)) + np.sum(np.abs(gradient * direction))
        assert abs(np.sum(gradient * direction) - np.sum(run.dy * change)) <= 1e-12 * scale
    if "bias" in run.params:
        axes = (0, *range(1 + bias.ndim, run.dy.ndim))
        np.testing.assert_allclose(run.grads["bias"], run.dy.sum(axis=axes), rtol=0, atol=1e-12)


def padder(layer, space):
    """numpy.pad as the layer asks for it."""
    pairs = ((0, 0), (0, 0), *Window(1, padding=layer.padding).padding_pairs(space))
    constant = {"constant_values": layer.pad_value} if layer.padding_mode == "constant" else {}
    return lambda x: np.pad(x, pairs, mode=NUMPY_MODE[layer.padding_mode], **constant)


def spread(kernel, dilation):
    """A kernel with zeros between its taps."""
    wide = np.zeros([(k - 1) * d + 1 for k, d in zip(kernel.shape, dilation, strict=True)])
    wide[tuple(slice(None, None, d) for d in dilation)] = kernel
    return wide


def scipy_convolution(layer):
    """Sum over the channels of each group of scipy.signal.correlate, or of convolve for a flipped kernel."""
    slide = signal.convolve if layer.flip else signal.correlate
    every = tuple(slice(None, None, s) for s in layer.stride)

    def apply(x, weight):
        outs, fan = weight.shape[0] // layer.groups, weight.shape[1]
        maps = [
            [
                sum(
                    slide(sample[o // outs * fan + c], spread(weight[o, c], layer.dilation), "valid", "direct")[every]
                    for c in range(fan)
                )
                for o in range(len(weight))
            ]
            for sample in x
        ]
        return np.array(maps)

    return apply


def scipy_transposed_convolution(layer):
    """Zeros between the inputs, scipy.signal.convolve in full, then the border cut."""

    def apply(x, weight):
        fan, outs = x.shape[1] // layer.groups, weight.shape[1]
        maps = []
        for sample in x:
            for o in range(layer.out_channels):
                first = o // outs * fan
                full = sum(
                    signal.convolve(
                        spread(sample[c], layer.stride), spread(weight[c, o % outs], layer.dilation), "full", "direct"
                    )
                    for c in range(first, first + fan)
                )
                full = np.pad(full, [(0, e) for e in layer.output_padding])
                pairs = Window(1, padding=layer.padding).padding_pairs(sample.shape[1:])
                maps.append(full[tuple(slice(a, n - b) for n, (a, b) in zip(full.shape, pairs, strict=True))])
        return np.array(maps).reshape(len(x), layer.out_channels, *maps[0].shape)

    return apply


def patches_times_kernels(layer):
    """Every window cut out, and multiplied with the kernel of its own site."""

    def apply(x, weight):
        ndim = len(layer.kernel)
        extents = tuple((k - 1) * d + 1 for k, d in zip(layer.kernel, layer.dilation, strict=True))
        cut = sliding_window_view(x, extents, axis=tuple(range(2, 2 + ndim)))
        cut = cut[(..., *(slice(None, None, s) for s in layer.stride), *(slice(None),) * ndim)]
        cut = cut[(..., *(slice(None, None, d) for d in layer.dilation))]
        out_space, taps = cut.shape[2 : 2 + ndim], math.prod(layer.kernel)
        cut = cut.reshape(len(x), layer.groups, -1, math.prod(out_space), taps)
        kernels = weight.reshape(layer.groups, -1, weight.shape[1], taps, math.prod(out_space))
        return np.einsum("bgcst,gocts->bgos", cut, kernels).reshape(len(x), layer.out_channels, *out_space)

    return apply


# ---------------------------------------------------------------------- random geometries


@given(convolutions())
def test_convolution_is_what_scipy_correlates(case):
    layer, shape = case
    check_against(Experiment(layer, shape), scipy_convolution(layer), padder(layer, shape[1:]))


@given(convolutions(LocallyConnected))
def test_locally_connected_multiplies_each_window_with_a_kernel_of_its_own(case):
    layer, shape = case
    check_against(Experiment(layer, shape), patches_times_kernels(layer), padder(layer, shape[1:]))


@given(transposed_convolutions())
def test_transposed_convolution_is_what_scipy_convolves_in_full(case):
    layer, shape = case
    check_against(Experiment(layer, shape), scipy_transposed_convolution(layer), lambda x: x)


def torch_arrays(torch, run):
    return (
        torch.tensor(run.x, requires_grad=True),
        *(torch.tensor(np.array(p), requires_grad=True) for p in run.params.values()),
    )


def check_against_torch(run, y, leaves, agree):
    agree(run.y, y.detach().numpy())
    y.backward(y.new_tensor(run.dy))
    for actual, leaf in zip((run.dx, *run.grads.values()), leaves, strict=True):
        agree(actual, leaf.grad.numpy())


@given(case=convolutions())
def test_convolution_is_what_torch_computes(case, torch, agree):
    layer, shape = case
    run = Experiment(layer, shape)
    leaves = x, weight, *bias = torch_arrays(torch, run)
    ndim = len(shape) - 1
    pairs = [side for pair in reversed(layer.padding) for side in pair]
    value = {"value": layer.pad_value} if layer.padding_mode == "constant" else {}
    padded = torch.nn.functional.pad(x, pairs, layer.padding_mode, **value)
    kernel = weight.flip(tuple(range(2, 2 + ndim))) if layer.flip else weight
    convolve = getattr(torch.nn.functional, f"conv{ndim}d")
    shared = bias[0] if bias and layer.bias is True else None
    y = convolve(padded, kernel, shared, layer.stride, 0, layer.dilation, layer.groups)
    check_against_torch(run, y + bias[0] if layer.bias == "unit" else y, leaves, agree)


@given(case=transposed_convolutions())
def test_transposed_convolution_is_what_torch_computes(case, torch, agree):
    layer, shape = case
    run = Experiment(layer, shape)
    leaves = x, weight, *bias = torch_arrays(torch, run)
    convolve = getattr(torch.nn.functional, f"conv_transpose{len(shape) - 1}d")
    bias = bias[0] if bias else None
    y = convolve(x, weight, bias, layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
    check_against_torch(run, y, leaves, agree)


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
def test_the_padding_modes_of_torch_modules(mode, torch, agree):
    module = torch.nn.Conv2d(2, 3, (3, 2), padding=(2, 1), padding_mode=mode, dtype=torch.float64)
    ours = Conv(3, (3, 2), padding=(2, 1), padding_mode="constant" if mode == "zeros" else mode)
    net = Network.input((2, 4, 5), dtype=np.float64).add(ours, name="conv")
    net = net.with_params({f"conv.{k}": v for k, v in module.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((2, 2, 4, 5))
    agree(net.predict(x), module(torch.tensor(x)).detach().numpy())


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (3, 2), (5, 1), ((3, 1), (2, 1))])
def test_same_is_the_same_as_in_torch(kernel, dilation, torch, agree):
    run = Experiment(Conv(2, kernel, dilation=dilation, padding="same"), (2, 6, 5))
    x, weight, bias = leaves = torch_arrays(torch, run)
    check_against_torch(run, torch.nn.functional.conv2d(x, weight, bias, 1, "same", dilation), leaves, agree)


@pytest.mark.parametrize("padding", [((0, 1),), ((2, 0),), ((1, 2),)])
def test_a_transposed_convolution_cuts_its_border_as_it_is_told(padding, torch, agree):
    layer = ConvTranspose(2, (3,), (2,), (1,), padding, (1,))
    run = Experiment(layer, (2, 4))
    check_against(run, scipy_transposed_convolution(layer), lambda x: x)
    x, weight, bias = leaves = torch_arrays(torch, run)
    full = torch.nn.functional.conv_transpose1d(x, weight, bias, 2, 0, 1)
    (begin, end) = padding[0]
    check_against_torch(run, full[..., begin : full.shape[-1] - end], leaves, agree)


def test_an_output_padding_beyond_the_stride_adds_sites_that_no_input_drives(torch, agree):
    run = Experiment(ConvTranspose(1, 2, stride=1, dilation=3, output_padding=2), (1, 2))
    leaves = x, weight, bias = torch_arrays(torch, run)
    y = torch.nn.functional.conv_transpose1d(x, weight, bias, 1, 0, 2, 1, 3)
    check_against_torch(run, y, leaves, agree)
    assert run.net.node("convtranspose1").pattern.shape == (7, 2)


def test_the_arrays_of_a_torch_state_dict_drop_in_unchanged(torch, agree):
    nn = torch.nn
    torch.manual_seed(0)
    modules = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, (3, 1), groups=4, stride=2),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
        nn.Flatten(),
        nn.Linear(64, 10),
    ).double()
    net = Network.input((3, 12, 8), dtype=np.float64)
    for name, layer in {
        "0": Conv(8, 3, padding=1),
        "relu": ReLU(),
        "pool": MaxPool(2),
        "3": Conv(8, (3, 1), groups=4, stride=2),
        "4": ReLU(),
        "5": ConvTranspose(4, 2, stride=2),
        "7": Dense(10),
    }.items():
        net = net.add(layer, name=name)
    net = net.with_params(modules.state_dict())
    x = np.random.default_rng(0).standard_normal((4, 3, 12, 8))
    agree(net.predict(x), modules(torch.tensor(x)).detach().numpy())


# ---------------------------------------------------------------------- connection tables


def masked_weight(layer, weight, channels):
    """The weight of an ordinary convolution that has zeros where the table has no pair."""
    full = np.zeros((layer.out_channels, channels, *weight.shape[1:]))
    pairs = [(o, c) for o, row in enumerate(layer.table) for c in row]
    for kernel, pair in zip(weight, pairs, strict=True):
        full[pair] += kernel
    return full, pairs


def test_a_connection_table_is_a_masked_convolution(torch, agree):
    layer = Conv(16, 3, padding=1, pad_value=-1.0, table=LENET_C3)
    run = Experiment(layer, (6, 5, 4))
    full, pairs = masked_weight(layer, run.params["weight"], 6)
    x, weight = torch.tensor(run.x, requires_grad=True), torch.tensor(full, requires_grad=True)
    bias = torch.tensor(np.array(run.params["bias"]), requires_grad=True)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), value=-1.0)
    y = torch.nn.functional.conv2d(padded, weight, bias)
    agree(run.y, y.detach().numpy())
    y.backward(torch.tensor(run.dy))
    agree(run.dx, x.grad.numpy())
    agree(run.grads["weight"], np.stack([weight.grad.numpy()[pair] for pair in pairs]))
    agree(run.grads["bias"], bias.grad.numpy())


def test_a_table_may_name_channels_in_any_order_and_twice():
    layer = Conv(2, (2,), (1,), (1,), ((1, 0),), table=((1, 0), (1, 1, 1)))
    run = Experiment(layer, (2, 4))
    full, _ = masked_weight(layer, run.params["weight"], 2)
    expected = scipy_convolution(layer)(padder(layer, (4,))(run.x), full) + run.params["bias"][:, None]
    np.testing.assert_allclose(run.y, expected, rtol=0, atol=1e-12)
    x, dy = run.x.reshape(2, -1).T, run.dy.reshape(2, -1).T
    rows, cols, ties = layer.pattern((2, 4)).triplets()
    gradient = np.zeros(10)
    np.add.at(gradient, ties, np.einsum("kb,kb->k", dy[rows], x[cols]))
    np.testing.assert_allclose(run.grads["weight"].ravel(), gradient, rtol=0, atol=1e-12)


def test_a_table_of_blocks_is_a_grouped_convolution(agree):
    grouped = Experiment(Conv(4, 3, groups=2), (4, 5))
    table = Network.sequential(
        (4, 5), [Conv(4, 3, table=[(0, 1), (0, 1), (2, 3), (2, 3)])], rng=0, dtype=np.float64
    ).with_params({"conv1.weight": grouped.params["weight"].reshape(8, 3), "conv1.bias": grouped.params["bias"]})
    agree(table.predict(grouped.x), grouped.y)


# ---------------------------------------------------------------------- what the layer is as a matrix


def test_a_transposed_convolution_has_the_transposed_matrix(agree):
    options = {"kernel": (3, 2), "stride": (1, 2), "padding": 1, "bias": False}
    run = Experiment(Conv(3, **options), (2, 5, 4))
    up = Network.sequential((3, 5, 3), [ConvTranspose(2, **options)], dtype=np.float64)
    up = up.with_params({"convtranspose1.weight": run.params["weight"]})
    W, V = run.net.node("conv1").matrix, up.node("convtranspose1").matrix
    np.testing.assert_array_equal(V.tocsr().toarray(), W.tocsr().toarray().T)
    agree(up.predict(run.dy), run.dx)  # the backward pass of the one is the other


def test_a_locally_connected_layer_with_equal_kernels_is_a_convolution(agree):
    run = Experiment(Conv(2, 3, padding=1, pad_value=-1.0), (2, 4, 4))
    local = Network.sequential((2, 4, 4), [LocallyConnected(2, 3, padding=1, pad_value=-1.0)], dtype=np.float64)
    kernels = np.broadcast_to(run.params["weight"][..., None, None], (2, 2, 3, 3, 4, 4))
    biases = np.broadcast_to(run.params["bias"][:, None, None], (2, 4, 4))
    local = local.with_params({"locallyconnected1.weight": kernels, "locallyconnected1.bias": biases})
    agree(local.predict(run.x), run.y)
    trace = local.run(run.x).backward(run.dy)
    agree(trace.params["locallyconnected1.weight"].sum(axis=(-2, -1)), run.grads["weight"])  # sharing sums the gradient
    agree(trace.inputs["input"], run.dx)


def test_weights_of_a_locally_connected_layer_that_read_only_padding_have_no_gradient():
    run = Experiment(LocallyConnected(1, 3, padding=1), (1, 3))
    assert run.params["weight"].shape == (1, 1, 3, 3)
    assert run.grads["weight"][0, 0, 0, 0] == run.grads["weight"][0, 0, 2, 2] == 0
    assert np.count_nonzero(run.grads["weight"]) == run.net.node("locallyconnected1").pattern.nnz == 7


def test_a_pad_value_is_a_bias_that_depends_on_weight_and_position():
    net = Network.sequential((1, 4), [Conv(1, 3, padding=1, pad_value=2.0, bias=False)], dtype=np.float64)
    net = net.with_params({"conv1.weight": [[[1.0, 10.0, 100.0]]]})
    assert net.predict(np.zeros((1, 1, 4))).tolist() == [[[2, 0, 0, 200]]]
    gradient = net.run(np.zeros((3, 1, 4))).backward(np.ones((3, 1, 4))).params["conv1.weight"]
    assert gradient.tolist() == [[[6, 0, 6]]]  # three samples, one window each end


def test_a_pad_value_without_padding_changes_nothing():
    for options in ({}, {"padding": 1, "padding_mode": "circular"}):
        plain, padded = (Experiment(Conv(1, 3, pad_value=v, **options), (1, 4)) for v in (0.0, 5.0))
        np.testing.assert_array_equal(plain.y, padded.y)


def test_biases_may_be_per_unit():
    layer = Conv(2, 3, padding=1, bias="unit")
    run = Experiment(layer, (1, 4, 4))
    assert run.params["bias"].shape == (2, 4, 4)
    np.testing.assert_allclose(run.grads["bias"], run.dy.sum(axis=0), rtol=0, atol=1e-12)
    without = run.net.with_params({"conv1.bias": np.zeros((2, 4, 4))}).predict(run.x)
    np.testing.assert_allclose(run.y, without + run.params["bias"], rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (Conv(6, 5), (1, 32, 32), Counts(156, 122_304, 122_304, 117_600, 0, 117_600)),  # LeNet-5 of 1998, C1
        (Conv(16, 5, table=LENET_C3), (6, 14, 14), Counts(1_516, 151_600, 151_600, 150_000, 0, 150_000)),  # C3
        (Conv(120, 5), (16, 5, 5), Counts(48_120, 48_120, 48_120, 48_000, 0, 48_000)),  # C5
        (Conv(64, 3, bias=False), (3, 8, 8), Counts(1_728, 62_208, 62_208, 62_208, 0, 62_208)),
        (Conv(64, 3, padding=1, bias=False), (128, 1, 1), Counts(73_728, 8_192, 73_728, 8_192, 0, 73_728)),
        # Net-3 of LeCun's five: 16 x 16 -> 8 x 8 -> 4 x 4, local
        (
            LocallyConnected(1, 3, stride=2, padding="same", pad_value=-1.0),
            (1, 16, 16),
            Counts(640, 593, 640, 529, 0, 576),
        ),
    ],
)
def test_published_counts(layer, shape, expected):
    assert layer.counts(shape) == expected


@pytest.mark.parametrize(
    ("out", "kernel", "channels", "groups", "weights"),
    [
        (64, 3, 3, 1, 1_728),
        (64, 3, 128, 1, 73_728),
        (96, 11, 3, 1, 11 * 11 * 3 * 48 * 2),  # AlexNet's two towers
        (256, 5, 96, 2, 5 * 5 * 48 * 128 * 2),
        (384, 3, 256, 1, 3 * 3 * 128 * 2 * 192 * 2),
        (384, 3, 384, 2, 3 * 3 * 192 * 192 * 2),
        (256, 3, 384, 2, 3 * 3 * 192 * 128 * 2),
        (8, 3, 8, 8, 72),  # depthwise
        (8, 5, 8, 1, 25 * 64),
    ],
)
def test_published_numbers_of_weights(out, kernel, channels, groups, weights):
    layer = Conv(out, kernel, groups=groups, bias=False)
    assert math.prod(layer.param_shapes((channels, 11, 11))["weight"]) == weights


def test_two_three_by_three_see_what_one_five_by_five_sees_with_fewer_weights():
    for layers, weights in (([Conv(1, 5, bias=False)], 25), ([Conv(1, 3, bias=False)] * 2, 18)):
        net = Network.sequential((1, 5, 5), layers, rng=0, dtype=np.float64)
        assert net.output_shape == (1, 1, 1)
        assert sum(p.size for p in net.params.values()) == weights
        assert np.all(net.run(np.ones((1, 1, 5, 5))).backward(np.ones((1, 1, 1, 1))).inputs["input"] != 0)


# ---------------------------------------------------------------------- what courses teach


def test_kernels_have_the_channels_of_the_input_and_give_one_map_each():
    for kernels in (1, 4):
        layer = Conv(kernels, 5)
        assert layer.output_shape((3, 32, 32)) == (kernels, 28, 28)
        assert layer.param_shapes((3, 32, 32)) == {"weight": (kernels, 3, 5, 5), "bias": (kernels,)}


def test_in_one_dimension_three_weights_are_a_layer():
    net = Network.sequential((1, 4), [Conv(1, 3, bias=False)], dtype=np.float64)
    net = net.with_params({"conv1.weight": [[[1.0, 10.0, 100.0]]]})
    assert net.predict([[[1, 2, 3, 4]]]).tolist() == [[[321, 432]]]
    assert net.node("conv1").matrix.tocsr().toarray().tolist() == [[1, 10, 100, 0], [0, 1, 10, 100]]


def test_the_gradient_of_a_convolution_is_a_convolution(agree):
    run = Experiment(Conv(1, 3, bias=False), (1, 6, 6), batch=1)
    kernel = run.params["weight"][0, 0]
    agree(run.dx[0, 0], signal.convolve(run.dy[0, 0], kernel, "full", "direct"))
    agree(run.grads["weight"][0, 0], signal.correlate(run.x[0, 0], run.dy[0, 0], "valid", "direct"))
    W = run.net.node("conv1").matrix
    agree(run.dx[0].ravel(), W.tocsr().T @ run.dy[0].ravel())


def test_true_convolution_flips_the_kernel():
    nets = [
        Network.sequential((1, 5), [Conv(1, 3, flip=flip, bias=False)], dtype=np.float64).with_params(
            {"conv1.weight": [[[1.0, 2.0, 4.0]]]}
        )
        for flip in (False, True)
    ]
    x = [1.0, 0.0, 2.0, 0.0, 5.0]
    assert nets[0].predict([[x]])[0, 0].tolist() == np.correlate(x, [1, 2, 4], "valid").tolist()
    assert nets[1].predict([[x]])[0, 0].tolist() == np.convolve(x, [1, 2, 4], "valid").tolist()
    assert nets[1].node("conv1").matrix.tocsr().toarray()[0].tolist() == [4, 2, 1, 0, 0]


@pytest.mark.parametrize("mode", ["constant", "circular"])
def test_shifting_the_input_shifts_the_feature_map(mode, agree):
    run = Experiment(Conv(2, 3, padding=1, padding_mode=mode), (2, 8, 8))
    shifted = run.net.predict(np.roll(run.x, (1, 2), axis=(2, 3)))
    expected = np.roll(run.y, (1, 2), axis=(2, 3))
    if mode == "constant":  # with zero padding only away from the border
        shifted, expected = shifted[..., 2:-1, 3:-1], expected[..., 2:-1, 3:-1]
    agree(shifted, expected)


def test_a_circular_convolution_has_the_singular_values_of_its_fourier_transform(agree):
    run = Experiment(Conv(1, 3, padding=1, padding_mode="circular", bias=False), (1, 6, 5))
    transfer = np.abs(np.fft.fft2(run.params["weight"][0, 0], (6, 5)))
    singular = np.linalg.svd(run.net.node("conv1").matrix.tocsr().toarray(), compute_uv=False)
    agree(singular, np.sort(transfer.ravel())[::-1])


def test_a_line_filter_finds_lines():
    picture = np.zeros((5, 5))
    picture[2] = 1  # a horizontal line
    filters = np.array([[[-1.0] * 3, [2] * 3, [-1] * 3], [[-1, 2, -1]] * 3])[:, None]
    net = Network.sequential((1, 5, 5), [Conv(2, 3, bias=False), ReLU()]).with_params({"conv1.weight": filters})
    horizontal, vertical = net.predict(picture[None, None])[0]
    assert horizontal.tolist() == [[0] * 3, [6] * 3, [0] * 3]
    assert vertical.tolist() == [[0] * 3] * 3


# ---------------------------------------------------------------------- edges


def test_tail_rows_that_floor_never_reached_get_zero_gradient():
    run = Experiment(Conv(2, 2, stride=2), (1, 5, 4))
    assert np.all(run.dx[:, :, 4] == 0)
    assert np.all(run.dx[:, :, :4] != 0)


def test_inputs_between_strides_that_nobody_reads_get_zero_gradient():
    run = Experiment(Conv(1, 2, stride=3), (1, 8))
    assert (run.dx[0, 0] != 0).tolist() == [True, True, False, True, True, False, True, True]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv(2, (1, 1), (1, 1), (1, 1), ((0, 0), (0, 0))), (3, 1, 1)),  # 1 x 1 input
        (Conv(2, (3, 3), (1, 1), (1, 1), ((1, 1), (1, 1))), (3, 1, 1)),
        (Conv(2, (3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)), "replicate"), (1, 1, 1)),
        (Conv(2, (4, 3), (1, 1), (1, 1), ((0, 0), (0, 0))), (2, 4, 3)),  # kernel as large as the input
        (Conv(2, (2,), (5,), (1,), ((0, 0),)), (2, 9)),  # stride larger than the kernel
        (Conv(1, (2,), (1,), (4,), ((2, 2),)), (1, 1)),  # every tap of some windows on padding
    ],
)
def test_extreme_geometries(layer, shape):
    for batch in (1, 3):
        check_against(Experiment(layer, shape, batch), scipy_convolution(layer), padder(layer, shape[1:]))


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(("kind", "who"), [(Conv, "conv"), (LocallyConnected, "locally-connected")])
def test_options_are_checked_where_the_shape_is_known(kind, who):
    for layer, shape, wrong in [
        (kind(4, 3, groups=3), (6, 5), r" groups: expected a divisor of 6 input and 4 output channels, got 3; change"),
        (kind(4, 3, groups=4), (6, 5), r" groups: expected a divisor of 6 input and 4 output channels, got 4; change"),
        (kind(4, 3, groups=0), (6, 5), r" groups: expected an integer of at least 1, got 0"),
        (kind(0, 3), (6, 5), r" out_channels: expected an integer of at least 1, got 0"),
        (kind(4, 0), (6, 5), r" kernel: expected an integer of at least 1, got 0"),
        (kind(4, (3, 3)), (6, 5), r" kernel: expected one integer or 1 of them"),
        (kind(4, 3, stride=0), (6, 5), r" stride: expected an integer of at least 1, got 0"),
        (kind(4, 6), (6, 5), r": expected a window no larger than the padded input, got 6 taps on 5 sites"),
        (kind(4, 3), (6,), r": expected an input \(channels, \*space\), got \(6,\); reshape it first"),
    ]:
        with pytest.raises(ShapeError, match=who + wrong):
            layer.output_shape(shape)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"table": [(0,), (1,)], "groups": 2}, r"conv: expected a table or groups, got both \(groups=2\); leave"),
        ({"table": [(0,)]}, r"conv table: expected 2 rows, one per output channel, got 1; add or remove rows"),
        ({"table": [(0,), (2,)]}, r"conv table: expected input channels from 0 to 1 in row 1, got \(2,\); correct"),
        ({"table": [(-1,), (1,)]}, r"conv table: expected input channels from 0 to 1 in row 0, got \(-1,\)"),
        ({"table": [(0,), ()]}, r"conv table: expected input channels from 0 to 1 in row 1, got \(\)"),
        ({"table": [(0,), (0.5,)]}, r"Conv table: expected a sequence of sequences of integers or None, got"),
    ],
)
def test_connection_tables_are_checked(options, wrong):
    with pytest.raises(ShapeError, match=wrong):
        Conv(2, 3, **options).output_shape((2, 5))


def test_a_table_without_rows_is_no_layer():
    with pytest.raises(ShapeError, match=r"conv out_channels: expected an integer of at least 1, got 0"):
        Conv(0, 3, table=()).output_shape((2, 5))


@pytest.mark.parametrize(
    ("layer", "shape", "wrong"),
    [
        (ConvTranspose(1, 3, padding=-1), (1, 4), r" padding: expected an integer of at least 0, got -1"),
        (
            ConvTranspose(1, 3, stride=2, output_padding=2),
            (1, 4),
            r" output_padding: expected less than the stride 2 or the dilation 1, got 2; use a smaller one",
        ),
        (ConvTranspose(1, 3, output_padding=-1), (1, 4), r" output_padding: expected an integer of at least 0, got -1"),
        (
            ConvTranspose(1, 3, padding=2),
            (1, 2, 2),
            r": expected at least one output site per axis, got 0 from input \(2, 2\); use less padding",
        ),
        (ConvTranspose(3, 3, groups=2), (2, 4), r" groups: expected a divisor of 2 input and 3 output channels, got 2"),
        (ConvTranspose(1, 3), (2,), r": expected an input \(channels, \*space\), got \(2,\)"),
        (ConvTranspose(1, (3, 3)), (1, 4), r" kernel: expected one integer or 1 of them"),
    ],
)
def test_transposed_convolutions_are_checked(layer, shape, wrong):
    with pytest.raises(ShapeError, match="conv-transpose" + wrong):
        layer.output_shape(shape)
