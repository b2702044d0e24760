"""Batch normalisation against PyTorch in training and inference, and folded away without changing the function."""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from simulator_plugins.layers.batch_norm import BatchNorm, fold, freeze

from simulator import (
    SGD,
    Add,
    Catalog,
    ChannelGroups,
    Conv,
    ConvTranspose,
    Dataset,
    Dense,
    ExplicitPattern,
    LocallyConnected,
    MatrixLayer,
    Network,
    ReLU,
    ShapeError,
    SimulatorError,
    Sparse,
    Subsample,
    WindowPattern,
    train,
)
from simulator.files import load, save

SHAPES = [(4,), (3, 7), (2, 4, 5), (1, 1, 1), (2, 3, 1, 2)]  # of one sample
OPTIONS = [{}, {"momentum": 0.3, "epsilon": 1e-3}, {"momentum": 0.0}, {"momentum": 1.0}]


def randomised(network, seed=0):
    """The network with random params and running statistics."""
    rng = np.random.default_rng(seed)
    params = {name: rng.standard_normal(array.shape) for name, array in network.params.items()}
    buffers = {name: rng.uniform(0.5, 2, array.shape) for name, array in network.buffers.items()}
    return network.with_params(params).with_buffers(buffers)


def alone(shape, dtype="float64", **options):
    """A network that is nothing but the layer."""
    return randomised(Network.input(shape, dtype=dtype).add(BatchNorm(**options), name="bn", rng=0))


def torch_module(torch, network, options):
    """PyTorch's layer with the network's params and buffers."""
    space = len(network.input_shape) - 1
    kind = (torch.nn.BatchNorm1d, torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)[space]
    given = {"momentum": options.get("momentum", 0.1), "eps": options.get("epsilon", 1e-5)}
    module = kind(network.input_shape[0], dtype=torch.float64, **given)
    arrays = {**network.params, **network.buffers}
    module.load_state_dict({k.removeprefix("bn."): torch.tensor(a) for k, a in arrays.items()}, strict=False)
    return module


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_two_steps_and_then_inference_are_those_of_torch(shape, options, torch, agree):
    network = alone(shape, **options)
    module = torch_module(torch, network, options)
    rng = np.random.default_rng(1)
    for training in (True, True, False):
        x, dy = 3 * rng.standard_normal((6, *shape)) + 1, rng.standard_normal((6, *shape))
        module.train(training)
        module.zero_grad()
        leaf = torch.tensor(x, requires_grad=True)
        y = module(leaf)
        y.backward(torch.tensor(dy))
        trace = network.run(x, training=training)
        gradients = trace.backward(dy)
        agree(trace["bn"], y.detach().numpy())
        agree(gradients.inputs["input"], leaf.grad.numpy())
        agree(gradients.params["bn.weight"], module.weight.grad.numpy())
        agree(gradients.params["bn.bias"], module.bias.grad.numpy())
        agree(trace.buffers["bn.running_mean"], module.running_mean.numpy())
        agree(trace.buffers["bn.running_var"], module.running_var.numpy())
        network = network.with_buffers(trace.buffers)


def test_first_values_are_those_of_torch(torch):
    network = Network.sequential((3, 2), [BatchNorm()], rng=0)
    module = torch.nn.BatchNorm1d(3)
    first = {name.removeprefix("batchnorm1."): a.tolist() for name, a in {**network.params, **network.buffers}.items()}
    theirs = {name: a.tolist() for name, a in module.state_dict().items() if name != "num_batches_tracked"}
    assert first == theirs


def test_a_pullback_at_inference_does_not_know_of_later_buffers(agree):
    network = alone((2, 3))
    x, dy = np.random.default_rng(0).standard_normal((2, 4, 2, 3))
    trace = network.run(x)
    first = trace.backward(dy)
    network.with_buffers({"bn.running_mean": np.zeros(2)}).run(-x, training=True)
    agree(trace.backward(dy).params["bn.weight"], first.params["bn.weight"], 0)


def test_single_precision_stays_accurate_far_from_zero():
    x = (1000 + np.random.default_rng(0).standard_normal((64, 2, 16, 16))).astype(np.float32)
    dy = np.random.default_rng(1).standard_normal(x.shape)
    single, double = (alone((2, 16, 16), dtype).run(x, training=True) for dtype in ("float32", "float64"))
    pairs = [
        (single["bn"], double["bn"], 3e-5),  # the mean itself is rounded to 1000 * 2**-24
        (single.buffers["bn.running_var"], double.buffers["bn.running_var"], 5e-7),
        (single.backward(dy).inputs["input"], double.backward(dy).inputs["input"], 2e-6),
    ]
    for ours, exact, tolerance in pairs:
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, exact, rtol=0, atol=tolerance * np.abs(exact).max())


@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_changes_nothing(training):
    network = alone((2, 3, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace = network.run(np.zeros((0, 2, 3, 3)), training=training)
        gradients = trace.backward(np.zeros((0, 2, 3, 3)))
    assert trace["bn"].shape == gradients.inputs["input"].shape == (0, 2, 3, 3)
    assert {name: a.tolist() for name, a in trace.buffers.items()} == {
        name: a.tolist() for name, a in network.buffers.items()
    }
    assert not gradients.params["bn.weight"].any()


def test_one_value_per_channel_is_refused_in_training_only(torch):
    for shape in ((3,), (3, 1, 1)):
        network, x = alone(shape), np.ones((1, *shape))
        with pytest.raises(
            ShapeError, match=r"batch-norm: expected at least two values .* got one sample .*; choose a batch size that"
        ):
            network.run(x, training=True)
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            torch_module(torch, network, {})(torch.tensor(x))
        assert network.predict(x).shape == x.shape


def test_at_inference_it_is_a_diagonal_and_an_offset(agree):
    network = alone((2, 3))
    x = np.random.default_rng(0).standard_normal((1, 2, 3))
    node = network.node("bn")
    (matrix,), offset = node.layer.affine_at(node.params, node.buffers, x[0])
    assert matrix.shape == (6, 6)
    assert matrix.nnz == 6
    agree(matrix @ x.ravel() + offset, network.predict(x).ravel())


def test_only_its_params_are_counted():
    counts = BatchNorm().counts((6, 5, 5))
    assert (counts.params, counts.nonzeros, counts.connections, counts.macs) == (12, 0, 0, 0)


@pytest.mark.parametrize("options", [{"momentum": -0.1}, {"momentum": 1.1}], ids=str)
def test_a_momentum_that_is_no_share_is_refused(options):
    with pytest.raises(ShapeError, match="batch-norm momentum: expected a share from 0 to 1"):
        Network.sequential((3,), [BatchNorm(**options)])


@pytest.mark.parametrize("epsilon", [0, -1e-5, float("inf")])
def test_an_epsilon_that_is_not_positive_is_refused(epsilon):
    with pytest.raises(ShapeError, match="batch-norm epsilon: expected a small positive number"):
        Network.sequential((3,), [BatchNorm(epsilon=epsilon)])


def test_the_catalog_offers_it_by_name():
    assert Catalog().make("batch-norm", epsilon=1e-3) == BatchNorm(epsilon=1e-3)


# ---------------------------------------------------------------------- folding


def names(network, kind):
    return [name for name, node in network.nodes.items() if isinstance(node.layer, kind)]


def residual():
    """A small residual net with a normalisation behind every layer, of every kind that there is."""
    net = Network.input((2, 6, 5), "x", dtype="float64")
    layers = [
        ("conv1", Conv(4, kernel=3, padding=1, pad_value=0.7, bias=False)),
        ("bn1", BatchNorm()),
        ("relu1", ReLU()),
        ("conv2", Conv(4, kernel=3, padding=(1, 1), groups=2, bias="unit", pad_value=-1.5)),
        ("bn2", BatchNorm(epsilon=1e-2)),
    ]
    net = net.chain(layers, rng=0)
    net = net.add(Conv(4, kernel=1, bias=False), "relu1", name="skip", rng=1).add(BatchNorm(), name="bn3", rng=1)
    net = net.add(Add(), "bn2", "bn3", name="add").add(ReLU(), name="relu2")
    layers = [
        ("up", ConvTranspose(4, kernel=2, stride=2)),
        ("bn4", BatchNorm()),
        ("local", LocallyConnected(3, kernel=3, stride=2, padding=1, pad_value=2.0)),
        ("bn5", BatchNorm()),
        ("bn6", BatchNorm(epsilon=0.1)),
        ("dense1", Dense(6, bias=False)),
        ("bn7", BatchNorm()),
        ("relu3", ReLU()),
        ("dense2", Dense(5)),
    ]
    return randomised(net.chain(layers, rng=2))


def test_folding_a_residual_net_leaves_its_function(agree):
    net = residual()
    before = {name: array.copy() for name, array in {**net.params, **net.buffers}.items()}
    folded = fold(net)
    x = np.random.default_rng(3).standard_normal((3, 2, 6, 5))
    agree(folded.predict(x), net.predict(x))
    assert names(folded, BatchNorm) == ["bn4"]  # behind the transposed convolution
    assert names(folded, object) == [n for n in names(net, object) if not n.startswith("bn") or n == "bn4"]
    assert folded.node("add").node.inputs == ("conv2", "skip")
    assert folded.buffers.keys() == {"bn4.running_mean", "bn4.running_var"}
    assert folded.outputs == ("dense2",)
    assert folded.node("conv1").layer.bias is True
    assert folded.node("conv2").layer == net.node("conv2").layer
    agree(folded.params["dense2.weight"], before["dense2.weight"], 0)
    for name, array in {**net.params, **net.buffers}.items():
        agree(array, before[name], 0)
    assert repr(fold(folded)) == repr(folded)


def test_each_folded_layer_computes_what_its_normalisation_did(agree):
    net = residual()
    folded = fold(net)
    x = np.random.default_rng(3).standard_normal((3, 2, 6, 5))
    ours, theirs = folded.run(x), net.run(x)
    for new, old in {"conv1": "bn1", "conv2": "bn2", "skip": "bn3", "local": "bn6", "dense1": "bn7"}.items():
        agree(ours[new], theirs[old])


def test_precision_and_engine_are_kept():
    net = residual().with_dtype("float32")
    folded = fold(net)
    assert folded.dtype == np.float32
    assert folded.engine is net.engine
    x = np.random.default_rng(3).standard_normal((3, 2, 6, 5))
    scale = np.abs(net.predict(x)).max()
    np.testing.assert_allclose(folded.predict(x), net.predict(x), rtol=0, atol=1e-5 * scale)


def with_bn(net, source, name="bn"):
    return net.add(BatchNorm(), source, name=name, rng=0)


def read_by_another(net):
    net = with_bn(net.add(Conv(2, kernel=1), name="conv", rng=0), "conv")
    return net.add(Add(), "bn", "conv")


def an_output(net):
    net = with_bn(net.add(Conv(2, kernel=1), name="conv", rng=0), "conv").add(ReLU(), name="relu")
    return net.subnetwork(["relu", "conv"])


def itself_an_output(net):
    return with_bn(net.add(Conv(2, kernel=1), name="conv", rng=0), "conv")


def shared_weights(net):
    first = with_bn(net.add(Conv(2, kernel=1), name="conv", rng=0), "conv").add(ReLU(), name="relu")
    return with_bn(first.add(Conv(2, kernel=1), name="again", share="conv"), "again", "bn2").add(ReLU())


def shared_scales(net):
    first = with_bn(net.add(Conv(2, kernel=1), name="conv", rng=0), "conv").add(ReLU(), name="relu")
    second = first.add(Conv(2, kernel=1), name="again", rng=0).add(BatchNorm(), name="bn2", share="bn")
    return second.add(ReLU())


def an_explicit_pattern(net):
    rows, cols = np.indices((18, 18)).reshape(2, -1)
    layer = Sparse(ExplicitPattern(rows, cols, rows % 9, shape=(18, 18)), shape=(2, 3, 3), bias=True)
    return with_bn(net.add(layer, name="sparse", rng=0), "sparse").add(ReLU())


def a_window_that_channels_share(net):
    pattern = WindowPattern(ChannelGroups.full(2, 2), 2, np.arange(9)[:, None], 9, (0, 1, 0))
    return with_bn(net.add(Sparse(pattern, shape=(2, 3, 3)), name="sparse", rng=0), "sparse").add(ReLU())


def other_channels(net):
    pattern = WindowPattern(ChannelGroups.full(2, 2), 2, np.arange(9)[:, None], 9, (1, 0, 1))
    return with_bn(net.add(Sparse(pattern, shape=(3, 6)), name="sparse", rng=0), "sparse").add(ReLU())


@dataclass(frozen=True)
class Scale(MatrixLayer):
    """A trained factor per channel, and no bias to be had."""

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def weight_shape(self, input_shape):
        return input_shape[:1]

    def pattern(self, input_shape):
        return Subsample(1).pattern(input_shape)


def no_bias_to_be_had(net):
    return with_bn(net.add(Scale(), name="scale", rng=0), "scale").add(ReLU())


class Ones(Conv):
    """A convolution whose weight is not trained."""

    trained = False

    def fixed_weight(self, input_shape):
        return np.ones(self.weight_shape(input_shape))


def a_fixed_weight(net):
    return with_bn(net.add(Ones(2, kernel=2), name="ones", rng=0), "ones").add(ReLU())


def nothing_before(net):
    return with_bn(net, "x").add(ReLU())


@pytest.mark.parametrize(
    "build",
    [
        read_by_another,
        an_output,
        itself_an_output,
        shared_weights,
        shared_scales,
        an_explicit_pattern,
        a_window_that_channels_share,
        other_channels,
        no_bias_to_be_had,
        a_fixed_weight,
        nothing_before,
    ],
    ids=lambda build: build.__name__,
)
def test_where_folding_would_change_something_it_leaves_all_as_it_is(build):
    net = randomised(build(Network.input((2, 3, 3), "x", dtype="float64")))
    folded = fold(net)
    x = np.random.default_rng(0).standard_normal((2, 2, 3, 3))
    ours, theirs = folded.run(x), net.run(x)
    assert folded.outputs == net.outputs
    assert list(folded.nodes) == list(net.nodes)
    for name in net.nodes:
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_folding_keeps_all_inputs_outputs_and_shared_weights_elsewhere(agree):
    net = Network.input((2, 3), "left", dtype="float64").add_input((2, 3), "right")
    net = net.add(Conv(2, kernel=1), "left", name="conv", rng=0).add(
        Conv(2, kernel=1), "right", name="twin", share="conv"
    )
    net = net.add(Add(), "conv", "twin", name="add").add(Conv(3, kernel=2), name="mixed", rng=0)
    net = with_bn(net, "mixed").add(ReLU(), name="relu").add(Dense(2), "add", name="head", rng=0)
    net = randomised(net.subnetwork(["head", "relu"]))
    folded = fold(net)
    assert (folded.inputs, folded.outputs) == (("left", "right"), ("head", "relu"))
    assert folded.node("twin").owner == "conv"
    assert "bn" not in folded.nodes
    x = dict(zip(("left", "right"), np.random.default_rng(0).standard_normal((2, 4, 2, 3)), strict=True))
    for name, y in net.predict(x).items():
        agree(folded.predict(x)[name], y)


@pytest.mark.parametrize(
    "layer",
    [
        Conv(3, kernel=2, table=((0, 1), (1,), (1, 0)), padding=1, pad_value=0.5),
        Conv(4, kernel=2, groups=2, flip=True, bias=False),
        Subsample(2, bias=False),
        LocallyConnected(2, kernel=2, groups=2, bias=True),
        Dense(3, bias="unit"),
    ],
    ids=repr,
)
def test_folding_reaches_every_layer_whose_channels_have_weights_of_their_own(layer, agree):
    net = Network.input((2, 4, 4), dtype="float64").add(layer, name="first", rng=0).add(BatchNorm(), rng=0)
    net = randomised(net.add(ReLU(), name="relu"))
    folded = fold(net)
    assert list(folded.nodes) == ["input", "first", "relu"]
    x = np.random.default_rng(0).standard_normal((3, 2, 4, 4))
    agree(folded.predict(x), net.predict(x))


@pytest.mark.parametrize("change", [fold, freeze])
def test_folding_and_freezing_need_weights(change):
    net = Network.sequential((1, 4, 4), [Conv(2, kernel=3), BatchNorm(), ReLU()])
    with pytest.raises(SimulatorError, match="expected weights, got none"):
        change(net)


@pytest.mark.parametrize("engine", ["scipy", "blas", "numba", "auto"])
def test_a_frozen_layer_trains_as_that_of_torch_in_evaluation_mode(engine, engine_called, torch, agree):
    net = Network.sequential((2, 5, 4), [Conv(3, kernel=2), BatchNorm(), ReLU(), Dense(2)], rng=0, dtype="float64")
    net = freeze(randomised(net)).with_engine(engine_called(engine))
    modules = [torch.nn.Conv2d(2, 3, 2), torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.Flatten()]
    theirs = torch.nn.Sequential(*modules, torch.nn.Linear(36, 2)).double().train()
    names = {"0": "conv1", "1": "batchnorm1", "4": "dense1"}
    arrays = {**net.params, **net.buffers}
    state = {key: arrays.get(f"{names[key[0]]}{key[1:]}") for key in theirs.state_dict()}
    theirs.load_state_dict({k: torch.tensor(0 if a is None else a) for k, a in state.items()})
    theirs[1].eval()
    descent = torch.optim.SGD(theirs.parameters(), lr=0.1)
    rng = np.random.default_rng(1)
    data = Dataset(rng.standard_normal((6, 2, 5, 4)), rng.integers(2, size=6))
    *_, last = train(net, data, epochs=2, batch_size=6, optimizer=SGD(0.1))
    for _ in range(2):
        descent.zero_grad()
        scores = theirs(torch.tensor(data.inputs, dtype=torch.float64))
        torch.nn.functional.cross_entropy(scores, torch.tensor(data.targets)).backward()
        descent.step()
    for key, array in theirs.state_dict().items():
        if "num_batches" not in key:
            ours = {**last.network.params, **last.network.buffers}[f"{names[key[0]]}{key[1:]}"]
            agree(ours, array.numpy())
    for name, array in net.buffers.items():
        np.testing.assert_array_equal(last.network.buffers[name], array)


def test_what_is_frozen_and_left_out_of_training_stays_to_the_last_bit(tmp_path):
    net = Network.sequential((1, 4, 4), [Conv(2, kernel=3), BatchNorm(), Dense(2)], rng=0)
    data = Dataset(np.random.default_rng(0).standard_normal((8, 1, 4, 4)), np.arange(8) % 2)
    *_, measured = train(net, data, epochs=2, batch_size=4)
    save(tmp_path / "net.safetensors", freeze(measured.network))
    frozen = load(tmp_path / "net.safetensors").network
    *_, last = train(frozen, data, epochs=2, batch_size=1, trainable=["conv*", "dense*"])  # of one sample each
    for name in ("params", "buffers"):
        before, after = getattr(measured.network, name), getattr(last.network, name)
        same = [key for key in before if np.array_equal(before[key], after[key])]
        assert same == [key for key in before if key.startswith("batchnorm1")]


def test_freezing_keeps_what_the_network_computes_and_its_shared_weights(agree):
    net = Network.input((2, 3), "left", dtype="float64").add_input((2, 3), "right")
    net = net.add(BatchNorm(), "left", name="bn", rng=0).add(BatchNorm(), "right", name="twin", share="bn")
    net = randomised(net.add(Add(), "bn", "twin", name="sum").subnetwork(["sum", "bn"]))
    frozen = freeze(net)
    assert [node.layer for node in frozen.nodes.values()][2:4] == [BatchNorm(frozen=True)] * 2
    assert (frozen.inputs, frozen.outputs, frozen.node("twin").owner) == (net.inputs, net.outputs, "bn")
    x = dict(zip(("left", "right"), np.random.default_rng(0).standard_normal((2, 4, 2, 3)), strict=True))
    trace = frozen.run(x, training=True)
    for name, y in net.predict(x).items():
        agree(trace[name], y)
