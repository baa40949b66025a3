"""Paths of the lasso's family over many penalties, and the choice of a penalty by them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import MultiOutputMixin
from sklearn.exceptions import ConvergenceWarning

from kernelmill._docstrings import Words, complete
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting_at_once, warn
from kernelmill._estimator._moments import Moments, moments_of
from kernelmill._estimator._routing import CrossValidated
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill._estimator._targets import as_vector, targets_of
from kernelmill.linear_model import _coordinate as coordinate
from kernelmill.linear_model._coordinate import Penalty
from kernelmill.linear_model._elastic_net import (
    PARAMETERS,
    ElasticNet,
    Lasso,
    MultiTaskElasticNet,
    MultiTaskLasso,
)
from kernelmill.linear_model._regression import (
    LinearRegressor,
    predicted,
)
from kernelmill.linear_model._words import DESCENT, IGNORED, SEVERAL_TASKS, WORDS

_ALPHAS = rule.Rule(
    lambda v: (rule.is_integer(v) and v >= 1) or rule.is_vector(v),
    "a whole number of at least 1 or an array of numbers",
)


_RULES = {
    **{name: PARAMETERS[name] for name in ("l1_ratio", "tol", "max_iter", "positive")},
    "eps": rule.real(0, above=True),
}


def _path(
    made: Any, weight: float, alphas: np.ndarray, l1_ratio: float, positive: bool, tol: float,
    max_iter: int, start: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, list[int]]:  # fmt: skip
    """Coefficients (n_alphas, d, m), gaps and sweeps, from each penalty to the next."""
    scales = alphas * weight
    penalties = [Penalty(float(s * l1_ratio), float(s * (1 - l1_ratio)), positive) for s in scales]
    coefs, gaps, sweeps = made.path(start, penalties, tol, max_iter)
    return coefs, gaps / weight, sweeps


def _warn_path(owner: str, gaps: np.ndarray, limit: float, max_iter: int) -> None:
    if (gaps > limit).any():
        warn(
            f"{owner}: {int((gaps > limit).sum())} of {len(gaps)} penalties did not converge in "
            f"max_iter={max_iter} sweeps, the largest duality gap is {gaps.max():.3e} and not "
            f"{limit:.3e} (raise max_iter or tol)",
            ConvergenceWarning,
        )


def _rows_of(X: Any, owner: str) -> Rows:
    """Rows of what a function is given, whose name errors tell."""
    maker = type(owner, (Estimator,), {"_accepts_sparse": True})()
    return maker._rows(X, reset=True, deferred=True)


def _how_many(alphas: Any, n_alphas: Any, owner: str) -> Any:
    """Penalties, or their number; `n_alphas` is what older releases of scikit-learn call it."""
    if n_alphas != "deprecated" and (alphas is None or rule.is_integer(alphas)):
        alphas = n_alphas
    alphas = 100 if alphas is None else alphas
    if not _ALPHAS.accepts(alphas):
        raise ValueError(f"{owner}: alphas must be {_ALPHAS.words}, got {alphas!r}")
    return alphas


def enet_path(
    X, y, *, l1_ratio=0.5, eps=1e-3, n_alphas="deprecated", alphas=100, precompute="auto", Xy=None,
    copy_X=True, coef_init=None, verbose=False, return_n_iter=False, positive=False,
    check_input=True, tol=1e-4, max_iter=1000,
):  # fmt: skip
    """Coefficients of the elastic net for many penalties, without intercepts.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, n_outputs)
        Numbers. Several outputs share their features, as in `MultiTaskElasticNet`.
    l1_ratio : float, default=0.5
        Share of the L1 penalty, above 0 where `alphas` is a number.
    tol : float, default=1e-4
        The duality gap that ends the descent, as a share of the mean square of y.
    max_iter : int, default=1000
        Most sweeps for a penalty.

    Returns
    -------
    alphas : ndarray of shape (n_alphas,)
        Penalties, the largest first.
    coefs : ndarray of shape (d, n_alphas) or (n_outputs, d, n_alphas)
        Coefficients.
    dual_gaps : ndarray of shape (n_alphas,)
        Duality gaps.
    n_iters : list of int
        Sweeps, with `return_n_iter`.

    Raises
    ------
    ValueError
        If X, y or the penalties do not fit.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` sweeps were not enough.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import enet_path
    >>> X = np.array([[1.0, -1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    >>> alphas, coefs, _ = enet_path(X, X @ [2.0, 1.0], alphas=[1.0, 2.0])
    >>> alphas.tolist(), coefs.round(2).tolist()
    ([2.0, 1.0], [[0.5, 1.0], [0.0, 0.33]])
    """
    owner = "enet_path" if l1_ratio != 1 else "lasso_path"
    for name, given in zip(_RULES, (l1_ratio, tol, max_iter, positive, eps), strict=True):
        if not _RULES[name].accepts(given):
            raise ValueError(
                f"{owner}: {name} must be {_RULES[name].words}, got {rule.shown(given)}"
            )
    alphas = _how_many(alphas, n_alphas, owner)
    rows = _rows_of(X, owner)
    y = targets_of(y, rows, vanishing=True)
    Y = y.reshape(len(y), -1)
    if positive and Y.shape[1] > 1:
        raise ValueError(f"{owner}: positive must be False for several outputs, got True")
    most = coordinate.FOR_PATHS * coordinate.MOST_PRODUCTS
    many = alphas if rule.is_integer(alphas) else np.size(alphas)
    if rows.is_dense and rows.count >= rows.n_features and many >= coordinate.MANY:
        most = max(most, coordinate.FOR_DEEP_PATHS)
    made, _, _, weight = coordinate.problem(rows, Y, False, most=most)
    grid = coordinate.alphas_of(made, weight, alphas, l1_ratio, positive, eps, owner)
    start = None
    if coef_init is not None:
        start = np.ascontiguousarray(np.atleast_2d(np.asarray(coef_init, dtype=np.float64)).T)
        if start.shape != (rows.n_features, Y.shape[1]):
            raise ValueError(
                f"{owner}: coef_init must have a coefficient for each of {rows.n_features} features"
                f" of {Y.shape[1]} outputs, got the shape {np.shape(coef_init)}"
            )
    coefs, gaps, sweeps = _path(made, weight, grid, l1_ratio, positive, tol, max_iter, start)
    _warn_path(owner, gaps, tol * made.square / weight, max_iter)
    found = np.moveaxis(coefs, 0, -1)  # (d, m, a)
    found = found[:, 0] if y.ndim == 1 else np.moveaxis(found, 1, 0)
    result = grid, np.ascontiguousarray(found, dtype=rows.dtype), gaps
    return (*result, sweeps) if return_n_iter else result


def lasso_path(
    X, y, *, eps=1e-3, n_alphas="deprecated", alphas=100, precompute="auto", Xy=None, copy_X=True,
    coef_init=None, verbose=False, return_n_iter=False, positive=False, check_input=True, tol=1e-4,
    max_iter=1000,
):  # fmt: skip
    """Coefficients of the lasso for many penalties, without intercepts.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, n_outputs)
        Numbers. Several outputs share their features, as in `MultiTaskLasso`.
    tol : float, default=1e-4
        The duality gap that ends the descent, as a share of the mean square of y.
    max_iter : int, default=1000
        Most sweeps for a penalty.

    Returns
    -------
    alphas : ndarray of shape (n_alphas,)
        Penalties, the largest first.
    coefs : ndarray of shape (d, n_alphas) or (n_outputs, d, n_alphas)
        Coefficients.
    dual_gaps : ndarray of shape (n_alphas,)
        Duality gaps.
    n_iters : list of int
        Sweeps, with `return_n_iter`.

    Raises
    ------
    ValueError
        If X, y or the penalties do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import lasso_path
    >>> X = np.array([[1.0, -1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    >>> alphas, coefs, gaps = lasso_path(X, X @ [2.0, 1.0], alphas=[0.5, 1.5])
    >>> alphas.tolist(), coefs.round(2).tolist(), gaps.shape
    ([1.5, 0.5], [[0.5, 1.5], [0.0, 0.5]], (2,))
    """
    return enet_path(
        X, y, l1_ratio=1.0, eps=eps, n_alphas=n_alphas, alphas=alphas, coef_init=coef_init,
        return_n_iter=return_n_iter, positive=positive, tol=tol, max_iter=max_iter,
    )  # fmt: skip


_PATH_WORDS = Words(
    arguments={
        "X": ("{array-like, sparse matrix} of shape (n, d), or a stream",
            "Rows; centre them, and y, where an intercept is wanted."),
        "eps": ("float", "The least penalty as a share of the largest, where `alphas` is a "
            "number."),
        "n_alphas": ('int or "deprecated"', "The number of penalties, as older releases of "
            "scikit-learn have it; `alphas` gives it, too."),
        "alphas": ("int or array-like", "Penalties, or how many, evenly spaced in the logarithm "
            "from the least that leaves no coefficient."),
        **{name: ("ignored", IGNORED) for name in ("precompute", "Xy", "copy_X")},
        "coef_init": ("array-like of shape (d,) or (n_outputs, d)",
            "Coefficients to start from."),
        "verbose": ("bool", IGNORED),
        "return_n_iter": ("bool", "Whether to return the numbers of sweeps as well."),
        "positive": WORDS.parameters["positive"],
        "check_input": ("bool", IGNORED),
    },
)
complete(enet_path, _PATH_WORDS)
complete(lasso_path, _PATH_WORDS)


def squared_errors(part: Moments, coefs: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
    """Weighted mean squared errors (a, m) of rows by their moments, for coefficients (a, d, m)."""
    shift = part.y_mean - np.tensordot(coefs, part.x_mean, (1, 0)) - intercepts
    if not part.d:
        return shift * shift
    along = np.ascontiguousarray(coefs.transpose(1, 0, 2))  # (d, a, m): one product for all
    turned = (part.xx @ along.reshape(part.d, -1)).reshape(along.shape)
    rest = np.diag(part.yy) + (along * (turned - 2 * part.xy[:, None])).sum(0)
    return np.maximum(rest, 0) / part.weight + shift * shift


class _Chosen(CrossValidated, LinearRegressor):
    """The choice of the penalties by the squared error of rows left out."""

    _words = DESCENT
    _model: ClassVar[Any]
    _together: ClassVar[bool] = False
    positive = False

    @fitting_at_once
    def fit(self, X, y, sample_weight=None, **params):
        """Follow the path for each fold, choose the penalties, and fit with them.

        Raises
        ------
        ValueError
            If X, y or the penalties do not fit.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` sweeps were not enough.
        """
        self._refuse_stream(X, "rows are split into folds; lasso_path reads streams")
        rows = self._rows(X, sample_weight, reset=True, deferred=True)
        y = targets_of(y, rows, vanishing=True)
        if self._together != (y.ndim == 2):
            if self._together:
                raise ValueError(
                    f"{rows.owner}: y must have a column for each output, got one axis (for "
                    f"mono-task outputs, use {rows.owner[9:]})"
                )
            if y.shape[1] > 1:
                raise ValueError(
                    f"{rows.owner}: y must be a vector, got {y.shape[1]} columns (for multi-task "
                    f"outputs, use MultiTask{rows.owner})"
                )
            y = as_vector(y, rows.owner)
        Y = y.reshape(len(y), -1)
        ratios = np.atleast_1d(np.asarray(getattr(self, "l1_ratio", 1.0), dtype=np.float64))
        whole = self._whole(rows, Y)
        made = coordinate.of_moments(whole) if isinstance(whole, Moments) else whole
        grids = [
            coordinate.alphas_of(
                made, whole.weight, self.alphas, ratio, self.positive, self.eps, rows.owner
            )
            for ratio in ratios
        ]
        folds = self._folds(rows, y, self._routed("fit", rows.weight, params)[0])
        errors = np.empty((len(ratios), len(folds), len(grids[0])))
        for f, (train, test) in enumerate(folds):
            errors[:, f] = self._errors(rows, Y, whole, train, test, ratios, grids)
        mean = errors.mean(1)
        best = np.unravel_index(mean.argmin(), mean.shape)
        self.mse_path_ = np.squeeze(np.moveaxis(errors, 2, 1))
        self.alphas_ = grids[0] if len(ratios) == 1 or not rule.is_integer(self.alphas) else (
            np.array(grids)
        )  # fmt: skip
        self.alpha_ = float(grids[best[0]][best[1]])
        options = {"alpha": self.alpha_}
        if hasattr(self, "l1_ratio"):
            self.l1_ratio_ = float(ratios[best[0]])
            options["l1_ratio"] = self.l1_ratio_
        for name in ("fit_intercept", "max_iter", "tol", "positive", "random_state", "selection"):
            if name in self._model._parameters:
                options[name] = getattr(self, name)
        model = self._model(**options).fit(rows, y)
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        self.dual_gap_, self.n_iter_ = model.dual_gap_, model.n_iter_
        return self

    def _whole(self, rows: Rows, Y: np.ndarray) -> Any:
        """The moments of all rows, or the problem in working sets."""
        if rows.n_features <= coordinate.FOR_PATHS * coordinate.MOST_PRODUCTS:
            return moments_of(rows, Y, centred=self.fit_intercept)
        return coordinate.WorkingSets(rows, Y, self.fit_intercept)

    def _errors(
        self, rows: Rows, Y: np.ndarray, whole: Any, train: np.ndarray, test: np.ndarray,
        ratios: np.ndarray, grids: list[np.ndarray],
    ) -> np.ndarray:  # fmt: skip
        """Mean squared errors of the rows left out (n_ratios, n_alphas)."""
        centred = self.fit_intercept
        held = rows.part(test)
        if isinstance(whole, Moments):
            both = np.concatenate([train, test])
            others = len(both) != rows.count or len(np.unique(both)) != rows.count
            part = moments_of(held, Y[test], centred=centred, origin=whole.origin)
            if others:
                fitted = moments_of(rows.part(train), Y[train], centred=centred)
            elif centred:
                fitted = whole.without(part)
            else:
                fitted = moments_of(rows.part(train), Y[train], centred=False)
            made: Any = coordinate.of_moments(fitted)
            x_mean, y_mean, weight = fitted.x_mean, fitted.y_mean, fitted.weight
        else:
            made = coordinate.WorkingSets(rows.part(train), Y[train], centred)
            x_mean, y_mean, weight = made.x_mean, made.y_mean, made.weight
        errors = np.empty((len(ratios), len(grids[0])))
        for r, (ratio, alphas) in enumerate(zip(ratios, grids, strict=True)):
            coefs, gaps, _ = _path(
                made, weight, alphas, ratio, self.positive, self.tol, self.max_iter
            )
            _warn_path(rows.owner, gaps, self.tol * made.square / weight, self.max_iter)
            intercepts = y_mean - np.tensordot(coefs, x_mean, (1, 0))
            if isinstance(whole, Moments):
                errors[r] = squared_errors(part, coefs, intercepts).mean(1)
                continue
            for a, coef in enumerate(coefs):
                rest = (Y[test] - predicted(held.X, coef.T, intercepts[a])) ** 2
                errors[r, a] = np.average(rest, axis=0, weights=held.weight).mean()
        return errors


_CV_PARAMETERS = {
    **{k: v for k, v in PARAMETERS.items() if k not in ("alpha", "warm_start", "l1_ratio")},
    "alphas": _ALPHAS,
    "eps": rule.real(0, above=True),
}
_RATIO = rule.Rule(
    lambda v: (rule.is_real(v) or rule.is_vector(v)) and np.min(v) >= 0 and np.max(v) <= 1,
    "a number between 0 and 1 or a list of them",
)


class ElasticNetCV(_Chosen):
    """The elastic net with penalties chosen by cross-validation along its paths.

    Parameters
    ----------
    l1_ratio : float or list of float, default=0.5
        Shares of the L1 penalty to choose from.
    max_iter : int, default=1000
        Most sweeps for a penalty.

    Attributes
    ----------
    coef_, intercept_, alpha_
    l1_ratio_ : float
        The share that was chosen.
    alphas_ : ndarray of shape (n_alphas,) or (n_l1_ratio, n_alphas)
        Penalties, the largest first.
    mse_path_ : ndarray of shape (n_alphas, n_folds) or (n_l1_ratio, n_alphas, n_folds)
        Mean squared errors of the rows left out.
    dual_gap_, n_iter_, n_features_in_, feature_names_in_

    See Also
    --------
    ElasticNet : With given penalties.

    Notes
    -----
    Up to 768 features one pass over the rows serves all folds: the products of the rows of a fold
    are taken off those of all rows, and give its errors as well.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import ElasticNetCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 4))
    >>> model = ElasticNetCV(l1_ratio=[0.5, 0.9]).fit(X, X[:, 0] + 0.1 * rng.normal(size=60))
    >>> model.l1_ratio_, model.mse_path_.shape, abs(model.coef_).round(1).tolist()
    (0.9, (2, 100, 5), [1.0, 0.0, 0.0, 0.0])
    """

    _model = ElasticNet
    path = staticmethod(enet_path)
    _parameters: ClassVar = {**_CV_PARAMETERS, "l1_ratio": _RATIO}

    def __init__(
        self, *, l1_ratio=0.5, eps=1e-3, alphas=100, fit_intercept=True, precompute="auto",
        max_iter=1000, tol=1e-4, cv=None, copy_X=True, verbose=0, n_jobs=None, positive=False,
        random_state=None, selection="cyclic",
    ):  # fmt: skip
        self._set_parameters(locals())


class LassoCV(_Chosen):
    """The lasso with a penalty chosen by cross-validation along its path.

    Parameters
    ----------
    max_iter : int, default=1000
        Most sweeps for a penalty.

    Attributes
    ----------
    coef_, intercept_, alpha_
    alphas_ : ndarray of shape (n_alphas,)
        Penalties, the largest first.
    mse_path_ : ndarray of shape (n_alphas, n_folds)
        Mean squared errors of the rows left out.
    dual_gap_, n_iter_, n_features_in_, feature_names_in_

    See Also
    --------
    Lasso : With a given penalty.
    lasso_path : The path itself.

    Notes
    -----
    See `ElasticNetCV`.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import LassoCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 4))
    >>> model = LassoCV().fit(X, X[:, 0] + 0.1 * rng.normal(size=60))
    >>> abs(model.coef_).round(1).tolist(), model.alphas_.shape, 0 < model.alpha_ < 0.1
    ([1.0, 0.0, 0.0, 0.0], (100,), True)
    """

    _model = Lasso
    path = staticmethod(lasso_path)
    _parameters: ClassVar = _CV_PARAMETERS

    def __init__(
        self, *, eps=1e-3, alphas=100, fit_intercept=True, precompute="auto", max_iter=1000,
        tol=1e-4, copy_X=True, cv=None, verbose=False, n_jobs=None, positive=False,
        random_state=None, selection="cyclic",
    ):  # fmt: skip
        self._set_parameters(locals())


_SEVERAL = {k: v for k, v in _CV_PARAMETERS.items() if k != "positive"}


class _SeveralTasks(MultiOutputMixin, _Chosen):
    _words = SEVERAL_TASKS
    _together: ClassVar[bool] = True
    _ravelled: ClassVar[bool] = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = False
        return tags


class MultiTaskElasticNetCV(_SeveralTasks):
    """The elastic net of several outputs with penalties chosen by cross-validation.

    Parameters
    ----------
    l1_ratio : float or list of float, default=0.5
        Shares of the penalty of the norms to choose from.
    max_iter : int, default=1000
        Most sweeps for a penalty.

    Attributes
    ----------
    coef_, intercept_, alpha_
    l1_ratio_ : float
        The share that was chosen.
    alphas_ : ndarray of shape (n_alphas,) or (n_l1_ratio, n_alphas)
        Penalties, the largest first.
    mse_path_ : ndarray of shape (n_alphas, n_folds) or (n_l1_ratio, n_alphas, n_folds)
        Mean squared errors of the rows left out.
    dual_gap_, n_iter_, n_features_in_, feature_names_in_

    See Also
    --------
    MultiTaskElasticNet : With given penalties.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import MultiTaskElasticNetCV
    >>> X = np.random.default_rng(0).normal(size=(40, 3))
    >>> model = MultiTaskElasticNetCV(cv=3).fit(X, X[:, :2])
    >>> model.coef_.shape, model.mse_path_.shape
    ((2, 3), (100, 3))
    """

    _model = MultiTaskElasticNet
    path = staticmethod(enet_path)
    _parameters: ClassVar = {**_SEVERAL, "l1_ratio": _RATIO}

    def __init__(
        self, *, l1_ratio=0.5, eps=1e-3, alphas=100, fit_intercept=True, max_iter=1000, tol=1e-4,
        cv=None, copy_X=True, verbose=0, n_jobs=None, random_state=None, selection="cyclic",
    ):  # fmt: skip
        self._set_parameters(locals())


class MultiTaskLassoCV(_SeveralTasks):
    """The lasso of several outputs with a penalty chosen by cross-validation.

    Parameters
    ----------
    max_iter : int, default=1000
        Most sweeps for a penalty.

    Attributes
    ----------
    coef_, intercept_, alpha_
    alphas_ : ndarray of shape (n_alphas,)
        Penalties, the largest first.
    mse_path_ : ndarray of shape (n_alphas, n_folds)
        Mean squared errors of the rows left out.
    dual_gap_, n_iter_, n_features_in_, feature_names_in_

    See Also
    --------
    MultiTaskLasso : With a given penalty.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import MultiTaskLassoCV
    >>> X = np.random.default_rng(0).normal(size=(40, 3))
    >>> MultiTaskLassoCV(cv=3).fit(X, X[:, :2]).coef_.shape
    (2, 3)
    """

    _model = MultiTaskLasso
    path = staticmethod(lasso_path)
    _parameters: ClassVar = _SEVERAL

    def __init__(
        self, *, eps=1e-3, alphas=100, fit_intercept=True, max_iter=1000, tol=1e-4, copy_X=True,
        cv=None, verbose=False, n_jobs=None, random_state=None, selection="cyclic",
    ):  # fmt: skip
        self._set_parameters(locals())
