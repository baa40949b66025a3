"""Hidden Markov models with hmmlearn's names."""

from typing import Any

from .._lazy import lazy

_get, __dir__, __all__ = lazy(
    __name__,
    {
        "CategoricalHMM": "_discrete",
        "ConvergenceMonitor": "_monitor",
        "GMMHMM": "_mixture",
        "GaussianHMM": "_gaussian",
        "MultinomialHMM": "_counts",
        "PoissonHMM": "_counts",
        "StateFilter": "_filter",
        "VariationalCategoricalHMM": "_variational_models",
        "VariationalGaussianHMM": "_variational_models",
    },
)


def __getattr__(name: str) -> Any:
    if name in ("MarkovChain", "select_order"):  # from when they had no package of their own
        from kernelmill import markov

        return getattr(markov, name)
    return _get(name)
