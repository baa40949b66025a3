"""Features one after another: orthogonal matching pursuit and least angles, in products."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.linalg import lapack
from sklearn.base import MultiOutputMixin

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting_at_once
from kernelmill._estimator._moments import moments_of
from kernelmill._estimator._targets import targets_of
from kernelmill.linear_model._coordinate import of_moments
from kernelmill.linear_model._regression import LinearRegressor
from kernelmill.linear_model._words import IGNORED, WORDS
from kernelmill.ops import coordinate

_EPS = float(np.finfo(np.float64).eps)


class OrthogonalMatchingPursuit(MultiOutputMixin, LinearRegressor):
    """Least squares of a few features: the one nearest to the residuals joins each time.

    Parameters
    ----------
    n_nonzero_coefs : int or None, default=None
        Number of features; a tenth of them, at least one, by default. Ignored with `tol`.
    tol : float or None, default=None
        Sum of squared residuals that ends the pursuit.
    precompute : {"auto", True, False}, default="auto"
        Ignored: products of features are used.

    Attributes
    ----------
    coef_, intercept_
    n_iter_ : int or ndarray of shape (n_outputs,)
        Number of features.
    n_nonzero_coefs_ : int or None
        Number of features that was asked for.
    n_features_in_, feature_names_in_

    See Also
    --------
    Lars : Coefficients grow together.
    Lasso : With a penalty of the sizes.

    References
    ----------
    Rubinstein, Zibulevsky and Elad (2008), "Efficient implementation of the K-SVD algorithm using
    batch orthogonal matching pursuit".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import OrthogonalMatchingPursuit
    >>> X = np.random.default_rng(0).normal(size=(50, 10))
    >>> model = OrthogonalMatchingPursuit(n_nonzero_coefs=2).fit(X, X[:, 3] - 2 * X[:, 7])
    >>> np.flatnonzero(model.coef_).tolist(), model.coef_[[3, 7]].round(6).tolist()
    ([3, 7], [1.0, -2.0])
    """

    _words = WORDS
    _parameters: ClassVar = {
        "n_nonzero_coefs": rule.any_of(rule.integer(1), rule.nothing()),
        "tol": rule.any_of(rule.real(0), rule.nothing()),
        "fit_intercept": rule.boolean(),
    }

    def __init__(
        self, *, n_nonzero_coefs=None, tol=None, fit_intercept=True, precompute="auto"
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Choose features and find their coefficients.

        Raises
        ------
        ValueError
            If X or y do not fit, or more coefficients are asked for than there are features.
        """
        rows = self._rows(X, sample_weight, reset=True)
        y = targets_of(y, rows, vanishing=True)
        Y = y.reshape(len(y), -1)
        moments = moments_of(rows, Y, centred=self.fit_intercept)
        d = moments.d
        most = self.n_nonzero_coefs
        if self.tol is not None:
            most = None
        elif most is None:
            most = max(int(0.1 * d), 1)
        if most is not None and most > d:
            raise ValueError(
                f"{rows.owner}: n_nonzero_coefs must be at most the number of features, got {most} "
                f"for {d}"
            )
        self.n_nonzero_coefs_ = most
        made = of_moments(moments)
        limit = min(d, moments.count) if most is None else most
        coef, counts = coordinate.pursuits(
            made.G, made.Q.T, np.diag(moments.yy), limit, -1.0 if self.tol is None else self.tol
        )
        self.n_iter_ = int(counts[0]) if len(counts) == 1 else counts
        self._set_model(coef, moments.x_mean, moments.y_mean, rows, y.ndim == 1)
        return self


@np.errstate(divide="ignore", invalid="ignore")
def angles(
    G: np.ndarray, q: np.ndarray, n: float, *, lasso: bool, positive: bool, most: int,
    least: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, list[int]]:  # fmt: skip
    """The path of least angles, or of the lasso: penalties, coefficients (steps, d), features.

    At each knot the active features have gradients of one size, the penalty; coefficients move so
    that these shrink together until another feature has the same, or, for the lasso, one of them is
    zero and leaves.
    """
    d = len(q)
    active: list[int] = []
    coef, signs = np.zeros(d), np.zeros(d)
    side = np.maximum if positive else (lambda a, b: np.abs(a))
    level = float(side(q, 0).max(initial=0.0))
    start = level
    alphas, path = [level / n], [coef.copy()]
    dropped = -1
    while level > max(least * n, 4 * _EPS * d * start) and len(alphas) <= most:
        gradient = q - G @ coef
        if dropped < 0:
            size = side(gradient, 0)
            size[active] = -np.inf
            joins = (size >= level * (1 - 1e-10) - 1e-13 * start).nonzero()[0]
            for j in joins:
                both = [*active, int(j)]
                # Of one feature the only eigenvalue: most codes of few atoms need no other.
                values = (
                    lapack.dsyevd(G[both][:, both], compute_v=0)[0] if active else G[j, j : j + 1]
                )
                if values[0] > 1e-12 * values[-1]:
                    active.append(int(j))
                    signs[j] = np.sign(gradient[j])
                else:  # depends on the others: never joins
                    q = q.copy()
                    q[j] = 0.0
                    G = G.copy()
                    G[j] = G[:, j] = 0.0
        if not active:
            break
        move = np.zeros(d)
        if len(active) == 1:
            move[active] = signs[active] / G[active, active]
        else:
            move[active] = lapack.dposv(G[active][:, active], signs[active])[1]
        turn = G @ move
        length = level  # down to zero
        outside = np.ones(d, dtype=bool)
        outside[active] = False
        steps = (level - gradient) / (1 - turn)  # up to the bound above
        down = (level + gradient) / (1 + turn)
        zeros = -coef / move if lasso else coef
        if dropped >= 0:  # it is at its bound, which it leaves, but it may reach the other one
            (steps if signs[dropped] > 0 else down)[dropped] = np.inf
        steps[~(outside & (steps > 1e-13 * start))] = np.inf
        if not positive:
            down[~(outside & (down > 1e-13 * start))] = np.inf
            steps = np.minimum(steps, down)
        length = min(length, float(steps.min(initial=np.inf)))
        dropped = -1
        if lasso:
            zeros[outside | ~((zeros > 1e-13 * start) & (move != 0))] = np.inf
            if zeros.min(initial=np.inf) < length:
                dropped = int(zeros.argmin())
                length = float(zeros[dropped])
        if level - length < least * n:
            length, dropped = level - least * n, -1
        coef = coef + length * move
        level -= length
        if dropped >= 0:
            coef[dropped] = 0.0
            active.remove(dropped)
        alphas.append(level / n)
        path.append(coef.copy())
    return np.array(alphas), np.array(path), active


class _LeastAngles(MultiOutputMixin, LinearRegressor):
    """Base of both paths."""

    _words = WORDS.extended(
        parameters={
            "verbose": ("bool or int", IGNORED),
            "precompute": ('bool, "auto" or array', "Ignored: products of features are used."),
            "eps": ("float", IGNORED),
            "fit_path": ("bool", "Whether to keep the path."),
            "jitter": ("float or None", IGNORED),
        },
        attributes={
            "active_": ("list of int or list of such", "Features used at the end."),
            "n_iter_": ("int or list of int", "Number of steps."),
        },
    )
    _lasso: ClassVar[bool] = False
    positive = False

    def _followed(self, X: Any, y: Any, sample_weight: Any, most: int, least: float) -> Any:
        rows = self._rows(X, sample_weight, reset=True)
        y = targets_of(y, rows, vanishing=True)
        Y = y.reshape(len(y), -1)
        moments = moments_of(rows, Y, centred=self.fit_intercept)
        coef = np.empty((Y.shape[1], moments.d))
        found = []
        made = of_moments(moments)
        for t in range(Y.shape[1]):
            alphas, path, active = angles(
                made.G, made.Q[:, t], moments.weight, lasso=self._lasso, positive=self.positive,
                most=most, least=least,
            )  # fmt: skip
            coef[t] = path[-1]
            found.append((alphas, path.T.astype(rows.dtype), active, len(alphas) - 1))
        one = len(found) == 1
        names = ("alphas_", "coef_path_", "active_", "n_iter_")
        for name, values in zip(names, zip(*found, strict=True), strict=True):
            if self.fit_path or name in ("n_iter_", "alphas_"):
                setattr(self, name, values[0] if one else list(values))
        self._set_model(coef, moments.x_mean, moments.y_mean, rows, y.ndim == 1)
        return self


class Lars(_LeastAngles):
    """Least angle regression: coefficients grow so that all features used stay equally near.

    Parameters
    ----------
    n_nonzero_coefs : int, default=500
        Most features.

    Attributes
    ----------
    coef_, intercept_
    alphas_ : ndarray of shape (n_steps + 1,) or list of such
        Products of the features used with the residuals, over n.
    coef_path_ : ndarray of shape (d, n_steps + 1) or list of such
        Coefficients along the path.
    active_, n_iter_, n_features_in_, feature_names_in_

    See Also
    --------
    LassoLars : Features may leave.

    References
    ----------
    Efron, Hastie, Johnstone and Tibshirani (2004), "Least angle regression".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import Lars
    >>> X = np.array([[-1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    >>> model = Lars(n_nonzero_coefs=1).fit(X, [-1.1111, 0, -1.1111])
    >>> (model.coef_.round(4) + 0).tolist(), model.alphas_.shape
    ([0.0, -1.1111], (2,))
    """

    _parameters: ClassVar = {
        "fit_intercept": rule.boolean(),
        "n_nonzero_coefs": rule.integer(1),
        "fit_path": rule.boolean(),
        "copy_X": rule.boolean(),
    }

    def __init__(
        self, *, fit_intercept=True, verbose=False, precompute="auto", n_nonzero_coefs=500,
        eps=2.220446049250313e-16, copy_X=True, fit_path=True, jitter=None, random_state=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Follow the path.

        Raises
        ------
        ValueError
            If X or y do not fit.
        """
        return self._followed(X, y, sample_weight, self.n_nonzero_coefs, 0.0)


class LassoLars(_LeastAngles):
    """The lasso by its path, which is piecewise linear: exact at every penalty.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, as in `Lasso`.
    max_iter : int, default=500
        Most steps.

    Attributes
    ----------
    coef_, intercept_
    alphas_ : ndarray of shape (n_steps + 1,) or list of such
        Penalties at the knots of the path.
    coef_path_ : ndarray of shape (d, n_steps + 1) or list of such
        Coefficients at the knots.
    active_, n_iter_, n_features_in_, feature_names_in_

    See Also
    --------
    Lasso : By coordinate descent, faster where many features are used.

    References
    ----------
    Efron, Hastie, Johnstone and Tibshirani (2004), "Least angle regression".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import LassoLars
    >>> X = np.arange(1.0, 6.0)[:, None]
    >>> model = LassoLars(alpha=1.0).fit(X, 2 * X[:, 0])
    >>> model.coef_.round(6).tolist(), model.alphas_.round(6).tolist()
    ([1.5], [4.0, 1.0])
    """

    _lasso: ClassVar[bool] = True
    _parameters: ClassVar = {
        "alpha": rule.real(0),
        "fit_intercept": rule.boolean(),
        "max_iter": rule.integer(1),
        "fit_path": rule.boolean(),
        "copy_X": rule.boolean(),
        "positive": rule.boolean(),
    }

    def __init__(
        self, alpha=1.0, *, fit_intercept=True, verbose=False, precompute="auto", max_iter=500,
        eps=2.220446049250313e-16, copy_X=True, fit_path=True, positive=False, jitter=None,
        random_state=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Follow the path down to `alpha`.

        Raises
        ------
        ValueError
            If X or y do not fit.
        """
        return self._followed(X, y, sample_weight, self.max_iter, self.alpha)
