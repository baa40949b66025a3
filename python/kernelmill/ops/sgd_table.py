"""The table of losses of linear models that are trained row by row.

A loss and its derivative are expressions in the target ``y``, the model's output ``p`` and a number
``margin``, in the language of :mod:`kernelmill.ops.elementwise_table`, valid Python and C. Targets
of classes are 1 and -1. ``cmake/sgd_rows.py`` writes the C++ functions from these rows and the
specification evaluates them.

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
        As in scikit-learn.
    value, slope : str
        The loss, and its derivative by p; at a kink a number between the one-sided ones.
    """

    name: str
    value: str
    slope: str


_EXCESS = "maximum(abs(y - p) - margin, 0)"

LOSSES = (
    Loss("hinge", "maximum(margin - y * p, 0)", "where(y * p <= margin, -y, 0)"),
    Loss(
        "squared_hinge",
        "maximum(1 - y * p, 0) * maximum(1 - y * p, 0)",
        "-2 * y * maximum(1 - y * p, 0)",
    ),
    Loss(  # the same exp in both
        "log_loss",
        "maximum(-y * p, 0) + log1p(exp(-abs(y * p)))",
        "-y * where(y * p > 0, exp(-abs(y * p)), 1) / (1 + exp(-abs(y * p)))",
    ),
    Loss(
        "modified_huber",
        "where(y * p >= -1, maximum(1 - y * p, 0) * maximum(1 - y * p, 0), -4 * y * p)",
        "where(y * p >= -1, -2 * y * maximum(1 - y * p, 0), -4 * y)",
    ),
    Loss("squared_error", "0.5 * (y - p) * (y - p)", "p - y"),
    Loss(
        "huber",
        "where(abs(y - p) <= margin, 0.5 * (y - p) * (y - p),"
        " margin * abs(y - p) - 0.5 * margin * margin)",
        "clip(p - y, -margin, margin)",
    ),
    Loss(
        "epsilon_insensitive",
        _EXCESS,
        "where(y - p > margin, -1, where(p - y > margin, 1, 0))",
    ),
    Loss(
        "squared_epsilon_insensitive",
        f"{_EXCESS} * {_EXCESS}",
        f"where(y > p, -2, 2) * {_EXCESS}",
    ),
)
TABLE = {loss.name: loss for loss in LOSSES}
