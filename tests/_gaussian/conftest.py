"""Gaussians of every type, and data with missing entries."""

import numpy as np
import pytest

from kernelmill._gaussian._parameters import COVARIANCE_TYPES, Gaussians


def make_gaussians(rng, kind, k=3, d=4, spread=2.0):
    """k random Gaussians with well-conditioned covariances."""
    factors = rng.normal(size=(k, d, d)) + 2 * np.eye(d)
    matrices = factors @ factors.transpose(0, 2, 1)
    covariances = {
        "full": matrices,
        "tied": matrices[0],
        "diag": np.diagonal(matrices, axis1=1, axis2=2),
        "spherical": np.trace(matrices, axis1=1, axis2=2) / d,
    }[kind]
    return Gaussians.of(spread * rng.normal(size=(k, d)), covariances, kind, "Test")


@pytest.fixture(params=COVARIANCE_TYPES)
def gaussians(request, rng):
    return make_gaussians(rng, request.param)


@pytest.fixture
def gappy(rng):
    """Rows with none, some and all of their entries missing."""
    X = 3 * rng.normal(size=(60, 4))
    X[rng.random(X.shape) < 0.3] = np.nan
    X[7] = np.nan
    X[8:20] = 3 * rng.normal(size=(12, 4))
    return X
