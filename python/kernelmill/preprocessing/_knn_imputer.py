"""KNNImputer: missing entries get the mean of the nearest rows that have them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill.neighbors._base import inverse
from kernelmill.ops import neighbors as ops
from kernelmill.preprocessing._imputer import Imputer, marked

# Entries whose donors are held at a time.
_ENTRIES = 1 << 18


def imputed(
    X: np.ndarray, donors: np.ndarray, means: np.ndarray, kept: np.ndarray, flagged: np.ndarray,
    missing: float, k: int, weights: Any, metric: Any
) -> np.ndarray:
    """The kept columns of X without missing entries, then flags of those in some columns.

    Parameters
    ----------
    donors : ndarray of shape (m, d)
        Rows with values; missing entries are NaN.
    means : ndarray of shape (d,)
        What a column gets where no row can give.
    """
    X = marked(X, missing)
    gaps = np.isnan(X)
    full = X.copy()
    rows, cols = np.nonzero(gaps & np.isin(np.arange(X.shape[1]), kept))
    step = max(1, _ENTRIES // k)
    for start in range(0, len(rows), step):
        own = slice(start, start + step)
        full[rows[own], cols[own]] = _given(
            X, donors, means, rows[own], cols[own], k, weights, metric
        )
    empty = np.setdiff1d(np.arange(X.shape[1]), kept)
    full[:, empty] = 0
    parts = [full[:, kept]] + ([gaps[:, flagged].astype(X.dtype)] if len(flagged) else [])
    return np.concatenate(parts, axis=1)


def _given(
    X: np.ndarray, donors: np.ndarray, means: np.ndarray, rows: np.ndarray, cols: np.ndarray,
    k: int, weights: Any, metric: Any
) -> np.ndarray:
    """Values for some entries of X."""
    if callable(metric):
        indices, distances = _by_function(X, donors, rows, cols, k, metric)
    else:
        indices, distances = ops.donors(X, donors, rows, cols, k)
    there = indices >= 0
    values = np.where(there, donors[indices, cols[:, None]], 0).astype(np.float64)
    if callable(weights):
        w = _by_rule(weights(distances), distances.shape)
    elif weights == "distance":
        w = inverse(distances, np.where(there, distances, np.inf).min(axis=1, keepdims=True))
    else:
        w = np.ones_like(distances)
    w = np.where(there, w, 0)
    total = w.sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = (w * values).sum(axis=1) / total
    return np.where(total > 0, mean, means[cols])


def _by_rule(given: Any, shape: tuple[int, ...]) -> np.ndarray:
    """What a function gives as weights: None for equal ones, and NaN for none."""
    if given is None:
        return np.ones(shape)
    w = np.asarray(given, np.float64)
    if w.shape != shape:
        raise ValueError(
            f"KNNImputer: weights must give an array of shape {shape}, or None, got {w.shape}"
        )
    return np.where(np.isnan(w), 0, w)


def _by_function(
    X: np.ndarray, donors: np.ndarray, rows: np.ndarray, cols: np.ndarray, k: int, metric: Any
) -> tuple[np.ndarray, np.ndarray]:
    D = np.empty((len(rows), len(donors)))
    for e, row in enumerate(rows):
        if e and row == rows[e - 1]:
            D[e] = D[e - 1]
        else:
            D[e] = [metric(X[row], donor, missing_values=np.nan) for donor in donors]
    D[np.isnan(donors.T[cols])] = np.nan
    return ops.first_of(D, k)


class KNNImputer(Imputer):
    """Replace a missing entry by the mean of the nearest rows that have its feature.

    The distance of two rows is taken over the features that both have, and scaled up to all
    (``nan_euclidean``).

    Parameters
    ----------
    missing_values : float, pandas.NA or None, default=nan
        What stands for a missing entry. NaN, NA and None are the same.
    n_neighbors : int, default=5
        Number of rows that give.
    weights : {"uniform", "distance"} or callable, default="uniform"
        Weights of those rows: equal, the inverse of their distances, or what a function of the
        distances gives, which are NaN where fewer rows can give.
    metric : {"nan_euclidean"} or callable, default="nan_euclidean"
        Distance; a function is called with two rows and ``missing_values=nan``.
    add_indicator : bool, default=False
        Whether to append one column for each feature with missing entries in ``fit``: 1 where the
        entry was missing, 0 elsewhere.
    keep_empty_features : bool, default=False
        Whether features without any entry in ``fit`` are kept, filled with 0, or left out.

    Attributes
    ----------
    n_features_in_, feature_names_in_

    Notes
    -----
    A row that shares no feature with the incomplete one gives nothing, as their distance is not
    defined. Where no row can give, the entry is the mean of its feature in ``fit``. Rows at equal
    distances give in the order of their indices. Cost n m d for n incomplete rows and m rows in
    ``fit``; no n x m matrix is made.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.preprocessing import KNNImputer
    >>> X = np.array([[1.0, 2.0], [1.1, np.nan], [9.0, 8.0], [9.2, 8.4]])
    >>> KNNImputer(n_neighbors=1).fit_transform(X)[1]
    array([1.1, 2. ])
    """

    _accepts_streams = False
    _private = ("_donors", "_means", "_flagged", "_empty")
    _parameters: ClassVar = {
        **Imputer._parameters,
        "n_neighbors": rule.integer(1),
        "weights": rule.any_of(
            rule.one_of("uniform", "distance"), rule.function("(distances)")
        ),
        "metric": rule.any_of(rule.one_of("nan_euclidean"), rule.function("(x, y)")),
    }

    def __init__(
        self, *, missing_values=np.nan, n_neighbors=5, weights="uniform", metric="nan_euclidean",
        copy=True, add_indicator=False, keep_empty_features=False
    ):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None):
        """Keep the rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows in memory.

        Raises
        ------
        ValueError
            If X is infinite, or NaN does not stand for missing entries and X has some.
        """
        rows = self._rows(X, reset=True)
        donors = marked(rows.X, self._mark)
        there = ~np.isnan(donors)
        counts = there.sum(axis=0)
        sums = np.where(there, donors, 0).sum(axis=0, dtype=np.float64)
        self._donors = np.array(donors)
        self._means = sums / np.maximum(counts, 1)
        self._empty = np.flatnonzero(counts == 0)
        gaps = np.flatnonzero(counts < len(donors))
        self._flagged = gaps if self.add_indicator else np.empty(0, np.int64)
        return self

    def fit_transform(self, X, y=None):  # type: ignore[override]
        """Fit and transform the rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows in memory.

        Returns
        -------
        array of shape (n, d), dtype of X
            As ``transform`` gives.
        """
        return self.fit(X, y).transform(X)

    def _kept(self) -> np.ndarray:
        every = np.arange(self.n_features_in_)
        return every if self.keep_empty_features else np.setdiff1d(every, self._empty)

    def _transformation(self):
        k = int(self.n_neighbors)
        state = self._donors, self._means, self._kept(), self._flagged, self._mark, k
        return imputed, (*state, self.weights, self.metric)
