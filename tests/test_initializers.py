"""First weights: their distributions and that they depend on the generator alone."""

import numpy as np
import pytest
from scipy import stats

from simulator import UnknownNameError
from simulator.initializers import INITIALIZERS, initial

SIZE = 4_000


def draw(name, fan_in=50, fan_out=20, dtype=np.float64, seed=0, shape=(SIZE,)):
    return initial(name, np.random.default_rng(seed), shape, fan_in, fan_out, dtype)


@pytest.mark.parametrize(
    ("name", "distribution"),
    [
        ("he", stats.norm(scale=np.sqrt(2 / 50))),
        ("lecun", stats.norm(scale=np.sqrt(1 / 50))),
        ("glorot", stats.uniform(-np.sqrt(6 / 70), 2 * np.sqrt(6 / 70))),
    ],
)
def test_weights_follow_the_published_distributions(name, distribution):
    assert stats.kstest(draw(name), distribution.cdf).pvalue > 0.01
    assert draw(name).var() == pytest.approx(distribution.var(), rel=0.1)


@pytest.mark.parametrize("shape", [(6, 1, 5, 5), (120, 400), (3, 700_000), (7,), (2, 1)])
def test_centred_are_the_numbers_of_he_less_the_mean_of_each_row(shape, agree):
    he, centred = draw("he", shape=shape), draw("centred", shape=shape)
    rows = he.reshape(shape[0], -1)
    agree(centred.reshape(rows.shape), rows - (rows.mean(axis=1, keepdims=True) if rows.shape[1] > 1 else 0))
    if rows.shape[1] > 1:
        assert np.abs(centred.reshape(rows.shape).sum(axis=1)).max() < 1e-9


@pytest.mark.parametrize("name", INITIALIZERS)
def test_large_weights_are_drawn_in_blocks(name, monkeypatch):
    whole = draw(name, shape=(30, 4, 5))
    monkeypatch.setattr("simulator.initializers._BLOCK", 47)
    np.testing.assert_array_equal(draw(name, shape=(30, 4, 5)), whole)


def test_zeros_are_zero():
    assert not draw("zeros").any()


@pytest.mark.parametrize("name", INITIALIZERS)
def test_the_numbers_drawn_do_not_depend_on_the_precision(name):
    single, double = draw(name, dtype=np.float32), draw(name)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(single, double.astype(np.float32))
    np.testing.assert_array_equal(draw(name), double)
    assert draw(name, shape=(2, 3, 4)).shape == (2, 3, 4)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_units_without_connections_get_finite_weights(name):
    assert np.all(np.isfinite(draw(name, fan_in=0, fan_out=0)))


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(
        UnknownNameError, match=r"init: expected one of he, centred, glorot, lecun, zeros, got 'glorit'; did"
    ):
        draw("glorit")
