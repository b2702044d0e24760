"""Patterns against an enumeration by plain loops, and against published counts."""

import copy
import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from simulator import (
    AveragePool,
    ChannelGroups,
    Conv,
    ConvTranspose,
    Dense,
    ExplicitPattern,
    LocallyConnected,
    Network,
    ShapeError,
    TiedMatrix,
    Window,
    WindowPattern,
)


def enumerate_window_pattern(channel_inputs, sites, in_sites, tie_strides):
    """Rows, columns and ties by definition: output channel, site, input channel, tap."""
    rows, cols, ties = [], [], []
    first_pair = 0
    for o, inputs in enumerate(channel_inputs):
        for s, window in enumerate(sites):
            for (p, c), (t, site) in itertools.product(enumerate(inputs), enumerate(window)):
                if site >= 0:
                    rows.append(o * len(sites) + s)
                    cols.append(c * in_sites + site)
                    ties.append((first_pair + p) * tie_strides[0] + s * tie_strides[1] + t * tie_strides[2])
        first_pair += len(inputs)
    return rows, cols, ties


@st.composite
def window_patterns(draw):
    """A window pattern of any sharing on a small table, with the definition of the same."""
    in_channels = draw(st.integers(1, 3))
    if draw(st.booleans()):
        groups = draw(st.integers(1, in_channels).filter(lambda g: in_channels % g == 0))
        each, outs = in_channels // groups, draw(st.integers(1, 2))
        channels = ChannelGroups.full(groups * outs, in_channels, groups)
        inputs = [list(range(g * each, (g + 1) * each)) for g in range(groups) for _ in range(outs)]
    else:  # any table, rows of any length, a channel possibly twice
        row = st.lists(st.integers(0, in_channels - 1), min_size=1, max_size=3)
        inputs = draw(st.lists(row, min_size=1, max_size=4))
        channels = ChannelGroups.table(inputs)
    in_sites, out_sites, taps = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    sites = draw(hnp.arrays(np.int64, (out_sites, taps), elements=st.integers(-1, in_sites - 1)))
    regular = [(taps, 0, 1), (taps * out_sites, 1, out_sites), (1, 0, 0), (0, 1, 0), (0, 0, 0), (0, 0, 1)]
    strides = draw(st.sampled_from(regular) | st.tuples(*[st.integers(0, 4)] * 3))  # the others overlap
    pattern = WindowPattern(channels, in_channels, sites, in_sites, strides)
    return pattern, enumerate_window_pattern(inputs, sites.tolist(), in_sites, strides)


def check_pattern(pattern, rows, cols, ties):
    """All views of a pattern tell the same connections, in the same order."""
    rows, cols, ties = (np.asarray(a, np.int64) for a in (rows, cols, ties))
    assert pattern.nnz == len(rows)
    assert pattern.used_ties == len(np.unique(ties))
    assert pattern.nonzero_cells == len(np.unique(rows * pattern.shape[1] + cols))
    assert 0 <= pattern.density <= 1
    for tie in range(pattern.n_ties):
        for actual, expected in zip(pattern.sharing(tie), (rows[ties == tie], cols[ties == tie]), strict=True):
            np.testing.assert_array_equal(actual, expected)
    for actual, expected in zip(pattern.triplets(), (rows, cols, ties), strict=True):
        np.testing.assert_array_equal(actual, expected)
    indptr, indices, csr_ties = pattern.csr
    np.testing.assert_array_equal(np.diff(indptr), np.bincount(rows, minlength=pattern.shape[0]))
    np.testing.assert_array_equal(indices, cols)
    np.testing.assert_array_equal(csr_ties, ties)
    for i in range(pattern.shape[0]):
        for actual, expected in zip(pattern.row(i), (cols[rows == i], ties[rows == i]), strict=True):
            np.testing.assert_array_equal(actual, expected)
    for j in range(pattern.shape[1]):
        for actual, expected in zip(pattern.column(j), (rows[cols == j], ties[cols == j]), strict=True):
            np.testing.assert_array_equal(actual, expected)


@given(window_patterns())
def test_window_patterns_are_what_the_loops_enumerate(case):
    pattern, triplets = case
    check_pattern(pattern, *triplets)
    assert max(triplets[2], default=-1) < pattern.n_ties


@given(window_patterns())
def test_transposed_patterns_turn_rows_into_columns_and_keep_the_order_within_a_cell(case):
    pattern, (rows, cols, ties) = case
    order = np.argsort(cols, kind="stable")
    check_pattern(pattern.T, *(np.asarray(a, np.int64)[order] for a in (cols, rows, ties)))
    assert pattern.T.shape == pattern.shape[::-1]
    assert pattern.T.T is pattern
    assert (pattern.T.links, pattern.T.nbytes, pattern.T.n_ties) == (pattern.links, pattern.nbytes, pattern.n_ties)


@given(window_patterns())
def test_explicit_patterns_keep_any_connections_in_csr_row_order(case):
    pattern, (rows, cols, ties) = case
    shuffled = np.random.default_rng(0).permutation(len(rows))
    rows, cols, ties = (np.asarray(a, np.int64)[shuffled] for a in (rows, cols, ties))
    order = np.argsort(rows, kind="stable")
    explicit = ExplicitPattern(rows, cols, ties, shape=pattern.shape)
    check_pattern(explicit, rows[order], cols[order], ties[order])
    by_column = np.argsort(cols[order], kind="stable")
    check_pattern(explicit.T, *(a[order][by_column] for a in (cols, rows, ties)))


@given(window_patterns())
def test_missing_taps_and_nonzeros_make_up_the_links(case):
    pattern, _ = case
    missing = pattern.missing()
    assert missing.shape == (pattern.shape[0], 1)
    assert missing.n_ties == pattern.n_ties
    assert missing.nnz + pattern.nnz == pattern.links


def test_missing_taps_keep_their_ties():
    pattern = Conv(1, 3, padding=1).pattern((1, 4))
    rows, _, ties = pattern.missing().triplets()
    assert (rows.tolist(), ties.tolist()) == ([0, 3], [0, 2])


def test_links_count_taps_on_padding_and_nonzeros_do_not():
    pattern = Conv(2, 3, padding=1).pattern((3, 4, 4))
    assert pattern.links == 2 * 3 * 9 * 16
    assert pattern.nnz == 2 * 3 * (3 * 4 - 2) ** 2  # per axis 4 windows of 3 taps, one missing at each end


def test_goodfellow_figure_9_6():
    """A picture of 320 x 280 and a kernel of two taps."""
    pattern = Conv(1, kernel=(1, 2), bias=False).pattern((1, 280, 320))
    assert math.prod(pattern.shape) == 8_003_072_000
    assert pattern.nnz == 178_640
    assert pattern.nnz + pattern.shape[0] == 267_960  # two multiplications and one addition for each output
    assert pattern.n_ties == 2


def test_dumoulin_and_visin_four_by_four_input_three_by_three_kernel():
    pattern = Conv(1, 3).pattern((1, 4, 4))
    assert (pattern.shape, pattern.nnz, pattern.n_ties) == ((4, 16), 36, 9)
    transposed = ConvTranspose(1, 3).pattern((1, 2, 2))
    for actual, expected in zip(transposed.triplets(), pattern.T.triplets(), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_the_second_layer_of_vgg16_is_described_without_being_built():
    channels, size = 64, 224
    pattern = Conv(channels, 3, padding=1).pattern((channels, size, size))
    assert pattern.nnz == 1_838_694_400
    assert pattern.links == 64 * 64 * 9 * 224 * 224
    assert pattern.nbytes < 20e6
    o, r, c = 5, 0, 17  # an output unit at the upper border
    expected = [
        (i * size**2 + (r + dr) * size + c + dc, (o * channels + i) * 9 + (dr + 1) * 3 + dc + 1)
        for i, dr, dc in itertools.product(range(channels), (-1, 0, 1), (-1, 0, 1))
        if 0 <= r + dr < size
    ]
    cols, ties = pattern.row((o * size + r) * size + c)
    assert list(zip(cols.tolist(), ties.tolist(), strict=True)) == expected
    i, r, c = 63, 100, 223  # an input unit at the right border
    expected = sorted(
        (o * size**2 + (r - dr) * size + c - dc, (o * channels + i) * 9 + (dr + 1) * 3 + dc + 1)
        for o, dr, dc in itertools.product(range(channels), (-1, 0, 1), (-1, 0, 1))
        if 0 <= c - dc < size
    )
    rows, ties = pattern.column((i * size + r) * size + c)
    assert list(zip(rows.tolist(), ties.tolist(), strict=True)) == expected


SLIDING = [
    (Conv(2, 3, stride=2, padding=1), (3, 5, 6)),
    (Conv(4, (2, 3), padding=((0, 1), (2, 0)), groups=2), (2, 4, 5)),
    (Conv(2, 3, padding=1, padding_mode="circular"), (2, 3, 4)),
    (Conv(2, 3, padding=2, padding_mode="reflect", dilation=2), (1, 6)),
    (Conv(1, 3, padding=3, padding_mode="replicate"), (2, 4)),
    (Conv(2, 2, table=[[0], [0, 1]]), (2, 3, 3)),
    (ConvTranspose(2, 3, stride=2, padding=1), (3, 4, 4)),
    (LocallyConnected(2, 3, padding=1), (2, 4, 4)),
    (AveragePool(2, stride=1, padding=1, count_include_pad=False), (2, 3, 3)),
    (AveragePool(2, ceil=True), (2, 5)),
    (Dense(3), (2, 2)),
]


@pytest.mark.parametrize(("layer", "shape"), SLIDING, ids=map(repr, range(len(SLIDING))))
def test_rows_columns_and_uses_are_those_of_the_table_and_do_not_make_it(layer, shape):
    pattern, other = layer.pattern(shape), layer.pattern(shape)
    table = ExplicitPattern(*other.triplets(), shape=other.shape, n_ties=other.n_ties)
    lines = [
        (ask, number)
        for ask, count in (("row", pattern.shape[0]), ("column", pattern.shape[1]), ("sharing", table.n_ties))
        for number in range(count)
    ]
    found = [getattr(pattern, ask)(number) for ask, number in lines]
    base = pattern.T if isinstance(layer, ConvTranspose) else pattern
    assert base.origin is None or "sites" not in vars(base)
    for (ask, number), arrays in zip(lines, found, strict=True):
        for actual, expected in zip(arrays, getattr(table, ask)(number), strict=True):
            np.testing.assert_array_equal(actual, expected)


def test_a_row_and_a_column_of_a_huge_pattern_are_there_at_once():
    pattern, side = Conv(6, kernel=5, padding=2).pattern((1, 9999, 9999)), 9999
    cols, ties = pattern.row(pattern.shape[0] - 1)  # channel 5, the lower right corner
    at = [(side - 3 + a) * side + side - 3 + b for a in range(3) for b in range(3)]
    assert cols.tolist() == at
    assert ties.tolist() == [125 + 5 * a + b for a in range(3) for b in range(3)]
    rows, ties = pattern.column(side + 1)  # the second row and column: read by 4 x 4 windows of each channel
    assert rows.tolist() == [(o * side + a) * side + b for o in range(6) for a in range(4) for b in range(4)]
    assert ties[:4].tolist() == [18, 17, 16, 15]
    assert "sites" not in vars(pattern)


def test_the_uses_of_a_weight_that_do_not_fit_are_refused_with_the_estimate(monkeypatch):
    pattern = Conv(6, kernel=5, padding=2).pattern((1, 9999, 9999))
    monkeypatch.setattr("simulator.memory.available_memory", lambda: 10**9)
    wanted = r"sharing, 99,980,001 uses of a weight: expected at most 1.0 GB of memory, got 12 GB; read single rows"
    with pytest.raises(ShapeError, match=wanted):
        pattern.sharing(7)
    assert len(pattern.row(7)[0]) == 15
    assert len(pattern.column(7)[0]) == 6 * 15


@pytest.mark.parametrize(
    ("layer", "shape", "weights", "macs", "nonzeros"),
    [
        (Conv(96, 11, stride=4), (3, 227, 227), 34_848, 105_415_200, 105_415_200),
        (Conv(256, 5, padding=2, groups=2), (96, 27, 27), 307_200, 223_948_800, 204_484_608),
        (Conv(384, 3, padding=1), (256, 13, 13), 884_736, 149_520_384, 134_578_176),
        (Conv(384, 3, padding=1, groups=2), (384, 13, 13), 663_552, 112_140_288, 100_933_632),
        (Conv(256, 3, padding=1, groups=2), (384, 13, 13), 442_368, 74_760_192, 67_289_088),
        (Dense(4096), (256, 6, 6), 37_748_736, 37_748_736, 37_748_736),
    ],
    ids=["conv1", "conv2", "conv3", "conv4", "conv5", "fc6"],
)
def test_alexnet_in_two_groups_layer_by_layer(layer, shape, weights, macs, nonzeros):
    pattern = layer.pattern(shape)
    assert (pattern.n_ties, pattern.links, pattern.nnz) == (weights, macs, nonzeros)


def test_memory_does_not_grow_with_the_channels_squared():
    small, large = (Conv(n, 3).pattern((n, 8, 8)) for n in (8, 512))
    assert large.nnz == 64**2 * small.nnz
    assert large.nbytes < small.nbytes + 8 * 512


def test_csr_bytes_are_those_of_the_scipy_matrix():
    for pattern in (Conv(2, 3, padding=1).pattern((2, 5, 5)), ExplicitPattern([0, 1], [1, 0], shape=(2, 2))):
        for dtype in (np.float32, np.float64):
            indptr, indices, ties = pattern.csr
            csr = sparse.csr_array((np.ones(len(ties), dtype), indices, indptr), shape=pattern.shape)
            assert pattern.csr_nbytes(dtype) == csr.data.nbytes + csr.indices.nbytes + csr.indptr.nbytes


def test_index_arrays_are_built_once_and_read_only():
    for pattern in (Conv(1, 3).pattern((1, 5, 5)), ExplicitPattern([0], [0], shape=(1, 1))):
        assert pattern.csr is pattern.csr
        for array in pattern.csr:
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
        for array in pattern.triplets():  # copies
            array[0] = 1


def test_explicit_ties_default_to_one_weight_each_in_the_order_given():
    pattern = ExplicitPattern([1, 0], [0, 2], shape=(2, 3))
    assert [a.tolist() for a in pattern.triplets()] == [[0, 1], [2, 0], [1, 0]]
    assert pattern.nbytes == sum(a.nbytes for a in pattern.csr)


def test_explicit_patterns_may_be_empty():
    pattern = ExplicitPattern([], [], shape=(2, 3))
    check_pattern(pattern, [], [], [])
    assert (pattern.n_ties, pattern.T.shape) == (0, (3, 2))


def test_ties_too_large_for_32_bits_stay_what_they_are():
    pattern = ExplicitPattern([0], [0], [2**33], shape=(1, 1))
    assert pattern.n_ties == 2**33 + 1
    assert pattern.row(0)[1].tolist() == [2**33]


def test_units_may_be_counted_from_the_end():
    pattern = Conv(1, 3).pattern((1, 5))
    assert pattern.row(-1)[0].tolist() == pattern.row(2)[0].tolist() == [2, 3, 4]
    assert pattern.column(-5)[0].tolist() == pattern.column(0)[0].tolist() == [0]


def test_reprs_count():
    assert repr(Conv(6, 5, padding=2).pattern((1, 28, 28))) == (
        "WindowPattern 4704 x 784: 107736 nonzeros share 150 weights"
    )
    assert repr(ExplicitPattern([0], [1], shape=(2, 3))) == "ExplicitPattern 2 x 3: 1 nonzero, 1 weight, none shared"
    assert (
        repr(ExplicitPattern([0], [1], shape=(2, 3)).T) == "TransposedPattern 3 x 2: 1 nonzero, 1 weight, none shared"
    )


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (Dense(10).pattern((84,)), "840 nonzeros, 840 weights, none shared"),
        (LocallyConnected(2, 3).pattern((1, 4, 4)), "72 nonzeros, 72 weights, none shared"),
        # Taps that fall on padding have a weight of their own that nothing uses.
        (LocallyConnected(1, 3, padding=1).pattern((1, 4, 4)), "100 nonzeros, 100 of 144 weights, none shared"),
        (Conv(1, 3, padding=1).pattern((1, 1)), "1 nonzero, 1 of 3 weights, none shared"),
        (Conv(1, 3, padding=1).pattern((1, 1, 3)), "7 nonzeros share 3 of 9 weights"),
        (Conv(2, 2, table=[[0], [0, 1]]).pattern((2, 2)), "6 nonzeros, 6 weights, none shared"),
        (ExplicitPattern([0, 1], [0, 0], [0, 0], shape=(2, 1), n_ties=2), "2 nonzeros share 1 of 2 weights"),
        (ExplicitPattern([], [], shape=(2, 1), n_ties=2), "0 nonzeros, 0 of 2 weights, none shared"),
        # Two taps read one input: a matrix of four cells has no six nonzeros.
        (Conv(1, 2, table=[[0, 0]]).pattern((1, 2)), "4 connections in 2 cells, 4 weights, none shared"),
        (Conv(1, 3, padding=1, padding_mode="circular").pattern((1, 2)), "6 connections in 4 cells share 3 weights"),
        (Conv(1, 1, table=[[0, 0]]).pattern((1, 1)), "2 connections in 1 cell, 2 weights, none shared"),
        (ExplicitPattern([0, 0], [0, 0], shape=(1, 1)), "2 connections in 1 cell, 2 weights, none shared"),
    ],
)  # fmt: skip
def test_reprs_say_what_is_shared_and_only_that(pattern, words):
    assert repr(pattern).partition(": ")[2] == repr(pattern.T).partition(": ")[2] == words
    assert repr(TiedMatrix(pattern, np.ones(pattern.n_ties))).partition(": ")[2] == words


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), min_size=1, max_size=6))
def test_channel_tables_look_up_both_ways(rows):
    channels = ChannelGroups.table(rows)
    assert (channels.out_channels, channels.pairs) == (len(rows), sum(map(len, rows)))
    pairs = [(o, c) for o, row in enumerate(rows) for c in row]  # by number
    for o, row in enumerate(rows):
        inputs, first = channels.of(o)
        assert inputs.tolist() == row
        assert pairs[first : first + len(row)] == [(o, c) for c in row]
    for c in range(5):
        outs, numbers = channels.using(c)
        assert sorted(numbers.tolist()) == [n for n, pair in enumerate(pairs) if pair[1] == c]
        assert [pairs[n] for n in numbers] == [(o, c) for o in outs]


def test_neighbouring_groups_of_one_size_are_walked_together():
    channels = ChannelGroups.table([[0, 1], [1, 2], [0], [2]])
    assert list(channels.runs()) == [(slice(0, 2), 1, 2), (slice(2, 4), 1, 1)]
    assert list(ChannelGroups.full(6, 4, 2).runs()) == [(slice(0, 2), 3, 2)]
    assert list(ChannelGroups.table([]).runs()) == []


@pytest.mark.parametrize("unit", [3, -4])
def test_a_row_and_a_column_exist(unit):
    square = ExplicitPattern([0], [0], shape=(3, 3))
    with pytest.raises(ShapeError, match=rf"ExplicitPattern\.row: expected a row from 0 to 2, got {unit}; use one"):
        square.row(unit)
    with pytest.raises(ShapeError, match=rf"ExplicitPattern\.column: expected a column from 0 to 2, got {unit}"):
        square.column(unit)
    window = WindowPattern(ChannelGroups.full(1, 1), 1, Window(1).sites((3,)), 3, (1, 0, 1))
    with pytest.raises(ShapeError, match=r"WindowPattern\.row: expected"):
        window.row(unit)
    with pytest.raises(ShapeError, match=r"WindowPattern\.column: expected"):
        window.T.row(unit)


@pytest.mark.parametrize("tie", [3, -1])
def test_a_tie_exists(tie):
    for pattern in (Dense(3).pattern((1,)), Dense(3).pattern((1,)).T, ExplicitPattern([0], [0], [2], shape=(1, 1))):
        with pytest.raises(ShapeError, match=f"Pattern.sharing: expected a tie from 0 to 2, got {tie}; use one"):
            pattern.sharing(tie)


def test_the_connections_of_one_weight_of_a_large_layer():
    pattern = Conv(64, 3, padding=1).pattern((64, 224, 224))
    rows, cols = pattern.sharing((5 * 64 + 7) * 9 + 4)  # the middle tap, between channels 7 and 5
    np.testing.assert_array_equal(rows, 5 * 224**2 + np.arange(224**2))
    np.testing.assert_array_equal(cols, 7 * 224**2 + np.arange(224**2))


def test_an_explicit_pattern_has_two_sizes():
    with pytest.raises(ShapeError, match=r"ExplicitPattern: expected a shape \(n_out, n_in\), got \(2, 3, 4\)"):
        ExplicitPattern([0], [0], shape=(2, 3, 4))


@pytest.mark.parametrize(
    ("rows", "cols", "ties", "wrong"),
    [
        ([0.5], [0], None, r"rows: expected a vector of 1 integers, got float64 of shape \(1,\)"),
        ([[0]], [0], None, r"rows: expected a vector of 1 integers, got int64 of shape \(1, 1\)"),
        ([0], [0, 1], None, r"cols: expected a vector of 1 integers, got int64 of shape \(2,\)"),
        ([0, 1], [0, 1], [0], r"ties: expected a vector of 2 integers, got int64 of shape \(1,\); give one"),
        ([2], [0], None, r"rows: expected numbers from 0 to 1, got 2 to 2; correct them"),
        ([0], [-1], None, r"cols: expected numbers from 0 to 2, got -1 to -1; correct them, or the shape \(2, 3\)"),
        ([0], [0], [-1], r"ties: expected numbers from 0 to"),
    ],
)
def test_explicit_connections_are_integers_in_range(rows, cols, ties, wrong):
    with pytest.raises(ShapeError, match=f"ExplicitPattern {wrong}"):
        ExplicitPattern(rows, cols, ties, shape=(2, 3))


@pytest.mark.parametrize(
    ("sites", "channels", "strides", "message"),
    [
        ([[7]], None, (1, 0, 1), "WindowPattern sites: expected numbers from -1 to 3, got 7 to 7; correct the table"),
        ([[-2]], None, (1, 0, 1), "WindowPattern sites: expected numbers from -1 to 3, got -2 to -2"),
        ([0, 1], None, (1, 0, 1), "WindowPattern sites: expected integers .*, got int64 of shape"),
        ([[0.5]], None, (1, 0, 1), "WindowPattern sites: expected integers .*, got float64 of shape"),
        (
            [[0]],
            ChannelGroups.full(1, 2),
            (1, 0, 1),
            "WindowPattern channels: expected numbers from 0 to 0, got 0 to 1",
        ),
        ([[0]], None, (1, 0, -1), "WindowPattern tie_strides: expected none below 0, got"),
    ],
)
def test_tables_that_would_read_beyond_the_input_are_refused(sites, channels, strides, message):
    with pytest.raises(ShapeError, match=message):
        WindowPattern(channels or ChannelGroups.full(1, 1), 1, np.array(sites), 4, strides)


def test_an_origin_is_that_of_the_table():
    window, channels = Window(2, padding=1), ChannelGroups.full(1, 1)
    table = window.sites((4,))
    pattern = WindowPattern(channels, 1, table.copy(), 4, (2, 0, 1), (window, (4,)))
    assert pattern.origin == (window, (4,))
    with pytest.raises(ShapeError, match=r"WindowPattern origin: expected the window and space of this table, got Win"):
        WindowPattern(channels, 1, table[:, ::-1], 4, (2, 0, 1), (window, (4,)))


def test_the_table_of_sites_is_a_copy_of_its_own():
    sites = np.array([[0, 1]])
    pattern = WindowPattern(ChannelGroups.full(1, 1), 1, sites, 4, (2, 0, 1))
    sites[:] = 99
    assert pattern.sites.tolist() == [[0, 1]]


def test_weights_without_a_connection():
    pattern = ExplicitPattern([0], [0], [1], shape=(1, 1), n_ties=5)
    assert pattern.n_ties == 5
    with pytest.raises(ShapeError, match="ties: expected numbers from 0 to 0, got 1 to 1"):
        ExplicitPattern([0], [0], [1], shape=(1, 1), n_ties=1)


def test_an_explicit_pattern_survives_a_pickle():
    pattern = pickle.loads(pickle.dumps(ExplicitPattern([0, 1, 1], [2, 0, 1], [0, 1, 0], shape=(2, 3))))
    for mine, theirs in zip(pattern.triplets(), ([0, 1, 1], [2, 0, 1], [0, 1, 0]), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(copy.copy(pattern).row(1)[0], [0, 1])


@pytest.mark.parametrize("mode", ["constant", "circular", "reflect", "replicate"])
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("strides", [(9, 0, 1), (9, 1, 30), (1, 0, 0), (0, 1, 0), (0, 0, 0), (2, 3, 1)])
def test_a_sliding_window_is_counted_without_its_table(mode, ceil, strides):
    window, space, groups = Window((3, 2), (2, 1), (1, 2), (1, 1), mode, ceil), (6, 5), ChannelGroups.full(2, 3)
    bare = WindowPattern.sliding(groups, 3, window, space, strides)
    built = WindowPattern(groups, 3, window.sites(space), 30, strides)
    counts = ("shape", "nnz", "n_ties", "nonzero_cells", "nbytes", "links", "table_shape", "used_ties")
    assert [getattr(bare, name) for name in counts] == [getattr(built, name) for name in counts]
    _, _, ties = built.triplets()
    assert bare.used_ties == len(np.unique(ties))
    assert "sites" not in vars(bare) or (strides[1] and mode == "constant")  # weights of their own beside padding
    np.testing.assert_array_equal(bare.sites, built.sites)
    with pytest.raises(AttributeError, match="'WindowPattern' object has no attribute 'nothing'"):
        _ = bare.nothing


def test_counts_of_a_table_that_fits_into_no_memory():
    net = Network.sequential((1, 100_000, 100_000), [Conv(6, kernel=5, padding=2), AveragePool(2), Conv(1, 3)])
    assert net.node("conv1").pattern.nnz == 6 * (5 * 100_000 - 6) ** 2
    assert net.node("conv1").pattern.used_ties == 150
    with pytest.raises(ShapeError, match=r"conv on \(100000, 100000\): expected at most .* GB of memory, got 4,000 GB"):
        _ = net.node("conv1").pattern.sites
    row, column = net.matrix_row("conv1", (0, 0, 5)), net.matrix_column("conv1", (0, 0, 5))
    assert row.cols.tolist() == [100_000 * a + b for a in range(3) for b in range(3, 8)]
    assert len(column.rows) == 6 * 3 * 5


def test_a_window_whose_taps_fit_into_no_memory():
    with pytest.raises(ShapeError, match=r"conv on \(100000000,\): .* of memory, got 24,000 GB; use a smaller input"):
        Conv(1, kernel=10_000, padding="same").pattern((1, 10**8))
