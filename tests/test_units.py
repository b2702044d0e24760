"""Addresses of units and weights."""

import numpy as np
import pytest

from simulator import Conv, Dense, Network, ShapeError, UnknownNameError
from simulator.units import Units, Weight, numbered


@pytest.fixture(scope="module")
def network():
    net = Network.sequential((2, 6, 7), [Conv(4, kernel=3)])
    return net.add(Conv(4, kernel=3), "input", share="conv1").add(Dense(5), "conv2")


@pytest.mark.parametrize(
    ("address", "shown", "index"),
    [
        ("conv1[3, 2, 1]", "conv1[3, 2, 1]", np.s_[3, 2, 1]),
        ("conv1[3,2,1]", "conv1[3, 2, 1]", np.s_[3, 2, 1]),
        (" conv1 [ 3 ]", "conv1[3]", np.s_[3]),
        ("conv1[3, :, :]", "conv1[3]", np.s_[3]),
        ("conv1[:, 2, 1]", "conv1[:, 2, 1]", np.s_[:, 2, 1]),
        ("conv1[:, :, 1]", "conv1[:, :, 1]", np.s_[:, :, 1]),
        ("conv1", "conv1", np.s_[:]),
        ("conv1[:]", "conv1", np.s_[:]),
        ("dense1[4]", "dense1[4]", np.s_[4]),
        ("input[1, 5, 6]", "input[1, 5, 6]", np.s_[1, 5, 6]),
        (("conv1", 57), "conv1[2, 3, 2]", np.s_[2, 3, 2]),
        (("conv1", (2, 3, 2)), "conv1[2, 3, 2]", np.s_[2, 3, 2]),
    ],
)
def test_units(network, address, shown, index):
    units = Units.of(network.nodes, address)
    shape = network.node(units.node).shape
    expected = np.arange(np.prod(shape)).reshape(shape)[index].ravel()
    assert str(units) == repr(units) == shown
    np.testing.assert_array_equal(units.numbers, expected)
    assert Units.of(network.nodes, units) == units
    assert units.is_one == (len(expected) == 1)
    if units.is_one:
        assert units.number == expected[0]
        assert np.ravel_multi_index(units.position, shape) == expected[0]


@pytest.mark.parametrize(
    "address", ["conv1[", "conv1]", "conv1[]", "conv1[1.5]", "conv1[-1]", "conv1[a]", "conv1[1][2]", "conv1[²]", ""]
)
def test_no_address_of_a_unit(network, address):
    with pytest.raises(ShapeError, match=r"unit: expected an address, got .*; write for example 'conv1\[0, 3, 4\]'"):
        Units.of(network.nodes, address)


def test_a_name_alone_that_is_misspelt(network):
    with pytest.raises(
        UnknownNameError, match="network: expected a node, got 'conv9'; did you mean 'conv2' or 'conv1'"
    ):
        Units.of(network.nodes, "conv9")


@pytest.mark.parametrize("address", [3, None, ("conv1", 1, 2), ["conv1"]])
def test_an_address_of_the_wrong_kind(network, address):
    with pytest.raises(ShapeError, match="unit: expected an address, got "):
        Units.of(network.nodes, address)


def test_units_that_are_not_there(network):
    with pytest.raises(UnknownNameError, match="expected a node, got 'conv9'; did you mean 'conv"):
        Units.of(network.nodes, "conv9[0, 0, 0]")
    with pytest.raises(UnknownNameError, match="expected a node, got 'conv9'"):
        Units.of(network.nodes, ("conv9", 0))
    with pytest.raises(UnknownNameError, match="expected a node, got 'conv'; did you mean 'conv"):
        Units.of(network.nodes, "conv")
    with pytest.raises(ShapeError, match=r"expected a position \(channel, \*space\) within \(4, 4, 5\), got \[4, 0\]"):
        Units.of(network.nodes, "conv1[4, 0]")
    with pytest.raises(ShapeError, match=r"unit dense1\[0, 0\]: expected a position .* within \(5,\), got \[0, 0\]"):
        Units.of(network.nodes, "dense1[0, 0]")


def test_one_unit_is_asked_for(network):
    with pytest.raises(ShapeError, match=r"expected a single unit, got conv1\[3\], which is 20; .* conv1\[3, 0, 0\]"):
        _ = Units.of(network.nodes, "conv1[3]").number


def test_weights(network):
    weight = Weight.of(network.nodes, "conv1.weight[3, 1, 2, 0]")
    assert str(weight) == repr(weight) == "conv1.weight[3, 1, 2, 0]"
    assert weight.number == np.ravel_multi_index((3, 1, 2, 0), (4, 2, 3, 3))
    assert Weight.of(network.nodes, weight) == weight
    shared = Weight.of(network.nodes, "conv2.bias[1]")
    assert (shared.name, shared.index, shared.number) == ("conv1.bias", (1,), 1)


def test_weights_that_are_not_there(network):
    with pytest.raises(ShapeError, match=r"weight: expected an address, got 'conv1.weight'; write .*conv1.bias"):
        Weight.of(network.nodes, "conv1.weight")
    with pytest.raises(ShapeError, match="weight: expected an address, got 3; write"):
        Weight.of(network.nodes, 3)
    with pytest.raises(UnknownNameError, match="expected a node, got 'con'"):
        Weight.of(network.nodes, "con.weight[0]")
    with pytest.raises(UnknownNameError, match=r"one of the arrays of conv1, got 'wieght'; did you mean 'weight'\?"):
        Weight.of(network.nodes, "conv1.wieght[0]")
    for index in ("3, 1, 2", "4, 1, 2, 0", "3, :, 2, 0"):
        with pytest.raises(ShapeError, match=r"expected one place within \(4, 2, 3, 3\), got \[.*\]; count from 0"):
            Weight.of(network.nodes, f"conv1.weight[{index}]")


def test_a_unit_by_number_or_position():
    assert numbered((2, 3), np.array([1, 2]), "x") == numbered((2, 3), 5, "x") == (5, (1, 2))
    assert numbered((2, 3), np.array(5), "x") == (5, (1, 2))
    for wrong in (6, -1, (2, 0), (0,), "a", 1.0, True, np.zeros((2, 2), int), np.array([0.0, 1.0])):
        with pytest.raises(ShapeError, match=r"x: expected a number from 0 to 5, or a position"):
            numbered((2, 3), wrong, "x")
