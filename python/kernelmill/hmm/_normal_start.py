"""Where fits of Gaussian states start: k-means and the covariance of the data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kernelmill.cluster import KMeans
from kernelmill.hmm._dirichlet import start_numbers
from kernelmill.hmm._normal import bounded_floor


def filled_rows(rows: np.ndarray) -> np.ndarray:
    """Rows as float64 with missing entries set to the mean of their feature."""
    rows = rows.astype(np.float64)
    known = np.isfinite(rows)
    if known.all():
        return rows
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, rows, 0.0).sum(axis=0) / count
    return np.where(known, rows, mean)


def centers_of(
    model: Any, rows: np.ndarray, k: int, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """k centers of rows and the center of each row; with fewer rows than centers some are drawn."""
    n, d = rows.shape
    random_state = model.random_state
    if n >= k:
        if isinstance(random_state, np.random.Generator):
            random_state = start_numbers(random_state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than centers
            found = KMeans(k, n_init=model._n_kmeans, random_state=random_state)
            found.fit(rows, sample_weight=weight)
        return found.cluster_centers_, found.labels_
    numbers = start_numbers(random_state)
    spread = rows.std(axis=0) + np.finfo(np.float64).eps * np.abs(rows).max()
    more = rows[numbers.randint(n, size=k - n)] + spread * numbers.standard_normal((k - n, d))
    return np.concatenate([rows, more]), np.arange(n)


def overall_covariance(rows: np.ndarray, min_covar: float) -> np.ndarray:
    """Covariance of all rows, (d, d), with the `bounded_floor` more on its diagonal."""
    d = rows.shape[1]
    spread = np.cov(rows.T).reshape(d, d) if len(rows) > 1 else np.zeros((d, d))
    return spread + np.diag(bounded_floor(min_covar, np.diagonal(spread), rows.mean(axis=0)))


def repeated(covariance: np.ndarray, covariance_type: str, shape: tuple[int, ...]) -> np.ndarray:
    """One covariance for all components, in the shape of the type."""
    value = {"spherical": np.diagonal(covariance).mean(), "diag": np.diagonal(covariance)}
    return np.broadcast_to(value.get(covariance_type, covariance), shape).copy()
