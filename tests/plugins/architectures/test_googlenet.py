"""GoogLeNet, as published and as in torchvision: counts of every module, sizes, and heads that can be cut off."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, CosineDecay, CrossEntropy, Network, ShapeError, evaluate, train
from simulator.describe import describe

# Params, multiply-adds and nonzeros with 1000 classes at 3x224x224, and params with both heads.
PUBLISHED = {
    "googlenet": (6_998_552, 1_582_671_872, 1_504_618_240, 13_378_280),
    "googlenet-torchvision": (6_624_904, 1_498_376_192, 1_434_527_488, 13_004_888),
}
# Weights, biases and output of each module of the published net.
MODULES = {
    "3a": (163_328, 368, (256, 28, 28)),
    "3b": (388_096, 640, (480, 28, 28)),
    "4a": (375_552, 624, (512, 14, 14)),
    "4b": (448_512, 648, (512, 14, 14)),
    "4c": (509_440, 664, (512, 14, 14)),
    "4d": (604_672, 704, (528, 14, 14)),
    "4e": (867_328, 1_024, (832, 14, 14)),
    "5a": (1_042_432, 1_024, (832, 7, 7)),
    "5b": (1_442_816, 1_264, (1024, 7, 7)),
}
HEADS = {"aux1": 3_188_840, "aux2": 3_190_888}


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.fixture(scope="module", params=PUBLISHED)
def small(request, catalog):
    """A narrow net with its heads."""
    return catalog.build(request.param, (1, 32, 32), classes=5, rng=0, width=1 / 16, aux=True, dtype="float64")


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(4, 1, 32, 32))


def size_of(shapes, prefix, ending):
    return sum(int(np.prod(s)) for key, s in shapes.items() if key.startswith(prefix) and key.endswith(ending))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(catalog, name):
    totals = describe(catalog.build(name, classes=1000, rng=None)).totals
    with_heads = describe(catalog.build(name, classes=1000, rng=None, aux=True)).totals
    assert (totals.params, totals.macs, totals.nonzeros, with_heads.params) == PUBLISHED[name]


def test_published_modules(catalog):
    network = catalog.build("googlenet", classes=1000, rng=None, aux=True)
    shapes = network.param_shapes
    found = {
        name: (
            size_of(shapes, f"inception{name}-", ".weight"),
            size_of(shapes, f"inception{name}-", ".bias"),
            network.nodes[f"inception{name}"].shape,
        )
        for name in MODULES
    }
    assert found == MODULES
    assert {name: size_of(shapes, f"{name}-", "") for name in HEADS} == HEADS


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(catalog, name):
    nodes = catalog.build(name, classes=1000, rng=None, aux=True).nodes
    assert [nodes[n].shape[1] for n in ("conv1", "pool1", "pool2", "pool3", "pool4")] == [112, 56, 28, 14, 7]
    assert nodes["pool5"].shape == (1024, 1, 1)
    assert nodes["aux1-pool"].shape == (512, 4, 4)
    assert nodes["aux2-pool"].shape == (528, 4, 4)


def test_the_third_branch(catalog):
    paper = catalog.build("googlenet", rng=None).param_shapes
    today = catalog.build("googlenet-torchvision", rng=None).param_shapes
    assert paper["inception3a-5x5.weight"] == (32, 16, 5, 5)
    assert today["inception3a-3x3b.weight"] == (32, 16, 3, 3)


def test_cutting_off_the_heads_removes_them_and_nothing_else(small, x):
    assert small.outputs == ("classifier", "aux1-classifier", "aux2-classifier")
    cut = small.subnetwork("classifier")
    assert set(small.nodes) - set(cut.nodes) == {name for name in small.nodes if name.startswith("aux")}
    assert set(small.params) - set(cut.params) == {key for key in small.params if key.startswith("aux")}
    assert set(small.buffers) - set(cut.buffers) == {key for key in small.buffers if key.startswith("aux")}
    np.testing.assert_array_equal(cut.predict(x), small.predict(x)["classifier"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_one_seed_gives_one_trunk_with_and_without_heads(catalog, name):
    options = {"input_shape": (1, 32, 32), "classes": 5, "rng": 0, "width": 1 / 16}
    alone, with_heads = catalog.build(name, **options), catalog.build(name, **options, aux=True)
    assert all(np.array_equal(array, with_heads.params[key]) for key, array in alone.params.items())


@pytest.mark.parametrize(("head", "last"), [("aux1-classifier", "4a"), ("aux2-classifier", "4d")])
def test_a_head_alone_sends_gradients_into_the_trunk_below_it(small, x, head, last):
    trace = small.run(x, training=True, rng=0)
    gradients = trace.backward({head: CrossEntropy().grad(trace[head], np.array([0, 1, 2, 3]))}).params
    below = [*list(MODULES)[: list(MODULES).index(last) + 1], ""]
    names = {f"inception{name}-1x1" for name in below if name} | {"conv1", "conv2"}
    assert all(np.abs(gradients[f"{name}.weight"]).max() > 0 for name in names)
    above = [key for key in gradients if key.startswith(("inception5", "classifier"))]
    assert above
    assert not any(gradients[key].any() for key in above)


def test_losses_of_all_outputs_are_registered(catalog, small):
    for name in PUBLISHED:
        losses = catalog.architectures.entry(name).losses
        assert tuple(losses) == small.outputs
        assert losses["classifier"] == "cross-entropy"
        assert losses["aux1-classifier"] == losses["aux2-classifier"] == ("cross-entropy", 0.3)


@pytest.mark.slow
def test_all_three_classifiers_learn_and_the_heads_can_go(catalog):
    data = catalog.load_data("digits", (1, 32, 32)).take(np.arange(300))
    network = catalog.build("googlenet-torchvision", (1, 32, 32), classes=10, rng=0, width=1 / 8, aux=True)
    optimizer = catalog.optimizers["momentum"](CosineDecay(0.05, 20 * 10))
    objective = {
        "losses": {name: CrossEntropy() for name in network.outputs},
        "loss_weights": {"aux1-classifier": 0.3, "aux2-classifier": 0.3},
    }
    *_, epoch = train(network, data, epochs=20, batch_size=30, optimizer=optimizer, **objective)
    assert evaluate(epoch.network, data, **objective)["loss"] < 1.6 * np.log(10) / 10
    cut = epoch.network.subnetwork("classifier")
    np.testing.assert_array_equal(cut.predict(data.inputs), epoch.network.predict(data.inputs)["classifier"])
    assert evaluate(cut, data)["accuracy"] > 0.95


def test_a_module_of_pytorch_computes_the_same(catalog, torch, x):
    network = catalog.build("googlenet", (1, 32, 32), classes=5, rng=0, width=1 / 8, dtype="float64")
    functional = torch.nn.functional
    arrays = {key: torch.tensor(array) for key, array in network.params.items()}

    def conv(value, name, stride=1):
        weight = arrays[f"{name}.weight"]
        value = functional.conv2d(value, weight, arrays[f"{name}.bias"], stride, weight.shape[-1] // 2)
        return torch.relu(value)

    def pool(value):
        return functional.max_pool2d(value, 3, 2, ceil_mode=True)

    def norm(value):
        return functional.local_response_norm(value, 5, 1e-4, 0.75, 1.0)

    def module(value, name):
        b = f"inception{name}-"
        return torch.cat(
            [
                conv(value, f"{b}1x1"),
                conv(conv(value, f"{b}3x3-reduce"), f"{b}3x3"),
                conv(conv(value, f"{b}5x5-reduce"), f"{b}5x5"),
                conv(functional.max_pool2d(value, 3, 1, 1), f"{b}project"),
            ],
            dim=1,
        )

    value = norm(pool(conv(torch.tensor(x), "conv1", 2)))
    value = pool(norm(conv(conv(value, "conv2-reduce"), "conv2")))
    for name in MODULES:
        value = module(value, name)
        value = pool(value) if name in ("3b", "4e") else value
    value = value.mean(dim=(2, 3)) @ arrays["classifier.weight"].T + arrays["classifier.bias"]
    np.testing.assert_allclose(network.predict(x), value.numpy(), rtol=1e-9)


@pytest.mark.parametrize("size", [224, 299, 32])
def test_heads_of_torchvision_average_to_four_by_four(catalog, torch, agree, size):
    network = catalog.build("googlenet-torchvision", (3, size, size), classes=5, rng=None, width=1 / 16, aux=True)
    for source, head in (("inception4a", "aux1-pool"), ("inception4d", "aux2-pool")):
        node = network.nodes[head]
        x = np.random.default_rng(0).standard_normal((1, *network.nodes[source].shape))
        alone = Network.sequential(x.shape[1:], [node.layer], dtype="float64")
        agree(alone.predict(x), torch.nn.functional.adaptive_avg_pool2d(torch.tensor(x), (4, 4)).numpy())
    assert network.param_shapes["aux1-dense.weight"] == (64, 8 * 4 * 4)


def test_it_builds_at_other_inputs_and_narrower(catalog):
    for shape, width in (((3, 32, 32), 1.0), ((1, 64, 48), 0.5), ((3, 35, 40), 1 / 256), ((3, 299, 299), 1.0)):
        network = catalog.build("googlenet", shape, classes=10, rng=None, width=width, aux=True)
        assert [network.nodes[name].shape for name in network.outputs] == [(10,)] * 3
        assert network.nodes["conv1"].shape[0] == max(1, round(64 * width))


@pytest.mark.parametrize("name", PUBLISHED)
def test_bad_arguments(catalog, name):
    with pytest.raises(ShapeError, match=f"{name}: expected an input .* of at least 32 x 32, got"):
        catalog.build(name, (3, 28, 28), rng=None)
    with pytest.raises(ShapeError, match=f"{name} width: expected a positive factor, got inf"):
        catalog.build(name, rng=None, width=float("inf"))
