"""Outliers by density: a threshold on ``score_samples`` that a share of the training rows passes.

``predict`` of a mixture gives components, so it cannot give scikit-learn's -1 and 1 as well. The
names that do not clash are those of scikit-learn's outlier detectors: ``contamination``,
``offset_`` and ``decision_function``, negative for outliers. ``is_outlier`` takes its sign.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator import _parameters as rule

CONTAMINATION = rule.any_of(rule.real(0, above=True, high=0.5), rule.nothing())


def threshold(scores: np.ndarray, weight: np.ndarray, share: float) -> float:
    """The score below which at most a share of the weight lies, and as much of it as can be.

    Half way between the last score that lies below and the next one; equal scores lie on the same
    side. Rows without weight count for nothing.

    Parameters
    ----------
    scores, weight : ndarray of shape (n,)
    share : float
        In (0, 0.5].

    Returns
    -------
    float
        The least score where no row can lie below.
    """
    kept = weight > 0
    values, inverse = np.unique(scores[kept].astype(np.float64), return_inverse=True)
    mass = np.cumsum(np.bincount(inverse.reshape(-1), weights=weight[kept]))
    # Sums of weights carry rounding: a share that is reached within it is reached.
    below = int(np.searchsorted(mass, share * mass[-1] * (1 + 1e-12), side="right"))
    if below == 0 or below == len(values):
        return float(values[0])
    low, high = float(values[below - 1]), float(values[below])
    middle = low + (high - low) / 2
    return middle if middle > low else high


class with_threshold:
    """A method that a model has only where `contamination` asks for outliers.

    scikit-learn's ``available_if`` would say no more than that the method is not there.
    """

    def __init__(self, method: Callable) -> None:
        self._method = method

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        if model is None:
            return self._method
        if model.contamination is None:
            raise AttributeError(
                f"{type(model).__name__}: contamination must be a share of outliers for "
                f"{self._method.__name__}, got None (set it and fit again)"
            )
        return types.MethodType(self._method, model)


class OutlierScoresMixin:
    """Adds ``decision_function`` and ``is_outlier`` to a model with ``score_samples``.

    Attributes
    ----------
    offset_ : float
        Log density below which a row is an outlier; set with `contamination` only.
    """

    contamination: Any
    offset_: float

    @with_threshold
    def decision_function(self, X: Any) -> Any:
        """Give how far the log density of each row lies above the threshold.

        Parameters
        ----------
        X : {array-like} of shape (n, d), or a stream
            Rows; see ``fit``.

        Returns
        -------
        scores : array of shape (n,), dtype of X
            ``score_samples(X) - offset_``: negative for outliers.

        Raises
        ------
        AttributeError
            If `contamination` is None.
        NotFittedError
            Before ``fit``.
        """
        check_is_fitted(self, "offset_")
        return self.score_samples(X) - self.offset_  # type: ignore[attr-defined]

    @with_threshold
    def is_outlier(self, X: Any) -> Any:
        """Tell which rows have a log density below the threshold.

        Parameters
        ----------
        X : {array-like} of shape (n, d), or a stream
            Rows; see ``fit``.

        Returns
        -------
        outlier : array of shape (n,), bool
            ``decision_function(X) < 0``.

        Raises
        ------
        AttributeError
            If `contamination` is None.
        NotFittedError
            Before ``fit``.
        """
        return self.decision_function(X) < 0
