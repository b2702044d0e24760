"""The checker, tested: good things pass, and each bad one, named after its sin, breaks exactly the promises it must."""

import itertools
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse

from simulator import (
    SGD,
    Add,
    Catalog,
    Conv,
    Counts,
    CrossEntropy,
    Dense,
    Experiment,
    ExplicitPattern,
    Finding,
    FunctionLayer,
    MaxPool,
    Network,
    PluginError,
    SciPyEngine,
    Sigmoid,
    Softmax,
    SquaredError,
    hookimpl,
)
from simulator.testing import (
    ContractError,
    check_architecture,
    check_engine,
    check_experiment,
    check_layer,
    check_loss,
    check_optimizer,
    layer_checks,
)


def broken(layer, *shapes, engine=None):
    """Names of the promises that a layer breaks, without "check_"."""

    def fails(check):
        try:
            check()
        except ContractError:
            return True
        return False

    return {name.removeprefix("check_") for name, check in layer_checks(layer, *shapes, engine=engine) if fails(check)}


# ---------------------------------------------------------------------- layers that compute


class Scale(FunctionLayer):
    """y = factor · (x − mean) by channel, with a mean that training moves."""

    speed = 0.5

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def param_shapes(self, *input_shapes):
        return {"factor": input_shapes[0][:1]}

    def init_params(self, rng, *input_shapes, dtype):
        return {"factor": rng.standard_normal(input_shapes[0][:1]).astype(dtype)}

    def init_buffers(self, *input_shapes, dtype):
        return {"mean": np.zeros(input_shapes[0][:1], dtype)}

    def forward(self, params, buffers, *xs, training=False, rng=None):
        (x,) = xs
        factor, mean = (a.reshape(-1, *(1,) * (x.ndim - 1)) for a in (params["factor"], buffers["mean"]))
        centred = x - mean

        def pullback(dy):
            return (factor * dy,), {"factor": np.sum((dy * centred).reshape(len(x), -1), axis=1)}

        if not training or x.shape[-1] == 0:
            return factor * centred, pullback, buffers
        now = np.mean(x.reshape(len(x), -1), axis=1)
        return factor * centred, pullback, {"mean": buffers["mean"] + self.speed * (now - buffers["mean"])}

    def affine_at(self, params, buffers, *xs):
        factor, mean = (np.repeat(a, xs[0].size // len(a)) for a in (params["factor"], buffers["mean"]))
        return [sparse.diags_array(factor, format="csr")], -factor * mean


@dataclass(frozen=True)
class Good(Scale):
    speed: float = 0.5


@dataclass(unsafe_hash=True)
class NotFrozen(Scale):
    speed: float = 0.5


@dataclass(frozen=True, eq=False)
class ComparesByIdentity(Scale):
    speed: float = 0.5


class HashesByIdentity(Good):
    __hash__ = object.__hash__


@dataclass(frozen=True)
class ConvertsArguments(Scale):
    sizes: Sequence[int] = (1, 2)

    def __post_init__(self):
        object.__setattr__(self, "sizes", tuple(self.sizes))


class ReprLies(Good):
    def __repr__(self):
        return f"ReprLies(speed={self.speed / 2})"


class ReprOfAnother(Good):
    def __repr__(self):
        return f"Good(speed={self.speed})"


class ReprIsNoCall(Good):
    def __repr__(self):
        return "<a layer>"


class WrongOutputShape(Good):
    def output_shape(self, *input_shapes):
        return (*input_shapes[0], 1)


class UnpacksTwoAxesOfSpace(Good):
    def output_shape(self, *input_shapes):
        channels, height, width = input_shapes[0]
        return channels, height, width


class ParamsForgetDtype(Good):
    def init_params(self, rng, *input_shapes, dtype):
        return super().init_params(rng, *input_shapes, dtype=np.float64)


class BuffersForgetDtype(Good):
    def init_buffers(self, *input_shapes, dtype):
        return super().init_buffers(*input_shapes, dtype=np.float32)


class UnseededParams(Good):
    def init_params(self, rng, *input_shapes, dtype):
        return super().init_params(np.random.default_rng(), *input_shapes, dtype=dtype)


class DriftsWithoutTraining(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, _ = super().forward(params, buffers, *xs)
        return y, pullback, {"mean": buffers["mean"] + 1}


class GrowsBuffers(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)
        return y, pullback, {**after, "steps": np.ones((), xs[0].dtype)} if training else after


class OverwritesInput(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        result = super().forward(params, buffers, *xs, training=training)
        np.abs(xs[0], out=xs[0])
        return result


class OverwritesGradient(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)

        def overwriting(dy):
            gradients = pullback(dy)
            dy *= 2
            return gradients

        return y, overwriting, after


class PullbackOnlyOnce(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)
        pullbacks = [pullback]
        return y, lambda dy: pullbacks.pop()(dy), after


class KeepsThePullback(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)
        object.__setattr__(self, "kept", pullback)
        return y, lambda dy: self.kept(dy), after


class UnseededDropout(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)
        mask = np.random.default_rng().random(y.shape, y.dtype) if training else np.ones_like(y)
        return y * mask, lambda dy: pullback(dy * mask), after


class DependsOnBatch(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)
        n = xs[0].shape[-1]
        return y * n, lambda dy: pullback(dy * n), after

    def affine_at(self, params, buffers, *xs):
        return None


class NeedsASample(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        assert np.min(xs[0]) <= np.max(xs[0])
        return super().forward(params, buffers, *xs, training=training)


class MindsReadOnlyInput(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)
        return (y if xs[0].flags.writeable else y + 0.5), pullback, after


class OutputForgetsDtype(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)
        return y.astype(np.float64), pullback, after


class GradientForgetsDtype(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)
        return y, lambda dy: pullback(dy.astype(np.float64)), after


class ImpreciseInFloat32(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)
        return (y.astype(np.float16).astype(y.dtype) if y.dtype == np.float32 else y), pullback, after


class WrongGradient(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)

        def wrong(dy):
            (dx,), grads = pullback(dy)
            dx[0] *= 1.001
            return (dx,), grads

        return y, wrong, after

    def affine_at(self, params, buffers, *xs):
        return None


class WrongGradientInTraining(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)
        return y, (lambda dy: ((dy,), pullback(dy)[1])) if training else pullback, after


class WrongParamGradient(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)
        return y, lambda dy: (pullback(dy)[0], {"factor": np.sum((dy * xs[0]).reshape(len(dy), -1), axis=1)}), after


class ForgetsParamGradient(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)
        return y, lambda dy: (pullback(dy)[0], {}), after


class MisspellsParamGradient(Good):
    def forward(self, params, buffers, *xs, training=False, rng=None):
        y, pullback, after = super().forward(params, buffers, *xs, training=training)
        return y, lambda dy: (pullback(dy)[0], {**pullback(dy)[1], "fcator": np.zeros(1, dy.dtype)}), after


class WrongAffineOffset(Good):
    def affine_at(self, params, buffers, *xs):
        matrices, offset = super().affine_at(params, buffers, *xs)
        return matrices, -offset


class WrongAffineMatrix(Good):
    """Right at the sample, but no matrix of the layer: the whole output stands in the offset."""

    def affine_at(self, params, buffers, *xs):
        (matrix,), offset = super().affine_at(params, buffers, *xs)
        return [0 * matrix], offset + matrix @ xs[0].ravel()


class SupportsTooLittle(Good):
    def support(self, *input_shapes):
        (shape,) = input_shapes
        return [ExplicitPattern([0], [0], shape=(math.prod(shape),) * 2)]


class CountsNothing(Good):
    def counts(self, *input_shapes):
        return Counts()


class MoreConnectionsThanLinks(Good):
    def counts(self, *input_shapes):
        return Counts(params=input_shapes[0][0], connections=3, links=2)


SINS = [
    (NotFrozen, {"frozen"}),
    (ComparesByIdentity, {"equality", "repr"}),
    (HashesByIdentity, {"equality"}),
    (ConvertsArguments, {"arguments"}),
    (ReprLies, {"repr"}),
    (ReprOfAnother, {"repr"}),
    (ReprIsNoCall, {"repr"}),
    (UnpacksTwoAxesOfSpace, {"other_shapes"}),
    (ParamsForgetDtype, {"params"}),
    (BuffersForgetDtype, {"params"}),
    (UnseededParams, {"params"}),
    (DriftsWithoutTraining, {"buffers"}),
    (OverwritesGradient, {"unchanged"}),
    (PullbackOnlyOnce, {"pullback_twice"}),
    (KeepsThePullback, {"pullback_twice"}),
    (UnseededDropout, {"seed", "input_gradients", "param_gradients", "workspace"}),
    (DependsOnBatch, {"batch"}),
    (NeedsASample, {"empty_batch", "workspace"}),
    (MindsReadOnlyInput, {"affine"}),  # a network hands nothing but read-only arrays over
    (OutputForgetsDtype, {"dtype"}),
    (GradientForgetsDtype, {"dtype"}),
    (ImpreciseInFloat32, {"dtype"}),
    (WrongGradient, {"input_gradients"}),
    (WrongGradientInTraining, {"input_gradients"}),
    (WrongParamGradient, {"param_gradients"}),
    (ForgetsParamGradient, {"param_gradients"}),
    (WrongAffineOffset, {"affine"}),
    (WrongAffineMatrix, {"affine"}),
    (SupportsTooLittle, {"support"}),
    (CountsNothing, {"counts"}),
    (MoreConnectionsThanLinks, {"counts"}),
]


@pytest.mark.parametrize(("sinner", "sins"), SINS)
def test_a_bad_layer_is_caught_by_the_check_of_its_sin(sinner, sins):
    assert broken(sinner(), (2, 3, 3)) == sins


@pytest.mark.parametrize(("sinner", "sins"), [(WrongOutputShape, {"output_shape"}), (OverwritesInput, {"unchanged"})])
def test_what_a_network_itself_refuses_breaks_more_than_one_promise(sinner, sins):
    assert sins < broken(sinner(), (2, 3, 3))


# ---------------------------------------------------------------------- layers that are matrices


def explicit(layer, input_shape, kind, ties=None):
    """The pattern of a layer as an `ExplicitPattern` of another class."""
    rows, cols, right = Conv.pattern(layer, input_shape).triplets()
    shape = Conv.pattern(layer, input_shape).shape
    return kind(rows, cols, right if ties is None else ties(right), shape=shape)


class TransposeForgetsTies(ExplicitPattern):
    @property
    def T(self):
        rows, cols, ties = self.triplets()
        return ExplicitPattern(cols, rows, ties[::-1], shape=self.shape[::-1])


class ColumnsNotInOrder(ExplicitPattern):
    def column(self, j):
        rows, ties = super().column(j)
        return rows[::-1], ties[::-1]


class RowForgetsTheLast(ExplicitPattern):
    def row(self, i):
        cols, ties = super().row(i)
        return cols[:-1], ties[:-1]


class FewerLinksThanNonzeros(ExplicitPattern):
    links = 3


@pytest.mark.parametrize(
    ("kind", "sins"),
    [
        (ExplicitPattern, set()),
        (TransposeForgetsTies, {"pattern"}),
        (ColumnsNotInOrder, {"pattern"}),
        (RowForgetsTheLast, {"pattern"}),
        (FewerLinksThanNonzeros, {"pattern", "counts"}),
    ],
)
def test_a_bad_pattern_is_caught(kind, sins):
    class Convolution(Conv):
        def pattern(self, input_shape):
            return explicit(self, input_shape, kind)

    assert broken(Convolution(2, kernel=2), (1, 3, 4)) - {"repr"} == sins


class WrongTieCount(Conv):
    """The pattern has a tie more than the weight has entries."""

    def pattern(self, input_shape):
        return explicit(self, input_shape, ExplicitPattern, lambda ties: ties + 1)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (WrongTieCount(1, kernel=2), r"check_pattern, WrongTieCount\(.*expected 4 ties, as many as weights, got 5;"),
        (GrowsBuffers(), r"check_buffers, GrowsBuffers\(.*to give buffers of layer.\w+, got layer.steps;"),
        (MisspellsParamGradient(), r"to give gradients of layer.factor, got layer.fcator; fix the layer"),
    ],
)
def test_the_sin_is_named_although_nothing_else_works_either(layer, message):
    with pytest.raises(ContractError, match=message):
        check_layer(layer, (1, 3, 3))


class AnotherPatternEachTime(Conv):
    numbers = itertools.count()

    def pattern(self, input_shape):
        number = next(self.numbers)
        return explicit(self, input_shape, ExplicitPattern, lambda ties: (ties + number) % 4)


def test_a_pattern_must_be_the_same_each_time():
    assert "pattern" in broken(AnotherPatternEachTime(1, kernel=2), (1, 3, 3))


class CountsPaddingAsNonzeros(Conv):
    def counts(self, *input_shapes):
        counts = super().counts(*input_shapes)
        return Counts(counts.params, counts.links, counts.links, counts.macs, 0, counts.macs)


def test_links_are_not_nonzeros():
    assert broken(CountsPaddingAsNonzeros(1, kernel=3, padding=1), (1, 4, 4)) == {"counts"}
    assert broken(CountsPaddingAsNonzeros(1, kernel=3), (1, 4, 4)) == set()


# ---------------------------------------------------------------------- engines


class WrongProduct(SciPyEngine):
    def apply(self, matrix, x):
        return np.abs(super().apply(matrix, x))


class WrongTranspose(SciPyEngine):
    def apply_transposed(self, matrix, dy):
        return 2 * super().apply_transposed(matrix, dy)


class WrongWeightGradient(SciPyEngine):
    """Ties that a repeated cell shares are counted once."""

    def grad(self, matrix, x, dy):
        rows, cols, ties = matrix.pattern.triplets()
        last = np.zeros(matrix.pattern.n_ties, dy.dtype)
        last[ties] = np.sum(dy[rows] * x[cols], axis=1)
        return last.reshape(matrix.weight.shape)


class AlwaysDouble(SciPyEngine):
    def apply(self, matrix, x):
        return super().apply(matrix, x).astype(np.float64)


class NoEmptyBatch(SciPyEngine):
    def apply(self, matrix, x):
        return super().apply(matrix, x) + 0 * x.max()


@pytest.mark.parametrize(
    ("engine", "sins", "message"),
    [
        (SciPyEngine, set(), None),
        (WrongProduct, {"input_gradients", "param_gradients", "matrix", "dot"}, r"W @ x"),
        (WrongTranspose, {"input_gradients", "dot"}, r"Wᵀ @ dy"),
        (WrongWeightGradient, {"param_gradients", "weight_gradient"}, r"gradient"),
        (AlwaysDouble, set(), r"expected W @ x of float32, got float64"),
        (NoEmptyBatch, {"empty_batch", "workspace"}, r"expected no error, got ValueError: zero-size array"),
    ],
)
def test_a_bad_engine_is_caught_with_a_layer_and_alone(engine, sins, message):
    assert broken(Conv(2, kernel=2), (1, 3, 4), engine=engine()) == sins
    if message is None:
        check_engine(engine())
    else:
        with pytest.raises(ContractError, match=f"^check_engine, .*{message}"):
            check_engine(engine())


# ---------------------------------------------------------------------- good layers, and what a message tells


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (Good(), [(2, 3, 3)]),
        (Good(speed=0.25), [(4,)]),
        (Conv(2, kernel=(2, 3), padding=1, pad_value=-1.5), [(1, 3, 4)]),
        (MaxPool(2), [(2, 4)]),
        (Sigmoid(), [(3,)]),
        (Add(), [(2, 2), (2, 2)]),
    ],
)
def test_good_layers_pass(layer, shapes):
    check_layer(layer, *shapes, rng=np.random.default_rng(3))
    assert broken(layer, *shapes) == set()


def test_a_message_names_check_layer_shape_expectation_and_promise():
    with pytest.raises(
        ContractError,
        match=re.escape(
            "check_counts, CountsNothing(speed=0.5) on (2, 3): expected 2 params, got 0; the promise: counts() adds up"
        ),
    ):
        check_layer(CountsNothing(), (2, 3))


def test_all_broken_promises_are_told_in_one_error():
    with pytest.raises(ContractError, match=r"(?s)check_equality, .*\ncheck_repr, ") as caught:
        check_layer(ComparesByIdentity(), (2, 3))
    assert isinstance(caught.value, AssertionError)
    assert str(caught.value).count("\n") == 1


def test_an_unexpected_error_keeps_its_cause():
    checks = dict(layer_checks(PullbackOnlyOnce(), (2, 3)))
    with pytest.raises(ContractError, match="expected no error, got .*IndexError: pop from empty list") as caught:
        checks["check_pullback_twice"]()
    assert isinstance(caught.value.__cause__, PluginError)
    assert isinstance(caught.value.__cause__.__cause__, IndexError)


class ReprRaises(Good):
    def __repr__(self):
        raise ZeroDivisionError("no repr")


def test_a_repr_that_raises_is_a_broken_promise_like_others():
    who = r"ReprRaises \(whose repr raises ZeroDivisionError: no repr\)"
    with pytest.raises(ContractError, match=rf"^check_repr, {who} on \(2, 3\): expected no error, got ZeroDivisionErr"):
        check_layer(ReprRaises(), (2, 3))
    assert broken(ReprRaises(), (2, 3)) == {"repr"}

    class Quiet(SumsOverBatch):
        __repr__ = ReprRaises.__repr__

    with pytest.raises(
        ContractError, match=r"^check_loss, Quiet \(whose repr raises .*\): expected mean over the batch"
    ):
        check_loss(Quiet(), np.ones((2, 3)), np.zeros((2, 3)))


def test_a_promise_that_does_not_apply_gives_the_reason():
    assert dict(layer_checks(Sigmoid(), (2,)))["check_affine"]() == "it gives no matrix for one sample"
    assert dict(layer_checks(MaxPool([2]), (1, 4)))["check_equality"]() == "a field cannot be hashed"
    assert dict(layer_checks(Conv(1, 2), (1, 3)))["check_weight_gradient"]() is None


def test_matrix_layers_promise_more():
    matrix, function = ([name for name, _ in layer_checks(layer, (2,))] for layer in (Dense(2), Sigmoid()))
    assert matrix == [*function, "check_pattern", "check_matrix", "check_weight_gradient", "check_dot"]


# ---------------------------------------------------------------------- losses


class WrongLossGradient(SquaredError):
    def grad(self, prediction, target):
        return 2 * super().grad(prediction, target)


class SumsOverBatch(SquaredError):
    def value(self, prediction, target):
        return super().value(prediction, target) * len(prediction)

    def grad(self, prediction, target):
        return super().grad(prediction, target) * len(prediction)


class LossForgetsDtype(SquaredError):
    def grad(self, prediction, target):
        return super().grad(prediction, target).astype(np.float64)


class ValueIsAnArray(SquaredError):
    def value(self, prediction, target):
        return np.array(super().value(prediction, target))


class OverwritesPrediction(SquaredError):
    def grad(self, prediction, target):
        gradient = super().grad(prediction, target)
        prediction -= target
        return gradient


class OverwritesTarget(SquaredError):
    def value(self, prediction, target):
        value = super().value(prediction, target)
        target += 0.5
        return value


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (WrongLossGradient(), "expected gradient with slope"),
        (SumsOverBatch(), "expected mean over the batch"),
        (LossForgetsDtype(), "expected a gradient of float32, got float64"),
        (ValueIsAnArray(), "expected a float, got <class 'numpy.ndarray'>"),
        (OverwritesPrediction(), "expected unchanged prediction"),
        (OverwritesTarget(), "expected unchanged target"),
    ],
)
def test_a_bad_loss_is_caught(loss, message):
    rng = np.random.default_rng(0)
    prediction, target = rng.standard_normal((2, 4, 3)).astype(np.float32).astype(np.float64)
    with pytest.raises(ContractError, match=f"^check_loss, {type(loss).__name__}.*{message}"):
        check_loss(loss, prediction, target.astype(np.float32))


def test_good_losses_pass():
    prediction = np.random.default_rng(0).standard_normal((4, 3))
    check_loss(CrossEntropy(), prediction, np.array([0, 2, 2, 1]))
    check_loss(SquaredError(), prediction, np.array([0, 2, 2, 1]))


# ---------------------------------------------------------------------- optimizers


class OverwritesParams(SGD):
    def step(self, params, grads, state):
        new, after = super().step(params, grads, state)
        for name, array in new.items():
            params[name][...] = array
        return new, after


class OverwritesGrads(SGD):
    def step(self, params, grads, state):
        result = super().step(params, grads, state)
        for array in grads.values():
            array *= 2
        return result


class OverwritesState(SGD):
    def step(self, params, grads, state):
        new, after = super().step(params, grads, state)
        state["step"] += 1
        return new, after


class RemembersOutsideItsState(SGD):
    def step(self, params, grads, state):
        object.__setattr__(self, "steps", getattr(self, "steps", 0) + 1)
        return super().step(params, {name: array / self.steps for name, array in grads.items()}, state)


class NestsItsState(SGD):
    def step(self, params, grads, state):
        new, after = super().step(params, grads, state)
        return new, {**after, "velocity": grads}


class OptimizerForgetsDtype(SGD):
    def step(self, params, grads, state):
        new, after = super().step(params, grads, state)
        return {name: array.astype(np.float64) for name, array in new.items()}, after


class OptimizerFlattens(SGD):
    def step(self, params, grads, state):
        new, after = super().step(params, grads, state)
        return {name: array.ravel() for name, array in new.items()}, after


class Ascends(SGD):
    def step(self, params, grads, state):
        return super().step(params, {name: -array for name, array in grads.items()}, state)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (OverwritesParams, "expected unchanged param a"),
        (OverwritesGrads, "expected unchanged grad a"),
        (OverwritesState, "expected unchanged state step 0 .*, got 1"),
        (RemembersOutsideItsState, "expected from a saved state, param a"),
        (NestsItsState, "expected an array or number velocity, got <class 'dict'>"),
        (OptimizerForgetsDtype, "expected params of float32"),
        (
            OptimizerFlattens,
            r"expected params of shapes \{'a': \(3, 2\), 'b': \(4,\)\}, got \{'a': \(6,\), 'b': \(4,\)\}",
        ),
        (Ascends, "expected a squared norm below"),
    ],
)
def test_a_bad_optimizer_is_caught(optimizer, message):
    with pytest.raises(ContractError, match=f"^check_optimizer, .*{message}"):
        check_optimizer(optimizer())


def test_a_good_optimizer_passes():
    check_optimizer(SGD(0.5, weight_decay=0.1))


# ---------------------------------------------------------------------- architectures


def good(make, input_shape=(2, 3), classes=10, rng=None):
    return Network.sequential(input_shape, [make("dense", 4), make("relu"), make("dense", classes)], rng=rng)


def always_drawn(make, input_shape=(2, 3), classes=10, rng=None):
    return good(make, input_shape, classes, 0 if rng is None else rng)


def always_one_seed(make, input_shape=(2, 3), classes=10, rng=None):
    return good(make, input_shape, classes, None if rng is None else 0)


def never_one_seed(make, input_shape=(2, 3), classes=10, rng=None):
    return good(make, input_shape, classes, None if rng is None else np.random.default_rng())


def ends_in_probabilities(make, input_shape=(2, 3), classes=10, rng=None):
    return good(make, input_shape, classes, rng).add(Softmax())


def ten_classes_only(make, input_shape=(2, 3), classes=10, rng=None):
    return good(make, input_shape, 10, rng)


def larger_with_weights(make, input_shape=(2, 3), classes=10, rng=None):
    layers = [make("dense", 4 if rng is None else 5), make("dense", classes)]
    return Network.sequential(input_shape, layers, rng=rng)


class Architectures:
    @hookimpl
    def register_architectures(self, register):
        offers = good, always_drawn, always_one_seed, never_one_seed, ends_in_probabilities, ten_classes_only
        for build in (*offers, larger_with_weights):
            register(build.__name__, build)


CATALOG = Catalog(Architectures(), entry_points=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("always_drawn", "expected no weights without rng"),
        ("always_one_seed", "expected other weights from another seed, got the same"),
        ("never_one_seed", "expected from the seed and from a generator of this seed, param dense1.weight"),
        ("ends_in_probabilities", "expected logits, got probabilities that sum to 1"),
        ("ten_classes_only", "expected two samples of 7 logits"),
        ("larger_with_weights", r"expected params \{'dense1.weight': \(5, 6\)"),
        ("god", "got UnknownNameError: .* did you mean 'good'"),
    ],
)
def test_a_bad_architecture_is_caught(name, message):
    with pytest.raises(ContractError, match=f"^check_architecture, {name}: .*{message}"):
        check_architecture(CATALOG, name)


def test_a_good_architecture_passes():
    check_architecture(CATALOG, "good")
    check_architecture(CATALOG, "good", (1, 4))


# ---------------------------------------------------------------------- experiments


@dataclass(frozen=True)
class Walk(Experiment):
    """How far a random walk gets."""

    def conditions(self, quick=False):
        return [{"steps": steps} for steps in ((4, 16) if quick else (4, 16, 64))]

    def run(self, condition, seed, catalog):
        steps = np.random.default_rng(seed).choice([-1, 1], condition["steps"])
        return [{"distance": abs(int(steps.sum()))}]

    def findings(self, table):
        return [Finding("longer walks get farther", "the root", "", table[-1]["distance"] > table[0]["distance"])]

    def draw(self, table, figure):
        figure.subplots().plot([row["steps"] for row in table], [row["distance"] for row in table])


class MoreQuickOnes(Walk):
    def conditions(self, quick=False):
        return super().conditions(not quick)


class OtherQuickNames(Walk):
    def conditions(self, quick=False):
        return [{"length": 4}] if quick else super().conditions()


class ArraysAsConditions(Walk):
    def conditions(self, quick=False):
        return [{"steps": np.arange(3)}]


class ArraysAsRows(Walk):
    def run(self, condition, seed, catalog):
        return [{"distance": np.float32(3)}]


class NotFinite(Walk):
    def run(self, condition, seed, catalog):
        return [{"distance": math.nan}]


class ChangesItsCondition(Walk):
    def run(self, condition, seed, catalog):
        condition["steps"] *= 2
        return super().run(condition, seed, catalog)


class DrawsFromNumPysGlobal(Walk):
    def run(self, condition, seed, catalog):
        return [{"distance": int(np.random.randint(1000))}]  # noqa: NPY002


class DrawsFromPythonsGlobal(Walk):
    def run(self, condition, seed, catalog):
        return [{"distance": random.random()}]


class RemembersItsRuns(Walk):
    runs = itertools.count()

    def run(self, condition, seed, catalog):
        return [{"distance": next(self.runs)}]


class FindsWords(Walk):
    def findings(self, table):
        return ["it does"]


class DrawsNothing(Walk):
    def draw(self, table, figure):
        pass


class DrawsTooLate(Walk):
    def draw(self, table, figure):
        figure.subplots().set_title("$\\frac{$")  # found out when it is rendered


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        (MoreQuickOnes, "expected at most 2 quick conditions, got 3"),
        (OtherQuickNames, r"expected quick conditions of \['steps'\], got \['length'\]"),
        (ArraysAsConditions, r"expected conditions of plain values by name, got 'steps': an array \(3,\) of int64"),
        (
            ArraysAsRows,
            r"expected a run to measure plain values by name, got 'distance': np.float32\(3.0\); write float",
        ),
        (NotFinite, r"expected finite numbers, got \{'distance': nan\}"),
        (ChangesItsCondition, r"expected an unchanged condition \{'steps': 4\}, got \{'steps': 8\}"),
        (DrawsFromNumPysGlobal, r"expected once more from seed 0 .*; draw from default_rng\(seed\) alone"),
        (DrawsFromPythonsGlobal, "expected once more from seed 0 "),
        (RemembersItsRuns, "expected once more from seed 0 "),
        (FindsWords, r"expected a list of Finding, got \['it does'\]"),
        (DrawsNothing, "expected a picture with axes, got an empty figure"),
        (DrawsTooLate, "expected no error, got ValueError"),
    ],
)
def test_a_bad_experiment_is_caught(experiment, message):
    with pytest.raises(ContractError, match=rf"(?s)^check_experiment, {experiment.__name__}\(\): .*{message}"):
        check_experiment(CATALOG, experiment())


def test_a_good_experiment_passes_and_leaves_the_global_generators_alone():
    before = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    check_experiment(CATALOG, Walk())
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
