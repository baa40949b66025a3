"""Passive-aggressive classification and regression."""

from __future__ import annotations

from typing import ClassVar

from kernelmill._estimator import _parameters as rule
from kernelmill.linear_model._classifier import StochasticClassifier
from kernelmill.linear_model._sgd_regressor import VectorRegressor
from kernelmill.linear_model._stochastic import (
    ATTRIBUTES,
    AVERAGE,
    DOCUMENTED,
    NOTES,
    PARAMETERS,
    STOPPING,
    WARM,
    StochasticModel,
)

_PARAMETERS: dict[str, rule.Rule] = {
    **PARAMETERS,
    "C": rule.real(0, above=True),
    "average": rule.any_of(rule.boolean(), rule.integer(0)),
}
_C = """C : float, default=1.0
        Aggressiveness: the most that a row moves the weights, or how little of the way a squared
        loss leaves undone.
    """
_RANDOM = """random_state : int, RandomState, Generator or None, default=None
        Seed or generator; pass an int for reproducible results.
    """
_REFERENCES = """Crammer, Dekel, Keshet, Shalev-Shwartz and Singer (2006), "Online
    passive-aggressive algorithms"."""


class _Aggressive(StochasticModel):
    """What both models share: the length of a step follows from the loss of its row."""

    C: float
    _hinge: ClassVar[str]  # the loss that measures a row

    def _step(self) -> tuple[str, str, float]:
        return self._hinge, "pa1" if self.loss == self._hinge else "pa2", self.C


class PassiveAggressiveClassifier(_Aggressive, StochasticClassifier):
    __doc__ = f"""Passive-aggressive classifier: each row moves the weights just as far as it asks.

    A row x with target y, 1 or -1, and hinge loss ``l = max(0, 1 - y (w.x + b))`` moves the weights
    by ``r y x`` and the intercept by ``r y``, with ``r = min(C, l / |x|^2)`` for
    ``loss="hinge"`` (PA-I) and ``r = l / (|x|^2 + 1 / (2 C))`` for ``"squared_hinge"`` (PA-II). A
    row without loss moves nothing.

    Parameters
    ----------
    {_C}{DOCUMENTED}{STOPPING}loss : {{"hinge", "squared_hinge"}}, default="hinge"
        Which of the two steps is taken.
    n_jobs : int or None, default=None
        Ignored; present for API compatibility. See `kernelmill.threads`.
    {_RANDOM}{WARM}class_weight : dict, "balanced" or None, default=None
        Factors of the steps for the rows of each class; ``"balanced"`` weighs classes alike.
    {AVERAGE}
    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
    coef_ : ndarray of shape (1, d) or (n_classes, d), dtype of X
        Weights.
    intercept_ : ndarray of shape (1,) or (n_classes,), dtype of X
        Intercepts.
    {ATTRIBUTES}

    See Also
    --------
    SGDClassifier : The same with ``learning_rate="pa1", penalty=None, eta0=C``; the name that
        scikit-learn keeps after 1.9.
    Perceptron : Steps of one length.

    Notes
    -----
    {NOTES}

    References
    ----------
    {_REFERENCES}

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import PassiveAggressiveClassifier
    >>> X = np.array([[2.0, 1.0], [1.0, 3.0], [-1.0, -2.0], [-2.0, 1.0]])
    >>> y = np.array(["right", "right", "left", "left"])
    >>> model = PassiveAggressiveClassifier(random_state=0).fit(X, y)
    >>> model.predict([[3.0, 2.0], [-3.0, 0.0]]).tolist(), model.score(X, y)
    (['right', 'left'], 1.0)
    >>> model.partial_fit(X, y).decision_function(X).shape
    (4,)
    >>> model.sparsify().densify().coef_.shape
    (1, 2)
    """

    _hinge = "hinge"
    _parameters: ClassVar = {
        **_PARAMETERS,
        "loss": rule.one_of("hinge", "squared_hinge"),
        "class_weight": rule.CLASS_WEIGHT,
        "n_jobs": rule.any_of(rule.Rule(rule.is_integer, "a whole number"), rule.nothing()),
    }

    def __init__(
        self, *, C=1.0, fit_intercept=True, max_iter=1000, tol=1e-3, early_stopping=False,
        validation_fraction=0.1, n_iter_no_change=5, shuffle=True, verbose=0, loss="hinge",
        n_jobs=None, random_state=None, warm_start=False, class_weight=None, average=False,
    ):  # fmt: skip
        self.C = C
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.shuffle = shuffle
        self.verbose = verbose
        self.loss = loss
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.warm_start = warm_start
        self.class_weight = class_weight
        self.average = average


class PassiveAggressiveRegressor(_Aggressive, VectorRegressor):
    __doc__ = f"""Passive-aggressive regression: each row moves the weights just as far as it asks.

    A row x with target y, residual ``e = y - w.x - b`` and loss ``l = max(0, |e| - epsilon)`` moves
    the weights by ``r sign(e) x``, with ``r = min(C, l / |x|^2)`` for
    ``loss="epsilon_insensitive"`` (PA-I) and ``r = l / (|x|^2 + 1 / (2 C))`` for
    ``"squared_epsilon_insensitive"`` (PA-II).

    Parameters
    ----------
    {_C}{DOCUMENTED}{STOPPING}loss : {{"epsilon_insensitive", "squared_epsilon_insensitive"}}, \
default="epsilon_insensitive"
        Which of the two steps is taken.
    epsilon : float, default=0.1
        Residuals up to this are no loss.
    {_RANDOM}{WARM}{AVERAGE}
    Attributes
    ----------
    coef_ : ndarray of shape (d,), dtype of X
        Weights.
    intercept_ : ndarray of shape (1,), dtype of X
        Intercept.
    {ATTRIBUTES}

    See Also
    --------
    SGDRegressor : The same with ``loss="epsilon_insensitive", learning_rate="pa1", penalty=None,
        eta0=C``; the name that scikit-learn keeps after 1.9.

    Notes
    -----
    {NOTES}

    References
    ----------
    {_REFERENCES}

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import PassiveAggressiveRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3))
    >>> y = X @ [1.0, -2.0, 0.5] + 3.0
    >>> model = PassiveAggressiveRegressor(epsilon=0.01, random_state=0).fit(X, y)
    >>> model.coef_.round(1).tolist(), model.intercept_.round(1).tolist()
    ([1.0, -2.0, 0.5], [3.0])
    >>> model.predict(X[:2]).shape, model.partial_fit(X, y).score(X, y) > 0.99
    ((2,), True)
    >>> model.sparsify().densify().coef_.shape
    (1, 3)
    """

    _hinge = "epsilon_insensitive"
    _parameters: ClassVar = {
        **_PARAMETERS,
        "loss": rule.one_of("epsilon_insensitive", "squared_epsilon_insensitive"),
        "epsilon": rule.real(0),
    }

    def __init__(
        self, *, C=1.0, fit_intercept=True, max_iter=1000, tol=1e-3, early_stopping=False,
        validation_fraction=0.1, n_iter_no_change=5, shuffle=True, verbose=0,
        loss="epsilon_insensitive", epsilon=0.1, random_state=None, warm_start=False,
        average=False,
    ):  # fmt: skip
        self.C = C
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.shuffle = shuffle
        self.verbose = verbose
        self.loss = loss
        self.epsilon = epsilon
        self.random_state = random_state
        self.warm_start = warm_start
        self.average = average
