"""What mixtures share: streams, blocks, warm starts, draws, files, manners."""

import copy
import pickle
import re
import warnings

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture as Peer

import kernelmill
from kernelmill._gaussian._parameters import COVARIANCE_TYPES, NotPositiveDefinite
from kernelmill.mixture import BayesianGaussianMixture, GaussianMixture

DTYPES = [np.float32, np.float64]
LEARNED = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


def fitted(model):
    """Everything that was learned, comparable bit for bit."""
    arrays = {name: getattr(model, name).tobytes() for name in LEARNED}
    return {**arrays, "bounds": model.lower_bounds_, "n_iter": model.n_iter_}


def quiet_fit(model, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(*args, **kwargs)


# --- streams --------------------------------------------------------------------------------------


def chunks_of(X, rows=70):
    return [X[i : i + rows] for i in range(0, len(X), rows)]


@pytest.mark.parametrize("kind", ["full", "tied", "spherical"])
@pytest.mark.parametrize("how", ["list", "pairs", "function", "npy", "frames", "dask"])
@pytest.mark.parametrize("missing", [False, True])
def test_streams_equal_memory(X, rng, tmp_path, kind, how, missing):
    if missing:
        X[rng.random(X.shape) < 0.1] = np.nan
    w = rng.random(len(X)) if how == "pairs" else None
    options = {"n_components": 3, "covariance_type": kind, "random_state": 0, "max_iter": 8}
    options |= {"contamination": 0.1}
    memory = quiet_fit(GaussianMixture(**options), X, sample_weight=w)
    if how == "list":
        data = chunks_of(X)
    elif how == "pairs":
        data = list(zip(chunks_of(X), chunks_of(w), strict=True))
    elif how == "function":
        data = lambda: iter(chunks_of(X))  # noqa: E731
    elif how == "npy":
        np.save(tmp_path / "X.npy", X)
        data = kernelmill.stream.source(tmp_path / "X.npy", chunk_rows=64)
    elif how == "frames":
        pandas = pytest.importorskip("pandas")
        data = [pandas.DataFrame(chunk, columns=["a", "b", "c"]) for chunk in chunks_of(X)]
    else:
        data = pytest.importorskip("dask.array").from_array(X, chunks=(100, 3))
    model = quiet_fit(GaussianMixture(**options), data)
    np.testing.assert_allclose(model.lower_bounds_, memory.lower_bounds_, rtol=1e-10)
    for name in LEARNED:
        np.testing.assert_allclose(
            getattr(model, name), getattr(memory, name), rtol=1e-8, atol=1e-10
        )
    assert model.offset_ == pytest.approx(memory.offset_, rel=1e-9)
    np.testing.assert_array_equal(model.predict(data), memory.predict(X))
    np.testing.assert_allclose(model.score_samples(data), memory.score_samples(X), rtol=1e-8)
    np.testing.assert_allclose(model.predict_proba(data), memory.predict_proba(X), atol=1e-8)
    assert model.score(data) == pytest.approx(memory.score(X, sample_weight=w), rel=1e-9)


def test_large_streams_start_on_a_sample(make, monkeypatch):
    from kernelmill.mixture import _start

    X = make(3000, 3, 3)
    monkeypatch.setattr(_start, "_SAMPLE_BYTES", 0)
    monkeypatch.setattr(_start, "_SAMPLE_ROWS", 200)
    model = GaussianMixture(3, random_state=0, n_init=2).fit(chunks_of(X, 500))
    memory = GaussianMixture(3, random_state=0, n_init=2).fit(X)
    assert model.lower_bound_ == pytest.approx(memory.lower_bound_, abs=0.02)


def test_sparse_is_refused(X):
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"^GaussianMixture: X must be dense"):
        GaussianMixture(2).fit(sparse.csr_array(X))
    with pytest.raises(TypeError, match=r"^GaussianMixture: X must be dense"):
        GaussianMixture(2).fit([sparse.csr_array(X)])


def test_blocks_change_nothing(make, monkeypatch):
    from kernelmill.mixture import _densities

    X = make(500, 3, 3)
    model = GaussianMixture(3, random_state=0).fit(X)
    whole = model.predict(X), model.score_samples(X), model.predict_proba(X)
    monkeypatch.setattr(_densities, "BLOCK_BYTES", 8 * 3 * 7)
    parts = model.predict(X), model.score_samples(X), model.predict_proba(X)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
        assert one.dtype == other.dtype
    again = GaussianMixture(3, random_state=0).fit(X)
    np.testing.assert_allclose(again.means_, model.means_, rtol=1e-9)


# --- scikit-learn's manners -----------------------------------------------------------------------


def test_warm_start_goes_on(X, start):
    options = {**start(X, 3, "full"), "tol": 0, "reg_covar": 0}
    whole = quiet_fit(GaussianMixture(**options, max_iter=6), X)
    model = GaussianMixture(**options, max_iter=2, warm_start=True)
    bounds = []
    for _ in range(3):
        bounds += quiet_fit(model, X).lower_bounds_
    np.testing.assert_allclose(bounds, whole.lower_bounds_, rtol=1e-12)
    np.testing.assert_allclose(model.means_, whole.means_, rtol=1e-10)
    model.set_params(tol=1.0, max_iter=50).fit(X)
    assert model.n_iter_ == 1  # the bound of the fit before counts
    model.set_params(n_components=2)
    with pytest.raises(ValueError, match=r"^GaussianMixture: warm_start must continue with the"):
        model.fit(X)


@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_sample_draws_from_the_mixture(cls, X, kind):
    model = cls(3, covariance_type=kind, random_state=0).fit(X)
    drawn, labels = model.sample(20_000)
    assert drawn.shape == (20_000, 3)
    share = np.bincount(labels, minlength=3) / 20_000
    np.testing.assert_allclose(share, model.weights_, atol=0.02)
    for j in range(3):
        rows = drawn[labels == j]
        covariance = {
            "full": lambda j=j: model.covariances_[j],
            "tied": lambda: model.covariances_,
            "diag": lambda j=j: np.diag(model.covariances_[j]),
            "spherical": lambda j=j: model.covariances_[j] * np.eye(3),
        }[kind]()
        scale = np.sqrt(np.trace(covariance))
        # Five standard errors.
        np.testing.assert_allclose(
            rows.mean(axis=0), model.means_[j], atol=5 * scale / np.sqrt(len(rows))
        )
        np.testing.assert_allclose(
            np.cov(rows.T), covariance, atol=8 * scale**2 / np.sqrt(len(rows))
        )
    np.testing.assert_array_equal(model.sample(5)[0], model.sample(5)[0])
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 1, got 0"):
        model.sample(0)


def test_parameters_set_by_hand():
    """The idiom of scikit-learn's users: a mixture that was never fitted."""
    model = GaussianMixture(2, covariance_type="diag", random_state=0)
    model.weights_ = np.array([0.5, 0.5])
    model.means_ = np.array([[0.0], [4.0]])
    model.covariances_ = np.array([[1.0], [1.0]])
    expected = np.log(0.5 * norm.pdf(1) + 0.5 * norm.pdf(3))
    assert model.score_samples([[1.0]])[0] == pytest.approx(expected)
    assert model.sample(3)[0].shape == (3, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pickles_and_files(make, tmp_path, kind, dtype):
    X = make(dtype=dtype, shift=1e3)
    model = GaussianMixture(3, covariance_type=kind, random_state=0, contamination=0.1).fit(X)
    kernelmill.save(model, tmp_path / "model.safetensors")
    for again in (
        pickle.loads(pickle.dumps(model)),
        kernelmill.load(tmp_path / "model.safetensors"),
        copy.deepcopy(model),
    ):
        assert fitted(again) == fitted(model)
        np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
        np.testing.assert_array_equal(again.is_outlier(X), model.is_outlier(X))
    assert "means_" not in vars(clone(model))


def test_feature_names(X):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    model = GaussianMixture(2, random_state=0).fit(frame)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(model.predict(frame), model.fit_predict(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"a": "z"}))


def test_silence_and_bars(X, capfd):
    quiet = GaussianMixture(3, random_state=0).fit(X)
    assert capfd.readouterr() == ("", "")
    shown = GaussianMixture(3, random_state=0, verbose=1).fit(X)
    out, err = capfd.readouterr()
    assert out == ""
    assert "GaussianMixture" in err
    assert fitted(shown) == fitted(quiet)


def test_convergence_warning(X):
    with pytest.warns(
        ConvergenceWarning,
        match=r"^GaussianMixture: the best start did not converge in max_iter=1 iter",
    ):
        GaussianMixture(3, max_iter=1, random_state=0).fit(X)


def test_a_failed_fit_leaves_the_model_as_it_was(X):
    model = GaussianMixture(3, random_state=0).fit(X)
    before = fitted(model)
    with pytest.raises(ValueError, match="X must be finite or NaN"):
        model.fit(np.full((9, 2), np.inf))
    assert fitted(model) == before
    assert model.n_features_in_ == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components must be a whole number of at least 1, got 0"),
        ({"covariance_type": "round"}, "covariance_type must be one of 'full', 'tied'"),
        ({"weights_init": [0.5, 0.6]}, "weights_init must not be negative and must sum to one"),
        ({"weights_init": [1.5, -0.5]}, "weights_init must not be negative"),
        ({"means_init": np.zeros((2, 2))}, r"means_init must have shape \(2, 3\), got \(2, 2\)"),
        ({"means_init": np.full((2, 3), np.nan)}, "means_init must be finite"),
        ({"precisions_init": -np.tile(np.eye(3), (2, 1, 1))}, "must be positive definite"),
        ({"precisions_init": np.ones((2, 3, 3)).cumsum(axis=2)}, "must be symmetric"),
        (
            {"covariance_type": "diag", "precisions_init": np.zeros((2, 3))},
            "precisions_init must be positive, got 0",
        ),
        ({"contamination": 0.7}, "contamination must be a number above 0 and at most 0.5"),
        ({"learning_decay": 0.5}, "learning_decay must be a number above 0.5 and at most 1"),
        ({"device": "tpu"}, "device must be None"),
    ],
    ids=str,
)
def test_messages(X, options, message):
    with pytest.raises(ValueError, match=f"^GaussianMixture: .*{message}"):
        GaussianMixture(**{"n_components": 2, **options}).fit(X)


@pytest.mark.parametrize("scale", [1e-12, 1.0])
def test_rounding_of_given_matrices_is_no_asymmetry(X, scale, rng):
    """Rotated precisions and covariances, in any unit; scikit-learn's fit of X is the oracle."""
    R = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    rotated = np.linalg.inv(R) @ np.diag([2.0, 2.0, 2.0]) @ R  # what is not 2 is rounding
    assert not np.allclose(rotated, rotated.T, rtol=1e-6, atol=0)
    precisions = np.tile(rotated, (2, 1, 1))
    options = {"weights_init": [0.5, 0.5], "reg_covar": 0.0, "max_iter": 1, "tol": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = {"means_init": X[:2] * scale, "precisions_init": precisions / scale**2}
        model = GaussianMixture(2, **start, **options).fit(X * scale)
        peer = Peer(2, means_init=X[:2], precisions_init=precisions, **options).fit(X)
    size = np.abs(peer.covariances_).max()
    np.testing.assert_allclose(model.covariances_ / scale**2, peer.covariances_, atol=1e-12 * size)
    BayesianGaussianMixture(2, covariance_prior=rotated * scale**2, reg_covar=0.0).fit(X * scale)
    asymmetric = np.eye(3) + np.diag([0.8, 0.0], 1)
    with pytest.raises(ValueError, match=r"^GaussianMixture: precisions_init must be symmetric"):
        GaussianMixture(1, precisions_init=scale * asymmetric[None]).fit(X)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_a_regulariser_that_swamps_the_data_is_named(kind, rng):
    X = 1e-3 * rng.normal(rng.choice([-4.0, 4.0], (300, 1)), 1.0, (300, 2))
    for cls in (GaussianMixture, BayesianGaussianMixture):
        options = {"covariance_type": kind, "random_state": 0, "max_iter": 300}
        # Added to each variance, or to the prior's sum of squares, here worth some 150 rows.
        reg = 1e-6 if cls is GaussianMixture else 3e-4
        with pytest.warns(UserWarning, match=f"^{cls.__name__}: reg_covar makes up") as caught:
            model = cls(2, reg_covar=reg, **options).fit(X)
        assert len(caught) == 1
        if cls is GaussianMixture:
            share = float(re.search(r"(\d+)%", str(caught[0].message))[1])
            variances = model.covariances_
            if kind in ("full", "tied"):
                variances = np.diagonal(variances, axis1=-2, axis2=-1)
            assert share == pytest.approx(100.0 * reg / variances.min(), abs=0.5)
        cls(2, reg_covar=1e-12, **options).fit(X)
        cls(2, **options).fit(1e3 * X)
        constant = np.column_stack([1e3 * X[:, 0], np.full(300, 7.1)])
        cls(2, **options).fit(constant)
        cls(2, **options).fit(constant.astype(np.float32))
        cls(2, **options).fit(X[:4])  # few rows are what regularisers are for
    scale = {"full": np.eye(2), "tied": np.eye(2), "diag": np.ones(2), "spherical": 1.0}[kind]
    with pytest.warns(UserWarning, match=r"^Bayesian.*: covariance_prior makes up \d+%"):
        BayesianGaussianMixture(2, covariance_prior=scale, **options).fit(X)


def test_more_messages(X):
    with pytest.raises(ValueError, match=r"must be at most the number of rows, got n_samples = 3 "):
        GaussianMixture(4).fit(X[:3])
    with pytest.raises(
        NotPositiveDefinite, match=r"^GaussianMixture: covariances must be positive"
    ):
        GaussianMixture(1, reg_covar=0).fit(np.ones((5, 2)))
    with pytest.raises(NotFittedError):
        GaussianMixture(1).predict(X)
    with pytest.raises(ValueError, match="X must be small enough to be squared in float32, got"):
        GaussianMixture(1, means_init=[[0.0]], weights_init=[1.0], precisions_init=[[[1.0]]]).fit(
            np.full((3, 1), 1e30, np.float32)
        )


# --- parameters that change after a fit -----------------------------------------------------------


@pytest.mark.parametrize("ask", ["fit", "partial_fit", "predict", "score"])
def test_another_covariance_type_after_a_fit_is_refused(ask, rng):
    X = rng.normal(size=(30, 3))
    model = quiet_fit(GaussianMixture(2, warm_start=True, random_state=0), X)
    model.set_params(covariance_type="diag")
    with pytest.raises(ValueError, match=r"covariance_type='diag', got \(2, 3, 3\)"):
        getattr(model, ask)(X)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize(
    "kinds",
    [
        ("dirichlet_process", "dirichlet_distribution"),
        ("dirichlet_distribution", "dirichlet_process"),
    ],
)
def test_a_warm_start_with_another_prior_of_the_weights_is_refused(kinds, k, rng):
    X = rng.normal(size=(30, 2))
    model = BayesianGaussianMixture(
        k, weight_concentration_prior_type=kinds[0], warm_start=True, random_state=0
    )
    quiet_fit(model, X).set_params(weight_concentration_prior_type=kinds[1])
    with pytest.raises(ValueError, match=f"must be that of the previous fit, '{kinds[0]}'"):
        model.fit(X)


def test_masked_entries_are_missing(rng):
    X, mask = rng.normal(size=(40, 2)), rng.random((40, 2)) < 0.2
    model = quiet_fit(GaussianMixture(2, random_state=0), np.ma.masked_array(X, mask))
    gaps = quiet_fit(GaussianMixture(2, random_state=0), np.where(mask, np.nan, X))
    assert fitted(model) == fitted(gaps)
    counts = np.ma.masked_array((9 * X).astype(int), mask)
    shown = np.where(mask, np.nan, counts.data)
    assert np.array_equal(model.score_samples(counts), model.score_samples(shown))


@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize("own", COVARIANCE_TYPES)
def test_another_covariance_type_is_noticed(cls, own, rng):
    """With k = d the shapes of tied and diagonal precisions are the same."""
    X = rng.standard_normal((60, 2)) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    model = cls(2, covariance_type=own, random_state=0, tol=1e-1, warm_start=True).fit(X)
    for other in set(COVARIANCE_TYPES) - {own}:
        model.set_params(covariance_type=other)
        for run in (model.predict, model.score, model.fit):
            with pytest.raises(ValueError, match=r"precisions_cholesky_ must be .* for cov"):
                run(X)
    model.set_params(covariance_type=own).fit(X)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_precisions_alone_make_a_mixture(covariance_type, rng):
    """scikit-learn's users assign weights_, means_ and precisions_cholesky_."""
    X = rng.standard_normal((200, 3)) * [1.0, 2.0, 0.5]
    fitted = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    model = GaussianMixture(2, covariance_type=covariance_type, random_state=0)
    for name in ("weights_", "means_", "precisions_cholesky_"):
        setattr(model, name, getattr(fitted, name))
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(model.score_samples(X), fitted.score_samples(X))
    # Two inverses of matrices of condition 100 at most.
    np.testing.assert_allclose(model.sample(5)[0], fitted.sample(5)[0], rtol=1e-10)
    np.testing.assert_allclose(model.covariances_, fitted.covariances_, rtol=1e-10, atol=1e-12)
    model = GaussianMixture(2, covariance_type=covariance_type)
    model.weights_, model.means_ = fitted.weights_, fitted.means_
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.precisions_cholesky_ = -fitted.precisions_cholesky_
    with pytest.raises(ValueError, match=r"precisions_cholesky_ must be .*positive"):
        model.predict(X)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_lower_triangles_of_precisions_will_do(covariance_type, rng):
    """numpy.linalg.cholesky of the precisions, as scikit-learn's users assign it, gives these."""
    X = rng.standard_normal((100, 3)) @ np.array([[1.0, 0.9, 0.0], [0.0, 1.0, 0.4], [0.0, 0.0, 1]])
    fitted = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    lower = np.linalg.cholesky(fitted.precisions_)
    models = [
        GaussianMixture(2, covariance_type=covariance_type),
        Peer(2, covariance_type=covariance_type),
    ]
    for model in models:
        for name in ("weights_", "means_", "covariances_"):
            setattr(model, name, getattr(fitted, name))
        model.precisions_cholesky_ = lower
    # The precision is made from the covariance and factorised again: condition 100 at most.
    for model in models:
        np.testing.assert_allclose(model.score_samples(X), fitted.score_samples(X), rtol=1e-10)
    assert models[0].precisions_cholesky_ is lower
    del models[0].covariances_
    np.testing.assert_allclose(models[0].score_samples(X), fitted.score_samples(X), rtol=1e-10)
    np.testing.assert_allclose(models[0].covariances_, fitted.covariances_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_masked_entries_are_missing_everywhere(cls, rng):
    X = rng.standard_normal((60, 2))
    mask = rng.random(X.shape) < 0.2
    masked = np.ma.array(X, mask=mask)
    gaps = cls(2, random_state=0).fit(np.where(mask, np.nan, X))
    for given in (masked, [masked], [masked[:20], masked[20:]]):
        model = cls(2, random_state=0).fit(given)
        # Sums over chunks round differently.
        np.testing.assert_allclose(model.means_, gaps.means_, rtol=1e-8)


@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("tol", np.inf, r"tol must be a number of at least 0, got inf \(it must be finite\)"),
        ("tol", np.nan, r"tol must be a number of at least 0, got nan \(it must be finite\)"),
        ("max_iter", 2.5, "max_iter must be a whole number of at least 0, got 2.5"),
        ("reg_covar", "x", "reg_covar must be a number of at least 0, got 'x'"),
    ],
)
def test_numbers_that_are_none(cls, name, value, message, rng):
    with pytest.raises(ValueError, match=f"^{cls.__name__}: {message}$"):
        cls(2, **{name: value}).fit(rng.standard_normal((20, 2)))


def test_initial_values_that_are_no_numbers(rng):
    X = rng.standard_normal((20, 2))
    for model, message in (
        (GaussianMixture(2, means_init=[[1], [2, 3]]), "means_init must have rows of equal length"),
        (GaussianMixture(2, weights_init=[1, "a"]), "weights_init must be numeric, got"),
        (BayesianGaussianMixture(mean_prior=[1, "a"]), "mean_prior must be numeric, got"),
    ):
        with pytest.raises(ValueError, match=f"^{type(model).__name__}: {message}"):
            model.fit(X)
    with pytest.raises(ValueError, match="GaussianMixture: sample_weight must be numeric"):
        GaussianMixture().fit(X, sample_weight=[[1], [1, 2]])


@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_outliers_that_nobody_asked_for(cls, rng):
    model = cls().fit(rng.standard_normal((20, 2)))
    for name in ("decision_function", "is_outlier"):
        message = f"{cls.__name__}: contamination must be a share of outliers for {name}, got None"
        with pytest.raises(AttributeError, match=message):
            getattr(model, name)
        assert not hasattr(model, name)


@pytest.mark.parametrize("again", [False, True])
def test_stream_of_zero_weights_is_refused(X, again):
    """Found in the first pass, for such weights come with the chunks."""
    chunks = [(X[:200], np.zeros(200)), (X[200:], np.zeros(len(X) - 200))]
    model = GaussianMixture(2, warm_start=again, random_state=0).fit(X)
    message = "^GaussianMixture: sample_weight must have a positive sum, got only zeros"
    refused = [model.score, model.partial_fit] + [model.fit] * again
    for method in refused:
        with pytest.raises(ValueError, match=message):
            method(chunks)
    with pytest.raises(ValueError, match="got none with positive weight in column 0"):
        GaussianMixture(2).fit(chunks)
