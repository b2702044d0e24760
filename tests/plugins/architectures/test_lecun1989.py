"""The zip-code net of 1989: published counts, its connection table, and its border of -1."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, ShapeError
from simulator.describe import describe


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def test_published_counts(catalog):
    description = describe(catalog.build("lecun1989", rng=None))
    totals = description.totals
    assert (totals.params, totals.links, totals.macs, totals.nonzeros) == (9_760, 64_660, 63_660, 50_232)
    rows = {row.name: (row.output_shape, row.counts.params, row.counts.links) for row in description.layers}
    assert rows["h1"] == ((12, 8, 8), 1_068, 19_968)
    assert rows["h2"] == ((12, 4, 4), 2_592, 38_592)
    assert rows["h3"] == ((30,), 5_790, 5_790)
    assert rows["output"] == ((10,), 310, 310)


def test_a_map_reads_eight_of_twelve_and_is_read_by_eight(catalog):
    table = catalog.build("lecun1989", rng=None).node("h2").layer.table
    reads = np.zeros((12, 12), int)
    for o, row in enumerate(table):
        reads[o, list(row)] += 1
    assert reads.max() == 1
    assert reads.sum(axis=1).tolist() == reads.sum(axis=0).tolist() == [8] * 12


def test_it_computes_what_torch_computes(catalog, torch, agree):
    rng = np.random.default_rng(0)
    network = catalog.build("lecun1989", dtype="float64")
    network = network.with_params({k: v + 0.1 * rng.normal(size=v.shape) for k, v in network.params.items()})
    x = rng.uniform(-1, 1, (3, 1, 16, 16))
    p = {name: torch.from_numpy(array.copy()) for name, array in network.params.items()}
    f = torch.nn.functional

    def squashed(y):
        return 1.7159 * torch.tanh(y * 2 / 3)

    def bordered(y):
        return f.pad(y, (1, 2, 1, 2), value=-1.0)

    h1 = squashed(f.conv2d(bordered(torch.from_numpy(x)), p["h1.weight"], stride=2) + p["h1.bias"])
    kernels = p["h2.weight"].reshape(12, 8, 5, 5)
    a, b, c = bordered(h1).split(4, dim=1)
    thirds = [(a, b), (b, c), (a, c)]
    h2 = [f.conv2d(torch.cat(maps, 1), kernels[4 * n : 4 * n + 4], stride=2) for n, maps in enumerate(thirds)]
    h2 = squashed(torch.cat(h2, 1) + p["h2.bias"])
    h3 = squashed(f.linear(h2.flatten(1), p["h3.weight"], p["h3.bias"]))
    expected = f.linear(h3, p["output.weight"], p["output.bias"])
    agree(network.predict(x), expected.numpy())


def test_other_sizes(catalog):
    network = catalog.build("lecun1989", (3, 9, 4), classes=4, width=0.5)
    assert {name: network.node(name).shape for name in ("h1", "h2", "h3", "output")} == {
        "h1": (6, 5, 2),
        "h2": (6, 3, 1),
        "h3": (15,),
        "output": (4,),
    }
    assert all(len(row) == 4 for row in network.node("h2").layer.table)


def test_inputs_that_do_not_fit(catalog):
    with pytest.raises(ShapeError, match="lecun1989: expected an input .* of at least 4 x 4, got"):
        catalog.build("lecun1989", (1, 3, 16))
    with pytest.raises(ShapeError, match="lecun1989 width: expected a positive factor, got 0"):
        catalog.build("lecun1989", width=0)
