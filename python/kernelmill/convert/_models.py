"""Fitted attributes carried over by name, and for some classes what follows from them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill.accelerate import _switch
from kernelmill.accelerate._table import Entry, defaults, entries, parameters
from kernelmill.tree._fitted import ARRAYS, walkable
from kernelmill.tree._growth import Grown

_NO_SIDES = np.zeros((0, 32), np.uint8)


def _nothing(ours: Any, theirs: Any) -> None:
    """The public attributes are all that predictions read."""


def _counts(ours: Any, theirs: Any) -> None:
    ours._known = np.broadcast_to(ours.class_count_[:, None], np.shape(ours.feature_count_))
    ours._update(ours._alphas(ours.n_features_in_))


def _categories(ours: Any, theirs: Any) -> None:
    ours._update(ours._alphas(ours.n_features_in_))


def _gaussian_classes(ours: Any, theirs: Any) -> None:
    ours._still = np.zeros(ours.n_features_in_, bool)


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


def _preorder(tree: Any) -> np.ndarray:
    """Nodes of their tree depth first, left before right, as ours are numbered."""
    order, stack = [], [0]
    while stack:
        node = stack.pop()
        order.append(node)
        if tree.children_left[node] >= 0:
            stack += [int(tree.children_right[node]), int(tree.children_left[node])]
    return np.array(order)


def _arrays(tree: Any) -> dict[str, np.ndarray]:
    """Our arrays of their tree."""
    order = _preorder(tree)
    number = np.empty(len(order), np.int32)
    number[order] = np.arange(len(order))
    leaf = tree.children_left[order] < 0
    arrays = {
        name: np.array(getattr(tree, name)[order]) for name in ARRAYS if name != "side"
    }
    for name in ("children_left", "children_right"):
        arrays[name] = np.where(leaf, -1, number[arrays[name]]).astype(np.int32)
    arrays["feature"] = arrays["feature"].astype(np.int32)
    arrays["missing_go_to_left"] = np.where(leaf, 0, arrays["missing_go_to_left"]).astype(np.uint8)
    arrays["side"] = np.full(len(order), -1, np.int32)
    return walkable(arrays | {"sides": _NO_SIDES})


def _about_trees(ours: Any, theirs: Any) -> None:
    classes = np.atleast_1d(getattr(theirs, "n_classes_", 1)).astype(np.int64)
    regression = not hasattr(theirs, "classes_")
    ours._n_classes = np.ones(theirs.n_outputs_, np.int64) if regression else classes
    ours._category_levels, ours.is_categorical_ = {}, None
    if regression:
        ours._one = theirs.n_outputs_ == 1


def _tree(ours: Any, theirs: Any) -> None:
    _about_trees(ours, theirs)
    ours._arrays = _arrays(theirs.tree_)


def _forest(ours: Any, theirs: Any) -> None:
    from kernelmill.ensemble._trees import joined

    _about_trees(ours, theirs)
    classification = hasattr(theirs, "classes_")
    grown = []
    for tree in theirs.estimators_:
        arrays = _arrays(tree.tree_)
        mass = arrays["weighted_n_node_samples"]
        counts = arrays["n_node_samples"].astype(np.float64)
        stats = np.stack([arrays["impurity"], mass, counts], axis=1)
        value = arrays["value"]
        if classification:
            parts = [value[:, k, :c] * mass[:, None] for k, c in enumerate(ours._n_classes)]
            value = np.concatenate(parts, axis=1)
        else:
            value = value[:, :, 0]
        grown.append(Grown(arrays["nodes"], stats, np.ascontiguousarray(value), _NO_SIDES))
    ours._trees = joined(grown, ours._n_classes, classification)
    if not classification:
        ours._kept = None


# Class -> what follows from its public attributes, and whether those make a model of theirs again.
_PLAIN = (
    "ARDRegression BayesianRidge ElasticNet ElasticNetCV FactorAnalysis GaussianMixture "
    "BayesianGaussianMixture HuberRegressor IncrementalPCA KMeans Lars Lasso LassoCV LassoLars "
    "LinearRegression LinearSVC LinearSVR LogisticRegression MinMaxScaler MultiTaskElasticNet "
    "MultiTaskElasticNetCV MultiTaskLasso MultiTaskLassoCV "
    "OrthogonalMatchingPursuit PCA Perceptron PoissonRegressor QuantileRegressor Ridge RidgeCV "
    "RidgeClassifier RidgeClassifierCV RobustScaler SGDClassifier SGDRegressor StandardScaler "
    "TruncatedSVD GammaRegressor TweedieRegressor"
)
_MODELS: dict[str, Callable[[Any, Any], None]] = {
    **dict.fromkeys(_PLAIN.split(), _nothing),
    "MiniBatchKMeans": _batches,
    **dict.fromkeys(("MultinomialNB", "ComplementNB", "BernoulliNB"), _counts),
    "CategoricalNB": _categories,
    "GaussianNB": _gaussian_classes,
    **dict.fromkeys(("SVC", "SVR", "NuSVC", "NuSVR", "OneClassSVM"), _machine),
    **dict.fromkeys(("DecisionTreeClassifier", "DecisionTreeRegressor"), _tree),
    **dict.fromkeys(("ExtraTreeClassifier", "ExtraTreeRegressor"), _tree),
    **dict.fromkeys(("RandomForestClassifier", "RandomForestRegressor"), _forest),
    **dict.fromkeys(("ExtraTreesClassifier", "ExtraTreesRegressor"), _forest),
}
# Their predictions read private attributes that no public ones give.
_NOT_BACK = {
    "BernoulliNB", "CategoricalNB", "ComplementNB", "DecisionTreeClassifier",
    "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor",
    "ExtraTreesClassifier", "ExtraTreesRegressor", "GammaRegressor", "KMeans",
    "MiniBatchKMeans", "NuSVC", "NuSVR", "OneClassSVM", "PoissonRegressor",
    "RandomForestClassifier", "RandomForestRegressor", "RidgeClassifier", "RidgeClassifierCV",
    "SVC", "SVR", "TweedieRegressor",
}


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


def _is_fitted_name(name: str) -> bool:
    return name.endswith("_") and not name.startswith("_")


def _copied(source: Any, target: Any) -> None:
    """Public fitted attributes from one model to the other, arrays copied."""
    for name, value in vars(source).items():
        static = inspect.getattr_static(type(target), name, None)
        if _is_fitted_name(name) and not isinstance(static, property):
            setattr(target, name, copy.deepcopy(value) if name[-2] != "_" else value)


def _entry_of(model: Any, name: str, purpose: str, known: list[str]) -> Entry:
    if name not in known:
        raise NotImplementedError(
            f"{purpose}: model must be of a class of kernelmill.convert.classes(), got "
            f"{type(model).__module__}.{type(model).__name__}"
        )
    return entries()[name]


def convert(model: Any) -> Any:
    """Make our model of a fitted one of scikit-learn, with equal predictions."""
    name = type(model).__name__
    inner = vars(model).get("_kernelmill_model")  # fitted under kernelmill.accelerate()
    if inner is not None:
        return copy.deepcopy(inner)
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
    _copied(model, ours)
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
    _copied(model, made)
    return made
