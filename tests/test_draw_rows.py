"""The rows of the one matrix are read back from their pictures."""

import numpy as np
import pytest

from simulator import Add, Conv, Dense, Network, ReLU, ShapeError
from simulator.draw import draw_rows
from simulator.lab import affine

Axes = pytest.importorskip("matplotlib.axes").Axes


def test_rows_are_pictures_in_the_shape_of_the_input():
    net = Network.sequential((2, 5, 4), [Conv(3, 3), ReLU(), Dense(3)], rng=0, dtype="float64")
    x = np.random.default_rng(0).standard_normal((2, 5, 4))
    found = affine(net, x, "dense1")
    figure = draw_rows(found)
    assert figure.get_suptitle() == repr(found)
    pictures = [ax for ax in figure.findobj(Axes) if ax.get_title().startswith("dense1[")]
    assert [ax.get_title().split("\n")[0] for ax in pictures] == ["dense1[0]", "dense1[1]", "dense1[2]"]
    rows, (least, most) = found.A.toarray(), pictures[0].images[0].get_clim()
    assert -least == most == np.abs(rows).max()
    for ax, row, offset, value in zip(pictures, rows, found.b, found.y, strict=True):
        image = ax.images[0].get_array()
        np.testing.assert_array_equal(image[:, :4], row.reshape(2, 5, 4)[0])
        np.testing.assert_array_equal(image[:, 5:], row.reshape(2, 5, 4)[1])
        assert ax.get_title().endswith(
            f"\n{value - offset:.3g} {'+' if offset >= 0 else '-'} {abs(offset):.3g} = {value:.3g}"
        )
    assert "grey gaps: between channels" in " ".join(figure.get_supxlabel().split())


def test_rows_of_vectors_lines_and_many_outputs():
    lines = Network.sequential((1, 7), [Conv(4, 2)], rng=0)
    figure = draw_rows(affine(lines, np.ones((1, 7)), "conv1", jacobian=True))
    assert "20 of 24 rows" in " ".join(figure.get_supxlabel().split())
    assert "the Jacobian: the tangent at the sample" in " ".join(figure.get_supxlabel().split())
    vector = Network.sequential((6,), [Dense(2)], rng=0)
    (first, _) = (ax for ax in draw_rows(affine(vector, np.ones(6))).findobj(Axes) if "dense1[" in ax.get_title())
    np.testing.assert_array_equal(first.images[0].get_array(), vector.params["dense1.weight"][:1])


def test_rows_need_one_input():
    net = Network.input((2,), "a").add_input((2,), "b").add(Add(), "a", "b")
    with pytest.raises(ShapeError, match=r"network: expected one input, got 2 \(a, b\)"):
        draw_rows(affine(net, {"a": np.ones(2), "b": np.ones(2)}))
