"""Elimination keeps the digits of every entry: exact rational arithmetic says what is true."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import sparse

from kernelmill.markov import _elimination
from kernelmill.markov._elimination import Elimination, SparseElimination, eliminate

EPS = np.finfo(np.float64).eps


def exact_solve(A, B):
    """X of A X = B over the rationals, by Gauss and Jordan."""
    m = len(A)
    rows = [[*map(Fraction, a), *map(Fraction, b)] for a, b in zip(A, B, strict=True)]
    for j in range(m):
        pivot = next(i for i in range(j, m) if rows[i][j])
        rows[j], rows[pivot] = rows[pivot], rows[j]
        rows[j] = [v / rows[j][j] for v in rows[j]]
        for i in range(m):
            if i != j and rows[i][j]:
                rows[i] = [a - rows[i][j] * b for a, b in zip(rows[i], rows[j], strict=True)]
    return [row[m:] for row in rows]


def i_minus_q(Q, leave):
    """I - Q over the rationals, its diagonal the sum of what leaves: the matrix that is meant."""
    m = len(Q)
    A = [[-Fraction(float(Q[i, j])) for j in range(m)] for i in range(m)]
    for i in range(m):
        A[i][i] = Fraction(float(leave[i])) - sum(A[i][j] for j in range(m) if j != i)
    return A


def graded(rng, m, density=1.0):
    """Probabilities over thirty orders of magnitude, and a little that leaves."""
    Q = 10.0 ** rng.uniform(-12, 0, (m, m)) * (rng.random((m, m)) <= density)
    Q += np.roll(np.diag(10.0 ** rng.uniform(-12, 0, m)), 1, axis=1)  # nobody is stuck
    leave = np.zeros(m)
    leave[0] = 1e-14
    total = Q.sum(axis=1) + leave
    return Q / total[:, None], leave / total


def assert_entrywise(found, exact, m):
    # Each entry is a sum of products of at most 3 m factors, all of one sign: relative error below
    # the number of roundings on a path, 6 m, with room for the sums themselves, m more each.
    bound = 8 * m**2 * EPS
    for a, b in zip(np.ravel(found), [v for row in exact for v in row], strict=True):
        assert abs(Fraction(float(a)) - b) <= Fraction(bound) * abs(b)


@pytest.mark.parametrize("m", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("density", [1.0, 0.3])
def test_every_entry_has_its_digits(rng, m, density, monkeypatch):
    monkeypatch.setattr(_elimination, "_PANEL", 5)  # so that blocks meet inside 12 states
    Q, leave = graded(rng, m, density)
    B = np.column_stack([np.ones(m), leave])
    A = i_minus_q(Q, leave)
    factors = Elimination(Q.copy(), leave.copy())
    assert_entrywise(factors.solve(B), exact_solve(A, B), m)
    assert_entrywise(factors.solve(B[:, 0]), exact_solve(A, B[:, :1]), m)


def test_a_solver_that_subtracts_is_caught(rng):
    """The oracle can tell: LU of the same matrix loses most digits of such chains."""
    Q, leave = graded(rng, 12)
    B = np.ones((12, 1))
    by_lu = np.linalg.solve(np.eye(12) - Q, B)
    with pytest.raises(AssertionError):
        assert_entrywise(by_lu, exact_solve(i_minus_q(Q, leave), B), 12)


@pytest.mark.parametrize("m", [1, 2, 6, 12])
def test_stationary_has_its_digits(rng, m, monkeypatch):
    monkeypatch.setattr(_elimination, "_PANEL", 5)
    Q, leave = graded(rng, m)
    Q[:, 0] += leave  # nothing leaves
    A = i_minus_q(Q, np.zeros(m))
    # pi (I - Q) = 0 and pi 1 = 1: the last equation in place of the first.
    system = [[Fraction(1)] * m] + [[A[i][j] for i in range(m)] for j in range(1, m)]
    exact = exact_solve(system, [[1]] + [[0]] * (m - 1))
    assert_entrywise(Elimination(Q.copy(), np.zeros(m)).stationary(), exact, m)


@pytest.mark.parametrize("m", [63, 64, 65, 200])
def test_blocks_change_rounding_only(rng, m, monkeypatch):
    Q, leave = graded(rng, m)
    blocked = Elimination(Q.copy(), leave.copy()).solve(np.ones(m))
    monkeypatch.setattr(_elimination, "_PANEL", 1)
    plain = Elimination(Q.copy(), leave.copy()).solve(np.ones(m))
    assert np.allclose(blocked, plain, rtol=8 * m**2 * EPS, atol=0)


def test_ratios_beyond_the_range_of_floats():
    """Birth and death with odds 99: the first entry is 99^-999 of the last, and underflows."""
    K = 1000
    P = np.diag(np.full(K - 1, 0.99), 1) + np.diag(np.full(K - 1, 0.01), -1)
    P[0, 0], P[-1, -1] = 0.01, 0.99
    expected = 99.0 ** -np.arange(K - 1.0, -1, -1) * (1 - 1 / 99)
    for order in (slice(None), slice(None, None, -1)):
        pi = Elimination(P[order, order].copy(), np.zeros(K)).stationary()[order]
        assert np.allclose(pi, expected, rtol=1e4 * EPS, atol=1e-300)


def test_sparse_elimination_agrees_with_dense(rng):
    m = 150
    Q = sparse.random_array((m, m), density=0.05, rng=rng, format="csr") + sparse.diags_array(
        np.full(m - 1, 0.5), offsets=1
    )
    Q = sparse.csr_array(Q)
    leave = np.zeros(m)
    leave[-1] = 0.3
    total = Q.sum(axis=1) + leave
    Q, leave = sparse.csr_array(sparse.diags_array(1 / total) @ Q), leave / total
    dense, thin = Elimination(Q.toarray(), leave.copy()), SparseElimination(Q, leave)
    B = rng.random((m, 2))
    scale = dense.solve(np.ones(m)).max()  # norm of the inverse
    assert np.allclose(thin.solve(B), dense.solve(B), rtol=0, atol=10 * m * EPS * scale * m)
    closed = Q + sparse.csr_array((leave, (np.arange(m), np.zeros(m, dtype=int))), shape=(m, m))
    closed = sparse.csr_array(closed)
    a = SparseElimination(closed, np.zeros(m)).stationary()
    b = Elimination(closed.toarray(), np.zeros(m)).stationary()
    assert np.allclose(a, b, rtol=0, atol=10 * m * EPS * scale)


def test_the_kind_follows_the_size(monkeypatch):
    Q = sparse.csr_array(np.full((3, 3), 0.3))
    leave = np.full(3, 0.1)
    assert isinstance(eliminate(Q, leave), Elimination)
    monkeypatch.setattr(_elimination, "DENSE_STATES", 2)
    assert isinstance(eliminate(Q, leave), SparseElimination)
    assert leave.tolist() == [0.1] * 3


def test_probabilities_that_vanish_are_refused():
    Q = np.array([[0.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="must leave each state"):
        Elimination(Q, np.array([1.0, 0.0]))
