"""Mixture ops against their specification.

Bounds follow the rounding of the whitened coordinates. With u = eps of the dtype of X, each y_q is
off by at most ``delta_q = (d + 4) u sum_p (|x_p - o_p| + |m_p - o_p|) |P_pq|``, a log joint by
``sum_q |y_q| delta_q + delta_q^2`` and a few u of itself, and a responsibility by its size times
the errors of its own log joint and of the log sum. Moments are float64 sums of n terms about the
origin.
"""

from __future__ import annotations

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases, eps

from kernelmill.ops import mixture

SHAPES = (  # n, d, k: around lanes, panels, tiles, blocks of 128 rows and depth chunks
    (1, 1, 1), (3, 2, 2), (7, 3, 5), (15, 4, 6), (16, 5, 7), (17, 7, 13), (31, 8, 14), (33, 9, 15),
    (65, 16, 10), (127, 17, 3), (128, 6, 8), (129, 12, 4), (300, 13, 29), (60, 33, 9), (20, 140, 2),
    (9, 300, 2),
)  # fmt: skip
U = float(np.finfo(np.float64).eps)


def model(n, d, k, dtype, *, seed=0, origin=0.0, tied=False, spread=2.0):
    """Overlapping Gaussians and rows drawn from them; covariances are far from diagonal."""
    rng = np.random.default_rng([seed, n, d, k])
    means = origin + spread * rng.normal(size=(k, d))
    factors = rng.normal(size=(1 if tied else k, d, d)) / np.sqrt(d) + 1.5 * np.eye(d)
    P = np.linalg.cholesky(np.linalg.inv(factors @ factors.transpose(0, 2, 1)))
    P = np.ascontiguousarray(P.transpose(0, 2, 1))  # upper triangular with P P' = a precision
    labels = rng.integers(0, k, n)
    X = means[labels] + (rng.normal(size=(n, 1, d)) @ np.linalg.inv(P[labels * (not tied)]))[:, 0]
    return X.astype(dtype), means, P, np.log(rng.dirichlet(np.ones(k)))


def diagonal(n, d, k, dtype, **options):
    X, means, P, offsets = model(n, d, k, dtype, **options)
    return X, means, np.ascontiguousarray(np.abs(np.diagonal(P, axis1=1, axis2=2))), offsets


def weights(n, dtype):
    """Powers of two and zeros."""
    w = np.random.default_rng([7, n]).choice([0.0, 0.5, 1.0, 2.0], n).astype(dtype)
    if n:
        w[0] = 1
    return w


def origin_of(means):
    return np.sort(means, axis=0)[(len(means) - 1) // 2]


def joint_bounds(X, means, P, offsets):
    """Largest error of each log joint."""
    d = X.shape[1]
    u, o = eps(X), origin_of(means)
    if P.ndim == 2:
        P = P[:, :, None] * np.eye(d)
    P = np.triu(np.broadcast_to(P, (len(means), d, d)))
    x = X.astype(np.float64)
    size = np.abs(x - o)[:, None] + np.abs(means - o)
    reach = np.einsum("njp,jpq->njq", size, np.abs(P))
    y = np.einsum("njp,jpq->njq", x[:, None] - means, P)
    delta = (d + 4) * u * reach
    half = 0.5 * (y**2).sum(axis=2)
    constant = np.abs(offsets) + np.abs(np.log(np.diagonal(P, axis1=1, axis2=2))).sum(axis=1) + d
    constant = np.where(np.isfinite(constant), constant, 0.0)
    return (np.abs(y) * delta + delta**2).sum(axis=2) + (d + 4) * u * half + 4 * u * constant


def moment_bounds(X, share, means, error, second):
    """Largest error of the moments, where shares are off by `error`."""
    n = len(X)
    o = origin_of(means)
    x = X.astype(np.float64)
    away = np.abs(x[:, None] - means)
    size = np.abs(x - o)[:, None] + np.abs(means - o)
    rounding = (n + 16) * U * np.abs(share)
    first = np.einsum("nj,njp->jp", error, away) + 2 * np.einsum("nj,njp->jp", rounding, size)
    if second == "diag":
        squares = np.einsum("nj,njp->jp", error, away**2)
        squares += 4 * np.einsum("nj,njp->jp", rounding, size**2)
    else:
        squares = np.einsum("nj,njp,njq->jpq", error, away, away)
        squares += 4 * np.einsum("nj,njp,njq->jpq", rounding, size, size)
        if second == "pooled":
            squares = squares.sum(axis=0, keepdims=True)
    tiny = 1e-300
    return (error.sum(axis=0) + rounding.sum(axis=0) + tiny, first + tiny, squares + tiny)


def step_bounds(X, means, P, offsets, w=None):
    specified = mixture.diag_log_joint if P.ndim == 2 else mixture.full_log_joint
    exact = X.astype(np.float64)
    joint = specified.specification(exact, means, P, offsets)
    log_prob, share = mixture.responsibilities.specification(joint)
    # The specification rounds log joints to the dtype of X before it goes on.
    error = joint_bounds(X, means, P, offsets) + eps(X) * np.where(
        np.isfinite(joint), np.abs(joint), 0
    )
    w = np.ones(len(X)) if w is None else w.astype(np.float64)
    sums = (share * error).sum(axis=1)
    k = len(means)
    off = 2 * share * (error + sums[:, None] + (k + 16) * eps(X)) + 1e-30
    second = "diag" if P.ndim == 2 else ("pooled" if len(P) == 1 and k > 1 else "full")
    moments = moment_bounds(X, w[:, None] * share, means, w[:, None] * off, second)
    likelihood = (w * (2 * sums + (k + 8) * eps(X) * (1 + np.abs(log_prob)))).sum()
    return (*moments, likelihood + (len(X) + 8) * U * (w * np.abs(log_prob)).sum())


def joint_cases(draw, tied_too):
    for dtype in DTYPES:
        for n, d, k in SHAPES:
            args = draw(n, d, k, dtype)
            yield Case(f"{n} {d} {k} {dtype.__name__}", args, bounds=(joint_bounds(*args),))
        if tied_too:
            for n, d, k in SHAPES[4:14:3]:
                args = draw(n, d, k, dtype, tied=True)
                yield Case(f"tied {n} {d} {k}", args, bounds=(joint_bounds(*args),))
        args = draw(150, 5, 4, dtype, origin=1e4)
        yield Case("far from the origin", args, bounds=(joint_bounds(*args),))
        args = draw(150, 3, 6, dtype, spread=1e3)
        yield Case("far apart", args, bounds=(joint_bounds(*args),))
        X, means, P, offsets = draw(40, 4, 3, dtype)
        offsets = np.array([-np.inf, 0.0, -2.5])
        args = (X, means, P, offsets)
        yield Case("a component without weight", args, bounds=(joint_bounds(*args),))
        X = X.copy()
        X[5, 2] = np.nan
        bound = joint_bounds(np.nan_to_num(X), means, P, offsets)
        yield Case("a NaN", (X, means, P, offsets), bounds=(bound,))
        yield Case("no rows", (X[:0], means, P, offsets))
        args = draw(30_000, 3, 5, dtype)
        yield Case("big", args, bounds=(joint_bounds(*args),), big=True)


@cases("mixture.full_log_joint")
def full_log_joint():
    yield from joint_cases(model, tied_too=True)
    # What is below the diagonal is not read.
    X, means, P, offsets = model(40, 6, 4, np.float64)
    bound = joint_bounds(X, means, P, offsets)
    args = (X, means, P + np.tril(np.full((6, 6), np.nan), -1), offsets)
    yield Case("NaN below the diagonal", args, bounds=(bound,))


@cases("mixture.diag_log_joint")
def diag_log_joint():
    yield from joint_cases(diagonal, tied_too=False)


@cases("mixture.responsibilities")
def responsibilities():
    for dtype in DTYPES:
        u = float(np.finfo(dtype).eps)
        for n, k in ((1, 1), (3, 2), (17, 5), (128, 8), (129, 33), (260, 3), (5, 300)):
            rng = np.random.default_rng([n, k])
            joint = (rng.normal(size=(n, k)) * 30).astype(dtype)
            size = np.abs(joint).max(axis=1)
            bounds = ((k + 8) * u * (1 + size), (k + 8) * u)
            yield Case(f"{n} {k} {dtype.__name__}", (joint,), bounds=bounds)
        wild = np.array(
            [
                [1000, 1000, -1000], [-1000, -1001, -1e4], [-np.inf, 0, -np.inf],
                [-np.inf, -np.inf, -np.inf], [np.nan, 0, 1], [-1e30, -1e30, -1e30],
            ],
            dtype=dtype,
        )  # fmt: skip
        yield Case("extremes", (wild,), bounds=(16 * u * 1001, 16 * u))
        yield Case("ties", (np.zeros((50, 7), dtype),), bounds=(16 * u, 16 * u))
        yield Case("no rows", (np.zeros((0, 3), dtype),))
        joint = np.random.default_rng(0).normal(size=(70_000, 6)).astype(dtype)
        yield Case("big", (joint,), bounds=(64 * u, 16 * u), big=True)


def moment_cases(second):
    pooled = (True,) if second == "pooled" else ()
    for dtype in DTYPES:
        for n, d, k in (*SHAPES, (1100, 17, 2), (600, 40, 3), (530, 70, 2)):  # several pieces
            rng = np.random.default_rng([n, d, k])
            # Integers: every product and sum is exact.
            X = rng.integers(-9, 10, (n, d)).astype(dtype)
            share = rng.integers(0, 4, (n, k)).astype(np.float64)
            means = rng.integers(-9, 10, (k, d)).astype(np.float64)
            yield Case(f"integers {n} {d} {k} {dtype.__name__}", (X, share, means, *pooled))
        X, means, _, _ = model(200, 6, 5, dtype, origin=1e3)
        share = rng.dirichlet(np.ones(5), 200)
        bounds = moment_bounds(X, share, means, np.zeros_like(share), second)
        yield Case("far from the origin", (X, share, means, *pooled), bounds=bounds)
        yield Case("no rows", (X[:0], share[:0], means, *pooled))
        X = np.random.default_rng(1).integers(-9, 10, (20_000, 4)).astype(dtype)
        share = np.random.default_rng(2).integers(0, 4, (20_000, 3)).astype(np.float64)
        means = np.arange(12.0).reshape(3, 4)
        yield Case("big", (X, share, means, *pooled), big=True)


@cases("mixture.full_moments")
def full_moments():
    yield from moment_cases("pooled")
    yield from moment_cases("full")


@cases("mixture.diag_moments")
def diag_moments():
    yield from moment_cases("diag")


def step_cases(draw, tied_too):
    for dtype in DTYPES:
        for n, d, k in SHAPES:
            args = draw(n, d, k, dtype)
            yield Case(f"{n} {d} {k} {dtype.__name__}", args, bounds=step_bounds(*args))
            args = (*args, weights(n, dtype))
            yield Case(f"weighted {n} {d} {k}", args, bounds=step_bounds(*args))
        if tied_too:
            for n, d, k in SHAPES[4:14:3]:
                args = (*draw(n, d, k, dtype, tied=True), weights(n, dtype))
                yield Case(f"tied {n} {d} {k}", args, bounds=step_bounds(*args))
        args = draw(150, 5, 4, dtype, origin=1e4)
        yield Case("far from the origin", args, bounds=step_bounds(*args))
        X, means, P, offsets = draw(40, 4, 3, dtype)
        args = (X, means, P, np.array([-np.inf, 0.0, -2.5]))
        yield Case("a component without weight", args, bounds=step_bounds(*args))
        odd, zero, w = X.copy(), X.copy(), np.ones(40, dtype)
        odd[5, 2], zero[5], w[5] = np.nan, 0, 0
        bounds = step_bounds(zero, means, P, offsets, w)
        yield Case("NaN without weight", (odd, means, P, offsets, w), bounds=bounds)
        yield Case("no rows", (X[:0], means, P, offsets))
        args = (*draw(20_000, 3, 5, dtype), weights(20_000, dtype))
        yield Case("big", args, bounds=step_bounds(*args), big=True)


@cases("mixture.full_step")
def full_step():
    yield from step_cases(model, tied_too=True)


@cases("mixture.diag_step")
def diag_step():
    yield from step_cases(diagonal, tied_too=False)
    # On CUDA, steps go over the rows in blocks of 2^23 / k: here two, for full covariances as well.
    n, d, k = 1030, 2, 8000
    rng = np.random.default_rng(k)
    X, w = rng.normal(size=(n, d)).astype(np.float32), weights(n, np.float32)
    X[w == 0] = np.nan
    args = (X, rng.normal(size=(k, d)), np.ones((k, d)), np.full(k, -np.log(k)), w)
    # A responsibility is off by a few eps of its log joint, here below 100, times itself; those of
    # a component add up to less than 1/4, at rows that are less than 4 away.
    bound = 800 * eps(X) / 4
    bounds = (bound, 4 * bound, 16 * bound, 800 * eps(X) * n)
    yield Case("many components", args, bounds=bounds)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("mixture")


@pytest.mark.parametrize("dtype", DTYPES)
def test_step_is_its_parts(dtype):
    """The fused pass equals log joints, responsibilities and moments, and adds up over rows."""
    X, means, P, offsets = model(1000, 6, 7, dtype)
    whole = mixture.full_step(X, means, P, offsets)
    log_prob, share = mixture.responsibilities(mixture.full_log_joint(X, means, P, offsets))
    parts = mixture.full_moments(X, share.astype(np.float64), means)
    rtol = 100 * eps(X)
    for a, b in zip(whole[:3], parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())
    np.testing.assert_allclose(whole[3], log_prob.sum(dtype=np.float64), rtol=rtol)
    chunks = [mixture.full_step(part, means, P, offsets) for part in (X[:333], X[333:])]
    for a, *b in zip(whole, *chunks, strict=True):
        np.testing.assert_allclose(sum(b), a, rtol=1e-12, atol=1e-12 * np.abs(a).max())


def test_float32_keeps_its_sense_far_from_the_origin():
    """Shares of float32 rows with means 1e4 spreads away are those of the same rows in float64."""
    X, means, P, offsets = diagonal(500, 4, 3, np.float32, origin=1e4)
    narrow = mixture.responsibilities(mixture.diag_log_joint(X, means, P, offsets))[1]
    wide = mixture.responsibilities(
        mixture.diag_log_joint(X.astype(np.float64), means, P, offsets)
    )[1]
    np.testing.assert_allclose(narrow, wide, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": np.zeros((2, 4))}, r"full_step: means must be float64 of shape \(k, 3\)"),
        ({"P": np.zeros((3, 3, 3))}, r"precisions_cholesky must be float64 of shape \(2, 3, 3\)"),
        (
            {"offsets": np.zeros(3)},
            r"offsets must be float64 of shape \(2,\), got float64 of shape",
        ),
        ({"w": np.ones(4)}, r"weight must be float64 of shape \(5,\), got float64 of shape \(4"),
        ({"X": np.zeros((5, 3), np.int64)}, r"X must be .*\(n, d\), got int64"),
    ],
)
def test_errors(change, message):
    given = {
        "X": np.zeros((5, 3)),
        "means": np.zeros((2, 3)),
        "P": np.stack([np.eye(3)] * 2),
        "offsets": np.zeros(2),
        "w": np.ones(5),
    } | change
    with pytest.raises(ValueError, match=message):
        mixture.full_step(*given.values())
