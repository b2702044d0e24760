"""The table of sites against numpy.pad and sliding_window_view, and the published arithmetic of sizes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from simulator import ShapeError, Window
from simulator.windows import PADDING_MODES, check_size, check_sizes

NUMPY_MODE = {"constant": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}


@st.composite
def geometries(draw, modes=PADDING_MODES, ceil=False):
    """A window and a space that it fits, in one to three dimensions."""
    mode = draw(st.sampled_from(modes))
    space, kernel, stride, dilation, pairs = [], [], [], [], []
    for _ in range(draw(st.integers(1, 3))):
        k, d = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        begin, end = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        least = {"circular": max(begin, end), "reflect": max(begin, end) + 1}.get(mode, 1)
        least = max(1, least, (k - 1) * d + 1 - begin - end)
        space.append(draw(st.integers(least, least + 3)))
        kernel.append(k)
        dilation.append(d)
        stride.append(draw(st.integers(1, 4)))
        pairs.append((begin, end))
    return Window(tuple(kernel), tuple(stride), tuple(dilation), tuple(pairs), mode, ceil), tuple(space)


@given(geometries() | geometries(modes=("constant",), ceil=True))
def test_single_windows_and_sites_are_those_of_the_table(geometry):
    window, space = geometry
    table = window.sites(space)
    windows, taps = (np.arange(n) for n in table.shape)
    np.testing.assert_array_equal(window.read(space, windows[:, None], taps), table)
    for site in range(math.prod(space)):
        np.testing.assert_array_equal(np.stack(window.readers(space, site), axis=1), np.argwhere(table == site))


def test_many_windows_at_once():
    window, space, windows = Window(3, padding=1), (120, 130), np.arange(120 * 130)[:, None]
    np.testing.assert_array_equal(window.read(space, windows, np.arange(9)), window.sites(space))


@given(geometries() | geometries(modes=("constant",), ceil=True), st.randoms(use_true_random=False))
def test_what_some_windows_read_and_who_reads_some_sites_is_as_in_the_table(geometry, random):
    window, space = geometry
    table = window.sites(space)
    windows = np.array([random.random() < 0.3 for _ in range(len(table))])
    read = table[windows]
    expected = np.isin(np.arange(math.prod(space)), read[read >= 0])
    np.testing.assert_array_equal(window.covered(space, windows), expected)
    sites = np.array([random.random() < 0.3 for _ in range(math.prod(space))])
    np.testing.assert_array_equal(window.covering(space, sites), np.any((table >= 0) & sites[table], axis=1))


def sites_by_padding(window, space):
    """Pad the site numbers themselves, then slide over them."""
    numbers = np.arange(math.prod(space)).reshape(space)
    constant = {"constant_values": -1} if window.mode == "constant" else {}
    padded = np.pad(numbers, window.padding, mode=NUMPY_MODE[window.mode], **constant)
    extents = tuple((k - 1) * d + 1 for k, d in zip(window.kernel, window.dilation, strict=True))
    windows = sliding_window_view(padded, extents)
    windows = windows[tuple(slice(None, None, s) for s in window.stride)]
    windows = windows[(..., *(slice(None, None, d) for d in window.dilation))]
    return windows.reshape(-1, math.prod(window.kernel)), windows.shape[: len(space)]


@given(geometries())
def test_sites_are_those_of_padded_site_numbers(geometry):
    window, space = geometry
    expected, out_space = sites_by_padding(window, space)
    assert window.output_space(space) == out_space
    np.testing.assert_array_equal(window.sites(space), expected)


@given(geometries(modes=("constant",), ceil=True))
def test_tap_slices_read_the_sites(geometry):
    window, space = geometry
    numbers = np.pad(np.arange(math.prod(space)).reshape(space), window.padded_shape(space), constant_values=-1)
    read = [numbers[view].ravel() for view in window.tap_slices(space)]
    np.testing.assert_array_equal(np.stack(read, axis=1), window.sites(space))


def test_sites_are_read_only_and_kept_for_equal_geometries():
    first = Window(3, padding=1, who="conv").sites((5, 5))
    assert Window((3, 3), padding=((1, 1), (1, 1)), who="conv").sites([5, 5]) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 7


@pytest.mark.parametrize(
    ("space", "window", "expected"),
    [
        ((4, 4), Window(2), (3, 3)),  # (4 - 2 + 2·0)/1 + 1
        ((32, 32), Window(5), (28, 28)),
        ((28, 28), Window(3), (26, 26)),  # one row and one column less on each side
        ((28, 28), Window(5), (24, 24)),  # two
        ((28, 28), Window(3, padding=1), (28, 28)),
        ((28, 28), Window(5, padding=2), (28, 28)),
        ((4, 4), Window(2, padding=1), (5, 5)),  # padded on both sides to 6 x 6
        ((4, 4), Window(2, padding=((0, 1), (0, 1))), (4, 4)),  # on one side to 5 x 5
        ((4, 4), Window(2, padding="same"), (4, 4)),
        ((227, 227), Window(11, stride=4), (55, 55)),  # AlexNet
        ((224, 224), Window(11, stride=4, padding=2), (55, 55)),
        ((112, 112), Window(3, stride=2), (55, 55)),
        ((112, 112), Window(3, stride=2, ceil=True), (56, 56)),  # GoogLeNet
        ((5, 5), Window(3, stride=2, padding=1), (3, 3)),  # Dumoulin and Visin, figure 2.7
        ((6, 6), Window(3, stride=2, padding=1), (3, 3)),  # figure 2.8: the last row is never read
        ((7, 7), Window(3, dilation=2), (3, 3)),  # figure 5.1
        ((1, 1), Window(1), (1, 1)),
        ((6, 4), Window((6, 4)), (1, 1)),  # as large as the input
        ((7,), Window(2, stride=5), (2,)),  # stride larger than the kernel
    ],
)
def test_published_output_sizes(space, window, expected):
    assert window.output_space(space) == expected


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_stride_k_leaves_one_site_in_k_squared(k):
    full, strided = (Window(3, stride=s, padding=1).output_space((24, 24)) for s in (1, k))
    assert math.prod(full) == k * k * math.prod(strided)


def test_stride_larger_than_the_kernel_leaves_inputs_that_nobody_reads():
    sites = Window(2, stride=3).sites((6,))
    assert set(range(6)) - set(sites.ravel().tolist()) == {2, 5}


def test_a_last_window_that_starts_on_the_end_padding_is_dropped():
    assert Window(3, stride=2, ceil=True).output_space((4,)) == (2,)  # starts at 0 and 2, both on the input
    assert Window(2, stride=2, padding=1, ceil=True).output_space((3,)) == (2,)  # a third would start at 3
    assert Window(2, stride=4, padding=((0, 2),), ceil=True).output_space((4,)) == (1,)  # a second would start at 4


@given(geometries(modes=("constant",)))
def test_same_padding_keeps_the_sites_over_the_stride(geometry):
    window, space = geometry
    for name in ("same", "same_upper", "same_lower"):
        same = Window(window.kernel, window.stride, window.dilation, name)
        assert same.output_space(space) == tuple(-(-n // s) for n, s in zip(space, window.stride, strict=True))


def test_same_with_an_even_kernel_pads_one_side_more():
    assert Window(2, padding="same").padding_pairs((4,)) == ((0, 1),)
    assert Window(2, padding="same_upper").padding_pairs((4,)) == ((0, 1),)
    assert Window(2, padding="same_lower").padding_pairs((4,)) == ((1, 0),)
    assert Window(4, padding="same_upper").padding_pairs((9,)) == ((1, 2),)
    assert Window(4, padding="same_lower").padding_pairs((9,)) == ((2, 1),)
    assert Window(3, stride=2, padding="same").padding_pairs((16,)) == ((0, 1),)  # 16 x 16 -> 8 x 8, one extra row
    assert Window(3, stride=5, padding="same").padding_pairs((6,)) == ((1, 1),)
    assert Window(1, stride=5, padding="same").padding_pairs((6,)) == ((0, 0),)  # never less than nothing


def test_padding_may_be_one_number_one_per_axis_or_pairs():
    assert Window(3, padding=1).padding_pairs((5, 6)) == ((1, 1), (1, 1))
    assert Window(3, padding=(1, 2)).padding_pairs((5, 6)) == ((1, 1), (2, 2))
    assert Window(3, padding=[[1, 0], [2, 3]]).padding_pairs((5, 6)) == ((1, 0), (2, 3))
    assert Window(3, padding="valid").padding_pairs((5, 6)) == ((0, 0), (0, 0))
    assert Window([3, 2], np.int64(2)).output_space((5, 6)) == (2, 3)


def test_reflect_and_circular_read_one_input_twice():
    assert Window(3, padding=1, mode="reflect").sites((3,)).tolist() == [[1, 0, 1], [0, 1, 2], [1, 2, 1]]
    assert Window(3, padding=1, mode="circular").sites((2,)).tolist() == [[1, 0, 1], [0, 1, 0]]
    assert Window(3, padding=1, mode="replicate").sites((1,)).tolist() == [[0, 0, 0]]


def test_a_rounded_up_window_reads_by_its_mode_beyond_the_padding():
    assert Window(2, stride=2, mode="circular", ceil=True).sites((3,)).tolist() == [[0, 1], [2, 0]]
    assert Window(2, stride=2, mode="replicate", ceil=True).sites((3,)).tolist() == [[0, 1], [2, 2]]
    assert Window(3, stride=2, padding=1, mode="reflect", ceil=True).sites((2,)).tolist() == [[1, 0, 1], [1, 0, 1]]


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3", None])
def test_a_size_is_a_positive_integer(value):
    with pytest.raises(ShapeError, match=r"conv kernel: expected an integer of at least 1, got .*; give such a number"):
        check_size(value, "conv kernel")


@pytest.mark.parametrize("value", [(3,), (3, 3, 3), "33", 2.5, None])
def test_sizes_are_one_integer_or_one_per_axis(value):
    message = r"conv kernel: expected one integer or 2 of them .*got .*; write for example kernel=\(1, 1\)"
    with pytest.raises(ShapeError, match=message):
        check_sizes(value, 2, "conv kernel")


def test_each_size_of_an_axis_is_checked():
    with pytest.raises(ShapeError, match=r"window stride: expected an integer of at least 1, got 0"):
        Window(3, stride=(1, 0)).output_space((5, 5))
    with pytest.raises(ShapeError, match=r"window padding: expected an integer of at least 0, got -1"):
        Window(3, padding=-1).output_space((5, 5))


@pytest.mark.parametrize("space", [(), (2, 2, 2, 2)])
def test_space_has_one_to_three_axes(space):
    with pytest.raises(ShapeError, match=rf"window: expected .* 1 to 3 space axes, got {len(space)}; reshape"):
        Window(1).sites(space)


def test_padding_names_are_known():
    with pytest.raises(ShapeError, match=r"window padding: expected numbers or one of valid, same.*, got 'full'"):
        Window(3, padding="full").output_space((5,))


def test_padding_pairs_are_one_per_axis():
    with pytest.raises(ShapeError, match=r"window padding: expected 2 \(begin, end\) pairs, got \(\(1, 2\),\)"):
        Window(3, padding=((1, 2),)).output_space((5, 5))


def test_padding_modes_are_known():
    with pytest.raises(ShapeError, match=r"window padding mode: expected one of constant, .*, got 'zeros'; choose one"):
        Window(3, padding=1, mode="zeros").output_space((5,))


@pytest.mark.parametrize(("mode", "limit"), [("reflect", 2), ("circular", 3)])
def test_reflect_and_circular_padding_have_a_limit(mode, limit):
    Window(3, padding=limit, mode=mode).output_space((3,))
    message = rf"window padding: expected at most {limit} sites for mode '{mode}' on axis 0 of size 3, got {limit + 1}"
    with pytest.raises(ShapeError, match=message):
        Window(3, padding=limit + 1, mode=mode).output_space((3,))


def test_a_window_fits_the_padded_input():
    Window(3, dilation=2).output_space((5,))
    message = r"window: expected a window no larger than the padded input, got 5 taps on 4 sites along axis 1"
    with pytest.raises(ShapeError, match=message):
        Window((1, 3), dilation=2).output_space((9, 4))
