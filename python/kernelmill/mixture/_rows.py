"""Rows to fit a mixture to, in memory or as a stream, and what is asked of rows given a model.

Both kinds of rows answer ``expect(gaussians, offsets)`` with the `Moments` of one E-step, so the
climb is written once. Functions at module level run on the workers of a Dask cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kernelmill._estimator._device import move_in, namespace, to_host
from kernelmill._estimator._random import legacy_state
from kernelmill._gaussian._parameters import Gaussians
from kernelmill._gaussian._passes import Moments, has_missing, log_joint, parts_of, step
from kernelmill.ops import mixture

# Matrices of n x k entries are made and used up in blocks of about this size.
BLOCK_BYTES = 8 << 20
# A start from a stream is made on a random sample: of this size, but of this many rows at least
# for each component.
SAMPLE_BYTES = 64 << 20
SAMPLE_ROWS = 1000
_SAMPLES = 1 << 24  # stream of random numbers


class MemoryRows:
    """All rows, where they are computed on.

    Parameters
    ----------
    X : array of shape (n, d)
        NaN where an entry is missing.
    weight : array of shape (n,), dtype of X, or None
    """

    def __init__(self, X: Any, weight: Any) -> None:
        self.X, self.weight = X, weight
        self.n, self.d = X.shape
        self.dtype = X.dtype
        self._parts = parts_of(X) or False

    @property
    def has_missing(self) -> bool:
        """Whether some entry is missing."""
        return self._parts is not False

    def expect(self, gaussians: Gaussians, offsets: np.ndarray) -> Moments:
        """The E-step."""
        return step(self.X, gaussians, offsets, self.weight, missing=self._parts)

    def sample(self, k: int, seed: int) -> MemoryRows:
        """Rows to make starts on: all of them."""
        return self

    def reduce(self, op: Callable, *state: Any, merge: Callable | None = None) -> Any:
        """``op(X, *state, sample_weight=w)``."""
        return op(self.X, *state, sample_weight=self.weight)


class StreamRows:
    """Rows that are read chunk by chunk in every pass.

    Parameters
    ----------
    source : Source
    device : {None, "cpu", "cuda"}
        Where chunks are computed on.
    """

    def __init__(self, source: Any, device: str | None) -> None:
        self._source, self._device = source, device
        self.n, self.d = source.count_rows(), source.n_features
        self.dtype = source.dtype

    def expect(self, gaussians: Gaussians, offsets: np.ndarray) -> Moments:
        """The E-step, one pass over the source."""
        return self._source.map_reduce(step, gaussians, offsets, device=self._device)

    def sample(self, k: int, seed: int) -> MemoryRows:
        """Rows to make starts on, drawn in one pass."""
        size = max(SAMPLE_BYTES // (self.dtype.itemsize * self.d), SAMPLE_ROWS * k)
        X, weight, _ = self._source.sample(min(self.n, size), legacy_state(seed, _SAMPLES))
        X = move_in(X, self._device, "mixture")
        return MemoryRows(X, None if weight is None else move_in(weight, self._device, "mixture"))

    def reduce(self, op: Callable, *state: Any, merge: Callable | None = None) -> Any:
        """``op(X_chunk, *state, sample_weight=w_chunk)``, added up or merged over the chunks."""
        return self._source.map_reduce(op, *state, merge=merge, device=self._device)


def overall(
    X: Any, origin: np.ndarray, full: bool, sample_weight: Any = None, device: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, int]:
    """Moments of single features, or of pairs of them, about a point; missing entries are left out.

    Parameters
    ----------
    X : array of shape (n, d)
    origin : ndarray of shape (d,), float64
    full : bool
        Whether second moments are those of pairs.
    sample_weight : array of shape (n,), optional
    device : {None, "cpu", "cuda"}

    Returns
    -------
    weights, sums : ndarray of shape (d,)
        Of what was observed of each feature.
    squares : ndarray of shape (d, d) or (d,)
        A missing entry counts as one that lies at the origin.
    total : float
        Weight of all rows.
    missing : int
        Missing entries.
    """
    X = move_in(X, device, "mixture")
    xp, d = namespace(X), X.shape[1]
    share = xp.ones((X.shape[0], 1))
    if sample_weight is not None:
        share[:, 0] = move_in(sample_weight, device, "mixture")
    missing, weights = 0, None
    center = xp.asarray(origin)
    if has_missing(X):
        seen = X == X
        weights = to_host(seen.T.astype(np.float64) @ share[:, 0])
        missing = int(X.size - seen.sum())
        # float64, so that what was missing adds no rounding of the origin to the sums.
        X = xp.where(seen, X, center)
    op = mixture.full_moments if full else mixture.diag_moments
    found = [to_host(part)[0] for part in op(X, share, center[None])]
    total = float(found[0])
    return np.full(d, total) if weights is None else weights, found[1], found[2], total, missing


def blocks(n: int, k: int, itemsize: int) -> Iterator[slice]:
    """Rows, so many at a time that k numbers for each stay within a block."""
    size = max(1, BLOCK_BYTES // (itemsize * k))
    for first in range(0, n, size):
        yield slice(first, min(first + size, n))


def labels_of(
    X: Any, gaussians: Gaussians, offsets: np.ndarray, device: str | None = None
) -> np.ndarray:
    """The component of the greatest log joint density of each row, the lowest among equal ones."""
    return _by_blocks(X, gaussians, offsets, device, lambda joint: joint.argmax(axis=1), np.int64)


def log_prob_of(
    X: Any, gaussians: Gaussians, offsets: np.ndarray, device: str | None = None
) -> np.ndarray:
    """Log density of each row."""
    return _by_blocks(
        X, gaussians, offsets, device, lambda joint: mixture.responsibilities(joint)[0], X.dtype
    )


def shares_of(
    X: Any, gaussians: Gaussians, offsets: np.ndarray, device: str | None = None
) -> np.ndarray:
    """Responsibilities (n, k)."""
    return _by_blocks(
        X, gaussians, offsets, device, lambda joint: mixture.responsibilities(joint)[1], X.dtype
    )


def _by_blocks(
    X: Any, gaussians: Gaussians, offsets: np.ndarray, device: str | None, of: Callable, dtype: Any
) -> Any:
    """``of(log joint densities)``, block by block."""
    X = move_in(X, device, "mixture")
    xp, out = namespace(X), None
    for rows in blocks(X.shape[0], gaussians.k, X.dtype.itemsize):
        part = of(log_joint(X[rows], gaussians, offsets))
        if rows.start == 0 and rows.stop == X.shape[0]:
            out = part
            break
        if out is None:
            out = xp.empty((X.shape[0], *part.shape[1:]), dtype=dtype)
        out[rows] = part
    if out is None:  # no rows
        out = of(log_joint(X, gaussians, offsets))
    return to_host(out) if device is not None else out


def likelihood_of(
    X: Any,
    gaussians: Gaussians,
    offsets: np.ndarray,
    sample_weight: Any = None,
    device: str | None = None,
) -> tuple[float, float]:
    """Weighted sum of the log densities, and the weight."""
    log_prob = to_host(log_prob_of(X, gaussians, offsets, device)).astype(np.float64)
    if sample_weight is None:
        return float(log_prob.sum()), float(len(log_prob))
    weight = to_host(sample_weight).astype(np.float64)
    counted = weight > 0  # rows without weight count for nothing, whatever they hold
    return float(weight[counted] @ log_prob[counted]), float(weight.sum())


def scores_of(
    X: Any,
    gaussians: Gaussians,
    offsets: np.ndarray,
    sample_weight: Any = None,
    device: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Log densities and weights of the rows."""
    log_prob = to_host(log_prob_of(X, gaussians, offsets, device))
    if sample_weight is None:
        return log_prob, np.ones(len(log_prob))
    return log_prob, to_host(sample_weight).astype(np.float64)


def join(total: tuple, part: tuple) -> tuple:
    """Merge of `scores_of`: rows one after another."""
    return tuple(np.concatenate(pair) for pair in zip(total, part, strict=True))
