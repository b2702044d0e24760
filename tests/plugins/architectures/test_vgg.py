"""VGG in eight forms: published counts and sizes, little memory, and the same numbers as PyTorch."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from simulator import Catalog, ShapeError
from simulator.describe import describe

# Params; multiply-adds and nonzeros do not change with batch normalisation.
PARAMS = {
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11-bn": 132_868_840,
    "vgg13-bn": 133_053_736,
    "vgg16-bn": 138_365_992,
    "vgg19-bn": 143_678_248,
}
MACS_AND_NONZEROS = {
    "vgg11": (7_609_090_048, 7_315_399_424),
    "vgg16": (15_470_264_320, 14_969_824_000),
    "vgg19": (19_632_062_464, 18_957_820_672),
}


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.mark.parametrize("name", PARAMS)
def test_published_counts_and_sizes(catalog, name):
    network = catalog.build(name, classes=1000, rng=None)
    totals = describe(network).totals
    assert totals.params == PARAMS[name]
    plain = name.removesuffix("-bn")
    if plain in MACS_AND_NONZEROS:
        assert (totals.macs, totals.nonzeros) == MACS_AND_NONZEROS[plain]
    stages = ("conv1_1", "pool1", "pool2", "pool3", "pool4", "pool5")
    assert [network.node(stage).shape[1:] for stage in stages] == [(n, n) for n in (224, 112, 56, 28, 14, 7)]
    weighted = [key for key in network.param_shapes if key.endswith(".weight") and "norm" not in key]
    assert len(weighted) == int(plain.removeprefix("vgg"))
    assert network.param_shapes["dense6.weight"] == (4096, 25088)
    assert name[3:5] in catalog.architectures.entry(name).summary
    assert ("batch norm" in catalog.architectures.entry(name).summary) == name.endswith("-bn")


def test_fifteen_billion_nonzeros_are_described_in_a_few_megabytes(catalog):
    tracemalloc.start()
    try:
        network = catalog.build("vgg16", classes=1000, rng=None)
        assert describe(network).totals.nonzeros > 14e9
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["vgg13", "vgg16-bn"])
def test_it_computes_what_torch_computes(catalog, torch, agree, name):
    rng = np.random.default_rng(0)
    network = catalog.build(name, (2, 34, 32), classes=5, width=1 / 16, dtype="float64", adaptive=True)
    network = network.with_params({k: v + 0.1 * rng.normal(size=v.shape) for k, v in network.params.items()})
    x = rng.normal(size=(2, 2, 34, 32))
    p = {key: torch.from_numpy(array.copy()) for key, array in network.params.items()}
    f = torch.nn.functional
    y = torch.from_numpy(x)
    for stage, count in enumerate((2, 2, 3, 3, 3) if name == "vgg16-bn" else (2, 2, 2, 2, 2), start=1):
        for number in range(1, count + 1):
            at = f"{stage}_{number}"
            y = f.conv2d(y, p[f"conv{at}.weight"], p[f"conv{at}.bias"], padding=1)
            if name == "vgg16-bn":
                mean, variance = torch.zeros(y.shape[1]).double(), torch.ones(y.shape[1]).double()
                y = f.batch_norm(y, mean, variance, p[f"norm{at}.weight"], p[f"norm{at}.bias"])
            y = f.relu(y)
        y = f.max_pool2d(y, 2)
    y = f.adaptive_avg_pool2d(y, 7).flatten(1)
    for number in (6, 7):
        y = f.relu(f.linear(y, p[f"dense{number}.weight"], p[f"dense{number}.bias"]))
    agree(network.predict(x), f.linear(y, p["dense8.weight"], p["dense8.bias"]).numpy())


@pytest.mark.parametrize("name", ["vgg11", "vgg16-bn"])
def test_any_size_takes_the_weights_of_the_published_one(catalog, name):
    published = catalog.build(name, classes=5, rng=None, width=1 / 16)
    assert "average" not in published.nodes  # files of it and counts are as they are without the layer
    for shape, options in (((3, 256, 230), {}), ((3, 480, 480), {}), ((3, 32, 32), {"adaptive": True})):
        network = catalog.build(name, shape, classes=5, rng=None, width=1 / 16, **options)
        assert network.param_shapes == published.param_shapes
        assert network.node("average").shape == (32, 7, 7)
    small = catalog.build(name, (3, 32, 480), classes=5, rng=None, width=1 / 16)
    assert small.node("average").shape == (32, 1, 7)  # only where there is more


@pytest.mark.parametrize("name", PARAMS)
def test_inputs_that_do_not_fit(catalog, name):
    network = catalog.build(name, (1, 32, 32), classes=3, rng=None, width=0.01)
    assert network.node("pool5").shape == (5, 1, 1)
    with pytest.raises(ShapeError, match=f"{name}: expected an input .* of at least 32 x 32, got"):
        catalog.build(name, (3, 31, 31))
    with pytest.raises(ShapeError, match=f"{name} width: expected a positive factor, got inf"):
        catalog.build(name, width=float("inf"))
