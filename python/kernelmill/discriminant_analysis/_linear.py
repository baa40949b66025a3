"""Linear discriminants."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.linalg
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._class_moments import ClassMoments
from kernelmill._estimator._posterior import PosteriorClassifier, linear_scores, log_of
from kernelmill._estimator._rows import Rows, streams_unwrapped
from kernelmill._gaussian._update import is_constant
from kernelmill.discriminant_analysis._base import (
    ESTIMATOR,
    PRIORS,
    SHRINKAGE,
    Discriminant,
    Undetermined,
)
from kernelmill.discriminant_analysis._shrinkage import class_covariances, shrunk, total_covariance
from kernelmill.discriminant_analysis._words import WORDS

_EPS = float(np.finfo(np.float64).eps)
# Eigenvalues of correlations below this share of the largest keep fewer than nine digits: the rows
# themselves are reduced, whose singular values are the roots.
_ROOTS_BELOW = 1e-7
_BLOCK_ROWS = 4096
# Means this many deviations from zero are taken off rows before they are multiplied.
_FAR = 1e3


def _joint(
    X: np.ndarray, coef: np.ndarray, intercept: np.ndarray, center: np.ndarray | None
) -> np.ndarray:
    """Log joint densities but for what is the same in all classes."""
    found = linear_scores(X, coef, intercept, center)
    return np.hstack([np.zeros_like(found), found]) if len(coef) == 1 else found


def _projected(
    X: np.ndarray, axes: np.ndarray, center: np.ndarray | None
) -> np.ndarray:
    """``(X - center) axes'`` in the dtype of X."""
    return linear_scores(X, axes, np.zeros(len(axes)), center).astype(X.dtype, copy=False)


class LinearDiscriminantAnalysis(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, Discriminant, PosteriorClassifier
):
    """Classes with normal distributions of one covariance: planes between them, and projections.

    Parameters
    ----------
    solver : {"svd", "lsqr", "eigen"}, default="svd"
        ``"svd"`` leaves out directions in which classes do not vary, ``"lsqr"`` takes a covariance
        as it is, ``"eigen"`` also finds the projections for it. All give the same planes where the
        covariance is regular.
    shrinkage : "auto", float or None, default=None
        Share of a multiple of the identity in the covariance of each class, ``"auto"`` for that of
        Ledoit and Wolf; not with ``solver="svd"``.
    n_components : int, optional
        Number of projections in ``transform``, at most ``min(n_classes - 1, d)``, which is the
        default.
    tol : float, default=1e-4
        Standard deviation, as a share of that of the features, below which a direction is left out;
        only with ``solver="svd"``. It does not depend on the units of the features.

    Attributes
    ----------
    classes_, class_count_, means_, priors_
    coef_ : ndarray of shape (1, d) or (n_classes, d), dtype of X
        Coefficients.
    intercept_ : ndarray of shape (1,) or (n_classes,), dtype of X
        Intercepts.
    covariance_ : ndarray of shape (d, d), float64
        Covariance within classes, with divisor n; only with `store_covariance` or another solver
        than ``"svd"``.
    scalings_ : ndarray of shape (d, r), float64
        Axes of the projections, the most telling first; not with ``solver="lsqr"``.
    explained_variance_ratio_ : ndarray of shape (n_components,), float64
        Share of each projection in the variance between classes; not with ``solver="lsqr"``.
    xbar_ : ndarray of shape (d,), float64
        Mean of the means of the classes by their priors.
    n_features_in_, feature_names_in_

    See Also
    --------
    QuadraticDiscriminantAnalysis : With a covariance of each class.
    GaussianClassifier : With any of four kinds of covariances, and densities.

    Notes
    -----
    One pass gives the second moments of the rows about the means of their classes, in float64. They
    are reduced to correlations, so that neither `tol` nor the planes depend on the units of the
    features. Rows in memory whose correlations are nearly singular, or that are fewer than their
    features, are reduced themselves. Coefficients are those about ``xbar_`` with each solver, so
    for more than two classes those of ``"lsqr"`` and ``"eigen"`` differ from scikit-learn's by the
    same vector for all classes, which changes no probability and keeps digits far from zero.

    Rows may be a stream, which is read once, twice with ``shrinkage="auto"``. ``partial_fit`` of
    parts is ``fit`` of all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.discriminant_analysis import LinearDiscriminantAnalysis
    >>> X = np.array([[0, 0], [2, 1], [1, 3], [4, 1], [6, 3], [5, 2]])
    >>> model = LinearDiscriminantAnalysis().fit(X, ["a", "a", "a", "b", "b", "b"])
    >>> model.predict([[0, 1], [5, 3]]).tolist(), model.coef_.round(3).tolist()
    (['a', 'b'], [[8.377, -3.17]])
    >>> model.predict_proba([[3, 2]]).round(3).tolist()
    [[0.742, 0.258]]
    >>> model.transform(X).shape, model.decision_function(X).shape
    ((6, 1), (6,))
    >>> bool((model.predict_log_proba([[1e9, 0]]) > -np.inf).all())
    True
    """

    coef_: Any
    intercept_: Any
    covariance_: Any
    scalings_: Any
    xbar_: Any

    _words = WORDS
    _accepts_sparse: ClassVar = False
    _parameters: ClassVar = {
        "solver": rule.one_of("svd", "lsqr", "eigen"),
        "shrinkage": SHRINKAGE,
        "priors": PRIORS,
        "n_components": rule.any_of(rule.integer(1), rule.nothing()),
        "store_covariance": rule.boolean(),
        "tol": rule.real(0),
        "covariance_estimator": ESTIMATOR,
    }

    def __init__(
        self, solver="svd", shrinkage=None, priors=None, n_components=None,
        store_covariance=False, tol=1e-4, covariance_estimator=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _needs_rows(self) -> bool:
        return self.shrinkage == "auto" or self.covariance_estimator is not None

    def _kind(self) -> str:
        by_class = self._needs_rows() or (
            self.priors is not None and (self.solver != "svd" or self.store_covariance)
        )
        return "full" if by_class else "pooled"

    def _check_solver(self, k: int, d: int) -> None:
        owner, most = type(self).__name__, min(k - 1, d)
        if self.solver == "svd" and self.shrinkage is not None:
            raise NotImplementedError(
                f"{owner}: shrinkage must be None for solver='svd', got {self.shrinkage!r} (take "
                "another solver: shrinkage not supported with 'svd' solver.)"
            )
        if self.solver == "svd" and self.covariance_estimator is not None:
            raise ValueError(
                f"{owner}: covariance_estimator must be None for solver='svd' (covariance "
                "estimator is not supported with svd solver. Try another solver)"
            )
        if self.covariance_estimator is not None and self.shrinkage not in (None, 0):
            raise ValueError(
                f"{owner}: shrinkage must be None with a covariance_estimator, got "
                f"{self.shrinkage!r} (covariance_estimator and shrinkage parameters are not None. "
                "Only one of the two can be set.)"
            )
        if self.n_components is not None and self.n_components > most:
            raise ValueError(
                f"{owner}: n_components must be at most {most}, got {self.n_components} "
                "(n_components cannot be larger than min(n_features, n_classes - 1).)"
            )
        self._n_features_out = most if self.n_components is None else self.n_components

    def _solve(self, rows: Rows, codes: np.ndarray, moments: ClassMoments) -> None:
        k, d = moments.means.shape
        self._check_solver(k, d)
        if moments.rows <= int((moments.class_weight > 0).sum()):
            rows.check()
            raise Undetermined(
                f"{rows.owner}: X must hold more rows than classes, got {moments.rows} for "
                f"{k} classes (The number of samples must be more than the number of classes.)"
            )
        for name in ("covariance_", "scalings_", "explained_variance_ratio_"):
            self.__dict__.pop(name, None)
        seen = moments.class_weight > 0
        near = moments.mean
        means = np.where(seen[:, None], moments.means, near)
        priors = np.where(seen, self.priors_, 0.0)
        self.xbar_ = near + priors @ (means - near) / priors.sum()
        apart = means - self.xbar_
        if self.solver == "svd":
            if self.store_covariance:
                self.covariance_ = self._within(rows, codes, moments)
            W, spread = self._whitening(rows, codes, moments)
            axes, values = self._between(apart * np.sqrt(priors)[:, None], W)
            axes = axes[:, values > self.tol * values.max(initial=0.0)]
        else:
            self.covariance_ = self._within(rows, codes, moments)
            W, spread = self._whitening_of(self.covariance_, moments, rows.owner)
            axes = W
            if self.solver == "eigen":
                total = total_covariance(self, rows, codes, moments)
                axes, values = self._axes(total, W)
        if self.solver != "lsqr":
            self.scalings_ = axes
            squares = values**2 if self.solver == "svd" else values
            whole = squares.sum()
            squares = squares[: self._n_features_out]
            self.explained_variance_ratio_ = squares / whole if whole > 0 else squares
        coef = apart @ axes
        offsets = -0.5 * (coef * coef).sum(1) + log_of(priors)
        coef = coef @ axes.T
        if k == 2:
            coef = coef[1:] - coef[:1]
            offsets = offsets[1:] - offsets[:1]
        self.coef_ = np.ascontiguousarray(coef, dtype=rows.dtype)
        self._offsets = offsets
        self.intercept_ = (offsets - self.coef_.astype(np.float64) @ self.xbar_).astype(rows.dtype)
        far = np.abs(self.xbar_) > _FAR * spread
        self._center = self.xbar_ if far.any() else None

    def _within(self, rows: Rows, codes: np.ndarray, moments: ClassMoments) -> np.ndarray:
        """The covariance within classes, weighted by priors."""
        if moments.kind == "pooled" or (self.priors is None and not self._needs_rows()):
            covariance = moments.within / moments.total_weight[0]
            return covariance if self.shrinkage is None else shrunk(covariance, self.shrinkage)
        priors = self.priors_ if self.priors is not None else (
            moments.class_weight / moments.class_weight.sum()
        )  # fmt: skip
        return np.tensordot(priors, class_covariances(self, rows, codes, moments), 1)

    def _deviations(self, variances: np.ndarray, moments: ClassMoments, owner: str) -> np.ndarray:
        """Deviations of the features within classes, inf where they do not vary."""
        size = np.abs(moments.means).max(0)
        varies = (variances > 0) & ~is_constant(variances, size)
        if not varies.any():
            raise Undetermined(
                f"{owner}: X must vary within classes, got no feature that does (the covariance "
                "within classes is zero: take shrinkage, or more rows)"
            )
        return np.sqrt(np.where(varies, variances, np.inf))

    def _whitening(
        self, rows: Rows, codes: np.ndarray, moments: ClassMoments
    ) -> tuple[np.ndarray, np.ndarray]:
        """W (d, r) with ``W' C W = I`` for the covariance within classes, without dull axes."""
        scales = self._deviations(moments.variances, moments, rows.owner)
        total = moments.total_weight[0]
        whole = not rows.is_stream and rows.count == moments.rows
        if not (whole and rows.count < len(scales)):
            R = moments.within / total / np.multiply.outer(scales, scales)
            values, vectors = np.linalg.eigh(R)
            kept = values > max(self.tol**2, len(R) * _EPS * values[-1])
            if not whole or (kept.all() and values[0] > _ROOTS_BELOW * values[-1]):
                W = vectors[:, kept] / np.sqrt(values[kept]) / scales[:, None]
                return W[:, ::-1], scales
        root = _factor(rows, codes, moments.means, scales) / np.sqrt(total)
        _, s, Vt = scipy.linalg.svd(root, full_matrices=False, check_finite=False)
        kept = s > max(self.tol, max(root.shape) * _EPS * s[0])
        return (Vt[kept] / scales).T / s[kept], scales

    def _whitening_of(
        self, covariance: np.ndarray, moments: ClassMoments, owner: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same for a covariance as it is given."""
        scales = self._deviations(np.diagonal(covariance), moments, owner)
        R = covariance / np.multiply.outer(scales, scales)
        values, vectors = np.linalg.eigh(R)
        kept = values > 8 * len(R) * _EPS * values[-1]
        return (vectors[:, kept] / np.sqrt(values[kept]) / scales[:, None])[:, ::-1], scales

    @staticmethod
    def _between(apart: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Axes W V of the means, whitened, and their singular values."""
        _, s, Vt = np.linalg.svd(apart @ W, full_matrices=False)
        return W @ Vt.T, s

    def _axes(self, total: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Axes W V of the covariance between classes, whitened, and their eigenvalues."""
        inner = W.T @ (total - self.covariance_) @ W
        values, vectors = np.linalg.eigh((inner + inner.T) / 2)
        return W @ vectors[:, ::-1], values[::-1]

    def _joint(self) -> Any:
        self._check_determined()
        constant = self.intercept_ if self._center is None else self._offsets
        state = self.coef_.astype(np.float64), constant.astype(np.float64), self._center
        return _joint, state

    def decision_function(self, X):
        """Log joint densities of rows and classes, but for what is the same in all classes.

        Returns
        -------
        scores : ndarray of shape (n, n_classes), or (n,) for two classes, float64
            ``X coef_' + intercept_``; for two classes the log of the odds of the second.
        """
        state = self._joint()[1]
        found = self._rows(X, reset=False).map(linear_scores, *state)
        return found.ravel() if len(self.classes_) == 2 else found

    def transform(self, X):
        """Project rows onto the axes that tell the classes apart best.

        Returns
        -------
        array of shape (n, n_components), dtype of X, or Source
            A lazy `kernelmill.stream.Source` for a stream.

        Raises
        ------
        NotImplementedError
            With ``solver="lsqr"``.
        """
        if self.solver == "lsqr":
            raise NotImplementedError(
                f"{type(self).__name__}: solver must be 'svd' or 'eigen' for transform, got 'lsqr' "
                "(transform not implemented for 'lsqr' solver (use 'svd' or 'eigen').)"
            )
        self._check_determined()
        axes = np.ascontiguousarray(self.scalings_[:, : self._n_features_out].T)
        center = self.xbar_ if self.solver == "svd" else None
        return self._mapped(X, _projected, (axes, center), len(axes))


setattr(  # noqa: B010 - `TransformerMixin` has wrapped it when the class was made
    LinearDiscriminantAnalysis, "transform", streams_unwrapped(LinearDiscriminantAnalysis.transform)
)


def _factor(rows: Rows, codes: np.ndarray, means: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """F with F' F the scatter of standardised rows about the means of their classes."""
    R = np.zeros((0, means.shape[1]))
    for i in range(0, rows.count, _BLOCK_ROWS):
        own = slice(i, i + _BLOCK_ROWS)
        z = (rows.X[own].astype(np.float64) - means[codes[own]]) / scales
        if rows.weight is not None:
            z *= np.sqrt(rows.weight[own].astype(np.float64))[:, None]
        R = np.vstack([R, z])
        if len(R) > R.shape[1]:
            R = scipy.linalg.qr(R, mode="r", check_finite=False)[0][: R.shape[1]]
    return R
