"""simulator unit: its numbers are those of the lab, and what is no unit is refused in one line."""

import json

import pytest

from simulator import Units, save
from simulator.lab import incoming, outgoing, paths

SMALL = ("lenet5", "--input", "1x12x12", "-o", "width=0.3", "--data", "xo")


def test_what_a_unit_reads(run, network, data):
    found = incoming(network, "conv2[3, 1, 0]", data.inputs[2])
    status, out, _ = run("unit", *SMALL, "conv2[3, 1, 0]", "--sample", 2, "--limit", 3)
    assert status == 0
    assert out.startswith("conv2[3, 1, 0] of lenet5 (untrained: random weights), sample 2\n")
    for c in found.largest(3):
        row = [str(c.source), str(c.weight), *(f"{v:.6g}" for v in (c.value, c.input, c.product))]
        assert [" ".join(row).split()] == [line.split() for line in out.splitlines() if str(c.weight) in line]
    assert f"The 3 largest of {len(found.connections)} connections; --limit {len(found.connections)} lists all." in out
    assert f"{found.equation}, the same to " in out
    assert f"simulator unit lenet5 '{found.largest(1)[0].source}'" in out


def test_json_has_every_connection(run, network, data):
    found = incoming(network, "relu3[2]", data.inputs[0])
    report = json.loads(run("unit", *SMALL, "relu3[2]", "--json")[1])
    assert (report["total"], report["value"], report["bias"]) == (found.total, found.value, None)
    report = json.loads(run("unit", *SMALL, "dense1[2]", "--json")[1])
    products = [c["product"] for c in report["connections"]]
    assert len(products) == len(incoming(network, "dense1[2]", data.inputs[0]).connections)
    assert sum(products) + report["bias"]["product"] == pytest.approx(report["value"], rel=1e-12)
    assert report["bias"]["weight"] == "dense1.bias[2]"


def test_who_reads_a_unit(run, network, data):
    status, out, _ = run("unit", *SMALL, "pool1[1, 2, 2]", "--outgoing", "--limit", 2)
    found = outgoing(network, "pool1[1, 2, 2]", data.inputs[0])
    assert status == 0
    assert out.count("conv2[") == 2
    assert f"{found!r}; its value is {found.value:.6g}." in out
    report = json.loads(run("unit", *SMALL, "pool1[1, 2, 2]", "--outgoing", "--json")[1])
    assert [c["product"] for c in report["connections"]] == [c.product for c in found.largest()]
    assert "Outgoing of dense3[1]: 0 connections; its value is " in run("unit", *SMALL, "dense3[1]", "--outgoing")[1]


def test_what_a_unit_sees_and_reaches(run, network):
    status, out, _ = run("unit", *SMALL, "conv2[3, 1, 0]", "--field")
    counts = paths(network, "conv2[3, 1, 0]")
    assert status == 0
    field = network.receptive_field("conv2[3, 1, 0]")
    assert f"It sees {len(field.units)} of 144 units of input, within 0:1 x " in out
    assert f"Paths from there to it: {counts.sum():,}, at most {counts.max():,} from one unit." in out
    assert "It reaches 10 of 10 units of dense3, within 0:10." in out
    report = json.loads(run("unit", *SMALL, "conv2[3, 1, 0]", "--field", "--of", "pool1", "--json")[1])
    (seen,) = report["fields"]
    assert (seen["kind"], seen["of"], seen["paths"]) == (
        "receptive",
        "pool1",
        paths(network, "conv2[3, 1, 0]", "pool1").sum(),
    )
    (reached,) = json.loads(run("unit", *SMALL, "conv2[3, 1, 0]", "--field", "--of", "dense1", "--json")[1])["fields"]
    assert (reached["kind"], reached["units"]) == ("projective", 36)
    assert "sees" not in run("unit", *SMALL, "input[0, 1, 1]", "--field")[1]
    assert "It sees 1 of 144 units of input" in run("unit", *SMALL, "input[0, 1, 1]", "--field", "--of", "input")[1]


def test_a_field_of_a_large_net_needs_no_weights(run):
    status, out, _ = run("unit", "vgg16", "pool5[0, 3, 3]", "--field")
    assert status == 0
    assert "within 0:3 x 6:218 x 6:218; 212 x 212 sites away from the borders, stride 32 x 32." in out
    assert "at most" in out


def test_a_picture(run, tmp_path):
    pytest.importorskip("matplotlib")
    status, out, _ = run("unit", *SMALL, "conv2[3, 1, 0]", "--field", "--output", "field.png")
    assert status == 0
    assert "\nDrew field.png\n" in out
    assert (tmp_path / "field.png").read_bytes().startswith(b"\x89PNG")
    assert run("unit", *SMALL, "conv2[3, 1, 0]", "--field", "--of", "pool1", "--output", "field.svg")[0] == 0


def test_a_unit_that_nothing_passes(run, network, data):
    closed = Units.of(network.nodes, ("conv1", int(network.run(data.inputs[:1])["conv1"].argmin())))
    relu = str(closed).replace("conv1", "relu1")
    out = run("unit", *SMALL, relu)[1]
    title = f"{relu} of lenet5 (untrained: random weights), sample 0"
    assert out.splitlines() == [title, "It reads nothing at this sample; its value is 0."]
    out = run("unit", *SMALL, str(closed), "--outgoing")[1]
    assert "source" not in out and "At this sample nothing reads it: a ReLU that gives 0 reads nothing" in out
    assert "At this sample" not in run("unit", *SMALL, "dense3[1]", "--outgoing")[1]


def test_a_saved_network(run, network, data):
    save("net.safetensors", network)
    status, out, _ = run("unit", "net.safetensors", "conv2[3, 1, 0]", "--data", "xo")
    assert status == 0
    assert incoming(network, "conv2[3, 1, 0]", data.inputs[0]).equation in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["conv9[0, 0, 0]"], "network: expected a node, got 'conv9'; did you mean 'conv"),
        (["conv1"], "unit: expected a single unit, got conv1, which is "),
        (["conv1[0, 99, 0]"], "unit conv1[0, 99, 0]: expected a position (channel, *space) within "),
        (["input[0, 0, 0]"], "expected a unit that a layer computes, got one of an input; choose a later node"),
        (["conv1[0, 0, 0]", "--of", "input"], "--of: expected --field with it, got none; add it"),
        (["conv1[0, 0, 0]", "--field", "--outgoing"], "expected one question at a time, got --field, too"),
        (["conv1[0, 0, 0]", "--field", "--limit", "3"], "--limit: expected connections to count, got --field"),
        (["conv1[0, 0, 0]", "--field", "--of", "inputs"], "expected a node, got 'inputs'; did you mean 'input'?"),
        (["conv1[0, 0, 0]", "--sample", "1000"], "xo: expected a sample from 0 to 999, got 1000; choose one of them"),
        (
            ["conv1[0, 0, 0]", "--output", "field.jpg"],
            "save: expected a file that ends in .png, .svg or .pdf, got 'field.jpg'",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_no_unit(run, args, message):
    status, out, err = run("unit", *SMALL, *args)
    assert (status, out) == (2, "")
    assert message in err
    assert len([line for line in err.splitlines() if line.startswith("Error: ")]) == 1


def test_a_layer_without_products(run):
    status, _, err = run("unit", "lenet5-1998", "c1-tanh[0, 0, 0]")
    assert status == 2
    assert "got ScaledTanh(), whose value is no sum of products; look at its slopes with influence" in err
