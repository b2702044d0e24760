"""What all tests share: the switch for slow ones, reproducible examples, and two ways to compare arrays."""

import numpy as np
import pytest
from hypothesis import settings

from simulator import Catalog, NotInstalledError
from simulator.threads import available_cores

settings.register_profile("simulator", derandomize=True, deadline=None, max_examples=30)
settings.load_profile("simulator")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        skip = pytest.mark.skip(reason="slow; run with --slow")
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    """Text is as wide and as plain as in a pipe, whatever the variables of the terminal around the tests."""
    for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def torch():
    """PyTorch, on one thread; tests that ask for it are skipped where it is missing."""
    module = pytest.importorskip("torch")
    module.set_num_threads(1)
    return module


@pytest.fixture(scope="session")
def engine_called():
    """An engine by name; a test that asks for one whose library is not installed is skipped, and says so."""
    catalog = Catalog()

    def get(name, threads=None):
        try:
            return catalog.engine(name, None if threads is None else min(threads, available_cores()))
        except NotInstalledError as error:
            pytest.skip(str(error))

    return get


@pytest.fixture(scope="session")
def agree():
    """Assert that two arrays differ by at most 1e-12 of the largest magnitude."""

    def check(actual, expected, tolerance=1e-12):
        actual, expected = np.asarray(actual), np.asarray(expected)
        assert actual.shape == expected.shape
        scale = np.abs(expected).max(initial=0)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)

    return check


@pytest.fixture(scope="session")
def central_difference():
    """The gradient of a scalar function of one array, by central differences."""

    def gradient(function, x, step=1e-5):
        x = np.array(x, np.float64)
        slopes = np.empty(x.shape)
        for index in np.ndindex(x.shape):
            low, high = x.copy(), x.copy()
            low[index] -= step
            high[index] += step
            slopes[index] = (function(high) - function(low)) / (2 * step)
        return slopes

    return gradient
