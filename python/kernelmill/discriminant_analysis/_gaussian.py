"""Gaussian classes of any of four kinds of covariances."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import warn
from kernelmill._estimator._class_moments import ClassMoments, class_moments_of
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._posterior import PosteriorClassifier, log_of
from kernelmill._estimator._progress import QUIET
from kernelmill._estimator._rows import Rows
from kernelmill._gaussian._joint import gaussian_joint
from kernelmill._gaussian._parameters import (
    Gaussians,
    NotPositiveDefinite,
    n_covariance_parameters,
    precisions_cholesky,
)
from kernelmill._gaussian._passes import Moments, known_parts, moments
from kernelmill._gaussian._update import is_constant
from kernelmill.discriminant_analysis._base import PRIORS, Discriminant, Undetermined
from kernelmill.discriminant_analysis._words import WORDS
from kernelmill.ops import mixture

_EPS = float(np.finfo(np.float64).eps)


def _expected(
    X: Any, codes: np.ndarray, gaussians: Gaussians, parts: Any, sample_weight: Any = None
) -> Moments:
    """Expected moments of complete rows, given what is observed and the classes."""
    share = np.zeros((len(codes), gaussians.k))
    share[np.arange(len(codes)), codes] = 1.0 if sample_weight is None else sample_weight
    return moments(X, share, gaussians, parts)


def _log_density(X: Any, gaussians: Gaussians, offsets: np.ndarray) -> np.ndarray:
    return mixture.responsibilities(gaussian_joint(X, gaussians, offsets))[0]


class GaussianClassifier(Discriminant, PosteriorClassifier):
    """Classes with normal distributions, of one of four kinds of covariances.

    ==========  ==============  ================================  =======================
    covariance  shared          boundaries                        also known as
    ==========  ==============  ================================  =======================
    ``"full"``  ``False``       quadrics                          quadratic discriminant
    ``"full"``  ``True``        planes                            linear discriminant
    ``"diag"``  ``False``       quadrics, axes along features     Gaussian naive Bayes
    ``"diag"``  ``True``        planes                            nearest mean, features
                                                                  scaled within classes
    ==========  ==============  ================================  =======================

    Parameters
    ----------
    covariance : {"full", "diag"}, default="full"
        Whether features depend on each other within a class.
    shared : bool, default=False
        Whether all classes have one covariance.
    shrinkage : float, default=0.0
        Share of the diagonal of a covariance in it: off the diagonal it is multiplied by ``1 -
        shrinkage``. It has no unit, and changes nothing for ``"diag"``.
    max_iter : int, default=500
        Most iterations where entries are missing; there are none otherwise.
    tol : float, default=1e-6
        Change of means, in deviations, and of covariances, in products of these, that ends them.

    Attributes
    ----------
    classes_, class_count_, means_, priors_
    covariances_ : ndarray of shape (n_classes, d, d), (d, d), (n_classes, d) or (d,), float64
        Covariances with divisor n, or variances; without the first axis if `shared`.
    n_parameters_ : int
        Number of free parameters: means, covariances, and priors if they are learnt.
    n_iter_ : int
        Iterations; 1 where no entry is missing.
    n_features_in_, feature_names_in_

    See Also
    --------
    LinearDiscriminantAnalysis : With projections.
    QuadraticDiscriminantAnalysis : With scikit-learn's parameters.
    kernelmill.naive_bayes.GaussianNB : With scikit-learn's parameters.
    kernelmill.mixture.MixtureClassifier : With several Gaussians in each class.

    Notes
    -----
    Means and covariances are those of the greatest likelihood, from one pass. Missing entries (NaN)
    are integrated out: of independent features they are just left out, else the greatest likelihood
    is found by expectation and maximisation, and ``n_iter_`` counts its passes. A row without any
    entry has the priors as probabilities.

    A feature that is constant over all rows says nothing, and has variance 0 in ``covariances_``.
    Otherwise a singular covariance is refused. Rows may be a stream; ``partial_fit`` of parts is
    ``fit`` of all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.discriminant_analysis import GaussianClassifier
    >>> X = np.array([[0, 0], [2, 1], [1, 3], [4, 1], [6, 3], [5, 2.5]])
    >>> y = ["a", "a", "a", "b", "b", "b"]
    >>> for covariance in "full", "diag":
    ...     for shared in False, True:
    ...         model = GaussianClassifier(covariance=covariance, shared=shared).fit(X, y)
    ...         print(covariance, shared, model.covariances_.shape, model.n_parameters_)
    full False (2, 2, 2) 11
    full True (2, 2) 8
    diag False (2, 2) 9
    diag True (2,) 7
    >>> model.predict([[0, np.nan], [5, 3]]).tolist(), model.score_samples(X).shape
    (['a', 'b'], (6,))
    >>> bool((model.predict_log_proba([[1e9, 0]]) > -np.inf).all())
    True
    """

    covariances_: Any
    n_parameters_: Any

    _words = WORDS
    _accepts_missing: ClassVar = True
    _parameters: ClassVar = {
        "covariance": rule.one_of("full", "diag"),
        "shared": rule.boolean(),
        "priors": PRIORS,
        "shrinkage": rule.real(0, high=1),
        "max_iter": rule.integer(1),
        "tol": rule.real(0),
    }

    def __init__(
        self, *, covariance="full", shared=False, priors=None, shrinkage=0.0, max_iter=500,
        tol=1e-6,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _kind(self) -> str:
        return "diag" if self.covariance == "diag" else "pooled" if self.shared else "full"

    def _solve(self, rows: Rows, codes: np.ndarray, moments: ClassMoments) -> None:
        k, d = moments.means.shape
        self.n_iter_ = 1
        seen = moments.class_weight > 0
        if not np.isfinite(moments.sums.sums).all():
            means, covariances, still = self._completed(rows, codes, moments)
        else:
            means = moments.means
            weights = moments.total_weight if self.shared else moments.weights
            second = moments.within if self.shared else moments.scatter
            if self.covariance == "diag":
                weights = np.where(weights > 0, weights, 1.0)
                covariances = second / weights
                variances = (moments.within + moments.between) / np.where(
                    moments.total_weight > 0, moments.total_weight, 1.0
                )
            else:
                covariances = second / (weights[:, :, None] if not self.shared else weights)
                covariances = self._shrunk(covariances)
                total = moments.within + moments.between
                variances = np.diagonal(total) / moments.total_weight
            still = ~(variances > 0) | is_constant(variances, moments.mean)
        self.means_ = np.where(seen[:, None], means, 0.0)
        self.covariances_ = covariances
        self._still = still
        groups = 1 if self.shared else k
        kind = "full" if self.covariance == "full" else "diag"
        learnt = k - 1 if self.priors is None else 0
        self.n_parameters_ = learnt + k * d + n_covariance_parameters(kind, groups, d)
        self._factors = self._precisions()

    def _completed(
        self, rows: Rows, codes: np.ndarray, found: ClassMoments
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means and covariances of the greatest likelihood where entries are missing."""
        if found.rows != rows.count:
            raise ValueError(
                f"{rows.owner}: X must have no missing entries in partial_fit with "
                "covariance='full', got NaN (call fit with all rows)"
            )
        k, d = found.means.shape
        start = class_moments_of(rows, codes, k, "diag")
        variances = (start.within + start.between) / np.where(
            start.total_weight > 0, start.total_weight, 1.0
        )
        still = ~(variances > 0) | is_constant(variances, start.mean)
        scales = np.sqrt(np.where(still, 1.0, variances))
        begun = start.scatter / start.weights
        # A class with too few entries of a feature begins with the variance of all rows.
        begun = np.where(begun > _EPS * variances, begun, np.where(still, 1.0, variances))
        covariances = begun[:, :, None] * np.eye(d)
        kind = "full"
        if self.shared:
            kind, covariances = "tied", np.diag(begun.mean(0))
        empty = start.sums.weights == 0
        means = np.where(empty, start.mean, start.means)
        first = Gaussians.of(means, covariances, kind, rows.owner)

        parts = known_parts(rows)

        def advance(now: Gaussians, most: int) -> Step:
            passed = rows.map_reduce(_expected, now, parts, along=(codes,))
            new = self._maximised(passed, now, still, rows.owner)
            change = np.abs((new.means - now.means) / scales).max()
            apart = new.matrices - now.matrices
            change = max(change, np.abs(apart / np.multiply.outer(scales, scales)).max())
            return Step(new, -change, bool(change <= self.tol))

        run = climb(
            QUIET, lambda number: first, advance, max_iter=self.max_iter,
            attributes=lambda state, n_iter: {},
        )  # fmt: skip
        self.n_iter_ = run.n_iter
        if not run.converged:
            warn(
                f"{rows.owner}: the likelihood did not converge in max_iter={self.max_iter} "
                "passes (raise max_iter or tol)",
                ConvergenceWarning,
            )
        covariances = run.state.covariances.copy()
        covariances[..., still, :] = 0.0
        covariances[..., :, still] = 0.0
        return run.state.means, self._shrunk(covariances), still

    def _maximised(
        self, passed: Moments, now: Gaussians, still: np.ndarray, owner: str
    ) -> Gaussians:
        weights = np.where(passed.weights > 0, passed.weights, 1.0)
        delta = passed.sums / weights[:, None]
        squares = np.array(passed.squares)
        if self.shared:
            between = (passed.weights[:, None] * delta).T @ delta
            covariances = (squares[0] - between) / passed.weights.sum()
        else:
            covariances = squares / weights[:, None, None] - delta[:, :, None] * delta[:, None]
            covariances[passed.weights == 0] = now.covariances[passed.weights == 0]
        covariances[..., still, :] = 0.0
        covariances[..., :, still] = 0.0
        covariances[..., still, still] = 1.0
        covariances = (covariances + np.swapaxes(covariances, -1, -2)) / 2
        try:
            return Gaussians.of(now.means + delta, covariances, now.covariance_type, owner)
        except NotPositiveDefinite:
            raise ValueError(
                f"{owner}: covariances must be determined by what is observed, got one that "
                "becomes singular (take shared=True or covariance='diag')"
            ) from None

    def _shrunk(self, covariances: np.ndarray) -> np.ndarray:
        """Covariances with less off the diagonal."""
        d = covariances.shape[-1]
        kept = np.where(np.eye(d, dtype=bool), 1.0, 1.0 - self.shrinkage)
        return covariances * kept

    def _precisions(self) -> np.ndarray:
        """``precisions_cholesky`` of the classes; of a class without rows some."""
        k = len(self.classes_)
        seen, still = self.class_count_ > 0, self._still
        C = np.array(self.covariances_)
        if self.covariance == "diag":
            C = np.where(still, 1.0, C)
            if self.shared:
                C = np.broadcast_to(C, (k, len(C)))
            C = np.where(seen[:, None], C, 1.0)
            self._check_variances(C)
            return 1.0 / np.sqrt(C)
        C[..., still, :] = 0.0
        C[..., :, still] = 0.0
        C[..., still, still] = 1.0
        C = C[None] if self.shared else C
        if not self.shared:
            C[~seen] = np.eye(len(still))
        for c, matrix in enumerate(C):
            self._check_rank(c, matrix)
        scales = np.sqrt(np.diagonal(C, axis1=1, axis2=2))
        R = C / (scales[:, :, None] * scales[:, None, :])
        factors = precisions_cholesky(R, "full", type(self).__name__) / scales[:, :, None]
        return factors[0] if self.shared else factors

    def _gaussians(self) -> Gaussians:
        """The distributions of the classes."""
        kind = "diag" if self.covariance == "diag" else "tied" if self.shared else "full"
        covariances = self._factors**-2.0 if kind == "diag" else self.covariances_
        if kind != "diag" and self._still.any():  # for the marginals of missing entries
            covariances = covariances + np.diag(self._still.astype(np.float64))
        return Gaussians(kind, self.means_, covariances, self._factors)

    def _which(self, c: int) -> str:
        if self.shared:
            return "the shared covariance"
        return f"the covariance of class {self.classes_[c : c + 1].tolist()[0]!r}"

    def _check_variances(self, variances: np.ndarray) -> None:
        size = np.abs(self.means_)
        bad = ~(variances > 0) | (is_constant(variances, size) & ~self._still)
        if bad.any():
            c, p = (int(i) for i in np.argwhere(bad)[0])
            raise Undetermined(
                f"{type(self).__name__}: {self._which(c)} must be positive, got the variance "
                f"{variances[c, p]:g} of feature {p} (drop the feature, or take shared=True)"
            )

    def _check_rank(self, c: int, covariance: np.ndarray) -> None:
        d = len(covariance)
        variances = np.diagonal(covariance)
        varies = (variances > 0) & (self._still | ~is_constant(
            variances, np.abs(self.means_).max(0) if self.shared else np.abs(self.means_[c])
        ))  # fmt: skip
        scales = np.sqrt(np.where(varies, variances, 1.0))
        R = covariance / np.multiply.outer(scales, scales)
        R = np.where(np.multiply.outer(varies, varies), R, 0.0)
        values = np.linalg.eigvalsh(R)
        rank = int((values > 8 * d * _EPS * max(float(values[-1]), 1.0)).sum())
        if rank < d:
            raise Undetermined(
                f"{type(self).__name__}: {self._which(c)} must have rank {d}, got rank {rank} "
                "(raise shrinkage, or take shared=True or covariance='diag')"
            )

    def _joint(self) -> Any:
        self._check_determined()
        priors = np.where(self.class_count_ > 0, self.priors_, 0.0)
        return gaussian_joint, (self._gaussians(), log_of(priors))

    def decision_function(self, X):
        """Log joint densities of rows and classes.

        Returns
        -------
        scores : ndarray of shape (n, n_classes), or (n,) for two classes, float64
            ``log P(c) + log p(x | c)``; for two classes the second minus the first.
        """
        joint = self._mapped_joint(X)
        return joint[:, 1] - joint[:, 0] if len(self.classes_) == 2 else joint

    def score_samples(self, X):
        """Log density of each row under all classes together.

        Returns
        -------
        log_prob : ndarray of shape (n,), float64
            ``log sum_c P(c) p(x | c)``, in nats.
        """
        self._check_determined()
        return self._rows(X, reset=False).map(_log_density, *self._joint()[1])
