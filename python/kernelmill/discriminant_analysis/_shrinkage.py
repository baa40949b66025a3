"""Covariances of classes: empirical, shrunk, or by an estimator of the user.

With R the correlation matrix of a class of weight n and z its standardised rows, Ledoit and Wolf
(2004), "A well-conditioned estimator for large-dimensional covariance matrices", take

    (1 - s) R + s mu I,   mu = tr(R) / d,   s = min(b, e) / e,
    e = |R - mu I|^2 / d,   b = (sum_i w_i |z_i|^4 / n - |R|^2) / (d n).

So beside second moments it needs the sum of ``w |z|^4``, which takes a second pass over the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from kernelmill._arrays import to_host
from kernelmill._estimator._class_moments import ClassMoments
from kernelmill._estimator._rows import Rows

_BLOCK = 1 << 16  # elements of rows that are standardised at a time


def deviations(covariance: np.ndarray) -> np.ndarray:
    """Standard deviations, 1 where a feature does not vary: (..., d) of (..., d, d)."""
    variances = np.diagonal(covariance, axis1=-2, axis2=-1)
    return np.sqrt(np.where(variances > 0, variances, 1.0))


def shrunk(covariance: np.ndarray, share: float) -> np.ndarray:
    """``(1 - share) C + share tr(C) / d I``."""
    d = covariance.shape[-1]
    mean = np.trace(covariance, axis1=-2, axis2=-1) / d
    found = (1 - share) * covariance
    found[..., np.arange(d), np.arange(d)] += (share * mean)[..., None]
    return found


def _fourth_powers(
    X: Any, codes: np.ndarray, means: np.ndarray, scales: np.ndarray, sample_weight: Any = None
) -> np.ndarray:
    """Sums of ``w |z|^4`` by class."""
    total, step = np.zeros(len(means)), max(1, _BLOCK // X.shape[1])
    for i in range(0, len(X), step):
        own = codes[i : i + step]
        z = (X[i : i + step].astype(np.float64) - means[own]) / scales[own]
        fourth = np.einsum("ij,ij->i", z, z) ** 2
        if sample_weight is not None:
            fourth *= sample_weight[i : i + step]
        total += np.bincount(own, fourth, minlength=len(means))
    return total


def ledoit_wolf(
    rows: Rows, codes: np.ndarray, means: np.ndarray, covariances: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Covariances (k, d, d), each shrunk by as much as its rows suggest."""
    d = covariances.shape[-1]
    if d == 1:
        return covariances
    scales = deviations(covariances)
    fourth = rows.map_reduce(_fourth_powers, means, scales, along=(codes,))
    fourth = to_host(fourth)
    R = covariances / (scales[:, :, None] * scales[:, None, :])
    n = np.where(weights > 0, weights, 1.0)
    mu = np.trace(R, axis1=1, axis2=2) / d
    square = (R * R).sum((1, 2))
    error = (square - mu * mu * d) / d
    noise = np.minimum((fourth / n - square) / (d * n), error)
    share = np.where(noise > 0, noise / np.where(error > 0, error, 1.0), 0.0)
    found = (1 - share)[:, None, None] * R
    found[:, np.arange(d), np.arange(d)] += (share * mu)[:, None]
    return found * (scales[:, :, None] * scales[:, None, :])


def _by_estimator(estimator: Any, rows: Rows, chosen: np.ndarray) -> np.ndarray:
    part = rows.gather(np.flatnonzero(chosen))
    if part.weight is not None and not bool((part.weight == part.weight[0]).all()):
        raise ValueError(
            f"{rows.owner}: sample_weight must be left out with a covariance_estimator, got "
            "weights (repeat the rows)"
        )
    fitted = clone(estimator) if hasattr(estimator, "get_params") else estimator
    fitted.fit(to_host(part.X))
    if not hasattr(fitted, "covariance_"):
        raise ValueError(
            f"{rows.owner}: covariance_estimator must set covariance_, got a "
            f"{type(fitted).__name__}, which does not ({type(fitted).__name__} does not have a "
            "covariance_ attribute)"
        )
    return np.atleast_2d(np.asarray(fitted.covariance_, dtype=np.float64))


def class_covariances(
    model: Any, rows: Rows, codes: np.ndarray, moments: ClassMoments
) -> np.ndarray:
    """The covariance of each class (k, d, d) by `shrinkage` or `covariance_estimator`."""
    if model.covariance_estimator is not None:
        return np.array(
            [
                _by_estimator(model.covariance_estimator, rows, codes == c)
                for c in range(len(moments.means))
            ]
        )
    covariances = moments.scatter / moments.weights[:, :, None]
    if model.shrinkage == "auto":
        return ledoit_wolf(rows, codes, moments.means, covariances, moments.class_weight)
    return covariances if model.shrinkage is None else shrunk(covariances, model.shrinkage)


def total_covariance(
    model: Any, rows: Rows, codes: np.ndarray, moments: ClassMoments
) -> np.ndarray:
    """The covariance of all rows (d, d) in the same way."""
    if model.covariance_estimator is not None:
        return _by_estimator(model.covariance_estimator, rows, np.ones(len(codes), dtype=bool))
    weight = moments.total_weight
    covariance = (moments.within + moments.between) / weight[0]
    if model.shrinkage == "auto":
        one = np.zeros(len(codes), dtype=np.int64)
        return ledoit_wolf(rows, one, moments.mean[None], covariance[None], weight)[0]
    return covariance if model.shrinkage is None else shrunk(covariance, model.shrinkage)
