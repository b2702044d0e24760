"""What every layer promises, and the counts and first weights that matrix layers get from the core."""

import dataclasses
import math

import numpy as np
import pytest

from simulator import (
    Add,
    AveragePool,
    Concatenate,
    Conv,
    ConvTranspose,
    Counts,
    Dense,
    ExplicitPattern,
    Flatten,
    FunctionLayer,
    Layer,
    LeakyReLU,
    LocallyConnected,
    LogSoftmax,
    MatrixLayer,
    MaxPool,
    Pad,
    ReLU,
    Reshape,
    ScaledTanh,
    ShapeError,
    Sigmoid,
    Softmax,
    Sparse,
    Subsample,
    Tanh,
)
from simulator.layers.base import check_channels

LAYERS = [
    Add(),
    AveragePool(3, stride=(2, 1), padding=((0, 1), (1, 0)), ceil=True, count_include_pad=False),
    Concatenate(),
    Conv(4, (3, 2), padding="same", pad_value=-1.0, groups=2, flip=True, bias="unit", init="lecun"),
    Conv(2, 3, table=((0,), (0, 1))),
    ConvTranspose(2, 3, stride=2, output_padding=1),
    Dense(10, bias=False),
    Flatten(),
    LeakyReLU(0.2),
    LocallyConnected(2, 3, padding=1, padding_mode="circular"),
    LogSoftmax(),
    MaxPool("global"),
    Pad(((1, 2), (0, 0)), "reflect"),
    ReLU(),
    Reshape((4, -1)),
    ScaledTanh(),
    Sigmoid(),
    Softmax(),
    Subsample(2, bias="unit"),
    Tanh(),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_layers_are_frozen_values_whose_repr_rebuilds_them(layer):
    assert eval(repr(layer)) == layer
    assert hash(eval(repr(layer))) == hash(layer)
    for field in dataclasses.fields(layer)[:1]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(layer, field.name, 1)


@pytest.mark.parametrize("kind", [Layer, MatrixLayer, FunctionLayer])
def test_abstract_layers_cannot_be_made(kind):
    with pytest.raises(TypeError, match="abstract"):
        kind()


def test_a_layer_has_no_params_no_buffers_and_no_matrix_unless_it_says_so():
    @dataclasses.dataclass(frozen=True)
    class Bare(Layer):
        def output_shape(self, *input_shapes):
            return input_shapes[0]

    bare = Bare()
    assert bare.param_shapes((3,)) == bare.init_params(np.random.default_rng(0), (3,), dtype=np.float32) == {}
    assert bare.init_buffers((3,), dtype=np.float32) == {}
    assert bare.counts((3,)) == Counts()
    assert bare.affine_at({}, {}, np.zeros(3)) is None
    assert bare.inputs == 1


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_a_matrix_layer_has_one_weight_per_tie(layer):
    shape = (2, 6, 7)
    if isinstance(layer, MatrixLayer):
        assert layer.pattern(shape).n_ties == math.prod(layer.weight_shape(shape))
        assert layer.pattern(shape).shape == (math.prod(layer.output_shape(shape)), math.prod(shape))
        assert ("weight" in layer.param_shapes(shape)) == layer.trained
        if not layer.trained:
            assert layer.fixed_weight(shape).shape == layer.weight_shape(shape)


def test_a_layer_that_does_not_train_its_weight_must_give_it():
    class Fixed(Conv):
        trained = False

    with pytest.raises(NotImplementedError, match="Fixed has no fixed weight"):
        Fixed(1, 3).fixed_weight((1, 5))


def test_counts_add_up():
    assert Counts(1, 2, 3, 4, 5, 6) + Counts(10, 20, 30, 40, 50, 60) == Counts(11, 22, 33, 44, 55, 66)
    assert sum([Counts(params=1), Counts(macs=2)], Counts()) == Counts(params=1, macs=2)


@pytest.mark.parametrize(("bias", "params", "biases"), [(True, 18 + 2, 18), (False, 18, 0), ("unit", 18 + 18, 18)])
def test_counts_of_nonzeros_links_and_biases(bias, params, biases):
    """Two 3 x 3 kernels on a padded 3 x 3 picture: 49 of 81 taps read it."""
    counts = Conv(2, 3, padding=1, bias=bias).counts((1, 3, 3))
    assert counts == Counts(params, 98 + biases, 162 + biases, 98, 0, 162)


def test_counts_of_fixed_weights_stand_apart():
    assert AveragePool(2).counts((3, 4, 4)) == Counts(fixed_nonzeros=48)


@pytest.mark.parametrize(
    ("init", "variance"), [("he", 2 / 45), ("lecun", 1 / 45), ("glorot", 2 / (45 + 9 * 64)), ("zeros", 0)]
)
def test_first_weights_scale_with_the_links_of_a_unit(init, variance):
    """Each output unit reads 5 x 9 inputs, taps on padding included; each input unit is read by 9 x 64 outputs."""
    layer = Conv(64, 3, padding=1, init=init)
    params = layer.init_params(np.random.default_rng(0), (5, 8, 8), dtype=np.float64)
    assert params["weight"].var() == pytest.approx(variance, rel=0.06)
    assert abs(params["weight"].mean()) <= 3 * np.sqrt(variance / params["weight"].size)
    assert not params["bias"].any()


def test_first_weights_depend_on_the_seed_alone():
    layer = Conv(2, 3)
    first, again = (layer.init_params(np.random.default_rng(3), (1, 5, 5), dtype=t) for t in (np.float32, np.float64))
    assert (first["weight"].dtype, again["weight"].dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(first["weight"], again["weight"].astype(np.float32))


def test_an_unknown_initialisation_is_named():
    names = "'he', 'centred', 'glorot', 'lecun' or 'zeros'"
    with pytest.raises(ShapeError, match=rf"Dense init: expected {names}, got 'hee'; write"):
        Dense(2, init="hee")


@pytest.mark.parametrize("bias", ["channel", None, 2])
@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (lambda bias: Conv(2, 3, bias=bias), (1, 5)),
        (lambda bias: ConvTranspose(2, 3, bias=bias), (1, 5)),
        (lambda bias: LocallyConnected(2, 3, bias=bias), (1, 5)),
        (lambda bias: Subsample(2, bias=bias), (1, 5)),
        (lambda bias: Dense(2, bias=bias), (5,)),
        (lambda bias: Sparse(ExplicitPattern([0], [0], shape=(2, 5)), bias=bias), (5,)),
    ],
    ids=["Conv", "ConvTranspose", "LocallyConnected", "Subsample", "Dense", "Sparse"],
)
def test_biases_are_per_channel_per_unit_or_none(kind, shape, bias):
    with pytest.raises(ShapeError, match=rf" bias: expected True, False or 'unit', got {bias!r}; write for example"):
        kind(bias)


@pytest.mark.parametrize(("shape", "cure"), [((84,), r"\(1, 84\)"), ((), r"\(1, 1\)")])
def test_windows_need_space(shape, cure):
    with pytest.raises(ShapeError, match=rf"conv: expected an input \(channels, \*space\), got .* to {cure}"):
        check_channels(shape, "conv")
