"""Projective fields: what they say, in which nodes they lie, and what is no unit. More in tests/lab/test_fields.py."""

import math

import numpy as np
import pytest

from simulator import (
    Add,
    Conv,
    Dense,
    ExplicitPattern,
    FunctionLayer,
    MaxPool,
    Network,
    ProjectiveField,
    ShapeError,
    Sparse,
    UnknownNameError,
)


def test_what_a_field_says_of_itself():
    network = Network.sequential((2, 9, 9), [Conv(4, 3, padding=1), MaxPool(2)])
    field = network.projective_field("input[1, 0, 4]")
    assert isinstance(field, ProjectiveField)
    assert (field.layer, field.unit, field.position, field.of) == ("input", 85, (1, 0, 4), "maxpool1")
    assert field.box == ((0, 4), (0, 1), (1, 3))
    np.testing.assert_array_equal(field.units, np.flatnonzero(field.mask))
    assert not field.mask.flags.writeable
    said = "ProjectiveField of input, unit 85 (1, 0, 4): 8 of 64 units of maxpool1, within 0:4 x 0:1 x 1:3"
    assert repr(field) == said
    assert repr(network.projective_field("input", (1, 0, 4))) == said
    unread = Network.sequential((1, 5), [MaxPool(2)]).projective_field("input[0, 4]")  # no window reaches it
    assert (unread.units.tolist(), unread.box) == ([], ((0, 0), (0, 0)))


def test_fields_in_other_nodes_and_of_no_influence():
    network = Network.input((1, 6)).add(Conv(1, 3), name="left").add(Conv(1, 3), "input", name="right")
    assert network.projective_field("left", 1, of="left").units.tolist() == [1]
    assert network.projective_field("left", 1, of="right").units.tolist() == []
    assert network.projective_field("left", 1, of="input").units.tolist() == []
    with pytest.raises(ShapeError, match="expected one output, got 2"):
        network.projective_field("input", 0)
    joined = network.add(Add(), "left", "right", name="sum")
    assert joined.projective_field("input", 0, "sum").units.tolist() == [0]


def test_an_explicit_pattern_and_its_transpose():
    pattern = ExplicitPattern([0, 1, 1, 2], [3, 0, 3, 1], shape=(3, 4))
    network = Network.sequential((4,), [Sparse(pattern), Sparse(pattern.T)])
    assert network.projective_field("input[3]", of="sparse1").units.tolist() == [0, 1]
    assert network.projective_field("input[3]").units.tolist() == [0, 3]
    assert network.projective_field("input[2]").units.tolist() == []


class Opaque(FunctionLayer):
    """The layer about which nothing is known."""

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        return xs[0], lambda dy: ((dy,), {}), {}


def test_an_unknown_layer_passes_something_on_to_everything_and_nothing_to_nothing():
    network = Network.sequential((2, 7), [Conv(3, 1, stride=4), Opaque()])
    assert network.projective_field("input", (1, 4)).mask.all()
    assert not network.projective_field("input", (1, 5)).mask.any()
    # The outer units of this one read nothing but padding.
    network = Network.sequential((2, 3), [Opaque(), Conv(1, 1, padding=2)])
    assert [bool(network.receptive_field("conv1", unit).mask.any()) for unit in range(7)] == [0, 0, 1, 1, 1, 0, 0]


def test_what_is_no_unit():
    network = Network.sequential((2, 9), [Dense(3)])
    with pytest.raises(ShapeError, match="input unit: expected a number from 0 to 17, or a position .* got 18"):
        network.projective_field("input", 18)
    with pytest.raises(ShapeError, match=r"a single unit, got input\[1\], which is 9; .* input\[1, 0\]"):
        network.projective_field("input[1]")
    for layer, unit, of in (("inputs", 0, None), ("inputs[0]", None, None), ("input", 0, "dense")):
        with pytest.raises(UnknownNameError, match="expected a node, got"):
            network.projective_field(layer, unit, of)


def test_one_unit_of_a_large_layer():
    network = Network.sequential((64, 224, 224), [Conv(64, 3, padding=1), MaxPool(2), Dense(10)])
    assert network.projective_field("input[3, 100, 100]").units.tolist() == [*range(10)]
    field = network.projective_field("input[3, 100, 100]", of="maxpool1")
    assert field.mask.sum() == 64 * math.prod(stop - first for first, stop in field.box[1:]) == 64 * 4
