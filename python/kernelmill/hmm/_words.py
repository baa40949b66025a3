"""What the docstrings of hidden Markov models have in common."""

from __future__ import annotations

from kernelmill._docstrings import Words
from kernelmill._estimator._words import WORDS as COMMON

_TOLERANCE = "Converged when an iteration raises the {} by less; -inf for all `n_iter` iterations."
_STARTS = "Number of random starts; the one with the largest {} is kept."
_INIT = " ``clone`` keeps this argument, but not an attribute that was assigned."
_FROM_DATA = "found by k-means when left out." + _INIT
_DRAWN = "random when left out."
_UPDATED = " The posterior starts at the prior updated with it." + _INIT

WORDS = Words(
    arguments={
        "X": ("array-like of shape (T, d), or a stream of sequences", "Observations; see ``fit``."),
        "lengths": ("array-like of shape (S,)",
            "Lengths of the sequences in X, adding up to T; one sequence when left out."),
        "steps": ("int or array-like of shape (H,)",
            "How many steps ahead; 1 is the next observation."),
        "quantiles": ("float or array-like of shape (Q,)",
            "Levels of quantiles to compute, above 0 and below 1."),
    },
    parameters={
        "n_components": ("int", "Number of states K."),
        "n_features": ("int", "Number of symbols M; one more than the largest in X by default."),
        "algorithm": ('{"viterbi", "map"}',
            "How ``decode`` and ``predict`` find states: the most probable path, or the most "
            "probable state of each step."),
        "random_state": ("int, RandomState, Generator or None",
            "Seed or generator for starts and for ``sample``; pass an int for reproducible "
            "results."),
        "n_iter": ("int", "Maximum number of iterations; ``fit`` warns if it ends before `tol`."),
        "verbose": ("bool", "Whether to show a progress bar."),
        "params": ("str",
            "What ``fit`` updates, one character each: s(tartprob), t(ransmat), and of the "
            "emissions e(missionprob), m(eans), c(ovars), w(eights) or l(ambdas)."),
        "init_params": ("str", "What ``fit`` initialises, as for `params`."),
        "implementation": ('{"log", "scaling"}',
            "Accepted for compatibility with hmmlearn. The recursions scale, and switch to "
            "logarithms for sequences where scaling would lose precision, so both give the same "
            "result."),
        "startprob_init": ("array of shape (K,)",
            f"Initial ``startprob_``; {_DRAWN} Zeros stay zeros.{_INIT}"),
        "transmat_init": ("array of shape (K, K)",
            f"Initial ``transmat_``; {_DRAWN} Zeros stay zeros.{_INIT}"),
        "emissionprob_init": ("array of shape (K, M)",
            f"Initial ``emissionprob_``; {_DRAWN}{_INIT}"),
        "lambdas_init": ("array of shape (K, d)", f"Initial ``lambdas_``; {_DRAWN}{_INIT}"),
        "weights_init": ("array of shape (K, n_mix)",
            f"Initial ``weights_``; equal when left out.{_INIT}"),
        "means_init": ("array, shaped like ``means_``", f"Initial ``means_``; {_FROM_DATA}"),
        "covars_init": ("array, shaped like the type's ``covars_``",
            f"Initial ``covars_``; the covariance of the data when left out.{_INIT}"),
        "device": ('{None, "cpu", "cuda"}', "Where to compute; None is where X is."),
        "warm_start": ("bool",
            "Whether ``fit`` continues from the current parameters, as if ``init_params`` were "
            "empty. An interrupted fit (Ctrl-C) then keeps the parameters reached so far."),
    },
    attributes={
        "startprob_": ("ndarray of shape (K,)", "Probabilities of the first state."),
        "transmat_": ("ndarray of shape (K, K)",
            "Probabilities of the next state (columns) given the state (rows)."),
        "emissionprob_": ("ndarray of shape (K, M)", "Probabilities of the symbols in each state."),
        "monitor_": ("ConvergenceMonitor", "Log-likelihood and objective of each iteration."),
        "n_features": ("int", "Number of features d."),
        "n_features_in_": ("int", "The same, after ``fit``."),
        "feature_names_in_": COMMON.attributes["feature_names_in_"],
    },
)

# Of models whose parameters are points.
POINTS = WORDS.extended(
    parameters={
        "startprob_prior": ("float or array of shape (K,)",
            "Parameters of the Dirichlet prior of ``startprob_``."),
        "transmat_prior": ("float or array of shape (K, K)",
            "Parameters of the Dirichlet prior of each row of ``transmat_``."),
        "tol": ("float", _TOLERANCE.format("log-likelihood plus log prior")),
        "n_init": ("int", _STARTS.format("log-likelihood plus log prior")),
    }
)

# Of models whose parameters have posteriors, which start at the prior updated with the starts.
POSTERIORS = WORDS.extended(
    parameters={
        "startprob_prior": ("float or array of shape (K,)",
            "Parameters of the Dirichlet prior of the first state, 1 / K when left out. 0 rules a "
            "state out."),
        "transmat_prior": ("float or array of shape (K, K)",
            "Parameters of the Dirichlet prior of each row of transitions, 1 / K when left out. 0 "
            "rules a transition out."),
        "startprob_init": ("array of shape (K,)", f"Initial ``startprob_``; {_DRAWN}{_UPDATED}"),
        "transmat_init": ("array of shape (K, K)", f"Initial ``transmat_``; {_DRAWN}{_UPDATED}"),
        "emissionprob_init": ("array of shape (K, M)",
            "Initial ``emissionprob_``; by default symbols beside the same ones share a state."
            f"{_UPDATED}"),
        "tol": ("float", _TOLERANCE.format("lower bound")),
        "n_init": ("int", _STARTS.format("lower bound")),
    }
)
