"""The command that gives graphs: pictures and files, what it prints, and what it refuses."""

from __future__ import annotations

import json

import networkx as nx
import numpy as np
import pytest

from simulator import Catalog, save
from simulator.lab import layer_graph, unit_graph

SMALL = ("--input", "1x12x12", "-o", "width=0.3")


@pytest.fixture
def network():
    return Catalog().build("lenet5", (1, 12, 12), rng=0, width=0.3)


def test_the_layers(run, tmp_path):
    pytest.importorskip("matplotlib")
    status, out, err = run("graph", "lenet5")
    assert (status, err) == (0, "")
    first, second = out.splitlines()
    assert first == "Drew lenet5-graph.png: 13 nodes, 12 edges"
    assert (tmp_path / "lenet5-graph.png").read_bytes().startswith(b"\x89PNG")
    unit = second.partition("simulator graph lenet5 ")[2].strip("'")  # what it names is there
    assert run("graph", "lenet5", unit, "--output", "one.svg")[0] == 0
    assert (tmp_path / "one.svg").read_bytes().startswith(b"<?xml")


def test_files_hold_the_graphs_of_the_lab(run, network):
    status, out, _ = run("graph", "lenet5", "conv2[1, 1, 1]", *SMALL, "--hops", "2", "--output", "unit.graphml")
    graph = unit_graph(network, "conv2[1, 1, 1]", hops=2)
    assert (status, out) == (0, f"Wrote unit.graphml: {len(graph)} units, {graph.size()} connections\n")
    found = nx.read_graphml("unit.graphml", force_multigraph=True)
    assert set(found.edges(keys=True)) == set(graph.edges(keys=True))
    assert all("value" not in edge for *_, edge in found.edges(data=True))  # no weights were drawn
    assert run("graph", "lenet5", *SMALL, "--output", "layers.gexf")[0] == 0
    assert set(nx.read_gexf("layers.gexf")) == set(layer_graph(network))
    assert run("graph", "lenet5", "--units", *SMALL, "--output", "all.graphml")[0] == 0
    whole = unit_graph(network)
    assert nx.read_graphml("all.graphml", force_multigraph=True).number_of_edges() == whole.number_of_edges()


def test_a_sample_gives_values(run, network):
    save("net", network)
    data = Catalog().load_data("xo", (1, 12, 12))
    status, *_ = run("graph", "net", "pool1[0, 1, 1]", "--data", "xo", "--sample", "3", "--output", "unit.graphml")
    assert status == 0
    found = nx.read_graphml("unit.graphml", force_multigraph=True)
    value = network.run(data.inputs[3][None])["pool1"][0, 0, 1, 1]
    assert found.nodes["pool1[0, 1, 1]"]["value"] == pytest.approx(float(value))
    assert found.in_degree("pool1[0, 1, 1]") == 1


def test_a_saved_network_has_its_weights(run, network):
    save("net", network)
    run("graph", "net", "conv1[0, 6, 6]", "--output", "unit.graphml")
    edges = nx.read_graphml("unit.graphml", force_multigraph=True).in_edges("conv1[0, 6, 6]", data="value")
    np.testing.assert_allclose(sorted(v for *_, v in edges), sorted(network.params["conv1.weight"][0].ravel()))


def test_json(run):
    status, out, _ = run("graph", "lenet5", "conv1[0]", *SMALL, "--output", "unit.gexf", "--json")
    assert status == 0
    report = json.loads(out)
    graph = nx.read_gexf("unit.gexf")
    assert report == {
        "network": "lenet5",
        "untrained": True,
        "file": "unit.gexf",
        "what": "units",
        "nodes": len(graph),
        "edges": graph.number_of_edges(),
    }


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["lenet5", "conv9[0]"], "network: expected a node, got 'conv9'; did you mean 'conv"),
        (["lenet5", "conv1[9, 0, 0]"], "unit conv1[9, 0, 0]: expected a position (channel, *space) within (6, 28, 28)"),
        (
            ["lenet5", "--units"],
            "unit_graph: expected at most 100,000 edges, got 419,868; name the unit in the ",
        ),
        (
            ["lenet5", "conv1[0]", "--max-edges", "99"],
            "a middle of at most 99 units, got conv1[0], which is 784",
        ),
        (["lenet5", "conv1[0]", "--units"], "--units: expected no UNIT with it, got 'conv1[0]'; leave out one of them"),
        (["lenet5", "--hops", "2"], "--hops: expected a UNIT with it, got none; name one, such as 'conv1[0, 3, 4]'"),
        (
            ["lenet5", "--sample", "2"],
            "--data, --sample: expected a UNIT or --units with it, got none; layers ",
        ),
        (["lenet5", "conv1[0, 1, 1]", "--sample", "9999"], "digits: expected a sample from 0 to "),
        (["lenet5", "conv1[0, 1, 1]", "--hops", "0"], "0 is not in the range x>=1"),
        (
            ["lenet5", "--output", "net.dot"],
            "save: expected a file that ends in .png, .svg, .pdf, .graphml or .gexf, got 'net.dot'; choose one of them",
        ),
        (["lenet5", "--output", "no/net.gexf"], "save: expected an existing folder, got "),
        (["lenett"], "did you mean 'lenet5"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_refused(args, message, run, tmp_path):
    status, out, err = run("graph", *args)
    assert (status, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["lenet5", "mlp", "vgg11", "resnet18", "all-cnn-c", "lenet5-1998"])
def test_the_unit_that_is_named_next_can_be_drawn(run, name):
    pytest.importorskip("matplotlib")
    unit = run("graph", name, "--every-layer")[1].partition(f": simulator graph {name} ")[2]
    assert run("graph", name, unit.strip().strip("'"))[0] == 0


def test_a_graph_that_nobody_could_read_is_refused(run):
    pytest.importorskip("matplotlib")
    status, out, err = run("graph", "lenet5", "dense1[3]")
    assert (status, out) == (2, "")
    assert "expected at most 200 units in a layer and 2,000 connections, got 400 in flatten and 401; write" in err
    assert run("graph", "lenet5", "dense1[3]", "--output", "graph.graphml")[0] == 0
    assert run("draw", "lenet5", "dense1", "--what", "window", "--unit", "dense1[3]")[0] == 0
    assert "--every-layer: expected a graph of layers" in run("graph", "lenet5", "conv1[0]", "--every-layer")[2]
