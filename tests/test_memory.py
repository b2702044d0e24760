"""What would not fit into memory is refused with an estimate, before any is touched."""

from __future__ import annotations

import builtins
import math
import os
import subprocess
import sys
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import simulator.memory
from simulator import (
    Catalog,
    ChannelGroups,
    Conv,
    Dense,
    ExplicitPattern,
    Network,
    SciPyEngine,
    ShapeError,
    TiedMatrix,
    Window,
    WindowPattern,
    Workspace,
)
from simulator.memory import available_memory, check_memory


@pytest.fixture
def a_gigabyte(monkeypatch):
    """A machine with 1 GB left."""
    monkeypatch.setattr(simulator.memory, "available_memory", lambda: 10**9)


@contextmanager
def refused(message):
    """A `ShapeError` with this message comes before 1 MB of memory is taken."""
    tracemalloc.start()
    try:
        with pytest.raises(ShapeError, match=message):
            yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1e6


def matrix(n_out, n_in):
    """A dense matrix (n_out, n_in) on one weight."""
    pattern = WindowPattern(ChannelGroups.full(n_out, 1), 1, np.arange(n_in)[None], n_in, (0, 0, 0))
    return TiedMatrix(pattern, np.ones(1, np.float32))


def test_what_fits_passes_and_what_does_not_is_estimated(a_gigabyte):
    check_memory(10**9, "this", "do that")
    with pytest.raises(ShapeError, match=r"^this: expected at most 1.0 GB of memory, got 1.5 GB; do that$"):
        check_memory(15 * 10**8, "this", "do that")
    with pytest.raises(ShapeError, match=r"got 3,000 GB; do that$"):
        check_memory(3 * 10**12, "this", "do that")


def written(root, files):
    """A tree of files, such as Linux shows under /proc and /sys/fs/cgroup."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MACHINE = {"meminfo": "MemTotal:       16000000 kB\nMemFree:  1 kB\nMemAvailable:    80000 kB\n"}


def left(tmp_path, proc, groups):
    written(tmp_path / "proc", {**MACHINE, **proc})
    written(tmp_path / "cgroup", groups)
    return available_memory(tmp_path / "proc", tmp_path / "cgroup")


def test_a_machine_without_limits(tmp_path):
    assert left(tmp_path, {}, {}) == 81_920_000


def test_the_second_version_of_control_groups(tmp_path):
    stat = "anon 700\nfile 300\ninactive_file 200\nactive_file 90\nslab_reclaimable 10\n"
    groups = {
        "memory.stat": stat,
        "pods/memory.max": "5000\n",
        "pods/memory.current": "1000\n",
        "pods/memory.stat": stat,
        "pods/mine/memory.max": "max\n",
        "pods/mine/memory.current": "900\n",
        "pods/mine/memory.stat": stat,
    }
    proc = {"self/cgroup": "0::/pods/mine\n"}
    assert left(tmp_path, proc, groups) == 5000 - 1000 + 200 + 90 + 10  # the group above is the one with a limit
    written(tmp_path / "cgroup", {"pods/mine/memory.max": "1500\n"})
    assert left(tmp_path, proc, {}) == 1500 - 900 + 300
    written(tmp_path / "cgroup", {"pods/mine/memory.max": "500\n"})  # lowered while in use
    assert left(tmp_path, proc, {}) == 0


@pytest.mark.parametrize("path", ["/", "/../..", "/docker/0123"])
def test_a_container_whose_own_group_is_the_root_of_what_it_sees(tmp_path, path):
    groups = {"memory.max": "30000000\n", "memory.current": "10000000\n", "memory.stat": "inactive_file 5\n"}
    assert left(tmp_path, {"self/cgroup": f"0::{path}\n"}, groups) == 20_000_005


def test_the_first_version_of_control_groups(tmp_path):
    groups = {
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "1\n",
        "memory/docker/ab/memory.limit_in_bytes": "30000000\n",
        "memory/docker/ab/memory.usage_in_bytes": "20000000\n",
        "memory/docker/ab/memory.stat": "inactive_file 1\ntotal_inactive_file 400\ntotal_active_file 30\n",
    }
    proc = {"self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/ab\n3:cpu:/docker/ab\n0::/\n"}
    assert left(tmp_path, proc, groups) == 10_000_430


def test_damaged_files_of_the_system_tell_nothing(tmp_path):
    proc = {"self/cgroup": "nonsense\n0::/a\n", "self/statm": "x\n"}
    assert left(tmp_path, proc, {"a/memory.max": "much\n", "a/memory.current": ""}) == 81_920_000


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells how much a process has mapped")
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_the_limits_of_the_process(limit):
    code = f"""
import resource
resource.setrlimit(resource.{limit}, (2 * 10**9, resource.getrlimit(resource.{limit})[1]))
from simulator.memory import available_memory
before = available_memory()
kept = bytearray(5 * 10**8)
print(before, available_memory())
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    before, after = map(int, told.split())
    assert 0 < after < before < 2 * 10**9
    assert before - after == pytest.approx(5 * 10**8, rel=0.05)


def test_memory_of_this_machine():
    assert 0 < available_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_memory_of_a_system_that_is_not_linux(monkeypatch, tmp_path):
    def without(name, *args, **kwargs):
        if name in ("psutil", "resource"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    real = builtins.__import__
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "psutil", SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=77)))
        assert available_memory(tmp_path, tmp_path) == 77
    monkeypatch.setattr(builtins, "__import__", without)
    assert available_memory(tmp_path, tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.delattr(os, "sysconf")
    assert available_memory(tmp_path, tmp_path) is None
    monkeypatch.setattr(simulator.memory, "available_memory", lambda: None)
    check_memory(10**18, "this", "nobody knows how much there is")


def test_a_matrix_in_csr_form(a_gigabyte):
    large = matrix(20_000, 10_000)  # 1.6 GB, and as much again to build
    with refused(
        r"^TiedMatrix.tocsr: expected at most 1.0 GB of memory, got 3.2 GB; read single rows and columns with "
    ):
        large.tocsr()
    with refused(
        r"^TiedMatrix.tocsr: expected at most 1,000 bytes, got a matrix of 1,600,080,004 bytes \(200,000,000 non"
    ):
        large.tocsr(max_bytes=1000)
    with refused("^Pattern.csr: expected at most 1.0 GB of memory"):
        _ = large.pattern.csr
    with refused("nonzeros share 1 weight, triplets: expected at most 1.0 GB of memory, got 4.8 GB"):
        large.pattern.triplets()
    for product in (lambda: large @ np.zeros(10_000), lambda: large.rmatvec(np.zeros(20_000))):
        with refused("^TiedMatrix.tocsr: expected at most 1.0 GB of memory"):
            product()


def test_the_csr_form_of_a_pattern_is_never_larger_than_4_gib(monkeypatch):
    monkeypatch.setattr(simulator.memory, "available_memory", lambda: 10**15)
    with refused(
        r"^Pattern.csr: expected at most 4,294,967,296 bytes, got a matrix of 8,000,400,004 bytes \(1,000,000,000"
    ):
        _ = matrix(100_000, 10_000).pattern.csr


def test_loosened_matrices(a_gigabyte):
    with refused("^TiedMatrix.untied: expected at most 1.0 GB of memory, got 1.3 GB; use a smaller layer"):
        matrix(2_000, 10_000).untied()
    with refused("^TiedMatrix.densified: expected at most 1.0 GB of memory, got 1.6 GB; use a smaller layer"):
        TiedMatrix(ExplicitPattern([0], [0], shape=(20_000, 10_000)), np.ones(1, np.float32)).densified()


def test_the_scipy_engine_builds_no_matrix_that_is_too_large(a_gigabyte):
    network = Network.sequential((10_000,), [Dense(20_000, bias=False)])
    weight = np.broadcast_to(np.float32(0), (20_000, 10_000))
    with refused("^Pattern.csr: expected at most 1.0 GB of memory, got 3.2 GB"):
        SciPyEngine(threads=2).apply(TiedMatrix(network.node("dense1").pattern, weight), np.zeros((10_000, 2), "f"))


def test_a_batch_beyond_memory_is_refused(a_gigabyte):
    network = Network.sequential((1000,), [Dense(100_000)], engine=Catalog().engine("blas"))
    network.check_batch(1000)  # 0.4 GB of weights, and as much of outputs
    message = "^network, a batch of 3000: expected at most 1.0 GB of memory, got 1.8 GB; give fewer samples at once$"
    with pytest.raises(ShapeError, match=message):
        network.check_batch(3000)
    network = network.with_engine(SciPyEngine())  # a CSR matrix holds three numbers for each nonzero
    other = r"use an engine that needs no CSR matrices \('blas' or 'auto'\), or a smaller network$"
    with pytest.raises(ShapeError, match=f"^network, a batch of 1: .* of memory, got 1.6 GB; {other}"):
        network.check_batch(1)
    shared = Network.sequential((64, 64, 64), [Conv(64, kernel=3)])
    with pytest.raises(ShapeError, match=f"^training in batches of 2: .* of memory, got 1.8 GB; {other}"):
        shared.check_training(2)
    shared.with_engine(Catalog().engine("blas")).check_training(2)
    network.with_engine(Catalog().engine("blas")).check_batch(1)
    wide = Network.sequential((10**6,), [Dense(300)], engine=Catalog().engine("blas"))
    with pytest.raises(ShapeError, match="^network, a batch of 1: .* got 1.2 GB; use smaller inputs or a smaller netw"):
        wide.check_batch(1)


def test_a_table_of_sites(a_gigabyte):
    with refused(r"^conv on \(10000, 10000\): expected at most 1.0 GB of memory, got 7.2 GB; use a smaller input"):
        Window(3, padding=1, who="conv").sites((10_000, 10_000))
    pattern = Network.sequential((1, 10_000, 10_000), [Conv(1, 3, padding=1)]).node("conv1").pattern
    with refused(r"^conv on \(10000, 10000\): expected"):
        _ = pattern.sites


def test_bytes_of_activations():
    network = Network.input((100,), dtype=np.float64).add(Dense(50), name="a").add(Dense(40), "input", name="b")
    network = network.add(Dense(10), "a", name="c")
    assert network.activation_bytes(3) == 3 * 8 * (100 + 50 + 40)  # b is an output and stays; then c needs 50 + 40 + 10
    assert network.activation_bytes(3, keep_all=True) == 3 * 8 * (100 + 50 + 40 + 10)
    assert network.subnetwork("c").activation_bytes(3) == 3 * 8 * (100 + 50)


def test_bytes_of_activations_of_vgg16():
    network = Catalog().build("vgg16", rng=None)
    largest = 64 * 224 * 224 * 4
    assert network.activation_bytes(8) == 8 * 2 * largest  # input and output of relu1_1, conv1_2 or relu1_2
    units = sum(math.prod(node.shape) for node in network.nodes.values())
    assert network.activation_bytes(8, keep_all=True) == 8 * 4 * units


def test_a_batch_that_does_not_fit(a_gigabyte):
    network = Network.sequential((1000,), [Dense(100_000, bias=False, init="zeros")])
    weight = np.broadcast_to(np.float32(0), (100_000, 1000))
    network = network.with_params({"dense1.weight": weight}, copy=False).with_engine(Catalog().engine("blas"))
    x = np.broadcast_to(np.float32(0), (3000, 1000))
    message = "^network, a batch of 3000: expected at most 1.0 GB of memory, got 1.4 GB; give fewer samples at once$"
    for run in (network.predict, network.run, lambda x: Workspace(network).run(network, x)):
        with pytest.raises(ShapeError, match=message):
            run(x)


def test_weights_that_do_not_fit(a_gigabyte):
    with refused("^dense1, weights: expected at most 1.0 GB of memory, got 4.0 GB; use a smaller layer, or rng=None"):
        Network.sequential((10_000,), [Dense(100_000)], rng=0)
    message = "^vgg16, 545,206,888 weights: expected at most 1.0 GB of memory, got 2.2 GB; use a smaller network, a"
    catalog = Catalog()
    with refused(message):
        catalog.build("vgg16", width=2.0, rng=0)
    with pytest.raises(ShapeError, match=r"^vgg16, 138,357,544 weights: .* got 1.7 GB; use a smaller network"):
        catalog.build("vgg16", rng=0, dtype="float64")  # drawn in float32, then cast
    catalog.build("vgg16", (3, 32, 32), rng=None, width=0.25).check_weights("vgg16")
