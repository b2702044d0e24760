"""Shuffled channels against PyTorch, and against reshaping and transposing."""

import numpy as np
import pytest

from simulator import Catalog, Conv, Counts, Network, Reshape, ShapeError
from simulator.equivalence import equivalence

make = Catalog().make


@pytest.mark.parametrize(("groups", "shape"), [(1, (3, 2)), (2, (6, 5)), (3, (6, 2, 3)), (4, (4, 1, 2, 2))])
def test_it_is_that_of_torch(groups, shape, torch):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 3, *shape))
    leaf = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.channel_shuffle(leaf, groups)
    y.backward(torch.tensor(dy))
    net = Network.sequential(shape, [make("channel-shuffle", groups)], dtype=np.float64)
    trace = net.run(x)
    np.testing.assert_array_equal(trace[net.last], y.detach().numpy())
    np.testing.assert_array_equal(trace.backward(dy).inputs["input"], leaf.grad.numpy())
    (proof,) = equivalence(net)
    assert proof.ok
    assert proof.skipped == ""
    assert proof.max_difference == 0


def test_it_is_a_transpose_between_two_reshapes():
    x = np.random.default_rng(0).standard_normal((2, 6, 4, 5))
    long = [Reshape((3, 2, 4, 5)), make("transpose", (1, 0, 2, 3)), Reshape((6, 4, 5))]
    expected = Network.sequential((6, 4, 5), long).predict(x)
    np.testing.assert_array_equal(Network.sequential((6, 4, 5), [make("channel-shuffle", 3)]).predict(x), expected)


def test_it_lets_groups_read_each_other():
    grouped = Conv(4, kernel=1, groups=2)
    apart = Network.sequential((4, 1), [grouped, grouped])
    mixed = Network.sequential((4, 1), [grouped, make("channel-shuffle", 2), grouped])
    assert apart.receptive_field(apart.last, 0).units.tolist() == [0, 1]
    assert mixed.receptive_field(mixed.last, 0).units.tolist() == [0, 1, 2, 3]
    assert make("channel-shuffle", 2).counts((4, 1)) == Counts(fixed_nonzeros=4)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (4, "channel-shuffle groups: expected a divisor of 6 channels, got 4; choose a number that divides them"),
        (0, "channel-shuffle groups: expected an integer of at least 1, got 0"),
    ],
)
def test_groups_divide_the_channels(groups, message):
    with pytest.raises(ShapeError, match=message):
        make("channel-shuffle", groups).output_shape((6, 2))
