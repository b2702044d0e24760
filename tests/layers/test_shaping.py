"""Layers that move units around, against numpy."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import (
    Add,
    AveragePool,
    Concatenate,
    Conv,
    Counts,
    Flatten,
    IdentityPattern,
    Network,
    Pad,
    Reshape,
    ShapeError,
    TiedMatrix,
)
from simulator.equivalence import equivalence
from simulator.lab import affine, paths

NUMPY_MODE = {"constant": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}

# Shapes of the inputs of a sum, of which some axes have size 1.
BROADCAST = [
    ((3, 1, 1), (3, 4, 5)),
    ((3, 4, 5), (3, 1, 1)),
    ((1, 4, 5), (3, 4, 5)),
    ((3, 1, 5), (1, 4, 1)),
    ((1,), (4,)),
    ((2, 1), (1, 3), (2, 3)),
    ((1, 1, 2, 1), (3, 2, 1, 2)),
]


def join(layer, *shapes):
    """A network with one input per shape."""
    net = Network.input(shapes[0], "a", dtype=np.float64)
    for name, shape in zip("bcd", shapes[1:], strict=False):
        net = net.add_input(shape, name)
    return net.add(layer, *"abcd"[: len(shapes)], name="join")


def check_affine(layer, y, *samples):
    """The layer at one sample is its matrices times the sample, plus the offset."""
    matrices, offset = layer.affine_at({}, {}, *samples)
    assert len(matrices) == len(samples)
    found = sum(matrix @ x.ravel() for matrix, x in zip(matrices, samples, strict=True)) + offset
    np.testing.assert_array_equal(found, y.ravel())
    for matrix in matrices:
        assert matrix.dtype == samples[0].dtype
        assert np.all(matrix.data == 1)


@pytest.mark.parametrize("layer", [Flatten(), Reshape((4, 3)), Reshape([2, -1, 3]), Reshape((-1,))], ids=repr)
def test_flatten_and_reshape_keep_c_order(layer):
    x = np.random.default_rng(0).standard_normal((5, 2, 2, 3))
    net = Network.sequential((2, 2, 3), [layer], dtype=np.float64)
    trace = net.run(x)
    y = trace[net.outputs[0]]
    np.testing.assert_array_equal(y, x.reshape(5, *net.output_shape))
    dy = np.random.default_rng(1).standard_normal(y.shape)
    np.testing.assert_array_equal(trace.backward(dy).inputs["input"], dy.reshape(x.shape))
    check_affine(layer, y[0], x[0])


def test_shapes_are_worked_out():
    assert Flatten().output_shape((16, 5, 5)) == (400,)
    assert Reshape((-1, 5)).output_shape((16, 5, 5)) == (80, 5)
    assert Reshape((np.int64(80), 5)).output_shape((16, 5, 5)) == (80, 5)


@pytest.mark.parametrize("shape", [(5, 3), (5, -1), (-1, -1), (0, -1), (0,), (13,)])
def test_a_new_shape_has_as_many_units(shape):
    with pytest.raises(ShapeError, match=r"reshape: expected a shape of 12 units, got .* of shape \(2, 6\); choose"):
        Reshape(shape).output_shape((2, 6))


@pytest.mark.parametrize("shape", [(-2, 6), (6, -3)])
def test_a_new_shape_has_integers(shape):
    with pytest.raises(ShapeError, match=r"reshape shape: expected an integer of at least -1, got"):
        Reshape(shape).output_shape((2, 6))


@st.composite
def pads(draw):
    mode = draw(st.sampled_from(tuple(NUMPY_MODE)))
    space, padding = [], []
    for _ in range(draw(st.integers(1, 3))):
        begin, end = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        least = {"circular": max(1, begin, end), "reflect": max(begin, end) + 1}.get(mode, 1)
        space.append(draw(st.integers(least, 4)))
        padding.append((begin, end))
    value = draw(st.sampled_from([0.0, -1.5])) if mode == "constant" else 0.0
    return Pad(tuple(padding), mode, value), (2, *space)


@given(pads())
def test_padding_is_what_numpy_pads(case):
    layer, shape = case
    constant = {"constant_values": layer.pad_value} if layer.mode == "constant" else {}
    x, dy_from = np.random.default_rng(0).standard_normal((3, *shape)), np.random.default_rng(1)
    expected = np.pad(x, ((0, 0), (0, 0), *layer.padding), mode=NUMPY_MODE[layer.mode], **constant)
    net = Network.sequential(shape, [layer], dtype=np.float64)
    trace = net.run(x)
    np.testing.assert_array_equal(trace["pad1"], expected)
    dy = dy_from.standard_normal(expected.shape)
    numbers = np.arange(1.0, 1 + x[0].size).reshape(x[0].shape)  # where each output site comes from, 0: nowhere
    source = np.pad(numbers, ((0, 0), *layer.padding), mode=NUMPY_MODE[layer.mode]).astype(int)
    for got, given_back in zip(trace.backward(dy).inputs["input"], dy, strict=True):
        sums = np.bincount(source.ravel(), given_back.ravel(), minlength=1 + x[0].size)[1:]
        np.testing.assert_allclose(got.ravel(), sums, rtol=0, atol=1e-14)
    assert net.params == {}


def test_padding_is_an_identity_with_empty_rows():
    net = Network.sequential((1, 2), [Pad(1)])
    assert net.node("pad1").matrix.tocsr().toarray().tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]
    assert Pad(1, pad_value=3.0).counts((1, 2)) == Counts(fixed_nonzeros=2)


@pytest.mark.parametrize(
    ("layer", "shape", "wrong"),
    [
        (Pad(-1), (1, 4), r"pad padding: expected an integer of at least 0, got -1"),
        (Pad(4, "reflect"), (1, 4), r"pad padding: expected at most 3 sites for mode 'reflect' on axis 0 of size 4"),
        (Pad(1), (4,), r"pad: expected an input \(channels, \*space\), got \(4,\); reshape it first"),
    ],
)
def test_padding_is_checked(layer, shape, wrong):
    with pytest.raises(ShapeError, match=wrong):
        layer.output_shape(shape)


@pytest.mark.parametrize("count", [2, 3])
def test_adding_is_a_skip_connection(count):
    rng = np.random.default_rng(0)
    xs = dict(zip("abc"[:count], rng.standard_normal((count, 4, 2, 3)), strict=True))
    net = join(Add(), *[(2, 3)] * count)
    trace = net.run(xs)
    np.testing.assert_allclose(trace["join"], sum(xs.values()), rtol=0, atol=1e-15)
    dy = rng.standard_normal((4, 2, 3))
    for gradient in trace.backward(dy).inputs.values():
        np.testing.assert_array_equal(gradient, dy)
    check_affine(Add(), trace["join"][0], *(x[0] for x in xs.values()))


def test_a_node_added_to_itself_gets_its_gradient_twice():
    net = Network.input((2,), dtype=np.float64).add(Add(), "input", "input")
    trace = net.run([[3.0, 5.0]])
    assert trace["add1"].tolist() == [[6, 10]]
    assert trace.backward([[1.0, 10.0]]).inputs["input"].tolist() == [[2, 20]]


def test_concatenating_stacks_channels():
    rng = np.random.default_rng(0)
    shapes = [(2, 3, 2), (1, 3, 2), (4, 3, 2)]
    xs = {name: rng.standard_normal((5, *shape)) for name, shape in zip("abc", shapes, strict=True)}
    net = join(Concatenate(), *shapes)
    trace = net.run(xs)
    assert net.output_shape == (7, 3, 2)
    np.testing.assert_array_equal(trace["join"], np.concatenate(list(xs.values()), axis=1))
    dy = rng.standard_normal((5, 7, 3, 2))
    gradients = trace.backward(dy).inputs
    np.testing.assert_array_equal(np.concatenate([gradients[name] for name in "abc"], axis=1), dy)
    check_affine(Concatenate(), trace["join"][0], *(x[0] for x in xs.values()))


def test_vectors_can_be_concatenated():
    trace = join(Concatenate(), (2,), (1,)).run({"a": [[1, 2]], "b": [[3]]})
    assert trace["join"].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("shapes", BROADCAST, ids=str)
def test_axes_of_size_1_are_broadcast_as_torch_does(shapes, torch, agree):
    rng = np.random.default_rng(0)
    net = join(Add(), *shapes)
    xs = {name: rng.standard_normal((4, *shape)) for name, shape in zip(net.inputs, shapes, strict=True)}
    trace, leaves = net.run(xs), {name: torch.tensor(x, requires_grad=True) for name, x in xs.items()}
    y = sum(leaves.values())
    agree(trace["join"], y.detach().numpy())
    dy = rng.standard_normal(y.shape)
    y.backward(torch.tensor(dy))
    for name, gradient in trace.backward(dy).inputs.items():
        agree(gradient, leaves[name].grad.numpy())
    matrices, offset = Add().affine_at({}, {}, *(x[0] for x in xs.values()))
    agree(sum(m @ x[0].ravel() for m, x in zip(matrices, xs.values(), strict=True)) + offset, trace["join"][0].ravel())
    for matrix, pattern in zip(matrices, net.nodes["join"].support, strict=True):
        np.testing.assert_array_equal(matrix.toarray(), TiedMatrix(pattern, np.ones(1)).tocsr().toarray())
    (proof,) = equivalence(net)
    assert proof.ok and not proof.skipped, proof


def test_a_shared_unit_has_many_rows_to_one_column():
    whole, shared = join(Add(), (2, 3), (2, 1)).nodes["join"].support
    assert TiedMatrix(shared, np.ones(1)).tocsr().toarray().tolist() == [[1, 0]] * 3 + [[0, 1]] * 3
    assert shared.column(1)[0].tolist() == [3, 4, 5]
    assert isinstance(whole, IdentityPattern)


def test_what_is_broadcast_is_followed_unit_by_unit():
    gate = [AveragePool("global"), Conv(4, kernel=1, bias=False)]
    net = Network.sequential((4, 2, 3), gate, rng=0, dtype=np.float64).add(Add(), "input", "conv1", name="sum")
    assert net.receptive_field("sum", (1, 1, 2)).mask.all()  # through the average
    assert net.projective_field("conv1", (1, 0, 0)).units.tolist() == list(range(6, 12))
    ways = paths(net, "sum[1, 1, 2]")
    assert ways[1, 1, 2] == 2
    assert ways.sum() == 1 + 24
    one = affine(net, np.random.default_rng(0).standard_normal((4, 2, 3)))
    assert one.difference < 1e-12
    expected = np.eye(24) + np.kron(net.params["conv1.weight"].reshape(4, 4), np.full((6, 6), 1 / 6))
    np.testing.assert_allclose(one.A.toarray() if hasattr(one.A, "toarray") else one.A, expected, atol=1e-15)


@pytest.mark.parametrize("shapes", [((2, 3), (3, 2)), ((2, 3), (2, 2)), ((2, 3), (2,)), ((3, 1, 1), (3, 4))])
def test_inputs_to_be_added_fit(shapes):
    got = re.escape(", ".join(map(str, shapes)))
    message = f"add: expected inputs with one number of axes, and on each sizes that are equal or 1, got {got}; project"
    with pytest.raises(ShapeError, match=message):
        Add().output_shape(*shapes)


def test_inputs_to_be_concatenated_differ_only_in_channels():
    assert Concatenate().output_shape((2, 3), (5, 3)) == (7, 3)
    message = r"concatenate: expected inputs that differ only in channels, got \(2, 3\), \(2, 4\); bring them"
    with pytest.raises(ShapeError, match=message):
        Concatenate().output_shape((2, 3), (2, 4))
