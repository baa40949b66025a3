"""Updates of Gaussians against numerical maximisation, with priors and floors."""

import numpy as np
import pytest
from scipy.optimize import minimize

from kernelmill._gaussian._parameters import Gaussians
from kernelmill._gaussian._passes import Moments
from kernelmill.hmm._normal import NormalPrior, above_floor, best, floor_of, log_prior, raised


def moments_about(X, r, means, pooled=False, diagonal=False):
    difference = X[:, None, :] - means
    squares = np.einsum("nj,njp,njq->jpq", r, difference, difference)
    if diagonal:
        squares = np.diagonal(squares, axis1=1, axis2=2).copy()
    elif pooled:
        squares = squares.sum(axis=0, keepdims=True)
    return Moments(r.sum(axis=0), np.einsum("nj,njp->jp", r, difference), squares, 0.0)


def objective(X, r, gaussians, prior):
    """Expected log-likelihood plus log prior, from matrices."""
    total = log_prior(gaussians, prior)
    for j in range(gaussians.k):
        if gaussians.is_diagonal:
            matrix = np.diag(gaussians.variances[j])
        else:
            matrix = gaussians.matrices[j % len(gaussians.matrices)]
        difference = X - gaussians.means[j]
        distance = np.einsum("np,pq,nq->n", difference, np.linalg.inv(matrix), difference)
        log_det = np.linalg.slogdet(matrix)[1]
        total -= 0.5 * (r[:, j] * (log_det + distance)).sum()
    return total


CASES = {
    "full": ((2, 2, 2), (2,)),
    "tied": ((1, 2, 2), (1,)),
    "diag": ((2, 2), (2,)),
    "spherical": ((2, 2), (2,)),
}


def setting(kind, rng):
    X = rng.standard_normal((30, 2)) @ np.array([[1.0, 0.5], [0.0, 0.7]]) + 1.0
    r = rng.dirichlet(np.ones(2), 30)
    scatter_shape, count_shape = CASES[kind]
    if len(scatter_shape) == 3:
        root = rng.standard_normal(scatter_shape)
        scatter = root @ root.transpose(0, 2, 1)
    else:
        scatter = rng.random(scatter_shape)
    prior = NormalPrior(
        rng.standard_normal((2, 2)), np.array([0.7, 2.0]), scatter, rng.random(count_shape) * 3
    )
    means = rng.standard_normal((2, 2))
    start = {
        "full": np.stack([np.eye(2)] * 2),
        "tied": np.eye(2),
        "diag": np.ones((2, 2)),
        "spherical": np.ones(2),
    }[kind]
    gaussians = Gaussians.of(means, start, kind, "test")
    moments = moments_about(X, r, means, kind == "tied", gaussians.is_diagonal)
    return X, r, gaussians, moments, prior


def updated(moments, gaussians, prior, floor, means=True, covariances=True):
    """The Gaussians of `best`."""
    found = best(moments, gaussians, prior, floor, means=means, covariances=covariances)
    return Gaussians.of(*found, gaussians.covariance_type, "test")


@pytest.mark.parametrize("low", [0.0, 2.0], ids=["free", "floor"])
@pytest.mark.parametrize("kind", sorted(CASES))
def test_no_other_parameters_are_better(kind, low, rng):
    """A derivative-free search from the update finds nothing better above the floor."""
    X, r, gaussians, moments, prior = setting(kind, rng)
    floor = low * np.array([1.0, 0.5]) if kind != "spherical" else np.full(2, low)
    found = updated(moments, gaussians, prior, floor)
    top = objective(X, r, found, prior)
    assert top > objective(X, r, gaussians, prior)
    shape, size = found.covariances.shape, found.means.size

    def of(vector):
        means = vector[:size].reshape(found.means.shape)
        if kind in ("diag", "spherical"):
            base = floor if kind == "diag" else floor.mean()
            covariances = base + np.exp(vector[size:]).reshape(shape)
        else:
            root = np.tril(vector[size:].reshape(-1, 2, 2))
            covariances = (root @ root.transpose(0, 2, 1) + np.diag(floor)).reshape(shape)
        try:
            other = Gaussians.of(means, covariances + 0.0, kind, "test")
        except ValueError:
            return 1e10
        return -objective(X, r, other, prior)

    rest = found.covariances - (
        np.diag(floor) if kind in ("full", "tied") else floor if kind == "diag" else floor.mean()
    )
    if kind in ("diag", "spherical"):
        start = np.log(np.maximum(rest, 1e-8)).ravel()
    else:
        values, vectors = np.linalg.eigh(rest.reshape(-1, 2, 2))
        root = vectors * np.sqrt(np.maximum(values, 1e-12))[:, None, :]
        start = np.linalg.qr(root.transpose(0, 2, 1))[1].transpose(0, 2, 1).ravel()
    vector = np.r_[found.means.ravel(), start]
    assert -of(vector) == pytest.approx(top, rel=1e-6)
    search = minimize(of, vector, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-7})
    assert -search.fun <= top + 1e-6 * abs(top)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_means_alone_and_covariances_alone(kind, rng):
    X, r, gaussians, moments, prior = setting(kind, rng)
    none = np.zeros(2)
    only = updated(moments, gaussians, prior, none, covariances=False)
    assert np.array_equal(only.covariances, gaussians.covariances)
    assert objective(X, r, only, prior) > objective(X, r, gaussians, prior)
    only = updated(moments, gaussians, prior, none, means=False)
    assert np.array_equal(only.means, gaussians.means)
    assert objective(X, r, only, prior) > objective(X, r, gaussians, prior)


def test_shared_covariances_add_up(rng):
    """Two pairs of components that share a matrix: each is the tied update of its pair."""
    X = rng.standard_normal((40, 2))
    r = rng.dirichlet(np.ones(4), 40)
    means = rng.standard_normal((4, 2))
    gaussians = Gaussians.of(means, np.stack([np.eye(2)] * 4), "full", "test")
    zero = NormalPrior(np.zeros((4, 2)), np.zeros(4), np.zeros((2, 2, 2)), np.zeros(2))
    found = updated(moments_about(X, r, means), gaussians, zero, np.zeros(2))
    for pair in (slice(0, 2), slice(2, 4)):
        tied = Gaussians.of(means[pair], np.eye(2), "tied", "test")
        alone = updated(
            moments_about(X, r[:, pair], means[pair], pooled=True),
            tied,
            NormalPrior(np.zeros((2, 2)), np.zeros(2), np.zeros((1, 2, 2)), np.zeros(1)),
            np.zeros(2),
        )
        for j in range(2):
            np.testing.assert_allclose(
                found.covariances[pair][j], alone.covariances, rtol=1e-12, atol=1e-14
            )


def test_matrices_above_the_floor_keep_their_bits(rng):
    matrices = np.stack([np.eye(2), np.diag([1e-6, 2.0])])
    found = raised(matrices, np.full(2, 1e-3))
    assert np.array_equal(found[0], matrices[0])
    np.testing.assert_allclose(found[1], np.diag([1e-3, 2.0]), rtol=1e-12)
    assert raised(matrices, np.zeros(2)) is matrices


def test_the_floor_follows_small_units(rng):
    rows = rng.standard_normal((5000, 4)) * [1e-2, 5.0, 1.0, 0.0] + [0.0, 0.0, 0.0, 1e6]
    rows[::3, 1] = np.nan
    floor = floor_of(rows, 1e-3)
    assert floor[0] == pytest.approx(1e-7, rel=0.1)
    assert floor[1] == 1e-3
    assert floor[3] == 1e-3
    raised_ = above_floor(
        Gaussians.of(np.zeros((1, 4)), np.full((1, 4), 1e-12), "diag", "test"), floor
    )
    assert np.array_equal(raised_[0], floor)
    for c in (1e-12, 1e-3, 1e12):  # in other units, and min_covar with them
        np.testing.assert_allclose(floor_of(c * rows, 1e-3 * c**2), c**2 * floor, rtol=1e-12)
