"""The slide of one window: every panel must show the same weights, in the same colours, as the matrix has them."""

import itertools
import re

import numpy as np
import pytest
from scipy import sparse

from simulator import (
    Add,
    AveragePool,
    Conv,
    ConvTranspose,
    Dense,
    FileError,
    LocallyConnected,
    MaxPool,
    Network,
    NotInstalledError,
    ReLU,
    ShapeError,
    Sigmoid,
    Sparse,
    Subsample,
    TiedMatrix,
)
from simulator.draw import draw_window, save_frames, walk_window

pytest.importorskip("matplotlib")

RNG = np.random.default_rng(0)
FAINT = (0xE5 / 255,) * 3


def one(layer, shape):
    """A network of one layer called "it", in float64."""
    return Network.input(shape, dtype="float64").add(layer, name="it", rng=1)


def image(ax):
    return np.asarray(ax.images[0].get_array())[..., :3]


def panels(figure):
    """Kernel, input, output, matrix, formula."""
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"][:5]


def frames(ax):
    """Rectangles as (x, y, width, height)."""
    return [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in ax.patches]


def outlined(ax, shape):
    """Cells of an image that lie within the outline: an odd number of its vertical lines stands left of each."""
    inside = np.zeros(shape, bool)
    for collection in ax.collections:
        for (x0, y0), (x1, y1) in collection.get_segments():
            if x0 == x1:
                inside[round(min(y0, y1) + 0.5), round(x0 + 0.5) :] ^= True
    return inside


def formula(figure):
    return re.sub(r"\s+", " ", "".join(text.get_text() + " " for text in panels(figure)[4].texts)).strip()


WINDOWED = [
    (Conv(2, 3, padding=1), (1, 5, 6), (1, 0, 2)),
    (Conv(2, 3, stride=2, dilation=2), (2, 7, 7), (1, 1, 1)),
    (Conv(1, 3), (1, 6), (0, 2)),
    (Conv(1, 3, padding=1, padding_mode="circular"), (1, 5, 5), (0, 0, 0)),
    (Conv(2, 3, groups=2), (2, 5, 5), (1, 1, 1)),
    (ConvTranspose(1, 3, stride=2), (1, 3, 3), (0, 2, 2)),
    (LocallyConnected(1, 2), (1, 3, 3), (0, 1, 1)),
    (LocallyConnected(1, 3), (1, 8, 8), (0, 2, 2)),  # 9 weights in the row, 324 in the matrix
    (Conv(8, 3), (1, 4, 4), (3, 1, 1)),
    (AveragePool(2), (2, 4, 4), (1, 1, 0)),
    (Subsample(2), (1, 4, 4), (0, 1, 1)),
    (Dense(3), (2, 2, 2), (1,)),
    (Dense(3), (7,), (2,)),
]


@pytest.mark.parametrize(("layer", "shape", "position"), WINDOWED, ids=lambda value: str(value)[:24])
def test_the_panels_show_one_row_of_the_matrix(layer, shape, position):
    network = one(layer, shape)
    x = RNG.standard_normal(shape)
    unit = ("it", position)
    figure = draw_window(network, unit, x)
    kernel, source, _output, matrix, _ = panels(figure)
    pattern, weight = network.node("it").pattern, network.node("it").matrix.weight.ravel()
    number = np.ravel_multi_index(position, network.node("it").shape)

    # The row that is framed is that of the unit, and its coloured cells are its connections.
    ((_, y, _, height),) = frames(matrix)
    assert (y + 0.5, height) == (number, 1)
    left, _, _, top = matrix.images[0].get_extent()
    row = image(matrix)[number - round(top + 0.5)]
    columns, ties = pattern.row(number)
    coloured = np.flatnonzero(np.any(row < 1, axis=1)) + round(left + 0.5)
    assert set(coloured) == set(columns)

    # Each weight has the same colour in the kernel, in the matrix and in the formula; the others are pale.
    of_tie = {tie: tuple(row[column - round(left + 0.5)]) for column, tie in zip(columns, ties, strict=True)}
    in_kernel = {tuple(c) for c in image(kernel).reshape(-1, 3)} - {FAINT, (1.0, 1.0, 1.0)}
    assert in_kernel == set(of_tie.values())
    boxes = [text.get_bbox_patch() for text in panels(figure)[4].texts if text.get_bbox_patch() is not None]
    assert {tuple(box.get_facecolor()[:3]) for box in boxes} <= set(of_tie.values())
    written = [float(t.get_text()) for t in kernel.texts if tuple(image(kernel)[_cell(t)]) in in_kernel]
    np.testing.assert_allclose(sorted(written), sorted(weight[ties]), rtol=0.06, atol=1e-3)

    # The window in the input covers what is read.
    field = network.receptive_field("it", number, "input").mask
    if len(shape) == 1:
        assert outlined(source, (1, *shape))[0].all() == field.all()
    elif shape[0] == 1 and getattr(layer, "padding", 0) == 0:
        assert np.array_equal(outlined(source, image(source).shape[:2]).reshape(field.shape), field)

    value = float(network.run(x[None])["it"].reshape(-1)[number])
    assert float(formula(figure).rsplit("= ", 1)[1]) == pytest.approx(value, rel=0.06)


def _cell(text):
    x, y = text.get_position()
    return round(y), round(x)


def test_taps_on_the_padding_are_pale_and_the_window_reaches_beyond_the_input():
    network = one(Conv(1, 3, padding=1), (1, 4, 4))
    figure = draw_window(network, "it[0, 0, 0]", np.ones((1, 4, 4)))
    kernel, source, *_ = panels(figure)
    pale = np.all(np.isclose(image(kernel), FAINT), axis=2)
    assert np.array_equal(pale, [[True, True, True], [True, False, False], [True, False, False]])
    assert image(source).shape[:2] == (6, 6)
    assert np.array_equal(np.argwhere(outlined(source, (6, 6)))[[0, -1]], [[0, 0], [2, 2]])
    assert "pale: weights that this unit does not use" in " ".join(figure.get_supxlabel().split())


def test_a_constant_on_the_padding_is_in_the_sum():
    network = one(Conv(1, 3, padding=1, pad_value=2.0, bias=False), (1, 3, 3))
    network = network.with_params({"it.weight": np.ones((1, 1, 3, 3))})
    assert formula(draw_window(network, "it[0, 0, 0]", np.ones((1, 3, 3)))).endswith("+ 10 (5 on padding) = 14")


def test_max_pooling_shows_what_it_chose():
    network = one(MaxPool(2), (1, 4, 4))
    x = np.array([[[1, 2, 0, 0], [3, 5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]], float)
    figure = draw_window(network, "it[0, 0, 0]", x)
    kernel, *_ = panels(figure)
    assert [t.get_text() for t in kernel.texts] == ["0", "0", "0", "1"]
    assert kernel.get_title() == "kernel of it[0], at this sample"
    assert formula(figure) == "it[0, 0, 0] = max(1, 2, 3, 5) = 1 × 5 = 5"


def test_where_several_weights_share_a_cell_the_kernel_shows_each_of_them():
    network = one(Conv(1, 7, padding=3, padding_mode="circular", bias=False), (1, 3, 3))
    kernel, _, _, matrix, _ = panels(draw_window(network, "it[0, 1, 1]", np.ones((1, 3, 3))))
    assert len(np.unique(image(kernel).reshape(-1, 3), axis=0)) > 30  # of 49 weights, on a scale of 256 colours
    assert len(np.unique(image(matrix)[4], axis=0)) == 9  # sums
    for text in kernel.texts:  # blue below 0, red above
        red, _, blue = image(kernel)[_cell(text)]
        if abs(float(text.get_text())) > 0.05:
            assert (float(text.get_text()) > 0) == (red > blue)


def test_only_what_is_read_is_outlined():
    matrix = sparse.csr_array(([1.0, 2.0], ([0, 0], [0, 7])), shape=(1, 8))
    network = one(Sparse(TiedMatrix.from_sparse(matrix, [0, 1]).pattern), (2, 2, 2))
    figure = draw_window(network, "it[0]", np.ones((2, 2, 2)))
    assert np.argwhere(outlined(panels(figure)[1], (2, 5))).tolist() == [[0, 0], [1, 4]]
    assert "pale" not in figure.get_supxlabel()  # what it does not read is blank


def test_pale_is_what_is_not_used_or_not_chosen():
    figure = draw_window(one(MaxPool(2), (1, 2, 2)), "it[0, 0, 0]", np.arange(4.0).reshape(1, 2, 2))
    assert "pale: inputs that this unit does not choose" in " ".join(figure.get_supxlabel().split())
    figure = draw_window(one(Conv(1, 2), (1, 2, 2)), "it[0, 0, 0]", np.ones((1, 2, 2)))
    assert "pale" not in figure.get_supxlabel()


def test_a_unit_that_reads_nothing():
    network = Network.sequential((1, 3, 3), [Conv(1, 1, bias=False), ReLU()], rng=0, dtype="float64")
    network = network.with_params({"conv1.weight": -np.ones((1, 1, 1, 1))})
    figure = draw_window(network, "relu1[0, 1, 1]", np.ones((1, 3, 3)))
    assert formula(figure) == "relu1[0, 1, 1] = 0: it reads nothing at this sample"
    assert panels(figure)[1].get_title() == "conv1 (1, 3, 3)"
    padded = one(Conv(1, 1, padding=1), (1, 2, 2)).with_params({"it.bias": [2.0]})
    assert formula(draw_window(padded, "it[0, 0, 0]", np.ones((1, 2, 2)))) == "it[0, 0, 0] = 2 (bias) = 2"
    assert not outlined(panels(draw_window(padded, "it[0, 0, 0]", np.ones((1, 2, 2))))[1], (4, 4))[1:].any()


def test_of_many_channels_those_with_the_largest_products():
    network = one(Conv(1, 1, bias=False), (9, 2, 2))
    network = network.with_params({"it.weight": np.arange(9.0).reshape(1, 9, 1, 1)})
    figure = draw_window(network, "it[0, 0, 0]", np.ones((9, 2, 2)))
    assert [t.get_text() for t in panels(figure)[0].texts] == ["3", "4", "5", "6", "7", "8"]
    assert "6 of 9 input channels: those with the largest products" in " ".join(figure.get_supxlabel().split())


def test_a_part_of_a_large_matrix():
    network = Network.sequential((1, 28, 28), [Conv(6, 5, padding=2)], rng=0, dtype="float64")
    figure = draw_window(network, "conv1[2, 14, 3]", RNG.standard_normal((1, 28, 28)))
    matrix = panels(figure)[3]
    number = 2 * 784 + 14 * 28 + 3
    left, right, bottom, top = matrix.images[0].get_extent()
    assert top < number < bottom
    columns, _ = network.node("conv1").pattern.row(number)
    assert left < columns.min() < columns.max() < right
    assert matrix.get_title().endswith("; the part around this row")
    deep = Network.sequential((6, 14, 14), [Conv(2, 5)], rng=0)
    title = panels(draw_window(deep, "conv1[1, 4, 5]", np.ones((6, 14, 14))))[3].get_title()
    assert " ".join(title.split()).endswith("; the part around this row, 25 of its 150 connections")


def test_numbers_are_written_where_there_is_room_or_on_demand():
    network = one(Conv(1, 3), (1, 30, 30))
    x = RNG.standard_normal((1, 30, 30))
    count = [len(panels(draw_window(network, "it[0, 0, 0]", x, values=v))[1].texts) for v in (None, True, False)]
    assert count == [0, 900, 0]
    assert not panels(draw_window(network, "it[0, 0, 0]", x, values=False))[0].texts


def test_the_title_says_whether_a_window_slides():
    x = np.ones((1, 2, 2))
    assert draw_window(one(Dense(2), (1, 2, 2)), "it[1]", x).get_suptitle() == (
        "it[1]: what a unit reads is a row of the matrix"
    )
    assert draw_window(one(Conv(1, 2), (1, 2, 2)), "it[0, 0, 0]", x).get_suptitle() == (
        "it[0, 0, 0]: a window on the input is a row of the matrix"
    )


def test_a_walk_visits_every_position_and_keeps_the_colours():
    network = one(Conv(2, 3, padding=1), (1, 2, 3))
    x = RNG.standard_normal((1, 2, 3))
    walk = list(walk_window(network, "it[1, 0, 0]", x))
    rows = [round(frames(panels(figure)[3])[0][1] + 0.5) for figure in walk]
    assert rows == list(range(6, 12))
    colours = [np.where(np.isclose(image(panels(f)[0]), FAINT), np.nan, image(panels(f)[0])) for f in walk]
    assert np.nanmax(np.nanmax(colours, axis=0) - np.nanmin(colours, axis=0)) == 0
    assert len(list(walk_window(network, "it[1, 1, 0]", x, step="row"))) == 3
    dense = one(Dense(3), (2,))
    assert len(list(walk_window(dense, "it[0]", [1.0, 2.0]))) == 3


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda net, x: draw_window(net, "add", x), "expected a single unit, got add"),
        (lambda net, x: draw_window(net, "add[0, 0, 0]", x), "expected a unit of a layer with one input, got 2; "),
        (lambda net, x: draw_window(net, "input[0, 0, 0]", x), "expected a unit of a layer with one input, got 0; "),
        (lambda net, x: list(walk_window(net, "a[0, 0, 0]", x, step=3)), "expected 'all' or 'row', got 3; choose one"),
    ],
)
def test_what_cannot_be_drawn(draw, message):
    net = Network.input((1, 3, 3)).add(Conv(1, 1), name="a", rng=0)
    net = net.add(Add(), "a", "input", name="add")
    with pytest.raises(ShapeError, match=re.escape(message)):
        draw(net, np.ones((1, 3, 3)))


def test_three_axes_of_space_and_curved_layers_are_refused():
    volume = one(Conv(1, 1), (1, 2, 2, 2))
    with pytest.raises(ShapeError, match=r"expected at most two axes of space, got \(1, 2, 2, 2\); choose another"):
        draw_window(volume, "it[0, 0, 0, 0]", np.ones((1, 2, 2, 2)))
    with pytest.raises(ShapeError, match="expected a unit of a layer that is a matrix or piecewise linear"):
        draw_window(one(Sigmoid(), (2,)), "it[0]", np.ones(2))


# ---------------------------------------------------------------------- moving pictures


@pytest.fixture
def walk():
    network = one(Conv(1, 2), (1, 2, 4))
    return lambda: walk_window(network, "it[0, 0, 0]", np.arange(8.0).reshape(1, 2, 4))


@pytest.mark.parametrize("ending", ["gif", "png"])
def test_a_moving_picture(walk, tmp_path, ending):
    pillow = pytest.importorskip("PIL.Image")
    path = tmp_path / f"walk.{ending}"
    save_frames(walk(), path, seconds=0.2)
    with pillow.open(path) as picture:
        assert (picture.n_frames, picture.info["duration"]) == (3, 200)
        shown = []
        for k in range(3):
            picture.seek(k)
            shown.append(np.asarray(picture.convert("RGB")))
    assert all((a != b).any() for a, b in itertools.pairwise(shown))


def test_a_moving_picture_of_another_kind_is_refused(walk, tmp_path):
    with pytest.raises(FileError, match=r"save: expected a file that ends in .gif or .png, got 'a.svg'; choose one"):
        save_frames(walk(), tmp_path / "a.svg")
    save_frames(walk(), tmp_path / "a.gif")


def test_without_pillow(walk, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(NotInstalledError, match="expected Pillow, which writes moving pictures, got none; pip install"):
        save_frames(walk(), tmp_path / "a.gif")
