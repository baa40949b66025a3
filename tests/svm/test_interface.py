"""What scikit-learn's users rely on beside the optimum: attributes, weights, rows of any kind."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import sklearn.svm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics.pairwise import pairwise_kernels

import kernelmill
from kernelmill.callbacks import Checkpoint
from kernelmill.svm import SVC, SVR, LinearSVC, NuSVC, NuSVR, OneClassSVM, _training

MACHINES = (SVC, NuSVC, SVR, NuSVR, OneClassSVM)
WORDS = ["A A", "A", "B", "B B", "A B", "A A A"]
COUNTS = np.array([[2.0, 0], [1, 0], [0, 1], [0, 2], [1, 1], [3, 0]])
LABELS = np.array([1, 1, 2, 2, 1, 2])


def values(model, X):
    return model.decision_function(X) if hasattr(model, "decision_function") else model.predict(X)


def shared_letters(words, others):
    return np.array(
        [[float(sum(w.count(c) * v.count(c) for c in "AB")) for v in others] for w in words]
    )


@pytest.mark.parametrize("cls", MACHINES)
def test_attributes_are_sparse_where_rows_are(cls):
    """And read-only: a change would not reach predictions."""
    y = np.arange(30) % 3
    X = np.random.default_rng(0).normal(size=(30, 2)) + 2 * np.eye(3, 2)[y]
    pairs = {"decision_function_shape": "ovo"} if cls in (SVC, NuSVC) else {}
    dense = cls(kernel="linear", tol=1e-6, **pairs).fit(X, y)
    sparse = clone(dense).fit(scipy.sparse.csr_matrix(X), y)
    assert scipy.sparse.issparse(sparse.dual_coef_)
    assert scipy.sparse.issparse(sparse.coef_)
    assert sparse.dual_coef_.shape == dense.dual_coef_.shape
    np.testing.assert_allclose(sparse.coef_.toarray(), dense.coef_, atol=1e-3)
    np.testing.assert_allclose(values(sparse, X), values(dense, X), atol=1e-3)
    for array in (dense.coef_, dense.dual_coef_):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1.0


@pytest.mark.parametrize("container", [list, np.array, lambda words: np.array(words, object)])
@pytest.mark.parametrize("cls", MACHINES)
def test_rows_may_be_strings_for_a_function(cls, container):
    weight = [1.0, 2, 1, 1, 1, 0]
    words = container(WORDS)
    model = cls(kernel=shared_letters).fit(words, LABELS, sample_weight=weight)
    same = cls(kernel=lambda X, Y: X @ Y.T).fit(COUNTS, LABELS, sample_weight=weight)
    np.testing.assert_allclose(values(model, words), values(same, COUNTS), atol=1e-10)
    np.testing.assert_array_equal(model.predict(container(["B A"])), same.predict([[1.0, 1.0]]))
    np.testing.assert_array_equal(model.support_, same.support_)
    with pytest.raises(ValueError, match=f"^{cls.__name__}: sample_weight must have shape"):
        cls(kernel=shared_letters).fit(words, LABELS, sample_weight=[1.0])
    with pytest.raises(ValueError, match=f"^{cls.__name__}: sample_weight must have a positive"):
        cls(kernel=shared_letters).fit(words, LABELS, sample_weight=np.zeros(6))
    with pytest.raises((TypeError, ValueError)):  # and are no numbers for a kernel by name
        cls().fit(words, LABELS)


@pytest.mark.parametrize("cls", MACHINES)
def test_negative_weights_leave_rows_out(cls):
    weight = np.array([1.0, -1, 1, 2, 1, 1])
    model = cls().fit(COUNTS, LABELS, sample_weight=weight)
    same = cls().fit(COUNTS, LABELS, sample_weight=np.maximum(weight, 0))
    np.testing.assert_array_equal(values(model, COUNTS), values(same, COUNTS))
    assert 1 not in model.support_
    np.testing.assert_array_equal(weight, [1, -1, 1, 2, 1, 1])
    with pytest.raises(ValueError, match="positive sum, got only zeros or less"):
        cls().fit(COUNTS, LABELS, sample_weight=[-1, 0, -1, -1, 0, 0])
    with pytest.raises(ValueError, match="sample_weight must be finite"):
        cls().fit(COUNTS, LABELS, sample_weight=[1, np.nan, 1, -1, 1, 1])


@pytest.mark.parametrize("make", ["polars.Series", "torch.tensor", "pandas.Series", "list"])
def test_weights_of_any_library(make):
    weight = [1.0, -1.0, 1.0, 2.0, 1.0, 1.0]
    library, _, name = make.rpartition(".")
    given = getattr(pytest.importorskip(library), name)(weight) if library else weight
    model = SVC().fit(COUNTS, LABELS, sample_weight=given)
    same = SVC().fit(COUNTS, LABELS, sample_weight=np.maximum(weight, 0))
    np.testing.assert_array_equal(model.dual_coef_, same.dual_coef_)


@pytest.mark.parametrize("cls", [SVC, SVR])
def test_an_infinite_price_allows_no_error(cls):
    y = COUNTS @ [1.0, 0.5] if cls is SVR else np.array([1, 1, 2, 2, 1, 1])
    given = {"kernel": "linear", "C": np.inf}
    model = cls(**given, tol=1e-8).fit(COUNTS, y)
    peer = getattr(sklearn.svm, cls.__name__)(**given, tol=1e-8).fit(COUNTS, y)
    np.testing.assert_allclose(values(model, COUNTS), values(peer, COUNTS), atol=1e-6)
    with pytest.warns(ConvergenceWarning, match="steps no longer change"):
        model = cls(**given).fit(COUNTS, [1, 2, 1, 2, 1, 2])  # which errors it must make
    assert np.isfinite(values(model, COUNTS)).all()
    assert np.isinf(model.dual_gap_)
    with pytest.raises(ValueError, match=r"^NuSVR: C must be a number above 0, got inf"):
        NuSVR(C=np.inf).fit(COUNTS, COUNTS[:, 0])


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_the_gap_without_errors_is_a_bound(kernel):
    """At a loose tolerance, against the objective at a tight one."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    y = (X[:, 0] > 0).astype(int)
    X[:, 0] += np.where(y, 0.2, -0.2)

    def objective(model):
        b = model.dual_coef_[0]
        K = pairwise_kernels(model.support_vectors_, metric=kernel, **gamma)
        return b @ K @ b / 2 - np.abs(b).sum()

    gamma = {} if kernel == "linear" else {"gamma": 1.0}
    best = objective(SVC(C=np.inf, kernel=kernel, tol=1e-10, **gamma).fit(X, y))
    for tol in (0.3, 1e-2, 1e-4):
        model = SVC(C=np.inf, kernel=kernel, tol=tol, **gamma).fit(X, y)
        beyond = objective(model) - best
        assert beyond <= model.dual_gap_[0] + 1e-7 * abs(best)
        assert model.dual_gap_[0] <= 3 * tol * abs(best)


def test_probabilities_need_a_fit_for_them():
    model = SVC().fit(COUNTS, LABELS)
    assert not hasattr(model, "predict_proba")
    model.probability = True
    with pytest.raises(NotFittedError, match=r"^SVC: probability must be True in fit"):
        model.predict_proba(COUNTS)


@pytest.mark.parametrize("n", range(2, 8))
def test_probabilities_without_a_slope_follow_the_labels(n):
    """Rows held out that tell nothing: all pairs have probabilities of one half."""
    X, y = np.random.default_rng(n).normal(size=(n, 2)), np.arange(n) % min(3, n)
    model = SVC(probability=True, random_state=0).fit(X, y)
    proba = model.predict_proba(X)
    np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(X))
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_an_l1_penalty_has_a_feature_just_above_the_least_price(fit_intercept):
    X, y = [[-1.0, 0], [0, 1], [1, 1], [1, 1]], [0, 1, 1, 1]
    given = {"fit_intercept": fit_intercept, "intercept_scaling": 10.0}
    least = sklearn.svm.l1_min_c(X, y, loss="squared_hinge", **given)
    for factor, there in ((1.0, False), (1.01, True)):
        model = LinearSVC("l1", C=least * factor, **given).fit(X, y)
        assert bool(np.any(model.coef_ != 0) or np.any(model.intercept_ != 0)) is there


@pytest.mark.parametrize("cls", [SVC, SVR])
def test_an_interrupted_fit_goes_on(cls, monkeypatch, tmp_path):
    """From its multipliers, in this process or in another one: no step is taken twice."""
    X = np.random.default_rng(0).normal(size=(300, 4))
    y = X[:, 0] * X[:, 1] if cls is SVR else (X[:, 0] * X[:, 1] > 0).astype(int)
    monkeypatch.setattr(_training, "_SLICE", 1.0)  # a round in each slice
    monkeypatch.setattr(_training, "_WORKING", 16)
    advance, slices, last = _training.Training.advance, [0], [10**9]

    def counted(self, before, most):
        slices[0] += 1
        if slices[0] > last[0]:
            raise KeyboardInterrupt
        return advance(self, before, most)

    with monkeypatch.context() as patch:
        patch.setattr(_training.Training, "advance", counted)
        whole = cls(C=100.0).fit(X, y)
        slices, last = [0], [slices[0] * 3 // 4]
        model = cls(C=100.0, warm_start=True)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
    assert model.interrupted_
    first = np.sum(model.n_iter_)
    kernelmill.save(model, tmp_path / "half.safetensors")
    other = kernelmill.load(tmp_path / "half.safetensors")
    for resumed in (model, other):
        resumed.fit(X, y)
        assert np.sum(resumed.n_iter_) <= np.sum(whole.n_iter_) - 0.5 * first
        np.testing.assert_allclose(values(resumed, X), values(whole, X), atol=0.01)


@pytest.mark.parametrize("cls", MACHINES)
def test_a_checkpoint_holds_what_predictions_need(cls, tmp_path):
    model, path = cls(), tmp_path / "model.safetensors"
    if not hasattr(model, "set_callbacks"):
        pytest.skip("scikit-learn before 1.9 has no callbacks")
    for _ in range(2):  # the second fit leaves the attributes of the first until it has ended
        model.set_callbacks(Checkpoint(path, every=0)).fit(COUNTS, LABELS)
        found = kernelmill.load(path)
        np.testing.assert_array_equal(values(found, COUNTS), values(model, COUNTS))
        np.testing.assert_array_equal(found.predict(COUNTS), model.predict(COUNTS))
        assert found.dual_gap_ == model.dual_gap_
