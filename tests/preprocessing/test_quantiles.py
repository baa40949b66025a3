"""Quantiles: NumPy's in memory, within the stated error in rank on streams, merged in any order."""

import numpy as np
import pytest
import scipy.sparse as sp

from kernelmill.preprocessing import RobustScaler
from kernelmill.preprocessing._quantiles import SIZE, merge_summaries, quantiles, summarise

SHARES = (0.0, 0.01, 0.25, 0.5, 0.7, 0.999, 1.0)


def streamed(chunks, weights=None):
    total = None
    for i, chunk in enumerate(chunks):
        part = summarise(chunk, None if weights is None else weights[i], whole=False)
        total = part if total is None else merge_summaries(total, part)
    return total


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_in_memory_they_are_numpys(rng, dtype):
    X = rng.normal(size=(997, 5)).astype(dtype)
    X[rng.random(X.shape) < 0.2] = np.nan
    expected = np.nanquantile(X.astype(np.float64), SHARES, axis=0)
    got = quantiles(summarise(X, whole=True), SHARES)
    np.testing.assert_allclose(got, expected, rtol=1e-14)
    few = streamed(np.array_split(X, 9))  # so few rows are kept
    np.testing.assert_array_equal(quantiles(few, SHARES), got)


def errors_in_rank(X, got, weight=None):
    """How far each quantile is from its rank, as a share of the weight."""
    worst = 0.0
    for j in range(X.shape[1]):
        there = ~np.isnan(X[:, j])
        w = np.ones(there.sum()) if weight is None else weight[there]
        column, total = X[there, j], w.sum()
        for share, value in zip(SHARES, got[:, j], strict=True):
            below, upto = w[column < value].sum() / total, w[column <= value].sum() / total
            worst = max(worst, below - share, share - upto)
    return worst


@pytest.mark.parametrize("kind", ["normal", "ascending", "ties", "drift", "gaps", "heavy tails"])
@pytest.mark.parametrize("weighted", [False, True])
def test_stated_error_in_rank_holds(rng, kind, weighted):
    n, chunks = 120_000, 37
    X = rng.normal(size=(n, 3))
    if kind == "ascending":
        X.sort(axis=0)
    elif kind == "ties":
        X = np.round(X)
    elif kind == "drift":
        X += np.linspace(0, 50, n)[:, None] ** 2
    elif kind == "gaps":
        X[rng.random(X.shape) < [0.0, 0.5, 0.99]] = np.nan
    elif kind == "heavy tails":
        X = np.exp(5 * X)
    cuts = np.sort(rng.choice(n, chunks - 1, replace=False))
    weight = rng.exponential(size=n) * (rng.random(n) < 0.8) if weighted else None
    weights = None if weight is None else np.split(weight, cuts)
    summary = streamed(np.split(X, cuts), weights)
    bound = (2 + np.log2(chunks)) / (2 * SIZE)
    got = quantiles(summary, SHARES)
    assert errors_in_rank(X, got, weight) <= bound
    used = X if weight is None else X[weight > 0]
    np.testing.assert_array_equal(got[[0, -1]], [np.nanmin(used, 0), np.nanmax(used, 0)])
    # As a tree instead of one chunk after another.
    parts = [summarise(c, None if weights is None else weights[i], whole=False)
             for i, c in enumerate(np.split(X, cuts))]
    while len(parts) > 1:
        merged = [merge_summaries(*parts[i : i + 2]) for i in range(0, len(parts) - 1, 2)]
        parts = merged + parts[len(parts) - len(parts) % 2 :]
    assert errors_in_rank(X, quantiles(parts[0], SHARES), weight) <= bound


def test_summaries_stay_small_and_parts_as_they_are(rng):
    chunks = [rng.normal(size=(3000, 2)) for _ in range(33)]
    parts = [summarise(chunk, whole=False) for chunk in chunks]
    before = [part.sets[0][0].copy() for part in parts]
    total = parts[0]
    for part in parts[1:]:
        total = merge_summaries(total, part)
    assert len(total.sets) == 6
    assert sum(s is not None for s in total.sets) == 2  # 33 is 100001 in binary
    assert total.rows is None
    for part, points in zip(parts, before, strict=True):
        np.testing.assert_array_equal(part.sets[0][0], points)
    np.testing.assert_allclose(total.sets[5][1] + total.sets[0][1], 99000)


def test_weights_are_repetitions_or_relative(rng):
    X = rng.normal(size=(50, 2))
    weight = rng.integers(0, 4, size=50).astype(float)
    expected = np.quantile(np.repeat(X, weight.astype(int), axis=0), SHARES, axis=0)
    got = quantiles(summarise(X, weight, whole=True), SHARES)
    np.testing.assert_allclose(got, expected, rtol=1e-14)
    relative = quantiles(summarise(X, weight / 7.3, whole=True), SHARES)
    again = quantiles(summarise(X, weight / 7.3 * 1e-9, whole=True), SHARES)
    np.testing.assert_array_equal(relative, again)
    expected = np.quantile(
        np.repeat(X, weight.astype(int), axis=0), SHARES, axis=0, method="averaged_inverted_cdf"
    )
    np.testing.assert_allclose(relative, expected, rtol=1e-14)
    # Sums of weights above 2**53 are even numbers only; the last row must be found all the same.
    huge = quantiles(summarise(X, weight * 2.0**900, whole=True), SHARES)
    np.testing.assert_array_less(np.abs(huge - relative).max(), 0.5)
    np.testing.assert_array_equal(huge[-1], X[weight > 0].max(axis=0))


def test_sparse_chunks(rng):
    X = rng.normal(size=(30_000, 3)) * (rng.random((30_000, 3)) < 0.3)
    dense = quantiles(streamed(np.array_split(X, 5)), SHARES)
    sparse = quantiles(streamed([sp.csr_array(c) for c in np.array_split(X, 5)]), SHARES)
    np.testing.assert_array_equal(sparse, dense)
    mixed = streamed([sp.csr_array(X[:1000]), X[1000:1500]])
    np.testing.assert_allclose(quantiles(mixed, SHARES), np.quantile(X[:1500], SHARES, axis=0))


def test_robust_scaler_of_a_long_stream(rng):
    X = rng.normal(size=(50_000, 2)) * [1, 100] + [5, 0]
    whole, lazy = RobustScaler().fit(X), RobustScaler().fit(np.array_split(X, 20))
    # An error in rank of 0.16 % is one of 0.004 standard deviations at the median of a normal
    # distribution and of 0.005 at its quartiles.
    np.testing.assert_allclose((lazy.center_ - whole.center_) / [1, 100], 0, atol=0.005)
    np.testing.assert_allclose(lazy.scale_, whole.scale_, rtol=0.008)
