"""Passes of decompositions against their specifications; optima against their conditions."""

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from agreement import Case, agreement_tests, cases

from kernelmill.ops import decomposition

EPS = {np.float32: 1.2e-7, np.float64: 2.3e-16}


@cases("decomposition.contrasts")
def contrasts():
    rng = np.random.default_rng(0)
    shapes = [(1, 1, 1), (3, 2, 2), (14, 5, 5), (113, 13, 13), (300, 17, 1), (40, 33, 20)]
    for dtype in (np.float32, np.float64):
        for n, k, m in [*shapes, (5000, 4, 4)]:
            for contrast in range(3):
                Z = rng.normal(size=(n, k)).astype(dtype)
                W = rng.normal(size=(m, k))
                u = np.abs(Z.astype(float)) @ np.abs(W).T  # more than any sum of the products
                top = u.max() ** 3 + 3 * u.max() ** 2 + 2
                bound = 8 * (n + k) * EPS[dtype] * top * (1 + np.abs(Z).max())
                yield Case(
                    f"{contrast} {n}x{k}x{m} {dtype.__name__}", (Z, W, contrast, 1.3),
                    bounds=(bound, bound), big=n > 2000,
                )  # fmt: skip
    for shape in ((0, 3, 2), (4, 0, 2), (4, 3, 0)):
        n, k, m = shape
        args = np.ones((n, k)), np.ones((m, k)), 0, 1.0
        yield Case(f"empty {shape}", args, bounds=(0.0, 1e-12))


@cases("decomposition.deflation")
def deflation():
    rng = np.random.default_rng(6)
    for dtype in (np.float32, np.float64):
        for n, k, f in ((1, 1, 0), (40, 3, 0), (113, 4, 2), (300, 17, 5), (9000, 3, 1)):
            Z = rng.laplace(size=(n, k)).astype(dtype)
            basis = np.linalg.qr(rng.normal(size=(k, k)))[0]
            for contrast, most, tol in ((0, 0, 0.1), (0, 3, 0.0), (1, 1, 9.0), (2, 2, 0.0)):
                w = basis[-1].copy()
                # Of the length of a step, up to a hundredth is left at these sizes.
                bound = 100 * 8 * (n + k) * EPS[dtype] * max(1, most)
                yield Case(
                    f"{contrast} {n}x{k} {f} {most} {dtype.__name__}",
                    (Z, basis[:f], w, contrast, 1.0, most, tol), updated=(2,),
                    bounds=(None, bound, bound), big=n > 2000,
                )  # fmt: skip


@cases("decomposition.nonnegative")
def nonnegative():
    rng = np.random.default_rng(1)
    for dtype in (np.float32, np.float64):
        for n, k in ((1, 1), (3, 2), (63, 4), (64, 5), (65, 7), (200, 17), (3000, 6)):
            H = rng.random((k, 2 * k + 1))
            G = (H @ H.T).astype(dtype)
            Q = (rng.normal(size=(n, 2 * k + 1)) @ H.T).astype(dtype)
            W = np.maximum(rng.normal(size=(n, k)), 0).astype(dtype)
            order = rng.permutation(k)
            reach = (np.abs(Q).max() + (W @ G).max()) * 4**min(k, 6)
            bound = 40 * k * EPS[dtype] * reach
            yield Case(
                f"{n}x{k} {dtype.__name__}", (G, Q, order, W),
                bounds=(bound * n * k, bound / np.diag(G).min()), updated=(3,), big=n > 2000,
            )  # fmt: skip
    G, Q = np.diag([2.0, 0.0]), np.ones((3, 2))
    some, none = np.arange(2), np.zeros(0, int)
    few = ("no curvature", 3, some), ("no order", 3, none), ("no rows", 0, some)
    for name, rows, order in few:
        args = G, Q[:rows], order, np.ones((rows, 2))
        yield Case(name, args, bounds=(1e-12, 1e-15), updated=(3,))


@cases("decomposition.scores")
def scores():
    rng = np.random.default_rng(6)
    shapes = ((1, 1, 1), (3, 2, 2), (15, 9, 5), (130, 33, 33), (40, 17, 70), (7, 1300, 3))
    for dtype in (np.float32, np.float64):
        for n, d, k in (*shapes, (20, 1024, 2), (9000, 5, 2)):
            mean = 100 * rng.normal(size=d)
            X = (mean + rng.normal(size=(n, d))).astype(dtype)
            axes = rng.normal(size=(k, d)).astype(dtype)
            sizes = np.abs(X - mean) @ np.abs(axes).T.astype(float)
            bounds = (2 * (d + 2) * EPS[dtype] * sizes,)
            yield Case(f"{n}x{d}x{k} {dtype.__name__}", (X, mean, axes), bounds=bounds,
                       big=n > 2000)  # fmt: skip
    for n, d, k in ((0, 3, 2), (4, 0, 2), (4, 3, 0)):
        args = np.ones((n, d)), np.ones(d), np.ones((k, d))
        yield Case(f"empty {n}x{d}x{k}", args, bounds=(0.0,))


def factors(n, d, k, dtype):
    """Rows near a product of nonnegative factors, and others to start from."""
    rng = np.random.default_rng(n + d)
    W, H = rng.random((n, k)) + 0.1, rng.random((k, d)) + 0.1
    X = W @ H * np.exp(0.3 * rng.normal(size=(n, d)))
    return [A.astype(dtype) for A in (X, rng.random((n, k)) + 0.1, rng.random((k, d)) + 0.1)]


@cases("decomposition.alternations")
def alternations():
    rng = np.random.default_rng(5)
    shapes = ((1, 1, 1), (3, 2, 2), (70, 9, 3), (9, 70, 3), (150, 20, 5), (9000, 3, 3))
    for dtype in (np.float32, np.float64):
        for n, d, k in shapes:
            X, W, H = factors(n, d, k, dtype)
            orders = np.array([rng.permutation(k) for _ in range(5)])
            penalties = np.array([0.1, 0.2, 0.05, 0.3])
            # A coordinate takes over errors of the k others in each of four sweeps.
            bound = 16 * (n + d) * EPS[dtype] * float(X.max()) * 4**k
            yield Case(
                f"{n}x{d}x{k} {dtype.__name__}", (X, penalties, orders, -1.0, 0.0, W, H),
                bounds=(None, bound * n * k, bound * n * k, bound, bound), updated=(5, 6),
                big=n > 2000,
            )  # fmt: skip
    X, W, H = factors(20, 8, 2, np.float64)
    few = np.tile(np.arange(2), (40, 1))
    for name, orders, first, tol, size in (
        ("converges", few, -1.0, 0.05, 1), ("an earlier start", few, 1e3, 0.05, 1),
        ("no order", few[:0], 3.0, 0.1, 1), ("half an alternation", few[:1], 3.0, 0.1, 1),
        ("no rows", few, 2.0, 0.1, 0),
    ):  # fmt: skip
        rows = slice(0, size * 20)
        yield Case(
            name, (X[rows], np.zeros(4), orders, first, tol, W[rows], H),
            bounds=(None, 1e-11, 1e-11, 1e-12, 1e-12), updated=(5, 6),
        )  # fmt: skip


@cases("decomposition.multiplicative")
def multiplicative():
    for dtype in (np.float32, np.float64):
        for n, d, k in ((1, 1, 1), (3, 2, 2), (33, 17, 5), (40, 1100, 3), (3000, 21, 4)):
            for beta in (2, 1, 0, 0.5, 1.5, 3):
                X, W, H = factors(n, d, k, dtype)
                if beta > 0 and n > 1:
                    X[0, 0] = 0
                y = W.astype(float) @ H
                power = y ** (beta - 2)
                above, below = (X * power) @ H.T, (power * y) @ H.T
                u = 8 * (k + d + 16) * EPS[dtype]
                new = u * W * (1 + above / below)
                one = np.abs(X * X * power).max() + np.abs(y**beta).max() + 1
                yield Case(
                    f"{beta} {n}x{d}x{k} {dtype.__name__}",
                    (X, W, H, beta, np.array([0.1, 0.2]), True),
                    bounds=(new, u * above, u * below, u * n * d * one), big=n > 2000,
                )  # fmt: skip
    X, W, H = factors(9, 7, 3, np.float64)
    W[:, 1] = H[1] = H[:, 2] = 0
    for beta in (2, 1, 0, 3):
        args = X, W, H, beta, np.zeros(2), False
        big = np.abs(decomposition.multiplicative.specification(*args)[1]).max()
        yield Case(f"zeros {beta}", args, bounds=(1e-12, 1e-12 * big, 1e-12 * big, 0.0))
    for n, d, k in ((0, 3, 2), (4, 0, 2), (4, 3, 0)):
        args = np.ones((n, d)), np.ones((n, k)), np.ones((k, d)), 1.0, np.zeros(2), True
        yield Case(f"empty {n}x{d}x{k}", args, bounds=(0.0, 0.0, 0.0, 1e-9))


@cases("decomposition.topics")
def topics():
    rng = np.random.default_rng(2)
    for n, d, k in ((1, 3, 1), (5, 9, 2), (40, 30, 8), (40, 30, 13), (700, 20, 5)):
        counts = rng.poisson(0.7, size=(n, d)).astype(float)
        if n > 1:
            counts[1] = 0
        b = rng.dirichlet(np.full(k, 0.5), size=d) + 1e-3
        gamma = rng.gamma(100.0, 0.01, size=(n, k))
        total = counts.sum() + 1
        for most in (0, 1, 4):
            for X in (counts, sp.csr_matrix(counts), counts.astype(np.float32)):
                yield Case(
                    f"{n}x{d}x{k} {most} {type(X).__name__} {X.dtype}",
                    (X, b, np.full(k, 0.3), gamma, 1e-9, most),
                    bounds=(1e-11 * total, 1e-11 * total), updated=(3,), big=n > 100,
                )  # fmt: skip
    args = np.ones((3, 4)), np.ones((4, 2)), np.ones(2), np.ones((3, 2)), 1e3, 5
    yield Case("one step is enough", args, bounds=(1e-13, 1e-13), updated=(3,))
    args = (np.ones((0, 4)), *args[1:3], np.ones((0, 2)), 0.1, 5)
    yield Case("no rows", args, bounds=(0.0, 0.0), updated=(3,))


def symmetric(values, seed=5):
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values),) * 2))[0]
    K = (basis * values) @ basis.T
    return (K + K.T) / 2


SPECTRA = {
    "1": np.array([2.0]),
    "3": np.array([3.0, -5.0, 1.0]),
    "7": np.array([3.0, 2.9, 1.0, 0.5, -2.0, -3.0, -3.1]),
    "falling": 0.7 ** np.arange(70),
    "bulk": np.r_[9.0, 7.0, 4.0, np.linspace(-1, 1, 130)],
    "low rank": np.r_[5.0, 4.0, 3.0, np.zeros(60)],
    "flat": np.linspace(1, 2, 90),
    "zero": np.zeros(20),
}


@cases("decomposition.leading")
def leading():
    for name, values in SPECTRA.items():
        n, rng = len(values), np.random.default_rng(len(values))
        for k in {1, min(2, n), min(3, n)}:
            for c in (1.0, 2.0**300, 2.0**-300):
                args = symmetric(values) * c, rng.normal(size=n), k, n // 2 + 3, 0.0
                top = np.abs(values).max() * c
                bounds = (1e-13 * top, 1e-9, None)  # a gap of 0.1 of 3, a hundred roundings
                yield Case(f"{name} {k} {c}", args, bounds=bounds)
    values = np.r_[4.0, 3.0, 2.0**-np.arange(298.0)]
    yield Case("big", (symmetric(values), rng.normal(size=300), 2, 90, 0.0),
               bounds=(1e-13, 1e-9, None), big=True)  # fmt: skip
    yield Case("tiny", (np.eye(3) * 1e-150, np.ones(3), 1, 3, 0.0))
    yield Case("loose", (symmetric(0.9 ** np.arange(60)), np.ones(60), 2, 60, 1e-3),
               bounds=(1e-13, 1e-9, None))  # fmt: skip


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("decomposition")


def test_contrasts_are_the_derivatives_of_their_slopes():
    u = np.linspace(-3, 3, 41)
    for contrast in range(3):
        def g(v, contrast=contrast):
            return decomposition.contrasts(np.array([[v]]), np.array([[1.0]]), contrast, 1.5)

        for v in u[u != 0]:
            step = 1e-6
            up, down = (g(v + s)[0][0, 0] / (v + s) for s in (step, -step))
            assert g(v)[1][0] == pytest.approx((up - down) / (2 * step), rel=1e-6, abs=1e-7)


def test_sweeps_end_at_the_nonnegative_least_squares():
    rng = np.random.default_rng(3)
    H, X = rng.random((6, 15)), rng.normal(size=(20, 15))
    W = np.zeros((20, 6))
    for _ in range(500):
        left = decomposition.nonnegative(H @ H.T, X @ H.T, np.arange(6), W)
    assert left < 1e-10
    want = [scipy.optimize.nnls(H.T, x)[0] for x in X]
    np.testing.assert_allclose(W, want, atol=1e-10)


def test_coordinates_out_of_range_are_refused():
    with pytest.raises(IndexError, match=r"order must be in \[0, 2\), got 2"):
        decomposition.nonnegative(np.eye(2), np.ones((1, 2)), np.array([0, 2]), np.ones((1, 2)))
    with pytest.raises(IndexError, match=r"orders must be in \[0, 1\), got 1"):
        decomposition.alternations(
            np.ones((2, 3)), np.zeros(4), np.ones((2, 1), int), -1.0, 0.0, np.ones((2, 1)),
            np.ones((1, 3)),
        )  # fmt: skip
    W, H = np.full((2, 2), 0.3), np.full((2, 3), 0.2)
    with pytest.raises(IndexError, match="got 9"):  # before anything is done
        decomposition.alternations(
            np.ones((2, 3)), np.zeros(4), np.array([[0, 1], [0, 1], [0, 9]]), -1.0, 0.0, W, H
        )
    assert (W == 0.3).all()
    assert (H == 0.2).all()


def test_topics_climb_the_bound():
    """Each step is the best gamma for its own shares: the evidence lower bound of a row rises."""
    from scipy.special import gammaln, psi

    rng = np.random.default_rng(4)
    b, x, prior = rng.dirichlet(np.ones(4), size=10), rng.poisson(2.0, size=(1, 10)) * 1.0, 0.4

    def bound(gamma):
        mean_log = psi(gamma) - psi(gamma.sum())
        value = (x[0] * np.log(b @ np.exp(mean_log))).sum() + ((prior - gamma) * mean_log).sum()
        return value + gammaln(gamma).sum() - gammaln(gamma.sum())

    gamma, values = np.ones((1, 4)), []
    for _ in range(30):
        decomposition.topics(x, b, np.full(4, prior), gamma, 0.0, 1)
        values.append(bound(gamma[0]))
    assert np.diff(values).min() > -1e-12


@pytest.mark.parametrize("twin", [decomposition.leading, decomposition.leading.specification])
def test_no_eigenvalue_is_missed(twin):
    """Of two blocks that do not couple the iteration sees one: where nothing larger is in the
    other, that is proven, and else nothing is found."""
    rng, found = np.random.default_rng(7), 0
    for trial in range(40):
        n, k = int(rng.integers(6, 30)), int(rng.integers(1, 4))
        seen = np.sort(rng.exponential(size=n) ** 3)
        hidden = rng.random(n) * seen[-k] * (0.3, 1.0, 1.01)[trial % 3]
        hidden[0] = (hidden[0], seen[-1], 2 * seen[-1])[trial % 3]
        K = np.zeros((2 * n, 2 * n))
        K[:n, :n], K[n:, n:] = symmetric(seen, trial), symmetric(hidden, trial)
        start = np.r_[rng.normal(size=n), np.zeros(n)]
        got, vectors, proven = twin(K, start, k, 2 * n, 0.0)
        found += proven
        assert not (proven and trial % 3)
        if proven:
            np.testing.assert_allclose(got, seen[: -k - 1 : -1], rtol=1e-12)
            np.testing.assert_allclose(vectors @ vectors.T, np.eye(k), atol=1e-12)
            assert np.abs(K @ vectors.T - vectors.T * got).max() < 1e-13 * seen[-1]
        else:
            assert not got.any()
            assert not vectors.any()
    assert found >= 5
