"""MeanShift against scikit-learn's, its fixed points, and bandwidths of nothing."""

import numpy as np
import pytest
import sklearn.cluster
from scipy.spatial.distance import cdist

import kernelmill
from kernelmill.cluster import MeanShift, estimate_bandwidth


def blobs(rng, n=300, d=2):
    return rng.normal(size=(4, d))[rng.integers(0, 4, n)] * 8 + rng.normal(size=(n, d))


@pytest.mark.parametrize("options", [{}, {"cluster_all": False}, {"max_iter": 2}, {"max_iter": 0}])
@pytest.mark.parametrize("bandwidth", [1.5, 3.0])
def test_centers_are_those_of_scikit_learn(rng, options, bandwidth):
    X = blobs(rng)
    ours = MeanShift(bandwidth=bandwidth, **options).fit(X)
    other = sklearn.cluster.MeanShift(bandwidth=bandwidth, **options).fit(X)
    np.testing.assert_allclose(ours.cluster_centers_, other.cluster_centers_, rtol=1e-9)
    np.testing.assert_array_equal(ours.labels_, other.labels_)


def test_centers_are_fixed_points(rng):
    X = blobs(rng, 500, 3)
    model = MeanShift(bandwidth=3.0).fit(X)
    for center in model.cluster_centers_:
        mean = X[cdist(X, [center])[:, 0] <= 3.0].mean(axis=0)
        assert np.linalg.norm(mean - center) <= 2e-3 * 3.0
    apart = cdist(*2 * [model.cluster_centers_]) + 9 * np.eye(len(model.cluster_centers_))
    assert apart.min() > 3.0
    np.testing.assert_array_equal(model.predict(X), model.labels_)


@pytest.mark.parametrize("quantile", [0.0, 0.1, 0.3, 1.0])
def test_bandwidths(rng, quantile):
    X = rng.normal(size=(120, 3))
    got = estimate_bandwidth(X, quantile=quantile)
    np.testing.assert_allclose(got, sklearn.cluster.estimate_bandwidth(X, quantile=quantile))
    assert estimate_bandwidth(X, n_samples=50) > 0
    assert got.dtype == np.float64
    assert estimate_bandwidth(X.astype(np.float32)).dtype == np.float32
    with pytest.raises(ValueError, match="quantile must be in"):
        estimate_bandwidth(X, quantile=1.5)


def test_bandwidth_of_nothing():
    """scikit-learn/scikit-learn#17727, scikit-learn/scikit-learn#14812"""
    X = np.array([107.0, 107, 107, 108, 108, 108, 109, 109])[:, None]
    for bandwidth in (1e-9, None):
        for bins in (True, False):
            model = MeanShift(bandwidth=bandwidth, bin_seeding=bins)
            if bandwidth is None:
                assert estimate_bandwidth(X, quantile=0.1) == 0
                model.fit(np.repeat(X, 4, axis=0)[:18])  # mostly equal rows
                assert len(model.cluster_centers_) == 2
            else:
                model.fit(X)
                assert sorted(model.cluster_centers_.ravel()) == [107, 108, 109]
                assert len(set(model.labels_)) == 3


def test_seeds_and_cells(rng):
    X = blobs(rng)
    given = MeanShift(bandwidth=3.0, seeds=X[:5]).fit(X)
    assert 1 <= len(given.cluster_centers_) <= 5
    whole = MeanShift(bandwidth=3.0).fit(X)
    cells = MeanShift(bandwidth=3.0, bin_seeding=True).fit(X)
    assert len(cells.cluster_centers_) == len(whole.cluster_centers_)
    fewer = MeanShift(bandwidth=3.0, bin_seeding=True, min_bin_freq=20).fit(X)
    assert len(fewer.cluster_centers_) <= len(cells.cluster_centers_)
    with pytest.raises(ValueError, match="seeds must have rows within the bandwidth"):
        MeanShift(bandwidth=1.0, seeds=[[1e3, 1e3]]).fit(X)
    with pytest.raises(ValueError, match=r"seeds must have shape \(n_seeds, 2\)"):
        MeanShift(bandwidth=1.0, seeds=[[1.0]]).fit(X)


def test_threads_and_files(rng, tmp_path):
    X = blobs(rng).astype(np.float32)
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            found.append(MeanShift(bandwidth=2.0).fit(X))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].cluster_centers_, other.cluster_centers_)
    kernelmill.save(found[0], tmp_path / "model")
    np.testing.assert_array_equal(kernelmill.load(tmp_path / "model").predict(X), found[0].labels_)
