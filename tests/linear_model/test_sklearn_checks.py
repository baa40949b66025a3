"""scikit-learn's own checks, with every exception and its reason."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.linear_model import (
    ARDRegression,
    BayesianLinearRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lars,
    Lasso,
    LassoCV,
    LassoLars,
    LinearRegression,
    LogCoshRegressor,
    LogisticRegression,
    LogisticRegressionCV,
    MultiTaskElasticNet,
    MultiTaskElasticNetCV,
    MultiTaskLasso,
    MultiTaskLassoCV,
    OrthogonalMatchingPursuit,
    PassiveAggressiveClassifier,
    PassiveAggressiveRegressor,
    Perceptron,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)

_ORDER = "rows are visited in an order that repeated rows change; test_sgd.py fixes the order"
_EQUIVALENCE = (
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
)
_STEPS = (
    "PassiveAggressiveClassifier", "PassiveAggressiveRegressor", "Perceptron", "SGDClassifier",
    "SGDRegressor",
)  # fmt: skip
EXPECTED_FAILURES = dict.fromkeys(_STEPS, _ORDER)
MODELS = [
    ARDRegression(),
    BayesianLinearRegression(),
    BayesianRidge(),
    ElasticNet(),
    ElasticNetCV(),
    GammaRegressor(),
    HuberRegressor(),
    Lars(),
    Lasso(),
    LassoCV(),
    LassoLars(),
    LinearRegression(),
    LogCoshRegressor(),
    LogisticRegression(),
    LogisticRegressionCV(cv=3),
    MultiTaskElasticNet(),
    MultiTaskElasticNetCV(),
    MultiTaskLasso(),
    MultiTaskLassoCV(),
    OrthogonalMatchingPursuit(),
    PassiveAggressiveClassifier(max_iter=200),
    PassiveAggressiveRegressor(max_iter=200),
    Perceptron(),
    PoissonRegressor(),
    QuantileRegressor(),
    Ridge(),
    RidgeCV(),
    RidgeClassifier(),
    RidgeClassifierCV(),
    SGDClassifier(max_iter=200),
    SGDRegressor(max_iter=200),
    TweedieRegressor(),
]


def _expected(model):
    reason = EXPECTED_FAILURES.get(type(model).__name__)
    return dict.fromkeys(_EQUIVALENCE, reason) if reason else {}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(MODELS, expected_failed_checks=_expected)
def test_scikit_learn(estimator, check):
    check(estimator)
