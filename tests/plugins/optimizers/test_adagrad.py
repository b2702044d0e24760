"""Adagrad against PyTorch and by hand."""

import numpy as np
import pytest
from simulator_plugins.optimizers.adagrad import Adagrad

from simulator import ShapeError


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("lr_decay", "start", "epsilon"), [(0.0, 0.0, 1e-10), (0.2, 0.5, 1e-3)])
def test_adagrad_is_what_torch_steps(lr_decay, start, epsilon, weight_decay, lr, torch, race):
    options = {"lr_decay": lr_decay, "weight_decay": weight_decay, "initial_accumulator_value": start}
    race(Adagrad(lr=lr, epsilon=epsilon, **options), torch.optim.Adagrad, eps=epsilon, **options)


def test_a_constant_push_brings_ever_shorter_steps():
    rule, params = Adagrad(lr=1.0), {"w": np.zeros(1)}
    state, path = rule.init(params), []
    for _ in range(4):
        params, state = rule.step(params, {"w": np.full(1, 3.0)}, state)
        path.append(params["w"].item())
    assert np.diff(path, prepend=0) == pytest.approx([-1, -1 / 2**0.5, -1 / 3**0.5, -1 / 2])


def test_a_param_without_gradients_stays():
    rule, params = Adagrad(), {"w": np.ones(2)}
    params, _ = rule.step(params, {"w": np.zeros(2)}, rule.init(params))
    assert params["w"].tolist() == [1, 1]


def test_nothing_is_changed_in_place_and_single_precision_stays_single(keeps_its_state):
    keeps_its_state(Adagrad(*np.array([0.01, 0.1, 0.1, 0.1, 1e-3])), "sum")


@pytest.mark.parametrize("option", ["lr", "lr_decay", "weight_decay", "initial_accumulator_value", "epsilon"])
def test_negative_numbers_are_refused(option):
    with pytest.raises(ShapeError, match=f"^adagrad {option}: expected a finite number of at least 0, got -0.1; give"):
        Adagrad(**{option: -0.1})
