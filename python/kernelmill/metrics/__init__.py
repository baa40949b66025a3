"""Scores of clusterings, and distances between and within clusters.

Functions that `sklearn.metrics` also has carry the same names and return the same values.
"""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "calinski_harabasz_score": "_dispersion",
        "davies_bouldin_score": "_dispersion",
        "inter_cluster_distances": "_distances",
        "intra_cluster_distances": "_distances",
        "silhouette_samples": "_silhouette",
        "silhouette_score": "_silhouette",
    },
)
