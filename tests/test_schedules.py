"""Learning rates over the steps, against PyTorch, Goyal et al. and by hand."""

import dataclasses

import numpy as np
import pytest

from simulator import SGD, CosineDecay, PlateauDecay, ShapeError, StepDecay, WarmUp
from simulator.schedules import check_number, check_rate, learning_rate


@pytest.fixture(scope="module")
def rates_of_torch(torch):
    """The rates of the first steps: ``rates_of_torch(schedule, start, steps)``, where ``schedule(optimizer)``."""

    def rates(schedule, start, steps):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=start)
        scheduler, seen = schedule(optimizer), []
        for _ in range(steps):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return seen

    return rates


def agrees(rate, expected):
    assert [rate(step) for step in range(len(expected))] == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_cosine_decay_is_that_of_torch(torch, rates_of_torch):
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR
    agrees(CosineDecay(0.4, steps=10, end=0.1), rates_of_torch(lambda sgd: cosine(sgd, T_max=10, eta_min=0.1), 0.4, 11))


def test_cosine_decay_stays_at_the_end():
    rate = CosineDecay(1.0, steps=4, end=0.2)
    assert [rate(0), rate(2), rate(4), rate(400)] == pytest.approx([1, 0.6, 0.2, 0.2])
    assert CosineDecay(1.0, steps=0)(0) == 1


@pytest.mark.parametrize(("every", "factor"), [(1, 0.9), (4, 0.1), (7, 0.5), (40, 0.1)])
def test_equal_stairs_are_those_of_torch(every, factor, torch, rates_of_torch):
    stairs = torch.optim.lr_scheduler.StepLR
    agrees(StepDecay(0.4, every, factor), rates_of_torch(lambda sgd: stairs(sgd, every, factor), 0.4, 30))


@pytest.mark.parametrize("milestones", [[1], (3, 4, 11), [29], range(5, 30, 9), ()])
def test_stairs_at_milestones_are_those_of_torch(milestones, torch, rates_of_torch):
    stairs = torch.optim.lr_scheduler.MultiStepLR
    agrees(StepDecay(0.4, milestones), rates_of_torch(lambda sgd: stairs(sgd, list(milestones)), 0.4, 30))


def test_the_last_stairs_are_at_zero():
    assert StepDecay(1.0, every=1)(10**6) == 0


@pytest.mark.parametrize("steps", [2, 5])
def test_a_warm_up_alone_is_the_line_of_torch(steps, torch, rates_of_torch):
    """The same as SequentialLR from this line to a constant: the line ends at the full rate."""
    line = torch.optim.lr_scheduler.LinearLR
    theirs = rates_of_torch(lambda sgd: line(sgd, start_factor=1 / steps, total_iters=steps - 1), 0.3, 12)
    agrees(WarmUp(0.3, steps), theirs)


def test_a_warm_up_times_a_decay_is_the_chain_of_torch(torch, rates_of_torch):
    schedules = torch.optim.lr_scheduler
    for ours, theirs in [
        (StepDecay(0.3, every=3), lambda sgd: schedules.StepLR(sgd, 3)),
        (StepDecay(0.3, every=(7, 9)), lambda sgd: schedules.MultiStepLR(sgd, [7, 9])),
        (CosineDecay(0.3, steps=20), lambda sgd: schedules.CosineAnnealingLR(sgd, 20)),
    ]:

        def chain(sgd, theirs=theirs):
            line = schedules.LinearLR(sgd, start_factor=1 / 5, total_iters=4)
            return schedules.ChainedScheduler([line, theirs(sgd)])

        agrees(WarmUp(ours, steps=5), rates_of_torch(chain, 0.3, 20))


def test_the_schedule_of_goyal_et_al():
    """Up to 0.1 k within 5 epochs by equal increments; a tenth at epochs 30, 60 and 80, counted from the very start."""
    epoch, full = 10, 0.1 * 32
    rate = WarmUp(StepDecay(full, every=(30 * epoch, 60 * epoch, 80 * epoch)), steps=5 * epoch)
    rates = [rate(step) for step in range(90 * epoch)]
    assert np.diff(rates[: 5 * epoch]) == pytest.approx(full / 50)
    assert rates[5 * epoch - 1 : 30 * epoch] == pytest.approx([full] * (25 * epoch + 1))
    assert [rates[e * epoch] for e in (30, 60, 80)] == pytest.approx([full / 10, full / 100, full / 1000])
    assert [rates[e * epoch - 1] for e in (60, 80, 90)] == pytest.approx([full / 10, full / 100, full / 1000])


# Losses that fall and stand still, that only shrink by little, that rise, and that are no longer finite.
CURVES = [
    [1.0, 0.8, 0.8, 0.9, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.3, 0.3, 0.3, 0.3],
    [1 - 1e-5 * k for k in range(30)],
    [0.1 * k for k in range(20)],
    [1.0, np.nan, np.inf, 2.0, 0.5, np.nan, np.nan, np.nan, np.nan],
    np.random.default_rng(0).uniform(0.5, 1, 60).tolist(),
]
PLATEAUS = [  # our options and PyTorch's
    ({}, {}),
    ({"patience": 2, "factor": 0.5}, {"patience": 2, "factor": 0.5}),
    ({"patience": 0, "cooldown": 2}, {"patience": 0, "cooldown": 2}),
    ({"patience": 1, "threshold": 0.1, "end": 0.02}, {"patience": 1, "threshold": 0.1, "min_lr": 0.02}),
    ({"patience": 0, "threshold": 0.0, "end": 1.0}, {"patience": 0, "threshold": 0.0, "min_lr": 1.0}),
    ({"patience": 0, "epsilon": 0.03, "factor": 0.6}, {"patience": 0, "eps": 0.03, "factor": 0.6}),
    ({"patience": 1, "factor": 0.0}, {"patience": 1, "factor": 0.0}),
]


@pytest.mark.parametrize(("ours", "theirs"), PLATEAUS, ids=str)
@pytest.mark.parametrize("losses", CURVES, ids=["stairs", "slow", "rising", "not finite", "noise"])
def test_the_rate_on_a_plateau_is_that_of_torch(losses, ours, theirs, torch):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **theirs)
    rate, twin = PlateauDecay(0.4, **ours), PlateauDecay(0.4, watch="training", **ours)
    for loss in losses:
        optimizer.step()
        scheduler.step(loss)
        rate, twin = rate.after_epoch(0.0, loss), twin.after_epoch(loss, None)
        assert rate(7) == twin(7) == optimizer.param_groups[0]["lr"]
    assert PlateauDecay(0.4, seen=losses, **ours)(0) == rate(0)


def test_a_plateau_of_the_validation_loss_needs_validation_data():
    with pytest.raises(
        ShapeError, match=r"^plateau-decay watch: expected validation data for 'validation', got none; "
    ):
        PlateauDecay(0.1).after_epoch(0.5, None)


def test_warm_ups_of_none_and_of_one_step_are_none():
    for steps in (0, 1):
        assert [WarmUp(0.3, steps)(step) for step in range(3)] == [0.3, 0.3, 0.3]


def test_a_number_is_a_constant_rate_and_a_callable_is_asked():
    assert learning_rate(0.1, 5) == 0.1
    assert learning_rate(lambda step: np.float32(2 * step), 4) == 8
    assert type(learning_rate(np.float64(0.1), 0)) is type(StepDecay(1, 1, np.float64(0.5))(1)) is float


@pytest.mark.parametrize(
    "schedule",
    [CosineDecay(0.1, 5), StepDecay(0.1, (2, 3)), WarmUp(StepDecay(0.1, 2), 5), PlateauDecay(0.1, seen=(1.0, 0.5))],
)
def test_schedules_are_values(schedule):
    namespace = {kind.__name__: kind for kind in (CosineDecay, PlateauDecay, StepDecay, WarmUp)}
    assert eval(repr(schedule), namespace) == schedule
    assert hash(schedule) == hash(dataclasses.replace(schedule))
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.start = 7


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: CosineDecay(-0.1, 5), "cosine-decay start: expected a finite number of at least 0, got -0.1; give"),
        (lambda: StepDecay(0.1, 5, factor=1), "step-decay factor: expected a number from 0 to below 1, got 1; give"),
        (lambda: StepDecay(0.1, 0), "step-decay every: expected an integer of at least 1, got 0"),
        (lambda: StepDecay(0.1, (3, 0)), "step-decay every: expected an integer of at least 1, got 0"),
        (lambda: StepDecay(0.1, (5, 3)), r"step-decay every: expected steps in increasing order, got \(5, 3\); sort"),
        (lambda: StepDecay(0.1, [3, 3]), r"step-decay every: expected steps in increasing order, got \[3, 3\]"),
        (
            lambda: StepDecay(0.1, [3] * 999),
            r"step-decay every: expected steps in increasing order, got a list of 999 \(3, ...\); sort",
        ),
        (lambda: PlateauDecay(-1), "plateau-decay start: expected a finite number of at least 0, got -1"),
        (lambda: PlateauDecay(0.1, factor=1), "plateau-decay factor: expected a number from 0 to below 1, got 1"),
        (lambda: PlateauDecay(0.1, patience=-1), "plateau-decay patience: expected an integer of at least 0, got -1"),
        (lambda: PlateauDecay(0.1, cooldown=-1), "plateau-decay cooldown: expected an integer of at least 0, got -1"),
        (lambda: PlateauDecay(0.1, threshold=-1), "plateau-decay threshold: expected a finite number of at least 0"),
        (lambda: PlateauDecay(0.1, end=-1), "plateau-decay end: expected a finite number of at least 0, got -1"),
        (lambda: PlateauDecay(0.1, epsilon=-1), "plateau-decay epsilon: expected a finite number of at least 0"),
        (lambda: WarmUp(-1, 5), "warm-up rate: expected a finite number of at least 0, got -1"),
        (lambda: WarmUp(0.1, -1), "warm-up steps: expected an integer of at least 0, got -1"),
        (lambda: check_rate(None, "sgd lr"), "sgd lr: expected a finite number of at least 0, got None"),
        (lambda: check_number(np.inf, "sgd lr"), "sgd lr: expected a finite number of at least 0, got inf"),
        (lambda: SGD(lr=-0.1), "sgd lr: expected a finite number of at least 0, got -0.1"),
    ],
)
def test_what_is_no_rate_is_refused(mistake, message):
    with pytest.raises(ShapeError, match=f"^{message}"):
        mistake()
