"""The one table of classes that exist here and in scikit-learn or hmmlearn.

What of a class is not supported follows from the signatures of the two: a parameter that ours lacks
must keep its default. Values that ours refuses are found by asking it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import Any, NamedTuple

# Their public module -> (our package, names).
_TABLE = {
    "sklearn.cluster": (
        "cluster",
        "AffinityPropagation AgglomerativeClustering BisectingKMeans DBSCAN HDBSCAN KMeans "
        "MeanShift MiniBatchKMeans OPTICS SpectralClustering",
    ),
    "sklearn.decomposition": (
        "decomposition",
        "DictionaryLearning FactorAnalysis FastICA IncrementalPCA KernelPCA "
        "LatentDirichletAllocation MiniBatchDictionaryLearning MiniBatchNMF NMF PCA SparseCoder "
        "TruncatedSVD",
    ),
    "sklearn.discriminant_analysis": (
        "discriminant_analysis",
        "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",
    ),
    "sklearn.ensemble": (
        "ensemble",
        "AdaBoostClassifier AdaBoostRegressor ExtraTreesClassifier ExtraTreesRegressor "
        "GradientBoostingClassifier GradientBoostingRegressor HistGradientBoostingClassifier "
        "HistGradientBoostingRegressor IsolationForest RandomForestClassifier "
        "RandomForestRegressor",
    ),
    "sklearn.gaussian_process": (
        "gaussian_process",
        "GaussianProcessClassifier GaussianProcessRegressor",
    ),
    "sklearn.impute": ("preprocessing", "KNNImputer SimpleImputer"),
    "sklearn.kernel_approximation": ("kernel_approximation", "Nystroem RBFSampler"),
    "sklearn.kernel_ridge": ("kernel_ridge", "KernelRidge"),
    "sklearn.linear_model": (
        "linear_model",
        "ARDRegression BayesianRidge ElasticNet ElasticNetCV GammaRegressor HuberRegressor Lars "
        "Lasso LassoCV LassoLars LinearRegression LogisticRegression LogisticRegressionCV "
        "MultiTaskElasticNet MultiTaskElasticNetCV MultiTaskLasso MultiTaskLassoCV "
        "OrthogonalMatchingPursuit PassiveAggressiveClassifier PassiveAggressiveRegressor "
        "Perceptron PoissonRegressor QuantileRegressor Ridge "
        "RidgeCV RidgeClassifier RidgeClassifierCV SGDClassifier SGDRegressor TweedieRegressor",
    ),
    "sklearn.manifold": (
        "manifold",
        "ClassicalMDS Isomap LocallyLinearEmbedding MDS SpectralEmbedding TSNE",
    ),
    "sklearn.mixture": ("mixture", "BayesianGaussianMixture GaussianMixture"),
    "sklearn.naive_bayes": (
        "naive_bayes",
        "BernoulliNB CategoricalNB ComplementNB GaussianNB MultinomialNB",
    ),
    "sklearn.neighbors": (
        "neighbors",
        "KNeighborsClassifier KNeighborsRegressor KNeighborsTransformer KernelDensity "
        "LocalOutlierFactor NearestCentroid NearestNeighbors RadiusNeighborsClassifier "
        "RadiusNeighborsRegressor RadiusNeighborsTransformer",
    ),
    "sklearn.neural_network": ("neural_network", "MLPClassifier MLPRegressor"),
    "sklearn.preprocessing": ("preprocessing", "MinMaxScaler RobustScaler StandardScaler"),
    "sklearn.svm": ("svm", "LinearSVC LinearSVR NuSVC NuSVR OneClassSVM SVC SVR"),
    "sklearn.tree": (
        "tree",
        "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor",
    ),
    "hmmlearn.hmm": ("hmm", "CategoricalHMM GMMHMM GaussianHMM MultinomialHMM PoissonHMM"),
    "hmmlearn.vhmm": ("hmm", "VariationalCategoricalHMM VariationalGaussianHMM"),
}
# Parameters that change no result.
_WITHOUT_EFFECT = {"n_jobs"}
# Defaults that only say that a default is about to change.
SENTINELS = ("deprecated", "warn")
# (class, parameter, value): what ours does without, though it has the parameter.
_NOT_SUPPORTED = {("SimpleImputer", "add_indicator", True): "inverse_transform is theirs only"}


class Entry(NamedTuple):
    """A class of another library and where ours is.

    Attributes
    ----------
    name : str
        Of both classes.
    module : str
        The public module of theirs.
    family : str
        Our package.
    """

    name: str
    module: str
    family: str

    @property
    def library(self) -> str:
        """The other library, as people call it."""
        return "hmmlearn" if self.module.startswith("hmmlearn") else "scikit-learn"

    @property
    def assigned(self) -> bool:
        """Whether fitted attributes may be assigned instead of fitted."""
        return self.library == "hmmlearn"

    def ours(self) -> Any:
        """Our class, imported when it is first needed."""
        return getattr(importlib.import_module(f"kernelmill.{self.family}"), self.name)


@functools.cache
def entries() -> dict[str, Entry]:
    """Every class of the table by its name; no two libraries share one."""
    found = {}
    for module, (family, names) in _TABLE.items():
        for name in names.split():
            found[name] = Entry(name, module, family)
    return found


@functools.cache
def defaults(cls: Any) -> dict[str, Any]:
    """The parameters of a class and their defaults."""
    return {n: p.default for n, p in inspect.signature(cls).parameters.items()}


def _same(left: Any, right: Any) -> bool:
    """Whether two values of a parameter are one plain value."""
    plain = (str, bytes, bool, int, float, type(None))
    if left is right:
        return True
    return isinstance(left, plain) and type(left) is type(right) and left == right


def parameters(entry: Entry, theirs: Any, values: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Our parameters for theirs, and why there are none.

    Parameters
    ----------
    entry : Entry
        The class.
    theirs : type
        Their class, whose defaults count.
    values : dict
        Each of their parameters.

    Returns
    -------
    ours : dict
        What our constructor takes.
    reason : str
        What is not supported, or an empty string.
    """
    given, known, usual = {}, defaults(entry.ours()), defaults(theirs)
    if entry.name == "LogisticRegressionCV":  # attributes as they are without a word, until 1.10
        kept = values.get("use_legacy_attributes", "warn")
        ratios = values.get("l1_ratios")
        values = values | {
            "use_legacy_attributes": kept == "warn" or kept,
            "l1_ratios": None if isinstance(ratios, str) else ratios,
        }
    for name, value in values.items():
        default = usual.get(name, inspect.Parameter.empty)
        if isinstance(value, str) and value in SENTINELS and _same(value, default):
            continue
        for (cls, parameter, refused), reason in _NOT_SUPPORTED.items():
            if cls == entry.name and parameter == name and _same(value, refused):
                return {}, f"{name}={value!r} is not supported: {reason}"
        if name in known:
            given[name] = value
        elif name not in _WITHOUT_EFFECT and not _same(value, default):
            return {}, f"{name}={value!r} is not supported"
    return given, ""
