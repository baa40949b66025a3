"""OPTICS against its definition and scikit-learn, and the clusters read from the order."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster as peer
from sklearn.datasets import make_blobs

import kernelmill
from kernelmill.cluster import DBSCAN, OPTICS, cluster_optics_dbscan, cluster_optics_xi


def blobs(seed, n=240):
    return make_blobs(n, 2, centers=5, cluster_std=[0.3, 1, 0.5, 0.2, 1.5], random_state=seed)[0]


def by_definition(X, least, reach=np.inf):
    n = len(X)
    D = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=2))
    core = np.sort(D, axis=1)[:, least - 1]
    core = np.where(core <= reach, core, np.inf)
    reached, before, order = np.full(n, np.inf), np.full(n, -1), []
    left = list(range(n))
    while left:
        p = min(left, key=lambda i: (reached[i], i))
        left.remove(p)
        order.append(p)
        for o in left:
            if D[p, o] <= reach and core[p] < np.inf:
                arrival = max(core[p], D[p, o])
                if arrival < reached[o]:
                    reached[o], before[o] = arrival, p
    return np.array(order), core, reached, before


@pytest.mark.parametrize("reach", [np.inf, 0.8])
@pytest.mark.parametrize("kind", ["blobs", "grid"])
def test_the_order(reach, kind):
    X = blobs(0, 90)
    if kind == "grid":  # many ties
        X = np.stack(np.meshgrid(np.arange(7.0), np.arange(9.0)), axis=-1).reshape(-1, 2) / 2
    model = OPTICS(min_samples=5, max_eps=reach, cluster_method="dbscan").fit(X)
    order, core, reached, before = by_definition(X, 5, reach)
    np.testing.assert_array_equal(model.ordering_, order)
    np.testing.assert_allclose(model.core_distances_, core, rtol=1e-14)
    np.testing.assert_allclose(model.reachability_, reached, rtol=1e-14)
    np.testing.assert_array_equal(model.predecessor_, before)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "options",
    [{}, {"xi": 0.15, "predecessor_correction": False}, {"min_cluster_size": 0.1, "max_eps": 2.0}],
)
def test_steep_clusters(seed, options):
    X = blobs(seed)
    ours = OPTICS(min_samples=8, **options).fit(X)
    other = peer.OPTICS(min_samples=8, **options).fit(X)
    np.testing.assert_array_equal(ours.labels_, other.labels_)
    np.testing.assert_array_equal(ours.cluster_hierarchy_, other.cluster_hierarchy_)
    assert ours.labels_.max() > 0


@pytest.mark.parametrize("eps", [0.2, 0.5, 1.0])
def test_clusters_at_a_radius(eps):
    X = blobs(1)
    model = OPTICS(min_samples=6, cluster_method="dbscan", eps=eps).fit(X)
    core = model.core_distances_ <= eps
    plain = DBSCAN(eps, min_samples=6).fit(X)
    np.testing.assert_array_equal(np.flatnonzero(core), plain.core_sample_indices_)
    pairs = {(a, b) for a, b in zip(model.labels_[core], plain.labels_[core], strict=True)}
    assert len(pairs) == plain.labels_.max() + 1 == len({a for a, _ in pairs})
    again = cluster_optics_dbscan(
        reachability=model.reachability_, core_distances=model.core_distances_,
        ordering=model.ordering_, eps=eps
    )  # fmt: skip
    np.testing.assert_array_equal(again, model.labels_)


def test_metrics_and_kinds_of_rows():
    X = np.round(8 * blobs(2, 80)) / 8  # sums of squares are exact
    D = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=2))
    want = OPTICS(min_samples=4).fit(X)
    for Z, metric in ((D, "precomputed"), (sp.csr_matrix(X), "euclidean"),
                      (X, lambda a, b: np.sqrt(((a - b) ** 2).sum()))):  # fmt: skip
        got = OPTICS(min_samples=4, metric=metric).fit(Z)
        np.testing.assert_array_equal(got.ordering_, want.ordering_)
        np.testing.assert_allclose(got.reachability_, want.reachability_, rtol=1e-10)
    X = blobs(2, 80)
    ours = OPTICS(min_samples=4, metric="manhattan").fit(X)
    other = peer.OPTICS(min_samples=4, metric="manhattan").fit(X)
    np.testing.assert_array_equal(ours.ordering_, other.ordering_)


def test_refusals():
    X = blobs(0, 20)
    with pytest.raises(ValueError, match="min_samples must be no greater than"):
        OPTICS(min_samples=21).fit(X)
    with pytest.raises(ValueError, match="eps must be at most max_eps, 1, got 2"):
        OPTICS(max_eps=1, eps=2, cluster_method="dbscan").fit(X)
    with pytest.warns(UserWarning, match="no row is reached from another"):
        labels = OPTICS(max_eps=1e-9).fit_predict(X)
    assert (labels == -1).all()
    with pytest.raises(ValueError, match="min_samples must be"):
        cluster_optics_xi(
            reachability=[1.0, 2], predecessor=[-1, 0], ordering=[0, 1], min_samples=3
        )


def test_bits_and_scale():
    X = blobs(3)
    want = OPTICS().fit(X)
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            assert OPTICS().fit(X).reachability_.tobytes() == want.reachability_.tobytes()
    for c in (2.0**-400, 2.0**400):
        got = OPTICS().fit(c * X)
        np.testing.assert_array_equal(got.labels_, want.labels_)
        np.testing.assert_array_equal(got.reachability_, c * want.reachability_)
