"""MiniBatchKMeans: as good as scikit-learn's, online, over streams."""

import pickle
from typing import ClassVar

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.cluster import MiniBatchKMeans as Peer

import kernelmill
from kernelmill._estimator import _rows
from kernelmill._estimator._rows import Rows
from kernelmill.cluster import KMeans, MiniBatchKMeans, _minibatch
from kernelmill.cluster._minibatch import reassigned


def fitted(model):
    return (
        model.cluster_centers_.tobytes(),
        model.labels_.tobytes(),
        model.counts_.tobytes(),
        model.inertia_,
        model.n_steps_,
    )


def test_as_good_as_scikit_learn(make):
    X = make(3000, 5, 12)

    def mean_inertia(kind):
        fits = [kind(12, batch_size=256, n_init=3, random_state=s).fit(X) for s in range(20)]
        return np.mean([-fit.score(X) for fit in fits])

    assert mean_inertia(MiniBatchKMeans) <= 1.02 * mean_inertia(Peer)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attributes(make, dtype):
    X = make(2000, 4, 6, dtype)
    model = MiniBatchKMeans(6, batch_size=100, random_state=0).fit(X)
    assert model.cluster_centers_.dtype == dtype
    assert model.labels_.dtype == np.int32
    assert model.inertia_ == pytest.approx(-model.score(X), rel=1e-5)
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    assert model.n_iter_ == -(-model.n_steps_ * 100 // 2000)
    assert model.counts_.sum() == pytest.approx(100 * model.n_steps_, rel=0.2)
    quick = MiniBatchKMeans(6, batch_size=100, random_state=0, compute_labels=False).fit(X)
    assert not hasattr(quick, "labels_")
    assert quick.inertia_ == pytest.approx(model.inertia_, rel=0.3)
    np.testing.assert_array_equal(quick.cluster_centers_, model.cluster_centers_)


def test_one_batch_by_hand():
    X = np.array([[0.0], [1.0], [10.0], [12.0]])
    model = MiniBatchKMeans(2, init=[[0.0], [10.0]], reassignment_ratio=0)
    model.partial_fit(X)
    np.testing.assert_array_equal(model.cluster_centers_, [[0.5], [11.0]])
    np.testing.assert_array_equal(model.counts_, [2, 2])
    model.partial_fit([[2.0], [11.0]], sample_weight=[2, 0])
    np.testing.assert_array_equal(model.cluster_centers_, [[(0.5 * 2 + 4) / 4], [11.0]])
    np.testing.assert_array_equal(model.counts_, [4, 2])
    assert model.n_steps_ == 2


def test_partial_fit_is_the_running_mean(blobs):
    """Batches that keep their labels lead to the mean of all rows."""
    X = np.vstack([blobs + 100, blobs - 100])[np.argsort(np.tile(np.arange(300), 2))]
    model = MiniBatchKMeans(2, init=[[100.0] * 4, [-100.0] * 4], reassignment_ratio=0)
    for batch in np.split(X, 20):
        model.partial_fit(batch)
    means = [X[X[:, 0] > 0].mean(axis=0), X[X[:, 0] < 0].mean(axis=0)]
    np.testing.assert_allclose(model.cluster_centers_, means, rtol=1e-12)


def test_partial_fit_goes_on_after_pickle_and_fit(blobs):
    def online(between):
        model = MiniBatchKMeans(5, random_state=0)
        for batch in np.split(blobs, 3):
            model = between(model.partial_fit(batch))
        return fitted(model)

    assert online(lambda model: model) == online(lambda m: pickle.loads(pickle.dumps(m)))
    model = MiniBatchKMeans(5, random_state=0).fit(blobs)
    steps = model.n_steps_
    assert model.partial_fit(blobs).n_steps_ == steps + 1
    with pytest.raises(ValueError, match="X has 2 features, but MiniBatchKMeans is expecting 4"):
        model.partial_fit(blobs[:, :2])


def test_idle_centers_are_reassigned(blobs):
    start = np.vstack([blobs[:3], np.full((2, 4), 1e4)])
    model = MiniBatchKMeans(5, init=start, random_state=0, batch_size=50).fit(blobs)
    assert np.bincount(model.labels_, minlength=5).min() > 0
    kept = MiniBatchKMeans(5, init=start, random_state=0, batch_size=50, reassignment_ratio=0)
    assert np.bincount(kept.fit(blobs).labels_, minlength=5)[3:].tolist() == [0, 0]


def test_weights(blobs, rng):
    keep = rng.random(300) < 0.5
    spoiled = blobs.copy()
    spoiled[~keep] = 1e5
    w = keep.astype(float)
    model = MiniBatchKMeans(5, random_state=0, batch_size=64).fit(spoiled, sample_weight=w)
    assert abs(model.cluster_centers_).max() < 100
    assert model.inertia_ == pytest.approx(-model.score(spoiled, sample_weight=w), rel=1e-10)
    chunks = [(spoiled[:150], w[:150]), (spoiled[150:], w[150:])]
    model = MiniBatchKMeans(5, random_state=0, batch_size=64, reassignment_ratio=0).fit(chunks)
    assert abs(model.cluster_centers_).max() < 100


def test_sparse_equals_dense(make, rng):
    X = make(600, 8, 5)
    X[rng.random(X.shape) < 0.5] = 0
    options = {"random_state": 0, "batch_size": 128}
    dense = MiniBatchKMeans(5, **options).fit(X)
    sparse = MiniBatchKMeans(5, **options).fit(sp.csr_array(X))
    assert sparse.n_steps_ == dense.n_steps_
    np.testing.assert_allclose(
        sparse.cluster_centers_, dense.cluster_centers_, rtol=1e-8, atol=1e-8
    )


def test_streams(make, tmp_path):
    X = make(3000, 5, 8, np.float32)
    best = KMeans(8, n_init=5, random_state=0).fit(X).inertia_
    np.save(tmp_path / "X.npy", X)
    for data in (np.array_split(X, 7), lambda: iter(np.array_split(X, 3)), tmp_path / "X.npy"):
        model = MiniBatchKMeans(8, random_state=0, n_init=3, batch_size=256).fit(data)
        assert model.inertia_ <= 1.5 * best
        assert model.labels_.shape == (3000,)
        np.testing.assert_array_equal(model.predict(X), model.labels_)
        again = MiniBatchKMeans(8, random_state=0, n_init=3, batch_size=256).fit(data)
        assert fitted(model) == fitted(again)


@pytest.mark.parametrize("chunks", [5, 50])
def test_sorted_chunks_are_no_worse_than_memory(chunks):
    X = np.random.default_rng(0).normal(size=(500, 2)) * [10, 1]
    X = X[np.argsort(X[:, 0])]
    options = {"n_clusters": 8, "random_state": 0}
    memory = MiniBatchKMeans(**options).fit(X)
    listed = MiniBatchKMeans(**options).fit(np.split(X, chunks))
    np.testing.assert_array_equal(listed.cluster_centers_, memory.cluster_centers_)
    read_once = MiniBatchKMeans(**options).fit(iter(np.split(X, chunks)))
    assert read_once.score(X) >= 1.2 * memory.score(X)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["arrays", "CSR"])
@pytest.mark.parametrize("kept", [True, False])
def test_streams_give_the_bits_of_memory(make, rng, monkeypatch, weighted, kind, kept):
    X, w = make(1500, 4, 6), rng.integers(3, size=1500).astype(float)
    options = {"n_clusters": 6, "random_state": 0, "batch_size": 64, "init_size": 200}
    given = sp.csr_array(X) if kind == "CSR" else X
    memory = MiniBatchKMeans(**options).fit(given, sample_weight=w if weighted else None)
    chunks = [
        (given[i : i + 70], w[i : i + 70]) if weighted else given[i : i + 70]
        for i in range(0, 1500, 70)
    ]
    if not kept:
        monkeypatch.setattr(_rows, "MEMMAP_BYTES", 0)
        monkeypatch.setattr(_minibatch, "CHUNK_BYTES", 200 * 4 * 8)  # three batches a pass
    stream = MiniBatchKMeans(**options).fit(chunks)
    np.testing.assert_array_equal(stream.cluster_centers_, memory.cluster_centers_)
    np.testing.assert_array_equal(stream.labels_, memory.labels_)
    np.testing.assert_array_equal(stream.counts_, memory.counts_)
    assert stream.n_steps_ == memory.n_steps_
    assert stream.inertia_ == pytest.approx(memory.inertia_, rel=1e-12)
    if not kept:
        options |= {"max_iter": 2, "max_no_improvement": None}
        assert MiniBatchKMeans(**options).fit(chunks).n_steps_ == 6


def test_rows_of_a_large_stream_are_checked(make, monkeypatch, tmp_path):
    X = make(300, 3, 4)
    X[170, 1] = np.nan
    np.save(tmp_path / "X.npy", X)
    monkeypatch.setattr(_rows, "MEMMAP_BYTES", 0)
    monkeypatch.setattr("kernelmill.stream._readers.CHUNK_BYTES", 2000)
    model = MiniBatchKMeans(4, compute_labels=False)
    with pytest.raises(ValueError, match=r"MiniBatchKMeans: X must .* NaN at row 170, column 1"):
        model.fit(tmp_path / "X.npy")


def test_stopping_rules(make):
    X = make(2000, 4, 6)
    options = {"random_state": 0, "batch_size": 100, "max_iter": 3}
    full = MiniBatchKMeans(6, max_no_improvement=None, **options).fit(X)
    assert full.n_steps_ == 60
    assert MiniBatchKMeans(6, max_no_improvement=2, **options).fit(X).n_steps_ < 60
    assert MiniBatchKMeans(6, max_no_improvement=None, tol=0.1, **options).fit(X).n_steps_ < 60


def test_threads(make):
    X = make(5000, 8, 20, np.float32)
    found = []
    for n in (1, 2, 7):
        with kernelmill.threads(n):
            found.append(fitted(MiniBatchKMeans(20, random_state=0).fit(X)))
    assert found[0] == found[1] == found[2]


def test_small_init_size_warns(blobs):
    with pytest.warns(RuntimeWarning, match="MiniBatchKMeans: init_size=2 should be larger than"):
        MiniBatchKMeans(5, init_size=2, random_state=0).fit(blobs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        (
            {"reassignment_ratio": 2},
            "reassignment_ratio must be a number of at least 0 and at most",
        ),
        ({"max_no_improvement": -1}, "max_no_improvement must be a whole number of at least 0 or"),
        ({"n_clusters": 301}, "n_clusters must be at most the number of rows"),
    ],
)
def test_wrong_parameters(blobs, options, message):
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=f"^MiniBatchKMeans: {message}"):
            getattr(MiniBatchKMeans(**options), method)(blobs)


def test_save_and_load(blobs, tmp_path):
    model = MiniBatchKMeans(5, random_state=0).fit(blobs)
    kernelmill.save(model, tmp_path / "m.safetensors")
    again = kernelmill.load(tmp_path / "m.safetensors")
    assert fitted(again) == fitted(model)
    assert fitted(again.partial_fit(blobs)) == fitted(model.partial_fit(blobs))


def test_reassigned_counts():
    """An idle center gets a row of the batch, and the least weight of those that stay."""
    model = MiniBatchKMeans(4, reassignment_ratio=0.1)
    rows, batch = Rows(np.arange(100.0)[:, None], None, "MiniBatchKMeans"), np.arange(20, 60)
    centers, counts = np.full((4, 1), -1.0), np.array([100.0, 9.0, 50.0, 30.0])
    moved, total, since = reassigned(model, rows, batch, centers, counts, 0, seed=1, step=2)
    assert since == 0
    assert total.tolist() == [100, 30, 50, 30]
    assert 20 <= moved[1, 0] < 60
    assert moved[[0, 2, 3], 0].tolist() == [-1, -1, -1]
    assert counts.tolist() == [100, 9, 50, 30]
    # Not yet: fewer than 10 k rows since the last time.
    kept, same, since = reassigned(model, rows, batch[:20], centers, counts, 5, seed=1, step=2)
    assert kept is centers
    assert same is counts
    assert since == 25


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_idle_centers_move_by_weight_times_squared_distance(kind):
    model = MiniBatchKMeans(2, reassignment_ratio=0.5)
    X, w = np.array([[1.0], [1.0], [2.0], [4.0], [101.0]]), np.array([1.0, 1.0, 9.0, 1.0, 0.0])
    rows = Rows(kind(np.tile(X, (4, 1))), np.tile(w, 4), "MiniBatchKMeans")
    centers, counts = np.array([[1.0], [7.0]]), np.array([9.0, 0.0])
    places = [
        reassigned(model, rows, None, centers, counts, 0, seed=seed, step=0)[0][1, 0]
        for seed in range(400)
    ]
    # Rows 2 and 4 have equal mass; four standard errors.
    assert set(places) == {2.0, 4.0}
    assert abs(places.count(2.0) - 200) < 4 * np.sqrt(400 / 4)
    # All rows are where a center is already: nothing would be gained.
    same = Rows(kind(np.full((20, 1), 1.0)), None, "MiniBatchKMeans")
    moved, total, _ = reassigned(model, same, None, centers, counts, 0, seed=0, step=0)
    np.testing.assert_array_equal(moved, centers)
    np.testing.assert_array_equal(total, counts)


@pytest.mark.parametrize("seed", range(5))
def test_few_rows_per_cluster_lose_no_cluster(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(16, 2))
    model = MiniBatchKMeans(16, random_state=seed).fit(X)
    assert len(np.unique(model.labels_)) == 16
    assert model.inertia_ < 1e-20
    X = rng.normal(size=(1000, 2))
    model = MiniBatchKMeans(500, random_state=seed).fit(X)
    assert model.inertia_ <= 1.1 * KMeans(500, random_state=seed).fit(X).inertia_


# --- iterators, which can be read once ------------------------------------------------------------


def once(chunks, read):
    """A generator that counts how often it is asked."""
    for chunk in chunks:
        read.append(1)
        yield chunk


def cut(X, size, weight=None):
    parts = [slice(i, i + size) for i in range(0, len(X), size)]
    return [X[part] if weight is None else (X[part], weight[part]) for part in parts]


@pytest.mark.parametrize("kind", ["arrays", "pairs", "frames", "CSR", "iterator"])
def test_an_iterator_is_read_once_and_to_its_end(make, kind):
    X, read = make(2000, 4, 3), []
    weight = np.arange(2000) % 3.0 if kind == "pairs" else None
    chunks = cut(X, 300, weight)
    if kind == "frames":
        pandas = pytest.importorskip("pandas", reason="pandas is not installed")
        chunks = [pandas.DataFrame(chunk, columns=list("abcd")) for chunk in chunks]
    if kind == "CSR":
        chunks = [sp.csr_array(chunk) for chunk in chunks]
    given = iter(chunks) if kind == "iterator" else once(chunks, read)
    model = MiniBatchKMeans(3, batch_size=100, random_state=0, reassignment_ratio=0).fit(given)
    assert len(read) == (0 if kind == "iterator" else 7)
    assert next(given, None) is None
    # Every row counts once, by its weight.
    assert model.counts_.sum() == (2000 if weight is None else weight.sum())
    assert model.n_steps_ == 20
    assert model.n_iter_ == 1
    assert not hasattr(model, "labels_")
    if kind == "frames":
        assert model.feature_names_in_.tolist() == list("abcd")
    else:
        best = KMeans(3, random_state=0).fit(X, sample_weight=weight)
        assert model.score(X, sample_weight=weight) >= 1.1 * best.score(X, sample_weight=weight)
        assert model.predict(once(chunks, read)).shape == (2000,)
        assert model.score(once(chunks, read)) <= 0


def test_an_iterator_gives_the_bits_of_one_pass(make):
    X = make(900, 3, 4)
    options = {"batch_size": 100, "random_state": 0, "init": X[:4]}
    chunks = cut(X, 300)
    one = MiniBatchKMeans(4, **options).fit(iter(chunks))
    other = MiniBatchKMeans(4, **options).fit(chunk for chunk in chunks)
    np.testing.assert_array_equal(one.cluster_centers_, other.cluster_centers_)
    # Batches span chunks.
    whole = MiniBatchKMeans(4, **options).fit(iter([X]))
    np.testing.assert_array_equal(one.cluster_centers_, whole.cluster_centers_)


def test_an_iterator_must_have_as_many_rows_as_clusters(make):
    X = make(100, 3, 4)
    # The start may span chunks.
    assert MiniBatchKMeans(8, random_state=0).fit(iter([X[:5], X[5:]])).counts_.sum() == 100
    with pytest.raises(ValueError, match="X must yield at least one chunk, got none"):
        MiniBatchKMeans(8).fit(iter([]))
    for chunks, n in (([X[:3], X[:4]], 7), ([X[:0]], 0)):
        with pytest.raises(ValueError, match=rf"n_clusters must be .* got n_samples={n} and n_"):
            MiniBatchKMeans(8).fit(iter(chunks))
    # Chunks without rows are passed over.
    assert MiniBatchKMeans(4, random_state=0).fit(iter([X[:0], X, X[:0]])).counts_.sum() == 100


def test_a_bad_chunk_late_in_an_iterator_leaves_the_model_as_it_was(make):
    X = make(300, 3, 4)
    bad = X.copy()
    bad[50, 1] = np.nan
    model = MiniBatchKMeans(4, random_state=0).fit(X)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="got NaN at row 350, column 1"):
        model.fit(iter([X, bad]))
    assert vars(model) == before


@pytest.mark.parametrize("method", ["fit", "fit_predict"])
def test_models_of_many_passes_refuse_iterators_unread(make, method):
    X, read = make(100, 3, 4), []
    with pytest.raises(ValueError, match=r"got a generator \(an iterator can be read once: pass a"):
        getattr(KMeans(4), method)(once([X], read))
    assert not read


def test_inertia_without_labels_counts_weights(make):
    X = make(2000, 4, 3)
    options = {"n_clusters": 3, "random_state": 0, "batch_size": 100}
    exact = MiniBatchKMeans(**options).fit(X, sample_weight=5.0).inertia_
    options["compute_labels"] = False

    def chunks():
        return ((part, np.full(len(part), 5.0)) for part in np.split(X, 4))

    for data, weight in ((X, 5.0), (chunks, None), (chunks(), None)):
        model = MiniBatchKMeans(max_no_improvement=None, **options).fit(data, sample_weight=weight)
        assert model.inertia_ == pytest.approx(exact, rel=0.1)


def test_partial_fit_refuses_another_number_of_clusters(blobs):
    model = MiniBatchKMeans(5, random_state=0).partial_fit(blobs)
    with pytest.raises(ValueError, match=r"of the previous fit, \(5, 4\), got \(6, 4\)"):
        model.set_params(n_clusters=6).partial_fit(blobs)


def test_callbacks_hear_of_every_batch_once(blobs):
    pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")

    class Counter:
        tasks: ClassVar = []

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            self.tasks.append(context.task_name)

    model = MiniBatchKMeans(5, random_state=0, batch_size=50).set_callbacks(Counter())
    model.fit(iter([blobs[:200], blobs[200:]]))
    assert Counter.tasks.count("batch") == model.n_steps_ == 6


def test_fit_predict_without_labels(blobs):
    model = MiniBatchKMeans(5, random_state=0, compute_labels=False)
    np.testing.assert_array_equal(model.fit_predict(blobs), model.predict(blobs))
