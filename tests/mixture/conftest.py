"""Mixtures to fit, and where every fit starts."""

import numpy as np
import pytest

KINDS = ("full", "tied", "diag", "spherical")


def make_mixture(rng, n=400, d=3, k=3, dtype=np.float64, spread=3.0, shift=0.0):
    """Rows of k overlapping Gaussians with covariances of their own."""
    means = spread * rng.standard_normal((k, d))
    factors = np.eye(d) + 0.4 * rng.standard_normal((k, d, d))
    labels = rng.integers(k, size=n)
    noise = np.einsum("np,npq->nq", rng.standard_normal((n, d)), factors[labels])
    return np.ascontiguousarray(means[labels] + noise + shift, dtype=dtype)


def start_of(X, k, kind):
    """The same start for every system: k rows, equal weights, unit covariances."""
    d = X.shape[1]
    precisions = {
        "full": np.tile(np.eye(d), (k, 1, 1)),
        "tied": np.eye(d),
        "diag": np.ones((k, d)),
        "spherical": np.ones(k),
    }[kind]
    rows = np.random.default_rng(1).choice(len(X), k, replace=False)
    return {
        "n_components": k,
        "covariance_type": kind,
        "weights_init": np.full(k, 1 / k),
        "means_init": np.nan_to_num(X[rows].astype(np.float64)),
        "precisions_init": precisions,
    }


@pytest.fixture
def X(rng):
    return make_mixture(rng)


@pytest.fixture
def make(rng):
    """make(n, d, k, dtype) -> rows of a mixture."""

    def made(*args, **kwargs):
        return make_mixture(rng, *args, **kwargs)

    return made


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def start():
    return start_of
