"""Distances between and within clusters against their formulas, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from kernelmill import metrics


@pytest.fixture
def data(rng):
    X = 100 + rng.standard_normal((50, 3))
    labels = rng.integers(0, 4, 50)
    labels[labels == 3] = 0
    labels[11] = 3  # a singleton
    X[labels == 1] += 7
    return X, labels


def pairs(X, labels):
    distance = np.sqrt(((X[:, None] - X) ** 2).sum(axis=2))
    k = labels.max() + 1
    return [[distance[np.ix_(labels == g, labels == h)] for h in range(k)] for g in range(k)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("kind", "reduce"), [("average", np.mean), ("single", np.min), ("complete", np.max)]
)
def test_between_by_pairs(data, kind, reduce, dtype):
    X, labels = data[0].astype(dtype), data[1]
    block = pairs(X.astype(np.float64), labels)
    wanted = [[reduce(block[g][h]) if g != h else 0 for h in range(4)] for g in range(4)]
    found = metrics.inter_cluster_distances(X, labels, kind=kind)
    np.testing.assert_allclose(found, wanted, rtol=1e-6 if dtype == np.float32 else 1e-12)
    assert np.array_equal(found, found.T)
    assert found.dtype == np.float64


def test_between_centroids(data):
    X, labels = data
    means = np.array([X[labels == g].mean(axis=0) for g in range(4)])
    wanted = np.sqrt(((means[:, None] - means) ** 2).sum(axis=2))
    np.testing.assert_allclose(metrics.inter_cluster_distances(X, labels), wanted, rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_within(data, dtype):
    X, labels = data[0].astype(dtype), data[1]
    rtol = 1e-6 if dtype == np.float32 else 1e-10
    block = pairs(X.astype(np.float64), labels)
    n = [len(block[g][g]) for g in range(4)]
    average = [block[g][g].sum() / max(n[g] * (n[g] - 1), 1) for g in range(4)]
    np.testing.assert_allclose(metrics.intra_cluster_distances(X, labels), average, rtol=rtol)
    diameter = [block[g][g].max() for g in range(4)]
    np.testing.assert_allclose(
        metrics.intra_cluster_distances(X, labels, kind="diameter"), diameter, rtol=rtol
    )
    X64 = X.astype(np.float64)
    spread = [
        np.sqrt(((X64[labels == g] - X64[labels == g].mean(axis=0)) ** 2).sum(axis=1)).mean()
        for g in range(4)
    ]
    np.testing.assert_allclose(
        metrics.intra_cluster_distances(X, labels, kind="centroid"), spread, rtol=rtol, atol=1e-9
    )
    assert metrics.intra_cluster_distances(X, labels)[3] == 0


def test_sorted_labels_name_the_rows(data):
    X, labels = data
    words = np.array(["d", "c", "b", "a"])[labels]
    for kind in ("centroid", "average", "single", "complete"):
        np.testing.assert_allclose(
            metrics.inter_cluster_distances(X, words, kind=kind),
            metrics.inter_cluster_distances(X, labels, kind=kind)[::-1, ::-1],
            rtol=1e-12,
        )


def test_blocks_join_up(data, monkeypatch):
    X, labels = data
    calls = [
        (metrics.inter_cluster_distances, kind) for kind in ("average", "single", "complete")
    ] + [(metrics.intra_cluster_distances, kind) for kind in ("average", "diameter")]
    whole = [call(X, labels, kind=kind) for call, kind in calls]
    monkeypatch.setattr("kernelmill.metrics._distances.CHUNK_BYTES", 8 * 50 * 3)
    for (call, kind), wanted in zip(calls, whole, strict=True):
        np.testing.assert_allclose(call(X, labels, kind=kind), wanted, rtol=1e-12)


def test_one_cluster_and_one_row_are_fine():
    assert metrics.inter_cluster_distances([[1.0], [2.0]], [5, 5]).tolist() == [[0.0]]
    assert metrics.intra_cluster_distances([[1.0]], ["x"]).tolist() == [0.0]


@pytest.mark.parametrize("name", ["inter_cluster_distances", "intra_cluster_distances"])
def test_bad_input_is_refused(data, name):
    X, labels = data
    metric = getattr(metrics, name)
    with pytest.raises(ValueError, match=rf"^{name}: kind must be one of .*, got 'ward'"):
        metric(X, labels, kind="ward")
    with pytest.raises(ValueError, match=rf"^{name}: labels must be a vector"):
        metric(X, labels[1:])
    with pytest.raises(ValueError, match=rf"^{name}: X must be finite"):
        metric(np.where(X > 105, np.nan, X), labels)
