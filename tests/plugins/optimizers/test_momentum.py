"""Momentum against PyTorch and by hand."""

import numpy as np
import pytest
from simulator_plugins.optimizers.momentum import Momentum

from simulator import Catalog
from simulator.optimizers import Optimizer


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_momentum_is_what_torch_steps(momentum, weight_decay, torch, agree):
    rng = np.random.default_rng(0)
    params = {"conv1.weight": rng.standard_normal((3, 2, 2)), "conv1.bias": rng.standard_normal(3)}
    theirs = {name: torch.nn.Parameter(torch.tensor(p)) for name, p in params.items()}
    torch_sgd = torch.optim.SGD(theirs.values(), lr=0.3, momentum=momentum, weight_decay=weight_decay)
    rule = Momentum(lr=0.3, momentum=momentum, weight_decay=weight_decay)
    state = rule.init(params)
    for _ in range(6):
        grads = {name: rng.standard_normal(p.shape) for name, p in params.items()}
        before = set(state)
        params, state = rule.step(params, grads, state)
        assert set(state) == before
        for name, p in theirs.items():
            p.grad = torch.tensor(grads[name])
        torch_sgd.step()
        for name, p in theirs.items():
            agree(params[name], p.detach().numpy())
    assert state["step"] == 6


def test_a_constant_push_gathers_speed():
    rule, params = Momentum(lr=lambda step: 1.0, momentum=0.5), {"w": np.zeros(1)}
    state, path = rule.init(params), []
    for _ in range(3):
        params, state = rule.step(params, {"w": np.ones(1)}, state)
        path.append(params["w"].item())
    assert path == [-1, -2.5, -4.25]


def test_nothing_is_changed_in_place_and_single_precision_stays_single():
    params, grads = {"w": np.ones(2, np.float32)}, {"w": np.ones(2, np.float32)}
    rule = Momentum(weight_decay=0.1)
    state = rule.init(params)
    for array in (params["w"], grads["w"], state["velocity.w"]):
        array.flags.writeable = False
    new, after = rule.step(params, grads, state)
    assert (new["w"].dtype, after["velocity.w"].dtype) == (np.float32, np.float32)
    assert state["step"] == 0


def test_the_catalog_offers_it_by_name():
    assert Catalog().optimizers["momentum"] is Momentum
    assert isinstance(Momentum(), Optimizer)
