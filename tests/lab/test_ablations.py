"""Ablation: the same as clamping one part after the other, whatever is computed only once or not at all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from simulator import (
    Add,
    Catalog,
    Conv,
    CrossEntropy,
    Dataset,
    Dense,
    Network,
    ReLU,
    ShapeError,
    SquaredError,
    Units,
    UnknownNameError,
    accuracy,
)
from simulator.lab import ablation, ablations

CATALOG = Catalog()


@pytest.fixture(scope="module")
def net():
    return CATALOG.build("resnet8", (1, 8, 8), 10, 0, dtype="float64", width=2)


@pytest.fixture(scope="module")
def data():
    return CATALOG.load_data("digits").take(slice(50))


def one_by_one(net, data, addresses, values, loss):
    """Loss and accuracy by the plain loop."""
    for address, value in zip(addresses, values, strict=True):
        logits = net.predict(data.inputs, clamp={address: value})
        yield loss.value(logits, data.targets), accuracy(logits, data.targets)


def addresses_of(layer, by, shape):
    if by == "unit":
        return [f"{layer}[{', '.join(map(str, at))}]" for at in np.ndindex(shape)], shape
    if by == "channel":
        return [f"{layer}[{k}]" for k in range(shape[0])], shape[:1]
    return [f"{layer}[:, {', '.join(map(str, at))}]" for at in np.ndindex(shape[1:])], shape[1:]


@pytest.mark.parametrize("value", [0.0, 0.7, "mean"])
@pytest.mark.parametrize(("number", "by"), [*itertools.product([0, 8, -3], ["unit", "channel", "site"]), (-1, "unit")])
def test_it_is_the_plain_loop(net, data, agree, by, value, number, monkeypatch):
    layer = list(net.nodes)[number]
    shape = net.node(layer).shape
    monkeypatch.setattr(ablations, "_BYTES", 70 * net.activation_bytes(1))  # a few at once
    found = ablation(net, data, layer, by, value=value, batch_size=20)
    addresses, sizes = addresses_of(layer, by, shape)
    values = [value] * len(addresses)
    if value == "mean":
        means = net.run(data.inputs)[layer].mean(axis=0)
        values = [means[Units.of(net.nodes, address).slices] for address in addresses]
    losses, hits = zip(*one_by_one(net, data, addresses, values, CrossEntropy()), strict=True)
    assert found.loss.shape == found.accuracy.shape == found.harm.shape == sizes
    agree(found.loss, np.reshape(losses, sizes))
    agree(found.accuracy, np.reshape(hits, sizes))
    logits = net.predict(data.inputs)
    agree(found.loss_before, CrossEntropy().value(logits, data.targets))
    agree(found.accuracy_before, accuracy(logits, data.targets))
    agree(found.harm, found.loss - found.loss_before)


@pytest.mark.parametrize("engine", ["blas", "auto"])
def test_other_engines(net, data, agree, engine):
    other = net.with_engine(CATALOG.engine(engine))
    for layer in list(net.nodes)[1:4]:
        agree(ablation(other, data, layer, "channel").loss, ablation(net, data, layer, "channel").loss, 1e-10)


def test_the_layers_before_are_computed_once(data):
    class Counting(CATALOG.engines["scipy"]):
        products = ()

        def apply(self, matrix, x):
            self.products += ((matrix.shape, x.shape[1]),)
            return super().apply(matrix, x)

    engine = Counting()
    net = Network.sequential((1, 8, 8), [Conv(3, 3), ReLU(), Dense(7), ReLU(), Dense(10)], rng=0, engine=engine)
    ablation(net, data, "relu2", batch_size=25)
    assert [columns for shape, columns in engine.products if shape == (108, 64)] == [25, 25]
    last = [columns for shape, columns in engine.products if shape == (10, 7)]
    active = int(np.count_nonzero(net.run(data.inputs)["relu2"]))
    assert sum(last) == 50 + active < 50 + 7 * 50  # only samples in which the unit was not zero before


def test_what_reads_around_the_layer(data, agree):
    net = Network.input((1, 8, 8), dtype=np.float64).add(Conv(2, 3, padding=1), name="left", rng=0)
    net = net.add(Conv(2, 3, padding=1), "input", name="right", share="left").add(ReLU(), "left", name="relu")
    net = net.add(Add(), "relu", "right", name="sum").add(Add(), "sum", "left", name="again").add(Dense(10), rng=1)
    for layer in ("left", "relu", "right", "input"):
        found = ablation(net, data, layer, "channel")
        addresses, sizes = addresses_of(layer, "channel", net.node(layer).shape)
        losses, _ = zip(*one_by_one(net, data, addresses, [0] * len(addresses), CrossEntropy()), strict=True)
        agree(found.loss, np.reshape(losses, sizes))


def test_the_ranking_begins_with_the_most_harmful(net, data):
    layer = list(net.nodes)[2]
    found = ablation(net, data, layer, "site")
    ranking = list(found.ranking)
    assert [loss for _, loss, _ in ranking] == sorted(found.loss.ravel(), reverse=True)
    for units, loss, share in ranking[:3]:
        assert units.index[0] is None
        assert (found.loss[units.index[1:]], found.accuracy[units.index[1:]]) == (loss, share)
    assert repr(found) == (
        f"Ablation of {layer} by site, 50 samples: loss {found.loss_before:.4g}, at most {found.loss.max():.4g} "
        f"without one of {found.loss.size}, {ranking[0][0]}"
    )


def test_targets_that_are_no_labels(net, data, agree):
    targets = np.random.default_rng(0).standard_normal((50, 10))
    found = ablation(net, Dataset(data.inputs, targets), list(net.nodes)[4], "channel", loss=SquaredError())
    assert found.accuracy is None and found.accuracy_before is None
    agree(found.loss_before, SquaredError().value(net.predict(data.inputs), targets))
    assert next(found.ranking)[2] is None


def test_it_tells_how_far_it_is(net, data):
    told = []
    ablation(net, data, "input", "site", batch_size=30, on_batch=lambda *numbers: told.append(numbers))
    assert told[-1] == (128, 128)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_one_of_several_outputs(data):
    net = Network.input((1, 8, 8)).add(Dense(10), name="first", rng=0).add(Dense(10), "input", name="second", rng=0)
    with pytest.raises(ShapeError, match="network: expected one output, got 2"):
        ablation(net, data, "input")
    part = net.subnetwork("first")
    assert ablation(part, data, "first").loss.shape == (10,)
    with pytest.raises(UnknownNameError, match="expected a node, got 'second'"):
        ablation(part, data, "second")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "pixel"}, "ablation by: expected 'unit', 'channel' or 'site', got 'pixel'; choose"),
        ({"by": ["unit"]}, r"ablation by: expected 'unit', 'channel' or 'site', got \['unit'\]; choose"),
        ({"value": "median"}, "ablation input value: expected a finite number or 'mean', got 'median'; 0 is usual"),
        ({"value": np.inf}, "ablation input value: expected a finite number or 'mean', got inf"),
        ({"value": np.zeros(3)}, "ablation input value: expected a finite number or 'mean', got an array"),
        ({"batch_size": 0}, "ablation batch_size: expected an integer of at least 1, got 0"),
        ({"data": np.zeros((5, 1, 8, 8))}, "ablation data: expected a Dataset .* of one output, got ndarray; write"),
        ({"data": Dataset(np.zeros((5, 1, 8, 8)), {"a": np.zeros(5)})}, "one output, got Dataset with several; write"),
        (
            {"data": Dataset(np.zeros((5, 1, 9, 8)), np.zeros(5, int))},
            r"input: expected \(batch, 1, 8, 8\), got \(",
        ),
    ],
)
def test_misfits(net, data, arguments, message):
    arguments = {"data": data, "layer": "input", **arguments}
    with pytest.raises(ShapeError, match=message):
        ablation(net, **arguments)


def test_no_sites_and_no_use(net, data):
    with pytest.raises(ShapeError, match=r"expected a layer with sites, got the shape \(10,\); ablate its units"):
        ablation(net, data, net.output_name, "site")
    two = Network.input((1, 8, 8)).add(Dense(10), name="main", rng=0).add(Dense(2), "input", name="aside", rng=0)
    kept = two._replace(outputs=("main",))
    with pytest.raises(ShapeError, match="ablation aside: expected a layer that main needs, got one that it does not"):
        ablation(kept, data, "aside")
