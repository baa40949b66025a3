"""SpectralClustering: rings are told apart, labels are those of the definition."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster as peer
from sklearn.metrics import adjusted_rand_score

import kernelmill
from kernelmill.cluster import SpectralClustering
from kernelmill.cluster._spectral import by_turns
from kernelmill.manifold._laplacian import smoothest


def rings(rng, n=150):
    t = rng.uniform(0, 2 * np.pi, 2 * n)
    y = np.arange(2 * n) % 2
    X = np.stack([np.cos(t), np.sin(t)], axis=1) * (1 + 2 * y[:, None])
    return X + 0.05 * rng.normal(size=X.shape), y


@pytest.mark.parametrize("assign", ["kmeans", "discretize", "cluster_qr"])
def test_rings(rng, assign):
    X, y = rings(rng)
    for options in ({"affinity": "nearest_neighbors"}, {"gamma": 20.0}):
        model = SpectralClustering(2, assign_labels=assign, random_state=0, **options)
        assert adjusted_rand_score(model.fit_predict(X), y) == 1
        W = model.affinity_matrix_
        for given in (W, sp.csr_matrix(W)):
            again = SpectralClustering(2, affinity="precomputed", random_state=0)
            assert adjusted_rand_score(again.fit_predict(given), y) == 1


@pytest.mark.filterwarnings("ignore:Graph is not fully connected:UserWarning")  # the peer's
@pytest.mark.parametrize("assign", ["kmeans", "cluster_qr"])
@pytest.mark.parametrize("affinity", ["rbf", "laplacian", "poly", "nearest_neighbors"])
def test_beside_scikit_learn(rng, assign, affinity):
    y = rng.integers(0, 4, 200)
    X = np.abs(np.array([[9.0, 0], [0, 9], [9, 9], [0, 0]])[y] + rng.normal(size=(200, 2)))
    options = {"assign_labels": assign, "affinity": affinity, "random_state": 0, "gamma": 0.3}
    ours, other = SpectralClustering(4, **options), peer.SpectralClustering(4, **options)
    assert adjusted_rand_score(ours.fit_predict(X), other.fit_predict(X)) > 0.98


def test_turns_find_indicators(rng):
    """Functions that are constant on clusters, turned, give the clusters."""
    y = rng.integers(0, 3, 60)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    labels = by_turns(np.eye(3)[y] @ turn * rng.uniform(0.5, 2, (60, 1)), 0)
    assert adjusted_rand_score(labels, y) == 1


def test_turns_are_a_fixed_point(rng):
    """Labels are those of the turn that is best for them, of rows of length 1."""
    y = rng.integers(0, 4, 150)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    F = (np.eye(4)[y] + 0.5 * rng.normal(size=(150, 4))) @ turn
    F *= np.exp(3 * rng.normal(size=(150, 1)))
    labels = by_turns(F, 0)
    F = F / np.linalg.norm(F, axis=1, keepdims=True)
    sums = np.stack([F[labels == c].sum(axis=0) for c in range(4)])
    left, _, right = np.linalg.svd(sums)
    np.testing.assert_array_equal((F @ (left @ right).T).argmax(axis=1), labels)


def test_refusals_and_bits(rng):
    X, _ = rings(rng)
    with pytest.raises(ValueError, match="n_clusters must be at most the number of rows"):
        SpectralClustering(20).fit(X[:9])
    with pytest.raises(ValueError, match="adjacency must be finite and at least 0"):
        SpectralClustering(2, affinity="linear").fit(X)
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            found.append(SpectralClustering(3, random_state=0, gamma=5.0).fit(X).labels_.tobytes())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("c", [2.0**-600, 1e-6, 2.0**600])
def test_the_law_of_scale(rng, c):
    X, _ = rings(rng)
    model = SpectralClustering(2, affinity="nearest_neighbors", random_state=0)
    np.testing.assert_array_equal(model.fit_predict(c * X), model.fit_predict(X))


def test_a_graph_almost_without_edges(rng):
    """Many eigenvalues are all but equal, where Lanczos' iteration does not end."""
    A = SpectralClustering(3, random_state=0).fit(10 * rng.normal(size=(620, 3))).affinity_matrix_
    values, vectors = smoothest(A, 3)
    np.fill_diagonal(A, 0)
    degree = A.sum(axis=1)
    residuals = degree[:, None] * vectors * (1 - values) - A @ vectors
    # Rounding of values in [0, 2], relative to the degrees, which span hundreds of decades.
    np.testing.assert_allclose(residuals / np.sqrt(degree)[:, None], 0, atol=1e-12)
