"""Silence: channels that are 0 for all samples, found in batches, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, Conv, Dataset, Dense, Elementwise, MaxPool, Network, ReLU, ShapeError, Tanh
from simulator.lab import Silence, ablation, silence, silences

CATALOG = Catalog()
SHAPES = {"relu1": (6, 28, 28), "relu2": (16, 10, 10), "relu3": (120,)}


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    return CATALOG.load_data("digits").take(slice(50))


def killed(network, channels):
    """The network with biases that keep these channels, such as {"conv1": [2]}, at 0."""
    biases = {f"{name}.bias": network.params[f"{name}.bias"].copy() for name in channels}
    for name, numbers in channels.items():
        biases[f"{name}.bias"][list(numbers)] = -1e3
    return network.with_params(biases)


def by_loops(network, data):
    """The addresses of silent channels by looking at each activation of each sample alone."""
    heard = {}
    for x in data.inputs:
        trace = network.run(x[None])
        for name, node in network.nodes.items():
            if isinstance(node.layer, Elementwise):
                for number, channel in enumerate(trace[name][0]):
                    heard[f"{name}[{number}]"] = heard.get(f"{name}[{number}]", False) or bool(np.any(channel))
    return [address for address, found in heard.items() if not found]


@pytest.mark.parametrize("engine", ["scipy", "blas", "numba", "auto"])
@pytest.mark.parametrize("name", ["lenet5", "resnet8", "vgg11-bn", "lecun1989", "nin-cifar10"])
def test_it_is_what_the_activations_of_each_sample_say(digits, name, engine):
    if engine == "numba":
        pytest.importorskip("numba")
    shape = {"vgg11-bn": (1, 32, 32), "lenet5": (1, 28, 28)}.get(name, (1, 16, 16))
    options = {"resnet8": {"width": 4}, "vgg11-bn": {"width": 1 / 16}, "nin-cifar10": {"width": 1 / 8}}
    data = CATALOG.load_data("digits", shape).take(slice(12))
    network = CATALOG.build(name, shape, 10, 0, engine=CATALOG.engine(engine), **options.get(name, {}))
    if name == "lenet5":
        network = killed(network, {"conv1": [2], "conv2": [0, 15]})
    found = silence(network, data, batch_size=5)
    assert found.addresses == by_loops(network, data)
    assert found.samples == 12
    if name == "lenet5":
        assert set(found.addresses) >= {"relu1[2]", "relu2[0]", "relu2[15]"}
    if name == "lecun1989":
        assert not found.addresses


def test_a_silent_channel_can_be_ablated_without_any_effect(digits):
    layers = [Conv(4, kernel=3), ReLU(), MaxPool(2), Dense(20), ReLU(), Dense(10)]
    network = killed(Network.sequential(digits.shape, layers, rng=1, dtype="float64"), {"conv1": [1, 3]})
    found = silence(network, digits)
    assert found.silent["relu1"] == (1, 3)
    harm = ablation(network, digits, "relu1", "channel").harm
    assert np.flatnonzero(abs(harm) < 1e-14).tolist() == [1, 3]


def test_one_response_of_one_sample_is_enough():
    network = Network.sequential((1, 4), [Conv(2, kernel=1), ReLU()])
    network = network.with_params({"conv1.weight": np.array([[[1.0]], [[-1.0]]]), "conv1.bias": np.zeros(2)})
    inputs = np.zeros((300, 1, 4))
    assert silence(network, Dataset(inputs, np.zeros(300))).silent == {"relu1": (0, 1)}
    inputs[299, 0, 3] = -1e-9
    assert silence(network, Dataset(inputs, np.zeros(300))).silent == {"relu1": (0,)}


def test_memory_is_bounded_by_batches(digits, monkeypatch):
    network = Network.sequential(digits.shape, [Conv(4, kernel=3), ReLU(), Dense(10)], rng=0)
    whole, sizes = silence(network, digits), []
    monkeypatch.setattr(silences, "_BYTES", 3 * network.activation_bytes(1, keep_all=True))
    take = Dataset.take
    monkeypatch.setattr(Dataset, "take", lambda *args: sizes.append(len(part := take(*args))) or part)
    assert silence(network, digits) == whole
    assert max(sizes) == 3


@pytest.mark.parametrize(
    ("silent", "sentence"),
    [
        ({}, "All 22 channels and 120 dense units respond to at least one of 359 digits."),
        (
            {"relu3": (5,)},
            "All 22 channels respond to at least one of 359 digits; 1 of 120 dense units respond to none: relu3[5].",
        ),
        (
            {"relu2": (1, 2, 3, 15)},
            "All 120 dense units respond to at least one of 359 digits; 4 of 22 channels respond to none: relu2[1], "
            "relu2[2], relu2[3] and 1 more.",
        ),
        (
            {"relu1": (0,), "relu3": (7,)},
            "1 of 22 channels and 1 of 120 dense units respond to none of 359 digits: relu1[0], relu3[7].",
        ),
    ],
)
def test_it_is_told_in_a_sentence(silent, sentence):
    assert Silence(359, SHAPES, {name: silent.get(name, ()) for name in SHAPES}).told("digit") == sentence


def test_without_activation_functions_nothing_is_claimed(digits):
    found = silence(Network.sequential(digits.shape, [Dense(10)], rng=0), digits)
    assert str(found) == "No activation function, so no channel that could be silent."
    assert found.as_dict() == {"samples": 50, "channels": {}, "silent": {}}


def test_other_activations_than_relu_count(digits):
    found = silence(Network.sequential(digits.shape, [Dense(7), Tanh()], rng=0), digits)
    assert found.as_dict() == {"samples": 50, "channels": {"tanh1": 7}, "silent": {"tanh1": []}}


def test_bad_arguments_are_refused(digits):
    network = Network.sequential(digits.shape, [Dense(7), ReLU()], rng=0)
    with pytest.raises(ShapeError, match=r"silence data: expected a Dataset, got ndarray; write Dataset\(inputs, targ"):
        silence(network, digits.inputs)
    with pytest.raises(ShapeError, match="silence batch_size: expected"):
        silence(network, digits, batch_size=0)
    with pytest.raises(ShapeError, match="expected"):
        silence(Network.sequential((1, 9, 9), [Dense(7), ReLU()], rng=0), digits)
