"""Depth to space and back against PyTorch, ONNX's own example, and the index formula."""

import math

import numpy as np
import pytest

from simulator import Catalog, Counts, Network, ShapeError
from simulator.equivalence import equivalence

make = Catalog().make

BLOCKS = [(2, (4, 3)), (3, (3, 1)), (2, (8, 2, 3)), ((2, 3), (12, 2, 1)), ((1, 2), (2, 3, 3)), (2, (16, 1, 2, 1))]
BLOCKS += [((1, 3, 2), (12, 2, 1, 2))]
MODES = ["crd", "dcr"]


def apply(layer, x):
    return Network.sequential(x.shape[1:], [layer], dtype=np.float64).predict(x)


# The example of the ONNX operator DepthToSpace: channel c holds 9c, 9c + 1, ..., 9c + 5.
ONNX_INPUT = (9 * np.arange(8.0)[:, None] + np.arange(6)).reshape(1, 8, 2, 3)
ONNX_DCR = [
    [[0, 18, 1, 19, 2, 20], [36, 54, 37, 55, 38, 56], [3, 21, 4, 22, 5, 23], [39, 57, 40, 58, 41, 59]],
    [[9, 27, 10, 28, 11, 29], [45, 63, 46, 64, 47, 65], [12, 30, 13, 31, 14, 32], [48, 66, 49, 67, 50, 68]],
]
ONNX_CRD = [
    [[0, 9, 1, 10, 2, 11], [18, 27, 19, 28, 20, 29], [3, 12, 4, 13, 5, 14], [21, 30, 22, 31, 23, 32]],
    [[36, 45, 37, 46, 38, 47], [54, 63, 55, 64, 56, 65], [39, 48, 40, 49, 41, 50], [57, 66, 58, 67, 59, 68]],
]


@pytest.mark.parametrize(("mode", "expected"), [("crd", ONNX_CRD), ("dcr", ONNX_DCR)])
def test_it_gives_the_numbers_of_the_onnx_specification(mode, expected):
    np.testing.assert_array_equal(apply(make("depth-to-space", 2, mode=mode), ONNX_INPUT), [expected])
    np.testing.assert_array_equal(apply(make("space-to-depth", 2, mode=mode), np.array([expected])), ONNX_INPUT)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_it_is_the_pixel_shuffle_of_pytorch(torch, block):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 2 * block**2, 3, 4))
    y = apply(make("depth-to-space", block), x)
    np.testing.assert_array_equal(y, torch.nn.functional.pixel_shuffle(torch.tensor(x), block).numpy())
    back = apply(make("space-to-depth", block), y)
    np.testing.assert_array_equal(back, torch.nn.functional.pixel_unshuffle(torch.tensor(y), block).numpy())


@pytest.mark.parametrize(("block", "shape"), BLOCKS)
@pytest.mark.parametrize("mode", MODES)
def test_each_unit_goes_where_the_formula_says(block, shape, mode):
    steps = (block,) * (len(shape) - 1) if isinstance(block, int) else block
    cells, rest = math.prod(steps), shape[0] // math.prod(steps)
    x = np.random.default_rng(0).standard_normal((1, *shape))
    y = apply(make("depth-to-space", block, mode), x)[0]
    assert y.shape == (rest, *(n * b for n, b in zip(shape[1:], steps, strict=True)))
    for c, *at in np.ndindex(y.shape):
        site, cell = zip(*(divmod(a, b) for a, b in zip(at, steps, strict=True)), strict=True)
        number = np.ravel_multi_index(cell, steps)
        channel = c * cells + number if mode == "crd" else number * rest + c
        assert y[c, *at] == x[0, channel, *site]


@pytest.mark.parametrize(("block", "shape"), BLOCKS)
@pytest.mark.parametrize("mode", MODES)
def test_there_and_back_again_nothing_is_lost(block, shape, mode):
    there, back = make("depth-to-space", block, mode), make("space-to-depth", block, mode)
    net = Network.sequential(shape, [there, back], dtype=np.float64)
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 3, *shape))
    trace = net.run(x)
    np.testing.assert_array_equal(trace[net.outputs[0]], x)
    np.testing.assert_array_equal(trace.backward(dy).inputs["input"], dy)
    np.testing.assert_array_equal(trace.backward(dy).activations["depthtospace1"], apply(there, dy))
    first, second = (net.node(name).matrix for name in ("depthtospace1", "spacetodepth1"))
    np.testing.assert_array_equal(second.tocsr().toarray(), first.tocsr().toarray().T)


@pytest.mark.parametrize(("block", "shape"), BLOCKS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_they_equal_their_matrices(block, shape, mode, dtype):
    layers = [make("depth-to-space", block, mode), make("space-to-depth", block, mode)]
    proofs = list(equivalence(Network.sequential(shape, layers, dtype=dtype)))
    assert len(proofs) == 2
    for proof in proofs:
        assert proof.ok, proof
        assert proof.skipped == ""
        assert proof.max_difference == 0


def test_their_nonzeros_are_fixed():
    assert make("depth-to-space", 2).counts((8, 2, 3)) == Counts(fixed_nonzeros=48)
    assert make("space-to-depth", 2).counts((2, 4, 6)) == Counts(fixed_nonzeros=48)


@pytest.mark.parametrize(
    ("name", "options", "shape", "message"),
    [
        ("depth-to-space", {}, (4,), r"depth-to-space: expected an input \(channels, \*space\), got \(4,\)"),
        (
            "depth-to-space",
            {},
            (6, 2, 2),
            "depth-to-space: expected channels that a block of 4 cells divides, got 6; use",
        ),
        ("depth-to-space", {"block": 0}, (4, 2, 2), "depth-to-space block: expected an integer of at least 1, got 0"),
        ("space-to-depth", {}, (4,), r"space-to-depth: expected an input \(channels, \*space\), got \(4,\)"),
        (
            "space-to-depth",
            {},
            (1, 4, 3),
            r"space-to-depth: expected a space that the block \(2, 2\) divides, got \(4, 3\); use another",
        ),
        ("space-to-depth", {"block": (2,)}, (1, 4, 4), "space-to-depth block: expected one integer or 2 of them"),
    ],
)
def test_what_does_not_fit_is_refused(name, options, shape, message):
    with pytest.raises(ShapeError, match=message):
        make(name, **{"block": 2, **options}).output_shape(shape)
