"""Predictions beside scikit-learn's, and the definitions of what it lacks."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.neighbors as peer
from scipy.spatial.distance import cdist

import kernelmill
from kernelmill import neighbors
from kernelmill.neighbors import (
    KernelDensity,
    KNeighborsClassifier,
    LocalOutlierFactor,
    MLkNN,
    NearestCentroid,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)

KERNELS = ["gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine"]
FAR = "ignore:.*have no neighbors within specified radius:UserWarning"


def blobs(rng, n=300, d=3, k=3):
    y = rng.integers(0, k, n)
    return rng.normal(size=(k, d))[y] * 2 + rng.normal(size=(n, d)), y


WEIGHTS = ["uniform", "distance", lambda d: np.exp(-d)]


@pytest.mark.parametrize("weights", WEIGHTS, ids=["uniform", "distance", "function"])
@pytest.mark.parametrize("several", [False, True])
def test_k_nearest(rng, weights, several):
    X, y = blobs(rng)
    Q = blobs(rng, 80)[0]
    Y = np.stack([y, rng.integers(0, 2, len(y))], axis=1) if several else np.array(list("abc"))[y]
    options = {"n_neighbors": 7, "weights": weights}
    ours = KNeighborsClassifier(**options).fit(X, Y)
    other = peer.KNeighborsClassifier(**options).fit(X, Y)
    np.testing.assert_array_equal(ours.predict(Q), other.predict(Q))
    for a, b in zip(ours.predict_proba(Q), other.predict_proba(Q), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    if not several:
        assert ours.score(X, Y) == other.score(X, Y)
    Z = rng.normal(size=(len(X), 2)) if several else X[:, 0] ** 2
    ours = neighbors.KNeighborsRegressor(**options).fit(X, Z)
    other = peer.KNeighborsRegressor(**options).fit(X, Z)
    np.testing.assert_allclose(ours.predict(Q), other.predict(Q), rtol=1e-10)
    np.testing.assert_allclose(ours.predict(X), other.predict(X), rtol=1e-10)


@pytest.mark.parametrize("given", [np.asarray, np.asfortranarray, sp.csr_array, lambda X: X[:, :2]])
@pytest.mark.parametrize("algorithm", ["brute", "kd_tree"])
def test_models_own_their_rows(rng, given, algorithm):
    """What the caller does with the array, after the fit, changes no prediction."""
    X, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    X = given(X)
    if sp.issparse(X) and algorithm == "kd_tree":
        algorithm = "auto"
    Q = X.copy()
    models = [
        neighbors.NearestNeighbors(n_neighbors=3, algorithm=algorithm),
        neighbors.KNeighborsRegressor(3, algorithm=algorithm),
        RadiusNeighborsRegressor(2.0, algorithm=algorithm),
        LocalOutlierFactor(3, novelty=True, algorithm=algorithm),
    ]

    def results():
        for model in models:
            call = getattr(model, "predict", None) or model.kneighbors
            yield np.array(call(Q))
            yield np.array(list(call(None))) if model is not models[3] else model.kneighbors()[1]

    for model in models:
        model.fit(X, y)
    before = list(results())
    entries = X.data if sp.issparse(X) else X
    entries += rng.normal(size=entries.shape)
    y += 1
    for a, b in zip(before, results(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_read_only_rows_are_not_copied(rng):
    X = rng.normal(size=(40, 3))
    model = neighbors.NearestNeighbors(algorithm="brute")
    assert not np.shares_memory(model.fit(X)._fit_X, X)
    X.flags.writeable = False
    assert np.shares_memory(model.fit(X)._fit_X, X)


class Wrapped:
    """What shows its own memory when it is asked for an array."""

    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype, copy=False)

    def __len__(self):
        return len(self.values)


@pytest.mark.parametrize("kind", ["frame", "read-only view", "wrapped"])
def test_rows_in_memory_of_others_are_copied(rng, kind):
    X, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    Q = X.copy()
    if kind == "frame":
        pd = pytest.importorskip("pandas", reason="pandas is not installed")
        given, targets = pd.DataFrame(X), pd.Series(y)
    elif kind == "wrapped":
        given, targets = Wrapped(X), Wrapped(y)
    else:
        given, targets = np.broadcast_to(X, X.shape), np.broadcast_to(y, y.shape)
    model = neighbors.KNeighborsRegressor(3, algorithm="brute").fit(given, targets)
    before = model.predict(Q)
    if kind == "frame":
        given.iloc[:, 0] *= 5.0
        targets.iloc[:] = 7.0
    X[:, 0] *= 5.0
    y += 1.0
    np.testing.assert_array_equal(model.predict(Q), before)


def fading(lists):
    """Weights of neighbourhoods of different sizes."""
    found = np.empty(len(lists), object)
    found[:] = [np.exp(-3 * distances) for distances in lists]
    return found


@pytest.mark.filterwarnings(FAR)
@pytest.mark.parametrize("weights", ["uniform", "distance", fading])
@pytest.mark.parametrize("several", [False, True])
def test_within_a_radius(rng, weights, several):
    X, y = blobs(rng)
    Q = np.vstack([blobs(rng, 80)[0], [[90.0, 0, 0]]])
    Y = np.stack([y, rng.integers(0, 2, len(y))], axis=1) if several else y
    for outlier in ("most_frequent", [1, 0] if several else 1):
        options = {"radius": 1.0, "weights": weights, "outlier_label": outlier}
        ours = RadiusNeighborsClassifier(**options).fit(X, Y)
        other = peer.RadiusNeighborsClassifier(**options).fit(X, Y)
        np.testing.assert_array_equal(ours.predict(Q), other.predict(Q))
        for a, b in zip(ours.predict_proba(Q), other.predict_proba(Q), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)
    Y = Y.astype(float)
    ours = RadiusNeighborsRegressor(1.0, weights=weights).fit(X, Y)
    other = peer.RadiusNeighborsRegressor(1.0, weights=weights).fit(X, Y)
    np.testing.assert_allclose(ours.predict(Q), other.predict(Q), rtol=1e-10)


def test_rows_without_neighbours(rng):
    X, y = blobs(rng)
    far = [[90.0, 0, 0]]
    with pytest.raises(ValueError, match=r"neighbours within the radius 1\.0, got none"):
        RadiusNeighborsClassifier().fit(X, y).predict(far)
    with pytest.raises(TypeError, match="outlier_label must be of the type of y"):
        RadiusNeighborsClassifier(outlier_label="far").fit(X, y)
    model = RadiusNeighborsClassifier(outlier_label=7).fit(X, y)
    assert model.outlier_label_ == 7
    with pytest.warns(UserWarning, match="Outlier label 7 is not in training classes"):
        assert not model.predict_proba(far).any()
    with pytest.warns(UserWarning, match="Outlier label 7 is not in training classes"):
        assert model.predict(far) == [7]
    with pytest.raises(TypeError, match="outlier_label must be of the type of y, <U1, got 7"):
        RadiusNeighborsClassifier(outlier_label=7).fit(X, np.array(["a", "b"])[y % 2])
    with pytest.warns(UserWarning, match="no neighbors within specified radius"):
        assert np.isnan(RadiusNeighborsRegressor().fit(X, y).predict(far)).all()


def test_rows_whose_neighbours_weigh_nothing(rng):
    X, y = blobs(rng)
    nothing = lambda parts: [part * 0 for part in parts]  # noqa: E731
    model = RadiusNeighborsClassifier(weights=nothing, outlier_label=2).fit(X, y)
    assert model.predict(X[:3]).tolist() == [2, 2, 2]
    assert not model.predict_proba(X[:3]).any()
    with pytest.raises(ValueError, match="weights must give some neighbour of each row a weight"):
        RadiusNeighborsClassifier(weights=nothing).fit(X, y).predict(X[:3])


@pytest.mark.parametrize("model", [neighbors.KNeighborsRegressor, RadiusNeighborsRegressor])
def test_tiny_and_huge_distances_weigh_alike(model):
    X, y = np.array([[0.0], [1.0], [3.0]]), [0.0, 1.0, 2.0]
    want = model(3, weights="distance").fit(X, y).predict([[0.25]])
    for c in (2.0**-400, 2.0**400):
        reach = 3 if model is neighbors.KNeighborsRegressor else 3 * c
        got = model(reach, weights="distance").fit(c * X, y)
        assert got.predict([[c * 0.25]]) == want
        assert got.predict([[c]]) == [1.0]  # a row at distance 0 counts alone


def test_weights_of_another_shape(rng):
    X, y = blobs(rng)
    for model in (KNeighborsClassifier, neighbors.KNeighborsRegressor):
        with pytest.raises(ValueError, match=r"weights must give an array of shape \(2, 3\)"):
            model(3, weights=lambda distances: distances[:, :1]).fit(X, y).predict(X[:2])


def test_neighbours_without_weight():
    model = KNeighborsClassifier(2, weights=lambda d: (d < 1).astype(float))
    model.fit([[0.0], [0.5], [5.0], [6.0]], [0, 0, 1, 1])
    assert model.predict([[0.1]]).tolist() == [0]
    for method in (model.predict, model.predict_proba):
        with pytest.raises(ValueError, match=r"weights must give .* 0 for all of row 1 "):
            method([[0.1], [3.0]])


def test_leave_one_out(rng):
    X, y = blobs(rng)
    model = KNeighborsClassifier(5).fit(X, y)
    for i in (0, 17, 299):
        others = np.arange(300) != i
        alone = KNeighborsClassifier(5).fit(X[others], y[others]).predict(X[i : i + 1])
        assert model.predict(None)[i] == alone[0]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("d", [1, 2, 5])
def test_densities(rng, kernel, d):
    if kernel == "cosine" and d == 2:
        pytest.skip("the norm of scikit-learn 1.9.1 lacks a term there: see the mass in the plane")

    def agree(a, b):
        np.testing.assert_allclose(np.exp(a), np.exp(b), rtol=1e-8, atol=1e-14)

    X, Q = rng.normal(size=(200, d)), rng.normal(size=(50, d))
    weight = rng.uniform(0.5, 2, 200)
    for bandwidth in (0.7, "scott", "silverman"):
        options = {"kernel": kernel, "bandwidth": bandwidth}
        other = peer.KernelDensity(**options, rtol=1e-12).fit(X)
        got = KernelDensity(**options).fit(X)
        np.testing.assert_allclose(got.bandwidth_, other.bandwidth_)
        agree(got.score_samples(Q), other.score_samples(Q))
    other = peer.KernelDensity(kernel=kernel, rtol=1e-12).fit(X, sample_weight=weight)
    got = KernelDensity(kernel=kernel).fit(X, sample_weight=weight)
    agree(got.score_samples(Q), other.score_samples(Q))
    counts = rng.integers(0, 3, 200)
    twice = KernelDensity(kernel=kernel, bandwidth="scott").fit(np.repeat(X, counts, axis=0))
    got = KernelDensity(kernel=kernel, bandwidth="scott").fit(X, sample_weight=counts)
    np.testing.assert_allclose(got.score_samples(Q), twice.score_samples(Q), rtol=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
def test_densities_have_mass_one(kernel):
    grid = np.linspace(-30, 30, 60_001)[:, None]
    model = KernelDensity(kernel=kernel, bandwidth=1.3).fit([[0.0], [1.0], [1.5]])
    mass = np.trapezoid(np.exp(model.score_samples(grid)), grid[:, 0])
    np.testing.assert_allclose(mass, 1, rtol=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_densities_in_the_plane_have_mass_one(kernel):
    side = np.linspace(-14, 14, 281)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    model = KernelDensity(kernel=kernel, bandwidth=1.1).fit([[0.0, 0.3]])
    mass = np.exp(model.score_samples(grid)).sum() * 0.1**2
    np.testing.assert_allclose(mass, 1, rtol=2e-2)  # squares at the edge of a disc


def test_a_tiny_bandwidth(rng):
    """scikit-learn/scikit-learn#25799, scikit-learn/scikit-learn#7492"""
    X = rng.normal(size=(1000, 1))
    logs = KernelDensity(bandwidth=1e-5).fit(X).score_samples(X)
    alone = -np.log(1000 * 1e-5 * np.sqrt(2 * np.pi))
    assert (np.abs(logs - alone) < 1e-9).mean() > 0.9
    assert np.isfinite(KernelDensity(bandwidth=1e-5).fit(X).score_samples([[1e6]])).all()


def test_a_density_keeps_rows_of_its_own(rng):
    X = rng.normal(size=(50, 2))
    model, other = KernelDensity().fit(X), KernelDensity().fit(X.copy())
    X *= 7
    np.testing.assert_array_equal(model.score_samples(X), other.score_samples(X))
    np.testing.assert_array_equal(model.sample(9, 0), other.sample(9, 0))


def test_densities_are_scaled(rng):
    X = rng.normal(size=(100, 2))
    want = KernelDensity(bandwidth=0.5).fit(X).score_samples(X)
    for c in (1e-100, 1e-6, 1e6, 1e100):
        got = KernelDensity(bandwidth=0.5 * c).fit(c * X).score_samples(c * X)
        np.testing.assert_allclose(got, want - 2 * np.log(c), rtol=1e-11)


def test_samples(rng):
    X = np.array([[0.0, 0.0], [100.0, 0.0]])
    for kernel in ("gaussian", "tophat"):
        model = KernelDensity(kernel=kernel).fit(X, sample_weight=[3, 1])
        rows = model.sample(4000, random_state=0)
        near = rows[:, 0] < 50
        assert abs(near.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 4000)
        variance = 1.0 if kernel == "gaussian" else 0.25  # of the unit disc
        np.testing.assert_allclose(rows[near].var(axis=0), variance, rtol=0.15)
        np.testing.assert_array_equal(rows, model.sample(4000, random_state=0))
    # A weight of 2 is a row twice, and equal weights are none.
    once = KernelDensity().fit(X, sample_weight=[2, 5]).sample(50, random_state=1)
    again = KernelDensity().fit(np.repeat(X, [2, 5], axis=0)).sample(50, random_state=1)
    np.testing.assert_array_equal(once, again)
    equal = KernelDensity().fit(X, sample_weight=[3, 3]).sample(50, random_state=1)
    np.testing.assert_array_equal(equal, KernelDensity().fit(X).sample(50, random_state=1))
    with pytest.raises(NotImplementedError, match="kernel must be 'gaussian' or 'tophat'"):
        KernelDensity(kernel="linear").fit(X).sample()
    with pytest.raises(ValueError, match="KernelDensity: metric must be Euclidean"):
        KernelDensity(metric="canberra").fit(X)


@pytest.mark.parametrize(
    ("metric", "params"),
    [
        ("haversine", None),
        ("seuclidean", {"V": [1.0, 4.0]}),
        ("mahalanobis", {"VI": [[2, 0], [0, 1]]}),
        ("minkowski", {"p": 3, "w": [9.0, 1.0]}),
    ],
)
def test_samples_have_the_coordinates_of_the_rows(metric, params):
    X = np.array([[0.5, 1.0], [-1.0, 0.25]])
    model = KernelDensity(metric=metric, metric_params=params, bandwidth=1e-9).fit(
        X, sample_weight=[1, 2]
    )
    rows = model.sample(20, random_state=0)
    assert model.tree_.query(X, 1)[1].ravel().tolist() == [0, 1]
    near = np.abs(rows[:, None] - X).max(axis=2) < 1e-7
    assert near.any(axis=1).all()
    assert near.any(axis=0).all()


@pytest.mark.parametrize("k", [5, 20])
def test_local_outliers(rng, k):
    X = np.vstack([blobs(rng)[0], [[50.0, 0, 0]]])
    Q = rng.normal(size=(30, 3)) * 3
    for contamination in ("auto", 0.1):
        options = {"n_neighbors": k, "contamination": contamination}
        ours, other = LocalOutlierFactor(**options), peer.LocalOutlierFactor(**options)
        np.testing.assert_array_equal(ours.fit_predict(X), other.fit_predict(X))
        np.testing.assert_allclose(
            ours.negative_outlier_factor_, other.negative_outlier_factor_, rtol=1e-8
        )
        ours = LocalOutlierFactor(**options, novelty=True).fit(X)
        other = peer.LocalOutlierFactor(**options, novelty=True).fit(X)
        np.testing.assert_allclose(ours.offset_, other.offset_, rtol=1e-8)
        np.testing.assert_array_equal(ours.predict(Q), other.predict(Q))
        np.testing.assert_allclose(ours.decision_function(Q), other.decision_function(Q), rtol=1e-7)
    assert not hasattr(ours, "fit_predict")
    assert not hasattr(LocalOutlierFactor(), "predict")


def test_outliers_among_equal_rows():
    with pytest.warns(UserWarning, match="Duplicate values"):
        labels = LocalOutlierFactor(3).fit_predict([[0.0]] * 10 + [[5.0]])
    assert labels.tolist() == [1] * 10 + [-1]


def test_several_labels_by_their_definition(rng):
    X, Y = rng.normal(size=(60, 3)), rng.integers(0, 2, (60, 4))
    Q, k, s = rng.normal(size=(15, 3)), 5, 1.5
    model = MLkNN(k, s=s).fit(X, Y)
    D = cdist(X, X)
    np.fill_diagonal(D, np.inf)
    near, far = np.argsort(D, axis=1)[:, :k], np.argsort(cdist(Q, X), axis=1)[:, :k]
    for label in range(4):
        prior = (s + Y[:, label].sum()) / (2 * s + 60)
        for i in range(15):
            c = Y[far[i], label].sum()
            chance = []
            for value, share in ((1, prior), (0, 1 - prior)):
                counts = Y[near, label].sum(axis=1)[Y[:, label] == value]
                chance.append(share * (s + (counts == c).sum()) / (s * (k + 1) + len(counts)))
            want = chance[0] / sum(chance)
            np.testing.assert_allclose(model.predict_proba(Q)[i, label], want, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(Q), model.predict_proba(Q) > 0.5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shrink_threshold": 0.3},
        {"metric": "manhattan"},
        {"priors": "empirical"},
        {"priors": [0.2, 0.5, 0.3]},
    ],
)
def test_nearest_centers(rng, options):
    X, y = blobs(rng)
    Q = blobs(rng, 50)[0]
    ours, other = NearestCentroid(**options).fit(X, y), peer.NearestCentroid(**options).fit(X, y)
    for name in ("centroids_", "class_prior_", "within_class_std_dev_", "deviations_"):
        np.testing.assert_allclose(
            np.ravel(getattr(ours, name)), np.ravel(getattr(other, name)), rtol=1e-9, err_msg=name
        )
    np.testing.assert_array_equal(ours.predict(Q), other.predict(Q))
    if "metric" not in options:
        np.testing.assert_allclose(ours.decision_function(Q), other.decision_function(Q), rtol=1e-9)
        chance = np.exp(ours.decision_function(Q) / 2)
        chance /= chance.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(ours.predict_proba(Q), chance, rtol=1e-9)


@pytest.mark.parametrize("container", [np.array, sp.csr_matrix])
def test_centers_of_equal_numbers(container):
    X = np.tile([-0.13725701, -0.9853293], (10, 1))  # their means are rounded
    y = np.arange(10) > 0
    with pytest.raises(ValueError, match="X must vary within classes for shrink_threshold"):
        NearestCentroid(shrink_threshold=0.1).fit(container(X), y)
    model = NearestCentroid().fit(container(X), y)
    assert (model.within_class_std_dev_ == 0).all()
    assert (model.centroids_ == X[:2]).all()


def test_centers_of_sparse_rows():
    X = sp.random(60, 20, 0.3, random_state=0, format="csr")
    y = np.arange(60) % 3
    sparse, dense = NearestCentroid().fit(X, y), NearestCentroid().fit(X.toarray(), y)
    for name in ("centroids_", "within_class_std_dev_"):
        np.testing.assert_allclose(getattr(sparse, name), getattr(dense, name), rtol=1e-12)
    np.testing.assert_array_equal(sparse.predict(X), dense.predict(X.toarray()))


@pytest.mark.parametrize(
    "make",
    [
        lambda: KNeighborsClassifier(weights="distance"),
        lambda: RadiusNeighborsClassifier(outlier_label=0),
        lambda: MLkNN(4),
        lambda: NearestCentroid(),
        lambda: LocalOutlierFactor(novelty=True),
        lambda: neighbors.KNeighborsRegressor(),
        lambda: RadiusNeighborsRegressor(3.0),
    ],
)
def test_saved_models_and_threads(rng, make, tmp_path):
    X, y = blobs(rng)
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            model = make().fit(X, y)
            found.append(model.predict(X))
    kernelmill.save(model, tmp_path / "model")
    found.append(kernelmill.load(tmp_path / "model").predict(X))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_sparse_labels(rng):
    X, Y = rng.normal(size=(60, 3)), (rng.random((60, 4)) < 0.4).astype(int)
    dense, sparse = MLkNN(5).fit(X, Y), MLkNN(5).fit(X, sp.csr_matrix(Y))
    np.testing.assert_array_equal(dense.predict_proba(X), sparse.predict_proba(X))


def test_a_path_is_no_rows():
    with pytest.raises(TypeError, match="this model needs all rows at once"):
        KNeighborsClassifier().fit("rows.npy", [0, 1])
