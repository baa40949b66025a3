"""The lasso and the elastic net, of one output and of several."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.base import MultiOutputMixin
from sklearn.exceptions import ConvergenceWarning

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import Run, Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import targets_of
from kernelmill.linear_model import _coordinate as coordinate
from kernelmill.linear_model._coordinate import Penalty, Position
from kernelmill.linear_model._least_squares import LinearRegression
from kernelmill.linear_model._regression import LinearRegressor
from kernelmill.linear_model._ridge import MOST_PRODUCTS, Ridge
from kernelmill.linear_model._words import DESCENT, SEVERAL_TASKS

SELECTION = rule.one_of("cyclic", "random")
PARAMETERS: dict[str, rule.Rule] = {
    "alpha": rule.real(0),
    "l1_ratio": rule.real(0, high=1),
    "fit_intercept": rule.boolean(),
    "copy_X": rule.boolean(),
    "max_iter": rule.integer(1),
    "tol": rule.real(0),
    "warm_start": rule.boolean(),
    "positive": rule.boolean(),
    "random_state": rule.RANDOM_STATE,
    "selection": SELECTION,
}


def warn_gap(owner: str, gap: float, limit: float, max_iter: int) -> None:
    """Warn where the sweeps were not enough."""
    warn(
        f"{owner}: the objective did not converge in max_iter={max_iter} sweeps, the duality gap "
        f"is {gap:.3e} and not {limit:.3e} (raise max_iter or tol, or scale the features)",
        ConvergenceWarning,
    )


class _Descending(LinearRegressor):
    """The fit of one problem by coordinate descent, reported sweep by sweep."""

    _words = DESCENT
    _together: ClassVar[bool] = False  # whether several outputs share their features
    positive = False

    @property
    def sparse_coef_(self):
        """The coefficients as a CSR matrix."""
        return scipy.sparse.csr_matrix(self.coef_)

    def _order(self, d: int) -> np.ndarray | None:
        if self.selection == "cyclic":
            return None
        return generator(seed_of(self.random_state), 0).permutation(d)

    @fitting
    def fit(self, X, y, sample_weight=None, check_input=True):
        """Find the coefficients.

        Parameters
        ----------
        check_input : bool, default=True
            Ignored; present for API compatibility.

        Raises
        ------
        ValueError
            If X or y do not fit.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` sweeps were not enough.
        """
        again = self.coef_ if self.warm_start and hasattr(self, "coef_") else None
        rows = self._rows(X, sample_weight, reset=True, deferred=True)
        y = self._checked(targets_of(y, rows, vanishing=True), rows)
        if self.alpha * self.l1_ratio == 0 and not self.positive:
            penalised = self.alpha * (1 - self.l1_ratio) > 0
            if penalised or rows.n_features <= MOST_PRODUCTS:
                return self._squared(rows, y, penalised)
        Y = y.reshape(len(y), -1)
        groups = [Y] if self._together else [Y[:, t : t + 1] for t in range(Y.shape[1])]
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        coef, found = np.zeros((Y.shape[1], rows.n_features)), []
        with Progress(
            self, False, runs=len(groups), iterations=self.max_iter, X=X, y=y, metadata=metadata
        ) as progress:
            for t, part in enumerate(groups):
                start = None
                if again is not None and np.shape(again)[-1] == rows.n_features:
                    given = np.atleast_2d(np.asarray(again, dtype=np.float64))
                    if len(given) == Y.shape[1]:
                        start = given.T if self._together else given[t : t + 1].T
                run, means = self._descend(rows, part, start, progress, y.ndim == 1)
                coef[slice(None) if self._together else t] = run.state.coef.T[
                    slice(None) if self._together else 0
                ]
                found.append((run, *means))
        x_mean = found[0][1]
        y_mean = np.concatenate([mean for _, _, mean, _ in found])
        vector = y.ndim == 1
        self._set_model(coef, x_mean, y_mean, rows, vector)
        gaps = [run.state.gap / weight for run, _, _, weight in found]
        counts = [run.n_iter for run, *_ in found]
        one = len(found) == 1
        self.dual_gap_ = gaps[0] if one else np.array(gaps)
        self.n_iter_ = counts[0] if one else counts
        return self

    def _squared(self, rows: Rows, y: np.ndarray, penalised: bool) -> Any:
        """Without an L1 penalty: ridge regression or least squares, which need no descent."""
        options = {"fit_intercept": self.fit_intercept}
        if penalised:
            weight = rows.all_weights()
            total = float(len(y) if weight is None else weight.sum())
            model: Any = Ridge(self.alpha * (1 - self.l1_ratio) * total, **options).fit(rows, y)
        else:
            model = LinearRegression(**options).fit(rows, y)
        vector = y.ndim == 1 or (self._ravelled and y.shape[1] == 1)
        self.coef_ = model.coef_.reshape((-1,) if vector else (-1, rows.n_features))
        self.intercept_ = model.intercept_
        one = self._together or vector
        self.dual_gap_ = 0.0 if one else np.zeros(y.shape[1])
        self.n_iter_ = 1 if one else [1] * y.shape[1]
        return self

    def _checked(self, y: np.ndarray, rows: Rows) -> np.ndarray:
        return y

    def _descend(
        self, rows: Rows, Y: np.ndarray, start: Any, progress: Progress, vector: bool
    ) -> tuple[Run, tuple[np.ndarray, np.ndarray, float]]:
        made, x_mean, y_mean, weight = coordinate.problem(
            rows, Y, self.fit_intercept, self._order(rows.n_features)
        )
        scale = self.alpha * weight
        penalty = Penalty(scale * self.l1_ratio, scale * (1 - self.l1_ratio), self.positive)
        limit = self.tol * made.square

        def advance(at: Position, most: int) -> Step:
            after = made.advance(at, penalty, self.tol, most)
            taken = after.sweeps - at.sweeps
            return Step(after, -after.gap / weight, after.gap <= limit, max(1, taken))

        def attributes(at: Position, n_iter: int) -> dict[str, Any]:
            coef = np.ascontiguousarray(at.coef.T, dtype=rows.dtype)
            intercept = y_mean - coef.astype(np.float64) @ x_mean
            intercept = intercept if self.fit_intercept else np.zeros(len(coef))
            return {
                "coef_": coef[0] if vector or self._ravelled else coef,
                "intercept_": intercept[0] if vector else intercept,
                "dual_gap_": at.gap / weight,
                "n_iter_": n_iter,
            }

        run = climb(
            progress, lambda number: made.start(start), advance, max_iter=self.max_iter,
            attributes=attributes,
        )  # fmt: skip
        if not run.converged and run.n_iter >= self.max_iter:
            warn_gap(rows.owner, run.state.gap / weight, limit / weight, self.max_iter)
        return run, (x_mean, y_mean, weight)


def _lasso_path(X, y, **params):
    """Coefficients for many penalties: `lasso_path`.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n, d), or a stream
        Rows.
    y : array-like of shape (n,) or (n, n_outputs)
        Numbers.
    **params
        What `lasso_path` takes.

    Returns
    -------
    path : tuple
        What `lasso_path` returns.
    """
    from kernelmill.linear_model._paths import lasso_path

    return lasso_path(X, y, **params)


class ElasticNet(MultiOutputMixin, _Descending):
    """Least squares with a penalty of the sizes and of the squares of the coefficients.

    Minimises, with W the sum of the weights,
    ``sum w (y - coef.x - intercept)^2 / (2 W) + alpha (l1_ratio |coef|_1 + (1 - l1_ratio) / 2
    |coef|^2)``. Several outputs are several problems.

    Parameters
    ----------
    max_iter : int, default=1000
        Most sweeps over all coordinates.

    Attributes
    ----------
    coef_, intercept_, sparse_coef_, dual_gap_
    n_iter_ : int or list of int
        Sweeps over all coordinates.
    n_features_in_, feature_names_in_

    See Also
    --------
    Lasso : Without the squares.
    ElasticNetCV : Chooses both penalties.
    MultiTaskElasticNet : Several outputs that share their features.

    Notes
    -----
    Up to 768 features, and for streams, all products of features are made in one pass; else those
    of a working set, and a pass over the rows says which features it lacks. Both stop at the same
    gap. With ``alpha=0`` it is least squares.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import ElasticNet
    >>> X, y = np.arange(1.0, 6.0)[:, None], 2 * np.arange(1.0, 6.0)
    >>> model = ElasticNet(alpha=1.0).fit(X, y)
    >>> model.coef_.round(4).tolist(), round(float(model.intercept_), 4), model.sparse_coef_.nnz
    ([1.4], 1.8, 1)
    >>> model.predict([[6.0]]).round(4).tolist()
    [10.2]
    """

    _parameters: ClassVar = PARAMETERS

    def __init__(
        self, alpha=1.0, *, l1_ratio=0.5, fit_intercept=True, precompute=False, max_iter=1000,
        copy_X=True, tol=1e-4, warm_start=False, positive=False, random_state=None,
        selection="cyclic",
    ):  # fmt: skip
        self._set_parameters(locals())

    @staticmethod
    def path(X, y, **params):
        """Coefficients for many penalties: `enet_path`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.
        y : array-like of shape (n,) or (n, n_outputs)
            Numbers.
        **params
            What `enet_path` takes.

        Returns
        -------
        path : tuple
            What `enet_path` returns.
        """
        from kernelmill.linear_model._paths import enet_path

        return enet_path(X, y, **params)


class Lasso(ElasticNet):
    """Least squares with a penalty of the sizes of the coefficients, many of which become zero.

    Minimises, with W the sum of the weights,
    ``sum w (y - coef.x - intercept)^2 / (2 W) + alpha |coef|_1``.

    Parameters
    ----------
    max_iter : int, default=1000
        Most sweeps over all coordinates.

    Attributes
    ----------
    coef_, intercept_, sparse_coef_, dual_gap_
    n_iter_ : int or list of int
        Sweeps over all coordinates.
    n_features_in_, feature_names_in_

    See Also
    --------
    LassoCV : Chooses the penalty.
    lasso_path : Coefficients for many penalties.
    ElasticNet : With squares in the penalty, which shares a coefficient among like features.

    Notes
    -----
    See `ElasticNet`.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import Lasso
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
    >>> model = Lasso(alpha=0.25).fit(X, 2 * X[:, 0])
    >>> model.coef_.round(4).tolist(), round(float(model.intercept_), 4), model.dual_gap_ < 1e-3
    ([1.8, 0.0], 0.3, True)
    """

    l1_ratio = 1.0
    path = staticmethod(_lasso_path)
    _parameters: ClassVar = {k: v for k, v in PARAMETERS.items() if k != "l1_ratio"}

    def __init__(
        self, alpha=1.0, *, fit_intercept=True, precompute=False, copy_X=True, max_iter=1000,
        tol=1e-4, warm_start=False, positive=False, random_state=None, selection="cyclic",
    ):  # fmt: skip
        self._set_parameters(locals())


class MultiTaskElasticNet(_Descending):
    """The elastic net of several outputs that share their features.

    Minimises ``|Y - X coef' - intercept|^2 / (2 n) + alpha (l1_ratio sum_j |coef_j| +
    (1 - l1_ratio) / 2 |coef|^2)`` with the Euclidean norm of the coefficients of each feature: a
    feature is used by all outputs or by none.

    Parameters
    ----------
    max_iter : int, default=1000
        Most sweeps over all coordinates.

    Attributes
    ----------
    coef_, intercept_, sparse_coef_, dual_gap_, n_iter_, n_features_in_, feature_names_in_

    See Also
    --------
    ElasticNet : Each output for itself.
    MultiTaskLasso : Without the squares.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import MultiTaskElasticNet
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
    >>> model = MultiTaskElasticNet(alpha=0.1).fit(X, np.column_stack([X[:, 0], -X[:, 0]]))
    >>> model.coef_[:, 0].round(2).tolist(), model.coef_.shape
    ([0.93, -0.93], (2, 2))
    """

    path = staticmethod(ElasticNet.path)
    _words = SEVERAL_TASKS
    _together: ClassVar[bool] = True
    _ravelled: ClassVar[bool] = False
    _parameters: ClassVar = {k: v for k, v in PARAMETERS.items() if k != "positive"}

    def __init__(
        self, alpha=1.0, *, l1_ratio=0.5, fit_intercept=True, copy_X=True, max_iter=1000,
        tol=1e-4, warm_start=False, random_state=None, selection="cyclic",
    ):  # fmt: skip
        self._set_parameters(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = False
        tags.target_tags.multi_output = True
        return tags

    def _checked(self, y: np.ndarray, rows: Rows) -> np.ndarray:
        if y.ndim == 1:
            raise ValueError(
                f"{rows.owner}: y must have a column for each output, got one axis (for mono-task "
                "outputs, use ElasticNet or Lasso)"
            )
        return y


class MultiTaskLasso(MultiTaskElasticNet):
    """The lasso of several outputs that share their features.

    Minimises ``|Y - X coef' - intercept|^2 / (2 n) + alpha sum_j |coef_j|`` with the Euclidean norm
    of the coefficients of each feature.

    Parameters
    ----------
    max_iter : int, default=1000
        Most sweeps over all coordinates.

    Attributes
    ----------
    coef_, intercept_, sparse_coef_, dual_gap_, n_iter_, n_features_in_, feature_names_in_

    See Also
    --------
    Lasso : Each output for itself.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import MultiTaskLasso
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
    >>> model = MultiTaskLasso(alpha=0.1).fit(X, np.column_stack([X[:, 0], -X[:, 0]]))
    >>> model.coef_.round(2).tolist()
    [[0.94, 0.0], [-0.94, 0.0]]
    """

    l1_ratio = 1.0
    path = staticmethod(_lasso_path)
    _parameters: ClassVar = {
        k: v for k, v in PARAMETERS.items() if k not in ("positive", "l1_ratio")
    }

    def __init__(
        self, alpha=1.0, *, fit_intercept=True, copy_X=True, max_iter=1000, tol=1e-4,
        warm_start=False, random_state=None, selection="cyclic",
    ):  # fmt: skip
        self._set_parameters(locals())
