"""Quantile regression: smoothed steps, then a linear program of few rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import climb
from kernelmill._estimator._progress import Progress
from kernelmill.linear_model._generalised import vector
from kernelmill.linear_model._pinball import MOST_ROUNDS, MOST_STEPS, Point, Problem
from kernelmill.linear_model._regression import LinearRegressor
from kernelmill.linear_model._words import WORDS

SOLVERS = ("highs-ds", "highs-ipm", "highs", "interior-point", "revised simplex")


def _is_quantile(value: Any) -> bool:
    if rule.is_real(value):
        return 0 < value < 1
    if isinstance(value, str) or np.ndim(value) != 1 or not len(value):
        return False
    values = np.asarray(value)
    return values.dtype.kind == "f" and bool(((values > 0) & (values < 1)).all())


def _typical(y: np.ndarray) -> float:
    """The power of two above the median size of what is not 0; 1 for zeros.

    Not of the largest: the solver's tolerances would then be those of outliers.
    """
    sizes = np.abs(y[y != 0])
    return power_above(np.median(sizes)) if len(sizes) else 1.0


def power_above(y: np.ndarray) -> float:
    """The power of two above the largest size of y; 1 for zeros."""
    largest = float(np.abs(y).max(initial=0.0))
    return float(np.ldexp(1.0, min(int(np.frexp(largest)[1]), 1023))) if largest > 0 else 1.0


class QuantileRegressor(LinearRegressor):
    """Linear quantiles: a share of the targets lies below the plane.

    Minimises ``sum w max(q r, (q - 1) r) / sum w + alpha |coef|_1`` for residuals r and the
    quantile q: the median for 0.5.

    Parameters
    ----------
    quantile : float or array-like of shape (k,), default=0.5
        Quantile, or several, above 0 and below 1. Several are fitted together, so that they do not
        cross at any row of ``fit``.
    alpha : float, default=1.0
        Strength of the penalty.
    solver : {"highs-ds", "highs-ipm", "highs", "interior-point", "revised simplex"}, \
default="highs"
        How SciPy solves the linear program. With ``"highs"`` and no options, a program of up to
        131,072 numbers goes from vertex to vertex, without SciPy, unless that takes long.
    solver_options : dict or None, default=None
        Options of ``scipy.optimize.linprog``.

    Attributes
    ----------
    coef_ : ndarray of shape (d,) or (k, d), dtype of X
        Coefficients.
    intercept_ : float or ndarray of shape (k,)
        Intercepts, 0.0 where none are learnt.
    dual_gap_ : float
        Upper bound of what the objective, summed over the quantiles, is above its least: at most
        1e-9 of it, or of 1e-3 of a typical target about their middle, and the solver's
        tolerances.
    n_iter_ : int
        Number of smoothed steps, each a pass over X, and of iterations of the solver, or vertices.
    n_features_in_, feature_names_in_

    See Also
    --------
    HuberRegressor : Means that outliers do not move.

    Notes
    -----
    The dual program has a row for each feature and a bounded variable for each row of X:
    ``max y.a`` with ``(q - 1) w <= a <= q w`` and ``|X'a| <= alpha``. Of more than 4000 rows, or
    60 for each feature, only those near the plane are variables; the others, whose ``a`` is known
    from the side on which they lie, are one sum. Which these are is found by Newton's steps for
    ``h log cosh(r / h)`` in place of ``|r|``, at widths h that fall by 4 in each pass over X: about
    10 passes. A last pass checks the sides, and bounds what is left to gain (``dual_gap_``); rows
    on the wrong side become variables. So rows may be in files of any size, of which the rows near
    the plane are in memory, and beside them a few numbers for each row. Features and targets are
    scaled inside. Small programs are solved by descent from vertex to vertex, where an edge is
    followed past all rows that the loss falls beyond: about six vertices for each feature. The
    multipliers of the last one prove it. Without a penalty, nearly collinear features are made
    orthogonal for it. SciPy's solver runs in a thread, so that Ctrl-C ends ``fit`` at once; its
    multipliers are to 1e-7, which nearly collinear features of larger programs turn into more than
    `dual_gap_` says.

    References
    ----------
    Koenker and Bassett (1978), "Regression quantiles". Portnoy and Koenker (1997), "The Gaussian
    hare and the Laplacian tortoise". Barrodale and Roberts (1973), "An improved algorithm for
    discrete l1 linear approximation".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import QuantileRegressor
    >>> X, y = np.arange(8.0)[:, None], [1, 1, 2, 1, 3, 2, 9, 3]
    >>> model = QuantileRegressor(quantile=[0.1, 0.5, 0.9], alpha=0.0).fit(X, y)
    >>> bool((np.diff(model.predict(X), axis=1) >= -1e-9).all()), model.coef_.shape
    (True, (3, 1))
    >>> QuantileRegressor(alpha=0.0).fit(X, 2 * X[:, 0] + 1).coef_.round(6).tolist()
    [2.0]
    """

    _words = WORDS
    _parameters: ClassVar = {
        "quantile": rule.Rule(_is_quantile, "a number above 0 and below 1, or several"),
        "alpha": rule.real(0),
        "fit_intercept": rule.boolean(),
        "solver": rule.one_of(*SOLVERS),
        "solver_options": rule.any_of(
            rule.Rule(lambda v: isinstance(v, dict), "a dict"), rule.nothing()
        ),
    }

    def __init__(
        self, *, quantile=0.5, alpha=1.0, fit_intercept=True, solver="highs", solver_options=None
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Find the planes.

        Parameters
        ----------
        y : array-like of shape (n,)
            Numbers, in memory even if X is a stream.

        Raises
        ------
        ValueError
            If X or y do not fit, the solver fails, or a stream has more features than memory holds
            the products of.

        Warns
        -----
        ConvergenceWarning
            If the programs of 30 sets of rows have left more to gain than 1e-9 of the loss.
        """
        rows = self._rows(X, sample_weight, reset=True)
        if not rows.is_stream:
            self._refuse_device(rows.X, "its linear program is solved on the CPU")
        y = vector(y, rows, squared=False)
        order = np.argsort(np.atleast_1d(np.asarray(self.quantile, np.float64)), kind="stable")
        quantiles = np.atleast_1d(np.asarray(self.quantile, dtype=np.float64))[order]
        weight = rows.all_weights()
        used = np.ones(len(y), bool) if weight is None or len(weight) != len(y) else weight > 0
        y = np.where(used, y, y[np.argmax(used)])  # other targets say nothing
        # Powers of two: the same digits, whatever the units of y. Targets that are all the same
        # are exactly zero.
        unit = power_above(y)
        y, middle = y / unit, 0.0
        if self.fit_intercept:
            seen = y[used]
            middle = float(np.partition(seen, len(seen) // 2)[len(seen) // 2])
            y -= middle
        spread = _typical(y[used])
        middle, unit = middle * unit, unit * spread
        method = self.solver if self.solver.startswith("highs") else "highs"
        problem = Problem(
            rows, y / spread, weight, quantiles, self.alpha, self.fit_intercept, method,
            self.solver_options,
        )  # fmt: skip
        back, one = np.argsort(order, kind="stable"), np.ndim(self.quantile) == 0

        def attributes(at: Point, n_iter: int) -> dict[str, Any]:
            coef, constant = problem.raw((at.lines if at.found is None else at.found)[back])
            coef, constant = coef * unit, constant * unit + middle
            found = np.ascontiguousarray(coef, dtype=rows.dtype)
            return {
                "coef_": found[0] if one else found,
                "intercept_": (constant[0] if one else constant) if self.fit_intercept else 0.0,
                "dual_gap_": at.gap * unit,
                "n_iter_": n_iter - at.rounds + at.iterations,
            }

        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        with Progress(self, False, iterations=None, X=X, y=y, metadata=metadata) as progress:
            run = climb(
                progress, lambda number: problem.start(), problem.advance, max_iter=MOST_STEPS,
                attributes=attributes,
            )  # fmt: skip
        if not run.state.proved:
            warn(
                f"{rows.owner}: the programs of {MOST_ROUNDS} sets of rows left dual_gap_="
                f"{run.state.gap * unit:.3g} to gain (pass fewer quantiles, or alpha above 0)",
                ConvergenceWarning,
            )
        self.__dict__.update(attributes(run.state, run.n_iter))
        return self

    def predict(self, X):
        """Predicted quantiles.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.

        Returns
        -------
        y : ndarray of shape (n,) or (n, k), float64
            Quantiles, in the order of `quantile`.
        """
        found = self._linear(X)
        return found.ravel() if np.ndim(self.quantile) == 0 else found

    def score(self, X, y, sample_weight=None):
        """R2 of the quantile, as for all regressions; of several quantiles the mean.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.
        y : array-like of shape (n,)
            Numbers.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        score : float
            R2.
        """
        from sklearn.metrics import r2_score

        found = self.predict(X)
        if found.ndim == 1:
            return float(r2_score(y, found, sample_weight=sample_weight))
        return float(np.mean([r2_score(y, f, sample_weight=sample_weight) for f in found.T]))
