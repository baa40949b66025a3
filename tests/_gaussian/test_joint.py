"""Joint densities in float64: against the definition, with gaps, and far away."""

import numpy as np
import pytest
import scipy.stats

import kernelmill
from kernelmill._gaussian._joint import gaussian_differences, gaussian_joint
from kernelmill._gaussian._parameters import Gaussians

KINDS = ("full", "tied", "diag", "spherical")


def gaussians(kind, k=3, d=4, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(k, d, d))
    C = A @ A.transpose(0, 2, 1) + np.eye(d)
    covariances = {
        "full": C, "tied": C[0], "diag": np.diagonal(C, axis1=1, axis2=2),
        "spherical": C[:, 0, 0],
    }[kind]  # fmt: skip
    return Gaussians.of(rng.normal(size=(k, d)), covariances, kind, "test")


def matrix(g, j):
    return {
        "full": lambda: g.covariances[j], "tied": lambda: g.covariances,
        "diag": lambda: np.diag(g.covariances[j]),
        "spherical": lambda: g.covariances[j] * np.eye(g.d),
    }[g.covariance_type]()  # fmt: skip


def definition(X, g, offsets):
    out = np.empty((len(X), g.k))
    for i, row in enumerate(np.asarray(X, float)):
        seen = ~np.isnan(row)
        for j in range(g.k):
            C = matrix(g, j)[np.ix_(seen, seen)]
            out[i, j] = offsets[j]
            if seen.any():
                normal = scipy.stats.multivariate_normal(g.means[j][seen], C)
                out[i, j] += normal.logpdf(row[seen])
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_densities_and_differences(kind, dtype, missing):
    rng = np.random.default_rng(1)
    X = (3 * rng.normal(size=(40, 4))).astype(dtype)
    X[rng.random(X.shape) < missing] = np.nan
    g, offsets = gaussians(kind), np.log([0.5, 0.3, 0.2])
    want = definition(X, g, offsets)
    found = gaussian_joint(X, g, offsets)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, want, rtol=1e-11, atol=1e-11)
    apart = gaussian_differences(X, g, offsets).astype(float)
    np.testing.assert_allclose(apart - apart[:, :1], want - want[:, :1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_that_is_impossible(kind):
    offsets = np.array([-np.inf, 0.0, -1.0])
    X = np.random.default_rng(1).normal(size=(5, 4))
    for found in (gaussian_joint(X, gaussians(kind), offsets),
                  gaussian_differences(X, gaussians(kind), offsets)):  # fmt: skip
        assert (found[:, 0] == -np.inf).all()
        assert np.isfinite(found[:, 1:]).all()


def test_whitened_distances_that_overflow():
    covariances = 1e-300 * np.array([[[2.0, 1], [1, 2]]])
    g = Gaussians.of(np.zeros((1, 2)), covariances, "full", "test")
    rows = np.array([[1e200, 1e200], [1e200, -1e200]])
    for backend in ("cpu", "numpy"):
        with kernelmill.backend(backend):
            assert (gaussian_joint(rows, g, np.zeros(1)) == -np.inf).all()


@pytest.mark.parametrize("kind", KINDS)
def test_far_rows(kind):
    g, offsets = gaussians(kind), np.zeros(3)
    X = np.array([[1e160, -1e160, 3e159, 1e158], [1e100, 0, 0, 0]])
    assert (gaussian_joint(X[:1], g, offsets) == -np.inf).all()
    apart = gaussian_differences(X, g, offsets)
    x = X.astype(np.longdouble)
    square = np.stack(
        [
            np.einsum("np,pq,nq->n", x - g.means[j], np.linalg.inv(matrix(g, j)), x - g.means[j])
            for j in range(3)
        ],
        axis=1,
    )
    if kind == "tied":  # squares are equal but for what is linear
        P = np.linalg.inv(g.covariances)
        want = (x @ P) @ (g.means - g.means[0]).T
    else:
        want = -0.5 * (square - square[:, :1])
    got, size = apart - apart[:, :1], np.abs(want).max(1, keepdims=True)
    np.testing.assert_allclose((got / size).astype(float), (want / size).astype(float), atol=1e-9)
