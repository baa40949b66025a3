"""scikit-learn's own checks, with every exception and its reason."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.manifold import (
    MDS,
    TSNE,
    UMAP,
    ClassicalMDS,
    Isomap,
    LocallyLinearEmbedding,
    SpectralEmbedding,
)

MODELS = [
    ClassicalMDS(),
    Isomap(),
    LocallyLinearEmbedding(),
    MDS(max_iter=5),
    SpectralEmbedding(n_neighbors=9),
    TSNE(perplexity=2, max_iter=20),
    UMAP(n_neighbors=5, n_epochs=10),
]


@pytest.mark.filterwarnings(
    "ignore:.*(parts|greater than the number of rows):UserWarning",
    "ignore::sklearn.exceptions.ConvergenceWarning",
)
@parametrize_with_checks(MODELS)
def test_scikit_learn(estimator, check):
    check(estimator)
