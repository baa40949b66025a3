"""scikit-learn's own checks, with every exception and its reason."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.decomposition import (
    NMF,
    PCA,
    DictionaryLearning,
    FactorAnalysis,
    FastICA,
    IncrementalPCA,
    KernelPCA,
    LatentDirichletAllocation,
    MiniBatchDictionaryLearning,
    MiniBatchNMF,
    PredictiveSparseDecomposition,
    ProbabilisticPCA,
    TruncatedSVD,
)

_COUNT = "there are min(n, d) components by default, and repeated rows are more rows"
_EQUIVALENCE = (
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
)
MODELS = [
    DictionaryLearning(2, max_iter=20, transform_alpha=0.1, transform_algorithm="lasso_cd"),
    FactorAnalysis(1),
    FastICA(),
    IncrementalPCA(1),
    KernelPCA(2),
    KernelPCA(2, kernel="rbf"),
    LatentDirichletAllocation(2, max_iter=5, batch_size=10),
    MiniBatchDictionaryLearning(2, batch_size=10, max_iter=5),
    MiniBatchNMF(2, batch_size=20, max_iter=20, fresh_restarts=True),
    NMF(2, max_iter=500),
    PCA(2),
    PCA(whiten=True),
    PredictiveSparseDecomposition(2, max_iter=5),
    ProbabilisticPCA(1),
    TruncatedSVD(1),
]


def _expected(model):
    if isinstance(model, PCA) and model.n_components is None:
        return dict.fromkeys(_EQUIVALENCE, _COUNT)
    return {}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(MODELS, expected_failed_checks=_expected)
def test_scikit_learn(estimator, check):
    check(estimator)
