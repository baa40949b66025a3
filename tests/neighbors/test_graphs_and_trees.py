"""Transformers to graphs, k-d trees, radii without end, medians of sparse rows, globes."""

import numpy as np
import pytest
import scipy.sparse
import sklearn.impute
import sklearn.neighbors as peer

from kernelmill.neighbors import (
    KDTree,
    KernelDensity,
    KNeighborsTransformer,
    NearestCentroid,
    NearestNeighbors,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
    RadiusNeighborsTransformer,
)
from kernelmill.preprocessing import KNNImputer, SimpleImputer

RNG = np.random.default_rng(3)
X = RNG.normal(size=(200, 3))
Q = RNG.normal(size=(40, 3))


def same_graph(found, expected):
    assert found.shape == expected.shape
    assert (found != expected).nnz == 0 or abs(found - expected).max() < 1e-12
    assert found.nnz == expected.nnz


@pytest.mark.parametrize("mode", ["distance", "connectivity"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
def test_transformers_are_scikit_learns(mode, metric):
    pairs = (
        (KNeighborsTransformer, peer.KNeighborsTransformer, {"n_neighbors": 4}),
        (RadiusNeighborsTransformer, peer.RadiusNeighborsTransformer, {"radius": 0.8}),
    )
    for ours, theirs, parameters in pairs:
        one = ours(mode=mode, metric=metric, **parameters).fit(X)
        other = theirs(mode=mode, metric=metric, **parameters).fit(X)
        for rows in (X, Q):
            same_graph(one.transform(rows), other.transform(rows))
        same_graph(one.fit_transform(X), other.fit_transform(X))
        assert list(one.get_feature_names_out()) == list(other.get_feature_names_out())


@pytest.mark.parametrize("c", [2.0**-300, 2.0**300])
def test_graphs_of_scaled_rows_are_scaled(c):
    for one, other in (
        (KNeighborsTransformer(), KNeighborsTransformer()),
        (RadiusNeighborsTransformer(radius=0.7), RadiusNeighborsTransformer(radius=0.7 * c)),
    ):
        same_graph(other.fit_transform(X * c) / c, one.fit_transform(X))


def test_a_graph_stands_for_rows():
    graph = KNeighborsTransformer(n_neighbors=12).fit_transform(X)
    model = NearestNeighbors(n_neighbors=5, metric="precomputed").fit(graph)
    found = model.kneighbors()[1]
    assert np.array_equal(found, NearestNeighbors(n_neighbors=5).fit(X).kneighbors()[1])


@pytest.mark.parametrize("metric", ["minkowski", "chebyshev", "manhattan"])
def test_trees_are_scikit_learns(metric):
    tree, other = KDTree(X, metric=metric), peer.KDTree(X, metric=metric)
    distances, indices = tree.query(Q, k=7)
    np.testing.assert_allclose(distances, other.query(Q, k=7)[0], rtol=1e-12)
    assert np.array_equal(indices, other.query(Q, k=7)[1])
    assert np.array_equal(tree.query(Q, 2, return_distance=False), indices[:, :2])
    radii = np.linspace(0.1, 2.0, len(Q))
    for r in (0.7, radii):
        count = tree.query_radius(Q, r, count_only=True)
        assert np.array_equal(count, other.query_radius(Q, r, count_only=True))
        found, far = tree.query_radius(Q, r, return_distance=True, sort_results=True)
        expected, away = other.query_radius(Q, r, return_distance=True, sort_results=True)
        for one, two, a, b in zip(found, expected, far, away, strict=True):
            assert np.array_equal(one, two)
            np.testing.assert_allclose(a, b, rtol=1e-12)
    assert np.array_equal(
        tree.two_point_correlation(Q, [0.2, 1.0]), other.two_point_correlation(Q, [0.2, 1.0])
    )
    np.testing.assert_allclose(
        tree.kernel_density(Q, 0.4), other.kernel_density(Q, 0.4, rtol=1e-10), rtol=1e-7
    )
    assert len(tree) == 200
    assert np.array_equal(tree.data, X)


def test_trees_refuse():
    tree = KDTree(X)
    with pytest.raises(ValueError, match="return_distance must be False with count_only"):
        tree.query_radius(Q, 1.0, return_distance=True, count_only=True)
    with pytest.raises(ValueError, match="return_distance must be True with sort_results"):
        tree.query_radius(Q, 1.0, sort_results=True)
    with pytest.raises(ValueError, match=r"r must be a number or have shape \(40,\), got \(3,\)"):
        tree.query_radius(Q, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="metric 'cosine' must have algorithm"):
        KDTree(X, metric="cosine")


def test_names_of_metrics_of_trees(rng):
    import sklearn.neighbors

    X = rng.normal(size=(30, 2))
    assert sorted(KDTree.valid_metrics) == sorted(sklearn.neighbors.KDTree.valid_metrics)
    for metric in KDTree.valid_metrics:
        found = KDTree(X, metric=metric).query(X, 3)
        np.testing.assert_allclose(found, sklearn.neighbors.KDTree(X, metric=metric).query(X, 3))


def test_no_radius_and_one_without_end():
    model = NearestNeighbors(radius=None).fit(X)
    assert model.radius_neighbors(Q, 1.0)[0][0].shape == peer.NearestNeighbors(
        radius=None).fit(X).radius_neighbors(Q, 1.0)[0][0].shape  # fmt: skip
    with pytest.raises(ValueError, match="NearestNeighbors: radius must be given here or to the"):
        model.radius_neighbors(Q)
    with pytest.raises(ValueError, match="radius must be"):
        NearestNeighbors(radius=-1.0).fit(X)
    for algorithm in ("kd_tree", "brute"):
        every = NearestNeighbors(radius=np.inf, algorithm=algorithm).fit(X)
        assert every.radius_neighbors_graph(Q).nnz == 40 * 200
    y = X[:, 0]
    np.testing.assert_allclose(
        RadiusNeighborsRegressor(np.inf).fit(X, y).predict(Q), np.full(40, y.mean())
    )
    assert set(RadiusNeighborsClassifier(np.inf).fit(X, y > 0.5).predict(Q)) == {False}


@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_medians_of_sparse_rows(density):
    rows = np.where(RNG.random((61, 12)) < density, RNG.normal(size=(61, 12)), 0.0)
    labels = RNG.integers(0, 3, 61)
    dense = NearestCentroid("manhattan").fit(rows, labels)
    for kind in (scipy.sparse.csr_matrix, scipy.sparse.csc_matrix):
        model = NearestCentroid("manhattan").fit(kind(rows), labels)
        np.testing.assert_allclose(model.centroids_, dense.centroids_, rtol=1e-14)
        np.testing.assert_allclose(model.within_class_std_dev_, dense.within_class_std_dev_)
        assert np.array_equal(model.predict(kind(rows)), dense.predict(rows))


@pytest.mark.parametrize(
    "kernel", ["gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine"]
)
def test_density_on_a_globe(kernel):
    low, high = [-np.pi / 2, -np.pi], [np.pi / 2, np.pi]
    places, new = RNG.uniform(low, high, (150, 2)), RNG.uniform(low, high, (60, 2))
    weight = RNG.uniform(0.5, 2.0, 150)
    given = {"kernel": kernel, "metric": "haversine", "bandwidth": 0.5}
    for w in (None, weight):
        found = KernelDensity(**given).fit(places, sample_weight=w).score_samples(new)
        other = peer.KernelDensity(**given, rtol=1e-12).fit(places, sample_weight=w)
        expected = other.score_samples(new)
        seen = np.isfinite(expected) & (expected > -100)
        if kernel == "cosine":  # scikit-learn's does not integrate to 1 in a plane
            expected = expected + (found[seen][0] - expected[seen][0])
        np.testing.assert_allclose(found[seen], expected[seen], rtol=1e-6)
        assert (found[~seen] == -np.inf).all()
    far = KernelDensity(bandwidth=1e-3, metric="haversine").fit([[0.0, 0.0]])
    assert np.isfinite(far.score_samples([[0.0, 3.1]])).all()


@pytest.mark.parametrize("kind", ["KNNImputer", "SimpleImputer"])
def test_indicators_of_imputers(kind):
    gaps = np.where(RNG.random((30, 4)) < 0.2, np.nan, RNG.normal(size=(30, 4)))
    gaps[:, 2] = 1.0
    ours = {"KNNImputer": KNNImputer, "SimpleImputer": SimpleImputer}[kind]
    model = ours(add_indicator=True).fit(gaps)
    other = getattr(sklearn.impute, kind)(add_indicator=True).fit(gaps)
    assert np.array_equal(model.indicator_.features_, other.indicator_.features_)
    expected = other.indicator_.transform(np.isnan(gaps))  # that one takes masks
    assert np.array_equal(model.indicator_.transform(gaps), expected)
    assert ours().fit(gaps).indicator_ is None
