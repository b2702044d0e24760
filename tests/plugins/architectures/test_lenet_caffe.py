"""Caffe's LeNet: published counts, and the same numbers as PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, RandomShift, ShapeError, train
from simulator.describe import describe


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def test_published_counts(catalog):
    description = describe(catalog.build("lenet-caffe", rng=None))
    totals = description.totals
    assert (totals.params, totals.macs, totals.nonzeros) == (431_080, 2_293_000, 2_293_000)
    rows = {row.name: (row.output_shape, row.counts.params) for row in description.layers if row.counts.params}
    assert rows == {
        "conv1": ((20, 24, 24), 520),
        "conv2": ((50, 8, 8), 25_050),
        "dense1": ((500,), 400_500),
        "dense2": ((10,), 5_010),
    }


@pytest.mark.parametrize("size", [15, 28])
def test_it_computes_what_torch_computes(catalog, torch, agree, size):
    rng = np.random.default_rng(0)
    network = catalog.build("lenet-caffe", (2, size, size), classes=4, width=0.2, dtype="float64")
    network = network.with_params({k: v + 0.1 * rng.normal(size=v.shape) for k, v in network.params.items()})
    x = rng.normal(size=(3, 2, size, size))
    p = {name: torch.from_numpy(array.copy()) for name, array in network.params.items()}
    f = torch.nn.functional
    y = f.max_pool2d(f.conv2d(torch.from_numpy(x), p["conv1.weight"], p["conv1.bias"]), 2, ceil_mode=True)
    y = f.max_pool2d(f.conv2d(y, p["conv2.weight"], p["conv2.bias"]), 2, ceil_mode=True)
    y = f.relu(f.linear(y.flatten(1), p["dense1.weight"], p["dense1.bias"]))
    agree(network.predict(x), f.linear(y, p["dense2.weight"], p["dense2.bias"]).numpy())


def test_it_does_not_diverge_at_the_rate_that_it_declares(catalog):
    """With He's weights and a rate of 0.02 numbers grew until they overflowed, at the 19th step of this run."""
    data, _ = catalog.load_data("digits", (1, 28, 28)).split(0.2, rng=1)
    network = catalog.build("lenet-caffe", rng=5, engine="auto")
    optimizer = catalog.create("optimizers", "momentum", lr=catalog.architectures.entry("lenet-caffe").lr)
    (epoch,) = train(network, data, epochs=1, batch_size=32, optimizer=optimizer, augment=RandomShift(2), rng=5)
    assert epoch.loss < 2  # guessing is at 2.3


def test_inputs_that_do_not_fit(catalog):
    with pytest.raises(ShapeError, match="lenet-caffe: expected an input .* of at least 15 x 15, got"):
        catalog.build("lenet-caffe", (1, 14, 14))
    with pytest.raises(ShapeError, match="lenet-caffe width: expected a positive factor, got -1"):
        catalog.build("lenet-caffe", width=-1)
