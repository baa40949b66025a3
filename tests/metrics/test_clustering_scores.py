"""Silhouette, Calinski-Harabasz and Davies-Bouldin against scikit-learn and their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics

import kernelmill
from kernelmill import metrics

NAMES = ["silhouette_samples", "calinski_harabasz_score", "davies_bouldin_score"]


def blobs(rng, n=300, d=4, k=5, spread=1.0, mean=0.0):
    centers = 4 * rng.standard_normal((k, d))
    codes = rng.integers(0, k, n)
    return mean + centers[codes] + spread * rng.standard_normal((n, d)), codes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("d", [1, 4, 20])
@pytest.mark.parametrize("k", [2, 7, 60])
def test_equals_scikit_learn(rng, name, d, k):
    X, labels = blobs(rng, d=d, k=k)
    np.testing.assert_allclose(
        getattr(metrics, name)(X, labels),
        getattr(sklearn.metrics, name)(X, labels),
        rtol=1e-9,
        atol=1e-12,
    )


@pytest.mark.parametrize("name", NAMES)
def test_float32_far_from_the_origin_keeps_six_digits(rng, name):
    # Expanding the squares about the origin would leave no digit: mean / spread = 1e4.
    X, labels = blobs(rng, mean=1e4)
    X = X.astype(np.float32)
    wanted = getattr(sklearn.metrics, name)(X.astype(np.float64), labels)
    np.testing.assert_allclose(getattr(metrics, name)(X, labels), wanted, rtol=1e-6, atol=1e-6)


def test_float32_tight_clusters_far_apart(rng):
    X, labels = blobs(rng, spread=1e-3)
    X = X.astype(np.float32)
    a = 1 - metrics.silhouette_samples(X, labels)
    b = 1 - sklearn.metrics.silhouette_samples(X.astype(np.float64), labels)
    # 1 - s is about 1e-4; s itself is near 1 and would hide an error in the own distance.
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_silhouette_by_its_formula(rng):
    X, labels = blobs(rng, n=40, k=3)
    distance = np.sqrt(((X[:, None] - X) ** 2).sum(axis=2))
    for i, s in enumerate(metrics.silhouette_samples(X, labels)):
        mean = [distance[i, labels == g].mean() for g in range(3)]
        own = labels == labels[i]
        a = distance[i, own].sum() / (own.sum() - 1)
        b = min(m for g, m in enumerate(mean) if g != labels[i])
        assert s == pytest.approx((b - a) / max(a, b), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_any_type(rng, name):
    X, codes = blobs(rng, n=60, k=4)
    metric = getattr(metrics, name)
    wanted = metric(X, codes)
    words = np.array(["north", "east", "south", "west"])
    for labels in (
        codes - 1,
        codes * 10**12,
        codes.astype(np.uint8),
        codes.astype(float),
        words[codes],
        words[codes].astype(object),
        words[codes].tolist(),
    ):
        # Another order of the labels changes the order of sums, no more.
        np.testing.assert_allclose(metric(X, labels), wanted, rtol=1e-12)


def test_singletons_score_zero(rng):
    X, labels = blobs(rng, n=50, k=3)
    labels[7] = 99
    s = metrics.silhouette_samples(X, labels)
    assert s[7] == 0
    np.testing.assert_allclose(s, sklearn.metrics.silhouette_samples(X, labels), rtol=1e-9)


def test_rows_that_coincide():
    X = np.repeat([[0.0, 1.0], [5.0, 5.0]], 4, axis=0)
    assert metrics.silhouette_samples(X, [0, 0, 0, 0, 1, 1, 1, 1]).tolist() == [1.0] * 8
    assert metrics.calinski_harabasz_score(X, [0, 0, 0, 0, 1, 1, 1, 1]) == 1.0
    assert metrics.davies_bouldin_score(X, [0, 0, 0, 0, 1, 1, 1, 1]) == 0.0
    same = np.ones((6, 2))
    assert metrics.silhouette_samples(same, [0, 0, 0, 1, 1, 1]).tolist() == [0.0] * 6
    assert metrics.davies_bouldin_score(same, [0, 0, 0, 1, 1, 1]) == 0.0


def test_clusters_with_one_centroid_are_passed_over():
    X = np.array([[-1.0], [1.0], [-2.0], [2.0], [9.0], [10.0]])
    labels = [0, 0, 1, 1, 2, 2]
    assert metrics.davies_bouldin_score(X, labels) == pytest.approx(
        sklearn.metrics.davies_bouldin_score(X, labels), rel=1e-12
    )


@pytest.mark.parametrize("sample_size", [30, 300])
def test_score_draws_the_sample_of_scikit_learn(rng, sample_size):
    X, labels = blobs(rng)
    ours = metrics.silhouette_score(X, labels, sample_size=sample_size, random_state=3)
    theirs = sklearn.metrics.silhouette_score(X, labels, sample_size=sample_size, random_state=3)
    assert ours == pytest.approx(theirs, rel=1e-9)
    assert metrics.silhouette_score(X, labels) == pytest.approx(
        metrics.silhouette_samples(X, labels).mean(), rel=1e-12
    )


@pytest.mark.parametrize("name", [*NAMES, "silhouette_score"])
def test_bad_input_is_refused_in_one_sentence(rng, name):
    metric = getattr(metrics, name)
    X, labels = blobs(rng, n=10, k=2)
    with pytest.raises(
        ValueError, match=rf"^{name}: labels must have 2 to n_samples - 1 = 9.*got 1 "
    ):
        metric(X, np.zeros(10))
    with pytest.raises(ValueError, match=rf"^{name}: labels must have 2 to .*got 10 "):
        metric(X, np.arange(10))
    with pytest.raises(ValueError, match=rf"^{name}: labels must be a vector .*\(9,\) and"):
        metric(X, labels[:9])
    with pytest.raises(ValueError, match=rf"^{name}: labels must be finite"):
        metric(X, np.where(labels > 0, np.nan, 0.0))
    with pytest.raises(ValueError, match=rf"^{name}: labels must be of types that compare"):
        metric(X, np.array([None, *"abcdefghi"], dtype=object))
    for bad in (np.nan, np.inf, -np.inf):
        spoiled = X.copy()
        spoiled[3, 2] = bad
        with pytest.raises(ValueError, match=rf"^{name}: X must be finite, got .* at row 3, col"):
            metric(spoiled, labels)
    with pytest.raises(ValueError, match=rf"^{name}: X must be 2-D, .*reshape\(-1, 1\)"):
        metric(X[:, 0], labels)
    with pytest.raises(ValueError, match=rf"^{name}: X must be numeric"):
        metric(np.full((10, 2), "a"), labels)
    for size, scale in (("small", 1e160), ("large", 1e-160)):  # else NaN or 0
        with pytest.raises(ValueError, match=rf"^{name}: X must be {size} enough to be squared"):
            metric(X * scale, labels)


def test_a_sum_of_x_that_overflows_is_not_mistaken_for_infinity():
    X = np.array([[0], [0], [1e38], [1e38], [1e38], [1e38]], dtype=np.float32)
    with np.errstate(over="ignore"):
        assert np.isinf(X.sum())
    s = metrics.silhouette_samples(X, [0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(s, [0.5, 0.5, -1, 1, 1, 1], rtol=1e-6)


@pytest.mark.parametrize("name", ["silhouette_samples", "silhouette_score"])
def test_other_metrics_are_refused(rng, name):
    X, labels = blobs(rng, n=10, k=2)
    with pytest.raises(ValueError, match=rf"^{name}: metric must be 'euclidean', got 'cosine'"):
        getattr(metrics, name)(X, labels, metric="cosine")


def test_sample_size_is_checked(rng):
    X, labels = blobs(rng, n=10, k=2)
    for bad in (0, 11, 2.5):
        with pytest.raises(ValueError, match="sample_size must be an integer from 1 to 10, got"):
            metrics.silhouette_score(X, labels, sample_size=bad)


def test_inputs_are_not_written_to_and_any_layout_is_read(rng):
    X, labels = blobs(rng)
    wide = np.repeat(X, 2, axis=1)[:, ::2]
    X.setflags(write=False)
    labels.setflags(write=False)
    for name in NAMES:
        metric = getattr(metrics, name)
        for same in (np.asfortranarray(X), wide, X[::-1]):
            ours = metric(same, labels[::-1] if same.base is X else labels)
            if np.ndim(ours) and same.base is X:
                ours = ours[::-1]
            np.testing.assert_allclose(ours, metric(X, labels), rtol=1e-12)
    assert metrics.silhouette_score(X.astype(np.float16), labels) == pytest.approx(
        metrics.silhouette_score(X, labels), abs=1e-3
    )
    assert metrics.calinski_harabasz_score((10 * X).astype(int), labels) > 0


def test_bits_do_not_depend_on_threads(rng):
    X, labels = blobs(rng, n=1500, k=6)
    with kernelmill.threads(1):
        wanted = metrics.silhouette_samples(X, labels)
    for n in (2, 7):
        with kernelmill.threads(n):
            assert np.array_equal(metrics.silhouette_samples(X, labels), wanted)


def test_the_specification_gives_the_same_scores(rng):
    X, labels = blobs(rng, n=80)
    ours = metrics.silhouette_samples(X, labels)
    with kernelmill.backend("numpy"):
        np.testing.assert_allclose(metrics.silhouette_samples(X, labels), ours, rtol=1e-12)


def test_blocks_of_queries_join_up(rng, monkeypatch):
    # 5000 rows cross the smallest block of 4096.
    X, labels = blobs(rng, n=5000, d=3, k=4)
    whole = metrics.silhouette_samples(X, labels)
    monkeypatch.setattr("kernelmill.metrics._silhouette.CHUNK_BYTES", 1)
    assert np.array_equal(metrics.silhouette_samples(X, labels), whole)
