"""One unit at a time: rows, columns and receptive fields, against matrices and gradients."""

from __future__ import annotations

import math
import tracemalloc

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
    LocallyConnected,
    LogSoftmax,
    MaxPool,
    Network,
    Pad,
    PluginError,
    ReLU,
    Reshape,
    ShapeError,
    Softmax,
    Sparse,
    Tanh,
    Units,
    UnknownNameError,
    WindowPattern,
)
from simulator.patterns import IdentityPattern

# ---------------------------------------------------------------------- rows and columns


@pytest.fixture(scope="module")
def net():
    table = ((0,), (0, 1), (1, 2))
    return Network.sequential(
        (3, 6, 5),
        [Conv(3, 3, padding=1, table=table), ReLU(), ConvTranspose(2, 2, stride=2), AveragePool(2), Dense(4)],
        rng=0,
    )


@pytest.mark.parametrize("layer", ["conv1", "convtranspose1", "averagepool1", "dense1"])
def test_rows_and_columns_are_those_of_the_csr_matrix(net, layer):
    csr = net.node(layer).matrix.tocsr()
    for unit in range(csr.shape[0]):
        row = net.matrix_row(layer, unit)
        np.testing.assert_array_equal(row.cols, csr[[unit]].indices)
        np.testing.assert_array_equal(row.values, csr[[unit]].data)
        np.testing.assert_array_equal(row.values, net.node(layer).matrix.weight.ravel()[row.ties])
    csc = csr.tocsc()
    for unit in range(csr.shape[1]):
        column = net.matrix_column(layer, unit)
        np.testing.assert_array_equal(column.rows, csc[:, [unit]].indices)
        np.testing.assert_array_equal(column.values, csc[:, [unit]].data)
        np.testing.assert_array_equal(column.values, net.node(layer).matrix.weight.ravel()[column.ties])


def test_a_unit_is_a_number_or_a_position(net):
    row, same = net.matrix_row("conv1", 47), net.matrix_row("conv1", (1, 3, 2))
    assert (row.unit, row.position) == (same.unit, same.position) == (47, (1, 3, 2))
    np.testing.assert_array_equal(row.cols, same.cols)
    shape = net.input_shape
    np.testing.assert_array_equal(np.ravel_multi_index(tuple(row.positions.T), shape), row.cols)
    again = net.matrix_column("conv1", row.positions[0])  # a row of an array is a position, too
    assert again.unit == row.cols[0]
    assert 47 in again.rows
    np.testing.assert_array_equal(np.ravel_multi_index(tuple(again.positions.T), (3, 6, 5)), again.rows)
    assert net.matrix_row("dense1", (3,)).unit == 3


def test_what_rows_and_columns_say_of_themselves(net):
    said = "MatrixRow of conv1, unit 47 (1, 3, 2): reads 18 input units with 18 weights"
    assert repr(net.matrix_row("conv1", 47)) == said
    said = "MatrixColumn of averagepool1, input unit 0 (0, 0, 0): read by 1 output unit with 1 weight"
    assert repr(net.matrix_column("averagepool1", 0)) == said


def test_without_weights_there_are_ties_and_no_values():
    network = Network.sequential((1, 4, 4), [Conv(2, 3)])
    row, column = network.matrix_row("conv1", 0), network.matrix_column("conv1", 5)
    assert row.values is None
    assert column.values is None
    np.testing.assert_array_equal(row.ties, np.arange(9))


@pytest.mark.parametrize("unit", [90, -1, (0, 6, 0), (0, 0), (0, -1, 0), 1.5, "a", (0, 0, 0.5)])
def test_a_unit_that_does_not_exist(net, unit):
    message = (
        r"conv1 output unit: expected a number from 0 to 89, or a position \(channel, \*space\) within \(3, 6, 5\)"
    )
    with pytest.raises(ShapeError, match=message):
        net.matrix_row("conv1", unit)
    with pytest.raises(ShapeError, match="conv1 input unit: expected a number from 0 to 89"):
        net.matrix_column("conv1", unit)
    with pytest.raises(ShapeError, match="conv1 unit: expected a number from 0 to 89"):
        net.receptive_field("conv1", unit)


def test_an_address_says_both_node_and_unit(net):
    for address in ("conv1[1, 3, 2]", Units.of(net.nodes, ("conv1", 47))):
        np.testing.assert_array_equal(net.matrix_row(address).cols, net.matrix_row("conv1", 47).cols)
        np.testing.assert_array_equal(net.receptive_field(address).mask, net.receptive_field("conv1", 47).mask)
    for look in (net.matrix_row, net.receptive_field):
        with pytest.raises(ShapeError, match=r"a single unit, got conv1\[1\], which is 30; .* conv1\[1, 0, 0\]"):
            look("conv1[1]")
        with pytest.raises(ShapeError, match=r"unit conv1\[3, 0, 0\]: expected a position .* within \(3, 6, 5\)"):
            look("conv1[3, 0, 0]")


def test_a_layer_without_a_matrix(net):
    with pytest.raises(
        ShapeError, match="relu1: expected a layer that is one matrix, got ReLU; choose one of conv1, c"
    ):
        net.matrix_row("relu1", 0)
    with pytest.raises(ShapeError, match="choose one of another network"):
        Network.sequential((2,), [ReLU()]).matrix_column("relu1", 0)


def test_names_that_do_not_exist(net):
    with pytest.raises(UnknownNameError, match="expected a node, got 'conv'"):
        net.matrix_row("conv", 0)
    for layer, of in (("conv", None), ("conv1", "inputs")):
        with pytest.raises(UnknownNameError, match="expected a node, got"):
            net.receptive_field(layer, 0, of)


# ---------------------------------------------------------------------- receptive fields against gradients


def jacobian(network, layer, of, batch=4):
    """Where units of `layer` depend on units of `of` for one of several random samples, (n_out, n_in)."""
    part = network.subnetwork(layer)
    n_out, n_in = (math.prod(network.node(name).shape) for name in (layer, of))
    rng, found = np.random.default_rng(0), np.zeros((n_out, n_in), bool)
    dy = np.eye(n_out).reshape(n_out, *network.node(layer).shape)
    for _ in range(batch):
        x = {name: rng.standard_normal((1, *network.node(name).shape)).repeat(n_out, axis=0) for name in part.inputs}
        gradients = part.run(x).backward({layer: dy}).activations
        if of in gradients:
            found |= gradients[of].reshape(n_out, n_in) != 0
    return found


@st.composite
def layers(draw, shape):
    """A layer, of random type, that fits a shape."""
    channels, *space = shape
    choices = [ReLU(), Tanh(), Flatten(), Dense(draw(st.integers(1, 4))), LogSoftmax(), Softmax()]
    if space:
        kernel, stride = draw(st.integers(1, min(3, *space))), draw(st.integers(1, 3))
        groups = draw(st.sampled_from([1, channels]))
        mode = draw(st.sampled_from(["constant", "circular", "replicate"]))
        choices += [
            Conv(
                groups * draw(st.integers(1, 2)), kernel, stride, padding=kernel // 2, groups=groups, padding_mode=mode
            ),
            LocallyConnected(2, kernel, stride),
            ConvTranspose(groups * draw(st.integers(1, 2)), kernel, stride, groups=groups),
            MaxPool(kernel, stride, padding=kernel // 2),
            AveragePool(kernel, stride, ceil=True),
            AveragePool("global"),
            Conv(2, 1, table=((0,), (channels - 1,))),
            Pad(1, mode="replicate"),
            Reshape((math.prod(space), channels)),
        ]
    return draw(st.sampled_from(choices))


@st.composite
def networks(draw):
    """A small random graph of float64, with branches that meet again."""
    shape = (draw(st.integers(1, 3)), *draw(st.sampled_from([(4,), (7,), (4, 3), (3, 5)])))
    network = Network.input(shape, dtype=np.float64)
    for _ in range(draw(st.integers(1, 4))):
        source = draw(st.sampled_from(list(network.nodes)))
        if math.prod(network.node(source).shape) > 80:
            continue
        network = network.add(draw(layers(network.node(source).shape)), source, rng=1)
        new = network.last
        alike = [n for n in network.nodes if network.node(n).shape == network.node(new).shape and n != new]
        if alike and draw(st.booleans()):
            join = draw(st.sampled_from([Add(), Concatenate()]))
            network = network.add(join, new, draw(st.sampled_from(alike)), rng=1)
    return network


@given(networks(), st.data())
def test_fields_are_where_gradients_are(network, data):
    layer = network.last
    of = data.draw(st.sampled_from(list(network.nodes)))
    found = jacobian(network, layer, of)
    # A maximum and a ReLU choose which connections count; a softmax of one channel has no slope.
    chosen = any(isinstance(node.layer, (ReLU, MaxPool, Softmax, LogSoftmax)) for node in network.nodes.values())
    for unit in data.draw(st.lists(st.integers(0, len(found) - 1), min_size=1, max_size=6, unique=True)):
        field = network.receptive_field(layer, unit, of)
        assert field.mask.shape == network.node(of).shape
        mask = field.mask.ravel()
        np.testing.assert_array_equal(field.units, np.flatnonzero(mask))
        assert not np.any(found[unit] & ~mask)
        if not chosen:
            np.testing.assert_array_equal(found[unit], mask)


@pytest.mark.parametrize("pooling", [MaxPool, AveragePool])
def test_every_tap_of_a_window_counts(pooling):
    network = Network.sequential((2, 9), [pooling(3, 2), Conv(3, 2, groups=1)], rng=0)
    field = network.receptive_field("conv1", (1, 1))
    np.testing.assert_array_equal(field.mask, np.tile([0, 0, 1, 1, 1, 1, 1, 0, 0], (2, 1)))
    assert (field.size, field.stride, field.centre) == ((5,), (2,), (4.0,))


def test_fields_of_windows_whose_table_is_too_large_are_the_same(monkeypatch):
    def fields():
        layers = [Conv(2, 3, padding=1, padding_mode="circular"), MaxPool(2), ConvTranspose(2, 3, stride=2), Conv(2, 2)]
        net = Network.sequential((1, 9, 7), layers)
        seen, reached = net.receptive_field("conv2[1, 2, 3]"), net.projective_field("input[0, 4, 4]")
        tables = ["sites" in vars(net.node(name).pattern) for name in ("conv1", "conv2")]
        return seen.mask, reached.mask, (seen.size, seen.stride, seen.centre), tables

    *expected, tables = fields()
    assert all(tables)
    monkeypatch.setattr("simulator.patterns._LARGE_TABLE", 0)
    *found, tables = fields()
    assert not any(tables)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_unit_of_a_huge_network_sees_and_reaches_at_once():
    net = Network.sequential((1, 9000, 900), [Conv(2, 5, padding=2), MaxPool(2), Conv(1, 3)])
    field = net.receptive_field("conv2[0, 2000, 300]")
    assert (field.box, field.size) == (((0, 1), (3998, 4008), (598, 608)), (10, 10))
    assert net.projective_field("input[0, 8999, 899]", of="conv1").box == ((0, 2), (8997, 9000), (897, 900))
    assert "sites" not in vars(net.node("conv1").pattern)


def test_channels_of_groups_and_tables():
    network = Network.sequential((4, 5), [Conv(4, 3, groups=2), Conv(2, 1, table=((0, 3), (1,)))])
    assert network.receptive_field("conv2", (0, 0)).box == ((0, 4), (0, 3))
    assert network.receptive_field("conv2", (1, 2)).box == ((0, 2), (2, 5))


def test_an_explicit_pattern_and_its_transpose():
    pattern = ExplicitPattern([0, 1, 1, 2], [3, 0, 3, 1], shape=(3, 4))
    network = Network.sequential((4,), [Sparse(pattern), Sparse(pattern.T)])
    np.testing.assert_array_equal(network.receptive_field("sparse1", 1).units, [0, 3])
    np.testing.assert_array_equal(network.receptive_field("sparse2", 3).units, [0, 3])
    assert not network.receptive_field("sparse2", 2).mask.any()


def test_fields_in_other_nodes_and_of_no_influence():
    network = Network.input((1, 6)).add(Conv(1, 3), name="left").add(Conv(1, 3), "input", name="right")
    assert network.receptive_field("left", 1, of="left").units.tolist() == [1]
    nothing = network.receptive_field("left", 1, of="right")
    assert (nothing.units.tolist(), nothing.box, nothing.size) == ([], ((0, 0), (0, 0)), None)
    assert network.receptive_field("input", 4).units.tolist() == [4]


def test_two_inputs_need_a_name():
    network = Network.input((3,), "a").add_input((3,), "b").add(Add(), "a", "b")
    with pytest.raises(ShapeError, match="expected one input, got 2"):
        network.receptive_field("add1", 0)
    assert network.receptive_field("add1", 2, of="b").units.tolist() == [2]


class Unknown(FunctionLayer):
    """The layer about which nothing is known."""

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        return xs[0], lambda dy: ((dy,), {}), {}


class Wrong(Unknown):
    def support(self, *input_shapes):
        return [IdentityPattern(5)]


def test_an_unknown_layer_sees_everything():
    network = Network.sequential((2, 3), [Unknown()])
    field = network.receptive_field("unknown1", 0)
    assert field.mask.all()
    assert field.size is None


def test_a_support_of_the_wrong_shape_is_named():
    network = Network.sequential((2, 3), [Wrong()])
    message = r"wrong1, Wrong.support: expected patterns of shapes \[\(6, 6\)\], or None, got .*IdentityPattern 5 x 5"
    with pytest.raises(PluginError, match=message):
        network.receptive_field("wrong1", 0)


# ---------------------------------------------------------------------- summary numbers


def test_published_fields_of_vgg16():
    # Araujo, Norris, Sim, "Computing receptive fields of convolutional neural networks", Distill 2019, table 1:
    # VGG-16 sees 212 sites with a stride of 32 after its last pooling.
    network = Catalog().build("vgg16", rng=None)
    field = network.receptive_field("pool5", (0, 3, 3))
    assert (field.size, field.stride) == ((212, 212), (32, 32))
    assert repr(field).endswith("within 0:3 x 6:218 x 6:218; 212 x 212 sites away from the borders, stride 32 x 32")
    assert field.centre == (111.5, 111.5)


@pytest.mark.parametrize(("name", "size"), [("resnet50-v1", 483), ("resnet50", 427)])
def test_published_fields_of_resnet50(name, size):
    # The same table for the version of the paper. Today's has its strides in the 3x3: in stages 2, 3 and 4 the first of
    # them then covers 2 sites of half the distance, 8 + 16 + 32 sites less in all.
    network = Catalog().build(name, rng=None)
    last = [n for n in network.nodes.values() if len(n.shape) == 3 and n.shape[1] > 1][-1]
    field = network.receptive_field(last.name, (0, 3, 3))
    assert (field.size, field.stride) == ((size, size), (32, 32))
    assert field.mask.all()


def test_irregular_windows_have_no_summary():
    for layer in (Conv(1, 3, padding=1, padding_mode="replicate"), ConvTranspose(1, 3, stride=2), Reshape((6, 1))):
        field = Network.sequential((1, 6), [layer]).receptive_field(Network.sequential((1, 6), [layer]).last, 2)
        assert field.size is None
    branches = Network.input((1, 8)).add(Conv(1, 1), name="a").add(Conv(1, 2, stride=2, padding=4), "input", name="b")
    assert branches.add(Add(), "a", "b", name="c").receptive_field("c", 2).size is None


def test_a_branch_that_skips_widens_nothing():
    network = Network.input((1, 9)).add(Conv(1, 3, padding=1), name="a").add(Conv(1, 3, padding=1), name="b")
    field = network.add(Add(), "input", "b", name="c").receptive_field("c", 4)
    assert (field.size, field.stride, field.centre) == ((5,), (1,), (4.0,))


# ---------------------------------------------------------------------- the pattern of the identity, and memory


def test_the_identity_pattern():
    pattern = IdentityPattern(3)
    assert repr(pattern) == "IdentityPattern 3 x 3: 3 nonzeros share 1 weight"
    rows, cols, ties = pattern.triplets()
    np.testing.assert_array_equal([rows, cols, ties], [[0, 1, 2], [0, 1, 2], [0, 0, 0]])
    assert pattern.T is pattern
    assert pattern.nbytes == 0
    for line in (pattern.row(2), pattern.column(2)):
        assert [part.tolist() for part in line] == [[2], [0]]
    with pytest.raises(ShapeError, match=r"IdentityPattern.row: expected a row from 0 to 2, got 3"):
        pattern.row(3)


def test_a_read_only_table_of_sites_is_shared_and_any_other_copied():
    network = Network.sequential((8, 9, 9), [Conv(8, 3, padding=1), Conv(8, 3, padding=1)])
    first, second = (network.node(name).pattern for name in ("conv1", "conv2"))
    assert np.shares_memory(first.sites, second.sites)
    table = np.array(first.sites)
    own = WindowPattern(first.channels, 8, table, 81, (9, 0, 1))
    table[:] = 0
    np.testing.assert_array_equal(own.sites, first.sites)
    assert own.sites.flags.c_contiguous
    assert not own.sites.flags.writeable


@pytest.mark.parametrize(("name", "limit"), [("resnet50", 4.5e6), ("vgg16", 4e6)])
def test_the_view_of_an_imagenet_network_is_small(name, limit):
    tracemalloc.start()
    try:
        network = Catalog().build(name, (3, 224, 224), 1000, rng=None)
        for node in network.nodes.values():
            assert node.support is not None
            _ = node.fixed_weight, node.padding
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < limit


def test_one_unit_takes_little_memory():
    network = Catalog().build("vgg16", rng=None)
    tracemalloc.start()
    try:
        for layer in ("conv1_1", "conv1_2", "dense6"):
            network.matrix_row(layer, 0)
            network.matrix_column(layer, 0)
        network.receptive_field("dense8", 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16e6
