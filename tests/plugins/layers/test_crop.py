"""Cropping against numpy's slices and PyTorch's negative padding."""

import numpy as np
import pytest

from simulator import Catalog, Counts, Network, Pad, ShapeError
from simulator.equivalence import equivalence

make = Catalog().make

# Cropping, shape of the input, and what is kept.
CASES = [
    (0, (2, 3), np.s_[:]),
    (1, (2, 5), np.s_[1:4]),
    ([(0, 3)], (2, 5), np.s_[:2]),
    ((1, 2), (2, 5, 6), np.s_[1:4, 2:4]),
    (((0, 1), (2, 0)), (3, 4, 5), np.s_[:3, 2:]),
    (((3, 0), (0, 4)), (1, 4, 5), np.s_[3:, :1]),
    (((1, 0), 1, (0, 2)), (2, 2, 3, 4), np.s_[1:, 1:2, :2]),
]


@pytest.mark.parametrize(("cropping", "shape", "kept"), CASES)
def test_it_keeps_what_numpy_slices(cropping, shape, kept):
    rng = np.random.default_rng(0)
    kept = kept if isinstance(kept, tuple) else (kept,)
    net = Network.sequential(shape, [make("crop", cropping)], dtype=np.float64)
    x = rng.standard_normal((3, *shape))
    trace = net.run(x)
    y = trace[net.outputs[0]]
    np.testing.assert_array_equal(y, x[:, :, *kept])
    dy, dx = rng.standard_normal(y.shape), np.zeros_like(x)
    dx[:, :, *kept] = dy
    np.testing.assert_array_equal(trace.backward(dy).inputs["input"], dx)


def test_it_is_the_negative_padding_of_pytorch(torch):
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6))
    y = Network.sequential((3, 5, 6), [make("crop", ((1, 0), (2, 1)))], dtype=np.float64).predict(x)
    np.testing.assert_array_equal(y, torch.nn.functional.pad(torch.tensor(x), (-2, -1, -1, 0)).numpy())


@pytest.mark.parametrize(("cropping", "shape", "kept"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_equals_its_matrix(cropping, shape, kept, dtype):
    (proof,) = equivalence(Network.sequential(shape, [make("crop", cropping)], dtype=dtype))
    assert proof.ok, proof
    assert proof.skipped == ""
    assert proof.max_difference == 0


def test_its_matrix_is_the_transpose_of_that_of_padding():
    cropped, padded = make("crop", ((0, 1), (2, 1))).pattern((2, 4, 6)), Pad(((0, 1), (2, 1))).pattern((2, 3, 3))
    for mine, theirs in zip(cropped.triplets(), padded.T.triplets(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_its_nonzeros_are_fixed():
    assert make("crop", 1).counts((2, 4, 5)) == Counts(fixed_nonzeros=2 * 2 * 3)


@pytest.mark.parametrize(
    ("cropping", "shape", "message"),
    [
        (1, (4,), r"crop: expected an input \(channels, \*space\), got \(4,\); reshape it"),
        (2, (1, 4), r"crop: expected to leave at least one of 4 sites along axis 0, got 2 \+ 2 to cut; cut less"),
        (
            ((0, 0), (5, 1)),
            (1, 4, 5),
            r"crop: expected to leave at least one of 5 sites along axis 1, got 5 \+ 1 to cut",
        ),
        (-1, (1, 4), "crop cropping: expected an integer of at least 0, got -1"),
        ((1, 1), (1, 4), r"crop cropping: expected one integer or 1 of them .* got \(1, 1\)"),
        (((1, 1),), (1, 4, 4), r"crop cropping: expected one integer or 2 of them .* got \(\(1, 1\),\)"),
        (((1, 1, 1), 0), (1, 4, 4), r"crop cropping: expected one integer or 2 of them .* got \(1, 1, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused(cropping, shape, message):
    with pytest.raises(ShapeError, match=message):
        make("crop", cropping).output_shape(shape)
