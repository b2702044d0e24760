"""Slicing against PyTorch and NumPy, and splitting a node with it."""

import numpy as np
import pytest

from simulator import Catalog, Concatenate, Conv, Counts, Network, ShapeError
from simulator.equivalence import equivalence
from simulator.files import load, save

make = Catalog().make

# Start, stop, step, axis, shape of the input.
CASES = [
    (0, None, 1, 0, (3,)),
    (1, 3, 1, 0, (4, 2, 3)),
    (-2, None, 1, 0, (4, 2)),
    (0, -1, 2, 0, (6, 2)),
    (1, 4, 2, 1, (2, 5, 3)),
    (0, None, 3, -1, (2, 3, 5)),
    (2, 3, 1, -2, (2, 3, 4, 2)),
    (0, 2, 1, 3, (1, 2, 3, 4)),
]
BACKWARDS = [(-1, None, -1, 0, (4, 3)), (3, 0, -2, 1, (2, 5)), (-1, -4, -1, -1, (2, 3, 4))]


def kept(start, stop, step, axis, shape):
    """The index of a batch."""
    where = [slice(None)] * (1 + len(shape))
    where[1 + axis % len(shape)] = slice(start, stop, step)
    return tuple(where)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_the_slice_of_torch(case, torch):
    *arguments, shape = case
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, *shape))
    leaf = torch.tensor(x, requires_grad=True)
    y = leaf[kept(*case)]
    dy = rng.standard_normal(y.shape)
    y.backward(torch.tensor(dy))
    net = Network.sequential(shape, [make("slice", *arguments)], dtype=np.float64)
    trace = net.run(x)
    np.testing.assert_array_equal(trace["slice1"], y.detach().numpy())
    np.testing.assert_array_equal(trace.backward(dy).inputs["input"], leaf.grad.numpy())


@pytest.mark.parametrize("case", BACKWARDS, ids=str)
def test_a_negative_step_goes_backwards_as_in_numpy(case):
    *arguments, shape = case
    x = np.random.default_rng(0).standard_normal((3, *shape))
    y = Network.sequential(shape, [make("slice", *arguments)], dtype=np.float64).predict(x)
    np.testing.assert_array_equal(y, x[kept(*case)])


@pytest.mark.parametrize("case", CASES + BACKWARDS, ids=str)
def test_it_equals_its_matrix(case):
    *arguments, shape = case
    (proof,) = equivalence(Network.sequential(shape, [make("slice", *arguments)], dtype=np.float64))
    assert proof.ok, proof
    assert proof.skipped == ""
    assert proof.max_difference == 0


def test_its_nonzeros_are_fixed():
    assert make("slice", 1, 3).counts((4, 2, 3)) == Counts(fixed_nonzeros=12)


def test_a_node_is_split_and_joined(tmp_path, torch, agree):
    net = Network.input((6, 4, 4), dtype=np.float64)
    net = net.add(make("slice", 0, 3), "input", name="left").add(make("slice", 3), "input", name="right")
    net = net.add(Conv(3, kernel=3, padding=1), "right", rng=0).add(Concatenate(), "conv1", "left")
    save(tmp_path / "split.safetensors", net)
    net = load(tmp_path / "split.safetensors").network
    x = np.random.default_rng(0).standard_normal((2, 6, 4, 4))
    leaf = torch.tensor(x, requires_grad=True)
    left, right = leaf.chunk(2, dim=1)
    right = torch.nn.functional.conv2d(right, *(torch.tensor(p) for p in net.params.values()), padding=1)
    y = torch.cat([right, left], dim=1)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    y.backward(torch.tensor(dy))
    trace = net.run(x)
    agree(trace[net.last], y.detach().numpy())
    agree(trace.backward(dy).inputs["input"], leaf.grad.numpy())
    assert net.receptive_field(net.last, (5, 0, 0)).units.tolist() == [2 * 16]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2, 1, 3), r"slice axis: expected one of 3 axes of an input \(4, 2, 3\), got 3; 0 is that of channels"),
        ((0, 2, 1, -4), r"slice axis: expected one of 3 axes of an input \(4, 2, 3\), got -4"),
        ((0, 2, 0), "slice step: expected any integer but 0, got 0; leave it out"),
        ((-5,), "slice start: expected an integer of at least -4, got -5"),
        ((0, -5), "slice stop: expected an integer of at least -4, got -5"),
        ((4,), r"slice: expected to keep some of the indices 0 to 3 on axis 0 .* \(4, 2, 3\), got 4::1; choose start"),
        ((0, 5), "slice: expected to keep some of the indices 0 to 3 on axis 0 .* got 0:5:1"),
        ((3, 1), "slice: expected to keep some of the indices 0 to 3 on axis 0 .* got 3:1:1"),
        ((0, 4, 1, 2), "slice: expected to keep some of the indices 0 to 2 on axis 2 .* got 0:4:1"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ShapeError, match=message):
        make("slice", *arguments).output_shape((4, 2, 3))
