"""Depthwise convolution against PyTorch's grouped convolution."""

import numpy as np
import pytest

from simulator import Catalog, Conv, Counts, Network, ShapeError
from simulator.equivalence import equivalence

make = Catalog().make

CASES = [
    ({"kernel": 3}, (2, 7)),
    ({"kernel": 2, "multiplier": 3, "stride": 2, "padding": [(0, 1)]}, (2, 6)),
    ({"kernel": 3, "padding": 1}, (3, 5, 4)),
    ({"kernel": (2, 3), "multiplier": 2, "stride": (2, 1), "dilation": (1, 2), "padding": (1, 2)}, (3, 5, 6)),
    ({"kernel": 3, "padding": 1, "pad_value": -1.5, "multiplier": 2}, (2, 4, 4)),
    ({"kernel": 3, "padding": 1, "padding_mode": "circular"}, (2, 3, 4)),
    ({"kernel": 3, "padding": (1, 2), "padding_mode": "reflect", "bias": False}, (2, 3, 4)),
    ({"kernel": 3, "padding": 2, "padding_mode": "replicate"}, (1, 3, 4)),
    ({"kernel": 2, "multiplier": 2, "padding": 1}, (2, 3, 4, 3)),
]


@pytest.mark.parametrize(("options", "shape"), CASES)
def test_it_is_the_grouped_convolution_of_pytorch(torch, agree, options, shape):
    rng = np.random.default_rng(0)
    layer = make("depthwise-conv", **options)
    net = Network.sequential(shape, [layer], rng=0, dtype=np.float64)
    net = net.with_params({name: rng.standard_normal(s) for name, s in net.param_shapes.items()})
    x, dy = rng.standard_normal((2, *shape)), rng.standard_normal((2, *net.output_shape))
    trace = net.run(x)
    gradients = trace.backward(dy)

    ndim = len(shape) - 1
    tx = torch.tensor(x, requires_grad=True)
    params = {name: torch.tensor(p, requires_grad=True) for name, p in net.params.items()}
    widths = [w for pair in reversed(layer.window.padding_pairs(shape[1:])) for w in pair]
    mode = layer.padding_mode
    padded = torch.nn.functional.pad(tx, widths, mode, **({"value": layer.pad_value} if mode == "constant" else {}))
    conv = [torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d][ndim - 1]
    weight, bias = params["depthwiseconv1.weight"], params.get("depthwiseconv1.bias")
    ty = conv(padded, weight, bias, layer.stride, 0, layer.dilation, groups=shape[0])
    ty.backward(torch.tensor(dy))

    agree(trace[net.outputs[0]], ty.detach().numpy())
    agree(gradients.inputs["input"], tx.grad.numpy())
    for name, p in params.items():
        agree(gradients.params[name], p.grad.numpy())


@pytest.mark.parametrize(("options", "shape"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_equals_its_matrix(options, shape, dtype):
    (proof,) = equivalence(Network.sequential(shape, [make("depthwise-conv", **options)], rng=0, dtype=dtype))
    assert proof.ok, proof
    assert proof.skipped == ""
    assert proof.weight_gradient is not None


def test_a_convolution_with_as_many_groups_as_channels_has_the_same_matrix():
    depthwise, grouped = make("depthwise-conv", 3, multiplier=2, padding=1), Conv(6, 3, padding=1, groups=3)
    for mine, theirs in zip(
        depthwise.pattern((3, 4, 5)).triplets(), grouped.pattern((3, 4, 5)).triplets(), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    assert depthwise.param_shapes((3, 4, 5)) == grouped.param_shapes((3, 4, 5))


def test_the_first_depthwise_layer_of_mobilenet_has_its_published_size():
    # A. Howard et al., 2017, table 1: 3 x 3 x 32 on 112 x 112 x 32.
    counts = make("depthwise-conv", 3, padding=1, bias=False).counts((32, 112, 112))
    assert (counts.params, counts.macs) == (3 * 3 * 32, 3 * 3 * 32 * 112 * 112)
    small = make("depthwise-conv", 3, padding=1).counts((2, 2, 2))
    assert small == Counts(params=20, connections=2 * 16 + 8, links=2 * 36 + 8, nonzeros=2 * 16, macs=2 * 36)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"kernel": 3}, (4,), r"depthwise-conv: expected an input \(channels, \*space\), got \(4,\); reshape it"),
        ({"kernel": 3, "multiplier": 0}, (2, 5), "depthwise-conv multiplier: expected an integer of at least 1, got 0"),
        ({"kernel": 9}, (2, 5), "depthwise-conv: expected a window no larger than the padded input, got 9 taps"),
        ({"kernel": (3, 3)}, (2, 5), r"depthwise-conv kernel: expected one integer or 1 of them"),
    ],
)
def test_what_does_not_fit_is_refused(options, shape, message):
    with pytest.raises(ShapeError, match=message):
        Network.sequential(shape, [make("depthwise-conv", **options)], rng=0)
