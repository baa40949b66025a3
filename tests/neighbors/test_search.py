"""Searches against brute force in float64, for all metrics; ties; inputs on which others failed."""

import math
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import haversine_distances, nan_euclidean_distances

import kernelmill
from kernelmill.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    NearestNeighbors,
    kneighbors_graph,
    radius_neighbors_graph,
)

MATRIX = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 3.0]])
METRICS = {
    "euclidean": ({}, lambda X, Y: cdist(X, Y)),
    "sqeuclidean": ({}, lambda X, Y: cdist(X, Y, "sqeuclidean")),
    "manhattan": ({}, lambda X, Y: cdist(X, Y, "cityblock")),
    "chebyshev": ({}, lambda X, Y: cdist(X, Y, "chebyshev")),
    "minkowski": ({"p": 3}, lambda X, Y: cdist(X, Y, "minkowski", p=3)),
    "minkowski weighted": (
        {"p": 1.5, "metric_params": {"w": [1.0, 2.0, 0.5]}},
        lambda X, Y: cdist(X, Y, "minkowski", p=1.5, w=[1.0, 2.0, 0.5]),
    ),
    "seuclidean": (
        {"metric_params": {"V": [1.0, 4.0, 0.25]}},
        lambda X, Y: cdist(X, Y, "seuclidean", V=[1.0, 4.0, 0.25]),
    ),
    "mahalanobis": (
        {"metric_params": {"VI": MATRIX}}, lambda X, Y: cdist(X, Y, "mahalanobis", VI=MATRIX),
    ),
    "cosine": ({}, lambda X, Y: cdist(X, Y, "cosine")),
    "correlation": ({}, lambda X, Y: cdist(X, Y, "correlation")),
    "hamming": ({}, lambda X, Y: cdist(X, Y, "hamming")),
    "canberra": ({}, lambda X, Y: cdist(X, Y, "canberra")),
    "nan_euclidean": ({}, nan_euclidean_distances),
    "callable": ({}, lambda X, Y: cdist(X, Y, "cityblock")),
}  # fmt: skip


def brute(D, k):
    """The k least of each row, equal ones by index."""
    order = np.argsort(D, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(D, order, axis=1), order


def agree(got, D, exact):
    """Distances to within rounding; indices too where no two distances are nearly equal."""
    distances, indices = got
    want, order = brute(D, distances.shape[1])
    # Cosines near 1 have no more digits than this.
    np.testing.assert_allclose(distances, want, rtol=1e-9, atol=1e-14)
    if exact:
        np.testing.assert_array_equal(indices, order)
    else:
        own = np.take_along_axis(D, indices, axis=1)
        np.testing.assert_allclose(own, want, rtol=1e-9, atol=1e-14)
        for row in indices:
            assert len(set(row.tolist())) == len(row)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_metric(rng, name, dtype):
    options, distances = METRICS[name]
    metric = (lambda a, b: np.abs(a - b).sum()) if name == "callable" else name.partition(" ")[0]
    for whole in (True, False):
        X, Y = rng.normal(size=(40, 3)).astype(dtype), rng.normal(size=(150, 3)).astype(dtype)
        if whole:
            X, Y = np.round(2 * X), np.round(2 * Y)
        if name in ("cosine", "correlation"):
            X, Y = X + np.arange(3, dtype=dtype) * 7, Y + np.arange(3, dtype=dtype) * 7
        if name == "nan_euclidean":
            X[::3, 0] = np.nan
            Y[::4, 1] = np.nan
        D = distances(X.astype(float), Y.astype(float))
        exact = whole and name in (
            "euclidean", "sqeuclidean", "manhattan", "chebyshev", "hamming", "callable"
        )  # fmt: skip
        for algorithm in ("auto", "brute"):
            model = NearestNeighbors(algorithm=algorithm, metric=metric, **options).fit(Y)
            for k in (1, 5, 150):
                agree(model.kneighbors(X, k), D, exact)
            radius = float(np.quantile(D, 0.1)) * (1 if exact else 1 + 1e-9)
            found, near = model.radius_neighbors(X, radius)
            for i in range(len(X)):
                np.testing.assert_array_equal(near[i], np.flatnonzero(D[i] <= radius))
                np.testing.assert_allclose(found[i], D[i][near[i]], rtol=1e-9, atol=1e-14)


def test_haversine(rng):
    X, Y = (np.stack([rng.uniform(-1.5, 1.5, n), rng.uniform(-3.1, 3.1, n)], 1) for n in (40, 500))
    Y[:20] = X[:20] + rng.normal(size=(20, 2)) * 1e-9  # a centimetre on the Earth
    Y[20:30] = [1.57, 3.14159]
    D = haversine_distances(X, Y)
    model = NearestNeighbors(metric="haversine").fit(Y)
    for k in (1, 7, 500):
        distances, indices = model.kneighbors(X, k)
        want, order = brute(D, k)
        np.testing.assert_allclose(distances, want, rtol=1e-9, atol=1e-16)
        if k < 500:
            np.testing.assert_array_equal(indices, order)
    near = model.radius_neighbors(X, 0.5, return_distance=False)
    for i in range(len(X)):
        np.testing.assert_array_equal(near[i], np.flatnonzero(D[i] <= 0.5))


def test_ties_on_a_sphere(rng):
    """The same angles decide as are reported; equal places come by index."""
    X = np.stack([rng.uniform(-1.5, 1.5, 90), rng.uniform(-3.1, 3.1, 90)], axis=1)
    Q, Y = X[:30], np.tile(X[30:], (2, 1))
    model = NearestNeighbors(metric="haversine").fit(Y)
    distances, indices = model.kneighbors(Q, 6)
    np.testing.assert_array_equal(indices[:, 1::2], indices[:, ::2] + 60)
    for i in range(30):
        near = model.radius_neighbors(Q[i : i + 1], distances[i, -1], return_distance=False)[0]
        assert near.tolist() == sorted(indices[i].tolist())
    for k in (1, 3, 5):
        np.testing.assert_array_equal(model.kneighbors(Q, k)[1], indices[:, :k])


@pytest.mark.parametrize("metric", ["seuclidean", "mahalanobis"])
def test_deviations_of_the_rows(rng, metric):
    X = rng.normal(size=(50, 3)) @ MATRIX
    cov = np.cov(X.T)
    if metric == "seuclidean":
        cases = {None: {"V": X.var(axis=0, ddof=1)}}
    else:
        cases = {None: {"VI": np.linalg.inv(cov)}, "V": {"VI": np.linalg.inv(2 * cov)}}
    for name, other in cases.items():
        options = None if name is None else {name: 2 * cov}
        model = NearestNeighbors(metric=metric, metric_params=options).fit(X)
        agree(model.kneighbors(X, 7), cdist(X, X, metric, **other), False)


@pytest.mark.parametrize("metric", ["cosine", "correlation"])
def test_rows_without_a_direction(rng, metric):
    X = rng.normal(size=(9, 4))
    X[[2, 5]] = 0 if metric == "cosine" else 3.0
    distances, indices = NearestNeighbors(metric=metric).fit(X).kneighbors(X[[5]], 9)
    assert indices[0, :2].tolist() == [2, 5]
    np.testing.assert_allclose(distances[0], [0, 0] + 7 * [1], rtol=1e-15)


def test_antipodes_and_the_date_line():
    """locationtech/spatial4j#104, georust/geo#1535, gabmontes/fast-haversine#2 and
    scikit-learn#19567."""
    a, b = np.deg2rad([[-12.0, -94.0]]), np.deg2rad([[12.0, 86.0]])
    distance = NearestNeighbors(metric="haversine").fit(b).kneighbors(a, 1)[0][0, 0]
    np.testing.assert_allclose(distance, math.pi, rtol=1e-7)  # half a bit under the root
    points = np.deg2rad([[0.0, 179.0], [0.0, 170.0], [89.0, 10.0], [89.0, -170.0]])
    model = NearestNeighbors(metric="haversine").fit(points)
    assert model.kneighbors(np.deg2rad([[0.0, -179.0]]), 1, False)[0, 0] == 0
    distance, found = model.kneighbors(np.deg2rad([[89.5, 10.0]]), 2)
    assert found[0].tolist() == [2, 3]
    np.testing.assert_allclose(np.rad2deg(distance[0]), [0.5, 1.5])


def test_distances_from_expanded_squares():
    """spotify/annoy#314, facebookresearch/faiss#297, scikit-learn/scikit-learn#13410"""
    a, b = np.float32([[0.7125930]]), np.float32([[0.7123166]])
    for d in (1, 1000):
        ones = np.ones((1, d), np.float32)
        A, B = (a, b) if d == 1 else (ones, np.float32(1.001) * ones)
        want = np.sqrt(((A.astype(float) - B) ** 2).sum())
        rows = np.vstack([np.repeat(A, 70, axis=0), B])
        distances, indices = NearestNeighbors(algorithm="brute").fit(rows).kneighbors(A, 71)
        assert indices[0].tolist() == list(range(71))
        assert not distances[0, :70].any()
        np.testing.assert_allclose(distances[0, 70], want, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [8, 40, 300])
def test_many_features_far_from_the_origin(rng, dtype, d):
    """The choice is exact, though squares of single numbers are larger than the distances."""
    centers = rng.normal(size=(5, d)) * 1000
    X = (centers[rng.integers(0, 5, 900)] + rng.normal(size=(900, d)) * 0.01).astype(dtype)
    Q = X[:90] + (rng.normal(size=(90, d)) * 0.003).astype(dtype)
    D = cdist(Q.astype(float), X.astype(float))
    distances, indices = NearestNeighbors().fit(X).kneighbors(Q, 12)
    want = brute(D, 12)[0]
    np.testing.assert_allclose(distances, want, rtol=1e-12)
    near = np.take_along_axis(D, indices, axis=1)
    np.testing.assert_allclose(near, want, rtol=1e-14)
    radius = float(np.median(D[:, :50]))
    found = NearestNeighbors(radius=radius).fit(X).radius_neighbors(Q, return_distance=False)
    for i in range(len(Q)):
        np.testing.assert_array_equal(found[i], np.flatnonzero(D[i] <= radius))


def test_more_neighbours_than_rows():
    """facebookresearch/faiss#1206, facebookresearch/faiss#3830, scikit-learn/scikit-learn#29715"""
    model = NearestNeighbors(n_neighbors=4).fit([[0.0], [1.0]])
    with pytest.raises(ValueError, match="at most the number of rows, 2, got 4"):
        model.kneighbors([[0.0]])
    with pytest.raises(ValueError, match="number of rows other than the query, 1, got 2"):
        model.kneighbors(n_neighbors=2)
    with pytest.raises(ValueError, match="X must have at least 1 row"):
        NearestNeighbors().fit(np.zeros((0, 3)))


@pytest.mark.parametrize("d", [3, 20])
def test_a_row_does_not_depend_on_its_company(rng, d):
    """facebookresearch/faiss#3830"""
    X, Q = (rng.normal(size=(n, d)).astype(np.float32) for n in (2000, 70))
    model = NearestNeighbors(n_neighbors=7).fit(X)
    distances, indices = model.kneighbors(Q)
    for n in (1, 19, 20, 33):
        part = model.kneighbors(Q[:n])
        np.testing.assert_array_equal(part[0], distances[:n])
        np.testing.assert_array_equal(part[1], indices[:n])
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            again = model.kneighbors(Q)
        np.testing.assert_array_equal(again[0], distances)
        np.testing.assert_array_equal(again[1], indices)


def test_a_cut_through_equal_coordinates():
    """Vectorized/Python-KD-Tree#9"""
    model = NearestNeighbors(n_neighbors=2, algorithm="kd_tree").fit([[7.0, 3], [5, 3], [2, 3]])
    distances, indices = model.kneighbors([[5.0, 3]])
    assert indices.tolist() == [[1, 0]]
    assert distances.tolist() == [[0, 2]]
    same = NearestNeighbors(n_neighbors=3, algorithm="kd_tree").fit(np.ones((5000, 2)))
    assert same.kneighbors(np.ones((2, 2)), return_distance=False).tolist() == [[0, 1, 2]] * 2
    line = np.zeros((3000, 2))
    line[:, 1] = np.arange(3000) % 10
    found = NearestNeighbors(n_neighbors=4, algorithm="kd_tree").fit(line).kneighbors(line[:10])[1]
    assert found.tolist() == [[i, i + 10, i + 20, i + 30] for i in range(10)]


@pytest.mark.parametrize(
    "metric", ["canberra", "hamming", "sokalmichener", lambda x, y: abs(x[0] - y[0])]
)
def test_ball_trees_of_other_metrics_compare_all_pairs(rng, metric):
    X = rng.integers(0, 2, (30, 3)).astype(bool if metric == "sokalmichener" else float)
    found, want = (
        NearestNeighbors(algorithm=algorithm, metric=metric).fit(X).kneighbors(X[:4])
        for algorithm in ("ball_tree", "brute")
    )
    np.testing.assert_array_equal(found, want)
    with pytest.raises(ValueError, match="must have algorithm='brute' or 'auto'"):
        NearestNeighbors(algorithm="kd_tree", metric=metric).fit(X)


@pytest.mark.parametrize("metric", ["euclidean", "braycurtis"])
def test_each_query_has_a_radius(rng, metric):
    X, Q, radii = rng.random((50, 2)), rng.random((20, 2)), rng.random(20)
    radii[0] = -1
    model = NearestNeighbors(metric=metric).fit(X)
    far, near = model.radius_neighbors(Q, radii, sort_results=True)
    graph = model.radius_neighbors_graph(Q, radii.tolist(), mode="distance")
    for i, radius in enumerate(radii):
        want = model.radius_neighbors(Q[i : i + 1], radius, sort_results=True)
        np.testing.assert_array_equal(near[i], want[1][0])
        np.testing.assert_array_equal(far[i], want[0][0])
        np.testing.assert_array_equal(np.sort(graph[[i]].indices), np.sort(near[i]))
    with pytest.raises(ValueError, match=r"must be a number or have shape \(20,\), got \(3,"):
        model.radius_neighbors(Q, radii[:3])
    with pytest.raises(TypeError, match=r"radius must be a number or numbers, got \['a'\]"):
        model.radius_neighbors(Q, ["a"])


def test_radii_and_exponents_are_single_numbers(rng):
    X = rng.normal(size=(20, 2))
    with pytest.raises(TypeError, match="NearestNeighbors: radius must be a number, got nan"):
        NearestNeighbors().fit(X).radius_neighbors(X, radius=np.nan)
    with pytest.warns(SyntaxWarning, match=r"p must be given once, got p=2 and 1 in metric_params"):
        model = NearestNeighbors(metric_params={"p": 1}).fit(X)
    want = NearestNeighbors(p=1).fit(X).kneighbors(X)
    np.testing.assert_array_equal(model.kneighbors(X), want)


def test_who_is_my_own_neighbour():
    """scikit-learn/scikit-learn#29873, scikit-learn/scikit-learn#16512"""
    X = np.array([[1.0, 2], [1, 2], [3, 4], [3, 4], [5, 0], [5, 0]])
    for algorithm in ("brute", "kd_tree"):
        model = NearestNeighbors(n_neighbors=2, algorithm=algorithm).fit(X)
        assert model.kneighbors(X)[1].tolist() == [[0, 1]] * 2 + [[2, 3]] * 2 + [[4, 5]] * 2
        assert model.kneighbors(n_neighbors=1)[1].ravel().tolist() == [1, 0, 3, 2, 5, 4]
        found = model.radius_neighbors(radius=0.5, return_distance=False)
        assert [row.tolist() for row in found] == [[1], [0], [3], [2], [5], [4]]


def test_exact_match_with_distance_weights():
    """scikit-learn/scikit-learn#3760, paiml/aprender#2198"""
    model = KNeighborsRegressor(3, weights="distance").fit([[1.0], [2], [3]], [1.0, 2, 3])
    assert model.predict([[1.0]]) == [1.0]
    model = KNeighborsClassifier(3, weights="distance").fit([[1.0], [1.0], [2.0]], [0, 1, 2])
    assert model.predict_proba([[1.0]]).tolist() == [[0.5, 0.5, 0.0]]
    near = model.predict_proba([[1 + 1e-300], [1 - 2.0**-53]])
    np.testing.assert_allclose(near, [[0.5, 0.5, 0.0]] * 2, atol=1e-15)


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "manhattan", "cosine"])
def test_sparse_rows(metric):
    X = sp.random(300, 60, 0.1, random_state=0, format="csr")
    X = sp.vstack([X[5:10], X[5:]], format="csr")
    Q = sp.random(40, 60, 0.1, random_state=1, format="csr")
    D = cdist(Q.toarray(), X.toarray(), {"manhattan": "cityblock"}.get(metric, metric))
    D = np.nan_to_num(D, nan=1.0)  # rows of zeros
    agree(NearestNeighbors(metric=metric).fit(X).kneighbors(Q, 6), D, metric != "cosine")
    with pytest.raises(ValueError, match="metric must be one of euclidean"):
        NearestNeighbors(metric="hamming").fit(X)


def test_sparse_rows_far_from_the_origin(rng):
    """Products alone would give nothing of such distances."""
    X = 1e8 + rng.integers(0, 9, (40, 5)).astype(float)
    D = cdist(X, X)
    model = NearestNeighbors(radius=4.0).fit(sp.csr_matrix(X))
    agree(model.kneighbors(sp.csr_matrix(X), 6), D, True)
    found, near = model.radius_neighbors(sp.csr_matrix(X))
    for i in range(40):
        np.testing.assert_array_equal(near[i], np.flatnonzero(D[i] <= 4.0))
        np.testing.assert_allclose(found[i], D[i][near[i]], rtol=1e-14)


def test_precomputed_distances(rng):
    X = rng.normal(size=(60, 3))
    D = cdist(X, X)
    model = NearestNeighbors(n_neighbors=4, metric="precomputed").fit(D)
    np.testing.assert_array_equal(model.kneighbors(D)[1], brute(D, 4)[1])
    other = NearestNeighbors(n_neighbors=4).fit(X)
    np.testing.assert_array_equal(model.kneighbors()[1], other.kneighbors()[1])
    with pytest.raises(ValueError, match="must be square"):
        model.fit(D[:5])


def test_order_within_a_radius():
    """By distance, equal ones by index."""
    model = NearestNeighbors(radius=1.0).fit([[1.0], [-1.0], [0.5], [1.0], [9.0]])
    distances, indices = model.radius_neighbors([[0.0]], sort_results=True)
    assert indices[0].tolist() == [2, 0, 1, 3]
    assert distances[0].tolist() == [0.5, 1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="return_distance must be True if sort_results is"):
        model.radius_neighbors([[0.0]], sort_results=True, return_distance=False)


def test_graphs(rng):
    import sklearn.neighbors as peer

    X = rng.normal(size=(80, 3))
    for mode in ("connectivity", "distance"):
        for itself in (True, False, "auto"):
            got = kneighbors_graph(X, 4, mode=mode, include_self=itself)
            want = peer.kneighbors_graph(X, 4, mode=mode, include_self=itself)
            np.testing.assert_allclose(got.toarray(), want.toarray())
            got = radius_neighbors_graph(X, 1.0, mode=mode, include_self=itself)
            want = peer.radius_neighbors_graph(X, 1.0, mode=mode, include_self=itself)
            np.testing.assert_allclose(got.toarray(), want.toarray())
    model = NearestNeighbors().fit(X)
    assert kneighbors_graph(model, 2).nnz == 160
    ordered = model.radius_neighbors_graph(X, 1.0, "distance", sort_results=True)
    for row in ordered:
        assert (np.diff(row.data) >= 0).all()
    with pytest.raises(ValueError, match="metric must be that of the model"):
        kneighbors_graph(model, 2, metric="cosine")
    with pytest.raises(ValueError, match="mode must be"):
        kneighbors_graph(X, 2, mode="other")


def test_scaled_rows_have_the_same_neighbours(rng):
    X = rng.normal(size=(400, 3))
    want = NearestNeighbors().fit(X).kneighbors()
    for c in (2.0**-300, 1e-9, 1e9, 2.0**300):
        got = NearestNeighbors().fit(c * X).kneighbors()
        np.testing.assert_array_equal(got[1], want[1])
        np.testing.assert_allclose(got[0], c * want[0], rtol=1e-12)


def test_refusals(rng):
    X = rng.normal(size=(30, 3))
    for options, words in (
        ({"metric": "nothing"}, "metric must be one of"),
        ({"metric": "haversine"}, "X must have 2 features"),
        ({"metric": "cosine", "algorithm": "kd_tree"}, "must have algorithm='brute'"),
        ({"metric": "canberra", "algorithm": "kd_tree"}, "must have algorithm='brute'"),
        ({"metric": "seuclidean", "metric_params": {"V": [1.0]}}, "V must be 3 variances"),
        ({"metric": "mahalanobis", "metric_params": {"VI": np.ones(3)}}, "V and VI must be"),
        ({"metric": "mahalanobis", "metric_params": {"VI": -MATRIX}}, "no negative eigenvalue"),
        ({"p": 3, "metric_params": {"w": [1.0]}}, "w must be 3 numbers"),
        ({"p": 0}, "p must be"),
        ({"n_neighbors": 0}, "n_neighbors must be a whole number"),
    ):
        with pytest.raises(ValueError, match=f"^NearestNeighbors: .*{words}"):
            NearestNeighbors(**options).fit(X)
    with pytest.raises(TypeError, match="n_neighbors must be a whole number"):
        NearestNeighbors().fit(X).kneighbors(X, 1.5)


def test_saved_and_loaded(rng, tmp_path):
    X = rng.normal(size=(300, 3))
    for options in ({}, {"metric": "mahalanobis"}, {"metric": "cosine"}):
        model = NearestNeighbors(**options).fit(X)
        kernelmill.save(model, tmp_path / "model")
        again = kernelmill.load(tmp_path / "model")
        np.testing.assert_array_equal(again.kneighbors(X)[1], model.kneighbors(X)[1])


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine", "mahalanobis"])
def test_sparse_queries_of_dense_rows(rng, metric):
    X = rng.normal(size=(40, 3))
    Q = sp.random(5, 3, 0.6, "csr", random_state=0)
    model = NearestNeighbors(n_neighbors=3, metric=metric).fit(X)
    for found, expected in zip(model.kneighbors(Q), model.kneighbors(Q.toarray()), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "manhattan", "cosine"])
def test_dense_queries_of_sparse_rows(rng, metric):
    X = rng.normal(size=(30, 4)) * (rng.random((30, 4)) < 0.6) + np.eye(4)[0]
    model = NearestNeighbors(n_neighbors=3, metric=metric).fit(sp.csr_matrix(X))
    expected = model.kneighbors(sp.csr_matrix(X[:5]))
    for found, other in zip(model.kneighbors(X[:5]), expected, strict=True):
        np.testing.assert_array_equal(found, other)


def test_sparse_distances_that_are_not_stored_are_no_neighbours(rng):
    X = rng.normal(size=(40, 2))
    full = NearestNeighbors(n_neighbors=4).fit(X)
    graph = full.kneighbors_graph(X, 6, mode="distance")
    model = NearestNeighbors(n_neighbors=4, metric="precomputed").fit(graph)
    for found, other in zip(model.kneighbors(), full.kneighbors(), strict=True):
        np.testing.assert_allclose(found, other)
    assert all(len(near) < 6 for near in model.radius_neighbors(radius=9.0)[1])
    with pytest.raises(ValueError, match=r"7 distances stored in each row.*row 0"):
        model.kneighbors(n_neighbors=7)


def test_metrics_of_scipy_and_of_booleans(rng):
    X = rng.random((20, 5))
    X[rng.random(X.shape) < 0.4] = 0
    X[:, 0] = 0.5
    for metric, other in [("jensenshannon", None), ("sokalmichener", "rogerstanimoto")]:
        own = X if other is None else X > 0
        D = cdist(own, own, other or metric)
        found = NearestNeighbors(n_neighbors=3, metric=metric).fit(own).kneighbors(own)[0]
        np.testing.assert_allclose(found, np.sort(D, axis=1)[:, :3], atol=1e-7)
    first = NearestNeighbors(metric="p", p=3).fit(X).kneighbors(X)[0]
    second = NearestNeighbors(metric="minkowski", p=3).fit(X).kneighbors(X)[0]
    np.testing.assert_array_equal(first, second)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NearestNeighbors(metric="jaccard").fit(X > 0).kneighbors(X > 0)


def test_undefined_distances_are_no_neighbours():
    """The first row shares a feature with the last alone."""
    X = np.array([[np.nan, 2.9], [1.0, np.nan], [2.0, np.nan], [np.nan, 3.0]])
    model = NearestNeighbors(n_neighbors=2, metric="nan_euclidean").fit(X)
    for search in (model.kneighbors, model.kneighbors_graph):
        with pytest.raises(ValueError, match="3 distances defined in each row, got fewer in row 0"):
            search(X, 3)
    with pytest.raises(ValueError, match="2 distances defined in each row, got fewer in row 0"):
        KNeighborsRegressor(2, metric="nan_euclidean").fit(X[1:], [1.0, 2, 3]).predict(X[:1])
    assert model.kneighbors(X[:1])[1].tolist() == [[0, 3]]
