"""Gradient descent against PyTorch and by hand."""

import numpy as np
import pytest

from simulator import SGD, CosineDecay
from simulator.optimizers import Optimizer, decayed, learning_rate


def problem(steps=6):
    """First params, and a list of gradients."""
    rng = np.random.default_rng(0)
    params, *gradients = (
        {"conv1.weight": rng.standard_normal((3, 2, 2)), "conv1.bias": rng.standard_normal(3)} for _ in range(1 + steps)
    )
    return params, gradients


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_sgd_is_what_torch_steps(weight_decay, torch, agree):
    params, gradients = problem()
    theirs = {name: torch.nn.Parameter(torch.tensor(p)) for name, p in params.items()}
    torch_sgd = torch.optim.SGD(theirs.values(), lr=0.3, weight_decay=weight_decay)
    sgd = SGD(lr=0.3, weight_decay=weight_decay)
    state = sgd.init(params)
    for grads in gradients:
        params, state = sgd.step(params, grads, state)
        for name, p in theirs.items():
            p.grad = torch.tensor(grads[name])
        torch_sgd.step()
        for name, p in theirs.items():
            agree(params[name], p.detach().numpy())
    assert state == {"step": len(gradients)}


def test_sgd_by_hand():
    params, state = SGD(lr=0.5, weight_decay=0.1).step({"w": np.array([2.0])}, {"w": np.array([1.0])}, {"step": 4})
    assert params["w"] == pytest.approx([2 - 0.5 * (1 + 0.1 * 2)])
    assert state == {"step": 5}


def test_nothing_is_changed_in_place():
    params, gradients = problem(steps=1)
    for array in (*params.values(), *gradients[0].values()):
        array.flags.writeable = False
    sgd = SGD(weight_decay=0.1)
    state = sgd.init(params)
    new, _ = sgd.step(params, gradients[0], state)
    assert state == {"step": 0}
    assert not any(np.shares_memory(new[name], params[name]) for name in params)
    assert isinstance(sgd, Optimizer)


def test_single_precision_stays_single():
    params, _ = SGD(lr=lambda step: np.float64(0.1), weight_decay=0.1).step(
        {"w": np.ones(2, np.float32)}, {"w": np.ones(2, np.float32)}, {"step": 0}
    )
    assert params["w"].dtype == np.float32


def test_the_rate_may_depend_on_the_step():
    rates = []

    def rate(step):
        rates.append(step)
        return 1 / (1 + step)

    sgd, params = SGD(lr=rate), {"w": np.zeros(1)}
    state = sgd.init(params)
    for _ in range(3):
        params, state = sgd.step(params, {"w": np.ones(1)}, state)
    assert params["w"] == pytest.approx([-(1 + 1 / 2 + 1 / 3)])
    assert rates == [0, 1, 2]
    assert learning_rate(0.1, 5) == 0.1
    assert learning_rate(rate, 4) == 0.2


def test_cosine_decay_is_that_of_torch(torch):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=0.1)
    ours = CosineDecay(0.4, steps=10, end=0.1)
    for step in range(11):
        assert ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        schedule.step()


def test_cosine_decay_stays_at_the_end():
    rate = CosineDecay(1.0, steps=4, end=0.2)
    assert [rate(0), rate(2), rate(4), rate(400)] == pytest.approx([1, 0.6, 0.2, 0.2])
    assert CosineDecay(1.0, steps=0)(0) == 1


def test_weight_decay_pulls_towards_zero():
    assert decayed(np.array([4.0]), np.array([1.0]), 0.5).tolist() == [3]
    gradient = np.array([1.0])
    assert decayed(np.array([4.0]), gradient, 0) is gradient
