"""The table of losses of generalised linear models.

A loss, its derivative and a curvature are expressions in the target ``y``, the linear predictor
``p`` and a parameter ``a``, in the language of :mod:`kernelmill.ops.elementwise_table`, valid
Python and C. The curvature is the second derivative, or where that may be negative or zero, another
one with which steps lower the loss. ``cmake/glm_rows.py`` writes the C++ functions from these rows
and the specification evaluates them.

This module imports nothing but the standard library: the build reads it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Loss:
    """One loss.

    Attributes
    ----------
    name : str
    value, slope, curvature : str
        The loss up to a constant of y, its derivative by p, and a second one.
    """

    name: str
    value: str
    slope: str
    curvature: str


_E = "exp(-abs(p))"  # of the logistic function: never overflows
_TANH = "(1 - exp(-2 * abs(p - y))) / (1 + exp(-2 * abs(p - y)))"

LOSSES = (
    Loss("squared_error", "0.5 * (p - y) * (p - y)", "p - y", "1 + 0 * p"),
    Loss(  # targets in [0, 1]
        "log_loss",
        f"maximum(p, 0) + log1p({_E}) - y * p",
        f"where(p > 0, 1, {_E}) / (1 + {_E}) - y",
        f"{_E} / ((1 + {_E}) * (1 + {_E}))",
    ),
    Loss("poisson", "exp(p) - y * p", "exp(p) - y", "exp(p)"),
    Loss("gamma", "p + y * exp(-p)", "1 - y * exp(-p)", "y * exp(-p)"),
    Loss(  # power a, none of 0, 1 and 2; beyond 2 the curvature is the expected one
        "tweedie",
        "exp((2 - a) * p) / (2 - a) - y * exp((1 - a) * p) / (1 - a)",
        "exp((2 - a) * p) - y * exp((1 - a) * p)",
        "where(abs(2 * a - 3) < 1, (2 - a) * exp((2 - a) * p) - (1 - a) * y * exp((1 - a) * p),"
        " exp((2 - a) * p))",
    ),
    Loss(  # linear beyond a; there the curvature is that of the parabola above it with its slope
        "huber",
        "where(abs(p - y) <= a, 0.5 * (p - y) * (p - y), a * abs(p - y) - 0.5 * a * a)",
        "clip(p - y, -a, a)",
        "a / maximum(abs(p - y), a)",
    ),
    Loss(  # targets 1 and -1
        "squared_hinge",
        "maximum(1 - y * p, 0) * maximum(1 - y * p, 0)",
        "-2 * y * maximum(1 - y * p, 0)",
        "where(y * p < 1, 2, 0)",
    ),
    Loss(
        "squared_epsilon_insensitive",
        "maximum(abs(p - y) - a, 0) * maximum(abs(p - y) - a, 0)",
        "2 * maximum(abs(p - y) - a, 0) * where(p > y, 1, -1)",
        "where(abs(p - y) > a, 2, 0)",
    ),
    Loss(
        "log_cosh",
        "abs(p - y) + log1p(exp(-2 * abs(p - y))) - 0.6931471805599453",
        f"where(p > y, 1, -1) * {_TANH}",
        "4 * exp(-2 * abs(p - y)) / ((1 + exp(-2 * abs(p - y))) * (1 + exp(-2 * abs(p - y))))",
    ),
)
TABLE = {loss.name: loss for loss in LOSSES}
