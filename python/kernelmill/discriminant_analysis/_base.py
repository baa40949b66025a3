"""What discriminants share: classes, ``fit`` and ``partial_fit`` of moments that add up."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, fitting_at_once
from kernelmill._estimator._class_moments import ClassMoments, class_moments_of
from kernelmill._estimator._linalg import lapack_threads
from kernelmill._estimator._posterior import given_priors
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill._estimator._targets import (
    check_classes,
    check_count,
    class_labels,
    coded,
    codes_in,
    declare_classes,
)
from kernelmill.discriminant_analysis._words import WORDS


class Undetermined(np.linalg.LinAlgError):
    """The rows do not determine a covariance; more of them may."""


SHRINKAGE = rule.any_of(rule.one_of("auto"), rule.real(0, high=1), rule.nothing())
PRIORS = rule.any_of(rule.array("(n_classes,)"), rule.nothing())
ESTIMATOR = rule.any_of(
    rule.Rule(lambda v: hasattr(v, "fit") and not isinstance(v, type), "an object with fit"),
    rule.nothing(),
)


class Discriminant(Estimator):
    """Base of discriminants; subclasses solve moments in `_solve`."""

    classes_: Any
    class_count_: Any
    means_: Any
    priors_: Any
    priors: Any
    shrinkage: Any
    covariance_estimator: Any
    solver: Any

    _words = WORDS
    _squares: ClassVar = np.float64

    def _kind(self) -> str:
        """The kind of moments that the solution needs."""
        return "full"

    def _solve(self, rows: Rows, codes: np.ndarray, moments: ClassMoments) -> None:
        """Set the attributes from moments; rows are those of this call."""
        raise NotImplementedError

    def _needs_rows(self) -> bool:
        """Whether moments are not enough."""
        return False

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Learn the means and covariances of the classes.

        Raises
        ------
        ValueError
            If X or y do not fit, there is one class only, or a covariance is singular.
        """
        once = not self._needs_rows()
        rows = self._rows(X, sample_weight, reset=True, once=once, deferred=True)
        labels = class_labels(y, rows.owner)
        if not rows.is_stream:
            check_count(labels, rows.count, rows.owner)
        self.classes_, codes = coded(labels)
        check_classes(self.classes_, rows.owner)
        self._learn(rows, codes, None)

    @fitting
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Add rows to those of earlier calls: the model is that of all of them.

        Raises
        ------
        ValueError
            If X or y do not fit, classes are missing in the first call or others later, or the
            parameters ask for all rows at once.

        Notes
        -----
        Rows that do not determine a covariance yet are kept; the model predicts once later ones do.
        """
        owner = type(self).__name__
        if self._needs_rows():
            raise ValueError(
                f"{owner}: partial_fit must do with moments of the rows, got shrinkage="
                f"{self.shrinkage!r} and covariance_estimator={self.covariance_estimator!r} (call "
                "fit with all rows)"
            )
        first = not hasattr(self, "classes_")
        declare_classes(self, classes, first)
        self.__dict__.pop("_declared", None)
        check_classes(self.classes_, owner)
        rows = self._rows(X, sample_weight, reset=first, once=True, deferred=True)
        labels = class_labels(y, owner)
        if not rows.is_stream:
            check_count(labels, rows.count, owner)
        before = None if first else ClassMoments.kept_by(self)
        try:
            self._learn(rows, codes_in(self.classes_, labels, owner), before)
        except Undetermined as error:
            self._undetermined: str | None = str(error)
        return self

    def _check_determined(self) -> None:
        """Raise what partial_fit has passed over."""
        check_is_fitted(self)
        if self._undetermined is not None:
            raise Undetermined(self._undetermined)

    def _learn(self, rows: Rows, codes: np.ndarray, before: ClassMoments | None) -> None:
        kind = self._kind()
        if before is not None and before.kind != kind:
            if (before.kind, kind) != ("full", "pooled"):
                raise ValueError(
                    f"{rows.owner}: partial_fit must go on with the moments of the first call, "
                    f"got parameters that need others ({kind}, not {before.kind}: fit again)"
                )
            kind = "full"
        moments = class_moments_of(rows, codes, len(self.classes_), kind, before)
        moments.keep(self)
        self._undetermined = None
        self.class_count_ = moments.class_weight
        shares = moments.class_weight / moments.class_weight.sum()
        self.priors_ = given_priors(self.priors, shares, rows.owner)
        self.means_ = moments.means
        with lapack_threads(rows.n_features):
            self._solve(rows, codes, moments)
