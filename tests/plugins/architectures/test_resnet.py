"""The ImageNet ResNets: published counts of every variant, where the stride sits, and what a skip is."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, ShapeError
from simulator.describe import describe

# Params, multiply-adds and nonzeros with 1000 classes at 3x224x224. Where the nonzeros are None, only the params are
# published (by torchvision), and its multiply-adds in units of 10 million.
PUBLISHED = {
    "resnet18": (11_689_512, 1_814_073_344, 1_680_390_912),
    "resnet34": (21_797_672, 366, None),
    "resnet50": (25_557_032, 4_089_184_256, 3_948_251_904),
    "resnet101": (44_549_160, 780, None),
    "resnet152": (60_192_808, 11_513_626_624, 11_028_499_200),
    "resnet50-v1": (25_557_032, 3_857_973_248, 3_698_805_504),
    "resnet101-v1": (44_549_160, None, None),
    "resnet152-v1": (60_192_808, None, None),
}
WEIGHTED = {"resnet18": 18, "resnet34": 34, "resnet50-v1": 50, "resnet101": 101, "resnet152": 152}


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(catalog, name):
    params, macs, nonzeros = PUBLISHED[name]
    totals = describe(catalog.build(name, classes=1000, rng=None)).totals
    assert totals.params == params
    if nonzeros is not None:
        assert (totals.macs, totals.nonzeros) == (macs, nonzeros)
    elif macs is not None:
        assert round(totals.macs / 1e7) == macs


@pytest.mark.parametrize(("name", "layers"), WEIGHTED.items())
def test_depth_is_the_number_of_layers_with_weights_beside_projections(catalog, name, layers):
    network = catalog.build(name, rng=None)
    weights = [key for key, shape in network.param_shapes.items() if len(shape) > 1 and "skip" not in key]
    assert len(weights) == layers


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet152-v1"])
def test_published_sizes(catalog, name):
    nodes = catalog.build(name, classes=1000, rng=None).nodes
    ends = [[node for node in nodes if node.startswith(f"stage{stage}")][-1] for stage in (1, 2, 3, 4)]
    sizes = [nodes[node].shape[1] for node in ("conv1", "pool1", *ends)]
    assert sizes == [112, 56, 56, 28, 14, 7]
    factor = 1 if name == "resnet18" else 4
    assert [nodes[end].shape[0] for end in ends] == [64 * factor, 128 * factor, 256 * factor, 512 * factor]
    assert nodes["dense"].shape == (1000,)


def test_where_the_stride_sits(catalog):
    strides = {
        name: [catalog.build(name, rng=None).nodes[f"stage2-block1-conv{k}"].layer.stride for k in (1, 2, 3)]
        for name in ("resnet50", "resnet50-v1")
    }
    assert strides == {"resnet50": [1, 2, 1], "resnet50-v1": [2, 1, 1]}


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet50-v1"])
def test_a_block_adds_what_it_was_given(catalog, name):
    network = catalog.build(name, (2, 32, 32), classes=3, rng=0, width=1 / 16)
    trace = network.run(np.random.default_rng(0).normal(size=(2, 2, 32, 32)))
    last = "norm2" if name == "resnet18" else "norm3"
    for block, skip in (("stage1-block2", "stage1-block1-relu"), ("stage3-block1", "stage3-block1-skip-norm")):
        np.testing.assert_array_equal(trace[f"{block}-add"], trace[f"{block}-{last}"] + trace[skip])
        np.testing.assert_array_equal(trace[f"{block}-relu"], np.maximum(trace[f"{block}-add"], 0))
    assert network.node("stage3-block1-skip-conv").node.inputs == (
        f"{network.node('stage3-block1-conv1').node.inputs[0]}",
    )


def test_a_block_of_pytorch_computes_the_same(catalog, torch):
    network = catalog.build("resnet18", (3, 64, 64), classes=5, rng=0, width=1 / 8, dtype="float64")
    rng = np.random.default_rng(1)
    network = network.with_buffers({key: rng.uniform(0.5, 1.5, array.shape) for key, array in network.buffers.items()})
    x = rng.normal(size=(2, 3, 64, 64))
    trace = network.run(x)
    arrays = {key: torch.tensor(array) for key, array in {**network.params, **network.buffers}.items()}

    def conv_norm(value, conv, norm, stride, padding):
        value = torch.nn.functional.conv2d(value, arrays[f"{conv}.weight"], stride=stride, padding=padding)
        mean, var, weight, bias = (arrays[f"{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return torch.nn.functional.batch_norm(value, mean, var, weight, bias)

    value = torch.relu(conv_norm(torch.tensor(x), "conv1", "norm1", 2, 3))
    value = torch.nn.functional.max_pool2d(value, 3, 2, 1)
    for stage in (1, 2, 3, 4):
        for number in (1, 2):
            block, stride = f"stage{stage}-block{number}", 2 if stage > 1 and number == 1 else 1
            branch = torch.relu(conv_norm(value, f"{block}-conv1", f"{block}-norm1", stride, 1))
            branch = conv_norm(branch, f"{block}-conv2", f"{block}-norm2", 1, 1)
            if stride == 2:
                value = conv_norm(value, f"{block}-skip-conv", f"{block}-skip-norm", 2, 0)
            value = torch.relu(branch + value)
    value = value.mean(dim=(2, 3)) @ arrays["dense.weight"].T + arrays["dense.bias"]
    np.testing.assert_allclose(trace["dense"], value.numpy(), rtol=1e-9)


def test_it_builds_at_smaller_inputs_and_narrower(catalog):
    for shape, width in (((3, 32, 32), 1.0), ((1, 64, 48), 0.5), ((3, 33, 40), 1 / 64)):
        network = catalog.build("resnet50", shape, classes=10, rng=None, width=width)
        assert network.output_shape == (10,)
        assert network.nodes["conv1"].shape[0] == max(1, round(64 * width))
        assert network.nodes["pool2"].shape == (4 * max(1, round(512 * width)), 1, 1)


def test_bad_arguments(catalog):
    with pytest.raises(ShapeError, match="resnet18: expected an input .* of at least 32 x 32, got"):
        catalog.build("resnet18", (3, 16, 16), rng=None)
    with pytest.raises(ShapeError, match="resnet50-v1 width: expected a positive factor, got 0"):
        catalog.build("resnet50-v1", rng=None, width=0)


def test_every_variant_has_its_own_summary(catalog):
    summaries = [catalog.architectures.entry(name).summary for name in PUBLISHED]
    assert len(set(summaries)) == len(PUBLISHED)
    assert summaries[0] == "ResNet-18: 8 residual blocks of two 3x3 convolutions, with batch normalisation."
    assert "stride in the first 1x1, as published" in catalog.architectures.entry("resnet152-v1").summary
