"""AlexNet in three forms: published counts layer by layer, sizes, and the same numbers as PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, ShapeError
from simulator.describe import describe

# Params, multiply-adds, nonzeros.
PUBLISHED = {
    "alexnet": (60_965_224, 724_406_816, 671_322_656),
    "alexnet-ungrouped": (62_378_344, 1_135_256_096, 1_044_029_984),
    "alexnet-torchvision": (61_100_840, 714_188_480, 657_918_720),
}
# Output, weights, multiply-adds, nonzeros.
LAYERS = {
    "conv1": ((96, 55, 55), 34_848, 105_415_200, 105_415_200),
    "conv2": ((256, 27, 27), 307_200, 223_948_800, 204_484_608),
    "conv3": ((384, 13, 13), 884_736, 149_520_384, 134_578_176),
    "conv4": ((384, 13, 13), 663_552, 112_140_288, 100_933_632),
    "conv5": ((256, 13, 13), 442_368, 74_760_192, 67_289_088),
    "dense6": ((4096,), 37_748_736, 37_748_736, 37_748_736),
    "dense7": ((4096,), 16_777_216, 16_777_216, 16_777_216),
    "dense8": ((1000,), 4_096_000, 4_096_000, 4_096_000),
}
LEAST = {"alexnet": 67, "alexnet-ungrouped": 67, "alexnet-torchvision": 63}


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts_and_sizes(catalog, name):
    network = catalog.build(name, classes=1000, rng=None)
    totals = describe(network).totals
    assert (totals.params, totals.macs, totals.nonzeros) == PUBLISHED[name]
    stages = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")
    assert [network.node(stage).shape[1:] for stage in stages] == [(n, n) for n in (55, 27, 27, 13, 13, 13, 13, 6)]


def test_published_layers(catalog):
    network = catalog.build("alexnet", classes=1000, rng=None)
    assert {
        row.name: (row.output_shape, int(np.prod(shape)), row.counts.macs, row.counts.nonzeros)
        for row in describe(network).layers
        if (shape := network.param_shapes.get(f"{row.name}.weight"))
    } == LAYERS


def test_two_groups_are_two_blocks(catalog):
    network = catalog.build("alexnet", (1, 67, 67), classes=5, rng=None, width=1 / 16)
    for name in ("conv2", "conv4", "conv5"):
        pattern = network.node(name).pattern
        rows, columns = (n // 2 for n in pattern.shape)
        assert pattern.row(rows - 1)[0].max() < columns <= pattern.row(rows)[0].min(), name
    pattern = network.node("conv3").pattern
    assert pattern.row(0)[0].max() >= pattern.shape[1] // 2


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_computes_what_torch_computes(catalog, torch, agree, name):
    rng = np.random.default_rng(0)
    size = LEAST[name] + 8
    options = {"adaptive": True} if name == "alexnet-torchvision" else {}
    network = catalog.build(name, (2, size, size), classes=5, width=1 / 16, dtype="float64", **options)
    network = network.with_params({k: v + 0.1 * rng.normal(size=v.shape) for k, v in network.params.items()})
    x = rng.normal(size=(2, 2, size, size))
    p = {key: torch.from_numpy(array.copy()) for key, array in network.params.items()}
    f = torch.nn.functional
    simple, groups = name == "alexnet-torchvision", 2 if name == "alexnet" else 1

    def stage(y, number, **options):
        return f.relu(f.conv2d(y, p[f"conv{number}.weight"], p[f"conv{number}.bias"], **options))

    def shrunk(y):
        y = y if simple else y / (2 + 1e-4 * window_sum(y * y)) ** 0.75
        return f.max_pool2d(y, 3, stride=2)

    def window_sum(y):
        padded = f.pad(y, (0, 0, 0, 0, 2, 2))
        return sum(padded[:, shift : shift + y.shape[1]] for shift in range(5))

    y = shrunk(stage(torch.from_numpy(x), 1, stride=4, padding=2 if simple else 0))
    y = shrunk(stage(y, 2, padding=2, groups=groups))
    y = stage(stage(y, 3, padding=1), 4, padding=1, groups=groups)
    y = f.max_pool2d(stage(y, 5, padding=1, groups=groups), 3, stride=2)
    y = (f.adaptive_avg_pool2d(y, 6) if simple else y).flatten(1)
    for number in (6, 7):
        y = f.relu(f.linear(y, p[f"dense{number}.weight"], p[f"dense{number}.bias"]))
    agree(network.predict(x), f.linear(y, p["dense8.weight"], p["dense8.bias"]).numpy())


def test_any_size_takes_the_weights_of_the_published_one(catalog):
    published = catalog.build("alexnet-torchvision", classes=5, rng=None, width=1 / 16)
    assert "average" not in published.nodes  # files of it and counts are as they are without the layer
    for shape, options in (((3, 256, 230), {}), ((3, 480, 480), {}), ((3, 63, 63), {"adaptive": True})):
        network = catalog.build("alexnet-torchvision", shape, classes=5, rng=None, width=1 / 16, **options)
        assert network.node("average").shape == (16, 6, 6)
        assert network.param_shapes == published.param_shapes
    small = catalog.build("alexnet-torchvision", (3, 63, 480), classes=5, rng=None, width=1 / 16)
    assert small.node("average").shape == (16, 1, 6)  # only where there is more


def test_dropout_stands_around_the_dense_layers(catalog):
    networks = {name: catalog.build(name, rng=None) for name in PUBLISHED}
    reads = {
        name: [n.inputs[0] for n in network.nodes.values() if n.name.startswith("dropout")]
        for name, network in networks.items()
    }
    assert reads == {
        "alexnet": ["relu6", "relu7"],
        "alexnet-ungrouped": ["relu6", "relu7"],
        "alexnet-torchvision": ["flatten", "relu6"],
    }


@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_inputs_that_do_not_fit(catalog, name, least):
    network = catalog.build(name, (1, least, least), classes=3, rng=None, width=0.01)
    assert network.node("pool5").shape[1:] == (1, 1)
    with pytest.raises(ShapeError, match=f"{name}: expected an input .* of at least {least} x {least}, got"):
        catalog.build(name, (1, least - 1, least))
    with pytest.raises(ShapeError, match=f"{name} width: expected a positive factor, got 0"):
        catalog.build(name, width=0)
