"""Pictures are read back: colours, numbers, lines and labels must say what the arrays say."""

import itertools
import math
import os
import subprocess
import sys
import tracemalloc
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.sparse import random_array

from simulator import (
    Add,
    AveragePool,
    Catalog,
    Concatenate,
    Conv,
    ConvTranspose,
    Dense,
    ExplicitPattern,
    FileError,
    LeakyReLU,
    LocallyConnected,
    MaxPool,
    Network,
    ReLU,
    ShapeError,
    Sigmoid,
    SimulatorError,
    Sparse,
    Subsample,
    UnknownNameError,
)
from simulator.draw import (
    darken,
    draw_activations,
    draw_curve,
    draw_graph,
    draw_kernel,
    draw_layer_graph,
    draw_matrix,
    draw_products,
    draw_unit_graph,
    draw_window,
    save,
)
from simulator.lab import layer_graph, unit_graph

colors = pytest.importorskip("matplotlib.colors")

PALE = "#bfbfbf"

C3 = [(0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5), (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)]
C3 += [(0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)]


def one(layer, shape, rng=0):
    """A network of one layer called "it"."""
    return Network.input(shape).add(layer, name="it", rng=rng)


def cells(figure):
    """Colour of each cell of the last panel, (rows, columns, 3)."""
    return np.asarray(figure.axes[-1].images[0].get_array())


def nonzero(figure):
    return np.any(cells(figure) < 1, axis=2)


def caption(figure):
    return " ".join(figure.get_supxlabel().split())


# ---------------------------------------------------------------------- the matrix

# The 4 x 16 matrix of Dumoulin and Visin (2016), section 4.1: weight numbers from 1, 0 where there is none.
DUMOULIN_VISIN = [
    [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0],
    [0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0],
    [0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0],
    [0, 0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9],
]


def assert_colours_are(image, numbers):
    """White where the number is 0; elsewhere one colour for each number, and another for another."""
    numbers = np.asarray(numbers)
    assert image.shape == (*numbers.shape, 3)
    assert np.array_equal(np.all(image == 1, axis=2), numbers == 0)
    pairs = {(number, tuple(colour)) for number, colour in zip(numbers.ravel(), image.reshape(-1, 3), strict=True)}
    assert len(pairs) == len({number for number, _ in pairs}) == len({colour for _, colour in pairs})


def test_the_published_matrix_of_a_3x3_kernel_on_4x4():
    figure = draw_matrix(one(Conv(1, 3), (1, 4, 4)), "it")
    assert_colours_are(cells(figure), DUMOULIN_VISIN)
    (ax,) = figure.axes
    written = {(round(t.get_position()[1]), round(t.get_position()[0])): int(t.get_text()) + 1 for t in ax.texts}
    assert written == {(i, j): n for i, row in enumerate(DUMOULIN_VISIN) for j, n in enumerate(row) if n}
    assert figure.get_suptitle() == "it: TiedMatrix 4 x 16: 36 nonzeros share 9 weights"
    assert "equal colours are equal weights" in caption(figure)


def test_a_convolution_in_one_dimension():
    figure = draw_matrix(one(Conv(1, 3, padding=1), (1, 5)), "it")
    assert_colours_are(
        cells(figure), [[2, 3, 0, 0, 0], [1, 2, 3, 0, 0], [0, 1, 2, 3, 0], [0, 0, 1, 2, 3], [0, 0, 0, 1, 2]]
    )


def test_a_transposed_convolution_is_the_transposed_picture():
    figure = draw_matrix(one(ConvTranspose(1, 3), (1, 2, 2)), "it")
    assert_colours_are(cells(figure), np.transpose(DUMOULIN_VISIN))


def test_ties_of_several_channels_have_different_colours():
    network = one(Conv(2, 3, padding=1), (2, 6, 6))  # 36 weights, as many as colours
    rows, cols, ties = network.node("it").pattern.triplets()
    numbers = np.zeros((72, 72), int)
    numbers[rows, cols] = ties + 1
    figure = draw_matrix(network, "it")
    assert_colours_are(cells(figure), numbers)
    assert "equal colours are equal weights" in caption(figure)


def test_column_after_column():
    network = one(Conv(2, (2, 3)), (3, 4, 5))
    plain, swapped = draw_matrix(network, "it"), draw_matrix(network, "it", order="F")

    def places(channels, height, width):
        return np.arange(channels * height * width).reshape(channels, height, width).swapaxes(1, 2).ravel()

    assert np.array_equal(cells(swapped), cells(plain)[places(2, 3, 3)][:, places(3, 4, 5)])
    assert not np.array_equal(cells(swapped), cells(plain))
    assert "grey lines: rows of a map" in caption(plain)
    assert "grey lines: columns of a map" in caption(swapped)


def test_volumes_column_after_column():
    network = one(Conv(1, 2), (1, 2, 3, 4))
    places_in = np.arange(24).reshape(2, 3, 4).ravel(order="F")
    places_out = np.arange(6).reshape(1, 2, 3).ravel(order="F")
    plain, swapped = cells(draw_matrix(network, "it")), cells(draw_matrix(network, "it", order="F"))
    assert np.array_equal(swapped, plain[places_out][:, places_in])


@pytest.mark.parametrize(("order", "grey"), [("C", [2.5, 5.5, 8.5]), ("F", [1.5, 3.5, 5.5, 7.5, 9.5])])
def test_grid_lines_stand_between_rows_and_channels(order, grey):
    (ax,) = draw_matrix(one(Conv(2, 3, padding=1), (2, 2, 3)), "it", order=order).axes
    lines = {PALE: ([], []), "k": ([], [])}
    for line in ax.lines:
        vertical = line.get_xdata()[0] == line.get_xdata()[1]
        lines[line.get_color()][vertical].append(float((line.get_xdata() if vertical else line.get_ydata())[0]))
    assert lines == {PALE: (grey, grey), "k": ([5.5], [5.5])}
    assert "black lines: channels" in caption(ax.figure)


def test_a_fixed_matrix_has_the_colours_of_its_values():
    network = one(AveragePool(3, stride=2, padding=1, count_include_pad=False), (1, 6, 6))
    figure = draw_matrix(network, "it")
    matrix = network.node("it").matrix
    assert np.array_equal(nonzero(figure), matrix.tocsr().toarray() > 0)
    assert len(np.unique(cells(figure)[nonzero(figure)], axis=0)) == matrix.pattern.n_ties == 9


def test_without_weights_the_pattern_is_drawn():
    bare = one(Conv(1, 3), (1, 4, 4), rng=None)
    assert not bare.has_weights
    figure = draw_matrix(bare, "it")
    assert_colours_are(cells(figure), DUMOULIN_VISIN)
    assert figure.get_suptitle() == "it: WindowPattern 4 x 16: 36 nonzeros share 9 weights"


def test_repeated_cells_say_all_their_weights():
    figure = draw_matrix(one(Conv(1, 3, padding=1, padding_mode="circular"), (1, 2)), "it")
    assert sorted(t.get_text() for t in figure.axes[0].texts) == ["0+2", "0+2", "1", "1"]


def test_sums_of_weights_stay_in_their_cells():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw_matrix(one(Conv(1, 3, padding=1, padding_mode="reflect"), (1, 4, 4)), "it")
    FigureCanvasAgg(figure).draw()
    (ax,) = figure.axes
    wide = ax.transData.transform((1, 0))[0] - ax.transData.transform((0, 0))[0]
    assert "0+2+6+8" in [t.get_text() for t in ax.texts]
    assert max(t.get_window_extent().width for t in ax.texts) < wide


def test_repeated_cells_of_a_larger_matrix_have_a_dot_and_no_weights_colour():
    rows, cols = [0, 0, 0, 29], [0, 0, 5, 29]
    network = one(Sparse(ExplicitPattern(rows, cols, [0, 1, 0, 1], shape=(30, 30))), (30,))
    figure = draw_matrix(network, "it")
    image = cells(figure)
    assert np.all(image[0, 0] == 0xBF / 255)
    assert len({tuple(image[at]) for at in ((0, 0), (0, 5), (29, 29))}) == 3
    (dots,) = figure.axes[0].lines
    assert dots.get_xydata().tolist() == [[0, 0]]
    assert "a dot: several weights on one cell, pale grey" in caption(figure)


def test_a_repeated_cell_among_values_shows_their_sum():
    pattern = ExplicitPattern([0, 0, *range(40)], [5, 5, *range(40)], shape=(40, 40))
    weight = np.arange(42.0) - 20
    network = one(Sparse(pattern), (40,)).with_params({"it.weight": weight})
    figure = draw_matrix(network, "it")
    (scale,) = figure.axes[0].child_axes
    mapped = scale._colorbar.mappable
    matrix = network.node("it").matrix.tocsr().toarray()
    np.testing.assert_allclose(cells(figure)[0, 5], mapped.to_rgba(matrix[0, 5])[:3])
    assert matrix[0, 5] == weight[0] + weight[1]  # the order of CSR rows: both stand first
    assert "a dot: several weights on one cell, in the colour of their sum" in caption(figure)


def test_more_weights_than_colours_are_drawn_as_values():
    network = one(Conv(2, 3), (3, 5, 5))  # 54 weights
    figure = draw_matrix(network, "it")
    (scale,) = figure.axes[0].child_axes
    matrix = network.node("it").matrix.tocsr().toarray()
    wanted = scale._colorbar.mappable.to_rgba(matrix)[..., :3]
    wanted[matrix == 0] = 1
    np.testing.assert_allclose(cells(figure), wanted)
    assert scale._colorbar.mappable.get_clim() == pytest.approx((-abs(matrix).max(), abs(matrix).max()))
    assert "colours are values; different weights may have equal colours" in caption(figure)
    assert "equal colours are equal weights" not in caption(figure)


def test_more_weights_than_colours_without_values_are_all_alike():
    figure = draw_matrix(one(Conv(2, 3), (3, 5, 5), rng=None), "it")
    assert len(np.unique(cells(figure)[nonzero(figure)], axis=0)) == 1
    assert "dark: connections; their 54 weights are more than colours can tell apart" in caption(figure)


def test_nothing_looks_shared_where_nothing_is():
    layers = {Dense(10): (84,), LocallyConnected(2, 3): (1, 6, 6), Dense(5): (7,), Conv(4, 1, groups=4): (4, 1, 1)}
    for layer, shape in layers.items():
        network = one(layer, shape)
        figure = draw_matrix(network, "it", rows=(0, math.prod(network.output_shape)), columns=(0, math.prod(shape)))
        colours = cells(figure)[nonzero(figure)]
        values = network.node("it").matrix.tocsr().toarray()
        assert len(np.unique(values[values != 0])) == len(colours)
        if len(colours) <= 36:
            assert len(np.unique(colours, axis=0)) == len(colours)
        else:
            assert "different weights may have equal colours" in caption(figure)


def test_a_block_of_channels_has_an_arc_of_hues_and_its_taps_go_from_dark_to_light():
    network = one(Conv(2, 3), (2, 5, 5))
    image = cells(draw_matrix(network, "it"))
    hues = []
    for o, c in np.ndindex(2, 2):
        first = image[9 * o, 25 * c : 25 * c + 25].reshape(5, 5, 3)[:3, :3].reshape(9, 3)
        assert np.all(np.diff(first @ (0.2126, 0.7152, 0.0722)) > 0)
        hues.append(colors.rgb_to_hsv(first)[:, 0])
    assert all(a.max() <= b.min() for a, b in itertools.pairwise(hues))


# ---------------------------------------------------------------------- what the input chooses


def test_max_pooling_is_drawn_as_the_matrix_of_a_sample():
    x = np.random.default_rng(0).permutation(32.0 * np.arange(32)).reshape(2, 4, 4)
    figure = draw_matrix(one(MaxPool(2), (2, 4, 4)), "it", x)
    assert np.array_equal(nonzero(figure) @ x.ravel(), x.reshape(2, 2, 2, 2, 2).max(axis=(2, 4)).ravel())
    assert len(np.unique(cells(figure)[nonzero(figure)], axis=0)) == 1
    assert figure.get_suptitle() == "it at this sample: a matrix 8 x 32, 8 nonzeros"
    assert "equal colours are equal values; different weights may have equal values" in caption(figure)


def test_relu_has_no_cell_where_the_sample_is_negative():
    x = np.array([1.0, -2.0, 3.0, 0.0])
    assert np.array_equal(nonzero(draw_matrix(one(ReLU(), (4,)), "it", x)), np.diag(x > 0))
    figure = draw_matrix(one(LeakyReLU(0.1), (4,)), "it", x)
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "0.1", "1", "0.1"]
    assert "numbers are the values" in caption(figure)
    leaky = cells(figure)
    assert_colours_are(leaky, np.diag([2, 1, 2, 1]))


def test_a_join_shows_its_inputs_side_by_side():
    network = (
        Network.input((1, 2, 2), "a")
        .add_input((1, 2, 2), "b")
        .add(ReLU(), "a", name="r")
        .add(Add(), "r", "b", name="it")
    )
    x = {"a": np.zeros((1, 2, 2)), "b": np.zeros((1, 2, 2))}
    figure = draw_matrix(network, "it", x)
    assert_colours_are(cells(figure), np.hstack([np.eye(4, dtype=int)] * 2))
    stacked = network.add(Concatenate(), "r", "b", name="cat")
    assert np.array_equal(nonzero(draw_matrix(stacked, "cat", x)), np.eye(8, dtype=bool))


def test_a_fixed_matrix_does_not_need_the_sample():
    network = one(Conv(1, 3), (1, 4, 4))
    assert np.array_equal(cells(draw_matrix(network, "it", np.ones((1, 4, 4)))), cells(draw_matrix(network, "it")))


def test_layers_that_are_no_matrix_are_refused():
    with pytest.raises(ShapeError, match="it: expected a layer that is one matrix, got MaxPool"):
        draw_matrix(one(MaxPool(2), (1, 4, 4)), "it")
    with pytest.raises(ShapeError, match="draw it: expected a layer that is piecewise linear, got Sigmoid"):
        draw_matrix(one(Sigmoid(), (4,)), "it", np.zeros(4))
    with pytest.raises(UnknownNameError, match="expected a node, got 'itt'; did you mean 'it'"):
        draw_matrix(one(ReLU(), (4,)), "itt")


def test_a_batch_is_no_sample():
    with pytest.raises(ShapeError, match=r"draw it: expected one sample of shape \(4,\) for 'input', got \(1, 4\)"):
        draw_matrix(one(ReLU(), (4,)), "it", np.zeros((1, 4)))


# ---------------------------------------------------------------------- large matrices


def density_of(matrix, tall, wide):
    """Share of nonzeros in each block, from the dense matrix."""
    rows, columns = np.arange(0, len(matrix), tall), np.arange(0, matrix.shape[1], wide)

    def sums(cells):
        return np.add.reduceat(np.add.reduceat(cells.astype(int), rows, axis=0), columns, axis=1)

    return sums(matrix != 0) / sums(np.ones(matrix.shape))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("table", [None, C3], ids=["full", "table"])
def test_the_density_of_a_matrix_whose_rows_are_all_read(table, order):
    network = one(Conv(16, 5, table=table), (6, 14, 14))
    dense = network.node("it").matrix.tocsr().toarray()
    if order == "F":
        dense = dense.reshape(16, 10, 10, 6, 14, 14).transpose(0, 2, 1, 3, 5, 4).reshape(dense.shape)
    whole = draw_matrix(network, "it", order=order).axes[0]
    shown = np.asarray(whole.images[0].get_array())
    np.testing.assert_allclose(shown, density_of(dense, 7, 5), rtol=1e-12)
    assert whole.images[0].get_extent() == [-0.5, 236 * 5 - 0.5, 229 * 7 - 0.5, -0.5]
    assert (whole.get_xlim(), whole.get_ylim()) == ((-0.5, 1175.5), (1599.5, -0.5))


def test_the_density_of_a_random_matrix():
    matrix = random_array((150, 1000), density=0.02, rng=np.random.default_rng(0))
    network = one(Sparse(ExplicitPattern(*matrix.coords, shape=matrix.shape)), (1000,))
    shown = np.asarray(draw_matrix(network, "it").axes[0].images[0].get_array())
    np.testing.assert_allclose(shown, density_of(matrix.toarray(), 1, 4), rtol=1e-12)


def test_vgg16_is_drawn_without_its_two_billion_nonzeros():
    network = one(Conv(64, 3, padding=1), (64, 224, 224), rng=None)
    pattern = network.node("it").pattern
    tracemalloc.start()
    figure = draw_matrix(network, "it")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**25  # one index for each nonzero alone would be 7 GB
    density = np.asarray(figure.axes[0].images[0].get_array())
    n = 64 * 224 * 224
    assert pattern.shape == (n, n)
    assert density.mean() * n * n == pytest.approx(pattern.nnz, rel=0.01)
    assert "1838694400 nonzeros share 36864 weights" in figure.get_suptitle()


def test_the_part_is_that_part_of_the_matrix():
    network = one(Conv(16, 5), (6, 14, 14))
    pattern = network.node("it").pattern
    figure = draw_matrix(network, "it", rows=(205, 260), columns=(400, 500))
    dense = np.zeros(pattern.shape, bool)
    rows, cols, _ = pattern.triplets()
    dense[rows, cols] = True
    assert np.array_equal(nonzero(figure), dense[205:260, 400:500])
    whole, part = figure.axes
    assert part.images[0].get_extent() == [399.5, 499.5, 259.5, 204.5]
    assert part.get_title() == "rows 205 to 259, columns 400 to 499"
    (mark,) = whole.patches
    assert mark.get_bbox().bounds == (399.5, 204.5, 100, 55)


def test_the_mark_of_a_small_part_can_be_seen():
    network = one(Conv(64, 3, padding=1), (64, 224, 224), rng=None)
    n = 64 * 224 * 224
    whole, part = draw_matrix(network, "it", rows=(n - 64, n), columns=(n - 128, n)).axes
    (mark,) = whole.patches
    assert mark.get_bbox().bounds == pytest.approx((0.98 * n - 0.5, 0.98 * n - 0.5, 0.02 * n, 0.02 * n))
    assert part.images[0].get_extent() == [n - 128.5, n - 0.5, n - 0.5, n - 64.5]


def test_the_part_contains_the_first_nonzeros():
    pattern = ExplicitPattern([700, 701], [850, 3], shape=(800, 900))
    figure = draw_matrix(one(Sparse(pattern), (900,)), "it")
    extent = figure.axes[1].images[0].get_extent()
    assert extent == [771.5, 899.5, 747.5, 683.5]
    assert np.argwhere(nonzero(figure)).tolist() == [[16, 78]]


def test_a_matrix_without_nonzeros_is_white():
    figure = draw_matrix(one(ReLU(), (200,)), "it", -np.ones(200))
    assert not nonzero(figure).any()
    assert figure.axes[1].images[0].get_extent() == [-0.5, 127.5, 63.5, -0.5]


def test_one_axis_of_the_part_may_be_given_and_it_must_lie_inside():
    network = one(Conv(1, 3), (1, 4, 4))
    assert cells(draw_matrix(network, "it", rows=(1, 3))).shape == (2, 16, 3)
    assert cells(draw_matrix(network, "it", columns=(4, 10))).shape == (4, 6, 3)
    for rows in ((0, 5), (-1, 2), (2, 2), (3, 1)):
        with pytest.raises(ShapeError, match="draw it rows: expected a part of 0 to 4, at most 512 long, got"):
            draw_matrix(network, "it", rows=rows)
    with pytest.raises(
        ShapeError, match="draw it columns: expected a part of 0 to 784, at most 512 long, got 0 to 513"
    ):
        draw_matrix(one(Dense(2), (784,)), "it", columns=(0, 513))


def test_the_order_must_be_known():
    with pytest.raises(ShapeError, match="draw order: expected 'C' or 'F', got 'f'"):
        draw_matrix(one(Conv(1, 3), (1, 4, 4)), "it", order="f")


# ---------------------------------------------------------------------- the graph


def edges_of(figure):
    """(input unit, output unit, colour) of each connection, read from where its ends stand; one set for each style."""
    (ax,) = figure.axes
    left, right = (line.get_ydata() for line in ax.lines[:2])
    return [
        {
            (int(np.argmin(abs(left - a))), int(np.argmin(abs(right - b))), tuple(colour[:3]))
            for ((_, a), (_, b)), colour in zip(lines.get_segments(), lines.get_colors(), strict=True)
        }
        for lines in ax.collections
    ]


def test_the_graph_has_the_connections_and_colours_of_the_matrix():
    network = one(Conv(2, 2), (2, 3, 3))
    image = cells(draw_matrix(network, "it"))
    solid, dashed = edges_of(draw_graph(network, "it"))
    assert not dashed
    assert solid == {(j, i, tuple(image[i, j])) for i, j in np.argwhere(np.any(image < 1, axis=2))}


def test_the_graph_names_its_weights_and_units():
    figure = draw_graph(one(Conv(1, 3), (1, 5)), "it")
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["$w_{0}$", "$w_{1}$", "$w_{2}$"]
    assert [t.get_text() for t in ax.texts] == [f"$x_{{{j}}}$" for j in range(5)] + [f"$y_{{{i}}}$" for i in range(3)]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["input (1, 5)", "output (1, 3)"]
    assert figure.get_suptitle() == "it: TiedMatrix 3 x 5: 9 nonzeros share 3 weights"
    assert draw_graph(one(Dense(4), (4,)), "it").axes[0].get_legend() is None
    assert not draw_graph(one(Dense(4), (70,)), "it").axes[0].texts[4:]


def test_a_second_weight_between_two_units_is_dashed():
    figure = draw_graph(one(Conv(1, 3, padding=1, padding_mode="circular"), (1, 2)), "it")
    solid, dashed = edges_of(figure)
    assert {edge[:2] for edge in solid} == set(itertools.product(range(2), repeat=2))
    assert {edge[:2] for edge in dashed} == {(0, 1), (1, 0)}
    assert not solid & dashed
    assert "dashed" in caption(figure)


def test_the_graph_of_a_layer_that_the_input_chooses():
    x = np.array([[1.0, 4.0, 3.0, 2.0]])
    solid, _ = edges_of(draw_graph(one(MaxPool(2), (1, 4)), "it", x))
    assert {edge[:2] for edge in solid} == {(1, 0), (2, 1)}


def test_a_large_graph_is_refused():
    lenet5 = Catalog().build("lenet5")
    with pytest.raises(
        ShapeError, match="draw conv1: expected at most 200 units and 2000 connections, got 5488 and 107736"
    ):
        draw_graph(lenet5, "conv1")
    with pytest.raises(ShapeError, match="got 100 and 2100; draw the matrix"):
        draw_graph(one(Dense(30), (70,)), "it")


# ---------------------------------------------------------------------- the kernel


def montage(figure):
    """The image of the only panel, NaN (masked by matplotlib) between the tiles."""
    return np.ma.filled(np.ma.asarray(figure.axes[0].images[0].get_array(), float), np.nan)


def ticks(axis):
    return [t.get_text() for t in axis.get_ticklabels()]


def test_kernels_stand_in_rows_of_output_and_columns_of_input_channels():
    network = one(Conv(4, 3), (2, 8, 8))
    figure = draw_kernel(network, "it")
    image, weight = montage(figure), network.params["it.weight"]
    assert image.shape == (4 * 4 - 1, 2 * 4 - 1)
    for o, c in np.ndindex(4, 2):
        assert np.array_equal(image[4 * o : 4 * o + 3, 4 * c : 4 * c + 3].astype(np.float32), weight[o, c])
    assert np.isnan(image[3::4]).all() and np.isnan(image[:, 3::4]).all()
    (ax,) = figure.axes
    assert (ticks(ax.yaxis), ticks(ax.xaxis)) == (["0", "1", "2", "3"], ["0", "1"])
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("output channel", "input channel")
    assert len(ax.texts) == weight.size
    picture = ax.images[0]
    assert picture.norm.vmax == -picture.norm.vmin == pytest.approx(abs(weight).max())


def test_numbers_of_a_kernel_are_not_rounded_away():
    network = one(Conv(1, 5), (1, 9)).with_params({"it.weight": [[[1, 10, 100, -1234.5, 0.0123]]]})
    assert [t.get_text() for t in draw_kernel(network, "it").axes[0].texts] == ["1", "10", "100", "-1234", "0.012"]


def test_kernels_of_one_input_channel_are_wrapped():
    network = one(Conv(6, 5), (1, 8, 8))
    figure = draw_kernel(network, "it")
    image, (ax,) = montage(figure), figure.axes
    assert image.shape == (11, 17)
    assert np.array_equal(image[6:11, 6:11].astype(np.float32), network.params["it.weight"][4, 0])
    assert (ticks(ax.yaxis), ticks(ax.xaxis)) == (["0–2", "3–5"], [""] * 3)


def test_many_kernels_are_cut_and_counted():
    assert "128 of 4096 kernels" in caption(draw_kernel(one(Conv(64, 3), (64, 4, 4)), "it"))
    assert "64 of 70 kernels" in caption(draw_kernel(one(Conv(70, 3), (1, 4, 4)), "it"))
    assert "kernels" not in caption(draw_kernel(one(Conv(16, 3), (8, 4, 4)), "it"))
    assert "64 of 70 weights" in caption(draw_kernel(one(Subsample(2), (70, 4, 4)), "it"))


def test_a_connection_table_has_gaps():
    network = one(Conv(16, 5, table=C3), (6, 14, 14))
    image, weight = montage(draw_kernel(network, "it")), network.params["it.weight"]
    pairs = iter(weight)
    for o, row in enumerate(C3):
        for c in range(6):
            tile = image[6 * o : 6 * o + 5, 6 * c : 6 * c + 5]
            assert np.array_equal(tile.astype(np.float32), next(pairs)) if c in row else np.isnan(tile).all()


def test_kernels_in_one_dimension_are_rows_and_in_three_slices():
    network = one(Conv(2, 5), (3, 9))
    image, weight = montage(draw_kernel(network, "it")), network.params["it.weight"]
    assert image.shape == (3, 17)
    assert np.array_equal(image[2, 12:].astype(np.float32), weight[1, 2])
    network = one(Conv(2, (2, 3, 4)), (2, 5, 5, 5))
    image, weight = montage(draw_kernel(network, "it")), network.params["it.weight"]
    assert image.shape == (7, 19)
    for o, c, depth in np.ndindex(2, 2, 2):
        left = 10 * c + 5 * depth
        assert np.array_equal(image[4 * o : 4 * o + 3, left : left + 4].astype(np.float32), weight[o, c, depth])


def test_kernels_of_other_layers():
    def labels(layer, shape):
        (ax,) = draw_kernel(one(layer, shape), "it").axes
        return ax.get_ylabel(), ax.get_xlabel()

    assert labels(Conv(4, 3, groups=2), (4, 5, 5)) == ("output channel", "input channel of the group")
    assert labels(ConvTranspose(2, 3), (4, 5, 5)) == ("input channel", "output channel")
    assert labels(ConvTranspose(4, 3, groups=2), (4, 5, 5)) == ("input channel", "output channel of the group")
    assert labels(Dense(5), (2, 5, 5)) == ("output unit", "input channel")

    network = one(LocallyConnected(2, 2), (2, 4, 4))
    figure = draw_kernel(network, "it")
    assert np.array_equal(montage(figure)[3:, 3:].astype(np.float32), network.params["it.weight"][1, 1, :, :, 1, 1])
    assert "the kernels of output site 4 of 9" in caption(figure)

    network = one(Dense(3), (2, 4, 4))
    image = montage(draw_kernel(network, "it"))
    assert np.array_equal(image[10:, 5:].astype(np.float32), network.params["it.weight"][2].reshape(2, 4, 4)[1])

    network = one(Dense(3), (7,))
    figure = draw_kernel(network, "it")
    assert np.array_equal(montage(figure).astype(np.float32), network.params["it.weight"])
    assert "rows are output units" in caption(figure)

    assert montage(draw_kernel(one(AveragePool(2), (1, 4, 4)), "it")).tolist() == [[0.25]]
    network = one(Subsample(2), (6, 4, 4))
    assert np.array_equal(montage(draw_kernel(network, "it"))[0].astype(np.float32), network.params["it.weight"])


def test_a_kernel_of_zeros():
    network = one(Conv(1, 3), (1, 4, 4)).with_params({"it.weight": np.zeros((1, 1, 3, 3))})
    assert not montage(draw_kernel(network, "it")).any()


def test_kernels_need_weights_and_a_matrix():
    with pytest.raises(SimulatorError, match="expected weights, got none for"):
        draw_kernel(one(Conv(1, 3), (1, 4, 4), rng=None), "it")
    with pytest.raises(ShapeError, match="expected a layer that is one matrix, got ReLU"):
        draw_kernel(one(ReLU(), (1, 4, 4)), "it")


# ---------------------------------------------------------------------- activations


def test_maps_are_what_the_network_computes():
    network = Network.sequential((1, 8, 8), [Conv(6, 3), ReLU(), Dense(3)], rng=0)
    x = np.random.default_rng(1).random((1, 8, 8)).astype(np.float32)
    trace = network.run(x[None])
    figure = draw_activations(network, "conv1", x)
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("input (1, 8, 8)", "conv1 (6, 6, 6)")
    assert np.array_equal(np.asarray(left.images[0].get_array(), np.float32), x[0])
    image = np.asarray(np.ma.filled(right.images[0].get_array(), np.nan), np.float32)
    for k, kernel_map in enumerate(trace["conv1"][0]):
        i, j = 7 * (k // 3), 7 * (k % 3)
        assert np.array_equal(image[i : i + 6, j : j + 6], kernel_map)
    assert (ticks(right.yaxis), ticks(right.xaxis)) == (["0–2", "3–5"], [""] * 3)
    assert right.images[0].norm.vmin == -right.images[0].norm.vmax  # responses of both signs: blue and red
    assert draw_activations(network, "relu1", x).axes[1].images[0].norm.vmin == 0


def test_vectors_are_bars():
    network = Network.sequential((1, 4, 4), [Dense(3)], rng=0)
    x = np.random.default_rng(1).random((1, 4, 4))
    ax = draw_activations(network, "dense1", x).axes[1]
    tops = [float(segment[1, 1]) for segment in ax.collections[0].get_segments()]
    np.testing.assert_allclose(tops, network.predict(x[None])[0], rtol=1e-6)


def test_signals_are_lines_below_each_other():
    network = Network.sequential((2, 20), [Conv(3, 5)], rng=0)
    x = np.random.default_rng(1).standard_normal((2, 20))
    ax = draw_activations(network, "conv1", x).axes[1]
    values = network.predict(x[None])[0]
    np.testing.assert_allclose(
        [line.get_ydata() - at for line, at in zip(ax.lines, ax.get_yticks(), strict=True)],
        values,
        rtol=1e-5,
        atol=1e-6,
    )
    assert ticks(ax.yaxis) == ["0", "1", "2"]
    assert np.all(np.diff(ax.get_yticks()) <= -np.ptp(values))  # neighbours cannot hide each other


def test_the_axis_of_signals_says_what_it_measures():
    network = Network.sequential((1, 6), [Conv(2, 3)], rng=0)
    x = np.array([[5.0, 1, 2, 9, 4, 3]])
    signal, maps = draw_activations(network, "conv1", x).axes
    assert signal.get_ylabel() == "value"
    assert np.array_equal(signal.lines[0].get_ydata(), x[0])  # read off the axis as they are
    assert [float(t.get_text().replace("−", "-")) for t in signal.get_yticklabels()] == pytest.approx(
        signal.get_yticks()
    )
    apart = maps.get_yticks()[0] - maps.get_yticks()[1]
    assert maps.get_ylabel() == f"channel (from line to line: {apart:.3g})"


def test_at_most_64_maps():
    figure = draw_activations(Network.sequential((1, 5, 5), [Conv(70, 3)], rng=0), "conv1", np.ones((1, 5, 5)))
    assert figure.axes[1].images[0].get_array().shape == (8 * 4 - 1, 8 * 4 - 1)
    assert "64 of 70 maps" in caption(figure)
    figure = draw_activations(Network.sequential((1, 5), [Conv(70, 3)], rng=0), "conv1", np.ones((1, 5)))
    assert len(figure.axes[1].lines) == 64


def test_colour_pictures_volumes_and_several_inputs():
    x = np.random.default_rng(0).random((3, 6, 6)).astype(np.float32)
    network = Network.sequential((3, 6, 6), [Conv(2, 3)], rng=0)
    shown = draw_activations(network, "conv1", x).axes[0].images[0].get_array()
    assert np.array_equal(np.asarray(shown), x.transpose(1, 2, 0))
    assert draw_activations(network, "conv1", 2 * x).axes[0].images[0].get_array().ndim == 2  # no colours: three maps

    volume = np.arange(8.0).reshape(1, 2, 2, 2)
    figure = draw_activations(Network.input((1, 2, 2, 2)), "input", volume)
    assert montage(figure).tolist() == [
        [0, 1, pytest.approx(np.nan, nan_ok=True), 4, 5],
        [2, 3, pytest.approx(np.nan, nan_ok=True), 6, 7],
    ]

    network = (
        Network.input((1, 2, 2), "a").add_input((1, 2, 2), "b").add(Add(), "a", "b", name="it").add_input((3,), "c")
    )
    samples = {"a": np.ones((1, 2, 2)), "b": np.ones((1, 2, 2)), "c": np.ones(3)}
    titles = [ax.get_title() for ax in draw_activations(network, "it", samples).axes]
    assert titles == ["a (1, 2, 2)", "b (1, 2, 2)", "it (1, 2, 2)"]
    with pytest.raises(ShapeError, match="expected the inputs a, b, got 'a';"):
        draw_activations(network, "it", {"a": np.ones((1, 2, 2))})


# ---------------------------------------------------------------------- the curve


HISTORY = [
    {
        "number": n,
        "loss": 2.0 / n,
        "metrics": {"accuracy": 1 - 1 / n},
        "validation": {"loss": 2.5 / n, "accuracy": 1 - 1.2 / n},
    }
    for n in range(1, 6)
]


def test_the_curve_has_a_panel_for_the_loss_and_one_for_the_accuracy():
    loss, accuracy = draw_curve(HISTORY).axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert [line.get_ydata().tolist() for line in loss.lines] == [
        [2.0 / n for n in range(1, 6)],
        [2.5 / n for n in range(1, 6)],
    ]
    assert accuracy.lines[1].get_ydata().tolist() == [1 - 1.2 / n for n in range(1, 6)]
    assert accuracy.lines[0].get_xdata().tolist() == [1, 2, 3, 4, 5]
    labels = [t.get_text() for t in loss.get_legend().get_texts()]
    assert labels == ["training, mean over the epoch", "test, after the epoch"]


def test_one_epoch_alone_is_a_point_that_can_be_seen():
    for ax in draw_curve(HISTORY[2:3]).axes:
        assert [line.get_marker() for line in ax.lines] == ["o", "s"]
        assert [tick for tick in ax.get_xticks() if ax.get_xlim()[0] <= tick <= ax.get_xlim()[1]] == [3]


def test_epochs_without_validation_or_metrics():
    (ax,) = draw_curve([{"number": 1, "loss": 1.0, "metrics": {}, "validation": {}}]).axes
    assert len(ax.lines) == 1
    later = [{**HISTORY[0], "validation": {}}, *HISTORY[1:]]
    assert draw_curve(later).axes[0].lines[1].get_xdata().tolist() == [2, 3, 4, 5]


def test_a_curve_needs_an_epoch():
    with pytest.raises(ShapeError, match="draw curve: expected at least one epoch, got none"):
        draw_curve([])


# ---------------------------------------------------------------------- files and matplotlib


def sample():
    return np.random.default_rng(0).random((1, 28, 28))


FIGURES = {
    "small matrix": lambda: draw_matrix(one(Conv(1, 3), (1, 4, 4)), "it"),
    "square matrix": lambda: draw_matrix(one(Conv(1, 7, padding=3, padding_mode="circular"), (1, 5, 5)), "it"),
    "large matrix": lambda: draw_matrix(Catalog().build("lenet5", rng=0), "conv1"),
    "wide matrix": lambda: draw_matrix(Catalog().build("lenet5", rng=0), "dense1"),
    "vgg": lambda: draw_matrix(one(Conv(64, 3, padding=1), (64, 224, 224), rng=None), "it"),
    "max pooling": lambda: draw_matrix(Catalog().build("lenet5", rng=0), "pool1", sample()),
    "graph": lambda: draw_graph(one(Conv(1, 3), (1, 4, 4)), "it"),
    "kernel": lambda: draw_kernel(Catalog().build("lenet5", rng=0), "conv2"),
    "one kernel": lambda: draw_kernel(one(Conv(1, 3), (1, 8)), "it"),
    "activations": lambda: draw_activations(Catalog().build("lenet5", rng=0), "conv2", sample()),
    "curve": lambda: draw_curve(HISTORY),
}


@pytest.mark.parametrize("name", FIGURES)
def test_words_lie_inside_and_do_not_overlap(name):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = FIGURES[name]()
    FigureCanvasAgg(figure).draw()
    words = [*figure.texts]
    for ax in figure.axes:
        words += [ax.title, ax.xaxis.label, ax.yaxis.label]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                words += [tick.label1, tick.label2] if low <= tick.get_loc() <= high else []
    boxes = [(w.get_text(), w.get_window_extent()) for w in words if w.get_text() and w.get_visible()]
    width, height = figure.get_size_inches() * figure.dpi
    shown = [(text, box) for text, box in boxes if box.width and box.height]
    assert len(shown) >= 2
    for text, box in shown:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text
    for (a, box), (b, other) in itertools.combinations(shown, 2):
        overlap = min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0)
        assert min(overlap) < 1, (a, b)  # of a pixel


def test_png_svg_and_pdf(tmp_path):
    from matplotlib.image import imread

    figure = draw_matrix(one(Conv(1, 3), (1, 4, 4)), "it")
    save(figure, tmp_path / "a.png")
    save(figure, str(tmp_path / "b.SVG"))
    width, height = figure.get_size_inches() * 150
    assert imread(tmp_path / "a.png").shape == (math.floor(height), math.floor(width), 4)
    assert ElementTree.parse(tmp_path / "b.SVG").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    save(figure, tmp_path / "c.pdf")
    assert (tmp_path / "c.pdf").read_bytes().startswith(b"%PDF-")
    assert sorted(os.listdir(tmp_path)) == ["a.png", "b.SVG", "c.pdf"]


def test_other_files_are_refused(tmp_path):
    figure = draw_curve(HISTORY)
    with pytest.raises(FileError, match=r"save: expected a file that ends in .png, .svg or .pdf, got 'a.jpg'"):
        save(figure, tmp_path / "a.jpg")
    with pytest.raises(FileError, match=r"save: expected an existing folder, got .*missing; create it first"):
        save(figure, tmp_path / "missing" / "a.png")
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"save: expected an existing folder, got .*file; create it first"):
        save(figure, tmp_path / "file" / "a.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(FileError, match=r"save: expected the name of a file, got the folder .*folder.png"):
        save(figure, tmp_path / "folder.png")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]


def test_a_failed_save_leaves_the_old_file(tmp_path):
    from matplotlib.figure import Figure

    class Disk(Figure):
        def savefig(self, path, **options):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")

    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(FileError, match="save: expected to write .*a.png, got .*No space left on device; free space"):
        save(Disk(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    network = one(Conv(1, 3), (1, 4, 4))
    for draw in (draw_matrix, draw_graph, draw_kernel):
        with pytest.raises(SimulatorError, match=r"draw: expected matplotlib, got none; pip install matplotlib"):
            draw(network, "it")
    with pytest.raises(SimulatorError, match="expected matplotlib"):
        draw_activations(network, "it", np.zeros((1, 4, 4)))
    with pytest.raises(SimulatorError, match="expected matplotlib"):
        draw_curve(HISTORY)


def test_no_import_at_the_top_and_no_global_state():
    program = (
        "import sys, simulator.draw as draw\n"
        "assert 'matplotlib' not in sys.modules\n"
        "draw.draw_curve([{'number': 1, 'loss': 1.0, 'metrics': {}, 'validation': {}}])\n"
        "assert 'matplotlib.figure' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_products_stand_where_their_sources_do():
    x = np.random.default_rng(1).random((2, 6, 6))
    net = Network.sequential((2, 6, 6), [Conv(3, 3, padding=1), ReLU(), Dense(4)], rng=0, dtype="float64")
    trace = net.run(x[None])
    figure = draw_products(net, "conv1[1, 2, 3]", x)
    ax = figure.axes[0]
    products = net.params["conv1.weight"][1] * x[:, 1:4, 2:5]
    assert ax.get_title() == "input[0:2, 1:4, 2:5]"
    image = np.ma.filled(ax.images[0].get_array().astype(float), np.nan)
    np.testing.assert_allclose(image[:, :3], products[0])
    np.testing.assert_allclose(image[:, -3:], products[1])
    bias = net.params["conv1.bias"][1]
    value = trace["conv1"][0, 1, 2, 3]
    told = f"18 products {products.sum():.6g} + bias {bias:.6g} = {value:.6g}; the unit's value is {value:.6g}"
    assert " ".join(figure.get_supxlabel().split()).startswith(told)
    corner = draw_products(net, "conv1[0, 0, 0]", x).axes[0]
    assert corner.get_title() == "input[0:2, 0:2, 0:2]"
    flat = draw_products(Network.sequential((5,), [Dense(2)], rng=0), "dense1[1]", np.arange(5)).axes[0]
    assert (flat.get_title(), flat.get_ylabel()) == ("input[0:5]", "product")


def test_products_of_several_inputs_have_one_scale_and_of_none_no_panel():
    net = Network.input((1, 2, 2)).add(ReLU(), name="a").add(Conv(1, 1), "input", name="b", rng=0)
    net = net.add(Add(), "a", "b", name="sum")
    figure = draw_products(net, "sum[0, 0, 0]", [[[9, 0], [0, 0]]])
    assert [ax.get_title() for ax in figure.axes[:2]] == ["a[0:1, 0:1, 0:1]", "b[0:1, 0:1, 0:1]"]
    assert figure.axes[0].images[0].get_clim() == figure.axes[1].images[0].get_clim()
    silent = draw_products(net, "a[0, 0, 0]", np.full((1, 2, 2), -1.0))
    assert silent.get_supxlabel() == "it reads nothing at this sample; its value is 0"


def contrast(one, other):
    """Of two colours, as WCAG 2 counts it, from 1 to 21."""

    def light(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colors.to_rgb(colour)]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722))) + 0.05

    return max(light(one), light(other)) / min(light(one), light(other))


@pytest.mark.parametrize("dark", [False, True])
def test_every_word_can_be_read_on_light_and_on_dark_paper(dark):
    from matplotlib.axes import Axes

    x = np.random.default_rng(0).random((1, 8, 8))
    net = Network.sequential((1, 8, 8), [Conv(2, 3), ReLU(), Dense(3)], rng=0)
    epoch = {"number": 1, "loss": 2.3, "metrics": {"accuracy": 0.1}, "validation": {}}
    figures = [
        draw_matrix(net, "conv1"),
        draw_matrix(Network.sequential((1, 40, 40), [Conv(1, 3)]), "conv1"),
        draw_kernel(net, "conv1"),
        draw_activations(net, "dense1", x),
        draw_curve([epoch, epoch]),
        draw_graph(Network.sequential((1, 3, 3), [Conv(1, 2)]), "conv1"),
        draw_products(net, "conv1[0, 0, 0]", x),
        draw_window(net, "conv1[0, 0, 0]", x),
        draw_layer_graph(layer_graph(net)),
        draw_unit_graph(unit_graph(net, "conv1[0, 0, 0]")),
    ]
    for figure in figures:
        if dark:
            darken(figure)
        paper = figure.get_facecolor()
        assert contrast(paper, "w") > 15 if dark else contrast(paper, "w") == 1
        words = [(text, paper) for text in figure.texts]
        for ax in figure.findobj(Axes):
            words += [(text, paper) for text in (ax.title, ax.xaxis.label, ax.yaxis.label)]
            words += [(tick.label1, paper) for axis in (ax.xaxis, ax.yaxis) for tick in axis.get_major_ticks()]
            if ax.get_legend() is not None:
                below = ax.get_legend().get_frame().get_facecolor() if ax.get_legend().get_frame_on() else paper
                words += [(text, below) for text in ax.get_legend().get_texts()]
            if not ax.images:
                for text in ax.texts:
                    box = text.get_bbox_patch()
                    words.append((text, ax.get_facecolor() if box is None else box.get_facecolor()))
        for text, below in words:
            assert not text.get_text() or contrast(text.get_color(), below) > 4, text


def test_lines_part_the_cells_of_small_matrices():
    for size, parted in ((6, True), (10, False)):
        pool = Network.sequential((2, size, size), [AveragePool(2)])
        (ax,) = draw_matrix(pool, "averagepool1").axes[:1]
        assert (len(ax.get_xticks(minor=True)) == 2 * size**2) == parted == (2 * size**2 <= 80)
