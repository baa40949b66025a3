"""Moments of classes: origins that are exact, merged, and renewed where rows are no sample."""

import numpy as np
import pytest

from kernelmill._estimator._class_moments import (
    ClassMoments,
    class_moments_of,
    pilot_of_classes,
)
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._targets import class_labels, coded, codes_in


class Plain(Estimator):
    _squares = np.float64
    _accepts_missing = True

    def rows(self, X, weight=None):
        return self._rows(X, weight, reset=True, once=True)


def problem(n=300, d=4, k=3, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, k, n)
    return rng.normal(size=(n, d)) + rng.normal(size=(k, d))[codes], codes


@pytest.mark.parametrize("kind", ["full", "pooled", "diag"])
@pytest.mark.parametrize("weighted", [False, True])
def test_moments_are_those_of_each_class(kind, weighted):
    X, codes = problem()
    w = np.random.default_rng(1).uniform(0, 2, len(codes)) if weighted else np.ones(len(codes))
    found = class_moments_of(Plain().rows(X, w if weighted else None), codes, 3, kind)
    assert found.kind == kind
    within, between, mean = 0.0, 0.0, np.average(X, 0, w)
    for c in range(3):
        own, v = X[codes == c], w[codes == c]
        m = np.average(own, 0, v)
        S = ((own - m) * v[:, None]).T @ (own - m)
        apart = v.sum() * np.outer(m - mean, m - mean)
        np.testing.assert_allclose(found.means[c], m, rtol=1e-12)
        np.testing.assert_allclose(found.class_weight[c], v.sum(), rtol=1e-12)
        if kind == "full":
            np.testing.assert_allclose(found.scatter[c], S, rtol=1e-10, atol=1e-10)
        if kind == "diag":
            np.testing.assert_allclose(found.scatter[c], np.diag(S), rtol=1e-10)
        within, between = within + S, between + apart
    if kind == "diag":
        within, between = np.diag(within), np.diag(between)
    np.testing.assert_allclose(found.within, within, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.between, between, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.total_weight, w.sum(), rtol=1e-12)


@pytest.mark.parametrize("kind", ["full", "pooled", "diag"])
def test_constants_are_exact(kind):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 5000)
    X = np.array([[0.1, 1e8 / 3], [1 / 7, 1e-9 / 3], [-0.3, 2.0 / 3]])[codes]
    found = class_moments_of(Plain().rows(X), codes, 3, kind)
    assert (found.scatter == 0).all()
    np.testing.assert_array_equal(found.means, X[[np.argmax(codes == c) for c in range(3)]])


@pytest.mark.parametrize("kind", ["full", "pooled", "diag"])
def test_sorted_rows_keep_their_digits(kind):
    """The first rows of a class lie a million deviations from its mean."""
    far, near = np.full((40, 1), 2.0**40), (np.arange(4096.0) % 2)[:, None]
    X, codes = np.vstack([far, near]), np.repeat([0, 1], [40, 4096])
    codes[:40] = 1
    codes[40:44] = 0
    w = np.ones(len(codes))
    w[:40] = 2.0**-80
    found = class_moments_of(Plain().rows(X, w), codes, 2, kind)
    own = codes == 1
    m = np.average(X[own], 0, w[own])
    want = (w[own, None] * (X[own] - m) ** 2).sum()
    scatter = found.scatter[0] if kind == "pooled" else found.scatter[1]
    extra = 1.0 if kind == "pooled" else 0.0  # of the other class
    np.testing.assert_allclose(scatter.ravel(), want + extra, rtol=1e-9)


def test_a_rare_class_has_an_origin():
    X, codes = problem(100_000, 2)
    codes[:] = codes % 2
    codes[7] = 2
    X[7] = 1e9
    origins = pilot_of_classes(X, codes, np.full((4, 2), np.nan), None)
    np.testing.assert_array_equal(origins[2], X[7])
    assert np.isnan(origins[3]).all()
    w = np.ones(len(codes))
    w[7] = 0.0
    assert np.isnan(pilot_of_classes(X, codes, np.full((4, 2), np.nan), w)[2]).all()


def test_known_origins_stay():
    X, codes = problem()
    origins = np.full((3, 4), np.nan)
    origins[1] = 5.0
    found = pilot_of_classes(X, codes, origins, None)
    np.testing.assert_array_equal(found[1], 5.0)
    assert np.abs(found[[0, 2]]).max() < 3


def test_missing_entries_of_the_first_rows():
    X, codes = problem()
    X += 2.0**30
    X[:50, 1] = np.nan
    found = class_moments_of(Plain().rows(X), codes, 3, "diag")
    for c in range(3):
        np.testing.assert_allclose(
            found.scatter[c] / found.weights[c], np.nanvar(X[codes == c], 0), rtol=1e-9
        )


def test_a_model_keeps_its_moments():
    X, codes = problem()
    found = class_moments_of(Plain().rows(X[:100]), codes[:100], 3, "full")
    model = Plain()
    found.keep(model)
    again = ClassMoments.kept_by(model)
    whole = class_moments_of(Plain().rows(X[100:]), codes[100:], 3, "full", again)
    want = class_moments_of(Plain().rows(X), codes, 3, "full")
    np.testing.assert_allclose(whole.scatter, want.scatter, rtol=1e-10)
    assert whole.rows == 300


@pytest.mark.parametrize(
    "labels",
    [
        np.array([3, -2, 3, 7]), np.array([5, 5, 6], np.uint8), np.array([True, False, True]),
        np.array(["b", "a", "b"]), np.array([0.5, -1.0, 0.5]), np.array([10**15, -5, 10**15]),
        np.array([2, 0, 1, 2], np.int8), np.array([], np.int64), np.array([127, -128], np.int8),
        np.array([2**63 + 4, 2**63 - 1, 2**63 + 4], np.uint64), np.array([2**63 - 1, 2**63 - 3]),
        np.array([-(2**63), -(2**63) + 7]), np.array([0, 2**64 - 1], np.uint64),
    ],
    ids=str,
)  # fmt: skip
def test_labels_are_numbered(labels):
    classes, codes = coded(labels)
    want, inverse = np.unique(labels, return_inverse=True)
    np.testing.assert_array_equal(classes, want)
    np.testing.assert_array_equal(codes, inverse)
    assert classes.dtype == labels.dtype
    assert codes.dtype == np.int64
    if len(labels):
        more = np.unique(np.append(labels, labels[:1]))
        np.testing.assert_array_equal(codes_in(more, labels, "M"), inverse)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, "U3", np.float32])
def test_labels_are_numbered_in_blocks(dtype):
    drawn = np.random.default_rng(0).integers(-3, 4, 2**15 + 5).astype(dtype)
    for labels in (drawn, np.sort(drawn)):  # sorted ones come first in later blocks
        classes, codes = coded(labels, np.float64)
        want, inverse = np.unique(labels, return_inverse=True)
        np.testing.assert_array_equal(classes, want)
        np.testing.assert_array_equal(codes, inverse)
        assert codes.dtype == np.float64


def test_labels_of_bytes_are_refused():
    with pytest.raises(TypeError, match=r"M: y must be a vector of class labels.*bytes"):
        class_labels(np.array([b"a", b"b"]), "M")


def test_unknown_labels_are_named():
    with pytest.raises(ValueError, match=r"M: y must hold known classes only, got \[3\] beside"):
        codes_in(np.array([1, 2]), np.array([1, 3]), "M")
