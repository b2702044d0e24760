"""Adam and AdamW against PyTorch and by hand."""

import numpy as np
import pytest
from simulator_plugins.optimizers.adam import Adam, AdamW

from simulator import ShapeError

BOTH = pytest.mark.parametrize("kind", [Adam, AdamW])


@BOTH
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize(("betas", "epsilon"), [((0.9, 0.999), 1e-8), ((0.5, 0.8), 1e-2)])
def test_it_is_what_torch_steps(kind, betas, epsilon, amsgrad, weight_decay, lr, torch, race):
    options = {"betas": betas, "amsgrad": amsgrad, "weight_decay": weight_decay}
    theirs = getattr(torch.optim, kind.__name__)
    race(kind(lr=lr, epsilon=epsilon, **options), theirs, eps=epsilon, **options)


@BOTH
def test_a_constant_push_brings_steps_of_the_learning_rate(kind):
    rule, params = kind(lr=0.1, weight_decay=0.0), {"w": np.zeros(2)}
    state = rule.init(params)
    for _ in range(30):
        params, state = rule.step(params, {"w": np.array([0.5, -1e6])}, state)
    assert params["w"] == pytest.approx([-3, 3], rel=1e-6)


def test_only_adamw_decays_weights_apart_from_the_gradient():
    params, grads = {"w": np.array([4.0, -4.0])}, {"w": np.zeros(2)}
    adam, adamw = Adam(lr=0.1, weight_decay=0.5), AdamW(lr=0.1, weight_decay=0.5)
    assert adam.step(params, grads, adam.init(params))[0]["w"] == pytest.approx([3.9, -3.9])
    assert adamw.step(params, grads, adamw.init(params))[0]["w"] == pytest.approx([3.8, -3.8])


@pytest.mark.parametrize("amsgrad", [False, True])
@BOTH
def test_nothing_is_changed_in_place_and_single_precision_stays_single(kind, amsgrad, keeps_its_state):
    lr, *betas, epsilon, decay = np.array([0.01, 0.9, 0.99, 1e-8, 0.1])
    kinds = ["mean", "square", *(["largest"] if amsgrad else [])]
    keeps_its_state(kind(lr, betas, epsilon, decay, amsgrad), *kinds)


@BOTH
@pytest.mark.parametrize("option", ["lr", "epsilon", "weight_decay"])
def test_negative_numbers_are_refused(kind, option):
    message = f"^{kind.__name__.lower()} {option}: expected a finite number of at least 0, got -0.1; give"
    with pytest.raises(ShapeError, match=message):
        kind(**{option: -0.1})


@BOTH
def test_betas_are_two_shares_below_1(kind):
    who = kind.__name__.lower()
    with pytest.raises(ShapeError, match=f"^{who} betas: expected a number from 0 to below 1, got 1; give"):
        kind(betas=(0.9, 1))
    with pytest.raises(ShapeError, match=r"betas: expected 2 numbers, got \(0.9,\); write for example betas=\("):
        kind(betas=(0.9,))
    with pytest.raises(ShapeError, match="betas: expected 2 numbers, got 0.9; write for example betas="):
        kind(betas=0.9)
