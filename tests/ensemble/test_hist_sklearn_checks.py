"""scikit-learn's own checks, with every exception and its reason."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

MODELS = [
    HistGradientBoostingClassifier(max_iter=5),
    HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=1),
    HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=1),
]


def exceptions(model):
    if isinstance(model, HistGradientBoostingClassifier) and model.min_samples_leaf == 1:
        scale = "a leaf of rows of one class alone predicts it, however small their weights"
        return {"check_class_weight_classifiers": scale}
    return {}


@parametrize_with_checks(MODELS, expected_failed_checks=exceptions)
def test_scikit_learn(estimator, check):
    check(estimator)
