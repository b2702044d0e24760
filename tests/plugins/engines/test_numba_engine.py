"""The numba engine: the products of scipy.sparse, and kernels that give what the layers themselves give."""

import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from simulator_plugins.engines import numba_engine
from simulator_plugins.engines.numba_engine import NumbaEngine

from simulator import (
    Add,
    AveragePool,
    Catalog,
    Conv,
    ConvTranspose,
    Dense,
    ExplicitPattern,
    Flatten,
    LocallyConnected,
    MaxPool,
    Network,
    NotInstalledError,
    Pad,
    ReLU,
    SciPyEngine,
    ShapeError,
    SimulatorError,
    Subsample,
    TiedMatrix,
    Workspace,
)
from simulator.testing import check_engine

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
LAYERS = {
    "padded": (Conv(7, kernel=3, padding=1), (3, 6, 5)),
    "five taps wide": (Conv(6, kernel=5, padding=2), (1, 7, 9)),
    "strided": (Conv(13, kernel=3, stride=2, dilation=2, padding=2), (4, 9, 8)),
    "one dimension": (Conv(2, kernel=3, padding=1), (5, 11)),
    "three dimensions": (Conv(4, kernel=2, flip=True), (2, 3, 4, 3)),
    "groups": (Conv(6, kernel=2, groups=2), (4, 4, 4)),
    "wide groups": (Conv(8, kernel=3, padding=1, groups=2), (32, 6, 6)),
    "table": (Conv(3, kernel=2, table=((0, 2), (1,), (2, 1, 0))), (3, 4, 4)),
    "sparse table": (Conv(9, kernel=1, table=tuple(((o * 7) % 20, o) for o in range(9))), (20, 2)),
    "repeated channel": (Conv(1, kernel=1, table=((0, 0),)), (1, 4)),
    "reflected": (Conv(2, kernel=5, padding=2, padding_mode="reflect"), (2, 4, 5)),
    "replicated": (Conv(2, kernel=5, padding=2, padding_mode="replicate"), (2, 2, 3)),
    "depthwise": (Conv(3, kernel=3, padding=1, groups=3), (3, 4, 5)),
    "upward": (ConvTranspose(3, kernel=3, stride=2, padding=1, output_padding=1), (4, 3, 3)),
    "average": (AveragePool(2, padding=1, count_include_pad=False), (3, 4, 6)),
    "subsample": (Subsample(2), (3, 4, 6)),
    "pad": (Pad(2), (2, 3)),
    "dense": (Dense(5), (2, 3)),
    "locally connected": (LocallyConnected(2, kernel=3, padding=1), (2, 4, 4)),
    "identity shortcut": (Catalog().make("identity-shortcut", 5), (2, 5, 4)),
}


@pytest.fixture(autouse=True)
def numba():
    return pytest.importorskip("numba")


@pytest.fixture(params=[1, 2], ids="threads={}".format)
def engine(request, monkeypatch):
    """An engine that uses its threads for the smallest work, too."""
    monkeypatch.setattr(numba_engine.Loops.__init__, "__defaults__", (0,))
    return NumbaEngine(threads=request.param)


def products(pattern, batch, dtype, seed=0):
    rng = np.random.default_rng(seed)
    weight, x, dy = (
        rng.standard_normal(s).astype(dtype)
        for s in (pattern.n_ties, (pattern.shape[1], batch), (pattern.shape[0], batch))
    )
    return TiedMatrix(pattern, weight), x, dy


def test_the_contract_of_engines_is_kept(engine):
    check_engine(engine)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", LAYERS)
def test_products_are_those_of_scipy(engine, agree, name, dtype):
    layer, shape = LAYERS[name]
    for batch in (0, 1, 5, 16, 21):
        for pattern in (layer.pattern(shape), layer.pattern(shape).T):
            matrix, x, dy = products(pattern, batch, dtype)
            exact = matrix.with_weight(matrix.weight.astype("float64"))
            got = engine.apply(matrix, x), engine.apply_transposed(matrix, dy), engine.grad(matrix, x, dy)
            x, dy = x.astype("float64"), dy.astype("float64")
            for result, expected in zip(got, (exact @ x, exact.rmatvec(dy), exact.grad(x, dy)), strict=True):
                assert result.dtype == dtype
                agree(result, expected, TOLERANCE[dtype])


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    monkeypatch.setattr(numba_engine.Loops.__init__, "__defaults__", (0,))
    for layer, shape, batch in (
        (Conv(9, kernel=3, padding=1), (5, 7, 6), 40),
        (Conv(8, kernel=3, padding=1, groups=2), (32, 6, 6), 64),
    ):
        matrix, x, dy = products(layer.pattern(shape), batch, "float32")
        results = [
            (e.apply(matrix, x), e.apply_transposed(matrix, dy), e.grad(matrix, x, dy))
            for e in map(NumbaEngine, (1, 2, 5))
        ]
        for others in results[1:]:
            for first, other in zip(results[0], others, strict=True):
                np.testing.assert_array_equal(first, other)
    network = Network.sequential((3, 7, 6), [Conv(7, kernel=3, padding=1), ReLU(), MaxPool(2)], rng=0, dtype="float32")
    x = np.random.default_rng(0).standard_normal((40, 3, 7, 6))
    traces = [Workspace(n).run(n, x, backward=True) for n in map(network.with_engine, map(NumbaEngine, (1, 2, 5)))]
    gradients = [trace.backward(np.cos(trace["maxpool1"])) for trace in traces]
    for trace, gradient in zip(traces, gradients, strict=True):
        np.testing.assert_array_equal(trace["maxpool1"], traces[0]["maxpool1"])
        for name, array in gradient.params.items():
            np.testing.assert_array_equal(array, gradients[0].params[name])


def test_rows_that_share_a_cache_set_are_multiplied_as_well(engine, agree):
    for channels, batch in ((40, 64), (40, 100)):
        matrix, x, dy = products(Conv(3, kernel=3, padding=1).pattern((channels, 4, 8)), batch, "float64")
        agree(engine.apply(matrix, x), matrix @ x)
        agree(engine.apply_transposed(matrix, dy), matrix.rmatvec(dy))
        agree(engine.grad(matrix, x, dy), matrix.grad(x, dy))


def test_few_weights_are_learned_from_many_sites(engine, agree):
    for batch in (64, 65):
        matrix, x, dy = products(Conv(6, kernel=3, padding=1).pattern((1, 12, 12)), batch, "float64")
        agree(engine.grad(matrix, x, dy), matrix.grad(x, dy))


def test_groups_whose_channels_come_in_uneven_portions(engine, agree):
    for channels, batch in ((32, 64), (80, 64), (24, 100)):
        pattern = Conv(4, kernel=3, padding=1, groups=2).pattern((channels, 6, 6))
        for dtype in TOLERANCE:
            matrix, x, dy = products(pattern, batch, dtype)
            expected = products(pattern, batch, "float64")[0].grad(x, dy)
            agree(engine.grad(matrix, x, dy), expected, 3 * TOLERANCE[dtype])


def test_input_may_be_read_only_or_a_strided_view(engine, agree):
    matrix, x, dy = products(Conv(3, kernel=3).pattern((2, 5, 6)), 18, "float64")
    views = np.asfortranarray(x)[:, ::2], np.repeat(dy, 2, axis=0)[::2, ::2]
    for view in views:
        view.flags.writeable = False
    x, dy = (np.ascontiguousarray(view) for view in views)
    agree(engine.apply(matrix, views[0]), matrix @ x)
    agree(engine.apply_transposed(matrix, views[1]), matrix.rmatvec(dy))
    agree(engine.grad(matrix, *views), matrix.grad(x, dy))


def test_what_the_loops_do_not_know_is_left_to_scipy(engine, agree):
    explicit = ExplicitPattern([3, 0, 3, 3], [1, 3, 1, 0], [0, 2, 1, 0], shape=(5, 4))
    local = LocallyConnected(2, kernel=2).pattern((2, 3, 3))
    for pattern in (explicit, local, local.T):
        matrix, x, _ = products(pattern, 4, "float64")
        np.testing.assert_array_equal(engine.apply(matrix, x), SciPyEngine(1).apply(matrix, x))
        assert engine.speed(pattern, 64) == 0
    matrix, x, _ = products(Conv(2, kernel=2).pattern((1, 3, 3)), 4, "float64")
    agree(engine.apply(matrix, x.astype("float32")), matrix @ x, 1e-6)


def test_speed_grows_with_the_batch_and_is_always_the_same():
    pattern = Conv(16, kernel=3).pattern((16, 12, 12))
    speeds = [NumbaEngine(2).speed(pattern, batch) for batch in (1, 8, 64)]
    assert speeds == sorted(speeds) == [NumbaEngine(2).speed(pattern, batch) for batch in (1, 8, 64)]
    assert speeds[-1] > SciPyEngine(2).speed(pattern, 64)


# ------------------------------------------------------------------------------------------------ kernels

CHAINS = {
    "conv relu pool": [Conv(6, kernel=3, padding=1), ReLU(), MaxPool(2)],
    "conv pool relu": [Conv(5, kernel=3, bias=False), MaxPool(3, stride=2, padding=1), ReLU()],
    "conv pool": [Conv(4, kernel=2), MaxPool(2, ceil=True)],
    "conv of groups and pool": [Conv(6, kernel=3, padding=1, groups=2), ReLU(), MaxPool((2, 3), stride=3)],
    "conv and padded pool": [Conv(1, kernel=3), MaxPool(2, padding=1), ReLU()],
    "table and pool": [Conv(3, kernel=2, table=((0,), (0, 1), (1,))), MaxPool(2)],
    "relu alone": [ReLU(), MaxPool(3, stride=1, dilation=2), Conv(3, kernel=1)],
    "dense": [Flatten(), Dense(7), ReLU(), Dense(3, bias=False), ReLU(), Dense(2)],
    "per unit": [Conv(3, kernel=2, bias="unit"), ReLU()],
    "pad value": [Conv(3, kernel=3, padding=1, pad_value=2.0), ReLU()],
    "depthwise": [Conv(2, kernel=3, padding=1, groups=2), ReLU(), AveragePool("global")],
    "upward": [ConvTranspose(3, kernel=2, stride=2), ReLU(), MaxPool("global")],
    "wide pool": [Conv(2, kernel=1), MaxPool(kernel=(7, 6))],
    "batch norm": [Conv(4, kernel=3, bias=False), Catalog().make("batch-norm", momentum=0.3, epsilon=0.01), ReLU()],
    "batch norm alone": [Catalog().make("batch-norm"), MaxPool(2), Conv(2, kernel=2)],
    "subsample": [Subsample(2), ReLU()],
}


@pytest.mark.parametrize("chain", ["table and pool", "table", "table and relu"])
@pytest.mark.parametrize("batch", [1, 40])
def test_what_is_not_connected_hands_on_no_nan(engine, chain, batch):
    """A connection table is computed as a full convolution with zeros, and NaN times zero would be NaN."""
    table = Conv(3, kernel=2, table=((0,), (0, 1), (1,)))
    layers = {"table": [table], "table and relu": [table, ReLU()]}.get(chain) or CHAINS[chain]
    reference = Network.sequential((2, 6, 6), layers, rng=0, dtype="float64")
    network = reference.with_engine(engine)
    x = np.random.default_rng(0).standard_normal((batch, 2, 6, 6))
    dy = np.ones_like(reference.predict(x))
    dy[0, 0] = np.nan
    gradients = [net.run(x).backward(dy).inputs["input"] for net in (reference, network)]
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-12)
    x[0, 1, 2, 2], x[-1, 0, 1, 1] = np.nan, np.inf
    expected = reference.predict(x)
    assert np.isnan(expected).any()
    assert not np.isnan(expected).all()
    np.testing.assert_allclose(network.predict(x), expected, rtol=1e-12)


def compared(network, engine, x, agree, tolerance, training=True):
    """Run and train one step by the engine's kernels; everything must be as the layers say in double precision."""
    exact = network.with_dtype("float64").with_engine(SciPyEngine(1)).run(x, training=training, rng=1)
    names = network.outputs
    dys = {name: np.random.default_rng(2).standard_normal(exact[name].shape) for name in names}
    expected = exact.backward(dys)
    network = network.with_engine(engine)
    workspace = Workspace(network)
    for _ in range(2):  # the second time in memory that was used before
        trace = workspace.run(network, x, training=training, rng=1, backward=True)
        for name in names:
            agree(trace[name], exact[name], tolerance)
        for name, buffer in trace.buffers.items():
            assert buffer.dtype == network.dtype
            agree(buffer, exact.buffers[name], tolerance)
        got = trace.backward(dys)
        agree(got.inputs["input"], expected.inputs["input"], tolerance)
        for name, gradient in expected.params.items():
            assert got.params[name].dtype == network.dtype
            agree(got.params[name], gradient, tolerance)
        del trace, got


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CHAINS)
def test_kernels_give_what_the_layers_give(engine, agree, name, dtype):
    network = Network.sequential((2, 7, 6), CHAINS[name], rng=0, dtype=dtype)
    rng = np.random.default_rng(0)
    network = network.with_params({k: rng.standard_normal(p.shape) for k, p in network.params.items()})
    for batch in (3, 19):
        compared(network, engine, rng.standard_normal((batch, 2, 7, 6)), agree, 3 * TOLERANCE[dtype])


@pytest.mark.parametrize("relu", [False, True])
def test_sums_and_skips_give_what_the_layers_give(engine, agree, relu):
    network = Network.sequential((3, 5, 4), [Conv(3, kernel=3, padding=1), Catalog().make("batch-norm")], rng=0)
    network = network.add(Add(), network.last, "input")
    network = network.add(ReLU()) if relu else network
    network = network.add(Add(), network.last, "conv1", "input", name="three").with_dtype("float64")
    compared(network, engine, np.random.default_rng(0).standard_normal((6, 3, 5, 4)), agree, 1e-12)


def test_batch_norm_at_inference(engine, agree):
    network = Network.sequential((2, 7, 6), CHAINS["batch norm"], rng=0, dtype="float64")
    rng = np.random.default_rng(0)
    network = network.with_buffers({k: rng.uniform(0.5, 2, b.shape) for k, b in network.buffers.items()})
    x = rng.standard_normal((18, 2, 7, 6))
    compared(network, engine, x, agree, 1e-12, training=False)
    agree(network.with_engine(engine).predict(x), network.predict(x))
    compared(network, engine, x[:1], agree, 1e-12, training=False)


def test_batch_norm_of_one_value_says_what_is_wrong(engine):
    network = Network.sequential((3, 1), [Catalog().make("batch-norm")], rng=0, engine=engine)
    with pytest.raises(ShapeError, match="batch-norm: expected at least two values per channel"):
        Workspace(network).run(network, np.ones((1, 3, 1)), training=True)


def test_a_batch_norm_of_somebody_else_keeps_its_own_forward(engine):
    class BatchNorm(type(Catalog().make("batch-norm"))):
        def forward(self, params, buffers, *xs, training=False, rng=None):
            return 7 + 0 * xs[0], lambda dy: ((dy,), {}), {}

    network = Network.sequential((3, 2), [BatchNorm()], rng=0, engine=engine)
    np.testing.assert_array_equal(network.predict(np.ones((2, 3, 2))), np.full((2, 3, 2), 7))


def test_an_empty_batch_goes_through_and_back(engine):
    for layers in CHAINS.values():
        network = Network.sequential((2, 7, 6), layers, rng=0, engine=engine)
        trace = Workspace(network).run(network, np.zeros((0, 2, 7, 6)), training=True, rng=0, backward=True)
        gradients = trace.backward(np.zeros(trace[network.last].shape))
        assert gradients.inputs["input"].shape == (0, 2, 7, 6)
        for name, gradient in gradients.params.items():
            np.testing.assert_array_equal(gradient, np.zeros_like(network.params[name]))
        for name, buffer in trace.buffers.items():
            np.testing.assert_array_equal(buffer, network.buffers[name])


def test_the_largest_is_chosen_as_the_layer_does(engine):
    values = [-np.inf, np.inf, np.nan, 0.0, 1.0, 1.0, -1.0]
    x = np.random.default_rng(0).choice(values, (40, 2, 6, 5))
    for layer in (MaxPool(2), MaxPool(3, stride=2, padding=1), MaxPool(2, stride=1), MaxPool(2, ceil=True)):
        network = Network.sequential((2, 6, 5), [layer], rng=0, dtype="float64")
        expected = network.run(x)
        dy = np.random.default_rng(1).standard_normal(expected[network.last].shape)
        for batch in (3, 40):
            network = network.with_engine(engine)
            trace = Workspace(network).run(network, x[:batch], backward=True)
            np.testing.assert_array_equal(trace[network.last], expected[network.last][:batch])
            np.testing.assert_allclose(
                trace.backward(dy[:batch]).inputs["input"], expected.backward(dy).inputs["input"][:batch], rtol=1e-14
            )


def test_positive_parts_keep_nan(engine):
    network = Network.sequential((3,), [ReLU()], rng=0, engine=engine)
    x = np.array([[-1.0, np.nan, 2.0]] * 20)
    np.testing.assert_array_equal(network.predict(x), [[0, np.nan, 2]] * 20)


def test_nothing_that_is_given_is_changed(engine):
    network = Network.sequential((2, 7, 6), CHAINS["batch norm"], rng=0, engine=engine)
    x, dy = np.random.default_rng(0).standard_normal((4, 2, 7, 6)).astype("float32"), np.ones((4, 4, 5, 4), "float32")
    saved = [a.copy() for a in (x, dy, *network.params.values(), *network.buffers.values())]
    trace = Workspace(network).run(network, x, training=True, rng=0, backward=True)
    trace.backward(dy)
    for array, before in zip((x, dy, *network.params.values(), *network.buffers.values()), saved, strict=True):
        np.testing.assert_array_equal(array, before)


def test_long_sums_keep_their_precision(engine, agree):
    network = Network.sequential((2, 60, 60), [Catalog().make("batch-norm"), ReLU(), Conv(2, kernel=1)], rng=0)
    compared(network, engine, 3 + np.random.default_rng(0).standard_normal((64, 2, 60, 60)), agree, 2e-5)


# ------------------------------------------------------------------------------------------------ the engine itself


def test_it_is_in_the_catalog_and_can_be_pickled():
    engine = NumbaEngine(threads=2)
    assert repr(pickle.loads(pickle.dumps(engine))) == repr(engine) == "NumbaEngine(threads=2)"


def test_a_wrong_number_of_threads_is_refused():
    with pytest.raises(ShapeError, match="engine numba threads: expected an integer of at least 1, got 0"):
        NumbaEngine(0)


def without_numba(monkeypatch):
    for name in ("numba", numba_engine.__name__ + ".loops"):
        monkeypatch.setitem(sys.modules, name, None)


def test_a_missing_numba_says_how_to_get_it(monkeypatch):
    without_numba(monkeypatch)
    with pytest.raises(NotInstalledError, match=r"pip install numba"):
        NumbaEngine()
    assert "numba" not in repr(Catalog().engine()).lower()  # the others work


def test_threads_that_miss_numba_at_once_are_told_the_same(monkeypatch):
    without_numba(monkeypatch)

    def engines(_):
        return [type(engine).__name__ for engine in Catalog().engine("auto").engines]

    with ThreadPoolExecutor(8) as pool:
        for names in pool.map(engines, range(40)):
            assert "NumbaEngine" not in names


def test_a_numba_that_does_not_load_is_no_missing_one(monkeypatch, tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 1.0 or less')")
    for module in [m for m in sys.modules if m.split(".")[0] == "numba" or m.endswith("numba_engine.loops")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delattr(numba_engine, "loops", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    network, x = Network.sequential((1, 6, 6), [Conv(2, 3)], rng=0), np.ones((1, 1, 6, 6))
    for engine in (NumbaEngine(), Catalog().engine("numba"), Catalog().engine("auto", ready=True)):
        with pytest.raises(SimulatorError, match="engine numba: expected numba to load, got ImportError: Numba needs"):
            engine.warm_up("float32")
    assert network.with_engine(Catalog().engine("auto")).predict(x).shape == (1, 2, 4, 4)  # does not need it
    assert network.with_engine(Catalog().engine("blas")).predict(x).shape == (1, 2, 4, 4)  # the cure


def test_compilations_are_announced_one_by_one(monkeypatch):
    event = pytest.importorskip("numba.core.event")

    def warm(dtype):
        for _ in range(numba_engine.LOOPS + 1):
            with event.trigger_event("numba:compile"):
                pass

    monkeypatch.setattr(numba_engine, "warm", warm)
    told = []
    NumbaEngine().warm_up("float32", lambda *numbers: told.append(numbers))
    most = numba_engine.LOOPS
    assert told == [*((done, most) for done in range(1, most + 1)), (most + 1, most + 1)]
    NumbaEngine().warm_up("float32")  # nobody listens


def test_numba_is_loaded_with_the_first_loop():
    code = (
        "import sys, numpy as np; from simulator import Catalog\n"
        "network = Catalog().build('lenet5', rng=0, engine='{}')\n"
        "{}network.predict(np.zeros((1, 1, 28, 28)))\n"
        "print('numba' in sys.modules)"
    )
    for engine, run, loaded in (("numba", "#", False), ("auto", "", False), ("numba", "", True)):
        done = subprocess.run([sys.executable, "-c", code.format(engine, run)], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == (f"{loaded}\n", "")


def test_what_is_warm_is_not_compiled_again():
    NumbaEngine().warm_up()
    assert not NumbaEngine().warm_up("float32", pytest.fail)


def _predict_in_child(pipe, network, x):
    pipe.send(network.predict(x))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_computes_the_same(engine):
    network = Network.sequential((2, 7, 6), CHAINS["batch norm"], rng=0, engine=engine)
    x = np.random.default_rng(0).standard_normal((20, 2, 7, 6))
    expected = network.predict(x)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_predict_in_child, args=(there, network, x))
    child.start()
    assert here.poll(60)
    np.testing.assert_array_equal(here.recv(), expected)
    child.join()
    assert child.exitcode == 0
