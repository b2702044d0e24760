"""How full the blocks of a matrix are, against counting the cells of the dense matrix one by one."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import (
    AveragePool,
    Catalog,
    Conv,
    ConvTranspose,
    Dense,
    ExplicitPattern,
    LocallyConnected,
    Network,
    Sparse,
    Subsample,
)
from simulator.channels import ChannelGroups
from simulator.draw import draw_matrix
from simulator.draw.density import Line, cell_counts
from simulator.patterns import IdentityPattern, Pattern, WindowPattern

TABLE = [(0, 1, 2), (1, 2), (3,), (0, 3)]
LAYERS = {
    "conv": (Conv(5, (3, 2), stride=(2, 1), padding=1), (3, 7, 5)),
    "groups": (Conv(6, 3, groups=3, padding=2, dilation=2), (3, 6, 6)),
    "table": (Conv(4, 3, table=TABLE), (4, 5, 7)),
    "depth-wise": (Conv(6, 3, groups=6), (6, 5, 4)),
    "line": (Conv(3, 4, padding=2), (2, 19)),
    "volume": (Conv(2, 2), (2, 3, 4, 3)),
    "circular": (Conv(2, 3, padding=2, padding_mode="circular"), (2, 3, 4)),
    "reflect": (Conv(3, 5, padding=2, padding_mode="reflect"), (1, 3, 5)),
    "replicate": (Conv(2, 3, padding=1, padding_mode="replicate"), (2, 4, 3)),
    "transposed": (ConvTranspose(3, 3, stride=2), (2, 4, 3)),
    "locally connected": (LocallyConnected(3, 3), (2, 5, 6)),
    "dense": (Dense(13), (3, 4, 5)),
    "dense of a vector": (Dense(11), (17,)),
    "average": (AveragePool(2), (3, 6, 4)),
    "subsample": (Subsample(2), (3, 4, 6)),
    "explicit": (
        Sparse(ExplicitPattern([0, 0, 3, 3, 3, 11], [2, 2, 5, 4, 5, 0], shape=(12, 12))),
        (2, 2, 3),
    ),
    "channels of other sizes": (
        Sparse(WindowPattern(ChannelGroups.full(2, 3), 3, np.array([[0, 1, -1], [3, 3, 2]]), 4, (6, 3, 1))),
        (2, 2, 3),
    ),
}


def places(shape, order):
    """Where each unit (channel, *space) stands."""
    if len(shape) < 3 or order == "C":
        return np.arange(np.prod(shape))
    space, sites = shape[1:], int(np.prod(shape[1:]))
    at = np.ravel_multi_index(np.unravel_index(np.arange(sites), space), space, order="F")
    return (np.arange(shape[0])[:, None] * sites + at).ravel()


def line_of(shape, order, size):
    return Line(int(np.prod(shape)), size, places((1, *shape[1:]), order))


def brute(pattern, rows, columns, tall, wide):
    dense = np.zeros(pattern.shape, bool)
    for i in range(pattern.shape[0]):
        dense[rows[i], columns[pattern.row(i)[0]]] = True
    counts = np.zeros((-(-len(dense) // tall), -(-dense.shape[1] // wide)), int)
    for i, j in np.argwhere(dense):
        counts[i // tall, j // wide] += 1
    return counts


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("name", LAYERS)
def test_every_block_of_every_pattern(name, order):
    layer, shape = LAYERS[name]
    bound = Network.input(shape).add(layer, name="it").node("it")
    pattern, out = bound.pattern, bound.shape
    for tall, wide in ((1, 1), (2, 3), (7, 5), (11, 4), (1000, 1)):
        found = cell_counts(pattern, line_of(out, order, tall), line_of(shape, order, wide))
        wanted = brute(pattern, places(out, order), places(shape, order), tall, wide)
        assert np.array_equal(found, wanted), (tall, wide)
        assert found.sum() == pattern.nonzero_cells
        turned = cell_counts(pattern.T, line_of(shape, order, wide), line_of(out, order, tall))
        assert np.array_equal(turned, wanted.T)


@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 40)
)
def test_any_convolution(out, channels, kernel, stride, padding, size):
    shape = (channels, 5, 4)
    bound = Network.input(shape).add(Conv(out, kernel, stride=stride, padding=padding), name="it").node("it")
    found = cell_counts(bound.pattern, line_of(bound.shape, "F", size), line_of(shape, "F", size + 1))
    wanted = brute(bound.pattern, places(bound.shape, "F"), places(shape, "F"), size, size + 1)
    assert np.array_equal(found, wanted)


def test_the_identity_and_any_other_pattern():
    half = Line(6, 4, np.arange(1))
    assert cell_counts(IdentityPattern(6), half, half).tolist() == [[4, 0], [0, 2]]

    class Ring(Pattern):
        shape, nnz, n_ties, nbytes = (6, 6), 12, 1, 0

        def build_csr(self):
            raise NotImplementedError

        def row(self, i):
            return np.array([(i + 1) % 6, (i + 1) % 6]), np.zeros(2, int)

        column = row

    assert cell_counts(Ring(), half, half).tolist() == [[3, 1], [1, 1]]


VGG = [f"conv{block}_{k}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for k in range(1, count + 1)]


@pytest.fixture(scope="module")
def vgg16():
    return Catalog().build("vgg16", rng=None)


@pytest.mark.parametrize("name", VGG)
def test_vgg16_is_counted_exactly_fast_and_in_little_memory(vgg16, name):
    bound = vgg16.node(name)
    pattern, (out, side, _), inputs = bound.pattern, bound.shape, bound.node.input_shapes[0][0]
    n_out, n_in = pattern.shape
    rows, columns = (Line(n, -(-n // 256), np.arange(1)) for n in (n_out, n_in))
    started = time.process_time()
    found = cell_counts(pattern, rows, columns)
    seconds = time.process_time() - started
    tracemalloc.start()
    cell_counts(pattern, rows, columns)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 64 * 2**20
    # The same in another way: a 3x3 convolution that keeps the size joins (y, x) with (y + dy, x + dx), so what a block
    # of rows has to do with a column is a sum of shifted indicators, by channel.
    sites = side * side
    tall = [0, rows.bins // 2, rows.bins - 1]
    for b in tall:
        inside = (np.arange(n_out) // rows.size == b).reshape(out, side, side).sum(axis=0)  # outputs at each site
        padded = np.pad(inside, 1)
        reads = sum(padded[i : i + side, j : j + side] for i in range(3) for j in range(3)).ravel()
        column = np.arange(n_in)
        wanted = np.bincount(column // columns.size, weights=reads[column % sites], minlength=columns.bins)
        np.testing.assert_array_equal(found[b], wanted)
    assert found.sum() == pattern.nnz == out * inputs * (3 * side - 2) ** 2
    share = found / np.outer(rows.lengths(), columns.lengths())
    if name == "conv5_3":
        assert 100 * share.min() == pytest.approx(100 * share.max()) == pytest.approx(4.16493, abs=1e-5)


def test_the_picture_shows_these_shares(vgg16):
    pytest.importorskip("matplotlib")
    figure = draw_matrix(vgg16, "conv5_3")
    shown = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(shown, 1600 / 196**2, rtol=1e-12)
    assert "left: the density of each block; black is 4.165%" in " ".join(figure.get_supxlabel().split())
