"""Coordinate descent against the specification; its gap against the optimum."""

import numpy as np
import pytest
import scipy.sparse
from agreement import DTYPES, Case, agreement_tests, cases

from kernelmill.ops import coordinate, coordinate_descent


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


@cases("coordinate.path")
def path():
    rng = np.random.default_rng(8)

    def case(name, args, steps, ratio=1.0, big=False):
        G, Q, order, coef, gradient, l1, _, *rest = args
        top = float(l1.max(initial=0.0)) * np.asarray(steps, float)
        size = 2.3e-16 * 40 * (len(G) + 4) * len(steps) * (1 + rest[2])
        scale = np.abs(Q).max(initial=1.0) + np.abs(gradient).max(initial=1.0)
        units = scale / max(np.diag(G).min(initial=1.0), 1e-3)
        bounds = (
            size * units, size * (rest[0] + 1) * 10, None, size * units, size * scale
        )  # fmt: skip
        args = (G, Q, order, coef, gradient, ratio * top, (1 - ratio) * top, *rest)
        return Case(name, args, bounds=bounds, updated=(3, 4), big=big)

    falling = 0.8 ** np.arange(12)
    for m in (1, 2):
        for tol in (-1.0, 1e-3):
            yield case(f"lasso {m} {tol}", problem(60, 12, m, rng, 1.0, tol=tol), falling)
            args = problem(60, 12, m, rng, 1.0, tol=tol, start=True)
            yield case(f"elastic net {m} {tol}", args, falling, 0.6)
    yield case("positive", problem(60, 12, 1, rng, 1.0, positive=True), falling)
    yield case("no l1", problem(60, 12, 1, rng, 1.0), falling, 0.0)
    steps = [1.0, 0.5, 0.5, 0.5, 0.7, 0.9, 0.1, 0.0, 0.0]  # still, back, far and without a penalty
    yield case("any steps", problem(60, 12, 1, rng, 1.0), steps)
    yield case("no penalties", problem(60, 12, 1, rng, 1.0), [])
    yield case("no features", problem(5, 0, 1, rng), falling)
    yield case("wide", problem(150, 130, 1, rng, 1.0, sweeps=3), falling[:4], big=True)


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
COLUMN = {name: i for i, name in enumerate(coordinate.STATE)}


def machine(
    n, d, k, rng, dtype=np.float64, loss=0, epochs=3, constant=1.0, tol=1e-9, shrinking=True,
    density=1.0, epsilon=0.1, price=1.0, order=None,
):  # fmt: skip
    X = rng.normal(size=(n, d))
    X[rng.random(X.shape) > density] = 0
    X = X.astype(dtype)
    width = 1 if k == 1 else 8
    blocks = -(-k // width)
    score = X.astype(float) @ rng.normal(size=(d, max(k, 2)))
    y = score.argmax(1).astype(float) if k > 1 else score[:, 0] + rng.normal(size=n)
    if k == 1 and loss < 2:
        y = np.where(y > 0, 1.0, -1.0)
    prices = price * rng.uniform(0.2, 2, n)
    prices[rng.random(n) < 0.1] = 0
    squares = (X.astype(float) ** 2).sum(1)
    state = np.zeros((blocks, width, len(COLUMN)))
    state[..., COLUMN["positive"]], state[..., COLUMN["violation"]] = 1.5, np.inf
    state[..., COLUMN["offset"]] = 0.25
    state.reshape(-1, len(COLUMN))[k:, COLUMN["finished"]] = 1
    if order is None:
        order = np.stack([rng.permutation(n) for _ in range(epochs)]) if epochs else np.zeros(
            (0, n), np.int64
        )  # fmt: skip
    settings = np.array([loss, epsilon, constant, tol, k > 1, shrinking], dtype=float)
    rows = scipy.sparse.csr_matrix(X) if density < 1 else X
    return (
        rows, y, prices, squares, order, np.zeros((blocks, d, width)),
        np.zeros((blocks, n, width)), np.zeros((blocks, n), np.uint8), state, settings,
    )  # fmt: skip


@cases("coordinate.dual")
def dual():
    rng = np.random.default_rng(3)

    def case(name, args, big=False):
        # Steps are contractions, so rounding adds up over them; terms are sums over rows.
        X = args[0].toarray() if scipy.sparse.issparse(args[0]) else args[0]
        after = [np.array(a) for a in args[5:9]]
        coordinate.dual.specification(X, *args[1:5], *after, args[9])
        size = 2.3e-16 * 100 * (args[4].size + X.shape[1] + 10)
        top = [np.abs(a[np.isfinite(a)]).max(initial=1.0) for a in after]
        sums = size * (top[3] + 1)
        bounds = (None, size * top[0], size * top[1], None, sums)
        return Case(name, args, bounds=bounds, updated=(5, 6, 7, 8), big=big)

    for dtype in DTYPES:
        for loss, name in enumerate(coordinate.LOSSES):
            yield case(f"{name}", machine(23, 9, 1, rng, dtype, loss, 4))
            yield case(f"{name} CSR", machine(40, 30, 1, rng, dtype, loss, 4, density=0.2))
            if dtype is np.float32:
                continue
            yield case(f"{name} shrunk", machine(30, 3, 1, rng, dtype, loss, 30, price=20.0))
            yield case(f"{name} whole", machine(30, 3, 1, rng, dtype, loss, 9, shrinking=False))
            yield case(f"{name} to the end", machine(30, 40, 1, rng, dtype, loss, 60, tol=1e-2))
        for loss in (0, 1):
            for k in (3, 8, 11):
                yield case(f"{loss} {k} classes", machine(50, 6, k, rng, dtype, loss, 4))
                args = machine(60, 25, k, rng, dtype, loss, 12, density=0.3, tol=0.05)
                yield case(f"{loss} {k} classes, CSR", args)
        args = machine(33, 21, 5, rng, dtype, 1, 3, density=0.3)
        args[0].indices, args[0].indptr = args[0].indices.astype("i8"), args[0].indptr.astype("i8")
        yield case("wide indices", args)
        X, *rest = machine(20, 6, 1, rng, dtype)
        yield case("columns", (np.asfortranarray(X), *rest))
        yield case("no constant", machine(20, 6, 1, rng, dtype, constant=0.0))
        args = machine(20, 6, 1, rng, dtype, constant=0.0)
        args[0][3:6] = args[3][3:6] = 0
        yield case("rows of zeros", args)
        yield case("one feature", machine(20, 1, 9, rng, dtype))
        yield case("no features", machine(20, 0, 1, rng, dtype))
        yield case("no rows", machine(0, 3, 1, rng, dtype))
        yield case("no epochs", machine(9, 3, 1, rng, dtype, epochs=0))
        yield case("repeats", machine(9, 3, 1, rng, dtype, order=rng.integers(0, 9, (3, 14))))
        args = machine(30, 4, 9, rng, dtype)
        args[7][:, ::3] = 1
        args[8][0, 2, COLUMN["finished"]] = 1
        yield case("some have settled", args)
    args = machine(300, 12, 20, rng, loss=1, epochs=2)
    args[7][...] = rng.random(args[7].shape) < 0.3
    yield case("blocks", args, big=True)


def together(
    n, d, k, rng, dtype=np.float64, epochs=3, tol=1e-9, density=1.0, price=1.0, order=None
):
    args = machine(n, d, max(k, 2), rng, dtype, 0, epochs, 1.0, tol, True, density, 0, price, order)
    X, y, prices, squares, order = args[:5]
    return (
        X, np.minimum(y, k - 1), prices, squares, order, np.zeros((-(-k // 8), d, 8)), np.zeros(k),
        np.zeros((n, k)), np.zeros(n, np.uint8), np.array([np.inf, 0, 0, 0, 0]), 0.7, tol, True,
    )  # fmt: skip


@cases("coordinate.joint")
def joint():
    rng = np.random.default_rng(4)

    def case(name, args, big=False):
        X = args[0].toarray() if scipy.sparse.issparse(args[0]) else args[0]
        after = [np.array(a) for a in args[5:10]]
        coordinate.joint.specification(X, *args[1:5], *after, *args[10:])
        size = 2.3e-16 * 100 * (args[4].size + X.shape[1] + 10)
        top = [np.abs(a[np.isfinite(a)]).max(initial=1.0) for a in after]
        bounds = (None, *(size * t for t in top[:3]), None, size * (top[4] + 1))
        return Case(name, args, bounds=bounds, updated=(5, 6, 7, 8, 9), big=big)

    for dtype in DTYPES:
        for k in (2, 3, 8, 11):
            yield case(f"{k} classes", together(40, 6, k, rng, dtype, 4))
            yield case(f"{k} classes, CSR", together(60, 25, k, rng, dtype, 6, density=0.3))
            if dtype is np.float32:
                continue
            yield case(f"{k} classes, shrunk", together(50, 4, k, rng, dtype, 8, price=0.2))
        yield case("to the end", together(30, 30, 3, rng, dtype, 90, tol=1e-2))
        args = together(33, 21, 5, rng, dtype, density=0.3)
        args[0].indices, args[0].indptr = args[0].indices.astype("i8"), args[0].indptr.astype("i8")
        yield case("wide indices", args)
        X, *rest = together(20, 6, 3, rng, dtype)
        yield case("columns", (np.asfortranarray(X), *rest))
        args = together(20, 6, 3, rng, dtype)
        args[0][3:6] = args[3][3:6] = 0
        yield case("rows of zeros", (*args[:10], 0.0, *args[11:]))
        yield case("one class", together(9, 3, 1, rng, dtype))
        yield case("no features", together(20, 0, 3, rng, dtype))
        yield case("no rows", together(0, 3, 2, rng, dtype))
        yield case("no epochs", together(9, 3, 2, rng, dtype, epochs=0))
        yield case("repeats", together(9, 3, 3, rng, dtype, order=rng.integers(0, 9, (3, 14))))
        args = together(30, 4, 9, rng, dtype)
        args[8][::3] = 1
        yield case("some have settled", args)
        args = together(30, 4, 3, rng, dtype, 9, price=0.1)
        yield case("whole", (*args[:12], False))
    args = together(300, 12, 20, rng, epochs=2)
    args[8][...] = rng.random(300) < 0.3
    yield case("blocks", args, big=True)


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


def test_what_does_not_fit_is_refused():
    rng = np.random.default_rng(0)
    args = machine(9, 3, 1, rng, order=np.array([[0, 9]]))
    with pytest.raises(IndexError, match=r"dual: order must be in \[0, 9\), got 9"):
        coordinate.dual(*args)
    args = list(machine(9, 3, 1, rng))
    args[9][0] = 4
    with pytest.raises(ValueError, match=r"loss must be in \[0, 4\), got 4"):
        coordinate.dual(*args)
    args = list(machine(9, 3, 1, rng))
    for i in (5, 6, 8):
        args[i] = np.repeat(args[i], 3, axis=-1 if i < 8 else 1)
    with pytest.raises(ValueError, match="1 or 8 problems a block, got 3"):
        coordinate.dual(*args)


def test_what_does_not_fit_a_joint_machine_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(IndexError, match=r"joint: order must be in \[0, 9\), got 9"):
        coordinate.joint(*together(9, 3, 3, rng, order=np.array([[0, 9]])))
    args = together(9, 3, 3, rng)
    args[1][4] = 3
    with pytest.raises(ValueError, match=r"joint: y must be in \[0, 3\), got 3"):
        coordinate.joint(*args)
    args = list(together(9, 3, 3, rng))
    args[5] = np.zeros((2, 3, 8))
    with pytest.raises(ValueError, match="must have 1 blocks of 8 classes, got 2 of 8"):
        coordinate.joint(*args)


def correlated(m, l1, positive=False):
    """Features near each other, for which plain descent takes many sweeps."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60, 1)) + 0.25 * rng.normal(size=(60, 24))
    Y = X[:, :5] @ rng.normal(size=(5, m)) + rng.normal(size=(60, m))
    G, Q = X.T @ X, X.T @ Y
    penalty = np.full(24, l1 * np.sqrt((Q * Q).sum(1)).max())

    def solve(sweeps, tol=-1.0, l2=0.0, op=coordinate.descent):
        coef, gradient = np.zeros((24, m)), Q.copy()
        taken, gap = op(
            G, Q, np.arange(24), coef, gradient, penalty, np.full(24, l2), (Y * Y).sum(), tol,
            sweeps, positive,
        )  # fmt: skip
        np.testing.assert_allclose(gradient, Q - G @ coef, atol=1e-10 * np.abs(Q).max())
        norms = np.sqrt((coef * coef).sum(1))
        value = ((Y - X @ coef) ** 2).sum() / 2 + (penalty * norms + l2 / 2 * norms**2).sum()
        return taken, gap, value, coef

    return solve, float((Y * Y).sum())


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("l2", [0.0, 0.5])
@pytest.mark.parametrize("m", [1, 3])
def test_extrapolation_descends_and_its_gap_is_a_bound(m, l2, positive):
    solve, square = correlated(m, 0.002, positive)
    _, _, least, _ = solve(20000, 1e-14 * square, l2)
    rounding = 1e-13 * square
    values, gaps = zip(*(solve(sweeps, l2=l2)[1:3][::-1] for sweeps in range(25)), strict=True)
    assert (np.diff(values) <= rounding).all()
    assert (np.array(values) - least <= np.array(gaps) + rounding).all()
    assert gaps[-1] < gaps[0]


@pytest.mark.parametrize("m", [1, 3])
def test_extrapolation_saves_sweeps(m, monkeypatch):
    solve, square = correlated(m, 0.002)
    taken, gap, _, coef = solve(10000, 1e-8 * square)
    assert gap <= 1e-8 * square
    plain = coordinate.descent.specification
    monkeypatch.setattr(coordinate_descent, "MOST_WEIGHT", 0.0)
    for name in ("_screen", "_remember"):
        monkeypatch.setattr(coordinate_descent.Descent, name, lambda *_: None)
    slow, _, _, same = solve(10000, 1e-8 * square, op=plain)
    assert 2 * taken < slow
    np.testing.assert_allclose(coef, same, atol=2e-2 * np.abs(same).max())


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.97])
def test_what_is_left_out_is_zero_at_the_optimum(share, monkeypatch):
    solve, square = correlated(1, share)
    coef = solve(10000, 1e-14 * square)[3]
    left_out, screen = set(), coordinate_descent.Descent._screen

    def screened(self, gap):
        screen(self, gap)
        left_out.update(set(range(24)) - set(self.live))

    monkeypatch.setattr(coordinate_descent.Descent, "_screen", screened)
    solve(50, op=coordinate.descent.specification)
    assert left_out
    assert not coef[sorted(left_out)].any()
    assert coef.any()


def test_a_path_ends_where_each_descent_does():
    rng = np.random.default_rng(2)
    G, Q, order, coef, gradient, *_, square, _, _, _ = problem(40, 30, 1, rng)
    l1 = np.abs(Q).max() * 0.7 ** np.arange(10)
    none = np.zeros(10)
    path, gaps, taken = coordinate.path(
        G, Q, order, coef, gradient, l1, none, square, 1e-12 * square, 5000, False
    )
    assert (gaps <= 1e-12 * square).all()
    np.testing.assert_array_equal(path[-1], coef)
    for k in range(10):
        one, slope = np.zeros((30, 1)), Q.copy()
        alone, _ = coordinate.descent(
            G, Q, order, one, slope, np.full(30, l1[k]), np.zeros(30), square, 1e-12 * square,
            5000, False,
        )  # fmt: skip
        np.testing.assert_allclose(path[k], one, atol=1e-5 * np.abs(one).max(initial=1e-3))
        assert taken[k] <= alone + 1


def test_a_path_of_several_targets_stays_positive():
    worst = 0.0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        X, Y = rng.normal(size=(3, 13)), rng.normal(size=(3, 3))
        G, Q, square = X.T @ X, X.T @ Y, float((Y * Y).sum())
        l1 = np.geomspace(np.abs(Q).max(), 1e-3, 12)
        path = coordinate.path(
            G, Q, np.arange(13), np.zeros((13, 3)), Q.copy(), l1, 0.1 * l1, square, 1e-4 * square,
            1000, True,
        )[0]  # fmt: skip
        worst = min(worst, path.min())
    assert worst == 0.0


def test_the_gap_of_a_joint_machine_bounds_the_error():
    def objective(args):
        scores = args[0] @ args[5][0, :, :3] + args[10] * args[6]
        rows = np.arange(40)
        slack = scores + 1
        slack[rows, args[1].astype(int)] -= 1
        loss = slack.max(1) - scores[rows, args[1].astype(int)]
        return ((args[5] ** 2).sum() + args[6] @ args[6]) / 2 + args[2] @ loss

    args = together(40, 5, 3, np.random.default_rng(2), epochs=9000, tol=1e-8)
    coordinate.joint(*args)
    assert args[9][3] == 1
    least = objective(args)
    assert args[9][2] == pytest.approx(least, rel=1e-12)
    rough = together(40, 5, 3, np.random.default_rng(2), epochs=900, tol=1e-2)
    coordinate.joint(*rough)
    assert 1e-9 * least < objective(rough) - least <= rough[9][1] <= 1e-2 * objective(rough)
    np.testing.assert_allclose(args[5][0, :, :3], args[0].T @ args[7], atol=1e-11)
    np.testing.assert_allclose(args[6], args[10] * args[7].sum(0), atol=1e-11)
    np.testing.assert_allclose(args[7].sum(1), 0, atol=1e-12)


def primal(args, loss):
    """Objective of the weights, from the definition; those of all but the first problem ignored."""
    X, y, price, weights, state = args[0], args[1], args[2], args[5], args[8][0, 0]
    w, v = weights[0, :, 0], state[COLUMN["intercept"]]
    p = X @ w + args[9][2] * v + state[COLUMN["offset"]]
    if loss < 2:
        beyond, prices = np.maximum(0, 1 - y * p), np.where(y > 0, state[COLUMN["positive"]], 1.0)
    else:
        beyond = np.maximum(0, np.abs(p - y) - args[9][1])
        prices = np.where(y > 0, state[COLUMN["positive"]], 1.0)
    beyond = beyond**2 if loss in (1, 3) else beyond
    return (w @ w + v * v) / 2 + (price * prices * beyond).sum()


@pytest.mark.parametrize("loss", range(4))
def test_the_gap_of_the_dual_bounds_the_error(loss):
    args = machine(40, 5, 1, np.random.default_rng(2), loss=loss, epochs=4000, tol=1e-9)
    coordinate.dual(*args)
    assert args[8][0, 0, COLUMN["finished"]] == 1
    least = primal(args, loss)
    assert args[8][0, 0, COLUMN["objective"]] == pytest.approx(least, rel=1e-12)
    rough = machine(40, 5, 1, np.random.default_rng(2), loss=loss, epochs=400, tol=1e-2)
    taken = coordinate.dual(*rough)
    gap = rough[8][0, 0, COLUMN["gap"]]
    assert 0 < taken < 400
    assert 1e-9 * least < primal(rough, loss) - least <= gap <= 1e-2 * primal(rough, loss)
    # The weights are the sums of the multipliers.
    np.testing.assert_allclose(rough[5][0], rough[0].T @ rough[6][0], rtol=1e-9, atol=1e-12)


def test_shrinking_changes_the_time_alone():
    whole = machine(300, 8, 1, np.random.default_rng(5), epochs=3000, tol=1e-7, shrinking=False)
    shrunk = machine(300, 8, 1, np.random.default_rng(5), epochs=3000, tol=1e-7)
    coordinate.dual(*whole)
    coordinate.dual(*machine(300, 8, 1, np.random.default_rng(5), epochs=30)[:5], *shrunk[5:])
    assert shrunk[7].any()
    coordinate.dual(*shrunk)
    np.testing.assert_allclose(primal(shrunk, 0), primal(whole, 0), rtol=2e-7)
