"""Graphs of layers and units, against matrices, against runs of the network, and after a way through files."""

from __future__ import annotations

import re
import time
import tracemalloc

import networkx as nx
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
    FileError,
    FunctionLayer,
    LeakyReLU,
    LocallyConnected,
    MaxPool,
    Network,
    ReLU,
    ShapeError,
    SimulatorError,
    Softmax,
    Sparse,
    Subsample,
    Tanh,
    UnknownNameError,
    Weight,
)
from simulator.lab import layer_graph, unit_graph, write_graph
from simulator.units import Units

SPARSE = Sparse(ExplicitPattern([0, 0, 2, 2, 2], [0, 1, 1, 1, 2], [0, 1, 1, 2, 0], shape=(3, 3)))


class Sorted(FunctionLayer):
    """A layer of which nothing is known."""

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        return np.sort(xs[0], axis=0), None, {}

    def __repr__(self):
        return "Sorted()"


def with_biases(network, seed=0):
    """The network with random numbers in place of its first biases, which are zero."""
    rng = np.random.default_rng(seed)
    return network.with_params({name: rng.normal(size=shape) for name, shape in network.param_shapes.items()})


@pytest.fixture(scope="module")
def net():
    """Everything at once: parallel edges, shared and fixed weights, a pad value, skips, layers that are no matrix."""
    make = Catalog().make
    net = Network.input((2, 4, 5), dtype="float64")
    net = net.add(Conv(2, 3, padding=1, padding_mode="circular"), name="wrapped", rng=0)
    net = net.add(Conv(2, 3, padding=1, padding_mode="circular"), "input", name="twin", share="wrapped")
    net = net.add(make("batch-norm"), "wrapped", name="norm", rng=0)
    net = net.add(ReLU(), name="relu")
    net = net.add(Add(), "relu", "twin", "twin", name="sum")
    net = net.add(Concatenate(), "sum", "input", name="both")
    net = net.add(Conv(2, 3, padding=(1, 1), pad_value=0.5, bias="unit"), name="padded", rng=0)
    net = net.add(MaxPool(2, ceil=True), name="max")
    net = net.add(AveragePool(2, padding=1, count_include_pad=False), name="mean")
    net = net.add(Tanh(), name="bent")
    net = net.add(Sorted(), name="sorted")
    net = net.add(Dense(3), name="dense", rng=0)
    net = with_biases(net.add(Softmax(), name="softmax"))
    return net.with_buffers({name: np.abs(array + 0.3) for name, array in net.buffers.items()})


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).normal(size=(2, 4, 5))


def connections(graph, layer):
    """(row, column, name, value) of the edges into a layer, sorted."""
    number = graph.nodes.data("number")
    return sorted(
        (number[target], number[source], edge["name"], edge["value"])
        for source, target, edge in graph.edges(data=True)
        if graph.nodes[target]["layer"] == layer
    )


# ---------------------------------------------------------------------- connections are nonzeros


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((1, 6), Conv(2, 3)),
        ((2, 4, 5), Conv(4, (3, 2), stride=(1, 2), padding=1, groups=2)),
        ((3, 4, 4), Conv(3, 3, padding=1, table=((0,), (0, 1), (1, 2)))),
        ((1, 3, 3), Conv(1, 3, padding=2, padding_mode="circular")),
        ((2, 3, 3), ConvTranspose(3, 2, stride=2, bias=False)),
        ((2, 4, 4), LocallyConnected(2, 3)),
        ((2, 4, 4), Subsample(2)),
        ((2, 3, 3), Dense(4)),
        ((3,), SPARSE),
    ],
    ids=repr,
)
def test_the_edges_of_a_layer_are_the_nonzeros_of_its_matrix(shape, layer):
    network = with_biases(Network.sequential(shape, [layer], rng=0, dtype="float64"))
    name, matrix = network.last, network.node(network.last).matrix
    graph = unit_graph(network)
    rows, cols, ties = matrix.pattern.triplets()
    expected = []
    for row, col, tie in zip(rows.tolist(), cols.tolist(), ties.tolist(), strict=True):
        index = ", ".join(str(i) for i in np.unravel_index(tie, matrix.weight.shape))
        expected.append((row, col, f"{name}.weight[{index}]", float(matrix.weight.ravel()[tie])))
    assert connections(graph, name) == sorted(expected)
    # networkx's own adjacency matrix sums parallel edges, as a dense matrix does
    sources = [str(Units.of(network.nodes, ("input", j))) for j in range(matrix.shape[1])]
    targets = [str(Units.of(network.nodes, (name, i))) for i in range(matrix.shape[0])]
    block = nx.to_scipy_sparse_array(graph, [*sources, *targets], weight="value")[: len(sources), len(sources) :]
    np.testing.assert_allclose(block.T.toarray(), matrix.tocsr().toarray(), rtol=0, atol=1e-15)
    for *_, edge in graph.edges(data=True):
        weight = Weight.of(network.nodes, edge["name"])
        assert (weight.number, network.params[weight.name][weight.index]) == (edge["tie"], edge["value"])


def test_parallel_edges_are_repeated_cells(net):
    graph = unit_graph(net)
    assert len(graph["input[0, 0, 0]"]["wrapped[0, 0, 0]"]) == 1
    narrow = Network.sequential((1, 2), [Conv(1, 3, padding=1, padding_mode="circular")], rng=0)
    parallel = unit_graph(narrow)["input[0, 1]"]["conv1[0, 0]"].values()
    assert [edge["name"] for edge in parallel] == ["conv1.weight[0, 0, 0]", "conv1.weight[0, 0, 2]"]
    assert len(graph["twin[0, 0, 0]"]["sum[0, 0, 0]"]) == 2


def test_a_layer_that_shares_names_the_owner_of_its_weights(net):
    graph = unit_graph(net)
    assert connections(graph, "twin") == connections(graph, "wrapped")
    assert graph.nodes["twin[1, 0, 0]"]["bias"] == "wrapped.bias[1]"


def test_a_weight_that_is_not_trained_is_fixed(net):
    matrix = net.node("mean").matrix
    rows, cols, ties = matrix.pattern.triplets()
    expected = zip(rows, cols, (f"mean.fixed[{tie}]" for tie in ties), matrix.tocsr().data, strict=True)
    assert connections(unit_graph(net), "mean") == sorted(expected)
    assert len(set(ties)) > 1  # windows at the border count fewer taps


# ---------------------------------------------------------------------- values


def test_a_unit_is_the_sum_of_its_edges(net, x, agree):
    graph = unit_graph(net, x=x)
    trace = net.run(x[None])
    for layer in net.nodes:
        units = [unit for unit, data in graph.nodes(data=True) if data["layer"] == layer]
        values = [graph.nodes[unit]["value"] for unit in units]
        np.testing.assert_array_equal(values, trace[layer].ravel())
        if layer in ("input", "bent", "sorted", "softmax"):  # not piecewise linear: their edges have no value
            assert not any("value" in edge for *_, edge in graph.in_edges(units, data=True))
            continue
        sums = [
            sum(edge["value"] * graph.nodes[source]["value"] for source, _, edge in graph.in_edges(unit, data=True))
            + graph.nodes[unit].get("bias_value", 0)
            + graph.nodes[unit].get("offset", 0)
            for unit in units
        ]
        agree(sums, trace[layer].ravel())


def test_with_a_sample_a_maximum_has_the_edge_of_its_largest_input(net, x):
    graph = unit_graph(net, x=x)
    for unit, data in graph.nodes(data=True):
        if data["layer"] == "max":
            ((source, _, edge),) = graph.in_edges(unit, data=True)
            assert graph.nodes[source]["value"] == data["value"]
            assert edge == {"value": 1.0}
    assert unit_graph(net).in_degree("max[0, 0, 0]") == 4


def test_with_a_sample_a_closed_relu_has_no_edge(net, x):
    graph = unit_graph(net, x=x)
    for unit, data in graph.nodes(data=True):
        if data["layer"] == "relu":
            assert graph.in_degree(unit) == (data["value"] > 0)


def test_a_layer_of_which_nothing_is_known_reads_everything(net):
    graph = unit_graph(net)
    n = np.prod(net.node("bent").shape)
    assert graph.in_degree("sorted[0, 0, 0]") == n
    assert all(edge == {} for *_, edge in graph.in_edges("sorted[0, 0, 0]", data=True))


def test_a_trace_is_as_good_as_its_sample(net, x):
    assert same(unit_graph(net, "dense[1]", hops=4, x=net.run(x[None])), unit_graph(net, "dense[1]", hops=4, x=x))


def test_several_inputs():
    network = Network.input((3,), "left").add_input((3,), "right").add(Add(), "left", "right", rng=0)
    graph = unit_graph(network, x={"left": [1, 2, 3], "right": [10, 20, 30]})
    assert [graph.nodes[f"add1[{i}]"]["value"] for i in range(3)] == [11, 22, 33]
    assert list(graph.predecessors("add1[2]")) == ["left[2]", "right[2]"]


def test_what_a_unit_says_of_itself(net, x):
    graph = unit_graph(net, "padded[1, 0, 4]", x=x)
    told = graph.nodes["padded[1, 0, 4]"]
    missing = np.ones((3, 3), bool)
    missing[1:, :2] = False  # at the upper right corner
    offset = 0.5 * net.params["padded.weight"][1, :, missing].sum()
    assert told.pop("offset") == pytest.approx(offset, abs=1e-14)
    assert told == {
        "layer": "padded",
        "kind": "Conv",
        "number": 24,
        "channel": 1,
        "position": "1, 0, 4",
        "hop": 0,
        "value": net.run(x[None])["padded"][0, 1, 0, 4],
        "bias": "padded.bias[1, 0, 4]",
        "bias_value": net.params["padded.bias"][1, 0, 4],
    }
    assert "hop" not in unit_graph(net).nodes["dense[0]"]


def test_without_weights_edges_have_names_but_no_values():
    network = Network.sequential((1, 4, 4), [Conv(1, 3), AveragePool(2)])
    graph = unit_graph(network)
    assert graph.nodes["conv1[0, 0, 0]"]["bias"] == "conv1.bias[0]"
    assert "bias_value" not in graph.nodes["conv1[0, 0, 0]"]
    for *_, edge in graph.in_edges("conv1[0, 1, 1]", data=True):
        assert set(edge) == {"name", "tie"}
    assert {edge["value"] for *_, edge in graph.in_edges("averagepool1[0, 0, 0]", data=True)} == {0.25}


# ---------------------------------------------------------------------- neighbourhoods


def nearby(graph, middle, hops):
    """The part of a whole graph around some units, by walking along all paths."""
    edges, hop_of = set(), dict.fromkeys(middle, 0)
    for sign in (-1, 1):
        walks = set(middle)
        for hop in range(1, hops + 1):
            steps = graph.in_edges(walks, keys=True) if sign < 0 else graph.out_edges(walks, keys=True)
            edges |= set(steps)
            walks = {edge[0] if sign < 0 else edge[1] for edge in steps}
            for unit in walks:
                hop_of.setdefault(unit, sign * hop)
    return edges, hop_of


def plain(graph, edges):
    """Edges without their keys, and with all that they carry, sorted."""
    return sorted((source, target, sorted(graph[source][target][key].items())) for source, target, key in edges)


@pytest.fixture(scope="module")
def wholes(net, x):
    """The whole graph without a sample and with one."""
    return unit_graph(net), unit_graph(net, x=x)


@given(st.data())
def test_a_neighbourhood_is_a_part_of_the_whole_graph(net, x, wholes, data):
    layer = data.draw(st.sampled_from(list(net.nodes)))
    index = [data.draw(st.none() | st.integers(0, n - 1)) for n in net.node(layer).shape]
    middle = Units(layer, tuple(index), net.node(layer).shape)
    hops, sampled = data.draw(st.integers(1, 13)), data.draw(st.booleans())
    whole, part = wholes[sampled], unit_graph(net, middle, hops=hops, x=x if sampled else None)
    edges, hop_of = nearby(whole, [str(Units.of(net.nodes, (layer, n))) for n in middle.numbers.tolist()], hops)
    assert dict(part.nodes.data("hop")) == hop_of
    assert plain(part, part.edges(keys=True)) == plain(whole, edges)
    inner = {part.nodes[target]["layer"] for _, target in part.edges()}
    for unit, told in part.nodes(data=True):
        expected = dict(whole.nodes[unit])
        if told["layer"] not in inner:
            expected = {key: value for key, value in expected.items() if not re.match("bias|offset", key)}
        assert {key: value for key, value in told.items() if key != "hop"} == expected


@given(st.data())
def test_random_networks(data):
    """Skips of any length, in one dimension: the graph's edges give every unit's value."""
    network, rng = Network.input((2, 4), dtype="float64"), np.random.default_rng(0)
    for k in range(data.draw(st.integers(1, 6))):
        choose = st.sampled_from(list(network.nodes))
        layer = data.draw(
            st.sampled_from(
                [
                    Conv(2, 3, padding=1, padding_mode="circular"),
                    Conv(2, 3, padding=2, dilation=2, pad_value=-1.5, bias="unit"),
                    LeakyReLU(),
                    MaxPool(3, stride=1, padding=1),
                    AveragePool(3, stride=1, padding=1),
                    Add(),
                ]
            )
        )
        sources = [data.draw(choose) for _ in range(2 if isinstance(layer, Add) else 1)]
        network = network.add(layer, *sources, name=f"n{k}", rng=rng)
    network = with_biases(network) if network.param_shapes else network
    x = rng.normal(size=(2, 4))
    graph = unit_graph(network, x=x)
    assert nx.is_directed_acyclic_graph(graph)
    assert graph.number_of_nodes() == 8 * len(network.nodes)
    trace = network.run(x[None])
    for unit, told in graph.nodes(data=True):
        total = told.get("bias_value", 0) + told.get("offset", 0)
        edges = graph.in_edges(unit, data=True)
        total += sum(edge["value"] * graph.nodes[source]["value"] for source, _, edge in edges)
        if told["layer"] != "input":
            assert total == pytest.approx(trace[told["layer"]].ravel()[told["number"]], rel=1e-12, abs=1e-12)


def test_a_unit_of_vgg_16_costs_what_its_neighbourhood_does():
    network = Catalog().build("vgg16", (3, 224, 224), rng=None)
    unit_graph(network, "conv1_2[0, 0, 0]")  # what is made once
    tracemalloc.start()
    began = time.process_time()
    graph = unit_graph(network, "conv3_2[100, 30, 30]")
    took = time.process_time() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (9 * 256 + 2, 9 * 256 + 1)
    assert took < 2
    assert peak < 32e6


# ---------------------------------------------------------------------- refusals


def test_what_is_too_large():
    network = Catalog().build("vgg16", (3, 224, 224), rng=None)
    with pytest.raises(ShapeError, match=r"at most 100,000 edges, got 14,\d+,\d+,\d+; name .* 'dense8\[0\]', or"):
        unit_graph(network)
    with pytest.raises(ShapeError, match=r"got more within 2 hops of conv4_1\[0, 0, 0\]; take fewer hops"):
        unit_graph(network, "conv4_1[0, 0, 0]", hops=2, max_edges=2000)
    with pytest.raises(ShapeError, match=r"a middle of at most 100,000 units, got pool1, which is 802,816; name a"):
        unit_graph(network, "pool1")
    with pytest.raises(ShapeError, match=r"unit_graph: expected at most .* GB of memory, got .*; name the unit in "):
        unit_graph(network, max_edges=10**12)


def test_the_number_of_edges_in_a_refusal_is_that_of_the_graph(net):
    edges = unit_graph(net).number_of_edges()
    assert unit_graph(net, max_edges=edges).number_of_edges() == edges
    with pytest.raises(ShapeError, match=f"at most {edges - 1:,} edges, got {edges:,}; name the unit"):
        unit_graph(net, max_edges=edges - 1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"around": "dense[3]"}, ShapeError, r"unit dense\[3\]: expected a position"),
        ({"around": "dens[0]"}, UnknownNameError, "expected a node, got 'dens'; did you mean 'dense'?"),
        ({"around": 3}, ShapeError, "unit: expected an address, got 3"),
        ({"hops": 0}, ShapeError, "unit_graph hops: expected an integer of at least 1, got 0; give such a number"),
        ({"max_edges": "all"}, ShapeError, "unit_graph max_edges: expected an integer of at least 1, got 'all'"),
        (
            {"x": np.zeros((1, 2, 4, 5))},
            ShapeError,
            r"unit_graph: expected one sample of shape \(2, 4, 5\)",
        ),
        ({"x": [[0.0], [0.0, 1.0]]}, ShapeError, "unit_graph: expected an array of real numbers, got a ragged list"),
    ],
)
def test_what_cannot_be_drawn_as_a_graph(net, options, error, message):
    with pytest.raises(error, match=message):
        unit_graph(net, **options)


def test_a_sample_needs_weights():
    with pytest.raises(SimulatorError, match="network: expected weights, got none for conv1"):
        unit_graph(Network.sequential((1, 4), [Conv(1, 3)]), x=np.zeros((1, 4)))


# ---------------------------------------------------------------------- layers


def test_the_graph_of_layers(net):
    graph = layer_graph(net)
    assert list(graph) == list(net.nodes)
    for name, told in graph.nodes(data=True):
        node, counts = net.node(name), net.nodes[name].counts
        assert told["repr"] == repr(node.layer)
        assert told["shape"] == "x".join(map(str, node.shape))
        assert told["kind"] == type(node.layer).__name__
        assert (told["params"], told["nonzeros"]) == (counts.params, counts.nonzeros)
        assert told["fixed_nonzeros"] == counts.fixed_nonzeros
        assert sorted(source for source, _ in graph.in_edges(name)) == sorted(net.nodes[name].inputs)
    assert graph.nodes["twin"]["share"] == "wrapped"
    assert "share" not in graph.nodes["wrapped"]
    assert graph.number_of_edges("twin", "sum") == 2
    assert {edge["shape"] for *_, edge in graph.in_edges("dense", data=True)} == {"2x2x2"}


# ---------------------------------------------------------------------- files


def same(a, b):
    """Whether two graphs have equal nodes, edges, keys and attributes, with equal types."""
    nodes = [{name: typed(data) for name, data in graph.nodes(data=True)} for graph in (a, b)]
    edges = [{(u, v, key): typed(data) for u, v, key, data in graph.edges(keys=True, data=True)} for graph in (a, b)]
    return nodes[0] == nodes[1] and edges[0] == edges[1]


def typed(data):
    return {key: (type(value), value) for key, value in data.items()}


def read_gexf(path):
    """A graph from a file, without the labels and ids that networkx adds to what was written."""
    graph = nx.read_gexf(path)
    for _, data in graph.nodes(data=True):
        del data["label"]
    for *_, data in graph.edges(data=True):
        del data["id"]
    return graph


@pytest.mark.parametrize("kind", ["units", "units at a sample", "neighbourhood", "layers"])
def test_a_file_is_read_back_as_it_was(net, x, kind, tmp_path):
    graph = {
        "units": lambda: unit_graph(net),
        "units at a sample": lambda: unit_graph(net, x=x),
        "neighbourhood": lambda: unit_graph(net, "sum[1, 2, 2]", hops=3, x=x),
        "layers": lambda: layer_graph(net),
    }[kind]()
    assert any(key for *_, key in graph.edges(keys=True))
    assert max(graph.number_of_edges(u, v) for u, v in graph.edges()) > 1
    write_graph(graph, tmp_path / "net.graphml")
    assert same(nx.read_graphml(tmp_path / "net.graphml"), graph)
    write_graph(graph, str(tmp_path / "net.GEXF"))
    assert same(read_gexf(tmp_path / "net.GEXF"), graph)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.GEXF", "net.graphml"]


def test_every_edge_of_a_file_has_an_id_of_its_own(net, tmp_path):
    graph = unit_graph(net)
    for name in ("net.graphml", "net.gexf"):
        write_graph(graph, tmp_path / name)
        ids = re.findall(r"<edge [^>]*\bid=\"([^\"]*)\"", (tmp_path / name).read_text())
        assert len(ids) == len(set(ids)) == graph.number_of_edges()


def test_strange_names_and_values_survive(tmp_path):
    network = Network.sequential((2,), [Dense(2)], rng=0)
    network = network.add(Dense(1), name='a <b> & "ü"', rng=0)
    network = network.with_params({"dense1.bias": [np.nan, np.inf]})
    graph = unit_graph(network)
    for name, read in (("net.graphml", nx.read_graphml), ("net.gexf", nx.read_gexf)):
        write_graph(graph, tmp_path / name)
        back = read(tmp_path / name)
        assert list(back) == list(graph)
        values = [back.nodes[f"dense1[{i}]"]["bias_value"] for i in (0, 1)]
        np.testing.assert_array_equal(values, [np.nan, np.inf])


def test_what_cannot_be_written(net, tmp_path):
    graph = layer_graph(net)
    with pytest.raises(FileError, match=r"ends in .graphml or .gexf, got 'net.dot'; choose one of them"):
        write_graph(graph, tmp_path / "net.dot")
    with pytest.raises(FileError, match="save: expected an existing folder"):
        write_graph(graph, tmp_path / "no" / "net.gexf")
    with pytest.raises(ShapeError, match="write_graph: expected a networkx graph, got Network .*; make one with unit_"):
        write_graph(net, tmp_path / "net.gexf")
    graph.add_node("mine", array=[np.zeros(2)])
    for name in ("net.graphml", "net.gexf"):
        with pytest.raises(ShapeError, match="expected text, numbers and bools on nodes and edges, got what a file"):
            write_graph(graph, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
