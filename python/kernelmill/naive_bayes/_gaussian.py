"""Gaussian naive Bayes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._class_moments import ClassMoments, class_moments_of
from kernelmill._estimator._posterior import given_priors, log_of
from kernelmill._estimator._rows import Rows
from kernelmill._gaussian._joint import gaussian_joint
from kernelmill._gaussian._parameters import Gaussians
from kernelmill._gaussian._update import is_constant
from kernelmill.naive_bayes._base import NaiveBayes
from kernelmill.naive_bayes._words import DENSE

_BOUNDLESS = 2.0**1000  # a variance beside which any value is the mean


class GaussianNB(NaiveBayes):
    """Naive Bayes with a normal distribution of each feature in each class.

    Parameters
    ----------
    priors : array-like of shape (n_classes,), optional
        Priors of the classes, which sum to one; the shares of the classes in the rows by default.
    var_smoothing : float, default=1e-9
        Share of the largest variance of all features that is added to each variance. Features
        whose variances are smaller than that hardly count: standardise them.

    Attributes
    ----------
    classes_, class_count_
    class_prior_ : ndarray of shape (n_classes,), float64
        Priors of the classes.
    theta_ : ndarray of shape (n_classes, d), float64
        Means.
    var_ : ndarray of shape (n_classes, d), float64
        Variances, with ``epsilon_`` added.
    epsilon_ : float
        What was added to the variances: `var_smoothing` times the largest variance of a feature
        over all rows seen.
    n_features_in_, feature_names_in_

    See Also
    --------
    kernelmill.discriminant_analysis.GaussianClassifier : With the covariances of features, or
        variances that the classes share.
    kernelmill.hmm.GaussianHMM : For sequences.

    Notes
    -----
    Sums are float64, about an origin near the mean of each class, for float32 rows too. A missing
    entry (NaN) takes no part in the mean and variance of its feature, and its factor is left out
    of the density of its row, which is exact, as features are independent. A feature without any
    entry in a class has the mean and variance of all rows there. Rows may be a stream, which is
    read once; ``partial_fit`` of parts is ``fit`` of all rows.

    A feature that is constant over all rows says nothing: its density is that at the constant,
    whatever the value, and changes no probability. Without
    smoothing, a variance of zero in one class only is refused.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.naive_bayes import GaussianNB
    >>> X = np.array([[1.0, 9.0], [2.0, 7.0], [6.0, 3.0], [7.0, np.nan]])
    >>> model = GaussianNB().fit(X, ["low", "low", "high", "high"])
    >>> model.predict([[1.5, 8.0], [np.nan, 3.0]]).tolist()
    ['low', 'high']
    >>> model.theta_.tolist(), model.class_prior_.tolist()
    ([[6.5, 3.0], [1.5, 8.0]], [0.5, 0.5])
    >>> model.predict_proba(X).round(3).tolist()[0], model.predict_joint_log_proba(X).shape
    ([0.0, 1.0], (4, 2))
    >>> bool((model.predict_log_proba([[1e150, -1e150]]) > -np.inf).all())
    True
    """

    theta_: Any
    var_: Any
    class_prior_: Any
    epsilon_: Any

    _words = DENSE
    _accepts_missing: ClassVar = True
    _squares: ClassVar = np.float64
    _parameters: ClassVar = {
        "priors": rule.any_of(rule.array("(n_classes,)"), rule.nothing()),
        "var_smoothing": rule.real(0),
    }

    def __init__(self, *, priors=None, var_smoothing=1e-9):
        self._set_parameters(locals())

    def _learn(self, rows: Rows, codes: np.ndarray, first: bool) -> None:
        k, owner = len(self.classes_), rows.owner
        before = None if first else ClassMoments.kept_by(self)
        moments = class_moments_of(rows, codes, k, "diag", before)
        moments.keep(self)
        self.class_count_ = moments.class_weight
        shares = moments.class_weight / moments.class_weight.sum()
        self.class_prior_ = given_priors(self.priors, shares, owner, strict=True)
        total = (moments.within + moments.between) / np.where(
            moments.total_weight > 0, moments.total_weight, 1.0
        )
        self._still = is_constant(total, moments.mean)
        total = np.where(self._still, 0.0, total)  # not the rounding of a mean
        self.epsilon_ = float(self.var_smoothing * total.max(initial=0.0))
        unseen = (moments.sums.weights == 0) & (moments.class_weight > 0)[:, None]
        self.theta_ = np.where(unseen, moments.mean, moments.means)
        self.var_ = np.where(unseen, total, moments.scatter / moments.weights)
        self.var_[:, self._still] = 0.0
        self.var_ += self.epsilon_

    def _check_learnt(self) -> None:
        self._gaussians()

    def _gaussians(self) -> Gaussians:
        """Means and variances of the classes; those of a constant let it say nothing."""
        known = (self.class_count_ > 0)[:, None] & ~self._still
        variances = np.where(known, self.var_, 1.0)
        if not (variances > 0).all():
            c, p = (int(i) for i in np.argwhere(~(variances > 0))[0])
            raise ValueError(
                f"{type(self).__name__}: X must vary in each class, got the variance 0 of feature "
                f"{p} in class {self.classes_[c : c + 1].tolist()[0]!r} (raise var_smoothing)"
            )
        variances[:, self._still] = _BOUNDLESS
        return Gaussians("diag", self.theta_, variances, 1.0 / np.sqrt(variances))

    def _joint(self) -> Any:
        offsets = log_of(np.where(self.class_count_ > 0, self.class_prior_, 0.0))
        still = np.log(_BOUNDLESS) - (np.log(self.epsilon_) if self.epsilon_ > 0 else 0.0)
        offsets = offsets + 0.5 * np.count_nonzero(self._still) * still
        return gaussian_joint, (self._gaussians(), offsets)
