"""SVCCV and SVRCV: the scores of a grid search, and the machine of the best candidate."""

import io
import time

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold

import kernelmill
from kernelmill.svm import SVC, SVCCV, SVR, SVRCV

GRID = {"C": [10.0, 0.1, 1.0], "gamma": [0.03, 0.3]}


def classes(k=3, n=240):
    rng = np.random.default_rng(0)
    y = rng.integers(0, k, n)
    return rng.normal(size=(n, 4)) + 1.2 * np.eye(4)[y], y


@pytest.mark.parametrize(
    ("scoring", "k"),
    [(None, 2), (None, 3), ("balanced_accuracy", 2), ("balanced_accuracy", 3), ("roc_auc", 2)],
)
def test_the_scores_of_a_grid_search(scoring, k):
    X, y = classes(k)
    for given in ({}, {"class_weight": "balanced"}, {"kernel": "laplacian"}):
        for cv in (4, StratifiedKFold(3, shuffle=True, random_state=0)):
            ours = SVCCV(
                Cs=GRID["C"], gammas=GRID["gamma"], cv=cv, scoring=scoring, tol=1e-6, **given
            ).fit(X, y)
            peer = GridSearchCV(SVC(tol=1e-6, **given), GRID, cv=cv, scoring=scoring).fit(X, y)
            for name, want in peer.cv_results_.items():
                if "time" in name:
                    continue
                got = ours.cv_results_[name]
                if name == "params":
                    assert got == want
                elif "rank" in name or "param" in name:
                    np.testing.assert_array_equal(got, np.asarray(want), name)
                else:
                    np.testing.assert_allclose(got, want, atol=1e-9, err_msg=name)
            assert ours.best_params_ == peer.best_params_
            best = peer.best_estimator_
            np.testing.assert_allclose(
                ours.decision_function(X), best.decision_function(X), atol=1e-4
            )


def test_numbers():
    X, y = classes()
    z = np.sin(X[:, 0]) + 0.1 * y
    for made in (X, scipy.sparse.csr_matrix(X)):
        ours = SVRCV(Cs=GRID["C"], gammas=GRID["gamma"], cv=KFold(4), tol=1e-6).fit(made, z)
        peer = GridSearchCV(SVR(tol=1e-6), GRID, cv=KFold(4)).fit(X, z)
        np.testing.assert_allclose(
            ours.cv_results_["mean_test_score"], peer.cv_results_["mean_test_score"], atol=1e-4
        )
        assert peer.best_params_["C"] == ours.C_
        np.testing.assert_allclose(ours.predict(made), peer.predict(X), atol=1e-3)


@pytest.mark.filterwarnings("ignore:R.2 score is not well-defined")
def test_a_search_is_saved_and_refuses_what_it_cannot_use():
    X, y = load_iris(return_X_y=True)
    model = SVCCV(Cs=[1.0], gammas=["scale", "auto"]).fit(X, y)
    assert model.gamma_ in (SVC().fit(X, y)._gamma, 0.25)
    file = io.BytesIO()
    kernelmill.save(model, file)
    file.seek(0)
    np.testing.assert_array_equal(kernelmill.load(file).predict(X), model.predict(X))
    for given in ({"Cs": [0.0]}, {"Cs": []}, {"gammas": ["wide"]}):
        with pytest.raises(ValueError, match=r"^SVCCV: Cs and gammas must be numbers above 0"):
            SVCCV(**given).fit(X, y)
    with pytest.raises(ValueError, match=r"finite scores, got none \(R\^2 needs two rows"):
        SVRCV(cv=KFold(6)).fit(X[:6], np.arange(6.0))
    with pytest.raises(ValueError, match="SVCCV: cv must give at least one split, got none"):
        SVCCV(cv=[]).fit(X, y)
    with pytest.raises(ValueError, match="cv must leave rows of each class"):
        SVCCV(cv=KFold(3)).fit(X, y)


def test_times_are_measured_and_what_is_shared_is_divided():
    X, y = classes()
    for ours, peer, targets in (
        (SVCCV, SVC, y),
        (SVRCV, SVR, X[:, 0]),
    ):
        began = time.perf_counter()
        found = ours(Cs=GRID["C"], gammas=GRID["gamma"], cv=4).fit(X, targets).cv_results_
        whole = time.perf_counter() - began
        want = GridSearchCV(peer(), GRID, cv=4).fit(X, targets).cv_results_
        assert set(found) == set(want)
        for name in want:
            assert np.shape(found[name]) == np.shape(want[name]), name
        total = 4 * (found["mean_fit_time"] + found["mean_score_time"])
        for name in ("fit_time", "score_time"):
            assert (found[f"mean_{name}"] > 0).all()
            assert (found[f"std_{name}"] >= 0).all()
        assert total.sum() <= whole  # nothing is counted twice


def test_a_large_price_gets_a_kernel_of_float64(monkeypatch):
    X, y = np.random.default_rng(0).normal(size=(700, 8)), np.arange(700) % 2
    X[:, 0] += y
    made, gram = [], SVCCV._gram

    def counted(self, whole, dtype):
        made.append(dtype)
        return gram(self, whole, dtype)

    monkeypatch.setattr(SVCCV, "_gram", counted)
    search = SVCCV(Cs=[0.1, 1e4], gammas=[1e-3], cv=2, tol=1e-5).fit(X, y)
    assert made == [np.float32, np.float64]
    for f, (train, test) in enumerate(StratifiedKFold(2).split(X, y)):
        for c, C in enumerate((0.1, 1e4)):  # 350 rows, of which those kernels are float64
            model = SVC(C=C, gamma=1e-3, tol=1e-5).fit(X[train], y[train])
            score = model.score(X[test], y[test])
            assert search.cv_results_[f"split{f}_test_score"][c] == score
