"""Maps of rows in few dimensions, named as scikit-learn and umap-learn name them."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ClassicalMDS": "_classical",
        "Isomap": "_isomap",
        "LocallyLinearEmbedding": "_locally_linear",
        "MDS": "_mds",
        "SpectralEmbedding": "_spectral",
        "TSNE": "_tsne",
        "UMAP": "_umap",
        "locally_linear_embedding": "_locally_linear",
        "smacof": "_mds",
        "spectral_embedding": "_spectral",
        "trustworthiness": "_trustworthiness",
    },
)
