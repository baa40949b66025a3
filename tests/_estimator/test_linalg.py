"""Threads of LAPACK: one for small matrices, and as many as before afterwards."""

import os
import threading

import pytest
from threadpoolctl import ThreadpoolController

from kernelmill._estimator._linalg import _one_thread, lapack_threads


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_is_not_bound_to_a_thread_that_it_lacks(two):
    inside, leave = threading.Event(), threading.Event()

    def other():
        with lapack_threads(1):
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(30)
    child = os.fork()
    if child == 0:
        with lapack_threads(1):
            held = _one_thread._depth == 1 and set(blas()) == {1}
        os._exit(0 if held and not _one_thread._lock.locked() else 1)
    leave.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert blas() == two
    with lapack_threads(1):
        child = os.fork()
        if child == 0:  # the thread that set the limit is the child's own
            os._exit(0 if _one_thread._depth == 1 else 1)
        assert os.waitpid(child, 0)[1] == 0
