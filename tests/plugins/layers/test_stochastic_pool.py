"""Stochastic pooling: what it draws, and the mean under the same probabilities."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy import stats
from simulator_plugins.layers.stochastic_pool import StochasticPool

from simulator import Catalog, Network, ShapeError


def network(layer, shape):
    return Network.sequential(shape, [layer], dtype=np.float64)


GEOMETRIES = [
    (StochasticPool(3), (2, 7)),
    (StochasticPool(2, ceil=True), (2, 5)),
    (StochasticPool(3, stride=2, ceil=True), (2, 6, 7)),
    (StochasticPool((2, 1), stride=1), (1, 3, 4)),
    (StochasticPool(2, stride=1), (1, 3, 2, 4)),
]


@pytest.mark.parametrize(("layer", "shape"), GEOMETRIES, ids=repr)
def test_after_training_it_is_the_mean_under_the_probabilities(layer, shape, torch, agree):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, *shape)) + 0.5
    net = network(layer, shape)
    trace = net.run(x)
    dy = rng.standard_normal(trace["stochasticpool1"].shape)
    leaf = torch.tensor(x, requires_grad=True)
    v = torch.relu(leaf)
    mean = getattr(torch.nn.functional, f"avg_pool{len(shape) - 1}d")
    total = mean(v, layer.kernel, layer.stride, 0, layer.ceil)
    y = mean(v * v, layer.kernel, layer.stride, 0, layer.ceil) / torch.where(total > 0, total, 1.0)
    y.backward(torch.tensor(dy))
    agree(trace["stochasticpool1"], y.detach().numpy())
    agree(trace.backward(dy).inputs["input"], leaf.grad.numpy())
    assert layer.affine_at({}, {}, x[0]) is None


def test_in_training_the_drawn_number_falls_into_the_running_sum_of_each_window():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 2, 5, 6))
    trace = network(StochasticPool((2, 3), stride=1), (2, 5, 6)).run(x, training=True, rng=5)
    y = trace["stochasticpool1"]
    dy = rng.standard_normal(y.shape)
    expected, dx = np.zeros(y.shape), np.zeros(x.shape)
    u = np.moveaxis(np.random.default_rng(5).random((*y.shape[1:], len(x))), -1, 0)
    windows = sliding_window_view(np.maximum(x, 0), (2, 3), axis=(2, 3))
    for at in np.ndindex(y.shape):
        window = windows[at].ravel()
        if window.any():
            tap = np.searchsorted(np.cumsum(window), u[at] * window.sum(), side="right")
            sample, channel, row, column = at
            expected[at] = window[tap]
            dx[sample, channel, row + tap // 3, column + tap % 3] += dy[at]
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_allclose(trace.backward(dy).inputs["input"], dx, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_tap_is_drawn_as_often_as_its_value_says(dtype):
    values = np.array([1.6, 0.0, 2.4, -3.0, 0.5, 0.5])
    x = np.repeat(values[None, :, None], 20_000, axis=2).astype(dtype)
    y, pullback, _ = StochasticPool(6).forward({}, {}, x, training=True, rng=np.random.default_rng(0))
    ((dx,), _) = pullback(np.ones_like(y))
    assert y.dtype == dx.dtype == dtype
    np.testing.assert_array_equal(np.sum(dx, axis=1), np.ones((1, 20_000)))
    np.testing.assert_array_equal(np.sum(dx * x, axis=1, keepdims=True), y)
    drawn, positive = dx.sum(axis=(0, 2), dtype=np.float64), values > 0
    assert not drawn[~positive].any()
    assert stats.chisquare(drawn[positive], 20_000 * values[positive] / 5).pvalue > 0.01


def test_the_mean_over_many_draws_is_what_comes_after_training():
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 4))
    net = network(StochasticPool(2), (3, 4, 4))
    draws = net.run(np.repeat(x, 10_000, axis=0), training=True, rng=0)["stochasticpool1"]
    error = draws.std(axis=0) / np.sqrt(len(draws))
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - net.predict(x)[0]), 4 * error + 1e-12)


@pytest.mark.parametrize("training", [False, True])
def test_a_window_without_positive_inputs_gives_zero_and_has_no_gradient(training):
    x = np.array([[[0.0, 0.0, -1.0, 0.0, -2.0, 4.0, -3.0]]])
    trace = network(StochasticPool(2, ceil=True), (1, 7)).run(x, training=training, rng=0)
    assert trace["stochasticpool1"].tolist() == [[[0, 0, 4, 0]]]
    assert trace.backward(np.ones((1, 1, 4))).inputs["input"].tolist() == [[[0, 0, 0, 0, 0, 1, 0]]]


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_tiny_and_huge_inputs_are_averaged_like_others(scale, agree):
    x = np.random.default_rng(0).standard_normal((2, 3, 6))
    net = network(StochasticPool(3), (3, 6))
    agree(net.predict(scale * x) / scale, net.predict(x))


def test_options_are_checked_where_the_shape_is_known():
    for layer, shape, wrong in [
        (StochasticPool(2), (4,), r"stochastic-pool: expected an input \(channels, \*space\), got \(4,\)"),
        (StochasticPool(5), (1, 4), "stochastic-pool: expected a window no larger than the padded input, got 5 taps"),
        (StochasticPool(0), (1, 4), "stochastic-pool kernel: expected an integer of at least 1, got 0"),
    ]:
        with pytest.raises(ShapeError, match=wrong):
            layer.output_shape(shape)


def test_the_catalog_offers_it_by_name():
    assert Catalog().layers["stochastic-pool"] is StochasticPool
