"""Moments of rows wherever they are, and the digits that they keep."""

import numpy as np
import pytest
import scipy.sparse

from kernelmill._estimator._moments import moments_of, pilot
from kernelmill._estimator._rows import Estimator


class Model(Estimator):
    """Makes rows."""

    _accepts_sparse = True


def rows_of(X, w=None, **more):
    return Model()._rows(X, w, reset=True, **more)


def test_they_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    X, Y, w = rng.normal(size=(90, 4)) + 5, rng.normal(size=(90, 2)), rng.uniform(0, 2, 90)
    z = np.hstack([X, Y])
    mean = np.average(z, 0, w)
    want = (z - mean).T @ (w[:, None] * (z - mean))
    parts = [(X[i : i + 40], w[i : i + 40]) for i in range(0, 90, 40)]
    sparse = scipy.sparse.csr_matrix(X)
    for rows in (rows_of(X, w), rows_of(lambda: iter(parts)), rows_of(sparse, w)):
        found = moments_of(rows, Y)
        np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(found.scatter, want, rtol=1e-10, atol=1e-10)
        assert (found.count, found.weight) == (90, pytest.approx(w.sum()))
        np.testing.assert_allclose(found.xy, want[:4, 4:], rtol=1e-10, atol=1e-10)
        about_zero = moments_of(rows, Y, centred=False)
        np.testing.assert_allclose(about_zero.scatter, z.T @ (w[:, None] * z), rtol=1e-10)
        assert not about_zero.mean.any()


def test_a_part_is_taken_off():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 3)) + 9, rng.normal(size=(60, 1))
    whole = moments_of(rows_of(X), Y)
    part = moments_of(rows_of(X[:25]), Y[:25], origin=whole.origin)
    rest, want = whole.without(part), moments_of(rows_of(X[25:]), Y[25:])
    np.testing.assert_allclose(rest.scatter, want.scatter, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(rest.mean, want.mean, rtol=1e-12)
    assert (rest.count, rest.weight) == (35, 35)


@pytest.mark.parametrize("sparse", [False, True])
def test_offsets_cost_no_digits(sparse):
    rng = np.random.default_rng(0)
    X = rng.integers(-64, 65, (500, 3)) / 16
    moved = X + np.array([0, 2.0**30, -(2.0**25)])
    w = np.ones(500)
    w[0], moved[0] = 0, 1e15  # counts for nothing, and is not near the others
    given = scipy.sparse.csr_matrix(moved) if sparse else moved
    found = moments_of(rows_of(given, w))
    want = np.cov(X[1:].T, bias=True) * 499
    np.testing.assert_allclose(found.scatter, want, rtol=1e-9, atol=1e-7)


def test_sparse_rows_are_summed_about_zero_unless_far():
    rng = np.random.default_rng(0)
    X = np.where(rng.random((200, 4)) < 0.5, rng.normal(size=(200, 4)), 0)
    X[:, 3] = 1e6 + rng.normal(size=200)
    origin = pilot(scipy.sparse.csr_matrix(X))
    np.testing.assert_array_equal(origin[:3], 0)
    assert origin[3] == pytest.approx(1e6, rel=1e-5)


def test_deferred_checks_find_what_the_sums_show():
    for value, words in ((np.nan, "X must be finite"), (1e200, "small enough to be squared")):
        X = np.ones((50, 3))
        X[7, 1] = value
        with pytest.raises(ValueError, match=words):
            moments_of(rows_of(X, deferred=True))
    with pytest.raises(ValueError, match="large enough to be squared"):
        moments_of(rows_of(np.full((9, 2), 1e-170), deferred=True))
