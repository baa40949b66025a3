"""Starts: greedy k-means++, k-means||, random rows."""

import numpy as np
import pytest
import scipy.sparse as sp

import kernelmill
from kernelmill import stream
from kernelmill._estimator._rows import Rows
from kernelmill.cluster import KMeans, _seeding, kmeans_plusplus
from kernelmill.cluster._statistics import assign


def cost(X, centers):
    return float(assign(X, np.asarray(centers, dtype=np.float64))[1].sum())


def test_plus_plus_returns_rows(blobs):
    centers, indices = kmeans_plusplus(blobs, 5, random_state=0)
    np.testing.assert_array_equal(centers, blobs[indices])
    assert len(set(indices.tolist())) == 5
    again = kmeans_plusplus(blobs, 5, random_state=0)[1]
    np.testing.assert_array_equal(indices, again)
    with kernelmill.backend("numpy"):
        np.testing.assert_array_equal(kmeans_plusplus(blobs, 5, random_state=0)[1], indices)


def test_plus_plus_on_sparse_rows_is_the_same(blobs):
    blobs[abs(blobs) < 1] = 0
    dense = kmeans_plusplus(blobs, 6, random_state=1)
    sparse = kmeans_plusplus(sp.csr_array(blobs), 6, random_state=1)
    np.testing.assert_array_equal(sparse[1], dense[1])
    np.testing.assert_array_equal(sparse[0], dense[0])


@pytest.mark.parametrize("sparse", [False, True])
def test_plus_plus_obeys_weights(blobs, sparse):
    w = np.zeros(300)
    w[10:15] = 1
    data = sp.csr_array(blobs) if sparse else blobs
    _, indices = kmeans_plusplus(data, 5, sample_weight=w, random_state=0)
    assert sorted(indices.tolist()) == [10, 11, 12, 13, 14]


def test_plus_plus_more_trials_are_better(make):
    X = make(500, 3, 20)
    few, many = (
        np.mean(
            [
                cost(X, kmeans_plusplus(X, 20, random_state=s, n_local_trials=t)[0])
                for s in range(10)
            ]
        )
        for t in (1, 8)
    )
    assert many < few


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_clusters": 0}, ".* from 1 to the 300 rows of X, got 0"),
        ({"n_clusters": 301}, ".* from 1 to the 300 rows of X, got 301"),
        ({"n_clusters": 2.5}, "n_clusters must be a whole number from 1 to .*, got 2.5"),
        ({"n_clusters": 2, "n_local_trials": 0}, ".* must be a whole number of at least 1, got 0"),
        ({"n_clusters": 2, "sample_weight": [1]}, "sample_weight must have shape"),
        (
            {"n_clusters": 2, "x_squared_norms": [1]},
            r"x_squared_norms must have shape \(300,\), got \(1,\)",
        ),
    ],
)
def test_plus_plus_errors(blobs, options, message):
    with pytest.raises(ValueError, match=f"^kmeans_plusplus: {message}"):
        kmeans_plusplus(blobs, **options)


def chunks(X, chunk_rows):
    return Rows(None, None, "KMeans", source=stream.source(X, chunk_rows=chunk_rows))


@pytest.mark.parametrize("sparse", [False, True])
def test_scalable_is_as_good_as_plus_plus(make, sparse):
    X = make(3000, 4, 15)
    data = sp.csr_array(X) if sparse else X
    ours = [
        cost(X, _seeding.scalable(chunks(data, 500), 15, s, 0)) for s in range(5)
    ]
    plain = [cost(X, kmeans_plusplus(X, 15, random_state=s)[0]) for s in range(5)]
    assert np.mean(ours) < np.mean(plain)  # its candidates have been through k-means already


def test_scalable_with_few_distinct_rows():
    X = np.repeat(np.eye(3), 4, axis=0)
    made = _seeding.scalable(chunks(X, 5), 2, 0, 0)
    assert made.shape == (2, 3)
    made = _seeding.scalable(chunks(X[:1], 1), 4, 0, 0)
    np.testing.assert_array_equal(made, np.repeat(X[:1], 4, axis=0))


def test_random_rows_follow_weights():
    w = np.array([0.0, 1.0, 3.0])
    first = [_seeding.random_rows(3, w, 1, s, 0)[0] for s in range(2000)]
    share = np.bincount(first, minlength=3) / 2000
    # Four standard errors of a share of 2000 draws.
    np.testing.assert_allclose(share, [0, 0.25, 0.75], rtol=0, atol=4 * np.sqrt(0.25 * 0.75 / 2000))
    assert sorted(_seeding.random_rows(3, w, 3, 0, 0).tolist()) == [0, 1, 2]


def test_random_from_a_source_gives_rows(blobs):
    made = _seeding.random_from(chunks(blobs, 30), 5, 0, 0)
    assert all((blobs == row).all(axis=1).any() for row in made)
    assert len(np.unique(made, axis=0)) == 5


def test_given_centers_may_be_sparse_or_lists(blobs):
    start = blobs[:3].round()
    plain = KMeans(3, init=start).fit(blobs)
    for given in (start.tolist(), sp.csr_array(start), start.astype(int)):
        np.testing.assert_array_equal(KMeans(3, init=given).fit(blobs).labels_, plain.labels_)
