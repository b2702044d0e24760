"""simulator respond: its numbers are those of the lab."""

import json
import re

import numpy as np
import pytest

from simulator import Catalog
from simulator.lab import preferred_input, strongest

SMALL = ("lenet5", "--input", "1x12x12", "-o", "width=0.3", "--data", "xo", "--engine", "scipy")


def test_what_it_finds_is_what_the_lab_finds(run, tmp_path):
    network, data = Catalog().build("lenet5", (1, 12, 12), rng=0, width=0.3), Catalog().load_data("xo", (1, 12, 12))
    found = strongest(network, "conv1[1]", data, 3)
    unit = "conv1", found.fields[0].position
    climb = preferred_input(network, unit, x0=found.inputs[0], steps=5)
    status, out, _ = run("respond", *SMALL, "conv1[1]", "--limit", 3, "--steps", 5, "--json")
    told = json.loads(out)
    assert (status, told["unit"], told["data"]) == (0, "conv1[1]", "xo")
    for row, sample, value, field in zip(told["strongest"], found.samples, found.values, found.fields, strict=True):
        assert (row["sample"], row["label"]) == (sample, data.classes[data.labels[sample]])
        assert row["unit"] == f"conv1[{', '.join(map(str, field.position))}]"
        assert row["sees"] == [list(span) for span in field.box]
        np.testing.assert_allclose(row["response"], value, rtol=1e-6)
    np.testing.assert_allclose(told["preferred"]["response"], climb.value, rtol=1e-5)
    status, out, _ = run("respond", *SMALL, "conv1[1]", "--limit", 3, "--steps", 5, "--output", "r.png")
    assert out.startswith("conv1[1] of lenet5 (untrained: random weights): the strongest of 1,000 samples of xo\n")
    sees = " x ".join(f"{a}:{b}" for a, b in found.fields[0].box)
    position = ", ".join(map(str, found.fields[0].position))
    label = data.classes[data.labels[found.samples[0]]]
    row = f"{found.samples[0]} {label} {found.values[0]:.4g} conv1[{position}] {sees}"
    assert row.split() in map(str.split, out.splitlines())
    assert f"responds {climb.value:.4g} instead of {climb.history[0]:.4g}." in out
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    status, out, _ = run("respond", *SMALL, "conv1[1]", "--steps", 1)
    assert "\nNext, to see them: simulator respond lenet5 'conv1[1]' " in out
    assert out.endswith(" --steps 1 --output responses.png\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("conv9",), "network: expected a node, got 'conv9'; did you mean 'conv"),
        (
            ("conv1[9]",),
            "unit conv1[9]: expected a position (channel, *space) within (2, 12, 12), got [9]; count from 0",
        ),
        (("conv1[",), "unit: expected an address, got 'conv1['"),
        (("conv1[0]", "--limit", "0"), "0 is not in the range x>=1"),
        (("conv1[0]", "--output", "r.jpg"), "save: expected a file that ends in .png, .svg or .pdf, got 'r.jpg'"),
        (("conv1[0]", "--data", "digts"), "catalog: expected one of the datasets, got 'digts'; did you mean 'digits'?"),
    ],
)
def test_misfits(run, args, message):
    status, out, err = run("respond", *SMALL, *args)
    assert (status, out) == (2, "")
    assert message in err.splitlines()[-1]


def test_a_unit_that_never_responds_is_listed_and_what_it_reads_is_shown_next(run):
    from simulator import Catalog, save

    network = Catalog().build("lenet5", (1, 12, 12), rng=0, width=0.3)
    save("silent.st", network.with_params({"conv2.bias": np.full(5, -100.0)}))
    status, out, err = run("respond", "silent.st", "relu2[1]", "--data", "xo", "--steps", 5, "--engine", "scipy")
    assert status == 0, err
    last = out.splitlines()[-2:]
    assert re.fullmatch(r"No preferred input: at sample 0 the gradient of relu2\[1, 0, 0\] is 0\.", last[0])
    assert last[1] == "Next, what it reads: simulator respond silent.st 'conv2[1]' --data xo"
    assert json.loads(run("respond", "silent.st", "relu2[1]", "--data", "xo", "--json")[1])["preferred"] is None
    assert run("respond", "silent.st", "conv2[1]", "--data", "xo", "--steps", 5)[0] == 0
