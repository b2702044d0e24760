"""The proof of an engine: it passes for what is right, and fails for whatever is wrong, alone or fused."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import (
    AveragePool,
    Catalog,
    Conv,
    Dense,
    MaxPool,
    Network,
    ReLU,
    SciPyEngine,
    ShapeError,
    Sparse,
    execution,
)
from simulator.equivalence import engine_equivalence, equivalence
from simulator.patterns import ExplicitPattern

CATALOG = Catalog()
NETWORKS = {
    "lenet5": ((1, 12, 12), {}),
    "lenet5-1998": ((1, 28, 28), {}),
    "resnet8": ((1, 12, 12), {"width": 4}),
    "googlenet": ((1, 32, 32), {"width": 1 / 8}),
    "alexnet": ((3, 67, 67), {"width": 1 / 16}),
    "autoencoder": ((1, 8, 8), {}),
}


@pytest.mark.parametrize("engine", [*CATALOG.engines, "auto"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_engine_passes(name, engine, engine_called):
    shape, options = NETWORKS[name]
    network = CATALOG.build(name, shape, rng=0, engine=engine_called(engine), **options)
    proofs = list(engine_equivalence(network))
    assert [p for p in proofs if not p.ok or p.skipped] == []
    for p in proofs:
        divides = "BatchNorm" in p.layer or "AveragePool" in p.layer
        assert divides or p.max_difference == 0, p  # the same numbers, not nearly the same
    matrices = [node.name for node in network.nodes.values() if node.pattern is not None]
    assert [p.name for p in proofs if p.matrix == "products"] == matrices


def test_sums_that_are_not_exact_and_params_that_are_zero():
    layers = [Conv(3, 3, init="zeros", padding=1), AveragePool(3, 1), ReLU(), MaxPool(2), Dense(3, init="zeros")]
    network = Network.sequential((1, 9, 9), layers, rng=0)
    for proof in engine_equivalence(network, batch=40):
        assert proof.ok
        if proof.name != "averagepool1":
            assert proof.max_difference == 0
    with pytest.raises(ShapeError, match="equivalence batch: expected an integer of at least 1, got 0"):
        list(engine_equivalence(network, batch=0))


class Wrong(SciPyEngine):
    """An engine with a fault in its products, or only in its kernel of a convolution and a ReLU."""

    def __init__(self, fault, fused):
        super().__init__(threads=1)
        self.fault, self.fused = fault, fused

    def changed(self, what, array):
        return array * self.fault.get(what, np.float32(1))

    def apply(self, matrix, x):
        y = super().apply(matrix, x)
        return y if self.fused else self.changed("forward", y)

    def apply_transposed(self, matrix, dy):
        dx = super().apply_transposed(matrix, dy)
        return dx if self.fused else self.changed("input_gradient", dx)

    def grad(self, matrix, x, dy):
        grad = super().grad(matrix, x, dy)
        return grad if self.fused else self.changed("weight_gradient", grad)

    def kernel(self, nodes, batch):
        if not self.fused or len(nodes) < 2 or not isinstance(nodes[0].layer, Conv):
            return None
        first, second = execution.alone({node.name: node for node in nodes[:2]}, SciPyEngine(threads=1))

        def kernel(run, x):
            if not run.training and "prediction" in self.fault:
                return self.changed("prediction", second.kernel(run, first.kernel(run, x)[0])[0]), None, {}
            y, back, _ = first.kernel(run, x)
            z, back_from, _ = second.kernel(run, y)

            def pullback(dz, input_needed):
                dxs, grads = back(back_from(dz, True)[0][0], input_needed)
                grads = {name: self.changed("weight_gradient", grad) for name, grad in grads.items()}
                return tuple(dx if dx is None else self.changed("input_gradient", dx) for dx in dxs), grads

            return self.changed("forward", z), pullback, {}

        return kernel, 2


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        {"forward": np.float32(1.01)},
        {"input_gradient": np.float32(1.01)},
        {"weight_gradient": np.float32(1.01)},
        {"weight_gradient": np.float32(-1)},
        {"input_gradient": np.float32(-1), "weight_gradient": np.float32(-1)},
        {"forward": np.float32(1.001)},
        {"prediction": np.float32(1.01)},
    ],
    ids=str,
)
def test_a_wrong_engine_fails_where_it_is_wrong(fault, fused):
    if "prediction" in fault and not fused:
        pytest.skip("products are the same in training and prediction")
    network = Network.sequential((1, 10, 10), [Conv(2, 3), ReLU(), Conv(4, 3), ReLU(), Dense(3)], rng=0)
    network = network.with_engine(Wrong(fault, fused))
    failed = [p for p in engine_equivalence(network) if not p.ok]
    assert failed
    assert {p.name for p in failed} <= ({"conv1 + relu1", "conv2 + relu2"} if fused else {"conv1", "conv2", "dense1"})
    assert any("conv1" in p.name for p in failed)
    for p in failed:
        for what in ("forward", "input_gradient", "weight_gradient"):
            apart = getattr(p, what)
            wrong = what in fault or (what == "forward" and "prediction" in fault)
            assert apart is None or (apart > 5e-4) == (wrong and apart > 0)
    assert all(p.ok for p in equivalence(network.with_dtype("float64")))  # the layers themselves are right


def test_a_gradient_that_is_missing_fails():
    class Forgetful(SciPyEngine):
        def kernel(self, nodes, batch):
            if not isinstance(nodes[0].layer, Dense):
                return None
            (step,) = execution.alone({nodes[0].name: nodes[0]}, SciPyEngine())

            def kernel(run, x):
                y, back, _ = step.kernel(run, x)
                return y, lambda dy, needed: (back(dy, needed)[0], {}), {}

            return kernel, 1

    network = Network.sequential((4,), [Dense(3)], rng=0, engine=Forgetful())
    (failed,) = (p for p in engine_equivalence(network) if not p.ok)
    assert (failed.name, failed.matrix, failed.weight_gradient) == ("dense1", "training", np.inf)


def test_a_matrix_that_is_too_large_is_skipped(monkeypatch):
    monkeypatch.setattr("simulator.equivalence.LARGEST_CSR", 400)
    layers = [Sparse(ExplicitPattern([0], [0], shape=(2, 4)), (2,)), Dense(40)]
    proofs = list(engine_equivalence(Network.sequential((4,), layers, rng=0)))
    assert {p.name: p.skipped for p in proofs} == {
        "sparse1": "",
        "dense1": "the matrix of dense1 is too large to build",
    }
