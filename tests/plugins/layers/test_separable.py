"""Separable convolution against PyTorch's two convolutions, and as a product of two matrices."""

import numpy as np
import pytest

from simulator import Catalog, Conv, Counts, Network, ShapeError, TiedMatrix
from simulator.equivalence import equivalence

make = Catalog().make

CASES = [
    ({"out_channels": 3, "kernel": 3}, (2, 7)),
    ({"out_channels": 4, "kernel": 2, "multiplier": 2, "stride": 2, "padding": [(0, 1)]}, (3, 6)),
    ({"out_channels": 5, "kernel": 3, "padding": 1}, (3, 5, 4)),
    ({"out_channels": 1, "kernel": 3, "padding": "same", "bias": False}, (3, 5, 4)),
    ({"out_channels": 2, "kernel": (2, 3), "multiplier": 3, "dilation": (1, 2), "padding": (1, 2)}, (2, 5, 6)),
    ({"out_channels": 2, "kernel": 2, "padding": 1}, (2, 3, 4, 3)),
]


def network_of(options, shape, dtype=np.float64):
    """A network of this one layer with random params."""
    rng = np.random.default_rng(0)
    net = Network.sequential(shape, [make("separable-conv", **options)], rng=0, dtype=dtype)
    return net.with_params({name: rng.standard_normal(s) for name, s in net.param_shapes.items()})


def own(net):
    return {name.partition(".")[2]: p for name, p in net.params.items()}


@pytest.mark.parametrize(("options", "shape"), CASES)
def test_it_is_two_convolutions_of_pytorch(torch, agree, options, shape):
    rng = np.random.default_rng(1)
    net = network_of(options, shape)
    layer = net.node(net.outputs[0]).layer
    x, dy = rng.standard_normal((2, *shape)), rng.standard_normal((2, *net.output_shape))
    trace = net.run(x)
    gradients = trace.backward(dy)

    conv = [torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d][len(shape) - 2]
    tx = torch.tensor(x, requires_grad=True)
    params = {name: torch.tensor(p, requires_grad=True) for name, p in own(net).items()}
    widths = [w for pair in reversed(layer.window.padding_pairs(shape[1:])) for w in pair]
    padded = torch.nn.functional.pad(tx, widths)
    middle = conv(padded, params["depthwise"], None, layer.stride, 0, layer.dilation, groups=shape[0])
    ty = conv(middle, params["pointwise"], params.get("bias"))
    ty.backward(torch.tensor(dy))

    agree(trace[net.outputs[0]], ty.detach().numpy())
    agree(gradients.inputs["input"], tx.grad.numpy())
    for name, p in params.items():
        agree(gradients.params[f"{net.outputs[0]}.{name}"], p.grad.numpy())


@pytest.mark.parametrize(("options", "shape"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_equals_its_matrix(options, shape, dtype):
    (proof,) = equivalence(network_of(options, shape, dtype))
    assert proof.ok, proof
    assert proof.skipped == ""
    assert "against its own forward" not in proof.matrix


@pytest.mark.parametrize(("options", "shape"), CASES)
def test_the_product_is_the_matrix_of_a_convolution_whose_kernels_have_low_rank(agree, options, shape):
    net = network_of(options, shape)
    params, layer = own(net), net.node(net.outputs[0]).layer
    (product,), offset = layer.affine_at(params, {}, np.zeros(shape))
    mixed = params["pointwise"].reshape(layer.out_channels, shape[0], layer.multiplier)
    single = params["depthwise"].reshape(shape[0], layer.multiplier, *params["depthwise"].shape[2:])
    weight = np.einsum("ocm,cm...->oc...", mixed, single)
    geometry = {"stride": layer.stride, "dilation": layer.dilation, "padding": layer.padding}
    full = Conv(layer.out_channels, layer.kernel, **geometry).pattern(shape)
    agree(product.toarray(), TiedMatrix(full, weight).tocsr().toarray())
    sites = len(offset) // layer.out_channels
    np.testing.assert_array_equal(offset, np.repeat(params.get("bias", np.zeros(layer.out_channels)), sites))


def test_it_is_a_depthwise_and_a_pointwise_layer_of_the_catalog(agree):
    net = network_of({"out_channels": 4, "kernel": 3, "multiplier": 2, "padding": 1}, (3, 5, 4))
    layers = [make("depthwise-conv", 3, multiplier=2, padding=1, bias=False), make("conv", 4, kernel=1)]
    two = Network.sequential((3, 5, 4), layers, rng=0, dtype=np.float64)
    params = own(net)
    two = two.with_params(
        dict(zip(two.params, (params["depthwise"], params["pointwise"], params["bias"]), strict=True))
    )
    x = np.random.default_rng(2).standard_normal((2, 3, 5, 4))
    agree(net.predict(x), two.predict(x))
    first, second = (two.node(name).node.counts for name in ("depthwiseconv1", "conv1"))
    assert net.node(net.outputs[0]).node.counts == first + second


def test_it_has_a_fraction_of_the_params_and_of_the_work_of_a_convolution():
    # A. Howard et al., "MobileNets", 2017, section 3.1: 1/N + 1/k² of the multiply-adds.
    separable = make("separable-conv", 64, kernel=3, padding=1, bias=False).counts((32, 14, 14))
    full = make("conv", 64, kernel=3, padding=1, bias=False).counts((32, 14, 14))
    assert separable.macs / full.macs == pytest.approx(1 / 64 + 1 / 9, rel=1e-15)
    small = make("separable-conv", 3, kernel=3, padding=1).counts((2, 2, 2))
    assert small == Counts(params=18 + 6 + 3, connections=32 + 24 + 12, links=72 + 24 + 12, nonzeros=56, macs=96)


def test_equal_layers_share_their_patterns():
    first = make("separable-conv", 4, kernel=3, padding="same").patterns((2, 6, 6))
    again = make("separable-conv", 4, kernel=[3, 3], padding=1).patterns((2, 6, 6))
    assert all(a is b for a, b in zip(first, again, strict=True))


def test_first_values_have_the_variance_of_the_initialisation():
    params = make("separable-conv", 256, kernel=5).init_params(np.random.default_rng(0), (64, 9, 9), dtype=np.float32)
    assert params["depthwise"].var() == pytest.approx(2 / 25, rel=0.1)
    assert params["pointwise"].var() == pytest.approx(2 / 64, rel=0.1)
    assert not params["bias"].any()


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (4,), r"separable-conv: expected an input \(channels, \*space\), got \(4,\); reshape it"),
        ({"multiplier": 0}, (2, 5), "separable-conv multiplier: expected an integer of at least 1, got 0"),
        ({"kernel": 9}, (2, 5), "separable-conv: expected a window no larger than the padded input, got 9 taps"),
    ],
)
def test_what_does_not_fit_is_refused(options, shape, message):
    with pytest.raises(ShapeError, match=message):
        Network.sequential(shape, [make("separable-conv", **{"out_channels": 2, "kernel": 3, **options})], rng=0)
