"""The reference engine is scipy.sparse, and any object with the three products may replace it."""

import numpy as np

from simulator import AveragePool, Conv, Dense, Engine, Network, ReLU, SciPyEngine


class Diary(SciPyEngine):
    """Writes down what it is asked, and checks what it is given."""

    def __init__(self):
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
