"""Pictures of graphs are read back: places, colours, names and lines must say what the graph says."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest

from simulator import AveragePool, Catalog, Conv, Dense, Flatten, MaxPool, Network, ReLU, ShapeError
from simulator.draw import draw_layer_graph, draw_unit_graph, draw_window
from simulator.lab import layer_graph, unit_graph, write_graph

pytest.importorskip("matplotlib")


def texts(figure):
    return {text.get_text(): text.get_position() for text in figure.axes[0].texts}


def caption(figure):
    return " ".join(figure.get_supxlabel().split())


def drawn(figure):
    """(start, end, colour, dashed) of every connection."""
    for lines in figure.axes[0].collections:
        dashed = lines.get_linestyle()[0][1] is not None
        for path, colour in zip(lines.get_segments(), lines.get_colors(), strict=True):
            yield tuple(path[0]), tuple(path[-1]), tuple(colour[:3]), dashed


def spots(figure):
    """Where the units stand in the order of the graph, and those of them that are marked."""
    units, marked = (line for line in figure.axes[0].lines if line.get_marker() == "o")
    return [list(zip(*line.get_data(), strict=True)) for line in (units, marked)]


@pytest.fixture(scope="module")
def net():
    layers = [Conv(2, 2), ReLU(), MaxPool(2, ceil=True), AveragePool(2), Dense(3)]
    return Network.sequential((1, 4, 4), layers, rng=0, dtype="float64")


def test_every_edge_is_a_line_in_the_colour_of_its_weight(net):
    graph = unit_graph(net)
    figure = draw_unit_graph(graph)
    places = dict(zip(graph, spots(figure)[0], strict=True))
    assert len(set(places.values())) == len(graph)
    edges = graph.edges(data=True)
    wanted = sorted((places[source], places[target], edge.get("name", "")) for source, target, edge in edges)
    lines = sorted(drawn(figure))
    assert [(source, target) for source, target, *_ in lines] == [(source, target) for source, target, _ in wanted]
    colours = {}
    for (*_, name), (*_, colour, dashed) in zip(wanted, lines, strict=True):
        assert colours.setdefault(name, colour) == colour
        assert not dashed
    assert len(set(colours.values())) == len(colours)
    assert {name.partition("[")[0] for name in colours} == {"conv1.weight", "averagepool1.fixed", "dense1.weight", ""}
    assert caption(figure) == "equal colours are equal weights · pale grey: no weight of its own"


def test_weights_of_two_layers_never_look_like_one():
    x = np.random.default_rng(0).normal(size=(1, 6, 6))
    network = Network.sequential((1, 6, 6), [Conv(2, 3), Conv(3, 2)], rng=0, dtype="float64")  # 42
    figure = draw_unit_graph(unit_graph(network, x=x))
    assert caption(figure) == "colours are values; different weights may have equal colours"
    graph = unit_graph(network, x=x)
    places = dict(zip(graph, spots(figure)[0], strict=True))
    (scale,) = figure.axes[0].child_axes
    colour = {
        (places[a], places[b]): scale._colorbar.mappable.to_rgba(e["value"])[:3] for a, b, e in graph.edges(data=True)
    }
    assert all(colour[a, b] == pytest.approx(c) for a, b, c, _ in drawn(figure))
    bare = draw_unit_graph(unit_graph(Network.sequential((1, 6, 6), [Conv(2, 3), Conv(3, 2)])))
    assert caption(bare) == "dark: connections; their 42 weights are more than colours can tell apart"
    assert len({c for *_, c, _ in drawn(bare)}) == 1


def test_layers_stand_from_left_to_right_and_channels_below_each_other(net):
    graph = unit_graph(net)
    figure = draw_unit_graph(graph)
    places = dict(zip(graph, spots(figure)[0], strict=True))
    for k, layer in enumerate(net.nodes):
        column = [places[unit] for unit, of in graph.nodes.data("layer") if of == layer]
        assert {x for x, _ in column} == {k}
        heights = [y for _, y in column]
        assert heights == sorted(heights)
        assert texts(figure)[f"{layer}\n{type(net.node(layer).layer).__name__}"][0] == k
    step = np.diff([places[f"conv1[{c}, {i}, {j}]"][1] for c, i, j in np.ndindex(2, 3, 3)])
    assert np.isclose(step[8], 1.7 * step[0])  # a gap between channels
    np.testing.assert_allclose(np.delete(step, 8), step[0])


def test_the_middle_is_marked_and_weights_are_named(net):
    x = np.random.default_rng(0).normal(size=(1, 4, 4))
    graph = unit_graph(net, "conv1[1, 2, 0]", x=x)
    figure = draw_unit_graph(graph)
    assert figure.get_suptitle().startswith("around conv1[1, 2, 0]: ")
    places, marked = spots(figure)
    assert marked == [places[list(graph).index("conv1[1, 2, 0]")]]
    assert all(f"[{told['position']}] = {told['value']:.3g}" in texts(figure) for _, told in graph.nodes(data=True))
    kernel = net.params["conv1.weight"][1, 0]
    entries, labels = figure.axes[0].get_legend_handles_labels()
    assert labels == [f"conv1.weight[1, 0, {i}, {j}] = {kernel[i, j]:.3g}" for i, j in np.ndindex(2, 2)]
    colours = {label: tuple(entry.get_color()) for label, entry in zip(labels, entries, strict=True)}
    place = dict(zip(graph, places, strict=True))
    for source, target, colour, _ in drawn(figure):
        if target == marked[0]:
            (edge,) = (edge for u, _, edge in graph.in_edges("conv1[1, 2, 0]", data=True) if place[u] == source)
            assert colours[f"{edge['name']} = {edge['value']:.3g}"] == colour


def test_several_units_in_the_middle(net):
    assert draw_unit_graph(unit_graph(net, "relu1[1]")).get_suptitle().startswith("around 9 units of relu1: 22 units")


def test_parallel_edges_are_dashed():
    network = Network.sequential((1, 2), [Conv(1, 3, padding=1, padding_mode="circular")], rng=0)
    figure = draw_unit_graph(unit_graph(network))
    assert [dashed for *_, dashed in drawn(figure)] == [False] * 4 + [True] * 2
    assert "dashed: one more connection of the same units" in caption(figure)


def test_a_skip_is_bent_around_what_it_passes():
    network = Network.sequential((1, 3), [ReLU()], rng=0)
    network = network.add(Catalog().make("add"), "input", "relu1")
    figure = draw_unit_graph(unit_graph(network))
    (lines, _) = figure.axes[0].collections
    lengths = [len(path) for path in lines.get_segments()]
    assert sorted(set(lengths)) == [2, 24]
    for path in lines.get_segments():
        if len(path) > 2:
            assert path[:, 1].min() < path[0, 1]


def test_layers_side_by_side_stand_in_one_column():
    network = Network.input((1, 4)).add(Conv(1, 1), "input", name="a").add(Conv(1, 1), "input", name="b")
    graph = unit_graph(network.add(Catalog().make("add"), "a", "b"))
    places = dict(zip(graph, spots(draw_unit_graph(graph))[0], strict=True))
    assert {places[f"{name}[0, {i}]"][0] for name in "ab" for i in range(4)} == {1}
    assert places["b[0, 0]"][1] > places["a[0, 3]"][1]


def test_a_large_graph_has_thin_lines_and_no_labels():
    network = Network.sequential((1, 8, 8), [Conv(4, 3), Flatten(), Dense(1)])
    figure = draw_unit_graph(unit_graph(network))
    assert set(texts(figure)) == {"input\nInput", "conv1\nConv", "flatten1\nFlatten", "dense1\nDense"}
    assert figure.axes[0].get_legend() is None
    assert figure.axes[0].collections[0].get_linewidths() == [0.7]
    assert "dark: connections; their 180 weights are more than colours can tell apart" in caption(figure)


def test_a_graph_that_nobody_could_read_is_refused_and_what_it_names_instead_works(tmp_path):
    network = Network.sequential((1, 12, 12), [Conv(4, 3), Flatten(), Dense(3)], rng=0)
    for of, told in (("dense1[0]", "got 400 in flatten1 and 400"), (None, "got 400 in conv1 and 5,200")):
        graph = unit_graph(network, of)
        with pytest.raises(ShapeError, match=f"{told}; write a file with write_graph .*, or draw one unit as a window"):
            draw_unit_graph(graph)
        write_graph(graph, tmp_path / "graph.graphml")
    draw_window(network, "dense1[0]", np.ones((1, 12, 12)))


@pytest.mark.parametrize("name", ["lenet5", "resnet8", "googlenet"])
def test_boxes_are_apart_and_lines_pass_between_them(name):
    network = Catalog().build(name, rng=None)
    graph = layer_graph(network)
    figure = draw_layer_graph(graph, every=True)
    assert figure.get_suptitle() == f"{len(network.nodes)} layers, {graph.size()} edge{'s'[: graph.size() != 1]}"
    place = {}
    for text, at in texts(figure).items():
        node, shape = text.split("  ")
        assert shape == graph.nodes[node]["shape"]
        place[node] = at
    assert set(place) == set(network.nodes)
    rows = {}
    for x, y in place.values():
        rows.setdefault(y, []).append(x)
    assert all(b - a > 1 for row in rows.values() for a, b in itertools.pairwise(sorted(row)))
    ends = []
    for line in figure.axes[0].lines:
        path = list(zip(*line.get_data(), strict=True))
        ends.append((path[0], path[-1]))
        assert [y for _, y in path] == list(range(path[0][1], path[-1][1] + 1))  # downwards, row by row
        assert all(abs(x - other) > 0.5 for x, y in path[1:-1] for other in rows[y])
    assert sorted(ends) == sorted((place[source], place[target]) for source, target in graph.edges(keys=False))


def test_layers_with_weights_are_blue():
    figure = draw_layer_graph(layer_graph(Catalog().build("resnet8", rng=None)), every=True)
    assert caption(figure) == "blue: with weights that training changes"  # this network has none yet
    for text in figure.axes[0].texts:
        red, green, blue, _ = text.get_bbox_patch().get_facecolor()
        assert (red < green < blue) == any(word in text.get_text() for word in ("conv", "dense", "skip"))


@pytest.mark.parametrize("name", ["lenet5", "resnet8", "resnet50", "googlenet", "vgg16"])
def test_a_longest_path_is_straight_and_no_box_is_lost(name):
    graph = layer_graph(Catalog().build(name, rng=None))
    figure = draw_layer_graph(graph)
    place = {text.split("  ")[0]: at for text, at in texts(figure).items() if "  " in text}
    heights = {y for _, y in place.values()}
    assert {y for x, y in place.values() if abs(x) < 1e-6} == heights == set(map(float, range(len(heights))))
    frames = figure.axes[0].patches
    inside = lambda y, frame: frame.get_y() < y < frame.get_y() + frame.get_height()  # noqa: E731
    several = [int(text.get_text()[2:]) for text in figure.axes[0].texts if text.get_text().startswith("× ")]
    layers = 0
    for text, (_, y) in place.items():
        count = [many for many, frame in zip(several, frames, strict=True) if inside(y, frame)]
        layers += len(text.split(" + ")) * (count or [1])[0]
    assert layers == len(graph)


def test_layers_that_act_unit_by_unit_share_a_box_and_equal_blocks_are_drawn_once():
    figure = draw_layer_graph(layer_graph(Catalog().build("resnet50", rng=None)))
    drawn = [text.get_text() for text in figure.axes[0].texts]
    assert "stage1-block2-conv1 + norm1 + relu1  64x56x56" in drawn
    assert "stage1-block1-add + relu  256x56x56" in drawn
    assert not any("stage1-block3" in text for text in drawn)
    assert [text for text in drawn if text.startswith("×")] == ["× 2", "× 3", "× 5", "× 2"]
    told = "blue: with weights that training changes · +: layers that act unit by unit"
    assert caption(figure) == f"{told} · dashed: equal blocks in a row, drawn once"


def test_what_is_read_twice_or_reads_two_keeps_its_box():
    net = Network.sequential((1, 4, 4), [ReLU(), Conv(2, 3), ReLU(), ReLU()])
    net = net.add(Catalog().make("add"), "relu2", "relu3")  # relu2 is read twice: relu3 is not all that becomes of it
    drawn = [text.get_text() for text in draw_layer_graph(layer_graph(net)).axes[0].texts]
    assert drawn == ["input  1x4x4", "relu1  1x4x4", "conv1 + relu2  2x2x2", "relu3  2x2x2", "add1  2x2x2"]


def test_networks_of_several_inputs_and_outputs_are_drawn():
    net = Network.input((2,)).add(ReLU(), name="a").add(ReLU(), "input", name="b")
    figure = draw_layer_graph(layer_graph(net.subnetwork(["a", "b"])))
    assert {text.get_text() for text in figure.axes[0].texts} == {"input  2", "a  2", "b  2"}


@pytest.mark.parametrize("draw", [draw_unit_graph, draw_layer_graph])
def test_what_is_no_such_graph(draw, net):
    what = draw.__name__.split("_")[1]
    other = layer_graph(net) if what == "unit" else unit_graph(net)
    for wrong in (net, other, nx.MultiDiGraph(), nx.path_graph(3)):
        message = f"draw {what} graph: expected a graph of {what}s, got .*; make one with simulator.lab.{what}_graph"
        with pytest.raises(ShapeError, match=message):
            draw(wrong)
