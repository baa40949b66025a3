"""Quadratic discriminants."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._class_moments import ClassMoments
from kernelmill._estimator._posterior import PosteriorClassifier, log_of
from kernelmill._estimator._rows import Rows
from kernelmill._gaussian._joint import gaussian_joint
from kernelmill._gaussian._parameters import (
    Gaussians,
    NotPositiveDefinite,
    precisions_cholesky,
)
from kernelmill._gaussian._update import is_constant
from kernelmill.discriminant_analysis._base import (
    ESTIMATOR,
    PRIORS,
    SHRINKAGE,
    Discriminant,
    Undetermined,
)
from kernelmill.discriminant_analysis._shrinkage import class_covariances
from kernelmill.discriminant_analysis._words import WORDS

_LOG_2PI = float(np.log(2 * np.pi))


def correlations(covariances: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Deviations (k, d) and correlations (k, d, d).

    A feature that does not vary has deviation 1 and correlation 0 with itself.
    """
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    varies = (variances > 0) & ~is_constant(variances, np.abs(means))
    scales = np.sqrt(np.where(varies, variances, 1.0))
    R = covariances / (scales[:, :, None] * scales[:, None, :])
    if not varies.all():
        R = np.where(varies[:, :, None] & varies[:, None, :], R, 0.0)
    return scales, R


class QuadraticDiscriminantAnalysis(Discriminant, PosteriorClassifier):
    """Classes with normal distributions, each of its own covariance: quadrics between them.

    Parameters
    ----------
    solver : {"svd", "eigen"}, default="svd"
        ``"svd"`` for empirical covariances, ``"eigen"`` for shrunk ones and those of an estimator.
    shrinkage : "auto", float or None, default=None
        Share of a multiple of the identity in the covariance of each class, ``"auto"`` for that of
        Ledoit and Wolf; only with ``solver="eigen"``.
    reg_param : float, default=0.0
        Covariances C become ``(1 - reg_param) C + reg_param I``; only with ``solver="svd"``. It
        has the unit of a variance: standardise the features.
    tol : float, default=1e-4
        Standard deviation, as a share of that of the features of a class, below which a direction
        makes its covariance singular, which is refused.

    Attributes
    ----------
    classes_, class_count_, means_, priors_
    covariance_ : list of n_classes ndarrays of shape (d, d), float64
        Covariances, with divisor n; only with `store_covariance`.
    rotations_ : list of n_classes ndarrays of shape (d, d), float64
        Principal axes of the classes.
    scalings_ : list of n_classes ndarrays of shape (d,), float64
        Variances along them, largest first.
    n_features_in_, feature_names_in_

    See Also
    --------
    LinearDiscriminantAnalysis : With one covariance.
    GaussianClassifier : With any of four kinds of covariances, and densities.
    kernelmill.mixture.MixtureClassifier : With several Gaussians in each class.

    Notes
    -----
    One pass gives the second moments of each class about its mean, in float64. Rows may be a
    stream, which is read once, twice with ``shrinkage="auto"``. ``partial_fit`` of parts is ``fit``
    of all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.discriminant_analysis import QuadraticDiscriminantAnalysis
    >>> rng = np.random.default_rng(0)
    >>> X = np.vstack([rng.normal(size=(50, 2)), 4 * rng.normal(size=(50, 2))])
    >>> model = QuadraticDiscriminantAnalysis().fit(X, np.repeat(["near", "far"], 50))
    >>> model.predict([[0.5, 0.0], [6.0, -5.0]]).tolist()
    ['near', 'far']
    >>> model.scalings_[0].shape, model.decision_function(X).shape
    ((2,), (100,))
    >>> bool((model.predict_log_proba([[1e150, 0]]) > -np.inf).all())
    True
    """

    rotations_: Any
    scalings_: Any

    _words = WORDS
    _parameters: ClassVar = {
        "solver": rule.one_of("svd", "eigen"),
        "shrinkage": SHRINKAGE,
        "priors": PRIORS,
        "reg_param": rule.real(0, high=1),
        "store_covariance": rule.boolean(),
        "tol": rule.real(0),
        "covariance_estimator": ESTIMATOR,
    }

    def __init__(
        self, *, solver="svd", shrinkage=None, priors=None, reg_param=0.0,
        store_covariance=False, tol=1e-4, covariance_estimator=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _needs_rows(self) -> bool:
        return self.shrinkage == "auto" or self.covariance_estimator is not None

    def _check_solver(self) -> None:
        owner = type(self).__name__
        if self.solver == "svd" and self.shrinkage is not None:
            raise NotImplementedError(
                f"{owner}: shrinkage must be None for solver='svd', got {self.shrinkage!r} (take "
                "solver='eigen': shrinkage not supported with 'svd' solver.)"
            )
        if self.solver == "svd" and self.covariance_estimator is not None:
            raise ValueError(
                f"{owner}: covariance_estimator must be None for solver='svd' "
                "(covariance_estimator is not supported with solver='svd'. Try solver='eigen' "
                "instead.)"
            )
        if self.covariance_estimator is not None and self.shrinkage not in (None, 0):
            raise ValueError(
                f"{owner}: shrinkage must be None with a covariance_estimator, got "
                f"{self.shrinkage!r} (covariance_estimator and shrinkage parameters are not None. "
                "Only one of the two can be set.)"
            )

    def _solve(self, rows: Rows, codes: np.ndarray, moments: ClassMoments) -> None:
        self._check_solver()
        covariances = class_covariances(self, rows, codes, moments)
        d = rows.n_features
        if self.solver == "svd" and self.reg_param > 0:
            covariances = (1 - self.reg_param) * covariances
            covariances[:, np.arange(d), np.arange(d)] += self.reg_param
        seen = moments.class_weight > 0
        if not seen.all():
            covariances[~seen] = np.eye(d)  # no row can be of these
        # By correlations: variances of any size keep their digits.
        scales, R = correlations(covariances, moments.means)
        self._factors = self._factored(R, rows.owner) / scales[:, :, None]
        variances, axes = np.linalg.eigh(covariances)
        self.rotations_ = list(np.ascontiguousarray(axes[:, :, ::-1]))
        self.scalings_ = list(variances[:, ::-1])
        self.__dict__.pop("covariance_", None)
        if self.store_covariance:
            self.covariance_ = list(covariances)

    def _factored(self, R: np.ndarray, owner: str) -> np.ndarray:
        """P (k, d, d) with ``P P' = R^-1``; no eigenvalue of R may be ``tol**2`` or less."""
        try:
            P, error = precisions_cholesky(R, "full", owner), None
            # The trace of an inverse is at least 1 / the least eigenvalue.
            if ((P * P).sum((1, 2)) * self.tol**2 < 1).all():
                return P
        except NotPositiveDefinite as failed:
            P, error = R, failed
        ranks, d = (np.linalg.eigvalsh(R) > self.tol**2).sum(1), R.shape[1]
        if (ranks < d).any():
            c = int((ranks < d).argmax())
            raise self._singular(c, int(ranks[c]), d)
        if error is not None:
            raise error
        return P

    def _singular(self, c: int, rank: int, d: int) -> Undetermined:
        label = self.classes_[c : c + 1].tolist()[0]
        what = "shrinkage" if self.solver == "eigen" else "reg_param"
        return Undetermined(
            f"{type(self).__name__}: the covariance of class {label!r} must have rank {d}, got "
            f"rank {rank} from rows of weight {self.class_count_[c]:g} (raise {what} or take "
            "solver='eigen' and shrinkage. A class of one row, y has only 1 sample in class, is "
            f"such a case. The covariance matrix of class {label} is not full rank. Increase the "
            f"value of `{what}` to reduce the collinearity, or the number of samples in each "
            "class.)"
        )

    def _joint(self) -> Any:
        self._check_determined()
        d = self.means_.shape[1]
        priors = np.where(self.class_count_ > 0, self.priors_, 0.0)
        factors = self._factors
        # `covariances` are read for missing entries only, which are refused.
        gaussians = Gaussians("full", self.means_, factors, factors)
        return gaussian_joint, (gaussians, log_of(priors) + 0.5 * d * _LOG_2PI)

    def decision_function(self, X):
        """Log joint densities of rows and classes, but for a constant.

        Returns
        -------
        scores : ndarray of shape (n, n_classes), or (n,) for two classes, float64
            ``log P(c) + log p(x | c) + d / 2 log(2 pi)``; for two classes the second minus the
            first.
        """
        joint = self._mapped_joint(X)
        return joint[:, 1] - joint[:, 0] if len(self.classes_) == 2 else joint
