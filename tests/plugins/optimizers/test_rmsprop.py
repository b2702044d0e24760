"""RMSprop against PyTorch and by hand."""

import numpy as np
import pytest
from simulator_plugins.optimizers.rmsprop import RMSprop

from simulator import ShapeError


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(("alpha", "epsilon"), [(0.99, 1e-8), (0.5, 1e-3)])
def test_rmsprop_is_what_torch_steps(alpha, epsilon, centered, momentum, weight_decay, lr, torch, race):
    options = {"alpha": alpha, "momentum": momentum, "centered": centered, "weight_decay": weight_decay}
    race(RMSprop(lr=lr, epsilon=epsilon, **options), torch.optim.RMSprop, eps=epsilon, **options)


def test_large_and_small_gradients_step_alike():
    rule, params = RMSprop(lr=0.1, alpha=0.75, epsilon=0.0), {"w": np.zeros(2)}
    state = rule.init(params)
    for squares in (1 / 4, 1 / 4 + 3 / 16):
        before = params["w"]
        params, state = rule.step(params, {"w": np.array([1e-3, -1e6])}, state)
        assert params["w"] - before == pytest.approx(np.array([-0.1, 0.1]) / squares**0.5)


def test_rounding_never_takes_the_root_of_a_negative_deviation():
    rule, params = RMSprop(alpha=0.5, centered=True), {"w": np.zeros(1000, np.float32)}
    grads = {"w": np.random.default_rng(0).standard_normal(1000).astype(np.float32)}
    state = rule.init(params)
    for _ in range(40):
        params, state = rule.step(params, grads, state)
    assert (state["square.w"] < np.square(state["mean.w"])).any()
    assert np.isfinite(params["w"]).all()


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("centered", [False, True])
def test_nothing_is_changed_in_place_and_single_precision_stays_single(centered, momentum, keeps_its_state):
    kinds = ["square", *(["mean"] if centered else []), *(["velocity"] if momentum else [])]
    keeps_its_state(RMSprop(*np.array([0.01, 0.9, 1e-8, 0.1, momentum]), centered=centered), *kinds)


@pytest.mark.parametrize("option", ["lr", "epsilon", "weight_decay", "momentum"])
def test_negative_numbers_are_refused(option):
    with pytest.raises(ShapeError, match=f"^rmsprop {option}: expected a finite number of at least 0, got -0.1; give"):
        RMSprop(**{option: -0.1})


@pytest.mark.parametrize("alpha", [-0.1, 1])
def test_a_share_that_is_kept_is_below_1(alpha):
    with pytest.raises(ShapeError, match=f"^rmsprop alpha: expected a number from 0 to below 1, got {alpha}; give"):
        RMSprop(alpha=alpha)
