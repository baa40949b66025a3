"""Quantile regression by linear programming."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import scipy.optimize
import scipy.sparse

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting_at_once
from kernelmill._estimator._rows import Rows
from kernelmill.linear_model._generalised import vector
from kernelmill.linear_model._regression import LinearRegressor
from kernelmill.linear_model._words import WORDS

SOLVERS = ("highs-ds", "highs-ipm", "highs", "interior-point", "revised simplex")


def _aside(solve: Callable[[], Any]) -> Any:
    """What `solve` returns or raises, from a thread of its own where this one must see Ctrl-C.

    Python hears of a signal in the main thread only, and not before a call of C++ is over. The
    solver holds no lock of Python while it runs; one that nobody waits for runs to its end.
    """
    if threading.current_thread() is not threading.main_thread():
        return solve()
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(solve())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="kernelmill-linprog", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if errors:
        raise errors[0]
    return results[0]


def _is_quantile(value: Any) -> bool:
    if rule.is_real(value):
        return 0 < value < 1
    if isinstance(value, str) or np.ndim(value) != 1 or not len(value):
        return False
    values = np.asarray(value)
    return values.dtype.kind == "f" and bool(((values > 0) & (values < 1)).all())


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
        How SciPy solves the linear program.
    solver_options : dict or None, default=None
        Options of ``scipy.optimize.linprog``.

    Attributes
    ----------
    coef_ : ndarray of shape (d,) or (k, d), dtype of X
        Coefficients.
    intercept_ : float or ndarray of shape (k,)
        Intercepts, 0.0 where none are learnt.
    n_iter_ : int
        Number of iterations of the solver.
    n_features_in_, feature_names_in_

    See Also
    --------
    HuberRegressor : Means that outliers do not move.

    Notes
    -----
    The dual program is solved, which has a row for each feature and a bounded variable for each
    row: ``max y.a`` with ``(q - 1) w <= a <= q w`` and ``|X'a| <= alpha``. Features and targets are
    scaled inside. Rows must be in memory. The solver runs in a thread, so that Ctrl-C ends ``fit``
    at once.

    References
    ----------
    Koenker and Bassett (1978), "Regression quantiles".

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
    _accepts_streams: ClassVar[bool] = False
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

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Solve the linear program.

        Parameters
        ----------
        y : array-like of shape (n,)
            Numbers.

        Raises
        ------
        ValueError
            If X or y do not fit, or the solver fails.
        """
        rows = self._rows(X, sample_weight, reset=True)
        y = vector(y, rows, squared=False)
        w = np.ones(len(y)) if rows.weight is None else rows.weight.astype(np.float64)
        used = w > 0
        A, y, w = rows.X[used].astype(np.float64), y[used], w[used]
        quantiles = np.atleast_1d(np.asarray(self.quantile, dtype=np.float64))
        A, x_mean, scale = self._scaled(A, w)
        y_mean = float(np.average(y, weights=w)) if self.fit_intercept else 0.0
        y_scale = float(np.abs(y - y_mean).max(initial=0.0))
        y_scale = y_scale if y_scale > 0 else 1.0
        targets, shares = (y - y_mean) / y_scale, w / w.sum()
        limits = self.alpha / scale
        order = np.argsort(quantiles, kind="stable")
        coef, constant = self._solved(A, targets, shares, quantiles[order], limits, rows)
        back = np.argsort(order, kind="stable")
        coef = (coef * y_scale / scale)[back]
        found = np.ascontiguousarray(coef, dtype=rows.dtype)
        constant = constant[back] * y_scale + y_mean - coef @ x_mean
        one = np.ndim(self.quantile) == 0
        self.coef_ = found[0] if one else found
        if self.fit_intercept:
            self.intercept_ = float(constant[0]) if one else constant
        else:
            self.intercept_ = 0.0
        return self

    def _scaled(self, A: Any, w: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
        """Columns about their means, of largest size one; sparse ones are only scaled."""
        mean = np.zeros(A.shape[1])
        if not is_sparse(A) and self.fit_intercept:
            mean = np.average(A, 0, w)
            A = A - mean
        if is_sparse(A):
            scale = np.asarray(abs(A).max(axis=0).todense()).ravel()
        else:
            scale = np.abs(A).max(0)
        scale = np.where(scale > 0, scale, 1.0)
        A = scipy.sparse.csr_matrix(A.multiply(1 / scale)) if is_sparse(A) else A / scale
        return A, mean, scale

    def _solved(
        self, A: Any, y: np.ndarray, w: np.ndarray, quantiles: np.ndarray, limits: np.ndarray,
        rows: Rows,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Coefficients (k, d) and constants (k,) by the dual.

        With multipliers a of the rows of each quantile, ``(q - 1) w <= a <= q w``, and multipliers
        m of the order of neighbouring quantiles at each row, ``m >= 0``, the dual is ``max y.a``
        with ``|A'(a + m_below - m_above)| <= alpha`` and the same sums of zero for the constants.
        The coefficients are the multipliers of these rows.
        """
        (n, d), k = A.shape, len(quantiles)
        ones = scipy.sparse.csr_matrix(np.ones((1, n)))
        block = scipy.sparse.csr_matrix(A.T)
        if self.fit_intercept:
            block = scipy.sparse.vstack([block, ones], format="csr")
        size = block.shape[0]
        slack = scipy.sparse.eye(size, d, format="csr")
        parts: list[list[Any]] = []
        for i in range(k):
            line: list[Any] = [None] * (2 * k + max(k - 1, 0))
            line[i] = block
            line[k + i] = -slack
            if i > 0:  # this quantile is not below the one before
                line[2 * k + i - 1] = block
            if i + 1 < k:
                line[2 * k + i] = -block
            parts.append(line)
        bounds: list[Any] = [((q - 1) * v, q * v) for q in quantiles for v in w]
        bounds += [(-limit, limit) for _ in range(k) for limit in limits]
        bounds += [(0, None)] * (n * max(k - 1, 0))
        cost = np.concatenate([-np.tile(y, k), np.zeros(k * d + n * max(k - 1, 0))])
        equal = scipy.sparse.bmat(parts, format="csc")
        result = _aside(
            lambda: scipy.optimize.linprog(
                cost, A_eq=equal, b_eq=np.zeros(size * k), bounds=bounds, method=self._method(),
                options=self.solver_options,
            )
        )  # fmt: skip
        if result.status != 0:
            raise ValueError(f"{rows.owner}: the solver {self.solver} failed ({result.message})")
        self.n_iter_ = int(result.nit)
        found = -np.asarray(result.eqlin.marginals).reshape(k, size)
        constant = found[:, d] if self.fit_intercept else np.zeros(k)
        return found[:, :d], constant

    def _method(self) -> str:
        return self.solver if self.solver.startswith("highs") else "highs"

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

