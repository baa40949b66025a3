"""IncrementalPCA."""

from __future__ import annotations

import contextlib
from typing import ClassVar

import numpy as np

from kernelmill._arrays import is_sparse, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting_at_once
from kernelmill._estimator._linalg import lapack_threads
from kernelmill.decomposition._axes import right_singular, signed
from kernelmill.decomposition._pca import PCA, few_rows
from kernelmill.decomposition._projection import GaussianProjection


class IncrementalPCA(GaussianProjection):
    """Principal components batch by batch, in memory for the components and one batch.

    Parameters
    ----------
    n_components : int or None, default=None
        Most components kept; min(n, d) of the rows seen by default. As long as fewer rows were
        seen there are fewer.
    batch_size : int or None, default=None
        Rows of a batch of ``fit``; 5 d by default.

    Attributes
    ----------
    components_, explained_variance_, explained_variance_ratio_, singular_values_, mean_
    var_ : ndarray of shape (d,), float64
        Variance of each feature, divided by n.
    noise_variance_
    n_components_ : int
        Number of components.
    n_samples_seen_ : int
        Number of rows.
    batch_size_ : int
        Rows of a batch of ``fit``.
    n_features_in_, feature_names_in_

    See Also
    --------
    PCA : Exact, also over streams, in memory for d^2 numbers.

    Notes
    -----
    With S and V of n rows of mean m, and b further rows of mean m', the scatter of all is that of
    the rows of ``S V'``, of the new rows less m', and of one row ``sqrt(n b / (n + b)) (m - m')``;
    their singular values are the new S. Exact as long as no component is dropped. Batches may have
    any size. Cost 4 (k + b) d min(k + b, d) flops a batch.

    References
    ----------
    Ross, Lim, Lin and Yang (2008), "Incremental learning for robust visual tracking".

    Examples
    --------
    >>> from kernelmill.decomposition import IncrementalPCA
    >>> model = IncrementalPCA(2)
    >>> model = model.partial_fit([[-1.0, -1], [-2, -1], [-3, -2], [1, 1], [2, 1]])
    >>> model = model.partial_fit([[3, 2]])
    >>> model.singular_values_.round(4)
    array([6.3006, 0.5498])
    """

    _accepts_sparse = True
    _parameters: ClassVar = {
        "n_components": rule.any_of(rule.integer(1), rule.nothing()),
        "whiten": rule.boolean(),
        "copy": rule.boolean(),
        "batch_size": rule.any_of(rule.integer(1), rule.nothing()),
    }
    var_: np.ndarray
    n_samples_seen_: int
    singular_values_: np.ndarray

    def __init__(self, n_components=None, *, whiten=False, copy=True, batch_size=None):
        self._set_parameters(locals())

    @fitting_at_once
    def fit(self, X, y=None):
        """Find the components batch by batch; what was learnt before is forgotten.

        Raises
        ------
        ValueError
            If X or a parameter does not fit.
        """
        rows = self._rows(X, reset=True, once=True)
        d = rows.n_features
        if not rows.is_stream:
            few_rows(rows.count, rows.owner)
        self._check_components(d, None if rows.is_stream else rows.count)
        self.__dict__.pop("components_", None)
        self.batch_size_ = self.batch_size or 5 * d
        # Once, not in each batch; a stream may need BLAS itself.
        with contextlib.nullcontext() if rows.is_stream else lapack_threads(d):
            for batch, _, _ in rows.batches(self.batch_size_):
                self._add(batch)
        few_rows(self.n_samples_seen_, rows.owner)
        return self

    @fitting_at_once
    def partial_fit(self, X, y=None, check_input=True):
        """Add a batch of any size.

        Raises
        ------
        ValueError
            If X does not fit, or has other features than before.
        """
        fresh = not hasattr(self, "components_")
        self._refuse_stream(X, "this is one batch: give it to fit, or chunk by chunk")
        rows = self._rows(X, reset=fresh)
        self._check_components(rows.n_features, None)
        X = to_host(rows.X)
        self._add(X.toarray() if is_sparse(X) else X)
        return self

    def _check_components(self, d: int, n: int | None) -> None:
        given, most = self.n_components, d if n is None else min(n, d)
        if given is not None and given > most:
            what = "n_features" if most == d else "the number of rows"
            raise ValueError(
                f"{type(self).__name__}: n_components must be at most {what}={most}, got {given}"
            )

    def _add(self, X: np.ndarray) -> None:
        """Learn from a batch."""
        dtype, (b, d) = X.dtype, X.shape
        X = X.astype(np.float64)
        mean = X[0] + (X - X[0]).mean(0)
        X -= mean
        squares = np.einsum("ij,ij->j", X, X)
        n, rest = b, [X]
        if hasattr(self, "components_"):
            seen = self.n_samples_seen_
            n = seen + b
            apart = self.mean_ - mean
            between = np.sqrt(seen / n * b) * apart
            squares += self.var_ * seen + between**2
            kept = self.singular_values_[:, None] * self.components_
            rest = [kept, X, between[None]]
            mean = mean + apart * (seen / n)
            dtype = self.components_.dtype
        stacked = np.concatenate(rest)
        values, vectors = right_singular(stacked)
        most = min(n, d)
        k = most if self.n_components is None else min(self.n_components, most)
        least = max(n, d) * float(np.finfo(dtype).eps)
        values = np.where(values > least * values.max(initial=0.0), values, 0.0)
        kept, total = values[:k] ** 2, float(squares.sum())
        divisor = max(n - 1, 1)
        self.n_samples_seen_, self.n_components_ = n, k
        self.mean_, self.var_ = mean, squares / n
        self.components_ = np.ascontiguousarray(signed(vectors[:k]), dtype=dtype)
        self.singular_values_ = values[:k]
        self.explained_variance_ = kept / divisor
        self.explained_variance_ratio_ = kept / (max(total, kept.sum()) or 1.0)
        left = most - k
        spare = total - float(kept.sum())
        spare = spare if spare > least**2 * total else 0.0
        self.noise_variance_ = spare / divisor / left if left > 0 else 0.0

    _transformation = PCA._transformation
    _low_rank = PCA._low_rank
