"""Upsampling against PyTorch's interpolate, and what its matrix must and must not store."""

import numpy as np
import pytest

from simulator import Catalog, Counts, Network, ShapeError
from simulator.equivalence import equivalence

make = Catalog().make

GEOMETRIES = [
    (2, (2, 5)),
    (3, (1, 4)),
    (4, (2, 1)),
    (1, (2, 3)),
    (2, (3, 4, 5)),
    ((3, 2), (2, 3, 4)),
    ((1, 5), (2, 1, 3)),
    ((4, 1), (1, 3, 1)),
    (2, (2, 2, 3, 2)),
    ((1, 2, 3), (1, 3, 1, 4)),
]
MODES = [("nearest", False), ("bilinear", False), ("bilinear", True)]


@pytest.mark.parametrize(("factor", "shape"), GEOMETRIES)
@pytest.mark.parametrize(("mode", "align_corners"), MODES)
def test_it_is_the_interpolation_of_pytorch(torch, agree, factor, shape, mode, align_corners):
    rng = np.random.default_rng(0)
    net = Network.sequential(shape, [make("upsample", factor, mode, align_corners)], dtype=np.float64)
    x, dy = rng.standard_normal((3, *shape)), rng.standard_normal((3, *net.output_shape))
    trace = net.run(x)
    linear = ["linear", "bilinear", "trilinear"][len(shape) - 2]
    options = {"mode": "nearest"} if mode == "nearest" else {"mode": linear, "align_corners": align_corners}
    tx = torch.tensor(x, requires_grad=True)
    ty = torch.nn.functional.interpolate(tx, scale_factor=factor, **options)
    ty.backward(torch.tensor(dy))
    agree(trace[net.outputs[0]], ty.detach().numpy())
    agree(trace.backward(dy).inputs["input"], tx.grad.numpy())


SIZES = [(7, (2, 5)), (3, (1, 8)), (1, (2, 4)), ((7, 5), (2, 3, 9)), (5, (1, 1, 4)), ((4, 2, 6), (1, 3, 5, 4))]


@pytest.mark.parametrize(("size", "shape"), SIZES)
@pytest.mark.parametrize(("mode", "align_corners"), MODES)
def test_a_size_is_that_of_pytorch_and_equals_its_matrix(torch, agree, size, shape, mode, align_corners):
    rng = np.random.default_rng(0)
    layer = make("upsample", mode=mode, align_corners=align_corners, size=size)
    net = Network.sequential(shape, [layer], dtype=np.float64)
    x, dy = rng.standard_normal((3, *shape)), rng.standard_normal((3, *net.output_shape))
    trace = net.run(x)
    linear = ["linear", "bilinear", "trilinear"][len(shape) - 2]
    options = {"mode": "nearest"} if mode == "nearest" else {"mode": linear, "align_corners": align_corners}
    tx = torch.tensor(x, requires_grad=True)
    ty = torch.nn.functional.interpolate(tx, size=net.output_shape[1:], **options)
    ty.backward(torch.tensor(dy))
    agree(trace[net.outputs[0]], ty.detach().numpy())
    agree(trace.backward(dy).inputs["input"], tx.grad.numpy())
    (proof,) = equivalence(net)
    assert proof.ok, proof


@pytest.mark.parametrize(("n", "out"), [(n, out) for n in range(1, 9) for out in range(1, 20)])
def test_the_nearest_site_is_that_of_pytorch(torch, n, out):
    x = np.arange(n, dtype=np.float64)[None, None]
    theirs = torch.nn.functional.interpolate(torch.tensor(x), size=out, mode="nearest").numpy()[0]
    net = Network.sequential((1, n), [make("upsample", size=out)], dtype=np.float64)
    np.testing.assert_array_equal(net.run(x)[net.outputs[0]][0], theirs)


@pytest.mark.parametrize(("options", "got"), [({}, "neither"), ({"factor": 2, "size": (4, 4)}, r"2 and \(4, 4\)")])
def test_a_factor_or_a_size(options, got):
    with pytest.raises(
        ShapeError, match=f"upsample: expected a factor or a size, got {got}; give one of them, such as"
    ):
        Network.sequential((1, 2, 2), [make("upsample", **options)])
    Network.sequential((1, 2, 2), [make("upsample", factor=2)])


@pytest.mark.parametrize(("factor", "shape"), GEOMETRIES)
@pytest.mark.parametrize(("mode", "align_corners"), MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_equals_its_matrix(factor, shape, mode, align_corners, dtype):
    (proof,) = equivalence(Network.sequential(shape, [make("upsample", factor, mode, align_corners)], dtype=dtype))
    assert proof.ok, proof
    assert proof.skipped == ""
    assert proof.weight_gradient is None


@pytest.mark.parametrize(("factor", "shape"), GEOMETRIES)
@pytest.mark.parametrize(("mode", "align_corners"), MODES)
def test_rows_sum_to_one_and_nothing_is_stored_where_a_coefficient_is_zero(factor, shape, mode, align_corners):
    net = Network.sequential(shape, [make("upsample", factor, mode, align_corners)], dtype=np.float64)
    csr = net.node(net.outputs[0]).matrix.tocsr()
    assert np.all(csr.data > 0)
    assert csr.nnz == np.count_nonzero(csr.toarray())
    np.testing.assert_allclose(csr.sum(axis=1), 1, rtol=0, atol=1e-15)


def test_aligned_corners_copy_the_sites_that_coincide():
    layer = make("upsample", 3, "bilinear", align_corners=True)  # 3 sites become 9: every fourth is a copy
    csr = Network.sequential((1, 3), [layer], dtype=np.float64).node("upsample1").matrix.tocsr().toarray()
    np.testing.assert_array_equal(csr[[0, 4, 8]], np.eye(3))
    np.testing.assert_array_equal(csr[:5, 0], [1, 0.75, 0.5, 0.25, 0])


def test_memory_does_not_grow_with_the_channels():
    layer = make("upsample", 2, "bilinear")
    few, many = layer.pattern((1, 8, 8)), layer.pattern((512, 8, 8))
    assert many.nnz == 512 * few.nnz
    assert many.n_ties == few.n_ties == 16 * 16 * 4
    assert many.nbytes - few.nbytes < 8 * 512 * 5


def test_its_nonzeros_are_fixed():
    assert make("upsample", 2).counts((3, 4, 4)) == Counts(fixed_nonzeros=3 * 64)
    assert make("upsample", 2, "bilinear").counts((3, 4, 4)) == Counts(
        fixed_nonzeros=3 * 14**2
    )  # two of 8 rows are single
    assert make("upsample", 2, "bilinear").param_shapes((3, 4, 4)) == {}


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"factor": 2}, (4,), r"upsample: expected an input \(channels, \*space\), got \(4,\); reshape it"),
        ({"factor": 0}, (2, 5), "upsample factor: expected an integer of at least 1, got 0"),
        ({"factor": (2, 2)}, (2, 5), r"upsample factor: expected one integer or 1 of them .* got \(2, 2\)"),
        (
            {"factor": 2, "align_corners": True},
            (2, 5),
            "upsample align_corners: expected it with mode 'bilinear' only, got 'nearest'; leave it out",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options, shape, message):
    with pytest.raises(ShapeError, match=message):
        make("upsample", **options).output_shape(shape)
