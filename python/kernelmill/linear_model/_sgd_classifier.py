"""Linear classifiers by stochastic gradient descent."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.special import expit
from sklearn.utils.metaestimators import available_if

from kernelmill._estimator import _parameters as rule
from kernelmill.linear_model._classifier import StochasticClassifier
from kernelmill.linear_model._stochastic import (
    ATTRIBUTES,
    AVERAGE,
    DOCUMENTED,
    LOSSES,
    NOTES,
    PARAMETERS,
    PENALTIES,
    PENALTY,
    RATE,
    RATES,
    STOPPING,
    WARM,
)


def _has_probabilities(model):
    if model.loss in ("log_loss", "modified_huber"):
        return True
    raise AttributeError(f"probability estimates are not available for loss={model.loss!r}")


class SGDClassifier(StochasticClassifier):
    __doc__ = f"""Linear classifier trained by stochastic gradient descent.

    Support vector machines, logistic regression and others, by the choice of the loss, for many
    rows or features.

    Parameters
    ----------
    loss : {{"hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", \
"squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"}}, default="hinge"
        ``"hinge"`` is a linear support vector machine, ``"log_loss"`` logistic regression;
        ``"modified_huber"`` is smooth and gives probabilities, too.
    penalty : {{"l2", "l1", "elasticnet"}} or None, default="l2"
        Penalty of the weights.
    {PENALTY}{DOCUMENTED}epsilon : float, default=0.1
        Width of ``"huber"`` and of the losses that are insensitive within epsilon.
    n_jobs : int or None, default=None
        Ignored; present for API compatibility. See `kernelmill.threads`.
    random_state : int, RandomState, Generator or None, default=None
        Seed or generator; pass an int for reproducible results.
    {RATE.format(rates='{"constant", "optimal", "invscaling", "adaptive", "pa1", "pa2"}',
                 rate='"optimal"', aggressive='"hinge"', power=0.5)}{STOPPING}\
class_weight : dict, "balanced" or None, default=None
        Factors of the steps for the rows of each class; ``"balanced"`` weighs classes alike.
    {WARM}{AVERAGE}
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
    Perceptron : Steps for mistakes alone.
    SGDRegressor : The same for numbers.

    Notes
    -----
    {NOTES}

    References
    ----------
    Bottou (2012), "Stochastic gradient descent tricks". Tsuruoka, Tsujii and Ananiadou (2009),
    "Stochastic gradient descent training for L1-regularized log-linear models with cumulative
    penalty". Zadrozny and Elkan (2002), "Transforming classifier scores into multiclass
    probability estimates".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import SGDClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3))
    >>> y = np.where(X @ [1.0, -2.0, 0.5] > 0, "above", "below")
    >>> model = SGDClassifier(loss="log_loss", random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.97
    True
    >>> model.predict_proba([[3.0, -3.0, 0.0]]).round(2).tolist()
    [[1.0, 0.0]]
    >>> model.predict_log_proba(X).shape
    (500, 2)
    >>> sparse = SGDClassifier(penalty="l1", random_state=0).fit(X, y).sparsify()
    >>> sparse.predict(X[:1]) == sparse.densify().predict(X[:1])
    array([ True])
    """  # fmt: skip

    _parameters: ClassVar = {
        **PARAMETERS,
        **PENALTIES,
        "loss": rule.one_of("perceptron", *LOSSES),
        "epsilon": rule.real(0),
        "n_jobs": rule.any_of(rule.Rule(rule.is_integer, "a whole number"), rule.nothing()),
        "learning_rate": rule.one_of(*RATES),
        "power_t": rule.real(0),
        "class_weight": rule.CLASS_WEIGHT,
        "average": rule.any_of(rule.boolean(), rule.integer(0)),
    }

    def __init__(
        self, loss="hinge", *, penalty="l2", alpha=1e-4, l1_ratio=0.15, fit_intercept=True,
        max_iter=1000, tol=1e-3, shuffle=True, verbose=0, epsilon=0.1, n_jobs=None,
        random_state=None, learning_rate="optimal", eta0=0.01, power_t=0.5, early_stopping=False,
        validation_fraction=0.1, n_iter_no_change=5, class_weight=None, warm_start=False,
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
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.average = average

    @available_if(_has_probabilities)
    def predict_proba(self, X):
        """Probabilities of the classes, for the losses ``"log_loss"`` and ``"modified_huber"``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.

        Returns
        -------
        proba : ndarray of shape (n, n_classes)
            With more than two classes, the probabilities of each against the others, scaled to sum
            to one.
        """
        found = self._scores(X)
        if found.shape[1] == 1:  # one less a share near 1 has no digits left
            found = np.hstack([-found, found])
        proba = expit(found) if self.loss == "log_loss" else (np.clip(found, -1, 1) + 1) / 2
        if len(self.classes_) == 2:
            return proba
        total = proba.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            return np.where(total > 0, proba / total, 1 / proba.shape[1])

    @available_if(_has_probabilities)
    def predict_log_proba(self, X):
        """Logarithms of :meth:`predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.

        Returns
        -------
        log_proba : ndarray of shape (n, n_classes)
            Minus infinity where a probability is 0.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))
