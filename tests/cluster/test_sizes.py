"""Size limits: the labels are optimal, as linear programming finds them."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.exceptions import ConvergenceWarning

from kernelmill.cluster import _sizes
from kernelmill.cluster._sizes import check_sizes, labels_within


def optimum(cost, low, high):
    """Least cost by linear programming; the polytope has whole vertices."""
    n, k = cost.shape
    one_cluster_each = np.kron(np.eye(n), np.ones(k))
    size = np.tile(np.eye(k), (1, n))
    found = linprog(
        cost.ravel(),
        A_ub=np.vstack([size, -size]),
        b_ub=np.r_[np.full(k, high), np.full(k, -low)],
        A_eq=one_cluster_each,
        b_eq=np.ones(n),
        bounds=(0, 1),
    )
    assert found.success
    return found.fun


@pytest.mark.parametrize("case", range(25))
def test_optimal(case, seed):
    rng = np.random.default_rng([seed, case])
    n, k = int(rng.integers(5, 30)), int(rng.integers(2, 6))
    k = min(k, n)
    cost = rng.random((n, k)) ** 3
    if case % 3 == 0:
        cost[:, 0] -= 1  # everyone wants cluster 0
    if case % 5 == 0:
        cost = cost.round(1)  # ties
    low = int(rng.integers(0, n // k + 1))
    high = int(rng.integers(-(-n // k), n + 1))
    for start in (None, rng.integers(k, size=n).astype(np.int32)):
        given = None if start is None else start.copy()
        labels = labels_within(cost, low, high, start)
        counts = np.bincount(labels, minlength=k)
        assert counts.min() >= low
        assert counts.max() <= high
        assert cost[np.arange(n), labels].sum() == pytest.approx(
            optimum(cost, low, high), rel=1e-7, abs=1e-7
        )
        if start is not None:
            np.testing.assert_array_equal(start, given)


@pytest.mark.parametrize("scale", [1e-290, 1e-14, 1.0, 1e290])
def test_outliers_and_scale_hide_no_gain(seed, scale):
    """One row costs 1e14 times what the others do: these are still placed as without it."""
    cost = np.random.default_rng(seed).random((40, 4)) * scale
    cost[0] = [0, 1e14 * scale, 1e14 * scale, 1e14 * scale]
    labels = labels_within(cost, 10, 10, np.arange(40, dtype=np.int32) % 4)
    assert np.bincount(labels).tolist() == [10] * 4
    assert labels[0] == 0
    rest = [np.flatnonzero(labels == j) for j in range(4)]
    for a, b in itertools.permutations(range(4), 2):  # no swap pays
        for i, j in itertools.product(rest[a], rest[b]):
            assert math.fsum([cost[i, b], cost[j, a], -cost[i, a], -cost[j, b]]) >= 0


def test_a_limit_of_steps_is_told(monkeypatch):
    cost = np.random.default_rng(0).random((30, 3))
    start = np.zeros(30, np.int32)
    best = labels_within(cost, 10, 10, start)
    monkeypatch.setattr(_sizes, "_STEPS", 0)
    with pytest.warns(ConvergenceWarning, match=r"^Model: Labels within .* after \d+ steps"):
        labels = labels_within(cost, 10, 10, start, "Model")
    assert np.bincount(labels).tolist() == [10] * 3
    assert cost[np.arange(30), labels].sum() >= cost[np.arange(30), best].sum()


def test_no_limits_is_the_nearest():
    cost = np.random.default_rng(0).random((50, 4))
    np.testing.assert_array_equal(labels_within(cost, 0, 50), cost.argmin(axis=1))


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (4, None, "size_min must be at most 3 for 10 rows in 3 clusters, got 4"),
        (None, 3, "size_max must be at least 4 for 10 rows in 3 clusters, got 3"),
    ],
)
def test_impossible_sizes(low, high, message):
    with pytest.raises(ValueError, match=f"^Model: {message}"):
        check_sizes(low, high, 10, 3, "Model")
    assert check_sizes(None, None, 10, 3, "Model") == (0, 10)
    assert check_sizes(2, 99, 10, 3, "Model") == (2, 10)
