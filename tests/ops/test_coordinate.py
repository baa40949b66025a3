"""Coordinate descent against the specification; its gap against the optimum."""

import numpy as np
import pytest
from agreement import Case, agreement_tests, cases

from kernelmill.ops import coordinate


def problem(
    n, d, m, rng, l1=0.3, l2=0.0, sweeps=7, tol=-1.0, positive=False, start=False, order=None
):
    X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, m))
    Y += X[:, : min(d, 3)].sum(1, keepdims=True)
    G, Q = X.T @ X, X.T @ Y
    coef = rng.normal(size=(d, m)) if start else np.zeros((d, m))
    top = np.sqrt((Q * Q).sum(1)).max(initial=1.0)
    order = np.arange(d) if order is None else order
    return (
        G, Q, order, coef, Q - G @ coef, np.full(d, l1 * top), np.full(d, l2 * n),
        float((Y * Y).sum()), tol, sweeps, positive,
    )  # fmt: skip


@cases("coordinate.descent")
def descent():
    rng = np.random.default_rng(0)

    def case(name, args, big=False):
        # A sweep is a contraction: rounding adds up over sweeps and coordinates.
        size = 2.3e-16 * 40 * (len(args[0]) + 4) * (1 + args[9])
        top = np.abs(args[4]).max(initial=1.0) + np.abs(args[1]).max(initial=1.0)
        coef = top / max(np.diag(args[0]).min(initial=1.0), 1e-3)
        bounds = None, size * (args[7] + 1) * 10, size * coef, size * top
        return Case(name, args, bounds=bounds, updated=(3, 4), big=big)

    for d, m in ((1, 1), (3, 1), (8, 1), (17, 1), (40, 1), (5, 3), (12, 2)):
        yield case(f"lasso {d} {m}", problem(60, d, m, rng))
        yield case(f"elastic net {d} {m}", problem(60, d, m, rng, 0.1, 0.2, start=True))
    yield case("ridge", problem(50, 9, 1, rng, 0.0, 0.1))
    yield case("least squares", problem(50, 9, 1, rng, 0.0, 0.0))
    yield case("positive", problem(50, 9, 1, rng, 0.05, positive=True, start=True))
    yield case("positive with l2", problem(50, 9, 1, rng, 0.05, 0.1, positive=True))
    yield case("some", problem(50, 9, 1, rng, order=np.array([7, 2, 2, 5]), start=True))
    yield case("none", problem(50, 9, 1, rng, order=np.zeros(0, np.int64)))
    yield case("to a gap", problem(200, 9, 1, rng, tol=1e-3, sweeps=1000))
    yield case("wide", problem(80, 130, 1, rng, sweeps=3), big=True)
    yield case("all zero", problem(50, 9, 1, rng, l1=1.0, tol=0.0, sweeps=3))
    args = list(problem(50, 9, 1, rng, 0.1))
    args[5][3] = args[5][4] = 0.0  # without a penalty
    args[6][4] = 2.0
    yield case("mixed", tuple(args))
    args = list(problem(50, 4, 1, rng))
    for array in (args[0][2], args[0][:, 2], args[1][2], args[4][2]):
        array[...] = 0.0
    yield case("a feature of zeros", tuple(args))
    yield case("no features", problem(5, 0, 1, rng))


def rows_of_targets(n, d, rng, atoms=None):
    D = rng.normal(size=(d, atoms or d + 3))
    D[1 % d] = D[0] if d > 4 else D[1 % d]  # features that depend on each other
    Y = rng.normal(size=(n, D.shape[1]))
    if n > 2:
        Y[2] = 0.0
    return D @ D.T, Y @ D.T, (Y * Y).sum(1)


@cases("coordinate.lassos")
def lassos():
    rng = np.random.default_rng(5)
    for n, d in ((1, 1), (3, 4), (9, 17), (300, 6)):
        G, Q, squares = rows_of_targets(n, d, rng)
        for positive in (False, True):
            for start in (0.0, 1.0):
                l1 = 0.3 * np.abs(Q).max()
                coef = start * rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.5)
                size = 2.3e-16 * 400 * (d + 4) * (1 + np.abs(coef).max(initial=0)) * np.abs(G).max()
                bound = size * (np.abs(Q).max() + 1) / np.diag(G).min()
                gap = 1e-11 * (1 + np.abs(G).max())
                yield Case(
                    f"{n} {d} {positive} {start}", (G, Q, squares, coef, l1, -1.0, 5, positive),
                    bounds=(None, gap, bound), updated=(3,), big=n > 100,
                )  # fmt: skip
    G, Q, squares = rows_of_targets(5, 4, rng)
    args = (G, Q, squares, np.zeros((5, 4)), 0.1, 1e-6, 500, False)
    yield Case("to a gap", args, bounds=(None, 1e-11, 1e-11), updated=(3,))
    yield Case("no targets", (G, Q[:0], squares[:0], np.zeros((0, 4)), 1.0, 0.0, 3, False),
               bounds=(None, 0.0, 0.0), updated=(3,))  # fmt: skip
    yield Case("no features", (G[:0, :0], Q[:, :0], squares, np.zeros((5, 0)), 1.0, 0.0, 3, False),
               bounds=(None, 1e-15, 0.0), updated=(3,))  # fmt: skip


@cases("coordinate.pursuits")
def pursuits():
    rng = np.random.default_rng(6)
    for n, d in ((1, 1), (3, 4), (9, 17), (300, 6)):
        G, Q, squares = rows_of_targets(n, d, rng)
        for most, tol in ((0, -1.0), (2, -1.0), (d, -1.0), (d, 0.5 * float(squares.max()))):
            yield Case(
                f"{n} {d} {most} {tol:.0f}", (G, Q, squares, most, tol), bounds=(1e-9, None),
                big=n > 100,
            )  # fmt: skip
    yield Case("a tie", (np.eye(3), np.array([[1.0, -1, 1]]), np.array([3.0]), 1, -1.0),
               bounds=(0.0, None))  # fmt: skip


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("coordinate")


def objective(args, coef):
    G, Q, *_ = args
    l1, l2, square = args[5], args[6], args[7]
    norms = np.sqrt((coef * coef).sum(1))
    fit = square / 2 - (Q * coef).sum() + (coef * (G @ coef)).sum() / 2
    return fit + (l1 * norms).sum() + (l2 * norms**2).sum() / 2


@pytest.mark.parametrize("options", [{}, {"l2": 0.1}, {"m": 3}, {"positive": True}], ids=str)
def test_the_gap_bounds_the_error(options):
    rng = np.random.default_rng(1)
    args = problem(30, 20, options.pop("m", 1), rng, 0.05, sweeps=0, **options)
    best = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in args)
    coordinate.descent(*best[:8], 1e-12 * args[7], 100_000, best[10])
    least = objective(args, best[3])
    for _ in range(6):
        _, gap = coordinate.descent(*args[:8], -1.0, 1, args[10])
        assert objective(args, args[3]) - least <= gap + 1e-12 * args[7]


def test_a_coordinate_outside_is_refused():
    args = list(problem(9, 3, 1, np.random.default_rng(0)))
    args[2] = np.array([0, 3])
    with pytest.raises(IndexError, match=r"order must be in \[0, 3\), got 3"):
        coordinate.descent(*args)
