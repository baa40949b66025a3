"""Parts of docstrings that models share; a model's own text names them in angle brackets."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Any

_POINT_PRIORS = """
startprob_prior : float or array of shape (K,), default=1.0
    Parameters of the Dirichlet prior of ``startprob_``.
transmat_prior : float or array of shape (K, K), default=1.0
    Parameters of the Dirichlet prior of each row of ``transmat_``.
"""
_POSTERIOR_PRIORS = """
startprob_prior : float or array of shape (K,), optional
    Parameters of the Dirichlet prior of the first state, 1 / K when left out. 0 rules a state out.
transmat_prior : float or array of shape (K, K), optional
    Parameters of the Dirichlet prior of each row of transitions, 1 / K when left out. 0 rules a
    transition out.
"""
_ALGORITHM = """
algorithm : {"viterbi", "map"}, default="viterbi"
    How ``decode`` and ``predict`` find states: the most probable path, or the most probable state
    of each step.
"""
_FIT = """
random_state : int, RandomState, Generator or None, default=None
    Seed or generator for starts and for ``sample``; pass an int for reproducible results.
n_iter : int, default=<n_iter>
    Maximum number of iterations; ``fit`` warns if it ends before `tol` is met.
tol : float, default=<tol>
    Converged when an iteration raises the <objective> by less; -inf for exactly
    `n_iter` iterations.
verbose : bool, default=False
    Whether to show a progress bar.
params, init_params : str, default="<letters>"
    What ``fit`` updates, and what it initialises, one character each: those of <words>.
implementation : {"log", "scaling"}, default="log"
    Accepted for compatibility with hmmlearn. The recursions scale, and switch to logarithms for
    sequences where scaling would lose precision, so both give the same result.
<inits> : array-like, optional
    Initial values of <points>, shaped like these; random or found by k-means when left out.
    <zeros> ``clone`` keeps these arguments, but not attributes that were assigned.
n_init : int, default=1
    Number of random starts; the one with the largest <objective> is kept.
device : {None, "cpu", "cuda"}, default=None
    Where to compute; None is where X is.
warm_start : bool, default=False
    Whether ``fit`` continues from the current parameters, as if ``init_params`` were empty. An
    interrupted fit (Ctrl-C) then keeps the parameters reached so far.
"""


def complete(model: Any) -> None:
    """Fill in the parts that the docstring of a class of models names."""
    defaults = {
        name: parameter.default for name, parameter in inspect.signature(model).parameters.items()
    }
    inits = [point.init for point in model._points]
    names = [init.removesuffix("_init") for init in inits]
    values = {
        "n_iter": str(defaults["n_iter"]),
        "tol": f"{defaults['tol']:.0e}".replace("e-0", "e-"),
        "objective": "lower bound" if model._is_bound else "log-likelihood plus log prior",
        "zeros": "Posteriors start at the prior updated with these."
        if model._is_bound
        else "Zeros of the first two stay zeros.",
        "letters": defaults["params"],
        "words": _listed(names),
        "inits": ", ".join(inits),
        "points": _listed([f"``{name}_``" for name in names]),
    }
    parts = {
        "chain": _POSTERIOR_PRIORS if model._is_bound else _POINT_PRIORS,
        "algorithm": _ALGORITHM,
        "fit": _FIT,
    }

    def part(match: re.Match) -> str:
        text = re.sub(r"<(\w+)>", lambda name: values[name[1]], parts[match[2]].strip())
        return textwrap.indent(_wrapped(text), match[1])

    model.__doc__ = re.sub(r"(?m)^( *)<(\w+)>$", part, model.__doc__)


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _wrapped(text: str) -> str:
    """Descriptions broken anew, for values are longer or shorter than their names."""
    entries = re.split(r"\n(?=\S)", text)
    lines = []
    for entry in entries:
        head, _, description = entry.partition("\n")
        words = " ".join(description.split())
        lines += [head, textwrap.fill(words, 92, initial_indent="    ", subsequent_indent="    ")]
    return "\n".join(lines)
