"""Largest eigenpairs by a block Krylov space: against all of LAPACK's, flat and rank-deficient."""

import numpy as np
import pytest

from kernelmill.decomposition import KernelPCA
from kernelmill.decomposition._krylov import leading_pairs

RNG = np.random.default_rng(4)
N = 300
BASIS = np.linalg.qr(RNG.normal(size=(N, N)))[0]


def matrix(values):
    return (BASIS * values) @ BASIS.T


@pytest.mark.parametrize(
    "values",
    [
        0.8 ** np.arange(N),
        np.exp(-np.sqrt(np.arange(N)) * 3),
        np.r_[5.0, 5.0, 5.0, 2.0, 1.0, np.linspace(0.1, 0, N - 5)],  # of multiplicity three
        np.r_[3.0, 2.0, np.zeros(N - 2)],  # fewer than are asked for
        np.r_[2.0, 1.5, 1.0, 0.5, np.zeros(N - 8), -0.1, -0.2, -5.0, -9.0],
    ],
)
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("c", [1.0, 2.0**-400, 2.0**400])
def test_pairs(values, k, c):
    K = matrix(values) * c
    K = (K + K.T) / 2
    found = leading_pairs(K, k, 0)
    assert found is not None
    top, vectors = found
    size = np.abs(values).max() * c
    np.testing.assert_allclose(top, np.sort(values)[::-1][:k] * c, atol=1e-13 * size)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(k), atol=1e-12)
    assert np.abs(K @ vectors.T - vectors.T * top).max() < 1e-12 * size


def test_what_is_not_soon_found():
    flat = matrix(1 + 1e-3 * RNG.random(N))
    assert leading_pairs((flat + flat.T) / 2, 4, 0) is None
    assert leading_pairs(np.eye(20), 4, 0) is None  # no room for a space
    top, vectors = leading_pairs(np.zeros((N, N)), 2, 0)
    assert not top.any()
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(2), atol=1e-12)


def test_a_wrong_space_is_noticed():
    K = matrix(0.9 ** np.arange(N))
    top, vectors = leading_pairs((K + K.T) / 2, 4, 0, tol=1e-2)  # stops early
    assert np.abs(K @ vectors.T - vectors.T * top).max() > 1e-12


@pytest.mark.parametrize("kernel", ["rbf", "poly"])
def test_models_of_many_rows(kernel):
    X = RNG.normal(size=(1600, 5))
    one = KernelPCA(3, kernel=kernel).fit(X)
    other = KernelPCA(3, kernel=kernel, eigen_solver="dense").fit(X)
    np.testing.assert_allclose(one.eigenvalues_, other.eigenvalues_, rtol=1e-10)
    np.testing.assert_allclose(one.eigenvectors_, other.eigenvectors_, atol=1e-8)
