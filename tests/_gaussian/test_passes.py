"""Passes: against SciPy's densities and conditional expectations written out row by row."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from kernelmill._gaussian import _passes
from kernelmill._gaussian._parameters import full_covariances

# Observed values agree to a few eps times the condition of the covariances (below 1e4).
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def offsets_of(k):
    return np.log(np.arange(1.0, k + 1) / np.arange(1.0, k + 1).sum())


def brute_force(X, gaussians, offsets, weight, shares=None):
    """Log joint densities and expected moments, one row and one component at a time."""
    k, d = gaussians.k, gaussians.d
    matrices = full_covariances(gaussians.covariances, gaussians.covariance_type, k, d)
    joint = np.tile(offsets, (len(X), 1))
    for i, x in enumerate(X):
        o = np.flatnonzero(~np.isnan(x))
        for j in range(k) if len(o) else ():
            mean, sigma = gaussians.means[j][o], matrices[j][np.ix_(o, o)]
            joint[i, j] += multivariate_normal(mean, sigma).logpdf(x[o])
    log_prob = logsumexp(joint, axis=1)
    if shares is None:
        shares = weight[:, None] * np.exp(joint - log_prob[:, None])
    sums, squares = np.zeros((k, d)), np.zeros((k, d, d))
    for i, x in enumerate(X):
        missing = np.isnan(x)
        o, m = np.flatnonzero(~missing), np.flatnonzero(missing)
        for j in range(k):
            away, left = np.where(missing, 0.0, x - gaussians.means[j]), np.zeros((d, d))
            inside, across = matrices[j][np.ix_(m, m)], matrices[j][np.ix_(m, o)]
            B = across @ np.linalg.inv(matrices[j][np.ix_(o, o)])
            away[m] = B @ away[o]
            left[np.ix_(m, m)] = inside - B @ across.T
            sums[j] += shares[i, j] * away
            squares[j] += shares[i, j] * (np.outer(away, away) + left)
    return joint, shares.sum(axis=0), sums, squares, float(weight @ log_prob)


def same_second_moments(found, squares, kind):
    if kind == "tied":
        squares = squares.sum(axis=0, keepdims=True)
    elif kind in ("diag", "spherical"):
        squares = np.diagonal(squares, axis1=1, axis2=2)
    np.testing.assert_allclose(found, squares, **CLOSE)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_step_equals_brute_force(gaussians, gappy, rng, missing, weighted):
    X = gappy if missing else np.nan_to_num(gappy)
    weight = rng.random(len(X)) if weighted else np.ones(len(X))
    offsets = offsets_of(3)
    joint, weights, sums, squares, total = brute_force(X, gaussians, offsets, weight)
    np.testing.assert_allclose(_passes.log_joint(X, gaussians, offsets), joint, **CLOSE)
    found = _passes.step(X, gaussians, offsets, weight if weighted else None)
    np.testing.assert_allclose(found.weights, weights, **CLOSE)
    np.testing.assert_allclose(found.sums, sums, **CLOSE)
    same_second_moments(found.squares, squares, gaussians.covariance_type)
    assert found.log_likelihood == pytest.approx(total, rel=1e-11)


@pytest.mark.parametrize("missing", [False, True])
def test_moments_equal_brute_force(gaussians, gappy, rng, missing):
    X = gappy if missing else np.nan_to_num(gappy)
    shares = rng.random((len(X), 3))
    _, weights, sums, squares, _ = brute_force(
        X, gaussians, np.zeros(3), np.ones(len(X)), shares=shares
    )
    found = _passes.moments(X, shares, gaussians)
    np.testing.assert_allclose(found.weights, weights, **CLOSE)
    np.testing.assert_allclose(found.sums, sums, **CLOSE)
    same_second_moments(found.squares, squares, gaussians.covariance_type)


def test_statistics_add_up_over_chunks(gaussians, gappy, rng):
    weight, offsets = rng.random(len(gappy)), offsets_of(3)
    whole = _passes.step(gappy, gaussians, offsets, weight)
    parts = [
        _passes.step(gappy[rows], gaussians, offsets, weight[rows])
        for rows in (slice(0, 7), slice(7, 8), slice(8, None))
    ]
    for one, *others in zip(whole, *parts, strict=True):
        np.testing.assert_allclose(sum(others), one, rtol=1e-12, atol=1e-11)


def test_the_path_for_missing_entries_changes_no_bit_without_them(gaussians, gappy):
    X, offsets = np.nan_to_num(gappy), offsets_of(3)
    plain = _passes.step(X, gaussians, offsets, missing=False)
    looked_up = _passes.step(X, gaussians, offsets)
    for one, other in zip(plain, looked_up, strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    assert _passes.parts_of(X) is None


def test_parts_are_what_passes_look_up(gaussians, gappy):
    parts, offsets = _passes.parts_of(gappy), offsets_of(3)
    assert sum(len(part.rows) for part in parts) == len(gappy)
    for part in parts:
        assert not np.isnan(part.X).any()
        assert np.isnan(gappy[part.rows]).sum() == len(part.rows) * (4 - len(part.observed))
    for known in (parts, True, None):
        found = _passes.step(gappy, gaussians, offsets, missing=known)
        for one, other in zip(found, _passes.step(gappy, gaussians, offsets), strict=True):
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_a_row_without_entries_has_the_shares_of_the_offsets(gaussians):
    X, offsets = np.full((2, 4), np.nan), offsets_of(3)
    np.testing.assert_array_equal(_passes.log_joint(X, gaussians, offsets), [offsets, offsets])
    found = _passes.step(X, gaussians, offsets, np.array([1.0, 2.0]))
    np.testing.assert_allclose(found.weights, 3 * np.exp(offsets), rtol=1e-14)
    np.testing.assert_array_equal(found.sums, 0)
    assert found.log_likelihood == pytest.approx(0.0, abs=1e-14)


def test_float32_rows_stay_float32(gaussians, gappy):
    joint = _passes.log_joint(gappy.astype(np.float32), gaussians, offsets_of(3))
    assert joint.dtype == np.float32
    exact = _passes.log_joint(gappy, gaussians, offsets_of(3))
    np.testing.assert_allclose(joint, exact, rtol=1e-4, atol=1e-3)


def test_has_missing():
    assert not _passes.has_missing(np.ones((3, 2)))
    assert _passes.has_missing(np.array([[1.0, np.nan]]))
    assert not _passes.has_missing(np.array([[1.0, np.inf]]))
