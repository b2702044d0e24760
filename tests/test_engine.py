"""The reference engine is scipy.sparse, and any object with the three products may replace it."""

import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import AveragePool, Conv, Dense, Engine, Network, ReLU, SciPyEngine, ShapeError
from simulator import engine as engine_module
from simulator import matrix as matrix_module
from simulator.matrix import TiedMatrix, identity
from simulator.patterns import ExplicitPattern


class Diary(SciPyEngine):
    """Writes down what it is asked, and checks what it is given."""

    def __init__(self):
        super().__init__()
        self.pages = []

    def apply(self, matrix, x):
        self.note("apply", matrix, x)
        return super().apply(matrix, x)

    def apply_transposed(self, matrix, dy):
        self.note("apply_transposed", matrix.T, dy)
        return super().apply_transposed(matrix, dy)

    def grad(self, matrix, x, dy):
        self.note("grad", matrix, x)
        self.note("grad", matrix.T, dy)
        return super().grad(matrix, x, dy)

    def note(self, verb, matrix, x):
        assert x.flags.c_contiguous
        assert x.shape == (matrix.shape[1], 3)
        assert x.dtype == matrix.dtype
        self.pages.append(verb)


def network(engine):
    layers = [Conv(2, 3, padding=1, pad_value=-1.0), ReLU(), AveragePool(2), Dense(4)]
    return Network.sequential((1, 4, 4), layers, rng=0, dtype=np.float64, engine=engine)


def test_the_reference_multiplies_with_the_scipy_matrix():
    W = network(SciPyEngine()).node("conv1").matrix
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((16, 3)), rng.standard_normal((32, 3))
    engine = SciPyEngine()
    np.testing.assert_array_equal(engine.apply(W, x), W.tocsr() @ x)
    np.testing.assert_array_equal(engine.apply_transposed(W, dy), W.tocsr().T @ dy)
    np.testing.assert_array_equal(engine.grad(W, x, dy), W.grad(x, dy))
    assert engine.grad(W, x, dy).shape == W.weight.shape


def test_engines_are_known_by_what_they_do():
    assert isinstance(SciPyEngine(), Engine)
    assert not isinstance(object(), Engine)
    assert repr(SciPyEngine()) == "SciPyEngine()"
    assert repr(SciPyEngine(threads=2)) == "SciPyEngine(threads=2)"


def test_a_network_asks_its_engine_for_every_product():
    engine = Diary()
    trace = network(engine).run(np.ones((3, 1, 4, 4)))
    assert engine.pages == ["apply"] * 3
    engine.pages.clear()
    trace.backward(np.ones((3, 4)))
    assert engine.pages.count("apply_transposed") == 3
    assert engine.pages.count("grad") == 2 * 2  # two arrays each; the weight of the average is fixed


def test_params_only_leaves_out_the_product_that_only_the_input_needs():
    engine = Diary()
    trace = network(engine).run(np.ones((3, 1, 4, 4)))
    engine.pages.clear()
    trace.backward(np.ones((3, 4)), params_only=True)
    assert engine.pages.count("apply_transposed") == 2


def test_another_engine_gives_the_same_network():
    engine = Diary()
    old = network(SciPyEngine())
    new = old.with_engine(engine)
    x = np.random.default_rng(0).standard_normal((3, 1, 4, 4))
    np.testing.assert_array_equal(new.predict(x), old.predict(x))
    assert engine.pages
    assert new.engine is engine
    assert isinstance(old.engine, SciPyEngine)


# ---------------------------------------------------------------------- threads


@pytest.fixture
def many_blocks(monkeypatch):
    """Even the smallest product is cut into blocks, and so is the gradient of each."""
    monkeypatch.setattr(engine_module, "_BLOCK_PRODUCTS", 1)
    for name in ("_BLOCK_ROWS", "_BLOCK_CELLS", "_BLOCK_NONZEROS"):
        monkeypatch.setattr(matrix_module, name, 1)


def operands(tied, batch=5, dtype=np.float64):
    rng = np.random.default_rng(1)
    return tuple(rng.standard_normal((n, batch)).astype(dtype) for n in reversed(tied.shape))


def expected(tied, x, dy):
    """The three products from single connections."""
    rows, cols, ties = tied.pattern.triplets()
    values = tied.weight.ravel()[ties]
    y, dx, grad = np.zeros(dy.shape), np.zeros(x.shape), np.zeros((tied.pattern.n_ties, x.shape[1]))
    np.add.at(y, rows, values[:, None] * x[cols])
    np.add.at(dx, cols, values[:, None] * dy[rows])
    np.add.at(grad, ties, dy[rows] * x[cols])
    return y, dx, grad.sum(axis=1).reshape(tied.weight.shape)


def convolution(channels=3, size=8, dtype=np.float64):
    return Network.sequential((2, size, size), [Conv(channels, 3, padding=1)], rng=0, dtype=dtype).node("conv1").matrix


MATRICES = {
    "convolution": convolution(),
    "transposed": convolution().T,
    "identity": identity(40),  # too few nonzeros per column for blocks of the transposed product
    "empty rows and columns": TiedMatrix(ExplicitPattern([3, 3, 7], [0, 5, 5], [0, 1, 0], shape=(9, 8)), [2.0, 3.0]),
    "one long row": TiedMatrix(ExplicitPattern([1] * 50, range(50), shape=(3, 50)), np.arange(50.0)),
    "repeated cells": TiedMatrix(ExplicitPattern([0, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 0], shape=(2, 2)), [2.0, 3.0]),
    "no connections": TiedMatrix(ExplicitPattern([], [], shape=(3, 4), n_ties=2), [1.0, 2.0]),
}


@pytest.mark.parametrize("batch", [0, 1, 5])
@pytest.mark.parametrize("threads", [1, 2, 3, 20])
@pytest.mark.parametrize("name", MATRICES)
def test_blocks_on_threads_give_the_products_of_single_connections(name, threads, batch, many_blocks, agree):
    tied = MATRICES[name]
    x, dy = operands(tied, batch)
    engine = SciPyEngine(threads)
    y, dx, grad = expected(tied, x, dy)
    np.testing.assert_array_equal(engine.apply(tied, x), tied.tocsr() @ x)
    agree(engine.apply(tied, x), y)
    agree(engine.apply_transposed(tied, dy), dx)
    agree(engine.grad(tied, x, dy), grad)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 3)), max_size=40), st.integers(2, 5))
def test_blocks_of_any_pattern_agree_with_one(connections, threads):
    rows, cols, ties = (list(part) for part in zip(*connections, strict=True)) if connections else ([], [], [])
    tied = TiedMatrix(ExplicitPattern(rows, cols, ties, shape=(6, 5), n_ties=4), [1.0, -2.0, 3.0, -4.0])
    x, dy = operands(tied, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "_BLOCK_PRODUCTS", 1)
        engine = SciPyEngine(threads)
        found = engine.apply(tied, x), engine.apply_transposed(tied, dy), engine.grad(tied, x, dy)
    for actual, right in zip(found, expected(tied, x, dy), strict=True):
        np.testing.assert_allclose(actual, right, rtol=0, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 20])
def test_any_number_of_threads_always_gives_the_same_bits(threads):
    tied = convolution(16, 24, np.float32)
    x, dy = operands(tied, 64, np.float32)
    one, many = SciPyEngine(1), SciPyEngine(threads)
    again = TiedMatrix(tied.pattern, tied.weight)
    assert tied.nnz * 64 > 2 * engine_module._BLOCK_PRODUCTS
    for _ in range(2):
        np.testing.assert_array_equal(many.apply(tied, x), one.apply(again, x))
        np.testing.assert_array_equal(many.apply_transposed(tied, dy), one.apply_transposed(again, dy))
        np.testing.assert_array_equal(many.grad(tied, x, dy), one.grad(again, x, dy))
    assert many.grad(tied, x, dy).dtype == many.apply_transposed(tied, dy).dtype == np.float32


def test_vectors_and_other_layouts_are_taken_and_left_as_they_are(many_blocks, agree):
    tied, engine = convolution(), SciPyEngine(2)
    x, dy = operands(tied, 5)
    y, dx, grad = expected(tied, x, dy)
    for layout in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], lambda a: a[::-1].copy()[::-1]):
        strided, strided_dy = layout(x), layout(dy)
        strided.flags.writeable = strided_dy.flags.writeable = False
        agree(engine.apply(tied, strided), y)
        agree(engine.apply_transposed(tied, strided_dy), dx)
        agree(engine.grad(tied, strided, strided_dy), grad)
    agree(engine.apply(tied, x[:, 0]), y[:, 0])
    agree(engine.apply_transposed(tied, dy[:, 0]), dx[:, 0])
    agree(engine.grad(tied, x[:, 0], dy[:, 0]), expected(tied, x[:, :1], dy[:, :1])[2])
    agree(engine.apply(tied, x.astype(np.float32)), y, tolerance=1e-6)
    np.testing.assert_array_equal(operands(tied, 5)[0], x)


def test_a_scipy_without_the_inner_product_does_as_well(many_blocks, monkeypatch):
    matrix = TiedMatrix(Conv(3, 3).pattern((2, 9, 8)), np.random.default_rng(0).standard_normal(54))
    x = np.random.default_rng(1).standard_normal((144, 5))
    one = SciPyEngine(2).apply(matrix, x)
    monkeypatch.setitem(sys.modules, "scipy.sparse._sparsetools", None)
    np.testing.assert_array_equal(SciPyEngine(2).apply(matrix, x), one)
    np.testing.assert_array_equal(matrix @ x, one)


def test_new_weights_refill_the_values_only(many_blocks):
    tied, engine = convolution(), SciPyEngine(2)
    x, dy = operands(tied)
    engine.apply(tied, x)
    other = tied.with_weight(-tied.weight)
    np.testing.assert_array_equal(engine.apply(other, x), -engine.apply(tied, x))
    np.testing.assert_array_equal(engine.apply_transposed(other, dy), -engine.apply_transposed(tied, dy))
    indices = tied.pattern.csr[1]
    assert len(other._row_blocks) == engine_module._MOST_BLOCKS + 4  # few connections for each input
    assert all(np.shares_memory(block.indices, indices) for block in other._row_blocks.values())


def test_wrong_shapes_are_reported_on_threads_too(many_blocks):
    tied, engine = convolution(), SciPyEngine(2)
    x, dy = operands(tied)
    with pytest.raises(ShapeError, match=r"expected \(128,\) or \(128, batch\), got \(127, 5\)"):
        engine.apply(tied, x[1:])
    with pytest.raises(ShapeError, match="rmatvec: expected"):
        engine.apply_transposed(tied, dy[1:])
    with pytest.raises(ShapeError, match="expected x and dy of one batch"):
        engine.grad(tied, x[:, 1:], dy)


def test_a_matrix_that_does_not_fit_is_refused_on_threads_too(many_blocks, monkeypatch):
    monkeypatch.setattr(matrix_module, "LARGEST_CSR", 100)
    tied = convolution()
    with pytest.raises(ShapeError, match="expected at most 100 bytes"):
        SciPyEngine(2).apply(tied, operands(tied)[0])


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_the_number_of_threads_is_checked(threads):
    with pytest.raises(ShapeError, match="engine scipy threads: expected"):
        SciPyEngine(threads)


def test_the_speed_grows_with_batch_and_cores():
    pattern = convolution(16, 24).pattern
    one, two = SciPyEngine(1), SciPyEngine(2)
    assert 0 == one.speed(pattern, 0) < one.speed(pattern, 1) < one.speed(pattern, 64)
    assert two.speed(pattern, 1) == one.speed(pattern, 1)
    assert two.speed(pattern, 64) == 2 * one.speed(pattern, 64)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "layer",
    [Conv(16, 5, padding=2), Conv(16, 5, padding=2, groups=16)],
    ids=["product of all pairs", "scalar products"],
)
def test_the_gradient_needs_far_less_memory_than_a_number_per_nonzero_and_sample(layer, threads):
    tied = Network.sequential((16, 16, 16), [layer], rng=0).node("conv1").matrix
    x, dy = operands(tied, 256, np.float32)
    engine = SciPyEngine(threads)
    engine.grad(tied, x, dy)  # index arrays and threads are there now
    tracemalloc.start()
    try:
        engine.grad(tied, x, dy)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * 2**20 * threads
    assert tied.nnz * 256 * 4 > 70 * 2**20
