"""Features as codes of one byte: thresholds, levels, and blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelmill._arrays import beside, is_sparse, to_host
from kernelmill._estimator._random import generator
from kernelmill._estimator._rows import Rows
from kernelmill.ops import histogram as ops
from kernelmill.tree._levels import with_codes

SAMPLE = 200_000  # rows that thresholds are taken from
_WIDTH = 16  # most features of a block: their histograms fill the first-level cache
_NONE = np.zeros(0)


@dataclass(frozen=True)
class Bins:
    """Thresholds of numeric features, levels of categorical ones.

    Attributes
    ----------
    edges : ndarray of shape (d, max_bins), float64
        Rising.
    count : ndarray of shape (d,), int32
        How many there are.
    categorical : ndarray of shape (d,), bool
        Which features are categorical.
    """

    edges: np.ndarray
    count: np.ndarray
    categorical: np.ndarray

    @classmethod
    def of(
        cls, rows: Rows, weight: np.ndarray, categorical: np.ndarray, max_bins: int, seed: int,
        owner: str,
    ) -> Bins:  # fmt: skip
        """Bins of about equal weight, from a sample of the rows where there are many."""
        levels = _levels(rows, categorical.nonzero()[0], max_bins, owner)
        X, n = rows.X, rows.count
        if rows.is_stream or n > SAMPLE:
            chosen = np.arange(n)
            if n > SAMPLE:
                chosen = np.sort(generator(seed, 2).choice(n, SAMPLE, replace=False))
                weight = weight[chosen] if len(weight) else weight
            X = rows.gather(chosen).X
        edges, count = ops.edges(to_host(X), weight, max_bins - 1)
        edges = np.concatenate([edges, np.full((len(edges), 1), np.inf)], axis=1)
        for f, own in levels.items():
            edges[f], count[f] = np.inf, len(own)
            edges[f, : len(own)] = own
        return cls(edges, count, categorical)

    @property
    def codes(self) -> np.ndarray:
        """Number of codes of each feature: the missing one, bins or levels, unseen levels."""
        unseen = self.categorical & (self.count < 255)
        return (self.count + np.where(self.categorical, 1 + unseen, 2)).astype(np.int32)

    def encoded_rows(self, rows: Rows) -> np.ndarray:
        """Codes of all rows: those of a stream need one byte a feature."""
        parts = [self.encoded(chunk.X) for chunk in rows.chunks()]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def encoded(self, X: np.ndarray) -> np.ndarray:
        """Codes of rows in blocks of features, (blocks, n, width)."""
        d = X.shape[1]
        blocks = -(-d // _WIDTH)
        edges = beside(self.edges, X)
        return ops.encode(X, edges, self.count, self.categorical, blocks, -(-d // blocks))

    def with_codes(self, X: np.ndarray) -> np.ndarray:
        """Rows with codes in the columns of categorical features, as predictions read them."""
        return self.with_codes_of(X, range(X.shape[1]))

    def with_codes_of(self, X: np.ndarray, features: Sequence[int]) -> np.ndarray:
        """The same for rows of a few features."""
        chosen = [(j, f) for j, f in enumerate(features) if self.categorical[f]]
        return with_codes(X, {j: self.edges[f, : self.count[f]] for j, f in chosen})


def _levels(
    rows: Rows, features: np.ndarray, max_bins: int, owner: str
) -> dict[int, np.ndarray]:
    """The levels of categorical features, rising."""
    levels = {int(f): np.zeros(0) for f in features}
    for chunk in rows.chunks() if levels else ():
        for f, own in levels.items():
            x = to_host(chunk.X[:, f])
            found = np.unique(x[~np.isnan(x)]).astype(np.float64)
            levels[f] = np.union1d(own, found)
            if len(levels[f]) > max_bins:
                raise ValueError(
                    f"{owner}: categorical_features must name features with at most max_bins="
                    f"{max_bins} levels, got {len(levels[f])} in feature {f} (it is expected to "
                    f"have a cardinality <= {max_bins})"
                )
    return levels


def dense_chunk(X: Any, first_row: int, owner: str) -> Any:
    """The check of a chunk of a stream: any numbers will do, infinity too."""
    if is_sparse(X):
        raise TypeError(
            f"{owner}: X must be dense, got a sparse chunk of shape {X.shape} (X.toarray() makes "
            "it dense)"
        )
    return X
