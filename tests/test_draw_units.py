"""Pictures of experiments on units are read back: bars, tiles and boxes say what was found."""

import numpy as np
import pytest

from simulator import Catalog, Conv, Dataset, Dense, Network, ReLU
from simulator.draw import draw_ablation, draw_responses, save
from simulator.lab import ablation, preferred_input, strongest

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def net():
    layers = [Conv(6, kernel=3), ReLU(), Conv(70, kernel=1), Dense(10)]
    return Network.sequential((1, 8, 8), layers, rng=0, dtype=np.float64)


@pytest.fixture(scope="module")
def data():
    return Catalog().load_data("digits").take(slice(40))


@pytest.mark.parametrize(("layer", "by", "label"), [("relu1", "channel", "channel"), ("dense1", "unit", "unit")])
def test_bars(net, data, layer, by, label):
    found = ablation(net, data, layer, by, value="mean")
    figure = draw_ablation(found)
    (ax,) = figure.axes
    assert figure.get_suptitle() == f"{layer}: each {by} clamped to its mean"
    assert (ax.get_xlabel(), ax.get_ylabel()) == (label, "loss after − before")
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], found.harm)
    red, blue = (matplotlib.colors.to_rgba(name) for name in ("tab:red", "tab:blue"))
    assert [bar.get_facecolor() for bar in ax.patches] == [red if h > 0 else blue for h in found.harm]
    caption = f"of the whole net on 40 samples: loss {found.loss_before:.4g}, accuracy {found.accuracy_before:.1%}"
    assert figure.get_supxlabel().replace("\n", " ") == caption


def test_a_map_for_each_channel(net, data):
    found = ablation(net, data, "relu1")
    image = draw_ablation(found).axes[0].images[0]
    cells = image.get_array()
    assert cells.shape == (2 * 6 + 1, 3 * 6 + 2)
    shown = cells.filled(np.nan) if np.ma.isMaskedArray(cells) else cells
    for k in range(6):
        row, column = divmod(k, 3)
        np.testing.assert_array_equal(shown[row * 7 : row * 7 + 6, column * 7 : column * 7 + 6], found.harm[k])
    assert image.norm.vmax == -image.norm.vmin == np.abs(found.harm).max()


def test_the_sites_are_one_map(net, data):
    found = ablation(net, data, "input", "site", value=1.0)
    figure = draw_ablation(found)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), found.harm)
    assert figure.get_suptitle() == "input: each site clamped to 1"
    caption = figure.get_supxlabel().replace("\n", " ")
    assert "colours: loss after − before, red where it grows, blue where it falls" in caption
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("column", "row")
    assert [label.get_text() for label in ax.get_yticklabels()] == list(map(str, range(len(found.harm))))


def test_no_more_than_64_channels(net, data):
    targets = np.random.default_rng(0).standard_normal((3, 10))
    loss = Catalog().create("losses", "squared-error")
    figure = draw_ablation(ablation(net, Dataset(data.inputs[:3], targets), "conv2", loss=loss))
    caption = figure.get_supxlabel().replace("\n", " ")
    assert "64 of 70 channels" in caption and "accuracy" not in caption
    assert figure.axes[0].images[0].get_array().shape == (8 * 7 - 1, 8 * 7 - 1)


def test_responses(net, data, tmp_path):
    found = strongest(net, "conv1[2]", data, count=6)
    climb = preferred_input(net, ("conv1", found.fields[0].position), x0=found.inputs[0], steps=3)
    figure = draw_responses(found, climb)
    assert figure.get_suptitle() == "conv1[2]: strongest samples and preferred input"
    named = [ax for ax in figure.axes if ax.get_title()]
    numbers = [f"{n}: {v:.4g}" for n, v in zip(found.samples, found.values, strict=True)]
    assert [ax.get_title() for ax in named] == [f"preferred: {climb.value:.4g}", *numbers]
    np.testing.assert_array_equal(named[0].images[0].get_array(), climb.x[0])
    for ax, x, field in zip(named[1:], found.inputs, found.fields, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), x[0])
        (box,) = ax.patches
        (top, bottom), (left, right) = field.box[1:]
        assert (*box.get_xy(), box.get_width(), box.get_height()) == (left - 0.5, top - 0.5, right - left, bottom - top)
    save(figure, tmp_path / "responses.png")
    assert draw_responses(found).get_suptitle() == "conv1[2]: strongest samples"


@pytest.mark.parametrize("shape", [(5,), (2, 9), (2, 6, 6), (3, 6, 6), (1, 4, 4, 4)])
def test_inputs_of_every_shape(shape, tmp_path):
    net = Network.sequential(shape, [Dense(2)], rng=0)
    x = np.random.default_rng(0).random((4, *shape))
    found = strongest(net, "dense1[0]", x, count=2)
    figure = draw_responses(found, preferred_input(net, "dense1[0]", steps=2, norm=1.0))
    save(figure, tmp_path / "responses.png")
    boxes = [len(ax.patches) for ax in figure.axes if ax.get_title()]
    assert boxes == ([0, 1, 1] if shape == (3, 6, 6) else [0, 0, 0])
    assert ("in red: what the unit sees" in figure.get_supxlabel()) == any(boxes)
