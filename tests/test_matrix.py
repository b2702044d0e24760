"""The tied matrix against dense matrices filled by loops, numpy.linalg.lstsq, and the three truths."""

import tracemalloc
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

from simulator import Conv, ExplicitPattern, Network, ShapeError, TiedMatrix, identity, matrix
from simulator.matrix import dense_pattern


def dense(tied):
    """The matrix by definition: every connection adds its weight to its cell."""
    cells = np.zeros(tied.shape)
    for row, col, tie in zip(*tied.pattern.triplets(), strict=True):
        cells[row, col] += tied.weight.ravel()[tie]
    return cells


def constraint_matrix(pattern):
    """S of vec(W) = S·θ, with a count where one tie falls on a cell more than once."""
    S = np.zeros((pattern.shape[0] * pattern.shape[1], pattern.n_ties))
    for row, col, tie in zip(*pattern.triplets(), strict=True):
        S[row * pattern.shape[1] + col, tie] += 1
    return S


@st.composite
def tied_matrices(draw):
    """Any connections, repeated cells and unused ties included."""
    n_out, n_in = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    cell = st.tuples(st.integers(0, n_out - 1), st.integers(0, n_in - 1), st.integers(0, 3))
    cells = draw(st.lists(cell, min_size=1, max_size=12))
    pattern = ExplicitPattern(*np.array(cells).T, shape=(n_out, n_in))
    weight = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(pattern.n_ties)
    return TiedMatrix(pattern, weight)


def convolution(shape=(2, 4, 4), seed=0, **options):
    """The matrix of a small convolution with random weights."""
    net = Network.sequential(shape, [Conv(3, 3, **options)], rng=seed, dtype=np.float64)
    return net.node("conv1").matrix


def operands(tied, batch=3):
    rng = np.random.default_rng(1)
    return rng.standard_normal((tied.shape[1], batch)), rng.standard_normal((tied.shape[0], batch))


# ---------------------------------------------------------------------- products


@given(tied_matrices())
def test_products_are_those_of_the_matrix_that_loops_fill(tied):
    from_loops = dense(tied)
    x, dy = operands(tied)
    for actual, expected in [
        (tied @ x, from_loops @ x),
        (tied @ x[:, 0], from_loops @ x[:, 0]),
        (tied.matvec(x[:, 0]), from_loops @ x[:, 0]),
        (tied.rmatvec(dy), from_loops.T @ dy),
        (tied.T @ dy, from_loops.T @ dy),
        (tied.T.rmatvec(x), from_loops @ x),
        (tied.tocsr().toarray(), from_loops),
        (tied.T.tocsr().toarray(), from_loops.T),
        (tied.densified().weight, from_loops),
        (tied.untied().tocsr().toarray(), from_loops),
    ]:
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-14)


def test_nonzero_k_in_csr_row_order_is_the_weight_of_tie_k():
    for tied in (convolution(padding=1), convolution().T, TiedMatrix(dense_pattern(2, 3), np.arange(6.0))):
        ties = tied.pattern.triplets()[2]
        np.testing.assert_array_equal(tied.tocsr().data, tied.weight.ravel()[ties])


@pytest.mark.parametrize("options", [{}, {"padding": 1, "stride": 2}, {"padding": 2, "padding_mode": "circular"}])
def test_dot_test(options):
    """⟨W x, y⟩ = ⟨x, Wᵀ y⟩."""
    tied = convolution(**options)
    x, dy = operands(tied)
    left, right = np.sum((tied @ x) * dy), np.sum(x * tied.rmatvec(dy))
    assert left == pytest.approx(right, rel=1e-12)


def test_products_are_linear_in_input_and_weight():
    tied = convolution(padding=1)
    x, _ = operands(tied)
    other = np.random.default_rng(2).standard_normal(tied.weight.shape)
    both = tied.with_weight(2 * tied.weight - 3 * other) @ x
    np.testing.assert_allclose(both, 2 * (tied @ x) - 3 * (tied.with_weight(other) @ x), rtol=0, atol=1e-12)
    np.testing.assert_allclose(tied @ (x[:, :1] - 3 * x[:, 1:]), tied @ x[:, :1] - 3 * (tied @ x[:, 1:]), atol=1e-12)


def test_lists_and_empty_batches_are_operands():
    tied = TiedMatrix(ExplicitPattern([0, 1], [1, 0], shape=(2, 2)), [2.0, 3.0])
    assert (tied @ [1, 10]).tolist() == [20.0, 3.0]
    assert (tied @ np.zeros((2, 0))).shape == (2, 0)
    assert tied.grad(np.zeros((2, 0)), np.zeros((2, 0))).tolist() == [0.0, 0.0]


def test_the_gradient_in_x_of_a_shared_matrix_is_the_product_with_its_transpose(central_difference):
    tied = convolution((1, 3, 3))
    x, dy = operands(tied, batch=1)
    slope = central_difference(lambda x: np.sum(dy * (tied @ x)), x)
    np.testing.assert_allclose(tied.T @ dy, slope, rtol=0, atol=1e-8)


def test_scipy_takes_it_as_a_linear_operator(agree):
    tied = convolution(padding=1)
    operator = aslinearoperator(tied)
    x, dy = operands(tied)
    assert (operator.shape, operator.dtype) == (tied.shape, tied.dtype)
    agree(operator.matvec(x[:, 0]), tied.tocsr() @ x[:, 0])
    agree(operator.rmatvec(dy[:, 0]), tied.tocsr().T @ dy[:, 0])
    agree(operator.matmat(x), tied.tocsr() @ x)
    agree(operator.rmatmat(dy), tied.tocsr().T @ dy)
    agree(operator.H @ dy, tied.tocsr().T @ dy)


def test_svds_of_the_operator_are_singular_values(agree):
    tied = convolution((1, 4, 4), padding=1)
    few = sparse.linalg.svds(aslinearoperator(tied), k=2, return_singular_vectors=False, rng=0)
    agree(np.sort(few)[::-1], np.linalg.svd(tied.tocsr().toarray(), compute_uv=False)[:2], tolerance=1e-10)


# ---------------------------------------------------------------------- gradient


@given(tied_matrices())
def test_the_gradient_is_the_sum_over_the_connections_of_each_weight(tied):
    x, dy = operands(tied)
    expected = np.zeros(tied.pattern.n_ties)
    for row, col, tie in zip(*tied.pattern.triplets(), strict=True):
        expected[tie] += dy[row] @ x[col]
    np.testing.assert_allclose(tied.grad(x, dy), expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(tied.T.grad(dy, x), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("block_bytes", [1, 200, 2**25])
@pytest.mark.parametrize("make", [lambda: convolution(padding=1), lambda: identity(100)], ids=["dense", "sparse"])
def test_the_gradient_does_not_depend_on_how_it_is_cut_into_blocks(make, block_bytes, monkeypatch, agree):
    tied = make()
    x, dy = operands(tied)
    expected = np.zeros(tied.pattern.n_ties)
    rows, cols, ties = tied.pattern.triplets()
    np.add.at(expected, ties, np.einsum("kb,kb->k", dy[rows], x[cols]))
    monkeypatch.setattr(matrix, "_BLOCK_BYTES", block_bytes)
    agree(tied.grad(x, dy), expected.reshape(tied.weight.shape))


def test_the_gradient_agrees_with_central_differences(central_difference):
    tied = convolution((2, 3, 3), padding=1, padding_mode="reflect")
    x, dy = operands(tied)
    slope = central_difference(lambda weight: np.sum(dy * (tied.with_weight(weight) @ x)), tied.weight)
    np.testing.assert_allclose(tied.grad(x, dy), slope, rtol=0, atol=1e-8)


def test_the_gradient_has_shape_and_precision_of_the_weight(agree):
    tied = convolution()
    x, dy = operands(tied)
    half = tied.with_weight(tied.weight.astype(np.float32)).grad(x.astype(np.float32), dy.astype(np.float32))
    assert (half.dtype, half.shape) == (np.float32, tied.weight.shape)
    agree(half, tied.grad(x, dy), tolerance=1e-6)
    agree(tied.grad(x[:, 0], dy[:, 0]), tied.grad(x[:, :1], dy[:, :1]))


def test_tying_inside_one_window_adds_up():
    """A sum over each window times one weight, as in LeNet-5's subsampling."""
    tied = TiedMatrix(ExplicitPattern([0, 0, 1, 1], [0, 1, 2, 3], [0, 0, 0, 0], shape=(2, 4)), [3.0])
    assert (tied @ [1.0, 2, 3, 4]).tolist() == [9, 21]
    assert tied.grad([1.0, 2, 3, 4], [1.0, 10.0]).tolist() == [73]


def test_a_weight_without_connections_has_no_gradient():
    tied = TiedMatrix(ExplicitPattern([0], [0], [2], shape=(1, 1)), [5.0, 6.0, 7.0])
    assert tied.grad([2.0], [3.0]).tolist() == [0, 0, 6]


# ---------------------------------------------------------------------- structure


def test_other_weights_share_the_structure():
    tied = convolution()
    tied.csr  # noqa: B018 - builds the index arrays
    other = tied.with_weight(2 * tied.weight)
    assert other.pattern is tied.pattern
    for ours, theirs in [(tied.csr.indices, other.csr.indices), (tied.csr.indptr, other.csr.indptr)]:
        assert np.shares_memory(ours, theirs)
    np.testing.assert_array_equal(other.tocsr().data, 2 * tied.tocsr().data)


def test_tocsr_gives_a_copy_of_its_own():
    for tied in (convolution(), TiedMatrix(ExplicitPattern([0, 1], [1, 0], shape=(2, 2)), [2.0, 3.0])):
        expected = dense(tied)
        for _ in range(2):  # the second time the index arrays have been built
            csr = tied.tocsr()
            for array in (csr.data, csr.indices, csr.indptr):
                array[:] = 0
            np.testing.assert_array_equal(tied @ np.eye(tied.shape[1]), expected)


def test_the_weight_is_read_only_and_what_may_change_is_copied():
    weight = np.ones((3, 3))
    tied = TiedMatrix(dense_pattern(3, 3), weight)
    with pytest.raises(ValueError, match="read-only"):
        tied.weight[0, 0] = 2
    before = tied @ np.ones(3)
    weight[0, 0] = 2  # the caller's own array stays his
    np.testing.assert_array_equal(tied.tocsr() @ np.ones(3), before)
    weight.flags.writeable = False
    assert np.shares_memory(TiedMatrix(dense_pattern(3, 3), weight).weight, weight)


def test_complex_weights_are_refused():
    with pytest.raises(ShapeError, match="TiedMatrix weight: expected an array of real numbers, got .* complex128"):
        TiedMatrix(dense_pattern(1, 1), [1j])


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
def test_small_types_do_not_overflow_in_the_gradient(dtype):
    tied = TiedMatrix(dense_pattern(1, 1), [1.0])
    assert tied.grad(np.full((1, 4), 200, dtype), np.full((1, 4), 200, dtype)).item() == 160_000


def test_matrices_and_patterns_are_frozen_values_compared_by_identity():
    tied = convolution()
    for value, field in [(tied, "weight"), (tied.pattern, "sites"), (tied.pattern.T, "base")]:
        with pytest.raises(FrozenInstanceError):
            setattr(value, field, None)
    assert tied != tied.with_weight(tied.weight)
    assert len({tied, tied.pattern, tied.pattern.T}) == 3


def test_rows_and_columns_carry_values():
    tied = convolution(padding=1, stride=2)
    cells = tied.tocsr()
    for i in range(tied.shape[0]):
        cols, ties, values = tied.row(i)
        np.testing.assert_array_equal(values, tied.weight.ravel()[ties])
        np.testing.assert_array_equal(values, cells[[i], :].toarray()[0, cols])
        assert len(cols) == cells.indptr[i + 1] - cells.indptr[i]
    for j in range(tied.shape[1]):
        rows, ties, values = tied.column(j)
        np.testing.assert_array_equal(values, tied.weight.ravel()[ties])
        np.testing.assert_array_equal(values, cells[:, [j]].toarray()[rows, 0])


def test_a_window_that_reads_one_pixel_twice_keeps_its_cells_apart():
    pattern = Conv(1, 3, padding=1, padding_mode="circular").pattern((1, 2))
    tied = TiedMatrix(pattern, [1.0, 10.0, 100.0])
    assert [a.tolist() for a in pattern.triplets()] == [[0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0], [0, 1, 2, 0, 1, 2]]
    assert tied.tocsr().data.tolist() == [1, 10, 100, 1, 10, 100]
    assert tied.tocsr().toarray().tolist() == [[10, 101], [101, 10]]
    assert tied.T.tocsr().data.tolist() == [10, 1, 100, 1, 100, 10]
    assert tied.T.tocsr().toarray().tolist() == [[10, 101], [101, 10]]
    assert tied.grad([2.0, 3.0], [5.0, 7.0]).tolist() == [5 * 3 + 7 * 2, 5 * 2 + 7 * 3, 5 * 3 + 7 * 2]
    assert tied.untied().nnz == 6
    assert tied.densified().weight.tolist() == [[10, 101], [101, 10]]


def test_a_matrix_too_large_is_refused_before_memory_is_touched():
    pattern = Conv(64, 3, padding=1).pattern((64, 224, 224))
    tied = TiedMatrix(pattern, np.zeros((64, 64, 3, 3), np.float32))
    need = 1_838_694_400 * 8 + (64 * 224 * 224 + 1) * 4
    message = rf"TiedMatrix.tocsr: expected at most .* bytes, got a matrix of {need:,} bytes \(1,838,694,400 nonzeros\)"
    tracemalloc.start()
    try:
        for build in (tied.tocsr, tied.untied, lambda: tied.csr, lambda: tied @ np.broadcast_to(0, tied.shape[1])):
            with pytest.raises(ShapeError, match=message):
                build()
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_the_limit_on_bytes_is_exact():
    tied = convolution()
    need = tied.pattern.csr_nbytes(tied.dtype)
    assert tied.tocsr(max_bytes=need).nnz == tied.nnz
    with pytest.raises(ShapeError, match=rf"expected at most {need - 1:,} bytes, got a matrix of {need:,} bytes"):
        tied.tocsr(max_bytes=need - 1)
    with pytest.raises(ShapeError, match=r"TiedMatrix\.tocsr: expected at most 10 bytes"):
        tied.untied(max_bytes=10)


def test_half_precision_is_cast_because_scipy_has_no_such_matrices():
    tied = TiedMatrix(dense_pattern(1, 2), np.array([[1, 2]], np.float16))
    assert tied.dtype == np.float32
    assert tied.tocsr().toarray().tolist() == [[1, 2]]


def test_reprs_count():
    assert repr(convolution((1, 4, 4), padding=1)) == "TiedMatrix 48 x 16: 300 nonzeros share 27 weights"
    assert repr(convolution((1, 4, 4), padding=1).T) == "TiedMatrix 16 x 48: 300 nonzeros share 27 weights"
    assert repr(identity(4)) == "TiedMatrix 4 x 4: 4 nonzeros share 1 weight"


def test_the_identity_changes_nothing():
    x = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(identity(3) @ x, x)
    assert identity(3, np.float32).dtype == np.float32


# ---------------------------------------------------------------------- reading scipy matrices

CELLS = np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 0.0]])


@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("form", ["coo", "csr", "csc", "bsr", "dia", "dok", "lil"])
def test_any_sparse_format_is_read(form, kind):
    stored = getattr(sparse, f"{form}_{kind}")(CELLS)
    tied = TiedMatrix.from_sparse(stored)
    np.testing.assert_array_equal(tied.tocsr().toarray(), CELLS)
    assert tied.nnz == tied.pattern.n_ties == stored.tocoo().nnz


def test_blocks_keep_their_stored_zeros():
    tied = TiedMatrix.from_sparse(sparse.bsr_array(CELLS, blocksize=(2, 2)))
    assert tied.nnz == 8
    np.testing.assert_array_equal(tied.tocsr().toarray(), CELLS)


def test_repeated_entries_stay_separate():
    coo = sparse.coo_array(([1.0, 2.0, 4.0], ([1, 0, 1], [2, 0, 2])), shape=(2, 3))
    tied = TiedMatrix.from_sparse(coo)
    assert tied.nnz == 3
    assert tied.tocsr().toarray().tolist() == [[2, 0, 0], [0, 0, 5]]
    assert tied.weight.tolist() == [1, 2, 4]


def test_ties_are_given_in_the_order_of_the_stored_entries():
    csc = sparse.csc_array(np.array([[1.0, 2.0], [2.0, 1.0]]))  # stored column by column
    tied = TiedMatrix.from_sparse(csc, ties=[0, 1, 1, 0])
    assert tied.weight.tolist() == [1, 2]
    np.testing.assert_array_equal(tied.tocsr().toarray(), csc.toarray())


def test_what_was_given_is_left_alone():
    csr = sparse.csr_array(CELLS)
    tied = TiedMatrix.from_sparse(csr)
    csr.data[:] = 0
    np.testing.assert_array_equal(tied.tocsr().toarray(), CELLS)


def test_any_matrix_goes_back_and_forth(agree):
    random = sparse.random_array((7, 5), density=0.4, rng=0)
    tied = TiedMatrix.from_sparse(random)
    agree(tied.tocsr().toarray(), random.toarray())
    assert TiedMatrix.from_sparse(tied.tocsr()).weight.tolist() == tied.tocsr().data.tolist()


def test_equal_ties_may_hold_nan():
    nan = sparse.csr_array(np.array([[np.nan, np.nan]]))
    assert np.isnan(TiedMatrix.from_sparse(nan, ties=[0, 0]).weight).tolist() == [True]


# ---------------------------------------------------------------------- loosening and tightening


@given(tied_matrices())
def test_untied_gives_each_connection_a_weight_of_its_own(tied):
    loose = tied.untied()
    assert loose.weight.shape == (tied.nnz,)
    assert loose.pattern.triplets()[2].tolist() == list(range(tied.nnz))
    x, dy = operands(tied)
    rows, cols, _ = loose.pattern.triplets()
    np.testing.assert_allclose(loose.grad(x, dy), np.einsum("kb,kb->k", dy[rows], x[cols]), rtol=0, atol=1e-13)


@given(tied_matrices())
def test_densified_is_a_dense_layer(tied):
    full = tied.densified()
    assert full.weight.shape == full.shape == tied.shape
    assert full.nnz == full.pattern.n_ties == tied.shape[0] * tied.shape[1]
    x, dy = operands(tied)
    np.testing.assert_allclose(full @ x, tied @ x, rtol=0, atol=1e-13)
    np.testing.assert_allclose(full.grad(x, dy), dy @ x.T, rtol=0, atol=1e-13)


@given(tied_matrices(), tied_matrices())
def test_retied_is_the_least_squares_solution_of_smallest_norm(tied, other):
    rows, cols, ties = other.pattern.triplets()
    onto = ExplicitPattern(rows % tied.shape[0], cols % tied.shape[1], ties, shape=tied.shape)
    expected = np.linalg.lstsq(constraint_matrix(onto), dense(tied).ravel())[0]
    np.testing.assert_allclose(tied.retied(onto).weight, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loosen", [TiedMatrix.untied, TiedMatrix.densified, lambda tied: tied])
def test_retied_after_loosening_is_the_identity(loosen, agree):
    tied = convolution(padding=1)
    again = loosen(tied).retied(tied.pattern)
    agree(again.weight, tied.weight.ravel())
    assert again.pattern is tied.pattern


@pytest.mark.parametrize(("mode", "size"), [("circular", 2), ("reflect", 2), ("replicate", 1), ("replicate", 3)])
def test_retied_with_repeated_cells_solves_the_ties_that_meet(mode, size, agree):
    pattern = Conv(1, 3, padding=1, padding_mode=mode).pattern((1, size))
    tied = TiedMatrix(pattern, [1.0, 10.0, 100.0])
    again = tied.untied().retied(pattern)
    agree(again.weight, np.linalg.lstsq(constraint_matrix(pattern), dense(tied).ravel())[0])
    agree(dense(again), dense(tied))


def test_retied_takes_the_mean_of_what_a_weight_is_shared_by():
    shared = ExplicitPattern([0, 0, 1], [0, 1, 1], [0, 1, 0], shape=(2, 2))
    loose = TiedMatrix.from_sparse(sparse.csr_array(np.array([[1.0, 5.0], [9.0, 4.0]])))
    assert loose.retied(shared).weight.tolist() == [2.5, 5]  # the 9 stands where nothing is connected


def test_retied_integers_have_a_mean_that_is_no_integer():
    loose = TiedMatrix.from_sparse(sparse.csr_array(np.array([[1, 2]])))
    assert loose.retied(ExplicitPattern([0, 0], [0, 1], [0, 0], shape=(1, 2))).weight.tolist() == [1.5]


def test_an_empty_matrix_can_be_loosened_and_tightened():
    nothing = TiedMatrix(ExplicitPattern([], [], shape=(2, 3)), np.zeros(0))
    assert (nothing @ np.ones(3)).tolist() == [0, 0]
    assert nothing.grad(np.ones(3), np.ones(2)).shape == (0,)
    assert nothing.untied().nnz == 0
    assert nothing.retied(nothing.pattern).weight.shape == (0,)


def test_a_weight_that_nothing_uses_is_retied_to_zero():
    onto = ExplicitPattern([0], [0], [1], shape=(1, 1))
    assert identity(1).retied(onto).weight.tolist() == [0, 1]


# ---------------------------------------------------------------------- errors


def test_there_is_one_weight_per_tie():
    with pytest.raises(ShapeError, match=r"TiedMatrix: expected 2 weights, one per tie, got 3 \(shape \(3,\)\); give"):
        TiedMatrix(ExplicitPattern([0, 0], [0, 1], shape=(1, 2)), np.zeros(3))


@pytest.mark.parametrize("stored", [np.eye(2), sparse.coo_array(np.ones(3))])
def test_from_sparse_takes_sparse_matrices_of_two_axes(stored):
    message = rf"TiedMatrix\.from_sparse: expected a two-dimensional scipy sparse matrix, got {type(stored).__name__}"
    with pytest.raises(ShapeError, match=message):
        TiedMatrix.from_sparse(stored)


def test_entries_of_one_tie_have_one_value():
    message = r"TiedMatrix\.from_sparse: expected one value for all entries of tie 0, got 1\.0 and 2\.0; give these"
    with pytest.raises(ShapeError, match=message):
        TiedMatrix.from_sparse(sparse.csr_array(np.array([[1.0, 2.0]])), ties=[0, 0])
    with pytest.raises(ShapeError, match=r"ExplicitPattern ties: expected a vector of 2 integers"):
        TiedMatrix.from_sparse(sparse.csr_array(np.array([[1.0, 2.0]])), ties=[0])


@pytest.mark.parametrize("shape", [(2,), (3, 1, 1), (), (2, 3)])
def test_operands_have_the_units_of_the_matrix(shape):
    tied = TiedMatrix(dense_pattern(4, 3), np.zeros((4, 3)))
    x = np.zeros(shape)
    for who, n, product in [
        ("@", 3, lambda: tied @ x),
        ("rmatvec", 4, lambda: tied.rmatvec(x)),
        ("grad x", 3, lambda: tied.grad(x, np.zeros(4))),
        ("grad dy", 4, lambda: tied.grad(np.zeros(3), x)),
    ]:
        with pytest.raises(ShapeError, match=rf"TiedMatrix {who}: expected \({n},\) or \({n}, batch\), got \(.*4 x 3"):
            product()


def test_the_gradient_takes_input_and_output_of_one_batch():
    with pytest.raises(ShapeError, match=r"TiedMatrix grad: expected x and dy of one batch, got \(2, 3\) and \(2, 4\)"):
        identity(2).grad(np.zeros((2, 3)), np.zeros((2, 4)))


def test_a_dense_weight_too_large_is_refused():
    message = r"TiedMatrix\.densified: expected at most 10 bytes, got 2 x 2 cells of 32 bytes; use a smaller"
    with pytest.raises(ShapeError, match=message):
        identity(2).densified(max_bytes=10)


def test_retied_takes_a_pattern_of_the_same_shape():
    with pytest.raises(ShapeError, match=r"TiedMatrix\.retied: expected a pattern of shape \(2, 2\), got \(3, 3\)"):
        identity(2).retied(identity(3).pattern)
