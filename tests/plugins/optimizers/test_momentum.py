"""Momentum and Nesterov's momentum against PyTorch and by hand."""

import numpy as np
import pytest
from simulator_plugins.optimizers.momentum import Momentum, Nesterov

from simulator import Catalog, ShapeError
from simulator.optimizers import Optimizer


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_momentum_is_what_torch_steps(momentum, weight_decay, lr, torch, race):
    ours = Momentum(lr=lr, momentum=momentum, weight_decay=weight_decay)
    race(ours, torch.optim.SGD, momentum=momentum, weight_decay=weight_decay)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_nesterov_is_what_torch_steps(momentum, weight_decay, lr, torch, race):
    ours = Nesterov(lr=lr, momentum=momentum, weight_decay=weight_decay)
    race(ours, torch.optim.SGD, momentum=momentum, weight_decay=weight_decay, nesterov=True)


def path_of(rule):
    """Where three pushes of 1 bring a ball that starts at 0."""
    params = {"w": np.zeros(1)}
    state, path = rule.init(params), []
    for _ in range(3):
        params, state = rule.step(params, {"w": np.ones(1)}, state)
        path.append(params["w"].item())
    return path


def test_a_constant_push_gathers_speed():
    assert path_of(Momentum(lr=lambda step: 1.0, momentum=0.5)) == [-1, -2.5, -4.25]
    assert path_of(Nesterov(lr=lambda step: 1.0, momentum=0.5)) == [-1.5, -3.25, -5.125]


def test_without_momentum_both_are_plain_descent():
    assert path_of(Momentum(lr=1.0, momentum=0.0)) == path_of(Nesterov(lr=1.0, momentum=0.0)) == [-1, -2, -3]


@pytest.mark.parametrize("kind", [Momentum, Nesterov])
def test_nothing_is_changed_in_place_and_single_precision_stays_single(kind, keeps_its_state):
    keeps_its_state(kind(momentum=np.float64(0.9), weight_decay=np.float64(0.1)), "velocity")


@pytest.mark.parametrize(("name", "kind"), [("momentum", Momentum), ("nesterov", Nesterov)])
def test_the_catalog_offers_it_by_name(name, kind):
    assert Catalog().optimizers[name] is kind
    assert isinstance(kind(), Optimizer)


@pytest.mark.parametrize("kind", [Momentum, Nesterov])
@pytest.mark.parametrize("option", ["lr", "momentum", "weight_decay"])
def test_negative_numbers_are_refused(kind, option):
    message = f"^{kind.__name__.lower()} {option}: expected a finite number of at least 0, got -0.1; give such a number"
    with pytest.raises(ShapeError, match=message):
        kind(**{option: -0.1})
