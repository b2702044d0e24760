"""What the tests of commands on units and weights share: running them, a small network, and small data."""

import pytest

from simulator import Catalog
from simulator.cli import main


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run ``simulator`` in an empty folder: status, output, errors."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        with pytest.raises(SystemExit) as end:
            main([*map(str, args)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return end.value.code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def network():
    """A small LeNet-5 in float64, that of `lenet5 --input 1x12x12 -o width=0.3`."""
    return Catalog().build("lenet5", (1, 12, 12), rng=0, dtype="float64", width=0.3)


@pytest.fixture(scope="session")
def data():
    """Samples for it."""
    return Catalog().load_data("xo", (1, 12, 12))
