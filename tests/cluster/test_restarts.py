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
