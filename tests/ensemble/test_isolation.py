"""IsolationForest: against the definition of its scores, scikit-learn, and theorems."""

import pickle

import numpy as np
import pytest
import sklearn.ensemble as peer
from scipy.sparse import csr_matrix
from scipy.special import digamma

import kernelmill
from kernelmill.ensemble import IsolationForest


def data(n=600, d=3, outliers=6, seed=0):
    rng = np.random.default_rng(seed)
    return np.vstack([rng.normal(size=(n, d)), rng.uniform(6, 9, (outliers, d))])


def mean_depth(m):
    return 0.0 if m < 2 else 2 * (digamma(m) + np.euler_gamma) - 2 * (m - 1) / m


@pytest.mark.parametrize("bootstrap", [False, True])
def test_scores_are_those_of_the_definition(bootstrap):
    X = data()
    model = IsolationForest(
        n_estimators=7, max_samples=64, bootstrap=bootstrap, max_features=2, random_state=0
    ).fit(X)
    depth = np.zeros(len(X))
    for tree, rows, features in zip(
        model.estimators_, model.estimators_samples_, model.estimators_features_, strict=True
    ):
        assert len(rows) == 64
        assert len(features) == 2
        used = tree.tree_.feature[tree.tree_.feature >= 0]
        assert set(used) <= set(features)
        assert tree.get_depth() <= 6
        leaves = tree.apply(X)
        inside = np.bincount(tree.apply(X[rows]), minlength=tree.tree_.node_count)
        steps = tree.decision_path(X).sum(axis=1).A1 - 1
        depth += steps + np.array([mean_depth(inside[leaf]) for leaf in leaves])
    want = -(2 ** (-depth / 7 / mean_depth(64)))
    np.testing.assert_allclose(model.score_samples(X), want, rtol=1e-12)
    assert model.offset_ == -0.5
    np.testing.assert_allclose(model.decision_function(X), want + 0.5)
    np.testing.assert_array_equal(model.predict(X), np.where(want < -0.5, -1, 1))


def test_outliers_and_scikit_learn():
    X = data()
    ours = IsolationForest(random_state=0, contamination=0.01).fit(X)
    theirs = peer.IsolationForest(random_state=0, contamination=0.01).fit(X)
    assert (ours.predict(X[-6:]) == -1).all()
    assert (ours.predict(X) == -1).mean() == pytest.approx(0.01, abs=0.004)
    assert np.corrcoef(ours.score_samples(X), theirs.score_samples(X))[0, 1] > 0.95
    assert (ours.fit_predict(X) == ours.predict(X)).all()


def test_weights_are_rates():
    X = data()
    weight = np.ones(len(X))
    weight[:300] = 0
    model = IsolationForest(n_estimators=9, random_state=0).fit(X, sample_weight=weight)
    assert all(rows.min() >= 300 for rows in model.estimators_samples_)
    plain = IsolationForest(n_estimators=9, random_state=0).fit(X)
    same = IsolationForest(n_estimators=9, random_state=0).fit(X, sample_weight=np.full(len(X), 3))
    np.testing.assert_array_equal(plain.score_samples(X), same.score_samples(X))


@pytest.mark.parametrize("bootstrap", [False, True])
def test_rows_are_drawn_at_their_rates(bootstrap):
    X = data()
    weight = np.where(np.arange(len(X)) < 303, 9.0, 1.0)
    model = IsolationForest(max_samples=20, bootstrap=bootstrap, random_state=0)
    drawn = np.concatenate(model.fit(X, sample_weight=weight).estimators_samples_)
    assert len(drawn) == 2000
    assert (drawn < 303).mean() == pytest.approx(0.9, abs=0.03)


def test_rows_of_a_tree_and_the_last_inlier():
    X = data(95)
    sizes = [
        IsolationForest(n_estimators=2, max_samples=m).fit(np.vstack([X] * 4)).max_samples_
        for m in ("auto", 0.5, 30)
    ]
    assert sizes == [256, 202, 30]
    model = IsolationForest(contamination=0.01, random_state=0).fit(X)
    # The percentile is the second lowest score, and a row at `offset_` is no outlier.
    assert (model.decision_function(X) == 0).sum() == (model.predict(X) == -1).sum() == 1


def test_steps_threads_sparse_files_and_units(tmp_path):
    X = data()
    model = IsolationForest(n_estimators=70, random_state=0)
    want = model.fit(X).score_samples(X)
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            np.testing.assert_array_equal(model.fit(X).score_samples(X), want)
    steps = IsolationForest(n_estimators=3, warm_start=True, random_state=0).fit(X)
    steps.set_params(n_estimators=70).fit(X)
    np.testing.assert_array_equal(steps.score_samples(X), want)
    with pytest.raises(ValueError, match="n_estimators must be at least 70"):
        steps.set_params(n_estimators=3).fit(X)
    sparse = csr_matrix(X)
    np.testing.assert_array_equal(model.fit(sparse).score_samples(sparse), want)
    big = model.fit(X * 2.0**30).score_samples(X * 2.0**30)
    np.testing.assert_array_equal(big, want)
    kernelmill.save(model.fit(X), tmp_path / "forest.km")
    np.testing.assert_array_equal(kernelmill.load(tmp_path / "forest.km").score_samples(X), want)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).score_samples(X), want)


def test_equal_rows_are_not_separated():
    model = IsolationForest(random_state=0).fit(np.ones((50, 2)))
    assert model.score_samples(np.ones((3, 2))).tolist() == [-0.5] * 3  # nothing is an outlier
    assert model.predict(np.zeros((3, 2))).tolist() == [1] * 3
    alone = IsolationForest(random_state=0).fit([[3.0, 4.0]])
    assert alone.predict([[3.0, 4.0], [0.0, 0.0]]).tolist() == [1, 1]
    gaps = data()
    gaps[::5, 0] = np.nan
    assert np.isfinite(IsolationForest(random_state=0).fit(gaps).score_samples(gaps)).all()


def test_contributions_give_the_scores():
    X = np.vstack([np.random.default_rng(0).normal(size=(300, 3)), [[0, 9.0, 0]]])
    for options in ({}, {"max_features": 2}, {"max_samples": 2}, {"max_samples": 1}):
        model = IsolationForest(n_estimators=20, random_state=0, **options).fit(X)
        phi = model.predict_contributions(X)
        np.testing.assert_allclose(-(2.0 ** -phi.sum(axis=1)), model.score_samples(X), rtol=1e-12)
    model = IsolationForest(random_state=0).fit(X)
    assert model.predict_contributions(X)[-1, :-1].argmin() == 1
