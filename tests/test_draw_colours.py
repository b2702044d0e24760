"""What captions say of colours is measured on the drawn picture, as several kinds of eyes see it."""

import itertools

import numpy as np
import pytest

from simulator import Conv, Dense, Network
from simulator.draw import draw_graph, draw_matrix
from simulator.draw.colours import PALE, TABLES, diverging, ink_on, palette, weight_colours

with np.printoptions():  # which it changes for the whole process when it is imported
    colour = pytest.importorskip("colour", reason="colour-science measures differences of colours")
FigureCanvasAgg = pytest.importorskip("matplotlib.backends.backend_agg").FigureCanvasAgg

pytestmark = pytest.mark.filterwarnings("ignore:.*simulation of tritanomaly is based on the shift paradigm")

EYES = [None, "Protanomaly", "Deuteranomaly", "Tritanomaly"]  # as Machado (2009) calls them; severity 1: one cone less


def seen(rgb, eyes):
    """sRGB (n, 3) from 0 to 1 in CIELAB, as such eyes see it."""
    linear = colour.models.eotf_sRGB(np.asarray(rgb, float))
    if eyes is not None:
        linear = linear @ np.asarray(colour.matrix_cvd_Machado2009(eyes, 1.0)).T
    srgb = colour.RGB_COLOURSPACES["sRGB"]
    return colour.XYZ_to_Lab(np.clip(linear, 0, 1) @ np.asarray(srgb.matrix_RGB_to_XYZ).T, srgb.whitepoint)


def least_difference(rgb, others=()):
    """The least CIEDE2000 of two colours, and of one of them and one of the others, for all eyes."""
    least = np.inf
    for eyes in EYES:
        a, b = seen(rgb, eyes), seen([*rgb, *others], eyes)
        apart = colour.delta_E(a[:, None], b[None], method="CIE 2000")
        apart[np.arange(len(a)), np.arange(len(a))] = np.inf
        least = min(least, float(apart.min()))
    return least


def in_the_middle_of_cells(figure, cells):
    """The colour of the drawn picture beside the number in each cell, (cells, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3] / 255
    ax = figure.axes[-1]
    at = ax.transData.transform([(j - 0.3, i - 0.3) for i, j in cells])  # away from numbers and lines
    return np.array([pixels[len(pixels) - 1 - int(y), int(x)] for x, y in at])


LINES = [(1, 1, 1), (0, 0, 0), (0xBF / 255,) * 3, (0xE5 / 255,) * 3]  # zero, channels, rows of a map, cells


def test_the_measure_is_the_published_one():
    # The first pair of Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula", 2005, table 1.
    assert colour.delta_E((50, 2.6772, -79.7751), (50, 0, -82.7485), method="CIE 2000") == pytest.approx(
        2.0425, abs=1e-4
    )


@pytest.mark.parametrize(("channels", "reads"), [(1, 1), (2, 1), (1, 3), (2, 2)])
def test_all_weights_of_3x3_kernels_can_be_told_apart_by_all_eyes(channels, reads):
    network = Network.sequential((reads, 4, 4), [Conv(channels, 3)], rng=0)
    figure = draw_matrix(network, "conv1")
    rows, columns, ties = network.node("conv1").pattern.triplets()
    first = np.unique(ties, return_index=True)[1]
    assert len(first) == 9 * channels * reads
    drawn = in_the_middle_of_cells(figure, list(zip(rows, columns, strict=True)))
    shown = drawn[first]
    assert np.array_equal(drawn, shown[ties])  # one weight, one colour
    assert least_difference(shown, LINES) > 10
    assert "equal colours are equal weights" in figure.get_supxlabel()


def test_numbers_can_be_read_on_every_colour():
    def luminance(rgb):
        return colour.RGB_to_XYZ(rgb, "sRGB", apply_cctf_decoding=True)[1]

    for rgb in [*palette(36), *palette(9), *diverging()(np.linspace(0, 1, 50))[:, :3], (0xBF / 255,) * 3]:
        ink = luminance((1, 1, 1) if ink_on(rgb) == "w" else (0, 0, 0))
        low, high = sorted([luminance(rgb), ink])
        assert (high + 0.05) / (low + 0.05) > 4.5  # what WCAG 2.1 asks for


def test_the_tables_keep_what_they_say():
    for distance, table in TABLES:
        colours = palette(len(table.split()))
        assert least_difference(colours, LINES) > distance >= 10
    assert [len(table.split()) for _, table in TABLES] == [12, 36]


def test_no_number_of_weights_gets_colours_that_are_too_near():
    for count in (*range(1, 37), 37, 54, 150, 2400):
        values = np.random.default_rng(count).normal(size=count)
        found = weight_colours(np.arange(count), np.arange(count) // 9, values)
        assert (found.note == "equal colours are equal weights") == (count <= 36)
        if count <= 36:
            assert least_difference(found.of, LINES) > 10
        else:
            assert found.note == "colours are values; different weights may have equal colours"


def test_values_are_told_apart_from_zero_and_by_sign():
    scale = diverging()
    below, above = scale(np.linspace(0, 0.5, 101))[:, :3], scale(np.linspace(1, 0.5, 101))[:, :3]
    for eyes in EYES:
        white = seen([(1, 1, 1)], eyes)
        for half in (below, above):
            lab = seen(half, eyes)
            assert np.all(np.diff(lab[:, 0]) > 0)  # the larger the darker
            assert colour.delta_E(lab, white, method="CIE 2000").min() > 10  # a weight of 0 is a connection
            assert colour.delta_E(lab[:80], lab[-1], method="CIE 2000").min() > 10  # 0.2 of the largest is not 0
        opposite = colour.delta_E(seen(below[:80], eyes), seen(above[:80], eyes), method="CIE 2000")
        assert opposite.min() > 10


def test_a_graph_has_the_colours_of_the_matrix():
    network = Network.sequential((1, 3, 3), [Conv(2, 2)], rng=0)
    matrix, graph = draw_matrix(network, "conv1"), draw_graph(network, "conv1")
    image = np.asarray(matrix.axes[0].images[0].get_array())
    rows, columns, _ = network.node("conv1").pattern.triplets()
    lines = np.concatenate([lines.get_colors() for lines in graph.axes[0].collections])[:, :3]
    assert {tuple(c) for c in lines} == {tuple(image[i, j]) for i, j in zip(rows, columns, strict=True)}
    many = draw_graph(Network.sequential((20,), [Dense(10)], rng=0), "dense1")
    assert "different weights may have equal colours" in many.get_supxlabel()
    assert len(many.axes[0].child_axes) == 1


def test_a_value_that_is_no_number():
    values = [np.nan, np.inf, -np.inf, *range(40)]
    found = weight_colours(range(43), [0] * 43, values)
    assert found.note.endswith("; black: not a number")
    assert found.of[0].tolist() == [0, 0, 0]
    assert np.array_equal(found.of[1], diverging()(1.0)[:3])
    assert found.scale.get_clim() == (-39, 39)
    assert PALE == "#bfbfbf"


def test_small_tables_are_further_apart():
    assert least_difference(palette(9)) > 15 > least_difference(palette(20))
    assert all(len(a[1].split()) < len(b[1].split()) for a, b in itertools.pairwise(TABLES))
