"""The law of scale: a model of c X is the model of X, scaled, over the whole range of the floats.

Every public estimator stands in `SCALED`, with what its attributes become, or in `NOT_SCALED`, with
the reason; test_completeness.py sees to it. Absolute regularisers are scaled along by its row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from sklearn.base import clone

from kernelmill import (
    cluster,
    decomposition,
    discriminant_analysis,
    ensemble,
    hmm,
    kernel_approximation,
    linear_model,
    manifold,
    mixture,
    naive_bayes,
    neighbors,
    preprocessing,
    svm,
    tree,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, D, K = 120, 2, 3
SYMBOLS = "reads symbols, which have no unit"
NOT_SCALED = {
    "CategoricalHMM": SYMBOLS,
    "MarkovChain": SYMBOLS,
    "VariationalCategoricalHMM": SYMBOLS,
    "MultinomialHMM": "reads counts of trials: twice the counts are twice the evidence",
    "Bernoulli": "reads zeros and ones, which have no unit",
    "Categorical": "reads categories, which have no unit",
    "Poisson": "reads counts, which have no unit",
    "Exponential": "does not predict: see estimation/test_models.py",
    "Gaussian": "does not predict: see estimation/test_models.py",
    "MultivariateGaussian": "does not predict: see estimation/test_models.py",
    "AgglomerativeClustering": "does not predict: see cluster/test_agglomerative.py",
    "ClassicalMDS": "does not predict: see manifold/test_spectra.py",
    "MDS": "does not predict: see manifold/test_spectra.py",
    "OPTICS": "does not predict: see cluster/test_optics.py",
    "SpectralClustering": "does not predict: see cluster/test_spectral.py",
    "SpectralEmbedding": "does not predict: see manifold/test_spectra.py",
    "TSNE": "does not predict: see manifold/test_maps.py",
    "UMAP": "rounding grows in its epochs: see manifold/test_maps.py",
    "HDBSCAN": "does not predict: see cluster/test_hdbscan.py",
    "KernelDensity": "does not predict: see neighbors/test_models.py",
    "KNeighborsTransformer": "gives graphs: see neighbors/test_graphs_and_trees.py",
    "RadiusNeighborsTransformer": "gives graphs: see neighbors/test_graphs_and_trees.py",
    "NearestNeighbors": "does not predict: see neighbors/test_search.py",
    "LatentDirichletAllocation": "reads counts, which have no unit",
    "NMF": "reads rows without negative entries: decomposition/test_nonnegative.py",
    "MiniBatchNMF": "reads rows without negative entries, see NMF",
    "SparseCoder": "learns nothing: see decomposition/test_dictionary.py",
    "MLPClassifier": "weights start at random with a deviation that does not depend on the rows",
    "MLPRegressor": "weights start at random with a deviation that does not depend on the rows",
    "SGDClassifier": "a rate suits one scale of the rows, which should be standardised",
    "SGDRegressor": "a rate suits one scale of the rows, which should be standardised",
    "PassiveAggressiveClassifier": "C bounds a step, in units of the coefficients",
    "PassiveAggressiveRegressor": "C bounds a step, in units of the coefficients",
    "NeuralNetClassifier": "the network is the user's; steps have a length that does not scale",
    "NeuralNetRegressor": "the network is the user's; steps have a length that does not scale",
    "ARDRegression": "its first precisions are 1, as scikit-learn's, in units of the coefficients",
    "ElasticNet": "its penalties scale by different powers, and a ratio near 1 loses the digits",
    "ElasticNetCV": "see ElasticNet",
    "MultiTaskElasticNet": "its optimum is ElasticNet's for one output, and y here is a vector",
    "MultiTaskElasticNetCV": "see ElasticNetCV",
    "MultiTaskLasso": "its optimum is Lasso's for one output, and y here is a vector",
    "MultiTaskLassoCV": "see MultiTaskLasso",
    "GaussianProcessClassifier": "length scales have the unit of the rows: its tests scale both",
    "GaussianProcessRegressor": "length scales have the unit of the rows: its tests scale both",
    "SparseGaussianProcessRegressor": "see GaussianProcessRegressor",
    "BayesSearchCV": "scores an estimator of the user's; the objective is scaled in its tests",
    "KernelRidge": "predictions agree up to rounding, not bit by bit, and alpha has a unit",
    "SVCCV": "an SVC whose grid is the user's",
    "SVRCV": "an SVR whose grid is the user's",
    "SVR": "predictions agree up to the tolerance, not bit by bit: svm/test_machines.py",
    "NuSVR": "predictions agree up to the tolerance, not bit by bit: svm/test_machines.py",
    "CategoricalNB": "reads categories, which have no unit",
    "ComplementNB": "reads counts: twice the counts are twice the evidence",
    "MultinomialNB": "reads counts: twice the counts are twice the evidence",
    "PoissonHMM": "reads counts: the variance of a Poisson is its mean, not its square",
}


@dataclasses.dataclass(frozen=True)
class Scaled:
    """How a model of c X is made, and the power of c in each of its attributes."""

    make: Callable[[float], object]
    powers: Mapping[str, int]
    log_densities: int = 0  # in `score`: each row's is shifted by -log c for each of its features
    supervised: bool = False
    transformed: int | None = None  # power of c in what `transform` gives, in place of `predict`
    rounded: bool = False  # whether predictions are numbers that round
    least: float = 0.0  # of the targets


def square(c: float) -> float:
    return min(c * c, 1e308)  # nothing can be scaled so far: the fit must refuse


def _rows() -> dict[str, Scaled]:
    means = {"cluster_centers_": 1, "inertia_": 2}
    rows = {
        "cluster.KMeans": Scaled(lambda c: cluster.KMeans(K, n_init=3, random_state=0), means),
        "cluster.MiniBatchKMeans": Scaled(
            lambda c: cluster.MiniBatchKMeans(K, batch_size=40, random_state=0), means
        ),
        "cluster.BisectingKMeans": Scaled(
            lambda c: cluster.BisectingKMeans(K, random_state=0), means
        ),
        "cluster.ConstrainedKMeans links": Scaled(
            lambda c: cluster.ConstrainedKMeans(
                K, must_link=[(0, 1)], cannot_link=[(0, 5), (2, 11)], n_init=2, random_state=0
            ),
            means,
        ),
        "cluster.ConstrainedKMeans sizes": Scaled(
            lambda c: cluster.ConstrainedKMeans(
                K, size_min=30, size_max=50, n_init=2, random_state=0
            ),
            means,
        ),
        "cluster.ConstrainedKMeans narrow sizes": Scaled(
            lambda c: cluster.ConstrainedKMeans(
                4 * K, size_min=9, size_max=11, n_init=2, random_state=0
            ),
            means,
        ),
        "cluster.KMeans empty clusters": Scaled(
            lambda c: cluster.KMeans(4 * K, init=c * np.linspace([9, 9], [99, 99], 4 * K)), means
        ),
    }
    for cls, powers, transformed in (
        (preprocessing.StandardScaler, {"mean_": 1, "scale_": 1}, 0),
        (preprocessing.MinMaxScaler, {"data_min_": 1, "data_max_": 1, "data_range_": 1}, 0),
        (preprocessing.RobustScaler, {"center_": 1, "scale_": 1}, 0),
        (preprocessing.SimpleImputer, {"statistics_": 1}, 1),
        (preprocessing.KNNImputer, {}, 1),
        (preprocessing.FourierFeatures, {"period_": 1}, 0),
        (preprocessing.RadialBasisFeatures, {"centers_": 1, "widths_": 1}, 0),
    ):
        make = lambda c, cls=cls: cls()  # noqa: E731 - the loop's own class
        rows[f"preprocessing.{cls.__name__}"] = Scaled(make, powers, transformed=transformed)
    axes = {"components_": 0, "mean_": 1, "explained_variance_": 2, "noise_variance_": 2}
    for model, powers, transformed, densities in (
        (decomposition.PCA(1), axes | {"singular_values_": 1}, 1, 1),
        (decomposition.PCA(1, whiten=True, svd_solver="full"), axes, 0, 1),
        (decomposition.IncrementalPCA(1, batch_size=50), axes | {"var_": 2}, 1, 1),
        (decomposition.TruncatedSVD(1), {"components_": 0, "singular_values_": 1}, 1, 0),
        (decomposition.KernelPCA(1), {"eigenvalues_": 2, "eigenvectors_": 0}, 1, 0),
        (decomposition.ProbabilisticPCA(1), axes, 0, 1),
        (decomposition.FactorAnalysis(1), {"components_": 1, "noise_variance_": 2}, 0, 1),
        (decomposition.FastICA(random_state=0), {"components_": -1, "mean_": 1}, 0, 0),
    ):
        make = lambda c, model=model: clone(model)  # noqa: E731 - the loop's own model
        white = getattr(model, "whiten", False) is True
        name = f"decomposition.{type(model).__name__}{' whitened' * white}"
        rows[name] = Scaled(make, powers, densities, transformed=transformed)
    for cls in (decomposition.DictionaryLearning, decomposition.MiniBatchDictionaryLearning):
        coded = lambda c, cls=cls: cls(  # noqa: E731 - the loop's own class
            2, alpha=c, max_iter=5, random_state=0, transform_algorithm="omp"
        )
        rows[f"decomposition.{cls.__name__}"] = Scaled(coded, {"components_": 0}, transformed=1)
    predictive = lambda c: decomposition.PredictiveSparseDecomposition(  # noqa: E731 - for the row
        2, alpha=c, max_iter=5, random_state=0
    )
    powers = {"components_": 0, "encoder_weights_": -1, "encoder_bias_": 0, "encoder_gain_": 1}
    rows["decomposition.PredictiveSparseDecomposition"] = Scaled(predictive, powers, transformed=1)
    for cls in (
        tree.DecisionTreeClassifier,
        tree.DecisionTreeRegressor,
        tree.ExtraTreeClassifier,
        tree.ExtraTreeRegressor,
    ):
        grown = lambda c, cls=cls: cls(random_state=0)  # noqa: E731 - the loop's own class
        rows[f"tree.{cls.__name__}"] = Scaled(grown, {}, supervised=True)
    for cls in (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor):
        boosted = lambda c, cls=cls: cls(max_iter=5)  # noqa: E731 - the loop's own class
        rows[f"ensemble.{cls.__name__}"] = Scaled(boosted, {}, supervised=True)
    for cls in (
        ensemble.RandomForestClassifier,
        ensemble.RandomForestRegressor,
        ensemble.ExtraTreesClassifier,
        ensemble.ExtraTreesRegressor,
        ensemble.AdaBoostClassifier,
        ensemble.AdaBoostRegressor,
        ensemble.GradientBoostingClassifier,
        ensemble.GradientBoostingRegressor,
        ensemble.IsolationForest,
    ):
        forest = lambda c, cls=cls: cls(  # noqa: E731 - the loop's own class
            n_estimators=3, random_state=0
        )
        rows[f"ensemble.{cls.__name__}"] = Scaled(forest, {}, supervised=True)
    rows |= {
        "cluster.AffinityPropagation": Scaled(
            lambda c: cluster.AffinityPropagation(random_state=0, damping=0.9),
            {"cluster_centers_": 1},
        ),
        "cluster.FuzzyCMeans": Scaled(
            lambda c: cluster.FuzzyCMeans(K, random_state=0), {"cluster_centers_": 1}
        ),
        "manifold.Isomap": Scaled(
            lambda c: manifold.Isomap(n_neighbors=30), {"embedding_": 1}, transformed=1
        ),
        "manifold.LocallyLinearEmbedding": Scaled(
            lambda c: manifold.LocallyLinearEmbedding(n_neighbors=30, n_components=1),
            {"embedding_": 0},
            transformed=0,
        ),
        "cluster.DBSCAN": Scaled(lambda c: cluster.DBSCAN(0.75 * c), {"components_": 1}),
        "cluster.MeanShift": Scaled(
            lambda c: cluster.MeanShift(bandwidth=4.0 * c), {"cluster_centers_": 1}
        ),
        "cluster.MeanShift estimated": Scaled(
            lambda c: cluster.MeanShift(bin_seeding=True), {"cluster_centers_": 1}
        ),
        "neighbors.KNeighborsClassifier": Scaled(
            lambda c: neighbors.KNeighborsClassifier(weights="distance"), {}, supervised=True
        ),
        "neighbors.KNeighborsRegressor": Scaled(
            lambda c: neighbors.KNeighborsRegressor(), {}, supervised=True
        ),
        "neighbors.RadiusNeighborsClassifier": Scaled(
            lambda c: neighbors.RadiusNeighborsClassifier(1.5 * c), {}, supervised=True
        ),
        "neighbors.RadiusNeighborsRegressor": Scaled(
            lambda c: neighbors.RadiusNeighborsRegressor(1.5 * c), {}, supervised=True
        ),
        "neighbors.LocalOutlierFactor": Scaled(
            lambda c: neighbors.LocalOutlierFactor(novelty=True), {"negative_outlier_factor_": 0}
        ),
        "neighbors.MLkNN": Scaled(lambda c: neighbors.MLkNN(), {}, supervised=True),
        "neighbors.NearestCentroid": Scaled(
            lambda c: neighbors.NearestCentroid(),
            {"centroids_": 1, "deviations_": 0, "within_class_std_dev_": 1},
            supervised=True,
        ),
    }
    da, means = discriminant_analysis, {"means_": 1}
    rows |= {
        "naive_bayes.GaussianNB": Scaled(
            lambda c: naive_bayes.GaussianNB(), {"theta_": 1, "var_": 2}, supervised=True
        ),
        "naive_bayes.BernoulliNB": Scaled(
            lambda c: naive_bayes.BernoulliNB(binarize=2.0 * c), {}, supervised=True
        ),
        "discriminant_analysis.QuadraticDiscriminantAnalysis": Scaled(
            lambda c: da.QuadraticDiscriminantAnalysis(), means, supervised=True
        ),
    }
    for solver, shrinkage in (("svd", None), ("lsqr", 0.2), ("eigen", "auto")):
        rows[f"discriminant_analysis.LinearDiscriminantAnalysis {solver}"] = Scaled(
            lambda c, solver=solver, shrinkage=shrinkage: da.LinearDiscriminantAnalysis(
                solver, shrinkage
            ),
            {"means_": 1, "coef_": -1},
            supervised=True,
        )
    for kind, shared in (("full", False), ("full", True), ("diag", False), ("diag", True)):
        rows[f"discriminant_analysis.GaussianClassifier {kind} {shared}"] = Scaled(
            lambda c, kind=kind, shared=shared: da.GaussianClassifier(
                covariance=kind, shared=shared
            ),
            {"means_": 1, "covariances_": 2},
            supervised=True,
        )
    for cls, given in ((svm.SVC, {}), (svm.NuSVC, {"nu": 0.2}), (svm.OneClassSVM, {"nu": 0.2})):
        made = lambda c, cls=cls, given=given: cls(**given)  # noqa: E731 - the loop's own class
        rows[f"svm.{cls.__name__}"] = Scaled(made, {}, supervised=True)
    for cls, power in ((svm.LinearSVC, -1), (svm.LinearSVR, -1)):
        priced = lambda c, cls=cls: cls(  # noqa: E731 - the loop's own class
            C=1 / max(square(c), 1e-308), intercept_scaling=c, tol=1e-9
        )
        rows[f"svm.{cls.__name__}"] = Scaled(
            priced, {"coef_": power}, supervised=True, rounded=cls is svm.LinearSVR
        )
    for cls in (kernel_approximation.RandomFourierFeatures, kernel_approximation.Nystroem):
        some = lambda c, cls=cls: cls(  # noqa: E731 - the loop's own class
            n_components=20, gamma="scale", random_state=0
        )
        rows[f"kernel_approximation.{cls.__name__}"] = Scaled(some, {"gamma_": -2}, transformed=0)
    rows["kernel_approximation.RBFSampler"] = Scaled(
        lambda c: kernel_approximation.RBFSampler(gamma=1 / max(square(c), 1e-308), random_state=0),
        {"gamma_": -2},
        transformed=0,
    )
    # An intercept moves by 1 whatever the scale of the rows.
    rows["linear_model.Perceptron"] = Scaled(
        lambda c: linear_model.Perceptron(fit_intercept=False, tol=None, max_iter=9),
        {"coef_": 1},
        supervised=True,
    )
    rows |= _linear_rows()
    # A fixed number of steps: log densities of c X are larger, and so is the rounding of the gains
    # that decide when to stop.
    steps = {"max_iter": 3, "tol": 0.0, "random_state": 0}
    n_iter = {"n_iter": 3, "tol": 0.0, "random_state": 0}
    for kind in ("full", "tied", "diag", "spherical"):
        gaussians = {"means_": 1, "covariances_": 2, "precisions_cholesky_": -1, "weights_": 0}
        rows |= {
            f"mixture.GaussianMixture {kind}": Scaled(
                lambda c, kind=kind: mixture.GaussianMixture(
                    K, covariance_type=kind, reg_covar=1e-6 * square(c), **steps
                ),
                gaussians,
                log_densities=1,
            ),
            f"mixture.BayesianGaussianMixture {kind}": Scaled(
                lambda c, kind=kind: mixture.BayesianGaussianMixture(
                    K, covariance_type=kind, reg_covar=1e-6 * square(c), **steps
                ),
                gaussians,
                log_densities=1,
            ),
            f"mixture.MixtureClassifier {kind}": Scaled(
                lambda c, kind=kind: mixture.MixtureClassifier(
                    2, covariance_type=kind, reg_covar=1e-6 * square(c), random_state=0
                ),
                {},
                supervised=True,
            ),
            f"hmm.GaussianHMM {kind}": Scaled(
                lambda c, kind=kind: hmm.GaussianHMM(
                    K, kind, 1e-3 * square(c), covars_prior=1e-2 * square(c), **n_iter
                ),
                {"means_": 1, "covars_": 2, "transmat_": 0},
                log_densities=N,
            ),
            f"hmm.GMMHMM {kind}": Scaled(
                lambda c, kind=kind: hmm.GMMHMM(
                    K, 2, 1e-3 * square(c), covariance_type=kind, **n_iter
                ),
                {"means_": 1, "covars_": 2, "weights_": 0, "transmat_": 0},
                log_densities=N,
            ),
            f"hmm.VariationalGaussianHMM {kind}": Scaled(
                lambda c, kind=kind: hmm.VariationalGaussianHMM(
                    K, kind, scale_prior=1e-3 * square(c), **n_iter
                ),
                {"means_posterior_": 1, "scale_posterior_": 2, "transmat_posterior_": 0},
            ),
        }
    return rows


def _linear_rows() -> dict[str, Scaled]:
    lm = linear_model
    tight = {"tol": 1e-13}

    def times(factor, c):
        return min(factor * square(c), 1e308)

    made = {
        "HuberRegressor": lambda c: lm.HuberRegressor(alpha=times(0.1, c)),
        "Lars": lambda c: lm.Lars(),
        "LassoLars": lambda c: lm.LassoLars(0.1 * c),
        "OrthogonalMatchingPursuit": lambda c: lm.OrthogonalMatchingPursuit(),
        "QuantileRegressor": lambda c: lm.QuantileRegressor(alpha=0.1 * c),
        "LinearRegression": lambda c: lm.LinearRegression(),
        "Ridge": lambda c: lm.Ridge(times(3.0, c)),
        "RidgeCV": lambda c: lm.RidgeCV([square(c), times(9.0, c)]),
        "Lasso": lambda c: lm.Lasso(0.1 * c, **tight),
        "LassoCV": lambda c: lm.LassoCV(alphas=7, **tight),
        "BayesianRidge": lambda c: lm.BayesianRidge(
            lambda_init=square(c), lambda_2=1e-6 / max(square(c), 1e-308), max_iter=20, tol=0.0
        ),
        "BayesianLinearRegression": lambda c: lm.BayesianLinearRegression(alpha=times(3.0, c)),
        "LogCoshRegressor": lambda c: lm.LogCoshRegressor(alpha=0.1 * square(c), tol=1e-7),
        "PoissonRegressor": lambda c: lm.PoissonRegressor(alpha=0.1 * square(c), tol=1e-7),
        "GammaRegressor": lambda c: lm.GammaRegressor(alpha=0.1 * square(c), tol=1e-7),
        "TweedieRegressor": lambda c: lm.TweedieRegressor(
            power=1.5, alpha=0.1 * square(c), tol=1e-7
        ),
    }
    regressions = {
        f"linear_model.{name}": Scaled(
            make, {"coef_": -1}, supervised=True, rounded=True,
            least=1.0 if name.startswith(("Gamma", "Tweedie")) else 0.0,
        )
        for name, make in made.items()
    }  # fmt: skip
    for name, make in {
        "LogisticRegressionCV": lambda c: lm.LogisticRegressionCV(
            Cs=[1 / max(square(c), 1e-308), 9 / max(square(c), 1e-307)], cv=3
        ),
        "RidgeClassifierCV": lambda c: lm.RidgeClassifierCV([square(c), times(9.0, c)]),
        "RidgeClassifier": lambda c: lm.RidgeClassifier(times(3.0, c)),
        "LogisticRegression": lambda c: lm.LogisticRegression(C=1 / max(square(c), 1e-308)),
    }.items():
        regressions[f"linear_model.{name}"] = Scaled(make, {"coef_": -1}, supervised=True)
    return regressions


SCALED = _rows()


def data() -> np.ndarray:
    """Three blobs, each held for five rows, about a mean of a few deviations."""
    centers = np.array([[0.0, 1.0], [6.0, -2.0], [1.0, 7.0]])
    return centers[np.arange(N) // 5 % K] + np.random.default_rng(0).normal(size=(N, D))


def fitted(row: Scaled, X: np.ndarray, c: float):
    y = (np.arange(N) // 5 % K + row.least,) if row.supervised else ()
    return row.make(c).fit(X, *y)


def agree(row: Scaled, model, X: np.ndarray, c: float, rtol: float) -> None:
    """`model`, of X, is the model of X / c, scaled."""
    unit = data().astype(X.dtype)
    plain = fitted(row, unit, 1.0)
    if row.rounded:
        got, want = model.predict(X), plain.predict(unit)
        np.testing.assert_allclose(got, want, rtol=0, atol=30 * rtol)
    elif row.transformed is None:
        np.testing.assert_array_equal(model.predict(X), plain.predict(unit))
    else:
        size = np.longdouble(c) ** row.transformed
        got, want = np.longdouble(model.transform(X)), plain.transform(unit) * size
        np.testing.assert_allclose(got, want, rtol=0, atol=rtol * float(np.abs(want).max()))
    for name, power in row.powers.items():
        want = np.asarray(getattr(plain, name), np.longdouble) * np.longdouble(c) ** power
        got = np.asarray(getattr(model, name), np.longdouble)
        size = np.abs(want).max()
        least = np.finfo(np.asarray(getattr(model, name)).dtype).smallest_subnormal
        atol = rtol + least / size
        np.testing.assert_allclose(got / size, want / size, rtol=0, atol=atol, err_msg=name)
    if row.log_densities:
        shift = row.log_densities * D * np.log(c)
        want = plain.score(unit) - shift
        np.testing.assert_allclose(
            model.score(X), want, rtol=rtol, atol=rtol * abs(shift), err_msg="score"
        )


FACTORS = [
    *((np.float64, c) for c in (2.0**-40, 1e-12, 2.0**-20, 1e-6, 1e-3)),
    *((np.float64, c) for c in (2.0**20, 1e6, 2.0**40, 1e12)),
    *((np.float32, c) for c in (2.0**-20, 1e-6, 2.0**20, 1e6)),
]
EXTREMES = [  # near 1e18, 1e19, 1e-30; 1e150, 1e-160, 1e300
    *((np.float32, c) for c in (2.0**60, 2.0**63, 2.0**-100)),
    *((np.float64, c) for c in (2.0**498, 2.0**-532, 2.0**997)),
]


def rounding(name: str, dtype: type, c: float) -> float:
    """k-means of rows times a power of two has the same bits; else some hundred roundings."""
    if name.startswith("cluster.") and np.frexp(c)[0] == 0.5:
        return 0.0
    return 1e-9 if dtype is np.float64 else 1e-4


def grid(factors):
    for name in SCALED:
        for dtype, c in factors:
            yield pytest.param(name, dtype, c, id=f"{name}-{dtype.__name__}-{c:.0e}")


@pytest.mark.parametrize(("name", "dtype", "c"), [*grid(FACTORS)])
def test_a_scaled_fit_is_the_fit_scaled(name, dtype, c):
    row = SCALED[name]
    X = (data().astype(dtype) * dtype(c)).astype(dtype)
    model = fitted(row, X, c)
    agree(row, model, X, c, rtol=rounding(name, dtype, c))


@pytest.mark.parametrize(("name", "dtype", "c"), [*grid(EXTREMES)])
def test_extreme_rows_are_scaled_or_refused(name, dtype, c):
    """Squares overflow or underflow: the scaled result or one clear sentence, nothing silent."""
    row = SCALED[name]
    X = data().astype(dtype) * dtype(c)
    refusal = model = None
    try:
        model = fitted(row, X, c)
    except ValueError as error:
        refusal = str(error)
    if refusal is None:
        agree(row, model, X, c, rtol=rounding(name, dtype, c))
    else:
        estimator = name.partition(" ")[0].partition(".")[2]
        assert refusal.startswith(f"{estimator}: X must"), refusal
