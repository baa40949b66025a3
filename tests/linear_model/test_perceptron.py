"""Perceptron: its theorem, its peers, and the ways to train it."""

import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn import linear_model as sk
from sklearn.exceptions import ConvergenceWarning

import kernelmill
from kernelmill.linear_model import Perceptron


def blobs(n=200, d=4, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    return rng.normal(size=(n, d)) + 2 * rng.normal(size=(k, d))[y], y


def test_separable_classes_are_separated_within_novikoffs_bound():
    """At most (R / margin)^2 mistakes, each a step: Novikoff (1962)."""
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(300, 5)), rng.normal(size=5)
    distances = X @ w / np.linalg.norm(w)
    X = X[np.abs(distances) > 0.2]
    y = np.sign(X @ w)
    model = Perceptron(fit_intercept=False, tol=None, max_iter=300).fit(X, y)
    assert model.score(X, y) == 1
    bound = (np.linalg.norm(X, axis=1).max() / 0.2) ** 2
    # Each step adds at least the margin to the product with the unit normal.
    assert (model.coef_ @ w).item() / np.linalg.norm(w) <= bound * np.linalg.norm(X, axis=1).max()


@pytest.mark.parametrize("penalty", [None, "l2", "l1", "elasticnet"])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_steps_as_scikit_learn(penalty, k, dtype):
    X, y = blobs(k=k)
    X = X.astype(dtype)
    options = {"penalty": penalty, "alpha": 1e-3, "shuffle": False, "tol": None, "max_iter": 20,
               "class_weight": {0: 0.5, 1: 2.0}, "eta0": 0.5}  # fmt: skip
    weight = np.random.default_rng(1).uniform(0, 2, len(y)).astype(dtype)
    ours = Perceptron(**options).fit(X, y, sample_weight=weight)
    # scikit-learn rounds every step to the dtype of the rows.
    theirs = sk.Perceptron(**options).fit(X.astype(float), y, sample_weight=weight.astype(float))
    rtol = 1e-10 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=rtol)
    assert (ours.t_, ours.n_iter_) == (theirs.t_, theirs.n_iter_) == (20 * len(y) + 1, 20)
    assert ours.coef_.dtype == ours.intercept_.dtype == dtype
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    want = theirs.decision_function(X)
    np.testing.assert_allclose(ours.decision_function(X), want, rtol=1e-4, atol=1e-4)


def test_it_stops_when_scikit_learn_does():
    X, y = blobs(seed=3)
    for tol in (1e-3, 1e-2):
        ours, theirs = (m(shuffle=False, tol=tol).fit(X, y) for m in (Perceptron, sk.Perceptron))
        assert ours.n_iter_ == theirs.n_iter_
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-10)


@pytest.mark.parametrize("penalty", [None, "l2", "l1", "elasticnet"])
def test_dense_rows_csr_rows_and_streams_give_one_model(penalty):
    X, y = blobs(n=300, d=9)
    X[np.random.default_rng(1).random(X.shape) < 0.5] = 0
    options = {"penalty": penalty, "max_iter": 15, "tol": None, "l1_ratio": 0.5}
    dense = Perceptron(**options).fit(X, y)
    csr = Perceptron(**options).fit(scipy.sparse.csr_array(X), y)
    kept = Perceptron(**options).fit(lambda: (X[i : i + 70] for i in range(0, 300, 70)), y)
    # An L1 penalty waits for the next row with the feature: with L2 its size is that of then.
    rtol = 1e-3 if penalty == "elasticnet" else 1e-9
    np.testing.assert_allclose(csr.coef_, dense.coef_, rtol=rtol, atol=rtol)
    np.testing.assert_array_equal(kept.coef_, dense.coef_)
    np.testing.assert_allclose(csr.decision_function(scipy.sparse.csr_array(X)),
                               csr.decision_function(X), rtol=1e-12, atol=1e-12)  # fmt: skip
    assert not hasattr(dense, "predict_proba")


def test_a_large_stream_learns_chunk_by_chunk(monkeypatch):
    from kernelmill._estimator import _rows

    monkeypatch.setattr(_rows, "MEMMAP_BYTES", 100)
    X, y = blobs(n=300)

    def chunks():
        return (X[i : i + 70] for i in range(0, 300, 70))

    weight = np.random.default_rng(1).uniform(0.5, 2, 300)
    options = {"shuffle": False, "max_iter": 50, "tol": 1e-3, "early_stopping": True}
    for sample_weight in (None, weight):
        stream = Perceptron(**options).fit(chunks, y, sample_weight=sample_weight)
        memory = Perceptron(**options).fit(X, y, sample_weight=sample_weight)
        np.testing.assert_allclose(stream.coef_, memory.coef_, rtol=1e-12)
        assert stream.n_iter_ == memory.n_iter_
        np.testing.assert_array_equal(stream.predict(chunks), memory.predict(X))
    assert Perceptron().fit(chunks, y).score(X, y) > 0.8
    for wrong in (y[:-1], np.append(y, 0)):
        with pytest.raises(ValueError, match=r"^Perceptron: y must have one entry for each row"):
            Perceptron().fit(chunks, wrong)


def test_partial_fit_goes_on():
    X, y = blobs()
    whole = Perceptron(shuffle=False, tol=None, max_iter=6, penalty="l2").fit(X, y)
    steps = Perceptron(shuffle=False, tol=None, penalty="l2")
    for _ in range(6):
        steps.partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_allclose(steps.coef_, whole.coef_, rtol=1e-12)
    assert steps.t_ == whole.t_
    steps.coef_[...] = 0  # what the user writes counts
    steps.intercept_[...] = 0
    steps.partial_fit(X, y)
    fresh = Perceptron(shuffle=False, penalty="l2").partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_allclose(steps.coef_, fresh.coef_, rtol=1e-12)
    np.testing.assert_allclose(steps.sparsify().partial_fit(X, y).predict(X), steps.predict(X))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        Perceptron().partial_fit(X, y)
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        steps.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="class_weight must be a dict or None for partial_fit"):
        Perceptron(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="early_stopping should be False with partial_fit"):
        Perceptron(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])


def test_a_saved_model_goes_on(tmp_path):
    X, y = blobs()
    model = Perceptron(max_iter=2, tol=None).fit(X, y)
    kernelmill.save(model, tmp_path / "perceptron.km")
    again = kernelmill.load(tmp_path / "perceptron.km").partial_fit(X, y)
    np.testing.assert_array_equal(again.coef_, model.partial_fit(X, y).coef_)


def test_warm_starts_and_given_starts():
    X, y = blobs()
    first = Perceptron(max_iter=3, tol=None, warm_start=True, shuffle=False).fit(X, y)
    coef, intercept = first.coef_, first.intercept_
    again = Perceptron(max_iter=3, tol=None, shuffle=False)
    again.fit(X, y, coef_init=coef, intercept_init=intercept)
    np.testing.assert_array_equal(first.fit(X, y).coef_, again.coef_)
    with pytest.raises(ValueError, match=r"coef_init must have 12 entries, got 3"):
        again.fit(X, y, coef_init=np.zeros(3))


def test_early_stopping_judges_by_rows_that_are_not_learnt():
    X, y = blobs(n=400)
    model = Perceptron(early_stopping=True, n_iter_no_change=3, random_state=0).fit(X, y)
    assert model.n_iter_ < 100
    assert model.t_ <= 1 + model.n_iter_ * 360
    assert model.score(X, y) > 0.85
    with pytest.raises(ValueError, match="validation_fraction must leave at least 2 rows"):
        Perceptron(early_stopping=True).fit(X[:8], y[:8])


def test_balanced_classes_and_weights_count_as_repetition():
    X, y = blobs(k=2)
    few = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:5]]
    model = Perceptron(class_weight="balanced", shuffle=False, max_iter=5, tol=None)
    factors = np.where(y[few] == 0, len(few) / (2 * (y[few] == 0).sum()), len(few) / 10)
    weighted = Perceptron(shuffle=False, max_iter=5, tol=None)
    weighted.fit(X[few], y[few], sample_weight=factors)
    np.testing.assert_allclose(model.fit(X[few], y[few]).coef_, weighted.coef_, rtol=1e-12)
    # A row of weight zero takes a step of nothing.
    weight = (np.arange(len(y)) % 3 > 0).astype(float)
    without = Perceptron(shuffle=False, max_iter=5, tol=None)
    a = without.fit(X, y, sample_weight=weight).coef_.copy()
    np.testing.assert_array_equal(a, without.fit(X[weight > 0], y[weight > 0]).coef_)


def test_the_same_bits_at_any_thread_count_and_with_reports():
    X, y = blobs(n=500, d=40, k=9)
    fits = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            fits.append(Perceptron(random_state=3).fit(X, y).coef_)
    assert all((fit == fits[0]).all() for fit in fits)
    assert (Perceptron(random_state=3, verbose=1).fit(X, y).coef_ == fits[0]).all()


def test_errors_and_warnings():
    X, y = blobs()
    with pytest.raises(ValueError, match=r"^Perceptron: y must hold at least 2 classes, got 1"):
        Perceptron().fit(X, np.zeros(len(y)))
    with pytest.raises(ValueError, match=r"^Perceptron: y must have one entry for each row of X"):
        Perceptron().fit(X, y[:-1])
    with pytest.raises(ValueError, match=r"^Perceptron: penalty must be one of"):
        Perceptron(penalty="l3").fit(X, y)
    with pytest.warns(ConvergenceWarning, match=r"did not converge in max_iter=2 epochs"):
        Perceptron(max_iter=2).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Perceptron(max_iter=2, tol=None).fit(X, y)
