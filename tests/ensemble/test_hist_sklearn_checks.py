"""scikit-learn's own checks, with every exception and its reason."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

MODELS = [
    HistGradientBoostingClassifier(max_iter=5),
    HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=1),
    HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=1),
]


def exceptions(model):
    if model.min_samples_leaf > 1:
        counts = "min_samples_leaf counts rows, and repeated rows are more of them"
        return {"check_sample_weight_equivalence_on_dense_data": counts}
    if isinstance(model, HistGradientBoostingClassifier):
        scale = "a leaf of rows of one class alone predicts it, however small their weights"
        return {"check_class_weight_classifiers": scale}
    return {}


@parametrize_with_checks(MODELS, expected_failed_checks=exceptions)
def test_scikit_learn(estimator, check):
    check(estimator)
