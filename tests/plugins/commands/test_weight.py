"""simulator weight: its sums are the trained gradient, and what is no weight is refused in one line."""

import json

import pytest

from simulator import CrossEntropy, save
from simulator.lab import edited, gradient_of, uses

SMALL = ("lenet5", "--input", "1x12x12", "-o", "width=0.3")
DATA = ("--data", "xo")
NAME = "conv1.weight[0, 0, 2, 1]"


def test_a_gradient_is_a_sum(run, network, data):
    found = gradient_of(network, NAME, data.inputs[3:7], data.targets[3:7])
    status, out, _ = run("weight", *SMALL, NAME, *DATA, "--sample", 3, "--samples", 4, "--limit", 2)
    assert status == 0
    assert out.startswith(f"{NAME} of lenet5 (untrained: random weights), samples 3 to 6\n")
    for c, term in list(zip(found.connections, found.terms, strict=True))[:2]:
        words = f"{c.source} {c.target} {term:.6g}".split()
        assert words in [line.split() for line in out.splitlines()]
    count = len(found.terms)
    assert f"The 2 largest of {count} connections; --limit {count} lists all." in out
    assert (
        f"{count} terms add up to {found.total:.6g}; the gradient that training uses is {found.trained:.6g}: the" in out
    )
    report = json.loads(run("weight", *SMALL, NAME, *DATA, "--sample", 3, "--samples", 4, "--json")[1])
    assert report["ok"]
    assert report["trained"] == pytest.approx(found.trained, rel=1e-10)
    assert sum(c["term"] for c in report["connections"]) == pytest.approx(found.trained, rel=1e-10)


def test_a_sum_that_is_not_the_gradient_is_reported(run, monkeypatch):
    from simulator.lab import WeightGradient

    monkeypatch.setattr(WeightGradient, "total", property(lambda self: self.trained + 1))
    status, out, _ = run("weight", *SMALL, NAME, *DATA)
    assert status == 1
    assert "DIFFERENT by 1.0e+00." in out


def test_uses_need_no_data(run):
    status, out, _ = run("weight", *SMALL, "conv1.bias[1]", "--uses", "--limit", 2)
    assert status == 0
    assert out.endswith(
        "The first 2 of 144 connections; --limit 144 lists all.\nUses of conv1.bias[1]: 144 connections in conv1.\n"
    )
    report = json.loads(run("weight", "vgg16", "conv5_3.weight[3, 4, 1, 1]", "--uses", "--json")[1])
    assert (report["uses"], report["value"]) == (196, None)
    assert report["connections"][0] == {"source": "relu5_2[4, 0, 0]", "target": "conv5_3[3, 0, 0]"}


@pytest.mark.parametrize(("name", "what"), [(NAME, "nonzeros"), ("conv1.bias[1]", "biases")])
def test_what_another_value_changes(run, network, data, name, what):
    status, out, _ = run("weight", *SMALL, name, *DATA, "--set", "-2")
    value, count = uses(network, name).value, len(uses(network, name).connections)
    before, after = (
        CrossEntropy().value(n.predict(data.inputs[:1]), data.targets[:1]) for n in (network, edited(network, name, -2))
    )
    assert status == 0
    assert f"{count} {what} of conv1 change from {value:.6g} to -2.\n" in out
    assert out.endswith(f"The loss goes from {before:.6g} to {after:.6g}.\n")
    report = json.loads(run("weight", *SMALL, name, *DATA, "--set", "-2", "--json")[1])["set"]
    losses = report.pop("loss_before"), report.pop("loss_after")
    assert losses == pytest.approx((before, after), rel=1e-10)
    assert report == {"value": -2.0, what: {"conv1": count}}


def test_a_saved_network_in_its_own_precision(run, network):
    save("net.safetensors", network.with_dtype("float32"))
    status, out, _ = run("weight", "net.safetensors", NAME, *DATA, "--dtype", "float32")
    assert status == 0
    assert "the same to " in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["conv1.weight"], "weight: expected an address, got 'conv1.weight'; write for example "),
        (["conv1[0, 0, 0]"], "weight: expected an address, got 'conv1[0, 0, 0]'; write for example "),
        (["conv1.weight[0, 0, 9, 0]"], "expected one place within "),
        (["conv1.wieght[0]"], "expected one of the arrays of conv1, got 'wieght'; did you mean 'weight'?"),
        (["relu1.weight[0]"], "expected one of the arrays of relu1, got 'weight'; there are none"),
        ([NAME, "--set", "nan"], "expected a finite float64 number, got nan; give another"),
        ([NAME, "--set", "much"], "'much' is not a valid float"),
        ([NAME, "--uses", "--set", "3"], "--uses needs no data and changes nothing: leave out --set"),
        (
            [NAME, "--sample", "999", "--samples", "2"],
            "expected at most the samples from 0 to 999, got 999 to 1000",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_no_weight(run, args, message):
    status, out, err = run("weight", *SMALL, *args, *(() if "--uses" in args else DATA))
    assert (status, out) == (2, "")
    assert message in err
    assert len([line for line in err.splitlines() if line.startswith("Error: ")]) == 1


def test_a_network_that_knows_no_labels(run):
    status, _, err = run("weight", "autoencoder", "dense.weight[0, 0]")
    assert status == 2
    assert err.startswith("Error: cross-entropy: expected logits (batch, classes) and as many integer labels, got ")
