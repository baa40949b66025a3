"""Fitted attributes carried over by name, and for some classes what follows from them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._estimator._class_moments import ClassMoments, Sums
from kernelmill.accelerate import _switch
from kernelmill.accelerate._table import SENTINELS, Entry, defaults, entries, parameters
from kernelmill.convert import _boosters, _histograms, _machines, _neighbors, _trees, _trees_back
from kernelmill.convert._attributes import THEIR_OWN, copied, fitted_on
from kernelmill.ops.sgd import STATE as _STATE


def _nothing(ours: Any, theirs: Any) -> None:
    """The public attributes are all that predictions read."""


def _counts(ours: Any, theirs: Any) -> None:
    ours._known = np.broadcast_to(ours.class_count_[:, None], np.shape(ours.feature_count_))
    ours._update(ours._alphas(ours.n_features_in_))


def _categories(ours: Any, theirs: Any) -> None:
    ours._update(ours._alphas(ours.n_features_in_))


def _gaussian_classes(ours: Any, theirs: Any) -> None:
    """Means and variances determine the sums that `partial_fit` goes on from."""
    ours._still = np.zeros(ours.n_features_in_, bool)
    count = np.asarray(ours.class_count_, np.float64)
    weights = np.repeat(count[:, None], ours.n_features_in_, axis=1)
    origins = np.where(weights > 0, ours.theta_, np.nan)
    squares = weights * np.maximum(ours.var_ - ours.epsilon_, 0.0)
    sums = Sums(weights, np.zeros_like(weights), squares)
    ClassMoments(origins, count, sums, int(count.sum())).keep(ours)


def _labels(ours: Any, theirs: Any) -> None:
    """Whether targets were labels, several at once, which no public attribute says."""
    binarizer = getattr(theirs, "_label_binarizer", None)
    ours._multilabel = getattr(binarizer, "y_type_", "").startswith("multilabel")


def _moments(ours: Any, theirs: Any) -> None:
    """What `partial_fit` goes on from: the mean has no part beyond its last bit."""
    ours._mean_rest = np.zeros(ours.n_features_in_)


def _steps(ours: Any, theirs: Any) -> None:
    """Where `partial_fit` goes on: the number of the step, and the mean of the weights."""
    coef, intercept = theirs.coef_, theirs.intercept_
    coef = np.atleast_2d(coef.toarray() if is_sparse(coef) else coef)
    ours._continue_from(coef, intercept, getattr(theirs, "t_", 1.0) - 1)
    if ours.average and hasattr(theirs, "_standard_coef"):
        state = ours._trained[1]
        state[:, _STATE.index("intercept")] = theirs._standard_intercept
        state[:, _STATE.index("average_intercept")] = theirs._average_intercept
        means = (theirs._standard_coef, theirs._average_coef)
        weights, averages = (np.array(np.atleast_2d(a), np.float64) for a in means)
        ours._trained = weights, state, averages


def _rows_unknown(ours: Any, theirs: Any) -> None:
    """Theirs does not say of how many rows it is; `partial_fit` would weigh the new ones by it."""
    ours._seen = math.nan


def _steps_there(theirs: Any, ours: Any) -> None:
    copied(ours, theirs, THEIR_OWN)
    if not ours.average:
        return
    weights, state, averages = ours._trained
    shape, dtype = np.shape(theirs.coef_), theirs.coef_.dtype
    theirs._standard_coef = weights.astype(dtype).reshape(shape)
    theirs._average_coef = averages.astype(dtype).reshape(shape)
    theirs._standard_intercept = state[:, _STATE.index("intercept")].astype(dtype)
    theirs._average_intercept = state[:, _STATE.index("average_intercept")].astype(dtype)


def _batches(ours: Any, theirs: Any) -> None:
    ours._rows_since_reassignment, ours._seed = 0, 0
    ours.counts_ = np.array(theirs._counts, dtype=np.float64)


def _members(ours: Any, theirs: Any) -> None:
    """Members become ours where their class can."""
    ours.estimators_ = [
        convert(member) if type(member).__name__ in _MODELS else copy.deepcopy(member)
        for member in theirs.estimators_
    ]


def _assigned(ours: Any, theirs: Any) -> None:
    """Hidden Markov models take assigned parameters; covariances have their own reading."""
    if hasattr(theirs, "covars_"):
        ours.covars_ = np.array(theirs.covars_)


def _assigned_there(theirs: Any, ours: Any) -> None:
    """hmmlearn takes covariances in the shape of their type."""
    if hasattr(ours, "covars_"):
        theirs.n_features = ours.means_.shape[-1]
        theirs.covars_ = np.array(ours._covars_)


_center_rows = fitted_on(
    lambda ours: ours.cluster_centers_,
    lambda ours: None,
    init=lambda ours: ours.cluster_centers_,
    n_init=1,
    max_iter=1,
)
_two_rows = fitted_on(
    lambda ours: np.zeros((2, ours.n_features_in_)), lambda ours: np.ones(2), max_iter=1
)


def _two_of_each_class(ours: Any) -> np.ndarray:
    if not ours._multilabel:
        return np.tile(ours.classes_, 2)
    own = np.eye(len(ours.classes_), dtype=np.int64)
    return np.concatenate([own, 1 - own])


_rows_of_each_class = fitted_on(
    lambda ours: np.zeros((2 * len(ours.classes_), ours.n_features_in_)),
    _two_of_each_class,
    cv=None,  # so few rows have no folds
    store_cv_results=False,
)

# Class -> what follows from its public attributes, and whether those make a model of theirs again.
_PLAIN = (
    "ARDRegression BayesianRidge ElasticNet ElasticNetCV FactorAnalysis GaussianMixture "
    "BayesianGaussianMixture HuberRegressor IncrementalPCA KMeans Lars Lasso LassoCV LassoLars "
    "LinearRegression LogisticRegression LogisticRegressionCV MinMaxScaler "
    "MultiTaskElasticNet MultiTaskElasticNetCV MultiTaskLasso MultiTaskLassoCV "
    "OrthogonalMatchingPursuit PCA PoissonRegressor QuantileRegressor Ridge RidgeCV RobustScaler "
    "TruncatedSVD GammaRegressor TweedieRegressor NearestCentroid"
)
_STEPWISE = (
    "PassiveAggressiveClassifier", "PassiveAggressiveRegressor", "Perceptron", "SGDClassifier",
    "SGDRegressor",
)  # fmt: skip
_SEARCHERS = (
    "NearestNeighbors", "KNeighborsClassifier", "KNeighborsRegressor",
    "RadiusNeighborsClassifier", "RadiusNeighborsRegressor", "LocalOutlierFactor",
)  # fmt: skip
_HIDDEN_MARKOV = (
    "CategoricalHMM", "GMMHMM", "GaussianHMM", "MultinomialHMM", "PoissonHMM",
    "VariationalCategoricalHMM", "VariationalGaussianHMM",
)  # fmt: skip
_VECTOR_MACHINES = ("SVC", "SVR", "NuSVC", "NuSVR", "OneClassSVM")
_TREES = (
    "DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor",
)  # fmt: skip
_FORESTS = (
    "RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier",
    "ExtraTreesRegressor",
)  # fmt: skip
_STAGED = ("GradientBoostingClassifier", "GradientBoostingRegressor")
_HISTOGRAMS = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
_MODELS: dict[str, Callable[[Any, Any], None]] = {
    **dict.fromkeys(_PLAIN.split(), _nothing),
    "MiniBatchKMeans": _batches,
    "StandardScaler": _moments,
    **dict.fromkeys(_STEPWISE, _steps),
    **dict.fromkeys(("LinearSVC", "LinearSVR"), _rows_unknown),
    **dict.fromkeys(("RidgeClassifier", "RidgeClassifierCV"), _labels),
    **dict.fromkeys(("MultinomialNB", "ComplementNB", "BernoulliNB"), _counts),
    "CategoricalNB": _categories,
    "GaussianNB": _gaussian_classes,
    **dict.fromkeys(_VECTOR_MACHINES, _machines.here),
    **dict.fromkeys(_TREES, _trees.tree),
    **dict.fromkeys(_FORESTS, _trees.forest),
    **dict.fromkeys(_STAGED, _trees.gradient_boosting),
    **dict.fromkeys(_HISTOGRAMS, _histograms.histogram_boosting),
    "IsolationForest": _trees.isolation,
    **dict.fromkeys(("AdaBoostClassifier", "AdaBoostRegressor"), _members),
    **dict.fromkeys(_SEARCHERS, _neighbors.here),
    "KernelDensity": _neighbors.density,
    **dict.fromkeys(_HIDDEN_MARKOV, _assigned),
}
# What makes theirs of ours again, where that is more than public attributes.
_BACK: dict[str, Callable[[Any, Any], None]] = {
    **dict.fromkeys((*_SEARCHERS, "KernelDensity"), _neighbors.back),
    **dict.fromkeys(_HIDDEN_MARKOV, _assigned_there),
    **dict.fromkeys(("KMeans", "MiniBatchKMeans"), _center_rows),
    **dict.fromkeys(_STEPWISE, _steps_there),
    **dict.fromkeys(("GammaRegressor", "PoissonRegressor", "TweedieRegressor"), _two_rows),
    **dict.fromkeys(("RidgeClassifier", "RidgeClassifierCV"), _rows_of_each_class),
    **dict.fromkeys(_VECTOR_MACHINES, _machines.back),
    **dict.fromkeys(_TREES, _trees_back.tree),
    **dict.fromkeys(_FORESTS, _trees_back.forest),
    **dict.fromkeys(_STAGED, _trees_back.gradient_boosting),
    **dict.fromkeys(_HISTOGRAMS, _histograms.back),
    "IsolationForest": _trees_back.isolation,
    **dict.fromkeys(("AdaBoostClassifier", "AdaBoostRegressor"), _trees_back.members),
}
_NOT_BACK = {"MultinomialHMM"}  # hmmlearn's knows no numbers of trials but those of its fit


def classes(*, back: bool = False) -> list[str]:
    """List the classes of scikit-learn whose fitted models can be converted.

    Parameters
    ----------
    back : bool, default=False
        The classes that `kernelmill.convert.to_sklearn` makes, instead.

    Returns
    -------
    names : list of str
        Sorted.

    Examples
    --------
    >>> import kernelmill
    >>> "Ridge" in kernelmill.convert.classes()
    True
    """
    return sorted(name for name in _MODELS if not (back and name in _NOT_BACK))


def _entry_of(model: Any, name: str, purpose: str, known: list[str]) -> Entry:
    if name not in known:
        raise NotImplementedError(
            f"{purpose}: model must be of a class of kernelmill.convert.classes(), got "
            f"{type(model).__module__}.{type(model).__name__}"
        )
    return entries()[name]


def convert(model: Any) -> Any:
    """Make our model of a fitted one of another library, with equal predictions."""
    name = type(model).__name__
    # Fitted under kernelmill.accelerate().
    inner = getattr(model, "__dict__", {}).get("_kernelmill_model")
    if inner is not None:
        return copy.deepcopy(inner)
    if _boosters.library(model) and hasattr(model, "predict"):
        return _boosters.converted(model)
    entry = _entry_of(model, name, "convert", classes())
    theirs = _switch.original(entry)
    if type(model) is entry.ours():
        return copy.deepcopy(model)
    if not isinstance(model, theirs):
        _entry_of(model, "", "convert", classes())
    check_is_fitted(model)
    given, reason = parameters(entry, theirs, {n: getattr(model, n) for n in defaults(theirs)})
    if reason:
        raise NotImplementedError(f"convert: {name} must have parameters that exist here: {reason}")
    ours = entry.ours()(**copy.deepcopy(given))
    copied(model, ours, THEIR_OWN)
    _MODELS[name](ours, model)
    return ours


def to_sklearn(model: Any) -> Any:
    """Make a fitted model of scikit-learn of ours, with equal predictions.

    Parameters
    ----------
    model : estimator
        Fitted, of one of ``kernelmill.convert.classes(back=True)``.

    Returns
    -------
    model : estimator
        Of scikit-learn's class of that name, with copies of the arrays.

    Raises
    ------
    NotImplementedError
        If their class cannot predict the same (a kernel or a split of categorical levels that it
        lacks), or lacks a parameter of ours.

    Examples
    --------
    >>> import kernelmill
    >>> from kernelmill.linear_model import Ridge
    >>> model = Ridge().fit([[0.0], [1.0], [2.0]], [1.0, 2.0, 3.0])
    >>> theirs = kernelmill.convert.to_sklearn(model)
    >>> type(theirs).__module__.split(".")[0]
    'sklearn'
    """
    name = type(model).__name__
    entry = _entry_of(model, name, "to_sklearn", classes(back=True))
    if type(model) is not entry.ours():
        _entry_of(model, "", "to_sklearn", [])
    check_is_fitted(model)
    made = _unfitted_there(model, entry)
    if name not in _BACK or entry.assigned:
        copied(model, made, THEIR_OWN)
    if name in _BACK:
        _BACK[name](made, model)
    return made


def _unfitted_there(model: Any, entry: Entry) -> Any:
    """Theirs with the parameters of ours, estimators among these included."""
    theirs, own = _switch.original(entry), entries()
    known, given = defaults(theirs), {}
    for parameter, default in defaults(entry.ours()).items():
        value, kind = getattr(model, parameter), type(getattr(model, parameter)).__name__
        plain = value is default or (isinstance(value, type(default)) and value == default)
        if parameter in known and kind in own and type(value) is own[kind].ours():
            given[parameter] = _unfitted_there(value, own[kind])
        elif parameter in known and not (plain and known[parameter] in SENTINELS):
            given[parameter] = copy.deepcopy(value)
        elif parameter not in known and not plain:
            raise NotImplementedError(
                f"to_sklearn: {type(model).__name__} must have parameters that exist there, got "
                f"{parameter}={value!r}"
            )
    return theirs(**given)
