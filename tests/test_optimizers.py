"""Gradient descent and clipping against PyTorch and by hand."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import (
    SGD,
    Catalog,
    Clipped,
    CosineDecay,
    Dataset,
    Dense,
    Grouped,
    Network,
    ShapeError,
    load,
    save,
    train,
)
from simulator.optimizers import Optimizer, decayed
from simulator.schedules import learning_rate
from simulator.testing import check_optimizer


def problem(steps=50):
    """First params, and a list of gradients that grow and shrink."""
    rng = np.random.default_rng(0)
    params = {"conv1.weight": rng.standard_normal((3, 2, 2)), "conv1.bias": rng.standard_normal(3)}
    gradients = [
        {name: 3 * np.sin(step / 7) * rng.standard_normal(p.shape) for name, p in params.items()}
        for step in range(steps)
    ]
    return params, gradients


def race(torch, ours, theirs, agree, clip=None):
    """Both optimizers take the same 50 steps; ``theirs(params)``, and ``clip(params)`` before each step."""
    params, gradients = problem()
    leaves = {name: torch.nn.Parameter(torch.tensor(p)) for name, p in params.items()}
    optimizer = theirs(leaves.values())
    state = ours.init(params)
    rate = getattr(ours, "optimizer", ours).lr
    for step, grads in enumerate(gradients):
        params, state = ours.step(params, grads, state)
        for name, p in leaves.items():
            p.grad = torch.tensor(grads[name])
        if clip is not None:
            clip(leaves.values())
        optimizer.param_groups[0]["lr"] = learning_rate(rate, step)
        optimizer.step()
        for name, p in leaves.items():
            agree(params[name], p.detach().numpy(), 1e-10)
    assert state["step"] == len(gradients)


@pytest.mark.parametrize("lr", [0.3, CosineDecay(0.4, steps=50)], ids=["constant", "cosine"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_sgd_is_what_torch_steps(weight_decay, lr, torch, agree):
    ours = SGD(lr=lr, weight_decay=weight_decay)
    race(torch, ours, functools.partial(torch.optim.SGD, lr=0.3, weight_decay=weight_decay), agree)


def test_sgd_by_hand():
    params, state = SGD(lr=0.5, weight_decay=0.1).step({"w": np.array([2.0])}, {"w": np.array([1.0])}, {"step": 4})
    assert params["w"] == pytest.approx([2 - 0.5 * (1 + 0.1 * 2)])
    assert state == {"step": 5}


@pytest.mark.parametrize("sgd", [SGD(weight_decay=0.1), Clipped(SGD(), norm=0.1), Clipped(SGD(), value=0.1)])
def test_nothing_is_changed_in_place(sgd):
    params, (_, gradients) = problem(steps=2)
    for array in (*params.values(), *gradients.values()):
        array.flags.writeable = False
    state = sgd.init(params)
    new, _ = sgd.step(params, gradients, state)
    assert state == {"step": 0}
    assert not any(np.shares_memory(new[name], params[name]) for name in params)
    assert isinstance(sgd, Optimizer)


def test_single_precision_stays_single():
    sgd = SGD(lr=lambda step: np.float64(0.1), weight_decay=np.float64(0.1))
    for rule in (sgd, Clipped(sgd, norm=np.float64(0.1)), Clipped(sgd, value=np.float64(0.1))):
        params, _ = rule.step({"w": np.ones(2, np.float32)}, {"w": np.ones(2, np.float32)}, {"step": 0})
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


def test_weight_decay_pulls_towards_zero():
    assert decayed(np.array([4.0]), np.array([1.0]), 0.5).tolist() == [3]
    gradient = np.array([1.0])
    assert decayed(np.array([4.0]), gradient, 0) is gradient


@pytest.mark.parametrize("limit", [{"norm": 0.5}, {"value": 0.2}])
def test_a_clipped_optimizer_keeps_every_promise(limit):
    check_optimizer(Clipped(SGD(0.1, weight_decay=0.01), **limit))


@pytest.mark.parametrize("limit", [0.5, 4.0, 100.0])
@pytest.mark.parametrize("kind", ["norm", "value"])
def test_clipping_is_that_of_torch(kind, limit, torch, agree):
    clip = {"norm": torch.nn.utils.clip_grad_norm_, "value": torch.nn.utils.clip_grad_value_}[kind]
    ours = Clipped(SGD(lr=CosineDecay(0.4, steps=50), weight_decay=0.1), **{kind: limit})
    theirs = functools.partial(torch.optim.SGD, lr=0.4, weight_decay=0.1)
    race(torch, ours, theirs, agree, clip=lambda params: clip(params, limit))


def step_of(rule, grads):
    """How far each param moves down at a learning rate of 1."""
    params = {name: np.zeros_like(g) for name, g in grads.items()}
    new, _ = rule.step(params, grads, rule.init(params))
    return {name: -p for name, p in new.items()}


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), st.floats(0, 1e6))
def test_a_clipped_gradient_is_short_and_keeps_its_direction(numbers, norm):
    whole = np.array(numbers)
    moved = step_of(Clipped(SGD(1.0), norm=norm), {"a": whole[:2], "b": whole[2:]})
    clipped = np.concatenate([moved["a"], moved["b"]])
    length = np.linalg.norm(whole)
    assert np.linalg.norm(clipped) <= min(norm, length) * (1 + 1e-12)
    assert clipped * length == pytest.approx(whole * np.linalg.norm(clipped), rel=1e-9, abs=1e-9)
    if length + 1e-6 <= norm:
        assert clipped.tolist() == whole.tolist()


def test_a_norm_is_measured_where_squares_overflow_single_precision():
    moved = step_of(Clipped(SGD(1.0), norm=1.0), {"w": np.array([3e25, 4e25], np.float32)})
    assert moved["w"] == pytest.approx([0.6, 0.8], rel=1e-6)


def test_components_are_cut_one_by_one():
    moved = step_of(Clipped(SGD(1.0), value=2.0), {"w": np.array([-3.0, -2.0, 0.5, 7.0])})
    assert moved["w"].tolist() == [-2, -2, 0.5, 2]


def test_the_state_of_a_clipped_optimizer_is_its_own():
    momentum = Catalog().optimizers["momentum"](1.0, momentum=0.5)
    rule, params = Clipped(momentum, value=1.0), {"w": np.zeros(1)}
    state = rule.init(params)
    assert set(state) == {"step", "velocity.w"}
    for _ in range(2):
        params, state = rule.step(params, {"w": np.array([100.0])}, state)
    assert (state["step"], state["velocity.w"].item(), params["w"].item()) == (2, 1.5, -2.5)


PARAMS = {"conv1.weight": np.ones((2, 3)), "conv1.bias": np.ones(2), "dense1.weight": np.ones(4)}


def test_groups_are_those_of_torch(torch, agree):
    adam, momentum = Catalog().optimizers["adam"], Catalog().optimizers["momentum"]
    ours = Grouped([("*.bias", momentum(0.05)), ("conv*", adam(0.01)), ("*", momentum(0.2, momentum=0.5))])
    rng = np.random.default_rng(0)
    params, leaves = PARAMS, {name: torch.tensor(p, requires_grad=True) for name, p in PARAMS.items()}
    sgd = torch.optim.SGD(
        [
            {"params": [leaves["conv1.bias"]], "lr": 0.05, "momentum": 0.9},
            {"params": [leaves["dense1.weight"]], "lr": 0.2, "momentum": 0.5},
        ]
    )
    theirs = [sgd, torch.optim.Adam([leaves["conv1.weight"]], lr=0.01)]
    state = ours.init(params)
    for _ in range(5):
        grads = {name: rng.standard_normal(p.shape) for name, p in params.items()}
        params, state = ours.step(params, grads, state)
        for name, leaf in leaves.items():
            leaf.grad = torch.tensor(grads[name])
        for optimizer in theirs:
            optimizer.step()
    assert list(params) == list(PARAMS)
    for name, leaf in leaves.items():
        agree(params[name], leaf.detach().numpy())


def test_groups_keep_every_promise_and_go_on_from_a_file(tmp_path):
    ours = Grouped([("*.bias", Clipped(SGD(0.5), norm=1.0)), ("*", Catalog().optimizers["adam"](0.01))])
    data = Dataset(np.random.default_rng(0).standard_normal((12, 3)), np.arange(12) % 2)
    network = Network.sequential((3,), [Dense(4), Dense(2)], rng=0)
    *_, whole = train(network, data, epochs=4, optimizer=ours)
    *_, half = train(network, data, epochs=2, optimizer=ours)
    save(tmp_path / "half", half.network, epoch=half)
    *_, resumed = train(network, data, epochs=4, optimizer=ours, resume=load(tmp_path / "half").epoch)
    for name, param in whole.network.params.items():
        np.testing.assert_array_equal(resumed.network.params[name], param)


def test_groups_of_some_params_where_only_these_are_trained():
    data = Dataset(np.random.default_rng(0).standard_normal((12, 3)), np.arange(12) % 2)
    network = Network.sequential((3,), [Dense(4), Dense(2)], rng=0)
    ours = Grouped([("dense2.weight", SGD(0.1)), ("dense2.bias", SGD(0.2))])
    *_, last = train(network, data, epochs=1, optimizer=ours, trainable=["dense2*"])
    moved = {name for name, param in network.params.items() if (param != last.network.params[name]).any()}
    assert moved == {"dense2.weight", "dense2.bias"}


def test_a_group_for_each_param_and_a_param_for_each_group():
    message = (
        r"^grouped: expected each param in a group, got 'dense1.weight', which matches no pattern; add a last group"
    )
    with pytest.raises(ShapeError, match=message):
        Grouped([("conv*", SGD())]).init(PARAMS)
    assert set(Grouped([("conv*", SGD()), ("*", SGD())]).init(PARAMS)) == {"0.step", "1.step"}
    message = (
        r"^grouped conv\*: expected params that match it and no group before it, got none; leave the group out, or "
    )
    with pytest.raises(ShapeError, match=message):
        Grouped([("*", SGD()), ("conv*", SGD())]).init(PARAMS)
    assert set(Grouped([("*", SGD())]).init(PARAMS)) == {"0.step"}


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: Grouped([]), "grouped groups: expected at least one group, got none; write Grouped"),
        (lambda: Grouped([("*", "adam")]), r"grouped \*: expected an Optimizer, got 'adam'; write Grouped"),
        (lambda: Grouped("adam"), "Grouped groups: expected "),
        (lambda: SGD(lr=-1), "sgd lr: expected a finite number of at least 0, got -1; give"),
        (lambda: SGD(weight_decay=-1), "sgd weight_decay: expected a finite number of at least 0, got -1; give"),
        (lambda: Clipped("sgd", norm=1), r"Clipped optimizer: expected an Optimizer, got 'sgd'; write Clipped\(SGD"),
        (lambda: Clipped(SGD()), "clipped: expected a norm or a value, got norm=None, value=None; give exactly one"),
        (lambda: Clipped(SGD(), 1, 2), "clipped: expected a norm or a value, got norm=1, value=2; give exactly one"),
        (lambda: Clipped(SGD(), norm=-1), "clipped norm: expected a finite number of at least 0, got -1; give"),
    ],
)
def test_arguments_that_make_no_sense(mistake, message):
    with pytest.raises(ShapeError, match=f"^{message}"):
        mistake()
