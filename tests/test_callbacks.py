"""Checkpoints: whole files while a fit is under way, from which it goes on to the same end."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone

import kernelmill
from kernelmill import callbacks
from kernelmill._estimator._progress import heard
from kernelmill.callbacks import Checkpoint
from kernelmill.cluster import (
    DBSCAN,
    BisectingKMeans,
    ConstrainedKMeans,
    KMeans,
    MiniBatchKMeans,
    SpectralClustering,
)
from kernelmill.decomposition import ProbabilisticPCA
from kernelmill.manifold import Isomap
from kernelmill.mixture import MixtureClassifier
from kernelmill.naive_bayes import GaussianNB
from kernelmill.neighbors import KNeighborsClassifier, MLkNN
from kernelmill.tree import DecisionTreeClassifier

pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")

X = np.random.default_rng(0).normal(size=(3000, 3))
OPTIONS = {"init": X[:20], "tol": 0, "max_iter": 300}


class Stop:
    """Raises after some iterations."""

    def __init__(self, after, error):
        self.after, self.error = after, error

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context):
        if context.task_name != "run" and context.parent and context.task_id + 1 == self.after:
            raise self.error


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("chunks", [False, True])
def test_a_fit_goes_on_from_its_last_file(dtype, chunks, tmp_path):
    rows = X.astype(dtype)
    data = np.array_split(rows, 3) if chunks else rows
    path = tmp_path / "model.safetensors"
    whole = KMeans(20, **OPTIONS).fit(data)
    assert whole.n_iter_ > 8
    model = KMeans(20, **OPTIONS).set_callbacks(
        Checkpoint(path, every=0), Stop(5, MemoryError("no more"))
    )
    with pytest.raises(MemoryError):
        model.fit(data)
    assert not hasattr(model, "cluster_centers_")
    kept = kernelmill.load(path)
    partial = KMeans(20, **{**OPTIONS, "max_iter": 5}).fit(data)
    np.testing.assert_array_equal(kept.cluster_centers_, partial.cluster_centers_)
    kept.set_params(warm_start=True).fit(data)
    np.testing.assert_array_equal(kept.cluster_centers_, whole.cluster_centers_)
    np.testing.assert_array_equal(kept.labels_, whole.labels_)
    assert kept.inertia_ == whole.inertia_
    assert kept.n_iter_ == whole.n_iter_ - 5


def test_files_are_written_now_and_then(tmp_path, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: float(next(clock)))
    often, seldom = (Checkpoint(tmp_path / f"{every}", every=every) for every in (0, 20))
    model = KMeans(20, **OPTIONS).set_callbacks(often, seldom).fit(X)
    assert often.n_saved == model.n_iter_ + 1  # and once at the end
    assert 2 < seldom.n_saved < often.n_saved
    for name in ("0", "20"):
        kept = kernelmill.load(tmp_path / name)
        np.testing.assert_array_equal(kept.predict(X), model.labels_)


def test_the_last_file_is_the_best_start(tmp_path):
    model = KMeans(20, init="random", n_init=4, random_state=0)
    model.set_callbacks(Checkpoint(tmp_path / "m")).fit(X)
    kept = kernelmill.load(tmp_path / "m")
    assert -kept.score(X) == pytest.approx(model.inertia_, rel=1e-12)


def test_nothing_of_an_earlier_fit_is_in_the_file(tmp_path):
    model = KMeans(5, random_state=0).fit(X)
    model.set_callbacks(Checkpoint(tmp_path / "m")).fit(X[:100])
    kept = kernelmill.load(tmp_path / "m")
    assert not hasattr(kept, "labels_")
    assert kept.n_features_in_ == 3
    assert model.labels_.shape == (100,)


@pytest.mark.parametrize(
    "model",
    [
        MiniBatchKMeans(5, random_state=0),
        BisectingKMeans(5, random_state=0),
        ConstrainedKMeans(5, size_min=10, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_other_models(model, tmp_path):
    checkpoint = Checkpoint(tmp_path / "m", every=0)
    model = clone(model).set_callbacks(checkpoint).fit(X)
    assert checkpoint.n_saved > 1
    kept = kernelmill.load(tmp_path / "m")
    np.testing.assert_array_equal(kept.predict(X), model.predict(X))


class Once:
    """Counts what it hears."""

    def __init__(self):
        self.heard = []

    def setup(self, estimator, context):
        self.heard.append("setup")

    def teardown(self, estimator, context):
        self.heard.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.heard.append("begin")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, X=None, y=None):
        self.heard += ["end", len(X), len(y), context.parent is None]
        fitted_estimator.n_features_in_  # noqa: B018


@pytest.mark.parametrize(
    "model",
    [
        KNeighborsClassifier(3),
        MLkNN(3),
        DecisionTreeClassifier(max_depth=3),
        MixtureClassifier(),
        GaussianNB(),
        DBSCAN(1.0),
        SpectralClustering(2, random_state=0),  # fits another model within
        ProbabilisticPCA(2),
        Isomap(n_neighbors=6),
    ],
    ids=lambda model: type(model).__name__,
)
def test_fits_without_iterations_are_written_once(model, tmp_path):
    rows, y = X[:80], (X[:80, 0] > 0).astype(int)
    y = np.stack([y, 1 - y], axis=1) if isinstance(model, MLkNN) else y
    checkpoint, once = Checkpoint(tmp_path / "m", every=0), Once()
    model = clone(model).fit(rows[:60], y[:60]).set_callbacks(checkpoint, once).fit(rows, y)
    assert checkpoint.n_saved == 1
    assert once.heard == ["setup", "begin", "end", 80, 80, True, "teardown"]
    kept = kernelmill.load(tmp_path / "m")
    for name in ("predict", "transform", "labels_"):
        if hasattr(model, name):
            want, found = getattr(model, name), getattr(kept, name)
            if name != "labels_":
                want, found = want(rows), found(rows)
            np.testing.assert_array_equal(found, want)
    assert not heard()
    with pytest.raises(ValueError, match="X "):
        model.fit(rows[:0], y[:0])
    assert once.heard.count("setup") == once.heard.count("teardown")
    assert not heard()


def test_paths_that_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="path must be in an existing folder"):
        KMeans(5).set_callbacks(Checkpoint(tmp_path / "no" / "m")).fit(X)
    written = []

    def full(model, path):
        written.append(1)
        if len(written) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(callbacks, "save", full)
    checkpoint = Checkpoint(tmp_path / "m", every=0)
    with pytest.warns(RuntimeWarning, match=r"Checkpoint: path must be writable, got .*No space"):
        model = KMeans(20, **OPTIONS).set_callbacks(checkpoint).fit(X)
    assert checkpoint.n_saved == len(written) - 1 == model.n_iter_
    with pytest.raises(ValueError, match="every must be at least 0 seconds, got -1"):
        Checkpoint("m", every=-1)


# --- Ctrl-C ---------------------------------------------------------------------------------------

INTERRUPTED = """
import sys, time
import numpy as np, kernelmill
from kernelmill.callbacks import Checkpoint
from kernelmill.cluster import KMeans

class Slow:
    def setup(self, estimator, context): pass
    teardown = on_fit_task_begin = setup
    def on_fit_task_end(self, estimator, context):
        if context.task_name == "iteration" and context.task_id == 3:
            print("ready", flush=True)
            time.sleep(60)

X = np.random.default_rng(0).normal(size=(3000, 3))
options = {"init": X[:20], "tol": 0}
whole = KMeans(20, **options).fit(X)
model = KMeans(20, warm_start=True, **options)
model.set_callbacks(Checkpoint(sys.argv[1], every=0), Slow())
try:
    model.fit(X)
    sys.exit("was not interrupted")
except KeyboardInterrupt:
    pass
assert model.interrupted_
assert not hasattr(model, "labels_")
for half in (model.set_callbacks(), kernelmill.load(sys.argv[1])):
    assert model.predict(X).shape == (3000,)
    half.fit(X)
    assert not hasattr(half, "interrupted_")
    assert (half.cluster_centers_ == whole.cluster_centers_).all()
    assert (half.labels_ == whole.labels_).all()
    assert half.n_iter_ == whole.n_iter_ - 4, half.n_iter_
print("same", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to another process")
def test_ctrl_c_and_on_to_the_same_end(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "m")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (out, process.returncode) == ("same\n", 0), err
