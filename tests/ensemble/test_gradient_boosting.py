"""Gradient boosting: against scikit-learn, theorems, and cases from public bug reports."""

import numpy as np
import pytest
import sklearn.ensemble as peer
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split

import kernelmill
from kernelmill._estimator._targets import hold_out
from kernelmill.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
)
from kernelmill.ensemble._gradient_losses import quantiles_of_groups

LOSSES = ("squared_error", "absolute_error", "huber", "quantile")


def data(n=400, seed=0, classes=None):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype(np.float32).astype(float)  # scikit-learn keeps float32
    y = X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * rng.normal(size=n)
    w = rng.integers(512, 2048, n) / 1024
    return X, y if classes is None else np.digitize(y, classes), w


OPTIONS = ({}, {"max_leaf_nodes": 5, "learning_rate": 0.3}, {"min_samples_leaf": 9, "init": "zero"})


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("loss", "classes"),
    [("squared_error", None), ("log_loss", [0]), ("exponential", [0]), ("log_loss", [-0.5, 0.5])],
)
def test_it_is_scikit_learns_where_the_best_splits_are_unique(loss, classes, weighted, options):
    X, y, w = data(classes=classes)
    name = "GradientBoostingRegressor" if classes is None else "GradientBoostingClassifier"
    options = {"loss": loss, "n_estimators": 12, "random_state": 0, **options}
    ours, theirs = (
        getattr(module, name)(**options).fit(X, y, w if weighted else None)
        for module in (kernelmill.ensemble, peer)
    )
    if classes is None:
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7, atol=1e-9)
        stages = ours.staged_predict(X), theirs.staged_predict(X)
    else:
        got, want = ours.predict_proba(X), theirs.predict_proba(X)
        np.testing.assert_allclose(got, want, atol=1e-9)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        got, want = ours.decision_function(X), theirs.decision_function(X)
        np.testing.assert_allclose(got, want, atol=1e-9)
        stages = ours.staged_predict_proba(X), theirs.staged_predict_proba(X)
    for a, b in zip(*stages, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    np.testing.assert_allclose(ours.train_score_, theirs.train_score_, rtol=1e-9)
    assert ours.estimators_.shape == theirs.estimators_.shape
    assert ours.n_trees_per_iteration_ == theirs.n_trees_per_iteration_
    assert ours.apply(X).shape == theirs.apply(X).shape
    importances = theirs.feature_importances_
    np.testing.assert_allclose(ours.feature_importances_, importances, atol=0.02)
    tree = ours.estimators_[3, 0]
    np.testing.assert_allclose(tree.predict(X), theirs.estimators_[3, 0].predict(X), atol=1e-9)


@pytest.mark.parametrize(
    ("loss", "classes"),
    [("squared_error", None), ("log_loss", [0]), ("exponential", [0]), ("log_loss", [-0.5, 0.5])],
)
def test_rows_of_several_blocks(loss, classes):
    X, y, w = data(2 * 2**14 + 77, classes=classes)
    name = "GradientBoostingRegressor" if classes is None else "GradientBoostingClassifier"
    ours, theirs = (
        getattr(module, name)(loss=loss, n_estimators=2, max_depth=2).fit(X, y, w)
        for module in (kernelmill.ensemble, peer)
    )
    np.testing.assert_allclose(ours.train_score_, theirs.train_score_, rtol=1e-12)
    raw = (lambda m: m.predict(X)) if classes is None else (lambda m: m.decision_function(X))
    np.testing.assert_allclose(raw(ours), raw(theirs), rtol=1e-9, atol=1e-12)
    narrow = clone(ours).fit(X.astype(np.float32), y, w)  # w and X are exact there
    np.testing.assert_array_equal(raw(narrow), raw(ours))
    np.testing.assert_array_equal(narrow.train_score_, ours.train_score_)


@pytest.mark.parametrize("loss", LOSSES)
def test_scores_are_mean_losses(loss):
    X, y, w = data(2**14 + 300)
    model = GradientBoostingRegressor(loss=loss, n_estimators=2, subsample=0.5, random_state=0)
    raw, seen = [], []

    def monitor(stage, model, state):
        raw.append(state["raw_predictions"][:, 0].copy())
        seen.append(state["sample_weight"] > 0)

    model.fit(X, y, w, monitor=monitor)
    before = np.full(len(X), quantiles_of_groups(y, w, np.zeros(len(X), np.int64), 1, 0.5)[0])
    if loss == "squared_error":
        before[:] = np.average(y, weights=w)
    elif loss == "quantile":
        before[:] = quantiles_of_groups(y, w, np.zeros(len(X), np.int64), 1, 0.9)[0]
    for stage, (after, inside) in enumerate(zip(raw, seen, strict=True)):
        off = np.abs(y - before)[inside]
        (bend,) = quantiles_of_groups(off, w[inside], np.zeros(len(off), np.int64), 1, 0.9)

        def mean(f, rows, bend=bend):
            off = y[rows] - f[rows]
            far = np.abs(off)
            each = {
                "squared_error": off**2,
                "absolute_error": far,
                "quantile": np.where(off > 0, 0.9 * off, -0.1 * off),
                "huber": np.where(far <= bend, off**2 / 2, bend * (far - bend / 2)),
            }
            return np.average(each[loss], weights=w[rows])

        was, now = mean(before, ~inside), mean(after, ~inside)
        np.testing.assert_allclose(model.train_score_[stage], mean(after, inside), rtol=1e-12)
        np.testing.assert_allclose(model.oob_scores_[stage], now, rtol=1e-12)
        np.testing.assert_allclose(model.oob_improvement_[stage], was - now, rtol=1e-9)
        before = after


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_of_regression_fall(loss):
    X, y, w = data()
    ours = GradientBoostingRegressor(loss=loss, n_estimators=60, random_state=0).fit(X, y, w)
    theirs = peer.GradientBoostingRegressor(loss=loss, n_estimators=60, random_state=0)
    theirs.fit(X, y, w)
    assert ours.train_score_[-1] < 1.05 * theirs.train_score_[-1]
    if loss != "huber":  # whose scale moves
        assert (np.diff(ours.train_score_) <= 1e-12).all()
    below = (y <= ours.predict(X)) @ w / w.sum()
    if loss == "quantile":
        assert below == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("loss", LOSSES)
def test_units_and_offsets(loss):
    X, y, _ = data()
    model = GradientBoostingRegressor(loss=loss, n_estimators=8, random_state=0)
    want = clone(model).fit(X, y).predict(X)
    small = clone(model).fit(X, y * 2.0**-40).predict(X)
    np.testing.assert_allclose(small, want * 2.0**-40, rtol=1e-9)
    moved = clone(model).fit(X, y + 64).predict(X)
    np.testing.assert_allclose(moved, want + 64, rtol=1e-6)
    np.testing.assert_array_equal(clone(model).fit(X * 2.0**30, y).predict(X * 2.0**30), want)


@pytest.mark.parametrize("loss", [*LOSSES, "log_loss", "exponential"])
def test_weights_are_repetitions_and_may_be_small(loss):
    X, y, _ = data(120)
    w = np.random.default_rng(1).integers(0, 3, len(X))
    if loss in LOSSES:
        model = GradientBoostingRegressor(loss=loss, n_estimators=6, random_state=0)
    else:
        model, y = GradientBoostingClassifier(loss=loss, n_estimators=6, random_state=0), y > 0
    raw = lambda m: m.predict_proba(X) if loss not in LOSSES else m.predict(X)  # noqa: E731
    weighted = raw(clone(model).fit(X, y, w))
    repeated = raw(clone(model).fit(np.repeat(X, w, axis=0), np.repeat(y, w)))
    np.testing.assert_allclose(weighted, repeated, rtol=1e-7)
    for factor in (1e-4, 1e-9, 1e-200):
        np.testing.assert_allclose(weighted, raw(clone(model).fit(X, y, w * factor)), rtol=1e-7)


@pytest.mark.filterwarnings("error")
def test_a_class_without_weight():
    X, y, _ = data(classes=[-0.5, 0.5])
    model = GradientBoostingClassifier(n_estimators=20).fit(X, y, y != 1)
    found = model.predict_proba(X)
    assert found.shape == (400, 3)
    assert found[:, 1].max() < 1e-12
    assert model.score(X[y != 1], y[y != 1]) > 0.95
    two = GradientBoostingClassifier(n_estimators=20, init="zero").fit(X, y, y != 1)
    assert two.score(X[y != 1], y[y != 1]) > 0.95


def test_weights_that_vanish_beside_others():
    X, y, _ = data(40)
    w = np.full(40, 1e-320)
    w[:8] = 1e10
    found = [
        GradientBoostingRegressor(n_estimators=3, subsample=0.5, random_state=0).fit(*own)
        for own in ((X, y, w), (X[:8], y[:8]))
    ]
    np.testing.assert_array_equal(found[0].oob_scores_, found[1].oob_scores_)
    np.testing.assert_array_equal(found[0].predict(X), found[1].predict(X))


def test_weighted_quantiles_minimise_their_loss():
    rng = np.random.default_rng(0)
    one = lambda y, w, q: quantiles_of_groups(  # noqa: E731
        np.array(y, float), np.array(w, float), np.zeros(len(y), int), 1, q
    )[0]
    assert one([0, 10], [1, 3], 0.5) == 10
    assert one([1, 2, 3], [1, 1, 10], 0.9) == 3
    assert one([0, 10], [1, 1], 0.5) == 5  # the middle of all that minimise it
    for _ in range(200):
        n, q = int(rng.integers(1, 9)), rng.uniform(0.05, 0.95)
        y, w = rng.integers(0, 6, n), rng.integers(1, 5, n)
        value = one(y, w, q)
        assert y.min() <= value <= y.max()

        def cost(c, y=y, w=w, q=q):
            return w @ np.where(y > c, q * (y - c), (q - 1) * (y - c))

        assert cost(value) <= min(cost(c) for c in y) + 1e-12
    constant = np.zeros((2, 1))
    model = GradientBoostingRegressor(loss="absolute_error").fit(constant, [0, 10], [1, 3])
    np.testing.assert_array_equal(model.predict(constant), [10, 10])


@pytest.mark.parametrize("patience", [10, 100])
def test_the_best_stage_is_kept(patience):
    X, y, w = data(300)
    noisy = y + 2 * np.random.default_rng(3).normal(size=len(y))
    whole = GradientBoostingRegressor(n_estimators=150, learning_rate=0.3, random_state=0)
    model = clone(whole).set_params(n_iter_no_change=patience, tol=0.0).fit(X, noisy, w)
    train, held = hold_out(model, noisy, len(X), model._seed)
    whole.fit(X[train], noisy[train], w[train])
    losses = [
        np.average((noisy[held] - p) ** 2, weights=w[held]) for p in whole.staged_predict(X[held])
    ]
    best = int(np.argmin(losses)) + 1
    assert model.n_estimators_ == len(model.train_score_) == best
    assert 5 < best < 60
    *_, last = model.staged_predict(X)
    np.testing.assert_allclose(model.predict(X), last, rtol=1e-9)
    np.testing.assert_allclose(last, [*whole.staged_predict(X)][best - 1], rtol=1e-12)


def test_a_gain_below_the_tolerance_does_not_count():
    X, y, _ = data(300)
    model = GradientBoostingRegressor(n_estimators=40, n_iter_no_change=3, random_state=0)
    assert model.set_params(tol=0.0).fit(X, y).n_estimators_ > 4
    assert model.set_params(tol=1.0).fit(X, y).n_estimators_ <= 4


def test_pruning_of_each_tree():
    X, y, _ = data()
    model = GradientBoostingRegressor(n_estimators=4, random_state=0)
    leaves = [
        [tree.get_n_leaves() for tree in clone(model).set_params(ccp_alpha=a).fit(X, y)[:, 0]]
        for a in (0.0, 0.05, 1e9)
    ]
    assert sum(leaves[0]) > sum(leaves[1]) > 4
    assert leaves[2] == [1] * 4


def test_subsamples_and_steps():
    X, y, _ = data()
    model = GradientBoostingRegressor(n_estimators=30, subsample=0.5, random_state=0).fit(X, y)
    assert model.oob_improvement_.shape == model.oob_scores_.shape == (30,)
    assert model.oob_score_ == model.oob_scores_[-1]
    assert model.oob_improvement_[0] > 0
    steps = GradientBoostingRegressor(
        n_estimators=4, subsample=0.5, warm_start=True, random_state=0
    )
    for count in (4, 11, 30):
        steps.set_params(n_estimators=count).fit(X, y)
    np.testing.assert_allclose(steps.predict(X), model.predict(X), rtol=1e-12)
    assert len(steps.train_score_) == 30
    options = {"min_samples_leaf": 4, "warm_start": True, "random_state": 0}
    whole = GradientBoostingRegressor(n_estimators=3, **options)
    whole.fit(X, y).set_params(n_estimators=5, subsample=0.5).fit(X, y)
    assert whole.oob_improvement_[:3].tolist() == whole.oob_scores_[:3].tolist() == [0.0] * 3
    assert (whole.oob_scores_[3:] > 0).all()
    assert whole.estimators_[0, 0].min_samples_leaf == 4
    with pytest.raises(ValueError, match="n_estimators must be at least 30"):
        steps.set_params(n_estimators=3).fit(X, y)


@pytest.mark.parametrize("targets", [lambda y: y + 5, lambda y: y % 2, lambda y: y.astype(str)])
def test_steps_refuse_other_classes(targets):
    X, y, _ = data(classes=[-0.5, 0.5])
    model = GradientBoostingClassifier(n_estimators=3, warm_start=True, random_state=0).fit(X, y)
    want = model.predict(X)
    with pytest.raises(ValueError, match="y must have the outputs and classes of the last fit"):
        model.set_params(n_estimators=5).fit(X, targets(y))
    np.testing.assert_array_equal(model.predict(X), want)


def test_init_estimators():
    X, y, w = data()
    model = GradientBoostingRegressor(init=LinearRegression(), n_estimators=5).fit(X, y, w)
    theirs = peer.GradientBoostingRegressor(
        init=LinearRegression(), n_estimators=5, random_state=0
    ).fit(X, y, w)
    # scikit-learn predicts with `init` from rows of float32, once it is fitted.
    np.testing.assert_allclose(model.predict(X), theirs.predict(X), atol=1e-5)
    for loss, classes in (("log_loss", [0]), ("exponential", [0]), ("log_loss", [-0.5, 0.5])):
        X, y, _ = data(classes=classes)
        options = {"loss": loss, "init": LogisticRegression(), "n_estimators": 5}
        ours = GradientBoostingClassifier(**options).fit(X, y)
        other = peer.GradientBoostingClassifier(**options, random_state=0).fit(X, y)
        np.testing.assert_allclose(ours.predict_proba(X), other.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("loss", ["log_loss", "exponential"])
def test_probabilities_next_to_0_keep_their_digits(loss):
    """Shares of 0 and 1 of a forest begin at odds of 2^52; one less the other has no digits."""
    X, y, _ = data(classes=[0])
    forest = RandomForestClassifier(3, random_state=0)
    model = GradientBoostingClassifier(loss=loss, init=forest, n_estimators=2).fit(X, y)
    odds = model.decision_function(X) * (2 if loss == "exponential" else 1)
    assert (odds > 36).any()
    want = -np.logaddexp(0, np.stack([odds, -odds], axis=1))
    np.testing.assert_allclose(model.predict_log_proba(X), want, rtol=1e-13)
    np.testing.assert_allclose(model.predict_proba(X), np.exp(want), rtol=1e-13)


def test_threads_files_and_quality(tmp_path):
    X, y = load_breast_cancer(return_X_y=True)
    A, B, a, b = train_test_split(X, y, random_state=0)
    model = GradientBoostingClassifier(n_estimators=40, subsample=0.7, random_state=0)
    results = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            results.append(clone(model).fit(A, a).predict_proba(B))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    assert model.fit(A, a).score(B, b) > 0.94
    kernelmill.save(model, tmp_path / "model.km")
    loaded = kernelmill.load(tmp_path / "model.km")
    np.testing.assert_array_equal(loaded.predict_proba(B), results[0])


@pytest.mark.parametrize(
    ("model", "y", "message"),
    [
        (GradientBoostingRegressor(subsample=0.0), None, r"subsample must be a number in \(0, 1\]"),
        (GradientBoostingRegressor(alpha=1.0), None, r"alpha must be a number in \(0, 1\)"),
        (GradientBoostingRegressor(loss="log_loss"), None, "loss must be one of"),
        (GradientBoostingClassifier(loss="exponential"), [-1, 1], "loss='exponential' must have 2"),
        (GradientBoostingClassifier(), [9], "y must hold at least 2 classes"),
    ],
)
def test_errors(model, y, message):
    X, targets, _ = data(classes=y)
    with pytest.raises(ValueError, match=f"^{type(model).__name__}: {message}"):
        model.fit(X, targets)


def test_a_monitor_sees_each_stage_and_stops():
    X, y, _ = data(classes=[0])
    seen = []

    def monitor(stage, model, state):
        assert len(model.estimators_) == model.n_estimators_ == stage + 1
        np.testing.assert_allclose(model._raw(state["X"]), state["raw_predictions"], rtol=1e-12)
        seen.append(stage)
        return stage == 4

    model = GradientBoostingClassifier(n_estimators=9).fit(X, y, monitor=monitor)
    assert seen == [0, 1, 2, 3, 4]
    short = GradientBoostingClassifier(n_estimators=5).fit(X, y)
    assert np.array_equal(model.predict_proba(X), short.predict_proba(X))
    theirs = peer.GradientBoostingClassifier(n_estimators=9)
    assert len(theirs.fit(X, y, monitor=lambda stage, *_: stage == 4).estimators_) == 5


@pytest.mark.parametrize("init", [None, "zero", LogisticRegression()])
def test_contributions_add_up(init):
    for classes in ([0], [-0.5, 0.5]):
        X, y, w = data(classes=classes)
        model = GradientBoostingClassifier(n_estimators=7, init=init, subsample=0.8, random_state=0)
        phi = model.fit(X, y, w).predict_contributions(X)
        raw = model.decision_function(X)
        assert phi.shape == (400, 6, *raw.shape[1:])
        np.testing.assert_allclose(phi.sum(axis=1), raw, atol=1e-12)
        trees = model.estimators_[:, 0]
        own = sum(tree.predict_contributions(X) for tree in trees) * model.learning_rate
        first = phi if phi.ndim == 2 else phi[:, :, 0]
        np.testing.assert_allclose(first[:, :-1], own[:, :-1], atol=1e-12)


def test_what_is_wrong_with_the_init_is_said():
    from sklearn.svm import NuSVR

    X = np.arange(20.0)[:, None]
    with pytest.raises(ValueError, match="'nu' parameter of NuSVR"):
        GradientBoostingRegressor(init=NuSVR(nu=1.5)).fit(X, X[:, 0])


def test_held_rows_with_all_of_a_class_are_refused():
    model = GradientBoostingClassifier(n_iter_no_change=5, validation_fraction=0.8, random_state=0)
    with pytest.raises(ValueError, match="leaves 1 of 2 classes"):
        model.fit(np.ones((10, 1)), [0, 0] + 8 * [1])


def test_too_few_rows_to_validate_with_are_refused():
    X = np.arange(10.0)[:, None]
    few = "validation_fraction must leave at least 2 rows.*set n_iter_no_change=None"
    with pytest.raises(ValueError, match=f"^GradientBoostingRegressor: {few}"):
        GradientBoostingRegressor(n_iter_no_change=2).fit(X, X[:, 0])
    with pytest.raises(ValueError, match=r"^GradientBoostingClassifier: y must hold two rows of"):
        GradientBoostingClassifier(n_iter_no_change=2, validation_fraction=0.3).fit(X, X[:, 0] > 8)
