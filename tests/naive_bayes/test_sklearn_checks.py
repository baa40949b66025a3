"""scikit-learn's own checks."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.naive_bayes import (
    BernoulliNB,
    CategoricalNB,
    ComplementNB,
    GaussianNB,
    MultinomialNB,
)

MODELS = [BernoulliNB(), CategoricalNB(), ComplementNB(), GaussianNB(), MultinomialNB()]


@parametrize_with_checks(MODELS)
def test_scikit_learn(estimator, check):
    check(estimator)
