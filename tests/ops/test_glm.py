"""Value, gradient and Hessian of every loss against the specification and float64 differences."""

import numpy as np
import pytest
import scipy.sparse
from agreement import DTYPES, Case, agreement_tests, cases

from kernelmill.ops import glm

LOSS = {name: i for i, name in enumerate(glm.LOSSES)}
PARAMETER = {"tweedie": 1.5, "huber": 0.8, "squared_epsilon_insensitive": 0.4}


def target(name, n, k, rng):
    if name == "multinomial":
        return rng.integers(0, k, n).astype(float)
    if name == "log_loss":
        return rng.integers(0, 2, n).astype(float)
    if name == "squared_hinge":
        return rng.choice([-1.0, 1.0], n)
    if name in ("poisson", "gamma", "tweedie"):
        return rng.gamma(1.0, 1.0, n) + 0.01
    return rng.normal(size=n)


def problem(name, n, d, k, dtype, rng, X=None, weighted=False, moved=True, parameter=None):
    X = rng.normal(size=(n, d)).astype(dtype) if X is None else X
    weight = rng.uniform(0, 2, n).astype(dtype) if weighted else None
    if weighted and n:
        weight[0] = 0
    shift = rng.normal(size=d) * 0.1 if moved else np.zeros(d)
    parameter = PARAMETER.get(name, 0.0) if parameter is None else parameter
    return (
        X, target(name, n, k, rng), rng.normal(0, 0.4 / max(d, 1) ** 0.5, (k, d)),
        rng.normal(0, 0.3, k), shift, LOSS[name], parameter, weight,
    )  # fmt: skip


def bounded(args):
    """Rounding of a sum of n terms with predictors of d products, to a first order."""
    X, y, coef, intercept, shift, loss, parameter, weight = args
    X = X.toarray() if scipy.sparse.issparse(X) else X
    n, d = X.shape
    z, value, slope, curvature = glm._parts(X, y, coef, intercept, shift, loss, parameter)
    w = np.ones(n) if weight is None else weight.astype("f8")
    p = np.abs(z) @ np.abs(np.hstack([coef, intercept[:, None]])).T + 3
    size = 2.3e-16 * (n + 4 * d + 30) * (1 + p.max(initial=0.0))
    steep = np.abs(w[:, None] * slope) + w[:, None] * np.abs(curvature).sum(2) + w[:, None]
    bent = w * (1 + 3 * np.abs(curvature).max((1, 2), initial=0))
    return (
        size * ((np.abs(w * value) + steep.sum(1)).sum() + 1),
        size * (steep.T @ np.abs(z) + 1),
        size * (np.einsum("n,np,nq->pq", bent, np.abs(z), np.abs(z)) + 1),
    )


def each():
    rng = np.random.default_rng(0)
    for dtype in DTYPES:
        for name in glm.LOSSES:
            k = 3 if name == "multinomial" else 1
            yield name, problem(name, 41, 5, k, dtype, rng), False
            yield f"{name} weighted", problem(name, 150, 18, k, dtype, rng, weighted=True), False
            csr = scipy.sparse.random(60, 23, 0.2, "csr", dtype, rng)
            yield f"{name} CSR", problem(name, 60, 23, k, dtype, rng, csr, moved=False), False
            wide = csr.copy()
            wide.indices, wide.indptr = wide.indices.astype("i8"), wide.indptr.astype("i8")
            yield f"{name} shifted", problem(name, 60, 23, k, dtype, rng, wide, True), False
        yield "inverse Gaussian", problem("tweedie", 30, 4, 1, dtype, rng, parameter=3.0), False
        yield "7 classes", problem("multinomial", 300, 17, 7, dtype, rng, weighted=True), False
        yield "chunks", problem("log_loss", 5000, 9, 1, dtype, rng), True
        yield "several chunks", problem("multinomial", 5000, 6, 3, dtype, rng), True
        yield "no rows", problem("poisson", 0, 3, 1, dtype, rng), False
        yield "no features", problem("log_loss", 7, 0, 1, dtype, rng), False
        yield "one feature", problem("multinomial", 33, 1, 2, dtype, rng), False
        X = np.asfortranarray(rng.normal(size=(50, 6)).astype(dtype))
        yield "columns", problem("log_loss", 50, 6, 1, dtype, rng, X), False


@cases("glm.gradient")
def gradient():
    for name, args, big in each():
        yield Case(name, args, bounds=bounded(args)[:2], big=big)


@cases("glm.hessian")
def hessian():
    for name, args, big in each():
        yield Case(name, args, bounds=bounded(args), big=big)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("glm")


@pytest.mark.parametrize("name", glm.LOSSES)
def test_slopes_are_those_of_the_value(name):
    rng = np.random.default_rng(3)
    k = 3 if name == "multinomial" else 1
    args = list(problem(name, 40, 4, k, np.float64, rng, weighted=True))
    value, slope, second = glm.hessian(*args)
    direction = rng.normal(size=(k, 5))
    step = 1e-6

    def moved(sign):
        there = list(args)
        there[2] = args[2] + sign * step * direction[:, :4]
        there[3] = args[3] + sign * step * direction[:, 4]
        return glm.gradient(*there)

    (above, slope_above), (below, slope_below) = moved(1), moved(-1)
    # Differences of 1e-6: 1e-16 / 1e-6 of the value, times a few.
    rate, expected = (above - below) / (2 * step), (slope * direction).sum()
    np.testing.assert_allclose(rate, expected, atol=1e-8 * abs(value) + 1e-7)
    if name == "huber":  # whose curvature is another beyond a
        return
    change = (slope_above - slope_below) / (2 * step)
    expected = np.einsum("abpq,bq->ap", second, direction)
    np.testing.assert_allclose(change, expected, atol=1e-6 * np.abs(change).max())


def test_extreme_predictors_are_finite():
    X, y = np.array([[1e4], [-1e4]]), np.array([0.0, 1.0])
    zero = np.zeros(1)
    value, slope, second = glm.hessian(X, y, np.ones((1, 1)), zero, zero, LOSS["log_loss"], 0.0)
    assert value == 2e4
    assert np.isfinite(slope).all()
    assert np.isfinite(second).all()


def test_what_does_not_fit_is_refused():
    X, one = np.ones((3, 2)), (np.zeros(2), 0.0)
    for op in (glm.gradient, glm.hessian):
        with pytest.raises(ValueError, match="1 row, or several"):
            op(X, np.zeros(3), np.zeros((2, 2)), np.zeros(2), one[0], 0, 0.0)
        with pytest.raises(ValueError, match=r"y must be in \[0, 2\)"):
            op(X, np.full(3, 2.0), np.zeros((2, 2)), np.zeros(2), one[0], glm.MULTINOMIAL, 0.0)
