"""Text and rules that the searches share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from kernelmill._docstrings import Words
from kernelmill._estimator import _parameters as rule
from kernelmill.model_selection._acquisition import NAMES

OPTIONS: dict[str, rule.Rule] = {
    "n_initial_points": rule.any_of(rule.integer(0), rule.nothing()),
    "acquisition": rule.one_of(*NAMES),
    "xi": rule.any_of(rule.real(0), rule.nothing()),
    "kappa": rule.real(0),
    "random_state": rule.RANDOM_STATE,
}
LOOP: dict[str, rule.Rule] = {
    "n_calls": rule.integer(1),
    "n_points": rule.integer(1),
    "n_jobs": rule.any_of(
        rule.Rule(lambda v: rule.is_integer(v) and v != 0, "a whole number but 0"), rule.nothing()
    ),
    "error_score": rule.any_of(
        rule.Rule(lambda v: rule.is_real(v), "a number or NaN"), rule.one_of("raise")
    ),
    "timeout": rule.any_of(rule.real(0), rule.nothing()),
    "callback": rule.any_of(rule.function("(result)"), rule.nothing()),
    "checkpoint": rule.any_of(
        rule.Rule(lambda v: isinstance(v, str | os.PathLike), "a path"), rule.nothing()
    ),
    "verbose": rule.VERBOSE,
}
_SHARED = {
    "space": (
        "sequence or dict of dimensions, or sequence of such dicts",
        "Dimensions: a list or an array is a set of choices, a pair ``(low, high)`` a range, of "
        "whole numbers if both are int, ``(low, high, prior)`` one with a prior; or `Real`, "
        "`Integer`, `Categorical`, or a frozen distribution of SciPy. Points of a dict are dicts, "
        "others lists; several dicts are alternatives.",
    ),
    "n_initial_points": (
        "int",
        "Points of a Latin hypercube before the model is used, given ones included; twice the "
        "number of dimensions plus 1 by default, at most 12.",
    ),
    "acquisition": (
        '{"EI", "PI", "UCB", "Thompson"}',
        "What is maximised to choose a point: expected improvement, probability of improvement, "
        "upper confidence bound (of minus the objective), or minus a function drawn from the "
        "model.",
    ),
    "xi": (
        "float",
        "Least improvement that counts for EI and PI, in units of the deviation of the values; 0 "
        "for EI and 0.1 for PI by default.",
    ),
    "kappa": ("float", "Number of deviations in UCB."),
    "n_points": (
        "int",
        "Number of points suggested at a time, for workers that run at once; each takes into "
        "account those before it.",
    ),
    "n_jobs": ("int", "Number of workers; None is 1, -1 all processors."),
    "error_score": (
        '"raise" or float',
        "Value where an exception is raised; NaN, the default, is a failure: it is recorded, and "
        "the region avoided. With \"raise\" the exception is raised.",
    ),
    "timeout": ("float", "Seconds after which no further evaluation begins."),
    "checkpoint": (
        "str or os.PathLike",
        "A file that keeps the search, replaced atomically after each evaluation. If it exists, "
        "the search goes on from it, and ends as if it had not been interrupted.",
    ),
    "verbose": ("int", "Whether to show a progress bar; nothing else is printed."),
    "random_state": (
        "int, RandomState, Generator or None",
        "Seed or generator; pass an int for reproducible results.",
    ),
}
WORDS = Words(arguments=_SHARED, parameters=_SHARED)


def check_options(owner: str, rules: Mapping[str, rule.Rule], values: Mapping[str, Any]) -> None:
    """Raise unless every option is accepted by its rule."""
    for name, value in values.items():
        if not rules[name].accepts(value):
            raise rule.InvalidParameterError(
                f"{owner}: {name} must be {rules[name].words}, got {rule.shown(value)}"
            )
