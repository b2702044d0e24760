"""simulator affine: its numbers are those of the lab, and what is no matrix is refused in one line."""

import json

import pytest

from simulator.lab import affine, pieces

SMALL = ("lenet5", "--input", "1x12x12", "-o", "width=0.3", "--data", "xo")


def test_the_matrix_of_a_sample(run, network, data, tmp_path):
    found = affine(network, data.inputs[3])
    status, out, _ = run("affine", *SMALL, "--sample", 3, "--limit", 2, "--output", "rows.png")
    assert status == 0
    assert out.startswith(
        f"lenet5 (untrained: random weights) at sample 3: f(x) = A x + b; A is 10 x 144 with {found.A.nnz:,} nonzeros\n"
    )
    (row,) = (line.split() for line in out.splitlines() if line.split()[:1] == ["dense3[1]"])
    assert float(row[1]) == pytest.approx((found.A @ data.inputs[3].ravel())[1], rel=1e-5)
    assert row[3] == row[4] == f"{found.y[1]:.6g}"
    assert "dense3[2]" not in out
    assert "The first 2 of 10 outputs; --limit 10 lists all." in out
    (line,) = (line for line in out.splitlines() if line.startswith("Network and matrix differ by "))
    assert float(line.split()[5]) <= 1e-12
    assert (tmp_path / "rows.png").read_bytes().startswith(b"\x89PNG")


def test_json(run, network, data):
    report = json.loads(run("affine", *SMALL, "--json", "--line", 4, "relu3[:]")[1])
    found, crossed = affine(network, data.inputs[0], "relu3"), pieces(network, data.inputs[0], data.inputs[4], "relu3")
    assert (report["shape"], report["nonzeros"], report["exact"]) == (list(found.A.shape), found.A.nnz, True)
    assert report["difference"] <= 1e-12
    assert [row["unit"] for row in report["outputs"]] == [f"relu3[{i}]" for i in range(len(found.b))]
    assert [row["value"] for row in report["outputs"]] == pytest.approx(found.y.tolist(), abs=1e-12)
    assert [row["b"] for row in report["outputs"]] == pytest.approx(found.b.tolist(), abs=1e-12)
    line = report["line"]
    assert (line["to"], line["regions"], line["matrices"]) == (4, crossed.regions, crossed.matrices)
    assert line["breakpoints"] == pytest.approx(crossed.t.tolist(), abs=1e-9)
    assert line["layers"] == crossed.layers


def test_the_way_to_another_sample(run, network, data):
    crossed = pieces(network, data.inputs[1], data.inputs[2])
    out = run("affine", *SMALL, "--sample", 1, "--line", 2)[1]
    assert (
        f"On the way to sample 2: {crossed.regions:,} linear regions, {crossed.matrices:,} different matrices." in out
    )
    assert f"What switches the matrix: relu1 {crossed.layers['relu1']:,}, " in out


def test_a_curved_network_has_its_tangent(run):
    status, out, _ = run("affine", "lenet5-1998", "--jacobian", "c5[7]")
    assert status == 0
    assert "f(x) = A x + b, the tangent; A is 1 x 1024" in out
    again = "simulator affine lenet5-1998 'c5[7]' --jacobian"  # of which no line can be followed
    assert out.splitlines()[-1] == f"Next, to see the rows of A: {again} --output rows.png"
    assert "differ" not in out


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["lenet5-1998"], "output: expected a piecewise linear layer, got RBF, which is curved; take the Jacobian"),
        ([*SMALL, "--line", 1, "--jacobian"], "--line: expected a piecewise linear network, got --jacobian; leave one"),
        ([*SMALL, "conv9"], "network: expected a node, got 'conv9'; did you mean 'conv2' or 'conv1'?"),
        ([*SMALL, "conv1[9]"], "unit conv1[9]: expected a position (channel, *space) within (2, 12, 12)"),
        ([*SMALL, "--sample", 10**6], "xo: expected a sample from 0 to "),
        ([*SMALL, "--output", "rows.txt"], "save: expected a file that ends in .png, .svg or .pdf, got 'rows.txt'"),
    ],
)
def test_what_is_no_matrix_is_refused_in_one_line(run, args, complaint):
    status, out, err = run("affine", *args)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"Error: {complaint}")
