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

from kernelmill._arrays import FLOATS, is_sparse
from kernelmill._estimator._base import warn
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._validation import SUM_TOLERANCE, as_numbers
from kernelmill._estimator._words import WORDS
from kernelmill.ops import linear, mixture, reduction

_BLOCK = 1 << 16  # elements of rows that are made float64 at a time
_FAR = -1e6  # a joint density below it leaves fewer than ten digits of differences
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


def linear_scores(
    X: Any, coef: np.ndarray, intercept: np.ndarray, center: np.ndarray | None = None
) -> np.ndarray:
    """``(X - center) coef' + intercept`` in float64 or wider (n, k), without a copy of X."""
    if is_sparse(X):
        return np.asarray(X @ coef.T) + intercept
    if X.dtype == np.float64 and center is None:
        return linear.forward(X, coef, intercept, 0)[0]
    if X.dtype not in FLOATS:  # wider
        return (X if center is None else X - center) @ coef.T.astype(X.dtype) + intercept
    out = np.empty((len(X), len(coef)))
    step = max(1, _BLOCK // max(1, X.shape[1]))
    for i in range(0, len(X), step):
        block = X[i : i + step].astype(np.float64)
        if center is not None:
            block -= center
        out[i : i + step] = linear.forward(block, coef, intercept, 0)[0]
    return out


def log_of(values: Any) -> np.ndarray:
    """Logarithms, -inf of 0."""
    with np.errstate(divide="ignore"):
        return np.log(values)


def _wide(X: Any, joint: Callable, *state: Any) -> np.ndarray:
    """Log joint densities about the greatest of their row, of rows that are far from all classes.

    What leaves the range of float64 is its lowest number; where no class is possible all are alike.
    """
    if hasattr(joint, "differences"):
        found = joint.differences(X, *state)
    else:
        found = joint(X.astype(np.longdouble), *state)
    with np.errstate(invalid="ignore"):
        found = found - found.max(axis=1, keepdims=True)
    impossible = found == -np.inf
    finite = np.where(np.isnan(found), 0.0, np.maximum(found, _LOWEST)).astype(np.float64)
    return np.where(impossible, -np.inf, finite)


def _shares(X: Any, joint: Callable, *state: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log joint densities, their log-sums and posteriors, also of points that are far."""
    found = joint(X, *state)
    total, share = mixture.responsibilities(found)
    bad = ~(total > _FAR)
    if bad.any():
        found[bad] = _wide(X[bad], joint, *state)
        total[bad], share[bad] = mixture.responsibilities(found[bad])
    return found, total, share


def log_posterior(X: Any, joint: Callable, *state: Any) -> np.ndarray:
    """Log posterior probabilities of rows."""
    found, total, _ = _shares(X, joint, *state)
    # A large log-sum is rounded; what is left of it is not.
    found -= total[:, None]
    found -= mixture.responsibilities(found)[0][:, None]
    return found


def posterior(X: Any, joint: Callable, *state: Any) -> np.ndarray:
    """Posterior probabilities of rows."""
    return _shares(X, joint, *state)[2]


def codes_of(X: Any, joint: Callable, *state: Any) -> np.ndarray:
    """Numbers of the most probable classes, the first in a tie."""
    found = joint(X, *state)
    bad = ~(reduction.max(found, 1) > _FAR)
    if bad.any():
        found[bad] = _wide(X[bad], joint, *state)
    return reduction.argmax(found, 1)


class PosteriorClassifier(ClassifierMixin, Estimator):
    """Base of classifiers by Bayes' rule; subclasses give `_joint`."""

    classes_: Any

    _words = WORDS

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
