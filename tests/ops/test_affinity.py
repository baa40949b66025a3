"""Messages of affinity propagation: agreement, and what they add up to."""

import numpy as np
import pytest
from agreement import Case, agreement_tests, cases

from kernelmill.ops import affinity


def started(n, seed=0, scale=1.0):
    """Similarities, and messages from the middle of a run."""
    rng = np.random.default_rng(seed)
    S = -scale * rng.random((n, n))
    np.fill_diagonal(S, -0.3 * scale)
    return S, scale * rng.normal(size=(n, n)), -scale * rng.random((n, n))


@cases("affinity.exchange")
def exchange():
    for n in (2, 3, 31, 32, 33, 65):
        for m in (0, 1, 3):
            # Sums of n numbers of order 1, damped, in another order.
            bound = 1e-15 * n * (m + 1)
            args = (*started(n, n), 0.6, m)
            yield Case(f"{n} {m}", args, bounds=(bound,) * 3, updated=(1, 2))
    n = 40
    S, R, A = started(n)
    yield Case("undamped", (S, R, A, 0.0, 2), bounds=(1e-13,) * 3, updated=(1, 2))
    S = np.round(4 * S)  # whole numbers: equal values in each row, and exact sums
    zero = np.zeros((n, n))
    yield Case("equal", (S, zero.copy(), zero.copy(), 0.5, 4), updated=(1, 2))
    yield Case("large", (*started(n, 1, 1e200), 0.9, 2), bounds=(1e187,) * 3, updated=(1, 2))
    n = 300
    yield Case("big", (*started(n), 0.5, 2), bounds=(1e-12,) * 3, updated=(1, 2), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("affinity")


def test_the_best_exemplar_of_a_star():
    """Rows that are alike to one of them only choose that one."""
    n = 9
    S = np.full((n, n), -8.0)
    S[:, 4] = S[4] = -1.0
    np.fill_diagonal(S, -2.0)
    R, A = np.zeros((n, n)), np.zeros((n, n))
    evidence = affinity.exchange(S, R, A, 0.5, 60)
    np.testing.assert_array_equal(np.flatnonzero(evidence[-1] > 0), [4])
    np.testing.assert_array_equal(evidence[-1], np.diagonal(R) + np.diagonal(A))


def test_one_by_one_is_all_at_once():
    S, R, A = started(50)
    other = R.copy(), A.copy()
    evidence = affinity.exchange(S, R, A, 0.7, 5)
    steps = [affinity.exchange(S, *other, 0.7)[0] for _ in range(5)]
    np.testing.assert_array_equal(evidence, steps)
    np.testing.assert_array_equal(R, other[0])
    np.testing.assert_array_equal(A, other[1])


def test_refusals():
    S, R, A = started(3)
    for twin in (affinity.exchange, affinity.exchange.specification):
        with pytest.raises(ValueError, match=r"damping must be in \[0, 1\), got 1"):
            twin(S, R, A, 1.0)
