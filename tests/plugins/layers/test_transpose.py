"""Transposing axes against numpy and PyTorch."""

import numpy as np
import pytest

from simulator import Catalog, Counts, Network, ShapeError
from simulator.equivalence import equivalence

make = Catalog().make

CASES = [((0,), (4,)), ((1, 0), (2, 3)), ((2, 0, 1), (2, 3, 4)), ((0, 2, 1), (2, 3, 4)), ((-1, 0, -2), (2, 3, 4))]
CASES += [([0, 1, 2], (2, 3, 1)), ((3, 0, 2, 1), (2, 3, 2, 4))]


@pytest.mark.parametrize(("axes", "shape"), CASES)
def test_it_is_the_transpose_of_numpy(axes, shape):
    rng = np.random.default_rng(0)
    net = Network.sequential(shape, [make("transpose", axes)], dtype=np.float64)
    x = rng.standard_normal((3, *shape))
    trace = net.run(x)
    y = trace[net.outputs[0]]
    np.testing.assert_array_equal(y, np.stack([np.transpose(sample, axes) for sample in x]))
    dy = rng.standard_normal(y.shape)
    back = np.argsort(np.arange(len(shape))[list(axes)])
    dx = np.stack([np.transpose(sample, back) for sample in dy])
    np.testing.assert_array_equal(trace.backward(dy).inputs["input"], dx)


def test_it_is_the_permutation_of_pytorch_and_leaves_the_batch_alone(torch):
    x = np.random.default_rng(0).standard_normal((5, 2, 3, 4))
    y = Network.sequential((2, 3, 4), [make("transpose", (2, 0, 1))], dtype=np.float64).predict(x)
    np.testing.assert_array_equal(y, torch.tensor(x).permute(0, 3, 1, 2).numpy())


@pytest.mark.parametrize(("axes", "shape"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_equals_its_matrix(axes, shape, dtype):
    (proof,) = equivalence(Network.sequential(shape, [make("transpose", axes)], dtype=dtype))
    assert proof.ok, proof
    assert proof.skipped == ""
    assert proof.max_difference == 0


def test_its_matrix_is_a_permutation():
    layer = make("transpose", (2, 0, 1))
    assert layer.counts((2, 3, 4)) == Counts(fixed_nonzeros=24)
    rows, cols, _ = layer.pattern((2, 3, 4)).triplets()
    np.testing.assert_array_equal(rows, np.arange(24))
    np.testing.assert_array_equal(np.sort(cols), np.arange(24))


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (
            (0, 1),
            r"transpose axes: expected each axis from 0 to 2 of an input \(2, 3, 4\) once, got \(0, 1\); write for",
        ),
        (
            (0, 1, 1),
            r"expected each axis from 0 to 2 of an input \(2, 3, 4\) once, got \(0, 1, 1\); .* axes=\(2, 1, 0\)",
        ),
        ((0, 1, -2), r"expected each axis from 0 to 2 of an input \(2, 3, 4\) once, got \(0, 1, -2\)"),
        ((1, 2, 3), r"expected each axis from 0 to 2 of an input \(2, 3, 4\) once, got \(1, 2, 3\)"),
        ((0, 1, -4), "transpose axes: expected an integer of at least -3, got -4"),
    ],
)
def test_what_does_not_fit_is_refused(axes, message):
    with pytest.raises(ShapeError, match=message):
        make("transpose", axes).output_shape((2, 3, 4))
