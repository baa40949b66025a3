"""kl_divergence, entropy, mahalanobis: closed forms against quadrature, samples against them."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis
from scipy.stats import multivariate_normal
from sklearn.exceptions import NotFittedError

from kernelmill.mixture import (
    BayesianGaussianMixture,
    GaussianMixture,
    entropy,
    kl_divergence,
    mahalanobis,
)


@pytest.fixture
def pair(make, kind):
    one, other = make(300, 3, 1), make(300, 3, 1)
    return (
        GaussianMixture(covariance_type=kind).fit(one),
        GaussianMixture(covariance_type="full").fit(other),
    )


def matrix(model):
    C, d = model.covariances_, model.means_.shape[1]
    return {
        "full": lambda: C[0],
        "tied": lambda: C,
        "diag": lambda: np.diag(C[0]),
        "spherical": lambda: C[0] * np.eye(d),
    }[model.covariance_type]()


def test_closed_forms(pair):
    p, q = pair
    S, T = matrix(p), matrix(q)
    away = q.means_[0] - p.means_[0]
    inverse = np.linalg.inv(T)
    expected = 0.5 * (
        np.trace(inverse @ S)
        + away @ inverse @ away
        - 3
        + np.linalg.slogdet(T)[1]
        - np.linalg.slogdet(S)[1]
    )
    found = kl_divergence(p, q)
    assert found.value == pytest.approx(expected, rel=1e-10)
    assert found.standard_error == 0
    assert kl_divergence(p, p).value == pytest.approx(0.0, abs=1e-12)
    expected = multivariate_normal(p.means_[0], S).entropy()
    assert float(entropy(p)) == pytest.approx(expected, rel=1e-12)


def test_samples_agree_with_closed_forms(pair):
    """Each Gaussian as a mixture of two equal halves: the same density, no closed form."""
    p, q = pair

    def halved(model):
        twin = GaussianMixture(2, covariance_type=model.covariance_type)
        twin.weights_ = np.array([0.5, 0.5])
        twin.means_ = np.repeat(model.means_, 2, axis=0)
        shared = model.covariance_type == "tied"
        twin.covariances_ = model.covariances_ if shared else np.repeat(model.covariances_, 2, 0)
        return twin

    exact, found = kl_divergence(p, q), kl_divergence(halved(p), halved(q), n_samples=20_000)
    assert 0 < found.standard_error < 0.1 * abs(exact.value) + 0.1
    assert abs(found.value - exact.value) < 5 * found.standard_error
    exact, found = entropy(p), entropy(halved(p), n_samples=20_000)
    assert abs(found.value - exact.value) < 5 * found.standard_error
    assert found == entropy(halved(p), n_samples=20_000)
    assert found != entropy(halved(p), n_samples=20_000, random_state=1)


def test_mixtures_of_one_feature_against_quadrature(rng):
    X = np.r_[rng.normal(-2, 0.7, 200), rng.normal(2, 1.5, 300)][:, None]
    p = GaussianMixture(2, random_state=0).fit(X)
    q = BayesianGaussianMixture(3, random_state=0, max_iter=500).fit(X + 1)
    from scipy.special import logsumexp
    from scipy.stats import norm

    def log_density(model, x):
        scale = np.sqrt(model.covariances_.ravel())
        return logsumexp(norm.logpdf(x, model.means_.ravel(), scale) + np.log(model.weights_))

    exact = -quad(lambda x: np.exp(log_density(p, x)) * log_density(p, x), -15, 15)[0]
    found = entropy(p)
    assert abs(found.value - exact) < 5 * found.standard_error
    exact = quad(
        lambda x: np.exp(log_density(p, x)) * (log_density(p, x) - log_density(q, x)), -15, 15
    )[0]
    found = kl_divergence(p, q)
    assert abs(found.value - exact) < 5 * found.standard_error
    assert found.standard_error < 0.01


def test_mahalanobis(make, kind):
    X = make(200, 3, 2)
    model = GaussianMixture(2, covariance_type=kind, random_state=0).fit(X)
    found = mahalanobis(X[:20], model)
    P = model.precisions_
    for j in range(2):
        inverse = {
            "full": lambda j=j: P[j],
            "tied": lambda: P,
            "diag": lambda j=j: np.diag(P[j]),
            "spherical": lambda j=j: P[j] * np.eye(3),
        }[kind]()
        expected = [scipy_mahalanobis(x, model.means_[j], inverse) for x in X[:20]]
        np.testing.assert_allclose(found[:, j], expected, rtol=1e-9)
    np.testing.assert_array_equal(mahalanobis(model.means_, model)[[0, 1], [0, 1]], 0)
    assert mahalanobis(X[:5].astype(np.float32), model).dtype == np.float32


def test_mahalanobis_of_what_is_there(make):
    X = make(200, 3, 2)
    model = GaussianMixture(2, random_state=0).fit(X)
    gappy = X[:6].copy()
    gappy[1, 2] = gappy[2, :] = np.nan
    found = mahalanobis(gappy, model)
    np.testing.assert_array_equal(found[2], 0)
    for j in range(2):
        inverse = np.linalg.inv(model.covariances_[j][:2, :2])
        expected = scipy_mahalanobis(X[1, :2], model.means_[j, :2], inverse)
        assert found[1, j] == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(found[3:], mahalanobis(X[3:6], model), rtol=1e-12)


def test_messages(make):
    p, q = GaussianMixture().fit(make(50, 2, 1)), GaussianMixture().fit(make(50, 3, 1))
    with pytest.raises(ValueError, match=r"^kl_divergence: p and q must have the same number of"):
        kl_divergence(p, q)
    for function in (entropy, lambda m: kl_divergence(p, m), lambda m: mahalanobis([[1]], m)):
        with pytest.raises(TypeError, match=r"must be a fitted GaussianMixture or Bay.* got int"):
            function(3)
        with pytest.raises(NotFittedError):
            function(GaussianMixture())
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 2, got 1"):
        entropy(p, n_samples=1)


def test_mahalanobis_refuses_streams(X):
    model = GaussianMixture(1).fit(X)
    with pytest.raises(TypeError, match=r"^mahalanobis: X must be in memory, got list"):
        mahalanobis([X, X], model)
