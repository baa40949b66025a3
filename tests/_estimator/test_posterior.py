"""What every classifier by Bayes' rule keeps: streams, weights, parts, gaps, threads, files."""

import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone

import kernelmill
from kernelmill import discriminant_analysis as da
from kernelmill import naive_bayes as nb
from kernelmill._estimator._posterior import given_priors, log_posterior, posterior

MODELS = {
    "GaussianNB": nb.GaussianNB(),
    "GaussianNB smooth": nb.GaussianNB(var_smoothing=0.3, priors=[0.2, 0.5, 0.3]),
    "MultinomialNB": nb.MultinomialNB(alpha=0.7),
    "ComplementNB": nb.ComplementNB(norm=True),
    "BernoulliNB": nb.BernoulliNB(binarize=1.5),
    "CategoricalNB": nb.CategoricalNB(alpha=0.3),
    "LinearDiscriminantAnalysis": da.LinearDiscriminantAnalysis(),
    "LinearDiscriminantAnalysis priors": da.LinearDiscriminantAnalysis(
        "eigen", priors=[0.2, 0.5, 0.3]
    ),
    "LinearDiscriminantAnalysis shrunk": da.LinearDiscriminantAnalysis("lsqr", 0.3),
    "LinearDiscriminantAnalysis auto": da.LinearDiscriminantAnalysis("eigen", "auto"),
    "QuadraticDiscriminantAnalysis": da.QuadraticDiscriminantAnalysis(reg_param=0.1),
    "QuadraticDiscriminantAnalysis auto": da.QuadraticDiscriminantAnalysis(
        solver="eigen", shrinkage="auto"
    ),
    "full": da.GaussianClassifier(shrinkage=0.2, tol=1e-10),
    "full shared": da.GaussianClassifier(shared=True, tol=1e-10),
    "diag": da.GaussianClassifier(covariance="diag"),
    "diag shared": da.GaussianClassifier(covariance="diag", shared=True),
}
SPARSE = ("MultinomialNB", "ComplementNB", "BernoulliNB")
GAPS = ("GaussianNB", "GaussianNB smooth", "BernoulliNB", "CategoricalNB", "full", "full shared",
        "diag", "diag shared")  # fmt: skip
N, D, K = 240, 5, 3


def problem(seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, K, N)
    X = rng.poisson(1.0 + np.array([[1, 0, 2, 0, 1], [0, 2, 0, 1, 1], [2, 1, 1, 2, 0]])[y])
    return X.clip(0, 6).astype(float), np.array(["a", "b", "c"])[y]


def fit(name, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return clone(MODELS[name]).fit(*args, **kwargs)


def agree(a, b, rtol, X=None):
    X = problem()[0] if X is None else X
    np.testing.assert_array_equal(a.classes_, b.classes_)
    want = b.predict_log_proba(X)
    size = np.abs(want) + 1
    np.testing.assert_allclose(a.predict_log_proba(X) / size, want / size, rtol=0, atol=rtol)


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_are_those_of_the_logarithms(name):
    X, y = problem()
    model = fit(name, X, y)
    logs, shares = model.predict_log_proba(X), model.predict_proba(X)
    np.testing.assert_allclose(np.exp(logs), shares, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X), model.classes_[logs.argmax(1)])
    assert model.score(X, y) > 0.5
    if hasattr(model, "predict_joint_log_proba"):
        joint = model.predict_joint_log_proba(X)
        total = np.log(np.exp(joint).sum(1, keepdims=True))
        np.testing.assert_allclose(joint - total, logs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_a_stream_is_the_rows_at_once(name):
    X, y = problem()
    order = np.argsort(y, kind="stable")  # so that a class is new in a later chunk
    X, y = X[order], y[order]
    chunks = [X[:50], X[50:51], X[51:200], X[200:]]
    model = fit(name, lambda: iter(chunks), y)
    agree(model, fit(name, X, y), 1e-9)
    got = model.predict_proba(lambda: iter(chunks))
    np.testing.assert_allclose(got, model.predict_proba(X), rtol=1e-12)
    np.testing.assert_array_equal(model.predict(lambda: iter(chunks)), model.predict(X))


@pytest.mark.parametrize("name", [name for name in MODELS if "auto" not in name])
def test_an_iterator_is_enough(name):
    X, y = problem()
    agree(fit(name, iter([X[:100], X[100:]]), y), fit(name, X, y), 1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_repetition_also_in_streams(name):
    X, y = problem()
    w = np.random.default_rng(1).integers(0, 4, N)
    repeated = fit(name, np.repeat(X, w, 0), np.repeat(y, w, 0))
    agree(fit(name, X, y, sample_weight=w.astype(float)), repeated, 1e-9)
    chunks = [(X[i : i + 60], w[i : i + 60].astype(float)) for i in range(0, N, 60)]
    agree(fit(name, lambda: iter(chunks), y), repeated, 1e-9)


@pytest.mark.parametrize("name", [name for name in MODELS if "Categorical" not in name])
def test_rows_of_zero_weight_do_not_matter(name):
    X, y = problem()
    w = np.ones(N)
    w[::7] = 0
    spoilt = X.copy()
    spoilt[::7] *= 1e3
    agree(fit(name, spoilt, y, sample_weight=w), fit(name, X[w > 0], y[w > 0]), 1e-8)


@pytest.mark.parametrize("name", [name for name in MODELS if "auto" not in name])
def test_parts_are_the_whole(name):
    X, y = problem()
    w = np.random.default_rng(1).integers(0, 3, N).astype(float)
    order = np.argsort(y, kind="stable")  # so that the first part has one class only
    X, y, w = X[order], y[order], w[order]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = clone(MODELS[name])
        for i, part in enumerate((slice(0, 40), slice(40, 150), slice(150, N))):
            classes = ["a", "b", "c"] if i == 0 else None
            model.partial_fit(X[part], y[part], classes=classes, sample_weight=w[part])
    agree(model, fit(name, X, y, sample_weight=w), 1e-9)
    with pytest.raises(ValueError, match="known classes only, got \\['d'\\]"):
        model.partial_fit(X[:2], ["a", "d"])


@pytest.mark.parametrize("name", SPARSE)
def test_csr_rows_are_dense_rows(name):
    X, y = problem()
    csr = scipy.sparse.csr_array(X)
    for weight in (None, np.random.default_rng(1).uniform(0, 2, N)):
        sparse = fit(name, csr, y, sample_weight=weight)
        dense = fit(name, X, y, sample_weight=weight)
        agree(sparse, dense, 1e-12)
        got = sparse.predict_log_proba(csr)
        np.testing.assert_allclose(got, dense.predict_log_proba(X), rtol=1e-12, atol=1e-13)
    chunks = [csr[:100], csr[100:]]
    agree(fit(name, lambda: iter(chunks), y), fit(name, X, y), 1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_at_any_thread_count(name):
    X, y = problem()
    X, y = np.tile(X, (60, 1)), np.tile(y, 60)
    found = []
    for count in (1, 2, 7):
        with kernelmill.threads(count):
            found.append(fit(name, X, y).predict_log_proba(X[:N]))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


@pytest.mark.parametrize("name", MODELS)
def test_float32_rows_give_the_model_of_their_values(name):
    X, y = problem()
    rng = np.random.default_rng(3)
    if "NB" not in name or "Gaussian" in name:
        X = (X + rng.normal(size=X.shape)).astype(np.float32)
    single, double = fit(name, X.astype(np.float32), y), fit(name, X.astype(float), y)
    rtol = 1e-5 if name.startswith("Linear") else 1e-9  # coefficients are float32
    agree(single, double, rtol, X.astype(float))
    got = single.predict_log_proba(X.astype(np.float32))
    want = single.predict_log_proba(X.astype(float))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in MODELS if n not in (*SPARSE, "CategoricalNB")])
def test_an_offset_costs_no_digits(name):
    X, y = problem()
    X += np.round(np.random.default_rng(3).normal(size=X.shape) * 1024) / 1024
    moved, plain = fit(name, X + 2.0**26, y), fit(name, X, y)
    want = plain.predict_log_proba(X)
    np.testing.assert_allclose(moved.predict_log_proba(X + 2.0**26), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in MODELS if n != "CategoricalNB"])
def test_far_points_have_finite_logarithms(name):
    X, y = problem()
    X = X.astype(np.float32)
    model = fit(name, X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for far in (np.float32(1e18), np.float32(1e30), 1e100):
            rows = np.abs(np.eye(D)) * far
            logs = model.predict_log_proba(rows)
            assert np.isfinite(logs).all(), far
            assert (logs.max(1) > -2.0).all()
            np.testing.assert_array_equal(model.predict(rows), model.classes_[logs.argmax(1)])
            assert np.isfinite(model.predict_proba(rows)).all()


@pytest.mark.parametrize("name", MODELS)
def test_a_file_keeps_the_model_and_what_it_has_seen(name, tmp_path):
    X, y = problem()
    model = fit(name, X[:200], y[:200])
    kernelmill.save(model, tmp_path / "model")
    again = kernelmill.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_log_proba(X), model.predict_log_proba(X))
    if "auto" not in name:
        model.partial_fit(X[200:], y[200:])
        again.partial_fit(X[200:], y[200:])
        np.testing.assert_array_equal(again.predict_log_proba(X), model.predict_log_proba(X))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(name, value):
    X, y = problem()
    X[17, 3] = value
    if np.isnan(value) and name in GAPS:
        fit(name, X, y)
        return
    with pytest.raises(ValueError, match=r"X must be .*got (NaN|inf|-inf) at row 17, column 3"):
        MODELS[name].fit(X, y)
    with pytest.raises(ValueError, match=r"X must be .*got (NaN|inf|-inf) at row 17, column 3"):
        MODELS[name].fit(lambda: iter([X[:100], X[100:]]), y)


@pytest.mark.parametrize("name", GAPS)
def test_a_row_without_entries_counts_for_the_priors_only(name):
    X, y = problem()
    more = np.vstack([X, np.full((30, D), np.nan)])
    labels = np.concatenate([y, ["a"] * 30])
    model, plain = fit(name, more, labels), fit(name, X, y)
    got = model.predict_log_proba(X) - plain.predict_log_proba(X)
    apart = got - got[:, 2:]
    count = {c: (labels == c).sum() / (y == c).sum() for c in "abc"}
    want = np.log([count["a"], count["b"], count["c"]])
    if getattr(model, "priors", None) is not None:
        want = np.zeros(3)
    np.testing.assert_allclose(apart, np.tile(want - want[2], (N, 1)), atol=1e-6)
    shares = model.predict_proba(np.full((1, D), np.nan))[0]
    priors = getattr(model, "priors_", getattr(model, "class_prior_", None))
    priors = np.exp(model.class_log_prior_) if priors is None else priors
    np.testing.assert_allclose(shares, priors, rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_another_number_of_targets_is_refused(name):
    X, y = problem()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MODELS[name].fit(X, y[:-1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MODELS[name].fit(lambda: iter([X[:100], X[100:]]), y[:-1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MODELS[name].fit(lambda: iter([X[:100], X[100:]]), np.append(y, "a"))


@pytest.mark.parametrize("name", MODELS)
def test_rows_of_any_layout_are_left_as_they_were(name):
    X, y = problem()
    X.flags.writeable = y.flags.writeable = False
    agree(fit(name, np.asfortranarray(X), y), fit(name, X, y), 1e-12)
    agree(fit(name, np.repeat(X, 2, 1)[:, ::2], y), fit(name, X, y), 1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_a_class_without_weight_has_probability_zero(name):
    X, y = problem()
    w = (y != "b").astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = clone(MODELS[name])
        for prior in ("priors", "class_prior"):
            if hasattr(model, prior):
                model.set_params(**{prior: None})
        model.fit(X, y, sample_weight=w)
        shares, logs = model.predict_proba(X), model.predict_log_proba(X)
    if name == "ComplementNB":  # has no priors
        return
    assert shares.shape == (N, 3)
    assert (shares[:, 1] == 0).all()
    two = clone(model).fit(X[w > 0], y[w > 0]).predict_log_proba(X)
    np.testing.assert_allclose(logs[:, [0, 2]], two, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["MultinomialNB", "GaussianNB", "full", "QuadraticDiscriminant"])
@pytest.mark.parametrize("priors", [[0.5, 0.5], [0.5, 0.7, -0.2], ["a", "b", "c"]])
def test_wrong_priors_are_refused(name, priors):
    X, y = problem()
    name = "QuadraticDiscriminantAnalysis" if name.startswith("Quad") else name
    key = "class_prior" if "Multi" in name else "priors"
    with pytest.raises(ValueError, match=f"{key} must be"):
        clone(MODELS[name]).set_params(**{key: priors}).fit(X, y)


def test_priors_that_do_not_sum_to_one_are_scaled_or_refused():
    with pytest.warns(UserWarning, match="must sum to one"):
        np.testing.assert_allclose(given_priors([2, 6], np.ones(2), "M"), [0.25, 0.75])
    with pytest.raises(ValueError, match="must sum to one"):
        given_priors([2, 6], np.ones(2), "M", strict=True)
    with pytest.raises(ValueError, match="positive, finite sum"):
        given_priors([0, 0], np.ones(2), "M")


def test_posteriors_keep_differences_of_large_logarithms():
    joint = np.array([[-1e15, -1e15 - 1], [-1e300, -1e300], [-2.7e6 / 3.1, -2.7e6 / 3.1 - 1]])
    want = -np.log1p(np.exp([-1.0, 1.0]))
    found = log_posterior(np.arange(3.0)[:, None], lambda X: joint[X[:, 0].astype(int)])
    np.testing.assert_allclose(found[0], want, rtol=1e-15)
    np.testing.assert_allclose(found[1], np.log([0.5, 0.5]))
    apart = joint[2] - joint[2, 0]
    np.testing.assert_allclose(found[2], apart - np.log(np.exp(apart).sum()), rtol=1e-14)


def test_rows_without_any_possible_class_are_not_nan():
    none = lambda X: np.full((len(X), 2), -np.inf)  # noqa: E731
    np.testing.assert_allclose(posterior(np.zeros((1, 1)), none), [[0.5, 0.5]])


def test_dask_collections_are_read():
    array = pytest.importorskip("dask.array", reason="needs dask")
    X, y = problem()
    for name in ("GaussianNB", "MultinomialNB", "CategoricalNB", "full", "full shared"):
        agree(fit(name, array.from_array(X, chunks=(100, D)), y), fit(name, X, y), 1e-9)


def test_a_large_memory_map_is_read_in_chunks(tmp_path, monkeypatch):
    from kernelmill._estimator import _rows

    monkeypatch.setattr(_rows, "MEMMAP_BYTES", 1000)
    X, y = problem()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for name in MODELS:
        agree(fit(name, mapped, y), fit(name, X, y), 1e-9)


def test_a_failed_fit_leaves_the_model():
    X, y = problem()
    model = fit("GaussianNB", X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="inf"):
        model.partial_fit(np.full((2, D), np.inf), ["a", "b"])
    np.testing.assert_array_equal(model.predict_proba(X), before)
