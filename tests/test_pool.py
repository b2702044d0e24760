"""The pool: memory comes back when nobody refers to it, and never before."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from simulator.pool import Pool


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("shape", [7, (), (0, 3), (2, 3, 5)])
def test_arrays_are_like_those_of_numpy(shape, dtype):
    array = Pool().empty(shape, dtype)
    expected = np.empty(shape, dtype)
    assert (array.shape, array.dtype, array.nbytes) == (expected.shape, expected.dtype, expected.nbytes)
    assert array.flags.c_contiguous and array.flags.writeable
    assert array.ctypes.data % 64 == 0


def test_a_view_keeps_the_memory():
    pool = Pool()
    array = pool.empty((4, 5), np.float32)
    array[...] = 1
    view = array.reshape(20)[3:].view(np.int32)
    before = view.copy()
    where = array.ctypes.data
    del array
    other = pool.empty((4, 5), np.float32)
    other[...] = 2
    assert other.ctypes.data != where
    np.testing.assert_array_equal(view, before)
    del view
    assert pool.empty((4, 5), np.float32).ctypes.data == where


def test_the_same_requests_again_need_no_more_memory():
    pool = Pool()
    for _ in range(3):
        first = [pool.empty(n, np.float64) for n in (10, 1000, 50)]
        second = [pool.empty(n, np.float64) for n in (1000, 10)]
        del first, second
        pool.empty(1000, np.float64)
        if not _:
            used = pool.nbytes
    assert pool.nbytes == used


def test_small_arrays_do_not_take_large_memory():
    pool = Pool()
    large = pool.empty(10_000, np.uint8)
    del large
    before = pool.nbytes
    small = pool.empty(100, np.uint8)
    assert pool.nbytes == before + small.nbytes + 64


def test_an_array_outlives_its_pool():
    array = Pool().empty(100, np.float64)
    array[...] = 3
    np.testing.assert_array_equal(np.arange(100.0) * 0 + array, 3)


def test_threads_never_share_memory():
    pool, wrong = Pool(), []

    def work(number):
        for _ in range(500):
            array = pool.empty(64, np.int64)
            array[...] = number
            if not np.all(array == number):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
