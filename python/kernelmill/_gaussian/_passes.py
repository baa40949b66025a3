"""Passes over rows: log joint densities, E-steps and moments; missing values are integrated out.

A missing value is a NaN. Rows with the same missing features share a *pattern*; with o the observed
features of a pattern and m the missing ones, x_o has density N(mu_o, Sigma_oo), and given x_o and
the component

    E[x_m]   = mu_m + B (x_o - mu_o),        B = Sigma_mo Sigma_oo^-1,
    Cov[x_m] = C = Sigma_mm - B Sigma_om.

E[x] - mu = G (x_o - mu_o) is linear in x_o (G is I on o and B on m), so the expected moments of
complete rows follow exactly from the moments s and S of the observed parts, which the ops compute
without NaN: ``G s`` and ``G S G' + n C``. Cost: one call of the op per pattern, and k
factorisations of the size of o. Splitting X by patterns (`parts_of`) copies it, once in a fit.

Functions at module level, so that Dask can send them to its workers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kernelmill._arrays import beside, namespace, to_host
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._validation import extent
from kernelmill._gaussian._parameters import Gaussians
from kernelmill.ops import mixture


class Moments(NamedTuple):
    """Sufficient statistics about the means of a pass; sums over the rows.

    Attributes
    ----------
    weights : ndarray of shape (k,)
    sums : ndarray of shape (k, d)
        ``sum_i r_ij (x_i - m_j)``.
    squares : ndarray of shape (k, d, d), (1, d, d) or (k, d)
        See `kernelmill._gaussian._parameters`.
    log_likelihood : float
    """

    weights: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    log_likelihood: float


class Part(NamedTuple):
    """The rows of X with one pattern of missing features."""

    rows: np.ndarray  # (m,), int64: row numbers in X
    observed: np.ndarray  # (o,), int64: observed features
    X: Any  # (m, o): their values, without NaN


def has_missing(X: Any) -> bool:
    """Whether any value is NaN, by one pass."""
    return extent(X)[1] > 0


def known_parts(rows: Rows) -> list[Part] | bool | None:
    """The argument `missing` of repeated passes over the same rows; None for a stream."""
    if rows.is_stream:
        return None
    return rows.missing is not False and (parts_of(rows.X) or False)


def parts_of(X: Any) -> list[Part] | None:
    """X split by patterns of missing features; None if nothing is missing."""
    if not has_missing(X):
        return None
    missing = to_host(X != X)
    packed = np.packbits(missing, axis=1)
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(np.bincount(inverse))
    parts = []
    for start, end, row in zip(np.r_[0, ends[:-1]], ends, first, strict=True):
        rows, observed = order[start:end], np.flatnonzero(~missing[row])
        parts.append(Part(rows, observed, X[rows][:, observed]))
    return parts


def _parts(X: Any, missing: Any) -> list[Part] | None:
    """The parts of X, or None, from the argument `missing`."""
    if missing is None or missing is True:
        return parts_of(X)
    return None if missing is False else missing


def log_joint(
    X: Any, gaussians: Gaussians, offsets: np.ndarray, missing: bool | list[Part] | None = None
) -> np.ndarray:
    """Log joint densities, as in `kernelmill.ops.mixture.full_log_joint`.

    Parameters
    ----------
    X : array of shape (n, d), float32 or float64
        NaN is a missing value.
    missing : bool or list of Part, optional
        The result of `parts_of`, or whether X has missing values; None if not known.
    """
    parts = _parts(X, missing)
    if parts is None:
        return _run(_ops(gaussians)[0], X, gaussians.means, gaussians.whitening, offsets)
    xp = namespace(X)
    out = xp.empty((X.shape[0], gaussians.k), dtype=X.dtype)
    for rows, observed, block in parts:
        if not len(observed):
            out[rows] = xp.asarray(offsets.astype(X.dtype))
            continue
        part = _marginal(gaussians, observed)
        out[rows] = _run(_ops(part)[0], block, part.means, part.whitening, offsets)
    return out


def step(
    X: Any, gaussians: Gaussians, offsets: np.ndarray, sample_weight: Any = None,
    missing: bool | list[Part] | None = None
) -> Moments:
    """The E-step: `Moments` of the rows under the responsibilities, and the log-likelihood.

    Parameters are those of `log_joint`; ``sample_weight`` has shape (n,) and the dtype of X.
    """
    parts = _parts(X, missing)
    if parts is None:
        return _moments(
            *_run(
                _ops(gaussians)[1], X, gaussians.means, gaussians.whitening, offsets, sample_weight
            )
        )

    def of_part(rows, block, part):
        weight = None if sample_weight is None else sample_weight[rows]
        if not block.shape[1]:
            total = float(len(rows)) if weight is None else float(weight.sum(dtype=np.float64))
            log_prob, share = mixture.responsibilities.specification(offsets[None])
            return Moments(
                total * share[0], *_nothing_observed(gaussians), total * float(log_prob[0])
            )
        return _moments(*_run(_ops(part)[1], block, part.means, part.whitening, offsets, weight))

    return _over_parts(parts, gaussians, of_part)


def moments(
    X: Any, responsibilities: Any, gaussians: Gaussians, missing: bool | list[Part] | None = None
) -> Moments:
    """`Moments` of the rows under given responsibilities (n, k), float64; no log-likelihood."""

    def of_part(rows, block, part):
        share = responsibilities if rows is None else responsibilities[rows]
        if not block.shape[1]:
            return Moments(to_host(share.sum(axis=0)), *_nothing_observed(gaussians), 0.0)
        if part.is_diagonal:
            result = _run(mixture.diag_moments, block, share, part.means)
        else:
            pooled = part.covariance_type == "tied"
            result = _run(mixture.full_moments, block, share, part.means, pooled)
        return _moments(*result)

    parts = _parts(X, missing)
    if parts is None:
        return of_part(None, X, gaussians)
    return _over_parts(parts, gaussians, of_part)


def _moments(weights: Any, sums: Any, squares: Any, log_likelihood: float = 0.0) -> Moments:
    """The results of an op, on the host."""
    return Moments(to_host(weights), to_host(sums), to_host(squares), float(log_likelihood))


def _ops(gaussians: Gaussians) -> tuple:
    if gaussians.is_diagonal:
        return mixture.diag_log_joint, mixture.diag_step
    return mixture.full_log_joint, mixture.full_step


def _run(op: Any, X: Any, *arguments: Any) -> Any:
    """Call an op with its arguments on the device of X."""
    return op(X, *(beside(a, X) if type(a) is np.ndarray else a for a in arguments))


def _marginal(gaussians: Gaussians, observed: np.ndarray) -> Gaussians:
    """The marginal Gaussians of some of the features."""
    means = np.ascontiguousarray(gaussians.means[:, observed])
    kind = gaussians.covariance_type
    if kind == "spherical":
        return Gaussians(kind, means, gaussians.covariances, gaussians.precisions_cholesky)
    if kind == "diag":
        return Gaussians(
            kind,
            means,
            gaussians.covariances[:, observed],
            gaussians.precisions_cholesky[:, observed],
        )
    part = gaussians.covariances[..., observed[:, None], observed]
    return Gaussians.of(means, part, kind, "Gaussians")


def _nothing_observed(gaussians: Gaussians) -> tuple[np.ndarray, np.ndarray]:
    """First and second moments of zero features, in the shapes of the type."""
    k = gaussians.k
    second = {"full": (k, 0, 0), "tied": (1, 0, 0)}.get(gaussians.covariance_type, (k, 0))
    return np.zeros((k, 0)), np.zeros(second)


def _over_parts(parts: list[Part], gaussians: Gaussians, of_part: Callable) -> Moments:
    """Moments of complete rows from those of their observed parts, pattern by pattern."""
    k, d = gaussians.k, gaussians.d
    shape = {"full": (k, d, d), "tied": (1, d, d)}.get(gaussians.covariance_type, (k, d))
    weights, sums, squares, total = np.zeros(k), np.zeros((k, d)), np.zeros(shape), 0.0
    for rows, observed, block in parts:
        part = _marginal(gaussians, observed) if len(observed) else gaussians
        partial = of_part(rows, block, part)
        weights += partial.weights
        total += partial.log_likelihood
        if gaussians.is_diagonal:
            missing = np.setdiff1d(np.arange(d), observed)
            sums[:, observed] += partial.sums
            squares[:, observed] += partial.squares
            squares[:, missing] += partial.weights[:, None] * gaussians.variances[:, missing]
            continue
        spread, left = completion(gaussians, observed)
        sums += (spread @ partial.sums[:, :, None])[:, :, 0]
        if gaussians.covariance_type == "tied":
            left = left * partial.weights.sum()
        else:
            left = left * partial.weights[:, None, None]
        whole = spread @ partial.squares @ spread.transpose(0, 2, 1) + left
        squares += (whole + whole.transpose(0, 2, 1)) / 2
    return Moments(weights, sums, squares, total)


def completion(gaussians: Gaussians, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """G, (k or 1, d, o), and the remaining covariance, (k or 1, d, d), of a pattern."""
    sigma, d = gaussians.matrices, gaussians.d
    missing = np.setdiff1d(np.arange(d), observed)
    spread = np.zeros((len(sigma), d, len(observed)))
    spread[:, observed, np.arange(len(observed))] = 1.0
    left = np.zeros((len(sigma), d, d))
    if len(missing):
        across = sigma[:, missing[:, None], observed]
        inside = sigma[:, missing[:, None], missing]
        if len(observed):
            own = sigma[:, observed[:, None], observed]
            spread[:, missing] = np.linalg.solve(own, across.transpose(0, 2, 1)).transpose(0, 2, 1)
            inside = inside - spread[:, missing] @ across.transpose(0, 2, 1)
        left[:, missing[:, None], missing] = inside
    return spread, left
