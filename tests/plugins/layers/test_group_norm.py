"""Group, layer and instance normalisation against PyTorch."""

import numpy as np
import pytest
from simulator_plugins.layers.group_norm import GroupNorm, InstanceNorm, LayerNorm

from simulator import Catalog, Network, ShapeError

CATALOG = Catalog()
CASES = [
    (layer, shape)
    for shape in [(4,), (6, 5), (4, 3, 2), (2, 3, 1, 2)]  # of one sample
    for layer in [
        GroupNorm(1),
        GroupNorm(2, epsilon=1e-3),
        GroupNorm(shape[0]),
        LayerNorm(),
        LayerNorm(epsilon=0.1),
        InstanceNorm(),
        InstanceNorm(epsilon=1e-3, affine=True),
    ]
    if len(shape) > 1 or not (isinstance(layer, InstanceNorm) or layer == GroupNorm(shape[0]))
]


def alone(layer, shape, dtype="float64"):
    """A network that is nothing but the layer, with random params."""
    net = Network.input(shape, dtype=dtype).add(layer, name="norm", rng=0)
    rng = np.random.default_rng(0)
    return net.with_params({name: rng.standard_normal(array.shape) for name, array in net.params.items()})


def torch_function(torch, layer, x, weight, bias):
    functional = torch.nn.functional
    if isinstance(layer, GroupNorm):
        return functional.group_norm(x, layer.groups, weight, bias, layer.epsilon)
    if isinstance(layer, LayerNorm):
        return functional.layer_norm(x, x.shape[1:], weight, bias, layer.epsilon)
    return functional.instance_norm(x, weight=weight, bias=bias, eps=layer.epsilon)


@pytest.mark.parametrize(("layer", "shape"), CASES, ids=str)
def test_output_and_gradients_are_those_of_torch(layer, shape, torch, agree):
    rng = np.random.default_rng(1)
    x, dy = 3 * rng.standard_normal((3, *shape)) + 1, rng.standard_normal((3, *shape))
    net = alone(layer, shape)
    leaf = torch.tensor(x, requires_grad=True)
    params = {name: torch.tensor(array, requires_grad=True) for name, array in net.params.items()}
    y = torch_function(torch, layer, leaf, params.get("norm.weight"), params.get("norm.bias"))
    y.backward(torch.tensor(dy))
    for training in (False, True):
        trace = net.run(x, training=training)
        gradients = trace.backward(dy)
        agree(trace["norm"], y.detach().numpy())
        agree(gradients.inputs["input"], leaf.grad.numpy())
        assert gradients.params.keys() == params.keys()
        for name, theirs in params.items():
            agree(gradients.params[name], theirs.grad.numpy())


@pytest.mark.parametrize(
    ("layer", "module"),
    [
        (GroupNorm(2), lambda nn: nn.GroupNorm(2, 4)),
        (LayerNorm(), lambda nn: nn.LayerNorm((4, 3, 2))),
        (InstanceNorm(affine=True), lambda nn: nn.InstanceNorm2d(4, affine=True)),
        (InstanceNorm(), lambda nn: nn.InstanceNorm2d(4)),
    ],
    ids=["group", "layer", "instance-affine", "instance"],
)
def test_first_values_are_those_of_torch(layer, module, torch):
    net = Network.input((4, 3, 2)).add(layer, name="norm", rng=0)
    first = {name.removeprefix("norm."): array.tolist() for name, array in net.params.items()}
    assert first == {name: array.tolist() for name, array in module(torch.nn).state_dict().items()}


@pytest.mark.parametrize("layer", [GroupNorm(2), LayerNorm(), InstanceNorm()], ids=str)
def test_single_precision_stays_accurate_far_from_zero(layer):
    x = (1000 + np.random.default_rng(0).standard_normal((2, 4, 64, 64))).astype(np.float32)
    dy = np.random.default_rng(1).standard_normal(x.shape)
    single, double = (alone(layer, x.shape[1:], dtype).run(x) for dtype in ("float32", "float64"))
    pairs = [
        (single["norm"], double["norm"]),
        (single.backward(dy).inputs["input"], double.backward(dy).inputs["input"]),
    ]
    for ours, exact in pairs:
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, exact, rtol=0, atol=2e-6 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("layer", "params"),
    [(GroupNorm(2), 8), (LayerNorm(), 48), (InstanceNorm(), 0), (InstanceNorm(affine=True), 8)],
    ids=str,
)
def test_only_params_are_counted_and_there_is_no_matrix(layer, params):
    counts = layer.counts((4, 3, 2))
    assert (counts.params, counts.nonzeros, counts.connections, counts.macs) == (params, 0, 0, 0)
    assert layer.affine_at({}, {}, np.ones((4, 3, 2))) is None


@pytest.mark.parametrize("groups", [3, 8])
def test_groups_that_do_not_divide_are_refused(groups):
    with pytest.raises(ShapeError, match=f"group-norm groups: expected a divisor of 4 channels, got {groups}"):
        Network.sequential((4, 2), [GroupNorm(groups)])


@pytest.mark.parametrize("groups", [0, -2])
def test_a_number_of_groups_that_is_no_positive_integer_is_refused(groups):
    with pytest.raises(ShapeError, match="group-norm groups: expected an integer of at least 1"):
        Network.sequential((4, 2), [GroupNorm(groups)])


@pytest.mark.parametrize("epsilon", [0, -1e-5, float("inf")])
@pytest.mark.parametrize(("name", "arguments"), [("group-norm", (2,)), ("layer-norm", ()), ("instance-norm", ())])
def test_an_epsilon_that_is_not_positive_is_refused(name, arguments, epsilon):
    layer = CATALOG.make(name, *arguments, epsilon=epsilon)
    with pytest.raises(ShapeError, match=f"{name} epsilon: expected a small positive number"):
        Network.sequential((4, 2), [layer])


@pytest.mark.parametrize("shape", [(4,), (4, 1, 1)])
def test_one_site_per_channel_is_refused_as_by_torch(shape, torch):
    with pytest.raises(ShapeError, match="instance-norm: expected at least two sites per channel"):
        Network.sequential(shape, [InstanceNorm()])
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        torch.nn.functional.instance_norm(torch.ones(2, 4, 1, 1))
