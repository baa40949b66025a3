"""Passes add up over chunks, and samples come out with the right probabilities."""

import numpy as np
import pytest
import scipy.sparse as sp

from kernelmill import stream
from kernelmill.cluster import _statistics
from kernelmill.cluster._statistics import BestOf, assign, farthest, lloyd_pass, reservoir, sum_of


@pytest.fixture
def centers(blobs):
    return blobs[:5].copy()


def test_sparse_equals_dense(blobs, centers, rng):
    blobs[rng.random(blobs.shape) < 0.5] = 0
    w = rng.random(300)
    for ours, truth in zip(
        lloyd_pass(sp.csr_array(blobs), centers, w), lloyd_pass(blobs, centers, w), strict=True
    ):
        np.testing.assert_allclose(ours, truth, rtol=1e-10, atol=1e-10)
    for ours, truth in zip(
        assign(sp.csr_array(blobs), centers), assign(blobs, centers), strict=True
    ):
        np.testing.assert_allclose(ours, truth, rtol=1e-10, atol=1e-10)


def test_top_keeps_order_and_ties():
    score = np.array([1.0, 3.0, 2.0, 3.0, -np.inf, 2.0])
    assert _statistics._top(score, 3).tolist() == [1, 3, 2]
    assert _statistics._top(score, 4).tolist() == [1, 3, 2, 5]
    assert _statistics._top(score, 99).tolist() == [1, 3, 2, 5, 0, 4]
    assert _statistics._top(np.empty(0), 3).tolist() == []


@pytest.mark.parametrize("sparse", [False, True])
def test_costliest_rows(blobs, centers, sparse):
    squared = assign(blobs, centers)[1]
    w = np.arange(300) % 7.0  # rows without weight do not count
    order = np.argsort(-w * squared, kind="stable")[:7]
    data = sp.csr_array(blobs) if sparse else blobs
    opened = stream.source(data, w, chunk_rows=41)
    far = opened.map_reduce(farthest, centers, merge=BestOf(7), size=7)
    np.testing.assert_allclose(far.costs, (w * squared)[order], rtol=1e-10)
    np.testing.assert_allclose(far.squared, squared[order], rtol=1e-10)
    np.testing.assert_array_equal(far.rows, blobs[order])
    np.testing.assert_array_equal(far.labels, assign(blobs, centers)[0][order])
    np.testing.assert_array_equal(far.weights, w[order])


def test_reservoir_follows_the_mass(rng):
    """One row drawn 4000 times: frequencies within 4 standard errors of the probabilities."""
    X = np.arange(6.0)[:, None]
    w = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 0.0])
    opened = stream.source(X, w, chunk_rows=2)
    draws = 4000
    for centers, mass in ((None, w), (np.array([[2.0]]), w * (X[:, 0] - 2) ** 2)):
        count = np.zeros(6)
        for seed in range(draws):
            _, rows = opened.map_reduce(
                reservoir, centers, merge=BestOf(1), size=1, seed=seed, stream=3
            )
            count[int(rows[0, 0])] += 1
        p = mass / mass.sum()
        np.testing.assert_array_less(
            abs(count / draws - p), 4 * np.sqrt(p * (1 - p) / draws) + 1e-12
        )


def test_reservoir_draws_each_row_once(blobs):
    opened = stream.source(blobs, chunk_rows=50)
    _, rows = opened.map_reduce(reservoir, None, merge=BestOf(300), size=300, seed=1, stream=0)
    assert len(np.unique(rows, axis=0)) == 300


def test_sum_of():
    values = np.array([1e8, 1.0, 1.0], dtype=np.float32)
    assert sum_of(values) == 1e8 + 2
    assert sum_of(values, np.array([0, 1, 2], dtype=np.float32)) == 3.0
