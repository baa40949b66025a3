"""What every linear model keeps: streams, CSR rows, weights, threads, files, bad input."""

import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

import kernelmill
from kernelmill import linear_model as km

MODELS = {
    "LinearRegression": km.LinearRegression(),
    "Ridge": km.Ridge(0.5),
    "RidgeCV": km.RidgeCV(),
    "RidgeClassifier": km.RidgeClassifier(),
    "RidgeClassifierCV": km.RidgeClassifierCV(),
    "Lasso": km.Lasso(0.05, tol=1e-12),
    "ElasticNet": km.ElasticNet(0.05, tol=1e-14),
    "MultiTaskLasso": km.MultiTaskLasso(0.05, tol=1e-12),
    "LogisticRegression": km.LogisticRegression(tol=1e-8),
    "LogisticRegression L1": km.LogisticRegression(C=0.2, l1_ratio=1.0, tol=1e-8),
    "PoissonRegressor": km.PoissonRegressor(alpha=0.01, tol=1e-8),
    "GammaRegressor": km.GammaRegressor(alpha=0.01, tol=1e-8),
    "TweedieRegressor": km.TweedieRegressor(power=1.5, alpha=0.01, tol=1e-8),
    "LogCoshRegressor": km.LogCoshRegressor(tol=1e-8),
    "QuantileRegressor": km.QuantileRegressor(alpha=0.01),
    "HuberRegressor": km.HuberRegressor(tol=1e-9, max_iter=1000),
    "OrthogonalMatchingPursuit": km.OrthogonalMatchingPursuit(n_nonzero_coefs=3),
    "Lars": km.Lars(n_nonzero_coefs=3),
    "LassoLars": km.LassoLars(0.05),
    "BayesianRidge": km.BayesianRidge(),
    "ARDRegression": km.ARDRegression(),
    "BayesianLinearRegression": km.BayesianLinearRegression(),
}
N, D = 240, 6


def problem(name, seed=0, sparse=False):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, D)) + rng.normal(size=D)
    if sparse:
        X = np.where(rng.random((N, D)) < 0.3, X, 0.0)
    score = X @ np.linspace(-1, 1, D) * 0.4
    if "Classifier" in name or "Logistic" in name:
        return X, np.digitize(score + 0.5 * rng.logistic(size=N), [-0.7, 0.4])
    if name in ("PoissonRegressor", "GammaRegressor", "TweedieRegressor"):
        return X, rng.gamma(2.0, np.exp(score - score.mean()) / 2)
    y = score + 0.3 * rng.normal(size=N)
    return X, np.column_stack([y, -y]) if name.startswith("MultiTask") else y


def fit(name, *args, **kwargs):
    from sklearn.base import clone

    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        return clone(MODELS[name]).fit(*args, **kwargs)


def agree(a, b, rtol):
    size = np.abs(b.coef_).max()
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=0, atol=rtol * size)
    spread = rtol * (size + np.abs(b.intercept_).max())
    np.testing.assert_allclose(a.intercept_, b.intercept_, rtol=0, atol=10 * spread)


@pytest.mark.parametrize("name", MODELS)
def test_a_stream_is_the_rows_at_once(name):
    X, y = problem(name)
    chunks = [X[:50], X[50:51], X[51:200], X[200:]]
    agree(fit(name, lambda: iter(chunks), y), fit(name, X, y), 1e-8)


@pytest.mark.parametrize("name", MODELS)
def test_a_weighted_stream_is_the_weighted_rows(name):
    X, y = problem(name)
    w = np.random.default_rng(1).integers(0, 4, N).astype(float)
    chunks = [(X[i : i + 60], w[i : i + 60]) for i in range(0, N, 60)]
    agree(fit(name, lambda: iter(chunks), y), fit(name, X, y, sample_weight=w), 1e-8)


@pytest.mark.parametrize("name", MODELS)
def test_csr_rows_are_dense_rows(name):
    X, y = problem(name, sparse=True)
    w = np.random.default_rng(1).uniform(0, 2, N)
    for weight in (None, w):
        sparse = fit(name, scipy.sparse.csr_matrix(X), y, sample_weight=weight)
        dense = fit(name, X, y, sample_weight=weight)
        agree(sparse, dense, 1e-8)
        np.testing.assert_allclose(
            sparse.predict(scipy.sparse.csr_matrix(X[:9])), dense.predict(X[:9]), rtol=1e-6
        )


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_repetition(name):
    X, y = problem(name)
    w = np.random.default_rng(2).integers(0, 4, N)
    weighted = fit(name, X, y, sample_weight=w.astype(float))
    repeated = fit(name, np.repeat(X, w, 0), np.repeat(y, w, 0))
    agree(weighted, repeated, 1e-8)


@pytest.mark.parametrize("name", MODELS)
def test_rows_of_zero_weight_do_not_matter(name):
    X, y = problem(name)
    w = np.ones(N)
    w[::7] = 0
    kept = w > 0
    spoilt = X.copy()
    spoilt[~kept] *= 1e3
    given = fit(name, spoilt, y, sample_weight=w)
    agree(given, fit(name, X[kept], y[kept]), 1e-7)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_at_any_thread_count(name):
    X, y = problem(name)
    X, y = np.tile(X, (25, 1)), np.tile(y, (25,) + (1,) * (y.ndim - 1))
    found = []
    for count in (1, 2, 7):
        with kernelmill.threads(count):
            model = fit(name, X, y)
        found.append((np.asarray(model.coef_), np.asarray(model.intercept_)))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", MODELS)
def test_float32_rows_give_the_model_of_their_values(name):
    X, y = problem(name)
    X = X.astype(np.float32)
    single, double = fit(name, X, y), fit(name, X.astype(float), y)
    assert single.coef_.dtype == np.float32
    agree(single, double, 1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_an_offset_of_a_million_costs_no_digits(name):
    X, y = problem(name)
    X = np.round(X * 1024) / 1024  # the sum with the offset is exact
    moved, plain = fit(name, X + 2.0**20, y), fit(name, X, y)
    np.testing.assert_allclose(moved.coef_, plain.coef_, atol=1e-7 * np.abs(plain.coef_).max())
    ours = moved.predict(X[:20] + 2.0**20)
    np.testing.assert_allclose(ours, plain.predict(X[:20]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_file_keeps_the_model(name, tmp_path):
    X, y = problem(name)
    model = fit(name, X, y)
    kernelmill.save(model, tmp_path / "model")
    again = kernelmill.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(name, value):
    X, y = problem(name)
    X[17, 3] = value
    words = r"X must be finite, got (NaN|inf|-inf) at row 17, column 3"
    with pytest.raises(ValueError, match=words):
        MODELS[name].fit(X, y)


@pytest.mark.parametrize("name", MODELS)
def test_another_number_of_targets_is_refused(name):
    X, y = problem(name)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MODELS[name].fit(X, y[:-1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MODELS[name].fit(lambda: iter([X[:100], X[100:]]), y[:-1])


@pytest.mark.parametrize("name", MODELS)
def test_rows_are_left_as_they_were(name):
    X, y = problem(name)
    X.flags.writeable = y.flags.writeable = False
    agree(fit(name, np.asfortranarray(X), y), fit(name, X, y), 1e-12)


@pytest.mark.parametrize("kind", [km.RidgeClassifier, km.LogisticRegression])
def test_classes_of_a_stream_are_weighted(kind):
    X, y = problem("Classifier")
    w = np.random.default_rng(1).uniform(0.5, 2, N)
    chunks = [(X[i : i + 70], w[i : i + 70]) for i in range(0, N, 70)]
    streamed = kind(class_weight="balanced").fit(lambda: iter(chunks), y)
    agree(streamed, kind(class_weight="balanced").fit(X, y, sample_weight=w), 1e-8)


def test_dask_collections_are_read():
    array = pytest.importorskip("dask.array", reason="needs dask")
    X, y = problem("LinearRegression")
    rows = array.from_array(X, chunks=(100, D))
    for name in ("LinearRegression", "Ridge", "Lasso", "BayesianRidge"):
        agree(fit(name, rows, y), fit(name, X, y), 1e-9)


def test_a_large_memory_map_is_read_in_chunks(tmp_path, monkeypatch):
    from kernelmill._estimator import _rows

    monkeypatch.setattr(_rows, "MEMMAP_BYTES", 1000)
    X, y = problem("LinearRegression")
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for name in ("LinearRegression", "LogCoshRegressor", "ElasticNet"):
        agree(fit(name, mapped, y), fit(name, X, y), 1e-8)


@pytest.mark.parametrize("name", MODELS)
def test_intercepts_are_numbers_of_numpy(name):
    """As scikit-learn's, which users round and convert by their methods."""
    X, y = problem(name)
    model = fit(name, X, y)
    assert model.intercept_.round(2).dtype == np.float64
    if isinstance(model, km.LogisticRegression):
        return
    assert np.all(MODELS[name].__class__(fit_intercept=False).fit(X, y).intercept_ == 0)
