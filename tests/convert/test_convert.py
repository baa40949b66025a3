"""Converted models predict what the originals do."""

from __future__ import annotations

import importlib
import importlib.util

import numpy as np
import pytest

import kernelmill
from kernelmill.accelerate._table import entries

X = np.random.default_rng(3).normal(size=(120, 5))
y = (X[:, 0] > 0.4).astype(int) + (X[:, 1] + 0.3 * X[:, 2] > 0.0)
NEW = np.random.default_rng(4).normal(size=(40, 5))
COUNTED = ("MultinomialNB", "ComplementNB", "BernoulliNB", "CategoricalNB")
METHODS = (
    "predict", "predict_proba", "decision_function", "transform", "inverse_transform",
    "score_samples", "kneighbors", "radius_neighbors_graph",
)  # fmt: skip


NO_TARGETS = (
    "GMMHMM", "GaussianHMM", "MultinomialHMM", "PoissonHMM", "CategoricalHMM",
    "VariationalCategoricalHMM", "VariationalGaussianHMM",
)  # fmt: skip
PARAMETERS = {
    **{name: {"n_components": 3} for name in ("PCA", "TruncatedSVD", "IncrementalPCA")},
    "GaussianMixture": {"n_components": 3},
    **{name: {"n_components": 2, "random_state": 0} for name in NO_TARGETS},
    "LocalOutlierFactor": {"novelty": True},
    "RadiusNeighborsClassifier": {"outlier_label": "most_frequent"},
    "MultinomialHMM": {"n_components": 2, "n_trials": None, "random_state": 0},
}
DIFFERENT = {
    *((name, "predict") for name in NO_TARGETS),  # of equally likely paths
    ("NearestCentroid", "predict_proba"),  # scikit-learn leaves out a half
}
HMM = pytest.mark.skipif(not importlib.util.find_spec("hmmlearn"), reason="compares with hmmlearn")


def named(names):
    return [pytest.param(n, marks=HMM) if n in NO_TARGETS else n for n in names]


def rows(name, values):
    """Features that the class accepts."""
    if name == "MultinomialHMM":
        return np.floor(np.abs(values) * 2).astype(int) + np.eye(5, dtype=int)[0]
    if "CategoricalHMM" in name:
        return np.abs(np.round(values[:, :1])).clip(0, 2).astype(int)
    if name == "PoissonHMM":
        return np.abs(np.round(values)).astype(int)
    if name in COUNTED:
        return np.abs(np.round(values)).clip(0, 2)
    return values


def targets(name, one=False):
    if name.startswith("MultiTask"):
        return np.stack([X[:, 0] + X[:, 1], X[:, 2] * 2.0], axis=1)
    if name in ("PoissonRegressor", "GammaRegressor", "TweedieRegressor"):
        return np.exp(X[:, 0])
    if name == "RadiusNeighborsRegressor":
        return X[:, 0]  # of whole numbers theirs has no NaN
    if name in NO_TARGETS:
        return None
    return np.minimum(y, 1) if one else y


def fitted(name, **parameters):
    entry = entries()[name]
    theirs = getattr(importlib.import_module(entry.module), name)
    return theirs(**PARAMETERS.get(name, {}) | parameters).fit(rows(name, X), targets(name))


def few(name):
    """So many members: a hundred show nothing more."""
    if "Forest" in name or "ExtraTrees" in name:
        return {"n_estimators": 5, "random_state": 0}
    if name.startswith("Gradient"):
        return {"n_estimators": 5}
    return {"max_iter": 5} if name.startswith("HistGradient") else {}


def assert_equal_predictions(one, other, values, only=METHODS):
    compared = 0
    if type(one).__name__ in NO_TARGETS:  # paths may be equally likely
        np.testing.assert_allclose(other.decode(values)[0], one.decode(values)[0], rtol=1e-6)
        np.testing.assert_allclose(other.score(values), one.score(values), rtol=1e-6)
    for method in METHODS:
        if (type(one).__name__, method) in DIFFERENT:
            continue
        if not hasattr(one, method) or (method not in only and not hasattr(other, method)):
            continue  # ours may have more
        given = values
        if method == "inverse_transform":
            given = one.transform(values)
        expected = getattr(one, method)(given)
        found = getattr(other, method)(given)
        if isinstance(expected, tuple):
            np.testing.assert_allclose(found[1], expected[1], rtol=1e-6, atol=1e-9)
            expected, found = expected[0], found[0]
        if hasattr(expected, "toarray"):
            expected, found = expected.toarray(), found.toarray()
        if np.asarray(expected).dtype.kind in "iuOU":
            assert np.array_equal(found, expected), method
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9, err_msg=method)
        compared += 1
    assert compared


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", named(kernelmill.convert.classes()))
def test_predictions_are_equal(name):
    theirs = fitted(name, **few(name))
    ours = kernelmill.convert(theirs)
    assert type(ours).__module__.startswith("kernelmill.")
    assert_equal_predictions(theirs, ours, rows(name, NEW))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", named(kernelmill.convert.classes(back=True)))
def test_and_back(name):
    entry = entries()[name]
    ours = entry.ours()(**PARAMETERS.get(name, {}) | few(name)).fit(rows(name, X), targets(name))
    theirs = kernelmill.convert.to_sklearn(ours)
    assert type(theirs).__module__.split(".")[0] in ("sklearn", "hmmlearn")
    assert_equal_predictions(ours, theirs, rows(name, NEW), only=())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("RidgeClassifier", {}), ("RidgeClassifierCV", {}), ("RidgeClassifierCV", {"cv": 5}),
    ],
)  # fmt: skip
def test_ridge_classifiers_of_several_labels_and_with_folds(name, parameters):
    labels = np.stack([y > 0, X[:, 1] > 0, X[:, 2] > 0.3], axis=1).astype(int)
    for given in (y, labels):
        ours = entries()[name].ours()(**parameters).fit(X, given)
        theirs = kernelmill.convert.to_sklearn(ours)
        assert theirs.get_params().items() <= ours.get_params().items()
        assert_equal_predictions(ours, theirs, NEW, only=("predict", "decision_function"))
        assert_equal_predictions(theirs, kernelmill.convert(theirs), NEW)


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid"])
@pytest.mark.parametrize("two", [True, False])
def test_every_kernel(kernel, two):
    from sklearn.svm import SVC

    theirs = SVC(kernel=kernel).fit(X, targets("SVC", one=two))
    assert_equal_predictions(theirs, kernelmill.convert(theirs), NEW)


@pytest.mark.parametrize("parameters", [{"max_leaf_nodes": 9}, {"max_depth": 1}, {}])
def test_every_kind_of_tree(parameters):
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    gaps = np.where(np.random.default_rng(5).random(X.shape) < 0.2, np.nan, X)
    several = np.stack([y, (X[:, 2] > 0).astype(int)], axis=1)
    for kind in (DecisionTreeClassifier, DecisionTreeRegressor):
        for given, labels in ((X, y), (gaps, y), (X, several)):
            theirs = kind(**parameters).fit(given, labels)
            ours = kernelmill.convert(theirs)
            assert np.array_equal(ours.predict(given), theirs.predict(given))
            assert ours.tree_.node_count == theirs.tree_.node_count
            assert np.allclose(ours.feature_importances_, theirs.feature_importances_)


def test_arrays_are_copies():
    theirs = fitted("Ridge")
    ours = kernelmill.convert(theirs)
    ours.coef_ += 1
    assert not np.allclose(theirs.coef_, ours.coef_)


@pytest.mark.parametrize("used", [True, False])
def test_scaling_goes_on(used):
    from sklearn.preprocessing import StandardScaler

    theirs = StandardScaler(with_mean=used, with_std=used).fit(X)
    ours = kernelmill.convert(theirs).partial_fit(NEW)
    np.testing.assert_allclose(ours.transform(X), theirs.partial_fit(NEW).transform(X), atol=1e-12)
    assert ours.n_samples_seen_ == 160


@pytest.mark.parametrize("weighted", [True, False])
def test_gaussian_classes_go_on(weighted):
    from sklearn.naive_bayes import GaussianNB

    labels = np.resize(["a", "b", "c"], 120)
    theirs = GaussianNB().fit(X, labels, np.linspace(0.5, 2, 120) if weighted else None)
    there = theirs.predict_proba(NEW)
    ours = kernelmill.convert(theirs)
    ours.partial_fit(NEW, labels[:40])
    np.testing.assert_allclose(theirs.predict_proba(NEW), there)  # its arrays are its own
    theirs.partial_fit(NEW, labels[:40])
    np.testing.assert_allclose(ours.theta_, theirs.theta_, atol=1e-14)
    np.testing.assert_allclose(ours.var_ - ours.epsilon_, theirs.var_ - theirs.epsilon_, rtol=1e-9)
    np.testing.assert_allclose(ours.class_prior_, theirs.class_prior_, rtol=1e-14)


def test_a_class_without_rows_goes_on():
    from sklearn.naive_bayes import GaussianNB

    some, more = np.resize(["a", "b"], 120), np.resize(["a", "b", "c"], 40)
    theirs = GaussianNB().partial_fit(X, some, classes=["a", "b", "c"])
    ours = kernelmill.convert(theirs).partial_fit(NEW, more)
    theirs.partial_fit(NEW, more)
    np.testing.assert_allclose(ours.theta_, theirs.theta_, atol=1e-14)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("average", [False, True, 100, 10**9])
@pytest.mark.parametrize("kind", ["two", "three", "numbers"])
def test_steps_go_on(average, kind):
    from sklearn.linear_model import SGDClassifier, SGDRegressor

    own = {"two": y > 0, "three": np.digitize(y, [-1, 1]), "numbers": y}[kind]
    cls = SGDRegressor if kind == "numbers" else SGDClassifier
    theirs = cls(average=average, shuffle=False).fit(X, own)
    ours = kernelmill.convert(theirs)
    back = kernelmill.convert.to_sklearn(ours)
    for model in (theirs, ours, back):
        model.partial_fit(NEW, own[:40])
        assert model.t_ == theirs.t_
    for model in (ours, back):
        np.testing.assert_allclose(model.coef_, theirs.coef_, rtol=1e-9)
    if not (kind == "three" and average in (True, 100)):
        # theirs puts the intercepts of the last step for their means there
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-9)


@pytest.mark.parametrize("name", ["Perceptron", "PassiveAggressiveRegressor"])
@pytest.mark.filterwarnings("ignore")
def test_steps_of_one_rate_go_on(name):
    theirs = fitted(name, shuffle=False)
    ours = kernelmill.convert(theirs)
    for model in (ours, theirs):
        model.partial_fit(rows(name, NEW), targets(name)[:40])
    assert ours.t_ == theirs.t_
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["LinearSVC", "LinearSVR"])
def test_machines_of_unknown_numbers_of_rows_do_not_go_on(name):
    ours = kernelmill.convert(fitted(name))
    before = ours.coef_.copy()
    with pytest.raises(NotImplementedError, match=f"{name}: partial_fit must go on from a model"):
        ours.partial_fit(X, targets(name))
    assert np.array_equal(ours.coef_, before)
    ours.fit(X, targets(name)).partial_fit(NEW, targets(name)[:40])


def test_accelerated_models_give_what_is_inside():
    with kernelmill.accelerate():
        from sklearn.linear_model import Ridge

        model = Ridge().fit(X, y)
    ours = kernelmill.convert(model)
    assert type(ours) is kernelmill.linear_model.Ridge
    assert np.array_equal(ours.coef_, model.coef_)


def test_parameters_and_results_of_the_fit_go_back():
    model = kernelmill.cluster.KMeans(3, n_init=2, random_state=0).fit(X)
    theirs = kernelmill.convert.to_sklearn(model)
    parameters = model.get_params()
    assert theirs.get_params().items() <= parameters.items()
    assert theirs.inertia_ == model.inertia_
    assert theirs.n_iter_ == model.n_iter_
    assert np.array_equal(theirs.labels_, model.labels_)


def test_what_cannot_be_converted_says_so():
    from sklearn.exceptions import NotFittedError
    from sklearn.linear_model import Ridge
    from sklearn.manifold import Isomap

    with pytest.raises(NotImplementedError, match=r"convert: model must be .*, got .*Isomap"):
        kernelmill.convert(Isomap().fit(X))
    with pytest.raises(NotImplementedError, match=r"to_sklearn: model must be .*, got .*Isomap"):
        kernelmill.convert.to_sklearn(kernelmill.manifold.Isomap().fit(X))
    with pytest.raises(NotFittedError):
        kernelmill.convert(Ridge())
    with pytest.raises(NotImplementedError, match=r"convert: model must be .*, got .*NoneType"):
        kernelmill.convert(None)

    class Ridge(Ridge):  # another class of that name
        pass

    assert type(kernelmill.convert(Ridge().fit(X, y))) is kernelmill.linear_model.Ridge
