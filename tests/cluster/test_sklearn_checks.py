"""scikit-learn's own checks, with every exception and its reason."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.cluster import (
    DBSCAN,
    HDBSCAN,
    OPTICS,
    AffinityPropagation,
    AgglomerativeClustering,
    BisectingKMeans,
    ConstrainedKMeans,
    FuzzyCMeans,
    KMeans,
    MeanShift,
    MiniBatchKMeans,
    SpectralClustering,
)

_SHUFFLED = (
    "random starts pick rows by their place, and the check shuffles the repeated rows; from the "
    "same start weights equal repetition, see test_kmeans.py"
)
_DRAWN = "batches are drawn at random, with or without weights"
EXPECTED_FAILURES = {
    "KMeans": {
        "check_sample_weight_equivalence_on_dense_data": _SHUFFLED,
        "check_sample_weight_equivalence_on_sparse_data": _SHUFFLED,
    },
    "MiniBatchKMeans": {
        "check_sample_weight_equivalence_on_dense_data": _DRAWN,
        "check_sample_weight_equivalence_on_sparse_data": _DRAWN,
    },
    "BisectingKMeans": {
        "check_sample_weight_equivalence_on_dense_data": _SHUFFLED,
        "check_sample_weight_equivalence_on_sparse_data": _SHUFFLED,
    },
    "FuzzyCMeans": {"check_sample_weight_equivalence_on_dense_data": _SHUFFLED},
    "ConstrainedKMeans": {"check_sample_weight_equivalence_on_dense_data": _SHUFFLED},
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        KMeans(),
        MiniBatchKMeans(),
        BisectingKMeans(),
        ConstrainedKMeans(),
        ConstrainedKMeans(3, size_max=1000),
        DBSCAN(),
        HDBSCAN(),
        MeanShift(),
        MeanShift(bandwidth=2.0, bin_seeding=True),
        AgglomerativeClustering(),
        AffinityPropagation(),
        FuzzyCMeans(),
        OPTICS(),
        SpectralClustering(),
    ],
    expected_failed_checks=lambda model: EXPECTED_FAILURES.get(type(model).__name__, {}),
)
def test_scikit_learn(estimator, check):
    check(estimator)
