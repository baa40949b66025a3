"""Block SMO against its specification: the same steps where they are exact, the same end else."""

import itertools

import numpy as np
import pytest
import scipy.sparse
from agreement import DTYPES, Case, agreement_tests, cases

from kernelmill.ops import kernels, svm

RBF, LINEAR, GIVEN = 2, 0, -1


def settings(**given):
    known = {"kind": LINEAR, "gamma": 1.0, "coef0": 0.0, "degree": 1.0, "tol": 1e-3, "width": 0.0,
             "grouped": 0.0, "most_steps": np.inf}  # fmt: skip
    return np.array([float((known | given)[name]) for name in svm.SETTINGS])


def arguments(X, rows, spans, q, lower, upper, beta, places, size, rounds=1000, **given):
    """Arguments of the op, with the gradient of `beta`."""
    given.setdefault("kind", LINEAR)
    function = (int(given["kind"]), given.get("gamma", 1.0), 0.0, 1.0)
    values = X.toarray() if scipy.sparse.issparse(X) else X
    K = values if given["kind"] < 0 else kernels.matrix.specification(values, values, *function)
    K = K.astype(np.float64)
    gradient = q.astype(np.float64)
    for begin, end in itertools.pairwise(spans):
        own = rows[begin:end]
        gradient[begin:end] += K[np.ix_(own, own)] @ beta[begin:end]
    p = len(spans) - 1
    state = np.zeros((p, len(svm.STATE)))
    state[:, svm.STATE.index("curvature")] = np.inf
    state[:, svm.STATE.index("scale")] = 1.0
    n = 0 if given["kind"] < 0 else X.shape[0]
    return (
        X, rows.astype(np.int32), np.array(spans, np.int64), lower, upper, settings(**given),
        rounds, beta.astype(np.float64), gradient, np.zeros((places, n), X.dtype),
        np.tile(np.array([-1, 0], np.int64), (places, 1)),
        np.full((p, size), -1, np.int32), state,
    )  # fmt: skip


UPDATED = (7, 8, 9, 10, 11, 12)
ROUNDED = (None, 1e-13, 1e-12, None, None, None, 1e-12)  # of few steps on numbers below 100


def labelled(n, d, dtype, seed=0, whole=False):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    X = rng.integers(-3, 4, (n, d)) + y[:, None] if whole else rng.normal(size=(n, d)) + y[:, None]
    return X.astype(dtype), y


def classes(X, y, C, places, width, **given):
    n = len(y)
    lower, upper = np.where(y > 0, 0.0, -C), np.where(y > 0, C, 0.0)
    rows = np.arange(n)
    return arguments(X, rows, [0, n], -y, lower, upper, np.zeros(n), places, width, **given)


def the_same_end(args):
    """Both meet the conditions, with the same multipliers as far as the tolerance tells them."""
    names = svm.STATE

    def compare(got, want):
        running, beta, gradient, *_, state = got
        assert running == want[0]
        size = np.abs(want[1]).max() + 1
        for g, w in ((beta, want[1]), (gradient, want[2])):
            np.testing.assert_allclose(g, w, rtol=0, atol=2e-4 * size)
        for column in ("status", "scale"):
            at = names.index(column)
            np.testing.assert_array_equal(state[:, at], want[6][:, at])
        at = names.index("gain")
        np.testing.assert_allclose(state[:, at], want[6][:, at], rtol=1e-4)
        at = names.index("violation")
        assert (state[:, at] <= 1e-5 * state[:, names.index("scale")]).all()

    return compare


@cases("svm.solve")
def solve():
    for dtype in DTYPES:
        # Whole numbers: the first steps are exact, and all state is equal.
        for rounds in (1, 2):
            for n, places, width in ((2, 2, 2), (40, 9, 8), (40, 12, 2), (40, 40, 4)):
                X, y = labelled(n, 3, dtype, whole=True)
                args = classes(X, y, 0.125, places, width, rounds=rounds, most_steps=2.0)
                yield Case(f"exact {n} {width} {rounds}", args, bounds=ROUNDED, updated=UPDATED)
                args = classes(scipy.sparse.csr_matrix(X), y, 0.125, places, width, rounds=rounds,
                               most_steps=2.0)  # fmt: skip
                yield Case(f"exact csr {n} {width} {rounds}", args, bounds=ROUNDED, updated=UPDATED)
        X, y = labelled(40, 3, dtype, whole=True)
        parts = [np.arange(k, 40, 2 + k % 2) for k in range(4)]
        rows, spans = np.concatenate(parts), np.cumsum([0, *map(len, parts)]).tolist()
        signs = np.where(np.arange(len(rows)) % 2, 1.0, -1.0)
        args = arguments(
            X @ X.T, rows, spans, -signs, np.minimum(0, signs), np.maximum(0, signs),
            np.zeros(len(rows)), 0, 6, rounds=1, kind=GIVEN, most_steps=2.0,
        )  # fmt: skip
        yield Case("exact four", args, bounds=ROUNDED, updated=UPDATED)
        K = np.array([[0.0, 2], [2, 0]], dtype)
        args = classes(K, np.array([1.0, -1]), 3.0, 0, 2, kind=GIVEN)
        yield Case("indefinite", args, bounds=ROUNDED, updated=UPDATED)
        yield Case("no rounds", classes(K, np.array([1.0, -1]), 3.0, 0, 2, kind=GIVEN, rounds=0),
                   bounds=ROUNDED, updated=UPDATED)  # fmt: skip
        # Grouped sums, and a bent objective.
        y = np.array([1.0, 1, -1, -1])
        X = np.array([[4.0], [2], [-1], [-3]], dtype)
        upper, lower = np.where(y > 0, 1.0, 0), np.where(y > 0, 0.0, -1)
        start = np.array([0.5, 0, -0.5, 0])
        args = arguments(X, np.arange(4), [0, 4], np.zeros(4), lower, upper, start, 4, 4, grouped=1)
        yield Case("groups", args, bounds=ROUNDED, updated=UPDATED)
        values = np.array([1.0, 3, -2, 0])
        args = arguments(X, np.arange(4), [0, 4], -values, -np.ones(4), np.ones(4), np.zeros(4), 4,
                         4, width=0.25, rounds=1, most_steps=1.0)  # fmt: skip
        yield Case("bent", args, bounds=ROUNDED, updated=UPDATED)
        # To the end.
        for n, places, width in ((30, 30, 32), (150, 150, 32), (150, 40, 32)):
            X, y = labelled(n, 4, dtype, seed=1)
            args = classes(X, y, 1.0, places, width, kind=RBF, gamma=0.5, tol=1e-5)
            yield Case(f"rbf {n} {places}", args, updated=UPDATED, compare=the_same_end(args))
            K = kernels.matrix.specification(X, X, RBF, 0.5)
            two = arguments(
                K, np.concatenate([np.arange(n), np.arange(0, n, 2)]), [0, n, n + (n + 1) // 2],
                np.concatenate([-y, np.zeros((n + 1) // 2)]),
                np.concatenate([np.minimum(0, y), np.zeros((n + 1) // 2)]),
                np.concatenate([np.maximum(0, y), np.ones((n + 1) // 2)]),
                np.concatenate([np.zeros(n), np.full((n + 1) // 2, 0.5)]), 0, 16, kind=GIVEN,
                tol=1e-5,
            )  # fmt: skip
            yield Case(f"two {n}", two, updated=UPDATED, compare=the_same_end(two))
            bent = arguments(
                X, np.arange(n), [0, n], -np.sin(X[:, 0].astype(np.float64)), -np.ones(n),
                np.ones(n), np.zeros(n), places, 32, kind=RBF, gamma=0.5, width=0.05, tol=1e-5,
            )  # fmt: skip
            yield Case(f"bent {n}", bent, updated=UPDATED, compare=the_same_end(bent))
    X, y = labelled(2500, 6, np.float64, seed=2)
    args = classes(X, y, 1.0, 100, 64, kind=RBF, gamma=0.2, rounds=3)
    names = svm.STATE

    def begun(got, want):
        for column in ("status", "rounds"):
            at = names.index(column)
            np.testing.assert_array_equal(got[6][:, at], want[6][:, at])

    yield Case("big", args, updated=UPDATED, compare=begun, big=True)


@cases("svm.products")
def products():
    rng = np.random.default_rng(3)
    for dtype in DTYPES:
        K = rng.integers(-9, 10, (40, 1100)).astype(dtype)
        for name, rows, spans, used, ends in (
            ("nothing", [], [0], [], [0]),
            ("empty parts", [3, 4], [0, 0, 2, 2], [7], [0, 1, 1, 1]),
            ("neighbours", np.arange(1100), [0, 1031, 1100], np.arange(40), [0, 23, 40]),
            ("anywhere", rng.integers(0, 1100, 70), [0, 33, 70], rng.integers(0, 40, 9), [0, 5, 9]),
        ):
            args = (
                K, np.array(rows, np.int32), np.array(spans), np.array(used, np.int32),
                np.array(ends), rng.integers(-9, 10, (3, len(used))) / 4,
            )  # fmt: skip
            # Whole numbers: exact.
            yield Case(name, args, bounds=(None,), big=name == "neighbours")


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("svm")


def test_refusals():
    X, y = labelled(6, 2, np.float64)
    for index, value, words in (
        (1, np.full(6, 6, np.int32), r"rows must be in \[0, 6\), got 6"),
        (2, np.array([0, 7]), "spans must rise from 0 to 6"),
        (2, np.array([1, 6]), "spans must rise from 0 to 6"),
        (9, np.zeros((6, 5)), "cache must have a column for each row of X"),
        (11, np.full((1, 4), 6, np.int32), "working must hold numbers of variables"),
    ):
        args = list(classes(X, y, 1.0, 6, 4))
        args[index] = value
        for op in (svm.solve, svm.solve.specification):
            with pytest.raises(ValueError, match=words):
                op(*args)

    known = [
        np.ones((3, 4)), np.array([3], np.int32), np.array([0, 1]), np.array([2], np.int32),
        np.array([0, 1]), np.ones((2, 1)),
    ]  # fmt: skip
    for index, value, words in (
        (1, np.array([4], np.int32), r"rows must be in \[0, 4\), got 4"),
        (3, np.array([-1], np.int32), r"used must be in \[0, 3\), got -1"),
        (2, np.array([0, 2]), "spans must rise from 0 to 1"),
        (4, np.array([1, 1]), "ends must rise from 0 to 1"),
    ):
        args = known[:]
        args[index] = value
        for op in (svm.products, svm.products.specification):
            with pytest.raises(ValueError, match=words):
                op(*args)


def test_a_slice_is_a_part_of_the_whole():
    X, y = labelled(300, 4, np.float64)
    whole = classes(X, y, 1.0, 64, 32, kind=RBF, gamma=0.5)
    parts = classes(X, y, 1.0, 64, 32, kind=RBF, gamma=0.5, rounds=1)
    assert svm.solve(*whole) == 0
    while svm.solve(*parts):
        pass
    for i in UPDATED:
        np.testing.assert_array_equal(whole[i], parts[i])
