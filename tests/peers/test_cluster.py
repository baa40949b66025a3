"""KMeans beside scikit-learn, scikit-learn-intelex and faiss: the same start, the same inertia."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from kernelmill.cluster import KMeans, MiniBatchKMeans

SHAPES = [(2000, 5, 4), (3001, 17, 33), (500, 1, 3), (400, 301, 8)]


def blobs(rng, n, d, k, dtype, shift=0.0):
    means = 4 * rng.standard_normal((k, d))
    X = means[rng.integers(k, size=n)] + rng.standard_normal((n, d)) + shift
    return np.ascontiguousarray(X, dtype=dtype)


def inertia(X, centers):
    """By differences in float64: no cancellation, and no system's own word for it."""
    X, C = X.astype(np.float64), np.asarray(centers, dtype=np.float64)
    return sum(((x - C) ** 2).sum(axis=1).min() for x in X)


def peer_class(module, name):
    peer = pytest.importorskip(module, reason=f"{module} is not installed")
    return getattr(peer, name)


@pytest.mark.parametrize("module", ["sklearn.cluster", "sklearnex.cluster"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equal_inertia_from_the_same_start(rng, module, dtype, shape):
    n, d, k = shape
    X = blobs(rng, n, d, k, dtype)
    start = X[rng.choice(n, k, replace=False)]
    options = {"init": start, "n_init": 1, "max_iter": 10, "tol": 0.0}
    ours = KMeans(k, **options).fit(X)
    peer = peer_class(module, "KMeans")(k, **options).fit(X)
    expected = inertia(X, peer.cluster_centers_)
    assert inertia(X, ours.cluster_centers_) == pytest.approx(expected, rel=1e-4)
    assert ours.inertia_ == pytest.approx(expected, rel=1e-4)
    assert (ours.labels_ != peer.labels_).mean() <= 1e-3


def test_equal_inertia_to_faiss(rng):
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    X = blobs(rng, 5000, 12, 10, np.float32)
    start = X[rng.choice(len(X), 10, replace=False)].copy()
    ours = KMeans(10, init=start, n_init=1, max_iter=10, tol=0.0).fit(X)
    peer = faiss.Kmeans(12, 10, niter=10, max_points_per_centroid=len(X))
    peer.train(X, init_centroids=start)
    assert inertia(X, ours.cluster_centers_) == pytest.approx(inertia(X, peer.centroids), rel=1e-4)


def test_far_from_the_origin_we_are_not_worse(rng):
    """At a mean of 1e4 spreads float32 has three digits left: products of raw rows lose them."""
    from sklearn.cluster import KMeans as Peer

    X = blobs(rng, 3000, 8, 6, np.float32, shift=1e4)
    start = X[rng.choice(len(X), 6, replace=False)]
    options = {"init": start, "n_init": 1, "max_iter": 20, "tol": 0.0}
    exact = Peer(6, **options).fit(X.astype(np.float64))
    ours = KMeans(6, **options).fit(X)
    assert inertia(X, ours.cluster_centers_) <= inertia(X, exact.cluster_centers_) * (1 + 1e-4)


def test_quality_of_seeding_over_many_seeds(rng):
    """Mean inertia over 30 seeds within 2 % of scikit-learn's: same algorithm, other numbers."""
    from sklearn.cluster import KMeans as Peer

    X = blobs(rng, 800, 4, 12, np.float64)

    def mean_inertia(kind):
        fits = [kind(12, n_init=1, random_state=seed).fit(X) for seed in range(30)]
        return np.mean([inertia(X, fit.cluster_centers_) for fit in fits])

    assert mean_inertia(KMeans) <= 1.02 * mean_inertia(Peer)


def test_quality_of_minibatches(rng):
    from sklearn.cluster import MiniBatchKMeans as Peer

    X = blobs(rng, 6000, 6, 15, np.float32)

    def mean_inertia(kind):
        fits = [kind(15, n_init=3, random_state=seed).fit(X) for seed in range(10)]
        return np.mean([inertia(X, fit.cluster_centers_) for fit in fits])

    assert mean_inertia(MiniBatchKMeans) <= 1.02 * mean_inertia(Peer)


def test_peers_are_the_ones_that_were_meant():
    """scikit-learn-intelex used directly must not have patched scikit-learn."""
    from sklearn.cluster import KMeans as Peer

    assert Peer.__module__.startswith("sklearn.")
    if importlib.util.find_spec("sklearnex"):
        assert peer_class("sklearnex.cluster", "KMeans") is not Peer
