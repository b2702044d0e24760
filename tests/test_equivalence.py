"""The proof itself: it passes for what is right, fails for what is wrong, and says why it skips."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.signal
import scipy.sparse

import simulator.direct
from simulator import (
    Add,
    AveragePool,
    Catalog,
    Concatenate,
    Conv,
    ConvTranspose,
    Dense,
    Elementwise,
    Flatten,
    LeakyReLU,
    LocallyConnected,
    MatrixLayer,
    MaxPool,
    Network,
    Pad,
    ReLU,
    ShapeError,
    Sigmoid,
    Sparse,
    Subsample,
    TiedMatrix,
    Window,
)
from simulator.direct import direct
from simulator.equivalence import equivalence, tolerance
from simulator.windows import _sites

LAYERS = [
    (Conv(4, (3, 2), stride=(2, 1), dilation=2, padding=((1, 2), (0, 3)), groups=2, flip=True), (4, 8, 9)),
    (Conv(4, 3, padding=2, padding_mode="reflect"), (2, 6, 5)),
    (Conv(4, 3, padding=2, padding_mode="circular", bias="unit"), (2, 6, 5)),
    (Conv(4, 3, padding=2, padding_mode="replicate"), (2, 6, 5)),
    (Conv(4, 4, padding="same", pad_value=2.5), (2, 6, 5)),
    (Conv(4, 4, padding="same_lower", stride=2), (2, 7, 5)),
    (Conv(3, 3, table=((0,), (1, 3), (0, 1, 2, 3))), (4, 6, 6)),
    (Conv(3, 3, padding=1, init="zeros"), (4, 6, 6)),
    (Conv(2, 3), (2, 7)),
    (Conv(2, 2, padding=1), (2, 4, 3, 4)),
    (LocallyConnected(4, 3, padding=1, groups=2, padding_mode="replicate"), (4, 6, 5)),
    (LocallyConnected(4, 3, pad_value=-1.0, padding=1), (2, 6, 5)),
    (ConvTranspose(6, 3, stride=2, padding=1, output_padding=1, groups=2), (4, 4, 3)),
    (ConvTranspose(2, 3, dilation=3, output_padding=2), (2, 4, 3)),
    (ConvTranspose(2, 3, padding=((0, 1), (2, 0))), (2, 4, 3)),
    (AveragePool(3, 2, 1, ceil=True), (2, 8, 8)),
    (AveragePool(3, 2, 1, count_include_pad=False), (2, 8, 7)),
    (AveragePool(3, 2, "same", ceil=True), (2, 8, 8)),
    (AveragePool(2, 3, 1, ceil=True), (2, 4, 4)),
    (AveragePool("global"), (3, 4, 5)),
    (Subsample(2), (3, 5, 4)),
    (MaxPool(3, 2, 1, ceil=True), (2, 8, 8)),
    (Pad(((1, 2), (3, 0)), pad_value=-1.0), (2, 3, 4)),
    (Pad(2, mode="circular"), (2, 3, 4)),
    (Dense(7), (2, 3)),
    (Flatten(), (2, 3)),
    (Sparse(TiedMatrix.from_sparse(scipy.sparse.csr_array(np.tri(6)), ties=np.arange(21) % 4 * 0).pattern), (6,)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=[repr(layer)[:60] for layer, _ in LAYERS])
def test_every_layer_equals_its_matrix(layer, shape, dtype):
    (proof,) = equivalence(Network.sequential(shape, [layer], rng=0, dtype=dtype))
    assert proof.ok, proof
    assert proof.max_difference <= tolerance(dtype)
    assert proof.skipped == ""
    if isinstance(layer, MatrixLayer):
        assert (proof.weight_gradient is None) == (not layer.trained)


@pytest.mark.parametrize("name", ["lenet5", "lenet5-1998", "resnet8"])
def test_every_architecture_passes(name):
    proofs = list(equivalence(Catalog().build(name, rng=0, dtype="float64")))
    assert all(p.ok for p in proofs)
    assert max(p.max_difference for p in proofs if not p.skipped) > 0


def test_the_direct_computation_is_that_of_scipy_signal():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(3, 7, 6, 1)), rng.normal(size=(2, 3, 3, 2))
    dy = np.zeros((2, 5, 5, 1))
    y, _, _ = direct(Conv(2, (3, 2)), x, weight, dy)
    flipped, _, _ = direct(Conv(2, (3, 2), flip=True), x, weight, dy)
    for o in range(2):
        expected = sum(scipy.signal.correlate(x[c, :, :, 0], weight[o, c], "valid") for c in range(3))
        np.testing.assert_allclose(y[o, :, :, 0], expected, rtol=0, atol=1e-13)
        expected = sum(scipy.signal.convolve(x[c, :, :, 0], weight[o, c], "valid") for c in range(3))
        np.testing.assert_allclose(flipped[o, :, :, 0], expected, rtol=0, atol=1e-13)


def test_the_direct_computation_does_not_know_the_window_tables():
    tree = ast.parse(inspect.getsource(simulator.direct))
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not {"simulator.windows", "simulator.patterns"} & imported
    used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert not {"window", "sites", "axis_sites", "tap_slices"} & used


@dataclass(frozen=True)
class WrongPattern(Conv):
    """A convolution whose matrix has two taps exchanged."""

    def pattern(self, input_shape):
        pattern = super().pattern(input_shape)
        sites = pattern.sites.copy()
        sites[:, [0, 1]] = sites[:, [1, 0]]
        return type(pattern)(pattern.channels, pattern.in_channels, sites, pattern.in_sites, pattern.tie_strides)


@dataclass(frozen=True)
class Unknown(MatrixLayer):
    """A matrix layer that nobody has computed directly."""

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def weight_shape(self, input_shape):
        return (1,)

    def pattern(self, input_shape):
        return TiedMatrix.from_sparse(scipy.sparse.eye_array(input_shape[0]), ties=[0] * input_shape[0]).pattern


@dataclass(frozen=True)
class Doubled(Elementwise):
    """A layer of a plugin that is piecewise linear."""

    piecewise_linear = True

    def value_and_slope(self, x):
        return 2 * x, np.full_like(x, 2)


@dataclass(frozen=True)
class WrongAffine(ReLU):
    """A ReLU whose matrix is the identity."""

    def affine_at(self, params, buffers, *xs):
        return [scipy.sparse.eye_array(xs[0].size, format="csr")], np.zeros(xs[0].size)


def test_a_wrong_matrix_fails():
    (proof,) = equivalence(Network.sequential((1, 5, 5), [WrongPattern(2, 3)], rng=0, dtype="float64"))
    assert not proof.ok
    assert min(proof.forward, proof.input_gradient, proof.weight_gradient) > 0.01
    (proof,) = equivalence(Network.sequential((9,), [WrongAffine()], rng=0, dtype="float64"))
    assert not proof.ok
    assert proof.forward > 0.01


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        (TiedMatrix, "grad", lambda right: lambda self, x, dy: right(self, x, dy) * np.nan),
        (TiedMatrix, "grad", lambda right: lambda self, x, dy: right(self, x, dy) * 2),
        (MaxPool, "_padded", lambda right: lambda self, x: right(self, -x)),
        (Window, "output_space", lambda right: lambda self, space: tuple(n - 1 for n in right(self, space))),
        (ReLU, "value_and_slope", lambda right: lambda self, x: (x, np.ones_like(x))),
    ],
)
def test_sabotage_of_the_core_is_found(monkeypatch, kind, name, wrong):
    layers = [Conv(4, 3, padding=1), ReLU(), MaxPool(2), Conv(4, 3), ReLU(), AveragePool(2)]
    network = Network.sequential((2, 20, 20), layers, rng=0, dtype="float64")
    dead = network.with_params({"conv1.bias": np.full(4, -100.0)})  # behind it every unit is zero
    assert all(proof.ok for proof in equivalence(dead))
    monkeypatch.setattr(kind, name, wrong(getattr(kind, name)))
    _sites.cache_clear()
    rebuilt = Network.sequential((2, 20, 20), layers, rng=0, dtype="float64")
    failed = [proof.layer for proof in equivalence(rebuilt) if not proof.ok]
    _sites.cache_clear()
    assert failed == {"grad": ["Conv"] * 2, "_padded": ["MaxPool"], "value_and_slope": ["ReLU"] * 2}.get(
        name, ["Conv", "MaxPool", "Conv", "AveragePool"]
    )


def test_rows_and_columns_of_a_matrix_that_is_too_large_are_compared(monkeypatch):
    def proof(layer):
        monkeypatch.setattr("simulator.equivalence.LARGEST_CSR", 1000)
        (found,) = equivalence(Network.sequential((2, 12, 12), [layer], rng=0, dtype="float64"))
        return found

    for layer in (Conv(3, 3), Conv(3, 3, padding=1, pad_value=2.0), Conv(2, 3, padding=1, init="zeros"), Dense(70)):
        found = proof(layer)
        assert (found.ok, found.skipped, found.weight_gradient) == (True, "", None)
        assert found.sampled == 64
        assert max(found.forward, found.input_gradient) < 1e-14
        assert found.matrix.endswith("; 64 rows and 64 columns of it")
    found = proof(WrongPattern(3, 3))
    assert not found.ok
    assert min(found.forward, found.input_gradient) > 0.01


def test_what_is_skipped_says_why():
    (proof,) = equivalence(Network.sequential((3,), [Sigmoid()], rng=0))
    assert proof.skipped == "Sigmoid is not piecewise linear: no matrix"
    assert proof.max_difference is None
    (proof,) = equivalence(Network.sequential((3,), [Unknown()], rng=0))
    assert "Unknown has no direct computation to compare with" in proof.skipped
    (proof,) = equivalence(Network.sequential((3,), [Doubled()], rng=0))
    assert proof.ok
    assert proof.matrix.endswith("against its own forward")
    with pytest.raises(NotImplementedError, match="no direct computation for Unknown"):
        direct(Unknown(), None, None, None)


def test_a_plugin_can_register_a_direct_computation():
    @dataclass(frozen=True)
    class Doubling(Unknown):
        pass

    @direct.register(Doubling)
    def _(layer, x, weight, dy):
        return x * weight, dy * weight, np.sum(x * dy)

    (proof,) = equivalence(Network.sequential((3,), [Doubling()], rng=0, dtype="float64"))
    assert proof.ok
    assert proof.skipped == ""


def test_nan_is_no_proof():
    network = Network.sequential((3,), [Dense(2)], rng=0, dtype="float64")
    network = network.with_params({"dense1.weight": np.full((2, 3), np.nan)})
    (proof,) = equivalence(network)
    assert not proof.ok


def test_a_proof_needs_samples():
    with pytest.raises(ShapeError, match="equivalence batch: expected an integer of at least 1, got 0"):
        list(equivalence(Network.sequential((3,), [ReLU()]), batch=0))


@pytest.mark.parametrize("layer", [Add(), Concatenate()])
def test_joins_are_identities_side_by_side_or_below_each_other(layer):
    network = Network.input((2, 3), "a", dtype="float64").add_input((2, 3), "b").add(layer, "a", "b", name="join")
    (proof,) = equivalence(network)
    assert proof.ok
    assert proof.forward == proof.input_gradient == 0
    assert "against its own forward" not in proof.matrix


def test_leaky_relu_is_a_diagonal_of_ones_and_slopes():
    (proof,) = equivalence(Network.sequential((9,), [LeakyReLU(0.1)], dtype="float64"))
    assert proof.ok
    assert proof.matrix == "9 x 9, at a random input: 9 nonzeros"


def test_a_size_that_the_formula_does_not_give_fails():
    with pytest.raises(ShapeError, match=r"direct: expected \(3, 3\) windows by the formula, got \(2, 2\) output"):
        direct(Conv(1, 3), np.zeros((1, 5, 5, 1)), np.zeros((1, 1, 3, 3)), np.zeros((1, 2, 2, 1)))
