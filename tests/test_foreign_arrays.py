"""What a layer, a loss, an optimizer or an engine of somebody else returns: cast or refused, never misread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from simulator import (
    SGD,
    Catalog,
    Conv,
    CrossEntropy,
    Dataset,
    Dense,
    Elementwise,
    FunctionLayer,
    MatrixLayer,
    MaxPool,
    Network,
    PluginError,
    ReLU,
    SciPyEngine,
    ShapeError,
    Workspace,
    train,
)
from simulator.patterns import ExplicitPattern

CATALOG = Catalog()


@pytest.fixture(params=[*CATALOG.engines, "auto"])
def engine(request, engine_called):
    return engine_called(request.param, threads=1)


# Each keeps the values of an array of whole numbers.
AS = {
    "float64": lambda a: a.astype(np.float64),
    "float32": lambda a: a.astype(np.float32),
    "int64": lambda a: a.astype(np.int64),
    "float16": lambda a: a.astype(np.float16),
    "big endian": lambda a: a.astype(">f4"),
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "Fortran": np.asfortranarray,
    "reversed": lambda a: a[::-1].copy()[::-1],
}


@dataclass(frozen=True)
class Odd(FunctionLayer):
    """The input, rounded, times a gain for each channel, where one of the arrays has another dtype or order."""

    form: str
    where: str

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def param_shapes(self, *input_shapes):
        return {"gain": input_shapes[0][:1]}

    def init_params(self, rng, *input_shapes, dtype):
        return {"gain": self.given("first params", np.full(input_shapes[0][0], 2, dtype))}

    def init_buffers(self, *input_shapes, dtype):
        return {"seen": self.given("first buffers", np.zeros(3, dtype))}

    def given(self, what, array):
        return AS[self.form](array) if what == self.where else array

    def forward(self, params, buffers, *xs, training=False, rng=None):
        x = np.rint(xs[0])
        gain = params["gain"].reshape(-1, *(1,) * (x.ndim - 1))

        def pullback(dy):
            dy = np.rint(dy)
            dgain = np.sum(dy * x, axis=tuple(range(1, x.ndim)))
            return (self.given("gradient", dy * gain),), {"gain": self.given("param gradient", dgain)}

        return self.given("output", x * gain), pullback, {"seen": self.given("buffers", buffers["seen"] + 1)}


PLACES = ["output", "gradient", "param gradient", "buffers", "first params", "first buffers"]


def step(form, where, dtype, engine):
    """All that a training step and a prediction compute; whole numbers, so that all engines give the same."""
    odd = Odd(form, where)
    layers = [Conv(6, 3), ReLU(), odd, Conv(7, 3), ReLU(), MaxPool(2), odd, Dense(5)]
    network = Network.sequential((1, 10, 10), layers, rng=0, dtype=dtype, engine=engine)
    rng = np.random.default_rng(0)
    weights = {name: rng.integers(-1, 2, shape) for name, shape in network.param_shapes.items() if "odd" not in name}
    network = network.with_params(weights)
    x = rng.integers(-1, 2, (33, 1, 10, 10))
    trace = Workspace(network).run(network, x, training=True, rng=0, backward=True)
    dy = rng.integers(-1, 2, trace["dense1"].shape)
    kept = network.run(x, training=True, rng=0)
    gradients = trace.backward(dy, params_only=True).params
    plain = {f"plain {name}": array for name, array in kept.backward(dy).params.items()}
    buffers = trace.buffers
    return {"y": trace["dense1"], "p": network.predict(x), **gradients, **buffers, **plain}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize(
    ("form", "dtype"), [(form, "float64" if form == "float32" else "float32") for form in AS], ids=list(AS)
)
def test_other_dtypes_and_orders_are_taken(form, where, dtype, engine):
    expected = step("float64", "", "float64", SciPyEngine())
    for name, array in step(form, where, dtype, engine).items():
        assert array.dtype == dtype, name
        rounding = 1e-3 if form == "float16" else 1e-5
        np.testing.assert_allclose(array, expected[name], rtol=rounding, atol=1e-5, err_msg=name)


@dataclass(frozen=True)
class Step(Elementwise):
    """What a student writes first: slopes of float64, then of bool."""

    slope: object = float

    def value_and_slope(self, x):
        slope = np.where(x > 0, 1.0, 0.0) if self.slope is float else x > 0
        return np.where(x > 0, x, 0.0 if self.slope is float else 0), slope


@pytest.mark.parametrize("slope", [float, bool])
def test_an_elementwise_layer_with_numbers_of_python(slope, engine):
    x = np.random.default_rng(0).standard_normal((40, 1, 12, 12))
    found = []
    for layer, who in ((Step(slope), engine), (ReLU(), SciPyEngine())):
        layers = [Conv(8, 3), layer, Conv(8, 3), layer, Dense(3)]
        network = Network.sequential((1, 12, 12), layers, rng=0, engine=who)
        trace = Workspace(network).run(network, x, training=True, rng=0, backward=True)
        found.append({"y": trace["dense1"], **trace.backward(np.ones((40, 3)), params_only=True).params})
    for name, array in found[0].items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, found[1][name], rtol=0, atol=1e-4 * np.abs(found[1][name]).max())


def broken(**given):
    """A layer that gives something else for "y", "dx", "dgain" or "seen"."""

    @dataclass(frozen=True)
    class Broken(Odd):
        form: str = "float32"
        where: str = ""

        def given(self, what, array):
            key = {"output": "y", "gradient": "dx", "param gradient": "dgain", "buffers": "seen"}.get(what)
            return given[key](array) if key in given else array

    return Broken()


def imaginary(array):
    return array * 1j


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": imaginary}, r"broken1: expected .*Broken\(.*\) to give an array \(2, 3\), got \(2, 3\) of complex"),
        ({"y": lambda a: a.astype(object)}, r"broken1: expected .*Broken\(.*\) to give .*, got \(2, 3\) of object;"),
        ({"y": lambda a: a[:1]}, r"broken1: expected .*Broken\(.*\) to give an array \(2, 3\), got \(1, 3\);"),
        (
            {"y": list},
            r"broken1: expected .*Broken\(.*\) to give an array \(2, 3\), got \[an array \(3,\) of",
        ),
        ({"seen": lambda a: a[:1]}, r"broken1: .* to give buffers with broken1.seen as an array \(3,\), got \(1,\);"),
        ({"dx": imaginary}, r"backward broken1: .* gradients of shapes \[\(2, 3\)\], got \[\(2, 3\) of complex"),
        ({"dx": lambda a: a[:1]}, r"backward broken1: .* gradients of shapes \[\(2, 3\)\], got \[\(1, 3\)\];"),
        ({"dx": lambda a: None}, r"backward broken1: .* gradients of shapes \[\(2, 3\)\], got \[None\];"),
        (
            {"dgain": imaginary},
            r"backward broken1: .* gradients with broken1.gain as an array \(2,\), got \(2,\) of co",
        ),
        ({"dgain": lambda a: a[:1]}, r"backward broken1: .* with broken1.gain as an array \(2,\), got \(1,\);"),
    ],
)
def test_what_is_no_array_of_real_numbers_is_refused_and_the_layer_named(given, message):
    network = Network.sequential((2,), [broken(**given), Dense(2)], rng=0)
    with pytest.raises(PluginError, match=message) as caught:
        network.run(np.ones((3, 2)), training=True, rng=0).backward(np.ones((3, 2)))
    assert "\n" not in str(caught.value)
    assert "fix the layer" in str(caught.value)


def test_first_values_are_checked():
    class Short(Odd):
        def init_params(self, rng, *input_shapes, dtype):
            return {"gain": np.ones(1, dtype)}

    class Other(Odd):
        def init_params(self, rng, *input_shapes, dtype):
            return {"again": np.ones(2, dtype)}

    with pytest.raises(PluginError, match=r"short1: .* give the param gain as an array \(2,\) .*, got \(1,\); correct"):
        Network.sequential((2,), [Short("float32", "")], rng=0)
    with pytest.raises(PluginError, match=r"other1: .* to give first values of gain, got again; correct its"):
        Network.sequential((2,), [Other("float32", "")], rng=0)


def test_a_pattern_of_another_size_is_refused(engine):
    @dataclass(frozen=True)
    class Larger(MatrixLayer):
        def output_shape(self, input_shape):
            return (3,)

        def pattern(self, input_shape):
            return ExplicitPattern([0, 1, 2, 3], [0, 0, 0, 0], shape=(4, 2))

        def weight_shape(self, input_shape):
            return (4,)

    network = Network.sequential((2,), [Larger()], engine=engine)
    with pytest.raises(PluginError, match=r"larger1: expected .* to have a pattern of 3 x 2 units, got .*4 x 2"):
        network.node("larger1").pattern  # noqa: B018


def trained(**options):
    data = Dataset(np.random.default_rng(0).standard_normal((20, 1, 8, 8)), np.arange(20) % 3)
    network = Network.sequential((1, 8, 8), [Conv(4, 3), ReLU(), Dense(3)], rng=0, engine=options.pop("engine", None))
    *_, last = train(network, data, epochs=1, batch_size=10, **options)
    return last.network.params


def loss_with(change):
    class Changed(CrossEntropy):
        def value_and_grad(self, prediction, target):
            value, gradient = super().value_and_grad(prediction, target)
            return value, change(gradient)

    return Changed()


def optimizer_with(change):
    class Changed(SGD):
        def step(self, params, grads, state):
            new, state = super().step(params, grads, state)
            return {name: change(array) for name, array in new.items()}, state

    return Changed(0.1)


FLOATS = {form: AS[form] for form in ("float64", "big endian", "strided", "Fortran", "reversed")}


@pytest.mark.parametrize("change", FLOATS.values(), ids=FLOATS)
def test_gradients_of_losses_and_params_of_optimizers(change, engine):
    expected = trained(optimizer=SGD(0.1))
    for got in (
        trained(engine=engine, losses=loss_with(change), optimizer=SGD(0.1)),
        trained(engine=engine, optimizer=optimizer_with(change)),
    ):
        for name, array in got.items():
            assert array.dtype == np.float32
            assert array.flags.c_contiguous
            np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-5)


def test_the_loss_and_the_optimizer_are_named():
    with pytest.raises(PluginError, match=r"loss .*Changed\(.*: expected a gradient .*, got \(10, 3\) of complex"):
        trained(losses=loss_with(imaginary))
    with pytest.raises(PluginError, match=r"loss .*Changed\(.*: expected a gradient .*, got \(10,\); give one"):
        trained(losses=loss_with(lambda a: a[:, 0]))
    with pytest.raises(PluginError, match=r"optimizer .*Changed\(.*: expected step to give conv1.weight as an array"):
        trained(optimizer=optimizer_with(imaginary))
    with pytest.raises(PluginError, match=r"optimizer .*Changed\(.*: .* array \(4, 1, 3, 3\) .*, got \(1, 1, 3, 3\)"):
        trained(optimizer=optimizer_with(lambda a: a[:1]))


def test_a_gradient_that_is_not_real_is_refused():
    trace = Network.sequential((2,), [Dense(2)], rng=0).run(np.ones((3, 2)))
    with pytest.raises(
        ShapeError, match="backward dense1: expected .* real numbers, got values of type complex128; take their real"
    ):
        trace.backward(np.ones((3, 2)) * 1j)


class Foreign(SciPyEngine):
    """An engine whose results are changed by whoever makes it; with a kernel of its own if it is asked for one."""

    def __init__(self, change, fused=False):
        super().__init__()
        self.change, self.fused = change, fused

    def apply(self, matrix, x):
        return self.change(super().apply(matrix, x))

    def apply_transposed(self, matrix, dy):
        return self.change(super().apply_transposed(matrix, dy))

    def grad(self, matrix, x, dy):
        return self.change(super().grad(matrix, x, dy))

    def kernel(self, nodes, batch):
        if not self.fused or not isinstance(nodes[0].layer, Dense):
            return None

        def kernel(run, x):
            y = run.matrix(nodes[0]).weight @ x.reshape(-1, x.shape[-1])
            return self.change(y), None, {}

        return kernel, 1


@pytest.mark.parametrize("change", FLOATS.values(), ids=FLOATS)
def test_results_of_an_engine_are_taken(change):
    expected = trained(optimizer=SGD(0.1))
    for name, array in trained(engine=Foreign(change), optimizer=SGD(0.1)).items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-5)


def test_an_engine_is_named():
    with pytest.raises(
        PluginError, match=r"engine Foreign\(.*expected apply to give an array \(144, 10\), got .*complex"
    ):
        trained(engine=Foreign(imaginary))
    network = Network.sequential((3,), [Dense(2, bias=False)], rng=0, engine=Foreign(lambda y: y[:1], fused=True))
    with pytest.raises(PluginError, match=r"dense1: expected engine Foreign.* to give an array \(2, 4\), got \(1, 4\)"):
        network.predict(np.ones((4, 3)))


def test_the_loops_take_one_dtype_only():
    pytest.importorskip("numba")
    from simulator_plugins.engines.numba_engine import Loops

    line = np.zeros(6, np.float32)
    with pytest.raises(ShapeError, match="engine numba, masked: expected numbers of float32, got float64; give arrays"):
        Loops(1)(1, "masked", line.dtype, line, np.zeros(2, "f"), np.zeros(6), np.zeros(6))


def test_products_of_a_matrix_with_arrays_that_do_not_fit(engine):
    matrix = Network.sequential((1, 8, 8), [Conv(4, 3)], rng=0).node("conv1").matrix
    for x in (np.ones((63, 3), "f"), np.ones((65, 3), "f")):
        with pytest.raises((ShapeError, ValueError), match="expected|dimension|shape"):
            engine.apply(matrix, x)
    with pytest.raises((ShapeError, ValueError), match="expected|dimension|shape"):
        engine.grad(matrix, np.ones((64, 3), "f"), np.ones((144, 2), "f"))
