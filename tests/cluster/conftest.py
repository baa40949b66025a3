"""Data that every clustering test can use; the test files of this folder import learned.py."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))


def make_blobs(rng, n=300, d=4, k=5, dtype=np.float64, spread=4.0):
    """Normal blobs around k means."""
    means = spread * rng.standard_normal((k, d))
    X = means[rng.integers(k, size=n)] + rng.standard_normal((n, d))
    return np.ascontiguousarray(X, dtype=dtype)


@pytest.fixture
def blobs(rng):
    return make_blobs(rng)


@pytest.fixture
def make(rng):
    """make(n, d, k, dtype) -> blobs."""

    def made(*args, **kwargs):
        return make_blobs(rng, *args, **kwargs)

    return made
