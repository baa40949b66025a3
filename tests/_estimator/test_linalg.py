"""Threads of LAPACK: one for small matrices, and as many as before afterwards."""

import threading

import pytest
from threadpoolctl import ThreadpoolController

from kernelmill._estimator._linalg import lapack_threads


def blas():
    found = ThreadpoolController().select(user_api="blas").info()
    return [library["num_threads"] for library in found]


@pytest.fixture
def two():
    """Two threads to begin with, also where there is one processor."""
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        yield blas()


def test_small_matrices_take_one_thread(two):
    with lapack_threads(100):
        assert set(blas()) == {1}
        with lapack_threads(10):
            assert set(blas()) == {1}
        assert set(blas()) == {1}
    assert blas() == two
    with lapack_threads(5000):
        assert blas() == two


def test_an_error_gives_threads_back(two):
    with pytest.raises(ZeroDivisionError), lapack_threads(1):
        _ = 1 / 0
    assert blas() == two


def test_another_thread_leaves_the_limit_alone(two):
    """Whoever set it restores it: a second fit that ends later must not fix it for good."""
    inside, leave = threading.Event(), threading.Event()

    def other():
        with lapack_threads(1), lapack_threads(1):
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with lapack_threads(1):
        thread.start()
        assert inside.wait(30)
        assert set(blas()) == {1}
    assert blas() == two
    leave.set()
    thread.join()
    assert blas() == two
    with lapack_threads(1):
        assert set(blas()) == {1}
    assert blas() == two
