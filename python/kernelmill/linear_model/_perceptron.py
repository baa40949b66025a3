"""Rosenblatt's perceptron."""

from __future__ import annotations

from typing import ClassVar

from kernelmill._estimator import _parameters as rule
from kernelmill.linear_model._classifier import StochasticClassifier
from kernelmill.linear_model._stochastic import (
    ATTRIBUTES,
    DOCUMENTED,
    NOTES,
    PARAMETERS,
    PENALTIES,
    PENALTY,
    STOPPING,
    WARM,
)


class Perceptron(StochasticClassifier):
    __doc__ = f"""Rosenblatt's perceptron: a step towards each row that is on the wrong side.

    A row x with target y, 1 or -1, that is not on its side, ``y (w.x + b) <= 0``, moves the weights
    by ``eta0 y x`` and the intercept by ``eta0 y``. Where the classes can be separated by a
    hyperplane this ends after a bounded number of mistakes.

    Parameters
    ----------
    penalty : {{"l2", "l1", "elasticnet"}} or None, default=None
        Penalty of the weights.
    {PENALTY}{DOCUMENTED}eta0 : float, default=1.0
        Factor of each step; without a penalty and with zeros to start from it changes no
        prediction.
    n_jobs : int or None, default=None
        Ignored; present for API compatibility. See `kernelmill.threads`.
    random_state : int, RandomState, Generator or None, default=0
        Seed or generator; pass an int for reproducible results.
    {STOPPING}class_weight : dict, "balanced" or None, default=None
        Factors of the steps for the rows of each class; ``"balanced"`` weighs classes alike.
    {WARM}
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
    SGDClassifier : The same with ``loss="perceptron", learning_rate="constant", penalty=None``.

    Notes
    -----
    {NOTES}

    References
    ----------
    Rosenblatt (1958), "The perceptron: a probabilistic model for information storage and
    organization in the brain". Novikoff (1962), "On convergence proofs on perceptrons".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import Perceptron
    >>> X = np.array([[2.0, 1.0], [1.0, 3.0], [-1.0, -2.0], [-2.0, 1.0]])
    >>> y = np.array(["right", "right", "left", "left"])
    >>> model = Perceptron().fit(X, y)
    >>> model.predict([[3.0, 2.0], [-3.0, 0.0]]).tolist()
    ['right', 'left']
    >>> model.decision_function(X).shape, model.score(X, y)
    ((4,), 1.0)
    >>> model.partial_fit(X, y).sparsify().coef_.shape
    (1, 2)
    >>> model.densify().coef_.shape
    (1, 2)
    """

    loss = "perceptron"
    learning_rate = "constant"

    _parameters: ClassVar = {
        **PARAMETERS,
        **PENALTIES,
        "l1_ratio": rule.real(0, high=1),
        "class_weight": rule.CLASS_WEIGHT,
        "n_jobs": rule.any_of(rule.Rule(rule.is_integer, "a whole number"), rule.nothing()),
    }

    def __init__(
        self, *, penalty=None, alpha=1e-4, l1_ratio=0.15, fit_intercept=True, max_iter=1000,
        tol=1e-3, shuffle=True, verbose=0, eta0=1.0, n_jobs=None, random_state=0,
        early_stopping=False, validation_fraction=0.1, n_iter_no_change=5, class_weight=None,
        warm_start=False,
    ):  # fmt: skip
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.eta0 = eta0
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
