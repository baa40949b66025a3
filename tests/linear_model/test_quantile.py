"""Quantile regression: the least of the pinball loss, several quantiles, and exact lines."""

import _thread
import threading

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from sklearn import linear_model as sk
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score

import kernelmill
from kernelmill.linear_model import QuantileRegressor, _pinball, _quantile, _vertex


def problem(seed=0, n=120, d=4):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 3
    return X, X @ rng.normal(size=d) + rng.standard_t(2, size=n), rng.uniform(0, 2, n)


def loss(model, X, y, w=None):
    r = y - model.predict(X)
    pinball = np.average(np.maximum(model.quantile * r, (model.quantile - 1) * r), weights=w)
    return pinball + model.alpha * np.abs(model.coef_).sum()


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("alpha", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_it_is_scikit_learns(quantile, alpha, intercept, weighted):
    X, y, w = problem()
    w = w if weighted else None
    given = {"quantile": quantile, "alpha": alpha, "fit_intercept": intercept}
    theirs = sk.QuantileRegressor(**given).fit(X, y, sample_weight=w)
    for rows in (X, scipy.sparse.csr_matrix(X)):
        ours = QuantileRegressor(**given).fit(rows, y, sample_weight=w)
        assert loss(ours, X, y, w) == pytest.approx(loss(theirs, X, y, w), rel=1e-10)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-9)


def test_an_exact_line():
    x = np.random.default_rng(0).normal(size=10_000)
    model = QuantileRegressor(alpha=0.0).fit(x[:, None], 86.4 * x)
    assert model.coef_[0] == pytest.approx(86.4, abs=1e-6)


def test_the_score_of_several_is_the_mean_of_each():
    X, y, w = problem()
    levels = [0.2, 0.6]
    model = QuantileRegressor(quantile=levels, alpha=0.1).fit(X, y)
    each = [r2_score(y, f, sample_weight=w) for f in model.predict(X).T]
    assert model.score(X, y, w) == pytest.approx(np.mean(each))


def test_several_quantiles_do_not_cross():
    X, y = np.arange(8.0)[:, None], [1, 1, 2, 1, 3, 2, 9, 3]
    levels = [0.1, 0.5, 0.9]
    model = QuantileRegressor(quantile=levels, alpha=0.0).fit(X, y)
    ends = model.predict([[0.0], [7.0]])
    assert (np.diff(ends, axis=1) >= -1e-9).all()
    r = np.asarray(y)[:, None] - model.predict(X)
    least = [0.0] * 3
    for i, q in enumerate(levels):
        alone = QuantileRegressor(quantile=q, alpha=0.0).fit(X, y)
        least[i] = loss(alone, X, y)
    got = np.maximum(np.array(levels) * r, (np.array(levels) - 1) * r).mean(0)
    np.testing.assert_allclose(got, least, rtol=1e-9)  # these do not cross by themselves


def test_quantiles_that_would_cross_are_kept_apart():
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(25, 3)), rng.standard_t(1.5, 25)
    levels = [0.8, 0.3, 0.5, 0.6]
    alone = np.column_stack(
        [QuantileRegressor(quantile=q, alpha=0.0).fit(X, y).predict(X) for q in sorted(levels)]
    )
    assert (np.diff(alone, axis=1) < -1e-6).any()
    together = QuantileRegressor(quantile=levels, alpha=0.0).fit(X, y).predict(X)
    assert (np.diff(together[:, np.argsort(levels)], axis=1) >= -1e-8).all()


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_units_do_not_matter(factor):
    X, y, _ = problem()
    plain = QuantileRegressor(alpha=0.0).fit(X, y)
    scaled = QuantileRegressor(alpha=0.0).fit(factor * X, y)
    np.testing.assert_allclose(scaled.coef_ * factor, plain.coef_, rtol=1e-7)
    small = QuantileRegressor(alpha=0.1).fit(X, factor * y)
    np.testing.assert_allclose(small.coef_, factor * QuantileRegressor(alpha=0.1).fit(X, y).coef_,
                               rtol=1e-7, atol=1e-12 * factor)  # fmt: skip


@pytest.mark.parametrize("n", [200, 6000])
def test_an_outlier_and_rows_without_weight_do_not_matter(n):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    y = X @ [1.0, 2, 3] + rng.normal(size=n)
    y[0] = 1e2
    near = QuantileRegressor(alpha=0.0).fit(X, y)
    far = QuantileRegressor(alpha=0.0).fit(X, np.r_[1e10, y[1:]])
    np.testing.assert_allclose(far.coef_, near.coef_, rtol=1e-9)
    rest = QuantileRegressor(alpha=0.0).fit(X[1:], y[1:])
    weight = np.r_[0.0, np.ones(n - 1)]
    for without in (1e300, -1e15):
        found = QuantileRegressor(alpha=0.0).fit(X, np.r_[without, y[1:]], sample_weight=weight)
        np.testing.assert_allclose(found.coef_, rest.coef_, rtol=1e-9)


@pytest.mark.parametrize("quantile", [1e-9, 5e-5, 0.99997])
def test_few_rows_beyond_a_quantile(quantile):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10_000, 2))
    y = X[:, 0] + rng.normal(size=10_000)
    model = QuantileRegressor(quantile=quantile, alpha=0.0).fit(X, y)
    beyond = (y - model.predict(X)) * (1 if quantile > 0.5 else -1) > 1e-9
    assert beyond.sum() <= 10_000 * min(quantile, 1 - quantile)
    assert model.dual_gap_ <= 1e-9 * loss(model, X, y)


@pytest.mark.parametrize("quantile", [0.0, 1.0, -1, 2.0, [0.5, 1.0]])
def test_a_quantile_of_0_or_1_is_refused(quantile):
    with pytest.raises(ValueError, match="quantile must be a number above 0 and below 1"):
        QuantileRegressor(quantile=quantile).fit([[1.0], [2.0]], [1, 2])


def test_ctrl_c_is_seen_while_the_solver_runs(monkeypatch):
    ends, began = threading.Event(), threading.Event()

    def solver(*args, **options):
        assert threading.current_thread() is not threading.main_thread()
        began.set()
        ends.wait(60)

    monkeypatch.setattr(scipy.optimize, "linprog", solver)

    def interrupt():
        began.wait(60)
        _thread.interrupt_main()

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        QuantileRegressor(solver="highs-ds").fit(np.eye(3), np.arange(3.0))
    assert not ends.is_set()
    ends.set()


def test_what_the_solver_raises_is_raised():
    with pytest.raises(TypeError, match="time_limit"):
        QuantileRegressor(solver_options={"time_limit": "soon"}).fit(np.eye(3), np.arange(3.0))


# More rows than the linear program takes: smoothed steps, then the program of the rows near.


def large(seed=0, n=6000, d=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + np.arange(d)
    return X, X @ np.arange(1.0, d + 1) + (0.5 + X[:, 0] ** 2) * rng.standard_t(2, size=n)


@pytest.fixture
def all_at_once(monkeypatch):
    """Fits whose linear program has every row."""

    def fit(*args, **given):
        with monkeypatch.context() as patch:
            patch.setattr(_pinball, "_FREE", (10**9, 30))
            return QuantileRegressor(**given).fit(*args)

    return fit


@pytest.mark.parametrize("quantile", [0.02, 0.5])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_many_rows_give_the_line_of_all(all_at_once, quantile, alpha, intercept, weighted):
    X, y = large()
    w = np.random.default_rng(1).integers(0, 3, len(y)).astype(float) if weighted else None
    given = {"quantile": quantile, "alpha": alpha, "fit_intercept": intercept}
    whole = all_at_once(X, y, w, **given)
    assert whole.n_iter_ > 0
    for rows in (X, scipy.sparse.csr_matrix(X), lambda: iter([X[:2500], X[2500:]])):
        if weighted and callable(rows):
            rows = kernelmill.stream.source(lambda: iter([(X[:99], w[:99]), (X[99:], w[99:])]))
            model = QuantileRegressor(**given).fit(rows, y)
        else:
            model = QuantileRegressor(**given).fit(rows, y, sample_weight=w)
        np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-6, atol=1e-9)
        assert 0 <= model.dual_gap_ <= 2e-9 * loss(whole, X, y, w)
        assert loss(model, X, y, w) <= loss(whole, X, y, w) * (1 + 1e-9)


def test_many_rows_and_quantiles_do_not_cross(all_at_once):
    rng = np.random.default_rng(3)
    X, y = rng.standard_t(2, (5000, 2)), rng.standard_t(1.5, 5000)
    given = {"quantile": [0.6, 0.4, 0.5], "alpha": 0.0}
    model = QuantileRegressor(**given).fit(lambda: iter([X[:3000], X[3000:]]), y)
    found = model.predict(X)[:, [1, 2, 0]]
    assert (np.diff(found, axis=1) >= -1e-7 * np.abs(y).max()).all()
    whole = all_at_once(X, y, **given)
    r, q = y[:, None] - np.stack([model.predict(X), whole.predict(X)]), np.array([0.6, 0.4, 0.5])
    ours, least = np.maximum(q * r, (q - 1) * r).mean(1).sum(1)
    assert ours == pytest.approx(least, rel=1e-8)
    assert model.dual_gap_ >= ours - least - 1e-8 * least


@pytest.mark.parametrize("kind", ["line", "counts", "constant", "two"])
def test_ties_of_many_rows(kind):
    X, y = large(n=9000)
    line = X @ [1.0, 2, 3]
    rng = np.random.default_rng(2)
    y = {
        "line": line, "counts": rng.poisson(1.0, len(y)).astype(float),
        "constant": np.full(len(y), 2.5), "two": (y > 0).astype(float),
    }[kind]  # fmt: skip
    model = QuantileRegressor(quantile=0.5, alpha=0.0).fit(X, y)
    least = loss(model, X, y) - model.dual_gap_
    assert model.dual_gap_ <= 1e-9 * max(least, 1e-3 * np.abs(y).max())
    if kind == "line":
        np.testing.assert_allclose(model.coef_, [1, 2, 3], rtol=1e-9)
    if kind == "constant":
        assert [*model.coef_, model.intercept_] == [0, 0, 0, 2.5]


def test_the_gap_bounds_what_wrong_lines_lose(monkeypatch):
    """A program that is stopped at once leaves a gap that is no smaller than the loss."""
    X, y = large(n=9000)
    least = loss(QuantileRegressor(alpha=0.0).fit(X, y), X, y)
    monkeypatch.setattr(_pinball, "_AT_LEAST", 1e9)
    monkeypatch.setattr(_pinball, "_NEAR", 1e9)
    monkeypatch.setattr(_pinball, "_FAR", 1e9)
    monkeypatch.setattr(_pinball, "MOST_ROUNDS", 1)
    monkeypatch.setattr(_quantile, "MOST_ROUNDS", 1)
    with pytest.warns(ConvergenceWarning, match="left dual_gap_"):
        model = QuantileRegressor(alpha=0.0).fit(X, y)
    lost = loss(model, X, y) - least
    assert lost > 1e-6 * least
    assert model.dual_gap_ >= lost * (1 - 1e-9)


@pytest.mark.parametrize("factor", [1e-120, 1e120])
def test_units_of_many_rows(factor):
    X, y = large()
    plain = QuantileRegressor(alpha=0.0).fit(X, y)
    for rows, targets, power in ((factor * X, y, -1), (X, factor * y, 1)):
        model = QuantileRegressor(alpha=0.0).fit(rows, targets)
        np.testing.assert_allclose(model.coef_ * factor**-power, plain.coef_, rtol=1e-7)


def test_a_stream_of_too_many_features_is_refused(monkeypatch):
    monkeypatch.setattr(_pinball, "MEMMAP_BYTES", 16)
    X, y = large(n=50)
    with pytest.raises(ValueError, match="X must have fewer features where it is a stream, got 3"):
        QuantileRegressor().fit(lambda: iter([X]), y)
    with pytest.raises(ValueError, match="readable more than once"):
        QuantileRegressor().fit(iter([X]), y)


def test_ctrl_c_between_passes_leaves_the_model_as_it_was():
    X, y = large()
    model = QuantileRegressor(alpha=0.0).fit(X[:500], y[:500])
    before, passes = model.coef_, []

    def chunks():
        passes.append(1)
        if len(passes) == 5:
            raise KeyboardInterrupt
        yield X

    with pytest.raises(KeyboardInterrupt):
        model.fit(chunks, y)
    assert model.coef_ is before
    assert len(passes) == 5


def test_threads_do_not_change_the_line():
    X, y = large()
    found = []
    for count in (1, 2, 7):
        with kernelmill.threads(count):
            found.append(QuantileRegressor(alpha=0.1, quantile=0.3).fit(X, y).coef_)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n", "d", "alpha"), [(40, 3, 0.0), (40, 3, 0.05), (6, 9, 0.01)])
def test_vertices_and_the_solver_reach_the_same_loss(n, d, alpha, ties):
    rng = np.random.default_rng(n + ties)
    X, y = rng.normal(size=(n, d)) * 10.0 ** np.arange(d), rng.standard_t(2, size=n)
    if ties:
        X, y = rng.integers(0, 3, (n, d)).astype(float), np.round(y)
    weight = rng.integers(0, 3, n).astype(float)
    weight[0] = 1.0
    for quantile in (0.2, 0.5):
        found = [
            QuantileRegressor(quantile=quantile, alpha=alpha, solver=solver).fit(X, y, weight)
            for solver in ("highs", "highs-ds")
        ]
        losses = [loss(model, X, y, weight) for model in found]
        assert losses[0] <= losses[1] + 1e-9
        assert found[0].dual_gap_ <= 1e-9 * max(losses[0], 1e-3)


@pytest.mark.parametrize(("intercept", "quantile"), [(True, 0.1), (True, 0.5), (False, 0.9)])
def test_nearly_collinear_features(intercept, quantile):
    """Powers from 1 to 2 span the polynomials that Chebyshev's do, at 1e9 times the condition."""
    rng = np.random.default_rng(5)
    along = np.linspace(1, 2, 150)
    X, y = np.vander(along, 10), rng.normal(size=150)
    same = np.polynomial.chebyshev.chebvander(2 * along - 3, 9)
    options = {"quantile": quantile, "alpha": 0.0, "fit_intercept": intercept}
    losses = []
    for Z in (X, same):
        r = y - QuantileRegressor(**options).fit(Z, y).predict(Z)
        losses.append(np.maximum(quantile * r, (quantile - 1) * r).sum())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


def test_a_vertex_is_proved_or_left_to_the_solver():
    A, t, ones = np.array([[1.0], [1.0], [1.0], [1.0]]), np.array([0.0, 1.0, 5.0, 7.0]), np.ones(4)
    c, a, _ = _vertex.least(A, t, 0.5 * ones, 0.5 * ones, np.array([3]), 9, 1e-9)
    assert 1 <= c[0] <= 5
    assert a @ t == 0.5 * np.abs(t - c[0]).sum() == 5.5
    assert a @ A == 0
    assert _vertex.least(A, t, 0.5 * ones, 0.5 * ones, np.array([3]), 1, 1e-9) is None
    singular = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    assert _vertex.least(singular, t[:3], ones[:3], ones[:3], np.array([0, 1]), 9, 1e-9) is None


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("solver", ["highs", "highs-ds"])
def test_coefficients_that_the_penalty_holds_at_zero_are_zeros(solver, sparse):
    for seed in (0, 2, 6):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(200, 20))
        y = X[:, :5] @ rng.uniform(5, 90, 5) + rng.normal(size=200)
        rows = scipy.sparse.csr_matrix(X) if sparse else X
        coef = QuantileRegressor(quantile=0.6, alpha=0.01, solver=solver).fit(rows, y).coef_
        other = QuantileRegressor(quantile=0.6, alpha=0.01, solver="highs-ipm").fit(rows, y).coef_
        np.testing.assert_array_equal(coef != 0, np.abs(other) > 1e-9)
