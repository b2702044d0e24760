"""The experiment exact-algebra: each fact against another way to compute it, and what it says when one fails."""

import numpy as np
import pytest
from simulator_plugins.experiments.exact_algebra import _FIELDS, ExactAlgebra, _dot_tests, _singular_values, _spread

from simulator import Catalog, MatrixLayer

CATALOG = Catalog()


@pytest.mark.parametrize(("n", "k"), [(3, 3), (4, 5), (2, 2)])
def test_the_spread_is_that_of_a_sum_of_uniform_steps(n, k):
    weights = np.ones(1)
    for _ in range(n):
        weights = np.convolve(weights, np.full(k, 1 / k))
    at = np.arange(len(weights))
    assert _spread(n, k) == pytest.approx(np.sqrt(weights @ (at - weights @ at) ** 2), rel=1e-12)


def test_the_published_spread():
    assert f"{_spread(*_FIELDS['10 layers of 3 x 3']):.4f}" == "2.5820"


def test_singular_values():
    own, other = _singular_values("circular", np.random.default_rng(0), size=5)
    assert own.shape == other.shape == (75,)
    np.testing.assert_allclose(own, other, rtol=0, atol=1e-12 * own[0])
    zeros, circular = _singular_values("constant", np.random.default_rng(0), size=5)
    np.testing.assert_array_equal(circular, other)  # of the same kernel
    assert np.abs(zeros - circular).max() > 0.01 * circular[0]


def test_the_dot_test_reaches_every_layer():
    fixed, chosen = (_dot_tests(CATALOG, kind, np.random.default_rng(0)) for kind in (True, False))
    matrices = {name for name, kind in CATALOG.layers.items() if issubclass(kind, MatrixLayer)}
    assert set(fixed) == matrices
    assert {"relu", "max-pool", "batch-norm", "add", "concatenate", "dropout", "prelu", "separable-conv"} <= set(chosen)
    assert not {"tanh", "softmax", "multiply"} & set(chosen)
    assert all(0 <= difference < 1e-12 for difference in (*fixed.values(), *chosen.values()))


def test_findings_of_a_wrong_number():
    experiment = ExactAlgebra()
    table = [{**c, "difference": 1e-15, "value": 2.582, "compared": 1} for c in experiment.conditions()]
    for row in table:
        if row["case"] == "zeros against the FFT":
            row["difference"] = 0.1
    assert all(finding.holds for finding in experiment.findings(table))
    table[0]["difference"] = 2e-12
    wrong = [finding for finding in experiment.findings(table) if not finding.holds]
    assert [finding.measured for finding in wrong] == ["largest difference 2.0e-12 in 4 comparisons"]
    table[0] |= {"difference": 0.0, "value": 0.0}  # behind dead units b is everything, and equal for nothing
    wrong = [finding for finding in experiment.findings(table) if not finding.holds]
    assert [finding.measured for finding in wrong] == ["at least 0 of the largest output in each net"]


@pytest.mark.parametrize("seed", range(3))
def test_no_matrix_is_zero(seed):
    experiment = ExactAlgebra()
    for condition in experiment.conditions():
        if condition["what"] == "f(x) = A x + b":
            (row,) = experiment.run(condition, seed, CATALOG)
            assert row["value"] > 0.5
            assert 0 < row["difference"] <= 1e-12
