"""KMeans with several starts: small runs side by side give what runs one by one give."""

import numpy as np
import pytest
from learned import fitted

from kernelmill.cluster import KMeans, _kmeans

DTYPES = [np.float32, np.float64]


@pytest.mark.filterwarnings("ignore:Number of distinct")
@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["blobs", "weighted", "few distinct", "tied"])
def test_runs_side_by_side_change_no_bit(make, rng, monkeypatch, kind, dtype, init):
    """Not of the run that wins, nor which it is; also where runs empty a cluster on the way."""
    X = make(600, 5, 6, dtype, spread=1.5)
    weight = rng.integers(0, 3, len(X)).astype(float) if kind == "weighted" else None
    if kind == "few distinct":
        X = X[:9].repeat(40, axis=0)
    if kind == "tied":  # many runs end in mirror images of one another
        X = rng.integers(0, 3, X.shape).astype(dtype)
    models = []
    for together in (True, False):
        if not together:
            monkeypatch.setattr(_kmeans, "runs_together", lambda *_: False)
        model = KMeans(8, init=init, n_init=7, random_state=3).fit(X, sample_weight=weight)
        models.append(fitted(model))
    assert models[0] == models[1]


def test_small_fits_make_their_runs_side_by_side(blobs, monkeypatch):
    """And those that somebody watches do not."""
    calls = []
    restarts = _kmeans.kmeans.restarts
    monkeypatch.setattr(_kmeans.kmeans, "restarts", lambda *a: calls.append(1) or restarts(*a))
    quiet = KMeans(4, n_init=3, random_state=0).fit(blobs)
    assert len(calls) == 1
    watched = KMeans(4, n_init=3, random_state=0, verbose=1).fit(blobs)
    assert len(calls) == 1
    assert fitted(quiet) == fitted(watched)
    assert quiet.labels_.base is None  # the labels of the other runs are not kept alive


def test_warm_start_continues(blobs):
    model = KMeans(5, init="random", n_init=1, random_state=3, max_iter=2, warm_start=True)
    model.fit(blobs).fit(blobs)
    whole = KMeans(5, init="random", n_init=1, random_state=3, max_iter=4).fit(blobs)
    np.testing.assert_array_equal(model.cluster_centers_, whole.cluster_centers_)
    message = r"^KMeans: n_clusters and the number of features must be .*, \(5, 4\), got \({}\)"
    with pytest.raises(ValueError, match=message.format("5, 3")):
        model.fit(blobs[:, :3])
    with pytest.raises(ValueError, match=message.format("4, 4")):
        model.set_params(n_clusters=4).fit(blobs)


def test_interrupted_warm_start_keeps_the_centers(blobs, monkeypatch):
    from kernelmill.cluster import _lloyd

    options = {"n_clusters": 5, "init": "random", "n_init": 1, "random_state": 3, "tol": 0}
    model = KMeans(warm_start=True, **options).fit(blobs[:100])
    start = model.cluster_centers_.copy()
    advance, calls = _lloyd.Descent.advance, []

    def limited(self, state, most):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return advance(self, state, most)

    with monkeypatch.context() as patch:
        patch.setattr(_lloyd.Descent, "advance", limited)
        with pytest.raises(KeyboardInterrupt):
            model.fit([blobs[:150], blobs[150:]])
    one = KMeans(5, init=start, max_iter=1, tol=0).fit([blobs[:150], blobs[150:]])
    np.testing.assert_array_equal(model.cluster_centers_, one.cluster_centers_)
    assert model.interrupted_
    assert not hasattr(model, "labels_")  # of the earlier fit
    assert not hasattr(model.fit(blobs), "interrupted_")
