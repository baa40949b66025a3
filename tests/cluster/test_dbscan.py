"""DBSCAN against its definition, scikit-learn, and inputs on which others failed."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
from scipy.spatial.distance import cdist

import kernelmill
from kernelmill.cluster import DBSCAN
from kernelmill.neighbors import NearestNeighbors
from kernelmill.ops import neighbors as ops


def definition(D, eps, min_samples, weight=None):
    """Labels and core rows from all distances, by the words of the paper."""
    n = len(D)
    near = eps >= D
    core = near @ (np.ones(n) if weight is None else weight) >= min_samples
    reached = near & core & core[:, None]
    for _ in range(n.bit_length()):  # paths of twice the length
        reached = (reached.astype(float) @ reached) > 0
    labels, number = np.full(n, -1), 0
    for i in np.flatnonzero(core):
        if labels[i] < 0:
            labels[reached[i]] = number
            number += 1
    for i in np.flatnonzero(~core):
        around = labels[near[i] & core]
        labels[i] = around.min() if len(around) else -1
    return labels, core


def test_the_definition_on_small_sets():
    for seed in range(500):
        rng = np.random.default_rng(seed)
        n, d = rng.integers(1, 90), rng.integers(1, 12)
        X = rng.integers(0, 5, (n, d)).astype([np.float32, np.float64][seed % 2])
        metric = ["euclidean", "manhattan", "chebyshev"][seed % 3]
        D = cdist(X, X, {"manhattan": "cityblock"}.get(metric, metric))
        eps = max(float(np.sort(D, axis=None)[rng.integers(0, n * n)]), 0.5)
        least = int(rng.integers(1, 8))
        weight = rng.integers(0, 3, n).astype(float) if seed % 5 == 0 else None
        if weight is not None and not weight.any():
            weight[0] = 1
        labels, core = definition(D, eps, least, weight)
        for algorithm in ("brute", "kd_tree"):
            model = DBSCAN(eps, min_samples=least, metric=metric, algorithm=algorithm)
            model.fit(X, sample_weight=weight)
            np.testing.assert_array_equal(model.labels_, labels)
            np.testing.assert_array_equal(model.core_sample_indices_, np.flatnonzero(core))


@pytest.mark.parametrize("d", [2, 3, 9, 15])
def test_labels_are_those_of_scikit_learn(rng, d):
    centers = rng.normal(size=(6, d)) * 4
    X = centers[rng.integers(0, 6, 3000)] + rng.normal(size=(3000, d))
    for eps in (0.25 * d**0.5, 0.6 * d**0.5):
        want = sklearn.cluster.DBSCAN(eps=eps, min_samples=6).fit(X)
        for algorithm in ("auto", "kd_tree", "brute"):
            got = DBSCAN(eps, min_samples=6, algorithm=algorithm).fit(X)
            np.testing.assert_array_equal(got.labels_, want.labels_)
            np.testing.assert_array_equal(got.core_sample_indices_, want.core_sample_indices_)
            np.testing.assert_array_equal(got.components_, want.components_)


@pytest.mark.parametrize("metric", ["cosine", "hamming", "haversine", "precomputed", "callable"])
def test_other_metrics(rng, metric):
    X = rng.normal(size=(150, 2)) if metric != "hamming" else rng.integers(0, 3, (150, 6))
    X = X.astype(float)
    names = {"callable": "cityblock", "precomputed": "euclidean"}
    if metric == "haversine":
        D = sklearn.metrics.pairwise.haversine_distances(X)
    else:
        D = cdist(X, X, names.get(metric, metric))
    eps = float(np.quantile(D, 0.02)) * (1 + 1e-9) + 1e-12
    given = {"callable": lambda a, b: np.abs(a - b).sum()}.get(metric, metric)
    model = DBSCAN(eps, min_samples=4, metric=given)
    model.fit(D if metric == "precomputed" else X)
    np.testing.assert_array_equal(model.labels_, definition(D, eps, 4)[0])


def test_sparse_rows(rng):
    X = sp.random(200, 30, 0.1, random_state=0, format="csr")
    D = cdist(X.toarray(), X.toarray())
    eps = float(np.quantile(D, 0.1))
    np.testing.assert_array_equal(
        DBSCAN(eps, min_samples=3).fit(X).labels_, definition(D, eps, 3)[0]
    )


def test_border_and_noise():
    """annoviko/pyclustering#462, rust-ml/linfa#99, mlpack/mlpack#3339, arborx/ArborX#525"""
    one = np.array([0, 1, 1.5, 2, 3])[:, None]
    assert DBSCAN(1, min_samples=4).fit_predict(one).tolist() == [0] * 5
    chain = np.arange(5.0)[:, None]
    assert DBSCAN(1, min_samples=4).fit_predict(chain).tolist() == [-1] * 5
    angle = np.repeat(np.deg2rad([0, 120, 240]), 4)
    r = np.tile([1, 2, 2.9, 3], 3)
    star = np.vstack([np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1), [[0, 0]]])
    model = DBSCAN(1, min_samples=4)
    # cos(120 degrees) is not exactly -1/2 in floats: a radius that is a unit larger is meant.
    model.set_params(eps=1 + 1e-12)
    assert model.fit_predict(star).tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3]


def test_a_distance_equal_to_eps_counts():
    X = np.array([0.1, 0.3, 0.5, 0.7])[:, None]
    for eps in np.unique(cdist(X, X))[1:]:
        for algorithm in ("brute", "kd_tree"):
            model = DBSCAN(float(eps), min_samples=2, algorithm=algorithm).fit(X)
            np.testing.assert_array_equal(model.labels_, definition(cdist(X, X), eps, 2)[0])


def test_weights_are_repetition(rng):
    X = rng.normal(size=(300, 2))
    weight = rng.integers(1, 4, 300)
    weighted = DBSCAN(0.2, min_samples=9).fit(X, sample_weight=weight)
    repeated = DBSCAN(0.2, min_samples=9).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_array_equal(np.repeat(weighted.labels_, weight), repeated.labels_)
    # Where distances come in blocks.
    D = cdist(X, X)
    blocks = DBSCAN(0.2, min_samples=9, metric="precomputed").fit(D, sample_weight=weight)
    np.testing.assert_array_equal(blocks.labels_, weighted.labels_)


def test_weights_in_a_column(rng):
    polars = pytest.importorskip("polars", reason="needs polars")
    X, weight = rng.normal(size=(300, 2)), rng.integers(1, 4, 300)
    table = polars.DataFrame({"x": X[:, 0], "weight": weight, "y": X[:, 1]})
    named = DBSCAN(0.2, min_samples=9).fit(table, sample_weight="weight")
    want = DBSCAN(0.2, min_samples=9).fit(X, sample_weight=weight)
    np.testing.assert_array_equal(named.labels_, want.labels_)
    assert named.n_features_in_ == 2


@pytest.mark.parametrize("d", [3, 20])
def test_the_same_at_any_number_of_threads(rng, d):
    X = rng.normal(size=(2500, d)).astype(np.float32)
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            found.append(DBSCAN(0.2 * d**0.5, min_samples=5).fit(X).labels_)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_equal_rows():
    X = np.vstack([np.zeros((5000, 4)), np.ones((5000, 4))])
    for algorithm in ("kd_tree", "brute"):
        labels = DBSCAN(0.5, min_samples=10, algorithm=algorithm).fit_predict(X[::10])
        assert labels.tolist() == [0] * 500 + [1] * 500
    assert DBSCAN(0.5, min_samples=10).fit_predict(X).tolist() == [0] * 5000 + [1] * 5000


def test_predict_finds_the_labels_of_core_rows(rng):
    X = rng.normal(size=(500, 3))
    model = DBSCAN(0.4, min_samples=5).fit(X)
    core = model.core_sample_indices_
    np.testing.assert_array_equal(model.predict(X)[core], model.labels_[core])
    assert model.predict([[99.0, 0, 0]]).tolist() == [-1]
    assert DBSCAN(0.4, min_samples=501).fit(X).predict(X[:2]).tolist() == [-1, -1]


def test_memory_is_linear_in_rows(rng):
    """scikit-learn/scikit-learn#22531: all rows within the radius of each other."""
    import tracemalloc

    X = rng.normal(size=(20_000, 9))
    tracemalloc.start()
    model = DBSCAN(100.0).fit(X)
    assert tracemalloc.get_traced_memory()[1] < 40 * X.nbytes
    tracemalloc.stop()
    assert not model.labels_.any()


def test_the_specification_serves_the_estimator(rng):
    X = rng.normal(size=(120, 2))
    want = DBSCAN(0.3).fit(X).labels_
    with kernelmill.backend("numpy"):
        np.testing.assert_array_equal(DBSCAN(0.3).fit(X).labels_, want)


def test_refusals(rng):
    X = rng.normal(size=(20, 3))
    with pytest.raises(ValueError, match="DBSCAN: eps must be a number above 0"):
        DBSCAN(0.0).fit(X)
    with pytest.raises(ValueError, match="DBSCAN: metric must be one of"):
        DBSCAN(metric="nothing").fit(X)
    with pytest.raises(ValueError, match="no negative entry for metric='precomputed', got -1"):
        DBSCAN(metric="precomputed").fit(-np.ones((3, 3)))
    assert ops.dbscan.cuda


def test_a_sparse_graph_of_distances(rng):
    X = np.concatenate([rng.normal(size=(30, 2)), 9 + rng.normal(size=(30, 2))])
    graph = NearestNeighbors(radius=0.9).fit(X).radius_neighbors_graph(mode="distance")
    model = DBSCAN(eps=0.8, metric="precomputed").fit(graph)
    expected = DBSCAN(eps=0.8).fit(X)
    np.testing.assert_array_equal(model.labels_, expected.labels_)
    queries = NearestNeighbors(radius=0.9).fit(X).radius_neighbors_graph(X, mode="distance")
    np.testing.assert_array_equal(model.predict(queries), expected.predict(X))
