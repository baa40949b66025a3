"""Hierarchies against SciPy's and scikit-learn's, and inputs on which others failed."""

import numpy as np
import pytest
import scipy.cluster.hierarchy as hierarchy
import scipy.sparse as sp
import sklearn.cluster
from scipy.spatial.distance import cdist, squareform
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import haversine_distances
from sklearn.neighbors import kneighbors_graph

import kernelmill
from kernelmill.cluster import AgglomerativeClustering
from kernelmill.cluster import _agglomerative as module

LINKAGES = ["ward", "complete", "average", "single"]


def agree(model, want):
    """Children in their order, distances to rounding, sizes."""
    got = model.linkage_matrix_
    np.testing.assert_array_equal(np.sort(got[:, :2]), np.sort(want[:, :2]))
    np.testing.assert_allclose(got[:, 2], want[:, 2], rtol=1e-9)
    np.testing.assert_array_equal(got[:, 3], want[:, 3])


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize(("n", "d"), [(2, 1), (33, 2), (300, 3), (500, 12)])
def test_the_dendrogram_is_that_of_scipy(rng, linkage, n, d):
    X = rng.normal(size=(n, d))
    model = AgglomerativeClustering(linkage=linkage).fit(X)
    want = hierarchy.linkage(X, linkage)
    agree(model, want)
    for k in (1, 2, min(7, n), n):
        labels = AgglomerativeClustering(k, linkage=linkage).fit_predict(X)
        other = hierarchy.fcluster(want, k, "maxclust")
        assert adjusted_rand_score(labels, other) == 1.0
        firsts = np.unique(labels, return_index=True)[1]
        assert (np.diff(firsts) > 0).all()  # numbered by their first row


@pytest.mark.parametrize("linkage", ["complete", "average", "single"])
@pytest.mark.parametrize(
    "metric", ["manhattan", "chebyshev", "cosine", "sqeuclidean", "precomputed", "canberra"]
)
def test_other_metrics(rng, linkage, metric):
    X = rng.uniform(0.1, 2, size=(120, 4))
    names = {"manhattan": "cityblock", "precomputed": "euclidean"}
    D = cdist(X, X, names.get(metric, metric))
    given = (D + D.T) / 2 if metric == "precomputed" else X
    model = AgglomerativeClustering(linkage=linkage, metric=metric).fit(given)
    agree(model, hierarchy.linkage(D[np.triu_indices(120, 1)], linkage))


@pytest.mark.parametrize("linkage", LINKAGES)
def test_thresholds(rng, linkage):
    X = rng.normal(size=(200, 3))
    for threshold in (0.3, 1.0, 3.0):
        options = {"linkage": linkage, "distance_threshold": threshold, "n_clusters": None}
        ours = AgglomerativeClustering(**options).fit(X)
        other = sklearn.cluster.AgglomerativeClustering(**options).fit(X)
        assert ours.n_clusters_ == other.n_clusters_
        assert adjusted_rand_score(ours.labels_, other.labels_) == 1.0


def test_at_a_threshold_nothing_merges():
    """scikit-learn/scikit-learn#24176, scikit-learn/scikit-learn#23550"""
    X = [[0.0], [1.0], [2.0]]
    model = AgglomerativeClustering(None, linkage="single", distance_threshold=1).fit(X)
    assert model.n_clusters_ == 3
    full = np.ones((3, 3))
    for connectivity in (None, full, sp.csr_matrix(full), lambda X: full):
        model = AgglomerativeClustering(
            None, linkage="complete", distance_threshold=1.5, connectivity=connectivity
        ).fit(X)
        assert model.labels_.tolist() == [0, 0, 1]
    model.set_params(connectivity=full - np.eye(3)[::-1]).fit(X)  # rows 0 and 2 are not connected
    assert model.labels_.tolist() == [0, 0, 0]


@pytest.mark.parametrize("linkage", LINKAGES)
def test_connectivity(rng, linkage):
    """All connected: the plain hierarchy. On a path: neighbours alone are merged."""
    X = rng.normal(size=(60, 2))
    plain = AgglomerativeClustering(linkage=linkage).fit(X)
    full = AgglomerativeClustering(linkage=linkage, connectivity=np.ones((60, 60))).fit(X)
    agree(full, plain.linkage_matrix_)
    path = sp.diags([np.ones(59), np.ones(59)], [-1, 1])
    model = AgglomerativeClustering(5, linkage=linkage, connectivity=path).fit(X)
    assert (np.diff(model.labels_) >= 0).all()  # runs of the path
    assert model.n_connected_components_ == 1
    apart = sp.block_diag([np.ones((30, 30)), np.ones((30, 30))])
    X[30:] += 20
    with pytest.warns(UserWarning, match=r"number of connected components .* is 2 > 1"):
        model = AgglomerativeClustering(2, linkage=linkage, connectivity=apart).fit(X)
    assert model.labels_.tolist() == [0] * 30 + [1] * 30


@pytest.mark.filterwarnings("ignore:.*number of connected components")
@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize("k", [1, 2, 6])
def test_connected_hierarchies_are_those_of_scikit_learn(rng, linkage, k):
    """Of one part and of many; zeros that are stored connect nothing."""
    X = rng.normal(size=(80, 3))
    graph = kneighbors_graph(X, k, include_self=False)
    graph.data[:3] = 0.0
    metrics = ("euclidean",) if linkage == "ward" else ("euclidean", "manhattan", "precomputed")
    for metric in metrics:
        given = cdist(X, X) if metric == "precomputed" else X
        options = {"linkage": linkage, "connectivity": graph, "metric": metric}
        cut = {"n_clusters": None, "distance_threshold": 0.0}
        ours = AgglomerativeClustering(**options, **cut).fit(given)
        other = sklearn.cluster.AgglomerativeClustering(**options, **cut).fit(given)
        np.testing.assert_array_equal(np.sort(ours.children_), np.sort(other.children_))
        np.testing.assert_allclose(ours.distances_, other.distances_, rtol=1e-9)
        assert ours.n_connected_components_ == other.n_connected_components_
        for n_clusters in (2, 7):
            labels = AgglomerativeClustering(n_clusters, **options).fit_predict(given)
            want = sklearn.cluster.AgglomerativeClustering(n_clusters, **options).fit(given)
            assert adjusted_rand_score(labels, want.labels_) == 1.0


@pytest.mark.filterwarnings("ignore:.*number of connected components")
@pytest.mark.parametrize("k", [1, 3])
def test_single_linkage_along_a_spanning_tree(rng, k):
    """With ties and parts: the clusters of each height are those of scikit-learn."""
    X = rng.integers(0, 4, size=(60, 2)).astype(float)  # many equal rows and distances
    graph = kneighbors_graph(X, k, include_self=False)
    options = {"linkage": "single", "n_clusters": None}
    for metric in (
        "euclidean",
        "cityblock",
        "chebyshev",
        "precomputed",
        lambda x, y: abs(x - y).sum(),
    ):
        name = {"precomputed": "euclidean"}.get(metric, metric)
        D = cdist(X, X, name)
        given = D if metric == "precomputed" else X
        once = sp.triu(graph.maximum(graph.T)).T
        steps = np.unique(D)
        for height in (steps[:3] + steps[1:4]) / 2:
            cut = options | {"distance_threshold": height}
            ours = AgglomerativeClustering(connectivity=once, metric=metric, **cut).fit(given)
            other = sklearn.cluster.AgglomerativeClustering(
                connectivity=graph, metric="precomputed", **cut
            ).fit(D)
            assert adjusted_rand_score(ours.labels_, other.labels_) == 1.0
        # Zero is scikit-learn's 2e-16.
        np.testing.assert_allclose(ours.distances_, other.distances_, rtol=1e-12, atol=1e-15)
    path = sp.diags_array(np.ones(3), offsets=1)
    model = AgglomerativeClustering(metric=lambda x, y: np.inf, connectivity=path, linkage="single")
    with pytest.raises(ValueError, match="between any two rows, got inf for row 0"):
        model.fit(np.ones((4, 1)))
    with pytest.raises(ValueError, match="between any two rows, got nan for row 2"):
        model.set_params(metric=lambda x, y: np.nan, connectivity=np.eye(4)[[1, 0, 3, 2]]).fit(
            np.ones((4, 1))
        )


def test_undefined_distances():
    """scipy/scipy#6774, scipy/scipy#5142, scipy/scipy#21120"""
    model = AgglomerativeClustering(linkage="average", metric="cosine")
    with pytest.raises(ValueError, match="got none in row 0"):
        model.fit([[0.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match=r"must vary in each row .* got none in row 1"):
        model.set_params(metric="correlation").fit([[0.0, 1.0], [2.0, 2.0]])
    D = np.ones((4, 4))
    D[2] = np.nan
    with pytest.raises(ValueError, match="got NaN at row 2"):
        model.set_params(metric="precomputed").fit(D)
    with pytest.raises(ValueError, match="no negative entry"):
        model.fit(-np.ones((3, 3)))
    with pytest.raises(ValueError, match="between any two rows, got nan for row 0"):
        model.set_params(metric=lambda a, b: np.nan).fit(np.ones((3, 2)))


@pytest.mark.parametrize("linkage", ["complete", "average"])
def test_more_rows_than_a_square_of_distances_holds(rng, linkage):
    X = rng.normal(size=(530, 3))  # from 513 on distances are held once
    agree(AgglomerativeClustering(linkage=linkage).fit(X), hierarchy.linkage(X, linkage))


@pytest.mark.parametrize("linkage", LINKAGES)
def test_equal_rows(rng, linkage):
    X = np.repeat(rng.normal(size=(5, 2)), 40, axis=0)[rng.permutation(200)]
    model = AgglomerativeClustering(5, linkage=linkage).fit(X)
    assert (model.distances_[:195] < 1e-12).all()
    assert len(np.unique(np.column_stack([model.labels_, X]), axis=0)) == 5


@pytest.mark.parametrize("linkage", LINKAGES)
def test_float32_far_from_the_origin_and_threads(rng, linkage):
    X = (rng.normal(size=(300, 3)) + 1000).astype(np.float32)
    want = AgglomerativeClustering(linkage=linkage).fit(X.astype(float) - 1000).linkage_matrix_
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            agree(AgglomerativeClustering(linkage=linkage).fit(X), want)


@pytest.mark.parametrize("linkage", LINKAGES)
def test_scaled_rows_have_a_scaled_hierarchy(rng, linkage):
    X = rng.normal(size=(80, 3))
    want = AgglomerativeClustering(3, linkage=linkage).fit(X)
    for c in (1e-100, 1e-6, 1e6, 1e100):
        got = AgglomerativeClustering(3, linkage=linkage).fit(c * X)
        np.testing.assert_array_equal(got.labels_, want.labels_)
        np.testing.assert_allclose(got.distances_, c * want.distances_, rtol=1e-12)


@pytest.mark.parametrize("linkage", ["single", "complete", "average"])
def test_angles_on_a_sphere(rng, linkage):
    X = np.deg2rad(rng.uniform(-80, 80, size=(25, 2)))
    model = AgglomerativeClustering(linkage=linkage, metric="haversine").fit(X)
    D = haversine_distances(X)
    want = hierarchy.linkage(squareform(D, checks=False), linkage)
    np.testing.assert_allclose(model.distances_, want[:, 2], rtol=1e-12)


def test_refusals(rng, monkeypatch):
    X = rng.normal(size=(10, 2))
    for options, words in (
        ({"n_clusters": None}, "n_clusters or distance_threshold must be None, and not both"),
        ({"distance_threshold": 1.0}, "n_clusters or distance_threshold must be None"),
        ({"metric": "manhattan"}, "metric must be 'euclidean' for linkage='ward'"),
        ({"n_clusters": 11}, "n_clusters must be at most the number of rows, 10, got 11"),
        ({"connectivity": np.ones((3, 3))}, r"connectivity must be a matrix of shape \(10, 10\)"),
        (
            {"n_clusters": None, "distance_threshold": 1.0, "compute_full_tree": False},
            "compute_full_tree must be True",
        ),
    ):
        with pytest.raises(ValueError, match=f"AgglomerativeClustering: {words}"):
            AgglomerativeClustering(**options).fit(X)
    with pytest.raises(ValueError, match="at least 2 rows"):
        AgglomerativeClustering().fit(X[:1])
    monkeypatch.setattr(module, "re", type("", (), {"M": 0, "search": lambda *a: ["", "0"]}))
    with pytest.raises(MemoryError, match="must fit the free memory of 0 MiB"):
        AgglomerativeClustering(linkage="average").fit(np.ones((2100, 1)))  # 16.8 MiB
