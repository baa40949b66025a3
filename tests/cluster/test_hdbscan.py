"""HDBSCAN against scikit-learn where no two distances are equal, and on ties."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score

import kernelmill
from kernelmill.cluster import HDBSCAN
from kernelmill.cluster._lifetimes import lifetimes
from kernelmill.ops import linkage, neighbors


def blobs(rng, n=400, d=2):
    centers = rng.normal(size=(5, d)) * 6
    spread = np.array([0.3, 0.6, 1.0, 0.5, 1.5])
    which = rng.integers(0, 5, n)
    return centers[which] + rng.normal(size=(n, d)) * spread[which, None]


def mutual(X, k):
    """Mutual reachability and core distances, with the same bits as the op's."""
    found, distances = neighbors.nearest(X, X, len(X))
    D = np.empty((len(X), len(X)))
    np.put_along_axis(D, found, distances, axis=1)
    core = distances[:, k - 1].copy()
    M = np.maximum(D, np.maximum(core[:, None], core))
    np.fill_diagonal(M, 0)
    return M, core


def parts_of(M, rows, height):
    """Rows that paths of shorter steps connect."""
    count, part = connected_components(csr_matrix(M[np.ix_(rows, rows)] < height))
    return [rows[part == c] for c in range(count)]


def definition(M, least):
    """Clusters at birth, and when each row leaves which, from the words of `_lifetimes`."""
    births, leaves = [(frozenset(range(len(M))), 0.0)], {}

    def walk(rows, own):
        # The least height that connects all is the largest of a spanning tree.
        steps = np.unique(M[np.ix_(rows, rows)])
        steps = steps[steps > 0]
        low, high = 0, len(steps)
        while low < high:  # the first step above which there is one part
            middle = (low + high) // 2
            if len(parts_of(M, rows, np.nextafter(steps[middle], np.inf))) == 1:
                high = middle
            else:
                low = middle + 1
        if len(rows) == 1 or len(parts_of(M, rows, np.nextafter(0, 1))) == 1:
            leaves.update((i, (own, np.inf)) for i in rows)
            return
        height = steps[low]
        parts = parts_of(M, rows, height)
        large = [part for part in parts if len(part) >= least]
        for part in parts:
            if len(part) < least:
                leaves.update((i, (own, 1 / height)) for i in part)
        for part in large:
            inner = own
            if len(large) > 1:
                inner = frozenset(part.tolist())
                births.append((inner, 1 / height))
            walk(part, inner)

    walk(np.arange(len(M)), births[0][0])
    return births, leaves


@pytest.mark.parametrize("least", [2, 4, 9])
def test_lifetimes_are_those_of_the_definition(least):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(60, 2)) if seed % 2 else rng.integers(0, 6, (60, 2)).astype(float)
        M, core = mutual(X, 3)
        tree = lifetimes(*linkage.single(X, 59, 0, 2.0, core), least)
        births, leaves = definition(M, least)
        assert len(births) == len(tree.parent)
        sets = [set() for _ in tree.parent]
        for i in range(60):
            c = tree.cluster[i]
            while c >= 0:
                sets[c].add(i)
                c = tree.parent[c]
        got = {(frozenset(own), round(b, 9)) for own, b in zip(sets, tree.birth, strict=True)}
        assert got == {(own, round(b, 9)) for own, b in births}
        for i in range(60):
            assert frozenset(sets[tree.cluster[i]]) == leaves[i][0]
            np.testing.assert_allclose(tree.leave[i], leaves[i][1], rtol=1e-12)
        # Stability, and the choice that makes its sum largest.
        want = {
            own: sum(min(leaves[i][1], end_of(births, own, i)) - b for i in own)
            for own, b in births
        }
        for c, own in enumerate(sets):
            np.testing.assert_allclose(tree.stability()[c], want[frozenset(own)], rtol=1e-9)


def end_of(births, own, i):
    """When a row goes on into a cluster within this one."""
    inner = [b for rows, b in births if i in rows and rows < own]
    return min(inner, default=np.inf)


OPTIONS = [
    {},
    {"min_samples": 3},
    {"min_cluster_size": 20},
    {"cluster_selection_method": "leaf", "min_cluster_size": 25},
    {"max_cluster_size": 300},
    {"allow_single_cluster": True},
    {"alpha": 1.3},
    {"metric": "manhattan"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("d", [2, 7])
def test_clusters_are_nearly_those_of_scikit_learn(rng, options, d):
    """Which takes merges at equal heights one after another."""
    for _ in range(3):
        X = blobs(rng, d=d)
        ours = HDBSCAN(**options).fit(X)
        other = sklearn.cluster.HDBSCAN(copy=True, **options).fit(X)
        assert adjusted_rand_score(ours.labels_, other.labels_) > 0.9


def test_an_epsilon_takes_clusters_together(rng):
    X = np.concatenate([c + 0.3 * rng.normal(size=(50, 1)) for c in (0.0, 3.0, 20.0, 30.0)])
    for method in ("eom", "leaf"):
        options = {"min_cluster_size": 30, "cluster_selection_method": method}
        assert HDBSCAN(**options).fit(X).labels_.max() == 3
        model = HDBSCAN(**options, cluster_selection_epsilon=4.0).fit(X)
        assert model.labels_.max() == 2
        assert model.labels_[:100].max() == 0


def test_one_cluster(rng):
    X = np.vstack([rng.normal(size=(100, 2)), [[30.0, 0.0]]])
    labels = HDBSCAN(20, allow_single_cluster=True).fit(X).labels_
    assert labels.max() == 0
    assert labels[100] == -1
    assert (HDBSCAN(60).fit_predict(rng.normal(size=(100, 2))) == -1).all()


@pytest.mark.parametrize("metric", ["precomputed", "callable", "sparse"])
def test_distances_of_all_pairs(rng, metric):
    X = blobs(rng, 200)
    want = HDBSCAN().fit(X)
    if metric == "sparse":
        X = np.round(X)
        want, got = HDBSCAN().fit(X), HDBSCAN().fit(sp.csr_matrix(X))
    elif metric == "precomputed":
        got = HDBSCAN(metric=metric).fit(cdist(X, X))
    else:
        got = HDBSCAN(metric=lambda a, b: np.sqrt(((a - b) ** 2).sum())).fit(X)
    np.testing.assert_array_equal(got.labels_, want.labels_)
    np.testing.assert_allclose(got.probabilities_, want.probabilities_, rtol=1e-9)


def test_ties():
    """scikit-learn/scikit-learn#33219, scikit-learn-contrib/hdbscan#370, hdbscan#548"""
    X = np.array([[1.0, 1.0]] * 500 + [[2.0, 2.0]] * 500)
    for options in ({}, {"cluster_selection_method": "leaf"}, {"allow_single_cluster": True}):
        model = HDBSCAN(5, **options).fit(X)
        assert model.labels_.tolist() == [0] * 500 + [1] * 500
        assert (model.probabilities_ == 1).all()
    rng = np.random.default_rng(0)
    D = rng.integers(1, 4, (80, 80)).astype(float)
    D = np.triu(D, 1) + np.triu(D, 1).T
    for epsilon in (0.0, 0.5, 1.0, 2.0):
        for single in (True, False):
            model = HDBSCAN(
                4, metric="precomputed", cluster_selection_epsilon=epsilon,
                allow_single_cluster=single,
            ).fit(D)  # fmt: skip
            assert np.isfinite(model.probabilities_).all()
            assert np.array_equal(model.labels_ < 0, model.probabilities_ == 0)
    same = HDBSCAN(5, allow_single_cluster=True).fit(np.ones((30, 2)))
    assert same.labels_.tolist() == [0] * 30


def test_centers(rng):
    X = blobs(rng)
    ours = HDBSCAN(10, store_centers="both").fit(X)
    for c in range(ours.labels_.max() + 1):
        own, weight = X[ours.labels_ == c], ours.probabilities_[ours.labels_ == c]
        np.testing.assert_allclose(ours.centroids_[c], weight @ own / weight.sum())
        least = (cdist(own, own) @ weight).argmin()
        np.testing.assert_array_equal(ours.medoids_[c], own[least])


def test_a_cut_is_dbscan_without_borders(rng):
    X = blobs(rng)
    model = HDBSCAN(5).fit(X)
    for radius in (0.3, 0.6, 1.5):
        labels = model.dbscan_clustering(radius, 5)
        other = sklearn.cluster.HDBSCAN(5, copy=True).fit(X).dbscan_clustering(radius, 5)
        np.testing.assert_array_equal(labels < 0, other < 0)
        assert adjusted_rand_score(labels, other) == 1.0


def test_scale_threads_and_files(rng, tmp_path):
    X = blobs(rng)
    want = HDBSCAN(8).fit(X)
    for c in (1e-100, 1e-6, 1e6, 1e100):
        got = HDBSCAN(8).fit(c * X)
        np.testing.assert_array_equal(got.labels_, want.labels_)
        np.testing.assert_allclose(got.probabilities_, want.probabilities_, rtol=1e-9)
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            again = HDBSCAN(8).fit(X)
        np.testing.assert_array_equal(again.probabilities_, want.probabilities_)
    kernelmill.save(want, tmp_path / "model")
    loaded = kernelmill.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.dbscan_clustering(0.5), want.dbscan_clustering(0.5))


def test_sparse_distances(rng):
    X = blobs(rng, 120)
    D, want = cdist(X, X), HDBSCAN().fit(X)
    near = np.where(np.quantile(D, 0.95) > D, D, 0)
    shuffled = sp.coo_matrix((D.ravel(), np.indices(D.shape).reshape(2, -1)))  # zeros are stored
    for given in (sp.csr_matrix(D), shuffled, sp.csc_array(near)):
        got = HDBSCAN(metric="precomputed").fit(given)
        np.testing.assert_array_equal(got.labels_, want.labels_)
        np.testing.assert_allclose(got.probabilities_, want.probabilities_, rtol=1e-9)
    Z = np.repeat([[1.0], [2.0]], 9, axis=0)  # equal rows, at a distance of 0 that is stored
    pairs = sp.coo_matrix((cdist(Z, Z).ravel(), np.indices((18, 18)).reshape(2, -1)))
    assert HDBSCAN(metric="precomputed").fit_predict(pairs).tolist() == [0] * 9 + [1] * 9
    apart = sp.csr_matrix(np.where(D < 1.0, D, 0.0))
    with pytest.raises(ValueError, match="X must have min_samples distances in each row"):
        HDBSCAN(min_samples=60, metric="precomputed").fit(apart)
    with pytest.raises(ValueError, match="distances that connect all rows, got 2 parts"):
        HDBSCAN(2, metric="precomputed").fit(sp.block_diag([D[:9, :9], D[:9, :9]]))


def test_infinite_distances():
    """Such a pair is merged last, so parts without another distance share no cluster."""
    X = np.random.default_rng(3).normal(size=(40, 2))
    D = cdist(X, X)
    D[:18, 18:] = D[18:, :18] = np.inf
    D[5, 6] = D[6, 5] = np.inf  # not the only way from one to the other
    with np.errstate(all="raise"):
        model = HDBSCAN(min_samples=3, metric="precomputed").fit(D)
    far = np.where(np.isinf(D), 1e9, D)
    want = HDBSCAN(min_samples=3, metric="precomputed").fit(far)
    np.testing.assert_array_equal(model.labels_, want.labels_)
    np.testing.assert_allclose(model.probabilities_, want.probabilities_, rtol=1e-6)
    assert not set(model.labels_[:18]) & set(model.labels_[18:]) - {-1}
    for samples in (1, 40):
        alone = HDBSCAN(min_samples=samples, metric="precomputed").fit(D)
        assert alone.labels_.shape == (40,)
    none = np.where(np.eye(2), 1.0, np.inf)
    assert HDBSCAN(min_samples=1, metric="precomputed").fit_predict(none).tolist() == [-1, -1]
    with pytest.raises(ValueError, match="X must be finite, got NaN at row 1, column 0"):
        HDBSCAN(metric="precomputed").fit([[0.0, 1.0], [np.nan, 0.0]])


@pytest.mark.parametrize("container", [np.array, sp.csr_matrix])
def test_distances_in_both_orders(rng, container):
    D = cdist(*[rng.normal(size=(20, 3))] * 2)
    D[3, 5] += 1e-12  # rounding
    HDBSCAN(metric="precomputed").fit(container(D))
    D[3, 5] += 1e-3
    with pytest.raises(ValueError, match=r"X must be symmetric .* got others in row 3 "):
        HDBSCAN(metric="precomputed").fit(container(D))


def test_refusals(rng):
    X = rng.normal(size=(20, 3))
    with pytest.raises(ValueError, match="min_samples must be at most the number of rows, 20"):
        HDBSCAN(min_samples=21).fit(X)
    with pytest.raises(ValueError, match="at least 2 rows"):
        HDBSCAN().fit(X[:1])
    with pytest.raises(ValueError, match=r"^HDBSCAN: X must have a distance"):
        HDBSCAN(3, metric="nan_euclidean").fit([[1.0, np.nan], [2, np.nan], [3, 1], [np.nan, 1]])
    with pytest.raises(ValueError, match="store_centers must be None without dense rows"):
        HDBSCAN(metric="precomputed", store_centers="both").fit(np.abs(cdist(X, X)))


def test_rows_that_are_not_finite_take_no_part():
    rng = np.random.default_rng(5)
    X = np.concatenate([rng.normal(size=(40, 3)), 9 + rng.normal(size=(40, 3))])
    gaps = X.copy()
    gaps[3, 1], gaps[50, 0], gaps[60, 2], gaps[61] = np.nan, np.inf, -np.inf, [np.inf, np.nan, 0]
    whole = np.isfinite(gaps).all(axis=1)
    for metric in ("euclidean", "cosine", "manhattan"):
        model = HDBSCAN(metric=metric, min_cluster_size=5, store_centers="both").fit(gaps)
        other = HDBSCAN(metric=metric, min_cluster_size=5, store_centers="both").fit(X[whole])
        assert np.array_equal(model.labels_[whole], other.labels_)
        assert np.array_equal(model.probabilities_[whole], other.probabilities_)
        assert model.labels_[~whole].tolist() == [-3, -2, -2, -3]
        assert np.array_equal(model.probabilities_[~whole], [np.nan, 0, 0, np.nan], equal_nan=True)
        assert np.array_equal(model.centroids_, other.centroids_)
        if metric != "cosine":
            sparse = HDBSCAN(metric=metric, min_cluster_size=5).fit(sp.csr_matrix(gaps))
            assert np.array_equal(sparse.labels_, model.labels_)
        cut = model.dbscan_clustering(1.0, 3)
        assert np.array_equal(cut[whole], other.dbscan_clustering(1.0, 3))
    with np.errstate(invalid="ignore"):
        theirs = sklearn.cluster.HDBSCAN(min_cluster_size=5, copy=True).fit(gaps).labels_
    assert np.array_equal(HDBSCAN(min_cluster_size=5).fit(gaps).labels_, theirs)
    with pytest.raises(ValueError, match="at least 2 rows"):
        HDBSCAN().fit(np.full((9, 2), np.nan))
    with pytest.raises(ValueError, match="X must"):
        HDBSCAN(metric="precomputed").fit(np.full((9, 9), np.nan))


def test_the_order_of_rows_does_not_matter():
    from sklearn.datasets import load_iris

    X = load_iris().data
    first = HDBSCAN(min_cluster_size=5, metric="cosine").fit(X).labels_
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(X))
        found = HDBSCAN(min_cluster_size=5, metric="cosine").fit(X[order]).labels_
        pairs = np.unique(np.stack([first[order], found]), axis=1)
        assert pairs.shape[1] == first.max() + 2  # one name for each cluster, and for noise
