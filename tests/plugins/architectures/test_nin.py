"""Network in network for CIFAR-10 and ImageNet: published counts, sizes, and the same numbers as PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, ShapeError
from simulator.describe import describe

# Params, multiply-adds, nonzeros.
PUBLISHED = {
    "nin-cifar10": (966_986, 222_486_528, 200_978_688),
    "nin": (7_595_176, 1_100_188_800, 1_019_579_520),
}
SIZES = {"nin-cifar10": (32, 16, 8), "nin": (54, 27, 13, 6)}
LEAST = {"nin-cifar10": 6, "nin": 55}


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts_and_sizes(catalog, name):
    network = catalog.build(name, classes=10 if name == "nin-cifar10" else 1000, rng=None)
    totals = describe(network).totals
    assert (totals.params, totals.macs, totals.nonzeros) == PUBLISHED[name]
    for stage, n in enumerate(SIZES[name], start=1):
        assert [network.node(f"conv{stage}_{number}").shape[1:] for number in (1, 2, 3)] == [(n, n)] * 3
    assert not [node.name for node in network.nodes.values() if node.name.startswith("dense")]


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_computes_what_torch_computes(catalog, torch, agree, name):
    rng = np.random.default_rng(0)
    size = LEAST[name] + 7
    network = catalog.build(name, (2, size, size), classes=5, width=1 / 16, dtype="float64")
    network = network.with_params({k: v + 0.1 * rng.normal(size=v.shape) for k, v in network.params.items()})
    x = rng.normal(size=(2, 2, size, size))
    p = {key: torch.from_numpy(array.copy()) for key, array in network.params.items()}
    f = torch.nn.functional

    def stage(y, number, **options):
        for part, window in enumerate((options, {}, {}), start=1):
            y = f.conv2d(y, p[f"conv{number}_{part}.weight"], p[f"conv{number}_{part}.bias"], **window)
            if (number, part) != last:
                y = f.relu(y)
        return y

    last = (len(SIZES[name]), 3)
    y = torch.from_numpy(x)
    if name == "nin":
        y = f.max_pool2d(stage(y, 1, stride=4), 3, stride=2, ceil_mode=True)
        y = f.max_pool2d(stage(y, 2, padding=2), 3, stride=2, ceil_mode=True)
        y = f.max_pool2d(stage(y, 3, padding=1), 3, stride=2, ceil_mode=True)
    else:
        y = f.max_pool2d(stage(y, 1, padding=2), 3, stride=2, ceil_mode=True)
        y = f.avg_pool2d(stage(y, 2, padding=2), 3, stride=2, ceil_mode=True)
    y = stage(y, last[0], padding=1)
    agree(network.predict(x), y.mean(dim=(2, 3)).numpy())


def test_dropout_stands_between_stages(catalog):
    reads = {
        name: [n.inputs[0] for n in catalog.build(name, rng=None).nodes.values() if n.name.startswith("dropout")]
        for name in PUBLISHED
    }
    assert reads == {"nin-cifar10": ["pool1", "pool2"], "nin": ["pool3"]}


@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_inputs_that_do_not_fit(catalog, name, least):
    network = catalog.build(name, (1, least, least), classes=3, rng=None, width=0.01)
    assert network.node(f"conv{len(SIZES[name])}_3").shape == (3, 1, 1)
    with pytest.raises(ShapeError, match=f"{name}: expected an input .* of at least {least} x {least}, got"):
        catalog.build(name, (1, least - 1, least))
    with pytest.raises(ShapeError, match=f"{name} width: expected a positive factor, got inf"):
        catalog.build(name, width=float("inf"))
