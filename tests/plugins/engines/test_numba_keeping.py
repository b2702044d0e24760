"""Where compiled loops are kept: somewhere that can be written to, and made anew where they are damaged."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest

from simulator import SimulatorError

pytest.importorskip("numba")

from numba import config
from numba.core import caching
from simulator_plugins.engines import numba_engine
from simulator_plugins.engines.numba_engine.keeping import _own_folder, called, compiled_loops


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No folder of numba's own can be written to; temporary files go to `tmp_path`."""

    def refuse(self):
        raise PermissionError("read-only")

    for locator in ("InTreeCacheLocator", "UserWideCacheLocator"):
        monkeypatch.setattr(
            getattr(caching, locator, None) or getattr(caching, f"_{locator}"), "ensure_cache_path", refuse
        )
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delitem(sys.modules, "simulator_plugins.engines.numba_engine.loops", raising=False)
    monkeypatch.delattr(numba_engine, "loops", raising=False)
    return tmp_path


def test_where_nothing_can_be_written_loops_are_kept_among_temporary_files(nowhere):
    with pytest.warns(RuntimeWarning, match="its compiled loops are kept in .*: numba's own folders cannot"):
        loops = compiled_loops()
    assert loops.address_of.stats.cache_path.startswith(str(nowhere))
    assert config.CACHE_DIR == ""  # others keep theirs where they did
    (folder,) = nowhere.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    assert _own_folder() == str(folder)  # the next process finds it again


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no owners of files")
def test_a_folder_that_others_can_write_to_is_not_used(nowhere):
    planted = nowhere / f"simulator-numba-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    assert _own_folder() != str(planted)


def test_no_folder_at_all_is_said_in_words(nowhere, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(nowhere / "missing"))
    message = (
        "engine numba: expected a folder to keep compiled loops in, .*; set NUMBA_CACHE_DIR to one, or choose another"
    )
    with pytest.raises(SimulatorError, match=message):
        numba_engine.NumbaEngine().warm_up()
    cure = nowhere / "cure"
    monkeypatch.setattr(config, "CACHE_DIR", str(cure))  # what numba makes of NUMBA_CACHE_DIR
    assert numba_engine.NumbaEngine()._loops.loops.address_of
    assert cure.is_dir()


def test_damaged_files_are_removed_and_loops_compiled_anew(tmp_path):
    loops = SimpleNamespace(address_of=SimpleNamespace(stats=SimpleNamespace(cache_path=str(tmp_path))))
    (tmp_path / "loops.product-1.py311.nbi").write_text("garbage")
    (tmp_path / "loops.product-1.py311.1.nbc").write_text("garbage")
    (tmp_path / "other.nbc").write_text("of somebody else")

    def product(number):
        for file in tmp_path.glob("loops.*"):
            pickle.loads(file.read_bytes())
        return 2 * number

    with pytest.warns(RuntimeWarning, match=r"compiled loops in .* were damaged and are compiled anew \(Unp"):
        assert called(loops, product, 21) == 42
    assert [file.name for file in tmp_path.iterdir()] == ["other.nbc"]
    assert called(loops, product, 2) == 4  # and not a word


def test_a_full_disk_stops_nobody(tmp_path):
    loops = SimpleNamespace(address_of=SimpleNamespace(stats=SimpleNamespace(cache_path=str(tmp_path))))
    unwritten = ["outer", "inner"]  # each is there once it has been compiled

    def product(number):
        if unwritten:
            raise OSError(28, f"No space left on device: {unwritten.pop()}")
        return 2 * number

    with pytest.warns(RuntimeWarning, match=r"compiled loops in .* cannot be kept \(OSError.*No space left"):
        assert called(loops, product, 21) == 42


def test_an_error_of_another_kind_is_not_hidden(tmp_path):
    loops = SimpleNamespace(address_of=SimpleNamespace(stats=SimpleNamespace(cache_path=str(tmp_path))))
    with pytest.raises(ZeroDivisionError):
        called(loops, lambda: 1 / 0)


SCRIPT = """
import numpy as np
from simulator import Catalog, Conv, Network
network = Network.sequential((1, 6, 6), [Conv(2, 3)], rng=0, engine=Catalog().engine("numba", threads=1))
print(network.predict(np.ones((1, 1, 6, 6))).sum())
"""


@pytest.mark.slow
def test_real_files_that_are_damaged(tmp_path):
    def run():
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        )

    first = run()
    for number, file in enumerate(sorted(tmp_path.rglob("*.nb[ci]"))):
        content = file.read_bytes()
        file.write_bytes([b"", b"garbage", content[: len(content) // 2], bytes(len(content))][number % 4])
    damaged, healed = run(), run()
    assert first.stdout == damaged.stdout == healed.stdout
    assert damaged.stderr.count("were damaged and are compiled anew") >= 1
    assert first.stderr == healed.stderr == ""
