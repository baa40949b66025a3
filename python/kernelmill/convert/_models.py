"""Fitted attributes carried over by name, and for some classes what follows from them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill.accelerate import _switch
from kernelmill.accelerate._table import Entry, defaults, entries, parameters
from kernelmill.convert import _boosters, _histograms, _neighbors, _trees
from kernelmill.convert._attributes import copied


def _nothing(ours: Any, theirs: Any) -> None:
    """The public attributes are all that predictions read."""


def _counts(ours: Any, theirs: Any) -> None:
    ours._known = np.broadcast_to(ours.class_count_[:, None], np.shape(ours.feature_count_))
    ours._update(ours._alphas(ours.n_features_in_))


def _categories(ours: Any, theirs: Any) -> None:
    ours._update(ours._alphas(ours.n_features_in_))


def _gaussian_classes(ours: Any, theirs: Any) -> None:
    ours._still = np.zeros(ours.n_features_in_, bool)


def _labels(ours: Any, theirs: Any) -> None:
    """Whether targets were labels, several at once, which no public attribute says."""
    binarizer = getattr(theirs, "_label_binarizer", None)
    ours._multilabel = getattr(binarizer, "y_type_", "").startswith("multilabel")


def _machine(ours: Any, theirs: Any) -> None:
    """Of support vectors: constants of the pairs, from intercepts about the origin 0."""
    width = getattr(theirs, "_gamma", None)  # no public attribute has what "scale" gave
    ours._gamma = float(theirs.gamma if width is None else width)
    ours._origin = None
    ours.n_support_ = np.array(theirs.n_support_)
    intercepts = np.array(theirs.intercept_)
    if hasattr(theirs, "classes_"):
        ours._constants = -intercepts if len(theirs.classes_) == 2 else intercepts
    else:
        ours._constant = float(intercepts[0])


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


def _fitted_on(rows: Callable, targets: Callable, **given: Any) -> Callable[[Any, Any], None]:
    """Their fit on a few rows, for the attributes that are private; then ours for the public."""

    def back(theirs: Any, ours: Any) -> None:
        parameters = theirs.get_params(deep=False)
        own = {
            name: value(ours) if callable(value) else value
            for name, value in given.items()
            if name in parameters
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such a fit need not converge
            theirs.set_params(**own).fit(rows(ours), targets(ours))
        theirs.set_params(**parameters)
        copied(ours, theirs, _THEIR_OWN)

    return back


_center_rows = _fitted_on(
    lambda ours: ours.cluster_centers_,
    lambda ours: None,
    init=lambda ours: ours.cluster_centers_,
    n_init=1,
    max_iter=1,
)
_two_rows = _fitted_on(
    lambda ours: np.zeros((2, ours.n_features_in_)), lambda ours: np.ones(2), max_iter=1
)


def _two_of_each_class(ours: Any) -> np.ndarray:
    if not ours._multilabel:
        return np.tile(ours.classes_, 2)
    own = np.eye(len(ours.classes_), dtype=np.int64)
    return np.concatenate([own, 1 - own])


_rows_of_each_class = _fitted_on(
    lambda ours: np.zeros((2 * len(ours.classes_), ours.n_features_in_)),
    _two_of_each_class,
    cv=None,  # so few rows have no folds
    store_cv_results=False,
)

_THEIR_OWN = ("monitor_",)  # of a kind that each library has for itself
# Class -> what follows from its public attributes, and whether those make a model of theirs again.
_PLAIN = (
    "ARDRegression BayesianRidge ElasticNet ElasticNetCV FactorAnalysis GaussianMixture "
    "BayesianGaussianMixture HuberRegressor IncrementalPCA KMeans Lars Lasso LassoCV LassoLars "
    "LinearRegression LinearSVC LinearSVR LogisticRegression MinMaxScaler MultiTaskElasticNet "
    "MultiTaskElasticNetCV MultiTaskLasso MultiTaskLassoCV "
    "OrthogonalMatchingPursuit PassiveAggressiveClassifier PassiveAggressiveRegressor PCA "
    "Perceptron PoissonRegressor QuantileRegressor Ridge RidgeCV "
    "RobustScaler SGDClassifier SGDRegressor StandardScaler "
    "TruncatedSVD GammaRegressor TweedieRegressor NearestCentroid"
)
_SEARCHERS = (
    "NearestNeighbors", "KNeighborsClassifier", "KNeighborsRegressor",
    "RadiusNeighborsClassifier", "RadiusNeighborsRegressor", "LocalOutlierFactor",
)  # fmt: skip
_HIDDEN_MARKOV = (
    "CategoricalHMM", "GMMHMM", "GaussianHMM", "MultinomialHMM", "PoissonHMM",
    "VariationalCategoricalHMM", "VariationalGaussianHMM",
)  # fmt: skip
_MODELS: dict[str, Callable[[Any, Any], None]] = {
    **dict.fromkeys(_PLAIN.split(), _nothing),
    "MiniBatchKMeans": _batches,
    **dict.fromkeys(("RidgeClassifier", "RidgeClassifierCV"), _labels),
    **dict.fromkeys(("MultinomialNB", "ComplementNB", "BernoulliNB"), _counts),
    "CategoricalNB": _categories,
    "GaussianNB": _gaussian_classes,
    **dict.fromkeys(("SVC", "SVR", "NuSVC", "NuSVR", "OneClassSVM"), _machine),
    **dict.fromkeys(("DecisionTreeClassifier", "DecisionTreeRegressor"), _trees.tree),
    **dict.fromkeys(("ExtraTreeClassifier", "ExtraTreeRegressor"), _trees.tree),
    **dict.fromkeys(("RandomForestClassifier", "RandomForestRegressor"), _trees.forest),
    **dict.fromkeys(("ExtraTreesClassifier", "ExtraTreesRegressor"), _trees.forest),
    **dict.fromkeys(
        ("GradientBoostingClassifier", "GradientBoostingRegressor"), _trees.gradient_boosting
    ),
    **dict.fromkeys(
        ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"),
        _histograms.histogram_boosting,
    ),
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
    **dict.fromkeys(("GammaRegressor", "PoissonRegressor", "TweedieRegressor"), _two_rows),
    **dict.fromkeys(("RidgeClassifier", "RidgeClassifierCV"), _rows_of_each_class),
}
# Their predictions read private attributes that no public ones give, or the rows of the fit.
_NOT_BACK = {
    "AdaBoostClassifier", "AdaBoostRegressor", "GradientBoostingClassifier",
    "GradientBoostingRegressor", "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor", "IsolationForest", "MultinomialHMM",
    "DecisionTreeClassifier", "DecisionTreeRegressor",
    "ExtraTreeClassifier", "ExtraTreeRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor",
    "NuSVC", "NuSVR", "OneClassSVM",
    "RandomForestClassifier", "RandomForestRegressor", "SVC", "SVR",
}  # fmt: skip


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
    inner = vars(model).get("_kernelmill_model")  # fitted under kernelmill.accelerate()
    if inner is not None:
        return copy.deepcopy(inner)
    if _boosters.library(model):
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
    copied(model, ours, _THEIR_OWN)
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
        If their class keeps what it predicts with where no public attribute reaches, or lacks a
        parameter of ours.

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
    theirs = _switch.original(entry)
    known, given = defaults(theirs), {}
    for parameter, default in defaults(entry.ours()).items():
        value = getattr(model, parameter)
        if parameter in known:
            given[parameter] = copy.deepcopy(value)
        elif value is not default and value != default:
            raise NotImplementedError(
                f"to_sklearn: {name} must have parameters that exist there, got "
                f"{parameter}={value!r}"
            )
    made = theirs(**given)
    if name not in _BACK or entry.assigned:
        copied(model, made, _THEIR_OWN)
    if name in _BACK:
        _BACK[name](made, model)
    return made
