"""Classifiers by Bayes' rule: from log joint densities to labels and posterior probabilities.

A model gives a pass over rows, ``joint(X, *state) -> (n, k)``, of ``log P(c) + log p(x | c)`` in
float64. What users ask for follows from it, chunk by chunk:

    log P(c | x) = joint_c - log sum_c' exp(joint_c')

Differences of joint densities are taken before anything is rounded, so posteriors of points far
from all classes are as good as those of near ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator._base import warn
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._validation import SUM_TOLERANCE, as_numbers
from kernelmill.ops import mixture

_LOWEST = -float(np.finfo(np.float64).max)


def given_priors(
    priors: Any, shares: np.ndarray, owner: str, name: str = "priors", *, strict: bool = False
) -> np.ndarray:
    """Prior probabilities of the classes: `shares`, or what the user has given.

    Parameters
    ----------
    shares : ndarray of shape (k,)
        Shares of the classes in the rows.
    name : str
        Of the parameter, in errors.
    strict : bool, default=False
        Whether a sum other than one is an error rather than a warning.

    Raises
    ------
    ValueError
        If there is not one for each class, one is negative, or their sum is not positive.
    """
    if priors is None:
        return shares
    given = as_numbers(priors, name, owner)
    if given.shape != shares.shape or not (given >= 0).all():
        raise ValueError(
            f"{owner}: {name} must be {len(shares)} numbers that are not negative, one for each "
            f"class, got {priors!r} (Number of priors must match number of classes. Priors must "
            "be non-negative.)"
        )
    total = float(given.sum())
    if not 0 < total < np.inf:
        raise ValueError(f"{owner}: {name} must have a positive, finite sum, got {total:g}")
    if not abs(total - 1) <= SUM_TOLERANCE:
        if strict:
            raise ValueError(
                f"{owner}: {name} must sum to one within {SUM_TOLERANCE:g}, got {total:.8g} (The "
                "sum of the priors should be 1.)"
            )
        warn(
            f"{owner}: {name} must sum to one within {SUM_TOLERANCE:g}, got {total:.8g} (The "
            "priors do not sum to 1. Renormalizing: they are scaled)",
            UserWarning,
        )
    return given / total


def log_of(values: Any) -> np.ndarray:
    """Logarithms, -inf of 0."""
    with np.errstate(divide="ignore"):
        return np.log(values)


def relative(joint: np.ndarray) -> np.ndarray:
    """Log joint densities about the greatest of their row; NaN where all are -inf."""
    with np.errstate(invalid="ignore"):
        return joint - joint.max(axis=1, keepdims=True)


def log_posterior(X: Any, joint: Callable, *state: Any) -> np.ndarray:
    """Log posterior probabilities of rows.

    Squares of rows that are too far overflow in float64: these rows are done again in the widest
    type, whose range is larger. What still leaves the range is the lowest float64.
    """
    found = relative(joint(X, *state))
    bad = np.isnan(found).any(1)
    if bad.any():
        wide = relative(joint(X[bad].astype(np.longdouble), *state))
        impossible = wide == -np.inf
        finite = np.where(np.isnan(wide), 0.0, np.maximum(wide, _LOWEST)).astype(np.float64)
        found[bad] = np.where(impossible, -np.inf, finite)
    return found - mixture.responsibilities(found)[0][:, None]


def posterior(X: Any, joint: Callable, *state: Any) -> np.ndarray:
    """Posterior probabilities of rows."""
    found = relative(joint(X, *state))
    if np.isnan(found).any():
        return np.exp(log_posterior(X, joint, *state))
    return mixture.responsibilities(found)[1]


def codes_of(X: Any, joint: Callable, *state: Any) -> np.ndarray:
    """Numbers of the most probable classes, the first in a tie."""
    found = joint(X, *state)
    top = found.max(1)
    if not np.isfinite(top).all():
        return log_posterior(X, joint, *state).argmax(1)
    return found.argmax(1)


class PosteriorClassifier(ClassifierMixin, Estimator):
    """Base of classifiers by Bayes' rule; subclasses give `_joint`."""

    classes_: Any

    def _joint(self) -> tuple[Callable, tuple]:
        """The pass ``joint(X, *state) -> (n, k)``, float64, and its state."""
        raise NotImplementedError

    def _mapped_joint(self, X: Any, function: Callable | None = None) -> np.ndarray:
        check_is_fitted(self)
        joint, state = self._joint()
        rows = self._rows(X, reset=False)
        return rows.map(joint, *state) if function is None else rows.map(function, joint, *state)

    def predict(self, X):
        """The most probable class of each row.

        Returns
        -------
        y : ndarray of shape (n,)
            Classes, the first in a tie.
        """
        codes = self._mapped_joint(X, codes_of)  # raises before `classes_` is there
        return self.classes_[codes]

    def predict_proba(self, X):
        """Posterior probabilities of the classes.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes), float64
            In the order of ``classes_``; rows sum to one.
        """
        return self._mapped_joint(X, posterior)

    def predict_log_proba(self, X):
        """Logarithms of the posterior probabilities, finite where these underflow.

        Returns
        -------
        logarithms : ndarray of shape (n, n_classes), float64
            In the order of ``classes_``.
        """
        return self._mapped_joint(X, log_posterior)
