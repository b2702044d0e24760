"""Lp pooling against PyTorch, numpy windows and its limits: sums and maxima."""

import math

import numpy as np
import pytest
from simulator_plugins.layers.lp_pool import LpPool

from simulator import Catalog, Conv, MaxPool, Network, ShapeError


def run(layer, x):
    """Output, a random dy and dx, all (batch, channels, *space)."""
    net = Network.sequential(x.shape[1:], [layer], dtype=np.float64)
    trace = net.run(x)
    y = trace[net.outputs[0]]
    dy = np.random.default_rng(1).standard_normal(y.shape)
    return y, dy, trace.backward(dy).inputs["input"]


GEOMETRIES = [
    ((2, 7), 3, None),
    ((2, 6), 2, 3),
    ((2, 5, 6), (2, 3), None),
    ((1, 6, 7), 3, 2),
    ((2, 4, 5), 1, 3),
    ((1, 3, 4, 5), 2, (1, 2, 2)),
]


@pytest.mark.parametrize(("shape", "kernel", "stride"), GEOMETRIES)
@pytest.mark.parametrize("p", [1.0, 1.5, 2, 3.0, 4])
@pytest.mark.parametrize("ceil", [False, True])
def test_values_and_gradients_are_those_of_torch(shape, kernel, stride, p, ceil, torch, agree):
    x = np.random.default_rng(0).standard_normal((2, *shape))
    x = x if p % 2 == 0 else np.abs(x)  # torch takes odd powers of the negative numbers themselves
    y, dy, dx = run(LpPool(kernel, p, stride, ceil=ceil), x)
    leaf = torch.tensor(x, requires_grad=True)
    theirs = getattr(torch.nn.functional, f"lp_pool{len(shape) - 1}d")(leaf, p, kernel, stride, ceil)
    theirs.backward(torch.tensor(dy))
    agree(y, theirs.detach().numpy())
    agree(dx, leaf.grad.numpy())


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("padding", [1, ((2, 0), (1, 3)), "same"])
def test_padding_is_zeros_and_negative_inputs_count_by_magnitude(p, padding, agree):
    layer = LpPool((2, 3), p, stride=(1, 2), padding=padding, dilation=(2, 1))
    x = np.random.default_rng(0).standard_normal((2, 1, 5, 6))
    ones = Network.sequential(
        (1, 5, 6), [Conv(1, (2, 3), (1, 2), padding=padding, dilation=(2, 1), bias=False)], rng=0, dtype=np.float64
    )
    ones = ones.with_params({"conv1.weight": np.ones((1, 1, 2, 3))})
    y, dy, dx = run(layer, x)
    agree(y, ones.predict(np.abs(x) ** p) ** (1 / p))
    back = ones.run(x).backward(dy * y ** (1 - p)).inputs["input"]
    agree(dx, back * np.abs(x) ** (p - 1) * np.sign(x))


def test_windows_beyond_the_padded_input_are_scaled_up():
    x = np.ones((1, 1, 5))
    y, _, _ = run(LpPool(2, ceil=True), x)
    np.testing.assert_allclose(y, np.full((1, 1, 3), math.sqrt(2)), rtol=1e-15)
    y, _, _ = run(LpPool(2, padding=((0, 1),)), x)  # padding counts
    np.testing.assert_allclose(y, [[[math.sqrt(2), math.sqrt(2), 1]]], rtol=1e-15)


def test_a_large_p_comes_close_to_the_largest_magnitude():
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 6))
    largest = Network.sequential((3, 6, 6), [MaxPool(2)], dtype=np.float64).predict(np.abs(x))
    y, _, _ = run(LpPool(2, p=100.0), x)
    assert np.all(y >= largest)
    assert np.all(y <= largest * 4 ** (1 / 100) * (1 + 1e-12))


@pytest.mark.parametrize("p", [1.0, 2.0, 64.0])
@pytest.mark.parametrize("size", [1e-30, 1e-23, 0.1, 10.0, 1e30])
def test_powers_neither_overflow_nor_vanish(p, size):
    x = np.array([[[3.0], [4.0], [2.0], [0.0]]], np.float32)
    plain, pullback, _ = LpPool(2, p).forward({}, {}, x.astype(np.float64))
    ((slope,), _) = pullback(np.ones_like(plain))
    y, pullback, _ = LpPool(2, p).forward({}, {}, x * np.float32(size))
    ((dx,), _) = pullback(np.ones_like(y))
    np.testing.assert_allclose(y, plain * size, rtol=1e-6)
    np.testing.assert_allclose(dx, slope, rtol=p * 1e-6)  # whatever the size is


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 7.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_window_of_zeros_has_no_gradient(p, dtype):
    tiny = np.finfo(dtype).tiny
    x = np.array([[[0.0], [-0.0], [3.0], [0.0], [tiny], [tiny]]], dtype)
    y, pullback, _ = LpPool(2, p).forward({}, {}, x)
    ((dx,), _) = pullback(np.ones_like(y))
    assert y.dtype == dx.dtype == dtype
    np.testing.assert_allclose(y[0, :2, 0], [0, 3], rtol=4 * np.finfo(dtype).eps)
    assert dx[0, :2, 0].tolist() == [0, 0]
    np.testing.assert_allclose(dx[0, 2:4, 0], [1, 0], rtol=4 * np.finfo(dtype).eps * p)
    assert np.all(np.isfinite(dx))


@pytest.mark.parametrize(
    ("layer", "shape", "wrong"),
    [
        (LpPool(2, p=0.5), (1, 4), "lp-pool p: expected a number of at least 1, got 0.5; for the limit of large ones"),
        (LpPool(2, p=math.inf), (1, 4), "lp-pool p: expected a number of at least 1, got inf"),
        (LpPool(2), (4,), r"lp-pool: expected an input \(channels, \*space\), got \(4,\)"),
        (LpPool(5), (1, 4), "lp-pool: expected a window no larger than the padded input, got 5 taps on 4 sites"),
        (LpPool(2, stride=0), (1, 4), "lp-pool stride: expected an integer of at least 1, got 0"),
    ],
    ids=repr,
)
def test_options_are_checked_where_the_shape_is_known(layer, shape, wrong):
    with pytest.raises(ShapeError, match=wrong):
        layer.output_shape(shape)


def test_the_catalog_offers_it_by_name():
    assert Catalog().layers["lp-pool"] is LpPool


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("row", [[np.inf, 1], [0, np.inf], [np.inf, np.inf], [np.nan, 1], [0, 0]])
def test_an_infinite_input_makes_an_infinite_output(torch, row, p):
    x = np.array([[row]], np.float64)
    network = Network.sequential((1, 2), [Catalog().make("lp-pool", 2, p=p)], dtype="float64")
    trace = network.run(x)
    expected = torch.nn.functional.lp_pool1d(torch.tensor(x), p, 2).numpy()
    np.testing.assert_array_equal(trace[network.output_name], expected)
    if np.isinf(row).any():  # what is finite beside it does not count
        slope = trace.backward(np.ones((1, 1, 1))).inputs["input"].ravel()
        assert slope[np.isinf(row)].sum() == pytest.approx(np.isinf(row).sum() ** (1 / p))
