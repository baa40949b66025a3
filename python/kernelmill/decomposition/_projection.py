"""What all linear models share: scores of centred rows, and rows from scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import as_matrix, is_sparse, to_host
from kernelmill._estimator._rows import Estimator, streams_unwrapped
from kernelmill._estimator._validation import check_values
from kernelmill.decomposition._axes import centred_blocks
from kernelmill.decomposition._low_rank import LowRank
from kernelmill.decomposition._words import WORDS
from kernelmill.ops import decomposition, matmul


def projected(
    X: Any, mean: np.ndarray | None, axes: np.ndarray, scale: np.ndarray | None = None
) -> np.ndarray:
    """``(X - mean) @ axes.T * scale`` at the dtype of X, with the digits of rows less the mean."""
    if is_sparse(X):
        found = np.asarray(X @ axes.T)
        if mean is not None:
            found = found - (mean @ axes.T).astype(found.dtype)
    else:
        X = to_host(X)
        turned = axes.T.astype(X.dtype, copy=False)
        if mean is None:
            found = matmul.matmul(X, turned)
        else:
            found = decomposition.scores(X, mean, turned.T)
    if scale is not None:
        found *= scale.astype(found.dtype)
    return found


def scores_given(Z: Any, k: int, owner: str) -> np.ndarray:
    """Scores as a dense matrix of k columns, checked."""
    Z = to_host(as_matrix(Z, owner, accept_sparse=False))
    check_values(Z, owner, squared=False)
    if Z.shape[1] != k:
        raise ValueError(
            f"{owner}: X must have {k} columns, one for each component, got shape {Z.shape}"
        )
    return Z


class Projection(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """Base of models whose scores are products of centred rows with ``components_``."""

    _words = WORDS
    _squares = np.float64
    components_: Any
    mean_: Any

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[0]

    def _transformation(self) -> tuple:
        """Mean, axes and factors of the scores, as `projected` takes them."""
        return self.mean_, self.components_, None

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit and transform the rows.

        Parameters
        ----------
        **fit_params
            Passed to ``fit``.

        Returns
        -------
        Z : ndarray of shape (n, n_components), dtype of X, or Source
            As ``transform`` gives.
        """
        return self.fit(X, y, **fit_params).transform(X)

    def transform(self, X: Any) -> Any:
        """Scores of rows: products of centred rows with the components.

        Returns
        -------
        Z : ndarray of shape (n, n_components), dtype of X, or Source
            For a stream a `kernelmill.stream.Source` that transforms each chunk as it is read.
        """
        check_is_fitted(self)
        return self._mapped(X, projected, self._transformation(), self._n_features_out)

    def inverse_transform(self, X: Any) -> Any:
        """Rows from scores: the nearest that the components allow.

        Returns
        -------
        X : ndarray of shape (n, d), dtype of the scores
            Rows.
        """
        check_is_fitted(self)
        Z = scores_given(X, self._n_features_out, type(self).__name__)
        return self._restored(Z)

    def _restored(self, Z: np.ndarray) -> np.ndarray:
        mean, axes, scale = self._transformation()
        if scale is not None:
            with np.errstate(divide="ignore"):
                Z = (Z * np.where(scale > 0, 1 / scale, 0)).astype(Z.dtype)
        X = matmul.matmul(np.ascontiguousarray(Z), axes.astype(Z.dtype, copy=False))
        return X if mean is None else (X + mean).astype(Z.dtype, copy=False)


# `TransformerMixin` has wrapped both when the class was made.
for _name in ("transform", "fit_transform"):
    setattr(Projection, _name, streams_unwrapped(getattr(Projection, _name)))


class GaussianProjection(Projection):
    """Base of projections that are Gaussians too: ``N(mean, W'W + diag(noise))``."""

    def _low_rank(self) -> LowRank:
        """The Gaussian."""
        raise NotImplementedError

    def get_covariance(self):
        """Covariance of the features in the model, ``W'W`` and the noise.

        Returns
        -------
        covariance : ndarray of shape (d, d), float64
            W'W and the variances of the noise.
        """
        check_is_fitted(self)
        return self._low_rank().covariance()

    def get_precision(self):
        """Inverse of the covariance, from a matrix of as many rows as there are components.

        Returns
        -------
        precision : ndarray of shape (d, d), float64
            Inverse of the covariance.

        Raises
        ------
        ValueError
            If the covariance is singular.
        """
        check_is_fitted(self)
        return self._low_rank().regular(type(self).__name__).precision()

    def score_samples(self, X):
        """Logarithms of the densities of rows.

        Returns
        -------
        densities : ndarray of shape (n,), float64
            A logarithm for each row.

        Raises
        ------
        ValueError
            If the covariance is singular.
        """
        check_is_fitted(self)
        model = self._low_rank().regular(type(self).__name__)
        return self._rows(X, reset=False, once=True).map(log_densities, self.mean_, *model)

    def score(self, X, y=None):
        """Mean of `score_samples`.

        Returns
        -------
        score : float
            A larger one is better.
        """
        return float(np.mean(self.score_samples(X)))


def log_densities(X: Any, mean: np.ndarray, W: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Of rows under ``N(mean, W'W + diag(noise))``."""
    model = LowRank(W, noise).prepared()
    X = X.toarray() if is_sparse(X) else to_host(X)
    found = np.empty(len(X))
    for place, block in centred_blocks(X, mean):
        found[place] = model.log_density(block.astype(np.float64))
    return found
