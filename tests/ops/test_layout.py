"""Forces of layouts against their sums, and the gradients that they are."""

import numpy as np
import pytest
from agreement import Case, agreement_tests, cases

from kernelmill.ops import layout

CURVE = (1.58, 0.9)


def places(n, q, spread, seed=0):
    return spread * np.random.default_rng(seed).normal(size=(n, q))


def graph(n, degree, points=None, seed=0):
    """Some neighbours of each point, another number of each."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, degree + 1, n)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return offsets, rng.integers(0, points or n, offsets[-1]).astype(np.int32)


@cases("layout.repulsion")
def repulsion():
    for n, q, spread in ((1, 2, 1.0), (2, 1, 3.0), (7, 2, 1e-4), (33, 3, 5.0), (40, 5, 2.0)):
        Y = places(n, q, spread, n)
        # Sums of n terms below 1.
        yield Case(f"{n} {q}", (Y, 0.0), bounds=(4e-16 * n * spread, 1e-15 * n))
    yield Case("no rows", (np.zeros((0, 2)), 0.0))
    yield Case("no rows, tree", (np.zeros((0, 2)), 0.5))
    for n, q, spread in ((300, 1, 40.0), (500, 2, 30.0), (400, 3, 10.0)):
        Y = places(n, q, spread, n)
        force, weight = layout.repulsion.specification(Y, 0.0)
        for theta in (0.1, 0.5):
            # What a box adds is off by the square of its share of the distance, less than theta.
            size = (theta**2 + 1e-5) * np.abs(force).max(), (theta**2 + 1e-5) * weight.max()
            yield Case(f"tree {n} {q} {theta}", (Y, theta), bounds=size)
    Y = places(1000, 2, 30.0)
    force, weight = layout.repulsion.specification(Y, 0.0)
    size = 0.25 * np.abs(force).max(), 0.25 * weight.max()
    yield Case("big", (Y, 0.5), bounds=size, big=True)
    yield Case("big, all pairs", (Y, 0.0), bounds=(1e-11, 1e-12), big=True)


@cases("layout.attraction")
def attraction():
    for n, q, degree in ((1, 1, 2), (5, 2, 3), (40, 2, 17), (40, 3, 9), (64, 5, 20)):
        offsets, indices = graph(n, degree)
        values = np.random.default_rng(1).random(len(indices))
        Y = places(n, q, 3.0)
        for divergence in (False, True):
            args = (Y, offsets, indices, values, divergence)
            yield Case(f"{n} {q} {divergence}", args, bounds=(1e-13 * (degree + 8),) * 2)
    yield Case("no rows", (np.zeros((0, 2)), np.zeros(1, np.int64), np.zeros(0, np.int32),
                           np.zeros(0)))  # fmt: skip
    offsets, indices = graph(500, 30)
    values = np.random.default_rng(1).random(len(indices))
    args = (places(500, 2, 3.0), offsets, indices, values, True)
    yield Case("big", args, bounds=(1e-12, 1e-12), big=True)


@cases("layout.umap")
def umap():
    for n, q, degree, m in (
        (1, 2, 2, 0),
        (17, 1, 4, 0),
        (40, 2, 6, 0),
        (33, 3, 5, 20),
        (9, 2, 40, 9),
    ):
        offsets, indices = graph(n, degree, m or None)
        rates = np.random.default_rng(2).random(len(indices)).astype(np.float32)
        Y = places(n, q, 4.0).astype(np.float32)
        Z = places(m, q, 4.0, 5).astype(np.float32) if m else None
        for first in (0, 3):
            args = (Y, Z, offsets, indices, rates, first, 1, 10, *CURVE, 1.5, 1.0, 3, 2**63 + 5)
            # Up to some dozen steps, each of which rounds places of this size.
            yield Case(f"{n} {q} {m} {first}", args, bounds=(2e-4,), updated=(0,))
    offsets, indices = graph(20, 3)
    rates = np.ones(len(indices), np.float32)
    still = (places(20, 2, 1.0).astype(np.float32), None, offsets, indices, rates, 0)
    yield Case("no epochs", (*still, 0, 10, *CURVE), updated=(0,))
    yield Case("no draws", (*still, 1, 10, *CURVE, 1.0, 1.0, 0), bounds=(2e-4,), updated=(0,))
    yield Case("no rows", (np.zeros((0, 2), np.float32), None, np.zeros(1, np.int64),
                           np.zeros(0, np.int32), np.zeros(0, np.float32), 0, 1, 10, *CURVE),
               updated=(0,))  # fmt: skip
    offsets, indices = graph(700, 5)
    rates = np.random.default_rng(2).random(len(indices)).astype(np.float32)
    Y = places(700, 2, 9.0).astype(np.float32)
    yield Case("big", (Y, None, offsets, indices, rates, 0, 1, 10, *CURVE), bounds=(5e-4,),
               updated=(0,), big=True)  # fmt: skip


@cases("layout.paths")
def paths():
    for n, degree in ((1, 2), (9, 2), (40, 3), (64, 9)):
        offsets, indices = graph(n, degree)
        for lengths in (  # few lengths make ties, and 0 joins points
            np.random.default_rng(3).random(len(indices)),
            np.random.default_rng(4).integers(0, 4, len(indices)).astype(float),
        ):
            yield Case(f"{n} {degree} {lengths[:1]}", (offsets, indices, lengths), bounds=(0.0,))
    yield Case("no points", (np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0)))
    offsets, indices = graph(300, 8)
    lengths = np.random.default_rng(3).random(len(indices))
    yield Case("big", (offsets, indices, lengths), bounds=(0.0,), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("layout")


def test_forces_are_the_gradient_of_the_divergence(rng):
    """Of sum p log(p / q): four times what attracts, less what repels by the sum of weights."""
    n = 20
    Y = rng.normal(size=(n, 2))
    P = rng.random((n, n))
    np.fill_diagonal(P, 0)
    P = (P + P.T) / (P + P.T).sum()
    offsets, (row, column) = np.arange(0, n * (n - 1) + 1, n - 1), np.nonzero(P)
    edges = offsets, column.astype(np.int32), P[row, column]

    def divergence(Y):
        d2 = ((Y[:, None] - Y[None]) ** 2).sum(axis=2)
        w = 1 / (1 + d2)
        np.fill_diagonal(w, 0)
        return (P[row, column] * np.log(P[row, column] / (w / w.sum())[row, column])).sum()

    push, weight = layout.repulsion(Y)
    pull, cross = layout.attraction(Y, *edges, True)
    gradient = 4 * (pull - push / weight.sum())
    h, want = 1e-6, np.empty_like(Y)
    for i in np.ndindex(*Y.shape):
        step = np.zeros_like(Y)
        step[i] = h
        want[i] = (divergence(Y + step) - divergence(Y - step)) / (2 * h)
    np.testing.assert_allclose(gradient, want, rtol=0, atol=1e-8)
    p = edges[2]
    np.testing.assert_allclose(
        p @ np.log(p) + cross.sum() + np.log(weight.sum()), divergence(Y), rtol=1e-12
    )


@pytest.mark.parametrize("theta", [0.0, 0.5, 1.0])
def test_points_that_coincide(theta):
    """A cell that holds many equal points: exactly the sum, and no endless splitting."""
    Y = np.repeat([[0.0, 0], [3, 0], [3, 1e-12]], 100, axis=0)
    force, weight = layout.repulsion(Y, theta)
    want, total = layout.repulsion.specification(Y, 0.0)
    # Sums of 300 numbers in float32.
    np.testing.assert_allclose(force, want, rtol=0, atol=1e-4)
    np.testing.assert_allclose(weight, total, rtol=300 * 2.0**-24)
    force, weight = layout.repulsion(np.ones((50, 2)), theta)
    np.testing.assert_array_equal(force, 0)
    np.testing.assert_array_equal(weight, 49)


def test_an_outlier_does_not_spoil_the_tree(rng):
    Y = np.vstack([rng.normal(size=(400, 2)), [[1e9, -1e9]]])
    force, weight = layout.repulsion(Y, 0.5)
    want, total = layout.repulsion.specification(Y, 0.0)
    np.testing.assert_allclose(weight[:-1], total[:-1], rtol=0.05)
    np.testing.assert_allclose(force[:-1], want[:-1], atol=0.05 * np.abs(want).max())


def test_a_smaller_angle_is_nearer(rng):
    Y = 20 * rng.normal(size=(2000, 2))
    want = layout.repulsion(Y, 0.0)
    errors = [
        [np.abs(a - b).max() for a, b in zip(layout.repulsion(Y, t), want, strict=True)]
        for t in (0.8, 0.4, 0.1)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_refusals():
    Y, offsets, indices = np.zeros((3, 4)), np.array([0, 1, 1, 2]), np.array([2, 0], np.int32)
    for twin in (layout.repulsion, layout.repulsion.specification):
        with pytest.raises(ValueError, match=r"theta must be in \[0, 1\], got 1\.5"):
            twin(Y, 1.5)
        with pytest.raises(ValueError, match="Y must have at most 3 columns"):
            twin(Y, 0.5)
        with pytest.raises(ValueError, match="Y must be finite and below 1e150"):
            twin(np.full((2, 2), np.nan), 0.0)
    for twin in (layout.attraction, layout.attraction.specification):
        with pytest.raises(ValueError, match="offsets must rise from 0 to the number of indices"):
            twin(Y, offsets[::-1].copy(), indices, np.ones(2))
        with pytest.raises(ValueError, match=r"indices must be in \[0, 3\)"):
            twin(Y, offsets, np.array([3, 0], np.int32), np.ones(2))
    with pytest.raises(ValueError, match=r"indices must be in \[0, 1\)"):
        layout.umap(np.zeros((3, 2), np.float32), np.zeros((1, 2), np.float32), offsets, indices,
                    np.ones(2, np.float32), 0, 1, 1, 1.0, 1.0)  # fmt: skip
    for twin in (layout.paths, layout.paths.specification):
        for bad in (-1, np.nan):
            with pytest.raises(ValueError, match=f"lengths must be at least 0, got {bad}"):
                twin(offsets, indices, np.array([1.0, bad]))
        with pytest.raises(ValueError, match=r"indices must be in \[0, 3\)"):
            twin(offsets, np.array([3, 0], np.int32), np.ones(2))
