"""SVR and NuSVR."""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._targets import as_vector, targets_of
from kernelmill.ops import svm as ops
from kernelmill.svm import _problems
from kernelmill.svm._base import NU, PARAMETERS, C, SupportVectorMachine
from kernelmill.svm._training import Solved, Training, solve
from kernelmill.svm._warm import values_before


class SingleMachine(SupportVectorMachine):
    """Base of the machines with one problem and one decision function."""

    warm_start = False  # of those without the parameter
    intercept_: Any

    def _problem(self, y: np.ndarray, weights: np.ndarray, scale: float) -> _problems.Problem:
        raise NotImplementedError

    def _signed(self, beta: np.ndarray, count: int) -> np.ndarray:
        """Multipliers of the rows."""
        return beta

    def _constant_of(self, problem: _problems.Problem, b: np.ndarray, g: np.ndarray) -> float:
        """The constant of the decision function."""
        return float(np.mean(problem.multipliers(b, g)))

    def _solve(self, X: Any, y: Any, sample_weight: Any, targets: np.ndarray, rows: Any) -> Any:
        owner, weights = rows.owner, self._weights(rows)
        kept = np.flatnonzero(weights > 0)
        kernel = self._fitted_kernel(rows.X, kept, weights)
        given = self._given_values(kernel, rows.X, kept, owner)
        used = rows.X if len(kept) == rows.count else rows.X[kept]
        size = float(np.abs(kernel.diagonal(used if given is None else given)).mean())
        problem = self._problem(targets[kept], weights[kept], size)
        before = values_before(self, rows.count)
        if before is not None:
            problem = before.started(problem, kept[problem.rows], self._cost)
        training = self._training(kernel, used, given, [problem], weights[kept])

        def attributes(solved: Solved, n_iter: int) -> dict[str, Any]:
            return self._attributes(training, solved, kernel, rows.X, kept)

        solved = solve(self, training, attributes, (X, y, sample_weight))
        self.__dict__.update(attributes(solved, 0))
        return self

    def _attributes(
        self, training: Training, solved: Solved, kernel: Any, X: Any, kept: np.ndarray
    ) -> dict[str, Any]:
        ((problem, b, g),) = training.parts(solved)
        rho = self._constant_of(problem, b, g)
        multipliers = self._signed(b, len(kept))
        support = np.flatnonzero(multipliers)
        found = self._remember(kernel, X, kept, support, training.origin)
        after = copy(self)  # this model stays as it is until the fit has ended
        after.__dict__.update(found)
        coef = multipliers[support][None, :]
        found |= {
            "dual_coef_": after._as_rows(coef),
            "_constant": rho,
            "intercept_": np.array([rho - float(after._shift(coef.T)[0])]),
            "n_iter_": int(max(1, solved.column("steps")[0])),
            "n_support_": np.array([len(support)], dtype=np.int32),
            "dual_gap_": problem.gap_without_bounds(b, g) if self._hard else problem.gap(b, g),
            "fit_status_": int(solved.column("status")[0] == ops.STALLED),
        }
        if kernel.name == "linear":
            found["coef_"] = after._as_rows(after._weighted(after.support_vectors_, coef.T).T)
        return found

    def _values(self, X: Any) -> np.ndarray:
        return self._kernel_sums(X, self._dual.T).ravel() + self._constant


class _Regressor(RegressorMixin, SingleMachine):
    @fitting
    def fit(self, X, y, sample_weight=None):
        """Solve the dual problem.

        Raises
        ------
        ValueError
            If X, y, weights or a parameter do not fit.

        Warns
        -----
        ConvergenceWarning
            If the fit ended before its tolerance was met, or the kernel is not positive
            semi-definite.
        """
        return self._fit(X, y, sample_weight)

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> Any:
        rows = self._checked(self._rows(X, sample_weight, reset=True))
        targets = as_vector(targets_of(y, rows), rows.owner)
        return self._solve(X, y, sample_weight, targets, rows)

    def predict(self, X):
        """Values of the fitted function.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        y : ndarray of shape (n,)
            Predictions.
        """
        return self._mapped_rows(X, self._values)


class SVR(_Regressor):
    """Support vector regression: errors up to `epsilon` are free, larger ones cost their size.

    Parameters
    ----------
    epsilon : float, default=0.1
        Half width of the tube of free errors.

    Attributes
    ----------
    coef_, dual_coef_, dual_gap_, fit_status_, intercept_, n_iter_, n_support_, shape_fit_
    support_, support_vectors_
    n_features_in_, feature_names_in_

    See Also
    --------
    NuSVR : The width of the tube from the share of rows outside.
    SVC : The same for classes.

    Notes
    -----
    The solver is described in docs/kernel-methods.md. Results have the same bits at any thread
    count.

    References
    ----------
    Smola and Schoelkopf (2004), "A tutorial on support vector regression".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.svm import SVR
    >>> X = np.linspace(0, 6, 60)[:, None]
    >>> model = SVR(C=10.0, epsilon=0.01).fit(X, np.sin(X).ravel())
    >>> bool(abs(model.predict([[1.0]])[0] - np.sin(1.0)) < 0.03)
    True
    >>> model.dual_coef_.shape[1] == len(model.support_)
    True
    """

    _parameters: ClassVar = {
        **PARAMETERS,
        "C": C,
        "epsilon": rule.real(0),
        "warm_start": rule.boolean(),
    }

    def __init__(
        self, *, kernel="rbf", degree=3, gamma="scale", coef0=0.0, tol=1e-3, C=1.0, epsilon=0.1,
        shrinking=True, cache_size=200, verbose=False, max_iter=-1, warm_start=False,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _problem(self, y: np.ndarray, weights: np.ndarray, scale: float) -> _problems.Problem:
        rows = np.arange(len(y), dtype=np.int32)
        return _problems.values(rows, y, self._cost * weights, self.epsilon)


class NuSVR(_Regressor):
    """Support vector regression whose tube is as wide as the share `nu` of rows outside allows.

    Parameters
    ----------
    C : float, default=1.0
        Price of an error: the bound of the multipliers. Larger is stricter; finite.
    nu : float, default=0.5
        Upper bound of the share of rows outside the tube, and lower bound of the share of support
        vectors; in (0, 1].

    Attributes
    ----------
    coef_, dual_coef_, dual_gap_, fit_status_, intercept_, n_iter_, n_support_, shape_fit_
    support_, support_vectors_
    n_features_in_, feature_names_in_

    See Also
    --------
    SVR : A tube of given width.

    References
    ----------
    Schoelkopf, Smola, Williamson and Bartlett (2000), "New support vector algorithms".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.svm import NuSVR
    >>> X = np.linspace(0, 6, 60)[:, None]
    >>> model = NuSVR(nu=0.3, C=10.0).fit(X, np.sin(X).ravel())
    >>> model.score(X, np.sin(X).ravel()) > 0.99
    True
    """

    # No share of an infinite price: it must be finite.
    _parameters: ClassVar = {**PARAMETERS, "C": rule.real(0, above=True), "nu": NU}

    def __init__(
        self, *, nu=0.5, C=1.0, kernel="rbf", degree=3, gamma="scale", coef0=0.0, shrinking=True,
        tol=1e-3, cache_size=200, verbose=False, max_iter=-1,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _problem(self, y: np.ndarray, weights: np.ndarray, scale: float) -> _problems.Problem:
        rows = np.arange(len(y), dtype=np.int32)
        return _problems.nu_values(rows, y, self._cost * weights, self.nu)

    def _signed(self, beta: np.ndarray, count: int) -> np.ndarray:
        return beta[:count] + beta[count:]
