"""Mixtures beside scikit-learn: the same start, the same path; far from the origin not worse."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.mixture import BayesianGaussianMixture as BayesianPeer
from sklearn.mixture import GaussianMixture as Peer

from kernelmill.mixture import BayesianGaussianMixture, GaussianMixture

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
KINDS = ("full", "tied", "diag", "spherical")
SHAPES = [(2000, 5, 4), (3001, 17, 3), (500, 1, 3), (900, 40, 2)]


def blobs(rng, n, d, k, dtype=np.float64, shift=0.0):
    means = 3 * rng.standard_normal((k, d))
    X = means[rng.integers(k, size=n)] + rng.standard_normal((n, d)) + shift
    return np.ascontiguousarray(X, dtype=dtype)


def start(rng, X, k, kind):
    d = X.shape[1]
    precisions = {
        "full": np.tile(np.eye(d), (k, 1, 1)),
        "tied": np.eye(d),
        "diag": np.ones((k, d)),
        "spherical": np.ones(k),
    }[kind]
    return {
        "n_components": k,
        "covariance_type": kind,
        "weights_init": np.full(k, 1 / k),
        "means_init": X[rng.choice(len(X), k, replace=False)].astype(np.float64),
        "precisions_init": precisions,
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equal_paths_from_the_same_start(rng, kind, shape):
    n, d, k = shape
    X = blobs(rng, n, d, k)
    options = {**start(rng, X, k, kind), "max_iter": 20, "tol": 0.0}
    ours, peer = GaussianMixture(**options).fit(X), Peer(**options).fit(X)
    np.testing.assert_allclose(ours.lower_bounds_, peer.lower_bounds_, rtol=1e-9)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(peer, name), rtol=1e-6, atol=1e-8, err_msg=name
        )
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X), atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_far_from_the_origin_we_are_not_worse(rng, kind):
    """float32 rows at 1e4 spreads reach the likelihood that float64 rows reach there."""
    X = blobs(rng, 2000, 6, 4, np.float32, shift=1e4)
    options = {**start(rng, X, 4, kind), "max_iter": 20, "tol": 0.0}
    exact = Peer(**options).fit(X.astype(np.float64))
    ours = GaussianMixture(**options).fit(X)
    score = exact.score(X.astype(np.float64))
    assert ours.score(X) >= score - 1e-4 * abs(score)


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random_from_data"])
def test_quality_of_starts(rng, init):
    """Mean likelihood over 8 seeds on 8 data sets: at most three standard errors below theirs.

    On one data set alone either may end in another local maximum more often.
    """
    options = {"n_components": 6, "init_params": init, "max_iter": 50}
    gains = []
    for _ in range(8):
        X = blobs(rng, 400, 3, 6)
        ours, theirs = (
            np.mean([kind(random_state=s, **options).fit(X).score(X) for s in range(8)])
            for kind in (GaussianMixture, Peer)
        )
        gains.append(ours - theirs)
    assert np.mean(gains) >= -3 * np.std(gains) / np.sqrt(len(gains))


@pytest.mark.parametrize("prior", ["dirichlet_process", "dirichlet_distribution"])
def test_bayesian_mixtures_agree_where_both_are_exact(rng, prior):
    """Clusters that everybody finds, full covariances, no regularisation: the same posterior."""
    X = blobs(rng, 600, 3, 1)
    options = {"weight_concentration_prior_type": prior, "reg_covar": 0, "tol": 1e-10}
    ours = BayesianGaussianMixture(n_components=1, **options).fit(X)
    peer = BayesianPeer(n_components=1, **options).fit(X)
    for name in ("means_", "covariances_", "mean_precision_", "degrees_of_freedom_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(peer, name), rtol=1e-8)
    np.testing.assert_allclose(ours.score_samples(X), peer.score_samples(X), rtol=1e-8)
