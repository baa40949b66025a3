"""The M-step: maximum, empty components, and its inverse."""

import numpy as np
import pytest

from kernelmill._gaussian._parameters import Gaussians, NotPositiveDefinite, full_covariances
from kernelmill._gaussian._passes import Moments, moments
from kernelmill._gaussian._update import maximise, moments_of


@pytest.fixture
def shares(rng):
    return rng.random((50, 3))


@pytest.fixture
def X(rng):
    return rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)) + 5


def expected_log_density(X, shares, gaussians):
    """sum_ij r_ij log N(x_i; m_j, C_j), from the definition."""
    k, d = gaussians.k, gaussians.d
    matrices = full_covariances(gaussians.covariances, gaussians.covariance_type, k, d)
    total = 0.0
    for j in range(k):
        away = X - gaussians.means[j]
        square = np.einsum("ip,pq,iq->i", away, np.linalg.inv(matrices[j]), away)
        constant = np.linalg.slogdet(2 * np.pi * matrices[j])[1]
        total -= 0.5 * float(shares[:, j] @ (square + constant))
    return total


def test_weighted_mean_and_covariance(X, shares, gaussians):
    kind = gaussians.covariance_type
    found = maximise(moments(X, shares, gaussians), gaussians, 0.25, "Test")
    covariances = []
    for j in range(3):
        mean = np.average(X, axis=0, weights=shares[:, j])
        np.testing.assert_allclose(found.means[j], mean, rtol=1e-10)
        covariances.append(np.cov(X.T, aweights=shares[:, j], ddof=0))
    covariances = np.stack(covariances)
    expected = {
        "full": covariances + 0.25 * np.eye(4),
        "tied": np.average(covariances, axis=0, weights=shares.sum(axis=0)) + 0.25 * np.eye(4),
        "diag": np.diagonal(covariances, axis1=1, axis2=2) + 0.25,
        "spherical": np.trace(covariances, axis1=1, axis2=2) / 4 + 0.25,
    }[kind]
    np.testing.assert_allclose(found.covariances, expected, rtol=1e-10)


def test_nothing_near_is_better(X, shares, gaussians, rng):
    best = maximise(moments(X, shares, gaussians), gaussians, 0.0, "Test")
    value = expected_log_density(X, shares, best)
    for _ in range(20):
        scale = np.exp(0.1 * rng.normal())
        other = Gaussians.of(
            best.means + 0.05 * rng.normal(size=best.means.shape),
            best.covariances * scale,
            best.covariance_type,
            "Test",
        )
        assert expected_log_density(X, shares, other) < value


def test_a_component_without_weight_stays(X, shares, gaussians):
    shares[:, 1] = 0
    found = maximise(moments(X, shares, gaussians), gaussians, 0.1, "Test")
    np.testing.assert_array_equal(found.means[1], gaussians.means[1])
    if gaussians.covariance_type != "tied":
        np.testing.assert_array_equal(found.covariances[1], gaussians.covariances[1])
        np.testing.assert_array_equal(
            found.precisions_cholesky[1].shape, gaussians.precisions_cholesky[1].shape
        )
    assert np.isfinite(found.covariances).all()


def test_nothing_at_all_stays(X, shares, gaussians):
    found = maximise(moments(X, 0 * shares, gaussians), gaussians, 0.1, "Test")
    np.testing.assert_array_equal(found.means, gaussians.means)
    np.testing.assert_array_equal(found.covariances, gaussians.covariances)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_the_weights_does_not_matter(X, shares, gaussians, scale):
    """What is empty is a share of the whole, not an absolute weight."""
    one = maximise(moments(X, shares, gaussians), gaussians, 0.1, "Test")
    other = maximise(moments(X, scale * shares, gaussians), gaussians, 0.1, "Test")
    np.testing.assert_allclose(other.means, one.means, rtol=1e-12)
    np.testing.assert_allclose(other.covariances, one.covariances, rtol=1e-10)


def test_moments_of_is_the_inverse(X, shares, gaussians):
    weights = shares.sum(axis=0)
    fitted = maximise(moments(X, shares, gaussians), gaussians, 0.25, "Test")
    again = maximise(moments_of(weights, fitted, 0.25), fitted, 0.25, "Test")
    np.testing.assert_allclose(again.means, fitted.means, rtol=1e-12)
    np.testing.assert_allclose(again.covariances, fitted.covariances, rtol=1e-12)
    # About the new means the data have these very moments.
    about = moments(X, shares, fitted)
    kept = moments_of(weights, fitted, 0.25)
    np.testing.assert_allclose(about.sums, kept.sums, atol=1e-10)
    if fitted.covariance_type == "spherical":
        np.testing.assert_allclose(about.squares.mean(axis=1), kept.squares.mean(axis=1))
    else:
        np.testing.assert_allclose(about.squares, kept.squares, rtol=1e-9, atol=1e-9)


def test_singular_covariances_raise():
    gaussians = Gaussians.of(np.zeros((1, 2)), np.eye(2)[None], "full", "Test")
    flat = Moments(np.array([2.0]), np.zeros((1, 2)), np.array([[[2.0, 0.0], [0.0, 0.0]]]), 0.0)
    with pytest.raises(NotPositiveDefinite, match="component 0"):
        maximise(flat, gaussians, 0.0, "Test")
    assert maximise(flat, gaussians, 1e-6, "Test").covariances[0, 1, 1] == 1e-6
