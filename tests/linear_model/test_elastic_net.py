"""The lasso's family: conditions of the optimum, gaps, and inputs on which others failed."""

import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn import linear_model as sk
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold

from kernelmill import linear_model as km
from kernelmill.linear_model import (
    ElasticNet,
    ElasticNetCV,
    Lasso,
    LassoCV,
    MultiTaskElasticNet,
    MultiTaskElasticNetCV,
    MultiTaskLasso,
    MultiTaskLassoCV,
    Ridge,
    _coordinate,
    _elastic_net,
    enet_path,
    lasso_path,
)

TIGHT = 1e-12


def problem(n=60, d=20, seed=0, outputs=None):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + rng.normal(size=d)
    true = np.where(np.arange(d) < 4, rng.normal(size=d), 0)
    y = X @ true + rng.normal(size=n)
    if outputs is None:
        return X, y
    return X, np.column_stack([y] * outputs) + rng.normal(size=(n, outputs))


@pytest.fixture(params=["products", "working sets"])
def way(request, monkeypatch):
    if request.param == "working sets":
        monkeypatch.setattr(_coordinate, "MOST_PRODUCTS", 0)
        monkeypatch.setattr(_coordinate, "_FIRST", 3)
        monkeypatch.setattr(_coordinate, "_LEAST", 2)
    return request.param


def conditions(model, X, y, w=None):
    """How far the gradient is from the penalty's, in units of alpha."""
    w = np.ones(len(y)) if w is None else np.asarray(w, float)
    rest = w * (y - model.predict(X))
    ratio = getattr(model, "l1_ratio", 1.0)
    slope = X.T @ rest / w.sum() - model.alpha * (1 - ratio) * model.coef_
    limit = model.alpha * ratio
    wrong = np.where(
        model.coef_ != 0, slope - limit * np.sign(model.coef_), np.maximum(np.abs(slope) - limit, 0)
    )
    return np.abs(wrong).max() / model.alpha


@pytest.mark.parametrize("ratio", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_conditions_of_the_optimum(way, ratio, sparse, weighted):
    for n, d in ((60, 20), (30, 80)):
        X, y = problem(n, d)
        X = np.where(np.random.default_rng(1).random(X.shape) < 0.5, X, 0) if sparse else X
        rows = scipy.sparse.csr_matrix(X) if sparse else X
        w = np.random.default_rng(2).uniform(0, 2, n) if weighted else None
        for alpha in (0.01, 0.1, 1.0):
            model = ElasticNet(alpha, l1_ratio=ratio, tol=5e-15, max_iter=10**5)
            model.fit(rows, y, sample_weight=w)
            assert conditions(model, X, y, w) < 1e-5
            centred = y - np.average(y, weights=w)
            assert -1e-12 < model.dual_gap_ <= 1e-14 * np.average(centred**2, weights=w) * 1.01


def test_it_is_scikit_learns(way):
    X, y = problem()
    for kind, options in ((Lasso, {}), (ElasticNet, {"l1_ratio": 0.7})):
        for positive in (False, True):
            for intercept in (False, True):
                given = {"alpha": 0.1, "positive": positive, "fit_intercept": intercept, **options}
                ours = kind(**given, tol=TIGHT).fit(X, y)
                theirs = getattr(sk, kind.__name__)(**given, tol=TIGHT).fit(X, y)
                np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
                assert ours.intercept_ == pytest.approx(theirs.intercept_, abs=1e-4)
                assert not positive or (ours.coef_ >= 0).all()


@pytest.mark.parametrize("ratio", [1.0, 0.4])
def test_several_tasks(way, ratio):
    X, Y = problem(outputs=3)
    options = {"alpha": 0.2, "tol": TIGHT}
    if ratio == 1:
        ours, theirs = MultiTaskLasso(**options).fit(X, Y), sk.MultiTaskLasso(**options).fit(X, Y)
    else:
        options["l1_ratio"] = ratio
        ours = MultiTaskElasticNet(**options).fit(X, Y)
        theirs = sk.MultiTaskElasticNet(**options).fit(X, Y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-4)
    np.testing.assert_array_equal(ours.coef_.any(0), theirs.coef_.any(0))


def test_products_of_features_that_were_used_before_are_given_up(monkeypatch):
    X, y = problem(30, 80)
    want = lasso_path(X, y, alphas=10, tol=TIGHT)[1]
    kept, grow = [], _coordinate.WorkingSets._grow

    def counted(self, chosen):
        grow(self, chosen)
        kept.append((len(self._members), len(chosen)))

    for name, value in (("MOST_PRODUCTS", 0), ("_FIRST", 3), ("_LEAST", 2), ("_MOST_MEMBERS", 9)):
        monkeypatch.setattr(_coordinate, name, value)
    monkeypatch.setattr(_coordinate.WorkingSets, "_grow", counted)
    np.testing.assert_allclose(lasso_path(X, y, alphas=10, tol=TIGHT)[1], want, atol=1e-5)
    assert all(members <= max(9, chosen) for members, chosen in kept)
    assert any(members > 9 for members, _ in kept)


@pytest.mark.parametrize("far", [False, True])
def test_sparse_columns_stay_sparse(way, far, monkeypatch):
    rng = np.random.default_rng(3)
    X = scipy.sparse.random(80, 60, 0.08, format="csr", rng=rng)
    if far:  # a column that would lose its digits about zero
        X = scipy.sparse.hstack([X, 1e6 + rng.normal(size=(80, 1))]).tocsr()
    y = X.toarray()[:, -3:].sum(1) + 0.1 * rng.normal(size=80)
    w = rng.uniform(0.5, 2, 80)
    made, kept = _coordinate.WorkingSets._gather, []
    monkeypatch.setattr(_coordinate.WorkingSets, "_gather", lambda *a: (kept.append(1), made(*a)))
    model = Lasso(0.002, tol=1e-14, max_iter=10**5).fit(X, y, sample_weight=w)
    dense = Lasso(0.002, tol=1e-14, max_iter=10**5).fit(X.toarray(), y, sample_weight=w)
    np.testing.assert_allclose(model.coef_, dense.coef_, atol=1e-6)
    assert far or conditions(model, X.toarray(), y, w) < 1e-5
    kept.clear()
    Lasso(0.002).fit(X, y)
    assert bool(kept) == (far and way == "working sets")


def test_several_outputs_are_several_problems():
    X, Y = problem(outputs=2)
    both = Lasso(0.1).fit(X, Y)
    for t in range(2):
        one = Lasso(0.1).fit(X, Y[:, t])
        np.testing.assert_array_equal(both.coef_[t], one.coef_)
        assert both.dual_gap_[t] == one.dual_gap_
    assert both.sparse_coef_.shape == (2, 20)


def test_what_alpha_multiplies():
    X = np.arange(1.0, 6)[:, None]
    y = 2 * X[:, 0]
    lasso, net = Lasso(1.0).fit(X, y), ElasticNet(1.0).fit(X, y)
    assert (lasso.coef_[0], lasso.intercept_) == (pytest.approx(1.5), pytest.approx(1.5))
    assert (net.coef_[0], net.intercept_) == (pytest.approx(1.4), pytest.approx(1.8))


def test_a_column_of_almost_nothing(way):
    x = np.array([0, 0, 0, 0, 0.015, 0, 0.046, 0, 0.061, 0.062])
    y = np.array([0.008, 0, 0.02, 0.001, 0.006, 0.024, 0.032, 0.001, 0.056, 0.062])
    model = Lasso(alpha=1e-4, tol=1e-10).fit(x[:, None], y)
    assert model.coef_[0] == pytest.approx((np.cov(x, y, bias=True)[0, 1] - 1e-4) / x.var())
    assert Lasso(alpha=1e-4).fit(x[:, None], y).coef_[0] == pytest.approx(0.607018, rel=1e-2)


def test_no_penalty(way):
    X, y = problem()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lasso = Lasso(alpha=0.0, tol=1e-14, max_iter=10**5).fit(X, y)
        net = ElasticNet(alpha=0.1, l1_ratio=0.0, tol=1e-14, max_iter=10**5).fit(X, y)
    np.testing.assert_allclose(lasso.coef_, sk.LinearRegression().fit(X, y).coef_, atol=1e-6)
    np.testing.assert_allclose(net.coef_, Ridge(0.1 * len(y)).fit(X, y).coef_, atol=1e-6)


def test_gaps_without_a_penalty_are_those_of_dense_rows(way, monkeypatch):
    monkeypatch.setattr(_elastic_net, "MOST_PRODUCTS", 0)  # too many features for least squares
    X, y = problem()
    X, w = np.where(X > 1, X, 0), np.random.default_rng(1).uniform(0, 2, len(y))
    options = {"alpha": 0.0, "tol": 0.0, "max_iter": 2}
    gaps = []
    for rows in (X, scipy.sparse.csr_matrix(X)):
        with pytest.warns(ConvergenceWarning):
            gaps.append(Lasso(**options).fit(rows, y, sample_weight=w).dual_gap_)
    assert gaps[1] == pytest.approx(gaps[0], rel=1e-6)


def test_the_first_alpha_of_a_path():
    X, w = np.array([[3.0, 1], [2, 5], [5, 3], [1, 4]]), [10, 1, 10, 1]
    model = ElasticNetCV(cv=2).fit(X, X.sum(1), sample_weight=w)
    assert model.alphas_[0] == pytest.approx(41 / 11)
    at = ElasticNet(model.alphas_[0] * (1 + 1e-9)).fit(X, X.sum(1), sample_weight=w)
    below = ElasticNet(0.999 * model.alphas_[0], tol=1e-12).fit(X, X.sum(1), sample_weight=w)
    assert not at.coef_.any()
    assert below.coef_.any()


def test_a_constant_target(way):
    t = np.linspace(0, 9, 100)
    X = np.column_stack([np.sin(t), np.cos(t)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (ElasticNet(alpha=0.1), Lasso(alpha=0.1), MultiTaskLasso(alpha=0.1)):
            y = np.ones((100, 2)) if isinstance(model, MultiTaskElasticNet) else np.ones(100)
            model.fit(X, y)
            assert not model.coef_.any()
            np.testing.assert_allclose(model.intercept_, 1)
            assert model.dual_gap_ == 0
            assert model.n_iter_ <= 2
        _, coefs, gaps = lasso_path(X, np.zeros(100), alphas=[0.1, 0.1])
        assert not coefs.any()
        assert not gaps.any()


def test_weights_enter_the_products(way):
    X = np.array([[1.0, 2], [2, 1], [3, 5], [4, 3], [6, 6]])
    y, w = np.array([1.0, 2, 2, 4, 5]), [1, 2, 1, 3, 1]
    for precompute in (False, True):
        model = ElasticNet(0.1, precompute=precompute, tol=1e-13).fit(X, y, sample_weight=w)
        np.testing.assert_allclose(model.coef_, [0.972039, -0.186633], atol=2e-5)
        assert model.intercept_ == pytest.approx(0.400773, abs=1e-4)
        assert conditions(model, X, y, w) < 1e-5


def test_the_shape_of_one_coefficient():
    model = Lasso(0.5, fit_intercept=False).fit(np.ones((3, 1)), np.ones(3))
    assert model.coef_.shape == (1,)
    assert model.coef_[0] == pytest.approx(0.5)
    assert model.sparse_coef_.shape == (1, 1)


def test_equal_columns_share_or_not():
    X, y = problem()
    X[:, 1] = X[:, 0]
    net = ElasticNet(0.1, tol=1e-13).fit(X, y)
    assert net.coef_[0] == pytest.approx(net.coef_[1], rel=1e-4)
    assert conditions(Lasso(0.1, tol=1e-13).fit(X, y), X, y) < 1e-5


def test_too_few_sweeps_warn_and_a_warm_start_goes_on():
    X, y = problem(30, 40)
    with pytest.warns(ConvergenceWarning, match="max_iter=1 sweeps"):
        model = Lasso(0.01, max_iter=1, tol=1e-10, warm_start=True).fit(X, y)
    first = model.dual_gap_
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    assert model.dual_gap_ < first
    fresh = Lasso(0.01, tol=1e-10).fit(X, y)
    model.set_params(max_iter=1000).fit(X, y)
    np.testing.assert_allclose(model.coef_, fresh.coef_, atol=1e-3)


def test_a_drawn_order_reaches_the_same_optimum(way):
    X, y = problem(30, 40)
    a = Lasso(0.05, tol=TIGHT, selection="random", random_state=3).fit(X, y)
    np.testing.assert_allclose(a.coef_, Lasso(0.05, tol=TIGHT).fit(X, y).coef_, atol=1e-5)


@pytest.mark.parametrize("positive", [False, True])
def test_paths_are_scikit_learns(way, positive):
    X, y = problem(30, 40)
    X, y = X - X.mean(0), y - y.mean()
    for ours, theirs, options in (
        (lasso_path, sk.lasso_path, {}),
        (enet_path, sk.enet_path, {"l1_ratio": 0.6}),
    ):
        given = {"alphas": 20, "tol": 1e-10, "positive": positive, "eps": 0.1, **options}
        alphas, coefs, gaps, sweeps = ours(X, y, **given, return_n_iter=True)
        want_alphas, want, _ = theirs(X, y, **given)
        np.testing.assert_allclose(alphas, want_alphas)
        np.testing.assert_allclose(coefs, want, atol=1e-4)
        assert gaps.shape == (20,)
        assert len(sweeps) == 20


def test_the_path_of_several_tasks():
    X, Y = problem(outputs=2)
    X, Y = X - X.mean(0), Y - Y.mean(0)
    alphas, coefs, _ = lasso_path(X, Y, alphas=10, tol=1e-10)
    want_alphas, want, _ = sk.lasso_path(X, Y, alphas=10, tol=1e-10)
    np.testing.assert_allclose(alphas, want_alphas)
    np.testing.assert_allclose(coefs, want, atol=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
def test_cross_validation_is_scikit_learns(way, weighted):
    X, y = problem(80, 15)
    w = np.random.default_rng(1).uniform(0.1, 2, 80) if weighted else None
    for kind, options in ((LassoCV, {}), (ElasticNetCV, {"l1_ratio": [0.3, 0.9]})):
        given = {"tol": 1e-10, "cv": 4, "alphas": 15, **options}
        ours = kind(**given).fit(X, y, sample_weight=w)
        theirs = getattr(sk, kind.__name__)(**given).fit(X, y, sample_weight=w)
        assert ours.alpha_ == pytest.approx(theirs.alpha_)
        np.testing.assert_allclose(ours.alphas_, theirs.alphas_)
        np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-4)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
        if "l1_ratio" in options:
            assert ours.l1_ratio_ == theirs.l1_ratio_


def test_cross_validation_of_several_tasks():
    X, Y = problem(outputs=2)
    for kind in (MultiTaskLassoCV, MultiTaskElasticNetCV):
        ours = kind(alphas=8, cv=3, tol=1e-10).fit(X, Y)
        theirs = getattr(sk, kind.__name__)(alphas=8, cv=3, tol=1e-10).fit(X, Y)
        assert ours.alpha_ == pytest.approx(theirs.alpha_)
        np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-4)


def test_folds_that_leave_rows_out():
    X, y = problem(80, 10)
    folds = [(np.arange(0, 40), np.arange(40, 60)), (np.arange(20, 80), np.arange(0, 15))]
    for intercept in (True, False):
        given = {"cv": folds, "alphas": 10, "tol": 1e-10, "fit_intercept": intercept}
        ours, theirs = LassoCV(**given).fit(X, y), sk.LassoCV(**given).fit(X, y)
        np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-4)


def test_bad_penalties_are_refused():
    X, y = problem()
    with pytest.raises(ValueError, match="alphas must be numbers of at least 0"):
        lasso_path(X, y, alphas=[-1.0])
    with pytest.raises(ValueError, match="l1_ratio=0"):
        enet_path(X, y, l1_ratio=0.0)
    for name, value in (("tol", -1), ("max_iter", "a"), ("l1_ratio", 2), ("eps", 0.0)):
        with pytest.raises(ValueError, match=f"^enet_path: {name} must be"):
            enet_path(X, y, **{name: value})
    with pytest.raises(ValueError, match="coef_init must have a coefficient for each of 20 feat"):
        enet_path(X, y, coef_init=np.ones(3))
    with pytest.raises(TypeError, match=r"^lasso_path\(\) got an unexpected keyword.*'normalize'"):
        lasso_path(X, y, normalize=True)
    with pytest.raises(ValueError, match=r"alphas must be a whole number .* of numbers, got"):
        LassoCV(alphas=(1, "1")).fit(X, y)
    with pytest.raises(ValueError, match="mono-task"):
        MultiTaskLasso().fit(X, y)
    with pytest.raises(ValueError, match="multi-task"):
        LassoCV().fit(X, np.column_stack([y, y]))


@pytest.mark.parametrize("model", [ElasticNet, ElasticNetCV, Lasso, LassoCV])
def test_path_is_that_of_the_function(model):
    X, y = problem()
    function = lasso_path if "Lasso" in model.__name__ else enet_path
    for got, expected in zip(model.path(X, y, alphas=5), function(X, y, alphas=5), strict=True):
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("model", [MultiTaskElasticNet, MultiTaskLasso])
def test_sparse_coefficients_of_several_tasks(model):
    X, Y = problem(outputs=2)
    fitted = model(alpha=0.1).fit(X, Y)
    assert np.array_equal(fitted.sparse_coef_.toarray(), fitted.coef_)


@pytest.mark.parametrize("size", [2.0**-664, 2.0**-500])
def test_targets_whose_squares_vanish_are_refused(size):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    y = size * rng.normal(size=30)
    for model in (
        km.Lasso(alpha=0.1 * size), km.LassoCV(), km.Lars(), km.OrthogonalMatchingPursuit(),
        km.RidgeCV(), km.HuberRegressor(), km.BayesianRidge(), km.ARDRegression(),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="y must be large enough to be squared"):
            model.fit(X, y)
    with pytest.raises(ValueError, match="lasso_path: y must be large enough"):
        km.lasso_path(X, y)
    for model in (km.LinearRegression(), km.Ridge(), km.QuantileRegressor(alpha=0.0)):
        found = model.fit(X, y).coef_ / size  # no squares of targets: the law of scale
        np.testing.assert_allclose(found, model.fit(X, y / size).coef_, rtol=1e-12)


def test_the_default_tolerance_leaves_coefficients_near_the_optimum():
    """Blood values of diabetes are all but collinear: a gap of 1e-5 left 7 % of the largest."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    X, y = (X - X.mean(0)) / X.std(0), y - y.mean()
    most = np.abs(X.T @ y).max() / len(y)
    for share in (0.01, 0.001):
        best = Lasso(most * share, tol=1e-14, max_iter=100_000).fit(X, y).coef_
        found = Lasso(most * share).fit(X, y).coef_
        np.testing.assert_allclose(found, best, rtol=0, atol=0.01 * np.abs(best).max())


def test_coefficients_are_as_near_as_the_tolerance_asks():
    """A gap of 1e-8 alone left 0.4 % of the largest; scikit-learn's tests ask for 1e-5."""
    X, y = load_diabetes(return_X_y=True)
    for alpha in (1.0, 0.1, 1e-4):
        best = km.LassoLars(alpha).fit(X, y).coef_
        for order in ("cyclic", "random"):
            found = Lasso(alpha, tol=1e-8, selection=order, random_state=0).fit(X, y).coef_
            np.testing.assert_allclose(found, best, rtol=0, atol=1e-5 * np.abs(best).max())


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_without_an_l1_penalty_it_is_exact(outputs, ratio):
    """Ridge and least squares of rank-deficient rows: a descent takes thousands of sweeps."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(60, 8)) @ np.diag(np.geomspace(1, 1e-4, 8)) @ rng.normal(size=(8, 20))
    Y = X @ rng.normal(size=(20, outputs)) + rng.normal(size=(60, outputs))
    w = rng.uniform(0.1, 3, 60)
    alpha = 1e-7 if ratio == 0 else 0.0
    kind = {"alpha": alpha, "l1_ratio": ratio}
    models = [ElasticNet(**kind)] + ([MultiTaskElasticNet(**kind)] if outputs > 1 else [])
    for model in models:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(X, Y, sample_weight=w)
        x_mean, y_mean = np.average(X, 0, w), np.average(Y, 0, w)
        A, B = np.sqrt(w)[:, None] * (X - x_mean), np.sqrt(w)[:, None] * (Y - y_mean)
        U, s, Vt = np.linalg.svd(A, full_matrices=False)
        s = np.where(s > 1e-10 * s[0], s, 0.0)
        inverse = np.where(s > 0, s / np.where(s > 0, s * s + alpha * w.sum(), 1), 0.0)
        coef = (Vt.T * inverse) @ (U.T @ B)
        np.testing.assert_allclose(model.predict(X).reshape(60, -1), y_mean + (X - x_mean) @ coef,
                                   atol=1e-8)  # fmt: skip
        several = outputs > 1 and model is models[0]
        assert np.shape(model.dual_gap_) == ((outputs,) if several else ())


def test_paths_name_themselves_and_take_older_names():
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20.0)
    assert len(lasso_path(X, y, n_alphas=7)[0]) == len(enet_path(X, y, n_alphas=7)[0]) == 7
    with pytest.raises(ValueError, match=r"^lasso_path: X must"):
        lasso_path(X * np.nan, y)
    with pytest.raises(ValueError, match=r"^enet_path: X must"):
        enet_path(X[:, 0], y)
    with pytest.raises(ValueError, match=r"^lasso_path: alphas must be a whole number"):
        lasso_path(X, y, n_alphas=0)


CHOOSING = [
    (km.LassoCV, 1), (km.ElasticNetCV, 1), (km.MultiTaskLassoCV, 2), (km.RidgeCV, 1),
    (km.RidgeClassifierCV, 0), (km.LogisticRegressionCV, 0),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "targets"), CHOOSING)
@pytest.mark.parametrize("verb", ["train on", "hold out"])
def test_folds_without_weight_are_refused(kind, targets, verb):
    """They have no mean error: NaN was taken for the least."""
    X = np.random.default_rng(0).normal(size=(50, 3))
    y = [(X[:, 0] > 0).astype(int), X[:, 0], X[:, :2]][targets]
    weight = np.ones(50)
    weight[:10] = 0
    weight = weight if verb == "hold out" else 1 - weight
    with pytest.raises(ValueError, match=f"^{kind.__name__}: cv must {verb} rows with weight, got"):
        kind(cv=KFold(5)).fit(X, y, sample_weight=weight)


def test_folds_that_train_on_rows_held_out():
    """As many rows as there are in all, but not each once."""
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:60], y[:60]
    folds = [(np.arange(30), np.arange(30)), (np.arange(30, 60), np.arange(10, 40))]
    given = {"cv": folds, "eps": 0.02, "tol": 1e-8, "max_iter": 100_000}
    ours, theirs = (kind(**given).fit(X, y) for kind in (LassoCV, sk.LassoCV))
    np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-4)


@pytest.mark.parametrize("ratio", ["a", None, {}, [], 1.5, [0.5, -1], [0.5, np.nan]])
def test_shares_of_l1_are_numbers(ratio):
    with pytest.raises(ValueError, match="ElasticNetCV: l1_ratio must be a number between 0 and 1"):
        ElasticNetCV(l1_ratio=ratio).fit(np.eye(9), np.arange(9.0))
