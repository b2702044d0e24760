"""Local response normalisation against PyTorch, the formula written out, and the paper's numbers."""

import numpy as np
import pytest
from simulator_plugins.layers.local_response_norm import LocalResponseNorm

from simulator import Catalog, Network, ShapeError

SHAPES = [(7, 3), (6, 2, 3), (1, 2, 2), (2, 2, 1, 3)]  # of one sample
OPTIONS = [
    {},
    {"size": 1, "alpha": 2.0},
    {"size": 3, "alpha": 0.7, "beta": 0.5, "k": 2.0},
    {"size": 2, "alpha": 0.5},
    {"size": 4, "alpha": 1.5, "beta": 1.3},
    {"size": 11, "alpha": 1.0},
    {"size": 5, "alpha": 0.0, "k": 3.0},
]


def run(options, x, dtype="float64"):
    net = Network.input(x.shape[1:], dtype=dtype).add(LocalResponseNorm(**options), name="lrn")
    return net.run(x)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_output_and_gradient_are_those_of_torch(shape, options, torch, agree):
    x, dy = np.random.default_rng(0).standard_normal((2, 3, *shape))
    leaf = torch.tensor(x, requires_grad=True)
    given = {"size": 5, **options}
    y = torch.nn.LocalResponseNorm(**given)(leaf)
    y.backward(torch.tensor(dy))
    trace = run(options, x)
    agree(trace["lrn"], y.detach().numpy())
    agree(trace.backward(dy).inputs["input"], leaf.grad.numpy())


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_without_space_it_is_the_formula(size, agree):
    x = np.random.default_rng(0).standard_normal((2, 6))
    expected = np.empty_like(x)
    for c in range(6):
        seen = x[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1]
        expected[:, c] = x[:, c] / (2 + 0.3 / size * np.sum(seen**2, axis=1)) ** 0.6
    agree(run({"size": size, "alpha": 0.3, "beta": 0.6, "k": 2.0}, x)["lrn"], expected)


def test_the_papers_alpha_is_not_divided_by_the_size(agree):
    x = 10 * np.random.default_rng(0).standard_normal((1, 96, 1, 1))
    squares = np.pad(x.ravel() ** 2, 2)
    expected = x.ravel() / (2 + 1e-4 * np.convolve(squares, np.ones(5), "valid")) ** 0.75
    agree(run({"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0}, x)["lrn"].ravel(), expected)


def test_single_precision_stays_single():
    x, dy = np.random.default_rng(0).standard_normal((2, 3, 8, 4)).astype(np.float32)
    single, double = (run({"alpha": np.float64(1)}, x, dtype) for dtype in ("float32", "float64"))
    pairs = [
        (single["lrn"], double["lrn"]),
        (single.backward(dy).inputs["input"], double.backward(dy).inputs["input"]),
    ]
    for ours, exact in pairs:
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, exact, rtol=0, atol=1e-6 * np.abs(exact).max())


def test_it_has_neither_params_nor_a_matrix():
    layer = LocalResponseNorm()
    assert layer.counts((6, 5, 5)).params == 0
    assert layer.affine_at({}, {}, np.ones((6, 5, 5))) is None


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_that_is_no_positive_integer_is_refused(size):
    with pytest.raises(ShapeError, match="local-response-norm size: expected an integer of at least 1"):
        Network.sequential((3, 2), [LocalResponseNorm(size=size)])


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"beta": -0.5}, {"k": 0}], ids=str)
def test_arguments_that_could_divide_by_zero_are_refused(options):
    with pytest.raises(ShapeError, match="expected alpha and beta of at least 0 and k above 0, got alpha="):
        Network.sequential((3, 2), [LocalResponseNorm(**options)])


def test_the_catalog_offers_it_by_name():
    assert Catalog().make("local-response-norm", 3) == LocalResponseNorm(size=3)
