"""scikit-learn's own checks, with every exception and its reason."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.kernel_approximation import Nystroem, RandomFourierFeatures, RBFSampler

_DRAWN = "rows are drawn by number: repeated rows are others than weighted ones"
EXPECTED_FAILURES = {
    "Nystroem": dict.fromkeys(
        (
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
        ),
        _DRAWN,
    )
}


@pytest.mark.filterwarnings("ignore:Nystroem. n_components must be at most")
@parametrize_with_checks(
    [RandomFourierFeatures(), RandomFourierFeatures(kernel="laplacian"), RBFSampler(), Nystroem()],
    expected_failed_checks=lambda model: EXPECTED_FAILURES.get(type(model).__name__, {}),
)
def test_scikit_learn(estimator, check):
    check(estimator)
