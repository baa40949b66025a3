"""BisectingKMeans: a tree of splits."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.cluster import BisectingKMeans as Peer
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import kernelmill
from kernelmill.cluster import BisectingKMeans


def fitted(model):
    return model.cluster_centers_.tobytes(), model.labels_.tobytes(), model.inertia_, model.n_iter_


def test_by_hand():
    """The far pair splits off first, then the other four rows."""
    X = np.array([[0.0], [1.0], [10.0], [11.0], [100.0], [101.0]])
    model = BisectingKMeans(3, n_init=5, random_state=0).fit(X)
    assert sorted(model.cluster_centers_.ravel().tolist()) == [0.5, 10.5, 100.5]
    assert model.inertia_ == pytest.approx(1.5, rel=1e-12)
    assert model.labels_[0] == model.labels_[1] != model.labels_[2] == model.labels_[3]


@pytest.mark.parametrize("strategy", ["biggest_inertia", "largest_cluster"])
def test_as_good_as_scikit_learn(make, strategy):
    X = make(1000, 5, 10)

    def mean_inertia(kind):
        options = {"bisecting_strategy": strategy, "n_init": 3}
        return np.mean([kind(10, random_state=s, **options).fit(X).inertia_ for s in range(15)])

    assert mean_inertia(BisectingKMeans) <= 1.03 * mean_inertia(Peer)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("strategy", ["biggest_inertia", "largest_cluster"])
def test_leaves_hold_their_rows(make, strategy, dtype):
    X = make(500, 4, 8, dtype)
    model = BisectingKMeans(8, bisecting_strategy=strategy, random_state=0).fit(X)
    assert model.cluster_centers_.dtype == dtype
    for j in range(8):
        mean = X[model.labels_ == j].astype(np.float64).mean(axis=0)
        # A split stops when its centers hardly move: see tol.
        np.testing.assert_allclose(model.cluster_centers_[j], mean, rtol=0, atol=0.05)
    away = ((X - model.cluster_centers_[model.labels_]) ** 2).sum(axis=1)
    assert model.inertia_ == pytest.approx(float(away.sum()), rel=1e-5)
    np.testing.assert_array_equal(model.predict(X), model.labels_)


def test_more_clusters_split_the_ones_before(make):
    X = make(300, 3, 6)
    before = BisectingKMeans(3, random_state=0).fit(X)
    after = BisectingKMeans(4, random_state=0).fit(X)
    parents = {(int(b), int(a)) for a, b in zip(before.labels_, after.labels_, strict=True)}
    assert len(parents) == 4  # each new cluster lies in one old cluster
    assert after.inertia_ < before.inertia_


def test_sparse_equals_dense(make, rng):
    X = make(400, 6, 7)
    X[rng.random(X.shape) < 0.4] = 0
    w = rng.random(400)
    dense = BisectingKMeans(7, random_state=0).fit(X, sample_weight=w)
    sparse = BisectingKMeans(7, random_state=0).fit(sp.csr_array(X), sample_weight=w)
    np.testing.assert_array_equal(sparse.labels_, dense.labels_)
    np.testing.assert_allclose(
        sparse.cluster_centers_, dense.cluster_centers_, rtol=1e-9, atol=1e-9
    )
    np.testing.assert_array_equal(sparse.predict(sp.csr_array(X)), dense.labels_)


def test_weight_zero_does_not_count(blobs, rng):
    keep = rng.random(300) < 0.6
    spoiled = blobs.copy()
    spoiled[~keep] *= 1000
    model = BisectingKMeans(5, init="k-means++", random_state=0).fit(
        spoiled, sample_weight=keep.astype(float)
    )
    assert abs(model.cluster_centers_).max() < 100


@pytest.mark.parametrize("strategy", ["biggest_inertia", "largest_cluster"])
def test_fewer_distinct_rows_than_clusters(strategy):
    X = np.repeat([[0.0, 1.0], [5.0, 2.0]], 5, axis=0)
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\)"):
        model = BisectingKMeans(4, bisecting_strategy=strategy, random_state=0).fit(X)
    assert model.cluster_centers_.shape == (4, 2)
    assert model.inertia_ == 0.0
    np.testing.assert_array_equal(model.predict(X), model.labels_)


def test_one_cluster(blobs):
    model = BisectingKMeans(1).fit(blobs)
    np.testing.assert_allclose(model.cluster_centers_[0], blobs.mean(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(model.labels_, 0)
    np.testing.assert_array_equal(model.predict(blobs), 0)


def test_threads_algorithms_and_files(make, tmp_path):
    X = make(2000, 5, 10)
    found = []
    for n, algorithm in ((1, "lloyd"), (2, "elkan"), (7, "plain")):
        with kernelmill.threads(n):
            model = BisectingKMeans(10, algorithm=algorithm, n_init=2, random_state=0).fit(X)
            found.append(fitted(model))
    assert found[0] == found[1] == found[2]
    kernelmill.save(model, tmp_path / "m.safetensors")
    for again in (kernelmill.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model))):
        assert fitted(again) == fitted(model)
        np.testing.assert_array_equal(again.predict(X), model.labels_)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": np.zeros((2, 4))}, "init must be one of"),
        ({"n_init": "auto"}, "n_init must be a whole number of at least 1, got 'auto'"),
        ({"bisecting_strategy": "x"}, "bisecting_strategy must be one of 'biggest_inertia'"),
        ({"n_clusters": 301}, "n_clusters must be at most the number of rows"),
    ],
)
def test_wrong_parameters(blobs, options, message):
    with pytest.raises(ValueError, match=f"^BisectingKMeans: {message}"):
        BisectingKMeans(**options).fit(blobs)
    with pytest.raises(NotFittedError):
        BisectingKMeans().predict(blobs)


def test_largest_cluster_ignores_rows_of_zero_weight(make):
    X = make(300, 2, 3)
    weight = np.r_[np.ones(30), np.zeros(270)]
    options = {"bisecting_strategy": "largest_cluster", "random_state": 0}
    model = BisectingKMeans(8, **options).fit(X, sample_weight=weight)
    assert len(np.unique(model.labels_[:30])) == 8


def test_callback_stops_without_a_warning(blobs):
    pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")

    class Stop:
        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            return context.task_name == "split"

    model = BisectingKMeans(5, random_state=0).set_callbacks(Stop()).fit(blobs)
    assert len(np.unique(model.labels_)) == 2
    assert len(np.unique(model.predict(blobs))) == 2
