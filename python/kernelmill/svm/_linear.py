"""LinearSVC and LinearSVR."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import (
    check_classes,
    check_count,
    class_labels,
    declare_classes,
)
from kernelmill.linear_model._generalised import vector
from kernelmill.linear_model._linear import LinearClassifier, LinearModel
from kernelmill.linear_model._newton import MOST_PARAMETERS
from kernelmill.linear_model._regression import LinearRegressor
from kernelmill.svm._descent import Descent, Joint
from kernelmill.svm._interior import Interior
from kernelmill.svm._planes import Plane, Planes, Solver, squares
from kernelmill.svm._primal import Primal
from kernelmill.svm._weights import factors_of_classes
from kernelmill.svm._words import LINEAR

_WIDEST = 5000  # features of a stream whose second moments are still kept
PARAMETERS: dict[str, rule.Rule] = {
    "dual": rule.any_of(rule.boolean(), rule.one_of("auto")),
    "tol": rule.real(0, above=True),
    "C": rule.real(0, above=True),
    "fit_intercept": rule.boolean(),
    "intercept_scaling": rule.Rule(lambda v: rule.is_real(v) and v > 0, "a number above 0"),
    "verbose": rule.VERBOSE,
    "random_state": rule.RANDOM_STATE,
    "max_iter": rule.integer(1),
}


def solver_of(planes: Planes) -> Solver:
    """The way to the optimum, by the loss and the shape of the rows."""
    rows = planes.rows
    narrow = rows.n_features < MOST_PARAMETERS
    if planes.smooth and (narrow or planes.l1 or rows.is_stream):
        return Primal(planes)
    if narrow or rows.is_stream:
        if rows.n_features > _WIDEST:
            raise ValueError(
                f"{rows.owner}: X must have at most {_WIDEST} features where it is a stream larger "
                f"than memory, got {rows.n_features} (choose the squared loss, or partial_fit)"
            )
        return Interior(planes)
    return Descent(planes)


class LinearMachine(LinearModel):
    """What both have in common: the problem, its solution, and training on streams."""

    _words = LINEAR
    _squares: ClassVar = np.float64
    tol: float
    C: float
    fit_intercept: bool
    intercept_scaling: float
    max_iter: int
    verbose: Any
    random_state: Any
    loss: str
    n_iter_: Any
    _online: Any
    _seen: float  # weight of the rows so far

    def _solved(
        self, rows: Rows, y: np.ndarray, price: np.ndarray, positive: np.ndarray, loss: str,
        epsilon: float, l1: bool, data: tuple
    ) -> None:  # fmt: skip
        """Solve the problems and set the attributes; `data` is what the user gave."""
        scaling = float(self.intercept_scaling) if self.fit_intercept else 0.0
        planes = Planes(
            rows, y, price, positive, loss, epsilon, l1, scaling, self.tol, int(self.max_iter),
            seed_of(self.random_state),
        )  # fmt: skip
        solver = Joint(planes) if self._is_joint() else solver_of(planes)
        X, targets, sample_weight = data
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}

        def attributes(state: Any, n_iter: int) -> dict[str, Any]:
            return self._attributes(solver.planes(state), rows)

        with Progress(
            self, self.verbose, iterations=self.max_iter, X=X, y=targets, metadata=metadata
        ) as progress:
            run = climb(
                progress, lambda number: solver.begin(), solver.advance, max_iter=2**62,
                attributes=attributes,
            )  # fmt: skip
        found = solver.planes(run.state)
        self.__dict__.pop("_online", None)
        self.__dict__.update(self._attributes(found, rows), _seen=float(price.sum()) / self.C)
        if not all(plane.converged for plane in found):
            warn(
                f"{rows.owner}: the tolerance was not met in {self.n_iter_} iterations (raise "
                "max_iter or tol, lower C, or scale X; dual_gap_ says how far the fit got)",
                ConvergenceWarning,
            )

    def _is_joint(self) -> bool:
        """Whether one problem has the planes of all classes."""
        return False

    def _attributes(self, planes: list[Plane], rows: Rows) -> dict[str, Any]:
        coef = np.stack([plane.coef for plane in planes]).astype(rows.dtype)
        intercept = np.array([plane.intercept for plane in planes], dtype=rows.dtype)
        return {
            "coef_": coef,
            "intercept_": intercept if self.fit_intercept else 0.0,
            "dual_gap_": np.array([plane.gap for plane in planes]),
            "n_iter_": max(plane.steps for plane in planes),
        }

    def _trained_online(self, cls: Any, rows: Rows, y: np.ndarray, options: dict[str, Any]) -> Any:
        """Go on with averaged stochastic descent, chunk by chunk.

        The rate of step t is ``1 / (m sqrt(t))`` with m the mean of ``|x|^2 + 1`` over the first
        chunk, a quarter of it for a squared loss: its slope may be that much larger. After a fit of
        n rows steps are numbered from n + 1, and the plane counts n times in the average.
        """
        online, begin = vars(self).get("_online"), 0
        seen = getattr(self, "_seen", 0.0)
        if math.isnan(seen):
            raise NotImplementedError(
                f"{rows.owner}: partial_fit must go on from a model whose number of rows is known, "
                "got one converted from scikit-learn (call fit first)"
            )
        for chunk in rows.chunks():
            own = y[begin : begin + chunk.count]
            begin += chunk.count
            if len(own) < chunk.count:
                check_count(y, begin, rows.owner)
            weight = chunk.weight
            if online is None:
                online = self._first_online(cls, chunk, seen)
            total = chunk.count if weight is None else float(weight.sum(dtype=np.float64))
            seen += total
            online.set_params(alpha=1 / (self.C * seen), **options)
            more = {"classes": self.classes_} if hasattr(self, "classes_") else {}
            online.partial_fit(Rows(chunk.X, weight, rows.owner), own, **more)
        check_count(y, begin, rows.owner)
        if online is None:
            return self
        for name in ("coef_", "intercept_", "n_iter_", "t_"):
            setattr(self, name, getattr(online, name))
        self.__dict__.pop("dual_gap_", None)
        self._online, self._seen = online, seen
        return self

    def _first_online(self, cls: Any, chunk: Rows, seen: float) -> Any:
        """The model that learns, from the plane of a fit if there is one."""
        mean = float(np.average(squares(chunk.X), weights=chunk.weight)) + 1
        rate = (0.25 if self.loss.startswith("squared") else 1.0) / mean
        online = cls(
            loss=self.loss, learning_rate="invscaling", power_t=0.5, average=True, eta0=rate,
            random_state=self.random_state, fit_intercept=self.fit_intercept,
        )  # fmt: skip
        if hasattr(self, "coef_"):
            known = {"classes_", "coef_", "intercept_", "n_features_in_"} & {*vars(self)}
            online.__dict__.update({name: getattr(self, name) for name in known})
            online._continue_from(np.atleast_2d(self.coef_), self.intercept_, seen)
        return online


class LinearSVC(ClassifierMixin, LinearMachine, LinearClassifier):
    """Linear support vector classification, each class against the others.

    Minimises ``|w|^2 / 2 + (b / intercept_scaling)^2 / 2 + C sum_i s_i l(y_i, w.x_i + b)``, or with
    ``penalty="l1"`` ``|w|_1 + |b| / intercept_scaling + C sum_i s_i l``, for weights s of the rows,
    where l is ``max(0, 1 - y p)`` or its square.

    Parameters
    ----------
    penalty : {"l1", "l2"}, default="l2"
        Norm of the coefficients.
    loss : {"hinge", "squared_hinge"}, default="squared_hinge"
        Loss of a row; ``"hinge"`` goes with ``penalty="l2"`` alone.
    multi_class : {"ovr", "crammer_singer"}, default="ovr"
        One plane for each class against the others; or one problem for all planes, which minimises
        ``sum_m |w_m|^2 / 2 + C sum_i s_i max_m (w_m.x_i + [m is not y_i] - w_y.x_i)``, intercepts
        included, whatever `penalty` and `loss` are.

    Attributes
    ----------
    classes_
    coef_ : ndarray of shape (1, d) or (n_classes, d), dtype of X
        Coefficients.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts; 0.0 where none is learnt.
    dual_gap_ : ndarray of shape (1,) or (n_classes,)
        At most this much the objective is above its least value. Not set by ``partial_fit``.
    n_iter_, t_, n_features_in_, feature_names_in_

    See Also
    --------
    SVC : Kernels, one machine for each pair of classes, an intercept without a penalty.
    kernelmill.linear_model.SGDClassifier : The same losses, trained row by row.

    Notes
    -----
    The way is chosen by the loss and the shape, and the optimum does not depend on it: Newton's
    method or an interior point method up to 1200 features, dual coordinate descent beyond that.
    Streams are read again in each step. See docs/kernel-methods.md.

    The intercept has a penalty, as in scikit-learn and LIBLINEAR; so the plane depends on where
    the origin is, and on the unit of X. ``intercept_scaling=np.inf`` removes it: then moving all
    rows changes nothing, and a multiple of X with C over its square has the same predictions. Of
    two classes that is the machine of ``SVC(kernel="linear")``.

    References
    ----------
    Hsieh, Chang, Lin, Keerthi and Sundararajan (2008), "A dual coordinate descent method for
    large-scale linear SVM". Crammer and Singer (2001), "On the algorithmic implementation of
    multiclass kernel-based vector machines". Mangasarian (2002), "A finite Newton method for
    classification". Ferris and Munson (2002), "Interior-point methods for massive support vector
    machines".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.svm import LinearSVC
    >>> X = np.array([[-1.0, -1.0], [-2.0, -1.0], [1.0, 1.0], [2.0, 1.0]])
    >>> model = LinearSVC(loss="hinge").fit(X, ["a", "a", "b", "b"])
    >>> model.predict([[-0.8, -1.0]]).tolist(), model.coef_.round(2).tolist()
    (['a'], [[0.5, 0.5]])
    >>> far = LinearSVC(loss="hinge", C=9.0, intercept_scaling=np.inf).fit(X + 1e5, [0, 0, 1, 1])
    >>> far.coef_.round(2).tolist()
    [[0.5, 0.5]]
    >>> online = LinearSVC(random_state=0)
    >>> for _ in range(50):
    ...     online = online.partial_fit(X, [0, 0, 1, 1], classes=[0, 1])
    >>> online.predict(X).tolist(), int(online.t_)
    ([0, 0, 1, 1], 201)
    """

    _parameters: ClassVar = {
        **PARAMETERS,
        "penalty": rule.one_of("l1", "l2"),
        "loss": rule.one_of("hinge", "squared_hinge"),
        "multi_class": rule.one_of("ovr", "crammer_singer"),
        "class_weight": rule.CLASS_WEIGHT,
    }

    def __init__(
        self, penalty="l2", loss="squared_hinge", *, dual="auto", tol=1e-4, C=1.0,
        multi_class="ovr", fit_intercept=True, intercept_scaling=1, class_weight=None, verbose=0,
        random_state=None, max_iter=1000,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Find the planes.

        Parameters
        ----------
        y : array-like of shape (n,)
            Class labels, numbers or strings, in memory even if X is a stream.

        Raises
        ------
        ValueError
            If X, y, weights or a parameter do not fit.

        Warns
        -----
        ConvergenceWarning
            If the tolerance was not met in `max_iter` iterations.
        """
        if self.penalty == "l1" and self.loss == "hinge" and not self._is_joint():
            raise ValueError(
                "LinearSVC: loss must be 'squared_hinge' for penalty='l1', got 'hinge' "
                "(Unsupported set of arguments: its problem is a linear program)"
            )
        rows = self._rows(X, sample_weight, reset=True).kept()
        labels = class_labels(y, rows.owner)
        check_count(labels, rows.count, rows.owner)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        check_classes(self.classes_, rows.owner)
        given = rows.all_weights()
        weights = np.ones(rows.count) if given is None else given.astype(np.float64)
        factors = factors_of_classes(
            self.class_weight, self.classes_, codes, labels, weights, rows.owner
        )
        rows = Rows(rows.X, None, rows.owner) if not rows.is_stream else rows
        price: np.ndarray = self.C * weights
        targets: np.ndarray
        positive: np.ndarray
        k = len(self.classes_)
        if self._is_joint():
            self._check_joint(rows)
            price, targets, positive = price * factors[codes], codes.astype(np.float64), np.ones(k)
        elif k == 2:
            price, targets, positive = price * factors[codes], 2.0 * codes - 1, np.ones(1)
        else:
            targets, positive = codes.astype(np.float64), factors
        l1 = self.penalty == "l1"
        self._solved(rows, targets, price, positive, self.loss, 0.0, l1, (X, y, sample_weight))
        return self

    def _is_joint(self) -> bool:
        return self.multi_class == "crammer_singer"

    def _check_joint(self, rows: Rows) -> None:
        if rows.is_stream:
            raise ValueError(
                "LinearSVC: X must be in memory for multi_class='crammer_singer', got a stream "
                "larger than that (choose 'ovr')"
            )
        if self.fit_intercept and self.intercept_scaling == np.inf:
            raise ValueError(
                "LinearSVC: intercept_scaling must be finite for multi_class='crammer_singer', got "
                "inf (choose 'ovr', or center X)"
            )

    def _attributes(self, planes: list[Plane], rows: Rows) -> dict[str, Any]:
        found = super()._attributes(planes, rows)
        if self._is_joint():
            found["dual_gap_"] = found["dual_gap_"][:1]
            if len(planes) == 2:
                found["coef_"] = found["coef_"][1:] - found["coef_"][:1]
                if self.fit_intercept:
                    found["intercept_"] = found["intercept_"][1:] - found["intercept_"][:1]
        return found

    @fitting
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Go on with more rows: one epoch of averaged stochastic descent.

        The objective is that of all rows so far, of each class against the others, with an
        intercept without a penalty. Features should have about the same size.

        Parameters
        ----------
        y : array-like of shape (n,)
            Class labels.
        classes : array-like of shape (n_classes,), optional
            All labels that will occur; needed in the first call.

        Raises
        ------
        ValueError
            If X or y do not fit, classes are missing in the first call or others later, or
            ``class_weight="balanced"`` is set.
        """
        from kernelmill.linear_model import SGDClassifier

        first = not hasattr(self, "classes_")
        declare_classes(self, classes, first)
        self.__dict__.pop("_declared", None)
        rows = self._rows(X, sample_weight, reset=first, once=True)
        options = {"penalty": self.penalty, "class_weight": self.class_weight}
        return self._trained_online(SGDClassifier, rows, class_labels(y, rows.owner), options)


class LinearSVR(LinearMachine, LinearRegressor):
    """Linear support vector regression: errors up to `epsilon` are free.

    Minimises ``|w|^2 / 2 + (b / intercept_scaling)^2 / 2 + C sum_i s_i l(w.x_i + b - y_i)`` for
    weights s of the rows, where l is ``max(0, |r| - epsilon)`` or its square.

    Parameters
    ----------
    epsilon : float, default=0.0
        Half width of the tube of free errors, in units of y.
    loss : {"epsilon_insensitive", "squared_epsilon_insensitive"}, default="epsilon_insensitive"
        Loss of a row.

    Attributes
    ----------
    coef_ : ndarray of shape (d,), dtype of X
        Coefficients.
    intercept_ : ndarray of shape (1,)
        Intercept; 0.0 where none is learnt.
    dual_gap_ : float
        At most this much the objective is above its least value. Not set by ``partial_fit``.
    n_iter_, t_, n_features_in_, feature_names_in_

    See Also
    --------
    SVR : Kernels, and an intercept without a penalty.
    kernelmill.linear_model.QuantileRegressor : The least absolute deviations, for any quantile.

    Notes
    -----
    The notes of `LinearSVC` hold here. The penalty of the intercept pulls predictions towards 0:
    center y, or use ``intercept_scaling=np.inf``, where its mean is far from that.

    References
    ----------
    Ho and Lin (2012), "Large-scale linear support vector regression".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.svm import LinearSVR
    >>> X = np.arange(8.0)[:, None]
    >>> y = 2 * X[:, 0] + 100
    >>> y[3] = 1e3  # an outlier
    >>> model = LinearSVR(C=10.0, intercept_scaling=np.inf, tol=1e-8).fit(X, y)
    >>> model.coef_.round(4).tolist(), model.intercept_.round(4).tolist()
    ([2.0], [100.0])
    """

    _parameters: ClassVar = {
        **PARAMETERS,
        "epsilon": rule.real(0),
        "loss": rule.one_of("epsilon_insensitive", "squared_epsilon_insensitive"),
    }

    def __init__(
        self, *, epsilon=0.0, tol=1e-4, C=1.0, loss="epsilon_insensitive", fit_intercept=True,
        intercept_scaling=1.0, dual="auto", verbose=0, random_state=None, max_iter=1000,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Find the plane.

        Parameters
        ----------
        y : array-like of shape (n,)
            Numbers, in memory even if X is a stream.

        Raises
        ------
        ValueError
            If X, y, weights or a parameter do not fit.

        Warns
        -----
        ConvergenceWarning
            If the tolerance was not met in `max_iter` iterations.
        """
        rows = self._rows(X, sample_weight, reset=True).kept()
        targets = vector(y, rows)
        check_count(targets, rows.count, rows.owner)
        given = rows.all_weights()
        weights = np.ones(rows.count) if given is None else given.astype(np.float64)
        rows = Rows(rows.X, None, rows.owner) if not rows.is_stream else rows
        self._solved(
            rows, targets, self.C * weights, np.ones(1), self.loss, float(self.epsilon), False,
            (X, y, sample_weight),
        )  # fmt: skip
        return self

    def _attributes(self, planes: list[Plane], rows: Rows) -> dict[str, Any]:
        found = super()._attributes(planes, rows)
        return found | {"coef_": found["coef_"][0], "dual_gap_": float(found["dual_gap_"][0])}

    def _vector(self) -> bool:
        return True

    @fitting
    def partial_fit(self, X, y, sample_weight=None):
        """Go on with more rows: one epoch of averaged stochastic descent.

        The objective is that of all rows so far, with an intercept without a penalty. Features
        should have about the same size.

        Parameters
        ----------
        y : array-like of shape (n,)
            Numbers.

        Raises
        ------
        ValueError
            If X or y do not fit.
        """
        from kernelmill.linear_model import SGDRegressor

        rows = self._rows(X, sample_weight, reset=not hasattr(self, "coef_"), once=True)
        options = {"epsilon": self.epsilon}
        return self._trained_online(SGDRegressor, rows, vector(y, rows), options)
