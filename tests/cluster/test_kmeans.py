"""KMeans: theorems, agreement with scikit-learn, and what it does with odd data."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from learned import fitted
from sklearn.base import clone
from sklearn.cluster import KMeans as Peer
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import kernelmill
from kernelmill.cluster import ConstrainedKMeans, KMeans, MiniBatchKMeans

DTYPES = [np.float32, np.float64]


def inertia_of(X, centers, labels=None, weight=None):
    """Inertia by differences in float64."""
    away = ((X.astype(np.float64)[:, None] - centers.astype(np.float64)) ** 2).sum(axis=2)
    own = away.min(axis=1) if labels is None else away[np.arange(len(X)), labels]
    return float(own.sum() if weight is None else own @ weight)


# --- known answers --------------------------------------------------------------------------------


def test_four_points_by_hand():
    """Start at 0 and 1: {0}, {1, 5, 6} -> 0, 4 -> {0, 1}, {5, 6} -> 0.5, 5.5, and labels stay."""
    X = np.array([[0.0], [1.0], [5.0], [6.0]])
    model = KMeans(2, init=[[0.0], [1.0]]).fit(X)
    np.testing.assert_array_equal(model.cluster_centers_, [[0.5], [5.5]])
    np.testing.assert_array_equal(model.labels_, [0, 0, 1, 1])
    assert model.inertia_ == 1.0
    assert model.n_iter_ == 3
    np.testing.assert_array_equal(model.transform([[0.0]]), [[0.5, 5.5]])
    assert model.score([[0.5], [4.5]]) == -1.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(300, 4, 5), (1000, 17, 13), (50, 1, 3), (500, 64, 2)], ids=str)
def test_same_labels_as_scikit_learn_from_the_same_start(make, rng, shape, dtype):
    n, d, k = shape
    X = make(n, d, k, dtype, spread=1.5)  # they overlap, so no cluster loses all its rows
    start = X[rng.choice(n, k, replace=False)]
    ours, peer = KMeans(k, init=start).fit(X), Peer(k, init=start, n_init=1).fit(X)
    np.testing.assert_array_equal(ours.labels_, peer.labels_)
    assert ours.labels_.dtype == np.int32
    assert ours.cluster_centers_.dtype == dtype
    tol = 100 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(ours.cluster_centers_, peer.cluster_centers_, rtol=tol, atol=tol)
    assert ours.inertia_ == pytest.approx(peer.inertia_, rel=tol * 10)
    assert ours.n_iter_ == peer.n_iter_


def test_the_specification_gives_the_same_fit(make):
    X = make(200, 3, 4)
    ours = KMeans(4, n_init=3, random_state=0).fit(X)
    with kernelmill.backend("numpy"):
        truth = KMeans(4, n_init=3, random_state=0).fit(X)
    np.testing.assert_array_equal(ours.labels_, truth.labels_)
    np.testing.assert_allclose(
        ours.cluster_centers_, truth.cluster_centers_, rtol=1e-12, atol=1e-12
    )


# --- theorems -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sparse", [False, True])
def test_inertia_never_rises(make, rng, dtype, sparse):
    X = make(400, 6, 10, dtype, spread=1.0)
    data = sp.csr_array(X) if sparse else X
    start = X[rng.choice(400, 10, replace=False)]
    values = [
        KMeans(10, init=start, max_iter=count, tol=0).fit(data).inertia_ for count in range(1, 15)
    ]
    assert np.diff(values).max() <= 1e-6 * values[0]
    assert values[-1] < values[0]


def test_the_result_is_a_fixed_point(blobs):
    model = KMeans(5, random_state=0, tol=0).fit(blobs)
    again = KMeans(5, init=model.cluster_centers_, tol=0).fit(blobs)
    np.testing.assert_array_equal(again.cluster_centers_, model.cluster_centers_)
    np.testing.assert_array_equal(again.labels_, model.labels_)
    means = [blobs[model.labels_ == j].mean(axis=0) for j in range(5)]
    np.testing.assert_allclose(model.cluster_centers_, means, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_equal_repetition(make, rng, dtype):
    X = make(200, 3, 6, dtype)
    w = rng.integers(0, 4, size=200)
    start = X[rng.choice(200, 6, replace=False)]
    weighted = KMeans(6, init=start).fit(X, sample_weight=w)
    repeated = KMeans(6, init=start).fit(np.repeat(X, w, axis=0))
    np.testing.assert_array_equal(np.repeat(weighted.labels_, w), repeated.labels_)
    tol = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(
        weighted.cluster_centers_, repeated.cluster_centers_, rtol=tol, atol=tol
    )
    assert weighted.inertia_ == pytest.approx(repeated.inertia_, rel=1e-5)
    assert weighted.n_iter_ == repeated.n_iter_


def test_weight_zero_equals_absence(blobs, rng):
    keep = rng.random(300) < 0.6
    start = blobs[keep][:5]
    spoiled = blobs.copy()
    spoiled[~keep] = 1e6
    model = KMeans(5, init=start).fit(spoiled, sample_weight=keep.astype(float))
    without = KMeans(5, init=start).fit(blobs[keep])
    np.testing.assert_allclose(model.cluster_centers_, without.cluster_centers_, rtol=1e-12)
    np.testing.assert_array_equal(model.labels_[keep], without.labels_)
    for init in ("k-means++", "k-means||", "random"):
        drawn = KMeans(5, init=init, random_state=0).fit(spoiled, sample_weight=keep.astype(float))
        assert abs(drawn.cluster_centers_).max() < 1e3


def test_scaling_weights_changes_nothing(blobs):
    one = KMeans(5, random_state=0).fit(blobs)
    four = KMeans(5, random_state=0).fit(blobs, sample_weight=np.full(300, 4.0))
    np.testing.assert_array_equal(one.labels_, four.labels_)
    assert four.inertia_ == pytest.approx(4 * one.inertia_, rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(2000, 8, 20), (1500, 2, 40), (600, 30, 5)], ids=str)
def test_bounds_never_change_a_bit(make, rng, shape, weighted, dtype):
    n, d, k = shape
    X = make(n, d, k, dtype, spread=1.5)
    w = rng.random(n) if weighted else None
    start = X[rng.choice(n, k, replace=False)]
    found = [
        fitted(KMeans(k, init=start, tol=0, algorithm=name).fit(X, sample_weight=w))
        for name in ("plain", "lloyd", "elkan")
    ]
    assert found[0] == found[1] == found[2]
    assert found[0]["n_iter"] > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_far_from_the_origin(make, rng, dtype):
    """At a mean of 1e4 spreads float32 gets the labels that float64 gets on the same numbers."""
    X = (make(1000, 6, 8) + 1e4).astype(dtype)
    start = X[rng.choice(1000, 8, replace=False)]
    model = KMeans(8, init=start).fit(X)
    exact = KMeans(8, init=start).fit(X.astype(np.float64))
    np.testing.assert_array_equal(model.labels_, exact.labels_)
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    assert model.inertia_ == pytest.approx(exact.inertia_, rel=1e-4)
    assert model.cluster_centers_.dtype == dtype
    # Edited centers are the ones that count.
    model.cluster_centers_ = model.cluster_centers_[::-1].copy()
    assert (model.predict(X) != 7 - exact.labels_).mean() <= 0.01


def test_rounded_centers_would_change_labels(make):
    """So the centers are kept in float64 beside the float32 ones that users see."""
    X = (make(20_000, 6, 8, spread=0.5) + 1e4).astype(np.float32)
    model = KMeans(8, random_state=0, max_iter=5).fit(X)
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    rounded = copy.copy(model)
    rounded._centers64 = None
    assert (rounded.predict(X) != model.labels_).any()


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
@pytest.mark.parametrize("algorithm", ["lloyd", "elkan"])
def test_any_number_of_threads_gives_the_same_bits(make, init, algorithm):
    X = make(5000, 8, 20, np.float32)

    def fit():
        model = KMeans(20, init=init, n_init=2, random_state=3, algorithm=algorithm)
        return fitted(model.fit(X))

    found = []
    for n in (1, 2, 7):
        with kernelmill.threads(n):
            found.append(fit())
    assert found[0] == found[1] == found[2] == fit()


# --- starts ---------------------------------------------------------------------------------------


def test_more_starts_are_never_worse(make):
    X = make(300, 2, 12)
    few = [KMeans(12, init="random", n_init=1, random_state=s).fit(X).inertia_ for s in range(5)]
    many = [KMeans(12, init="random", n_init=10, random_state=s).fit(X).inertia_ for s in range(5)]
    assert all(b <= a for a, b in zip(few, many, strict=True))
    assert sum(many) < sum(few)


def test_callable_init_gets_rows_number_and_state(blobs):
    seen = []

    def init(X, n_clusters, random_state):
        seen.append(n_clusters)
        return X[random_state.choice(len(X), n_clusters, replace=False)]

    model = KMeans(5, init=init, random_state=0).fit(blobs)
    assert seen == [5] * 10  # n_init="auto"
    again = KMeans(5, init=init, random_state=0).fit(blobs)
    assert fitted(model) == fitted(again)
    with pytest.raises(ValueError, match=r"^KMeans: init must have shape \(5, 4\) .* got \(2, 4\)"):
        KMeans(5, init=lambda X, n_clusters, random_state: X[:2]).fit(blobs)


def test_random_state(blobs):
    def fit(state):
        return fitted(KMeans(5, init="random", n_init=1, max_iter=1, random_state=state).fit(blobs))

    assert fit(0) == fit(0) != fit(1)
    shared = np.random.RandomState(0)
    assert fit(shared) != fit(shared)
    assert fit(np.random.default_rng(1)) == fit(np.random.default_rng(1))
    np.random.seed(7)  # noqa: NPY002
    first = fit(None)
    assert first != fit(None)
    np.random.seed(7)  # noqa: NPY002
    assert first == fit(None)


def test_given_centers_with_many_starts_warn(blobs):
    with pytest.warns(
        RuntimeWarning, match="KMeans: n_init must be 1 when init is an array, got 4"
    ):
        KMeans(5, init=blobs[:5], n_init=4).fit(blobs)


# --- empty clusters and duplicates ----------------------------------------------------------------


def test_empty_clusters_move_to_far_rows(blobs):
    start = np.vstack([blobs[:2], np.full((3, 4), 1e4)])
    model = KMeans(5, init=start).fit(blobs)
    assert np.bincount(model.labels_, minlength=5).min() > 0
    assert model.inertia_ < KMeans(2, init=blobs[:2]).fit(blobs).inertia_
    by_chunks = KMeans(5, init=start).fit([blobs[:100], blobs[100:]])
    np.testing.assert_array_equal(model.labels_, by_chunks.labels_)


@pytest.mark.parametrize("data", ["dense", "sparse", "chunks"])
@pytest.mark.parametrize("n_empty", [1, 3])
@pytest.mark.parametrize("max_iter", [1, 2, 300])
def test_empty_clusters_are_filled_as_in_scikit_learn(make, rng, data, n_empty, max_iter):
    X = make(400, 5, 8, spread=1.0)
    w = np.full(400, 1.5)  # with unequal ones scikit-learn ranks rows by distance alone
    start = X[rng.choice(400, 8, replace=False)]
    start[:n_empty] = 1e5 * np.arange(1, 1 + n_empty)[:, None]
    pairs = [(X[:150], w[:150]), (X[150:], w[150:])]
    given = {"dense": X, "sparse": sp.csr_array(X), "chunks": pairs}
    options = {"init": start, "max_iter": max_iter, "tol": 0, "n_init": 1}
    ours = KMeans(8, **options).fit(given[data], sample_weight=None if data == "chunks" else w)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that end at max_iter
        peer = Peer(8, **options).fit(X, sample_weight=w)
    # Which empty cluster gets which row is left to a partial sort in scikit-learn.
    by_place = [np.lexsort(model.cluster_centers_.T) for model in (ours, peer)]
    np.testing.assert_allclose(
        ours.cluster_centers_[by_place[0]], peer.cluster_centers_[by_place[1]], rtol=1e-9
    )
    number = [np.argsort(order) for order in by_place]
    np.testing.assert_array_equal(number[0][ours.labels_], number[1][peer.labels_])
    assert ours.n_iter_ == peer.n_iter_


@pytest.mark.parametrize("data", ["dense", "sparse", "chunks", "sizes", "links"])
def test_empty_clusters_move_where_weight_is(data):
    """The farthest rows have next to no weight: as centers they would gain nothing."""
    X = np.array([[1.0], [1.0], [5.0], [5.0], [100.0], [100.0]])
    w = np.array([1e8, 1e8, 1e8, 1e8, 1e-8, 1e-8])
    model = KMeans(2, init=[[3.0], [1000.0]])
    given, weight = X, w
    if data == "sparse":
        given = sp.csr_array(X)
    elif data == "chunks":
        given, weight = [(X[:3], w[:3]), (X[3:], w[3:])], None
    elif data in ("sizes", "links"):
        rules = {"sizes": {"size_max": 6}, "links": {"must_link": [(0, 1)]}}[data]
        model = ConstrainedKMeans(2, init=[[3.0], [1000.0]], **rules)
    centers = model.fit(given, sample_weight=weight).cluster_centers_
    np.testing.assert_allclose(np.sort(centers.ravel()), [1, 5], rtol=1e-12)


@pytest.mark.parametrize("data", ["dense", "sparse", "chunks"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3])
def test_fewer_distinct_rows_than_clusters(data, value):
    X = np.tile(np.array([[value, 2 * value], [1.0, value]]), (10, 1))
    given = {"dense": X, "sparse": sp.csr_array(X), "chunks": [X[:7], X[7:]]}[data]
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\) found smaller .* \(4\)"):
        model = KMeans(4, random_state=0).fit(given)
    assert model.inertia_ <= 1e-20 * max(1.0, value**2)
    assert model.cluster_centers_.shape == (4, 2)
    assert np.isfinite(model.cluster_centers_).all()
    assert model.n_iter_ < 20


def test_as_many_clusters_as_rows(rng):
    X = rng.normal(size=(7, 2))
    model = KMeans(7, random_state=0).fit(X)
    assert model.inertia_ == 0.0
    assert sorted(model.labels_.tolist()) == list(range(7))


def test_one_cluster_is_the_mean(blobs):
    model = KMeans(1).fit(blobs)
    np.testing.assert_allclose(model.cluster_centers_[0], blobs.mean(axis=0), rtol=1e-12)


# --- where X may be -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_csr_equals_dense(make, rng, dtype):
    X = make(500, 12, 6, dtype)
    X[rng.random(X.shape) < 0.7] = 0
    start = X[:6].astype(np.float64) + rng.normal(size=(6, 12))
    w = rng.random(500)
    dense = KMeans(6, init=start).fit(X, sample_weight=w)
    sparse = KMeans(6, init=start).fit(sp.csr_array(X), sample_weight=w)
    np.testing.assert_array_equal(sparse.labels_, dense.labels_)
    tol = 50 * np.finfo(dtype).eps
    np.testing.assert_allclose(sparse.cluster_centers_, dense.cluster_centers_, rtol=tol, atol=tol)
    np.testing.assert_array_equal(sparse.predict(sp.csr_matrix(X)), dense.predict(X))
    np.testing.assert_allclose(
        sparse.transform(sp.csc_array(X)), dense.transform(X), rtol=1e-3 if tol > 1e-9 else 1e-9
    )
    assert sparse.score(sp.csr_array(X), sample_weight=w) == pytest.approx(
        dense.score(X, sample_weight=w), rel=1e-5
    )
    seeded = KMeans(6, n_init=2, random_state=0).fit(sp.csr_array(X))
    same = KMeans(6, n_init=2, random_state=0).fit(X)
    assert seeded.inertia_ == pytest.approx(same.inertia_, rel=1e-3)


def test_transform_refuses_streams(blobs):
    model = KMeans(5, random_state=0).fit(blobs)
    with pytest.raises(TypeError, match="KMeans: X must be an array or frame in memory, got list"):
        model.transform([blobs, blobs])
    with pytest.raises(TypeError, match="KMeans: X must be an array or frame in memory, got list"):
        KMeans(max_iter=-1).fit_transform([blobs, blobs])  # before the fit


@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray,
        lambda X: np.repeat(X, 3, axis=0)[::3],
        lambda X: X[::-1][::-1],
        lambda X: np.hstack([X, X])[:, :4],
        lambda X: np.flip(np.ascontiguousarray(np.flip(X))),
    ],
    ids=["fortran", "strided", "reversed twice", "columns", "negative strides"],
)
def test_strides_and_read_only_inputs(blobs, view):
    X = view(blobs)
    X.flags.writeable = False
    before = X.copy()
    plain = KMeans(5, random_state=0).fit(blobs)
    assert fitted(KMeans(5, random_state=0).fit(X)) == fitted(plain)
    np.testing.assert_array_equal(plain.predict(X), plain.labels_)
    np.testing.assert_array_equal(plain.transform(X), plain.transform(blobs))
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames(blobs, library):
    module = pytest.importorskip(library)
    make_frame = module.table if library == "pyarrow" else module.DataFrame
    names = ["a", "b", "c", "d"]
    frame = make_frame({name: blobs[:, i] for i, name in enumerate(names)})
    model = KMeans(5, random_state=0).fit(frame)
    assert fitted(model) == fitted(KMeans(5, random_state=0).fit(blobs))
    assert model.feature_names_in_.tolist() == names
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(model.predict(frame), model.labels_)
    assert model.get_feature_names_out().tolist() == [f"kmeans{j}" for j in range(5)]


def test_set_output_and_pipeline(blobs):
    pd = pytest.importorskip("pandas")
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    out = KMeans(3, random_state=0).set_output(transform="pandas").fit_transform(blobs)
    assert isinstance(out, pd.DataFrame)
    assert list(out.columns) == ["kmeans0", "kmeans1", "kmeans2"]
    pipe = make_pipeline(StandardScaler(), KMeans(random_state=0))
    search = GridSearchCV(pipe, {"kmeans__n_clusters": [2, 5]}, cv=2).fit(blobs)
    assert search.best_params_ == {"kmeans__n_clusters": 5}


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_clusters": 0}, "n_clusters must be a whole number of at least 1, got 0"),
        ({"n_clusters": 2.0}, r"n_clusters must be a whole number of at least 1, got 2\.0"),
        ({"init": "kmeans"}, "init must be one of 'k-means[+]{2}', .* or an array .* got 'kmeans'"),
        ({"n_init": 0}, "n_init must be 'auto' or a whole number of at least 1, got 0"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"tol": -1}, "tol must be a number of at least 0, got -1"),
        ({"algorithm": "full"}, "algorithm must be one of 'lloyd', 'elkan', 'plain', got 'full'"),
        ({"device": "mps"}, r"device must be None .* NVIDIA GPUs\), got 'mps'"),
        ({"random_state": "x"}, "random_state must be None, a whole number"),
        ({"n_clusters": 301}, "n_clusters must be at most the number of rows, got n_samples=300"),
        ({"init": np.zeros((3, 4))}, r"init must have shape \(8, 4\) .* got \(3, 4\)"),
        ({"init": np.full((8, 4), np.nan)}, "init must be finite"),
        ({"init": [["a"]]}, "init must be an array of numbers"),
    ],
)
def test_wrong_parameters(blobs, options, message):
    with pytest.raises(ValueError, match=f"^KMeans: {message}"):
        KMeans(**options).fit(blobs)


def test_wrong_data(blobs):
    bad = blobs.copy()
    bad[7, 2] = np.nan
    with pytest.raises(ValueError, match=r"^KMeans: X must be finite, got NaN at row 7, column 2 "):
        KMeans(3).fit(bad)
    with pytest.raises(
        ValueError, match=r"^KMeans: X must be finite, got NaN at row 307, column 2"
    ):
        KMeans(3).fit([blobs, bad])
    with pytest.raises(ValueError, match=r"^KMeans: sample_weight must be finite and not negative"):
        KMeans(3).fit(blobs, sample_weight=-np.ones(300))
    with pytest.raises(NotFittedError):
        KMeans(3).predict(blobs)
    with pytest.raises(NotFittedError):
        KMeans(3).predict([blobs, blobs])
    model = KMeans(3, random_state=0).fit(blobs)
    with pytest.raises(ValueError, match="X has 2 features, but KMeans is expecting 4"):
        model.predict(blobs[:, :2])


def test_no_gpu_raises(blobs):
    if kernelmill.info()["cuda"].get("devices"):
        pytest.skip("this machine has a GPU")
    with pytest.raises(RuntimeError, match=r"^KMeans: device must be 'cpu' or None here"):
        KMeans(3, device="cuda").fit(blobs)
    assert fitted(KMeans(3, random_state=0, device="cpu").fit(blobs)) == fitted(
        KMeans(3, random_state=0).fit(blobs)
    )


# --- objects --------------------------------------------------------------------------------------


def test_pickle_clone_and_save(make, tmp_path):
    X = make(300, 4, 5, np.float32) + np.float32(1e4)
    model = KMeans(5, random_state=0, tol=1e-3).fit(X)
    kernelmill.save(model, tmp_path / "model.safetensors")
    for again in (
        pickle.loads(pickle.dumps(model)),
        kernelmill.load(tmp_path / "model.safetensors"),
    ):
        assert fitted(again) == fitted(model)
        np.testing.assert_array_equal(again.predict(X), model.labels_)
        assert again.get_params() == model.get_params()
    empty = clone(model)
    assert empty.get_params() == model.get_params()
    assert not hasattr(empty, "cluster_centers_")
    assert "KMeans" in repr(model)
    assert "<div" in model._repr_html_()


def test_metadata_routing():
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        model = KMeans().set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        assert model.get_metadata_routing().fit.requests["sample_weight"] is True


def test_single_rows(blobs):
    model = KMeans(5, random_state=0).fit(blobs)
    for i in (0, 17, 299):
        assert model.predict(blobs[i : i + 1]) == model.labels_[i]
    assert model.predict(blobs[:1].astype(np.float32)).dtype == np.int32


@pytest.mark.parametrize("integer", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
def test_numpy_integers_are_integers(integer, init):
    """A grid over numpy.arange hands over NumPy integers, some too narrow to compute with."""
    X = np.random.default_rng(0).normal(size=(300, 3))
    plain = KMeans(200, init=init, n_init=2, max_iter=50, random_state=0).fit(X)
    model = KMeans(
        integer(200),
        init=init,
        n_init=integer(2),
        max_iter=integer(50),
        random_state=0,
    ).fit(X)
    np.testing.assert_array_equal(model.labels_, plain.labels_)


@pytest.mark.parametrize("value", [-5.0, np.nan, np.inf])
def test_weights_of_streams_are_checked(value, tmp_path):
    X, w = np.random.default_rng(0).normal(size=(300, 3)), np.ones(300)
    w[70] = value
    np.save(tmp_path / "X.npy", X)
    message = r"KMeans: sample_weight must be finite and not negative, got .* at row 70"
    with pytest.raises(ValueError, match=message):
        KMeans(4).fit(tmp_path / "X.npy", sample_weight=w)
    with pytest.raises(ValueError, match=message):
        KMeans(4).fit(lambda: ((X[i : i + 60], w[i : i + 60]) for i in range(0, 300, 60)))
    with pytest.raises(ValueError, match="KMeans: sample_weight must have a positive"):
        KMeans(4).fit(tmp_path / "X.npy", sample_weight=np.zeros(300))


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_chunks_of_frames_are_matched_by_name(kind):
    pd = pytest.importorskip("pandas")
    pytest.importorskip(kind)
    convert = {
        "pandas": lambda frame: frame,
        "polars": lambda frame: __import__("polars").from_pandas(frame),
        "pyarrow": lambda frame: __import__("pyarrow").Table.from_pandas(
            frame, preserve_index=False
        ),
    }[kind]
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 3)), columns=list("abc"))
    start = frame.to_numpy()[:4]
    whole = KMeans(4, init=start).fit(frame)
    turned = [convert(frame[:150]), convert(frame[150:][["c", "a", "b"]])]
    np.testing.assert_array_equal(KMeans(4, init=start).fit(turned).labels_, whole.labels_)
    other = [turned[0], convert(frame[150:].rename(columns={"a": "z"}))]
    with pytest.raises(ValueError, match=r"same columns in every chunk.* row 150 .*a, z"):
        KMeans(4, init=start).fit(other)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid", "ignore:Number of distinct")
@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 1e25), (np.float64, 1e160)])
@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
def test_squared_distances_that_overflow_are_refused(kind, dtype, scale):
    X = (np.random.default_rng(0).normal(size=(100, 3)) * scale).astype(dtype)
    with pytest.raises(ValueError, match=rf"{kind.__name__}: X must be small enough .*scale X"):
        kind(4, random_state=0).fit(X)


def test_weights_beyond_float32_are_named():
    X = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    message = r"sample_weight must be at most 3.4e\+38 for float32 rows, got 1e\+40"
    with pytest.raises(ValueError, match=message):
        KMeans(3).fit(X, sample_weight=np.full(30, 1e40))
    with pytest.raises(ValueError, match="sample_weight must be real"):
        KMeans(3).fit(X, sample_weight=np.full(30, 1j))


def test_an_init_function_cannot_write_to_the_input():
    X = np.random.default_rng(0).normal(size=(30, 3))

    def vandal(X, n_clusters, random_state):
        X[:] = 99
        return X[:n_clusters]

    with pytest.raises(ValueError, match="read-only"):
        KMeans(3, init=vandal).fit(X)
    assert X.max() < 99


def test_minibatches_of_an_empty_file(tmp_path):
    np.save(tmp_path / "X.npy", np.empty((0, 3)))
    with pytest.raises(ValueError, match=r"MiniBatchKMeans: .*\b0\b"):
        MiniBatchKMeans(3).fit(tmp_path / "X.npy")
