"""Logistic regression."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.linalg
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import (
    check_classes,
    check_count,
    class_labels,
    coded,
    weights_by_class,
)
from kernelmill.linear_model import _newton
from kernelmill.linear_model._linear import LinearClassifier
from kernelmill.linear_model._newton import Objective, Point
from kernelmill.linear_model._words import CLASSES

SOLVERS = ("lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga")
_LEAST = 50  # features of a first working set, and that may join a later one


def logistic(p: np.ndarray) -> np.ndarray:
    """Shares of the classes (n, k) for scores (n, 1) of two classes, or (n, k)."""
    if p.shape[1] == 1:
        e = np.exp(-np.abs(p))
        upper = np.where(p > 0, 1.0, e) / (1 + e)
        return np.hstack([np.where(p > 0, e, 1.0) / (1 + e), upper])
    e = np.exp(p - p.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def log_logistic(p: np.ndarray) -> np.ndarray:
    """Logarithms of the same, finite where the shares underflow."""
    if p.shape[1] == 1:
        return -np.logaddexp(0, np.hstack([p, -p]))
    p = p - p.max(1, keepdims=True)
    return p - np.log(np.exp(p).sum(1, keepdims=True))


class ProbabilisticClassifier(ClassifierMixin, LinearClassifier):
    """Base of classifiers with probabilities: the logistic function of their scores."""

    _squares: ClassVar = np.float64

    def predict_proba(self, X):
        """Probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes), float64
            In the order of ``classes_``.
        """
        return logistic(self._scores(X).astype(np.float64))

    def predict_log_proba(self, X):
        """Logarithms of the probabilities, finite where these underflow.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.

        Returns
        -------
        logarithms : ndarray of shape (n, n_classes), float64
            In the order of ``classes_``.
        """
        return log_logistic(self._scores(X).astype(np.float64))


def minimised(
    objective: Objective, at: Point, tol: float, max_iter: int, progress: Progress | None = None,
    attributes: Any = None,
) -> tuple[Point, int, bool]:  # fmt: skip
    """The least of an objective: the point, the steps, and whether it converged."""
    sparse = objective.l1 > 0 and not objective.newton

    def advance(point: Point, most: int) -> Step:
        return working_step(objective, point, tol) if sparse else objective.advance(point, tol)

    if progress is None:
        taken, finished = 0, False
        while taken < max_iter and not finished:
            at, _, finished, more = advance(at, max_iter - taken)
            taken += more
        return objective.shortest(at), taken, finished
    run = climb(
        progress, lambda number: at, advance, max_iter=max_iter, attributes=attributes
    )
    return objective.shortest(run.state), run.n_iter, run.converged


def warn_steps(owner: str, max_iter: int) -> None:
    """Warn where the steps were not enough."""
    warn(
        f"{owner}: the objective did not converge in max_iter={max_iter} steps (raise max_iter or "
        "tol)",
        ConvergenceWarning,
    )


def working_step(objective: Objective, at: Point, tol: float) -> Step:
    """One working set of features of a problem with an L1 penalty: its least, and what it lacks."""
    slope = at.gradient[:, :-1]
    active = (at.coef != 0).any(0)
    calling = np.abs(slope).max(0)
    # All that are not 0, and others that call for it, as many as a Hessian holds if that is more.
    many, room = int(active.sum()), max(1, _newton.MOST_PARAMETERS // objective.k - 1)
    size = max(min(2 * many, room), many + max(min(_LEAST, room), many // 4))
    size = min(size, objective.d)
    score = np.where(active, np.inf, calling)
    chosen = np.sort(np.argpartition(-score, size - 1)[:size])
    inner = Objective(
        objective.rows.columns(chosen), objective.y, objective.name, objective.k,
        l1=objective.l1, l2=objective.l2, intercept=objective.intercept, newton=True,
        parameter=objective.parameter, intercept_factor=objective.factor,
    )  # fmt: skip
    point = inner.start(at.coef[:, chosen], objective.intercepts(at))
    for _ in range(100):
        point, _, finished, _ = inner.advance(point, tol)
        if finished:
            break
    coef = np.zeros_like(at.coef)
    coef[:, chosen] = point.coef
    intercept = inner.intercepts(point)
    moved = intercept + coef @ objective.shift if objective.intercept else intercept
    after = objective.evaluated(Point(coef, moved), False)
    outside = np.ones(objective.d, dtype=bool)
    outside[chosen] = False
    beyond = np.abs(after.gradient[:, :-1]).max(0)[outside].max(initial=0.0) - objective.l1
    return Step(after, -after.value, finished and beyond <= 1e-6 * objective.l1)


PENALTY = rule.one_of("deprecated", "l1", "l2", "elasticnet", None)
JOBS = rule.any_of(rule.Rule(rule.is_integer, "a whole number"), rule.nothing())


class LogisticRegression(ProbabilisticClassifier):
    """Logistic regression of two classes or several, with an L2, L1 or elastic-net penalty.

    Minimises ``sum w l + (l1_ratio |coef|_1 + (1 - l1_ratio) / 2 |coef|^2) / C``, with the log-loss
    l of the logistic function for two classes, and of the softmax for more.

    Parameters
    ----------
    penalty : {"deprecated", "l2", "l1", "elasticnet"} or None, default="deprecated"
        Name of the penalty, as scikit-learn had it before 1.8: ``"l2"`` is ``l1_ratio=0``, ``"l1"``
        ``l1_ratio=1``, None ``C=np.inf``. Not needed.
    C : float, default=1.0
        Inverse of the strength of the penalty; ``np.inf`` for none.
    l1_ratio : float or None, default=0.0
        Share of the L1 penalty, between 0 (only L2, and None) and 1 (only L1).
    dual : bool, default=False
        Ignored; present for API compatibility.
    tol : float, default=1e-4
        Ends the fit where what is left to gain is below ``tol**2`` for each unit of weight; the
        last step, quadratic, goes beyond that.
    intercept_scaling : float, default=1
        Ignored: the intercept is not penalised.
    solver : {"lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"}, default="lbfgs"
        Ignored: all penalties are there for all classes, and how the optimum is found is chosen by
        the shape of X.
    max_iter : int, default=100
        Most steps.

    Attributes
    ----------
    classes_, coef_
    intercept_ : ndarray of shape (1,) or (n_classes,), dtype of X
        Intercepts.
    n_iter_ : ndarray of shape (1,)
        Number of steps.
    n_features_in_, feature_names_in_

    See Also
    --------
    SGDClassifier : With ``loss="log_loss"``, trained row by row.
    RidgeClassifier : Least squares of the classes.

    Notes
    -----
    Up to 1200 parameters each step is Newton's, of value, gradient and Hessian in one pass over the
    rows; with an L1 penalty the quadratic model is minimised by coordinate descent. Beyond that the
    directions are those of L-BFGS, with an L1 penalty in working sets of features. Of many rows, a
    sample says where to begin, and its Hessian serves for all. Features are
    shifted and scaled inside, which changes the time and not the optimum. Rows may be a CSR matrix,
    or a stream, which is read once a step. Without a penalty, classes that a plane separates have
    no finite optimum; a warning says so.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import LogisticRegression
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = LogisticRegression(C=10.0).fit(X, ["no", "no", "yes", "yes"])
    >>> model.predict([[0.2], [2.7]]).tolist(), model.predict_proba([[1.5]]).round(3).tolist()
    (['no', 'yes'], [[0.5, 0.5]])
    >>> model.predict_log_proba(X).shape, model.decision_function(X).shape
    ((4, 2), (4,))
    """

    _words = CLASSES
    _parameters: ClassVar = {
        "C": rule.Rule(lambda v: rule.is_real(v) and v > 0, "a number above 0"),
        "l1_ratio": rule.any_of(rule.real(0, high=1), rule.nothing()),
        "penalty": PENALTY,
        "n_jobs": JOBS,
        "dual": rule.boolean(),
        "tol": rule.real(0, above=True),
        "fit_intercept": rule.boolean(),
        "intercept_scaling": rule.real(0, above=True),
        "class_weight": rule.CLASS_WEIGHT,
        "random_state": rule.RANDOM_STATE,
        "solver": rule.one_of(*SOLVERS),
        "max_iter": rule.integer(0),
        "verbose": rule.VERBOSE,
        "warm_start": rule.boolean(),
    }

    def __init__(
        self, penalty="deprecated", *, C=1.0, l1_ratio=0.0, dual=False, tol=1e-4,
        fit_intercept=True, intercept_scaling=1, class_weight=None, random_state=None,
        solver="lbfgs", max_iter=100, verbose=0, warm_start=False, n_jobs=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _strength(self) -> tuple[float, float]:
        """C and l1_ratio, by the name of the penalty where there is one."""
        C = np.inf if self.penalty is None else self.C
        if self.penalty == "elasticnet" and self.l1_ratio is None:
            raise ValueError(
                f"{type(self).__name__}: l1_ratio must be a number between 0 and 1 for "
                "penalty='elasticnet', got None"
            )
        share = self.l1_ratio or 0.0  # None, as scikit-learn had it before 1.8
        return C, {"l1": 1.0, "l2": 0.0}.get(self.penalty, share)

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Find the coefficients.

        Raises
        ------
        ValueError
            If X or y do not fit.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` steps were not enough, or there is no penalty and the classes can be
            separated.
        """
        rows = self._rows(X, sample_weight, reset=True)
        labels = class_labels(y, rows.owner)
        if not rows.is_stream:
            check_count(labels, rows.count, rows.owner)
        before = getattr(self, "coef_", None) if self.warm_start else None
        self.classes_, codes = coded(labels)
        check_classes(self.classes_, rows.owner)
        if self.class_weight is not None:
            own = weights_by_class(self.class_weight, labels, rows.owner, rows.all_weights())
            rows = rows.weighted(own)
        objective = self._objective(
            rows, codes.astype(np.float64), len(self.classes_), *self._strength()
        )
        start: tuple[Any, Any] = (None, None)
        if before is not None and np.shape(before) == (objective.k, objective.d):
            start = np.asarray(before, dtype=np.float64), self.intercept_.astype(np.float64)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}

        def attributes(at: Point, n_iter: int) -> dict[str, Any]:
            return {
                "coef_": np.ascontiguousarray(at.coef, dtype=rows.dtype),
                "intercept_": objective.intercepts(at).astype(rows.dtype),
                "n_iter_": np.array([n_iter], dtype=np.int32),
                "classes_": self.classes_,
            }

        with Progress(
            self, self.verbose, iterations=self.max_iter, X=X, y=y, metadata=metadata
        ) as progress:
            at = objective.sampled(len(self.classes_)) if start[0] is None else None
            at = objective.start(*start) if at is None else at
            at, taken, converged = minimised(
                objective, at, self.tol, self.max_iter, progress, attributes
            )
        self._judge(objective, at, converged, taken)
        self.__dict__.update(attributes(at, taken))
        return self

    def coef_covariance(self, X, sample_weight=None):
        """Covariance of the coefficients of each class, by the Hessian at the optimum.

        The inverse of ``sum w p (1 - p) z z' + I / C``, with z the row and 1 for the intercept, for
        several classes that of the softmax: the posterior's covariance in Laplace's approximation,
        where the penalty is a Gaussian prior, and without one the large-sample covariance of
        maximum likelihood.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            The rows of ``fit``. Labels are not needed: the Hessian does not depend on them.
        sample_weight : array-like of shape (n,), optional
            The weights of ``fit``, times those of `class_weight`.

        Returns
        -------
        covariance : ndarray of shape (d, d) or (n_classes, d, d), float64
            Two classes have one.

        Raises
        ------
        ValueError
            If X does not fit, or there is an L1 penalty, whose optimum has no such approximation.
        """
        check_is_fitted(self)
        C, share = self._strength()
        if share != 0:
            raise ValueError(
                f"{type(self).__name__}: l1_ratio must be 0 for a covariance, got {share:g} (where "
                "coefficients are held at 0 the objective is not a parabola)"
            )
        rows = self._rows(X, sample_weight, reset=False, once=False)
        codes = np.zeros(rows.count)
        objective = self._objective(rows, codes, len(self.classes_), float(C), 0.0)
        coef = np.asarray(self.coef_, dtype=np.float64)
        intercept = np.asarray(self.intercept_, dtype=np.float64)
        if self.fit_intercept:
            intercept = intercept + coef @ objective.shift
        hessian = objective.evaluated(Point(coef, intercept), True).hessian
        root = np.sqrt(np.maximum(np.diag(hessian), np.finfo(np.float64).tiny))
        inverse = scipy.linalg.pinvh(hessian / root / root[:, None]) / root / root[:, None]
        k, d = coef.shape
        blocks = inverse.reshape(k, d + 1, k, d + 1)
        each = np.stack([blocks[c, :d, c, :d] for c in range(k)])
        return each[0] if k == 1 else each

    def _objective(
        self, rows: Rows, codes: np.ndarray, n_classes: int, C: float, l1_ratio: float
    ) -> Objective:
        k = 1 if n_classes == 2 else n_classes
        strength = 0.0 if np.isinf(C) else 1.0 / C
        return Objective(
            rows, codes, "log_loss" if k == 1 else "multinomial", k, l1=strength * l1_ratio,
            l2=strength * (1 - l1_ratio), intercept=self.fit_intercept,
        )  # fmt: skip

    def _judge(self, objective: Objective, at: Point, converged: bool, taken: int) -> None:
        owner = type(self).__name__
        free = objective.l1 == 0 and objective.l2 == 0
        # A loss below log 2 of every row: all are on their side of the plane.
        if free and at.loss < np.log(2) * objective.least_weight:
            warn(
                f"{owner}: the classes can be separated by a plane, so without a penalty there is "
                "no finite optimum, and the coefficients only grow with max_iter and 1 / tol "
                "(lower C)",
                ConvergenceWarning,
            )
        elif not converged and taken >= self.max_iter:
            warn_steps(owner, self.max_iter)
