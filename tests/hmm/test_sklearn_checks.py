"""scikit-learn's own checks, with every exception and its reason.

The second argument of ``fit`` and ``score`` is ``lengths``, as in hmmlearn; the checks pass labels
there, and a weight for each row where ours belong to sequences. So they run on subclasses whose
``fit`` and ``score`` take ``y`` and leave it aside. CategoricalHMM, MultinomialHMM, PoissonHMM and
VariationalCategoricalHMM take one column of symbols or whole numbers only, which no check passes.
"""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.hmm import GMMHMM, GaussianHMM, VariationalGaussianHMM


class _TakesLabels:
    def fit(self, X, y=None):
        return super().fit(X)

    def score(self, X, y=None):
        return super().score(X)


def checked(model):
    """The same model as an instance of such a subclass, which pickle finds in this module."""
    name = f"Checked{type(model).__name__}"
    cls = globals().get(name) or type(name, (_TakesLabels, type(model)), {"__module__": __name__})
    globals()[name] = cls
    return cls(**model.get_params())


_ORDER = "rows are a sequence: what is said of a row depends on its neighbours"
EXPECTED_FAILURES = {
    "check_methods_sample_order_invariance": _ORDER,
    "check_methods_subset_invariance": _ORDER,
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        checked(GaussianHMM()),
        checked(GaussianHMM(2, covariance_type="full")),
        checked(GMMHMM(2, n_mix=2)),
        checked(VariationalGaussianHMM(2)),
    ],
    expected_failed_checks=lambda model: EXPECTED_FAILURES,
)
def test_scikit_learn(estimator, check):
    check(estimator)
