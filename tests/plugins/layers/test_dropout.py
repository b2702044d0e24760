"""Dropout: what it draws, how it scales, and that nothing is random after training."""

import numpy as np
import pytest
from simulator_plugins.layers.dropout import Dropout

from simulator import Catalog, Network, ShapeError


class Given:
    """A generator that keeps what a mask keeps."""

    def __init__(self, kept):
        self.kept = kept

    def random(self, shape):
        assert shape == self.kept.shape
        return np.where(self.kept, np.nextafter(1, 0), 0)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_with_the_mask_of_torch_it_gives_what_torch_gives(rate, torch):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 3, 4, 50))
    torch.manual_seed(0)
    leaf = torch.tensor(x, requires_grad=True)
    theirs = torch.nn.functional.dropout(leaf, rate, training=True)
    theirs.backward(torch.tensor(dy))
    kept = theirs.detach().numpy() != 0
    assert 0 < kept.sum() < kept.size
    y, pullback, _ = Dropout(rate).forward({}, {}, x, training=True, rng=Given(kept))
    np.testing.assert_array_equal(y, theirs.detach().numpy())
    np.testing.assert_array_equal(pullback(dy)[0][0], leaf.grad.numpy())
    y, pullback, _ = Dropout(rate, inverted=False).forward({}, {}, x, training=True, rng=Given(kept))
    np.testing.assert_array_equal(y, x * kept)
    np.testing.assert_array_equal(pullback(dy)[0][0], dy * kept)


@pytest.mark.parametrize("space", [(7,), (4, 5), (2, 3, 4)])
def test_channels_with_the_mask_of_torch(space, torch):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 6, 3, *space))  # (batch, channels, *space), as PyTorch has it
    torch.manual_seed(0)
    leaf = torch.tensor(x, requires_grad=True)
    theirs = getattr(torch.nn.functional, f"dropout{len(space)}d")(leaf, 0.4, training=True)
    theirs.backward(torch.tensor(dy))
    kept = theirs.detach().numpy().reshape(6, 3, -1)[..., 0] != 0
    assert 0 < kept.sum() < kept.size
    mask = Given(kept.T.reshape(3, *(1,) * len(space), 6))
    y, pullback, _ = Dropout(0.4, channels=True).forward({}, {}, np.moveaxis(x, 0, -1), training=True, rng=mask)
    np.testing.assert_array_equal(np.moveaxis(y, -1, 0), theirs.detach().numpy())
    gradient = pullback(np.moveaxis(dy, 0, -1))[0][0]
    np.testing.assert_array_equal(np.moveaxis(gradient, -1, 0), leaf.grad.numpy())


def test_channels_of_a_vector_are_its_units():
    x, seed = np.ones((50, 8)), 3
    both = [
        Dropout(0.5, channels=channels).forward({}, {}, x, training=True, rng=np.random.default_rng(seed))[0]
        for channels in (False, True)
    ]
    np.testing.assert_array_equal(*both)


@pytest.mark.parametrize(("inverted", "factor"), [(True, 1), (False, 0.75)])
def test_after_training_it_is_the_identity_or_a_scaled_one(inverted, factor):
    net = Network.sequential((2, 3), [Dropout(0.25, inverted)], dtype=np.float64)
    x, dy = np.random.default_rng(0).standard_normal((2, 4, 2, 3))
    trace = net.run(x)
    np.testing.assert_array_equal(trace["dropout1"], factor * x)
    np.testing.assert_array_equal(trace.backward(dy).inputs["input"], factor * dy)
    (matrix,), offset = Dropout(0.25, inverted).affine_at({}, {}, x[0])
    np.testing.assert_array_equal(matrix.toarray(), factor * np.eye(6))
    assert offset.tolist() == [0] * 6


@pytest.mark.parametrize("inverted", [True, False])
def test_as_many_units_are_left_out_as_asked_for_and_each_on_its_own(inverted):
    x, rate = np.ones((10, 20, 500)), 0.3
    y, _, _ = Dropout(rate, inverted).forward({}, {}, x, training=True, rng=np.random.default_rng(1))
    assert set(np.unique(y)) == {0, 1 / (1 - rate) if inverted else 1}
    deviation = np.sqrt(rate * (1 - rate))
    dropped = y == 0
    assert abs(dropped.mean() - rate) < 4 * deviation / np.sqrt(y.size)
    for axis, count in enumerate(x.shape):  # every channel, site and sample, and no two of them alike
        means = dropped.mean(axis=tuple(a for a in range(3) if a != axis))
        assert np.all(np.abs(means - rate) < 5 * deviation / np.sqrt(y.size / count))
        assert len(np.unique(np.moveaxis(dropped, axis, 0).reshape(count, -1), axis=0)) == count


@pytest.mark.parametrize("inverted", [True, False])
def test_a_unit_is_as_large_in_the_mean_in_training_as_afterwards(inverted):
    layer, x = Dropout(0.4, inverted), np.full((1, 100_000), 3.0)
    training = layer.forward({}, {}, x, training=True, rng=np.random.default_rng(0))[0].mean()
    afterwards = layer.forward({}, {}, x)[0].mean()
    assert training == pytest.approx(afterwards, rel=5 * np.sqrt(0.4 / 0.6 / x.size))


def test_a_rate_of_zero_drops_nothing():
    x = np.random.default_rng(0).standard_normal((3, 4))
    for inverted in (True, False):
        layer = Dropout(0.0, inverted)
        np.testing.assert_array_equal(layer.forward({}, {}, x, training=True, rng=np.random.default_rng(0))[0], x)
        np.testing.assert_array_equal(layer.forward({}, {}, x)[0], x)


def test_a_seed_drops_the_same_units_in_either_precision():
    x = np.ones((4, 3, 5))
    single, double = (
        Network.sequential((3, 5), [Dropout()], dtype=dtype).run(x, training=True, rng=7)["dropout1"]
        for dtype in (np.float32, np.float64)
    )
    np.testing.assert_array_equal(single, double)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)


@pytest.mark.parametrize("rate", [1, 1.0, -0.1])
def test_rates_that_leave_nothing_or_make_no_sense_are_refused(rate):
    with pytest.raises(ShapeError, match=f"dropout rate: expected a number of at least 0 and below 1, got {rate}; it"):
        Network.sequential((3,), [Dropout(rate)])


def test_the_catalog_offers_it_by_name():
    assert Catalog().layers["dropout"] is Dropout
