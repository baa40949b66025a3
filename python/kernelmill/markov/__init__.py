"""Markov chains: transition probabilities of observed states and what follows from them."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(__name__, {"MarkovChain": "_chain", "select_order": "_order"})
