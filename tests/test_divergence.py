"""Training that is no longer finite names who made the first number that is not, and a cure that fits."""

from dataclasses import dataclass

import numpy as np
import pytest

from simulator import Dataset, Elementwise, Network, PluginError, SimulatorError, train
from simulator.layers import Dense, ReLU
from simulator.losses import CrossEntropy
from simulator.optimizers import SGD

RNG = np.random.default_rng(0)
DATA = Dataset(RNG.standard_normal((32, 4)), RNG.integers(0, 3, 32))


@dataclass(frozen=True)
class Log(Elementwise):
    """Forgets that inputs may be negative."""

    def value_and_slope(self, x):
        return np.log(x), 1 / x


@dataclass(frozen=True)
class Root(Elementwise):
    """Its slope at 0 is infinite."""

    def value_and_slope(self, x):
        y = np.sqrt(np.maximum(x, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            return y, 0.5 / y


class NanLoss(CrossEntropy):
    def value_and_grad(self, prediction, target):
        return float("nan"), np.zeros_like(prediction)


class NanGradient(CrossEntropy):
    def value_and_grad(self, prediction, target):
        return 1.0, np.full_like(prediction, np.nan)


class NanStep(SGD):
    def step(self, params, grads, state):
        return {name: np.full_like(p, np.nan) for name, p in params.items()}, state


def net(*between):
    return Network.sequential((4,), [Dense(5), *between, Dense(3)], rng=0)


CODE = "; correct its code, 'simulator check-plugin'"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (
            net(Log()),
            {},
            r"finite loss, got nan at step 1 of epoch 1: layer log1 \(Log\(\)\) made it of finite .*" + CODE,
        ),
        (net(Root()), {}, r"finite weights, .* after step 1 of epoch 1: the gradient of layer root1 .*" + CODE),
        (
            net(),
            {"losses": NanLoss()},
            "finite loss, got nan at step 1 of epoch 1: loss NanLoss.*" + CODE,
        ),
        (
            net(),
            {"losses": NanGradient()},
            "finite weights, .* the gradient of loss NanGradient.*" + CODE,
        ),
        (net(), {"optimizer": NanStep()}, "after step 1 of epoch 1: optimizer NanStep.* made it of finite .*" + CODE),
        (net(), {"augment": lambda x, rng: x * np.nan}, "the augmentation gave NaN or infinity; correct the augment"),
        (net(ReLU()), {"optimizer": SGD(1e12)}, "numbers had grown to .*; use a smaller learning rate"),
    ],
    ids=["layer", "slope of a layer", "loss", "gradient of a loss", "optimizer", "augmentation", "learning rate"],
)
def test_the_one_at_fault_is_named(network, options, message):
    with pytest.raises(SimulatorError, match=message):
        list(train(network, DATA, epochs=3, batch_size=32, **options))


def test_a_smaller_learning_rate_cures():
    *_, last = train(net(ReLU()), DATA, epochs=3, batch_size=32, optimizer=SGD(0.1))
    assert np.isfinite(last.loss)


class Stateless(SGD):
    def step(self, params, grads, state):
        return dict(params)


class Leaves(SGD):
    def init(self, params):
        raise SystemExit(3)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (
            Stateless(),
            "optimizer Stateless.*: expected step to give new params and a new state, .*; correct its code",
        ),
        (Leaves(), "optimizer Leaves.*: expected init to give a state, got SystemExit: 3; correct its code"),
    ],
)
def test_an_optimizer_that_breaks_its_contract_is_named(optimizer, message):
    with pytest.raises(PluginError, match=message):
        list(train(net(), DATA, optimizer=optimizer))
