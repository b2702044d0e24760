"""Writing: whole or not at all, to where links lead, with the rights that were there, and nothing left behind."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from matplotlib.figure import Figure

from simulator import Dense, FileError, Network, load, save
from simulator.draw import save as save_figure
from simulator.lab import write_graph
from simulator.writing import check_writable, write_atomically

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX files, links and signals")


def text(content):
    return lambda temporary: temporary.write_text(content)


def network(out=3):
    return Network.sequential((4,), [Dense(out)], rng=0)


def graph():
    made = nx.DiGraph()
    made.add_edge("a", "b")
    return made


WRITERS = {
    "network": ("n.safetensors", lambda path: save(path, network())),
    "figure": ("f.png", lambda path: save_figure(Figure(), path)),
    "graph": ("g.graphml", lambda path: write_graph(graph(), path)),
    "text": ("t.txt", lambda path: write_atomically(path, text("new"))),
}
writers = pytest.mark.parametrize(("name", "writer"), WRITERS.values(), ids=WRITERS.keys())


@writers
def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path, name, writer):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / name, tmp_path / name
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    writer(link)
    assert link.is_symlink()
    assert target.read_bytes() != b"old"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "there") == [name]


@writers
def test_a_link_to_nothing_yet_is_filled(tmp_path, name, writer):
    (tmp_path / name).symlink_to(tmp_path / "later")
    writer(tmp_path / name)
    assert (tmp_path / name).is_symlink()
    assert (tmp_path / "later").stat().st_size > 0


@writers
def test_what_is_no_regular_file_is_refused(tmp_path, name, writer):
    os.mkfifo(tmp_path / name)
    with pytest.raises(FileError, match=r"expected the name of a regular file, got .*, which is a device, a pipe or a"):
        writer(tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / name).stat().st_mode)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/null")
    with pytest.raises(FileError, match="expected the name of a regular file"):
        writer(tmp_path / name)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(FileError, match=r"save: expected the name of a file, got .*a \(.*\); choose another"):
        write_atomically(tmp_path / "a", text("x"))


def test_a_file_that_may_not_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "note").write_text("precious")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everything
    with pytest.raises(FileError, match="expected a file that may be written, got .*note, which may not; choose"):
        check_writable(tmp_path / "note")


def test_a_new_file_has_the_rights_that_the_process_gives(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "note", text("x"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "note").stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_is_kept(tmp_path):
    path = tmp_path / "note"
    path.write_text("old")
    os.chown(path, 12345, 23456)
    write_atomically(path, text("new"))
    assert (path.stat().st_uid, path.stat().st_gid, path.read_text()) == (12345, 23456, "new")


def test_file_and_folder_are_on_the_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace

    def noted(handle):
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else os.fstat(handle).st_size)
        fsync(handle)

    def renamed(self, target):
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr("os.fsync", noted)
    monkeypatch.setattr(Path, "replace", renamed)
    write_atomically(tmp_path / "note", text("12345"))
    assert steps == [5, "rename", "folder"]


KILLED = """
import os, sys, time
from pathlib import Path
from simulator.writing import write_atomically
def write(temporary):
    temporary.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
write_atomically(sys.argv[1], write)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_and_only_that(tmp_path):
    path = tmp_path / "net"
    path.write_text("old")

    def start():
        process = subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "writing\n"
        return process

    dead, living = start(), start()
    dead.kill()
    dead.communicate()
    assert len(os.listdir(tmp_path)) == 3
    try:
        write_atomically(path, text("new"))
        assert path.read_text() == "new"
        (part,) = (p for p in tmp_path.iterdir() if p != path)
        assert part.is_dir()  # of the living one
    finally:
        living.kill()
        living.communicate()
    for name in (".net.mine.part", ".other.abcdefgh.part"):
        (tmp_path / name).write_text("of somebody else")
    write_atomically(path, text("newer"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [".net.mine.part", ".other.abcdefgh.part", "net"]


def test_many_threads_write_to_one_path(tmp_path):
    path, failed = tmp_path / "net", []

    def write(number):
        try:
            for _ in range(20):
                write_atomically(path, text(str(number) * 1000))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(set(path.read_text())) == 1
    assert os.listdir(tmp_path) == ["net"]


FULL = """
import resource, signal, sys
from simulator import Dense, FileError, Network, save
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    save(sys.argv[1], Network.sequential((100,), [Dense(100)], rng=0))
except FileError as error:
    print(error)
"""


def test_a_full_disk_is_an_error_in_one_line_and_the_old_file_stays(tmp_path):
    path = tmp_path / "net"
    save(path, network())
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True)
    assert done.stdout == (
        f"save: expected to write {path}, got File too large (os error 27); free space or choose another place\n"
    )
    assert done.stderr == ""
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net"]
    np.testing.assert_array_equal(load(path).network.params["dense1.weight"], network().params["dense1.weight"])
