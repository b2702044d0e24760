"""NaN, infinities, zeros and kinks: values and gradients are those of PyTorch, whatever the engine.

PyTorch is asked for one number at a time. Its vectorised loops differ from its own formulas in some slopes at NaN.
"""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, Conv, MaxPool, Network, ReLU, Workspace

CATALOG = Catalog()
POINTS = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 3, -3, 6, 0.5, -0.5, 1e3, -1e3, 1e30, -1e30, 1e-30, -1e-30]
TOLERANCE = {"float32": 1e-6, "float64": 1e-8}  # the slope of PyTorch's hard sigmoid is 1/6 in single precision
ACTIVATIONS = {
    "relu": lambda torch, x: torch.relu(x),
    "leaky-relu": lambda torch, x: torch.nn.functional.leaky_relu(x),
    "prelu": lambda torch, x: torch.nn.functional.prelu(x, torch.full((1,), 0.25, dtype=x.dtype)),
    "elu": lambda torch, x: torch.nn.functional.elu(x),
    "selu": lambda torch, x: torch.selu(x),
    "gelu": lambda torch, x: torch.nn.functional.gelu(x),
    "silu": lambda torch, x: torch.nn.functional.silu(x),
    "mish": lambda torch, x: torch.nn.functional.mish(x),
    "softplus": lambda torch, x: torch.nn.functional.softplus(x),
    "sigmoid": lambda torch, x: torch.sigmoid(x),
    "tanh": lambda torch, x: torch.tanh(x),
    "scaled-tanh": lambda torch, x: 1.7159 * torch.tanh(2 * x / 3),
    "hard-sigmoid": lambda torch, x: torch.nn.functional.hardsigmoid(x),
    "hard-tanh": lambda torch, x: torch.nn.functional.hardtanh(x),
    "hard-swish": lambda torch, x: torch.nn.functional.hardswish(x),
    "relu6": lambda torch, x: torch.nn.functional.relu6(x),
}
pytestmark = pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")


@pytest.fixture(params=["scipy", "blas", "numba", "auto"])
def engine(request, engine_called):
    return engine_called(request.param, threads=1)


def run(network, x, dy):
    """Output and gradient of the input, by the kernels that training uses."""
    trace = Workspace(network).run(network, x, backward=True)
    return trace[network.output_name].copy(), trace.backward(dy).inputs["input"]


def close(actual, expected, tolerance):
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite])
    assert np.all(np.abs(actual - expected)[finite] <= tolerance * np.maximum(1, np.abs(expected[finite])))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, dtype, engine, torch):
    values, slopes = [], []
    for point in POINTS:
        x = torch.tensor([point], dtype=getattr(torch, dtype), requires_grad=True)
        y = ACTIVATIONS[name](torch, x)
        y.backward(torch.full_like(x, -2))
        values.append(y.item())
        slopes.append(x.grad.item())
    network = Network.sequential((1, len(POINTS)), [CATALOG.make(name)], rng=0, dtype=dtype, engine=engine)
    for batch in (1, 40):  # fewer than a vector register holds, and more
        x = np.broadcast_to(np.array(POINTS), (batch, 1, len(POINTS)))
        y, dx = run(network, x, np.full(x.shape, -2.0))
        for sample in range(batch):
            close(y[sample, 0], np.array(values), TOLERANCE[dtype])
            close(dx[sample, 0], np.array(slopes), TOLERANCE[dtype])


@pytest.mark.parametrize("name", ["relu", "relu6", "hard-tanh"])
def test_no_gradient_passes_a_flat_piece_not_even_an_infinite_one(name, engine):
    network = Network.sequential((1, 3), [CATALOG.make(name)], rng=0, engine=engine)
    x = np.broadcast_to([-7.0, 0.5, np.nan], (40, 1, 3))
    for dy in (np.inf, np.nan):
        _, dx = run(network, x, np.full(x.shape, dy))
        np.testing.assert_array_equal(dx, np.broadcast_to([0, dy, dy], x.shape))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("kernel", [2, (1, 2), 3])
def test_maxima(kernel, relu, engine, torch):
    """The last NaN of a window gets its gradient, or else the first of the largest."""
    rng = np.random.default_rng(0)
    x = rng.choice([np.nan, np.inf, -np.inf, 0.0, 1.0, 1.0, -1.0], (40, 2, 6, 6), p=[0.2, *[0.8 / 6] * 6])
    layers = [Conv(2, kernel=1, groups=2, bias=False), *[ReLU()] * relu, MaxPool(kernel)]
    network = Network.sequential((2, 6, 6), layers, rng=0, dtype="float64", engine=engine)
    network = network.with_params({"conv1.weight": np.ones((2, 1, 1, 1))})
    theirs = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.max_pool2d(torch.relu(theirs) if relu else theirs, kernel)
    dy = rng.standard_normal(y.shape)
    y.backward(torch.tensor(dy))
    for batch in (3, 40):
        got, dx = run(network, x[:batch], dy[:batch])
        np.testing.assert_array_equal(got, y.detach().numpy()[:batch])
        np.testing.assert_array_equal(dx, theirs.grad.numpy()[:batch])
