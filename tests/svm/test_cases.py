"""Inputs on which other libraries failed; right values follow from the definitions."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

import kernelmill
from kernelmill.kernel_approximation import Nystroem
from kernelmill.kernel_ridge import KernelRidge
from kernelmill.ops import kernels
from kernelmill.svm import SVC, SVR, NuSVC, OneClassSVM

PARTS = scipy.sparse.csr_matrix(
    ([1, 2, 3, 0.5, 1, 0.5, 5, 2], [1, 2, 0, 0, 1, 0, 2, 1], [0, 2, 3, 6, 8]), (4, 3)
)  # an entry in two parts, columns out of order


def test_a_kernel_of_enormous_values_ends():
    X, y = load_iris(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = SVC(C=0.67, kernel="poly", degree=7, gamma=4178.0).fit(X, y)
        same = SVC(C=0.67 * 4178.0**7, kernel="poly", degree=7, gamma=1.0).fit(X, y)
    assert np.isfinite(model.dual_gap_).all()
    assert np.isfinite(model.decision_function(X)).all()
    assert model.score(X, y) > 0.9
    np.testing.assert_array_equal(model.predict(X), same.predict(X))


def test_equal_rows_in_the_nu_machine():
    X = [[0, .3, 1, .6], [0, 0, .3, .6], [0, 0, 0, 0], [.7, .5, .8, 0], [0, 0, 0, .02],
         [0, .3, 1, .6]]  # fmt: skip
    y = [0, 1, 1, 0, 1, 0]
    for _ in range(100):
        model = NuSVC(kernel="poly", coef0=10.0, gamma=1.0, nu=2 / 7).fit(X, y)
    np.testing.assert_allclose(
        model.decision_function(X), [-1, 1, 1.473, -1, 1.478, -1], atol=2e-3
    )


@pytest.mark.parametrize("C", [1e2, 1e6, 1e10])
def test_separable_with_a_huge_price(C):
    model = SVC(kernel="linear", C=C).fit([[0.0], [1], [3], [7]], [0, 0, 1, 1])
    np.testing.assert_allclose(model.coef_, [[1.0]], rtol=1e-6)
    np.testing.assert_allclose(model.intercept_, [-2.0], rtol=1e-6)
    np.testing.assert_array_equal(model.support_, [1, 2])
    np.testing.assert_allclose(model.dual_coef_, [[-0.5, 0.5]], rtol=1e-6)


@pytest.mark.parametrize("o", [1e4, 1e6])
def test_two_rows_far_from_zero(o):
    model = SVC(kernel="linear", C=10.0).fit([[o - 1.0], [o + 1]], [0, 1])
    np.testing.assert_allclose(model.coef_, [[1.0]], rtol=1e-6)
    np.testing.assert_allclose(model.intercept_, [-o], rtol=1e-9)
    np.testing.assert_allclose(model.decision_function([[o], [o + 0.5]]), [0, 0.5], atol=1e-6)


def test_distances_far_from_zero_in_float32():
    x, y = np.array([[10000.0]], np.float32), np.array([[10001.0]], np.float32)
    np.testing.assert_allclose(kernels.matrix(x, y, 2, 0.5), [[np.exp(-0.5)]], rtol=1e-6)


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_matrix])
def test_gamma_is_one_over_the_variance_of_all_entries(make):
    X = np.array([[0, 0, 3.0], [0, 4, 0], [1, 0, 0]])
    y = [0, 1, 1]
    model = SVC().fit(make(X), y)
    assert model._gamma == pytest.approx(0.1588235, rel=1e-6)
    for c in (1e6, 1e-6):
        scaled = SVC().fit(make(c * X), y)
        np.testing.assert_allclose(
            scaled.decision_function(make(c * X)), model.decision_function(make(X)), rtol=1e-5
        )


def test_rows_without_variance():
    X, y = np.full((6, 2), 3.0), [0, 1, 0, 1, 1, 1]
    model = SVC().fit(X, y)
    assert model._gamma == 1
    np.testing.assert_array_equal(model.predict(X), np.ones(6))


def test_rows_of_weight_zero_keep_their_numbers():
    X, y, w = np.arange(6.0)[:, None], [0, 0, 0, 1, 1, 1], [0, 1, 1, 0, 1, 1]
    model = SVC(kernel="linear").fit(X, y, sample_weight=w)
    np.testing.assert_allclose(model.coef_, [[1.0]], rtol=1e-5)
    np.testing.assert_allclose(model.intercept_, [-3.0], rtol=1e-5)
    np.testing.assert_array_equal(model.support_, [2, 4])
    np.testing.assert_array_equal(X[model.support_], model.support_vectors_)


def test_weights_that_remove_a_class():
    X, y = [[1], [2], [3], [4]], [0, 0, 1, 1]
    with pytest.raises(ValueError, match=r"^SVC: sample_weight must be positive for some row of e"):
        SVC().fit(X, y, sample_weight=[1, 1, 0, 0])
    with pytest.raises(ValueError, match=r"^SVC: sample_weight must be positive for some row of e"):
        SVC().fit(X, y, sample_weight=[1, 1, 0, -0.5])  # a negative weight leaves a row out


@pytest.mark.parametrize("shape", ["ovo", "ovr"])
def test_class_weights_with_several_classes(shape):
    X, y = np.repeat(np.arange(6.0)[:, None], 2, axis=1), [0, 0, 1, 1, 2, 2]
    weights, Z = {0: 0.1, 1: 10.0, 2: 0.5}, [[0, 0], [3, 3], [5, 5]]
    model = SVC(class_weight=weights, decision_function_shape=shape).fit(X, y)
    np.testing.assert_array_equal(model.predict(Z), [1, 1, 2])
    same = SVC(gamma=model._gamma, decision_function_shape=shape).fit(
        X, y, sample_weight=[weights[c] for c in y]
    )
    np.testing.assert_allclose(same.decision_function(Z), model.decision_function(Z), atol=1e-9)


def test_probabilities_never_contradict_labels():
    X, y = load_iris(return_X_y=True)
    some = np.concatenate([np.arange(9), 50 + np.arange(11), 100 + np.arange(10)])
    for cls in (SVC, NuSVC):
        for break_ties in (False, True):
            options = {"nu": 0.3} if cls is NuSVC else {}
            model = cls(
                class_weight="balanced", probability=True, break_ties=break_ties, random_state=0,
                **options,
            ).fit(X[some], y[some])  # fmt: skip
            proba = model.predict_proba(X)
            np.testing.assert_array_equal(model.classes_[proba.argmax(1)], model.predict(X))
            np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-12)
            assert (proba >= 0).all()
            assert model.score(X, y) > 0.9
    plain = SVC(probability=True, random_state=0, gamma=1.0).fit(X[some], y[some])
    weighed = SVC(probability=True, random_state=0, gamma=1.0).fit(
        X[some], y[some], sample_weight=np.where(y[some] == 1, 5.0, 1.0)
    )
    assert not np.allclose(plain.probA_, weighed.probA_)


@pytest.mark.parametrize("break_ties", [False, True])
def test_a_tie_of_three(break_ties):
    angles = 2 * np.pi * np.arange(3) / 3
    X = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    model = SVC(kernel="linear", C=10.0, break_ties=break_ties).fit(X, [0, 1, 2])
    Z = np.concatenate([[[0.0, 0.0]], np.random.default_rng(0).normal(size=(200, 2))])
    scores = model.decision_function(Z)
    winners = np.floor(scores + 0.5)
    single = (winners == winners.max(axis=1, keepdims=True)).sum(axis=1) == 1
    agree = model.predict(Z) == scores.argmax(axis=1)
    assert agree.all() if break_ties else agree[single].all()


@pytest.mark.parametrize("gamma", ["auto", "scale", 1.0, 100.0])
def test_few_rows_and_a_small_nu(gamma):
    X = np.array([[1, 2, 3.0], [1, 2, 3.1], [1, 2, 3.2]])
    model = OneClassSVM(nu=0.02, gamma=gamma).fit(X)
    np.testing.assert_array_equal(model.predict(X), [1, 1, 1])
    np.testing.assert_allclose(model.decision_function(X)[[0, 2]], 0, atol=1e-7)


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_matrix])
def test_no_support_vector(make):
    X, y = make(np.eye(4)[[1, 3, 2, 3]]), [0.04, 0.04, 0.1, 0.16]
    model = SVR(kernel="linear", C=316.0, epsilon=0.1).fit(X, y)
    assert model.dual_coef_.shape == (1, 0)
    assert len(model.support_) == 0
    np.testing.assert_allclose(model.predict(X), 0.1, rtol=1e-9)
    file = io.BytesIO()
    kernelmill.save(model, file)
    file.seek(0)
    np.testing.assert_allclose(kernelmill.load(file).predict(X[:2]), 0.1, rtol=1e-9)


def test_negative_curvature_is_said():
    with pytest.warns(ConvergenceWarning, match="not positive semi-definite"):
        model = SVC(kernel="precomputed", C=3.0).fit([[0.0, 2], [2, 0]], [0, 1])
    np.testing.assert_allclose(np.abs(model.dual_coef_), [[3.0, 3.0]])


def test_precomputed_kernels_at_prediction():
    X, y = np.array([[0.0, 1], [1, 1], [3, 0], [4, 2]]), [0, 0, 1, 1]
    Z = np.array([[2.0, 2], [0, 0]])
    model = SVC(kernel="precomputed").fit(X @ X.T, y)
    np.testing.assert_allclose(model.decision_function(Z @ X.T), [-0.6, -1.4], atol=1e-3)
    for kernel in ("linear", lambda A, B: A @ B.T):
        same = SVC(kernel=kernel).fit(X, y).decision_function(Z)
        np.testing.assert_allclose(same, [-0.6, -1.4], atol=1e-3)
    with pytest.raises(ValueError, match=r"got 2 columns for 4 rows"):
        model.predict(Z @ X[:2].T)
    with pytest.raises(ValueError, match=r"^SVC: X must be a square matrix"):
        SVC(kernel="precomputed").fit(X, y)


def test_a_csr_matrix_in_parts():
    y, before = [0, 1, 0, 1], PARTS.copy()
    model = SVC(gamma=0.5).fit(PARTS, y)
    np.testing.assert_allclose(
        model.decision_function(PARTS), [-1, 0.9576, -0.9566, 1], atol=1e-3
    )
    linear = SVC(kernel="linear").fit(PARTS, y)
    assert linear.decision_function(PARTS)[2] == pytest.approx(-1.1538, abs=1e-3)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(PARTS, name), getattr(before, name))


@pytest.mark.parametrize(
    "make",
    [
        OneClassSVM,
        SVR,
        lambda: KernelRidge(kernel="rbf"),
        lambda: KernelRidge(kernel="cosine"),
        lambda: Nystroem(n_components=4),
    ],
)
def test_entries_in_parts_of_other_machines(make):
    y, whole = [0.0, 1, 0.5, 1], PARTS.toarray()
    models = make().fit(PARTS, y), make().fit(whole, y)
    for rows in (PARTS, whole):
        found = [m.transform(rows) if hasattr(m, "transform") else m.predict(rows) for m in models]
        np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_the_intercept_of_the_kernel_machine_is_free():
    model = SVC(kernel="linear", C=1.0).fit([[10.0], [12]], [0, 1])
    np.testing.assert_allclose([model.coef_[0, 0], model.intercept_[0]], [1.0, -11.0], rtol=1e-6)
