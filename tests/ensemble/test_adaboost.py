"""AdaBoost: against scikit-learn, by hand, and cases from public bug reports."""

import tracemalloc
import warnings

import numpy as np
import pytest
import sklearn.ensemble as peer
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier as OtherTree

import kernelmill
from kernelmill.ensemble import AdaBoostClassifier, AdaBoostRegressor
from kernelmill.tree import DecisionTreeClassifier, DecisionTreeRegressor


def single(load):
    X, y = load(return_X_y=True)
    return X.astype(np.float32).astype(float), y  # scikit-learn's trees keep float32


@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_classifier_is_scikit_learns(load, rate):
    X, y = single(load)
    ours = AdaBoostClassifier(n_estimators=20, learning_rate=rate, random_state=0).fit(X, y)
    theirs = peer.AdaBoostClassifier(n_estimators=20, learning_rate=rate, random_state=0).fit(X, y)
    np.testing.assert_allclose(ours.estimator_errors_, theirs.estimator_errors_, rtol=1e-9)
    np.testing.assert_allclose(ours.estimator_weights_, theirs.estimator_weights_, rtol=1e-9)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    got, want = ours.decision_function(X), theirs.decision_function(X)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    own = np.array([member.feature_importances_ for member in ours.estimators_])
    mean = np.average(own, axis=0, weights=ours.estimator_weights_)  # stumps may tie
    np.testing.assert_allclose(ours.feature_importances_, mean, atol=1e-12)
    for a, b in zip(ours.staged_score(X, y), theirs.staged_score(X, y), strict=True):
        assert a == pytest.approx(b)


def test_ties_and_chance():
    x, y = np.arange(4.0)[:, None], np.array([0, 0, 1, 0])
    model = AdaBoostClassifier(n_estimators=2).fit(x, y)
    model.estimator_weights_ = np.ones(2)
    votes = np.stack([member.predict(x) for member in model.estimators_])
    tied = votes[0] != votes[1]
    assert tied.any()
    np.testing.assert_array_equal(model.decision_function(x)[tied], 0.0)
    np.testing.assert_array_equal(model.predict(x)[tied], 0)  # the first of equals
    with pytest.raises(ValueError, match=r"better than chance on X, got an error of 0\.5"):
        AdaBoostClassifier().fit(np.zeros((4, 1)), [0, 1, 0, 1])


def test_trees_over_shared_ranks_are_trees_fitted_alone():
    X, y = single(load_breast_cancer)
    w = np.random.default_rng(0).integers(1, 5, len(X)) / 4
    shared = AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=8)
    alone = AdaBoostClassifier(Subclass(max_depth=2), n_estimators=8)
    for model in (shared, alone):
        model.set_params(random_state=0).fit(X, y, w)
    np.testing.assert_array_equal(shared.predict_proba(X), alone.predict_proba(X))


class Subclass(DecisionTreeClassifier):
    """A tree of the user's own."""


def test_any_estimator():
    X, y = single(load_iris)
    labels = np.array(["a", "b", "c"])[y]
    for base in (LogisticRegression(max_iter=500), OtherTree(max_depth=2)):
        model = AdaBoostClassifier(base, n_estimators=5, random_state=0).fit(X, labels)
        assert model.score(X, labels) > 0.8
        assert len({id(member) for member in model.estimators_}) == len(model.estimators_)
    with pytest.raises(ValueError, match="estimator must take sample_weight"):
        AdaBoostClassifier(KNeighborsClassifier()).fit(X, labels)
    X, y = load_diabetes(return_X_y=True)
    for base in (Ridge(), None):
        assert AdaBoostRegressor(base, n_estimators=9, random_state=0).fit(X, y).score(X, y) > 0.35


@pytest.mark.parametrize(
    ("cls", "member"), [(AdaBoostClassifier, LogisticRegression), (AdaBoostRegressor, Ridge)]
)
def test_a_fit_that_returns_nothing(cls, member):
    """Only what `fit` does to the member counts."""

    class Silent(member):
        def fit(self, X, y, sample_weight=None):
            super().fit(X, y, sample_weight)

    X, y = load_breast_cancer(return_X_y=True)
    X = X[:60, :3]
    model, other = (
        cls(m, n_estimators=3, random_state=0).fit(X, y[:60]) for m in (Silent(), member())
    )
    assert np.array_equal(model.predict(X), other.predict(X))


@pytest.mark.parametrize("depth", [1, 3, 10])
def test_a_large_step(depth):
    """Weights spread over hundreds of orders of magnitude; nothing overflows."""
    X, y = load_iris(return_X_y=True)
    base = DecisionTreeClassifier(max_depth=depth)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = AdaBoostClassifier(base, n_estimators=30, learning_rate=3.0).fit(X, y)
        for values in (model.estimator_weights_, model.estimator_errors_, model.predict_proba(X),
                       model.feature_importances_):  # fmt: skip
            assert np.isfinite(values).all()
        for proba in model.staged_predict_proba(X):
            assert np.isfinite(proba).all()
    if depth == 10:
        assert len(model.estimators_) == 1  # it makes no error
        assert model.score(X, y) == 1.0


def test_weights_are_repetitions_and_zero_weights_are_absent():
    X, y = single(load_iris)
    w = np.random.default_rng(0).integers(0, 3, len(X))
    model = AdaBoostClassifier(n_estimators=6, random_state=0)
    weighted = clone(model).fit(X, y, w)
    repeated = clone(model).fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-9)
    tiny = clone(model).fit(X, y, w * 1e-12)
    np.testing.assert_allclose(weighted.predict_proba(X), tiny.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("loss", ["linear", "square", "exponential"])
def test_regressor(loss):
    X, y = load_diabetes(return_X_y=True)
    model = AdaBoostRegressor(n_estimators=25, loss=loss, random_state=0).fit(X, y)
    theirs = peer.AdaBoostRegressor(n_estimators=25, loss=loss, random_state=0).fit(X, y)
    assert model.score(X, y) > theirs.score(X, y) - 0.05
    found = np.stack([member.predict(X) for member in model.estimators_], axis=1)
    weights = model.estimator_weights_
    for i in range(0, len(X), 40):
        order = np.argsort(found[i])
        below = np.cumsum(weights[order])
        want = found[i, order[np.searchsorted(below, below[-1] / 2)]]
        assert model.predict(X[i : i + 1])[0] == want
    *_, last = model.staged_predict(X)
    np.testing.assert_array_equal(last, model.predict(X))
    exact = AdaBoostRegressor(DecisionTreeRegressor(), random_state=0).fit(X[:9], np.arange(9.0))
    assert np.isfinite(exact.predict(X[:9])).all()
    scaled = AdaBoostRegressor(n_estimators=25, loss=loss, random_state=0).fit(X, y * 2.0**-40)
    np.testing.assert_allclose(scaled.predict(X), model.predict(X) * 2.0**-40, rtol=1e-9)


LOSSES = {
    "linear": lambda share: share,
    "square": lambda share: share**2,
    "exponential": lambda share: 1 - np.exp(-share),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_weights_of_members_are_those_of_the_definition(loss, rate):
    X, y = load_diabetes(return_X_y=True)
    w = np.random.default_rng(0).integers(1, 5, len(y)) / 4
    model = AdaBoostRegressor(n_estimators=12, learning_rate=rate, loss=loss, random_state=0)
    model.fit(X, y, w)
    assert len(model.estimators_) > 2
    each = zip(model.estimators_, model.estimator_weights_, model.estimator_errors_, strict=True)
    for member, weight, error in each:
        w = w / w.sum()
        off = np.abs(member.predict(X) - y)
        lost = LOSSES[loss](off / off.max())
        assert error == pytest.approx(w @ lost, rel=1e-9)
        b = error / (1 - error)
        assert weight == pytest.approx(-rate * np.log(b), rel=1e-9)
        w = w * b ** (rate * (1 - lost))


def test_members_no_better_than_a_half():
    x = np.zeros((6, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(9):  # the first member is at least a half off, and stays
            model = AdaBoostRegressor(random_state=seed).fit(x, [0, 1] * 3)
            assert len(model.estimators_) == 1
            assert model.estimator_errors_[0] >= 0.5
            assert model.estimator_weights_.tolist() == [1.0]
            assert np.ptp(model.predict(x)) == 0
    X = load_diabetes().data
    noise = np.random.default_rng(0).choice([-1.0, 1.0], len(X))
    model = AdaBoostRegressor(n_estimators=60, random_state=0).fit(X, noise)
    assert 1 < len(model.estimators_) < 60
    assert (model.estimator_errors_ < 0.5).all()


def test_threads_and_files(tmp_path):
    X, y = single(load_breast_cancer)
    model = AdaBoostClassifier(n_estimators=5, random_state=0)
    results = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            results.append(clone(model).fit(X, y).predict_proba(X))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    kernelmill.save(model.fit(X, y), tmp_path / "model.km")
    loaded = kernelmill.load(tmp_path / "model.km")
    np.testing.assert_array_equal(loaded.predict_proba(X), results[0])


def test_errors():
    X, y = load_iris(return_X_y=True)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="learning_rate must be a number above 0"):
        AdaBoostClassifier(learning_rate=0).fit(X, y)
    with pytest.raises(ValueError, match="estimator must be better than chance"):
        AdaBoostClassifier(Worst()).fit(X, rng.integers(0, 2, len(X)))
    with pytest.raises(AttributeError, match="estimator must have feature_importances_"):
        _ = AdaBoostClassifier(LogisticRegression(max_iter=500)).fit(X, y).feature_importances_


class Worst(DecisionTreeClassifier):
    """Predicts the other class."""

    def fit(self, X, y, sample_weight=None, check_input=True):
        return super().fit(X, 1 - y, sample_weight)


@pytest.mark.parametrize("cls", [AdaBoostClassifier, AdaBoostRegressor])
def test_rows_are_not_copied(cls):
    X = np.random.default_rng(0).normal(size=(2000, 100))
    y = (X[:, 0] > 0).astype(int)
    cls(n_estimators=3, random_state=0).fit(X[:50], y[:50])  # imports
    tracemalloc.start()
    cls(n_estimators=3, random_state=0).fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 2
