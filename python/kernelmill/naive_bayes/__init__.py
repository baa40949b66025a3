"""Naive Bayes classifiers, named as scikit-learn names them."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "BernoulliNB": "_discrete",
        "CategoricalNB": "_categorical",
        "ComplementNB": "_discrete",
        "GaussianNB": "_gaussian",
        "MultinomialNB": "_discrete",
    },
)
