"""Threads: slices that cover everything once, exceptions that travel, and BLAS that gets its threads back."""

import threading

import numpy as np
import pytest
import threadpoolctl

from simulator import Catalog, SciPyEngine, ShapeError
from simulator.threads import available_cores, check_threads, in_slices, one_blas_thread


@pytest.mark.parametrize("step", [None, 1, 3, 100])
@pytest.mark.parametrize("threads", [1, 2, 3, 50])
@pytest.mark.parametrize("total", [0, 1, 2, 7, 64])
def test_slices_cover_everything_exactly_once(total, threads, step):
    count = np.zeros(total, int)
    lengths = []

    def work(part):
        count[part] += 1
        lengths.append(part.stop - part.start)

    in_slices(work, total, threads, step)
    assert count.tolist() == [1] * total
    assert all(0 < n <= (step or -(-total // threads)) for n in lengths)


def test_slices_are_worked_on_at_the_same_time():
    meeting = threading.Barrier(2, timeout=30)
    seen = []

    def work(part):
        meeting.wait()  # breaks unless another thread comes here, too
        seen.append((part.start, threading.get_ident()))

    in_slices(work, 2, 2)
    assert sorted(start for start, _ in seen) == [0, 1]
    assert len({thread for _, thread in seen}) == 2


def test_one_thread_stays_at_home():
    seen = []
    in_slices(lambda part: seen.append((part.start, threading.get_ident())), 6, 1, step=2)
    assert seen == [(start, threading.get_ident()) for start in (0, 2, 4)]


def test_without_memory_for_more_threads_those_that_there_are_do_the_work(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    seen = []
    in_slices(lambda part: seen.append(part.start), 100, 100)  # more than have been started before
    assert sorted(seen) == list(range(100))


@pytest.mark.parametrize("kind", [IndexError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("at_home", [True, False])
def test_an_exception_travels_from_any_thread_and_nobody_works_on(kind, at_home):
    home, meeting = threading.get_ident(), threading.Barrier(2, timeout=30)
    working = set()

    def work(part):
        working.add(part.start)
        if part.start < 2:
            meeting.wait()
            if (threading.get_ident() == home) == at_home:
                raise kind("broken")
        working.remove(part.start)

    with pytest.raises(kind, match="broken"):
        in_slices(work, 1000, 2, step=1)
    assert len(working) == 1  # the slice that broke: no other was left half done


def test_slices_may_be_cut_into_slices():
    count = np.zeros((4, 50), int)

    def outer(rows):
        def inner(columns):
            count[rows, columns] += 1

        in_slices(inner, 50, 8, step=1)

    in_slices(outer, 4, 8, step=1)
    assert count.tolist() == np.ones((4, 50)).tolist()


# ---------------------------------------------------------------------- BLAS


def blas_threads():
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture
def three_blas_threads():
    """Three threads, whatever the environment asked for."""
    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        if set(blas_threads()) != {3}:
            pytest.skip("this BLAS has no number of threads to set")
        yield


def test_blas_has_one_thread_inside_and_its_own_again_outside(three_blas_threads):
    with one_blas_thread():
        assert set(blas_threads()) == {1}
        with one_blas_thread():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {3}


def test_blas_gets_its_threads_back_after_an_error(three_blas_threads):
    with pytest.raises(ZeroDivisionError), one_blas_thread(), one_blas_thread():
        raise ZeroDivisionError
    assert set(blas_threads()) == {3}


def test_the_last_of_several_threads_gives_blas_its_threads_back(three_blas_threads):
    entered, leave = threading.Event(), threading.Event()

    def other():
        with one_blas_thread():
            entered.set()
            assert leave.wait(30)

    thread = threading.Thread(target=other)
    with one_blas_thread():
        thread.start()
        assert entered.wait(30)
    assert set(blas_threads()) == {1}  # the other one, which came later, is still inside
    leave.set()
    thread.join(30)
    assert set(blas_threads()) == {3}


def test_a_thread_that_comes_after_another_one_holds_blas_to_one_thread_too(three_blas_threads):
    with one_blas_thread():
        pass
    found = []

    def other():
        with one_blas_thread():
            found.extend(blas_threads())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(30)
    assert set(found) == {1}
    assert set(blas_threads()) == {3}


# ---------------------------------------------------------------------- numbers of threads


def test_none_stands_for_all_cores():
    assert check_threads(None, "engine") == available_cores() >= 1
    assert check_threads(3, "engine") == 3


@pytest.mark.parametrize("threads", [0, -2, 1.5, True, "all"])
def test_only_a_positive_integer_is_a_number_of_threads(threads):
    with pytest.raises(ShapeError, match="engine blas threads: expected"):
        check_threads(threads, "engine blas")


@pytest.mark.parametrize("threads", [3, 300, 100_000, 10**40])
def test_more_threads_than_cores_are_refused_where_one_asks_for_them(threads, monkeypatch):
    monkeypatch.setattr("simulator.threads.available_cores", lambda: 2)
    for name in ("scipy", "blas", "auto"):
        message = rf"engine {name} threads: expected at most 2, the cores .* may use, got .*; ask for 2, or leave"
        with pytest.raises(ShapeError, match=message) as caught:
            Catalog().engine(name, threads)
        assert len(str(caught.value)) < 200
        assert Catalog().engine(name, 2).apply is not None  # the cure
        assert Catalog().engine(name).apply is not None
    assert repr(SciPyEngine(threads=3)) == "SciPyEngine(threads=3)"  # to repeat what was computed on other machines
