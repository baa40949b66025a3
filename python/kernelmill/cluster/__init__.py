"""Clustering: k-means and its relatives, named as scikit-learn names them."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "AgglomerativeClustering": "_agglomerative",
        "BisectingKMeans": "_bisecting",
        "ConstrainedKMeans": "_constrained",
        "DBSCAN": "_dbscan",
        "HDBSCAN": "_hdbscan",
        "KMeans": "_kmeans",
        "MeanShift": "_mean_shift",
        "MiniBatchKMeans": "_minibatch",
        "estimate_bandwidth": "_mean_shift",
        "kmeans_plusplus": "_seeding",
    },
)
