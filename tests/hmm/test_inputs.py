"""What is refused, and in which words; what is kept in files and copies."""

import copy
import io
import pickle
import re

import numpy as np
import pytest
from hmm_kinds import COVARIANCES, KINDS, same_start
from scipy.stats import norm
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import kernelmill
from kernelmill.hmm import (
    GMMHMM,
    CategoricalHMM,
    ConvergenceMonitor,
    GaussianHMM,
    MultinomialHMM,
    PoissonHMM,
    VariationalCategoricalHMM,
    VariationalGaussianHMM,
)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([3, 3], r"lengths must add up to the 10 rows of X, got a sum of 6"),
        ([12, -2], r"lengths must be at least 0, got -2"),
        # Sums that wrap to 10 in 64 bits.
        ([2**63 - 1, 2**63 - 1, 12], r"to the 10 rows of X, got a sum of 18446744073709551626"),
        (np.array([2**64 - 1, 11], "u8"), r"to the 10 rows of X, got a sum of 1844674407370955"),
        ([2.5, 7.5], r"lengths must be whole numbers, one for each sequence, got float64"),
        ([[5], [5]], r"lengths must be whole numbers, .* of shape \(2, 1\)"),
    ],
)
def test_lengths_that_do_not_fit(lengths, message, kind, rng):
    X = kind.rows(rng, 10)
    model = kind.make(1, n_iter=1).fit(X)
    for run in (model.fit, model.score, model.predict):
        with pytest.raises(ValueError, match=message):
            run(X, lengths)


def test_one_length_may_be_a_number(rng):
    X = rng.standard_normal((10, 1))
    model = GaussianHMM(1).fit(X, 10)
    assert model.score(X, 10) == model.score(X)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0, -1.0], r"sample_weight must be finite and not negative, got -1 for sequence 1"),
        ([np.nan, 1.0], r"got nan for sequence 0"),
        ([0.0, 0.0], r"sample_weight must have a positive sum"),
        (np.ones(10), r"sample_weight must have shape \(2,\), one for each sequence, got \(10,\)"),
        (["a", "b"], r"sample_weight must be numeric"),
    ],
)
def test_weights_that_do_not_fit(weight, message, rng):
    with pytest.raises(ValueError, match=message):
        GaussianHMM(1).fit(rng.standard_normal((10, 1)), [5, 5], weight)


@pytest.mark.parametrize(
    ("model", "X", "error", "message"),
    [
        (GaussianHMM(), [[1.0, np.inf]], ValueError, "finite or NaN.*, got inf at row 0, column 1"),
        (GaussianHMM(), [1.0, 2.0], ValueError, "X must be 2-D"),
        (GaussianHMM(), np.empty((0, 2)), ValueError, "at least 1 row"),
        (GaussianHMM(), [["a"]], ValueError, "X must be numeric"),
        (CategoricalHMM(), [[0.5]], ValueError, "X must be whole numbers, got 0.5 at row 0"),
        (CategoricalHMM(), [["a"]], ValueError, "X must be whole numbers.*LabelEncoder"),
        (CategoricalHMM(), [[0, 1]], ValueError, r"X must be one column of symbols.*\(1, 2\)"),
        (CategoricalHMM(), [[-1], [-1]], ValueError, "X must hold at least one symbol"),
        (CategoricalHMM(n_features=2), [[2]], ValueError, "symbols below 2, got 2 at row 0"),
        (CategoricalHMM(), np.empty((0, 1), int), ValueError, "at least 1 row"),
        (PoissonHMM(), [[1.5]], ValueError, "whole numbers of at least 0, got 1.5 at row 0"),
        (PoissonHMM(), [[3], [-1]], ValueError, "got -1 at row 1, column 0"),
        (PoissonHMM(), [[1e300]], ValueError, r"got 1e\+300 at row 0, column 0 \(counts must stay"),
        (
            CategoricalHMM(),
            [np.array([0, 1]), np.array([1])],
            ValueError,
            r"X must be one column of symbols, .* list of sequences each is a column, x\.reshape",
        ),
        (MultinomialHMM(), [[1.0, np.nan]], ValueError, "NaN throughout or not at all"),
        (
            MultinomialHMM(n_trials=3),
            [[1, 2], [2, 2]],
            ValueError,
            "rows that add up to n_trials, got 4 instead of 3 in row 1",
        ),
        (MultinomialHMM(n_trials=[3, 4, 5]), [[1, 2], [2, 2]], ValueError, "n_trials must be a"),
    ],
)
def test_rows_that_do_not_fit(model, X, error, message):
    with pytest.raises(error, match=f"{type(model).__name__}: .*{message}"):
        model.fit(X)


def test_sparse_rows_are_refused(rng):
    import scipy.sparse as sparse
    X = sparse.random(10, 2, 0.5, "csr", random_state=0)
    with pytest.raises(TypeError, match="X must be dense"):
        GaussianHMM().fit(X)
    with pytest.raises(TypeError, match="X must be dense"):
        CategoricalHMM().fit(X[:, :1].astype(int))


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("n_components", 0),
        ("covariance_type", "round"),
        ("min_covar", -1.0),
        ("algorithm", "best"),
        ("n_iter", -1),
        ("tol", np.nan),
        ("tol", np.inf),
        ("n_iter", 2.5),
        ("params", "s,t"),
        ("params", "stx"),
        ("init_params", "stmcw"),
        ("init_params", 3),
        ("implementation", "linear"),
        ("random_state", "x"),
        ("device", "tpu"),
    ],
)
def test_parameters_that_make_no_sense(parameter, value, rng):
    model = GaussianHMM().set_params(**{parameter: value})
    with pytest.raises(ValueError, match=f"GaussianHMM: {parameter} must be"):
        model.fit(rng.standard_normal((10, 1)))


def test_letters_are_those_of_the_model(kind, rng):
    letters = kind.make(2).params
    model = kind.make(2, params=letters[::-1]).fit(kind.rows(rng, 20))
    message = f"params must be a string of some of the characters '.{{{len(letters)}}}', got 'sx'"
    with pytest.raises(ValueError, match=message):
        model.set_params(params="sx").fit(kind.rows(rng, 20))


def test_a_parameter_that_was_forgotten_is_named():
    model = GaussianHMM(2)
    model.startprob_, model.transmat_ = [0.5, 0.5], np.eye(2)
    for message in ("means_ must be fitted or assigned", "covars_ must be fitted or assigned"):
        with pytest.raises(NotFittedError, match=f"GaussianHMM: {message}"):
            model.score(np.zeros((3, 1)))
        model.means_ = np.zeros((2, 1))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("startprob_", [0.5, 0.6], r"startprob_ must have a sum of 1"),
        ("startprob_", [1.0], r"startprob_ must have shape \(2,\), got \(1,\)"),
        ("startprob_", [1.5, -0.5], r"startprob_ must not be negative, got -0.5"),
        ("transmat_", [[1.0, 0.0], [0.5, 0.4]], r"transmat_ must have rows that sum to 1"),
        ("transmat_", [[1.0, np.nan], [0.5, 0.5]], r"transmat_ must be finite"),
        ("means_", [[0.0, 0.0]], r"means_ must have shape \(2, 2\), got \(1, 2\)"),
        ("means_", [["a", "b"], ["c", "d"]], r"means_ must be numeric"),
    ],
)
def test_assigned_parameters_are_checked(name, value, message, rng):
    X = rng.standard_normal((20, 2))
    model = GaussianHMM(2, random_state=0, init_params="").fit(X)
    setattr(model, name, np.array(value))
    for run in (model.fit, model.score, model.predict):
        with pytest.raises(ValueError, match=f"GaussianHMM: {message}"):
            run(X)
    with pytest.raises(ValueError, match=f"GaussianHMM: {message}"):
        model.sample(2)


@pytest.mark.parametrize(
    ("covariance", "value", "message"),
    [
        (
            "diag",
            np.ones((3, 2)),
            r"diag covars_ must have shape \(K, d\) or.* \(K = 2\), got \(3, 2\)",
        ),
        ("diag", np.array([[1.0, 0.0], [1.0, 1.0]]), "covars_ must be positive, got 0"),
        ("spherical", np.ones((2, 2)), r"spherical covars_ must have shape \(K,\)"),
        ("full", np.stack([np.eye(2), -np.eye(2)]), ".* least eigenvalue of -1 for state 1"),
        (
            "full",
            np.stack([np.eye(2), np.array([[1.0, 0.5], [0.0, 1.0]])]),
            ".* got another matrix for state 1",
        ),
        ("tied", np.ones((2, 3)), r"tied covars_ must have shape \(d, d\)"),
        ("tied", np.stack([np.eye(3), 2 * np.eye(3)]), r"tied .* equal matrices, .*\(2, 3, 3\)"),
        ("diag", np.ones((2, 3, 3)), r"diag covars_ .* diagonal matrices, .* got \(2, 3, 3\)"),
        (
            "spherical",
            np.tile(np.diag([1.0, 2.0]), (2, 1, 1)),
            r"spherical covars_ .* multiples of the unit matrix, .* got \(2, 2, 2\)",
        ),
        (
            "full",
            1e-9 * np.array([np.eye(2), [[1.0, 0.8], [-0.8, 1.0]]]),
            ".* got another matrix for state 1",
        ),
    ],
)
def test_assigned_covariances_are_checked(covariance, value, message):
    model = GaussianHMM(2, covariance)
    with pytest.raises(ValueError, match=f"GaussianHMM: {message}"):
        model.covars_ = value


def test_covariances_are_read_as_matrices(rng):
    """Assigned in the shape of the type, read as (K, d, d); no edit of them is lost."""
    X = rng.standard_normal((30, 3))
    given = {
        "spherical": np.array([2.0, 3.0]),
        "diag": np.arange(1.0, 7.0).reshape(2, 3),
        "full": np.stack([np.eye(3), 2 * np.eye(3)]),
        "tied": 4 * np.eye(3),
    }
    for covariance, value in given.items():
        model = GaussianHMM(2, covariance, random_state=0)
        with pytest.raises(AttributeError):
            model.covars_  # noqa: B018 - reading it is the test
        model.means_ = np.zeros((2, 3))
        model.covars_ = value
        assert model.covars_.shape == (2, 3, 3)
        np.testing.assert_allclose(
            model.covars_[1].trace(),
            {"spherical": 9.0, "diag": 15.0, "full": 6.0, "tied": 12.0}[covariance],
        )
        if covariance != "full":
            with pytest.raises(ValueError, match="read-only"):
                model.covars_[0, 0, 0] = 99.0
        value[...] = -1
        model.fit(X)
        assert model.covars_.shape == (2, 3, 3)


@pytest.mark.parametrize("K", [1, 2, 3])
@pytest.mark.parametrize("covariance", ["spherical", "diag", "full", "tied"])
@pytest.mark.parametrize("cls", [GaussianHMM, VariationalGaussianHMM])
def test_covariances_that_were_read_can_be_assigned(cls, covariance, K, rng):
    X = rng.standard_normal((60, 3)) * [1.0, 2.0, 0.5]
    model = cls(K, covariance, random_state=0, n_iter=2).fit(X)
    other = cls(K, covariance)
    other.startprob_, other.transmat_ = model.startprob_, model.transmat_
    setattr(other, "means_posterior_" if cls is VariationalGaussianHMM else "means_", model.means_)
    readings = [model.covars_, model._covars_]
    if covariance == "spherical":
        readings.append(model._covars_[:, None])
    for reading in readings:
        other.covars_ = reading
        assert np.array_equal(other._covars_, model._covars_)
        assert other.score(X) == model.score(X)


@pytest.mark.parametrize("covariance", ["full", "tied"])
def test_rounding_of_assigned_covariances_is_no_asymmetry(covariance, rng):
    R = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    matrix = np.linalg.inv(R) @ np.diag([1e-9, 1e-3, 1e3]) @ R
    assert not np.array_equal(matrix, matrix.T)
    matrix = np.tile(matrix, (2, 1, 1)) if covariance == "full" else matrix
    model = GaussianHMM(2, covariance)
    model.means_, model.covars_ = np.zeros((2, 3)), np.asfortranarray(matrix)
    assert np.array_equal(model.covars_, model.covars_.transpose(0, 2, 1))
    np.testing.assert_allclose(model.covars_[0], matrix.reshape(-1, 3, 3)[0], rtol=1e-12)


def test_models_must_be_fitted_first(kind, rng):
    X = kind.rows(rng, 10)
    model = kind.make(2)
    calls = (model.score, model.decode, model.predict, model.predict_proba, model.predict_next)
    for run in calls:
        with pytest.raises(NotFittedError):
            run(X)
    for run in (model.sample, model.filter):
        with pytest.raises(NotFittedError):
            run()


def test_a_model_may_be_assigned_and_never_fitted(rng):
    model = GaussianHMM(2, "full")
    model.startprob_ = [0.6, 0.4]
    model.transmat_ = [[0.7, 0.3], [0.3, 0.7]]
    model.means_ = [[0.0, 0.0], [3.0, 3.0]]
    model.covars_ = [np.eye(2), np.eye(2)]
    X, states = model.sample(50, random_state=1)
    assert X.shape == (50, 2)
    assert (model.predict(X) == states).mean() > 0.9
    assert model.n_features == 2
    with pytest.raises(ValueError, match="X has 3 features, but GaussianHMM is expecting 2"):
        model.score(np.zeros((4, 3)))
    assert not hasattr(model, "n_features_in_")


@pytest.mark.parametrize("d", [1, 3])
def test_parameters_of_another_width_may_be_assigned_after_a_fit(d, rng):
    """What is expected of X is what the parameters say, not what a fit once saw."""
    X, other = rng.standard_normal((20, 2)), rng.standard_normal((20, d))
    model = GaussianHMM(2, random_state=0).fit(X)
    model.means_, model.covars_ = np.zeros((2, d)), np.ones((2, d))
    assert model.covars_.shape == (2, d, d)
    assert model.score(other) == pytest.approx(norm.logpdf(other).sum(), rel=1e-12)
    assert model.score([other]) == pytest.approx(model.score(other), rel=1e-12)
    X[0, 1] = np.nan
    for data in (X, [X]):
        with pytest.raises(ValueError, match=f"^GaussianHMM: .* is expecting {d} features"):
            model.score(data)


def test_rates_of_another_width_are_noticed(rng):
    X = rng.integers(0, 2, (40, 1))
    model = PoissonHMM(2, random_state=0).fit(X)
    model.lambdas_ = np.array([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ValueError, match=r"^PoissonHMM: X has 1 features, but .* expecting 2 feat"):
        model.score(X)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_covariances_are_read_as_they_are(covariance, rng):
    model = GaussianHMM(2, covariance, random_state=0).fit(rng.standard_normal((40, 2)))
    before = model.covars_
    model.set_params(n_components=3)
    assert np.array_equal(model.covars_[:2], before)


@pytest.mark.parametrize("model", [GaussianHMM(2, "full"), VariationalGaussianHMM(2)])
def test_full_covariances_may_be_edited(model, rng):
    """In place, as hmmlearn's may."""
    X = rng.standard_normal((30, 2))
    model = clone(model).set_params(random_state=0).fit(X)
    other = copy.deepcopy(model)
    other.covars_ = 9.0 * model.covars_
    before = model.score(X)
    model.covars_[0] *= 9.0
    model.covars_[1] *= 9.0
    assert model.score(X) == other.score(X) < before


@pytest.mark.parametrize("covars", ["abc", [["a"]], [[1], [1, 1]]])
def test_covariances_of_mixtures_are_numbers(covars):
    with pytest.raises(ValueError, match=r"^GMMHMM: covars_ must"):
        GMMHMM(2).covars_ = covars


def test_covariances_of_mixtures_are_arrays():
    model = GMMHMM(2)
    model.covars_ = [[[1, 2]], [[3, 4]]]
    assert model.covars_.shape == (2, 1, 2)


@pytest.mark.parametrize(
    "kind", [k for k in KINDS.values() if "Categorical" not in k.name], ids=lambda kind: kind.name
)
def test_features_may_be_assigned(kind, rng):
    """hmmlearn's programs do, where they assign parameters."""
    X = kind.rows(rng, 20)
    d = X.shape[1]
    model = kind.make(2, random_state=0, n_iter=1)
    model.n_features = 7
    assert not hasattr(model, "n_features")
    model.fit(X).n_features = d
    with pytest.raises(ValueError, match=rf"HMM: n_features must be {d} as .* has it, got 7"):
        model.n_features = 7
    assert model.n_features == d


@pytest.mark.parametrize("symbols", [False, True])
def test_assigned_parameters_take_columns_of_any_name(symbols, rng):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    if symbols:
        model = CategoricalHMM(2)
        model.emissionprob_, X = np.full((2, 2), 0.5), rng.integers(0, 2, (9, 1))
    else:
        model = PoissonHMM(2)
        model.lambdas_, X = np.ones((2, 1)), rng.integers(0, 2, (9, 1))
    model.startprob_, model.transmat_ = [0.5, 0.5], np.full((2, 2), 0.5)
    frame = pandas.DataFrame(X, columns=["a"])
    assert model.score(frame) == model.score([frame]) == model.score(X)
    model.set_params(init_params="").fit(frame)
    with pytest.raises(ValueError, match="feature names"):
        model.score(frame.rename(columns={"a": "b"}))


def test_parameters_with_rows_of_unequal_length():
    uneven, X = [[0, 1], [2]], np.zeros((4, 2))
    message = "^GaussianHMM: means_ must have rows of equal length, got "
    model = GaussianHMM(2, init_params="stc")
    model.means_ = uneven
    with pytest.raises(ValueError, match=message):
        model.n_features  # noqa: B018 - reading it is the test
    with pytest.raises(ValueError, match=message):
        model.fit(X)
    model.startprob_, model.transmat_, model.covars_ = [1, 0], np.eye(2), np.ones((2, 2))
    with pytest.raises(ValueError, match=message):
        model.score(X)
    symbols = CategoricalHMM(2, init_params="st")
    symbols.emissionprob_ = uneven
    with pytest.raises(ValueError, match=r"^CategoricalHMM: emissionprob_ must have rows of equal"):
        symbols.fit(X[:, :1])


def test_other_features_than_in_fit(kind, rng):
    X = kind.rows(rng, 20)
    model = kind.make(2, n_iter=1, random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"features|column"):
        model.score(np.concatenate([X, X], axis=1))
    if "Categorical" not in kind.name:
        model.set_params(init_params="")
        with pytest.raises(ValueError, match="leave"):
            model.fit(np.concatenate([X, X], axis=1))


def test_priors_that_do_not_fit(rng):
    X = rng.standard_normal((10, 2))
    for name in ("startprob_prior", "transmat_prior", "means_prior", "covars_prior"):
        with pytest.raises(ValueError, match=f"{name} must broadcast to shape"):
            GaussianHMM(2, **{name: np.ones(7)}).fit(X)
    with pytest.raises(ValueError, match="covars_weight must broadcast"):
        GMMHMM(2, 2, covars_weight=np.ones(7)).fit(X)
    with pytest.raises(ValueError, match="transmat_prior must be finite"):
        GaussianHMM(2, transmat_prior=np.array([1.0, np.nan])).fit(X)


def test_files_and_copies(kind, rng):
    X = kind.rows(rng, 30)
    model = kind.make(2, n_iter=3, random_state=0).fit(X)
    file = io.BytesIO()
    kernelmill.save(model, file)
    file.seek(0)
    for other in (kernelmill.load(file), pickle.loads(pickle.dumps(model))):
        assert other.score(X) == model.score(X)
        assert np.array_equal(other.predict(X), model.predict(X))
        assert other.monitor_.history == model.monitor_.history
        assert type(other.monitor_) is ConvergenceMonitor
        refit = same_start(other, kind.make(2, n_iter=2)).fit(X)
        assert np.isfinite(refit.score(X))
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    assert not hasattr(fresh, "startprob_")
    assert fresh.fit(X).monitor_.history == model.monitor_.history


def test_the_last_step_of_a_pipeline(rng):
    X = KINDS["GaussianHMM-diag"].rows(rng, 60) * [1.0, 100.0]
    model = make_pipeline(StandardScaler(), GaussianHMM(3, random_state=0)).fit(X)
    assert model.predict(X).shape == (60,)


def test_float32_rows_stay_float32(rng):
    X = KINDS["GaussianHMM-full"].rows(rng, 60)
    for covariance in ("diag", "full"):
        wide = GaussianHMM(3, covariance, random_state=0, n_iter=3, tol=-np.inf).fit(X)
        narrow = same_start(wide, GaussianHMM(3, covariance, n_iter=1))
        wide_again = same_start(wide, GaussianHMM(3, covariance, n_iter=1))
        narrow.fit(X.astype(np.float32))
        wide_again.fit(X)
        # Rows are rounded once and densities computed at float32, 60 of them.
        np.testing.assert_allclose(narrow.monitor_.history, wide_again.monitor_.history, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (GaussianHMM(2, transmat_prior=-1.0), "transmat_prior must be at least 0, got -1"),
        (GaussianHMM(2, startprob_prior=-0.5), "startprob_prior must be at least 0, got -0.5"),
        (GaussianHMM(2, means_weight=-1.0), "means_weight must be at least 0, got -1"),
        (CategoricalHMM(2, emissionprob_prior=-1.0), "emissionprob_prior must be at least 0"),
    ],
)
def test_priors_are_not_negative(model, message):
    X = np.arange(12).reshape(12, 1) % 3
    with pytest.raises(ValueError, match=f"^{type(model).__name__}: {message}"):
        model.fit(X)


@pytest.mark.parametrize("model", [CategoricalHMM, VariationalCategoricalHMM])
def test_a_table_that_is_none_is_started(model):
    X = np.arange(12).reshape(12, 1) % 3
    name = model._widest
    given = model(2, init_params="st", random_state=0)
    setattr(given, name, None)
    assert getattr(given.fit(X), name).shape == (2, 3)
    with pytest.raises(ValueError, match=rf"^{model.__name__}: n_features must be 3 as {name} has"):
        given.set_params(n_features=5).fit(X)
    assert given.set_params(n_features=3).fit(X).score(X) < 0


def test_symbols_that_are_no_numbers_of_columns():
    with pytest.raises(ValueError, match=r"^CategoricalHMM: X must hold symbols below 10000000 "):
        CategoricalHMM(2).fit([[10**9], [1]])


def test_symbols_of_streams_that_are_no_numbers_of_columns(monkeypatch):
    monkeypatch.setattr("kernelmill.hmm._inputs.MOST_SYMBOLS", 5)
    with pytest.raises(ValueError, match=r"^CategoricalHMM: X must hold symbols below 5 .* got 7 "):
        CategoricalHMM(2).fit([np.array([[0], [1]]), np.array([[7]])])


@pytest.mark.parametrize(
    "kind",
    [k for k in KINDS.values() if k.name.partition("-")[2] in COVARIANCES],
    ids=lambda kind: kind.name,
)
def test_covariances_of_another_type_are_noticed(kind, rng):
    """Where K (or M) is d, the shapes of tied and diagonal covariances are the same."""
    X = kind.rows(rng, 40)
    model = kind.make(2, n_iter=2, random_state=0).fit(X)
    before = model.covars_.copy()
    own = model.covariance_type
    for other in set(COVARIANCES) - {own}:
        model.set_params(covariance_type=other, init_params="")
        for run in (model.score, model.predict, model.fit):
            with pytest.raises(ValueError, match=r"must (be of covariance_type|have shape)"):
                run(X)
        assert np.array_equal(model.set_params(covariance_type=own).covars_, before)
    assert np.isfinite(model.set_params(init_params=model.params).fit(X).score(X))


def test_an_unknown_type_of_covariances():
    model = GMMHMM(2, covariance_type="round")
    model.startprob_, model.transmat_, model.weights_ = [1, 0], np.eye(2), np.ones((2, 1))
    model.means_, model.covars_ = np.zeros((2, 1, 1)), np.ones((2, 1, 1))
    with pytest.raises(ValueError, match=r"^GMMHMM: covariance_type must be one of .*got 'round'"):
        model.score(np.zeros((3, 1)))


def test_covariances_may_be_assigned_for_another_type():
    model = GaussianHMM(2, "tied", init_params="st")
    model.means_ = np.array([[0.0, 0.0], [5.0, 5.0]])
    model.covars_ = np.eye(2)
    model.set_params(covariance_type="diag").covars_ = np.ones((2, 2))
    assert np.isfinite(model.fit(model.means_.repeat(5, axis=0)).covars_).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means_prior": [[1], [2, 3]]}, "means_prior must have rows of equal length, got [[1], "),
        ({"means_weight": ["a", "b"]}, "means_weight must be numeric, got ['a', 'b']"),
        ({"covars_weight": [[1], [2, 3]]}, "covars_weight must have rows of equal length"),
        ({"transmat_prior": ["a", "b"]}, "transmat_prior must be numeric, got ['a', 'b']"),
    ],
)
def test_priors_that_are_no_numbers(change, message):
    with pytest.raises(ValueError, match=f"^GaussianHMM: {re.escape(message)}"):
        GaussianHMM(2, **change).fit(np.zeros((9, 2)))


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([5] * 7, "n_trials must be a number or one for each of the 2 rows of X, got shape (7,)"),
        ([[3], [4]], "n_trials must be a number or one for each of the 2 rows of X, got shape (2"),
        ([3, "x"], "n_trials must be numeric, got [3, 'x']"),
        ([[3, 3], [3]], "n_trials must have rows of equal length, got [[3, 3], [3]]"),
    ],
)
def test_trials_that_do_not_fit(trials, message):
    with pytest.raises(ValueError, match=f"^MultinomialHMM: {re.escape(message)}"):
        MultinomialHMM(n_trials=trials).fit([[1, 2], [2, 2]])


def test_nested_lists_of_unequal_length():
    X, uneven = np.zeros((3, 1)), [[1], [1, 1]]
    with pytest.raises(ValueError, match=r"^GaussianHMM: lengths must have rows of equal length"):
        GaussianHMM().fit(X, uneven)
    with pytest.raises(ValueError, match=r"^GaussianHMM: sample_weight must have rows of equal"):
        GaussianHMM().fit(X, [1, 2], uneven)
    for covars in (uneven, "a", [["a"]]):
        with pytest.raises(ValueError, match=r"^GaussianHMM: covars_ must"):
            GaussianHMM().covars_ = covars
