"""Threads of LAPACK: one for small matrices, and as many as before afterwards; eigenvalues."""

import os
import threading

import numpy as np
import pytest
import scipy.sparse.linalg as sparse
from threadpoolctl import ThreadpoolController

from kernelmill._estimator import _linalg
from kernelmill._estimator._linalg import (
    _one_thread,
    lapack_threads,
    largest_eigenpairs,
    largest_triplets,
    numpy_on_one_thread,
    some_eigenpairs,
)
from kernelmill.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor


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


class Library:
    """A BLAS that remembers what it was told."""

    def __init__(self, filepath):
        self.filepath, self.threads, self.told = filepath, 2, []

    def get_num_threads(self):
        return self.threads

    def set_num_threads(self, number):
        self.threads = number
        self.told.append(number)


@pytest.fixture
def libraries(monkeypatch):
    both = [Library(f"/lib/{name}.libs/libopenblas.so") for name in ("numpy", "scipy")]
    monkeypatch.setattr(_linalg, "_blas", lambda: both)
    return both


def test_numpy_alone_is_kept_to_one_thread(libraries):
    numpys, scipys = libraries
    with numpy_on_one_thread:
        assert (numpys.threads, scipys.threads) == (1, 2)
        with lapack_threads(10):
            assert (numpys.threads, scipys.threads) == (1, 1)
        assert (numpys.threads, scipys.threads) == (1, 2)
    assert (numpys.threads, scipys.threads) == (2, 2)


@pytest.mark.parametrize("model", [GaussianProcessRegressor(), GaussianProcessClassifier()])
def test_gaussian_processes_keep_numpy_to_one_thread(libraries, monkeypatch, model):
    monkeypatch.setattr(_linalg, "_ALONE", 0)  # as for more rows than these
    X = np.random.default_rng(0).normal(size=(30, 2))
    model.fit(X, X[:, 0] > 0)
    assert [library.told for library in libraries] == [[1, 2], []]


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


@pytest.mark.parametrize("n", [66, 70, 100, 300])
def test_some_of_equal_eigenvalues(n):
    S = np.eye(n) - 1 / n
    for k in (1, 2, 12):
        for first, want in ((n - k, np.ones(k)), (0, np.arange(k) > 0)):
            values, vectors = some_eigenpairs(S, first, first + k - 1)
            np.testing.assert_allclose(values, want, atol=1e-13)
            np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-13)
            np.testing.assert_allclose(S @ vectors, vectors * values, atol=1e-13)


@pytest.mark.parametrize("as_operator", [False, True])
def test_what_arpack_gives_up_is_solved_whole(rng, monkeypatch, as_operator):
    B = rng.normal(size=(20, 12))
    A = B @ B.T
    start = rng.normal(size=20)
    given = sparse.aslinearoperator if as_operator else np.asarray
    soon = [largest_eigenpairs(given(A), 3, start), largest_triplets(given(B), 3, start[:12])]

    def no_shifts(*args, **options):
        raise sparse.ArpackError(3)

    monkeypatch.setattr(sparse, "eigsh", no_shifts)
    monkeypatch.setattr(sparse, "svds", no_shifts)
    values, vectors = largest_eigenpairs(given(A), 3, start)
    np.testing.assert_allclose(values, soon[0][0], rtol=1e-10)
    np.testing.assert_allclose(np.abs(vectors), np.abs(soon[0][1]), atol=1e-10)
    np.testing.assert_allclose(A @ vectors, vectors * values, atol=1e-10)
    left, values, right = largest_triplets(given(B), 3, start[:12])
    np.testing.assert_allclose(values, soon[1][1], rtol=1e-10)
    np.testing.assert_allclose(B @ right.T, left * values, atol=1e-10)
    np.testing.assert_allclose(np.abs(left), np.abs(soon[1][0]), atol=1e-10)
    monkeypatch.setattr(_linalg, "_MOST_WHOLE", 10)
    with pytest.raises(RuntimeError, match="all 3 vectors must converge, got 0"):
        largest_triplets(given(B), 3, start[:12])
