"""The engine that chooses among others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator import (
    Catalog,
    Conv,
    Dataset,
    Dense,
    Network,
    NotInstalledError,
    ReLU,
    SciPyEngine,
    ShapeError,
    SimulatorError,
    Workspace,
    evaluate,
    train,
)
from simulator.auto import AutoEngine
from simulator.execution import fused
from simulator.lab import ablation
from simulator.testing import check_engine


class Named(SciPyEngine):
    def __init__(self, name, speed):
        super().__init__()
        self.name, self.said, self.calls = name, speed, []

    def speed(self, pattern, batch):
        return self.said(pattern, batch)

    def apply(self, matrix, x):
        self.calls.append("apply")
        return super().apply(matrix, x)

    def apply_transposed(self, matrix, dy):
        self.calls.append("apply_transposed")
        return super().apply_transposed(matrix, dy)

    def grad(self, matrix, x, dy):
        self.calls.append("grad")
        return super().grad(matrix, x, dy)


def test_the_fastest_multiplies():
    small = Named("small", lambda pattern, batch: 10 if batch < 8 else 0)
    steady = Named("steady", lambda pattern, batch: 5)
    net = Network.sequential((1, 4, 4), [Conv(2, 3), Dense(3)], rng=0, engine=AutoEngine([steady, small]))
    net.run(np.ones((2, 1, 4, 4))).backward(np.ones((2, 3)))
    assert sorted(set(small.calls)) == ["apply", "apply_transposed", "grad"] and not steady.calls
    small.calls.clear()
    net.run(np.ones((8, 1, 4, 4))).backward(np.ones((8, 3)))
    assert sorted(set(steady.calls)) == ["apply", "apply_transposed", "grad"] and not small.calls


def test_a_network_has_the_kernels_of_the_engine_that_is_fastest_for_all_of_it():
    net = Network.sequential((1, 4, 4), [Conv(2, 3), ReLU(), Dense(3)], rng=0)
    conv, dense = (net.nodes[name].pattern for name in ("conv1", "dense1"))
    assert conv.links == 72 and dense.links == 24
    even = Named("even", lambda *_: 4.0)
    for speed_of_conv, speed_of_dense, first in (
        (6.0, 3.0, True),
        (5.0, 1.0, False),
        (8.0, 0.0, False),
        (0.0, 9.0, False),
    ):
        speeds = {conv: speed_of_conv, dense: speed_of_dense}
        uneven = Named("uneven", lambda pattern, batch, speeds=speeds: speeds[pattern])
        assert AutoEngine([even, uneven]).for_network(net.nodes.values(), 4, 4) is (uneven if first else even)
    assert (
        AutoEngine([even, SciPyEngine()]).for_network(Network.sequential((3,), [ReLU()]).nodes.values(), 4, 4) is even
    )
    assert AutoEngine([even]).for_network(net.nodes.values(), 0, 0) is even


def test_the_plan_of_a_network_takes_kernels_of_one_engine_alone():
    class Kernels(Named):
        def kernel(self, nodes, batch):
            return self.name, 1

    few = Kernels("few", lambda pattern, batch: 10.0 if batch < 8 else 1.0)
    many = Kernels("many", lambda pattern, batch: 5.0)
    net = Network.sequential((1, 4, 4), [Conv(2, 3), ReLU(), Dense(3)], rng=0)
    for batch, name in ((4, "few"), (8, "many")):
        steps = fused(net.nodes, AutoEngine([few, many]), net.outputs, batch)
        assert [step.kernel for step in steps] == [name] * 3


class Compiled(Named):
    """Ten times as fast as `slow`, but not at once."""

    preparation = 1.0

    def __init__(self):
        super().__init__("compiled", lambda *_: 1e4)
        self.warm = []

    def warm_up(self, dtype, announce=None):
        self.warm.append(dtype)


def test_an_engine_that_compiles_is_for_work_that_makes_up_for_it():
    slow, quick = Named("slow", lambda *_: 1e3), Compiled()
    net = Network.sequential((1, 4, 4), [Conv(2, 3), ReLU(), Dense(3)], rng=0)
    assert sum(node.pattern.links for node in net.nodes.values() if node.pattern) == 96
    auto = AutoEngine([slow, quick])
    for samples, chosen in ((1, slow), (11, slow), (12, quick), (10**6, quick)):  # 11.6 save 0.0864 s each
        assert auto.for_network(net.nodes.values(), 4, samples) is chosen
        assert net.with_engine(auto).settled(4, samples).engine is chosen
        assert AutoEngine([slow, quick], ready=True).for_network(net.nodes.values(), 4, samples) is quick
    assert auto.fastest(net.nodes["conv1"].pattern, 4) is slow
    assert AutoEngine([slow, quick], ready=True).fastest(net.nodes["conv1"].pattern, 4) is quick
    assert net.settled(4, 1000) is net  # its engine is no choice
    assert Catalog(entry_points=False).engine("auto", ready=True).ready
    auto.warm_up("float32")
    assert quick.warm == ["float32"]


def test_small_work_is_done_by_who_is_ready():
    slow, quick = Named("slow", lambda *_: 1e3), Compiled()
    net = Network.sequential((1, 4, 4), [Conv(2, 3), ReLU(), Dense(3)], rng=0, engine=AutoEngine([slow, quick]))
    data = Dataset(np.ones((3, 1, 4, 4), "f"), np.arange(3))
    net.predict(data.inputs)
    net.run(data.inputs).backward(np.ones((3, 3)))
    Workspace(net).run(net, data.inputs)
    evaluate(net, data)
    (only,) = train(net, data, epochs=1)
    ablation(net, data.take([0]), "dense1")
    assert only.network.engine is slow
    assert {"apply", "apply_transposed", "grad"} == set(slow.calls) and not quick.calls


def test_training_counts_the_whole_run_a_resumed_one_too():
    slow, quick = Named("slow", lambda *_: 1e3), Compiled()
    net = Network.sequential((1, 4, 4), [Conv(2, 3), ReLU(), Dense(3)], rng=0, engine=AutoEngine([slow, quick]))
    data = Dataset(np.ones((2, 1, 4, 4), "f"), np.arange(2))
    first, second = train(net, data, epochs=2)  # 12 passes of a sample, each way back counted twice
    assert (first.network.engine, second.network.engine) == (quick, quick)
    assert not slow.calls
    (again,) = train(net, data, epochs=2, resume=replace(first, network=first.network.with_engine(net.engine)))
    assert again.network.engine is quick  # though what is left would not need it
    np.testing.assert_array_equal(again.network.params["dense1.weight"], second.network.params["dense1.weight"])
    (short,) = train(net, data, epochs=1)
    assert short.network.engine is slow
    (short,) = train(net, data, epochs=1, validation=data.take(np.zeros(6, int)))
    assert short.network.engine is quick
    slow.calls.clear()
    ablation(net, data.take([0, 1, 1]), "dense1")
    assert not slow.calls


def test_it_keeps_the_contract():
    check_engine(AutoEngine([SciPyEngine()]))


def test_engines_must_state_their_speed():
    class Silent(SciPyEngine):
        speed = property()

    with pytest.raises(ShapeError, match=r"engine auto: expected engines with a method 'speed', got \[Silent"):
        AutoEngine([Silent()])
    with pytest.raises(ShapeError, match=r"engine auto: expected engines with a method 'speed', got none"):
        AutoEngine([])


def test_the_catalog_takes_all_that_are_installed():
    class Missing(SciPyEngine):
        def __init__(self):
            raise NotInstalledError("engine missing: expected a library, got none; install it")

    class Broken(SciPyEngine):
        def __init__(self):
            raise SimulatorError("engine broken: expected to work, got nothing; choose another")

    class Plugin:
        from simulator import hookimpl

        @hookimpl
        def register_engines(self, register):
            register("missing", Missing)

    class Worse:
        from simulator import hookimpl

        @hookimpl
        def register_engines(self, register):
            register("broken", Broken)

    with pytest.raises(SimulatorError, match="engine broken: expected to work"):
        Catalog(Worse(), entry_points=False).engine()
    catalog = Catalog(Plugin(), entry_points=False)
    assert [type(e) for e in catalog.engine().engines] == [SciPyEngine]
    with pytest.raises(SimulatorError, match="engine missing: expected a library"):
        catalog.engine("missing")
    assert repr(catalog.engine("auto", threads=1)) == "AutoEngine([SciPyEngine(threads=1)])"
