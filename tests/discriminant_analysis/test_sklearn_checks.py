"""scikit-learn's own checks, with every exception and its reason."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.discriminant_analysis import (
    GaussianClassifier,
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)

MODELS = [
    GaussianClassifier(),
    GaussianClassifier(covariance="diag", shared=True),
    LinearDiscriminantAnalysis(),
    LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto"),
    QuadraticDiscriminantAnalysis(),
]


_CONSTANT = (
    "a feature that is constant within each class makes a covariance singular, which is refused; "
    "weights: see _estimator/test_posterior.py"
)
_SINGULAR = (
    "classes of 5 rows and 30 features have singular covariances, which are refused; weights are "
    "tested in _estimator/test_posterior.py"
)
_ALL_ROWS = "shrinkage='auto' needs all rows at once: partial_fit says so"
SINGULAR = {
    "check_sample_weights_shape": _CONSTANT,
    "check_sample_weights_not_overwritten": _CONSTANT,
    "check_sample_weight_equivalence_on_dense_data": _SINGULAR,
}


def _expected(model):
    if isinstance(model, LinearDiscriminantAnalysis):
        names = (
            "check_fit_score_takes_y",
            "check_n_features_in_after_fitting",
            "check_estimators_partial_fit_n_features",
        )
        return dict.fromkeys(names, _ALL_ROWS) if model.shrinkage == "auto" else {}
    if getattr(model, "shared", False):
        return {name: why for name, why in SINGULAR.items() if why is _CONSTANT}
    return SINGULAR


@parametrize_with_checks(MODELS, expected_failed_checks=_expected)
def test_scikit_learn(estimator, check):
    check(estimator)
