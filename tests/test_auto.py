"""The engine that chooses among others."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, Conv, Dense, Network, ReLU, SciPyEngine, ShapeError, SimulatorError
from simulator.auto import AutoEngine
from simulator.testing import check_engine


class Named(SciPyEngine):
    def __init__(self, name, speed, kernels=0):
        super().__init__()
        self.name, self.said, self.kernels, self.calls = name, speed, kernels, []

    def speed(self, pattern, batch):
        return self.said(pattern, batch)

    def kernel(self, nodes, batch):
        return ((self.name, self.kernels)) if self.kernels else None

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


def test_kernels_come_from_the_fastest():
    slow, fast = Named("slow", lambda *_: 1, kernels=2), Named("fast", lambda *_: 2, kernels=1)
    none = Named("none", lambda *_: 3)
    net = Network.sequential((1, 4, 4), [Conv(2, 3), ReLU()], rng=0)
    conv, relu = net.nodes["conv1"], net.nodes["relu1"]
    auto = AutoEngine([slow, fast])
    assert auto.kernel((conv, relu), 4) == auto.kernel((relu,), 4) == ("fast", 1)
    assert AutoEngine([slow, none]).kernel((conv, relu), 4) is None  # the fastest multiplies
    assert AutoEngine([slow, none]).kernel((relu,), 4) == ("slow", 2)
    assert AutoEngine([SciPyEngine()]).kernel((relu,), 4) is None


@pytest.mark.parametrize("shape", [(5,), (5, 6), (5, 6, 7), (5, 6, 7, 8), (2, 2, 2, 2, 2), (1, 40000, 40000)])
def test_a_node_without_a_matrix_goes_where_a_convolution_of_its_size_would(shape):
    channels, *space = (min(n, 32) for n in shape[:3])
    asked = []
    engine = Named("only", lambda pattern, batch: asked.append((pattern, batch)) or 1, kernels=1)
    (_, relu) = Network.sequential(shape, [ReLU()]).nodes.values()
    assert AutoEngine([engine]).kernel((relu,), 3) == ("only", 1)
    ((pattern, batch),) = asked
    expected = Conv(channels, kernel=3, padding=1).pattern((channels, *(space or [1])))
    assert batch == 3 and all(map(np.array_equal, pattern.triplets(), expected.triplets()))


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
            raise SimulatorError("engine missing: expected a library, got none; install it")

    class Plugin:
        from simulator import hookimpl

        @hookimpl
        def register_engines(self, register):
            register("missing", Missing)

    catalog = Catalog(Plugin(), entry_points=False)
    assert [type(e) for e in catalog.engine().engines] == [SciPyEngine]
    with pytest.raises(SimulatorError, match="engine missing: expected a library"):
        catalog.engine("missing")
    assert repr(catalog.engine("auto", threads=1)) == "AutoEngine([SciPyEngine(threads=1)])"
