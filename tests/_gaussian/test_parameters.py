"""Shapes, factors and errors of the four covariance types."""

import pickle

import numpy as np
import pytest

from kernelmill._gaussian._parameters import (
    COVARIANCE_TYPES,
    Gaussians,
    NotPositiveDefinite,
    covariance_shape,
    full_covariances,
    n_covariance_parameters,
    precisions_cholesky,
    symmetric,
)


def test_factors_invert_covariances(gaussians):
    """P P' = inverse: error of a few eps times the condition number, which is below 1e4 here."""
    k, d = gaussians.k, gaussians.d
    matrices = full_covariances(gaussians.covariances, gaussians.covariance_type, k, d)
    P = gaussians.whitening
    if gaussians.is_diagonal:
        P = P[:, :, None] * np.eye(d)
    P = np.broadcast_to(P, (k, d, d))
    np.testing.assert_array_equal(P, np.triu(P))
    assert (np.diagonal(P, axis1=1, axis2=2) > 0).all()
    identity = matrices @ P @ P.transpose(0, 2, 1)
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(d), identity.shape), atol=1e-11)


def test_shapes_are_those_of_scikit_learn(gaussians):
    kind = gaussians.covariance_type
    shape = covariance_shape(kind, 3, 4)
    assert gaussians.covariances.shape == gaussians.precisions_cholesky.shape == shape
    assert gaussians.whitening.shape == {"full": (3, 4, 4), "tied": (1, 4, 4)}.get(kind, (3, 4))
    assert gaussians.matrices.shape == ((1, 4, 4) if kind == "tied" else (3, 4, 4))
    free = {"full": 3 * 10, "tied": 10, "diag": 12, "spherical": 3}[kind]
    assert n_covariance_parameters(kind, 3, 4) == free


def test_diagonal_types_know_their_variances(rng):
    spherical = Gaussians.of(np.zeros((2, 3)), [4.0, 9.0], "spherical", "Test")
    np.testing.assert_array_equal(spherical.variances, [[4.0] * 3, [9.0] * 3])
    np.testing.assert_array_equal(spherical.whitening, [[0.5] * 3, [1 / 3] * 3])
    np.testing.assert_array_equal(spherical.matrices[1], 9 * np.eye(3))


def test_they_travel(gaussians):
    again = pickle.loads(pickle.dumps(gaussians))
    np.testing.assert_array_equal(again.covariances, gaussians.covariances)
    assert again.covariance_type == gaussians.covariance_type


@pytest.mark.parametrize("kind", ["full", "tied"])
def test_singular_matrices_name_component_and_eigenvalue(kind):
    matrices = np.stack([np.eye(2), np.array([[1.0, 2.0], [2.0, 1.0]])])
    which = "component 1" if kind == "full" else "the tied covariance"
    with pytest.raises(
        NotPositiveDefinite,
        match=f"^Model: covariances must be positive definite, got a least eigenvalue of -1 for "
        f"{which} .raise reg_covar",
    ):
        precisions_cholesky(matrices if kind == "full" else matrices[1], kind, "Model")
    matrices[0, 0, 0] = np.nan
    with pytest.raises(NotPositiveDefinite, match="got NaN or inf for"):
        precisions_cholesky(matrices if kind == "full" else matrices[0], kind, "Model")


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_variances_must_be_positive(value):
    with pytest.raises(NotPositiveDefinite, match=r"got .* for component 1, feature 0"):
        precisions_cholesky(np.array([[1.0, 1.0], [value, 1.0]]), "diag", "Model")
    with pytest.raises(NotPositiveDefinite, match="for component 1 "):
        precisions_cholesky(np.array([1.0, value]), "spherical", "Model")


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1.0, 1e200])
def test_symmetry_depends_on_no_unit(scale, rng):
    """|A - A'| beside sqrt(a_ii a_jj): rounding passes, whatever the unit of each feature."""
    R = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    units = np.diag([1e-8, 1.0, 1e5, 1.0])
    rounded = np.linalg.inv(R) @ np.diag([1.0, 1.0, 1.0, 1e4]) @ R
    for good in (rounded, units @ rounded @ units, np.float64(np.float32(rounded))):
        good = np.stack([scale * np.eye(4), scale * good])
        own = symmetric(good)
        assert np.array_equal(own, own.transpose(0, 2, 1))
        size = scale * np.abs(good[1] / scale).max()
        np.testing.assert_allclose(own, good, rtol=0, atol=1e-6 * size)
    assert symmetric(good[:1]) is not None
    assert symmetric(scale * np.array([[1.0, 0.8], [-0.8, 1.0]])) is None
    assert symmetric(scale * np.array([[1.0, 1e-4], [0.0, 1.0]])) is None
    assert symmetric(scale * (units @ np.triu(np.ones((4, 4))) @ units)) is None


def test_all_types_are_listed():
    assert set(COVARIANCE_TYPES) == {"full", "tied", "diag", "spherical"}
