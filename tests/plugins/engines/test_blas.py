"""The BLAS engine against SciPy, PyTorch and the core's own layers, with one block of sites and with many."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator_plugins.engines import blas
from simulator_plugins.engines.blas import BLASEngine

from simulator import (
    Add,
    AveragePool,
    Catalog,
    Conv,
    ConvTranspose,
    Dense,
    ExplicitPattern,
    LocallyConnected,
    MaxPool,
    Network,
    ReLU,
    SciPyEngine,
    ShapeError,
    Subsample,
    TiedMatrix,
    Window,
)
from simulator.execution import fused
from simulator.testing import check_engine
from simulator.workspace import Workspace

BatchNorm = Catalog().layers["batch-norm"]

PATTERNS = {
    "plain": Conv(5, 3, padding=1).pattern((4, 9, 7)),
    "seven wide": Conv(3, 7, stride=2, padding=3).pattern((2, 13, 12)),
    "dilated": Conv(2, 3, dilation=(2, 1), padding=((0, 2), (1, 0))).pattern((2, 8, 9)),
    "pointwise": Conv(6, 1).pattern((4, 6, 5)),
    "pointwise, strided": Conv(6, 1, stride=2).pattern((4, 7, 7)),
    "volume": Conv(3, 2, flip=True).pattern((2, 4, 5, 6)),
    "grouped": Conv(6, 3, groups=3, padding=1).pattern((6, 5, 5)),
    "depthwise": Conv(12, (3, 2), groups=6).pattern((6, 5, 5)),
    "table": Conv(5, 3, table=((0, 2), (2, 0), (1, 2, 3), (3,), (1,))).pattern((4, 6, 6)),
    "reflected": Conv(2, 3, padding=2, padding_mode="reflect").pattern((2, 5, 5)),
    "replicated": Conv(2, 3, padding=2, padding_mode="replicate").pattern((2, 5, 5)),
    "averaged": AveragePool(3, stride=2, padding=1).pattern((3, 9, 9)),
    "averaged over all": AveragePool("global").pattern((5, 4, 4)),
    "averaged, border apart": AveragePool(2, padding=1, count_include_pad=False).pattern((2, 5, 5)),
    "subsampled": Subsample(2).pattern((3, 6, 6)),
    "dense": Dense(7).pattern((3, 5)),
    "locally connected": LocallyConnected(2, 3).pattern((2, 5, 5)),
}


@pytest.fixture(params=["whole", "blocks"])
def sizes(request, monkeypatch):
    """Panels as large as they are by default, then so small that a few sites fill one."""
    if request.param == "blocks":
        monkeypatch.setattr(blas, "_COLUMNS", 4)
        monkeypatch.setattr(blas, "_PANEL_BYTES", 256)
        monkeypatch.setattr(blas, "_CHUNK", 8)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_it_keeps_the_contract_of_an_engine(sizes, threads):
    check_engine(BLASEngine(threads))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", PATTERNS)
def test_every_product_is_that_of_the_sparse_matrix(sizes, name, transposed):
    pattern = PATTERNS[name].T if transposed else PATTERNS[name]
    rng = np.random.default_rng(0)
    W = TiedMatrix(pattern, rng.standard_normal(pattern.n_ties))
    csr = W.tocsr()
    for batch in (1, 6):
        x, dy = rng.standard_normal((W.shape[1], batch)), rng.standard_normal((W.shape[0], batch))
        rows, cols, ties = pattern.triplets()
        gradient = np.zeros(pattern.n_ties)
        np.add.at(gradient, ties, np.sum(dy[rows] * x[cols], axis=1))
        for threads in (1, 2):
            engine = BLASEngine(threads)
            np.testing.assert_allclose(engine.apply(W, x), csr @ x, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(engine.apply_transposed(W, dy), csr.T @ dy, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(engine.grad(W, x, dy), gradient, rtol=1e-12, atol=1e-12)


def test_a_convolution_is_that_of_pytorch(torch):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 8, 33, 30)), rng.standard_normal((16, 8, 3, 3))
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, weight)]
    y = torch.nn.functional.conv2d(*leaves, stride=2, padding=1)
    dy = rng.standard_normal(y.shape)
    y.backward(torch.tensor(dy))
    W = TiedMatrix(Conv(16, 3, stride=2, padding=1).pattern((8, 33, 30)), weight)
    flat_x, flat_y, flat_dy, flat_dx = (
        np.ascontiguousarray(np.moveaxis(a, 0, -1)).reshape(-1, 2)
        for a in (x, y.detach().numpy(), dy, leaves[0].grad.numpy())
    )
    engine = BLASEngine()
    np.testing.assert_allclose(engine.apply(W, flat_x), flat_y, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(engine.apply_transposed(W, flat_dy), flat_dx, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(engine.grad(W, flat_x, flat_dy), leaves[1].grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("threads", [1, 2])
def test_one_number_of_threads_gives_the_same_bits(sizes, threads):
    rng = np.random.default_rng(0)
    W = TiedMatrix(PATTERNS["plain"], rng.standard_normal(PATTERNS["plain"].n_ties).astype(np.float32))
    x, dy = (rng.standard_normal((n, 5)).astype(np.float32) for n in W.shape[::-1])
    runs = [
        (engine.apply(W, x), engine.apply_transposed(W, dy), engine.grad(W, x, dy))
        for engine in (BLASEngine(threads) for _ in range(3))
    ]
    for other in runs[1:]:
        for found, expected in zip(other, runs[0], strict=True):
            np.testing.assert_array_equal(found, expected)


def test_operands_may_be_read_only_and_of_any_layout():
    W = TiedMatrix(PATTERNS["plain"], np.random.default_rng(0).standard_normal(PATTERNS["plain"].n_ties))
    x, dy = (np.arange(2.0 * 3 * n).reshape(3, 2 * n)[:, ::2].T for n in W.shape[::-1])
    x.flags.writeable = dy.flags.writeable = False
    engine, csr = BLASEngine(), W.tocsr()
    np.testing.assert_allclose(engine.apply(W, x), csr @ x, rtol=1e-12)
    np.testing.assert_allclose(engine.apply_transposed(W, dy), csr.T @ dy, rtol=1e-12)
    np.testing.assert_allclose(engine.grad(W, x, dy), SciPyEngine().grad(W, x, dy), rtol=1e-12)


def test_operands_that_do_not_fit_are_refused_as_by_scipy():
    W, engine = TiedMatrix(PATTERNS["plain"], np.ones(PATTERNS["plain"].n_ties)), BLASEngine()
    x, dy = (np.ones((n, 2)) for n in W.shape[::-1])
    with pytest.raises(ShapeError, match=r"expected \(252,\) or \(252, batch\), got \(315, 2\)"):
        engine.apply(W, dy)
    with pytest.raises(ShapeError, match=r"expected \(315,\) or \(315, batch\), got \(252, 2\)"):
        engine.apply_transposed(W, x)
    with pytest.raises(ShapeError, match="expected x and dy of one batch"):
        engine.grad(W, x, dy[:, :1])


def test_no_product_builds_the_sparse_matrix():
    pattern = Conv(64, 3, padding=1).pattern((64, 96, 96))
    W, engine = TiedMatrix(pattern, np.ones(pattern.n_ties, np.float32)), BLASEngine()
    for batch in (0, 1):
        x, dy = (np.ones((n, batch), np.float32) for n in W.shape[::-1])
        assert np.all(engine.apply(W, x).reshape(64, 96, 96, batch)[:, 1:-1, 1:-1] == 576)
        assert np.all(engine.apply_transposed(W, dy).reshape(64, 96, 96, batch)[:, 1:-1, 1:-1] == 576)
        assert np.all(engine.grad(W, x, dy).reshape(64, 64, 9)[..., 4] == 9216 * batch)
    assert "csr" not in vars(pattern)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 7)] * 2),
    st.tuples(*[st.integers(1, 4)] * 2),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[st.integers(1, 2)] * 2),
    st.integers(0, 3),
)
def test_grids_cover_each_cell_of_a_window_table_once(space, kernel, stride, dilation, padding):
    window = Window(kernel, stride, dilation, padding)
    if all(n + 2 * padding > (k - 1) * d for n, k, d in zip(space, kernel, dilation, strict=True)):
        assert_covered(window.sites(space))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-1, 9)] * 2), min_size=1, max_size=20))
def test_grids_cover_each_cell_of_any_table_once(rows):
    assert_covered(np.array(rows))


def assert_covered(sites):
    found = np.full(sites.shape, -9)
    for grid in blas._grids(sites):
        i, j = np.indices(grid.shape)
        at = grid.first + i * grid.out_steps[0] + j * grid.out_steps[1]
        assert np.all(found[at, grid.tap] == -9)
        found[at, grid.tap] = grid.start + i * grid.in_steps[0] + j * grid.in_steps[1]
    np.testing.assert_array_equal(found, sites)


def test_a_padded_map_is_few_grids():
    inputs, padding_of_corners, padding_of_sides = 9, 4 * 2, 4
    assert len(blas._grids(Window(3, padding=1).sites((50, 50)))) == inputs + padding_of_corners + padding_of_sides


@pytest.mark.parametrize("count", [0, -1, 1.5])
def test_threads_are_counted(count):
    with pytest.raises(ShapeError, match=r"^engine blas threads: expected an integer of at least 1, got .*; give such"):
        BLASEngine(count)


def test_an_engine_can_be_pickled_after_use():
    engine = BLASEngine(2)
    W = TiedMatrix(PATTERNS["plain"], np.ones(PATTERNS["plain"].n_ties))
    x = np.ones((W.shape[1], 2))
    y = engine.apply(W, x)
    again = pickle.loads(pickle.dumps(engine))
    np.testing.assert_array_equal(again.apply(W, x), y)
    assert repr(again) == repr(engine) == "BLASEngine(threads=2)"


def test_its_speed_is_zero_where_scipy_multiplies():
    engine = BLASEngine(1)
    assert engine.speed(PATTERNS["locally connected"], 8) == 0
    assert engine.speed(ExplicitPattern([0], [1], shape=(2, 2)), 8) == 0
    assert engine.speed(PATTERNS["plain"], 0) == 0


def test_its_speed_grows_with_the_product():
    engine = BLASEngine(1)
    small, large = (Conv(n, 3, padding=1).pattern((n, 28, 28)) for n in (1, 256))
    assert engine.speed(small, 8) < 5e9 < 20e9 < engine.speed(large, 8) < 35e9
    assert engine.speed(large.T, 8) == engine.speed(large, 8)


def test_nothing_depends_on_what_was_computed_before():
    net = Network.sequential((16, 20, 20), [Conv(16, 3, padding=1)], rng=0, engine=BLASEngine(2))
    x, pattern = np.random.default_rng(0).standard_normal((8, 16, 20, 20)), net.nodes["conv1"].pattern
    found = []
    for _ in range(2):
        trace = net.run(x)
        gradient = trace.backward(np.cos(trace["conv1"])).params["conv1.weight"]
        found.append((net.engine.speed(pattern, 8), trace["conv1"], gradient, net.predict(x)))
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)


# ---------------------------------------------------------------------- kernels


def network(engine, dtype=np.float64):
    net = Network.input((3, 10, 10), dtype=dtype, engine=engine)
    net = net.chain([("conv", Conv(6, 3, padding=1)), ("norm", BatchNorm()), ("relu", ReLU())], rng=0)
    net = net.add(MaxPool(3, stride=2, padding=1), name="pool")
    net = net.chain([("left", Conv(6, 3, padding=1, groups=2, bias=False)), ("left-norm", BatchNorm())], rng=1)
    net = net.add(Conv(6, 1), "pool", name="right", rng=2).add(Add(), "left-norm", "right", name="sum")
    net = net.chain([("sum-norm", BatchNorm()), ("sum-relu", ReLU())], rng=3)
    net = net.chain([("unit", Conv(2, 3, bias="unit")), ("unit-relu", ReLU())], rng=4)
    net = net.chain([("padded", Conv(2, 3, padding=1, pad_value=2.0)), ("padded-norm", BatchNorm())], rng=5)
    net = net.chain([("up", ConvTranspose(2, 2, stride=2)), ("out", Dense(4))], rng=6)
    rng = np.random.default_rng(7)
    params = {k: rng.standard_normal(v.shape) for k, v in net.params.items() if "norm" in k or "bias" in k}
    return net.with_params(params).with_buffers({k: rng.random(v.shape) + 0.5 for k, v in net.buffers.items()})


def test_layers_are_predicted_together():
    net = network(BLASEngine())
    steps = fused(net.nodes, net.engine, net.outputs, 2)
    assert [tuple(node.name for node in step.nodes) for step in steps if len(step.nodes) > 1] == [
        ("conv", "norm", "relu"),
        ("left", "left-norm"),
        ("right", "sum"),
        ("sum-norm", "sum-relu"),
    ]


SLIDES = [
    ((4, 9, 7), Conv(5, 3, padding=1)),
    ((2, 13, 12), Conv(3, 7, stride=2, padding=3)),
    ((2, 8, 9), Conv(2, 3, dilation=(2, 1), padding=((0, 2), (1, 0)))),
    ((2, 8, 9), Conv(2, (2, 3), stride=(3, 2))),
    ((2, 30), Conv(3, 4, padding=2)),
    ((6, 5, 5), Conv(6, 3, groups=3, padding=1)),
    ((4, 6, 6), Conv(5, 3, table=((0, 2), (2, 0), (1, 2, 3), (3,), (1,)))),
    ((4, 7, 7), Conv(6, 1, stride=2)),
    ((2, 5, 5), Conv(2, 3, padding=1, pad_value=1.5)),
]
STAYS = [
    ((2, 4, 5, 6), Conv(3, 2)),
    ((2, 6, 6), Conv(3, 3, flip=True)),
    ((2, 5, 5), Conv(2, 3, padding=2, padding_mode="reflect")),
    ((4, 6, 5), Conv(6, 1)),
]


@pytest.mark.parametrize(("shape", "layer"), SLIDES + STAYS, ids=repr)
@pytest.mark.parametrize("batch", [1, 5])
def test_a_window_is_gathered_by_one_copy_where_it_slides(sizes, shape, layer, batch):
    net = Network.sequential(shape, [layer, ReLU()], rng=0, dtype=np.float64, engine=BLASEngine(2))
    x = np.random.default_rng(0).standard_normal((batch, *shape))
    expected = net.with_engine(SciPyEngine()).run(x)
    assert (net.engine._factors_of(net.nodes["conv1"].pattern)._slide is not None) == ((shape, layer) in SLIDES)
    np.testing.assert_allclose(net.predict(x), expected["relu1"], rtol=1e-11, atol=1e-11)
    trace = Workspace(net).run(net, x, backward=True)
    dy = np.cos(expected["relu1"])
    found, wanted = trace.backward(dy).params, expected.backward(dy).params
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-10, atol=1e-10)


def residual(engine):
    """Blocks whose sum reads what came before, its own input, and a node that is computed later."""
    net = Network.input((4, 6, 6), dtype=np.float64, engine=engine)
    net = net.chain([("a", Conv(4, 3, padding=1)), ("a-norm", BatchNorm())], rng=0)
    net = net.add(Add(), "a-norm", "input", name="a-sum").add(ReLU(), name="a-relu")
    net = net.add(Conv(4, 1), "a-relu", name="b", rng=1).add(Add(), "a-relu", "b", name="b-sum")
    net = net.add(Conv(6, 3, padding=1), "b-sum", name="c", rng=2)
    net = net.add(Conv(6, 1), "b-sum", name="d", rng=3).add(BatchNorm(), name="d-norm", rng=4)
    net = net.add(Add(), "c", "d-norm", name="d-sum").add(ReLU(), name="d-relu")
    rng = np.random.default_rng(7)
    return net.with_buffers({k: rng.random(v.shape) + 0.5 for k, v in net.buffers.items()})


@pytest.mark.parametrize("batch", [0, 1, 5])
def test_the_sum_of_a_residual_block_is_part_of_its_last_convolution(sizes, batch):
    net, plain = residual(BLASEngine(2)), residual(SciPyEngine())
    steps = fused(net.nodes, net.engine, net.outputs, 2)
    assert [tuple(node.name for node in step.nodes) for step in steps] == [
        ("a", "a-norm", "a-sum", "a-relu"),
        ("b", "b-sum"),
        ("c",),
        ("d", "d-norm", "d-sum", "d-relu"),
    ]
    assert [step.inputs for step in steps] == [("input", "input"), ("a-relu", "a-relu"), ("b-sum",), ("b-sum", "c")]
    x = np.random.default_rng(0).standard_normal((batch, 4, 6, 6))
    np.testing.assert_allclose(net.predict(x), plain.predict(x), rtol=1e-11, atol=1e-11)
    if batch:
        dy = np.random.default_rng(1).standard_normal((batch, 6, 6, 6))
        one, other = (Workspace(n).run(n, x, training=True, rng=0, backward=True).backward(dy) for n in (net, plain))
        for name, array in other.params.items():
            np.testing.assert_allclose(one.params[name], array, rtol=1e-9, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(one.inputs["input"], other.inputs["input"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("batch", [0, 1, 5])
@pytest.mark.parametrize("threads", [1, 2])
def test_predictions_are_those_of_the_layers(sizes, threads, batch):
    net = network(BLASEngine(threads))
    x = np.random.default_rng(0).standard_normal((batch, 3, 10, 10))
    saved = {k: v.copy() for k, v in {**net.params, **net.buffers}.items()}
    expected = net.with_engine(SciPyEngine()).run(x)["out"]
    np.testing.assert_allclose(net.predict(x), expected, rtol=1e-11, atol=1e-11)
    for name, array in {**net.params, **net.buffers}.items():
        np.testing.assert_array_equal(array, saved[name])


def test_a_workspace_predicts_with_the_weights_of_each_run():
    net, x = network(BLASEngine(2)), np.random.default_rng(0).standard_normal((2, 3, 10, 10))
    workspace = Workspace(net)
    for change in ({}, {"conv.weight": 2.0}, {"norm.bias": -1.0}, {"sum-norm.weight": 0.5}, {}):
        other = net.with_params({name: factor * net.params[name] for name, factor in change.items()})
        other = other.with_buffers({"norm.running_mean": net.buffers["norm.running_mean"] + len(change)})
        expected = other.with_engine(SciPyEngine()).predict(x)
        for _ in range(2):
            np.testing.assert_allclose(workspace.run(other, x)["out"], expected, rtol=1e-11, atol=1e-11)


def test_predictions_stay_float32():
    net = network(BLASEngine(), np.float32)
    x = np.random.default_rng(0).standard_normal((2, 3, 10, 10))
    expected = network(SciPyEngine()).predict(x)
    found = net.predict(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_training_goes_layer_by_layer():
    x, dy = (np.random.default_rng(0).standard_normal(shape) for shape in ((4, 3, 10, 10), (4, 4)))
    nets = network(BLASEngine()), network(SciPyEngine())
    traces = [Workspace(net).run(net, x, training=True, rng=0, backward=True) for net in nets]
    for name, array in traces[1].buffers.items():
        np.testing.assert_allclose(traces[0].buffers[name], array, rtol=1e-10, atol=1e-10)
    found, expected = (trace.backward(dy) for trace in traces)
    assert found.params.keys() == expected.params.keys()
    for name, array in expected.params.items():
        np.testing.assert_allclose(found.params[name], array, rtol=1e-9, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(found.inputs["input"], expected.inputs["input"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "layer",
    [MaxPool(2), MaxPool(3, stride=2, padding=1), MaxPool(2, ceil=True), MaxPool("global"), MaxPool(2, 1, dilation=2)],
    ids=repr,
)
def test_a_maximum_is_that_of_the_layer(sizes, layer):
    net = Network.sequential((5, 7, 9), [layer], engine=BLASEngine(2), rng=0)
    x = np.random.default_rng(0).standard_normal((3, 5, 7, 9)).astype(np.float32)
    x[0, 0, 3, 3], x[1, 1] = np.nan, -np.inf
    np.testing.assert_array_equal(net.predict(x), net.run(x)[net.last])
