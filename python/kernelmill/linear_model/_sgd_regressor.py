"""Linear regression by stochastic gradient descent."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import as_vector, targets_of
from kernelmill.linear_model._stochastic import (
    ATTRIBUTES,
    AVERAGE,
    DOCUMENTED,
    NOTES,
    PARAMETERS,
    PENALTIES,
    PENALTY,
    RATE,
    RATES,
    STOPPING,
    WARM,
    StochasticModel,
)


class VectorRegressor(RegressorMixin, StochasticModel):
    """Base of the regressors: one vector of targets, one model."""

    _classifies: ClassVar[bool] = False

    def _outputs(self) -> int:
        return 1

    def _targets(self, y: Any, rows: Rows) -> np.ndarray:
        return as_vector(targets_of(y, rows, squared=False), rows.owner)

    @fitting
    def fit(self, X, y, coef_init=None, intercept_init=None, sample_weight=None):
        """Train on these rows until the objective brings no gain.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.
        y : array-like of shape (n,)
            Numbers, in memory even if X is a stream.
        coef_init : array-like of shape (d,), optional
            Coefficients to start from; zeros by default.
        intercept_init : array-like of shape (1,), optional
            Intercept to start from; zero by default.
        sample_weight : array-like of shape (n,), optional
            Factors of the steps of the rows.

        Returns
        -------
        self : object
            The fitted model.

        Raises
        ------
        ValueError
            If X, y or a start do not fit, or the weights leave the range of numbers.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` epochs were not enough.
        """
        again = self.warm_start and hasattr(self, "coef_")
        rows = self._rows(X, sample_weight, reset=True)
        start = self._start_of(again, coef_init, intercept_init)
        given = X, y, sample_weight
        return self._train(rows, self._targets(y, rows), start, given, partial=False)

    @fitting
    def partial_fit(self, X, y, sample_weight=None):
        """One epoch over these rows, going on from the last call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.
        y : array-like of shape (n,)
            Numbers.
        sample_weight : array-like of shape (n,), optional
            Factors of the steps of the rows.

        Returns
        -------
        self : object
            The model after this epoch.

        Raises
        ------
        ValueError
            If X or y do not fit, or ``early_stopping`` is set.
        """
        self._refuse_early_stopping()
        first = not hasattr(self, "coef_")
        rows = self._rows(X, sample_weight, reset=first, once=True)
        start = (None, None) if first else (self.coef_, self.intercept_)
        given = X, y, sample_weight
        return self._train(rows, self._targets(y, rows), start, given, partial=True)

    def predict(self, X):
        """Predicted numbers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.

        Returns
        -------
        y : ndarray of shape (n,)
            Predictions.
        """
        return self._scores(X).ravel()

    def _held_out_scores(self, found: np.ndarray, y: np.ndarray, weight: Any) -> np.ndarray:
        """R2."""
        mean = np.average(y, weights=weight)
        residual = np.average((y - found.ravel()) ** 2, weights=weight)
        spread = np.average((y - mean) ** 2, weights=weight)
        return np.array([1 - residual / spread if spread > 0 else 0.0])


class SGDRegressor(VectorRegressor):
    __doc__ = f"""Linear regression trained by stochastic gradient descent.

    Parameters
    ----------
    loss : {{"squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"}}, \
default="squared_error"
        ``"huber"`` is linear beyond epsilon; ``"epsilon_insensitive"`` is that of support vector
        regression.
    penalty : {{"l2", "l1", "elasticnet"}} or None, default="l2"
        Penalty of the weights.
    {PENALTY}{DOCUMENTED}epsilon : float, default=0.1
        Width of ``"huber"`` and of the losses that are insensitive within epsilon.
    random_state : int, RandomState, Generator or None, default=None
        Seed or generator; pass an int for reproducible results.
    {RATE.format(rates='{"constant", "optimal", "invscaling", "adaptive", "pa1", "pa2"}',
                 rate='"invscaling"', aggressive='"epsilon_insensitive"', power=0.25)}{STOPPING}\
{WARM}{AVERAGE}
    Attributes
    ----------
    coef_ : ndarray of shape (d,), dtype of X
        Weights.
    intercept_ : ndarray of shape (1,), dtype of X
        Intercept.
    {ATTRIBUTES}

    See Also
    --------
    SGDClassifier : The same for classes.

    Notes
    -----
    {NOTES}

    References
    ----------
    Bottou (2012), "Stochastic gradient descent tricks". Crammer et al. (2006), "Online
    passive-aggressive algorithms".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import SGDRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3))
    >>> y = X @ [1.0, -2.0, 0.5] + 3.0
    >>> model = SGDRegressor(random_state=0, penalty=None).fit(X, y)
    >>> model.coef_.round(1).tolist(), model.intercept_.round(1).tolist()
    ([1.0, -2.0, 0.5], [3.0])
    >>> model.predict(X[:2]).shape, model.partial_fit(X, y).score(X, y) > 0.99
    ((2,), True)
    >>> model.sparsify().coef_.nnz, model.densify().predict(X).shape
    (3, (500,))
    """  # fmt: skip

    _parameters: ClassVar = {
        **PARAMETERS,
        **PENALTIES,
        "loss": rule.one_of(
            "squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"
        ),
        "epsilon": rule.real(0),
        "learning_rate": rule.one_of(*RATES),
        "power_t": rule.real(0),
        "average": rule.any_of(rule.boolean(), rule.integer(0)),
    }

    def __init__(
        self, loss="squared_error", *, penalty="l2", alpha=1e-4, l1_ratio=0.15,
        fit_intercept=True, max_iter=1000, tol=1e-3, shuffle=True, verbose=0, epsilon=0.1,
        random_state=None, learning_rate="invscaling", eta0=0.01, power_t=0.25,
        early_stopping=False, validation_fraction=0.1, n_iter_no_change=5, warm_start=False,
        average=False,
    ):  # fmt: skip
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.epsilon = epsilon
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.average = average
