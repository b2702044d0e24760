"""Estimates of memory against what is measured, and what engines and layers say of theirs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from simulator import Catalog, Dataset, Dense, LocallyConnected, Network, ReLU, ShapeError, train
from simulator.auto import AutoEngine
from simulator.engine import Need, SciPyEngine
from simulator.errors import PluginError

CATALOG = Catalog()
NETS = {
    "lenet5": ((1, 28, 28), {}),
    "vgg11-bn": ((3, 32, 32), {"width": 0.25}),
    "resnet8": ((3, 32, 32), {}),
    "alexnet-torchvision": ((3, 64, 64), {"width": 0.25}),
}
WAYS = {
    "predict": {},
    "run": {"keep_all": True},
    "gradient": {"keep_all": True, "backward": True},
}


def built(name, engine):
    if engine == "numba":
        pytest.importorskip("numba", reason="numba is not installed")
    shape, options = NETS[name]
    return CATALOG.build(name, shape, 10, rng=0, engine=CATALOG.engine(engine, 1), **options)  # peaks of threads vary


def traced(function):
    """The most bytes that a function takes beyond what was there before; its result lives until then."""
    tracemalloc.start()
    try:
        _ = function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("engine", ["scipy", "blas", "numba"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETS)
def test_a_run_takes_about_what_is_estimated(name, way, engine):
    net, batch = built(name, engine), 48
    built(name, engine).predict(np.zeros((batch, *net.input_shape)))  # imports and compiles: no memory of the network
    x = np.random.default_rng(0).standard_normal((batch, *net.input_shape), np.float32)

    def run():
        if way == "predict":
            return net.predict(x)
        trace = net.run(x)
        return trace if way == "run" else (trace, trace.backward(np.ones((batch, *net.output_shape), np.float32)))

    assert 0.7 < net.run_bytes(batch, **WAYS[way]) / traced(run) < 2.1


@pytest.mark.parametrize("engine", ["scipy", "blas", "numba"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", NETS)
def test_training_takes_about_what_is_estimated(name, optimizer, engine):
    net, batch, rule = built(name, engine), 48, CATALOG.create("optimizers", optimizer)
    data = Dataset(
        np.random.default_rng(0).standard_normal((batch, *net.input_shape), np.float32), np.arange(batch) % 10
    )
    (epoch,) = train(net, data, epochs=1, batch_size=batch, optimizer=rule, trace_memory=True)
    kept = 0 if optimizer == "sgd" else 2 * sum(array.nbytes for array in net.params.values())  # there before the step
    assert 0.7 < net.training_bytes(batch, rule) / (epoch.peak_memory + kept) < 2.1


def roomy(need):
    """An eighth more, which every estimate has."""
    return need + need // 8


def dense(engine):
    return Network.sequential((10,), [Dense(20), ReLU()], rng=0, engine=engine)


class Silent(SciPyEngine):
    """Multiplies by means of its own, and does not say what they take."""

    def apply(self, matrix, x):
        return super().apply(matrix, x)


class Telling(SciPyEngine):
    def need(self, nodes, batch, dtype, backward):
        return 10**6, 10**4 * backward, 10**5


class Wrong(SciPyEngine):
    def need(self, nodes, batch, dtype, backward):
        return "much"


def test_an_engine_that_says_nothing_is_counted_as_arrays_as_large_as_the_activations():
    numbers = 4 * (20 + 20 + 20)  # dense1, relu1, and what the larger of them takes while it is computed
    assert dense(Silent()).run_bytes(4) == roomy(4 * numbers)
    assert dense(SciPyEngine()).run_bytes(4) > 4 * numbers + 12 * 200  # its CSR matrix


def test_auto_asks_the_engine_that_it_takes():
    assert dense(AutoEngine([Telling()])).run_bytes(4) == dense(Telling()).run_bytes(4)
    assert dense(AutoEngine([Silent()])).run_bytes(4) == dense(Silent()).run_bytes(4)


def test_what_an_engine_says_is_added_to_the_estimate():
    assert dense(Telling()).run_bytes(4) == 10**6 + roomy(10**5 + 4 * 4 * (10 + 20))
    assert dense(Telling()).run_bytes(4, backward=True) > 10**6 + 10**5 + 10**4
    assert SciPyEngine().need((dense(SciPyEngine()).nodes["dense1"],), 4, np.dtype("f"), False) == Need(2484 + 84, 0, 0)


@pytest.mark.parametrize("engine", ["blas", "numba"])
@pytest.mark.parametrize("backward", [False, True])
def test_what_an_engine_leaves_to_scipy_is_counted_as_there(engine, backward):
    if engine == "numba":
        pytest.importorskip("numba", reason="numba is not installed")
    made = CATALOG.engine(engine)
    local = Network.sequential((1, 9), [LocallyConnected(2, 3), ReLU()], rng=0, engine=made)
    args = (local.nodes["locallyconnected1"],), 4, np.dtype("f"), backward
    assert Need(*made.need(*args)) == SciPyEngine().need(*args)
    assert local.run_bytes(4, backward=backward) > SciPyEngine().need(*args).lasting


def test_an_engine_that_says_nonsense_is_named():
    with pytest.raises(
        PluginError, match=r"engine Wrong\(\): expected need to give a Need, or three numbers of bytes, got Val"
    ):
        dense(Wrong()).run_bytes(4)


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf"), "much"])
def test_an_amount_that_is_none_is_named(amount):
    class Odd(ReLU):
        keeps = amount

    with pytest.raises(PluginError, match=r"layer .*Odd\(\): expected keeps to be a number of at least 0, got "):
        Network.sequential((4,), [Odd()]).run_bytes(4, backward=True)
    engine = type("Odd", (SciPyEngine,), {"need": lambda self, *args: (amount, 0, 0)})
    with pytest.raises(PluginError, match=r"expected need to give a Need, or three numbers of bytes, got "):
        dense(engine()).run_bytes(4)


def test_several_runs_and_a_part_of_a_network():
    net = Network.sequential((10,), [ReLU(), Dense(10**6)])
    assert net.run_bytes(4, of=["relu1"]) < net.run_bytes(4, of=["relu1"], runs=2) < 2 * 10**9
    weights = 4 * 11 * 10**6
    assert weights < net.run_bytes(4, of=["relu1"]) < weights + 1000  # all are drawn, but few run
    assert net.run_bytes(4) > 2 * weights


def test_a_part_that_does_not_fit(monkeypatch):
    monkeypatch.setattr("simulator.memory.available_memory", lambda: 10**9)
    net = Network.sequential((10**6,), [ReLU(), ReLU()])
    net.check_batch(50)
    with pytest.raises(
        ShapeError, match="a batch of 50: expected at most 1.0 GB of memory, got 2.0 GB; give fewer samp"
    ):
        net.check_batch(50, runs=3)
