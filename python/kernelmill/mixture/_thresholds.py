"""Outliers by density: rows whose ``score_samples`` is below a quantile of the training rows.

``predict`` of a mixture returns components, not the -1 and 1 of scikit-learn's outlier detectors;
``contamination``, ``offset_`` and ``decision_function`` are named and signed as there.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._docstrings import Documented
from kernelmill._estimator import _parameters as rule
from kernelmill.mixture._words import WORDS

CONTAMINATION = rule.any_of(rule.real(0, above=True, high=0.5), rule.nothing())


def threshold(scores: np.ndarray, weight: np.ndarray, share: float) -> float:
    """The greatest score below which at most a share of the weight lies.

    Half-way between two neighbouring scores; equal scores lie on the same side. Rows with zero
    weight are ignored.

    Parameters
    ----------
    share : float
        In (0, 0.5].

    Returns
    -------
    float
        The least score if no row may lie below.
    """
    positive = weight > 0
    values, inverse = np.unique(scores[positive].astype(np.float64), return_inverse=True)
    mass = np.cumsum(np.bincount(inverse.reshape(-1), weights=weight[positive]))
    # Tolerance for the rounding of sums of weights.
    below = int(np.searchsorted(mass, share * mass[-1] * (1 + 1e-12), side="right"))
    if below == 0 or below == len(values):
        return float(values[0])
    low, high = float(values[below - 1]), float(values[below])
    middle = low + (high - low) / 2
    return middle if middle > low else high


class with_threshold:
    """A method that is available only if `contamination` is given.

    Like scikit-learn's ``available_if``, with an error that says what to do.
    """

    def __init__(self, method: Callable) -> None:
        self.__func__ = method

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        if model is None:
            return self.__func__
        if model.contamination is None:
            raise AttributeError(
                f"{type(model).__name__}: contamination must be a share of outliers for "
                f"{self.__func__.__name__}, got None (set it and fit again)"
            )
        return types.MethodType(self.__func__, model)


class OutlierScoresMixin(Documented):
    """Adds ``decision_function`` and ``is_outlier`` to a model with ``score_samples``.

    Attributes
    ----------
    offset_
    """

    _words: ClassVar = WORDS
    contamination: Any
    offset_: float

    @with_threshold
    def decision_function(self, X: Any) -> Any:
        """Return the log density of each row minus the threshold.

        Returns
        -------
        scores : array of shape (n,), dtype of X
            ``score_samples(X) - offset_``: negative for outliers.

        Raises
        ------
        AttributeError
            If `contamination` is None.

        Examples
        --------
        >>> from kernelmill.mixture import GaussianMixture
        >>> model = GaussianMixture(contamination=0.2).fit([[0.0], [0.1], [0.2], [0.3], [9.0]])
        >>> model.decision_function([[0.1], [9.0]]) < 0
        array([False,  True])
        """
        check_is_fitted(self, "offset_")
        return self.score_samples(X) - self.offset_  # type: ignore[attr-defined]

    @with_threshold
    def is_outlier(self, X: Any) -> Any:
        """Return whether the log density of each row is below the threshold.

        Returns
        -------
        outlier : array of shape (n,), bool
            ``decision_function(X) < 0``.

        Raises
        ------
        AttributeError
            If `contamination` is None.

        Examples
        --------
        >>> from kernelmill.mixture import GaussianMixture
        >>> model = GaussianMixture(contamination=0.2).fit([[0.0], [0.1], [0.2], [0.3], [9.0]])
        >>> model.is_outlier([[0.1], [9.0]])
        array([False,  True])
        """
        return self.decision_function(X) < 0
