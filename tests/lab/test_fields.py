"""Receptive and projective fields, paths and influence of random graphs, against finite differences and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import (
    Add,
    AveragePool,
    Catalog,
    Concatenate,
    Conv,
    ConvTranspose,
    Dense,
    ExplicitPattern,
    Flatten,
    FunctionLayer,
    LeakyReLU,
    MaxPool,
    Network,
    Pad,
    ReLU,
    Reshape,
    ShapeError,
    Softmax,
    Sparse,
    UnknownNameError,
)
from simulator.lab import influence, paths

CATALOG = Catalog()


@st.composite
def layers(draw, shape):
    """A layer that depends on all that it reads, of random type, that fits a shape."""
    channels, *space = shape
    choices = [LeakyReLU(0.5), CATALOG.make("softplus"), Flatten(), Dense(draw(st.integers(1, 3)))]
    if space:
        kernel, stride, dilation = (
            draw(st.integers(1, min(3, *space))),
            draw(st.integers(1, 3)),
            draw(st.integers(1, 2)),
        )
        padding, groups = draw(st.integers(0, 2)), draw(st.sampled_from([1, channels]))
        mode = draw(st.sampled_from(["constant", "circular", "replicate"]))
        wide = {"padding": max(padding, dilation * (kernel - 1)), "padding_mode": mode}
        choices += [
            Conv(groups * draw(st.integers(1, 2)), kernel, stride, dilation, groups=groups, **wide),
            Conv(2, 1, stride, table=((0,), (channels - 1,))),
            ConvTranspose(groups * draw(st.integers(1, 2)), kernel, stride, groups=groups),
            CATALOG.make("locally-connected", 2, kernel, stride),
            AveragePool(kernel, stride, padding=kernel // 2),
            Pad(1, mode="replicate"),
            Reshape((math.prod(space), channels)),
        ]
    return draw(st.sampled_from(choices))


@st.composite
def graphs(draw):
    """A small random graph of float64 with positive weights, so that nothing cancels, and branches that meet again."""
    shape = (draw(st.integers(1, 3)), *draw(st.sampled_from([(4,), (7,), (4, 3), (3, 5)])))
    network = Network.input(shape, dtype=np.float64)
    for _ in range(draw(st.integers(1, 4))):
        source = draw(st.sampled_from(list(network.nodes)))
        if math.prod(network.node(source).shape) > 80:
            continue
        network = network.add(draw(layers(network.node(source).shape)), source, rng=1)
        new = network.last
        alike = [n for n in network.nodes if network.node(n).shape == network.node(new).shape]
        if draw(st.booleans()):
            join = draw(st.sampled_from([Add(), Concatenate()]))
            network = network.add(join, new, draw(st.sampled_from(alike)), rng=1)
    rng = np.random.default_rng(0)
    return network.with_params({name: 0.5 + rng.random(s) for name, s in network.param_shapes.items()})


def differences(network, of):
    """Which units of the last node change when a unit of the input does, (n_out, n_in): finite differences."""
    shape = network.input_shape
    n_in = math.prod(shape)
    x = np.random.default_rng(1).random(n_in) + np.vstack([np.zeros((1, n_in)), np.eye(n_in)])
    y = network.run(x.reshape(-1, *shape))[of].reshape(n_in + 1, -1)
    return (np.abs(y[1:] - y[0]) > 1e-9 * np.abs(y).max()).T


@given(graphs())
def test_fields_are_where_finite_differences_are(network):
    of = network.last
    found = differences(network, of)
    receptive = [network.receptive_field(of, v).mask.ravel() for v in range(len(found))]
    projective = [network.projective_field("input", u, of).mask.ravel() for u in range(found.shape[1])]
    np.testing.assert_array_equal(receptive, found)
    np.testing.assert_array_equal(np.transpose(projective), found)


@given(graphs(), st.data())
def test_u_is_in_the_field_of_v_exactly_if_v_is_in_that_of_u(network, data):
    early, late = (data.draw(st.sampled_from(list(network.nodes))) for _ in range(2))
    sizes = [math.prod(network.node(name).shape) for name in (late, early)]
    receptive = [network.receptive_field(late, v, early).mask.ravel() for v in range(sizes[0])]
    projective = [network.projective_field(early, u, late).mask.ravel() for u in range(sizes[1])]
    np.testing.assert_array_equal(receptive, np.transpose(projective))


def adjacency(pattern, n_out, n_in):
    """How many connections each pair of units has, (n_out, n_in)."""
    if pattern is None:
        return np.ones((n_out, n_in), np.int64)
    matrix = np.zeros((n_out, n_in), np.int64)
    rows, cols, _ = pattern.triplets()
    np.add.at(matrix, (rows, cols), 1)
    return matrix


def counted(network, of):
    """The paths from each unit of `of` to each unit of every later node, by products of integer matrices."""
    found = {of: np.eye(math.prod(network.nodes[of].shape), dtype=np.int64)}
    for node in network.nodes.values():
        shapes = [math.prod(shape) for shape in node.input_shapes]
        parts = [
            adjacency(pattern, math.prod(node.shape), n) @ found[source]
            for source, n, pattern in zip(node.inputs, shapes, node.support if node.inputs else (), strict=True)
            if source in found
        ]
        if parts and node.name != of:
            found[node.name] = sum(parts)
    return found


class Unknown(FunctionLayer):
    """The layer about which nothing is known."""

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        return xs[0], lambda dy: ((dy,), {}), {}


@given(graphs(), st.sampled_from([None, Unknown(), Softmax()]), st.data())
def test_paths_are_products_of_integer_matrices(network, extra, data):
    if extra is not None:
        network = network.add(extra)
    if len(network.output_shape if len(network.outputs) == 1 else ()) > 1:
        network = network.add(Conv(3, 1, groups=1), rng=0).add(MaxPool(1))
    of = data.draw(st.sampled_from(list(network.nodes)))
    expected, last = counted(network, of), network.last
    n = math.prod(network.nodes[last].shape)
    for unit in data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=4, unique=True)):
        found = paths(network, (last, unit), of)
        assert found.shape == network.nodes[of].shape
        assert {type(count) for count in found.ravel()} == {int}
        numbers = expected[last][unit] if last in expected else np.zeros(found.size)
        np.testing.assert_array_equal(found.ravel(), numbers)
        np.testing.assert_array_equal(found > 0, network.receptive_field(last, unit, of).mask)


def test_paths_through_explicit_patterns_and_their_transposes():
    pattern = ExplicitPattern([0, 1, 1, 1, 2], [3, 0, 3, 3, 1], shape=(3, 4))
    network = Network.sequential((4,), [Sparse(pattern), Sparse(pattern.T)])
    S = adjacency(pattern, 3, 4)
    found = np.stack([paths(network, ("sparse2", unit)) for unit in range(4)])
    np.testing.assert_array_equal(found, S.T @ S)


def test_paths_are_exact_beyond_all_machine_numbers():
    depth, channels = 60, 7
    network = Network.sequential((channels, 125), [Conv(channels, 3) for _ in range(depth)])
    coefficients = [1]
    for _ in range(depth):  # (1 + x + x²) to this power
        padded = [0, 0, *coefficients, 0, 0]
        coefficients = [sum(padded[k : k + 3]) for k in range(len(coefficients) + 2)]
    found = paths(network, f"conv{depth}[3, 2]")
    expected = [0, 0, *(c * channels ** (depth - 1) for c in coefficients), 0, 0]
    assert found.tolist() == [expected] * channels
    assert max(expected) > 2**230


def test_paths_of_vgg16_at_full_size_by_what_every_layer_reads():
    network = CATALOG.build("vgg16", rng=None)
    found = paths(network, "pool5[0, 3, 3]")
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found > 0, network.receptive_field("pool5[0, 3, 3]").mask)
    # No border is met: each pooling multiplies by 4, each convolution by 9 times its input channels.
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512]
    assert found.sum() == 4**5 * math.prod(9 * n for n in channels)
    assert 0 < paths(network, "pool5[0, 0, 0]").sum() < found.sum()


def test_paths_to_and_from_where_none_lead():
    network = Network.input((1, 6)).add(Conv(1, 3), name="left").add(Conv(1, 3), "input", name="right")
    assert paths(network, "left[0, 1]", of="right").tolist() == [[0] * 4]
    assert paths(network, "left[0, 1]", of="left").tolist() == [[0, 1, 0, 0]]
    with pytest.raises(ShapeError, match="expected a single unit, got left, which is 4"):
        paths(network, "left")
    with pytest.raises(UnknownNameError, match="expected a node, got 'middle'"):
        paths(network, "left[0, 0]", "middle")


def test_counts_too_large_for_memory(monkeypatch):
    monkeypatch.setattr("simulator.memory.available_memory", lambda: 10**6)
    network = Network.sequential((1, 3000, 3000), [AveragePool("global")])
    with pytest.raises(ShapeError, match=r"paths averagepool1.*: expected at most 1 MB of memory, got 0.4 GB; count"):
        paths(network, "averagepool1[0, 0, 0]")


# ---------------------------------------------------------------------- influence


@given(graphs(), st.data())
def test_influence_is_the_slope_and_zero_outside_of_the_field(network, data):
    part = network.subnetwork(network.last)
    unit = data.draw(st.integers(0, math.prod(part.output_shape) - 1))
    x = np.random.default_rng(2).random(part.input_shape)
    found = influence(network, (network.last, unit), x)
    mask = network.receptive_field(network.last, unit).mask
    np.testing.assert_array_equal(found != 0, mask)
    step = 1e-5
    for at in np.argwhere(mask)[:5]:
        both = np.stack([x, x])
        both[(slice(None), *at)] += (-step, step)
        low, high = part.predict(both).reshape(2, -1)[:, unit]
        assert found[tuple(at)] == pytest.approx((high - low) / (2 * step), rel=1e-6)


def test_influence_of_a_trace_and_on_other_nodes(agree):
    network = Network.sequential((1, 6), [Conv(2, 3), ReLU(), Dense(2)], rng=0, dtype=np.float64)
    x = np.random.default_rng(0).normal(size=(1, 6))
    found = influence(network, "dense1[1]", network.run(x[None]), of="relu1")
    agree(found.ravel(), network.params["dense1.weight"][1])
    assert influence(network, "relu1[0, 0]", x, of="dense1").tolist() == [0, 0]
    with pytest.raises(ShapeError, match="influence dense1.*: expected one sample of shape"):
        influence(network, "dense1[0]", x[None])


# ---------------------------------------------------------------------- closed formulas


def chained(sizes, n):
    """Convolutions of (kernel, stride, dilation, padding), as many as fit, and first site, size and distance of their
    fields by the recurrences of Araujo, Norris and Sim, 2019."""
    network, units, start, size, jump = Network.input((1, n)), n, 0, 1, 1
    for kernel, stride, dilation, padding in sizes:
        units = (units + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        if units < 2:
            break
        network = network.add(Conv(1, kernel, stride, dilation, padding))
        start, size, jump = start - padding * jump, size + dilation * (kernel - 1) * jump, jump * stride
    return network, start, size, jump


SIZES = st.integers(1, 4), st.integers(1, 3), st.integers(1, 2)


@given(st.lists(st.tuples(*SIZES, st.integers(0, 2)), min_size=1, max_size=4), st.data())
def test_receptive_boxes_follow_the_closed_formulas(sizes, data):
    network, start, size, jump = chained(sizes, 61)
    unit = data.draw(st.integers(0, network.output_shape[1] - 1))
    field = network.receptive_field(network.last, (0, unit))
    first, stop = start + unit * jump, start + unit * jump + size
    if field.size is not None:
        assert (field.size, field.stride, field.centre) == ((size,), (jump,), ((first + stop - 1) / 2,))
    low, high = field.box[1]
    assert low >= first
    assert high <= stop
    if first >= 0 and stop <= 61:  # no border cuts it
        assert (low, high) == (first, stop)
        assert field.size is not None


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=4), st.integers(0, 60))
def test_projective_boxes_follow_the_closed_formulas(sizes, site):
    network, start, size, jump = chained([(kernel, min(kernel, stride), 1, 0) for kernel, stride in sizes], 61)
    last = network.output_shape[1] - 1
    low, high = max(0, -((start + size - 1 - site) // jump)), min(last, (site - start) // jump)
    field = network.projective_field("input", (0, site))
    np.testing.assert_array_equal(field.units, np.arange(low, high + 1))
    assert field.box[1] == ((low, high + 1) if low <= high else (0, 0))
