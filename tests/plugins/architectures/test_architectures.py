"""The bundled architectures: shapes, errors, and that each of them learns."""

from __future__ import annotations

import numpy as np
import pytest
from simulator_plugins.architectures.lenet5_1998 import MaximumAPosteriori

from simulator import Catalog, CosineDecay, ReLU, ShapeError, train


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lenet5", {}),
        pytest.param("lenet5-1998", {}, marks=pytest.mark.slow),
        pytest.param("resnet8", {"width": 8}, marks=pytest.mark.slow),
    ],
)
def test_it_learns_at_the_learning_rate_that_it_declares(catalog, name, options):
    shape = catalog.default_shape(name)
    data = catalog.load_data("digits", shape).take(np.arange(400))
    lr = catalog.architectures.entry(name).lr or 0.05
    optimizer = catalog.optimizers["momentum"](CosineDecay(lr, 12 * 25))
    *_, epoch = train(catalog.build(name, **options), data, epochs=12, batch_size=16, optimizer=optimizer)
    assert epoch.metrics["accuracy"] >= 0.9


@pytest.mark.parametrize(
    "name",
    ["lenet5", "resnet8", "mlp", "alexnet", "alexnet-torchvision", "vgg11", "nin-cifar10", "all-cnn-c", "googlenet"],
)
def test_first_weights_in_front_of_a_relu_are_centred(catalog, name):
    """Without normalisation a row that sums to less than 0 may respond to no picture."""
    example = next(iter(catalog.architectures.entry(name).examples), {})
    network = catalog.build(name, **example)
    relus = [name for name in network.nodes if isinstance(network.node(name).layer, ReLU)]
    sources = [source for name in relus for source in network.graph.predecessors(name)]
    weights = [network.params[f"{source}.weight"] for source in sources if f"{source}.weight" in network.params]
    assert len(weights) >= 1
    for weight in weights:
        np.testing.assert_allclose(weight.reshape(len(weight), -1).sum(axis=1), 0, atol=1e-4)


def test_the_loss_of_1998_against_torch(torch, agree):
    rng = np.random.default_rng(0)
    logits, labels = -rng.uniform(0, 40, (6, 10)), rng.integers(0, 10, 6)
    leaf = torch.tensor(logits, requires_grad=True)
    everything = torch.cat([leaf, torch.full((6, 1), -7.0, dtype=leaf.dtype)], dim=1)  # rubbish is one more class
    theirs = (-leaf[range(6), labels] + torch.logsumexp(everything, dim=1)).mean()
    theirs.backward()
    loss = MaximumAPosteriori(rubbish=7)
    assert loss.value(logits, labels) == pytest.approx(theirs.item(), rel=1e-12)
    agree(loss.grad(logits, labels), leaf.grad.numpy())
    assert loss.grad(logits.astype(np.float32), labels).dtype == np.float32


def test_what_the_loss_of_1998_refuses():
    with pytest.raises(
        ShapeError, match="maximum-a-posteriori rubbish: expected a finite number of at least 0, got -1"
    ):
        MaximumAPosteriori(-1)
    with pytest.raises(ShapeError, match="maximum-a-posteriori: expected labels from 0 to 2, got 0 to 3"):
        MaximumAPosteriori().value(np.zeros((2, 3)), np.array([0, 3]))  # rubbish is no label


def test_1998_minimises_the_loss_of_its_paper(catalog):
    losses, _ = catalog.objective("lenet5-1998", catalog.build("lenet5-1998", rng=None))
    assert losses == {"output": MaximumAPosteriori()}


def test_the_output_of_1998_is_minus_the_squared_distance_to_a_code(catalog):
    layer = catalog.build("lenet5-1998", rng=None).node("output").layer
    codes = np.array([[1.0 if cell == "#" else -1.0 for cell in code] for code in layer.codes])
    assert codes.shape == (10, 84)
    assert len({tuple(code) for code in codes}) == 10
    x = np.random.default_rng(0).normal(size=(84, 3))
    y, _, _ = layer.forward({}, {}, x)
    np.testing.assert_allclose(y, -((x.T[None] - codes[:, None]) ** 2).sum(axis=2), rtol=1e-12)
    nearest, _, _ = layer.forward({}, {}, codes.T.copy())
    assert nearest.argmax(axis=0).tolist() == list(range(10))


def test_a_skip_adds_what_went_in(catalog):
    network = catalog.build("resnet8", rng=0)
    trace = network.run(np.random.default_rng(0).normal(size=(2, 1, 16, 16)))
    np.testing.assert_array_equal(trace["block1-add"], trace["block1-conv2"] + trace["relu"])
    np.testing.assert_array_equal(trace["block2-add"], trace["block2-conv2"] + trace["block2-skip"])
    assert trace["block3-relu2"].shape == (2, 64, 4, 4)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("lenet5", (1, 8, 8), "lenet5: expected an input .* of at least 12 x 12, got"),
        ("lenet5", (28, 28), "lenet5: expected an input"),
        ("lenet5-1998", (1, 30, 30), "lenet5-1998: expected an input of 1x32x32 or 1x28x28"),
        ("resnet8", (3, 2, 2), "resnet8: expected an input .* of at least 4 x 4, got"),
    ],
)
def test_inputs_that_do_not_fit(catalog, name, shape, message):
    with pytest.raises(ShapeError, match=message):
        catalog.build(name, shape)


def test_lenet5_of_1998_knows_ten_classes(catalog):
    with pytest.raises(ShapeError, match="expected at most 10 classes, it has ten output codes, got 11"):
        catalog.build("lenet5-1998", classes=11)
    assert catalog.build("lenet5-1998", classes=2).output_shape == (2,)


def test_rbf_wants_one_unit_per_cell(catalog):
    with pytest.raises(ShapeError, match=r"rbf: expected a flat input of \[2\] units"):
        catalog.make("rbf", ("##", "..")).output_shape((3,))
