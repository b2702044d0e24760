"""Training: one seed one result, every option, every error; gradients against explicit descent."""

from __future__ import annotations

import itertools
import re
import tracemalloc

import numpy as np
import pytest

from simulator import (
    SGD,
    Catalog,
    Clipped,
    Conv,
    CrossEntropy,
    Dataset,
    Dense,
    Grouped,
    Network,
    PlateauDecay,
    PluginError,
    RandomShift,
    ReLU,
    ShapeError,
    SimulatorError,
    SquaredError,
    UnknownNameError,
    WarmUp,
    evaluate,
    train,
)
from simulator.files import load, save
from simulator.training import generator_at


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    pictures = rng.normal(0, 0.1, (60, 1, 6, 6))
    for picture, label in zip(pictures, labels, strict=True):
        picture[0, :, 2 * label] += 1
    return Dataset(pictures, labels)


@pytest.fixture
def network():
    return Network.sequential((1, 6, 6), [Conv(2, 3), ReLU(), Dense(3)], rng=0, dtype="float64")


def last(epochs):
    return list(epochs)[-1]


def test_learns_and_leaves_the_network_as_it_was(network, data):
    before = {name: array.copy() for name, array in network.params.items()}
    epoch = last(train(network, data, epochs=15, batch_size=10, optimizer=SGD(0.1)))
    assert epoch.number == 15
    assert epoch.metrics["accuracy"] == 1
    assert epoch.loss < 0.2
    assert evaluate(epoch.network, data)["accuracy"] == 1
    for name, array in network.params.items():
        np.testing.assert_array_equal(array, before[name])


def test_one_full_batch_step_is_the_step_of_the_formula(network, data):
    trace = network.run(data.inputs)
    output = network.outputs[0]
    gradients = trace.backward(CrossEntropy().grad(trace[output], data.targets)).params
    epoch = last(train(network, data, epochs=1, batch_size=len(data), optimizer=SGD(0.3)))
    for name, array in epoch.network.params.items():
        np.testing.assert_allclose(array, network.params[name] - 0.3 * gradients[name], rtol=1e-12, atol=1e-14)
    assert epoch.loss == pytest.approx(CrossEntropy().value(trace[output], data.targets), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_seed_gives_one_result_to_the_last_bit(network, data, dtype):
    def run(seed):
        start = network.with_dtype(dtype)
        return last(train(start, data, epochs=3, augment=RandomShift(1), rng=seed)).network.params

    first, second, other = run(5), run(5), run(6)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_resuming_gives_the_uninterrupted_run(network, data):
    options = {"epochs": 4, "batch_size": 7, "augment": RandomShift(1)}
    whole = list(train(network, data, rng=3, **options))
    resumed = list(train(network, data, rng=99, resume=whole[1], **options))
    assert [e.number for e in resumed] == [3, 4]
    for name, array in whole[-1].network.params.items():
        np.testing.assert_array_equal(resumed[-1].network.params[name], array)


class Plain:
    """An optimizer that is no dataclass."""

    def __init__(self, lr):
        self.inner = SGD(lr)

    def init(self, params):
        return self.inner.init(params)

    def step(self, params, grads, state):
        return self.inner.step(params, grads, state)


@pytest.mark.parametrize(
    "wrapped",
    [
        SGD,
        Plain,
        lambda rate: SGD(WarmUp(rate, steps=3)),
        lambda rate: Clipped(SGD(rate), norm=100.0),
        lambda rate: Grouped([("*.bias", SGD(0.01)), ("*", SGD(rate))]),
        Catalog().optimizers["adam"],
    ],
    ids=["sgd", "no dataclass", "warm-up", "clipped", "grouped", "adam"],
)
@pytest.mark.parametrize("watch", ["validation", "training"])
def test_training_tells_a_schedule_the_losses_and_resumes_it_from_a_file(network, data, tmp_path, watch, wrapped):
    rate = PlateauDecay(0.9, factor=0.3, patience=0, threshold=0.3, watch=watch)
    options = {"epochs": 6, "batch_size": 7, "augment": RandomShift(1), "validation": data, "optimizer": wrapped(rate)}
    whole = list(train(network, data, rng=3, **options))
    told = [(epoch.loss, epoch.validation["loss"]) for epoch in whole]
    assert whole[-1].curve == tuple(told)
    for losses in told:
        rate = rate.after_epoch(*losses)
    assert rate(0) < 0.9  # it did fall
    still = last(train(network, data, rng=3, **{**options, "optimizer": wrapped(0.9)}))
    differs = [name for name, array in whole[-1].network.params.items() if np.any(array != still.network.params[name])]
    assert differs
    save(tmp_path / "run.safetensors", whole[3].network, epoch=whole[3])
    resume = load(tmp_path / "run.safetensors").epoch
    assert resume.curve == whole[3].curve
    resumed = list(train(network, data, rng=99, resume=resume, **options))
    assert [e.number for e in resumed] == [5, 6]
    for name, array in whole[-1].network.params.items():
        np.testing.assert_array_equal(resumed[-1].network.params[name], array)
    assert resumed[-1].curve == whole[-1].curve


def test_a_schedule_of_the_validation_loss_needs_validation_data(network, data):
    message = (
        r"expected validation data for 'validation', got none; give them with train\(validation=...\), or write watch"
    )
    with pytest.raises(ShapeError, match=message):
        train(network, data, optimizer=SGD(PlateauDecay(0.1)))
    last(train(network, data, epochs=1, optimizer=SGD(PlateauDecay(0.1)), validation=data))
    last(train(network, data, epochs=1, optimizer=SGD(PlateauDecay(0.1, watch="training"))))


def test_a_schedule_that_fails_is_named(network, data):
    class Broken(PlateauDecay):
        def after_epoch(self, training, validation):
            return 1 / 0

    with pytest.raises(
        PluginError, match=r"optimizer SGD.*: expected after_epoch of a schedule to give the next one, got"
    ):
        train(network, data, optimizer=SGD(Broken(0.1)))


def test_the_last_batch_may_be_smaller_and_every_step_is_announced(network, data):
    seen = []
    list(train(network, data, epochs=1, batch_size=25, on_batch=lambda done, total: seen.append((done, total))))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_it_is_a_generator_that_can_be_stopped(network, data):
    taken = list(itertools.islice(train(network, data, epochs=1000), 2))
    assert [e.number for e in taken] == [1, 2]


def test_validation_and_metrics(network, data):
    rest, held_out = data.split(0.25)
    metrics = {"first": lambda prediction, target: float(prediction[0, 0])}
    epoch = last(train(network, rest, epochs=1, validation=held_out, metrics=metrics))
    assert set(epoch.metrics) == {"first"}
    assert set(epoch.validation) == {"loss", "first"}
    assert epoch.validation["loss"] == pytest.approx(evaluate(epoch.network, held_out)["loss"])


def test_only_what_is_trainable_changes(network, data):
    trained = last(train(network, data, epochs=1, trainable=["dense*", "conv1.bias"])).network.params
    changed = {name for name, array in network.params.items() if not np.array_equal(array, trained[name])}
    assert changed == {"dense1.weight", "dense1.bias", "conv1.bias"}


def test_several_outputs_with_a_loss_each(data):
    network = Network.input((1, 6, 6), dtype="float64").add(Conv(2, 3), name="conv", rng=0)
    network = network.add(Dense(3), "conv", name="main", rng=1).add(Dense(3), "conv", name="aux", rng=2)
    losses = {"main": CrossEntropy(), "aux": SquaredError()}
    weights = {"aux": 0.3}
    values = evaluate(network, data, losses=losses, loss_weights=weights)
    predictions = network.predict(data.inputs)
    main = CrossEntropy().value(predictions["main"], data.targets)
    aux = SquaredError().value(predictions["aux"], data.targets)
    assert values["loss"] == pytest.approx(main + 0.3 * aux, rel=1e-12)
    assert {"main.accuracy", "aux.accuracy"} <= set(values)
    epoch = last(train(network, data, losses=losses, loss_weights=weights, epochs=5))
    assert evaluate(epoch.network, data, losses=losses, loss_weights=weights)["loss"] < values["loss"]


def test_targets_by_output_and_inputs_by_name():
    rng = np.random.default_rng(0)
    inputs = {"left": rng.normal(size=(8, 2)), "right": rng.normal(size=(8, 2))}
    targets = {"y": rng.normal(size=(8, 1)), "z": rng.normal(size=(8, 2))}
    network = Network.input((2,), "left").add_input((2,), "right")
    network = network.add(Dense(1), "left", name="y", rng=0).add(Dense(2), "right", name="z", rng=0)
    data = Dataset(inputs, targets)
    losses = {"y": SquaredError(), "z": SquaredError()}
    first, *_, final = train(network, data, losses=losses, epochs=20, augment=lambda x, rng: x)
    assert final.loss < first.loss
    assert final.metrics == {}
    with pytest.raises(UnknownNameError, match=re.escape("got those of 'z'; give them as {'y': targets, ...}")):
        list(train(network, Dataset(inputs, {"z": targets["z"]}), losses=losses))


def test_errors(network, data):
    with pytest.raises(ShapeError, match="train epochs: expected an integer of at least 1, got 0"):
        train(network, data, epochs=0)
    with pytest.raises(ShapeError, match="train batch_size: expected an integer of at least 1, got 1.5"):
        train(network, data, batch_size=1.5)
    with pytest.raises(UnknownNameError, match="train trainable: expected a param, got 'convo'"):
        train(network, data, trainable=["convo"])
    with pytest.raises(UnknownNameError, match="did you mean 'dense1'"):
        train(network, data, losses={"dense": CrossEntropy()})
    with pytest.raises(SimulatorError, match="expected weights, got none for"):
        train(Network.sequential((1, 6, 6), [Dense(3)]), data)
    linear = Network.sequential((1, 6, 6), [Dense(3)], rng=0)
    with pytest.raises(SimulatorError, match="expected a finite loss, got .* use a smaller learning rate"):
        list(train(linear, data, epochs=50, losses=SquaredError(), optimizer=SGD(1e9)))
    with pytest.raises(ShapeError, match=r"expected \(batch, 1, 6, 6\), got"):
        list(train(network, Dataset(np.zeros((2, 1, 5, 5)), np.zeros(2, int))))
    with pytest.raises(ShapeError, match="expected labels from 0 to 2, got 0 to 7"):
        list(train(network, Dataset(np.zeros((2, 1, 6, 6)), np.array([0, 7]))))


def test_a_state_of_another_optimizer_is_refused(network, data):
    class Other(SGD):
        def init(self, params):
            return {"step": 0, "other": 0}

    epoch = last(train(network, data, epochs=1))
    with pytest.raises(ShapeError, match="train resume: expected a state with other, step"):
        list(train(network, data, epochs=2, optimizer=Other(), resume=epoch))


def test_generator_at_goes_on_where_the_state_was_taken():
    rng = np.random.default_rng(4)
    rng.random(3)
    copy = generator_at(rng.bit_generator.state)
    np.testing.assert_array_equal(copy.random(5), rng.random(5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "sgd"}, "train optimizer: expected an optimizer, got 'sgd'; write SGD"),
        ({"losses": "cross-entropy"}, "train losses: expected a loss, got 'cross-entropy'; write CrossEntropy"),
    ],
)
def test_names_instead_of_objects(network, data, options, message):
    with pytest.raises(ShapeError, match=message):
        train(network, data, **options)
    with pytest.raises(ShapeError, match="train data: expected a Dataset, got tuple; write Dataset"):
        train(network, (data.inputs, data.targets), **options)


def test_weights_that_blow_up_in_the_last_step_are_reported(data):
    linear = Network.sequential((1, 6, 6), [Dense(3)], rng=0)
    message = (
        "finite weights, got NaN or infinity in dense1.weight after step 1 of epoch 1; use a smaller learning rate"
    )
    with pytest.raises(SimulatorError, match=message):
        list(train(linear, data, epochs=1, batch_size=60, losses=SquaredError(), optimizer=SGD(1e39)))


def test_a_state_of_another_shape_is_refused(network, data):
    optimizer = Catalog().optimizers["momentum"](0.1)
    epoch = last(train(network, data, epochs=1, optimizer=optimizer))
    epoch.optimizer_state["velocity.conv1.bias"] = np.zeros(7)
    with pytest.raises(ShapeError, match="train resume: expected a state with"):
        list(train(network, data, epochs=2, optimizer=optimizer, resume=epoch))


def test_evaluating_no_samples_at_a_time_is_refused(network, data):
    with pytest.raises(ShapeError, match="evaluate batch_size: expected an integer of at least 1, got 0"):
        evaluate(network, data, batch_size=0)


# ---------------------------------------------------------------------- memory


def test_the_peak_of_a_step_is_measured_once(data):
    network = Network.sequential((1, 6, 6), [Conv(64, 3, padding=1), Dense(3)], rng=0)
    first, second = train(network, data, epochs=2, batch_size=20, trace_memory=True)
    activations = 20 * (36 + 64 * 36 + 3) * 4
    assert activations < first.peak_memory < 30 * activations
    assert second.peak_memory == first.peak_memory
    assert not tracemalloc.is_tracing()


def test_memory_is_not_traced_unless_asked_for(network, data, monkeypatch):
    monkeypatch.setattr(tracemalloc, "start", pytest.fail)  # a switch of the whole process, other threads included
    (epoch,) = train(network, data, epochs=1)
    assert epoch.peak_memory is None


def test_memory_that_somebody_else_traces_is_left_alone(network, data):
    tracemalloc.start()
    try:
        (epoch,) = train(network, data, epochs=1, trace_memory=True)
        assert epoch.peak_memory is None
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


def test_a_failed_step_does_not_go_on_tracing(network, data):
    class Endless(CrossEntropy):
        def value(self, prediction, target):
            return float("inf")

    with pytest.raises(SimulatorError, match="expected a finite loss, got inf at step 1 of epoch 1"):
        list(train(network, data, epochs=1, losses=Endless()))
    assert not tracemalloc.is_tracing()


def test_a_loss_of_ones_own_keeps_its_gradient(data):
    class Backwards(CrossEntropy):
        def grad(self, prediction, target):
            return -super().grad(prediction, target)

    network = Network.sequential((1, 6, 6), [Dense(3)], rng=0)
    right, wrong = (
        next(train(network, data, epochs=1, batch_size=60, losses=loss)).network.params["dense1.weight"]
        - network.params["dense1.weight"]
        for loss in (CrossEntropy(), Backwards())
    )
    np.testing.assert_allclose(wrong, -right, atol=1e-6)
