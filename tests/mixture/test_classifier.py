"""MixtureClassifier: Bayes' rule by hand, QDA, rejection, priors."""

import itertools
import pickle

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.model_selection import GridSearchCV

import kernelmill
from kernelmill.mixture import BayesianGaussianMixture, GaussianMixture, MixtureClassifier


@pytest.fixture
def wheel(rng):
    """Two classes in turn around a circle: their Gaussians are equal, their mixtures are not."""
    sector = rng.integers(6, size=600)
    angle = np.pi / 3 * (sector + 0.15 * rng.normal(size=600))
    radius = 5 + 0.3 * rng.normal(size=600)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), sector % 2


def test_bayes_rule_by_hand():
    X, y = [[-2.0], [0.0], [4.0], [6.0], [5.0]], [0, 0, 1, 1, 1]
    model = MixtureClassifier(reg_covar=0).fit(X, y)
    np.testing.assert_allclose(model.priors_, [0.4, 0.6])
    likelihood = np.array([0.4 * norm.pdf(1, -1, 1), 0.6 * norm.pdf(1, 5, np.sqrt(2 / 3))])
    expected = likelihood / likelihood.sum()
    np.testing.assert_allclose(model.predict_proba([[1.0]])[0], expected, rtol=1e-10)
    np.testing.assert_allclose(model.predict_log_proba([[1.0]])[0], np.log(expected), rtol=1e-10)
    assert model.score_samples([[1.0]])[0] == pytest.approx(np.log(likelihood.sum()))
    gap = np.log(likelihood[1]) - np.log(likelihood[0])
    np.testing.assert_allclose(model.decision_function([[1.0]]), [gap], rtol=1e-10)
    assert model.predict([[1.0], [3.0]]).tolist() == [0, 1]


def test_one_gaussian_a_class_is_qda(make):
    X = make(500, 3, 3)
    y = np.array(["a", "b", "c"])[np.argmin(((X[:, None] - X[:3]) ** 2).sum(axis=2), axis=1)]
    ours = MixtureClassifier(reg_covar=0).fit(X, y)
    peer = QuadraticDiscriminantAnalysis().fit(X, y)
    # QDA divides by n - 1.
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X), atol=0.05)
    assert (ours.predict(X) == peer.predict(X)).mean() > 0.98
    assert ours.decision_function(X).shape == (500, 3)


def test_mixtures_follow_shapes(wheel):
    X, y = wheel
    assert MixtureClassifier().fit(X, y).score(X, y) < 0.7
    assert MixtureClassifier(6, random_state=0).fit(X, y).score(X, y) > 0.99
    several = MixtureClassifier([5, 9], random_state=0).fit(X, y)
    assert [model.n_components for model in several.mixtures_] == [5, 9]
    prototype = GaussianMixture(6, covariance_type="diag", random_state=0, n_init=2)
    model = MixtureClassifier(mixture=prototype).fit(X, y)
    assert model.score(X, y) > 0.98
    assert "means_" not in vars(prototype)
    bayesian = BayesianGaussianMixture(8, random_state=0, max_iter=500)
    assert MixtureClassifier(mixture=bayesian).fit(X, y).score(X, y) > 0.98


def test_parameters_of_the_prototype_can_be_searched(wheel):
    X, y = wheel
    grid = {"mixture__n_components": [1, 6]}
    search = GridSearchCV(
        MixtureClassifier(mixture=GaussianMixture(random_state=0), random_state=0), grid, cv=3
    )
    assert search.fit(X, y).best_params_ == {"mixture__n_components": 6}


@pytest.mark.parametrize("labels", [(0, 1), ("in", "out"), (0.0, 1.0), (False, True)], ids=str)
def test_rejection(wheel, labels):
    X, codes = wheel
    y = np.array(labels)[codes]
    model = MixtureClassifier(6, random_state=0, contamination=0.05).fit(X, y)
    far = np.array([[100.0, 0.0], [0.0, 0.0]])
    found = model.predict(np.vstack([far, X]))
    assert found[0] == found[1] == -1
    rejected = model.is_outlier(X)
    assert 0.03 <= rejected.mean() <= 0.07
    assert set(np.unique(found[2:][~rejected].astype(y.dtype))) == set(labels)
    # Exactly the share that was asked for falls below the threshold of its own class.
    for code in (0, 1):
        own = model.mixtures_[code].score_samples(X[codes == code])
        assert (own < model.offset_[code]).sum() == int(0.05 * len(own))
    np.testing.assert_allclose(model.predict_proba(far).sum(axis=1), 1)
    plain = MixtureClassifier(6, random_state=0).fit(X, y)
    assert set(plain.predict(far)) <= set(labels)
    assert not hasattr(plain, "is_outlier")
    named = MixtureClassifier(1, contamination=0.05, outlier_label="unknown").fit(X, y)
    assert named.predict(far[:1])[0] == "unknown"


def test_the_label_of_outliers_is_no_class(wheel):
    X, y = wheel
    with pytest.raises(ValueError, match="outlier_label must be none of the classes, got 1"):
        MixtureClassifier(contamination=0.05, outlier_label=1).fit(X, y)
    assert MixtureClassifier(outlier_label=1).fit(X, y).classes_.tolist() == [0, 1]


def test_priors(wheel):
    X, y = wheel
    model = MixtureClassifier(priors=[0.999, 0.001]).fit(X, y)
    assert (model.predict(X) == 0).mean() > (MixtureClassifier().fit(X, y).predict(X) == 0).mean()
    np.testing.assert_array_equal(MixtureClassifier(priors=[1, 0]).fit(X, y).predict(X), 0)
    with pytest.warns(UserWarning, match="priors must sum to one within 1e-05, got 4"):
        scaled = MixtureClassifier(priors=[1, 3]).fit(X, y)
    np.testing.assert_array_equal(scaled.priors_, [0.25, 0.75])
    with pytest.raises(ValueError, match="priors must be 2 numbers that are not negative"):
        MixtureClassifier(priors=[1.0]).fit(X, y)


def test_weights_equal_repetition(wheel, rng):
    X, y = wheel
    w = rng.integers(0, 3, size=len(X))
    options = {"contamination": 0.1}
    weighted = MixtureClassifier(**options).fit(X, y, sample_weight=w)
    repeated = MixtureClassifier(**options).fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-10)
    np.testing.assert_allclose(weighted.offset_, repeated.offset_, rtol=1e-10)
    np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))
    lost = MixtureClassifier().fit(X, y, sample_weight=(y == 1).astype(float))
    assert lost.classes_.tolist() == [1]


def test_gaps(wheel, rng):
    X, y = wheel
    X[rng.random(X.shape) < 0.1] = np.nan
    model = MixtureClassifier(6, random_state=0).fit(X, y)
    whole = ~np.isnan(X).any(axis=1)
    assert model.score(X[whole], y[whole]) > 0.97
    lost = np.full((1, 2), np.nan)
    np.testing.assert_allclose(model.predict_proba(lost)[0], model.priors_, rtol=1e-9)


def test_small_classes_get_fewer_components(wheel):
    X, y = wheel
    y = y.copy()
    y[:2] = 2
    model = MixtureClassifier(4, random_state=0).fit(X, y)
    assert [m.n_components for m in model.mixtures_] == [4, 4, 2]


def test_float32_and_files(wheel, tmp_path):
    X, y = wheel
    model = MixtureClassifier(3, random_state=0, contamination=0.1).fit(X.astype(np.float32), y)
    assert model.predict_proba(X.astype(np.float32)).dtype == np.float32
    kernelmill.save(model, tmp_path / "model.safetensors")
    for again in (
        pickle.loads(pickle.dumps(model)),
        kernelmill.load(tmp_path / "model.safetensors"),
    ):
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert "mixtures_" not in vars(clone(model))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixture": 3}, "mixture must be None, a GaussianMixture or a Bayes"),
        ({"n_components": [1, 2, 3]}, "n_components must be a whole number of at least 1, or one"),
        ({"contamination": 0}, "contamination must be a number above 0"),
        ({"outlier_label": None}, "outlier_label must be a number or a string"),
    ],
    ids=str,
)
def test_messages(wheel, options, message):
    with pytest.raises(ValueError, match=f"^MixtureClassifier: {message}"):
        MixtureClassifier(**options).fit(*wheel)
    with pytest.raises(ValueError, match="y must have one entry for each row of X, got 3 for"):
        MixtureClassifier().fit(wheel[0], [0, 1, 0])
    with pytest.raises(ValueError, match="y must be finite"):
        MixtureClassifier().fit(wheel[0], np.full(600, np.nan))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, "a"] * 10, "y must be all numbers or all strings, got int and str"),
        (np.array([0, "a", None, 1.0] * 5, dtype=object), "y must be all numbers or all strings"),
        (np.linspace(0, 1, 20), "y must be a vector of class labels, .*continuous"),
        ([[1]] * 10 + [[1, 2]] * 10, "y must have rows of equal length"),
        (np.zeros((20, 2)), "y must be a vector of class labels, got something else .*1d"),
    ],
)
def test_labels_that_are_none(y, message, rng):
    with pytest.raises(ValueError, match=f"^MixtureClassifier: {message}"):
        MixtureClassifier().fit(rng.standard_normal((20, 2)), y)


def test_rejection_that_nobody_asked_for(wheel):
    model = MixtureClassifier().fit(*wheel)
    message = "MixtureClassifier: contamination must be a share of outliers for is_outlier"
    with pytest.raises(AttributeError, match=message):
        model.is_outlier(wheel[0])


@pytest.mark.parametrize("weighted", [False, True])
def test_streams_equal_memory(wheel, rng, weighted):
    X, y = wheel
    X[::50, 0] = np.nan
    w = rng.integers(0, 3, size=len(X)).astype(float) if weighted else None
    options = {"contamination": 0.1}
    memory = MixtureClassifier(**options).fit(X, y, sample_weight=w)
    cuts = [0, 17, 17, 300, 600]
    chunks = [X[a:b] for a, b in itertools.pairwise(cuts)]
    for stream in (chunks, lambda: iter(chunks)):
        model = MixtureClassifier(**options).fit(stream, y, sample_weight=w)
        # Sums over chunks round differently: n eps, times the condition of the covariances.
        np.testing.assert_allclose(model.predict_proba(X), memory.predict_proba(X), atol=1e-9)
        np.testing.assert_allclose(model.offset_, memory.offset_, rtol=1e-9)
        np.testing.assert_array_equal(model.priors_, memory.priors_)
    for name in ("predict", "predict_proba", "score_samples", "decision_function", "is_outlier"):
        found, expected = getattr(model, name)(chunks), getattr(model, name)(X)
        np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=name)
    if weighted:
        pairs = [(X[a:b], w[a:b]) for a, b in itertools.pairwise(cuts)]
        again = MixtureClassifier(**options).fit(pairs, y)
        np.testing.assert_array_equal(again.offset_, model.offset_)


def test_streams_that_do_not_fit(wheel):
    X, y = wheel
    with pytest.raises(ValueError, match="y must have one entry for each row of X, got 600 for 10"):
        MixtureClassifier().fit([X[:10]], y)
    with pytest.raises(ValueError, match="X must be readable more than once, got a list_iterator"):
        MixtureClassifier().fit(iter([X]), y)
    model = MixtureClassifier().fit([X], y)
    with pytest.raises(ValueError, match="features"):
        model.predict([X[:, :1]])


def test_stream_without_rows(rng):
    model = MixtureClassifier(2).fit(rng.normal(size=(20, 2)), np.repeat([0, 1], 10))
    assert model.predict(lambda: iter([np.empty((0, 2))])).shape == (0,)
    assert model.predict_proba(lambda: iter([np.empty((0, 2))])).shape == (0, 2)


def test_priors_within_the_tolerance_are_taken_without_a_warning(rng):
    X, y = rng.normal(size=(20, 2)), np.repeat([0, 1], 10)
    model = MixtureClassifier(priors=[0.3, 0.700009]).fit(X, y)
    assert model.priors_.sum() == 1
    with pytest.raises(ValueError, match="priors must have a positive, finite sum, got 0"):
        MixtureClassifier(priors=[0.0, 0.0]).fit(X, y)


def test_stream_of_zero_weights_is_refused(rng):
    chunks = [(rng.normal(size=(9, 2)), np.zeros(9))] * 2
    with pytest.raises(ValueError, match=r"^MixtureClassifier: sample_weight must have a positive"):
        MixtureClassifier().fit(chunks, np.arange(18) % 2)
