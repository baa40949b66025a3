"""SGDClassifier and SGDRegressor against scikit-learn and against exact solutions."""

import itertools

import numpy as np
import pytest
from sklearn import linear_model as sk
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.preprocessing import StandardScaler

from kernelmill.linear_model import (
    PassiveAggressiveClassifier,
    PassiveAggressiveRegressor,
    SGDClassifier,
    SGDRegressor,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
REGRESSION = ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")
LOSSES = ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", *REGRESSION)


def blobs(n=150, d=4, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    return rng.normal(size=(n, d)) + 2 * rng.normal(size=(k, d))[y], y


def compared(ours, theirs, X, y, **more):
    a, b = ours.fit(X, y, **more), theirs.fit(X, y, **more)
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(a.intercept_, b.intercept_, rtol=1e-8, atol=1e-10)
    assert (a.n_iter_, a.t_) == (b.n_iter_, b.t_)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("k", [2, 3])
def test_the_steps_of_classifiers_are_scikit_learns(loss, k):
    X, y = blobs(k=k)
    for rate, average in itertools.product(("constant", "invscaling", "adaptive"), (False, 40)):
        options = {"loss": loss, "learning_rate": rate, "average": average, "shuffle": False,
                   "max_iter": 40, "eta0": 0.01}  # fmt: skip
        compared(SGDClassifier(**options), sk.SGDClassifier(**options), X, y)
    # The first rates of "optimal" are near 10: with a penalty rounding grows without bound.
    options = {"loss": loss, "penalty": None, "shuffle": False, "max_iter": 3, "tol": None}
    if loss not in REGRESSION:
        compared(SGDClassifier(**options), sk.SGDClassifier(**options), X, y)


@pytest.mark.parametrize("loss", REGRESSION)
def test_the_steps_of_regressors_are_scikit_learns(loss):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(150, 5))
    y = X @ rng.normal(size=5) + rng.standard_t(3, 150)
    weight = rng.uniform(0, 2, 150)
    rates = ("constant", "invscaling", "adaptive", "optimal")
    rates = rates[: 4 if loss == "epsilon_insensitive" else 3]  # its first rates are too long
    for rate, penalty in itertools.product(rates, (None, "l2", "l1", "elasticnet")):
        options = {"loss": loss, "learning_rate": rate, "penalty": penalty, "shuffle": False,
                   "max_iter": 5, "tol": None, "alpha": 0.01, "epsilon": 0.3}  # fmt: skip
        ours, theirs = SGDRegressor(**options), sk.SGDRegressor(**options)
        compared(ours, theirs, X, y, sample_weight=weight)
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")
@pytest.mark.parametrize("squared", ["", "squared_"])
def test_passive_aggressive_steps(squared):
    X, y = blobs(k=3)
    options = {"shuffle": False, "max_iter": 7, "tol": None, "average": 20}
    rate = {"eta0": 0.3, "learning_rate": "pa2" if squared else "pa1", "penalty": None}
    pairs = (
        (SGDClassifier(**options, **rate), sk.SGDClassifier(**options, **rate)),
        (PassiveAggressiveClassifier(loss=f"{squared}hinge", C=0.3, **options),) * 2,
    )
    for k in (2, 3):
        for ours, theirs in pairs:
            if ours is theirs:
                theirs = sk.PassiveAggressiveClassifier(**ours.get_params())
            compared(ours, theirs, X, y % k)
    loss = {"loss": "epsilon_insensitive", "epsilon": 0.2}
    compared(
        SGDRegressor(**options, **rate, **loss), sk.SGDRegressor(**options, **rate, **loss), X, y
    )
    loss = {"loss": f"{squared}epsilon_insensitive", "epsilon": 0.2, "C": 0.3}
    ours = PassiveAggressiveRegressor(**options, **loss)
    compared(ours, sk.PassiveAggressiveRegressor(**options, **loss), X, y)
    with pytest.raises(ValueError, match="loss must be 'hinge' for learning_rate='pa1'"):
        SGDClassifier(loss="log_loss", learning_rate="pa1").fit(X, y)


def test_a_passive_aggressive_step_goes_as_far_as_its_row_asks():
    """One row, by hand: Crammer et al. (2006), equations of PA-I and PA-II."""
    row, options = np.array([[3.0, 4.0], [0.0, 0.0]]), {"fit_intercept": False, "average": False}
    for loss, length in (("hinge", 1 / 25), ("squared_hinge", 1 / (25 + 1 / (2 * 0.3)))):
        model = PassiveAggressiveClassifier(loss=loss, C=0.3, **options)
        model.partial_fit(row[:1], [1], classes=[0, 1])
        np.testing.assert_allclose(model.coef_, length * row[:1], rtol=1e-12)
    small = PassiveAggressiveClassifier(C=0.01, **options).partial_fit(row[:1], [1], classes=[0, 1])
    np.testing.assert_allclose(small.coef_, 0.01 * row[:1], rtol=1e-12)
    model = PassiveAggressiveRegressor(epsilon=0.5, **options).partial_fit(row[:1], [-2.0])
    np.testing.assert_allclose(model.coef_, -1.5 / 25 * row[0], rtol=1e-12)
    with pytest.raises(ValueError, match="PassiveAggressiveRegressor: C must be a number above 0"):
        PassiveAggressiveRegressor(C=0.0).fit(row, [1, 2])


def test_probabilities_are_scikit_learns():
    for k, loss in itertools.product((2, 3), ("log_loss", "modified_huber")):
        X, y = blobs(k=k)
        options = {"loss": loss, "shuffle": False, "learning_rate": "constant", "eta0": 0.01}
        ours, theirs = (m(**options).fit(X, y) for m in (SGDClassifier, sk.SGDClassifier))
        X[0] = -100
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-8)
        if k == 2 and loss == "log_loss":  # one less a share near 1 has no digits
            odds = ours.decision_function(1000 * X)
            assert odds.min() < -40
            assert odds.max() > 40
            want = np.exp(-np.logaddexp(0, np.stack([odds, -odds], axis=1)))
            np.testing.assert_allclose(ours.predict_proba(1000 * X), want, rtol=1e-12)
    with pytest.raises(AttributeError):
        _ = SGDClassifier().predict_proba


def test_the_solution_is_approached():
    """Averaged steps reach the least of the objective: Polyak and Juditsky (1992)."""
    X, y = load_diabetes(return_X_y=True)
    X, y = StandardScaler().fit_transform(X), (y - y.mean()) / y.std()
    model = SGDRegressor(alpha=0.1, average=1000, random_state=0, tol=None, max_iter=1000,
                         learning_rate="constant", eta0=1e-3).fit(X, y)  # fmt: skip
    exact = np.linalg.solve(X.T @ X / len(y) + 0.1 * np.eye(10), X.T @ y / len(y))
    np.testing.assert_allclose(model.coef_, exact, atol=0.02)
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = SGDClassifier(loss="log_loss", alpha=0.01, average=1000, random_state=0, tol=None,
                          max_iter=1000, learning_rate="constant", eta0=1e-2).fit(X, y)  # fmt: skip
    exact = sk.LogisticRegression(C=1 / (0.01 * len(y)), tol=1e-8, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=0.02)


def test_an_l1_penalty_gives_zeros_and_their_mean_is_sparse_too():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(400, 30))
    y = X[:, 0] - 2 * X[:, 1] + 0.1 * rng.normal(size=400)
    model = SGDRegressor(penalty="l1", alpha=0.1, random_state=0).fit(X, y)
    assert 2 <= (model.coef_ != 0).sum() < 8
    assert model.sparsify().coef_.nnz < 8
    np.testing.assert_allclose(model.predict(X), model.densify().predict(X), rtol=1e-12)


def test_averages_go_on_in_partial_fit_and_begin_late():
    X, y = blobs()
    options = {"average": 200, "shuffle": False, "tol": None, "eta0": 0.01,
               "learning_rate": "constant"}  # fmt: skip
    parts = SGDClassifier(**options)
    whole = SGDClassifier(**options, max_iter=4).fit(X, y)
    for turn in range(4):
        parts.partial_fit(X, y, classes=[0, 1, 2])
        plain = SGDClassifier(**{**options, "average": False}, max_iter=turn + 1).fit(X, y)
        assert np.array_equal(plain.coef_, parts.coef_) == (turn == 0)
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-12)
    np.testing.assert_allclose(parts.intercept_, whole.intercept_, rtol=1e-12)


@pytest.mark.parametrize("loss", ["hinge", "log_loss"])
def test_averages_of_several_classes_begin_after_ten_rows_in_all(loss):
    """scikit-learn/scikit-learn#5246, scikit-learn/scikit-learn#33436"""
    X, labels, classes = np.eye(3), ["a", "b", "c"], ["a", "b", "c", "d"]
    mean, last = (SGDClassifier(loss, average=a, random_state=0) for a in (10, False))
    for turn in range(4):  # of three rows
        for model in (mean, last):
            model.partial_fit(X, labels, classes=classes)
        assert (mean.coef_.shape, mean.intercept_.shape) == ((4, 3), (4,))
        assert np.array_equal(mean.coef_, last.coef_) == (turn < 3)
        still = turn < 3 or loss == "hinge"  # whose intercepts the last three rows leave alone
        assert np.array_equal(mean.intercept_, last.intercept_) == still
        assert mean.predict(X).tolist() == labels
    assert len(np.unique(mean.intercept_)) > 1


def test_columns_of_targets_are_warned_about_and_refused():
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match="SGDRegressor: y must be a vector of numbers, got shape"):
        SGDRegressor().fit(X, X)
    with pytest.raises(ValueError, match=r"alpha must be > 0 for learning_rate='optimal'"):
        SGDClassifier(alpha=0).fit(X, X[:, 0] > 0)
    with pytest.raises(ValueError, match="l1_ratio must be set when penalty is 'elasticnet'"):
        SGDClassifier(penalty="elasticnet", l1_ratio=None).fit(X, X[:, 0] > 0)
    with pytest.raises(ValueError, match=r"SGDRegressor: weights must stay finite, got inf or NaN"):
        SGDRegressor(eta0=1e300).fit(1e5 * X, X[:, 0])
    with pytest.raises(ValueError, match="early_stopping should be False"):
        SGDRegressor(early_stopping=True).partial_fit(X, X[:, 0])
    assert SGDRegressor(early_stopping=True, random_state=0).fit(X, X[:, 0]).n_iter_ < 1000
