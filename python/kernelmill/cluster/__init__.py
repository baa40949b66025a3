"""Clustering: k-means and its relatives, named as scikit-learn names them."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "AffinityPropagation": "_affinity",
        "AgglomerativeClustering": "_agglomerative",
        "BisectingKMeans": "_bisecting",
        "ConstrainedKMeans": "_constrained",
        "DBSCAN": "_dbscan",
        "dbscan": "_dbscan",
        "FuzzyCMeans": "_fuzzy",
        "HDBSCAN": "_hdbscan",
        "KMeans": "_kmeans",
        "MeanShift": "_mean_shift",
        "MiniBatchKMeans": "_minibatch",
        "OPTICS": "_optics",
        "SpectralClustering": "_spectral",
        "affinity_propagation": "_affinity",
        "cluster_optics_dbscan": "_optics",
        "cluster_optics_xi": "_optics",
        "estimate_bandwidth": "_mean_shift",
        "kmeans_plusplus": "_seeding",
    },
)
