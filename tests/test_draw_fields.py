"""Pictures of fields show what receptive_field, paths and influence say."""

import numpy as np
import pytest

from simulator import AveragePool, Conv, Dense, MaxPool, Network, ReLU, ShapeError, SimulatorError, UnknownNameError
from simulator.lab import influence, paths

pytest.importorskip("matplotlib")

from simulator.draw import draw_field


@pytest.fixture
def net():
    return Network.sequential((2, 12, 10), [Conv(3, 3, dilation=2), ReLU(), MaxPool(2), Dense(4), Dense(2)], rng=0)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(2, 12, 10))


def image(ax):
    return np.ma.filled(ax.images[0].get_array(), np.nan)


def titles(figure):
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


def test_an_image_of_each(net, x, agree):
    figure = draw_field(net, "relu1[1, 3, 2]", x)
    assert titles(figure) == ["input (2, 12, 10), the field in red", "number of paths", "influence"]
    assert figure.get_suptitle() == "What relu1[1, 3, 2] sees"
    sample, counts, slopes = (ax for ax in figure.axes if ax.get_title())
    agree(image(sample), x.mean(axis=0), 1e-6)
    expected = paths(net, "relu1[1, 3, 2]").sum(axis=0)
    np.testing.assert_allclose(10 ** image(counts)[expected > 0], expected[expected > 0].astype(float))
    assert np.isnan(image(counts)[expected == 0]).all()
    slope = np.abs(influence(net, "relu1[1, 3, 2]", x)).sum(axis=0)
    agree(np.nan_to_num(image(slopes)), slope, 1e-6)
    # Nine single sites, each with four edges.
    assert sum(len(lines.get_segments()) for lines in counts.collections if lines.get_color() is not None) == 36
    assert (
        "18 of 240 units of input, within 0:2 x 3:8 x 2:7; 5 x 5 sites away from the borders" in figure.get_supxlabel()
    )
    assert "at most 2 paths from a site" in figure.get_supxlabel()


def test_a_field_without_a_sample_needs_no_weights():
    net = Network.sequential((1, 8, 8), [Conv(4, 3), Conv(1, 3)])
    figure = draw_field(net, "conv2[0, 1, 1]")
    assert titles(figure) == ["field in input (1, 8, 8)", "number of paths"]
    np.testing.assert_array_equal(np.isfinite(image(figure.axes[0])), net.receptive_field("conv2[0, 1, 1]").mask[0])


def test_a_large_picture_is_cut_around_the_field():
    figure = draw_field(Network.sequential((3, 200, 200), [Conv(1, 3)]), "conv1[0, 50, 100]")
    assert figure.axes[0].get_xlim() == (95.5, 106.5)
    assert figure.axes[0].get_ylim() == (56.5, 45.5)
    colours = draw_field(
        Network.sequential((3, 20, 20), [Conv(1, 3)], rng=0), "conv1[0, 5, 5]", np.full((3, 20, 20), 0.5)
    )
    assert image(colours.axes[0]).shape == (20, 20, 3)


def test_lines_and_vectors(net, x):
    line = Network.sequential((2, 30), [Conv(1, 3), AveragePool(2)], rng=0)
    figure = draw_field(line, "averagepool1[0, 3]", np.ones((2, 30)))
    assert [ax.get_xlabel() for ax in figure.axes] == ["site"] * 3
    (shade,) = figure.axes[1].patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (5.5, 9.5)
    figure = draw_field(net, "dense2[1]", x, of="dense1")
    assert [ax.get_xlabel() for ax in figure.axes] == ["unit"] * 3
    heights = [segment[1, 1] for segment in figure.axes[2].collections[0].get_segments()]
    np.testing.assert_allclose(heights, np.abs(net.params["dense2.weight"][1]), rtol=1e-6)


def test_a_unit_that_sees_nothing():
    net = Network.sequential((1, 2, 2), [Conv(1, 1, padding=2)])
    assert "0 of 4 units of input" in draw_field(net, "conv1[0, 0, 0]").get_supxlabel()


def test_what_cannot_be_drawn(net, x):
    with pytest.raises(ShapeError, match=r"draw conv1.*: expected the field in a node of at most two axes of space"):
        draw_field(Network.sequential((1, 3, 3, 3), [Conv(1, 2)]), "conv1[0, 0, 0, 0]")
    with pytest.raises(ShapeError, match="expected a single unit, got conv1, which is 144"):
        draw_field(net, "conv1")
    with pytest.raises(ShapeError, match=r"draw conv1.*: expected one sample of shape \(2, 12, 10\)"):
        draw_field(net, "conv1[0, 0, 0]", x[None])
    with pytest.raises(UnknownNameError, match="expected a node, got 'inputs'"):
        draw_field(net, "conv1[0, 0, 0]", of="inputs")
    with pytest.raises(SimulatorError, match="expected weights"):
        draw_field(Network.sequential((1, 8), [Conv(1, 3)]), "conv1[0, 0]", np.ones((1, 8)))
