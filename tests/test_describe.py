"""Counts: published numbers, and numbers counted on the explicit matrix."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from simulator import AveragePool, Catalog, Conv, Counts, Dense, Flatten, Network
from simulator.describe import describe


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


# Y. LeCun et al. 1998, section II.B: connections and trainable parameters of every layer.
PUBLISHED = {
    "c1": (122_304, 156),
    "s2": (5_880, 12),
    "c3": (151_600, 1_516),
    "s4": (2_000, 32),
    "c5": (48_120, 48_120),
    "f6": (10_164, 10_164),
    "output": (840, 0),
}


def test_lenet5_of_1998_layer_by_layer(catalog):
    description = describe(catalog.build("lenet5-1998", rng=None))
    rows = {row.name: row.counts for row in description.layers}
    assert {name: (rows[name].connections, rows[name].params) for name in PUBLISHED} == PUBLISHED
    assert description.totals.connections == 340_908
    assert description.totals.params == 60_000
    assert description.totals.nonzeros == 332_824
    padded = describe(catalog.build("lenet5-1998", (1, 28, 28), rng=None)).totals
    assert (padded.connections, padded.params) == (340_908, 60_000)


@pytest.mark.parametrize(("shape", "nonzeros"), [((1, 28, 28), 406_656), ((1, 32, 32), 416_520)])
def test_modern_lenet5(catalog, shape, nonzeros):
    totals = describe(catalog.build("lenet5", shape, rng=None)).totals
    assert totals.params == 61_706
    assert totals.macs == 416_520
    assert totals.nonzeros == nonzeros


def test_against_the_explicit_matrix():
    network = Network.sequential(
        (2, 6, 5), [Conv(3, 3, padding=1), AveragePool(2, ceil=True), Flatten(), Dense(4)], rng=0
    )
    description = describe(network)
    conv, pool, flatten, dense = description.layers
    csr = network.node("conv1").matrix.tocsr()
    assert conv.counts.nonzeros == csr.nnz
    assert conv.counts.connections == csr.nnz + csr.shape[0]
    assert conv.counts.links == 90 * (2 * 9 + 1)
    assert conv.counts.macs == 90 * 18
    assert conv.density == csr.nnz / np.prod(csr.shape)
    assert conv.nonzero_cells == csr.nnz
    assert not conv.repeats
    assert conv.csr_bytes == csr.data.nbytes + csr.indices.nbytes + csr.indptr.nbytes
    assert conv.sharing == csr.nnz / 54
    assert pool.counts == Counts(fixed_nonzeros=network.node("averagepool1").matrix.nnz)
    assert flatten.counts == Counts()
    assert flatten.density is None
    assert dense.counts == Counts(112, 112, 112, 108, 0, 108)
    assert description.totals == conv.counts + pool.counts + dense.counts


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_a_cell_that_several_taps_read_is_nonzero_once(mode):
    network = Network.sequential((2, 3, 3), [Conv(2, 5, padding=2, padding_mode=mode)], rng=0)
    (row,) = describe(network).layers
    csr = network.node("conv1").matrix.tocsr()
    assert row.counts.nonzeros == csr.nnz == 900  # each of 18 x 2 windows has 25 taps, all on the input
    csr.sum_duplicates()
    assert row.nonzero_cells == csr.nnz
    assert row.density == csr.nnz / (18 * 18) <= 1 < row.counts.nonzeros / (18 * 18)
    assert row.repeats


def test_shared_weights_are_counted_once():
    network = Network.input((4,)).add(Dense(4), name="a", rng=0).add(Dense(4), name="b", share="a")
    assert describe(network).totals == Counts(20, 40, 40, 32, 0, 32)


def test_as_dict_has_the_words_of_the_field(catalog):
    found = describe(catalog.build("lenet5", rng=None)).as_dict()
    words = {"params", "connections", "links", "nonzeros", "fixed_nonzeros", "macs"}
    assert set(found["totals"]) == words
    assert words | {"name", "output_shape", "density", "csr_bytes", "pattern_bytes", "sharing"} <= set(
        found["layers"][0]
    )


def test_describing_a_large_net_costs_no_memory_beside_its_weights(catalog):
    tracemalloc.start()
    try:
        plan = describe(catalog.build("vgg16", rng=None, width=0.5))
        _, peak = tracemalloc.get_traced_memory()
        assert peak < 8e6  # patterns of 224 x 224 sites
        tracemalloc.reset_peak()
        drawn = describe(catalog.build("vgg16", rng=0, width=0.5))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert drawn.totals == plan.totals
    assert peak < 4 * drawn.totals.params + 40e6  # blocks of 2**20 numbers in float64
    row = next(row for row in drawn.layers if row.name == "dense6")
    assert row.weight_std == pytest.approx((2 / (256 * 49)) ** 0.5, rel=1e-3)  # He et al.
    assert abs(row.weight_mean) < 1e-5
