"""FuzzyCMeans: theorems, weights, streams and limits."""

import numpy as np
import pytest

import kernelmill
from kernelmill.cluster import FuzzyCMeans, KMeans
from kernelmill.cluster._fuzzy import degrees


def blobs(rng, n=200, k=3):
    y = np.arange(n) % k
    return 6 * np.eye(k, 4)[y] + rng.normal(size=(n, 4)), y


@pytest.mark.parametrize("m", [1.3, 2.0, 4.0])
def test_a_fixed_point(rng, m):
    """At the end degrees and centers give each other, and J is their sum."""
    X, _ = blobs(rng)
    model = FuzzyCMeans(3, m=m, tol=0, max_iter=2000, random_state=0).fit(X)
    D = ((X[:, None] - model.cluster_centers_[None]) ** 2).sum(axis=2)
    U = D ** (-1 / (m - 1))
    U /= U.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.membership_, U, rtol=1e-8)
    W = U**m
    np.testing.assert_allclose(model.cluster_centers_, W.T @ X / W.sum(axis=0)[:, None], atol=1e-5)
    np.testing.assert_allclose(model.objective_, (W * D).sum(), rtol=1e-10)
    np.testing.assert_array_equal(model.predict(X), U.argmax(axis=1))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_objective_falls(rng):
    X, _ = blobs(rng)
    start = X[:3]
    falling = [
        FuzzyCMeans(3, init=start, max_iter=steps, tol=0).fit(X).objective_
        for steps in range(1, 9)
    ]
    assert (np.diff(falling) < 0).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_near_one_it_is_k_means(rng):
    X, _ = blobs(rng)
    start = X[:3]
    hard = KMeans(3, init=start, n_init=1, tol=0).fit(X)
    soft = FuzzyCMeans(3, m=1.001, init=start, tol=1e-12).fit(X)
    np.testing.assert_allclose(soft.cluster_centers_, hard.cluster_centers_, atol=1e-3)
    np.testing.assert_allclose(soft.objective_, hard.inertia_, rtol=1e-2)


def test_weights_are_repetition(rng):
    X, _ = blobs(rng, 60)
    w = rng.integers(0, 4, 60)
    start = X[:3]
    a = FuzzyCMeans(3, init=start).fit(X, sample_weight=w)
    b = FuzzyCMeans(3, init=start).fit(np.repeat(X, w, axis=0))
    np.testing.assert_allclose(a.cluster_centers_, b.cluster_centers_, rtol=1e-10)
    np.testing.assert_allclose(a.objective_, b.objective_, rtol=1e-10)


def test_streams(rng):
    X, _ = blobs(rng)
    start = X[:3]
    memory = FuzzyCMeans(3, init=start).fit(X)
    stream = FuzzyCMeans(3, init=start).fit(kernelmill.stream.source([X[:70], X[70:]]))
    np.testing.assert_allclose(stream.cluster_centers_, memory.cluster_centers_, rtol=1e-10)
    assert not hasattr(stream, "labels_")


def test_rows_at_centers():
    u = degrees(np.array([[0.0], [1.0], [3.0]]), np.array([[0.0], [0.0], [1.0]]), m=2.0)
    far = 1 / np.array([9, 9, 4.0])  # the last row, at distances 3, 3 and 2
    np.testing.assert_allclose(u, [[0.5, 0.5, 0], [0, 0, 1], far / far.sum()])
    model = FuzzyCMeans(2, random_state=0).fit(np.ones((9, 2)))
    np.testing.assert_array_equal(model.cluster_centers_, 1)
    np.testing.assert_allclose(model.membership_, 0.5)


def test_float32_bits_and_scale(rng):
    X, _ = blobs(rng)
    model = FuzzyCMeans(3, random_state=0).fit(X.astype(np.float32))
    assert model.cluster_centers_.dtype == np.float32
    want = FuzzyCMeans(3, random_state=0).fit(X)
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            got = FuzzyCMeans(3, random_state=0).fit(X)
            assert got.cluster_centers_.tobytes() == want.cluster_centers_.tobytes()
    far = FuzzyCMeans(3, random_state=0).fit(X + 1e6)
    np.testing.assert_allclose(far.cluster_centers_ - 1e6, want.cluster_centers_, atol=1e-6)
