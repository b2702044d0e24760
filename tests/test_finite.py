"""What is not finite: counted by array, named, and never called a result."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, Dataset, Dense, Network, ReLU, SimulatorError, average, evaluate, save
from simulator.finite import check_finite, not_finite
from simulator.lab import ablation, affine, effect, gradient_of, incoming, influence, preferred_input, strongest

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
DATA = Dataset(X, np.array([0, 1, 0]))


@pytest.fixture(scope="module")
def broken():
    """Two of the weights of its first layer are no numbers."""
    net = Network.sequential((4,), [Dense(3), ReLU(), Dense(2)], rng=0)
    weight = net.params["dense1.weight"].copy()
    weight[0, 0], weight[1, 2] = np.nan, np.inf
    return net.with_params({"dense1.weight": weight})


def test_what_is_not_finite_is_counted():
    arrays = {"a": np.array([1, np.nan, -np.inf]), "b": np.ones(3), "c": np.arange(3), "d": np.nan, "e": np.zeros(0)}
    assert not_finite(arrays) == {"a": 2, "d": 1}
    with pytest.raises(
        SimulatorError, match="me: expected finite numbers, got NaN or infinity in 2 of 3 numbers of a; "
    ):
        check_finite(arrays, "me")


RESULTS = {
    "evaluate": lambda net: evaluate(net, DATA),
    "average": lambda net: average([net, net], X),
    "effect": lambda net: effect(net, X[0], ablate="dense2[0]"),
    "ablation": lambda net: ablation(net, DATA, "relu1"),
    "affine": lambda net: affine(net, X[0]),
    "incoming": lambda net: incoming(net, "dense2[0]", X[0]),
    "influence": lambda net: influence(net, "dense2[0]", X[0]),
    "gradient": lambda net: gradient_of(net, "dense2.weight[0, 0]", X, DATA.targets),
    "strongest": lambda net: strongest(net, "dense1[1]", X, 1),
    "preferred": lambda net: preferred_input(net, "dense1[1]"),
}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("compute", RESULTS.values(), ids=RESULTS.keys())
def test_results_that_are_not_finite_are_none(broken, compute):
    with pytest.raises(SimulatorError, match=r"expected finite numbers, got NaN or infinity in .* of .* numbers of "):
        compute(broken)
    whole = Network.sequential((4,), [Dense(3), ReLU(), Dense(2)], rng=0)
    compute(whole)


def test_the_first_layer_that_is_not_finite_is_named(broken):
    with pytest.raises(SimulatorError, match="in 2 of 3 numbers of dense1; weights or data are not finite"):
        incoming(broken, "dense2[0]", X[0])


def test_a_value_that_is_too_large_has_no_effect_that_counts():
    net = Network.sequential((4,), [Dense(3), Dense(2)], rng=0)
    with pytest.raises(SimulatorError, match="effect, with the new values: expected finite numbers, got .* of dense2"):
        effect(net, X[0], clamp={"dense1": np.finfo(np.float32).max})


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A LeNet-5 whose first kernel has a number that is none."""
    monkeypatch.chdir(tmp_path)
    net = Catalog().build("lenet5", (1, 12, 12), 2, rng=0, width=0.3)
    weight = net.params["conv1.weight"].copy()
    weight[0, 0, 0, :2] = np.nan
    save("net", net.with_params({"conv1.weight": weight}), info={"settings": {"data": "xo"}})
    return "net"


def cli(capsys, *args):
    from simulator.cli import main

    with pytest.raises(SystemExit) as end:
        main(list(args))
    return end.value.code, capsys.readouterr()


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["describe", "net"], 0),
        (["equivalence", "net"], 1),
        (["evaluate", "net"], 2),
        (["predict", "net"], 2),
        (["train", "net", "--data", "xo", "--epochs", "1"], 2),
        (["effect", "net", "--data", "xo", "--ablate", "conv1[0]"], 2),
        (["ablate", "net", "conv1", "--data", "xo", "--samples", "4"], 2),
        (["respond", "net", "conv2[0]", "--data", "xo"], 2),
        (["affine", "net", "--data", "xo"], 2),
        (["draw", "net", "conv1", "--what", "activations", "--data", "xo"], 2),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_every_command_says_it_and_shows_no_result(file, capsys, command, status):
    code, said = cli(capsys, *command)
    assert said.err.splitlines()[0] == "Warning: 2 of 50 numbers of conv1.weight are not finite in net"
    assert code == status
    assert "nan" not in said.out.lower() or command[0] == "describe"  # which gives the mean of such weights
    assert "accuracy" not in said.out
    assert "Traceback" not in said.err


def test_only_some_arrays_are_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = Network.sequential((4,), [Dense(4)] * 3, rng=0)
    save("net", net.with_params({name: np.full(array.shape, np.nan) for name, array in net.params.items()}))
    code, said = cli(capsys, "describe", "net")
    assert code == 0
    assert said.err.splitlines()[2:] == [
        "Warning: 16 of 16 numbers of dense2.weight are not finite in net",
        "Warning: nor are numbers of 3 other arrays",
    ]
