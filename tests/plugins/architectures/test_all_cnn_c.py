"""All-CNN-C: published params, the sizes of its padding, and the same numbers as PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, ShapeError
from simulator.describe import describe


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def test_published_params_and_sizes(catalog):
    network = catalog.build("all-cnn-c", rng=None)
    totals = describe(network).totals
    assert totals.params == 1_369_738
    sizes = (32, 32, 16, 16, 16, 8, 6, 6, 6)  # the paper averages over 6 x 6
    shapes = [network.node(f"conv{number}").shape for number in range(1, 10)]
    assert [shape[1:] for shape in shapes] == [(n, n) for n in sizes]
    channels = [3, *(shape[0] for shape in shapes)]
    assert channels == [3, 96, 96, 96, 192, 192, 192, 192, 192, 10]
    taps = (9,) * 7 + (1, 1)
    macs = sum(a * b * k * n * n for a, b, k, n in zip(channels, channels[1:], taps, sizes, strict=False))
    assert totals.macs == macs == 270_798_336
    # One line of padding on the borders of n sites leaves 3n - 2 taps an axis; a stride of 2 has it on one side only.
    lines = (94, 94, 47, 46, 46, 23, 18, 6, 6)
    nonzeros = sum(a * b * n * n for a, b, n in zip(channels, channels[1:], lines, strict=False))
    assert totals.nonzeros == nonzeros == 254_183_040


def test_it_computes_what_torch_computes(catalog, torch, agree):
    rng = np.random.default_rng(0)
    network = catalog.build("all-cnn-c", (2, 13, 12), classes=5, width=1 / 16, dtype="float64")
    network = network.with_params({k: v + 0.1 * rng.normal(size=v.shape) for k, v in network.params.items()})
    x = rng.normal(size=(2, 2, 13, 12))
    p = {key: torch.from_numpy(array.copy()) for key, array in network.params.items()}
    f = torch.nn.functional
    y = torch.from_numpy(x)
    for number in range(1, 10):
        y = f.conv2d(
            f.relu(y) if number > 1 else y,
            p[f"conv{number}.weight"],
            p[f"conv{number}.bias"],
            stride=2 if number in (3, 6) else 1,
            padding=1 if number < 7 else 0,
        )
    agree(network.predict(x), y.mean(dim=(2, 3)).numpy())


def test_inputs_that_do_not_fit(catalog):
    assert catalog.build("all-cnn-c", (1, 9, 9), classes=3, rng=None, width=0.01).node("conv7").shape == (2, 1, 1)
    with pytest.raises(ShapeError, match="all-cnn-c: expected an input .* of at least 9 x 9, got"):
        catalog.build("all-cnn-c", (1, 8, 8))
    with pytest.raises(ShapeError, match="all-cnn-c width: expected a positive factor, got 0"):
        catalog.build("all-cnn-c", width=0)
